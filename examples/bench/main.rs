//! Measures the engine end to end and prints one table.
//!
//! ```text
//! cargo run --release --example bench
//! cargo run --release --example bench -- --quick
//! ```
//! The workload `welcome`: one purchase per customer comes in over HTTP and starts a run of five steps: a
//! condition, a message, a grant, a wait of one second, a second message. Messages and grants are calls
//! to a mock provider in this program, which counts losses and doubles. The engine is the program
//! `autofunnel serve` as a user would start it, with its shipped settings, over a fresh store; customers
//! with an address and a consent are imported before. Everything stays on loopback.
//!
//! Compare figures of one machine only, and look at the processor time first: it is the stable one.

use anyhow::{Context, bail};
use measure::{Door, EVENTS_PER_LIST, Flood, Setting, Steady};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

mod engine;
mod http;
mod load;
mod measure;
mod mock;

const HELP: &str = "\
cargo run --release --example bench -- [OPTIONS]

  --rounds N         rounds of which the medians are shown; default 3
  --runs N           runs of the flood; default 20000
  --rate N           events per second of the steady load; default 200
  --seconds N        length of the steady load; default 10
  --events N         events of the door's measurement; default 60000
  --connections N    connections of the generator; default 64
  --only PART        flood, steady or door
  --quick            one round with 2,000 runs, 3 seconds and 10,000 events
  --engine FILE      measure this binary instead of building `autofunnel`
  --workspace DIR    another workspace with the same steps
  --disk DIR         where the stores are made; default beside the binary";

struct Options {
    rounds: usize,
    runs: usize,
    rate: f64,
    seconds: f64,
    events: usize,
    only: Option<String>,
    engine: Option<PathBuf>,
    disk: Option<PathBuf>,
    workspace: PathBuf,
    connections: usize,
}

fn options() -> anyhow::Result<Options> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/bench/workspace");
    let (rounds, runs, rate, seconds, events, connections) = (3, 20_000, 200.0, 10.0, 60_000, 64);
    let (only, engine, disk) = Default::default();
    let mut options = Options { rounds, runs, rate, seconds, events, only, engine, disk, workspace, connections };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--quick" {
            (options.rounds, options.runs, options.seconds, options.events) = (1, 2_000, 3.0, 10_000);
            continue;
        }
        if name == "--help" || name == "-h" {
            println!("{HELP}");
            std::process::exit(0);
        }
        let value = arguments.next().with_context(|| format!("{name} needs a value, or is not known; see --help"))?;
        let number = || value.parse::<usize>().ok().filter(|n| *n > 0).with_context(|| format!("{name} takes a number from 1"));
        match name.as_str() {
            "--rounds" => options.rounds = number()?,
            "--runs" => options.runs = number()?,
            "--rate" => options.rate = number()? as f64,
            "--seconds" => options.seconds = number()? as f64,
            "--events" => options.events = number()?.max(EVENTS_PER_LIST),
            "--connections" => options.connections = number()?,
            "--only" => options.only = Some(value),
            "--engine" => options.engine = Some(value.into()),
            "--workspace" => options.workspace = value.into(),
            "--disk" => options.disk = Some(value.into()),
            _ => bail!("{name} is not known; see --help"),
        }
    }
    if options.only.as_deref().is_some_and(|part| !["flood", "steady", "door"].contains(&part)) {
        bail!("--only takes flood, steady or door");
    }
    Ok(options)
}

fn main() -> anyhow::Result<()> {
    let options = options()?;
    let binary = match &options.engine {
        Some(binary) => binary.clone(),
        None => build()?,
    };
    let beside = binary.parent().unwrap_or(Path::new(".")).to_owned();
    let setting = Setting {
        binary: fs::canonicalize(&binary).with_context(|| format!("there is no {}", binary.display()))?,
        workspace: options.workspace.clone(),
        disk: options.disk.clone().unwrap_or(beside),
        connections: options.connections,
    };
    let mut table = heading(&setting, &options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(rounds(&setting, &options, &mut table))?;
    print!("{table}");
    Ok(())
}

/// The engine is another program than this one: it must be of the same source.
fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--bin", "autofunnel", "--manifest-path"]).arg(manifest).args(profile);
    if !command.status().context("cannot run cargo")?.success() {
        bail!("the engine does not build");
    }
    // target/<profile>/examples/bench → target/<profile>/autofunnel
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(Path::parent).context("this program lies in no target folder; use --engine")?;
    Ok(folder.join("autofunnel"))
}

async fn rounds(setting: &Setting, options: &Options, table: &mut String) -> anyhow::Result<()> {
    let wanted = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    let (mut floods, mut steadies, mut doors) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        eprint!("round {round} of {}:", options.rounds);
        if wanted("flood") {
            floods.push(told("flood", setting.flood(options.runs)).await?);
        }
        if wanted("steady") {
            steadies.push(told("steady", setting.steady(options.rate, options.seconds)).await?);
        }
        if wanted("door") {
            doors.push(told("door", setting.door(options.events)).await?);
        }
        eprintln!();
    }
    if !floods.is_empty() {
        show_flood(table, options, &floods);
    }
    if !steadies.is_empty() {
        show_steady(table, options, &steadies);
    }
    if !doors.is_empty() {
        show_door(table, &doors);
    }
    Ok(())
}

