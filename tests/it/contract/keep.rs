//! What is kept for everybody, and how long.

use super::*;

pub async fn definitions_stay_while_a_live_run_names_them(stand: &dyn Stand) {
    let store = open(stand);
    assert!(store.definitions().await.unwrap().is_empty());
    let put = async |hash: &str, funnels: &[(&str, &str)]| {
        let funnels = funnels.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
        store.put_definitions(hash.to_owned(), funnels, format!("bundle {hash}").into_bytes()).await.unwrap();
    };
    let hashes = async || store.definitions().await.unwrap().into_iter().map(|(hash, _)| hash).collect::<Vec<_>>();
    put("d1", &[("f", "v1"), ("g", "w1")]).await;
    put("d1", &[("f", "v1"), ("g", "w1")]).await;
    assert_eq!(store.definitions().await.unwrap(), [("d1".to_owned(), b"bundle d1".to_vec())]);
    make_with(&store, "anna", |first| {
        (first.runs, first.began) = (vec![run_row("anna", 1, "f", "v1", "waiting", START)], vec![1])
    })
    .await;
    put("d2", &[("f", "v2"), ("g", "w1")]).await;
    assert_eq!(hashes().await, ["d2", "d1"]);
    put("d3", &[("f", "v1"), ("g", "w2")]).await;
    assert_eq!(hashes().await, ["d3"], "the current one holds that version too");
    put("d2", &[("f", "v2"), ("g", "w1")]).await;
    assert_eq!(hashes().await, ["d2", "d3"], "made current again; the newest that holds the version");
    let claim = take(&store, "anna").await;
    commit(&store, Commit { runs: vec![run_row("anna", 1, "f", "v1", "exited", START)], ..turn(&claim) }).await;
    assert_eq!(hashes().await, ["d2"]);
}

pub async fn a_workspace_is_applied_only_over_the_one_that_it_was_compared_with(stand: &dyn Stand) {
    let store = open(stand);
    let apply = async |hash: &str, before: &str| {
        let applied = Applied {
            hash: hash.to_owned(),
            at: store.now(),
            by: "ada".to_owned(),
            note: format!("to {hash}"),
            before: before.to_owned(),
        };
        let funnels = vec![("f".to_owned(), format!("v-{hash}"))];
        store.apply(Applying { applied, funnels, bundle: format!("bundle {hash}").into_bytes() }).await.unwrap()
    };
    let current = async || store.definitions().await.unwrap().first().map(|(hash, _)| hash.clone());
    assert!(store.applied().await.unwrap().is_empty());
    store.put_definitions("d1".to_owned(), vec![("f".to_owned(), "v-d1".to_owned())], b"bundle d1".to_vec()).await.unwrap();
    assert!(!apply("d2", "").await, "there is one already");
    assert!(apply("d2", "d1").await);
    assert!(!apply("d3", "d1").await, "somebody else was faster");
    assert_eq!(current().await.as_deref(), Some("d2"));
    assert!(apply("d3", "d2").await);
    assert!(apply("d1", "d3").await, "going back");
    assert_eq!(store.definitions().await.unwrap(), [("d1".to_owned(), b"bundle d1".to_vec())]);
    let told: Vec<(String, String, String)> =
        store.applied().await.unwrap().into_iter().map(|a| (a.hash, a.before, a.note)).collect();
    let wanted = [("d1", "d3", "to d1"), ("d3", "d2", "to d3"), ("d2", "d1", "to d2")];
    assert_eq!(told, wanted.map(|(hash, before, note)| (hash.to_owned(), before.to_owned(), note.to_owned())));
    assert_eq!(store.bundle("d3".to_owned()).await.unwrap().as_deref(), Some(b"bundle d3".as_slice()));
    assert_eq!(store.bundle("d4".to_owned()).await.unwrap(), None);
}

pub async fn a_split_has_one_winner(stand: &dyn Stand) {
    let store = open(stand);
    let won = |funnel: &str, step: &str, variant: &str| Winner {
        funnel: funnel.to_owned(),
        step: step.to_owned(),
        variant: variant.to_owned(),
        from: Time(START),
        by: Some(Measure::Goal),
        counted: vec![Arm { variant: variant.to_owned(), drawn: 200, reached: 30, value: 900 }],
    };
    assert!(store.winners().await.unwrap().is_empty());
    assert!(store.choose(won("g", "pick", "b")).await.unwrap());
    assert!(!store.choose(won("g", "pick", "a")).await.unwrap(), "somebody else was faster");
    assert!(store.choose(won("f", "pick", "a")).await.unwrap(), "the split of another funnel");
    assert!(store.choose(won("f", "other", "a")).await.unwrap());
    let wanted = [won("f", "other", "a"), won("f", "pick", "a"), won("g", "pick", "b")];
    assert_eq!(store.winners().await.unwrap(), wanted);
    store.close().await;
    drop(store);
    let store = open(stand);
    assert_eq!(store.winners().await.unwrap(), wanted, "after a restart");
}

