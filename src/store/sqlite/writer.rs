//! The thread that writes: groups of operations, one transaction each.
//!
//! An operation is a [`Call`]: a plain function over [`Core`]. Those of phase [`Phase::Write`] run inside
//! the group's transaction and are answered after its commit. Those of phase [`Phase::After`] hand out
//! work: they run after the commit, when memory tells the truth again.

use super::super::{StoreError, StoreResult, failpoint};
use super::figure::{Figures, Kinds};
use super::memory::Memory;
use super::shape::Batch;
use super::{Options, schema};
use crate::lang::time::Time;
use rusqlite::{Connection, ErrorCode};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use tokio::sync::{Notify, mpsc, oneshot};

/// Most items (inputs, turns, single operations) of one transaction, unless one operation brings more.
const GROUP_ITEMS_MAX: usize = 512;
/// Numbers reserved at once for rows; after a crash the unused ones are skipped.
const NUMBERS_RESERVED: i64 = 65_536;
/// Figures and kinds of run remembered by number; beyond it they are looked up again.
const NAMES_REMEMBERED_MAX: usize = 10_000;

/// What callers and the writer both see.
pub struct Shared {
    /// Settings.
    pub options: Options,
    /// The latest instant given out.
    latest: AtomicI64,
    /// Nothing is taken any more.
    pub closed: AtomicBool,
    /// Customers that need a turn.
    pub turns: Signal,
    /// Effects that need delivery.
    pub effects: Signal,
    /// Rows of the inbox.
    pub inbox_rows: AtomicU64,
    /// Rows of the outbox.
    pub outbox_rows: AtomicU64,
}

/// Whether there is something to claim, and when.
pub struct Signal {
    /// How many are ready now.
    pub ready: AtomicU64,
    /// The clock's instant at which the next one is due.
    pub next: AtomicI64,
    /// Told of every change.
    pub changed: Notify,
}

impl Signal {
    fn new() -> Signal {
        Signal { ready: AtomicU64::new(0), next: AtomicI64::new(i64::MAX), changed: Notify::new() }
    }

    fn set(&self, ready: u64, next: i64, now: i64) {
        let before = (self.ready.swap(ready, Ordering::AcqRel), self.next.swap(next, Ordering::AcqRel));
        // A sleeper is woken for what it cannot know: work that is there, or an earlier instant.
        if ready > 0 || next <= now || next < before.1 {
            self.changed.notify_waiters();
        }
    }
}

impl Shared {
    /// With nothing known yet.
    pub fn new(options: Options) -> Shared {
        Shared {
            options,
            latest: AtomicI64::new(i64::MIN),
            closed: AtomicBool::new(false),
            turns: Signal::new(),
            effects: Signal::new(),
            inbox_rows: AtomicU64::new(0),
            outbox_rows: AtomicU64::new(0),
        }
    }

    /// The clock; it never goes back.
    pub fn now(&self) -> Time {
        let now = (self.options.clock)().0;
        Time(self.latest.fetch_max(now, Ordering::AcqRel).max(now))
    }

    /// The clock shall not be before an instant of the past that is on record.
    pub fn not_before(&self, time: Time) {
        self.latest.fetch_max(time.0, Ordering::AcqRel);
    }

    /// The signal of one kind of work.
    pub fn signal(&self, which: super::Work) -> &Signal {
        match which {
            super::Work::Turns => &self.turns,
            super::Work::Effects => &self.effects,
        }
    }
}

/// Why an operation did not succeed.
#[derive(Debug)]
pub enum Fail {
    /// SQLite said no.
    Sql(rusqlite::Error),
    /// We did.
    Refused(StoreError),
}

impl From<rusqlite::Error> for Fail {
    fn from(why: rusqlite::Error) -> Fail {
        Fail::Sql(why)
    }
}

/// Result of an operation on the writer's thread.
pub type Done<T> = Result<T, Fail>;

/// When an operation runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Inside the transaction.
    Write,
    /// After the commit.
    After,
    /// After the commit, as the last one.
    Close,
}

/// The failpoints around the commit of one kind of operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Points {
    /// Reached before the commit.
    pub before: &'static str,
    /// Reached after it, before anybody is answered.
    pub after: &'static str,
}

/// An operation.
pub struct Call<I, T> {
    /// When it runs.
    pub phase: Phase,
    /// Its failpoints.
    pub points: Option<Points>,
    /// What it does. It may be run again when its group failed because of another one.
    pub run: fn(&mut Core, &I) -> Done<T>,
}

/// Ends the store.
pub const CLOSE: Call<(), ()> = Call { phase: Phase::Close, points: None, run: |core, ()| core.close() };

/// An operation with its input and its caller.
pub trait Task: Send {
    /// When it runs.
    fn phase(&self) -> Phase;
    /// Its failpoints.
    fn points(&self) -> Option<Points>;
    /// Its share of a group.
    fn weight(&self) -> usize;
    /// Does it; the answer is kept.
    fn run(&mut self, core: &mut Core) -> Result<(), Fail>;
    /// Tells the caller.
    fn answer(self: Box<Self>, result: Result<(), StoreError>);
}

