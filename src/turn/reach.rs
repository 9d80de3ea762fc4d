//! By which channel a message can go, and whether this is the time for it.

use super::Turn;
use super::advance::Next;
use super::caps::OverCap;
use super::sending::set_variant;
use crate::customer::RunState;
use crate::event::address::field_of;
use crate::fact::What;
use crate::funnel::Funnel;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::step::message::MESSAGE_EXPIRES_HOURS;
use crate::step::{Flow, MessagePlan, NEXT, OnCap, Quiet, StepAt};
use std::sync::Arc;

/// A channel by which she can be reached.
pub(super) struct Way {
    /// Its place among the channels of the step.
    pub by: usize,
    /// The channel.
    pub channel: &'static str,
    /// Her address there.
    pub to: String,
}

/// A channel that is passed over, and why.
pub(super) type Passed = (&'static str, String);

/// What stands against a message at an instant: what is done, until when, and why.
struct Against {
    rule: Quiet,
    until: Time,
    why: String,
}

impl Turn<'_> {
    /// The channels by which she can be reached, in their order, and those that are passed over. A channel that
    /// was tried in vain is not tried again.
    pub(super) fn ways(&self, index: usize, funnel: &Funnel, plan: &MessagePlan, transactional: bool) -> (Vec<Way>, Vec<Passed>) {
        let tried = usize::from(self.customer.runs[index].tried);
        let (mut ways, mut passed) = (Vec::new(), Vec::new());
        for (by, channel) in plan.channels.iter().enumerate().skip(tried) {
            match self.address_at(channel, plan, funnel, transactional) {
                Ok(to) => ways.push(Way { by, channel, to }),
                Err(why) => passed.push((*channel, why)),
            }
        }
        (ways, passed)
    }

    /// Her address at a channel, or why she cannot be written to there.
    fn address_at(&self, channel: &str, plan: &MessagePlan, funnel: &Funnel, transactional: bool) -> Result<String, String> {
        let field = field_of(channel);
        let to = self.customer.profile.get(field).and_then(Value::as_text).map(str::to_owned);
        let to = to.ok_or_else(|| format!("customer.{field} is not known"))?;
        let no = self.stopped(channel, &to, transactional).or_else(|| self.no_consent(channel, plan, funnel, transactional));
        no.map_or(Ok(to), Err)
    }

    /// What to do when this is not the time for a message: quiet hours, or outside of its window.
    pub(super) fn not_now(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        (plan, quiet): (&MessagePlan, Quiet),
        channel: &'static str,
        now: Time,
    ) -> Option<Next> {
        let hours = self.workspace.settings.quiet_hours.filter(|_| quiet != Quiet::Ignore);
        let hours = hours.and_then(|hours| {
            let why = format!("quiet hours {}–{}", hours.from.format("%H:%M"), hours.until.format("%H:%M"));
            Some(Against { rule: quiet, until: hours.end(now, self.zone)?, why })
        });
        let closed = plan.window.as_ref().filter(|window| window.open(now, self.zone).is_none());
        let closed = closed.map(|window| {
            let why = format!("outside of its window {window}");
            Against { rule: window.outside, until: window.opens(now, self.zone), why }
        });
        let against: Vec<Against> = hours.into_iter().chain(closed).collect();
        let by_rule = |rule: Quiet| against.iter().find(|against| against.rule == rule);
        if let Some(against) = by_rule(Quiet::Exit) {
            let why = against.why.clone();
            return Some(self.exit_instead(index, funnel, step.id.clone(), why, channel));
        }
        if let Some(against) = by_rule(Quiet::Skip) {
            return Some(self.not_sent(index, funnel, step, (plan, channel), What::Skipped, against.why.clone()));
        }
        let latest = against.iter().max_by_key(|against| against.until)?;
        self.hold_back(index, funnel, plan, channel, (latest.until, latest.why.clone()));
        Some(Next::Rest)
    }

    /// The whole step is decided anew at an instant, or when the time for it is over, whichever is first.
    fn hold_back(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        plan: &MessagePlan,
        channel: &'static str,
        (until, why): (Time, String),
    ) {
        let until = self.customer.runs[index].deadline.map_or(until, |deadline| until.min(deadline));
        self.customer.runs[index].state = RunState::Held { until };
        let fact = self.run_fact(index, funnel, What::Held, plan.template.clone(), why);
        fact.seen = vec![("until".to_owned(), Value::Time(until))];
        set_variant(fact, channel);
    }

    fn exit_instead(&mut self, index: usize, funnel: &Arc<Funnel>, about: String, why: String, channel: &str) -> Next {
        let fact = self.run_fact(index, funnel, What::Exited, about, why);
        set_variant(fact, channel);
        self.end_run(index, "exited");
        Next::Rest
    }

    /// No channel has room: the message is skipped, ends the run, or is put off until one has.
    pub(super) fn over_cap(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        (plan, channel): (&MessagePlan, &'static str),
        OverCap { why, free, counted }: OverCap,
        now: Time,
    ) -> Next {
        match plan.on_cap {
            OnCap::Skip => {
                let next = self.not_sent(index, funnel, step, (plan, channel), What::Capped, why);
                if let Some(fact) = self.facts.last_mut() {
                    fact.seen = counted;
                }
                next
            }
            OnCap::Exit => {
                let fact = self.run_fact(index, funnel, What::Capped, plan.template.clone(), why.clone());
                fact.seen = counted;
                set_variant(fact, channel);
                self.run_fact(index, funnel, What::Exited, "cap", why);
                self.end_run(index, "exited");
                Next::Rest
            }
            OnCap::Defer(span) => {
                let limit = *self.customer.runs[index].put_off.get_or_insert(now.plus(span, self.zone));
                if free > limit {
                    let why = format!(
                        "{why}; it may be put off until {}, there is room {}",
                        self.clock_text(limit),
                        self.clock_text(free)
                    );
                    return self.not_sent(index, funnel, step, (plan, channel), What::Capped, why);
                }
                self.hold_back(index, funnel, plan, channel, (free, why));
                Next::Rest
            }
        }
    }

    /// Whether a message may not be sent any more: then the next channel is tried where the step sets no deadline of
    /// its own, else the run goes on where it is to go on then.
    pub(super) fn message_expired(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        plan: &MessagePlan,
        now: Time,
    ) -> Option<Next> {
        let deadline = self.customer.runs[index].deadline.filter(|deadline| *deadline <= now)?;
        let by = self.customer.runs[index].by;
        let channel = plan.channels.get(usize::from(by)).copied().unwrap_or_default();
        let after = match plan.expires {
            Some(span) => format!("{span} after the run came to it"),
            None => format!("{MESSAGE_EXPIRES_HOURS}h after its decision"),
        };
        let why = format!("it expired {}, {after}", self.clock_text(deadline));
        if plan.expires.is_none() && usize::from(by) + 1 < plan.channels.len() {
            let fact = self.run_fact(index, funnel, What::Skipped, step.id.clone(), format!("{why}; the next channel is tried"));
            set_variant(fact, channel);
            self.next_channel(index, true);
            return None;
        }
        Some(self.expired(index, funnel, step, channel, why))
    }

    /// A step was not done in time.
    pub(super) fn expired(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, channel: &str, why: String) -> Next {
        self.result_of(index, step, "expired", Fields::new());
        let fact = self.run_fact(index, funnel, What::Skipped, step.id.clone(), why.clone());
        set_variant(fact, channel);
        if step.if_expired.is_some() {
            self.run_fact(index, funnel, What::Branched, "if_expired", why);
        }
        self.go(index, step, step.if_expired.unwrap_or(NEXT));
        Next::Again
    }

    fn next_channel(&mut self, index: usize, deadline_anew: bool) {
        let run = &mut self.customer.runs[index];
        run.tried = run.by.saturating_add(1);
        if deadline_anew {
            run.deadline = None;
        }
    }

    /// A message failed by one channel: whether there is another one to try. The decision gets a number of its own.
    pub(super) fn tries_next_channel(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt) -> bool {
        let more = usize::from(self.customer.runs[index].by) + 1 < step.step.channels().len();
        if !more {
            return false;
        }
        let own_deadline = match self.with_step(index, funnel, |cx| step.step.advance(cx)) {
            Flow::Send(plan) => plan.expires.is_some(),
            _ => false,
        };
        self.next_channel(index, !own_deadline);
        self.customer.runs[index].decision += 1;
        true
    }

    /// The template of a message step, and the channel by which its message goes.
    pub(super) fn message_of<'s>(&self, index: usize, step: &'s StepAt) -> Option<(&'s str, &'static str)> {
        let (template, first) = step.step.template()?;
        let by = usize::from(self.customer.runs[index].by);
        Some((template, step.step.channels().get(by).copied().unwrap_or(first)))
    }
}
