//! What a document may hold.

use super::stage::{Stage, time};
use autofunnel::customer::{DOCUMENT_BYTES_MAX, RUNS_MAX, codec};
use autofunnel::fact::What;

const ORDERS: &str = r#"
--- segments.yaml
loyal:
  when: count("visit", "90 days", e.page == "shop") >= 1000
--- order.yaml
funnel: Order
trigger: purchase
key: event.order_id
exit_on: refund
steps:
  - wait: 300 days
"#;

#[test]
fn a_customer_has_a_hundred_runs_at_most() {
    let stage = Stage::new(ORDERS);
    let mut her = stage.customer("2027-03-01 08:00");
    for n in 0..=RUNS_MAX {
        her.at("2027-03-01 10:00", &format!("purchase order_id=O-{n} amount=1"));
    }
    assert_eq!((her.player.count(What::Entered), her.player.count(What::NotEntered)), (RUNS_MAX, 1));
    assert!(her.story().contains("limit: 100 runs"), "{}", her.story());
    her.at("2027-03-01 11:00", "refund amount=1").at("2027-03-01 12:00", "purchase order_id=O-0 amount=1");
    assert_eq!((her.player.count(What::Exited), her.player.count(What::Entered)), (RUNS_MAX, RUNS_MAX + 1));
}

#[test]
fn a_document_that_is_full_takes_no_more_runs() {
    let stage = Stage::new(ORDERS);
    let mut her = stage.customer("2027-03-01 08:00");
    let long = "x".repeat(4_000);
    for n in 0..20 {
        her.at("2027-03-01 10:00", &format!("purchase order_id=O-{n} amount=1 note={long}"));
    }
    assert!(her.player.count(What::Entered) >= 8, "{}", her.player.count(What::Entered));
    assert!(her.story().contains("limit: her document has no room"));
    assert!(codec::encode(her.document()).len() <= DOCUMENT_BYTES_MAX);
}

#[test]
fn keys_of_entries_are_remembered_for_400_days() {
    let stage = Stage::new(&ORDERS.replace("wait: 300 days", "stop: done"));
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase id=p order_id=A amount=1");
    her.at("2028-04-04 10:00", "purchase@2028-04-04 id=p order_id=A amount=1");
    her.at("2028-04-04 11:00:00.001", "set name=Ada").at("2028-04-04 12:00", "purchase id=p order_id=A amount=1");
    let entered: Vec<_> = her.player.facts_of("order").filter(|fact| fact.what == What::Entered).map(|fact| fact.at).collect();
    assert_eq!(entered, [time("2027-03-01 10:00"), time("2028-04-04 12:00")]);
}

#[test]
fn names_of_events_nobody_asks_for_are_bounded() {
    let stage = Stage::new(ORDERS);
    let mut her = stage.customer("2027-03-01 08:00");
    for n in 0..500 {
        her.at("2027-03-01 10:00", &format!("made-up-{n}"));
    }
    assert!(her.document().history.len() <= 300, "{}", her.document().history.len());
    her.at("2027-03-01 11:00", "purchase order_id=A amount=1");
    assert_eq!(her.document().history["purchase"].count, 1, "what a definition names is always kept");
}
