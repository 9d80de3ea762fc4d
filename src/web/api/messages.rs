//! `GET /v1/messages`: what the development inbox keeps.

use super::funnels::next_page;
use crate::store::read::KeptMessage;
use crate::web::answer::{Answer, json};
use crate::web::call::Call;
use axum::http::StatusCode;
use serde_json::{Value as Json, json};

/// Kept messages, newest first.
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["customer", "before", "limit"])?;
    let limit = query.limit()?;
    let rows = call.state.store.messages(query.text("customer"), query.time("before")?, limit).await?;
    let next = next_page(&rows, limit, |row| Json::from(row.at.to_string()));
    let messages: Vec<Json> = rows.iter().map(shown).collect();
    Ok(json(StatusCode::OK, &json!({ "messages": messages, "next": next })))
}

fn shown(message: &KeptMessage) -> Json {
    json!({
        "id": message.id, "customer": message.customer, "channel": message.channel, "to": message.to, "funnel": message.funnel,
        "template": message.template, "subject": message.subject, "text": message.text, "html": message.html, "at": message.at.to_string(),
    })
}
