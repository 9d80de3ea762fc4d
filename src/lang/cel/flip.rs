//! When does time alone change an answer? The next instant at which a moving instant passes a fixed one.
//!
//! "60 days ago" moves with now, but neither evenly nor always forward: where clocks change it jumps, and
//! at the end of a month "1 month ago" stands still or steps back (28 February is one month before
//! 28, 29, 30 and 31 March). So the flip is not found by adding the span to the fixed instant. That only
//! says where to look; there the calendar is walked in stretches on which the movement is even.

use crate::lang::time::{DAY_MS, HOUR_MS, MINUTE_MS, Span, TIME_MAX, TIME_MIN, Time, Zone};
use chrono::{Offset, TimeZone, Timelike};

/// How far a calendar span may miss its own inverse: clock changes, and whole days that a zone skipped.
const DAYS_SLACK_MS: i64 = 2 * DAY_MS;
/// The same with months, whose lengths differ by 3 days, clamp by 3 and meet leap days.
const MONTHS_SLACK_MS: i64 = 12 * DAY_MS;
/// Within a stretch this short an even movement is believed though a clock changes in it.
const STRETCH_MS: i64 = 15 * MINUTE_MS;
/// A clock that is the same before and after so long a time was not changed within it: no zone has taken a change back
/// in less than 3.9 days (Freetown in 1939) since 1900.
const QUIET_MS: i64 = 3 * DAY_MS;
/// Looks at the calendar for one flip; what is then still open is answered too early, which is allowed.
const LOOKS_MAX: u32 = 10_000;

/// An instant that moves with now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moving {
    /// How far from now.
    pub span: Span,
    /// Before now, or after it.
    pub past: bool,
}

impl Moving {
    /// The instant a span before now.
    pub fn ago(span: Span) -> Moving {
        Moving { span, past: true }
    }

    /// Where it stands at `now`.
    pub fn at(self, now: Time, zone: Zone) -> Time {
        if self.past { now.minus(self.span, zone) } else { now.plus(self.span, zone) }
    }

    /// The first instant after `now` at which "has this moving instant come to `bound`?" has another answer
    /// than at `now`; `None`: it keeps its answer for ever.
    pub fn flip(self, now: Time, zone: Zone, bound: Time) -> Option<Time> {
        self.flip_before(now, zone, bound, None)
    }

    /// As [`Moving::flip`], for who does not care about what comes only at an instant `before` or after it.
    pub fn flip_before(self, now: Time, zone: Zone, bound: Time, before: Option<Time>) -> Option<Time> {
        let slack = self.slack_ms();
        let (earliest, latest) = self.reach(bound, slack);
        if now.0 >= latest || before.is_some_and(|before| earliest >= before.0) {
            return None;
        }
        let back = Moving { past: !self.past, ..self }.at(bound, zone);
        // Before the window the answer is no, after it yes; both hold for every calendar.
        let (from, to) = (Time(back.0.saturating_sub(slack)), Time(back.0.saturating_add(slack).saturating_add(1)));
        let mut at = Time(now.0.saturating_add(1)).max(from);
        if at >= to {
            return None;
        }
        let reached = self.at(now, zone) >= bound;
        let mut looks = LOOKS_MAX;
        while at < to {
            let end = self.stretch(at, zone).min(to);
            if end <= at {
                return None;
            }
            if let Some(found) = self.search(at, end, zone, bound, reached, &mut looks) {
                return Some(found);
            }
            at = end;
        }
        None
    }

    fn slack_ms(self) -> i64 {
        match self.span {
            Span { months: 0, days: 0, .. } => 0,
            Span { months: 0, .. } => DAYS_SLACK_MS,
            _ => MONTHS_SLACK_MS,
        }
    }

