//! Series around a date that moves: renewals and dates of the profile.

use super::stage::Stage;
use insta::assert_snapshot;

const RENEWAL: &str = r#"
--- autofunnel.yaml
membership_owner: api
profile: { trial_ends: date }
--- renewal.yaml
funnel: Renewal
trigger: { renewal_due: 30 days before, at: "09:00" }
exit_on: [membership_expired]
steps:
  - email: { subject: Soon, text: Soon }
    id: early
  - wait_until: 7 days before renewal
  - email: { subject: Week, text: Week }
    id: week
  - wait_until: 1 day before renewal
  - sms: { text: Tomorrow }
    id: tomorrow
  - wait_until: 2 days after renewal
"#;

#[test]
fn a_renewal_that_moves_later_takes_its_run_along() {
    let stage = Stage::new(RENEWAL);
    let mut her = stage.customer("2027-04-01 08:00");
    her.at("2027-04-01 09:00", "member club 2026-06-15 2027-06-15");
    her.at("2027-05-25 12:00", "member club 2026-06-15 2027-07-15");
    // What was passed is not repeated when it moves once more.
    her.at("2027-07-10 12:00", "member club 2026-06-15 2027-08-15").until("2027-09-01");
    assert_snapshot!(her.timeline(), @"
    2027-04-01 09:00 profile membership
    2027-05-16 09:00 entered renewal#1 | 30 days before renewal, at 09:00
    2027-05-16 09:00 planned renewal#1 early
    2027-05-16 09:00 sent renewal#1 email inline:early
    2027-05-16 09:00 waiting renewal#1 2027-06-08 09:00 | 7 days before renewal
    2027-05-25 12:00 profile membership
    2027-05-25 12:00 waiting renewal#1 2027-07-08 09:00 | 7 days before renewal: the date has moved
    2027-06-15 09:00 not_entered renewal#0 | re_entry: a run of the key renewal:club:2026-06-15 is under way
    2027-07-08 09:00 planned renewal#1 week
    2027-07-08 09:00 sent renewal#1 email inline:week
    2027-07-08 09:00 waiting renewal#1 2027-07-14 09:00 | 1 day before renewal
    2027-07-10 12:00 profile membership
    2027-07-10 12:00 waiting renewal#1 2027-08-14 09:00 | 1 day before renewal: the date has moved
    2027-07-16 09:00 not_entered renewal#0 | re_entry: a run of the key renewal:club:2026-06-15 is under way
    2027-08-14 09:00 planned renewal#1 tomorrow
    2027-08-14 09:00 sent renewal#1 sms inline:tomorrow
    2027-08-14 09:00 waiting renewal#1 2027-08-17 09:00 | 2 days after renewal
    2027-08-15 00:00 membership_expired club
    2027-08-15 00:00 event membership_expired
    2027-08-15 00:00 exited renewal#1 membership_expired | exit_on
    ");
}

#[test]
fn a_renewal_that_moves_so_near_that_a_step_is_past_leaves_it_out() {
    let stage = Stage::new(RENEWAL);
    let mut her = stage.customer("2027-04-01 08:00");
    her.at("2027-04-01 09:00", "member club 2026-06-15 2027-06-15");
    her.at("2027-05-25 12:00", "member club 2026-06-15 2027-05-28").until("2027-07-01");
    assert_snapshot!(her.timeline(), @"
    2027-04-01 09:00 profile membership
    2027-05-16 09:00 entered renewal#1 | 30 days before renewal, at 09:00
    2027-05-16 09:00 planned renewal#1 early
    2027-05-16 09:00 sent renewal#1 email inline:early
    2027-05-16 09:00 waiting renewal#1 2027-06-08 09:00 | 7 days before renewal
    2027-05-25 12:00 profile membership
    2027-05-25 12:00 skipped renewal#1 wait_until_1 | 2027-05-21 09:00 is past; the steps up to the next wait_until are not done late
    2027-05-25 12:00 waiting renewal#1 2027-05-27 09:00 | 1 day before renewal
    2027-05-27 09:00 planned renewal#1 tomorrow
    2027-05-27 09:00 sent renewal#1 sms inline:tomorrow
    2027-05-27 09:00 waiting renewal#1 2027-05-30 09:00 | 2 days after renewal
    2027-05-28 00:00 membership_expired club
    2027-05-28 00:00 event membership_expired
    2027-05-28 00:00 exited renewal#1 membership_expired | exit_on
    ");
}

#[test]
fn a_passed_wait_can_also_go_on_or_end_the_run() {
    for rule in ["continue", "exit"] {
        let stage = Stage::new(&RENEWAL.replace("7 days before renewal", &format!("7 days before renewal\n    if_past: {rule}")));
        let mut her = stage.customer("2027-04-01 08:00");
        her.at("2027-04-01 09:00", "member club 2026-06-15 2027-06-15");
        her.at("2027-05-25 12:00", "member club 2026-06-15 2027-05-28").until("2027-05-28 08:00");
        match rule {
            "continue" => assert_snapshot!(her.story(), @"
            2027-05-16 09:00 entered renewal#1 | 30 days before renewal, at 09:00
            2027-05-16 09:00 sent renewal#1 email inline:early
            2027-05-25 12:00 sent renewal#1 email inline:week
            2027-05-27 09:00 sent renewal#1 sms inline:tomorrow
            2027-05-28 00:00 membership_expired club
            2027-05-28 00:00 exited renewal#1 membership_expired | exit_on
            "),
            _ => assert_snapshot!(her.story(), @"
            2027-05-16 09:00 entered renewal#1 | 30 days before renewal, at 09:00
            2027-05-16 09:00 sent renewal#1 email inline:early
            2027-05-25 12:00 exited renewal#1 wait_until_1 | 2027-05-21 09:00 is past
            2027-05-28 00:00 membership_expired club
            "),
        }
    }
}

#[test]
fn who_becomes_a_member_in_the_middle_of_the_series_joins_it_at_the_next_date() {
    let stage = Stage::new(RENEWAL);
    let mut her = stage.customer("2027-04-01 08:00");
    her.at("2027-05-25 12:00", "member club 2026-06-15 2027-06-15");
    // Nothing about her renewal changes: nothing starts again.
    her.at("2027-05-26 12:00", "set name=Ada-Maria").until("2027-06-14 12:00");
    assert_snapshot!(her.timeline(), @"
    2027-05-25 12:00 profile membership
    2027-05-25 12:00 entered renewal#1 | 30 days before renewal, at 09:00
    2027-05-25 12:00 skipped renewal#1 early | it was due 2027-05-16 09:00; the steps up to the next wait_until are not done late
    2027-05-25 12:00 waiting renewal#1 2027-06-08 09:00 | 7 days before renewal
    2027-05-26 12:00 profile name
    2027-06-08 09:00 planned renewal#1 week
    2027-06-08 09:00 sent renewal#1 email inline:week
    2027-06-08 09:00 waiting renewal#1 2027-06-14 09:00 | 1 day before renewal
    2027-06-14 09:00 planned renewal#1 tomorrow
    2027-06-14 09:00 sent renewal#1 sms inline:tomorrow
    2027-06-14 09:00 waiting renewal#1 2027-06-17 09:00 | 2 days after renewal
    ");
}

#[test]
fn who_was_refused_at_the_trigger_does_not_join_because_something_else_changes() {
    let stage = Stage::new(
        &RENEWAL
            .replace("profile: { trial_ends: date }", "profile: { roast: text }")
            .replace("steps:", "only_if: customer.roast == \"dark\"\nsteps:"),
    );
    let mut her = stage.customer("2027-04-01 08:00");
    her.at("2027-04-01 09:00", "member club 2026-06-15 2027-06-15").at("2027-05-20 12:00", "set roast=dark").until("2027-05-30");
    assert_snapshot!(her.story(), @"2027-05-16 09:00 not_entered renewal#0 | only_if: customer.roast is not known");
    // A date that moves is another matter.
    her.at("2027-05-30 12:00", "member club 2026-06-15 2027-06-16").until("2027-06-01");
    assert_snapshot!(her.story(), @"
    2027-05-16 09:00 not_entered renewal#0 | only_if: customer.roast is not known
    2027-05-30 12:00 entered renewal#1 | 30 days before renewal, at 09:00
    2027-05-30 12:00 skipped renewal#1 early | it was due 2027-05-17 09:00; the steps up to the next wait_until are not done late
    ");
}

#[test]
fn without_a_date_nothing_is_sent_that_is_about_it() {
    let stage = Stage::new(RENEWAL);
    let mut her = stage.customer("2027-04-01 08:00");
    her.at("2027-04-01 09:00", "member club 2026-06-15 2027-06-15").at("2027-05-25 12:00", "member none").until("2027-07-01");
    assert_snapshot!(her.timeline(), @"
    2027-04-01 09:00 profile membership
    2027-05-16 09:00 entered renewal#1 | 30 days before renewal, at 09:00
    2027-05-16 09:00 planned renewal#1 early
    2027-05-16 09:00 sent renewal#1 email inline:early
    2027-05-16 09:00 waiting renewal#1 2027-06-08 09:00 | 7 days before renewal
    2027-05-25 12:00 profile membership
    2027-05-25 12:00 skipped renewal#1 wait_until_1 | customer.membership.ends is not known; the steps up to the next wait_until are not done without the date
    2027-05-25 12:00 skipped renewal#1 wait_until_2 | customer.membership.ends is not known; the steps up to the next wait_until are not done without the date
    2027-05-25 12:00 skipped renewal#1 wait_until_3 | customer.membership.ends is not known; the steps up to the next wait_until are not done without the date
    2027-05-25 12:00 finished renewal#1
    ");
}

#[test]
fn the_next_term_is_another_occasion_and_the_same_one_is_not() {
    let stage = Stage::new(&RENEWAL.replace("exit_on: [membership_expired]", "exit_on: [membership_renewed]"));
    let mut her = stage.customer("2027-04-01 08:00");
    her.at("2027-04-01 09:00", "member club 2026-06-15 2027-06-15").at("2027-06-01 12:00", "membership_renewed");
    her.at("2027-06-01 12:00", "member club 2026-06-15 2027-06-20");
    her.at("2027-06-02 12:00", "member club 2027-06-20 2028-06-20").until("2028-05-22");
    assert_snapshot!(her.story(), @"
    2027-05-16 09:00 entered renewal#1 | 30 days before renewal, at 09:00
    2027-05-16 09:00 sent renewal#1 email inline:early
    2027-06-01 12:00 exited renewal#1 membership_renewed | exit_on
    2028-05-21 09:00 entered renewal#2 | 30 days before renewal, at 09:00
    2028-05-21 09:00 sent renewal#2 email inline:early
    ");
}

#[test]
fn a_membership_that_runs_out_says_so_where_nobody_else_does() {
    let stage = Stage::new(RENEWAL);
    let mut her = stage.customer("2027-06-10 08:00");
    her.at("2027-06-10 09:00", "member club 2026-06-15 2027-06-15").until("2027-07-01");
    assert_snapshot!(her.timeline(), @"
    2027-06-10 09:00 profile membership
    2027-06-10 09:00 entered renewal#1 | 30 days before renewal, at 09:00
    2027-06-10 09:00 skipped renewal#1 early | it was due 2027-05-16 09:00; the steps up to the next wait_until are not done late
    2027-06-10 09:00 skipped renewal#1 wait_until_1 | 2027-06-08 09:00 is past; the steps up to the next wait_until are not done late
    2027-06-10 09:00 waiting renewal#1 2027-06-14 09:00 | 1 day before renewal
    2027-06-14 09:00 planned renewal#1 tomorrow
    2027-06-14 09:00 sent renewal#1 sms inline:tomorrow
    2027-06-14 09:00 waiting renewal#1 2027-06-17 09:00 | 2 days after renewal
    2027-06-15 00:00 membership_expired club
    2027-06-15 00:00 event membership_expired
    2027-06-15 00:00 exited renewal#1 membership_expired | exit_on
    ");
}

#[test]
fn a_date_of_the_profile_that_moves_starts_no_second_run() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
profile: { trial_ends: date }
--- trial.yaml
funnel: Trial
trigger: { date: trial_ends, when: 3 days before, at: "09:00" }
steps:
  - email: { subject: Soon, text: Soon }
  - wait_until: 1 day before trial_ends
  - email: { subject: Tomorrow, text: Tomorrow }
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 09:00", "set trial_ends=2027-03-15")
        .at("2027-03-13 12:00", "set trial_ends=2027-03-22")
        .until("2027-04-01");
    // A date that is set when the first one is over is another occasion.
    her.at("2027-04-01 09:00", "set trial_ends=2027-04-20").until("2027-05-01");
    assert_snapshot!(her.story(), @"
    2027-03-12 09:00 entered trial#1 | 3 days before trial_ends, at 09:00
    2027-03-12 09:00 sent trial#1 email inline:email_1
    2027-03-19 09:00 not_entered trial#0 | re_entry: a run is under way
    2027-03-21 09:00 sent trial#1 email inline:email_2
    2027-03-21 09:00 finished trial#1
    2027-04-17 09:00 entered trial#2 | 3 days before trial_ends, at 09:00
    2027-04-17 09:00 sent trial#2 email inline:email_1
    2027-04-19 09:00 sent trial#2 email inline:email_2
    2027-04-19 09:00 finished trial#2
    ");
}
