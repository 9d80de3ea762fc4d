//! What is kept for everybody: definitions, tokens, and the messages of the development inbox.

use super::super::applied::{Applied, Applying, note};
use super::super::read::KeptMessage;
use super::super::{Bundle, StoreError, TokenRow};
use super::call::{Call, Done, Fail, Phase, Points, let_be};
use super::figure::RUN_TALLY;
use super::schema::{meta, set_meta};
use super::writer::Core;
use crate::customer::codec::encode;
use crate::lang::time::Time;
use crate::step::winner::Winner;
use rusqlite::{Connection, OptionalExtension, params};
use serde::de::DeserializeOwned;

/// The failpoints around what is kept.
pub const POINTS: Option<Points> = Some(Points { before: "sqlite.keep.before", after: "sqlite.keep.after" });

/// The setting with the hash of the current definitions.
const CURRENT: &str = "definitions";
/// The setting with what was applied.
const APPLIED: &str = "applied";
/// The setting with the winners of splits.
const WINNERS: &str = "winners";

/// Funnels with their versions.
type Funnels = Vec<(String, String)>;

/// [`super::Store::put_definitions`]: the hash, the funnels, the bundle.
pub const PUT_DEFINITIONS: Call<(String, Funnels, Vec<u8>), ()> = Call {
    phase: Phase::Write,
    points: POINTS,
    run: |core, (hash, funnels, bundle)| core.put_definitions(hash, funnels, bundle),
    lost: let_be,
};

/// [`super::Store::apply`].
pub const APPLY: Call<Applying, bool> =
    Call { phase: Phase::Write, points: POINTS, run: |core, applying| core.apply(applying), lost: let_be };

/// [`super::Store::choose`].
pub const CHOOSE: Call<Winner, bool> =
    Call { phase: Phase::Write, points: POINTS, run: |core, winner| core.choose(winner), lost: let_be };

/// [`super::Store::put_token`].
pub const PUT_TOKEN: Call<TokenRow, ()> =
    Call { phase: Phase::Write, points: POINTS, run: |core, token| core.put_token(token), lost: let_be };

/// [`super::Store::keep_message`].
pub const KEEP_MESSAGE: Call<KeptMessage, ()> =
    Call { phase: Phase::Write, points: POINTS, run: |core, message| core.keep_message(message), lost: let_be };

impl Core<'_> {
    fn put_definitions(&mut self, hash: &str, funnels: &[(String, String)], bundle: &[u8]) -> Done<()> {
        let seq = self.numbers(1)?;
        self.db
            .prepare_cached("INSERT INTO definition VALUES (?1, ?2, ?3) ON CONFLICT (hash) DO NOTHING")?
            .execute(params![hash, seq, bundle])?;
        for (funnel, version) in funnels {
            self.db
                .prepare_cached("INSERT INTO definition_funnel VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
                .execute([version, hash, funnel])?;
        }
        self.db
            .prepare_cached(
                "INSERT INTO meta VALUES ('definitions', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )?
            .execute([hash])?;
        Ok(())
    }

    fn apply(&mut self, applying: &Applying) -> Done<bool> {
        let applied = &applying.applied;
        let current: Option<String> = meta(&self.db, CURRENT)?;
        if current.unwrap_or_default() != applied.before {
            return Ok(false);
        }
        self.put_definitions(&applied.hash, &applying.funnels, &applying.bundle)?;
        let all = note(applied_so_far(&self.db)?, applied.clone());
        let text = serde_json::to_string(&all)
            .map_err(|why| Fail::Refused(StoreError::Fatal(format!("cannot write down who applied what: {why}"))))?;
        set_meta(&self.db, APPLIED, text)?;
        Ok(true)
    }

    fn choose(&mut self, winner: &Winner) -> Done<bool> {
        let mut all = winners(&self.db)?;
        if all.iter().any(|one| one.funnel == winner.funnel && one.step == winner.step) {
            return Ok(false);
        }
        all.push(winner.clone());
        let text = serde_json::to_string(&all)
            .map_err(|why| Fail::Refused(StoreError::Fatal(format!("cannot write a winner down: {why}"))))?;
        set_meta(&self.db, WINNERS, text)?;
        Ok(true)
    }

    fn put_token(&mut self, token: &TokenRow) -> Done<()> {
        self.db.prepare_cached("INSERT OR REPLACE INTO token VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            token.digest,
            token.name,
            token.scopes.join("\n"),
            token.expires.map(|time| time.0)
        ])?;
        Ok(())
    }

    /// Keeps a message; one of the same id stays as it is.
    pub fn keep_message(&mut self, message: &KeptMessage) -> Done<()> {
        self.db
            .prepare_cached("INSERT INTO message (id, customer, at, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING")?
            .execute(params![message.id, message.customer, message.at.0, encode(message)])?;
        Ok(())
    }
}

