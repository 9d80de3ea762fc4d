//! How much a provider takes: what its settings say for every kind alike.

use super::{Channel, Idempotency, Known, Prepared, SendResult, Tools};
use crate::effect::{Effect, OnUncertain};
use crate::lang::cel::Schema;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::template::Rendered;
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Most effects of a rate within its time.
const COUNT_MAX: u32 = 1_000_000;

/// So many effects within a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    count: u32,
    within_ms: u32,
    unit: &'static str,
}

/// Units of a rate, the first of each as it is shown, with their milliseconds.
const UNITS: &[(&[&str], u32)] = &[
    (&["s", "second", "sec"], 1_000),
    (&["minute", "min", "m"], 60_000),
    (&["hour", "h"], 3_600_000),
    (&["day", "d"], 86_400_000),
];

impl Rate {
    /// Reads `10/s`, `600/minute`, `10 per second`.
    pub fn parse(text: &str) -> Option<Rate> {
        let (count, unit) = text.split_once('/').or_else(|| text.split_once(" per "))?;
        let count = count.trim().parse().ok().filter(|count| (1..=COUNT_MAX).contains(count))?;
        let (names, within_ms) = UNITS.iter().find(|(names, _)| names.contains(&unit.trim()))?;
        Some(Rate { count, within_ms: *within_ms, unit: names[0] })
    }

    /// Time between two effects of a process that delivers this share of all, in milliseconds.
    pub fn interval_ms(&self, share: f64) -> f64 {
        f64::from(self.within_ms) / f64::from(self.count) / share.clamp(0.001, 1.0)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit)
    }
}

/// What one provider takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Most effects within a time, of all processes together.
    pub rate: Option<Rate>,
    /// Most calls of one process at the same time.
    pub at_once: Option<u32>,
}

/// Reads them from a provider's settings; `None` when there is an error, which is then in `faults`.
pub fn read(node: &Node, faults: &mut Faults) -> Option<Limits> {
    let mut limits = Limits::default();
    if let Some(rate) = node.get("rate") {
        let text = rate.scalar().unwrap_or_default();
        limits.rate = Rate::parse(text);
        if limits.rate.is_none() {
            faults
                .error("bad-rate", &rate.place, format!("`{text}` is no rate"))
                .hint("write for example `10/s`, `600/minute`, `5000/hour` or `20000/day`");
            return None;
        }
    }
    // Whether it is a number within its bounds is checked with the other fields.
    limits.at_once = node.get("at_once").and_then(|count| count.scalar()?.parse().ok());
    Some(limits)
}

/// A provider with these limits.
pub fn limited(inner: Arc<dyn Channel>, limits: Limits) -> Arc<dyn Channel> {
    if limits == Limits::default() { inner } else { Arc::new(Limited { inner, limits }) }
}

struct Limited {
    inner: Arc<dyn Channel>,
    limits: Limits,
}

impl Channel for Limited {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn idempotency(&self) -> Idempotency {
        self.inner.idempotency()
    }

    fn on_uncertain(&self) -> OnUncertain {
        self.inner.on_uncertain()
    }

    fn grants(&self) -> bool {
        self.inner.grants()
    }

    fn variables(&self) -> Vec<Vec<String>> {
        self.inner.variables()
    }

    fn check(&self, schema: &dyn Schema, faults: &mut Faults) {
        self.inner.check(schema, faults);
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn prepare(&self, effect: &Effect, rendered: Option<&Rendered>) -> Result<Prepared, String> {
        self.inner.prepare(effect, rendered)
    }

    fn send<'a>(&'a self, prepared: &'a Prepared, tools: &'a Tools) -> BoxFuture<'a, SendResult> {
        self.inner.send(prepared, tools)
    }

    fn ask_after(&self) -> Duration {
        self.inner.ask_after()
    }

    fn ask<'a>(&'a self, prepared: &'a Prepared, tools: &'a Tools) -> BoxFuture<'a, Known> {
        self.inner.ask(prepared, tools)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, shown, interval) in
            [("10/s", "10/s", 100.0), ("600 / minute", "600/minute", 100.0), ("1 per day", "1/day", 86_400_000.0)]
        {
            let rate = Rate::parse(text).unwrap();
            assert_eq!((rate.to_string().as_str(), rate.interval_ms(1.0)), (shown, interval), "{text}");
        }
        for wrong in ["", "10", "0/s", "-1/s", "10/week", "ten/s", "99999999/s", "1.5/s"] {
            assert!(Rate::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(Rate::parse("10/s").unwrap().interval_ms(0.5), 200.0, "half of the work has half of the rate");
    }
}
