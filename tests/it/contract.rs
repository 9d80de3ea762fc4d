//! The contract of every store: each sentence that the trait's documentation promises, as a test.
//!
//! A store joins by a [`Stand`] and one line of [`contract_suite`]. The clock is set by the tests; nobody
//! sleeps. Dropping a store without closing it stands for a process that was killed.

use autofunnel::effect::{Effect, EffectKind, Grant, OnUncertain, Outcome};
use autofunnel::event::{ConsentChange, Event, InputBody, ProfileChange};
use autofunnel::fact::{Fact, RunRef, What};
use autofunnel::lang::time::{DAY_MS, Span, Time};
use autofunnel::lang::value::{Fields, Value};
use autofunnel::store::read::{KeptMessage, RunFilter};
use autofunnel::store::{
    Accepted, Begin, CLAIM_INPUTS_MAX, Claim, Commit, Committed, CustomerRow, NewInput, QUARANTINE_AFTER, Retry, RunRow, Store,
    StoreError, StoreResult, TokenRow, Work,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The first instant of every test: 2027-03-01T09:00:00Z.
const START: i64 = 1_803_891_600_000;

/// How long a test waits for what must come before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that stands still until it is set.
#[derive(Clone)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// At the first instant.
    pub fn new() -> TestClock {
        TestClock(Arc::new(AtomicI64::new(START)))
    }

    /// What it shows.
    pub fn now(&self) -> Time {
        Time(self.0.load(Ordering::SeqCst))
    }

    fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// A place where one kind of store can be opened again and again over the same data.
pub trait Stand: Send + Sync {
    /// Opens the store; on the first call it is empty.
    fn open(&self) -> StoreResult<Arc<dyn Store>>;
    /// The clock that all its stores use.
    fn clock(&self) -> &TestClock;
}

/// Makes a test of each case for one kind of store.
macro_rules! contract_suite {
    ($module:ident, $stand:expr, [$($case:ident),* $(,)?]) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(&$stand).await;
                }
            )*
        }
    };
}

contract_suite!(
    sqlite,
    super::SqliteStand::new(),
    [
        an_accepted_input_outlives_the_process,
        a_second_delivery_is_known_even_after_a_restart,
        the_same_id_from_another_source_or_customer_is_another_event,
        inputs_come_in_the_order_of_acceptance,
        every_kind_of_input_comes_back_as_it_went_in,
        accepted_at_never_goes_back,
        a_claimed_customer_is_not_handed_out_again,
        two_claimers_never_share_a_customer,
        a_claim_has_bounds,
        a_claim_that_nobody_waits_for_is_taken_back,
        take_wants_a_free_customer_without_inputs,
        a_release_changes_nothing,
        a_commit_moves_the_version_by_one,
        a_commit_on_an_old_version_changes_nothing,
        the_account_stays_until_it_moves,
        only_consumed_inputs_leave_the_inbox,
        one_conflict_does_not_stop_another_commit,
        a_commit_is_void_when_its_effect_was_settled,
        a_settled_effect_is_answered_once,
        only_what_has_not_begun_can_be_withdrawn,
        effects_are_handed_out_once_and_when_due,
        a_handed_over_effect_is_its_committers_until_a_restart,
        begin_has_five_answers,
        begin_goes_on_again_after_the_turn,
        a_withdrawal_raises_the_gate_in_the_accept,
        the_gate_never_goes_down,
        what_was_being_sent_is_ambiguous_after_a_restart,
        an_ambiguous_retry_keeps_its_first_instant,
        the_first_body_digest_is_kept,
        wakes_come_in_order_and_before_inputs,
        many_wakes_of_one_instant_are_each_claimed_once,
        a_moved_wake_is_due_at_its_new_instant,
        waiting_ends_when_there_is_work,
        a_restart_hands_everything_out_anew,
        a_faulty_input_is_put_aside_after_three_faults,
        an_input_that_ends_the_process_is_put_aside,
        a_clean_close_leaves_no_suspects,
        a_fault_without_inputs_puts_the_wake_off,
        figures_sum_up_by_day,
        the_timeline_is_newest_first_and_pages_exactly,
        facts_follow_a_position,
        lists_find_customers_by_their_first_letters,
        runs_are_listed_by_funnel_and_state,
        counts_follow_every_change,
        an_erased_customer_leaves_nothing_but_the_mark,
        definitions_stay_while_a_live_run_names_them,
        the_scan_finds_who_was_judged_by_other_definitions,
        a_token_replaces_the_one_with_its_digest,
        a_message_is_kept_once,
        what_has_outlived_its_retention_goes,
        a_second_open_is_refused,
        a_closed_store_takes_nothing,
    ]
);

/// A database file in a folder of its own.
pub struct SqliteStand {
    folder: tempfile::TempDir,
    clock: TestClock,
}

impl SqliteStand {
    /// An empty one.
    pub fn new() -> SqliteStand {
        SqliteStand { folder: tempfile::tempdir().unwrap(), clock: TestClock::new() }
    }
}

impl Stand for SqliteStand {
    fn open(&self) -> StoreResult<Arc<dyn Store>> {
        let clock = self.clock.clone();
        let options = autofunnel::store::sqlite::Options::new(Arc::new(move || clock.now()));
        let store = autofunnel::store::sqlite::SqliteStore::open(&self.folder.path().join("state/engine.db"), options)?;
        Ok(store)
    }

    fn clock(&self) -> &TestClock {
        &self.clock
    }
}

// ---- what the cases are written with ----

fn open(stand: &dyn Stand) -> Arc<dyn Store> {
    stand.open().unwrap()
}

fn event(customer: &str, id: &str) -> NewInput {
    let event = Event {
        id: id.to_owned(),
        name: "purchase".to_owned(),
        time: Time(START),
        properties: Fields::from([("amount".to_owned(), Value::from(5))]),
        minor: Some(500),
        depth: 0,
    };
    NewInput {
        customer: customer.to_owned(),
        source: "shop".to_owned(),
        id: Some(id.to_owned()),
        digest: 7,
        body: InputBody::Event(event),
    }
}

fn withdrawal(customer: &str) -> NewInput {
    let no =
        ConsentChange { channel: "sms".to_owned(), topic: None, granted: false, source: "STOP".to_owned(), time: Time(START) };
    let body = InputBody::Profile(ProfileChange { consent: vec![no], ..ProfileChange::default() });
    NewInput { customer: customer.to_owned(), source: "api".to_owned(), id: None, digest: 0, body }
}

fn effect(customer: &str, n: u32) -> Effect {
    Effect {
        id: format!("{customer}/1/step/{n}"),
        customer: customer.to_owned(),
        run: 1,
        funnel: "welcome".to_owned(),
        version: "v1".to_owned(),
        step: "step".to_owned(),
        decided_at: Time(START),
        valid_until: None,
        gate: 0,
        on_uncertain: OnUncertain::Hold,
        kind: EffectKind::Grant(Grant {
            points: 10,
            reason: "welcome".to_owned(),
            active_after: Span::default(),
            expires_after: None,
            provider: None,
            variables: Fields::new(),
        }),
    }
}

fn fact(what: What, at: i64, amount: Option<i64>) -> Fact {
    let run = RunRef {
        funnel: "welcome".to_owned(),
        version: "v1".to_owned(),
        run: 1,
        step: "gift".to_owned(),
        variant: String::new(),
    };
    Fact { at: Time(at), what, about: "x".to_owned(), run: Some(run), why: "because".to_owned(), seen: vec![], amount }
}

fn run_row(customer: &str, run: u64, funnel: &str, version: &str, state: &str, entered: i64) -> RunRow {
    let (customer, funnel, version) = (customer.to_owned(), funnel.to_owned(), version.to_owned());
    RunRow {
        customer,
        run,
        funnel,
        version,
        state: state.to_owned(),
        step: "gift".to_owned(),
        entered: Time(entered),
        until: Some(Time(entered)),
    }
}