pub async fn live_runs_are_counted_by_step_and_follow_their_version(stand: &dyn Stand) {
    let store = open(stand);
    let put = async |hash: &str, version: &str| {
        store
            .put_definitions(hash.to_owned(), vec![("f".to_owned(), version.to_owned())], hash.as_bytes().to_vec())
            .await
            .unwrap();
    };
    let hashes = async || store.definitions().await.unwrap().into_iter().map(|(hash, _)| hash).collect::<Vec<_>>();
    put("d1", "v1").await;
    for (customer, state) in [("anna", "waiting"), ("ben", "held"), ("cleo", "finished")] {
        make_with(&store, customer, |first| {
            (first.runs, first.began) = (vec![run_row(customer, 1, "f", "v1", state, START)], vec![1]);
        })
        .await;
    }
    let at = |version: &str, count| LiveSteps { funnel: "f".into(), version: version.into(), step: "s".into(), count };
    let steps = async || {
        let mut all = store.live_steps().await.unwrap();
        all.iter_mut().for_each(|at| at.step = "s".to_owned());
        all
    };
    assert_eq!(steps().await, [at("v1", 2)]);
    put("d2", "v2").await;
    let moves = vec![("f".to_owned(), "v1".to_owned(), "v2".to_owned())];
    for (customer, state) in [("anna", "waiting"), ("ben", "exited")] {
        assert_eq!(hashes().await, ["d2", "d1"], "{customer} is still in the version before");
        let claim = take(&store, customer).await;
        let moved = if state == "waiting" { moves.clone() } else { Vec::new() };
        let version = if state == "waiting" { "v2" } else { "v1" };
        let runs = vec![run_row(customer, 1, "f", version, state, START)];
        assert_eq!(commit(&store, Commit { runs, moved, ..turn(&claim) }).await, Committed::Done);
    }
    assert_eq!(hashes().await, ["d2"], "nobody is in the version before");
    assert_eq!(steps().await, [at("v2", 1)]);
}

pub async fn the_scan_finds_who_was_judged_by_other_definitions(stand: &dyn Stand) {
    let store = open(stand);
    for (customer, judged) in [("e", "d1"), ("b", "d2"), ("d", "d1"), ("a", "d3"), ("c", "d1")] {
        make_with(&store, customer, |first| first.judged = judged.to_owned()).await;
    }
    let scan = async |after: &str| store.wake_unjudged("d2".to_owned(), after.to_owned(), 2).await.unwrap();
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let step = scan(&after).await;
        assert!(step.len() <= 2);
        let Some(last) = step.last() else { break };
        after = last.clone();
        found.extend(step);
    }
    let claims = store.claim(9).await.unwrap();
    let mut marked: Vec<String> = claims.iter().map(|claim| claim.customer.clone()).collect();
    marked.sort();
    found.sort();
    assert_eq!((marked, found.as_slice()), (found.clone(), ["a", "c", "d", "e"].map(str::to_owned).as_slice()));
    for claim in &claims {
        commit(&store, Commit { judged: "d2".to_owned(), ..turn(claim) }).await;
    }
    assert!(scan("").await.is_empty());
    assert!(claimed(&store).await.is_empty());
}

pub async fn a_token_replaces_the_one_with_its_digest(stand: &dyn Stand) {
    let store = open(stand);
    let token = TokenRow {
        digest: vec![1],
        name: "shop".to_owned(),
        scopes: vec!["ingest".to_owned(), "read".to_owned()],
        expires: None,
    };
    let newer = TokenRow { expires: Some(Time(5)), scopes: vec![], ..token.clone() };
    let other = TokenRow { digest: vec![2], name: "till".to_owned(), ..token.clone() };
    for token in [token, other.clone(), newer.clone()] {
        store.put_token(token).await.unwrap();
    }
    drop(store);
    assert_eq!(open(stand).tokens().await.unwrap(), [newer, other]);
}

