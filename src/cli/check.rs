//! `check`: every fault of a workspace, at once.

use super::term::{Term, Tone};
use super::workspace::Opened;
use super::{Done, Status};
use crate::lang::diag::closest;
use crate::lang::render::summary;
use anyhow::bail;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

mod gallery;

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
  autofunnel check --format github     in a GitHub workflow
  autofunnel check --explain no-goal   what a kind of fault means, with an example
  autofunnel check --explain list      all kinds of fault";

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
    /// Tell what a kind of fault means, with an example, instead; `list` lists all kinds
    #[arg(long, value_name = "CODE")]
    explain: Option<String>,
}

impl Check {
    pub fn run(self, term: &Term) -> Done {
        if let Some(code) = &self.explain {
            return explain(code, term);
        }
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

/// What a kind of fault means, an example of it, and what `check` says of the example.
fn explain(code: &str, term: &Term) -> Done {
    let entries = gallery::entries();
    if code == "list" {
        let rows: Vec<String> = entries.iter().map(|entry| format!("{}\n  {}\n", entry.code, entry.says)).collect();
        term.print(&rows.concat())?;
        return Ok(Status::Good);
    }
    // As it stands in the output of `check`: error[no-goal].
    let code = code.rsplit_once('[').map_or(code, |(_, code)| code).trim_end_matches(']');
    let Some(entry) = entries.iter().find(|entry| entry.code == code) else {
        match closest(code, entries.iter().map(|entry| entry.code)) {
            Some(meant) => bail!("there is no kind of fault `{code}`; did you mean `{meant}`?"),
            None => bail!("there is no kind of fault `{code}`; `autofunnel check --explain list` lists them"),
        }
    };
    term.print(&format!("{}\n{}\n", term.tone(Tone::Strong, entry.code), entry.says))?;
    let Some(files) = entry.files() else { return Ok(Status::Good) };
    let mut opened = Opened::of(files.clone());
    opened.read_tests();
    opened.checked.faults.retain(|fault| fault.code == entry.code);
    let example = gallery::shown(&files, &gallery::usual());
    term.print(&format!("\nfor example\n{example}\n{}", opened.faults(Format::Human, term.color)))?;
    if let Some(mended) = entry.mended() {
        term.print(&format!("\nmended\n{}", gallery::shown(&mended, &files)))?;
    }
    Ok(Status::Good)
}
