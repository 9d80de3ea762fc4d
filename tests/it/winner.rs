//! The winner of a split, chosen by the engine: once, from what was counted, and for everybody from then on.

use crate::engine::{call, has, run_recorded, until};
use autofunnel::app::engine::Running;
use autofunnel::app::store::{Place, Roles};
use autofunnel::engine::clock::Clock;
use autofunnel::fact::What;
use autofunnel::funnel::Files;
use autofunnel::lang::time::{DAY_MS, HOUR_MS, Time};
use autofunnel::step::winner::Winner;
use autofunnel::wire::Method;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Nothing that is waited for takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
const FUNNEL: &str = "\
funnel: Try
trigger: asked
re_entry: never
goal: { event: purchase, within: 2 days, value: event.amount }
steps:
  - split:
      letter: { weight: 50, steps: [ { stop: by letter } ] }
      gift: { weight: 50, steps: [ { stop: by gift } ] }
    id: pick
    winner: { by: goal, at_least: 8 }
";

fn files(split: &str) -> Files {
    [("autofunnel.yaml", "workspace: Shop\nzone: Europe/Berlin\ncurrency: EUR\n"), ("try.yaml", split)]
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .into()
}

async fn engine(folder: &Path, day: i64) -> Running {
    let begin = Time::parse("2027-03-01T08:00:00Z").unwrap().plus_ms(day * DAY_MS);
    // An hour in a second: what is to hold some seconds later does so at once.
    let clock = Clock::scaled(begin, HOUR_MS as f64 / 1_000.0);
    let place = Place::File(folder.join("engine.db"));
    run_recorded(&files(FUNNEL), place, Roles::ALL, clock, Some(folder.join("record"))).await
}

async fn send(running: &Running, customer: &str, event: &str, properties: Json) {
    let event = json!({ "id": format!("{event}-{customer}"), "event": event, "customer": customer, "properties": properties });
    assert_eq!(call(running, Method::Post, "/v1/events", &event.to_string()).await.0, 202);
}

/// The variant of a customer, and why she has it.
async fn variant(running: &Running, customer: &str) -> (String, String) {
    let rows = until(running, customer, |rows| rows.iter().any(|row| row.fact.what == What::Stopped)).await;
    let fact = rows.into_iter().find(|row| row.fact.what == What::Variant).unwrap().fact;
    (fact.about, fact.why)
}

async fn winner(running: &Running) -> Winner {
    let started = Instant::now();
    loop {
        if let Some(winner) = running.store.winners().await.unwrap().pop() {
            return winner;
        }
        assert!(started.elapsed() < PATIENCE, "no winner was chosen");
        tokio::task::yield_now().await;
    }
}

