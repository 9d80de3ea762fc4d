//! The development inbox: messages as their receivers would have seen them.

use super::layout;
use crate::store::read::KeptMessage;
use crate::web::answer::{self, Answer, Problem};
use crate::web::call::{Call, encode};
use axum::http::StatusCode;
use maud::{Markup, html};

/// Messages on one page.
const ROWS: usize = 50;

/// `GET /inbox`.
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["customer", "before"])?;
    let customer = query.text("customer");
    let messages = call.state.store.messages(customer.clone(), query.time("before")?, ROWS).await?;
    let zone = call.state.intake.world().settings.zone;
    let rows: Vec<Markup> = messages
        .iter()
        .map(|message| {
            html! {
                tr {
                    td { (layout::time(message.at, zone)) }
                    td { a href={ "/customers/" (encode(&message.customer)) } { (message.customer) } }
                    td { (message.channel) }
                    td { a href={ "/inbox/" (encode(&message.id)) } { (heading(message)) } }
                    td { a href={ "/funnels/" (encode(&message.funnel)) } { (message.funnel) } }
                }
            }
        })
        .collect();
    let content = html! {
        h1 { "Inbox" }
        p class="soft" { "Messages that were kept here instead of being sent." }
        @if rows.is_empty() { p class="soft" { "There are none." } }
        @else { (layout::table("Messages", &["When", "To", "Channel", "Message", "Funnel"], &rows)) }
        @if messages.len() == ROWS && let Some(last) = messages.last() {
            p { a href={ "/inbox?customer=" (encode(&customer)) "&before=" (encode(&last.at.to_string())) } { "Earlier" } }
        }
    };
    Ok(layout::show(&call, "/inbox", "Inbox", true, &content))
}

/// The subject, or the beginning of a text that has none.
fn heading(message: &KeptMessage) -> String {
    let text = if message.subject.is_empty() { &message.text } else { &message.subject };
    let start: String = text.chars().take(80).collect();
    if start.trim().is_empty() { message.template.clone() } else { start }
}

async fn message(call: &Call) -> Result<KeptMessage, Problem> {
    let found = call.state.store.message(call.param("id").to_owned()).await?;
    found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no such message").hint("messages are kept for 30 days"))
}

/// `GET /inbox/{id}`.
pub async fn show(call: Call) -> Answer {
    let message = message(&call).await?;
    let zone = call.state.intake.world().settings.zone;
    let preview = format!("/inbox/{}/preview", encode(&message.id));
    let content = html! {
        h1 { (heading(&message)) }
        dl class="facts card" {
            dt { "to" } dd { (message.to) " (" a href={ "/customers/" (encode(&message.customer)) } { (message.customer) } ")" }
            dt { "channel" } dd { (message.channel) }
            dt { "funnel" } dd { a href={ "/funnels/" (encode(&message.funnel)) } { (message.funnel) } ", template " (message.template) }
            dt { "when" } dd { (layout::time(message.at, zone)) }
        }
        @if !message.html.is_empty() {
            h2 { "As it looks" }
            iframe sandbox="" src=(preview) title="The message as its receiver sees it" loading="lazy" {}
        }
        h2 { "Plain text" }
        div class="card" { pre { (message.text) } }
    };
    Ok(layout::show(&call, "/inbox", &heading(&message), false, &content))
}

/// `GET /inbox/{id}/preview`: the message's own HTML, for the frame.
pub async fn preview(call: Call) -> Answer {
    Ok(answer::preview(message(&call).await?.html))
}
