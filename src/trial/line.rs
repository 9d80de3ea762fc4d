//! One line of `expect`: `[time] kind [channel] [about][: part of the reason]`.

use super::{Expected, LISTED, clock, moment};
use crate::fact::{Fact, What};
use crate::funnel::settings::CHANNELS;
use crate::lang::cel::Text;
use crate::lang::diag::Faults;
use crate::lang::time::{MINUTE_MS, SECOND_MS, Time, Zone, parse_clock, parse_date};
use chrono::NaiveDate;

/// What inline templates are called by the compiler: `inline:<step id>`.
const INLINE: &str = "inline:";

/// How exactly a line says when.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum When {
    /// Not at all.
    Any,
    /// The day.
    Day(NaiveDate),
    /// The minute that begins here.
    Minute(Time),
    /// The second that begins here.
    Second(Time),
}

impl When {
    fn meets(self, at: Time, zone: Zone) -> bool {
        let within = |from: Time, length_ms: i64| (0..length_ms).contains(&at.since_ms(from));
        match self {
            When::Any => true,
            When::Day(day) => at.date(zone) == day,
            When::Minute(from) => within(from, MINUTE_MS),
            When::Second(from) => within(from, SECOND_MS),
        }
    }
}

/// The time at the beginning of a line, and the rest.
fn when(text: &str, zone: Zone) -> (When, &str) {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    if let Some(time) = Time::parse(first) {
        return (When::Second(time), rest);
    }
    let exact = |clock: &str, time: Time| if clock.len() > 5 { When::Second(time) } else { When::Minute(time) };
    if let Some(local) = moment::local(first) {
        let clock = first.split_once('T').map_or("", |(_, clock)| clock);
        return (exact(clock, crate::lang::time::instant(zone, local)), rest);
    }
    let Some(day) = parse_date(first) else { return (When::Any, text) };
    let (second, after) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
    match parse_clock(second) {
        Some(clock) => (exact(second, crate::lang::time::instant(zone, day.and_time(clock))), after),
        None => (When::Day(day), rest),
    }
}

/// Reads a line. Unknown kinds are faults.
pub(super) fn read(line: &Text, zone: Zone, faults: &mut Faults) -> Option<Expected> {
    let written = line.text.trim();
    let (when, rest) = when(written, zone);
    let rest = rest.trim();
    let end = rest.find([' ', ':']).unwrap_or(rest.len());
    let (kind, rest) = rest.split_at(end);
    let Some(what) = What::parse(kind).filter(|what| LISTED.contains(what)) else {
        let shown: String = kind.chars().take(40).collect();
        // The rest is the end of what is written, so the kind stands so many characters into it.
        let before = written.chars().count() - kind.chars().count() - rest.chars().count();
        let place = &line.place.within(u32::try_from(before).unwrap_or(0), u32::try_from(shown.chars().count()).unwrap_or(1));
        let known = LISTED.iter().map(|what| what.name());
        match (kind, What::parse(kind)) {
            ("", _) => faults
                .error("bad-expectation", place, "the line does not say what happens")
                .hint("write for example `2027-03-01 10:00 sent email welcome`"),
            (_, Some(_)) => faults
                .error("bad-expectation", place, format!("`{shown}` facts are not listed in tests"))
                .hint(format!("there is: {}", known.collect::<Vec<_>>().join(", "))),
            (_, None) => {
                faults.error("bad-expectation", place, format!("`{shown}` is no kind of fact")).did_you_mean(kind, known)
            }
        };
        return None;
    };
    Some(Expected { text: written.to_owned(), when, what, rest: rest.trim().to_owned() })
}

/// The channel that a fact is shown with: a message's.
fn channel(fact: &Fact) -> Option<&str> {
    let shown = matches!(fact.what, What::Sent | What::Held | What::Capped | What::Failed | What::Withdrawn | What::Skipped);
    let channel = fact.run.as_ref().map(|run| run.variant.as_str())?;
    (shown && CHANNELS.contains(&channel)).then_some(channel)
}

/// What a fact is about, as tests call it.
fn about(fact: &Fact) -> &str {
    fact.about.strip_prefix(INLINE).unwrap_or(&fact.about)
}

/// A fact as a line. A line that is copied from here into `expect` meets the fact.
pub(super) fn shown(fact: &Fact, zone: Zone) -> String {
    let mut out = format!("{} {}", clock(fact.at, zone), fact.what.name());
    // A step that was skipped is named by itself; its channel says nothing more.
    let channel = channel(fact).filter(|_| fact.what != What::Skipped).unwrap_or_default();
    for part in [channel, about(fact)] {
        if !part.is_empty() {
            out.push(' ');
            out.push_str(part);
        }
    }
    out
}

/// Whether a line means a fact.
pub(super) fn meets(expected: &Expected, fact: &Fact, zone: Zone) -> bool {
    if expected.what != fact.what || !expected.when.meets(fact.at, zone) {
        return false;
    }
    let rest = expected.rest.as_str();
    let without = channel(fact)
        .and_then(|channel| rest.strip_prefix(channel))
        .filter(|rest| rest.is_empty() || rest.starts_with([' ', ':']));
    about_meets(rest, fact) || without.is_some_and(|rest| about_meets(rest.trim_start(), fact))
}

/// `[about][: part of the reason]`.
fn about_meets(rest: &str, fact: &Fact) -> bool {
    let about = about(fact);
    let after = [Some(rest), rest.strip_prefix(about)];
    after.into_iter().flatten().any(|after| match after.strip_prefix(':') {
        Some(reason) => fact.why.contains(reason.trim()),
        None => after.is_empty(),
    })
}
