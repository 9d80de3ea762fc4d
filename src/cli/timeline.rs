//! `timeline`: what happened to a customer, and why. Also how facts from an engine are shown.

use super::remote::{Api, Remote, encode, text};
use super::term::{Term, Tone, plain};
use super::{Done, Status};
use crate::lang::time::{Time, Zone};
use clap::Args;
use serde_json::Value as Json;

const EXAMPLES: &str = "\
Examples:
  autofunnel timeline C-17
  autofunnel timeline C-17 --limit 500 --json";

/// Show what happened to a customer, and why
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Timeline {
    /// Her id
    id: String,
    /// How many of the latest facts
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Write JSON, newest first
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// The facts of a customer, newest first.
///
/// # Errors
/// When she is not known, or nobody answers.
pub(super) async fn facts(api: &Api, id: &str, max: usize) -> anyhow::Result<Vec<Json>> {
    let path = format!("/v1/customers/{}/timeline", encode(id));
    api.list(&path, &[], "facts", "before", max).await
}

/// The zone in which times of a customer are shown, the one that sentences about her use: hers if she has told, else
/// the workspace's.
///
/// # Errors
/// When she is not known, or nobody answers.
pub(super) async fn zone(api: &Api, id: &str) -> anyhow::Result<Zone> {
    let customer = api.get(&format!("/v1/customers/{}", encode(id)), &[]).await?;
    Ok(customer.get("zone").and_then(Json::as_str).and_then(|zone| zone.parse().ok()).unwrap_or(chrono_tz::UTC))
}

/// An instant by the clock of a zone.
pub(super) fn clock(at: &str, zone: Zone) -> String {
    Time::parse(at).map_or_else(|| at.to_owned(), |time| time.local(zone).format("%Y-%m-%d %H:%M:%S").to_string())
}

/// One fact as a line.
pub(super) fn line(fact: &Json, zone: Zone, term: &Term) -> String {
    let when = term.tone(Tone::Dim, &plain(&clock(text(fact, "at"), zone)));
    let tone = match text(fact, "what") {
        "sent" | "granted" | "offered" | "goal" => Some(Tone::Good),
        "failed" | "alert" | "refused" => Some(Tone::Bad),
        _ => None,
    };
    let sentence = plain(text(fact, "sentence"));
    format!("{when}  {}", tone.map_or(sentence.clone(), |tone| term.tone(tone, &sentence)))
}

impl Timeline {
    pub fn run(self, term: &Term) -> Done {
        let (id, limit) = (self.id, self.limit as usize);
        let (zone, mut facts) =
            self.remote.run(|api| async move { anyhow::Ok((zone(&api, &id).await?, facts(&api, &id, limit).await?)) })?;
        if self.json {
            term.line(&format!("{:#}", Json::Array(facts)))?;
            return Ok(Status::Good);
        }
        term.say(&format!("times are those of {zone}"));
        facts.reverse();
        let lines: String = facts.iter().map(|fact| line(fact, zone, term) + "\n").collect();
        term.print(&lines)?;
        Ok(Status::Good)
    }
}
