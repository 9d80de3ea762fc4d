//! Odd customers and odd data: what conditions, templates and schedules are judged over.

use super::chance::Chance;
use super::{mutate, sample};
use autofunnel::customer::history::{History, Keep};
use autofunnel::event::Event;
use autofunnel::lang::cel::{Aggregate, Care, Scope};
use autofunnel::lang::time::{DAY_MS, Span, TIME_MAX, TIME_MIN, Time, Zone};
use autofunnel::lang::value::{Fields, Value};
use autofunnel::money::{Currency, Dec};
use std::collections::BTreeMap;

/// Names of fields, those of the sample and others.
#[rustfmt::skip]
pub const FIELD_NAMES: &[&str] = &[
    "name", "email", "tier", "balance", "pending", "birthday", "favourite_roast", "to_next_tier", "membership", "active",
    "ends", "started", "auto_renew", "consent", "sms", "amount", "items", "sku", "category", "quantity", "rating", "order_id",
    "segments", "nope", "id", "created",
];
/// Names of events.
pub const EVENTS: &[&str] =
    &["purchase", "refund", "review", "complaint_opened", "message_clicked", "offer_used", "signed_up", "tasting_booked", "nope"];
/// Zones with odd clocks: half an hour of summer time, a day skipped, changes at midnight.
pub const ZONES: &[Zone] = &[
    chrono_tz::UTC,
    chrono_tz::Europe::Berlin,
    chrono_tz::America::New_York,
    chrono_tz::Australia::Lord_Howe,
    chrono_tz::Pacific::Apia,
    chrono_tz::America::Sao_Paulo,
    chrono_tz::Asia::Kathmandu,
    chrono_tz::Africa::Casablanca,
    chrono_tz::Asia::Gaza,
    chrono_tz::America::Havana,
];

/// An instant: near a change of clocks, near now, or at the ends of what can be written.
pub fn odd_time(chance: &mut Chance) -> Time {
    match chance.below(8) {
        0 => TIME_MIN.plus_ms(chance.between(0, 400 * DAY_MS)),
        1 => TIME_MAX.plus_ms(chance.between(-400 * DAY_MS, 0)),
        2 => Time(chance.between(TIME_MIN.0, TIME_MAX.0)),
        // Around the last Sunday of March and of October 2027, where clocks change in Europe.
        3 => Time(1_806_195_600_000 + chance.between(-DAY_MS, DAY_MS)),
        4 => Time(1_824_944_400_000 + chance.between(-DAY_MS, DAY_MS)),
        _ => sample::NOW.plus_ms(chance.between(-800 * DAY_MS, 400 * DAY_MS)),
    }
}

/// Any data, nested a little.
pub fn odd_value(chance: &mut Chance, depth: usize) -> Value {
    match chance.below(if depth > 3 { 8 } else { 11 }) {
        0 => Value::Null,
        1 => Value::Bool(chance.one_in(2)),
        2 => Value::Int(*chance.item(&[0, 1, -1, 3, 100, i64::MAX, i64::MIN, 9_223_372_036_854, 86_400])),
        3 => Value::Dec(Dec(*chance.item(&[0, 1, -1, 500_000, 12_500_000, i64::MAX, i64::MIN]))),
        4 => Value::Time(odd_time(chance)),
        5 => Value::from(*chance.item(&["gold", "silver", "purchase", "1990-02-29", "2027-03-01", "12.50", "Europe/Berlin"])),
        6 | 7 => Value::from(mutate::trouble(chance)),
        8 => Value::List((0..chance.below(5)).map(|_| odd_value(chance, depth + 1)).collect()),
        9 if chance.one_in(6) => Value::List(vec![odd_value(chance, depth + 2); chance.below(60)]),
        _ => Value::Map((0..chance.below(5)).map(|_| (name(chance).to_owned(), odd_value(chance, depth + 1))).collect()),
    }
}

/// The name of a field.
pub fn name(chance: &mut Chance) -> &'static str {
    chance.pick(FIELD_NAMES)
}

/// A customer that conditions look at: her data is made up as it is asked for, the same each time.
pub struct Odd {
    seed: u64,
    now: Time,
    zone: Zone,
    history: BTreeMap<String, History>,
}

impl Odd {
    /// One of many.
    pub fn new(seed: u64) -> Odd {
        let mut chance = Chance::of("odd", 0, seed);
        let (now, zone) = (odd_time(&mut chance), *chance.item(ZONES));
        let mut history: BTreeMap<String, History> = BTreeMap::new();
        let names = FIELD_NAMES.iter().map(|name| (*name).to_owned()).collect();
        let keep = Keep { window: Some(Span::days(400)), properties: names, ..Keep::default() };
        for number in 0..chance.below(60) {
            let name = chance.pick(EVENTS).to_owned();
            let time = if chance.one_in(8) { odd_time(&mut chance) } else { now.plus_ms(chance.between(-500 * DAY_MS, 60_000)) };
            let properties: Fields =
                (0..chance.below(4)).map(|_| (self::name(&mut chance).to_owned(), odd_value(&mut chance, 1))).collect();
            let minor = (!chance.one_in(4)).then(|| if chance.one_in(10) { i64::MAX } else { chance.between(-5_000, 90_000) });
            let event = Event { id: format!("e{number}"), name: name.clone(), time, properties, minor, depth: 0 };
            history.entry(name).or_default().record(&event, &keep, now, zone);
        }
        if chance.one_in(3) {
            history.values_mut().for_each(|history| history.fold(5, zone));
        }
        Odd { seed, now, zone, history }
    }

    fn value(&self, path: &[String]) -> Option<Value> {
        let mut chance = Chance::of(&path.join("."), 1, self.seed);
        (!chance.one_in(4)).then(|| match path.last().map(String::as_str) {
            Some("ends" | "started" | "created" | "entered") => Value::Time(odd_time(&mut chance)),
            Some("balance" | "amount" | "to_next_tier" | "quantity") => Value::Int(chance.between(-5, 5_000)),
            _ => odd_value(&mut chance, 0),
        })
    }
}

impl Scope for Odd {
    fn now(&self) -> Time {
        self.now
    }

    fn zone(&self) -> Zone {
        self.zone
    }

    fn field(&self, path: &[String]) -> Option<Value> {
        self.value(path)
    }

    fn in_segment(&self, name: &str) -> bool {
        Chance::of(name, 2, self.seed).one_in(2)
    }

    fn first(&self, event: &str) -> Option<Time> {
        self.history.get(event).map(|history| history.first)
    }

    fn last(&self, event: &str) -> Option<Time> {
        self.history.get(event).map(|history| history.last)
    }

    fn aggregate(&self, query: &Aggregate, care: Care, keep: &mut dyn FnMut(&Fields) -> bool) -> (Value, Option<Time>) {
        let euro = Currency::parse("EUR").expect("it is a currency");
        match self.history.get(&query.event) {
            Some(history) => history.aggregate(self.now, self.zone, query, euro, (care, keep)),
            None => (Value::Int(0), None),
        }
    }
}
