//! Handing out customers: due wakes first, then those with inputs in the order in which they became ready.
//!
//! Inputs that were in the inbox when the process ended without a close are suspects: one of them may
//! have ended it. Their crash counter is raised, durably, before they are handed out; those that have a
//! count already go out alone, one input of one customer at a time and the least counted first, so that the
//! next end tells which.

use super::super::digest::tombstone;
use super::super::{CLAIM_CUSTOMERS_MAX, CLAIM_INPUTS_MAX, Claim, Queued, Record, StoreError};
use super::call::{Call, Done, Fail, Phase, Points, let_be};
use super::change::Change;
use super::flight::Flight;
use super::inbox::lost;
use super::writer::Core;
use crate::customer::codec::decode;
use crate::event::Input;
use crate::lang::time::Time;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::sync::Arc;

/// [`super::Store::claim`].
pub const CLAIM: Call<usize, Vec<RawClaim>> = Call {
    phase: Phase::After,
    points: None,
    run: |core, max| core.claim((*max).min(CLAIM_CUSTOMERS_MAX)),
    lost: |core, claims| core.take_back(&claims),
};

/// [`super::Store::take`].
pub const TAKE: Call<String, Option<RawClaim>> = Call {
    phase: Phase::After,
    points: None,
    run: |core, customer| core.take(customer),
    lost: |core, claim| core.take_back(claim.as_slice()),
};

/// The last step of [`super::Store::wake_unjudged`].
pub const NUDGE: Call<Vec<String>, ()> =
    Call { phase: Phase::After, points: None, run: |core, customers| core.nudge(customers), lost: let_be };

/// Most customers that one step of the background scan marks.
const UNJUDGED_ROWS_MAX: usize = 1_000;
/// Customers looked at by one question of the background scan: a read that lasts long keeps the
/// write-ahead log from being cut back.
const SCAN_ROWS_MAX: i64 = 20_000;

const WAKES_OF_THIS_INSTANT: &str = "SELECT num, id, version, gate, wake, head, shown, account, document
    FROM customer WHERE wake = ?1 AND num > ?2 AND ?1 <= ?3 ORDER BY num";
const WAKES_OF_LATER_INSTANTS: &str = "SELECT num, id, version, gate, wake, head, shown, account, document
    FROM customer WHERE wake > ?1 AND wake <= ?3 AND ?2 IS NOT NULL ORDER BY wake, num";

/// A claim as the file has it.
pub struct RawClaim {
    customer: Arc<str>,
    record: Record,
    inputs: Vec<(u64, i64, Vec<u8>)>,
    more_from: Option<i64>,
    now: Time,
}

impl RawClaim {
    /// For the turn worker; and the inputs that cannot be read, with the reason.
    pub fn decode(self) -> (Claim, Vec<(u64, String)>) {
        let mut unreadable = Vec::new();
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for (seq, at, body) in self.inputs {
            match decode(&body) {
                Ok(body) => inputs.push(Queued { seq, input: Input { accepted_at: Time(at), body } }),
                Err(why) => unreadable.push((seq, why.to_string())),
            }
        }
        let (customer, more_from) = (self.customer.as_ref().to_owned(), self.more_from.map(Time));
        (Claim { customer, record: self.record, inputs, more_from, now: self.now }, unreadable)
    }
}

/// Reads a row of `num, id, version, gate, wake, head, shown, account, document`.
fn record(row: &Row<'_>) -> rusqlite::Result<(Flight, Record)> {
    let account: Vec<u8> = row.get(7)?;
    let flight = Flight {
        num: row.get(0)?,
        version: row.get(2)?,
        wake: row.get(4)?,
        head: row.get(5)?,
        shown: row.get(6)?,
        gate: row.get(3)?,
        account: Arc::from(account.as_slice()),
        first: None,
        counted: Vec::new(),
    };
    let record = Record { version: flight.version as u64, document: row.get(8)?, account, gate: flight.gate, erased: false };
    Ok((flight, record))
}

