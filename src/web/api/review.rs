//! `/v1/review`: what is held for a person, and that person's word.

use super::events::one;
use super::funnels::sensible;
use crate::customer::{Customer, Run, codec};
use crate::engine::intake::review::{REPLY, held};
use crate::event::address::{Stop, StopKind};
use crate::event::words::MESSAGE_REPLIED;
use crate::fact::{Fact, What};
use crate::store::Accepted;
use crate::store::read::{ASKED, PAGE_ROWS_MAX, RunFilter};
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
    let mut replies = Vec::new();
    if query.text("funnel").is_empty() {
        for id in call.state.store.members(ASKED.to_owned(), limit).await? {
            replies.extend(asking(&call.state, &id).await?);
        }
    }
    Ok(json(StatusCode::OK, &json!({ "held": held, "replies": replies })))
}

/// Replies of a customer that seem to ask for no more messages.
async fn asking(state: &WebState, id: &str) -> Result<Vec<Json>, Problem> {
    let document = state.store.record(id.to_owned()).await?.map(|record| record.document).unwrap_or_default();
    let Ok(customer) = codec::decode::<Customer>(&document) else { return Ok(Vec::new()) };
    let facts = state.store.timeline(id.to_owned(), None, PAGE_ROWS_MAX).await?;
    let said = facts.iter().map(|row| &row.fact).find(|fact| fact.what == What::Event && fact.about == MESSAGE_REPLIED);
    let text = said.and_then(|fact| fact.seen.iter().find(|(name, _)| name == "event.text")).map(|(_, text)| text.to_json());
    let asked = customer.stops.iter().map(|(_, stop)| stop).filter(|stop| stop.kind == StopKind::Asked);
    let shown = |stop: &Stop| {
        json!({
            "effect": format!("{REPLY}{}", stop.channel), "customer": id, "channel": stop.channel,
            "since": stop.since.to_string(), "source": stop.source, "text": text,
        })
    };
    Ok(asked.map(shown).collect())
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
    let accepted = call.state.intake.review(&call.who(), call.param("id"), release, &call.body).await?;
    if accepted == Accepted::Conflict {
        let said = "somebody has said something about this step a moment ago, and that counts";
        return Err(Problem::new(StatusCode::CONFLICT, said)
            .hint("`autofunnel review list` (GET /v1/review) lists what still waits; her timeline says who said what"));
    }
    one(accepted)
}
