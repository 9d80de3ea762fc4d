//! What time alone does: segments, `while`, inactivity, schedules, memberships, new definitions.

use super::stage::Stage;
use insta::assert_snapshot;

#[test]
fn segments_are_left_and_entered_at_the_exact_instant() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
membership_owner: api
--- segments.yaml
fresh: { when: purchases("72h") >= 1 }
active: { when: customer.membership.active }
lost: { when: "!in_segment(\"fresh\") && has_done(\"purchase\")" }
--- back.yaml
funnel: Back
trigger: { segment_entered: lost }
re_entry: always
while: "!in_segment(\"fresh\")"
steps:
  - wait: 10 days
--- left.yaml
funnel: Left
trigger: { segment_left: active }
steps: [ { stop: gone } ]
"#,
    );
    let mut her = stage.customer("2027-03-26 08:00").with_offsets();
    // Clocks go forward in between: 72 hours are 72 hours.
    her.at("2027-03-27 10:00", "purchase amount=10").at("2027-03-27 11:00", "member club 2026-04-01 2027-04-01");
    her.until("2027-03-31").at("2027-04-02 10:00", "purchase amount=10").until("2027-04-20");
    assert_snapshot!(her.timeline(), @r#"
    2027-03-27 10:00+1 event purchase
    2027-03-27 10:00+1 segment_entered fresh
    2027-03-27 11:00+1 profile membership
    2027-03-27 11:00+1 segment_entered active
    2027-03-30 11:00+2 segment_left fresh
    2027-03-30 11:00+2 segment_entered lost
    2027-03-30 11:00+2 entered back#1 | enters the segment lost
    2027-03-30 11:00+2 waiting back#1 2027-04-09 11:00 | 10 days
    2027-04-01 00:00+2 membership_expired club
    2027-04-01 00:00+2 segment_left active
    2027-04-01 00:00+2 entered left#2 | leaves the segment active
    2027-04-01 00:00+2 stopped left#2 gone
    2027-04-01 00:00+2 event membership_expired
    2027-04-02 10:00+2 event purchase
    2027-04-02 10:00+2 segment_entered fresh
    2027-04-02 10:00+2 segment_left lost
    2027-04-02 10:00+2 exited back#1 | while: !in_segment("fresh") no longer holds
    2027-04-05 10:00+2 segment_left fresh
    2027-04-05 10:00+2 segment_entered lost
    2027-04-05 10:00+2 entered back#3 | enters the segment lost
    2027-04-05 10:00+2 waiting back#3 2027-04-15 10:00 | 10 days
    2027-04-15 10:00+2 finished back#3
    "#);
}

