//! The database file: where it lies, who may open it, and its tables.
//!
//! One process owns a file. The operating system's lock on `<file>.lock` says so; it goes with the
//! process, however that ends. The file holds two numbers: [`SCHEMA`] counts changes of the tables,
//! the format counts changes of the documents. An engine that meets a higher one refuses to start.

use super::super::{StoreError, StoreResult};
use super::Options;
use crate::customer::codec::FORMAT;
use rusqlite::config::DbConfig;
use rusqlite::types::{FromSql, ToSql};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// Version of the tables; raised by every change that an older engine cannot work with.
pub const SCHEMA: i64 = 3;

/// Marks the file as ours (SQLite's `application_id`): `afun`.
const APPLICATION_ID: i64 = 0x6166_756e;
/// Bytes of one page of the file.
const PAGE_BYTES: u32 = 4096;
/// Pages in the write-ahead log at which it is written back into the file.
const CHECKPOINT_PAGES: u32 = 4000;
/// The write-ahead log is cut back to this size after it was written back, in bytes.
const LOG_BYTES_KEPT: u32 = 64 * 1024 * 1024;
/// Tries to take a file's lock, and the pause between them in milliseconds.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE_MS: u64 = 20;
/// How long to wait for somebody else's lock (a person with the SQLite shell), in milliseconds.
const BUSY_MS: u32 = 5_000;
/// Prepared statements kept by the writer; more than there are.
const STATEMENTS_KEPT: usize = 128;

/// The tables. `seq` and `num` come from one counter of the store that never goes back.
///
/// What is written in every turn is appended (inbox, outbox, facts), so that a transaction of many
/// turns touches few pages; what is looked up only in rare cases has a partial index that the usual
/// case does not enter (`outbox_due`, `outbox_key`, `inbox_far`, `inbox_crashed`).
const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;

CREATE TABLE customer (
  num INTEGER PRIMARY KEY, id TEXT NOT NULL, version INTEGER NOT NULL, gate INTEGER NOT NULL,
  wake INTEGER, judged INTEGER NOT NULL,
  head INTEGER NOT NULL,
  shown INTEGER NOT NULL, name TEXT NOT NULL, email TEXT NOT NULL, phone TEXT NOT NULL, segments TEXT NOT NULL,
  account BLOB NOT NULL, document BLOB NOT NULL);
