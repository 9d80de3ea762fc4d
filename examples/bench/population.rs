//! Many customers: how they come to be there, what they take, and how fast they can be looked at.

use crate::http::Client;
use crate::load::Body;
use crate::measure::{import_rows, send_in_lists};
use crate::mock::now_ns;
use crate::stand::{Engines, Stand, Workspace};
use crate::table::{Figure, figure, spread};
use anyhow::{Context, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What the settings say of the event that makes customers wait.
pub const JOINED: &str = "events:\n  joined: { from: text }\n";
/// The funnel that makes them wait.
const LATER: &str = "funnel: Later\ntrigger: joined\nsteps:\n  - wait: 30 days\n  - email:\n      subject: Thirty days\n      text: You have been with us for thirty days.\n";
/// Reads per second while many customers are due.
pub const ASKS_PER_SECOND: u32 = 20;
/// How often a page is asked for.
const ASKED: usize = 50;
/// What a customer with ten events of history may take, in bytes, by the order of the stores.
const BYTES: [f64; 3] = [1_000.0, 1_200.0, 1_200.0];
/// What takes less than this share of all bytes is not shown.
const SHARE_MIN: f64 = 0.02;
/// Connections over which customers come.
const CONNECTIONS: usize = 8;
/// Seconds between two past events of a customer: a little less than three weeks.
const APART_SECONDS: u64 = 1_800_000;
/// Seconds from 1970 to the first past event.
const FIRST_SECONDS: u64 = 1_767_225_600;

/// The workload's workspace and the funnel that makes customers wait.
pub fn workspace(workspace: Workspace) -> Workspace {
    workspace.extended("autofunnel.yaml", JOINED).with("later.yaml", LATER)
}

/// The event after which a customer waits; the prefix of its id has a `j` at its end.
pub fn joined(prefix: &str) -> Body {
    let prefix = prefix.to_owned();
    Arc::new(move |number| {
        format!(
            r#"{{"id":"{prefix}j-{number}","event":"joined","customer":"{prefix}-c{number}","properties":{{"from":"shop"}}}}"#
        )
    })
}

/// Row `number` of customers with so many past events each.
fn row(prefix: &str, number: usize, history: usize) -> String {
    let (customer, which) = (number / (history + 1), number % (history + 1));
    if which == 0 {
        return format!(
            r#"{{"customer":"{prefix}-c{customer}","profile":{{"name":"Customer {customer}","email":"c{customer}@example.com"}},"consent":{{"email":true}}}}"#
        );
    }
    let time = date(FIRST_SECONDS - APART_SECONDS * (history - which) as u64);
    let amount = 10 + customer % 90;
    format!(
        r#"{{"id":"{prefix}-h{number}","event":"purchase","customer":"{prefix}-c{customer}","time":"{time}","properties":{{"order_id":"h{number}","amount":{amount}}}}}"#
    )
}

/// An instant of this calendar as the doors take it.
fn date(seconds: u64) -> String {
    // Days of the civil calendar, counted from 1 March of the year 0, so that the leap day is a year's last.
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, year + era * 400) } else { (month - 9, year + era * 400 + 1) };
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Lets customers come, each with a history and a waiting run.
pub async fn fill(
    stand: &Stand,
    engines: &Engines,
    prefix: &str,
    customers: usize,
    history: usize,
) -> anyhow::Result<Vec<Figure>> {
    let (engine, before, begun) = (&engines.front, stand.used(engines)?, Instant::now());
    let rows = customers * (history + 1);
    let of = prefix.to_owned();
    import_rows(engine, rows, Arc::new(move |number| row(&of, number, history))).await?;
    engine.settle().await?;
    let (imported, middle) = (begun.elapsed().as_secs_f64(), Instant::now());
    send_in_lists(engine, customers, CONNECTIONS, joined(prefix)).await?;
    engine.settle().await?;
    let waiting = engine.measure("autofunnel_live_runs").await?;
    if waiting as usize != customers {
        bail!("{waiting} of {customers} runs wait");
    }
    let used = stand.used(engines)?.since(before);
    Ok(vec![
        figure("rows imported/s, with their turns", rows as f64 / imported, 0),
        figure("runs begun/s, in lists of 100", customers as f64 / middle.elapsed().as_secs_f64(), 0),
        figure("CPU-seconds per 1,000 customers, to come", used.all() / customers as f64 * 1e3, 3),
    ])
}

