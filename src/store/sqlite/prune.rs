//! Dropping what has outlived its retention, in steps that each take about a millisecond.

use super::call::{Call, Done, Phase, Points, let_be};
use super::run::FIRST_ENDED;
use super::writer::Core;
use crate::lang::time::{DAY_MS, HOUR_MS};
use rusqlite::{OptionalExtension, params};

/// [`super::Store::prune`], one step of it.
pub const PRUNE: Call<Part, Step> = Call {
    phase: Phase::Write,
    points: Some(Points { before: "sqlite.prune.before", after: "sqlite.prune.after" }),
    run: |core, part| core.prune_step(*part),
    lost: let_be,
};

/// What is pruned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Facts.
    Facts,
    /// Ended runs.
    Runs,
    /// Messages of the development inbox.
    Messages,
    /// Ids of events.
    Seen,
    /// Pages of the file that hold nothing any more.
    Pages,
}

/// The parts, and how many steps of each one call takes at most.
pub const PLAN: &[(Part, usize)] =
    &[(Part::Facts, 40), (Part::Runs, 20), (Part::Messages, 20), (Part::Seen, 20), (Part::Pages, 40)];

/// Rows dropped by one step.
const STEP_ROWS_MAX: i64 = 500;
/// Rows looked at by one step where they do not lie in the order of their age. An index would find the old
/// ones at once, and cost more with every row written than the walk does once a day.
const STEP_ROWS_WALKED: i64 = 5_000;
/// One page of so many may lie empty: it is filled again soon, and moving pages costs.
const PAGES_KEPT_OF: i64 = 32;
/// Pages given back by one step.
const STEP_PAGES_MAX: i64 = 64;

/// Where the walks through tables that are not in the order of age go on; after the end, at the start.
pub struct Walks {
    seen: i64,
    runs: i64,
}

impl Default for Walks {
    fn default() -> Walks {
        Walks { seen: i64::MIN, runs: i64::MIN }
    }
}

/// What a step did.
pub struct Step {
    /// Rows dropped.
    pub rows: u64,
    /// There is no more of it now.
    pub done: bool,
}

impl Core<'_> {
    fn prune_step(&mut self, part: Part) -> Done<Step> {
        let keep = self.shared.options.retention;
        match part {
            // Facts lie in the order of their age: the oldest are the first.
            Part::Facts => self.drop_oldest(
                "DELETE FROM fact WHERE seq IN (SELECT seq FROM fact ORDER BY seq LIMIT ?2) AND at < ?1",
                keep.facts_days,
            ),
            Part::Runs => self.walk_runs(keep.runs_days),
            Part::Messages => self.drop_oldest(
                "DELETE FROM message WHERE num IN (SELECT num FROM message WHERE at < ?1 ORDER BY at LIMIT ?2)",
                keep.messages_days,
            ),
            Part::Seen => self.walk_seen(keep.seen_days),
            Part::Pages => self.give_back_pages(),
        }
    }

    fn drop_oldest(&mut self, sql: &'static str, days: u32) -> Done<Step> {
        let before = self.batch.now.0.saturating_sub(i64::from(days) * DAY_MS);
        let rows = self.db.prepare_cached(sql)?.execute(params![before, STEP_ROWS_MAX])?;
        Ok(Step { rows: rows as u64, done: (rows as i64) < STEP_ROWS_MAX })
    }

    fn walk_seen(&mut self, days: u32) -> Done<Step> {
        let before = self.batch.now.0.div_euclid(HOUR_MS).saturating_sub(i64::from(days) * DAY_MS / HOUR_MS);
        let from = self.walks.seen;
        let last = self.walk("SELECT digest FROM seen WHERE digest >= ?1 ORDER BY digest LIMIT 1 OFFSET ?2", from)?;
        let rows = self
            .db
            .prepare_cached("DELETE FROM seen WHERE digest >= ?1 AND digest <= ?2 AND hour < ?3")?
            .execute(params![from, last.unwrap_or(i64::MAX), before])?;
        self.walks.seen = last.unwrap_or(i64::MIN);
        Ok(Step { rows: rows as u64, done: last.is_none() })
    }

    fn walk_runs(&mut self, days: u32) -> Done<Step> {
        let before = self.batch.now.0.saturating_sub(i64::from(days) * DAY_MS);
        let from = self.walks.runs;
        let last = self.walk("SELECT place FROM run WHERE place >= ?1 ORDER BY place LIMIT 1 OFFSET ?2", from)?;
        let rows = self
            .db
            .prepare_cached("DELETE FROM run WHERE place >= ?1 AND place <= ?2 AND state >= ?3 AND until < ?4")?
            .execute(params![from, last.unwrap_or(i64::MAX), FIRST_ENDED, before])?;
        self.walks.runs = last.unwrap_or(i64::MIN);
        Ok(Step { rows: rows as u64, done: last.is_none() })
    }

    /// Where a step that begins at a place ends; `None`: at the end of the table.
    fn walk(&self, sql: &'static str, from: i64) -> Done<Option<i64>> {
        Ok(self.db.prepare_cached(sql)?.query_row([from, STEP_ROWS_WALKED], |row| row.get(0)).optional()?)
    }

    fn give_back_pages(&mut self) -> Done<Step> {
        let ask = |sql: &str| self.db.query_row(sql, [], |row| row.get::<_, i64>(0));
        let spare = ask("PRAGMA freelist_count")? - ask("PRAGMA page_count")? / PAGES_KEPT_OF;
        if spare > 0 {
            // The statement has to be run to its end: it gives back one page with each row.
            let pages = spare.min(STEP_PAGES_MAX);
            let mut give = self.db.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = give.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(Step { rows: 0, done: spare <= STEP_PAGES_MAX })
    }
}
