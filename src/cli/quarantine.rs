//! `quarantine`: inputs that were put aside because turns on them failed, and what becomes of them.

use super::remote::{Api, Remote, encode, rows, text};
use super::term::{Term, Tone, plain};
use super::{Done, Status};
use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::Value as Json;
use std::fmt::Write;

/// Inputs that are looked through for those of `--all`; more are found by the next call.
const LISTED_MAX: u32 = 500;

const EXAMPLES: &str = "\
Examples:
  autofunnel quarantine list
  autofunnel quarantine retry C-17 4711     after what made it fail is mended
  autofunnel quarantine retry --all
  autofunnel quarantine drop C-17 4711";

/// Show inputs that failed again and again, try them once more, or drop them
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Quarantine {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List what was put aside, newest first
    List(List),
    /// Put an input back into the inbox; a turn takes it at once
    Retry(Which),
    /// Drop an input for good
    Drop(Which),
}

#[derive(Args)]
struct List {
    /// How many
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(LISTED_MAX)))]
    limit: u32,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct Which {
    /// Whose input
    #[arg(required_unless_present = "all", requires = "seq")]
    customer: Option<String>,
    /// Its number in the list
    #[arg(value_name = "SEQ")]
    seq: Option<u64>,
    /// All that are put aside
    #[arg(long, conflicts_with = "customer")]
    all: bool,
    #[command(flatten)]
    remote: Remote,
}

/// What is done with an input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Retry,
    Drop,
}

impl Quarantine {
    pub fn run(self, term: &Term) -> Done {
        match self.what {
            What::List(list) => list.run(term),
            What::Retry(which) => which.run(Deed::Retry, term),
            What::Drop(which) => which.run(Deed::Drop, term),
        }
    }
}

impl List {
    fn run(self, term: &Term) -> Done {
        let rows = self.remote.run(|api| async move { listed(&api, self.limit).await })?;
        if self.json {
            term.line(&format!("{:#}", Json::Array(rows)))?;
        } else if rows.is_empty() {
            term.say("nothing is put aside");
        } else {
            let lines: String = rows.iter().map(|row| shown(row, term)).collect();
            term.print(&lines)?;
        }
        Ok(Status::Good)
    }
}

impl Which {
    fn run(self, deed: Deed, term: &Term) -> Done {
        let named = self.customer.zip(self.seq);
        let done = self.remote.run(|api| async move {
            let chosen = match named {
                Some(one) => vec![one],
                None => {
                    let rows = listed(&api, LISTED_MAX).await?;
                    rows.iter().map(name).collect::<anyhow::Result<Vec<_>>>()?
                }
            };
            for (customer, seq) in &chosen {
                act(&api, customer, *seq, deed).await.with_context(|| format!("input {seq} of {customer}"))?;
            }
            anyhow::Ok(chosen.len())
        })?;
        let word = if deed == Deed::Retry { "put back into the inbox" } else { "dropped" };
        match done {
            0 => term.say("nothing is put aside"),
            1 => term.say(&format!("1 input was {word}")),
            n => term.say(&format!("{n} inputs were {word}")),
        }
        Ok(Status::Good)
    }
}

async fn listed(api: &Api, max: u32) -> anyhow::Result<Vec<Json>> {
    let mut answer = api.get("/v1/quarantine", &[("limit", max.to_string())]).await?;
    rows(&mut answer, "inputs")
}

/// Customer and number of a line of the list.
fn name(row: &Json) -> anyhow::Result<(String, u64)> {
    let seq = row.get("seq").and_then(Json::as_u64);
    let seq = seq.ok_or_else(|| anyhow!("the engine's list names no numbers; is it of the same version as this command?"))?;
    Ok((text(row, "customer").to_owned(), seq))
}

async fn act(api: &Api, customer: &str, seq: u64, deed: Deed) -> anyhow::Result<Json> {
    let path = format!("/v1/customers/{}/quarantine/{seq}", encode(customer));
    match deed {
        Deed::Retry => api.post(&format!("{path}/retry"), "application/json", Bytes::new()).await?.good(),
        Deed::Drop => api.delete(&path).await?.good(),
    }
}

fn shown(row: &Json, term: &Term) -> String {
    let seq = row.get("seq").map(Json::to_string).unwrap_or_default();
    let input = row.get("input").map(Json::to_string).unwrap_or_default();
    let mut out = format!("{}  {}  {seq}\n", plain(text(row, "at")), term.tone(Tone::Strong, &plain(text(row, "customer"))));
    // Writing to a text in memory cannot fail.
    let _ = writeln!(out, "  {}", plain(text(row, "cause")));
    let _ = writeln!(out, "  {}", term.tone(Tone::Dim, &plain(&input)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        quarantine: Quarantine,
    }

    #[test]
    fn an_input_is_named_by_customer_and_number_or_all_are_meant() {
        let fits = |line: &str| Line::try_parse_from(line.split(' ')).is_ok();
        for good in ["x list", "x retry C-17 4711", "x drop C-17 4711", "x retry --all", "x drop --all"] {
            assert!(fits(good), "{good}");
        }
        for wrong in ["x retry", "x retry C-17", "x drop C-17 next", "x drop C-17 4711 --all", "x list --limit 501", "x"] {
            assert!(!fits(wrong), "{wrong}");
        }
    }
}
