//! Forgetting a customer.

use super::super::CustomerRow;
use super::super::digest::tombstone;
use super::call::Done;
use super::change::Change;
use super::figure::CUSTOMERS_TALLY;
use super::flight::Flight;
use super::shape::Turn;
use super::writer::Core;
use crate::lang::time::Time;
use rusqlite::{OptionalExtension, params};

impl Core<'_> {
    /// Removes everything of hers; only a digest of her id stays, so that she is not made anew by what
    /// arrives late. False: her version is not the one that was read.
    pub fn erase(&mut self, turn: &Turn, row: &Flight) -> Done<bool> {
        if row.num != 0 {
            let Some(line) = self.line(row.num)? else { return Ok(false) };
            let gone = self
                .db
                .prepare_cached("DELETE FROM customer WHERE num = ?1 AND version = ?2")?
                .execute(params![row.num, turn.base])?;
            if gone == 0 {
                return Ok(false);
            }
            self.unlist(&turn.customer, (row.num, row.head), &line)?;
            self.erase_effects(row)?;
        }
        self.empty_inbox(&turn.customer)?;
        self.db.prepare_cached("DELETE FROM quarantine WHERE customer = ?1")?.execute([&*turn.customer])?;
        self.bury(&turn.customer, self.batch.now)?;
        Ok(true)
    }

    /// Removes everything of hers from a file that holds the read side only.
    pub fn erase_shown(&mut self, customer: &str, row: Option<(i64, i64)>, at: Time) -> Done<()> {
        if let Some(row) = row {
            self.drop_shown(customer, row)?;
        }
        self.bury(customer, at)
    }

    /// What lists and timelines hold of a customer goes, without a mark that she was erased.
    pub fn drop_shown(&mut self, customer: &str, (num, head): (i64, i64)) -> Done<()> {
        if let Some(line) = self.line(num)? {
            self.db.prepare_cached("DELETE FROM customer WHERE num = ?1")?.execute([num])?;
            self.unlist(customer, (num, head), &line)?;
        }
        Ok(())
    }

    /// Her messages go; a digest of her id stays.
    fn bury(&mut self, customer: &str, at: Time) -> Done<()> {
        self.db.prepare_cached("DELETE FROM message WHERE customer = ?1")?.execute([customer])?;
        self.db
            .prepare_cached("INSERT INTO tombstone VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![i64::from_be_bytes(tombstone(customer)), at.0])?;
        // Should the transaction fail, the next claim looks once in vain.
        self.tombstones = true;
        Ok(())
    }

    /// What lists and timelines hold of her, given her row's number and the newest row of her facts: her
    /// line; her facts, along their chain; her runs.
    fn unlist(&mut self, customer: &str, (num, head): (i64, i64), line: &CustomerRow) -> Done<()> {
        self.show(customer, num, line, &CustomerRow::default())?;
        self.batch.tally(CUSTOMERS_TALLY.to_owned(), -1);
        let mut at = head;
        while at != 0 {
            let previous: Option<i64> = self
                .db
                .prepare_cached("DELETE FROM fact WHERE seq = ?1 RETURNING previous")?
                .query_row([at], |row| row.get(0))
                .optional()?;
            at = previous.unwrap_or(0);
        }
        self.erase_runs(num)
    }

    /// Her effects: a walk through the outbox, for erasures are rare.
    fn erase_effects(&mut self, row: &Flight) -> Done<()> {
        let ids: Vec<String> =
            self.memory.effects.iter().filter(|(_, flight)| flight.num == row.num).map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(flight) = self.locate(&id)? {
                self.remove_effect(&id, flight.seq)?;
            }
        }
        let waiting = self.db.prepare_cached("DELETE FROM outbox WHERE customer = ?1")?.execute([row.num])?;
        for _ in 0..waiting {
            self.batch.changes.push(Change::EffectGone { id: String::new() });
        }
        Ok(())
    }
}
