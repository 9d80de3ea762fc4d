//! Messages of which nobody knows whether they arrived: their runs go on, and a person has the last word.

use super::stage::{Stage, act, time};
use autofunnel::account::Account;
use autofunnel::customer::{Customer, UNSURE_MAX};
use autofunnel::effect::{EffectKind, Outcome};
use autofunnel::event::{Input, InputBody};
use autofunnel::lang::value::Fields;
use autofunnel::turn::{Turned, turn};

const NEWS: &str = r#"
--- autofunnel.yaml
quiet_hours: { from: "21:00", until: "08:00" }
caps: [ { channel: sms, at_most: 1, within: 7 days } ]
--- news.yaml
funnel: News
trigger: { event: news }
re_entry: always
goal: { event: purchase, within: 9 days, every: true }
steps:
  - sms: { text: "News {{ event.id }}" }
    id: letter
    on_error: branch
    failed: [ { wait: 3 days } ]
  - wait: 5 days
"#;

struct Desk<'a> {
    stage: &'a Stage,
    customer: Option<Customer>,
}

impl<'a> Desk<'a> {
    /// One whose first news is of unknown fate since ten past ten.
    fn unsure(stage: &'a Stage) -> Desk<'a> {
        let mut desk = Desk { stage, customer: None };
        desk.acts("2027-03-01 09:00", &["set phone=+491", "consent sms=yes"]);
        let turned = desk.acts("2027-03-01 10:00", &["news"]);
        assert_eq!(turned.effects[0].id, "ada/1/letter/1");
        let turned = desk.takes("2027-03-01 10:10", unknown("ada/1/letter/1"));
        assert_eq!(whats(&turned), ["failed", "branched", "waiting"], "its run has gone on");
        assert_eq!(desk.customer().unsure.len(), 1);
        desk
    }

    fn customer(&self) -> &Customer {
        self.customer.as_ref().unwrap()
    }

    fn acts(&mut self, at: &str, acts: &[&str]) -> Turned {
        let body = |(n, text): (usize, &&str)| act(text, &format!("{at}-{n}"), time(at));
        let inputs = acts.iter().enumerate().map(|one| Input { accepted_at: time(at), body: body(one) }).collect();
        self.turn(at, inputs)
    }

    fn takes(&mut self, at: &str, body: InputBody) -> Turned {
        self.turn(at, vec![Input { accepted_at: time(at), body }])
    }

    fn turn(&mut self, at: &str, inputs: Vec<Input>) -> Turned {
        let turned = turn(&self.stage.definitions, "ada", self.customer.take(), Account::default(), inputs, time(at));
        self.customer = Some(turned.customer.clone());
        turned
    }
}

fn whats(turned: &Turned) -> Vec<&'static str> {
    turned.facts.iter().map(|fact| fact.what.name()).collect()
}

fn unknown(effect: &str) -> InputBody {
    InputBody::Result { effect: effect.to_owned(), outcome: Outcome::Unknown { why: "the line went dead".to_owned() } }
}

fn again(effect: &str) -> InputBody {
    InputBody::Again { effect: effect.to_owned(), why: "ops asked her".to_owned() }
}

fn answer(effect: &str, outcome: Outcome) -> InputBody {
    InputBody::Result { effect: effect.to_owned(), outcome }
}

fn accepted() -> Outcome {
    Outcome::Accepted { reference: None, data: Fields::new() }
}

#[test]
fn sent_again_it_is_a_run_of_that_one_step() {
    let stage = Stage::new(NEWS);
    let mut desk = Desk::unsure(&stage);
    let turned = desk.takes("2027-03-01 12:00", again("ada/1/letter/1"));
    // What did not arrive has no place under the cap of one a week.
    assert_eq!(whats(&turned), ["redecided", "planned"], "{:?}", turned.facts);
    let effect = &turned.effects[0];
    let EffectKind::Message(message) = &effect.kind else { panic!("{effect:?}") };
    assert_eq!((effect.id.as_str(), message.to.as_str()), ("ada/2/letter/1", "+491"));
    assert!(desk.customer().unsure.is_empty());
    let turned = desk.takes("2027-03-01 12:01", answer("ada/2/letter/1", accepted()));
    assert_eq!(whats(&turned), ["sent"], "nothing comes after it, and no second goal is watched");
    assert_eq!(desk.customer().runs.iter().map(|run| run.id).collect::<Vec<_>>(), [1]);
    // A goal counts for her one run; who enters now is not kept out by what was sent again.
    let turned = desk.acts("2027-03-01 13:00", &["purchase amount=1", "news"]);
    assert_eq!(whats(&turned).iter().filter(|what| **what == "goal").count(), 1, "{:?}", whats(&turned));
    // Said twice it does nothing.
    assert!(desk.takes("2027-03-01 14:00", again("ada/1/letter/1")).effects.is_empty());
}

