//! Logs for people or machines, and the engine's measures.

use crate::engine::traffic::Health;
use crate::engine::{Engine, Meter};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging to standard error; `RUST_LOG` chooses what is logged (`info` if it is not set).
pub fn log(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second call (in tests) finds logging started; that is what it wanted.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(color).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Publishes the engine's counters.
pub fn register(registry: &mut Registry, engine: &Engine) {
    registry.register_collector(Box::new(Measures { meter: engine.meter.clone(), engine: engine.clone() }));
}

struct Measures {
    meter: Arc<Meter>,
    engine: Engine,
}

impl std::fmt::Debug for Measures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Measures")
    }
}

impl Measures {
    /// A line for each provider that has been called.
    fn providers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let health = self.engine.traffic.health(self.engine.store.now());
        let resting = |one: &Health| i64::from(one.rests_until.is_some());
        lines(encoder, ("autofunnel_provider_calls", "Calls to a provider that are under way"), &health, |one| {
            i64::from(one.under_way)
        })?;
        lines(encoder, ("autofunnel_provider_resting", "1 while a provider is left alone after failures"), &health, resting)?;
        lines(encoder, ("autofunnel_provider_blocked", "1 while a loyalty store parks grants"), &health, |one| {
            i64::from(!one.blocked.is_empty())
        })
    }
}

/// A line for each provider.
fn lines(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    health: &[Health],
    measure: impl Fn(&Health) -> i64,
) -> Result<(), std::fmt::Error> {
    let mut lines = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for one in health {
        let labels = [("provider", one.provider.as_str())];
        ConstGauge::new(measure(one)).encode(lines.encode_family(&labels)?)?;
    }
    Ok(())
}

impl Collector for Measures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counters: [(&str, &str, &AtomicU64); 6] = [
            ("autofunnel_turns", "Turns committed", &self.meter.turns),
            ("autofunnel_conflicts", "Commits that lost against another", &self.meter.conflicts),
            ("autofunnel_crashes", "Turns that crashed", &self.meter.crashes),
            ("autofunnel_attempts", "Attempts of effects begun", &self.meter.attempts),
            ("autofunnel_retries", "Attempts that failed and are tried again", &self.meter.retries),
            ("autofunnel_stale", "Decisions that outlived their shelf life", &self.meter.stale),
        ];
        for (name, help, counter) in counters {
            let metric = ConstCounter::new(counter.load(Ordering::Relaxed));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let waiting = ConstGauge::new(self.engine.effects.waiting() as i64);
        let help = "Effects that wait for a deliver worker of this process";
        waiting.encode(encoder.encode_descriptor("autofunnel_effects_waiting", help, None, waiting.metric_type())?)?;
        self.providers(&mut encoder)
    }
}
