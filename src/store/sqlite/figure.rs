//! Day figures, tallies, and the numbers that stand for funnel versions.
//!
//! What a group of turns adds is summed in memory and written once per figure just before the commit.
//! A tally is a count of what there is now: customers, live runs by kind and state, members of a segment.

use super::call::Done;
use super::writer::Core;
use crate::fact::{Fact, What};
use crate::lang::time::{DAY_MS, Time};
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;

/// The tally of customers.
pub const CUSTOMERS_TALLY: &str = "customers";
/// Begins the name of a tally of live runs: `run:<kind>:<state>`.
pub const RUN_TALLY: &str = "run:";
/// Begins the name of a tally of members: `segment:<name>`.
pub const SEGMENT_TALLY: &str = "segment:";

/// What a figure counts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FigureKey {
    /// Days since 1970-01-01, UTC.
    day: i64,
    funnel: String,
    version: String,
    step: String,
    variant: String,
    what: What,
}

/// What the facts of one turn add: key, count, amount.
pub fn count(facts: &[Fact]) -> Vec<(FigureKey, i64, i64)> {
    let mut sums: Vec<(FigureKey, i64, i64)> = Vec::new();
    for fact in facts {
        let key = FigureKey::of(fact);
        let amount = fact.amount.unwrap_or(0);
        match sums.iter_mut().find(|sum| sum.0 == key) {
            Some(sum) => *sum = (key, sum.1 + 1, sum.2.saturating_add(amount)),
            None => sums.push((key, 1, amount)),
        }
    }
    sums
}

impl FigureKey {
    fn of(fact: &Fact) -> FigureKey {
        let text = |pick: fn(&crate::fact::RunRef) -> &String| fact.run.as_ref().map(|run| pick(run).clone()).unwrap_or_default();
        FigureKey {
            day: fact.at.0.div_euclid(DAY_MS),
            funnel: text(|run| &run.funnel),
            version: text(|run| &run.version),
            step: text(|run| &run.step),
            variant: text(|run| &run.variant),
            what: fact.what,
        }
    }

    /// The day as people write it.
    fn day(&self) -> String {
        Time(self.day.saturating_mul(DAY_MS)).date(chrono_tz::UTC).to_string()
    }
}

/// Rows of figures by their keys.
#[derive(Default)]
pub struct Figures(HashMap<FigureKey, i64>);

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

impl Core {
    /// Writes what the open transaction adds to figures and tallies.
    pub fn write_sums(&mut self) -> Done<()> {
        let mut sums = std::mem::take(&mut self.batch.figures);
        for (key, (count, amount)) in sums.drain() {
            self.add_figure(key, count, amount)?;
        }
        self.batch.figures = sums;
        let mut tallies = std::mem::take(&mut self.batch.tallies);
        for (name, n) in tallies.drain().filter(|(_, n)| *n != 0) {
            self.db
                .prepare_cached("INSERT INTO tally VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET n = n + excluded.n")?
                .execute(params![name, n])?;
        }
        self.batch.tallies = tallies;
        Ok(())
    }

    fn add_figure(&mut self, key: FigureKey, count: i64, amount: i64) -> Done<()> {
        let num = match self.figures.0.get(&key) {
            Some(num) => *num,
            None => {
                let num = self.figure(&key)?;
                self.figures.0.insert(key, num);
                num
            }
        };
        self.db
            .prepare_cached("UPDATE figure SET count = count + ?2, amount = amount + ?3 WHERE num = ?1")?
            .execute(params![num, count, amount])?;
        Ok(())
    }

    /// The row of a figure; a new one begins at 0.
    fn figure(&mut self, key: &FigureKey) -> Done<i64> {
        let day = key.day();
        let named = params![day, key.funnel, key.version, key.step, key.variant, key.what.name()];
        let found: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT num FROM figure WHERE day = ?1 AND funnel = ?2 AND version = ?3 AND step = ?4 AND variant = ?5 AND what = ?6",
            )?
            .query_row(named, |row| row.get(0))
            .optional()?;
        if let Some(num) = found {
            return Ok(num);
        }
        self.db
            .prepare_cached(
                "INSERT INTO figure (day, funnel, version, step, variant, what, count, amount) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0)",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_one_kind_are_summed_by_their_day() {
        let fact = |at: i64, amount| Fact {
            at: Time(at),
            what: What::Granted,
            about: String::new(),
            run: None,
            why: String::new(),
            seen: vec![],
            amount,
        };
        let sums = count(&[fact(-1, Some(5)), fact(0, Some(7)), fact(DAY_MS - 1, None)]);
        let shown: Vec<_> = sums.iter().map(|(key, count, amount)| (key.day(), *count, *amount)).collect();
        assert_eq!(shown, vec![("1969-12-31".to_owned(), 1, 5), ("1970-01-01".to_owned(), 2, 7)]);
    }
}
