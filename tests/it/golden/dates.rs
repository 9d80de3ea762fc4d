//! Waits by the calendar: changes of the clock, ends of months, birthdays on 29 February.

use super::stage::Stage;
use insta::assert_snapshot;

const DAY: &str = r#"
--- by-calendar.yaml
funnel: By calendar
trigger: { event: go }
re_entry: always
steps:
  - wait: 1 day
--- by-clock.yaml
funnel: By clock
trigger: { event: go }
re_entry: always
steps:
  - wait: 24h
--- until.yaml
funnel: Until
trigger: { event: go }
re_entry: always
steps:
  - wait_until: "02:30"
"#;

#[test]
fn when_clocks_go_forward_a_day_has_23_hours_and_half_past_two_is_half_past_three() {
    let stage = Stage::new(DAY);
    let mut her = stage.customer("2027-03-27 08:00").with_offsets();
    her.at("2027-03-27 12:00", "go").until("2027-03-30");
    assert_snapshot!(her.timeline(), @"
    2027-03-27 12:00+1 event go
    2027-03-27 12:00+1 entered by-calendar#1 | go
    2027-03-27 12:00+1 entered by-clock#2 | go
    2027-03-27 12:00+1 entered until#3 | go
    2027-03-27 12:00+1 waiting by-calendar#1 2027-03-28 12:00 | 1 day
    2027-03-27 12:00+1 waiting by-clock#2 2027-03-28 13:00 | 24 hours
    2027-03-27 12:00+1 waiting until#3 2027-03-28 03:30 | 02:30
    2027-03-28 03:30+2 finished until#3
    2027-03-28 12:00+2 finished by-calendar#1
    2027-03-28 13:00+2 finished by-clock#2
    ");
}

#[test]
fn when_clocks_go_back_a_day_has_25_hours_and_half_past_two_comes_once() {
    let stage = Stage::new(DAY);
    let mut her = stage.customer("2027-10-30 08:00").with_offsets();
    her.at("2027-10-30 12:00", "go").until("2027-11-02");
    assert_snapshot!(her.story(), @"
    2027-10-30 12:00+2 entered by-calendar#1 | go
    2027-10-30 12:00+2 entered by-clock#2 | go
    2027-10-30 12:00+2 entered until#3 | go
    2027-10-31 02:30+2 finished until#3
    2027-10-31 11:00+1 finished by-clock#2
    2027-10-31 12:00+1 finished by-calendar#1
    ");
    // Between the two, the first one is past: the next one is tomorrow's.
    let mut her = stage.customer("2027-10-30 08:00").with_offsets();
    her.at("2027-10-31T00:45:00Z", "go").until("2027-11-02");
    assert_snapshot!(her.story(), @"
    2027-10-31 02:45+2 entered by-calendar#1 | go
    2027-10-31 02:45+2 entered by-clock#2 | go
    2027-10-31 02:45+2 entered until#3 | go
    2027-11-01 01:45+1 finished by-clock#2
    2027-11-01 02:30+1 finished until#3
    2027-11-01 02:45+1 finished by-calendar#1
    ");
}

#[test]
fn months_end_on_their_last_day() {
    let stage = Stage::new(
        r#"
--- monthly.yaml
funnel: Monthly
trigger: { event: go }
steps:
  - wait: 1 month
  - wait: 1 month
  - wait_until: monday 09:00
  - wait_until: monday 09:00
"#,
    );
    let mut her = stage.customer("2027-01-31 08:00");
    her.at("2027-01-31 09:00", "go").until("2027-06-01");
    assert_snapshot!(her.timeline(), @"
    2027-01-31 09:00 event go
    2027-01-31 09:00 entered monthly#1 | go
    2027-01-31 09:00 waiting monthly#1 2027-02-28 09:00 | 1 month
    2027-02-28 09:00 waiting monthly#1 2027-03-28 09:00 | 1 month
    2027-03-28 09:00 waiting monthly#1 2027-03-29 09:00 | monday 09:00
    2027-03-29 09:00 finished monthly#1
    ");
}

const BIRTHDAY: &str = r#"
--- in-february.yaml
funnel: In February
trigger: { birthday: on the day, at: "10:00" }
steps: [ { email: { subject: Hi, text: "You are {{ event.age }}" } } ]
--- in-march.yaml
funnel: In March
trigger: { birthday: on the day, at: "10:00", leap: mar 1 }
steps: [ { email: { subject: Hi, text: Hi } } ]
--- series.yaml
funnel: Series
trigger: { birthday: 3 days before, at: "10:00" }
steps:
  - wait_until: on birthday
  - sms: { text: Hi }
"#;

#[test]
fn who_was_born_on_29_february_has_a_birthday_every_year() {
    let stage = Stage::new(BIRTHDAY);
    let mut her = stage.customer("2027-01-01 08:00");
    her.at("2027-01-02 08:00", "set birthday=1992-02-29").until("2028-04-01");
    assert_snapshot!(her.story(), @"
    2027-02-25 10:00 entered series#1 | 3 days before her birthday, at 10:00
    2027-02-28 10:00 entered in-february#2 | on her birthday, at 10:00
    2027-02-28 10:00 sent in-february#2 email inline:email_1
    2027-02-28 10:00 finished in-february#2
    2027-02-28 10:00 sent series#1 sms inline:sms_1
    2027-02-28 10:00 finished series#1
    2027-03-01 10:00 entered in-march#3 | on her birthday, at 10:00
    2027-03-01 10:00 sent in-march#3 email inline:email_1
    2027-03-01 10:00 finished in-march#3
    2028-02-26 10:00 entered series#4 | 3 days before her birthday, at 10:00
    2028-02-29 10:00 entered in-february#5 | on her birthday, at 10:00
    2028-02-29 10:00 entered in-march#6 | on her birthday, at 10:00
    2028-02-29 10:00 sent in-february#5 email inline:email_1
    2028-02-29 10:00 finished in-february#5
    2028-02-29 10:00 sent in-march#6 email inline:email_1
    2028-02-29 10:00 finished in-march#6
    2028-02-29 10:00 sent series#4 sms inline:sms_1
    2028-02-29 10:00 finished series#4
    ");
}

#[test]
fn a_birthday_that_was_before_it_became_known_is_not_celebrated_late() {
    let stage = Stage::new(BIRTHDAY);
    let mut her = stage.customer("2027-01-01 08:00");
    her.at("2027-11-01 12:00", "set birthday=1990-05-14").until("2028-04-01");
    assert_snapshot!(her.story(), @"");
    // Not even on the same day: it was at ten, and she says so at noon.
    her.at("2028-04-02 12:00", "set birthday=1990-04-02").until("2028-04-10");
    assert_snapshot!(her.story(), @"");
}

#[test]
fn a_changed_birthday_brings_no_second_one_within_300_days() {
    let stage = Stage::new(BIRTHDAY.split("--- in-march").next().unwrap());
    let mut her = stage.customer("2027-01-01 08:00");
    her.at("2027-01-02 08:00", "set birthday=1990-11-10").until("2027-12-01");
    // The same year, then the next one 61 days after the last one, then a year later.
    her.at("2027-12-01 08:00", "set birthday=1990-12-20").until("2027-12-24");
    her.at("2027-12-24 08:00", "set birthday=1990-01-10").until("2029-02-01");
    assert_snapshot!(her.story(), @"
    2027-11-10 10:00 entered in-february#1 | on her birthday, at 10:00
    2027-11-10 10:00 sent in-february#1 email inline:email_1
    2027-11-10 10:00 finished in-february#1
    2027-12-20 10:00 not_entered in-february#0 | re_entry: this occasion has started a run already
    2028-01-10 10:00 not_entered in-february#0 | re_entry: the last entry was 2027-11-10 10:00, less than 300 days ago
    2029-01-10 10:00 entered in-february#2 | on her birthday, at 10:00
    2029-01-10 10:00 sent in-february#2 email inline:email_1
    2029-01-10 10:00 finished in-february#2
    ");
}

#[test]
fn a_run_joins_a_birthday_that_is_near_and_follows_one_that_moves() {
    let stage = Stage::new(BIRTHDAY);
    let mut her = stage.customer("2027-01-01 08:00");
    // Two days before it: the three days' notice is past, the day itself is not.
    her.at("2027-05-12 08:00", "set birthday=1990-05-14").at("2027-05-13 08:00", "set birthday=1990-05-16").until("2027-06-01");
    assert_snapshot!(her.timeline(), @"
    2027-05-12 08:00 profile birthday
    2027-05-12 08:00 entered series#1 | 3 days before her birthday, at 10:00
    2027-05-12 08:00 waiting series#1 2027-05-14 10:00 | on birthday
    2027-05-13 08:00 profile birthday
    2027-05-13 08:00 waiting series#1 2027-05-16 10:00 | on birthday: the date has moved
    2027-05-13 10:00 not_entered series#0 | re_entry: a run of the key birthday:2027 is under way
    2027-05-16 10:00 entered in-february#2 | on her birthday, at 10:00
    2027-05-16 10:00 entered in-march#3 | on her birthday, at 10:00
    2027-05-16 10:00 planned in-february#2 email_1
    2027-05-16 10:00 planned in-march#3 email_1
    2027-05-16 10:00 planned series#1 sms_1
    2027-05-16 10:00 sent in-february#2 email inline:email_1
    2027-05-16 10:00 finished in-february#2
    2027-05-16 10:00 sent in-march#3 email inline:email_1
    2027-05-16 10:00 finished in-march#3
    2027-05-16 10:00 sent series#1 sms inline:sms_1
    2027-05-16 10:00 finished series#1
    ");
}
