//! The outbox.

use super::*;

pub async fn a_commit_is_void_when_its_effect_was_settled(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    let claim = take(&store, "anna").await;
    let settling = Commit { settled: Some(effect.id.clone()), ..turn(&claim) };
    assert_eq!(commit(&store, settling).await, Committed::Done);
    assert_eq!(begin(&store, &effect).await, Begin::Gone);
    let claim = take(&store, "anna").await;
    let again = Commit { settled: Some(effect.id.clone()), wake: Some(Time(START)), ..turn(&claim) };
    assert_eq!(commit(&store, again).await, Committed::Conflict);
    let record = store.record("anna".to_owned()).await.unwrap().unwrap();
    assert_eq!(record.version, 2);
    assert!(claimed(&store).await.is_empty(), "the void commit set no wake");
    assert_eq!(store.counts().await.unwrap().outbox, 0);
}

pub async fn a_settled_effect_is_answered_once(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    assert_eq!(begin(&store, &effect).await, Begin::Go { attempt: 1 });
    for _ in 0..2 {
        store.settle(effect.id.clone(), "anna".to_owned(), accepted()).await.unwrap();
    }
    let claim = claim_one(&store).await;
    assert_eq!(claim.inputs.len(), 1);
    assert_eq!(claim.inputs[0].input.body, InputBody::Result { effect: effect.id.clone(), outcome: accepted() });
    assert!(store.outbox(9).await.unwrap().is_empty());
    assert_eq!(begin(&store, &effect).await, Begin::Gone);
}

pub async fn only_what_has_not_begun_can_be_withdrawn(stand: &dyn Stand) {
    let store = open(stand);
    let all: Vec<Effect> = (1..=3).map(|n| effect("anna", n)).collect();
    make_with(&store, "anna", |first| (first.effects, first.hand_over) = (all.clone(), true)).await;
    assert_eq!(begin(&store, &all[0]).await, Begin::Go { attempt: 1 });
    let claim = take(&store, "anna").await;
    let withdrawn = vec![all[0].id.clone(), all[1].id.clone(), "unknown".to_owned()];
    assert_eq!(commit(&store, Commit { withdrawn, ..turn(&claim) }).await, Committed::Done);
    assert_eq!(begin(&store, &all[1]).await, Begin::Gone);
    assert_eq!(begin(&store, &all[2]).await, Begin::Go { attempt: 1 });
    let left: Vec<String> = store.outbox(9).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(left, [all[0].id.clone(), all[2].id.clone()]);
}

pub async fn effects_are_handed_out_once_and_when_due(stand: &dyn Stand) {
    let store = open(stand);
    let effects: Vec<Effect> = (1..=5).map(|n| effect("anna", n)).collect();
    make_with(&store, "anna", |first| first.effects = effects.clone()).await;
    let first = store.claim_effects(2).await.unwrap();
    let rest = store.claim_effects(99).await.unwrap();
    let ids: Vec<&Effect> = first.iter().chain(&rest).map(|delivery| &delivery.effect).collect();
    assert_eq!((first.len(), ids), (2, effects.iter().collect()));
    assert!(first.iter().all(|delivery| delivery.attempts == 0 && !delivery.ambiguous && delivery.body_digest.is_none()));
    assert!(store.claim_effects(99).await.unwrap().is_empty());
    begin_claimed(&store, &first[0]).await;
    let due = Time(START + 60_000);
    put_back(&store, &first[0], due, "busy", false).await;
    assert!(store.claim_effects(99).await.unwrap().is_empty(), "not due yet");
    stand.clock().pass(59_999);
    let prompt = with_effect(&store, "bert").await;
    let due_now: Vec<Effect> = store.claim_effects(99).await.unwrap().into_iter().map(|delivery| delivery.effect).collect();
    assert_eq!(due_now, [prompt], "the other one is not due yet");
    stand.clock().pass(1);
    let again = store.claim_effects(99).await.unwrap();
    assert_eq!((again.len(), again[0].attempts, again[0].ambiguous), (1, 1, false));
    assert_eq!(store.outbox(1).await.unwrap().len(), 1);
    let rows = store.outbox(9).await.unwrap();
    assert_eq!(rows.len(), 6);
    assert!(rows.is_sorted_by_key(|row| row.due), "{rows:?}");
    let row = rows.iter().find(|row| row.id == effects[1].id).unwrap();
    assert!((row.customer.as_str(), row.attempts, row.why.as_str()) == ("anna", 0, "") && row.due <= store.now(), "{row:?}");
    let last = rows.last().unwrap().clone();
    assert_eq!((last.id, last.due, last.attempts, last.why.as_str()), (effects[0].id.clone(), due, 1, "busy"));
}

