//! What an engine lived through, recorded and played again: every fact is as it was.

use crate::engine::{call, has, run_recorded, samples, until};
use crate::redis::{Disk, Server};
use autofunnel::app::engine::Running;
use autofunnel::app::store::{Place, Remote, Roles};
use autofunnel::engine::clock::Clock;
use autofunnel::engine::recorder::recorded;
use autofunnel::fact::What;
use autofunnel::lang::time::{DAY_MS, Time};
use autofunnel::wire::Method;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::process::{Command, Output};

const CUSTOMERS: usize = 9;

fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autofunnel"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).arg("simulate").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn engine(place: Place, record: &Path, day: i64) -> Running {
    let begin = Time::parse("2027-03-01T08:00:00Z").unwrap().plus_ms(day * DAY_MS);
    let clock = match place {
        Place::File(_) => Clock::scaled(begin, DAY_MS as f64 / 1_000.0),
        // In Redis time is what it is.
        Place::Redis(_) => Clock::system(),
    };
    run_recorded(&samples(), place, Roles::ALL, clock, Some(record.to_owned())).await
}

async fn put(running: &Running, customer: &str, body: Json) {
    assert_eq!(call(running, Method::Put, &format!("/v1/customers/{customer}"), &body.to_string()).await.0, 202);
}

async fn send(running: &Running, customer: &str, id: &str, event: &str, properties: Json) {
    let event = json!({ "id": id, "event": event, "customer": customer, "properties": properties });
    assert_eq!(call(running, Method::Post, "/v1/events", &event.to_string()).await.0, 202);
}

/// All kinds of things that happen to customers, over two lives of an engine; the number of facts of those who stay.
async fn lived(place: impl Fn() -> Place, record: &Path) -> usize {
    let running = engine(place(), record, 0).await;
    let names: Vec<String> = (0..CUSTOMERS).map(|n| format!("c{n}")).collect();
    for name in &names {
        let profile = json!({ "email": format!("{name}@example.com"), "name": name, "birthday": "1990-03-09" });
        put(&running, name, json!({ "profile": profile, "consent": { "email": true } })).await;
        send(&running, name, "signed-up", "signed_up", json!({})).await;
    }
    for name in &names {
        until(&running, name, |rows| has(rows, What::Sent, "welcome") && has(rows, What::Granted, "200 points")).await;
    }
    for (n, name) in names.iter().enumerate().filter(|(n, _)| n % 2 == 0) {
        let order = json!({ "order_id": format!("o-{name}"), "amount": format!("{}.50", 20 + n), "currency": "EUR" });
        send(&running, name, "order", "purchase", order).await;
    }
    put(&running, "c1", json!({ "consent": { "email": false } })).await;
    send(&running, "c2", "refund", "refund", json!({ "order_id": "o-c2", "amount": "22.50", "currency": "EUR" })).await;
    send(&running, "c3", "bounce", "message_bounced", json!({ "channel": "email", "kind": "hard" })).await;
    let fast = matches!(place(), Place::File(_));
    if fast {
        until(&running, "c5", |rows| has(rows, What::Sent, "first-steps")).await;
    }
    assert_eq!(call(&running, Method::Delete, "/v1/customers/c8", "").await.0, 202);
    until(&running, "c8", <[_]>::is_empty).await;
    running.stop().await;
    // The next life goes on where the first one stopped, some days later, and so does its record.
    let running = engine(place(), record, 8).await;
    for name in ["c5", "c7"].iter().filter(|_| fast) {
        until(&running, name, |rows| has(rows, What::Sent, "first-cup-offer")).await;
    }
    let mut facts = 0;
    for name in &names {
        facts += running.store.timeline(name.clone(), None, 500).await.unwrap().len();
    }
    running.stop().await;
    facts
}

