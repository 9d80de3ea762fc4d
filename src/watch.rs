//! Watches: what a run looks out for while it goes on. `exit_on`, `goal` and `wait_for` are made of them.

use crate::event::Event;
use crate::lang::cel::{Cond, Schema, Scope, Verdict};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{self, Field, Object, Shape};

/// Something to look out for.
#[derive(Clone, Debug, PartialEq)]
pub enum Watch {
    /// An event, perhaps only one of which a condition over `event` holds.
    Event {
        /// Its name.
        name: String,
        /// Judged with `event` being the event looked at.
        filter: Option<Cond>,
    },
    /// She enters a segment.
    SegmentEntered(String),
    /// She leaves a segment.
    SegmentLeft(String),
    /// A condition becomes true.
    Condition(Cond),
}

/// Fields of a watch that is written as a map.
pub const FIELDS: &[Field] = &fields();

/// The fields one by one, for tables that have more.
pub const fn fields() -> [Field; 5] {
    [
        Field::optional("event", Shape::Name("event"), "the event to look out for"),
        Field::optional("where", Shape::Condition, "a condition over `event` that must hold"),
        Field::optional("segment_entered", Shape::Name("segment"), "the moment she enters this segment"),
        Field::optional("segment_left", Shape::Name("segment"), "the moment she leaves this segment"),
        Field::optional("condition", Shape::Condition, "the moment this condition becomes true"),
    ]
}

/// A change of segments, seen by watches and triggers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Flip<'a> {
    /// The segment.
    pub segment: &'a str,
    /// Entered or left.
    pub entered: bool,
}

impl Watch {
    /// Reads an event's name or a map with [`FIELDS`]. `schema_for` gives the names that a `where` may use
    /// for an event.
    pub fn compile(node: &Node, names: &dyn WatchNames, faults: &mut Faults) -> Option<Watch> {
        if node.map().is_none() {
            let name = shape::text(node, faults)?;
            names.know_event(&name, faults);
            return Some(Watch::Event { name: name.text, filter: None });
        }
        let object = Object::read(node, &[FIELDS], "what to look out for", faults)?;
        let kinds: Vec<&str> =
            ["event", "segment_entered", "segment_left", "condition"].into_iter().filter(|k| object.node(k).is_some()).collect();
        let [kind] = kinds[..] else {
            faults
                .error(
                    "watch-kind",
                    &node.place,
                    "name exactly one of `event`, `segment_entered`, `segment_left` and `condition`",
                )
                .hint("for example `{ event: purchase, where: event.amount > 10 }`");
            return None;
        };
        if kind != "event" && object.node("where").is_some() {
            faults.error("watch-where", &object.place("where"), "`where` goes with `event` only");
        }
        match kind {
            "event" => {
                let name = object.text("event", faults)?;
                names.know_event(&name, faults);
                let filter = match object.node("where") {
                    None => None,
                    Some(node) => Some(Cond::from_node(node, &*names.with_event(&name.text), faults)?),
                };
                Some(Watch::Event { name: name.text, filter })
            }
            "condition" => Cond::from_node(object.node("condition")?, &*names.without_event(), faults).map(Watch::Condition),
            _ => {
                let segment = object.text(kind, faults)?;
                names.know_segment(&segment, faults);
                Some(if kind == "segment_entered" {
                    Watch::SegmentEntered(segment.text)
                } else {
                    Watch::SegmentLeft(segment.text)
                })
            }
        }
    }

    /// Whether an event is what is looked out for; `scope` has it as `event`.
    pub fn sees_event(&self, event: &Event, scope: &dyn Scope) -> Option<Verdict> {
        match self {
            Watch::Event { name, filter } if *name == event.name => {
                let verdict = match filter {
                    Some(filter) => filter.judge(scope),
                    None => Verdict { value: Some(true), until: None, seen: Vec::new(), missing: None },
                };
                (verdict.value == Some(true)).then_some(verdict)
            }
            _ => None,
        }
    }

    /// Whether a change of segments is what is looked out for.
    pub fn sees_flip(&self, flip: Flip<'_>) -> bool {
        match self {
            Watch::SegmentEntered(segment) => flip.entered && segment == flip.segment,
            Watch::SegmentLeft(segment) => !flip.entered && segment == flip.segment,
            _ => false,
        }
    }

    /// In words, for timelines and diagrams.
    pub fn sentence(&self) -> String {
        match self {
            Watch::Event { name, filter: None } => name.clone(),
            Watch::Event { name, filter: Some(filter) } => format!("{name} where {}", filter.text.text),
            Watch::SegmentEntered(segment) => format!("enters segment {segment}"),
            Watch::SegmentLeft(segment) => format!("leaves segment {segment}"),
            Watch::Condition(cond) => cond.text.text.clone(),
        }
    }

    /// The conditions inside, for what they need to be kept.
    pub fn conditions(&self) -> Vec<&Cond> {
        match self {
            Watch::Event { filter, .. } => filter.iter().collect(),
            Watch::Condition(cond) => vec![cond],
            _ => Vec::new(),
        }
    }
}

/// The names that watches, triggers and steps are checked against.
pub trait WatchNames {
    /// Names with `event` being an event of that name.
    fn with_event<'a>(&'a self, event: &str) -> Box<dyn Schema + 'a>;
    /// Names where there is no `event` of its own (in a run: the event that started it).
    fn without_event<'a>(&'a self) -> Box<dyn Schema + 'a>;
    /// Reports an event name that is malformed, and warns of one that nobody has mentioned.
    fn know_event(&self, name: &crate::lang::cel::Text, faults: &mut Faults);
    /// Reports a segment that does not exist.
    fn know_segment(&self, name: &crate::lang::cel::Text, faults: &mut Faults);
}