/// A commit that consumes all of a claim's inputs.
fn turn(claim: &Claim) -> Commit {
    Commit {
        customer: claim.customer.clone(),
        base: claim.record.version,
        document: format!("document {}", claim.record.version + 1).into_bytes(),
        consumed: claim.inputs.iter().map(|input| input.seq).collect(),
        gate: claim.record.gate,
        judged: "d1".to_owned(),
        index: CustomerRow { id: claim.customer.clone(), ..CustomerRow::default() },
        ..Commit::default()
    }
}

async fn accept(store: &Arc<dyn Store>, inputs: Vec<NewInput>) -> Vec<Accepted> {
    store.accept(inputs).await.unwrap()
}

async fn commit(store: &Arc<dyn Store>, commit: Commit) -> Committed {
    store.commit(vec![commit]).await.unwrap()[0]
}

async fn claim_one(store: &Arc<dyn Store>) -> Claim {
    let mut claims = store.claim(1).await.unwrap();
    assert_eq!(claims.len(), 1, "one customer was expected to be ready");
    claims.remove(0)
}

async fn claimed(store: &Arc<dyn Store>) -> Vec<String> {
    store.claim(64).await.unwrap().into_iter().map(|claim| claim.customer).collect()
}

/// A customer with a record.
async fn make(store: &Arc<dyn Store>, customer: &str) {
    make_with(store, customer, |_| {}).await;
}

/// A customer whose first commit is changed by `with`.
async fn make_with(store: &Arc<dyn Store>, customer: &str, with: impl FnOnce(&mut Commit)) {
    let claim = store.take(customer.to_owned()).await.unwrap().expect("nobody else uses her");
    let mut first = turn(&claim);
    with(&mut first);
    assert_eq!(commit(store, first).await, Committed::Done);
}

async fn take(store: &Arc<dyn Store>, customer: &str) -> Claim {
    store.take(customer.to_owned()).await.unwrap().expect("she is free and has no inputs")
}

async fn begin(store: &Arc<dyn Store>, effect: &Effect) -> Begin {
    store.begin(effect.id.clone(), vec![1]).await.unwrap()
}

fn accepted() -> Outcome {
    Outcome::Accepted { reference: Some("r".to_owned()), data: Fields::new() }
}

/// Asks a future once and lets it go.
async fn asked_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Whether a future is done when it is asked once.
async fn done_at_once(future: impl Future<Output = ()>) -> bool {
    asked_once(future).await.is_some()
}

// ---- the inbox ----

async fn an_accepted_input_outlives_the_process(stand: &dyn Stand) {
    let store = open(stand);
    assert_eq!(accept(&store, vec![event("anna", "1")]).await, vec![Accepted::New]);
    drop(store);
    let claim = claim_one(&open(stand)).await;
    assert_eq!((claim.customer.as_str(), claim.inputs.len(), claim.record.version), ("anna", 1, 0));
    assert_eq!(claim.inputs[0].input.accepted_at, Time(START));
    assert_eq!(claim.inputs[0].input.body, event("anna", "1").body);
}

async fn a_second_delivery_is_known_even_after_a_restart(stand: &dyn Stand) {
    let store = open(stand);
    let other = NewInput { digest: 8, ..event("anna", "1") };
    let answers = accept(&store, vec![event("anna", "1"), event("anna", "1"), other.clone()]).await;
    assert_eq!(answers, vec![Accepted::New, Accepted::Duplicate, Accepted::Conflict]);
    let claim = claim_one(&store).await;
    commit(&store, turn(&claim)).await;
    store.close().await;
    drop(store);
    let store = open(stand);
    assert_eq!(accept(&store, vec![event("anna", "1"), other]).await, vec![Accepted::Duplicate, Accepted::Conflict]);
    assert!(claimed(&store).await.is_empty(), "a second delivery fills no inbox");
}

async fn the_same_id_from_another_source_or_customer_is_another_event(stand: &dyn Stand) {
    let store = open(stand);
    let source = NewInput { source: "till".to_owned(), ..event("anna", "1") };
    let nameless = NewInput { id: None, ..event("anna", "1") };
    let inputs = vec![event("anna", "1"), source, event("bert", "1"), nameless.clone(), nameless];
    assert_eq!(accept(&store, inputs).await, vec![Accepted::New; 5]);
}

async fn inputs_come_in_the_order_of_acceptance(stand: &dyn Stand) {
    let store = open(stand);
    for n in 0..4 {
        accept(&store, vec![event("anna", &format!("{n}")), event("bert", &format!("{n}"))]).await;
        stand.clock().pass(1);
    }
    let claims = store.claim(64).await.unwrap();
    assert_eq!(claims.len(), 2);
    for claim in claims {
        let ids = claim.inputs.iter().map(|queued| match &queued.input.body {
            InputBody::Event(event) => event.id.clone(),
            other => panic!("{other:?}"),
        });
        assert_eq!(ids.collect::<Vec<_>>(), ["0", "1", "2", "3"]);
        assert!(claim.inputs.is_sorted_by_key(|queued| queued.seq));
        assert!(claim.inputs.is_sorted_by_key(|queued| queued.input.accepted_at));
    }
}

async fn every_kind_of_input_comes_back_as_it_went_in(stand: &dyn Stand) {
    let store = open(stand);
    let decimal = autofunnel::money::Dec::parse("10.5").unwrap();
    let rich = Event {
        properties: Fields::from([
            ("n".to_owned(), Value::Null),
            ("d".to_owned(), Value::Dec(decimal)),
            ("l".to_owned(), Value::List(vec![Value::Bool(true), Value::Time(Time(5)), Value::from("ж")])),
            ("m".to_owned(), Value::Map(Fields::from([("x".to_owned(), Value::from(-1))]))),
        ]),
        ..Event { id: "1".to_owned(), name: "e".to_owned(), time: Time(-5), properties: Fields::new(), minor: None, depth: 3 }
    };
    let gone = ProfileChange { membership: Some(None), import: true, ..ProfileChange::default() };
    let bodies = vec![
        InputBody::Event(rich.clone()),
        InputBody::History(rich),
        InputBody::Profile(gone),
        InputBody::Profile(ProfileChange::default()),
        InputBody::Enrol { funnel: "f".to_owned(), id: "i".to_owned(), properties: Fields::new() },
        InputBody::Result { effect: "e".to_owned(), outcome: accepted() },
        InputBody::Result { effect: "e".to_owned(), outcome: Outcome::Dead { why: "w".to_owned(), attempts: 3 } },
        InputBody::Stale { effect: "e".to_owned(), why: "w".to_owned() },
        InputBody::Erase,
    ];
    let inputs = bodies.iter().map(|body| NewInput { id: None, body: body.clone(), ..event("anna", "1") });
    accept(&store, inputs.collect()).await;
    let back: Vec<InputBody> = claim_one(&store).await.inputs.into_iter().map(|queued| queued.input.body).collect();
    assert_eq!(back, bodies);
}

async fn accepted_at_never_goes_back(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, vec![event("anna", "1")]).await;
    stand.clock().pass(-5_000);
    assert_eq!(store.now(), Time(START));
    accept(&store, vec![event("anna", "2")]).await;
    drop(store);
    let store = open(stand);
    accept(&store, vec![event("anna", "3")]).await;
    let mut times = Vec::new();
    // What was left behind by an unclean end may come in parts.
    while let Some(claim) = store.claim(1).await.unwrap().pop() {
        times.extend(claim.inputs.iter().map(|queued| queued.input.accepted_at));
        commit(&store, turn(&claim)).await;
    }
    assert_eq!(times, vec![Time(START); 3]);
}

// ---- claims ----

async fn a_claimed_customer_is_not_handed_out_again(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, vec![event("anna", "1")]).await;
    let claim = claim_one(&store).await;
    accept(&store, vec![event("anna", "2"), event("bert", "1")]).await;
    assert_eq!(claimed(&store).await, ["bert"]);
    assert_eq!(commit(&store, turn(&claim)).await, Committed::Done);
    let again = claim_one(&store).await;
    assert_eq!((again.customer.as_str(), again.inputs.len(), again.record.version), ("anna", 1, 1));
    assert!(again.inputs[0].seq > claim.inputs[0].seq);
}

