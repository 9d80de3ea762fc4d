//! `renewal_due`: so long before or after the day on which the present term of a membership ends.
//!
//! The occasion is the membership and the day its term began, so a renewal that is moved is the same
//! occasion, and the next term is a new one. A cancelled membership has no renewal.

use super::{DefaultReEntry, Firing, Interest, MORNING, Occurrence, Trigger, TriggerCx, TriggerKind, TriggerNames, offset};
use crate::customer::Membership;
use crate::lang::cel::Type;
use crate::lang::diag::Faults;
use crate::lang::phrase::Offset;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::{Time, Zone};
use crate::lang::value::{Fields, Value};
use chrono::NaiveTime;

/// The kind.
pub const KIND: TriggerKind = TriggerKind {
    name: "renewal_due",
    doc: "the present term of her membership ends in so many days",
    example: "{ renewal_due: 30 days before, at: \"09:00\" }",
    fields: &[
        Field::required(
            "renewal_due",
            Shape::Phrase("30 days before, on the day, 3 days after"),
            "how long before or after the renewal date",
        ),
        Field::optional("at", Shape::Clock, "the clock time in her zone; default 09:00"),
        Field::optional("membership", Shape::OneOrMore(&Shape::Name("membership")), "only these memberships; default all"),
    ],
    bare: false,
    compile,
};

#[derive(Debug)]
struct RenewalDue {
    offset: Offset,
    at: NaiveTime,
    /// Empty: all.
    memberships: Vec<String>,
}

/// The occasion of a membership's present term. The day is the workspace's, so that a customer who moves
/// to another zone has no second occasion.
pub fn term_key(membership: &Membership, workspace_zone: Zone) -> String {
    format!("renewal:{}:{}", membership.name, membership.started.date(workspace_zone))
}

fn compile(object: &Object<'_>, names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let at = object.clock("at", faults).unwrap_or(MORNING);
    let memberships = object.texts("membership", faults);
    for name in memberships.iter().filter(|name| !names.memberships.contains(&name.text)) {
        faults
            .error("unknown-membership", &name.place, format!("there is no membership `{}` in catalog.yaml", name.text))
            .did_you_mean(&name.text, names.memberships.iter().map(String::as_str));
    }
    let offset = offset(object, "renewal_due", faults)?;
    Some(Box::new(RenewalDue { offset, at, memberships: memberships.into_iter().map(|name| name.text).collect() }))
}

impl RenewalDue {
    /// The membership that is to be renewed, and when it ends.
    fn due<'c>(&self, cx: &TriggerCx<'c>) -> Option<(&'c Membership, Time)> {
        let membership = cx.customer.membership.as_ref()?;
        let wanted = self.memberships.is_empty() || self.memberships.contains(&membership.name);
        Some((membership, membership.ends.filter(|_| wanted && !membership.cancelled)?))
    }

    fn occurrence(&self, cx: &TriggerCx<'_>) -> Option<Occurrence> {
        let (membership, ends) = self.due(cx)?;
        let properties = Fields::from([
            ("membership".to_owned(), Value::from(membership.name.as_str())),
            ("ends".to_owned(), Value::Time(ends)),
        ]);
        let firing = Firing { key: term_key(membership, cx.workspace_zone), anchor: ends, mark: None, properties };
        Some(Occurrence { at: self.offset.apply(ends.date(cx.zone), self.at, cx.zone), firing, expires: None })
    }
}

impl Trigger for RenewalDue {
    fn interest(&self) -> Interest {
        Interest::Time
    }

    fn default_re_entry(&self) -> DefaultReEntry {
        DefaultReEntry::PerKey
    }

    fn next(&self, cx: &TriggerCx<'_>, after: Time) -> Option<Occurrence> {
        self.occurrence(cx).filter(|occurrence| occurrence.at > after)
    }

    fn next_at(&self, cx: &TriggerCx<'_>, after: Time) -> Option<Time> {
        let (_, ends) = self.due(cx)?;
        Some(self.offset.apply(ends.date(cx.zone), self.at, cx.zone)).filter(|at| *at > after)
    }

    fn under_way(&self, cx: &TriggerCx<'_>) -> Option<Occurrence> {
        self.occurrence(cx).filter(|occurrence| occurrence.at <= cx.now && cx.now < occurrence.firing.anchor)
    }

    fn clock(&self) -> Option<NaiveTime> {
        Some(self.at)
    }

    fn properties(&self) -> Vec<(String, Type)> {
        vec![("membership".to_owned(), Type::Text), ("ends".to_owned(), Type::Time)]
    }

    fn sentence(&self) -> String {
        let of = if self.memberships.is_empty() { String::new() } else { format!(" of {}", self.memberships.join(" or ")) };
        if self.offset.span.is_zero() {
            format!("on the day of renewal{of}, at {}", self.at.format("%H:%M"))
        } else {
            format!("{} renewal{of}, at {}", self.offset, self.at.format("%H:%M"))
        }
    }
}
