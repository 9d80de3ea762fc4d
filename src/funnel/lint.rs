//! What no single file shows: funnels that start each other, steps that nothing leads to, a bonus that two
//! funnels give, templates that nothing sends.

use super::Funnel;
use super::settings::QuietHours;
use crate::lang::diag::{Faults, Place};
use crate::step::{END, NEXT, StepAt};
use crate::template::Template;
use crate::trigger::Interest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod night;
mod paths;
#[cfg(test)]
mod tests;

/// Reasons of bonuses that a customer is to get from one funnel only.
const SINGLE_BONUSES: &[&str] = &["welcome", "birthday"];

/// Of fewer customers of each variant the difference is mostly chance.
const SAMPLE_MIN: i64 = 100;

/// What can come of a grant.
const GRANT_RESULTS: &[&str] =
    &["active", "pending", "parked", "refused", "unknown", "dead", "skipped", "expired", "rejected", "shadowed"];

/// What a workspace is looked through for.
pub struct Linted<'a> {
    /// The funnels that compiled.
    pub funnels: &'a BTreeMap<String, Arc<Funnel>>,
    /// Where each funnel's file begins, by name.
    pub places: BTreeMap<&'a str, Place>,
    /// The templates with the first of their files.
    pub templates: BTreeMap<&'a str, &'a str>,
    /// The workspace's quiet hours.
    pub quiet: Option<QuietHours>,
    /// Whether the settings say where customers reach the engine.
    pub address: bool,
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
            words_of_grants(funnel, faults);
            winners(funnel, faults);
            paths::missing_results(funnel, faults);
            if let Some(quiet) = self.quiet {
                night::deadlines(funnel, quiet, faults);
            }
            self.way_out(funnel, faults);
        }
        self.enters(faults);
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
                .warning(
                    "no-goal",
                    place,
                    format!("the funnel `{}` has no goal, so nobody will know whether it works", funnel.name),
                )
                .hint("for example `goal: { event: purchase, within: 30 days, value: event.amount }`");
        }
    }

    /// Marketing has a way out, and a way out leads somewhere. Without an address of the engine there is none to be
    /// had; a workspace that sends for real needs it.
    fn way_out(&self, funnel: &Funnel, faults: &mut Faults) {
        for at in &funnel.steps.list {
            let Some((name, _)) = at.step.template() else { continue };
            let Some(template) = funnel.templates.get(name) else { continue };
            let names = template.variables().iter().any(|path| path.first().is_some_and(|root| root == "unsubscribe_url"));
            if names && !self.address {
                faults
                    .error(
                        "no-address",
                        &at.place,
                        format!("the message of the step `{}` offers a way out that leads nowhere", at.id),
                    )
                    .hint("say in autofunnel.yaml where customers reach this engine: `address: https://mail.shop.example`");
            }
            let marketing = !at.step.transactional().unwrap_or(funnel.transactional);
            if !names && self.address && at.step.channels().contains(&"email") && marketing {
                faults
                    .error(
                        "no-way-out",
                        &at.place,
                        format!("the marketing e-mail of the step `{}` has no way to unsubscribe", at.id),
                    )
                    .hint("name `{{ unsubscribe_url }}` in its template, or write `transactional: true` if it is none");
            }
        }
    }

    /// What a funnel reads as its event comes from what starts it; only one that is started by hand takes anything.
    fn enters(&self, faults: &mut Faults) {
        for at in self.funnels.values().flat_map(|funnel| &funnel.steps.list) {
            let Some(target) = at.step.enters().and_then(|name| self.funnels.get(name)) else { continue };
            if target.trigger.interest() != Interest::Manual {
                faults
                    .error(
                        "enter-trigger",
                        &at.place,
                        format!("the funnel `{}` cannot be entered: it starts with {}", target.name, target.trigger.sentence()),
                    )
                    .hint("only a funnel with `trigger: manual` can; or emit the event that it starts with");
            }
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
                        let message = format!(
                            "the funnels `{}` and `{}` both grant points for the reason `{reason}`",
                            other.name, funnel.name
                        );
                        faults
                            .error("same-bonus", &at.place, message)
                            .hint("a customer in both would get them twice; grant them in one funnel, or give another reason");
                    }
                }
            }
        }
    }

    /// Funnels that start on each other's events, through any number of others.
    fn emit_cycles(&self, faults: &mut Faults) {
        let mut graph = Graph::new(self.funnels);
        for index in 0..graph.funnels.len() {
            graph.visit(index);
        }
        for cycle in &graph.cycles {
            let names: Vec<&str> = cycle.iter().map(|index| graph.funnels[*index].name.as_str()).collect();
            let starts = |event: &str| graph.started_by(event).any(|index| index == cycle[1 % cycle.len()]);
            let next = names[1 % names.len()];
            let leads_on = |at: &&StepAt| told_by(at).into_iter().any(starts) || at.step.enters() == Some(next);
            let step = graph.funnels[cycle[0]].steps.list.iter().find(leads_on);
            let Some(step) = step else { continue };
            let message = match names[..] {
                [one] if step.step.enters().is_some() => format!("the funnel `{one}` enters itself"),
                [one] => format!(
                    "the funnel `{one}` starts on the event `{}` that it brings about itself",
                    told_by(step).into_iter().find(|event| starts(event)).unwrap_or_default()
                ),
                _ => format!("these funnels start each other: {} → {}", names.join(" → "), names[0]),
            };
            faults
                .warning("emit-cycle", &step.place, message)
                .hint("such a chain is cut after a few hops; let one of them start on something else");
        }
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

/// Which funnels start which by what they emit. Events are nodes of their own, after the funnels, so that
/// an event of many senders and many receivers makes few edges.
struct Graph<'a> {
    funnels: Vec<&'a Funnel>,
    /// Events that some funnel emits, with the funnels that they start.
    events: BTreeMap<&'a str, Vec<usize>>,
    edges: Vec<Vec<usize>>,
    /// By node: not visited, on the way to here, done with.
    seen: Vec<Option<bool>>,
    way: Vec<usize>,
    /// Each as the indices of its funnels, in the order in which they start each other.
    cycles: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn new(funnels: &'a BTreeMap<String, Arc<Funnel>>) -> Graph<'a> {
        let funnels: Vec<&Funnel> = funnels.values().map(Arc::as_ref).collect();
        let emitted = |funnel: &&'a Funnel| funnel.steps.list.iter().flat_map(told_by).collect::<BTreeSet<&str>>();
        let mut events: BTreeMap<&str, Vec<usize>> = funnels.iter().flat_map(emitted).map(|event| (event, Vec::new())).collect();
        for (index, funnel) in funnels.iter().enumerate() {
            let Interest::Events(names) = funnel.trigger.interest() else { continue };
            for name in &names {
                if let Some(started) = events.get_mut(name.as_str()) {
                    started.push(index);
                }
            }
        }
        let number: BTreeMap<&str, usize> = events.keys().zip(funnels.len()..).map(|(event, node)| (*event, node)).collect();
        let place = |name: &str| funnels.iter().position(|funnel| funnel.name == name);
        let entered =
            |funnel: &&'a Funnel| funnel.steps.list.iter().filter_map(|at| place(at.step.enters()?)).collect::<Vec<usize>>();
        let out = |funnel: &&'a Funnel| {
            let emitted = emitted(funnel);
            emitted.iter().filter_map(|event| number.get(event).copied()).chain(entered(funnel)).collect()
        };
        let edges: Vec<Vec<usize>> = funnels.iter().map(out).chain(events.values().cloned()).collect();
        Graph { seen: vec![None; edges.len()], funnels, events, edges, way: Vec::new(), cycles: Vec::new() }
    }

    fn started_by(&self, event: &str) -> impl Iterator<Item = usize> + '_ {
        self.events.get(event).into_iter().flatten().copied()
    }

    /// Goes on from a node that was not visited, and notes a cycle where the way comes back to itself. As
    /// deep as there are funnels and events in one chain, of which there are few thousand at most.
    fn visit(&mut self, node: usize) {
        match self.seen[node] {
            Some(true) => return,
            Some(false) => {
                let from = self.way.iter().position(|on_way| *on_way == node).unwrap_or(0);
                let funnels = self.way[from..].iter().copied().filter(|index| *index < self.funnels.len());
                self.cycles.push(funnels.collect());
                return;
            }
            None => self.seen[node] = Some(false),
        }
        self.way.push(node);
        for next in self.edges[node].clone() {
            self.visit(next);
        }
        self.way.pop();
        self.seen[node] = Some(true);
    }
}

