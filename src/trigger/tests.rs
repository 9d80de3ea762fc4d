//! Each kind of trigger: when it fires, when it does not, and what is refused.

use super::*;
use crate::customer::history::Keep;
use crate::lang::cel::{Aggregate, Care, Schema, Text};
use crate::lang::node;
use crate::lang::time::{instant, parse_date};
use crate::lang::value::{Fields, Value};
use crate::money::{Currency, Dec};

mod dates;

/// Names of a small workspace: any event, one segment.
struct Known;

impl Schema for Known {
    fn root(&self, name: &str) -> Option<Type> {
        matches!(name, "customer" | "event").then_some(Type::Any)
    }
    fn roots(&self) -> Vec<String> {
        vec!["customer".to_owned(), "event".to_owned()]
    }
    fn segments(&self) -> Vec<String> {
        vec!["vip".to_owned()]
    }
    fn event(&self, _name: &str) -> Option<Type> {
        Some(Type::Any)
    }
    fn events(&self) -> Vec<String> {
        Vec::new()
    }
}

impl WatchNames for Known {
    fn with_event<'a>(&'a self, _event: &str) -> Box<dyn Schema + 'a> {
        Box::new(Known)
    }
    fn without_event<'a>(&'a self) -> Box<dyn Schema + 'a> {
        Box::new(Known)
    }
    fn know_event(&self, _name: &Text, _faults: &mut Faults) {}
    fn know_segment(&self, name: &Text, faults: &mut Faults) {
        if name.text != "vip" {
            faults.error("unknown-segment", &name.place, "there is no such segment");
        }
    }
}

fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

fn read(yaml: &str) -> (Option<Box<dyn Trigger>>, Faults) {
    let mut faults = Faults::default();
    let node = node::parse("f.yaml", yaml, &mut faults).unwrap();
    let profile = |name: &str| match name {
        "birthday" | "name" => Some(Type::Text),
        "trial_ends" => Some(Type::Time),
        _ => None,
    };
    let names = TriggerNames {
        names: &Known,
        zone: BERLIN,
        profile: &profile,
        date_fields: vec!["birthday".to_owned(), "trial_ends".to_owned()],
        memberships: vec!["club".to_owned()],
        tiers: vec!["silver".to_owned(), "gold".to_owned()],
        currency: eur(),
    };
    let trigger = compile(&node, &names, &mut faults);
    (trigger, faults)
}

fn trigger(yaml: &str) -> Box<dyn Trigger> {
    let (trigger, faults) = read(yaml);
    assert!(faults.list().is_empty(), "{yaml}: {:?}", faults.list());
    trigger.unwrap()
}

const BERLIN: Zone = chrono_tz::Europe::Berlin;
const NEW_YORK: Zone = chrono_tz::America::New_York;

fn at(text: &str) -> Time {
    Time::parse(text).unwrap_or_else(|| {
        let (date, clock) = text.split_once(' ').unwrap();
        instant(BERLIN, parse_date(date).unwrap().and_time(crate::lang::time::parse_clock(clock).unwrap()))
    })
}

/// A customer at an instant in a zone.
struct World {
    customer: Customer,
    now: Time,
    zone: Zone,
    event: Option<Event>,
    mark: i64,
}

impl World {
    fn new(now: &str) -> World {
        let now = at(now);
        World { customer: Customer::new("c-1", now), now, zone: BERLIN, event: None, mark: 0 }
    }

