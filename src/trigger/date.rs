//! `date`: so long before or after a date in her profile.
//!
//! The occasion is the date: when the profile field moves, it is another occasion. A run that is under way
//! then moves with the date instead of a second one.

use super::{DefaultReEntry, Firing, Interest, MORNING, Occurrence, Trigger, TriggerCx, TriggerKind, TriggerNames, offset};
use crate::lang::cel::Type;
use crate::lang::diag::Faults;
use crate::lang::phrase::Offset;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::{Time, Zone, instant, parse_date};
use crate::lang::value::{Fields, Value};
use chrono::{NaiveDate, NaiveTime};

/// The kind.
pub const KIND: TriggerKind = TriggerKind {
    name: "date",
    doc: "a date in her profile is near or past",
    example: "{ date: trial_ends, when: 3 days before, at: \"09:00\" }",
    fields: &[
        Field::required("date", Shape::Name("profile field"), "a profile field of type date or time"),
        Field::optional(
            "when",
            Shape::Phrase("3 days before, on the day, 1 day after"),
            "how long before or after it; default on the day",
        ),
        Field::optional("at", Shape::Clock, "the clock time in her zone; default 09:00"),
    ],
    bare: false,
    compile,
};

#[derive(Debug)]
struct OnDate {
    field: String,
    offset: Offset,
    at: NaiveTime,
}

fn compile(object: &Object<'_>, names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let at = object.clock("at", faults).unwrap_or(MORNING);
    let offset = match object.node("when") {
        None => Offset::ON_THE_DAY,
        Some(_) => offset(object, "when", faults)?,
    };
    let field = object.text("date", faults)?;
    let dates = || names.date_fields.iter().map(String::as_str);
    if !names.date_fields.contains(&field.text) {
        let what = match (names.profile)(&field.text) {
            Some(_) => format!("the profile field `{}` is neither a date nor a time", field.text),
            None => format!("there is no profile field `{}`", field.text),
        };
        let fault = faults.error("unknown-field", &field.place, what);
        if names.date_fields.is_empty() {
            fault.hint(format!("add `{}: date` to `profile` in autofunnel.yaml", field.text));
        } else {
            fault.did_you_mean(&field.text, dates());
        }
        return None;
    }
    Some(Box::new(OnDate { field: field.text, offset, at }))
}

/// A profile value as a civil date; with the instant where it is one.
pub fn civil(value: &Value, zone: Zone) -> Option<(NaiveDate, Option<Time>)> {
    let of_instant = |time: Time| (time.date(zone), Some(time));
    match value {
        Value::Time(time) => Some(of_instant(*time)),
        Value::Text(text) => parse_date(text).map(|date| (date, None)).or_else(|| Time::parse(text).map(of_instant)),
        _ => None,
    }
}

impl OnDate {
    fn occurrence(&self, cx: &TriggerCx<'_>) -> Option<Occurrence> {
        let (date, time) = civil(cx.customer.profile.get(&self.field)?, cx.zone)?;
        let firing = Firing {
            key: format!("date:{}:{date}", self.field),
            anchor: time.unwrap_or_else(|| instant(cx.zone, date.and_time(self.at))),
            mark: None,
            properties: Fields::from([("date".to_owned(), Value::Text(date.to_string()))]),
        };
        Some(Occurrence { at: self.offset.apply(date, self.at, cx.zone), firing, expires: None })
    }
}

impl Trigger for OnDate {
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
        let (date, _) = civil(cx.customer.profile.get(&self.field)?, cx.zone)?;
        Some(self.offset.apply(date, self.at, cx.zone)).filter(|at| *at > after)
    }

    fn under_way(&self, cx: &TriggerCx<'_>) -> Option<Occurrence> {
        self.occurrence(cx).filter(|occurrence| occurrence.at <= cx.now && cx.now < occurrence.firing.anchor)
    }

    fn follows_date(&self) -> bool {
        true
    }

    fn clock(&self) -> Option<NaiveTime> {
        Some(self.at)
    }

    fn properties(&self) -> Vec<(String, Type)> {
        vec![("date".to_owned(), Type::Text)]
    }

    fn sentence(&self) -> String {
        let when = if self.offset.span.is_zero() { "on the day of".to_owned() } else { self.offset.to_string() };
        format!("{when} {}, at {}", self.field, self.at.format("%H:%M"))
    }
}