#[test]
fn while_turns_false_by_time_alone() {
    let stage = Stage::new(
        r#"
--- young.yaml
funnel: Young
trigger: { event: go }
while: customer.created > ago("3 days") || purchases("2 days") >= 1
steps:
  - wait: 30 days
"#,
    );
    let mut her = stage.stranger("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "go").until("2027-03-20");
    assert_snapshot!(her.story(), @r#"
    2027-03-01 10:00 entered young#1 | go
    2027-03-04 10:00 exited young#1 | while: customer.created > ago("3 days") || purchases("2 days") >= 1 no longer holds
    "#);
    let mut her = stage.stranger("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "go").at("2027-03-03 12:00", "purchase amount=1").until("2027-03-20");
    assert_snapshot!(her.story(), @r#"
    2027-03-01 10:00 entered young#1 | go
    2027-03-05 12:00 exited young#1 | while: customer.created > ago("3 days") || purchases("2 days") >= 1 no longer holds
    "#);
}

#[test]
fn who_does_nothing_for_long_is_inactive_once() {
    let stage = Stage::new(
        r#"
--- idle.yaml
funnel: Idle
trigger: { inactive_for: 60 days }
re_entry: after 70 days
exit_on: purchase
steps:
  - wait: 30 days
"#,
    );
    let mut her = stage.customer("2027-01-01 08:00");
    her.at("2027-01-02 10:00", "purchase amount=1").at("2027-01-12 10:00", "purchase amount=1").until("2027-03-20");
    her.at("2027-03-20 10:00", "purchase amount=1")
        .until("2027-04-30")
        .at("2027-05-01 10:00", "purchase amount=1")
        .until("2027-09-01");
    assert_snapshot!(her.story(), @"
    2027-03-13 10:00 entered idle#1 | 60 days without purchase
    2027-03-20 10:00 exited idle#1 purchase | exit_on
    2027-06-30 10:00 entered idle#2 | 60 days without purchase
    2027-07-30 10:00 finished idle#2
    ");
}

const CAMPAIGN: &str = r#"
--- autofunnel.yaml
profile: { roast: text }
--- segments.yaml
dark: { when: customer.roast == "dark" }
--- once.yaml
funnel: Once
trigger: { schedule: "0 9,11 * * MON", segment: dark }
steps: [ { email: { subject: Hi, text: Hi } } ]
--- skip.yaml
funnel: Skip
trigger: { schedule: "0 9 * * MON", segment: dark, in: customer, catch_up: skip }
steps: [ { email: { subject: Hi, text: Hi } } ]
"#;

#[test]
fn a_campaign_is_for_who_is_in_the_segment_at_its_time() {
    let stage = Stage::new(CAMPAIGN);
    let mut her = stage.customer("2027-03-01 08:00");
    // She comes in between the two times of the first Monday, and leaves before those of the third.
    her.at("2027-03-01 10:00", "set roast=dark zone=America/New_York").until("2027-03-15 08:00");
    her.at("2027-03-15 08:00", "set roast=light").until("2027-03-30");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 segment_entered dark
    2027-03-01 11:00 entered once#1 | `0 9,11 * * MON` on the workspace's clock, for the segment dark
    2027-03-01 11:00 sent once#1 email inline:email_1
    2027-03-01 11:00 finished once#1
    2027-03-01 15:00 entered skip#2 | `0 9 * * MON` on her own clock, for the segment dark
    2027-03-01 15:00 sent skip#2 email inline:email_1
    2027-03-01 15:00 finished skip#2
    2027-03-08 09:00 entered once#3 | `0 9,11 * * MON` on the workspace's clock, for the segment dark
    2027-03-08 09:00 sent once#3 email inline:email_1
    2027-03-08 09:00 finished once#3
    2027-03-08 11:00 entered once#4 | `0 9,11 * * MON` on the workspace's clock, for the segment dark
    2027-03-08 11:00 sent once#4 email inline:email_1
    2027-03-08 11:00 finished once#4
    2027-03-08 15:00 entered skip#5 | `0 9 * * MON` on her own clock, for the segment dark
    2027-03-08 15:00 sent skip#5 email inline:email_1
    2027-03-08 15:00 finished skip#5
    2027-03-15 08:00 segment_left dark
    ");
    assert_eq!(her.player.wake, None);
}

#[test]
fn of_the_times_that_were_missed_the_last_one_is_caught_up_on_the_same_day() {
    let stage = Stage::new(CAMPAIGN);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-02 10:00", "set roast=dark");
    let mut night = her.clone();
    her.backlog("2027-03-08 15:00", &[]);
    assert_snapshot!(her.story(), @"
    2027-03-02 10:00 segment_entered dark
    2027-03-08 09:00 not_entered once#0 | it was due 2027-03-08 09:00 and was missed; the last one that was missed is caught up
    2027-03-08 09:00 not_entered skip#0 | it was due 2027-03-08 09:00 and is too late now
    2027-03-08 11:00 entered once#1 | `0 9,11 * * MON` on the workspace's clock, for the segment dark
    2027-03-08 15:00 sent once#1 email inline:email_1
    2027-03-08 15:00 finished once#1
    ");
    night.backlog("2027-03-09 00:00:01", &[]);
    assert_snapshot!(night.story(), @"
    2027-03-02 10:00 segment_entered dark
    2027-03-08 09:00 not_entered once#0 | it was due 2027-03-08 09:00 and is too late now
    2027-03-08 09:00 not_entered skip#0 | it was due 2027-03-08 09:00 and is too late now
    2027-03-08 11:00 not_entered once#0 | it was due 2027-03-08 11:00 and is too late now
    ");
}

#[test]
fn new_definitions_judge_silently_and_look_forward_only() {
    let before = Stage::new(
        r#"
--- segments.yaml
buyer: { when: purchases() >= 1 }
--- birthday.yaml
funnel: Birthday
trigger: { birthday: on the day, at: "08:00" }
steps: [ { stop: happy } ]
"#,
    );
    let after = Stage::new(
        r#"
--- segments.yaml
buyer: { when: purchases() >= 2 }
dormant: { when: purchases("30 days") == 0 }
--- birthday.yaml
funnel: Birthday
trigger: { birthday: on the day, at: "07:00" }
steps: [ { stop: happy } ]
--- anniversary.yaml
funnel: Anniversary
trigger: { birthday: on the day, at: "07:00" }
steps: [ { stop: happy } ]
--- dormant.yaml
funnel: Dormant
trigger: { segment_entered: dormant }
steps: [ { stop: come back } ]
--- orders.yaml
funnel: Orders
trigger: { milestone: purchases, reaches: [1, 2] }
steps: [ { stop: thanks } ]
"#,
    );
    let mut her = before.customer("2027-01-01 08:00");
    her.at("2027-01-01 09:00", "set birthday=1990-03-10").at("2027-01-01 10:00", "purchase amount=1");
    her.until("2027-03-10 07:30").under(&after);
    her.backlog("2027-03-10 07:30", &[]).until("2027-03-11").at("2027-03-11 10:00", "purchase amount=1").until("2027-05-01");
    assert_snapshot!(her.timeline(), @"
    2027-01-01 09:00 profile birthday
    2027-01-01 10:00 event purchase
    2027-01-01 10:00 segment_entered buyer
    2027-03-11 10:00 event purchase
    2027-03-11 10:00 segment_entered buyer
    2027-03-11 10:00 segment_left dormant
    2027-03-11 10:00 entered orders#1 | purchases reaches 1, 2
    2027-03-11 10:00 stopped orders#1 thanks
    2027-04-10 10:00 segment_entered dormant
    2027-04-10 10:00 entered dormant#2 | enters the segment dormant
    2027-04-10 10:00 stopped dormant#2 come back
    ");
}

#[test]
fn points_become_spendable_and_run_out() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
profile: { roast: text }
--- segments.yaml
rich: { when: customer.balance >= 50 }
--- gift.yaml
funnel: Gift
trigger: { event: gift }
steps:
  - grant: 50 points
    reason: gift
    active_after: 3 days
    expires_after: 10 days
--- ready.yaml
funnel: Ready
trigger: { event: bonus_activated }
steps: [ { email: { subject: Ready, text: "{{ event.points }} points" } } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "gift").until("2027-04-01");
    assert_snapshot!(her.timeline(), @"
    2027-03-01 10:00 event gift
    2027-03-01 10:00 entered gift#1 | gift
    2027-03-01 10:00 planned gift#1 grant_1
    2027-03-01 10:00 granted gift#1 50 points | gift, pending
    2027-03-01 10:00 finished gift#1
    2027-03-04 10:00 bonus_activated 50 points | gift
    2027-03-04 10:00 segment_entered rich
    2027-03-04 10:00 event bonus_activated
    2027-03-04 10:00 entered ready#2 | bonus_activated
    2027-03-04 10:00 planned ready#2 email_1
    2027-03-04 10:00 sent ready#2 email inline:email_1
    2027-03-04 10:00 finished ready#2
    2027-03-14 10:00 bonus_expired 50 points | gift
    2027-03-14 10:00 segment_left rich
    2027-03-14 10:00 event bonus_expired
    ");
    assert_eq!(her.player.wake, None);
}
