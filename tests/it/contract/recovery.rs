//! Restarts, crashes, faults.

use super::*;

pub async fn a_restart_hands_everything_out_anew(stand: &dyn Stand) {
    let store = open(stand);
    for clean in [true, false] {
        let name = |who: &str| format!("{who} {clean}");
        make_with(&store, &name("wake"), |first| first.wake = Some(Time(START))).await;
        make_with(&store, &name("effect"), |first| first.effects = vec![effect(&name("effect"), 1)]).await;
        accept(&store, vec![event(&name("input"), "1")]).await;
    }
    let mut store = Some(store);
    for clean in [true, false] {
        let used = store.take().unwrap_or_else(|| open(stand));
        assert_eq!(claimed(&used).await.len(), 4);
        assert!(claimed(&used).await.is_empty());
        assert_eq!(used.claim_effects(9).await.unwrap().len(), 2);
        if clean {
            used.close().await;
        }
    }
    let last = open(stand);
    assert_eq!(claimed(&last).await.len(), 4);
    assert_eq!(last.claim_effects(9).await.unwrap().len(), 2);
}

pub async fn a_faulty_input_is_put_aside_after_three_faults(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, vec![event("anna", "bad"), event("anna", "good"), event("bert", "1")]).await;
    let mut bad = 0;
    for round in 1..=QUARANTINE_AFTER {
        let claims = store.claim(64).await.unwrap();
        let anna = claims.iter().find(|claim| claim.customer == "anna").expect("she comes back until it is put aside");
        if round > 1 {
            assert_eq!((claims.len(), anna.inputs.len()), (1, 1), "what has crashed is handed out alone");
        }
        bad = anna.inputs[0].seq;
        store.fault("anna".to_owned(), Some(bad), format!("panic {round}")).await.unwrap();
    }
    let rows = store.quarantine(9).await.unwrap();
    assert_eq!((rows.len(), rows[0].customer.as_str(), rows[0].cause.as_str()), (1, "anna", "panic 3"));
    assert!(rows[0].input.contains("\"bad\""), "{}", rows[0].input);
    let rest = claim_one(&store).await;
    assert_eq!((rest.customer.as_str(), rest.inputs.len()), ("anna", 1));
    assert!(rest.inputs[0].seq > bad);
    assert_eq!(store.counts().await.unwrap().quarantined, 1);
    commit(&store, turn(&rest)).await;
    drop(store);
    assert_eq!(claimed(&open(stand)).await, ["bert"]);
}

/// Her wake's turn failed; what came meanwhile has nothing to do with it.
pub async fn a_fault_without_inputs_blames_none_that_came_meanwhile(stand: &dyn Stand) {
    let store = open(stand);
    make(&store, "anna").await;
    for round in 0..QUARANTINE_AFTER {
        take(&store, "anna").await;
        accept(&store, vec![event("anna", &format!("{round} 1")), event("anna", &format!("{round} 2"))]).await;
        store.fault("anna".to_owned(), None, "panic".to_owned()).await.unwrap();
        let claim = claim_one(&store).await;
        assert_eq!(claim.inputs.len(), 2, "what has crashed would be handed out alone");
        commit(&store, turn(&claim)).await;
    }
}

/// Who had her first goes on, slowly, while others have trouble with one of her inputs.
pub async fn what_was_put_aside_is_not_consumed_as_well(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, vec![event("anna", "bad"), event("anna", "good")]).await;
    let slow = claim_one(&store).await;
    let (bad, good) = (slow.inputs[0].seq, slow.inputs[1].seq);
    for round in 1..=QUARANTINE_AFTER {
        store.fault("anna".to_owned(), Some(bad), "panic".to_owned()).await.unwrap();
        let claim = claim_one(&store).await;
        assert_eq!(claim.inputs[0].seq, if round < QUARANTINE_AFTER { bad } else { good });
    }
    assert_eq!(store.quarantine(9).await.unwrap().len(), 1);
    assert_eq!(commit(&store, turn(&slow)).await, Committed::Conflict);
    let claim = claim_one(&store).await;
    assert_eq!((claim.record.version, claim.inputs.len(), claim.inputs[0].seq), (0, 1, good));
    assert_eq!(commit(&store, turn(&claim)).await, Committed::Done);
    assert_eq!(store.counts().await.unwrap().inbox, 0);
}

