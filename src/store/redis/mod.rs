//! The store in Redis (7 or newer, or Valkey): many processes on many machines.
//!
//! # How it works
//! Customers are spread over 256 shards by a digest of their ids; all keys of a shard share one hash tag
//! (`key`). Everything that changes something is a script over a list of items (`script`, `lua/`), sent in
//! batches (`pump`). A shard has one owner at a time (`lease`): the worker that claims its customers and
//! effects. Who is out is known to the owner alone (`memory`); what it holds in Redis is only the mark that
//! something is in hand and until when, so that the next owner finds it again. Accepting needs no ownership:
//! any process takes inputs, and rings the owner's bell (`bell`).
//!
//! # What must hold
//! - A commit is compare-and-set on the version of the customer's record, and void for one who has lost the
//!   shard: losing a lease costs repeated work, never a wrong result.
//! - A script checks everything of an item before it writes for it, because Redis takes nothing back.
//! - Every script may be sent again when its answer was lost.
//! - Nothing is unpacked without a bound, and nothing lists or counts over Redis: the read side is SQLite
//!   tables that follow the fact streams (`follow`).

use super::applied::{Applied, Applying};
use super::pause::{Pausable, Pause};
use super::quantity::Quantity;
use super::sqlite::Mirror;
use super::{
    Accepted, AddressRow, Begin, Bundle, Claim, Commit, Committed, Delivery, Fate, NewInput, Retry, Saying, Store, StoreError,
    StoreResult, TokenRow, Work, read,
};
use crate::effect::Outcome;
use crate::event::address::Address as CustomerAddress;
use crate::lang::time::Time;
use crate::step::winner::Winner;
use clock::Clock;
use futures_util::future::BoxFuture;
use memory::Memory;
use pump::{Op, Pump, Reply};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub mod address;
mod args;
mod behind;
mod bell;
pub mod check;
mod claim;
mod clock;
mod commit;
pub mod doctor;
mod follow;
mod heard;
mod holders;
pub mod import;
mod inbox;
mod keep;
mod key;
mod lane;
mod lease;
mod link;
mod memory;
mod nodes;
mod open;
mod outbox;
mod pause;
mod plain;
mod pump;
mod quantity;
mod reads;
mod recent;
mod record;
mod recount;
mod script;
mod sentinel;
mod value;
mod walk;
mod watermark;

pub use address::{Address, is_address};

/// Replaces Redis's clock, for tests.
pub type SetClock = Arc<dyn Fn() -> Time + Send + Sync>;

/// Longest sleep of [`Store::wait_for_work`] before it looks again, in milliseconds.
const WAIT_MS_MAX: i64 = 250;

/// Settings of the store.
#[derive(Clone)]
pub struct Options {
    /// Where Redis is; see [`address`].
    pub address: String,
    /// This process turns and delivers: it takes shards. Without it it only accepts, keeps and reads.
    pub works: bool,
    /// How long a lease lasts without being renewed, in milliseconds. A worker that dies is replaced after it.
    pub lease_ms: i64,
    /// Connections for calls; 0 chooses by how Redis writes to disk.
    pub connections: usize,
    /// Memory for records of customers whose effects are on their way, in bytes.
    pub recent_bytes: usize,
    /// The read side, when this process has it.
    pub mirror: Option<Arc<Mirror>>,
    /// This process writes the read side.
    pub reports: bool,
    /// Where the watermark is kept (see `watermark`); without it a Redis that came back older is not noticed
    /// after a restart of this process.
    pub state_file: Option<std::path::PathBuf>,
    /// An append-only file is not demanded.
    pub accept_loss: bool,
    /// So many replicas must confirm events, commits, attempts and their answers before those count as done.
    pub wait_replicas: usize,
    /// Replaces Redis's clock, for tests.
    pub clock: Option<SetClock>,
}

impl Options {
    /// The defaults for an address.
    pub fn new(address: &str) -> Options {
        Options {
            address: address.to_owned(),
            works: true,
            lease_ms: 15_000,
            connections: 0,
            recent_bytes: 4 * 1024 * 1024,
            mirror: None,
            reports: false,
            state_file: None,
            accept_loss: false,
            wait_replicas: 0,
            clock: None,
        }
    }
}

/// What all parts of the store share.
struct Inner {
    options: Options,
    pump: Pump,
    plain: plain::Plain,
    dialer: link::Dialer,
    told: Arc<pump::Told>,
    clock: Arc<Clock>,
    memory: Mutex<Memory>,
    turns: Notify,
    effects: Notify,
    /// The read side shall look at once, and has looked.
    follower: follow::Signals,
    /// Redis has come back older than it was: nothing is sent until a person says so.
    paused: AtomicBool,
    /// An operator's last word that had been given when the server's clock was as it should be.
    confirmed: AtomicI64,
    /// Up to which of the connections made again the server was found to be what it was.
    recognised: tokio::sync::Mutex<u64>,
    /// Every write is on disk before it is answered.
    synced: bool,
    /// What was last written into the state file.
    mark: tokio::sync::Mutex<Option<watermark::Mark>>,
    /// This store's id, made when it was made.
    id: String,
}

