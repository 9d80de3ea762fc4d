//! The whole engine in one process: real door, real store, real queues, the sample workspace.

use crate::redis::{Disk, Server};
use autofunnel::app::engine::{Running, Start, start};
use autofunnel::app::store::{Place, Remote, Roles};
use autofunnel::app::workspace;
use autofunnel::engine::clock::Clock;
use autofunnel::fact::What;
use autofunnel::funnel::Files;
use autofunnel::lang::time::{DAY_MS, Time};
use autofunnel::store::pause::Pausable;
use autofunnel::store::read::TimelineRow;
use autofunnel::web::Options;
use autofunnel::wire::secrets::Placeholders;
use autofunnel::wire::{Client, Method, Reach, Request};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// The token of these tests.
const TOKEN: &str = "a-token-for-tests-only";
/// Nothing that is waited for takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The sample workspace.
pub fn samples() -> Files {
    workspace::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("funnels")).unwrap()
}

async fn run_samples(folder: &Path, clock: Clock) -> Running {
    run(&samples(), Place::File(folder.join("engine.db")), Roles::ALL, clock).await
}

/// An engine over a workspace.
pub async fn run(files: &Files, store: Place, roles: Roles, clock: Clock) -> Running {
    run_recorded(files, store, roles, clock, None).await
}

/// An engine that records what it does.
pub async fn run_recorded(files: &Files, store: Place, roles: Roles, clock: Clock, record: Option<PathBuf>) -> Running {
    clock.go();
    let checked = workspace::check(files, &Placeholders);
    assert!(checked.workspace.is_some(), "{:#?}", checked.faults);
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let (token, secrets) = (Some(TOKEN.to_owned()), Arc::new(Placeholders));
    start(Start { checked, store, roles, listen, clock, doors: Options::default(), token, secrets, record }).await.unwrap()
}

