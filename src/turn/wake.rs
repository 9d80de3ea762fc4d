//! The one next instant at which a customer needs a turn though nothing happens.

use super::entries::digest;
use super::segments::earlier;
use super::view::View;
use super::{Turn, UnderWay};
use crate::account;
use crate::customer::{RunState, Watched};
use crate::funnel::Funnel;
use crate::lang::time::Time;
use crate::trigger::{Interest, Occurrence, TriggerCx};
use crate::watch::Watch;
use std::sync::Arc;

impl Turn<'_> {
    /// The earliest of: the flip of a segment or tier, a run's wait or window, the end of what `while` or a
    /// condition waited for holds, the next occurrence of a time trigger, the account's next change.
    pub(super) fn next_due(&self) -> Option<Time> {
        let mut due = self.customer.judged_until;
        earlier(&mut due, account::next_due(&self.account));
        earlier(&mut due, self.settling_due());
        earlier(&mut due, self.parked_due());
        for run in &self.customer.runs {
            // A window that closes at an instant is open in it: the run is let go a moment later.
            let run_due = if run.is_live() { run.due() } else { run.watch_until.map(|until| until.plus_ms(1)) };
            earlier(&mut due, run_due);
            if run.is_live() {
                earlier(&mut due, self.run_flips(run));
            }
        }
        for funnel in &self.workspace.by_time {
            earlier(&mut due, self.occurs(funnel));
        }
        due
    }

    fn run_flips(&self, run: &crate::customer::Run) -> Option<Time> {
        let funnel = self.definitions.funnel(&run.version)?;
        let view = || View { event: run.event.as_ref(), run: Some(run), ..self.view() };
        let mut due = funnel.go_on_while.as_ref().and_then(|condition| condition.judge(&view()).until);
        let waits = matches!(run.state, RunState::WaitingFor { .. });
        let step = funnel.steps.list.get(run.at as usize).filter(|_| waits);
        for (watch, _) in step.and_then(|step| step.step.ways()).into_iter().flat_map(|ways| ways.ways) {
            if let Watch::Condition(condition) = watch {
                earlier(&mut due, condition.judge(&view()).until);
            }
        }
        // A flip is in the future by definition; what is not would make the turn stand still.
        due.filter(|due| *due > self.now)
    }

    /// The next occurrence of a funnel's time trigger that has not been judged yet.
    pub(super) fn occurrence(&self, funnel: &Arc<Funnel>) -> Option<Occurrence> {
        let after = self.customer.watched.get(&funnel.name)?.until;
        let next = self.with_trigger(funnel, |cx| funnel.trigger.next(cx, after));
        debug_assert_eq!(next.as_ref().map(|next| next.at), self.occurs(funnel), "{}", funnel.name);
        next
    }

    /// When that is.
    pub(super) fn occurs(&self, funnel: &Funnel) -> Option<Time> {
        let after = self.customer.watched.get(&funnel.name)?.until;
        self.with_trigger(funnel, |cx| funnel.trigger.next_at(cx, after))
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

    /// Sets out from an instant: time triggers that this customer has not met, or that are others now, look
    /// only after it, and milestones count only what is reached from now on.
    pub(super) fn watch_from(&mut self, from: Time) {
        let workspace = self.workspace;
        for funnel in workspace.funnels.values() {
            let mark = self.with_trigger(funnel, |cx| funnel.trigger.first_mark(cx));
            if mark.is_none() && funnel.trigger.interest() != Interest::Time {
                continue;
            }
            let trigger = digest(&funnel.trigger.sentence());
            if self.customer.watched.get(&funnel.name).is_some_and(|watched| watched.trigger == trigger) {
                continue;
            }
            self.customer.watched.insert(funnel.name.clone(), Watched { until: from, trigger });
            match mark {
                Some(mark) if mark != 0 => self.customer.marks.insert(funnel.name.clone(), mark),
                _ => self.customer.marks.remove(&funnel.name),
            };
        }
        self.customer.watched.retain(|name, _| workspace.funnels.contains_key(name));
        self.customer.marks.retain(|name, _| workspace.funnels.contains_key(name));
    }

    /// Everything that was due before an instant has happened: what comes up later in the past, because a
    /// date became known or she entered a segment only now, is no occurrence any more.
    pub(super) fn watched_before(&mut self, at: Time) {
        for funnel in &self.workspace.by_time {
            if let Some(watched) = self.customer.watched.get_mut(&funnel.name) {
                watched.until = watched.until.max(at.plus_ms(-1));
            }
        }
    }

    /// The occasions under way now.
    pub(super) fn under_way(&self) -> UnderWay {
        let funnels = self.workspace.by_time.iter().enumerate();
        funnels
            .filter_map(|(place, funnel)| Some((place, self.with_trigger(funnel, |cx| funnel.trigger.under_way(cx))?)))
            .collect()
    }

    /// Milestones of what an import says are reached and fire nothing.
    pub(super) fn settle_marks(&mut self) {
        let workspace = self.workspace;
        for funnel in workspace.funnels.values() {
            let Some(value) = self.with_trigger(funnel, |cx| funnel.trigger.first_mark(cx)) else { continue };
            let mark = self.customer.marks.get(&funnel.name).copied().unwrap_or(0);
            if value > mark {
                self.customer.marks.insert(funnel.name.clone(), value);
            }
        }
    }
}
