//! Funnels, their runs and their figures.

use super::events::one;
use super::pauses::holding;
use crate::customer::{Customer, RunState, codec};
use crate::engine::intake::{IntakeError, Refusal};
use crate::lang::time::{DAY_MS, Time, parse_date};
use crate::store::RunRow;
use crate::store::pause::{Pause, Under, pauses_of};
use crate::store::read::{Figure, PAGE_ROWS_MAX, PARKED, RUN_STATES, RunFilter};
use crate::web::WebState;
use crate::web::answer::{Answer, Problem, json};
use crate::web::call::{Call, Query};
use axum::http::{HeaderName, StatusCode};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Days that figures cover when nothing else is asked for, today included.
pub const FIGURE_DAYS: i64 = 365;
/// Most days of figures in one answer.
const FIGURE_DAYS_MAX: i64 = 400;

/// The position from which the next page goes on; null after the last one.
pub fn next_page<T>(rows: &[T], limit: usize, position: impl Fn(&T) -> Json) -> Json {
    match rows.last() {
        Some(last) if rows.len() == limit => position(last),
        _ => Json::Null,
    }
}

/// Sums of a funnel's figures by kind of fact: how many, and the amounts.
pub type Sums = BTreeMap<String, (i64, i64)>;

/// Figures of the last [`FIGURE_DAYS`] days, and the number of live runs, by funnel.
pub struct Recent {
    /// By funnel, then kind of fact.
    pub sums: BTreeMap<String, Sums>,
    /// Live runs by funnel.
    pub live: BTreeMap<String, u64>,
    /// The figures themselves.
    pub figures: Vec<Figure>,
    /// Customers by segment.
    pub segments: Vec<(String, u64)>,
    /// Inputs put aside because turns on them failed.
    pub quarantined: u64,
    /// What is paused.
    pub pauses: Vec<Pause>,
    /// Runs that hold a step until a person has released it.
    pub in_review: u64,
    /// Runs that wait for a person's word on an effect of unknown fate.
    pub unresolved: u64,
    /// Customers with a parked grant, or with an effect of unknown fate that its run has left behind; some more are not
    /// counted beyond a page of them.
    pub parked: u64,
}

/// Reads the recent figures.
///
/// # Errors
/// When the store fails.
pub async fn recent(state: &WebState) -> Result<Recent, Problem> {
    let now = state.store.now();
    let from = now.plus_ms(-(FIGURE_DAYS - 1) * DAY_MS);
    let zone = state.intake.world().settings.zone;
    let day = |time: Time| time.date(zone).to_string();
    let figures = state.store.figures(day(from), day(now)).await?;
    let counts = state.store.counts().await?;
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    for figure in &figures {
        let sum = sums.entry(figure.funnel.clone()).or_default().entry(figure.what.clone()).or_default();
        *sum = (sum.0.saturating_add(figure.count), sum.1.saturating_add(figure.amount));
    }
    let mut live: BTreeMap<String, u64> = BTreeMap::new();
    let (mut in_review, mut unresolved) = (0, 0);
    for (funnel, state, count) in counts.live_runs {
        *live.entry(funnel).or_default() += count;
        match state.as_str() {
            "review" => in_review += count,
            "unresolved" => unresolved += count,
            _ => {}
        }
    }
    let parked = state.store.members(PARKED.to_owned(), PAGE_ROWS_MAX).await?.len();
    Ok(Recent {
        sums,
        live,
        figures,
        segments: counts.segments,
        quarantined: counts.quarantined,
        pauses: state.store.pauses().await?,
        in_review,
        unresolved,
        parked: parked as u64,
    })
}

/// Funnels with their figures.
pub async fn list(call: Call) -> Answer {
    call.query(&[])?;
    let recent = recent(&call.state).await?;
    let funnels: Vec<Json> = call
        .state
        .views
        .get()
        .iter()
        .map(|view| {
            let empty = Sums::new();
            let sums = recent.sums.get(&view.name).unwrap_or(&empty);
            let figures: serde_json::Map<String, Json> =
                sums.iter().map(|(what, (count, _))| (what.clone(), Json::from(*count))).collect();
            let waiting = recent.live.get(&view.name).copied().unwrap_or(0);
            json!({
                "name": view.name, "title": view.title, "trigger": view.trigger, "events": view.events, "waiting": waiting,
                "figures": figures,
            })
        })
        .collect();
    Ok(json(StatusCode::OK, &json!({ "funnels": funnels })))
}

/// Starts a run.
pub async fn start(call: Call) -> Answer {
    call.query(&[])?;
    let key = call.header(&HeaderName::from_static("idempotency-key")).map(str::to_owned);
    one(call.state.intake.enrol(call.param("name"), key.as_deref(), &call.body).await?)
}

