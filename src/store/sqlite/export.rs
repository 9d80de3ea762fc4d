//! Reading a whole store from its file, for the move to another store. The file is locked, so no engine works
//! on it, and it is not changed.

use super::super::applied::Applied;
use super::super::migrate::item::{Customer, Inbound, Outbound, PutAside, Seen, Version};
use super::super::pause::Pause;
use super::super::quantity::Taken;
use super::super::{StoreError, StoreResult, TokenRow};
use super::aside::HER_WAKE;
use super::figure::copy_terms;
use super::run::{FIRST_ENDED, RUN_BITS};
use super::schema::{self, Role, meta, set_meta};
use super::{Options, follow, keep};
use crate::customer::codec::{decode, encode};
use crate::event::Input;
use crate::lang::time::Time;
use crate::step::winner::Winner;
use rusqlite::{Connection, Row, params};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod addresses;

/// What of the read side is copied: the target's table and the columns that it takes from the source's.
/// Of a customer it keeps what lists show; her record stays with the store.
const READ_SIDE: &[(&str, &str)] = &[
    ("customer", "num, id, 1, 0, NULL, 0, head, shown, name, email, phone, segments, x'', x''"),
    ("word", "*"),
    ("member", "*"),
    ("tombstone", "*"),
    ("fact", "*"),
    ("figure", "*"),
    ("cohort", "*"),
    ("tally", "*"),
    ("kind", "*"),
    ("run", "*"),
    ("message", "*"),
];

/// A table of the read side, here and in the report's file.
pub struct Compared {
    /// The table.
    pub table: &'static str,
    /// Rows here.
    pub source: u64,
    /// Rows there.
    pub target: u64,
    /// As far as a sum over the rows can tell, they are the same.
    pub same: bool,
}

/// A store's file that is being read.
pub struct Source {
    db: Connection,
    path: PathBuf,
    /// The last engine ended by closing the store. Else every input may be the one that ended it.
    pub clean: bool,
    _lock: File,
}

impl Source {
    /// Opens and locks a file.
    ///
    /// # Errors
    /// When there is none, an engine works on it, it is no store, or a newer engine wrote it.
    pub fn open(path: &Path) -> StoreResult<Source> {
        let missing = |_| StoreError::Fatal(format!("there is no store at {}; name its file with --from", path.display()));
        let path = path.canonicalize().map_err(missing)?;
        let lock = schema::lock(&path)?;
        let db = schema::open_store_beside(&path)?;
        schema::refuse_old(&db, &path)?;
        let clean = meta(&db, "clean").map_err(|why| schema::cannot_open(&path, &why))? == Some(1);
        Ok(Source { db, path, clean, _lock: lock })
    }

    fn fail(&self, why: &rusqlite::Error) -> StoreError {
        schema::cannot_open(&self.path, why)
    }

    /// Rows of a question.
    fn rows<T>(
        &self,
        sql: &str,
        with: impl rusqlite::Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> StoreResult<Vec<T>> {
        let ask = || -> rusqlite::Result<Vec<T>> { self.db.prepare_cached(sql)?.query_map(with, |row| read(row))?.collect() };
        ask().map_err(|why| self.fail(&why))
    }

    /// One number.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn number(&self, sql: &str) -> StoreResult<u64> {
        let number: i64 = self.db.query_row(sql, [], |row| row.get(0)).map_err(|why| self.fail(&why))?;
        Ok(u64::try_from(number).unwrap_or(0))
    }

