//! The move of a store from its file to Redis, and the copy of a file under a running engine: everything is
//! there afterwards, nothing is done twice, and whatever is wrong is noticed.

use crate::contract::{
    START, TestClock, accept, address, begin_claimed, commit, effect, event, fact, make_with, put_back, run_row, stop, take,
    turn, withdrawal,
};
use crate::redis::{Disk, Server};
use autofunnel::event::InputBody;
use autofunnel::event::address::StopKind;
use autofunnel::fact::What;
use autofunnel::lang::time::{DAY_MS, HOUR_MS, Time};
use autofunnel::store::applied::{Applied, Applying};
use autofunnel::store::migrate::{Move, Outcome, Progress, run};
use autofunnel::store::pause::{Pausable, Pause};
use autofunnel::store::quantity::Quantity;
use autofunnel::store::read::{KeptMessage, RunFilter, TimelineRow};
use autofunnel::store::redis::RedisStore;
use autofunnel::store::sqlite::backup::backup;
use autofunnel::store::sqlite::{self, Mirror, SqliteStore};
use autofunnel::store::{
    Accepted, Begin, Claim, Commit, Committed, CustomerRow, Fate, QUARANTINE_AFTER, Saying, Store, StoreError, StoreResult,
    TokenRow,
};
use futures_util::FutureExt;
use std::path::PathBuf;
use std::sync::Arc;

pub mod engine;

/// A file, a server and the clock of both.
struct Stand {
    folder: tempfile::TempDir,
    server: Server,
    clock: TestClock,
}

impl Stand {
    fn new() -> Stand {
        Stand { folder: tempfile::tempdir().unwrap(), server: Server::start(Disk::Never), clock: TestClock::new() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    fn report(&self) -> PathBuf {
        self.folder.path().join("report.db")
    }

    fn options(&self) -> sqlite::Options {
        let clock = self.clock.clone();
        sqlite::Options::new(Arc::new(move || clock.now()))
    }

    fn old(&self) -> Arc<dyn Store> {
        SqliteStore::open(&self.file(), self.options()).unwrap()
    }

    fn plan(&self) -> Move {
        let clock = self.clock.clone();
        Move {
            from: self.file(),
            to: self.server.address(),
            report: self.report(),
            accept_loss: true,
            clock: Some(Arc::new(move || clock.now())),
        }
    }

    async fn migrate(&self) -> StoreResult<Outcome> {
        run(&self.plan(), &|_| {}).await
    }

    async fn open_new(&self) -> StoreResult<Arc<dyn Store>> {
        let clock = self.clock.clone();
        let mut options = autofunnel::store::redis::Options::new(&self.server.address());
        options.clock = Some(Arc::new(move || clock.now()));
        options.mirror = Some(Mirror::open(&self.report(), self.options())?);
        (options.reports, options.accept_loss) = (true, true);
        Ok(RedisStore::open(options).await?)
    }

    async fn new_store(&self) -> Arc<dyn Store> {
        self.open_new().await.unwrap()
    }

    fn ask(&self, words: &[&str]) -> redis::Value {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(word);
        });
        self.server.query(&command).unwrap()
    }
}

/// A key of a customer's shard.
fn key(customer: &str, name: &str) -> String {
    format!("af:{{{}}}:{name}", autofunnel::store::redis::import::shard(customer))
}

/// The key of an e-mail address.
fn place_of(text: &str) -> String {
    let address = address(text);
    let shard = u16::from_str_radix(&address.as_str()[..2], 16).unwrap();
    format!("af:{{{shard}}}:address:{address}")
}

fn grant(customer: &str, n: u32) -> autofunnel::effect::Effect {
    effect(customer, n)
}

/// What the customers of [`fill`] are called, and a number of others so that many shards are used.
const OTHERS: u32 = 600;