    fn ask<T>(&self, ask: impl FnOnce(&TriggerCx<'_>) -> T) -> T {
        ask(&TriggerCx {
            now: self.now,
            zone: self.zone,
            workspace_zone: BERLIN,
            customer: &self.customer,
            scope: self,
            mark: self.mark,
        })
    }

    /// Takes an event in and asks the trigger about it.
    fn happens(&mut self, trigger: &dyn Trigger, event: Event) -> Vec<Firing> {
        let history = self.customer.history.entry(event.name.clone()).or_default();
        let keep = Keep { window: Some(crate::lang::time::Span::days(400)), ..Keep::default() };
        history.record(&event, &keep, self.now, self.zone);
        self.event = Some(event.clone());
        let firings = self.ask(|cx| trigger.on_event(cx, &event));
        for firing in &firings {
            self.mark = firing.mark.unwrap_or(self.mark);
        }
        firings
    }

    /// When it fires next after an instant, as the keys and the times on the clock in Berlin.
    fn next(&self, trigger: &dyn Trigger, after: &str) -> Option<(String, String)> {
        let occurrence = self.ask(|cx| trigger.next(cx, at(after)))?;
        assert!(occurrence.at > at(after));
        Some((occurrence.at.local(BERLIN).format("%Y-%m-%d %H:%M").to_string(), occurrence.firing.key))
    }

    fn set(&mut self, field: &str, value: &str) {
        self.customer.profile.insert(field.to_owned(), Value::from(value));
    }
}

impl Scope for World {
    fn now(&self) -> Time {
        self.now
    }
    fn zone(&self) -> Zone {
        self.zone
    }
    fn field(&self, path: &[String]) -> Option<Value> {
        match path {
            [root, name] if root == "event" => self.event.as_ref()?.properties.get(name).cloned(),
            _ => None,
        }
    }
    fn in_segment(&self, name: &str) -> bool {
        self.customer.segments.contains_key(name)
    }
    fn first(&self, event: &str) -> Option<Time> {
        self.customer.history.get(event).map(|history| history.first)
    }
    fn last(&self, event: &str) -> Option<Time> {
        self.customer.history.get(event).map(|history| history.last)
    }
    fn aggregate(&self, query: &Aggregate, care: Care, keep: &mut dyn FnMut(&Fields) -> bool) -> (Value, Option<Time>) {
        match self.customer.history.get(&query.event) {
            Some(history) => history.aggregate(self.now, self.zone, query, eur(), (care, keep)),
            None => (Value::Int(0), None),
        }
    }
}

fn event(id: &str, name: &str, time: &str) -> Event {
    Event { id: id.to_owned(), name: name.to_owned(), time: at(time), properties: Fields::new(), minor: None, depth: 0 }
}

fn purchase(id: &str, time: &str, amount: i64) -> Event {
    let properties = Fields::from([("amount".to_owned(), Value::Int(amount))]);
    Event { properties, minor: Some(amount * 100), ..event(id, "purchase", time) }
}

fn some(at: &str, key: &str) -> Option<(String, String)> {
    Some((at.to_owned(), key.to_owned()))
}

fn keys(firings: &[Firing]) -> Vec<&str> {
    firings.iter().map(|firing| firing.key.as_str()).collect()
}

#[test]
fn an_event_fires_under_its_own_id_and_only_if_its_filter_holds() {
    let trigger = trigger("{ event: signed_up, where: event.source == \"shop\", late: 1 day }");
    let mut world = World::new("2027-03-01 10:00");
    let mut shop = event("e-1", "signed_up", "2027-03-01 09:00");
    shop.properties.insert("source".to_owned(), Value::from("shop"));
    let firings = world.happens(&*trigger, shop.clone());
    assert_eq!(keys(&firings), ["event:e-1"]);
    assert_eq!(firings[0].anchor, at("2027-03-01 09:00"));
    shop.properties.insert("source".to_owned(), Value::from("fair"));
    assert!(world.happens(&*trigger, shop).is_empty());
    // A property that is missing makes the filter unknown, and unknown is never a firing.
    assert!(world.happens(&*trigger, event("e-3", "signed_up", "2027-03-01 09:00")).is_empty());
    assert!(world.happens(&*trigger, event("e-4", "purchase", "2027-03-01 09:00")).is_empty());
    assert_eq!(trigger.lateness_ms(), Some(24 * HOUR_MS));
}

#[test]
fn a_word_alone_is_a_kind_or_the_name_of_an_event() {
    assert_eq!(trigger("purchase").interest(), Interest::Events(vec!["purchase".to_owned()]));
    assert_eq!(trigger("tasting_booked").event_name().as_deref(), Some("tasting_booked"));
    assert_eq!(trigger("tasting_booked").lateness_ms(), Some(72 * HOUR_MS));
    assert_eq!(trigger("manual").interest(), Interest::Manual);
}

#[test]
fn only_the_first_purchase_ever_is_the_first() {
    let trigger = trigger("{ purchase: first }");
    let mut world = World::new("2027-03-01 10:00");
    assert_eq!(keys(&world.happens(&*trigger, purchase("e-1", "2027-03-01 10:00", 20))), ["event:e-1"]);
    assert!(world.happens(&*trigger, purchase("e-2", "2027-03-01 10:00", 20)).is_empty());
}

#[test]
fn a_segment_fires_on_the_flip_that_it_is_about() {
    let (entered, left) = (trigger("{ segment_entered: vip }"), trigger("{ segment_left: vip }"));
    let mut world = World::new("2027-03-01 10:00");
    world.customer.segments.insert("vip".to_owned(), at("2027-03-01 09:59"));
    let enters = Flip { segment: "vip", entered: true };
    let firing = world.ask(|cx| entered.on_flip(cx, enters)).unwrap();
    assert_eq!(firing.key, format!("segment:vip:{}", at("2027-03-01 09:59").0));
    assert_eq!(world.ask(|cx| left.on_flip(cx, enters)), None);
    world.customer.segments.clear();
    let leaves = Flip { segment: "vip", entered: false };
    assert_eq!(world.ask(|cx| left.on_flip(cx, leaves)).unwrap().anchor, world.now);
    assert_eq!(world.ask(|cx| entered.on_flip(cx, Flip { segment: "new", entered: true })), None);
}

#[test]
fn crossing_several_thresholds_at_once_fires_each_once_and_lowest_first() {
    let trigger = trigger("{ milestone: spend, reaches: [250.50, 100, 1000] }");
    let mut world = World::new("2027-03-01 10:00");
    assert!(world.happens(&*trigger, purchase("e-1", "2027-03-01 10:00", 99)).is_empty());
    let firings = world.happens(&*trigger, purchase("e-2", "2027-03-01 10:00", 200));
    assert_eq!(keys(&firings), ["milestone:spend:100", "milestone:spend:250.5"]);
    assert_eq!(firings[1].mark, Some(250_500_000));
    assert_eq!(firings[1].properties["threshold"], Value::Dec(Dec(250_500_000)));
    assert_eq!(firings[1].properties["value"], Value::Int(299));
    // A refund takes the sum back below 250.50; crossing that again is no news.
    let refund = Event { minor: Some(10_000), ..event("r-1", "refund", "2027-03-01 10:00") };
    assert!(world.happens(&*trigger, refund).is_empty());
    assert!(world.happens(&*trigger, purchase("e-3", "2027-03-01 10:00", 200)).is_empty());
    assert_eq!(keys(&world.happens(&*trigger, purchase("e-4", "2027-03-01 10:00", 700))), ["milestone:spend:1000"]);
}

#[test]
fn a_milestone_sets_out_from_what_is_there() {
    let counted = trigger("{ milestone: purchases, reaches: [2, 3], within: 7 days }");
    let mut world = World::new("2027-03-01 10:00");
    world.happens(&*counted, purchase("e-1", "2027-02-01 10:00", 1));
    world.happens(&*counted, purchase("e-2", "2027-02-28 10:00", 1));
    // Only what is within the window counts.
    assert_eq!(world.ask(|cx| counted.first_mark(cx)), Some(1_000_000));
    world.mark = 1_000_000;
    assert_eq!(keys(&world.happens(&*counted, purchase("e-3", "2027-03-01 09:00", 1))), ["milestone:purchases:2"]);

    let points = trigger("{ milestone: points, reaches: 500 }");
    assert_eq!(points.interest(), Interest::Points);
    world.mark = 0;
    world.customer.loyalty.granted = 499;
    assert!(world.ask(|cx| points.on_points(cx)).is_empty());
    world.customer.loyalty.granted = 500;
    assert_eq!(keys(&world.ask(|cx| points.on_points(cx))), ["milestone:points:500"]);
    world.mark = 500_000_000;
    assert!(world.ask(|cx| points.on_points(cx)).is_empty());
}

#[test]
fn what_cannot_work_is_refused_where_it_stands() {
    for (yaml, code, column) in [
        ("birthday", "trigger-kind", 1),
        ("{ birthdya: on the day }", "trigger-kind", 3),
        ("{ birthday: on the day, milestone: points }", "trigger-kind", 1),
        ("[purchase]", "trigger-kind", 1),
        ("{ purchase: second }", "unknown-word", 13),
        ("{ purchase: any, whre: \"true\" }", "unknown-field", 18),
        ("{ segment_entered: vpi }", "unknown-segment", 20),
        ("{ renewal_due: 30 days }", "bad-offset", 16),
        ("{ renewal_due: 30 days before, membership: culb }", "unknown-membership", 44),
        ("{ birthday: 2 years before }", "bad-offset", 13),
        ("{ date: trial_end }", "unknown-field", 9),
        ("{ date: name }", "unknown-field", 9),
        ("{ inactive_for: 0 days }", "bad-duration", 17),
        ("{ milestone: purchases, reaches: 0 }", "milestone-reaches", 34),
        ("{ milestone: purchases, reaches: [1, 1] }", "milestone-reaches", 38),
        ("{ milestone: purchases, reaches: 1.5 }", "milestone-reaches", 34),
        ("{ milestone: points, reaches: 1, within: 3 days }", "milestone-within", 42),
        ("{ schedule: \"0 9 30 2 *\", segment: vip }", "bad-schedule", 14),
        ("{ schedule: \"0 0 9 * * MON\", segment: vip }", "bad-schedule", 14),
        ("{ schedule: \"0 9 * *\", segment: vip }", "bad-schedule", 14),
        ("{ schedule: \"61 9 * * *\", segment: vip }", "bad-schedule", 14),
        ("{ schedule: \"0 9 * * *\" }", "missing-field", 1),
        ("{ manual: false }", "trigger-manual", 11),
    ] {
        let (trigger, faults) = read(yaml);
        let found: Vec<_> = faults.list().iter().map(|fault| (fault.code, fault.place.column)).collect();
        assert_eq!(found.first(), Some(&(code, column)), "{yaml}: {:?}", faults.list());
        assert!(trigger.is_none() || faults.has_errors(), "{yaml}");
    }
}

#[test]
fn every_kind_has_an_example_that_works() {
    for kind in KINDS {
        let example = kind.example.replace("gold-members", "vip").replace("segment_left: active", "segment_left: vip");
        let (read, faults) = read(&example);
        assert!(read.is_some() && faults.list().is_empty(), "{example}: {:?}", faults.list());
        assert!(!read.unwrap().sentence().is_empty());
    }
}
