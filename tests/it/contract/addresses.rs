//! Addresses: who has one, what was said about it, and that neither is ever missing.

use super::*;
use autofunnel::event::address::{Address, HOLDERS_MAX, SOFT_MS, Stop};
use autofunnel::store::Saying;

pub fn address(text: &str) -> Address {
    Address::of("email", text).unwrap()
}

pub fn stop(kind: StopKind, at: i64) -> Stop {
    Stop { channel: "email".to_owned(), kind, since: Time(at), source: "test".to_owned() }
}

async fn say(store: &Arc<dyn Store>, text: &str, kind: StopKind, at: i64) -> Vec<String> {
    let row = store.say(address(text), Saying::Stop(stop(kind, at))).await.unwrap();
    row.holders.into_iter().map(|(customer, _)| customer).collect()
}

async fn holders(store: &Arc<dyn Store>, text: &str) -> Vec<String> {
    store.address(address(text)).await.unwrap().holders.into_iter().map(|(customer, _)| customer).collect()
}

async fn kinds(store: &Arc<dyn Store>, text: &str) -> Vec<StopKind> {
    store.address(address(text)).await.unwrap().stops.into_iter().map(|stop| stop.kind).collect()
}

pub async fn who_has_an_address_is_in_the_index(stand: &dyn Stand) {
    let store = open(stand);
    for customer in ["anna", "bert"] {
        make_with(&store, customer, |first| first.addresses_taken = vec![address("a@x.org"), address("b@x.org")]).await;
    }
    assert_eq!(holders(&store, "a@x.org").await, ["anna", "bert"]);
    assert_eq!(holders(&store, "c@x.org").await, Vec::<String>::new());
    stand.clock().pass(1);
    let claim = take(&store, "anna").await;
    let moved = Commit { addresses_left: vec![address("a@x.org")], addresses_taken: vec![address("c@x.org")], ..turn(&claim) };
    assert_eq!(commit(&store, moved.clone()).await, Committed::Done);
    assert_eq!(holders(&store, "a@x.org").await, ["bert"]);
    assert_eq!(
        say(&store, "c@x.org", StopKind::Stopped, START).await,
        ["anna"],
        "whoever says something is told whom it concerns"
    );
    drop(store);
    assert_eq!(holders(&open(stand), "b@x.org").await, ["anna", "bert"]);
}

pub async fn a_commit_that_loses_takes_nobody_out_of_the_index(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.addresses_taken = vec![address("a@x.org")]).await;
    stand.clock().pass(1);
    let claim = take(&store, "anna").await;
    let stale = Commit { base: 7, addresses_left: vec![address("a@x.org")], ..turn(&claim) };
    assert_eq!(commit(&store, stale).await, Committed::Conflict);
    assert_eq!(holders(&store, "a@x.org").await, ["anna"]);
}

pub async fn what_was_said_comes_with_the_address(stand: &dyn Stand) {
    let store = open(stand);
    say(&store, "a@x.org", StopKind::Bounced, START).await;
    let effect = effect("anna", 1);
    make_with(&store, "anna", |first| {
        (first.effects, first.hand_over) = (vec![effect.clone()], true);
        first.addresses_taken = vec![address("a@x.org")];
    })
    .await;
    assert_eq!(begin(&store, &effect).await, Begin::TurnFirst, "nothing begins before her turn has read it");
    let claim = claim_one(&store).await;
    let wanted = InputBody::Stop { address: address("a@x.org"), stop: stop(StopKind::Bounced, START) };
    assert_eq!(claim.inputs.iter().map(|queued| queued.input.body.clone()).collect::<Vec<_>>(), [wanted]);
}

pub async fn a_stop_raises_the_gate_in_the_accept(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    let body = InputBody::Stop { address: address("a@x.org"), stop: stop(StopKind::Stopped, START) };
    let input = NewInput { customer: "anna".to_owned(), source: "sms".to_owned(), id: Some("s1".to_owned()), digest: 1, body };
    assert_eq!(accept(&store, vec![input.clone()]).await, [Accepted::New]);
    assert_eq!(accept(&store, vec![input]).await, [Accepted::Duplicate], "the same again changes nothing");
    let claim = claim_one(&store).await;
    assert_eq!((claim.record.gate, claim.inputs.len()), (1, 1));
    commit(&store, turn(&claim)).await;
    assert!(!matches!(begin(&store, &effect).await, Begin::Go { .. }));
}

