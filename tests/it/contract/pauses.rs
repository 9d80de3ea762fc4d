//! Pauses, and a person's word on single effects that wait.

use super::*;
use autofunnel::store::pause::{PAUSED, Pausable, Pause, RECHECK_MS};

/// A pause that the tests ask for.
pub fn pause(store: &Arc<dyn Store>, of: Pausable) -> Pause {
    Pause { of, since: store.now(), by: "ops".to_owned(), why: "stock-taking".to_owned() }
}

fn funnel() -> Pausable {
    Pausable::Funnel(effect("anna", 1).funnel)
}

/// What can pause the effects of these tests, and what cannot.
fn kinds() -> [(Pausable, bool); 5] {
    [
        (Pausable::Workspace, true),
        (funnel(), true),
        (Pausable::Provider("points".to_owned()), true),
        (Pausable::Funnel("another".to_owned()), false),
        (Pausable::Provider("mail".to_owned()), false),
    ]
}

/// An effect for a provider, handed over from birth.
async fn called(store: &Arc<dyn Store>, customer: &str) -> Effect {
    let mut called = effect(customer, 1);
    if let EffectKind::Grant(grant) = &mut called.kind {
        grant.provider = Some("points".to_owned());
    }
    make_with(store, customer, |first| (first.effects, first.hand_over) = (vec![called.clone()], true)).await;
    called
}

pub async fn nothing_begins_while_it_is_paused(stand: &dyn Stand) {
    let store = open(stand);
    for (n, (of, holds)) in kinds().into_iter().enumerate() {
        let effect = called(&store, &format!("c{n}")).await;
        store.pause(pause(&store, of.clone())).await.unwrap();
        let begun = begin(&store, &effect).await;
        assert_eq!(begun == Begin::Paused, holds, "{of:?}: {begun:?}");
        assert!(store.claim_effects(9).await.unwrap().is_empty(), "it waits, or is being sent");
        assert!(store.resume(of.clone()).await.unwrap());
        assert!(!store.resume(of.clone()).await.unwrap(), "it is ended");
        if !holds {
            continue;
        }
        let row = store.outbox(99).await.unwrap().into_iter().find(|row| row.id == effect.id).unwrap();
        assert_eq!((row.why.as_str(), row.attempts), (PAUSED, 0));
        let mut deliveries = store.claim_effects(9).await.unwrap();
        let delivery = deliveries.pop().unwrap();
        assert!(deliveries.is_empty(), "{of:?}");
        assert_eq!((&delivery.effect, delivery.attempts, delivery.ambiguous), (&effect, 0, false), "nothing has left");
        assert_eq!(begin_claimed(&store, &delivery).await, Begin::Go { attempt: 1 });
    }
}

pub async fn a_pause_outlives_the_process_and_has_a_reason(stand: &dyn Stand) {
    let store = open(stand);
    let effect = called(&store, "anna").await;
    let first = pause(&store, funnel());
    store.pause(first.clone()).await.unwrap();
    let again = Pause { why: "another reason".to_owned(), ..first };
    store.pause(again.clone()).await.unwrap();
    let all = pause(&store, Pausable::Workspace);
    store.pause(all.clone()).await.unwrap();
    assert_eq!(store.pauses().await.unwrap(), [all.clone(), again.clone()]);
    drop(store);
    let store = open(stand);
    assert_eq!(store.pauses().await.unwrap(), [all, again]);
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::Paused);
    assert!(store.resume(Pausable::Workspace).await.unwrap());
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::Paused, "its funnel still is");
    assert!(store.resume(funnel()).await.unwrap());
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::Go { attempt: 1 });
    assert_eq!(delivery.effect, effect);
}

pub async fn what_is_paused_looks_again_and_knows_when_its_time_is_over(stand: &dyn Stand) {
    let store = open(stand);
    store.pause(pause(&store, Pausable::Workspace)).await.unwrap();
    let long = called(&store, "anna").await;
    let short = Effect { valid_until: Some(Time(START + 5_000)), ..effect("bert", 1) };
    make_with(&store, "bert", |first| (first.effects, first.hand_over) = (vec![short.clone()], true)).await;
    assert_eq!(begin(&store, &long).await, Begin::Paused);
    assert_eq!(begin(&store, &short).await, Begin::Paused);
    stand.clock().pass(5_000);
    assert!(store.claim_effects(9).await.unwrap().is_empty());
    stand.clock().pass(1);
    let late = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!(late.effect.id, short.id);
    assert_eq!(begin_claimed(&store, &late).await, Begin::Stale, "its turn decides anew");
    stand.clock().pass(RECHECK_MS);
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::Paused);
}

