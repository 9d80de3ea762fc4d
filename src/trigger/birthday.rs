//! `birthday`: so long before or after her birthday, once a year.
//!
//! The occasion is the year of the birthday. Who was born on 29 February celebrates on 28 February in
//! other years, or on 1 March where the funnel says `leap: mar 1`.

use super::{DefaultReEntry, Firing, Interest, MORNING, Occurrence, Trigger, TriggerCx, TriggerKind, TriggerNames, offset};
use crate::lang::cel::Type;
use crate::lang::diag::Faults;
use crate::lang::phrase::Offset;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::{Time, instant, parse_date};
use crate::lang::value::{Fields, Value};
use chrono::{Datelike, NaiveDate, NaiveTime};

const LEAP: &[&str] = &["feb 28", "mar 1"];
/// Days within which a changed birthday gives no second one.
pub const DAYS_BETWEEN: u32 = 300;
/// A birthday comes every year: a longer offset would belong to another one.
const OFFSET_DAYS_MAX: i64 = 300;

/// The kind.
pub const KIND: TriggerKind = TriggerKind {
    name: "birthday",
    doc: "it is her birthday, or soon, or was",
    example: "{ birthday: 3 days before, at: \"10:00\" }",
    fields: &[
        Field::required(
            "birthday",
            Shape::Phrase("on the day, 3 days before, 1 day after"),
            "how long before or after the birthday",
        ),
        Field::optional("at", Shape::Clock, "the clock time in her zone; default 09:00"),
        Field::optional("leap", Shape::Word(LEAP), "the day of those born on 29 February in other years; default feb 28"),
    ],
    bare: false,
    compile,
};

#[derive(Debug)]
struct Birthday {
    offset: Offset,
    at: NaiveTime,
    march: bool,
}

fn compile(object: &Object<'_>, _names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let at = object.clock("at", faults).unwrap_or(MORNING);
    let march = object.word("leap", LEAP, faults) == Some("mar 1");
    let offset = offset(object, "birthday", faults)?;
    let reach = Time(0).plus(offset.span, chrono_tz::UTC).date(chrono_tz::UTC) - NaiveDate::default();
    if reach.num_days() > OFFSET_DAYS_MAX {
        faults
            .error(
                "bad-offset",
                &object.place("birthday"),
                format!("a birthday comes every year: at most {OFFSET_DAYS_MAX} days before or after it"),
            )
            .hint("for example `14 days before`");
        return None;
    }
    Some(Box::new(Birthday { offset, at, march }))
}

/// The birthday in a year, of one born on `born`.
pub fn in_year(born: NaiveDate, year: i32, march: bool) -> Option<NaiveDate> {
    born.with_year(year)
        .or_else(|| if march { NaiveDate::from_ymd_opt(year, 3, 1) } else { NaiveDate::from_ymd_opt(year, 2, 28) })
}

impl Birthday {
    fn occurrence(&self, cx: &TriggerCx<'_>, born: NaiveDate, year: i32) -> Option<Occurrence> {
        if year <= born.year() {
            return None;
        }
        let day = in_year(born, year, self.march)?;
        let properties = Fields::from([("age".to_owned(), Value::Int(i64::from(year - born.year())))]);
        let anchor = instant(cx.zone, day.and_time(self.at));
        let firing = Firing { key: format!("birthday:{year}"), anchor, mark: None, properties };
        Some(Occurrence { at: self.offset.apply(day, self.at, cx.zone), firing, expires: None })
    }

    /// The years whose occasion can lie around an instant, in their order.
    fn years(&self, cx: &TriggerCx<'_>, around: Time) -> std::ops::RangeInclusive<i32> {
        let year = self.offset.undo(around.date(cx.zone)).year();
        year - 1..=year + 2
    }
}

fn born(cx: &TriggerCx<'_>) -> Option<NaiveDate> {
    cx.customer.profile.get("birthday").and_then(Value::as_text).and_then(parse_date)
}

impl Trigger for Birthday {
    fn interest(&self) -> Interest {
        Interest::Time
    }

    fn default_re_entry(&self) -> DefaultReEntry {
        DefaultReEntry::PerKey
    }

    fn next(&self, cx: &TriggerCx<'_>, after: Time) -> Option<Occurrence> {
        let born = born(cx)?;
        self.years(cx, after.max(instant(cx.zone, born.and_time(NaiveTime::MIN))))
            .filter_map(|year| self.occurrence(cx, born, year))
            .find(|occurrence| occurrence.at > after)
    }

    fn next_at(&self, cx: &TriggerCx<'_>, after: Time) -> Option<Time> {
        let born = born(cx)?;
        self.years(cx, after.max(instant(cx.zone, born.and_time(NaiveTime::MIN))))
            .filter(|year| *year > born.year())
            .filter_map(|year| Some(self.offset.apply(in_year(born, year, self.march)?, self.at, cx.zone)))
            .find(|at| *at > after)
    }

    fn under_way(&self, cx: &TriggerCx<'_>) -> Option<Occurrence> {
        let born = born(cx)?;
        self.years(cx, cx.now)
            .filter_map(|year| self.occurrence(cx, born, year))
            .find(|occurrence| occurrence.at <= cx.now && cx.now < occurrence.firing.anchor)
    }

    fn days_between(&self) -> Option<u32> {
        Some(DAYS_BETWEEN)
    }

    fn clock(&self) -> Option<NaiveTime> {
        Some(self.at)
    }

    fn properties(&self) -> Vec<(String, Type)> {
        vec![("age".to_owned(), Type::Number)]
    }

    fn sentence(&self) -> String {
        let when =
            if self.offset.span.is_zero() { "on her birthday".to_owned() } else { format!("{} her birthday", self.offset) };
        format!("{when}, at {}", self.at.format("%H:%M"))
    }
}