async fn two_claimers_never_share_a_customer(stand: &dyn Stand) {
    let store = open(stand);
    for n in 0..300 {
        accept(&store, vec![event(&format!("c{n}"), "1")]).await;
    }
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let claims = store.claim(7).await.unwrap();
                    if claims.is_empty() {
                        return mine;
                    }
                    mine.extend(claims.into_iter().map(|claim| claim.customer));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    assert_eq!(all.len(), 300);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 300);
}

async fn a_claim_has_bounds(stand: &dyn Stand) {
    let store = open(stand);
    let many = (0..CLAIM_INPUTS_MAX + 5).map(|n| event("anna", &n.to_string()));
    accept(&store, many.collect()).await;
    accept(&store, (0..100).map(|n| event(&format!("c{n}"), "1")).collect()).await;
    assert!(store.claim(0).await.unwrap().is_empty());
    let claims = store.claim(1_000).await.unwrap();
    assert_eq!(claims.len(), 64);
    assert_eq!((claims[0].customer.as_str(), claims[0].inputs.len()), ("anna", CLAIM_INPUTS_MAX));
    assert_eq!(claims[0].now, Time(START));
}

async fn a_claim_that_nobody_waits_for_is_taken_back(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.effects = vec![effect("anna", 1)]).await;
    accept(&store, vec![event("anna", "1"), event("bert", "1")]).await;
    for _ in 0..20 {
        // Asked and given up, usually before the answer came.
        if let Some(claims) = asked_once(store.claim(64)).await {
            store.release(claims.unwrap().into_iter().map(|claim| claim.customer).collect()).await.unwrap();
        }
        if let Some(deliveries) = asked_once(store.claim_effects(64)).await {
            for delivery in deliveries.unwrap() {
                let back = Retry { effect: delivery.effect.id, due: Time(START), why: String::new(), ambiguous: false };
                store.retry(back).await.unwrap();
            }
        }
    }
    let (mut customers, mut effects) = (Vec::new(), Vec::new());
    let all = async {
        while customers.len() < 2 {
            customers.extend(claimed(&store).await);
        }
        while effects.is_empty() {
            effects.extend(store.claim_effects(64).await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("what was handed out to nobody comes back");
    assert_eq!((customers.len(), effects.len()), (2, 1));
}

async fn take_wants_a_free_customer_without_inputs(stand: &dyn Stand) {
    let store = open(stand);
    let claim = take(&store, "anna").await;
    assert_eq!((claim.record.version, claim.inputs.len()), (0, 0));
    assert!(store.take("anna".to_owned()).await.unwrap().is_none(), "she is claimed");
    store.release(vec!["anna".to_owned()]).await.unwrap();
    accept(&store, vec![event("anna", "1")]).await;
    assert!(store.take("anna".to_owned()).await.unwrap().is_none(), "she has an input");
    let claim = claim_one(&store).await;
    commit(&store, turn(&claim)).await;
    assert_eq!(take(&store, "anna").await.record.document, b"document 1");
}

async fn a_release_changes_nothing(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.wake = Some(Time(START))).await;
    accept(&store, vec![event("anna", "1")]).await;
    let first = claim_one(&store).await;
    store.release(vec!["anna".to_owned(), "nobody".to_owned()]).await.unwrap();
    let again = claim_one(&store).await;
    assert_eq!((again.record.version, again.inputs[0].seq), (first.record.version, first.inputs[0].seq));
    commit(&store, turn(&again)).await;
    assert!(claimed(&store).await.is_empty());
}

// ---- commits ----

async fn a_commit_moves_the_version_by_one(stand: &dyn Stand) {
    let store = open(stand);
    for version in 0..3 {
        let claim = take(&store, "anna").await;
        assert_eq!(claim.record.version, version);
        assert_eq!(commit(&store, turn(&claim)).await, Committed::Done);
    }
    drop(store);
    let record = open(stand).record("anna".to_owned()).await.unwrap().unwrap();
    assert_eq!((record.version, record.document.as_slice()), (3, b"document 3".as_slice()));
}

async fn a_commit_on_an_old_version_changes_nothing(stand: &dyn Stand) {
    let store = open(stand);
    make(&store, "anna").await;
    let claim = take(&store, "anna").await;
    assert_eq!(commit(&store, turn(&claim)).await, Committed::Done);
    accept(&store, vec![event("anna", "1")]).await;
    let seq = claim_one(&store).await.inputs[0].seq;
    let stale = Commit {
        consumed: vec![seq],
        effects: vec![effect("anna", 1)],
        facts: vec![fact(What::Entered, START, None)],
        runs: vec![run_row("anna", 1, "welcome", "v1", "waiting", START)],
        wake: Some(Time(START)),
        gate: 9,
        index: CustomerRow { id: "anna".to_owned(), segments: vec!["vip".to_owned()], ..CustomerRow::default() },
        ..turn(&claim)
    };
    for base in [0, 1, 3] {
        assert_eq!(commit(&store, Commit { base, ..stale.clone() }).await, Committed::Conflict, "base {base}");
        let claim = claim_one(&store).await;
        assert_eq!((claim.record.version, claim.inputs.len(), claim.record.gate), (2, 1, 0));
    }
    assert!(store.claim_effects(9).await.unwrap().is_empty());
    assert!(store.timeline("anna".to_owned(), None, 9).await.unwrap().is_empty());
    let counts = store.counts().await.unwrap();
    assert!(counts.live_runs.is_empty() && counts.segments.is_empty() && counts.outbox == 0 && counts.inbox == 1, "{counts:?}");
}

async fn the_account_stays_until_it_moves(stand: &dyn Stand) {
    let store = open(stand);
    make(&store, "anna").await;
    for (account, kept) in [(None, b"".as_slice()), (Some(b"10 points".to_vec()), b"10 points"), (None, b"10 points")] {
        let claim = take(&store, "anna").await;
        commit(&store, Commit { account, ..turn(&claim) }).await;
        assert_eq!(store.record("anna".to_owned()).await.unwrap().unwrap().account, kept);
    }
}

async fn only_consumed_inputs_leave_the_inbox(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, (0..3).map(|n| event("anna", &n.to_string())).collect()).await;
    let claim = claim_one(&store).await;
    let kept = claim.inputs[1].seq;
    let consumed = vec![claim.inputs[0].seq, claim.inputs[2].seq];
    commit(&store, Commit { consumed, ..turn(&claim) }).await;
    let rest = claim_one(&store).await;
    assert_eq!(rest.inputs.iter().map(|queued| queued.seq).collect::<Vec<_>>(), [kept]);
    drop(store);
    assert_eq!(claim_one(&open(stand)).await.inputs[0].seq, kept);
}

async fn one_conflict_does_not_stop_another_commit(stand: &dyn Stand) {
    let store = open(stand);
    let (anna, bert) = (take(&store, "anna").await, take(&store, "bert").await);
    let commits = vec![Commit { base: 5, ..turn(&anna) }, turn(&bert)];
    assert_eq!(store.commit(commits).await.unwrap(), [Committed::Conflict, Committed::Done]);
    assert!(store.record("anna".to_owned()).await.unwrap().is_none());
    assert!(store.record("bert".to_owned()).await.unwrap().is_some());
    // Both are free again.
    take(&store, "anna").await;
    take(&store, "bert").await;
}

// ---- effects ----

/// A customer with one effect in the outbox, not handed out.
async fn with_effect(store: &Arc<dyn Store>, customer: &str) -> Effect {
    let effect = effect(customer, 1);
    make_with(store, customer, |first| first.effects = vec![effect.clone()]).await;
    effect
}

/// A customer with one effect that the test delivers.
async fn with_claimed_effect(store: &Arc<dyn Store>, customer: &str) -> Effect {
    let effect = effect(customer, 1);
    make_with(store, customer, |first| (first.effects, first.hand_over) = (vec![effect.clone()], true)).await;
    effect
}