pub async fn an_input_that_ends_the_process_is_put_aside(stand: &dyn Stand) {
    let mut store = in_hand_at_two_ends(stand).await;
    // anna's input ends the process whenever it runs. The others are done before her turn comes again.
    let mut ends = 2;
    while store.quarantine(9).await.unwrap().is_empty() {
        assert!(ends < 9, "the input that ends the process is never put aside");
        let mut ended = false;
        while let Some(claim) = alone(&store).await {
            accept(&store, vec![event("dora", &format!("{ends} {}", claim.customer))]).await;
            let others = store.claim(64).await.unwrap();
            assert_eq!(others.iter().map(|claim| claim.customer.as_str()).collect::<Vec<_>>(), ["dora"], "one suspect at a time");
            commit(&store, turn(&others[0])).await;
            if claim.customer == "anna" {
                ended = true;
                break;
            }
            assert_eq!(commit(&store, turn(&claim)).await, Committed::Done);
        }
        // A store may put it aside when it opens or when it would hand it out again.
        if !ended {
            assert!(!store.quarantine(9).await.unwrap().is_empty(), "she is neither put aside nor handed out");
            break;
        }
        ends += 1;
        drop(store);
        store = open(stand);
    }
    assert_eq!(ends, 1 + QUARANTINE_AFTER as usize);
    let rows = store.quarantine(9).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].customer.as_str(), rows[0].cause.as_str()), ("anna", "the process ended while handling it (3 times)"));
    assert!(claimed(&store).await.is_empty(), "everything else is done");
}

pub async fn what_was_merely_in_hand_outlives_many_ends(stand: &dyn Stand) {
    let mut store = in_hand_at_two_ends(stand).await;
    // Whatever ends the process now, it is none of the three: the one with the fewest ends is next.
    let mut order = Vec::new();
    for ends in 3..=2 * SUSPECTS.len() {
        assert!(store.quarantine(9).await.unwrap().is_empty(), "before end {ends}");
        order.push(alone(&store).await.expect("they are not done").customer);
        drop(store);
        store = open(stand);
    }
    assert_eq!(order, ["anna", "bert", "carl", "anna"]);
    for customer in ["bert", "carl"] {
        let claim = alone(&store).await.expect("two are left");
        assert_eq!(claim.customer, customer);
        assert_eq!(commit(&store, turn(&claim)).await, Committed::Done);
    }
    assert_eq!(store.quarantine(9).await.unwrap().len(), 1, "anna, who was there at three ends");
    assert!(claimed(&store).await.is_empty());
}

const SUSPECTS: [&str; 3] = ["anna", "bert", "carl"];

/// Three customers whose inputs were in hand when a process ended, and when the next one did.
async fn in_hand_at_two_ends(stand: &dyn Stand) -> Arc<dyn Store> {
    let store = open(stand);
    accept(&store, SUSPECTS.map(|customer| event(customer, "1")).into()).await;
    assert_eq!(claimed(&store).await.len(), 3);
    drop(store);
    // The first time nobody knows which it was: all are counted, and handed out together.
    let store = open(stand);
    assert_eq!(claimed(&store).await.len(), 3);
    drop(store);
    open(stand)
}

/// The suspect that is handed out next: by itself.
async fn alone(store: &Arc<dyn Store>) -> Option<Claim> {
    let mut claims = store.claim(64).await.unwrap();
    assert!(claims.len() <= 1 && claims.iter().all(|claim| claim.inputs.len() == 1), "one suspect at a time");
    claims.pop()
}

pub async fn what_was_put_aside_can_be_tried_again_or_dropped(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, vec![event("anna", "bad"), event("anna", "worse"), withdrawal("anna"), event("bert", "bad")]).await;
    // Everything fails three times; the inputs of one customer in their order.
    while store.quarantine(9).await.unwrap().len() < 4 {
        for claim in store.claim(64).await.unwrap() {
            store.fault(claim.customer, Some(claim.inputs[0].seq), "panic".to_owned()).await.unwrap();
        }
    }
    let list = async |store: &Arc<dyn Store>| store.quarantine(9).await.unwrap();
    let hers: Vec<u64> = list(&store).await.iter().filter(|row| row.customer == "anna").map(|row| row.seq).collect();
    assert!(hers.len() == 3 && hers[0] > hers[1] && hers[1] > hers[2], "newest first, each with a number of its own");
    let decide = async |store: &Arc<dyn Store>, who: &str, seq: u64, fate: Fate| {
        store.unquarantine(who.to_owned(), seq, fate).await.unwrap()
    };
    assert!(!decide(&store, "bert", hers[0], Fate::Drop).await, "a number counts with its customer");
    assert!(!decide(&store, "nobody", 1, Fate::Retry).await);
    assert!(decide(&store, "anna", hers[1], Fate::Drop).await);
    accept(&store, vec![event("anna", "new")]).await;
    stand.clock().pass(1_000);
    // In the order in which they are put back, behind what has come since.
    assert!(decide(&store, "anna", hers[0], Fate::Retry).await && decide(&store, "anna", hers[2], Fate::Retry).await);
    for seq in &hers {
        assert!(!decide(&store, "anna", *seq, Fate::Retry).await && !decide(&store, "anna", *seq, Fate::Drop).await, "once");
    }
    assert_eq!(list(&store).await.iter().map(|row| row.customer.as_str()).collect::<Vec<_>>(), ["bert"]);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.quarantined, counts.inbox), (1, 3));
    store.close().await;
    let store = open(stand);
    let claim = claim_one(&store).await;
    let bodies: Vec<InputBody> = claim.inputs.iter().map(|queued| queued.input.body.clone()).collect();
    assert_eq!(bodies, [event("anna", "new").body, withdrawal("anna").body, event("anna", "bad").body]);
    assert_eq!(claim.inputs[0].input.accepted_at, Time(START));
    assert!(claim.inputs[1..].iter().all(|queued| queued.input.accepted_at == Time(START + 1_000)), "accepted anew");
    assert_eq!(commit(&store, turn(&claim)).await, Committed::Done);
    // It counts as known all the same, and nothing is counted against it.
    assert_eq!(accept(&store, vec![event("anna", "bad")]).await, [Accepted::Duplicate]);
    assert!(claimed(&store).await.is_empty());
    assert_eq!(list(&store).await.len(), 1);
}

