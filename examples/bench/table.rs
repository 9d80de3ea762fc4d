//! Figures of measurements, and the one table that they end in.

use crate::stand::Kind;
use std::fmt::Write as _;

/// Width of a figure's name.
const NAME_CHARS: usize = 50;
/// Width of a column.
const COLUMN_CHARS: usize = 24;

/// What a figure should be on a machine of two cores.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One figure of one round.
#[derive(Clone)]
pub struct Figure {
    name: String,
    value: f64,
    digits: usize,
    bound: Option<Bound>,
}

/// A figure with so many digits after the point.
pub fn figure(name: impl Into<String>, value: f64, digits: usize) -> Figure {
    Figure { name: name.into(), value, digits, bound: None }
}

impl Figure {
    /// It should not be less.
    pub fn at_least(self, bound: f64) -> Figure {
        Figure { bound: Some(Bound::AtLeast(bound)), ..self }
    }

    /// It should not be more.
    pub fn at_most(self, bound: f64) -> Figure {
        Figure { bound: Some(Bound::AtMost(bound)), ..self }
    }
}

/// A row: what the rounds of each store gave.
struct Row {
    figure: Figure,
    columns: Vec<(Kind, Vec<Figure>)>,
}

/// Titles with their rows, in the order in which they came.
#[derive(Default)]
pub struct Table {
    sections: Vec<(String, Vec<Row>)>,
}

impl Table {
    /// Takes the figures of one round.
    pub fn add(&mut self, title: &str, kind: Kind, figures: Vec<Figure>) {
        let at = self.sections.iter().position(|(known, _)| known == title).unwrap_or_else(|| {
            self.sections.push((title.to_owned(), Vec::new()));
            self.sections.len() - 1
        });
        let rows = &mut self.sections[at].1;
        let mut next = 0;
        for figure in figures {
            // What only some stores have stands behind what it came after.
            let at = rows.iter().position(|row| row.figure.name == figure.name).unwrap_or_else(|| {
                rows.insert(next, Row { figure: figure.clone(), columns: Vec::new() });
                next
            });
            next = at + 1;
            let columns = &mut rows[at].columns;
            match columns.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, values)) => values.push(figure),
                None => columns.push((kind, vec![figure])),
            }
        }
    }

    /// The table for these stores.
    pub fn show(&self, kinds: &[Kind]) -> String {
        let mut out = String::new();
        for (title, rows) in &self.sections {
            // Writing to a text cannot fail.
            let _ = write!(out, "\n{title:<NAME_CHARS$}");
            kinds.iter().for_each(|kind| {
                let _ = write!(out, "{:>COLUMN_CHARS$}", kind.title());
            });
            out.push('\n');
            for row in rows {
                let _ = write!(out, "  {:<width$}", row.figure.name, width = NAME_CHARS - 2);
                for kind in kinds {
                    let values = row.columns.iter().find(|(known, _)| known == kind).map_or(&[][..], |(_, values)| values);
                    let _ = write!(out, "{:>COLUMN_CHARS$}", cell(values));
                }
                out.push('\n');
            }
        }
        out
    }
}

/// The median with the lowest and highest, marked when it is not as it should be.
fn cell(figures: &[Figure]) -> String {
    let Some(first) = figures.first() else { return "–".to_owned() };
    let values: Vec<f64> = figures.iter().map(|figure| figure.value).collect();
    let digits = first.digits;
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    let middle = median(values);
    let misses = match first.bound {
        Some(Bound::AtLeast(bound)) => middle < bound,
        Some(Bound::AtMost(bound)) => middle > bound,
        None => false,
    };
    let range = if figures.len() > 1 { format!(" ({low:.digits$}–{high:.digits$})") } else { String::new() };
    format!("{}{middle:.digits$}{range}", if misses { "! " } else { "" })
}

/// The value in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// Median and 99 %.
pub fn spread(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len().saturating_sub(1)) as f64 * share).round() as usize).copied();
    (at(0.5).unwrap_or(f64::NAN), at(0.99).unwrap_or(f64::NAN))
}