/// One of every kind of thing in a store.
async fn fill(stand: &Stand, store: &Arc<dyn Store>) {
    let funnels = |version: &str| vec![("welcome".to_owned(), version.to_owned())];
    store.put_definitions("d0".to_owned(), funnels("v0"), b"bundle d0".to_vec()).await.unwrap();
    let applied =
        Applied { hash: "d1".to_owned(), at: Time(START), by: "ada".to_owned(), note: String::new(), before: "d0".to_owned() };
    assert!(store.apply(Applying { applied, funnels: funnels("v1"), bundle: b"bundle d1".to_vec() }).await.unwrap());
    let quantity = |name: &str, until| Quantity { name: name.to_owned(), most: 100, until };
    for (name, until) in [("ever", None), ("today", Some(Time(START + DAY_MS))), ("long ago", Some(Time(START - 9 * DAY_MS)))] {
        assert_eq!(store.take_quantity(quantity(name, until), 7, 7).await.unwrap(), 7);
    }
    let of = Pausable::Marketing("mail".to_owned());
    store.pause(Pause { of, since: Time(START), by: "complaints".to_owned(), why: "too many".to_owned() }).await.unwrap();
    let token = TokenRow { digest: vec![0, 255, 7], name: "shop".to_owned(), scopes: vec!["ingest".to_owned()], expires: None };
    store.put_token(token).await.unwrap();
    // A run that waits, in an older version.
    make_with(store, "waits", |first| {
        first.wake = Some(Time(START + HOUR_MS));
        (first.runs, first.began) = (vec![run_row("waits", 1, "welcome", "v0", "waiting", START)], vec![1]);
        first.facts = vec![fact(What::Entered, START, None), fact(What::Granted, START, Some(7))];
        first.account = Some(b"account of hers".to_vec());
        first.addresses_taken = vec![address("a@x.org"), address("b@x.org")];
        first.index = CustomerRow {
            id: "waits".to_owned(),
            name: "Ada Lind".to_owned(),
            email: "ada@example.com".to_owned(),
            segments: vec!["vip".to_owned(), "new".to_owned()],
            ..CustomerRow::default()
        };
    })
    .await;
    let again = take(store, "waits").await;
    assert_eq!(
        commit(store, Commit { wake: Some(Time(START + HOUR_MS)), index: line("waits"), ..turn(&again) }).await,
        Committed::Done
    );
    // Effects: one that waits, one that failed, one of which nobody knows, one that is being sent.
    make_with(store, "sends", |first| {
        first.effects = (1..=4).map(|n| grant("sends", n)).collect();
        first.addresses_taken = vec![address("b@x.org")];
    })
    .await;
    // Something was said about an address that two share, and about one that nobody has.
    store.link_key().await.unwrap();
    for said in ["b@x.org", "c@x.org"] {
        store.say(address(said), Saying::Stop(stop(StopKind::Bounced, START))).await.unwrap();
    }
    let deliveries = store.claim_effects(9).await.unwrap();
    let nth = |n: u32| deliveries.iter().find(|delivery| delivery.effect == grant("sends", n)).unwrap();
    for n in 2..=4 {
        assert_eq!(begin_claimed(store, nth(n)).await, Begin::Go { attempt: 1 });
    }
    for (n, ambiguous) in [(2, false), (3, true)] {
        let due = Time(START + 60_000 * i64::from(n));
        put_back(store, nth(n), due, &format!("no luck {n}"), ambiguous).await;
    }
    // Inputs: put aside, counted against, in order.
    accept(store, vec![event("aside", "bad"), event("aside", "good")]).await;
    fault(store, "aside", QUARANTINE_AFTER).await;
    make_with(store, "bad wake", |first| first.wake = Some(Time(START))).await;
    for _ in 0..QUARANTINE_AFTER {
        stand.clock.pass(70_000);
        fault(store, "bad wake", 1).await;
    }
    accept(store, vec![event("crashes", "1")]).await;
    fault(store, "crashes", 1).await;
    // Who takes her consent back while something is decided.
    make_with(store, "gate", |first| first.effects = vec![grant("gate", 1)]).await;
    accept(store, vec![event("gate", "1"), withdrawal("gate"), event("gate", "2")]).await;
    make_with(store, "gone", |first| first.facts = vec![fact(What::Entered, START, None)]).await;
    let gone = take(store, "gone").await;
    assert_eq!(commit(store, Commit { erase: true, ..turn(&gone) }).await, Committed::Done);
    store.keep_message(message("waits")).await.unwrap();
    for n in 0..OTHERS {
        let name = format!("c{n}");
        make_with(store, &name, |first| first.wake = (n % 3 == 0).then_some(Time(START + DAY_MS + i64::from(n)))).await;
        if n % 5 == 0 {
            accept(store, vec![event(&name, "1"), event(&name, "2")]).await;
        }
    }
}

