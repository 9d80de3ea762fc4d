//! The outbox: effects on their way out.
//!
//! ```text
//!   waiting (has a due instant) -> handed out -> begun (sending) -> settled: gone, answer in the inbox
//!        ^                            |              |
//!        +----------------------------+--------------+   retry; turn first
//! ```
//! An effect that its committer delivers itself is handed out from birth and never enters an index.
//! After a restart everything waits; what was being sent then is ambiguous.

use super::super::pause::Under;
use super::super::{Begin, Delivery, Retry, StoreError};
use super::call::{Call, Done, Fail, Phase, Points, let_be};
use super::change::Change;
use super::flight::EffectFlight;
use super::inbox::Letter;
use super::shape::key;
use super::writer::Core;
use crate::customer::codec::{CodecError, decode};
use crate::effect::{Effect, Outcome};
use crate::lang::time::Time;
use rusqlite::{OptionalExtension, Row, params};
use std::sync::Arc;

/// How long an effect steps back for the turn that goes first, in milliseconds of real time.
const TURN_FIRST_MS: f64 = 20.0;
/// Most effects handed out by one claim.
const CLAIM_EFFECTS_MAX: usize = 1_024;

/// [`super::Store::begin`].
pub const BEGIN: Call<(String, u64, Vec<u8>), Begin> = Call {
    phase: Phase::Write,
    points: Some(Points { before: "sqlite.begin.before", after: "sqlite.begin.after" }),
    run: |core, (effect, ticket, digest)| core.begin_effect(effect, *ticket, digest),
    lost: let_be,
};

/// [`super::Store::retry`].
pub const RETRY: Call<Retry, ()> = Call {
    phase: Phase::Write,
    points: Some(Points { before: "sqlite.retry.before", after: "sqlite.retry.after" }),
    run: |core, retry| core.retry_effect(retry),
    lost: let_be,
};

/// [`super::Store::settle`].
pub const SETTLE: Call<(String, Letter), ()> = Call {
    phase: Phase::Write,
    points: Some(Points { before: "sqlite.settle.before", after: "sqlite.settle.after" }),
    run: |core, (effect, letter)| core.settle_effect(effect, letter),
    lost: let_be,
};

/// [`super::Store::claim_effects`].
pub const CLAIM_EFFECTS: Call<usize, Vec<RawDelivery>> = Call {
    phase: Phase::After,
    points: None,
    run: |core, max| core.claim_effects((*max).min(CLAIM_EFFECTS_MAX)),
    lost: |core, deliveries| core.take_effects_back(deliveries),
};

/// A delivery as the file has it.
pub struct RawDelivery {
    seq: i64,
    due: Option<i64>,
    attempts: u32,
    unsure: Option<i64>,
    digest: Option<Vec<u8>>,
    effect: Result<Effect, Arc<CodecError>>,
    ticket: u64,
}

impl RawDelivery {
    fn read(row: &Row<'_>) -> rusqlite::Result<RawDelivery> {
        let body = row.get_ref("body")?.as_blob().map_err(rusqlite::Error::from)?;
        Ok(RawDelivery {
            seq: row.get("seq")?,
            due: row.get("due")?,
            attempts: row.get("attempts")?,
            unsure: row.get("unsure")?,
            digest: row.get("digest")?,
            effect: decode(body).map_err(Arc::new),
            ticket: 0,
        })
    }

    fn flight(&self, num: i64) -> Option<(String, EffectFlight)> {
        let effect = self.effect.as_ref().ok()?;
        let flight = EffectFlight {
            seq: self.seq,
            customer: Arc::from(effect.customer.as_str()),
            num,
            gate: effect.gate,
            valid_until: effect.valid_until,
            under: Under::of(effect),
            unsure: self.unsure.is_some(),
            attempts: self.attempts,
            ticket: self.ticket,
            begun: false,
        };
        Some((effect.id.clone(), flight))
    }

