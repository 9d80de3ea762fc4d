//! Handing out customers: due wakes first, then those with inputs in the order in which they became ready.
//!
//! Inputs that were in the inbox when the process ended without a close are suspects: one of them may
//! have ended it. Their crash counter is raised, durably, before they are handed out; those that have a
//! count already go out alone, one input of one customer at a time, so that the next end tells which.

use super::super::{CLAIM_CUSTOMERS_MAX, CLAIM_INPUTS_MAX, Claim, Queued, Record, StoreError};
use super::inbox::lost;
use super::memory::{Change, Flight};
use super::shape::{judged, key};
use super::writer::{Call, Core, Done, Fail, Phase, Points};
use crate::customer::codec::decode;
use crate::event::Input;
use crate::lang::time::Time;
use rusqlite::{OptionalExtension, Row, params};
use std::sync::Arc;

/// [`super::Store::claim`].
pub const CLAIM: Call<usize, Vec<RawClaim>> =
    Call { phase: Phase::After, points: None, run: |core, max| core.claim((*max).min(CLAIM_CUSTOMERS_MAX)) };

/// [`super::Store::take`].
pub const TAKE: Call<String, Option<RawClaim>> =
    Call { phase: Phase::After, points: None, run: |core, customer| core.take(customer) };

/// [`super::Store::wake_unjudged`].
pub const WAKE_UNJUDGED: Call<(String, String, usize), Vec<String>> =
    Call { phase: Phase::After, points: None, run: |core, (hash, after, max)| core.wake_unjudged(hash, after, *max) };

/// Most customers that one step of the background scan marks.
const UNJUDGED_ROWS_MAX: usize = 1_000;

const WAKES_OF_THIS_INSTANT: &str = "SELECT num, id, version, gate, wake, judged, head, shown, account, document
    FROM customer WHERE wake = ?1 AND num > ?2 AND ?1 <= ?3 ORDER BY num";
const WAKES_OF_LATER_INSTANTS: &str = "SELECT num, id, version, gate, wake, judged, head, shown, account, document
    FROM customer WHERE wake > ?1 AND wake <= ?3 AND ?2 IS NOT NULL ORDER BY wake, num";

/// A claim as the file has it.
pub struct RawClaim {
    customer: Arc<str>,
    record: Record,
    inputs: Vec<(u64, i64, Vec<u8>)>,
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
        (Claim { customer: self.customer.as_ref().to_owned(), record: self.record, inputs, now: self.now }, unreadable)
    }
}

/// Reads a row of `num, id, version, gate, wake, judged, head, shown, account, document`.
fn record(row: &Row<'_>) -> rusqlite::Result<(Flight, Record)> {
    let flight = Flight {
        num: row.get(0)?,
        version: row.get(2)?,
        wake: row.get(4)?,
        head: row.get(6)?,
        shown: row.get(7)?,
        judged: row.get(5)?,
        counted: Vec::new(),
    };
    let record =
        Record { version: flight.version as u64, document: row.get(9)?, account: row.get(8)?, gate: row.get(3)?, erased: false };
    Ok((flight, record))
}

impl Core {
    fn claim(&mut self, max: usize) -> Done<Vec<RawClaim>> {
        let mut claims = Vec::new();
        match self.gather(max, &mut claims).and_then(|()| self.count_suspects(&claims)) {
            Ok(()) => Ok(claims),
            Err(fail) => {
                for claim in claims {
                    let wake = self.memory.flight(&claim.customer).and_then(|flight| flight.wake);
                    let num = self.memory.flight(&claim.customer).map_or(0, |flight| flight.num);
                    self.memory.apply(Change::Freed { customer: claim.customer, num, consumed: Vec::new(), wake });
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
    fn record_of(&self, customer: &str) -> Done<(Flight, Record)> {
        let found = self
            .db
            .prepare_cached(
                "SELECT num, id, version, gate, wake, judged, head, shown, account, document FROM customer WHERE id = ?1",
            )?
            .query_row([customer], record)
            .optional()?;
        if let Some(found) = found {
            return Ok(found);
        }
        let erased = self.db.prepare_cached("SELECT 1 FROM tombstone WHERE digest = ?1")?.exists([key(&[customer])])?;
        Ok((Flight::default(), Record { erased, ..Record::default() }))
    }

    fn hand_out(&mut self, customer: Arc<str>, flight: Flight, record: Record, claims: &mut Vec<RawClaim>) -> Done<()> {
        let seqs = self.memory.fly(&customer, flight, CLAIM_INPUTS_MAX);
        let mut inputs = Vec::with_capacity(seqs.len());
        // Noted before the inputs are read: whatever happens from here on, she is given back.
        claims.push(RawClaim { customer, record, inputs: Vec::new(), now: self.batch.now });
        let mut read = self.db.prepare_cached("SELECT at, body FROM inbox WHERE seq = ?1")?;
        for seq in seqs {
            match read.query_row([seq as i64], |row| Ok((seq, row.get(0)?, row.get(1)?))).optional()? {
                Some(input) => inputs.push(input),
                None => {
                    return Err(Fail::Refused(StoreError::Fatal(format!("input {seq} is gone from the inbox; restore a backup"))));
                }
            }
        }
        if let Some(claim) = claims.last_mut() {
            claim.inputs = inputs;
        }
        Ok(())
    }

    /// Raises the crash counters of the suspects among them before anybody sees them.
    fn count_suspects(&mut self, claims: &[RawClaim]) -> Done<()> {
        let below = self.memory.suspect_below;
        let suspect = |claim: &&RawClaim| claim.inputs.iter().any(|input| input.0 < below);
        if below == 0 || !claims.iter().any(|claim| suspect(&claim)) {
            return Ok(());
        }
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

    fn take(&mut self, customer: &str) -> Done<Option<RawClaim>> {
        if self.memory.flight(customer).is_some() || self.has_unread(customer)? {
            return Ok(None);
        }
        let (flight, record) = self.record_of(customer)?;
        let mut claims = Vec::with_capacity(1);
        self.hand_out(Arc::from(customer), flight, record, &mut claims)?;
        Ok(claims.pop())
    }

    /// One look-up per hash that is not the present one, in the order of ids; there are few such hashes.
    fn wake_unjudged(&mut self, hash: &str, after: &str, max: usize) -> Done<Vec<String>> {
        let room = self.memory.room(self.shared.options.window_inputs);
        let max = max.min(UNJUDGED_ROWS_MAX).min(room);
        if room == 0 {
            let said = "too many customers wait for a turn; go on with the scan in a moment".to_owned();
            return Err(Fail::Refused(StoreError::Unavailable(said)));
        }
        let present = judged(hash);
        let mut ids: Vec<String> = Vec::new();
        let mut last: Option<i64> = None;
        loop {
            let other: Option<i64> = self
                .db
                .prepare_cached("SELECT min(judged) FROM customer WHERE judged > ?1 OR (?2 AND judged = ?1)")?
                .query_row(params![last.unwrap_or(i64::MIN), last.is_none()], |row| row.get(0))?;
            let Some(other) = other else { break };
            last = Some(other);
            if other != present {
                let mut find =
                    self.db.prepare_cached("SELECT id FROM customer WHERE judged = ?1 AND id > ?2 ORDER BY id LIMIT ?3")?;
                let mut rows = find.query(params![other, after, max as i64])?;
                while let Some(row) = rows.next()? {
                    ids.push(row.get(0)?);
                }
            }
        }
        ids.sort_unstable();
        ids.truncate(max);
        for id in &ids {
            self.memory.nudge(Arc::from(id.as_str()));
        }
        Ok(ids)
    }
}
