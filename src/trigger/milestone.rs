//! `milestone`: a count or a sum crosses a threshold, each threshold once ever.
//!
//! The highest threshold reached is kept with the customer ([`TriggerCx::mark`]): refunds lower a sum, and
//! crossing the same threshold again fires nothing.

use super::{DefaultReEntry, Firing, Interest, LATE_MS, Trigger, TriggerCx, TriggerKind, TriggerNames};
use crate::event::Event;
use crate::event::words::{PURCHASE, REFUND};
use crate::lang::cel::{Aggregate, Care, Measure, Need, Text, Type};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{self, Field, Object, Shape};
use crate::lang::time::{Span, Time};
use crate::lang::value::{Fields, Value};
use crate::money::Dec;

/// Most thresholds of one milestone.
const THRESHOLDS_MAX: usize = 100;

/// The kind.
pub const KIND: TriggerKind = TriggerKind {
    name: "milestone",
    doc: "a count of events, the money spent or the points granted reach a threshold",
    example: "{ milestone: purchases, reaches: [5, 10] }",
    fields: &[
        Field::required("milestone", Shape::Name("event"), "`purchases`, `spend`, `points`, or the name of an event to count"),
        Field::required("reaches", Shape::OneOrMore(&Shape::Number), "the thresholds; each gives one run"),
        Field::optional("within", Shape::Duration, "only what happened within this time before; default ever"),
    ],
    bare: false,
    compile,
};

#[derive(Clone, PartialEq, Debug)]
enum What {
    Count(String),
    Spend,
    Points,
}

#[derive(Debug)]
struct Milestone {
    what: What,
    /// As written, for people and keys.
    name: String,
    /// Ascending, in millionths.
    thresholds: Vec<i64>,
    within: Option<Span>,
}

fn compile(object: &Object<'_>, names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let name = object.text("milestone", faults)?;
    let what = match name.text.as_str() {
        "purchases" => What::Count(PURCHASE.to_owned()),
        "spend" => What::Spend,
        "points" => What::Points,
        _ => {
            know_what(&name, names, faults);
            What::Count(name.text.clone())
        }
    };
    let within = object.span("within", faults);
    if within.is_some() && what == What::Points {
        faults
            .error("milestone-within", &object.place("within"), "points are counted ever, not within a time")
            .hint("leave `within` out");
        return None;
    }
    let thresholds = thresholds(object.node("reaches")?, &what, faults)?;
    Some(Box::new(Milestone { what, name: name.text, thresholds, within }))
}

fn know_what(name: &Text, names: &TriggerNames<'_>, faults: &mut Faults) {
    if let Some(meant) = crate::lang::diag::closest(&name.text, ["purchases", "spend", "points"])
        && crate::event::words::word(&name.text).is_none_or(|word| word.name == PURCHASE)
    {
        faults
            .warning("unknown-event", &name.place, format!("`{}` is counted as an event of that name", name.text))
            .hint(format!("did you mean `{meant}`?"));
    } else {
        names.names.know_event(name, faults);
    }
}

fn thresholds(node: &Node, what: &What, faults: &mut Faults) -> Option<Vec<i64>> {
    let single = std::slice::from_ref(node);
    let items = node.list().unwrap_or(single);
    if items.is_empty() || items.len() > THRESHOLDS_MAX {
        faults
            .error("milestone-reaches", &node.place, format!("a milestone has 1 to {THRESHOLDS_MAX} thresholds"))
            .hint("for example `reaches: [5, 10]`");
        return None;
    }
    let mut list = Vec::with_capacity(items.len());
    for item in items {
        let number = shape::number(item, faults)?;
        if number.0 <= 0 || (*what != What::Spend && number.as_int().is_none()) {
            let kind = if *what == What::Spend { "an amount" } else { "a whole number" };
            faults.error("milestone-reaches", &item.place, format!("a threshold of this milestone is {kind} above 0"));
            return None;
        }
        if list.contains(&number.0) {
            faults.error("milestone-reaches", &item.place, format!("the threshold {number} is there twice")).hint("remove one");
            return None;
        }
        list.push(number.0);
    }
    list.sort_unstable();
    Some(list)
}