/// A failure that is not known to have done nothing stays one.
pub async fn a_pause_keeps_an_earlier_doubt(stand: &dyn Stand) {
    let store = open(stand);
    let effect = called(&store, "anna").await;
    begin(&store, &effect).await;
    drop(store);
    let store = open(stand);
    store.pause(pause(&store, funnel())).await.unwrap();
    for _ in 0..2 {
        let delivery = store.claim_effects(9).await.unwrap().remove(0);
        assert_eq!((delivery.attempts, delivery.ambiguous), (1, true));
        assert_eq!(begin_claimed(&store, &delivery).await, Begin::Paused);
        store.resume(funnel()).await.unwrap();
        store.pause(pause(&store, funnel())).await.unwrap();
    }
}

pub async fn what_is_paused_is_not_booked(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    store.pause(pause(&store, funnel())).await.unwrap();
    let books = |claim: &Claim| Commit { settled: Some(effect.id.clone()), books: true, account: Some(vec![7]), ..turn(claim) };
    let claim = take(&store, "anna").await;
    assert_eq!(store.commit(vec![books(&claim)]).await.unwrap(), [Committed::Paused]);
    // An answer that has come is taken all the same.
    let again = take(&store, "anna").await;
    assert_eq!((again.record.version, &again.record.account), (claim.record.version, &claim.record.account));
    store.release(vec!["anna".to_owned()]).await.unwrap();
    store.resume(funnel()).await.unwrap();
    let claim = take(&store, "anna").await;
    assert_eq!(store.commit(vec![books(&claim)]).await.unwrap(), [Committed::Done]);
    assert_eq!(take(&store, "anna").await.record.account, [7]);
}

pub async fn a_person_hastens_or_drops_what_waits(stand: &dyn Stand) {
    let store = open(stand);
    let (anna, bert) = ("anna".to_owned(), "bert".to_owned());
    let sent = with_claimed_effect(&store, "anna").await;
    assert!(!store.hasten(sent.id.clone(), anna.clone()).await.unwrap(), "it is in hand");
    assert!(!store.drop_effect(sent.id.clone(), anna.clone(), "no".to_owned()).await.unwrap(), "it is in hand");
    let due = Time(START + 60_000);
    let retry = Retry { effect: sent.id.clone(), ticket: 0, due, why: "503".to_owned(), ambiguous: false };
    store.retry(retry).await.unwrap();
    let waiting = store.waiting(sent.id.clone(), anna.clone()).await.unwrap().unwrap();
    assert_eq!((&waiting.effect, waiting.due, waiting.attempts, waiting.why.as_str()), (&sent, due, 0, "503"));
    assert_eq!(waiting.doubtful_since, None);
    for (effect, customer) in [("nothing", "anna"), (sent.id.as_str(), "bert")] {
        assert_eq!(store.waiting(effect.to_owned(), customer.to_owned()).await.unwrap(), None);
    }
    assert!(store.claim_effects(9).await.unwrap().is_empty());
    assert!(store.hasten(sent.id.clone(), anna.clone()).await.unwrap());
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    begin_claimed(&store, &delivery).await;
    put_back(&store, &delivery, due, "503", false).await;
    assert!(!store.drop_effect(sent.id.clone(), bert.clone(), "no".to_owned()).await.unwrap(), "it is not his");
    assert!(store.drop_effect(sent.id.clone(), anna.clone(), "not wanted any more".to_owned()).await.unwrap());
    assert!(!store.drop_effect(sent.id.clone(), anna.clone(), "twice".to_owned()).await.unwrap());
    assert!(!store.hasten(sent.id.clone(), anna.clone()).await.unwrap());
    let claim = claim_one(&store).await;
    let body = &claim.inputs[0].input.body;
    let told = Outcome::Refused { why: "not wanted any more".to_owned() };
    assert!(matches!(body, InputBody::Result { effect, outcome } if *effect == sent.id && *outcome == told), "{body:?}");
    commit(&store, turn(&claim)).await;

    // What may have happened is not said to be refused.
    let doubtful = with_claimed_effect(&store, "bert").await;
    begin(&store, &doubtful).await;
    let retry = Retry { effect: doubtful.id.clone(), ticket: 0, due, why: "lost".to_owned(), ambiguous: true };
    store.retry(retry).await.unwrap();
    let waiting = store.waiting(doubtful.id.clone(), bert.clone()).await.unwrap().unwrap();
    assert_eq!((waiting.doubtful_since, waiting.attempts), (Some(store.now()), 1));
    assert!(store.drop_effect(doubtful.id.clone(), bert, "enough".to_owned()).await.unwrap());
    let claim = claim_one(&store).await;
    let body = &claim.inputs[0].input.body;
    assert!(matches!(body, InputBody::Result { outcome: Outcome::Unknown { .. }, .. }), "{body:?}");
    assert!(store.outbox(9).await.unwrap().is_empty());
}
