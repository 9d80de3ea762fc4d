//! `inbox`: messages that the development inbox has kept.

use super::remote::{Remote, text};
use super::term::{Term, Tone, plain};
use super::{Done, Status};
use anyhow::bail;
use clap::Args;
use serde_json::Value as Json;

/// Most messages that are looked through for one.
const SEARCHED_MAX: usize = 10_000;

const EXAMPLES: &str = "\
Examples:
  autofunnel inbox
  autofunnel inbox C-17
  autofunnel inbox --show C-17/1/email_1/2
  autofunnel inbox --show C-17/1/email_1/2 --html > message.html";

/// Show messages that the development inbox has kept
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Inbox {
    /// Only those to this customer
    customer: Option<String>,
    /// Show one message in full
    #[arg(long, value_name = "ID", conflicts_with = "customer")]
    show: Option<String>,
    /// With --show: its HTML instead of its text
    #[arg(long, requires = "show")]
    html: bool,
    /// How many of the latest messages
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Inbox {
    pub fn run(self, term: &Term) -> Done {
        // An effect's id begins with the customer's, which may hold a slash itself.
        let of_shown = self.show.as_ref().and_then(|id| id.rsplitn(4, '/').nth(3)).map(str::to_owned);
        let max = if self.show.is_some() { SEARCHED_MAX } else { self.limit as usize };
        let query = [("customer", self.customer.clone().or(of_shown).unwrap_or_default())];
        let messages = self.remote.run(|api| async move { api.list("/v1/messages", &query, "messages", "before", max).await })?;
        if let Some(id) = &self.show {
            let Some(message) = messages.iter().find(|message| text(message, "id") == id) else {
                bail!("the inbox holds no message `{id}`; `autofunnel inbox` lists what it holds");
            };
            return self.show_one(message, term);
        }
        if self.json {
            term.line(&format!("{:#}", Json::Array(messages)))?;
        } else if messages.is_empty() {
            term.say("no messages are kept");
        } else {
            let lines: String = messages.iter().map(|message| line(message, term)).collect();
            term.print(&lines)?;
        }
        Ok(Status::Good)
    }

    fn show_one(&self, message: &Json, term: &Term) -> Done {
        if self.json {
            term.line(&format!("{message:#}"))?;
        } else if self.html {
            // As it is: it goes into a file or to a browser.
            term.line(text(message, "html"))?;
        } else {
            for name in ["at", "channel", "to", "subject"] {
                let value = plain(text(message, name));
                if !value.is_empty() {
                    term.line(&format!("{} {value}", term.tone(Tone::Dim, &format!("{name}:"))))?;
                }
            }
            term.line(&format!("\n{}", plain(text(message, "text")).trim_end()))?;
        }
        Ok(Status::Good)
    }
}

fn line(message: &Json, term: &Term) -> String {
    let part = |name: &str| plain(text(message, name));
    let about =
        if part("subject").is_empty() { part("text").lines().next().unwrap_or_default().to_owned() } else { part("subject") };
    let id = term.tone(Tone::Dim, &part("id"));
    format!("{}  {:5}  {}  {about}  {id}\n", part("at"), part("channel"), part("to"))
}
