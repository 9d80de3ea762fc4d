//! All funnels, and what belongs to none of them: segments, memberships, offers, purchases.

use super::funnel::{channels, columns, line, lines};
use super::sums::{events, money, of, sum};
use super::table::{Cell, Kind, Table};
use super::{By, Counted, Question};
use crate::fact::count::{Cohort, Figure};
use std::collections::{BTreeMap, BTreeSet};

/// The tables that a question about no single funnel asks for.
pub fn tables(question: &Question, counted: &Counted, tables: &mut Vec<Table>) {
    let all: Vec<&Figure> = counted.figures.iter().collect();
    match question.by {
        Some(By::Day) => {
            tables.push(lines(counted, "day", |figure| &figure.day, |row| &row.day, |_| None));
            tables.push(purchases(counted, true));
        }
        Some(By::Channel) => tables.push(channels(&all)),
        Some(By::Segment) => tables.push(growth(question, counted)),
        _ => {
            tables.push(funnels(counted));
            tables.push(purchases(counted, false));
            tables.push(memberships(counted, &all));
            tables.push(offers(counted, &all));
            tables.push(segments(counted, &all));
        }
    }
}

/// A line for each funnel.
fn funnels(counted: &Counted) -> Table {
    let named = counted.figures.iter().map(|figure| figure.funnel.as_str());
    let named = named.chain(counted.cohorts.iter().map(|row| row.funnel.as_str()));
    let named = named.chain(counted.live.iter().map(|live| live.funnel.as_str()));
    let names: BTreeSet<&str> = named.filter(|name| !name.is_empty()).collect();
    let mut table = Table::new("funnels", "Funnels", &columns("funnel"));
    for name in names {
        let figures: Vec<&Figure> = counted.figures.iter().filter(|figure| figure.funnel == name).collect();
        let cohorts: Vec<&Cohort> = counted.cohorts.iter().filter(|row| row.funnel == name).collect();
        let waiting = counted.live.iter().filter(|live| live.funnel == name).map(|live| live.count).sum();
        let mut row = vec![Cell::from(name)];
        row.extend(line(counted, &figures, &cohorts, Some(waiting)));
        table.rows.push(row);
    }
    table
}

/// What was bought and given back, with or without a funnel.
fn purchases(counted: &Counted, by_day: bool) -> Table {
    let mut columns = vec![("purchases", Kind::Count), ("turnover", Kind::Money)];
    columns.extend([("refunds", Kind::Count), ("refunded", Kind::Money)]);
    if by_day {
        columns.insert(0, ("day", Kind::Text));
    }
    let mut table = Table::new("purchases", "Purchases, through a funnel or not", &columns);
    let mut days: BTreeMap<&str, Vec<&Figure>> = BTreeMap::new();
    for figure in counted.figures.iter().filter(|figure| matches!(figure.reason.as_str(), "purchase" | "refund")) {
        days.entry(&figure.day).or_default().push(figure);
    }
    for (day, figures) in days {
        let ((bought, turnover), (refunds, refunded)) = (events(&figures, "purchase"), events(&figures, "refund"));
        if bought == 0 && refunds == 0 {
            continue;
        }
        let mut row = if by_day { vec![Cell::from(day)] } else { Vec::new() };
        row.extend([Cell::Count(bought), money(turnover, &counted.terms)]);
        row.extend([Cell::Count(refunds), money(refunded, &counted.terms)]);
        table.rows.push(row);
    }
    table
}

/// Memberships by their name in the catalog.
fn memberships(counted: &Counted, all: &[&Figure]) -> Table {
    let words = ["started", "renewed", "changed", "cancelled"];
    let mut columns = vec![("membership", Kind::Text)];
    columns.extend(words.map(|word| (word, Kind::Count)));
    columns.extend([("expired", Kind::Count), ("revenue", Kind::Money)]);
    let title = "Memberships; what they cost as events say, else as the catalog does";
    let mut table = Table::new("memberships", title, &columns);
    let event = |figure: &&&Figure| figure.what == "event" && figure.reason.starts_with("membership_");
    let ended = |figure: &&&Figure| figure.what == "membership_expired";
    let names: BTreeSet<&str> = all
        .iter()
        .filter(event)
        .map(|figure| figure.variant.as_str())
        .chain(all.iter().filter(ended).map(|figure| figure.reason.as_str()))
        .collect();
    for name in names {
        let figures: Vec<&Figure> = all.iter().filter(event).copied().filter(|figure| figure.variant == name).collect();
        let expired = sum(all.iter().filter(ended).copied(), |figure| figure.reason == name).0;
        let mut row = vec![Cell::from(if name.is_empty() { "(not said)" } else { name })];
        row.extend(words.map(|word| Cell::Count(events(&figures, &format!("membership_{word}")).0)));
        row.push(Cell::Count(expired));
        // A mere end is told by the fact and by the event; the event alone makes no line.
        if row[1..].iter().any(|cell| *cell != Cell::Count(0)) {
            let paid = |word: &str| events(&figures, word).1;
            row.push(money(paid("membership_started").saturating_add(paid("membership_renewed")), &counted.terms));
            table.rows.push(row);
        }
    }
    table
}

