//! Tests of the test runner: on a small workspace, with tests that pass, fail, and cannot be read.

use super::*;
use crate::funnel::{self, Files};
use crate::lang::node;
use std::sync::Arc;

const SETTINGS: &str = "workspace: W\nzone: Europe/Berlin\ncurrency: EUR\nprofile: { cups: number, starts: date }\nquiet_hours: { from: \"21:00\", until: \"08:00\" }\nservices: { desk: { url: \"https://desk.example.com\" } }\n";
const SEGMENTS: &str = "buyer: { when: purchases() >= 1, title: Buyer, family: behaviour }\n";
const SHOP: &str = "\
funnel: Shop
trigger: { event: asked }
re_entry: always
goal: purchase
steps:
  - call: desk
    id: ask
    response: { seats: number }
    on_error: branch
    failed: [ { stop: closed } ]
  - stop: full
    if: steps.ask.body.seats == 0
";
const CATALOG: &str = "memberships:\n  club: { title: Club, term: 1 year, price: 10 }\n";
const FUNNEL: &str = "\
funnel: Hello
trigger: signed_up
goal: { event: purchase, within: 30 days, value: event.amount }
steps:
  - grant: 10 points
    reason: hello
  - email: { subject: Hi, text: Hello }
  - wait: 1 day
  - sms: { text: Hello again }
    id: again
    if: customer.cups > 2
  - stop: \"enough: for today\"
";

fn definitions() -> Definitions {
    let files = [
        ("autofunnel.yaml", SETTINGS),
        ("segments.yaml", SEGMENTS),
        ("catalog.yaml", CATALOG),
        ("hello.yaml", FUNNEL),
        ("shop.yaml", SHOP),
        ("split.yaml", SPLIT),
    ];
    let files: Files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let mut faults = Faults::default();
    let workspace = funnel::compile(&files, &mut faults);
    Definitions::new(Arc::new(workspace.unwrap_or_else(|| panic!("{:#?}", faults.list()))))
}

fn play_with(text: &str) -> (Option<Outcome>, Faults) {
    play_of("hello", text)
}

fn play_of(funnel: &str, text: &str) -> (Option<Outcome>, Faults) {
    let mut faults = Faults::default();
    let node = node::parse("tests/x.yaml", text, &mut faults).unwrap();
    let outcome = run(&definitions(), funnel, &node, &mut faults);
    (outcome, faults)
}

fn outcome(text: &str) -> Outcome {
    let (outcome, faults) = play_with(text);
    outcome.unwrap_or_else(|| panic!("{:#?}", faults.list()))
}

/// A test with that customer, those events and those lines.
fn test(customer: &str, events: &str, expect: &str) -> String {
    let expect: String = expect.lines().map(|line| format!("  - {}\n", line.trim())).collect();
    format!(
        "name: t\ngiven:\n  customer: {{ {customer} }}\n  consent: [email]\n  at: 2027-03-01 08:00\nevents:\n  - {{ at: 2027-03-01 10:00, event: signed_up }}\n{events}until: 2027-04-20\nexpect:\n{expect}"
    )
}

const ALL: &str = "2027-03-01 10:00 entered
2027-03-01 10:00 granted 10 points
2027-03-01 10:00 sent email email_1
2027-03-02 10:00 skipped again: customer.cups
2027-03-02 10:00 stopped enough: for today";

#[test]
fn what_happens_as_expected_passes_and_may_be_said_briefly() {
    let customer = "email: a@example.com, cups: 1";
    let whole = outcome(&test(customer, "", ALL));
    assert!(whole.passed, "{:#?}", whole.diff);
    assert!(whole.report(|_, text| text).is_empty());
    let brief =
        "entered\n2027-03-01 granted\nsent email_1\n2027-03-02T09:00:00Z skipped: customer.cups > 2\n2027-03-02 10:00:00 stopped";
    assert!(outcome(&test(customer, "", brief)).passed);
}

