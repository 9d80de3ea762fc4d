//! `POST /hooks/{source}`: webhooks of shops and CRMs, which prove where they come from themselves.

use super::events::one;
use crate::engine::intake::IntakeError;
use crate::engine::intake::hook::Delivery;
use crate::store::Accepted;
use crate::web::answer::{Answer, fixed_json};
use crate::web::call::Call;
use axum::http::StatusCode;
use std::sync::atomic::Ordering;

/// Takes in a delivery.
pub async fn post(call: Call) -> Answer {
    let headers: Vec<(String, String)> = call
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let source = call.param("source");
    let loopback = call.state.loopback.load(Ordering::Relaxed);
    let query = call.query.as_deref().unwrap_or_default();
    let delivery = Delivery { source, headers: &headers, query, body: &call.body, loopback };
    let accepted = call.state.intake.hook(delivery).await.inspect_err(|error| {
        if let IntakeError::Unverified(why) = error {
            tracing::warn!(source, why, "a delivery was turned away");
        }
    })?;
    for item in &accepted {
        call.state.metrics.count_event(&Ok(*item));
    }
    if accepted.contains(&Accepted::Conflict) {
        return one(Accepted::Conflict);
    }
    match accepted.first() {
        None => Ok(fixed_json(StatusCode::OK, r#"{"status":"ignored"}"#)),
        Some(_) if accepted.contains(&Accepted::New) => one(Accepted::New),
        Some(_) => one(Accepted::Duplicate),
    }
}
