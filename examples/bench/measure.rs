//! The measurements: a flood, a steady rate, and the door alone. Each has an engine and a store of its own.

use crate::engine::Engine;
use crate::load::{self, Load, Sent};
use crate::mock::Mock;
use anyhow::{Context, bail};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The wait between the grant and the second message, as the workspace has it, in nanoseconds.
const WAIT_NS: u64 = 1_000_000_000;
/// Without any call for this long, what is still missing counts as lost.
const STALL: Duration = Duration::from_secs(20);
/// Customers of one request of the import.
const IMPORT_ROWS: usize = 2_000;
/// How long the engine may take to finish what it has begun.
const SETTLE: Duration = Duration::from_secs(120);
/// Events of one request where they are sent in lists.
pub const EVENTS_PER_LIST: usize = 100;

/// What a measurement needs.
pub struct Setting {
    /// The engine's binary.
    pub binary: PathBuf,
    /// The workspace.
    pub workspace: PathBuf,
    /// Where stores are made.
    pub disk: PathBuf,
    /// Connections of the generator.
    pub connections: usize,
}

/// A flood of runs.
#[derive(Default)]
pub struct Flood {
    /// Runs finished in a second, from the first request to the last message.
    pub runs_per_second: f64,
    /// Events accepted in a second.
    pub accepted_per_second: f64,
    /// Customers imported in a second, turns on them included.
    pub imported_per_second: f64,
    /// Processor time of the engine for a thousand runs, in seconds.
    pub cpu_per_thousand: f64,
    /// Peak memory of the engine, in MB.
    pub peak_mb: f64,
    /// Calls that never came.
    pub lost: u64,
    /// Calls that came more than once.
    pub doubled: u64,
    /// Second messages that came before their time.
    pub early: u64,
    /// How late second messages were, in milliseconds: median and 99 %.
    pub late_ms: (f64, f64),
    /// Facts written for one run.
    pub facts_per_run: f64,
    /// Bytes of the store for one customer with her run.
    pub bytes_per_customer: f64,
    /// Connections that the engine opened to the provider.
    pub provider_connections: f64,
}

/// A steady rate of events.
#[derive(Default)]
pub struct Steady {
    /// From the first byte of the request to the first message, in milliseconds: median and 99 %.
    pub first_message_ms: (f64, f64),
    /// From request to answer.
    pub accepted_ms: (f64, f64),
    /// How late second messages were.
    pub late_ms: (f64, f64),
    /// Processor time of the engine for a thousand runs, in seconds.
    pub cpu_per_thousand: f64,
    /// Calls that never came, that came twice, and that came before their time.
    pub wrong: u64,
}

/// Events that no funnel knows.
#[derive(Default)]
pub struct Door {
    /// Events accepted in a second, one per request.
    pub single_per_second: f64,
    /// Events accepted in a second, in lists.
    pub listed_per_second: f64,
    /// Processor time of the engine for a thousand single events with the turns on them, in seconds.
    pub cpu_per_thousand: f64,
    /// Processor time of the engine while nothing happens, as a share of one core.
    pub idle_percent: f64,
}

/// A name that is new in every measurement.
fn prefix() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("m{}n{}", std::process::id(), NUMBER.fetch_add(1, Relaxed))
}

fn purchase(prefix: &str, number: usize) -> String {
    let amount = 50 + number % 100;
    format!(
        r#"{{"id":"{prefix}-{number}","event":"purchase","customer":"{prefix}-c{number}","properties":{{"order_id":"{number}","amount":{amount}}}}}"#
    )
}

