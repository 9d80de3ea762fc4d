//! Coming back: after a restart, after a crash of a turn, after a worker gave up.

use super::super::pause::Pauses;
use super::super::{QUARANTINE_AFTER, StoreError, StoreResult};
use super::aside::HER_WAKE;
use super::call::{Call, Done, Fail, Phase, Points, let_be};
use super::change::Change;
use super::figure::{Figures, Kinds, terms};
use super::kept::Db;
use super::memory::Memory;
use super::prune::Walks;
use super::schema::{Opened, meta};
use super::shape::Batch;
use super::shared::Shared;
use super::writer::Core;
use crate::lang::time::Time;
use rusqlite::{OptionalExtension, params};
use std::sync::Arc;

/// How long a customer whose turn failed without any input is left alone, in milliseconds.
const WAKE_FAULT_MS: i64 = 60_000;

/// The failpoints of what deals with inputs that fail.
pub const POINTS: Option<Points> = Some(Points { before: "sqlite.fault.before", after: "sqlite.fault.after" });

/// [`super::Store::release`].
pub const RELEASE: Call<Vec<String>, ()> = Call {
    phase: Phase::Write,
    // Giving back writes nothing that a crash could lose: after it everything is handed out anew.
    points: None,
    run: |core, customers| customers.iter().try_for_each(|customer| core.free(&Arc::from(customer.as_str()))),
    lost: let_be,
};

/// [`super::Store::fault`].
pub const FAULT: Call<(String, Option<u64>, String), ()> = Call {
    phase: Phase::Write,
    points: POINTS,
    run: |core, (customer, seq, cause)| core.fault(&Arc::from(customer.as_str()), *seq, cause),
    lost: let_be,
};

/// Builds the writer's state from the file.
pub fn recover(opened: &Opened, shared: Arc<Shared>) -> StoreResult<Core<'_>> {
    let fatal = |fail: Fail| match fail {
        Fail::Refused(why) => why,
        Fail::Sql(why) => StoreError::Fatal(format!("cannot read the database: {why}; check the disk, or restore a backup")),
    };
    let recent_bytes = shared.options.recent_bytes;
    let mut core = Core {
        db: Db::new(&opened.db),
        memory: Memory::new(recent_bytes),
        batch: Batch::default(),
        figures: Figures::default(),
        terms: Default::default(),
        kinds: Kinds::default(),
        walks: Walks::default(),
        next: 1,
        next_customer: 1,
        tombstones: false,
        reserved: 1,
        shared,
        lock: &opened.lock,
        ended: None,
    };
    core.load(opened.clean).map_err(fatal)?;
    Ok(core)
}

