//! A store that fails: between a worker and the real store (or the model of one), at every call.
//!
//! Before and after each call the worker may be interrupted by others, may die, may be told that the store
//! is not available although it did what it was asked, or although it did not. What the store answered is
//! shown to the judge in the very moment.

use super::bug::Bug;
use super::state::{Clock, Fate, Shared, State};
use autofunnel::effect::Outcome;
use autofunnel::event::address::Address;
use autofunnel::lang::time::Time;
use autofunnel::step::winner::Winner;
use autofunnel::store::applied::{Applied, Applying};
use autofunnel::store::pause::{Pausable, Pause};
use autofunnel::store::quantity::Quantity;
use autofunnel::store::read::{
    Asked, Counted, Counts, Figure, KeptMessage, LiveSteps, OutboxRow, QuarantineRow, ReadSide, Reads, RunFilter, TimelineRow,
    Waiting,
};
use autofunnel::store::{
    Accepted, AddressRow, Begin, Bundle, Claim, Commit, Committed, CustomerRow, Delivery, NewInput, Record, Retry, RunRow,
    Saying, Store, StoreError, StoreResult, TokenRow, Work,
};
use futures_util::future::BoxFuture;
use std::future::{pending, poll_fn, ready};
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

/// Lets others come between.
pub async fn pause() {
    let mut asked = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

/// Waits for an answer here and now, so that a call is one step.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// An answer that is there already: what a store does in threads of its own must not decide who is next.
fn here<'a, T: Send + 'a>(asked: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
    Box::pin(ready(at_once(asked)))
}

/// See the module.
pub struct Faulty {
    /// The store behind it.
    pub store: Arc<dyn Store>,
    /// Whose.
    pub worker: usize,
    /// Shared by everybody.
    pub shared: Shared,
    /// The machine's clock.
    pub clock: Clock,
}

impl Faulty {
    /// What everybody shares.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap()
    }

    /// Others may come between here.
    async fn gap(&self) {
        let pauses = {
            let mut state = self.state();
            let rate = state.rates.pause;
            state.chance(rate)
        };
        if pauses {
            pause().await;
        }
    }

    async fn run<'a, T>(
        &'a self,
        call: &'static str,
        may_lose: bool,
        done: impl FnOnce() -> BoxFuture<'a, StoreResult<T>>,
        seen: impl FnOnce(&mut State, &mut T, bool),
    ) -> StoreResult<T> {
        self.gap().await;
        let fate = self.state().fate(call, self.worker, (self.clock)(), may_lose);
        match fate {
            Fate::DiedBefore => pending().await,
            Fate::Failed => return Err(StoreError::Unavailable("a planned fault".to_owned())),
            Fate::Done | Fate::Lost | Fate::DiedAfter => {}
        }
        let mut answer = at_once(done());
        if let Ok(answer) = &mut answer {
            seen(&mut self.state(), answer, fate == Fate::Lost);
        }
        self.gap().await;
        match fate {
            Fate::DiedAfter => pending().await,
            Fate::Lost => Err(StoreError::Unavailable("a planned loss of the answer".to_owned())),
            _ => answer,
        }
    }
}

impl Store for Faulty {
    fn now(&self) -> Time {
        self.store.now()
    }

