//! What happened to a customer under one event name: single events, then day buckets, then totals.
//!
//! First, last, count and the money sum are kept for ever. Single events are kept for the longest window
//! that any definition asks for, with the properties that definitions read; the oldest of more than
//! [`SINGLES_MAX`] are folded into day buckets. Order of arrival does not matter: the same events in any
//! order give the same history.
//!
//! What is single is counted exactly in `(now − window, now]`. A bucket holds a local day's count, sums and
//! some distinct values; it counts as long as any instant of that day lies in the window, so it leaves at
//! local midnight. A filter cannot look into a bucket: a question with a filter takes none of what is
//! folded. An event that lies in the future (a sender's clock may run up to 5 minutes ahead) counts from
//! its own time on.
//!
//! The amount of a purchase or refund is kept once, in minor units; a filter reads it as `amount` in major
//! units of the workspace currency.

use crate::event::{Event, words};
use crate::lang::cel::flip::Moving;
use crate::lang::cel::{Aggregate, Care, Measure, Need};
use crate::lang::time::{DAY_MS, Span, Time, Zone};
use crate::lang::value::{Fields, Value};
use crate::money::{Currency, Dec};
use bucket::{Bucket, Tally};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

mod bucket;
#[cfg(test)]
mod tests;

/// Most single events kept per event name.
pub const SINGLES_MAX: usize = 200;
/// Most distinct values kept of one property of a bucket; more count as this many.
pub const DISTINCT_MAX: usize = 50;
/// Kept longer than the longest window: "1 month ago" can step back by three days at the end of a month, and
/// of windows in months and in days the longer one is told by the average month.
const KEEP_SLACK_DAYS: u32 = 7;
/// The property as which filters and sums read the amount in minor units.
const AMOUNT: &str = "amount";

/// What definitions ask to be kept of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keep {
    /// The longest window; `None`: totals only.
    pub window: Option<Span>,
    /// The properties to keep with each single event.
    pub properties: BTreeSet<String>,
    /// The properties whose sums and distinct values are asked for without a window; they are totalled from
    /// the event on with which a definition first asks.
    pub ever: BTreeSet<String>,
}

/// One event, with what is kept of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Single {
    #[serde(rename = "t")]
    time: Time,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    minor: Option<i64>,
    #[serde(rename = "p", default, skip_serializing_if = "Fields::is_empty")]
    properties: Fields,
}

/// The history of one event name.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// The earliest time.
    #[serde(rename = "f")]
    pub first: Time,
    /// The latest time.
    #[serde(rename = "l")]
    pub last: Time,
    /// How many ever.
    #[serde(rename = "n")]
    pub count: u64,
    /// Sum of the amounts ever, in minor units.
    #[serde(rename = "m", default, skip_serializing_if = "is_default")]
    pub minor: i64,
    /// How many events had no amount, for averages.
    #[serde(rename = "u", default, skip_serializing_if = "is_default")]
    unpriced: u64,
    /// Oldest first; events of one instant in the order of their contents.
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    singles: Vec<Single>,
    /// What was folded, by local day (days since 0000-12-31).
    #[serde(rename = "d", default, skip_serializing_if = "BTreeMap::is_empty")]
    days: BTreeMap<i32, Bucket>,
    /// Totals of properties asked for without a window.
    #[serde(rename = "e", default, skip_serializing_if = "is_default")]
    ever: Bucket,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Keep {
    /// Keeps also what a definition needs; needs of other events are none of this one's.
    pub fn add(&mut self, need: &Need) {
        let Some((months, days, ms)) = need.window else {
            self.ever.extend(need.properties.iter().cloned());
            return;
        };
        self.properties.extend(need.properties.iter().cloned());
        let window = Span { months, days, ms };
        if self.window.is_none_or(|known| length_ms(known) < length_ms(window)) {
            self.window = Some(window);
        }
    }
}

/// A span is longer than this in every calendar: no month is shorter than 28 days, no day by more than one.
fn shortest_ms(span: Span) -> i64 {
    let days = i64::from(span.months) * 28 + i64::from(span.days);
    days.saturating_sub(1).saturating_mul(DAY_MS).saturating_add(span.ms)
}

/// About how long a span is. The average month has 30.436875 days (146,097 days in 4,800 months).
fn length_ms(span: Span) -> i64 {
    let months = i64::from(span.months) * (DAY_MS * 146_097 / 4_800);
    months.saturating_add(i64::from(span.days) * DAY_MS).saturating_add(span.ms)
}

