//! `send`: events from a file to a running engine.

use super::Done;
use super::remote::Remote;
use super::term::Term;
use super::upload::{Form, Upload};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  autofunnel send events.ndjson
  echo '{\"id\":\"1\",\"event\":\"purchase\",\"customer\":\"C-17\",\"properties\":{\"amount\":42.50}}' | autofunnel send -
  autofunnel send examples/events.ndjson --now    as if all of it happened at this moment
  AUTOFUNNEL_URL=https://funnels.example.com autofunnel send orders.json --json

An event that is sent again counts once, so a file can be sent again after an interruption.
An event that is older than 72 hours when it arrives starts nothing; with --now a recording starts what it would have.
Rows that are refused are listed with their lines, and the exit code is 1.";

/// Send events to a running engine
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Send {
    /// A file with one event per line or a JSON list of events; `-` for standard input
    file: PathBuf,
    /// Leave the events' times out: they happen when they arrive
    #[arg(long)]
    now: bool,
    /// Write the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Send {
    pub fn run(self, term: &Term) -> Done {
        self.remote.run(|api| async move {
            let upload = Upload { api: &api, term, path: "/v1/events", form: Form::Json, json: self.json, untimed: self.now };
            upload.run(&self.file).await
        })
    }
}