/// Nothing was found: either there is nothing, or something that was asked for does not exist. A misspelled name must
/// not look like an empty list.
///
/// # Errors
/// When there is no such funnel, state or customer, or the store fails.
pub async fn sensible(state: &WebState, filter: &RunFilter) -> Result<(), Problem> {
    if !filter.state.is_empty() && !RUN_STATES.contains(&filter.state.as_str()) {
        let refusal = Refusal::new(format!("no run is ever `{}`", filter.state)).field("state");
        return Err(refusal.did_you_mean(&filter.state, RUN_STATES.iter().copied()).into());
    }
    let views = state.views.get();
    if !filter.funnel.is_empty() && views.iter().all(|view| view.name != filter.funnel) {
        // One whose file is gone has left runs behind, perhaps.
        let any = RunFilter { funnel: filter.funnel.clone(), ..RunFilter::default() };
        if state.store.runs(any, 1).await?.is_empty() {
            let refusal = Refusal::new(format!("there is no funnel `{}`", filter.funnel)).field("funnel");
            let refusal = refusal.did_you_mean(&filter.funnel, views.iter().map(|view| view.name.as_str()));
            return Err(IntakeError::NoSuch(refusal).into());
        }
    }
    if !filter.customer.is_empty() && state.store.record(filter.customer.clone()).await?.is_none() {
        let refusal = Refusal::new("there is no customer with that id").field("customer");
        return Err(IntakeError::NoSuch(refusal.hint("the page /customers finds her by name, e-mail or phone")).into());
    }
    Ok(())
}

/// Runs, newest first.
pub async fn runs(call: Call) -> Answer {
    let query = call.query(&["customer", "funnel", "state", "limit"])?;
    let filter = RunFilter { customer: query.text("customer"), funnel: query.text("funnel"), state: query.text("state") };
    let rows = call.state.store.runs(filter.clone(), query.limit()?).await?;
    if rows.is_empty() {
        sensible(&call.state, &filter).await?;
    }
    let paused = held_up(&call.state, &rows).await?;
    let runs: Vec<Json> = rows
        .iter()
        .map(|run| {
            json!({
                "customer": run.customer, "run": run.run, "funnel": run.funnel, "version": run.version, "state": run.state,
                "step": run.step, "entered": run.entered.to_string(), "until": run.until.map(|until| until.to_string()),
                "paused": paused.get(&(run.customer.as_str(), run.run)).map(|by| by.iter().map(holding).collect::<Vec<_>>()),
            })
        })
        .collect();
    Ok(json(StatusCode::OK, &json!({ "runs": runs })))
}

/// Runs by customer and number.
type ByRun<'r, T> = BTreeMap<(&'r str, u64), T>;

/// The pauses that hold up the effects of runs.
async fn held_up<'r>(state: &WebState, rows: &'r [RunRow]) -> Result<ByRun<'r, Vec<Pause>>, Problem> {
    let pauses = state.store.pauses().await?;
    let mut out = BTreeMap::new();
    if pauses.is_empty() {
        return Ok(out);
    }
    for row in rows.iter().filter(|row| row.state == "sending") {
        let document = state.store.record(row.customer.clone()).await?.map(|record| record.document).unwrap_or_default();
        // What cannot be read is complained of where it is worked on.
        let Ok(customer) = codec::decode::<Customer>(&document) else { continue };
        let Some(RunState::Effect { id }) = customer.run(row.run).map(|run| &run.state) else { continue };
        // It may have been sent meanwhile.
        let Some(waiting) = state.store.waiting(id.clone(), row.customer.clone()).await? else { continue };
        let hold = pauses_of(&pauses, Under::of(&waiting.effect));
        if !hold.is_empty() {
            out.insert((row.customer.as_str(), row.run), hold);
        }
    }
    Ok(out)
}

/// Figures of some days.
pub async fn stats(call: Call) -> Answer {
    let query = call.query(&["from", "to"])?;
    let now = call.state.store.now();
    let zone = call.state.intake.world().settings.zone;
    let to = asked_day(&query, "to", now.date(zone))?;
    let from = asked_day(&query, "from", now.plus_ms(-(FIGURE_DAYS - 1) * DAY_MS).date(zone))?;
    if from > to || (to - from).num_days() >= FIGURE_DAYS_MAX {
        return Err(Refusal::new(format!("`from` must be a day before `to`, and at most {FIGURE_DAYS_MAX} days lie between"))
            .field("from")
            .into());
    }
    let (from, to) = (from.to_string(), to.to_string());
    let figures = call.state.store.figures(from.clone(), to.clone()).await?;
    Ok(json(StatusCode::OK, &json!({ "from": from, "to": to, "figures": figures })))
}

fn asked_day(query: &Query, name: &str, default: chrono::NaiveDate) -> Result<chrono::NaiveDate, Problem> {
    match query.text(name).as_str() {
        "" => Ok(default),
        text => {
            parse_date(text).ok_or_else(|| Refusal::new(format!("`{name}` must be a day like 2027-03-01")).field(name).into())
        }
    }
}
