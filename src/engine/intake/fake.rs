//! A store in memory for tests of the doors: it de-duplicates what it accepts and answers reads from
//! what a test put there. It runs no turns.

use super::{Intake, Shared, World};
use crate::effect::Outcome;
use crate::event::address::Address;
use crate::funnel::settings::{MembershipOwner, Settings};
use crate::lang::cel::Type;
use crate::lang::diag::Faults;
use crate::lang::node;
use crate::lang::time::{Span, Time};
use crate::money::Currency;
use crate::source::Source;
use crate::step::winner::Winner;
use crate::store::applied::{Applied, Applying};
use crate::store::pause::{Pausable, Pause};
use crate::store::quantity::Quantity;
use crate::store::read::*;
use crate::store::*;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Settings of a small coffee roastery.
pub fn settings() -> Settings {
    Settings {
        workspace: "Harbour Coffee".to_owned(),
        zone: chrono_tz::Europe::Berlin,
        currency: Currency::parse("EUR").unwrap(),
        create_unknown: true,
        profile: [("favourite_roast".to_owned(), Type::Text), ("cups".to_owned(), Type::Number)].into(),
        membership_owner: MembershipOwner::Events,
        events: [(
            "tasting_booked".to_owned(),
            Type::Object(vec![("seats".to_owned(), Type::Number), ("city".to_owned(), Type::Text)]),
        )]
        .into(),
        keep: Span::days(400),
        quiet_hours: None,
        caps: Vec::new(),
        offers: None,
        holdout: None,
        channels: BTreeMap::new(),
        address: None,
        clicks: Vec::new(),
        loyalty: None,
        loyalty_store: None,
        providers: BTreeMap::new(),
        provider_variables: BTreeMap::new(),
        sources: BTreeMap::new(),
        point_value: None,
        budgets: Vec::new(),
        services: BTreeMap::new(),
    }
}

/// A workspace with two funnels and one membership.
pub fn world() -> World {
    World {
        hash: "h1".to_owned(),
        settings: settings(),
        funnels: [("welcome".to_owned(), false), ("invited".to_owned(), true)].into(),
        memberships: ["roastery-club".to_owned()].into(),
        sources: [source("shop", "{ bearer: \"${env:AUTOFUNNEL_SHOP}\" }"), source("open", "none")].into(),
    }
}

/// The token of the source `shop`.
pub const SHOP_TOKEN: &str = "a token of the shop, long enough";

