//! When a receiver may be asked about an effect: not while the attempt may still be under way there.

use crate::lang::time::Time;
use std::collections::HashMap;

/// Most effects that are remembered; more are as if they had just come.
const REMEMBERED_MAX: usize = 100_000;

/// Effects that are to be asked about, and from when on.
#[derive(Default)]
pub struct Asked(HashMap<String, Time>);

impl Asked {
    /// Whether it may be asked about now; else from when on. One that is not known here may have been sent by a process
    /// that ended a moment ago.
    pub fn may(&mut self, effect: &str, after_ms: i64, now: Time) -> Result<(), Time> {
        match self.0.get(effect) {
            Some(from) if *from <= now => Ok(()),
            Some(from) => Err(*from),
            None => Err(self.not_before(effect, now.plus_ms(after_ms))),
        }
    }

    /// An attempt broke off.
    pub fn not_before(&mut self, effect: &str, from: Time) -> Time {
        if self.0.len() >= REMEMBERED_MAX {
            self.0.clear();
        }
        self.0.insert(effect.to_owned(), from);
        from
    }

    /// It was answered.
    pub fn done(&mut self, effect: &str) {
        self.0.remove(effect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_has_time_to_arrive() {
        let mut asked = Asked::default();
        assert_eq!(asked.may("e", 5_000, Time(0)), Err(Time(5_000)), "nobody here knows when it was sent");
        assert_eq!(asked.may("e", 5_000, Time(4_999)), Err(Time(5_000)));
        assert_eq!(asked.may("e", 5_000, Time(5_000)), Ok(()));
        asked.done("e");
        assert_eq!(asked.not_before("e", Time(9_000)), Time(9_000));
        assert_eq!(asked.may("e", 5_000, Time(8_000)), Err(Time(9_000)));
    }
}