    /// What tells this state of this store from every other: each commit changes it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn fingerprint(&self) -> StoreResult<String> {
        let mut hash = Sha256::new();
        let asked = [
            "SELECT value FROM meta WHERE name = 'seq'",
            "SELECT count(*) FROM customer",
            "SELECT coalesce(sum(version % 1000003), 0) FROM customer",
            "SELECT coalesce(sum(gate), 0) FROM customer",
            "SELECT coalesce(sum(num * (version % 1009) % 1000003), 0) FROM customer",
            "SELECT count(*) FROM inbox",
            "SELECT coalesce(sum(crashes), 0) FROM inbox",
            "SELECT count(*) FROM outbox",
            "SELECT coalesce(sum(attempts), 0) FROM outbox",
            "SELECT count(*) FROM quarantine",
            "SELECT count(*) FROM tombstone",
            "SELECT count(*) FROM token",
        ];
        for sql in asked {
            hash.update(self.number(sql)?.to_be_bytes());
        }
        let current: Option<String> = meta(&self.db, "definitions").map_err(|why| self.fail(&why))?;
        hash.update(current.unwrap_or_default());
        Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Customers after a place.
    ///
    /// # Errors
    /// When the file cannot be read; so with all that follow.
    pub fn customers(&self, after: i64, max: usize) -> StoreResult<Vec<Customer>> {
        self.rows(
            "SELECT num, id, version, gate, wake, judged, shown, account, document FROM customer WHERE num > ?1 ORDER BY num LIMIT ?2",
            params![after, max as i64],
            |row| {
                Ok(Customer {
                    num: row.get(0)?,
                    id: row.get(1)?,
                    version: row.get::<_, i64>(2)? as u64,
                    gate: row.get(3)?,
                    wake: row.get(4)?,
                    judged: row.get::<_, i64>(5)? as u64,
                    shown: row.get::<_, i64>(6)? as u64,
                    account: row.get(7)?,
                    document: row.get(8)?,
                })
            },
        )
    }

    /// Inputs after a place, in the order of acceptance.
    ///
    /// # Errors
    /// As above.
    pub fn inputs(&self, after: i64, max: usize) -> StoreResult<Vec<Inbound>> {
        self.rows(
            "SELECT seq, customer, at, crashes, body FROM inbox WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            params![after, max as i64],
            |row| {
                let (seq, customer, at, crashes) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                Ok(Inbound { seq, customer, at, crashes, body: row.get(4)? })
            },
        )
    }

    /// Effects after a place; with each place the effect, or why it cannot be read.
    ///
    /// # Errors
    /// As above.
    pub fn effects(&self, after: i64, max: usize) -> StoreResult<Vec<(i64, Result<Outbound, String>)>> {
        self.rows(
            "SELECT seq, due, sending, attempts, begun, unsure, digest, why, body FROM outbox WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            params![after, max as i64],
            |row| {
                let seq: i64 = row.get(0)?;
                let effect = match decode(row.get_ref(8)?.as_blob()?) {
                    Ok(effect) => effect,
                    Err(why) => return Ok((seq, Err(why.to_string()))),
                };
                let (sending, begun, unsure): (bool, Option<i64>, Option<i64>) = (row.get(2)?, row.get(4)?, row.get(5)?);
                let ms = |at: Option<i64>| at.map_or(0, |at| u64::try_from(at).unwrap_or(0));
                let outbound = Outbound {
                    seq,
                    due: row.get(1)?,
                    attempts: row.get(3)?,
                    begun: ms(begun),
                    unsure: ms(unsure.or(if sending { begun } else { None })),
                    digest: row.get::<_, Option<Vec<u8>>>(6)?.unwrap_or_default(),
                    why: row.get(7)?,
                    effect,
                };
                Ok((seq, Ok(outbound)))
            },
        )
    }

    /// Ids of events from a digest on.
    ///
    /// # Errors
    /// As above.
    pub fn seen(&self, from: i64, max: usize) -> StoreResult<Vec<Seen>> {
        self.rows(
            "SELECT digest, body, hour FROM seen WHERE digest >= ?1 ORDER BY digest LIMIT ?2",
            params![from, max as i64],
            |row| Ok(Seen { digest: row.get::<_, i64>(0)?.to_be_bytes(), body: row.get(1)?, hour: row.get(2)? }),
        )
    }

    /// Digests of erased customers from one on.
    ///
    /// # Errors
    /// As above.
    pub fn tombstones(&self, from: i64, max: usize) -> StoreResult<Vec<[u8; 8]>> {
        self.rows("SELECT digest FROM tombstone WHERE digest >= ?1 ORDER BY digest LIMIT ?2", params![from, max as i64], |row| {
            Ok(row.get::<_, i64>(0)?.to_be_bytes())
        })
    }

