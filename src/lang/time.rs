//! Instants, spans of time, and the civil calendar of a customer's zone.
//!
//! An instant is milliseconds since 1970-01-01T00:00:00Z. Days, weeks, months and years are calendar
//! units in a zone; hours, minutes and seconds are elapsed time. A local time that does not exist (the
//! spring gap) moves forward by the length of the gap; one that exists twice (autumn) is the first of
//! the two. Month arithmetic clamps to the month's last day.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A time zone of the IANA database.
pub type Zone = chrono_tz::Tz;

/// Milliseconds of one second, minute, hour and elapsed day.
pub const SECOND_MS: i64 = 1_000;
/// Milliseconds of a minute.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds of an elapsed day of 24 hours.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// The first instant a door accepts: 1900-01-01T00:00:00Z.
pub const TIME_MIN: Time = Time(-2_208_988_800_000);
/// The last instant a door accepts: 2999-12-31T23:59:59Z.
pub const TIME_MAX: Time = Time(32_503_679_999_000);

/// An instant, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// Reads RFC 3339 text (`2027-02-14T09:00:00Z`); years outside 1900–2999 are refused.
    pub fn parse(text: &str) -> Option<Time> {
        let parsed = DateTime::parse_from_rfc3339(text).ok()?;
        // chrono accepts a leap second (`:60`); no sender means one.
        if parsed.nanosecond() >= 1_000_000_000 {
            return None;
        }
        let time = Time(parsed.timestamp_millis());
        (TIME_MIN..=TIME_MAX).contains(&time).then_some(time)
    }

    /// Later by elapsed milliseconds; stops at the ends of what can be written.
    pub fn plus_ms(self, ms: i64) -> Time {
        Time(self.0.saturating_add(ms).clamp(TIME_MIN.0, TIME_MAX.0))
    }

    /// Elapsed milliseconds since `earlier`.
    pub fn since_ms(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Later by a span: its calendar part in `zone` first, then its elapsed part.
    pub fn plus(self, span: Span, zone: Zone) -> Time {
        self.shifted(span, zone, 1)
    }

    /// Earlier by a span.
    pub fn minus(self, span: Span, zone: Zone) -> Time {
        self.shifted(span, zone, -1)
    }

    fn shifted(self, span: Span, zone: Zone, sign: i64) -> Time {
        let moved = if span.months == 0 && span.days == 0 {
            self
        } else {
            let local = self.local(zone);
            let date = shift_date(local.date(), span, sign);
            instant(zone, NaiveDateTime::new(date, local.time()))
        };
        moved.plus_ms(span.ms.saturating_mul(sign))
    }

    /// The civil date and time in `zone`.
    pub fn local(self, zone: Zone) -> NaiveDateTime {
        let clamped = self.0.clamp(TIME_MIN.0, TIME_MAX.0);
        DateTime::<Utc>::from_timestamp_millis(clamped).unwrap_or_default().with_timezone(&zone).naive_local()
    }

    /// The civil date in `zone`.
    pub fn date(self, zone: Zone) -> NaiveDate {
        self.local(zone).date()
    }

    /// The next local midnight after this instant.
    pub fn next_midnight(self, zone: Zone) -> Time {
        let tomorrow = self.date(zone).checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
        instant(zone, tomorrow.and_time(NaiveTime::MIN))
    }
}

fn shift_date(date: NaiveDate, span: Span, sign: i64) -> NaiveDate {
    let (months, days) = (Months::new(span.months), Days::new(u64::from(span.days)));
    let moved = if sign > 0 {
        date.checked_add_months(months).and_then(|d| d.checked_add_days(days))
    } else {
        date.checked_sub_months(months).and_then(|d| d.checked_sub_days(days))
    };
    moved.unwrap_or(if sign > 0 { NaiveDate::MAX } else { NaiveDate::MIN })
}

/// The instant at which clocks in `zone` show `local`; see the module's rule for gaps and doubled times.
pub fn instant(zone: Zone, local: NaiveDateTime) -> Time {
    match zone.from_local_datetime(&local) {
        chrono::LocalResult::Single(t) => Time(t.timestamp_millis()),
        chrono::LocalResult::Ambiguous(first, _) => Time(first.timestamp_millis()),
        chrono::LocalResult::None => through_gap(zone, local),
    }
}

