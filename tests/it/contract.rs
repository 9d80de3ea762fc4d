//! The contract of every store: each sentence that the trait's documentation promises, as a test.
//!
//! A store joins by a [`Stand`] and one line of [`contract_suite`]. The clock is set by the tests; nobody
//! sleeps. Dropping a store without closing it stands for a process that was killed.

use crate::redis::{Disk, Look, Server};
use autofunnel::effect::{Effect, EffectKind, Grant, OnUncertain, Outcome, Word};
use autofunnel::event::address::StopKind;
use autofunnel::event::{ConsentChange, Event, InputBody, ProfileChange, Told};
use autofunnel::fact::{Fact, RunRef, What};
use autofunnel::lang::time::{DAY_MS, Span, Time};
use autofunnel::lang::value::{Fields, Value};
use autofunnel::step::winner::{Arm, Measure, Winner};
use autofunnel::store::applied::{Applied, Applying};
use autofunnel::store::quantity::Quantity;
use autofunnel::store::read::{KeptMessage, LiveSteps, RunFilter};
use autofunnel::store::sqlite::Mirror;
use autofunnel::store::{
    Accepted, Begin, CLAIM_INPUTS_MAX, Claim, Commit, Committed, CustomerRow, Delivery, Fate, NewInput, QUARANTINE_AFTER, Retry,
    RunRow, Store, StoreError, StoreResult, TokenRow, Work,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

mod addresses;
mod cluster;
mod effects;
mod inbox;
mod keep;
mod pauses;
mod reads;
mod recovery;
mod turns;

use addresses::*;
pub use addresses::{address, stop};
use effects::*;
use inbox::*;
use keep::*;
pub use pauses::pause;
use pauses::*;
use reads::*;
use recovery::*;
use turns::*;

/// The first instant of every test: 2027-03-01T09:00:00Z.
pub const START: i64 = 1_803_891_600_000;

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

    /// Lets time pass.
    pub fn pass(&self, ms: i64) {
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

/// Makes the tests of one kind of store: the cases that hold for all, and some of its own.
macro_rules! contract {
    ($module:ident, $stand:expr, [$($own:ident),* $(,)?]) => {
        contract_suite!(
            $module,
            $stand,
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
                a_claim_tells_of_more_inputs,
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
                a_hand_out_has_one_attempt,
                an_earlier_hand_out_can_do_nothing,
                what_steps_back_before_its_call_has_not_begun,
                what_steps_back_keeps_an_earlier_doubt,
                a_withdrawal_raises_the_gate_in_the_accept,
                the_gate_never_goes_down,
                what_was_being_sent_is_ambiguous_after_a_restart,
                what_was_being_sent_stays_ambiguous_when_it_is_put_back_unbegun,
                an_ambiguous_retry_keeps_its_first_instant,
                what_may_have_happened_is_not_decided_anew,
                the_first_body_digest_is_kept,
                nothing_begins_while_it_is_paused,
                a_pause_outlives_the_process_and_has_a_reason,
                what_is_paused_looks_again_and_knows_when_its_time_is_over,
                a_pause_keeps_an_earlier_doubt,
                what_is_paused_is_not_booked,
                a_person_hastens_or_drops_what_waits,
                wakes_come_in_order_and_before_inputs,
                many_wakes_of_one_instant_are_each_claimed_once,
                a_moved_wake_is_due_at_its_new_instant,
                waiting_ends_when_there_is_work,
                a_restart_hands_everything_out_anew,
                a_faulty_input_is_put_aside_after_three_faults,
                what_was_put_aside_is_not_consumed_as_well,
                a_fault_without_inputs_blames_none_that_came_meanwhile,
                an_input_that_ends_the_process_is_put_aside,
                what_was_merely_in_hand_outlives_many_ends,
                what_was_put_aside_can_be_tried_again_or_dropped,
                every_kind_of_input_can_be_put_back,
                a_wake_that_failed_only_leaves_the_list,
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
                a_workspace_is_applied_only_over_the_one_that_it_was_compared_with,
                a_split_has_one_winner,
                live_runs_are_counted_by_step_and_follow_their_version,
                the_scan_finds_who_was_judged_by_other_definitions,
                a_token_replaces_the_one_with_its_digest,
                a_message_is_kept_once,
                who_has_an_address_is_in_the_index,
                a_commit_that_loses_takes_nobody_out_of_the_index,
                what_was_said_comes_with_the_address,
                a_stop_raises_the_gate_in_the_accept,
                what_was_said_outlives_the_customer,
                a_lift_takes_back_her_own_word_only,
                s54_the_third_soft_bounce_in_72_hours_is_a_hard_one,
                whoever_comes_after_too_many_is_told,
                a_reference_names_its_effect_and_the_link_key_stays,
                a_quantity_is_never_exceeded,
                a_closed_store_takes_nothing,
                $($own),*
            ]
        );
    };
}

contract!(sqlite, super::SqliteStand::new(), [what_has_outlived_its_retention_goes, a_second_open_is_refused]);

contract!(redis, super::RedisStand::new(), []);

contract!(model, crate::sim::model::ModelStand::new(), [what_has_outlived_its_retention_goes, a_second_open_is_refused]);

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

/// A `redis-server` of its own, with a read side beside it. That a store is opened again means that all
/// leases of the one before have run out.
pub struct RedisStand {
    server: Server,
    mirror: Arc<Mirror>,
    opened: AtomicBool,
    clock: TestClock,
}

impl RedisStand {
    /// An empty one.
    pub fn new() -> RedisStand {
        let (server, clock) = (Server::start(Disk::Never), TestClock::new());
        let told = clock.clone();
        let options = autofunnel::store::sqlite::Options::new(Arc::new(move || told.now()));
        let mirror = Mirror::open(&server.folder().join("report.db"), options).unwrap();
        RedisStand { server, mirror, opened: AtomicBool::new(false), clock }
    }
}

impl Stand for RedisStand {
    fn open(&self) -> StoreResult<Arc<dyn Store>> {
        if self.opened.swap(true, Ordering::SeqCst) {
            self.server.end_leases();
        }
        let clock = self.clock.clone();
        let mut options = autofunnel::store::redis::Options::new(&self.server.address());
        options.clock = Some(Arc::new(move || clock.now()));
        (options.mirror, options.reports, options.accept_loss) = (Some(self.mirror.clone()), true, true);
        let opened = autofunnel::store::redis::RedisStore::open(options);
        let store = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(opened))?;
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

pub fn event(customer: &str, id: &str) -> NewInput {
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

pub fn withdrawal(customer: &str) -> NewInput {
    let no =
        ConsentChange { channel: "sms".to_owned(), topic: None, granted: false, source: "STOP".to_owned(), time: Time(START) };
    let body = InputBody::Profile(ProfileChange { consent: vec![no], ..ProfileChange::default() });
    NewInput { customer: customer.to_owned(), source: "api".to_owned(), id: None, digest: 0, body }
}

pub fn effect(customer: &str, n: u32) -> Effect {
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
            held: false,
        }),
    }
}