/// A request to its door.
pub async fn call(running: &Running, method: Method, path: &str, body: &str) -> (u16, String) {
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

/// Waits until the customer's timeline satisfies a condition; the store says when to look again.
pub async fn until(running: &Running, customer: &str, done: impl Fn(&[TimelineRow]) -> bool) -> Vec<TimelineRow> {
    let started = Instant::now();
    loop {
        let rows = running.store.timeline(customer.to_owned(), None, 500).await.unwrap();
        if done(&rows) {
            return rows;
        }
        let told: Vec<String> =
            rows.iter().map(|row| format!("{:?} {} {}", row.fact.what, row.fact.about, row.fact.why)).collect();
        assert!(started.elapsed() < PATIENCE, "waited in vain; the timeline is {told:#?}");
        tokio::task::yield_now().await;
    }
}

pub fn has(rows: &[TimelineRow], what: What, about: &str) -> bool {
    rows.iter().any(|row| row.fact.what == what && row.fact.about == about)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_up_is_greeted_and_helped_to_the_first_cup() {
    let folder = tempfile::tempdir().unwrap();
    // Monday morning; a day passes in a second: a message that waits for a day is too old to be sent, and no
    // machine is so busy that it waits for a second.
    let clock = Clock::scaled(Time::parse("2027-03-01T08:00:00Z").unwrap(), DAY_MS as f64 / 1_000.0);
    let running = run_samples(folder.path(), clock).await;
    let put = r#"{"profile":{"name":"Ada Lindqvist","email":"ada@example.com"},"consent":{"email":true}}"#;
    assert_eq!(call(&running, Method::Put, "/v1/customers/ada", put).await.0, 202);
    let event = r#"{"id":"e-1","event":"signed_up","customer":"ada"}"#;
    assert_eq!(call(&running, Method::Post, "/v1/events", event).await.0, 202);
    assert_eq!(call(&running, Method::Post, "/v1/events", event).await.0, 200, "the same event again is a duplicate");

    let rows = until(&running, "ada", |rows| has(rows, What::Sent, "first-cup-offer")).await;
    assert!(has(&rows, What::Granted, "200 points"));
    assert!(has(&rows, What::Sent, "welcome") && has(&rows, What::Sent, "first-steps"));
    assert_eq!(rows.iter().filter(|row| row.fact.what == What::Entered).count(), 1);
    let messages = running.store.messages("ada".to_owned(), None, 10).await.unwrap();
    assert_eq!(messages.len(), 3, "{messages:#?}");
    assert!(messages.iter().all(|message| !message.text.is_empty() && !message.html.is_empty()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let begin = Time::parse("2027-03-01T08:00:00Z").unwrap();
    let running = run_samples(folder.path(), Clock::scaled(begin, 1.0)).await;
    let put = r#"{"profile":{"email":"ben@example.com"},"consent":{"email":true}}"#;
    assert_eq!(call(&running, Method::Put, "/v1/customers/ben", put).await.0, 202);
    assert_eq!(call(&running, Method::Post, "/v1/events", r#"{"id":"e-1","event":"signed_up","customer":"ben"}"#).await.0, 202);
    until(&running, "ben", |rows| has(rows, What::Sent, "welcome")).await;
    running.stop().await;
    // Three days and an hour later.
    let running = run_samples(folder.path(), Clock::scaled(begin.plus_ms(3 * DAY_MS + 3_600_000), 1.0)).await;
    let rows = until(&running, "ben", |rows| has(rows, What::Sent, "first-steps")).await;
    let sent = rows.iter().filter(|row| row.fact.what == What::Sent).count();
    assert_eq!(sent, 2, "nothing is sent twice");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_stays_on_its_version_when_the_workspace_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let begin = Time::parse("2027-03-01T08:00:00Z").unwrap();
    let place = || Place::File(folder.path().join("engine.db"));
    let running = run(&samples(), place(), Roles::ALL, Clock::scaled(begin, 1.0)).await;
    let put = r#"{"profile":{"email":"cleo@example.com"},"consent":{"email":true}}"#;
    assert_eq!(call(&running, Method::Put, "/v1/customers/cleo", put).await.0, 202);
    assert_eq!(call(&running, Method::Post, "/v1/events", r#"{"id":"e-1","event":"signed_up","customer":"cleo"}"#).await.0, 202);
    until(&running, "cleo", |rows| has(rows, What::Sent, "welcome")).await;
    running.stop().await;
    // The next version of the funnel waits a year instead; her run began under the first one.
    let mut changed = samples();
    let (name, text) = changed.iter().find(|(name, _)| name.ends_with("welcome.yaml") && !name.contains("tests")).unwrap();
    let (name, later) = (name.clone(), text.replace("wait: 3 days", "wait: 365 days"));
    assert_ne!(later, changed[&name]);
    changed.insert(name, later);
    let running = run(&changed, place(), Roles::ALL, Clock::scaled(begin.plus_ms(3 * DAY_MS + 3_600_000), 1.0)).await;
    until(&running, "cleo", |rows| has(rows, What::Sent, "first-steps")).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doors_and_worker_may_be_different_processes_on_one_redis() {
    let server = Server::start(Disk::EverySecond);
    let place = |name: &str| {
        Place::Redis(Remote {
            address: server.address(),
            report: server.folder().join("report.db"),
            state: server.folder().join(name),
            accept_loss: false,
            wait_replicas: 0,
        })
    };
    let worker = Roles { web: false, worker: true, report: false };
    let doors = Roles { web: true, worker: false, report: true };
    let (files, clock) = (samples(), Clock::system());
    let working = run(&files, place("worker"), worker, clock.clone()).await;
    let running = run(&files, place("doors"), doors, clock).await;
    let put = r#"{"profile":{"name":"Dora","email":"dora@example.com"},"consent":{"email":true}}"#;
    assert_eq!(call(&running, Method::Put, "/v1/customers/dora", put).await.0, 202);
    assert_eq!(call(&running, Method::Post, "/v1/events", r#"{"id":"e-1","event":"signed_up","customer":"dora"}"#).await.0, 202);
    let rows = until(&running, "dora", |rows| has(rows, What::Sent, "welcome")).await;
    assert!(has(&rows, What::Granted, "200 points"));
    let (status, shown) = call(&running, Method::Get, "/v1/customers/dora", "").await;
    assert_eq!(status, 200);
    assert!(shown.contains("200"), "her balance: {shown}");
    assert_eq!(running.store.messages("dora".to_owned(), None, 10).await.unwrap().len(), 1);
    running.stop().await;
    working.stop().await;
}

/// The way out of a message, from the door to the last gate: the link is in the message, looking changes nothing,
/// taking it holds at once, and who agrees again is written to again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s52_s53_a_message_carries_its_way_out_and_taking_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let files: Files = [
        ("autofunnel.yaml", "workspace: Test\nzone: Europe/Berlin\ncurrency: EUR\naddress: https://mail.example\n"),
        (
            "news.yaml",
            "funnel: News\ntrigger: { event: go }\nre_entry: always\ngoal: { event: message_clicked }\nsteps:\n  - email: news\n    id: mail\n",
        ),
        ("templates/news.txt", "---\nsubject: News\n---\nRead it. Leave: {{ unsubscribe_url }}\n"),
        ("templates/news.html", "<p><a href=\"https://shop.example/news\">Read</a> <a href=\"{{ unsubscribe_url }}\">Leave</a></p>\n"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into();
    let running = run(&files, Place::File(folder.path().join("engine.db")), Roles::ALL, Clock::system()).await;
    let profile = r#"{"profile":{"email":"ada@example.com"},"consent":{"email":true}}"#;
    assert_eq!(call(&running, Method::Put, "/v1/customers/ada", profile).await.0, 202);
    let go = |id: &str| format!(r#"{{"id":"{id}","event":"go","customer":"ada"}}"#);
    assert_eq!(call(&running, Method::Post, "/v1/events", &go("1")).await.0, 202);
    until(&running, "ada", |rows| has(rows, What::Sent, "news")).await;
    let message = running.store.messages(String::new(), None, 9).await.unwrap().pop().unwrap();
    let link = |text: &str, kind: &str| {
        let text = text.replace("&#x2f;", "/");
        let at = text.find(&format!("https://mail.example/{kind}/")).unwrap_or_else(|| panic!("no link {kind} in {text}"));
        text[at..].split(['"', '\n']).next().unwrap().trim_start_matches("https://mail.example").to_owned()
    };
    let (out, read) = (link(&message.text, "u"), link(&message.html, "l"));
    assert_eq!(link(&message.html, "u"), out, "one way out, whatever the form");
    // A click is an event of the run that sent the message.
    assert_eq!(call(&running, Method::Get, &read, "").await.0, 303);
    until(&running, "ada", |rows| has(rows, What::Goal, "message_clicked")).await;
    assert_eq!(call(&running, Method::Get, &out, "").await.0, 200);
    assert_eq!(call(&running, Method::Post, &out, "List-Unsubscribe=One-Click").await.0, 200);
    call(&running, Method::Post, "/v1/events", &go("2")).await;
    let rows = until(&running, "ada", |rows| has(rows, What::Skipped, "mail")).await;
    assert!(has(&rows, What::Suppressed, "email") && has(&rows, What::ConsentWithdrawn, "email"));
    // Her own yes takes her own no back.
    assert_eq!(call(&running, Method::Put, "/v1/customers/ada", r#"{"consent":{"email":true}}"#).await.0, 202);
    until(&running, "ada", |rows| has(rows, What::Unsuppressed, "email")).await;
    call(&running, Method::Post, "/v1/events", &go("3")).await;
    until(&running, "ada", |rows| rows.iter().filter(|row| row.fact.what == What::Sent).count() == 2).await;
    running.stop().await;
}

/// A funnel that messages, and one whose messages a person looks at first.
fn paused_and_reviewed() -> Files {
    let funnel = |more: &str| {
        format!(
            "funnel: F\n{more}goal: purchase\nsteps:\n  - grant: 5 points\n    mode: live\n  - email: {{ subject: Hi, text: \"Hello {{{{ customer.name }}}}\" }}\n    id: mail\n"
        )
    };
    [
        ("autofunnel.yaml", "workspace: Test\nzone: Europe/Berlin\ncurrency: EUR\n".to_owned()),
        ("plain.yaml", funnel("trigger: { event: go }\n")),
        ("looked-at.yaml", funnel("trigger: { event: look }\nmode: hold_for_review\n")),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

async fn waits_paused(running: &Running, customer: &str) {
    let started = Instant::now();
    loop {
        let rows = running.store.outbox(9).await.unwrap();
        if rows.iter().any(|row| row.customer == customer && row.why == "paused") {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain; the outbox is {rows:?}");
        tokio::task::yield_now().await;
    }
}

async fn is_paused_reviewed_and_goes_on(place: Place) {
    let running = run(&paused_and_reviewed(), place, Roles::ALL, Clock::system()).await;
    let put = r#"{"profile":{"name":"Eva","email":"eva@example.com"},"consent":{"email":true}}"#;
    assert_eq!(call(&running, Method::Put, "/v1/customers/eva", put).await.0, 202);
    let (status, said) = call(&running, Method::Post, "/v1/pauses", r#"{"funnel":"plain","why":"wrong price"}"#).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(call(&running, Method::Post, "/v1/events", r#"{"id":"e-1","event":"go","customer":"eva"}"#).await.0, 202);
    waits_paused(&running, "eva").await;
    let rows = running.store.timeline("eva".to_owned(), None, 50).await.unwrap();
    assert!(rows.iter().any(|row| row.fact.what == What::Entered), "she enters all the same");
    assert!(!rows.iter().any(|row| matches!(row.fact.what, What::Granted | What::Sent)), "nothing is booked or sent");
    // The other funnel goes on, as far as a person lets it.
    assert_eq!(call(&running, Method::Post, "/v1/events", r#"{"id":"e-2","event":"look","customer":"eva"}"#).await.0, 202);
    until(&running, "eva", |rows| has(rows, What::Review, "mail")).await;
    let (_, held) = call(&running, Method::Get, "/v1/review", "").await;
    assert!(held.contains("Hello Eva") && held.contains(r#""to":"eva@example.com""#), "{held}");
    let word = r#"{"effect":"eva/2/mail/2"}"#;
    let (status, said) = call(&running, Method::Post, "/v1/customers/eva/review/release", word).await;
    assert_eq!(status, 202, "{said} of {held}");
    // Said again before her turn it was said before; after it, it is not there any more.
    let (status, said) = call(&running, Method::Post, "/v1/customers/eva/review/release", word).await;
    assert!(status == 404 || (status == 200 && said.contains("duplicate")), "{status} {said}");
    let (status, said) = call(&running, Method::Post, "/v1/customers/eva/review/reject", word).await;
    assert!(status == 404 || (status == 409 && said.contains("a moment ago")), "{status} {said}");
    until(&running, "eva", |rows| has(rows, What::Sent, "inline:mail")).await;
    assert_eq!(running.store.messages("eva".to_owned(), None, 9).await.unwrap().len(), 1);
    assert_eq!(call(&running, Method::Post, "/v1/customers/eva/review/release", word).await.0, 404, "it has gone");
    let (_, held) = call(&running, Method::Get, "/v1/review", "").await;
    assert_eq!(held, r#"{"held":[],"replies":[]}"#);
    // The end of the pause lets the first one go: points, then the message.
    assert_eq!(call(&running, Method::Post, "/v1/pauses/end", r#"{"funnel":"plain"}"#).await.0, 200);
    let rows = until(&running, "eva", |rows| rows.iter().filter(|row| row.fact.what == What::Sent).count() == 2).await;
    assert_eq!(rows.iter().filter(|row| row.fact.what == What::Granted).count(), 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_or_held_for_review_leaves_when_a_person_says_so() {
    let folder = tempfile::tempdir().unwrap();
    is_paused_reviewed_and_goes_on(Place::File(folder.path().join("engine.db"))).await;
    let server = Server::start(Disk::Never);
    let (report, state) = (server.folder().join("report.db"), server.folder().join("state"));
    let place = Remote { address: server.address(), report, state, accept_loss: true, wait_replicas: 0 };
    is_paused_reviewed_and_goes_on(Place::Redis(place)).await;
}

/// S56: a reply in free words that seems to ask for no more messages holds them until a person has looked at it.
async fn a_reply_in_free_words_waits_for_a_person(place: Place) {
    let files: Files = [
        ("autofunnel.yaml", "workspace: Test\nzone: Europe/Berlin\ncurrency: EUR\n"),
        ("text.yaml", "funnel: Text\ntrigger: { event: go }\nre_entry: always\nsteps:\n  - sms: { text: Hello }\n    id: text\n"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into();
    let running = run(&files, place, Roles::ALL, Clock::system()).await;
    let put = r#"{"profile":{"phone":"+491701"},"consent":{"sms":true}}"#;
    assert_eq!(call(&running, Method::Put, "/v1/customers/ida", put).await.0, 202);
    let send = async |id: &str, more: &str| {
        let body = format!(r#"{{"id":"{id}","customer":"ida",{more}}}"#);
        assert_eq!(call(&running, Method::Post, "/v1/events", &body).await.0, 202);
    };
    let go = r#""event":"go""#;
    let reply = |text: &str| format!(r#""event":"message_replied","properties":{{"channel":"sms","text":"{text}"}}"#);
    let count = |rows: &[TimelineRow], what: What| rows.iter().filter(|row| row.fact.what == what).count();
    send("g1", go).await;
    until(&running, "ida", |rows| count(rows, What::Sent) == 1).await;
    let word = r#"{"effect":"reply:sms"}"#;
    let path = |deed: &str| format!("/v1/customers/ida/review/{deed}");
    assert_eq!(call(&running, Method::Post, &path("release"), word).await.0, 404, "there is none yet");
    for (n, deed) in [(1, "release"), (2, "reject")] {
        send(&format!("r{n}"), &reply("please stop texting me")).await;
        send(&format!("h{n}"), go).await;
        let rows = until(&running, "ida", |rows| count(rows, What::Skipped) == n).await;
        let skipped = rows.iter().find(|row| row.fact.what == What::Skipped).unwrap();
        assert!(skipped.fact.why.contains("left alone"), "{skipped:?}");
        let started = Instant::now();
        while !call(&running, Method::Get, "/v1/review", "").await.1.contains("please stop texting me") {
            assert!(started.elapsed() < PATIENCE, "it is listed");
            tokio::task::yield_now().await;
        }
        let (status, said) = call(&running, Method::Post, &path(deed), word).await;
        assert_eq!(status, 202, "{said}");
        assert_eq!(call(&running, Method::Post, &path(deed), word).await.0, 404, "it was said");
        send(&format!("i{n}"), go).await;
        match deed {
            "release" => until(&running, "ida", |rows| count(rows, What::Sent) == 2).await,
            _ => until(&running, "ida", |rows| rows.iter().any(|row| row.fact.why.contains("was stopped"))).await,
        };
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s56_a_reply_in_free_words_is_a_persons_to_read() {
    let folder = tempfile::tempdir().unwrap();
    a_reply_in_free_words_waits_for_a_person(Place::File(folder.path().join("engine.db"))).await;
    let server = Server::start(Disk::Never);
    let (report, state) = (server.folder().join("report.db"), server.folder().join("state"));
    let place = Remote { address: server.address(), report, state, accept_loss: true, wait_replicas: 0 };
    a_reply_in_free_words_waits_for_a_person(Place::Redis(place)).await;
}

/// S55: more than three complaints of a thousand e-mails in a day stop marketing, and nothing else, until a person has
/// looked; her word counts for the day.
async fn complaints_stop_marketing(place: impl Fn() -> Place) {
    let mail = |trigger: &str, more: &str| {
        format!(
            "funnel: {trigger}\ntrigger: {{ event: {trigger} }}\nre_entry: always\n{more}steps:\n  - email: {{ subject: Hi, text: Hello }}\n    id: mail\n"
        )
    };
    let files: Files = [
        ("autofunnel.yaml", "workspace: Test\nzone: Europe/Berlin\ncurrency: EUR\n".to_owned()),
        ("news.yaml", mail("news", "")),
        ("bill.yaml", mail("bill", "transactional: true\n")),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into();
    let running = run(&files, place(), Roles::ALL, Clock::system()).await;
    let people: Vec<String> = (0..4).map(|n| format!("p{n}")).collect();
    let send = async |running: &Running, who: &str, id: &str, name: &str, more: &str| {
        let body = format!(r#"{{"id":"{id}","customer":"{who}","event":"{name}"{more}}}"#);
        assert_eq!(call(running, Method::Post, "/v1/events", &body).await.0, 202);
    };
    for who in &people {
        let put = format!(r#"{{"profile":{{"email":"{who}@example.com"}},"consent":{{"email":true}}}}"#);
        assert_eq!(call(&running, Method::Put, &format!("/v1/customers/{who}"), &put).await.0, 202);
        send(&running, who, "n1", "news", "").await;
        until(&running, who, |rows| rows.iter().any(|row| row.fact.what == What::Sent)).await;
    }
    for who in &people[..3] {
        let about = format!(r#","properties":{{"channel":"email","effect":"{who}/1/mail/1"}}"#);
        send(&running, who, "c1", "message_complained", &about).await;
        until(&running, who, |rows| has(rows, What::Complained, "email")).await;
    }
    assert!(running.store.pauses().await.unwrap().is_empty(), "it is looked at once a minute, and at the start");
    running.stop().await;
    let running = run(&files, place(), Roles::ALL, Clock::system()).await;
    let started = Instant::now();
    while running.store.pauses().await.unwrap().is_empty() {
        assert!(started.elapsed() < PATIENCE, "marketing is stopped");
        tokio::task::yield_now().await;
    }
    let pause = running.store.pauses().await.unwrap().remove(0);
    assert_eq!((pause.of, pause.by.as_str()), (Pausable::Marketing("inbox".to_owned()), "complaints"));
    assert!(pause.why.contains("3 complaints about 4 e-mails"), "{}", pause.why);
    send(&running, "p3", "n2", "news", "").await;
    waits_paused(&running, "p3").await;
    send(&running, "p3", "b1", "bill", "").await;
    let sent = |rows: &[TimelineRow]| rows.iter().filter(|row| row.fact.what == What::Sent).count();
    until(&running, "p3", |rows| sent(rows) == 2).await;
    assert_eq!(call(&running, Method::Post, "/v1/pauses/end", r#"{"marketing":"inbox"}"#).await.0, 200);
    until(&running, "p3", |rows| sent(rows) == 3).await;
    running.stop().await;
    // Somebody has looked: it is not stopped again today.
    let running = run(&files, place(), Roles::ALL, Clock::system()).await;
    send(&running, "p3", "n3", "news", "").await;
    until(&running, "p3", |rows| sent(rows) == 4).await;
    assert!(running.store.pauses().await.unwrap().is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s55_what_is_complained_about_stops() {
    let folder = tempfile::tempdir().unwrap();
    complaints_stop_marketing(|| Place::File(folder.path().join("engine.db"))).await;
    let server = Server::start(Disk::Never);
    let place = || {
        let (report, state) = (server.folder().join("report.db"), server.folder().join("state"));
        Place::Redis(Remote { address: server.address(), report, state, accept_loss: true, wait_replicas: 0 })
    };
    complaints_stop_marketing(place).await;
}

/// Nothing is due because a clock has jumped; when it is back, or the engine was started again, all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_moves_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let files: Files = [
        ("autofunnel.yaml", "workspace: Test\nzone: Europe/Berlin\ncurrency: EUR\n"),
        ("late.yaml", "funnel: Late\ntrigger: { event: go }\ngoal: purchase\nsteps:\n  - wait: 1 day\n  - grant: 5 points\n"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into();
    let ahead = Arc::new(AtomicI64::new(0));
    let shown = {
        let (ahead, begun) = (ahead.clone(), Instant::now());
        move || {
            Time::parse("2027-03-01T08:00:00Z")
                .unwrap()
                .plus_ms(begun.elapsed().as_millis() as i64 + ahead.load(Ordering::SeqCst))
        }
    };
    let place = || Place::File(folder.path().join("engine.db"));
    let running = run(&files, place(), Roles::ALL, Clock::watched(Arc::new(shown.clone()))).await;
    let event = |id: &str| format!(r#"{{"id":"{id}","event":"go","customer":"gil"}}"#);
    assert_eq!(call(&running, Method::Post, "/v1/events", &event("e-1")).await.0, 202);
    until(&running, "gil", |rows| has(rows, What::Waiting, "2027-03-02 09:00")).await;
    ahead.store(2 * DAY_MS, Ordering::SeqCst);
    // Taken in, and left where it is.
    assert_eq!(call(&running, Method::Post, "/v1/events", r#"{"id":"e-2","event":"go","customer":"hal"}"#).await.0, 202);
    assert!(running.store.clock_jump().is_some_and(|by| by >= DAY_MS));
    assert!(running.store.claim(9).await.unwrap().is_empty());
    let (_, metrics) = call(&running, Method::Get, "/metrics", "").await;
    assert!(metrics.contains("autofunnel_clock_jump_seconds 172"), "{metrics}");
    let rows = running.store.timeline("gil".to_owned(), None, 50).await.unwrap();
    assert!(!rows.iter().any(|row| row.fact.what == What::Granted), "it is not tomorrow");
    ahead.store(0, Ordering::SeqCst);
    until(&running, "hal", |rows| has(rows, What::Waiting, "2027-03-02 09:00")).await;
    running.stop().await;
    // Down time is no jump.
    ahead.store(2 * DAY_MS, Ordering::SeqCst);
    let running = run(&files, place(), Roles::ALL, Clock::watched(Arc::new(shown))).await;
    until(&running, "gil", |rows| rows.iter().any(|row| row.fact.what == What::Granted)).await;
    running.stop().await;
}
