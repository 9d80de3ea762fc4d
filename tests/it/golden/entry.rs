//! Who enters, how often, and under which key.

use super::stage::Stage;
use insta::assert_snapshot;

#[test]
fn how_often_a_funnel_lets_a_customer_in() {
    let funnel = |name: &str, rule: &str| {
        format!("--- {name}.yaml\nfunnel: F\ntrigger: {{ event: go }}\nre_entry: {rule}\nsteps: [ {{ stop: done }} ]\n")
    };
    let all = funnel("a-never", "never")
        + &funnel("b-always", "always")
        + &funnel("c-days", "after 90 days")
        + &funnel("d-year", "once per calendar year")
        + &funnel("e-term", "once per term");
    let stage = Stage::new(&format!("--- autofunnel.yaml\nmembership_owner: api\n{all}"));
    let mut her = stage.customer("2026-12-01 08:00");
    her.at("2026-12-01 09:00", "member club 2026-06-15 2027-06-15");
    her.at("2026-12-31 23:00", "go").at("2027-01-01 00:00", "go").at("2027-03-31 22:59", "go").at("2027-03-31 23:00", "go");
    her.at("2027-07-01 10:00", "member club 2027-06-15 2028-06-15").at("2027-07-02 10:00", "go");
    assert_snapshot!(her.story(), @"
    2026-12-31 23:00 entered a-never#1 | go
    2026-12-31 23:00 entered b-always#2 | go
    2026-12-31 23:00 entered c-days#3 | go
    2026-12-31 23:00 entered d-year#4 | go
    2026-12-31 23:00 entered e-term#5 | go
    2026-12-31 23:00 stopped a-never#1 done
    2026-12-31 23:00 stopped b-always#2 done
    2026-12-31 23:00 stopped c-days#3 done
    2026-12-31 23:00 stopped d-year#4 done
    2026-12-31 23:00 stopped e-term#5 done
    2027-01-01 00:00 not_entered a-never#0 | re_entry: never again; she entered 2026-12-31 23:00
    2027-01-01 00:00 entered b-always#6 | go
    2027-01-01 00:00 not_entered c-days#0 | re_entry: not before 2027-03-31 23:00; she entered 2026-12-31 23:00
    2027-01-01 00:00 entered d-year#7 | go
    2027-01-01 00:00 not_entered e-term#0 | re_entry: once per term; she entered 2026-12-31 23:00
    2027-01-01 00:00 stopped b-always#6 done
    2027-01-01 00:00 stopped d-year#7 done
    2027-03-31 22:59 not_entered a-never#0 | re_entry: never again; she entered 2026-12-31 23:00
    2027-03-31 22:59 entered b-always#8 | go
    2027-03-31 22:59 not_entered c-days#0 | re_entry: not before 2027-03-31 23:00; she entered 2026-12-31 23:00
    2027-03-31 22:59 not_entered d-year#0 | re_entry: once per calendar year; she entered 2027-01-01 00:00
    2027-03-31 22:59 not_entered e-term#0 | re_entry: once per term; she entered 2026-12-31 23:00
    2027-03-31 22:59 stopped b-always#8 done
    2027-03-31 23:00 not_entered a-never#0 | re_entry: never again; she entered 2026-12-31 23:00
    2027-03-31 23:00 entered b-always#9 | go
    2027-03-31 23:00 entered c-days#10 | go
    2027-03-31 23:00 not_entered d-year#0 | re_entry: once per calendar year; she entered 2027-01-01 00:00
    2027-03-31 23:00 not_entered e-term#0 | re_entry: once per term; she entered 2026-12-31 23:00
    2027-03-31 23:00 stopped b-always#9 done
    2027-03-31 23:00 stopped c-days#10 done
    2027-06-15 00:00 membership_expired club
    2027-07-02 10:00 not_entered a-never#0 | re_entry: never again; she entered 2026-12-31 23:00
    2027-07-02 10:00 entered b-always#11 | go
    2027-07-02 10:00 entered c-days#12 | go
    2027-07-02 10:00 not_entered d-year#0 | re_entry: once per calendar year; she entered 2027-01-01 00:00
    2027-07-02 10:00 entered e-term#13 | go
    2027-07-02 10:00 stopped b-always#11 done
    2027-07-02 10:00 stopped c-days#12 done
    2027-07-02 10:00 stopped e-term#13 done
    ");
}

#[test]
fn a_key_keeps_runs_apart_and_one_key_has_one_run_at_a_time() {
    let stage = Stage::new(
        r#"
--- order.yaml
funnel: Order
trigger: { purchase: any, where: event.amount >= 10 }
key: event.order_id
only_if: event.amount < 100
exit_on: { event: refund, where: event.order_id == run.entered }
steps:
  - wait: 3 days
"#
        .replace("event.order_id == run.entered", "event.amount > 5")
        .as_str(),
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase order_id=A amount=20").at("2027-03-01 11:00", "purchase order_id=B amount=30");
    her.at("2027-03-01 12:00", "purchase order_id=A amount=20").at("2027-03-01 13:00", "purchase order_id=C amount=9.99");
    her.at("2027-03-01 14:00", "purchase order_id=D amount=100").at("2027-03-01 15:00", "purchase amount=50");
    her.at("2027-03-02 10:00", "refund order_id=A amount=5")
        .until("2027-03-06")
        .at("2027-03-06 10:00", "purchase order_id=A amount=20");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered order#1 | purchase where event.amount >= 10
    2027-03-01 11:00 entered order#2 | purchase where event.amount >= 10
    2027-03-01 12:00 not_entered order#0 | re_entry: a run of the key A is under way
    2027-03-01 14:00 not_entered order#0 | only_if: event.amount < 100
    2027-03-01 15:00 not_entered order#0 | key: event.order_id is not known
    2027-03-04 10:00 finished order#1
    2027-03-04 11:00 finished order#2
    2027-03-06 10:00 entered order#3 | purchase where event.amount >= 10
    ");
}

#[test]
fn the_same_event_starts_one_run_and_does_not_end_its_own() {
    let stage = Stage::new(
        r#"
--- order.yaml
funnel: Order
trigger: purchase
re_entry: always
exit_on: purchase
steps:
  - wait: 3 days
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase id=p1 amount=20").at("2027-03-01 11:00", "purchase id=p1 amount=20");
    her.at("2027-03-01 12:00", "purchase id=p2 amount=20").until("2027-03-08").at("2027-03-08 09:00", "purchase id=p2 amount=20");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered order#1 | purchase
    2027-03-01 11:00 not_entered order#0 | re_entry: a run is under way
    2027-03-01 12:00 exited order#1 purchase | exit_on
    2027-03-01 12:00 entered order#2 | purchase
    2027-03-04 12:00 finished order#2
    2027-03-08 09:00 not_entered order#0 | re_entry: this occasion has started a run already
    ");
}

#[test]
fn late_events_are_history_and_count_for_a_run_only_from_its_entry_on() {
    let stage = Stage::new(
        r#"
--- segments.yaml
buyer: { when: purchases("30 days") >= 2 }
--- hello.yaml
funnel: Hello
trigger: signed_up
exit_on: purchase
goal: { event: purchase, within: 10 days }
steps:
  - wait: 20 days
--- thanks.yaml
funnel: Thanks
trigger: { event: purchase, late: 24h }
steps: [ { stop: thanks } ]
--- buyers.yaml
funnel: Buyers
trigger: { segment_entered: buyer }
steps: [ { stop: welcome } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-10 10:00", "signed_up");
    // From before her entry: no goal, no exit, no run, but it is bought.
    her.at("2027-03-11 10:00:01", "purchase@2027-03-10T09:59 amount=20");
    // After her entry, and too late to start a run.
    her.at("2027-03-15 10:00", "purchase@2027-03-12T10:00 amount=20");
    assert_snapshot!(her.story(), @"
    2027-03-10 10:00 entered hello#1 | signed_up
    2027-03-11 10:00:01.000 history_only purchase | it happened 2027-03-10 09:59 and is too old to start a run
    2027-03-11 10:00:01.000 not_entered thanks#0 | late: the event happened 2027-03-10 09:59 and came too late to start a run
    2027-03-15 10:00 segment_entered buyer
    2027-03-15 10:00 goal hello#1 purchase
    2027-03-15 10:00 exited hello#1 purchase | exit_on
    2027-03-15 10:00 history_only purchase | it happened 2027-03-12 10:00 and is too old to start a run
    2027-03-15 10:00 not_entered thanks#0 | late: the event happened 2027-03-12 10:00 and came too late to start a run
    2027-03-15 10:00 entered buyers#2 | enters the segment buyer
    2027-03-15 10:00 stopped buyers#2 welcome
    ");
}

#[test]
fn milestones_are_reached_once_each_and_imports_reach_them_silently() {
    let stage = Stage::new(
        r#"
--- orders.yaml
funnel: Orders
trigger: { milestone: purchases, reaches: [2, 3, 5] }
only_if: event.value >= event.threshold
steps: [ { stop: well done } ]
--- spend.yaml
funnel: Spend
trigger: { milestone: spend, reaches: [100] }
steps: [ { stop: well done } ]
--- points.yaml
funnel: Points
trigger: { milestone: points, reaches: [10, 20] }
steps: [ { stop: well done } ]
--- gift.yaml
funnel: Gift
trigger: { event: gift }
re_entry: always
steps: [ { grant: 25 points } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "import purchase@2027-01-01T10:00 amount=20")
        .at("2027-03-01 10:00", "import purchase@2027-01-02T10:00 amount=20");
    her.at("2027-03-02 10:00", "purchase amount=60")
        .at("2027-03-03 10:00", "refund amount=60")
        .at("2027-03-04 10:00", "purchase amount=60");
    her.at("2027-03-05 10:00", "purchase amount=1").at("2027-03-06 10:00", "gift").at("2027-03-07 10:00", "gift");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 history_only purchase | imported
    2027-03-01 10:00 history_only purchase | imported
    2027-03-02 10:00 entered orders#1 | purchases reaches 2, 3, 5
    2027-03-02 10:00 entered spend#2 | spend reaches 100
    2027-03-02 10:00 stopped orders#1 well done
    2027-03-02 10:00 stopped spend#2 well done
    2027-03-05 10:00 entered orders#3 | purchases reaches 2, 3, 5
    2027-03-05 10:00 stopped orders#3 well done
    2027-03-06 10:00 entered gift#4 | gift
    2027-03-06 10:00 granted gift#4 25 points | gift
    2027-03-06 10:00 entered points#5 | points reaches 10, 20
    2027-03-06 10:00 entered points#6 | points reaches 10, 20
    2027-03-06 10:00 finished gift#4
    2027-03-06 10:00 stopped points#5 well done
    2027-03-06 10:00 stopped points#6 well done
    2027-03-07 10:00 entered gift#7 | gift
    2027-03-07 10:00 granted gift#7 25 points | gift
    2027-03-07 10:00 finished gift#7
    ");
}

#[test]
fn somebody_asks_for_a_run() {
    let stage = Stage::new(
        r#"
--- talk.yaml
funnel: Talk
trigger: manual
re_entry: always
key: event.seats
steps:
  - email: { subject: Seats, text: "{{ event.seats }} seats" }
  - wait: 1 hour
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "enrol talk r1 seats=2").at("2027-03-01 10:10", "enrol talk r2 seats=2");
    her.at("2027-03-01 10:20", "enrol talk r3 seats=3").until("2027-03-02").at("2027-03-02 10:00", "enrol talk r1 seats=2");
    her.at("2027-03-02 11:00", "enrol gone r9");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered talk#1 | only on request
    2027-03-01 10:00 sent talk#1 email inline:email_1
    2027-03-01 10:10 not_entered talk#0 | re_entry: a run of the key 2 is under way
    2027-03-01 10:20 entered talk#2 | only on request
    2027-03-01 10:20 sent talk#2 email inline:email_1
    2027-03-01 11:00 finished talk#1
    2027-03-01 11:20 finished talk#2
    2027-03-02 10:00 not_entered talk#0 | re_entry: this occasion has started a run already
    2027-03-02 11:00 refused gone | there is no funnel of this name any more
    ");
}

#[test]
fn a_stranger_enters_by_what_she_does_and_consent_is_hers_to_give() {
    let stage = Stage::new(
        r#"
--- segments.yaml
all: { when: customer.balance >= 0 }
--- hello.yaml
funnel: Hello
trigger: { segment_entered: all }
steps:
  - email: { subject: Hi, text: Hi }
  - email: { subject: Owed, text: Owed }
    transactional: true
  - sms: { text: News }
    topic: news
"#,
    );
    let mut her = stage.stranger("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase amount=20");
    assert_snapshot!(her.timeline(), @"
    2027-03-01 10:00 event purchase
    2027-03-01 10:00 segment_entered all
    2027-03-01 10:00 entered hello#1 | enters the segment all
    2027-03-01 10:00 skipped hello#1 email email_1 | customer.email is not known
    2027-03-01 10:00 skipped hello#1 email email_2 | customer.email is not known
    2027-03-01 10:00 skipped hello#1 sms sms_1 | customer.phone is not known
    2027-03-01 10:00 finished hello#1
    ");
    let mut her = stage.stranger("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "import purchase@2027-02-01T10:00 amount=20").at("2027-03-01 11:00", "purchase amount=20");
    assert_snapshot!(her.timeline(), @"
    2027-03-01 10:00 history_only purchase | imported
    2027-03-01 11:00 event purchase
    ");
}

#[test]
fn consent_is_asked_for_by_channel_and_topic_and_only_for_marketing() {
    let stage = Stage::new(
        r#"
--- hello.yaml
funnel: Hello
trigger: { event: go }
re_entry: always
steps:
  - email: { subject: Hi, text: Hi }
  - email: { subject: Owed, text: Owed }
    transactional: true
  - sms: { text: News }
    topic: news
"#,
    );
    let mut her = stage.stranger("2027-03-01 08:00");
    her.at("2027-03-01 09:00", "set email=ada@example.com phone=+491").at("2027-03-01 10:00", "go");
    her.at("2027-03-01 11:00", "consent email=yes sms=yes").at("2027-03-01 12:00", "go");
    her.at("2027-03-01 13:00", "consent sms:news=yes").at("2027-03-01 14:00", "go");
    her.at("2027-03-01 15:00", "consent sms:news=no").at("2027-03-01 16:00", "go");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered hello#1 | go
    2027-03-01 10:00 skipped hello#1 email email_1 | no consent for email is on record
    2027-03-01 10:00 sent hello#1 email inline:email_2
    2027-03-01 10:00 skipped hello#1 sms sms_1 | no consent for sms is on record
    2027-03-01 10:00 finished hello#1
    2027-03-01 11:00 consent_given email | test
    2027-03-01 11:00 consent_given sms | test
    2027-03-01 12:00 entered hello#2 | go
    2027-03-01 12:00 sent hello#2 email inline:email_1
    2027-03-01 12:00 sent hello#2 email inline:email_2
    2027-03-01 12:00 skipped hello#2 sms sms_1 | no consent for sms about news is on record
    2027-03-01 12:00 finished hello#2
    2027-03-01 13:00 consent_given sms:news | test
    2027-03-01 14:00 entered hello#3 | go
    2027-03-01 14:00 sent hello#3 email inline:email_1
    2027-03-01 14:00 sent hello#3 email inline:email_2
    2027-03-01 14:00 sent hello#3 sms inline:sms_1
    2027-03-01 14:00 finished hello#3
    2027-03-01 15:00 consent_withdrawn sms:news | test
    2027-03-01 16:00 entered hello#4 | go
    2027-03-01 16:00 sent hello#4 email inline:email_1
    2027-03-01 16:00 sent hello#4 email inline:email_2
    2027-03-01 16:00 skipped hello#4 sms sms_1 | consent for sms about news was withdrawn 2027-03-01 15:00
    2027-03-01 16:00 finished hello#4
    ");
}
