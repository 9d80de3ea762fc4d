//! `/v1/effects`: effects on their way, those whose fate is unknown, and a person's word on them.

use crate::customer::store::Parked;
use crate::customer::{Customer, Run, codec};
use crate::engine::intake::resolve::is_held;
use crate::store::read::{PAGE_ROWS_MAX, PARKED, RunFilter};
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
    let mut parked = Vec::new();
    for id in store.members(PARKED.to_owned(), limit).await? {
        let document = store.record(id).await?.map(|record| record.document).unwrap_or_default();
        let Ok(customer) = codec::decode::<Customer>(&document) else { continue };
        held.extend(customer.parked.iter().filter(|parked| parked.unknown.is_some()).map(|one| lost(&customer.id, one)));
        parked.extend(customer.parked.iter().filter(|parked| parked.unknown.is_none()).map(|one| waits(&customer.id, one)));
    }
    held.truncate(limit);
    parked.truncate(limit);
    Ok(json(StatusCode::OK, &json!({ "waiting": waiting, "unknown": held, "parked": parked })))
}

/// A grant that a blocked programme has not booked.
fn waits(customer: &str, parked: &Parked) -> Json {
    json!({
        "effect": parked.grant.id, "customer": customer, "funnel": parked.grant.funnel, "run": parked.grant.run,
        "since": parked.since.to_string(), "next": parked.next.map(|next| next.to_string()), "why": parked.why,
    })
}

/// One of which nobody knows what became of it.
fn lost(customer: &str, parked: &Parked) -> Json {
    json!({
        "effect": parked.grant.id, "customer": customer, "funnel": parked.grant.funnel, "run": parked.grant.run,
        "entered": parked.since.to_string(), "why": parked.unknown,
    })
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