#[test]
fn it_is_decided_as_things_are_when_it_is_sent_again() {
    let stage = Stage::new(NEWS);
    // She does not agree any more.
    let mut desk = Desk::unsure(&stage);
    desk.acts("2027-03-01 11:00", &["consent sms=no"]);
    let turned = desk.takes("2027-03-01 12:00", again("ada/1/letter/1"));
    assert_eq!((whats(&turned), turned.effects.len()), (vec!["redecided", "skipped"], 0));
    assert!(turned.facts[1].why.starts_with("consent for sms was withdrawn"), "{}", turned.facts[1].why);
    // It is too late for it.
    let mut desk = Desk::unsure(&stage);
    let turned = desk.takes("2027-03-02 10:01", again("ada/1/letter/1"));
    assert!(turned.effects.is_empty() && turned.facts[1].why.starts_with("it expired"), "{:?}", turned.facts);
    // At night it waits for the morning, and is still within its day.
    let mut desk = Desk::unsure(&stage);
    let turned = desk.takes("2027-03-01 22:00", again("ada/1/letter/1"));
    assert_eq!(whats(&turned), ["redecided", "held"]);
    let turned = desk.acts("2027-03-02 08:00", &[]);
    assert_eq!((whats(&turned), turned.effects[0].id.as_str()), (vec!["planned"], "ada/2/letter/1"));
}

#[test]
fn a_person_says_what_became_of_it() {
    let stage = Stage::new(NEWS);
    let mut desk = Desk::unsure(&stage);
    let turned = desk.takes("2027-03-01 12:00", answer("ada/1/letter/1", accepted()));
    let fact = &turned.facts[0];
    // Other runs may wait for the event that says so.
    assert_eq!((whats(&turned), fact.why.as_str()), (vec!["sent", "event"], "it did arrive, says a person"));
    let run = fact.run.as_ref().unwrap();
    assert_eq!((run.funnel.as_str(), run.run, run.step.as_str(), run.variant.as_str()), ("news", 1, "letter", "sms"));
    // It keeps its place under the cap.
    assert!(whats(&desk.acts("2027-03-01 13:00", &["consent sms=yes", "news"])).contains(&"not_entered"));
    assert!(desk.customer().unsure.is_empty() && desk.customer().sends.len() == 1);
    let mut desk = Desk::unsure(&stage);
    let refused = Outcome::Refused { why: "she has no such message".to_owned() };
    let turned = desk.takes("2027-03-01 12:00", answer("ada/1/letter/1", refused));
    assert_eq!(whats(&turned), ["skipped"]);
    assert!(desk.customer().unsure.is_empty() && desk.customer().sends.is_empty(), "its place is free again");
}

#[test]
fn it_may_be_of_unknown_fate_again_and_many_are_bounded() {
    let stage =
        Stage::new(&NEWS.replace("at_most: 1", "at_most: 99").replace("re_entry: always", "re_entry: always\nkey: event.id"));
    let mut desk = Desk::unsure(&stage);
    desk.takes("2027-03-01 12:00", again("ada/1/letter/1"));
    let turned = desk.takes("2027-03-01 12:05", unknown("ada/2/letter/1"));
    assert_eq!(whats(&turned), ["failed"], "the branch for failures is its run's");
    assert_eq!(desk.customer().unsure[0].effect, "ada/2/letter/1");
    for n in 0..UNSURE_MAX {
        let turned = desk.acts(&format!("2027-03-01 13:0{n}"), &["news"]);
        let id = turned.effects[0].id.clone();
        let turned = desk.takes(&format!("2027-03-01 14:0{n}"), unknown(&id));
        assert_eq!(whats(&turned).contains(&"alert"), n + 1 == UNSURE_MAX, "{n}: {:?}", whats(&turned));
    }
    assert_eq!(desk.customer().unsure.len(), UNSURE_MAX);
}