/// The current definitions, then the newest bundle for each version that a live run is pinned to and the
/// current one does not hold.
pub fn definitions(db: &Connection) -> rusqlite::Result<Vec<Bundle>> {
    let current: Option<String> =
        db.query_row("SELECT value FROM meta WHERE name = 'definitions'", [], |row| row.get(0)).optional()?;
    let Some(current) = current else { return Ok(Vec::new()) };
    let mut hashes = vec![current];
    let mut find = db.prepare_cached(
        "SELECT d.hash FROM definition_funnel f JOIN definition d ON d.hash = f.hash
         WHERE f.version = ?1 AND f.funnel = ?2 ORDER BY d.hash = ?3 DESC, d.seq DESC LIMIT 1",
    )?;
    for (funnel, version) in live_versions(db)? {
        let hash: Option<String> = find.query_row([&version, &funnel, &hashes[0]], |row| row.get(0)).optional()?;
        if let Some(hash) = hash.filter(|hash| !hashes.contains(hash)) {
            hashes.push(hash);
        }
    }
    let mut read = db.prepare_cached("SELECT bundle FROM definition WHERE hash = ?1")?;
    hashes.into_iter().map(|hash| read.query_row([&hash], |row| row.get(0)).map(|bundle| (hash, bundle))).collect()
}

fn applied_so_far(db: &Connection) -> rusqlite::Result<Vec<Applied>> {
    listed(db, APPLIED)
}

/// The winners that were chosen, by funnel and split.
pub fn winners(db: &Connection) -> rusqlite::Result<Vec<Winner>> {
    let mut all: Vec<Winner> = listed(db, WINNERS)?;
    all.sort_by(|a, b| (&a.funnel, &a.step).cmp(&(&b.funnel, &b.step)));
    Ok(all)
}

/// A list that is kept as one setting.
fn listed<T: DeserializeOwned>(db: &Connection, name: &str) -> rusqlite::Result<Vec<T>> {
    let kept: Option<String> = meta(db, name)?;
    let read = |text: String| {
        serde_json::from_str(&text)
            .map_err(|why| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(why)))
    };
    kept.map_or_else(|| Ok(Vec::new()), read)
}

/// What was applied, newest first.
pub fn applied(db: &Connection) -> rusqlite::Result<Vec<Applied>> {
    let mut all = applied_so_far(db)?;
    all.reverse();
    Ok(all)
}

/// The files of a version.
pub fn bundle(db: &Connection, hash: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    db.prepare_cached("SELECT bundle FROM definition WHERE hash = ?1")?.query_row([hash], |row| row.get(0)).optional()
}

/// Funnel and version of every live run.
fn live_versions(db: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut find = db.prepare_cached(
        "SELECT funnel, version FROM kind k WHERE EXISTS
         (SELECT 1 FROM tally t WHERE t.name >= ?1 || k.num || ':' AND t.name < ?1 || k.num || ';' AND t.n > 0) ORDER BY num",
    )?;
    find.query_map([RUN_TALLY], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// All tokens, by name.
pub fn tokens(db: &Connection) -> rusqlite::Result<Vec<TokenRow>> {
    let mut read = db.prepare_cached("SELECT digest, name, scopes, expires FROM token ORDER BY name, digest")?;
    let rows = read.query_map([], |row| {
        let scopes: String = row.get(2)?;
        Ok(TokenRow {
            digest: row.get(0)?,
            name: row.get(1)?,
            scopes: scopes.lines().map(str::to_owned).collect(),
            expires: row.get::<_, Option<i64>>(3)?.map(Time),
        })
    })?;
    rows.collect()
}
