//! Waits that end, and waits that move with the date they follow.

use super::view::View;
use super::{Pass, Turn};
use crate::customer::{Run, RunState};
use crate::event::Event;
use crate::fact::What;
use crate::funnel::Funnel;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::step::{Flow, NEXT, StepAt, StepCx, Ways};
use crate::watch::Watch;
use std::sync::Arc;

impl Turn<'_> {
    /// Looks at every waiting run.
    pub(super) fn waits(&mut self, pass: &Pass) {
        let watched = |run: &Run, now: Time| run.is_live() || run.watch_until.is_some_and(|until| until >= now);
        let now = self.now;
        self.customer.runs.retain(|run| watched(run, now));
        self.end_ghosts();
        self.send_parked();
        let mut late: Vec<u64> = Vec::new();
        for index in 0..self.customer.runs.len() {
            if self.customer.runs[index].ghost {
                continue;
            }
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

    /// Who is held out is watched as long as the goal is.
    fn end_ghosts(&mut self) {
        let over = |run: &Run, now: Time| run.ghost && run.is_live() && run.due().is_none_or(|until| until <= now);
        while let Some(index) = self.customer.runs.iter().position(|run| over(run, self.now)) {
            if let Some(funnel) = self.definitions.funnel(&self.customer.runs[index].version).cloned() {
                self.run_fact(index, &funnel, What::Finished, "", "held out");
            }
            self.end_run(index, "finished");
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
        if self.restarts(index, &funnel, step, pass) {
            return;
        }
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
        let Some(ways) = step.step.ways() else {
            self.customer.runs[index].state = RunState::Ready;
            return;
        };
        let (best, rank) = (run.best, self.seen_of(&ways, run, pass));
        let rank = rank.filter(|rank| best.is_none_or(|best| *rank < usize::from(best)));
        if let Some(rank) = rank {
            let event = pass.event.as_ref().filter(|_| matches!(ways.ways[rank].0, Watch::Event { .. }));
            self.matched(index, step, rank, event);
        }
        let due = until <= self.now;
        let taken = self.customer.runs[index].best.map(usize::from).filter(|rank| due || *rank == 0 || !ways.best);
        let (to, result, why) = match taken.and_then(|rank| ways.ways.get(rank)) {
            Some((watch, then)) => (*then, "matched", watch.sentence()),
            None if rank.is_none() && self.restarts(index, &funnel, step, pass) => return,
            None if due => {
                let data = Fields::from([("result".to_owned(), Value::from("timeout"))]);
                self.customer.runs[index].results.insert(step.id.clone(), Value::Map(data));
                let sentences: Vec<String> = ways.ways.iter().map(|(watch, _)| watch.sentence()).collect();
                (ways.otherwise, "timeout", sentences.join(" or "))
            }
            None => {
                if let Some((watch, _)) = rank.and_then(|rank| ways.ways.get(rank)) {
                    let why = format!("{}: something better is waited for", watch.sentence());
                    self.run_fact(index, &funnel, What::Waiting, self.clock_text(until), why);
                }
                return;
            }
        };
        self.run_fact(index, &funnel, What::Resumed, result, why);
        self.go(index, step, to);
    }

    /// The best of what a step looks out for that is seen now.
    fn seen_of(&self, ways: &Ways<'_>, run: &Run, pass: &Pass) -> Option<usize> {
        ways.ways.iter().position(|(watch, _)| match watch {
            Watch::Condition(condition) => {
                let view = View { event: run.event.as_ref(), run: Some(run), ..self.view() };
                condition.judge(&view).value == Some(true)
            }
            watch => self.sees(watch, run, pass),
        })
    }

    /// Something was seen that a step looks out for.
    pub(super) fn matched(&mut self, index: usize, step: &StepAt, rank: usize, event: Option<&Event>) {
        let number = i64::try_from(rank).unwrap_or(0).saturating_add(1);
        let mut data = Fields::from([("result".to_owned(), Value::from("matched")), ("rank".to_owned(), Value::Int(number))]);
        data.extend(event.map(|event| ("event".to_owned(), Value::Map(event.properties.clone()))));
        let run = &mut self.customer.runs[index];
        run.best = u8::try_from(rank).ok();
        run.results.insert(step.id.clone(), Value::Map(data));
        self.runs.touched.insert(run.id);
    }

    /// Begins the wait of a step anew when that is what has just happened. An event of a keyed funnel's own kind
    /// concerns the run of its key only; steps then read the newer one.
    fn restarts(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, pass: &Pass) -> bool {
        let run = &self.customer.runs[index];
        let Some(watch) = step.step.restart().filter(|watch| self.sees(watch, run, pass)) else { return false };
        let event = pass.event.as_ref().filter(|event| matches!(watch, Watch::Event { name, .. } if *name == event.name));
        if let Some(event) = event
            && !self.is_of_key(funnel, run, event)
        {
            return false;
        }
        let newer = event.filter(|event| run.event.as_ref().is_some_and(|own| own.name == event.name)).cloned();
        self.run_fact(index, funnel, What::Restarted, "", watch.sentence());
        let run = &mut self.customer.runs[index];
        run.event = newer.or(run.event.take());
        run.best = None;
        run.state = RunState::Ready;
        self.runs.touched.insert(run.id);
        true
    }

    fn is_of_key(&self, funnel: &Funnel, run: &Run, event: &Event) -> bool {
        let own_kind = funnel.trigger.event_name().is_some_and(|name| name == event.name);
        let Some(key) = funnel.key.as_ref().filter(|_| own_kind) else { return true };
        match key.eval(&View { event: Some(event), ..self.view() }).0 {
            Ok(Value::Text(text)) => text == run.key,
            Ok(value) => value.to_string() == run.key,
            Err(_) => false,
        }
    }

    /// Sends a run on to a step ([`NEXT`]: the one after `step`).
    pub(super) fn go(&mut self, index: usize, step: &StepAt, to: u32) {
        let run = &mut self.customer.runs[index];
        run.at = if to == NEXT { step.next } else { to };
        run.iteration += 1;
        run.decision = 0;
        run.deadline = None;
        run.put_off = None;
        run.tried = 0;
        run.best = None;
        run.look = None;
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
            winner: funnel
                .steps
                .list
                .get(run.at as usize)
                .and_then(|step| self.definitions.winner(&funnel.name, &step.id, self.now)),
        })
    }
}