fn page_view(prefix: &str, number: usize) -> String {
    format!(r#"{{"id":"{prefix}-v{number}","event":"page_viewed","customer":"{prefix}-c{number}","properties":{{"page":"/"}}}}"#)
}

fn page_views(prefix: &str, list: usize) -> String {
    let events = (0..EVENTS_PER_LIST).map(|at| page_view(prefix, list * EVENTS_PER_LIST + at));
    format!("[{}]", events.collect::<Vec<_>>().join(","))
}

impl Setting {
    async fn engine(&self, prefix: &str, runs: usize) -> anyhow::Result<(std::sync::Arc<Mock>, Engine)> {
        let (mock, port) = Mock::start(prefix, runs).await.context("the mock provider cannot listen")?;
        Ok((mock, Engine::start(&self.binary, &self.workspace, &self.disk, port).await?))
    }

    fn load(&self, engine: &Engine, prefix: &str, requests: usize, body: fn(&str, usize) -> String) -> Load {
        let (address, token, prefix) = (engine.address.clone(), engine.token.clone(), prefix.to_owned());
        Load { address, token, requests, connections: self.connections, rate: None, body, prefix }
    }

    /// All runs as fast as they can be accepted.
    pub async fn flood(&self, runs: usize) -> anyhow::Result<Flood> {
        let prefix = prefix();
        let (mock, engine) = self.engine(&prefix, runs).await?;
        let imported_per_second = import(&engine, &prefix, runs).await?;
        let facts_before = facts(&engine, &prefix).await?;
        let cpu_before = engine.cpu_seconds()?;
        let sent = load::send(self.load(&engine, &prefix, runs, purchase)).await?;
        wait_for_calls(&mock, runs).await;
        settle(&engine).await?;
        let cpu = engine.cpu_seconds()? - cpu_before;
        let done = mock.done.load(Relaxed).max(1);
        let last = mock.calls[2].came.iter().map(|at| at.load(Relaxed)).max().unwrap_or(0);
        let (late_ms, early) = lateness(&mock);
        let (lost, doubled) = losses(&mock, &sent);
        let flood = Flood {
            runs_per_second: done as f64 / (last.saturating_sub(sent.started).max(1) as f64 / 1e9),
            accepted_per_second: sent.per_second(),
            imported_per_second,
            cpu_per_thousand: cpu / done as f64 * 1e3,
            peak_mb: engine.peak_mb(),
            lost,
            doubled,
            early,
            late_ms,
            facts_per_run: facts(&engine, &prefix).await? - facts_before,
            bytes_per_customer: engine.store_bytes() as f64 / runs as f64,
            provider_connections: mock.connections.load(Relaxed) as f64,
        };
        complain(&engine);
        engine.stop().await?;
        Ok(flood)
    }

    /// Runs at a fixed rate.
    pub async fn steady(&self, rate: f64, seconds: f64) -> anyhow::Result<Steady> {
        let (prefix, runs) = (prefix(), (rate * seconds) as usize);
        let (mock, engine) = self.engine(&prefix, runs).await?;
        import(&engine, &prefix, runs).await?;
        let cpu_before = engine.cpu_seconds()?;
        let sent = load::send(Load { rate: Some(rate), ..self.load(&engine, &prefix, runs, purchase) }).await?;
        wait_for_calls(&mock, runs).await;
        settle(&engine).await?;
        let cpu = engine.cpu_seconds()? - cpu_before;
        let (late_ms, early) = lateness(&mock);
        let (lost, doubled) = losses(&mock, &sent);
        let steady = Steady {
            first_message_ms: spread(between(&sent.begun, &mock.calls[0].came)),
            accepted_ms: spread(between(&sent.begun, &sent.accepted)),
            late_ms,
            cpu_per_thousand: cpu / mock.done.load(Relaxed).max(1) as f64 * 1e3,
            wrong: lost + doubled + early,
        };
        complain(&engine);
        engine.stop().await?;
        Ok(steady)
    }

    /// Events that no funnel knows, one per request and in lists.
    pub async fn door(&self, events: usize) -> anyhow::Result<Door> {
        let prefix = prefix();
        let (_mock, engine) = self.engine(&prefix, 0).await?;
        let idle_before = engine.cpu_seconds()?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let cpu_before = engine.cpu_seconds()?;
        let single = load::send(self.load(&engine, &prefix, events, page_view)).await?;
        settle(&engine).await?;
        let cpu = engine.cpu_seconds()? - cpu_before;
        let lists = load::send(self.load(&engine, &format!("{prefix}l"), events / EVENTS_PER_LIST, page_views)).await?;
        settle(&engine).await?;
        let door = Door {
            single_per_second: single.per_second(),
            listed_per_second: lists.per_second() * EVENTS_PER_LIST as f64,
            cpu_per_thousand: cpu / events as f64 * 1e3,
            idle_percent: (cpu_before - idle_before) / 2.0 * 100.0,
        };
        complain(&engine);
        engine.stop().await?;
        Ok(door)
    }
}

/// Customers with an address and a consent; returns how many came in in a second, turns included.
async fn import(engine: &Engine, prefix: &str, customers: usize) -> anyhow::Result<f64> {
    let (mut client, begun) = (engine.client().await?, Instant::now());
    for first in (0..customers).step_by(IMPORT_ROWS) {
        let rows = (first..customers.min(first + IMPORT_ROWS)).map(|number| {
            format!(
                r#"{{"customer":"{prefix}-c{number}","profile":{{"name":"Customer {number}","email":"c{number}@example.com"}},"consent":{{"email":true}}}}"#
            )
        });
        let body = rows.collect::<Vec<_>>().join("\n");
        let (status, answer) = client.call("POST", "/v1/import", "application/x-ndjson", &body).await?;
        if status != 200 {
            bail!("the import was answered {status}: {}", String::from_utf8_lossy(answer));
        }
    }
    settle(engine).await?;
    Ok(customers as f64 / begun.elapsed().as_secs_f64())
}

async fn settle(engine: &Engine) -> anyhow::Result<()> {
    match engine.settled(SETTLE).await? {
        true => Ok(()),
        false => bail!("the engine still has work after {} s:\n{}", SETTLE.as_secs(), engine.log()),
    }
}

/// Facts of the first customer.
async fn facts(engine: &Engine, prefix: &str) -> anyhow::Result<f64> {
    let mut client = engine.client().await?;
    let path = format!("/v1/customers/{prefix}-c0/timeline?limit=500");
    let (_, body) = client.call("GET", &path, "text/plain", "").await?;
    let answer: serde_json::Value = serde_json::from_slice(body).context("the timeline is no JSON")?;
    Ok(answer["facts"].as_array().map_or(0, Vec::len) as f64)
}

async fn wait_for_calls(mock: &Mock, runs: usize) {
    let (mut seen, mut since) = (0, Instant::now());
    while mock.done.load(Relaxed) < runs as u64 {
        let total = mock.total.load(Relaxed);
        if total != seen {
            (seen, since) = (total, Instant::now());
        } else if since.elapsed() > STALL {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The engine's own warnings belong to the result.
fn complain(engine: &Engine) {
    let log = engine.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    if let Some(first) = lines.first() {
        eprintln!("the engine complained {} times, first: {first}", lines.len());
    }
}

/// Calls that never came for accepted events, and calls that came again.
fn losses(mock: &Mock, sent: &Sent) -> (u64, u64) {
    let (mut lost, mut doubled) = (0, mock.foreign.load(Relaxed));
    for calls in &mock.calls {
        for (count, accepted) in calls.count.iter().zip(&sent.accepted) {
            let count = u64::from(count.load(Relaxed));
            lost += u64::from(count == 0 && accepted.load(Relaxed) > 0);
            doubled += count.saturating_sub(1);
        }
    }
    (lost, doubled)
}

/// How late second messages were, and how many were early: the wait begins when the grant was answered.
fn lateness(mock: &Mock) -> ((f64, f64), u64) {
    let due =
        |answered: &AtomicU64| AtomicU64::new(Some(answered.load(Relaxed)).filter(|at| *at > 0).map_or(0, |at| at + WAIT_NS));
    let due: Vec<AtomicU64> = mock.calls[1].answered.iter().map(due).collect();
    let late = between(&due, &mock.calls[2].came);
    let early = late.iter().filter(|ms| **ms < 0.0).count() as u64;
    (spread(late), early)
}

/// Milliseconds from one instant to another, where there are both.
fn between(from: &[AtomicU64], to: &[AtomicU64]) -> Vec<f64> {
    let pairs = from.iter().zip(to).map(|(from, to)| (from.load(Relaxed), to.load(Relaxed)));
    pairs.filter(|(from, to)| *from > 0 && *to > 0).map(|(from, to)| (to as f64 - from as f64) / 1e6).collect()
}

/// Median and 99 %.
fn spread(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len().saturating_sub(1)) as f64 * share).round() as usize).copied();
    (at(0.5).unwrap_or(f64::NAN), at(0.99).unwrap_or(f64::NAN))
}
