//! The queues: apalis backends of our own over the store.
//!
//! The inbox and the outbox *are* the queues; what is here hands their items to apalis workers. A feeder
//! task claims from the store into a short channel, and an apalis backend hands out what is in the channel.
//! Claiming lives in a task of its own because apalis does not poll a backend while its workers are busy.
//!
//! Short channels keep the backlog in the inbox, where it is cheap: turns are not claimed while the
//! channel of effects is more than half full, so timers are not drowned by a flood. A trouble of the store
//! never reaches apalis (an error from a backend ends its worker for good): the feeder backs off and
//! tries again. A worker that dies all the same is restarted by the monitor and counted.

use crate::store::{Claim, Delivery, Store, StoreError, Work};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

mod backend;

/// Effects in the channel between feeder and workers.
pub const EFFECTS_QUEUED_MAX: usize = 256;
/// Batches of turns in the channel between feeder and workers.
pub const TURN_BATCHES_QUEUED_MAX: usize = 4;
/// Customers of one batch of turns.
pub const TURN_BATCH_CUSTOMERS: usize = 32;
/// Batches of turns done at the same time.
pub const TURN_CONCURRENCY: usize = 4;
/// Effects delivered at the same time.
pub const DELIVER_CONCURRENCY: usize = 128;
/// How long workers may take to finish what they have begun when the engine stops.
pub const DRAIN_MS_MAX: u64 = 8_000;
/// Longest pause between tries of a store in trouble.
const BACKOFF_MS_MAX: u64 = 1_000;

/// What does the work.
pub trait Handler<T>: Send + Sync + 'static {
    /// Handles one item. It must not fail: whatever goes wrong is dealt with inside.
    fn handle(&self, item: T) -> BoxFuture<'static, ()>;
}

/// The sending side of a queue.
#[derive(Debug)]
pub struct Lane<T> {
    sender: mpsc::Sender<T>,
    capacity: usize,
}

impl<T> Clone for Lane<T> {
    fn clone(&self) -> Self {
        Lane { sender: self.sender.clone(), capacity: self.capacity }
    }
}

impl<T> Lane<T> {
    /// A queue with room for so many items, and its other end.
    pub fn new(capacity: usize) -> (Lane<T>, mpsc::Receiver<T>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Lane { sender, capacity }, receiver)
    }

    /// Room for `count` items now, reserved until the permits are used or dropped.
    pub fn reserve(&self, count: usize) -> Option<mpsc::PermitIterator<'_, T>> {
        self.sender.try_reserve_many(count).ok()
    }

    /// How many items are waiting.
    pub fn waiting(&self) -> usize {
        self.capacity - self.sender.capacity()
    }
}

/// The two queues before any worker runs.
pub struct Queues {
    /// Sends effects to the deliver workers.
    pub effects: Lane<Delivery>,
    turns: Lane<Vec<Claim>>,
    effects_out: backend::Shared<Delivery>,
    turns_out: backend::Shared<Vec<Claim>>,
}

impl Default for Queues {
    fn default() -> Self {
        let (effects, effects_out) = Lane::new(EFFECTS_QUEUED_MAX);
        let (turns, turns_out) = Lane::new(TURN_BATCHES_QUEUED_MAX);
        Queues { effects, turns, effects_out: backend::share(effects_out), turns_out: backend::share(turns_out) }
    }
}

/// Runs feeders and workers until `stop` says true, or the store cannot work any more; then lets them finish
/// (at most [`DRAIN_MS_MAX`]) and gives back what was claimed and not begun.
pub async fn run(
    store: Arc<dyn Store>,
    queues: Queues,
    turns: Arc<dyn Handler<Vec<Claim>>>,
    deliveries: Arc<dyn Handler<Delivery>>,
    mut stop: watch::Receiver<bool>,
) {
    let end = Arc::new(watch::Sender::new(false));
    let feed_turns = tokio::spawn(feed_turns(store.clone(), queues.turns.clone(), queues.effects.clone(), end.clone()));
    let feed_effects = tokio::spawn(feed_effects(store.clone(), queues.effects.clone(), end.clone()));
    let (turns_out, effects_out) = (queues.turns_out.clone(), queues.effects_out.clone());
    // The lanes of this value would keep the channels open after the feeders are gone.
    drop(queues);
    let ended = end.subscribe();
    let told = tokio::spawn(async move {
        stopped(&mut stop).await;
        end.send_replace(true);
    });
    backend::work(turns_out.clone(), turns, effects_out.clone(), deliveries, ended).await;
    for task in [feed_turns, feed_effects, told] {
        task.abort();
    }
    give_back(&*store, &turns_out).await;
}