pub fn fact(what: What, at: i64, amount: Option<i64>) -> Fact {
    let run = RunRef {
        funnel: "welcome".to_owned(),
        version: "v1".to_owned(),
        run: 1,
        step: "gift".to_owned(),
        variant: String::new(),
        origin: None,
    };
    Fact { at: Time(at), what, about: "x".to_owned(), run: Some(run), why: "because".to_owned(), seen: vec![], amount }
}

pub fn run_row(customer: &str, run: u64, funnel: &str, version: &str, state: &str, entered: i64) -> RunRow {
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
pub fn turn(claim: &Claim) -> Commit {
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

pub async fn accept(store: &Arc<dyn Store>, inputs: Vec<NewInput>) -> Vec<Accepted> {
    store.accept(inputs).await.unwrap()
}

pub async fn commit(store: &Arc<dyn Store>, commit: Commit) -> Committed {
    store.commit(vec![commit]).await.unwrap()[0]
}

pub async fn claim_one(store: &Arc<dyn Store>) -> Claim {
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
pub async fn make_with(store: &Arc<dyn Store>, customer: &str, with: impl FnOnce(&mut Commit)) {
    let claim = store.take(customer.to_owned()).await.unwrap().expect("nobody else uses her");
    let mut first = turn(&claim);
    with(&mut first);
    assert_eq!(commit(store, first).await, Committed::Done);
}

pub async fn take(store: &Arc<dyn Store>, customer: &str) -> Claim {
    store.take(customer.to_owned()).await.unwrap().expect("she is free and has no inputs")
}

/// For one that was handed over from birth.
pub async fn begin(store: &Arc<dyn Store>, effect: &Effect) -> Begin {
    store.begin(effect.id.clone(), 0, vec![1]).await.unwrap()
}

/// For one that was claimed.
pub async fn begin_claimed(store: &Arc<dyn Store>, delivery: &Delivery) -> Begin {
    store.begin(delivery.effect.id.clone(), delivery.ticket, vec![1]).await.unwrap()
}

/// Puts an effect back that was claimed.
pub async fn put_back(store: &Arc<dyn Store>, delivery: &Delivery, due: Time, why: &str, ambiguous: bool) {
    let (effect, ticket, why) = (delivery.effect.id.clone(), delivery.ticket, why.to_owned());
    store.retry(Retry { effect, ticket, due, why, ambiguous }).await.unwrap();
}

fn accepted() -> Outcome {
    Outcome::Accepted { reference: Some("r".to_owned()), data: Fields::new() }
}

/// Asks a future once.
async fn polled_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Whether a future is done when it is asked once.
async fn done_at_once(future: impl Future<Output = ()>) -> bool {
    polled_once(&mut Box::pin(future)).await.is_some()
}

/// A customer with one effect in the outbox, not handed out.
async fn with_effect(store: &Arc<dyn Store>, customer: &str) -> Effect {
    let effect = effect(customer, 1);
    make_with(store, customer, |first| first.effects = vec![effect.clone()]).await;
    effect
}

/// A customer with one effect that the test delivers.
pub async fn with_claimed_effect(store: &Arc<dyn Store>, customer: &str) -> Effect {
    let effect = effect(customer, 1);
    make_with(store, customer, |first| (first.effects, first.hand_over) = (vec![effect.clone()], true)).await;
    effect
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
