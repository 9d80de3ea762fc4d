//! From files to a running engine: planned, applied, refused when the state moved on, rolled back, and carried through
//! a death in between.

use crate::cli::{self, TOKEN};
use crate::engine::{call, has, run, until};
use crate::redis::{Disk, Server};
use autofunnel::app::engine::Running;
use autofunnel::app::store::{Place, Remote, Roles};
use autofunnel::engine::clock::Clock;
use autofunnel::fact::What;
use autofunnel::funnel::{Files, compile};
use autofunnel::lang::diag::Faults;
use autofunnel::store::applied::{Applied, Applying};
use autofunnel::wire::Method;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::process::Command;

const SETTINGS: &str = "workspace: Test\nzone: Europe/Berlin\ncurrency: EUR\n";
const CATALOG: &str = "bundles:\n  starter: { title: Starter, kind: starter, price: 10, worth: 12, valid_for: 7 days, items: [{ sku: a, quantity: 1 }] }\n";
/// Who signs up waits, for longer than this test.
const BEFORE: &str = "funnel: Welcome\ntrigger: signed_up\nre_entry: never\ngoal: { event: purchase }\nsteps:\n  - wait: 300 days\n    id: pause\n  - grant: 5 points\n    id: gift\n    reason: x\n";
/// Who waits is given seven points at once, and waits again.
const AFTER: &str = "funnel: Welcome\ntrigger: signed_up\nre_entry: never\ngoal: { event: purchase }\non_change: migrate\nrenamed: { pause: hello }\nsteps:\n  - grant: 7 points\n    id: hello\n    reason: x\n  - wait: 300 days\n    id: rest\n";

fn files(funnel: &str) -> Files {
    [("autofunnel.yaml", SETTINGS), ("catalog.yaml", CATALOG), ("welcome.yaml", funnel)]
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .into()
}

async fn ask(running: &Running, path: &str, body: &Json) -> (u16, Json) {
    let (status, text) = call(running, Method::Post, path, &body.to_string()).await;
    (status, serde_json::from_str(&text).unwrap())
}

async fn signed_up(running: &Running, customer: &str) {
    let event = json!({ "id": format!("e-{customer}"), "event": "signed_up", "customer": customer });
    assert_eq!(call(running, Method::Post, "/v1/events", &event.to_string()).await.0, 202);
    until(running, customer, |rows| rows.iter().any(|row| row.fact.what == What::Waiting)).await;
}

