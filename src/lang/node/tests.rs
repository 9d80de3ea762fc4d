//! Tests of the reader of YAML.

use super::*;
use crate::lang::diag::Fault;
use proptest::prelude::*;
use std::fmt::Write;

const VALID: &str = r#"# A funnel
funnel: Renewal reminders
trigger: { renewal_due: 30 days before, at: "09:00" }
exit_on: [membership_renewed, membership_cancelled]
steps:
  - email: renewal-early
    if: 'customer.tier in ["silver", "gold"]'
  - wait_until: 7 days before renewal
  - sms: |
      Hello,
      come back
    note: >-
      folded
      text
"#;

fn read(text: &str) -> (Option<Node>, Vec<Fault>) {
    let mut faults = Faults::default();
    let node = parse("a.yaml", text, &mut faults);
    (node, faults.list().to_vec())
}

/// Code, line and column of the first fault.
fn first(text: &str) -> (&'static str, u32, u32) {
    let (_, faults) = read(text);
    let fault = faults.first().unwrap_or_else(|| panic!("no fault: {text:?}"));
    (fault.code, fault.place.line, fault.place.column)
}

fn hint(text: &str) -> String {
    read(text).1.first().and_then(|fault| fault.hint.clone()).unwrap_or_default()
}

fn at(node: &Node) -> (u32, u32, u32) {
    (node.place.line, node.place.column, node.place.length)
}

#[test]
fn every_value_knows_its_place() {
    let (node, faults) = read(VALID);
    assert_eq!(faults, []);
    let node = node.unwrap();
    assert_eq!(at(&node), (2, 1, 1));
    assert_eq!(at(node.get("funnel").unwrap()), (2, 9, 17));
    let trigger = node.get("trigger").unwrap();
    assert_eq!(at(trigger), (3, 10, 1));
    assert_eq!(at(trigger.get("at").unwrap()), (3, 46, 5), "between the quotes");
    let steps = node.get("steps").unwrap().list().unwrap();
    assert_eq!(at(node.get("steps").unwrap()), (6, 3, 1));
    assert_eq!(at(steps[0].get("if").unwrap()), (7, 10, 35));
    assert_eq!(at(steps[2].get("sms").unwrap()), (10, 7, 6));
    assert_eq!(steps[2].get("sms").unwrap().scalar(), Some("Hello,\ncome back\n"));
    assert_eq!(at(steps[2].get("note").unwrap()), (13, 7, 6));
    assert_eq!(steps[2].get("note").unwrap().scalar(), Some("folded text"));
    let key = &node.map().unwrap()[1].0;
    assert_eq!((key.place.line, key.place.column, key.place.length), (3, 1, 7));
}

#[test]
fn columns_count_characters_and_a_byte_order_mark_counts_nothing() {
    let (node, _) = read("\u{feff}größe: [ä, ö]\r\nb: x\rc: y");
    let node = node.unwrap();
    assert_eq!(at(&node.get("größe").unwrap().list().unwrap()[1]), (1, 12, 1));
    assert_eq!(at(node.get("b").unwrap()), (2, 4, 1));
    assert_eq!(at(node.get("c").unwrap()), (3, 4, 1), "a carriage return alone ends a line too");
}

#[test]
fn a_value_left_out_has_the_place_of_its_key() {
    let (node, _) = read("a:\nbcd:\n  - x\n");
    assert_eq!(at(node.unwrap().get("a").unwrap()), (1, 1, 1));
}

#[test]
fn kinds_are_named_as_people_know_them() {
    let (node, _) = read("[a, 1, 012, true, ~, '', '1', [], {}, NO, NULL]");
    let names: Vec<&str> = node.unwrap().list().unwrap().iter().map(Node::describe).collect();
    assert_eq!(
        names,
        ["text", "a number", "a number", "true/false", "nothing", "text", "text", "a list", "a map", "text", "nothing"]
    );
}

