//! Links of messages: who opens them, who answers them, and where they lead.

use super::*;
use crate::effect::{Effect, EffectKind, Links, Message, OnUncertain};
use crate::engine::link::Signer;
use crate::event::InputBody;
use crate::event::address::{Address, StopKind};
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::store::{LINK_KEY_BYTES, Store};
use crate::template::Rendered;

/// The key of the store in memory.
fn signer() -> Signer {
    Signer::new(vec![7; LINK_KEY_BYTES])
}

fn effect(topic: Option<&str>) -> Effect {
    let message = Message {
        channel: "email".to_owned(),
        provider: "inbox".to_owned(),
        to: "Ada@Example.com".to_owned(),
        template: "t".to_owned(),
        transactional: false,
        tag: None,
        variables: Fields::new(),
        links: Some(Links { address: "https://mail.example".to_owned(), topic: topic.map(str::to_owned), clicks: true }),
    };
    Effect {
        id: "c1/1/mail/1".to_owned(),
        customer: "c1".to_owned(),
        run: 1,
        funnel: "f".to_owned(),
        version: "v".to_owned(),
        step: "mail".to_owned(),
        decided_at: Time(0),
        valid_until: None,
        gate: 0,
        on_uncertain: OnUncertain::Resend,
        kind: EffectKind::Message(message),
    }
}

/// The path of the way out of a message.
fn way_out(topic: Option<&str>) -> String {
    let effect = effect(topic);
    let sealed = signer().sealed(&effect).expect("it has links");
    let EffectKind::Message(message) = sealed.kind else { panic!("it is a message") };
    let url = message.variables.get("unsubscribe_url").and_then(Value::as_text).unwrap();
    url.strip_prefix("https://mail.example").expect("it leads to us").to_owned()
}

/// The path of a counted link to a page.
fn counted(to: &str) -> String {
    let rendered = Rendered { html: format!("<a href=\"{to}\">x</a>"), ..Rendered::default() };
    let html = signer().count_clicks(&effect(None), rendered).html;
    html.split('"').nth(1).unwrap().strip_prefix("https://mail.example").expect("it leads through us").to_owned()
}

#[tokio::test]
async fn s53_looking_at_the_way_out_changes_nothing_and_taking_it_works_at_once() {
    let server = Server::start().await;
    server.store.know("c1");
    let path = way_out(None);
    for _ in 0..2 {
        let page = server.get(&path, "").await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("<form method=\"post\">") && page.body.contains("Harbour Coffee"), "{}", page.body);
        assert!(!page.body.contains("example.com"), "whoever has the link learns no address");
    }
    assert!(server.store.inputs().is_empty());
    // RFC 8058: no cookie, no login, from wherever it comes; 200 and no redirect.
    let headers =
        "content-type: application/x-www-form-urlencoded\r\norigin: https://mail.google.com\r\nsec-fetch-site: cross-site\r\n";
    let done = server.send("POST", &path, "", headers, "List-Unsubscribe=One-Click").await;
    assert_eq!((done.status, done.header("location")), (200, None));
    let inputs = server.store.inputs();
    let [profile] = &inputs[..] else { panic!("{inputs:?}") };
    assert!(
        matches!(&profile.body, InputBody::Profile(change) if !change.consent[0].granted && change.consent[0].channel == "email")
    );
    let row = server.store.address(Address::of("email", "ada@example.com").unwrap()).await.unwrap();
    assert_eq!(row.stops.iter().map(|stop| stop.kind).collect::<Vec<_>>(), [StopKind::Unsubscribed]);
    // The button of the page says the same, and saying it again does no harm.
    assert_eq!(server.post(&path, "", "").await.status, 200);
    assert_eq!(server.store.inputs().len(), 2);
}

#[tokio::test]
async fn a_way_out_of_a_topic_leaves_the_rest() {
    let server = Server::start().await;
    server.store.know("c1");
    assert!(server.get(&way_out(Some("news")), "").await.body.contains("news"));
    assert_eq!(server.post(&way_out(Some("news")), "", "").await.status, 200);
    let inputs = server.store.inputs();
    assert!(matches!(&inputs[0].body, InputBody::Profile(change) if change.consent[0].topic.as_deref() == Some("news")));
    let row = server.store.address(Address::of("email", "ada@example.com").unwrap()).await.unwrap();
    assert!(row.stops.is_empty());
}

#[tokio::test]
async fn whoever_is_gone_can_still_take_the_way_out() {
    let server = Server::start().await;
    assert_eq!(server.post(&way_out(None), "", "").await.status, 200);
    assert!(server.store.inputs().is_empty(), "nobody is made anew");
    let row = server.store.address(Address::of("email", "ada@example.com").unwrap()).await.unwrap();
    assert_eq!(row.stops.len(), 1);
}

#[tokio::test]
async fn a_store_that_is_away_is_told_and_nobody_is_unsubscribed_in_words_only() {
    let server = Server::start().await;
    server.store.know("c1");
    let (path, link) = (way_out(None), counted("https://shop.example/a"));
    server.store.fail();
    assert_eq!(server.post(&path, "", "").await.status, 503);
    assert_eq!(server.get(&link, "").await.header("location"), Some("https://shop.example/a"), "who follows a link arrives");
}

#[tokio::test]
async fn a_link_leads_only_where_it_was_made_to_lead() {
    let server = Server::start().await;
    server.store.know("c1");
    let path = counted("https://shop.example/a?b=1&amp;c=2");
    for _ in 0..2 {
        let got = server.get(&path, "").await;
        assert_eq!((got.status, got.header("location")), (303, Some("https://shop.example/a?b=1&c=2")));
        assert_eq!(got.header("referrer-policy"), Some("no-referrer"));
    }
    let inputs = server.store.inputs();
    let [click] = &inputs[..] else { panic!("each link of a message counts once: {inputs:?}") };
    let InputBody::Event(event) = &click.body else { panic!("{click:?}") };
    assert_eq!((click.customer.as_str(), event.name.as_str()), ("c1", "message_clicked"));
    assert_eq!(event.property("effect"), Some(&Value::from("c1/1/mail/1")));
    let token = path.trim_start_matches("/l/");
    let unsubscribe = way_out(None);
    let changed = format!("{}A{}", &token[..20], &token[21..]);
    let bad = [
        format!("/l/{changed}"),
        format!("/l/{token}x"),
        format!("/u/{token}"),
        format!("/l/{}", unsubscribe.trim_start_matches("/u/")),
        "/l/https:%2F%2Fevil.example".to_owned(),
        "/l/x?url=https://evil.example".to_owned(),
    ];
    for path in bad {
        let got = server.get(&path, "").await;
        assert_eq!((got.status, got.header("location")), (404, None), "{path}");
    }
    assert_eq!(server.post(&format!("/u/{token}"), "", "").await.status, 404);
}
