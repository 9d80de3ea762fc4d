//! The thread that writes: groups of operations, one transaction each.

use super::super::{StoreError, failpoint};
use super::call::{Call, Done, Fail, Phase, Points, Task, closed, let_be};
use super::figure::{Figures, Kinds, terms};
use super::kept::Db;
use super::memory::Memory;
use super::prune::Walks;
use super::schema;
use super::shape::Batch;
use super::shared::Shared;
use crate::fact::count::Terms;
use rusqlite::ErrorCode;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// Most items (inputs, turns, single operations) of one transaction, unless one operation brings more.
const GROUP_ITEMS_MAX: usize = 512;
/// Numbers reserved at once for rows; after a crash the unused ones are skipped.
const NUMBERS_RESERVED: i64 = 65_536;
/// Figures and kinds of run remembered by number; beyond it they are looked up again.
const NAMES_REMEMBERED_MAX: usize = 10_000;

/// Everything that the writer's thread owns.
pub struct Core<'c> {
    /// The connection that writes.
    pub db: Db<'c>,
    /// Who is claimed and what is ready.
    pub memory: Memory,
    /// What the present transaction has done so far.
    pub batch: Batch,
    /// Day figures by number.
    pub figures: Figures,
    /// In which terms the file counts.
    pub terms: Terms,
    /// Funnel versions by number.
    pub kinds: Kinds,
    /// How far pruning has walked.
    pub walks: Walks,
    /// The next customer's number.
    pub next_customer: i64,
    /// Somebody was erased once.
    pub tombstones: bool,
    /// The next number of a row.
    pub next: i64,
    /// Numbers below this one may be used.
    pub reserved: i64,
    /// What callers see too.
    pub shared: Arc<Shared>,
    /// Held as long as the file is ours.
    pub lock: &'c File,
    /// Why nothing is done any more.
    pub ended: Option<StoreError>,
}

/// Ends the store.
pub const CLOSE: Call<(), ()> = Call { phase: Phase::Close, points: None, run: |core, ()| core.close(), lost: let_be };

/// Runs the writer until it is closed or nobody is left to call it.
pub fn run(mut core: Core<'_>, mut calls: mpsc::Receiver<Box<dyn Task>>) {
    let mut tasks: Vec<Box<dyn Task>> = Vec::new();
    loop {
        core.park();
        let first = calls.blocking_recv();
        core.unpark();
        let Some(first) = first else { break };
        let mut items = first.weight();
        tasks.push(first);
        while items < GROUP_ITEMS_MAX
            && let Ok(task) = calls.try_recv()
        {
            items += task.weight();
            tasks.push(task);
        }
        core.group(&mut tasks);
        if matches!(&core.ended, Some(StoreError::Unavailable(_))) {
            break;
        }
    }
    core.shared.closed.store(true, Ordering::Release);
    core.shared.turns.changed.notify_waiters();
    core.shared.effects.changed.notify_waiters();
}

