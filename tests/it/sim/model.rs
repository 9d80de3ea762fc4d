//! The model as a store: what one worker holds of it, and the questions of the read side.

use super::truth::{Truth, is_live};
use crate::contract::{Stand, TestClock};
use autofunnel::effect::Outcome;
use autofunnel::event::address::Address;
use autofunnel::lang::time::Time;
use autofunnel::step::winner::Winner;
use autofunnel::store::applied::{Applied, Applying};
use autofunnel::store::pause::{Pausable, Pause};
use autofunnel::store::quantity::Quantity;
use autofunnel::store::read::{
    Asked, Counted, Counts, Figure, KeptMessage, LiveSteps, OutboxRow, PAGE_ROWS_MAX, QuarantineRow, ReadSide, Reads, RunFilter,
    TimelineRow, Waiting,
};
use autofunnel::store::{
    Accepted, AddressRow, Begin, Bundle, Claim, Commit, Committed, CustomerRow, Delivery, Fate, LINK_KEY_BYTES, NewInput, Record,
    Retry, RunRow, Saying, Store, StoreError, StoreResult, TokenRow, Work,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// Everybody's part of the model.
pub struct Model {
    truth: Mutex<Truth>,
    changed: Notify,
    epochs: AtomicU64,
}

impl Model {
    /// An empty one.
    pub fn new(truth: Truth) -> Arc<Model> {
        Arc::new(Model { truth: Mutex::new(truth), changed: Notify::new(), epochs: AtomicU64::new(0) })
    }

    /// The truth itself.
    pub fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap()
    }

    /// A worker's own way to it.
    pub fn join(self: &Arc<Model>) -> Arc<ModelStore> {
        let epoch = self.epochs.fetch_add(1, Ordering::SeqCst) + 1;
        Arc::new(ModelStore { model: self.clone(), epoch, closed: AtomicBool::new(false), dies: AtomicBool::new(true) })
    }
}

/// One worker's way to the model.
pub struct ModelStore {
    model: Arc<Model>,
    /// Its number.
    pub epoch: u64,
    closed: AtomicBool,
    dies: AtomicBool,
}

impl ModelStore {
    /// When it is dropped nobody notices at once: somebody fences its epoch later.
    pub fn die_unnoticed(&self) {
        self.dies.store(false, Ordering::SeqCst);
    }

    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Truth) -> T) -> BoxFuture<'_, StoreResult<T>> {
        ready(Ok(question(&self.model.truth()))).boxed()
    }

    fn call<T: Send + 'static>(&self, change: impl FnOnce(&mut Truth, u64) -> T) -> BoxFuture<'_, StoreResult<T>> {
        let mut truth = self.model.truth();
        let answer = if self.closed.load(Ordering::SeqCst) {
            Err(StoreError::Closed)
        } else if truth.is_fenced(self.epoch) {
            Err(StoreError::Fatal("this worker was presumed dead; start it anew".to_owned()))
        } else {
            Ok(change(&mut truth, self.epoch))
        };
        drop(truth);
        self.model.changed.notify_waiters();
        ready(answer).boxed()
    }
}

impl Drop for ModelStore {
    fn drop(&mut self) {
        if !self.closed.load(Ordering::SeqCst) && self.dies.load(Ordering::SeqCst) {
            self.model.truth().fence(self.epoch);
        }
    }
}

impl Store for ModelStore {
    fn now(&self) -> Time {
        self.model.truth().now()
    }