#[test]
fn what_this_language_does_not_have_is_refused() {
    assert_eq!(first("a: &x 1\nb: 2\n"), ("yaml-anchor", 1, 4));
    assert_eq!(first("a: 1\nb: *x\n"), ("yaml-syntax", 2, 4));
    assert_eq!(first("a: !!python/object:os.system x\n"), ("yaml-tag", 1, 4));
    assert_eq!(first("a: !customer.vip\n"), ("yaml-tag", 1, 4));
    assert_eq!(first("<<: {a: 1}\nb: 1\n"), ("yaml-merge", 1, 1));
    assert_eq!(first("? [a, b]\n: c\n"), ("bad-key", 1, 3));
    assert_eq!(first("{a: b}: c\n"), ("bad-key", 1, 1));
    assert_eq!(first(": c\n"), ("bad-key", 1, 1));
    assert_eq!(first("a: 1\n---\nb: 1\n"), ("second-document", 2, 1));
    assert_eq!(first("a: 1\n...\n---\nb: 1\n"), ("second-document", 3, 1));
    assert_eq!(first("%YAML 1.2\n---\na: 1\n"), ("yaml-directive", 1, 1));
    assert_eq!(first("a: ä\u{7}\n"), ("control-character", 1, 5));
    assert_eq!(first("a: b\u{0}c\n"), ("control-character", 1, 5));
    assert_eq!(first("a: \u{9b}31m\n"), ("control-character", 1, 4));
    for empty in ["", "\n\n", "# nothing\n", "---\n", "~", "null", "\u{feff}"] {
        assert_eq!(first(empty), ("empty-file", 1, 1), "{empty:?}");
    }
}

#[test]
fn aliases_leave_no_tree_and_other_faults_are_all_reported() {
    let (node, faults) = read("a: &x 1\nb: *x\nc: 1\nc: 2\n");
    assert_eq!(node, None);
    let codes: Vec<_> = faults.iter().map(|f| f.code).collect();
    assert_eq!(codes, ["yaml-anchor", "yaml-alias", "doubled-key"]);
}

#[test]
fn a_doubled_key_is_a_fault_at_the_second_that_names_the_first() {
    let text = "a: 1\nb:\n  a: 2\na: 3\n";
    assert_eq!(first(text), ("doubled-key", 4, 1));
    assert!(hint(text).contains("line 1"), "{}", hint(text));
    assert_eq!(read(text).0.unwrap().get("a").unwrap().scalar(), Some("1"), "the first stands");
    assert_eq!(first("{a: 1, 'a': 2}"), ("doubled-key", 1, 9));
}

#[test]
fn syntax_errors_say_what_usually_causes_them() {
    for (text, line, wanted) in [
        ("a:\n\tb: 1\n", 2, "tab"),
        ("steps:\n  - a: 1\n\t- b: 1\n", 3, "tab"),
        ("subject: Hello: welcome\n", 1, "`: `"),
        ("subject: {{ name }} hello\n", 1, "{{"),
        ("subject: {{ name }}\n", 1, "{{"),
        ("subject: *|NAME|*\n", 1, "quotes"),
        ("subject: @anna\n", 1, "`@`"),
        ("subject: 5\nrate: %5\n", 2, "`%`"),
        ("subject: `x`\n", 1, "backtick"),
        ("if: !customer.vip && x\n", 1, "quotes"),
        ("if: \"gold\" == customer.tier\n", 1, "whole value in quotes"),
        ("a: \"b\nc: d\n", 1, "missing quote"),
        ("a: \"b", 1, "missing quote"),
        ("a: [b, c\nd: e\n", 2, "`]`"),
        ("a: \"\\d\"\n", 1, "double it"),
        ("where: > 5\n", 1, "`>`"),
        ("a: 1\n b: 2\n", 2, "align"),
        ("steps:\n   - a: 1\n  - b: 1\n", 3, "spaces"),
    ] {
        let (node, faults) = read(text);
        let fault = faults.first().unwrap_or_else(|| panic!("no fault: {text:?} {node:?}"));
        let hint = fault.hint.as_deref().unwrap_or_default();
        assert!(hint.contains(wanted) && fault.place.line == line, "{text:?}: {fault:?}");
    }
}

fn laughs() -> String {
    let mut text = "a: &a [lol, lol]\n".to_owned();
    for (next, name) in ('b'..='j').zip('a'..) {
        let _ = writeln!(text, "{next}: &{next} [{}]", vec![format!("*{name}"); 9].join(", "));
    }
    text
}

