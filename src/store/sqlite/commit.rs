//! The commit of a turn: all of it, or a conflict and nothing.
//!
//! Checks come first (the settled effect is there, the version is the one that was read); from the write
//! of the customer's row on nothing can be refused any more.

use super::super::{Committed, CustomerRow};
use super::figure::{CUSTOMERS_TALLY, RUN_TALLY};
use super::memory::{Change, EffectFlight, Flight};
use super::shape::{NewEffect, Turn, key};
use super::writer::{Call, Core, Done, Phase, Points};
use rusqlite::{OptionalExtension, params};

/// [`super::Store::commit`].
pub const COMMIT: Call<Vec<Turn>, Vec<Committed>> = Call {
    phase: Phase::Write,
    points: Some(Points { before: "sqlite.commit.before", after: "sqlite.commit.after" }),
    run: |core, turns| turns.iter().map(|turn| core.commit_turn(turn)).collect(),
};

/// States in which a run is over.
pub const ENDED_STATES: [&str; 3] = ["finished", "exited", "stopped"];

const UPDATE_DOCUMENT: &str = "UPDATE customer SET version = version + 1, gate = max(gate, ?3), head = ?4,
    account = coalesce(?5, account), document = ?6 WHERE num = ?1 AND version = ?2";
const UPDATE_WAKE: &str = "UPDATE customer SET version = version + 1, gate = max(gate, ?3), head = ?4,
    account = coalesce(?5, account), document = ?6, wake = ?7 WHERE num = ?1 AND version = ?2";
const UPDATE_ALL: &str = "UPDATE customer SET version = version + 1, gate = max(gate, ?3), head = ?4,
    account = coalesce(?5, account), document = ?6, wake = ?7, judged = ?8 WHERE num = ?1 AND version = ?2";

