//! The store in one SQLite file: the embedded default.
//!
//! # How it works
//! One thread (`writer`) owns the connection that writes. Calls reach it through a bounded channel; it
//! takes everything that has queued up, runs it in one transaction, commits (one fsync for all) and
//! answers. So the disk's latency sets the size of a group and nothing waits for company. Within a
//! group every operation checks before its first write: a refusal leaves nothing to undo.
//!
//! Being the only process on the file, who is claimed is known in memory only (`memory`): after a
//! restart nothing is handed out, and everything is handed out anew. Memory is bounded: it knows the
//! oldest part of the inbox by number and customer, a position in the index of wakes and one in the
//! index of due effects. While the disk is at work memory is parked where callers reach it: an effect's
//! answer finds its customer's record there and need not wait for the next group.
//!
//! Questions of the read side run on a few connections of their own that can only read (`reader`).
//!
//! # What must hold
//! - Memory changes only after the commit: a failed transaction leaves it as it was.
//! - A failed fsync ends the store: what the disk holds is not known any more, only a restart finds out.

use super::applied::{Applied, Applying};
use super::jump::Jumps;
use super::pause::{Pausable, Pause};
use super::quantity::Quantity;
use super::{
    Accepted, AddressRow, Begin, Bundle, Claim, Commit, Committed, Delivery, Fate, NewInput, Retry, Saying, Store, StoreResult,
    TokenRow, Work, read,
};
use crate::effect::Outcome;
use crate::event::address::Address;
use crate::lang::time::Time;
use crate::step::winner::Winner;
use flight::Taken;
use futures_util::future::BoxFuture;
use schema::Role;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thread::Thread;

mod address;
mod aside;
pub mod backup;
mod beside;
mod call;
mod change;
mod claim;
mod commit;
pub mod doctor;
mod erase;
pub mod export;
mod figure;
mod flight;
mod follow;
mod inbox;
mod keep;
mod kept;
mod lists;
mod memory;
mod mirror;
mod outbox;
mod pause;
mod prune;
mod quantity;
mod reader;
pub mod rebuild;
mod recent;
mod recover;
mod run;
mod schema;
mod shape;
mod shared;
mod show;
#[cfg(test)]
mod tests;
mod thread;
mod writer;

pub use address::crowded;
pub use beside::Beside;
pub use lists::FileBacked;
pub use mirror::Mirror;
pub use reader::Readers;
pub use schema::SCHEMA;

/// Operations that wait for the writer before callers have to wait in front of the channel.
const QUEUE_OPERATIONS_MAX: usize = 1_024;
/// Longest sleep of [`Store::wait_for_work`] before it looks at the clock again, in milliseconds: the
/// clock may be set, or run faster than real time.
const WAIT_MS_MAX: i64 = 250;

/// The engine's clock.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// How long things are kept, in days.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Facts.
    pub facts_days: u32,
    /// Ids of events, for the recognition of second deliveries.
    pub seen_days: u32,
    /// Messages of the development inbox.
    pub messages_days: u32,
    /// Runs after their end.
    pub runs_days: u32,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { facts_days: 90, seen_days: 35, messages_days: 30, runs_days: 30 }
    }
}

/// Settings of the store.
#[derive(Clone)]
pub struct Options {
    /// The engine's clock.
    pub clock: Clock,
    /// Knows whether the clock has jumped.
    pub jumps: Option<Arc<Jumps>>,
    /// How many milliseconds of the clock pass in a real one; 1 except in a demonstration.
    pub scale: f64,
    /// Memory for pages of the file, in KiB. Nearly every commit walks through all of it (SQLite shortens its list of
    /// pages after it has sorted neighbours), so more is not faster: pages that are not here are the system's to keep.
    pub cache_kib: u32,
    /// Memory for records of customers whose effects are on their way, in bytes.
    pub recent_bytes: usize,
    /// Inputs whose place is kept in memory; what is beyond is found in the file when its turn comes.
    pub window_inputs: usize,
    /// Largest file, in bytes; beyond it the store answers as if the disk were full.
    pub file_bytes_max: Option<u64>,
    /// How long things are kept.
    pub retention: Retention,
}

impl Options {
    /// The defaults with a clock.
    pub fn new(clock: Clock) -> Options {
        Options {
            clock,
            jumps: None,
            scale: 1.0,
            cache_kib: 8 * 1024,
            recent_bytes: 4 * 1024 * 1024,
            window_inputs: 65_536,
            file_bytes_max: None,
            retention: Retention::default(),
        }
    }
}

/// A store in one SQLite file.
pub struct SqliteStore {
    thread: Thread,
    readers: Readers,
}