    fn accept(&self, inputs: Vec<NewInput>) -> BoxFuture<'_, StoreResult<Vec<Accepted>>> {
        Box::pin(async move {
            let told = inputs.clone();
            let done = || self.store.accept(inputs);
            self.run("accept", true, done, |state, answers, _| {
                let now = self.store.now();
                state.accepted(now, &told, answers);
            })
            .await
        })
    }

    fn claim(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<Claim>>> {
        Box::pin(async move {
            let done = || self.store.claim(max);
            self.run("claim", !self.state_is_embedded(), done, |state, claims, lost| {
                for claim in claims.iter_mut() {
                    state.claimed(self.worker, claim, false);
                    state.misread(claim);
                    if lost {
                        state.lost_claims.push(claim.customer.clone());
                    }
                }
            })
            .await
        })
    }

    fn take(&self, customer: String) -> BoxFuture<'_, StoreResult<Option<Claim>>> {
        Box::pin(async move {
            let done = || self.store.take(customer);
            self.run("take", !self.state_is_embedded(), done, |state, claim, lost| {
                if let Some(claim) = claim {
                    state.claimed(self.worker, claim, true);
                    state.misread(claim);
                    if lost {
                        state.lost_claims.push(claim.customer.clone());
                    }
                }
            })
            .await
        })
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, StoreResult<Vec<Committed>>> {
        Box::pin(async move {
            if self.state().is_deadly(self.worker, &commits) {
                return pending().await;
            }
            let told = commits.clone();
            let done = || self.store.commit(commits);
            self.run("commit", !self.state_is_embedded(), done, |state, answers, lost| {
                let now = self.store.now();
                for (commit, answer) in told.into_iter().zip(answers.iter()) {
                    if lost && *answer == Committed::Done {
                        let handed = commit.effects.iter().filter(|_| commit.hand_over);
                        state.lost_effects.extend(handed.map(|effect| (self.worker, effect.id.clone(), 0)));
                        if state.bug == Some(Bug::AppliedTwice) {
                            let again = Commit { base: commit.base + 1, ..commit.clone() };
                            let _applied = at_once(self.store.commit(vec![again]));
                        }
                    }
                    state.committed(self.worker, now, commit, *answer, lost);
                }
            })
            .await
        })
    }

    fn release(&self, customers: Vec<String>) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let done = || self.store.release(customers);
            self.run("release", true, done, |_, (), _| {}).await
        })
    }

    fn fault(&self, customer: String, seq: Option<u64>, cause: String) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let done = || self.store.fault(customer, seq, cause);
            self.run("fault", true, done, |state, (), _| state.put_aside(&*self.store)).await
        })
    }

    fn unquarantine(&self, customer: String, seq: u64, fate: autofunnel::store::Fate) -> BoxFuture<'_, StoreResult<bool>> {
        here(self.store.unquarantine(customer, seq, fate))
    }

    fn claim_effects(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<Delivery>>> {
        Box::pin(async move {
            let done = || self.store.claim_effects(max);
            self.run("claim_effects", !self.state_is_embedded(), done, |state, deliveries, lost| {
                let now = self.store.now();
                for delivery in deliveries.iter() {
                    state.handed_out(self.worker, now, delivery, lost);
                    if lost {
                        state.lost_effects.push((self.worker, delivery.effect.id.clone(), delivery.ticket));
                    }
                }
            })
            .await
        })
    }

    fn begin(&self, effect: String, ticket: u64, body_digest: Vec<u8>) -> BoxFuture<'_, StoreResult<Begin>> {
        Box::pin(async move {
            let (id, digest) = (effect.clone(), body_digest.clone());
            let done = || self.store.begin(effect, ticket, body_digest);
            self.run("begin", true, done, |state, begun, _| {
                let now = self.store.now();
                state.begun((self.worker, ticket), now, &id, digest, begun);
            })
            .await
        })
    }

    fn retry(&self, retry: Retry) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let told = retry.clone();
            let done = || self.store.retry(retry);
            self.run("retry", true, done, |state, (), _| state.put_back(self.worker, &told)).await
        })
    }

    fn settle(&self, effect: String, customer: String, outcome: Outcome) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let (id, told) = (effect.clone(), outcome.clone());
            let done = || self.store.settle(effect, customer, outcome);
            self.run("settle", true, done, |state, (), _| {
                let now = self.store.now();
                state.settled(now, &id, told);
            })
            .await
        })
    }

    fn say(&self, address: Address, saying: Saying) -> BoxFuture<'_, StoreResult<AddressRow>> {
        here(self.store.say(address, saying))
    }

    fn address(&self, address: Address) -> BoxFuture<'_, StoreResult<AddressRow>> {
        here(self.store.address(address))
    }

    fn keep_reference(&self, reference: Address, effect: String) -> BoxFuture<'_, StoreResult<()>> {
        here(self.store.keep_reference(reference, effect))
    }

    fn reference(&self, reference: Address) -> BoxFuture<'_, StoreResult<Option<String>>> {
        here(self.store.reference(reference))
    }

    fn link_key(&self) -> BoxFuture<'_, StoreResult<Vec<u8>>> {
        here(self.store.link_key())
    }

    fn keep_message(&self, message: KeptMessage) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let id = message.id.clone();
            let done = || self.store.keep_message(message);
            self.run("keep", true, done, |state, (), _| state.kept(self.worker, &id)).await
        })
    }

    fn drop_effect(&self, effect: String, customer: String, why: String) -> BoxFuture<'_, StoreResult<bool>> {
        here(self.store.drop_effect(effect, customer, why))
    }

    fn hasten(&self, effect: String, customer: String) -> BoxFuture<'_, StoreResult<bool>> {
        here(self.store.hasten(effect, customer))
    }

    fn pause(&self, pause: Pause) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let told = pause.clone();
            let done = || self.store.pause(pause);
            self.run("pause", true, done, |state, (), _| {
                state.report.add("budget", "used up");
                state.paused(&told);
            })
            .await
        })
    }

    fn resume(&self, of: Pausable) -> BoxFuture<'_, StoreResult<bool>> {
        here(self.store.resume(of))
    }

    fn pauses(&self) -> BoxFuture<'_, StoreResult<Vec<Pause>>> {
        here(self.store.pauses())
    }

    fn take_quantity(&self, quantity: Quantity, least: i64, want: i64) -> BoxFuture<'_, StoreResult<i64>> {
        Box::pin(async move {
            let done = || self.store.take_quantity(quantity, least, want);
            self.run("take_quantity", true, done, |_, _, _| {}).await
        })
    }

    fn return_quantity(&self, name: String, count: i64) -> BoxFuture<'_, StoreResult<()>> {
        here(self.store.return_quantity(name, count))
    }

    fn put_definitions(&self, hash: String, funnels: Vec<(String, String)>, bundle: Vec<u8>) -> BoxFuture<'_, StoreResult<()>> {
        here(self.store.put_definitions(hash, funnels, bundle))
    }

    fn definitions(&self) -> BoxFuture<'_, StoreResult<Vec<Bundle>>> {
        here(self.store.definitions())
    }

    fn apply(&self, applying: Applying) -> BoxFuture<'_, StoreResult<bool>> {
        here(self.store.apply(applying))
    }

    fn applied(&self) -> BoxFuture<'_, StoreResult<Vec<Applied>>> {
        here(self.store.applied())
    }

    fn choose(&self, winner: Winner) -> BoxFuture<'_, StoreResult<bool>> {
        here(self.store.choose(winner))
    }

    fn winners(&self) -> BoxFuture<'_, StoreResult<Vec<Winner>>> {
        here(self.store.winners())
    }

    fn bundle(&self, hash: String) -> BoxFuture<'_, StoreResult<Option<Vec<u8>>>> {
        here(self.store.bundle(hash))
    }

    fn wake_unjudged(&self, hash: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        here(self.store.wake_unjudged(hash, after, max))
    }

    fn put_token(&self, token: TokenRow) -> BoxFuture<'_, StoreResult<()>> {
        here(self.store.put_token(token))
    }

    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<TokenRow>>> {
        here(self.store.tokens())
    }

    fn wait_for_work(&self, which: Work) -> BoxFuture<'_, ()> {
        self.store.wait_for_work(which)
    }

    fn prune(&self) -> BoxFuture<'_, StoreResult<u64>> {
        here(self.store.prune())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        here(self.store.close())
    }
}