/// Plans, applies and follows one run through it; `running` has the doors.
async fn carried_through(running: &Running) {
    signed_up(running, "anna").await;
    let (status, plan) = ask(running, "/v1/workspace/plan", &json!({ "files": files(AFTER) })).await;
    assert_eq!(status, 200, "{plan}");
    assert_eq!(plan["changes"], json!([{ "kind": "funnel", "name": "welcome", "how": "changed" }]));
    let (base, hash) = (plan["base"].as_str().unwrap(), plan["hash"].as_str().unwrap());
    let run = &plan["runs"][0];
    assert_eq!(
        (&run["step"], &run["count"], &run["fate"], &run["to"]),
        (&json!("pause"), &json!(1), &json!("fire"), &json!("hello"))
    );
    let order = json!({ "files": files(AFTER), "base": base, "note": "seven for all" });
    let (status, done) = ask(running, "/v1/workspace/apply", &order).await;
    assert_eq!((status, &done["status"]), (200, &json!("applied")), "{done}");
    let rows = until(running, "anna", |rows| rows.iter().any(|row| row.fact.about == "7 points")).await;
    assert!(has(&rows, What::Moved, "hello"));
    // The same again changes nothing, and what was planned against the one before is not done.
    let (status, again) = ask(running, "/v1/workspace/apply", &order).await;
    assert_eq!((status, &again["status"]), (200, &json!("unchanged")), "{again}");
    let (status, late) =
        ask(running, "/v1/workspace/apply", &json!({ "files": files(&AFTER.replace("7 points", "9 points")), "base": base }))
            .await;
    assert_eq!(status, 409, "{late}");
    assert!(late["error"].as_str().unwrap().contains("since the plan was made"), "{late}");
    // Back to the one before, by its hash: her run stays where it is, because that one says nothing of moving.
    let (status, back) = ask(running, "/v1/workspace/apply", &json!({ "version": &base[..12], "base": hash })).await;
    assert_eq!((status, &back["runs"][0]["fate"]), (200, &json!("stay")), "{back}");
    let shown: Json = serde_json::from_str(&call(running, Method::Get, "/v1/workspace", "").await.1).unwrap();
    let told: Vec<(&Json, &Json)> = shown["applied"].as_array().unwrap().iter().map(|a| (&a["hash"], &a["note"])).collect();
    assert_eq!(told, [(&json!(base), &json!("")), (&json!(hash), &json!("seven for all"))]);
    assert_eq!(shown["applied"][0]["by"], json!("AUTOFUNNEL_TOKEN"));
    let rows = running.store.timeline("anna".to_owned(), None, 500).await.unwrap();
    for (what, times) in [(What::Granted, 1), (What::Moved, 1), (What::Entered, 1)] {
        assert_eq!(rows.iter().filter(|row| row.fact.what == what).count(), times, "{what:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_run_is_carried_through_a_plan_and_an_apply() {
    let folder = tempfile::tempdir().unwrap();
    let place = || Place::File(folder.path().join("engine.db"));
    let running = run(&files(BEFORE), place(), Roles::ALL, Clock::system()).await;
    carried_through(&running).await;
    running.stop().await;
    // What was applied last is in force, whatever the folder says.
    let running = run(&files(AFTER), place(), Roles::ALL, Clock::system()).await;
    signed_up(&running, "ben").await;
    let rows = running.store.timeline("ben".to_owned(), None, 500).await.unwrap();
    assert!(!rows.iter().any(|row| row.fact.what == What::Granted), "the folder's workspace is in force");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_beside_takes_what_was_applied_at_the_doors() {
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
    let working = run(&files(BEFORE), place("worker"), worker, Clock::system()).await;
    let running = run(&files(BEFORE), place("doors"), doors, Clock::system()).await;
    carried_through(&running).await;
    running.stop().await;
    working.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_live_run_needs_cannot_be_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("engine.db"));
    let offering = BEFORE.replace("grant: 5 points", "offer: starter").replace("    reason: x\n", "");
    let running = run(&files(&offering), place, Roles::ALL, Clock::system()).await;
    signed_up(&running, "anna").await;
    let mut without = files(BEFORE);
    without.remove("catalog.yaml");
    let (status, plan) = ask(&running, "/v1/workspace/plan", &json!({ "files": without })).await;
    assert_eq!(status, 200, "{plan}");
    assert!(plan["refused"][0].as_str().unwrap().contains("no bundle `starter`"), "{plan}");
    let order = json!({ "files": without, "base": plan["base"] });
    let (status, refused) = ask(&running, "/v1/workspace/apply", &order).await;
    assert_eq!(status, 409, "{refused}");
    // With the bundle the run can stay where it is.
    let order = json!({ "files": files(BEFORE), "base": plan["base"] });
    let (status, done) = ask(&running, "/v1/workspace/apply", &order).await;
    assert_eq!((status, &done["runs"][0]["fate"]), (200, &json!("stay")), "{done}");
    let (status, faulty) =
        ask(&running, "/v1/workspace/plan", &json!({ "files": { "autofunnel.yaml": "zone: Nowhere\n" } })).await;
    assert_eq!(status, 422);
    assert!(!faulty["faults"].as_array().unwrap().is_empty(), "{faulty}");
    let (status, _) = ask(&running, "/v1/workspace/plan", &json!({ "version": "ffff" })).await;
    assert_eq!(status, 404);
    running.stop().await;
}

/// The real program, killed as soon as it has answered: what was applied is in force after the next start, and the run
/// that waits is carried over once.
#[test]
fn a_process_killed_after_an_apply_loses_nothing() {
    let folder = cli::shop();
    let write = |funnel: &str| {
        std::fs::write(folder.path().join("shop/welcome.yaml"), funnel).unwrap();
    };
    write(BEFORE);
    let mut engine = cli::Engine::start(&folder);
    for n in 0..20 {
        let row = format!("{{\"id\":\"e-{n}\",\"event\":\"signed_up\",\"customer\":\"c{n}\"}}\n");
        std::fs::write(folder.path().join("events.ndjson"), row).unwrap();
        assert_eq!(engine.ask(&folder, &["send", "events.ndjson"]).status.code(), Some(0));
    }
    engine.ask_until(&folder, &["runs", "--state", "waiting", "--json"], "\"c19\"");
    write(AFTER);
    let applied = engine.ask(&folder, &["apply", "shop", "--yes", "--note", "seven"]);
    let said = String::from_utf8(applied.stdout).unwrap();
    assert_eq!(applied.status.code(), Some(0), "{said} {}", String::from_utf8_lossy(&applied.stderr));
    assert!(said.contains("fire at hello") && said.contains("20"), "{said}");
    engine.kill();
    // The folder says again what it said before: the store knows better.
    write(BEFORE);
    let engine = cli::Engine::start(&folder);
    for n in 0..20 {
        let customer = format!("c{n}");
        let told = engine.ask_until(&folder, &["timeline", &customer, "--json"], "7 points");
        assert_eq!(told.matches("\"moved\"").count(), 1, "{told}");
        assert_eq!(told.matches("\"granted\"").count(), 1, "{told}");
    }
    let list = engine.ask(&folder, &["apply", "--list"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("seven") && list.contains("AUTOFUNNEL_TOKEN"), "{list}");
    let plan = engine.ask(&folder, &["plan", "shop"]);
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(plan.contains("~ funnel welcome") && plan.contains("stay"), "{plan}");
    let nobody = Command::new(env!("CARGO_BIN_EXE_autofunnel"))
        .current_dir(folder.path())
        .args(["apply", "shop", "--url", &engine.url, "--token", TOKEN])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("--yes"), "{nobody:?}");
}

/// A changed segment moves customers, and `backfill: enter` starts runs: the plan counts both, and is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_counts_whom_a_changed_segment_moves() {
    let folder = tempfile::tempdir().unwrap();
    let with = |segment: &str| {
        let mut files = files(BEFORE);
        let greeted =
            "funnel: Greeted\ntrigger: { segment_entered: asked }\ngoal: { event: purchase }\nsteps: [ { stop: hello } ]\n";
        files.insert("greeted.yaml".to_owned(), greeted.to_owned());
        files.insert(
            "segments.yaml".to_owned(),
            format!("asked: {{ when: '{segment}', backfill: enter }}\nnew: {{ when: 'customer.email == \"\"' }}\n"),
        );
        files
    };
    let place = Place::File(folder.path().join("engine.db"));
    let running = run(&with("customer.email == \"nobody\""), place, Roles::ALL, Clock::system()).await;
    for customer in ["anna", "ben", "cleo"] {
        let put = json!({ "profile": { "email": format!("{customer}@example.com") } });
        assert_eq!(call(&running, Method::Put, &format!("/v1/customers/{customer}"), &put.to_string()).await.0, 202);
        signed_up(&running, customer).await;
    }
    let next = with("customer.email != \"cleo@example.com\"");
    let (status, plan) = ask(&running, "/v1/workspace/plan", &json!({ "files": next })).await;
    assert_eq!(status, 200, "{plan}");
    let wanted = json!({
        "looked_at": 3, "customers": 3, "segments": [{ "segment": "asked", "enter": 2, "leave": 0 }],
        "started": [{ "funnel": "greeted", "count": 2 }],
    });
    assert_eq!(plan["moved"], wanted, "{plan}");
    assert!(running.store.members("asked".to_owned(), 9).await.unwrap().is_empty(), "planning changes nothing");
    let (status, done) = ask(&running, "/v1/workspace/apply", &json!({ "files": next, "base": plan["base"] })).await;
    assert_eq!(status, 200, "{done}");
    for customer in ["anna", "ben"] {
        until(&running, customer, |rows| has(rows, What::Stopped, "hello")).await;
    }
    assert_eq!(running.store.members("asked".to_owned(), 9).await.unwrap().len(), 2);
    // What moves nobody is not looked through.
    let mut other = next.clone();
    other.insert("welcome.yaml".to_owned(), AFTER.to_owned());
    let (_, plan) = ask(&running, "/v1/workspace/plan", &json!({ "files": other })).await;
    assert_eq!(plan["moved"], Json::Null, "{plan}");
    running.stop().await;
}

/// Whoever enters between the plan and the apply is left behind on a version that needs what is gone. That stands against
/// no later apply; what would be gone only then still does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_raced_by_events_locks_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let offering = BEFORE.replace("grant: 5 points", "offer: starter").replace("    reason: x\n", "");
    let (with, mut without) = (files(&offering), files(BEFORE));
    without.remove("catalog.yaml");
    let running = run(&with, Place::File(folder.path().join("engine.db")), Roles::ALL, Clock::system()).await;
    let (_, plan) = ask(&running, "/v1/workspace/plan", &json!({ "files": without })).await;
    assert_eq!(plan["refused"], json!([]), "nobody needs the bundle: {plan}");
    signed_up(&running, "anna").await;
    // The apply that did not see her: what it did in the store, after its look at who lives.
    let text = |name: &str| plan[name].as_str().unwrap().to_owned();
    let applied =
        Applied { hash: text("hash"), at: running.store.now(), by: "ops".to_owned(), note: String::new(), before: text("base") };
    let compiled = compile(&without, &mut Faults::default()).unwrap();
    let funnels = compiled.funnels.values().map(|funnel| (funnel.name.clone(), funnel.version.clone())).collect();
    let bundle = serde_json::to_vec(&without).unwrap();
    assert!(running.store.apply(Applying { applied, funnels, bundle }).await.unwrap());
    // Any other change is taken though her run needs what is gone.
    let settings = |name: &str| SETTINGS.replace("workspace: Test", &format!("workspace: {name}"));
    let mut other = without.clone();
    other.insert("autofunnel.yaml".to_owned(), settings("Other"));
    let (status, done) = ask(&running, "/v1/workspace/apply", &json!({ "files": other, "base": plan["hash"] })).await;
    assert_eq!((status, &done["status"], &done["missed"]), (200, &json!("applied"), &json!([])), "{done}");
    // Where the bundle is back, it cannot be taken from her again.
    let mut back = with.clone();
    back.insert("autofunnel.yaml".to_owned(), settings("Back"));
    let (status, done) = ask(&running, "/v1/workspace/apply", &json!({ "files": back, "base": done["hash"] })).await;
    assert_eq!((status, &done["status"]), (200, &json!("applied")), "{done}");
    let (status, refused) = ask(&running, "/v1/workspace/apply", &json!({ "files": without, "base": done["hash"] })).await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("no bundle `starter`"), "{refused}");
    running.stop().await;
}

