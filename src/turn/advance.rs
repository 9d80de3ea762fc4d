//! Runs do their steps: by priority (higher first), funnel name, run number, each until it has to wait.

use super::view::{OFFER, View};
use super::{HOPS_MAX, Pending, STEPS_PER_INSTANT_MAX, Turn};
use crate::customer::RunState;
use crate::effect::Word;
use crate::event::Event;
use crate::fact::What;
use crate::funnel::Funnel;
use crate::lang::cel::Verdict;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::step::{FAILED, Flow, IfPast, NEXT, OnError, StepAt};
use crate::watch::Watch;
use std::sync::Arc;

/// Whether a run goes on with another step at once.
pub(super) enum Next {
    /// It does.
    Again,
    /// It waits, or is over.
    Rest,
}

impl Turn<'_> {
    /// Advances every run that is ready. `depth` counts the hops that led here.
    pub(super) fn advance(&mut self, depth: u8) {
        while let Some(number) = self.first_ready() {
            while let Some(index) = self.ready(number) {
                if let Next::Rest = self.step(index, depth) {
                    break;
                }
            }
        }
    }

    /// The ready run whose turn it is.
    fn first_ready(&self) -> Option<u64> {
        let ready = self.customer.runs.iter().filter(|run| run.state == RunState::Ready);
        let rank = |run: &&crate::customer::Run| {
            let priority = self.definitions.funnel(&run.version).map_or(0, |funnel| funnel.priority);
            (std::cmp::Reverse(priority), run.funnel.clone(), run.id)
        };
        ready.min_by_key(rank).map(|run| run.id)
    }

    fn ready(&self, number: u64) -> Option<usize> {
        self.customer.runs.iter().position(|run| run.id == number && run.state == RunState::Ready)
    }

    /// Does the present step of a run.
    fn step(&mut self, index: usize, depth: u8) -> Next {
        let run = &self.customer.runs[index];
        let (number, at) = (run.id, run.at as usize);
        self.runs.touched.insert(number);
        let Some(funnel) = self.definitions.funnel(&run.version).cloned() else {
            let why = format!("its version {} is not kept any more", run.version);
            self.fact(What::Alert, run.funnel.clone(), why);
            self.end_run(index, "stopped");
            return Next::Rest;
        };
        let Some(step) = funnel.steps.list.get(at) else {
            self.run_fact(index, &funnel, What::Finished, "", "");
            self.end_run(index, "finished");
            return Next::Rest;
        };
        self.steps += 1;
        if self.steps > STEPS_PER_INSTANT_MAX {
            let why = format!("more than {STEPS_PER_INSTANT_MAX} steps in one instant; look for a loop without a wait");
            self.run_fact(index, &funnel, What::Alert, funnel.name.clone(), why.clone());
            self.run_fact(index, &funnel, What::Stopped, "limit", why);
            self.end_run(index, "stopped");
            return Next::Rest;
        }
        if self.must_ask(index, &funnel, step, |reads| reads.conditions) {
            return self.ask_store(index, &funnel, step, None);
        }
        if let Some(condition) = &step.only_if {
            let run = &self.customer.runs[index];
            let verdict = condition.judge(&View { event: run.event.as_ref(), run: Some(run), ..self.view() });
            if verdict.value != Some(true) {
                let text = condition.text.text.clone();
                return self.skip_by(index, &funnel, step, verdict, &text);
            }
        }
        let flow = self.with_step(index, &funnel, |cx| step.step.advance(cx));
        self.follow(index, &funnel, step, flow, depth)
    }

    fn follow(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, flow: Flow, depth: u8) -> Next {
        match flow {
            Flow::Next => self.go(index, step, NEXT),
            Flow::Goto { to, name, seen, variant, why } => {
                let what = if variant { What::Variant } else { What::Branched };
                let again = self.customer.runs[index].results.contains_key(&step.id);
                if variant {
                    self.result_of(index, step, "accepted", [("variant".to_owned(), Value::from(name.as_str()))].into());
                }
                let fact = self.run_fact(index, funnel, what, name.clone(), why);
                fact.seen = seen;
                if let Some(run) = fact.run.as_mut().filter(|_| variant) {
                    run.variant = name;
                    run.origin.iter_mut().for_each(|origin| origin.again = again);
                }
                self.go(index, step, to);
            }
            Flow::Wait { until, why } if until > self.now => {
                self.customer.runs[index].state = RunState::Waiting { until };
                self.run_fact(index, funnel, What::Waiting, self.clock_text(until), why);
                return Next::Rest;
            }
            Flow::Wait { .. } => self.go(index, step, NEXT),
            Flow::Past { was, rule } => return self.past(index, funnel, step, was, rule),
            Flow::NoDate { what } => {
                let why = format!("{what} is not known; the steps up to the next wait_until are not done without the date");
                self.skip(index, funnel, step, why);
                self.go(index, step, next_wait_until(funnel, step.next));
            }
            Flow::WaitFor { until } => return self.wait_for(index, funnel, step, until),
            Flow::Send(plan) => return self.send(index, funnel, step, *plan),
            Flow::Grant { plan, to: None } => return self.grant(index, funnel, step, plan, false),
            Flow::Grant { plan, to: Some(to) } => return self.grant_other(index, funnel, step, plan, to),
            Flow::Both { own, others: _, to, within } => return self.both(index, funnel, step, (own, to), within),
            Flow::Offer(plan) => return self.offer(index, funnel, step, plan),
            Flow::Call { call, expires } => return self.call(index, funnel, step, call, expires),
            Flow::Set(values) => self.set(index, funnel, step, values, depth),
            Flow::Emit { name, properties, to: None } => return self.emit_step(index, funnel, step, name, properties, depth),
            Flow::Emit { name, properties, to: Some(to) } => {
                let word = Word::Event { name, properties, depth: self.hops(index, depth).saturating_add(1) };
                return self.tell(index, funnel, step, to, word);
            }
            Flow::Enter { funnel: other, properties } => return self.enter_step(index, funnel, step, (other, properties), depth),
            Flow::Stop { reason } => {
                self.run_fact(index, funnel, What::Stopped, reason, "");
                self.end_run(index, "stopped");
                return Next::Rest;
            }
            Flow::Nothing { why } => {
                self.skip(index, funnel, step, why);
                self.go(index, step, NEXT);
            }
            Flow::Missing { what } => {
                let why = format!("{what} is not known");
                return self.fail(index, funnel, step, why, step.on_error);
            }
            Flow::Impossible { why } => return self.fail(index, funnel, step, why, step.on_error),
        }
        Next::Again
    }

    fn skip_by(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, verdict: Verdict, text: &str) -> Next {
        let why = match &verdict.missing {
            Some(missing) => format!("if: {missing} is not known"),
            None => format!("if: {text}"),
        };
        self.skip(index, funnel, step, why).seen = verdict.seen;
        self.go(index, step, NEXT);
        Next::Again
    }

    /// Records that a step did not do what it is for.
    pub(super) fn skip(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        why: impl Into<String>,
    ) -> &mut crate::fact::Fact {
        self.result_of(index, step, "skipped", Fields::new());
        self.run_fact(index, funnel, What::Skipped, step.id.clone(), why)
    }

    /// A step failed for good: the run stops or goes on.
    pub(super) fn fail(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, why: String, rule: OnError) -> Next {
        match rule {
            OnError::Skip => {
                self.skip(index, funnel, step, why);
                self.go(index, step, NEXT);
                Next::Again
            }
            OnError::Stop => {
                self.run_fact(index, funnel, What::Stopped, step.id.clone(), why);
                self.end_run(index, "stopped");
                Next::Rest
            }
            OnError::Branch(to) => {
                self.skip(index, funnel, step, why);
                self.branch_off(index, funnel, step, to);
                Next::Again
            }
        }
    }

    /// A step has failed, and steps stand there for that.
    pub(super) fn branch_off(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, to: u32) {
        self.run_fact(index, funnel, What::Branched, FAILED, "");
        self.go(index, step, to);
    }

    /// Notes what later steps read as `steps.<id>`.
    pub(super) fn result_of(&mut self, index: usize, step: &StepAt, result: &str, mut data: Fields) {
        data.insert("result".to_owned(), Value::from(result));
        if step.step.offers().is_some() && result == "accepted" {
            self.customer.runs[index].results.insert(OFFER.to_owned(), Value::Map(data.clone()));
        }
        self.customer.runs[index].results.insert(step.id.clone(), Value::Map(data));
    }

    fn past(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, was: Time, rule: IfPast) -> Next {
        let why = format!("{} is past", self.clock_text(was));
        match rule {
            IfPast::Continue => self.go(index, step, NEXT),
            IfPast::Exit => {
                self.run_fact(index, funnel, What::Exited, step.id.clone(), why);
                self.end_run(index, "exited");
                return Next::Rest;
            }
            IfPast::Skip => {
                self.skip(index, funnel, step, format!("{why}; the steps up to the next wait_until are not done late"));
                self.go(index, step, next_wait_until(funnel, step.next));
            }
        }
        Next::Again
    }

    fn wait_for(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, until: Time) -> Next {
        let Some(ways) = step.step.ways() else {
            self.go(index, step, NEXT);
            return Next::Again;
        };
        let run = &self.customer.runs[index];
        let view = View { event: run.event.as_ref(), run: Some(run), ..self.view() };
        let holds = |watch: &Watch| matches!(watch, Watch::Condition(condition) if condition.judge(&view).value == Some(true));
        let rank = ways.ways.iter().position(|(watch, _)| holds(watch));
        let sentences: Vec<String> = ways.ways.iter().map(|(watch, _)| watch.sentence()).collect();
        self.customer.runs[index].state = RunState::WaitingFor { until };
        match rank {
            Some(rank) if rank == 0 || !ways.best => {
                self.matched(index, step, rank, None);
                self.go(index, step, ways.ways[rank].1);
                return Next::Again;
            }
            Some(rank) => self.matched(index, step, rank, None),
            None => {}
        }
        self.run_fact(index, funnel, What::Waiting, self.clock_text(until), sentences.join(" or "));
        Next::Rest
    }

    fn set(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, values: Vec<(String, Value)>, depth: u8) {
        let names: Vec<String> = values.iter().map(|(name, _)| name.clone()).collect();
        let seen = values.clone();
        let under_way = self.under_way();
        for (name, value) in values {
            self.put_attribute(name, value);
        }
        self.follow_her_zone();
        self.run_fact(index, funnel, What::Set, names.join(", "), "").seen = seen;
        self.pending.push_back(Pending::Look { depth: self.hops(index, depth), under_way });
        self.go(index, step, NEXT);
    }

    fn emit_step(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        name: String,
        properties: Fields,
        depth: u8,
    ) -> Next {
        let hops = self.hops(index, depth).saturating_add(1);
        if hops > HOPS_MAX {
            return self.too_many_hops(index, funnel, name);
        }
        let run = &self.customer.runs[index];
        let id = format!("{}:{}:{}:{}", run.funnel, run.id, step.id, run.iteration);
        self.run_fact(index, funnel, What::Emitted, name.clone(), "");
        self.pending.push_back(Pending::Event(Event { id, name, time: self.now, properties, minor: None, depth: hops }));
        self.go(index, step, NEXT);
        Next::Again
    }

    fn enter_step(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        (other, properties): (String, Fields),
        depth: u8,
    ) -> Next {
        let hops = self.hops(index, depth).saturating_add(1);
        if hops > HOPS_MAX {
            return self.too_many_hops(index, funnel, other);
        }
        let run = &self.customer.runs[index];
        let id = format!("{}:{}:{}:{}", run.funnel, run.id, step.id, run.iteration);
        self.run_fact(index, funnel, What::PassedOn, other.clone(), "");
        self.pending.push_back(Pending::Enter { asked: (other, id, properties), depth: hops });
        self.go(index, step, NEXT);
        Next::Again
    }

    /// Funnels start each other in a ring.
    pub(super) fn too_many_hops(&mut self, index: usize, funnel: &Arc<Funnel>, about: String) -> Next {
        let why =
            format!("more than {HOPS_MAX} hops of emitted events and segment changes; look for funnels that start each other");
        self.run_fact(index, funnel, What::Alert, about, why.clone());
        self.run_fact(index, funnel, What::Stopped, "limit", why);
        self.end_run(index, "stopped");
        Next::Rest
    }

    /// The hops that led a run to where it is: those of what started it, or those of the present instant.
    pub(super) fn hops(&self, index: usize, depth: u8) -> u8 {
        self.customer.runs[index].event.as_ref().map_or(0, |event| event.depth).max(depth)
    }
}

/// The first `wait_until` from a step on, past what branches off; [`crate::step::END`] if there is none.
pub(super) fn next_wait_until(funnel: &Funnel, from: u32) -> u32 {
    let mut at = from;
    while let Some(step) = funnel.steps.list.get(at as usize).filter(|step| step.kind != "wait_until") {
        at = step.next;
    }
    at
}