pub async fn a_handed_over_effect_is_its_committers_until_a_restart(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    stand.clock().pass(DAY_MS);
    assert!(store.claim_effects(9).await.unwrap().is_empty());
    store.close().await;
    drop(store);
    let store = open(stand);
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!((delivery.effect, delivery.ambiguous), (effect, false));
}

pub async fn begin_has_five_answers(stand: &dyn Stand) {
    let store = open(stand);
    let unknown = effect("nobody", 1);
    assert_eq!(begin(&store, &unknown).await, Begin::Gone);
    let go = with_claimed_effect(&store, "anna").await;
    assert_eq!(begin(&store, &go).await, Begin::Go { attempt: 1 });

    // Shelf life: its last instant still counts.
    let until = Effect { valid_until: Some(Time(START)), ..effect("bert", 1) };
    let late = Effect { valid_until: Some(Time(START)), ..effect("bert", 2) };
    make_with(&store, "bert", |first| (first.effects, first.hand_over) = (vec![until.clone(), late.clone()], true)).await;
    assert_eq!(begin(&store, &until).await, Begin::Go { attempt: 1 });
    stand.clock().pass(1);
    assert_eq!(begin(&store, &late).await, Begin::Stale);
    assert_eq!(begin(&store, &late).await, Begin::Gone);
    let claim = claim_one(&store).await;
    assert!(matches!(&claim.inputs[0].input.body, InputBody::Stale { effect, .. } if *effect == late.id), "{claim:?}");
    commit(&store, turn(&claim)).await;

    // Another gate.
    let old = effect("carl", 1);
    make_with(&store, "carl", |first| (first.effects, first.hand_over, first.gate) = (vec![old.clone()], true, 3)).await;
    assert_eq!(begin(&store, &old).await, Begin::Stale);

    // Unread inputs.
    let early = with_claimed_effect(&store, "dora").await;
    accept(&store, vec![event("dora", "1")]).await;
    assert_eq!(begin(&store, &early).await, Begin::TurnFirst);
}

pub async fn begin_goes_on_again_after_the_turn(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    accept(&store, vec![event("anna", "1")]).await;
    assert_eq!(begin(&store, &effect).await, Begin::TurnFirst);
    assert!(store.claim_effects(9).await.unwrap().is_empty(), "it steps back for a moment");
    stand.clock().pass(1_000);
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    let claim = claim_one(&store).await;
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::TurnFirst, "her input is read but not consumed");
    commit(&store, turn(&claim)).await;
    stand.clock().pass(1_000);
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!((delivery.effect.id.as_str(), delivery.attempts, delivery.ambiguous), (effect.id.as_str(), 0, false));
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::Go { attempt: 1 });
}

pub async fn a_hand_out_has_one_attempt(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    for _ in 0..3 {
        assert_eq!(begin(&store, &effect).await, Begin::Go { attempt: 1 }, "the answer to the first time was lost");
    }
    let retry = Retry { effect: effect.id.clone(), ticket: 0, due: Time(START), why: String::new(), ambiguous: false };
    store.retry(retry).await.unwrap();
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::Go { attempt: 2 });
    assert_eq!(store.outbox(9).await.unwrap()[0].attempts, 2);
}

/// What was handed out again is not for who had it before, who may be the same worker.
pub async fn an_earlier_hand_out_can_do_nothing(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    begin(&store, &effect).await;
    let late = Retry { effect: effect.id.clone(), ticket: 0, due: Time(START), why: "first".to_owned(), ambiguous: false };
    store.retry(late.clone()).await.unwrap();
    assert_eq!(begin(&store, &effect).await, Begin::Gone, "it waits");
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!(begin(&store, &effect).await, Begin::Gone, "it is another's now");
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::Go { attempt: 2 });
    store.retry(late).await.unwrap();
    assert!(store.claim_effects(9).await.unwrap().is_empty(), "it is being sent");
    put_back(&store, &delivery, Time(START), "second", true).await;
    assert_eq!(store.outbox(9).await.unwrap()[0].why, "second");
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!((delivery.attempts, delivery.ambiguous), (2, true));
}

