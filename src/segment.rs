//! Segments: named conditions, kept up to date by events and by time.
//!
//! [`Segments::compile`] reads `segments.yaml` and puts segments into the order in which they are judged: one
//! that names another with `in_segment("x")` comes after it, otherwise the order of the file stays. A ring of
//! segments that name each other has no right answer and is refused.

use crate::lang::cel::{Cond, Schema};
use crate::lang::diag::Faults;
use crate::lang::node::{Key, Node};
use crate::lang::shape::{Field, NAME_CHARS_MAX, Object, Shape};
use std::collections::{BTreeSet, HashMap};

#[cfg(test)]
mod tests;

/// Most segments.
pub const SEGMENTS_MAX: usize = 1_000;

/// The families of segments.
pub const FAMILIES: &[&str] = &["behaviour", "value", "status"];

const BACKFILL: &[&str] = &["enter"];

/// Fields of a segment.
pub const FIELDS: &[Field] = &[
    Field::required("when", Shape::Condition, "who is in it; may name other segments with `in_segment(\"x\")`"),
    Field::optional("title", Shape::Text, "its name for people (default: its name)"),
    Field::optional(
        "backfill",
        Shape::Word(BACKFILL),
        "`enter`: who is found in it because its definition is new or an import says so starts funnels too (default: nobody does)",
    ),
    Field::optional(
        "family",
        Shape::Word(FAMILIES),
        "what it is about, for lists and pages: what customers do (`behaviour`), what they are worth (`value`), or where they stand (`status`)",
    ),
];

/// A segment, checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Segment {
    /// Its name: small letters, digits and `-`.
    pub name: String,
    /// For people.
    pub title: String,
    /// One of [`FAMILIES`].
    pub family: Option<String>,
    /// Who is found in it by a new definition or an import starts funnels too.
    pub backfill: bool,
    /// Who is in it.
    pub when: Cond,
}

/// All segments of a workspace.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Segments {
    list: Vec<Segment>,
    index: HashMap<String, usize>,
}

impl Segments {
    /// The names that `segments.yaml` declares, before its conditions are checked: what a [`Schema`] answers.
    pub fn declared(node: Option<&Node>) -> Vec<String> {
        let entries = node.and_then(Node::map).unwrap_or_default();
        entries.iter().take(SEGMENTS_MAX).map(|(key, _)| key.text.clone()).collect()
    }

    /// Reads `segments.yaml`; without a file there are none. `schema` must know the names that
    /// [`Segments::declared`] gives. All faults are reported at once; a segment with an error is left out.
    pub fn compile(node: Option<&Node>, schema: &dyn Schema, faults: &mut Faults) -> Segments {
        let Some(node) = node.filter(|node| !node.is_null()) else { return Segments::default() };
        let Some(entries) = node.map() else {
            let message = format!("segments must be a map of names, but here stands {}", node.describe());
            faults
                .error("wrong-type", &node.place, message)
                .hint("write for example `vip: { when: spent(\"365 days\") >= 500 }`");
            return Segments::default();
        };
        if entries.len() > SEGMENTS_MAX {
            let message = format!("{} segments are too many", entries.len());
            faults.error("too-many", &node.place, message).hint(format!("use at most {SEGMENTS_MAX}"));
        }
        let entries = entries.iter().take(SEGMENTS_MAX);
        let read: Vec<Segment> = entries.filter_map(|(key, node)| segment(key, node, schema, faults)).collect();
        let list = ordered(read, faults);
        let index = list.iter().enumerate().map(|(i, segment)| (segment.name.clone(), i)).collect();
        Segments { list, index }
    }

    /// In the order in which they are judged: a segment after those that its condition names.
    pub fn list(&self) -> &[Segment] {
        &self.list
    }

    /// The segment of that name.
    pub fn get(&self, name: &str) -> Option<&Segment> {
        self.index.get(name).and_then(|i| self.list.get(*i))
    }