/// A source that maps orders and, if they have one, their refunds.
fn source(name: &str, verify: &str) -> (String, Arc<Source>) {
    let yaml = format!(
        "verify: {verify}
map:
  - {{ when: body.kind == \"order\", event: purchase, id: body.id, customer: body.customer, time: body.at, properties: {{ amount: body.total }} }}
  - {{ when: has(body.refund), event: refund, id: body.refund.id, customer: body.customer, properties: {{ amount: body.refund.total }} }}
"
    );
    let mut faults = Faults::default();
    let node = node::parse("autofunnel.yaml", &yaml, &mut faults).expect("the source is YAML");
    let secrets: BTreeMap<String, String> = [("env:AUTOFUNNEL_SHOP".to_owned(), SHOP_TOKEN.to_owned())].into();
    let source = Source::compile(name, &node, &secrets, &mut faults);
    (name.to_owned(), Arc::new(source.unwrap_or_else(|| panic!("{:?}", faults.list()))))
}

/// An intake over that store and [`world`].
pub fn intake(store: &Arc<FakeStore>) -> Intake {
    Intake::new(store.clone(), Arc::new(Shared::new(world())))
}

/// See the module.
#[derive(Default)]
pub struct FakeStore {
    inputs: Mutex<Vec<NewInput>>,
    seen: Mutex<HashMap<(String, String, String), u32>>,
    failing: AtomicBool,
    /// What reads answer from.
    pub rows: Mutex<Rows>,
}

/// What reads answer from.
#[derive(Default)]
pub struct Rows {
    pub records: BTreeMap<String, Record>,
    pub timeline: Vec<(String, TimelineRow)>,
    pub customers: Vec<CustomerRow>,
    pub runs: Vec<RunRow>,
    pub figures: Vec<Figure>,
    /// What is answered when statistics are asked for.
    pub counted: Counted,
    pub messages: Vec<KeptMessage>,
    pub counts: Counts,
    pub quarantine: Vec<QuarantineRow>,
    pub fates: Vec<Fate>,
    pub tokens: Vec<TokenRow>,
    /// What is paused.
    pub pauses: Vec<Pause>,
    /// What waits.
    pub outbox: Vec<OutboxRow>,
    pub addresses: BTreeMap<Address, AddressRow>,
    pub references: BTreeMap<Address, String>,
}

impl FakeStore {
    pub fn new() -> Arc<FakeStore> {
        Arc::new(FakeStore::default())
    }

    /// Everything accepted so far.
    pub fn inputs(&self) -> Vec<NewInput> {
        self.inputs.lock().unwrap().clone()
    }

    /// From now on every call fails as unavailable.
    pub fn fail(&self) {
        self.failing.store(true, Ordering::Relaxed);
    }

    /// A customer that exists, with nothing known of her.
    pub fn know(&self, id: &str) {
        let document = crate::customer::codec::encode(&crate::customer::Customer::new(id, self.now()));
        self.rows.lock().unwrap().records.insert(id.to_owned(), Record { version: 1, document, ..Record::default() });
    }

    /// A customer with a run that is held by an effect of unknown fate.
    pub fn hold(&self, id: &str, effect: &str) {
        use crate::customer::{Customer, Run, RunState, codec};
        let mut customer = Customer::new(id, self.now());
        customer.runs.push(Run {
            id: 1,
            funnel: "f".to_owned(),
            version: "v".to_owned(),
            key: String::new(),
            entered: self.now(),
            anchor: self.now(),
            event: None,
            state: RunState::Effect { id: effect.to_owned() },
            at: 0,
            iteration: 1,
            decision: 0,
            deadline: None,
            ghost: false,
            put_off: None,
            tried: 0,
            by: 0,
            gifts: Vec::new(),
            best: None,
            look: None,
            released: false,
            unknown: Some("no answer".to_owned()),
            saga: None,
            results: Default::default(),
            goal: None,
            segments: Vec::new(),
            watch_until: None,
        });
        let document = codec::encode(&customer);
        self.rows.lock().unwrap().records.insert(id.to_owned(), Record { version: 1, document, ..Record::default() });
    }

    fn read<T: Send + 'static>(&self, answer: impl FnOnce(&Rows) -> T) -> BoxFuture<'_, StoreResult<T>> {
        let answer = if self.failing.load(Ordering::Relaxed) {
            Err(StoreError::Unavailable("told to fail".to_owned()))
        } else {
            Ok(answer(&self.rows.lock().unwrap()))
        };
        Box::pin(async move { answer })
    }

    fn nothing<T: Send + 'static>(&self) -> BoxFuture<'_, StoreResult<T>> {
        Box::pin(async { Err(StoreError::Fatal("the fake store does not do this".to_owned())) })
    }
}

impl ReadSide for FakeStore {
    fn timeline(&self, customer: String, before: Option<u64>, max: usize) -> BoxFuture<'_, StoreResult<Vec<TimelineRow>>> {
        self.read(|rows| {
            let hers =
                rows.timeline.iter().rev().filter(|(id, row)| *id == customer && before.is_none_or(|before| row.seq < before));
            hers.take(max).map(|(_, row)| row.clone()).collect()
        })
    }

    fn facts_after(&self, _after: u64, _max: usize) -> BoxFuture<'_, StoreResult<Vec<(String, TimelineRow)>>> {
        self.nothing()
    }

    fn members(&self, segment: String, _max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        self.read(|rows| {
            let inside = rows.customers.iter().filter(|row| row.segments.contains(&segment));
            inside.map(|row| row.id.clone()).collect()
        })
    }

    fn customers(&self, query: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<CustomerRow>>> {
        self.read(|rows| {
            let found = rows
                .customers
                .iter()
                .filter(|row| row.id > after && (row.id.starts_with(&query) || row.name.starts_with(&query)));
            found.take(max).cloned().collect()
        })
    }

    fn runs(&self, filter: RunFilter, max: usize) -> BoxFuture<'_, StoreResult<Vec<RunRow>>> {
        self.read(|rows| {
            rows.runs.iter().filter(|run| filter.funnel.is_empty() || run.funnel == filter.funnel).take(max).cloned().collect()
        })
    }

    fn live_steps(&self) -> BoxFuture<'_, StoreResult<Vec<LiveSteps>>> {
        self.nothing()
    }

    fn figures(&self, from: String, to: String) -> BoxFuture<'_, StoreResult<Vec<Figure>>> {
        self.read(|rows| rows.figures.iter().filter(|figure| from <= figure.day && figure.day <= to).cloned().collect())
    }

    fn stats(&self, _asked: Asked) -> BoxFuture<'_, StoreResult<Counted>> {
        self.read(|rows| rows.counted.clone())
    }

    fn messages(&self, customer: String, _before: Option<Time>, max: usize) -> BoxFuture<'_, StoreResult<Vec<KeptMessage>>> {
        self.read(|rows| {
            rows.messages.iter().filter(|m| customer.is_empty() || m.customer == customer).take(max).cloned().collect()
        })
    }

    fn message(&self, id: String) -> BoxFuture<'_, StoreResult<Option<KeptMessage>>> {
        self.read(|rows| rows.messages.iter().find(|m| m.id == id).cloned())
    }
}

