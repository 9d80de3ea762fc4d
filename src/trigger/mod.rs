//! Triggers: why a run starts. One file per kind; [`KINDS`] is the registry.
//!
//! A trigger is written as one word (`trigger: purchase`) or as a map with the kind's key and its options
//! (`trigger: { renewal_due: 30 days before, at: "09:00" }`). A trigger decides nothing about entering:
//! it says *that* and under which key; keys keep occasions apart, so that the same occasion never starts
//! two runs.

use crate::customer::Customer;
use crate::event::Event;
use crate::lang::cel::{Cond, Scope, Type};
use crate::lang::diag::Faults;
use crate::lang::node::{Key, Node, NodeKind};
use crate::lang::phrase::Offset;
use crate::lang::shape::{Field, Object};
use crate::lang::time::{HOUR_MS, Time, Zone};
use crate::watch::{Flip, WatchNames};
use chrono::NaiveTime;
use std::fmt::Debug;

pub mod birthday;
pub mod date;
pub mod event;
pub mod expiry;
pub mod inactive;
pub mod manual;
pub mod milestone;
pub mod purchase;
pub mod renewal;
pub mod schedule;
pub mod segment;
pub mod tier;

/// The local clock time of date triggers that name none.
pub const MORNING: NaiveTime = match NaiveTime::from_hms_opt(9, 0, 0) {
    Some(nine) => nine,
    None => NaiveTime::MIN,
};
/// An event older than this when it arrives is history only, unless its trigger says otherwise (`late`).
pub const LATE_MS: i64 = 72 * HOUR_MS;

/// A kind of trigger.
pub struct TriggerKind {
    /// Its key in YAML.
    pub name: &'static str,
    /// One sentence for the reference.
    pub doc: &'static str,
    /// An example for help and the schema.
    pub example: &'static str,
    /// Its fields, the key itself among them.
    pub fields: &'static [Field],
    /// May be written as a word alone.
    pub bare: bool,
    /// From YAML to a checked trigger.
    pub compile: fn(&Object<'_>, &TriggerNames<'_>, &mut Faults) -> Option<Box<dyn Trigger>>,
}

/// What a trigger is checked against.
pub struct TriggerNames<'a> {
    /// Events, segments, conditions.
    pub names: &'a dyn WatchNames,
    /// The workspace's zone.
    pub zone: Zone,
    /// Profile fields with their types (built-in ones included).
    pub profile: &'a dyn Fn(&str) -> Option<Type>,
    /// Profile fields of type date or time, for "did you mean".
    pub date_fields: Vec<String>,
    /// Memberships in the catalog.
    pub memberships: Vec<String>,
    /// Tiers in the catalog, lowest first.
    pub tiers: Vec<String>,
    /// The currency's conversion of a spend threshold to minor units is not needed here: thresholds are
    /// compared as decimals in major units.
    pub currency: crate::money::Currency,
}

/// What a trigger looks at when it is asked.
pub struct TriggerCx<'a> {
    /// The instant.
    pub now: Time,
    /// The customer's zone.
    pub zone: Zone,
    /// The workspace's zone.
    pub workspace_zone: Zone,
    /// The customer, history included.
    pub customer: &'a Customer,
    /// Conditions are judged against this; with the event looked at as `event`, where there is one.
    pub scope: &'a dyn Scope,
    /// Highest threshold reached before, in millionths ([`Customer::marks`]).
    pub mark: i64,
}

/// A trigger fires.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// Keeps occasions apart: `purchase:<id>`, `birthday:2027`, `renewal:roastery-club:2027-01-10` …
    pub key: String,
    /// The instant that it stands for: the event's time, the birthday, the renewal date itself.
    pub anchor: Time,
    /// The new high-water mark of a milestone.
    pub mark: Option<i64>,
    /// Readable as `event.<name>` where no event started the run (threshold, date …).
    pub properties: crate::lang::value::Fields,
}

/// The next occurrence of a time trigger.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// When it is due.
    pub at: Time,
    /// What then fires.
    pub firing: Firing,
    /// Too late after this instant (a schedule's grace); `None`: never too late.
    pub expires: Option<Time>,
}

