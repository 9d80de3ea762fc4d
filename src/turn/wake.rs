//! The one next instant at which a customer needs a turn though nothing happens.

use super::Turn;
use super::segments::earlier;
use super::view::View;
use crate::account;
use crate::customer::{RunState, Watched};
use crate::funnel::Funnel;
use crate::lang::time::Time;
use crate::trigger::{Occurrence, TriggerCx};
use crate::watch::Watch;
use std::sync::Arc;

impl Turn<'_> {
    /// The earliest of: the flip of a segment or tier, a run's wait or window, the end of what `while` or a
    /// condition waited for holds, the next occurrence of a time trigger, the account's next change.
    pub(super) fn next_due(&self) -> Option<Time> {
        let mut due = self.customer.judged_until;
        earlier(&mut due, account::next_due(&self.account));
        for run in &self.customer.runs {
            // A window that closes at an instant is open in it: the run is let go a moment later.
            let run_due = if run.is_live() { run.due() } else { run.watch_until.map(|until| until.plus_ms(1)) };
            earlier(&mut due, run_due);
            if run.is_live() {
                earlier(&mut due, self.run_flips(run));
            }
        }
        for funnel in &self.workspace.by_time {
            earlier(&mut due, self.occurrence(funnel).map(|occurrence| occurrence.at));
        }
        due
    }

    fn run_flips(&self, run: &crate::customer::Run) -> Option<Time> {
        let funnel = self.definitions.funnel(&run.version)?;
        let view = || View { event: run.event.as_ref(), run: Some(run), ..self.view() };
        let mut due = funnel.go_on_while.as_ref().and_then(|condition| condition.judge(&view()).until);
        if let RunState::WaitingFor { .. } = run.state
            && let Some(step) = funnel.steps.list.get(run.at as usize)
            && let Some((Watch::Condition(condition), ..)) = step.step.watch()
        {
            earlier(&mut due, condition.judge(&view()).until);
        }
        // A flip is in the future by definition; what is not would make the turn stand still.
        due.filter(|due| *due > self.now)
    }

    /// The next occurrence of a funnel's time trigger that has not been judged yet.
    pub(super) fn occurrence(&self, funnel: &Arc<Funnel>) -> Option<Occurrence> {
        let after = self.customer.watched.get(&funnel.name)?.until;
        self.with_trigger(funnel, |cx| funnel.trigger.next(cx, after))
    }

    /// Asks a trigger with everything that it may look at.
    pub(super) fn with_trigger<T>(&self, funnel: &Funnel, ask: impl FnOnce(&TriggerCx<'_>) -> T) -> T {
        let view = self.view();
        ask(&self.trigger_cx(funnel, &view))
    }

    /// What a trigger looks at, with the given view.
    pub(super) fn trigger_cx<'v>(&'v self, funnel: &Funnel, view: &'v View<'v>) -> TriggerCx<'v> {
        TriggerCx {
            now: self.now,
            zone: self.zone,
            workspace_zone: self.workspace.settings.zone,
            customer: &self.customer,
            scope: view,
            mark: self.customer.marks.get(&funnel.name).copied().unwrap_or(0),
        }
    }

    /// Sets out from an instant: time triggers that this customer has not met look only after it, and
    /// milestones count only what is reached from now on.
    pub(super) fn watch_from(&mut self, from: Time) {
        for funnel in self.workspace.funnels.values().cloned().collect::<Vec<_>>() {
            if self.customer.watched.contains_key(&funnel.name) {
                continue;
            }
            let times = self.workspace.by_time.iter().any(|other| other.name == funnel.name);
            let mark = self.with_trigger(&funnel, |cx| funnel.trigger.first_mark(cx));
            if times || mark.is_some() {
                self.customer.watched.insert(funnel.name.clone(), Watched { until: from });
            }
            if let Some(mark) = mark.filter(|mark| *mark != 0) {
                self.customer.marks.insert(funnel.name.clone(), mark);
            }
        }
        let funnels = &self.workspace.funnels;
        self.customer.watched.retain(|name, _| funnels.contains_key(name));
    }

    /// What an import brings in has been reached already: milestones count on from there.
    pub(super) fn settle_marks(&mut self) {
        for funnel in self.workspace.funnels.values().cloned().collect::<Vec<_>>() {
            let reached = self.with_trigger(&funnel, |cx| funnel.trigger.first_mark(cx));
            let mark = self.customer.marks.get(&funnel.name).copied().unwrap_or(0);
            if let Some(reached) = reached.filter(|reached| *reached > mark) {
                self.customer.marks.insert(funnel.name.clone(), reached);
            }
        }
    }
}
