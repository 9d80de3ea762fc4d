//! `apply`: from files to a running engine.

use super::plan::{Which, ask, good, is_empty, refusals, shown};
use super::remote::{Api, Remote, text};
use super::term::{Term, plain};
use super::{Done, Status};
use crate::simulate::text::table;
use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use serde_json::Value as Json;
use std::io::{BufRead, IsTerminal};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  autofunnel apply                                show the plan, ask, apply
  autofunnel apply shop --yes --note 'spring offers'
  autofunnel apply --yes --base 90aa12            only if that workspace is still in force
  autofunnel apply --list                         what was applied, when, by whom
  autofunnel apply --version 90aa --yes           go back to a version that was in force
  autofunnel apply --yes --wait                   until every customer was looked at

The engine takes it at once and without a restart; a restart keeps it, whatever the folder of `serve` says. Live runs
stay on their version, or move, as each funnel's `on_change` says (`pin`, `migrate`, `drain`). When another workspace
came into force since the plan was made, nothing is done. The same files again change nothing.";

/// Pause between questions how far the look at everybody is.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// Apply a workspace to a running engine
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Apply {
    #[command(flatten)]
    which: Which,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// The hash of the workspace that must be in force, or its beginning [default: that of the plan made now]
    #[arg(long, value_name = "HASH")]
    base: Option<String>,
    /// Why, for those who see the list
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Wait until every customer was looked at
    #[arg(long)]
    wait: bool,
    /// List what was applied instead
    #[arg(long)]
    list: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Apply {
    pub fn run(self, term: &Term) -> Done {
        if self.list {
            let known = self.remote.run(async |api| api.get("/v1/workspace", &[]).await)?;
            return self.tell_list(&known, term);
        }
        let Some(body) = self.which.body(term)? else { return Ok(Status::Failed) };
        self.remote.run(async |api| self.apply(&api, body, term).await)
    }

    async fn apply(&self, api: &Api, mut body: Json, term: &Term) -> Done {
        let plan = ask(api, &body).await?;
        if !self.json {
            term.print(&shown(&plan, term))?;
        }
        if let Some(base) = self.base.as_ref().filter(|base| !text(&plan, "base").starts_with(base.as_str())) {
            bail!("{base} is not in force any more, but {}; nothing was done", text(&plan, "base"));
        }
        if !refusals(&plan).is_empty() {
            if self.json {
                term.line(&plan.to_string())?;
            }
            return Ok(Status::Failed);
        }
        if !is_empty(&plan) && !self.yes && !agreed(term)? {
            return Ok(Status::Failed);
        }
        body["base"] = text(&plan, "base").into();
        body["note"] = self.note.as_str().into();
        let done = good(api.post("/v1/workspace/apply", "application/json", Bytes::from(body.to_string())).await?)?;
        if self.json {
            term.line(&done.to_string())?;
        } else if text(&done, "status") == "applied" {
            term.line(&format!("applied: {} is in force", text(&done, "hash")))?;
            for missed in done.get("missed").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
                term.say(&plain(&format!("note: who entered in this very moment stays behind: {missed}")));
            }
        }
        if self.wait {
            wait(api, term).await?;
        }
        Ok(Status::Good)
    }

    fn tell_list(&self, known: &Json, term: &Term) -> Done {
        if self.json {
            term.line(&known.to_string())?;
            return Ok(Status::Good);
        }
        let rows: Vec<Vec<String>> = known
            .get("applied")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .map(|a| ["hash", "before", "at", "by", "note"].map(|name| short(name, text(a, name))).to_vec())
            .collect();
        let now = short("hash", text(known, "hash"));
        match rows.is_empty() {
            true => {
                term.line(&format!("{now} is in force, from the folder that the engine was started on; nothing was applied"))?
            }
            false => {
                term.print(&plain(&table(&["applied", "instead of", "at", "by", "note"], &rows)))?;
                term.line(&format!("\n{now} is in force; the engine has {}", progress(known)))?;
            }
        }
        Ok(Status::Good)
    }
}

fn short(name: &str, value: &str) -> String {
    match name {
        "hash" | "before" => value.chars().take(12).collect(),
        _ => value.to_owned(),
    }
}

/// How far the look at everybody is.
fn progress(known: &Json) -> String {
    let scan = known.get("scan");
    let n = |name: &str| scan.and_then(|scan| scan.get(name)).and_then(Json::as_u64).unwrap_or(0);
    let running = scan.and_then(|scan| scan.get("running")).and_then(Json::as_bool).unwrap_or(false);
    match running {
        true => format!("looked at {} of {} customers so far", n("turned"), n("customers")),
        false => format!("looked at everybody ({} had to be judged anew)", n("turned")),
    }
}

async fn wait(api: &Api, term: &Term) -> anyhow::Result<()> {
    loop {
        let known = api.get("/v1/workspace", &[]).await?;
        let running = known.get("scan").and_then(|scan| scan.get("running")).and_then(Json::as_bool).unwrap_or(false);
        if !running {
            term.say(&progress(&known));
            return Ok(());
        }
        term.say(&progress(&known));
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn agreed(term: &Term) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("nobody can be asked here whether this is to be applied; say so with --yes");
    }
    term.say("apply this? Write `yes`:");
    let mut said = String::new();
    stdin.lock().read_line(&mut said)?;
    if said.trim() != "yes" {
        term.say("nothing was done");
        return Ok(false);
    }
    Ok(true)
}
