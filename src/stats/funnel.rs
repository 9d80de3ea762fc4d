//! One funnel.

use super::compare;
use super::interval::share;
use super::sums::{came, came_of_all, each, events, money, of, passed, points, skipped, worth};
use super::table::{Cell, Kind, Table};
use super::{By, Counted, Per, Question};
use crate::fact::count::{CONVERTED, Cohort, Figure, Group};
use crate::lang::time::parse_date;
use chrono::{Datelike, Days, Months, NaiveDate};
use std::collections::{BTreeMap, BTreeSet};

/// Days after the entry by which the conversions of a cohort are added up.
const AGES: [i32; 8] = [0, 1, 3, 7, 14, 30, 60, 90];

/// The tables that a question about a funnel asks for.
pub fn tables(question: &Question, counted: &Counted, tables: &mut Vec<Table>, notes: &mut Vec<String>) {
    let all: Vec<&Figure> = counted.figures.iter().collect();
    match question.by {
        None => {
            tables.push(whole(counted, &all));
            tables.push(ends(&all));
            tables.push(steps(question, counted, &all));
            tables.push(channels(&all));
            tables.push(compare::variants(counted, notes));
            compare::holdout(counted, tables, notes);
        }
        Some(By::Day) => tables.push(lines(counted, "day", |figure| &figure.day, |row| &row.day, |_| None)),
        Some(By::Version) => {
            let waiting =
                |version: &str| Some(counted.live.iter().filter(|live| live.version == version).map(|live| live.count).sum());
            tables.push(lines(counted, "version", |figure| &figure.version, |row| &row.version, waiting));
        }
        Some(By::Step) => tables.push(steps(question, counted, &all)),
        Some(By::Variant) => tables.push(compare::variants(counted, notes)),
        Some(By::Channel) => tables.push(channels(&all)),
        Some(By::Segment) => tables.push(compare::segments(counted)),
        Some(By::Cohort) => tables.push(cohorts(question, counted)),
    }
}

const LINE: [(&str, Kind); 13] = [
    ("entered", Kind::Count),
    ("held_out", Kind::Count),
    ("waiting", Kind::Count),
    ("finished", Kind::Count),
    ("exited", Kind::Count),
    ("stopped", Kind::Count),
    ("sent", Kind::Count),
    ("converted", Kind::Count),
    ("rate", Kind::Share),
    ("revenue", Kind::Money),
    ("each", Kind::Money),
    ("points", Kind::Count),
    ("cost", Kind::Money),
];

/// The main figures of some of a funnel's sums; `waiting` is how many are under way now.
pub fn line(counted: &Counted, figures: &[&Figure], cohorts: &[&Cohort], waiting: Option<i64>) -> Vec<Cell> {
    let (terms, came) = (&counted.terms, came_of_all(cohorts.iter().copied(), |_| true));
    let held: i64 = figures.iter().filter(|figure| figure.what == "held_out").map(|figure| figure.count).sum();
    let points = points(figures);
    let mut cells = vec![Cell::Count(came.entered), Cell::Count(held), waiting.map_or(Cell::Nothing, Cell::Count)];
    cells.extend(["finished", "exited", "stopped", "sent"].map(|what| Cell::Count(of(figures, what))));
    cells.extend([
        Cell::Count(came.converted),
        Cell::share(share(came.converted, came.entered).map(|share| share.value)),
        money(came.revenue, terms),
        each(came.revenue, came.entered, terms),
        Cell::Count(points),
        worth(points, terms),
    ]);
    cells
}

/// The columns of [`line`], after a first one.
pub fn columns(first: &'static str) -> Vec<(&'static str, Kind)> {
    [(first, Kind::Text)].into_iter().chain(LINE).collect()
}

