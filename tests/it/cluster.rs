//! Over a cluster and behind sentinels: slots that move, nodes that end, fail-overs that lose something, replicas
//! that must confirm, and what the doctor says of all that.

use crate::contract::{begin, claim_one, effect, event, turn, with_claimed_effect};
use crate::redis::Disk;
use crate::redis_many::{Cluster, PATIENCE, Watched};
use autofunnel::lang::time::Time;
use autofunnel::store::read::{ReadSide, Reads};
use autofunnel::store::redis::doctor::{confirm, examine};
use autofunnel::store::redis::{Options, RedisStore};
use autofunnel::store::sqlite::{self, Mirror};
use autofunnel::store::{Accepted, Begin, Commit, Committed, Store, StoreError, Work};
use std::sync::Arc;
use std::time::Instant;

/// Shards of customers, as the store spreads them.
const ANNA: u16 = 85;

fn options(address: &str) -> Options {
    let mut options = Options::new(address);
    (options.lease_ms, options.accept_loss) = (3_000, true);
    options
}

async fn open(options: Options) -> Arc<RedisStore> {
    RedisStore::open(options).await.unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}

/// Something that blocks, beside the tasks that serve connections.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_on_its_way_loses_nothing_and_holds_up_nobody_else() {
    let cluster = Cluster::start(3, 0, Disk::Never);
    // One lane, of which the slot knows already.
    let store: Arc<dyn Store> = open(Options { connections: 1, ..options(&cluster.address()) }).await;
    for id in ["0", "1"] {
        store.accept(vec![event("anna", id)]).await.unwrap();
        let claim = claim_one(&store).await;
        assert_eq!(store.commit(vec![turn(&claim)]).await.unwrap(), [Committed::Done]);
    }
    store.accept(vec![event("anna", "2")]).await.unwrap();
    let claim = claim_one(&store).await;
    let effect = effect("anna", 1);
    let commit = Commit { effects: vec![effect.clone()], ..turn(&claim) };
    let slot = cluster.slot(&format!("af:{{{ANNA}}}:lease"));
    let from = cluster.owner(slot);
    let to = (from + 1) % 3;
    // A script that found its first keys here and others there would stop in its middle.
    blocking(|| cluster.begin_move(slot, from, to));
    let committed = {
        let store = store.clone();
        tokio::spawn(async move { store.commit(vec![commit]).await })
    };
    let late = {
        let store = store.clone();
        tokio::spawn(async move { store.accept(vec![event("anna", "3")]).await })
    };
    // Customers of other slots neither wait nor are refused.
    for n in 0..20 {
        assert_eq!(store.accept(vec![event("bert", &format!("while {n}"))]).await.unwrap(), [Accepted::New]);
    }
    blocking(|| assert_eq!(cluster.move_keys(slot, from, to, 3), 3));
    for n in 20..40 {
        assert_eq!(store.accept(vec![event("bert", &format!("while {n}"))]).await.unwrap(), [Accepted::New]);
    }
    assert!(!late.is_finished() && !committed.is_finished(), "done in the middle of the move");
    blocking(|| {
        while cluster.move_keys(slot, from, to, 10) > 0 {}
        cluster.end_move(slot, from, to);
    });
    assert_eq!(committed.await.unwrap().unwrap(), [Committed::Done]);
    assert_eq!(late.await.unwrap().unwrap(), [Accepted::New]);
    assert_eq!(store.accept(vec![event("anna", "3")]).await.unwrap(), [Accepted::Duplicate]);
    let (mut read, mut sent) = (0, Vec::new());
    until("hers is handed out", async || {
        for claim in store.claim(9).await.unwrap() {
            read += if claim.customer == "anna" { claim.inputs.len() } else { 0 };
            assert_eq!(store.commit(vec![turn(&claim)]).await.unwrap(), [Committed::Done]);
        }
        sent.extend(store.claim_effects(9).await.unwrap().into_iter().map(|delivery| delivery.effect.id));
        read > 0 && !sent.is_empty()
    })
    .await;
    assert_eq!((read, sent), (1, vec![effect.id]), "her last event once, and what the one before decided once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_work_together_over_a_cluster_and_outlive_a_node() {
    let mut cluster = Cluster::start(3, 0, Disk::Always);
    let address = cluster.address();
    let worker = open(options(&address)).await;
    let mirror = Mirror::open(&cluster.folder().join("report.db"), sqlite::Options::new(Arc::new(|| Time(0)))).unwrap();
    let door = open(Options { works: false, reports: true, mirror: Some(mirror), ..options(&address) }).await;
    // The bell, from whichever node to whichever.
    for customer in ["anna", "bert", "carl", "dora"] {
        let waiting = {
            let worker = worker.clone();
            tokio::spawn(async move { worker.wait_for_work(Work::Turns).await })
        };
        assert_eq!(door.accept(vec![event(customer, "1")]).await.unwrap(), [Accepted::New]);
        tokio::time::timeout(PATIENCE, waiting).await.expect("the bell rings").unwrap();
    }
    let store: Arc<dyn Store> = worker.clone();
    let mut turned = 0;
    until("all are turned", async || {
        for claim in store.claim(9).await.unwrap() {
            let mut commit = turn(&claim);
            commit.index.name = format!("name of {}", claim.customer);
            turned += usize::from(store.commit(vec![commit]).await.unwrap() == [Committed::Done]);
        }
        turned == 4
    })
    .await;
    until("the read side has followed every node", async || {
        door.customers(String::new(), String::new(), 9).await.unwrap().len() == 4
    })
    .await;
    assert_eq!(door.counts().await.unwrap().inbox, 0);
    worker.prune().await.unwrap();
    // Scripts are forgotten on every node.
    blocking(|| cluster.members.iter().for_each(|member| drop(member.ask(&["SCRIPT", "FLUSH"]).unwrap())));
    assert_eq!(door.accept(vec![event("anna", "2")]).await.unwrap(), [Accepted::New]);

    let slot = cluster.slot(&format!("af:{{{ANNA}}}:lease"));
    let owner = cluster.owner(slot);
    blocking(|| cluster.members[owner].kill());
    let waiting = {
        let door = door.clone();
        tokio::spawn(async move { door.accept(vec![event("anna", "3")]).await })
    };
    blocking(|| cluster.members[owner].go());
    assert_eq!(waiting.await.unwrap().unwrap(), [Accepted::New], "who asked meanwhile had to wait");
    let mut inputs = 0;
    until("hers are handed out", async || {
        for claim in store.claim(9).await.unwrap() {
            inputs += claim.inputs.len();
            store.commit(vec![turn(&claim)]).await.unwrap();
        }
        inputs == 2
    })
    .await;
}

