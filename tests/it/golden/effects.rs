//! Effects in the outbox: taken back, decided anew, of unknown fate.

use super::stage::{Stage, act, time};
use autofunnel::account::Account;
use autofunnel::customer::Customer;
use autofunnel::effect::{Effect, EffectKind, Outcome};
use autofunnel::event::{Input, InputBody};
use autofunnel::fact::What;
use autofunnel::lang::value::Fields;
use autofunnel::turn::{Turned, turn, turn_until};

/// A customer whose effects wait in the outbox until the test answers.
struct Desk<'a> {
    stage: &'a Stage,
    customer: Option<Customer>,
    count: usize,
}

impl<'a> Desk<'a> {
    fn new(stage: &'a Stage, at: &str) -> Desk<'a> {
        let mut desk = Desk { stage, customer: None, count: 0 };
        desk.turn(at, &[(at, "set email=ada@example.com phone=+491"), (at, "consent email=yes sms=yes")]);
        desk
    }

    fn turn(&mut self, now: &str, acts: &[(&str, &str)]) -> Turned {
        let mut inputs = Vec::new();
        for (at, text) in acts {
            self.count += 1;
            inputs.push(Input { accepted_at: time(at), body: act(text, &format!("e{}", self.count), time(at)) });
        }
        self.inputs(now, inputs)
    }

    fn answer(&mut self, now: &str, body: InputBody) -> Turned {
        self.inputs(now, vec![Input { accepted_at: time(now), body }])
    }

    fn inputs(&mut self, now: &str, inputs: Vec<Input>) -> Turned {
        let turned = turn(&self.stage.definitions, "ada", self.customer.take(), Account::default(), inputs, time(now));
        self.customer = Some(turned.customer.clone());
        turned
    }
}

fn whats(turned: &Turned) -> Vec<&'static str> {
    turned.facts.iter().map(|fact| fact.what.name()).collect()
}

fn ids(effects: &[Effect]) -> Vec<&str> {
    effects.iter().map(|effect| effect.id.as_str()).collect()
}

const MAIL: &str = r#"
--- autofunnel.yaml
quiet_hours: { from: "21:00", until: "08:00" }
caps: [ { channel: email, at_most: 1, within: 7 days } ]
--- mail.yaml
funnel: Mail
trigger: { event: go }
exit_on: purchase
steps:
  - email: { subject: Hi, text: "Hi {{ customer.email }}" }
    id: mail
    expires: 12h
  - grant: 5 points
    id: points
"#;

#[test]
fn a_withdrawal_in_the_same_batch_takes_the_message_back() {
    let stage = Stage::new(MAIL);
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let turned = desk.turn("2027-03-01 10:00", &[("2027-03-01 09:30", "go"), ("2027-03-01 09:40", "consent email=no")]);
    assert_eq!(ids(&turned.effects), ["ada/1/points/2"], "{:?}", whats(&turned));
    assert_eq!(whats(&turned), ["event", "entered", "planned", "consent_withdrawn", "redecided", "skipped", "planned"]);
    assert_eq!(turned.effects[0].gate, turned.customer.gate, "it can begin");
    assert!(turned.customer.sends.is_empty(), "its place under the cap is free again");
}

#[test]
fn another_withdrawal_sends_what_was_planned_under_the_new_gate() {
    let stage = Stage::new(MAIL);
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let turned = desk.turn("2027-03-01 10:00", &[("2027-03-01 09:30", "go"), ("2027-03-01 09:40", "consent sms=no")]);
    assert_eq!(ids(&turned.effects), ["ada/1/mail/1.1"]);
    assert_eq!((turned.effects[0].gate, turned.customer.gate), (1, 1));
    assert_eq!(turned.customer.sends.len(), 1);
    // So do points, which ask nobody's consent.
    let stage = Stage::new("--- gift.yaml\nfunnel: Gift\ntrigger: { event: go }\nsteps: [ { grant: 5 points } ]\n");
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let turned = desk.turn("2027-03-01 10:00", &[("2027-03-01 09:30", "go"), ("2027-03-01 09:40", "consent sms=no")]);
    assert_eq!((ids(&turned.effects), turned.effects[0].gate), (vec!["ada/1/grant_1/1"], turned.customer.gate));
}

