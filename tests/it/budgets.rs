//! Budgets of rewards over real engines: never exceeded, whoever grants; and what happens when one is used up.

use crate::engine::{call, run, run_recorded, until};
use crate::redis::{Disk, Server};
use autofunnel::account::Account;
use autofunnel::app::engine::Running;
use autofunnel::app::store::{Place, Remote, Roles};
use autofunnel::engine::clock::Clock;
use autofunnel::fact::What;
use autofunnel::funnel::Files;
use autofunnel::store::pause::Pausable;
use autofunnel::store::read::TimelineRow;
use autofunnel::wire::Method;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

const CUSTOMERS: usize = 60;
const POINTS: i64 = 10;
/// Not a multiple of what is given: the last one does not fit.
const BUDGET: i64 = 205;
const PATIENCE: Duration = Duration::from_secs(60);

fn files(budget: i64) -> Files {
    [
        (
            "autofunnel.yaml",
            format!("workspace: Test\nzone: Europe/Berlin\ncurrency: EUR\npoint_value: 0.01\nbudgets:\n  - {{ funnel: gift, points: {budget}, per: month }}\n  - {{ money: 900, per: ever }}\n"),
        ),
        (
            "gift.yaml",
            format!("funnel: Gift\ntrigger: {{ event: go }}\nre_entry: always\ngoal: purchase\nsteps:\n  - grant: {POINTS} points\n    id: gift\n    on_error: branch\n    failed: [ {{ stop: none left }} ]\n    reason: gift\n"),
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

/// What all of them have got, and how many were told that nothing is left.
async fn given(running: &Running) -> (i64, usize, usize) {
    let (mut points, mut refused, mut alerts) = (0, 0, 0);
    for n in 0..CUSTOMERS {
        let record = running.store.record(format!("c{n}")).await.unwrap().unwrap_or_default();
        points += Account::from_stored(&record.account).unwrap().granted();
        let rows = running.store.timeline(format!("c{n}"), None, 100).await.unwrap();
        refused += rows.iter().filter(|row| row.fact.what == What::Failed && row.fact.why.starts_with("refused: budget")).count();
        alerts += rows.iter().filter(|row| row.fact.what == What::Alert).count();
    }
    (points, refused, alerts)
}

async fn go(running: &Running, round: usize) {
    let events: Vec<String> =
        (0..CUSTOMERS).map(|n| format!(r#"{{"id":"e{round}-{n}","event":"go","customer":"c{n}"}}"#)).collect();
    let (status, answer) = call(running, Method::Post, "/v1/events", &format!("[{}]", events.join(","))).await;
    assert_eq!(status, 202, "{answer}");
}

/// Waits until every grant is booked, refused, or waits for the end of the pause.
async fn settled(running: &Running) {
    let begun = Instant::now();
    loop {
        let counts = running.store.counts().await.unwrap();
        let rows = running.store.outbox(500).await.unwrap();
        let entered = running.store.figures("2000-01-01".to_owned(), "2100-01-01".to_owned()).await.unwrap();
        let entered: i64 = entered.iter().filter(|row| row.what == "entered").map(|row| row.count).sum();
        let idle = counts.inbox == 0 && rows.iter().all(|row| row.why == "paused");
        if idle && entered as usize >= CUSTOMERS && running.store.pauses().await.unwrap().len() == 1 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{counts:?} {rows:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_budget_refuses_once_and_pauses_its_funnel() {
    let folder = tempfile::tempdir().unwrap();
    let place = || Place::File(folder.path().join("engine.db"));
    let running = run(&files(BUDGET), place(), Roles::ALL, Clock::system()).await;
    go(&running, 1).await;
    settled(&running).await;
    let (points, refused, alerts) = given(&running).await;
    assert_eq!(points, 200, "a budget of {BUDGET}: all that fits was given");
    assert!(refused >= 1 && alerts == 1, "{refused} refused, {alerts} alerts");
    let pauses = running.store.pauses().await.unwrap();
    assert_eq!((&pauses[0].of, pauses[0].by.as_str()), (&Pausable::Funnel("gift".to_owned()), "budget"));
    assert_eq!(pauses[0].why, "at most 205 points per month in the funnel gift");
    let waiting = running.store.outbox(500).await.unwrap().len();
    assert_eq!(waiting + refused, CUSTOMERS - 20, "the others wait");
    running.stop().await;
    // A restart changes nothing; with a larger budget and the pause ended they go on.
    let running = run(&files(100 * BUDGET), place(), Roles::ALL, Clock::system()).await;
    assert_eq!(call(&running, Method::Post, "/v1/pauses/end", r#"{"funnel":"gift"}"#).await.0, 200);
    for n in 0..CUSTOMERS {
        until(&running, &format!("c{n}"), |rows| rows.iter().any(|row| matches!(row.fact.what, What::Finished | What::Stopped)))
            .await;
    }
    assert_eq!(given(&running).await.0, (CUSTOMERS - refused) as i64 * POINTS);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_on_one_redis_never_exceed_a_budget() {
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
    let doors = Roles { web: true, worker: true, report: true };
    let running = run(&files(BUDGET), place("a"), doors, Clock::system()).await;
    let beside = run(&files(BUDGET), place("b"), worker, Clock::system()).await;
    go(&running, 1).await;
    settled(&running).await;
    let (points, refused, alerts) = given(&running).await;
    // A chunk is what one grant needs: at most that much lies unused with the other worker.
    assert!((BUDGET - 2 * POINTS..=BUDGET).contains(&points), "{points} of {BUDGET}");
    assert!(refused >= 1 && alerts == 1, "{refused} refused, {alerts} alerts");
    beside.stop().await;
    running.stop().await;
}

/// What was given is used up: it comes back to no chunk, and what was refused by the account does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_one_after_the_other_use_a_budget_up() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(&files(35), Place::File(folder.path().join("engine.db")), Roles::ALL, Clock::system()).await;
    for n in 0..4 {
        let event = format!(r#"{{"id":"e{n}","event":"go","customer":"c{n}"}}"#);
        assert_eq!(call(&running, Method::Post, "/v1/events", &event).await.0, 202);
        let ended = |rows: &[TimelineRow]| rows.iter().any(|row| matches!(row.fact.what, What::Finished | What::Stopped));
        let rows = until(&running, &format!("c{n}"), ended).await;
        let refused = rows.iter().any(|row| row.fact.why.starts_with("refused: budget"));
        assert_eq!(refused, n == 3, "{n}");
    }
    assert_eq!(given(&running).await, (30, 1, 1));
    running.stop().await;
}

/// What a budget does live it does in a simulation, in the same words; an engine's record is played again as it was, and by
/// another workspace with that one's budgets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulation_knows_what_a_budget_does_live() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let place = Place::File(folder.path().join("engine.db"));
    let running = run_recorded(&files(BUDGET), place, Roles::ALL, Clock::system(), Some(record.clone())).await;
    go(&running, 1).await;
    settled(&running).await;
    let (points, refused, _) = given(&running).await;
    let mut alerts = Vec::new();
    for n in 0..CUSTOMERS {
        let rows = running.store.timeline(format!("c{n}"), None, 100).await.unwrap();
        alerts.extend(rows.into_iter().map(|row| row.fact).filter(|fact| fact.what == What::Alert));
    }
    running.stop().await;
    assert_eq!((points, alerts.len()), (200, 1));
    let workspace = |name: &str, budget: i64| {
        let at = folder.path().join(name);
        std::fs::create_dir_all(&at).unwrap();
        files(budget).iter().for_each(|(file, text)| std::fs::write(at.join(file), text).unwrap());
        at.to_str().unwrap().to_owned()
    };
    let (same, larger, smaller) = (workspace("same", BUDGET), workspace("larger", 100 * BUDGET), workspace("smaller", 55));
    let played = |arguments: &[&str]| -> Json {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_autofunnel"));
        let done = command.arg("simulate").args(arguments).arg("--json").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    };
    let gift = |report: &Json| report["funnels"].as_array().unwrap().iter().find(|one| one["funnel"] == "gift").unwrap().clone();
    let record = record.to_str().unwrap();
    // As it was.
    let report = played(&[&same, "--record", record]);
    assert_eq!((&report["record"]["other_turns"], &gift(&report)["points"]), (&json!(0), &json!(200)), "{report}");
    // From the events alone: the same figures, and the same words.
    let events: String = (0..CUSTOMERS)
        .map(|n| format!("{{\"id\":\"e1-{n}\",\"event\":\"go\",\"customer\":\"c{n}\",\"time\":\"2027-03-01T10:00:00Z\"}}\n"))
        .collect();
    let path = folder.path().join("events.ndjson");
    std::fs::write(&path, events).unwrap();
    let report = played(&[&same, "--events", path.to_str().unwrap()]);
    let (of_it, used_up) = (gift(&report), &report["used_up"][0]);
    assert_eq!((&of_it["points"], &of_it["failed"], &used_up["waiting"]), (&json!(200), &json!(1), &json!(CUSTOMERS - 21)));
    assert_eq!(of_it["reasons"][0]["why"], "refused: budget: at most 205 points per month in the funnel gift");
    let told = format!("{}: it is used up, and the funnel is paused", used_up["budget"].as_str().unwrap());
    assert_eq!(told, alerts[0].why);
    // Other budgets make something else of the same record: what was refused and what waited is given.
    let report = played(&[&larger, "--against", &same, "--record", record]);
    assert_eq!((&gift(&report)["points"], &gift(&report)["failed"]), (&json!(10 * CUSTOMERS), &json!(0)), "{report}");
    assert_eq!(report["against"]["customers"].as_array().unwrap().len(), CUSTOMERS - 20, "{refused} were refused");
    let report = played(&[&smaller, "--record", record]);
    assert_eq!((&gift(&report)["points"], &gift(&report)["failed"]), (&json!(50), &json!(1)), "{report}");
    assert_eq!(report["used_up"][0]["waiting"], json!(CUSTOMERS - 6), "{report}");
}
