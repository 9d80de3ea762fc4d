//! A service against a receiver of its own.

use super::super::super::tests::{effect, secrets};
use super::*;
use crate::effect::call::Wanted;
use crate::lang::node;
use crate::lang::time::Time;
use crate::store::sqlite::{Options, SqliteStore};
use crate::template::TemplateOptions;
use crate::wire::Client;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn service(yaml: &str) -> Result<Arc<dyn Channel>, String> {
    let mut faults = Faults::default();
    let node = node::parse("autofunnel.yaml", yaml, &mut faults).unwrap();
    let (secrets, options) = (secrets(), super::super::super::tests::options());
    let options: TemplateOptions = options;
    compile("desk", &node, Setup { secrets: &secrets, options }, &mut faults)
        .ok_or_else(|| faults.list().iter().map(|fault| format!("{} {}", fault.code, fault.message)).collect())
}

fn call(method: &str, body: Option<&str>) -> Effect {
    effect(EffectKind::Call(Call {
        service: "desk".to_owned(),
        method: method.to_owned(),
        path: "/seats/7?of=ann".to_owned(),
        body: body.map(str::to_owned),
        expect: vec![(200, 299), (409, 409)],
        response: None,
        persists: false,
    }))
}

/// What a receiver that answers so has seen, and what its answer means.
async fn exchange(yaml: &str, effect: &Effect, answer: &[u8]) -> (String, SendResult) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let desk = service(&yaml.replace("HOST", &listener.local_addr().unwrap().to_string())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("x.db"), Options::new(Arc::new(|| Time(0)))).unwrap();
    let tools = Tools { client: Client::new().unwrap(), store };
    let prepared = desk.prepare(effect, None).unwrap();
    let seen = Mutex::new(String::new());
    let receiver = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        let read = socket.read(&mut buffer).await.unwrap();
        seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
        socket.write_all(b"HTTP/1.1 ").await.unwrap();
        // A caller that has read enough may be gone.
        let _gone = socket.write_all(answer).await;
    };
    let (result, ()) = tokio::join!(desk.send(&prepared, &tools), receiver);
    (seen.into_inner().unwrap(), result)
}

const DESK: &str = "url: http://HOST/v2\nauth: { bearer: \"${env:AUTOFUNNEL_TOKEN}\" }\nidempotency_header: Idempotency-Key\nheaders: { x-step: \"{{ effect.step }}\" }\n";

#[tokio::test]
async fn the_request_is_what_the_step_fixed_and_the_answer_is_kept() {
    let answer = b"200 OK\r\ncontent-length: 11\r\n\r\n{\"free\": 2}";
    let (seen, result) = exchange(DESK, &call("PUT", Some("{\"n\":1}")), answer).await;
    assert!(seen.starts_with("PUT /v2/seats/7?of=ann HTTP/1.1\r\n") && seen.ends_with("\r\n\r\n{\"n\":1}"), "{seen}");
    for header in
        ["authorization: Bearer canary-token", "idempotency-key: ann/1/mail/0", "x-step: mail", "content-type: application/json"]
    {
        assert!(seen.contains(header), "{header} in {seen}");
    }
    let SendResult::Accepted { data, .. } = result else { panic!("{result:?}") };
    assert_eq!((data["status"].clone(), data["body"].get("free").cloned()), (Value::Int(200), Some(Value::Int(2))));
}

