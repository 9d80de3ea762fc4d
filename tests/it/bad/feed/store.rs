//! A store that takes everything, keeps what it was last given until it is asked for, and knows nobody.

use autofunnel::effect::Outcome;
use autofunnel::event::address::Address;
use autofunnel::lang::time::Time;
use autofunnel::step::winner::Winner;
use autofunnel::store::applied::{Applied, Applying};
use autofunnel::store::pause::{Pausable, Pause};
use autofunnel::store::quantity::Quantity;
use autofunnel::store::read::*;
use autofunnel::store::*;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex};

/// See the module.
#[derive(Default)]
pub struct Sink(Mutex<Vec<NewInput>>);

impl Sink {
    /// A store.
    pub fn new() -> Arc<Sink> {
        Arc::new(Sink::default())
    }

    /// What it took since it was last asked.
    pub fn taken(&self) -> Vec<NewInput> {
        std::mem::take(&mut *self.0.lock().expect("nothing panics while it is held"))
    }
}

/// The answer of a call to this store, which never waits.
pub fn at_once<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("this store never waits")
}

fn ready<T: Send + 'static>(answer: T) -> BoxFuture<'static, StoreResult<T>> {
    Box::pin(async move { Ok(answer) })
}

fn never<T: Send + 'static>() -> BoxFuture<'static, StoreResult<T>> {
    Box::pin(async { Err(StoreError::Fatal("no door asks this".to_owned())) })
}

impl ReadSide for Sink {
    fn timeline(&self, _customer: String, _before: Option<u64>, _max: usize) -> BoxFuture<'_, StoreResult<Vec<TimelineRow>>> {
        never()
    }

    fn facts_after(&self, _after: u64, _max: usize) -> BoxFuture<'_, StoreResult<Vec<(String, TimelineRow)>>> {
        never()
    }

    fn members(&self, _segment: String, _max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        never()
    }

    fn customers(&self, _query: String, _after: String, _max: usize) -> BoxFuture<'_, StoreResult<Vec<CustomerRow>>> {
        never()
    }

    fn runs(&self, _filter: RunFilter, _max: usize) -> BoxFuture<'_, StoreResult<Vec<RunRow>>> {
        never()
    }

    fn live_steps(&self) -> BoxFuture<'_, StoreResult<Vec<LiveSteps>>> {
        never()
    }

    fn figures(&self, _from: String, _to: String) -> BoxFuture<'_, StoreResult<Vec<Figure>>> {
        never()
    }

    fn stats(&self, _asked: Asked) -> BoxFuture<'_, StoreResult<Counted>> {
        never()
    }

    fn messages(&self, _customer: String, _before: Option<Time>, _max: usize) -> BoxFuture<'_, StoreResult<Vec<KeptMessage>>> {
        never()
    }

    fn message(&self, _id: String) -> BoxFuture<'_, StoreResult<Option<KeptMessage>>> {
        never()
    }
}

impl Reads for Sink {
    fn record(&self, _customer: String) -> BoxFuture<'_, StoreResult<Option<Record>>> {
        ready(None)
    }

    fn outbox(&self, _max: usize) -> BoxFuture<'_, StoreResult<Vec<OutboxRow>>> {
        never()
    }

    fn waiting(&self, _effect: String, _customer: String) -> BoxFuture<'_, StoreResult<Option<Waiting>>> {
        never()
    }

    fn quarantine(&self, _max: usize) -> BoxFuture<'_, StoreResult<Vec<QuarantineRow>>> {
        never()
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Counts>> {
        never()
    }
}

impl Store for Sink {
    fn now(&self) -> Time {
        super::sample::NOW
    }