/// A line for every value of one part of the sums.
pub fn lines(
    counted: &Counted,
    name: &'static str,
    of_figure: fn(&Figure) -> &String,
    of_cohort: fn(&Cohort) -> &String,
    waiting: impl Fn(&str) -> Option<i64>,
) -> Table {
    let mut groups: BTreeMap<&str, (Vec<&Figure>, Vec<&Cohort>)> = BTreeMap::new();
    for figure in counted.figures.iter().filter(|figure| !figure.funnel.is_empty()) {
        groups.entry(of_figure(figure)).or_default().0.push(figure);
    }
    for row in &counted.cohorts {
        groups.entry(of_cohort(row)).or_default().1.push(row);
    }
    let mut table = Table::new("lines", format!("By {name}"), &columns(name));
    for (key, (figures, cohorts)) in groups {
        let mut row = vec![Cell::from(key)];
        row.extend(line(counted, &figures, &cohorts, waiting(key)));
        table.rows.push(row);
    }
    table
}

/// The whole funnel, one figure below the other.
fn whole(counted: &Counted, all: &[&Figure]) -> Table {
    let mut table = Table::new("funnel", "Funnel", &columns("funnel"));
    let cohorts: Vec<&Cohort> = counted.cohorts.iter().collect();
    let waiting: i64 = counted.live.iter().map(|live| live.count).sum();
    if all.is_empty() && cohorts.is_empty() && waiting == 0 {
        return table;
    }
    let name = all.first().map(|figure| figure.funnel.as_str()).or(cohorts.first().map(|row| row.funnel.as_str()));
    let mut row = vec![Cell::from(name.or(counted.live.first().map(|live| live.funnel.as_str())).unwrap_or_default())];
    row.extend(line(counted, all, &cohorts, Some(waiting)));
    table.rows.push(row);
    table
}

/// How runs ended and why, and why they did not begin.
fn ends(all: &[&Figure]) -> Table {
    let columns = [("how", Kind::Text), ("reason", Kind::Text), ("runs", Kind::Count)];
    let mut table = Table::new("ends", "How runs ended, and why some did not begin", &columns);
    for how in ["finished", "exited", "stopped", "not_entered"] {
        let mut reasons: BTreeMap<&str, i64> = BTreeMap::new();
        for figure in all.iter().filter(|figure| figure.what == how && figure.variant != crate::fact::count::HOLDOUT) {
            *reasons.entry(&figure.reason).or_default() += figure.count;
        }
        for (reason, count) in reasons {
            table.rows.push(vec![Cell::from(how), Cell::from(reason), Cell::Count(count)]);
        }
    }
    table
}

/// What happened at each step.
fn steps(question: &Question, counted: &Counted, all: &[&Figure]) -> Table {
    let columns = [
        ("step", Kind::Text),
        ("waiting", Kind::Count),
        ("passed", Kind::Count),
        ("left_out", Kind::Count),
        ("held", Kind::Count),
        ("failed", Kind::Count),
        ("sent", Kind::Count),
        ("points", Kind::Count),
    ];
    let mut table = Table::new("steps", "Steps", &columns);
    let mut groups: BTreeMap<&str, Vec<&Figure>> = BTreeMap::new();
    for figure in all.iter().filter(|figure| !figure.step.is_empty()) {
        groups.entry(&figure.step).or_default().push(figure);
    }
    let waiting = |step: &str| counted.live.iter().filter(|live| live.step == step).map(|live| live.count).sum::<i64>();
    for live in &counted.live {
        groups.entry(&live.step).or_default();
    }
    let mut rows: Vec<(usize, i64, Vec<Cell>)> = Vec::new();
    for (step, figures) in &groups {
        let (waiting, passed) = (waiting(step), passed(figures));
        let mut row = vec![Cell::from(*step)];
        row.extend([waiting, passed, skipped(figures), of(figures, "held"), of(figures, "failed")].map(Cell::Count));
        row.extend([of(figures, "sent"), points(figures)].map(Cell::Count));
        let place = question.steps.iter().position(|known| known == step).unwrap_or(usize::MAX);
        rows.push((place, -(waiting + passed), row));
    }
    // Where the order of the steps is not known, more come to the first than to the last.
    rows.sort_by_key(|row| (row.0, row.1));
    table.rows = rows.into_iter().map(|(_, _, row)| row).collect();
    table
}

