//! `runs`: who is on her way through which funnel, and where.

use super::remote::{Remote, rows, text};
use super::term::{Term, Tone, plain};
use super::{Done, Status};
use clap::Args;
use serde_json::Value as Json;

const EXAMPLES: &str = "\
Examples:
  autofunnel runs
  autofunnel runs --funnel renewal --state held
  autofunnel runs --customer C-17 --json";

/// List runs, newest first
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Runs {
    /// Only of this funnel
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    funnel: String,
    /// Only of this customer
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    customer: String,
    /// Only in this state: waiting, held, sending, review, unresolved, held_out, finished, exited or stopped
    #[arg(long, default_value = "", hide_default_value = true)]
    state: String,
    /// How many
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Runs {
    pub fn run(self, term: &Term) -> Done {
        let query =
            [("funnel", self.funnel), ("customer", self.customer), ("state", self.state), ("limit", self.limit.to_string())];
        let mut answer = self.remote.run(|api| async move { api.get("/v1/runs", &query).await })?;
        let runs = rows(&mut answer, "runs")?;
        if self.json {
            term.line(&format!("{:#}", Json::Array(runs)))?;
        } else if runs.is_empty() {
            term.say("no runs");
        } else {
            term.print(&table(&runs, term))?;
        }
        Ok(Status::Good)
    }
}

fn table(runs: &[Json], term: &Term) -> String {
    const HEADS: [&str; 7] = ["CUSTOMER", "RUN", "FUNNEL", "STATE", "STEP", "ENTERED", "UNTIL"];
    let row = |run: &Json| {
        let number = run.get("run").map(Json::to_string).unwrap_or_default();
        let texts = ["customer", "", "funnel", "state", "step", "entered", "until"].map(|name| plain(text(run, name)));
        let [customer, _, funnel, state, step, entered, until] = texts;
        [customer, number, funnel, state, step, entered, until]
    };
    let rows: Vec<[String; 7]> = runs.iter().map(row).collect();
    let widths: [usize; 7] =
        std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).chain([HEADS[i].len()]).max().unwrap_or_default());
    let line = |cells: [&str; 7]| {
        let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = term.tone(Tone::Strong, &line(HEADS)) + "\n";
    for row in &rows {
        out.push_str(&line(row.each_ref().map(String::as_str)));
        out.push('\n');
    }
    out
}