struct Job<I, T> {
    call: Call<I, T>,
    input: I,
    weight: usize,
    done: Option<T>,
    caller: oneshot::Sender<StoreResult<T>>,
}

impl<I: Send, T: Send> Task for Job<I, T> {
    fn phase(&self) -> Phase {
        self.call.phase
    }

    fn points(&self) -> Option<Points> {
        self.call.points
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, core: &mut Core) -> Result<(), Fail> {
        self.done = Some((self.call.run)(core, &self.input)?);
        Ok(())
    }

    fn answer(self: Box<Self>, result: Result<(), StoreError>) {
        let Job { done, caller, .. } = *self;
        // A caller that has gone away does not want to know.
        let _gone = caller.send(result.and_then(|()| done.ok_or_else(closed)));
    }
}

/// An operation ready to be sent, and the place where its answer will come.
pub fn task<I: Send + 'static, T: Send + 'static>(
    call: Call<I, T>,
    input: I,
    weight: usize,
) -> (Box<dyn Task>, oneshot::Receiver<StoreResult<T>>) {
    let (caller, answer) = oneshot::channel();
    (Box::new(Job { call, input, weight, done: None, caller }), answer)
}

/// What is said once the store has ended.
pub fn closed() -> StoreError {
    StoreError::Unavailable("it is closed; start the engine again".to_owned())
}

/// Everything that the writer's thread owns.
pub struct Core {
    /// The connection that writes.
    pub db: Connection,
    /// Who is claimed and what is ready.
    pub memory: Memory,
    /// What the present transaction has done so far.
    pub batch: Batch,
    /// Day figures by number.
    pub figures: Figures,
    /// Funnel versions by number.
    pub kinds: Kinds,
    /// Position of the walk through the ids of events.
    pub seen_walk: i64,
    /// The next number of a row.
    pub next: i64,
    /// Numbers below this one may be used.
    pub reserved: i64,
    /// What callers see too.
    pub shared: Arc<Shared>,
    /// Held as long as the file is ours.
    pub lock: File,
    /// Why nothing is done any more.
    pub ended: Option<StoreError>,
}

/// Runs the writer until it is closed or nobody is left to call it.
pub fn run(mut core: Core, mut calls: mpsc::Receiver<Box<dyn Task>>) {
    let mut tasks: Vec<Box<dyn Task>> = Vec::new();
    while let Some(first) = calls.blocking_recv() {
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

impl Core {
    /// One group: writes in a transaction, then what hands out work, then the end if it was asked for.
    fn group(&mut self, tasks: &mut Vec<Box<dyn Task>>) {
        let (mut writes, mut later): (Vec<_>, Vec<_>) = tasks.drain(..).partition(|task| task.phase() == Phase::Write);
        later.sort_by_key(|task| task.phase() == Phase::Close);
        if !writes.is_empty() {
            let result = self.transaction(&mut writes);
            self.publish();
            self.answer_writes(writes, result);
        }
        let handed_out = !later.is_empty();
        for mut task in later {
            let result = match &self.ended {
                Some(why) => Err(why.clone()),
                None => {
                    self.batch.now = self.shared.now();
                    task.run(self).map_err(|fail| self.undo(fail).0)
                }
            };
            task.answer(result);
        }
        if handed_out {
            self.publish();
        }
    }

    fn answer_writes(&mut self, writes: Vec<Box<dyn Task>>, result: Result<(), (StoreError, bool)>) {
        match result {
            Ok(()) => writes.into_iter().for_each(|task| task.answer(Ok(()))),
            // One operation that cannot be done must not take the others with it.
            Err((_, true)) if writes.len() > 1 => {
                for task in writes {
                    let mut alone = vec![task];
                    let result = self.transaction(&mut alone).map_err(|(why, _)| why);
                    alone.into_iter().for_each(|task| task.answer(result.clone()));
                }
                self.publish();
            }
            Err((why, _)) => writes.into_iter().for_each(|task| task.answer(Err(why.clone()))),
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

    /// Begins a transaction.
    pub fn begin(&mut self) -> Done<()> {
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    /// Writes the group's sums, commits, and lets memory follow.
    pub fn commit(&mut self, points: &[Points]) -> Done<()> {
        self.write_sums()?;
        points.iter().for_each(|points| failpoint(points.before));
        self.db.prepare_cached("COMMIT")?.execute([])?;
        points.iter().for_each(|points| failpoint(points.after));
        for change in self.batch.changes.drain(..) {
            self.memory.apply(change);
        }
        self.batch.clear();
        Ok(())
    }

    /// Takes a failed transaction back: nothing of it was seen by anybody.
    fn undo(&mut self, fail: Fail) -> (StoreError, bool) {
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
