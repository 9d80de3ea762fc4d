//! Messages of unknown fate over real engines, as a person meets them: listed, shown, sent again, dropped.

use crate::engine::{TOKEN, call, has, run, until};
use crate::redis::{Disk, Server};
use autofunnel::app::engine::Running;
use autofunnel::app::store::{Place, Remote, Roles};
use autofunnel::engine::clock::Clock;
use autofunnel::fact::What;
use autofunnel::funnel::Files;
use autofunnel::wire::{Client, Method, Reach, Request};
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A provider that takes the first `broken` messages and hangs up, and says yes to all others. How many it has had.
fn provider(broken: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let had = Arc::new(AtomicUsize::new(0));
    let counted = had.clone();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut read = Vec::new();
            let mut buffer = [0; 4096];
            while !read.ends_with(b"\"}") {
                match socket.read(&mut buffer) {
                    Ok(n) if n > 0 => read.extend_from_slice(&buffer[..n]),
                    _ => break,
                }
            }
            // Who only looks whether somebody is there has sent nothing.
            if !read.is_empty() && counted.fetch_add(1, Ordering::SeqCst) >= broken {
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").unwrap();
            }
        }
    });
    (address, had)
}

fn files(provider: &str) -> Files {
    [
        (
            "autofunnel.yaml",
            format!(
                "workspace: Test\nzone: UTC\ncurrency: EUR\nchannels: {{ sms: text }}\nproviders:\n  text:\n    kind: http\n    url: http://{provider}/\n    on_uncertain: hold\n    json: {{ to: \"{{{{ message.to }}}}\", text: \"{{{{ message.text }}}}\" }}\n"
            ),
        ),
        (
            "news.yaml",
            "funnel: News\ntrigger: { event: news }\nre_entry: always\ntransactional: true\ngoal: purchase\nsteps:\n  - sms: { text: News }\n    id: letter\n"
                .to_owned(),
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

async fn get(running: &Running, path: &str) -> Json {
    let (status, text) = call(running, Method::Get, path, "").await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A page, as somebody sees it who has logged in.
async fn page(running: &Running, path: &str) -> String {
    let door = format!("http://{}", running.address.unwrap());
    let request = |method, path: &str, header: (&str, String), body: String| Request {
        method,
        url: format!("{door}{path}"),
        headers: vec![(header.0.to_owned(), header.1)],
        body: body.into(),
        timeout: PATIENCE,
        reach: Reach { http: true, private: true },
    };
    let client = Client::new().unwrap();
    let form = ("content-type", "application/x-www-form-urlencoded".to_owned());
    let entered = client.send(request(Method::Post, "/login", form, format!("token={TOKEN}&next=%2F"))).await.unwrap();
    let cookie = entered.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let page = client.send(request(Method::Get, path, ("cookie", cookie), String::new())).await.unwrap();
    assert_eq!(page.status, 200);
    String::from_utf8(page.body.to_vec()).unwrap()
}

async fn news(running: &Running, customer: &str) {
    let put = r#"{"profile":{"phone":"+4917012345"}}"#;
    assert_eq!(call(running, Method::Put, &format!("/v1/customers/{customer}"), put).await.0, 202);
    let event = json!({ "id": "e-1", "event": "news", "customer": customer }).to_string();
    assert_eq!(call(running, Method::Post, "/v1/events", &event).await.0, 202);
    until(running, customer, |rows| has(rows, What::Finished, "")).await;
}

/// What is held, when so many are.
async fn held(running: &Running, wanted: usize) -> Vec<Json> {
    let begun = Instant::now();
    loop {
        let rows = get(running, "/v1/effects").await["held"].as_array().unwrap().clone();
        if rows.len() == wanted {
            return rows;
        }
        assert!(begun.elapsed() < PATIENCE, "{rows:?}");
        tokio::task::yield_now().await;
    }
}

async fn resolve(running: &Running, customer: &str, body: Json) -> (u16, String) {
    call(running, Method::Post, &format!("/v1/customers/{customer}/effects/resolve"), &body.to_string()).await
}

async fn a_person_has_the_last_word(place: Place) {
    let (address, had) = provider(3);
    let running = run(&files(&address), place, Roles::ALL, Clock::system()).await;
    for customer in ["ada", "ben", "cy"] {
        news(&running, customer).await;
    }
    let rows = held(&running, 3).await;
    let ada = rows.iter().find(|row| row["customer"] == "ada").unwrap();
    assert_eq!(
        (&ada["kind"], &ada["channel"], &ada["to"], &ada["run"]),
        (&json!("message"), &json!("sms"), &json!("+4917012345"), &json!(1))
    );
    assert!(ada["why"].as_str().unwrap().starts_with("no answer"), "{ada}");
    let shown = get(&running, "/v1/customers/ada/effects?effect=ada/1/letter/1").await;
    assert_eq!((&shown["state"], &shown["step"]), (&json!("held"), &json!("letter")), "{shown}");
    let page = page(&running, "/customers/ada").await;
    assert!(page.contains("Nobody knows whether"), "{page}");
    let page = self::page(&running, "/").await;
    assert!(page.contains("3 customers with parked grants, or with messages"), "{page}");
    // It is not tried again by itself, nor by who only is impatient.
    let hurry = call(&running, Method::Post, "/v1/customers/ada/effects/retry", r#"{"effect":"ada/1/letter/1"}"#).await;
    assert_eq!((hurry.0, had.load(Ordering::SeqCst)), (404, 3), "{}", hurry.1);
    assert_eq!(resolve(&running, "ada", json!({ "effect": "ada/1/letter/1", "outcome": "accepted", "points": 5 })).await.0, 400);
    // One is sent again, one has arrived, one is dropped.
    for (customer, outcome, what) in
        [("ada", "retry", What::Redecided), ("ben", "accepted", What::Sent), ("cy", "refused", What::Skipped)]
    {
        let word = json!({ "effect": format!("{customer}/1/letter/1"), "outcome": outcome, "why": "asked her" });
        let (status, said) = resolve(&running, customer, word).await;
        assert_eq!(status, 202, "{said}");
        until(&running, customer, |rows| rows.iter().any(|row| row.fact.what == what)).await;
    }
    until(&running, "ada", |rows| rows.iter().any(|row| row.fact.what == What::Sent)).await;
    assert!(held(&running, 0).await.is_empty());
    assert_eq!(had.load(Ordering::SeqCst), 4, "only what was to be sent again was");
    // Said again, nothing waits for it.
    assert_eq!(resolve(&running, "ben", json!({ "effect": "ben/1/letter/1", "outcome": "refused" })).await.0, 404);
    let runs = get(&running, "/v1/runs?customer=ada").await;
    assert!(runs["runs"].as_array().unwrap().iter().all(|run| run["state"] == "finished"), "{runs}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_has_the_last_word_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    a_person_has_the_last_word(Place::File(folder.path().join("engine.db"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_has_the_last_word_redis() {
    let server = Server::start(Disk::EverySecond);
    let (report, state) = (server.folder().join("report.db"), server.folder().join("state"));
    let remote = Remote { address: server.address(), report, state, accept_loss: false, wait_replicas: 0 };
    a_person_has_the_last_word(Place::Redis(remote)).await;
}

/// A run whose effect is held up by a pause says so, with who paused what and since when.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pause_holds_up_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (address, had) = provider(0);
    let running = run(&files(&address), Place::File(folder.path().join("engine.db")), Roles::ALL, Clock::system()).await;
    let pause = r#"{"provider":"text","why":"wrong price"}"#;
    assert_eq!(call(&running, Method::Post, "/v1/pauses", pause).await.0, 200);
    let event = r#"{"id":"e-1","event":"news","customer":"ada"}"#;
    assert_eq!(call(&running, Method::Put, "/v1/customers/ada", r#"{"profile":{"phone":"+4917012345"}}"#).await.0, 202);
    assert_eq!(call(&running, Method::Post, "/v1/events", event).await.0, 202);
    let begun = Instant::now();
    let paused = loop {
        let waiting = get(&running, "/v1/effects").await["waiting"][0].clone();
        if waiting["why"] == "paused" {
            break waiting["pauses"][0].clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{waiting}");
        tokio::task::yield_now().await;
    };
    assert_eq!(
        (&paused["paused"], &paused["by"], &paused["why"]),
        (&json!("provider text"), &json!("AUTOFUNNEL_TOKEN"), &json!("wrong price"))
    );
    let run = get(&running, "/v1/runs?customer=ada").await["runs"][0].clone();
    assert_eq!((&run["state"], &run["paused"][0]), (&json!("sending"), &paused), "{run}");
    let shown = get(&running, "/v1/customers/ada/effects?effect=ada/1/letter/1").await;
    assert_eq!(shown["pauses"][0], paused);
    assert_eq!(had.load(Ordering::SeqCst), 0);
    assert_eq!(call(&running, Method::Post, "/v1/pauses/end", r#"{"provider":"text"}"#).await.0, 200);
    until(&running, "ada", |rows| has(rows, What::Finished, "")).await;
    let run = get(&running, "/v1/runs?customer=ada").await["runs"][0].clone();
    assert_eq!(run["paused"], Json::Null, "{run}");
    running.stop().await;
}

/// What one customer tells another is held up by a pause of the funnel that tells it, and arrives once when that ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_up_what_customers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files("127.0.0.1:1");
    let tells = "funnel: Tells\ntrigger: { event: asked }\nre_entry: always\ngoal: purchase\nsteps:\n  - emit: hailed\n    to: '\"ben\"'\n    id: word\n";
    files.insert("tells.yaml".to_owned(), tells.to_owned());
    let hears = "funnel: Hears\ntrigger: { event: hailed }\nre_entry: always\ngoal: purchase\nsteps:\n  - wait: 1 day\n";
    files.insert("hears.yaml".to_owned(), hears.to_owned());
    let running = run(&files, Place::File(folder.path().join("engine.db")), Roles::ALL, Clock::system()).await;
    assert_eq!(call(&running, Method::Post, "/v1/pauses", r#"{"funnel":"tells"}"#).await.0, 200);
    let event = r#"{"id":"e-1","event":"asked","customer":"ada"}"#;
    assert_eq!(call(&running, Method::Post, "/v1/events", event).await.0, 202);
    let begun = Instant::now();
    while get(&running, "/v1/effects").await["waiting"][0]["why"] != "paused" {
        assert!(begun.elapsed() < PATIENCE, "the word does not wait");
        tokio::task::yield_now().await;
    }
    assert!(running.store.timeline("ben".to_owned(), None, 10).await.unwrap().is_empty(), "he was told");
    assert_eq!(call(&running, Method::Post, "/v1/pauses/end", r#"{"funnel":"tells"}"#).await.0, 200);
    let rows = until(&running, "ben", |rows| rows.iter().any(|row| row.fact.what == What::Waiting)).await;
    assert_eq!(rows.iter().filter(|row| row.fact.what == What::Entered).count(), 1);
    until(&running, "ada", |rows| has(rows, What::Finished, "")).await;
    running.stop().await;
}
