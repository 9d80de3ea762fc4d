//! Connections that can only read, for the read side: a few, each lent to one question at a time.

use super::super::{StoreError, StoreResult};
use super::schema::open_reader;
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Questions answered at one time; further ones wait.
const READERS_MAX: usize = 4;

/// The connections to one file. They are opened when first needed.
#[derive(Clone)]
pub struct Readers {
    path: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    /// A pool for a file.
    pub(super) fn new(path: PathBuf) -> Readers {
        Readers {
            path: Arc::new(path),
            idle: Arc::new(Mutex::new(Vec::with_capacity(READERS_MAX))),
            turns: Arc::new(Semaphore::new(READERS_MAX)),
        }
    }

    /// Asks a question on a thread that may block, in one short read transaction.
    pub(super) fn ask<T, Q>(&self, question: Q) -> BoxFuture<'static, StoreResult<T>>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let pool = self.clone();
        Box::pin(async move {
            let turn = pool.turns.clone().acquire_owned().await.map_err(|_| super::call::closed())?;
            let answer = tokio::task::spawn_blocking(move || {
                let answer = pool.with(question);
                drop(turn);
                answer
            });
            match answer.await {
                Ok(answer) => answer.map_err(|why| StoreError::Unavailable(format!("a question to the database failed: {why}"))),
                Err(why) => Err(StoreError::Unavailable(format!("a question to the database was broken off: {why}"))),
            }
        })
    }

    fn with<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        // A list of connections cannot be left half changed: a poisoned lock is as good as a sound one.
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = match idle {
            Some(db) => db,
            None => open_reader(&self.path)?,
        };
        db.execute_batch("BEGIN")?;
        let answer = question(&db);
        db.execute_batch("COMMIT")?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(db);
        answer
    }
}
