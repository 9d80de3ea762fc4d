//! Waits that end, and waits that move with the date they follow.

use super::view::View;
use super::{Pass, Turn};
use crate::customer::{Run, RunState};
use crate::fact::What;
use crate::funnel::Funnel;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::step::{Flow, NEXT, StepAt, StepCx};
use crate::watch::Watch;
use std::sync::Arc;

impl Turn<'_> {
    /// Looks at every waiting run.
    pub(super) fn waits(&mut self, pass: &Pass) {
        let watched = |run: &Run, now: Time| run.is_live() || run.watch_until.is_some_and(|until| until >= now);
        let now = self.now;
        self.customer.runs.retain(|run| watched(run, now));
        let mut late: Vec<u64> = Vec::new();
        for index in 0..self.customer.runs.len() {
            match self.customer.runs[index].state {
                RunState::Waiting { until } => self.waiting(index, until, pass),
                RunState::Held { until } if until <= self.now => self.customer.runs[index].state = RunState::Ready,
                RunState::WaitingFor { until } => self.waiting_for(index, until, pass),
                RunState::Review { until: Some(until), .. } if until <= self.now => {
                    self.customer.runs[index].state = RunState::Ready
                }
                RunState::Effect { .. } => {
                    late.extend(self.customer.runs[index].saga.as_ref().map(|_| self.customer.runs[index].id))
                }
                RunState::Review { .. } | RunState::Held { .. } | RunState::Ready | RunState::Ended { .. } => {}
            }
        }
        // A gift that is given up may end its run, and so move the others.
        for number in late {
            if let Some(index) = self.customer.runs.iter().position(|run| run.id == number) {
                self.saga_due(index);
            }
        }
    }

    /// The funnel of a waiting run. One whose definition is gone must not wait for ever: it goes on, and is
    /// ended where its step would be done.
    fn waiting_at(&mut self, index: usize) -> Option<Arc<Funnel>> {
        let run = &mut self.customer.runs[index];
        let funnel = self.definitions.funnel(&run.version).filter(|funnel| funnel.steps.list.get(run.at as usize).is_some());
        if funnel.is_none() {
            run.state = RunState::Ready;
        }
        funnel.cloned()
    }

    fn waiting(&mut self, index: usize, until: Time, pass: &Pass) {
        let Some(funnel) = self.waiting_at(index) else { return };
        let Some(step) = funnel.steps.list.get(self.customer.runs[index].at as usize) else { return };
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

    fn waiting_for(&mut self, index: usize, until: Time, pass: &Pass) {
        let Some(funnel) = self.waiting_at(index) else { return };
        let run = &self.customer.runs[index];
        let Some(step) = funnel.steps.list.get(run.at as usize) else { return };
        let Some((watch, then, otherwise)) = step.step.watch() else {
            self.customer.runs[index].state = RunState::Ready;
            return;
        };
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
        if let Some(event) = pass.event.as_ref().filter(|_| held && matches!(watch, Watch::Event { .. })) {
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
        run.released = false;
        run.state = RunState::Ready;
        self.runs.touched.insert(run.id);
    }

    /// Asks a step with everything that it may look at.
    pub(super) fn with_step<T>(&self, index: usize, funnel: &Funnel, ask: impl FnOnce(&StepCx<'_>) -> T) -> T {
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