#[test]
fn the_actual_lines_can_be_taken_as_the_expected_ones() {
    let found = outcome(&test("email: a@example.com, cups: 9, phone: '+4912345678'", "", "entered"));
    let quoted: Vec<String> = found.actual.iter().map(|line| format!("\"{line}\"")).collect();
    let again = outcome(&test("email: a@example.com, cups: 9, phone: '+4912345678'", "", &quoted.join("\n")));
    assert!(again.passed && again.actual.len() == 5, "{:#?}", again);
}

#[test]
fn what_she_says_of_being_written_to_holds_for_its_channel() {
    let customer = "email: a@example.com, cups: 9, phone: '+4912345678'";
    let sms = |happened: &str, told: &str| {
        let events = format!("  - {{ at: 2027-03-01 11:00, consent: [sms] }}\n{happened}");
        let expect = ALL.replace("skipped again: customer.cups", told);
        let found = outcome(&test(customer, &events, &expect));
        assert!(found.passed, "{happened}: {:#?}", found.diff);
    };
    sms("", "sent sms again");
    sms("  - { at: 2027-03-01 12:00, stop: sms }\n", "skipped sms again: her address for sms was stopped 2027-03-01 12:00");
    sms("  - { at: 2027-03-01 12:00, stop: email }\n", "sent sms again");
    sms("  - { at: 2027-03-01 12:00, stop: sms }\n  - { at: 2027-03-01 13:00, start: sms }\n", "sent sms again");
    sms(
        "  - { at: 2027-03-01 12:00, unsubscribe: sms }\n",
        "skipped again: her address for sms was unsubscribed 2027-03-01 12:00",
    );
    let (_, faults) = play_with(&test("email: a@example.com", "  - { at: 2027-03-01 12:00, stop: sms }\n", ALL));
    assert!(faults.list().iter().any(|fault| fault.code == "missing-address"), "{:#?}", faults.list());
    let (_, faults) = play_with(&test(customer, "  - { at: 2027-03-01 12:00, stop: smz }\n", ALL));
    assert!(
        faults.list().iter().any(|fault| fault.hint.as_deref().is_some_and(|hint| hint.contains("sms"))),
        "{:#?}",
        faults.list()
    );
}

#[test]
fn every_part_of_a_line_counts() {
    for (right, wrong) in [
        ("2027-03-01 10:00 entered", "2027-03-01 10:01 entered"),
        ("2027-03-01 10:00 entered", "2027-03-02 entered"),
        ("granted 10 points", "granted 20 points"),
        ("sent email email_1", "sent sms email_1"),
        ("sent email email_1", "sent email email_2"),
        ("sent email email_1", "failed email email_1"),
        ("skipped again: customer.cups", "skipped again: customer.name"),
        ("skipped again: customer.cups", "skipped email_1: customer.cups"),
    ] {
        let expect = ALL.replace(right, wrong);
        assert_ne!(expect, ALL, "{right}");
        let found = outcome(&test("email: a@example.com, cups: 1", "", &expect));
        let signs: Vec<char> = found.diff.iter().map(|line| line.sign.mark()).filter(|mark| *mark != ' ').collect();
        assert!(!found.passed && signs == ['-', '+'], "{wrong}: {:#?}", found.diff);
    }
}

#[test]
fn a_difference_shows_both_sides_and_the_values_that_were_looked_at() {
    let expect = ALL.replace("2027-03-02 10:00 skipped again: customer.cups\n", "2027-03-02 10:00 sent sms again\n");
    let report = outcome(&test("email: a@example.com, cups: 1", "", &expect)).report(|_, text| text);
    assert_eq!(
        report,
        "    2027-03-01 10:00 entered
    2027-03-01 10:00 granted 10 points
    2027-03-01 10:00 sent email email_1
  - 2027-03-02 10:00 sent sms again
  + 2027-03-02 10:00 skipped again: if: customer.cups > 2
    2027-03-02 10:00 stopped enough: for today
    first difference: expected `2027-03-02 10:00 sent sms again`, but
      2027-03-02 10:00 Skipped “again”: if: customer.cups > 2
          customer.cups = 1
"
    );
}

