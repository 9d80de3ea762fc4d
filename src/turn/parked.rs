//! Grants that the loyalty store has not booked because its programme is blocked.
//!
//! The run goes on; the grant stays in the customer's document, as it was sent, and is sent again, under the same key,
//! now and then and when the store says that it is unblocked. It leaves the document with the answer that it was
//! booked or refused, in the commit that takes that answer in: so it is released once, however often it is asked for.
//! Of a customer with many parked grants the runs wait with theirs, so that their number stays bounded.

use super::Turn;
use super::goals::{origin, short};
use crate::customer::store::{PARKED_MAX, Parked};
use crate::effect::{Effect, EffectKind, Outcome};
use crate::event::Event;
use crate::fact::{Fact, RunRef, What};
use crate::funnel::Funnel;
use crate::lang::time::{MINUTE_MS, Time};
use crate::lang::value::{Fields, Value};
use crate::step::{NEXT, StepAt};
use std::sync::Arc;

/// How often a parked grant is sent again where the store is only a provider, in milliseconds.
const ASK_AGAIN_MS: i64 = 10 * MINUTE_MS;

impl Turn<'_> {
    /// A run's grant was parked: the run goes on without it. One that would be too many is kept too, and its run waits.
    pub(super) fn park(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        (why, grant, alert): (String, Effect, bool),
    ) {
        let known = self.customer.parked.iter().any(|parked| parked.grant.id == grant.id);
        let data = [("points".to_owned(), Value::Int(points_of(&grant))), ("reason".to_owned(), Value::Text(why.clone()))].into();
        self.keep_parked(grant, why, alert);
        if known {
            return;
        }
        if self.customer.parked.len() > PARKED_MAX {
            let why = format!("{PARKED_MAX} of her grants are parked already, so the run waits for this one");
            self.run_fact(index, funnel, What::Held, step.id.clone(), why);
            return;
        }
        self.result_of(index, step, "parked", data);
        self.go(index, step, NEXT);
    }

    /// An answer to a parked grant for which its run waits; true: the run goes on waiting.
    pub(super) fn waits_on(&mut self, effect: &str, outcome: &Outcome) -> bool {
        let next = Some(self.now.plus_ms(self.ask_again_ms()));
        let Some(at) = self.customer.parked.iter().position(|parked| parked.grant.id == effect) else { return false };
        match outcome {
            Outcome::Dead { .. } => self.customer.parked[at].next = next,
            Outcome::Parked { .. } => return false,
            // From here on it is the run's.
            Outcome::Accepted { .. } | Outcome::Refused { .. } | Outcome::Unknown { .. } => drop(self.customer.parked.remove(at)),
        }
        matches!(outcome, Outcome::Dead { .. })
    }

    /// Whether a grant is parked: it outlives its run.
    pub(super) fn is_parked(&self, effect: &str) -> bool {
        self.customer.parked.iter().any(|parked| parked.grant.id == effect)
    }

    /// Keeps a grant until its programme is no longer blocked.
    pub(super) fn keep_parked(&mut self, grant: Effect, why: String, alert: bool) {
        let next = Some(self.now.plus_ms(self.ask_again_ms()));
        if let Some(known) = self.customer.parked.iter_mut().find(|parked| parked.grant.id == grant.id) {
            (known.next, known.why) = (next, why);
            return;
        }
        if alert {
            let why = format!("a programme of the loyalty store is blocked, its grants are parked: {why}");
            self.fact(What::Alert, "loyalty_store", why);
        }
        let points = points_of(&grant);
        self.grant_fact(&grant, What::Parked, format!("{points} points"), format!("{}: {why}", reason_of(&grant)));
        self.customer.parked.push(Parked { grant, since: self.now, why, next, unknown: None });
    }

    fn ask_again_ms(&self) -> i64 {
        self.workspace.settings.loyalty_store.as_ref().map_or(ASK_AGAIN_MS, |store| store.ask_again_ms)
    }

    /// What came of a parked grant that was sent again; false: there is none of that id.
    pub(super) fn parked_result(&mut self, effect: &str, outcome: &Outcome) -> bool {
        let Some(at) = self.customer.parked.iter().position(|parked| parked.grant.id == effect) else { return false };
        let next = Some(self.now.plus_ms(self.ask_again_ms()));
        match outcome {
            Outcome::Accepted { data, .. } => {
                let parked = self.customer.parked.remove(at);
                self.released(&parked, data.clone());
            }
            Outcome::Refused { why } => {
                let parked = self.customer.parked.remove(at);
                let (since, about) = (self.clock_text(parked.since), parked.grant.step.clone());
                self.grant_fact(&parked.grant, What::Failed, about, format!("refused: {why}; it was parked since {since}"));
                self.result_again(&parked.grant, "refused", [("reason".to_owned(), Value::from(why.as_str()))].into());
            }
            Outcome::Parked { why, .. } => {
                let parked = &mut self.customer.parked[at];
                (parked.next, parked.unknown) = (next, None);
                parked.why.clone_from(why);
            }
            // The store was not there for long: the grant is not given up.
            Outcome::Dead { .. } => self.customer.parked[at].next = next,
            Outcome::Unknown { why } => {
                self.customer.parked[at].unknown = Some(why.clone());
                let grant = self.customer.parked[at].grant.clone();
                self.grant_fact(&grant, What::Failed, grant.step.clone(), format!("unknown: {why}"));
            }
        }
        true
    }

    /// A parked grant was booked.
    fn released(&mut self, parked: &Parked, data: Fields) {
        let grant = &parked.grant;
        let points = match data.get("points") {
            Some(Value::Int(points)) => *points,
            _ => points_of(grant),
        };
        let state = super::results::booked(&data);
        let pending = if state == "pending" { ", pending" } else { "" };
        let why = format!("{}{pending}, released after it was parked since {}", reason_of(grant), self.clock_text(parked.since));
        self.grant_fact(grant, What::Granted, format!("{points} points"), why).amount = Some(points);
        let mut properties = data.clone();
        properties.insert("points".to_owned(), Value::Int(points));
        properties.insert("reason".to_owned(), Value::from(reason_of(grant)));
        properties.insert("grant".to_owned(), Value::from(grant.id.as_str()));
        let id = format!("bonus_granted:{}", grant.id);
        self.emit(Event { id, name: "bonus_granted".to_owned(), time: self.now, properties, minor: None, depth: 1 });
        self.result_again(grant, state, data);
    }

    /// What later steps of the grant's run read from now on.
    fn result_again(&mut self, grant: &Effect, result: &str, mut data: Fields) {
        data.insert("result".to_owned(), Value::from(result));
        let run = self.customer.runs.iter_mut().find(|run| run.id == grant.run && run.is_live());
        if let Some(run) = run.filter(|run| run.results.contains_key(&grant.step)) {
            run.results.insert(grant.step.clone(), Value::Map(data));
        }
    }

    /// The store says that it is unblocked: what is parked is sent again at once.
    pub(super) fn release_parked(&mut self) {
        let now = self.now;
        for parked in self.customer.parked.iter_mut().filter(|parked| parked.next.is_some()) {
            parked.next = Some(now);
        }
    }

    /// A parked grant met a gate that was raised since: it goes under the new one. False: there is none of that id.
    pub(super) fn parked_stale(&mut self, effect: &str) -> bool {
        let now = self.now;
        let found = self.customer.parked.iter_mut().find(|parked| parked.grant.id == effect);
        found.map(|parked| parked.next = Some(now)).is_some()
    }

    /// A person wants something to be tried now: a parked grant, or what nobody knows and did not happen, as the person
    /// has found out. What is on its way already, or was answered meanwhile, is left alone.
    pub(super) fn again(&mut self, effect: &str, why: &str) {
        let now = self.now;
        let Some(at) = self.customer.parked.iter().position(|parked| parked.grant.id == effect) else {
            if !self.gift_again(effect, why)
                && !self.unsure_again(effect, why)
                && self.customer.runs.iter().any(|run| run.waits_for(effect) && run.unknown.is_some())
            {
                self.decide_anew(effect, why);
            }
            return;
        };
        let parked = &mut self.customer.parked[at];
        if parked.unknown.take().is_some() {
            parked.next = Some(now);
            let grant = parked.grant.clone();
            self.grant_fact(&grant, What::Redecided, String::new(), why.to_owned());
        } else if parked.next.is_some() {
            parked.next = Some(now);
        }
    }

    /// Sends parked grants again whose time has come.
    pub(super) fn send_parked(&mut self) {
        let (now, gate) = (self.now, self.customer.gate);
        for parked in self.customer.parked.iter_mut().filter(|parked| parked.next.is_some_and(|next| next <= now)) {
            parked.next = None;
            self.effects.push(Effect { gate, ..parked.grant.clone() });
        }
    }

    /// When a parked grant is to be sent again.
    pub(super) fn parked_due(&self) -> Option<Time> {
        self.customer.parked.iter().filter_map(|parked| parked.next).min()
    }

    /// Adds a fact about a grant, whose run may be over.
    fn grant_fact(&mut self, grant: &Effect, what: What, about: String, why: String) -> &mut Fact {
        let run = self.customer.runs.iter().find(|run| run.id == grant.run);
        let funnel = self.definitions.funnel(&grant.version);
        let origin = run.zip(funnel).and_then(|(run, funnel)| origin(run, funnel, what));
        let fact = self.fact(what, about, why);
        fact.amount = (what == What::Parked).then(|| points_of(grant));
        fact.run = Some(RunRef {
            funnel: grant.funnel.clone(),
            version: short(&grant.version),
            run: grant.run,
            step: grant.step.clone(),
            variant: String::new(),
            origin,
        });
        fact
    }
}

fn points_of(grant: &Effect) -> i64 {
    match &grant.kind {
        EffectKind::Grant(grant) => grant.points,
        _ => 0,
    }
}

fn reason_of(grant: &Effect) -> &str {
    match &grant.kind {
        EffectKind::Grant(grant) => &grant.reason,
        _ => "",
    }
}