#[test]
fn a_stale_decision_is_made_anew_and_keeps_its_deadline() {
    let stage = Stage::new(MAIL);
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let turned = desk.turn("2027-03-01 20:00", &[("2027-03-01 20:00", "go")]);
    let first = turned.effects[0].clone();
    assert_eq!(first.valid_until, Some(time("2027-03-01 21:00")), "it must not begin in the night");
    let stale = |effect: &str| InputBody::Stale { effect: effect.to_owned(), why: "it came too late".to_owned() };
    let turned = desk.answer("2027-03-01 21:00", stale(&first.id));
    assert_eq!(whats(&turned), ["redecided", "held"]);
    assert_eq!(turned.wake, Some(time("2027-03-02 08:00")));
    // At eight the twelve hours are over.
    let turned = desk.turn("2027-03-02 08:00", &[]);
    assert_eq!(whats(&turned), ["skipped", "planned"], "{:?}", turned.facts);
    assert_eq!(ids(&turned.effects), ["ada/1/points/2"]);
    assert!(turned.customer.sends.is_empty());
    // An answer to what was decided anew changes nothing any more.
    let turned = desk.answer("2027-03-02 09:00", stale(&first.id));
    assert!(turned.facts.is_empty() && turned.effects.is_empty());
}

#[test]
fn s58_a_second_attempt_in_quiet_hours_waits_for_the_morning() {
    let stage = Stage::new(MAIL);
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let first = desk.turn("2027-03-01 20:59:59", &[("2027-03-01 20:59:59", "go")]).effects[0].clone();
    // No attempt begins after this: the store's last gate sends it back.
    assert_eq!(first.valid_until, Some(time("2027-03-01 21:00")));
    let stale = InputBody::Stale { effect: first.id, why: "its time had passed".to_owned() };
    let turned = desk.answer("2027-03-01 21:00:30", stale);
    assert_eq!((whats(&turned), turned.wake), (vec!["redecided", "held"], Some(time("2027-03-02 08:00"))));
    let turned = desk.turn("2027-03-02 08:00", &[]);
    assert_eq!(ids(&turned.effects), ["ada/1/mail/1.1"]);
}

#[test]
fn a_move_to_another_zone_decides_messages_anew() {
    let stage = Stage::new(MAIL);
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let turned = desk.turn("2027-03-01 12:00", &[("2027-03-01 12:00", "go")]);
    let first = turned.effects[0].clone();
    // Where she is now it is 11 in the evening: what was planned for her afternoon must not begin.
    let turned = desk.turn("2027-03-01 12:01", &[("2027-03-01 12:01", "set zone=Pacific/Auckland")]);
    assert!(turned.customer.gate > first.gate, "what waits in the outbox is stopped by the gate");
    let stale = InputBody::Stale { effect: first.id, why: "the gate".to_owned() };
    let turned = desk.answer("2027-03-01 12:02", stale);
    assert_eq!((whats(&turned), turned.wake), (vec!["redecided", "held"], Some(time("2027-03-01 20:00"))));
    // And back: it is day again, and nothing is held any more.
    let turned = desk.turn("2027-03-01 12:03", &[("2027-03-01 12:03", "set zone=Europe/Berlin")]);
    assert_eq!((whats(&turned), ids(&turned.effects)), (vec!["profile", "planned"], vec!["ada/1/mail/1.1"]));
    assert_eq!(turned.effects[0].gate, turned.customer.gate);
    // Planned and moved in one turn.
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let acts = [("2027-03-01 12:00", "go"), ("2027-03-01 12:01", "set zone=Pacific/Auckland")];
    let turned = desk.turn("2027-03-01 12:02", &acts);
    assert_eq!(whats(&turned), ["event", "entered", "planned", "profile", "redecided", "held"]);
    assert!(turned.effects.is_empty());
    // What asks nothing of the clock is left alone.
    let stage = Stage::new(&MAIL.replace("    expires: 12h", "    quiet_hours: ignore"));
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let turned = desk.turn("2027-03-01 12:02", &acts);
    assert_eq!((ids(&turned.effects), turned.customer.gate), (vec!["ada/1/mail/1"], 0));
}

