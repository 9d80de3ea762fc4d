//! `POST /v1/events`.

use crate::engine::intake::{Item, Receipt, Refusal};
use crate::store::Accepted;
use crate::web::answer::{Answer, Problem, fixed_json, json};
use crate::web::call::Call;
use axum::http::StatusCode;
use serde_json::json;

/// What is said of an id that was used for something else.
const CONFLICT: &str = "this id was sent before with other content";
const CONFLICT_HINT: &str = "the first one is kept; give the new event an id of its own";

/// Takes one event, a list, or one per line.
pub async fn post(call: Call) -> Answer {
    let receipt = match call.state.intake.events(&call.body, call.form()).await {
        Ok(receipt) => receipt,
        Err(error) => {
            call.state.metrics.count_event(&Err(Refusal::new("")));
            return Err(error.into());
        }
    };
    call.state.metrics.count_events(&receipt);
    match receipt {
        Receipt::One(accepted) => one(accepted),
        Receipt::Many(items) => Ok(many(&items)),
    }
}

/// The answer to one input with an id.
pub fn one(accepted: Accepted) -> Answer {
    match accepted {
        Accepted::New => Ok(fixed_json(StatusCode::ACCEPTED, r#"{"status":"accepted"}"#)),
        Accepted::Duplicate => Ok(fixed_json(StatusCode::OK, r#"{"status":"duplicate"}"#)),
        Accepted::Conflict => {
            tracing::warn!("an id was sent again with other content; the first one is kept");
            Err(Problem::new(StatusCode::CONFLICT, CONFLICT).hint(CONFLICT_HINT))
        }
    }
}

/// The answer to several: how many of each, and a list of those that were not accepted.
fn many(items: &[(usize, Item)]) -> crate::web::answer::Reply {
    let (mut accepted, mut duplicates, mut conflicts, mut refused) = (0u64, 0u64, 0u64, 0u64);
    let mut listed = Vec::new();
    for (line, item) in items {
        match item {
            Ok(Accepted::New) => accepted += 1,
            Ok(Accepted::Duplicate) => {
                duplicates += 1;
                listed.push(json!({ "line": line, "status": "duplicate" }));
            }
            Ok(Accepted::Conflict) => {
                conflicts += 1;
                listed.push(json!({ "line": line, "status": "conflict", "error": CONFLICT, "hint": CONFLICT_HINT }));
            }
            Err(refusal) => {
                refused += 1;
                listed.push(refused_line(*line, refusal));
            }
        }
    }
    if conflicts > 0 {
        tracing::warn!(conflicts, "ids were sent again with other content; the first ones are kept");
    }
    let mut body =
        json!({ "accepted": accepted, "duplicates": duplicates, "conflicts": conflicts, "refused": refused, "items": listed });
    let status = if refused == items.len() as u64 && refused > 0 { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
    if status == StatusCode::BAD_REQUEST {
        body["error"] = "every event was refused".into();
        body["hint"] = "see `items` for the reason of each".into();
    }
    json(status, &body)
}

/// A refused item of a list.
pub fn refused_line(line: usize, refusal: &Refusal) -> serde_json::Value {
    let mut item = json!({ "line": line, "status": "refused", "error": refusal.error });
    for (name, text) in [("hint", &refusal.hint), ("field", &refusal.field)] {
        if let Some(text) = text {
            item[name] = text.as_str().into();
        }
    }
    item
}
