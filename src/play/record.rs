//! Turns of a record, done again or instead.

use super::Player;
use super::purse::Said;
use crate::effect::{Effect, Outcome};
use crate::event::{Input, InputBody};
use crate::fact::Fact;
use crate::lang::time::Time;
use crate::turn::{self, book, budget};
use std::collections::HashSet;

impl Player<'_> {
    /// Does a turn as it was done: nobody is asked, the answers are in the record; what the built-in account booked it
    /// books again, and it is its own answer that counts.
    pub fn again(&mut self, mut inputs: Vec<Input>, more_from: Option<Time>, books: Option<&Effect>, now: Time) {
        self.now = self.now.max(now);
        if let Some(effect) = books {
            let outcome = self.booked(effect);
            if let (Some(purse), Some(Outcome::Accepted { .. })) = (&mut self.purse, &outcome) {
                purse.given(&self.definitions.current.settings, effect, now);
            }
            answer_with(&mut inputs, effect, outcome);
        }
        let (customer, account) = (self.customer.take(), self.account.clone());
        let turned = turn::turn_until(self.definitions, &self.id, customer, account, (inputs, more_from), now);
        if let Some(account) = turned.account {
            self.account = account;
        }
        self.customer = (!turned.erase).then_some(turned.customer);
        self.wake = turned.wake;
        self.facts.extend(turned.facts);
    }

    /// The effects whose answers are in the record.
    pub fn answered_by_record(&mut self, effects: HashSet<String>) {
        self.answered_by_record = effects;
    }

    /// Plays what came in under another workspace: due instants first, then the inputs. Answers of the record count
    /// where they answer what is asked here, too; what the record has no answer to is answered as without a record.
    pub fn instead(&mut self, inputs: Vec<Input>, books: Option<&Effect>, now: Time) {
        let first = inputs.first().map_or(now, |input| input.accepted_at).min(now);
        self.run_until(first.plus_ms(-1));
        self.now = self.now.max(now);
        for mut input in inputs {
            if let InputBody::Result { effect, .. } | InputBody::Stale { effect, .. } = &input.body
                && !self.is_waited_for(effect)
            {
                continue;
            }
            let Some(alert) = self.own_answer(&mut input, books) else { continue };
            self.turn(vec![input]);
            self.facts.extend(alert);
        }
    }

    /// Puts into the place of an answer of the record what would have been answered here: the account and budgets speak
    /// for themselves. `None`: nobody answers; else with what a person is told.
    fn own_answer(&mut self, input: &mut Input, books: Option<&Effect>) -> Option<Option<Fact>> {
        let InputBody::Result { effect: id, outcome } = &mut input.body else { return Some(None) };
        let booked = books.filter(|booked| booked.id == *id);
        let Some(own) = self.effects_asked.get(id).or(booked).cloned() else { return Some(None) };
        let settings = &self.definitions.current.settings;
        let mut refused_then = false;
        if let Some(purse) = &mut self.purse {
            refused_then = purse.heard(&own.funnel, outcome);
            match purse.take(settings, &own, self.now) {
                Said::Go => {}
                Said::Waits => return None,
                Said::Refused(why, told) => {
                    *outcome = Outcome::Refused { why };
                    return Some(told.map(|sentence| budget::alert(&own, &sentence, self.now)));
                }
            }
        }
        if refused_then {
            *outcome = self.answer(&own)?;
        } else if booked.is_some()
            && let Some(answer) = self.booked(&own)
        {
            *outcome = answer;
        }
        if let Some(purse) = &mut self.purse {
            purse.settled(settings, &own, outcome, self.now);
        }
        Some(None)
    }

    /// What the built-in account says to an effect, which it books.
    fn booked(&mut self, effect: &Effect) -> Option<Outcome> {
        let customer = self.customer.as_ref()?;
        let (account, outcome) = book::book(&self.definitions.current, customer, &self.account, effect, self.now)?;
        self.account = account;
        Some(outcome)
    }
}

fn answer_with(inputs: &mut [Input], to: &Effect, answer: Option<Outcome>) {
    for input in inputs {
        if let InputBody::Result { effect, outcome } = &mut input.body
            && *effect == to.id
            && let Some(answer) = &answer
        {
            outcome.clone_from(answer);
        }
    }
}