/// A store in Redis.
pub struct RedisStore {
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

impl Inner {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Memory is changed in whole steps: after a panic elsewhere it is as good as before.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one item.
    async fn call(&self, op: Op) -> StoreResult<Reply> {
        let mut replies = self.all(vec![op]).await?;
        replies.pop().ok_or(StoreError::Closed)
    }

    /// Runs items that may share a script call; an error of one is the error of all.
    async fn all(&self, ops: Vec<Op>) -> StoreResult<Vec<Reply>> {
        self.each(ops).await?.into_iter().collect()
    }

    /// The same for items of which each stands alone.
    async fn each(&self, ops: Vec<Op>) -> StoreResult<Vec<StoreResult<Reply>>> {
        let replies = self.pump.all(ops).await?;
        self.after(&replies).await;
        Ok(replies)
    }

    /// The same, without waiting for a part of a cluster that is away.
    async fn some(&self, ops: Vec<Op>) -> StoreResult<Vec<StoreResult<Reply>>> {
        let replies = self.pump.what_can_be_done(ops).await?;
        self.after(&replies).await;
        Ok(replies)
    }

    async fn after(&self, replies: &[StoreResult<Reply>]) {
        if let Some(Ok(last)) = replies.last() {
            self.clock.seen(last.now);
        }
        if let Err(why) = self.note_loss().await {
            tracing::warn!(%why, "the other workers could not be told that Redis has lost something");
        }
    }

    /// The epoch in which a shard is ours, if it is.
    fn epoch(&self, shard: u16) -> Option<u64> {
        self.memory().epoch(shard)
    }

    fn notify(&self, turns: bool, effects: bool) {
        if turns {
            self.turns.notify_waiters();
        }
        if effects {
            self.effects.notify_waiters();
        }
    }

    fn closed(&self) -> bool {
        self.told.closed.load(Ordering::Acquire)
    }

    async fn wait(&self, which: Work) {
        let signal = match which {
            Work::Turns => &self.turns,
            Work::Effects => &self.effects,
        };
        loop {
            let woken = signal.notified();
            tokio::pin!(woken);
            // Registered before the look: a change between the look and the sleep is not missed.
            woken.as_mut().enable();
            let next = match which {
                _ if self.clock.jumps.by().is_some() => memory::NEVER,
                Work::Turns => self.memory().turns_at(),
                Work::Effects if self.paused.load(Ordering::Acquire) => memory::NEVER,
                Work::Effects => self.memory().effects_at(),
            };
            let ahead = next.saturating_sub(self.clock.now().0);
            if self.closed() || ahead <= 0 {
                return;
            }
            let pause = Duration::from_millis(ahead.clamp(1, WAIT_MS_MAX) as u64);
            // Which of the two it was is found by looking again.
            let _elapsed = tokio::time::timeout(pause, woken).await;
        }
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Waits for an answer that hands something out; when the wait is broken off, what was handed out goes back.
struct Waiting<T: Send + 'static> {
    answer: tokio::sync::oneshot::Receiver<StoreResult<T>>,
    back: Option<Box<dyn FnOnce(T) + Send>>,
}

impl<T: Send + 'static> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.answer.close();
        if let (Ok(Ok(answer)), Some(back)) = (self.answer.try_recv(), self.back.take()) {
            back(answer);
        }
    }
}

