//! The list of customers, and the search in it.

use super::layout;
use crate::web::answer::Answer;
use crate::web::call::{Call, encode};
use maud::{Markup, html};

/// Customers on one page.
const ROWS: usize = 50;

/// `GET /customers?q=`.
pub async fn show(call: Call) -> Answer {
    let query = call.query(&["q", "after"])?;
    let (sought, after) = (query.text("q"), query.text("after"));
    let found = call.state.store.customers(sought.clone(), after, ROWS).await?;
    let rows: Vec<Markup> = found
        .iter()
        .map(|row| {
            html! {
                tr {
                    td { a href={ "/customers/" (encode(&row.id)) } { (row.id) } }
                    td { (row.name) } td { (row.email) } td { (row.phone) }
                    td { @for segment in &row.segments { span class="tag" { (segment) } } }
                }
            }
        })
        .collect();
    let content = html! {
        h1 { "Customers" }
        form class="find" method="get" action="/customers" role="search" {
            input name="q" type="search" value=(sought) placeholder="Beginning of id, name, e-mail or phone" aria-label="Find customers";
            button { "Find" }
        }
        @if rows.is_empty() { p class="soft" { "Nobody was found." } }
        @else { (layout::table("Customers", &["Id", "Name", "E-mail", "Phone", "Segments"], &rows)) }
        @if found.len() == ROWS && let Some(last) = found.last() {
            p { a href={ "/customers?q=" (encode(&sought)) "&after=" (encode(&last.id)) } { "More" } }
        }
    };
    Ok(layout::show(&call, "/customers", "Customers", false, &content))
}
