//! A copy of a store's file while the engine goes on.
//!
//! SQLite writes it in one read transaction: the copy is the store as it was at one instant, without the empty
//! pages. It has its name only when it is whole, on disk and has been looked through.

use super::super::{StoreError, StoreResult};
use super::export::{folder_of, remove_database};
use super::schema;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What a copy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Bytes of the copy.
    pub bytes: u64,
    /// Customers in it.
    pub customers: u64,
}

/// Copies a store's file, or the file of a read side, to a file that does not exist yet.
///
/// # Errors
/// When there is no such file, it is none of ours, the copy exists already, or the disk refuses.
pub fn backup(from: &Path, to: &Path) -> StoreResult<Copied> {
    let missing = |_| StoreError::Fatal(format!("there is no store at {}; name its file with --store", from.display()));
    let from = from.canonicalize().map_err(missing)?;
    let cannot = |why: &dyn std::fmt::Display| {
        StoreError::Fatal(format!("cannot write the copy {}: {why}; check the folder and the disk", to.display()))
    };
    if to.exists() {
        return Err(StoreError::Fatal(format!("{} exists already; a copy is never written over another", to.display())));
    }
    known(&from)?;
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    remove_database(&part)?;
    schema::create_private(&part)?;
    let (copied, found) = copy(&from, &part).map_err(|why| cannot(&why))?;
    if found != "ok" {
        return Err(StoreError::Fatal(format!(
            "the copy of {} is damaged, and so is it: {found}; restore a backup",
            from.display()
        )));
    }
    File::open(&part).and_then(|file| file.sync_all()).map_err(|why| cannot(&why))?;
    std::fs::rename(&part, to).and_then(|()| File::open(folder_of(to))?.sync_all()).map_err(|why| cannot(&why))?;
    Ok(copied)
}

/// A store, or the read side of one.
fn known(path: &Path) -> StoreResult<()> {
    match (schema::open_store_beside(path), schema::open_beside(path)) {
        (Ok(_), _) | (_, Ok(_)) => Ok(()),
        (Err(why), Err(_)) => Err(why),
    }
}

/// The copy, and what SQLite says of it.
fn copy(from: &Path, part: &Path) -> rusqlite::Result<(Copied, String)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(from, flags)?.execute("VACUUM INTO ?1", [part.to_string_lossy()])?;
    let db = Connection::open_with_flags(part, flags)?;
    let found = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    let one = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|number| number as u64);
    let bytes = one("PRAGMA page_count")? * one("PRAGMA page_size")?;
    Ok((Copied { bytes, customers: one("SELECT count(*) FROM customer")? }, found))
}
