//! `plan`: what applying a workspace to a running engine would change.

use super::remote::{Answer, Api, Remote, text};
use super::term::{Term, Tone, plain};
use super::workspace::Opened;
use super::{Done, Status};
use crate::simulate::text::table;
use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use serde_json::{Value as Json, json};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  autofunnel plan                     ./funnels against the engine at http://127.0.0.1:8080
  autofunnel plan shop --json
  autofunnel plan --version 90aa      going back to a version that was in force (`autofunnel apply --list`)

For live runs it says, step by step, how many stay on their version, migrate to the same step of the new one, fire
(go on at a step that is another one now) or exit. Nothing is changed.";

/// Show what applying a workspace would change
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Plan {
    #[command(flatten)]
    which: Which,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Which workspace is meant.
#[derive(Args)]
pub(super) struct Which {
    /// The folder of the workspace
    #[arg(default_value = "funnels", conflicts_with = "version")]
    dir: PathBuf,
    /// A version that was in force instead: the beginning of its hash
    #[arg(long, value_name = "HASH")]
    version: Option<String>,
}

impl Which {
    /// As the engine wants to be told it; `None`: it has faults, which have been shown.
    pub fn body(&self, term: &Term) -> anyhow::Result<Option<Json>> {
        if let Some(version) = &self.version {
            return Ok(Some(json!({ "version": version })));
        }
        let opened = Opened::read(&self.dir)?;
        if opened.status() == Status::Failed {
            opened.show_faults(term)?;
            return Ok(None);
        }
        Ok(Some(json!({ "files": opened.files() })))
    }
}

impl Plan {
    pub fn run(self, term: &Term) -> Done {
        let Some(body) = self.which.body(term)? else { return Ok(Status::Failed) };
        let plan = self.remote.run(async |api| ask(&api, &body).await)?;
        match self.json {
            true => term.line(&plan.to_string())?,
            false => term.print(&shown(&plan, term))?,
        }
        Ok(if refusals(&plan).is_empty() { Status::Good } else { Status::Failed })
    }
}

/// Asks the engine for the plan.
pub(super) async fn ask(api: &Api, body: &Json) -> anyhow::Result<Json> {
    good(api.post("/v1/workspace/plan", "application/json", Bytes::from(body.to_string())).await?)
}

/// The body of a good answer. Faults that only the engine sees (a secret that is missing there) are told in full.
pub(super) fn good(answer: Answer) -> anyhow::Result<Json> {
    if answer.status != 422 {
        return answer.good();
    }
    let faults = answer.body.get("faults").and_then(Json::as_array).into_iter().flatten();
    let lines: Vec<String> = faults.map(|fault| format!("\n  {}: {}", text(fault, "file"), text(fault, "message"))).collect();
    bail!("the engine finds faults in the workspace:{}", lines.concat())
}

/// What stands against it.
pub(super) fn refusals(plan: &Json) -> Vec<String> {
    let refused = plan.get("refused").and_then(Json::as_array).into_iter().flatten();
    refused.filter_map(Json::as_str).map(str::to_owned).collect()
}

/// Whether it would change nothing.
pub(super) fn is_empty(plan: &Json) -> bool {
    text(plan, "base") == text(plan, "hash")
}

/// Whom it moves from segment to segment, and what that starts.
fn moved(plan: &Json) -> String {
    let Some(moved) = plan.get("moved").filter(|moved| moved.is_object()) else { return String::new() };
    let number = |json: &Json, name: &str| json.get(name).and_then(Json::as_u64).unwrap_or(0);
    let list = |name: &str| moved.get(name).and_then(Json::as_array).cloned().unwrap_or_default();
    let (looked_at, customers) = (number(moved, "looked_at"), number(moved, "customers"));
    let of = match looked_at < customers {
        true => format!("the first {looked_at} of {customers} customers"),
        false => format!("{customers} customers"),
    };
    let segments = list("segments");
    let mut out = match segments.is_empty() {
        true => format!("\nno segment changes for any of {of}\n"),
        false => format!("\nsegments, of {of} (without starting anything, unless it says so):\n"),
    };
    for one in segments {
        let name = text(&one, "segment");
        out.push_str(&format!("  {name}: {} enter, {} leave\n", number(&one, "enter"), number(&one, "leave")));
    }
    for one in list("started") {
        let runs = number(&one, "count");
        out.push_str(&format!("  {runs} {} of {} begin at once\n", if runs == 1 { "run" } else { "runs" }, text(&one, "funnel")));
    }
    out
}

/// The winners of splits that the engine has chosen, and what becomes of them.
fn winners(plan: &Json) -> String {
    let mut out = String::new();
    for one in plan.get("winners").and_then(Json::as_array).into_iter().flatten() {
        let (funnel, split, variant) = (text(one, "funnel"), text(one, "split"), text(one, "variant"));
        let (from, why, fate) = (text(one, "from"), text(one, "why"), text(one, "fate"));
        out.push_str(&format!("\n{funnel}: of the split {split}, {variant} since {from} ({why}): {fate}\n"));
    }
    out
}

/// The plan for people.
pub(super) fn shown(plan: &Json, term: &Term) -> String {
    let short = |name: &str| text(plan, name).chars().take(12).collect::<String>();
    if is_empty(plan) {
        return format!("nothing changes: {} is in force\n", short("hash"));
    }
    let mut out = format!("{} → {}\n", short("base"), short("hash"));
    for change in plan.get("changes").and_then(Json::as_array).into_iter().flatten() {
        let (how, sign) = match text(change, "how") {
            "added" => (Tone::Good, '+'),
            "removed" => (Tone::Bad, '-'),
            _ => (Tone::Strong, '~'),
        };
        let line = plain(&format!("  {sign} {} {}", text(change, "kind"), text(change, "name")));
        out.push_str(&format!("{}\n", term.tone(how, &line)));
    }
    let rows: Vec<Vec<String>> = plan
        .get("runs")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .map(|runs| {
            let count = runs.get("count").and_then(Json::as_u64).unwrap_or(0).to_string();
            let fate = match (text(runs, "fate"), text(runs, "to")) {
                (fate, "") => fate.to_owned(),
                (fate, to) => format!("{fate} at {to}"),
            };
            vec![format!("{} {}", text(runs, "funnel"), text(runs, "version")), text(runs, "step").to_owned(), count, fate]
        })
        .collect();
    if rows.is_empty() {
        out.push_str("no run is under way\n");
    } else {
        out.push_str(&format!("\n{}", plain(&table(&["live runs of", "at step", "count", "what becomes of them"], &rows))));
    }
    out.push_str(&plain(&moved(plan)));
    out.push_str(&plain(&winners(plan)));
    for refusal in refusals(plan) {
        out.push_str(&format!("\n{}", term.tone(Tone::Bad, &plain(&format!("cannot be applied: {refusal}")))));
    }
    if !refusals(plan).is_empty() {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::term::ColorChoice;
    use super::*;

    #[test]
    fn it_says_whom_segments_move() {
        let term = Term::new(ColorChoice::Never);
        let mut plan = json!({
            "base": "a1", "hash": "b2", "changes": [{ "kind": "segment", "name": "vip", "how": "changed" }], "runs": [],
            "moved": {
                "looked_at": 20, "customers": 90, "segments": [{ "segment": "vip", "enter": 7, "leave": 2 }],
                "started": [{ "funnel": "hello", "count": 1 }],
            },
        });
        let text = shown(&plan, &term);
        let wanted = "segments, of the first 20 of 90 customers (without starting anything, unless it says so):\n  vip: 7 enter, 2 leave\n  1 run of hello begin at once\n";
        assert!(text.ends_with(wanted), "{text}");
        plan["moved"] = json!({ "looked_at": 3, "customers": 3, "segments": [], "started": [] });
        assert!(shown(&plan, &term).ends_with("no segment changes for any of 3 customers\n"));
        plan["moved"] = Json::Null;
        assert!(!shown(&plan, &term).contains("segments"));
        plan["winners"] = json!([{
            "funnel": "hello", "split": "pick", "variant": "gift", "from": "2027-03-01T08:00:00Z", "why": "it won by goal",
            "fate": "holds",
        }]);
        let wanted = "\nhello: of the split pick, gift since 2027-03-01T08:00:00Z (it won by goal): holds\n";
        assert!(shown(&plan, &term).ends_with(wanted));
    }
}