#[test]
fn what_did_not_happen_and_what_was_not_expected_differ() {
    let more = outcome(&test("email: a@example.com, cups: 1", "", &format!("{ALL}\nfinished")));
    assert_eq!(more.diff.last().map(|line| line.sign), Some(Sign::Missing));
    assert!(more.about[0].contains("did not happen up to 2027-04-20 00:00"), "{:?}", more.about);
    let fewer = outcome(&test("email: a@example.com, cups: 1", "", "entered"));
    assert!(fewer.about[0].contains("nothing more was expected"), "{:?}", fewer.about);
    let (never, _) = play_with("name: t\ngiven: { at: 2027-03-01 08:00 }\nuntil: +2 days\nexpect: [entered]\n");
    assert!(never.unwrap().about.last().unwrap().contains("it waits for"));
}

#[test]
fn what_is_given_fires_nothing_and_the_state_is_checked() {
    let text = "name: t
given:
  customer: { id: c-1, email: a@example.com, starts: 2027-05-01 }
  consent: { email: false, 'email:news': true }
  membership: { name: club, started: 2027-01-10, cancelled: true }
  history:
    - { event: signed_up, at: 2027-01-10 }
    - { event: purchase, at: 2027-02-10 12:00, amount: 12.50 }
  at: 2027-03-01 08:00
expect: []
state: { segments: [buyer], balance: 0, profile: { email: a@example.com, starts: 2027-05-01 } }
";
    let found = outcome(text);
    assert!(found.passed, "{found:#?}");
    let wrong = outcome(&text.replace("segments: [buyer], balance: 0", "segments: [], balance: 5"));
    assert_eq!(wrong.state, ["segments is [\"buyer\"], expected []", "balance is 0, expected 5"]);
}

#[test]
fn events_act_one_after_the_other_and_the_same_id_counts_once() {
    let events = "  - { at: +1h, consent: { sms: true } }
  - { at: +1h, set: { phone: '+4912345678', cups: 3 } }
  - { at: +0s, fail: again, with: dead }
  - { at: 2027-03-05 12:00, event: purchase, id: p1, amount: 10 }
  - { at: +1 day, event: purchase, id: p1, amount: 10 }
";
    let expect =
        "entered\ngranted\nsent email_1\n2027-03-02 10:00 failed sms again: asked for\nstopped\n2027-03-05 12:00 goal purchase";
    let found = outcome(&test("email: a@example.com", events, expect));
    assert!(found.passed, "{:#?}", found);
}

#[test]
fn an_operator_can_ask_for_a_run() {
    let text = "name: t\ngiven: { customer: { name: A }, at: 2027-03-01 08:00 }\nevents: [{ at: +1h, enrol: true, properties: { a: 1 } }]\nuntil: +1h\nexpect: [2027-03-01 09:00 entered, granted, 'skipped: customer.email']\n";
    assert!(outcome(text).passed);
}

#[test]
fn times_are_hers() {
    let text = test("email: a@example.com, cups: 1, zone: America/New_York", "", ALL);
    let found = outcome(&text.replace("2027-03-01 10:00 entered", "2027-03-01T15:00:00Z entered"));
    assert!(found.passed, "{:#?}", found);
}

#[test]
fn money_and_types_are_taken_as_a_door_takes_them() {
    let goal = |amount: &str| {
        let event = format!("  - {{ at: 2027-03-03 10:00, event: purchase, {amount} }}\n");
        play_with(&test("email: a@example.com, cups: 1", &event, ALL))
    };
    for good in ["amount: 12.50", "amount: '12.50'", "amount: 500, currency: JPY, amount_base: 3.1", "order_id: 1001"] {
        assert!(goal(good).0.is_some_and(|found| found.actual.last().unwrap().ends_with("goal purchase")), "{good}");
    }
    for bad in ["amount: 1.005", "amount: -1", "amount: many", "amount: 1, currency: eur", "items: 3", "amount: [1]"] {
        assert!(goal(bad).1.has_errors(), "{bad}");
    }
}

