//! `simulate`: what a workspace would do with what happened, or may happen, to many customers.

use super::term::{Term, count, plain};
use super::workspace::Opened;
use super::{Done, Status};
use crate::app::workspace::world;
use crate::engine::intake::World;
use crate::funnel::Definitions;
use crate::lang::time::{DAY_MS, Time, Zone, instant, parse_date};
use crate::simulate::against::Comparison;
use crate::simulate::winners::Drawn;
use crate::simulate::{Report, Simulation, html, text};
use anyhow::{Context, anyhow, bail};
use chrono::NaiveTime;
use clap::Args;
use recorded::Recorded;
use rows::{Bad, Rows};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod recorded;
mod rows;

/// So long customers are played on after the last event where nothing else is said, in days.
const AFTERWARDS_DAYS: i64 = 30;
/// Rows that could not be used and are shown.
const BAD_SHOWN_MAX: usize = 20;
/// Most threads; more parts than that do not pay.
const PARTS_MAX: usize = 8;

const EXAMPLES: &str = "\
Examples:
  autofunnel simulate --events events.ndjson                       the workspace in ./funnels
  autofunnel simulate shop --events orders.csv --events signups.csv
  autofunnel simulate --history customers.ndjson --events events.ndjson --until 2027-12-31
  autofunnel simulate --events events.ndjson --html report.html    a page with charts
  autofunnel simulate edited --against funnels --events events.ndjson
                                                                   what the edit changes, and for whom
  autofunnel simulate --record record                              what an engine lived through, fact by fact
  autofunnel simulate edited --against funnels --record record     what the edit would have made of it

Events are those that `send` takes, with their `time`; in any order, several files together. A row without `event`
changes a customer at its `time` (`{\"customer\":\"C-17\",\"time\":…,\"consent\":{\"email\":true}}`). With --history comes what is
known before the first event and starts nothing, as `import` takes it. Nobody is called: results come from a model
that the report states.

A record holds every turn of an engine (`serve --record DIR`) with its inputs, answers of providers among them. Played by
the workspace that was in force, each turn is done again, and it is an error when a fact is another one. Played by
another one, answers count where the same is asked, and the model gives the others. Customers to whom nothing happened
while it was recorded are not in it.";

