//! Waits that end, and waits that move with the date they follow.

use super::view::View;
use super::{Pass, Turn};
use crate::customer::RunState;
use crate::fact::What;
use crate::lang::value::{Fields, Value};
use crate::step::{Flow, NEXT, StepAt, StepCx};
use crate::watch::Watch;

impl Turn<'_> {
    /// Looks at every waiting run.
    pub(super) fn waits(&mut self, pass: &Pass) {
        for index in (0..self.customer.runs.len()).rev() {
            match self.customer.runs[index].state {
                RunState::Ended { .. } => {
                    if self.customer.runs[index].watch_until.is_none_or(|until| until < self.now) {
                        self.customer.runs.remove(index);
                    }
                }
                RunState::Waiting { until } => self.waiting(index, until, pass),
                RunState::Held { until } if until <= self.now => self.customer.runs[index].state = RunState::Ready,
                RunState::WaitingFor { until } => self.waiting_for(index, until, pass),
                RunState::Held { .. } | RunState::Ready | RunState::Effect { .. } => {}
            }
        }
    }

    fn waiting(&mut self, index: usize, until: crate::lang::time::Time, pass: &Pass) {
        let version = self.customer.runs[index].version.clone();
        let Some(funnel) = self.definitions.funnel(&version).cloned() else { return };
        let at = self.customer.runs[index].at as usize;
        let Some(step) = funnel.steps.list.get(at) else { return };
        if until <= self.now {
            self.go(index, step, NEXT);
            return;
        }
        if !pass.profile {
            return;
        }
        let moved = self.with_step(index, &funnel, |cx| step.step.moved(cx));
        match moved {
            Some(Flow::Wait { until: new, why }) if new != until => {
                self.customer.runs[index].state = RunState::Waiting { until: new };
                let number = self.customer.runs[index].id;
                self.runs.touched.insert(number);
                self.run_fact(index, &funnel, What::Waiting, self.clock_text(new), format!("{why}: the date has moved"));
            }
            // The new instant is past, or the date is gone: the step decides anew what that means.
            Some(Flow::Past { .. } | Flow::NoDate { .. }) => self.customer.runs[index].state = RunState::Ready,
            _ => {}
        }
    }

    fn waiting_for(&mut self, index: usize, until: crate::lang::time::Time, pass: &Pass) {
        let run = &self.customer.runs[index];
        let Some(funnel) = self.definitions.funnel(&run.version).cloned() else { return };
        let Some(step) = funnel.steps.list.get(run.at as usize) else { return };
        let Some((watch, then, otherwise)) = step.step.watch() else { return };
        let held = match watch {
            Watch::Condition(condition) => {
                let view = View { event: run.event.as_ref(), run: Some(run), ..self.view() };
                condition.judge(&view).value == Some(true)
            }
            watch => self.sees(watch, run, pass),
        };
        let (to, result) = match (held, until <= self.now) {
            (true, _) => (then, "matched"),
            (false, true) => (otherwise, "timeout"),
            (false, false) => return,
        };
        let mut data = Fields::from([("result".to_owned(), Value::from(result))]);
        if let Some(event) = pass.event.as_ref().filter(|_| held) {
            data.insert("event".to_owned(), Value::Map(event.properties.clone()));
        }
        self.customer.runs[index].results.insert(step.id.clone(), Value::Map(data));
        self.run_fact(index, &funnel, What::Resumed, result, watch.sentence());
        self.go(index, step, to);
    }

    /// Sends a run on to a step ([`NEXT`]: the one after `step`).
    pub(super) fn go(&mut self, index: usize, step: &StepAt, to: u32) {
        let run = &mut self.customer.runs[index];
        run.at = if to == NEXT { step.next } else { to };
        run.iteration += 1;
        run.decision = 0;
        run.deadline = None;
        run.state = RunState::Ready;
        self.runs.touched.insert(run.id);
    }

    /// Asks a step with everything that it may look at.
    pub(super) fn with_step<T>(&self, index: usize, funnel: &crate::funnel::Funnel, ask: impl FnOnce(&StepCx<'_>) -> T) -> T {
        let run = &self.customer.runs[index];
        let view = View { event: run.event.as_ref(), run: Some(run), ..self.view() };
        ask(&StepCx {
            now: self.now,
            zone: self.zone,
            customer: &self.customer,
            run,
            scope: &view,
            clock: funnel.trigger.clock(),
        })
    }
}
