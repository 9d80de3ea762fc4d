//! Messages of which nobody knows whether they arrived.
//!
//! The run of such a message goes on: what is late is worth nothing. The message itself is listed for a person, who says
//! that it arrived, that it did not, or that it is to be sent again. Again means a decision of its own by the very step,
//! at that moment: consent, quiet hours, caps, `while` and its deadline count as they are then. So it is a run of its
//! own, which does that one step.

use super::Turn;
use super::goals::{origin, short};
use crate::customer::{RunState, UNSURE_MAX, Unsure};
use crate::effect::Outcome;
use crate::event::Event;
use crate::fact::{Fact, RunRef, What};
use crate::funnel::Funnel;
use crate::lang::value::Value;
use crate::step::StepAt;

impl Turn<'_> {
    /// A message of a run may have arrived, or not.
    pub(super) fn keep_unsure(&mut self, index: usize, funnel: &Funnel, step: &StepAt, effect: &str, why: &str) {
        let Some((template, channel)) = self.message_of(index, step) else { return };
        let unsure = Unsure {
            effect: effect.to_owned(),
            channel: channel.to_owned(),
            template: template.to_owned(),
            step: step.id.clone(),
            since: self.now,
            why: why.to_owned(),
            run: Box::new(self.customer.runs[index].clone()),
        };
        self.customer.unsure.push(unsure);
        if self.customer.unsure.len() > UNSURE_MAX {
            // It was told when it happened; only nobody can send it again.
            let oldest = self.customer.unsure.remove(0);
            let why = format!("{UNSURE_MAX} later messages to her are of unknown fate, too: it is not listed any more");
            self.run_fact(index, funnel, What::Alert, oldest.effect, why);
        }
    }

    /// A person's word on a message of unknown fate; false: there is none of that id.
    pub(super) fn unsure_result(&mut self, effect: &str, outcome: &Outcome) -> bool {
        let Some(unsure) = self.no_longer_unsure(effect) else { return false };
        match outcome {
            Outcome::Accepted { .. } => {
                self.unsure_fact(&unsure, What::Sent, unsure.template.clone(), "it did arrive, says a person".to_owned());
                let properties = [
                    ("channel".to_owned(), Value::from(unsure.channel.as_str())),
                    ("template".to_owned(), Value::from(unsure.template.as_str())),
                    ("funnel".to_owned(), Value::from(unsure.run.funnel.as_str())),
                ];
                let id = format!("message_sent:{effect}");
                let event = Event {
                    id,
                    name: "message_sent".to_owned(),
                    time: self.now,
                    properties: properties.into(),
                    minor: None,
                    depth: 1,
                };
                self.emit(event);
            }
            Outcome::Refused { why } | Outcome::Unknown { why } | Outcome::Dead { why, .. } | Outcome::Parked { why, .. } => {
                self.give_back(&unsure);
                let why = format!("it did not arrive, and is not sent again: {why}");
                self.unsure_fact(&unsure, What::Skipped, unsure.step.clone(), why);
            }
        }
        true
    }

    /// A person wants a message of unknown fate to be sent again; false: there is none of that id.
    pub(super) fn unsure_again(&mut self, effect: &str, why: &str) -> bool {
        let Some(unsure) = self.no_longer_unsure(effect) else { return false };
        self.give_back(&unsure);
        let mut run = *unsure.run;
        self.customer.last_run += 1;
        run.id = self.customer.last_run;
        run.alone = true;
        // A person has looked at it.
        run.released = true;
        run.state = RunState::Ready;
        run.decision = 0;
        run.goal = None;
        run.gifts.clear();
        self.runs.touched.insert(run.id);
        self.runs.began.insert(run.id);
        let version = run.version.clone();
        self.customer.runs.push(run);
        if let Some(funnel) = self.definitions.funnel(&version).cloned() {
            let index = self.customer.runs.len() - 1;
            self.run_fact(index, &funnel, What::Redecided, "", format!("{effect} did not arrive: {why}"));
        }
        true
    }

    fn no_longer_unsure(&mut self, effect: &str) -> Option<Unsure> {
        let at = self.customer.unsure.iter().position(|unsure| unsure.effect == effect)?;
        Some(self.customer.unsure.remove(at))
    }

    /// What did not arrive has no place under a cap.
    fn give_back(&mut self, unsure: &Unsure) {
        let counted = |send: &crate::customer::Send| {
            send.effect.is_none() && send.at == unsure.since && send.channel == unsure.channel && send.points == 0
        };
        if let Some(at) = self.customer.sends.iter().position(counted) {
            self.customer.sends.remove(at);
        }
    }

    fn unsure_fact(&mut self, unsure: &Unsure, what: What, about: String, why: String) -> &mut Fact {
        let funnel = self.definitions.funnel(&unsure.run.version).cloned();
        let origin = funnel.and_then(|funnel| origin(&unsure.run, &funnel, what));
        let fact = self.fact(what, about, why);
        fact.run = Some(RunRef {
            funnel: unsure.run.funnel.clone(),
            version: short(&unsure.run.version),
            run: unsure.run.id,
            step: unsure.step.clone(),
            variant: unsure.channel.clone(),
            origin,
        });
        fact
    }
}
