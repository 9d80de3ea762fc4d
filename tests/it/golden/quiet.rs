//! Quiet hours: a hold is a wait before the step, and the whole step is decided at its end.

use super::stage::Stage;
use insta::assert_snapshot;

const NIGHT: &str = r#"
--- autofunnel.yaml
quiet_hours: { from: "21:00", until: "08:00" }
--- hello.yaml
funnel: Hello
trigger: signed_up
steps:
  - email: { subject: Hi, text: "Hi {{ customer.name }}" }
    id: greeting
    if: customer.name != "Nobody"
  - sms: { text: Hi }
    id: text
    quiet_hours: skip
  - chat: { text: Hi }
    id: chat
    quiet_hours: ignore
  - email: { subject: Receipt, text: Receipt }
    id: receipt
    transactional: true
"#;

#[test]
fn a_message_is_held_until_the_morning_and_what_follows_waits_for_it() {
    let stage = Stage::new(NIGHT);
    let mut her = stage.customer("2027-03-01 20:00");
    her.at("2027-03-01 20:59:59.999", "signed_up").until("2027-03-03");
    assert_snapshot!(her.story(), @"
    2027-03-01 20:59:59.999 entered hello#1 | signed_up
    2027-03-01 20:59:59.999 sent hello#1 email inline:greeting
    2027-03-01 20:59:59.999 sent hello#1 sms inline:text
    2027-03-01 20:59:59.999 sent hello#1 chat inline:chat
    2027-03-01 20:59:59.999 sent hello#1 email inline:receipt
    2027-03-01 20:59:59.999 finished hello#1
    ");
    let mut her = stage.customer("2027-03-01 20:00");
    her.at("2027-03-01 21:00", "signed_up").until("2027-03-03");
    assert_snapshot!(her.story(), @"
    2027-03-01 21:00 entered hello#1 | signed_up
    2027-03-01 21:00 held hello#1 email inline:greeting | quiet hours 21:00–08:00
    2027-03-02 08:00 sent hello#1 email inline:greeting
    2027-03-02 08:00 sent hello#1 sms inline:text
    2027-03-02 08:00 sent hello#1 chat inline:chat
    2027-03-02 08:00 sent hello#1 email inline:receipt
    2027-03-02 08:00 finished hello#1
    ");
    let mut her = stage.customer("2027-03-01 20:00");
    her.at("2027-03-02 07:59", "signed_up").until("2027-03-03");
    assert_snapshot!(her.story(), @"
    2027-03-02 07:59 entered hello#1 | signed_up
    2027-03-02 07:59 held hello#1 email inline:greeting | quiet hours 21:00–08:00
    2027-03-02 08:00 sent hello#1 email inline:greeting
    2027-03-02 08:00 sent hello#1 sms inline:text
    2027-03-02 08:00 sent hello#1 chat inline:chat
    2027-03-02 08:00 sent hello#1 email inline:receipt
    2027-03-02 08:00 finished hello#1
    ");
}

#[test]
fn quiet_hours_skip_and_ignore_where_a_step_says_so() {
    let stage = Stage::new(&NIGHT.replace("    if: customer.name != \"Nobody\"", "    quiet_hours: ignore"));
    let mut her = stage.customer("2027-03-01 20:00");
    her.at("2027-03-01 23:00", "signed_up").until("2027-03-03");
    assert_snapshot!(her.story(), @"
    2027-03-01 23:00 entered hello#1 | signed_up
    2027-03-01 23:00 sent hello#1 email inline:greeting
    2027-03-01 23:00 skipped hello#1 sms text | quiet hours 21:00–08:00
    2027-03-01 23:00 sent hello#1 chat inline:chat
    2027-03-01 23:00 sent hello#1 email inline:receipt
    2027-03-01 23:00 finished hello#1
    ");
}

#[test]
fn what_is_held_is_decided_anew_in_the_morning() {
    let stage = Stage::new(NIGHT);
    let mut her = stage.customer("2027-03-01 20:00");
    her.at("2027-03-01 23:00", "signed_up");
    her.at("2027-03-02 01:00", "consent email=no").at("2027-03-02 02:00", "set phone=null").until("2027-03-03");
    assert_snapshot!(her.timeline(), @"
    2027-03-01 23:00 event signed_up
    2027-03-01 23:00 entered hello#1 | signed_up
    2027-03-01 23:00 held hello#1 email inline:greeting | quiet hours 21:00–08:00
    2027-03-02 01:00 consent_withdrawn email | test
    2027-03-02 02:00 profile phone
    2027-03-02 08:00 skipped hello#1 email greeting | consent for email was withdrawn 2027-03-02 01:00
    2027-03-02 08:00 skipped hello#1 sms text | customer.phone is not known
    2027-03-02 08:00 planned hello#1 chat
    2027-03-02 08:00 sent hello#1 chat inline:chat
    2027-03-02 08:00 planned hello#1 receipt
    2027-03-02 08:00 sent hello#1 email inline:receipt
    2027-03-02 08:00 finished hello#1
    ");
    // The condition of the step is judged then, too.
    let mut her = stage.customer("2027-03-01 20:00");
    her.at("2027-03-01 23:00", "signed_up").at("2027-03-02 01:00", "set name=Nobody").until("2027-03-03");
    assert_snapshot!(her.story(), @r#"
    2027-03-01 23:00 entered hello#1 | signed_up
    2027-03-01 23:00 held hello#1 email inline:greeting | quiet hours 21:00–08:00
    2027-03-02 08:00 skipped hello#1 greeting | if: customer.name != "Nobody"
    2027-03-02 08:00 sent hello#1 sms inline:text
    2027-03-02 08:00 sent hello#1 chat inline:chat
    2027-03-02 08:00 sent hello#1 email inline:receipt
    2027-03-02 08:00 finished hello#1
    "#);
}

#[test]
fn the_night_is_hers() {
    let stage = Stage::new(NIGHT);
    let mut her = stage.customer("2027-03-01 12:00");
    // In Auckland it is 11 in the evening.
    her.at("2027-03-01 10:30", "set zone=Pacific/Auckland").at("2027-03-01 11:00", "signed_up").until("2027-03-03");
    assert_snapshot!(her.story(), @"
    2027-03-01 12:00 entered hello#1 | signed_up
    2027-03-01 12:00 held hello#1 email inline:greeting | quiet hours 21:00–08:00
    2027-03-01 20:00 sent hello#1 email inline:greeting
    2027-03-01 20:00 sent hello#1 sms inline:text
    2027-03-01 20:00 sent hello#1 chat inline:chat
    2027-03-01 20:00 sent hello#1 email inline:receipt
    2027-03-01 20:00 finished hello#1
    ");
}

const SHORT_NIGHT: &str = r#"
--- autofunnel.yaml
quiet_hours: { from: "00:30", until: "02:30" }
--- hello.yaml
funnel: Hello
trigger: signed_up
re_entry: always
steps:
  - email: { subject: Hi, text: Hi }
"#;

#[test]
fn a_night_that_ends_in_an_hour_that_does_not_exist_ends_after_it() {
    let stage = Stage::new(SHORT_NIGHT);
    let mut her = stage.customer("2027-03-27 12:00").with_offsets();
    // On 2027-03-28 clocks go from 02:00 to 03:00: 02:30 is shown as 03:30.
    her.at("2027-03-28 01:00", "signed_up").until("2027-03-29");
    assert_snapshot!(her.story(), @"
    2027-03-28 01:00+1 entered hello#1 | signed_up
    2027-03-28 01:00+1 held hello#1 email inline:email_1 | quiet hours 00:30–02:30
    2027-03-28 03:30+2 sent hello#1 email inline:email_1
    2027-03-28 03:30+2 finished hello#1
    ");
}

#[test]
fn a_night_that_ends_in_an_hour_that_comes_twice_is_as_long_as_clocks_say() {
    let stage = Stage::new(SHORT_NIGHT);
    let mut her = stage.customer("2027-10-30 12:00").with_offsets();
    // On 2027-10-31 clocks go from 03:00 back to 02:00. At 02:15 for the second time it is night once more.
    her.at("2027-10-31T00:15:00Z", "signed_up").at("2027-10-31T01:15:00Z", "signed_up").until("2027-11-01");
    assert_snapshot!(her.story(), @"
    2027-10-31 02:15+2 entered hello#1 | signed_up
    2027-10-31 02:15+2 held hello#1 email inline:email_1 | quiet hours 00:30–02:30
    2027-10-31 02:30+2 sent hello#1 email inline:email_1
    2027-10-31 02:30+2 finished hello#1
    2027-10-31 02:15+1 entered hello#2 | signed_up
    2027-10-31 02:15+1 held hello#2 email inline:email_1 | quiet hours 00:30–02:30
    2027-10-31 02:30+1 sent hello#2 email inline:email_1
    2027-10-31 02:30+1 finished hello#2
    ");
}
