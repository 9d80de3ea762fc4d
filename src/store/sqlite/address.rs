//! Addresses: who has one, and what was said about it.

use super::super::{AddressRow, REFERENCE_DAYS, Saying};
use super::call::{Call, Done, Phase, let_be};
use super::inbox::Letter;
use super::keep::POINTS;
use super::shape::Turn;
use super::writer::Core;
use crate::event::InputBody;
use crate::event::address::{Address, HOLDERS_MAX, SOFT_MAX, SOFT_MS, Stop, StopKind};
use crate::lang::time::{DAY_MS, Time};
use rusqlite::{Connection, OptionalExtension, params};

/// Rows that have outlived their time, dropped with each new one.
const OLD_ROWS: i64 = 2;
/// The key that signs links, in the table of settings.
pub const LINK_KEY_NAME: &str = "link_key";

/// [`super::Store::say`].
pub const SAY: Call<(Address, Saying), AddressRow> =
    Call { phase: Phase::Write, points: POINTS, run: |core, (address, saying)| core.say(address, saying), lost: let_be };

/// [`super::Store::keep_reference`].
pub const KEEP_REFERENCE: Call<(Address, String), ()> = Call {
    phase: Phase::Write,
    points: POINTS,
    run: |core, (reference, effect)| core.keep_reference(reference, effect),
    lost: let_be,
};

/// [`super::Store::link_key`], given the key to keep if there is none.
pub const LINK_KEY: Call<Vec<u8>, Vec<u8>> =
    Call { phase: Phase::Write, points: POINTS, run: |core, new| core.link_key(new), lost: let_be };

