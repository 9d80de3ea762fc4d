//! How cost grows: with funnels and segments, with what is due at once, with workers, with customers.

use crate::Sections;
use crate::measure::{self, between, import, losses, measured_flood, prefix, send_in_lists, send_purchases, wait_for_calls};
use crate::mock::{Mock, now_ns};
use crate::population::{self, ASKS_PER_SECOND, JOINED, joined, probe};
use crate::stand::{Engines, Kind, Setting, Stand, Workspace};
use crate::table::{Figure, figure, spread};
use anyhow::{Context, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Funnels and segments of the small workspace and of the large one, those of the workload included.
const DEFINITIONS: [usize; 2] = [10, 1_000];
/// Profile fields that the segments are about.
const TRAITS: usize = 100;
/// Events taken in per second at least: how long before the instant at which they are due it is begun.
const JOINED_PER_SECOND_MIN: u64 = 2_000;
/// How long an engine may take to start, and to finish turns, before that instant, in milliseconds.
const START_MS: u64 = 5_000;
/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

/// A workspace with so many funnels and segments, of which the workload's event touches one.
fn with_definitions(workspace: Workspace, count: usize) -> Workspace {
    let traits: String = (0..TRAITS).map(|number| format!("  trait_{number}: text\n")).collect();
    let things: String = (1..count).map(|number| format!("  thing_{number}: {{ size: number }}\n")).collect();
    let segments: String = (0..count)
        .map(|number| format!("other-{number}:\n  when: customer.trait_{} == \"v{number}\"\n", number % TRAITS))
        .collect();
    let mut workspace =
        workspace.extended("autofunnel.yaml", &format!("profile:\n{traits}events:\n{things}")).with("segments.yaml", segments);
    for number in 1..count {
        let text = format!(
            "funnel: Other {number}\ntrigger: thing_{number}\ngoal: {{ event: thing_{number}, within: 30 days, value: event.size }}\n\
             steps:\n  - wait: 1 day\n  - email:\n      subject: Other {number}\n      text: Something else.\n"
        );
        workspace = workspace.with(format!("other-{number}.yaml"), text);
    }
    workspace
}

/// A flood under few and under many funnels and segments.
pub async fn definitions(setting: &Setting, kind: Kind, runs: usize) -> anyhow::Result<Sections> {
    let mut figures = Vec::new();
    let mut costs = Vec::new();
    for count in DEFINITIONS {
        let prefix = prefix();
        let (mock, port) = Mock::start(&prefix, runs).await.context("the mock provider cannot listen")?;
        let stand = Stand::new(setting, kind).await?;
        let engines = stand.start(&with_definitions(Workspace::read(&setting.workspace, port)?, count)).await?;
        import(&engines.front, &prefix, runs).await?;
        let before = stand.used(&engines)?;
        measured_flood(&stand, &engines, &mock, &prefix, runs, setting.connections).await?;
        let cost = stand.used(&engines)?.since(before).all() / runs as f64 * 1e3;
        figures.push(figure(format!("CPU-seconds per 1,000 runs, {count} funnels and segments"), cost, 3));
        figures.push(figure(format!("memory of the engine with {count}, MB"), engines.mb(), 0));
        costs.push(cost);
        engines.stop().await?;
        stand.end().await?;
    }
    figures.push(figure("many to few", costs[1] / costs[0], 2).at_most(2.0));
    Ok(vec![(format!("{} or {} funnels and segments, {runs} runs", DEFINITIONS[0], DEFINITIONS[1]), figures)])
}

/// One worker process and two, over one Redis, apart from the process with the doors.
pub async fn workers(setting: &Setting, kind: Kind, runs: usize) -> anyhow::Result<Sections> {
    let mut sections = Vec::new();
    for (workers, name) in [(1, "one worker process"), (2, "two worker processes")] {
        let figures = measure::flood(setting, kind, runs, Some(workers)).await?;
        sections.push((format!("{name}, a flood of {runs} runs"), figures));
    }
    Ok(sections)
}

/// The first full minute that is so far away, in milliseconds since 1970 and of the program's own clock in nanoseconds.
fn full_minute(after_ms: u64) -> anyhow::Result<(u64, u64)> {
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?.as_micros() as u64;
    let due_us = (now_us / 1_000 + after_ms).div_ceil(MINUTE_MS) * MINUTE_MS * 1_000;
    Ok((due_us / 1_000, now_ns() + (due_us - now_us) * 1_000))
}

/// The workspace with a funnel that writes at that minute.
fn with_burst(workspace: Workspace, due_ms: u64) -> Workspace {
    let (hour, minute) = (due_ms / MINUTE_MS / 60 % 24, due_ms / MINUTE_MS % 60);
    let burst = format!(
        "funnel: Burst\ntrigger: joined\nsteps:\n  - wait_until: \"{hour:02}:{minute:02}\"\n\
         \x20 - email:\n      subject: It is time\n      text: As planned.\n    id: msg2\n"
    );
    workspace.extended("autofunnel.yaml", JOINED).with("burst.yaml", burst).replaced("Europe/Berlin", "UTC")
}

/// Many customers due at one instant: each has come into a funnel that writes at a full minute.
pub async fn due(setting: &Setting, kind: Kind, customers: usize) -> anyhow::Result<Sections> {
    let prefix = prefix();
    let (mock, port) = Mock::start(&format!("{prefix}j"), customers).await.context("the mock provider cannot listen")?;
    let stand = Stand::new(setting, kind).await?;
    let plain = Workspace::read(&setting.workspace, port)?;
    let engines = stand.start(&plain).await?;
    import(&engines.front, &prefix, customers).await?;
    engines.stop().await?;

    let (due_ms, due_ns) = full_minute(START_MS + customers as u64 * 1_000 / JOINED_PER_SECOND_MIN)?;
    let engines = stand.start(&with_burst(plain, due_ms)).await?;
    send_in_lists(&engines.front, customers, setting.connections.min(16), joined(&prefix)).await?;
    engines.front.settle().await?;
    if now_ns() > due_ns {
        bail!("{customers} customers did not come in before they were due; use --due with a smaller number on this machine");
    }
    let figures = burst(&stand, &engines, &mock, &prefix, customers, due_ns).await?;
    engines.stop().await?;
    stand.end().await?;
    Ok(vec![(format!("{customers} customers due at the same instant"), figures)])
}

/// What happens from the instant on at which they are due.
async fn burst(
    stand: &Stand,
    engines: &Engines,
    mock: &Mock,
    prefix: &str,
    customers: usize,
    due_ns: u64,
) -> anyhow::Result<Vec<Figure>> {
    let (engine, loaded_mb, end) = (&engines.front, engines.mb(), Arc::new(AtomicBool::new(false)));
    engine.process.forget_peak();
    tokio::time::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns()))).await;
    let before = stand.used(engines)?;
    if let Some(redis) = &stand.redis {
        redis.forget_calls().await?;
    }
    let path = format!("/v1/customers/{prefix}-c0");
    let probing = tokio::spawn(probe(engine.address.clone(), engine.token.clone(), path, end.clone()));
    wait_for_calls(mock, customers).await;
    end.store(true, Relaxed);
    let answers = spread(probing.await.context("the probe crashed")??);
    engine.settle().await?;
    let used = stand.used(engines)?.since(before);
    let mut came: Vec<u64> = mock.calls[2].came.iter().map(|at| at.load(Relaxed)).filter(|at| *at > 0).collect();
    came.sort_unstable();
    let ms = |at: Option<&u64>| at.map_or(f64::NAN, |at| (*at as f64 - due_ns as f64) / 1e6);
    let mut figures = vec![
        figure("first message after the instant, ms", ms(came.first()), 1).at_most(100.0),
        figure("messages before the instant", came.iter().filter(|at| **at < due_ns).count() as f64, 0).at_most(0.0),
        figure("drained after, s", ms(came.last()) / 1e3, 1).at_most(10.0),
        figure("messages lost", (customers - came.len()) as f64, 0).at_most(0.0),
        figure("messages doubled or foreign", (mock.total.load(Relaxed) as usize - came.len()) as f64, 0).at_most(0.0),
        figure(format!("API meanwhile ({ASKS_PER_SECOND} reads/s), p50 ms"), answers.0, 1),
        figure(format!("API meanwhile ({ASKS_PER_SECOND} reads/s), p99 ms"), answers.1, 1).at_most(30.0),
        figure("memory of the engine before, MB", loaded_mb, 0),
        figure("peak memory of the engine meanwhile, MB", engines.peak_mb(), 0),
        figure("CPU-seconds per 1,000 messages", used.all() / customers as f64 * 1e3, 3),
    ];
    if let Some(redis) = &stand.redis {
        figures.push(figure("a script call of Redis, p99 ms", redis.script_p99_ms().await?, 1).at_most(5.0));
    }
    Ok(figures)
}

