//! Waits that begin anew, waits for the best of several things, and funnels that enter another.

use super::stage::Stage;
use insta::assert_snapshot;

#[test]
fn an_abandoned_cart_is_waited_for_anew_with_each_change_of_that_cart() {
    let stage = Stage::new(
        r#"
--- cart.yaml
funnel: Cart
trigger: cart_updated
key: event.cart_id
re_entry: always
exit_on: { event: purchase, where: event.order_id == run.key }
goal: { event: purchase, within: 2 days }
steps:
  - wait: 4h
    restart_on: cart_updated
  - email: { subject: "Your cart of {{ event.amount }}", text: Still there }
  - wait_for: purchase
    up_to: 1 day
    restart_on: { event: cart_updated, where: event.amount > 50 }
    otherwise: [ { stop: gave up } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "cart_updated cart_id=A amount=10").at("2027-03-01 11:00", "cart_updated cart_id=B amount=20");
    her.at("2027-03-01 13:00", "cart_updated cart_id=A amount=30").at("2027-03-01 14:30", "purchase order_id=B amount=20");
    // Exactly at the end of the wait: what happens comes before what is due.
    her.at("2027-03-01 17:00", "cart_updated cart_id=A amount=40").until("2027-03-02 12:00");
    her.at("2027-03-02 13:00", "cart_updated cart_id=A amount=45").at("2027-03-02 14:00", "cart_updated cart_id=A amount=60");
    her.until("2027-03-05");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered cart#1 | cart_updated
    2027-03-01 11:00 entered cart#2 | cart_updated
    2027-03-01 13:00 restarted cart#1 | cart_updated
    2027-03-01 13:00 not_entered cart#0 | re_entry: a run of the key A is under way
    2027-03-01 14:30 goal cart#1 purchase
    2027-03-01 14:30 goal cart#2 purchase
    2027-03-01 14:30 exited cart#2 purchase | exit_on
    2027-03-01 17:00 restarted cart#1 | cart_updated
    2027-03-01 17:00 not_entered cart#0 | re_entry: a run of the key A is under way
    2027-03-01 21:00 sent cart#1 email inline:email_1
    2027-03-02 13:00 not_entered cart#0 | re_entry: a run of the key A is under way
    2027-03-02 14:00 restarted cart#1 | cart_updated where event.amount > 50
    2027-03-02 14:00 not_entered cart#0 | re_entry: a run of the key A is under way
    2027-03-03 14:00 resumed cart#1 timeout | purchase
    2027-03-03 14:00 stopped cart#1 gave up
    ");
    assert!(format!("{:?}", her.player.effects[0].kind).contains("Int(40)"), "the message is about the newest cart");
}

#[test]
fn the_best_of_what_happens_in_time_is_taken() {
    let stage = |choose: &str| {
        Stage::new(&format!(
            r#"
--- segments.yaml
buyer: {{ when: purchases() >= 1 }}
--- ask.yaml
funnel: Ask
trigger: asked
re_entry: always
steps:
  - wait_for:
      - segment_entered: buyer
        then: [ {{ stop: bought }} ]
      - event: review
        where: event.rating >= 4
        then: [ {{ set: {{ name: "Fan" }} }} ]
      - event: message_clicked
        then: [ {{ stop: clicked }} ]
    id: ask
    up_to: 3 days
    choose: {choose}
    otherwise: [ {{ stop: nothing }} ]
  - stop: went on
    if: steps.ask.rank == 2 && steps.ask.event.rating == 5
"#
        ))
    };
    let days = |stage: &Stage| {
        let mut her = stage.customer("2027-03-01 08:00");
        her.at("2027-03-01 10:00", "asked").at("2027-03-01 11:00", "message_clicked").at("2027-03-01 12:00", "review rating=5");
        her.at("2027-03-01 13:00", "message_clicked").until("2027-03-05");
        her.at("2027-03-06 10:00", "asked").at("2027-03-06 11:00", "review rating=1").until("2027-03-10");
        her.at("2027-03-11 10:00", "asked").at("2027-03-11 11:00", "message_clicked").at("2027-03-11 12:00", "purchase amount=5");
        her.until("2027-03-20").story()
    };
    assert_snapshot!(days(&stage("best")), @"
    2027-03-01 10:00 entered ask#1 | asked
    2027-03-04 10:00 resumed ask#1 matched | review where event.rating >= 4
    2027-03-04 10:00 set ask#1 name
    2027-03-04 10:00 stopped ask#1 went on
    2027-03-06 10:00 entered ask#2 | asked
    2027-03-09 10:00 resumed ask#2 timeout | enters segment buyer or review where event.rating >= 4 or message_clicked
    2027-03-09 10:00 stopped ask#2 nothing
    2027-03-11 10:00 entered ask#3 | asked
    2027-03-11 12:00 segment_entered buyer
    2027-03-11 12:00 resumed ask#3 matched | enters segment buyer
    2027-03-11 12:00 stopped ask#3 bought
    ");
    assert_snapshot!(days(&stage("first")), @"
    2027-03-01 10:00 entered ask#1 | asked
    2027-03-01 11:00 resumed ask#1 matched | message_clicked
    2027-03-01 11:00 stopped ask#1 clicked
    2027-03-06 10:00 entered ask#2 | asked
    2027-03-09 10:00 resumed ask#2 timeout | enters segment buyer or review where event.rating >= 4 or message_clicked
    2027-03-09 10:00 stopped ask#2 nothing
    2027-03-11 10:00 entered ask#3 | asked
    2027-03-11 11:00 resumed ask#3 matched | message_clicked
    2027-03-11 11:00 stopped ask#3 clicked
    2027-03-11 12:00 segment_entered buyer
    ");
}

#[test]
fn a_funnel_enters_another_by_that_ones_own_rules() {
    let stage = Stage::new(
        r#"
--- hello.yaml
funnel: Hello
trigger: signed_up
re_entry: always
steps:
  - enter: course
    with: { level: 2, from: { cel: event.source } }
  - stop: handed over
--- course.yaml
funnel: Course
trigger: manual
re_entry: never
only_if: event.level == 2
steps:
  - set: { name: { cel: event.from } }
  - wait: 1 day
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "signed_up source=shop").at("2027-03-01 12:00", "signed_up").until("2027-03-04");
    her.at("2027-03-04 10:00", "signed_up source=fair");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered hello#1 | signed_up
    2027-03-01 10:00 passed_on hello#1 course
    2027-03-01 10:00 stopped hello#1 handed over
    2027-03-01 10:00 entered course#2 | only on request
    2027-03-01 10:00 set course#2 name
    2027-03-01 12:00 entered hello#3 | signed_up
    2027-03-01 12:00 skipped hello#3 enter_1 | event.source is not known
    2027-03-01 12:00 stopped hello#3 handed over
    2027-03-02 10:00 finished course#2
    2027-03-04 10:00 entered hello#4 | signed_up
    2027-03-04 10:00 passed_on hello#4 course
    2027-03-04 10:00 stopped hello#4 handed over
    2027-03-04 10:00 not_entered course#0 | re_entry: never again; she entered 2027-03-01 10:00
    ");
}

#[test]
fn funnels_that_enter_each_other_come_to_an_end() {
    let funnel = |name: &str, other: &str| {
        format!("--- {name}.yaml\nfunnel: F\ntrigger: manual\nre_entry: always\nsteps: [ {{ enter: {other} }} ]\n")
    };
    let stage = Stage::new(&(funnel("ping", "pong") + &funnel("pong", "ping")));
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "enrol ping r1");
    let story = her.story();
    assert!(story.contains("more than 8 hops"), "{story}");
    assert_eq!(her.document().last_run, 9, "{story}");
}