    /// Before the first of these instants there is no flip, whatever the calendar, nor from the second on.
    fn reach(self, bound: Time, slack: i64) -> (i64, i64) {
        let length = |month_days: i64| {
            let days = i64::from(self.span.months) * month_days + i64::from(self.span.days);
            days.saturating_mul(DAY_MS).saturating_add(self.span.ms)
        };
        let (short, long) = (length(28), length(31));
        let (first, last) = if self.past { (short, long) } else { (-long, -short) };
        // Behind the ends of what can be written an instant stands still.
        let inside = |ms: i64| bound.0.saturating_add(ms).clamp(TIME_MIN.0, TIME_MAX.0);
        (inside(first) - 2 * slack, inside(last) + 2 * slack + 1)
    }

    /// Where a stretch ends that begins at `at` and on which the movement can be even.
    fn stretch(self, at: Time, zone: Zone) -> Time {
        if self.span.months == 0 {
            // Months alone are uneven where no clock changes.
            return at.plus_ms(QUIET_MS);
        }
        let midnight = at.next_midnight(zone);
        // A zone that skipped a whole day can name a midnight in the past: then go by hours.
        if midnight > at { midnight } else { at.plus_ms(HOUR_MS) }
    }

    /// Looks in `[from, to)`: directly where the movement is even, else in its halves.
    fn search(self, from: Time, to: Time, zone: Zone, bound: Time, reached: bool, looks: &mut u32) -> Option<Time> {
        let (first, last) = (self.at(from, zone), self.at(Time(to.0 - 1), zone));
        *looks = looks.saturating_sub(1);
        if (first >= bound) != reached || *looks == 0 {
            return Some(from);
        }
        let length = to.0 - from.0;
        let even = last.0 - first.0 == length - 1
            && (length <= STRETCH_MS
                || (offset_ms(from, zone) == offset_ms(Time(to.0 - 1), zone) && offset_ms(first, zone) == offset_ms(last, zone)));
        if even {
            // An even movement goes forward: it can reach the bound here, but not fall behind it.
            return (!reached && last >= bound).then(|| Time(from.0 + (bound.0 - first.0)));
        }
        if length <= 1 {
            return None;
        }
        let middle = Time(from.0 + length / 2);
        let found = self.search(from, middle, zone, bound, reached, looks);
        found.or_else(|| self.search(middle, to, zone, bound, reached, looks))
    }
}

/// How far the clocks of `zone` are ahead of UTC.
fn offset_ms(at: Time, zone: Zone) -> i64 {
    let local = at.local(chrono_tz::UTC);
    i64::from(zone.offset_from_utc_datetime(&local).fix().local_minus_utc()) * 1_000
}

/// The next instant at which the local date may be another one.
pub fn next_date(now: Time, zone: Zone) -> Time {
    before_clock_change(now, now.next_midnight(zone), zone)
}

/// The next instant at which the local hour may be another one.
pub fn next_hour(now: Time, zone: Zone) -> Time {
    let local = now.local(zone);
    let into =
        i64::from(local.minute()) * MINUTE_MS + i64::from(local.second()) * 1_000 + i64::from(local.nanosecond() / 1_000_000);
    before_clock_change(now, now.plus_ms(HOUR_MS - into), zone)
}