impl Reads for FakeStore {
    fn record(&self, customer: String) -> BoxFuture<'_, StoreResult<Option<Record>>> {
        self.read(|rows| rows.records.get(&customer).cloned())
    }

    fn outbox(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<OutboxRow>>> {
        self.read(move |rows| rows.outbox.iter().take(max).cloned().collect())
    }

    fn waiting(&self, _effect: String, _customer: String) -> BoxFuture<'_, StoreResult<Option<Waiting>>> {
        self.read(|_| None)
    }

    fn quarantine(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<QuarantineRow>>> {
        self.read(|rows| rows.quarantine.iter().take(max).cloned().collect())
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Counts>> {
        self.read(|rows| rows.counts.clone())
    }
}

impl Store for FakeStore {
    fn now(&self) -> Time {
        Time::parse("2027-03-01T10:00:00Z").unwrap()
    }

    fn accept(&self, inputs: Vec<NewInput>) -> BoxFuture<'_, StoreResult<Vec<Accepted>>> {
        self.read(|_| {
            let one = |input: NewInput| {
                let answer = match &input.id {
                    None => Accepted::New,
                    Some(id) => match self
                        .seen
                        .lock()
                        .unwrap()
                        .insert((input.source.clone(), input.customer.clone(), id.clone()), input.digest)
                    {
                        None => Accepted::New,
                        Some(digest) if digest == input.digest => Accepted::Duplicate,
                        Some(_) => Accepted::Conflict,
                    },
                };
                if answer == Accepted::New {
                    self.inputs.lock().unwrap().push(input);
                }
                answer
            };
            inputs.into_iter().map(one).collect()
        })
    }

    fn claim(&self, _max: usize) -> BoxFuture<'_, StoreResult<Vec<Claim>>> {
        self.nothing()
    }

    fn take(&self, _customer: String) -> BoxFuture<'_, StoreResult<Option<Claim>>> {
        self.nothing()
    }

    fn commit(&self, _commits: Vec<Commit>) -> BoxFuture<'_, StoreResult<Vec<Committed>>> {
        self.nothing()
    }

    fn release(&self, _customers: Vec<String>) -> BoxFuture<'_, StoreResult<()>> {
        self.nothing()
    }

    fn fault(&self, _customer: String, _seq: Option<u64>, _cause: String) -> BoxFuture<'_, StoreResult<()>> {
        self.nothing()
    }

    fn unquarantine(&self, customer: String, seq: u64, fate: Fate) -> BoxFuture<'_, StoreResult<bool>> {
        let found = {
            let mut rows = self.rows.lock().unwrap();
            let before = rows.quarantine.len();
            rows.quarantine.retain(|row| row.customer != customer || row.seq != seq);
            let found = rows.quarantine.len() < before;
            rows.fates.extend(found.then_some(fate));
            found
        };
        self.read(move |_| found)
    }

    fn claim_effects(&self, _max: usize) -> BoxFuture<'_, StoreResult<Vec<Delivery>>> {
        self.nothing()
    }

    fn begin(&self, _effect: String, _ticket: u64, _body_digest: Vec<u8>) -> BoxFuture<'_, StoreResult<Begin>> {
        self.nothing()
    }

    fn retry(&self, _retry: Retry) -> BoxFuture<'_, StoreResult<()>> {
        self.nothing()
    }

    fn settle(&self, _effect: String, _customer: String, _outcome: Outcome) -> BoxFuture<'_, StoreResult<()>> {
        self.nothing()
    }

    fn drop_effect(&self, effect: String, _customer: String, _why: String) -> BoxFuture<'_, StoreResult<bool>> {
        self.hasten(effect, String::new())
    }

    fn hasten(&self, effect: String, _customer: String) -> BoxFuture<'_, StoreResult<bool>> {
        self.read(move |rows| rows.outbox.iter().any(|row| row.id == effect))
    }

    fn pause(&self, pause: Pause) -> BoxFuture<'_, StoreResult<()>> {
        self.rows.lock().unwrap().pauses.push(pause);
        self.read(|_| ())
    }

    fn resume(&self, of: Pausable) -> BoxFuture<'_, StoreResult<bool>> {
        let mut rows = self.rows.lock().unwrap();
        let before = rows.pauses.len();
        rows.pauses.retain(|pause| pause.of != of);
        let found = rows.pauses.len() < before;
        drop(rows);
        self.read(move |_| found)
    }

    fn pauses(&self) -> BoxFuture<'_, StoreResult<Vec<Pause>>> {
        self.read(|rows| rows.pauses.clone())
    }

    fn take_quantity(&self, _quantity: Quantity, _least: i64, _want: i64) -> BoxFuture<'_, StoreResult<i64>> {
        self.nothing()
    }

    fn return_quantity(&self, _name: String, _count: i64) -> BoxFuture<'_, StoreResult<()>> {
        self.nothing()
    }

    fn put_definitions(
        &self,
        _hash: String,
        _funnels: Vec<(String, String)>,
        _bundle: Vec<u8>,
    ) -> BoxFuture<'_, StoreResult<()>> {
        self.nothing()
    }

    fn definitions(&self) -> BoxFuture<'_, StoreResult<Vec<(String, Vec<u8>)>>> {
        self.nothing()
    }

    fn apply(&self, _applying: Applying) -> BoxFuture<'_, StoreResult<bool>> {
        self.read(|_| false)
    }

    fn applied(&self) -> BoxFuture<'_, StoreResult<Vec<Applied>>> {
        self.nothing()
    }

    fn choose(&self, _winner: Winner) -> BoxFuture<'_, StoreResult<bool>> {
        self.read(|_| false)
    }

    fn winners(&self) -> BoxFuture<'_, StoreResult<Vec<Winner>>> {
        self.nothing()
    }

    fn bundle(&self, _hash: String) -> BoxFuture<'_, StoreResult<Option<Vec<u8>>>> {
        self.read(|_| None)
    }

    fn wake_unjudged(&self, _hash: String, _after: String, _max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        self.nothing()
    }

    fn put_token(&self, token: TokenRow) -> BoxFuture<'_, StoreResult<()>> {
        self.rows.lock().unwrap().tokens.push(token);
        self.read(|_| ())
    }

    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<TokenRow>>> {
        self.read(|rows| rows.tokens.clone())
    }

    fn say(&self, address: Address, saying: Saying) -> BoxFuture<'_, StoreResult<AddressRow>> {
        let mut rows = self.rows.lock().unwrap();
        let row = rows.addresses.entry(address).or_default();
        match saying {
            Saying::Stop(stop) => row.stops.push(stop),
            Saying::Soft { .. } => {}
            Saying::Lift { channel, only, .. } => {
                row.stops.retain(|stop| stop.channel != channel || !stop.kind.is_lifted(only));
            }
        }
        let row = row.clone();
        drop(rows);
        self.read(move |_| row)
    }

    fn address(&self, address: Address) -> BoxFuture<'_, StoreResult<AddressRow>> {
        self.read(|rows| rows.addresses.get(&address).cloned().unwrap_or_default())
    }

    fn keep_reference(&self, reference: Address, effect: String) -> BoxFuture<'_, StoreResult<()>> {
        self.rows.lock().unwrap().references.insert(reference, effect);
        self.read(|_| ())
    }

    fn reference(&self, reference: Address) -> BoxFuture<'_, StoreResult<Option<String>>> {
        self.read(|rows| rows.references.get(&reference).cloned())
    }

    fn link_key(&self) -> BoxFuture<'_, StoreResult<Vec<u8>>> {
        self.read(|_| vec![7; LINK_KEY_BYTES])
    }

    fn keep_message(&self, message: KeptMessage) -> BoxFuture<'_, StoreResult<()>> {
        self.rows.lock().unwrap().messages.push(message);
        self.read(|_| ())
    }

    fn wait_for_work(&self, _which: Work) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn prune(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.nothing()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
