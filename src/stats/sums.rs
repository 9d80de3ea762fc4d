//! Adding up, and money as text.

use super::table::Cell;
use crate::fact::count::{AGAIN, CONVERTED, Cohort, ENTERED, Figure, Group, HOLDOUT, NEXT_CHANNEL, Terms};
use crate::lang::value::Value;
use crate::money::Dec;

/// Kinds of fact that end a step by doing what it is for.
const DONE: &[&str] = &[
    "sent",
    "granted",
    "offered",
    "told",
    "called",
    "set",
    "emitted",
    "passed_on",
    "branched",
    "variant",
    "resumed",
    "shadowed",
];
/// Reasons of a branch that a step took because it could not do what it is for.
const DETOURS: &[&str] = &["failed", "if_expired"];

/// Count and amount of the figures that are picked; of who is held out there are none.
pub fn sum<'f>(figures: impl IntoIterator<Item = &'f Figure>, pick: impl Fn(&Figure) -> bool) -> (i64, i64) {
    let picked = figures.into_iter().filter(|figure| figure.variant != HOLDOUT && pick(figure));
    picked.fold((0, 0), |sum, figure| (sum.0 + figure.count, sum.1.saturating_add(figure.amount)))
}

/// How many facts of a kind.
pub fn of(figures: &[&Figure], what: &str) -> i64 {
    sum(figures.iter().copied(), |figure| figure.what == what).0
}

/// Events of a name.
pub fn events(figures: &[&Figure], name: &str) -> (i64, i64) {
    sum(figures.iter().copied(), |figure| figure.what == "event" && figure.reason == name)
}

/// Points that were given, less those that were taken back.
pub fn points(figures: &[&Figure]) -> i64 {
    let amount = |what: &str| sum(figures.iter().copied(), |figure| figure.what == what).1;
    amount("granted") - amount("undone")
}

/// How often a step was passed: it did what it is for, or was left out.
pub fn passed(figures: &[&Figure]) -> i64 {
    let all = figures.iter().copied();
    let done = sum(all.clone(), |figure| DONE.contains(&figure.what.as_str()) && !DETOURS.contains(&figure.reason.as_str())).0;
    let out = sum(all.clone(), left_out).0;
    let ended = sum(all, |figure| figure.what == "exited" && figure.reason == "cap").0;
    done + out - ended
}

/// How often a step was left out.
pub fn skipped(figures: &[&Figure]) -> i64 {
    sum(figures.iter().copied(), left_out).0
}

fn left_out(figure: &Figure) -> bool {
    matches!(figure.what.as_str(), "skipped" | "capped") && figure.reason != NEXT_CHANNEL
}

/// What came of some who entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Came {
    /// Entries.
    pub entered: i64,
    /// Runs that reached the goal.
    pub converted: i64,
    /// What their goals were worth, further ones included, in minor units.
    pub revenue: i64,
    /// Messages.
    pub sent: i64,
    /// Clicks.
    pub clicked: i64,
    /// Points, less those taken back.
    pub points: i64,
}

/// What came of those whom a filter picks.
pub fn came<'c>(cohorts: impl IntoIterator<Item = &'c Cohort>, pick: impl Fn(&Cohort) -> bool) -> Came {
    let mut came = Came::default();
    for row in cohorts.into_iter().filter(|row| pick(row)) {
        match row.what.as_str() {
            ENTERED => came.entered += row.count,
            CONVERTED => {
                came.converted += row.count;
                came.revenue = came.revenue.saturating_add(row.amount);
            }
            AGAIN => came.revenue = came.revenue.saturating_add(row.amount),
            "sent" => came.sent += row.count,
            "message_clicked" => came.clicked += row.count,
            "granted" => came.points += row.amount,
            "undone" => came.points -= row.amount,
            _ => {}
        }
    }
    came
}

/// What came of all who entered and were not held out.
pub fn came_of_all<'c>(cohorts: impl IntoIterator<Item = &'c Cohort>, pick: impl Fn(&Cohort) -> bool) -> Came {
    came(cohorts, |row| row.group == Group::All && !row.held && pick(row))
}

/// Money in major units, as decimal text; in minor units where the currency is not known.
pub fn money(minor: i64, terms: &Terms) -> Cell {
    let shown = terms.currency.map_or_else(|| minor.to_string(), |currency| currency.show(minor));
    Cell::Money(shown.split(' ').next().unwrap_or_default().to_owned())
}

/// What points are worth, if that was said.
pub fn worth(points: i64, terms: &Terms) -> Cell {
    let worth = terms.point.and_then(|point| point.0.checked_mul(points));
    worth.map_or(Cell::Nothing, |worth| Cell::Money(Value::Dec(Dec(worth)).to_string()))
}

/// An amount shared out, to the last digit of the currency.
pub fn each(minor: i64, of: i64, terms: &Terms) -> Cell {
    if of <= 0 {
        return Cell::Nothing;
    }
    let (twice, half) = (i128::from(minor) * 2, i128::from(of));
    let rounded = (twice + half * i128::from(minor.signum())) / (half * 2);
    money(i64::try_from(rounded).unwrap_or(i64::MAX), terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shared_out_to_the_last_digit() {
        let terms: Terms = "UTC EUR 0.01".parse().unwrap();
        let text = |cell: Cell| match cell {
            Cell::Money(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text(each(1_000, 3, &terms)), "3.33");
        assert_eq!(text(each(-1_001, 2, &terms)), "-5.01", "half a cent is rounded away from nothing");
        assert_eq!(text(each(5, 2, &"UTC JPY".parse().unwrap())), "3");
        assert_eq!(each(5, 0, &terms), Cell::Nothing);
        assert_eq!(text(worth(250, &terms)), "2.5");
        assert_eq!(text(money(123_456_789_012, &terms)), "1234567890.12");
    }
}
