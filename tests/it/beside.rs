//! Workers of before and after an edit of the workspace, side by side on one store.

use crate::contract::{Stand, TestClock, event};
use crate::sim::model::ModelStand;
use crate::sim::stage::{CLIENT, OWN, kept};
use autofunnel::channel::Tools;
use autofunnel::engine::intake::Shared;
use autofunnel::engine::link::Signer;
use autofunnel::engine::turner::Turner;
use autofunnel::engine::{Engine, Live, Meter};
use autofunnel::event::InputBody;
use autofunnel::fact::What;
use autofunnel::funnel::Definitions;
use autofunnel::lang::time::DAY_MS;
use autofunnel::queue::{Handler, Lane};
use autofunnel::store::{NewInput, Store};
use std::collections::HashMap;
use std::sync::Arc;

fn worker(definitions: &Definitions, store: &Arc<dyn Store>) -> Turner {
    let live = Arc::new(Shared::new(Live::new(definitions.clone(), HashMap::new(), Signer::new(vec![7; 32]))));
    let tools = Tools { client: CLIENT.clone(), store: store.clone() };
    let (effects, meter) = (Lane::new(1).0, Arc::new(Meter::default()));
    let engine = Engine {
        store: store.clone(),
        live,
        effects,
        tools,
        meter,
        traffic: Arc::default(),
        budgets: Arc::default(),
        recorder: None,
    };
    Turner { engine }
}

async fn turns(worker: &Turner, store: &Arc<dyn Store>) {
    loop {
        let claims = store.claim(9).await.unwrap();
        if claims.is_empty() {
            return;
        }
        worker.handle(claims).await;
    }
}

fn joined(clock: &TestClock) -> NewInput {
    let mut input = event("anna", "1");
    if let InputBody::Event(event) = &mut input.body {
        (event.name, event.time, event.minor) = ("joined".to_owned(), clock.now(), None);
        event.properties.clear();
    }
    input
}

#[tokio::test]
async fn a_run_that_a_worker_beside_has_begun_under_another_version_goes_on() {
    let stand = ModelStand::new();
    let store = stand.open().unwrap();
    let (old, new) = (worker(&OWN.definitions, &store), worker(&OWN.edited, &store));
    for definitions in [&OWN.definitions, &OWN.edited] {
        let (hash, funnels, bundle) = kept(definitions);
        store.put_definitions(hash, funnels, bundle).await.unwrap();
    }
    store.accept(vec![joined(stand.clock())]).await.unwrap();
    turns(&new, &store).await;
    // She waits for a day; then the worker of before has her.
    stand.clock().pass(DAY_MS + 1);
    turns(&old, &store).await;
    let told = store.timeline("anna".to_owned(), None, 99).await.unwrap();
    let whats: Vec<What> = told.iter().rev().map(|row| row.fact.what).collect();
    assert!(!whats.contains(&What::Stopped) && !whats.contains(&What::Alert), "{whats:?}");
    let of_it = told.iter().filter(|row| row.fact.run.as_ref().is_some_and(|run| run.funnel == "welcome"));
    let waits = of_it.filter(|row| row.fact.what == What::Waiting).count();
    assert_eq!(waits, 2, "for a day, then for a purchase: {whats:?}");
}
