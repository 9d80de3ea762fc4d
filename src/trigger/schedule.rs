//! `schedule`: at the times of a cron expression, while she is in a segment: a campaign.
//!
//! Nobody is enumerated: the next time is part of each member's own wake. The expression has five fields
//! (minute, hour, day of month, month, day of week) and is read against the clock on the wall of the
//! workspace's or the customer's zone: a time in the spring gap moves forward, one that exists twice in
//! autumn is used once.

use super::{DefaultReEntry, Firing, Interest, Occurrence, Trigger, TriggerCx, TriggerKind, TriggerNames};
use crate::lang::cel::{Text, Type};
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::{DAY_MS, MINUTE_MS, TIME_MAX, Time, Zone, instant};
use crate::lang::value::{Fields, Value};
use chrono::{NaiveDateTime, TimeDelta};
use croner::parser::{CronParser, Seconds, Year};
use times::Times;

mod times;

const ZONES: &[&str] = &["workspace", "customer"];
const CATCH_UP: &[&str] = &["once", "skip"];
/// How late a time may be taken that is not caught up, in milliseconds.
pub const GRACE_MS: i64 = 5 * MINUTE_MS;
/// Longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 200;
/// The last year of times that can be written; a customer's clock may be ahead of UTC.
const YEAR_MAX: i32 = 3_000;
/// Candidates looked at around a change of the clock: a day has so many minutes, and a gap is shorter.
const CANDIDATES_MAX: usize = 2 * 24 * 60;

/// The kind.
pub const KIND: TriggerKind = TriggerKind {
    name: "schedule",
    doc: "a campaign: at these times for everybody in a segment",
    example: "{ schedule: \"0 9 * * MON\", segment: gold-members }",
    fields: &[
        Field::required(
            "schedule",
            Shape::Phrase("a cron expression of five fields: minute, hour, day, month, weekday"),
            "the times",
        ),
        Field::required("segment", Shape::Name("segment"), "for whom"),
        Field::optional("in", Shape::Word(ZONES), "whose clock: the `workspace`'s (default) or the `customer`'s"),
        Field::optional(
            "catch_up",
            Shape::Word(CATCH_UP),
            "a time missed is taken later the same day (`once`, default) or not at all (`skip`)",
        ),
    ],
    bare: false,
    compile,
};

#[derive(Debug)]
struct Schedule {
    text: String,
    times: Times,
    segment: String,
    customer_zone: bool,
    catch_up: bool,
}

fn compile(object: &Object<'_>, names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let customer_zone = object.word("in", ZONES, faults) == Some("customer");
    let catch_up = object.word("catch_up", CATCH_UP, faults) != Some("skip");
    let segment = object.text("segment", faults);
    if let Some(segment) = &segment {
        names.names.know_segment(segment, faults);
    }
    let text = object.text("schedule", faults)?;
    let times = expression(&text, faults)?;
    Some(Box::new(Schedule { text: text.text, times, segment: segment?.text, customer_zone, catch_up }))
}

fn expression(text: &Text, faults: &mut Faults) -> Option<Times> {
    let mut refuse = |why: String| {
        faults
            .error("bad-schedule", &text.place, why)
            .hint("five fields: minute, hour, day of month, month, weekday; for example `0 9 * * MON` is Mondays at 09:00");
    };
    if text.text.len() > EXPRESSION_BYTES_MAX {
        refuse(format!("this cron expression is longer than {EXPRESSION_BYTES_MAX} bytes"));
        return None;
    }
    let fields = text.text.split_whitespace().count();
    if fields > 5 {
        refuse(format!("this cron expression has {fields} fields; seconds and years are not supported"));
        return None;
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = match parser.parse(&text.text) {
        Ok(cron) => cron,
        Err(why) => {
            refuse(format!("this is no cron expression: {}", why.to_string().trim_end_matches('.')));
            return None;
        }
    };
    let times = Times::of(&cron);
    if times.is_none() {
        refuse("this cron expression never fires".to_owned());
    }
    times
}

/// The first occurrence on the wall clock of `zone` that is strictly after `after`.
fn next_after(times: &Times, after: Time, zone: Zone) -> Option<Time> {
    let local = after.local(zone);
    // Where the clock went forward within the last day, times of the gap have been moved to after it.
    let yesterday = Time(after.0 - DAY_MS).local(zone) + TimeDelta::days(1);
    let mut from: NaiveDateTime = local.min(local - (local - yesterday).max(TimeDelta::zero()));
    let mut best: Option<(Time, NaiveDateTime)> = None;
    for _ in 0..CANDIDATES_MAX {
        let candidate = times.after(from, YEAR_MAX);
        let Some(candidate) = candidate.filter(|candidate| best.is_none_or(|(_, shown)| *candidate < shown)) else { break };
        let at = instant(zone, candidate);
        if at > after && best.is_none_or(|(found, _)| at < found) {
            best = Some((at, at.local(zone)));
        }
        from = candidate;
    }
    // Behind the last instant that can be written there is none.
    best.map(|(at, _)| at).filter(|at| *at <= TIME_MAX)
}

impl Schedule {
    fn zone(&self, cx: &TriggerCx<'_>) -> Zone {
        if self.customer_zone { cx.zone } else { cx.workspace_zone }
    }
}

impl Trigger for Schedule {
    fn interest(&self) -> Interest {
        Interest::Time
    }

    fn default_re_entry(&self) -> DefaultReEntry {
        DefaultReEntry::PerKey
    }

    fn next(&self, cx: &TriggerCx<'_>, after: Time) -> Option<Occurrence> {
        let zone = self.zone(cx);
        let at = self.next_at(cx, after)?;
        let expires = if self.catch_up { at.next_midnight(zone) } else { at.plus_ms(GRACE_MS) };
        let firing = Firing {
            key: format!("schedule:{}", at.local(zone).format("%Y-%m-%dT%H:%M")),
            anchor: at,
            mark: None,
            properties: Fields::from([("at".to_owned(), Value::Time(at))]),
        };
        Some(Occurrence { at, firing, expires: Some(expires) })
    }

    fn next_at(&self, cx: &TriggerCx<'_>, after: Time) -> Option<Time> {
        if !cx.scope.in_segment(&self.segment) {
            return None;
        }
        // Times from before she was in the segment are not hers.
        let since = cx.customer.segments.get(&self.segment).map_or(after, |since| since.plus_ms(-1));
        next_after(&self.times, after.max(since), self.zone(cx))
    }

    fn properties(&self) -> Vec<(String, Type)> {
        vec![("at".to_owned(), Type::Time)]
    }

    fn sentence(&self) -> String {
        let whose = if self.customer_zone { "her own" } else { "the workspace's" };
        format!("`{}` on {whose} clock, for the segment {}", self.text, self.segment)
    }
}