impl SqliteStore {
    /// Opens the file, or creates it with its folder, readable by its owner only.
    ///
    /// # Errors
    /// [`super::StoreError::Fatal`] when another process uses the file, when a newer engine wrote it, when it is
    /// no database of ours, or when the disk refuses.
    pub fn open(path: &Path, options: Options) -> StoreResult<Arc<SqliteStore>> {
        let opened = schema::open(path, &options, Role::Store)?;
        let readers = Readers::new(opened.path.clone());
        Ok(Arc::new(SqliteStore { thread: Thread::start(opened, options)?, readers }))
    }

    async fn claims(&self, max: usize) -> StoreResult<Vec<Claim>> {
        if self.clock_jump().is_some() {
            return Ok(Vec::new());
        }
        let raw = self.thread.run(claim::CLAIM, max, 1).await?;
        let mut claims = Vec::with_capacity(raw.len());
        for raw in raw {
            claims.push(self.readable(raw).await?);
        }
        Ok(claims)
    }

    /// Decodes the inputs of a claim here, not on the writer's thread; one that cannot be read is put
    /// aside at once.
    async fn readable(&self, raw: claim::RawClaim) -> StoreResult<Claim> {
        let (claim, unreadable) = raw.decode();
        for (seq, cause) in unreadable {
            self.thread.run(aside::PUT_ASIDE, (claim.customer.clone(), seq, cause), 1).await?;
        }
        Ok(claim)
    }

    /// Looks for customers judged by other definitions, a slice of the table at a time, and marks them.
    async fn scan(&self, hash: String, after: String, max: usize) -> StoreResult<Vec<String>> {
        let judged = shape::judged(&hash);
        let mut from = self.readers.ask(move |db| claim::scan_start(db, &after)).await?;
        while let Some(start) = from {
            let slice = self.readers.ask(move |db| claim::unjudged(db, judged, start, max)).await?;
            if !slice.ids.is_empty() {
                self.thread.run(claim::NUDGE, slice.ids.clone(), 1).await?;
                return Ok(slice.ids);
            }
            from = slice.next;
        }
        Ok(Vec::new())
    }

    async fn wait(&self, which: Work) {
        loop {
            let signal = self.thread.shared.signal(which);
            let woken = signal.changed.notified();
            tokio::pin!(woken);
            // Registered before the look: a change between the look and the sleep is not missed.
            woken.as_mut().enable();
            if self.thread.shared.closed.load(Ordering::Acquire) || signal.ready.load(Ordering::Acquire) > 0 {
                return;
            }
            let ahead = signal.next.load(Ordering::Acquire).saturating_sub(self.thread.shared.now().0);
            // While nothing is handed out there is nothing to wake up for, and nobody tells when that is over.
            let ahead = if self.clock_jump().is_some() { WAIT_MS_MAX } else { ahead };
            if ahead <= 0 {
                return;
            }
            let real = (ahead as f64 / self.thread.shared.options.scale).ceil().clamp(1.0, WAIT_MS_MAX as f64);
            // Which of the two it was is found by looking again.
            let _elapsed = tokio::time::timeout(Duration::from_millis(real as u64), woken).await;
        }
    }
}

impl Store for SqliteStore {
    fn now(&self) -> Time {
        self.thread.shared.now()
    }

    fn clock_jump(&self) -> Option<i64> {
        self.thread.shared.options.jumps.as_ref().and_then(|jumps| jumps.by())
    }