/// Bytes per customer, of the store and of its parts.
pub async fn shares(stand: &Stand, customers: usize) -> anyhow::Result<Vec<Figure>> {
    let each = 1.0 / customers as f64;
    let (all, parts, read_side) = match &stand.redis {
        Some(redis) => {
            let parts: Vec<(String, f64)> = redis.bytes_by_kind().await?.into_iter().collect();
            (redis.bytes().await?, parts, Some(stand.file_bytes()))
        }
        None => {
            let file = stand.file();
            let parts =
                tokio::task::spawn_blocking(move || tables(&file)).await.context("reading the file's tables crashed")??;
            (stand.file_bytes(), parts, None)
        }
    };
    let mut figures = vec![figure("store, bytes per customer", all * each, 0).at_most(stand.kind.pick(BYTES))];
    let mut parts: Vec<(String, f64)> = parts.into_iter().filter(|(_, bytes)| *bytes > all * SHARE_MIN).collect();
    parts.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    figures.extend(parts.into_iter().map(|(name, bytes)| figure(format!("  {name}"), bytes * each, 0)));
    if let Some(bytes) = read_side {
        figures.push(figure("file of the read side, bytes per customer", bytes * each, 0));
    }
    Ok(figures)
}

/// Bytes of each table and index of a file.
fn tables(file: &std::path::Path) -> anyhow::Result<Vec<(String, f64)>> {
    let connection = rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut sizes = connection.prepare("SELECT name, sum(pgsize) FROM dbstat GROUP BY name")?;
    let rows = sizes.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect::<Result<_, _>>().context("the sizes of the tables cannot be read")
}

/// How fast what people look at is answered.
pub async fn pages(engines: &Engines, prefix: &str) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, path) in [
        ("funnels with their figures", "/v1/funnels".to_owned()),
        ("a page of customers", "/v1/customers?limit=50".to_owned()),
        ("a search", format!("/v1/customers?query={prefix}-c77&limit=50")),
        ("a page of runs", "/v1/runs?limit=50".to_owned()),
        ("a customer", format!("/v1/customers/{prefix}-c7")),
        ("a timeline", format!("/v1/customers/{prefix}-c7/timeline?limit=50")),
    ] {
        let mut client = engines.front.client().await?;
        let mut times = Vec::with_capacity(ASKED);
        for _ in 0..ASKED {
            let begun = now_ns();
            let (status, answer) = client.call("GET", &path, "text/plain", "").await?;
            if status != 200 {
                bail!("{path} was answered {status}: {}", String::from_utf8_lossy(answer));
            }
            times.push((now_ns() - begun) as f64 / 1e6);
        }
        let (middle, slow) = spread(times);
        figures.push(figure(format!("{name}, p50 ms"), middle, 1).at_most(50.0));
        figures.push(figure(format!("{name}, p99 ms"), slow, 1));
    }
    Ok(figures)
}

/// Asks for one thing at a fixed rate until told to end; how long each answer took, in
/// milliseconds from when it should have been asked for.
pub async fn probe(address: String, token: String, path: String, end: Arc<AtomicBool>) -> anyhow::Result<Vec<f64>> {
    let mut client = Client::connect(&address, &token).await?;
    let start = tokio::time::Instant::now();
    let mut times = Vec::new();
    for number in 0.. {
        let at = start + Duration::from_secs(1) * number / ASKS_PER_SECOND;
        tokio::time::sleep_until(at).await;
        if end.load(Relaxed) {
            break;
        }
        let (status, _) = client.call("GET", &path, "text/plain", "").await?;
        if status != 200 {
            bail!("{path} was answered {status}");
        }
        times.push(at.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
