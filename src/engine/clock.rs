//! The engine's clock: the one place that reads the system's.
//!
//! A demonstration runs it faster; leases, time-outs, backoff and signatures always use real time.

use crate::lang::time::Time;
use crate::store::jump::Jumps;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock that may run faster than real time.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    /// One that may jump.
    Watched {
        shows: Arc<dyn Fn() -> Time + Send + Sync>,
        jumps: Arc<Jumps>,
    },
    Scaled(Scaled),
}

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
        Clock::watched(Arc::new(system_now))
    }

    /// A clock that may jump: see [`Jumps`].
    pub fn watched(shows: Arc<dyn Fn() -> Time + Send + Sync>) -> Clock {
        Clock(Kind::Watched { shows, jumps: Arc::new(Jumps::new("this machine", "start the engine again")) })
    }

    /// What knows whether it has jumped; `None`: it cannot.
    pub fn jumps(&self) -> Option<Arc<Jumps>> {
        match &self.0 {
            Kind::Watched { jumps, .. } => Some(jumps.clone()),
            Kind::Scaled(_) => None,
        }
    }

    /// A clock that stands at an instant until [`Clock::go`], and then runs `scale` times as fast as real time.
    pub fn scaled(origin: Time, scale: f64) -> Clock {
        Clock(Kind::Scaled(Scaled { origin, started: Arc::default(), stopped: Arc::default(), scale }))
    }

    /// Starts a scaled clock; the system's runs anyway.
    pub fn go(&self) {
        if let Kind::Scaled(scaled) = &self.0 {
            scaled.started.get_or_init(Instant::now);
        }
    }

    /// Stops a scaled clock where it is; the system's goes on.
    pub fn stop(&self) {
        let now = self.now();
        if let Kind::Scaled(scaled) = &self.0 {
            scaled.stopped.get_or_init(|| now);
        }
    }

    /// Now.
    pub fn now(&self) -> Time {
        match &self.0 {
            Kind::Watched { shows, jumps } => Time(jumps.judge(shows().0)),
            Kind::Scaled(Scaled { stopped, .. }) if stopped.get().is_some() => stopped.get().copied().unwrap_or_default(),
            Kind::Scaled(scaled) => {
                let elapsed = scaled.started.get().map_or(0.0, |started| started.elapsed().as_secs_f64());
                scaled.origin.plus_ms((elapsed * 1_000.0 * scaled.scale) as i64)
            }
        }
    }

    /// Milliseconds of this clock in one real one.
    pub fn scale(&self) -> f64 {
        match &self.0 {
            Kind::Watched { .. } => 1.0,
            Kind::Scaled(scaled) => scaled.scale,
        }
    }
}
