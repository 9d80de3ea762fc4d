//! A workspace folder as commands see it: read, checked with its tests, and its faults shown.

use super::Status;
use super::check::Format;
use super::term::{Term, count};
use crate::app::workspace::{self, Checked};
use crate::funnel::Files;
use crate::lang::diag::{Fault, Faults, Severity};
use crate::lang::render;
use crate::trial;
use crate::wire::secrets::{Placeholders, Secrets};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// A workspace folder that was read.
pub(super) struct Opened {
    /// What stands before the name of a file: the folder and `/`, or nothing.
    prefix: String,
    files: Files,
    /// What it came to.
    pub checked: Checked,
}

impl Opened {
    /// Reads and checks a workspace on a machine that need not have its secrets.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn read(folder: &Path) -> anyhow::Result<Opened> {
        Opened::read_with(folder, &Placeholders)
    }

    /// Reads and checks a workspace with its secrets.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn read_with(folder: &Path, secrets: &dyn Secrets) -> anyhow::Result<Opened> {
        let files = workspace::read(folder)?;
        let checked = workspace::check(&files, secrets);
        let folder = folder.to_string_lossy();
        let folder = folder.trim_end_matches('/').trim_start_matches("./");
        let prefix = if matches!(folder, "" | ".") { String::new() } else { format!("{folder}/") };
        Ok(Opened { prefix, files, checked })
    }

    /// Checks files that are in no folder.
    pub fn of(files: Files) -> Opened {
        let checked = workspace::check(&files, &Placeholders);
        Opened { prefix: String::new(), files, checked }
    }

    /// Adds what is wrong with the tests themselves. Where something else is wrong, too, only tests of funnels that
    /// are sound are read, and only when the files are that all funnels look at.
    pub fn read_tests(&mut self) {
        let Some(workspace) = self.checked.workspace.as_ref().or(self.checked.partial.as_ref()) else { return };
        let of_all = |fault: &Fault| ["autofunnel.yaml", "segments.yaml", "catalog.yaml"].contains(&&*fault.place.file);
        if self.checked.faults.iter().any(|fault| fault.severity == Severity::Error && of_all(fault)) {
            return;
        }
        let mut faults = Faults::default();
        for (funnel, node) in workspace.tests.iter().filter(|(funnel, _)| workspace.funnels.contains_key(funnel)) {
            trial::read(workspace, funnel, node, &mut faults);
        }
        self.add(faults);
    }

    /// Adds faults that were found later.
    pub fn add(&mut self, faults: Faults) {
        let (mut found, dropped) = faults.into_sorted();
        self.checked.faults.append(&mut found);
        self.checked.faults.sort_by(|a, b| a.place.cmp(&b.place));
        self.checked.faults.dedup();
        self.checked.dropped += dropped;
    }

    /// The texts of its files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// A file of the workspace as it is named from where the command runs.
    pub fn path(&self, file: &str) -> String {
        format!("{}{file}", self.prefix)
    }

    /// Whether anything stands against the workspace.
    pub fn status(&self) -> Status {
        let errors = self.checked.faults.iter().any(|fault| fault.severity == Severity::Error);
        if errors { Status::Failed } else { Status::Good }
    }

    /// The faults as text; places are named from where the command runs.
    pub fn faults(&self, format: Format, color: bool) -> String {
        let located = |fault: &Fault| {
            let mut fault = fault.clone();
            fault.place.file = self.path(&fault.place.file).into();
            fault
        };
        let faults: Vec<Fault> = self.checked.faults.iter().map(located).collect();
        match format {
            Format::Human => {
                let mut texts = render::Sources::default();
                for (file, text) in &self.files {
                    texts.add(self.path(file), text);
                }
                render::human(&faults, self.checked.dropped, &texts, color)
            }
            Format::Json => render::json(&faults) + "\n",
            Format::Github => render::github(&faults),
        }
    }

    /// Shows the faults and how many there are.
    ///
    /// # Errors
    /// When nobody reads the output any more.
    pub fn show_faults(&self, term: &Term) -> io::Result<()> {
        let (errors, warnings) = self.checked.counts();
        term.print(&self.faults(Format::Human, term.color))?;
        term.line(&render::summary(errors, warnings))
    }

    /// `6 funnels, 15 segments, 18 templates, 48 tests`; `None` when it cannot be used.
    pub fn contents(&self) -> Option<String> {
        let workspace = self.checked.workspace.as_ref()?;
        let template = |path: &String| Some(path.strip_prefix("templates/")?.rsplit_once('.')?.0.to_owned());
        let templates: BTreeSet<String> = self.files.keys().filter_map(template).collect();
        let funnels = (workspace.funnels.len(), "funnel");
        let parts =
            [funnels, (workspace.segments.len(), "segment"), (templates.len(), "template"), (workspace.tests.len(), "test")];
        Some(parts.map(|(n, what)| count(n, what)).join(", "))
    }
}
