//! What a person does with the outbox: pauses, and single effects that wait.

use super::super::pause::{PAUSED, Pausable, Pause, Pauses, RECHECK_MS};
use super::super::{Begin, StoreError};
use super::call::{Call, Done, Fail, Phase, let_be};
use super::change::Change;
use super::flight::EffectFlight;
use super::inbox::Letter;
use super::keep::POINTS;
use super::schema::{meta, set_meta};
use super::writer::Core;
use crate::effect::Outcome;
use rusqlite::{Connection, params};

/// The setting that has the pauses.
const NAME: &str = "pauses";

/// [`super::Store::pause`].
pub const PAUSE: Call<Pause, ()> =
    Call { phase: Phase::Write, points: POINTS, run: |core, pause| core.pause(pause), lost: let_be };

/// [`super::Store::resume`].
pub const RESUME: Call<Pausable, bool> =
    Call { phase: Phase::Write, points: POINTS, run: |core, of| core.resume(of), lost: let_be };

/// [`super::Store::hasten`].
pub const HASTEN: Call<String, bool> =
    Call { phase: Phase::Write, points: POINTS, run: |core, effect| core.hasten(effect), lost: let_be };

/// [`super::Store::drop_effect`]: the effect, its customer, why.
pub const DROP: Call<(String, String, String), bool> = Call {
    phase: Phase::Write,
    points: POINTS,
    run: |core, (effect, customer, why)| core.drop_effect(effect, customer, why),
    lost: let_be,
};

/// All pauses of a file.
pub fn pauses(db: &Connection) -> rusqlite::Result<Vec<Pause>> {
    let kept: Option<String> = meta(db, NAME)?;
    let read = |text: String| {
        serde_json::from_str(&text)
            .map_err(|why| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(why)))
    };
    kept.map_or_else(|| Ok(Vec::new()), read)
}

impl Core<'_> {
    fn keep_pauses(&mut self, pauses: Pauses) -> Done<()> {
        let text = serde_json::to_string(pauses.list())
            .map_err(|why| Fail::Refused(StoreError::Fatal(format!("cannot write the pauses down: {why}"))))?;
        set_meta(&self.db, NAME, text)?;
        self.batch.changes.push(Change::Paused(pauses));
        Ok(())
    }

    fn pause(&mut self, pause: &Pause) -> Done<()> {
        let pauses = Pauses::new(pauses(&self.db)?).with(pause.clone());
        self.keep_pauses(pauses)
    }

    fn resume(&mut self, of: &Pausable) -> Done<bool> {
        let Some(rest) = Pauses::new(pauses(&self.db)?).without(of) else { return Ok(false) };
        self.keep_pauses(rest)?;
        let now = self.batch.now.0;
        // Whatever is paused by something else as well goes back when it is tried.
        self.db.prepare_cached("UPDATE outbox SET due = ?1 WHERE due > ?1 AND why = ?2")?.execute(params![now, PAUSED])?;
        self.batch.changes.push(Change::EffectsDue { due: now });
        Ok(true)
    }

    /// Puts an effect back that must not begin now.
    pub fn hold_paused(&mut self, effect: &str, flight: &EffectFlight) -> Done<Begin> {
        // Its time passes while it waits: the turn is to know at once.
        let recheck = self.batch.now.plus_ms(RECHECK_MS);
        let due = flight.valid_until.map_or(recheck, |until| recheck.min(until.plus_ms(1))).0;
        // Whoever asks again has not called: the answer to an earlier `Go` was lost, and nothing left.
        self.db
            .prepare_cached("UPDATE outbox SET due = ?2, sending = 0, why = ?3 WHERE seq = ?1")?
            .execute(params![flight.seq, due, PAUSED])?;
        self.batch.changes.push(Change::EffectBack { id: effect.to_owned(), seq: flight.seq, due });
        Ok(Begin::Paused)
    }

    /// An effect that waits.
    fn waiting(&self, effect: &str) -> Done<Option<EffectFlight>> {
        if self.memory.effects.contains_key(effect) {
            return Ok(None);
        }
        self.locate(effect)
    }

    fn hasten(&mut self, effect: &str) -> Done<bool> {
        let Some(flight) = self.waiting(effect)? else { return Ok(false) };
        let (seq, due) = (flight.seq, self.batch.now.0);
        self.db.prepare_cached("UPDATE outbox SET due = ?2 WHERE seq = ?1")?.execute([seq, due])?;
        self.batch.changes.push(Change::EffectBack { id: effect.to_owned(), seq, due });
        Ok(true)
    }

    fn drop_effect(&mut self, effect: &str, customer: &str, why: &str) -> Done<bool> {
        let Some(flight) = self.waiting(effect)?.filter(|flight| *flight.customer == *customer) else { return Ok(false) };
        self.remove_effect(effect, flight.seq)?;
        let outcome = match flight.unsure {
            false => Outcome::Refused { why: why.to_owned() },
            true => Outcome::Unknown { why: format!("{why}; an earlier attempt may have had its effect") },
        };
        self.put_in(&Letter::result(customer, effect, outcome))?;
        Ok(true)
    }
}