impl Core<'_> {
    /// One group: writes in a transaction, then what hands out work, then the end if it was asked for.
    fn group(&mut self, tasks: &mut Vec<Box<dyn Task>>) {
        let (mut writes, mut later): (Vec<_>, Vec<_>) = tasks.drain(..).partition(|task| task.phase() == Phase::Write);
        later.sort_by_key(|task| task.phase() == Phase::Close);
        if !writes.is_empty() {
            let result = self.transaction(&mut writes);
            self.publish();
            self.answer_writes(writes, result);
        }
        // Work is not handed out to one who has gone away. What is to be written is written all the same.
        later.retain(|task| task.phase() == Phase::Close || task.wanted());
        if later.is_empty() {
            return;
        }
        self.batch.now = self.shared.now();
        let mut results = Vec::with_capacity(later.len());
        for task in &mut later {
            results.push(match &self.ended {
                Some(why) => Err(why.clone()),
                None => self.hand_out_work(task).map_err(|fail| self.undo(fail).0),
            });
        }
        if let Err(fail) = self.end_read() {
            self.undo(fail);
        }
        // Before the answers: who asks next must not be told of work that has just been handed out.
        self.publish();
        later.into_iter().zip(results).for_each(|(task, result)| task.answer(self, result));
    }

    fn answer_writes(&mut self, writes: Vec<Box<dyn Task>>, result: Result<(), (StoreError, bool)>) {
        match result {
            Ok(()) => writes.into_iter().for_each(|task| task.answer(self, Ok(()))),
            // One operation that cannot be done must not take the others with it.
            Err((_, true)) if writes.len() > 1 => {
                for task in writes {
                    let mut alone = vec![task];
                    let result = self.transaction(&mut alone).map_err(|(why, _)| why);
                    alone.into_iter().for_each(|task| task.answer(self, result.clone()));
                }
                self.publish();
            }
            Err((why, _)) => writes.into_iter().for_each(|task| task.answer(self, Err(why.clone()))),
        }
    }

    /// All or none. The flag of an error says that it is the fault of one operation, not of the disk.
    fn transaction(&mut self, tasks: &mut [Box<dyn Task>]) -> Result<(), (StoreError, bool)> {
        if let Some(why) = &self.ended {
            return Err((why.clone(), false));
        }
        self.batch.now = self.shared.now();
        let result = self.attempt(tasks);
        match result {
            Ok(()) => Ok(()),
            Err(fail) => Err(self.undo(fail)),
        }
    }

    fn attempt(&mut self, tasks: &mut [Box<dyn Task>]) -> Done<()> {
        let mut points: Vec<Points> = Vec::new();
        self.begin()?;
        for task in tasks {
            task.run(self)?;
            if let Some(own) = task.points()
                && !points.contains(&own)
            {
                points.push(own);
            }
        }
        self.commit(&points)
    }

    /// What hands out work reads in one transaction: each statement alone would pay for its own locks.
    fn hand_out_work(&mut self, task: &mut Box<dyn Task>) -> Done<()> {
        match task.phase() {
            Phase::Close => self.end_read()?,
            _ if self.db.is_autocommit() => {
                self.db.prepare_cached("BEGIN")?.execute([])?;
            }
            _ => {}
        }
        task.run(self)
    }

    /// Ends that transaction.
    pub fn end_read(&mut self) -> Done<()> {
        if !self.db.is_autocommit() {
            self.db.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    /// Begins a transaction that writes.
    pub fn begin(&mut self) -> Done<()> {
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    /// Writes the group's sums, commits, and lets memory follow.
    pub fn commit(&mut self, points: &[Points]) -> Done<()> {
        self.write_sums()?;
        points.iter().for_each(|points| failpoint(points.before));
        self.park();
        let committed = self.db.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        self.unpark();
        committed?;
        points.iter().for_each(|points| failpoint(points.after));
        for change in self.batch.changes.drain(..) {
            self.memory.apply(change);
        }
        self.batch.clear();
        Ok(())
    }

    /// Lends memory to callers while this thread has no use for it.
    fn park(&mut self) {
        if self.ended.is_none() {
            *self.shared.parked() = Some(std::mem::replace(&mut self.memory, Memory::new(0)));
        }
    }

    /// Takes memory back.
    fn unpark(&mut self) {
        if let Some(memory) = self.shared.parked().take() {
            self.memory = memory;
        }
    }

    /// Takes a failed transaction back: nothing of it was seen by anybody.
    pub fn undo(&mut self, fail: Fail) -> (StoreError, bool) {
        self.batch.clear();
        self.figures.forget();
        self.kinds.forget();
        let mut verdict = verdict(fail);
        if !self.db.is_autocommit()
            && let Err(why) = self.db.execute_batch("ROLLBACK")
        {
            verdict = (StoreError::Fatal(format!("the store cannot undo a failed write: {why}; start the engine again")), false);
        }
        match schema::meta(&self.db, "seq") {
            Ok(Some(reserved)) => self.reserved = reserved,
            Ok(None) => verdict = (StoreError::Fatal("the store has lost its counter; restore a backup".to_owned()), false),
            Err(why) => verdict = self::verdict(why.into()),
        }
        match terms(&self.db) {
            Ok(terms) => self.terms = terms,
            Err(why) => verdict = self::verdict(why.into()),
        }
        if matches!(verdict.0, StoreError::Fatal(_)) {
            self.ended = Some(verdict.0.clone());
        }
        verdict
    }

    /// Tells callers what there is to claim.
    pub fn publish(&mut self) {
        if let Err(fail) = self.refill() {
            let (why, _) = self.undo(fail);
            tracing::error!("cannot read on in the inbox: {why}");
        }
        let now = self.shared.now().0;
        self.shared.turns.set(self.memory.claimable(), self.memory.wakes.next, now);
        self.shared.effects.set(0, self.memory.dues.next, now);
        self.shared.inbox_rows.store(self.memory.inbox_rows, Ordering::Release);
        self.shared.outbox_rows.store(self.memory.outbox_rows, Ordering::Release);
    }

    /// Numbers for rows: the first of `count`.
    pub fn numbers(&mut self, count: i64) -> Done<i64> {
        let first = self.next;
        self.next += count;
        if self.next > self.reserved {
            let reserved = self.next + NUMBERS_RESERVED;
            schema::set_meta(&self.db, "seq", reserved)?;
            self.reserved = reserved;
        }
        if self.figures.len() > NAMES_REMEMBERED_MAX {
            self.figures.forget();
        }
        Ok(first)
    }

    fn close(&mut self) -> Done<()> {
        failpoint("sqlite.close.before");
        schema::set_meta(&self.db, "seq", self.next)?;
        schema::set_meta(&self.db, "clean", 1)?;
        self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        failpoint("sqlite.close.after");
        self.shared.closed.store(true, Ordering::Release);
        self.ended = Some(closed());
        // The next process need not wait for the last reference to this store to go.
        self.lock.unlock().map_err(|why| Fail::Refused(StoreError::Fatal(format!("cannot unlock the database: {why}"))))
    }
}

/// What a failure means: passing trouble or the end, and whether one operation alone is to blame.
fn verdict(fail: Fail) -> (StoreError, bool) {
    let why = match fail {
        Fail::Refused(why) => return (why, true),
        Fail::Sql(why) => why,
    };
    match why.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            let said = "the disk is full and nothing was changed; free some space, work goes on by itself".to_owned();
            (StoreError::Unavailable(said), false)
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            let said = "another program holds a lock on the database file; end it (a SQLite shell, a backup)".to_owned();
            (StoreError::Unavailable(said), false)
        }
        Some(ErrorCode::OutOfMemory) => (StoreError::Unavailable("out of memory".to_owned()), false),
        Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::ParameterOutOfRange) => {
            (StoreError::Unavailable(format!("the database refused a value: {why}")), true)
        }
        _ => (StoreError::Fatal(format!("the database failed: {why}; check the disk, then start the engine again")), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn a_failed_disk_is_the_end_and_a_full_one_is_not() {
        let says = |code| {
            let (why, one_alone) = verdict(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into());
            (matches!(why, StoreError::Fatal(_)), one_alone)
        };
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_CORRUPT, ffi::SQLITE_READONLY] {
            assert_eq!(says(code), (true, false), "{code}");
        }
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_NOMEM] {
            assert_eq!(says(code), (false, false), "{code}");
        }
        for code in [ffi::SQLITE_TOOBIG, ffi::SQLITE_CONSTRAINT_UNIQUE] {
            assert_eq!(says(code), (false, true), "{code}");
        }
    }
}
