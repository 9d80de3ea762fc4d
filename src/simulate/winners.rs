//! Splits whose winner the engine chooses, in a simulation.
//!
//! A winner hangs on what all customers do, and customers are played one by one. So everybody is played; what was
//! drawn and reached on the way says when the first winner would have been chosen; and everybody is played again, with
//! that winner from that instant on, until no further one comes up. The rule is the engine's own
//! ([`crate::funnel::winner`]). Live a winner holds some seconds later, when every worker knows of it.

use crate::fact::count::{Cohort, Group, Key, Sum, Table, Terms, count};
use crate::fact::{Fact, What};
use crate::funnel::winner::{Test, undecided};
use crate::funnel::{Definitions, Workspace};
use crate::lang::time::{Time, instant, parse_date};
use crate::step::winner::Winner;
use chrono::NaiveTime;
use std::collections::{BTreeMap, BTreeSet};

/// What was drawn and reached in the splits that are tests.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Drawn {
    terms: Terms,
    /// Funnels with such a split.
    funnels: BTreeSet<String>,
    facts: Vec<(Time, Key, Sum)>,
}

impl Drawn {
    /// Nothing yet, of what is undecided.
    pub fn of(definitions: &Definitions) -> Drawn {
        let funnels: BTreeSet<String> = undecided(definitions).iter().map(|test| test.funnel.to_owned()).collect();
        match funnels.is_empty() {
            true => Drawn::default(),
            false => Drawn { terms: terms(&definitions.current), funnels, facts: Vec::new() },
        }
    }

    /// Takes a fact in.
    pub fn take(&mut self, fact: &Fact) {
        let counts = matches!(fact.what, What::Variant | What::Goal);
        if !counts || !fact.run.as_ref().is_some_and(|run| self.funnels.contains(&run.funnel)) {
            return;
        }
        let of_arm = |(key, _): &(Key, Sum)| matches!(key.table, Table::Entry { .. }) && key.names()[2] == Group::Arm.name();
        let sums = count(std::slice::from_ref(fact), &self.terms).into_iter().filter(of_arm);
        self.facts.extend(sums.map(|(key, sum)| (fact.at, key, sum)));
    }

    /// Adds that of other customers.
    pub fn merge(&mut self, other: Drawn) {
        self.facts.extend(other.facts);
    }

    /// The winners that are chosen first: those of one instant. None: there is nothing more to be chosen.
    pub fn first_winners(&self, definitions: &Definitions, until: Time) -> Vec<Winner> {
        let mut first: Vec<Winner> = Vec::new();
        for test in undecided(definitions) {
            let before = first.first().map_or(until, |winner| winner.from);
            match self.winner(&test, before) {
                Some(winner) if first.iter().all(|other| other.from == winner.from) => first.push(winner),
                Some(winner) => first = vec![winner],
                None => {}
            }
        }
        first
    }

    /// The winner of a test, if one can be chosen by then.
    fn winner(&self, test: &Test<'_>, until: Time) -> Option<Winner> {
        let zone = self.terms.zone;
        let own = |key: &Key| key.names()[0] == test.funnel && key.names()[3] == test.step;
        let facts: Vec<_> = self.facts.iter().filter(|(_, key, _)| own(key)).collect();
        let days: BTreeSet<String> = facts.iter().map(|(_, key, _)| key.day_text()).collect();
        // The time for the goal is over for all who entered on a day.
        let over = |day: &String| {
            let first = instant(zone, parse_date(day)?.and_time(NaiveTime::MIN));
            Some(first.next_midnight(zone).plus(test.goal.within, zone))
        };
        let instants: BTreeSet<Time> = days.iter().filter_map(over).filter(|at| *at <= until).collect();
        instants.into_iter().find_map(|now| {
            let then = facts.iter().filter(|(at, ..)| *at <= now);
            let mut sums: BTreeMap<&Key, Sum> = BTreeMap::new();
            for (_, key, (count, amount)) in then {
                let sum = sums.entry(key).or_default();
                *sum = (sum.0 + count, sum.1.saturating_add(*amount));
            }
            let cohorts: Vec<Cohort> = sums.into_iter().map(|(key, sum)| cohort(key, sum)).collect();
            test.winner(test.arms(&cohorts, zone, now), now)
        })
    }
}

fn terms(workspace: &Workspace) -> Terms {
    let settings = &workspace.settings;
    Terms { zone: settings.zone, currency: Some(settings.currency), point: settings.point_value }
}

fn cohort(key: &Key, (count, amount): Sum) -> Cohort {
    let [funnel, version, _, step, name] = key.names().map(str::to_owned);
    let (age, held) = match key.table {
        Table::Entry { age, held } => (age, held),
        Table::Day => (0, false),
    };
    let what = key.what.to_owned();
    Cohort { day: key.day_text(), funnel, version, group: Group::Arm, step, name, held, what, age, count, amount }
}