async fn told<T>(name: &str, part: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let begun = Instant::now();
    let result = part.await.with_context(|| format!("the measurement `{name}` failed"))?;
    eprint!(" {name} ({:.0} s)", begun.elapsed().as_secs_f64());
    std::io::stderr().flush()?;
    Ok(result)
}

/// Machine, versions and settings.
fn heading(setting: &Setting, options: &Options) -> anyhow::Result<String> {
    let first = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?").trim_start_matches([' ', '\t', ':']).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let (kernel, model) = (first("/proc/sys/kernel/osrelease", ""), first("/proc/cpuinfo", "model name"));
    let load = first("/proc/loadavg", "");
    let mut out = String::new();
    writeln!(
        out,
        "autofunnel {}, SQLite {} as shipped (write-ahead log, synchronous=FULL)",
        env!("CARGO_PKG_VERSION"),
        rusqlite::version()
    )?;
    writeln!(out, "Linux {kernel}, {cores} cores ({model}), load before: {load}")?;
    writeln!(out, "one flush of the disk (4 KiB, fdatasync): {:.2} ms", flush_ms(&setting.disk)?)?;
    writeln!(
        out,
        "generator and mock provider on the same machine, {} connections; median of {} rounds (lowest – highest)",
        options.connections, options.rounds
    )?;
    Ok(out)
}

/// The median time of a small write with its flush: what a commit costs at least.
fn flush_ms(disk: &Path) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(disk).context("cannot write where the stores are made")?;
    let mut times = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// Rows of the table: a name, and what is read of each round.
type Row<'a, T> = (&'a str, fn(&T) -> f64, usize);

fn rows<T>(table: &mut String, title: &str, rounds: &[T], rows: &[Row<'_, T>]) {
    let _ = writeln!(table, "\n{title}");
    for (name, read, digits) in rows {
        let values: Vec<f64> = rounds.iter().map(read).collect();
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        let range = if values.len() > 1 { format!("  ({low:.digits$} – {high:.digits$})") } else { String::new() };
        let _ = writeln!(table, "  {name:<46} {:>10.digits$}{range}", median(values));
    }
}

fn show_flood(table: &mut String, options: &Options, floods: &[Flood]) {
    let title = format!("welcome, a flood of {} runs", options.runs);
    rows(
        table,
        &title,
        floods,
        &[
            ("runs/s", |flood| flood.runs_per_second, 0),
            ("events accepted/s", |flood| flood.accepted_per_second, 0),
            ("CPU-seconds of the engine per 1,000 runs", |flood| flood.cpu_per_thousand, 3),
            ("peak memory of the engine (PSS), MB", |flood| flood.peak_mb, 0),
            ("calls lost", |flood| flood.lost as f64, 0),
            ("calls doubled", |flood| flood.doubled as f64, 0),
            ("second messages early", |flood| flood.early as f64, 0),
            ("second messages late by, p50 ms", |flood| flood.late_ms.0, 1),
            ("second messages late by, p99 ms", |flood| flood.late_ms.1, 1),
            ("facts per run", |flood| flood.facts_per_run, 0),
            ("store, bytes per customer with her run", |flood| flood.bytes_per_customer, 0),
            ("connections to the provider", |flood| flood.provider_connections, 0),
            ("customers imported/s, with their turns", |flood| flood.imported_per_second, 0),
        ],
    );
}

fn show_steady(table: &mut String, options: &Options, steadies: &[Steady]) {
    let title = format!("welcome, {} events/s for {} s", options.rate, options.seconds);
    rows(
        table,
        &title,
        steadies,
        &[
            ("event → first message, p50 ms", |steady| steady.first_message_ms.0, 2),
            ("event → first message, p99 ms", |steady| steady.first_message_ms.1, 2),
            ("event → accepted, p50 ms", |steady| steady.accepted_ms.0, 2),
            ("event → accepted, p99 ms", |steady| steady.accepted_ms.1, 2),
            ("second messages late by, p50 ms", |steady| steady.late_ms.0, 2),
            ("second messages late by, p99 ms", |steady| steady.late_ms.1, 2),
            ("CPU-seconds of the engine per 1,000 runs", |steady| steady.cpu_per_thousand, 3),
            ("calls lost, doubled or early", |steady| steady.wrong as f64, 0),
        ],
    );
}

fn show_door(table: &mut String, doors: &[Door]) {
    rows(
        table,
        "events that no funnel knows",
        doors,
        &[
            ("accepted/s, one per request", |door| door.single_per_second, 0),
            ("accepted/s, in lists of 100", |door| door.listed_per_second, 0),
            ("CPU-seconds per 1,000 events, with their turns", |door| door.cpu_per_thousand, 3),
            ("CPU of the idle engine, % of a core", |door| door.idle_percent, 1),
        ],
    );
}
