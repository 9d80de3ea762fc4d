//! Providers from their YAML to the bytes on the wire and back.

use super::*;
use crate::effect::{EffectKind, Grant, Message, Offer};
use crate::lang::node;
use crate::lang::time::{Span, Time};
use crate::lang::value::Value;
use crate::money::Currency;
use std::collections::BTreeMap;

pub(super) fn secrets() -> BTreeMap<String, String> {
    [("AUTOFUNNEL_TOKEN", "canary-token"), ("AUTOFUNNEL_BASE", "https://api.example.com/v2"), ("AUTOFUNNEL_BAD", "a\nb")]
        .map(|(name, text)| (format!("env:{name}"), text.to_owned()))
        .into()
}

pub(super) fn options() -> TemplateOptions {
    TemplateOptions { currency: Currency::parse("EUR").unwrap(), zone: chrono_tz::UTC }
}

pub(super) fn effect(kind: EffectKind) -> Effect {
    Effect {
        id: "ann/1/mail/0".to_owned(),
        customer: "ann".to_owned(),
        run: 1,
        funnel: "welcome".to_owned(),
        version: "v".to_owned(),
        step: "mail".to_owned(),
        decided_at: Time::parse("2027-01-01T00:00:00Z").unwrap(),
        valid_until: None,
        gate: 0,
        on_uncertain: OnUncertain::Hold,
        kind,
    }
}

pub(super) fn message() -> (Effect, Rendered) {
    let json = serde_json::json!({"customer": {"name": "Ann \"A\"", "zip": "01234", "points": 12}});
    let Value::Map(variables) = Value::from_json(&json).unwrap() else { panic!() };
    let message = Message {
        channel: "email".to_owned(),
        provider: "p".to_owned(),
        to: "ann+x@example.com".to_owned(),
        template: "hi".to_owned(),
        transactional: false,
        tag: None,
        variables,
        links: None,
    };
    let rendered = Rendered { subject: "Hi".to_owned(), text: "Hello\nAnn".to_owned(), html: "<p>Hi</p>".to_owned() };
    (effect(EffectKind::Message(message)), rendered)
}

pub(super) fn grant() -> Effect {
    effect(EffectKind::Grant(Grant {
        points: 200,
        reason: "welcome".to_owned(),
        active_after: Span::default(),
        expires_after: None,
        provider: Some("p".to_owned()),
        variables: Fields::new(),
        held: false,
    }))
}

fn make(yaml: &str) -> Result<Arc<dyn Channel>, Vec<String>> {
    let mut faults = Faults::default();
    let node = node::parse("autofunnel.yaml", yaml, &mut faults).unwrap_or_else(|| panic!("{:?}", faults.list()));
    let secrets = secrets();
    let channel = compile("p", &node, Setup { secrets: &secrets, options: options() }, &mut faults);
    match channel {
        Some(channel) if !faults.has_errors() => Ok(channel),
        _ => Err(faults.list().iter().map(|fault| format!("{}: {}", fault.code, fault.message)).collect()),
    }
}

#[test]
fn every_kind_is_described_and_can_be_written() {
    let words = COMMON_FIELDS.iter().find(|field| field.name == "kind").map(|field| format!("{:?}", field.shape)).unwrap();
    for kind in kinds() {
        assert!(words.contains(&format!("{:?}", kind.name)), "{} is missing in the words of `kind`", kind.name);
        assert!(!kind.doc.is_empty());
    }
    assert_eq!(kinds().map(|kind| kind.name).collect::<Vec<_>>(), KIND_NAMES);
    assert!(make("kind: inbox").is_ok());
    assert_eq!(default_provider().kind(), DEFAULT_PROVIDER);
}

#[test]
fn the_inbox_keeps_messages_and_nothing_else() {
    let inbox = default_provider();
    let (effect, rendered) = message();
    let first = inbox.prepare(&effect, Some(&rendered)).unwrap().digest();
    assert_eq!(first, inbox.prepare(&effect, Some(&rendered)).unwrap().digest());
    let other = Rendered { text: "Hello".to_owned(), ..rendered };
    assert_ne!(first, inbox.prepare(&effect, Some(&other)).unwrap().digest());
    assert!(inbox.prepare(&grant(), None).is_err());
    assert_eq!((inbox.idempotency(), inbox.grants()), (Idempotency::Key, false));
}