/// What a feeder does about an error: false when the store cannot work any more.
fn goes_on(what: &str, error: &StoreError, end: &watch::Sender<bool>) -> bool {
    match error {
        StoreError::Unavailable(_) => {
            tracing::warn!(%error, "could not claim {what}; trying again");
            true
        }
        StoreError::Fatal(_) | StoreError::Closed => {
            tracing::error!(%error, "the store cannot work any more; the engine ends");
            end.send_replace(true);
            false
        }
    }
}

/// Frees customers whose batches no worker began.
async fn give_back(store: &dyn Store, turns: &backend::Shared<Vec<Claim>>) {
    let left: Vec<String> = backend::rest(turns).into_iter().flatten().map(|claim| claim.customer).collect();
    if !left.is_empty()
        && let Err(error) = store.release(left).await
    {
        tracing::warn!(%error, "could not give claimed customers back; they are claimed again after a restart");
    }
}

async fn feed_turns(store: Arc<dyn Store>, turns: Lane<Vec<Claim>>, effects: Lane<Delivery>, end: Arc<watch::Sender<bool>>) {
    let mut stop = end.subscribe();
    let mut backoff = Backoff::default();
    loop {
        let permit = tokio::select! {
            permit = turns.sender.reserve() => permit,
            () = stopped(&mut stop) => return,
        };
        let Ok(permit) = permit else { return };
        if effects.waiting() > EFFECTS_QUEUED_MAX / 2 {
            drop(permit);
            // Room comes back as workers take effects; this short look costs nothing beside them.
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        match store.claim(TURN_BATCH_CUSTOMERS).await {
            Ok(claims) if claims.is_empty() => {
                drop(permit);
                tokio::select! {
                    () = store.wait_for_work(Work::Turns) => {}
                    () = stopped(&mut stop) => return,
                }
            }
            Ok(claims) => {
                backoff.reset();
                permit.send(claims);
            }
            Err(error) => {
                drop(permit);
                if !goes_on("turns", &error, &end) {
                    return;
                }
                backoff.pause().await;
            }
        }
        if *stop.borrow() {
            return;
        }
    }
}

async fn feed_effects(store: Arc<dyn Store>, effects: Lane<Delivery>, end: Arc<watch::Sender<bool>>) {
    let mut stop = end.subscribe();
    let mut backoff = Backoff::default();
    loop {
        let free = EFFECTS_QUEUED_MAX.saturating_sub(effects.waiting()).clamp(1, 64);
        match store.claim_effects(free).await {
            Ok(deliveries) if deliveries.is_empty() => {
                tokio::select! {
                    () = store.wait_for_work(Work::Effects) => {}
                    () = stopped(&mut stop) => return,
                }
            }
            Ok(deliveries) => {
                backoff.reset();
                for delivery in deliveries {
                    if effects.sender.send(delivery).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                if !goes_on("effects", &error, &end) {
                    return;
                }
                backoff.pause().await;
            }
        }
        if *stop.borrow() {
            return;
        }
    }
}

/// Returns when the engine is to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody can say stop any more: the engine is going down.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Growing pauses.
#[derive(Default)]
struct Backoff {
    tries: u32,
}

impl Backoff {
    fn reset(&mut self) {
        self.tries = 0;
    }

    async fn pause(&mut self) {
        let ms = (20u64 << self.tries.min(10)).min(BACKOFF_MS_MAX);
        self.tries += 1;
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}
