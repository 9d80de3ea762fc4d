//! The commit of a turn: all of it, or a conflict and nothing.
//!
//! Checks come first (the settled effect is there, the version is the one that was read); from the write
//! of the customer's row on nothing can be refused any more.

use super::super::{Committed, CustomerRow, Record};
use super::call::{Call, Done, Phase, Points, let_be};
use super::change::Change;
use super::figure::CUSTOMERS_TALLY;
use super::flight::{EffectFlight, Flight};
use super::shape::{Facts, NewEffect, Turn};
use super::writer::Core;
use crate::lang::time::Time;
use rusqlite::{OptionalExtension, params};
use std::sync::Arc;

/// [`super::Store::commit`].
pub const COMMIT: Call<Vec<Turn>, Vec<Committed>> = Call {
    phase: Phase::Write,
    points: Some(Points { before: "sqlite.commit.before", after: "sqlite.commit.after" }),
    run: |core, turns| turns.iter().map(|turn| core.commit_turn(turn)).collect(),
    lost: let_be,
};

const UPDATE: &str = "UPDATE customer SET version = version + 1, gate = max(gate, ?3), head = ?4,
    account = coalesce(?5, account), document = ?6, judged = ?7 WHERE num = ?1 AND version = ?2";
const UPDATE_WITH_WAKE: &str = "UPDATE customer SET version = version + 1, gate = max(gate, ?3), head = ?4,
    account = coalesce(?5, account), document = ?6, judged = ?7, wake = ?8 WHERE num = ?1 AND version = ?2";

/// The first row of a customer.
pub struct Birth<'a> {
    /// Her id.
    pub id: &'a str,
    /// Her gate.
    pub gate: u32,
    /// Her wake.
    pub wake: Option<i64>,
    /// Digest of the hash of the definitions that judged her.
    pub judged: i64,
    /// The newest row of her facts; 0: none.
    pub head: i64,
    /// Digest of her line.
    pub shown: i64,
    /// Her line in the list of customers.
    pub index: &'a CustomerRow,
    /// Her encoded account.
    pub account: &'a [u8],
    /// Her encoded document.
    pub document: &'a [u8],
}

