//! Commits and wakes.

use super::*;

pub async fn a_commit_moves_the_version_by_one(stand: &dyn Stand) {
    let store = open(stand);
    for version in 0..3 {
        let claim = take(&store, "anna").await;
        assert_eq!(claim.record.version, version);
        assert_eq!(commit(&store, turn(&claim)).await, Committed::Done);
    }
    drop(store);
    let record = open(stand).record("anna".to_owned()).await.unwrap().unwrap();
    assert_eq!((record.version, record.document.as_slice()), (3, b"document 3".as_slice()));
}

pub async fn a_commit_on_an_old_version_changes_nothing(stand: &dyn Stand) {
    let store = open(stand);
    make(&store, "anna").await;
    let claim = take(&store, "anna").await;
    assert_eq!(commit(&store, turn(&claim)).await, Committed::Done);
    accept(&store, vec![event("anna", "1")]).await;
    let seq = claim_one(&store).await.inputs[0].seq;
    let stale = Commit {
        consumed: vec![seq],
        effects: vec![effect("anna", 1)],
        facts: vec![fact(What::Entered, START, None)],
        runs: vec![run_row("anna", 1, "welcome", "v1", "waiting", START)],
        wake: Some(Time(START)),
        gate: 9,
        index: CustomerRow { id: "anna".to_owned(), segments: vec!["vip".to_owned()], ..CustomerRow::default() },
        ..turn(&claim)
    };
    for base in [0, 1, 3] {
        assert_eq!(commit(&store, Commit { base, ..stale.clone() }).await, Committed::Conflict, "base {base}");
        let claim = claim_one(&store).await;
        assert_eq!((claim.record.version, claim.inputs.len(), claim.record.gate), (2, 1, 0));
    }
    assert!(store.claim_effects(9).await.unwrap().is_empty());
    assert!(store.timeline("anna".to_owned(), None, 9).await.unwrap().is_empty());
    let counts = store.counts().await.unwrap();
    assert!(counts.live_runs.is_empty() && counts.segments.is_empty() && counts.outbox == 0 && counts.inbox == 1, "{counts:?}");
}

pub async fn the_account_stays_until_it_moves(stand: &dyn Stand) {
    let store = open(stand);
    make(&store, "anna").await;
    for (account, kept) in [(None, b"".as_slice()), (Some(b"10 points".to_vec()), b"10 points"), (None, b"10 points")] {
        let claim = take(&store, "anna").await;
        commit(&store, Commit { account, ..turn(&claim) }).await;
        assert_eq!(store.record("anna".to_owned()).await.unwrap().unwrap().account, kept);
    }
    // The same for one whose effect is on its way.
    for (n, account, kept) in [(1, None, b"10 points"), (2, Some(b"20 points".to_vec()), b"20 points"), (3, None, b"20 points")] {
        let claim = take(&store, "anna").await;
        commit(&store, Commit { account, effects: vec![effect("anna", n)], hand_over: true, ..turn(&claim) }).await;
        let claim = take(&store, "anna").await;
        assert_eq!((claim.record.account.as_slice(), claim.record.version), (kept.as_slice(), u64::from(4 + 2 * n - 1)));
        commit(&store, turn(&claim)).await;
    }
}

pub async fn only_consumed_inputs_leave_the_inbox(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, (0..3).map(|n| event("anna", &n.to_string())).collect()).await;
    let claim = claim_one(&store).await;
    let kept = claim.inputs[1].seq;
    let consumed = vec![claim.inputs[0].seq, claim.inputs[2].seq];
    commit(&store, Commit { consumed, ..turn(&claim) }).await;
    let rest = claim_one(&store).await;
    assert_eq!(rest.inputs.iter().map(|queued| queued.seq).collect::<Vec<_>>(), [kept]);
    drop(store);
    assert_eq!(claim_one(&open(stand)).await.inputs[0].seq, kept);
}

pub async fn one_conflict_does_not_stop_another_commit(stand: &dyn Stand) {
    let store = open(stand);
    let (anna, bert) = (take(&store, "anna").await, take(&store, "bert").await);
    let commits = vec![Commit { base: 5, ..turn(&anna) }, turn(&bert)];
    assert_eq!(store.commit(commits).await.unwrap(), [Committed::Conflict, Committed::Done]);
    assert!(store.record("anna".to_owned()).await.unwrap().is_none());
    assert!(store.record("bert".to_owned()).await.unwrap().is_some());
    // Both are free again.
    take(&store, "anna").await;
    let bert = take(&store, "bert").await;
    let twice = store.commit(vec![turn(&bert), turn(&bert)]).await.unwrap();
    assert_eq!(twice, [Committed::Done, Committed::Conflict], "the second one finds the first one's version");
}

