//! The read side.

use super::*;

pub async fn figures_sum_up_by_day(stand: &dyn Stand) {
    let store = open(stand);
    let facts = || {
        vec![fact(What::Granted, START, Some(10)), fact(What::Granted, START, Some(5)), fact(What::Sent, START + DAY_MS, None)]
    };
    for customer in ["anna", "bert"] {
        make_with(&store, customer, |first| first.facts = facts()).await;
    }
    drop(store);
    let store = open(stand);
    make_with(&store, "carl", |first| first.facts = facts()).await;
    let figures = store.figures("2027-03-01".to_owned(), "2027-03-02".to_owned()).await.unwrap();
    let shown: Vec<_> = figures.iter().map(|f| (f.day.as_str(), f.what.as_str(), f.count, f.amount)).collect();
    assert_eq!(shown, [("2027-03-01", "granted", 6, 45), ("2027-03-02", "sent", 3, 0)]);
    assert_eq!((figures[0].funnel.as_str(), figures[0].version.as_str(), figures[0].step.as_str()), ("welcome", "v1", "gift"));
    assert_eq!(store.figures("2027-03-02".to_owned(), "2027-03-02".to_owned()).await.unwrap().len(), 1);
}

pub async fn the_timeline_is_newest_first_and_pages_exactly(stand: &dyn Stand) {
    let store = open(stand);
    for round in 0..4 {
        for customer in ["anna", "bert"] {
            let claim = take(&store, customer).await;
            let facts = (0..3).map(|n| fact(What::Event, START + round * 3 + n, None)).collect();
            // With an effect on its way a store may remember her: her chain of facts must not fork.
            let effects = vec![effect(customer, u32::try_from(round).unwrap() + 1)];
            commit(&store, Commit { facts, effects, hand_over: round % 2 == 0, ..turn(&claim) }).await;
        }
    }
    let all = store.timeline("anna".to_owned(), None, 100).await.unwrap();
    assert_eq!(all.iter().map(|row| row.fact.at.0 - START).collect::<Vec<_>>(), (0..12).rev().collect::<Vec<_>>());
    assert!(all.windows(2).all(|two| two[0].seq > two[1].seq), "later facts have higher positions");
    assert_eq!(all.iter().map(|row| row.index).take(3).collect::<Vec<_>>(), [2, 1, 0]);
    for size in [1, 2, 5] {
        let (mut paged, mut before) = (Vec::new(), None);
        loop {
            let page = store.timeline("anna".to_owned(), before, size).await.unwrap();
            assert!(page.len() <= size);
            let Some(last) = page.last() else { break };
            before = Some(last.seq);
            paged.extend(page);
        }
        assert_eq!(paged, all, "pages of {size}");
    }
    assert!(store.timeline("nobody".to_owned(), None, 9).await.unwrap().is_empty());
}

pub async fn facts_follow_a_position(stand: &dyn Stand) {
    let store = open(stand);
    for n in 0..5 {
        let facts = (0..=n).map(|k| fact(What::Event, START + k, None)).collect::<Vec<_>>();
        make_with(&store, &format!("c{n}"), |first| first.facts = facts).await;
    }
    let all = store.facts_after(0, 100).await.unwrap();
    assert_eq!(all.len(), 15);
    assert_eq!(all.iter().filter(|(customer, _)| customer == "c4").count(), 5);
    let (mut followed, mut after) = (Vec::new(), 0);
    loop {
        let page = store.facts_after(after, 4).await.unwrap();
        let Some((_, last)) = page.last() else { break };
        assert!(page.len() <= 4);
        after = last.seq;
        followed.extend(page);
    }
    assert_eq!(followed, all);
}