fn line(id: &str) -> CustomerRow {
    CustomerRow {
        id: id.to_owned(),
        name: "Ada Lindqvist".to_owned(),
        segments: vec!["vip".to_owned()],
        ..CustomerRow::default()
    }
}

fn message(customer: &str) -> KeptMessage {
    let text = || "text".to_owned();
    KeptMessage {
        id: "m".to_owned(),
        customer: customer.to_owned(),
        channel: "email".to_owned(),
        to: text(),
        funnel: text(),
        template: text(),
        subject: text(),
        text: text(),
        html: text(),
        at: Time(START),
    }
}

/// Turns of a customer fail so often; whoever else is handed out meanwhile is given back.
async fn fault(store: &Arc<dyn Store>, customer: &str, times: u32) {
    let (mut left, mut rounds) = (times, 0);
    while left > 0 {
        rounds += 1;
        assert!(rounds < 100, "{customer} does not get her turn");
        let claims = store.claim(64).await.unwrap();
        assert!(!claims.is_empty(), "{customer} is not handed out");
        for claim in claims {
            if claim.customer == customer && left > 0 {
                left -= 1;
                store.fault(claim.customer, None, "panic".to_owned()).await.unwrap();
            } else {
                store.release(vec![claim.customer]).await.unwrap();
            }
        }
    }
}

/// Everything that can be read of a store, in an order of its own.
async fn seen(store: &Arc<dyn Store>) -> Vec<String> {
    let mut out = Vec::new();
    let mut after = String::new();
    loop {
        let rows = store.customers(String::new(), after.clone(), 200).await.unwrap();
        let Some(last) = rows.last() else { break };
        after = last.id.clone();
        for row in &rows {
            let record = store.record(row.id.clone()).await.unwrap().unwrap();
            let facts: Vec<TimelineRow> = store.timeline(row.id.clone(), None, 100).await.unwrap();
            out.push(format!("{row:?} {record:?} {facts:?}"));
        }
    }
    out.push(format!("{:?}", store.runs(RunFilter::default(), 100).await.unwrap()));
    out.push(format!("{:?}", store.figures("2000-01-01".to_owned(), "2100-01-01".to_owned()).await.unwrap()));
    out.push(format!("{:?}", store.messages(String::new(), None, 100).await.unwrap()));
    out.push(format!("{:?}", store.counts().await.unwrap()));
    out.push(format!("{:?}", store.outbox(100).await.unwrap()));
    out.push(format!("{:?}", store.tokens().await.unwrap()));
    out.push(format!("{:?}", store.definitions().await.unwrap()));
    out.push(format!("{:?}", store.applied().await.unwrap()));
    out.push(format!("{:?}", store.pauses().await.unwrap()));
    out.push(format!("{:?}", store.customers("ada l".to_owned(), String::new(), 9).await.unwrap()));
    // An input has another number in each store.
    let aside = store.quarantine(100).await.unwrap();
    let mut aside: Vec<String> =
        aside.into_iter().map(|row| format!("{} {} {} {:?}", row.customer, row.input, row.cause, row.at)).collect();
    aside.sort();
    out.extend(aside);
    out
}

fn whole(outcome: &Outcome) {
    assert!(outcome.is_whole(), "{outcome:#?}");
}

/// Claims until nobody is ready; each is committed.
async fn drained(store: &Arc<dyn Store>) -> Vec<Claim> {
    let mut all = Vec::new();
    loop {
        let claims = store.claim(64).await.unwrap();
        if claims.is_empty() {
            return all;
        }
        for claim in &claims {
            assert_eq!(commit(store, turn(claim)).await, Committed::Done);
        }
        all.extend(claims);
    }
}

