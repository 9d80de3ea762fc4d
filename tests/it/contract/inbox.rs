//! The inbox and the claims.

use super::*;

pub async fn an_accepted_input_outlives_the_process(stand: &dyn Stand) {
    let store = open(stand);
    assert_eq!(accept(&store, vec![event("anna", "1")]).await, vec![Accepted::New]);
    drop(store);
    let claim = claim_one(&open(stand)).await;
    assert_eq!((claim.customer.as_str(), claim.inputs.len(), claim.record.version), ("anna", 1, 0));
    assert_eq!(claim.inputs[0].input.accepted_at, Time(START));
    assert_eq!(claim.inputs[0].input.body, event("anna", "1").body);
}

pub async fn a_second_delivery_is_known_even_after_a_restart(stand: &dyn Stand) {
    let store = open(stand);
    let other = NewInput { digest: 8, ..event("anna", "1") };
    let answers = accept(&store, vec![event("anna", "1"), event("anna", "1"), other.clone()]).await;
    assert_eq!(answers, vec![Accepted::New, Accepted::Duplicate, Accepted::Conflict]);
    let claim = claim_one(&store).await;
    commit(&store, turn(&claim)).await;
    store.close().await;
    drop(store);
    let store = open(stand);
    assert_eq!(accept(&store, vec![event("anna", "1"), other]).await, vec![Accepted::Duplicate, Accepted::Conflict]);
    assert!(claimed(&store).await.is_empty(), "a second delivery fills no inbox");
}

pub async fn the_same_id_from_another_source_or_customer_is_another_event(stand: &dyn Stand) {
    let store = open(stand);
    let source = NewInput { source: "till".to_owned(), ..event("anna", "1") };
    let nameless = NewInput { id: None, ..event("anna", "1") };
    let inputs = vec![event("anna", "1"), source, event("bert", "1"), nameless.clone(), nameless];
    assert_eq!(accept(&store, inputs).await, vec![Accepted::New; 5]);
}

pub async fn inputs_come_in_the_order_of_acceptance(stand: &dyn Stand) {
    let store = open(stand);
    for n in 0..4 {
        accept(&store, vec![event("anna", &format!("{n}")), event("bert", &format!("{n}"))]).await;
        stand.clock().pass(1);
    }
    let claims = store.claim(64).await.unwrap();
    assert_eq!(claims.len(), 2);
    for claim in claims {
        let ids = claim.inputs.iter().map(|queued| match &queued.input.body {
            InputBody::Event(event) => event.id.clone(),
            other => panic!("{other:?}"),
        });
        assert_eq!(ids.collect::<Vec<_>>(), ["0", "1", "2", "3"]);
        assert!(claim.inputs.is_sorted_by_key(|queued| queued.seq));
        assert!(claim.inputs.is_sorted_by_key(|queued| queued.input.accepted_at));
    }
}

pub async fn every_kind_of_input_comes_back_as_it_went_in(stand: &dyn Stand) {
    let store = open(stand);
    let bodies = every_kind_of_body();
    let inputs = bodies.iter().map(|body| NewInput { id: None, body: body.clone(), ..event("anna", "1") });
    accept(&store, inputs.collect()).await;
    let back: Vec<InputBody> = claim_one(&store).await.inputs.into_iter().map(|queued| queued.input.body).collect();
    assert_eq!(back, bodies);
}