impl Single {
    /// By time, then by contents, so that arrival does not matter.
    fn order(&self, other: &Single) -> Ordering {
        self.time.cmp(&other.time).then_with(|| self.minor.cmp(&other.minor)).then_with(|| {
            // Values have no order of their own; their written form does.
            let written = |single: &Single| Value::Map(single.properties.clone()).to_json().to_string();
            if self.properties == other.properties { Ordering::Equal } else { written(self).cmp(&written(other)) }
        })
    }
}

/// The earliest instant that is kept singly or in buckets.
fn horizon(keep: &Keep, now: Time, zone: Zone) -> Option<Time> {
    keep.window.map(|window| now.minus(window, zone).minus(Span::days(KEEP_SLACK_DAYS), zone))
}

impl History {
    /// Takes an event in at its own time. What is older than the longest window enters the totals only.
    pub fn record(&mut self, event: &Event, keep: &Keep, now: Time, zone: Zone) {
        if self.count == 0 {
            (self.first, self.last) = (event.time, event.time);
        }
        self.first = self.first.min(event.time);
        self.last = self.last.max(event.time);
        self.count = self.count.saturating_add(1);
        match event.minor {
            Some(minor) => self.minor = self.minor.saturating_add(minor),
            None => self.unpriced = self.unpriced.saturating_add(1),
        }
        let of = |names: &BTreeSet<String>| -> Fields {
            let kept = names.iter().filter(|name| !is_money(&event.name, *name));
            kept.filter_map(|name| Some((name.clone(), event.properties.get(name)?.clone()))).collect()
        };
        if !keep.ever.is_empty() {
            self.ever.take(None, &of(&keep.ever));
        }
        if horizon(keep, now, zone).is_some_and(|horizon| event.time > horizon) {
            let single = Single { time: event.time, minor: event.minor, properties: of(&keep.properties) };
            let at = self.singles.partition_point(|other| other.order(&single) == Ordering::Less);
            self.singles.insert(at, single);
            self.fold(SINGLES_MAX, zone);
        }
    }

    /// Folds the oldest single events into day buckets until at most `most` are left.
    pub fn fold(&mut self, most: usize, zone: Zone) {
        let many = self.singles.len().saturating_sub(most);
        for single in self.singles.drain(..many) {
            self.days.entry(bucket::day(single.time, zone)).or_default().take(single.minor, &single.properties);
        }
    }

