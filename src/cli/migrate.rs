//! `migrate-store`: from a store in a file to one in Redis.

use super::term::{Term, Tone, plain};
use super::{Done, Status};
use crate::store::migrate::{Move, Outcome, Progress, run};
use crate::store::redis::is_address;
use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  autofunnel migrate-store --from autofunnel.db --to redis://127.0.0.1:6379 --report autofunnel-report.db
  AUTOFUNNEL_STORE=redis://:secret@10.0.0.5:6379 autofunnel migrate-store --from shop.db

Stop the engine first. The file is not changed; the Redis must be empty. Everything is copied, then everything is
compared. Interrupted, run it again: it goes on. Exit code 1 means that something differs: no engine starts on
that Redis then, and the file is still the store.";

/// Move a store from its file into Redis, and compare both
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MigrateStore {
    /// The store's file
    #[arg(long, default_value = "autofunnel.db", value_name = "FILE")]
    from: PathBuf,
    /// The empty Redis [default: what AUTOFUNNEL_STORE says]
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// The read side's new file: what the role `report` goes on with
    #[arg(long, default_value = "autofunnel-report.db", value_name = "FILE")]
    report: PathBuf,
    /// Take a Redis that does not write to disk
    #[arg(long)]
    accept_loss: bool,
    /// Write the comparison as JSON
    #[arg(long)]
    json: bool,
}

impl MigrateStore {
    pub fn run(self, term: &Term) -> Done {
        let named = self.to.or_else(|| std::env::var("AUTOFUNNEL_STORE").ok());
        let Some(to) = named.filter(|to| is_address(to)) else {
            bail!("name the Redis with --to redis://… (or rediss://, redis+sentinel://, redis+cluster://)");
        };
        let bars = Bars::new(std::io::stderr().is_terminal() && !self.json);
        let plan = Move { from: self.from, to, report: self.report, accept_loss: self.accept_loss, clock: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(run(&plan, &|progress| bars.show(progress)))?;
        bars.end();
        match self.json {
            true => term.line(&serde_json::to_string_pretty(&outcome)?)?,
            false => term.print(&told(&outcome, term))?,
        }
        if outcome.is_whole() {
            term.say("everything has arrived; start the engine with --store and --report as given here, and keep the old file");
            return Ok(Status::Good);
        }
        term.say("not everything is the same: no engine starts on that Redis; the file is unchanged and still the store");
        Ok(Status::Failed)
    }
}

/// The comparison as a table.
fn told(outcome: &Outcome, term: &Term) -> String {
    let width = outcome.lines.iter().map(|line| line.what.len()).max().unwrap_or(0);
    let mut out = format!("{:<width$}  {:>12}  {:>12}\n", "", "source", "target");
    for line in &outcome.lines {
        let verdict = if line.same { term.tone(Tone::Good, "same") } else { term.tone(Tone::Bad, "DIFFERS") };
        out.push_str(&format!("{:<width$}  {:>12}  {:>12}  {verdict}\n", line.what, line.source, line.target));
    }
    if outcome.too_old > 0 {
        out.push_str(&format!("{} ids of events are older than Redis remembers any, and were left behind\n", outcome.too_old));
    }
    for difference in &outcome.differences {
        out.push_str(&format!("{}: {}\n", term.tone(Tone::Bad, "differs"), plain(difference)));
    }
    out
}

/// One bar for each thing that is done, one after the other.
struct Bars {
    shown: bool,
    now: RefCell<Option<(&'static str, ProgressBar)>>,
}

const TEMPLATE: &str = "{msg:26} {bar:30} {human_pos}/{human_len} {eta}";

impl Bars {
    fn new(shown: bool) -> Bars {
        Bars { shown, now: RefCell::new(None) }
    }

    fn show(&self, progress: Progress) {
        if !self.shown {
            return;
        }
        let mut now = self.now.borrow_mut();
        match &*now {
            Some((what, bar)) if *what == progress.what => bar.set_position(progress.done),
            _ => {
                if let Some((_, bar)) = now.take() {
                    bar.finish();
                }
                let bar = ProgressBar::new(progress.of).with_message(progress.what);
                // The template is a constant that a test draws; without it the bar has its usual form.
                let bar = match ProgressStyle::with_template(TEMPLATE) {
                    Ok(style) => bar.with_style(style),
                    Err(_) => bar,
                };
                bar.set_position(progress.done);
                *now = Some((progress.what, bar));
            }
        }
    }

    fn end(&self) {
        if let Some((_, bar)) = self.now.borrow_mut().take() {
            bar.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::term::ColorChoice;
    use super::*;
    use crate::store::migrate::Line;

    #[test]
    fn the_bar_can_be_drawn() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn a_difference_cannot_be_overlooked() {
        let line = |what: &str, target| Line { what: what.to_owned(), source: 2, target, same: target == 2 };
        let outcome = Outcome {
            lines: vec![line("customers", 2), line("inputs", 1)],
            differences: vec!["customer \u{1b}[2J differs".to_owned()],
            too_old: 3,
            resumed: false,
        };
        let text = told(&outcome, &Term::new(ColorChoice::Never));
        assert_eq!(
            text,
            "                 source        target\n\
             customers             2             2  same\n\
             inputs                2             1  DIFFERS\n\
             3 ids of events are older than Redis remembers any, and were left behind\n\
             differs: customer \u{fffd}[2J differs\n"
        );
    }
}
