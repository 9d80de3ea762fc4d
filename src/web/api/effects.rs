//! `/v1/effects`: effects on their way, those whose fate is unknown, and a person's word on them.

use crate::customer::store::Parked;
use crate::customer::{Asked, Customer, Run, Unsure, codec};
use crate::effect::{EffectKind, Tell, Word};
use crate::engine::intake::pause::Hastened;
use crate::engine::intake::resolve::is_held;
use crate::event::address::field_of;
use crate::lang::value::Value;
use crate::store::pause::{PAUSED, Under, pauses_of};
use crate::store::read::{PAGE_ROWS_MAX, PARKED, RunFilter};
use crate::web::answer::{Answer, Problem, json};
use crate::web::api::events::one;
use crate::web::api::pauses::holding;
use crate::web::call::Call;
use axum::http::StatusCode;
use serde_json::{Value as Json, json};

/// What waits, next due first, and what is held.
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["limit"])?;
    let limit = query.limit()?;
    let store = &call.state.store;
    let (mut waiting, pauses) = (Vec::new(), store.pauses().await?);
    for row in store.outbox(limit).await? {
        let mut shown = json!({
            "effect": row.id, "customer": row.customer, "due": row.due.to_string(), "attempts": row.attempts, "why": row.why,
        });
        if row.why == PAUSED
            && let Some(effect) = store.waiting(row.id, row.customer).await?
        {
            let hold = pauses_of(&pauses, Under::of(&effect.effect));
            shown["pauses"] = hold.iter().map(holding).collect();
        }
        waiting.push(shown);
    }
    let (mut held, mut customers) = (Vec::new(), Vec::new());
    // Engines of before called them `held`, as what waits for the morning is called.
    for state in ["unresolved", "held"] {
        let filter = RunFilter { state: state.to_owned(), ..RunFilter::default() };
        customers.extend(store.runs(filter, PAGE_ROWS_MAX).await?.into_iter().map(|run| run.customer));
    }
    customers.sort();
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
        held.extend(customer.asked.iter().filter(|asked| asked.unknown.is_some()).map(|one| given(&customer.id, one)));
        held.extend(customer.unsure.iter().map(|one| unsure(&customer, one)));
        parked.extend(customer.parked.iter().filter(|parked| parked.unknown.is_none()).map(|one| waits(&customer.id, one)));
    }
    held.truncate(limit);
    parked.truncate(limit);
    Ok(json(StatusCode::OK, &json!({ "waiting": waiting, "held": held, "parked": parked })))
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

/// Points of another customer's run of which nobody knows whether they were booked.
fn given(customer: &str, asked: &Asked) -> Json {
    json!({
        "effect": asked.booking, "customer": customer, "funnel": asked.funnel, "from": asked.from, "reason": asked.reason,
        "why": asked.unknown,
    })
}

/// A message of which nobody knows whether it arrived.
fn unsure(customer: &Customer, unsure: &Unsure) -> Json {
    json!({
        "effect": unsure.effect, "customer": customer.id, "funnel": unsure.run.funnel, "run": unsure.run.id, "step": unsure.step,
        "kind": "message", "channel": unsure.channel, "to": customer.profile.get(field_of(&unsure.channel)).map(Value::to_json),
        "template": unsure.template, "since": unsure.since.to_string(), "why": unsure.why,
    })
}

