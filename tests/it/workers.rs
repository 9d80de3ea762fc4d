//! Several processes on one store in Redis: who owns what, who is told of work, and that what a worker
//! does after it has lost its shards counts for nothing.

use crate::contract::{begin, begin_claimed, claim_one, event, pause, turn, with_claimed_effect};
use crate::redis::{Disk, Look, Server};
use autofunnel::lang::time::{DAY_MS, Time};
use autofunnel::store::pause::Pausable;
use autofunnel::store::read::ReadSide;
use autofunnel::store::redis::{Options, RedisStore};
use autofunnel::store::sqlite::{self, Mirror};
use autofunnel::store::{Accepted, Begin, Committed, Delivery, Store, StoreError, Work};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Nothing that is waited for takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// A short lease, in milliseconds: what waits for its end need not wait long.
const LEASE_MS: i64 = 1_500;

fn options(server: &Server) -> Options {
    let mut options = Options::new(&server.address());
    (options.lease_ms, options.accept_loss) = (LEASE_MS, true);
    options
}

async fn worker(server: &Server) -> Arc<RedisStore> {
    RedisStore::open(options(server)).await.unwrap()
}

/// A process that only takes inputs.
async fn door(server: &Server) -> Arc<RedisStore> {
    RedisStore::open(Options { works: false, ..options(server) }).await.unwrap()
}

/// Waits for an effect.
async fn handed_out(store: &Arc<dyn Store>) -> Delivery {
    let mut deliveries = Vec::new();
    until("an effect is handed out", async || {
        deliveries = store.claim_effects(9).await.unwrap();
        !deliveries.is_empty()
    })
    .await;
    deliveries.remove(0)
}