impl Core<'_> {
    fn load(&mut self, clean: bool) -> Done<()> {
        self.next = meta(&self.db, "seq")?
            .ok_or_else(|| Fail::Refused(StoreError::Fatal("the database has lost its counter; restore a backup".to_owned())))?;
        self.reserved = self.next;
        self.terms = terms(&self.db)?;
        self.next_customer = self.db.query_row("SELECT coalesce(max(num), 0) + 1 FROM customer", [], |row| row.get(0))?;
        self.tombstones = self.db.prepare("SELECT 1 FROM tombstone LIMIT 1")?.exists([])?;
        let count = |sql: &str| -> Done<i64> { Ok(self.db.query_row(sql, [], |row| row.get(0))?) };
        let rows = count("SELECT count(*) FROM inbox")?;
        // What arrived last must not seem younger than what arrives next, whatever the clock does.
        let latest: Option<i64> =
            self.db.query_row("SELECT at FROM inbox ORDER BY seq DESC LIMIT 1", [], |row| row.get(0)).optional()?;
        self.memory.pauses = Pauses::new(super::pause::pauses(&self.db)?);
        self.memory.outbox_rows = count("SELECT count(*) FROM outbox")? as u64;
        self.memory.wakes.next = count("SELECT coalesce(min(wake), 9223372036854775807) FROM customer WHERE wake IS NOT NULL")?;
        self.shared.not_before(Time(latest.unwrap_or(i64::MIN)));
        self.memory.far = rows as u64;
        self.memory.inbox_rows = rows as u64;
        if !clean {
            self.memory.suspect_below = self.next as u64;
        }
        self.batch.now = self.shared.now();
        self.begin()?;
        self.wait_again()?;
        self.quarantine_repeated()?;
        self.commit(&[])?;
        while self.memory.far > 0 && self.memory.inputs < self.shared.options.window_inputs {
            let before = self.memory.far;
            self.refill()?;
            if self.memory.far == before {
                break;
            }
        }
        self.db.execute("UPDATE inbox SET far = 1 WHERE seq > ?1 AND far = 0", [self.memory.horizon as i64])?;
        self.publish();
        Ok(())
    }

    /// Nothing is handed out any more: every effect waits, and what was being sent is ambiguous.
    fn wait_again(&mut self) -> Done<()> {
        self.db.execute(
            "UPDATE outbox SET due = coalesce(due, ?1), unsure = CASE WHEN sending THEN coalesce(unsure, begun) ELSE unsure END,
             sending = 0 WHERE due IS NULL OR sending",
            [self.batch.now.0],
        )?;
        let first: Option<i64> = self.db.query_row("SELECT min(due) FROM outbox WHERE due IS NOT NULL", [], |row| row.get(0))?;
        self.memory.dues.next = first.unwrap_or(i64::MAX);
        Ok(())
    }

    fn quarantine_repeated(&mut self) -> Done<()> {
        let mut found: Vec<(i64, String)> = Vec::new();
        {
            let mut find = self.db.prepare("SELECT seq, customer FROM inbox WHERE crashes > 0 AND crashes >= ?1 ORDER BY seq")?;
            let mut rows = find.query([QUARANTINE_AFTER])?;
            while let Some(row) = rows.next()? {
                found.push((row.get(0)?, row.get(1)?));
            }
        }
        for (seq, customer) in found {
            let cause = format!("the process ended while handling it ({QUARANTINE_AFTER} times)");
            self.put_aside(&Arc::from(customer.as_str()), seq as u64, &cause)?;
            // Nothing of the inbox is known yet: it leaves the count only.
            self.memory.far -= 1;
            self.memory.inbox_rows -= 1;
        }
        Ok(())
    }

    fn fault(&mut self, customer: &Arc<str>, seq: Option<u64>, cause: &str) -> Done<()> {
        match seq.or_else(|| self.memory.first_handed(customer)) {
            Some(seq) => self.fault_of_input(customer, seq, cause)?,
            None => self.fault_of_wake(customer, cause)?,
        }
        self.free_except(customer, seq)
    }

    fn fault_of_input(&mut self, customer: &Arc<str>, seq: u64, cause: &str) -> Done<()> {
        let counted = self.memory.flight(customer).is_some_and(|flight| flight.counted.contains(&seq));
        let by = u32::from(!counted);
        let count: Option<u32> = self
            .db
            .prepare_cached("UPDATE inbox SET crashes = crashes + ?2 WHERE seq = ?1 RETURNING crashes")?
            .query_row(params![seq as i64, by], |row| row.get(0))
            .optional()?;
        match count {
            Some(count) if count >= QUARANTINE_AFTER => self.put_aside(customer, seq, cause),
            Some(count) => {
                self.batch.changes.push(Change::Crashes { seq, count });
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// No input is to blame, only her wake. It cannot be put aside; it is put off, so that it does not run
    /// hot, and listed when it happens again and again.
    fn fault_of_wake(&mut self, customer: &Arc<str>, cause: &str) -> Done<()> {
        let until = self.batch.now.plus_ms(WAKE_FAULT_MS).0;
        self.db
            .prepare_cached("UPDATE customer SET wake = ?2 WHERE id = ?1 AND wake <= ?2")?
            .execute(params![&**customer, until])?;
        let count = self.memory.wake_fault(customer);
        if count == QUARANTINE_AFTER {
            let at = self.numbers(1)?;
            self.list(at, customer, cause, HER_WAKE)?;
        }
        Ok(())
    }

    /// Frees her; what was counted against her other inputs is taken back.
    fn free_except(&mut self, customer: &Arc<str>, culprit: Option<u64>) -> Done<()> {
        let Some(flight) = self.memory.flight(customer).cloned() else { return Ok(()) };
        let culprit = culprit.or_else(|| self.memory.first_handed(customer));
        self.uncount(&flight.counted, &culprit.into_iter().collect::<Vec<u64>>())?;
        let row = self.flight_of(customer)?;
        self.batch.changes.push(Change::Freed {
            customer: customer.clone(),
            num: row.num,
            consumed: Vec::new(),
            wake: row.wake,
            recent: None,
        });
        Ok(())
    }
}