fn cli(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_autofunnel")).args(arguments).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_winner_is_chosen_once_told_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let running = engine(folder.path(), 0).await;
    let mut drawn = std::collections::BTreeMap::<String, i64>::new();
    let mut lost = String::new();
    for n in 0..30 {
        let customer = format!("c{n}");
        send(&running, &customer, "asked", json!({})).await;
        let (name, why) = variant(&running, &customer).await;
        assert_eq!(why, "", "it was drawn");
        *drawn.entry(name.clone()).or_default() += 1;
        // Everybody with a gift orders; of the others only the first.
        if name == "gift" || drawn["letter"] == 1 {
            send(&running, &customer, "purchase", json!({ "order_id": customer, "amount": "20", "currency": "EUR" })).await;
            until(&running, &customer, |rows| has(rows, What::Goal, "purchase")).await;
        }
        if name == "letter" {
            lost = customer;
        }
    }
    assert!(drawn.values().all(|count| *count >= 8), "{drawn:?}");
    assert!(running.store.winners().await.unwrap().is_empty(), "the time for the goal is not over");
    running.stop().await;

    // Four days later: the day of the entries and the two days of the goal are over.
    let running = engine(folder.path(), 4).await;
    let chosen = winner(&running).await;
    let counted: Vec<(String, i64, i64)> =
        chosen.counted.iter().map(|arm| (arm.variant.clone(), arm.drawn, arm.reached)).collect();
    let wanted = [("letter".to_owned(), drawn["letter"], 1), ("gift".to_owned(), drawn["gift"], drawn["gift"])];
    assert_eq!((chosen.variant.as_str(), counted.as_slice()), ("gift", wanted.as_slice()));
    let started = Instant::now();
    while running.store.now() < chosen.from || running.engine.live.get().definitions.winners.is_empty() {
        assert!(started.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    let why = format!("it won by goal: letter 1 of {}, gift {} of {}", drawn["letter"], drawn["gift"], drawn["gift"]);
    for n in 0..12 {
        send(&running, &format!("late-{n}"), "asked", json!({})).await;
        assert_eq!(variant(&running, &format!("late-{n}")).await, ("gift".to_owned(), why.clone()), "late-{n}");
    }
    assert_eq!(variant(&running, &lost).await.0, "letter", "who has one keeps it");
    told(&running, &why).await;
    running.stop().await;

    // Another life knows it, too, and chooses no other.
    let running = engine(folder.path(), 40).await;
    send(&running, "later", "asked", json!({})).await;
    assert_eq!(variant(&running, "later").await, ("gift".to_owned(), why.clone()));
    assert_eq!(running.store.winners().await.unwrap(), [chosen]);
    running.stop().await;
    let db = folder.path().join("engine.db");
    let stats = cli(&["stats", "try", "--store", db.to_str().unwrap(), "--from", "2027-02-01", "--to", "2027-05-01"]);
    assert!(stats.contains("`gift` of `pick` was chosen") && stats.contains(&why), "{stats}");

    // What was recorded is done again, fact by fact.
    let shop = folder.path().join("shop");
    std::fs::create_dir(&shop).unwrap();
    files(FUNNEL).iter().for_each(|(path, text)| std::fs::write(shop.join(path), text).unwrap());
    let record = folder.path().join("record");
    let again = cli(&["simulate", shop.to_str().unwrap(), "--record", record.to_str().unwrap()]);
    assert!(again.contains("the split pick was decided: gift") && !again.contains("OTHER"), "{again}");
}

/// The plan of another workspace says what becomes of the winner.
async fn told(running: &Running, why: &str) {
    let told = async |funnel: String| {
        let body = json!({ "files": files(&funnel) }).to_string();
        let (status, body) = call(running, Method::Post, "/v1/workspace/plan", &body).await;
        assert_eq!(status, 200, "{body}");
        let plan: Json = serde_json::from_str(&body).unwrap();
        assert_eq!(plan["winners"][0]["why"], *why);
        plan["winners"][0]["fate"].as_str().unwrap().to_owned()
    };
    assert_eq!(told(FUNNEL.replace("at_least: 8", "at_least: 9")).await, "holds");
    assert_eq!(
        told(FUNNEL.replace("gift: {", "card: {")).await,
        "its variant is gone, so variants are drawn again; a new test takes a new `id`"
    );
    assert_eq!(told(FUNNEL.replace("id: pick", "id: other")).await, "the split is gone");
    assert_eq!(told(FUNNEL.replace("{ by: goal, at_least: 8 }", "letter")).await, "the split chooses no winner any more");
}

#[test]
fn a_simulation_chooses_as_the_engine_does() {
    let folder = tempfile::tempdir().unwrap();
    files(FUNNEL).iter().for_each(|(path, text)| std::fs::write(folder.path().join(path), text).unwrap());
    let mut events = String::new();
    let mut line = |id: String, event: &str, customer: &str, time: String, properties: Json| {
        events.push_str(
            &json!({ "id": id, "event": event, "customer": customer, "time": time, "properties": properties }).to_string(),
        );
        events.push('\n');
    };
    // Forty a day for ten days. Every third one orders the day after, whatever she has got.
    for n in 0..400 {
        let (day, customer) = (1 + n / 40, format!("c{n}"));
        line(format!("a{n}"), "asked", &customer, format!("2027-03-{day:02}T10:{:02}:00Z", n % 60), json!({}));
        if n % 3 == 0 {
            let order = json!({ "order_id": customer, "amount": "20", "currency": "EUR" });
            line(format!("p{n}"), "purchase", &customer, format!("2027-03-{:02}T12:00:00Z", day + 1), order);
        }
    }
    let path = folder.path().join("events.ndjson");
    std::fs::write(&path, events).unwrap();
    let play = |at_least: usize| {
        let edited = FUNNEL.replace("at_least: 8", &format!("at_least: {at_least}"));
        std::fs::write(folder.path().join("try.yaml"), edited).unwrap();
        let (shop, events) = (folder.path().to_str().unwrap(), path.to_str().unwrap());
        let report: Json =
            serde_json::from_str(cli(&["simulate", shop, "--events", events, "--json"]).lines().next().unwrap()).unwrap();
        let variants = report["funnels"][0]["variants"].clone();
        (report["winners"][0].clone(), variants)
    };
    let count = |variants: &Json, name: &str| variants[format!("pick {name}")].as_i64().unwrap_or(0);
    // The two days after the 1st of March are over with the 3rd; those of the first four days have drawn by then.
    let (won, variants) = play(8);
    assert_eq!(won["from"], "2027-03-03T23:00:00Z", "{won}");
    let loser = if won["variant"] == "gift" { "letter" } else { "gift" };
    let winner = won["variant"].as_str().unwrap();
    let (of_loser, of_winner) = (count(&variants, loser), count(&variants, winner));
    assert!(of_loser + of_winner == 400 && (30..90).contains(&of_loser), "{variants}");
    // A larger sample takes longer.
    let (won, later) = play(60);
    assert!(won["from"].as_str().unwrap() > "2027-03-03T23:00:00Z", "{won}");
    assert!(count(&later, "letter").min(count(&later, "gift")) > of_loser);
    let (none, drawn) = play(300);
    assert!(none.is_null() && count(&drawn, "letter").min(count(&drawn, "gift")) > 150, "{none} {drawn}");
}
