//! The remote loyalty store in a turn: what it says of her, and steps that ask it first.
//!
//! Only a step that reads what the store says asks it, when what is known is older than it may be. Everything else
//! (who enters, `while`, segments, exits) looks at what is known, which the store's own webhooks refresh too.

use super::Turn;
use super::advance::Next;
use super::view::View;
use crate::customer::store::fitted;
use crate::customer::{Look, RunState};
use crate::effect::{EffectKind, Lookup, OnUncertain, Outcome, VARIABLES_BYTES_MAX};
use crate::event::{Event, words};
use crate::fact::What;
use crate::funnel::settings::STORE;
use crate::funnel::{Funnel, StoreReads};
use crate::lang::time::{HOUR_MS, Time};
use crate::lang::value::{Fields, Value, json_bytes_beyond};
use crate::step::StepAt;
use std::sync::Arc;

/// How long a step waits for what the store says, in milliseconds; a message no longer than it may be late.
const LOOK_MS_MAX: i64 = 24 * HOUR_MS;

/// What stands behind the step's id in the id of a question.
const QUESTION: char = '?';

impl Turn<'_> {
    /// Whether a part of the run's step reads what the store says, and what is known is too old for that.
    pub(super) fn must_ask(&self, index: usize, funnel: &Funnel, step: &StepAt, part: fn(&StoreReads) -> bool) -> bool {
        let Some(store) = &self.workspace.settings.loyalty_store else { return false };
        let run = &self.customer.runs[index];
        if store.names.is_empty() || !funnel.store_reads.get(&run.at).is_some_and(part) {
            return false;
        }
        let most = step.max_age.map_or(store.max_age_ms, |span| Time(0).plus(span, chrono_tz::UTC).0);
        self.customer.loyalty.store.as_of.is_none_or(|as_of| self.now.since_ms(as_of) > most)
    }

    /// Asks the store before a step; it gives up at `deadline` at the latest.
    pub(super) fn ask_store(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, deadline: Option<Time>) -> Next {
        let now = self.real_now.max(self.now);
        let latest = || deadline.map_or(now.plus_ms(LOOK_MS_MAX), |deadline| deadline.min(now.plus_ms(LOOK_MS_MAX)));
        let until = self.customer.runs[index].look.as_ref().map_or_else(latest, |look| look.until);
        if until <= now {
            let why = format!("the loyalty store could not be asked until {}", self.clock_text(until));
            return self.unanswered(index, funnel, step, why);
        }
        let variables = match self.question(index) {
            Ok(variables) => variables,
            Err(why) => return self.unanswered(index, funnel, step, why),
        };
        let kind = EffectKind::Lookup(Lookup { provider: STORE.to_owned(), variables });
        let id = self.effect_id(index, &format!("{}{QUESTION}", step.id));
        // A question changes nothing: it leaves whatever the step's mode.
        self.leave(index, funnel, step, id, kind, (Some(until), OnUncertain::Resend));
        if let Some(fact) = self.facts.last_mut() {
            "asks the loyalty store first".clone_into(&mut fact.why);
        }
        self.customer.runs[index].look = Some(Look { until, asked: true });
        Next::Rest
    }

    /// What the request may name, frozen.
    fn question(&self, index: usize) -> Result<Fields, String> {
        let run = &self.customer.runs[index];
        let paths = self.workspace.settings.provider_variables.get(STORE).map(Vec::as_slice).unwrap_or_default();
        let variables = View { event: run.event.as_ref(), run: Some(run), ..self.view() }.freeze(paths);
        match json_bytes_beyond(&variables, VARIABLES_BYTES_MAX) {
            Some(bytes) => Err(format!("what the question names takes {bytes} bytes, more than {VARIABLES_BYTES_MAX}")),
            None => Ok(variables),
        }
    }

    /// The step has to do without: its `on_error` says how.
    fn unanswered(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, why: String) -> Next {
        let run = &mut self.customer.runs[index];
        (run.look, run.state) = (None, RunState::Ready);
        self.run_fact(index, funnel, What::Failed, step.id.clone(), why.clone());
        self.fail(index, funnel, step, why, step.on_error)
    }

    /// What came of the question of a run.
    pub(super) fn answered(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, outcome: Outcome) {
        let said = match outcome {
            Outcome::Accepted { data, .. } => fitted(data),
            Outcome::Refused { why } | Outcome::Unknown { why } | Outcome::Dead { why, .. } | Outcome::Parked { why, .. } => {
                Err(format!("the loyalty store could not be asked: {why}"))
            }
        };
        match said {
            Ok(data) => {
                let run = &mut self.customer.runs[index];
                (run.look, run.state) = (None, RunState::Ready);
                // What the step sends has another id than the question.
                run.decision += 1;
                let seen = data.iter().map(|(name, value)| (format!("customer.{name}"), value.clone())).collect();
                self.run_fact(index, funnel, What::LookedUp, "", "").seen = seen;
                self.customer.loyalty.store.as_of = Some(self.now);
                self.customer.loyalty.store.data = data;
                self.follow_store();
            }
            Err(why) => {
                // The run is ready or over now; whoever called goes on with all that are ready.
                let _ = self.unanswered(index, funnel, step, why);
            }
        }
    }

    /// What the store reports by itself.
    pub(super) fn store_event(&mut self, event: &Event) {
        match event.name.as_str() {
            words::STORE_UPDATED => self.store_updated(event),
            words::STORE_UNBLOCKED => self.release_parked(),
            _ => {}
        }
    }

    fn store_updated(&mut self, event: &Event) {
        let Some(store) = &self.workspace.settings.loyalty_store else { return };
        let known = &mut self.customer.loyalty.store;
        // News that was overtaken by an answer says nothing any more.
        if known.as_of.is_some_and(|as_of| event.time < as_of) {
            return;
        }
        let mut data = known.data.clone();
        data.extend(event.properties.iter().filter(|(name, _)| store.says(name)).map(|(n, v)| (n.clone(), v.clone())));
        let Ok(data) = fitted(data) else {
            self.fact(What::Alert, event.name.clone(), "what the loyalty store reports of her is too large; it is not kept");
            return;
        };
        if store.names.iter().all(|name| event.properties.contains_key(name)) {
            known.as_of = Some(event.time);
        }
        known.data = data;
        self.follow_store();
    }

    /// What lists and pages show follows what the store says.
    fn follow_store(&mut self) {
        self.mirror();
        if !self.workspace.settings.loyalty_store.as_ref().is_some_and(|store| store.says("tier")) {
            return;
        }
        let tier = self.customer.loyalty.store.data.get("tier").and_then(Value::as_text).unwrap_or_default().to_owned();
        self.tier_is(tier, Vec::new(), (true, false), 0);
    }

    /// Puts what a remote store says over what the built-in account would.
    pub(super) fn mirror_store(&mut self) {
        let Some(store) = &self.workspace.settings.loyalty_store else { return };
        let loyalty = &mut self.customer.loyalty;
        if store.says("balance") {
            loyalty.balance = loyalty.store.points("balance");
        }
        if store.says("pending") {
            loyalty.pending = loyalty.store.points("pending");
        }
        if store.says("next_expiry") {
            loyalty.next_expiry = match loyalty.store.data.get("next_expiry") {
                Some(Value::Time(at)) => Some(*at),
                _ => None,
            };
        }
    }
}

/// Whether an effect of that id is a question.
pub(super) fn is_question(effect: &str) -> bool {
    effect.rsplit('/').nth(1).is_some_and(|step| step.ends_with(QUESTION))
}