impl Core<'_> {
    fn commit_turn(&mut self, turn: &Turn) -> Done<Committed> {
        self.learn(&turn.facts.terms)?;
        self.batch.at = self.batch.now;
        let mut row = self.standing(turn)?;
        if row.version != turn.base {
            return self.let_go(turn);
        }
        // An input that was put aside while it was in hand must not be both listed and done.
        if !self.memory.holds(&turn.customer, &turn.consumed) || turn.consumed.iter().any(|seq| self.batch.aside.contains(seq)) {
            return self.let_go(turn);
        }
        let settled = match &turn.settled {
            None => None,
            Some(effect) => match self.locate(effect)? {
                None => return self.let_go(turn),
                Some(flight) if turn.books && self.memory.pauses.hold(flight.under) => {
                    self.free(&turn.customer)?;
                    return Ok(Committed::Paused);
                }
                Some(flight) => Some((effect, flight.seq)),
            },
        };
        let written = match turn.erase {
            true => self.erase(turn, &row)?,
            false => self.write_customer(turn, &mut row)?,
        };
        if !written {
            return self.let_go(turn);
        }
        if let Some((effect, seq)) = settled {
            self.remove_effect(effect, seq)?;
        }
        if !turn.erase {
            self.write_rest(turn, &row)?;
        }
        self.uncount(&row.counted, &turn.consumed)?;
        self.batch.changes.push(Change::Freed {
            customer: turn.customer.clone(),
            num: row.num,
            consumed: turn.consumed.clone(),
            wake: turn.wake.filter(|_| !turn.erase),
            recent: self.recent_of(turn, row),
        });
        self.move_addresses(turn)?;
        Ok(Committed::Done)
    }

    /// Everything besides her own row.
    fn write_rest(&mut self, turn: &Turn, row: &Flight) -> Done<()> {
        self.write_runs(&turn.runs, row.num)?;
        self.withdraw(turn)?;
        self.write_effects(turn, row.num)?;
        for seq in &turn.consumed {
            self.db.prepare_cached("DELETE FROM inbox WHERE seq = ?1")?.execute([*seq as i64])?;
        }
        Ok(())
    }

    /// Her record as it is now, when an effect is on its way whose answer will ask for it.
    fn recent_of(&self, turn: &Turn, row: Flight) -> Option<Box<(Flight, Record)>> {
        let expected = turn.hand_over && !turn.effects.is_empty() && !turn.erase;
        if !expected || self.memory.flight(&turn.customer).is_none() {
            return None;
        }
        let account = turn.account.clone().map_or(row.account, Arc::from);
        let record = Record {
            version: turn.base as u64 + 1,
            document: turn.document.clone(),
            account: account.to_vec(),
            // Memory knows whether it was raised in the meantime.
            gate: turn.gate,
            erased: false,
        };
        let flight = Flight {
            version: turn.base + 1,
            wake: turn.wake,
            head: row.head,
            shown: turn.shown,
            gate: turn.gate,
            account,
            first: None,
            counted: Vec::new(),
            num: row.num,
        };
        Some(Box::new((flight, record)))
    }

    /// What is known of her row: from her claim, or else from the file.
    fn standing(&self, turn: &Turn) -> Done<Flight> {
        match self.memory.flight(&turn.customer) {
            Some(flight) if flight.version == turn.base => Ok(flight.clone()),
            _ => self.flight_of(&turn.customer),
        }
    }

    /// Her row as a claim would know it.
    pub fn flight_of(&self, customer: &str) -> Done<Flight> {
        let row = self
            .db
            .prepare_cached("SELECT num, version, wake, head, shown, gate, account FROM customer WHERE id = ?1")?
            .query_row([customer], |row| {
                Ok(Flight {
                    num: row.get(0)?,
                    version: row.get(1)?,
                    wake: row.get(2)?,
                    head: row.get(3)?,
                    shown: row.get(4)?,
                    gate: row.get(5)?,
                    account: Arc::from(row.get::<_, Vec<u8>>(6)?),
                    first: None,
                    counted: Vec::new(),
                })
            })
            .optional()?;
        Ok(row.unwrap_or_default())
    }

    /// A conflict: nothing was written, she is free again.
    fn let_go(&mut self, turn: &Turn) -> Done<Committed> {
        self.free(&turn.customer)?;
        Ok(Committed::Conflict)
    }

    /// Frees a claimed customer unchanged.
    pub fn free(&mut self, customer: &Arc<str>) -> Done<()> {
        if let Some(flight) = self.memory.flight(customer).cloned() {
            self.uncount(&flight.counted, &[])?;
            let (num, wake) = (flight.num, flight.wake);
            self.batch.changes.push(Change::Freed { customer: customer.clone(), num, consumed: Vec::new(), wake, recent: None });
        }
        Ok(())
    }

    /// Takes back the count of inputs that were handed out, did no harm, and were not consumed.
    pub fn uncount(&mut self, counted: &[u64], consumed: &[u64]) -> Done<()> {
        for seq in counted.iter().filter(|seq| !consumed.contains(seq)) {
            self.db.prepare_cached("UPDATE inbox SET crashes = crashes - 1 WHERE seq = ?1")?.execute([*seq as i64])?;
            let count = self.memory.crashes.get(seq).map_or(0, |count| count.saturating_sub(1));
            self.batch.changes.push(Change::Crashes { seq: *seq, count });
        }
        Ok(())
    }

    /// Writes her row if its version is still the one that was read; false: it is not.
    fn write_customer(&mut self, turn: &Turn, row: &mut Flight) -> Done<bool> {
        let head = self.next_head(&turn.facts, row.head)?;
        let written = match turn.base {
            0 => self.insert_customer(turn, row, head)?,
            _ => self.update_customer(turn, row, head)?,
        };
        if written {
            self.write_facts(&turn.facts, row.num, (head, row.head), self.batch.now)?;
            // What is remembered of her goes on from here.
            row.head = head;
        }
        Ok(written)
    }

    /// The number of the row that her facts will stand in; the present one when there are none.
    pub fn next_head(&mut self, facts: &Facts, head: i64) -> Done<i64> {
        if facts.count > 0 { self.numbers(facts.count) } else { Ok(head) }
    }

    /// Appends a turn's facts as row `head`, behind her row `previous`, and adds them to the figures.
    pub fn write_facts(&mut self, facts: &Facts, num: i64, (head, previous): (i64, i64), at: Time) -> Done<()> {
        if facts.count == 0 {
            return Ok(());
        }
        self.db
            .prepare_cached("INSERT INTO fact VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![head, previous, num, at.0, facts.body])?;
        facts.sums.iter().for_each(|(key, sum)| self.batch.add(key, *sum));
        for (run, key) in &facts.lost {
            let (funnel, version) = self.funnel_of(num, *run)?.unwrap_or_default();
            self.batch.add(&key.found(&funnel, &version), (1, 0));
        }
        Ok(())
    }

    fn insert_customer(&mut self, turn: &Turn, row: &mut Flight, head: i64) -> Done<bool> {
        let birth = Birth {
            id: &turn.customer,
            gate: turn.gate,
            wake: turn.wake,
            judged: turn.judged,
            head,
            shown: turn.shown,
            index: &turn.index,
            account: turn.account.as_deref().unwrap_or_default(),
            document: &turn.document,
        };
        let num = self.bear(&birth)?;
        row.num = num.unwrap_or(row.num);
        Ok(num.is_some())
    }

    /// Writes the first row of a customer and returns its number; `None`: she has one.
    pub fn bear(&mut self, birth: &Birth<'_>) -> Done<Option<i64>> {
        let num = self.next_customer;
        self.next_customer += 1;
        let written = self
            .db
            .prepare_cached(
                "INSERT INTO customer VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (id) DO NOTHING",
            )?
            .execute(params![
                num,
                birth.id,
                birth.gate,
                birth.wake,
                birth.judged,
                birth.head,
                birth.shown,
                birth.index.name,
                birth.index.email,
                birth.index.phone,
                segments_text(&birth.index.segments),
                birth.account,
                birth.document,
            ])?;
        if written == 0 {
            return Ok(None);
        }
        self.batch.tally(CUSTOMERS_TALLY.to_owned(), 1);
        self.show(birth.id, num, &CustomerRow::default(), birth.index)?;
        Ok(Some(num))
    }

    /// The wake has an index: naming it costs the index's work, so it is named only when it changes.
    fn update_customer(&mut self, turn: &Turn, row: &Flight, head: i64) -> Done<bool> {
        let (num, base, gate, account) = (row.num, turn.base, turn.gate, turn.account.as_deref());
        let (document, judged) = (&turn.document, turn.judged);
        let count = match row.wake == turn.wake {
            true => self.db.prepare_cached(UPDATE)?.execute(params![num, base, gate, head, account, document, judged])?,
            false => self
                .db
                .prepare_cached(UPDATE_WITH_WAKE)?
                .execute(params![num, base, gate, head, account, document, judged, turn.wake])?,
        };
        if count > 0 && row.shown != turn.shown {
            self.show_again(&turn.customer, num, turn.shown, &turn.index)?;
        }
        Ok(count > 0)
    }

    /// Takes back what has not begun. What may have had its effect runs out: its result is still told.
    fn withdraw(&mut self, turn: &Turn) -> Done<()> {
        for effect in &turn.withdrawn {
            let Some(flight) = self.locate(effect)? else { continue };
            let begun: Option<bool> = self
                .db
                .prepare_cached("SELECT sending OR unsure IS NOT NULL FROM outbox WHERE seq = ?1")?
                .query_row([flight.seq], |row| row.get(0))
                .optional()?;
            if begun == Some(false) {
                self.remove_effect(effect, flight.seq)?;
            }
        }
        Ok(())
    }

    fn write_effects(&mut self, turn: &Turn, num: i64) -> Done<()> {
        for effect in &turn.effects {
            // The same id is the same effect: a new decision takes the place of the old one.
            if let Some(old) = self.locate(&effect.id)? {
                self.remove_effect(&effect.id, old.seq)?;
            }
            self.write_effect(turn, effect, num)?;
        }
        Ok(())
    }

    fn write_effect(&mut self, turn: &Turn, effect: &NewEffect, num: i64) -> Done<()> {
        let seq = self.numbers(1)?;
        // What is handed over has no instant and so enters no index; a restart gives it one.
        let due = (!turn.hand_over).then_some(self.batch.now.0);
        self.db
            .prepare_cached("INSERT INTO outbox VALUES (?1, ?2, ?3, ?4, 0, 0, NULL, NULL, NULL, '', ?5)")?
            .execute(params![seq, effect.key, num, due, effect.body])?;
        let flight = turn.hand_over.then(|| {
            let customer = turn.customer.clone();
            let NewEffect { gate, valid_until, under, .. } = *effect;
            let flight = EffectFlight {
                seq,
                customer,
                num,
                gate,
                valid_until,
                under,
                unsure: false,
                attempts: 0,
                ticket: 0,
                begun: false,
            };
            (effect.id.clone(), flight)
        });
        self.batch.gone.remove(&effect.id);
        self.batch.changes.push(Change::EffectBorn { seq, due: self.batch.now.0, flight });
        Ok(())
    }
}

/// Segments in one column: names have no line breaks.
pub fn segments_text(segments: &[String]) -> String {
    segments.join("\n")
}
