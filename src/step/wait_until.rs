//! `wait_until`: a clock time, a weekday, or a date with an offset. A wait for a date follows the date.

use super::{Below, Flow, IfPast, Step, StepCx, StepKind, main_text};
use crate::lang::cel::{Text, Type};
use crate::lang::diag::Faults;
use crate::lang::phrase::Offset;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::{Time, Zone, instant, parse_clock, parse_date};
use crate::lang::value::Value;
use chrono::{Datelike, Days, NaiveDate, NaiveTime, Weekday};

/// `wait_until`.
pub static KIND: StepKind = StepKind {
    name: "wait_until",
    doc: "wait until a clock time (`\"09:00\"`), a weekday (`monday 10:00`) or a date (`7 days before renewal`) in the customer's zone",
    example: "wait_until: 7 days before renewal",
    fields: &[
        Field::required(
            "wait_until",
            Shape::Phrase(
                "`\"09:00\"`, `monday 10:00`, or `<span> before|after` / `on` followed by `renewal`, `birthday`, `anchor` or a date field of the profile",
            ),
            "until when",
        ),
        Field::optional(
            "at",
            Shape::Clock,
            "the clock time of a date; the trigger's `at` if not given, else the time of day at which the run began",
        ),
        Field::optional(
            "if_past",
            Shape::Word(&["skip", "continue", "exit"]),
            "when it is past already: `skip` the steps up to the next `wait_until`, `continue` at once, or `exit`",
        ),
    ],
    compile,
};

#[derive(Debug, Clone, PartialEq)]
enum Until {
    Clock(NaiveTime),
    Weekday(Weekday, NaiveTime),
    Date { offset: Offset, of: DateOf },
}

/// A date that a wait counts from.
#[derive(Debug, Clone, PartialEq)]
enum DateOf {
    Renewal,
    Birthday,
    Anchor,
    Field(String),
}

#[derive(Debug)]
struct WaitUntilStep {
    written: String,
    until: Until,
    at: Option<NaiveTime>,
    if_past: IfPast,
}

const WEEKDAYS: &[(&str, Weekday)] = &[
    ("monday", Weekday::Mon),
    ("tuesday", Weekday::Tue),
    ("wednesday", Weekday::Wed),
    ("thursday", Weekday::Thu),
    ("friday", Weekday::Fri),
    ("saturday", Weekday::Sat),
    ("sunday", Weekday::Sun),
];

fn compile(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let written = main_text(object, "wait_until", faults)?;
    let until = until(&written, below, faults);
    let at = object.clock("at", faults);
    if at.is_some() && matches!(until, Some(Until::Clock(_) | Until::Weekday(..))) {
        faults.error("two-clocks", &object.place("at"), "`at` goes with a date; this wait names its clock time itself");
    }
    let if_past = match object.word("if_past", &["skip", "continue", "exit"], faults) {
        Some("continue") => IfPast::Continue,
        Some("exit") => IfPast::Exit,
        _ => IfPast::Skip,
    };
    Some(Box::new(WaitUntilStep { written: written.text, until: until?, at, if_past }))
}

fn until(written: &Text, below: &Below<'_, '_>, faults: &mut Faults) -> Option<Until> {
    let words: Vec<&str> = written.text.split_whitespace().collect();
    if let [clock] = words[..]
        && let Some(clock) = parse_clock(clock)
    {
        return Some(Until::Clock(clock));
    }
    if let Some(day) = words.first().and_then(|word| WEEKDAYS.iter().find(|(name, _)| *name == word.to_lowercase())) {
        return match words[..] {
            [_] => Some(Until::Weekday(day.1, NaiveTime::MIN)),
            [_, clock] if parse_clock(clock).is_some() => parse_clock(clock).map(|clock| Until::Weekday(day.1, clock)),
            _ => {
                faults
                    .error("bad-wait-until", &written.place, format!("`{}` is no weekday with a clock time", written.text))
                    .hint("for example `monday 10:00`");
                None
            }
        };
    }
    match Offset::parse_with_anchor(&written.text) {
        Err(why) => {
            faults.error("bad-wait-until", &written.place, why).hint("or a clock time such as \"09:00\", or `monday 10:00`");
            None
        }
        Ok((offset, of)) => date_of(&of, written, below, faults).map(|of| Until::Date { offset, of }),
    }
}

fn date_of(name: &str, written: &Text, below: &Below<'_, '_>, faults: &mut Faults) -> Option<DateOf> {
    match name {
        "renewal" => return Some(DateOf::Renewal),
        "birthday" => return Some(DateOf::Birthday),
        "anchor" | "trigger" => return Some(DateOf::Anchor),
        _ => {}
    }
    let names = below.names();
    match (names.profile)(name) {
        Some(Type::Time | Type::Any) => Some(DateOf::Field(name.to_owned())),
        Some(_) => {
            faults
                .error("not-a-date", &written.place, format!("the profile field `{name}` holds no date"))
                .hint("give it the type `date` or `time` under `profile:` in autofunnel.yaml");
            None
        }
        None => {
            let known = ["renewal", "birthday", "anchor"].into_iter().chain(names.profile_fields.iter().map(String::as_str));
            faults
                .error("unknown-date", &written.place, format!("`{name}` is no date that is known of a customer"))
                .did_you_mean(name, known);
            None
        }
    }
}