async fn a_commit_is_void_when_its_effect_was_settled(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    let claim = take(&store, "anna").await;
    let settling = Commit { settled: Some(effect.id.clone()), ..turn(&claim) };
    assert_eq!(commit(&store, settling).await, Committed::Done);
    assert_eq!(begin(&store, &effect).await, Begin::Gone);
    let claim = take(&store, "anna").await;
    let again = Commit { settled: Some(effect.id.clone()), wake: Some(Time(START)), ..turn(&claim) };
    assert_eq!(commit(&store, again).await, Committed::Conflict);
    let record = store.record("anna".to_owned()).await.unwrap().unwrap();
    assert_eq!(record.version, 2);
    assert!(claimed(&store).await.is_empty(), "the void commit set no wake");
    assert_eq!(store.counts().await.unwrap().outbox, 0);
}

async fn a_settled_effect_is_answered_once(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    assert_eq!(begin(&store, &effect).await, Begin::Go { attempt: 1 });
    for _ in 0..2 {
        store.settle(effect.id.clone(), "anna".to_owned(), accepted()).await.unwrap();
    }
    let claim = claim_one(&store).await;
    assert_eq!(claim.inputs.len(), 1);
    assert_eq!(claim.inputs[0].input.body, InputBody::Result { effect: effect.id.clone(), outcome: accepted() });
    assert!(store.outbox(9).await.unwrap().is_empty());
    assert_eq!(begin(&store, &effect).await, Begin::Gone);
}

async fn only_what_has_not_begun_can_be_withdrawn(stand: &dyn Stand) {
    let store = open(stand);
    let all: Vec<Effect> = (1..=3).map(|n| effect("anna", n)).collect();
    make_with(&store, "anna", |first| (first.effects, first.hand_over) = (all.clone(), true)).await;
    assert_eq!(begin(&store, &all[0]).await, Begin::Go { attempt: 1 });
    let claim = take(&store, "anna").await;
    let withdrawn = vec![all[0].id.clone(), all[1].id.clone(), "unknown".to_owned()];
    assert_eq!(commit(&store, Commit { withdrawn, ..turn(&claim) }).await, Committed::Done);
    assert_eq!(begin(&store, &all[1]).await, Begin::Gone);
    assert_eq!(begin(&store, &all[2]).await, Begin::Go { attempt: 1 });
    let left: Vec<String> = store.outbox(9).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(left, [all[0].id.clone(), all[2].id.clone()]);
}

async fn effects_are_handed_out_once_and_when_due(stand: &dyn Stand) {
    let store = open(stand);
    let effects: Vec<Effect> = (1..=5).map(|n| effect("anna", n)).collect();
    make_with(&store, "anna", |first| first.effects = effects.clone()).await;
    let first = store.claim_effects(2).await.unwrap();
    let rest = store.claim_effects(99).await.unwrap();
    let ids: Vec<&Effect> = first.iter().chain(&rest).map(|delivery| &delivery.effect).collect();
    assert_eq!((first.len(), ids), (2, effects.iter().collect()));
    assert!(first.iter().all(|delivery| delivery.attempts == 0 && !delivery.ambiguous && delivery.body_digest.is_none()));
    assert!(store.claim_effects(99).await.unwrap().is_empty());
    begin(&store, &effects[0]).await;
    let due = Time(START + 60_000);
    store.retry(Retry { effect: effects[0].id.clone(), due, why: "busy".to_owned(), ambiguous: false }).await.unwrap();
    assert!(store.claim_effects(99).await.unwrap().is_empty(), "not due yet");
    stand.clock().pass(59_999);
    assert!(store.claim_effects(99).await.unwrap().is_empty(), "not due yet");
    stand.clock().pass(1);
    let again = store.claim_effects(99).await.unwrap();
    assert_eq!((again.len(), again[0].attempts, again[0].ambiguous), (1, 1, false));
    let row = store.outbox(1).await.unwrap().remove(0);
    assert_eq!((row.id, row.due, row.attempts, row.why), (effects[1].id.clone(), Time(START), 0, String::new()));
    let last = store.outbox(9).await.unwrap().pop().unwrap();
    assert_eq!((last.id, last.due, last.attempts, last.why.as_str()), (effects[0].id.clone(), due, 1, "busy"));
}

async fn a_handed_over_effect_is_its_committers_until_a_restart(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    stand.clock().pass(DAY_MS);
    assert!(store.claim_effects(9).await.unwrap().is_empty());
    store.close().await;
    drop(store);
    let store = open(stand);
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!((delivery.effect, delivery.ambiguous), (effect, false));
}

async fn begin_has_five_answers(stand: &dyn Stand) {
    let store = open(stand);
    let unknown = effect("nobody", 1);
    assert_eq!(begin(&store, &unknown).await, Begin::Gone);
    let go = with_claimed_effect(&store, "anna").await;
    assert_eq!(begin(&store, &go).await, Begin::Go { attempt: 1 });
    assert_eq!(begin(&store, &go).await, Begin::Go { attempt: 2 });

    // Shelf life: its last instant still counts.
    let until = Effect { valid_until: Some(Time(START)), ..effect("bert", 1) };
    let late = Effect { valid_until: Some(Time(START)), ..effect("bert", 2) };
    make_with(&store, "bert", |first| (first.effects, first.hand_over) = (vec![until.clone(), late.clone()], true)).await;
    assert_eq!(begin(&store, &until).await, Begin::Go { attempt: 1 });
    stand.clock().pass(1);
    assert_eq!(begin(&store, &late).await, Begin::Stale);
    assert_eq!(begin(&store, &late).await, Begin::Gone);
    let claim = claim_one(&store).await;
    assert!(matches!(&claim.inputs[0].input.body, InputBody::Stale { effect, .. } if *effect == late.id), "{claim:?}");
    commit(&store, turn(&claim)).await;

    // Another gate.
    let old = effect("carl", 1);
    make_with(&store, "carl", |first| (first.effects, first.hand_over, first.gate) = (vec![old.clone()], true, 3)).await;
    assert_eq!(begin(&store, &old).await, Begin::Stale);

    // Unread inputs.
    let early = with_claimed_effect(&store, "dora").await;
    accept(&store, vec![event("dora", "1")]).await;
    assert_eq!(begin(&store, &early).await, Begin::TurnFirst);
}

async fn begin_goes_on_again_after_the_turn(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    accept(&store, vec![event("anna", "1")]).await;
    assert_eq!(begin(&store, &effect).await, Begin::TurnFirst);
    assert!(store.claim_effects(9).await.unwrap().is_empty(), "it steps back for a moment");
    stand.clock().pass(1_000);
    assert_eq!(store.claim_effects(9).await.unwrap().len(), 1);
    let claim = claim_one(&store).await;
    assert_eq!(begin(&store, &effect).await, Begin::TurnFirst, "her input is read but not consumed");
    commit(&store, turn(&claim)).await;
    stand.clock().pass(1_000);
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!((delivery.effect.id.as_str(), delivery.attempts, delivery.ambiguous), (effect.id.as_str(), 0, false));
    assert_eq!(begin(&store, &effect).await, Begin::Go { attempt: 1 });
}

async fn a_withdrawal_raises_the_gate_in_the_accept(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    accept(&store, vec![event("anna", "0")]).await;
    assert_eq!(store.record("anna".to_owned()).await.unwrap().unwrap().gate, 0);
    accept(&store, vec![withdrawal("anna")]).await;
    assert_eq!(store.record("anna".to_owned()).await.unwrap().unwrap().gate, 1);
    // A turn that read her before the withdrawal cannot lower it, and its effects are stale.
    let claim = claim_one(&store).await;
    assert_eq!(claim.record.gate, 1);
    commit(&store, Commit { gate: 0, ..turn(&claim) }).await;
    stand.clock().pass(1_000);
    assert_eq!(begin(&store, &effect).await, Begin::Stale);
    let erase = NewInput { body: InputBody::Erase, id: None, ..event("anna", "") };
    accept(&store, vec![erase]).await;
    assert_eq!(store.record("anna".to_owned()).await.unwrap().unwrap().gate, 2);
    let granted =
        ConsentChange { channel: "sms".to_owned(), topic: None, granted: true, source: "api".to_owned(), time: Time(START) };
    let yes = InputBody::Profile(ProfileChange { consent: vec![granted], ..ProfileChange::default() });
    accept(&store, vec![NewInput { body: yes, ..withdrawal("anna") }]).await;
    assert_eq!(store.record("anna".to_owned()).await.unwrap().unwrap().gate, 2, "a yes takes nothing away");
}

