//! House rules that a compiler does not know: layers, the pure core, crates in their one folder, complete
//! registries. A rule that fails prints every place that breaks it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the bottom up. A module imports from rows below its own only, never from its own row.
const ROWS: &[&[&str]] = &[
    &["money"],
    &["lang"],
    &["effect"],
    &["event"],
    &["fact"],
    &["customer"],
    &["template", "catalog"],
    &["segment", "watch"],
    &["step", "trigger"],
    &["funnel"],
    &["account"],
    &["turn"],
    &["play"],
    &["trial", "simulate", "stats"],
    &["store"],
    &["wire"],
    &["queue", "channel", "source"],
    &["loyalty"],
    &["engine"],
    &["web"],
    &["app"],
    &["cli"],
];

/// The last row without async, I/O, clock or randomness.
const PURE_UP_TO: &str = "trial";

/// Outside crates and the only modules that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("rusqlite", &["store"]),
    ("redis", &["store"]),
    ("reqwest", &["wire"]),
    ("lettre", &["channel"]),
    ("ring", &["channel", "source"]),
    ("mrml", &["template"]),
    ("rustls", &["wire"]),
    ("axum", &["web"]),
    ("hyper", &["web"]),
    ("hyper_util", &["web"]),
    ("apalis", &["queue"]),
    ("apalis_core", &["queue"]),
    ("minijinja", &["template"]),
    ("saphyr_parser", &["lang"]),
    ("annotate_snippets", &["lang"]),
    ("maud", &["web"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("anyhow", &["app", "cli"]),
    ("getrandom", &["store", "web", "app", "cli"]),
    ("rmp_serde", &["customer", "store"]),
];

/// What the pure core may not say.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "Utc::now",
    "Local::now",
    "async fn",
    ".await",
    "getrandom",
    "rand::",
    "println!",
    "eprintln!",
    "tracing::",
];

struct Source {
    path: PathBuf,
    module: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// Every file below `src`, with its top-level module.
fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut paths = Vec::new();
    walk(&src, &mut paths);
    paths.sort();
    let module = |path: &Path| {
        let first = path.strip_prefix(&src).unwrap().iter().next().unwrap().to_str().unwrap();
        first.trim_end_matches(".rs").to_owned()
    };
    paths.into_iter().map(|path| Source { module: module(&path), text: fs::read_to_string(&path).unwrap(), path }).collect()
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

/// Code without comments and without what stands in quotes.
fn code(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut quoted = false;
        let mut previous = ' ';
        let mut kept = String::new();
        for (at, c) in line.char_indices() {
            if !quoted && line[at..].starts_with("//") {
                break;
            }
            if c == '"' && previous != '\\' && previous != '\'' {
                quoted = !quoted;
            }
            if !quoted {
                kept.push(c);
            }
            previous = c;
        }
        out.push_str(&kept);
        out.push('\n');
    }
    out
}

/// Code before its unit tests.
fn outside_tests(source: &Source) -> String {
    if source.path.iter().any(|part| part == "tests") || source.path.ends_with("tests.rs") || source.path.ends_with("fake.rs") {
        return String::new();
    }
    let code = code(&source.text);
    code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

fn names_after<'a>(text: &'a str, marker: &str) -> Vec<&'a str> {
    let word = |rest: &'a str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    text.match_indices(marker).map(|(at, _)| word(&text[at + marker.len()..])).collect()
}

fn report(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_module_has_a_row() {
    let unknown = sources().into_iter().filter(|source| !matches!(source.module.as_str(), "lib" | "main"));
    report(unknown.filter(|s| row(&s.module).is_none()).map(|s| format!("{} is in no row of ROWS", s.path.display())).collect());
}

#[test]
fn imports_point_down() {
    let mut broken = Vec::new();
    for source in sources() {
        let Some(own) = row(&source.module) else { continue };
        for name in names_after(&outside_tests(&source), "crate::") {
            if name != source.module && row(name).is_some_and(|other| other >= own) {
                broken.push(format!("{}: `{}` imports `{name}`, which is not below it", source.path.display(), source.module));
            }
        }
    }
    report(broken);
}

#[test]
fn the_core_is_pure() {
    let last = row(PURE_UP_TO).unwrap();
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| row(&source.module).is_some_and(|row| row <= last)) {
        let code = outside_tests(source);
        broken.extend(
            IMPURE.iter().filter(|word| code.contains(**word)).map(|word| format!("{}: `{word}`", source.path.display())),
        );
    }
    report(broken);
}

