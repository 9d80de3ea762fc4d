//! Days counted from a date, as people say them: `30 days before`, `2 days after birthday`, `on the day`.
//!
//! Triggers and date steps share these words, so that both read alike and count alike: the calendar part
//! of the span moves the date, the clock time is then set in the customer's zone, and an elapsed part
//! (`12h before renewal`) moves the instant.

use super::time::{Span, Time, Zone, instant};
use chrono::{NaiveDate, NaiveTime};
use std::fmt;

/// So long before or after a date; no time at all is the day itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Offset {
    /// Before the date, not after it.
    pub before: bool,
    /// How long.
    pub span: Span,
}

/// The forms there are, for messages.
const FORMS: &str = "write for example `30 days before`, `3 days after` or `on the day`";
const ANCHORED_FORMS: &str = "write for example `7 days before renewal`, `2 days after birthday` or `on renewal`";

impl Offset {
    /// The day itself.
    pub const ON_THE_DAY: Offset = Offset { before: false, span: Span { months: 0, days: 0, ms: 0 } };

    /// Reads `30 days before`, `3 days after` or `on the day`. The error says what would be right.
    pub fn parse(text: &str) -> Result<Offset, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["on", "the", "day"] => Ok(Offset::ON_THE_DAY),
            [.., last @ ("before" | "after")] => Offset::counted(&words[..words.len() - 1], last),
            _ => Err(format!("`{}` does not say how far from the date; {FORMS}", clip(text))),
        }
    }

    /// Reads an offset with the date that it counts from: `7 days before renewal`, `2 days after birthday`,
    /// `on renewal`. The second part of the answer is the name of that date.
    pub fn parse_with_anchor(text: &str) -> Result<(Offset, String), String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["on", "the", "day"] | ["on"] => {
                Err(format!("`{}` does not name the date it counts from; {ANCHORED_FORMS}", clip(text)))
            }
            ["on", anchor] => Ok((Offset::ON_THE_DAY, anchor.to_owned())),
            [.., side @ ("before" | "after"), anchor] => {
                Offset::counted(&words[..words.len() - 2], side).map(|offset| (offset, anchor.to_owned()))
            }
            [.., "before" | "after"] => Err(format!("`{}` does not name the date it counts from; {ANCHORED_FORMS}", clip(text))),
            _ => Err(format!("`{}` is no distance from a date; {ANCHORED_FORMS}", clip(text))),
        }
    }

    fn counted(span: &[&str], side: &str) -> Result<Offset, String> {
        Ok(Offset { before: side == "before", span: Span::parse(&span.join(" "))? })
    }

    /// The date so far from `date`; only the calendar part of the span counts. Months clamp to their last day.
    pub fn date(&self, date: NaiveDate) -> NaiveDate {
        self.moved(date, self.before)
    }

    /// The date of which [`Offset::date`] would be `date`, give or take the clamping of months.
    pub fn undo(&self, date: NaiveDate) -> NaiveDate {
        self.moved(date, !self.before)
    }

    fn moved(&self, date: NaiveDate, before: bool) -> NaiveDate {
        if self.span.months == 0 && self.span.days == 0 {
            return date;
        }
        let midnight = instant(chrono_tz::UTC, date.and_time(NaiveTime::MIN));
        let calendar = Span { ms: 0, ..self.span };
        let moved = if before { midnight.minus(calendar, chrono_tz::UTC) } else { midnight.plus(calendar, chrono_tz::UTC) };
        moved.date(chrono_tz::UTC)
    }

    /// The instant so far from `date`: its date by the calendar, `clock` in `zone`, then the elapsed part.
    pub fn apply(&self, date: NaiveDate, clock: NaiveTime, zone: Zone) -> Time {
        let local = instant(zone, self.date(date).and_time(clock));
        local.plus_ms(if self.before { -self.span.ms } else { self.span.ms })
    }
}

/// As it is written: `30 days before`, `on the day`.
impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            offset if offset.span.is_zero() => f.write_str("on the day"),
            Offset { before: true, span } => write!(f, "{span} before"),
            Offset { before: false, span } => write!(f, "{span} after"),
        }
    }
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::time::{parse_clock, parse_date};

    fn date(text: &str) -> NaiveDate {
        parse_date(text).unwrap()
    }

    #[test]
    fn offsets_are_read_as_they_are_shown() {
        for text in ["30 days before", "3 days after", "on the day", "1 month before", "12 hours before"] {
            assert_eq!(Offset::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "30 days", "before", "on day", "soon before", "30 before", "days after", "-3 days before"] {
            assert!(Offset::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn anchored_offsets_name_their_date() {
        let (offset, anchor) = Offset::parse_with_anchor("7 days before renewal").unwrap();
        assert_eq!((offset.to_string().as_str(), anchor.as_str()), ("7 days before", "renewal"));
        assert_eq!(Offset::parse_with_anchor("on birthday").unwrap(), (Offset::ON_THE_DAY, "birthday".to_owned()));
        for text in ["on the day", "on", "3 days before", "renewal", "x after renewal", "3 days renewal"] {
            assert!(Offset::parse_with_anchor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_date_moves_by_the_calendar_and_the_clock_is_local() {
        let zone = chrono_tz::Europe::Berlin;
        let nine = parse_clock("09:00").unwrap();
        let offset = Offset::parse("1 day before").unwrap();
        // Clocks go forward in the night before 2027-03-28: it is 09:00 on both sides all the same.
        assert_eq!(offset.apply(date("2027-03-29"), nine, zone).to_string(), "2027-03-28T07:00:00Z");
        assert_eq!(offset.apply(date("2027-03-28"), nine, zone).to_string(), "2027-03-27T08:00:00Z");
        assert_eq!(Offset::parse("1 month after").unwrap().date(date("2027-01-31")), date("2027-02-28"));
        assert_eq!(Offset::parse("3h before").unwrap().apply(date("2027-01-10"), nine, zone).to_string(), "2027-01-10T05:00:00Z");
        assert_eq!(offset.undo(offset.date(date("2028-03-01"))), date("2028-03-01"));
    }
}
