//! `/v1/customers`: read, change and forget customers, and read what happened to them.

use super::funnels::next_page;
use crate::customer::{Customer, codec};
use crate::fact::sentence::sentence;
use crate::lang::value::Fields;
use crate::store::read::TimelineRow;
use crate::web::WebState;
use crate::web::answer::{Answer, Problem, fixed_json, json};
use crate::web::call::Call;
use axum::http::StatusCode;
use serde_json::{Value as Json, json};

const ACCEPTED: &str = r#"{"status":"accepted"}"#;

/// A page of customers.
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["query", "after", "limit"])?;
    let limit = query.limit()?;
    let rows = call.state.store.customers(query.text("query"), query.text("after"), limit).await?;
    let next = next_page(&rows, limit, |row| Json::from(row.id.as_str()));
    Ok(json(StatusCode::OK, &json!({ "customers": rows, "next": next })))
}

/// The document of a customer.
///
/// # Errors
/// 404 when she is not known.
pub async fn load(state: &WebState, id: &str) -> Result<Customer, Problem> {
    let record = state.store.record(id.to_owned()).await?;
    let Some(record) = record.filter(|record| !record.document.is_empty()) else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there is no customer with that id")
            .hint("an id is what her events and imports call her; GET /v1/customers?query=… finds her by name or address"));
    };
    codec::decode(&record.document).map_err(|error| {
        tracing::error!(customer = id, %error, "a stored customer cannot be read");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this customer's document cannot be read")
            .hint("the engine's log says why")
    })
}

/// A customer with all that is known.
pub async fn get(call: Call) -> Answer {
    call.query(&[])?;
    let customer = load(&call.state, call.param("id")).await?;
    let mut shown = shown(&customer);
    shown["zone"] = Json::from(customer.zone(call.state.intake.world().settings.zone).name());
    if is_unasked(&call.state, &customer) {
        for name in ["balance", "pending", "tier"] {
            shown["loyalty"][name] = Json::Null;
        }
    }
    Ok(json(StatusCode::OK, &shown))
}

/// Whether a remote store knows what she has, and has not been asked yet: nothing is then no 0.
pub fn is_unasked(state: &WebState, customer: &Customer) -> bool {
    let remote = state.intake.world().settings.loyalty_store.is_some();
    remote && customer.loyalty.store.as_of.is_none()
}

fn shown(customer: &Customer) -> Json {
    let time = |time: crate::lang::time::Time| Json::from(time.to_string());
    let consent: serde_json::Map<String, Json> = customer
        .consent
        .iter()
        .map(|(key, c)| (key.clone(), json!({ "granted": c.granted, "source": c.source, "time": time(c.time) })))
        .collect();
    let suppressed: Vec<Json> = customer
        .stops
        .iter()
        .map(|(_, stop)| json!({ "channel": stop.channel, "why": stop.kind.name(), "since": time(stop.since), "source": stop.source }))
        .collect();
    let membership = customer.membership.as_ref().map(|m| {
        json!({
            "membership": m.name, "since": time(m.since), "started": time(m.started), "ends": m.ends.map(time),
            "auto_renew": m.auto_renew, "cancelled": m.cancelled,
        })
    });
    let loyalty = &customer.loyalty;
    let offers: serde_json::Map<String, Json> = loyalty.offers.iter().map(|(name, until)| (name.clone(), time(*until))).collect();
    let parked: Vec<Json> = customer
        .parked
        .iter()
        .map(|p| json!({ "effect": p.grant.id, "since": time(p.since), "next": p.next.map(time), "why": p.why, "unknown": p.unknown }))
        .collect();
    let segments: serde_json::Map<String, Json> =
        customer.segments.iter().map(|(name, since)| (name.clone(), time(*since))).collect();
    let runs: Vec<Json> = customer
        .runs
        .iter()
        .filter(|run| run.is_live())
        .map(|run| json!({ "run": run.id, "funnel": run.funnel, "version": run.version, "entered": time(run.entered), "until": run.due().map(time) }))
        .collect();
    json!({
        "id": customer.id, "created": time(customer.created), "profile": fields(&customer.profile), "consent": consent,
        "suppressed": suppressed, "membership": membership,
        "loyalty": {
            "balance": loyalty.balance, "pending": loyalty.pending, "tier": loyalty.tier,
            "next_expiry": loyalty.next_expiry.map(time), "offers": offers,
            "as_of": loyalty.store.as_of.map(time), "store": fields(&loyalty.store.data), "parked": parked,
        },
        "segments": segments, "runs": runs,
    })
}

fn fields(fields: &Fields) -> Json {
    Json::Object(fields.iter().map(|(name, value)| (name.clone(), value.to_json())).collect())
}

/// Changes a customer.
pub async fn put(call: Call) -> Answer {
    call.query(&[])?;
    call.state.intake.put_customer(call.param("id"), &call.body).await?;
    Ok(fixed_json(StatusCode::ACCEPTED, ACCEPTED))
}

/// Forgets a customer.
pub async fn delete(call: Call) -> Answer {
    call.query(&[])?;
    call.state.intake.erase(call.param("id")).await?;
    Ok(fixed_json(StatusCode::ACCEPTED, ACCEPTED))
}

/// What happened to a customer, newest first, and why.
pub async fn timeline(call: Call) -> Answer {
    let query = call.query(&["before", "limit"])?;
    let (limit, before) = (query.limit()?, query.position("before")?);
    let rows = call.state.store.timeline(call.param("id").to_owned(), before, limit).await?;
    if rows.is_empty() && before.is_none() {
        load(&call.state, call.param("id")).await?;
    }
    let next = next_page(&rows, limit, |row| Json::from(row.seq));
    let facts: Vec<Json> = rows.iter().map(|row| fact(&call.state, row)).collect();
    Ok(json(StatusCode::OK, &json!({ "facts": facts, "next": next })))
}

fn fact(state: &WebState, row: &TimelineRow) -> Json {
    let fact = &row.fact;
    let seen: Vec<Json> =
        fact.seen.iter().map(|(operand, value)| json!({ "operand": operand, "value": value.to_json() })).collect();
    let run = fact.run.as_ref().filter(|run| !run.funnel.is_empty()).map(
        |run| json!({ "funnel": run.funnel, "version": run.version, "run": run.run, "step": run.step, "variant": run.variant }),
    );
    json!({
        "seq": row.seq, "at": fact.at.to_string(), "what": fact.what.name(), "about": fact.about,
        "sentence": sentence(fact, state.intake.world().settings.currency),
        "why": fact.why, "seen": seen, "run": run, "amount": fact.amount,
    })
}