/// In the gap the clock reading before the change is kept: 02:30 becomes 03:30 where an hour is skipped.
fn through_gap(zone: Zone, local: NaiveDateTime) -> Time {
    // No zone has changed its clock by more than a day; the offset before the gap is found there.
    let before = local - TimeDelta::days(1);
    match zone.from_local_datetime(&before).earliest() {
        Some(t) => Time(t.timestamp_millis()).plus_ms(DAY_MS),
        // The day before was skipped as a whole (Samoa, 2011-12-30): read the clock as UTC.
        None => Time(local.and_utc().timestamp_millis()),
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Digit by digit: instants are written often, and reading a pattern each time costs more than all the rest.
        let utc = self.local(chrono_tz::UTC);
        let (date, time) = (utc.date(), utc.time());
        write!(f, "{:04}-{:02}-{:02}T", date.year(), date.month(), date.day())?;
        write!(f, "{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())?;
        match time.nanosecond() / 1_000_000 {
            0 => f.write_str("Z"),
            ms => write!(f, ".{ms:03}Z"),
        }
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A length of time: calendar months and days, then elapsed milliseconds. Never negative.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Span {
    /// Calendar months.
    pub months: u32,
    /// Calendar days.
    pub days: u32,
    /// Elapsed milliseconds.
    pub ms: i64,
}

/// The longest span that may be written: 100 years.
const SPAN_MONTHS_MAX: u64 = 1_200;
const SPAN_DAYS_MAX: u64 = 36_600;
/// Most numbers and units of a span: as many as it is shown with, from years to milliseconds.
const TOKENS_MAX: usize = 14;

impl Span {
    /// Elapsed milliseconds.
    pub const fn ms(ms: i64) -> Span {
        Span { months: 0, days: 0, ms }
    }

    /// Calendar days.
    pub const fn days(days: u32) -> Span {
        Span { months: 0, days, ms: 0 }
    }

    /// Whether this is no time at all.
    pub fn is_zero(self) -> bool {
        self == Span::default()
    }

    /// Reads `30 days`, `1 year 2 months`, `72h`, `90m`, `1 hour 30 minutes`. The error says what is wrong
    /// and what would be right.
    pub fn parse(text: &str) -> Result<Span, String> {
        let tokens = tokens(text);
        if tokens.is_empty() {
            return Err("a duration is missing; write for example `3 days` or `72h`".to_owned());
        }
        let mut span = Span::default();
        let mut rest = tokens.as_slice();
        while let [number, unit, tail @ ..] = rest {
            let count: u64 =
                number.parse().map_err(|_| format!("`{}` is not a duration; write for example `3 days` or `72h`", clip(text)))?;
            span.add(count, unit).map_err(|why| format!("`{}`: {why}", clip(text)))?;
            rest = tail;
        }
        if !rest.is_empty() {
            return Err(format!("`{}` lacks a unit; write for example `3 days` or `72h`", clip(text)));
        }
        Ok(span)
    }

    fn add(&mut self, count: u64, unit: &str) -> Result<(), String> {
        // Parts of one kind add up: together they may be no longer than one alone.
        let too_long = || "longer than 100 years".to_owned();
        let elapsed = |before: i64, unit_ms: i64| {
            let ms = i64::try_from(count).ok().and_then(|n| n.checked_mul(unit_ms)?.checked_add(before));
            ms.filter(|ms| *ms <= SPAN_DAYS_MAX as i64 * DAY_MS).ok_or_else(too_long)
        };
        let calendar = |before: u32, per: u64, max: u64| {
            let n = count.checked_mul(per).and_then(|n| n.checked_add(u64::from(before)));
            n.filter(|n| *n <= max).and_then(|n| u32::try_from(n).ok()).ok_or_else(too_long)
        };
        match unit {
            "ms" => self.ms = elapsed(self.ms, 1)?,
            "s" | "sec" | "second" | "seconds" => self.ms = elapsed(self.ms, SECOND_MS)?,
            "m" | "min" | "minute" | "minutes" => self.ms = elapsed(self.ms, MINUTE_MS)?,
            "h" | "hour" | "hours" => self.ms = elapsed(self.ms, HOUR_MS)?,
            "d" | "day" | "days" => self.days = calendar(self.days, 1, SPAN_DAYS_MAX)?,
            "w" | "week" | "weeks" => self.days = calendar(self.days, 7, SPAN_DAYS_MAX)?,
            "month" | "months" => self.months = calendar(self.months, 1, SPAN_MONTHS_MAX)?,
            "y" | "year" | "years" => self.months = calendar(self.months, 12, SPAN_MONTHS_MAX)?,
            other => {
                return Err(format!(
                    "`{}` is no unit of time; use seconds, minutes, hours, days, weeks, months or years",
                    clip(other)
                ));
            }
        }
        Ok(())
    }
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Numbers and words, with or without blanks between them; of more than [`TOKENS_MAX`] those only that show it.
fn tokens(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut last_digit = None;
    for c in text.trim().chars() {
        if c.is_whitespace() {
            last_digit = None;
            continue;
        }
        let digit = c.is_ascii_digit();
        match out.last_mut() {
            Some(token) if last_digit == Some(digit) => token.push(c),
            _ => out.push(c.to_string()),
        }
        last_digit = Some(digit);
        if out.len() > TOKENS_MAX {
            break;
        }
    }
    out
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut push = |n: i64, unit: &str| {
            if n != 0 {
                parts.push(format!("{n} {unit}{}", if n == 1 || unit == "ms" { "" } else { "s" }));
            }
        };
        push(i64::from(self.months / 12), "year");
        push(i64::from(self.months % 12), "month");
        push(i64::from(self.days), "day");
        push(self.ms / HOUR_MS, "hour");
        push(self.ms % HOUR_MS / MINUTE_MS, "minute");
        push(self.ms % MINUTE_MS / SECOND_MS, "second");
        push(self.ms % SECOND_MS, "ms");
        f.write_str(&if parts.is_empty() { "no time".to_owned() } else { parts.join(" ") })
    }
}

/// Reads a clock time of day, `09:00` or `09:00:30`.
pub fn parse_clock(text: &str) -> Option<NaiveTime> {
    let well_formed = matches!(text.len(), 5 | 8) && text.bytes().all(|b| b.is_ascii_digit() || b == b':');
    if !well_formed || text.ends_with(":60") {
        return None;
    }
    NaiveTime::parse_from_str(text, if text.len() == 5 { "%H:%M" } else { "%H:%M:%S" }).ok()
}

/// Reads a calendar date, `1990-02-29`; a day that does not exist is refused.
pub fn parse_date(text: &str) -> Option<NaiveDate> {
    // Digit by digit: birthdays are text and read in every turn, and chrono reads its pattern each time.
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number =
        |digits: &[u8]| digits.iter().try_fold(0u32, |n, digit| digit.is_ascii_digit().then(|| n * 10 + u32::from(digit - b'0')));
    let year = i32::try_from(number(&bytes[..4])?).ok().filter(|year| (1900..=2999).contains(year))?;
    NaiveDate::from_ymd_opt(year, number(&bytes[5..7])?, number(&bytes[8..])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    #[test]
    fn days_are_calendar_days_and_hours_are_elapsed() {
        let zone = chrono_tz::Europe::Berlin;
        // Clocks go forward on 2027-03-28 at 02:00.
        let before = at("2027-03-27T08:00:00Z"); // 09:00 local
        assert_eq!(before.plus(Span::parse("1 day").unwrap(), zone), at("2027-03-28T07:00:00Z"));
        assert_eq!(before.plus(Span::parse("24h").unwrap(), zone), at("2027-03-28T08:00:00Z"));
        assert_eq!(at("2027-03-28T07:00:00Z").minus(Span::days(1), zone), before);
    }

    #[test]
    fn a_local_time_in_the_gap_moves_forward_and_a_doubled_one_is_used_once() {
        let zone = chrono_tz::Europe::Berlin;
        let gap = parse_date("2027-03-28").unwrap().and_time(parse_clock("02:30").unwrap());
        assert_eq!(instant(zone, gap).local(zone).to_string(), "2027-03-28 03:30:00");
        let twice = parse_date("2027-10-31").unwrap().and_time(parse_clock("02:30").unwrap());
        assert_eq!(instant(zone, twice), at("2027-10-31T00:30:00Z"));
    }

    #[test]
    fn months_clamp_to_the_last_day() {
        let end_of_january = at("2027-01-31T12:00:00Z");
        assert_eq!(end_of_january.plus(Span::parse("1 month").unwrap(), chrono_tz::UTC), at("2027-02-28T12:00:00Z"));
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, shown) in [
            ("30 days", "30 days"),
            ("72h", "72 hours"),
            ("1 year 2 months", "1 year 2 months"),
            ("1h30m", "1 hour 30 minutes"),
            ("2 weeks", "14 days"),
            ("1500ms", "1 second 500 ms"),
            (
                "18 years 7 months 150 days 31 hours 49 minutes 24 seconds 747 ms",
                "18 years 7 months 150 days 31 hours 49 minutes 24 seconds 747 ms",
            ),
        ] {
            assert_eq!(Span::parse(text).unwrap().to_string(), shown);
        }
        let far = format!("1 day{}x", " ".repeat(300));
        assert!(Span::parse(&far).is_err(), "what stands behind many blanks counts");
        for text in [
            "",
            "soon",
            "3",
            "3 dayz",
            "-3 days",
            "101 years",
            "95 years 61 months",
            "36600 days 1 week",
            "878400h 1 ms",
            "99999999999999999999 days",
            "3 days 4",
            "1.5 days",
        ] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_are_written_as_they_are_read() {
        for text in ["2027-02-03T04:05:06Z", "1900-01-01T00:00:00Z", "2999-12-31T23:59:59Z", "1969-12-31T23:59:59.007Z"] {
            assert_eq!(at(text).to_string(), text);
        }
        assert_eq!(at("2027-02-03T04:05:06.78+01:00").to_string(), "2027-02-03T03:05:06.780Z");
        assert_eq!((Time(i64::MIN).to_string(), Time(i64::MAX).to_string()), (TIME_MIN.to_string(), TIME_MAX.to_string()));
    }

    #[test]
    fn impossible_times_are_refused() {
        for text in
            ["9999-01-01T00:00:00Z", "2027-02-30T00:00:00Z", "2027-01-01T24:00:60Z", "2027-01-01T23:59:60Z", "2027-01-01", "-1"]
        {
            assert_eq!(Time::parse(text), None, "{text}");
        }
        assert_eq!(parse_clock("24:00"), None);
        assert_eq!(parse_date("2028-02-29"), NaiveDate::from_ymd_opt(2028, 2, 29));
        for text in [
            "2027-02-29",
            "1899-12-31",
            "3000-01-01",
            "2027-1-011",
            "2027-01-1 ",
            "+027-01-01",
            "2027/01/01",
            "2027-01-01Z",
            "２0270101",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