async fn the_gate_never_goes_down(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.gate = 5).await;
    for (gate, kept) in [(3, 5), (5, 5), (6, 6)] {
        let claim = take(&store, "anna").await;
        commit(&store, Commit { gate, ..turn(&claim) }).await;
        assert_eq!(take(&store, "anna").await.record.gate, kept);
        store.release(vec!["anna".to_owned()]).await.unwrap();
    }
}

async fn what_was_being_sent_is_ambiguous_after_a_restart(stand: &dyn Stand) {
    let store = open(stand);
    let (sent, resting) = (with_claimed_effect(&store, "anna").await, with_effect(&store, "bert").await);
    stand.clock().pass(500);
    begin(&store, &sent).await;
    drop(store);
    stand.clock().pass(500);
    let store = open(stand);
    let mut deliveries = store.claim_effects(9).await.unwrap();
    deliveries.sort_by(|a, b| a.effect.id.cmp(&b.effect.id));
    assert_eq!(deliveries.len(), 2);
    assert_eq!((&deliveries[0].effect, deliveries[0].attempts, deliveries[0].ambiguous), (&sent, 1, true));
    assert_eq!(deliveries[0].ambiguous_since, Some(Time(START + 500)));
    assert_eq!((&deliveries[1].effect, deliveries[1].ambiguous, deliveries[1].ambiguous_since), (&resting, false, None));
}

async fn an_ambiguous_retry_keeps_its_first_instant(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    let retry = |ambiguous, due| Retry { effect: effect.id.clone(), due: Time(due), why: "lost".to_owned(), ambiguous };
    begin(&store, &effect).await;
    store.retry(retry(false, START)).await.unwrap();
    assert!(!store.claim_effects(9).await.unwrap()[0].ambiguous, "no byte was written");
    stand.clock().pass(100);
    for (round, ambiguous) in [(0, true), (1, true), (2, false)] {
        begin(&store, &effect).await;
        stand.clock().pass(100);
        store.retry(retry(ambiguous, START)).await.unwrap();
        let delivery = store.claim_effects(9).await.unwrap().remove(0);
        assert_eq!((delivery.ambiguous, delivery.ambiguous_since), (true, Some(Time(START + 100))), "round {round}");
    }
}

async fn the_first_body_digest_is_kept(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    for digest in [vec![1, 2], vec![3, 4]] {
        assert!(matches!(store.begin(effect.id.clone(), digest).await.unwrap(), Begin::Go { .. }));
        store.retry(Retry { effect: effect.id.clone(), due: Time(START), why: String::new(), ambiguous: false }).await.unwrap();
        assert_eq!(store.claim_effects(1).await.unwrap()[0].body_digest, Some(vec![1, 2]));
    }
}

// ---- wakes ----

async fn wakes_come_in_order_and_before_inputs(stand: &dyn Stand) {
    let store = open(stand);
    for (customer, after) in [("late", 30), ("soon", 10), ("next", 20), ("never", 99)] {
        make_with(&store, customer, |first| first.wake = Some(Time(START + after))).await;
    }
    accept(&store, vec![event("input", "1"), event("late", "1")]).await;
    stand.clock().pass(30);
    let first = store.claim(2).await.unwrap();
    assert_eq!(first.iter().map(|claim| claim.customer.as_str()).collect::<Vec<_>>(), ["soon", "next"]);
    assert!(first.iter().all(|claim| claim.inputs.is_empty()));
    let rest = store.claim(9).await.unwrap();
    assert_eq!(rest.iter().map(|claim| claim.customer.as_str()).collect::<Vec<_>>(), ["late", "input"]);
    assert_eq!(rest[0].inputs.len(), 1, "her inputs come with her wake");
    assert!(claimed(&store).await.is_empty());
}

async fn many_wakes_of_one_instant_are_each_claimed_once(stand: &dyn Stand) {
    let store = open(stand);
    for n in 0..40 {
        make_with(&store, &format!("c{n:02}"), |first| first.wake = Some(Time(START + 10))).await;
    }
    assert!(claimed(&store).await.is_empty(), "not due yet");
    stand.clock().pass(10);
    let mut seen = Vec::new();
    for round in 0..40 {
        let claim = claim_one(&store).await;
        // Every other one is given back or moved while the rest is still due.
        match round % 3 {
            0 => assert_eq!(commit(&store, Commit { wake: Some(Time(START + 10_000)), ..turn(&claim) }).await, Committed::Done),
            1 => assert_eq!(commit(&store, turn(&claim)).await, Committed::Done),
            _ => {}
        }
        seen.push(claim.customer);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 40);
    assert!(claimed(&store).await.is_empty());
    stand.clock().pass(10_000);
    assert_eq!(claimed(&store).await.len(), 14, "those that were moved");
}

async fn a_moved_wake_is_due_at_its_new_instant(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.wake = Some(Time(START + 1_000))).await;
    make_with(&store, "bert", |first| first.wake = Some(Time(START + 500))).await;
    stand.clock().pass(600);
    let bert = claim_one(&store).await;
    // Anna's wake moves behind the place that has been looked at, and still comes.
    let anna = take(&store, "anna").await;
    commit(&store, Commit { wake: Some(Time(START + 100)), ..turn(&anna) }).await;
    assert_eq!(claimed(&store).await, ["anna"]);
    store.release(vec!["anna".to_owned(), "bert".to_owned()]).await.unwrap();
    assert_eq!(bert.customer, "bert");
    assert_eq!(claimed(&store).await, ["anna", "bert"]);
    drop(store);
    assert_eq!(claimed(&open(stand)).await, ["anna", "bert"], "wakes outlive the process");
}

async fn waiting_ends_when_there_is_work(stand: &dyn Stand) {
    let store = open(stand);
    assert!(!done_at_once(store.wait_for_work(Work::Turns)).await);
    assert!(!done_at_once(store.wait_for_work(Work::Effects)).await);
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for_work(Work::Turns).await }
    });
    accept(&store, vec![event("anna", "1")]).await;
    tokio::time::timeout(PATIENCE, waiter).await.expect("an input wakes whoever waits").unwrap();
    assert!(done_at_once(store.wait_for_work(Work::Turns)).await);
    let claim = claim_one(&store).await;
    assert!(!done_at_once(store.wait_for_work(Work::Turns)).await, "what is claimed is nobody else's work");
    commit(&store, Commit { wake: Some(Time(START + 50)), effects: vec![effect("anna", 1)], ..turn(&claim) }).await;
    assert!(done_at_once(store.wait_for_work(Work::Effects)).await);
    store.claim_effects(9).await.unwrap();
    assert!(!done_at_once(store.wait_for_work(Work::Effects)).await);
    assert!(!done_at_once(store.wait_for_work(Work::Turns)).await);
    stand.clock().pass(50);
    assert!(done_at_once(store.wait_for_work(Work::Turns)).await);
}

// ---- restarts, crashes ----

async fn a_restart_hands_everything_out_anew(stand: &dyn Stand) {
    let store = open(stand);
    for clean in [true, false] {
        let name = |who: &str| format!("{who} {clean}");
        make_with(&store, &name("wake"), |first| first.wake = Some(Time(START))).await;
        make_with(&store, &name("effect"), |first| first.effects = vec![effect(&name("effect"), 1)]).await;
        accept(&store, vec![event(&name("input"), "1")]).await;
    }
    let mut store = Some(store);
    for clean in [true, false] {
        let used = store.take().unwrap_or_else(|| open(stand));
        assert_eq!(claimed(&used).await.len(), 4);
        assert!(claimed(&used).await.is_empty());
        assert_eq!(used.claim_effects(9).await.unwrap().len(), 2);
        if clean {
            used.close().await;
        }
    }
    let last = open(stand);
    assert_eq!(claimed(&last).await.len(), 4);
    assert_eq!(last.claim_effects(9).await.unwrap().len(), 2);
}

