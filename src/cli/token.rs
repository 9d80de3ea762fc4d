//! `token`: a token of its own for every machine that talks to the engine.

use super::remote::{Remote, text};
use super::term::Term;
use super::{Done, Status};
use bytes::Bytes;
use clap::Args;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  autofunnel token \"web shop\" --scope ingest
  autofunnel token reports --scope read --expires 2027-12-31T23:59:59Z
  autofunnel token operator --scope read --scope operate --scope import";

/// Make a token for a machine or a person; it is shown once
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Token {
    /// What it is for
    name: String,
    /// What it may do: ingest, import, read, operate or admin; give it several times for several
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,
    /// When it ends, such as 2027-12-31T23:59:59Z; never if not given
    #[arg(long, value_name = "INSTANT")]
    expires: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Token {
    pub fn run(self, term: &Term) -> Done {
        let body = json!({ "name": self.name, "scopes": self.scopes, "expires": self.expires }).to_string();
        let answer =
            self.remote.run(|api| async move { api.post("/v1/tokens", "application/json", Bytes::from(body)).await?.good() })?;
        term.line(text(&answer, "token"))?;
        term.say("keep it now: it cannot be shown again");
        Ok(Status::Good)
    }
}