pub async fn lists_find_customers_by_their_first_letters(stand: &dyn Stand) {
    let store = open(stand);
    let people = [("c1", "Anna Berg", "anna@x.org", "+49151"), ("c2", "Änne", "berta@x.org", "+43"), ("anna", "", "", "")];
    for (id, name, email, phone) in people {
        let index = CustomerRow {
            id: id.to_owned(),
            name: name.to_owned(),
            email: email.to_owned(),
            phone: phone.to_owned(),
            segments: vec!["vip".to_owned(), "new".to_owned()],
        };
        make_with(&store, id, |first| first.index = index).await;
    }
    let find = async |query: &str, after: &str, max| {
        let rows = store.customers(query.to_owned(), after.to_owned(), max).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(find("", "", 9).await, ["anna", "c1", "c2"]);
    assert_eq!(find("", "anna", 1).await, ["c1"]);
    assert_eq!(find("anna", "", 9).await, ["anna", "c1"]);
    assert_eq!(find("ANNA B", "", 9).await, ["c1"]);
    assert_eq!(find("änn", "", 9).await, ["c2"]);
    assert_eq!(find("+4", "", 9).await, ["c1", "c2"]);
    assert_eq!(find("b", "", 9).await, ["c2"]);
    assert_eq!(find("anna", "anna", 9).await, ["c1"]);
    let row = store.customers("c1".to_owned(), String::new(), 1).await.unwrap().remove(0);
    assert_eq!((row.name.as_str(), row.segments.len()), ("Anna Berg", 2));
    // A changed line is found by its new words only.
    let claim = take(&store, "c1").await;
    let index = CustomerRow { name: "Zoe".to_owned(), ..row };
    commit(&store, Commit { index, ..turn(&claim) }).await;
    assert_eq!(find("Anna B", "", 9).await, Vec::<String>::new());
    assert_eq!(find("zoe", "", 9).await, ["c1"]);
}

pub async fn runs_are_listed_by_funnel_and_state(stand: &dyn Stand) {
    let store = open(stand);
    for (n, (customer, funnel, state)) in [
        ("anna", "welcome", "waiting"),
        ("bert", "welcome", "held"),
        ("carl", "renewal", "waiting"),
        ("dora", "welcome", "waiting"),
        ("eva", "sale", "review"),
        ("fritz", "sale", "unresolved"),
    ]
    .into_iter()
    .enumerate()
    {
        let rows = vec![run_row(customer, 1, funnel, "v1", state, START + n as i64)];
        make_with(&store, customer, |first| first.runs = rows).await;
    }
    let list = async |customer: &str, funnel: &str, state: &str, max| {
        let filter = RunFilter { customer: customer.to_owned(), funnel: funnel.to_owned(), state: state.to_owned() };
        let rows = store.runs(filter, max).await.unwrap();
        rows.into_iter().map(|row| row.customer).collect::<Vec<_>>()
    };
    assert_eq!(list("", "", "", 9).await, ["fritz", "eva", "dora", "carl", "bert", "anna"]);
    assert_eq!(list("", "", "", 3).await, ["fritz", "eva", "dora"]);
    assert_eq!(
        (list("", "", "review", 9).await, list("", "", "unresolved", 9).await),
        (vec!["eva".to_owned()], vec!["fritz".to_owned()])
    );
    assert_eq!(list("", "welcome", "", 9).await, ["dora", "bert", "anna"]);
    assert_eq!(list("", "", "waiting", 9).await, ["dora", "carl", "anna"]);
    assert_eq!(list("", "welcome", "waiting", 1).await, ["dora"]);
    assert_eq!(list("carl", "", "", 9).await, ["carl"]);
    assert!(list("carl", "welcome", "", 9).await.is_empty());
    let claim = take(&store, "anna").await;
    let over = RunRow { until: Some(Time(START + 99)), ..run_row("anna", 1, "welcome", "v1", "finished", START) };
    commit(&store, Commit { runs: vec![over.clone()], ..turn(&claim) }).await;
    assert_eq!(list("", "welcome", "waiting", 9).await, ["dora"]);
    let filter = RunFilter { state: "finished".to_owned(), ..RunFilter::default() };
    assert_eq!(store.runs(filter, 9).await.unwrap(), [over]);
}

pub async fn counts_follow_every_change(stand: &dyn Stand) {
    let store = open(stand);
    let index = |segments: &[&str]| CustomerRow {
        id: "anna".to_owned(),
        segments: segments.iter().map(|name| (*name).to_owned()).collect(),
        ..CustomerRow::default()
    };
    make_with(&store, "anna", |first| {
        first.index = index(&["a", "b"]);
        first.runs = vec![run_row("anna", 1, "f", "v1", "waiting", 1), run_row("anna", 2, "f", "v2", "waiting", 2)];
        first.effects = vec![effect("anna", 1)];
    })
    .await;
    make_with(&store, "bert", |first| first.index = CustomerRow { id: "bert".to_owned(), ..index(&["b"]) }).await;
    accept(&store, vec![event("anna", "1"), event("anna", "2")]).await;
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.customers, counts.inbox, counts.outbox, counts.quarantined), (2, 2, 1, 0));
    assert_eq!(counts.live_runs, [("f".to_owned(), "waiting".to_owned(), 2)]);
    assert_eq!(counts.segments, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    let claim = claim_one(&store).await;
    let runs = vec![run_row("anna", 1, "f", "v1", "finished", 1), run_row("anna", 2, "f", "v2", "held", 2)];
    commit(&store, Commit { index: index(&["b"]), runs, withdrawn: vec![effect("anna", 1).id], ..turn(&claim) }).await;
    for restart in [false, true] {
        if restart {
            store.close().await;
        }
        let used = if restart { open(stand) } else { store.clone() };
        let counts = used.counts().await.unwrap();
        assert_eq!((counts.customers, counts.inbox, counts.outbox), (2, 0, 0), "restart: {restart}");
        assert_eq!(counts.live_runs, [("f".to_owned(), "held".to_owned(), 1)]);
        assert_eq!(counts.segments, [("b".to_owned(), 2)]);
    }
}

