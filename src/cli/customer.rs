//! `customer`: everything that is known of a customer.

use super::remote::{Remote, encode, text};
use super::term::{Term, Tone, plain};
use super::{Done, Status};
use clap::Args;
use serde_json::Value as Json;
use std::fmt::Write;

const EXAMPLES: &str = "\
Examples:
  autofunnel customer C-17
  autofunnel customer C-17 --json";

/// Show what is known of a customer
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Customer {
    /// Her id
    id: String,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Customer {
    pub fn run(self, term: &Term) -> Done {
        let path = format!("/v1/customers/{}", encode(&self.id));
        let customer = self.remote.run(|api| async move { api.get(&path, &[]).await })?;
        if self.json {
            term.line(&format!("{customer:#}"))?;
        } else {
            term.print(&plain_colored(term, &customer))?;
        }
        Ok(Status::Good)
    }
}

fn plain_colored(term: &Term, customer: &Json) -> String {
    let mut out =
        format!("{} (since {})\n", term.tone(Tone::Strong, &plain(text(customer, "id"))), plain(text(customer, "created")));
    for (name, title) in [
        ("profile", "Profile"),
        ("consent", "Consent"),
        ("membership", "Membership"),
        ("loyalty", "Loyalty"),
        ("segments", "Segments"),
    ] {
        let Some(Json::Object(fields)) = customer.get(name) else { continue };
        let lines: Vec<String> = fields
            .iter()
            .filter(|(_, value)| !is_nothing(value))
            .map(|(name, value)| format!("  {name}: {}", shown(value)))
            .collect();
        if !lines.is_empty() {
            let _ = writeln!(out, "\n{}\n{}", term.tone(Tone::Strong, title), plain(&lines.join("\n")));
        }
    }
    let runs = customer.get("runs").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    if !runs.is_empty() {
        let _ = writeln!(out, "\n{}", term.tone(Tone::Strong, "Runs"));
    }
    for run in runs {
        let until = run.get("until").and_then(Json::as_str).map(|until| format!(", until {until}")).unwrap_or_default();
        let line = format!("  {} {} since {}{until}", text(run, "funnel"), run["run"], text(run, "entered"));
        let _ = writeln!(out, "{}", plain(&line));
    }
    out
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::String(text) => text.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// A value on one line: a text without quotes, a map as `name value`.
fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Object(fields) => {
            let parts: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect();
            parts.join(", ")
        }
        other => other.to_string(),
    }
}