/// What can make a trigger fire; the index of a workspace is made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Events of these names.
    Events(Vec<String>),
    /// Changes of this segment.
    Segment(String),
    /// Time: [`Trigger::next`].
    Time,
    /// Any change of points.
    Points,
    /// Only a request.
    Manual,
}

/// How often a trigger lets a customer in when its funnel does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultReEntry {
    /// Once.
    Never,
    /// The firing's key keeps occasions apart.
    PerKey,
}

/// A checked trigger.
pub trait Trigger: Debug + Send + Sync {
    /// What can make it fire.
    fn interest(&self) -> Interest;
    /// How often, by default.
    fn default_re_entry(&self) -> DefaultReEntry;
    /// Firings caused by an event (already in the history); empty when it is not for this trigger. A
    /// milestone may cross several thresholds at once: one firing each, lowest first.
    fn on_event(&self, _cx: &TriggerCx<'_>, _event: &Event) -> Vec<Firing> {
        Vec::new()
    }
    /// Firings caused by a change of points (interest [`Interest::Points`]).
    fn on_points(&self, _cx: &TriggerCx<'_>) -> Vec<Firing> {
        Vec::new()
    }
    /// Whether a change of segments fires it.
    fn on_flip(&self, _cx: &TriggerCx<'_>, _flip: Flip<'_>) -> Option<Firing> {
        None
    }
    /// The first occurrence strictly after `after`, as things stand now.
    fn next(&self, _cx: &TriggerCx<'_>, _after: Time) -> Option<Occurrence> {
        None
    }
    /// The instant of [`Trigger::next`] alone: every turn asks for it, and nearly always it lies ahead.
    fn next_at(&self, cx: &TriggerCx<'_>, after: Time) -> Option<Time> {
        self.next(cx, after).map(|occurrence| occurrence.at)
    }
    /// The mark with which a customer starts who is seen for the first time under this definition.
    fn first_mark(&self, _cx: &TriggerCx<'_>) -> Option<i64> {
        None
    }
    /// The occurrence that is under way now: due at or before `now`, with the date that it counts towards
    /// still to come. A customer who arrives in the middle of a series (her membership, birthday or date
    /// became known or moved just now) joins by it; steps whose time is past are then not done late.
    fn under_way(&self, _cx: &TriggerCx<'_>) -> Option<Occurrence> {
        None
    }
    /// Whether a run under way keeps another occasion out: its waits follow the date when it moves.
    fn follows_date(&self) -> bool {
        false
    }
    /// Days that must lie between two entries whatever their keys say: a birthday that is changed after it
    /// was celebrated gives no second one.
    fn days_between(&self) -> Option<u32> {
        None
    }
    /// An event that is older than this when it arrives, in milliseconds, is history only; `None`: this
    /// trigger is not about the arrival of an event.
    fn lateness_ms(&self) -> Option<i64> {
        None
    }
    /// The clock time that later date steps take over when they name none.
    fn clock(&self) -> Option<NaiveTime> {
        None
    }
    /// The type of `event` in the funnel's conditions, by event name; `None`: there is none.
    fn event_name(&self) -> Option<String> {
        None
    }
    /// Properties of `event` for triggers that no event starts ([`Firing::properties`]).
    fn properties(&self) -> Vec<(String, Type)> {
        Vec::new()
    }
    /// Conditions inside, for what must be kept in the history.
    fn conditions(&self) -> Vec<&Cond> {
        Vec::new()
    }
    /// Events and windows it counts itself (milestones).
    fn needs(&self) -> Vec<crate::lang::cel::Need> {
        Vec::new()
    }
    /// In words: "30 days before renewal, at 09:00".
    fn sentence(&self) -> String;
}

/// Every kind of trigger there is.
pub const KINDS: &[&TriggerKind] = &[
    &event::KIND,
    &purchase::KIND,
    &segment::ENTERED,
    &segment::LEFT,
    &renewal::KIND,
    &milestone::KIND,
    &birthday::KIND,
    &date::KIND,
    &inactive::KIND,
    &expiry::KIND,
    &tier::KIND,
    &schedule::KIND,
    &manual::KIND,
];

