//! Each preset against a receiver that speaks as its service does.

use super::super::tests::{grant, message, options, secrets};
use super::*;
use crate::channel::{SendResult, Tools};
use crate::effect::{Effect, EffectKind};
use crate::lang::time::Time;
use crate::store::sqlite::{Options, SqliteStore};
use crate::template::Rendered;
use crate::wire::Client;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What is written into the settings, beside `kind` and `api`.
const SETTINGS: &[(&str, &str)] = &[
    ("twilio", "account: AC1\ntoken: \"${env:AUTOFUNNEL_TOKEN}\"\nfrom: \"+15550000001\""),
    ("vonage", "key: k1\nsecret: \"${env:AUTOFUNNEL_TOKEN}\"\nfrom: Harbour"),
    ("whatsapp", "phone: 106540352242922\ntoken: \"${env:AUTOFUNNEL_TOKEN}\""),
    ("whatsapp-template", "phone: 106540352242922\ntoken: \"${env:AUTOFUNNEL_TOKEN}\"\ntemplate: news"),
    ("sendgrid", "token: \"${env:AUTOFUNNEL_TOKEN}\"\nfrom: crew@example.com"),
    ("postmark", "token: \"${env:AUTOFUNNEL_TOKEN}\"\nfrom: Crew <crew@example.com>"),
    ("telegram", "token: \"${env:AUTOFUNNEL_TOKEN}\""),
    ("slack", "token: \"${env:AUTOFUNNEL_TOKEN}\""),
];

fn settings(kind: &str) -> &'static str {
    SETTINGS.iter().find(|(name, _)| *name == kind).unwrap_or_else(|| panic!("no settings for {kind}")).1
}

fn make(yaml: &str) -> Result<Arc<dyn Channel>, Vec<String>> {
    let mut faults = Faults::default();
    let node = node::parse("autofunnel.yaml", yaml, &mut faults).unwrap_or_else(|| panic!("{:?}", faults.list()));
    let secrets = secrets();
    let channel = super::super::compile("p", &node, Setup { secrets: &secrets, options: options() }, &mut faults);
    channel.ok_or_else(|| {
        faults.list().iter().map(|f| format!("{}:{} {}: {}", f.place.line, f.place.column, f.code, f.message)).collect()
    })
}

fn to(address: &str) -> (Effect, Rendered) {
    let (mut effect, rendered) = message();
    let EffectKind::Message(message) = &mut effect.kind else { panic!() };
    message.to = address.to_owned();
    (effect, rendered)
}

/// Sends one message to a receiver that gives one answer; the request's text and what came of it.
async fn exchange(kind: &str, answer: &str) -> (String, SendResult) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let yaml = format!("kind: {kind}\napi: http://{}\n{}", listener.local_addr().unwrap(), settings(kind));
    let channel = make(&yaml).unwrap_or_else(|faults| panic!("{faults:?}"));
    let (effect, rendered) = to("+15550000002");
    let prepared = channel.prepare(&effect, Some(&rendered)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(|| Time::parse("2027-01-01T00:00:00Z").unwrap());
    let store = SqliteStore::open(&folder.path().join("a.db"), Options::new(clock)).unwrap();
    let tools = Tools { client: Client::new().unwrap(), store };
    let receiver = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !whole(&seen) {
            let mut buffer = [0; 4096];
            let read = socket.read(&mut buffer).await.unwrap();
            seen.extend_from_slice(&buffer[..read]);
        }
        socket.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.unwrap();
        String::from_utf8(seen).unwrap()
    };
    tokio::join!(receiver, channel.send(&prepared, &tools))
}

