//! Goals that are reached and runs that leave: both look at what just happened.

use super::sending::set_variant;
use super::view::View;
use super::{Pass, Turn};
use crate::customer::{Run, RunState};
use crate::event::Event;
use crate::fact::count::HOLDOUT;
use crate::fact::{Fact, Origin, RunRef, What};
use crate::funnel::Funnel;
use crate::lang::value::Value;
use crate::step::{StepAt, split};
use crate::trigger::LATE_MS;
use crate::watch::{Flip, Watch};
use std::sync::Arc;

impl Turn<'_> {
    /// Counts goals of every run whose window is open at the event's time, ended runs included.
    pub(super) fn goals(&mut self, pass: &Pass) {
        if pass.event.is_none() && pass.flips.is_empty() {
            return;
        }
        for index in 0..self.customer.runs.len() {
            let run = &self.customer.runs[index];
            let Some(funnel) = self.definitions.funnel(&run.version).cloned() else { continue };
            let Some(goal) = &funnel.goal else { continue };
            if run.goal.is_some() && !goal.every {
                continue;
            }
            let event = pass.event.as_ref().filter(|_| matches!(goal.watch, Watch::Event { .. }));
            let at = event.map_or(self.now, |event| event.time);
            let open = at >= run.entered && at <= run.entered.plus(goal.within, self.zone);
            if !open || !self.sees(&goal.watch, run, pass) {
                continue;
            }
            let minor = goal.value.as_ref().and_then(|value| {
                let view = View { event, run: Some(run), ..self.view() };
                let (worth, ..) = value.eval(&view);
                worth.ok().as_ref().and_then(Value::as_dec)
            });
            let amount = minor.and_then(|worth| self.workspace.settings.currency.minor(worth).ok());
            let about = event.map_or_else(|| goal.watch.sentence(), |event| event.name.clone());
            let again = run.goal.is_some();
            let fact = self.run_fact(index, &funnel, What::Goal, about, "");
            fact.amount = amount;
            if let Some(origin) = fact.run.as_mut().and_then(|run| run.origin.as_mut()) {
                origin.again = again;
            }
            let run = &mut self.customer.runs[index];
            run.goal = Some(at);
            if !goal.every {
                run.watch_until = Self::gifts_until(run);
            }
            let number = self.customer.runs[index].id;
            self.runs.touched.insert(number);
        }
    }

    /// Ends runs that look out for what just happened, and those whose `while` no longer holds.
    pub(super) fn exits(&mut self, pass: &Pass) {
        let mut index = 0;
        while let Some(number) = self.customer.runs.get(index).map(|run| run.id) {
            self.exit(index, pass);
            // A run that ended may have left the list; then the next one stands in its place.
            if self.customer.runs.get(index).is_some_and(|run| run.id == number) {
                index += 1;
            }
        }
    }

    fn exit(&mut self, index: usize, pass: &Pass) {
        let run = &self.customer.runs[index];
        let Some(funnel) = self.definitions.funnel(&run.version).filter(|_| run.is_live()).cloned() else { return };
        let Some(watch) = funnel.exit_on.iter().find(|watch| self.sees(watch, run, pass)) else {
            self.leave_unless_while(index, &funnel);
            return;
        };
        let about = match watch {
            Watch::Event { name, .. } => name.clone(),
            watch => watch.sentence(),
        };
        self.run_fact(index, &funnel, What::Exited, about, "exit_on");
        self.end_run(index, "exited");
    }

    /// Ends the run if its `while` does not hold; says whether it goes on.
    pub(super) fn leave_unless_while(&mut self, index: usize, funnel: &Arc<Funnel>) -> bool {
        let Some(condition) = &funnel.go_on_while else { return true };
        let run = &self.customer.runs[index];
        let verdict = condition.judge(&View { event: run.event.as_ref(), run: Some(run), ..self.view() });
        if verdict.value == Some(true) {
            return true;
        }
        let why = match verdict.missing {
            Some(missing) => format!("while: {missing} is not known"),
            None => format!("while: {} no longer holds", condition.text.text),
        };
        self.run_fact(index, funnel, What::Exited, "", why).seen = verdict.seen;
        self.end_run(index, "exited");
        false
    }

    /// Whether a run sees what it looks out for. An event from before its own entry does not count, nor does
    /// the one that started it, however often it is delivered.
    pub(super) fn sees(&self, watch: &Watch, run: &Run, pass: &Pass) -> bool {
        let own = |event: &Event| run.event.as_ref().is_some_and(|own| own.id == event.id && own.name == event.name);
        if let Some(event) = pass.event.as_ref().filter(|event| event.time >= run.entered && !own(event)) {
            let view = View { event: Some(event), run: Some(run), ..self.view() };
            if watch.sees_event(event, &view).is_some() {
                return true;
            }
        }
        pass.flips.iter().any(|(segment, entered)| watch.sees_flip(Flip { segment, entered: *entered }))
    }

    /// Ends a run: takes back its effect, keeps it while its goal window is open, and so long after it as an
    /// event of then may still arrive.
    pub(super) fn end_run(&mut self, index: usize, how: &'static str) {
        self.take_back(index);
        let now = self.now;
        let run = &mut self.customer.runs[index];
        run.state = RunState::Ended { at: now };
        let goal = self.definitions.funnel(&run.version).and_then(|funnel| funnel.goal.as_ref());
        let watching = goal.filter(|goal| goal.every || run.goal.is_none());
        let until = watching.map(|goal| run.entered.plus(goal.within, self.zone).plus_ms(LATE_MS));
        run.watch_until = until.max(Self::gifts_until(run)).filter(|until| *until > now);
        self.runs.touched.remove(&run.id);
        self.runs.ended.push((run.clone(), how, now));
        if run.watch_until.is_none() {
            self.customer.runs.remove(index);
        }
    }

    /// Takes back the effect that a run waits for. One of an earlier turn may be under way already; then its
    /// answer still comes.
    fn take_back(&mut self, index: usize) {
        let RunState::Effect { id } = self.customer.runs[index].state.clone() else { return };
        if self.is_parked(&id) {
            return;
        }
        if let Some(funnel) = self.definitions.funnel(&self.customer.runs[index].version).cloned() {
            let step = funnel.steps.list.get(self.customer.runs[index].at as usize);
            if let Some(step) = step.filter(|_| self.customer.runs[index].saga.is_some()) {
                self.run_fact(index, &funnel, What::Withdrawn, step.id.clone(), "the run is over");
                return self.give_up(index, step);
            }
            // What is told is told: it arrives all the same.
            if step.is_some_and(|step| step.step.tells().is_some()) && self.effects.iter().all(|effect| effect.id != id) {
                return;
            }
            let message = step.and_then(|step| self.message_of(index, step));
            let about =
                message.map_or_else(|| step.map_or_else(String::new, |step| step.id.clone()), |(name, _)| name.to_owned());
            let fact = self.run_fact(index, &funnel, What::Withdrawn, about, "the run is over");
            if let Some((_, channel)) = message {
                set_variant(fact, channel);
            }
        }
        let planned = self.effects.iter().position(|effect| effect.id == id);
        if let (None, Some(funnel)) = (planned, self.definitions.funnel(&self.customer.runs[index].version).cloned())
            && let Some(step) = funnel.steps.list.get(self.customer.runs[index].at as usize)
        {
            self.note_late(index, &funnel, step, &id);
        }
        self.give_place_back(&id, planned.is_none());
        match planned {
            Some(at) => drop(self.effects.remove(at)),
            None => self.withdrawn.push(id),
        }
    }

    /// Adds a fact about a run.
    pub(super) fn run_fact(
        &mut self,
        index: usize,
        funnel: &Funnel,
        what: What,
        about: impl Into<String>,
        why: impl Into<String>,
    ) -> &mut Fact {
        let run = &self.customer.runs[index];
        // Who is held out is at no step; her figures stand apart from those of who is not.
        let at = funnel.steps.list.get(run.at as usize).filter(|_| !run.ghost);
        let step = at.map(|step| step.id.clone()).unwrap_or_default();
        let variant = if run.ghost { HOLDOUT.to_owned() } else { String::new() };
        let origin = origin(run, funnel, what);
        let reference = RunRef { funnel: run.funnel.clone(), version: short(&run.version), run: run.id, step, variant, origin };
        let fact = self.fact(what, about, why);
        fact.run = Some(reference);
        fact
    }
}

/// How a run came about, for facts that are counted by it. Where that would say nothing, nothing is said.
pub(super) fn origin(run: &Run, funnel: &Funnel, what: What) -> Option<Box<Origin>> {
    let counted = match what {
        What::Goal | What::Variant => true,
        What::Entered | What::HeldOut => !run.segments.is_empty(),
        What::Sent | What::Granted | What::Undone | What::Offered | What::Event => true,
        _ => false,
    };
    if !counted {
        return None;
    }
    let drawn = |step: &StepAt| {
        let Some(Value::Map(result)) = run.results.get(&step.id) else { return None };
        Some((step.id.clone(), result.get("variant")?.as_text()?.to_owned()))
    };
    let arms: Vec<(String, String)> =
        funnel.steps.list.iter().filter(|step| step.kind == split::KIND.name).filter_map(drawn).collect();
    let plain = arms.is_empty() && run.segments.is_empty();
    if plain && !matches!(what, What::Goal | What::Variant) {
        return None;
    }
    Some(Box::new(Origin { since: run.entered, arms, segments: run.segments.clone(), again: false }))
}

/// The first characters of a version's hash: enough to tell versions of one funnel apart.
pub(super) fn short(version: &str) -> String {
    version.chars().take(8).collect()
}