fn names(claim: &Claim) -> Vec<String> {
    let name = |body: &InputBody| match body {
        InputBody::Event(event) => event.id.clone(),
        other => format!("{other:?}").chars().take_while(|c| c.is_alphanumeric()).collect(),
    };
    claim.inputs.iter().map(|queued| name(&queued.input.body)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_and_the_work_goes_on() {
    let stand = Stand::new();
    let old = stand.old();
    fill(&stand, &old).await;
    let before = seen(&old).await;
    old.close().await;
    drop(old);
    let bytes = std::fs::read(stand.file()).unwrap();
    let outcome = stand.migrate().await.unwrap();
    whole(&outcome);
    let count = |what: &str| outcome.lines.iter().find(|line| line.what == what).unwrap().target;
    assert_eq!((count("customers"), count("accounts"), count("effects")), (u64::from(OTHERS) + 4, 1, 5));
    assert_eq!((count("put aside"), count("erased customers"), count("tokens"), count("definitions")), (2, 1, 1, 2));
    assert_eq!((count("inputs"), count("live runs"), outcome.too_old), (5 + 2 * 120, 1, 0));
    assert_eq!((count("pauses"), count("applied"), count("used budgets")), (1, 1, 2));
    assert_eq!(std::fs::read(stand.file()).unwrap(), bytes, "the source is not changed");

    let new = stand.new_store().await;
    assert_eq!(seen(&new).await, before);
    // Second deliveries are known, and told from changed ones.
    let mut other = event("c5", "2");
    other.digest = 8;
    assert_eq!(
        accept(&new, vec![event("c5", "2"), other, event("c5", "3")]).await,
        [Accepted::Duplicate, Accepted::Conflict, Accepted::New]
    );
    let claims = drained(&new).await;
    let of = |who: &str| claims.iter().filter(|claim| claim.customer == who).flat_map(names).collect::<Vec<_>>();
    assert_eq!(
        (of("c5"), of("gate")),
        (vec!["1".into(), "2".into(), "3".into()], vec!["1".into(), "Profile".into(), "2".into()])
    );
    assert_eq!((of("aside"), of("crashes"), of("waits").len()), (vec!["good".to_owned()], vec!["1".to_owned()], 0));
    let inputs: usize = claims.iter().map(|claim| claim.inputs.len()).sum();
    assert_eq!(inputs, 5 + 2 * 120 + 1, "each once");
    let crashed = claims.iter().find(|claim| claim.customer == "crashes").unwrap();
    assert_eq!(crashed.inputs[0].input.accepted_at, Time(START + i64::from(QUARANTINE_AFTER) * 70_000));
    // What was put aside can be tried again.
    let rows = new.quarantine(9).await.unwrap();
    let bad = rows.iter().find(|row| row.customer == "aside").unwrap();
    assert!(new.unquarantine("aside".to_owned(), bad.seq, Fate::Retry).await.unwrap());
    assert_eq!(drained(&new).await.iter().flat_map(names).collect::<Vec<_>>(), ["bad"]);
    // An erased customer is not made anew.
    accept(&new, vec![event("gone", "9")]).await;
    let gone = new.claim(9).await.unwrap();
    assert!(gone[0].record.erased && gone[0].record.version == 0, "{gone:?}");
    new.release(vec!["gone".to_owned()]).await.unwrap();
    new.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_keep_what_is_known_of_them_and_wakes_come_at_their_instant() {
    let stand = Stand::new();
    let old = stand.old();
    fill(&stand, &old).await;
    old.close().await;
    drop(old);
    whole(&stand.migrate().await.unwrap());
    let new = stand.new_store().await;
    stand.clock.pass(HOUR_MS - 300_000);
    let woken: Vec<String> = drained(&new).await.into_iter().map(|claim| claim.customer).collect();
    assert!(!woken.contains(&"waits".to_owned()) && woken.contains(&"bad wake".to_owned()));
    let mut effects = new.claim_effects(9).await.unwrap();
    effects.sort_by(|a, b| a.effect.id.cmp(&b.effect.id));
    let known: Vec<_> =
        effects.iter().map(|one| (one.effect.id.as_str(), one.attempts, one.ambiguous, one.body_digest.is_some())).collect();
    let wanted = [
        ("gate/1/step/1", 0, false, false),
        ("sends/1/step/1", 0, false, false),
        ("sends/1/step/2", 1, false, true),
        ("sends/1/step/3", 1, true, true),
        ("sends/1/step/4", 1, true, true),
    ];
    assert_eq!(known, wanted);
    assert_eq!(effects[4].ambiguous_since, Some(Time(START)));
    assert_eq!(begin_claimed(&new, &effects[2]).await, Begin::Go { attempt: 2 });
    assert_eq!(begin_claimed(&new, &effects[0]).await, Begin::Stale, "her consent went while it waited");
    stand.clock.pass(60_000 * 3);
    let woken: Vec<String> = drained(&new).await.into_iter().map(|claim| claim.customer).collect();
    assert!(woken.contains(&"waits".to_owned()), "{woken:?}");
    new.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_hand_at_a_crash_is_suspected_on_the_other_side() {
    for clean in [false, true] {
        let stand = Stand::new();
        let old = stand.old();
        accept(&old, vec![event("anna", "1"), event("bert", "1")]).await;
        assert_eq!(old.claim(9).await.unwrap().len(), 2);
        if clean {
            old.close().await;
        }
        drop(old);
        whole(&stand.migrate().await.unwrap());
        let new = stand.new_store().await;
        assert_eq!(new.claim(9).await.unwrap().len(), 2);
        for customer in ["anna", "bert"] {
            let counts = stand.ask(&["HVALS", &key(customer, "crashes")]);
            let wanted = if clean { vec![] } else { vec![redis::Value::BulkString(b"1".to_vec())] };
            assert_eq!(counts, redis::Value::Array(wanted), "{customer}, {clean}");
        }
        new.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_move_goes_on_and_nobody_works_on_half_a_store() {
    let stand = Stand::new();
    let old = stand.old();
    fill(&stand, &old).await;
    let before = seen(&old).await;
    old.close().await;
    drop(old);
    for stop in ["customers", "effects", "inputs", "ids of events", "erased customers", "read side", "comparing effects"] {
        interrupted(&stand, stop).await;
        let mut options = autofunnel::store::redis::Options::new(&stand.server.address());
        options.accept_loss = true;
        let Err(refused) = RedisStore::open(options).await else { panic!("an engine works on half a store: {stop}") };
        assert!(refused.to_string().contains("migrate-store"), "{stop}: {refused}");
    }
    let outcome = stand.migrate().await.unwrap();
    whole(&outcome);
    assert!(outcome.resumed);
    assert_eq!(seen(&stand.new_store().await).await, before);
    let again = stand.migrate().await.unwrap_err().to_string();
    assert!(again.contains("name an empty Redis"), "{again}");
}

/// Breaks a move off at the first sign of a part.
async fn interrupted(stand: &Stand, part: &str) {
    let plan = stand.plan();
    let watch = |progress: Progress| {
        if progress.what == part {
            std::panic::resume_unwind(Box::new("broken off"));
        }
    };
    let ended = std::panic::AssertUnwindSafe(run(&plan, &watch)).catch_unwind().await;
    assert!(ended.is_err(), "there is no part `{part}`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_went_on_is_another_source() {
    let stand = Stand::new();
    let old = stand.old();
    fill(&stand, &old).await;
    old.close().await;
    drop(old);
    interrupted(&stand, "inputs").await;
    let old = stand.old();
    accept(&old, vec![event("late", "1")]).await;
    let busy = stand.migrate().await.unwrap_err().to_string();
    assert!(busy.contains("in use by another process"), "{busy}");
    old.close().await;
    drop(old);
    let changed = stand.migrate().await.unwrap_err().to_string();
    assert!(changed.contains("has changed since"), "{changed}");
    stand.ask(&["FLUSHALL"]);
    let _absent = std::fs::remove_file(stand.report());
    whole(&stand.migrate().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_used_is_refused() {
    let stand = Stand::new();
    stand.old().close().await;
    let new = {
        let mut options = autofunnel::store::redis::Options::new(&stand.server.address());
        options.accept_loss = true;
        RedisStore::open(options).await.unwrap()
    };
    // Its clock is the server's, and so is this move's.
    let plan = Move { clock: None, ..stand.plan() };
    let working = run(&plan, &|_| {}).await.unwrap_err().to_string();
    assert!(working.contains("a worker is running"), "{working}");
    new.accept(vec![event("anna", "1")]).await.unwrap();
    new.close().await;
    let used = run(&plan, &|_| {}).await.unwrap_err().to_string();
    assert!(used.contains("holds customers"), "{used}");
    let missing = Move { from: stand.folder.path().join("nothing.db"), ..stand.plan() };
    assert!(run(&missing, &|_| {}).await.unwrap_err().to_string().contains("there is no store at"));
    let unsafe_ = Move { accept_loss: false, ..stand.plan() };
    assert!(run(&unsafe_, &|_| {}).await.unwrap_err().to_string().contains("appendonly yes"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_comparison_finds_every_kind_of_difference() {
    let stand = Stand::new();
    let old = stand.old();
    fill(&stand, &old).await;
    old.close().await;
    drop(old);
    let harms: Vec<(Vec<String>, &str)> = vec![
        (vec!["DEL".into(), key("c1", "customer:c1")], "customers"),
        (vec!["SETRANGE".into(), key("c1", "customer:c1"), "30".into(), "x".into()], "customers"),
        (vec!["SETRANGE".into(), key("c1", "customer:c1"), "11".into(), "x".into()], "customers"),
        (vec!["APPEND".into(), key("waits", "account:waits"), "x".into()], "accounts"),
        (vec!["ZADD".into(), key("waits", "wake"), "5".into(), "waits".into()], "customers"),
        (vec!["ZADD".into(), key("waits", "wake"), "5".into(), "nobody".into()], "wakes"),
        (vec!["RPOP".into(), key("c5", "inbox:c5")], "inputs"),
        (vec!["SET".into(), key("c5", "last"), "99".into()], "shards with inputs"),
        (vec!["ZREM".into(), key("c5", "ready"), "c5".into()], "customers with inputs"),
        (vec!["DEL".into(), key("crashes", "crashes")], "inputs"),
        (vec!["DEL".into(), key("sends", "effect:sends/1/step/3")], "effects"),
        (vec!["SETRANGE".into(), key("sends", "effect:sends/1/step/3"), "3".into(), "\u{7}".into()], "effects"),
        (vec!["ZADD".into(), key("sends", "outbox"), "1".into(), "nobody/1/s/1".into()], "effects as counted"),
        (vec!["DEL".into(), key("aside", "quarantine")], "put aside"),
        (vec!["DEL".into(), key("gone", "erased")], "erased customers"),
        (vec!["DEL".into(), key("waits", "live")], "live runs"),
        (vec!["HDEL".into(), "af:{meta}:bundles".into(), "d0".into()], "definitions"),
        (vec!["DEL".into(), "af:{meta}:tokens".into()], "tokens"),
        (vec!["HDEL".into(), "af:{meta}:pauses".into(), "marketing mail".into()], "pauses"),
        (vec!["RPOP".into(), "af:{meta}:applied".into()], "applied"),
        (vec!["SET".into(), key("ever", "quantity:ever"), "6".into()], "used budgets"),
        (vec!["DEL".into(), key("today", "quantity:today")], "used budgets"),
        (vec!["DEL".into(), place_of("b@x.org")], "addresses"),
        (vec!["HDEL".into(), place_of("b@x.org"), "s:email:bounced".into()], "addresses"),
        (vec!["SEEN".into()], "ids of events"),
    ];
    for (harm, kind) in harms {
        stand.ask(&["FLUSHALL"]);
        let _absent = std::fs::remove_file(stand.report());
        let plan = stand.plan();
        let watch = |progress: Progress| {
            if (progress.what, progress.done) == ("read side", 1) {
                match harm[0].as_str() {
                    "SEEN" => drop_seen(&stand),
                    _ => drop(stand.ask(&harm.iter().map(String::as_str).collect::<Vec<_>>())),
                }
            }
        };
        let outcome = run(&plan, &watch).await.unwrap();
        let wrong: Vec<&str> = outcome.lines.iter().filter(|line| !line.same).map(|line| line.what.as_str()).collect();
        assert!(wrong.contains(&kind), "{harm:?}: {outcome:#?}");
        assert!(!outcome.is_whole() && stand.open_new().await.is_err(), "no engine starts on it");
    }
    // Run again, it is mended.
    whole(&stand.migrate().await.unwrap());
}

fn drop_seen(stand: &Stand) {
    let script = "redis.call('DEL', redis.call('KEYS', 'af:*:seen:*')[1]) return 1";
    stand.ask(&["EVAL", script, "0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_engines_store_is_refused_by_name() {
    let stand = Stand::new();
    stand.old().close().await;
    whole(&stand.migrate().await.unwrap());
    stand.new_store().await.close().await;
    for (name, number, known) in [("layout", "4", "3"), ("format", "2", "1")] {
        stand.ask(&["HSET", "af:{meta}:store", name, number]);
        let refused = stand.open_new().await.err().unwrap().to_string();
        assert!(refused.contains(&format!("newer engine ({name} {number}, this engine knows {known})")), "{refused}");
        stand.ask(&["HSET", "af:{meta}:store", name, known]);
    }
    stand.ask(&["HSET", "af:{meta}:store", "shards", "64"]);
    assert!(stand.open_new().await.err().unwrap().to_string().contains("64 shards"));
    for (name, number, known) in [("schema", 4, 3), ("format", 2, 1)] {
        let change = |number: i64| {
            let db = rusqlite::Connection::open(stand.file()).unwrap();
            db.execute("UPDATE meta SET value = ?2 WHERE name = ?1", rusqlite::params![name, number]).unwrap();
        };
        change(number);
        let wanted = format!("newer engine ({name} {number}, this engine knows {known})");
        let opened = SqliteStore::open(&stand.file(), stand.options()).err().unwrap().to_string();
        let moved = stand.migrate().await.unwrap_err().to_string();
        let copied = backup(&stand.file(), &stand.folder.path().join("copy.db")).unwrap_err().to_string();
        for said in [opened, moved, copied] {
            assert!(said.contains(&wanted), "{said}");
        }
        change(known);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_made_beside_the_engine_and_goes_on_from_there() {
    let stand = Stand::new();
    let store = stand.old();
    fill(&stand, &store).await;
    let before = seen(&store).await;
    let copy = stand.folder.path().join("copy.db");
    let copied = backup(&stand.file(), &copy).unwrap();
    assert_eq!((copied.customers, copied.bytes), (u64::from(OTHERS) + 4, std::fs::metadata(&copy).unwrap().len()));
    let twice = backup(&stand.file(), &copy).unwrap_err();
    assert!(matches!(&twice, StoreError::Fatal(why) if why.contains("exists already")), "{twice}");
    accept(&store, vec![event("late", "1")]).await;
    assert_eq!(store.counts().await.unwrap().inbox, 5 + 2 * 120 + 1, "the engine goes on");
    // The copy beside it: a store of its own, as it was at that instant, whose engine was broken off.
    let restored: Arc<dyn Store> = SqliteStore::open(&copy, stand.options()).unwrap();
    assert_eq!(seen(&restored).await, before);
    stand.clock.pass(60_000 * 60);
    let sending = restored.claim_effects(9).await.unwrap().into_iter().find(|one| one.effect.id == "sends/1/step/4").unwrap();
    assert!(sending.ambiguous && sending.attempts == 1, "what was being sent may have had its effect");
    restored.close().await;
    store.close().await;
    let folder = std::fs::read_dir(stand.folder.path()).unwrap();
    let left: Vec<String> = folder.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.contains(".part")), "{left:?}");
    assert!(backup(&stand.folder.path().join("no.db"), &stand.folder.path().join("b.db")).is_err());
}
