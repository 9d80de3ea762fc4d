//! Whether a clock has jumped.
//!
//! Waits, quiet hours and expiries go by the clock, so a clock that is suddenly hours away would send what is not due,
//! or nothing at all. A clock is compared with the monotonic one of this machine: when they part by more than
//! [`JUMP_MS`], time goes on as it did before, and no work is handed out until the clock is back or a person says
//! that it is right now. Time in which the process did not run is no jump.

use crate::lang::time::MINUTE_MS;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

/// A clock may be set right by this much, in milliseconds.
pub const JUMP_MS: i64 = 5 * MINUTE_MS;

/// Nothing is known yet.
const UNKNOWN: i64 = i64::MIN;

/// Compares a clock with the monotonic one.
#[derive(Debug)]
pub struct Jumps {
    /// For the log: whose clock it is.
    whose: &'static str,
    /// What a person can do.
    hint: &'static str,
    start: Instant,
    /// What to add to the milliseconds since the start.
    offset: AtomicI64,
    jumped: AtomicI64,
}

impl Jumps {
    /// Of a clock of which nothing is known.
    pub fn new(whose: &'static str, hint: &'static str) -> Jumps {
        Jumps { whose, hint, start: Instant::now(), offset: AtomicI64::new(UNKNOWN), jumped: AtomicI64::new(0) }
    }

    /// The time to go by when the clock shows `shown`, in milliseconds.
    pub fn judge(&self, shown: i64) -> i64 {
        self.judge_at(shown, i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    fn judge_at(&self, shown: i64, run: i64) -> i64 {
        let offset = self.offset.load(Ordering::Acquire);
        let expected = run.saturating_add(offset);
        let by = if offset == UNKNOWN { 0 } else { shown.saturating_sub(expected) };
        if by.saturating_abs() <= JUMP_MS {
            // Clocks drift, and are set right a little at a time.
            self.offset.store(shown - run, Ordering::Release);
            if self.jumped.swap(0, Ordering::AcqRel) != 0 {
                tracing::warn!("the clock of {} is back; work goes on", self.whose);
            }
            return shown;
        }
        if self.jumped.swap(by, Ordering::AcqRel) == 0 {
            tracing::error!(
                "NOTHING IS DONE: the clock of {} has jumped by {} s. Set it right, or, if it is right now, {}",
                self.whose,
                by / 1_000,
                self.hint
            );
        }
        expected
    }

    /// By how much it has jumped, in milliseconds; `None`: it has not.
    pub fn by(&self) -> Option<i64> {
        Some(self.jumped.load(Ordering::Acquire)).filter(|by| *by != 0)
    }

    /// It is right as it is.
    pub fn accept(&self) {
        self.offset.store(UNKNOWN, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_not_followed_until_it_is_undone_or_accepted() {
        let jumps = Jumps::new("a test", "do nothing");
        let noon = 1_803_891_600_000;
        assert_eq!(jumps.judge_at(noon, 0), noon);
        // A little at a time it goes anywhere.
        assert_eq!(jumps.judge_at(noon + 2_000 + JUMP_MS, 2_000), noon + 2_000 + JUMP_MS);
        assert_eq!(jumps.judge_at(noon + 3_000, 3_000), noon + 3_000);
        assert_eq!(jumps.by(), None);
        for by in [JUMP_MS + 1, 10 * 365 * 86_400_000, -JUMP_MS - 1] {
            assert_eq!(jumps.judge_at(noon + 4_000 + by, 4_000), noon + 4_000, "{by}");
            assert_eq!(jumps.by(), Some(by));
        }
        assert_eq!(jumps.judge_at(noon + 5_000, 5_000), noon + 5_000);
        assert_eq!(jumps.by(), None, "it is back");
        let later = noon + 7_200_000;
        jumps.judge_at(later, 6_000);
        assert!(jumps.by().is_some());
        jumps.accept();
        assert_eq!((jumps.judge_at(later + 1, 6_001), jumps.by()), (later + 1, None));
    }
}
