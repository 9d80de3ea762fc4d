//! Messages with several channels: the first by which she can be reached, and what comes after it.

use super::stage::Stage;
use insta::assert_snapshot;

const READY: &str = r#"
--- autofunnel.yaml
caps: [ { channel: push, at_most: 1, per: day } ]
--- ready.yaml
funnel: Ready
trigger: ready
re_entry: always
steps:
  - message: { subject: Ready, text: Your order is ready }
    id: ready
    channels: [push, sms, email]
    topic: orders
  - branch:
      - if: steps.ready.result == "accepted"
        then: [ { stop: told } ]
      - else: [ { stop: not told } ]
"#;

#[test]
fn the_first_channel_by_which_she_can_be_reached_is_used() {
    let stage = Stage::new(READY);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 09:00", "consent push=yes sms:orders=yes email:orders=yes push:orders=yes");
    her.at("2027-03-01 10:00", "ready").at("2027-03-01 10:30", "set push=device");
    her.at("2027-03-01 11:00", "ready").at("2027-03-01 12:00", "ready").at("2027-03-02 12:00", "ready");
    her.at("2027-03-02 13:00", "consent sms:orders=no").at("2027-03-02 14:00", "ready");
    her.at("2027-03-02 15:00", "consent email:orders=no").at("2027-03-02 16:00", "set push=null");
    her.at("2027-03-02 17:00", "ready");
    assert_snapshot!(her.story(), @r#"
    2027-03-01 09:00 consent_given push | test
    2027-03-01 09:00 consent_given sms:orders | test
    2027-03-01 09:00 consent_given email:orders | test
    2027-03-01 09:00 consent_given push:orders | test
    2027-03-01 10:00 entered ready#1 | ready
    2027-03-01 10:00 skipped ready#1 push ready | customer.push is not known
    2027-03-01 10:00 sent ready#1 sms inline:ready
    2027-03-01 10:00 branched ready#1 steps.ready.result == "accepted"
    2027-03-01 10:00 stopped ready#1 told
    2027-03-01 11:00 entered ready#2 | ready
    2027-03-01 11:00 sent ready#2 push inline:ready
    2027-03-01 11:00 branched ready#2 steps.ready.result == "accepted"
    2027-03-01 11:00 stopped ready#2 told
    2027-03-01 12:00 entered ready#3 | ready
    2027-03-01 12:00 skipped ready#3 push ready | cap: at most 1 push per day
    2027-03-01 12:00 sent ready#3 sms inline:ready
    2027-03-01 12:00 branched ready#3 steps.ready.result == "accepted"
    2027-03-01 12:00 stopped ready#3 told
    2027-03-02 12:00 entered ready#4 | ready
    2027-03-02 12:00 sent ready#4 push inline:ready
    2027-03-02 12:00 branched ready#4 steps.ready.result == "accepted"
    2027-03-02 12:00 stopped ready#4 told
    2027-03-02 13:00 consent_withdrawn sms:orders | test
    2027-03-02 14:00 entered ready#5 | ready
    2027-03-02 14:00 skipped ready#5 push ready | cap: at most 1 push per day
    2027-03-02 14:00 skipped ready#5 sms ready | consent for sms about orders was withdrawn 2027-03-02 13:00
    2027-03-02 14:00 sent ready#5 email inline:ready
    2027-03-02 14:00 branched ready#5 steps.ready.result == "accepted"
    2027-03-02 14:00 stopped ready#5 told
    2027-03-02 15:00 consent_withdrawn email:orders | test
    2027-03-02 17:00 entered ready#6 | ready
    2027-03-02 17:00 skipped ready#6 push ready | push: customer.push is not known; sms: consent for sms about orders was withdrawn 2027-03-02 13:00; email: consent for email about orders was withdrawn 2027-03-02 15:00
    2027-03-02 17:00 branched ready#6 else
    2027-03-02 17:00 stopped ready#6 not told
    "#);
    let keys: Vec<&str> = her.player.effects.iter().map(|effect| effect.id.as_str()).collect();
    assert_eq!(keys, ["ada/1/ready/1", "ada/2/ready/1", "ada/3/ready/1", "ada/4/ready/1", "ada/5/ready/1"]);
}

#[test]
fn a_refused_channel_is_followed_by_the_next_under_a_key_of_its_own() {
    let stage = Stage::new(READY);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 09:00", "consent push=yes sms:orders=yes email:orders=yes push:orders=yes")
        .at("2027-03-01 09:30", "set push=x");
    her.at("2027-03-01 09:45", "fail ready refused").at("2027-03-01 10:00", "ready");
    her.at("2027-03-01 11:00", "fail ready dead").at("2027-03-01 11:00", "fail ready refused").at("2027-03-01 12:00", "ready");
    // Nobody knows whether it arrived: another one could be the second.
    her.at("2027-03-03 11:00", "fail ready unknown").at("2027-03-03 12:00", "ready");
    assert_snapshot!(her.story(), @r#"
    2027-03-01 09:00 consent_given push | test
    2027-03-01 09:00 consent_given sms:orders | test
    2027-03-01 09:00 consent_given email:orders | test
    2027-03-01 09:00 consent_given push:orders | test
    2027-03-01 10:00 entered ready#1 | ready
    2027-03-01 10:00 failed ready#1 push inline:ready | refused: asked for by the test
    2027-03-01 10:00 sent ready#1 sms inline:ready
    2027-03-01 10:00 branched ready#1 steps.ready.result == "accepted"
    2027-03-01 10:00 stopped ready#1 told
    2027-03-01 12:00 entered ready#2 | ready
    2027-03-01 12:00 failed ready#2 push inline:ready | dead after 1 attempts: asked for by the test
    2027-03-01 12:00 failed ready#2 sms inline:ready | refused: asked for by the test
    2027-03-01 12:00 sent ready#2 email inline:ready
    2027-03-01 12:00 branched ready#2 steps.ready.result == "accepted"
    2027-03-01 12:00 stopped ready#2 told
    2027-03-03 12:00 entered ready#3 | ready
    2027-03-03 12:00 failed ready#3 push inline:ready | unknown: asked for by the test
    2027-03-03 12:00 branched ready#3 else
    2027-03-03 12:00 stopped ready#3 not told
    "#);
    let keys: Vec<String> = her.player.effects.iter().map(|effect| format!("{} {}", effect.id, effect.kind.name())).collect();
    assert_eq!(
        keys,
        [
            "ada/1/ready/1 message",
            "ada/1/ready/1.1 message",
            "ada/2/ready/1 message",
            "ada/2/ready/1.1 message",
            "ada/2/ready/1.2 message",
            "ada/3/ready/1 message"
        ]
    );
}

#[test]
fn a_message_waits_for_room_under_a_cap_but_not_too_long() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
caps: [ { channel: email, at_most: 2, within: 3 days }, { at_most: 4, per: week } ]
--- fill.yaml
funnel: Fill
trigger: fill
re_entry: always
steps: [ { email: { subject: Fill, text: Fill } } ]
--- late.yaml
funnel: Late
trigger: late
steps: [ { email: { subject: Late, text: Late }, on_cap: { defer: 2 days } } ]
--- exact.yaml
funnel: Exact
trigger: late
steps: [ { email: { subject: Exact, text: Exact }, on_cap: { defer: 47h } } ]
--- short.yaml
funnel: Short
trigger: late
steps: [ { email: { subject: Short, text: Short }, id: short, on_cap: { defer: 46h } }, { stop: went on } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    // The first of the two leaves Thursday at 10:00, exactly 47 hours after the others are wanted.
    her.at("2027-03-01 10:00", "fill").at("2027-03-01 12:00", "fill").at("2027-03-02 11:00", "late").until("2027-03-08");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered fill#1 | fill
    2027-03-01 10:00 sent fill#1 email inline:email_1
    2027-03-01 10:00 finished fill#1
    2027-03-01 12:00 entered fill#2 | fill
    2027-03-01 12:00 sent fill#2 email inline:email_1
    2027-03-01 12:00 finished fill#2
    2027-03-02 11:00 entered exact#3 | late
    2027-03-02 11:00 entered late#4 | late
    2027-03-02 11:00 entered short#5 | late
    2027-03-02 11:00 held exact#3 email inline:email_1 | cap: at most 2 email within 3 days
    2027-03-02 11:00 held late#4 email inline:email_1 | cap: at most 2 email within 3 days
    2027-03-02 11:00 capped short#5 email inline:short | cap: at most 2 email within 3 days; it may be put off until 2027-03-04 09:00, there is room 2027-03-04 10:00
    2027-03-02 11:00 stopped short#5 went on
    2027-03-04 10:00 capped late#4 email inline:email_1 | cap: at most 2 email within 3 days; it may be put off until 2027-03-04 11:00, there is room 2027-03-04 12:00
    2027-03-04 10:00 finished late#4
    2027-03-04 10:00 sent exact#3 email inline:email_1
    2027-03-04 10:00 finished exact#3
    ");
}

#[test]
fn a_message_waits_for_its_window_in_her_zone() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
quiet_hours: { from: "21:00", until: "08:00" }
--- work.yaml
funnel: Work
trigger: go
steps:
  - email: { subject: Work, text: Work }
    window: { days: [mon, tue, wed, thu, fri], from: "07:00", until: "18:00" }
  - sms: { text: Only at the weekend }
    window: { days: [sat, sun], outside: skip }
  - wait: 1 day
  - chat: { text: Only at noon }
    window: { from: "12:00", until: "13:00", outside: exit }
"#,
    );
    // Friday at 18:00: the window has just closed, and on Monday it opens within quiet hours.
    let mut her = stage.customer("2027-03-05 08:00");
    her.at("2027-03-05 18:00", "go").until("2027-03-20");
    assert_snapshot!(her.story(), @"
    2027-03-05 18:00 entered work#1 | go
    2027-03-05 18:00 held work#1 email inline:email_1 | outside of its window mon, tue, wed, thu, fri 07:00–18:00
    2027-03-08 07:00 held work#1 email inline:email_1 | quiet hours 21:00–08:00
    2027-03-08 08:00 sent work#1 email inline:email_1
    2027-03-08 08:00 skipped work#1 sms sms_1 | outside of its window sat, sun
    2027-03-09 08:00 exited work#1 chat chat_1 | outside of its window 12:00–13:00
    ");
    let until = her.player.effects[0].valid_until;
    assert_eq!(until, Some(super::stage::time("2027-03-08 18:00")), "it may not be sent when the window has closed");
    let mut her = stage.customer("2027-03-05 08:00");
    her.at("2027-03-05 18:00", "go").at("2027-03-06 12:00", "set zone=America/New_York").until("2027-03-08 14:00");
    assert_snapshot!(her.story(), @"
    2027-03-05 18:00 entered work#1 | go
    2027-03-05 18:00 held work#1 email inline:email_1 | outside of its window mon, tue, wed, thu, fri 07:00–18:00
    2027-03-06 12:00 held work#1 email inline:email_1 | outside of its window mon, tue, wed, thu, fri 07:00–18:00
    2027-03-08 13:00 held work#1 email inline:email_1 | quiet hours 21:00–08:00
    2027-03-08 14:00 sent work#1 email inline:email_1
    2027-03-08 14:00 skipped work#1 sms sms_1 | outside of its window sat, sun
    ");
}