pub async fn an_erased_customer_leaves_nothing_but_the_mark(stand: &dyn Stand) {
    let store = open(stand);
    for customer in ["anna", "bert"] {
        make_with(&store, customer, |first| {
            first.index = CustomerRow {
                id: customer.to_owned(),
                name: "Name".to_owned(),
                segments: vec!["s".to_owned()],
                ..CustomerRow::default()
            };
            first.facts = vec![fact(What::Entered, START, None)];
            first.runs = vec![run_row(customer, 1, "f", "v1", "waiting", START)];
            first.effects = vec![effect(customer, 1), effect(customer, 2)];
            first.wake = Some(Time(START + 10));
            first.account = Some(vec![1]);
        })
        .await;
        // Anna's effects are due before Bert's.
        stand.clock().pass(1);
        let text = || customer.to_owned();
        store.keep_message(message(customer, &text(), START)).await.unwrap();
    }
    let held = store.claim_effects(1).await.unwrap().remove(0).effect;
    assert_eq!(held.customer, "anna");
    accept(&store, vec![NewInput { id: None, body: InputBody::Erase, ..event("anna", "") }, event("anna", "later")]).await;
    let claim = claim_one(&store).await;
    let consumed = vec![claim.inputs[0].seq];
    assert_eq!(commit(&store, Commit { erase: true, consumed, ..turn(&claim) }).await, Committed::Done);
    let check = async |store: &Arc<dyn Store>| {
        assert!(store.record("anna".to_owned()).await.unwrap().is_none());
        assert!(store.timeline("anna".to_owned(), None, 9).await.unwrap().is_empty());
        assert!(store.facts_after(0, 9).await.unwrap().iter().all(|(customer, _)| customer == "bert"));
        assert!(store.messages("anna".to_owned(), None, 9).await.unwrap().is_empty());
        assert_eq!(store.customers("Name".to_owned(), String::new(), 9).await.unwrap().len(), 1);
        assert_eq!(store.runs(RunFilter::default(), 9).await.unwrap().len(), 1);
        assert!(store.outbox(9).await.unwrap().iter().all(|row| row.customer == "bert"));
        let counts = store.counts().await.unwrap();
        assert_eq!((counts.customers, counts.inbox, counts.outbox), (1, 0, 2));
        assert_eq!((counts.segments[0].1, counts.live_runs[0].2), (1, 1));
    };
    check(&store).await;
    assert_eq!(begin(&store, &held).await, Begin::Gone);
    store.settle(held.id.clone(), "anna".to_owned(), accepted()).await.unwrap();
    assert!(claimed(&store).await.is_empty(), "neither her inputs nor an answer bring her back");
    drop(store);
    let store = open(stand);
    check(&store).await;
    // What arrives late says that she was erased.
    accept(&store, vec![event("anna", "after"), event("carl", "1")]).await;
    let mut claims = store.claim(9).await.unwrap();
    claims.sort_by(|a, b| a.customer.cmp(&b.customer));
    assert_eq!(
        claims.iter().map(|claim| (claim.customer.as_str(), claim.record.erased)).collect::<Vec<_>>(),
        [("anna", true), ("carl", false)]
    );
}
