//! What histories must keep so that every condition of a workspace can be judged.

use super::Funnel;
use super::settings::Settings;
use crate::catalog::Catalog;
use crate::customer::history::Keep;
use crate::event::words;
use crate::lang::cel::{Cond, Expr, Need};
use crate::segment::Segments;
use crate::trigger::Interest;
use crate::watch::Watch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Events kept singly in every workspace, by their first letters, with the properties kept of each.
const ALWAYS: &[(&str, &[&str])] =
    &[(words::PURCHASE, &["order_id"]), (words::REFUND, &["order_id"]), ("membership_", &["membership"]), ("offer_", &["offer"])];

/// What the definitions ask to be kept, by event name.
///
/// Purchases, refunds and the events of memberships and offers are kept singly for `keep` of the settings
/// whatever is asked, so that a definition added later finds a past. Every event that something looks out
/// for is counted.
pub fn keeps(
    settings: &Settings,
    segments: &Segments,
    catalog: &Catalog,
    funnels: &BTreeMap<String, Arc<Funnel>>,
) -> BTreeMap<String, Keep> {
    let mut out = Keeps(BTreeMap::new());
    let window = Some((settings.keep.months, settings.keep.days, settings.keep.ms));
    for word in words::WORDS {
        if let Some((_, properties)) = ALWAYS.iter().find(|(start, _)| word.name.starts_with(start)) {
            let properties = properties.iter().map(|name| (*name).to_owned()).collect();
            out.need(&Need { event: word.name.to_owned(), window, properties });
        }
    }
    for segment in segments.list() {
        out.cond(&segment.when);
    }
    for cond in catalog.conditions() {
        out.cond(cond);
    }
    for funnel in funnels.values() {
        out.funnel(funnel);
    }
    out.0
}

struct Keeps(BTreeMap<String, Keep>);

impl Keeps {
    fn need(&mut self, need: &Need) {
        self.0.entry(need.event.clone()).or_default().add(need);
    }

    fn count(&mut self, event: &str) {
        self.0.entry(event.to_owned()).or_default();
    }

    fn cond(&mut self, cond: &Cond) {
        for need in cond.needs() {
            self.need(&need);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        for need in expr.needs() {
            self.need(&need);
        }
    }

    fn watch(&mut self, watch: &Watch) {
        if let Watch::Event { name, .. } = watch {
            self.count(name);
        }
        for cond in watch.conditions() {
            self.cond(cond);
        }
    }

    fn funnel(&mut self, funnel: &Funnel) {
        if let Interest::Events(names) = funnel.trigger.interest() {
            for name in names {
                self.count(&name);
            }
        }
        if let Some(name) = funnel.trigger.event_name() {
            self.count(&name);
        }
        for need in funnel.trigger.needs() {
            self.need(&need);
        }
        let own = funnel.only_if.iter().chain(&funnel.go_on_while);
        for cond in funnel.trigger.conditions().into_iter().chain(own) {
            self.cond(cond);
        }
        for watch in funnel.exit_on.iter().chain(funnel.goal.iter().map(|goal| &goal.watch)) {
            self.watch(watch);
        }
        for expr in funnel.key.iter().chain(funnel.goal.iter().filter_map(|goal| goal.value.as_ref())) {
            self.expr(expr);
        }
        for at in &funnel.steps.list {
            if let Some(cond) = &at.only_if {
                self.cond(cond);
            }
            let ways = at.step.ways().into_iter().flat_map(|ways| ways.ways).map(|(watch, _)| watch);
            for watch in ways.chain(at.step.restart()).chain(at.step.undo().map(|(watch, _)| watch)) {
                self.watch(watch);
            }
            for need in at.step.needs() {
                self.need(&need);
            }
        }
    }
}
