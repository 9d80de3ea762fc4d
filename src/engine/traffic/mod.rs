//! How much goes to each provider at one time: its rate, its health, its share of the workers.
//!
//! Deliveries ask here before the last gate. Whoever has to wait goes back into the outbox with an
//! instant, so that no worker stands still for one provider while others could be served, and no attempt
//! is spent on a provider that is known to be down. Nothing is dropped: a message whose deadline passes
//! meanwhile is decided anew by the turn.
//!
//! Two lanes: what is not marketing (receipts, codes, grants) has a part of the rate and of the workers
//! that marketing cannot take.
//!
//! ```text
//! rate     slots in time, one effect each
//! breaker  rests a provider that fails again and again
//! asked    when a receiver may be asked about an effect that may have happened
//! ```

use crate::channel::{Limits, SendResult};
use crate::lang::time::{MINUTE_MS, SECOND_MS, Time};
use asked::Asked;
use breaker::{Breaker, Leave};
use rate::{Slots, When};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

mod asked;
mod breaker;
mod rate;

/// Calls to one provider at the same time, unless its settings say otherwise.
const AT_ONCE: u32 = 96;
/// Of ten calls at the same time marketing may have so many.
const MARKETING_TENTHS: u32 = 8;
/// How long an effect steps back while a provider has as many calls as it may have.
const BUSY_MS: i64 = SECOND_MS / 4;
/// Those that a rest has sent away come back one after the other, so many milliseconds apart: however many wait, to
/// look at them again costs no more, and they do not all come at once when the provider is back.
const COME_BACK_MS: i64 = 1;
/// Most effects of one provider that hold a slot in the future.
const SLOTS_MAX: usize = 50_000;
/// Furthest slot; who would come later asks again then.
const AHEAD_MS_MAX: i64 = 10 * MINUTE_MS;
/// So long a worker waits itself for a slot that is near.
const NEAR_MS: i64 = 50;

/// What may be done with an effect now.
pub enum Entry {
    /// It may go, after this pause.
    Go(Pass, Duration),
    /// Not before this instant, and why.
    Later(Time, String),
}

/// Leave for one call. Dropped, it gives the place back.
pub struct Pass {
    lines: Arc<Mutex<HashMap<String, Line>>>,
    provider: String,
    leave: Option<Leave>,
}

/// The way to one provider.
#[derive(Default)]
struct Line {
    under_way: u32,
    breaker: Breaker,
    slots: Slots,
    /// When the next one that is sent away by a rest comes back: what is urgent, and marketing.
    come_back: [Time; 2],
    /// Why grants are parked there, if they are.
    blocked: Option<String>,
}

/// How a provider does, for people.
#[derive(Clone, PartialEq, Debug)]
pub struct Health {
    /// Its name.
    pub provider: String,
    /// Calls under way.
    pub under_way: u32,
    /// It is not called until then.
    pub rests_until: Option<Time>,
    /// What was wrong last, or empty.
    pub trouble: String,
    /// Why grants are parked there, or empty.
    pub blocked: String,
}

/// The ways to all providers.
#[derive(Default)]
pub struct Traffic {
    lines: Arc<Mutex<HashMap<String, Line>>>,
    asked: Mutex<Asked>,
}

/// Who asks.
pub struct Asking<'a> {
    /// The effect's id.
    pub effect: &'a str,
    /// Its provider.
    pub provider: &'a str,
    /// It is no marketing.
    pub urgent: bool,
    /// What part of all effects this process delivers, above 0 and up to 1: its part of the rate.
    pub share: f64,
}