    /// All names, in the order of [`Segments::list`].
    pub fn names(&self) -> Vec<String> {
        self.list.iter().map(|segment| segment.name.clone()).collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

fn segment(key: &Key, node: &Node, schema: &dyn Schema, faults: &mut Faults) -> Option<Segment> {
    let named = name(key, faults);
    let object = Object::read(node, &[FIELDS], &format!("the segment `{}`", key.text), faults)?;
    let when = object.node("when").and_then(|node| Cond::from_node(node, schema, faults));
    let title = object.text("title", faults).map(|text| text.text);
    let family = object.word("family", FAMILIES, faults).map(str::to_owned);
    let backfill = object.word("backfill", BACKFILL, faults).is_some();
    let name = named?;
    Some(Segment { title: title.unwrap_or_else(|| name.clone()), name, family, backfill, when: when? })
}

fn name(key: &Key, faults: &mut Faults) -> Option<String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let count = key.text.chars().count();
    if (1..=NAME_CHARS_MAX).contains(&count) && key.text.chars().all(allowed) {
        return Some(key.text.clone());
    }
    let lower = key.text.trim().to_lowercase();
    let better: String = lower.chars().take(NAME_CHARS_MAX).map(|c| if allowed(c) { c } else { '-' }).collect();
    let shown: String = key.text.chars().take(NAME_CHARS_MAX).collect();
    let example = if better.is_empty() { "gold-members" } else { &better };
    faults
        .error("bad-name", &key.place, format!("`{shown}` cannot be the name of a segment"))
        .hint(format!("use 1 to {NAME_CHARS_MAX} small letters, digits and `-`; write for example `{example}`"));
    None
}

/// Puts segments after those that they name; those in a ring, and what hangs on it, are reported and left out.
fn ordered(read: Vec<Segment>, faults: &mut Faults) -> Vec<Segment> {
    let index: HashMap<&str, usize> = read.iter().enumerate().map(|(i, segment)| (segment.name.as_str(), i)).collect();
    // Names without an index are of segments that have a fault of their own.
    let names: Vec<BTreeSet<usize>> = read
        .iter()
        .map(|segment| segment.when.segments().iter().filter_map(|name| index.get(name.as_str()).copied()).collect())
        .collect();
    let mut named_by: Vec<Vec<usize>> = vec![Vec::new(); read.len()];
    let mut waits_for: Vec<usize> = names.iter().map(BTreeSet::len).collect();
    for (i, others) in names.iter().enumerate() {
        others.iter().for_each(|other| named_by[*other].push(i));
    }
    let mut ready: BTreeSet<usize> = (0..read.len()).filter(|i| waits_for[*i] == 0).collect();
    let mut order = Vec::with_capacity(read.len());
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for other in &named_by[next] {
            waits_for[*other] -= 1;
            if waits_for[*other] == 0 {
                ready.insert(*other);
            }
        }
    }
    for ring in rings(&names, &waits_for) {
        let path: Vec<&str> = ring.iter().chain(ring.first()).map(|i| read[*i].name.as_str()).collect();
        let place = &read[ring[0]].when.text.place;
        faults
            .error("segment-cycle", place, format!("segments name each other in a ring: {}", path.join(" → ")))
            .hint("take one `in_segment(…)` out, or write its condition there instead");
    }
    let mut read: Vec<Option<Segment>> = read.into_iter().map(Some).collect();
    order.into_iter().filter_map(|i| read[i].take()).collect()
}

/// The rings among segments that wait for others for ever, each beginning with its first in the file.
fn rings(names: &[BTreeSet<usize>], waits_for: &[usize]) -> Vec<Vec<usize>> {
    let mut seen = vec![false; names.len()];
    let mut out = Vec::new();
    for start in (0..names.len()).filter(|i| waits_for[*i] > 0) {
        let mut path: Vec<usize> = Vec::new();
        let mut at = Some(start);
        while let Some(i) = at.filter(|i| !seen[*i]) {
            seen[i] = true;
            path.push(i);
            // Who still waits names one who still waits: so the walk goes on until it comes to where it was.
            at = names[i].iter().copied().find(|other| waits_for[*other] > 0);
        }
        if let Some(from) = at.and_then(|i| path.iter().position(|other| *other == i)) {
            let mut ring = path.split_off(from);
            let first = ring.iter().enumerate().min_by_key(|(_, i)| **i).map_or(0, |(at, _)| at);
            ring.rotate_left(first);
            out.push(ring);
        }
    }
    out
}
