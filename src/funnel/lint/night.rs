//! Deadlines that quiet hours can never meet: the message would be held until it is too late, every time.

use super::super::Funnel;
use super::super::settings::QuietHours;
use crate::lang::diag::Faults;
use crate::step::{MessagePlan, Quiet, StepAt};
use chrono::{NaiveTime, Timelike};

/// Minutes of a day.
const DAY_MINUTES: u32 = 24 * 60;
/// Milliseconds of a minute.
const MINUTE_MS: i64 = 60_000;

/// Reports messages that are held by the workspace's quiet hours and can never be sent.
pub fn deadlines(funnel: &Funnel, quiet: QuietHours, faults: &mut Faults) {
    let list = &funnel.steps.list;
    for (index, at) in list.iter().enumerate() {
        let Some(plan) = at.step.message().filter(|plan| is_held(plan, funnel)) else { continue };
        let night = format!("{}–{}", quiet.from.format("%H:%M"), quiet.until.format("%H:%M"));
        let hint = format!("quiet hours are {night}: choose another time, or `quiet_hours: ignore`");
        if plan.window.as_ref().is_some_and(|window| (0..DAY_MINUTES).all(|m| !window.has(clock(m)) || is_quiet(quiet, m))) {
            let message = format!("the window of `{}` lies in the quiet hours: it is never sent", at.id);
            faults.warning("never-in-time", &at.place, message).hint(hint);
            continue;
        }
        let Some(expires) = plan.expires.filter(|span| span.months == 0 && span.days == 0) else { continue };
        let Some(comes) = comes_at(funnel, index).filter(|comes| is_quiet(quiet, minute(*comes))) else { continue };
        let wait = (minute(quiet.until) + DAY_MINUTES - minute(comes)) % DAY_MINUTES;
        if expires.ms <= i64::from(wait) * MINUTE_MS {
            let message = format!(
                "`{}` is come to at {} and expires {expires} later, before the quiet hours end: it is never sent",
                at.id,
                comes.format("%H:%M")
            );
            faults.warning("never-in-time", &at.place, message).hint(hint);
        }
    }
}

/// Whether quiet hours hold the message.
fn is_held(plan: &MessagePlan, funnel: &Funnel) -> bool {
    let transactional = plan.transactional.unwrap_or(funnel.transactional);
    plan.quiet_hours.unwrap_or(if transactional { Quiet::Ignore } else { Quiet::Hold }) != Quiet::Ignore
}

/// The clock time at which a step is come to, where it is always the same one.
fn comes_at(funnel: &Funnel, index: usize) -> Option<NaiveTime> {
    let list = &funnel.steps.list;
    let at = &list[index];
    let before = |step: &&StepAt| step.depth == at.depth && step.arm == at.arm;
    for step in list[..index].iter().rev() {
        if let Some(clock) = step.step.clock().filter(|_| before(&step) && step.only_if.is_none()) {
            return Some(clock);
        }
        // What takes time, or stands elsewhere, may come to it at any hour.
        if !before(&step) || step.step.is_wait() || step.step.template().is_some() || !step.step.arms().is_empty() {
            return None;
        }
    }
    funnel.trigger.clock()
}

fn minute(time: NaiveTime) -> u32 {
    time.hour() * 60 + time.minute()
}

fn clock(minute: u32) -> NaiveTime {
    NaiveTime::from_num_seconds_from_midnight_opt(minute * 60, 0).unwrap_or(NaiveTime::MIN)
}

fn is_quiet(quiet: QuietHours, at: u32) -> bool {
    let (from, until) = (minute(quiet.from), minute(quiet.until));
    if from > until { at >= from || at < until } else { at >= from && at < until }
}
