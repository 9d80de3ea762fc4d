//! The remote loyalty store, over both stores of the engine, with the workspace of `examples/remote-store`: whatever
//! the store does, every grant is booked once; what is blocked waits and is released once; what it says decides.

use crate::provider::Bell;
use crate::redis::{Disk, Server};
use autofunnel::app::engine::{Running, Start, start};
use autofunnel::app::store::{Place, Remote, Roles};
use autofunnel::app::workspace;
use autofunnel::customer::{Customer, codec};
use autofunnel::engine::clock::Clock;
use autofunnel::fact::What;
use autofunnel::funnel::Files;
use autofunnel::lang::time::{DAY_MS, HOUR_MS, Time};
use autofunnel::lang::value::Value;
use autofunnel::store::read::TimelineRow;
use autofunnel::web::Options;
use autofunnel::wire::secrets::Placeholders;
use autofunnel::wire::{Client, Method, Reach, Request};
use bank::{Bank, Trouble};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod bank;
mod crash;

/// The token of these tests.
const TOKEN: &str = "a-token-for-tests-only";
/// Nothing that is waited for takes this long: a store in trouble rests for up to half a minute again and again.
const PATIENCE: Duration = Duration::from_secs(240);
/// When the tests begin: Monday morning.
const BEGIN: &str = "2027-03-01T09:00:00Z";
/// Points of the welcome grant.
const GIFT: i64 = 200;

fn example() -> Files {
    workspace::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/remote-store")).unwrap()
}

/// The example's workspace with the store that is there, and with other lines instead of some of its own.
fn files(home: &Home, bank: &Bank, others: &[(&str, &str)]) -> Files {
    let mut files = example();
    // Where time cannot run faster, less of it has to pass.
    let soon: &[(&str, &str, &str)] = match home {
        Home::File(_) => &[],
        Home::Redis(_) => {
            &[("welcome.yaml", "wait: 7 days", "wait: 1s"), ("autofunnel.yaml", "ask_again: 10 minutes", "ask_again: 2s")]
        }
    };
    for (file, line, other) in soon.iter().filter(|(_, line, _)| !others.iter().any(|(known, _)| known == line)) {
        let text = files.get_mut(*file).unwrap();
        assert!(text.contains(line), "{line}");
        *text = text.replace(line, other);
    }
    let settings = files.get_mut("autofunnel.yaml").unwrap();
    let url = format!("url: {}\n  allow_http: true\n  allow_private: true", bank.url());
    for (line, other) in
        [("url: https://loyalty.example/v2", url.as_str()), ("timeout: 5s", "timeout: 400ms")].iter().chain(others)
    {
        assert!(settings.contains(line), "{line}");
        *settings = settings.replace(line, other);
    }
    files
}

/// The lines of a store that takes no key, and is asked.
const ASKED: &[(&str, &str)] = &[
    ("idempotency_header: Idempotency-Key", "on_uncertain: hold"),
    (
        "    reference: /id\n",
        "    reference: /id\n    headers: { X-Key: \"{{ effect.id }}\" }\n    idempotency: query\n    ask: { path: \"/bonuses/{{ effect.id }}\", after: 500ms }\n",
    ),
];

/// A place where the engine keeps its customers.
enum Home {
    File(tempfile::TempDir),
    Redis(Server),
}

impl Home {
    fn place(&self) -> Place {
        match self {
            Home::File(folder) => Place::File(folder.path().join("engine.db")),
            Home::Redis(server) => {
                let file = |name: &str| -> PathBuf { server.folder().join(name) };
                let (address, report, state) = (server.address(), file("report.db"), file("state"));
                Place::Redis(Remote { address, report, state, accept_loss: false, wait_replicas: 0 })
            }
        }
    }

    /// From an instant after the beginning on, so many times faster; in Redis time is what it is.
    fn clock(&self, after_ms: i64, scale: f64) -> Clock {
        match self {
            Home::File(_) => Clock::scaled(begin().plus_ms(after_ms), scale),
            Home::Redis(_) => Clock::system(),
        }
    }

    /// So many customers, or fewer where time is what it is.
    fn people(&self, count: usize) -> Vec<String> {
        match self {
            Home::File(_) => people(count),
            Home::Redis(_) => people(count.min(12)),
        }
    }