/// One of each kind, with everything that can be in it.
pub fn every_kind_of_body() -> Vec<InputBody> {
    let decimal = autofunnel::money::Dec::parse("10.5").unwrap();
    let rich = Event {
        properties: Fields::from([
            ("n".to_owned(), Value::Null),
            ("d".to_owned(), Value::Dec(decimal)),
            ("l".to_owned(), Value::List(vec![Value::Bool(true), Value::Time(Time(5)), Value::from("ж")])),
            ("m".to_owned(), Value::Map(Fields::from([("x".to_owned(), Value::from(-1))]))),
        ]),
        ..Event { id: "1".to_owned(), name: "e".to_owned(), time: Time(-5), properties: Fields::new(), minor: None, depth: 3 }
    };
    let gone = ProfileChange { membership: Some(None), import: true, ..ProfileChange::default() };
    vec![
        InputBody::Event(rich.clone()),
        InputBody::History(rich),
        InputBody::Profile(gone),
        InputBody::Profile(ProfileChange::default()),
        InputBody::Enrol { funnel: "f".to_owned(), id: "i".to_owned(), properties: Fields::new() },
        InputBody::Result { effect: "e".to_owned(), outcome: accepted() },
        InputBody::Result { effect: "e".to_owned(), outcome: Outcome::Dead { why: "w".to_owned(), attempts: 3 } },
        InputBody::Stale { effect: "e".to_owned(), why: "w".to_owned() },
        InputBody::Again { effect: "e".to_owned(), why: "w".to_owned() },
        InputBody::Review { effect: "e".to_owned(), release: true, by: "ada".to_owned(), why: String::new() },
        InputBody::Told(told(Word::Grant { grant: gift(), depth: 2 })),
        InputBody::Told(told(Word::Answer { of: "e".to_owned(), outcome: accepted() })),
        InputBody::Erase,
        InputBody::Stop { address: address("a@x.org"), stop: stop(StopKind::Crowded, 5) },
        InputBody::Lift {
            address: address("a@x.org"),
            channel: "sms".to_owned(),
            until: Time(5),
            source: "s".to_owned(),
            only: None,
        },
    ]
}

fn gift() -> Grant {
    let EffectKind::Grant(grant) = effect("anna", 1).kind else { panic!("it is a grant") };
    Grant { held: true, ..grant }
}

fn told(word: Word) -> Told {
    let (effect, from) = ("b/1/s/1".to_owned(), "b".to_owned());
    Told { effect, from, funnel: "f".to_owned(), version: "v".to_owned(), word }
}

pub async fn accepted_at_never_goes_back(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, vec![event("anna", "1")]).await;
    stand.clock().pass(-5_000);
    assert_eq!(store.now(), Time(START));
    accept(&store, vec![event("anna", "2")]).await;
    drop(store);
    let store = open(stand);
    accept(&store, vec![event("anna", "3")]).await;
    let mut times = Vec::new();
    // What was left behind by an unclean end may come in parts.
    while let Some(claim) = store.claim(1).await.unwrap().pop() {
        times.extend(claim.inputs.iter().map(|queued| queued.input.accepted_at));
        commit(&store, turn(&claim)).await;
    }
    assert_eq!(times, vec![Time(START); 3]);
}

pub async fn a_claimed_customer_is_not_handed_out_again(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, vec![event("anna", "1")]).await;
    let claim = claim_one(&store).await;
    accept(&store, vec![event("anna", "2"), event("bert", "1")]).await;
    assert_eq!(claimed(&store).await, ["bert"]);
    assert_eq!(commit(&store, turn(&claim)).await, Committed::Done);
    let again = claim_one(&store).await;
    assert_eq!((again.customer.as_str(), again.inputs.len(), again.record.version), ("anna", 1, 1));
    assert!(again.inputs[0].seq > claim.inputs[0].seq);
}

pub async fn two_claimers_never_share_a_customer(stand: &dyn Stand) {
    let store = open(stand);
    for n in 0..300 {
        accept(&store, vec![event(&format!("c{n}"), "1")]).await;
    }
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let claims = store.claim(7).await.unwrap();
                    if claims.is_empty() {
                        return mine;
                    }
                    mine.extend(claims.into_iter().map(|claim| claim.customer));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    assert_eq!(all.len(), 300);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 300);
}

pub async fn a_claim_has_bounds(stand: &dyn Stand) {
    let store = open(stand);
    let many = (0..CLAIM_INPUTS_MAX + 5).map(|n| event("anna", &n.to_string()));
    accept(&store, many.collect()).await;
    accept(&store, (0..100).map(|n| event(&format!("c{n}"), "1")).collect()).await;
    assert!(store.claim(0).await.unwrap().is_empty());
    let claims = store.claim(1_000).await.unwrap();
    assert_eq!(claims.len(), 64);
    assert_eq!((claims[0].customer.as_str(), claims[0].inputs.len()), ("anna", CLAIM_INPUTS_MAX));
    assert_eq!(claims[0].now, Time(START));
}