impl Core<'_> {
    fn claim(&mut self, max: usize) -> Done<Vec<RawClaim>> {
        let mut claims = Vec::new();
        match self.gather(max, &mut claims).and_then(|()| self.count_suspects(&claims)) {
            Ok(()) => Ok(claims),
            Err(fail) => {
                for claim in claims {
                    let wake = self.memory.flight(&claim.customer).and_then(|flight| flight.wake);
                    let num = self.memory.flight(&claim.customer).map_or(0, |flight| flight.num);
                    self.memory.apply(Change::Freed { customer: claim.customer, num, consumed: Vec::new(), wake, recent: None });
                }
                Err(fail)
            }
        }
    }

    fn gather(&mut self, max: usize, claims: &mut Vec<RawClaim>) -> Done<()> {
        if max == 0 {
            return Ok(());
        }
        if let Some(customer) = self.memory.next_alone() {
            let (flight, record) = self.record_of(&customer)?;
            return self.hand_out(customer, flight, record, claims);
        }
        self.gather_wakes(max, claims)?;
        while claims.len() < max
            && let Some(customer) = self.memory.next_ready()
        {
            let (flight, record) = self.record_of(&customer)?;
            self.hand_out(customer, flight, record, claims)?;
        }
        Ok(())
    }

    fn gather_wakes(&mut self, max: usize, claims: &mut Vec<RawClaim>) -> Done<()> {
        let now = self.batch.now.0;
        if self.memory.wakes.next > now {
            return Ok(());
        }
        // Two look-ups, so that ten thousand wakes of one instant are not walked again with every claim.
        for sql in [WAKES_OF_THIS_INSTANT, WAKES_OF_LATER_INSTANTS] {
            let mut found: Vec<(Arc<str>, Flight, Record)> = Vec::new();
            {
                let (wake, num) = self.memory.wakes.at;
                let mut find = self.db.prepare_cached(sql)?;
                let mut rows = find.query([wake, num, now])?;
                while claims.len() + found.len() < max
                    && let Some(row) = rows.next()?
                {
                    let id = row.get_ref(1)?.as_str().map_err(lost)?;
                    self.memory.wakes.at = (row.get(4)?, row.get(0)?);
                    if !self.memory.blocked(id) {
                        let (flight, record) = record(row)?;
                        found.push((Arc::from(id), flight, record));
                    }
                }
            }
            for (customer, flight, record) in found {
                self.hand_out(customer, flight, record, claims)?;
            }
            if claims.len() >= max {
                return Ok(());
            }
        }
        let next = self
            .db
            .prepare_cached("SELECT wake FROM customer WHERE wake > ?1 ORDER BY wake LIMIT 1")?
            .query_row([now], |row| row.get(0))
            .optional()?;
        self.memory.wakes.next = next.unwrap_or(i64::MAX);
        Ok(())
    }

    /// A customer's record; an empty one when there is none.
    fn record_of(&mut self, customer: &str) -> Done<(Flight, Record)> {
        if let Some(found) = self.memory.recent.take(customer) {
            return Ok(found);
        }
        let found = self
            .db
            .prepare_cached("SELECT num, id, version, gate, wake, head, shown, account, document FROM customer WHERE id = ?1")?
            .query_row([customer], record)
            .optional()?;
        if let Some(found) = found {
            return Ok(found);
        }
        let erased = self.tombstones
            && self
                .db
                .prepare_cached("SELECT 1 FROM tombstone WHERE digest = ?1")?
                .exists([i64::from_be_bytes(tombstone(customer))])?;
        Ok((Flight::default(), Record { erased, ..Record::default() }))
    }

    fn hand_out(&mut self, customer: Arc<str>, flight: Flight, record: Record, claims: &mut Vec<RawClaim>) -> Done<()> {
        let (seqs, next) = self.memory.fly(&customer, flight, CLAIM_INPUTS_MAX);
        let mut inputs = Vec::with_capacity(seqs.len());
        // Noted before the inputs are read: whatever happens from here on, she is given back.
        claims.push(RawClaim { customer, record, inputs: Vec::new(), more_from: None, now: self.batch.now });
        let mut read = self.db.prepare_cached("SELECT at, body FROM inbox WHERE seq = ?1")?;
        for seq in seqs {
            match read.query_row([seq as i64], |row| Ok((seq, row.get(0)?, row.get(1)?))).optional()? {
                Some(input) => inputs.push(input),
                None => {
                    return Err(Fail::Refused(StoreError::Fatal(format!(
                        "input {seq} is gone from the inbox; restore a backup"
                    ))));
                }
            }
        }
        drop(read);
        if let Some(claim) = claims.last_mut() {
            claim.more_from = self.accepted_next(&claim.customer, next)?;
            claim.inputs = inputs;
        }
        Ok(())
    }

    /// When the first of her inputs was accepted that is not handed out: the next one known, or one beyond
    /// memory's window.
    fn accepted_next(&self, customer: &str, next: Option<u64>) -> Done<Option<i64>> {
        let found = match next {
            Some(seq) => self
                .db
                .prepare_cached("SELECT at FROM inbox WHERE seq = ?1")?
                .query_row([seq as i64], |row| row.get(0))
                .optional()?,
            None if self.memory.far == 0 => None,
            None => self
                .db
                .prepare_cached("SELECT at FROM inbox WHERE far = 1 AND customer = ?1 AND seq > ?2 ORDER BY seq LIMIT 1")?
                .query_row(params![customer, self.memory.horizon as i64], |row| row.get(0))
                .optional()?,
        };
        Ok(found)
    }

    /// Raises the crash counters of the suspects among them before anybody sees them.
    fn count_suspects(&mut self, claims: &[RawClaim]) -> Done<()> {
        let below = self.memory.suspect_below;
        let suspect = |claim: &&RawClaim| claim.inputs.iter().any(|input| input.0 < below);
        if below == 0 || !claims.iter().any(|claim| suspect(&claim)) {
            return Ok(());
        }
        self.end_read()?;
        self.begin()?;
        let mut counted = Vec::new();
        for claim in claims.iter().filter(suspect) {
            let seqs: Vec<u64> = claim.inputs.iter().map(|input| input.0).filter(|seq| *seq < below).collect();
            for seq in &seqs {
                self.db.prepare_cached("UPDATE inbox SET crashes = crashes + 1 WHERE seq = ?1")?.execute([*seq as i64])?;
                let count = self.memory.crashes.get(seq).map_or(1, |count| count + 1);
                self.batch.changes.push(Change::Crashes { seq: *seq, count });
            }
            counted.push((claim.customer.clone(), seqs));
        }
        self.commit(&[Points { before: "sqlite.claim.before", after: "sqlite.claim.after" }])?;
        for (customer, seqs) in counted {
            self.memory.counted(&customer, seqs);
        }
        Ok(())
    }

    /// Frees customers whose claimer has gone away before the answer came.
    fn take_back(&mut self, claims: &[RawClaim]) {
        let freed = self.end_read().and_then(|()| self.begin()).and_then(|()| {
            claims.iter().try_for_each(|claim| self.free(&claim.customer))?;
            self.commit(&[])
        });
        if let Err(fail) = freed {
            let (why, _) = self.undo(fail);
            tracing::error!("{} customers stay claimed by nobody until the next start: {why}", claims.len());
        }
        self.publish();
    }

    fn take(&mut self, customer: &str) -> Done<Option<RawClaim>> {
        if self.memory.flight(customer).is_some() || self.has_unread(customer)? {
            return Ok(None);
        }
        let (flight, record) = self.record_of(customer)?;
        let mut claims = Vec::with_capacity(1);
        self.hand_out(Arc::from(customer), flight, record, &mut claims)?;
        Ok(claims.pop())
    }

    /// Marks customers for a turn though nothing happened to them.
    fn nudge(&mut self, customers: &[String]) -> Done<()> {
        if customers.len() > self.memory.room(self.shared.options.window_inputs) {
            let said = "too many customers wait for a turn; go on with the scan in a moment".to_owned();
            return Err(Fail::Refused(StoreError::Unavailable(said)));
        }
        for customer in customers {
            self.memory.nudge(Arc::from(customer.as_str()));
        }
        Ok(())
    }
}

/// A slice of the scan.
pub struct Slice {
    /// Customers found.
    pub ids: Vec<String>,
    /// Where the next slice begins; `None`: that was the last.
    pub next: Option<i64>,
}

/// The place after a customer. One who was erased meanwhile sends the scan back to the start, where those
/// who have been judged are passed over.
pub fn scan_start(db: &Connection, after: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT num FROM customer WHERE id = ?1")?
        .query_row([after], |row| row.get(0))
        .optional()
        .map(|num| Some(num.unwrap_or(0)))
}

/// Customers of one slice, after a place, whose judge was another.
pub fn unjudged(db: &Connection, judged: i64, after: i64, max: usize) -> rusqlite::Result<Slice> {
    let end = after.saturating_add(SCAN_ROWS_MAX);
    let ids: Vec<String> = db
        .prepare_cached("SELECT id FROM customer WHERE num > ?1 AND num <= ?2 AND judged <> ?3 ORDER BY num LIMIT ?4")?
        .query_map(params![after, end, judged, max.min(UNJUDGED_ROWS_MAX) as i64], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let more = db.prepare_cached("SELECT 1 FROM customer WHERE num > ?1 LIMIT 1")?.exists([end])?;
    Ok(Slice { ids, next: more.then_some(end) })
}
