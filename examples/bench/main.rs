//! Measures the engine end to end over each of its stores and prints one table.
//!
//! ```text
//! cargo run --release --example bench
//! cargo run --release --example bench -- --quick --store sqlite
//! cargo run --release --example bench -- --growth
//! cargo run --release --example bench -- --soak 60 --store redis-everysec
//! ```
//! The workload `welcome`: one purchase per customer comes in over HTTP and starts a run of five steps: a
//! condition, a message, a grant, a wait of one second, a second message. Messages and grants are calls
//! to a mock provider in this program, which counts losses and doubles. The engine is the program
//! `autofunnel serve` as a user would start it, with its shipped settings, over a fresh store; a Redis is
//! started for each measurement, on loopback, with its append-only file on the same disk. Customers with an
//! address and a consent are imported before.
//!
//! Compare figures of one machine only, and look at the processor time first: it is the stable one.

use anyhow::{Context, bail};
use options::{Options, Part};
use stand::{Kind, Setting};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use table::{Figure, Table, median};

mod engine;
mod growth;
mod http;
mod load;
mod measure;
mod mock;
mod options;
mod population;
mod process;
mod redis_server;
mod soak;
mod stand;
mod table;

/// Events per second at which timers are measured: each starts a run with a wait of one second.
const TIMERS_RATE: f64 = 2_000.0;
/// How late the slowest of a hundred timers may be at that rate, and at the steady one, in milliseconds.
const TIMERS_LATE_MS: f64 = 10.0;

fn main() -> anyhow::Result<()> {
    let options = Options::read()?;
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
    let heading = heading(&setting, &options)?;
    eprint!("{heading}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut table = Table::default();
    let measured = runtime.block_on(rounds(&setting, &options, &mut table));
    // What was measured before something failed is worth showing.
    print!("{heading}{}", table.show(&options.kinds));
    println!("\n! not what is promised for two cores that do nothing else; load after: {}", first_line("/proc/loadavg", ""));
    measured
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

async fn rounds(setting: &Setting, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    if let Some(minutes) = options.soak {
        for kind in &options.kinds {
            let title = format!("welcome, {} events/s for {minutes} minutes", options.rate);
            let figures = told("soak", *kind, soak::soak(setting, *kind, options.rate, minutes)).await?;
            table.add(&title, *kind, figures);
        }
        return Ok(());
    }
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        // Part by part, so that the stores are compared under the same load of the machine.
        for part in &options.parts {
            for kind in &options.kinds {
                one(setting, options, table, *part, *kind).await?;
            }
        }
    }
    Ok(())
}

/// One measurement.
async fn one(setting: &Setting, options: &Options, table: &mut Table, part: Part, kind: Kind) -> anyhow::Result<()> {
    let (runs, rate, seconds) = (options.runs, options.rate, options.seconds);
    let sections = match part {
        Part::Flood => {
            let figures = told("flood", kind, measure::flood(setting, kind, runs, None)).await?;
            vec![(format!("welcome, a flood of {runs} runs"), figures)]
        }
        Part::Steady => {
            let figures = told("steady", kind, measure::steady(setting, kind, rate, seconds, TIMERS_LATE_MS)).await?;
            vec![(format!("welcome, {rate} events/s for {seconds} s"), figures)]
        }
        Part::Timers => {
            let figures = told("timers", kind, measure::steady(setting, kind, TIMERS_RATE, seconds, TIMERS_LATE_MS)).await?;
            vec![(format!("welcome, {TIMERS_RATE} timers/s for {seconds} s"), figures)]
        }
        Part::Door => vec![(
            "events that no funnel knows".to_owned(),
            told("door", kind, measure::door(setting, kind, options.events)).await?,
        )],
        Part::Definitions => told("definitions", kind, growth::definitions(setting, kind, runs)).await?,
        Part::Due => told("due", kind, growth::due(setting, kind, options.due)).await?,
        Part::Workers if kind == Kind::Sqlite => Vec::new(),
        Part::Workers => told("workers", kind, growth::workers(setting, kind, runs)).await?,
        Part::Customers => {
            let population = growth::Population { customers: options.customers, history: options.history };
            told("customers", kind, growth::customers(setting, kind, population, (runs, rate, seconds))).await?
        }
    };
    for (title, figures) in sections {
        table.add(&title, kind, figures);
    }
    Ok(())
}

/// Figures by title.
type Sections = Vec<(String, Vec<Figure>)>;

async fn told<T>(name: &str, kind: Kind, part: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let begun = Instant::now();
    eprint!("  {name} {}", kind.name());
    std::io::stderr().flush()?;
    let result = part.await.with_context(|| format!("the measurement `{name}` of {} failed", kind.name()))?;
    eprintln!(" ({:.0} s, load {})", begun.elapsed().as_secs_f64(), first_line("/proc/loadavg", ""));
    Ok(result)
}

/// What stands behind a key in a file of the system.
fn first_line(path: &str, key: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?").trim_start_matches([' ', '\t', ':']).to_owned()
}

/// Machine, versions and settings.
fn heading(setting: &Setting, options: &Options) -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let (kernel, model) = (first_line("/proc/sys/kernel/osrelease", ""), first_line("/proc/cpuinfo", "model name"));
    let mut out = String::new();
    writeln!(out, "autofunnel {} as shipped, at {}", env!("CARGO_PKG_VERSION"), setting.binary.display())?;
    writeln!(out, "SQLite {} (write-ahead log, synchronous=FULL)", rusqlite::version())?;
    if options.kinds.iter().any(|kind| *kind != Kind::Sqlite) {
        let version = redis_server::version().with_context(|| format!("`{}` is not installed", redis_server::PROGRAM))?;
        writeln!(out, "Redis {version} (append-only file on the same disk, over TCP), everything in one engine process")?;
    }
    writeln!(out, "Linux {kernel}, {cores} cores ({model}), load before: {}", first_line("/proc/loadavg", ""))?;
    writeln!(out, "one flush of the disk (4 KiB, fdatasync): {:.2} ms", flush_ms(&setting.disk)?)?;
    writeln!(
        out,
        "generator and mock provider on the same machine, {} connections; median of {} rounds (lowest–highest)",
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
