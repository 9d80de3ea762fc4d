//! Deliveries that are what they say, and those that are not.

use super::*;
use crate::lang::node;
use std::collections::BTreeMap;

/// The example of the public reference libraries of Standard Webhooks.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SECONDS: i64 = 1_614_265_330;
const PAYLOAD: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn secrets() -> BTreeMap<String, String> {
    [
        ("env:AUTOFUNNEL_A", SECRET),
        ("env:AUTOFUNNEL_B", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("env:AUTOFUNNEL_SHORT", "whsec_c2hvcnQ="),
        ("env:AUTOFUNNEL_KEY", "It's a Secret to Everybody"),
        ("env:AUTOFUNNEL_TINY", "tiny"),
    ]
    .map(|(name, secret)| (name.to_owned(), secret.to_owned()))
    .into()
}

fn make(yaml: &str) -> Result<Source, Vec<String>> {
    let mut faults = Faults::default();
    let node = node::parse("autofunnel.yaml", yaml, &mut faults).unwrap_or_else(|| panic!("{yaml}: {:?}", faults.list()));
    match Source::compile("shop", &node, &secrets(), &mut faults) {
        Some(source) if !faults.has_errors() => Ok(source),
        _ => Err(faults.list().iter().map(|fault| format!("{}: {}", fault.code, fault.message)).collect()),
    }
}

fn with_verify(verify: &str) -> Source {
    let yaml = format!("verify: {verify}\nmap: [{{ event: purchase, id: body.id, customer: body.customer }}]");
    make(&yaml).unwrap_or_else(|faults| panic!("{yaml}: {faults:?}"))
}

fn check(source: &Source, headers: &[(&str, &str)], raw: &[u8], now_ms: i64) -> Result<Option<String>, Refusal> {
    let all = |name: &str| headers.iter().filter(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()).collect();
    source.verify(&all, "", raw, Time(now_ms))
}

fn standard<'a>(id: &'a str, seconds: &'a str, signature: &'a str) -> [(&'a str, &'a str); 3] {
    [("webhook-id", id), ("webhook-timestamp", seconds), ("webhook-signature", signature)]
}

fn unverified(result: Result<Option<String>, Refusal>) -> bool {
    matches!(result, Err(Refusal::Unverified(_)))
}

#[test]
fn the_public_reference_vector_is_verified() {
    let source = with_verify("{ standard_webhooks: \"${env:AUTOFUNNEL_A}\" }");
    let seconds = SECONDS.to_string();
    let headers = standard(ID, &seconds, SIGNATURE);
    assert_eq!(check(&source, &headers, PAYLOAD, SECONDS * 1_000), Ok(Some(ID.to_owned())));
    for raw in [&br#"{"test": 2432232315}"#[..], br#"{"test":2432232314}"#, b""] {
        assert!(unverified(check(&source, &headers, raw, SECONDS * 1_000)));
    }
    for (away, fine) in [(-301, false), (-300, true), (300, true), (301, false)] {
        let result = check(&source, &headers, PAYLOAD, (SECONDS + away) * 1_000);
        assert_eq!((result.is_ok(), unverified(result)), (fine, !fine), "{away}");
    }
}

#[test]
fn signatures_in_a_list_and_two_secrets() {
    let source = with_verify("{ standard_webhooks: [\"${env:AUTOFUNNEL_B}\", \"${env:AUTOFUNNEL_A}\"] }");
    let seconds = SECONDS.to_string();
    let now = SECONDS * 1_000;
    let bad = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for list in [
        format!("{bad} {SIGNATURE}"),
        format!("v1,nonsense v2,x {SIGNATURE} "),
        format!("{} {SIGNATURE}", vec![bad; 31].join(" ")),
    ] {
        assert!(check(&source, &standard(ID, &seconds, &list), PAYLOAD, now).is_ok(), "{list}");
    }
    let key = SIGNATURE.trim_start_matches("v1,");
    for list in [
        format!("{} {SIGNATURE}", vec![bad; 32].join(" ")),
        format!("v1a,{key}"),
        key.to_owned(),
        bad.to_owned(),
        "v1,".to_owned(),
        String::new(),
    ] {
        assert!(unverified(check(&source, &standard(ID, &seconds, &list), PAYLOAD, now)), "{list}");
    }
}

