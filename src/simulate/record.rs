//! A record of what was lived through: every turn of a running engine with its inputs, answers of providers among
//! them, and with the facts that it gave. Played by the workspace that was in force, the same turns are done again,
//! and every fact must be as it was (but for those of alerts about budgets, which come about where calls are made); played by another one, it is what that one would have made of the same inputs.
//!
//! A record needs no beginning: with the first line about a customer in each of its files stand her documents as the
//! turn found them. Lines of one customer are a chain of versions, so a line that is missing is noticed; what comes
//! after it counts again from the next line that has her documents.

use super::Simulation;
use super::tally::Tally;
use crate::account::Account;
use crate::customer::{Customer, codec};
use crate::effect::Effect;
use crate::event::{Input, InputBody};
use crate::fact::Fact;
use crate::funnel::Definitions;
use crate::lang::time::Time;
use crate::play::Player;
use crate::step::winner::Winner;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Facts that are other ones and are told.
pub const OTHERS_MAX: usize = 20;

/// One turn.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Whose.
    pub customer: String,
    /// The version of her record that it read.
    pub base: u64,
    /// The store's clock.
    pub now: Time,
    /// Hash of the workspace in force.
    pub workspace: String,
    /// What it was given, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// When the first input was accepted that waited for another turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_from: Option<Time>,
    /// The effect of the built-in account that it booked; the answer is its input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub books: Option<Box<Effect>>,
    /// Her documents as it found them, where this is the first line about her.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// What happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// The winners of splits that it went by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub winners: Vec<Winner>,
    /// She was forgotten.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
}

/// Both documents of a customer, as they are stored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Before {
    /// The customer; empty when nothing was known of her.
    #[serde(with = "hex")]
    pub document: Vec<u8>,
    /// The account; empty when there was none.
    #[serde(with = "hex")]
    pub account: Vec<u8>,
}

/// What comparing a record with what was played has shown.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Proof {
    /// Turns that were done again.
    pub turns: u64,
    /// Facts that are as they were.
    pub same: u64,
    /// Turns whose facts are other ones.
    pub others: u64,
    /// The first of them: the customer, the first fact in which it shows, as it was and as it is.
    pub shown: Vec<(String, Option<Fact>, Option<Fact>)>,
    /// Turns under another workspace: what was played instead can be no proof.
    pub foreign: u64,
    /// Places where lines of a customer are missing.
    pub gaps: u64,
    /// Turns left out: a line before them is missing, or they go on with runs of a version that is not here.
    pub left_out: u64,
}

impl Proof {
    /// Adds that of other customers.
    pub fn merge(&mut self, other: Proof) {
        self.turns += other.turns;
        self.same += other.same;
        self.others += other.others;
        self.foreign += other.foreign;
        self.gaps += other.gaps;
        self.left_out += other.left_out;
        self.shown.extend(other.shown);
        self.shown.truncate(OTHERS_MAX);
    }

    fn compare(&mut self, customer: &str, was: &[Fact], is: &[Fact]) {
        self.turns += 1;
        if was == is {
            self.same += was.len() as u64;
            return;
        }
        self.others += 1;
        let at = was.iter().zip(is).position(|(was, is)| was != is).unwrap_or(was.len().min(is.len()));
        if self.shown.len() < OTHERS_MAX {
            self.shown.push((customer.to_owned(), was.get(at).cloned(), is.get(at).cloned()));
        }
    }
}

impl<'a> Simulation<'a> {
    /// Plays all that is on record of one customer, in the order of her versions.
    pub fn replay(&mut self, mut lines: Vec<Line>) {
        lines.sort_by_key(|line| line.base);
        let Some(id) = lines.first().map(|line| line.customer.clone()) else { return };
        let answered: HashSet<String> =
            lines.iter().flat_map(|line| &line.inputs).filter_map(answers).map(str::to_owned).collect();
        let (mut tally, mut at): (Tally, Option<(Player<'a>, u64)>) = (Tally::default(), None);
        for line in &lines {
            let goes_on = at.as_ref().is_some_and(|(_, next)| *next == line.base);
            // A line that two files have counts once.
            if at.as_ref().is_some_and(|(_, next)| line.base < *next) {
                continue;
            }
            if !goes_on {
                self.report.proof.gaps += u64::from(at.is_some());
                at = resumed(self.definitions, line).map(|mut player| {
                    player.answered_by_record(answered.clone());
                    (player, line.base)
                });
            }
            let Some((player, next)) = &mut at else {
                self.report.proof.left_out += 1;
                continue;
            };
            *next = line.base + 1;
            for input in line.inputs.iter().filter(|input| answers(input).is_none()) {
                self.report.counted(&input.body, input.accepted_at);
            }
            self.report.until = self.report.until.max(line.now);
            if line.workspace == self.definitions.current.hash {
                player.again(line.inputs.clone(), line.more_from, line.books.as_deref(), line.now);
                let before = line.facts.as_slice();
                self.report.proof.compare(&id, before, &player.facts);
            } else {
                self.report.proof.foreign += 1;
                player.instead(line.inputs.clone(), line.books.as_deref(), line.now);
            }
            tally.take(player, &mut self.report);
        }
        let own = lines.last().is_some_and(|line| line.workspace == self.definitions.current.hash);
        if let Some((mut player, _)) = at {
            // What was due and not done when the record ended is not done here either.
            player.wake = player.wake.filter(|_| !own);
            self.players.insert(id, (player, tally));
        }
    }
}

/// The effect that an input is the answer to.
fn answers(input: &Input) -> Option<&str> {
    match &input.body {
        InputBody::Result { effect, .. } | InputBody::Stale { effect, .. } => Some(effect),
        _ => None,
    }
}

/// A customer as the turn of a line found her; `None`: the line does not say, or she goes on with what is not here.
fn resumed<'a>(definitions: &'a Definitions, line: &Line) -> Option<Player<'a>> {
    let before = line.before.as_ref()?;
    let customer: Option<Customer> = match before.document.is_empty() {
        true => None,
        false => Some(codec::decode(&before.document).ok()?),
    };
    let known = |customer: &Customer| customer.runs.iter().all(|run| definitions.funnel(&run.version).is_some());
    if !customer.as_ref().is_none_or(known) {
        return None;
    }
    let mut player = Player::new(definitions, &line.customer, line.now);
    player.customer = customer;
    player.account = Account::from_stored(&before.account).ok()?;
    Some(player)
}

/// Bytes as text.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            for half in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(u32::from(half), 16));
            }
        }
        to.serialize_str(&text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let half = |byte: u8| char::from(byte).to_digit(16).and_then(|half| u8::try_from(half).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(half(*high)? << 4 | half(*low)?),
            _ => None,
        };
        text.as_bytes().chunks(2).map(byte).collect::<Option<_>>().ok_or_else(|| D::Error::custom("these are no bytes"))
    }
}