CREATE UNIQUE INDEX customer_id ON customer (id);
CREATE INDEX customer_wake ON customer (wake) WHERE wake IS NOT NULL;
CREATE TABLE word (text TEXT NOT NULL, customer TEXT NOT NULL, PRIMARY KEY (text, customer)) WITHOUT ROWID;
CREATE TABLE member (segment TEXT NOT NULL, customer INTEGER NOT NULL, PRIMARY KEY (segment, customer)) WITHOUT ROWID;
CREATE TABLE tombstone (digest INTEGER PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE followed (shard INTEGER PRIMARY KEY, ms INTEGER NOT NULL, seq INTEGER NOT NULL);

CREATE TABLE inbox (
  seq INTEGER PRIMARY KEY, customer TEXT NOT NULL, at INTEGER NOT NULL, far INTEGER NOT NULL,
  crashes INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX inbox_far ON inbox (customer) WHERE far = 1;
CREATE INDEX inbox_crashed ON inbox (crashes) WHERE crashes > 0;
CREATE TABLE seen (digest INTEGER PRIMARY KEY, body INTEGER NOT NULL, hour INTEGER NOT NULL);
CREATE TABLE quarantine (
  seq INTEGER PRIMARY KEY, customer TEXT NOT NULL, at INTEGER NOT NULL, cause TEXT NOT NULL, input TEXT NOT NULL);

CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY, key INTEGER NOT NULL, customer INTEGER NOT NULL, due INTEGER, sending INTEGER NOT NULL,
  attempts INTEGER NOT NULL, begun INTEGER, unsure INTEGER, digest BLOB, why TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX outbox_due ON outbox (due) WHERE due IS NOT NULL;
CREATE INDEX outbox_key ON outbox (key) WHERE due IS NOT NULL;

CREATE TABLE fact (
  seq INTEGER PRIMARY KEY, previous INTEGER NOT NULL, customer INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE figure (
  num INTEGER PRIMARY KEY, day TEXT NOT NULL, funnel TEXT NOT NULL, version TEXT NOT NULL, step TEXT NOT NULL,
  variant TEXT NOT NULL, what TEXT NOT NULL, count INTEGER NOT NULL, amount INTEGER NOT NULL,
  reason TEXT NOT NULL DEFAULT '');
CREATE TABLE tally (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE kind (num INTEGER PRIMARY KEY, funnel TEXT NOT NULL, version TEXT NOT NULL, UNIQUE (funnel, version));
CREATE TABLE run (
  place INTEGER PRIMARY KEY, run INTEGER NOT NULL, kind INTEGER NOT NULL, state INTEGER NOT NULL, step TEXT NOT NULL,
  entered INTEGER NOT NULL, until INTEGER);
CREATE INDEX run_shown ON run (kind, state, entered);

CREATE TABLE definition (hash TEXT PRIMARY KEY, seq INTEGER NOT NULL, bundle BLOB NOT NULL);
CREATE TABLE definition_funnel (
  version TEXT NOT NULL, hash TEXT NOT NULL, funnel TEXT NOT NULL, PRIMARY KEY (version, hash, funnel)) WITHOUT ROWID;
CREATE TABLE token (digest BLOB PRIMARY KEY, name TEXT NOT NULL, scopes TEXT NOT NULL, expires INTEGER) WITHOUT ROWID;
CREATE TABLE message (num INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, customer TEXT NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX message_at ON message (at);
CREATE INDEX message_customer ON message (customer, at);
";

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// An engine's own store.
    Store,
    /// The read side of a store that is somewhere else.
    Mirror,
}

/// The setting that marks a read side, and names it: a text that no other has. A store has none: so it was
/// before there were others.
pub const ROLE: &str = "role";

/// An opened file: the writer's connection and the lock that makes it ours.
#[derive(Debug)]
pub struct Opened {
    /// The connection that writes.
    pub db: Connection,
    /// Held as long as the file is ours.
    pub lock: File,
    /// The file's real path, for readers.
    pub path: PathBuf,
    /// The last process ended by [`super::super::Store::close`].
    pub clean: bool,
}

/// Opens or creates the file, and marks it as in use.
pub fn open(path: &Path, options: &Options, role: Role) -> StoreResult<Opened> {
    let path = real_path(path)?;
    let lock = lock(&path)?;
    create_private(&path)?;
    let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .and_then(|db| settle_in(&db, options).map(|()| db))
        .map_err(|why| cannot_open(&path, &why))?;
    super::super::failpoint("sqlite.open.before");
    let clean = check_or_create(&db, &path, role)?;
    super::super::failpoint("sqlite.open.after");
    Ok(Opened { db, lock, path, clean })
}

/// Makes sure that there is a read side to be read beside the process that writes it; returns its real path.
pub fn open_beside(path: &Path) -> StoreResult<PathBuf> {
    let missing = || {
        let said = format!("there is no read side at {} yet; start the engine that writes it", path.display());
        StoreError::Unavailable(said)
    };
    let real = path.canonicalize().map_err(|_| missing())?;
    let db = open_reader(&real).map_err(|why| cannot_open(&real, &why))?;
    match tables(&db, &real)? {
        0 => Err(missing()),
        _ => {
            check(&db, &real, Role::Mirror)?;
            refuse_old(&db, &real)?;
            Ok(real)
        }
    }
}

/// Opens a store's file for a look beside the engine that uses it.
pub fn open_store_beside(path: &Path) -> StoreResult<Connection> {
    let missing = || StoreError::Fatal(format!("there is no store at {}; name its file with --store", path.display()));
    let real = path.canonicalize().map_err(|_| missing())?;
    let db = open_reader(&real).map_err(|why| cannot_open(&real, &why))?;
    if tables(&db, &real)? == 0 {
        return Err(missing());
    }
    check(&db, &real, Role::Store)?;
    Ok(db)
}

/// Refuses a file whose tables are those of an older engine: who only reads cannot bring them up to date.
pub fn refuse_old(db: &Connection, path: &Path) -> StoreResult<()> {
    match meta::<i64>(db, "schema").map_err(|why| cannot_open(path, &why))?.unwrap_or(0) {
        SCHEMA.. => Ok(()),
        _ => Err(StoreError::Fatal(format!(
            "{} was written by an older engine; start this engine on it once (`autofunnel serve`), that brings its tables up to date",
            path.display()
        ))),
    }
}

/// Opens a connection that can only read.
pub fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(std::time::Duration::from_millis(u64::from(BUSY_MS)))?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cache_size", -2048)?;
    Ok(db)
}

/// The path with its folders made and links resolved: two names of one file must meet at one lock.
fn real_path(path: &Path) -> StoreResult<PathBuf> {
    let fail = |why: std::io::Error| {
        StoreError::Fatal(format!("cannot use {} as the database: {why}; check the folder and its permissions", path.display()))
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.exists() {
        private_folder().create(folder).map_err(fail)?;
        // SQLite sees to it that its files' names outlive a power cut, but not the folder's.
        if let Some(above) = folder.canonicalize().map_err(fail)?.parent() {
            File::open(above).and_then(|above| above.sync_all()).map_err(fail)?;
        }
    }
    match path.canonicalize() {
        Ok(real) => Ok(real),
        Err(_) => {
            let name = path
                .file_name()
                .ok_or_else(|| StoreError::Fatal(format!("{} names no file; name the database file", path.display())))?;
            Ok(folder.canonicalize().map_err(fail)?.join(name))
        }
    }
}

/// Takes the lock that makes a file ours.
pub fn lock(path: &Path) -> StoreResult<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let fail = |why: &dyn std::fmt::Display| {
        StoreError::Fatal(format!("cannot lock {}: {why}; check the folder and its permissions", path.display()))
    };
    let file = private_file().create(true).truncate(false).open(&name).map_err(|why| fail(&why))?;
    let mut tries = 1;
    // A process that this one is just starting holds its open files, and so the lock, for a moment.
    while tries < LOCK_TRIES && matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        std::thread::sleep(std::time::Duration::from_millis(LOCK_PAUSE_MS));
        tries += 1;
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Fatal(format!(
            "the database {} is in use by another process; stop that one, or give this one a file of its own",
            path.display()
        ))),
        Err(TryLockError::Error(why)) => Err(fail(&why)),
    }
}

/// Creates a file that only its owner can read, or closes an existing one to others.
/// SQLite gives its side files (`-wal`, `-shm`) the mode of the database file.
pub fn create_private(path: &Path) -> StoreResult<()> {
    let fail = |why: std::io::Error| {
        StoreError::Fatal(format!("cannot create {}: {why}; check the folder and its permissions", path.display()))
    };
    let file = private_file().create(true).truncate(false).open(path).map_err(fail)?;
    narrow(&file).map_err(fail)
}

#[cfg(unix)]
fn private_file() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

#[cfg(unix)]
fn private_folder() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}