/// `end`, or the instant before it at which the clocks change.
fn before_clock_change(now: Time, end: Time, zone: Zone) -> Time {
    if end <= now {
        return now.plus_ms(HOUR_MS);
    }
    let offset = offset_ms(now, zone);
    if offset_ms(Time(end.0 - 1), zone) == offset {
        return end;
    }
    let (mut same, mut other) = (now.0, end.0 - 1);
    while other - same > 1 {
        let middle = same + (other - same) / 2;
        if offset_ms(Time(middle), zone) == offset { same = middle } else { other = middle }
    }
    Time(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    fn span(text: &str) -> Span {
        Span::parse(text).unwrap()
    }

    #[test]
    fn flips_are_exact_where_days_are_even_and_where_clocks_change() {
        let berlin = chrono_tz::Europe::Berlin;
        for (span_text, bound, now, flip) in [
            ("60 days", "2027-01-01T10:00:00Z", "2027-01-05T00:00:00Z", Some("2027-03-02T10:00:00Z")),
            // Clocks go forward in between: the local hour stays, so it is an elapsed hour less.
            ("7 days", "2027-03-25T10:00:00Z", "2027-03-26T00:00:00Z", Some("2027-04-01T09:00:00Z")),
            ("72h", "2027-03-26T10:00:00Z", "2027-03-26T11:00:00Z", Some("2027-03-29T10:00:00Z")),
            // A month before 28 March is 28 February; then every day until 31 March is one month after it.
            ("1 month", "2027-02-28T12:00:00Z", "2027-03-01T00:00:00Z", Some("2027-03-28T11:00:00Z")),
            ("1 month", "2027-02-28T12:00:00Z", "2027-03-28T11:00:00Z", Some("2027-03-28T22:00:00Z")),
            ("60 days", "2027-01-01T10:00:00Z", "2027-04-01T10:00:00Z", None),
        ] {
            assert_eq!(Moving::ago(span(span_text)).flip(at(now), berlin, at(bound)), flip.map(at), "{span_text} {bound} {now}");
        }
        let ahead = Moving { span: Span::days(3), past: false };
        assert_eq!(ahead.flip(at("2027-01-01T00:00:00Z"), berlin, at("2027-02-01T00:00:00Z")), Some(at("2027-01-29T00:00:00Z")));
    }

    #[test]
    fn dates_and_hours_end_where_clocks_show_it() {
        let lord_howe = chrono_tz::Australia::Lord_Howe;
        // Half an hour is repeated on 2027-04-04 at 02:00 (+11:00), that is 15:00 UTC on the day before.
        assert_eq!(next_hour(at("2027-04-03T14:40:00Z"), lord_howe), at("2027-04-03T15:00:00Z"));
        assert_eq!(next_hour(at("2027-01-03T14:40:00Z"), chrono_tz::Europe::Berlin), at("2027-01-03T15:00:00Z"));
        // In St. John's clocks changed a minute after midnight: one hour was cut short, one day came twice.
        let st_johns = chrono_tz::America::St_Johns;
        assert_eq!(next_hour(at("2010-03-14T03:30:30Z"), st_johns), at("2010-03-14T03:31:00Z"));
        assert_eq!(next_date(at("2010-11-07T02:30:30Z"), st_johns), at("2010-11-07T02:31:00Z"));
        assert_eq!(next_date(at("2027-01-03T14:40:00Z"), chrono_tz::Europe::Berlin), at("2027-01-03T23:00:00Z"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn a_flip_is_never_late_and_is_one(
            months in 0u32..4, days in 0u32..40, hours in 0i64..30, past: bool, zone in 0usize..5,
            // 2026 to 2028, so that both clock changes and leap days are met; near the bound on purpose.
            bound in 1_767_225_600i64..1_861_920_000, near in -8_000i64..400, steps in 50usize..120,
        ) {
            let zone = [chrono_tz::Europe::Berlin, chrono_tz::America::St_Johns, chrono_tz::America::Havana,
                chrono_tz::Australia::Lord_Howe, chrono_tz::UTC][zone];
            let moving = Moving { span: Span { months, days, ms: hours * HOUR_MS }, past };
            let bound = Time(bound * 1_000);
            let now = Moving { past: !past, ..moving }.at(bound, zone).plus_ms(near * 3 * MINUTE_MS);
            let reached = |t: Time| moving.at(t, zone) >= bound;
            let flip = moving.flip(now, zone, bound);
            for before in [now.plus_ms(1), flip.unwrap_or(bound), flip.map_or(bound, |flip| flip.plus_ms(1))] {
                let found = moving.flip_before(now, zone, bound, Some(before)).filter(|found| *found < before);
                prop_assert_eq!(found, flip.filter(|flip| *flip < before), "before {}", before);
            }
            if let Some(flip) = flip {
                prop_assert!(flip > now && reached(flip) != reached(now) && reached(Time(flip.0 - 1)) == reached(now));
            }
            let mut t = now;
            for _ in 0..steps {
                t = t.plus_ms(7 * HOUR_MS + 13 * MINUTE_MS + 1);
                if flip.is_some_and(|flip| t >= flip) { break; }
                prop_assert_eq!(reached(t), reached(now), "at {:?}, flip {:?}", t, flip);
            }
        }
    }
}