#[test]
fn a_run_that_ends_takes_its_effect_back() {
    let stage = Stage::new(MAIL);
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    desk.turn("2027-03-01 10:00", &[("2027-03-01 10:00", "go")]);
    let turned = desk.turn("2027-03-01 11:00", &[("2027-03-01 11:00", "purchase amount=1")]);
    assert_eq!(turned.withdrawn, ["ada/1/mail/1"]);
    assert_eq!(whats(&turned), ["event", "exited", "withdrawn"]);
    // It had begun after all.
    let accepted = Outcome::Accepted { reference: None, data: Fields::new() };
    let turned = desk.answer("2027-03-01 11:01", InputBody::Result { effect: "ada/1/mail/1".to_owned(), outcome: accepted });
    assert_eq!(whats(&turned), ["sent"]);
    assert!(turned.customer.sends[0].effect.is_none(), "it counts");
    // Planned and taken back in one turn, nothing leaves.
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let turned = desk.turn("2027-03-01 11:00", &[("2027-03-01 10:00", "go"), ("2027-03-01 10:30", "purchase amount=1")]);
    assert!(turned.effects.is_empty() && turned.withdrawn.is_empty(), "{:?}", whats(&turned));
}

#[test]
fn a_message_that_may_be_under_way_keeps_its_place_when_its_run_ends() {
    let stage = Stage::new(&MAIL.replace("trigger: { event: go }", "trigger: { event: go }\nre_entry: always"));
    let under_way = || {
        let mut desk = Desk::new(&stage, "2027-03-01 09:00");
        desk.turn("2027-03-01 10:00", &[("2027-03-01 10:00", "go")]);
        desk.turn("2027-03-01 11:00", &[("2027-03-01 11:00", "purchase amount=1")]);
        desk
    };
    let capped = ["event", "entered", "capped", "planned"];
    let allowed = ["event", "entered", "planned"];
    let turned = under_way().turn("2027-03-01 12:00", &[("2027-03-01 12:00", "go")]);
    assert_eq!(whats(&turned), capped, "one a week, and the first may have been sent");
    // Nothing is heard of it for a day: it was taken back in time.
    let turned = under_way().turn("2027-03-02 11:00", &[("2027-03-02 11:00", "go")]);
    assert_eq!(whats(&turned), allowed);
    // Or there was an outage, and it had been sent after all.
    let mut desk = under_way();
    desk.turn("2027-03-03 08:30", &[("2027-03-03 08:30", "set name=Ada")]);
    let outcome = Outcome::Unknown { why: String::new() };
    desk.answer("2027-03-03 09:00", InputBody::Result { effect: "ada/1/mail/1".to_owned(), outcome });
    assert_eq!(whats(&desk.turn("2027-03-03 10:00", &[("2027-03-03 10:00", "go")])), capped);
    // Its answer comes.
    for (outcome, expected) in [
        (Outcome::Refused { why: String::new() }, allowed.to_vec()),
        (Outcome::Unknown { why: String::new() }, capped.to_vec()),
        (Outcome::Accepted { reference: None, data: Fields::new() }, capped.to_vec()),
    ] {
        let mut desk = under_way();
        desk.answer("2027-03-01 11:05", InputBody::Result { effect: "ada/1/mail/1".to_owned(), outcome });
        let turned = desk.turn("2027-03-02 11:00", &[("2027-03-02 11:00", "go")]);
        assert_eq!(whats(&turned), expected);
    }
}

