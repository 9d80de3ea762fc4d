//! What may stand where in a file: one table of fields per kind of thing.
//!
//! The same table reads a node (unknown, missing and wrongly typed fields are faults with a hint), makes
//! the JSON Schema that editors complete from, and prints the reference. So none of them can differ.

mod read;
mod schema;

use super::cel::Text;
use super::diag::{FAULTS_MAX, Faults, Place};
use super::node::{Key, Node};
use super::time::Span;
use chrono::NaiveTime;

pub use read::{NAME_CHARS_MAX, boolean, clock, data, int, name, number, span, text, texts, word, zone};
pub use schema::{object_schema, schema};

/// Words that a hint lists.
const WORDS_TOLD_MAX: usize = 10;
/// Unknown fields of one map that are named; of the others only the number is.
const UNKNOWN_NAMED_MAX: usize = 10;

/// What may stand in one place.
#[derive(Debug)]
pub enum Shape {
    /// Text; a plain scalar that YAML would read as number, true/false or null must be quoted.
    Text,
    /// A name: letters, digits, `_`, `-`, `.`; the string says of what ("segment", "template" …).
    Name(&'static str),
    /// `true` or `false`, nothing else.
    Bool,
    /// A whole number between two bounds.
    Int(i64, i64),
    /// An exact decimal number.
    Number,
    /// `30 days`, `72h`.
    Duration,
    /// `"09:00"`.
    Clock,
    /// An IANA time zone.
    Zone,
    /// A condition in CEL, or its structured form.
    Condition,
    /// A CEL expression of any type.
    Expr,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Text of a form of its own, described by the string ("30 days before", "5%").
    Phrase(&'static str),
    /// Any data.
    Data,
    /// A list of these.
    List(&'static Shape),
    /// One of these or a list of them.
    OneOrMore(&'static Shape),
    /// Any names with these as values.
    MapOf(&'static Shape),
    /// Exactly these fields.
    Object(&'static [Field]),
    /// One of several shapes.
    Either(&'static [Shape]),
    /// A definition that is put together elsewhere from a registry: `steps`, `trigger`.
    Ref(&'static str),
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What may stand there.
    pub shape: Shape,
    /// Must it be there?
    pub required: bool,
    /// One sentence for editors and the reference.
    pub doc: &'static str,
}

impl Field {
    /// A field that may be left out.
    pub const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Field {
        Field { name, shape, required: false, doc }
    }

    /// A field that must be there.
    pub const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Field {
        Field { name, shape, required: true, doc }
    }
}

impl Field {
    /// What the field is for, to end a hint with.
    fn about(&self) -> String {
        let means = format!("it means: {}", self.doc.trim_end_matches('.'));
        match self.shape {
            Shape::Word(words) if words.len() <= WORDS_TOLD_MAX => format!("{means}; one of: {}", words.join(", ")),
            _ => means,
        }
    }
}

impl Shape {
    /// Whether a key without a value can be meant (`- stop:`).
    fn may_be_empty(&self) -> bool {
        matches!(self, Shape::Text | Shape::Data | Shape::MapOf(_) | Shape::Object(_) | Shape::Either(_) | Shape::Ref(_))
    }
}

fn report_unknown<'a>(key: &Key, known: impl Iterator<Item = &'a str>, what: &str, faults: &mut Faults) {
    let full = faults.list().len() >= FAULTS_MAX;
    faults.error("unknown-field", &key.place, format!("`{}` is no field of {what}", read::shown(&key.text)));
    // Comparing names costs time, which a fault that is only counted is not worth.
    if !full {
        faults.did_you_mean(&key.text, known);
    }
}

/// Which fields a map would have.
fn example(tables: &[&'static [Field]]) -> String {
    let names: Vec<&str> = tables.iter().flat_map(|table| table.iter()).map(|field| field.name).take(8).collect();
    format!("write `name: value` lines with fields such as {}", names.join(", "))
}

/// A map that was read against tables of fields. Getters report a fault and answer `None` when the field
/// has the wrong form; they answer `None` silently when it is not there.
pub struct Object<'a> {
    /// The map's place.
    pub place: Place,
    entries: Vec<(&'a Key, &'a Node)>,
}

impl<'a> Object<'a> {
    /// Reads `node` as `what` ("a segment", "the step `email`") with the fields of all `tables` together.
    /// Reports unknown fields (with "did you mean") and missing ones; `None` when it is no map.
    ///
    /// A field without a value (`if:`) is a fault where nothing cannot be meant; an explicit `null` or `~` is the
    /// same as leaving the field out.
    pub fn read(node: &'a Node, tables: &[&'static [Field]], what: &str, faults: &mut Faults) -> Option<Object<'a>> {
        let Some(map) = node.map() else {
            faults
                .error("wrong-type", &node.place, format!("{what} must be a map of fields, but here stands {}", node.describe()))
                .hint(example(tables));
            return None;
        };
        let fields = || tables.iter().flat_map(|table| table.iter());
        let mut entries = Vec::new();
        let mut unknown = 0;
        for (key, value) in map {
            match fields().find(|field| field.name == key.text) {
                None => {
                    unknown += 1;
                    if unknown <= UNKNOWN_NAMED_MAX {
                        report_unknown(key, fields().map(|field| field.name), what, faults);
                    }
                }
                Some(_) if !value.is_null() => entries.push((key, value)),
                Some(field) if value.scalar() == Some("") && !field.shape.may_be_empty() => {
                    faults
                        .error("empty-field", &key.place, format!("`{}` has no value", field.name))
                        .hint(format!("write one, or remove the line; {}", field.about()));
                }
                Some(_) => {}
            }
        }
        if unknown > UNKNOWN_NAMED_MAX {
            let more = unknown - UNKNOWN_NAMED_MAX;
            faults.error("unknown-field", &node.place, format!("{what} has {more} more fields that there are not"));
        }
        for field in fields().filter(|field| field.required) {
            // One that is there but empty has its own fault already, unless nothing was written on purpose.
            let there = map.iter().find(|(key, _)| key.text == field.name).map(|(_, value)| value);
            let faulted =
                there.is_some_and(|value| !value.is_null() || (value.scalar() == Some("") && !field.shape.may_be_empty()));
            if !faulted {
                faults.error("missing-field", &node.place, format!("{what} lacks `{}`", field.name)).hint(format!(
                    "add `{}:`; {}",
                    field.name,
                    field.about()
                ));
            }
        }
        Some(Object { place: node.place.clone(), entries })
    }

    /// The node of a field (absent and `null` are the same).
    pub fn node(&self, name: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| *node)
    }

    /// The place of a field's value, or of the object.
    pub fn place(&self, name: &str) -> Place {
        self.node(name).map_or_else(|| self.place.clone(), |node| node.place.clone())
    }

    /// Text of a field.
    pub fn text(&self, name: &str, faults: &mut Faults) -> Option<Text> {
        self.node(name).and_then(|node| text(node, faults))
    }

    /// A bool; the default when absent.
    pub fn bool(&self, name: &str, default: bool, faults: &mut Faults) -> bool {
        self.node(name).and_then(|node| boolean(node, faults)).unwrap_or(default)
    }

    /// A whole number within bounds.
    pub fn int(&self, name: &str, min: i64, max: i64, faults: &mut Faults) -> Option<i64> {
        self.node(name).and_then(|node| int(node, min, max, faults))
    }

    /// A duration.
    pub fn span(&self, name: &str, faults: &mut Faults) -> Option<Span> {
        self.node(name).and_then(|node| span(node, faults))
    }

    /// A clock time.
    pub fn clock(&self, name: &str, faults: &mut Faults) -> Option<NaiveTime> {
        self.node(name).and_then(|node| clock(node, faults))
    }

    /// One of the words.
    pub fn word(&self, name: &str, words: &'static [&'static str], faults: &mut Faults) -> Option<&'static str> {
        self.node(name).and_then(|node| word(node, words, faults))
    }

    /// One text or a list of texts; empty when absent.
    pub fn texts(&self, name: &str, faults: &mut Faults) -> Vec<Text> {
        self.node(name).map(|node| texts(node, faults)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
