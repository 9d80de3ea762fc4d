//! What links in messages lead to. Everybody may open them; what they are for they say themselves.

use super::layout;
use crate::web::answer::{Answer, Problem, page, see_other};
use crate::web::call::Call;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, REFERRER_POLICY};
use maud::{Markup, html};

/// `GET /u/{token}`: a question. Mail programs and their guards look at every link: looking changes nothing.
pub async fn ask(call: Call) -> Answer {
    let Some(link) = call.state.signer.unsubscribe(call.param("token")) else { return Err(no_link()) };
    let workspace = super::workspace(&call.state);
    let what = match &link.topic {
        Some(topic) => html! { "Do you want no more messages about " strong { (topic) } " by " (channel(&link.channel)) "?" },
        None => html! { "Do you want no more marketing by " (channel(&link.channel)) "?" },
    };
    // The form goes back to where it came from, whatever stands before us.
    let content = html! {
        p { (what) }
        form method="post" { button { "Unsubscribe" } }
        p class="soft" { "What you order or ask for is still answered." }
    };
    Ok(shown(&workspace, &content))
}

/// `POST /u/{token}`: the answer; also what mail programs send by themselves (RFC 8058).
pub async fn unsubscribe(call: Call) -> Answer {
    let Some(link) = call.state.signer.unsubscribe(call.param("token")) else { return Err(no_link()) };
    call.state.intake.unsubscribe(&link).await?;
    let workspace = super::workspace(&call.state);
    Ok(shown(&workspace, &html! { p { "You are unsubscribed." } p class="soft" { "It holds from this moment on." } }))
}

/// `GET /l/{token}`: on to where the link leads, which is counted. Nobody waits in vain because counting failed.
pub async fn follow(call: Call) -> Answer {
    let Some(click) = call.state.signer.click(call.param("token")) else { return Err(no_link()) };
    if let Err(why) = call.state.intake.clicked(&click).await {
        tracing::warn!(%why, "a click was not counted");
    }
    let mut reply = see_other(&click.url);
    reply.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(reply)
}

fn shown(workspace: &str, content: &Markup) -> crate::web::answer::Reply {
    let body = html! { main id="content" { h1 { (workspace) } div class="card" { (content) } } };
    page(StatusCode::OK, layout::document(&format!("Unsubscribe · {workspace}"), &body))
}

fn channel(name: &str) -> &str {
    match name {
        "email" => "e-mail",
        "sms" => "text message",
        other => other,
    }
}

fn no_link() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "this link is not one of ours, or it was cut off")
        .hint("copy the whole link from the message")
}
