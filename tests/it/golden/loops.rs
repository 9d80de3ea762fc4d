//! Funnels that start each other: hops and steps are bounded, and nothing stands still.

use super::stage::{Stage, time};
use autofunnel::fact::What;
use insta::assert_snapshot;

#[test]
fn events_that_call_each_other_come_to_an_end() {
    let stage = Stage::new(
        r#"
--- ping.yaml
funnel: Ping
trigger: { event: ping }
re_entry: always
steps: [ { emit: pong } ]
--- pong.yaml
funnel: Pong
trigger: { event: pong }
re_entry: always
steps: [ { emit: ping } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "ping");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered ping#1 | ping
    2027-03-01 10:00 emitted ping#1 pong
    2027-03-01 10:00 finished ping#1
    2027-03-01 10:00 entered pong#2 | pong
    2027-03-01 10:00 emitted pong#2 ping
    2027-03-01 10:00 finished pong#2
    2027-03-01 10:00 entered ping#3 | ping
    2027-03-01 10:00 emitted ping#3 pong
    2027-03-01 10:00 finished ping#3
    2027-03-01 10:00 entered pong#4 | pong
    2027-03-01 10:00 emitted pong#4 ping
    2027-03-01 10:00 finished pong#4
    2027-03-01 10:00 entered ping#5 | ping
    2027-03-01 10:00 emitted ping#5 pong
    2027-03-01 10:00 finished ping#5
    2027-03-01 10:00 entered pong#6 | pong
    2027-03-01 10:00 emitted pong#6 ping
    2027-03-01 10:00 finished pong#6
    2027-03-01 10:00 entered ping#7 | ping
    2027-03-01 10:00 emitted ping#7 pong
    2027-03-01 10:00 finished ping#7
    2027-03-01 10:00 entered pong#8 | pong
    2027-03-01 10:00 emitted pong#8 ping
    2027-03-01 10:00 finished pong#8
    2027-03-01 10:00 entered ping#9 | ping
    2027-03-01 10:00 alert ping#9 pong | more than 8 hops of emitted events and segment changes; look for funnels that start each other
    2027-03-01 10:00 stopped ping#9 limit | more than 8 hops of emitted events and segment changes; look for funnels that start each other
    ");
}

#[test]
fn segments_that_a_run_turns_on_and_off_come_to_an_end() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
profile: { on: bool }
--- segments.yaml
lit: { when: customer.on == true }
--- off.yaml
funnel: Off
trigger: { segment_entered: lit }
re_entry: always
steps: [ { set: { on: false } } ]
--- on.yaml
funnel: On
trigger: { segment_left: lit }
re_entry: always
steps: [ { set: { on: true } } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "set on=true");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 segment_entered lit
    2027-03-01 10:00 entered off#1 | enters the segment lit
    2027-03-01 10:00 set off#1 on
    2027-03-01 10:00 finished off#1
    2027-03-01 10:00 segment_left lit
    2027-03-01 10:00 entered on#2 | leaves the segment lit
    2027-03-01 10:00 set on#2 on
    2027-03-01 10:00 finished on#2
    2027-03-01 10:00 segment_entered lit
    2027-03-01 10:00 not_entered off#0 | re_entry: this occasion has started a run already
    ");
    assert_eq!(her.player.wake, None);
}

#[test]
fn messages_that_call_for_messages_come_to_an_end() {
    let stage = Stage::new(
        r#"
--- echo.yaml
funnel: Echo
trigger: { event: message_sent }
re_entry: always
transactional: true
steps: [ { email: { subject: Hi, text: Hi } } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "message_sent channel=email");
    assert_eq!((her.player.count(What::Sent), her.player.count(What::Alert)), (9, 1), "{}", her.story());
}

#[test]
fn a_run_of_too_many_steps_in_one_instant_is_stopped() {
    let steps = "  - set: { n: 1 }\n".repeat(201);
    let stage = Stage::new(&format!(
        "--- autofunnel.yaml\nprofile: {{ n: number }}\n--- long.yaml\nfunnel: Long\ntrigger: {{ event: go }}\nsteps:\n{steps}"
    ));
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "go");
    assert_eq!((her.player.count(What::Set), her.player.count(What::Stopped), her.player.count(What::Alert)), (200, 1, 1));
}

#[test]
fn a_month_of_minutes_is_walked_in_turns_and_none_is_left_out() {
    let stage = Stage::new(
        r#"
--- segments.yaml
all: { when: customer.balance >= 0 }
--- tick.yaml
funnel: Tick
trigger: { schedule: "0 * * * *", segment: all }
steps: [ { stop: tick } ]
--- again.yaml
funnel: Again
trigger: { event: go }
steps:
  - wait: 1 minute
  - wait: 1 minute
"#,
    );
    let mut her = stage.customer("2027-03-01 00:30");
    // Three months of down time: 2000 hours, of which those of the last day alone are not too late, and of
    // these the last one is caught up.
    her.at("2027-03-01 00:40", "go");
    her.backlog("2027-06-01 12:30", &[("2027-06-01 12:00", "go")]);
    her.until("2027-06-01 12:30");
    let entered: Vec<_> = her.player.facts_of("tick").filter(|fact| fact.what == What::Entered).map(|fact| fact.at).collect();
    assert_eq!(entered, [time("2027-06-01 12:00")]);
    assert!(her.player.wake.is_some_and(|wake| wake == time("2027-06-01 13:00")), "{:?}", her.player.wake);
    assert!(her.story().contains("2027-03-01 00:42 finished again#1"), "the wait ended in its own time");
}