#[test]
fn a_message_of_unknown_fate_counts_from_when_it_is_known_to_be_unknown() {
    let stage = Stage::new(&MAIL.replace("trigger: { event: go }", "trigger: { event: go }\nre_entry: always"));
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let id = desk.turn("2027-03-01 10:00", &[("2027-03-01 10:00", "go")]).effects[0].id.clone();
    let outcome = Outcome::Unknown { why: String::new() };
    desk.answer("2027-03-02 06:00", InputBody::Result { effect: id, outcome });
    desk.turn("2027-03-02 07:00", &[("2027-03-02 07:00", "purchase amount=1")]);
    let turned = desk.turn("2027-03-08 10:01", &[("2027-03-08 10:01", "go")]);
    assert_eq!(whats(&turned), ["event", "entered", "capped", "planned"], "it may have been sent just before six");
}

#[test]
fn an_unknown_grant_holds_its_run_and_exits_still_act() {
    let stage = Stage::new(
        &MAIL.replace("  - email: { subject: Hi, text: \"Hi {{ customer.email }}\" }\n    id: mail\n    expires: 12h\n", ""),
    );
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let turned = desk.turn("2027-03-01 10:00", &[("2027-03-01 10:00", "go")]);
    let effect = turned.effects[0].id.clone();
    assert!(matches!(turned.effects[0].kind, EffectKind::Grant(_)) && turned.effects[0].valid_until.is_none());
    let unknown = Outcome::Unknown { why: "the line went dead".to_owned() };
    let turned = desk.answer("2027-03-01 10:01", InputBody::Result { effect: effect.clone(), outcome: unknown });
    assert_eq!(whats(&turned), ["failed"]);
    assert!(turned.customer.runs[0].waits_for(&effect));
    let turned = desk.turn("2027-03-01 11:00", &[("2027-03-01 11:00", "purchase amount=1")]);
    assert_eq!(whats(&turned), ["event", "exited", "withdrawn"]);
}

#[test]
fn a_persons_word_on_an_unknown_grant_lets_its_run_go_on() {
    let stage = Stage::new(
        &MAIL.replace("  - email: { subject: Hi, text: \"Hi {{ customer.email }}\" }\n    id: mail\n    expires: 12h\n", ""),
    );
    for (word, told) in [
        (Outcome::Accepted { reference: None, data: Fields::new() }, "granted"),
        (Outcome::Refused { why: "not in their list".to_owned() }, "failed"),
    ] {
        let mut desk = Desk::new(&stage, "2027-03-01 09:00");
        let effect = desk.turn("2027-03-01 10:00", &[("2027-03-01 10:00", "go")]).effects[0].id.clone();
        let unknown = Outcome::Unknown { why: "the line went dead".to_owned() };
        let turned = desk.answer("2027-03-01 10:01", InputBody::Result { effect: effect.clone(), outcome: unknown });
        assert_eq!(turned.customer.runs[0].unknown.as_deref(), Some("unknown: the line went dead"));
        assert!(turned.runs.touched.contains(&1), "lists show that it is held");
        let turned = desk.answer("2027-03-02 10:00", InputBody::Result { effect, outcome: word });
        assert_eq!(whats(&turned)[0], told);
        assert!(turned.customer.runs.iter().all(|run| run.unknown.is_none()));
    }
}

