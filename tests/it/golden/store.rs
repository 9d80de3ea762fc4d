//! The remote loyalty store in the turn: what is asked and when, and grants that a blocked programme parks.

use super::stage::{Stage, act, time};
use autofunnel::account::Account;
use autofunnel::customer::Customer;
use autofunnel::customer::store::PARKED_MAX;
use autofunnel::effect::{Effect, EffectKind, Grant, Outcome, Word};
use autofunnel::event::{Event, Input, InputBody, Told};
use autofunnel::fact::What;
use autofunnel::lang::time::Span;
use autofunnel::lang::value::{Fields, Value};
use autofunnel::turn::{Turned, turn};

/// A customer whose effects wait until the test answers.
struct Desk<'a> {
    stage: &'a Stage,
    customer: Option<Customer>,
    wake: Option<autofunnel::lang::time::Time>,
    count: usize,
}

impl<'a> Desk<'a> {
    fn new(stage: &'a Stage) -> Desk<'a> {
        let mut desk = Desk { stage, customer: None, wake: None, count: 0 };
        desk.act("2027-03-01 09:00", "set email=ada@example.com");
        desk.act("2027-03-01 09:00", "consent email=yes");
        desk
    }

    fn act(&mut self, at: &str, text: &str) -> Turned {
        self.count += 1;
        let body = act(text, &format!("e{}", self.count), time(at));
        self.input(at, body)
    }

    fn event(&mut self, at: &str, happened: &str, name: &str, properties: &[(&str, Value)]) -> Turned {
        self.count += 1;
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let (id, name) = (format!("e{}", self.count), name.to_owned());
        self.input(at, InputBody::Event(Event { id, name, time: time(happened), properties, minor: None, depth: 0 }))
    }

    fn input(&mut self, at: &str, body: InputBody) -> Turned {
        self.turn(at, vec![Input { accepted_at: time(at), body }])
    }

    fn turn(&mut self, now: &str, inputs: Vec<Input>) -> Turned {
        let turned = turn(&self.stage.definitions, "ada", self.customer.take(), Account::default(), inputs, time(now));
        self.customer = Some(turned.customer.clone());
        self.wake = turned.wake;
        turned
    }

    fn accepted(&mut self, at: &str, effect: &str, data: &[(&str, Value)]) -> Turned {
        let data: Fields = data.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.input(at, InputBody::Result { effect: effect.to_owned(), outcome: Outcome::Accepted { reference: None, data } })
    }

    fn parked(&mut self, at: &str, effect: &Effect) -> Turned {
        let (grant, why) = (Box::new(effect.clone()), "blocked".to_owned());
        let outcome = Outcome::Parked { why, grant, alert: false };
        self.input(at, InputBody::Result { effect: effect.id.clone(), outcome })
    }

    fn her(&self) -> &Customer {
        self.customer.as_ref().unwrap()
    }
}

fn ids(turned: &Turned) -> Vec<&str> {
    turned.effects.iter().map(|effect| effect.id.as_str()).collect()
}

fn told(turned: &Turned) -> Vec<String> {
    turned.facts.iter().map(|fact| format!("{} {}", fact.what.name(), fact.why)).collect()
}

fn has(turned: &Turned, what: What, why: &str) -> bool {
    turned.facts.iter().any(|fact| fact.what == what && fact.why.contains(why))
}

const SHOP: &str = r#"
--- autofunnel.yaml
profile: { points: number }
loyalty_store:
  url: https://loyalty.example
  max_age: 10 minutes
  ask_again: 1 hour
  grant: { path: /g, json: { tier: "{{ customer.tier | default('') }}" } }
  lookup: { path: /m, result: { balance: /b, tier: /t } }
--- segments.yaml
rich: { when: customer.balance >= 100 }
--- ask.yaml
funnel: Ask
trigger: { event: go }
re_entry: always
steps:
  - set: { points: { cel: "customer.balance + 1" } }
    id: note
    if: in_segment("rich")
  - email: { subject: "{{ customer.balance }}", text: Hi }
    id: mail
    max_age: 1 day
    expires: 2h
--- gift.yaml
funnel: Gift
trigger: { event: gift }
re_entry: always
exit_on: leave
steps:
  - grant: 5 points
    id: gift
  - wait: 1 day
  - emit: told
    if: steps.gift.result == "active"
--- strict.yaml
funnel: Strict
trigger: { event: strict }
re_entry: always
steps:
  - stop: rich
    if: customer.balance > 10
    id: check
    on_error: stop
"#;

#[test]
fn a_step_asks_first_and_decides_on_the_answer() {
    let stage = Stage::new(SHOP);
    let mut desk = Desk::new(&stage);
    // A segment that reads the store counts as reading it.
    let turned = desk.act("2027-03-01 10:00", "go");
    assert_eq!(ids(&turned), ["ada/1/note?/1"]);
    assert!(matches!(turned.effects[0].kind, EffectKind::Lookup(_)));
    assert!(has(&turned, What::Planned, "asks the loyalty store first"), "{:?}", told(&turned));
    let turned =
        desk.accepted("2027-03-01 10:01", "ada/1/note?/1", &[("balance", Value::Int(120)), ("tier", Value::from("gold"))]);
    assert_eq!(desk.her().profile["points"], Value::Int(121));
    assert_eq!(desk.her().loyalty.tier, "gold");
    assert!(has(&turned, What::TierChanged, "") && has(&turned, What::SegmentEntered, ""), "{:?}", told(&turned));
    // The message may show data of a day, so it asks nothing more.
    assert_eq!(ids(&turned), ["ada/1/mail/2"]);
    desk.accepted("2027-03-01 10:01", "ada/1/mail/2", &[]);
    // Half an hour later the first step of another run asks again, whose answer a doubled one does not change.
    let turned = desk.act("2027-03-01 10:31", "go");
    assert_eq!(ids(&turned), ["ada/2/note?/1"]);
    desk.accepted("2027-03-01 10:32", "ada/2/note?/1", &[("balance", Value::Int(7))]);
    let turned = desk.accepted("2027-03-01 10:33", "ada/2/note?/1", &[("balance", Value::Int(9_999))]);
    assert!(turned.facts.is_empty() && turned.effects.is_empty(), "{:?}", told(&turned));
    assert_eq!((desk.her().loyalty.balance, desk.her().loyalty.tier.as_str()), (7, ""));
}

#[test]
fn an_answer_that_does_not_come_is_said_and_the_step_follows_its_rule() {
    let stage = Stage::new(SHOP);
    let mut desk = Desk::new(&stage);
    desk.act("2027-03-01 10:00", "go");
    let refused = Outcome::Refused { why: "the receiver answered 500".to_owned() };
    let turned = desk.input("2027-03-01 10:05", InputBody::Result { effect: "ada/1/note?/1".to_owned(), outcome: refused });
    assert!(has(&turned, What::Failed, "could not be asked: the receiver answered 500"), "{:?}", told(&turned));
    // The message needs the balance too, and asks for itself; its own deadline is the end of it.
    assert_eq!(ids(&turned), ["ada/1/mail?/2"]);
    assert_eq!(turned.effects[0].valid_until, Some(time("2027-03-01 12:05")));
    let stale = |effect: &str| InputBody::Stale { effect: effect.to_owned(), why: "its time had passed".to_owned() };
    let turned = desk.input("2027-03-01 12:06", stale("ada/1/mail?/2"));
    assert!(has(&turned, What::Skipped, "it expired") && has(&turned, What::Finished, ""), "{:?}", told(&turned));
    // `on_error: stop`, after a day.
    desk.act("2027-03-01 13:00", "strict");
    let turned = desk.input("2027-03-02 13:01", stale("ada/2/check?/1"));
    assert!(has(&turned, What::Stopped, "could not be asked until 2027-03-02 13:00"), "{:?}", told(&turned));
    assert!(turned.effects.is_empty() && desk.her().runs.iter().all(|run| !run.is_live()));
    // Only raised permissions: it is asked again at once.
    desk.act("2027-03-03 10:00", "strict");
    let turned = desk.input("2027-03-03 10:01", stale("ada/3/check?/1"));
    assert_eq!(ids(&turned), ["ada/3/check?/1.1"]);
}

#[test]
fn what_the_store_reports_counts_unless_it_is_older_than_what_is_known() {
    let stage = Stage::new(SHOP);
    let mut desk = Desk::new(&stage);
    let report = |balance: i64| [("balance", Value::Int(balance)), ("tier", Value::from("silver"))];
    desk.event("2027-03-01 10:00", "2027-03-01 10:00", "store_updated", &report(200));
    assert!(desk.her().segments.contains_key("rich"));
    desk.event("2027-03-01 10:05", "2027-03-01 09:50", "store_updated", &report(3));
    assert_eq!(desk.her().loyalty.balance, 200, "it was overtaken");
    // It said everything, so nothing is asked for ten minutes.
    let turned = desk.act("2027-03-01 10:09", "go");
    assert_eq!(ids(&turned), ["ada/1/mail/2"], "{:?}", told(&turned));
    // Half of it is taken in, and is no answer to everything.
    desk.event("2027-03-01 10:12", "2027-03-01 10:12", "store_updated", &[("balance", Value::Int(50))]);
    assert!(!desk.her().segments.contains_key("rich") && desk.her().loyalty.tier == "silver");
    assert_eq!(ids(&desk.act("2027-03-01 10:13", "strict")), ["ada/2/check?/1"]);
}

#[test]
fn a_parked_grant_goes_again_as_it_was_and_leaves_once() {
    let stage = Stage::new(SHOP);
    let mut desk = Desk::new(&stage);
    desk.event(
        "2027-03-01 10:00",
        "2027-03-01 10:00",
        "store_updated",
        &[("balance", Value::Int(0)), ("tier", Value::from("a"))],
    );
    let grant = desk.act("2027-03-01 10:00", "gift").effects.remove(0);
    let turned = desk.parked("2027-03-01 10:01", &grant);
    assert!(has(&turned, What::Parked, "blocked") && has(&turned, What::Waiting, ""), "the run goes on: {:?}", told(&turned));
    assert_eq!(desk.wake, Some(time("2027-03-01 11:01")));
    // Consent is another by then: the grant goes under the new gate, otherwise byte for byte.
    desk.act("2027-03-01 10:30", "consent email=no");
    let again = desk.turn("2027-03-01 11:01", vec![]).effects.remove(0);
    assert_eq!(Effect { gate: grant.gate, ..again.clone() }, grant);
    assert_eq!(again.gate, desk.her().gate);
    assert!(desk.turn("2027-03-01 15:00", vec![]).effects.is_empty(), "it is on its way, so it is not sent twice");
    // Parked once more is no news; a gate that was raised meanwhile sends it at once.
    assert!(desk.parked("2027-03-01 15:01", &again).facts.is_empty());
    let stale = InputBody::Stale { effect: again.id.clone(), why: "gate".to_owned() };
    assert_eq!(ids(&desk.input("2027-03-01 15:02", stale)), [again.id.as_str()]);
    let turned = desk.accepted("2027-03-01 15:03", &again.id, &[("points", Value::Int(5)), ("state", Value::from("active"))]);
    assert!(has(&turned, What::Granted, "released after it was parked since 2027-03-01 10:01"), "{:?}", told(&turned));
    assert!(desk.her().parked.is_empty());
    // The same answer again is none.
    let turned = desk.accepted("2027-03-01 15:04", &again.id, &[("points", Value::Int(5))]);
    assert!(!has(&turned, What::Granted, ""), "{:?}", told(&turned));
    // The run reads what came of it in the end.
    let turned = desk.turn("2027-03-02 10:02", vec![]);
    assert!(has(&turned, What::Emitted, ""), "{:?}", told(&turned));
}

/// A person's word that something is to be tried now.
fn again(effect: &str) -> InputBody {
    InputBody::Again { effect: effect.to_owned(), why: "ops asked for it".to_owned() }
}

fn unknown(effect: &str) -> InputBody {
    InputBody::Result { effect: effect.to_owned(), outcome: Outcome::Unknown { why: "no answer".to_owned() } }
}

#[test]
fn a_person_asks_for_a_parked_grant_and_what_is_on_its_way_is_left_alone() {
    let stage = Stage::new(SHOP);
    let mut desk = Desk::new(&stage);
    let known = [("balance", Value::Int(0)), ("tier", Value::from("a"))];
    desk.event("2027-03-01 10:00", "2027-03-01 10:00", "store_updated", &known);
    let grant = desk.act("2027-03-01 10:00", "gift").effects.remove(0);
    desk.parked("2027-03-01 10:01", &grant);
    assert_eq!(ids(&desk.input("2027-03-01 10:05", again(&grant.id))), [grant.id.as_str()]);
    assert!(desk.input("2027-03-01 10:06", again(&grant.id)).effects.is_empty(), "it is on its way");
    // Nobody knows: a person has found out that it was not booked. It goes under its key, and can be in doubt again.
    desk.input("2027-03-01 10:07", unknown(&grant.id));
    for _ in 0..2 {
        let turned = desk.input("2027-03-01 11:00", again(&grant.id));
        assert_eq!(ids(&turned), [grant.id.as_str()]);
        assert!(has(&turned, What::Redecided, "ops asked for it"), "{:?}", told(&turned));
        assert!(desk.input("2027-03-01 11:01", again(&grant.id)).effects.is_empty(), "it is on its way");
        desk.input("2027-03-01 11:02", unknown(&grant.id));
        assert!(desk.turn("2027-03-09 10:00", vec![]).effects.is_empty(), "it waits for a person");
    }
    desk.accepted("2027-03-09 11:00", &grant.id, &[("points", Value::Int(5))]);
    assert!(desk.her().parked.is_empty());
    assert!(desk.input("2027-03-09 12:00", again(&grant.id)).effects.is_empty(), "it was answered");
    // Neither is a run decided anew that waits for an effect which is on its way.
    desk.event("2027-03-09 13:00", "2027-03-09 13:00", "store_updated", &known);
    let next = desk.act("2027-03-09 13:00", "gift").effects.remove(0);
    assert!(desk.input("2027-03-09 13:01", again(&next.id)).effects.is_empty());
    desk.input("2027-03-09 13:02", unknown(&next.id));
    assert_eq!(ids(&desk.input("2027-03-09 13:03", again(&next.id))), [format!("{}.1", next.id).as_str()]);
}

#[test]
fn points_of_anothers_run_whose_fate_is_unknown_wait_for_a_person() {
    let stage = Stage::new(SHOP);
    let mut desk = Desk::new(&stage);
    let (reason, variables) = ("referred".to_owned(), Fields::new());
    let grant =
        Grant { points: 7, reason, active_after: Span::default(), expires_after: None, provider: None, variables, held: false };
    let told_her = |n: u8| {
        let (effect, from) = (format!("ben/{n}/gift/1"), "ben".to_owned());
        let word = Word::Grant { grant: grant.clone(), depth: 1 };
        InputBody::Told(Told { effect, from, funnel: "f".to_owned(), version: "v".to_owned(), word })
    };
    let booking = desk.input("2027-03-01 10:00", told_her(1)).effects.remove(0);
    assert_eq!(booking.provider(), Some("loyalty_store"));
    let turned = desk.input("2027-03-01 10:01", unknown(&booking.id));
    assert!(has(&turned, What::Failed, "unknown: no answer") && turned.effects.is_empty(), "{:?}", told(&turned));
    // It was not booked, and is to be: under the key that her ledger would know.
    let turned = desk.input("2027-03-01 10:02", again(&booking.id));
    assert_eq!(turned.effects, [Effect { gate: desk.her().gate, ..booking.clone() }]);
    assert!(has(&turned, What::Redecided, "ops asked for it"), "{:?}", told(&turned));
    assert!(desk.input("2027-03-01 10:03", again(&booking.id)).effects.is_empty(), "it is on its way");
    desk.input("2027-03-01 10:04", unknown(&booking.id));
    // She has it: that is hers to see, and the giver is answered.
    let turned = desk.accepted("2027-03-01 10:05", &booking.id, &[("points", Value::Int(7))]);
    assert!(has(&turned, What::Granted, "from a run of “ben”"), "{:?}", told(&turned));
    assert!(matches!(&turned.effects[..], [answer] if answer.id.starts_with("ada/0/answer:")), "{:?}", ids(&turned));
    assert!(desk.her().asked.is_empty());
}

#[test]
fn a_parked_grant_outlives_its_run_and_a_refusal_ends_it() {
    let stage = Stage::new(SHOP);
    let mut desk = Desk::new(&stage);
    desk.event(
        "2027-03-01 10:00",
        "2027-03-01 10:00",
        "store_updated",
        &[("balance", Value::Int(0)), ("tier", Value::from("a"))],
    );
    let first = desk.act("2027-03-01 10:00", "gift").effects.remove(0);
    // The run is left while the call is under way; the store says that it is blocked.
    desk.act("2027-03-01 10:00", "leave");
    let turned = desk.parked("2027-03-01 10:01", &first);
    assert!(has(&turned, What::Parked, "blocked"), "{:?}", told(&turned));
    let turned = desk.event("2027-03-01 10:05", "2027-03-01 10:05", "store_unblocked", &[]);
    assert_eq!(ids(&turned), [first.id.as_str()]);
    // A dead end is none: it stays. A person's word, or the store's, ends it.
    let dead = Outcome::Dead { why: "down".to_owned(), attempts: 200 };
    desk.input("2027-03-02 10:00", InputBody::Result { effect: first.id.clone(), outcome: dead });
    assert_eq!(desk.her().parked[0].next, Some(time("2027-03-02 11:00")));
    let unknown = Outcome::Unknown { why: "no answer".to_owned() };
    let turned = desk.input("2027-03-02 12:00", InputBody::Result { effect: first.id.clone(), outcome: unknown });
    assert!(has(&turned, What::Failed, "unknown: no answer"), "{:?}", told(&turned));
    let refused = Outcome::Refused { why: "not a member".to_owned() };
    let turned = desk.input("2027-03-02 13:00", InputBody::Result { effect: first.id.clone(), outcome: refused });
    assert!(has(&turned, What::Failed, "refused: not a member; it was parked since 2027-03-01 10:01"), "{:?}", told(&turned));
    assert!(desk.her().parked.is_empty());
}

#[test]
fn a_customer_parks_so_many_and_the_next_run_waits_with_its_grant() {
    let stage = Stage::new(SHOP);
    let mut desk = Desk::new(&stage);
    desk.event(
        "2027-03-01 10:00",
        "2027-03-01 10:00",
        "store_updated",
        &[("balance", Value::Int(0)), ("tier", Value::from("a"))],
    );
    for n in 0..PARKED_MAX {
        let grant = desk.act("2027-03-01 10:00", "gift").effects.remove(0);
        desk.parked("2027-03-01 10:00", &grant);
        desk.act("2027-03-01 10:00", "leave");
        assert_eq!(desk.her().parked.len(), n + 1);
    }
    let grant = desk.act("2027-03-01 10:01", "gift").effects.remove(0);
    let turned = desk.parked("2027-03-01 10:01", &grant);
    assert!(has(&turned, What::Held, "the run waits for this one"), "{:?}", told(&turned));
    // It goes again like the others, as it was, and the run with its answer.
    let turned = desk.turn("2027-03-01 11:01", vec![]);
    assert_eq!(turned.effects.len(), PARKED_MAX + 1);
    assert!(turned.effects.contains(&grant));
    assert!(desk.parked("2027-03-01 11:02", &grant).facts.is_empty(), "no news");
    let turned = desk.accepted("2027-03-01 11:03", &grant.id, &[("points", Value::Int(5))]);
    assert!(has(&turned, What::Granted, "gift") && has(&turned, What::Waiting, ""), "{:?}", told(&turned));
    assert_eq!(desk.her().parked.len(), PARKED_MAX);
    // Left, such a run leaves its grant behind.
    desk.act("2027-03-01 11:04", "leave");
    desk.event(
        "2027-03-01 11:04",
        "2027-03-01 11:04",
        "store_updated",
        &[("balance", Value::Int(0)), ("tier", Value::from("a"))],
    );
    let grant = desk.act("2027-03-01 11:04", "gift").effects.remove(0);
    desk.parked("2027-03-01 11:05", &grant);
    let turned = desk.act("2027-03-01 11:06", "leave");
    assert!(has(&turned, What::Exited, "") && turned.withdrawn.is_empty(), "{:?}", told(&turned));
    assert_eq!(desk.her().parked.len(), PARKED_MAX + 1);
}