pub async fn wakes_come_in_order_and_before_inputs(stand: &dyn Stand) {
    let store = open(stand);
    for (customer, after) in [("late", 30), ("soon", 10), ("next", 20), ("never", 99)] {
        make_with(&store, customer, |first| first.wake = Some(Time(START + after))).await;
    }
    stand.clock().pass(9);
    assert!(claimed(&store).await.is_empty(), "never early");
    stand.clock().pass(1);
    let claim = claim_one(&store).await;
    assert_eq!(claim.customer, "soon");
    store.release(vec![claim.customer]).await.unwrap();
    accept(&store, vec![event("input", "1"), event("late", "1")]).await;
    stand.clock().pass(20);
    let first = store.claim(2).await.unwrap();
    assert_eq!(first.iter().map(|claim| claim.customer.as_str()).collect::<Vec<_>>(), ["soon", "next"]);
    assert!(first.iter().all(|claim| claim.inputs.is_empty()));
    let rest = store.claim(9).await.unwrap();
    assert_eq!(rest.iter().map(|claim| claim.customer.as_str()).collect::<Vec<_>>(), ["late", "input"]);
    assert_eq!(rest[0].inputs.len(), 1, "her inputs come with her wake");
    assert!(claimed(&store).await.is_empty());
}

pub async fn many_wakes_of_one_instant_are_each_claimed_once(stand: &dyn Stand) {
    let store = open(stand);
    for n in 0..40 {
        make_with(&store, &format!("c{n:02}"), |first| first.wake = Some(Time(START + 10))).await;
    }
    assert!(claimed(&store).await.is_empty(), "not due yet");
    stand.clock().pass(10);
    let mut seen = Vec::new();
    for round in 0..40 {
        let claim = claim_one(&store).await;
        // Every other one is given back or moved while the rest is still due.
        match round % 3 {
            0 => assert_eq!(commit(&store, Commit { wake: Some(Time(START + 10_000)), ..turn(&claim) }).await, Committed::Done),
            1 => assert_eq!(commit(&store, turn(&claim)).await, Committed::Done),
            _ => {}
        }
        seen.push(claim.customer);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 40);
    assert!(claimed(&store).await.is_empty());
    stand.clock().pass(10_000);
    assert_eq!(claimed(&store).await.len(), 14, "those that were moved");
}

pub async fn a_moved_wake_is_due_at_its_new_instant(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.wake = Some(Time(START + 1_000))).await;
    make_with(&store, "bert", |first| first.wake = Some(Time(START + 500))).await;
    stand.clock().pass(600);
    let bert = claim_one(&store).await;
    // Anna's wake moves behind the place that has been looked at, and still comes.
    let anna = take(&store, "anna").await;
    commit(&store, Commit { wake: Some(Time(START + 100)), ..turn(&anna) }).await;
    assert_eq!(claimed(&store).await, ["anna"]);
    store.release(vec!["anna".to_owned(), "bert".to_owned()]).await.unwrap();
    assert_eq!(bert.customer, "bert");
    assert_eq!(claimed(&store).await, ["anna", "bert"]);
    drop(store);
    assert_eq!(claimed(&open(stand)).await, ["anna", "bert"], "wakes outlive the process");
}

pub async fn waiting_ends_when_there_is_work(stand: &dyn Stand) {
    let store = open(stand);
    assert!(!done_at_once(store.wait_for_work(Work::Turns)).await);
    assert!(!done_at_once(store.wait_for_work(Work::Effects)).await);
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for_work(Work::Turns).await }
    });
    accept(&store, vec![event("anna", "1")]).await;
    tokio::time::timeout(PATIENCE, waiter).await.expect("an input wakes whoever waits").unwrap();
    assert!(done_at_once(store.wait_for_work(Work::Turns)).await);
    let claim = claim_one(&store).await;
    assert!(!done_at_once(store.wait_for_work(Work::Turns)).await, "what is claimed is nobody else's work");
    commit(&store, Commit { wake: Some(Time(START + 50)), effects: vec![effect("anna", 1)], ..turn(&claim) }).await;
    assert!(done_at_once(store.wait_for_work(Work::Effects)).await);
    store.claim_effects(9).await.unwrap();
    assert!(!done_at_once(store.wait_for_work(Work::Effects)).await);
    assert!(!done_at_once(store.wait_for_work(Work::Turns)).await);
    stand.clock().pass(50);
    assert!(done_at_once(store.wait_for_work(Work::Turns)).await);
}
