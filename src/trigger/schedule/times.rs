//! The times of a cron expression on a wall clock, worked out once: looking for the next one is part of every turn.
//!
//! Which days of a year match depends on two things only, on which weekday it begins and whether it is a leap
//! year. So there are fourteen kinds of years, and of each kind it is kept which days match; the minutes are the
//! same on every day that does.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use croner::{Cron, YEAR_UPPER_LIMIT};

const MINUTES_PER_DAY: u32 = 24 * 60;
const YEAR_KINDS: usize = 14;
/// All kinds of years occur from here on, and a search from here on soon ends.
const FIRST_YEAR: i32 = YEAR_UPPER_LIMIT - CALENDAR_YEARS;
/// Years after which weekdays and leap days come in the same order again (146,097 days are 20,871 weeks).
const CALENDAR_YEARS: i32 = 400;
/// One bit for each day of a year.
const WORDS: usize = 6;

/// The days of a year that match, by their place in it.
type Days = [u64; WORDS];

#[derive(Debug)]
pub(super) struct Times {
    /// Minutes of a day, ascending; never empty.
    minutes: Vec<u16>,
    /// By the kind of the year.
    days: Box<[Days; YEAR_KINDS]>,
}

fn kind(year: i32) -> Option<usize> {
    let first = NaiveDate::from_yo_opt(year, 1)?;
    Some(first.weekday().num_days_from_monday() as usize + if first.leap_year() { YEAR_KINDS / 2 } else { 0 })
}

fn clock(minute: u32) -> NaiveTime {
    NaiveTime::from_num_seconds_from_midnight_opt(minute * 60, 0).unwrap_or(NaiveTime::MIN)
}

impl Times {
    /// Those of `cron`; `None`: it never fires.
    pub fn of(cron: &Cron) -> Option<Times> {
        let start = NaiveDate::from_yo_opt(FIRST_YEAR, 1)?.and_time(NaiveTime::MIN);
        let first = cron.find_next_occurrence(&start, true).ok()?;
        let matches = |at: NaiveDateTime| cron.is_time_matching(&at).unwrap_or(false);
        let minutes = (0..MINUTES_PER_DAY).filter(|minute| matches(first.date().and_time(clock(*minute))));
        let minutes: Vec<u16> = minutes.filter_map(|minute| u16::try_from(minute).ok()).collect();
        let mut days: Box<[Days; YEAR_KINDS]> = Box::default();
        let mut known = [false; YEAR_KINDS];
        for year in FIRST_YEAR..FIRST_YEAR + CALENDAR_YEARS {
            let kind = kind(year)?;
            if std::mem::replace(&mut known[kind], true) {
                continue;
            }
            for date in NaiveDate::from_yo_opt(year, 1)?.iter_days().take_while(|date| date.year() == year) {
                let place = date.ordinal0() as usize;
                days[kind][place / 64] |= u64::from(matches(date.and_time(first.time()))) << (place % 64);
            }
        }
        Some(Times { minutes, days })
    }

    /// The first one strictly after `from`, up to and including the year `until`.
    pub fn after(&self, from: NaiveDateTime, until: i32) -> Option<NaiveDateTime> {
        let date = from.date();
        if self.day(date.year(), date.ordinal0()) == Some(date) {
            let passed = from.time().num_seconds_from_midnight() / 60;
            let next = self.minutes.get(self.minutes.partition_point(|minute| u32::from(*minute) <= passed));
            if let Some(minute) = next {
                return Some(date.and_time(clock(u32::from(*minute))));
            }
        }
        let first = clock(u32::from(*self.minutes.first()?));
        let (mut year, mut place) = (date.year(), date.ordinal0() + 1);
        while year <= until {
            if let Some(date) = self.day(year, place) {
                return Some(date.and_time(first));
            }
            (year, place) = (year + 1, 0);
        }
        None
    }

    /// The first day of a year that matches, from a place in it on.
    fn day(&self, year: i32, place: u32) -> Option<NaiveDate> {
        let days = &self.days[kind(year)?];
        let mut word = place as usize / 64;
        let mut bits = days.get(word)? & (u64::MAX << (place % 64));
        while bits == 0 {
            word += 1;
            bits = *days.get(word)?;
        }
        NaiveDate::from_yo_opt(year, word as u32 * 64 + bits.trailing_zeros() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use croner::parser::{CronParser, Seconds, Year};
    use proptest::prelude::*;

    fn cron(text: &str) -> Cron {
        CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(text).unwrap()
    }

    fn date(year: i32, place: u32) -> NaiveDate {
        NaiveDate::from_yo_opt(year, place).unwrap()
    }

    /// Everything that a day of the month or of the week can be written as.
    const DAYS: [&str; 14] = [
        "* * *",
        "8 11 *",
        "29 2 *",
        "29 2 MON",
        "L * *",
        "LW * *",
        "15W * *",
        "31 1,3,12 *",
        "* * MON-FRI",
        "* * FRI#2",
        "* * SUNL",
        "13 * +FRI",
        "1-7 */3 TUE",
        "30 4-6 *",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_next_time_is_the_one_of_the_expression(
            days in 0..DAYS.len(), minutes in 0usize..5, year in 1990i32..2100, place in 1u32..366, second in 0u32..86_400, n in 1usize..6,
        ) {
            let text = format!("{} {}", ["0 9", "*/7 *", "59 23", "0 0", "1,30 6-8"][minutes], DAYS[days]);
            let cron = cron(&text);
            let times = Times::of(&cron).unwrap();
            let mut from = date(year, place).and_time(NaiveTime::from_num_seconds_from_midnight_opt(second, 0).unwrap());
            for _ in 0..n {
                let next = times.after(from, 3_000);
                prop_assert_eq!(next, cron.find_next_occurrence(&from, false).ok(), "{} after {}", text, from);
                from = next.unwrap();
            }
        }
    }

    #[test]
    fn the_search_ends_and_what_never_comes_is_none() {
        let leap = Times::of(&cron("0 9 29 2 *")).unwrap();
        let from = date(2096, 100).and_time(NaiveTime::MIN);
        // 2100 is no leap year.
        assert_eq!(leap.after(from, 2_103), None);
        assert_eq!(leap.after(from, 2_104).unwrap().to_string(), "2104-02-29 09:00:00");
        assert!(Times::of(&cron("0 9 30 2 *")).is_none());
    }
}
