//! `bonus_expiring`: so long before the next instant at which points of hers run out.
//!
//! The occasion is the day on which they run out. Points that are spent before it are no occasion; those that run
//! out later are another one.

use super::{DefaultReEntry, Firing, Interest, MORNING, Occurrence, Trigger, TriggerCx, TriggerKind, TriggerNames, offset};
use crate::lang::cel::Type;
use crate::lang::diag::Faults;
use crate::lang::phrase::Offset;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use chrono::NaiveTime;

/// Most points that may be asked for.
const POINTS_MAX: i64 = 1_000_000_000;

/// The kind.
pub const KIND: TriggerKind = TriggerKind {
    name: "bonus_expiring",
    doc: "points of hers run out soon",
    example: "{ bonus_expiring: 14 days before, at_least: 100 }",
    fields: &[
        Field::required("bonus_expiring", Shape::Phrase("14 days before, on the day"), "how long before they run out"),
        Field::optional("at", Shape::Clock, "the clock time in her zone; default 09:00"),
        Field::optional("at_least", Shape::Int(1, POINTS_MAX), "only if so many run out that day"),
    ],
    bare: false,
    compile,
};

#[derive(Debug)]
struct BonusExpiring {
    offset: Offset,
    at: NaiveTime,
    at_least: Option<i64>,
}

fn compile(object: &Object<'_>, _names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let at = object.clock("at", faults).unwrap_or(MORNING);
    let at_least = object.int("at_least", 1, POINTS_MAX, faults);
    let offset = offset(object, "bonus_expiring", faults)?;
    if !offset.before && !offset.span.is_zero() {
        faults
            .error("bad-offset", &object.place("bonus_expiring"), "after they have run out there is nothing left to expire")
            .hint("write for example `14 days before`, or start on the event `bonus_expired`");
        return None;
    }
    Some(Box::new(BonusExpiring { offset, at, at_least }))
}

impl Trigger for BonusExpiring {
    fn interest(&self) -> Interest {
        Interest::Time
    }

    fn default_re_entry(&self) -> DefaultReEntry {
        DefaultReEntry::PerKey
    }

    fn next(&self, cx: &TriggerCx<'_>, after: Time) -> Option<Occurrence> {
        let (loyalty, at) = (&cx.customer.loyalty, self.next_at(cx, after)?);
        let expiry = loyalty.next_expiry?;
        let properties =
            Fields::from([("points".to_owned(), Value::Int(loyalty.expiring)), ("expires".to_owned(), Value::Time(expiry))]);
        // The day is the workspace's: who moves to another zone is not told twice.
        let key = format!("bonus:{}", expiry.date(cx.workspace_zone));
        let firing = Firing { key, anchor: expiry, mark: None, properties };
        Some(Occurrence { at, firing, expires: None })
    }

    fn next_at(&self, cx: &TriggerCx<'_>, after: Time) -> Option<Time> {
        let loyalty = &cx.customer.loyalty;
        let expiry = loyalty.next_expiry.filter(|_| self.at_least.is_none_or(|least| loyalty.expiring >= least))?;
        let at = self.offset.apply(expiry.date(cx.zone), self.at, cx.zone);
        (at > after && at < expiry).then_some(at)
    }

    fn clock(&self) -> Option<NaiveTime> {
        Some(self.at)
    }

    fn properties(&self) -> Vec<(String, Type)> {
        vec![("points".to_owned(), Type::Number), ("expires".to_owned(), Type::Time)]
    }

    fn sentence(&self) -> String {
        let points = self.at_least.map_or_else(|| "points".to_owned(), |least| format!("{least} points or more"));
        let when = if self.offset.span.is_zero() { "on the day on which".to_owned() } else { self.offset.to_string() };
        format!("{when} {points} run out, at {}", self.at.format("%H:%M"))
    }
}