/// Bundles and upgrades that were offered: what became of them, and what they brought.
fn offers(counted: &Counted, all: &[&Figure]) -> Table {
    let columns = [
        ("offer", Kind::Text),
        ("offered", Kind::Count),
        ("taken_up", Kind::Count),
        ("expired", Kind::Count),
        ("revenue", Kind::Money),
    ];
    let mut table = Table::new("offers", "Offers", &columns);
    let about = |figure: &&&Figure| matches!(figure.what.as_str(), "offered" | "offer_used" | "offer_expired");
    let names: BTreeSet<&str> = all.iter().filter(about).map(|figure| figure.reason.as_str()).collect();
    for name in names {
        let figures: Vec<&Figure> = all.iter().filter(about).copied().filter(|figure| figure.reason == name).collect();
        let mut row = vec![Cell::from(name)];
        row.extend(["offered", "offer_used", "offer_expired"].map(|what| Cell::Count(of(&figures, what))));
        row.push(money(sum(figures.iter().copied(), |figure| figure.what == "offer_used").1, &counted.terms));
        table.rows.push(row);
    }
    table
}

/// Who entered and left segments in all the days together, and how large they are at their end.
fn segments(counted: &Counted, all: &[&Figure]) -> Table {
    let columns = [("segment", Kind::Text), ("entered", Kind::Count), ("left", Kind::Count), ("size", Kind::Count)];
    let mut table = Table::new("segments", "Segments; their size is that of now", &columns);
    let flips = |figure: &&&Figure| matches!(figure.what.as_str(), "segment_entered" | "segment_left");
    let named = counted.sizes.iter().map(|(name, _)| name.as_str());
    let names: BTreeSet<&str> = named.chain(all.iter().filter(flips).map(|figure| figure.reason.as_str())).collect();
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        let figures: Vec<&Figure> = all.iter().filter(flips).copied().filter(|figure| figure.reason == name).collect();
        let (entered, left) = (of(&figures, "segment_entered"), of(&figures, "segment_left"));
        table.rows.push(vec![Cell::from(name), Cell::Count(entered), Cell::Count(left), Cell::Count(size(counted, name))]);
    }
    table
}

fn size(counted: &Counted, segment: &str) -> i64 {
    let found = counted.sizes.iter().find(|(name, _)| name == segment);
    found.map_or(0, |(_, size)| i64::try_from(*size).unwrap_or(i64::MAX))
}

/// Segments day by day: who entered and left, and how large each was when the day was over. Customers who came with an
/// import or a new definition are in the size and have entered by nothing that they did.
fn growth(question: &Question, counted: &Counted) -> Table {
    let columns = [
        ("day", Kind::Text),
        ("segment", Kind::Text),
        ("entered", Kind::Count),
        ("left", Kind::Count),
        ("change", Kind::Count),
        ("size", Kind::Count),
    ];
    let mut table = Table::new("growth", "Segments by day", &columns);
    // From now backwards: what came after a day was not there at its end.
    let mut sizes: BTreeMap<&str, i64> = BTreeMap::new();
    for (_, segment, change) in &counted.growth {
        *sizes.entry(segment).or_insert_with(|| size(counted, segment)) -= change;
    }
    let mut lines: BTreeMap<(&str, &str), [i64; 3]> = BTreeMap::new();
    for figure in &counted.figures {
        let at = match figure.what.as_str() {
            "segment_entered" => 0,
            "segment_left" => 1,
            _ => continue,
        };
        lines.entry((&figure.day, &figure.reason)).or_default()[at] += figure.count;
    }
    for (day, segment, change) in &counted.growth {
        lines.entry((day, segment)).or_default()[2] += change;
    }
    let to = question.to.to_string();
    for ((day, segment), [entered, left, change]) in lines.into_iter().filter(|((day, _), _)| *day <= to.as_str()) {
        let size = sizes.entry(segment).or_insert_with(|| size(counted, segment));
        *size += change;
        let counts = [entered, left, change, *size].map(Cell::Count);
        table.rows.push([Cell::from(day), Cell::from(segment)].into_iter().chain(counts).collect());
    }
    table
}
