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

pub async fn an_input_that_ends_the_process_is_put_aside(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, ["anna", "bert", "carl"].map(|customer| event(customer, "1")).into()).await;
    assert_eq!(claimed(&store).await.len(), 3);
    drop(store);
    // The first time nobody knows which it was: all are counted, and handed out together.
    let store = open(stand);
    assert_eq!(claimed(&store).await.len(), 3);
    drop(store);
    // From then on one by one; anna is the one that ends the process.
    for _ in 1..QUARANTINE_AFTER {
        let store = open(stand);
        accept(&store, vec![event("dora", "1")]).await;
        let alone = store.claim(64).await.unwrap();
        assert_eq!((alone.len(), alone[0].customer.as_str(), alone[0].inputs.len()), (1, "anna", 1));
        for claim in store.claim(64).await.unwrap() {
            assert_ne!(claim.customer, "bert", "one suspect at a time");
        }
        drop(store);
    }
    let store = open(stand);
    let rows = store.quarantine(9).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].customer.as_str(), rows[0].cause.as_str()), ("anna", "the process ended while handling it (3 times)"));
    let mut rest = Vec::new();
    while let Some(claim) = store.claim(64).await.unwrap().pop() {
        commit(&store, turn(&claim)).await;
        rest.push(claim.customer);
    }
    rest.sort();
    assert_eq!(rest, ["bert", "carl", "dora"], "everything else is done");
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
