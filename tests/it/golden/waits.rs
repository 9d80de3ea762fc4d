//! Waiting for something, leaving in the middle, reaching the goal after the end.

use super::stage::Stage;
use insta::assert_snapshot;

const WAITING: &str = r#"
--- autofunnel.yaml
quiet_hours: { from: "21:00", until: "08:00" }
--- segments.yaml
buyer: { when: purchases("3 days") >= 1 }
--- cart.yaml
funnel: Cart
trigger: { event: cart_updated }
re_entry: always
exit_on: [ { event: refund, where: event.amount > 10 }, { segment_left: buyer } ]
goal: { event: purchase, within: 5 days, value: event.amount, every: true }
steps:
  - wait_for: { event: purchase, where: event.amount >= 20 }
    id: bought
    up_to: 2 days
    then:
      - email: { subject: Thanks, text: "For {{ steps.bought.event.order_id }}" }
        id: thanks
      - wait: 2 days
    otherwise:
      - email: { subject: Forgotten, text: Forgotten }
        id: forgotten
  - stop: "{{ no template }}"
"#;

#[test]
fn what_is_waited_for_comes_or_does_not() {
    let stage = Stage::new(WAITING);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "cart_updated").at("2027-03-02 10:00", "purchase order_id=A amount=19.99");
    her.at("2027-03-02 11:00", "purchase order_id=B amount=20").until("2027-03-20");
    assert_snapshot!(her.timeline(), @"
    2027-03-01 10:00 event cart_updated
    2027-03-01 10:00 entered cart#1 | cart_updated
    2027-03-01 10:00 waiting cart#1 2027-03-03 10:00 | purchase where event.amount >= 20
    2027-03-02 10:00 event purchase
    2027-03-02 10:00 segment_entered buyer
    2027-03-02 10:00 goal cart#1 purchase 19.99 EUR
    2027-03-02 11:00 event purchase
    2027-03-02 11:00 goal cart#1 purchase 20.00 EUR
    2027-03-02 11:00 resumed cart#1 matched | purchase where event.amount >= 20
    2027-03-02 11:00 planned cart#1 thanks
    2027-03-02 11:00 sent cart#1 email inline:thanks
    2027-03-02 11:00 waiting cart#1 2027-03-04 11:00 | 2 days
    2027-03-04 11:00 stopped cart#1 {{ no template }}
    2027-03-05 11:00 segment_left buyer
    ");
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "cart_updated").until("2027-03-05");
    assert_snapshot!(her.timeline(), @"
    2027-03-01 10:00 event cart_updated
    2027-03-01 10:00 entered cart#1 | cart_updated
    2027-03-01 10:00 waiting cart#1 2027-03-03 10:00 | purchase where event.amount >= 20
    2027-03-03 10:00 resumed cart#1 timeout | purchase where event.amount >= 20
    2027-03-03 10:00 planned cart#1 forgotten
    2027-03-03 10:00 sent cart#1 email inline:forgotten
    2027-03-03 10:00 stopped cart#1 {{ no template }}
    ");
}

#[test]
fn at_the_very_instant_at_which_it_gives_up_what_comes_still_counts() {
    let stage = Stage::new(WAITING);
    for (at, result) in [("2027-03-03 10:00", "matched"), ("2027-03-03 10:00:00.001", "timeout")] {
        let mut her = stage.customer("2027-03-01 08:00");
        her.at("2027-03-01 10:00", "cart_updated").at(at, "purchase order_id=B amount=20");
        assert!(her.timeline().contains(&format!("resumed cart#1 {result}")), "{at}: {}", her.timeline());
    }
}

#[test]
fn a_wait_is_not_over_a_moment_early_whatever_happens() {
    let stage = Stage::new("--- wait.yaml\nfunnel: Wait\ntrigger: { event: go }\nsteps: [ { wait: 1 hour }, { stop: done } ]\n");
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 09:00", "go").at("2027-03-01 09:59:59.999", "noise").at("2027-03-01 09:59:59.999", "set name=Eve");
    assert_eq!(her.player.count(autofunnel::fact::What::Stopped), 0);
    her.at("2027-03-01 10:00", "noise");
    assert_eq!(her.player.count(autofunnel::fact::What::Stopped), 1);
}

#[test]
fn a_run_leaves_in_the_middle_of_a_wait_and_out_of_a_held_message() {
    let stage = Stage::new(WAITING);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "cart_updated")
        .at("2027-03-01 12:00", "refund amount=10")
        .at("2027-03-01 13:00", "refund amount=10.01");
    her.at("2027-03-02 23:00", "cart_updated").at("2027-03-03 00:00", "purchase order_id=C amount=30");
    her.at("2027-03-03 07:59:59", "refund amount=30").until("2027-03-20");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered cart#1 | cart_updated
    2027-03-01 13:00 exited cart#1 refund | exit_on
    2027-03-02 23:00 entered cart#2 | cart_updated
    2027-03-03 00:00 segment_entered buyer
    2027-03-03 00:00 goal cart#1 purchase 30.00 EUR
    2027-03-03 00:00 goal cart#2 purchase 30.00 EUR
    2027-03-03 00:00 resumed cart#2 matched | purchase where event.amount >= 20
    2027-03-03 00:00 held cart#2 email inline:thanks | quiet hours 21:00–08:00
    2027-03-03 07:59:59.000 exited cart#2 refund | exit_on
    2027-03-06 00:00 segment_left buyer
    ");
}

