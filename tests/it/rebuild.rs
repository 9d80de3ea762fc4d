//! The read side made anew by the real command: after its file was lost, and after Redis has lost what the
//! file had heard of.

use crate::migrate::engine::{call, command, engine_with, timeline};
use crate::redis::{Disk, Server};
use autofunnel::app::store::{Place, Remote};
use autofunnel::app::workspace;
use autofunnel::engine::clock::system_now;
use autofunnel::fact::What;
use autofunnel::funnel::Files;
use autofunnel::store::RunRow;
use autofunnel::store::read::{ReadSide, RunFilter};
use autofunnel::store::sqlite::{Mirror, Options};
use autofunnel::wire::Method;
use std::path::Path;
use std::sync::Arc;

/// A run that waits for days.
fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("autofunnel.yaml", "workspace: Rebuilt\nzone: UTC\ncurrency: EUR\nunknown: create\n");
    write("segments.yaml", "buyers:\n  title: Buyers\n  when: { purchases: { last: 90 days, at_least: 1 } }\n");
    write(
        "order.yaml",
        "funnel: Order\ntrigger: purchase\nsteps:\n  - wait: 9 days\n    id: pause\n  - grant: 10 points\n    reason: thanks\n",
    );
    workspace::read(folder.path()).unwrap()
}

fn remote(server: &Server, folder: &Path) -> Place {
    Place::Redis(Remote {
        address: server.address(),
        report: folder.join("report.db"),
        state: folder.join("state"),
        accept_loss: false,
        wait_replicas: 0,
    })
}

/// What the file's lists show: customers with their names and segments, and all runs.
async fn lists(folder: &Path) -> (Vec<(String, String, Vec<String>)>, Vec<RunRow>) {
    let mirror = Mirror::open(&folder.join("report.db"), Options::new(Arc::new(system_now))).unwrap();
    let customers = mirror.customers(String::new(), String::new(), 10).await.unwrap();
    let runs = mirror.runs(RunFilter::default(), 10).await.unwrap();
    mirror.close().await;
    (customers.into_iter().map(|row| (row.id, row.name, row.segments)).collect(), runs)
}

fn rebuild(server: &Server, folder: &Path) -> String {
    let done = command(folder, &["report", "rebuild", "--store", &server.address(), "--report", "report.db"]);
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn keys(server: &Server, customer: &str) -> Vec<String> {
    let mut find = redis::cmd("KEYS");
    find.arg(format!("af:*:customer:{customer}"));
    redis::from_redis_value(server.query(&find).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_file_is_made_anew_and_lost_customers_leave_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Disk::Always);
    let running = engine_with(&files(), remote(&server, folder.path())).await;
    for (id, name) in [("ada", "Ada"), ("bert", "Bert")] {
        let put = format!(r#"{{"profile":{{"name":"{name}"}}}}"#);
        assert_eq!(call(&running, Method::Put, &format!("/v1/customers/{id}"), &put).await, 202);
    }
    while keys(&server, "ada").is_empty() || keys(&server, "bert").is_empty() {
        tokio::task::yield_now().await;
    }
    let [key] = keys(&server, "ada").try_into().unwrap();
    let mut get = redis::cmd("GET");
    get.arg(&key);
    let before: Vec<u8> = redis::from_redis_value(server.query(&get).unwrap()).unwrap();
    let order = r#"{"id":"o-1","event":"purchase","customer":"ada","properties":{"amount":5}}"#;
    assert_eq!(call(&running, Method::Post, "/v1/events", order).await, 202);
    timeline(&running, |rows| rows.iter().any(|row| row.fact.what == What::Entered)).await;
    let busy = command(folder.path(), &["report", "rebuild", "--store", &server.address(), "--report", "report.db"]);
    let said = String::from_utf8_lossy(&busy.stderr).into_owned();
    assert!(!busy.status.success() && said.contains("stop the engine with the role `report` first"), "{said}");
    running.stop().await;
    let as_it_was = lists(folder.path()).await;
    assert_eq!((as_it_was.0.len(), as_it_was.1.len()), (2, 1));

    for name in ["report.db", "report.db-wal", "report.db-shm"] {
        // The last use was closed, so there may be no more than the file itself.
        let _gone = std::fs::remove_file(folder.path().join(name));
    }
    let said = rebuild(&server, folder.path());
    assert!(said.contains("2 customers and 1 live runs") && said.contains("for the read side mirror-"), "{said}");
    assert_eq!(lists(folder.path()).await, as_it_was);
    assert_eq!(as_it_was.1[0].step, "pause");
    rebuild(&server, folder.path());
    assert_eq!(lists(folder.path()).await, as_it_was, "the same again changes nothing");

    // Redis comes back as it was before the order, and without Bert.
    let mut set = redis::cmd("SET");
    set.arg(&key).arg(before);
    server.query(&set).unwrap();
    let mut del = redis::cmd("DEL");
    del.arg(keys(&server, "bert"));
    server.query(&del).unwrap();
    let said = rebuild(&server, folder.path());
    assert!(said.contains("1 runs that the store does not know") && said.contains("1 customers whom"), "{said}");
    let (customers, runs) = lists(folder.path()).await;
    assert_eq!(customers, [("ada".to_owned(), "Ada".to_owned(), vec![])]);
    assert_eq!(runs.iter().map(|run| run.state.as_str()).collect::<Vec<_>>(), ["stopped"]);
}
