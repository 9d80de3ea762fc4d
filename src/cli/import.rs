//! `import`: customers and events of the past from a file to a running engine.

use super::Done;
use super::remote::Remote;
use super::term::Term;
use super::upload::{Form, Upload};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  autofunnel import customers.csv
  autofunnel import orders-2026.ndjson
  pg_dump_orders | autofunnel import - --csv

A row with `event` is an event of the past (with `id`, `customer`, `time`), any other is a customer:
  {\"customer\":\"C-17\",\"profile\":{\"name\":\"Ada\",\"email\":\"ada@example.com\"},\"consent\":{\"email\":true}}
  customer,name,email,consent.email
  C-17,Ada,ada@example.com,true
Nothing is fired. The same rows again do no harm.";

/// Import customers and events of the past into a running engine
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Import {
    /// A file with one JSON document per line, or comma-separated rows (`.csv`); `-` for standard input
    file: PathBuf,
    /// The rows are comma-separated, whatever the file is called
    #[arg(long)]
    csv: bool,
    /// Write the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Import {
    pub fn run(self, term: &Term) -> Done {
        let named = self.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let form = if self.csv || named { Form::Csv } else { Form::Json };
        self.remote.run(|api| async move {
            let upload = Upload { api: &api, term, path: "/v1/import", form, json: self.json, untimed: false };
            upload.run(&self.file).await
        })
    }
}