/// The answer `Go` was lost, an input came, and the same call is made again.
pub async fn what_steps_back_before_its_call_has_not_begun(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    assert_eq!(begin(&store, &effect).await, Begin::Go { attempt: 1 });
    accept(&store, vec![event("anna", "1")]).await;
    assert_eq!(begin(&store, &effect).await, Begin::TurnFirst);
    drop(store);
    let store = open(stand);
    stand.clock().pass(1_000);
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!((delivery.effect.id.as_str(), delivery.ambiguous), (effect.id.as_str(), false), "no byte was written");
}

/// A process died inside a call; the next one is told that the turn goes first, and dies as well.
pub async fn what_steps_back_keeps_an_earlier_doubt(stand: &dyn Stand) {
    let mut store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    stand.clock().pass(500);
    assert_eq!(begin(&store, &effect).await, Begin::Go { attempt: 1 });
    for round in 0..3 {
        drop(store);
        stand.clock().pass(1_000);
        store = open(stand);
        let delivery = store.claim_effects(9).await.unwrap().remove(0);
        assert_eq!((delivery.ambiguous, delivery.ambiguous_since), (true, Some(Time(START + 500))), "round {round}");
        accept(&store, vec![event("anna", &round.to_string())]).await;
        assert_eq!(begin_claimed(&store, &delivery).await, Begin::TurnFirst);
    }
}

pub async fn a_withdrawal_raises_the_gate_in_the_accept(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    accept(&store, vec![event("anna", "0")]).await;
    assert_eq!(store.record("anna".to_owned()).await.unwrap().unwrap().gate, 0);
    accept(&store, vec![withdrawal("anna")]).await;
    assert_eq!(store.record("anna".to_owned()).await.unwrap().unwrap().gate, 1);
    // A turn that read her before the withdrawal cannot lower it, and its effects are stale.
    let claim = claim_one(&store).await;
    assert_eq!(claim.record.gate, 1);
    commit(&store, Commit { gate: 0, ..turn(&claim) }).await;
    stand.clock().pass(1_000);
    assert_eq!(begin(&store, &effect).await, Begin::Stale);
    let erase = NewInput { body: InputBody::Erase, id: None, ..event("anna", "") };
    accept(&store, vec![erase]).await;
    assert_eq!(store.record("anna".to_owned()).await.unwrap().unwrap().gate, 2);
    let granted =
        ConsentChange { channel: "sms".to_owned(), topic: None, granted: true, source: "api".to_owned(), time: Time(START) };
    let yes = InputBody::Profile(ProfileChange { consent: vec![granted], ..ProfileChange::default() });
    accept(&store, vec![NewInput { body: yes, ..withdrawal("anna") }]).await;
    assert_eq!(store.record("anna".to_owned()).await.unwrap().unwrap().gate, 2, "a yes takes nothing away");
}

pub async fn the_gate_never_goes_down(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.gate = 5).await;
    for (gate, kept) in [(3, 5), (5, 5), (6, 6)] {
        let claim = take(&store, "anna").await;
        commit(&store, Commit { gate, ..turn(&claim) }).await;
        assert_eq!(take(&store, "anna").await.record.gate, kept);
        store.release(vec!["anna".to_owned()]).await.unwrap();
    }
}

pub async fn what_was_being_sent_is_ambiguous_after_a_restart(stand: &dyn Stand) {
    let store = open(stand);
    let (sent, resting) = (with_claimed_effect(&store, "anna").await, with_effect(&store, "bert").await);
    stand.clock().pass(500);
    begin(&store, &sent).await;
    drop(store);
    stand.clock().pass(500);
    let store = open(stand);
    let mut deliveries = store.claim_effects(9).await.unwrap();
    deliveries.sort_by(|a, b| a.effect.id.cmp(&b.effect.id));
    assert_eq!(deliveries.len(), 2);
    assert_eq!((&deliveries[0].effect, deliveries[0].attempts, deliveries[0].ambiguous), (&sent, 1, true));
    assert_eq!(deliveries[0].ambiguous_since, Some(Time(START + 500)));
    assert_eq!((&deliveries[1].effect, deliveries[1].ambiguous, deliveries[1].ambiguous_since), (&resting, false, None));
}