    fn accept(&self, inputs: Vec<NewInput>) -> BoxFuture<'_, StoreResult<Vec<Accepted>>> {
        let answers = vec![Accepted::New; inputs.len()];
        *self.0.lock().expect("nothing panics while it is held") = inputs;
        ready(answers)
    }

    fn claim(&self, _max: usize) -> BoxFuture<'_, StoreResult<Vec<Claim>>> {
        never()
    }

    fn take(&self, _customer: String) -> BoxFuture<'_, StoreResult<Option<Claim>>> {
        never()
    }

    fn commit(&self, _commits: Vec<Commit>) -> BoxFuture<'_, StoreResult<Vec<Committed>>> {
        never()
    }

    fn release(&self, _customers: Vec<String>) -> BoxFuture<'_, StoreResult<()>> {
        never()
    }

    fn fault(&self, _customer: String, _seq: Option<u64>, _cause: String) -> BoxFuture<'_, StoreResult<()>> {
        never()
    }

    fn unquarantine(&self, _customer: String, _seq: u64, _fate: Fate) -> BoxFuture<'_, StoreResult<bool>> {
        never()
    }

    fn claim_effects(&self, _max: usize) -> BoxFuture<'_, StoreResult<Vec<Delivery>>> {
        never()
    }

    fn begin(&self, _effect: String, _ticket: u64, _body_digest: Vec<u8>) -> BoxFuture<'_, StoreResult<Begin>> {
        never()
    }

    fn retry(&self, _retry: Retry) -> BoxFuture<'_, StoreResult<()>> {
        never()
    }

    fn settle(&self, _effect: String, _customer: String, _outcome: Outcome) -> BoxFuture<'_, StoreResult<()>> {
        never()
    }

    fn drop_effect(&self, _effect: String, _customer: String, _why: String) -> BoxFuture<'_, StoreResult<bool>> {
        never()
    }

    fn hasten(&self, _effect: String, _customer: String) -> BoxFuture<'_, StoreResult<bool>> {
        never()
    }

    fn pause(&self, _pause: Pause) -> BoxFuture<'_, StoreResult<()>> {
        never()
    }

    fn resume(&self, _of: Pausable) -> BoxFuture<'_, StoreResult<bool>> {
        never()
    }

    fn pauses(&self) -> BoxFuture<'_, StoreResult<Vec<Pause>>> {
        never()
    }

    fn take_quantity(&self, _quantity: Quantity, _least: i64, _want: i64) -> BoxFuture<'_, StoreResult<i64>> {
        never()
    }

    fn return_quantity(&self, _name: String, _count: i64) -> BoxFuture<'_, StoreResult<()>> {
        never()
    }

    fn put_definitions(
        &self,
        _hash: String,
        _funnels: Vec<(String, String)>,
        _bundle: Vec<u8>,
    ) -> BoxFuture<'_, StoreResult<()>> {
        never()
    }

    fn definitions(&self) -> BoxFuture<'_, StoreResult<Vec<Bundle>>> {
        never()
    }

    fn apply(&self, _applying: Applying) -> BoxFuture<'_, StoreResult<bool>> {
        never()
    }

    fn applied(&self) -> BoxFuture<'_, StoreResult<Vec<Applied>>> {
        never()
    }

    fn choose(&self, _winner: Winner) -> BoxFuture<'_, StoreResult<bool>> {
        never()
    }

    fn winners(&self) -> BoxFuture<'_, StoreResult<Vec<Winner>>> {
        never()
    }

    fn bundle(&self, _hash: String) -> BoxFuture<'_, StoreResult<Option<Vec<u8>>>> {
        never()
    }

    fn wake_unjudged(&self, _hash: String, _after: String, _max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        never()
    }

    fn put_token(&self, _token: TokenRow) -> BoxFuture<'_, StoreResult<()>> {
        never()
    }

    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<TokenRow>>> {
        never()
    }

    fn say(&self, _address: Address, saying: Saying) -> BoxFuture<'_, StoreResult<AddressRow>> {
        let stops = if let Saying::Stop(stop) = saying { vec![stop] } else { Vec::new() };
        ready(AddressRow { holders: Vec::new(), stops })
    }

    fn address(&self, _address: Address) -> BoxFuture<'_, StoreResult<AddressRow>> {
        ready(AddressRow::default())
    }

    fn keep_reference(&self, _reference: Address, _effect: String) -> BoxFuture<'_, StoreResult<()>> {
        never()
    }

    fn reference(&self, _reference: Address) -> BoxFuture<'_, StoreResult<Option<String>>> {
        ready(None)
    }

    fn link_key(&self) -> BoxFuture<'_, StoreResult<Vec<u8>>> {
        never()
    }

    fn keep_message(&self, _message: KeptMessage) -> BoxFuture<'_, StoreResult<()>> {
        never()
    }

    fn wait_for_work(&self, _which: Work) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn prune(&self) -> BoxFuture<'_, StoreResult<u64>> {
        never()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