/// Texts that want to cost time or memory.
pub(super) fn costly() -> Vec<(&'static str, String)> {
    let mib = |unit: &str| unit.repeat(FILE_BYTES_MAX / unit.len());
    vec![
        ("billion laughs", laughs()),
        ("10 MiB", "a: b\n".repeat(2 * FILE_BYTES_MAX)),
        ("depth by brackets", "[".repeat(1000)),
        ("depth by brackets, closed", format!("a: {}{}", "[".repeat(1000), "]".repeat(1000))),
        ("depth by braces", mib("{a: ")),
        ("depth by dashes", mib("- ")),
        ("depth by question marks", mib("? ")),
        ("depth by lines", (0..1000).fold(String::new(), |text, n| text + &" ".repeat(n) + "a:\n")),
        ("100k documents", "--- a\n".repeat(100_000)),
        ("100k document ends", "a\n...\n".repeat(100_000)),
        ("one long list", format!("[{}]", mib("a,"))),
        ("one long list of quotes", format!("[{}]", "\"\",".repeat(340_000))),
        ("one long list of anchors", format!("[{}", "&a ".repeat(340_000))),
        ("one long list of aliases", format!("[{}", "*a,".repeat(340_000))),
        ("one long list of tags", format!("[{}", "!a ".repeat(340_000))),
        ("deep, then long", format!("{}{}", "[".repeat(250), "a,".repeat(500_000))),
        ("list in a list", format!("a: [[{}]]", "a: b,".repeat(200_000))),
        ("directives", "%TAG !a! b\n".repeat(90_000)),
        ("one directive", format!("%A{}", " p".repeat(500_000))),
        ("a directive at the end", format!("a: b\n%A{}", " p".repeat(500_000))),
        ("many lines of a list", mib("- a\n")),
        (
            "many keys",
            (0..100_000).fold(String::new(), |text, n| text + &format!("{n}: 1\n")).chars().take(FILE_BYTES_MAX).collect(),
        ),
        ("the same key", mib("a: b\n")),
        ("line breaks", mib("\n")),
        ("open quote", format!("a: \"{}", mib("b\n "))),
    ]
}

#[test]
fn costly_texts_are_refused() {
    for (name, text) in costly() {
        let (_, faults) = read(&text);
        assert!(!faults.is_empty() && faults.len() <= 60, "{name}: {} faults", faults.len());
    }
}

#[test]
fn big_honest_files_are_read() {
    let long = format!("a: |\n{}", "  Some text, with commas; and: colons [x].\n".repeat(20_000));
    assert_eq!(read(&long).1, []);
    let list = format!("a: [{}]", vec!["{ b: 1, c: \"x\" }"; 4_900].join(", "));
    assert_eq!(read(&list).1, []);
    let deep = format!("a: {}{}", "[".repeat(DEPTH_MAX - 1), "]".repeat(DEPTH_MAX - 1));
    assert_eq!(read(&deep).1, []);
    assert_eq!(first(&format!("[{deep}]")).0, "too-deep");
}

#[test]
fn what_is_missing_at_the_end_is_told_at_the_last_line() {
    let (_, faults) = read("a: 1\nb:\n  c: 2\n? ");
    let lines: Vec<u32> = faults.iter().map(|fault| fault.place.line).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| *line <= 4), "{faults:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_mutation_of_a_file_panics(edits in prop::collection::vec((0usize..400, 0usize..3, "[\\t\\n\\r \"'\\[\\]{},:?&*!|>%@`#~<=0-9a-cä\u{feff}\u{2028}-]{0,3}"), 1..6)) {
        let mut text: Vec<char> = VALID.chars().collect();
        for (at, cut, put) in edits {
            let at = at.min(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        let (node, faults) = read(&text);
        prop_assert!(node.is_some() || !faults.is_empty(), "neither a tree nor a fault");
        let lines = text.chars().filter(|c| matches!(c, '\n' | '\r')).count() as u32 + 1;
        for fault in faults {
            prop_assert!((1..=lines).contains(&fault.place.line) && fault.place.column >= 1 && fault.hint.is_some(), "{:?}", fault);
        }
    }

    #[test]
    fn no_soup_of_signs_panics(text in "[\\t\\n\\r \"'\\[\\]{},:?&*!|>%@`#~<ab0-]{0,60}") {
        let (node, faults) = read(&text);
        prop_assert!(node.is_some() || !faults.is_empty());
    }
}
