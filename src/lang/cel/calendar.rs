//! The judging of everything that time alone can change.

use super::ast::Order;
use super::code::{Code, Op};
use super::flip::{Moving, next_date, next_hour};
use super::judge::{Env, Judge, Outcome, at, missing, odd};
use crate::lang::time::{Time, Zone, instant, parse_date};
use crate::lang::value::Value;
use chrono::{Datelike, NaiveDate, NaiveTime};
use std::borrow::Cow;
use std::sync::Arc;

impl Judge<'_> {
    /// Compares a fixed instant with a moving one, and notes when the answer flips.
    pub fn passed(&mut self, order: Order, fixed: Time, moving: Moving, label: &Arc<str>) -> bool {
        // Reaching the fixed instant and passing it differ by a millisecond.
        let strict = matches!(order, Order::Lt | Order::Ge);
        let bound = if strict { Time(fixed.0.saturating_add(1)) } else { fixed };
        let place = moving.at(self.now, self.zone);
        self.holds_until(moving.flip_before(self.now, self.zone, bound, self.until));
        if self.shows {
            self.see(label, &Ok(at(place)));
        }
        (place >= bound) == matches!(order, Order::Lt | Order::Le)
    }

    pub fn calendar<'c>(&mut self, code: &'c Code, env: Env<'c>) -> Outcome<'c> {
        let (now, zone) = (self.now, self.zone);
        let number = |n: i64| Ok(Cow::Owned(Value::Int(n)));
        match &code.op {
            Op::ToTime(of) => self.time(of, env).map(at),
            Op::Midnight(date) => Ok(at(instant(zone, date.and_time(NaiveTime::MIN)))),
            Op::DaysSince(of) | Op::DaysUntil(of) => {
                let days = (now.date(zone) - self.time(of, env)?.date(zone)).num_days();
                self.holds_until(Some(next_date(now, zone)));
                number(if matches!(code.op, Op::DaysSince(_)) { days } else { -days })
            }
            Op::Age(of) => {
                let value = self.run(of, env)?;
                let date = match &*value {
                    Value::Time(t) => Some(t.date(zone)),
                    Value::Text(text) => parse_date(text).or_else(|| Time::parse(text).map(|t| t.date(zone))),
                    _ => None,
                };
                let date = date.ok_or_else(|| odd(of, &value, "a date such as \"1990-05-17\""))?;
                let (years, next) = age(date, now, zone);
                self.holds_until(Some(next));
                number(years)
            }
            Op::Hour => {
                self.holds_until(Some(next_hour(now, zone)));
                number(i64::from(chrono::Timelike::hour(&now.local(zone))))
            }
            Op::Weekday => {
                self.holds_until(Some(next_date(now, zone)));
                number(i64::from(now.date(zone).weekday().number_from_monday()))
            }
            _ => Err(missing(code)),
        }
    }
}

/// Whole years since a date, and when there is one more. Who was born on 29 February is a year older on
/// the 28th where there is no 29th.
fn age(birth: NaiveDate, now: Time, zone: Zone) -> (i64, Time) {
    let today = now.date(zone);
    let birthday = |year: i32| {
        let day = NaiveDate::from_ymd_opt(year, birth.month(), birth.day());
        day.or_else(|| NaiveDate::from_ymd_opt(year, birth.month(), 28)).unwrap_or(today)
    };
    let this_year = birthday(today.year());
    let years = i64::from(today.year()) - i64::from(birth.year()) - i64::from(today < this_year);
    let next = match today.cmp(&this_year) {
        std::cmp::Ordering::Less => instant(zone, this_year.and_time(NaiveTime::MIN)),
        // On the day itself a clock that is put back over midnight would take the year away again.
        std::cmp::Ordering::Equal => next_date(now, zone),
        std::cmp::Ordering::Greater => instant(zone, birthday(today.year() + 1).and_time(NaiveTime::MIN)),
    };
    (years, if next > now { next } else { next_date(now, zone) })
}

/// RFC 3339 text, or a date, which is its local midnight.
pub(super) fn read_time(text: &str, zone: Zone) -> Option<Time> {
    Time::parse(text).or_else(|| parse_date(text).map(|date| instant(zone, date.and_time(NaiveTime::MIN))))
}
