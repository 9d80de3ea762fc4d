//! `runs`: who is on her way through which funnel, and where.

use super::effects::{holding, pauses};
use super::remote::{Remote, rows, text};
use super::term::{self, Term, Tone, plain};
use super::{Done, Status};
use clap::Args;
use serde_json::Value as Json;
use std::collections::BTreeMap;

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
            held_up(&runs).iter().try_for_each(|line| term.line(line))?;
        }
        Ok(Status::Good)
    }
}

/// What pauses hold up of these runs, a line for each pause.
fn held_up(runs: &[Json]) -> Vec<String> {
    let mut by: BTreeMap<String, usize> = BTreeMap::new();
    for pause in runs.iter().flat_map(|run| pauses(run, "paused")) {
        *by.entry(holding(pause)).or_default() += 1;
    }
    by.into_iter().map(|(pause, count)| format!("{} held up: {pause}", term::count(count, "run"))).collect()
}

fn table(runs: &[Json], term: &Term) -> String {
    const HEADS: [&str; 7] = ["CUSTOMER", "RUN", "FUNNEL", "STATE", "STEP", "ENTERED", "UNTIL"];
    let row = |run: &Json| {
        let number = run.get("run").map(Json::to_string).unwrap_or_default();
        let mut texts = ["customer", "", "funnel", "state", "step", "entered", "until"].map(|name| plain(text(run, name)));
        if !pauses(run, "paused").is_empty() {
            texts[3].push_str(" (paused)");
        }
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

#[cfg(test)]
mod tests {
    use super::super::term::ColorChoice;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_pause_holds_up_is_told_with_who_and_since_when() {
        let pause = json!({ "paused": "funnel welcome", "since": "2027-03-01T09:00:00Z", "by": "ops", "why": "wrong price" });
        let run = |customer: &str, paused: Json| json!({ "customer": customer, "run": 1, "funnel": "welcome", "state": "sending", "paused": paused });
        let runs = [run("a", json!([pause])), run("b", json!([pause])), run("c", Json::Null)];
        let shown = table(&runs, &Term::new(ColorChoice::Never));
        assert_eq!(shown.matches("sending (paused)").count(), 2, "{shown}");
        assert_eq!(
            held_up(&runs),
            [
                "2 runs held up: the funnel welcome is paused since 2027-03-01T09:00:00Z by ops (wrong price); `autofunnel resume funnel welcome` ends that"
            ]
        );
    }
}
