//! `/v1/effects`: effects on their way, those whose fate is unknown, and a person's word on them.

use crate::customer::{Customer, Run, codec};
use crate::engine::intake::resolve::is_held;
use crate::store::read::{PAGE_ROWS_MAX, RunFilter};
use crate::web::answer::{Answer, json};
use crate::web::api::events::one;
use crate::web::call::Call;
use axum::http::StatusCode;
use serde_json::{Value as Json, json};

/// What waits, next due first, and what is held.
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["limit"])?;
    let limit = query.limit()?;
    let store = &call.state.store;
    let waiting: Vec<Json> = store
        .outbox(limit)
        .await?
        .into_iter()
        .map(|row| {
            json!({
                "effect": row.id, "customer": row.customer, "due": row.due.to_string(), "attempts": row.attempts, "why": row.why,
            })
        })
        .collect();
    let filter = RunFilter { state: "held".to_owned(), ..RunFilter::default() };
    let mut held = Vec::new();
    let mut customers: Vec<String> = store.runs(filter, PAGE_ROWS_MAX).await?.into_iter().map(|run| run.customer).collect();
    customers.dedup();
    for id in customers {
        let document = store.record(id).await?.map(|record| record.document).unwrap_or_default();
        // What cannot be read is complained of where it is worked on.
        let Ok(customer) = codec::decode::<Customer>(&document) else { continue };
        let runs = customer.runs.iter().filter(|run| is_held(run));
        held.extend(runs.map(|run| shown(&customer.id, run)));
        if held.len() >= limit {
            break;
        }
    }
    held.truncate(limit);
    Ok(json(StatusCode::OK, &json!({ "waiting": waiting, "unknown": held })))
}

fn shown(customer: &str, run: &Run) -> Json {
    let effect = match &run.state {
        crate::customer::RunState::Effect { id } => id.as_str(),
        _ => "",
    };
    json!({
        "effect": effect, "customer": customer, "funnel": run.funnel, "run": run.id, "entered": run.entered.to_string(),
        "why": run.unknown,
    })
}

/// A person's word on an effect whose fate is unknown.
pub async fn resolve(call: Call) -> Answer {
    call.query(&[])?;
    one(call.state.intake.resolve(call.param("id"), &call.body).await?)
}
