//! Calls of services: what is asked, what of the answer later steps read, and what happens when it is no.

use super::stage::{Stage, act, time};
use autofunnel::account::Account;
use autofunnel::effect::call::Call;
use autofunnel::effect::{Effect, EffectKind, OnUncertain};
use autofunnel::event::{Input, InputBody};
use autofunnel::fact::What;
use autofunnel::funnel::{self, Files};
use autofunnel::lang::diag::Faults;
use autofunnel::lang::value::Value;
use autofunnel::play::Answer;
use autofunnel::turn::turn;

const STOCK: &str = r#"
--- autofunnel.yaml
events: { go: { sku: text, note: text, n: number } }
services:
  stock: { url: "https://stock.example.com/v2", idempotency_header: Idempotency-Key }
--- stock.yaml
funnel: Stock
trigger: go
re_entry: always
steps:
  - call: stock
    id: hold
    path: /items/{{ event.sku }}/holds
    query: { note?: "{{ event.note }}", of: { cel: customer.id } }
    json:
      count: "{{ event.n }}"
      half: { cel: event.n / 2 }
      who: { name: "{{ customer.name }}", note?: "{{ event.note }}" }
      fixed: [1, "two", true]
    expect: 200-299, 409
    response: { left: number, held: bool, place: { city: text } }
    on_error: branch
    failed:
      - set: { name: failed }
  - branch:
      - if: steps.hold.status == 409
        then: [ { stop: taken } ]
      - if: steps.hold.body.held && steps.hold.body.place.city == "Kiel"
        then: [ { stop: held } ]
  - stop: end
"#;

fn answer(status: u16, body: &str) -> Answer {
    let body = (!body.is_empty()).then(|| Value::from_json(&serde_json::from_str(body).unwrap()).unwrap());
    Answer { status, body }
}

/// The story of one customer, and what was asked.
fn played(stage: &Stage, given: Answer, event: &str) -> (String, Vec<Call>) {
    let mut her = stage.customer("2027-03-01 08:00");
    her.player.answer_with("hold", given);
    her.at("2027-03-01 10:00", event);
    let calls = her.player.effects.iter().filter_map(|effect| match &effect.kind {
        EffectKind::Call(call) => Some(call.clone()),
        _ => None,
    });
    (her.story(), calls.collect())
}