/// How many customers there are, and what they have behind them.
pub struct Population {
    /// How many.
    pub customers: usize,
    /// Past events of each.
    pub history: usize,
}

/// The smaller number of customers with which cost is compared.
const FEW: usize = 10_000;
/// How long idle engines are watched.
const IDLE: Duration = Duration::from_secs(10);
/// Without any turn for this long, the look at everybody has ended.
const STALL: Duration = Duration::from_secs(30);
/// Time between two looks at how far it has come.
const LOOK: Duration = Duration::from_millis(200);

/// What an event costs among few and among many customers, each with a waiting run; what those cost by being
/// there; and how long it takes to look at all of them under another workspace.
pub async fn customers(
    setting: &Setting,
    kind: Kind,
    population: Population,
    (runs, rate, seconds): (usize, f64, f64),
) -> anyhow::Result<Sections> {
    let mut sections = Vec::new();
    let mut costs = Vec::new();
    for customers in [FEW.min(population.customers), population.customers] {
        let prefix = prefix();
        let (mock, port) = Mock::start(&prefix, customers).await.context("the mock provider cannot listen")?;
        let runs = runs.min(customers);
        let stand = Stand::new(setting, kind).await?;
        let workspace = population::workspace(Workspace::read(&setting.workspace, port)?);
        let engines = stand.start(&workspace).await?;
        let mut figures = population::fill(&stand, &engines, &prefix, customers, population.history).await?;
        eprint!(" {customers} are there;");
        let before = stand.used(&engines)?;
        tokio::time::sleep(IDLE).await;
        let idle = stand.used(&engines)?.since(before);
        figures.push(figure("CPU while nothing happens, % of a core", idle.all() / IDLE.as_secs_f64() * 100.0, 1).at_most(1.0));
        figures.extend(population::shares(&stand, customers).await?);
        let before = stand.used(&engines)?;
        measured_flood(&stand, &engines, &mock, &prefix, runs, setting.connections).await?;
        let cost = stand.used(&engines)?.since(before).all() / runs as f64 * 1e3;
        figures.push(figure(format!("CPU-seconds per 1,000 runs, a flood of {runs}"), cost, 3));
        figures.push(figure("memory of the engine, MB", engines.mb(), 0));
        costs.push(cost);
        figures.extend(population::pages(&engines, &prefix).await?);
        if customers == population.customers {
            figures.push(figure("cost among many to cost among few", costs[costs.len() - 1] / costs[0], 2).at_most(1.3));
        }
        engines.stop().await?;
        sections
            .push((format!("{customers} customers, each with a waiting run and {} past events", population.history), figures));
        if customers == population.customers {
            let figures = backfill(setting, &stand, &workspace, customers, (rate, seconds)).await?;
            sections.push((format!("another workspace for {customers} customers"), figures));
        }
        stand.end().await?;
    }
    Ok(sections)
}

