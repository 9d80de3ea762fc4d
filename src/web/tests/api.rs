//! What machines get.

use super::*;
use crate::engine::intake::fake::SHOP_TOKEN;
use crate::event::InputBody;
use crate::fact::{Fact, RunRef, What};
use crate::lang::time::Time;
use crate::lang::value::Value;
use crate::store::read::{Figure, OutboxRow, QuarantineRow, TimelineRow};
use crate::store::{CustomerRow, Fate};

fn at(text: &str) -> Time {
    Time::parse(text).unwrap()
}

#[tokio::test]
async fn events_are_accepted_once() {
    let server = Server::start().await;
    let ingest = server.token(Scope::Ingest);
    let accepted = server.post("/v1/events", ingest, &event("e1")).await;
    assert_eq!((accepted.status, accepted.body.as_str()), (202, r#"{"status":"accepted"}"#));
    let again = server.post("/v1/events", ingest, &event("e1")).await;
    assert_eq!((again.status, again.json()["status"].as_str()), (200, Some("duplicate")));
    let other = server.post("/v1/events", ingest, &event("e1").replace("\"amount\":1", "\"amount\":2")).await;
    assert_eq!(other.status, 409);
    assert!(other.json()["hint"].as_str().unwrap().contains("first one is kept"));
    let wrong = server.post("/v1/events", ingest, r#"{"id":"e2","event":"purchase"}"#).await;
    assert_eq!((wrong.status, wrong.json()["field"].as_str()), (400, Some("customer")));
    assert_eq!(server.store.inputs().len(), 1);
}

#[tokio::test]
async fn several_events_get_one_answer_each() {
    let server = Server::start().await;
    let ingest = server.token(Scope::Ingest);
    let lines = format!("{}\n{}\nbroken\n", event("e1"), event("e1"));
    let got = server.send("POST", "/v1/events", ingest, "content-type: application/x-ndjson\r\n", &lines).await;
    assert_eq!(got.status, 202);
    let body = got.json();
    assert_eq!([&body["accepted"], &body["duplicates"], &body["refused"]].map(|n| n.as_u64()), [Some(1), Some(1), Some(1)]);
    assert_eq!(body["items"][0]["line"], 2);
    assert_eq!((body["items"][1]["line"].as_u64(), body["items"][1]["status"].as_str()), (Some(3), Some("refused")));
    let all_wrong = server.post("/v1/events", ingest, r#"[{"id":"1"},{}]"#).await;
    assert_eq!(all_wrong.status, 400);
    assert!(all_wrong.json()["error"].is_string());
}

#[tokio::test]
async fn a_store_that_is_away_means_try_again() {
    let server = Server::start().await;
    let ingest = server.token(Scope::Ingest).to_owned();
    server.store.fail();
    let got = server.post("/v1/events", &ingest, &event("e1")).await;
    assert_eq!((got.status, got.header("retry-after")), (503, Some("2")));
    assert!(!got.body.contains("told to fail"), "the store's own words stay in the log");
    assert_eq!(server.get("/readyz", "").await.status, 503);
    assert_eq!(server.get("/livez", "").await.status, 200);
}

#[tokio::test]
async fn what_was_put_aside_is_listed_retried_and_dropped() {
    let server = Server::start().await;
    let (read, operate) = (server.token(Scope::Read), server.token(Scope::Operate));
    let row = |seq, input: &str| QuarantineRow {
        seq,
        customer: "a/b".to_owned(),
        input: input.to_owned(),
        cause: "panic".to_owned(),
        at: at("2027-03-01T09:00:00Z"),
    };
    server.store.rows.lock().unwrap().quarantine = vec![row(9, r#"{"body":"Erase"}"#), row(7, "no JSON")];
    let listed = server.get("/v1/quarantine", read).await.json();
    assert_eq!((listed["inputs"][0]["seq"].as_u64(), listed["inputs"][0]["customer"].as_str()), (Some(9), Some("a/b")));
    assert_eq!((&listed["inputs"][0]["input"]["body"], &listed["inputs"][1]["input"]), (&"Erase".into(), &"no JSON".into()));
    assert_eq!(server.get("/v1/quarantine?limit=1", read).await.json()["inputs"].as_array().unwrap().len(), 1);
    let retry = "/v1/customers/a%2Fb/quarantine/9/retry";
    assert_eq!(server.post(retry, read, "").await.status, 404, "who may only read may not retry");
    let got = server.post(retry, operate, "").await;
    assert_eq!((got.status, got.body.as_str()), (202, r#"{"status":"accepted"}"#));
    let again = server.post(retry, operate, "").await;
    assert_eq!(again.status, 404);
    assert!(again.json()["error"].as_str().unwrap().contains("put aside"));
    for (path, status) in [("a%2Fb/quarantine/x", 404), ("b/quarantine/7", 404), ("a%2Fb/quarantine/7", 200)] {
        assert_eq!(server.send("DELETE", &format!("/v1/customers/{path}"), operate, "", "").await.status, status, "{path}");
    }
    assert_eq!(server.store.rows.lock().unwrap().fates, [Fate::Retry, Fate::Drop]);
}

#[tokio::test]
async fn an_effect_of_unknown_fate_is_resolved_by_a_person() {
    let server = Server::start().await;
    let (read, operate) = (server.token(Scope::Read), server.token(Scope::Operate));
    server.store.know("c1");
    let path = "/v1/customers/c1/effects/resolve";
    let word = r#"{"effect":"c1/1/gift/1","outcome":"accepted","points":5}"#;
    assert_eq!(server.post(path, operate, word).await.status, 404, "nothing of hers is held");
    server.store.hold("c1", "c1/1/gift/1");
    assert_eq!(server.post(path, read, word).await.status, 404, "who may only read may not resolve");
    assert_eq!(server.post(path, operate, r#"{"effect":"c1/1/gift/1"}"#).await.status, 400);
    assert_eq!(server.post(path, operate, r#"{"effect":"c1/1/other/1","outcome":"refused"}"#).await.status, 404);
    assert_eq!(server.post(path, operate, word).await.status, 202);
    let inputs = server.store.inputs();
    assert!(matches!(&inputs[0].body, InputBody::Result { effect, .. } if effect == "c1/1/gift/1"));
    assert_eq!(inputs[0].id.as_deref(), Some("resolve:c1/1/gift/1"), "the same word again is known");
    let listed = server.get("/v1/effects", read).await.json();
    assert_eq!((&listed["waiting"], &listed["held"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[tokio::test]
async fn a_pause_names_what_there_is_and_who_asked() {
    let server = Server::start_with(Options { open_pages: true, ..Options::default() }, Times::default()).await;
    let (read, operate) = (server.token(Scope::Read), server.token(Scope::Operate));
    assert_eq!(server.post("/v1/pauses", read, r#"{"funnel":"welcome"}"#).await.status, 404, "who may only read may not");
    let wrong = server.post("/v1/pauses", operate, r#"{"funnel":"welcom"}"#).await;
    assert_eq!((wrong.status, wrong.json()["hint"].as_str()), (404, Some("did you mean `welcome`?")));
    assert_eq!(server.post("/v1/pauses", operate, r#"{"provider":"owl"}"#).await.status, 404);
    let got = server.post("/v1/pauses", operate, r#"{"funnel":"welcome","why":"wrong price"}"#).await;
    assert_eq!(
        (got.status, got.json()["funnel"].as_str(), got.json()["why"].as_str()),
        (200, Some("welcome"), Some("wrong price"))
    );
    assert_eq!(got.json()["by"].as_str(), Some("operate"), "the name of the token");
    assert_eq!(server.post("/v1/pauses", operate, r#"{"provider":"inbox"}"#).await.status, 200);
    let listed = server.get("/v1/pauses", read).await.json();
    assert_eq!(listed["pauses"].as_array().unwrap().len(), 2);
    let metrics = server.get("/metrics", read).await.body;
    assert!(metrics.contains(r#"autofunnel_paused{kind="funnel",name="welcome"} 1"#), "{metrics}");
    let page = server.get("/", "").await.body;
    assert!(page.contains("Paused: funnel welcome") && page.contains("wrong price"), "{page}");
    let other = server.post("/v1/pauses/end", operate, r#"{"workspace":true}"#).await;
    assert_eq!(other.status, 404);
    assert_eq!(other.json()["hint"].as_str(), Some("paused: funnel welcome, provider inbox"));
    let ended = server.post("/v1/pauses/end", operate, r#"{"funnel":"welcome"}"#).await;
    assert_eq!((ended.status, ended.json()["status"].as_str()), (200, Some("resumed")));
    assert!(!server.get("/", "").await.body.contains("Paused: funnel"));
}

#[tokio::test]
async fn an_effect_that_waits_is_shown_tried_at_once_or_dropped() {
    let server = Server::start().await;
    let (read, operate) = (server.token(Scope::Read), server.token(Scope::Operate));
    let row = OutboxRow {
        id: "c1/1/email_1/1".to_owned(),
        customer: "c1".to_owned(),
        due: at("2027-03-01T09:00:00Z"),
        attempts: 2,
        why: "503".to_owned(),
    };
    server.store.rows.lock().unwrap().outbox = vec![row];
    for deed in ["retry", "drop"] {
        let path = format!("/v1/customers/c1/effects/{deed}");
        let word = r#"{"effect":"c1/1/email_1/1"}"#;
        assert_eq!(server.post(&path, read, word).await.status, 404, "who may only read may not");
        assert_eq!(server.post(&path, operate, word).await.status, 200, "{deed}");
        assert_eq!(server.post(&path, operate, r#"{"effect":"c1/1/other/1"}"#).await.status, 404);
        assert_eq!(server.post(&path, operate, "{}").await.json()["field"].as_str(), Some("effect"));
        assert_eq!(server.post(&path, operate, r#"{"effect":"e","wy":"x"}"#).await.status, 400);
    }
    assert_eq!(server.get("/v1/customers/c1/effects?effect=c1%2F1%2Fnone%2F1", read).await.status, 404);
}

#[tokio::test]
async fn customers_are_changed_read_and_forgotten() {
    let server = Server::start().await;
    let (read, operate) = (server.token(Scope::Read), server.token(Scope::Operate));
    let put = server.send("PUT", "/v1/customers/a%2Fb", operate, "", r#"{"profile":{"name":"Ada"}}"#).await;
    assert_eq!(put.status, 202);
    assert_eq!(server.store.inputs()[0].customer, "a/b");
    assert_eq!(
        server.send("PUT", "/v1/customers/c1", operate, "", r#"{"profile":{"emial":"x"}}"#).await.json()["hint"],
        "did you mean `email`?"
    );
    assert_eq!(server.get("/v1/customers/c1", read).await.status, 404);
    server.store.know("c1");
    let got = server.get("/v1/customers/c1", read).await.json();
    assert_eq!(
        (got["id"].as_str(), got["loyalty"]["balance"].as_i64(), got["membership"].is_null()),
        (Some("c1"), Some(0), true)
    );
    assert_eq!(server.send("DELETE", "/v1/customers/c1", operate, "", "").await.status, 202);
    assert_eq!(server.send("DELETE", "/v1/customers/c9", operate, "", "").await.status, 404);
    assert!(matches!(server.store.inputs()[1].body, InputBody::Erase));
}

#[tokio::test]
async fn runs_are_started_with_a_key() {
    let server = Server::start().await;
    let operate = server.token(Scope::Operate);
    let start = async |path: &str, header: &str| server.send("POST", path, operate, header, r#"{"customer":"c1"}"#).await.status;
    let path = "/v1/funnels/invited/runs";
    assert_eq!(start(path, "idempotency-key: k1\r\n").await, 202);
    assert_eq!(start(path, "idempotency-key: k1\r\n").await, 200);
    assert_eq!(start(path, "").await, 400);
    assert_eq!(start("/v1/funnels/nothing/runs", "idempotency-key: k1\r\n").await, 404);
}

#[tokio::test]
async fn lists_have_a_bound_and_a_position_to_go_on_from() {
    let server = Server::start().await;
    let read = server.token(Scope::Read);
    let customers =
        ["a", "b", "c"].map(|id| CustomerRow { id: id.to_owned(), name: format!("N {id}"), ..CustomerRow::default() });
    server.store.rows.lock().unwrap().customers.extend(customers);
    let first = server.get("/v1/customers?limit=2", read).await.json();
    assert_eq!((first["customers"].as_array().unwrap().len(), first["next"].as_str()), (2, Some("b")));
    let second = server.get("/v1/customers?limit=2&after=b", read).await.json();
    assert_eq!((second["customers"][0]["id"].as_str(), second["next"].is_null()), (Some("c"), true));
    for bad in ["limit=0", "limit=501", "limit=x", "limt=5", "limit=1&limit=2", "after=%ff"] {
        assert_eq!(server.get(&format!("/v1/customers?{bad}"), read).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_timeline_says_what_happened_and_why() {
    let server = Server::start().await;
    let run = RunRef {
        funnel: "welcome".to_owned(),
        version: "v".to_owned(),
        run: 1,
        step: "email_2".to_owned(),
        variant: "email".to_owned(),
        origin: None,
    };
    let fact = Fact {
        at: at("2027-03-01T20:30:00Z"),
        what: What::Held,
        about: "renewal-week".to_owned(),
        run: Some(run),
        why: "quiet hours 21:00–08:00".to_owned(),
        seen: vec![("local_hour".to_owned(), Value::Int(21))],
        amount: None,
    };
    server.store.rows.lock().unwrap().timeline.push(("c1".to_owned(), TimelineRow { seq: 7, index: 0, fact }));
    let got = server.get("/v1/customers/c1/timeline", server.token(Scope::Read)).await.json();
    let fact = &got["facts"][0];
    assert_eq!(fact["sentence"], "Held “renewal-week”: quiet hours 21:00–08:00");
    assert_eq!(
        (fact["seq"].as_u64(), fact["run"]["step"].as_str(), fact["seen"][0]["value"].as_i64()),
        (Some(7), Some("email_2"), Some(21))
    );
    let unknown = server.get("/v1/customers/nobody/timeline", server.token(Scope::Read)).await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.json()["hint"].as_str().unwrap().contains("/v1/customers?query="), "{}", unknown.json());
}

#[tokio::test]
async fn figures_and_funnels_are_counted() {
    let server = Server::start().await;
    let read = server.token(Scope::Read);
    let figure = |day: &str, what: &str, count| Figure {
        day: day.to_owned(),
        funnel: "welcome".to_owned(),
        version: "v".to_owned(),
        step: String::new(),
        variant: String::new(),
        what: what.to_owned(),
        count,
        amount: 0,
        reason: String::new(),
    };
    {
        let mut rows = server.store.rows.lock().unwrap();
        rows.figures =
            vec![figure("2027-02-28", "entered", 3), figure("2027-03-01", "entered", 4), figure("2026-01-01", "entered", 100)];
        rows.counts.live_runs =
            vec![("welcome".to_owned(), "waiting".to_owned(), 2), ("welcome".to_owned(), "held".to_owned(), 1)];
    }
    let funnels = server.get("/v1/funnels", read).await.json();
    assert_eq!(
        (funnels["funnels"][0]["figures"]["entered"].as_i64(), funnels["funnels"][0]["waiting"].as_i64()),
        (Some(7), Some(3))
    );
    let stats = server.get("/v1/stats?from=2027-03-01&to=2027-03-01", read).await.json();
    assert_eq!((stats["figures"].as_array().unwrap().len(), stats["figures"][0]["count"].as_i64()), (1, Some(4)));
    for bad in ["from=2027-02-30", "from=2027-03-02&to=2027-03-01", "from=2020-01-01&to=2027-01-01"] {
        assert_eq!(server.get(&format!("/v1/stats?{bad}"), read).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_misspelled_filter_is_no_empty_list() {
    let server = Server::start().await;
    let read = server.token(Scope::Read);
    server.store.know("c1");
    for good in ["runs", "runs?funnel=welcome&state=held_out&customer=c1", "review", "review?funnel=welcome"] {
        assert_eq!(server.get(&format!("/v1/{good}"), read).await.status, 200, "{good}");
    }
    for (wrong, status, hint) in [
        ("runs?funnel=welcom", 404, "did you mean `welcome`?"),
        ("runs?state=wating", 400, "did you mean `waiting`?"),
        ("runs?customer=c2", 404, "the page /customers finds her by name, e-mail or phone"),
        ("review?funnel=welcom", 404, "did you mean `welcome`?"),
    ] {
        let got = server.get(&format!("/v1/{wrong}"), read).await;
        assert_eq!((got.status, got.json()["hint"].as_str()), (status, Some(hint)), "{wrong}");
    }
}

#[tokio::test]
async fn the_past_is_imported_row_by_row() {
    let server = Server::start().await;
    let import = server.token(Scope::Import);
    let rows =
        "{\"customer\":\"c1\",\"profile\":{\"name\":\"Ada\"}}\n{\"event\":\"purchase\",\"id\":\"1\",\"customer\":\"c1\"}\n";
    let got = server.post("/v1/import", import, rows).await;
    let body = got.json();
    assert_eq!((got.status, body["accepted"].as_u64(), body["items"][0]["line"].as_u64()), (200, Some(1), Some(2)));
    let csv = server.send("POST", "/v1/import", import, "content-type: text/csv\r\n", "customer,name\nc2,Bob\n").await;
    assert_eq!(csv.json()["accepted"], 1);
    let list = format!("[{},\n 7]", rows.trim().replace('\n', ",\n").replace("c1", "c9"));
    let got = server.post("/v1/import", import, &list).await.json();
    let lines: Vec<u64> = got["items"].as_array().unwrap().iter().filter_map(|item| item["line"].as_u64()).collect();
    assert_eq!((got["accepted"].as_u64(), lines), (Some(1), vec![2, 3]), "{got}");
    for (wrong, hint) in [("[{\"customer\":\"c1\"", "jq -c"), ("[]", "a list of them")] {
        let got = server.post("/v1/import", import, wrong).await;
        assert!(got.status == 400 && got.json()["hint"].as_str().unwrap().contains(hint), "{}", got.json());
    }
    assert_eq!(server.post("/v1/import", import, "").await.status, 400);
    assert_eq!(server.post("/v1/import", import, "x").await.status, 400);
}

#[tokio::test]
async fn the_description_is_served() {
    let server = Server::start().await;
    let got = server.get("/openapi.json", "").await.json();
    assert_eq!(got["openapi"], "3.1.0");
    assert!(got["paths"]["/v1/events"]["post"].is_object());
}

#[tokio::test]
async fn webhooks_prove_themselves_and_count_once() {
    let server = Server::start().await;
    let order = r#"{"kind":"order","id":"o1","customer":"c1","at":"2027-03-01T09:00:00Z","total":5}"#;
    let send = async |path: &str, token: &str, body: &str| server.post(path, token, body).await;
    let accepted = send("/hooks/shop", SHOP_TOKEN, order).await;
    assert_eq!((accepted.status, accepted.body.as_str()), (202, r#"{"status":"accepted"}"#));
    assert_eq!(send("/hooks/shop", SHOP_TOKEN, order).await.json()["status"], "duplicate");
    assert_eq!(send("/hooks/shop", SHOP_TOKEN, &order.replace('5', "6")).await.status, 409);
    assert_eq!(send("/hooks/shop", SHOP_TOKEN, r#"{"kind":"ping"}"#).await.json()["status"], "ignored");
    assert_eq!(send("/hooks/shop", SHOP_TOKEN, "{").await.status, 400);
    let unproven = send("/hooks/shop", "another token", order).await;
    assert_eq!(unproven.status, 401);
    assert_eq!(send("/hooks/nothing", SHOP_TOKEN, order).await.status, 404);
    // Without any proof only on this machine, where this test listens.
    assert_eq!(send("/hooks/open", "", order).await.status, 202);
    assert_eq!(server.store.inputs().len(), 2);
}
