//! Budgets of rewards over all customers who are played: what is used up, and which funnels that has paused.
//!
//! It refuses, pauses and tells as a live engine does. Nobody ends such a pause here, but for one thing: where a record
//! shows that a person did.

use crate::effect::{Effect, Outcome};
use crate::funnel::settings::Settings;
use crate::lang::time::Time;
use crate::turn::budget::{BUDGET, concerned, points, points_asked_for, refusal};
use std::collections::{BTreeMap, HashMap, HashSet};

/// See the module.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Purse {
    /// Points that were taken, by the budget and its period.
    used: HashMap<String, i64>,
    /// Funnels that are paused because a budget of theirs is used up.
    pub paused: BTreeMap<String, UsedUp>,
    /// Of which budget and funnel a person was told.
    told: HashSet<(String, String)>,
    /// Funnels that were refused points by a budget where the record was made.
    refused_live: HashSet<String>,
}

/// A funnel that is paused because a budget is used up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsedUp {
    /// Since when.
    pub since: Time,
    /// The budget in words.
    pub sentence: String,
    /// Effects that wait for the end of the pause.
    pub waiting: u64,
}

/// What budgets say to an effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// It goes.
    Go,
    /// Its funnel is paused: it waits.
    Waits,
    /// It is refused; with the budget in words, where a person is to be told.
    Refused(String, Option<String>),
}

impl Purse {
    /// A purse of which nothing is used; `None`: the settings have no budget of all customers together.
    pub fn new(settings: &Settings) -> Option<Purse> {
        settings.budgets.iter().any(|budget| !budget.each_customer).then(Purse::default)
    }

    /// Takes the points of an effect out of every budget that concerns it.
    pub fn take(&mut self, settings: &Settings, effect: &Effect, now: Time) -> Said {
        if let Some(paused) = self.paused.get_mut(&effect.funnel) {
            paused.waiting += 1;
            return Said::Waits;
        }
        let Some(points) = points(effect).or_else(|| points_asked_for(effect)) else { return Said::Go };
        let full = concerned(settings, &effect.funnel).find_map(|budget| {
            let (name, _) = budget.period(now, settings.zone);
            let used = self.used.get(&name).copied().unwrap_or(0);
            (used.saturating_add(points) > budget.points).then(|| (name, budget.sentence.clone()))
        });
        let Some((name, sentence)) = full else {
            self.count(settings, effect, points, now);
            return Said::Go;
        };
        let paused = UsedUp { since: now, sentence: sentence.clone(), waiting: 0 };
        self.paused.insert(effect.funnel.clone(), paused);
        let first = self.told.insert((name, effect.funnel.clone()));
        Said::Refused(refusal(&sentence), first.then_some(sentence))
    }

    /// What came of an effect that was let go: what it did not need is free again.
    pub fn settled(&mut self, settings: &Settings, effect: &Effect, outcome: &Outcome, now: Time) {
        let points = points(effect).or_else(|| points_asked_for(effect));
        if let (Some(points), Outcome::Refused { .. } | Outcome::Dead { .. } | Outcome::Parked { .. }) = (points, outcome) {
            self.count(settings, effect, -points, now);
        }
    }

    /// Points that were given where the record was made, under these very settings.
    pub(super) fn given(&mut self, settings: &Settings, effect: &Effect, now: Time) {
        self.count(settings, effect, points(effect).unwrap_or(0), now);
    }

    /// What the record says of an effect. True: a budget of that time has refused it, which is no answer of these ones.
    pub(super) fn heard(&mut self, funnel: &str, outcome: &Outcome) -> bool {
        if is_refusal(outcome) {
            self.refused_live.insert(funnel.to_owned());
            return true;
        }
        // Something of it went out after the refusal: a person has ended the pause.
        if self.refused_live.contains(funnel) {
            self.paused.remove(funnel);
        }
        false
    }

    fn count(&mut self, settings: &Settings, effect: &Effect, points: i64, now: Time) {
        for budget in concerned(settings, &effect.funnel) {
            let (name, _) = budget.period(now, settings.zone);
            let used = self.used.entry(name).or_default();
            *used = used.saturating_add(points);
        }
    }
}

fn is_refusal(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused { why } if why.strip_prefix(BUDGET).is_some_and(|rest| rest.starts_with(':')))
}