    /// All inputs that were put aside; in place of one that cannot be read, its number.
    ///
    /// # Errors
    /// As above.
    pub fn put_aside(&self) -> StoreResult<Vec<Result<PutAside, i64>>> {
        self.rows("SELECT seq, customer, at, cause, input FROM quarantine ORDER BY seq", [], |row| {
            let (seq, at, text): (i64, i64, String) = (row.get(0)?, row.get(2)?, row.get(4)?);
            let input = match text == HER_WAKE {
                true => None,
                false => match input(&text, at) {
                    Some(input) => Some(input),
                    None => return Ok(Err(seq)),
                },
            };
            Ok(Ok(PutAside { customer: row.get(1)?, at, cause: row.get(3)?, input }))
        })
    }

    /// All workspace versions, oldest first, and the hash of the current one.
    ///
    /// # Errors
    /// As above.
    pub fn versions(&self) -> StoreResult<(Vec<Version>, Option<String>)> {
        let kept = self.rows("SELECT hash, bundle FROM definition ORDER BY seq", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut versions = Vec::with_capacity(kept.len());
        for (hash, bundle) in kept {
            let hash: String = hash;
            let sql = "SELECT funnel, version FROM definition_funnel WHERE hash = ?1 ORDER BY funnel, version";
            let funnels = self.rows(sql, [&hash], |row| Ok((row.get(0)?, row.get(1)?)))?;
            versions.push(Version { hash, funnels, bundle });
        }
        Ok((versions, meta(&self.db, "definitions").map_err(|why| self.fail(&why))?))
    }

    /// What is paused.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn pauses(&self) -> StoreResult<Vec<Pause>> {
        super::pause::pauses(&self.db).map_err(|why| self.fail(&why))
    }

    /// What was taken of quantities that all processes share.
    ///
    /// # Errors
    /// As above.
    pub fn quantities(&self) -> StoreResult<Vec<Taken>> {
        super::quantity::all(&self.db).map_err(|why| self.fail(&why))
    }

    /// The winners of splits.
    ///
    /// # Errors
    /// As above.
    pub fn winners(&self) -> StoreResult<Vec<Winner>> {
        keep::winners(&self.db).map_err(|why| self.fail(&why))
    }

    /// What was applied, newest first.
    ///
    /// # Errors
    /// As above.
    pub fn applied(&self) -> StoreResult<Vec<Applied>> {
        keep::applied(&self.db).map_err(|why| self.fail(&why))
    }

    /// All tokens.
    ///
    /// # Errors
    /// As above.
    pub fn tokens(&self) -> StoreResult<Vec<TokenRow>> {
        keep::tokens(&self.db).map_err(|why| self.fail(&why))
    }