/// Reads a trigger: a word alone (a bare kind or an event's name), or a map with exactly one kind's key.
pub fn compile(node: &Node, names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    if let Some(word) = node.scalar() {
        return bare(word, node, names, faults);
    }
    let Some(entries) = node.map() else {
        faults
            .error("trigger-kind", &node.place, "a trigger is one word or a map such as `{ birthday: on the day }`")
            .did_you_mean("", KINDS.iter().map(|kind| kind.name));
        return None;
    };
    let kinds: Vec<&&TriggerKind> = KINDS.iter().filter(|kind| entries.iter().any(|(key, _)| key.text == kind.name)).collect();
    match kinds[..] {
        [kind] => {
            let object = Object::read(node, &[kind.fields], &format!("the trigger `{}`", kind.name), faults)?;
            (kind.compile)(&object, names, faults)
        }
        [] => {
            let (place, typed) = entries.first().map_or((&node.place, ""), |(key, _)| (&key.place, key.text.as_str()));
            faults
                .error("trigger-kind", place, "this trigger names no kind of trigger")
                .did_you_mean(typed, KINDS.iter().map(|kind| kind.name));
            None
        }
        [first, second, ..] => {
            faults
                .error(
                    "trigger-kind",
                    &node.place,
                    format!("a trigger has one kind; this one has `{}` and `{}`", first.name, second.name),
                )
                .hint("write one funnel per trigger");
            None
        }
    }
}

/// A trigger written as one word.
fn bare(word: &str, node: &Node, names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let kind = KINDS.iter().find(|kind| kind.name == word);
    if let Some(kind) = kind.filter(|kind| !kind.bare) {
        faults
            .error("trigger-kind", &node.place, format!("the trigger `{word}` needs a value"))
            .hint(format!("for example `trigger: {}`", kind.example));
        return None;
    }
    if node.is_null() {
        faults.error("trigger-kind", &node.place, "the trigger is empty").did_you_mean("", KINDS.iter().map(|kind| kind.name));
        return None;
    }
    // A word alone is short for the map that says the same; any other word is the name of an event.
    let (kind, value) = match kind {
        Some(kind) => (*kind, if [purchase::KIND.name, tier::KIND.name].contains(&kind.name) { "any" } else { "true" }),
        None => (&event::KIND, word),
    };
    let key = Key { text: kind.name.to_owned(), place: node.place.clone() };
    let value = Node { place: node.place.clone(), kind: NodeKind::Scalar { text: value.to_owned(), plain: value != word } };
    let map = Node { place: node.place.clone(), kind: NodeKind::Map(vec![(key, value)]) };
    let object = Object::read(&map, &[kind.fields], &format!("the trigger `{}`", kind.name), faults)?;
    (kind.compile)(&object, names, faults)
}

/// Reads `30 days before`, `on the day` …
fn offset(object: &Object<'_>, field: &str, faults: &mut Faults) -> Option<Offset> {
    let text = object.text(field, faults)?;
    match Offset::parse(&text.text) {
        Ok(offset) => Some(offset),
        Err(why) => {
            faults.error("bad-offset", &text.place, why);
            None
        }
    }
}

/// A filter over the event of that name, if `where` is written. `Err` when it is faulty.
fn filter(object: &Object<'_>, event: &str, names: &TriggerNames<'_>, faults: &mut Faults) -> Result<Option<Cond>, ()> {
    match object.node("where") {
        None => Ok(None),
        Some(node) => Cond::from_node(node, &*names.names.with_event(event), faults).map(Some).ok_or(()),
    }
}

/// A span as elapsed milliseconds, a day taken as 24 hours and months as those of 1970.
fn elapsed_ms(span: crate::lang::time::Span) -> i64 {
    Time(0).plus(span, chrono_tz::UTC).0
}

#[cfg(test)]
mod tests;