/// The events that a step brings about: its own, and what the engine says of it.
fn told_by(at: &StepAt) -> Vec<&str> {
    let step = &at.step;
    let mut events: Vec<&str> = step.emits().into_iter().collect();
    events.extend(step.template().map(|_| "message_sent"));
    events.extend(step.grants().filter(|_| step.tells().is_none()).map(|_| "bonus_granted"));
    events.extend(step.offers().map(|_| "offer_shown"));
    events
}

/// A winner is chosen by the goal, so there must be one; by its worth, so there must be that.
fn winners(funnel: &Funnel, faults: &mut Faults) {
    for at in &funnel.steps.list {
        let Some((rule, _)) = at.step.test() else { continue };
        let by = rule.by.name();
        match &funnel.goal {
            None => {
                faults
                    .error(
                        "winner-without-goal",
                        &rule.place,
                        format!("the winner of `{}` is chosen by a goal, and the funnel has none", at.id),
                    )
                    .hint("for example `goal: { event: purchase, within: 14 days, value: event.amount }`");
            }
            Some(goal) if by == "value" && goal.value.is_none() => {
                faults
                    .error(
                        "winner-without-value",
                        &rule.place,
                        format!("the winner of `{}` is chosen by what goals are worth, and the goal says nothing of that", at.id),
                    )
                    .hint("add for example `value: event.amount` to the goal, or write `by: goal`");
            }
            Some(_) if rule.at_least < SAMPLE_MIN => {
                faults
                    .warning(
                        "small-sample",
                        &rule.place,
                        format!("of {} customers a variant, the better one is mostly better by chance", rule.at_least),
                    )
                    .hint(format!("wait for a few hundred: at least {SAMPLE_MIN}"));
            }
            Some(_) => {}
        }
    }
}

