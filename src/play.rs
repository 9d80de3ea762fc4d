//! The virtual clock: one customer played through the real turn, with no store, queue or provider.
//!
//! Funnel tests, golden timelines and property tests all run on it. It delivers inputs at their instants,
//! wakes the customer when she is due, and answers effects at once: the account's by booking them, the
//! others by accepting, unless a failure was asked for.

use crate::account::Account;
use crate::customer::Customer;
use crate::effect::{Effect, EffectKind, Message, Outcome};
use crate::event::{Input, InputBody};
use crate::fact::{Fact, What};
use crate::funnel::Definitions;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::turn::{self, book};
use std::collections::VecDeque;
use store::PlayedStore;

pub mod store;

/// Most wakes that one call of [`Player::run_until`] plays.
pub const WAKES_MAX: usize = 10_000;

/// Most effects that are answered after one turn: funnels that message each other must not hang a test.
pub const EFFECTS_MAX: usize = 10_000;

/// A customer on a virtual clock.
#[derive(Clone, Debug)]
pub struct Player<'a> {
    /// The definitions.
    pub definitions: &'a Definitions,
    /// Her id.
    pub id: String,
    /// Her document; `None` before the first input.
    pub customer: Option<Customer>,
    /// Her account.
    pub account: Account,
    /// The clock.
    pub now: Time,
    /// Everything that happened, in order.
    pub facts: Vec<Fact>,
    /// Effects in the order in which they were planned, those withdrawn within a turn left out.
    pub effects: Vec<Effect>,
    /// Her next wake.
    pub wake: Option<Time>,
    /// The remote loyalty store, where the settings name one.
    pub store: PlayedStore,
    failures: Vec<(String, Failure)>,
}

/// How an effect is to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The receiver says no.
    Refused,
    /// No attempt succeeds.
    Dead,
    /// Nobody knows.
    Unknown,
}

impl<'a> Player<'a> {
    /// A customer of whom nothing is known.
    pub fn new(definitions: &'a Definitions, id: &str, now: Time) -> Player<'a> {
        Player {
            definitions,
            id: id.to_owned(),
            customer: None,
            account: Account::default(),
            now,
            facts: Vec::new(),
            effects: Vec::new(),
            wake: None,
            store: PlayedStore::default(),
            failures: Vec::new(),
        }
    }

    /// The next effect of that step fails.
    pub fn fail_next(&mut self, step: &str, failure: Failure) {
        self.failures.push((step.to_owned(), failure));
    }

    /// Plays up to `at`, then delivers an input there, before what is due at that very instant.
    pub fn input(&mut self, at: Time, body: InputBody) {
        self.run_until(at.plus_ms(-1));
        self.now = self.now.max(at);
        self.turn(vec![Input { accepted_at: self.now, body }]);
    }

    /// Delivers inputs as a backlog: each with its own instant, all in one turn at `now`.
    pub fn backlog(&mut self, inputs: Vec<Input>, now: Time) {
        self.now = self.now.max(now);
        self.turn(inputs);
    }

    /// Plays every wake up to and including `until`.
    pub fn run_until(&mut self, until: Time) {
        for _ in 0..WAKES_MAX {
            let Some(wake) = self.wake.filter(|wake| *wake <= until) else { break };
            self.now = self.now.max(wake);
            self.turn(Vec::new());
        }
        self.now = self.now.max(until);
    }

    /// One turn and the answers to its effects, until none is left.
    fn turn(&mut self, inputs: Vec<Input>) {
        let mut effects: VecDeque<Effect> = self.commit(inputs);
        for _ in 0..EFFECTS_MAX {
            let Some(effect) = effects.pop_front() else { break };
            let waiting = self.customer.as_ref().is_some_and(|customer| {
                let parked = || customer.parked.iter().any(|parked| parked.grant.id == effect.id);
                customer.runs.iter().any(|run| run.waits_for(&effect.id)) || parked()
            });
            if !waiting {
                continue;
            }
            let outcome = self.answer(&effect);
            self.effects.push(effect.clone());
            let result = InputBody::Result { effect: effect.id, outcome };
            effects.extend(self.commit(vec![Input { accepted_at: self.now, body: result }]));
        }
    }

    fn commit(&mut self, inputs: Vec<Input>) -> VecDeque<Effect> {
        let turned = turn::turn(self.definitions, &self.id, self.customer.take(), self.account.clone(), inputs, self.now);
        if let Some(account) = turned.account {
            self.account = account;
        }
        self.customer = (!turned.erase).then_some(turned.customer);
        self.wake = turned.wake;
        self.facts.extend(turned.facts);
        turned.effects.into()
    }

    fn answer(&mut self, effect: &Effect) -> Outcome {
        // A step that asks the store first fails by what it does, not by the question.
        let fails = |step: &str| *step == effect.step && !matches!(effect.kind, EffectKind::Lookup(_));
        if let Some(at) = self.failures.iter().position(|(step, _)| fails(step)) {
            let (_, failure) = self.failures.remove(at);
            let why = "asked for by the test".to_owned();
            return match failure {
                Failure::Refused => Outcome::Refused { why },
                Failure::Dead => Outcome::Dead { why, attempts: 1 },
                Failure::Unknown => Outcome::Unknown { why },
            };
        }
        let workspace = &self.definitions.current;
        if let Some(customer) = &self.customer
            && let Some((account, outcome)) = book::book(workspace, customer, &self.account, effect, self.now)
        {
            self.account = account;
            return outcome;
        }
        let zone = self.customer.as_ref().map_or(workspace.settings.zone, |customer| customer.zone(workspace.settings.zone));
        let stored = self.store.answer(effect, workspace.settings.loyalty_store.as_ref(), self.now, zone);
        stored.unwrap_or_else(|| self.render(effect))
    }

    /// A message is rendered for real: a template that cannot be rendered fails here as it would live.
    fn render(&self, effect: &Effect) -> Outcome {
        let accepted = Outcome::Accepted { reference: None, data: Fields::new() };
        let EffectKind::Message(message) = &effect.kind else { return accepted };
        let funnel = self.definitions.funnel(&effect.version);
        match funnel.and_then(|funnel| funnel.templates.get(&message.template)) {
            None => Outcome::Refused { why: format!("there is no template `{}`", message.template) },
            Some(template) => match template.render(&with_way_out(message)) {
                Ok(_) => accepted,
                Err(why) => Outcome::Refused { why: why.to_string() },
            },
        }
    }

    /// The facts of one funnel.
    pub fn facts_of<'f>(&'f self, funnel: &'f str) -> impl Iterator<Item = &'f Fact> {
        self.facts.iter().filter(move |fact| fact.run.as_ref().is_some_and(|run| run.funnel == funnel))
    }

    /// How often a kind of fact occurred.
    pub fn count(&self, what: What) -> usize {
        self.facts.iter().filter(|fact| fact.what == what).count()
    }
}

/// The variables of a message with a way out that leads nowhere: links are signed with a key that only a store has.
fn with_way_out(message: &Message) -> Fields {
    let mut variables = message.variables.clone();
    if let Some(links) = &message.links {
        variables.insert("unsubscribe_url".to_owned(), Value::Text(format!("{}/u/preview", links.address)));
    }
    variables
}
