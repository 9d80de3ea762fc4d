//! The store as it is written in the settings.

use super::*;
use crate::lang::node;
use crate::lang::time::{Span, Time};
use crate::lang::value::{Fields, Value};
use crate::template::TemplateOptions;
use crate::wire::secrets::Placeholders;

const STORE: &str = r#"
url: https://loyalty.example/v2/
auth: { bearer: "${env:AUTOFUNNEL_LOYALTY}" }
idempotency_header: Idempotency-Key
max_age: 5 minutes
grant:
  path: /members/{{ effect.customer }}/bonuses
  json: { points: "{{ grant.points }}", reason: "{{ grant.reason }}" }
  state: { field: /state, parked: [blocked] }
offer:
  path: /members/{{ effect.customer }}/offers
  json: { bundle: "{{ bundle.name }}", until: "{{ bundle.ends }}" }
lookup:
  path: /members/{{ effect.customer }}
  absent: 404
  result: { balance: /balance }
"#;

fn make(yaml: &str) -> Result<Arc<dyn Channel>, Vec<String>> {
    let mut faults = Faults::default();
    let node = node::parse("autofunnel.yaml", yaml, &mut faults).unwrap();
    let currency = crate::money::Currency::parse("EUR").unwrap();
    let setup = Setup { secrets: &Placeholders, options: TemplateOptions { currency, zone: chrono_tz::UTC } };
    let made = compile(&node, setup, &mut faults);
    made.filter(|_| !faults.has_errors()).ok_or_else(|| {
        let shown = |fault: &crate::lang::diag::Fault| format!("{}:{} {}", fault.place.line, fault.code, fault.message);
        faults.list().iter().map(shown).collect()
    })
}

fn effect(kind: EffectKind) -> Effect {
    Effect {
        id: "c/1/gift/1".to_owned(),
        customer: "c".to_owned(),
        run: 1,
        funnel: "f".to_owned(),
        version: "v".to_owned(),
        step: "gift".to_owned(),
        decided_at: Time(0),
        valid_until: None,
        gate: 0,
        on_uncertain: OnUncertain::Hold,
        kind,
    }
}

fn grant() -> EffectKind {
    EffectKind::Grant(crate::effect::Grant {
        points: 5,
        reason: "welcome".to_owned(),
        active_after: Span::default(),
        expires_after: None,
        provider: Some("loyalty_store".to_owned()),
        variables: Fields::new(),
        held: false,
    })
}

#[test]
fn each_request_is_its_own_and_a_message_is_none() {
    let store = make(STORE).unwrap();
    let details = [("name", Value::from("set")), ("ends", Value::Time(Time(0)))].map(|(n, v)| (n.to_owned(), v)).into();
    let offer = EffectKind::Offer(crate::effect::Offer { bundle: "set".to_owned(), details, ..Default::default() });
    let lookup = EffectKind::Lookup(crate::effect::Lookup { provider: "loyalty_store".to_owned(), variables: Fields::new() });
    for (kind, idempotency) in [(grant(), Idempotency::Key), (offer, Idempotency::Key), (lookup, Idempotency::Key)] {
        let part = store.part(&kind).unwrap();
        assert_eq!(part.idempotency(), idempotency);
        part.prepare(&effect(kind), None).unwrap();
    }
    assert!(store.prepare(&effect(grant()), None).is_err(), "only its parts are sent");
}

#[test]
fn a_store_may_keep_points_alone() {
    let store = make("url: https://loyalty.example\ngrant: { path: /b }").unwrap();
    assert_eq!(store.part(&grant()).unwrap().idempotency(), Idempotency::None);
    assert!(store.part(&EffectKind::Offer(Default::default())).is_none());
}

#[test]
fn what_is_asked_is_told_by_the_parts() {
    let yaml =
        "url: https://loyalty.example\nidempotency: query\ngrant: { path: /b, ask: { path: \"/b/{{ effect.id }}\", after: 1s } }";
    let part = make(yaml).unwrap().part(&grant()).unwrap();
    assert_eq!((part.idempotency(), part.ask_after().as_millis()), (Idempotency::Query, 1_000));
}

#[test]
fn faults_are_named_where_they_are() {
    for (yaml, wanted) in [
        ("grant: { path: /b }", "1:missing-field"),
        ("url: https://a.example", "1:missing-field"),
        ("url: http://a.example\ngrant: { path: /b }", "1:bad-url"),
        ("url: https://a.example\ngrant: { pth: /b }", "2:unknown-field"),
        ("url: https://a.example\ngrant: { path: b }", "2:bad-url"),
        ("url: https://a.example\ngrand: { path: /b }", "2:unknown-field"),
        ("url: https://a.example\nidempotency: query\ngrant: { path: /b }", "3:missing-field"),
        ("url: https://a.example\ngrant: { path: /b }\nlookup: { path: /m }", "3:missing-field"),
        (
            "url: https://a.example\ngrant: { path: /b }\nlookup: { path: /m, absent: soon, result: { balance: /b } }",
            "3:bad-status",
        ),
        ("url: https://a.example\nrate: fast\ngrant: { path: /b }", "2:bad-rate"),
        ("url: https://a.example\nat_once: 0\ngrant: { path: /b }", "2:out-of-range"),
        ("url: https://a.example\ngrant: { path: \"/{{ x | nope }}\" }", "2:bad-template"),
        ("url: https://a.example\nauth: { bearer: abcdef }\ngrant: { path: /b }", "2:literal-secret"),
    ] {
        match make(yaml) {
            Ok(_) => panic!("accepted: {yaml}"),
            Err(faults) => assert!(faults.iter().any(|fault| fault.starts_with(wanted)), "{yaml}: {faults:?}"),
        }
    }
    let twice = make("url: http://a.example\ngrant: { path: /b }\noffer: { path: /c }").err().unwrap();
    assert_eq!(twice.len(), 1, "what is common has one fault: {twice:?}");
}