    /// For the deliver worker. One that cannot be read stays where it is, and is complained of.
    pub fn decode(self) -> Option<Delivery> {
        match self.effect {
            Ok(effect) => Some(Delivery {
                effect,
                ticket: self.ticket,
                attempts: self.attempts,
                ambiguous: self.unsure.is_some(),
                ambiguous_since: self.unsure.map(Time),
                body_digest: self.digest,
                known: Default::default(),
            }),
            Err(why) => {
                tracing::error!("effect number {} of the outbox cannot be delivered: {why}", self.seq);
                None
            }
        }
    }
}

impl Core<'_> {
    /// Finds an effect of the outbox.
    pub fn locate(&self, effect: &str) -> Done<Option<EffectFlight>> {
        if self.batch.gone.contains(effect) {
            return Ok(None);
        }
        if let Some(flight) = self.memory.effects.get(effect) {
            return Ok(Some(flight.clone()));
        }
        if self.memory.outbox_rows <= self.memory.effects.len() as u64 {
            return Ok(None);
        }
        let found = self
            .db
            .prepare_cached(
                "SELECT seq, due, customer, attempts, unsure, digest, body FROM outbox WHERE key = ?1 AND due IS NOT NULL",
            )?
            .query_row([key(&[effect])], |row| Ok((RawDelivery::read(row)?, row.get(1)?)))
            .optional()?;
        match found {
            None => Ok(None),
            Some((raw, num)) => match raw.flight(num) {
                Some((_, flight)) => Ok(Some(flight)),
                None => Err(Fail::Refused(StoreError::Unavailable(format!(
                    "effect {effect} is damaged in the outbox; restore a backup"
                )))),
            },
        }
    }

    /// Removes an effect.
    pub fn remove_effect(&mut self, effect: &str, seq: i64) -> Done<()> {
        let gone = self.db.prepare_cached("DELETE FROM outbox WHERE seq = ?1")?.execute([seq])?;
        if gone > 0 {
            self.batch.gone.insert(effect.to_owned());
            self.batch.changes.push(Change::EffectGone { id: effect.to_owned() });
        }
        Ok(())
    }

    /// An effect that is out under that ticket. What was put back is another's, or will be.
    fn out(&self, effect: &str, ticket: u64) -> Option<EffectFlight> {
        let there = !self.batch.gone.contains(effect);
        self.memory.effects.get(effect).filter(|flight| there && flight.ticket == ticket).cloned()
    }

    fn begin_effect(&mut self, effect: &str, ticket: u64, digest: &[u8]) -> Done<Begin> {
        let Some(flight) = self.out(effect, ticket) else { return Ok(Begin::Gone) };
        if self.has_unread(&flight.customer)? {
            let due = self.batch.now.plus_ms((TURN_FIRST_MS * self.shared.options.scale).ceil() as i64).0;
            // Whoever asks again has not called: the answer to an earlier `Go` was lost, and nothing left.
            self.db.prepare_cached("UPDATE outbox SET due = ?2, sending = 0 WHERE seq = ?1")?.execute([flight.seq, due])?;
            self.batch.changes.push(Change::EffectBack { id: effect.to_owned(), seq: flight.seq, due });
            return Ok(Begin::TurnFirst);
        }
        let gate = self.gate_of(&flight)?;
        let late = flight.valid_until.is_some_and(|until| until < self.batch.now);
        if late || gate != Some(flight.gate) {
            let why = if late { "its time had passed" } else { "something that forbids it was accepted since it was decided" };
            self.remove_effect(effect, flight.seq)?;
            // What may have happened must not be decided anew: under another id it could happen twice.
            let letter = match flight.unsure {
                false => Letter::stale(&flight.customer, effect, why),
                true => {
                    let why = format!("{why}, and an earlier attempt may have had its effect");
                    Letter::result(&flight.customer, effect, Outcome::Unknown { why })
                }
            };
            self.put_in(&letter)?;
            return Ok(Begin::Stale);
        }
        if self.memory.pauses.hold(flight.under) {
            return self.hold_paused(effect, &flight);
        }
        if flight.begun {
            // The answer to the first time was lost: nothing was sent yet.
            return Ok(Begin::Go { attempt: flight.attempts });
        }
        self.db
            .prepare_cached(
                "UPDATE outbox SET sending = 1, attempts = attempts + 1, begun = ?2, digest = coalesce(digest, ?3) WHERE seq = ?1",
            )?
            .execute(params![flight.seq, self.batch.now.0, digest])?;
        self.batch.changes.push(Change::EffectBegun { id: effect.to_owned() });
        Ok(Begin::Go { attempt: flight.attempts + 1 })
    }

    /// Her gate now; `None` when she is gone.
    fn gate_of(&self, flight: &EffectFlight) -> Done<Option<u32>> {
        if let Some(gate) = self.memory.recent.gate(&flight.customer) {
            return Ok(Some(gate));
        }
        let gate = self
            .db
            .prepare_cached("SELECT gate FROM customer WHERE num = ?1")?
            .query_row([flight.num], |row| row.get(0))
            .optional()?;
        Ok(gate)
    }

    fn retry_effect(&mut self, retry: &Retry) -> Done<()> {
        let Some(flight) = self.out(&retry.effect, retry.ticket) else { return Ok(()) };
        self.db
            .prepare_cached(
                "UPDATE outbox SET due = ?2, sending = 0, why = ?3,
                 unsure = CASE WHEN ?4 THEN coalesce(unsure, begun, ?5) ELSE unsure END WHERE seq = ?1",
            )?
            .execute(params![flight.seq, retry.due.0, retry.why, retry.ambiguous, self.batch.now.0])?;
        let (id, seq, due) = (retry.effect.clone(), flight.seq, retry.due.0);
        self.batch.changes.push(Change::EffectBack { id, seq, due });
        Ok(())
    }

    fn settle_effect(&mut self, effect: &str, letter: &Letter) -> Done<()> {
        // Settled before, or withdrawn: its answer is known or of no use.
        let Some(flight) = self.locate(effect)? else { return Ok(()) };
        self.remove_effect(effect, flight.seq)?;
        self.put_in(letter)
    }

    /// Puts effects back whose claimer has gone away before the answer came.
    fn take_effects_back(&mut self, deliveries: Vec<RawDelivery>) {
        for raw in deliveries {
            if let (Ok(effect), Some(due)) = (raw.effect, raw.due) {
                self.memory.apply(Change::EffectBack { id: effect.id, seq: raw.seq, due });
            }
        }
        self.publish();
    }

    fn claim_effects(&mut self, max: usize) -> Done<Vec<RawDelivery>> {
        let now = self.batch.now.0;
        let mut out = Vec::new();
        if self.memory.dues.next > now {
            return Ok(out);
        }
        let mut exhausted = true;
        for same in [true, false] {
            let mut find = self.db.prepare_cached(match same {
                true => "SELECT seq, due, customer, attempts, unsure, digest, body FROM outbox WHERE due = ?1 AND seq > ?2 AND ?1 <= ?3 ORDER BY seq",
                false => "SELECT seq, due, customer, attempts, unsure, digest, body FROM outbox WHERE due > ?1 AND due <= ?3 AND ?2 IS NOT NULL ORDER BY due, seq",
            })?;
            let (due, seq) = self.memory.dues.at;
            let mut rows = find.query([due, seq, now])?;
            while let Some(row) = rows.next()? {
                if out.len() >= max {
                    exhausted = false;
                    break;
                }
                let mut raw = RawDelivery::read(row)?;
                raw.ticket = self.memory.tickets + 1;
                self.memory.dues.at = (row.get("due")?, raw.seq);
                match raw.flight(row.get("customer")?) {
                    Some((id, _)) if self.memory.effects.contains_key(&id) => {}
                    Some((id, flight)) => {
                        self.memory.tickets = raw.ticket;
                        self.memory.effects.insert(id, flight);
                        out.push(raw);
                    }
                    None => out.push(raw),
                }
            }
            if !exhausted {
                break;
            }
        }
        if exhausted {
            let next = self
                .db
                .prepare_cached("SELECT due FROM outbox WHERE due > ?1 ORDER BY due LIMIT 1")?
                .query_row([now], |row| row.get(0))
                .optional()?;
            self.memory.dues.next = next.unwrap_or(i64::MAX);
        }
        Ok(out)
    }
}