    async fn run(&self, files: &Files, clock: Clock) -> Running {
        clock.go();
        let checked = workspace::check(files, &Placeholders);
        assert!(checked.workspace.is_some(), "{:#?}", checked.faults);
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let (store, token) = (self.place(), Some(TOKEN.to_owned()));
        start(Start {
            record: None,
            checked,
            store,
            roles: Roles::ALL,
            listen,
            clock,
            doors: Options::default(),
            token,
            secrets: Arc::new(Placeholders),
        })
        .await
        .unwrap()
    }
}

async fn call(running: &Running, method: Method, path: &str, body: &str) -> (u16, String) {
    let request = Request {
        method,
        url: format!("http://{}{path}", running.address.unwrap()),
        headers: vec![
            ("authorization".to_owned(), format!("Bearer {TOKEN}")),
            ("content-type".to_owned(), "application/json".to_owned()),
        ],
        body: body.to_owned().into(),
        timeout: PATIENCE,
        reach: Reach { http: true, private: true },
    };
    let answer = Client::new().unwrap().send(&request).await.unwrap();
    (answer.status, String::from_utf8(answer.body.to_vec()).unwrap())
}

async fn event(running: &Running, customer: &str, name: &str, more: &str) {
    let body = format!(r#"{{"id":"{name}-{customer}{}","event":"{name}","customer":"{customer}"{more}}}"#, more.len());
    let (status, said) = call(running, Method::Post, "/v1/events", &body).await;
    assert_eq!(status, 202, "{said}");
}

async fn sign_up(running: &Running, customers: &[String]) {
    for customer in customers {
        let put = format!(r#"{{"profile":{{"email":"{customer}@example.com"}},"consent":{{"email":true}}}}"#);
        assert_eq!(call(running, Method::Put, &format!("/v1/customers/{customer}"), &put).await.0, 202);
        event(running, customer, "signed_up", "").await;
    }
}

fn people(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("c{n}")).collect()
}

/// Waits until a customer's timeline satisfies a condition.
async fn until(running: &Running, customer: &str, done: impl Fn(&[TimelineRow]) -> bool) -> Vec<TimelineRow> {
    let started = Instant::now();
    loop {
        let rows = running.store.timeline(customer.to_owned(), None, 500).await.unwrap();
        if done(&rows) {
            return rows;
        }
        let told: Vec<String> =
            rows.iter().map(|row| format!("{} {:?} {} {}", row.fact.at, row.fact.what, row.fact.about, row.fact.why)).collect();
        assert!(started.elapsed() < PATIENCE, "waited in vain; the timeline of {customer} is {told:#?}");
        tokio::task::yield_now().await;
    }
}

fn count(rows: &[TimelineRow], what: What) -> usize {
    rows.iter().filter(|row| row.fact.what == what).count()
}

fn has(rows: &[TimelineRow], what: What, about: &str) -> bool {
    rows.iter().any(|row| row.fact.what == what && row.fact.about == about)
}

async fn document(running: &Running, customer: &str) -> Customer {
    codec::decode(&running.store.record(customer.to_owned()).await.unwrap().unwrap().document).unwrap()
}

fn begin() -> Time {
    Time::parse(BEGIN).unwrap()
}

/// Whatever a call meets, the grant is booked once, and she is told once.
async fn every_grant_is_booked_once(home: &Home, bank: &Bank, files: &Files) {
    let running = home.run(files, home.clock(0, 30.0)).await;
    let customers = home.people(40);
    sign_up(&running, &customers).await;
    for customer in &customers {
        let rows = until(&running, customer, |rows| has(rows, What::Sent, "points-now")).await;
        let granted: Vec<_> = rows.iter().filter(|row| row.fact.what == What::Granted).collect();
        assert_eq!((granted.len(), granted[0].fact.amount), (1, Some(GIFT)));
    }
    bank.check(customers.len(), GIFT * customers.len() as i64);
    let trouble = bank.trouble();
    assert!(trouble.len() == Trouble::ALL.len(), "every kind of trouble was met: {trouble:?}");
    running.stop().await;
}

/// A blocked programme parks, the runs go on, one alert is raised; over a restart nothing is lost; unblocked, each
/// grant is booked once.
async fn what_is_parked_is_released_once(home: &Home, bank: &Bank, files: &Files) {
    bank.set_blocked(true);
    let customers = home.people(25);
    let running = home.run(files, home.clock(0, 60.0)).await;
    sign_up(&running, &customers).await;
    let mut alerts = 0;
    for customer in &customers {
        let rows = until(&running, customer, |rows| has(rows, What::Sent, "points-later")).await;
        let parked = rows.iter().find(|row| row.fact.what == What::Parked).unwrap();
        assert!(parked.fact.amount == Some(GIFT) && parked.fact.why.contains("the package is full"), "{parked:?}");
        assert_eq!(count(&rows, What::Granted), 0);
        alerts += count(&rows, What::Alert);
    }
    assert_eq!(alerts, 1, "one alert, however many grants are parked");
    // Of whom the store was never asked nothing is known, which is not 0.
    let (status, _) = call(&running, Method::Put, "/v1/customers/nobody", r#"{"profile":{"name":"Nobody"}}"#).await;
    assert_eq!(status, 202);
    let started = Instant::now();
    let shown = loop {
        match call(&running, Method::Get, "/v1/customers/nobody", "").await {
            (200, shown) => break shown,
            other => assert!(started.elapsed() < PATIENCE, "{other:?}"),
        }
    };
    assert!(shown.contains("\"balance\":null"), "{shown}");
    assert_eq!(document(&running, "c0").await.parked.len(), 1);
    let (_, listed) = call(&running, Method::Get, "/v1/effects", "").await;
    assert!(listed.contains("\"parked\""), "{listed}");
    let metrics = call(&running, Method::Get, "/metrics", "").await.1;
    assert!(metrics.contains("autofunnel_provider_blocked{provider=\"loyalty_store\"} 1"), "{metrics}");
    // It is asked again and again, and says the same: nothing more is told.
    let started = Instant::now();
    while bank.turned_away().values().any(|times| *times < 2) {
        assert!(started.elapsed() < PATIENCE, "{:?}", bank.turned_away());
        tokio::task::yield_now().await;
    }
    running.stop().await;
    assert!(bank.ledger().is_empty());
    bank.set_blocked(false);
    let running = home.run(files, home.clock(2 * HOUR_MS, 60.0)).await;
    for customer in &customers {
        let rows = until(&running, customer, |rows| count(rows, What::Granted) == 1).await;
        assert_eq!(count(&rows, What::Parked), 1, "{customer}");
        assert!(document(&running, customer).await.parked.is_empty());
    }
    bank.check(customers.len(), GIFT * customers.len() as i64);
    let figures = running.store.figures("2000-01-01".to_owned(), "2100-01-01".to_owned()).await.unwrap();
    let sum = |what: &str| figures.iter().filter(|figure| figure.what == what).map(|figure| figure.amount).sum::<i64>();
    let all = GIFT * customers.len() as i64;
    assert_eq!((sum("parked"), sum("granted")), (all, all));
    running.stop().await;
}

/// The store's own word releases at once, long before it would be asked again.
async fn the_stores_word_releases_at_once(home: &Home, bank: &Bank, files: &Files) {
    bank.set_blocked(true);
    let running = home.run(files, home.clock(0, 1.0)).await;
    sign_up(&running, &people(2)).await;
    for customer in people(2) {
        until(&running, &customer, |rows| count(rows, What::Parked) == 1).await;
    }
    bank.set_blocked(false);
    event(&running, "c0", "store_unblocked", "").await;
    let rows = until(&running, "c0", |rows| count(rows, What::Granted) == 1).await;
    assert!(rows.iter().any(|row| row.fact.why.contains("released after it was parked")));
    assert_eq!(bank.ledger().len(), 1, "nobody else was released");
    assert_eq!(document(&running, "c1").await.parked.len(), 1);
    running.stop().await;
}

/// A person sees a parked grant and asks for it; what is paused is said to be, and not asked about either.
async fn a_person_asks_for_what_is_parked(home: &Home, bank: &Bank, files: &Files) {
    bank.set_blocked(true);
    let running = home.run(files, home.clock(0, 1.0)).await;
    sign_up(&running, &people(1)).await;
    until(&running, "c0", |rows| count(rows, What::Parked) == 1).await;
    let effect = document(&running, "c0").await.parked[0].grant.id.clone();
    let path = format!("/v1/customers/c0/effects?effect={}", effect.replace('/', "%2F"));
    let (status, shown) = call(&running, Method::Get, &path, "").await;
    assert_eq!(status, 200, "{shown}");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((shown["state"].as_str(), shown["why"].as_str()), (Some("parked"), Some("the package is full")));
    assert_eq!((shown["content"]["points"].as_i64(), shown["next"].is_string()), (Some(GIFT), true));
    bank.set_blocked(false);
    // While the store is paused it goes nowhere, and nobody is told otherwise.
    let pause = r#"{"provider":"loyalty_store","why":"audit"}"#;
    assert_eq!(call(&running, Method::Post, "/v1/pauses", pause).await.0, 200);
    let word = format!(r#"{{"effect":"{effect}"}}"#);
    let (status, said) = call(&running, Method::Post, "/v1/customers/c0/effects/retry", &word).await;
    assert!(status == 200 && said.contains(r#""status":"paused""#) && said.contains("provider loyalty_store"), "{said}");
    let started = Instant::now();
    while !running.store.outbox(9).await.unwrap().iter().any(|row| row.id == effect && row.why == "paused") {
        assert!(started.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    // It is in the outbox now: asked for once more, the answer is the same.
    let (_, said) = call(&running, Method::Post, "/v1/customers/c0/effects/retry", &word).await;
    assert!(said.contains(r#""status":"paused""#), "{said}");
    assert!(bank.ledger().is_empty());
    assert_eq!(call(&running, Method::Post, "/v1/pauses/end", r#"{"provider":"loyalty_store"}"#).await.0, 200);
    until(&running, "c0", |rows| count(rows, What::Granted) == 1).await;
    bank.check(1, GIFT);
    assert_eq!(call(&running, Method::Get, &path, "").await.0, 404, "it is done");
    assert_eq!(call(&running, Method::Post, "/v1/customers/c0/effects/retry", &word).await.0, 404);
    running.stop().await;
}

/// Points for a friend, at a store that takes no key and cannot be asked: nobody knows, so a person says.
async fn a_friends_points_in_doubt_are_a_persons_to_decide(home: &Home, bank: &Bank, files: &Files) {
    let mut files = files.clone();
    let funnel = "funnel: Refer\ntrigger: { event: refer }\nsteps:\n  - grant: 50 points\n    id: thanks\n    reason: referral\n    to: event.friend\n";
    files.insert("refer.yaml".to_owned(), funnel.to_owned());
    let settings = files.get_mut("autofunnel.yaml").unwrap();
    *settings = settings.replace("currency: EUR", "currency: EUR\nevents: { refer: { friend: text } }");
    bank.only(Trouble::CutAfter);
    let running = home.run(&files, home.clock(0, 1.0)).await;
    event(&running, "c0", "refer", r#","properties":{"friend":"pal"}"#).await;
    let rows = until(&running, "pal", |rows| count(rows, What::Failed) == 1).await;
    assert!(rows.iter().any(|row| row.fact.why.contains("unknown")), "{rows:?}");
    let booking = document(&running, "pal").await.asked[0].booking.clone();
    let started = Instant::now();
    while !call(&running, Method::Get, "/v1/effects", "").await.1.contains(&booking) {
        assert!(started.elapsed() < PATIENCE, "it is listed as held");
        tokio::task::yield_now().await;
    }
    let (_, shown) =
        call(&running, Method::Get, &format!("/v1/customers/pal/effects?effect={}", booking.replace('/', "%2F")), "").await;
    assert!(shown.contains(r#""state":"held""#) && shown.contains(r#""from":"c0""#), "{shown}");
    let say = async |deed: &str, word: &str| {
        let body = format!(r#"{{"effect":"{booking}"{word}}}"#);
        call(&running, Method::Post, &format!("/v1/customers/pal/effects/{deed}"), &body).await
    };
    // Only a word on it moves it.
    let (status, said) = say("retry", "").await;
    assert!(status == 404 && said.contains("resolve"), "{said}");
    // Tried again it meets the same, and needs another word.
    let (status, said) = say("resolve", r#","outcome":"retry""#).await;
    assert_eq!(status, 202, "{said}");
    until(&running, "pal", |rows| count(rows, What::Failed) == 2).await;
    let (status, said) = say("resolve", r#","outcome":"accepted","points":50"#).await;
    assert_eq!(status, 202, "{said}");
    until(&running, "pal", |rows| count(rows, What::Granted) == 1).await;
    until(&running, "c0", |rows| count(rows, What::Finished) == 1).await;
    assert_eq!(say("resolve", r#","outcome":"accepted","points":50"#).await.0, 404, "it was said");
    running.stop().await;
}

/// A week later a branch is judged on what the store says then; a message shows it; its webhook refreshes it.
async fn what_the_store_says_decides(home: &Home, bank: &Bank, files: &Files) {
    // A day in a second: a branch that waits for an answer has a day for it.
    let running = home.run(files, home.clock(0, DAY_MS as f64 / 1_000.0)).await;
    sign_up(&running, &people(1)).await;
    let rows = until(&running, "c0", |rows| has(rows, What::Sent, "spend")).await;
    let looked = rows.iter().find(|row| row.fact.what == What::LookedUp).unwrap();
    assert!(looked.fact.seen.contains(&("customer.balance".to_owned(), Value::Int(GIFT))), "{looked:?}");
    assert!(bank.asked().1 >= 1);
    let message = running.store.messages("c0".to_owned(), None, 9).await.unwrap().remove(0);
    assert_eq!(message.subject, format!("You have {GIFT} points"));
    let known = document(&running, "c0").await.loyalty;
    assert_eq!((known.balance, known.tier.as_str()), (GIFT, "silver"));
    assert!(known.store.as_of.is_some());
    // The store's own word is newer.
    event(&running, "c0", "store_updated", r#","properties":{"balance":70,"tier":"gold"}"#).await;
    let rows = until(&running, "c0", |rows| has(rows, What::TierChanged, "gold")).await;
    assert!(has(&rows, What::Event, "store_updated"));
    assert_eq!(document(&running, "c0").await.loyalty.balance, 70);
    running.stop().await;
}

/// A store that is down: the branch is passed over after a day, it is said, and what needs no points goes on.
async fn a_store_that_is_down_is_said(home: &Home, bank: &Bank, files: &Files) {
    let running = home.run(files, home.clock(0, DAY_MS as f64 / 1_000.0)).await;
    sign_up(&running, &people(1)).await;
    until(&running, "c0", |rows| has(rows, What::Sent, "points-now")).await;
    bank.set_down(true);
    let rows = until(&running, "c0", |rows| count(rows, What::Finished) == 1).await;
    let failed = rows.iter().find(|row| row.fact.what == What::Failed).unwrap();
    assert!(failed.fact.why.contains("the loyalty store could not be asked"), "{failed:?}");
    assert!(has(&rows, What::Skipped, "branch_2") && !has(&rows, What::Sent, "spend"));
    // Whoever signs up now is not forgotten: her points come when it is back.
    sign_up(&running, &["late".to_owned()]).await;
    until(&running, "late", |rows| has(rows, What::Planned, "gift")).await;
    bank.set_down(false);
    until(&running, "late", |rows| has(rows, What::Sent, "points-now")).await;
    bank.check(2, 2 * GIFT);
    running.stop().await;
}

/// A store that thinks longer than it may: the calls are ambiguous, and each grant is booked once all the same.
async fn a_slow_store_books_once(home: &Home, bank: &Bank, files: &Files) {
    bank.set_slow(900);
    let running = home.run(files, home.clock(0, 10.0)).await;
    sign_up(&running, &people(4)).await;
    let started = Instant::now();
    while bank.ledger().len() < 4 {
        assert!(started.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    bank.set_slow(0);
    for customer in people(4) {
        until(&running, &customer, |rows| count(rows, What::Granted) == 1).await;
    }
    bank.check(4, 4 * GIFT);
    running.stop().await;
}

fn bell() -> Arc<Bell> {
    Arc::default()
}

macro_rules! over {
    ($($name:ident: $home:ident, $knows:expr, $percent:expr, $others:expr => $case:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let bank = super::Bank::start($knows, 7, $percent, super::bell());
            let home = super::$home();
            super::$case(&home, &bank, &super::files(&home, &bank, $others)).await;
        })*
    };
}

fn file_home() -> Home {
    Home::File(tempfile::tempdir().unwrap())
}

fn redis_home() -> Home {
    Home::Redis(Server::start(Disk::EverySecond))
}

/// A store that takes no key and cannot be asked.
const NO_KEY: &[(&str, &str)] = &[("idempotency_header: Idempotency-Key", "on_uncertain: hold")];

const NOT_SOON: &[(&str, &str)] = &[("ask_again: 10 minutes", "ask_again: 30 days")];

mod file {
    over! {
        trouble_with_keys: file_home, true, 60, &[] => every_grant_is_booked_once;
        trouble_without_keys: file_home, false, 60, super::ASKED => every_grant_is_booked_once;
        parked_and_released: file_home, true, 0, &[] => what_is_parked_is_released_once;
        parked_and_released_without_keys: file_home, false, 0, super::ASKED => what_is_parked_is_released_once;
        released_by_the_stores_word: file_home, true, 0, super::NOT_SOON => the_stores_word_releases_at_once;
        asked_for_by_a_person: file_home, true, 0, super::NOT_SOON => a_person_asks_for_what_is_parked;
        a_friend_in_doubt: file_home, false, 100, super::NO_KEY => a_friends_points_in_doubt_are_a_persons_to_decide;
        what_it_says: file_home, true, 0, &[] => what_the_store_says_decides;
        down: file_home, true, 0, &[] => a_store_that_is_down_is_said;
        slow: file_home, true, 0, &[] => a_slow_store_books_once;
        slow_and_asked: file_home, false, 0, super::ASKED => a_slow_store_books_once;
    }
}

mod redis {
    over! {
        trouble_with_keys: redis_home, true, 60, &[] => every_grant_is_booked_once;
        trouble_without_keys: redis_home, false, 60, super::ASKED => every_grant_is_booked_once;
        parked_and_released: redis_home, true, 0, &[] => what_is_parked_is_released_once;
        released_by_the_stores_word: redis_home, true, 0, super::NOT_SOON => the_stores_word_releases_at_once;
        asked_for_by_a_person: redis_home, true, 0, super::NOT_SOON => a_person_asks_for_what_is_parked;
        a_friend_in_doubt: redis_home, false, 100, super::NO_KEY => a_friends_points_in_doubt_are_a_persons_to_decide;
        what_it_says: redis_home, true, 0, &[] => what_the_store_says_decides;
        slow_and_asked: redis_home, false, 0, super::ASKED => a_slow_store_books_once;
    }
}

/// The example is a workspace without faults, and its tests pass.
#[test]
fn the_example_holds() {
    let checked = workspace::check(&example(), &Placeholders);
    assert!(checked.faults.is_empty(), "{:#?}", checked.faults);
    let current = Arc::new(checked.workspace.unwrap());
    let definitions = autofunnel::funnel::Definitions::new(current.clone());
    assert!(current.tests.len() >= 5);
    for (funnel, test) in &current.tests {
        let mut faults = autofunnel::lang::diag::Faults::default();
        let outcome = autofunnel::trial::run(&definitions, funnel, test, &mut faults);
        let outcome = outcome.unwrap_or_else(|| panic!("{:?}", faults.list()));
        assert!(outcome.passed, "{}\n{}", outcome.name, outcome.report(|_, text| text));
    }
    // What the store's webhooks mean.
    let body = r#"{"type":"member.updated","id":"w1","member":"ada","time":"2027-03-01T09:00:00Z","points":{"balance":70},"tier":"gold","programmes":{}}"#;
    let body = Value::from_json(&serde_json::from_str(body).unwrap()).unwrap();
    let events = checked.sources["loyalty"].events(&body, &[], begin()).unwrap();
    assert_eq!((events[0].name.as_str(), events[0].properties["balance"].clone()), ("store_updated", Value::Int(70)));
}
