//! Points that are taken back when the order that they were given for is.

use super::stage::{Stage, act, time};
use autofunnel::account;
use autofunnel::effect::Outcome;
use autofunnel::event::{Input, InputBody};
use autofunnel::turn::{book, turn};
use insta::assert_snapshot;

const THANKS: &str = r#"
--- thanks.yaml
funnel: Thanks
trigger: purchase
key: event.order_id
re_entry: always
goal: { event: review, within: 3 days }
steps:
  - grant: 50 points
    active_after: 1 day
    undo_on: { event: refund, where: event.order_id == run.key }
    undo_within: 20 days
  - wait: 2 days
  - email: { subject: Enjoy, text: Enjoy }
"#;

#[test]
fn a_refund_takes_the_points_of_its_order_back_and_stops_what_follows() {
    let stage = Stage::new(THANKS);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase order_id=A amount=20").at("2027-03-01 11:00", "purchase order_id=B amount=20");
    // Before they can be spent, and before the message.
    her.at("2027-03-01 12:00", "refund order_id=A amount=20");
    // After the run's end and after the goal; a second refund finds nothing.
    her.at("2027-03-04 10:00", "review rating=5").at("2027-03-10 10:00", "refund order_id=B amount=20");
    her.at("2027-03-10 11:00", "refund order_id=B amount=20");
    // Exactly at the end of the time, and a moment after it.
    her.at("2027-04-01 10:00", "purchase order_id=C amount=20").at("2027-04-01 10:00", "purchase order_id=D amount=20");
    her.at("2027-04-21 10:00", "refund order_id=C amount=20").at("2027-04-21 10:00:00.001", "refund order_id=D amount=20");
    her.until("2027-06-01");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered thanks#1 | purchase
    2027-03-01 10:00 granted thanks#1 50 points | thanks, pending
    2027-03-01 11:00 entered thanks#2 | purchase
    2027-03-01 11:00 granted thanks#2 50 points | thanks, pending
    2027-03-01 12:00 undone thanks#1 50 points | refund where event.order_id == run.key
    2027-03-01 12:00 exited thanks#1 undo_on | what it gave was taken back
    2027-03-02 11:00 bonus_activated 50 points | thanks
    2027-03-03 11:00 sent thanks#2 email inline:email_1
    2027-03-03 11:00 finished thanks#2
    2027-03-04 10:00 goal thanks#1 review
    2027-03-04 10:00 goal thanks#2 review
    2027-03-10 10:00 undone thanks#2 50 points | refund where event.order_id == run.key
    2027-04-01 10:00 entered thanks#3 | purchase
    2027-04-01 10:00 granted thanks#3 50 points | thanks, pending
    2027-04-01 10:00 entered thanks#4 | purchase
    2027-04-01 10:00 granted thanks#4 50 points | thanks, pending
    2027-04-02 10:00 bonus_activated 50 points | thanks
    2027-04-02 10:00 bonus_activated 50 points | thanks
    2027-04-03 10:00 sent thanks#3 email inline:email_1
    2027-04-03 10:00 finished thanks#3
    2027-04-03 10:00 sent thanks#4 email inline:email_1
    2027-04-03 10:00 finished thanks#4
    2027-04-21 10:00 undone thanks#3 50 points | refund where event.order_id == run.key
    ");
    assert_eq!(her.document().loyalty.balance, 50);
    assert!(her.document().runs.is_empty(), "nothing is kept longer than it can be undone");
}

#[test]
fn what_was_spent_stays_spent() {
    let stage = Stage::new(THANKS);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase order_id=A amount=20").until("2027-03-05 10:00");
    let spend = account::Command::Spend { key: "order-9".to_owned(), points: 30 };
    her.player.account = account::apply(&her.player.account, &spend, time("2027-03-05 10:00"), super::stage::BERLIN).0;
    her.at("2027-03-06 10:00", "refund order_id=A amount=20");
    assert!(her.story().contains("undone thanks#1 20 points | refund where"), "{}", her.story());
    assert_eq!(her.document().loyalty.balance, 0);
}

