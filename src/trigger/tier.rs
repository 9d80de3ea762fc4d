//! `tier_changed`: the customer moved to another tier, perhaps only upwards, or to one of some.

use super::event::LATE;
use super::{DefaultReEntry, Firing, Interest, LATE_MS, Trigger, TriggerCx, TriggerKind, TriggerNames, elapsed_ms};
use crate::event::Event;
use crate::event::words::TIER_CHANGED;
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::value::{Fields, Value};

const WHICH: &[&str] = &["any", "up", "down"];

/// The kind.
pub const KIND: TriggerKind = TriggerKind {
    name: TIER_CHANGED,
    doc: "the customer moved to another tier",
    example: "{ tier_changed: up, to: [silver, gold] }",
    fields: &[
        Field::required(TIER_CHANGED, Shape::Word(WHICH), "`any` change, or only `up` or `down`, in the order of the catalog"),
        Field::optional("to", Shape::OneOrMore(&Shape::Name("tier")), "only to one of these tiers"),
        Field::optional("from", Shape::OneOrMore(&Shape::Name("tier")), "only from one of these tiers"),
        LATE,
    ],
    bare: true,
    compile,
};

#[derive(Debug)]
struct TierChanged {
    which: &'static str,
    /// Empty: any.
    to: Vec<String>,
    from: Vec<String>,
    /// All tiers, lowest first.
    tiers: Vec<String>,
    late_ms: i64,
}

fn compile(object: &Object<'_>, names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let which = object.word(TIER_CHANGED, WHICH, faults)?;
    let mut read = |field: &str| {
        let tiers = object.texts(field, faults);
        for tier in tiers.iter().filter(|tier| !names.tiers.contains(&tier.text)) {
            faults
                .error("unknown-tier", &tier.place, format!("there is no tier `{}` in catalog.yaml", tier.text))
                .did_you_mean(&tier.text, names.tiers.iter().map(String::as_str));
        }
        tiers.into_iter().map(|tier| tier.text).collect()
    };
    let (to, from) = (read("to"), read("from"));
    let late_ms = object.span("late", faults).map_or(LATE_MS, elapsed_ms);
    Some(Box::new(TierChanged { which, to, from, tiers: names.tiers.clone(), late_ms }))
}

impl TierChanged {
    /// How high a tier is; none is lower than all.
    fn height(&self, tier: &str) -> usize {
        self.tiers.iter().position(|known| known == tier).map_or(0, |at| at + 1)
    }
}

impl Trigger for TierChanged {
    fn interest(&self) -> Interest {
        Interest::Events(vec![TIER_CHANGED.to_owned()])
    }

    fn default_re_entry(&self) -> DefaultReEntry {
        DefaultReEntry::Never
    }

    fn on_event(&self, _cx: &TriggerCx<'_>, event: &Event) -> Vec<Firing> {
        let tier = |name: &str| event.property(name).and_then(Value::as_text).unwrap_or_default();
        let (to, from) = (tier("tier"), tier("from"));
        let right_way = match self.which {
            "up" => self.height(to) > self.height(from),
            "down" => self.height(to) < self.height(from),
            _ => true,
        };
        let among = |list: &[String], tier: &str| list.is_empty() || list.iter().any(|wanted| wanted == tier);
        if event.name != TIER_CHANGED || !right_way || !among(&self.to, to) || !among(&self.from, from) {
            return Vec::new();
        }
        vec![Firing { key: format!("event:{}", event.id), anchor: event.time, mark: None, properties: Fields::new() }]
    }

    fn lateness_ms(&self) -> Option<i64> {
        Some(self.late_ms)
    }

    fn event_name(&self) -> Option<String> {
        Some(TIER_CHANGED.to_owned())
    }

    fn sentence(&self) -> String {
        let way = match self.which {
            "up" => "moves up to",
            "down" => "moves down to",
            _ => "moves to",
        };
        let to = if self.to.is_empty() { "another tier".to_owned() } else { format!("the tier {}", self.to.join(" or ")) };
        let from = if self.from.is_empty() { String::new() } else { format!(" from {}", self.from.join(" or ")) };
        format!("{way} {to}{from}")
    }
}