/// What was added to the tables since version 1 of them.
pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS address (
  digest TEXT NOT NULL, customer TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (digest, customer)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stop (
  digest TEXT NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL, since INTEGER NOT NULL, source TEXT NOT NULL,
  PRIMARY KEY (digest, channel, kind)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS soft (
  digest TEXT NOT NULL, channel TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (digest, channel, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS soft_at ON soft (at);
CREATE TABLE IF NOT EXISTS reference (digest TEXT PRIMARY KEY, effect TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reference_at ON reference (at);
";

impl Core<'_> {
    /// What a commit changes in the index. What was said about an address that becomes hers comes into her inbox
    /// in the same transaction, as if it had been accepted right behind the commit.
    pub fn move_addresses(&mut self, turn: &Turn) -> Done<()> {
        for address in &turn.left {
            self.db
                .prepare_cached("DELETE FROM address WHERE digest = ?1 AND customer = ?2")?
                .execute(params![address.as_str(), &*turn.customer])?;
        }
        for address in &turn.taken {
            let holders: i64 = self
                .db
                .prepare_cached("SELECT count(*) FROM address WHERE digest = ?1 AND customer <> ?2")?
                .query_row(params![address.as_str(), &*turn.customer], |row| row.get(0))?;
            let mut stops = stops_of(&self.db, address)?;
            match holders < HOLDERS_MAX as i64 {
                true => {
                    self.db.prepare_cached("INSERT OR REPLACE INTO address VALUES (?1, ?2, ?3)")?.execute(params![
                        address.as_str(),
                        &*turn.customer,
                        self.batch.now.0
                    ])?;
                }
                false => stops.extend(crowded(self.batch.now)),
            }
            for stop in stops {
                let body = InputBody::Stop { address: address.clone(), stop };
                self.receive(&Letter::again(&turn.customer, &body))?;
            }
        }
        Ok(())
    }

    fn say(&mut self, address: &Address, saying: &Saying) -> Done<AddressRow> {
        match saying {
            Saying::Stop(stop) => self.keep_stop(address, stop)?,
            Saying::Soft { stop, id } => {
                let (digest, from) = (address.as_str(), self.batch.now.0 - SOFT_MS);
                self.db.prepare_cached("DELETE FROM soft WHERE digest = ?1 AND channel = ?2 AND at <= ?3")?.execute(params![
                    digest,
                    stop.channel,
                    from
                ])?;
                self.db
                    .prepare_cached(
                        "DELETE FROM soft WHERE (digest, channel, id) IN
                         (SELECT digest, channel, id FROM soft WHERE at <= ?1 ORDER BY at LIMIT ?2)",
                    )?
                    .execute(params![from, OLD_ROWS])?;
                self.db.prepare_cached("INSERT INTO soft VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?.execute(params![
                    digest,
                    stop.channel,
                    id,
                    self.batch.now.0
                ])?;
                let count: i64 = self
                    .db
                    .prepare_cached("SELECT count(*) FROM soft WHERE digest = ?1 AND channel = ?2")?
                    .query_row(params![digest, stop.channel], |row| row.get(0))?;
                if count >= SOFT_MAX as i64 {
                    self.keep_stop(address, stop)?;
                }
            }
            Saying::Lift { channel, until, only } => {
                for kind in StopKind::ALL.iter().filter(|kind| kind.is_lifted(*only)) {
                    self.db
                        .prepare_cached("DELETE FROM stop WHERE digest = ?1 AND channel = ?2 AND kind = ?3 AND since <= ?4")?
                        .execute(params![address.as_str(), channel, kind.name(), until.0])?;
                }
            }
        }
        Ok(row(&self.db, address)?)
    }

    fn keep_stop(&mut self, address: &Address, stop: &Stop) -> Done<()> {
        self.db
            .prepare_cached(
                "INSERT INTO stop VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (digest, channel, kind) DO UPDATE SET since = max(since, excluded.since)",
            )?
            .execute(params![address.as_str(), stop.channel, stop.kind.name(), stop.since.0, stop.source])?;
        Ok(())
    }

    fn keep_reference(&mut self, reference: &Address, effect: &str) -> Done<()> {
        self.db
            .prepare_cached(
                "DELETE FROM reference WHERE digest IN (SELECT digest FROM reference WHERE at < ?1 ORDER BY at LIMIT ?2)",
            )?
            .execute(params![self.batch.now.0 - REFERENCE_DAYS * DAY_MS, OLD_ROWS])?;
        self.db.prepare_cached("INSERT INTO reference VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?.execute(params![
            reference.as_str(),
            effect,
            self.batch.now.0
        ])?;
        Ok(())
    }

    fn link_key(&mut self, new: &[u8]) -> Done<Vec<u8>> {
        self.db
            .prepare_cached("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![LINK_KEY_NAME, new])?;
        Ok(self.db.query_row("SELECT value FROM meta WHERE name = ?1", [LINK_KEY_NAME], |row| row.get(0))?)
    }
}

/// What is said, by every channel, to one who comes after too many.
pub fn crowded(now: Time) -> impl Iterator<Item = Stop> {
    crate::event::address::FIELDS.iter().map(move |(channel, _)| Stop {
        channel: (*channel).to_owned(),
        kind: StopKind::Crowded,
        since: now,
        source: "the index of addresses".to_owned(),
    })
}

/// All that is known of an address.
pub fn row(db: &Connection, address: &Address) -> rusqlite::Result<AddressRow> {
    let mut read = db.prepare_cached("SELECT customer, since FROM address WHERE digest = ?1 ORDER BY customer")?;
    let holders = read.query_map([address.as_str()], |row| Ok((row.get(0)?, Time(row.get(1)?))))?.collect::<Result<_, _>>()?;
    Ok(AddressRow { holders, stops: stops_of(db, address)? })
}

fn stops_of(db: &Connection, address: &Address) -> rusqlite::Result<Vec<Stop>> {
    let mut read = db.prepare_cached("SELECT channel, kind, since, source FROM stop WHERE digest = ?1 ORDER BY channel, kind")?;
    let rows = read.query_map([address.as_str()], |row| {
        let kind: String = row.get(1)?;
        let stop = |kind| -> rusqlite::Result<Stop> {
            Ok(Stop { channel: row.get(0)?, kind, since: Time(row.get(2)?), source: row.get(3)? })
        };
        StopKind::parse(&kind).map(stop).transpose()
    })?;
    // A kind that a newer engine wrote is none that this one could heed.
    rows.filter_map(Result::transpose).collect()
}

/// The effect that a provider's own id belongs to.
pub fn effect_of(db: &Connection, reference: &Address) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT effect FROM reference WHERE digest = ?1")?
        .query_row([reference.as_str()], |row| row.get(0))
        .optional()
}