#[test]
fn bad_ids_are_told_and_missing_or_doubled_headers_are_not_verified() {
    let source = with_verify("{ standard_webhooks: \"${env:AUTOFUNNEL_A}\" }");
    let (seconds, now) = (SECONDS.to_string(), SECONDS * 1_000);
    for id in ["a.b", &"x".repeat(129), "a\nb", "a b", "", "ä"] {
        assert!(matches!(check(&source, &standard(id, &seconds, SIGNATURE), PAYLOAD, now), Err(Refusal::Bad(_))), "{id}");
    }
    for at in ["", "-1", "+1614265330", "1614265330.0", "99999999999999999999", "1e9"] {
        assert!(unverified(check(&source, &standard(ID, at, SIGNATURE), PAYLOAD, now)), "{at}");
    }
    let headers = standard(ID, &seconds, SIGNATURE);
    for missing in 0..3 {
        let mut some = headers.to_vec();
        let one = some.remove(missing);
        assert!(unverified(check(&source, &some, PAYLOAD, now)), "without {}", one.0);
        let mut doubled = headers.to_vec();
        doubled.push(one);
        assert!(unverified(check(&source, &doubled, PAYLOAD, now)), "two of {}", one.0);
    }
}

#[test]
fn hmac_of_the_body_in_any_header() {
    // The example of GitHub's documentation "Validating webhook deliveries".
    let source = with_verify(
        "{ hmac: { algorithm: sha256, header: X-Hub-Signature-256, prefix: \"sha256=\", secret: \"${env:AUTOFUNNEL_KEY}\" } }",
    );
    let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let at = |value: &str| check(&source, &[("x-hub-signature-256", value)], b"Hello, World!", 0);
    assert_eq!(at(good), Ok(None));
    for bad in
        [good.trim_start_matches("sha256="), &good.replace('7', "8"), "sha256=", "sha256=zz", &good[..good.len() - 1], "sha256=ä"]
    {
        assert!(unverified(at(bad)), "{bad}");
    }
    assert!(unverified(check(&source, &[("x-hub-signature-256", good)], b"Hello, World", 0)));
    assert!(unverified(check(&source, &[], b"Hello, World!", 0)));
}

#[test]
fn hmac_in_base64_and_with_sha1() {
    // Computed with `openssl dgst -sha1 -hmac` over the same text.
    let source = with_verify("{ hmac: { algorithm: sha1, header: x-s, encoding: base64, secret: \"${env:AUTOFUNNEL_KEY}\" } }");
    assert_eq!(check(&source, &[("x-s", SHA1)], b"Hello, World!", 0), Ok(None));
    assert!(unverified(check(&source, &[("x-s", SHA1)], b"Hello, World?", 0)));
}

const SHA1: &str = "AdwQ0Mg+cu0kYhnN2RZpZn/iylk=";

#[test]
fn a_bearer_token_and_no_proof_at_all() {
    let source = with_verify("{ bearer: \"${env:AUTOFUNNEL_KEY}\" }");
    for (value, fine) in [
        ("Bearer It's a Secret to Everybody", true),
        ("bearer It's a Secret to Everybody", true),
        ("Basic It's a Secret to Everybody", false),
        ("Bearer It's a Secret to Everybod", false),
        ("Bearer ", false),
        ("", false),
    ] {
        assert_eq!(check(&source, &[("authorization", value)], b"", 0).is_ok(), fine, "{value}");
    }
    assert!(!source.needs_loopback());
    let open = with_verify("none");
    assert!(open.needs_loopback() && check(&open, &[], b"", 0).is_ok());
}