pub async fn a_claim_tells_of_more_inputs(stand: &dyn Stand) {
    let store = open(stand);
    accept(&store, (0..CLAIM_INPUTS_MAX).map(|n| event("anna", &n.to_string())).collect()).await;
    stand.clock().pass(10);
    accept(&store, vec![event("anna", "more")]).await;
    stand.clock().pass(10);
    accept(&store, vec![event("anna", "most")]).await;
    let claim = claim_one(&store).await;
    assert_eq!((claim.inputs.len(), claim.more_from), (CLAIM_INPUTS_MAX, Some(Time(START + 10))));
    commit(&store, turn(&claim)).await;
    let claim = claim_one(&store).await;
    assert_eq!((claim.inputs.len(), claim.more_from), (2, None));
    // What has crashed goes alone.
    store.fault("anna".to_owned(), Some(claim.inputs[0].seq), "panic".to_owned()).await.unwrap();
    let claim = claim_one(&store).await;
    assert_eq!((claim.inputs.len(), claim.more_from), (1, Some(Time(START + 20))));
    commit(&store, turn(&claim)).await;
    assert_eq!(claim_one(&store).await.more_from, None);
}

pub async fn a_claim_that_nobody_waits_for_is_taken_back(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.effects = vec![effect("anna", 1)]).await;
    accept(&store, vec![event("anna", "1"), event("bert", "1")]).await;
    // Given up before the operation ran, and after its answer had come.
    for answered in [false, true] {
        let (mut customers, mut effects) = (store.claim(64), store.claim_effects(64));
        // Should an answer come at once after all, it is ours to give back.
        if let Some(claims) = polled_once(&mut customers).await {
            store.release(claims.unwrap().into_iter().map(|claim| claim.customer).collect()).await.unwrap();
        }
        if let Some(deliveries) = polled_once(&mut effects).await {
            for delivery in deliveries.unwrap() {
                put_back(&store, &delivery, Time(START), "", false).await;
            }
        }
        if answered {
            // Answers come in the order of the questions.
            store.release(vec![]).await.unwrap();
            store.claim(0).await.unwrap();
        }
    }
    let (mut customers, mut effects) = (Vec::new(), Vec::new());
    let all = async {
        while customers.len() < 2 {
            customers.extend(claimed(&store).await);
        }
        while effects.is_empty() {
            effects.extend(store.claim_effects(64).await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("what was handed out to nobody comes back");
    assert_eq!((customers.len(), effects.len()), (2, 1));
}

pub async fn take_wants_a_free_customer_without_inputs(stand: &dyn Stand) {
    let store = open(stand);
    let claim = take(&store, "anna").await;
    assert_eq!((claim.record.version, claim.inputs.len()), (0, 0));
    assert!(store.take("anna".to_owned()).await.unwrap().is_none(), "she is claimed");
    store.release(vec!["anna".to_owned()]).await.unwrap();
    accept(&store, vec![event("anna", "1")]).await;
    assert!(store.take("anna".to_owned()).await.unwrap().is_none(), "she has an input");
    let claim = claim_one(&store).await;
    commit(&store, turn(&claim)).await;
    let claim = take(&store, "anna").await;
    assert_eq!(claim.record.document, b"document 1");
    // The same for one whose effect is on its way.
    commit(&store, Commit { effects: vec![effect("anna", 1)], hand_over: true, ..turn(&claim) }).await;
    let claim = take(&store, "anna").await;
    assert_eq!((claim.record.version, claim.record.document.as_slice()), (2, b"document 2".as_slice()));
    assert!(store.take("anna".to_owned()).await.unwrap().is_none(), "she is claimed");
    commit(&store, Commit { effects: vec![effect("anna", 2)], hand_over: true, ..turn(&claim) }).await;
    accept(&store, vec![event("anna", "2")]).await;
    assert!(store.take("anna".to_owned()).await.unwrap().is_none(), "she has an input");
    let claim = claim_one(&store).await;
    assert_eq!((claim.record.version, claim.inputs.len()), (3, 1));
}

pub async fn a_release_changes_nothing(stand: &dyn Stand) {
    let store = open(stand);
    make_with(&store, "anna", |first| first.wake = Some(Time(START))).await;
    accept(&store, vec![event("anna", "1")]).await;
    let first = claim_one(&store).await;
    store.release(vec!["anna".to_owned(), "nobody".to_owned()]).await.unwrap();
    let again = claim_one(&store).await;
    assert_eq!((again.record.version, again.inputs[0].seq), (first.record.version, first.inputs[0].seq));
    commit(&store, turn(&again)).await;
    assert!(claimed(&store).await.is_empty());
}
