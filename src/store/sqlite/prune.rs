//! Dropping what has outlived its retention, in steps that each take about a millisecond.

use super::writer::{Call, Core, Done, Phase, Points};
use crate::lang::time::{DAY_MS, HOUR_MS};
use rusqlite::{OptionalExtension, params};

/// [`super::Store::prune`], one step of it.
pub const PRUNE: Call<Part, Step> = Call {
    phase: Phase::Write,
    points: Some(Points { before: "sqlite.prune.before", after: "sqlite.prune.after" }),
    run: |core, part| core.prune_step(*part),
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
/// Ids of events looked at by one step; they lie in the order of their digests, not of their age.
const SEEN_ROWS_WALKED: i64 = 5_000;
/// Pages given back by one step.
const STEP_PAGES_MAX: i64 = 64;

/// What a step did.
pub struct Step {
    /// Rows dropped.
    pub rows: u64,
    /// There is no more of it now.
    pub done: bool,
}

impl Core {
    fn prune_step(&mut self, part: Part) -> Done<Step> {
        let keep = self.shared.options.retention;
        match part {
            // Facts lie in the order of their age: the oldest are the first.
            Part::Facts => self.drop_oldest(
                "DELETE FROM fact WHERE seq IN (SELECT seq FROM fact ORDER BY seq LIMIT ?2) AND at < ?1",
                keep.facts_days,
            ),
            Part::Runs => self.drop_oldest(
                "DELETE FROM run WHERE (customer, run) IN (SELECT customer, run FROM run
                 WHERE state IN ('finished', 'exited', 'stopped') AND until < ?1 ORDER BY until LIMIT ?2)",
                keep.runs_days,
            ),
            Part::Messages => self.drop_oldest(
                "DELETE FROM message WHERE num IN (SELECT num FROM message WHERE at < ?1 ORDER BY at LIMIT ?2)",
                keep.messages_days,
            ),
            Part::Seen => self.walk_seen(keep.seen_days),
            Part::Pages => self.give_back_pages(),
        }
    }

    fn drop_oldest(&mut self, sql: &str, days: u32) -> Done<Step> {
        let before = self.batch.now.0.saturating_sub(i64::from(days) * DAY_MS);
        let rows = self.db.prepare_cached(sql)?.execute(params![before, STEP_ROWS_MAX])?;
        Ok(Step { rows: rows as u64, done: (rows as i64) < STEP_ROWS_MAX })
    }

    /// Goes on from where the last step stopped, and from the start after the end.
    fn walk_seen(&mut self, days: u32) -> Done<Step> {
        let before = self.batch.now.0.div_euclid(HOUR_MS).saturating_sub(i64::from(days) * DAY_MS / HOUR_MS);
        let from = self.seen_walk;
        let last: Option<i64> = self
            .db
            .prepare_cached("SELECT digest FROM seen WHERE digest >= ?1 ORDER BY digest LIMIT 1 OFFSET ?2")?
            .query_row([from, SEEN_ROWS_WALKED], |row| row.get(0))
            .optional()?;
        let to = last.unwrap_or(i64::MAX);
        let rows = self
            .db
            .prepare_cached("DELETE FROM seen WHERE digest >= ?1 AND digest <= ?2 AND hour < ?3")?
            .execute(params![from, to, before])?;
        self.seen_walk = last.unwrap_or(i64::MIN);
        Ok(Step { rows: rows as u64, done: last.is_none() })
    }

    fn give_back_pages(&mut self) -> Done<Step> {
        let free: i64 = self.db.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        if free > 0 {
            // The statement has to be run to its end: it gives back one page with each row.
            let mut give = self.db.prepare(&format!("PRAGMA incremental_vacuum({STEP_PAGES_MAX})"))?;
            let mut rows = give.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(Step { rows: 0, done: free <= STEP_PAGES_MAX })
    }
}