    /// Customer, funnel and version of every live run.
    ///
    /// # Errors
    /// As above.
    pub fn live_runs(&self, mut each: impl FnMut(&str, &str, &str)) -> StoreResult<()> {
        let mut read = || -> rusqlite::Result<()> {
            let mut find = self.db.prepare_cached(
                "SELECT c.id, k.funnel, k.version FROM run r JOIN kind k ON k.num = r.kind JOIN customer c ON c.num = r.place >> ?1
                 WHERE r.state < ?2",
            )?;
            let mut rows = find.query(params![RUN_BITS, FIRST_ENDED])?;
            while let Some(row) = rows.next()? {
                each(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
            }
            Ok(())
        };
        read().map_err(|why| self.fail(&why))
    }

    /// Writes the read side into a file of its own, which follows the store with this id from its beginning.
    /// The file has its name only when it is whole. One that follows that store already stays as it is.
    ///
    /// # Errors
    /// When the file is something else, or the disk refuses.
    pub fn write_report(&self, to: &Path, store: &str) -> StoreResult<()> {
        if to.exists() {
            return report_of(to, store);
        }
        let mut part = to.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        remove_database(&part)?;
        let opened = schema::open(&part, &Options::new(Arc::new(|| Time(0))), Role::Mirror)?;
        let fail = |why: rusqlite::Error| schema::cannot_open(&opened.path, &why);
        self.fill(&opened.db, store).map_err(fail)?;
        opened.db.close().map_err(|(_, why)| schema::cannot_open(&opened.path, &why))?;
        drop(opened.lock);
        let moved = std::fs::rename(&opened.path, to).and_then(|()| File::open(folder_of(to))?.sync_all());
        moved.map_err(|why| StoreError::Fatal(format!("cannot write {}: {why}; check the folder and the disk", to.display())))?;
        remove_database(&part)
    }

    fn fill(&self, db: &Connection, store: &str) -> rusqlite::Result<()> {
        // Nobody needs half of it: a log would only write everything twice.
        db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        db.execute("ATTACH ?1 AS source", [self.path.to_string_lossy()])?;
        db.execute_batch("BEGIN IMMEDIATE")?;
        for (table, columns) in READ_SIDE {
            db.execute(&format!("INSERT INTO main.{table} SELECT {columns} FROM source.{table}"), [])?;
        }
        let seq: i64 = db.query_row("SELECT value FROM source.meta WHERE name = 'seq'", [], |row| row.get(0))?;
        set_meta(db, "seq", seq)?;
        copy_terms(&self.db, db)?;
        set_meta(db, follow::FOLLOWS, store)?;
        set_meta(db, "clean", 1)?;
        db.execute_batch("COMMIT")?;
        db.execute_batch("DETACH source")
    }

    /// Rows of each table of the read side here, and in a report's file.
    ///
    /// # Errors
    /// When one of the files cannot be read.
    pub fn report_rows(&self, report: &Path) -> StoreResult<Vec<Compared>> {
        let real = schema::open_beside(report)?;
        let other = schema::open_reader(&real).map_err(|why| schema::cannot_open(&real, &why))?;
        let mut found = Vec::new();
        for (table, _) in READ_SIDE {
            let own = weigh(&self.db, table).map_err(|why| self.fail(&why))?;
            let other = weigh(&other, table).map_err(|why| schema::cannot_open(&real, &why))?;
            found.push(Compared { table, source: own.0, target: other.0, same: own == other });
        }
        Ok(found)
    }
}

/// Rows of a table and a sum over what is in them.
fn weigh(db: &Connection, table: &str) -> rusqlite::Result<(u64, u64)> {
    let weight = match table {
        "customer" => "num + head + length(id) + length(name) + length(email) + length(phone) + length(segments)",
        "word" => "length(text) + length(customer)",
        "member" => "customer + length(segment)",
        "tombstone" => "digest % 1000003",
        "fact" => "seq + previous + customer + at % 1000003 + length(body)",
        "figure" => "count + amount % 1000003 + length(what) + length(reason)",
        "cohort" => "count + amount % 1000003 + age + held + length(name) + length(what)",
        "tally" => "n + length(name)",
        "kind" => "num + length(funnel) + length(version)",
        "run" => "place % 1000003 + state + kind + entered % 1000003 + coalesce(until, 0) % 1000003",
        _ => "at % 1000003 + length(body)",
    };
    db.query_row(&format!("SELECT count(*), coalesce(sum({weight}), 0) FROM {table}"), [], |row| {
        Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
    })
}

/// A report's file that is there must follow this store.
fn report_of(path: &Path, store: &str) -> StoreResult<()> {
    let real = schema::open_beside(path)?;
    let db = schema::open_reader(&real).map_err(|why| schema::cannot_open(&real, &why))?;
    let follows: Option<String> = follow::follows(&db).map_err(|why| schema::cannot_open(&real, &why))?;
    match follows.as_deref() == Some(store) {
        true => Ok(()),
        false => Err(StoreError::Fatal(format!(
            "{} is the read side of another store; name another file with --report, or move this one away",
            path.display()
        ))),
    }
}

/// An input of the list of what was put aside: when it was accepted, and its bytes.
fn input(text: &str, listed: i64) -> Option<(i64, Vec<u8>)> {
    if let Ok(input) = serde_json::from_str::<Input>(text) {
        return Some((input.accepted_at.0, encode(&input.body)));
    }
    // Bytes that no engine so far could read stand there in hexadecimal.
    let other: serde_json::Value = serde_json::from_str(text).ok()?;
    let digits = other.get("unreadable")?.as_str()?.as_bytes();
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    Some((listed, digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()?))
}

/// Removes a database with what SQLite and we keep beside it.
pub fn remove_database(path: &Path) -> StoreResult<()> {
    for suffix in ["", "-wal", "-shm", "-journal", ".lock"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Fatal(format!("cannot remove {}: {why}", Path::new(&name).display())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The folder of a file.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
