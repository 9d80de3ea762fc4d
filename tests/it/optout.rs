//! Who has said STOP is not written to: the door, the index and the last gate together, over both stores.

use crate::contract::{RedisStand, SqliteStand, Stand, begin, effect, make_with};
use autofunnel::app::workspace;
use autofunnel::engine::intake::hook::Delivery;
use autofunnel::engine::intake::{Intake, Shared};
use autofunnel::event::InputBody;
use autofunnel::event::address::{Address, StopKind};
use autofunnel::funnel::Files;
use autofunnel::lang::time::Time;
use autofunnel::lang::value::Value;
use autofunnel::source::MappedEvent;
use autofunnel::store::{Accepted, Begin, Saying, Store};
use autofunnel::wire::secrets::Placeholders;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Answers to text messages, and what a mail provider reports.
const SETTINGS: &str = r#"
workspace: Test
zone: Europe/Berlin
currency: EUR
sources:
  sms:
    verify: none
    map: [{ event: message_replied, id: body.id, channel: sms, address: body.from, properties: { text: body.text } }]
  mail:
    verify: none
    map: [{ event: { cel: body.event }, id: body.id, channel: email, address: body.to, effect: body.effect, message: body.message, properties: { bounce: body.kind } }]
"#;

fn intake(store: &Arc<dyn Store>) -> Arc<Intake> {
    let files: Files = [("autofunnel.yaml".to_owned(), SETTINGS.to_owned())].into();
    let checked = workspace::check(&files, &Placeholders);
    let workspace = checked.workspace.unwrap_or_else(|| panic!("{:#?}", checked.faults));
    Arc::new(Intake::new(store.clone(), Arc::new(Shared::new(workspace::world(&workspace, checked.sources)))))
}

async fn deliver(intake: &Intake, source: &str, body: &str) -> Vec<Accepted> {
    intake.hook(Delivery { source, headers: &[], query: "", body: body.as_bytes(), loopback: true }).await.unwrap()
}

fn text(id: usize, from: &str, text: &str) -> String {
    format!(r#"{{"id":"m{id}","from":"{from}","text":"{text}"}}"#)
}

fn number(n: usize) -> String {
    format!("+49170{n:07}")
}

fn phone(n: usize) -> Address {
    Address::of("phone", &number(n)).unwrap()
}

/// Lets others go first, a few times.
async fn dawdle(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

fn races() -> usize {
    if std::env::var("AUTOFUNNEL_LONG").is_ok_and(|long| long == "1") { 1_000 } else { 100 }
}

/// S57, P15: STOP lands at any moment between the decision and the call. After it was answered nothing begins.
async fn races_of_stop_and_begin(stand: &dyn Stand) {
    let store = stand.open().unwrap();
    let intake = intake(&store);
    let (mut went, mut held, mut late) = (0, 0, 0);
    for n in 0..races() {
        let (customer, effect) = (format!("c{n}"), effect(&format!("c{n}"), 1));
        make_with(&store, &customer, |first| {
            (first.effects, first.hand_over) = (vec![effect.clone()], true);
            first.addresses_taken = vec![phone(n)];
        })
        .await;
        let answered = Arc::new(AtomicBool::new(false));
        let says = {
            let (intake, answered) = (intake.clone(), answered.clone());
            tokio::spawn(async move {
                dawdle(n % 7).await;
                assert_eq!(deliver(&intake, "sms", &text(n, &number(n), " Stop. ")).await, [Accepted::New; 2]);
                answered.store(true, Ordering::SeqCst);
            })
        };
        let was_answered = {
            let answered = answered.clone();
            let store = store.clone();
            tokio::spawn(async move {
                let wait = n % 3 == 0;
                while wait && !answered.load(Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
                let before = answered.load(Ordering::SeqCst);
                (before, begin(&store, &effect).await)
            })
        };
        let (before, begun) = was_answered.await.unwrap();
        says.await.unwrap();
        let goes = matches!(begun, Begin::Go { .. });
        assert!(!(before && goes), "race {n}: it was sent after STOP was answered");
        (went, held, late) = (went + usize::from(goes), held + usize::from(!goes), late + usize::from(before));
    }
    assert!(held > 0 && late > 0 && held >= late, "{went} went, {held} did not, {late} asked after the answer");
}

/// STOP lands while its number becomes a customer's: whatever the order, nothing that her turn planned begins.
async fn races_of_stop_and_a_new_number(stand: &dyn Stand) {
    let store = stand.open().unwrap();
    let intake = intake(&store);
    let reached = Arc::new(AtomicUsize::new(0));
    for n in 0..races() {
        let (customer, effect) = (format!("c{n}"), effect(&format!("c{n}"), 1));
        let says = {
            let (intake, reached) = (intake.clone(), reached.clone());
            tokio::spawn(async move {
                dawdle(n % 5).await;
                let told = deliver(&intake, "sms", &text(n, &number(n), "STOP")).await;
                reached.fetch_add(usize::from(told.len() > 1), Ordering::SeqCst);
            })
        };
        let commits = {
            let (store, effect) = (store.clone(), effect.clone());
            tokio::spawn(async move {
                dawdle(n % 3).await;
                // A conflict is as good: then nothing was planned.
                let claim = store.take(customer.clone()).await.unwrap();
                let Some(claim) = claim else { return };
                let mut first = crate::contract::turn(&claim);
                (first.effects, first.hand_over) = (vec![effect], true);
                first.addresses_taken = vec![phone(n)];
                store.commit(vec![first]).await.unwrap();
            })
        };
        says.await.unwrap();
        commits.await.unwrap();
        assert!(!matches!(begin(&store, &effect).await, Begin::Go { .. }), "race {n}");
    }
}

macro_rules! both_stores {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(&super::SqliteStand::new()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(&super::RedisStand::new()).await;
            })*
        }
    };
}

