//! `check`: every fault of a workspace, at once.

use super::term::{Term, Tone};
use super::workspace::Opened;
use super::{Done, Status};
use crate::lang::render::summary;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// How faults are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Format {
    /// With the line and a caret below it
    Human,
    /// One JSON list
    Json,
    /// Remarks beside the lines of a pull request
    Github,
}

const EXAMPLES: &str = "\
Examples:
  autofunnel check                     the workspace in ./funnels
  autofunnel check shop --format json  for an editor or a script
  autofunnel check --format github     in a GitHub workflow";

/// Find every fault in a workspace
///
/// Reads all files, checks them against each other (names, types, dates, templates, tests) and shows everything
/// that is wrong. Secrets need not be there: only their names are checked.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    /// The folder of the workspace
    #[arg(default_value = "funnels")]
    dir: PathBuf,
    /// How faults are shown
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl Check {
    pub fn run(self, term: &Term) -> Done {
        let mut opened = Opened::read(&self.dir)?;
        opened.read_tests();
        let format = if self.json { Format::Json } else { self.format };
        term.print(&opened.faults(format, term.color))?;
        let status = opened.status();
        if format == Format::Human {
            let (errors, warnings) = opened.checked.counts();
            let tone = if status == Status::Good { Tone::Good } else { Tone::Bad };
            let summary = term.tone(tone, &summary(errors, warnings));
            let contents = opened.contents().map_or(String::new(), |contents| format!("{contents}: "));
            term.line(&format!("{contents}{summary}"))?;
        }
        Ok(status)
    }
}
