//! What no single file shows: funnels that start each other, steps that nothing leads to, a bonus that two
//! funnels give, templates that nothing sends.

use super::Funnel;
use crate::lang::diag::{Faults, Place};
use crate::step::{END, NEXT, StepAt};
use crate::template::Template;
use crate::trigger::Interest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Reasons of bonuses that a customer is to get from one funnel only.
const SINGLE_BONUSES: &[&str] = &["welcome", "birthday"];

/// What a workspace is looked through for.
pub struct Linted<'a> {
    /// The funnels that compiled.
    pub funnels: &'a BTreeMap<String, Arc<Funnel>>,
    /// Where each funnel's file begins, by name.
    pub places: BTreeMap<&'a str, Place>,
    /// The templates with the first of their files.
    pub templates: BTreeMap<&'a str, &'a str>,
    /// Whether every file could be read, so that what is not used is really not used.
    pub whole: bool,
}

impl Linted<'_> {
    /// Reports all that there is.
    pub fn report(&self, faults: &mut Faults) {
        for funnel in self.funnels.values() {
            self.no_goal(funnel, faults);
            unreachable_steps(funnel, faults);
            offers_of_nobody(funnel, faults);
        }
        self.same_bonus(faults);
        self.emit_cycles(faults);
        if self.whole {
            self.unused_templates(faults);
        }
    }

    fn no_goal(&self, funnel: &Funnel, faults: &mut Faults) {
        let persuades = |at: &StepAt| at.step.template().is_some() || at.step.offers().is_some();
        let Some(place) = self.places.get(funnel.name.as_str()) else { return };
        if funnel.goal.is_none() && !funnel.transactional && funnel.steps.list.iter().any(persuades) {
            faults
                .warning("no-goal", place, format!("the funnel `{}` has no goal, so nobody will know whether it works", funnel.name))
                .hint("for example `goal: { event: purchase, within: 30 days, value: event.amount }`");
        }
    }

    fn same_bonus(&self, faults: &mut Faults) {
        for reason in SINGLE_BONUSES {
            let mut first: Option<&Funnel> = None;
            for funnel in self.funnels.values() {
                let Some(at) = funnel.steps.list.iter().find(|at| at.step.grants() == Some(*reason)) else { continue };
                match first {
                    None => first = Some(funnel),
                    Some(other) => {
                        let message =
                            format!("the funnels `{}` and `{}` both grant points for the reason `{reason}`", other.name, funnel.name);
                        faults
                            .error("same-bonus", &at.place, message)
                            .hint("a customer in both would get them twice; grant them in one funnel, or give another reason");
                    }
                }
            }
        }
    }

    /// Funnels that start on each other's events: each cycle is reported once, where its first funnel emits.
    fn emit_cycles(&self, faults: &mut Faults) {
        let mut told: BTreeSet<Vec<&str>> = BTreeSet::new();
        for funnel in self.funnels.values() {
            for (at, next) in self.started_by(funnel) {
                let Some(mut path) = self.way(next, &funnel.name) else { continue };
                path.insert(0, &funnel.name);
                let mut members = path.clone();
                members.sort_unstable();
                members.dedup();
                if !told.insert(members) {
                    continue;
                }
                let event = at.step.emits().unwrap_or_default();
                let message = match path.len() {
                    1 => format!("the funnel `{}` starts on the event `{event}` that it emits itself", funnel.name),
                    _ => format!("these funnels start each other: {}", path.join(" → ")),
                };
                faults
                    .warning("emit-cycle", &at.place, message)
                    .hint("such a chain is cut after a few hops; let one of them start on something else");
            }
        }
    }

    /// The funnels that start on what this one emits, with the step that emits it.
    fn started_by<'f>(&'f self, funnel: &'f Funnel) -> Vec<(&'f StepAt, &'f Funnel)> {
        let mut out = Vec::new();
        for at in &funnel.steps.list {
            let Some(event) = at.step.emits() else { continue };
            let starts = |other: &&Arc<Funnel>| match other.trigger.interest() {
                Interest::Events(names) => names.iter().any(|name| name == event),
                _ => false,
            };
            out.extend(self.funnels.values().filter(starts).map(|other| (at, other.as_ref())));
        }
        out
    }

    /// The shortest way from one funnel to another along what they emit; both ends but the last included.
    fn way<'f>(&'f self, from: &'f Funnel, to: &str) -> Option<Vec<&'f str>> {
        let mut seen = BTreeSet::from([from.name.as_str()]);
        let mut ways = std::collections::VecDeque::from([vec![from]]);
        while let Some(way) = ways.pop_front() {
            let last = way.last()?;
            if last.name == to {
                return Some(way[..way.len() - 1].iter().map(|funnel| funnel.name.as_str()).collect());
            }
            for (_, next) in self.started_by(last) {
                if seen.insert(&next.name) {
                    ways.push_back(way.iter().copied().chain([next]).collect());
                }
            }
        }
        None
    }

    fn unused_templates(&self, faults: &mut Faults) {
        for (name, file) in &self.templates {
            if !self.funnels.values().any(|funnel| funnel.templates.contains_key(*name)) {
                let place = Place { file: Arc::from(*file), line: 1, column: 1, length: 1 };
                faults
                    .warning("unused-template", &place, format!("no funnel sends the template `{name}`"))
                    .hint("remove its files, or send it with a step");
            }
        }
    }
}

/// Steps that no way leads to; of several in a row the first is reported.
fn unreachable_steps(funnel: &Funnel, faults: &mut Faults) {
    let list = &funnel.steps.list;
    let mut reached = vec![false; list.len()];
    let mut open = vec![0_u32];
    while let Some(index) = open.pop() {
        let Some(at) = list.get(index as usize).filter(|_| !std::mem::replace(&mut reached[index as usize], true)) else { continue };
        let own = (at.only_if.is_some() || at.step.goes_on()).then_some(NEXT);
        let targets = at.step.arms().into_iter().map(|(_, to)| to).chain(own);
        open.extend(targets.map(|to| if to == NEXT { at.next } else { to }).filter(|to| *to != END && (*to as usize) < list.len()));
    }
    for (index, at) in list.iter().enumerate() {
        if !reached[index] && (index == 0 || reached[index - 1]) {
            faults
                .warning("unreachable-step", &at.place, format!("no way leads to the step `{}`", at.id))
                .hint("every way ends before it; move it, or remove it");
        }
    }
}

/// A message about an offer in a funnel that makes none can never be rendered in full.
fn offers_of_nobody(funnel: &Funnel, faults: &mut Faults) {
    if funnel.steps.list.iter().any(|at| at.step.offers().is_some()) {
        return;
    }
    let reads_offer = |template: &Arc<Template>| template.variables().iter().any(|path| path.first().is_some_and(|root| root == "offer"));
    for at in &funnel.steps.list {
        let Some((name, _)) = at.step.template() else { continue };
        if funnel.templates.get(name).is_some_and(reads_offer) {
            let message = format!("the template of the step `{}` shows an offer, but this funnel makes none", at.id);
            faults.warning("no-offer", &at.place, message).hint("add a step `- offer: BUNDLE` before it");
        }
    }
}
