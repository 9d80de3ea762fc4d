//! What comes first within one instant, and what a backlog comes to.

use super::stage::Stage;
use insta::assert_snapshot;

#[test]
fn within_one_instant_everything_has_its_order() {
    let stage = Stage::new(
        r#"
--- segments.yaml
buyer: { when: purchases() >= 1 }
first-class: { when: in_segment("buyer") && customer.consent.email }
--- a-exit.yaml
funnel: Exit
trigger: { event: go }
goal: { segment_entered: buyer }
exit_on: purchase
steps: [ { wait: 9 days } ]
--- b-wait.yaml
funnel: Wait
trigger: { event: go }
goal: purchase
steps:
  - wait_for: purchase
    up_to: 9 days
  - email: { subject: Thanks, text: Thanks }
  - emit: thanked
--- c-entry.yaml
funnel: Entry
trigger: purchase
priority: 5
exit_on: purchase
goal: purchase
steps:
  - branch:
      - if: in_segment("first-class")
        then: [ { email: { subject: First, text: First } } ]
      - else: [ { stop: no } ]
  - wait: 1 day
--- d-segment.yaml
funnel: Segment
trigger: { segment_entered: first-class }
priority: 7
steps: [ { wait: 1 day } ]
--- e-thanked.yaml
funnel: Thanked
trigger: { event: thanked }
steps: [ { wait: 1 day } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 09:00", "go").at("2027-03-01 10:00", "purchase amount=20");
    assert_snapshot!(her.timeline(), @r#"
    2027-03-01 09:00 event go
    2027-03-01 09:00 entered a-exit#1 | go
    2027-03-01 09:00 entered b-wait#2 | go
    2027-03-01 09:00 waiting a-exit#1 2027-03-10 09:00 | 9 days
    2027-03-01 09:00 waiting b-wait#2 2027-03-10 09:00 | purchase
    2027-03-01 10:00 event purchase
    2027-03-01 10:00 segment_entered buyer
    2027-03-01 10:00 segment_entered first-class
    2027-03-01 10:00 goal a-exit#1 enters segment buyer
    2027-03-01 10:00 goal b-wait#2 purchase
    2027-03-01 10:00 exited a-exit#1 purchase | exit_on
    2027-03-01 10:00 resumed b-wait#2 matched | purchase
    2027-03-01 10:00 entered d-segment#3 | enters the segment first-class
    2027-03-01 10:00 entered c-entry#4 | purchase
    2027-03-01 10:00 waiting d-segment#3 2027-03-02 10:00 | 1 day
    2027-03-01 10:00 branched c-entry#4 in_segment("first-class")
    2027-03-01 10:00 planned c-entry#4 email_1
    2027-03-01 10:00 planned b-wait#2 email_1
    2027-03-01 10:00 sent c-entry#4 email inline:email_1
    2027-03-01 10:00 waiting c-entry#4 2027-03-02 10:00 | 1 day
    2027-03-01 10:00 sent b-wait#2 email inline:email_1
    2027-03-01 10:00 emitted b-wait#2 thanked
    2027-03-01 10:00 finished b-wait#2
    2027-03-01 10:00 event thanked
    2027-03-01 10:00 entered e-thanked#5 | thanked
    2027-03-01 10:00 waiting e-thanked#5 2027-03-02 10:00 | 1 day
    "#);
}

#[test]
fn inputs_of_an_instant_come_before_what_is_due_in_it() {
    let stage = Stage::new(
        r#"
--- wait.yaml
funnel: Wait
trigger: { event: go }
exit_on: purchase
steps:
  - wait: 1 hour
  - email: { subject: Never, text: Never }
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 09:00", "go");
    let mut later = her.clone();
    // One by one she would be woken at 10:00; an input of that instant is read first where both are there.
    her.backlog("2027-03-01 10:00", &[("2027-03-01 10:00", "purchase amount=1")]);
    assert_snapshot!(her.story(), @"
    2027-03-01 09:00 entered wait#1 | go
    2027-03-01 10:00 exited wait#1 purchase | exit_on
    ");
    later.backlog("2027-03-01 12:00", &[("2027-03-01 10:00:00.001", "purchase amount=1")]);
    assert_snapshot!(later.story(), @"
    2027-03-01 09:00 entered wait#1 | go
    2027-03-01 10:00:00.001 exited wait#1 purchase | exit_on
    2027-03-01 10:00:00.001 withdrawn wait#1 email inline:email_1 | the run is over
    ");
}

const DOWN: &str = r#"
--- autofunnel.yaml
quiet_hours: { from: "21:00", until: "08:00" }
caps: [ { channel: sms, at_most: 1, within: 24h } ]
--- segments.yaml
fresh: { when: purchases("36h") >= 1 }
--- left.yaml
funnel: Left
trigger: { segment_left: fresh }
steps:
  - sms: { text: Gone }
--- hello.yaml
funnel: Hello
trigger: signed_up
exit_on: { event: purchase, where: event.amount > 50 }
steps:
  - wait: 1 day
  - sms: { text: Hi }
  - wait: 1 day
  - stop: done
"#;

#[test]
fn after_down_time_conditions_are_of_then_and_sending_is_of_now() {
    let stage = Stage::new(DOWN);
    let acts = [("2027-03-01 10:00", "signed_up"), ("2027-03-01 22:00", "purchase amount=10")];
    let mut live = stage.customer("2027-03-01 08:00");
    for (at, text) in acts {
        live.at(at, text);
    }
    live.until("2027-03-08");
    assert_snapshot!(live.story(), @"
    2027-03-01 10:00 entered hello#1 | signed_up
    2027-03-01 22:00 segment_entered fresh
    2027-03-02 10:00 sent hello#1 sms inline:sms_1
    2027-03-03 10:00 segment_left fresh
    2027-03-03 10:00 entered left#2 | leaves the segment fresh
    2027-03-03 10:00 stopped hello#1 done
    2027-03-03 10:00 sent left#2 sms inline:sms_1
    2027-03-03 10:00 finished left#2
    ");
    // Down until Friday night: the segment was left on Wednesday, the messages wait for Saturday, and of two
    // of them the cap takes one.
    let mut down = stage.customer("2027-03-01 08:00");
    down.backlog("2027-03-05 22:00", &acts).until("2027-03-08");
    assert_snapshot!(down.story(), @"
    2027-03-01 10:00 entered hello#1 | signed_up
    2027-03-01 22:00 segment_entered fresh
    2027-03-02 10:00 held hello#1 sms inline:sms_1 | quiet hours 21:00–08:00
    2027-03-03 10:00 segment_left fresh
    2027-03-03 10:00 entered left#2 | leaves the segment fresh
    2027-03-03 10:00 held left#2 sms inline:sms_1 | quiet hours 21:00–08:00
    2027-03-06 08:00 capped left#2 sms inline:sms_1 | cap: at most 1 sms within 24 hours
    2027-03-06 08:00 finished left#2
    2027-03-06 08:00 sent hello#1 sms inline:sms_1
    2027-03-07 08:00 stopped hello#1 done
    ");
}

#[test]
fn erasure_ends_everything() {
    let stage = Stage::new(DOWN);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "signed_up").at("2027-03-01 11:00", "erase").until("2027-04-01");
    assert_snapshot!(her.story(), @"2027-03-01 10:00 entered hello#1 | signed_up");
    assert!(her.player.customer.is_none() && her.player.wake.is_none());
}
