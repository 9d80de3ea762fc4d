//! The read side in a file of its own, for stores that are not one SQLite file.
//!
//! It has the tables of the embedded store and is asked by the same questions; what it holds comes from
//! the streams in which commits tell of themselves ([`Told`](super::super::told::Told)). One process
//! follows and writes; others on the same machine may read beside it. A file is marked as what it is:
//! neither can be opened as the other.

use super::super::read::Counts;
use super::super::told::Place;
use super::super::{StoreError, StoreResult};
use super::Options;
use super::follow::{FOLLOW, Feed, Followed, follows, places, unreadable};
use super::lists::{FileBacked, counts};
use super::reader::Readers;
use super::schema::{self, Role};
use super::thread::Thread;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The read side of a store that it follows.
pub struct Mirror {
    /// Only of who writes.
    thread: Option<Thread>,
    readers: Readers,
}

impl Mirror {
    /// Opens the file for writing, or creates it with its folder, readable by its owner only. The instants
    /// of pruning are those of the options' clock.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when another process writes the file, when it is an engine's own store, when a
    /// newer engine wrote it, when it is no database of ours, or when the disk refuses.
    pub fn open(path: &Path, options: Options) -> StoreResult<Arc<Mirror>> {
        let opened = schema::open(path, &options, Role::Mirror)?;
        let readers = Readers::new(opened.path.clone());
        Ok(Arc::new(Mirror { thread: Some(Thread::start(opened, options)?), readers }))
    }

    /// Opens the file for reading only, beside the process that writes it or after its end.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is no such file yet; [`StoreError::Fatal`] when it is something
    /// else, or of a newer engine.
    pub fn read_only(path: &Path) -> StoreResult<Arc<Mirror>> {
        Ok(Arc::new(Mirror { thread: None, readers: Readers::new(schema::open_beside(path)?) }))
    }

    /// Which store it follows; `None` while it has never taken anything.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be read.
    pub async fn follows(&self) -> StoreResult<Option<String>> {
        self.readers.ask(follows).await
    }

    /// Its name, which no other read side has: under it the store knows how far it has followed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be read.
    pub async fn name(&self) -> StoreResult<String> {
        Ok(self.readers.ask(|db| schema::meta(db, schema::ROLE)).await?.unwrap_or_default())
    }

    /// Up to where each shard has been followed; a shard without entries is not named.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be read.
    pub async fn places(&self) -> StoreResult<HashMap<u16, Place>> {
        self.readers.ask(places).await
    }

    /// Entries that could not be read since the file was made. Each was logged with its shard and place.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be read.
    pub async fn unreadable(&self) -> StoreResult<u64> {
        self.readers.ask(unreadable).await
    }

    /// How many customers, live runs and members there are. What only the store knows (inbox, outbox, inputs
    /// put aside) is 0.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be read.
    pub async fn counts(&self) -> StoreResult<Counts> {
        self.readers.ask(counts).await
    }

    /// Takes entries of the streams of a store: all rows and the new positions, durably, or an error and
    /// nothing. An entry at or before its shard's position is passed over, so the same batch may come again;
    /// within a batch the order does not matter. One that cannot be read is logged, counted and passed over.
    /// The first batch decides which store is followed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] may be retried as it is. [`StoreError::Fatal`]: the file follows another
    /// store, or was opened for reading only; an entry is of a newer engine; the disk failed.
    pub async fn apply(&self, store: String, entries: Vec<(u16, Place, Vec<Vec<u8>>)>) -> StoreResult<()> {
        let thread = self.writes()?;
        let weight = entries.len();
        let feed = Feed::new(store.clone(), entries)?;
        match thread.run(FOLLOW, feed, weight).await? {
            Followed::Done(unreadable) => {
                for (shard, place, why) in unreadable {
                    tracing::error!(shard, %place, "what a commit told cannot be read, the read side goes on without it: {why}");
                }
                Ok(())
            }
            Followed::Foreign(own) => Err(StoreError::Fatal(foreign(&own, &store))),
        }
    }

    /// Drops what has outlived its retention; returns how many rows went. Small steps: safe under load.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] may be retried; [`StoreError::Fatal`] when it was opened for reading only,
    /// or the disk failed.
    pub async fn prune(&self) -> StoreResult<u64> {
        self.writes()?.prune().await
    }

    /// Ends it: what is under way is finished, then nothing is taken any more.
    pub async fn close(&self) {
        if let Some(thread) = &self.thread {
            thread.close().await;
        }
    }

    pub(super) fn writes(&self) -> StoreResult<&Thread> {
        self.thread
            .as_ref()
            .ok_or_else(|| StoreError::Fatal("this read side was opened for reading only; another process writes it".to_owned()))
    }
}

/// What is said of a file that follows another store.
pub fn foreign(own: &str, store: &str) -> String {
    format!(
        "this read side follows the store {own}, not {store}; give each store a file of its own, or remove this one to begin anew"
    )
}

impl FileBacked for Mirror {
    fn readers(&self) -> StoreResult<&Readers> {
        Ok(&self.readers)
    }
}