fn whole(seen: &[u8]) -> bool {
    let text = String::from_utf8_lossy(seen).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok()).unwrap_or(0);
    body.len() >= length
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("{status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn every_preset_can_be_made_and_reads_nothing_but_the_message() {
    for (kind, text) in FILES {
        let preset = read(kind, text).unwrap();
        assert!(!preset.about.is_empty() && preset.fields.iter().all(|field| !field.doc.is_empty()), "{kind}");
        let channel = make(&format!("kind: {kind}\n{}", settings(kind))).unwrap_or_else(|faults| panic!("{kind}: {faults:?}"));
        assert_eq!((channel.kind(), channel.grants(), channel.variables()), (*kind, false, Vec::new()));
        assert!(channel.prepare(&grant(), None).is_err(), "{kind}");
    }
    assert_eq!(FILES.len(), SETTINGS.len());
}

/// What the service is told, when it says yes: the line of the request, a header, parts of the body, its id.
type Told = (&'static str, &'static str, &'static str, &'static [&'static str], &'static str, &'static str);

const TOLD: &[Told] = &[
    (
        "twilio",
        "POST /2010-04-01/Accounts/AC1/Messages.json ",
        "authorization: Basic QUMxOmNhbmFyeS10b2tlbg==",
        &["To=%2B15550000002&From=%2B15550000001&Body=Hello%0AAnn"],
        r#"201|{"sid": "SM1", "status": "queued"}"#,
        "SM1",
    ),
    (
        "vonage",
        "POST /v1/messages ",
        "authorization: Basic azE6Y2FuYXJ5LXRva2Vu",
        &[r#"{"channel":"sms","message_type":"text","to":"15550000002","from":"Harbour","text":"Hello\nAnn"}"#],
        r#"202|{"message_uuid": "u1"}"#,
        "u1",
    ),
    (
        "whatsapp",
        "POST /v23.0/106540352242922/messages ",
        "authorization: Bearer canary-token",
        &[r#""messaging_product":"whatsapp""#, r#""text":{"preview_url":false,"body":"Hello\nAnn"}"#],
        r#"200|{"messages": [{"id": "wamid.1"}]}"#,
        "wamid.1",
    ),
    (
        "whatsapp-template",
        "POST /v23.0/106540352242922/messages ",
        "authorization: Bearer canary-token",
        &[r#""template":{"name":"news","language":{"code":"en_US"}"#, r#"{"type":"text","text":"Hello Ann"}"#],
        r#"200|{"messages": [{"id": "wamid.1"}]}"#,
        "wamid.1",
    ),
    (
        "sendgrid",
        "POST /v3/mail/send ",
        "authorization: Bearer canary-token",
        &[
            r#""from":{"email":"crew@example.com"},"subject":"Hi""#,
            r#""content":[{"type":"text/plain","value":"Hello\nAnn"},{"type":"text/html","value":"<p>Hi</p>"}]"#,
            r#""custom_args":{"effect":"ann/1/mail/0"}"#,
        ],
        "202|",
        "sg1",
    ),
    (
        "postmark",
        "POST /email ",
        "x-postmark-server-token: canary-token",
        &[r#""From":"Crew <crew@example.com>""#, r#""TextBody":"Hello\nAnn","HtmlBody":"<p>Hi</p>","MessageStream":"broadcast""#],
        r#"200|{"ErrorCode": 0, "Message": "OK", "MessageID": "pm1"}"#,
        "pm1",
    ),
    (
        "telegram",
        "POST /botcanary-token/sendMessage ",
        "content-type: application/json",
        &[r#"{"chat_id":"+15550000002","text":"Hello\nAnn"}"#],
        r#"200|{"ok": true, "result": {"message_id": 7}}"#,
        "7",
    ),
    (
        "slack",
        "POST /api/chat.postMessage ",
        "authorization: Bearer canary-token",
        &[r#"{"channel":"+15550000002","text":"Hello\nAnn"}"#],
        r#"200|{"ok": true, "ts": "1503435956.000247"}"#,
        "1503435956.000247",
    ),
];

#[tokio::test]
async fn each_service_is_called_as_it_wants_and_its_yes_is_understood() {
    assert_eq!(TOLD.len(), FILES.len());
    for (kind, line, header, parts, yes, id) in TOLD {
        let (status, body) = yes.split_once('|').unwrap();
        let (seen, result) = exchange(kind, &answer(status, "x-message-id: sg1\r\n", body)).await;
        assert!(seen.starts_with(line) && seen.contains(header), "{kind}: {seen}");
        for part in *parts {
            assert!(seen.contains(part), "{kind}: {part} in {seen}");
        }
        assert!(!seen.contains("$("), "{kind}: {seen}");
        assert!(matches!(&result, SendResult::Accepted { reference: Some(found), .. } if found == id), "{kind}: {result:?}");
    }
}

/// How each service refuses one recipient for good.
const REFUSALS: &[(&str, &str)] = &[
    ("twilio", r#"400|{"code": 21610, "message": "Attempt to send to unsubscribed recipient", "status": 400}"#),
    ("vonage", r#"422|{"title": "Invalid params", "invalid_parameters": [{"name": "to"}]}"#),
    ("whatsapp", r#"400|{"error": {"code": 131026, "message": "(#131026) Message undeliverable"}}"#),
    ("whatsapp-template", r#"404|{"error": {"code": 132001, "message": "Template name does not exist"}}"#),
    ("sendgrid", r#"400|{"errors": [{"field": "personalizations.0.to.0.email"}]}"#),
    ("postmark", r#"422|{"ErrorCode": 406, "Message": "inactive recipient"}"#),
    ("telegram", r#"403|{"ok": false, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}"#),
    ("slack", r#"200|{"ok": false, "error": "channel_not_found"}"#),
];

#[tokio::test]
async fn what_is_final_is_not_tried_again() {
    assert_eq!(REFUSALS.len(), FILES.len());
    for (kind, no) in REFUSALS {
        let (status, body) = no.split_once('|').unwrap();
        let (_, result) = exchange(kind, &answer(status, "", body)).await;
        let SendResult::Refused { why } = result else { panic!("{kind}: {result:?}") };
        assert!(!why.contains("canary"), "{kind}: {why}");
    }
}

#[tokio::test]
async fn what_is_not_final_is_tried_again_when_the_service_says() {
    let retry = |result: SendResult| match result {
        SendResult::Retry { after, ambiguous, .. } => (after, ambiguous),
        other => panic!("{other:?}"),
    };
    for (kind, _) in FILES {
        let (_, busy) = exchange(kind, &answer("429 Too Many Requests", "retry-after: 9\r\n", "{}")).await;
        assert_eq!(retry(busy), (Some(9_000), false), "{kind}");
        let (_, down) = exchange(kind, &answer("503 Down", "", "{}")).await;
        assert_eq!(retry(down), (None, true), "{kind}");
    }
    for (kind, status, body, expected) in [
        ("telegram", "429", r#"{"ok": false, "error_code": 429, "parameters": {"retry_after": 34}}"#, (Some(34_000), false)),
        ("whatsapp", "400", r#"{"error": {"code": 130429}}"#, (None, false)),
        ("whatsapp-template", "400", r#"{"error": {"code": 131056}}"#, (None, false)),
        ("slack", "200", r#"{"ok": false, "error": "ratelimited"}"#, (None, false)),
        ("slack", "200", r#"{"ok": false, "error": "internal_error"}"#, (None, true)),
        ("slack", "200", r#"{"ok": false, "error": "invalid_auth"}"#, (None, false)),
        ("twilio", "401", r#"{"code": 20003}"#, (None, false)),
        ("vonage", "402", "{}", (None, false)),
        ("sendgrid", "401", "{}", (None, false)),
        ("postmark", "401", r#"{"ErrorCode": 10}"#, (None, false)),
    ] {
        let (_, result) = exchange(kind, &answer(status, "", body)).await;
        assert_eq!(retry(result), expected, "{kind} {body}");
    }
}

#[test]
fn what_is_missing_is_left_out_and_a_sender_can_be_chosen() {
    let sent = |yaml: &str, rendered: &Rendered| {
        let prepared = make(yaml).unwrap().prepare(&to("a@example.com").0, Some(rendered)).unwrap();
        String::from_utf8(crate::channel::http::sent(&prepared).body.to_vec()).unwrap()
    };
    let text = Rendered { html: String::new(), ..message().1 };
    let mail = sent(&format!("kind: sendgrid\n{}\nname: Crew", settings("sendgrid")), &text);
    assert!(
        mail.contains(r#""content":[{"type":"text/plain","value":"Hello\nAnn"}]"#) && mail.contains(r#""name":"Crew""#),
        "{mail}"
    );
    let mail = sent(&format!("kind: postmark\nstream: outbound\n{}", settings("postmark")), &text);
    assert!(mail.contains(r#""TextBody":"Hello\nAnn","MessageStream":"outbound""#), "{mail}");
    let sms = sent("kind: twilio\naccount: AC1\ntoken: \"${env:AUTOFUNNEL_TOKEN}\"\nservice: MG1", &text);
    assert_eq!(sms, "To=a%40example.com&MessagingServiceSid=MG1&Body=Hello%0AAnn");
}

#[test]
fn faults_are_told_at_the_lines_of_the_settings() {
    let token = "token: \"${env:AUTOFUNNEL_TOKEN}\"";
    for (yaml, fault) in [
        ("kind: twilo".to_owned(), "1:7 unknown-kind"),
        (format!("kind: twilio\n{token}\nfrom: x"), "1:1 missing-field"),
        (format!("kind: twilio\naccount: AC1\n{token}"), "1:1 missing-field"),
        (format!("kind: twilio\naccount: AC1\n{token}\nfrom: x\nservice: y"), "1:1 missing-field"),
        (format!("kind: twilio\naccount: AC1\n{token}\nform: x"), "4:1 unknown-field"),
        ("kind: twilio\naccount: AC1\ntoken: abc\nfrom: x".to_owned(), "3:8 literal-secret"),
        ("kind: slack\ntoken: \"${env:PATH}\"".to_owned(), "2:9 bad-secret"),
        (format!("kind: slack\n{token}\napi: http://api.example.com"), "3:6 bad-url"),
        (format!("kind: slack\n{token}\ntimeout: 2 days"), "3:10 bad-timeout"),
        (format!("kind: slack\n{token}\non_uncertain: drop"), "3:15 unknown-word"),
        ("kind: slack\ntoken: [a]".to_owned(), "2:8 wrong-type"),
        (
            "kind: vonage\nkey: \"{{ x | nope }}\"\nsecret: \"${env:AUTOFUNNEL_TOKEN}\"\nfrom: \"{{ x | nope }}\"".to_owned(),
            "4:8 bad-template",
        ),
    ] {
        match make(&yaml) {
            Ok(_) => panic!("accepted: {yaml}"),
            Err(faults) => assert!(faults.iter().any(|found| found.starts_with(fault)), "{yaml}: {faults:?}"),
        }
    }
}

#[test]
fn the_examples_name_every_kind_and_are_sound() {
    let mut kinds: Vec<String> = Vec::new();
    for text in [
        include_str!("../../../examples/http-provider.yaml"),
        include_str!("../../../examples/smtp-provider.yaml"),
        include_str!("../../../examples/presets.yaml"),
    ] {
        let mut faults = Faults::default();
        let node = node::parse("example", text, &mut faults).unwrap();
        for (name, provider) in node.get("providers").and_then(Node::map).unwrap() {
            let setup = Setup { secrets: &crate::wire::secrets::Placeholders, options: options() };
            let made = super::super::compile(&name.text, provider, setup, &mut faults);
            kinds.extend(made.map(|channel| channel.kind().to_owned()));
        }
        crate::wire::secrets::scan(&node, &mut faults);
        assert!(faults.list().is_empty(), "{:?}", faults.list());
    }
    for kind in super::super::KIND_NAMES.iter().filter(|kind| **kind != "inbox") {
        assert!(kinds.iter().any(|found| found == kind), "no example of {kind}");
    }
}
