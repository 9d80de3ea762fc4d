//! What changes between two versions of a workspace, and what becomes of live runs.
//!
//! The same [`fate`] is shown by a plan and done by a turn.

use super::{Funnel, OnChange, Workspace, workspace};
use crate::lang::diag::Faults;
use crate::step::StepAt;
use std::collections::{BTreeMap, BTreeSet};

/// Live runs of one version of a funnel at one step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveAt {
    /// The funnel.
    pub funnel: String,
    /// Full hash of the version that they are in.
    pub version: String,
    /// The step that they are at.
    pub step: String,
    /// How many.
    pub count: u64,
}

/// What becomes of a live run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It stays on the version that it is in.
    Stay,
    /// It goes on at this step of the new version, where it is.
    Migrate(String),
    /// It goes on at this step of the new version, which is done from its beginning.
    Anew(String),
    /// It ends.
    Exit,
}

impl Fate {
    /// `stay`, `migrate`, `fire`, `exit`: as a plan says it.
    pub fn name(&self) -> &'static str {
        match self {
            Fate::Stay => "stay",
            Fate::Migrate(_) => "migrate",
            Fate::Anew(_) => "fire",
            Fate::Exit => "exit",
        }
    }
}

/// What becomes of a run of `old` that is at `step`, under the present version `new`; `None`: its file is gone.
pub fn fate(old: &Funnel, new: Option<&Funnel>, step: &str) -> Fate {
    let Some(new) = new.filter(|new| new.version != old.version && new.on_change == OnChange::Migrate) else { return Fate::Stay };
    let find = |funnel: &'_ Funnel, id: &str| -> Option<&'static str> { funnel.steps.list.iter().find(|s| s.id == id).map(kind) };
    let to = new.renamed.get(step).map_or(step, String::as_str);
    match (find(old, step), find(new, to)) {
        (_, None) => Fate::Exit,
        (Some(before), Some(after)) if before == after => Fate::Migrate(to.to_owned()),
        (_, Some(_)) => Fate::Anew(to.to_owned()),
    }
}

fn kind(step: &StepAt) -> &'static str {
    step.kind
}

/// How something changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// It is new.
    Added,
    /// It is another one.
    Changed,
    /// It is gone.
    Removed,
}

impl How {
    /// As a plan says it.
    pub fn name(self) -> &'static str {
        match self {
            How::Added => "added",
            How::Changed => "changed",
            How::Removed => "removed",
        }
    }
}

/// One thing that changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// `funnel`, `segment`, `template`, `settings`, `catalog`, `blocks`.
    pub kind: &'static str,
    /// Its name; that of its file for settings and catalog.
    pub name: String,
    /// How.
    pub how: How,
}

/// What a plan says of the live runs at one step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunsAt {
    /// Where they are.
    pub at: LiveAt,
    /// What becomes of them; `None`: the version that they are in is not kept any more.
    pub fate: Option<Fate>,
}

/// What changes from one workspace to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Hash of the workspace in force.
    pub base: String,
    /// Hash of the other one.
    pub hash: String,
    /// What changes.
    pub changes: Vec<Change>,
    /// What becomes of live runs.
    pub runs: Vec<RunsAt>,
}

/// Compares the workspace in force with another. `versions` finds the funnels that live runs are in.
pub fn plan<'f>(now: &Workspace, next: &Workspace, live: &[LiveAt], versions: impl Fn(&str) -> Option<&'f Funnel>) -> Plan {
    let mut changes = Vec::new();
    let funnels = |w: &Workspace| -> BTreeMap<String, String> {
        w.funnels.iter().map(|(name, funnel)| (name.clone(), funnel.version.clone())).collect()
    };
    differing("funnel", &funnels(now), &funnels(next), &mut changes);
    let segments = |w: &Workspace| -> BTreeMap<String, String> {
        w.segments.list().iter().map(|segment| (segment.name.clone(), segment.when.text.text.clone())).collect()
    };
    differing("segment", &segments(now), &segments(next), &mut changes);
    for (kind, file) in [("settings", workspace::SETTINGS), ("catalog", workspace::CATALOG), ("blocks", workspace::BLOCKS)] {
        let only = |w: &Workspace| w.files.get(file).map(|text| (file.to_owned(), text.clone())).into_iter().collect();
        differing(kind, &only(now), &only(next), &mut changes);
    }
    let templates = |w: &Workspace| -> BTreeMap<String, String> {
        let files = w.files.iter().filter_map(|(path, text)| Some((path.strip_prefix("templates/")?.to_owned(), text.clone())));
        files.collect()
    };
    differing("template", &templates(now), &templates(next), &mut changes);
    let runs = live.iter().map(|at| {
        let fate = versions(&at.version).map(|old| fate(old, next.funnels.get(&at.funnel).map(|new| &**new), &at.step));
        RunsAt { at: at.clone(), fate }
    });
    Plan { base: now.hash.clone(), hash: next.hash.clone(), changes, runs: runs.collect() }
}

fn differing(kind: &'static str, now: &BTreeMap<String, String>, next: &BTreeMap<String, String>, changes: &mut Vec<Change>) {
    let names: BTreeSet<&String> = now.keys().chain(next.keys()).collect();
    for name in names {
        let how = match (now.get(name), next.get(name)) {
            (None, _) => How::Added,
            (_, None) => How::Removed,
            (Some(before), Some(after)) if before != after => How::Changed,
            _ => continue,
        };
        changes.push(Change { kind, name: name.clone(), how });
    }
}

/// Why a workspace cannot be applied while runs of `old` stay where they are: `old` names something that
/// would be gone. One sentence each; none: nothing stands against it.
pub fn missed_by(old: &Funnel, kept: &Workspace, next: &Workspace) -> Vec<String> {
    let file = format!("{}.yaml", old.name);
    let Some(text) = kept.files.get(&file) else { return Vec::new() };
    let mut files = next.files.clone();
    files.retain(|path, _| !path.starts_with("tests/"));
    files.insert(file.clone(), text.clone());
    // Its templates and the blocks that it was made of are pinned with it.
    files.remove(workspace::BLOCKS);
    for (path, text) in kept.files.iter().filter(|(path, _)| path.starts_with("templates/") || *path == workspace::BLOCKS) {
        files.insert(path.clone(), text.clone());
    }
    let mut faults = Faults::default();
    super::compile(&files, &mut faults);
    let errors = faults.list().iter().filter(|fault| *fault.place.file == *file && fault.code.starts_with("unknown-"));
    errors.map(|fault| fault.message.clone()).collect()
}

#[cfg(test)]
mod tests;