async fn a_faulty_input_is_put_aside_after_three_faults(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, vec![event("anna", "bad"), event("anna", "good"), event("bert", "1")]).await;
    let mut bad = 0;
    for round in 1..=QUARANTINE_AFTER {
        let claims = store.claim(64).await.unwrap();
        let anna = claims.iter().find(|claim| claim.customer == "anna").expect("she comes back until it is put aside");
        if round > 1 {
            assert_eq!((claims.len(), anna.inputs.len()), (1, 1), "what has crashed is handed out alone");
        }
        bad = anna.inputs[0].seq;
        store.fault("anna".to_owned(), Some(bad), format!("panic {round}")).await.unwrap();
    }
    let rows = store.quarantine(9).await.unwrap();
    assert_eq!((rows.len(), rows[0].customer.as_str(), rows[0].cause.as_str()), (1, "anna", "panic 3"));
    assert!(rows[0].input.contains("\"bad\""), "{}", rows[0].input);
    let rest = claim_one(&store).await;
    assert_eq!((rest.customer.as_str(), rest.inputs.len()), ("anna", 1));
    assert!(rest.inputs[0].seq > bad);
    assert_eq!(store.counts().await.unwrap().quarantined, 1);
    commit(&store, turn(&rest)).await;
    drop(store);
    assert_eq!(claimed(&open(stand)).await, ["bert"]);
}

async fn an_input_that_ends_the_process_is_put_aside(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, ["anna", "bert", "carl"].map(|customer| event(customer, "1")).into()).await;
    assert_eq!(claimed(&store).await.len(), 3);
    drop(store);
    // The first time nobody knows which it was: all are counted, and handed out together.
    let store = open(stand);
    assert_eq!(claimed(&store).await.len(), 3);
    drop(store);
    // From then on one by one; anna is the one that ends the process.
    for _ in 1..QUARANTINE_AFTER {
        let store = open(stand);
        accept(&store, vec![event("dora", "1")]).await;
        let alone = store.claim(64).await.unwrap();
        assert_eq!((alone.len(), alone[0].customer.as_str(), alone[0].inputs.len()), (1, "anna", 1));
        for claim in store.claim(64).await.unwrap() {
            assert_ne!(claim.customer, "bert", "one suspect at a time");
        }
        drop(store);
    }
    let store = open(stand);
    let rows = store.quarantine(9).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].customer.as_str(), rows[0].cause.as_str()), ("anna", "the process ended while handling it (3 times)"));
    let mut rest = Vec::new();
    while let Some(claim) = store.claim(64).await.unwrap().pop() {
        commit(&store, turn(&claim)).await;
        rest.push(claim.customer);
    }
    rest.sort();
    assert_eq!(rest, ["bert", "carl", "dora"], "everything else is done");
}

async fn a_clean_close_leaves_no_suspects(stand: &dyn Stand) {
    for _ in 0..QUARANTINE_AFTER + 2 {
        let store = open(stand);
        accept(&store, vec![event("anna", "1"), event("bert", "1")]).await;
        assert_eq!(claimed(&store).await.len(), 2);
        store.close().await;
    }
    let store = open(stand);
    assert_eq!(claimed(&store).await.len(), 2);
    drop(store);
    // Handed out after an unclean end, given back each time: no count remains.
    for _ in 0..QUARANTINE_AFTER + 2 {
        let store = open(stand);
        let who = claimed(&store).await;
        assert_eq!(who.len(), 2);
        store.release(who).await.unwrap();
        drop(store);
    }
    assert!(open(stand).quarantine(9).await.unwrap().is_empty());
}

async fn a_fault_without_inputs_puts_the_wake_off(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.wake = Some(Time(START))).await;
    for _ in 0..QUARANTINE_AFTER {
        assert_eq!(claimed(&store).await, ["anna"]);
        store.fault("anna".to_owned(), None, "panic".to_owned()).await.unwrap();
        assert!(claimed(&store).await.is_empty(), "it does not run hot");
        stand.clock().pass(10 * 60_000);
    }
    assert_eq!(store.quarantine(9).await.unwrap()[0].cause, "panic");
    assert_eq!(claimed(&store).await, ["anna"], "the wake is never lost");
}

// ---- the read side ----

async fn figures_sum_up_by_day(stand: &dyn Stand) {
    let store = open(stand);
    let facts = || {
        vec![fact(What::Granted, START, Some(10)), fact(What::Granted, START, Some(5)), fact(What::Sent, START + DAY_MS, None)]
    };
    for customer in ["anna", "bert"] {
        make_with(&store, customer, |first| first.facts = facts()).await;
    }
    drop(store);
    let store = open(stand);
    make_with(&store, "carl", |first| first.facts = facts()).await;
    let figures = store.figures("2027-03-01".to_owned(), "2027-03-02".to_owned()).await.unwrap();
    let shown: Vec<_> = figures.iter().map(|f| (f.day.as_str(), f.what.as_str(), f.count, f.amount)).collect();
    assert_eq!(shown, [("2027-03-01", "granted", 6, 45), ("2027-03-02", "sent", 3, 0)]);
    assert_eq!((figures[0].funnel.as_str(), figures[0].version.as_str(), figures[0].step.as_str()), ("welcome", "v1", "gift"));
    assert_eq!(store.figures("2027-03-02".to_owned(), "2027-03-02".to_owned()).await.unwrap().len(), 1);
}

async fn the_timeline_is_newest_first_and_pages_exactly(stand: &dyn Stand) {
    let store = open(stand);
    for round in 0..4 {
        for customer in ["anna", "bert"] {
            let claim = take(&store, customer).await;
            let facts = (0..3).map(|n| fact(What::Event, START + round * 3 + n, None)).collect();
            // With an effect on its way a store may remember her: her chain of facts must not fork.
            let effects = vec![effect(customer, u32::try_from(round).unwrap() + 1)];
            commit(&store, Commit { facts, effects, hand_over: round % 2 == 0, ..turn(&claim) }).await;
        }
    }
    let all = store.timeline("anna".to_owned(), None, 100).await.unwrap();
    assert_eq!(all.iter().map(|row| row.fact.at.0 - START).collect::<Vec<_>>(), (0..12).rev().collect::<Vec<_>>());
    assert!(all.windows(2).all(|two| two[0].seq > two[1].seq), "later facts have higher positions");
    assert_eq!(all.iter().map(|row| row.index).take(3).collect::<Vec<_>>(), [2, 1, 0]);
    for size in [1, 2, 5] {
        let (mut paged, mut before) = (Vec::new(), None);
        loop {
            let page = store.timeline("anna".to_owned(), before, size).await.unwrap();
            assert!(page.len() <= size);
            let Some(last) = page.last() else { break };
            before = Some(last.seq);
            paged.extend(page);
        }
        assert_eq!(paged, all, "pages of {size}");
    }
    assert!(store.timeline("nobody".to_owned(), None, 9).await.unwrap().is_empty());
}

async fn facts_follow_a_position(stand: &dyn Stand) {
    let store = open(stand);
    for n in 0..5 {
        let facts = (0..=n).map(|k| fact(What::Event, START + k, None)).collect::<Vec<_>>();
        make_with(&store, &format!("c{n}"), |first| first.facts = facts).await;
    }
    let all = store.facts_after(0, 100).await.unwrap();
    assert_eq!(all.len(), 15);
    assert_eq!(all.iter().filter(|(customer, _)| customer == "c4").count(), 5);
    let (mut followed, mut after) = (Vec::new(), 0);
    loop {
        let page = store.facts_after(after, 4).await.unwrap();
        let Some((_, last)) = page.last() else { break };
        assert!(page.len() <= 4);
        after = last.seq;
        followed.extend(page);
    }
    assert_eq!(followed, all);
}

