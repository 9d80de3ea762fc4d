//! What is measured, and how often.

use crate::measure::EVENTS_PER_LIST;
use crate::redis_server;
use crate::stand::{Kind, kinds};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

const HELP: &str = "\
cargo run --release --example bench -- [OPTIONS]

What is measured:
  --store LIST       sqlite, redis-everysec, redis-always, all; several with commas; default all where
                     `redis-server` is installed (it is started on a free port, and ended), else sqlite
  --only LIST        of: flood, steady, timers, door; default all of these
  --growth           how cost grows, instead: definitions, due, workers, customers; --only chooses of these
  --soak MINUTES     a steady load for so long, instead, with a look at memory and store every tenth
  --quick            one round, everything smaller by ten

How much:
  --rounds N         rounds of which the medians are shown; default 3, of --growth 1
  --runs N           runs of a flood; default 20000, of --growth 5000
  --rate N           events per second of the steady load; default 200
  --seconds N        length of the steady load and of the timers; default 10
  --events N         events of the door's measurement; default 60000
  --connections N    connections of the generator; default 64
  --customers N      customers of --growth, each with a waiting run; default 1000000
  --history N        events of the past of each of them; default 10
  --due N            customers due in the same second; default 100000

With what:
  --engine FILE      measure this binary instead of building `autofunnel`
  --workspace DIR    another workspace with the same steps
  --disk DIR         where the stores are made; default beside the binary";

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// As many runs as possible.
    Flood,
    /// Runs at a low rate: latency.
    Steady,
    /// Runs at a high rate: timers.
    Timers,
    /// Events alone.
    Door,
    /// Few and many funnels and segments.
    Definitions,
    /// Many customers due in one second.
    Due,
    /// One and two workers.
    Workers,
    /// Few and many customers, then another workspace for all of them.
    Customers,
}

impl Part {
    /// What is measured by default.
    const USUAL: [Part; 4] = [Part::Flood, Part::Steady, Part::Timers, Part::Door];
    /// How cost grows.
    const GROWTH: [Part; 4] = [Part::Definitions, Part::Due, Part::Workers, Part::Customers];

    /// As `--only` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Part::Flood => "flood",
            Part::Steady => "steady",
            Part::Timers => "timers",
            Part::Door => "door",
            Part::Definitions => "definitions",
            Part::Due => "due",
            Part::Workers => "workers",
            Part::Customers => "customers",
        }
    }
}

/// The options.
pub struct Options {
    /// The stores.
    pub kinds: Vec<Kind>,
    /// What is measured.
    pub parts: Vec<Part>,
    /// Minutes of the soak.
    pub soak: Option<f64>,
    /// Rounds.
    pub rounds: usize,
    /// Runs of a flood.
    pub runs: usize,
    /// Events per second.
    pub rate: f64,
    /// Length of the steady load.
    pub seconds: f64,
    /// Events of the door.
    pub events: usize,
    /// Connections of the generator.
    pub connections: usize,
    /// Customers of the growth.
    pub customers: usize,
    /// Past events of each.
    pub history: usize,
    /// Customers due at once.
    pub due: usize,
    /// The engine.
    pub engine: Option<PathBuf>,
    /// The workspace.
    pub workspace: PathBuf,
    /// Where stores are made.
    pub disk: Option<PathBuf>,
}

/// What was written, before defaults that depend on each other.
#[derive(Default)]
struct Written {
    store: Option<String>,
    only: Option<String>,
    growth: bool,
    quick: bool,
    numbers: Vec<(String, f64)>,
    paths: Vec<(String, PathBuf)>,
}

const NUMBERS: &[&str] =
    &["--rounds", "--runs", "--rate", "--seconds", "--events", "--connections", "--customers", "--history", "--due", "--soak"];
const PATHS: &[&str] = &["--engine", "--workspace", "--disk"];

impl Options {
    /// Reads the command line.
    pub fn read() -> anyhow::Result<Options> {
        let mut written = Written::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--help" | "-h" => {
                    println!("{HELP}");
                    std::process::exit(0);
                }
                "--growth" => written.growth = true,
                "--quick" => written.quick = true,
                _ => {
                    let value = arguments.next().with_context(|| format!("{name} needs a value, or is not known; see --help"))?;
                    match name.as_str() {
                        "--store" => written.store = Some(value),
                        "--only" => written.only = Some(value),
                        _ if PATHS.contains(&name.as_str()) => written.paths.push((name, value.into())),
                        _ if NUMBERS.contains(&name.as_str()) => {
                            let number = value.parse().ok().filter(|number: &f64| *number >= 0.0 && number.is_finite());
                            written.numbers.push((name.clone(), number.with_context(|| format!("{name} takes a number"))?));
                        }
                        _ => bail!("{name} is not known; see --help"),
                    }
                }
            }
        }
        written.options()
    }
}

impl Written {
    fn number(&self, name: &str, usual: f64) -> f64 {
        let smaller =
            if self.quick && !["--rounds", "--rate", "--connections", "--history"].contains(&name) { 10.0 } else { 1.0 };
        self.numbers.iter().rev().find(|(known, _)| known == name).map_or(usual / smaller, |(_, number)| *number)
    }

    fn whole(&self, name: &str, usual: usize) -> anyhow::Result<usize> {
        let number = self.number(name, usual as f64) as usize;
        if number == 0 && name != "--history" {
            bail!("{name} takes a number from 1");
        }
        Ok(number)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.paths.iter().rev().find(|(known, _)| known == name).map(|(_, path)| path.clone())
    }

    fn options(self) -> anyhow::Result<Options> {
        let store = match &self.store {
            Some(list) => list.clone(),
            None if redis_server::version().is_some() => "all".to_owned(),
            None => {
                eprintln!("`{}` is not installed: only the embedded store is measured", redis_server::PROGRAM);
                Kind::Sqlite.name().to_owned()
            }
        };
        let group = if self.growth { Part::GROWTH } else { Part::USUAL };
        let parts = match &self.only {
            None => group.to_vec(),
            Some(list) => {
                let part = |name: &str| Part::USUAL.into_iter().chain(Part::GROWTH).find(|part| part.name() == name);
                let unknown = |name: &str| format!("--only does not know `{name}`; see --help");
                list.split(',').map(|name| part(name).with_context(|| unknown(name))).collect::<anyhow::Result<_>>()?
            }
        };
        let is_small = self.growth || parts.iter().all(|part| Part::GROWTH.contains(part));
        let soak = self.numbers.iter().rev().find(|(name, _)| name == "--soak").map(|(_, minutes)| *minutes);
        Ok(Options {
            kinds: kinds(&store)?,
            soak,
            rounds: self.whole("--rounds", if is_small || self.quick { 1 } else { 3 })?,
            runs: self.whole("--runs", if is_small { 5_000 } else { 20_000 })?,
            rate: self.whole("--rate", 200)? as f64,
            seconds: self.number("--seconds", 10.0).max(3.0),
            events: self.whole("--events", 60_000)?.max(EVENTS_PER_LIST),
            connections: self.whole("--connections", 64)?,
            customers: self.whole("--customers", 1_000_000)?,
            history: self.whole("--history", 10)?,
            due: self.whole("--due", 100_000)?,
            engine: self.path("--engine"),
            workspace: self.path("--workspace").unwrap_or(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/bench/workspace")),
            disk: self.path("--disk"),
            parts,
        })
    }
}