/// Messages by channel.
pub fn channels(all: &[&Figure]) -> Table {
    const EVENTS: [(&str, &str); 6] = [
        ("delivered", "message_delivered"),
        ("opened", "message_opened"),
        ("clicked", "message_clicked"),
        ("bounced", "message_bounced"),
        ("complained", "message_complained"),
        ("unsubscribed", "message_unsubscribed"),
    ];
    let mut columns = vec![("channel", Kind::Text), ("sent", Kind::Count)];
    columns.extend(EVENTS.map(|(name, _)| (name, Kind::Count)));
    columns.push(("failed", Kind::Count));
    let mut table = Table::new("channels", "Messages by channel", &columns);
    let about = |figure: &&&Figure| {
        let message = figure.what == "sent" || figure.what == "failed" || figure.reason.starts_with("message_");
        message && !figure.variant.is_empty()
    };
    let names: BTreeSet<&str> = all.iter().filter(about).map(|figure| figure.variant.as_str()).collect();
    for name in names {
        let figures: Vec<&Figure> = all.iter().filter(about).copied().filter(|figure| figure.variant == name).collect();
        let mut row = vec![Cell::from(name), Cell::Count(of(&figures, "sent"))];
        row.extend(EVENTS.map(|(_, event)| Cell::Count(events(&figures, event).0)));
        row.push(Cell::Count(of(&figures, "failed")));
        table.rows.push(row);
    }
    table
}

/// Conversions of those who entered in a week or a month, by how long after.
fn cohorts(question: &Question, counted: &Counted) -> Table {
    let named: Vec<String> = AGES.iter().map(|age| format!("within_{age}_days")).collect();
    let mut columns = vec![("entered_from", Kind::Text), ("entered", Kind::Count)];
    columns.extend(named.iter().map(|name| (name.as_str(), Kind::Share)));
    columns.extend([("converted", Kind::Count), ("rate", Kind::Share), ("revenue", Kind::Money), ("each", Kind::Money)]);
    let title =
        format!("By {} of entry: converted within so many days, where those have passed for everybody", question.per.name());
    let mut table = Table::new("cohorts", title, &columns);
    let mut groups: BTreeMap<NaiveDate, Vec<&Cohort>> = BTreeMap::new();
    let meant = |row: &&Cohort| match &question.segment {
        Some(segment) => row.group == Group::Segment && row.name == *segment,
        None => row.group == Group::All,
    };
    for row in counted.cohorts.iter().filter(meant).filter(|row| !row.held) {
        let Some(day) = parse_date(&row.day) else { continue };
        groups.entry(first_day(day, question.per)).or_default().push(row);
    }
    for (first, rows) in groups {
        let came = came(rows.iter().copied(), |_| true);
        let last = last_day(first, question.per).min(question.to);
        let mut cells = vec![Cell::Text(first.to_string()), Cell::Count(came.entered)];
        cells.extend(AGES.map(|age| {
            let passed = last.checked_add_days(Days::new(age.unsigned_abs().into())).is_some_and(|day| day < question.today);
            let within = rows.iter().filter(|row| row.what == CONVERTED && row.age <= age).map(|row| row.count).sum();
            Cell::share(share(within, came.entered).filter(|_| passed).map(|share| share.value))
        }));
        cells.extend([
            Cell::Count(came.converted),
            Cell::share(share(came.converted, came.entered).map(|share| share.value)),
            money(came.revenue, &counted.terms),
            each(came.revenue, came.entered, &counted.terms),
        ]);
        table.rows.push(cells);
    }
    table
}

fn first_day(day: NaiveDate, per: Per) -> NaiveDate {
    let first = match per {
        Per::Week => day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into())),
        Per::Month => day.with_day(1),
    };
    first.unwrap_or(day)
}

fn last_day(first: NaiveDate, per: Per) -> NaiveDate {
    let next = match per {
        Per::Week => first.checked_add_days(Days::new(7)),
        Per::Month => first.checked_add_months(Months::new(1)),
    };
    next.and_then(|next| next.pred_opt()).unwrap_or(first)
}