    /// Takes in another customer's history of the same event; `self` may be empty.
    pub fn merge(&mut self, other: &History, zone: Zone) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = other.clone();
            return;
        }
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count = self.count.saturating_add(other.count);
        self.minor = self.minor.saturating_add(other.minor);
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
        self.singles.extend(other.singles.iter().cloned());
        self.singles.sort_by(Single::order);
        for (day, bucket) in &other.days {
            self.days.entry(*day).or_default().add(bucket);
        }
        self.ever.add(&other.ever);
        self.fold(SINGLES_MAX, zone);
    }

    /// Answers a question; see [`crate::lang::cel::Scope::aggregate`]. Sums and averages are exact decimals;
    /// an average of nothing, and what cannot be held, is `Null`. `keep` is asked only if the query says
    /// that there is a filter.
    pub fn aggregate(
        &self,
        now: Time,
        zone: Zone,
        query: &Aggregate,
        currency: Currency,
        (care, keep): (Care, &mut dyn FnMut(&Fields) -> bool),
    ) -> (Value, Option<Time>) {
        let future = self.singles.partition_point(|single| single.time <= now);
        let mut until = self.singles.get(future).map(|single| single.time);
        let Some(window) = query.window else {
            return (self.total(&self.singles[future..], query, currency), until);
        };
        let moving = Moving::ago(window);
        let start = moving.at(now, zone);
        let first = self.singles.partition_point(|single| single.time <= start);
        let mut tally = Tally::new(&query.what, currency, is_money(&query.event, query.what.property()));
        let mut bounds: Vec<Time> = Vec::new();
        // A window start that steps back would take the last one that left in again.
        bounds.extend(first.checked_sub(1).and_then(|i| Some(self.singles.get(i)?.time)));
        // Of what is folded it is not known when each of it leaves.
        let least = care.least.filter(|_| query.what == Measure::Count && (self.days.is_empty() || query.filter.is_some()));
        let mut counted_at: Vec<Time> = Vec::new();
        for single in self.singles.get(first..future).unwrap_or_default() {
            let counted = match &query.filter {
                None => true,
                Some(reads) => keep(&single.readable(&query.event, reads, currency)),
            };
            if counted {
                if counted_at.is_empty() || least.is_some() {
                    counted_at.push(single.time);
                }
                tally.single(single.minor, &single.properties);
            }
        }
        // Only when this one has left is the count below the least that is cared for.
        let last = least.map_or(Some(0), |least| counted_at.len().checked_sub(usize::try_from(least).unwrap_or(usize::MAX)));
        bounds.extend(last.and_then(|last| counted_at.get(last).copied()));
        if query.filter.is_none() {
            self.folded(start, zone, &mut tally, &mut bounds);
        }
        for bound in bounds {
            let earliest = [until, care.before].into_iter().flatten().min();
            let flip = moving.flip_before(now, zone, bound, earliest);
            until = [until, flip].into_iter().flatten().min();
        }
        (tally.value(), until)
    }

    /// An instant that is not later than the oldest of what is kept singly or in buckets; `None`: there is nothing.
    fn oldest(&self) -> Option<Time> {
        let single = self.singles.first().map(|single| single.time);
        let day = self.days.keys().next().map(|_| self.first);
        single.into_iter().chain(day).min()
    }

    /// Counts the days that end after `start`, and adds the midnights at which one leaves or comes back.
    fn folded(&self, start: Time, zone: Zone, tally: &mut Tally<'_>, bounds: &mut Vec<Time>) {
        let (mut left, mut inside) = (None, false);
        for (day, bucket) in &self.days {
            if !inside {
                let end = bucket::end(*day, zone);
                inside = end > start;
                if inside {
                    bounds.push(end);
                } else {
                    left = Some(end);
                    continue;
                }
            }
            tally.bucket(bucket);
        }
        bounds.extend(left);
    }

    /// The answer without a window; `future` is not yet counted.
    fn total(&self, future: &[Single], query: &Aggregate, currency: Currency) -> Value {
        let money = is_money(&query.event, query.what.property());
        let totals = match query.what {
            Measure::Count => Bucket::of(self.count, (0, 0)),
            _ if money => Bucket::of(self.count, (self.minor, self.count.saturating_sub(self.unpriced))),
            _ => self.ever.clone(),
        };
        let mut tally = Tally::new(&query.what, currency, money);
        tally.bucket(&totals);
        // Totals of other properties are not taken apart again: those few minutes are not worth the memory.
        if money || query.what == Measure::Count {
            future.iter().for_each(|single| tally.without(single.minor));
        }
        tally.value()
    }

    /// Drops what has left the longest window.
    pub fn prune(&mut self, keep: &Keep, now: Time, zone: Zone) {
        let Some(oldest) = self.oldest() else { return };
        // As old as that nothing can be: no look at the calendar is needed.
        if keep.window.is_some_and(|window| oldest.since_ms(now) > -shortest_ms(window)) {
            return;
        }
        let Some(horizon) = horizon(keep, now, zone) else {
            self.singles.clear();
            self.days.clear();
            return;
        };
        let gone = self.singles.partition_point(|single| single.time <= horizon);
        self.singles.drain(..gone);
        self.days.retain(|day, _| bucket::end(*day, zone) > horizon);
    }
}

impl Single {
    /// The properties as a filter reads them.
    fn readable<'s>(&'s self, event: &str, reads: &[String], currency: Currency) -> std::borrow::Cow<'s, Fields> {
        let amount = self.minor.and_then(|minor| currency.major(minor));
        match amount {
            Some(amount) if reads.iter().any(|name| is_money(event, name)) => {
                let mut fields = self.properties.clone();
                fields.insert(AMOUNT.to_owned(), decimal(amount));
                std::borrow::Cow::Owned(fields)
            }
            _ => std::borrow::Cow::Borrowed(&self.properties),
        }
    }
}

/// Whether this property is the amount that is kept in minor units.
fn is_money<'n>(event: &str, property: impl Into<Option<&'n String>>) -> bool {
    property.into().is_some_and(|name| name == AMOUNT) && words::money_sign(event).is_some()
}

/// Whole where it is whole, as numbers are everywhere.
fn decimal(dec: Dec) -> Value {
    dec.as_int().map_or(Value::Dec(dec), Value::Int)
}