pub async fn a_message_is_kept_once(stand: &dyn Stand) {
    let store = open(stand);
    for (id, customer, at) in [("m1", "anna", 1), ("m2", "bert", 2), ("m3", "anna", 3), ("m1", "zoe", 9)] {
        store.keep_message(message(id, customer, START + at)).await.unwrap();
    }
    let list = async |customer: &str, before| {
        let rows = store.messages(customer.to_owned(), before, 9).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(list("", None).await, ["m3", "m2", "m1"]);
    assert_eq!(list("anna", None).await, ["m3", "m1"]);
    assert_eq!(list("", Some(Time(START + 3))).await, ["m2", "m1"]);
    assert_eq!(store.message("m1".to_owned()).await.unwrap(), Some(message("m1", "anna", START + 1)));
    assert_eq!(store.message("m9".to_owned()).await.unwrap(), None);
}

pub async fn what_has_outlived_its_retention_goes(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| {
        first.facts = vec![fact(What::Granted, START, Some(1))];
        first.runs = vec![run_row("anna", 1, "f", "v1", "finished", START), run_row("anna", 2, "f", "v1", "waiting", START)];
    })
    .await;
    store.keep_message(message("m1", "anna", START)).await.unwrap();
    accept(&store, vec![event("bert", "1")]).await;
    assert_eq!(store.prune().await.unwrap(), 0);
    stand.clock().pass(29 * DAY_MS);
    assert_eq!(store.prune().await.unwrap(), 0);
    stand.clock().pass(2 * DAY_MS);
    assert_eq!(store.prune().await.unwrap(), 2, "the ended run and the message");
    assert_eq!(store.runs(RunFilter::default(), 9).await.unwrap().len(), 1, "a live run stays");
    assert_eq!(accept(&store, vec![event("bert", "1")]).await, [Accepted::Duplicate]);
    stand.clock().pass(5 * DAY_MS);
    assert_eq!(store.prune().await.unwrap(), 1, "the event's id");
    assert_eq!(accept(&store, vec![event("bert", "1")]).await, [Accepted::New]);
    stand.clock().pass(60 * DAY_MS);
    assert_eq!(store.prune().await.unwrap(), 2, "the fact and the event's new id");
    assert!(store.timeline("anna".to_owned(), None, 9).await.unwrap().is_empty());
    assert_eq!(
        store.figures("2027-03-01".to_owned(), "2027-03-01".to_owned()).await.unwrap()[0].amount,
        1,
        "figures stay for ever"
    );
    assert_eq!(claim_one(&store).await.inputs.len(), 2, "what was accepted is never dropped");
}

pub async fn a_second_open_is_refused(stand: &dyn Stand) {
    let store = open(stand);
    let said = match stand.open() {
        Err(StoreError::Fatal(said)) => said,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two stores on the same data"),
    };
    assert!(said.contains("in use by another process"), "{said}");
    store.close().await;
    open(stand);
}

pub async fn a_closed_store_takes_nothing(stand: &dyn Stand) {
    let store = open(stand);
    store.close().await;
    store.close().await;
    assert!(matches!(store.accept(vec![event("anna", "1")]).await, Err(StoreError::Closed)));
    assert!(done_at_once(store.wait_for_work(Work::Turns)).await, "whoever waits may leave");
}

/// Many take at once, and some give back: together they never have more than there is, before and after a restart.
pub async fn a_quantity_is_never_exceeded(stand: &dyn Stand) {
    let store = open(stand);
    let until = Some(Time(START + DAY_MS));
    let quantity = |most: i64| Quantity { name: "points".to_owned(), most, until };
    let takers = (0..8).map(|taker: i64| {
        let (store, quantity) = (store.clone(), quantity(1_000));
        tokio::spawn(async move {
            let mut held = 0;
            loop {
                let got = store.take_quantity(quantity.clone(), 1, 10 + taker).await.unwrap();
                held += got;
                if got == 0 {
                    return held;
                }
                if got > 3 {
                    store.return_quantity(quantity.name.clone(), 1).await.unwrap();
                    held -= 1;
                }
            }
        })
    });
    let mut sum = 0;
    for taker in takers.collect::<Vec<_>>() {
        sum += taker.await.unwrap();
    }
    assert!((990..=1_000).contains(&sum), "{sum}: those who are early may miss what is given back later");
    while store.take_quantity(quantity(1_000), 1, 1).await.unwrap() > 0 {}
    // Another name is another quantity; a larger one goes on where it was.
    let other = Quantity { name: "others".to_owned(), ..quantity(5) };
    assert_eq!(store.take_quantity(other.clone(), 6, 6).await.unwrap(), 0, "less than is needed is nothing");
    assert_eq!(store.take_quantity(other, 5, 9).await.unwrap(), 5);
    drop(store);
    let store = open(stand);
    assert_eq!(store.take_quantity(quantity(1_000), 1, 1).await.unwrap(), 0);
    assert_eq!(store.take_quantity(quantity(1_007), 7, 7).await.unwrap(), 7);
    store.return_quantity("points".to_owned(), 7).await.unwrap();
    assert_eq!(store.take_quantity(quantity(1_007), 7, 7).await.unwrap(), 7);
    // Once its time is over it is remembered no more.
    stand.clock().pass(4 * DAY_MS);
    let next = Quantity { name: "next".to_owned(), most: 1, until: Some(Time(START + 5 * DAY_MS)) };
    assert_eq!(store.take_quantity(next, 1, 1).await.unwrap(), 1);
}