/// Does work that hands something out so that nothing is handed out to nobody.
async fn handed<T, F>(work: F, back: impl FnOnce(T) + Clone + Send + 'static) -> StoreResult<T>
where
    T: Send + 'static,
    F: Future<Output = StoreResult<T>> + Send + 'static,
{
    let (caller, answer) = tokio::sync::oneshot::channel();
    let mut waiting = Waiting { answer, back: Some(Box::new(back.clone())) };
    tokio::spawn(async move {
        if let Err(Ok(unwanted)) = caller.send(work.await) {
            back(unwanted);
        }
    });
    (&mut waiting.answer).await.unwrap_or_else(|_| Err(StoreError::Closed))
}

impl Store for RedisStore {
    fn now(&self) -> Time {
        self.inner.clock.now()
    }

    fn clock_jump(&self) -> Option<i64> {
        self.inner.clock.jumps.by()
    }

    fn share(&self) -> f64 {
        self.inner.memory().owned().max(1) as f64 / f64::from(key::SHARDS)
    }

    fn accept(&self, inputs: Vec<NewInput>) -> BoxFuture<'_, StoreResult<Vec<Accepted>>> {
        Box::pin(self.inner.accept(inputs))
    }

    fn claim(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<Claim>>> {
        let (inner, giver) = (self.inner.clone(), self.inner.clone());
        Box::pin(handed(async move { inner.claim(max).await }, move |claims: Vec<Claim>| {
            giver.release_later(claims.into_iter().map(|claim| claim.customer).collect());
        }))
    }

    fn take(&self, customer: String) -> BoxFuture<'_, StoreResult<Option<Claim>>> {
        Box::pin(async move {
            if let Some(answer) = self.inner.take_here(&customer) {
                return Ok(answer);
            }
            let (inner, giver) = (self.inner.clone(), self.inner.clone());
            handed(async move { inner.take_there(customer).await }, move |claim: Option<Claim>| {
                giver.release_later(claim.into_iter().map(|claim| claim.customer).collect());
            })
            .await
        })
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, StoreResult<Vec<Committed>>> {
        Box::pin(self.inner.commit(commits))
    }

    fn release(&self, customers: Vec<String>) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.inner.release(customers))
    }

    fn fault(&self, customer: String, seq: Option<u64>, cause: String) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.inner.fault(customer, seq, cause))
    }

    fn unquarantine(&self, customer: String, seq: u64, fate: Fate) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.inner.unquarantine(customer, seq, fate))
    }

    fn claim_effects(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<Delivery>>> {
        let (inner, giver) = (self.inner.clone(), self.inner.clone());
        Box::pin(handed(async move { inner.claim_effects(max).await }, move |deliveries: Vec<Delivery>| {
            giver.take_effects_back(&deliveries);
        }))
    }

    fn begin(&self, effect: String, ticket: u64, body_digest: Vec<u8>) -> BoxFuture<'_, StoreResult<Begin>> {
        Box::pin(self.inner.begin(effect, ticket, body_digest))
    }

    fn retry(&self, retry: Retry) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.inner.retry(retry))
    }

    fn settle(&self, effect: String, customer: String, outcome: Outcome) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.inner.settle(effect, customer, outcome))
    }

    fn drop_effect(&self, effect: String, customer: String, why: String) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.inner.drop_effect(effect, customer, why))
    }

    fn hasten(&self, effect: String, customer: String) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.inner.hasten(effect, customer))
    }

    fn pause(&self, pause: Pause) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.inner.pause(pause))
    }

    fn resume(&self, of: Pausable) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.inner.resume(of))
    }

    fn pauses(&self) -> BoxFuture<'_, StoreResult<Vec<Pause>>> {
        Box::pin(self.inner.pauses())
    }

    fn take_quantity(&self, quantity: Quantity, least: i64, want: i64) -> BoxFuture<'_, StoreResult<i64>> {
        Box::pin(self.inner.take_quantity(quantity, least, want))
    }

    fn return_quantity(&self, name: String, count: i64) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.inner.return_quantity(name, count))
    }

    fn put_definitions(&self, hash: String, funnels: Vec<(String, String)>, bundle: Vec<u8>) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.inner.put_definitions(hash, funnels, bundle))
    }

    fn definitions(&self) -> BoxFuture<'_, StoreResult<Vec<Bundle>>> {
        Box::pin(self.inner.definitions())
    }

    fn apply(&self, applying: Applying) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.inner.apply(applying))
    }

    fn applied(&self) -> BoxFuture<'_, StoreResult<Vec<Applied>>> {
        Box::pin(self.inner.applied())
    }

    fn choose(&self, winner: Winner) -> BoxFuture<'_, StoreResult<bool>> {
        Box::pin(self.inner.choose(winner))
    }

    fn winners(&self) -> BoxFuture<'_, StoreResult<Vec<Winner>>> {
        Box::pin(self.inner.winners())
    }

    fn bundle(&self, hash: String) -> BoxFuture<'_, StoreResult<Option<Vec<u8>>>> {
        Box::pin(self.inner.bundle(hash))
    }

    fn wake_unjudged(&self, hash: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        Box::pin(self.inner.wake_unjudged(hash, after, max))
    }

    fn put_token(&self, token: TokenRow) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.inner.put_token(token))
    }

    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<TokenRow>>> {
        Box::pin(self.inner.tokens())
    }

    fn say(&self, address: CustomerAddress, saying: Saying) -> BoxFuture<'_, StoreResult<AddressRow>> {
        Box::pin(self.inner.say(address, saying))
    }

    fn address(&self, address: CustomerAddress) -> BoxFuture<'_, StoreResult<AddressRow>> {
        Box::pin(self.inner.address(address))
    }

    fn keep_reference(&self, reference: CustomerAddress, effect: String) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.inner.keep_reference(reference, effect))
    }

    fn reference(&self, reference: CustomerAddress) -> BoxFuture<'_, StoreResult<Option<String>>> {
        Box::pin(self.inner.reference(reference))
    }

    fn link_key(&self) -> BoxFuture<'_, StoreResult<Vec<u8>>> {
        Box::pin(self.inner.link_key())
    }

    fn keep_message(&self, message: read::KeptMessage) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.inner.keep_message(message))
    }

    fn wait_for_work(&self, which: Work) -> BoxFuture<'_, ()> {
        Box::pin(self.inner.wait(which))
    }

    fn prune(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(self.inner.prune())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.inner.close())
    }
}