    fn accept(&self, inputs: Vec<NewInput>) -> BoxFuture<'_, StoreResult<Vec<Accepted>>> {
        self.call(|truth, _| truth.accept(inputs))
    }

    fn claim(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<Claim>>> {
        self.call(|truth, epoch| truth.claim(epoch, max))
    }

    fn take(&self, customer: String) -> BoxFuture<'_, StoreResult<Option<Claim>>> {
        self.call(|truth, epoch| truth.take(epoch, &customer))
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, StoreResult<Vec<Committed>>> {
        self.call(|truth, epoch| truth.commit(epoch, commits))
    }

    fn release(&self, customers: Vec<String>) -> BoxFuture<'_, StoreResult<()>> {
        self.call(|truth, epoch| truth.release(epoch, &customers))
    }

    fn fault(&self, customer: String, seq: Option<u64>, cause: String) -> BoxFuture<'_, StoreResult<()>> {
        self.call(|truth, epoch| truth.fault(epoch, &customer, seq, &cause))
    }

    fn unquarantine(&self, customer: String, seq: u64, fate: Fate) -> BoxFuture<'_, StoreResult<bool>> {
        self.call(|truth, _| truth.unquarantine(&customer, seq, fate))
    }

    fn claim_effects(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<Delivery>>> {
        self.call(|truth, epoch| truth.claim_effects(epoch, max))
    }

    fn begin(&self, effect: String, ticket: u64, body_digest: Vec<u8>) -> BoxFuture<'_, StoreResult<Begin>> {
        self.call(|truth, epoch| truth.begin(epoch, &effect, ticket, body_digest))
    }

    fn retry(&self, retry: Retry) -> BoxFuture<'_, StoreResult<()>> {
        self.call(|truth, epoch| truth.retry(epoch, retry))
    }

    fn settle(&self, effect: String, customer: String, outcome: Outcome) -> BoxFuture<'_, StoreResult<()>> {
        self.call(|truth, _| truth.settle(effect, customer, outcome))
    }

    fn drop_effect(&self, effect: String, customer: String, why: String) -> BoxFuture<'_, StoreResult<bool>> {
        self.call(|truth, _| truth.drop_effect(effect, customer, why))
    }

    fn hasten(&self, effect: String, _customer: String) -> BoxFuture<'_, StoreResult<bool>> {
        self.call(|truth, _| truth.hasten(&effect))
    }

    fn pause(&self, pause: Pause) -> BoxFuture<'_, StoreResult<()>> {
        self.call(|truth, _| truth.pause(pause))
    }

    fn resume(&self, of: Pausable) -> BoxFuture<'_, StoreResult<bool>> {
        self.call(|truth, _| truth.resume(&of))
    }

    fn pauses(&self) -> BoxFuture<'_, StoreResult<Vec<Pause>>> {
        self.ask(Truth::all_pauses)
    }

    fn take_quantity(&self, quantity: Quantity, least: i64, want: i64) -> BoxFuture<'_, StoreResult<i64>> {
        self.call(move |truth, _| truth.take_quantity(&quantity, least, want))
    }

    fn return_quantity(&self, name: String, count: i64) -> BoxFuture<'_, StoreResult<()>> {
        self.call(move |truth, _| truth.return_quantity(&name, count))
    }

    fn put_definitions(&self, hash: String, funnels: Vec<(String, String)>, bundle: Vec<u8>) -> BoxFuture<'_, StoreResult<()>> {
        self.call(|truth, _| truth.put_definitions(hash, funnels, bundle))
    }

    fn definitions(&self) -> BoxFuture<'_, StoreResult<Vec<Bundle>>> {
        self.ask(Truth::definitions)
    }

    fn apply(&self, applying: Applying) -> BoxFuture<'_, StoreResult<bool>> {
        self.call(|truth, _| truth.apply(applying))
    }

    fn applied(&self) -> BoxFuture<'_, StoreResult<Vec<Applied>>> {
        self.ask(|truth| truth.applied.iter().rev().cloned().collect())
    }

    fn choose(&self, winner: Winner) -> BoxFuture<'_, StoreResult<bool>> {
        self.call(|truth, _| truth.choose(winner))
    }

    fn winners(&self) -> BoxFuture<'_, StoreResult<Vec<Winner>>> {
        self.ask(|truth| truth.winners.clone())
    }

    fn bundle(&self, hash: String) -> BoxFuture<'_, StoreResult<Option<Vec<u8>>>> {
        self.ask(move |truth| truth.bundle(&hash))
    }

    fn wake_unjudged(&self, hash: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        self.call(|truth, _| truth.wake_unjudged(&hash, &after, max))
    }

    fn put_token(&self, token: TokenRow) -> BoxFuture<'_, StoreResult<()>> {
        self.call(|truth, _| drop(truth.tokens.insert(token.digest.clone(), token)))
    }

    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<TokenRow>>> {
        self.ask(|truth| truth.tokens.values().cloned().collect())
    }

    fn say(&self, address: Address, saying: Saying) -> BoxFuture<'_, StoreResult<AddressRow>> {
        self.call(|truth, _| truth.say(address, saying))
    }

    fn address(&self, address: Address) -> BoxFuture<'_, StoreResult<AddressRow>> {
        self.ask(|truth| truth.address(&address))
    }

    fn keep_reference(&self, reference: Address, effect: String) -> BoxFuture<'_, StoreResult<()>> {
        self.call(|truth, _| {
            truth.references.entry(reference).or_insert(effect);
        })
    }

    fn reference(&self, reference: Address) -> BoxFuture<'_, StoreResult<Option<String>>> {
        self.ask(|truth| truth.references.get(&reference).cloned())
    }

    fn link_key(&self) -> BoxFuture<'_, StoreResult<Vec<u8>>> {
        self.ask(|_| vec![7; LINK_KEY_BYTES])
    }

    fn keep_message(&self, message: KeptMessage) -> BoxFuture<'_, StoreResult<()>> {
        self.call(|truth, _| {
            if truth.messages.iter().all(|kept| kept.id != message.id) {
                truth.messages.push(message);
            }
        })
    }

    fn wait_for_work(&self, which: Work) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let changed = self.model.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.closed.load(Ordering::SeqCst) || self.model.truth().has_work(which) {
                    return;
                }
                changed.await;
            }
        })
    }

    fn prune(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.call(|truth, _| truth.prune())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        if !self.closed.swap(true, Ordering::SeqCst) {
            self.model.truth().leave(self.epoch);
        }
        self.model.changed.notify_waiters();
        ready(()).boxed()
    }
}