fn locked(lines: &Mutex<HashMap<String, Line>>) -> MutexGuard<'_, HashMap<String, Line>> {
    // Changed in whole steps: after a panic elsewhere it is as good as before.
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Traffic {
    /// Asks for leave to call a provider.
    pub fn enter(&self, asking: &Asking<'_>, limits: &Limits, now: Time) -> Entry {
        let mut lines = locked(&self.lines);
        if !lines.contains_key(asking.provider) {
            lines.insert(asking.provider.to_owned(), Line::default());
        }
        let Some(line) = lines.get_mut(asking.provider) else {
            return Entry::Later(now.plus_ms(BUSY_MS), String::new());
        };
        let most = limits.at_once.unwrap_or(AT_ONCE).max(1);
        let mine = if asking.urgent { most } else { (most * MARKETING_TENTHS).div_ceil(10) };
        if line.under_way >= mine {
            return Entry::Later(
                now.plus_ms(BUSY_MS),
                format!("{} calls to `{}` are under way", line.under_way, asking.provider),
            );
        }
        let leave = match line.breaker.ask(now) {
            Ok(leave) => leave,
            Err(until) => {
                let why = format!("`{}` rests until {until}: {}", asking.provider, line.breaker.trouble());
                let next = &mut line.come_back[usize::from(!asking.urgent)];
                let due = until.max(*next);
                *next = due.plus_ms(COME_BACK_MS);
                return Entry::Later(due, why);
            }
        };
        let pause = match limits.rate {
            None => Duration::ZERO,
            Some(rate) => match line.slots.ask(asking.effect, asking.urgent, rate.interval_ms(asking.share), now) {
                When::Now(wait_ms) => Duration::from_micros((wait_ms * 1_000.0) as u64),
                When::At(slot) => {
                    line.breaker.unused(leave);
                    return Entry::Later(slot, format!("`{}` takes {rate}", asking.provider));
                }
            },
        };
        line.under_way += 1;
        let pass = Pass { lines: self.lines.clone(), provider: asking.provider.to_owned(), leave: Some(leave) };
        Entry::Go(pass, pause)
    }

    /// How all providers do that have been called, by name.
    pub fn health(&self, now: Time) -> Vec<Health> {
        let lines = locked(&self.lines);
        let mut all: Vec<Health> = lines
            .iter()
            .map(|(provider, line)| Health {
                provider: provider.clone(),
                under_way: line.under_way,
                rests_until: line.breaker.rests_until(now),
                trouble: line.breaker.trouble().to_owned(),
                blocked: line.blocked.clone().unwrap_or_default(),
            })
            .collect();
        all.sort_by(|a, b| a.provider.cmp(&b.provider));
        all
    }

    /// A provider says that its programme is blocked; true: that is news. One word at its beginning and one at its end,
    /// however many grants are parked.
    pub fn blocked(&self, provider: &str, why: &str) -> bool {
        let mut lines = locked(&self.lines);
        let line = lines.entry(provider.to_owned()).or_default();
        let news = line.blocked.is_none();
        line.blocked = Some(why.to_owned());
        if news {
            tracing::warn!(%provider, %why, "a programme of the loyalty store is blocked; its grants are parked");
        }
        news
    }

    /// A provider has booked a grant.
    pub fn unblocked(&self, provider: &str) {
        let mut lines = locked(&self.lines);
        if lines.get_mut(provider).and_then(|line| line.blocked.take()).is_some() {
            tracing::info!(%provider, "the loyalty store books again; what is parked is sent again, each when it is due");
        }
    }

    fn questions(&self) -> MutexGuard<'_, Asked> {
        // Changed in whole steps, as the lines are.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a receiver may be asked about an effect that may have happened; else from when on.
    ///
    /// # Errors
    /// The instant from which on it may.
    pub fn may_ask(&self, effect: &str, after_ms: i64, now: Time) -> Result<(), Time> {
        self.questions().may(effect, after_ms, now)
    }

    /// An attempt broke off: it may be asked about from then on.
    pub fn ask_from(&self, effect: &str, from: Time) {
        self.questions().not_before(effect, from);
    }

    /// A question about an effect was answered.
    pub fn asked(&self, effect: &str) {
        self.questions().done(effect);
    }
}

