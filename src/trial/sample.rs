//! A dated sample of what a funnel does: for a made-up customer, or for the one of a test.

use super::read::somebody as somebody_who;
use super::{clock, given_variants, play, read};
use crate::event::{ConsentChange, Input, InputBody, MembershipChange, ProfileChange};
use crate::fact::sentence::sentence;
use crate::fact::{Fact, What};
use crate::funnel::settings::CHANNELS;
use crate::funnel::{Definitions, Workspace};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::time::{DAY_MS, Time, Zone};
use crate::lang::value::{Fields, Value};
use crate::play::Player;

/// So long a sample goes on, in days.
const DAYS: i64 = 400;
/// The term of the sample customer's membership, in days.
const TERM_DAYS: i64 = 90;

/// What happens to one customer in one funnel, a line each: the time in her zone, then what and why.
pub fn made_up(definitions: &Definitions, funnel: &str, at: Time) -> Vec<String> {
    let workspace = &definitions.current;
    // Of one who is held out there is nothing to be shown.
    let treated = workspace.funnels.get(funnel).and_then(|funnel| somebody_who(super::CUSTOMER, workspace, funnel, false));
    let id = treated.unwrap_or_else(|| super::CUSTOMER.to_owned());
    let begin = || {
        let mut player = Player::new(definitions, &id, at);
        let body = InputBody::Profile(somebody(workspace, at));
        player.backlog(vec![Input { accepted_at: at, body }], at);
        player
    };
    let until = at.plus_ms(DAYS * DAY_MS);
    // Where time alone begins a run, that is the one to be shown; else she is asked to enter.
    let mut player = begin();
    player.run_until(until);
    if player.facts_of(funnel).any(|fact| fact.what == What::Entered) {
        return first_run(&player, funnel);
    }
    let mut player = begin();
    let properties: Fields =
        [("amount", Value::Int(30)), ("order_id", Value::from("1001"))].map(|(name, value)| (name.to_owned(), value)).into();
    player.input(at, InputBody::Enrol { funnel: funnel.to_owned(), id: "sample".to_owned(), properties });
    player.run_until(until);
    first_run(&player, funnel)
}

/// The same for a test; `None`: the test has faults.
pub fn of_test(definitions: &Definitions, funnel: &str, node: &Node, faults: &mut Faults) -> Option<Vec<String>> {
    let script = read(&definitions.current, funnel, node, faults)?;
    let definitions = &given_variants(definitions, &script);
    let mut player = Player::new(definitions, &script.customer, script.start);
    play(&mut player, &script);
    Some(lines(&player, funnel, script.zone))
}

/// Somebody who may be written to by every channel, and is a member where there are memberships.
fn somebody(workspace: &Workspace, at: Time) -> ProfileChange {
    let profile: Fields = [
        ("name", "Ada Sample"),
        ("email", "ada@example.com"),
        ("phone", "+4917600000001"),
        ("chat", "ada"),
        ("push", "ada"),
        ("language", "en"),
    ]
    .map(|(name, text)| (name.to_owned(), Value::from(text)))
    .into();
    let mut consent = Vec::new();
    for channel in CHANNELS {
        let topics = workspace.funnels.values().filter_map(|funnel| funnel.topic.clone()).map(Some);
        for topic in std::iter::once(None).chain(topics) {
            let (channel, source) = ((*channel).to_owned(), "sample".to_owned());
            consent.push(ConsentChange { channel, topic, granted: true, source, time: at });
        }
    }
    let membership = workspace.catalog.memberships.keys().next().map(|name| {
        let ends = Some(at.plus_ms(TERM_DAYS * DAY_MS));
        Some(MembershipChange { membership: name.clone(), started: at, ends, auto_renew: false })
    });
    ProfileChange { profile, consent, membership, import: false }
}

/// A sample is of one run: what begins later is another.
fn first_run(player: &Player<'_>, funnel: &str) -> Vec<String> {
    let run = |fact: &Fact| fact.run.as_ref().map(|run| run.run);
    let first = player.facts_of(funnel).find(|fact| fact.what == What::Entered).and_then(run);
    let zone = player.definitions.current.settings.zone;
    shown(player, zone, player.facts_of(funnel).filter(|fact| first.is_none() || run(fact) == first))
}

fn lines(player: &Player<'_>, funnel: &str, zone: Zone) -> Vec<String> {
    shown(player, zone, player.facts_of(funnel))
}

fn shown<'f>(player: &Player<'_>, zone: Zone, facts: impl Iterator<Item = &'f Fact>) -> Vec<String> {
    let currency = player.definitions.current.settings.currency;
    let zone = player.customer.as_ref().map_or(zone, |customer| customer.zone(zone));
    let shown = |fact: &Fact| format!("{}  {}", clock(fact.at, zone), sentence(fact, currency));
    facts.filter(|fact| fact.what != What::Planned).map(shown).collect()
}
