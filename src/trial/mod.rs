//! Funnel tests: a customer, what happens to her, and what she is to see of one funnel.
//!
//! A test is played on the virtual clock ([`crate::play`]) through the real turn, and compared with what the
//! author expects. Only facts of the tested funnel count, and of them the kinds that an author thinks in
//! ([`LISTED`]); each is one line such as `2027-03-01 10:00 sent email welcome`, by the clock in her zone.
//!
//! ```text
//! read       the test as written → a script        line   one expected line, and whether a fact is meant by it
//! happening  what may happen beside events         diff   expected beside actual
//! coverage   what tests went through               sample a dated sample of a funnel
//! data       values and events as the doors take   moment instants as a test writes them
//! store      what a remote loyalty store says and does
//! ```

use crate::fact::{Fact, What};
use crate::funnel::Definitions;
use crate::lang::cel::Text;
use crate::lang::diag::{Faults, Place};
use crate::lang::node::Node;
use crate::lang::time::{Time, Zone};
use crate::lang::value::{Fields, Value};
use crate::play::Player;
use read::{Act, Script};
use std::borrow::Cow;

pub mod coverage;
mod data;
mod diff;
mod happening;
mod line;
mod moment;
mod read;
mod said;
pub mod sample;
mod store;
#[cfg(test)]
mod tests;

pub use diff::{DiffLine, Sign};
pub use read::{DAYS_MAX, read};

/// The customer that a test is about, where it names none.
pub const CUSTOMER: &str = "customer";

/// The kinds of fact that a test lists. How a run waits and branches is left out: what comes of it is listed.
pub const LISTED: &[What] = &[
    What::Entered,
    What::HeldOut,
    What::Settling,
    What::NotEntered,
    What::Sent,
    What::Granted,
    What::Undone,
    What::Parked,
    What::Offered,
    What::Called,
    What::Told,
    What::Skipped,
    What::Held,
    What::Review,
    What::Released,
    What::Shadowed,
    What::Capped,
    What::Variant,
    What::Set,
    What::Emitted,
    What::PassedOn,
    What::Restarted,
    What::Failed,
    What::Goal,
    What::Exited,
    What::Stopped,
    What::Finished,
    What::Withdrawn,
];

/// What came of a test.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// The test's name.
    pub name: String,
    /// The funnel that it tests.
    pub funnel: String,
    /// Where it is written.
    pub place: Place,
    /// Whether everything was as expected.
    pub passed: bool,
    /// What was expected, as written; empty when the test expects nothing of facts.
    pub expected: Vec<String>,
    /// What happened, one canonical line each.
    pub actual: Vec<String>,
    /// Both beside each other; empty when they agree.
    pub diff: Vec<DiffLine>,
    /// About the first difference: the whole fact, its reason, and the values that were looked at.
    pub about: Vec<String>,
    /// What is not as `state` wants it, one sentence each.
    pub state: Vec<String>,
    /// The steps and ways that it went through.
    pub walked: coverage::Walked,
}

/// Plays one test of a funnel. Mistakes in the test itself are faults; then there is no outcome.
pub fn run(definitions: &Definitions, funnel: &str, node: &Node, faults: &mut Faults) -> Option<Outcome> {
    let script = read(&definitions.current, funnel, node, faults)?;
    let definitions = &given_variants(definitions, &script);
    let mut player = Player::new(definitions, &script.customer, script.start);
    play(&mut player, &script);
    Some(compare(&player, funnel, script))
}

/// The definitions with the variants that a test gives.
fn given_variants<'d>(definitions: &'d Definitions, script: &Script) -> Cow<'d, Definitions> {
    match script.variants.is_empty() {
        true => Cow::Borrowed(definitions),
        false => Cow::Owned(definitions.clone().with_winners(script.variants.clone())),
    }
}

fn play(player: &mut Player<'_>, script: &Script) {
    if let Some(change) = &script.store {
        change.clone().apply(&mut player.store);
    }
    for (step, answer) in &script.answers {
        player.answer_with(step, answer.clone());
    }
    if !script.given.is_empty() {
        player.backlog(script.given.clone(), script.start);
    }
    for (at, act) in &script.acts {
        match act {
            Act::Input(body) => player.input(*at, body.clone()),
            Act::Said(channel, says) => player.say(*at, channel, *says),
            Act::Review(step, release) => player.review(*at, step, *release),
            Act::Answer(step, answer) => {
                player.run_until(*at);
                player.answer_with(step, answer.clone());
            }
            Act::Fail(step, failure) => {
                player.run_until(*at);
                player.fail_next(step, *failure);
            }
            Act::Store(change) => {
                player.run_until(*at);
                change.clone().apply(&mut player.store);
            }
        }
    }
    player.run_until(script.until);
}

