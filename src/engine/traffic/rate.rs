//! A rate as slots in time: each effect has one of its own, so that a backlog drains in order and evenly,
//! and nobody asks again and again.

use super::{AHEAD_MS_MAX, NEAR_MS, SLOTS_MAX};
use crate::lang::time::{MINUTE_MS, Time};
use std::collections::HashMap;

/// The part of the rate that marketing cannot take, as one of so many.
const URGENT_ONE_OF: f64 = 5.0;

/// When an effect may go.
#[derive(PartialEq, Debug)]
pub enum When {
    /// After so many milliseconds, few.
    Now(f64),
    /// It has a slot then, or is to ask again then.
    At(Time),
}

/// The slots of one provider.
#[derive(Default)]
pub struct Slots {
    /// The next free slot of marketing, in milliseconds.
    next: f64,
    /// The next free slot of those kept for what is urgent.
    next_urgent: f64,
    held: HashMap<String, f64>,
    swept: i64,
}

impl Slots {
    /// Asks for an effect. `interval_ms` is the time between two slots of the whole rate.
    pub fn ask(&mut self, effect: &str, urgent: bool, interval_ms: f64, now: Time) -> When {
        let at = now.0 as f64;
        self.sweep(now.0);
        if let Some(slot) = self.held.remove(effect) {
            return self.at(effect, slot, at);
        }
        // What is urgent takes a common slot that nobody waits for, else one of its own.
        if urgent && self.next > at {
            let slot = self.next_urgent.max(at);
            self.next_urgent = slot + interval_ms * URGENT_ONE_OF;
            return self.at(effect, slot, at);
        }
        let slot = self.next.max(at);
        if slot - at > AHEAD_MS_MAX as f64 || self.held.len() >= SLOTS_MAX {
            return When::At(now.plus_ms(AHEAD_MS_MAX / 2));
        }
        self.next = slot + interval_ms / (1.0 - 1.0 / URGENT_ONE_OF);
        self.at(effect, slot, at)
    }

    fn at(&mut self, effect: &str, slot: f64, now: f64) -> When {
        if slot - now <= NEAR_MS as f64 {
            return When::Now((slot - now).max(0.0));
        }
        self.held.insert(effect.to_owned(), slot);
        When::At(Time(slot.ceil() as i64))
    }

    /// Slots of effects that did not come back are let go.
    fn sweep(&mut self, now: i64) {
        if now - self.swept > MINUTE_MS {
            self.swept = now;
            self.held.retain(|_, slot| *slot > (now - MINUTE_MS) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_that_nobody_comes_for_are_let_go() {
        let mut slots = Slots::default();
        for n in 0..1_000 {
            slots.ask(&n.to_string(), false, 100.0, Time(0));
        }
        assert!(slots.held.len() > 900);
        slots.ask("late", false, 100.0, Time(10 * MINUTE_MS));
        assert!(slots.held.len() < 2, "{}", slots.held.len());
    }

    #[test]
    fn slots_end_somewhere() {
        let mut slots = Slots::default();
        let far = (0..20_000).map(|n| slots.ask(&n.to_string(), false, 100.0, Time(0)));
        let far = far.fold(0, |far, when| match when {
            When::At(at) => at.0.max(far),
            When::Now(_) => far,
        });
        assert!(far <= AHEAD_MS_MAX, "{far}");
    }
}
