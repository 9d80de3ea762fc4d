//! What came of effects: the run goes on, skips or stops.

use super::Turn;
use super::advance::Next;
use super::caps::BUDGET;
use super::goals::{origin, short};
use super::saga::Part;
use super::sending::set_variant;
use super::store::is_question;
use super::tell::points_of;
use crate::customer::{LateGrant, RunState};
use crate::effect::call::UNREAD;
use crate::effect::{self, Outcome, is_errand};
use crate::fact::{Origin, RunRef, What};
use crate::funnel::Funnel;
use crate::lang::value::{Fields, Value};
use crate::step::{Flow, NEXT, OnError, StepAt};
use std::sync::Arc;

/// Most grants of runs that are over whose answers are waited for; most of them were taken back in time, and none comes.
const LATE_MAX: usize = 20;
/// Most values of an answer that a fact shows.
const SEEN_MAX: usize = 10;

impl Turn<'_> {
    /// The answer to an effect.
    pub(super) fn result(&mut self, effect: &str, outcome: Outcome) {
        self.mirror();
        self.settle_cap(effect, &outcome);
        if self.asked_result(effect, &outcome) {
            return;
        }
        let Some(index) = self.customer.runs.iter().position(|run| run.waits_for(effect)) else {
            if self.parked_result(effect, &outcome) {
                return;
            }
            if let Outcome::Parked { why, grant, alert } = outcome {
                // It was under way when the run ended, and is booked as soon as that can be.
                return self.keep_parked(*grant, why, alert);
            }
            if is_errand(effect) || is_question(effect) {
                return;
            }
            if self.granted_late(effect, &outcome) {
                return;
            }
            // The run ended, or the answer is a second one: what happened is recorded, nothing follows.
            let what = if matches!(outcome, Outcome::Accepted { .. }) { What::Sent } else { What::Failed };
            self.fact(what, effect, "the run did not wait for it any more");
            return;
        };
        if self.waits_on(effect, &outcome) {
            return;
        }
        self.customer.runs[index].unknown = None;
        let version = self.customer.runs[index].version.clone();
        let funnel = self.definitions.funnel(&version).cloned();
        let at = self.customer.runs[index].at as usize;
        let Some((funnel, step)) = funnel.as_ref().and_then(|funnel| Some((funnel, funnel.steps.list.get(at)?))) else {
            // Its definition is gone: it goes on, and is ended where its next step would be done.
            self.customer.runs[index].state = RunState::Ready;
            return;
        };
        if self.customer.runs[index].look.as_ref().is_some_and(|look| look.asked) {
            return self.answered(index, funnel, step, outcome);
        }
        match outcome {
            Outcome::Accepted { data, .. } => self.accepted(index, funnel, step, effect, data),
            Outcome::Parked { why, grant, alert } => self.park(index, funnel, step, (why, *grant, alert)),
            // Nobody knows whether the points were booked, or they could not be for days: the run holds until a
            // person resolves it.
            Outcome::Unknown { why } if step.step.template().is_none() => {
                self.hold(index, funnel, step, format!("unknown: {why}"));
            }
            Outcome::Dead { why, attempts } if step.step.template().is_none() && step.on_error == OnError::Stop => {
                self.hold(index, funnel, step, format!("given up after {attempts} attempts: {why}"));
            }
            outcome => self.failed(index, funnel, step, outcome),
        }
    }

    /// Points that were booked when their run was over already: they are hers, and of the funnel that gave them.
    fn granted_late(&mut self, effect: &str, outcome: &Outcome) -> bool {
        let Some(at) = self.customer.late.iter().position(|late| late.effect == effect) else { return false };
        let late = self.customer.late.remove(at);
        let Outcome::Accepted { data, .. } = outcome else { return false };
        let (Some(points), Some(run)) = (points_of(data), effect::run_of(effect)) else { return false };
        let step = effect.rsplit('/').nth(1).unwrap_or_default().to_owned();
        let plain = late.arms.is_empty() && late.segments.is_empty();
        let origin = Origin { since: late.since, arms: late.arms, segments: late.segments, again: false };
        let fact = self.fact(What::Granted, format!("{points} points"), "the run was over already");
        fact.amount = Some(points);
        fact.run = Some(RunRef {
            funnel: late.funnel,
            version: late.version,
            run,
            step,
            variant: String::new(),
            origin: (!plain).then(|| Box::new(origin)),
        });
        true
    }

    /// Points are taken back that may be under way: should they be booked all the same, it is known whose they are.
    pub(super) fn note_late(&mut self, index: usize, funnel: &Funnel, step: &StepAt, effect: &str) {
        if step.step.grants().is_none() || step.step.tells().is_some() {
            return;
        }
        let run = &self.customer.runs[index];
        let origin = origin(run, funnel, What::Granted);
        let (arms, segments) = origin.map_or_else(Default::default, |origin| (origin.arms, origin.segments));
        let (funnel, version) = (run.funnel.clone(), short(&run.version));
        let late = LateGrant { effect: effect.to_owned(), funnel, version, since: run.entered, arms, segments };
        self.customer.late.push(late);
        let surplus = self.customer.late.len().saturating_sub(LATE_MAX);
        self.customer.late.drain(..surplus);
    }

    fn hold(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, why: String) {
        self.run_fact(index, funnel, What::Failed, step.id.clone(), why.clone());
        let run = &mut self.customer.runs[index];
        run.unknown = Some(why);
        // Lists show it as it stands now.
        let number = run.id;
        self.runs.touched.insert(number);
    }

    fn accepted(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, effect: &str, data: Fields) {
        let data = match self.part_held(index, funnel, step, effect, &data) {
            Part::None if step.step.tells().is_some() => {
                let what = step.step.tells().unwrap_or_default();
                let to = self.other_of(index, funnel, step);
                self.run_fact(index, funnel, What::Told, what, format!("to {to}"));
                self.result_of(index, step, "accepted", data);
                return self.go(index, step, NEXT);
            }
            Part::None => data,
            Part::Waits => return,
            Part::Lost(why) => return self.failed(index, funnel, step, Outcome::Refused { why }),
            Part::Through(data) => data,
        };
        if let Some((template, channel)) = self.message_of(index, step) {
            let fact = self.run_fact(index, funnel, What::Sent, template, "");
            set_variant(fact, channel);
            let properties = [
                ("channel".to_owned(), Value::from(channel)),
                ("template".to_owned(), Value::from(template)),
                ("funnel".to_owned(), Value::from(funnel.name.as_str())),
            ];
            self.own_event(index, "message_sent", effect, properties.into());
        } else if let Some(reason) = step.step.grants() {
            let points = points_of(&data);
            let state = booked(&data);
            let about = points.map_or_else(|| reason.to_owned(), |points| format!("{points} points"));
            let why = if state == "pending" { format!("{reason}, pending") } else { reason.to_owned() };
            self.run_fact(index, funnel, What::Granted, about, why).amount = points;
            self.gift_is_hers(index, step, effect);
            let mut properties = data.clone();
            properties.insert("reason".to_owned(), Value::from(reason));
            properties.insert("grant".to_owned(), Value::from(effect));
            self.own_event(index, "bonus_granted", effect, properties);
            self.result_of(index, step, state, data);
            return self.go(index, step, NEXT);
        } else if let Some(bundle) = step.step.offers() {
            let seen: Vec<(String, Value)> = data.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            self.run_fact(index, funnel, What::Offered, bundle, "").seen = seen;
            let mut properties = data.clone();
            properties.insert("offer".to_owned(), Value::from(bundle));
            properties.insert("funnel".to_owned(), Value::from(funnel.name.as_str()));
            self.own_event(index, "offer_shown", effect, properties);
        }
        if let Some(service) = step.step.calls() {
            let unread = data.get(UNREAD).and_then(Value::as_text).unwrap_or_default().to_owned();
            self.run_fact(index, funnel, What::Called, service, unread).seen = looked_at(&data);
        }
        self.result_of(index, step, "accepted", data);
        self.go(index, step, NEXT);
    }

    /// Whom a step tells something.
    fn other_of(&self, index: usize, funnel: &Arc<Funnel>, step: &StepAt) -> String {
        match self.with_step(index, funnel, |cx| step.step.advance(cx)) {
            Flow::Grant { to: Some(to), .. } | Flow::Emit { to: Some(to), .. } => to,
            _ => "another customer".to_owned(),
        }
    }

    pub(super) fn failed(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, outcome: Outcome) {
        let (name, reason) = (outcome.name(), reason(&outcome));
        if let Some(saga) = &mut self.customer.runs[index].saga {
            // Whoever says no holds nothing.
            saga.other = None;
        }
        self.give_up(index, step);
        // It is answered: there is nothing to take back when the run ends.
        let run = &mut self.customer.runs[index];
        run.state = RunState::Ready;
        run.gifts.retain(|gift| gift.step != run.at || gift.until.is_some());
        let why = match outcome {
            Outcome::Refused { why } | Outcome::Unknown { why } => format!("{name}: {why}"),
            Outcome::Dead { why, attempts } => format!("{name} after {attempts} attempts: {why}"),
            Outcome::Accepted { .. } | Outcome::Parked { .. } => String::new(),
        };
        let about = step.step.template().map_or_else(|| step.id.clone(), |(template, _)| template.to_owned());
        let message = self.message_of(index, step);
        let fact = self.run_fact(index, funnel, What::Failed, about, why.clone());
        if let Some((_, channel)) = message {
            set_variant(fact, channel);
        }
        // One of unknown fate may have arrived: it is not sent again by another channel.
        if matches!(name, "refused" | "dead") && self.tries_next_channel(index, funnel, step) {
            return;
        }
        self.result_of(index, step, name, reason);
        match step.on_error {
            OnError::Skip => self.go(index, step, NEXT),
            OnError::Branch(to) => self.branch_off(index, funnel, step, to),
            OnError::Stop => {
                self.run_fact(index, funnel, What::Stopped, step.id.clone(), why);
                self.end_run(index, "stopped");
            }
        }
    }

    /// What a step wants is refused before it becomes an effect.
    pub(super) fn refuse(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, why: String) -> Next {
        let number = self.customer.runs[index].id;
        self.failed(index, funnel, step, Outcome::Refused { why });
        match self.customer.runs.iter().any(|run| run.id == number && run.state == RunState::Ready) {
            true => Next::Again,
            false => Next::Rest,
        }
    }

    /// A decision outlived its shelf life.
    pub(super) fn stale(&mut self, effect: &str, why: &str) {
        if !self.parked_stale(effect) {
            self.decide_anew(effect, why);
        }
    }
}