#[test]
fn mistakes_in_a_test_are_faults_that_say_what_would_be_right() {
    let base = "name: t\ngiven: { at: 2027-03-01 08:00 }\nexpect: []\n";
    for (text, code) in [
        ("name: t\nexpect: []\n", "missing-field"),
        ("name: t\ngiven: { at: 2027-03-01 08:00 }\n", "missing-field"),
        ("given: { at: 2027-03-01 08:00 }\nexpect: []\n", "missing-field"),
        (&format!("{base}evnts: []\n"), "unknown-field"),
        (&format!("{base}until: soon\n"), "bad-time"),
        (&format!("{base}until: 2027-02-01\n"), "bad-time"),
        (&format!("{base}until: +3 dayz\n"), "bad-duration"),
        (&format!("{base}events: {{}}\n"), "wrong-type"),
        (&format!("{base}events: [{{ at: 2027-02-01, event: purchase }}]\n"), "bad-time"),
        (&format!("{base}events: [{{ event: purchase }}]\n"), "missing-field"),
        (&format!("{base}events: [{{ at: +1h }}]\n"), "missing-field"),
        (&format!("{base}events: [{{ at: +1h, event: message_sent }}]\n"), "own-event"),
        (&format!("{base}events: [{{ at: +1h, set: {{ emial: x }} }}]\n"), "unknown-field"),
        (&format!("{base}events: [{{ at: +1h, set: {{ cups: many }} }}]\n"), "wrong-type"),
        (&format!("{base}events: [{{ at: +1h, set: {{ birthday: 1990-02-30 }} }}]\n"), "bad-date"),
        (&format!("{base}events: [{{ at: +1h, set: {{ zone: Mars }} }}]\n"), "unknown-zone"),
        (&format!("{base}events: [{{ at: +1h, consent: {{ emial: true }} }}]\n"), "unknown-channel"),
        (&format!("{base}events: [{{ at: +1h, fail: email_9 }}]\n"), "unknown-step"),
        (&format!("{base}events: [{{ at: +1h, fail: again, with: magic }}]\n"), "unknown-word"),
        (&format!("{base}events: [{{ at: +1h, membership: {{ name: tea-club }} }}]\n"), "unknown-membership"),
        (&format!("{base}state: {{ segments: [byer] }}\n"), "unknown-segment"),
        (&format!("{base}state: {{ tier: gold }}\n"), "unknown-tier"),
        ("name: t\ngiven: { at: 2027-03-01 08:00 }\nexpect: [sendt email x]\n", "bad-expectation"),
        ("name: t\ngiven: { at: 2027-03-01 08:00 }\nexpect: [waiting]\n", "bad-expectation"),
        ("name: t\ngiven: { at: 2027-03-01 08:00 }\nexpect: [2027-03-01 10:00]\n", "bad-expectation"),
        ("name: t\ngiven: { at: 2027-03-01 08:00 }\nexpect: [[entered]]\n", "wrong-type"),
        ("[]", "wrong-type"),
    ] {
        let (outcome, faults) = play_with(text);
        assert!(outcome.is_none(), "{text}");
        let found = faults.list().iter().find(|fault| fault.code == code);
        assert!(found.is_some(), "{text}: {:#?}", faults.list());
        assert!(
            faults.list().iter().all(|fault| fault.hint.is_some() || matches!(fault.code, "wrong-type" | "unknown-tier")),
            "{text}: {:#?}",
            faults.list()
        );
    }
}

#[test]
fn a_misspelled_property_or_event_is_a_warning() {
    let (found, faults) = play_with(&test(
        "email: a@example.com, cups: 1",
        "  - { at: +1 day, event: purchse, amuont: 1 }\n  - { at: +1h, event: purchase, amuont: 1 }\n",
        ALL,
    ));
    assert!(found.is_some());
    let codes: Vec<&str> = faults.list().iter().map(|fault| fault.code).collect();
    assert_eq!(codes, ["unknown-event", "unknown-property"]);
}