fn compare(player: &Player<'_>, funnel: &str, script: Script) -> Outcome {
    let zone = script.zone;
    let facts: Vec<&Fact> = player.facts_of(funnel).filter(|fact| LISTED.contains(&fact.what)).collect();
    let actual: Vec<String> = facts.iter().map(|fact| line::shown(fact, zone)).collect();
    let mut about = Vec::new();
    let mut diff = Vec::new();
    if let Some(expected) = &script.expect {
        diff = diff::diff(expected, &facts, zone);
        about = diff::first_difference(expected, &facts, player, funnel, zone);
    }
    let state = differences(player, &script);
    let expected = script.expect.unwrap_or_default().into_iter().map(|line| line.text).collect();
    Outcome {
        name: script.name,
        funnel: funnel.to_owned(),
        place: script.place,
        passed: diff.is_empty() && state.is_empty(),
        expected,
        actual,
        diff,
        about,
        state,
        walked: coverage::Walked::of(player.facts_of(funnel)),
    }
}

/// What is not as `state` wants it at the end.
fn differences(player: &Player<'_>, script: &Script) -> Vec<String> {
    let mut out = Vec::new();
    let nobody = crate::customer::Customer::new(&script.customer, script.start);
    let customer = player.customer.as_ref().unwrap_or(&nobody);
    let mut wants = |what: &str, wanted: &Value, found: &Value| {
        if !wanted.same(found) {
            out.push(format!("{what} is {found}, expected {wanted}"));
        }
    };
    let texts = |list: Vec<&str>| Value::List(list.into_iter().map(Value::from).collect());
    if let Some(segments) = &script.state.segments {
        let found = customer.segments.keys().map(String::as_str).collect();
        wants("segments", &texts(segments.iter().map(String::as_str).collect()), &texts(found));
    }
    if let Some(tier) = &script.state.tier {
        let found = customer.loyalty.tier.as_str();
        wants("tier", &Value::from(tier.as_str()), &if found.is_empty() { Value::Null } else { Value::from(found) });
    }
    if let Some(balance) = script.state.balance {
        wants("balance", &Value::Int(balance), &Value::Int(customer.loyalty.balance));
    }
    for (name, wanted) in &script.state.profile {
        let found = customer.profile.get(name).cloned().unwrap_or(Value::Null);
        wants(&format!("profile.{name}"), wanted, &found);
    }
    out
}

impl Outcome {
    /// What went wrong, for people: the lines of both sides with `-` expected and `+` actual, then the first
    /// difference in full. `paint` colours a line by its sign.
    pub fn report(&self, paint: impl Fn(Sign, String) -> String) -> String {
        let mut out = String::new();
        for line in &self.diff {
            let text = paint(line.sign, format!("  {} {}", line.sign.mark(), line.text));
            out.push_str(&text);
            out.push('\n');
        }
        for line in &self.state {
            out.push_str(&paint(Sign::Missing, format!("  ! {line}")));
            out.push('\n');
        }
        for line in &self.about {
            out.push_str(&format!("    {line}\n"));
        }
        out
    }
}

/// What is expected at the end.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    segments: Option<Vec<String>>,
    tier: Option<String>,
    balance: Option<i64>,
    profile: Fields,
}

/// One line of `expect`.
#[derive(Clone, PartialEq, Debug)]
pub struct Expected {
    /// As written.
    pub text: String,
    when: line::When,
    what: What,
    rest: String,
}

/// How an instant is shown: by the clock of a zone, seconds only where there are any.
fn clock(time: Time, zone: Zone) -> String {
    let local = time.local(zone);
    let seconds = time.0.rem_euclid(crate::lang::time::MINUTE_MS) / 1_000;
    let form = if seconds == 0 { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d %H:%M:%S" };
    local.format(form).to_string()
}

/// A scalar's text with its place.
fn text_of(node: &Node) -> Option<Text> {
    Some(Text { text: node.scalar()?.trim().to_owned(), place: node.place.clone() })
}
