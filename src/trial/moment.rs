//! Instants as a test writes them: `2027-03-01 10:00` by her clock, RFC 3339, or `+3 days` from the last one.

use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::time::{Span, TIME_MAX, TIME_MIN, Time, Zone, instant, parse_clock, parse_date};
use chrono::{NaiveDateTime, NaiveTime};

/// A date with a clock time: `2027-03-01 10:00`, `2027-03-01T10:00:30`.
pub(super) fn local(text: &str) -> Option<NaiveDateTime> {
    let (date, clock) = text.split_once([' ', 'T'])?;
    Some(parse_date(date)?.and_time(parse_clock(clock.trim())?))
}

/// An instant; a date alone is its midnight.
pub(super) fn parse(text: &str, zone: Zone) -> Option<Time> {
    let local = local(text).or_else(|| parse_date(text).map(|date| date.and_time(NaiveTime::MIN)));
    let time = Time::parse(text).or_else(|| local.map(|local| instant(zone, local)))?;
    (TIME_MIN..=TIME_MAX).contains(&time).then_some(time)
}

/// Reads an instant; `+3 days` counts from `last`.
pub(super) fn read(node: &Node, zone: Zone, last: Option<Time>, faults: &mut Faults) -> Option<Time> {
    let Some(text) = node.scalar().map(str::trim) else {
        faults
            .error("wrong-type", &node.place, format!("a time is wanted, but here stands {}", node.describe()))
            .hint("write it like 2027-03-01 10:00");
        return None;
    };
    if let Some(span) = text.strip_prefix('+') {
        return match (Span::parse(span.trim()), last) {
            (Ok(span), Some(last)) => Some(last.plus(span, zone)),
            (Err(why), _) => {
                faults.error("bad-duration", &node.place, why).hint("write for example `+3 days`");
                None
            }
            (Ok(_), None) => {
                faults
                    .error("bad-time", &node.place, "there is no time before this one to count from")
                    .hint("write it like 2027-03-01 10:00, or begin with `given: { at: … }`");
                None
            }
        };
    }
    let time = parse(text, zone);
    if time.is_none() {
        let shown: String = text.chars().take(40).collect();
        faults
            .error("bad-time", &node.place, format!("`{shown}` is no time"))
            .hint("write it like 2027-03-01 10:00 (her clock), 2027-03-01T09:00:00Z, or `+3 days` from the time before");
    }
    time
}