async fn lists_find_customers_by_their_first_letters(stand: &dyn Stand) {
    let store = open(stand);
    let people = [("c1", "Anna Berg", "anna@x.org", "+49151"), ("c2", "Änne", "berta@x.org", "+43"), ("anna", "", "", "")];
    for (id, name, email, phone) in people {
        let index = CustomerRow {
            id: id.to_owned(),
            name: name.to_owned(),
            email: email.to_owned(),
            phone: phone.to_owned(),
            segments: vec!["vip".to_owned(), "new".to_owned()],
        };
        make_with(&store, id, |first| first.index = index).await;
    }
    let find = async |query: &str, after: &str, max| {
        let rows = store.customers(query.to_owned(), after.to_owned(), max).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(find("", "", 9).await, ["anna", "c1", "c2"]);
    assert_eq!(find("", "anna", 1).await, ["c1"]);
    assert_eq!(find("anna", "", 9).await, ["anna", "c1"]);
    assert_eq!(find("ANNA B", "", 9).await, ["c1"]);
    assert_eq!(find("änn", "", 9).await, ["c2"]);
    assert_eq!(find("+4", "", 9).await, ["c1", "c2"]);
    assert_eq!(find("b", "", 9).await, ["c2"]);
    assert_eq!(find("anna", "anna", 9).await, ["c1"]);
    let row = store.customers("c1".to_owned(), String::new(), 1).await.unwrap().remove(0);
    assert_eq!((row.name.as_str(), row.segments.len()), ("Anna Berg", 2));
    // A changed line is found by its new words only.
    let claim = take(&store, "c1").await;
    let index = CustomerRow { name: "Zoe".to_owned(), ..row };
    commit(&store, Commit { index, ..turn(&claim) }).await;
    assert_eq!(find("Anna B", "", 9).await, Vec::<String>::new());
    assert_eq!(find("zoe", "", 9).await, ["c1"]);
}

async fn runs_are_listed_by_funnel_and_state(stand: &dyn Stand) {
    let store = open(stand);
    for (n, (customer, funnel, state)) in [
        ("anna", "welcome", "waiting"),
        ("bert", "welcome", "held"),
        ("carl", "renewal", "waiting"),
        ("dora", "welcome", "waiting"),
    ]
    .into_iter()
    .enumerate()
    {
        let rows = vec![run_row(customer, 1, funnel, "v1", state, START + n as i64)];
        make_with(&store, customer, |first| first.runs = rows).await;
    }
    let list = async |customer: &str, funnel: &str, state: &str, max| {
        let filter = RunFilter { customer: customer.to_owned(), funnel: funnel.to_owned(), state: state.to_owned() };
        let rows = store.runs(filter, max).await.unwrap();
        rows.into_iter().map(|row| row.customer).collect::<Vec<_>>()
    };
    assert_eq!(list("", "", "", 9).await, ["dora", "carl", "bert", "anna"]);
    assert_eq!(list("", "", "", 2).await, ["dora", "carl"]);
    assert_eq!(list("", "welcome", "", 9).await, ["dora", "bert", "anna"]);
    assert_eq!(list("", "", "waiting", 9).await, ["dora", "carl", "anna"]);
    assert_eq!(list("", "welcome", "waiting", 1).await, ["dora"]);
    assert_eq!(list("carl", "", "", 9).await, ["carl"]);
    assert!(list("carl", "welcome", "", 9).await.is_empty());
    let claim = take(&store, "anna").await;
    let over = RunRow { until: Some(Time(START + 99)), ..run_row("anna", 1, "welcome", "v1", "finished", START) };
    commit(&store, Commit { runs: vec![over.clone()], ..turn(&claim) }).await;
    assert_eq!(list("", "welcome", "waiting", 9).await, ["dora"]);
    let filter = RunFilter { state: "finished".to_owned(), ..RunFilter::default() };
    assert_eq!(store.runs(filter, 9).await.unwrap(), [over]);
}

async fn counts_follow_every_change(stand: &dyn Stand) {
    let store = open(stand);
    let index = |segments: &[&str]| CustomerRow {
        id: "anna".to_owned(),
        segments: segments.iter().map(|name| (*name).to_owned()).collect(),
        ..CustomerRow::default()
    };
    make_with(&store, "anna", |first| {
        first.index = index(&["a", "b"]);
        first.runs = vec![run_row("anna", 1, "f", "v1", "waiting", 1), run_row("anna", 2, "f", "v2", "waiting", 2)];
        first.effects = vec![effect("anna", 1)];
    })
    .await;
    make_with(&store, "bert", |first| first.index = CustomerRow { id: "bert".to_owned(), ..index(&["b"]) }).await;
    accept(&store, vec![event("anna", "1"), event("anna", "2")]).await;
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.customers, counts.inbox, counts.outbox, counts.quarantined), (2, 2, 1, 0));
    assert_eq!(counts.live_runs, [("f".to_owned(), "waiting".to_owned(), 2)]);
    assert_eq!(counts.segments, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    let claim = claim_one(&store).await;
    let runs = vec![run_row("anna", 1, "f", "v1", "finished", 1), run_row("anna", 2, "f", "v2", "held", 2)];
    commit(&store, Commit { index: index(&["b"]), runs, withdrawn: vec![effect("anna", 1).id], ..turn(&claim) }).await;
    for restart in [false, true] {
        if restart {
            store.close().await;
        }
        let used = if restart { open(stand) } else { store.clone() };
        let counts = used.counts().await.unwrap();
        assert_eq!((counts.customers, counts.inbox, counts.outbox), (2, 0, 0), "restart: {restart}");
        assert_eq!(counts.live_runs, [("f".to_owned(), "held".to_owned(), 1)]);
        assert_eq!(counts.segments, [("b".to_owned(), 2)]);
    }
}

async fn an_erased_customer_leaves_nothing_but_the_mark(stand: &dyn Stand) {
    let store = open(stand);
    for customer in ["anna", "bert"] {
        make_with(&store, customer, |first| {
            first.index = CustomerRow {
                id: customer.to_owned(),
                name: "Name".to_owned(),
                segments: vec!["s".to_owned()],
                ..CustomerRow::default()
            };
            first.facts = vec![fact(What::Entered, START, None)];
            first.runs = vec![run_row(customer, 1, "f", "v1", "waiting", START)];
            first.effects = vec![effect(customer, 1), effect(customer, 2)];
            first.wake = Some(Time(START + 10));
            first.account = Some(vec![1]);
        })
        .await;
        let text = || customer.to_owned();
        store.keep_message(message(customer, &text(), START)).await.unwrap();
    }
    let held = store.claim_effects(1).await.unwrap().remove(0).effect;
    assert_eq!(held.customer, "anna");
    accept(&store, vec![NewInput { id: None, body: InputBody::Erase, ..event("anna", "") }, event("anna", "later")]).await;
    let claim = claim_one(&store).await;
    let consumed = vec![claim.inputs[0].seq];
    assert_eq!(commit(&store, Commit { erase: true, consumed, ..turn(&claim) }).await, Committed::Done);
    let check = async |store: &Arc<dyn Store>| {
        assert!(store.record("anna".to_owned()).await.unwrap().is_none());
        assert!(store.timeline("anna".to_owned(), None, 9).await.unwrap().is_empty());
        assert!(store.facts_after(0, 9).await.unwrap().iter().all(|(customer, _)| customer == "bert"));
        assert!(store.messages("anna".to_owned(), None, 9).await.unwrap().is_empty());
        assert_eq!(store.customers("Name".to_owned(), String::new(), 9).await.unwrap().len(), 1);
        assert_eq!(store.runs(RunFilter::default(), 9).await.unwrap().len(), 1);
        assert!(store.outbox(9).await.unwrap().iter().all(|row| row.customer == "bert"));
        let counts = store.counts().await.unwrap();
        assert_eq!((counts.customers, counts.inbox, counts.outbox), (1, 0, 2));
        assert_eq!((counts.segments[0].1, counts.live_runs[0].2), (1, 1));
    };
    check(&store).await;
    assert_eq!(begin(&store, &held).await, Begin::Gone);
    store.settle(held.id.clone(), "anna".to_owned(), accepted()).await.unwrap();
    assert!(claimed(&store).await.is_empty(), "neither her inputs nor an answer bring her back");
    drop(store);
    let store = open(stand);
    check(&store).await;
    // What arrives late says that she was erased.
    accept(&store, vec![event("anna", "after"), event("carl", "1")]).await;
    let claims = store.claim(9).await.unwrap();
    assert_eq!(
        claims.iter().map(|claim| (claim.customer.as_str(), claim.record.erased)).collect::<Vec<_>>(),
        [("anna", true), ("carl", false)]
    );
}