pub async fn what_was_said_outlives_the_customer(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.addresses_taken = vec![address("a@x.org")]).await;
    assert_eq!(say(&store, "a@x.org", StopKind::Complained, START).await, ["anna"]);
    let claim = take(&store, "anna").await;
    let erase = Commit { erase: true, addresses_left: vec![address("a@x.org")], ..turn(&claim) };
    assert_eq!(commit(&store, erase).await, Committed::Done);
    assert_eq!(holders(&store, "a@x.org").await, Vec::<String>::new(), "nothing of hers stays");
    drop(store);
    let store = open(stand);
    assert_eq!(kinds(&store, "a@x.org").await, [StopKind::Complained]);
    make_with(&store, "bert", |first| first.addresses_taken = vec![address("a@x.org")]).await;
    assert!(matches!(claim_one(&store).await.inputs[0].input.body, InputBody::Stop { .. }), "whoever takes it next is told");
}

pub async fn a_lift_takes_back_her_own_word_only(stand: &dyn Stand) {
    let store = open(stand);
    for kind in [StopKind::Bounced, StopKind::Stopped, StopKind::Complained, StopKind::Unsubscribed] {
        say(&store, "a@x.org", kind, START).await;
    }
    let sms = Stop { channel: "sms".to_owned(), ..stop(StopKind::Stopped, START) };
    store.say(address("a@x.org"), Saying::Stop(sms)).await.unwrap();
    let lift = async |until| {
        let saying = Saying::Lift { channel: "email".to_owned(), until: Time(until), only: None };
        store.say(address("a@x.org"), saying).await.unwrap().stops.len()
    };
    assert_eq!(lift(START - 1).await, 5, "what was said later stays");
    say(&store, "a@x.org", StopKind::Unsubscribed, START + 2).await;
    say(&store, "a@x.org", StopKind::Unsubscribed, START + 1).await;
    assert_eq!(lift(START + 1).await, 4);
    assert_eq!(lift(START + 2).await, 3);
    assert_eq!(kinds(&store, "a@x.org").await, [StopKind::Bounced, StopKind::Complained, StopKind::Stopped]);
    assert_eq!(store.address(address("a@x.org")).await.unwrap().stops[2].channel, "sms", "another channel is another matter");
}

pub async fn s54_the_third_soft_bounce_in_72_hours_is_a_hard_one(stand: &dyn Stand) {
    let store = open(stand);
    let soft = async |id: &str| {
        let saying = Saying::Soft { stop: stop(StopKind::Bounced, START), id: id.to_owned() };
        store.say(address("a@x.org"), saying).await.unwrap().stops.len()
    };
    for id in ["1", "2", "2", "1"] {
        assert_eq!(soft(id).await, 0, "the same one counts once");
    }
    stand.clock().pass(SOFT_MS);
    for id in ["3", "4"] {
        assert_eq!(soft(id).await, 0, "those of before count no more");
    }
    assert_eq!(soft("5").await, 1);
}

pub async fn whoever_comes_after_too_many_is_told(stand: &dyn Stand) {
    let store = open(stand);
    let makes = |n: usize| format!("c{n:02}");
    for n in 0..=HOLDERS_MAX {
        make_with(&store, &makes(n), |first| first.addresses_taken = vec![address("a@x.org")]).await;
    }
    assert_eq!(holders(&store, "a@x.org").await.len(), HOLDERS_MAX);
    let claim = claim_one(&store).await;
    assert_eq!(claim.customer, makes(HOLDERS_MAX));
    let crowded = |input: &autofunnel::store::Queued| matches!(&input.input.body, InputBody::Stop { stop, .. } if stop.kind == StopKind::Crowded);
    assert!(!claim.inputs.is_empty() && claim.inputs.iter().all(crowded));
    // One of the first takes it again, which needs no new place.
    let claim = take(&store, &makes(0)).await;
    commit(&store, Commit { addresses_taken: vec![address("a@x.org")], ..turn(&claim) }).await;
    assert!(take(&store, &makes(0)).await.inputs.is_empty());
}

pub async fn a_reference_names_its_effect_and_the_link_key_stays(stand: &dyn Stand) {
    let store = open(stand);
    let (one, other) = (Address::of_reference("mail", "m-1"), Address::of_reference("sms", "m-1"));
    store.keep_reference(one.clone(), "anna/1/step/1".to_owned()).await.unwrap();
    store.keep_reference(one.clone(), "bert/1/step/1".to_owned()).await.unwrap();
    let key = store.link_key().await.unwrap();
    assert_eq!((key.len(), store.link_key().await.unwrap()), (32, key.clone()));
    drop(store);
    let store = open(stand);
    assert_eq!(store.reference(one).await.unwrap().as_deref(), Some("anna/1/step/1"), "the first one holds");
    assert_eq!(store.reference(other).await.unwrap(), None);
    assert_eq!(store.link_key().await.unwrap(), key);
}