/// A Redis that was emptied under an engine has no workspace in force: `apply` says so, and nothing is sent by what the
/// engine had, not even when somebody confirms it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_has_nothing_in_force() {
    let server = Server::start(Disk::EverySecond);
    let place = || {
        let (report, state) = (server.folder().join("report.db"), server.folder().join("state"));
        Place::Redis(Remote { address: server.address(), report, state, accept_loss: false, wait_replicas: 0 })
    };
    let running = run(&files(BEFORE), place(), Roles::ALL, Clock::system()).await;
    signed_up(&running, "anna").await;
    server.query(&redis::cmd("FLUSHALL")).unwrap();
    let token = autofunnel::store::TokenRow {
        digest: Sha256::digest(crate::engine::TOKEN.as_bytes()).to_vec(),
        name: "ops".to_owned(),
        scopes: vec!["admin".to_owned()],
        expires: None,
    };
    running.store.put_token(token).await.unwrap();
    let (status, said) = ask(&running, "/v1/workspace/plan", &json!({ "files": files(AFTER) })).await;
    assert_eq!(status, 409, "{said}");
    assert!(said["error"].as_str().unwrap().contains("it was emptied under this engine"), "{said}");
    assert!(said["hint"].as_str().unwrap().contains("restore the back-up"), "{said}");
    let begun = std::time::Instant::now();
    loop {
        // Workers write down that they live once a second; until then nothing tells that there was a store.
        let why = autofunnel::store::redis::doctor::confirm(&server.address()).await.unwrap_err().to_string();
        if why.contains("was emptied under them") {
            break;
        }
        assert!(why.contains("nothing is to be confirmed") && begun.elapsed().as_secs() < 60, "{why}");
        tokio::task::yield_now().await;
    }
    running.stop().await;
    // Started again it has one, and asks whether it may send.
    std::fs::remove_file(server.folder().join("report.db")).unwrap();
    let running = run(&files(BEFORE), place(), Roles::ALL, Clock::system()).await;
    let (status, plan) = ask(&running, "/v1/workspace/plan", &json!({ "files": files(AFTER) })).await;
    assert_eq!(status, 200, "{plan}");
    let stopped = autofunnel::store::redis::doctor::confirm(&server.address()).await.unwrap();
    assert!(stopped.len() == 1 && stopped[0].1.contains("another store"), "{stopped:?}");
    signed_up(&running, "ben").await;
    running.stop().await;
}
