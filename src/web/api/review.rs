//! `/v1/review`: what is held for a person, and that person's word.

use super::events::one;
use super::funnels::sensible;
use crate::customer::{Customer, Run, codec};
use crate::engine::intake::review::held;
use crate::fact::{Fact, What};
use crate::store::read::{PAGE_ROWS_MAX, RunFilter};
use crate::web::WebState;
use crate::web::answer::{Answer, Problem, json};
use crate::web::call::Call;
use axum::http::StatusCode;
use serde_json::{Value as Json, json};

/// How runs are listed that hold a step for review.
pub const STATE: &str = "review";

/// What waits for a release, with what it looks like.
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["funnel", "limit"])?;
    let limit = query.limit()?;
    let filter = RunFilter { state: STATE.to_owned(), funnel: query.text("funnel"), ..RunFilter::default() };
    let mut held = Vec::new();
    let rows = call.state.store.runs(filter.clone(), limit).await?;
    if rows.is_empty() {
        sensible(&call.state, &filter).await?;
    }
    for row in rows {
        let document = call.state.store.record(row.customer.clone()).await?.map(|record| record.document).unwrap_or_default();
        // What cannot be read is complained of where it is worked on.
        let Ok(customer) = codec::decode::<Customer>(&document) else { continue };
        if let Some(run) = customer.run(row.run) {
            held.extend(shown(&call.state, &customer.id, run, &row.step).await?);
        }
    }
    Ok(json(StatusCode::OK, &json!({ "held": held })))
}

async fn shown(state: &WebState, customer: &str, run: &Run, step: &str) -> Result<Option<Json>, Problem> {
    let Some(effect) = held(run) else { return Ok(None) };
    let facts = state.store.timeline(customer.to_owned(), None, PAGE_ROWS_MAX).await?;
    let hers =
        |fact: &&Fact| fact.what == What::Review && fact.run.as_ref().is_some_and(|of| of.run == run.id && of.step == step);
    let fact = facts.iter().map(|row| &row.fact).find(hers);
    let mut shown = json!({
        "effect": effect, "customer": customer, "funnel": run.funnel, "run": run.id, "step": step,
        "since": fact.map(|fact| fact.at.to_string()), "until": run.due().map(|until| until.to_string()),
    });
    if let Some(fact) = fact {
        let channel = fact.run.as_ref().map(|run| run.variant.as_str()).unwrap_or_default();
        if !channel.is_empty() {
            shown["channel"] = channel.into();
        }
        for (name, value) in &fact.seen {
            shown[name] = value.to_json();
        }
    }
    Ok(Some(shown))
}

/// Lets a step go.
pub async fn release(call: Call) -> Answer {
    word(call, true).await
}

/// Says no to a step: it is skipped.
pub async fn reject(call: Call) -> Answer {
    word(call, false).await
}

async fn word(call: Call, release: bool) -> Answer {
    call.query(&[])?;
    one(call.state.intake.review(&call.who(), call.param("id"), release, &call.body).await?)
}
