//! Bad input: none of it panics, and whatever is wrong is told in a plain sentence with its place.
//!
//! This is a slice; `cargo run --release --example badinput` feeds a million of each kind and measures.

mod feed;

use feed::chance::Chance;
use feed::{KINDS, Verdict};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The seed of the slice; the long run begins with it, too.
const SEED: u64 = 1;
/// Least share of inputs of a kind that must be well-formed, in percent: what a parser turns away tests nothing
/// behind it.
const PAST_PARSER_PERCENT_MIN: usize = 50;

/// Feeds inputs 0 to `many` of a kind.
fn feed(kind: &str, many: u64) {
    let make = KINDS.iter().find(|(name, _)| *name == kind).expect("there is such a kind").1;
    let kind = make();
    let (mut past, mut refused, mut placed) = (0, 0, 0);
    for number in 0..many {
        let case = kind.case(Chance::of(kind.name(), SEED, number));
        let verdict = catch_unwind(AssertUnwindSafe(case.feed))
            .unwrap_or_else(|_| Verdict { broken: Some("a panic".to_owned()), ..Verdict::default() });
        if let Some(broken) = verdict.broken {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bad-{}-{SEED}-{number}", kind.name()));
            fs::write(&file, &case.shown).expect("the folder of tests can be written");
            panic!(
                "{broken}\nthe input is in {}; once more:\n\
                 cargo run --release --example badinput -- --kind {} --seed {SEED} --from {number} --each 1",
                file.display(),
                kind.name()
            );
        }
        past += usize::from(verdict.past_parser);
        refused += usize::from(verdict.refused);
        placed += usize::from(verdict.placed);
    }
    let name = kind.name();
    assert!(past * 100 >= many as usize * PAST_PARSER_PERCENT_MIN, "{name}: only {past} of {many} got past the parser");
    assert!(refused * 10 >= many as usize, "{name}: only {refused} of {many} were wrong");
    assert!(placed <= refused, "{name}: {placed} of {refused}");
    println!("{name}: {many} inputs, {past} past the parser, {refused} refused, {placed} with a place");
}

#[test]
fn every_kind_has_its_slice() {
    let own = include_str!("bad.rs");
    let missing = KINDS.iter().filter(|(name, _)| !own.contains(&format!("feed(\"{name}\", ")));
    assert_eq!(missing.count(), 0, "a kind without a slice");
}

#[test]
fn workspaces() {
    feed("workspace", 150);
}

#[test]
fn funnel_tests() {
    feed("test", 1_000);
}

#[test]
fn templates() {
    feed("template", 1_000);
}

#[test]
fn conditions() {
    feed("condition", 3_000);
}

#[test]
fn schedules() {
    feed("schedule", 3_000);
}

#[test]
fn durations() {
    feed("duration", 3_000);
}

#[test]
fn events() {
    feed("events", 3_000);
}

#[test]
fn customers() {
    feed("customer", 3_000);
}

#[test]
fn webhooks() {
    feed("hook", 3_000);
}

#[test]
fn imported_lines() {
    feed("ndjson", 3_000);
}

#[test]
fn imported_cells() {
    feed("csv", 3_000);
}

#[test]
fn turns() {
    feed("turn", 500);
}

#[test]
fn stored_documents() {
    feed("document", 3_000);
}
