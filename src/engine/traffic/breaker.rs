//! A circuit breaker: a provider that fails again and again is left alone for a while, then tried by one
//! call.

use crate::lang::time::{MINUTE_MS, SECOND_MS, Time};

/// Failures one after the other after which a provider rests.
pub const FAILURES: u32 = 5;
/// First rest.
const REST_MS_MIN: i64 = 5 * SECOND_MS;
/// Longest rest that we choose ourselves.
const REST_MS_MAX: i64 = 30 * SECOND_MS;
/// Longest rest that a provider may ask for.
const TOLD_MS_MAX: i64 = 60 * MINUTE_MS;
/// How long the others wait for the one who tries.
const TRIAL_MS: i64 = SECOND_MS;

/// Leave for one call.
#[derive(Debug)]
pub struct Leave {
    trial: bool,
}

/// What is to be said of a change.
#[derive(PartialEq, Debug)]
pub enum Said {
    /// It rests until then.
    Rests(Time),
    /// It works again.
    Recovered,
    /// Nothing new.
    Nothing,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    rests: u32,
    until: Option<Time>,
    tried: bool,
    trouble: String,
}

impl Breaker {
    /// Leave to call, or when to ask again.
    pub fn ask(&mut self, now: Time) -> Result<Leave, Time> {
        match self.until {
            None => Ok(Leave { trial: false }),
            Some(until) if now < until => Err(until),
            Some(_) if self.tried => Err(now.plus_ms(TRIAL_MS)),
            Some(_) => {
                self.tried = true;
                Ok(Leave { trial: true })
            }
        }
    }

    /// The call was not made.
    pub fn unused(&mut self, leave: Leave) {
        if leave.trial {
            self.tried = false;
        }
    }

    /// The provider answered.
    pub fn well(&mut self, leave: Leave) -> Said {
        self.failures = 0;
        // A call from before the rest says nothing about now.
        if self.until.is_some() && !leave.trial {
            return Said::Nothing;
        }
        let rested = self.until.take().is_some();
        (self.rests, self.tried) = (0, false);
        self.trouble.clear();
        if rested { Said::Recovered } else { Said::Nothing }
    }

    /// The call failed.
    pub fn trouble_again(&mut self, leave: Leave, now: Time, why: &str) -> Said {
        why.clone_into(&mut self.trouble);
        self.failures += 1;
        let resting = self.until.is_some() && !leave.trial;
        if resting || (!leave.trial && self.failures < FAILURES) {
            return Said::Nothing;
        }
        let rest = (REST_MS_MIN << self.rests.min(10)).min(REST_MS_MAX);
        let first = self.rests == 0;
        self.rests += 1;
        self.rest(now.plus_ms(rest), first)
    }

    /// The provider is well, and said when it wants to be called again.
    pub fn told_to_wait(&mut self, leave: Leave, until: Time, why: &str) -> Said {
        why.clone_into(&mut self.trouble);
        let first = self.until.is_none();
        if !leave.trial && self.until.is_some_and(|resting| resting >= until) {
            return Said::Nothing;
        }
        self.rest(until, first)
    }

    fn rest(&mut self, until: Time, first: bool) -> Said {
        (self.until, self.tried, self.failures) = (Some(until), false, 0);
        if first { Said::Rests(until) } else { Said::Nothing }
    }

    /// Until when it rests.
    pub fn rests_until(&self, now: Time) -> Option<Time> {
        self.until.filter(|until| now < *until)
    }

    /// The last failure, or empty.
    pub fn trouble(&self) -> &str {
        &self.trouble
    }
}

/// A pause that a provider asks for, within reason.
pub fn within_reason(after_ms: i64) -> i64 {
    after_ms.clamp(0, TOLD_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(breaker: &mut Breaker, now: i64, fails: bool) -> Said {
        let leave = breaker.ask(Time(now)).unwrap();
        if fails { breaker.trouble_again(leave, Time(now), "503") } else { breaker.well(leave) }
    }

    #[test]
    fn rests_double_up_to_their_bound_and_are_told_once() {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert_eq!(call(&mut breaker, 0, true), Said::Nothing);
        }
        assert_eq!(call(&mut breaker, 0, true), Said::Rests(Time(REST_MS_MIN)));
        let (mut now, mut rests) = (REST_MS_MIN, Vec::new());
        for _ in 0..8 {
            assert_eq!(call(&mut breaker, now, true), Said::Nothing);
            let until = breaker.rests_until(Time(now)).unwrap();
            rests.push(until.0 - now);
            now = until.0;
        }
        assert_eq!((rests[0], *rests.last().unwrap()), (2 * REST_MS_MIN, REST_MS_MAX));
        assert_eq!(call(&mut breaker, now, false), Said::Recovered);
        assert_eq!(breaker.rests_until(Time(now)), None);
    }

    #[test]
    fn a_success_between_failures_begins_the_count_anew() {
        let mut breaker = Breaker::default();
        for _ in 0..10 * FAILURES {
            for _ in 1..FAILURES {
                assert_eq!(call(&mut breaker, 0, true), Said::Nothing);
            }
            assert_eq!(call(&mut breaker, 0, false), Said::Nothing);
        }
    }

    #[test]
    fn late_answers_of_before_a_rest_neither_end_nor_lengthen_it() {
        let mut breaker = Breaker::default();
        let early: Vec<Leave> = (0..20).map(|_| breaker.ask(Time(0)).unwrap()).collect();
        let mut early = early.into_iter();
        for leave in early.by_ref().take(FAILURES as usize) {
            breaker.trouble_again(leave, Time(0), "503");
        }
        let until = breaker.rests_until(Time(0));
        assert_eq!(breaker.well(early.next().unwrap()), Said::Nothing);
        assert_eq!(breaker.trouble_again(early.next().unwrap(), Time(9), "503"), Said::Nothing);
        assert_eq!(breaker.rests_until(Time(1)), until);
    }

    #[test]
    fn a_provider_says_itself_when_it_wants_to_be_called_again() {
        let mut breaker = Breaker::default();
        let leave = breaker.ask(Time(0)).unwrap();
        assert_eq!(breaker.told_to_wait(leave, Time(700), "429"), Said::Rests(Time(700)));
        assert_eq!(breaker.ask(Time(699)).unwrap_err(), Time(700));
        assert!(breaker.ask(Time(700)).is_ok());
        assert_eq!(within_reason(i64::MAX), TOLD_MS_MAX);
    }
}