/// What became of a grant that was booked.
pub(super) fn booked(data: &Fields) -> &'static str {
    match data.get("state").and_then(Value::as_text) {
        Some("pending") => "pending",
        _ => "active",
    }
}

/// Why an effect failed, for later steps.
fn reason(outcome: &Outcome) -> Fields {
    match outcome {
        Outcome::Refused { why } if why.starts_with(&format!("{BUDGET}:")) => [("reason".to_owned(), Value::from(BUDGET))].into(),
        Outcome::Refused { why } | Outcome::Unknown { why } | Outcome::Dead { why, .. } => {
            [("reason".to_owned(), Value::from(why.as_str()))].into()
        }
        Outcome::Accepted { .. } | Outcome::Parked { .. } => Fields::new(),
    }
}

/// What an answer says, for people: its status and the single values of its body.
fn looked_at(data: &Fields) -> Vec<(String, Value)> {
    let body = match data.get("body") {
        Some(Value::Map(body)) => body.iter().map(|(name, value)| (format!("body.{name}"), value.clone())).collect(),
        Some(value) => vec![("body".to_owned(), value.clone())],
        None => Vec::new(),
    };
    let single = |(_, value): &(String, Value)| !matches!(value, Value::List(_) | Value::Map(_));
    let status = data.get("status").map(|status| ("status".to_owned(), status.clone()));
    status.into_iter().chain(body.into_iter().filter(single).take(SEEN_MAX)).collect()
}