impl Core {
    fn commit_turn(&mut self, turn: &Turn) -> Done<Committed> {
        let mut row = self.standing(turn)?;
        if row.version != turn.base {
            return self.let_go(turn);
        }
        let settled = match &turn.settled {
            None => None,
            Some(effect) => match self.locate(effect)? {
                None => return self.let_go(turn),
                Some(flight) => Some((effect, flight.seq)),
            },
        };
        if turn.erase {
            if !self.erase(turn, &row)? {
                return self.let_go(turn);
            }
        } else {
            if !self.write_customer(turn, &mut row)? {
                return self.let_go(turn);
            }
            self.write_runs(turn, row.num)?;
        }
        if let Some((effect, seq)) = settled {
            self.remove_effect(effect, seq)?;
        }
        if !turn.erase {
            self.withdraw(turn)?;
            self.write_effects(turn, row.num)?;
            for seq in &turn.consumed {
                self.db.prepare_cached("DELETE FROM inbox WHERE seq = ?1")?.execute([*seq as i64])?;
            }
            for (key, count, amount) in &turn.figures {
                let sum = self.batch.figures.entry(key.clone()).or_default();
                *sum = (sum.0 + count, sum.1.saturating_add(*amount));
            }
        }
        self.uncount(&row.counted, &turn.consumed)?;
        let wake = turn.wake.filter(|_| !turn.erase);
        let consumed = turn.consumed.clone();
        self.batch.changes.push(Change::Freed { customer: turn.customer.clone(), num: row.num, consumed, wake });
        Ok(Committed::Done)
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
            .prepare_cached("SELECT num, version, wake, head, shown, judged FROM customer WHERE id = ?1")?
            .query_row([customer], |row| {
                Ok(Flight {
                    num: row.get(0)?,
                    version: row.get(1)?,
                    wake: row.get(2)?,
                    head: row.get(3)?,
                    shown: row.get(4)?,
                    judged: row.get(5)?,
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
    pub fn free(&mut self, customer: &std::sync::Arc<str>) -> Done<()> {
        if let Some(flight) = self.memory.flight(customer).cloned() {
            self.uncount(&flight.counted, &[])?;
            let (num, wake) = (flight.num, flight.wake);
            self.batch.changes.push(Change::Freed { customer: customer.clone(), num, consumed: Vec::new(), wake });
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
        let head = if turn.facts_count > 0 { self.numbers(turn.facts_count)? } else { row.head };
        let written = match turn.base {
            0 => self.insert_customer(turn, row, head)?,
            _ => self.update_customer(turn, row, head)?,
        };
        if written && turn.facts_count > 0 {
            self.db.prepare_cached("INSERT INTO fact VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
                head,
                row.head,
                row.num,
                self.batch.now.0,
                turn.facts
            ])?;
        }
        Ok(written)
    }

    fn insert_customer(&mut self, turn: &Turn, row: &mut Flight, head: i64) -> Done<bool> {
        let num = self.numbers(1)?;
        let segments = segments_text(&turn.index.segments);
        let written = self
            .db
            .prepare_cached(
                "INSERT INTO customer VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (id) DO NOTHING",
            )?
            .execute(params![
                num,
                &*turn.customer,
                turn.gate,
                turn.wake,
                turn.judged,
                head,
                turn.shown,
                turn.index.name,
                turn.index.email,
                turn.index.phone,
                segments,
                turn.account.as_deref().unwrap_or_default(),
                turn.document,
            ])?;
        if written == 0 {
            return Ok(false);
        }
        row.num = num;
        self.batch.tally(CUSTOMERS_TALLY.to_owned(), 1);
        self.show(num, &CustomerRow::default(), &turn.index)?;
        Ok(true)
    }

    /// Columns that have an index are named only when they change: naming them costs the index's work.
    fn update_customer(&mut self, turn: &Turn, row: &Flight, head: i64) -> Done<bool> {
        let (num, base, gate, account) = (row.num, turn.base, turn.gate, turn.account.as_deref());
        let count = match (row.wake != turn.wake, row.judged != turn.judged) {
            (false, false) => {
                self.db.prepare_cached(UPDATE_DOCUMENT)?.execute(params![num, base, gate, head, account, turn.document])?
            }
            (true, false) => {
                self.db.prepare_cached(UPDATE_WAKE)?.execute(params![num, base, gate, head, account, turn.document, turn.wake])?
            }
            (_, true) => self.db.prepare_cached(UPDATE_ALL)?.execute(params![
                num,
                base,
                gate,
                head,
                account,
                turn.document,
                turn.wake,
                turn.judged
            ])?,
        };
        if count > 0 && row.shown != turn.shown {
            self.show_again(turn, num)?;
        }
        Ok(count > 0)
    }

    fn write_runs(&mut self, turn: &Turn, num: i64) -> Done<()> {
        for run in &turn.runs {
            let kind = self.kind(&run.funnel, &run.version)?;
            let number = i64::try_from(run.run).unwrap_or(i64::MAX);
            let until = run.until.map(|until| until.0);
            let old: Option<String> = self
                .db
                .prepare_cached("SELECT state FROM run WHERE customer = ?1 AND run = ?2")?
                .query_row(params![num, number], |row| row.get(0))
                .optional()?;
            let ended = ENDED_STATES.contains(&run.state.as_str());
            match &old {
                None => {
                    self.db.prepare_cached("INSERT INTO run VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
                        num,
                        number,
                        kind,
                        run.state,
                        run.step,
                        run.entered.0,
                        until
                    ])?;
                }
                Some(state) if *state == run.state && !ended => {
                    self.db
                        .prepare_cached("UPDATE run SET step = ?3, until = ?4 WHERE customer = ?1 AND run = ?2")?
                        .execute(params![num, number, run.step, until])?;
                    continue;
                }
                Some(_) => {
                    self.db
                        .prepare_cached(
                            "UPDATE run SET kind = ?3, state = ?4, step = ?5, until = ?6 WHERE customer = ?1 AND run = ?2",
                        )?
                        .execute(params![num, number, kind, run.state, run.step, until])?;
                }
            }
            if let Some(state) = old.filter(|state| !ENDED_STATES.contains(&state.as_str())) {
                self.batch.tally(format!("{RUN_TALLY}{kind}:{state}"), -1);
            }
            if !ended {
                self.batch.tally(format!("{RUN_TALLY}{kind}:{}", run.state), 1);
            }
        }
        Ok(())
    }

    /// Takes back what has not begun.
    fn withdraw(&mut self, turn: &Turn) -> Done<()> {
        for effect in &turn.withdrawn {
            let Some(flight) = self.locate(effect)? else { continue };
            let sending: Option<bool> = self
                .db
                .prepare_cached("SELECT sending FROM outbox WHERE seq = ?1")?
                .query_row([flight.seq], |row| row.get(0))
                .optional()?;
            if sending == Some(false) {
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
            let (gate, valid_until) = (effect.gate, effect.valid_until);
            (effect.id.clone(), EffectFlight { seq, customer, num, gate, valid_until, attempts: 0 })
        });
        self.batch.gone.remove(&effect.id);
        self.batch.changes.push(Change::EffectBorn { seq, due: self.batch.now.0, flight });
        Ok(())
    }

    /// Removes everything of hers; only a digest of her id stays, so that she is not made anew by what
    /// arrives late. False: her version is not the one that was read.
    fn erase(&mut self, turn: &Turn, row: &Flight) -> Done<bool> {
        if row.num != 0 {
            let line = self.line(row.num)?;
            let gone = self
                .db
                .prepare_cached("DELETE FROM customer WHERE num = ?1 AND version = ?2")?
                .execute(params![row.num, turn.base])?;
            if gone == 0 {
                return Ok(false);
            }
            self.show(row.num, &line, &CustomerRow::default())?;
            self.batch.tally(CUSTOMERS_TALLY.to_owned(), -1);
            self.erase_rows(row)?;
        }
        self.empty_inbox(&turn.customer)?;
        self.db.prepare_cached("DELETE FROM message WHERE customer = ?1")?.execute([&*turn.customer])?;
        self.db.prepare_cached("DELETE FROM quarantine WHERE customer = ?1")?.execute([&*turn.customer])?;
        self.db
            .prepare_cached("INSERT INTO tombstone VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![key(&[&turn.customer]), self.batch.now.0])?;
        Ok(true)
    }

    /// Her facts, along their chain; her runs; her effects (a walk through the outbox: erasures are rare).
    fn erase_rows(&mut self, row: &Flight) -> Done<()> {
        let mut at = row.head;
        while at != 0 {
            let previous: Option<i64> = self
                .db
                .prepare_cached("DELETE FROM fact WHERE seq = ?1 RETURNING previous")?
                .query_row([at], |row| row.get(0))
                .optional()?;
            at = previous.unwrap_or(0);
        }
        self.erase_runs(row.num)?;
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

    fn erase_runs(&mut self, num: i64) -> Done<()> {
        let mut gone: Vec<(i64, String)> = Vec::new();
        {
            let mut delete = self.db.prepare_cached("DELETE FROM run WHERE customer = ?1 RETURNING kind, state")?;
            let mut rows = delete.query([num])?;
            while let Some(row) = rows.next()? {
                gone.push((row.get(0)?, row.get(1)?));
            }
        }
        for (kind, state) in gone.into_iter().filter(|(_, state)| !ENDED_STATES.contains(&state.as_str())) {
            self.batch.tally(format!("{RUN_TALLY}{kind}:{state}"), -1);
        }
        Ok(())
    }
}

/// Segments in one column: names have no line breaks.
pub fn segments_text(segments: &[String]) -> String {
    segments.join("\n")
}