impl WaitUntilStep {
    /// The instant, or the name of the missing date.
    fn instant(&self, cx: &StepCx<'_>) -> Result<Time, String> {
        match &self.until {
            Until::Clock(clock) => Ok(next_clock(cx.now, cx.zone, *clock, None)),
            Until::Weekday(day, clock) => Ok(next_clock(cx.now, cx.zone, *clock, Some(*day))),
            Until::Date { offset, of } => {
                let date = self.date(of, offset, cx)?;
                let clock = self.at.or(cx.clock).unwrap_or_else(|| cx.run.entered.local(cx.zone).time());
                Ok(offset.apply(date, clock, cx.zone))
            }
        }
    }

    fn date(&self, of: &DateOf, offset: &Offset, cx: &StepCx<'_>) -> Result<NaiveDate, String> {
        match of {
            DateOf::Anchor => Ok(cx.run.anchor.date(cx.zone)),
            DateOf::Renewal => {
                let ends = cx.customer.membership.as_ref().and_then(|membership| membership.ends);
                ends.map(|ends| ends.date(cx.zone)).ok_or_else(|| "customer.membership.ends".to_owned())
            }
            DateOf::Birthday => birthday(offset, cx).ok_or_else(|| "customer.birthday".to_owned()),
            DateOf::Field(name) => match cx.customer.profile.get(name) {
                Some(Value::Time(time)) => Some(time.date(cx.zone)),
                Some(Value::Text(text)) => parse_date(text).or_else(|| Time::parse(text).map(|time| time.date(cx.zone))),
                _ => None,
            }
            .ok_or_else(|| format!("customer.{name}")),
        }
    }
}

/// The birthday that the run is about: the first whose offset date is not before the day of entry.
fn birthday(offset: &Offset, cx: &StepCx<'_>) -> Option<NaiveDate> {
    let born = cx.customer.profile.get("birthday").and_then(Value::as_text).and_then(parse_date)?;
    let entered = cx.run.entered.date(cx.zone);
    // 29 February is 28 February where a year has none.
    let in_year = |year: i32| born.with_year(year).or_else(|| NaiveDate::from_ymd_opt(year, 2, 28));
    (entered.year() - 1..=entered.year() + 2).filter_map(in_year).find(|day| offset.date(*day) >= entered)
}

/// The first time at or after `now` at which clocks show `clock` (on that weekday).
fn next_clock(now: Time, zone: Zone, clock: NaiveTime, weekday: Option<Weekday>) -> Time {
    let today = now.date(zone);
    (0..=8u64)
        .filter_map(|days| today.checked_add_days(Days::new(days)))
        .filter(|date| weekday.is_none_or(|day| date.weekday() == day))
        .map(|date| instant(zone, date.and_time(clock)))
        .find(|time| *time >= now)
        .unwrap_or(now)
}

impl Step for WaitUntilStep {
    fn clock(&self) -> Option<NaiveTime> {
        match self.until {
            Until::Clock(clock) | Until::Weekday(_, clock) => Some(clock),
            Until::Date { .. } => self.at,
        }
    }

    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        match self.instant(cx) {
            Err(what) => Flow::NoDate { what },
            Ok(until) if until < cx.now => Flow::Past { was: until, rule: self.if_past },
            Ok(until) => Flow::Wait { until, why: self.written.clone() },
        }
    }

    fn moved(&self, cx: &StepCx<'_>) -> Option<Flow> {
        matches!(self.until, Until::Date { .. }).then(|| self.advance(cx))
    }

    fn is_wait(&self) -> bool {
        true
    }

    fn sentence(&self) -> String {
        match self.at {
            Some(at) => format!("wait until {}, {}", self.written, at.format("%H:%M")),
            None => format!("wait until {}", self.written),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_clock_time_is_today_or_tomorrow() {
        let zone = chrono_tz::Europe::Berlin;
        let nine = parse_clock("09:00").unwrap();
        let at = |text: &str| Time::parse(text).unwrap();
        assert_eq!(next_clock(at("2027-03-01T07:59:59Z"), zone, nine, None), at("2027-03-01T08:00:00Z"));
        assert_eq!(next_clock(at("2027-03-01T08:00:00Z"), zone, nine, None), at("2027-03-01T08:00:00Z"));
        assert_eq!(next_clock(at("2027-03-01T08:00:01Z"), zone, nine, None), at("2027-03-02T08:00:00Z"));
        assert_eq!(next_clock(at("2027-03-02T08:00:00Z"), zone, nine, Some(Weekday::Mon)), at("2027-03-08T08:00:00Z"));
    }
}