    fn accept(&self, inputs: Vec<NewInput>) -> BoxFuture<'_, StoreResult<Vec<Accepted>>> {
        Box::pin(async move {
            let weight = inputs.len();
            let letters: Vec<inbox::Letter> = inputs.into_iter().map(inbox::Letter::new).collect();
            self.thread.run(inbox::ACCEPT, letters, weight).await
        })
    }

    fn claim(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<Claim>>> {
        Box::pin(self.claims(max))
    }

    fn take(&self, customer: String) -> BoxFuture<'_, StoreResult<Option<Claim>>> {
        Box::pin(async move {
            match self.thread.shared.take(&customer) {
                Taken::Claimed(claim) => return Ok(Some(*claim)),
                Taken::No => return Ok(None),
                Taken::Unknown => {}
            }
            match self.thread.run(claim::TAKE, customer, 1).await? {
                Some(raw) => Ok(Some(self.readable(raw).await?)),
                None => Ok(None),
            }
        })
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, StoreResult<Vec<Committed>>> {
        Box::pin(async move {
            let weight = commits.len();
            let turns: Vec<shape::Turn> = commits.into_iter().map(shape::Turn::new).collect();
            self.thread.run(commit::COMMIT, turns, weight).await
        })
    }

    fn release(&self, customers: Vec<String>) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.thread.run(recover::RELEASE, customers, 1))
    }

    fn fault(&self, customer: String, seq: Option<u64>, cause: String) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.thread.run(recover::FAULT, (customer, seq, cause), 1))
    }

    fn unquarantine(&self, customer: String, seq: u64, fate: Fate) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.thread.run(aside::UNQUARANTINE, (customer, seq, fate), 1))
    }

    fn claim_effects(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<Delivery>>> {
        Box::pin(async move {
            if self.clock_jump().is_some() {
                return Ok(Vec::new());
            }
            let raw = self.thread.run(outbox::CLAIM_EFFECTS, max, 1).await?;
            Ok(raw.into_iter().filter_map(outbox::RawDelivery::decode).collect())
        })
    }

    fn begin(&self, effect: String, ticket: u64, body_digest: Vec<u8>) -> BoxFuture<'_, StoreResult<Begin>> {
        Box::pin(self.thread.run(outbox::BEGIN, (effect, ticket, body_digest), 1))
    }

    fn retry(&self, retry: Retry) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.thread.run(outbox::RETRY, retry, 1))
    }

    fn settle(&self, effect: String, customer: String, outcome: Outcome) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let letter = inbox::Letter::result(&customer, &effect, outcome);
            self.thread.run(outbox::SETTLE, (effect, letter), 1).await
        })
    }

    fn drop_effect(&self, effect: String, customer: String, why: String) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.thread.run(pause::DROP, (effect, customer, why), 1))
    }

    fn hasten(&self, effect: String, _customer: String) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.thread.run(pause::HASTEN, effect, 1))
    }

    fn pause(&self, pause: Pause) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.thread.run(pause::PAUSE, pause, 1))
    }

    fn resume(&self, of: Pausable) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.thread.run(pause::RESUME, of, 1))
    }

    fn pauses(&self) -> BoxFuture<'_, StoreResult<Vec<Pause>>> {
        self.readers.ask(pause::pauses)
    }

    fn take_quantity(&self, quantity: Quantity, least: i64, want: i64) -> BoxFuture<'_, StoreResult<i64>> {
        Box::pin(self.thread.run(quantity::TAKE, (quantity, least, want), 1))
    }

    fn return_quantity(&self, name: String, count: i64) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.thread.run(quantity::RETURN, (name, count), 1))
    }

    fn put_definitions(&self, hash: String, funnels: Vec<(String, String)>, bundle: Vec<u8>) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.thread.run(keep::PUT_DEFINITIONS, (hash, funnels, bundle), 1))
    }

    fn definitions(&self) -> BoxFuture<'_, StoreResult<Vec<Bundle>>> {
        self.readers.ask(keep::definitions)
    }

    fn apply(&self, applying: Applying) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.thread.run(keep::APPLY, applying, 1))
    }

    fn applied(&self) -> BoxFuture<'_, StoreResult<Vec<Applied>>> {
        self.readers.ask(keep::applied)
    }

    fn choose(&self, winner: Winner) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.thread.run(keep::CHOOSE, winner, 1))
    }

    fn winners(&self) -> BoxFuture<'_, StoreResult<Vec<Winner>>> {
        self.readers.ask(keep::winners)
    }

    fn bundle(&self, hash: String) -> BoxFuture<'_, StoreResult<Option<Vec<u8>>>> {
        self.readers.ask(move |db| keep::bundle(db, &hash))
    }

    fn wake_unjudged(&self, hash: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        Box::pin(self.scan(hash, after, max))
    }

    fn put_token(&self, token: TokenRow) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.thread.run(keep::PUT_TOKEN, token, 1))
    }

    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<TokenRow>>> {
        self.readers.ask(keep::tokens)
    }

    fn say(&self, address: Address, saying: Saying) -> BoxFuture<'_, StoreResult<AddressRow>> {
        Box::pin(self.thread.run(address::SAY, (address, saying), 1))
    }

    fn address(&self, address: Address) -> BoxFuture<'_, StoreResult<AddressRow>> {
        self.readers.ask(move |db| address::row(db, &address))
    }

    fn keep_reference(&self, reference: Address, effect: String) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.thread.run(address::KEEP_REFERENCE, (reference, effect), 1))
    }

    fn reference(&self, reference: Address) -> BoxFuture<'_, StoreResult<Option<String>>> {
        self.readers.ask(move |db| address::effect_of(db, &reference))
    }

    fn link_key(&self) -> BoxFuture<'_, StoreResult<Vec<u8>>> {
        Box::pin(async move {
            let new = super::new_link_key()?;
            self.thread.run(address::LINK_KEY, new, 1).await
        })
    }

    fn keep_message(&self, message: read::KeptMessage) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.thread.run(keep::KEEP_MESSAGE, message, 1))
    }

    fn wait_for_work(&self, which: Work) -> BoxFuture<'_, ()> {
        Box::pin(self.wait(which))
    }

    fn prune(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(self.thread.prune())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.thread.close())
    }
}