#[test]
fn faults_in_a_provider_are_named() {
    for (yaml, code) in [
        ("kindd: http", "missing-field"),
        ("kind: htpt", "unknown-kind"),
        ("kind: inbox\nurl: https://x.example", "unknown-field"),
        ("kind: http", "missing-field"),
        ("kind: http\nurl: http://api.example.com/", "bad-url"),
        ("kind: http\nurl: https://10.0.0.1/", "bad-url"),
        ("kind: http\nurl: https://{{ customer.host }}/", "bad-url"),
        ("kind: http\nurl: https://api.example.com{{ customer.host }}/", "bad-url"),
        ("kind: http\nurl: \"https://api.${env:AUTOFUNNEL_TOKEN}.com/\"", "bad-url"),
        ("kind: http\nurl: \"${env:AUTOFUNNEL_BASE}@evil.example/\"", "bad-url"),
        ("kind: http\nurl: https://a.example/\nauth: { bearer: abcdef }", "literal-secret"),
        ("kind: http\nurl: https://a.example/\nauth: { bearer: \"${env:PATH}\" }", "bad-secret"),
        ("kind: http\nurl: https://a.example/\nauth: { bearer: \"${env:AUTOFUNNEL_BAD}\" }", "bad-secret"),
        ("kind: http\nurl: https://a.example/\nauth: {}", "bad-auth"),
        ("kind: http\nurl: https://a.example/\nheaders: { Host: evil }", "bad-header"),
        ("kind: http\nurl: https://a.example/\nheaders: { \"a b\": x }", "bad-header"),
        ("kind: http\nurl: https://a.example/\nbody: x\njson: {}", "bad-body"),
        ("kind: http\nurl: https://a.example/\nmethod: GET\nbody: x", "bad-body"),
        ("kind: http\nurl: https://a.example/\njson: { a: [\"{{ x | nope }}\"] }", "bad-template"),
        ("kind: http\nurl: https://a.example/\ntimeout: 2 days", "bad-timeout"),
        ("kind: http\nurl: https://a.example/\nsuccess: { status: 200-100 }", "bad-status"),
        ("kind: http\nurl: https://a.example/\nsuccess: { equals: 1 }", "bad-success"),
        ("kind: http\nurl: https://a.example/\nquery: x", "wrong-type"),
        ("kind: http\nurl: https://a.example/\nquery: { a: \"{{ x | nope }}\" }", "bad-template"),
        ("kind: http\nurl: https://a.example/\nidempotency: maybe", "unknown-word"),
        ("kind: http\nurl: https://a.example/\nidempotency: none\nidempotent: true", "bad-idempotency"),
        ("kind: http\nurl: https://a.example/\nidempotency: query", "missing-field"),
        ("kind: http\nurl: https://a.example/\nask: { url: https://a.example/ }", "bad-idempotency"),
        ("kind: http\nurl: https://a.example/\nidempotency: query\nask: { url: http://a.example/ }", "bad-url"),
        ("kind: http\nurl: https://a.example/\nidempotency: query\nask: { url: https://a.example/, knwon: {} }", "unknown-field"),
        (
            "kind: http\nurl: https://a.example/\nidempotency: query\nask: { url: https://a.example/, after: 2 days }",
            "bad-timeout",
        ),
        ("kind: http\nurl: https://a.example/\nstate: { parked: [blocked] }", "bad-state"),
        ("kind: http\nurl: https://a.example/\nstate: { field: /s, parked: x, refused: [x] }", "bad-state"),
        ("kind: http\nurl: https://a.example/\nreference: header a b", "bad-header"),
        ("kind: http\nurl: https://a.example/\nretry_when: [{ field: /a }]", "missing-field"),
    ] {
        match make(yaml) {
            Ok(_) => panic!("accepted: {yaml}"),
            Err(faults) => assert!(faults.iter().any(|fault| fault.starts_with(code)), "{yaml}: {faults:?}"),
        }
    }
}

#[test]
fn offers_are_not_sent_over_http() {
    let channel = make("kind: http\nurl: https://a.example/").unwrap();
    let offer = effect(EffectKind::Offer(Offer { bundle: "b".to_owned(), valid_for: Span::days(1), ..Offer::default() }));
    assert!(channel.prepare(&offer, None).is_err());
    assert!(channel.grants());
}

#[test]
fn what_a_provider_reads_is_to_be_frozen() {
    let channel = make(
        "kind: http\nurl: \"https://a.example/{{ customer.id }}/${env:AUTOFUNNEL_TOKEN}\"\nheaders: { X: \"{{ effect.id }}\" }\njson: { a: { b: [\"{{ event.order_id }}\"] } }",
    )
    .unwrap();
    assert_eq!(channel.variables(), [["customer", "id"], ["event", "order_id"]].map(|path| path.map(str::to_owned).to_vec()));
}
