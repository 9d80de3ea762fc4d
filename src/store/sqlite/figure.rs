//! Sums by day and by entry, tallies, and the numbers that stand for funnel versions.
//!
//! What a group of turns adds is summed in memory and written once per row just before the commit, in the transaction
//! that moves the reader's place: a fact is counted as often as its row is written, once.
//! A tally is a count of what there is now: customers, live runs by kind and state, members of a segment.

use super::call::Done;
use super::schema::{meta, set_meta};
use super::writer::Core;
use crate::fact::count::{Cohort, Figure, Group, Key, SIZE, Sum, Table, Terms};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

/// The tally of customers.
pub const CUSTOMERS_TALLY: &str = "customers";
/// Begins the name of a tally of live runs: `run:<kind>:<state>`.
pub const RUN_TALLY: &str = "run:";
/// Begins the name of a tally of members: `segment:<name>`.
pub const SEGMENT_TALLY: &str = "segment:";
/// The setting that says in which terms the file counts.
const TERMS: &str = "terms";

/// What stands beside the table of figures.
pub const TABLES: &str = "
CREATE UNIQUE INDEX figure_key ON figure (day, funnel, version, step, variant, what, reason);
CREATE TABLE cohort (
  num INTEGER PRIMARY KEY, day TEXT NOT NULL, funnel TEXT NOT NULL, version TEXT NOT NULL, kind TEXT NOT NULL,
  step TEXT NOT NULL, name TEXT NOT NULL, held INTEGER NOT NULL, what TEXT NOT NULL, age INTEGER NOT NULL,
  count INTEGER NOT NULL, amount INTEGER NOT NULL);
CREATE UNIQUE INDEX cohort_key ON cohort (funnel, day, version, kind, step, name, held, what, age);
";

/// Rows of sums by their keys.
#[derive(Default)]
pub struct Figures(HashMap<Key, i64>);

impl Figures {
    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets them: a failed transaction may have taken rows back.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// Rows of funnel versions.
#[derive(Default)]
pub struct Kinds(HashMap<String, HashMap<String, i64>>);

impl Kinds {
    /// Forgets them: a failed transaction may have taken rows back.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

impl Core<'_> {
    /// Notes in which terms is counted from now on.
    pub fn learn(&mut self, terms: &Terms) -> Done<()> {
        if *terms != self.terms && !terms.is_default() {
            set_meta(&self.db, TERMS, terms.to_string())?;
            self.terms = *terms;
        }
        Ok(())
    }

    /// Writes what the open transaction adds to figures and tallies.
    pub fn write_sums(&mut self) -> Done<()> {
        let mut sums = std::mem::take(&mut self.batch.sums);
        for (key, sum) in sums.drain() {
            self.add_figure(key, sum)?;
        }
        self.batch.sums = sums;
        let mut tallies = std::mem::take(&mut self.batch.tallies);
        for (name, n) in tallies.drain().filter(|(_, n)| *n != 0) {
            self.db
                .prepare_cached("INSERT INTO tally VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET n = n + excluded.n")?
                .execute(params![name, n])?;
        }
        self.batch.tallies = tallies;
        Ok(())
    }

    fn add_figure(&mut self, key: Key, (count, amount): Sum) -> Done<()> {
        let table = key.table;
        let num = match self.figures.0.get(&key) {
            Some(num) => *num,
            None => {
                let num = match key.table {
                    Table::Day => self.figure(&key)?,
                    Table::Entry { age, held } => self.cohort(&key, age, held)?,
                };
                self.figures.0.insert(key, num);
                num
            }
        };
        let add = match table {
            Table::Day => "UPDATE figure SET count = count + ?2, amount = amount + ?3 WHERE num = ?1",
            Table::Entry { .. } => "UPDATE cohort SET count = count + ?2, amount = amount + ?3 WHERE num = ?1",
        };
        self.db.prepare_cached(add)?.execute(params![num, count, amount])?;
        Ok(())
    }

    /// The row of a figure; a new one begins at 0.
    fn figure(&mut self, key: &Key) -> Done<i64> {
        let (day, [funnel, version, step, variant, reason]) = (key.day_text(), key.names());
        let named = params![day, funnel, version, step, variant, key.what, reason];
        let find = "SELECT num FROM figure
            WHERE day = ?1 AND funnel = ?2 AND version = ?3 AND step = ?4 AND variant = ?5 AND what = ?6 AND reason = ?7";
        if let Some(num) = self.db.prepare_cached(find)?.query_row(named, |row| row.get(0)).optional()? {
            return Ok(num);
        }
        self.db
            .prepare_cached(
                "INSERT INTO figure (day, funnel, version, step, variant, what, reason, count, amount)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0)",
            )?
            .execute(named)?;
        Ok(self.db.last_insert_rowid())
    }

