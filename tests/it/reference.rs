//! `examples/reference.md` is what `autofunnel reference` prints, and every piece of YAML in the documents is sound.

use autofunnel::app::workspace;
use autofunnel::funnel::Files;
use autofunnel::lang::diag::Severity;
use autofunnel::wire::secrets::Placeholders;
use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../../README.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn printed(arguments: &[&str]) -> (bool, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_autofunnel")).args(arguments).output().unwrap();
    (done.status.success(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn the_reference_in_the_examples_is_the_one_that_is_printed() {
    let (good, text, said) = printed(&["reference"]);
    assert!(good, "{said}");
    let kept = std::fs::read_to_string(root().join("examples/reference.md")).unwrap();
    let differs = text.lines().zip(kept.lines()).position(|(new, old)| new != old);
    let hint = "write it anew with `cargo run -- reference > examples/reference.md`";
    assert!(text == kept, "examples/reference.md differs, first in line {:?}; {hint}", differs.map(|line| line + 1));
}

#[test]
fn one_part_of_the_reference_can_be_asked_for() {
    let (good, text, _) = printed(&["reference", "wait_for"]);
    assert!(good && text.starts_with("### `wait_for`") && text.contains("`up_to`") && !text.contains("### `branch`"), "{text}");
    let (good, _, said) = printed(&["reference", "wait_fro"]);
    assert!(!good && said.contains("did you mean `wait_for`?"), "{said}");
}

/// What `check` says of a workspace, without those of the samples that are there anyhow.
fn faults(files: &Files) -> Vec<String> {
    let checked = workspace::check(files, &Placeholders);
    let errors = checked.faults.iter().filter(|fault| fault.severity == Severity::Error);
    errors.map(|fault| format!("{}:{} {} {}", fault.place.file, fault.place.line, fault.code, fault.message)).collect()
}

fn samples() -> Files {
    workspace::read(&root().join("funnels")).unwrap()
}

/// Puts a piece of a document into the samples: a whole funnel, steps of one, or settings.
fn put(files: &mut Files, piece: &str) {
    let first = piece.lines().find(|line| !line.trim_start().starts_with('#')).unwrap_or_default();
    if first.starts_with("funnel:") {
        // A document shows shorter forms of the samples, so they take their places.
        files.insert("welcome.yaml".to_owned(), piece.to_owned());
        files.remove("tests/welcome.yaml");
    } else if first.starts_with("- ") {
        let steps: String = piece.lines().map(|line| format!("  {line}\n")).collect();
        files.insert("piece.yaml".to_owned(), format!("funnel: A piece\ntrigger: order_packed\ngoal: purchase\nsteps:\n{steps}"));
    } else {
        let own: Vec<&str> = piece.lines().filter_map(|line| line.split_once(':').map(|(key, _)| key)).collect();
        let settings = &files["autofunnel.yaml"];
        let mut out = String::new();
        let mut left_out = false;
        for line in settings.lines() {
            if !line.starts_with([' ', '#']) && !line.is_empty() {
                left_out = line.split_once(':').is_some_and(|(key, _)| own.contains(&key));
            }
            // Points are kept in one place.
            let elsewhere = line.starts_with("loyalty:") && own.contains(&"loyalty_store");
            if !left_out && !elsewhere {
                out.push_str(line);
                out.push('\n');
            }
        }
        files.insert("autofunnel.yaml".to_owned(), out + piece);
        if own.iter().any(|key| key.starts_with("loyalty")) {
            // Another store holds no points back, and takes none away.
            for path in ["referral.yaml", "tests/referral.yaml", "club-points.yaml", "tests/club-points.yaml"] {
                files.remove(path);
            }
        }
    }
}

#[test]
fn every_piece_of_yaml_in_the_readme_is_sound() {
    let mut wrong = Vec::new();
    let mut pieces = 0;
    for (at, block) in README.split("\n```").enumerate().filter(|(at, _)| at % 2 == 1) {
        let Some(yaml) = block.strip_prefix("yaml\n").or(block.strip_prefix("yml\n")) else { continue };
        pieces += 1;
        let mut files = samples();
        let events = "  order_packed: { sku: text, friend: text, order_id: text }\n";
        let settings = files["autofunnel.yaml"].replacen("events:", "events:\nEVENTS", 1);
        let (before, after) = settings.split_once("EVENTS").unwrap();
        let after = after.split_once('\n').unwrap().1;
        files.insert("autofunnel.yaml".to_owned(), format!("{before}{events}{after}"));
        for piece in format!("{yaml}\n").split("---\n") {
            put(&mut files, piece);
        }
        let found = faults(&files);
        if !found.is_empty() {
            wrong.push(format!("piece {at}, which begins with {:?}:\n  {}", yaml.lines().next(), found.join("\n  ")));
        }
    }
    assert!(pieces >= 6, "the README shows how things are written");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_workspace_among_the_examples_is_sound() {
    for (name, piece) in [
        ("remote-store", None),
        ("smtp-provider.yaml", Some("autofunnel.yaml")),
        ("http-provider.yaml", Some("autofunnel.yaml")),
        ("presets.yaml", Some("autofunnel.yaml")),
        ("webhooks.yaml", Some("autofunnel.yaml")),
        ("blocks.yaml", Some("blocks.yaml")),
    ] {
        let path = root().join("examples").join(name);
        let files = match piece {
            None => workspace::read(&path).unwrap(),
            Some(place) => {
                let text = std::fs::read_to_string(&path).unwrap();
                let mut files = samples();
                if place == "autofunnel.yaml" {
                    put(&mut files, &text);
                } else {
                    files.insert(place.to_owned(), text);
                }
                files
            }
        };
        assert_eq!(faults(&files), Vec::<String>::new(), "{name}");
    }
}