/// Steps that no way leads to; of several in a row the first is reported.
fn unreachable_steps(funnel: &Funnel, faults: &mut Faults) {
    let list = &funnel.steps.list;
    let mut reached = vec![false; list.len()];
    let mut open = vec![0_u32];
    while let Some(index) = open.pop() {
        let Some(at) = list.get(index as usize).filter(|_| !std::mem::replace(&mut reached[index as usize], true)) else {
            continue;
        };
        let own = (at.only_if.is_some() || at.step.goes_on()).then_some(NEXT);
        let targets = at.arms().into_iter().map(|(_, to)| to).chain(own);
        open.extend(
            targets.map(|to| if to == NEXT { at.next } else { to }).filter(|to| *to != END && (*to as usize) < list.len()),
        );
    }
    for (index, at) in list.iter().enumerate() {
        if !reached[index] && (index == 0 || reached[index - 1]) {
            faults
                .warning("unreachable-step", &at.place, format!("no way leads to the step `{}`", at.id))
                .hint("every way ends before it; move it, or remove it");
        }
    }
}

/// A grant has results of its own: a condition that asks for another word would never hold.
fn words_of_grants(funnel: &Funnel, faults: &mut Faults) {
    let grants: Vec<String> = funnel
        .steps
        .list
        .iter()
        // What another customer gets is said by her own turn.
        .filter(|at| at.step.grants().is_some() && at.step.tells().is_none())
        .map(|at| at.id.clone())
        .collect();
    for at in &funnel.steps.list {
        for condition in at.step.conditions().into_iter().chain(&at.only_if) {
            for grant in &grants {
                for word in words_asked(&condition.text.text, grant).filter(|word| !GRANT_RESULTS.contains(word)) {
                    faults
                        .error(
                            "unknown-result",
                            &condition.text.place,
                            format!("the grant `{grant}` never has the result `{word}`"),
                        )
                        .did_you_mean(word, GRANT_RESULTS.iter().copied())
                        .hint_if_none(format!("its result is one of: {}", GRANT_RESULTS.join(", ")));
                }
            }
        }
    }
}

/// The words that a condition compares the result of a step with.
fn words_asked<'c>(condition: &'c str, step: &str) -> impl Iterator<Item = &'c str> {
    let asked = format!("steps.{step}.result");
    let after: Vec<&str> = condition.match_indices(&asked).filter_map(|(at, _)| condition.get(at + asked.len()..)).collect();
    after.into_iter().filter_map(|rest| {
        let rest = rest.trim_start();
        let rest = rest.strip_prefix("==").or_else(|| rest.strip_prefix("!="))?.trim_start();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        rest.get(1..)?.split(quote).next()
    })
}

/// A message about an offer in a funnel that makes none can never be rendered in full.
fn offers_of_nobody(funnel: &Funnel, faults: &mut Faults) {
    if funnel.steps.list.iter().any(|at| at.step.offers().is_some()) {
        return;
    }
    let reads_offer =
        |template: &Arc<Template>| template.variables().iter().any(|path| path.first().is_some_and(|root| root == "offer"));
    for at in &funnel.steps.list {
        let Some((name, _)) = at.step.template() else { continue };
        if funnel.templates.get(name).is_some_and(reads_offer) {
            let message = format!("the template of the step `{}` shows an offer, but this funnel makes none", at.id);
            faults.warning("no-offer", &at.place, message).hint("add a step `- offer: BUNDLE` before it");
        }
    }
}