both_stores!(races_of_stop_and_begin, races_of_stop_and_a_new_number, what_is_said_reaches_everybody_who_has_the_address);

async fn what_is_said_reaches_everybody_who_has_the_address(stand: &dyn Stand) {
    let store = stand.open().unwrap();
    let intake = intake(&store);
    let mail = Address::of("email", "family@example.com").unwrap();
    for customer in ["anna", "bert"] {
        make_with(&store, customer, |first| first.addresses_taken = vec![mail.clone(), phone(1)]).await;
    }
    let drain = async || {
        let mut told = Vec::new();
        for claim in store.claim(9).await.unwrap() {
            told.extend(claim.inputs.iter().map(|queued| (claim.customer.clone(), queued.input.body.clone())));
            store.commit(vec![crate::contract::turn(&claim)]).await.unwrap();
        }
        told
    };
    // S54: a hard bounce, and the event for whom the message was: the effect names her.
    let bounced = r#"{"event":"message_bounced","id":"b1","to":"Family@Example.com","effect":"anna/1/mail/1","kind":"hard"}"#;
    assert_eq!(deliver(&intake, "mail", bounced).await, [Accepted::New; 3]);
    assert_eq!(deliver(&intake, "mail", bounced).await, [Accepted::Duplicate; 3], "the same again changes nothing");
    let told = drain().await;
    let stops = told.iter().filter(|(_, body)| matches!(body, InputBody::Stop { stop, .. } if stop.kind == StopKind::Bounced));
    assert_eq!(stops.map(|(customer, _)| customer.as_str()).collect::<Vec<_>>(), ["anna", "bert"]);
    let events: Vec<&str> = told
        .iter()
        .filter(|(_, body)| matches!(body, InputBody::Event(event) if event.name == "message_bounced"))
        .map(|(customer, _)| customer.as_str())
        .collect();
    assert_eq!(events, ["anna"]);
    // By the provider's own id of the message, for one who has no such address.
    store.keep_reference(Address::of_reference("mail", "ref-1"), "anna/1/mail/1".to_owned()).await.unwrap();
    let opened = r#"{"event":"message_opened","id":"o1","message":"ref-1"}"#;
    assert_eq!(deliver(&intake, "mail", opened).await, [Accepted::New]);
    assert!(matches!(&drain().await[..], [(customer, InputBody::Event(event))] if customer == "anna"
        && event.property("effect").and_then(|effect| effect.as_text()) == Some("anna/1/mail/1")));
    // S59: START takes STOP back, and nothing else.
    deliver(&intake, "sms", &text(1, &number(1), "STOP")).await;
    assert_eq!(store.address(phone(1)).await.unwrap().stops.len(), 1);
    assert_eq!(deliver(&intake, "sms", &text(2, &number(1), "start")).await.len(), 4);
    assert!(store.address(phone(1)).await.unwrap().stops.is_empty());
    assert_eq!(store.address(mail).await.unwrap().stops.len(), 1);
    assert_eq!(drain().await.iter().filter(|(_, body)| matches!(body, InputBody::Lift { .. })).count(), 2);
    // S56: what is no keyword is an answer, and forbids nothing, unless it seems to ask for it: then all of them are left
    // alone until a person has looked. A number that nobody has is heeded all the same.
    assert_eq!(deliver(&intake, "sms", &text(3, &number(1), "what time do you open?")).await, [Accepted::New; 2]);
    assert!(store.address(phone(1)).await.unwrap().stops.is_empty());
    assert_eq!(deliver(&intake, "sms", &text(5, &number(1), "please stop texting me")).await, [Accepted::New; 4]);
    let kinds = async || -> Vec<StopKind> { store.address(phone(1)).await.unwrap().stops.iter().map(|stop| stop.kind).collect() };
    assert_eq!(kinds().await, [StopKind::Asked]);
    deliver(&intake, "sms", &text(6, &number(1), "STOP")).await;
    // A person's look at the reply takes her own word not back.
    let lift = Saying::Lift { channel: "sms".to_owned(), until: Time(i64::MAX / 2), only: Some(StopKind::Asked) };
    store.say(phone(1), lift).await.unwrap();
    assert_eq!(kinds().await, [StopKind::Stopped]);
    assert_eq!(deliver(&intake, "sms", &text(4, &number(9), "STOP")).await, [Accepted::New]);
    assert_eq!(store.address(phone(9)).await.unwrap().stops.len(), 1);
}

