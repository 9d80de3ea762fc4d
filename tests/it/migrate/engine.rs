//! The real engine on both sides of a move, by the real commands.

use crate::redis::{Disk, Server};
use autofunnel::app::engine::{Running, Start, start};
use autofunnel::app::store::{Place, Remote, Roles};
use autofunnel::app::workspace;
use autofunnel::engine::clock::Clock;
use autofunnel::fact::What;
use autofunnel::funnel::Files;
use autofunnel::store::read::TimelineRow;
use autofunnel::web::Options;
use autofunnel::wire::secrets::Placeholders;
use autofunnel::wire::{Client, Method, Reach, Request};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The token of the engines of these tests.
pub const TOKEN: &str = "a-token-for-tests-only";
/// Nothing that is waited for takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run that waits a moment between two messages.
fn workspace() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("autofunnel.yaml", "workspace: Moves\nzone: UTC\ncurrency: EUR\nunknown: create\n");
    write(
        "order.yaml",
        "funnel: Order\ntrigger: purchase\nsteps:\n  - email: { subject: first, text: hello }\n    id: first\n  \
         - grant: 10 points\n    reason: thanks\n  - wait: 4 seconds\n  - email: { subject: second, text: hello again }\n    id: second\n",
    );
    workspace::read(folder.path()).unwrap()
}

async fn engine(store: Place) -> Running {
    engine_with(&workspace(), store).await
}

/// An engine with this workspace.
pub async fn engine_with(files: &Files, store: Place) -> Running {
    let clock = Clock::system();
    let checked = workspace::check(files, &Placeholders);
    assert!(checked.workspace.is_some(), "{:#?}", checked.faults);
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let token = Some(TOKEN.to_owned());
    start(Start {
        record: None,
        checked,
        store,
        roles: Roles::ALL,
        listen,
        clock,
        doors: Options::default(),
        token,
        secrets: std::sync::Arc::new(Placeholders),
    })
    .await
    .unwrap()
}

pub async fn call(running: &Running, method: Method, path: &str, body: &str) -> u16 {
    ask(running, method, path, body).await.0
}

/// Status and body of an answer.
pub async fn get(running: &Running, path: &str) -> (u16, String) {
    ask(running, Method::Get, path, "").await
}

async fn ask(running: &Running, method: Method, path: &str, body: &str) -> (u16, String) {
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
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

pub async fn timeline(running: &Running, done: impl Fn(&[TimelineRow]) -> bool) -> Vec<TimelineRow> {
    let started = Instant::now();
    loop {
        let rows = running.store.timeline("ada".to_owned(), None, 500).await.unwrap();
        if done(&rows) {
            return rows;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain; the timeline is {rows:#?}");
        tokio::task::yield_now().await;
    }
}

pub fn command(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_autofunnel"))
        .current_dir(folder)
        .env_remove("AUTOFUNNEL_STORE")
        .args(arguments)
        .output()
        .unwrap()
}

const ORDER: &str = r#"{"id":"o-1","event":"purchase","customer":"ada","properties":{"amount":5}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_over_redis_where_it_was_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Disk::Always);
    let running = engine(Place::File(folder.path().join("autofunnel.db"))).await;
    let put = r#"{"profile":{"name":"Ada","email":"ada@example.com"},"consent":{"email":true}}"#;
    assert_eq!(call(&running, Method::Put, "/v1/customers/ada", put).await, 202);
    assert_eq!(call(&running, Method::Post, "/v1/events", ORDER).await, 202);
    timeline(&running, |rows| rows.iter().any(|row| row.fact.what == What::Granted)).await;
    let copy = command(folder.path(), &["backup", "--to", "copy.db"]);
    assert!(copy.status.success(), "{copy:?}");
    let busy = command(folder.path(), &["migrate-store", "--to", &server.address()]);
    assert!(!busy.status.success() && String::from_utf8_lossy(&busy.stderr).contains("in use"), "{busy:?}");
    running.stop().await;
    let before = {
        let running = engine_at_rest(folder.path()).await;
        running.timeline("ada".to_owned(), None, 500).await.unwrap()
    };

    let moved = command(folder.path(), &["migrate-store", "--to", &server.address()]);
    let table = String::from_utf8_lossy(&moved.stdout).into_owned();
    assert!(moved.status.success(), "{table}{}", String::from_utf8_lossy(&moved.stderr));
    assert!(table.contains("customers") && !table.contains("DIFFERS"), "{table}");
    let remote = Remote {
        address: server.address(),
        report: folder.path().join("autofunnel-report.db"),
        state: folder.path().join("state"),
        accept_loss: false,
        wait_replicas: 0,
    };
    let running = engine(Place::Redis(remote)).await;
    assert_eq!(call(&running, Method::Post, "/v1/events", ORDER).await, 200, "a second delivery is known");
    let after = timeline(&running, |rows| rows.iter().any(|row| row.fact.what == What::Finished)).await;
    assert_eq!(after[after.len() - before.len()..], before, "what happened before is on her timeline as it was");
    let messages = running.store.messages("ada".to_owned(), None, 10).await.unwrap();
    let subjects: Vec<&str> = messages.iter().rev().map(|message| message.subject.as_str()).collect();
    assert_eq!(subjects, ["first", "second"], "each once");
    let count = |what: What| after.iter().filter(|row| row.fact.what == what).count();
    assert_eq!((count(What::Entered), count(What::Granted), count(What::Sent)), (1, 1, 2));
    running.stop().await;
    let again = command(folder.path(), &["migrate-store", "--to", &server.address()]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("empty Redis"), "{again:?}");
}

/// The store of an engine that has ended.
async fn engine_at_rest(folder: &Path) -> std::sync::Arc<dyn autofunnel::store::read::ReadSide> {
    let options = autofunnel::store::sqlite::Options::new(std::sync::Arc::new(autofunnel::engine::clock::system_now));
    let store = autofunnel::store::sqlite::SqliteStore::open(&folder.join("autofunnel.db"), options).unwrap();
    autofunnel::store::Store::close(&*store).await;
    store
}