/// Waits for a condition; what changes it runs in tasks beside.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_shards_and_each_customer_is_claimed_by_one() {
    let server = Server::start(Disk::Never);
    let (first, door) = (worker(&server).await, door(&server).await);
    assert_eq!((first.shards_owned(), door.shards_owned()), (256, 0));
    let second = worker(&server).await;
    until("each owns half", async || first.shards_owned() == 128 && second.shards_owned() == 128).await;
    for n in 0..200 {
        door.accept(vec![event(&format!("c{n}"), "1")]).await.unwrap();
    }
    let mut seen = Vec::new();
    until("all are claimed", async || {
        for store in [&first, &second] {
            for claim in store.claim(64).await.unwrap() {
                assert_eq!(store.commit(vec![turn(&claim)]).await.unwrap(), [Committed::Done]);
                seen.push(claim.customer);
            }
        }
        seen.len() >= 200
    })
    .await;
    assert_eq!(seen.len(), 200);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 200);
    // One goes in peace: the other has everything without waiting for a lease to end.
    second.close().await;
    until("the one that is left owns all", async || first.shards_owned() == 256).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_does_after_it_lost_its_shards_counts_for_nothing() {
    let server = Server::start(Disk::Never);
    let late: Arc<dyn Store> = worker(&server).await;
    let effect = with_claimed_effect(&late, "anna").await;
    late.accept(vec![event("bert", "1")]).await.unwrap();
    let claim = claim_one(&late).await;
    // Its leases end while it holds them, and another takes over.
    server.end_leases();
    let next: Arc<dyn Store> = worker(&server).await;
    let again = claim_one(&next).await;
    assert_eq!((again.customer.as_str(), again.inputs.len()), ("bert", 1));
    assert_eq!(late.commit(vec![turn(&claim)]).await.unwrap(), [Committed::Conflict]);
    assert_eq!(begin(&late, &effect).await, Begin::Gone);
    assert_eq!(next.record("bert".to_owned()).await.unwrap().map(|record| record.version), None, "nothing was written");
    assert_eq!(next.commit(vec![turn(&again)]).await.unwrap(), [Committed::Done]);
    let delivery = handed_out(&next).await;
    assert_eq!(delivery.effect, effect);
    assert_eq!(begin_claimed(&next, &delivery).await, Begin::Go { attempt: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_told_of_what_another_process_accepts() {
    let server = Server::start(Disk::Never);
    let (worker, door) = (worker(&server).await, door(&server).await);
    let waiting = tokio::spawn({
        let worker = worker.clone();
        async move { worker.wait_for_work(Work::Turns).await }
    });
    door.accept(vec![event("anna", "1")]).await.unwrap();
    tokio::time::timeout(PATIENCE, waiting).await.expect("the bell rings").unwrap();
    let store: Arc<dyn Store> = worker;
    until("she is handed out", async || !store.claim(9).await.unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_and_cut_connections_are_no_trouble() {
    let server = Server::start(Disk::Never);
    let store: Arc<dyn Store> = worker(&server).await;
    let mut flush = redis::cmd("SCRIPT");
    flush.arg("FLUSH");
    let mut cut = redis::cmd("CLIENT");
    cut.arg("KILL").arg("TYPE").arg("normal");
    for (round, trouble) in [flush, cut].iter().enumerate() {
        server.query(trouble).unwrap();
        let id = round.to_string();
        assert_eq!(store.accept(vec![event("anna", &id)]).await.unwrap(), [Accepted::New], "{id}");
        server.query(trouble).unwrap();
        let claim = claim_one(&store).await;
        server.query(trouble).unwrap();
        assert_eq!(store.commit(vec![turn(&claim)]).await.unwrap(), [Committed::Done], "{id}");
    }
    assert_eq!(store.record("anna".to_owned()).await.unwrap().unwrap().version, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_killed_has_lost_nothing_that_was_answered() {
    let mut server = Server::start(Disk::Always);
    let store: Arc<dyn Store> = worker(&server).await;
    store.accept(vec![event("anna", "1")]).await.unwrap();
    let effect = with_claimed_effect(&store, "bert").await;
    server.kill();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.accept(vec![event("anna", "2")]).await }
    });
    server.go();
    assert_eq!(waiting.await.unwrap().unwrap(), [Accepted::New], "who asked meanwhile had to wait");
    let claim = claim_one(&store).await;
    assert_eq!((claim.customer.as_str(), claim.inputs.len()), ("anna", 2));
    assert_eq!(begin(&store, &effect).await, Begin::Go { attempt: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_is_refused_unless_that_is_accepted() {
    let server = Server::start(Disk::Never);
    let refused = |options: Options| async move {
        match RedisStore::open(options).await {
            Err(StoreError::Fatal(said)) => said,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it was opened"),
        }
    };
    let said = refused(Options { accept_loss: false, ..options(&server) }).await;
    assert!(said.contains("appendonly yes") && said.contains("--accept-loss"), "{said}");
    let mut evict = redis::cmd("CONFIG");
    evict.arg("SET").arg("maxmemory-policy").arg("allkeys-lru");
    server.query(&evict).unwrap();
    assert!(refused(options(&server)).await.contains("noeviction"));
    let said = refused(Options::new("redis://127.0.0.1:1")).await;
    assert!(said.contains("cannot reach Redis at redis://127.0.0.1:1"), "{said}");
}

fn mirror(file: &Path) -> Arc<Mirror> {
    Mirror::open(file, sqlite::Options::new(Arc::new(|| Time(0)))).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_wait_for_every_read_side() {
    let server = Server::start(Disk::Never);
    let (one, two) = (mirror(&server.folder().join("one.db")), mirror(&server.folder().join("two.db")));
    let reporting =
        |mirror: &Arc<Mirror>| Options { mirror: Some(mirror.clone()), reports: true, works: false, ..options(&server) };
    let (first, second) = (RedisStore::open(reporting(&one)).await.unwrap(), RedisStore::open(reporting(&two)).await.unwrap());
    // The second stands still while the first goes on.
    second.close().await;
    drop(second);
    let store: Arc<dyn Store> = worker(&server).await;
    let entries = || {
        let mut length = redis::cmd("XLEN");
        length.arg("af:{256}:facts");
        redis::from_redis_value::<u64>(server.query(&length).unwrap()).unwrap()
    };
    for version in 0..3 {
        let claim = store.take("anna".to_owned()).await.unwrap().unwrap();
        let mut commit = turn(&claim);
        commit.index.name = format!("Anna {version}");
        assert_eq!(store.commit(vec![commit]).await.unwrap(), [Committed::Done]);
    }
    let name = async |mirror: &Arc<Mirror>| {
        let rows = mirror.customers(String::new(), String::new(), 9).await.unwrap();
        rows.first().map(|row| row.name.clone()).unwrap_or_default()
    };
    until("the first has followed", async || name(&one).await == "Anna 2").await;
    assert_eq!(entries(), 3, "the second still needs them");
    let _second = RedisStore::open(reporting(&two)).await.unwrap();
    until("the second has followed", async || name(&two).await == "Anna 2").await;
    until("nobody needs them any more", async || entries() == 0).await;
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_an_event_is_known_for_eight_days_and_not_for_ever() {
    let server = Server::start(Disk::Never);
    let clock = Arc::new(AtomicI64::new(1_803_891_600_000));
    let told = clock.clone();
    let set: autofunnel::store::redis::SetClock = Arc::new(move || Time(told.load(Ordering::SeqCst)));
    let store: Arc<dyn Store> = RedisStore::open(Options { clock: Some(set), ..options(&server) }).await.unwrap();
    // Whatever part of a portion of days the first delivery falls into.
    for start in 0..9 {
        let id = format!("{start}");
        assert_eq!(store.accept(vec![event("anna", &id)]).await.unwrap(), [Accepted::New]);
        clock.fetch_add(8 * DAY_MS - 1, Ordering::SeqCst);
        assert_eq!(store.accept(vec![event("anna", &id)]).await.unwrap(), [Accepted::Duplicate], "{start}");
        clock.fetch_add(9 * DAY_MS + 1, Ordering::SeqCst);
    }
    assert_eq!(store.accept(vec![event("anna", "0")]).await.unwrap(), [Accepted::New], "forgotten after a while");
    let mut list = redis::cmd("KEYS");
    list.arg("af:{85}:seen:*");
    let keys: Vec<String> = redis::from_redis_value(server.query(&list).unwrap()).unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        let mut left = redis::cmd("PTTL");
        left.arg(&key);
        let left: i64 = redis::from_redis_value(server.query(&left).unwrap()).unwrap();
        assert!((1..=16 * DAY_MS).contains(&left), "{key} goes by itself: {left}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_when_redis_came_back_older() {
    let server = Server::start(Disk::Never);
    let state = server.folder().join("state/watermark");
    let noting = || Options { state_file: Some(state.clone()), ..options(&server) };
    let store: Arc<dyn Store> = RedisStore::open(noting()).await.unwrap();
    let effect = with_claimed_effect(&store, "anna").await;
    store.close().await;
    drop(store);
    // What was noted is a minute ahead of what Redis knows.
    let noted = std::fs::read_to_string(&state).unwrap();
    let (id, rest) = noted.split_once(' ').unwrap();
    let ms: i64 = rest.split_whitespace().next().unwrap().parse().unwrap();
    std::fs::write(&state, format!("{id} {}\n", ms + 60_000)).unwrap();
    let store: Arc<dyn Store> = RedisStore::open(noting()).await.unwrap();
    assert!(store.claim_effects(9).await.unwrap().is_empty(), "sending is paused");
    assert_eq!(store.accept(vec![event("bert", "1")]).await.unwrap(), [Accepted::New], "accepting is not");
    autofunnel::store::redis::doctor::confirm(&server.address()).await.unwrap();
    // An operator's word lets it go on.
    let delivery = handed_out(&store).await;
    assert_eq!(delivery.effect, effect);
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::Go { attempt: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_what_is_wrong() {
    let server = Server::start(Disk::EverySecond);
    let empty = autofunnel::store::redis::doctor::examine(&server.address()).await.unwrap();
    assert!(empty.store.is_empty() && empty.problems.is_empty(), "{empty:?}");
    let store = worker(&server).await;
    store.accept(vec![event("anna", "1"), event("bert", "1")]).await.unwrap();
    let well = autofunnel::store::redis::doctor::examine(&server.address()).await.unwrap();
    assert_eq!((well.unread, well.workers.len(), well.workers[0].shards), (2, 1, 256));
    assert!(well.problems.is_empty(), "{:?}", well.problems);
    assert!(well.weights.iter().any(|weight| weight.kind == "inbox" && weight.mean_bytes > 0), "{:?}", well.weights);
    server.query(&redis::cmd("FLUSHALL")).unwrap();
    until("the doctor sees that the store is gone", async || {
        let found = autofunnel::store::redis::doctor::examine(&server.address()).await.unwrap();
        found.problems.iter().any(|problem| problem.contains("this Redis was emptied under them"))
    })
    .await;
    store.close().await;
    let server = Server::start(Disk::EverySecond);
    worker(&server).await.close().await;
    let alone = autofunnel::store::redis::doctor::examine(&server.address()).await.unwrap();
    assert!(alone.problems.iter().any(|problem| problem.contains("no worker is at work")), "{:?}", alone.problems);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_pauses_begins_nowhere() {
    let server = Server::start(Disk::Never);
    let (store, door): (Arc<dyn Store>, Arc<dyn Store>) = (worker(&server).await, door(&server).await);
    let effect = with_claimed_effect(&store, "anna").await;
    let of = || Pausable::Funnel(effect.funnel.clone());
    door.pause(pause(&door, of())).await.unwrap();
    assert_eq!(begin(&store, &effect).await, Begin::Paused);
    // The worker sleeps until the other process ends the pause.
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for_work(Work::Effects).await }
    });
    assert!(door.resume(of()).await.unwrap());
    tokio::time::timeout(PATIENCE, waiting).await.expect("the bell rings").unwrap();
    let delivery = handed_out(&store).await;
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::Go { attempt: 1 });
}

/// The process that paused it ended before it had told all shards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_was_broken_off_is_made_good_by_the_next_renewal() {
    let server = Server::start(Disk::Never);
    let store: Arc<dyn Store> = worker(&server).await;
    let of = Pausable::Workspace;
    store.pause(pause(&store, of.clone())).await.unwrap();
    let told = |change: &[u8]| {
        let mut set = redis::cmd("EVAL");
        set.arg("for s = 0, 255 do redis.call('HSET', 'af:{' .. s .. '}:lease', 'p', ARGV[1]) end").arg(0).arg(change);
        server.query(&set).unwrap();
    };
    // As if nobody had been told: the number of an earlier change, and nothing paused.
    told(&[0; 8]);
    let kept = || {
        let mut get = redis::cmd("HGET");
        get.arg("af:{85}:lease").arg("p");
        match server.query(&get).unwrap() {
            redis::Value::BulkString(bytes) => bytes.len(),
            other => panic!("{other:?}"),
        }
    };
    until("the shards know of it again", async || kept() == 16).await;
    let effect = with_claimed_effect(&store, "anna").await;
    assert_eq!(begin(&store, &effect).await, Begin::Paused);
    // The store's own number came back older than that of the shards: the next change is heeded all the same.
    told(&[0, 0, 0, 0, 0, 0, 1, 0]);
    assert!(store.resume(of).await.unwrap());
    let delivery = handed_out(&store).await;
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::Go { attempt: 1 });
    store.pause(pause(&store, Pausable::Workspace)).await.unwrap();
    let effect = with_claimed_effect(&store, "bert").await;
    assert_eq!(begin(&store, &effect).await, Begin::Paused);
}