    /// The row of a sum by entry; a new one begins at 0.
    fn cohort(&mut self, key: &Key, age: i32, held: bool) -> Done<i64> {
        let (day, [funnel, version, group, step, name]) = (key.day_text(), key.names());
        let named = params![day, funnel, version, group, step, name, held, key.what, age];
        let find = "SELECT num FROM cohort WHERE day = ?1 AND funnel = ?2 AND version = ?3 AND kind = ?4 AND step = ?5
            AND name = ?6 AND held = ?7 AND what = ?8 AND age = ?9";
        if let Some(num) = self.db.prepare_cached(find)?.query_row(named, |row| row.get(0)).optional()? {
            return Ok(num);
        }
        self.db
            .prepare_cached(
                "INSERT INTO cohort (day, funnel, version, kind, step, name, held, what, age, count, amount)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, 0)",
            )?
            .execute(named)?;
        Ok(self.db.last_insert_rowid())
    }

    /// The row of a funnel version.
    pub fn kind(&mut self, funnel: &str, version: &str) -> Done<i64> {
        if let Some(num) = self.kinds.0.get(funnel).and_then(|versions| versions.get(version)) {
            return Ok(*num);
        }
        let found: Option<i64> = self
            .db
            .prepare_cached("SELECT num FROM kind WHERE funnel = ?1 AND version = ?2")?
            .query_row([funnel, version], |row| row.get(0))
            .optional()?;
        let num = match found {
            Some(num) => num,
            None => {
                self.db.prepare_cached("INSERT INTO kind (funnel, version) VALUES (?1, ?2)")?.execute([funnel, version])?;
                self.db.last_insert_rowid()
            }
        };
        self.kinds.0.entry(funnel.to_owned()).or_default().insert(version.to_owned(), num);
        Ok(num)
    }
}

/// In which terms a file counts. What was written there by hand counts as nothing.
pub fn terms(db: &Connection) -> rusqlite::Result<Terms> {
    Ok(meta::<String>(db, TERMS)?.and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// The target counts in the same terms from the start.
pub fn copy_terms(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    match meta::<String>(from, TERMS)? {
        Some(terms) => set_meta(to, TERMS, terms),
        None => Ok(()),
    }
}

/// Figures of some days, both included.
pub fn figures(db: &Connection, from: &str, to: &str) -> rusqlite::Result<Vec<Figure>> {
    let mut read = db.prepare_cached(
        "SELECT day, funnel, version, step, variant, what, reason, count, amount FROM figure
         WHERE day >= ?1 AND day <= ?2 AND what <> ?3 ORDER BY day, funnel, version, step, variant, what, reason",
    )?;
    read.query_map([from, to, SIZE], figure)?.collect()
}

/// Figures of some days by all but their day, or, of one funnel, with it.
pub fn figures_of(db: &Connection, funnel: &str, by_day: bool, from: &str, to: &str) -> rusqlite::Result<Vec<Figure>> {
    let (day, group) = if by_day { ("day", "day, ") } else { ("''", "") };
    let of = if funnel.is_empty() { "?3 = ''" } else { "funnel = ?3" };
    let mut read = db.prepare_cached(&format!(
        "SELECT {day}, funnel, version, step, variant, what, reason, sum(count), sum(amount) FROM figure
         WHERE day >= ?1 AND day <= ?2 AND what <> ?4 AND {of}
         GROUP BY {group}funnel, version, step, variant, what, reason ORDER BY {group}funnel, version, step, variant, what, reason"
    ))?;
    read.query_map([from, to, funnel, SIZE], figure)?.collect()
}

fn figure(row: &rusqlite::Row<'_>) -> rusqlite::Result<Figure> {
    Ok(Figure {
        day: row.get(0)?,
        funnel: row.get(1)?,
        version: row.get(2)?,
        step: row.get(3)?,
        variant: row.get(4)?,
        what: row.get(5)?,
        reason: row.get(6)?,
        count: row.get(7)?,
        amount: row.get(8)?,
    })
}

/// What came of those who entered a funnel (of all, when none is named) on some days.
pub fn cohorts(db: &Connection, funnel: &str, from: &str, to: &str) -> rusqlite::Result<Vec<Cohort>> {
    let of = if funnel.is_empty() { "?3 = ''" } else { "funnel = ?3" };
    let mut read = db.prepare_cached(&format!(
        "SELECT day, funnel, version, kind, step, name, held, what, age, count, amount FROM cohort
         WHERE day >= ?1 AND day <= ?2 AND {of} ORDER BY funnel, day, version, kind, step, name, held, what, age"
    ))?;
    let rows = read.query_map([from, to, funnel], |row| {
        Ok(Cohort {
            day: row.get(0)?,
            funnel: row.get(1)?,
            version: row.get(2)?,
            group: Group::parse(&row.get::<_, String>(3)?).unwrap_or(Group::All),
            step: row.get(4)?,
            name: row.get(5)?,
            held: row.get(6)?,
            what: row.get(7)?,
            age: row.get(8)?,
            count: row.get(9)?,
            amount: row.get(10)?,
        })
    })?;
    rows.collect()
}