/// Play a workspace against recorded events
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Simulate {
    /// The folder of the workspace
    #[arg(default_value = "funnels")]
    dir: PathBuf,
    /// Events: one JSON document per line, or comma-separated rows (`.csv`); `-` for standard input
    #[arg(long, value_name = "FILE")]
    events: Vec<PathBuf>,
    /// Customers and events of the past, as `import` takes them
    #[arg(long, value_name = "FILE")]
    history: Vec<PathBuf>,
    /// A folder that `serve --record` wrote, instead of events
    #[arg(long, value_name = "DIR", conflicts_with_all = ["events", "history", "from"])]
    record: Option<PathBuf>,
    /// When it begins [default: with the first event]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// When it ends [default: 30 days after the last event]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Compare with another workspace: that one is *before*
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Write the report as JSON
    #[arg(long)]
    json: bool,
    /// Write the report as a page into this file, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A workspace that is played.
struct Played {
    definitions: Definitions,
    world: World,
}

/// When a simulation begins and ends.
struct Period {
    from: Time,
    until: Time,
}

impl Simulate {
    pub fn run(self, term: &Term) -> Done {
        if self.events.is_empty() && self.history.is_empty() && self.record.is_none() {
            bail!(
                "nothing is given to be played; name a file with --events FILE, customers with --history FILE, or a record with --record DIR"
            );
        }
        let Some(own) = open(&self.dir, term)? else { return Ok(Status::Failed) };
        let before = match &self.against {
            None => None,
            Some(dir) => match open(dir, term)? {
                Some(other) => Some(other),
                None => return Ok(Status::Failed),
            },
        };
        let parts = std::thread::available_parallelism().map_or(1, |n| n.get().min(PARTS_MAX));
        if let Some(folder) = &self.record {
            return self.replay(&Recorded::read(folder)?, (&own, before.as_ref()), parts, term);
        }
        let mut rows = Rows::default();
        for (files, past) in [(&self.history, true), (&self.events, false)] {
            for file in files {
                rows.add(file, past, parts, &own.world)?;
            }
        }
        rows.sort();
        let period = self.period(&rows, own.definitions.current.settings.zone)?;
        let began = Instant::now();
        let (report, doubles, bad) = play(&own, &rows, &period, parts)?;
        let took = began.elapsed();
        let before = before.map(|before| play(&before, &rows, &period, parts)).transpose()?;
        let comparison = before.map(|(before, _, _)| Comparison::new(&before, &report));
        self.tell(&report, comparison.as_ref(), term)?;
        if !self.json {
            term.say(&pace(&report, doubles, took));
        }
        Ok(tell_bad(&bad, term))
    }

    fn replay(&self, recorded: &Recorded, (own, before): (&Played, Option<&Played>), parts: usize, term: &Term) -> Done {
        let zone = own.definitions.current.settings.zone;
        let until = self.until.as_ref().map(|text| moment(text, zone, true)).transpose().context("--until")?;
        let until = until.unwrap_or(recorded.last()).max(recorded.last());
        let report = recorded.play(&own.definitions, until, parts)?;
        let before = before.map(|before| recorded.play(&before.definitions, until, parts)).transpose()?;
        let comparison = before.map(|before| Comparison::new(&before, &report));
        self.tell(&report, comparison.as_ref(), term)?;
        if recorded.cut_off > 0 {
            term.say(&format!("{} cut off at the end of a file", count(recorded.cut_off as usize, "line")));
        }
        Ok(if report.proof.others > 0 { Status::Failed } else { Status::Good })
    }

    fn period(&self, rows: &Rows, zone: Zone) -> anyhow::Result<Period> {
        let from = match (&self.from, rows.first()) {
            (Some(text), _) => moment(text, zone, false).context("--from")?,
            (None, Some(first)) => first,
            (None, None) => bail!("no row has a time; say when it begins with --from"),
        };
        if let Some(first) = rows.first().filter(|first| *first < from) {
            bail!("the first event is of {first}, before --from; begin earlier, or give it with --history");
        }
        let until = match &self.until {
            Some(text) => moment(text, zone, true).context("--until")?,
            None => rows.last().unwrap_or(from).max(from).plus_ms(AFTERWARDS_DAYS * DAY_MS),
        };
        if let Some(last) = rows.last().filter(|last| *last > until) {
            bail!("the last event is of {last}, after --until; end later, or leave --until out");
        }
        if until < from {
            bail!("--until lies before --from");
        }
        Ok(Period { from, until })
    }

    fn tell(&self, report: &Report, comparison: Option<&Comparison>, term: &Term) -> anyhow::Result<()> {
        if let Some(path) = &self.html {
            std::fs::write(path, html::page(report, comparison)).with_context(|| format!("cannot write {}", path.display()))?;
            term.say(&format!("wrote {}", path.display()));
        }
        if self.json {
            let mut out = report.to_json();
            if let Some(comparison) = comparison {
                out["against"] = comparison.to_json();
            }
            return Ok(term.line(&out.to_string())?);
        }
        let mut out = String::new();
        if let Some(comparison) = comparison {
            out.push_str(&text::comparison(comparison, report));
            out.push('\n');
        }
        out.push_str(&text::report(report));
        Ok(term.print(&plain(&out))?)
    }
}

/// Reads a workspace; `None`: its faults have been shown.
fn open(dir: &Path, term: &Term) -> anyhow::Result<Option<Played>> {
    let mut opened = Opened::read(dir)?;
    let Some(workspace) = opened.checked.workspace.take() else {
        opened.show_faults(term)?;
        term.say("nothing was played: correct the workspace first");
        return Ok(None);
    };
    let world = world(&workspace, BTreeMap::new());
    Ok(Some(Played { definitions: Definitions::new(Arc::new(workspace)), world }))
}

/// Plays all customers; and again with the winners of splits that come up on the way, as long as there are any.
fn play(played: &Played, rows: &Rows, period: &Period, parts: usize) -> anyhow::Result<(Report, u64, Vec<Bad>)> {
    let mut definitions = played.definitions.clone();
    loop {
        let (mut report, doubles, bad) = play_once(&definitions, &played.world, rows, period, parts)?;
        let found = report.drawn.first_winners(&definitions, period.until);
        if found.is_empty() {
            (report.winners, report.drawn) = (definitions.winners.to_vec(), Drawn::default());
            return Ok((report, doubles, bad));
        }
        let winners = definitions.winners.iter().cloned().chain(found).collect();
        definitions = definitions.with_winners(winners);
    }
}

/// Plays all parts beside each other. Customers do not touch each other, so their number changes nothing.
fn play_once(
    definitions: &Definitions,
    world: &World,
    rows: &Rows,
    period: &Period,
    parts: usize,
) -> anyhow::Result<(Report, u64, Vec<Bad>)> {
    let part = |part: usize| {
        let mut simulation = Simulation::new(definitions);
        let (doubles, bad) = rows.read(part, world, period.from.plus_ms(-1), |customer, at, body| {
            simulation.input(customer, at, body);
        });
        (simulation.finish(period.until), doubles, bad)
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let part = &part;
        let threads: Vec<_> = (0..parts).map(|n| scope.spawn(move || part(n))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("the simulation of a customer crashed"))).collect()
    });
    let mut all = Report { drawn: Drawn::of(definitions), ..Report::new(&definitions.current) };
    let (mut doubles, mut bad) = (0, rows.bad().collect::<Vec<_>>());
    for outcome in outcomes {
        let (report, doubled, refused) = outcome?;
        all.merge(report);
        doubles += doubled;
        bad.extend(refused);
    }
    bad.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok((all, doubles, bad))
}

/// How fast it went.
fn pace(report: &Report, doubles: u64, took: Duration) -> String {
    let inputs = report.events + report.given;
    let per_minute = inputs as f64 / took.as_secs_f64().max(0.001) * 60.0;
    let doubled = if doubles > 0 { format!(", {doubles} of them there twice and counted once") } else { String::new() };
    format!("{inputs} inputs{doubled}, played in {:.1} s ({per_minute:.0} per minute)", took.as_secs_f64())
}

/// Rows that were left out, and whether there were any.
fn tell_bad(bad: &[Bad], term: &Term) -> Status {
    for one in bad.iter().take(BAD_SHOWN_MAX) {
        let hint = one.refusal.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
        term.say(&plain(&format!("{}:{}: {}{hint}", one.file.display(), one.line, one.refusal.error)));
    }
    if bad.is_empty() {
        return Status::Good;
    }
    term.say(&format!("{} left out: what is reported is without them", count(bad.len(), "row")));
    Status::Failed
}

/// A time, or a day: its first moment, or its last for an `end`.
fn moment(text: &str, zone: Zone, end: bool) -> anyhow::Result<Time> {
    if let Some(time) = Time::parse(text) {
        return Ok(time);
    }
    let day = parse_date(text).with_context(|| format!("`{text}` is neither a day such as 2027-03-01 nor a time"))?;
    let first = instant(zone, day.and_time(NaiveTime::MIN));
    Ok(if end { first.next_midnight(zone).plus_ms(-1) } else { first })
}