/// A number in millionths; 0 for anything else.
fn millionths(value: &Value) -> i64 {
    value.as_dec().map_or(0, |dec| dec.0)
}

fn number(millionths: i64) -> Value {
    let dec = Dec(millionths);
    dec.as_int().map_or(Value::Dec(dec), Value::Int)
}

impl Milestone {
    /// The present value, in millionths.
    fn value(&self, cx: &TriggerCx<'_>) -> i64 {
        let ask = |event: &str, what: Measure| {
            let query = Aggregate { event: event.to_owned(), window: self.within, what, filter: None };
            millionths(&cx.scope.aggregate(&query, Care { before: Some(cx.now), least: None }, &mut |_| true).0)
        };
        match &self.what {
            What::Count(event) => ask(event, Measure::Count),
            What::Spend => {
                let amount = || Measure::Sum("amount".to_owned());
                ask(PURCHASE, amount()).saturating_sub(ask(REFUND, amount()))
            }
            What::Points => Dec::from_int(cx.customer.loyalty.granted).map_or(i64::MAX, |dec| dec.0),
        }
    }

    fn crossed(&self, cx: &TriggerCx<'_>, at: Time) -> Vec<Firing> {
        let value = self.value(cx);
        let reached = self.thresholds.iter().filter(|threshold| cx.mark < **threshold && **threshold <= value);
        reached
            .map(|threshold| Firing {
                key: format!("milestone:{}:{}", self.name, Dec(*threshold)),
                anchor: at,
                mark: Some(*threshold),
                properties: Fields::from([("threshold".to_owned(), number(*threshold)), ("value".to_owned(), number(value))]),
            })
            .collect()
    }

    /// The event that can raise the value.
    fn event(&self) -> Option<&str> {
        match &self.what {
            What::Count(event) => Some(event),
            What::Spend => Some(PURCHASE),
            What::Points => None,
        }
    }
}

impl Trigger for Milestone {
    fn interest(&self) -> Interest {
        self.event().map_or(Interest::Points, |event| Interest::Events(vec![event.to_owned()]))
    }

    fn default_re_entry(&self) -> DefaultReEntry {
        DefaultReEntry::PerKey
    }

    fn on_event(&self, cx: &TriggerCx<'_>, event: &Event) -> Vec<Firing> {
        if self.event() == Some(event.name.as_str()) { self.crossed(cx, event.time) } else { Vec::new() }
    }

    fn on_points(&self, cx: &TriggerCx<'_>) -> Vec<Firing> {
        if self.what == What::Points { self.crossed(cx, cx.now) } else { Vec::new() }
    }

    fn lateness_ms(&self) -> Option<i64> {
        // What a late event has crossed fires with the next event that is in time.
        self.event().map(|_| LATE_MS)
    }

    fn first_mark(&self, cx: &TriggerCx<'_>) -> Option<i64> {
        Some(self.value(cx))
    }

    fn event_name(&self) -> Option<String> {
        self.event().map(str::to_owned)
    }

    fn properties(&self) -> Vec<(String, Type)> {
        vec![("threshold".to_owned(), Type::Number), ("value".to_owned(), Type::Number)]
    }

    fn needs(&self) -> Vec<Need> {
        let window = self.within.map(|span| (span.months, span.days, span.ms));
        let amount = || vec!["amount".to_owned()];
        match &self.what {
            What::Count(event) => vec![Need { event: event.clone(), window, properties: Vec::new() }],
            What::Spend => [PURCHASE, REFUND].map(|event| Need { event: event.to_owned(), window, properties: amount() }).into(),
            What::Points => Vec::new(),
        }
    }

    fn sentence(&self) -> String {
        let thresholds: Vec<String> = self.thresholds.iter().map(|threshold| Dec(*threshold).to_string()).collect();
        let within = self.within.map(|span| format!(" within {span}")).unwrap_or_default();
        format!("{} reaches {}{within}", self.name, thresholds.join(", "))
    }
}