#[test]
fn a_goal_is_reached_after_the_end_and_within_its_window_only() {
    let stage = Stage::new(
        r#"
--- once.yaml
funnel: Once
trigger: { event: go }
goal: { event: purchase, within: 5 days, value: event.amount }
steps: [ { stop: done } ]
--- twice.yaml
funnel: Twice
trigger: { event: go }
goal: { event: purchase, within: 5 days, value: event.amount * 2, every: true }
steps: [ { wait: 1 day } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "go").at("2027-03-02 09:00", "purchase amount=10").at("2027-03-03 10:00", "purchase amount=20");
    her.at("2027-03-06 10:00", "purchase amount=30").at("2027-03-06 10:00:00.001", "purchase amount=40");
    // It happened in time and arrives late.
    her.at("2027-03-07 10:00", "purchase@2027-03-06T09:00 amount=50");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered once#1 | go
    2027-03-01 10:00 entered twice#2 | go
    2027-03-01 10:00 stopped once#1 done
    2027-03-02 09:00 goal once#1 purchase 10.00 EUR
    2027-03-02 09:00 goal twice#2 purchase 20.00 EUR
    2027-03-02 10:00 finished twice#2
    2027-03-03 10:00 goal twice#2 purchase 40.00 EUR
    2027-03-06 10:00 goal twice#2 purchase 60.00 EUR
    2027-03-07 10:00 goal twice#2 purchase 100.00 EUR
    ");
    // An event of then can arrive for three more days; then nothing is left to wait for.
    her.until("2027-03-09 10:00:00.001");
    assert!(her.document().runs.is_empty());
    assert_eq!(her.player.wake, None);
}

#[test]
fn a_condition_waited_for_becomes_true_by_time_or_by_what_she_does() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
profile: { roast: text }
--- segments.yaml
dark:
  when: customer.roast == "dark"
--- time.yaml
funnel: Time
trigger: { event: go }
steps:
  - wait_for:
      condition: count("go", "36h") == 0
    up_to: 5 days
--- profile.yaml
funnel: Profile
trigger: { event: go }
steps:
  - wait_for: { segment_entered: dark }
    up_to: 5 days
  - wait_for:
      condition: in_segment("dark")
    up_to: 5 days
  - wait_for: { segment_left: dark }
    up_to: 5 days
  - set: { roast: { cel: "event.name" } }
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "go")
        .at("2027-03-02 10:00", "set roast=dark")
        .at("2027-03-03 10:00", "set roast=null")
        .until("2027-03-09");
    assert_snapshot!(her.timeline(), @r#"
    2027-03-01 10:00 event go
    2027-03-01 10:00 entered profile#1 | go
    2027-03-01 10:00 entered time#2 | go
    2027-03-01 10:00 waiting profile#1 2027-03-06 10:00 | enters segment dark
    2027-03-01 10:00 waiting time#2 2027-03-06 10:00 | count("go", "36h") == 0
    2027-03-02 10:00 profile roast
    2027-03-02 10:00 segment_entered dark
    2027-03-02 10:00 resumed profile#1 matched | enters segment dark
    2027-03-02 10:00 waiting profile#1 2027-03-07 10:00 | leaves segment dark
    2027-03-02 22:00 resumed time#2 matched | count("go", "36h") == 0
    2027-03-02 22:00 finished time#2
    2027-03-03 10:00 profile roast
    2027-03-03 10:00 segment_left dark
    2027-03-03 10:00 resumed profile#1 matched | leaves segment dark
    2027-03-03 10:00 set profile#1 roast
    2027-03-03 10:00 finished profile#1
    "#);
}

#[test]
fn what_was_waited_for_can_be_read_in_its_own_then() {
    let stage = Stage::new(
        r#"
--- first.yaml
funnel: First order
trigger: signed_up
goal: purchase
steps:
  - wait_for: purchase
    id: order
    up_to: 9 days
    then:
      - grant: 1 point per EUR
        of: steps.order.event.amount
      - stop: large
        if: steps.order.event.amount > 100
      - email: { subject: Thanks, text: "Thank you for {{ steps.order.event.order_id }}" }
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "signed_up").at("2027-03-02 10:00", "purchase order_id=A amount=20.90").until("2027-03-04");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered first#1 | signed_up
    2027-03-02 10:00 goal first#1 purchase
    2027-03-02 10:00 resumed first#1 matched | purchase
    2027-03-02 10:00 granted first#1 20 points | first
    2027-03-02 10:00 skipped first#1 stop_1 | if: steps.order.event.amount > 100
    2027-03-02 10:00 sent first#1 email inline:email_1
    2027-03-02 10:00 finished first#1
    ");
}