#[test]
fn points_that_are_refunded_before_they_are_booked_are_refused_when_they_come() {
    let stage = Stage::new(THANKS);
    let mut her = stage.customer("2027-03-01 08:00");
    let (bought, back) = (time("2027-03-01 10:00"), time("2027-03-01 10:01"));
    let input = |text: &str, at| vec![Input { accepted_at: at, body: act(text, text, at) }];
    let player = &mut her.player;
    let order = input("purchase order_id=A amount=20", bought);
    let first = turn(&stage.definitions, "ada", player.customer.take(), player.account.clone(), order, bought);
    let effect = first.effects[0].clone();
    let refund = input("refund order_id=A amount=20", back);
    let second = turn(&stage.definitions, "ada", Some(first.customer), player.account.clone(), refund, back);
    assert_eq!(second.withdrawn, std::slice::from_ref(&effect.id));
    let account = second.account.expect("what is not booked yet is refused in the account");
    // It had begun all the same.
    let (account, outcome) =
        book::book(&stage.definitions.current, &second.customer, &account, &effect, back).expect("it is the account's");
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    let late = vec![Input { accepted_at: back, body: InputBody::Result { effect: effect.id, outcome } }];
    let third = turn(&stage.definitions, "ada", Some(second.customer), account, late, back);
    assert_eq!((third.customer.loyalty.balance, third.customer.loyalty.pending), (0, 0));
}

const SHARE: &str = r#"
--- thanks.yaml
funnel: Thanks
trigger: purchase
key: event.order_id
re_entry: always
goal: { event: review, within: 3 days }
steps:
  - grant: 2 points per EUR
    of: event.amount
    active_after: 1 day
    undo_on: { event: refund, where: event.order_id == run.key }
    undo: share
  - wait: 2 days
  - email: { subject: Enjoy, text: Enjoy }
"#;

#[test]
fn points_per_euro_are_whole_and_a_small_order_brings_none() {
    let stage = Stage::new(SHARE);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase order_id=A amount=24.99").at("2027-03-01 11:00", "purchase order_id=B amount=0.49");
    her.until("2027-03-10");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered thanks#1 | purchase
    2027-03-01 10:00 granted thanks#1 49 points | thanks, pending
    2027-03-01 11:00 entered thanks#2 | purchase
    2027-03-01 11:00 skipped thanks#2 grant_1 | 0.49 is worth no point
    2027-03-02 10:00 bonus_activated 49 points | thanks
    2027-03-03 10:00 sent thanks#1 email inline:email_1
    2027-03-03 10:00 finished thanks#1
    2027-03-03 11:00 sent thanks#2 email inline:email_1
    2027-03-03 11:00 finished thanks#2
    ");
    // By the ten, and never more than the amount is worth.
    let tens = Stage::new(&SHARE.replace("2 points per EUR", "1 point per 10 EUR"));
    let mut her = tens.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase order_id=A amount=39.99").at("2027-03-01 11:00", "purchase order_id=B amount=10");
    her.until("2027-03-10");
    assert_eq!(her.document().loyalty.balance, 3 + 1);
}

#[test]
fn a_part_of_an_order_that_is_given_back_takes_its_share_and_the_rest_the_rest() {
    let stage = Stage::new(SHARE);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase order_id=A amount=100.50");
    // 70.50 are left of the order, which are worth 141 points; then 0.25, which are worth none; then nothing.
    her.at("2027-03-01 12:00", "refund order_id=A amount=30").at("2027-03-05 12:00", "refund order_id=A amount=70.25");
    her.at("2027-03-06 12:00", "refund order_id=A amount=0.25").until("2027-03-10");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered thanks#1 | purchase
    2027-03-01 10:00 granted thanks#1 201 points | thanks, pending
    2027-03-01 12:00 undone thanks#1 60 points | refund where event.order_id == run.key
    2027-03-02 10:00 bonus_activated 141 points | thanks
    2027-03-03 10:00 sent thanks#1 email inline:email_1
    2027-03-03 10:00 finished thanks#1
    2027-03-05 12:00 undone thanks#1 141 points | refund where event.order_id == run.key
    2027-03-06 12:00 undone thanks#1 0 points | refund where event.order_id == run.key
    ");
    assert_eq!(her.document().loyalty.balance, 0);
    let account = &her.player.account;
    assert_eq!(account.entries().map(|entry| entry.change).sum::<i64>(), account.balance());
    // At once it is the same.
    let mut at_once = stage.customer("2027-03-01 08:00");
    at_once.at("2027-03-01 10:00", "purchase order_id=A amount=100.50").at("2027-03-05 12:00", "refund order_id=A amount=100.25");
    assert_eq!(at_once.document().loyalty.balance, 0);
}