/// A file that others could read (copied here by hand, say) is closed to them.
#[cfg(unix)]
fn narrow(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        file.set_permissions(permissions)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

#[cfg(not(unix))]
fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    builder
}

#[cfg(not(unix))]
fn narrow(_file: &File) -> std::io::Result<()> {
    Ok(())
}

/// Settings of the writer's connection. Page size and vacuum mode only count before the first table.
fn settle_in(db: &Connection, options: &Options) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    db.busy_timeout(std::time::Duration::from_millis(u64::from(BUSY_MS)))?;
    // Without it a statement whose value might choose a partial index is planned anew every time a value is bound.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // These two answer with a row.
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.query_row(&format!("PRAGMA journal_size_limit = {LOG_BYTES_KEPT}"), [], |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "mmap_size", 0)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "secure_delete", "FAST")?;
    db.pragma_update(None, "cache_size", -i64::from(options.cache_kib))?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    if let Some(bytes) = options.file_bytes_max {
        db.query_row(&format!("PRAGMA max_page_count = {}", (bytes / u64::from(PAGE_BYTES)).max(1)), [], |_| Ok(()))?;
    }
    Ok(())
}

/// Creates the tables or checks that they are ours and known; returns whether the last use ended cleanly.
fn check_or_create(db: &Connection, path: &Path, role: Role) -> StoreResult<bool> {
    let fail = |why: rusqlite::Error| cannot_open(path, &why);
    if tables(db, path)? == 0 {
        create(db, role).map_err(fail)?;
        return Ok(true);
    }
    check(db, path, role)?;
    upgrade(db).map_err(fail)?;
    let clean = meta(db, "clean").map_err(fail)? == Some(1);
    set_meta(db, "clean", 0).map_err(fail)?;
    Ok(clean)
}

