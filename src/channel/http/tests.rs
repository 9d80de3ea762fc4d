//! The declarative provider against a receiver of its own.

use super::super::tests::{effect, grant, message, options, secrets};
use super::*;
use crate::lang::node;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::wire::{Client, WireError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn http(yaml: &str) -> Http {
    let mut faults = Faults::default();
    let node = node::parse("autofunnel.yaml", yaml, &mut faults).unwrap();
    let secrets = secrets();
    let http = build::compile("p", &node, Setup { secrets: &secrets, options: options() }, &mut faults);
    http.unwrap_or_else(|| panic!("{yaml}: {:?}", faults.list()))
}

fn request(http: &Http, effect: &Effect, rendered: Option<&Rendered>) -> Result<Request, String> {
    http.prepare(effect, rendered).map(|prepared| sent(&prepared).clone())
}

/// A receiver that gives one answer to one request, whose text is returned.
async fn exchange(yaml: &str, answer: &str) -> (String, SendResult) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = http(&yaml.replace("HOST", &listener.local_addr().unwrap().to_string()));
    let (effect, rendered) = message();
    let request = request(&http, &effect, Some(&rendered)).unwrap();
    let answer = format!("HTTP/1.1 {answer}");
    let receiver = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !whole(&seen) {
            let mut buffer = [0; 4096];
            let read = socket.read(&mut buffer).await.unwrap();
            seen.extend_from_slice(&buffer[..read]);
        }
        socket.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(seen).unwrap()
    };
    let client = Client::new().unwrap();
    let (seen, result) = tokio::join!(receiver, client.send(&request));
    let now = || Time::parse("2027-01-01T00:00:00Z").unwrap();
    (seen, http.reading.read(result, true, now))
}

fn whole(seen: &[u8]) -> bool {
    let text = String::from_utf8_lossy(seen).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok()).unwrap_or(0);
    body.len() >= length
}

const MAILER: &str = r#"
kind: http
url: "http://HOST/send/{{ customer.zip }}?to={{ message.to }}"
headers: { X-Funnel: "{{ effect.funnel }}" }
auth: { bearer: "${env:AUTOFUNNEL_TOKEN}" }
idempotency_header: Idempotency-Key
json:
  to: ["{{ message.to }}"]
  name: "{{ customer.name }}"
  points: "{{ customer.points }}"
  zip: "{{ customer.zip }}"
  html: "{{ message.html }}"
  fixed: [1, 2.5, true, null, "007"]
success: { field: ok }
reference: message.id
result: { queue: /queue }
"#;