impl Faulty {
    fn state_is_embedded(&self) -> bool {
        self.state().embedded
    }
}

impl ReadSide for Faulty {
    fn timeline(&self, customer: String, before: Option<u64>, max: usize) -> BoxFuture<'_, StoreResult<Vec<TimelineRow>>> {
        here(self.store.timeline(customer, before, max))
    }

    fn facts_after(&self, after: u64, max: usize) -> BoxFuture<'_, StoreResult<Vec<(String, TimelineRow)>>> {
        here(self.store.facts_after(after, max))
    }

    fn members(&self, segment: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        here(self.store.members(segment, max))
    }

    fn customers(&self, query: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<CustomerRow>>> {
        here(self.store.customers(query, after, max))
    }

    fn runs(&self, filter: RunFilter, max: usize) -> BoxFuture<'_, StoreResult<Vec<RunRow>>> {
        here(self.store.runs(filter, max))
    }

    fn live_steps(&self) -> BoxFuture<'_, StoreResult<Vec<LiveSteps>>> {
        here(self.store.live_steps())
    }

    fn figures(&self, from: String, to: String) -> BoxFuture<'_, StoreResult<Vec<Figure>>> {
        here(self.store.figures(from, to))
    }

    fn stats(&self, asked: Asked) -> BoxFuture<'_, StoreResult<Counted>> {
        self.store.stats(asked)
    }

    fn messages(&self, customer: String, before: Option<Time>, max: usize) -> BoxFuture<'_, StoreResult<Vec<KeptMessage>>> {
        here(self.store.messages(customer, before, max))
    }

    fn message(&self, id: String) -> BoxFuture<'_, StoreResult<Option<KeptMessage>>> {
        here(self.store.message(id))
    }
}

impl Reads for Faulty {
    fn record(&self, customer: String) -> BoxFuture<'_, StoreResult<Option<Record>>> {
        here(self.store.record(customer))
    }

    fn outbox(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<OutboxRow>>> {
        here(self.store.outbox(max))
    }

    fn waiting(&self, effect: String, customer: String) -> BoxFuture<'_, StoreResult<Option<Waiting>>> {
        here(self.store.waiting(effect, customer))
    }

    fn quarantine(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<QuarantineRow>>> {
        here(self.store.quarantine(max))
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Counts>> {
        here(self.store.counts())
    }
}