#[test]
fn bad_settings_are_refused_at_start() {
    let map = "map: [{ event: purchase, id: body.id, customer: body.customer }]";
    for (verify, code) in [
        ("{}", "bad-verify"),
        ("{ bearer: \"${env:AUTOFUNNEL_KEY}\", standard_webhooks: \"${env:AUTOFUNNEL_A}\" }", "bad-verify"),
        ("{ standard_webhooks: \"${env:AUTOFUNNEL_SHORT}\" }", "bad-secret"),
        ("{ standard_webhooks: \"${env:AUTOFUNNEL_KEY}\" }", "bad-secret"),
        ("{ standard_webhooks: [] }", "bad-secret"),
        ("{ standard_webhooks: [\"${env:AUTOFUNNEL_A}\", \"${env:AUTOFUNNEL_A}\", \"${env:AUTOFUNNEL_A}\"] }", "bad-secret"),
        ("{ bearer: \"${env:AUTOFUNNEL_TINY}\" }", "bad-secret"),
        ("{ bearer: in-plain-text-here-1234 }", "literal-secret"),
        ("{ hmac: { algorithm: md5, header: x, secret: \"${env:AUTOFUNNEL_KEY}\" } }", "unknown-word"),
        ("{ hmac: { algorithm: sha256, header: \"a b\", secret: \"${env:AUTOFUNNEL_KEY}\" } }", "bad-header"),
    ] {
        let faults = make(&format!("verify: {verify}\n{map}")).err().unwrap_or_else(|| panic!("accepted: {verify}"));
        assert!(code == "unknown-word" || faults.iter().any(|fault| fault.starts_with(code)), "{verify}: {faults:?}");
    }
    for map in [
        "[]",
        "{}",
        "[{ event: purchase, id: body.id }]",
        "[{ event: purchase, id: bdy.id, customer: body.c }]",
        "[{ event: \"a b\", id: body.id, customer: body.c }]",
    ] {
        assert!(make(&format!("verify: none\nmap: {map}")).is_err(), "{map}");
    }
}

const SHOP: &str = r#"
verify: none
map:
  - when: headers["x-topic"] == "orders/paid" && body.total > 0
    event: purchase
    id: body.id
    customer: body.customer.id
    time: body.paid_at
    properties: { amount: body.total, first_sku: "body.items[0].sku", note: body.note }
  - when: headers.x_topic == "custom"
    event: { cel: body.kind }
    id: body.id
    customer: '"c-" + body.user'
"#;

fn events(topic: &str, json: &str) -> Result<Vec<MappedEvent>, String> {
    let body = Value::from_json(&serde_json::from_str(json).unwrap()).unwrap();
    make(SHOP).unwrap_or_else(|faults| panic!("{faults:?}")).events(&body, &[("X-Topic".to_owned(), topic.to_owned())], Time(0))
}