#[test]
fn of_what_was_spent_nothing_is_taken_a_second_time() {
    let stage = Stage::new(SHARE);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase order_id=A amount=100").until("2027-03-05 10:00");
    let spend = account::Command::Spend { key: "order-9".to_owned(), points: 150 };
    her.player.account = account::apply(&her.player.account, &spend, time("2027-03-05 10:00"), super::stage::BERLIN).0;
    // 120 would be hers for 60, and 150 are gone: 50 are left, of 80 that are asked back.
    her.at("2027-03-06 10:00", "refund order_id=A amount=40");
    assert!(her.story().contains("undone thanks#1 50 points"), "{}", her.story());
    her.at("2027-03-07 10:00", "refund order_id=A amount=10");
    assert_eq!((her.document().loyalty.balance, her.story().matches("undone").count()), (0, 1));
}

#[test]
fn a_part_that_is_given_back_before_the_points_are_booked_is_taken_when_they_are() {
    let stage = Stage::new(SHARE);
    let mut her = stage.customer("2027-03-01 08:00");
    let (bought, back) = (time("2027-03-01 10:00"), time("2027-03-01 10:01"));
    let input = |text: &str, at| vec![Input { accepted_at: at, body: act(text, text, at) }];
    let player = &mut her.player;
    let order = input("purchase order_id=A amount=20", bought);
    let first = turn(&stage.definitions, "ada", player.customer.take(), player.account.clone(), order, bought);
    let effect = first.effects[0].clone();
    let refund = input("refund order_id=A amount=5", back);
    let second = turn(&stage.definitions, "ada", Some(first.customer), player.account.clone(), refund, back);
    assert!(second.withdrawn.is_empty() && second.customer.runs[0].is_live(), "the rest of the order stands");
    let account = second.account.unwrap_or_else(|| player.account.clone());
    let (account, outcome) = book::book(&stage.definitions.current, &second.customer, &account, &effect, back).unwrap();
    let answer = vec![Input { accepted_at: back, body: InputBody::Result { effect: effect.id, outcome } }];
    let third = turn(&stage.definitions, "ada", Some(second.customer), account, answer, back);
    assert_eq!((third.customer.loyalty.balance, third.customer.loyalty.pending), (0, 30));
    assert!(third.facts.iter().any(|fact| fact.what == autofunnel::fact::What::Undone && fact.amount == Some(10)));
}

#[test]
fn points_that_come_when_their_run_is_over_are_of_its_funnel_all_the_same() {
    let funnel = |goal: &str| {
        format!(
            "--- gift.yaml\nfunnel: Gift\ntrigger: joined\nexit_on: [ left ]\n{goal}steps:\n  - grant: 50 points\n    id: gift\n"
        )
    };
    for goal in ["goal: { event: purchase, within: 30 days }\n", ""] {
        let stage = Stage::new(&funnel(goal));
        let mut her = stage.customer("2027-03-01 08:00");
        let (joined, left) = (time("2027-03-01 10:00"), time("2027-03-01 10:01"));
        let input = |text: &str, at| vec![Input { accepted_at: at, body: act(text, text, at) }];
        let player = &mut her.player;
        let first =
            turn(&stage.definitions, "ada", player.customer.take(), player.account.clone(), input("joined", joined), joined);
        let effect = first.effects[0].clone();
        let second = turn(&stage.definitions, "ada", Some(first.customer), player.account.clone(), input("left", left), left);
        assert_eq!(second.withdrawn, std::slice::from_ref(&effect.id));
        // It had begun all the same.
        let (account, outcome) =
            book::book(&stage.definitions.current, &second.customer, &player.account, &effect, left).unwrap();
        let answer = |outcome| vec![Input { accepted_at: left, body: InputBody::Result { effect: effect.id.clone(), outcome } }];
        let third = turn(&stage.definitions, "ada", Some(second.customer), account, answer(outcome), left);
        let granted = third.facts.iter().find(|fact| fact.what == autofunnel::fact::What::Granted).unwrap();
        let run = granted.run.as_ref().unwrap();
        assert_eq!((granted.amount, run.funnel.as_str(), run.run, run.step.as_str()), (Some(50), "gift", 1, "gift"), "{goal}");
        assert_eq!(third.customer.loyalty.balance, 50);
        // The same answer again counts for nothing.
        let (id, outcome) = (effect.id.clone(), Outcome::Accepted { reference: None, data: Default::default() });
        let again = vec![Input { accepted_at: left, body: InputBody::Result { effect: id, outcome } }];
        let fourth = turn(&stage.definitions, "ada", Some(third.customer), third.account.unwrap_or_default(), again, left);
        assert!(fourth.facts.iter().all(|fact| fact.what != autofunnel::fact::What::Granted));
    }
}