/// Another workspace, first with nothing else to do, then one more with events coming in.
async fn backfill(
    setting: &Setting,
    stand: &Stand,
    workspace: &Workspace,
    customers: usize,
    (rate, seconds): (f64, f64),
) -> anyhow::Result<Vec<Figure>> {
    let segment = |name: &str| format!("{name}:\n  when: {{ purchases: {{ last: 3650 days, at_least: 1 }} }}\n");
    let engines = stand.start(&workspace.clone().with("segments.yaml", segment("buyers"))).await?;
    let (begun, before) = (Instant::now(), stand.used(&engines)?);
    let (mut turns, mut last) = (0.0, begun);
    while turns < customers as f64 && last.elapsed() < STALL {
        tokio::time::sleep(LOOK).await;
        let now = engines.front.measure("autofunnel_turns_total").await?;
        if now > turns {
            (turns, last) = (now, Instant::now());
        }
    }
    let used = stand.used(&engines)?.since(before);
    let mut figures = vec![
        figure("customers/s", turns / (last - begun).as_secs_f64(), 0).at_least(20_000.0),
        figure("customers without a turn", customers as f64 - turns, 0).at_most(0.0),
        figure("CPU-seconds per 1,000 customers", used.all() / turns * 1e3, 3),
    ];
    // New customers, whose purchases come while everybody is looked at once more.
    let (prefix, runs) = (prefix(), (rate * seconds) as usize);
    import(&engines.front, &prefix, runs).await?;
    engines.stop().await?;
    let (mock, port) = Mock::start(&prefix, runs).await.context("the mock provider cannot listen")?;
    let workspace =
        population::workspace(Workspace::read(&setting.workspace, port)?).with("segments.yaml", segment("customers-who-bought"));
    let engines = stand.start(&workspace).await?;
    let sent = send_purchases(&engines.front, &prefix, 0..runs, setting.connections, Some(rate)).await?;
    let looked_at = engines.front.measure("autofunnel_turns_total").await?;
    wait_for_calls(&mock, runs).await;
    let first = spread(between(&sent.begun, &mock.calls[0].came));
    figures.push(figure(format!("event → first message meanwhile, {rate}/s, p50 ms"), first.0, 2));
    figures.push(figure(format!("event → first message meanwhile, {rate}/s, p99 ms"), first.1, 2));
    figures.push(figure("calls lost or doubled", losses(&mock, &sent).0 + losses(&mock, &sent).1, 0).at_most(0.0));
    // A look at everybody that was over long before the last event would say little.
    figures.push(figure("turns until the last of these events", looked_at, 0));
    engines.stop().await?;
    Ok(figures)
}