#[tokio::test]
async fn the_request_is_what_was_declared_and_the_answer_is_read() {
    let body = r#"{"ok": true, "message": {"id": 17}, "queue": "fast"}"#;
    let (seen, result) = exchange(MAILER, &format!("202 Accepted\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    assert!(seen.starts_with("POST /send/01234?to=ann%2Bx%40example.com HTTP/1.1\r\n"), "{seen}");
    for header in [
        "x-funnel: welcome",
        "authorization: Bearer canary-token",
        "idempotency-key: ann/1/mail/0",
        "content-type: application/json",
    ] {
        assert!(seen.contains(header), "{header} in {seen}");
    }
    let sent = seen.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(
        sent,
        r#"{"to":["ann+x@example.com"],"name":"Ann \"A\"","points":12,"zip":"01234","html":"<p>Hi</p>","fixed":[1,2.5,true,null,"007"]}"#
    );
    let data = Fields::from([("queue".to_owned(), Value::from("fast"))]);
    assert_eq!(result, SendResult::Accepted { reference: Some("17".to_owned()), data });
}

#[tokio::test]
async fn a_yes_that_says_no_is_refused_without_showing_secrets() {
    let (_, result) =
        exchange(MAILER, "200 OK\r\ncontent-length: 43\r\n\r\n{\"ok\": false, \"why\": \"bad canary-token!!!\"}").await;
    let SendResult::Refused { why } = result else { panic!("{result:?}") };
    assert!(why.contains("bad ***") && !why.contains("canary"), "{why}");
}

#[tokio::test]
async fn statuses_say_whether_to_try_again() {
    let keyed = "kind: http\nurl: http://HOST/\nidempotent: true\nbody: \"{{ effect.id }}\"\nretry_on: [409]";
    let bare = "kind: http\nurl: http://HOST/\nbody: x";
    let retry = |after, ambiguous| Some((after, ambiguous));
    for (yaml, answer, expected) in [
        (bare, "429 Too Many\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n", retry(Some(30_000), false)),
        (bare, "503 Down\r\nretry-after: Fri, 01 Jan 2027 00:01:00 GMT\r\ncontent-length: 0\r\n\r\n", retry(Some(60_000), true)),
        (keyed, "500 Oops\r\ncontent-length: 0\r\n\r\n", retry(None, true)),
        (bare, "500 Oops\r\ncontent-length: 0\r\n\r\n", retry(None, true)),
        (bare, "408 Late\r\ncontent-length: 0\r\n\r\n", retry(None, true)),
        (bare, "425 Early\r\ncontent-length: 0\r\n\r\n", retry(None, false)),
        (keyed, "409 Busy\r\ncontent-length: 0\r\n\r\n", retry(None, false)),
        (bare, "409 Busy\r\ncontent-length: 0\r\n\r\n", None),
        (bare, "301 Moved\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", None),
        (bare, "404 No\r\ncontent-length: 0\r\n\r\n", None),
    ] {
        let (_, result) = exchange(yaml, answer).await;
        let found = match result {
            SendResult::Retry { after, ambiguous, .. } => Some((after, ambiguous)),
            SendResult::Refused { .. } => None,
            SendResult::Accepted { .. } | SendResult::Parked { .. } => panic!("accepted: {answer}"),
        };
        assert_eq!(found, expected, "{answer}");
    }
    let (_, result) = exchange(bare, "204 Fine\r\n\r\n").await;
    assert_eq!(result, SendResult::Accepted { reference: None, data: Fields::new() });
}

#[test]
fn failures_of_the_wire_keep_their_meaning() {
    let http = http("kind: http\nurl: http://127.0.0.1:1/\nidempotent: true");
    let read = |why| http.reading.read(Err(why), true, Time::default);
    assert!(matches!(read(WireError::BeforeSend("x".to_owned())), SendResult::Retry { ambiguous: false, .. }));
    assert!(matches!(read(WireError::Ambiguous("x".to_owned())), SendResult::Retry { ambiguous: true, .. }));
    assert!(matches!(read(WireError::Invalid("x".to_owned())), SendResult::Refused { .. }));
}

#[test]
fn a_form_and_a_grant() {
    let http = http(
        "kind: http\nurl: \"${env:AUTOFUNNEL_BASE}/points\"\nauth: { basic: { user: me, password: \"${env:AUTOFUNNEL_TOKEN}\" } }\nform: { \"Points[]\": \"{{ grant.points }}\", why: \"{{ grant.reason }} & more\" }",
    );
    let request = request(&http, &grant(), None).unwrap();
    assert_eq!(request.url, "https://api.example.com/v2/points");
    assert_eq!(&request.body[..], b"Points%5B%5D=200&why=welcome%20%26%20more");
    let sent = |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    assert_eq!(sent("authorization"), Some("Basic bWU6Y2FuYXJ5LXRva2Vu"));
    assert_eq!(sent("content-type"), Some("application/x-www-form-urlencoded"));
}

#[test]
fn the_same_effect_gives_the_same_bytes_and_missing_data_is_not_sent() {
    let http = http("kind: http\nurl: https://a.example/\njson: { to: \"{{ message.to }}\", tag: \"{{ message.tag }}\" }");
    let (untagged, rendered) = message();
    assert!(http.prepare(&untagged, Some(&rendered)).is_err());
    let EffectKind::Message(message) = untagged.kind else { panic!() };
    let message = crate::effect::Message { tag: Some("promo".to_owned()), ..message };
    let mail = effect(EffectKind::Message(message.clone()));
    let first = http.prepare(&mail, Some(&rendered)).unwrap().digest();
    assert_eq!(first, http.prepare(&mail, Some(&rendered)).unwrap().digest());
    let other = effect(EffectKind::Message(crate::effect::Message { to: "b@example.com".to_owned(), ..message }));
    assert_ne!(first, http.prepare(&other, Some(&rendered)).unwrap().digest());
}

#[test]
fn header_keys_are_always_sendable() {
    assert_eq!(key("ann/1/mail/0"), "ann/1/mail/0");
    for id in ["ä/1", "a b", &"x".repeat(201), "a\r\nb"] {
        let key = key(id);
        assert!(key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    }
}

#[test]
fn parameters_of_the_url_are_encoded_and_what_is_missing_may_be_left_out() {
    let yaml = "kind: http\nurl: https://a.example/send?v=1\nmethod: GET\nquery: { \"to[]\": \"{{ message.to }}\", n: 3, tag?: \"{{ message.tag }}\", name: \"{{ customer.name }}\" }";
    let http = http(yaml);
    let (mail, rendered) = message();
    let sent = request(&http, &mail, Some(&rendered)).unwrap();
    assert_eq!(sent.url, "https://a.example/send?v=1&to%5B%5D=ann%2Bx%40example.com&n=3&name=Ann%20%22A%22");
    assert!(http.variables().contains(&vec!["customer".to_owned(), "name".to_owned()]));
    let strict = self::http(&yaml.replace("tag?", "tag"));
    assert!(request(&strict, &mail, Some(&rendered)).is_err());
}

#[test]
fn optional_entries_of_a_body_are_left_out_with_the_object_of_a_list_that_they_are_in() {
    let http = http(
        "kind: http\nurl: https://a.example/\njson:\n  tag?: \"{{ message.tag }}\"\n  text?: \"{{ message.text }}\"\n  parts:\n    - { kind: tag, value?: \"{{ message.tag }}\" }\n    - { kind: html, value?: \"{{ message.html }}\" }",
    );
    let (mail, rendered) = message();
    let sent = request(&http, &mail, Some(&rendered)).unwrap();
    assert_eq!(&sent.body[..], br#"{"text":"Hello\nAnn","parts":[{"kind":"html","value":"<p>Hi</p>"}]}"#);
    // A mistake in the data is no missing value.
    let http = self::http("kind: http\nurl: https://a.example/\njson: { n?: \"{{ customer.name | points }}\" }");
    assert!(request(&http, &mail, Some(&rendered)).is_err());
}

#[test]
fn how_a_receiver_knows_effects_again_is_one_word() {
    let idempotency = |more: &str| http(&format!("kind: http\nurl: https://a.example/\n{more}")).idempotency();
    assert_eq!(idempotency("idempotency: key"), Idempotency::Key);
    assert_eq!(idempotency("idempotent: true"), Idempotency::Key);
    assert_eq!(idempotency("idempotency_header: X-Key"), Idempotency::Key);
    assert_eq!((idempotency("idempotency: none"), idempotency("")), (Idempotency::None, Idempotency::None));
}

#[tokio::test]
async fn the_answers_body_can_say_when_to_try_again() {
    let yaml = "kind: http\nurl: http://HOST/\nbody: x\nsuccess: { field: ok }\nreference: header X-Id\nretry_after: wait.seconds\nretry_when:\n  - { field: /why, one_of: [busy, 7] }\n  - { field: /why, one_of: [oops], uncertain: true }";
    let body = |text: &str| format!("200 OK\r\nx-id: r1\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    for (answer, expected) in [
        (r#"{"why": "busy", "wait": {"seconds": 5}}"#, Some((Some(5_000), false))),
        (r#"{"why": 7}"#, Some((None, false))),
        (r#"{"why": "oops"}"#, Some((None, true))),
        (r#"{"why": "no"}"#, None),
    ] {
        let (_, result) = exchange(yaml, &body(answer)).await;
        let found = match result {
            SendResult::Retry { after, ambiguous, .. } => Some((after, ambiguous)),
            SendResult::Refused { .. } => None,
            SendResult::Accepted { .. } | SendResult::Parked { .. } => panic!("accepted: {answer}"),
        };
        assert_eq!(found, expected, "{answer}");
    }
    let (_, result) = exchange(yaml, &body(r#"{"ok": true, "why": "busy"}"#)).await;
    assert_eq!(result, SendResult::Accepted { reference: Some("r1".to_owned()), data: Fields::new() });
}

/// What an answer to a grant means.
async fn grant_answer(yaml: &str, answer: &str) -> SendResult {
    exchange(yaml, answer).await.1
}

#[tokio::test]
async fn a_stores_word_for_a_grant_is_what_counts() {
    let yaml = "kind: http\nurl: \"http://HOST/\"\nallow_http: true\nallow_private: true\nreason: /why\n\
                state: { field: /state, active: [booked, 1], parked: blocked, refused: [denied], parked_status: 423 }";
    let with = |status: &str, body: &str| {
        format!("{status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let parked = |why: &str| SendResult::Parked { why: why.to_owned() };
    let refused = |why: &str| SendResult::Refused { why: why.to_owned() };
    let booked =
        |state: &str| SendResult::Accepted { reference: None, data: Fields::from([("state".to_owned(), Value::from(state))]) };
    for (status, body, expected) in [
        ("200 OK", r#"{"state":"booked"}"#, booked("active")),
        ("200 OK", r#"{"state":1}"#, booked("active")),
        ("200 OK", r#"{"state":"pending"}"#, booked("pending")),
        ("200 OK", r#"{"state":"blocked","why":"the package is full"}"#, parked("the package is full")),
        ("409 Conflict", r#"{"state":"blocked","why":"stopped"}"#, parked("stopped")),
        ("503 Busy", r#"{"state":"blocked","why":"stopped"}"#, parked("stopped")),
        ("423 Locked", "{}", parked("the receiver answered 423: {}")),
        ("200 OK", r#"{"state":"denied","why":"no member"}"#, refused("no member")),
        ("422 No", r#"{"why":"too many"}"#, refused("too many")),
        // A word that nobody knows says nothing: the status does.
        ("200 OK", r#"{"state":"odd"}"#, SendResult::Accepted { reference: None, data: Fields::new() }),
    ] {
        assert_eq!(grant_answer(yaml, &with(status, body)).await, expected, "{status} {body}");
    }
    // A yes without the store's word is nobody's yes.
    for (body, seen) in [
        ("<html>back soon</html>", "not with JSON"),
        ("", "not with JSON"),
        ("\"booked\"", "not with JSON"),
        ("[]", "without a word at /state"),
        ("{}", "without a word at /state"),
        (r#"{"state":null}"#, "without a word at /state"),
        (r#"{"error":"try later"}"#, "without a word at /state"),
    ] {
        let result = grant_answer(yaml, &with("200 OK", body)).await;
        let SendResult::Retry { after: None, why, ambiguous: true } = result else { panic!("{body}: {result:?}") };
        assert!(why.contains(seen), "{body}: {why}");
    }
    let cut = "200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"id\":1";
    let result = grant_answer(yaml, cut).await;
    assert!(matches!(&result, SendResult::Retry { why, ambiguous: true, .. } if why.contains("broke off")), "{result:?}");
    // Where an answer without a word means something, that was said.
    let said = yaml.replace("field: /state,", "field: /state, missing: pending,");
    assert_eq!(grant_answer(&said, &with("200 OK", r#"{"id":7}"#)).await, booked("pending"));
    assert!(matches!(grant_answer(&said, &with("200 OK", "back soon")).await, SendResult::Retry { ambiguous: true, .. }));
}

#[tokio::test]
async fn a_yes_that_is_not_in_the_receivers_shape_is_nobodys_yes() {
    let url = "kind: http\nurl: \"http://HOST/\"\nallow_http: true\nallow_private: true\n";
    let with = |status: &str, body: &str| format!("{status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    for (yaml, status, body, doubt) in [
        // A message whose id is read out of the answer, and a page instead of it.
        ("reference: /id", "200 OK", "<html>back soon</html>", true),
        ("reference: /id", "202 Accepted", r#"{"id":"m1"}"#, false),
        ("reference: /id", "200 OK", r#"{"note":"no id this time"}"#, false),
        ("success: { field: ok }", "200 OK", "<html>back soon</html>", true),
        // A question: an answer with nothing of what was asked for is none.
        ("result: { balance: /balance, tier: /tier }", "200 OK", "<html>", true),
        ("result: { balance: /balance, tier: /tier }", "200 OK", r#"{"error":"try later"}"#, true),
        ("result: { balance: /balance, tier: /tier }", "200 OK", r#"{"tier":null}"#, false),
        // Of a status that was named with care nothing more is asked, nor where nothing is read.
        ("result: { balance: /balance }\nsuccess: { status: \"200, 404\" }", "404 Not Found", "none", false),
        ("reference: header X-Id", "200 OK", "fine", false),
        ("body: x", "200 OK", "fine", false),
    ] {
        let (_, result) = exchange(&format!("{url}{yaml}"), &with(status, body)).await;
        match result {
            SendResult::Retry { ambiguous: true, .. } => assert!(doubt, "{yaml}: {status} {body}"),
            SendResult::Accepted { .. } => assert!(!doubt, "{yaml}: {status} {body}"),
            other => panic!("{yaml}: {status} {body}: {other:?}"),
        }
    }
    // The head of an answer says yes, and its rest is lost: that is the receiver's own yes.
    let (_, result) = exchange(&format!("{url}reference: /id"), "201 Made\r\ncontent-length: 90\r\n\r\n{\"id").await;
    assert_eq!(result, SendResult::Accepted { reference: None, data: Fields::new() });
}

#[test]
fn the_answer_to_whether_it_is_known_is_read_with_care() {
    let http = http(
        "kind: http\nurl: https://a.example/{{ effect.id }}\nidempotency: query\nresult: { points: /points }\n\
         state: { field: /state, parked: [blocked], refused: [denied] }\n\
         ask: { url: \"https://a.example/known/{{ effect.id }}\", unknown: { field: /found, equals: false } }",
    );
    let ask = http.ask.as_ref().unwrap();
    let answer = |status: u16, body: &str| Ok(crate::wire::Response::plain(status, body, true));
    let read = |answer| match ask.read(answer, true, || Time(0)) {
        Known::Yes(SendResult::Accepted { data, .. }) => format!("yes {}", Value::Map(data).to_json()),
        Known::Yes(SendResult::Parked { .. }) => "parked".to_owned(),
        Known::Yes(other) => format!("yes {other:?}").split(' ').take(2).collect::<Vec<_>>().join(" "),
        Known::No => "no".to_owned(),
        Known::CannotTell { .. } => "?".to_owned(),
    };
    for (status, body, expected) in [
        (200, r#"{"found":true,"points":5,"state":"active"}"#, r#"yes {"points":5,"state":"active"}"#),
        // A yes of something on the way, and one without the store's word.
        (200, "<html>back soon</html>", "?"),
        (200, r#"{"found":true,"points":5}"#, "?"),
        (200, r#"{"found":false}"#, "no"),
        (200, r#"{"state":"blocked"}"#, "parked"),
        (200, r#"{"state":"denied"}"#, "yes Refused"),
        // Only the answer that was named means no: an error of the receiver's own must not send it again.
        (404, "", "?"),
        (401, "", "?"),
        (500, "", "?"),
    ] {
        assert_eq!(read(answer(status, body)), expected, "{status} {body}");
    }
    assert_eq!(read(Ok(crate::wire::Response::plain(200, "", false))), "?");
    assert_eq!(read(Err(WireError::BeforeSend("no name".to_owned()))), "?");
    let prepared = http.prepare(&grant(), None).unwrap();
    let calls = prepared.payload::<Calls>().unwrap();
    let asked = calls.ask.as_ref().unwrap();
    assert_eq!(asked.method, Method::Get);
    assert!(asked.url.starts_with("https://a.example/known/") && asked.body.is_empty(), "{}", asked.url);
}
