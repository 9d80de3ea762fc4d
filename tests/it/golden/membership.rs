//! Memberships that the engine keeps itself: begun and made longer by steps.

use super::stage::Stage;
use autofunnel::fact::What;
use insta::assert_snapshot;

#[test]
fn steps_begin_a_membership_and_make_it_longer_and_waits_follow() {
    let stage = Stage::new(
        r#"
--- autofunnel.yaml
membership_owner: account
--- catalog.yaml
memberships:
  club: { title: Club, term: 1 year, price: 10 }
--- gift.yaml
funnel: Gift
trigger: { purchase: first }
steps: [ { membership: { start: club, for: 2 months } } ]
--- early.yaml
funnel: Early
trigger: review
re_entry: always
steps: [ { membership: { extend: 1 month }, id: longer }, { stop: "nothing to make longer", if: steps.longer.result == "skipped" } ]
--- renewal.yaml
funnel: Renewal
trigger: { renewal_due: 30 days before }
steps: [ { wait_until: 7 days before renewal }, { stop: remind } ]
--- joined.yaml
funnel: Joined
trigger: membership_started
steps: [ { stop: welcome } ]
--- over.yaml
funnel: Over
trigger: membership_expired
re_entry: always
steps: [ { stop: farewell } ]
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 09:00", "review rating=5").at("2027-03-01 10:00", "purchase amount=5");
    // What the shop says of memberships is history only here.
    her.at("2027-03-02 10:00", "membership_cancelled").at("2027-04-10 10:00", "review rating=5").until("2027-06-10");
    her.at("2027-06-11 10:00", "review rating=5");
    assert_snapshot!(her.story(), @"
    2027-03-01 09:00 entered early#1 | review
    2027-03-01 09:00 skipped early#1 longer | customer.membership is not known
    2027-03-01 09:00 stopped early#1 nothing to make longer
    2027-03-01 10:00 entered gift#2 | the first purchase
    2027-03-01 10:00 emitted gift#2 membership_started
    2027-03-01 10:00 finished gift#2
    2027-03-01 10:00 entered joined#3 | membership_started
    2027-03-01 10:00 stopped joined#3 welcome
    2027-04-01 09:00 entered renewal#4 | 30 days before renewal, at 09:00
    2027-04-10 10:00 entered early#5 | review
    2027-04-10 10:00 emitted early#5 membership_changed
    2027-04-10 10:00 skipped early#5 stop_1 | if: steps.longer.result is not known
    2027-04-10 10:00 finished early#5
    2027-05-02 09:00 not_entered renewal#0 | re_entry: a run of the key renewal:club:2027-03-01 is under way
    2027-05-25 09:00 stopped renewal#4 remind
    2027-06-01 10:00 membership_expired club
    2027-06-01 10:00 entered over#6 | membership_expired
    2027-06-01 10:00 stopped over#6 farewell
    2027-06-11 10:00 entered early#7 | review
    2027-06-11 10:00 emitted early#7 membership_changed
    2027-06-11 10:00 skipped early#7 stop_1 | if: steps.longer.result is not known
    2027-06-11 10:00 finished early#7
    ");
    let ends = her.document().membership.as_ref().and_then(|membership| membership.ends);
    assert_eq!(ends, Some(super::stage::time("2027-07-11 10:00")), "of one that is over it counts from now");
}

#[test]
fn what_an_event_says_that_counts_for_nothing_is_told() {
    let stage = Stage::new("--- catalog.yaml\nmemberships:\n  club: { title: Club, term: 1 year, price: 10 }\n");
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 09:00", "purchase amount=5 currency=USD").at("2027-03-01 10:00", "purchase amount=5 currency=EUR");
    her.at("2027-03-01 11:00", "membership_started membership=clubb")
        .at("2027-03-01 12:00", "membership_started membership=club");
    let facts = her.player.facts.iter().filter(|fact| fact.what == What::Event);
    let told: Vec<(&str, Option<i64>)> = facts.map(|fact| (fact.why.as_str(), fact.amount)).collect();
    assert_eq!(
        told,
        [
            ("its amount in USD is no money here; send what it is in EUR as `amount_base`", None),
            ("", Some(500)),
            ("the catalog has no membership `clubb`", None),
            ("", Some(1_000)),
        ]
    );
}

#[test]
fn a_membership_is_worth_what_is_said_else_what_the_catalog_says() {
    let stage = Stage::new(
        r#"
--- catalog.yaml
memberships:
  club: { title: Club, term: 1 year, price: 60 }
"#,
    );
    let mut her = stage.customer("2027-03-01 08:00");
    her.at("2027-03-01 10:00", "membership_started membership=club ends=2028-03-01");
    her.at("2028-02-20 10:00", "membership_renewed membership=club ends=2029-03-01 amount=49.50");
    her.at("2028-02-21 10:00", "membership_renewed membership=club ends=2029-03-01 amount=49.50 currency=USD");
    her.at("2028-02-22 10:00", "membership_changed membership=club ends=2029-04-01")
        .at("2028-03-20 10:00", "membership_cancelled");
    her.at("2028-04-20 10:00", "membership_started membership=other ends=2029-03-01");
    let told = her.player.facts.iter().filter(|fact| fact.what == What::Event).map(|fact| fact.amount);
    assert_eq!(told.collect::<Vec<_>>(), [Some(6_000), Some(4_950), None, None, None, None]);
}
