//! The engine's clock: the one place that reads the system's.
//!
//! A demonstration runs it faster; leases, time-outs, backoff and signatures always use real time.

use crate::lang::time::Time;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock that may run faster than real time.
#[derive(Clone, Debug)]
pub struct Clock(Option<Scaled>);

/// A clock of its own: it stands at its origin until it is started.
#[derive(Clone, Debug)]
struct Scaled {
    origin: Time,
    started: Arc<OnceLock<Instant>>,
    stopped: Arc<OnceLock<Time>>,
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
        Clock(None)
    }

    /// A clock that stands at an instant until [`Clock::go`], and then runs `scale` times as fast as real time.
    pub fn scaled(origin: Time, scale: f64) -> Clock {
        Clock(Some(Scaled { origin, started: Arc::default(), stopped: Arc::default(), scale }))
    }

    /// Starts a scaled clock; the system's runs anyway.
    pub fn go(&self) {
        if let Some(scaled) = &self.0 {
            scaled.started.get_or_init(Instant::now);
        }
    }

    /// Stops a scaled clock where it is; the system's goes on.
    pub fn stop(&self) {
        let now = self.now();
        if let Some(scaled) = &self.0 {
            scaled.stopped.get_or_init(|| now);
        }
    }

    /// Now.
    pub fn now(&self) -> Time {
        match &self.0 {
            None => system_now(),
            Some(Scaled { stopped, .. }) if stopped.get().is_some() => stopped.get().copied().unwrap_or_default(),
            Some(scaled) => {
                let elapsed = scaled.started.get().map_or(0.0, |started| started.elapsed().as_secs_f64());
                scaled.origin.plus_ms((elapsed * 1_000.0 * scaled.scale) as i64)
            }
        }
    }

    /// Milliseconds of this clock in one real one.
    pub fn scale(&self) -> f64 {
        self.0.as_ref().map_or(1.0, |scaled| scaled.scale)
    }
}