// ---- what is kept for everybody ----

async fn definitions_stay_while_a_live_run_names_them(stand: &dyn Stand) {
    let store = open(stand);
    assert!(store.definitions().await.unwrap().is_empty());
    let put = async |hash: &str, funnels: &[(&str, &str)]| {
        let funnels = funnels.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
        store.put_definitions(hash.to_owned(), funnels, format!("bundle {hash}").into_bytes()).await.unwrap();
    };
    let hashes = async || store.definitions().await.unwrap().into_iter().map(|(hash, _)| hash).collect::<Vec<_>>();
    put("d1", &[("f", "v1"), ("g", "w1")]).await;
    put("d1", &[("f", "v1"), ("g", "w1")]).await;
    assert_eq!(store.definitions().await.unwrap(), [("d1".to_owned(), b"bundle d1".to_vec())]);
    make_with(&store, "anna", |first| first.runs = vec![run_row("anna", 1, "f", "v1", "waiting", START)]).await;
    put("d2", &[("f", "v2"), ("g", "w1")]).await;
    assert_eq!(hashes().await, ["d2", "d1"]);
    put("d3", &[("f", "v1"), ("g", "w2")]).await;
    assert_eq!(hashes().await, ["d3"], "the current one holds that version too");
    put("d2", &[("f", "v2"), ("g", "w1")]).await;
    assert_eq!(hashes().await, ["d2", "d3"], "made current again; the newest that holds the version");
    let claim = take(&store, "anna").await;
    commit(&store, Commit { runs: vec![run_row("anna", 1, "f", "v1", "exited", START)], ..turn(&claim) }).await;
    assert_eq!(hashes().await, ["d2"]);
}

async fn the_scan_finds_who_was_judged_by_other_definitions(stand: &dyn Stand) {
    let store = open(stand);
    for (customer, judged) in [("e", "d1"), ("b", "d2"), ("d", "d1"), ("a", "d3"), ("c", "d1")] {
        make_with(&store, customer, |first| first.judged = judged.to_owned()).await;
    }
    let scan = async |after: &str| store.wake_unjudged("d2".to_owned(), after.to_owned(), 2).await.unwrap();
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let step = scan(&after).await;
        assert!(step.len() <= 2);
        let Some(last) = step.last() else { break };
        after = last.clone();
        found.extend(step);
    }
    let claims = store.claim(9).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.customer.clone()).collect::<Vec<_>>(), found, "marked in the order of the scan");
    found.sort();
    assert_eq!(found, ["a", "c", "d", "e"]);
    for claim in &claims {
        commit(&store, Commit { judged: "d2".to_owned(), ..turn(claim) }).await;
    }
    assert!(scan("").await.is_empty());
    assert!(claimed(&store).await.is_empty());
}

async fn a_token_replaces_the_one_with_its_digest(stand: &dyn Stand) {
    let store = open(stand);
    let token = TokenRow {
        digest: vec![1],
        name: "shop".to_owned(),
        scopes: vec!["ingest".to_owned(), "read".to_owned()],
        expires: None,
    };
    let newer = TokenRow { expires: Some(Time(5)), scopes: vec![], ..token.clone() };
    let other = TokenRow { digest: vec![2], name: "till".to_owned(), ..token.clone() };
    for token in [token, other.clone(), newer.clone()] {
        store.put_token(token).await.unwrap();
    }
    drop(store);
    assert_eq!(open(stand).tokens().await.unwrap(), [newer, other]);
}

fn message(id: &str, customer: &str, at: i64) -> KeptMessage {
    KeptMessage {
        id: id.to_owned(),
        customer: customer.to_owned(),
        channel: "email".to_owned(),
        to: "a@x.org".to_owned(),
        funnel: "f".to_owned(),
        template: "t".to_owned(),
        subject: "Hello".to_owned(),
        text: "text".to_owned(),
        html: String::new(),
        at: Time(at),
    }
}

async fn a_message_is_kept_once(stand: &dyn Stand) {
    let store = open(stand);
    for (id, customer, at) in [("m1", "anna", 1), ("m2", "bert", 2), ("m3", "anna", 3), ("m1", "zoe", 9)] {
        store.keep_message(message(id, customer, START + at)).await.unwrap();
    }
    let list = async |customer: &str, before| {
        let rows = store.messages(customer.to_owned(), before, 9).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(list("", None).await, ["m3", "m2", "m1"]);
    assert_eq!(list("anna", None).await, ["m3", "m1"]);
    assert_eq!(list("", Some(Time(START + 3))).await, ["m2", "m1"]);
    assert_eq!(store.message("m1".to_owned()).await.unwrap(), Some(message("m1", "anna", START + 1)));
    assert_eq!(store.message("m9".to_owned()).await.unwrap(), None);
}

async fn what_has_outlived_its_retention_goes(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| {
        first.facts = vec![fact(What::Granted, START, Some(1))];
        first.runs = vec![run_row("anna", 1, "f", "v1", "finished", START), run_row("anna", 2, "f", "v1", "waiting", START)];
    })
    .await;
    store.keep_message(message("m1", "anna", START)).await.unwrap();
    accept(&store, vec![event("bert", "1")]).await;
    assert_eq!(store.prune().await.unwrap(), 0);
    stand.clock().pass(29 * DAY_MS);
    assert_eq!(store.prune().await.unwrap(), 0);
    stand.clock().pass(2 * DAY_MS);
    assert_eq!(store.prune().await.unwrap(), 2, "the ended run and the message");
    assert_eq!(store.runs(RunFilter::default(), 9).await.unwrap().len(), 1, "a live run stays");
    assert_eq!(accept(&store, vec![event("bert", "1")]).await, [Accepted::Duplicate]);
    stand.clock().pass(5 * DAY_MS);
    assert_eq!(store.prune().await.unwrap(), 1, "the event's id");
    assert_eq!(accept(&store, vec![event("bert", "1")]).await, [Accepted::New]);
    stand.clock().pass(60 * DAY_MS);
    assert_eq!(store.prune().await.unwrap(), 2, "the fact and the event's new id");
    assert!(store.timeline("anna".to_owned(), None, 9).await.unwrap().is_empty());
    assert_eq!(
        store.figures("2027-03-01".to_owned(), "2027-03-01".to_owned()).await.unwrap()[0].amount,
        1,
        "figures stay for ever"
    );
    assert_eq!(claim_one(&store).await.inputs.len(), 2, "what was accepted is never dropped");
}

async fn a_second_open_is_refused(stand: &dyn Stand) {
    let store = open(stand);
    let said = match stand.open() {
        Err(StoreError::Fatal(said)) => said,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two stores on the same data"),
    };
    assert!(said.contains("in use by another process"), "{said}");
    store.close().await;
    open(stand);
}

async fn a_closed_store_takes_nothing(stand: &dyn Stand) {
    let store = open(stand);
    store.close().await;
    store.close().await;
    assert!(matches!(store.accept(vec![event("anna", "1")]).await, Err(StoreError::Unavailable(_))));
    assert!(done_at_once(store.wait_for_work(Work::Turns)).await, "whoever waits may leave");
}