fn tables(db: &Connection, path: &Path) -> StoreResult<i64> {
    db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(|why| cannot_open(path, &why))
}

/// The tables are ours, known, and of this role.
fn check(db: &Connection, path: &Path, role: Role) -> StoreResult<()> {
    let fail = |why: rusqlite::Error| cannot_open(path, &why);
    let application: i64 = db.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(fail)?;
    if application != APPLICATION_ID {
        return Err(StoreError::Fatal(format!("{} is a database of another program; name another file", path.display())));
    }
    for (name, known) in [("schema", SCHEMA), ("format", i64::from(FORMAT))] {
        let found: i64 = meta(db, name).map_err(fail)?.unwrap_or(0);
        if found > known {
            return Err(StoreError::Fatal(format!(
                "the database {} was written by a newer engine ({name} {found}, this engine knows {known}); start the newer engine",
                path.display()
            )));
        }
    }
    let said = match (meta::<String>(db, ROLE).map_err(fail)?.is_some(), role) {
        (false, Role::Mirror) => "is an engine's own store, not the read side of one; name another file for the read side",
        (true, Role::Store) => "is the read side of a store that is somewhere else, not a store; name another file for the store",
        _ => return Ok(()),
    };
    Err(StoreError::Fatal(format!("{} {said}", path.display())))
}

/// Tables of an older engine get what has been added since. What was said about addresses must be heeded, so an
/// older engine is not to open them again.
fn upgrade(db: &Connection) -> rusqlite::Result<()> {
    if meta::<i64>(db, "schema")?.unwrap_or(0) >= SCHEMA {
        return Ok(());
    }
    db.execute_batch("BEGIN IMMEDIATE")?;
    let from = meta::<i64>(db, "schema")?.unwrap_or(0);
    if from < 2 {
        db.execute_batch(super::address::TABLES)?;
    }
    db.execute_batch("ALTER TABLE figure ADD COLUMN reason TEXT NOT NULL DEFAULT ''; DROP INDEX figure_key")?;
    db.execute_batch(super::figure::TABLES)?;
    set_meta(db, "schema", SCHEMA)?;
    db.execute_batch("COMMIT")
}

fn create(db: &Connection, role: Role) -> rusqlite::Result<()> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.execute_batch(TABLES)?;
    db.execute_batch(super::address::TABLES)?;
    db.execute_batch(super::figure::TABLES)?;
    for (name, value) in [("schema", SCHEMA), ("format", i64::from(FORMAT)), ("clean", 0), ("seq", 1)] {
        set_meta(db, name, value)?;
    }
    if role == Role::Mirror {
        let name: String = db.query_row("SELECT 'mirror-' || lower(hex(randomblob(8)))", [], |row| row.get(0))?;
        set_meta(db, ROLE, name)?;
    }
    db.execute_batch("COMMIT")
}

/// A value in the table of settings.
pub fn meta<T: FromSql>(db: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    db.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional()
}

/// Sets a value in the table of settings.
pub fn set_meta(db: &Connection, name: &str, value: impl ToSql) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")?
        .execute(rusqlite::params![name, value])
        .map(|_| ())
}

/// What is said of a file that cannot be opened.
pub fn cannot_open(path: &Path, why: &rusqlite::Error) -> StoreError {
    let hint = match why.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => "it is not a database; name another file",
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => "it is damaged; restore a backup",
        Some(rusqlite::ErrorCode::DiskFull) => "the disk is full; free some space",
        _ => "check the file, its folder and the disk",
    };
    StoreError::Fatal(format!("cannot open the database {}: {why}; {hint}", path.display()))
}
