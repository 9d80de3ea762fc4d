//! The workload itself: a flood of runs, runs at a fixed rate, and the door alone. Each has a store of its own.

use crate::engine::Engine;
use crate::load::{self, Body, Load, Sent};
use crate::mock::Mock;
use crate::stand::{Engines, Kind, Setting, Stand, Used, Workspace};
use crate::table::{Figure, figure, spread};
use anyhow::{Context, bail};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The wait between the grant and the second message, as the workspace has it, in nanoseconds.
const WAIT_NS: u64 = 1_000_000_000;
/// Without any call for this long, what is still missing counts as lost.
const STALL: Duration = Duration::from_secs(20);
/// Rows of one request of the import.
const IMPORT_ROWS: usize = 2_000;
/// Connections of the import.
const IMPORT_CONNECTIONS: usize = 4;
/// How long the idle engine is watched.
const IDLE: Duration = Duration::from_secs(2);
/// Events of one request where they are sent in lists.
pub const EVENTS_PER_LIST: usize = 100;
/// The funnel of the workload.
pub const FUNNEL: &str = "welcome";

/// A name that is new in every measurement.
pub fn prefix() -> String {
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

/// Requests to the events' door.
pub fn events(engine: &Engine, requests: usize, connections: usize, body: Body) -> Load {
    let (address, token) = (engine.address.clone(), engine.token.clone());
    Load { address, token, path: "/v1/events", media: "application/json", requests, connections, rate: None, body }
}

/// Events of this name for customers from 0, in lists.
pub async fn send_in_lists(engine: &Engine, count: usize, connections: usize, body: Body) -> anyhow::Result<Sent> {
    let list = move |number: usize| {
        let of_list = number * EVENTS_PER_LIST..count.min((number + 1) * EVENTS_PER_LIST);
        format!("[{}]", of_list.map(|event| body(event)).collect::<Vec<_>>().join(","))
    };
    load::send(events(engine, count.div_ceil(EVENTS_PER_LIST), connections, Arc::new(list))).await
}

/// Purchases of these customers.
pub async fn send_purchases(
    engine: &Engine,
    prefix: &str,
    customers: Range<usize>,
    connections: usize,
    rate: Option<f64>,
) -> anyhow::Result<Sent> {
    let (prefix, first) = (prefix.to_owned(), customers.start);
    let body: Body = Arc::new(move |number| purchase(&prefix, first + number));
    load::send(Load { rate, ..events(engine, customers.len(), connections, body) }).await
}

/// Imports `rows` rows.
pub async fn import_rows(engine: &Engine, rows: usize, row: Body) -> anyhow::Result<()> {
    let body = move |number: usize| {
        let of_request = number * IMPORT_ROWS..rows.min((number + 1) * IMPORT_ROWS);
        of_request.map(|number| row(number)).collect::<Vec<_>>().join("\n")
    };
    let requests = rows.div_ceil(IMPORT_ROWS);
    let load = events(engine, requests, IMPORT_CONNECTIONS, Arc::new(body));
    load::send(Load { path: "/v1/import", media: "application/x-ndjson", ..load }).await.map(|_| ())
}

/// Imports customers with an address and a consent, and waits for the turns on them; returns how many came in
/// in a second.
pub async fn import(engine: &Engine, prefix: &str, customers: usize) -> anyhow::Result<f64> {
    let (begun, prefix) = (Instant::now(), prefix.to_owned());
    let row = move |number: usize| {
        format!(
            r#"{{"customer":"{prefix}-c{number}","profile":{{"name":"Customer {number}","email":"c{number}@example.com"}},"consent":{{"email":true}}}}"#
        )
    };
    import_rows(engine, customers, Arc::new(row)).await?;
    engine.settle().await?;
    Ok(customers as f64 / begun.elapsed().as_secs_f64())
}

/// Waits until all calls have come, or none comes any more.
pub async fn wait_for_calls(mock: &Mock, runs: usize) {
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

/// Calls that never came for accepted events, and calls that came again.
pub fn losses(mock: &Mock, sent: &Sent) -> (f64, f64) {
    let (mut lost, mut doubled) = (0, mock.foreign.load(Relaxed));
    for calls in &mock.calls {
        for (count, accepted) in calls.count.iter().zip(&sent.accepted) {
            let count = u64::from(count.load(Relaxed));
            lost += u64::from(count == 0 && accepted.load(Relaxed) > 0);
            doubled += count.saturating_sub(1);
        }
    }
    (lost as f64, doubled as f64)
}

/// How late second messages were, and how many were early: the wait begins when the grant was answered.
fn lateness(mock: &Mock) -> ((f64, f64), f64) {
    let due =
        |answered: &AtomicU64| AtomicU64::new(Some(answered.load(Relaxed)).filter(|at| *at > 0).map_or(0, |at| at + WAIT_NS));
    let due: Vec<AtomicU64> = mock.calls[1].answered.iter().map(due).collect();
    let late = between(&due, &mock.calls[2].came);
    let early = late.iter().filter(|ms| **ms < 0.0).count() as f64;
    (spread(late), early)
}

/// Milliseconds from one instant to another, where there are both.
pub fn between(from: &[AtomicU64], to: &[AtomicU64]) -> Vec<f64> {
    let pairs = from.iter().zip(to).map(|(from, to)| (from.load(Relaxed), to.load(Relaxed)));
    pairs.filter(|(from, to)| *from > 0 && *to > 0).map(|(from, to)| (to as f64 - from as f64) / 1e6).collect()
}

/// Processor time by thousand, of all and apart.
pub fn processor(kind: Kind, used: Used, thousands: f64, what: &str) -> Vec<Figure> {
    let mut figures = vec![figure(format!("CPU-seconds per 1,000 {what}"), used.all() / thousands, 3)];
    if kind != Kind::Sqlite {
        figures.push(figure("  of these the engine", used.engine / thousands, 3));
        figures.push(figure("  of these Redis", used.redis / thousands, 3));
    }
    let file = kind.pick([
        "  of these the thread of the file",
        "  of these the thread of the tables",
        "  of these the thread of the tables",
    ]);
    figures.push(figure(file, used.file / thousands, 3));
    figures.push(figure(format!("KB written to the disk per 1,000 {what}"), used.written / 1e3 / thousands, 0));
    figures
}

/// All runs as fast as they can be accepted; with `apart` workers in processes of their own.
pub async fn flood(setting: &Setting, kind: Kind, runs: usize, apart: Option<usize>) -> anyhow::Result<Vec<Figure>> {
    let prefix = prefix();
    let (mock, port) = Mock::start(&prefix, runs).await.context("the mock provider cannot listen")?;
    let workspace = Workspace::read(&setting.workspace, port)?;
    let stand = Stand::new(setting, kind).await?;
    let engines = match apart {
        Some(workers) => stand.start_apart(&workspace, workers).await?,
        None => stand.start(&workspace).await?,
    };
    let shared_after = match (apart, &stand.redis) {
        (Some(workers), Some(redis)) => Some(redis.shared_out(workers).await?),
        _ => None,
    };
    let engine = &engines.front;
    let imported = import(engine, &prefix, runs).await?;
    let facts_before = engine.facts(&format!("{prefix}-c0")).await?;
    let flood = measured_flood(&stand, &engines, &mock, &prefix, runs, setting.connections).await?;
    let mut figures = flood;
    figures.extend(shared_after.map(|seconds| figure("shards shared out after, s", seconds, 1)));
    figures.push(figure("facts per run", engine.facts(&format!("{prefix}-c0")).await? - facts_before, 0));
    figures.push(figure("store, bytes per customer with her run", stand.bytes().await? / runs as f64, 0));
    figures.push(figure("connections to the provider", mock.connections.load(Relaxed) as f64, 0));
    figures.push(figure("customers imported/s, with their turns", imported, 0));
    engines.stop().await?;
    stand.end().await?;
    Ok(figures)
}

/// A flood over engines that run and customers who are there.
pub async fn measured_flood(
    stand: &Stand,
    engines: &Engines,
    mock: &Mock,
    prefix: &str,
    runs: usize,
    connections: usize,
) -> anyhow::Result<Vec<Figure>> {
    let (engine, kind) = (&engines.front, stand.kind);
    let scripts_before = scripts(stand).await?;
    let before = stand.used(engines)?;
    let sent = send_purchases(engine, prefix, 0..runs, connections, None).await?;
    wait_for_calls(mock, runs).await;
    let (calls_came, after_calls) = (Instant::now(), stand.used(engines)?);
    engine.settle().await?;
    if mock.done.load(Relaxed) == runs as u64 {
        engine.tables_hold(FUNNEL, runs).await?;
    }
    let (lag, used) = (calls_came.elapsed().as_secs_f64(), stand.used(engines)?);
    let done = mock.done.load(Relaxed).max(1) as f64;
    let last = mock.calls[2].came.iter().map(|at| at.load(Relaxed)).max().unwrap_or(0);
    let (late, early) = lateness(mock);
    let (lost, doubled) = losses(mock, &sent);
    let seconds = last.saturating_sub(sent.started).max(1) as f64 / 1e9;
    let mut figures = vec![figure("runs/s", done / seconds, 0).at_least(kind.pick([4_000.0, 4_000.0, 3_500.0]))];
    figures.push(figure("events accepted/s", sent.per_second(), 0));
    let mut processor = processor(kind, used.since(before), done / 1e3, "runs");
    processor[0] = processor[0].clone().at_most(kind.pick([0.28, 0.30, 0.33]));
    figures.append(&mut processor);
    figures.push(figure("peak memory of the engine (PSS), MB", engines.peak_mb(), 0).at_most(60.0));
    if let Some(redis) = &stand.redis {
        figures.push(figure("peak memory of Redis (PSS), MB", redis.process.peak_mb(), 0));
        let (calls, ms) = scripts(stand).await?;
        figures.push(figure("script calls of Redis per run", (calls - scripts_before.0) / done, 2));
        figures.push(figure("time in scripts per run, µs", (ms - scripts_before.1) / done * 1e3, 0));
        figures.push(figure("tables have everything after the last call, s", lag, 1));
        figures.push(figure("  CPU-seconds meanwhile", used.since(after_calls).all(), 2));
    }
    figures.push(figure("calls lost", lost, 0).at_most(0.0));
    figures.push(figure("calls doubled", doubled, 0).at_most(0.0));
    figures.push(figure("second messages early", early, 0).at_most(0.0));
    figures.push(figure("second messages late by, p50 ms", late.0, 1));
    figures.push(figure("second messages late by, p99 ms", late.1, 1).at_most(100.0));
    Ok(figures)
}

async fn scripts(stand: &Stand) -> anyhow::Result<(f64, f64)> {
    match &stand.redis {
        Some(redis) => redis.scripts().await,
        None => Ok((0.0, 0.0)),
    }
}

/// Runs at a fixed rate. `late_ms` is what timers may be late by at this rate.
pub async fn steady(setting: &Setting, kind: Kind, rate: f64, seconds: f64, late_ms: f64) -> anyhow::Result<Vec<Figure>> {
    let (prefix, runs) = (prefix(), (rate * seconds) as usize);
    let (mock, port) = Mock::start(&prefix, runs).await.context("the mock provider cannot listen")?;
    let stand = Stand::new(setting, kind).await?;
    let engines = stand.start(&Workspace::read(&setting.workspace, port)?).await?;
    import(&engines.front, &prefix, runs).await?;
    let figures = measured_steady(&stand, &engines, &mock, &prefix, rate, (runs, setting.connections), late_ms).await?;
    engines.stop().await?;
    stand.end().await?;
    Ok(figures)
}

/// A fixed rate over engines that run and customers who are there.
pub async fn measured_steady(
    stand: &Stand,
    engines: &Engines,
    mock: &Mock,
    prefix: &str,
    rate: f64,
    (runs, connections): (usize, usize),
    late_ms: f64,
) -> anyhow::Result<Vec<Figure>> {
    let kind = stand.kind;
    let before = stand.used(engines)?;
    let sent = send_purchases(&engines.front, prefix, 0..runs, connections, Some(rate)).await?;
    wait_for_calls(mock, runs).await;
    let used = stand.used(engines)?.since(before);
    let (late, early) = lateness(mock);
    let (lost, doubled) = losses(mock, &sent);
    let first = spread(between(&sent.begun, &mock.calls[0].came));
    let accepted = spread(between(&sent.begun, &sent.accepted));
    let done = mock.done.load(Relaxed).max(1) as f64;
    let mut figures = vec![
        figure("event → first message, p50 ms", first.0, 2).at_most(kind.pick([1.5, 0.6, 1.5])),
        figure("event → first message, p99 ms", first.1, 2).at_most(kind.pick([10.0, 3.0, 12.0])),
        figure("event → accepted, p50 ms", accepted.0, 2),
        figure("event → accepted, p99 ms", accepted.1, 2),
        figure("second messages late by, p50 ms", late.0, 2),
        figure("second messages late by, p99 ms", late.1, 2).at_most(late_ms),
    ];
    figures.append(&mut processor(kind, used, done / 1e3, "runs"));
    figures.push(figure("calls lost, doubled or early", lost + doubled + early, 0).at_most(0.0));
    Ok(figures)
}

/// Events that no funnel knows, one per request and in lists.
pub async fn door(setting: &Setting, kind: Kind, count: usize) -> anyhow::Result<Vec<Figure>> {
    let prefix = prefix();
    let (_mock, port) = Mock::start(&prefix, 0).await.context("the mock provider cannot listen")?;
    let stand = Stand::new(setting, kind).await?;
    let engines = stand.start(&Workspace::read(&setting.workspace, port)?).await?;
    let engine = &engines.front;
    let idle_before = stand.used(&engines)?;
    tokio::time::sleep(IDLE).await;
    let before = stand.used(&engines)?;
    let of = |prefix: String| -> Body { Arc::new(move |number| page_view(&prefix, number)) };
    let single = load::send(events(engine, count, setting.connections, of(prefix.clone()))).await?;
    engine.settle().await?;
    let used = stand.used(&engines)?.since(before);
    let lists = send_in_lists(engine, count, setting.connections, of(format!("{prefix}l"))).await?;
    engine.settle().await?;
    if single.accepted() != count {
        bail!("only {} of {count} events were accepted", single.accepted());
    }
    let idle = before.since(idle_before).all() / IDLE.as_secs_f64() * 100.0;
    let mut figures = vec![
        figure("accepted/s, one per request", single.per_second(), 0).at_least(kind.pick([30_000.0, 40_000.0, 25_000.0])),
        figure("accepted/s, in lists of 100", lists.per_second() * EVENTS_PER_LIST as f64, 0),
    ];
    figures.append(&mut processor(kind, used, count as f64 / 1e3, "events, with their turns"));
    figures.push(figure("CPU while nothing happens, % of a core", idle, 1).at_most(1.0));
    engines.stop().await?;
    stand.end().await?;
    Ok(figures)
}