/// The limits of a provider put an effect back before anything begins.
pub async fn what_was_being_sent_stays_ambiguous_when_it_is_put_back_unbegun(stand: &dyn Stand) {
    let store = open(stand);
    let sent = with_claimed_effect(&store, "anna").await;
    stand.clock().pass(500);
    begin(&store, &sent).await;
    drop(store);
    stand.clock().pass(500);
    let store = open(stand);
    for round in 0..3 {
        let delivery = store.claim_effects(9).await.unwrap().remove(0);
        let told = (delivery.attempts, delivery.ambiguous, delivery.ambiguous_since);
        assert_eq!(told, (1, true, Some(Time(START + 500))), "round {round}");
        put_back(&store, &delivery, store.now(), "its provider takes no more", false).await;
    }
    accept(&store, vec![withdrawal("anna")]).await;
    let claim = claim_one(&store).await;
    commit(&store, Commit { gate: claim.record.gate, ..turn(&claim) }).await;
    stand.clock().pass(1_000);
    let delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert_eq!(begin_claimed(&store, &delivery).await, Begin::Stale);
    let claim = claim_one(&store).await;
    let body = &claim.inputs[0].input.body;
    assert!(matches!(body, InputBody::Result { outcome: Outcome::Unknown { .. }, .. }), "{body:?}");
}

pub async fn what_may_have_happened_is_not_decided_anew(stand: &dyn Stand) {
    let store = open(stand);
    for (customer, ambiguous) in [("anna", true), ("bert", false)] {
        let sent = with_claimed_effect(&store, customer).await;
        begin(&store, &sent).await;
        let retry = Retry { effect: sent.id.clone(), ticket: 0, due: store.now(), why: "lost".to_owned(), ambiguous };
        store.retry(retry).await.unwrap();
        accept(&store, vec![withdrawal(customer)]).await;
        let claim = claim_one(&store).await;
        commit(&store, Commit { gate: claim.record.gate, ..turn(&claim) }).await;
        stand.clock().pass(1_000);
        let delivery = store.claim_effects(9).await.unwrap().remove(0);
        assert_eq!(begin_claimed(&store, &delivery).await, Begin::Stale);
        let claim = claim_one(&store).await;
        match &claim.inputs[0].input.body {
            InputBody::Result { effect, outcome: Outcome::Unknown { .. } } => assert!(ambiguous && *effect == sent.id),
            InputBody::Stale { effect, .. } => assert!(!ambiguous && *effect == sent.id),
            other => panic!("{other:?}"),
        }
        commit(&store, turn(&claim)).await;
    }
}

pub async fn an_ambiguous_retry_keeps_its_first_instant(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_claimed_effect(&store, "anna").await;
    begin(&store, &effect).await;
    let retry = Retry { effect: effect.id.clone(), ticket: 0, due: Time(START), why: "lost".to_owned(), ambiguous: false };
    store.retry(retry).await.unwrap();
    let mut delivery = store.claim_effects(9).await.unwrap().remove(0);
    assert!(!delivery.ambiguous, "no byte was written");
    stand.clock().pass(100);
    for (round, ambiguous) in [(0, true), (1, true), (2, false)] {
        begin_claimed(&store, &delivery).await;
        stand.clock().pass(100);
        put_back(&store, &delivery, Time(START), "lost", ambiguous).await;
        delivery = store.claim_effects(9).await.unwrap().remove(0);
        assert_eq!((delivery.ambiguous, delivery.ambiguous_since), (true, Some(Time(START + 100))), "round {round}");
    }
}

pub async fn the_first_body_digest_is_kept(stand: &dyn Stand) {
    let store = open(stand);
    let effect = with_effect(&store, "anna").await;
    let mut delivery = store.claim_effects(1).await.unwrap().remove(0);
    for digest in [vec![1, 2], vec![3, 4]] {
        let begun = store.begin(effect.id.clone(), delivery.ticket, digest).await.unwrap();
        assert!(matches!(begun, Begin::Go { .. }));
        put_back(&store, &delivery, Time(START), "", false).await;
        delivery = store.claim_effects(1).await.unwrap().remove(0);
        assert_eq!(delivery.body_digest, Some(vec![1, 2]));
    }
}
