//! What is kept of events that are no longer single, and the tally over both.

use super::{DISTINCT_MAX, decimal};
use crate::lang::cel::Measure;
use crate::lang::time::{Time, Zone, instant};
use crate::lang::value::{Fields, Value};
use crate::money::{Currency, Dec};
use chrono::{Datelike, NaiveDate, NaiveTime};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Longest distinct value kept, in characters; values that agree in these count as one.
const DISTINCT_CHARS_MAX: usize = 64;

/// Some events together.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Bucket {
    #[serde(rename = "n")]
    count: u64,
    /// Of amounts, in minor units, and how many events had one.
    #[serde(rename = "m", default, skip_serializing_if = "super::is_default")]
    money: (i64, u64),
    /// Of number properties, in millionths, and how many events had one.
    #[serde(rename = "s", default, skip_serializing_if = "BTreeMap::is_empty")]
    sums: BTreeMap<String, (i64, u64)>,
    /// The smallest distinct values of each property.
    #[serde(rename = "v", default, skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, BTreeSet<String>>,
}

impl Bucket {
    /// Totals of events and of their amounts.
    pub fn of(count: u64, money: (i64, u64)) -> Bucket {
        Bucket { count, money, ..Bucket::default() }
    }

    /// Takes an event in.
    pub fn take(&mut self, minor: Option<i64>, properties: &Fields) {
        self.count = self.count.saturating_add(1);
        if let Some(minor) = minor {
            self.money = plus(self.money, (minor, 1));
        }
        for (name, value) in properties {
            if let Some(number) = millionths(value) {
                let sum = self.sums.entry(name.clone()).or_default();
                *sum = plus(*sum, (number, 1));
            }
            if let Some(key) = distinct_key(value) {
                keep_smallest(self.values.entry(name.clone()).or_default(), key);
            }
        }
    }

    /// Takes another bucket in.
    pub fn add(&mut self, other: &Bucket) {
        self.count = self.count.saturating_add(other.count);
        self.money = plus(self.money, other.money);
        for (name, more) in &other.sums {
            let sum = self.sums.entry(name.clone()).or_default();
            *sum = plus(*sum, *more);
        }
        for (name, keys) in &other.values {
            let values = self.values.entry(name.clone()).or_default();
            keys.iter().for_each(|key| keep_smallest(values, key.clone()));
        }
    }
}

fn plus(a: (i64, u64), b: (i64, u64)) -> (i64, u64) {
    (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
}

/// Which ones are kept must not depend on the order in which they came.
fn keep_smallest(values: &mut BTreeSet<String>, key: String) {
    values.insert(key);
    if values.len() > DISTINCT_MAX {
        values.pop_last();
    }
}

/// The written form by which values are told apart; `None` for nothing, lists and maps.
fn distinct_key(value: &Value) -> Option<String> {
    let written = match value {
        Value::Null | Value::List(_) | Value::Map(_) => return None,
        // 1 and 1.0 are the same number.
        Value::Dec(dec) => decimal(*dec).to_json().to_string(),
        other => other.to_json().to_string(),
    };
    Some(written.chars().take(DISTINCT_CHARS_MAX).collect())
}

/// A number, also when it came as text.
fn millionths(value: &Value) -> Option<i64> {
    match value {
        Value::Text(text) => Dec::parse(text).ok(),
        other => other.as_dec(),
    }
    .map(|dec| dec.0)
}

/// The local day of an instant, in days since 0000-12-31.
pub(super) fn day(time: Time, zone: Zone) -> i32 {
    time.date(zone).num_days_from_ce()
}

/// The midnight at which a local day ends.
pub(super) fn end(day: i32, zone: Zone) -> Time {
    let next = NaiveDate::from_num_days_from_ce_opt(day.saturating_add(1)).unwrap_or(NaiveDate::MAX);
    instant(zone, next.and_time(NaiveTime::MIN))
}

/// Adds up what a question asks for.
pub(super) struct Tally<'q> {
    what: &'q Measure,
    currency: Currency,
    /// The property is the amount in minor units.
    money: bool,
    /// Events, or of sums and averages the events that have the property.
    count: u64,
    sum: i128,
    keys: BTreeSet<String>,
}

impl<'q> Tally<'q> {
    pub fn new(what: &'q Measure, currency: Currency, money: bool) -> Self {
        Tally { what, currency, money, count: 0, sum: 0, keys: BTreeSet::new() }
    }

    /// Counts a single event.
    pub fn single(&mut self, minor: Option<i64>, properties: &Fields) {
        let Some(name) = self.what.property() else {
            self.count = self.count.saturating_add(1);
            return;
        };
        if let Measure::Distinct(_) = self.what {
            let amount = minor.filter(|_| self.money).and_then(|minor| self.currency.major(minor)).map(decimal);
            self.keys.extend(amount.as_ref().or_else(|| properties.get(name)).and_then(distinct_key));
        } else if let Some(number) = if self.money { minor } else { properties.get(name).and_then(millionths) } {
            self.count = self.count.saturating_add(1);
            self.sum += i128::from(number);
        }
    }

    /// Takes a single event out again, where events or amounts are counted.
    pub fn without(&mut self, minor: Option<i64>) {
        if self.what.property().is_none() || minor.is_some() {
            self.count = self.count.saturating_sub(1);
            self.sum -= i128::from(minor.unwrap_or(0));
        }
    }

    /// Counts what is folded.
    pub fn bucket(&mut self, bucket: &Bucket) {
        let Some(name) = self.what.property() else {
            self.count = self.count.saturating_add(bucket.count);
            return;
        };
        if let Measure::Distinct(_) = self.what {
            self.keys.extend(bucket.values.get(name).into_iter().flatten().cloned());
            return;
        }
        let (sum, count) = if self.money { bucket.money } else { bucket.sums.get(name).copied().unwrap_or_default() };
        self.count = self.count.saturating_add(count);
        self.sum += i128::from(sum);
    }

    /// The answer.
    pub fn value(&self) -> Value {
        let whole = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        // Amounts are in minor units, other numbers in millionths already.
        let unit = if self.money { self.currency.major(1).map_or(1, |dec| i128::from(dec.0)) } else { 1 };
        let dec = |millionths: i128| i64::try_from(millionths).map_or(Value::Null, |n| decimal(Dec(n)));
        match self.what {
            Measure::Count => whole(self.count),
            Measure::Distinct(_) => whole(u64::try_from(self.keys.len()).unwrap_or(u64::MAX)),
            Measure::Sum(_) => dec(self.sum * unit),
            Measure::Average(_) if self.count == 0 => Value::Null,
            Measure::Average(_) => dec(self.sum * unit / i128::from(self.count)),
        }
    }
}
