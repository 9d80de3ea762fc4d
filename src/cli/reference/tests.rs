//! The examples are sound and whole, and a part can be found.

use super::workspace::{self, files};
use super::*;
use crate::app::workspace::check;
use crate::catalog;
use crate::funnel::{Definitions, blocks, draft, settings};
use crate::lang::cel::STRUCTURED;
use crate::lang::diag::Faults;
use crate::lang::node::{self, Node};
use crate::lang::shape::Shape;
use crate::step;
use crate::trial;
use crate::trigger;
use crate::wire::secrets::Placeholders;
use std::collections::BTreeSet;
use std::sync::Arc;

#[test]
fn the_workspace_of_the_examples_is_sound_and_its_tests_pass() {
    let checked = check(&files(), &Placeholders);
    assert!(checked.faults.is_empty(), "{:#?}", checked.faults);
    let definitions = Definitions::new(Arc::new(checked.workspace.unwrap()));
    let mut faults = Faults::default();
    assert_eq!(definitions.current.tests.len(), 1);
    for (funnel, node) in &definitions.current.tests {
        let outcome = trial::run(&definitions, funnel, node, &mut faults).unwrap();
        assert!(outcome.passed, "{:#?}", outcome.diff);
    }
}

#[test]
fn every_example_of_a_kind_is_sound() {
    for kind in trigger::KINDS {
        let told = workspace::with(kind.example, "- wait: 1 day").err();
        assert!(told.is_none(), "{}: {told:#?}", kind.name);
    }
    for kind in step::KINDS {
        // A tier, and a date that a wait may count from, are there at any trigger; what is left needs an event.
        let told = workspace::with(parts::TRIGGER, &workspace::listed(kind.example)).err();
        assert!(told.is_none(), "{}: {told:#?}", kind.name);
    }
}

#[test]
fn every_line_of_a_structured_condition_is_sound() {
    for (key, line, _) in STRUCTURED {
        assert!(line.contains(key));
        let line = if line.starts_with('{') { (*line).to_owned() } else { format!("{{ {line} }}") };
        let told = workspace::with(parts::TRIGGER, &format!("- stop: x\n  if: {line}\n- wait: 1 day")).err();
        assert!(told.is_none(), "{line}: {told:#?}");
    }
}

/// The keys of a table that stand nowhere in a node.
fn missing(tables: &[Field], node: &Node) -> Vec<&'static str> {
    let mut keys = BTreeSet::new();
    let mut left = vec![node];
    while let Some(node) = left.pop() {
        for (key, value) in node.map().unwrap_or_default() {
            keys.insert(key.text.clone());
            left.push(value);
        }
        left.extend(node.list().unwrap_or_default());
    }
    let mut out = Vec::new();
    for field in tables {
        if !keys.contains(field.name) {
            out.push(field.name);
        }
        if let Shape::MapOf(Shape::Object(below)) | Shape::List(Shape::Object(below)) | Shape::Object(below) = &field.shape {
            out.extend(missing(below, node));
        }
    }
    out
}

#[test]
fn the_examples_show_every_key() {
    let tables: [(&str, &[Field]); 5] = [
        ("rules.yaml", draft::FIELDS),
        ("autofunnel.yaml", settings::FIELDS),
        ("segments.yaml", crate::segment::FIELDS),
        ("catalog.yaml", catalog::FIELDS),
        ("blocks.yaml", blocks::FIELDS),
    ];
    // A goal is one thing or another.
    let either = ["segment_entered", "segment_left"];
    for (path, table) in tables {
        let node = node::parse(path, workspace::file(path), &mut Faults::default()).unwrap();
        let mut missing = missing(table, &node);
        missing.retain(|key| !either.contains(key));
        assert!(missing.is_empty(), "{path} does not show {missing:?}");
    }
}

#[test]
fn a_section_is_found_by_its_heading() {
    let whole = text();
    let sections = sections(&whole);
    let of = |head: &str| sections.iter().find(|(known, _)| *known == head).map(|(_, text)| *text).unwrap();
    assert!(of("`wait_for`").contains("up_to") && !of("`wait_for`").contains("`branch`"));
    assert!(of("Steps").contains("### `stop`") && !of("Steps").contains("## Conditions"));
}