impl Pass {
    /// What came of the call.
    pub fn done(mut self, result: &SendResult, now: Time) {
        let Some(leave) = self.leave.take() else { return };
        let mut lines = locked(&self.lines);
        let Some(line) = lines.get_mut(&self.provider) else { return };
        let said = match result {
            SendResult::Accepted { .. } | SendResult::Refused { .. } | SendResult::Parked { .. } => line.breaker.well(leave),
            SendResult::Retry { after: Some(after), why, .. } => {
                line.breaker.told_to_wait(leave, now.plus_ms(breaker::within_reason(*after)), why)
            }
            SendResult::Retry { after: None, why, .. } => line.breaker.trouble_again(leave, now, why),
        };
        // One word at its beginning and one at its end, however many effects wait.
        match said {
            breaker::Said::Rests(until) => {
                tracing::warn!(provider = %self.provider, %until, why = %line.breaker.trouble(), "a provider fails; it rests, its effects wait");
            }
            breaker::Said::Recovered => {
                tracing::info!(provider = %self.provider, "a provider works again; its effects go on");
            }
            breaker::Said::Nothing => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut lines = locked(&self.lines);
        if let Some(line) = lines.get_mut(&self.provider) {
            line.under_way = line.under_way.saturating_sub(1);
            if let Some(leave) = self.leave.take() {
                line.breaker.unused(leave);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Rate;

    const LIMITS: Limits = Limits { rate: None, at_once: Some(5) };

    fn asking(effect: &str, urgent: bool) -> Asking<'_> {
        Asking { effect, provider: "p", urgent, share: 1.0 }
    }

    fn go(traffic: &Traffic, effect: &str, urgent: bool, limits: &Limits, now: i64) -> Result<Pass, Time> {
        match traffic.enter(&asking(effect, urgent), limits, Time(now)) {
            Entry::Go(pass, _) => Ok(pass),
            Entry::Later(due, _) => Err(due),
        }
    }

    fn trouble() -> SendResult {
        SendResult::Retry { after: None, why: "503".to_owned(), ambiguous: false }
    }

    fn fine() -> SendResult {
        SendResult::Accepted { reference: None, data: Default::default() }
    }

    #[test]
    fn marketing_leaves_places_to_what_is_urgent() {
        let traffic = Traffic::default();
        let marketing: Vec<_> = (0..4).map(|_| go(&traffic, "m", false, &LIMITS, 0).unwrap()).collect();
        assert!(go(&traffic, "m", false, &LIMITS, 0).is_err_and(|due| due == Time(BUSY_MS)));
        let urgent = go(&traffic, "u", true, &LIMITS, 0).unwrap();
        assert!(go(&traffic, "u", true, &LIMITS, 0).is_err());
        drop(marketing);
        assert!(go(&traffic, "m", false, &LIMITS, 0).is_ok());
        urgent.done(&fine(), Time(0));
        assert_eq!(traffic.health(Time(0))[0].under_way, 0);
    }

    #[test]
    fn a_provider_that_fails_rests_and_is_tried_by_one() {
        let traffic = Traffic::default();
        for _ in 0..breaker::FAILURES {
            go(&traffic, "e", true, &LIMITS, 0).unwrap().done(&trouble(), Time(0));
        }
        let until = traffic.health(Time(0))[0].rests_until.unwrap();
        assert!(go(&traffic, "e", true, &LIMITS, 0).is_err_and(|due| due >= until));
        let trial = go(&traffic, "e", true, &LIMITS, until.0).unwrap();
        assert!(go(&traffic, "e", true, &LIMITS, until.0).is_err(), "only one tries");
        trial.done(&fine(), until);
        assert!(go(&traffic, "e", true, &LIMITS, until.0).is_ok());
        assert_eq!(traffic.health(until)[0].rests_until, None);
    }

    #[test]
    fn a_trial_that_is_given_up_lets_another_try() {
        let traffic = Traffic::default();
        for _ in 0..breaker::FAILURES {
            go(&traffic, "e", true, &LIMITS, 0).unwrap().done(&trouble(), Time(0));
        }
        let until = traffic.health(Time(0))[0].rests_until.unwrap();
        drop(go(&traffic, "e", true, &LIMITS, until.0).unwrap());
        assert!(go(&traffic, "e", true, &LIMITS, until.0).is_ok());
    }

    #[test]
    fn a_crowd_that_waits_for_a_provider_comes_back_one_by_one() {
        let traffic = Traffic::default();
        for _ in 0..breaker::FAILURES {
            go(&traffic, "e", true, &LIMITS, 0).unwrap().done(&trouble(), Time(0));
        }
        let until = traffic.health(Time(0))[0].rests_until.unwrap();
        let waiting: Vec<Time> = (0..10_000).filter_map(|_| go(&traffic, "m", false, &LIMITS, 1).err()).collect();
        assert_eq!((waiting[0], waiting[9_999]), (until, until.plus_ms(9_999)));
        // What is urgent does not stand behind them.
        assert!(go(&traffic, "u", true, &LIMITS, 1).is_err_and(|due| due == until));
        // Whoever looks again during the next rest has a place behind them, not among them.
        let trial = go(&traffic, "m", false, &LIMITS, until.0).unwrap();
        trial.done(&trouble(), until);
        assert!(go(&traffic, "m", false, &LIMITS, until.0 + 1).is_err_and(|due| due >= until.plus_ms(10_000)));
    }

    #[test]
    fn a_backlog_drains_at_the_rate_and_in_order() {
        let traffic = Traffic::default();
        let limits = Limits { rate: Rate::parse("10/s"), at_once: None };
        let ids: Vec<String> = (0..200).map(|n| format!("e{n}")).collect();
        let mut waiting: Vec<(i64, &String)> = ids.iter().map(|id| (0, id)).collect();
        let mut gone: Vec<(i64, &String)> = Vec::new();
        while !waiting.is_empty() {
            waiting.sort_by_key(|(due, _)| *due);
            let (due, id) = waiting.remove(0);
            match traffic.enter(&asking(id, false), &limits, Time(due)) {
                Entry::Go(_, pause) => gone.push((due + pause.as_millis() as i64, id)),
                Entry::Later(later, _) => {
                    assert!(later > Time(due));
                    waiting.push((later.0, id));
                }
            }
        }
        for pair in gone.windows(10) {
            assert!(pair[9].0 - pair[0].0 >= 9 * 100 - 1, "{pair:?}");
        }
        assert!(gone.last().unwrap().0 <= 200 * 125 + 1_000, "a fifth is left to what is urgent: {:?}", gone.last());
        let order: Vec<&String> = gone.iter().map(|(_, id)| *id).collect();
        assert_eq!(order, ids.iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_urgent_does_not_wait_behind_a_campaign() {
        let traffic = Traffic::default();
        let limits = Limits { rate: Rate::parse("10/s"), at_once: None };
        let campaign: Vec<String> = (0..500).map(|n| format!("m{n}")).collect();
        for id in &campaign {
            let _ = traffic.enter(&asking(id, false), &limits, Time(0));
        }
        match traffic.enter(&asking("code", true), &limits, Time(0)) {
            Entry::Go(_, pause) => assert!(pause < Duration::from_millis(600)),
            Entry::Later(due, _) => assert!(due <= Time(600), "{due}"),
        }
    }
}
