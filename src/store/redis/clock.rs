//! The store's clock as this process knows it.
//!
//! Redis's clock is the store's clock, and every answer of a script brings it along. Between answers this
//! process counts on by its own monotonic clock. An answer is a little old when it arrives, so what is
//! known is never ahead of the server: nothing that waits for an instant comes early.

use super::super::jump::Jumps;
use crate::lang::time::Time;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The best estimate of this long is kept, then the next one begins: clocks drift.
const WINDOW: Duration = Duration::from_secs(10);

/// What to do when the server's clock is right after a jump.
const HINT: &str = "run `autofunnel doctor --store … --confirm`";

struct Estimates {
    since: Instant,
    best: i64,
    before: i64,
}

/// See the module.
pub struct Clock {
    /// Replaces Redis's clock, for tests.
    pub set: Option<super::SetClock>,
    start: Instant,
    /// What to add to the milliseconds since the start.
    offset: AtomicI64,
    latest: AtomicI64,
    /// Whether the server's clock has jumped.
    pub jumps: Jumps,
    estimates: Mutex<Estimates>,
}

impl Clock {
    /// Knows nothing yet.
    pub fn new(set: Option<super::SetClock>) -> Clock {
        let start = Instant::now();
        let estimates = Mutex::new(Estimates { since: start, best: i64::MIN, before: i64::MIN });
        Clock {
            set,
            start,
            offset: AtomicI64::new(0),
            latest: AtomicI64::new(i64::MIN),
            jumps: Jumps::new("Redis", HINT),
            estimates,
        }
    }

    /// Learns from an answer that has just arrived.
    pub fn seen(&self, server_ms: i64) {
        if self.set.is_some() || server_ms == 0 {
            return;
        }
        // What a jumped clock says is not learnt.
        if self.jumps.judge(server_ms) != server_ms {
            return;
        }
        let sample = server_ms - i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        let mut kept = self.estimates.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.since.elapsed() > WINDOW {
            *kept = Estimates { since: Instant::now(), best: sample, before: kept.best };
        }
        kept.best = kept.best.max(sample);
        self.offset.store(kept.best.max(kept.before), Ordering::Release);
    }

    /// Now; never before what was said already.
    pub fn now(&self) -> Time {
        let now = match &self.set {
            Some(set) => set().0,
            None => self.offset.load(Ordering::Acquire) + i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX),
        };
        Time(self.latest.fetch_max(now, Ordering::AcqRel).max(now))
    }

    /// The clock shall not be before an instant that is on record.
    pub fn not_before(&self, ms: i64) {
        self.latest.fetch_max(ms, Ordering::AcqRel);
    }

    /// Now in milliseconds, and whether it replaces the server's clock.
    pub fn told(&self) -> (i64, bool) {
        (self.now().0, self.set.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_never_ahead_of_the_newest_answer() {
        let clock = Clock::new(None);
        clock.seen(1_803_891_600_000);
        let first = clock.now().0;
        assert!((1_803_891_600_000..1_803_891_605_000).contains(&first), "{first}");
        // An answer that was longer on its way says less; the better one stands.
        clock.seen(1_803_891_599_000);
        assert!(clock.now().0 >= first);
    }
}
