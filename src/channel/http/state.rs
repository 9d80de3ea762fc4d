//! What a loyalty store's word for a grant means.

use super::build::{pointer, statuses};
use super::{Object, STATE};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape;
use crate::lang::value::Value;
use std::ops::RangeInclusive;

/// What became of a grant, by the store's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// Booked and spendable.
    Active,
    /// Booked, and to be spendable later.
    Pending,
    /// Not booked, because the programme is blocked: to be asked for again.
    Parked,
    /// Not booked, and never to be.
    Refused,
}

/// All words by their names in the settings and in `steps.<id>.result`.
const WORDS: [(&str, Word); 4] =
    [("active", Word::Active), ("pending", Word::Pending), ("parked", Word::Parked), ("refused", Word::Refused)];

/// What an answer without a word can mean.
pub(super) const MISSING: [&str; 2] = ["active", "pending"];

impl Word {
    /// Its name.
    pub fn name(self) -> &'static str {
        WORDS.iter().find(|(_, word)| *word == self).map_or("", |(name, _)| name)
    }
}

/// How a store's word is read.
pub(super) struct State {
    /// JSON pointer to it.
    field: Option<String>,
    /// The store's own words.
    own: Vec<(Value, Word)>,
    /// Statuses that mean *parked* by themselves.
    parked_status: Vec<RangeInclusive<u16>>,
    /// What an answer means that says yes and has no word.
    missing: Option<Word>,
}

impl State {
    /// Reads `state` of a provider.
    pub fn compile(node: &Node, faults: &mut Faults) -> Option<State> {
        let object = Object::read(node, &[STATE], "`state`", faults)?;
        let field = object.text("field", faults).map(|text| pointer(&text.text));
        let parked_status = object.node("parked_status").and_then(|node| statuses(node, faults)).unwrap_or_default();
        if field.is_none() && parked_status.is_empty() {
            faults
                .error("bad-state", &object.place, "`state` needs `field`, the place of the store's word, or `parked_status`")
                .hint("write for example `state: { field: /state, parked: [blocked] }`");
            return None;
        }
        let mut own: Vec<(Value, Word)> = Vec::new();
        for (name, word) in WORDS {
            let Some(node) = object.node(name) else { continue };
            for item in node.list().unwrap_or(std::slice::from_ref(node)) {
                let Some(value) = shape::data(item, faults) else { continue };
                if own.iter().any(|(known, _)| known.same(&value)) {
                    faults.error("bad-state", &item.place, format!("{value} stands for two things"));
                }
                own.push((value, word));
            }
        }
        let missing = object.word("missing", &MISSING, faults);
        let missing = WORDS.iter().find(|(name, _)| Some(*name) == missing).map(|(_, word)| *word);
        if let (None, Some(node)) = (&field, object.node("missing")) {
            faults.error("bad-state", &node.place, "`missing` needs `field`: the place where the word is missing");
        }
        Some(State { field, own, parked_status, missing })
    }

    /// Where the store's word stands.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Where a word must stand for a yes to be believed: everywhere, unless it is said what an answer without one means.
    pub fn must_stand_at(&self) -> Option<&str> {
        self.field.as_deref().filter(|_| self.missing.is_none())
    }

    /// What a yes without a word means, where that is said.
    pub fn missing(&self) -> Option<Word> {
        self.missing
    }

    /// What an answer says; `None`: nothing that is known here. One of our own four words means itself where it is
    /// not said to mean something else.
    pub fn word<'j>(&self, status: u16, at: impl Fn(&str) -> Option<&'j serde_json::Value>) -> Option<Word> {
        if self.parked_status.iter().any(|range| range.contains(&status)) {
            return Some(Word::Parked);
        }
        let found = self.field.as_deref().and_then(at).and_then(|json| Value::from_json(json).ok())?;
        let own = self.own.iter().find(|(value, _)| value.same(&found)).map(|(_, word)| *word);
        let plain = || WORDS.iter().find(|(name, _)| found.as_text() == Some(name)).map(|(_, word)| *word);
        own.or_else(plain)
    }
}
