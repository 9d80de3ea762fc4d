//! What all pages share: head, navigation, times as a person reads them.

use crate::lang::time::{Time, Zone};
use crate::web::answer::{Reply, page};
use crate::web::call::Call;
use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, html};

/// The parts of the navigation: path and name.
const PARTS: &[(&str, &str)] = &[("/", "Funnels"), ("/customers", "Customers"), ("/inbox", "Inbox")];

/// A page with navigation; `part` is the path of the part that it belongs to. A `fresh` page renews
/// itself every few seconds.
pub fn show(call: &Call, part: &str, title: &str, fresh: bool, content: &Markup) -> Reply {
    let workspace = super::workspace(&call.state);
    let logged_in = super::session_cookie(&call.headers, call.state.options.https).is_some();
    let body = html! {
        a class="skip" href="#content" { "To the content" }
        header class="top" {
            div {
                strong { (workspace) }
                nav aria-label="Parts" {
                    @for (path, name) in PARTS {
                        a href=(path) aria-current=[(*path == part).then_some("page")] { (name) }
                    }
                }
                @if logged_in {
                    form method="post" action="/logout" { button class="quiet" { "Log out" } }
                }
            }
        }
        main id="content" data-refresh=[fresh.then_some("")] { (content) }
    };
    page(StatusCode::OK, document(&format!("{title} · {workspace}"), &body))
}

/// A whole document.
pub fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/app.js" defer {}
            }
            body { (body) }
        }
    }
}

/// An instant by the clock of a zone: `Mon 1 Mar 2027, 10:00`.
pub fn time(at: Time, zone: Zone) -> Markup {
    html! { time datetime=(at) { (at.local(zone).format("%a %-d %b %Y, %H:%M").to_string()) } }
}

/// A table that may be wider than a small screen.
pub fn table(caption: &str, heads: &[&str], rows: &[Markup]) -> Markup {
    html! {
        div class="scroll" role="region" aria-label=(caption) tabindex="0" {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { @for row in rows { (row) } }
            }
        }
    }
}