#[test]
fn outside_crates_stay_at_home() {
    let mut broken = Vec::new();
    for source in sources() {
        let code = outside_tests(&source);
        for (name, homes) in HOMES {
            let used = [format!("use {name}::"), format!("{name}::")].iter().any(|form| {
                code.match_indices(form.as_str()).any(|(at, _)| {
                    let before = code[..at].chars().next_back().unwrap_or(' ');
                    !before.is_alphanumeric() && before != '_' && before != ':'
                })
            });
            if used && !homes.contains(&source.module.as_str()) {
                broken.push(format!("{}: `{name}` belongs in {}", source.path.display(), homes.join(", ")));
            }
        }
    }
    report(broken);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//!"));
    report(silent.map(|source| format!("{} does not begin with `//!`", source.path.display())).collect());
}

#[test]
fn nothing_is_left_unfinished() {
    let words = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore"];
    let mut broken = Vec::new();
    for source in sources() {
        let code = code(&source.text);
        broken
            .extend(words.iter().filter(|word| code.contains(**word)).map(|word| format!("{}: `{word}`", source.path.display())));
    }
    report(broken);
}

#[test]
fn production_code_does_not_unwrap() {
    let mut broken = Vec::new();
    for source in sources() {
        let code = outside_tests(&source);
        for (number, line) in code.lines().enumerate() {
            if line.contains(".unwrap()") || line.contains("panic!(") {
                broken.push(format!("{}:{}: {}", source.path.display(), number + 1, line.trim()));
            }
        }
    }
    report(broken);
}

#[test]
fn registries_name_every_kind() {
    // Folder, the file with the registry, and files of the folder that are no kind.
    let registries: [(&str, &str, &[&str]); 3] = [
        ("step", "mod.rs", &["mod", "compile", "window"]),
        ("trigger", "mod.rs", &["mod", "tests"]),
        ("channel", "mod.rs", &["mod", "tests", "limits", "presets", "vars"]),
    ];
    let mut broken = Vec::new();
    for (folder, registry, other) in registries {
        let folder = root().join("src").join(folder);
        let text = fs::read_to_string(folder.join(registry)).unwrap();
        let kinds = text.split("KINDS: &[").nth(1).and_then(|rest| rest.split("];").next()).unwrap_or_default().to_owned();
        for entry in fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
            if !other.contains(&name.as_str()) && !kinds.contains(&format!("{name}::")) {
                broken.push(format!("{}: `{name}` is not in KINDS", folder.display()));
            }
        }
    }
    let presets = fs::read_to_string(root().join("src/channel/presets.rs")).unwrap();
    for entry in fs::read_dir(root().join("src/channel/presets")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".yaml") && !presets.contains(&format!("include_str!(\"presets/{name}\")")) {
            broken.push(format!("src/channel/presets/{name} is not in FILES"));
        }
    }
    report(broken);
}

#[test]
fn the_readme_names_commands_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut commands: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, line) in readme.lines().enumerate() {
        if let Some(rest) = line.trim().strip_prefix("autofunnel ") {
            commands.entry(rest.split_whitespace().next().unwrap_or_default()).or_insert(number + 1);
        }
    }
    let files = |folder: &str| fs::read_dir(root().join(folder)).unwrap().count();
    assert!(files("src/cli") > 0 && !commands.is_empty(), "the README shows no command");
    let known = fs::read_to_string(root().join("src/cli/mod.rs")).unwrap();
    let missing = commands.into_iter().filter(|(command, _)| {
        let variant: String = command.split('-').map(|part| part[..1].to_uppercase() + &part[1..]).collect();
        !known.contains(&format!("{variant}("))
    });
    report(missing.map(|(command, line)| format!("README.md:{line}: there is no command `{command}`")).collect());
}