#[tokio::test]
async fn what_an_answer_means_is_the_steps_to_say() {
    let desk = "url: http://HOST\n";
    let none = "\r\ncontent-length: 0\r\n\r\n";
    let sent = |status: &str| format!("{status}{none}").into_bytes();
    let (_, conflict) = exchange(desk, &call("GET", None), &sent("409 Conflict")).await;
    assert!(matches!(conflict, SendResult::Accepted { .. }), "it is expected: {conflict:?}");
    let (_, missing) = exchange(desk, &call("GET", None), &sent("404 No")).await;
    assert!(matches!(&missing, SendResult::Refused { why } if why.contains("404")), "{missing:?}");
    let (_, broken) = exchange(desk, &call("GET", None), &sent("500 Oops")).await;
    assert!(matches!(broken, SendResult::Retry { ambiguous: true, .. }), "{broken:?}");
    let mut stubborn = call("GET", None);
    let EffectKind::Call(asked) = &mut stubborn.kind else { panic!() };
    asked.persists = true;
    let (_, again) = exchange(desk, &stubborn, &sent("404 No")).await;
    assert!(matches!(again, SendResult::Retry { ambiguous: false, .. }), "{again:?}");
    // S33: a redirection is not followed.
    let (_, moved) =
        exchange(desk, &call("GET", None), format!("302 Found\r\nlocation: http://127.0.0.1:1/{none}").as_bytes()).await;
    assert!(matches!(&moved, SendResult::Refused { why } if why.contains("302")), "{moved:?}");
}

#[tokio::test]
async fn a_yes_in_another_shape_than_the_step_declares_is_in_doubt() {
    let desk = "url: http://HOST\n";
    let mut declared = call("POST", Some("{}"));
    let EffectKind::Call(asked) = &mut declared.kind else { panic!() };
    asked.response = Some(Wanted::Map([("free".to_owned(), Wanted::Number)].into()));
    let with = |status: &str, body: &str| format!("{status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes();
    for (status, body, doubt) in [
        ("200 OK", "<html>back soon</html>", true),
        ("200 OK", "", true),
        ("200 OK", "[1]", true),
        ("200 OK", "{\"free\": 2}", false),
        // What single fields are is said in the fact; the service has answered.
        ("200 OK", "{\"free\": \"many\"}", false),
        ("409 Conflict", "taken", false),
    ] {
        let (_, result) = exchange(desk, &declared, &with(status, body)).await;
        match result {
            SendResult::Retry { ambiguous: true, .. } => assert!(doubt, "{status} {body}"),
            SendResult::Accepted { .. } => assert!(!doubt, "{status} {body}"),
            other => panic!("{status} {body}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn s35_an_answer_without_end_is_cut_and_one_that_breaks_off_is_in_doubt() {
    let desk = "url: http://HOST\n";
    let mut endless = b"200 OK\r\ncontent-length: 99999999\r\n\r\n".to_vec();
    endless.extend(std::iter::repeat_n(b'x', 200_000));
    let (_, cut) = exchange(desk, &call("GET", None), &endless).await;
    let SendResult::Accepted { data, .. } = cut else { panic!("{cut:?}") };
    assert!(!data.contains_key("body") && data[UNREAD].as_text().unwrap().contains("more than"), "{data:?}");
    let (_, broken) = exchange(desk, &call("GET", None), b"200 OK\r\ncontent-length: 50\r\n\r\n{").await;
    assert!(matches!(broken, SendResult::Retry { ambiguous: true, .. }), "{broken:?}");
}

#[test]
fn s31_s34_a_service_is_one_public_place() {
    for (yaml, code) in [
        ("url: http://169.254.169.254/", "bad-url"),
        ("url: https://10.0.0.7/", "bad-url"),
        ("url: https://u:p@example.com/", "bad-url"),
        ("url: file:///etc/passwd", "bad-url"),
        ("url: https://example.com:6379/", "bad-url"),
        ("url: https://{{ customer.id }}.example.com/", "bad-url"),
        ("url: https://example.com/a?b=c", "bad-url"),
        ("url: https://example.com\nheaders: { x: \"{{ customer.email }}\" }", "unknown-name"),
        ("url: https://example.com\nidempotency: none\nidempotency_header: K", "bad-idempotency"),
        ("url: https://example.com\nrte: 5/s", "unknown-field"),
        ("url: https://example.com\nrate: much", "bad-rate"),
    ] {
        let why = service(yaml).err().unwrap_or_default();
        assert!(why.contains(code), "{yaml}: {why}");
    }
    let limited = service("url: https://example.com\nrate: 5/s\nat_once: 2").unwrap();
    assert_eq!((limited.limits().rate.unwrap().to_string(), limited.limits().at_once), ("5/s".to_owned(), Some(2)));
}
