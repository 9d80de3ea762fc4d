//! The inbox: the only way in.

use super::super::digest::seen;
use super::super::{Accepted, NewInput, StoreError};
use super::call::{Call, Done, Fail, Phase, Points, let_be};
use super::change::Change;
use super::writer::Core;
use crate::customer::codec::encode;
use crate::effect::Outcome;
use crate::event::InputBody;
use crate::lang::time::HOUR_MS;
use rusqlite::params;
use std::sync::Arc;

/// Places read on when memory's window is half empty, at once.
const REFILL_ROWS_MAX: usize = 4_096;

/// [`super::Store::accept`].
pub const ACCEPT: Call<Vec<Letter>, Vec<Accepted>> = Call {
    phase: Phase::Write,
    points: Some(Points { before: "sqlite.accept.before", after: "sqlite.accept.after" }),
    run: |core, letters| letters.iter().map(|letter| core.accept(letter)).collect(),
    lost: let_be,
};

/// An input, ready to be written.
pub struct Letter {
    /// Whose.
    pub customer: Arc<str>,
    /// What second deliveries are known by.
    key: Option<i64>,
    /// Digest of the body as sent.
    digest: u32,
    /// It takes permissions away: what is under way must be decided anew.
    raises_gate: bool,
    /// Encoded.
    body: Vec<u8>,
}

impl Letter {
    /// Prepares an input on the caller's thread.
    pub fn new(input: NewInput) -> Letter {
        Letter {
            key: input.id.as_deref().map(|id| i64::from_be_bytes(seen(&input.source, &input.customer, id))),
            customer: Arc::from(input.customer),
            digest: input.digest,
            raises_gate: input.body.raises_gate(),
            body: encode(&input.body),
        }
    }

    /// The answer to an effect.
    pub fn result(customer: &str, effect: &str, outcome: Outcome) -> Letter {
        Letter::own(customer, &InputBody::Result { effect: effect.to_owned(), outcome })
    }

    /// An effect that is to be decided anew.
    pub fn stale(customer: &str, effect: &str, why: &str) -> Letter {
        Letter::own(customer, &InputBody::Stale { effect: effect.to_owned(), why: why.to_owned() })
    }

    /// An input that was accepted before and put aside since.
    pub fn again(customer: &str, body: &InputBody) -> Letter {
        Letter { raises_gate: body.raises_gate(), ..Letter::own(customer, body) }
    }

    /// Bytes of an input that could not be read.
    pub fn raw(customer: &str, body: Vec<u8>) -> Letter {
        Letter { customer: Arc::from(customer), key: None, digest: 0, raises_gate: false, body }
    }

    fn own(customer: &str, body: &InputBody) -> Letter {
        Letter::raw(customer, encode(body))
    }
}

impl Core<'_> {
    fn accept(&mut self, letter: &Letter) -> Done<Accepted> {
        if let Some(key) = letter.key {
            let hour = self.batch.now.0.div_euclid(HOUR_MS);
            let new = self.db.prepare_cached("INSERT INTO seen VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?.execute(params![
                key,
                letter.digest,
                hour
            ])?;
            if new == 0 {
                let kept: u32 =
                    self.db.prepare_cached("SELECT body FROM seen WHERE digest = ?1")?.query_row([key], |row| row.get(0))?;
                return Ok(if kept == letter.digest { Accepted::Duplicate } else { Accepted::Conflict });
            }
        }
        self.receive(letter)?;
        Ok(Accepted::New)
    }

    /// Takes an input in that is new, or as good as new.
    pub fn receive(&mut self, letter: &Letter) -> Done<()> {
        self.put_in(letter)?;
        if letter.raises_gate {
            let raised =
                self.db.prepare_cached("UPDATE customer SET gate = gate + 1 WHERE id = ?1")?.execute([&*letter.customer])?;
            if raised > 0 {
                self.batch.changes.push(Change::Gate { customer: letter.customer.clone() });
            }
        }
        Ok(())
    }

    /// Appends to the inbox.
    pub fn put_in(&mut self, letter: &Letter) -> Done<()> {
        // Once something is beyond the window everything later is: what is known stays the oldest part.
        let known = self.memory.inputs + self.batch.near;
        let far = self.memory.far + self.batch.far > 0 || known >= self.shared.options.window_inputs;
        let seq = self.numbers(1)?;
        self.db.prepare_cached("INSERT INTO inbox VALUES (?1, ?2, ?3, ?4, 0, ?5)")?.execute(params![
            seq,
            &*letter.customer,
            self.batch.now.0,
            far,
            letter.body
        ])?;
        match far {
            true => self.batch.far += 1,
            false => self.batch.near += 1,
        }
        self.batch.arrived.insert(letter.customer.clone());
        self.batch.changes.push(Change::Arrived { customer: letter.customer.clone(), seq: seq as u64, far });
        Ok(())
    }

    /// Removes all of a customer's inputs.
    pub fn empty_inbox(&mut self, customer: &Arc<str>) -> Done<()> {
        let mut near = self.memory.inputs_of(customer);
        near.extend(self.batch.changes.iter().filter_map(|change| match change {
            Change::Arrived { customer: whose, seq, far: false } if whose == customer => Some(*seq),
            _ => None,
        }));
        for seq in near {
            self.db.prepare_cached("DELETE FROM inbox WHERE seq = ?1")?.execute([seq as i64])?;
        }
        let far = self
            .db
            .prepare_cached("DELETE FROM inbox WHERE far = 1 AND customer = ?1 AND seq > ?2")?
            .execute(params![&**customer, self.memory.horizon as i64])?;
        self.batch.changes.push(Change::Emptied { customer: customer.clone(), far: far as u64 });
        Ok(())
    }

    /// Whether a customer has inputs that no turn has seen.
    pub fn has_unread(&self, customer: &str) -> Done<bool> {
        if self.memory.has_inputs(customer) || self.batch.arrived.contains(customer) {
            return Ok(true);
        }
        if self.memory.far == 0 {
            return Ok(false);
        }
        let mut find = self.db.prepare_cached("SELECT 1 FROM inbox WHERE far = 1 AND customer = ?1 AND seq > ?2 LIMIT 1")?;
        Ok(find.exists(params![customer, self.memory.horizon as i64])?)
    }

    /// Reads on in the inbox when memory's window is half empty.
    pub fn refill(&mut self) -> Done<()> {
        let window = self.shared.options.window_inputs;
        if self.memory.far == 0 || self.memory.inputs * 2 > window || self.ended.is_some() {
            return Ok(());
        }
        let mut read = self.db.prepare_cached("SELECT seq, customer, crashes FROM inbox WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
        let limit = REFILL_ROWS_MAX.min(window).max(1);
        let mut rows = read.query(params![self.memory.horizon as i64, limit as i64])?;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            let (seq, crashes) = (row.get::<_, i64>(0)? as u64, row.get(2)?);
            if crashes > 0 {
                self.memory.crashes.insert(seq, crashes);
            }
            self.memory.known(Arc::from(row.get_ref(1)?.as_str().map_err(lost)?), seq);
            found += 1;
        }
        self.memory.far = if found == 0 { 0 } else { self.memory.far.saturating_sub(found) };
        Ok(())
    }
}

/// A column that does not hold what only we write into it.
pub fn lost(why: rusqlite::types::FromSqlError) -> Fail {
    Fail::Refused(StoreError::Fatal(format!("the database is damaged ({why}); restore a backup")))
}
