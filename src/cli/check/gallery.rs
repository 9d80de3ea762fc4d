//! Every kind of fault, what it means, and an example of it.

use crate::funnel::Files;

/// The gallery as it is written: `== code`, what it means in a line, then an example. `-- steps`, `-- funnel` and
/// `-- settings` begin the steps of a funnel `f.yaml`, the whole of it, or what comes after the usual settings;
/// `-- file PATH` any file; `-- without PATH` leaves one out.
const TEXT: &str = include_str!("gallery.txt");

/// The settings of every example that has none of its own.
const SETTINGS: &str = "workspace: Shop\nzone: Europe/Berlin\ncurrency: EUR\n";
/// What comes before the steps of an example.
const FUNNEL: &str = "funnel: F\ntrigger: signed_up\ngoal: purchase\nsteps:\n";

/// A kind of fault.
pub(super) struct Entry {
    /// As `check` names it.
    pub code: &'static str,
    /// What it means.
    pub says: &'static str,
    example: &'static str,
}

/// All of them, by name.
pub(super) fn entries() -> Vec<Entry> {
    let mut out = Vec::new();
    for part in TEXT.strip_prefix("== ").unwrap_or(TEXT).split("\n== ") {
        let (code, rest) = part.split_once('\n').unwrap_or((part, ""));
        let (says, example) = rest.split_once('\n').unwrap_or((rest, ""));
        out.push(Entry { code, says, example });
    }
    out
}

impl Entry {
    /// A workspace with this fault; `None`: one would be too large to be shown, or needs a secret that is wrong.
    pub fn files(&self) -> Option<Files> {
        let mut files: Files = [("autofunnel.yaml".to_owned(), SETTINGS.to_owned())].into();
        let mut path: Option<String> = None;
        for line in self.example.lines() {
            match line.strip_prefix("-- ").map(|head| head.split_once(' ').unwrap_or((head, ""))) {
                Some(("steps", _)) => {
                    files.insert("f.yaml".to_owned(), FUNNEL.to_owned());
                    path = Some("f.yaml".to_owned());
                }
                Some(("settings", _)) => path = Some("autofunnel.yaml".to_owned()),
                Some(("funnel", _)) => path = Some("f.yaml".to_owned()),
                Some(("file", name)) => {
                    files.insert(name.to_owned(), String::new());
                    path = Some(name.to_owned());
                }
                Some(("without", name)) => drop(files.remove(name)),
                Some(_) => {}
                None => {
                    let text = files.entry(path.clone().unwrap_or_default()).or_default();
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        (!self.example.trim().is_empty()).then_some(files)
    }
}

/// The example's files that differ from those of every example, as they are shown.
pub(super) fn shown(files: &Files) -> String {
    let mut out = String::new();
    for (path, text) in files.iter().filter(|(path, text)| *path != "autofunnel.yaml" || *text != SETTINGS) {
        let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
        out.push_str(&format!("  {path}\n{lines}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::workspace;
    use crate::lang::diag::Faults;
    use crate::trial;
    use crate::wire::secrets::Placeholders;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// What `check` says of a workspace.
    fn codes(files: &Files) -> BTreeSet<&'static str> {
        let mut checked = workspace::check(files, &Placeholders);
        if let Some(workspace) = &checked.workspace {
            let mut faults = Faults::default();
            for (funnel, node) in &workspace.tests {
                trial::read(workspace, funnel, node, &mut faults);
            }
            checked.faults.extend(faults.into_sorted().0);
        }
        checked.faults.iter().map(|fault| fault.code).collect()
    }

    #[test]
    fn every_example_has_its_fault() {
        let mut wrong = Vec::new();
        for entry in entries() {
            let Some(files) = entry.files() else { continue };
            let found = codes(&files);
            if !found.contains(entry.code) {
                wrong.push(format!("{}: its example has {found:?}", entry.code));
            }
        }
        assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    }

    /// The codes that stand in the source, so that none is forgotten here.
    fn in_source() -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("tests.rs") {
                    continue;
                }
                for call in [".error(", ".warning("] {
                    for (at, _) in code.match_indices(call) {
                        let rest = code[at + call.len()..].trim_start();
                        let Some(name) = rest.strip_prefix('"').and_then(|rest| rest.split('"').next()) else { continue };
                        if name.contains('-') && name.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
                            out.insert(name.to_owned());
                        }
                    }
                }
            }
        }
        out
    }

    #[test]
    fn every_kind_of_fault_is_explained_once() {
        let entries = entries();
        let explained: BTreeSet<String> = entries.iter().map(|entry| entry.code.to_owned()).collect();
        assert_eq!(explained.len(), entries.len(), "one stands here twice");
        assert!(entries.iter().all(|entry| entry.says.ends_with('.')), "a meaning is a sentence");
        let known = in_source();
        assert!(known.len() > 100, "the source is read");
        let missing: Vec<&String> = known.difference(&explained).collect();
        assert!(missing.is_empty(), "not explained: {missing:?}");
        let shown = entries.iter().filter(|entry| entry.files().is_some()).count();
        assert!(shown > 130, "{shown} have an example");
    }
}
