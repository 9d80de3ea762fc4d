//! The virtual clock: one customer played through the real turn, with no store, queue or provider.
//!
//! Funnel tests, golden timelines and property tests all run on it. It delivers inputs at their instants,
//! wakes the customer when she is due, and answers effects at once: the account's by booking them, the
//! others by accepting, unless a failure was asked for.

use crate::account::Account;
use crate::customer::{Customer, RunState};
use crate::effect::call::Call;
use crate::effect::{Effect, EffectKind, Outcome, is_errand};
use crate::event::{Input, InputBody};
use crate::fact::{Fact, What};
use crate::funnel::Definitions;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::turn::{self, book, budget};
use purse::{Purse, Said};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use store::PlayedStore;

pub mod purse;
mod record;
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
    /// The budgets of all customers together; `None`: nothing is bounded.
    pub purse: Option<Purse>,
    failures: Vec<(String, Failure)>,
    answers: BTreeMap<String, Answer>,
    /// Effects whose answers a record has: nobody else answers them.
    answered_by_record: HashSet<String>,
    /// Those of them that are asked for here.
    effects_asked: HashMap<String, Effect>,
}

/// What a service answers.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body, if that is JSON.
    pub body: Option<Value>,
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
    /// Nobody answers.
    Silent,
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
            purse: None,
            failures: Vec::new(),
            answers: BTreeMap::new(),
            answered_by_record: HashSet::new(),
            effects_asked: HashMap::new(),
        }
    }

    /// From now on calls of that step are answered so; without it they are answered 200 with no body.
    pub fn answer_with(&mut self, step: &str, answer: Answer) {
        self.answers.insert(step.to_owned(), answer);
    }

    /// The next effect of that step fails.
    pub fn fail_next(&mut self, step: &str, failure: Failure) {
        self.failures.push((step.to_owned(), failure));
    }

    /// A person's word on what a step holds for review at that instant.
    pub fn review(&mut self, at: Time, step: &str, release: bool) {
        self.run_until(at.plus_ms(-1));
        let mut runs = self.customer.iter().flat_map(|customer| &customer.runs);
        let held = runs.find_map(|run| match &run.state {
            RunState::Review { id, .. } if id.rsplit('/').nth(1) == Some(step) => Some(id.clone()),
            _ => None,
        });
        let effect = held.unwrap_or_else(|| step.to_owned());
        self.input(at, InputBody::Review { effect, release, by: "a person".to_owned(), why: String::new() });
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
            if !self.is_waited_for(&effect.id) {
                // A word to another customer leaves all the same.
                if is_errand(&effect.id) {
                    self.effects.push(effect);
                }
                continue;
            }
            if self.answered_by_record.contains(&effect.id) {
                self.effects_asked.insert(effect.id.clone(), effect);
                continue;
            }
            let (outcome, alert) = self.judged(&effect);
            self.effects.push(effect.clone());
            let Some(outcome) = outcome else { continue };
            let result = InputBody::Result { effect: effect.id, outcome };
            effects.extend(self.commit(vec![Input { accepted_at: self.now, body: result }]));
            self.facts.extend(alert);
        }
    }

    /// What comes of an effect, budgets first; with what a person is told.
    fn judged(&mut self, effect: &Effect) -> (Option<Outcome>, Option<Fact>) {
        let (definitions, now) = (self.definitions, self.now);
        let settings = &definitions.current.settings;
        match self.purse.as_mut().map_or(Said::Go, |purse| purse.take(settings, effect, now)) {
            Said::Waits => (None, None),
            Said::Refused(why, told) => {
                (Some(Outcome::Refused { why }), told.map(|sentence| budget::alert(effect, &sentence, now)))
            }
            Said::Go => {
                let outcome = self.answer(effect);
                if let (Some(purse), Some(outcome)) = (&mut self.purse, &outcome) {
                    purse.settled(settings, effect, outcome, now);
                }
                (outcome, None)
            }
        }
    }

    /// Whether a run, or somebody who gives her points, waits for an effect.
    fn is_waited_for(&self, effect: &str) -> bool {
        let hers = |customer: &Customer| {
            customer.runs.iter().any(|run| run.waits_for(effect))
                || customer.asked.iter().any(|asked| asked.booking == effect)
                || customer.parked.iter().any(|parked| parked.grant.id == effect)
        };
        self.customer.as_ref().is_some_and(hers)
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

    /// What comes of an effect; `None`: nobody answers. A word to another customer, and points for her, are taken.
    fn answer(&mut self, effect: &Effect) -> Option<Outcome> {
        // A step that asks the store first fails by what it does, not by the question.
        let fails = |step: &str| *step == self.named(effect) && !matches!(effect.kind, EffectKind::Lookup(_));
        if let Some(at) = self.failures.iter().position(|(step, _)| fails(step)) {
            let (_, failure) = self.failures.remove(at);
            let why = "asked for by the test".to_owned();
            return Some(match failure {
                Failure::Silent => return None,
                Failure::Refused => Outcome::Refused { why },
                Failure::Dead => Outcome::Dead { why, attempts: 1 },
                Failure::Unknown => Outcome::Unknown { why },
            });
        }
        let workspace = &self.definitions.current;
        if let Some(customer) = &self.customer
            && let Some((account, outcome)) = book::book(workspace, customer, &self.account, effect, self.now)
        {
            self.account = account;
            return Some(outcome);
        }
        let zone = self.customer.as_ref().map_or(workspace.settings.zone, |customer| customer.zone(workspace.settings.zone));
        let stored = self.store.answer(effect, workspace.settings.loyalty_store.as_ref(), self.now, zone);
        Some(match &effect.kind {
            EffectKind::Call(call) => self.called(&effect.step, call),
            _ => stored.unwrap_or_else(|| self.render(effect)),
        })
    }

    /// How a test names an effect: by its step, with `.other` for what a gift to two asks of the other.
    fn named(&self, effect: &Effect) -> String {
        match is_errand(&effect.id) {
            true => format!("{}.other", effect.step),
            false => effect.step.clone(),
        }
    }

    /// The answer of a service, judged as it would be live; what live is tried again is dead here.
    fn called(&self, step: &str, call: &Call) -> Outcome {
        let answer = self.answers.get(step).cloned().unwrap_or(Answer { status: 200, body: None });
        let why = format!("the receiver answered {}", answer.status);
        match answer.status {
            status if call.expects(status) => {
                Outcome::Accepted { reference: None, data: call.read(status, answer.body.as_ref()) }
            }
            408 | 425 | 429 | 500.. => Outcome::Dead { why, attempts: 1 },
            _ => Outcome::Refused { why },
        }
    }

    /// A message is rendered for real: a template that cannot be rendered fails here as it would live.
    fn render(&self, effect: &Effect) -> Outcome {
        let accepted = Outcome::Accepted { reference: None, data: Fields::new() };
        let EffectKind::Message(message) = &effect.kind else { return accepted };
        let funnel = self.definitions.funnel(&effect.version);
        match funnel.and_then(|funnel| funnel.templates.get(&message.template)) {
            None => Outcome::Refused { why: format!("there is no template `{}`", message.template) },
            Some(template) => match template.render(&turn::review::with_way_out(message)) {
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