/// The newest first, at most so many.
fn page<T>(mut rows: Vec<T>, newest_first: bool, max: usize) -> Vec<T> {
    if newest_first {
        rows.reverse();
    }
    rows.truncate(max.min(PAGE_ROWS_MAX));
    rows
}

impl ReadSide for ModelStore {
    fn timeline(&self, customer: String, before: Option<u64>, max: usize) -> BoxFuture<'_, StoreResult<Vec<TimelineRow>>> {
        self.ask(|truth| {
            let hers =
                truth.facts.iter().filter(|told| told.customer == customer && before.is_none_or(|before| told.seq < before));
            let rows = hers.map(|told| TimelineRow { seq: told.seq, index: told.index, fact: told.fact.clone() }).collect();
            page(rows, true, max)
        })
    }

    fn facts_after(&self, after: u64, max: usize) -> BoxFuture<'_, StoreResult<Vec<(String, TimelineRow)>>> {
        self.ask(|truth| {
            let later = truth.facts.iter().filter(|told| told.seq > after);
            let row = |told: &super::truth::Told| TimelineRow { seq: told.seq, index: told.index, fact: told.fact.clone() };
            page(later.map(|told| (told.customer.clone(), row(told))).collect(), false, max)
        })
    }

    fn members(&self, segment: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        self.ask(|truth| {
            let inside = truth.rows.iter().filter(|(_, row)| row.index.segments.contains(&segment));
            page(inside.map(|(id, _)| id.clone()).collect(), false, max)
        })
    }

    fn customers(&self, query: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<CustomerRow>>> {
        self.ask(|truth| {
            let query = query.to_lowercase();
            let begins = |text: &String| text.to_lowercase().starts_with(&query);
            let matches = |row: &CustomerRow| [&row.id, &row.name, &row.email, &row.phone].into_iter().any(begins);
            let rows = truth.rows.iter().filter(|(id, row)| **id > after && matches(&row.index));
            page(rows.map(|(_, row)| row.index.clone()).collect(), false, max)
        })
    }

    fn runs(&self, filter: RunFilter, max: usize) -> BoxFuture<'_, StoreResult<Vec<RunRow>>> {
        self.ask(|truth| {
            let fits = |asked: &str, is: &str| asked.is_empty() || asked == is;
            let wanted = |run: &&RunRow| {
                fits(&filter.customer, &run.customer) && fits(&filter.funnel, &run.funnel) && fits(&filter.state, &run.state)
            };
            let mut rows: Vec<RunRow> = truth.runs.values().filter(wanted).cloned().collect();
            rows.sort_by_key(|run| run.entered);
            page(rows, true, max)
        })
    }

    fn live_steps(&self) -> BoxFuture<'_, StoreResult<Vec<LiveSteps>>> {
        self.ask(Truth::live_steps)
    }

    fn figures(&self, from: String, to: String) -> BoxFuture<'_, StoreResult<Vec<Figure>>> {
        self.ask(|truth| {
            let days = truth.figures.iter().filter(|((day, ..), _)| (&from..=&to).contains(&day));
            let figure = |(key, sums): (&super::truth::FigureKey, &(i64, i64))| {
                let (day, [funnel, version, step, variant, what, reason]) = key.clone();
                Figure { day, funnel, version, step, variant, what, reason, count: sums.0, amount: sums.1 }
            };
            days.map(figure).collect()
        })
    }

    fn stats(&self, _asked: Asked) -> BoxFuture<'_, StoreResult<Counted>> {
        self.ask(|_| Counted::default())
    }

    fn messages(&self, customer: String, before: Option<Time>, max: usize) -> BoxFuture<'_, StoreResult<Vec<KeptMessage>>> {
        self.ask(|truth| {
            let hers = |message: &&KeptMessage| customer.is_empty() || message.customer == customer;
            let then = |message: &&KeptMessage| before.is_none_or(|before| message.at < before);
            let mut rows: Vec<KeptMessage> = truth.messages.iter().filter(hers).filter(then).cloned().collect();
            rows.sort_by_key(|message| message.at);
            page(rows, true, max)
        })
    }

    fn message(&self, id: String) -> BoxFuture<'_, StoreResult<Option<KeptMessage>>> {
        self.ask(|truth| truth.messages.iter().find(|message| message.id == id).cloned())
    }
}

