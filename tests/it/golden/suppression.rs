//! Nobody who is suppressed is written to.

use super::stage::{Stage, time};
use autofunnel::event::{ConsentChange, InputBody, ProfileChange};

const MAILS: &str = r#"
--- mails.yaml
funnel: Mails
trigger: { event: go }
re_entry: always
steps:
  - sms: { text: "Hi {{ customer.name }}" }
    id: text
  - email: { subject: Hi, text: "Hi {{ customer.name }}" }
    id: mail
  - email: { subject: Order, text: "Your order, {{ customer.name }}" }
    id: order
    transactional: true
"#;

/// What was sent and skipped, by step.
fn told(acts: &[(&str, &str)]) -> String {
    let stage = Stage::new(MAILS);
    let mut her = stage.customer("2027-03-01 09:00");
    for (at, text) in acts {
        her.at(at, text);
    }
    her.story()
}

#[test]
fn a_stop_holds_for_its_channel_and_address_until_start() {
    let story = told(&[
        ("2027-03-01 10:00", "stop sms stopped +491"),
        ("2027-03-01 11:00", "go"),
        ("2027-03-01 12:00", "lift sms +491"),
        ("2027-03-01 13:00", "go"),
    ]);
    let wanted = "\
2027-03-01 10:00 suppressed sms | was stopped, says test
2027-03-01 11:00 entered mails#1 | go
2027-03-01 11:00 skipped mails#1 sms text | her address for sms was stopped 2027-03-01 10:00
2027-03-01 11:00 sent mails#1 email inline:mail
2027-03-01 11:00 sent mails#1 email inline:order
2027-03-01 11:00 finished mails#1
2027-03-01 12:00 unsuppressed sms | no longer stopped, says test
2027-03-01 13:00 entered mails#2 | go
2027-03-01 13:00 sent mails#2 sms inline:text
2027-03-01 13:00 sent mails#2 email inline:mail
2027-03-01 13:00 sent mails#2 email inline:order
2027-03-01 13:00 finished mails#2
";
    assert_eq!(story, wanted);
}

#[test]
fn who_unsubscribed_still_gets_what_she_ordered_and_who_bounced_gets_nothing() {
    let lines = |kind: &str| {
        let stop = format!("stop email {kind} ada@example.com");
        let story = told(&[
            ("2027-03-01 10:00", &stop),
            ("2027-03-01 10:30", "lift email ada@example.com"),
            ("2027-03-01 10:40", &stop),
            ("2027-03-01 11:00", "go"),
        ]);
        let by_email = story
            .lines()
            .filter(|line| line.contains(" mails#1 email "))
            .map(|line| line.split_whitespace().nth(2).unwrap().to_owned());
        by_email.collect::<Vec<_>>()
    };
    assert_eq!(lines("unsubscribed"), ["skipped", "sent"]);
    for kind in ["bounced", "complained"] {
        assert_eq!(lines(kind), ["skipped", "skipped"], "{kind}");
    }
    // A START takes neither a bounce nor a complaint back.
    let story = told(&[
        ("2027-03-01 10:00", "stop email bounced ada@example.com"),
        ("2027-03-01 10:30", "lift email ada@example.com"),
        ("2027-03-01 11:00", "go"),
    ]);
    assert!(!story.contains("unsuppressed") && !story.contains("sent mails#1 email"), "{story}");
}

#[test]
fn a_stop_is_the_addresss_and_not_hers() {
    let story = told(&[
        ("2027-03-01 09:30", "stop sms stopped +492"),
        ("2027-03-01 10:00", "stop sms stopped +491"),
        ("2027-03-01 10:30", "set phone=+493"),
        ("2027-03-01 11:00", "go"),
    ]);
    assert!(!story.contains("09:30"), "of another's number she knows nothing: {story}");
    assert!(story.contains("11:00 sent mails#1 sms"), "{story}");
}

#[test]
fn s59_an_import_takes_no_withdrawal_back() {
    let stage = Stage::new(MAILS);
    let mut her = stage.customer("2027-03-01 09:00");
    her.at("2027-03-01 10:00", "stop sms stopped +491").at("2027-03-01 10:01", "consent sms=no");
    let consent = ConsentChange {
        channel: "sms".to_owned(),
        topic: None,
        granted: true,
        source: "import".to_owned(),
        time: time("2027-03-01 10:30"),
    };
    let change = ProfileChange { consent: vec![consent], import: true, ..ProfileChange::default() };
    her.player.input(time("2027-03-01 10:30"), InputBody::Profile(change));
    her.at("2027-03-01 11:00", "go");
    let story = her.story();
    assert!(story.contains("an import cannot take a withdrawal back"), "{story}");
    assert!(!story.contains("unsuppressed") && !story.contains("sent mails#1 sms"), "{story}");
}

#[test]
fn s57_what_was_planned_before_the_stop_is_decided_anew() {
    let stage = Stage::new(MAILS);
    let mut her = stage.customer("2027-03-01 09:00");
    her.backlog("2027-03-01 10:00", &[("2027-03-01 09:30", "go"), ("2027-03-01 09:40", "stop sms stopped +491")]);
    let story = her.story();
    assert!(story.contains("redecided mails#1") && story.contains("skipped mails#1 sms text"), "{story}");
    assert!(her.player.effects.iter().all(|effect| effect.step != "text"), "{story}");
    assert_eq!(her.document().gate, 1);
    // The same again is known.
    her.at("2027-03-01 11:00", "stop sms stopped +491");
    assert_eq!(her.story().matches(" suppressed sms").count(), 1);
}

#[test]
fn what_a_provider_reports_stands_with_the_run_that_sent_it() {
    // As long as a run is known: while it goes on, and while its goal is watched.
    let stage = Stage::new(&MAILS.replace("steps:", "goal: { event: purchase }\nsteps:"));
    let mut her = stage.customer("2027-03-01 09:00");
    her.at("2027-03-01 10:00", "go").at("2027-03-01 10:05", "message_clicked effect=ada/1/mail/2 channel=email");
    let fact = her.player.facts.iter().find(|fact| fact.about == "message_clicked").expect("it happened");
    let run = fact.run.as_ref().expect("it names its run");
    assert_eq!((run.funnel.as_str(), run.run, run.step.as_str(), run.variant.as_str()), ("mails", 1, "mail", "email"));
    her.at("2027-03-01 10:06", "message_opened effect=bob/1/mail/2");
    let fact = her.player.facts.iter().find(|fact| fact.about == "message_opened").expect("it happened");
    assert!(fact.run.is_none(), "another's run is none of hers");
}
