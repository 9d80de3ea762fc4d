//! Who is held out: shares, stickiness, and what a ghost run does.

use super::stage::{Stage, act, time};
use autofunnel::customer::RunState;
use autofunnel::event::Input;
use autofunnel::fact::{Fact, What};
use autofunnel::funnel::holdout;
use autofunnel::play::Player;
use insta::assert_snapshot;
use std::collections::BTreeMap;

const CUSTOMERS: usize = 10_000;

fn welcome(holdout: &str) -> String {
    format!(
        "--- welcome.yaml\nfunnel: Welcome\ntrigger: signed_up\nre_entry: always\n{holdout}\nonly_if: customer.email != \"\"\n\
         steps:\n  - email: {{ subject: Hi, text: Hi }}\n  - wait: 1 day\n  - emit: greeted\n"
    )
}

fn other(name: &str, trigger: &str, more: &str) -> String {
    format!("--- {name}.yaml\nfunnel: Other\ntrigger: {trigger}\n{more}\nsteps: [ {{ stop: done }} ]\n")
}

/// The customers who are held out, by funnel and number, when all of them sign up.
fn held_out(stage: &Stage) -> BTreeMap<String, Vec<usize>> {
    let mut all: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for i in 0..CUSTOMERS {
        let mut player = Player::new(&stage.definitions, &format!("c{i}"), time("2027-03-01"));
        let at = time("2027-03-01 10:00");
        let both = ["set email=a@example.com", "signed_up"].map(|text| Input { accepted_at: at, body: act(text, "e1", at) });
        player.backlog(both.into(), at);
        for funnel in stage.definitions.current.funnels.keys() {
            let of = |what: What| player.facts_of(funnel).filter(|fact: &&Fact| fact.what == what).count();
            assert_eq!(of(What::Entered) + of(What::HeldOut), 1, "everybody takes the entry");
            if of(What::HeldOut) == 1 {
                all.entry(funnel.clone()).or_default().push(i);
            }
        }
    }
    all
}

#[test]
fn the_shares_are_those_that_were_asked_for_and_stick() {
    let stage = Stage::new(&format!(
        "--- autofunnel.yaml\nholdout: 5%\n{}{}{}{}",
        welcome(""),
        other("own", "signed_up", "holdout: 10%"),
        other("exempt", "signed_up", "holdout: 0%"),
        other("receipt", "signed_up", "transactional: true"),
    ));
    let all = held_out(&stage);
    // Four standard deviations of a binomial with n = 10,000 are 87 at p = 0.05 and 141 at p = 0.145.
    let everywhere = &all["welcome"];
    assert!((413..=587).contains(&everywhere.len()), "{} of {CUSTOMERS}", everywhere.len());
    // Either: 0.05 + 0.1 − 0.05 · 0.1.
    let own = &all["own"];
    assert!((1_309..=1_591).contains(&own.len()), "{} of {CUSTOMERS}", own.len());
    assert!(everywhere.iter().all(|one| own.contains(one)), "the workspace holds the same customers out of every funnel");
    assert_eq!(all.len(), 2, "neither what was asked for nor what is exempt is held out");

    let larger = Stage::new(&other("own", "signed_up", "holdout: 20%\ndescription: another version"));
    let larger = &larger.definitions.current;
    let still = own.iter().filter(|one| !everywhere.contains(one));
    let held = |i: &usize| holdout::held_out(&larger.settings, &larger.funnels["own"], &format!("c{i}")).is_some();
    assert!(still.clone().count() > 800 && still.clone().all(held), "a larger share keeps who was in the smaller one");
}

#[test]
fn a_ghost_takes_the_entry_does_nothing_and_is_measured() {
    let rules = "holdout: 100%\nexit_on: left\ngoal: { event: purchase, within: 10 days, value: event.amount }";
    let stage = Stage::new(&format!("{}{}{}", welcome(rules), other("next", "greeted", ""), other("sent", "message_sent", "")));
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "set email=")
        .at("2027-03-01 11:00", "signed_up")
        .at("2027-03-01 12:00", "set email=a@example.com");
    her.at("2027-03-02 10:00", "signed_up").at("2027-03-03 10:00", "signed_up").at("2027-03-05 10:00", "purchase amount=20");
    her.at("2027-03-06 10:00", "left").at("2027-03-20 10:00", "signed_up").until("2027-04-20");
    assert_snapshot!(her.story(), @r#"
    2027-03-01 11:00 not_entered welcome#0 | only_if: customer.email != ""
    2027-03-02 10:00 held_out welcome#1 | holdout 100%: bucket 4216 of 10000
    2027-03-03 10:00 not_entered welcome#0 | re_entry: a run is under way
    2027-03-05 10:00 goal welcome#1 purchase 20.00 EUR
    2027-03-06 10:00 exited welcome#1 left | exit_on
    2027-03-20 10:00 held_out welcome#2 | holdout 100%: bucket 4216 of 10000
    2027-03-30 10:00 finished welcome#2 | held out
    "#);
    assert!(her.player.effects.is_empty() && her.document().sends.is_empty());
    assert!(!her.document().runs.iter().any(|run| run.is_live()));
}

#[test]
fn a_ghost_is_at_no_step_and_leaves_when_its_goal_is_no_longer_watched() {
    let stage = Stage::new(&welcome("holdout: 100%"));
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "signed_up");
    let run = her.document().runs[0].clone();
    assert_eq!(run.state, RunState::Waiting { until: time("2027-03-31 10:00") });
    her.until("2027-03-31 10:00");
    assert!(her.document().runs.is_empty());
    assert!(
        her.player.facts.iter().filter_map(|fact| fact.run.as_ref()).all(|run| run.step.is_empty() && run.variant == "holdout")
    );
}
