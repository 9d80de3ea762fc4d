//! The engine's clock: the one place that reads the system's.
//!
//! A demonstration runs it faster; leases, time-outs, backoff and signatures always use real time.

use crate::lang::time::Time;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock that may run faster than real time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Time,
    started: Instant,
    scale: f64,
}

/// The system's clock now.
pub fn system_now() -> Time {
    // Before 1970 only a machine without a clock is; the epoch then serves as now.
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock { origin: Time(0), started: Instant::now(), scale: 0.0 }
    }

    /// A clock that sets out from an instant and runs `scale` times as fast as real time.
    pub fn scaled(origin: Time, scale: f64) -> Clock {
        Clock { origin, started: Instant::now(), scale }
    }

    /// Now.
    pub fn now(&self) -> Time {
        if self.scale == 0.0 {
            return system_now();
        }
        let elapsed = self.started.elapsed().as_secs_f64() * 1_000.0 * self.scale;
        self.origin.plus_ms(elapsed as i64)
    }

    /// Milliseconds of this clock in one real one.
    pub fn scale(&self) -> f64 {
        if self.scale == 0.0 { 1.0 } else { self.scale }
    }
}