fn report(record: &str, dir: &str) -> Json {
    let done = simulate(&[dir, "--record", record, "--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Changes the first line that fits; an empty one is left out.
fn edit(folder: &Path, which: impl Fn(&str) -> bool, change: impl Fn(&str) -> String) {
    for path in recorded(folder).unwrap() {
        let text = std::fs::read_to_string(&path).unwrap();
        if let Some(at) = text.lines().position(&which) {
            let change = |(n, line): (usize, &str)| if n == at { change(line) } else { line.to_owned() };
            let lines = text.lines().enumerate().map(change).filter(|line| !line.is_empty());
            std::fs::write(path, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
            return;
        }
    }
    panic!("no such line is on record");
}

async fn is_the_same_again(place: impl Fn() -> Place) {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let facts = lived(place, &record).await;
    let shown = record.to_str().unwrap();
    let proof = report(shown, "funnels")["record"].clone();
    for name in ["other_turns", "foreign_turns", "gaps", "left_out"] {
        assert_eq!(proof[name], json!(0), "{name}: {proof}");
    }
    // The last turns may have come after the timelines were read; nothing that they show is missing.
    assert!(proof["same_facts"].as_u64().unwrap() >= facts as u64 && facts > 50, "{facts} facts, {proof}");
    // Who was erased is in no file any more.
    for path in recorded(&record).unwrap() {
        assert!(!std::fs::read_to_string(&path).unwrap().contains("c8@example.com"), "{}", path.display());
    }
    // Another workspace makes something else of it, and only of what the edit touches.
    let edited = folder.path().join("edited");
    crate::readme::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("funnels"), &edited);
    let text = std::fs::read_to_string(edited.join("welcome.yaml")).unwrap();
    std::fs::write(edited.join("welcome.yaml"), text.replacen("grant: 200 points", "grant: 250 points", 1)).unwrap();
    let done = simulate(&[edited.to_str().unwrap(), "--against", "funnels", "--record", shown, "--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let told: Json = serde_json::from_slice(&done.stdout).unwrap();
    let changed = told["against"]["customers"].as_array().unwrap();
    assert_eq!(changed.len(), CUSTOMERS - 1, "{told}");
    for one in changed {
        let points = |side: &str| one[side]["points"].as_i64().unwrap();
        assert_eq!(points("after") - points("before"), 50, "{one}");
    }
    // A line that is gone is noticed, and what comes after it is left out until she is introduced anew.
    let turn =
        |line: &str| serde_json::from_str::<Json>(line).ok().filter(|line| line["customer"] == json!("c6"))?["base"].as_u64();
    let files = recorded(&record).unwrap();
    let texts: Vec<String> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let mut turns: Vec<u64> = texts.iter().flat_map(|text| text.lines()).filter_map(turn).collect();
    turns.sort();
    assert!(turns.len() > 2, "{turns:?}");
    edit(&record, |line| turn(line) == Some(turns[1]), |_| String::new());
    let proof = report(shown, "funnels")["record"].clone();
    assert_eq!((&proof["gaps"], &proof["other_turns"]), (&json!(1), &json!(0)), "{proof}");
    // A fact that is another one is told.
    edit(
        &record,
        |line| line.contains("\"c4\"") && line.contains("\"200 points\""),
        |line| line.replace("\"200 points\"", "\"201 points\""),
    );
    let done = simulate(&["--record", shown]);
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("1 turns gave OTHER facts") && said(&done).contains("201 points"), "{}", said(&done));
    edit(&record, |_| true, |line| format!("no line\n{line}"));
    let done = simulate(&["--record", shown]);
    assert!(said(&done).contains(":1: this is no line of a record"), "{}", said(&done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lived_through_is_the_same_again_fact_by_fact() {
    let folder = tempfile::tempdir().unwrap();
    is_the_same_again(|| Place::File(folder.path().join("engine.db"))).await;
    let server = Server::start(Disk::Never);
    let (report, state) = (server.folder().join("report.db"), server.folder().join("state"));
    let remote = || Remote {
        address: server.address(),
        report: report.clone(),
        state: state.clone(),
        accept_loss: true,
        wait_replicas: 0,
    };
    is_the_same_again(|| Place::Redis(remote())).await;
}
