//! What is not done in time, and what fails: where the run goes on.

use super::stage::{Stage, act, time};
use autofunnel::event::{Input, InputBody};
use autofunnel::turn::turn;
use insta::assert_snapshot;

#[test]
fn what_was_not_done_in_time_takes_its_fallback() {
    let stage = Stage::new(
        r#"
--- hurry.yaml
funnel: Hurry
trigger: go
steps:
  - email: { subject: Today, text: Today only }
    id: today
    expires: 6h
    if_expired:
      - email: { subject: Sorry, text: You missed it }
  - grant: 20 points
    id: points
    expires: 1 day
    if_expired: [ { stop: "too late for points" } ]
  - email: { subject: Points, text: Here they are }
    if: steps.points.result == "active" && steps.today.result == "expired"
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    let at = time("2027-03-01 10:00");
    let go = vec![Input { accepted_at: at, body: act("go", "e1", at) }];
    let turned = turn(&stage.definitions, "ada", her.player.customer.take(), her.player.account.clone(), go, at);
    let effect = turned.effects[0].clone();
    assert_eq!(effect.valid_until, Some(time("2027-03-01 16:00")));
    her.player.customer = Some(turned.customer);
    her.player.facts.extend(turned.facts);
    // Its provider did not take it in time.
    let stale = |effect: &str| InputBody::Stale { effect: effect.to_owned(), why: "it was not taken in time".to_owned() };
    her.player.input(time("2027-03-01 16:00"), stale(&effect.id));
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered hurry#1 | go
    2027-03-01 16:00 redecided hurry#1 | it was not taken in time
    2027-03-01 16:00 skipped hurry#1 email today | it expired 2027-03-01 16:00, 6 hours after the run came to it
    2027-03-01 16:00 branched hurry#1 if_expired | it expired 2027-03-01 16:00, 6 hours after the run came to it
    2027-03-01 16:00 sent hurry#1 email inline:email_2
    2027-03-01 16:00 granted hurry#1 20 points | hurry
    2027-03-01 16:00 sent hurry#1 email inline:email_3
    2027-03-01 16:00 finished hurry#1
    ");
}

const HELD: &str = r#"
--- autofunnel.yaml
quiet_hours: { from: "21:00", until: "08:00" }
caps: [ { channel: email, at_most: 1, within: 1 day } ]
--- hurry.yaml
funnel: Hurry
trigger: go
re_entry: always
steps:
  - email: { subject: Today, text: Today only }
    id: today
    expires: 90m
    if_expired:
      - chat: { text: You missed it }
        quiet_hours: ignore
"#;

#[test]
fn time_runs_while_a_message_is_held_in_quiet_hours() {
    let stage = Stage::new(HELD);
    let mut her = stage.customer("2027-03-01 08:00");
    // A second too early for the morning, then in time to the second.
    her.at("2027-03-02 06:29:59", "go").until("2027-03-02 12:00");
    assert_snapshot!(her.story(), @"
    2027-03-02 06:29:59.000 entered hurry#1 | go
    2027-03-02 06:29:59.000 held hurry#1 email inline:today | quiet hours 21:00–08:00
    2027-03-02 07:59:59.000 skipped hurry#1 email today | it expired 2027-03-02 07:59, 1 hour 30 minutes after the run came to it
    2027-03-02 07:59:59.000 branched hurry#1 if_expired | it expired 2027-03-02 07:59, 1 hour 30 minutes after the run came to it
    2027-03-02 07:59:59.000 sent hurry#1 chat inline:chat_1
    2027-03-02 07:59:59.000 finished hurry#1
    ");
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-02 06:30:01", "go").until("2027-03-02 12:00");
    assert_snapshot!(her.story(), @"
    2027-03-02 06:30:01.000 entered hurry#1 | go
    2027-03-02 06:30:01.000 held hurry#1 email inline:today | quiet hours 21:00–08:00
    2027-03-02 08:00 sent hurry#1 email inline:today
    2027-03-02 08:00 finished hurry#1
    ");
}

#[test]
fn time_runs_while_a_message_waits_for_its_window_or_for_room() {
    let window = HELD.replace("    expires: 90m\n", "    expires: 90m\n    window: { from: \"12:00\", until: \"14:00\" }\n");
    let stage = Stage::new(&window);
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:29:59", "go").until("2027-03-01 13:00");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:29:59.000 entered hurry#1 | go
    2027-03-01 10:29:59.000 held hurry#1 email inline:today | outside of its window 12:00–14:00
    2027-03-01 11:59:59.000 skipped hurry#1 email today | it expired 2027-03-01 11:59, 1 hour 30 minutes after the run came to it
    2027-03-01 11:59:59.000 branched hurry#1 if_expired | it expired 2027-03-01 11:59, 1 hour 30 minutes after the run came to it
    2027-03-01 11:59:59.000 sent hurry#1 chat inline:chat_1
    2027-03-01 11:59:59.000 finished hurry#1
    ");
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:30:01", "go").until("2027-03-01 13:00");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:30:01.000 entered hurry#1 | go
    2027-03-01 10:30:01.000 held hurry#1 email inline:today | outside of its window 12:00–14:00
    2027-03-01 12:00 sent hurry#1 email inline:today
    2027-03-01 12:00 finished hurry#1
    ");
    // There is room a day after the first message: too late by a second for the one, in time for the other.
    let stage = Stage::new(&HELD.replace("    expires: 90m\n", "    expires: 90m\n    on_cap: { defer: 3 days }\n"));
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 12:00", "go").at("2027-03-02 10:29:59", "go").until("2027-03-02 13:00");
    assert_snapshot!(her.story(), @"
    2027-03-01 12:00 entered hurry#1 | go
    2027-03-01 12:00 sent hurry#1 email inline:today
    2027-03-01 12:00 finished hurry#1
    2027-03-02 10:29:59.000 entered hurry#2 | go
    2027-03-02 10:29:59.000 held hurry#2 email inline:today | cap: at most 1 email within 1 day
    2027-03-02 11:59:59.000 skipped hurry#2 email today | it expired 2027-03-02 11:59, 1 hour 30 minutes after the run came to it
    2027-03-02 11:59:59.000 branched hurry#2 if_expired | it expired 2027-03-02 11:59, 1 hour 30 minutes after the run came to it
    2027-03-02 11:59:59.000 sent hurry#2 chat inline:chat_1
    2027-03-02 11:59:59.000 finished hurry#2
    ");
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 12:00", "go").at("2027-03-02 10:30:01", "go").until("2027-03-02 13:00");
    assert_snapshot!(her.story(), @"
    2027-03-01 12:00 entered hurry#1 | go
    2027-03-01 12:00 sent hurry#1 email inline:today
    2027-03-01 12:00 finished hurry#1
    2027-03-02 10:30:01.000 entered hurry#2 | go
    2027-03-02 10:30:01.000 held hurry#2 email inline:today | cap: at most 1 email within 1 day
    2027-03-02 12:00 sent hurry#2 email inline:today
    2027-03-02 12:00 finished hurry#2
    ");
}

#[test]
fn a_message_without_a_deadline_of_its_own_has_a_day_from_the_morning_on() {
    let stage = Stage::new(
        &HELD
            .replace("    expires: 90m\n", "")
            .replace("    if_expired:\n      - chat: { text: You missed it }\n        quiet_hours: ignore\n", ""),
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 22:00", "go").until("2027-03-02 12:00");
    assert_eq!(her.player.effects[0].valid_until, Some(time("2027-03-02 21:00")));
    assert_snapshot!(her.story(), @"
    2027-03-01 22:00 entered hurry#1 | go
    2027-03-01 22:00 held hurry#1 email inline:today | quiet hours 21:00–08:00
    2027-03-02 08:00 sent hurry#1 email inline:today
    2027-03-02 08:00 finished hurry#1
    ");
}

#[test]
fn what_fails_takes_the_way_that_is_written_for_it() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
loyalty: shop
providers:
  shop: { kind: http, url: "https://shop.example/points", idempotency: key }
--- gift.yaml
funnel: Gift
trigger: go
re_entry: always
steps:
  - grant: 20 points
    id: points
    on_error: branch
    failed:
      - email: { subject: Sorry, text: No points today }
  - email: { subject: Gift, text: Here you are }
    id: letter
    on_error: stop
  - stop: done
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 09:00", "fail points refused").at("2027-03-01 10:00", "go");
    her.at("2027-03-02 09:00", "fail points dead").at("2027-03-02 09:00", "fail letter refused").at("2027-03-02 10:00", "go");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 entered gift#1 | go
    2027-03-01 10:00 failed gift#1 points | refused: asked for by the test
    2027-03-01 10:00 branched gift#1 failed
    2027-03-01 10:00 sent gift#1 email inline:email_1
    2027-03-01 10:00 sent gift#1 email inline:letter
    2027-03-01 10:00 stopped gift#1 done
    2027-03-02 10:00 entered gift#2 | go
    2027-03-02 10:00 failed gift#2 points | dead after 1 attempts: asked for by the test
    2027-03-02 10:00 branched gift#2 failed
    2027-03-02 10:00 sent gift#2 email inline:email_1
    2027-03-02 10:00 failed gift#2 email inline:letter | refused: asked for by the test
    2027-03-02 10:00 stopped gift#2 letter | refused: asked for by the test
    ");
}
