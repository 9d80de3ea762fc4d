//! Modes: what waits for a person's release, and what only tries.

use super::stage::Stage;
use autofunnel::customer::RunState;
use insta::assert_snapshot;

const REVIEW: &str = r#"
--- autofunnel.yaml
quiet_hours: { from: "21:00", until: "08:00" }
caps: [ { channel: email, at_most: 1, within: 7 days } ]
--- sale.yaml
funnel: Sale
trigger: { event: go }
mode: hold_for_review
re_entry: always
steps:
  - email: { subject: "Hi {{ customer.name }}", text: "Only today" }
    id: mail
    expires: 12h
  - grant: 5 points
    id: points
  - sms: { text: "Now" }
    id: now
    mode: live
"#;

#[test]
fn what_is_held_for_review_goes_when_it_is_released() {
    let stage = Stage::new(REVIEW);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "go").at("2027-03-01 11:30", "release mail").until("2027-03-01 13:00");
    let held = her.document().runs[0].state.clone();
    assert!(matches!(held, RunState::Review { until: None, .. }), "points wait as long as it takes: {held:?}");
    her.at("2027-03-03 09:00", "release points").until("2027-03-04");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered sale#1 | go
    2027-03-01 10:00 review sale#1 email mail
    2027-03-01 11:30 released sale#1 | by a person
    2027-03-01 11:30 sent sale#1 email inline:mail
    2027-03-01 11:30 review sale#1 points
    2027-03-03 09:00 released sale#1 | by a person
    2027-03-03 09:00 granted sale#1 5 points | sale
    2027-03-03 09:00 sent sale#1 sms inline:now
    2027-03-03 09:00 finished sale#1
    ");
}

#[test]
fn a_release_is_a_decision_of_its_own_time() {
    let stage = Stage::new(REVIEW);
    // At night it waits for the morning; the person need not say it again.
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 20:30", "go").at("2027-03-01 22:00", "release mail").until("2027-03-02 09:00");
    assert_snapshot!(her.story(), @"
    2027-03-01 20:30 entered sale#1 | go
    2027-03-01 20:30 review sale#1 email mail
    2027-03-01 22:00 released sale#1 | by a person
    2027-03-01 22:00 held sale#1 email inline:mail | quiet hours 21:00–08:00
    2027-03-02 08:00 sent sale#1 email inline:mail
    2027-03-02 08:00 review sale#1 points
    ");
    // Consent that went in the meantime forbids it.
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "go").at("2027-03-01 10:30", "consent email=no").at("2027-03-01 11:00", "release mail");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered sale#1 | go
    2027-03-01 10:00 review sale#1 email mail
    2027-03-01 10:30 consent_withdrawn email | test
    2027-03-01 11:00 released sale#1 | by a person
    2027-03-01 11:00 skipped sale#1 email mail | consent for email was withdrawn 2027-03-01 10:30
    2027-03-01 11:00 review sale#1 points
    ");
}

#[test]
fn what_nobody_releases_in_time_or_somebody_rejects_is_skipped() {
    let stage = Stage::new(REVIEW);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 08:30", "go").until("2027-03-01 20:30").at("2027-03-01 20:31", "release mail");
    assert_snapshot!(her.story(), @"
    2027-03-01 08:30 entered sale#1 | go
    2027-03-01 08:30 review sale#1 email mail
    2027-03-01 20:30 skipped sale#1 email mail | it expired 2027-03-01 20:30, 12 hours after the run came to it
    2027-03-01 20:30 review sale#1 points
    2027-03-01 20:31 refused mail | it does not wait for a review any more
    ");
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "go").at("2027-03-01 11:00", "reject mail").at("2027-03-01 12:00", "reject points");
    her.at("2027-03-01 13:00", "release mail");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered sale#1 | go
    2027-03-01 10:00 review sale#1 email mail
    2027-03-01 11:00 skipped sale#1 mail | a person said no
    2027-03-01 11:00 review sale#1 points
    2027-03-01 12:00 skipped sale#1 points | a person said no
    2027-03-01 12:00 sent sale#1 sms inline:now
    2027-03-01 12:00 finished sale#1
    2027-03-01 13:00 refused mail | it does not wait for a review any more
    ");
}

#[test]
fn a_shadow_goes_its_way_and_nothing_leaves() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
caps: [ { channel: email, at_most: 1, within: 7 days } ]
--- trial.yaml
funnel: Trial
trigger: { event: go }
mode: shadow
steps:
  - email: { subject: Hi, text: Hi }
  - grant: 5 points
  - wait: 1 day
  - email: { subject: Again, text: Again }
--- live.yaml
funnel: Live
trigger: { event: went }
steps:
  - email: { subject: Hi, text: Hi }
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "go").at("2027-03-01 11:00", "went").until("2027-03-03");
    assert!(her.player.effects.len() == 1, "{:#?}", her.player.effects);
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered trial#1 | go
    2027-03-01 10:00 shadowed trial#1 email email_1
    2027-03-01 10:00 shadowed trial#1 grant_1
    2027-03-01 11:00 entered live#2 | went
    2027-03-01 11:00 sent live#2 email inline:email_1
    2027-03-01 11:00 finished live#2
    2027-03-02 10:00 capped trial#1 email inline:email_2 | cap: at most 1 email within 7 days
    2027-03-02 10:00 finished trial#1
    ");
}

#[test]
fn what_is_undone_while_it_waits_is_not_given() {
    let stage = Stage::new(
        r#"
--- gift.yaml
funnel: Gift
trigger: purchase
key: event.order_id
re_entry: always
mode: hold_for_review
steps:
  - grant: 50 points
    id: points
    undo_on: { event: refund, where: event.order_id == run.key }
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase order_id=a1 amount=20").at("2027-03-01 11:00", "refund order_id=a1 amount=20");
    her.at("2027-03-01 12:00", "release points").until("2027-03-02");
    assert_eq!(her.player.account.balance(), 0);
    assert!(her.story().contains("exited gift#1 undo_on"), "{}", her.story());
    // Of another order it is.
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase order_id=a1 amount=20").at("2027-03-01 11:00", "refund order_id=a2 amount=20");
    her.at("2027-03-01 12:00", "release points").until("2027-03-02");
    assert_eq!(her.player.account.balance(), 50, "{}", her.story());
}