#[test]
fn a_test_says_what_a_service_answers() {
    let text = "\
name: t
given: { at: 2027-03-01 08:00, answers: { ask: { body: { seats: 0 } } } }
events:
  - { at: 2027-03-01 10:00, event: asked }
  - { at: 2027-03-01 11:00, answer: ask, status: 404 }
  - { at: 2027-03-01 12:00, event: asked }
until: 2027-03-02
expect: [entered, called desk, 2027-03-01 10:00 stopped full, entered, 'failed ask: 404', 2027-03-01 12:00 stopped closed]
";
    let (outcome, faults) = play_of("shop", text);
    let outcome = outcome.unwrap_or_else(|| panic!("{:#?}", faults.list()));
    assert!(outcome.passed, "{:#?}", outcome.actual);
    let other = play_of("shop", &text.replace("seats: 0", "seats: 1")).0.unwrap();
    assert!(!other.passed, "the answer decides");
    let (_, faults) = play_of("shop", &text.replace("answers: { ask:", "answers: { aks:"));
    assert!(faults.list()[0].hint.as_deref() == Some("did you mean `ask`?"), "{:#?}", faults.list());
}

const SPLIT: &str = "\
funnel: Split
trigger: { event: wrote }
re_entry: always
holdout: 50%
goal: purchase
steps:
  - split:
      letter: { weight: 1, steps: [ { stop: by letter } ] }
      card: { weight: 1, steps: [ { stop: by card } ] }
    id: pick
    winner: { by: goal, at_least: 500 }
";

#[test]
fn a_test_chooses_the_variant_of_a_split() {
    let test = |given: &str, expect: &str| {
        format!(
            "name: t\ngiven: {{ at: 2027-03-01 08:00{given} }}\nevents: [ {{ at: 2027-03-01 10:00, event: wrote }} ]\nexpect: [ entered, {expect} ]\n"
        )
    };
    for name in ["letter", "card"] {
        let (found, faults) =
            play_of("split", &test(&format!(", variants: {{ pick: {name} }}"), &format!("variant {name}, stopped by {name}")));
        let found = found.unwrap_or_else(|| panic!("{:#?}", faults.list()));
        assert!(found.passed, "{name}: {:#?}", found.diff);
    }
    for (given, code, place, hint) in [
        ("pick: leter", "unknown-variant", (2, 50), "did you mean `letter`?"),
        ("pik: letter", "unknown-step", (2, 44), "did you mean `pick`?"),
        ("stop_1: letter", "unknown-step", (2, 44), "there is: pick"),
    ] {
        let (found, faults) = play_of("split", &test(&format!(", variants: {{ {given} }}"), "finished"));
        let fault = faults.list().first().unwrap();
        let at = (fault.place.line, fault.place.column);
        assert!(found.is_none() && (fault.code, at, fault.hint.as_deref()) == (code, place, Some(hint)), "{fault:?}");
    }
}

#[test]
fn a_step_that_is_not_there_is_told_with_those_that_are() {
    let (found, faults) = play_with(&test("email: a@example.com", "  - { at: 2027-03-02 10:00, fail: letter }\n", ALL));
    let hint = faults.list().first().and_then(|fault| fault.hint.clone()).unwrap();
    assert!(found.is_none() && hint == "there is: grant_1, email_1, wait_1, again, stop_1", "{hint}");
}

#[test]
fn a_sample_is_of_somebody_who_is_not_held_out() {
    let lines = sample::made_up(&definitions(), "split", Time::parse("2027-03-01T08:00:00Z").unwrap());
    assert!(lines[0].contains("Entered") && lines.iter().any(|line| line.contains("Drew the variant")), "{lines:#?}");
    // With half of them held out, one of the first two ids is: the sample is not always of the same one.
    let definitions = definitions();
    let held = (0..40).filter(|n| {
        let workspace = &definitions.current;
        crate::funnel::holdout::held_out(&workspace.settings, &workspace.funnels["split"], &format!("c{n}")).is_some()
    });
    assert!((5..35).contains(&held.count()));
}