/// What her document knows of an effect that is in no outbox.
fn kept(customer: &Customer, effect: &str) -> Option<Json> {
    let (mut shown, state, grant) = if let Some(parked) = customer.parked.iter().find(|parked| parked.grant.id == effect) {
        match parked.unknown {
            None => (waits(&customer.id, parked), "parked", Some(&parked.grant)),
            Some(_) => (lost(&customer.id, parked), "held", Some(&parked.grant)),
        }
    } else if let Some(asked) = customer.asked.iter().find(|asked| asked.unknown.is_some() && asked.booking == effect) {
        (given(&customer.id, asked), "held", asked.grant.as_deref())
    } else if let Some(message) = customer.unsure.iter().find(|unsure| unsure.effect == effect) {
        (unsure(customer, message), "held", None)
    } else {
        let run = customer.runs.iter().find(|run| is_held(run) && run.waits_for(effect))?;
        (self::shown(&customer.id, run), "held", None)
    };
    shown["state"] = state.into();
    if let Some(grant) = grant {
        shown["step"] = grant.step.as_str().into();
        shown["kind"] = grant.kind.name().into();
        shown["provider"] = grant.provider().into();
        shown["content"] = content(&grant.kind);
        shown["decided_at"] = grant.decided_at.to_string().into();
    }
    Some(shown)
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

/// One effect that is on its way, parked, or held for a person's word.
pub async fn show(call: Call) -> Answer {
    let effect = call.query(&["effect"])?.text("effect");
    let (store, id) = (&call.state.store, call.param("id"));
    let Some(waiting) = store.waiting(effect.clone(), id.to_owned()).await? else {
        let document = store.record(id.to_owned()).await?.map(|record| record.document).unwrap_or_default();
        // What cannot be read is complained of where it is worked on.
        let shown = codec::decode::<Customer>(&document).ok().and_then(|customer| kept(&customer, &effect));
        let missing = || {
            Problem::new(StatusCode::NOT_FOUND, "no effect of this customer is on its way, parked or held under that id").hint(
                "`autofunnel effects list` (GET /v1/effects) lists those that are; what became of others is on her timeline",
            )
        };
        return Ok(json(StatusCode::OK, &shown.ok_or_else(missing)?));
    };
    let effect = &waiting.effect;
    let shown = json!({
        "effect": effect.id, "customer": effect.customer, "funnel": effect.funnel, "run": effect.run, "step": effect.step,
        "kind": effect.kind.name(), "provider": effect.provider(), "content": content(&effect.kind),
        "decided_at": effect.decided_at.to_string(), "valid_until": effect.valid_until.map(|until| until.to_string()),
        "due": waiting.due.to_string(), "attempts": waiting.attempts, "why": waiting.why,
        "doubtful_since": waiting.doubtful_since.map(|since| since.to_string()),
        "pauses": pauses_of(&store.pauses().await?, Under::of(effect)).iter().map(holding).collect::<Vec<_>>(),
    });
    Ok(json(StatusCode::OK, &shown))
}

/// What an effect would do, for people.
fn content(kind: &EffectKind) -> Json {
    match kind {
        EffectKind::Message(message) => json!({
            "channel": message.channel, "to": message.to, "template": message.template,
            "variables": Value::Map(message.variables.clone()).to_json(),
        }),
        EffectKind::Grant(grant) => json!({ "points": grant.points, "reason": grant.reason }),
        EffectKind::Offer(offer) => json!({ "bundle": offer.bundle }),
        EffectKind::Lookup(_) => json!({}),
        EffectKind::Call(call) => json!({ "method": call.method, "path": call.path, "body": call.body }),
        EffectKind::Tell(tell) => told(tell),
    }
}

/// A word to another customer.
fn told(tell: &Tell) -> Json {
    let (what, about) = match &tell.word {
        Word::Event { name, .. } => ("event", name.clone()),
        Word::Grant { grant, .. } => ("grant", format!("{} points ({})", grant.points, grant.reason)),
        Word::Confirm { of } => ("confirm", of.clone()),
        Word::Cancel { of } => ("cancel", of.clone()),
        Word::Answer { of, .. } => ("answer", of.clone()),
    };
    json!({ "to": tell.to, "word": what, "about": about })
}

/// Tries an effect that waits at once, and asks for a parked grant; or says which pauses hold it up, or that its provider
/// rests (as far as this process calls it).
pub async fn retry(call: Call) -> Answer {
    call.query(&[])?;
    let Hastened { pauses, provider } = call.state.intake.hasten(&call.who(), call.param("id"), &call.body).await?;
    if !pauses.is_empty() {
        let pauses: Vec<Json> = pauses.iter().map(holding).collect();
        return Ok(json(StatusCode::OK, &json!({ "status": "paused", "pauses": pauses })));
    }
    let health = call.state.traffic.as_ref().map(|traffic| traffic.health(call.state.store.now())).unwrap_or_default();
    let rests = health.iter().filter(|one| Some(&one.provider) == provider.as_ref());
    let rests = rests.filter_map(|one| Some((one, one.rests_until?))).next();
    Ok(json(
        StatusCode::OK,
        &match rests {
            None => json!({ "status": "due" }),
            Some((one, until)) => {
                json!({ "status": "resting", "provider": one.provider, "until": until.to_string(), "why": one.trouble })
            }
        },
    ))
}

/// Drops an effect that waits.
pub async fn discard(call: Call) -> Answer {
    call.query(&[])?;
    call.state.intake.drop_effect(&call.who(), call.param("id"), &call.body).await?;
    Ok(json(StatusCode::OK, &json!({ "status": "dropped" })))
}

/// A person's word on an effect whose fate is unknown.
pub async fn resolve(call: Call) -> Answer {
    call.query(&[])?;
    one(call.state.intake.resolve(call.param("id"), &call.body).await?)
}
