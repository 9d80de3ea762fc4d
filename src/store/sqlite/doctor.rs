//! A look at a store in a file from beside the engine that uses it: what waits, and what is wrong.

use super::super::StoreResult;
use super::schema;
use crate::lang::time::Time;
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

/// Work that waits longer than this has nobody who does it, in milliseconds.
const WAITS_MS_MAX: i64 = 60_000;

/// Everything that was found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Bytes of the file and of its write-ahead log.
    pub bytes: (u64, u64),
    /// Version of the tables and format of the documents.
    pub versions: (i64, i64),
    /// Customers.
    pub customers: u64,
    /// Bytes of the largest document.
    pub largest_document: u64,
    /// Inputs that no turn has consumed.
    pub inbox: u64,
    /// Effects on their way.
    pub outbox: u64,
    /// Inputs put aside.
    pub quarantined: u64,
    /// How long the oldest due wake, input and effect have waited, in milliseconds; 0: none waits.
    pub waits_ms: (i64, i64, i64),
    /// What is to be done something about, worst first.
    pub problems: Vec<String>,
}

/// Looks at a file. Nothing is changed; an engine may use it meanwhile.
///
/// # Errors
/// When there is no such file, or it is no store.
pub fn examine(path: &Path, now: Time) -> StoreResult<Report> {
    let db = schema::open_store_beside(path)?;
    let mut report = look(&db, now).map_err(|why| schema::cannot_open(path, &why))?;
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    report.bytes = (size(path), size(Path::new(&log)));
    Ok(report)
}

fn look(db: &Connection, now: Time) -> rusqlite::Result<Report> {
    let one = |sql: &str| -> rusqlite::Result<i64> {
        let found = db.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).optional()?;
        Ok(found.flatten().unwrap_or(0))
    };
    let count = |sql: &str| one(sql).map(|count| u64::try_from(count).unwrap_or(0));
    let late = |sql: &str| one(sql).map(|first| if first == 0 { 0 } else { (now.0 - first).max(0) });
    let mut report = Report {
        versions: (schema::meta(db, "schema")?.unwrap_or(0), schema::meta(db, "format")?.unwrap_or(0)),
        customers: count("SELECT count(*) FROM customer")?,
        largest_document: count("SELECT max(length(document)) FROM customer")?,
        inbox: count("SELECT count(*) FROM inbox")?,
        outbox: count("SELECT count(*) FROM outbox")?,
        quarantined: count("SELECT count(*) FROM quarantine")?,
        waits_ms: (
            late("SELECT min(wake) FROM customer WHERE wake IS NOT NULL")?,
            late("SELECT at FROM inbox ORDER BY seq LIMIT 1")?,
            late("SELECT min(due) FROM outbox WHERE due IS NOT NULL")?,
        ),
        ..Report::default()
    };
    let sound: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        report.problems.push(format!("the file is damaged ({sound}); stop the engine and restore a back-up"));
    }
    for (what, late) in [("a wake", report.waits_ms.0), ("an input", report.waits_ms.1), ("an effect", report.waits_ms.2)] {
        if late > WAITS_MS_MAX {
            let seconds = late / 1_000;
            report.problems.push(format!("{what} has been waiting for {seconds} s; is the engine running? see its log"));
        }
    }
    if report.quarantined > 0 {
        let quarantined = report.quarantined;
        report.problems.push(format!("{quarantined} inputs were put aside; `autofunnel quarantine list` shows them"));
    }
    Ok(report)
}