#[test]
fn a_call_is_what_was_written_and_its_answer_decides() {
    let stage = Stage::new(STOCK);
    let kiel = r#"{"left": 3, "held": true, "place": {"city": "Kiel", "street": "Am Kai"}, "more": "x"}"#;
    let (story, calls) = played(&stage, answer(201, kiel), "go sku=A/b n=3 note=a&b");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].path, "/items/A%2Fb/holds?note=a%26b&of=ada");
    assert_eq!(
        calls[0].body.as_deref(),
        Some(r#"{"count":3,"half":1.5,"who":{"name":"Ada","note":"a&b"},"fixed":[1,"two",true]}"#)
    );
    assert_eq!(
        story,
        "2027-03-01 10:00 entered stock#1 | go\n\
         2027-03-01 10:00 called stock#1 stock\n\
         2027-03-01 10:00 branched stock#1 steps.hold.body.held && steps.hold.body.place.city == \"Kiel\"\n\
         2027-03-01 10:00 stopped stock#1 held\n"
    );
    let (story, calls) = played(&stage, answer(409, ""), "go sku=a n=3");
    assert_eq!((calls[0].path.as_str(), calls[0].method.as_str()), ("/items/a/holds?of=ada", "POST"));
    assert!(calls[0].body.as_ref().unwrap().contains(r#""who":{"name":"Ada"}"#), "what is missing may be left out");
    assert!(story.contains("called stock#1 stock | the body is no JSON\n") && story.contains("stopped stock#1 taken"), "{story}");
}

#[test]
fn what_is_not_as_declared_is_not_known() {
    let stage = Stage::new(STOCK);
    let (story, _) = played(&stage, answer(200, r#"{"held": "yes", "place": 7}"#), "go sku=a n=3");
    assert!(story.contains("stock | held is text, not true/false; place is number, not a map"), "{story}");
    assert!(story.contains("stopped stock#1 end"), "an unknown condition is not true: {story}");
}

#[test]
fn a_no_takes_the_way_that_stands_for_it() {
    let stage = Stage::new(STOCK);
    let way = |story: &str| story.contains("branched stock#1 failed") && story.contains("set stock#1 name");
    for (status, says) in [(404, "refused: the receiver answered 404"), (503, "dead after 1 attempts: the receiver answered 503")]
    {
        let (story, _) = played(&stage, answer(status, ""), "go sku=a n=3");
        assert!(way(&story) && story.contains(says), "{story}");
    }
    // What it names is missing, or would lead elsewhere: nothing is asked.
    for (event, says) in [("go n=3", "event.sku is not known"), ("go sku=.. n=3", "its path would lead elsewhere")] {
        let (story, calls) = played(&stage, answer(200, ""), event);
        assert!(way(&story) && story.contains(says) && calls.is_empty(), "{story}");
    }
    let (story, calls) = played(&stage, answer(200, ""), "go sku= n=3");
    assert!(story.contains("event.sku is not known") && calls.is_empty(), "an empty text is another path: {story}");
}

#[test]
fn a_call_that_waits_too_long_is_not_made() {
    let text = STOCK.replace("on_error: branch", "expires: 2h\n    on_error: stop");
    let stage = Stage::new(&text.replace("    failed:\n      - set: { name: failed }\n", ""));
    let mut customer = None;
    let mut turned = |now: &str, body: InputBody| {
        let inputs = vec![Input { accepted_at: time(now), body }];
        let turned = turn(&stage.definitions, "ada", customer.take(), Account::default(), inputs, time(now));
        customer = Some(turned.customer.clone());
        turned
    };
    let begun = turned("2027-03-01 10:00", act("go sku=a n=3", "e1", time("2027-03-01 10:00")));
    assert!(begun.effects.is_empty(), "her name is not known, and no default stands there: {:#?}", begun.facts);
    turned("2027-03-01 10:01", act("set name=Ada", "e2", time("2027-03-01 10:01")));
    let begun = turned("2027-03-01 10:02", act("go sku=a n=3", "e3", time("2027-03-01 10:02")));
    let effect = &begun.effects[0];
    assert_eq!((effect.valid_until, effect.on_uncertain), (Some(time("2027-03-01 12:02")), OnUncertain::Resend));
    let stale = |effect: &Effect| InputBody::Stale { effect: effect.id.clone(), why: "its time was over".to_owned() };
    // Decided anew before its time: the end stays where it was.
    let again = turned("2027-03-01 11:00", stale(effect));
    assert_eq!(again.effects[0].valid_until, Some(time("2027-03-01 12:02")));
    assert_ne!(again.effects[0].id, effect.id);
    let over = turned("2027-03-01 12:03", stale(&again.effects[0]));
    assert!(over.effects.is_empty());
    let stopped = over.facts.iter().find(|fact| fact.what == What::Stopped).unwrap();
    assert!(stopped.why.starts_with("it expired 2027-03-01 12:02"), "{stopped:?}");
}

#[test]
fn what_is_done_instead_of_a_call_that_came_too_late() {
    let text = STOCK.replace("on_error: branch", "expires: 2h\n    if_expired:\n      - set: { name: late }\n    on_error: stop");
    let stage = Stage::new(&text.replace("    failed:\n      - set: { name: failed }\n", ""));
    let mut customer = None;
    let mut turned = |now: &str, body: InputBody| {
        let inputs = vec![Input { accepted_at: time(now), body }];
        let turned = turn(&stage.definitions, "ada", customer.take(), Account::default(), inputs, time(now));
        customer = Some(turned.customer.clone());
        turned
    };
    turned("2027-03-01 10:01", act("set name=Ada", "e2", time("2027-03-01 10:01")));
    let begun = turned("2027-03-01 10:02", act("go sku=a n=3", "e3", time("2027-03-01 10:02")));
    let effect = begun.effects[0].id.clone();
    let over = turned("2027-03-01 12:03", InputBody::Stale { effect, why: "its time was over".to_owned() });
    assert!(over.effects.is_empty());
    let taken = over.facts.iter().find(|fact| fact.what == What::Branched).unwrap();
    assert!(taken.about == "if_expired" && taken.why.starts_with("it expired 2027-03-01 12:02"), "{taken:?}");
    assert_eq!(over.customer.profile["name"], Value::from("late"));
    assert!(over.facts.iter().all(|fact| fact.what != What::Failed), "{:#?}", over.facts);
}

fn faults(step: &str) -> Vec<(&'static str, String)> {
    let settings = "workspace: T\nzone: UTC\ncurrency: EUR\nservices: { stock: { url: \"https://stock.example.com\" } }\n";
    let funnel = format!("funnel: F\ntrigger: {{ event: go }}\nsteps:\n{step}\n");
    let files: Files =
        [("autofunnel.yaml", settings), ("f.yaml", &funnel)].map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let mut faults = Faults::default();
    funnel::compile(&files, &mut faults);
    faults
        .list()
        .iter()
        .filter(|fault| fault.code != "no-goal")
        .map(|fault| (fault.code, fault.hint.clone().unwrap_or_default()))
        .collect()
}

#[test]
fn what_cannot_be_called_is_said_before() {
    for (step, code, hint) in [
        ("  - call: stok", "unknown-service", "did you mean `stock`?"),
        ("  - call: stock\n    path: items", "bad-path", "write only what follows it"),
        ("  - call: stock\n    path: //evil.example", "bad-path", ""),
        ("  - call: stock\n    path: /{{ customer.nme }}", "unknown-name", "did you mean"),
        ("  - call: stock\n    method: GET\n    json: { a: 1 }", "bad-body", "`method: POST`"),
        ("  - call: stock\n    expect: twohundred", "bad-status", "200-299"),
        ("  - call: stock\n    response: { left: nmber }", "unknown-word", "did you mean `number`?"),
        ("  - call: stock\n    on_error: retry", "no-expiry", "expires: 1 day"),
        ("  - call: stock\n    on_error: branch", "no-failed", "`failed:`"),
        ("  - call: stock\n    failed: [ { stop: x } ]", "no-branch", "`on_error: branch`"),
        ("  - grant: 5 points\n    on_error: retry", "bad-on-error", "`branch`"),
        (
            "  - call: stock\n    id: a\n    response: { n: number }\n  - stop: x\n    if: steps.a.body.n == \"b\"",
            "type-mismatch",
            "",
        ),
        (
            "  - call: stock\n    id: a\n    response: { left: number }\n  - stop: x\n    if: steps.a.body.lefd > 1",
            "unknown-field",
            "did you mean",
        ),
    ] {
        let found = faults(step);
        assert!(found.iter().any(|(was, said)| *was == code && said.contains(hint)), "{step}: {found:?}");
    }
    assert_eq!(faults("  - call: stock\n    path: /a/{{ customer.id }}\n    response: { n: number }"), []);
}