pub async fn every_kind_of_input_can_be_put_back(stand: &dyn Stand) {
    let store = open(stand);
    let bodies = super::inbox::every_kind_of_body();
    for (n, body) in bodies.iter().enumerate() {
        let input = NewInput { id: None, body: body.clone(), ..event(&format!("c{n:02}"), "1") };
        accept(&store, vec![input]).await;
    }
    while store.quarantine(99).await.unwrap().len() < bodies.len() {
        for claim in store.claim(64).await.unwrap() {
            store.fault(claim.customer, None, "panic".to_owned()).await.unwrap();
        }
    }
    for row in store.quarantine(99).await.unwrap() {
        assert!(store.unquarantine(row.customer, row.seq, Fate::Retry).await.unwrap());
    }
    let mut claims = store.claim(64).await.unwrap();
    claims.sort_by(|a, b| a.customer.cmp(&b.customer));
    let back: Vec<InputBody> = claims.into_iter().flat_map(|claim| claim.inputs).map(|queued| queued.input.body).collect();
    assert_eq!(back, bodies);
}

pub async fn a_wake_that_failed_only_leaves_the_list(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.wake = Some(Time(START))).await;
    for _ in 0..QUARANTINE_AFTER {
        assert_eq!(claimed(&store).await, ["anna"]);
        store.fault("anna".to_owned(), None, "panic".to_owned()).await.unwrap();
        stand.clock().pass(10 * 60_000);
    }
    let row = store.quarantine(9).await.unwrap().remove(0);
    assert!(store.unquarantine(row.customer, row.seq, Fate::Retry).await.unwrap());
    assert!(store.quarantine(9).await.unwrap().is_empty());
    let claim = claim_one(&store).await;
    assert_eq!((claim.customer.as_str(), claim.inputs.len()), ("anna", 0), "her wake is due as it was");
}

pub async fn a_clean_close_leaves_no_suspects(stand: &dyn Stand) {
    for _ in 0..QUARANTINE_AFTER + 2 {
        let store = open(stand);
        accept(&store, vec![event("anna", "1"), event("bert", "1")]).await;
        assert_eq!(claimed(&store).await.len(), 2);
        store.close().await;
    }
    let store = open(stand);
    assert_eq!(claimed(&store).await.len(), 2);
    drop(store);
    // Handed out after an unclean end, given back each time: no count remains.
    for _ in 0..QUARANTINE_AFTER + 2 {
        let store = open(stand);
        let who = claimed(&store).await;
        assert_eq!(who.len(), 2);
        store.release(who).await.unwrap();
        drop(store);
    }
    assert!(open(stand).quarantine(9).await.unwrap().is_empty());
}

pub async fn a_fault_without_inputs_puts_the_wake_off(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.wake = Some(Time(START))).await;
    for _ in 0..QUARANTINE_AFTER {
        assert_eq!(claimed(&store).await, ["anna"]);
        store.fault("anna".to_owned(), None, "panic".to_owned()).await.unwrap();
        assert!(claimed(&store).await.is_empty(), "it does not run hot");
        stand.clock().pass(10 * 60_000);
    }
    assert_eq!(store.quarantine(9).await.unwrap()[0].cause, "panic");
    assert_eq!(claimed(&store).await, ["anna"], "the wake is never lost");
}