/// The replica hears nothing of what `work` does, and takes over behind it.
async fn lose<T>(watched: &mut Watched, work: impl AsyncFnOnce() -> T) -> T {
    blocking(|| {
        watched.members[1].signal("STOP");
        // Else it would still read what had reached it when it goes on.
        watched.members[0].ask(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
    });
    let done = work().await;
    blocking(|| {
        watched.members[0].kill();
        watched.members[1].signal("CONT");
        watched.until_failed_over(0);
    });
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_that_lost_something_nothing_is_sent_until_somebody_has_looked() {
    let mut watched = Watched::start(Disk::Never);
    let address = watched.address();
    let noting = |name: &str| {
        let state = std::env::temp_dir().join(format!("autofunnel-failover-{}-{name}", std::process::id()));
        Options { state_file: Some(state), ..options(&address) }
    };
    let (first, second) = (open(noting("first")).await, open(noting("second")).await);
    let door = open(Options { works: false, ..options(&address) }).await;
    until("each owns half", async || first.shards_owned() == 128 && second.shards_owned() == 128).await;
    let stores: [Arc<dyn Store>; 2] = [first, second];
    let mut sending = Vec::new();
    for store in &stores {
        let owned = async |customer: &str| matches!(store.take(customer.to_owned()).await, Ok(Some(_)));
        for n in 0.. {
            let customer = format!("c{n}");
            if owned(&customer).await {
                store.release(vec![customer.clone()]).await.unwrap();
                sending.push((store.clone(), with_claimed_effect(store, &customer).await));
                break;
            }
        }
    }
    // The replica has all that, and what is answered from here on it never hears.
    blocking(|| crate::redis_many::until("the replica has heard it", || watched.has_heard()));
    let answered = lose(&mut watched, async || door.accept(vec![event("anna", "1")]).await).await;
    assert_eq!(answered.unwrap(), [Accepted::New]);
    until("the door finds out", async || door.accept(vec![event("bert", "1")]).await.is_ok() && watched.field("lost").is_some())
        .await;
    for (store, effect) in &sending {
        until("every worker is told", async || store.claim_effects(0).await.is_ok() && begin_fails(store, effect).await).await;
    }
    confirm(&address).await.unwrap();
    for (store, effect) in &sending {
        until("an operator's word lets it go on", async || !begin_fails(store, effect).await).await;
    }
    // What was lost comes again with its sender.
    assert_eq!(door.accept(vec![event("anna", "1")]).await.unwrap(), [Accepted::New]);
}

async fn begin_fails(store: &Arc<dyn Store>, effect: &autofunnel::effect::Effect) -> bool {
    match store.begin(effect.id.clone(), 0, vec![1]).await {
        Err(StoreError::Unavailable(said)) => said.contains("paused"),
        Err(other) => panic!("{other}"),
        Ok(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_too_few_replicas_have_is_not_answered() {
    // With a disk: a master that comes back empty would take its replica along.
    let mut watched = Watched::start(Disk::EverySecond);
    let address = watched.address();
    let store: Arc<dyn Store> = open(Options { wait_replicas: 1, ..options(&address) }).await;
    assert_eq!(store.accept(vec![event("anna", "1")]).await.unwrap(), [Accepted::New]);
    let effect = with_claimed_effect(&store, "bert").await;
    blocking(|| watched.members[1].signal("STOP"));
    let refused = store.accept(vec![event("anna", "2")]).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("0 of 1 replicas")), "{refused:?}");
    let refused = store.begin(effect.id.clone(), 0, vec![1]).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(_))), "nothing leaves before a replica knows: {refused:?}");
    blocking(|| watched.members[1].signal("CONT"));
    until("the replica confirms again", async || store.accept(vec![event("anna", "2")]).await.is_ok()).await;
    assert_eq!(begin(&store, &effect).await, Begin::Go { attempt: 1 }, "nothing was sent under the first answer");
    // Nothing that was answered is lost when the master ends now.
    let answered = store.accept(vec![event("anna", "3")]).await.unwrap();
    assert_eq!(answered, [Accepted::New]);
    blocking(|| {
        watched.members[0].kill();
        watched.until_failed_over(0);
        watched.members[0].go();
    });
    until("the new master has a replica", async || store.accept(vec![event("carl", "1")]).await.is_ok()).await;
    assert_eq!(store.accept(vec![event("anna", "3")]).await.unwrap(), [Accepted::Duplicate]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_knows_what_stands_behind_an_address() {
    let mut cluster = Cluster::start(3, 1, Disk::EverySecond);
    let said = examine(&cluster.address()).await.unwrap();
    assert_eq!(said.behind.len(), 3, "{:?}", said.behind);
    assert!(said.behind.iter().all(|node| node.contains("slots") && node.contains("1 replica")), "{:?}", said.behind);
    assert!(said.notes.iter().any(|note| note.contains("--wait-replicas")), "{:?}", said.notes);
    assert!(said.problems.is_empty(), "{:?}", said.problems);
    let store = open(options(&cluster.address())).await;
    store.accept(vec![event("anna", "1")]).await.unwrap();
    let said = examine(&cluster.address()).await.unwrap();
    assert_eq!(said.unread, 1);
    assert!(said.weights.iter().any(|weight| weight.kind == "inbox"), "every node is weighed: {:?}", said.weights);
    // Unsafe on one node is unsafe.
    cluster.members[2].ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).unwrap();
    let said = examine(&cluster.address()).await.unwrap();
    assert!(said.problems.iter().any(|problem| problem.contains("noeviction")), "{:?}", said.problems);
    let refused = RedisStore::open(options(&cluster.address())).await;
    assert!(matches!(&refused, Err(StoreError::Fatal(why)) if why.contains("noeviction")), "{:?}", refused.err());
    // Half a cluster.
    blocking(|| {
        cluster.members[2].ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).unwrap();
        cluster.members[5].kill();
        cluster.members[2].kill();
    });
    let said = examine(&cluster.address()).await;
    let told = said.map(|said| said.problems.join("\n")).unwrap_or_else(|why| why.to_string());
    assert!(told.contains("does not answer"), "{told}");

    let mut watched = Watched::start(Disk::EverySecond);
    let said = examine(&watched.address()).await.unwrap();
    assert!(said.behind[0].contains("master") && said.behind[0].contains("quorum 2"), "{:?}", said.behind);
    assert!(said.problems.is_empty(), "{:?}", said.problems);
    blocking(|| watched.members[1].kill());
    until("the doctor misses the replica", async || {
        let said = examine(&watched.address()).await.unwrap();
        said.problems.iter().any(|problem| problem.contains("no replica"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_took_the_place_of_a_lost_input_is_not_consumed_with_it() {
    let server = crate::redis::Server::start(Disk::Never);
    let store: Arc<dyn Store> = open(options(&server.address())).await;
    store.accept(vec![event("anna", "1")]).await.unwrap();
    let claim = claim_one(&store).await;
    // As a fail-over does: what was read is gone, and another event came after it.
    let mut lose = redis::cmd("DEL");
    lose.arg(format!("af:{{{ANNA}}}:inbox:anna"));
    server.query(&lose).unwrap();
    store.accept(vec![event("anna", "2")]).await.unwrap();
    assert_eq!(store.commit(vec![turn(&claim)]).await.unwrap(), [Committed::Conflict]);
    let claim = claim_one(&store).await;
    assert_eq!(claim.inputs.len(), 1);
    assert_eq!(store.commit(vec![turn(&claim)]).await.unwrap(), [Committed::Done]);
}