#[test]
fn a_grant_that_was_given_up_is_held_and_may_be_tried_anew() {
    let gift = |rule: &str| {
        Stage::new(&format!(
            "--- gift.yaml\nfunnel: Gift\ntrigger: {{ event: go }}\nsteps: [ {{ grant: 5 points, id: gift{rule} }} ]\n"
        ))
    };
    let (stage, dead) = (gift(""), Outcome::Dead { why: "503".to_owned(), attempts: 200 });
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let effect = desk.turn("2027-03-01 10:00", &[("2027-03-01 10:00", "go")]).effects[0].id.clone();
    let turned = desk.answer("2027-03-03 10:00", InputBody::Result { effect: effect.clone(), outcome: dead.clone() });
    assert_eq!(whats(&turned), ["failed"]);
    assert_eq!(turned.customer.runs[0].unknown.as_deref(), Some("given up after 200 attempts: 503"));
    // A person says: again. It goes under another key: the store never took the first one.
    let again = InputBody::Stale { effect, why: "the store is back".to_owned() };
    let turned = desk.answer("2027-03-04 10:00", again);
    assert_eq!((whats(&turned), ids(&turned.effects)), (vec!["redecided", "planned"], vec!["ada/1/gift/1.1"]));
    assert_eq!(turned.customer.runs[0].unknown, None);
    // Where the funnel says that it goes on, nobody is asked.
    let stage = gift(", on_error: skip");
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let effect = desk.turn("2027-03-01 10:00", &[("2027-03-01 10:00", "go")]).effects[0].id.clone();
    let turned = desk.answer("2027-03-03 10:00", InputBody::Result { effect, outcome: dead });
    assert_eq!(whats(&turned), ["failed", "finished"]);
}

#[test]
fn a_refused_grant_stops_its_run_and_a_refused_message_does_not() {
    let stage = Stage::new(MAIL);
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let first = desk.turn("2027-03-01 10:00", &[("2027-03-01 10:00", "go")]).effects[0].id.clone();
    let refused = Outcome::Refused { why: "no such address".to_owned() };
    let turned = desk.answer("2027-03-01 10:01", InputBody::Result { effect: first, outcome: refused.clone() });
    assert_eq!(whats(&turned), ["failed", "planned"]);
    let second = turned.effects[0].id.clone();
    let turned = desk.answer("2027-03-01 10:02", InputBody::Result { effect: second, outcome: refused });
    assert_eq!(whats(&turned), ["failed", "stopped"]);
    assert!(turned.customer.runs.is_empty() && turned.wake.is_none());
    assert!(turned.facts.iter().any(|fact| fact.what == What::Stopped && fact.why.contains("no such address")));
}

#[test]
fn what_a_message_names_has_its_bounds() {
    let stage = Stage::new(&MAIL.replace("{{ customer.email }}", "{{ event.text }}"));
    let mut desk = Desk::new(&stage, "2027-03-01 09:00");
    let long = format!("go text={}", "x".repeat(9_000));
    let turned = desk.turn("2027-03-01 10:00", &[("2027-03-01 10:00", &long)]);
    assert_eq!(whats(&turned), ["event", "entered", "skipped", "planned"]);
}

#[test]
fn time_does_not_go_on_past_an_input_that_waits() {
    let stage = Stage::new(
        "--- wait.yaml\nfunnel: Wait\ntrigger: { event: go }\nexit_on: purchase\nsteps: [ { wait: 1h }, { grant: 5 points } ]\n",
    );
    let input = |n: usize, at: &str, text: &str| Input { accepted_at: time(at), body: act(text, &format!("e{n}"), time(at)) };
    let first = vec![input(1, "2027-03-01 10:00", "go")];
    let now = time("2027-03-01 14:00");
    let part = |more: &str| {
        let inputs = (first.clone(), Some(time(more)));
        turn_until(&stage.definitions, "ada", None, Account::default(), inputs, now)
    };
    // Her purchase of half past ten waits for another turn: the wait of an hour is not over.
    let turned = part("2027-03-01 10:30");
    assert_eq!((whats(&turned), turned.wake), (vec!["event", "entered", "waiting"], Some(time("2027-03-01 11:00"))));
    let rest = vec![input(2, "2027-03-01 10:30", "purchase amount=1")];
    let turned = turn(&stage.definitions, "ada", Some(turned.customer), Account::default(), rest, now);
    assert_eq!(whats(&turned), ["event", "exited"]);
    // What comes in the instant in which something is due comes first.
    assert!(part("2027-03-01 11:00").effects.is_empty());
    assert_eq!(part("2027-03-01 11:00:00.001").effects.len(), 1);
}
