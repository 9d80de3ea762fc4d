//! The window of a message: the weekdays and hours in which it may be sent, by the customer's clock.

use super::Quiet;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{self, Field, Object, Shape};
use crate::lang::time::{Time, Zone, instant};
use chrono::{Datelike, Days, NaiveDate, NaiveTime};
use std::fmt;

const DAYS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const OUTSIDE: &[&str] = &["hold", "skip", "exit"];

/// Fields of a window.
pub const FIELDS: &[Field] = &[
    Field::optional("days", Shape::OneOrMore(&Shape::Word(DAYS)), "the weekdays; every day if not given"),
    Field::optional("from", Shape::Clock, "the first minute; from midnight if not given"),
    Field::optional("until", Shape::Clock, "the first minute that is too late; until midnight if not given"),
    Field::optional(
        "outside",
        Shape::Word(OUTSIDE),
        "what happens outside of it: `hold` until it opens (default), `skip` the message, or end the run (`exit`)",
    ),
];

/// When a message may be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// From Monday on.
    days: [bool; 7],
    from: Option<NaiveTime>,
    until: Option<NaiveTime>,
    /// What happens outside.
    pub outside: Quiet,
}

impl Window {
    /// Reads a map with [`FIELDS`].
    pub fn read(node: &Node, faults: &mut Faults) -> Option<Window> {
        let object = Object::read(node, &[FIELDS], "a window", faults)?;
        let mut days = [object.node("days").is_none(); 7];
        for word in object.node("days").into_iter().flat_map(|node| node.list().unwrap_or(std::slice::from_ref(node))) {
            let day = shape::word(word, DAYS, faults)?;
            let at = DAYS.iter().position(|known| *known == day)?;
            days[at] = true;
        }
        let (from, until) = (object.clock("from", faults), object.clock("until", faults));
        if days == [false; 7] || until.is_some_and(|until| from.unwrap_or(NaiveTime::MIN) >= until) {
            faults
                .error("empty-window", &node.place, "this window is never open: it ends before it begins, or has no day")
                .hint("for example `{ days: [mon, tue, wed, thu, fri], from: \"09:00\", until: \"18:00\" }`");
            return None;
        }
        let outside = match object.word("outside", OUTSIDE, faults) {
            Some("skip") => Quiet::Skip,
            Some("exit") => Quiet::Exit,
            _ => Quiet::Hold,
        };
        Some(Window { days, from, until, outside })
    }

    /// Whether it is open at a clock time, on the days on which it is.
    pub fn has(&self, clock: NaiveTime) -> bool {
        clock >= self.from.unwrap_or(NaiveTime::MIN) && self.until.is_none_or(|until| clock < until)
    }

    /// From when to when it is open on a day.
    fn on(&self, date: NaiveDate, zone: Zone) -> Option<(Time, Time)> {
        if !self.days[date.weekday().num_days_from_monday() as usize] {
            return None;
        }
        let begin = instant(zone, date.and_time(self.from.unwrap_or(NaiveTime::MIN)));
        let end = match self.until {
            Some(until) => date.and_time(until),
            None => date.checked_add_days(Days::new(1))?.and_time(NaiveTime::MIN),
        };
        Some((begin, instant(zone, end)))
    }

    /// Until when it is open; `None`: it is closed at `now`.
    pub fn open(&self, now: Time, zone: Zone) -> Option<Time> {
        self.on(now.date(zone), zone).filter(|(begin, end)| *begin <= now && now < *end).map(|(_, end)| end)
    }

    /// When it opens next after `now`.
    pub fn opens(&self, now: Time, zone: Zone) -> Time {
        let today = now.date(zone);
        let days = (0..=8).filter_map(|days| today.checked_add_days(Days::new(days)));
        // A day on which clocks leave the window out has none.
        let next = days.filter_map(|date| self.on(date, zone)).find(|(begin, end)| *begin > now && begin < end);
        next.map_or(now, |(begin, _)| begin)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> = DAYS.iter().zip(self.days).filter(|(_, open)| *open).map(|(day, _)| *day).collect();
        let clock = |time: NaiveTime| time.format("%H:%M").to_string();
        let from = clock(self.from.unwrap_or(NaiveTime::MIN));
        let until = self.until.map_or_else(|| "24:00".to_owned(), clock);
        match days.len() {
            7 => write!(f, "{from}–{until}"),
            _ if self.from.is_none() && self.until.is_none() => f.write_str(&days.join(", ")),
            _ => write!(f, "{} {from}–{until}", days.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::node;

    const BERLIN: Zone = chrono_tz::Europe::Berlin;

    fn window(text: &str) -> (Option<Window>, Vec<&'static str>) {
        let mut faults = Faults::default();
        let node = node::parse("f", text, &mut faults).unwrap();
        let window = Window::read(&node, &mut faults);
        (window, faults.list().iter().map(|fault| fault.code).collect())
    }

    fn at(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    #[test]
    fn it_opens_and_closes_by_the_clock_of_her_zone() {
        let work = window("{ days: [mon, tue, fri], from: \"09:00\", until: \"17:30\" }").0.unwrap();
        assert_eq!(work.to_string(), "mon, tue, fri 09:00–17:30");
        // 2027-03-26 is the Friday before clocks go forward.
        assert_eq!(work.open(at("2027-03-26T07:59:59Z"), BERLIN), None);
        assert_eq!(work.open(at("2027-03-26T08:00:00Z"), BERLIN), Some(at("2027-03-26T16:30:00Z")));
        assert_eq!(work.open(at("2027-03-26T16:30:00Z"), BERLIN), None);
        assert_eq!(work.opens(at("2027-03-26T16:30:00Z"), BERLIN), at("2027-03-29T07:00:00Z"));
        let sundays = window("{ days: sun }").0.unwrap();
        assert_eq!(sundays.open(at("2027-03-28T00:00:00Z"), BERLIN), Some(at("2027-03-28T22:00:00Z")));
        assert_eq!(sundays.opens(at("2027-03-28T22:00:00Z"), BERLIN), at("2027-04-03T22:00:00Z"));
        assert_eq!(sundays.to_string(), "sun");
    }

    #[test]
    fn what_is_never_open_is_refused() {
        for text in ["{ from: \"18:00\", until: \"09:00\" }", "{ from: \"09:00\", until: \"09:00\" }", "{ days: [] }"] {
            assert_eq!(window(text), (None, vec!["empty-window"]), "{text}");
        }
        assert_eq!(window("{ days: [monday] }").1, ["unknown-word"]);
    }
}