/// What the example's maps make of what providers send (bodies as their documentation shows them).
#[test]
fn the_examples_maps_read_what_providers_send() {
    let example = include_str!("../../examples/webhooks.yaml");
    let settings = format!("workspace: Test\nzone: Europe/Berlin\ncurrency: EUR\n{example}");
    let checked = workspace::check(&[("autofunnel.yaml".to_owned(), settings)].into(), &Placeholders);
    assert!(checked.workspace.is_some(), "{:#?}", checked.faults);
    assert_eq!(checked.sources["twilio"].providers().collect::<Vec<_>>(), ["text-service"; 2]);
    let told = |source: &str, json: &str| -> Vec<(String, String)> {
        let body = Value::from_json(&serde_json::from_str(json).unwrap()).unwrap();
        let events = checked.sources[source].events(&body, &[], Time(0)).unwrap();
        let bounce = |event: &MappedEvent| event.properties.get("bounce").and_then(Value::as_text).unwrap_or("").to_owned();
        events.iter().map(|event| (event.name.clone(), bounce(event))).collect()
    };
    let one = |name: &str, bounce: &str| vec![(name.to_owned(), bounce.to_owned())];
    let mail = |event: &str, more: &str| {
        format!(
            r#"{{"event":"{event}","email":"ada@example.com","sg_event_id":"x","timestamp":1600112492,"effect":"c/1/mail/1"{more}}}"#
        )
    };
    for (event, more, name, bounce) in [
        ("delivered", "", "message_delivered", ""),
        ("open", "", "message_opened", ""),
        ("click", r#","url":"https://shop.example""#, "message_clicked", ""),
        ("bounce", r#","type":"bounce""#, "message_bounced", "hard"),
        ("bounce", r#","type":"blocked""#, "message_bounced", "soft"),
        ("dropped", "", "message_bounced", "hard"),
        ("spamreport", "", "message_complained", ""),
        ("unsubscribe", "", "message_unsubscribed", ""),
    ] {
        let found = told("sendgrid", &mail(event, more));
        assert_eq!((found.len(), found[0].0.as_str()), (1, name), "{event}");
        assert!(bounce.is_empty() || found[0].1 == bounce, "{event}: {found:?}");
    }
    assert!(told("sendgrid", &mail("processed", "")).is_empty());
    assert_eq!(told("twilio", r#"{"MessageSid":"SM1","From":"+491","To":"+492","Body":"STOP"}"#), one("message_replied", ""));
    assert_eq!(told("twilio", r#"{"MessageSid":"SM1","MessageStatus":"delivered"}"#), one("message_delivered", ""));
    let failed = r#"{"MessageSid":"SM1","MessageStatus":"undelivered","To":"+491","ErrorCode":"30003"}"#;
    assert_eq!(told("twilio", failed), one("message_bounced", ""));
    assert!(told("twilio", r#"{"MessageSid":"SM1","MessageStatus":"queued"}"#).is_empty());
}
