//! Groups beside each other: variants, segments, and those who were left alone against those who were not.

use super::Counted;
use super::interval::{Share, difference, share};
use super::sums::{Came, came, each, money};
use super::table::{Cell, Kind, Table};
use crate::fact::count::{Cohort, Group, Terms};
use std::collections::BTreeSet;

/// Of fewer entries nothing can be said.
const ENTERED_MIN: i64 = 100;
/// Of fewer who converted, or did not, neither.
const CELL_MIN: i64 = 5;

const RATE: [(&str, Kind); 4] =
    [("converted", Kind::Count), ("rate", Kind::Share), ("rate_low", Kind::Share), ("rate_high", Kind::Share)];

/// Conversions with their share and its interval.
fn rate(came: &Came) -> [Cell; 4] {
    let share = share(came.converted, came.entered);
    let part = |pick: fn(Share) -> f64| Cell::share(share.map(pick));
    [Cell::Count(came.converted), part(|share| share.value), part(|share| share.low), part(|share| share.high)]
}

/// Whether a group is too small for its share to mean anything.
fn is_small(came: &Came) -> bool {
    came.entered < ENTERED_MIN || came.converted < CELL_MIN || came.entered - came.converted < CELL_MIN
}

/// The variants of each split beside each other.
pub fn variants(counted: &Counted, notes: &mut Vec<String>) -> Table {
    let mut columns = vec![("split", Kind::Text), ("variant", Kind::Text), ("drawn", Kind::Count)];
    columns.extend(RATE);
    columns.extend([("revenue", Kind::Money), ("each", Kind::Money), ("sent", Kind::Count)]);
    columns.extend([("clicked", Kind::Count), ("points", Kind::Count)]);
    let mut table = Table::new("variants", "Variants: of those for whom they were drawn", &columns);
    let arms = |row: &&Cohort| row.group == Group::Arm && !row.held;
    let named: BTreeSet<(&str, &str)> =
        counted.cohorts.iter().filter(arms).map(|row| (row.step.as_str(), row.name.as_str())).collect();
    for (step, name) in named {
        let came = came(counted.cohorts.iter().filter(arms), |row| row.step == step && row.name == name);
        let mut row = vec![Cell::from(step), Cell::from(name), Cell::Count(came.entered)];
        row.extend(rate(&came));
        row.extend([money(came.revenue, &counted.terms), each(came.revenue, came.entered, &counted.terms)]);
        row.extend([came.sent, came.clicked, came.points].map(Cell::Count));
        table.rows.push(row);
        let won = counted.winners.iter().find(|winner| winner.step == step && winner.variant == name);
        if let Some(won) = won {
            notes.push(format!("`{name}` of `{step}` was chosen, and holds since {}: {}", won.from, won.why()));
        }
        if is_small(&came) && won.is_none() {
            notes.push(format!("`{name}` of `{step}` is too small a sample to say anything: {}", sample(&came)));
        }
    }
    table
}

fn sample(came: &Came) -> String {
    format!(
        "{} entered and {} converted; wait for {ENTERED_MIN} entries with {CELL_MIN} who converted and {CELL_MIN} who did not",
        came.entered, came.converted
    )
}

/// By the segments in which customers were when they entered.
pub fn segments(counted: &Counted) -> Table {
    let mut columns = vec![("segment", Kind::Text), ("entered", Kind::Count), ("held_out", Kind::Count)];
    columns.extend(RATE);
    columns.extend([("revenue", Kind::Money), ("each", Kind::Money), ("sent", Kind::Count)]);
    columns.extend([("clicked", Kind::Count), ("points", Kind::Count)]);
    let mut table = Table::new("segments", "Segments at entry: of those who were in them", &columns);
    let of_segment = |row: &&Cohort| row.group == Group::Segment;
    let names: BTreeSet<&str> = counted.cohorts.iter().filter(of_segment).map(|row| row.name.as_str()).collect();
    for name in names {
        let rows = || counted.cohorts.iter().filter(of_segment);
        let (treated, held) =
            (came(rows(), |row| row.name == name && !row.held), came(rows(), |row| row.name == name && row.held));
        let mut row = vec![Cell::from(name), Cell::Count(treated.entered), Cell::Count(held.entered)];
        row.extend(rate(&treated));
        row.extend([money(treated.revenue, &counted.terms), each(treated.revenue, treated.entered, &counted.terms)]);
        row.extend([treated.sent, treated.clicked, treated.points].map(Cell::Count));
        table.rows.push(row);
    }
    table
}

/// Those who entered against those who were held out, and the difference that the funnel makes.
pub fn holdout(counted: &Counted, tables: &mut Vec<Table>, notes: &mut Vec<String>) {
    let group = |held: bool| came(&counted.cohorts, move |row| row.group == Group::All && row.held == held);
    let (treated, held) = (group(false), group(true));
    if held.entered == 0 {
        return;
    }
    let mut columns = vec![("group", Kind::Text), ("entered", Kind::Count)];
    columns.extend(RATE);
    columns.extend([("revenue", Kind::Money), ("each", Kind::Money)]);
    let mut groups = Table::new("holdout", "Held out: those who entered beside those who were left alone", &columns);
    for (name, came) in [("entered", &treated), ("held out", &held)] {
        let mut row = vec![Cell::from(name), Cell::Count(came.entered)];
        row.extend(rate(came));
        row.extend([money(came.revenue, &counted.terms), each(came.revenue, came.entered, &counted.terms)]);
        groups.rows.push(row);
    }
    tables.push(groups);
    if let (Some(a), Some(b)) = (share(treated.converted, treated.entered), share(held.converted, held.entered)) {
        let lift = difference(a, b);
        tables.push(lifted(lift, &treated, &held, &counted.terms));
        notes.push(verdict(lift, &treated, &held));
    }
}

fn lifted(lift: Share, treated: &Came, held: &Came, terms: &Terms) -> Table {
    let columns = [
        ("lift", Kind::Share),
        ("lift_low", Kind::Share),
        ("lift_high", Kind::Share),
        ("extra_conversions", Kind::Count),
        ("extra_each", Kind::Money),
        ("extra_revenue", Kind::Money),
    ];
    let mut table = Table::new("lift", "Lift: what the funnel adds (95 % interval of the difference of shares)", &columns);
    // What the treated would have brought had they been left alone, from how the others did.
    let expected = |of: i64| {
        let (of, twice) = (i128::from(of) * i128::from(treated.entered), 2 * i128::from(held.entered));
        let rounded = (2 * of + i128::from(held.entered) * of.signum()) / twice;
        i64::try_from(rounded).unwrap_or(i64::MAX)
    };
    let extra = treated.revenue - expected(held.revenue);
    table.rows.push(vec![
        Cell::Share(lift.value),
        Cell::Share(lift.low),
        Cell::Share(lift.high),
        Cell::Count(treated.converted - expected(held.converted)),
        each(extra, treated.entered, terms),
        money(extra, terms),
    ]);
    table
}

fn verdict(lift: Share, treated: &Came, held: &Came) -> String {
    match (is_small(treated), is_small(held)) {
        (true, _) => format!("too small a sample to say anything about the lift: {}", sample(treated)),
        (_, true) => format!("too small a sample to say anything about the lift: of those held out, {}", sample(held)),
        _ if lift.low > 0.0 => "the funnel raises conversion: the interval of the lift is above 0".to_owned(),
        _ if lift.high < 0.0 => "the funnel lowers conversion: the interval of the lift is below 0".to_owned(),
        _ => "no effect on conversion can be told from chance: the interval of the lift holds 0".to_owned(),
    }
}
