//! Triggers of loyalty, and entries that are judged again.

use super::stage::Stage;
use insta::assert_snapshot;

#[test]
fn tiers_are_moved_up_and_down() {
    let stage = Stage::new(
        r#"
--- catalog.yaml
tiers:
  - { tier: silver, when: purchases("30 days") >= 1 }
  - { tier: gold, when: purchases("30 days") >= 2 }
--- any.yaml
funnel: Any
trigger: tier_changed
re_entry: always
steps: [ { set: { name: { cel: event.tier } } } ]
--- down.yaml
funnel: Down
trigger: { tier_changed: down }
re_entry: always
steps: [ { stop: sorry } ]
--- gold.yaml
funnel: Gold
trigger: { tier_changed: any, to: gold, from: silver }
re_entry: always
steps: [ { stop: congratulations } ]
--- up.yaml
funnel: Up
trigger: { tier_changed: up }
re_entry: always
steps: [ { stop: hurray } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase amount=5").at("2027-03-02 10:00", "purchase amount=5").until("2027-05-01");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 tier_changed silver
    2027-03-01 10:00 entered any#1 | moves to another tier
    2027-03-01 10:00 entered up#2 | moves up to another tier
    2027-03-01 10:00 set any#1 name
    2027-03-01 10:00 finished any#1
    2027-03-01 10:00 stopped up#2 hurray
    2027-03-02 10:00 tier_changed gold | from silver
    2027-03-02 10:00 entered any#3 | moves to another tier
    2027-03-02 10:00 entered gold#4 | moves to the tier gold from silver
    2027-03-02 10:00 entered up#5 | moves up to another tier
    2027-03-02 10:00 set any#3 name
    2027-03-02 10:00 finished any#3
    2027-03-02 10:00 stopped gold#4 congratulations
    2027-03-02 10:00 stopped up#5 hurray
    2027-03-31 10:00 tier_changed silver | from gold
    2027-03-31 10:00 entered any#6 | moves to another tier
    2027-03-31 10:00 entered down#7 | moves down to another tier
    2027-03-31 10:00 set any#6 name
    2027-03-31 10:00 finished any#6
    2027-03-31 10:00 stopped down#7 sorry
    2027-04-01 10:00 tier_changed none | from silver
    2027-04-01 10:00 entered any#8 | moves to another tier
    2027-04-01 10:00 entered down#9 | moves down to another tier
    2027-04-01 10:00 skipped any#8 set_1 | event.tier is not known
    2027-04-01 10:00 finished any#8
    2027-04-01 10:00 stopped down#9 sorry
    ");
}

#[test]
fn points_that_run_out_are_told_of_once_a_day_of_theirs() {
    let stage = Stage::new(
        r#"
--- gift.yaml
funnel: Gift
trigger: purchase
re_entry: always
steps: [ { grant: 60 points, expires_after: 30 days } ]
--- small.yaml
funnel: Small
trigger: { bonus_expiring: 7 days before, at: "10:00" }
steps:
  - email: { subject: "{{ event.points }} of {{ customer.balance }} points", text: "until {{ event.expires }}" }
  - wait_until: 1 day before anchor
  - email: { subject: "{{ customer.balance }} left", text: "Tomorrow" }
--- large.yaml
funnel: Large
trigger: { bonus_expiring: 7 days before, at_least: 100 }
steps: [ { stop: many } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    // Two grants run out within one day, a third one later.
    her.at("2027-03-01 12:00", "purchase amount=5").at("2027-03-01 20:00", "purchase amount=5");
    her.at("2027-03-10 12:00", "purchase amount=5").until("2027-05-01");
    assert_snapshot!(her.story(), @"
    2027-03-01 12:00 entered gift#1 | purchase
    2027-03-01 12:00 granted gift#1 60 points | gift
    2027-03-01 12:00 finished gift#1
    2027-03-01 20:00 entered gift#2 | purchase
    2027-03-01 20:00 granted gift#2 60 points | gift
    2027-03-01 20:00 finished gift#2
    2027-03-10 12:00 entered gift#3 | purchase
    2027-03-10 12:00 granted gift#3 60 points | gift
    2027-03-10 12:00 finished gift#3
    2027-03-24 09:00 entered large#4 | 7 days before 100 points or more run out, at 09:00
    2027-03-24 09:00 stopped large#4 many
    2027-03-24 10:00 entered small#5 | 7 days before points run out, at 10:00
    2027-03-24 10:00 sent small#5 email inline:email_1
    2027-03-30 10:00 sent small#5 email inline:email_2
    2027-03-30 10:00 finished small#5
    2027-03-31 12:00 bonus_expired 60 points | gift
    2027-03-31 20:00 bonus_expired 60 points | gift
    2027-04-02 10:00 entered small#6 | 7 days before points run out, at 10:00
    2027-04-02 10:00 sent small#6 email inline:email_1
    2027-04-08 10:00 sent small#6 email inline:email_2
    2027-04-08 10:00 finished small#6
    2027-04-09 12:00 bonus_expired 60 points | gift
    ");
    let subjects: Vec<String> = her
        .player
        .effects
        .iter()
        .filter(|effect| effect.kind.name() == "message")
        .map(|effect| format!("{:?}", effect.kind))
        .collect();
    assert!(subjects[0].contains("Int(120)") && subjects[0].contains("Int(180)"), "{}", subjects[0]);
}

#[test]
fn an_entry_is_judged_again_for_the_event_that_overtakes_what_it_needs() {
    let stage = Stage::new(
        r#"
--- hello.yaml
funnel: Hello
trigger: signed_up
re_entry: always
only_if: customer.language == event.source
settle: 30m
steps: [ { set: { name: { cel: event.source } } } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "signed_up source=de").at("2027-03-01 10:10", "set language=fr");
    her.at("2027-03-01 10:21", "signed_up source=it");
    // Exactly at the end of the half hour: what happens comes before what is due.
    her.at("2027-03-01 10:30", "set language=de").at("2027-03-01 10:30:00.001", "set language=it").until("2027-03-01 11:00");
    // Who comes in shuts out who waits, in the same instant.
    her.at("2027-03-01 11:00", "signed_up source=fr")
        .at("2027-03-01 11:10", "signed_up source=it id=again")
        .until("2027-03-01 12:00");
    her.at("2027-03-01 12:00", "signed_up source=de").at("2027-03-01 12:31", "set language=de").until("2027-03-02");
    assert_snapshot!(her.story(), @"
    2027-03-01 10:00 settling hello#0 | only_if: customer.language is not known; judged again until 2027-03-01 10:30
    2027-03-01 10:21 settling hello#0 | only_if: customer.language == event.source; judged again until 2027-03-01 10:51
    2027-03-01 10:30 entered hello#1 | signed_up
    2027-03-01 10:30 not_entered hello#0 | re_entry: a run is under way
    2027-03-01 10:30 set hello#1 name
    2027-03-01 10:30 finished hello#1
    2027-03-01 11:00 settling hello#0 | only_if: customer.language == event.source; judged again until 2027-03-01 11:30
    2027-03-01 11:10 entered hello#2 | signed_up
    2027-03-01 11:10 not_entered hello#0 | re_entry: a run is under way
    2027-03-01 11:10 set hello#2 name
    2027-03-01 11:10 finished hello#2
    2027-03-01 12:00 settling hello#0 | only_if: customer.language == event.source; judged again until 2027-03-01 12:30
    2027-03-01 12:30 not_entered hello#0 | only_if: customer.language == event.source
    ");
    assert!(her.document().settling.is_empty());
}

#[test]
fn time_alone_lets_in_who_is_judged_again() {
    let stage = Stage::new(
        r#"
--- pause.yaml
funnel: Pause
trigger: go
only_if: last("purchase") < ago("1 day")
settle: 2h
steps: [ { stop: in } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "purchase amount=5").at("2027-03-02 09:00", "go").until("2027-03-03");
    assert_snapshot!(her.story(), @r#"
    2027-03-02 09:00 settling pause#0 | only_if: last("purchase") < ago("1 day"); judged again until 2027-03-02 11:00
    2027-03-02 10:00:00.001 entered pause#1 | go
    2027-03-02 10:00:00.001 stopped pause#1 in
    "#);
}

#[test]
fn an_entry_that_is_judged_again_is_forgotten_with_its_funnel() {
    let funnel = "--- hello.yaml\nfunnel: Hello\ntrigger: signed_up\nonly_if: customer.language == \"de\"\nsettle: 1h\nsteps: [ { stop: in } ]\n";
    let (with, without) = (Stage::new(funnel), Stage::new(""));
    let mut her = with.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "signed_up").under(&without).at("2027-03-01 10:30", "set language=de").until("2027-03-02");
    assert!(her.document().settling.is_empty() && her.document().last_run == 0);
}
