//! Every kind of fault, what it means, and an example of it.

use crate::funnel::Files;

/// The gallery as it is written: `== code`, what it means in a line, then an example and, after `-- mended`, what to
/// write instead.
///
/// `-- steps`, `-- funnel` and `-- settings` begin the steps of a funnel `f.yaml`, the whole of it, or what comes after
/// the usual settings; `-- file PATH` any file; `-- without PATH` leaves one out; `-- times N` writes the next line so
/// often. What is mended begins with the files of the example, and with its first heading where it has none.
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

/// A workspace as it is written in the gallery.
#[derive(Clone, Default)]
struct Written {
    files: Files,
    /// The file that lines belong to.
    path: String,
    /// How often the next line stands there.
    times: usize,
}

impl Written {
    fn begin(&mut self, path: &str, text: &str) {
        path.clone_into(&mut self.path);
        self.files.insert(path.to_owned(), text.to_owned());
    }

    fn line(&mut self, line: &str) {
        match line.strip_prefix("-- ").map(|head| head.split_once(' ').unwrap_or((head, ""))) {
            Some(("steps", _)) => self.begin("f.yaml", FUNNEL),
            Some(("settings", _)) => self.begin("autofunnel.yaml", SETTINGS),
            Some(("funnel", _)) => self.begin("f.yaml", ""),
            Some(("file", name)) => self.begin(name, ""),
            Some(("without", name)) => drop(self.files.remove(name)),
            Some(("times", number)) => self.times = number.parse().unwrap_or_default(),
            Some(_) => {}
            None => {
                let text = self.files.entry(self.path.clone()).or_default();
                text.push_str(&format!("{line}\n").repeat(std::mem::replace(&mut self.times, 1)));
            }
        }
    }
}

impl Entry {
    /// The lines of the example, and those of what is mended.
    fn parts(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let mut lines = self.example.lines();
        (lines.by_ref().take_while(|line| *line != "-- mended").collect(), lines.collect())
    }

    fn wrong(&self) -> Written {
        let mut out = Written { times: 1, ..Written::default() };
        out.begin("autofunnel.yaml", SETTINGS);
        self.parts().0.iter().for_each(|line| out.line(line));
        out
    }

    /// A workspace with this fault; `None`: it needs a secret that is wrong.
    pub fn files(&self) -> Option<Files> {
        (!self.example.trim().is_empty()).then(|| self.wrong().files)
    }

    /// The same without the fault.
    pub fn mended(&self) -> Option<Files> {
        let (wrong, mended) = self.parts();
        let first = mended.first()?;
        let mut out = self.wrong();
        if !first.starts_with("-- ") {
            out.line(wrong.iter().find(|line| line.starts_with("-- ") && **line != "-- files")?);
        }
        mended.iter().for_each(|line| out.line(line));
        Some(out.files)
    }
}

/// Most lines of a file that are shown; a longer one is long because that is its fault.
const SHOWN_MAX: usize = 40;

/// Files as they are shown, without those that are in `known` too.
pub(super) fn shown(files: &Files, known: &Files) -> String {
    let mut out = String::new();
    for (path, text) in files.iter().filter(|(path, text)| known.get(*path) != Some(*text)) {
        let all = text.lines().count();
        let mut lines: String = text.lines().take(SHOWN_MAX).map(|line| format!("    {line}\n")).collect();
        if all > SHOWN_MAX {
            lines.push_str(&format!("    … and {} lines more\n", all - SHOWN_MAX));
        }
        out.push_str(&format!("  {path}\n{lines}"));
    }
    for path in known.keys().filter(|path| !files.contains_key(*path)) {
        out.push_str(&format!("  without {path}\n"));
    }
    out
}

/// What every example begins with.
pub(super) fn usual() -> Files {
    [("autofunnel.yaml".to_owned(), SETTINGS.to_owned())].into()
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

    /// What else an example must have: an alias needs an anchor.
    const BESIDE: &[(&str, &str)] = &[("yaml-alias", "yaml-anchor")];

    #[test]
    fn every_example_has_its_fault_alone_and_is_mended() {
        let mut wrong = Vec::new();
        for entry in entries() {
            let Some(files) = entry.files() else { continue };
            let mut found = codes(&files);
            found.retain(|code| !BESIDE.contains(&(entry.code, *code)));
            if found != BTreeSet::from([entry.code]) {
                wrong.push(format!("{}: its example has {found:?}", entry.code));
            }
            match entry.mended().map(|files| codes(&files)) {
                Some(left) if left.is_empty() => {}
                left => wrong.push(format!("{}: mended it has {left:?}", entry.code)),
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
                for call in [".error(", ".warning(", "code: "] {
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
        // Whether a certificate can be read is known only where the secret is.
        let without: Vec<&str> = entries.iter().filter(|entry| entry.files().is_none()).map(|entry| entry.code).collect();
        assert_eq!(without, ["bad-authority"], "these have no example");
    }
}