impl Reads for ModelStore {
    fn record(&self, customer: String) -> BoxFuture<'_, StoreResult<Option<Record>>> {
        self.ask(|truth| truth.rows.get(&customer).map(|row| row.record.clone()))
    }

    fn outbox(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<OutboxRow>>> {
        self.ask(|truth| {
            let mut rows: Vec<OutboxRow> = Vec::new();
            for out in truth.outbox.values() {
                let (id, customer, why) = (out.effect.id.clone(), out.effect.customer.clone(), out.why.clone());
                rows.push(OutboxRow { id, customer, due: out.due, attempts: out.attempts, why });
            }
            rows.sort_by_key(|row| row.due);
            page(rows, false, max)
        })
    }

    fn waiting(&self, effect: String, customer: String) -> BoxFuture<'_, StoreResult<Option<Waiting>>> {
        self.ask(|truth| truth.waiting_for(&effect, &customer))
    }

    fn quarantine(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<QuarantineRow>>> {
        self.ask(|truth| page(truth.quarantine.clone(), true, max))
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Counts>> {
        self.ask(|truth| {
            let (mut runs, mut segments) = (BTreeMap::new(), BTreeMap::new());
            for run in truth.runs.values().filter(|run| is_live(run)) {
                *runs.entry((run.funnel.clone(), run.state.clone())).or_insert(0) += 1;
            }
            for segment in truth.rows.values().flat_map(|row| &row.index.segments) {
                *segments.entry(segment.clone()).or_insert(0) += 1;
            }
            let (inbox, outbox) = truth.sizes();
            Counts {
                customers: truth.rows.len() as u64,
                inbox: inbox as u64,
                outbox: outbox as u64,
                quarantined: truth.quarantine.len() as u64,
                live_runs: runs.into_iter().map(|((funnel, state), count)| (funnel, state, count)).collect(),
                segments: segments.into_iter().collect(),
            }
        })
    }
}

/// The model under the contract suite: one worker at a time, as with a file.
pub struct ModelStand {
    clock: TestClock,
    model: Arc<Model>,
    open: Mutex<std::sync::Weak<ModelStore>>,
}

impl ModelStand {
    /// An empty one.
    pub fn new() -> ModelStand {
        let clock = TestClock::new();
        let shown = clock.clone();
        let model = Model::new(Truth::new(Arc::new(move || shown.now())));
        ModelStand { clock, model, open: Mutex::default() }
    }
}

impl Stand for ModelStand {
    fn open(&self) -> StoreResult<Arc<dyn Store>> {
        let mut open = self.open.lock().unwrap();
        if open.upgrade().is_some_and(|store| !store.closed.load(Ordering::SeqCst)) {
            return Err(StoreError::Fatal("the model is in use by another process".to_owned()));
        }
        let store = self.model.join();
        *open = Arc::downgrade(&store);
        Ok(store)
    }

    fn clock(&self) -> &TestClock {
        &self.clock
    }
}