#[test]
fn a_delivery_becomes_events() {
    let order = r#"{"id": 17, "total": 12.50, "customer": {"id": "ann"}, "paid_at": 1614265330, "items": [{"sku": "x"}]}"#;
    let found = events("orders/paid", order).unwrap();
    assert_eq!(found.len(), 1);
    let event = &found[0];
    assert_eq!((event.customer.as_deref().unwrap(), event.id.as_str(), event.name.as_str()), ("ann", "17", "purchase"));
    assert_eq!(event.time, Some(Time(SECONDS * 1_000)));
    assert_eq!(event.properties.get("amount"), Some(&Value::number("12.5").unwrap()));
    assert_eq!(event.properties.get("first_sku"), Some(&Value::from("x")));
    assert!(!event.properties.contains_key("note") && event.left_out.len() == 1, "{event:?}");
    assert_eq!(events("other", order).unwrap(), []);
    assert_eq!(events("orders/paid", r#"{"total": "many"}"#).unwrap(), []);
    let custom = events("custom", r#"{"id": "e1", "kind": "tasting_booked", "user": "7"}"#).unwrap();
    assert_eq!(
        (custom[0].name.as_str(), custom[0].customer.as_deref().unwrap(), custom[0].time),
        ("tasting_booked", "c-7", None)
    );
}

#[test]
fn an_entry_that_applies_but_lacks_something_is_an_error() {
    for (topic, json) in [
        ("orders/paid", r#"{"id": 17, "total": 1, "paid_at": 1}"#),
        ("orders/paid", r#"{"total": 1, "customer": {"id": "ann"}, "paid_at": 1}"#),
        ("orders/paid", r#"{"id": 17, "total": 1, "customer": {"id": ""}, "paid_at": 1}"#),
        ("orders/paid", r#"{"id": 17, "total": 1, "customer": {"id": ["x"]}, "paid_at": 1}"#),
        ("orders/paid", r#"{"id": 17, "total": 1, "customer": {"id": "ann"}, "paid_at": "soon"}"#),
        ("orders/paid", r#"{"id": 17, "total": 1, "customer": {"id": "ann"}, "paid_at": 999999999999999999}"#),
        ("custom", r#"{"id": "1", "kind": "a b", "user": "1"}"#),
        ("custom", r#"{"id": "1", "kind": "a", "user": 1}"#),
    ] {
        assert!(events(topic, json).is_err(), "{json}");
    }
}

#[test]
fn two_entries_never_share_an_id() {
    let twice = "verify: none\nmap: [{ event: a, id: body.id, customer: body.c }, { event: b, id: body.id, customer: body.c }]";
    let source = make(twice).unwrap();
    assert_eq!(source.event_names(), ["a", "b"]);
    let body = Value::from_json(&serde_json::json!({"id": 1, "c": "x"})).unwrap();
    assert!(source.events(&body, &[], Time(0)).unwrap_err().contains("same `id`"));
}

#[test]
fn callbacks_name_a_message_or_an_address() {
    let source = make(
        "verify: none
map:
  - event: { cel: body.event }
    id: body.id
    channel: email
    provider: mail
    customer: body.customer
    effect: body.effect
    message: body.message
    address: body.to
",
    )
    .unwrap();
    assert_eq!(source.providers().collect::<Vec<_>>(), ["mail"]);
    let events = |json: &str| {
        let body = Value::from_json(&serde_json::from_str(json).unwrap()).unwrap();
        source.events(&body, &[], Time(0))
    };
    let one = |json: &str| events(json).unwrap().pop().unwrap();
    let found = one(r#"{"event":"message_bounced","id":"1","to":"Ada <Ada@Example.com>"}"#);
    assert_eq!(found.address, Address::of("email", "ada@example.com"));
    assert_eq!((found.customer, found.effect, found.message, found.channel.as_deref()), (None, None, None, Some("email")));
    let found = one(r#"{"event":"message_opened","id":"1","message":"m-1","effect":"c/1/mail/1"}"#);
    assert_eq!(found.message, Some(Address::of_reference("mail", "m-1")));
    assert_eq!(found.effect.as_deref(), Some("c/1/mail/1"));
    let nobody = events(r#"{"event":"message_opened","id":"1"}"#).unwrap_err();
    assert!(nobody.contains("`customer` cannot be found"), "{nobody}");
    assert!(events(r#"{"event":"message_opened","id":"1","to":"  "}"#).is_err());
}

#[test]
fn an_entry_says_whom_it_is_about() {
    for (map, code) in [
        ("{ event: a, id: body.id }", "missing-field"),
        ("{ event: a, id: body.id, address: body.to }", "missing-field"),
        ("{ event: a, id: body.id, channel: mail, address: body.to }", "unknown-word"),
    ] {
        let faults = make(&format!("verify: none\nmap: [{map}]")).unwrap_err();
        assert!(faults.iter().any(|fault| fault.starts_with(code)), "{map}: {faults:?}");
    }
    for verify in [
        "{ twilio: { auth_token: \"${env:AUTOFUNNEL_KEY}\", url: \"http://shop.example/hooks/sms\" } }",
        "{ twilio: { auth_token: \"${env:AUTOFUNNEL_TINY}\", url: \"https://shop.example/hooks/sms\" } }",
        "{ sendgrid: { public_key: MFkwnokey } }",
        "{ sendgrid: { public_key: MFkw }, twilio: {} }",
    ] {
        assert!(make(&format!("verify: {verify}\nmap: [{{ event: a, id: body.id, customer: body.c }}]")).is_err(), "{verify}");
    }
}
