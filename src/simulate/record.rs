//! A record of what was lived through: every turn of a running engine with its inputs, answers of providers among
//! them, and with the facts that it gave. Played by the workspace that was in force, the same turns are done again,
//! and every fact must be as it was (but for those of alerts about budgets, which come about where calls are made);
//! played by another one, it is what that one would have made of the same inputs, its own budgets included.
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

/// How far the record of a customer has been played.
#[derive(Default)]
pub(super) struct Chain {
    /// The version that is to come; `None`: she has not been introduced.
    next: Option<u64>,
    /// Effects whose answers are in her record.
    answered: HashSet<String>,
    /// What is remembered of her while nobody knows where she stands.
    tally: Tally,
    /// The last line was done under this very workspace.
    own: bool,
}

impl<'a> Simulation<'a> {
    /// Plays all that is on record of some customers, each in the order of her versions; in order of time where they
    /// draw on one budget.
    pub fn replay(&mut self, customers: Vec<Vec<Line>>) {
        let mut all: Vec<(Time, Line)> = Vec::new();
        for mut lines in customers {
            lines.sort_by_key(|line| line.base);
            let Some(id) = lines.first().map(|line| line.customer.clone()) else { continue };
            let answered = lines.iter().flat_map(|line| &line.inputs).filter_map(answers).map(str::to_owned).collect();
            self.chains.insert(id, Chain { answered, ..Chain::default() });
            let mut now = Time(i64::MIN);
            all.extend(lines.into_iter().map(|line| {
                now = now.max(line.now);
                (now, line)
            }));
        }
        if self.purse.is_some() {
            all.sort_by_key(|(now, _)| *now);
        }
        for (_, line) in &all {
            self.line(line);
        }
        for (id, chain) in std::mem::take(&mut self.chains) {
            if let Some((player, _)) = self.players.get_mut(&id) {
                // What was due and not done when the record ended is not done here either.
                player.wake = player.wake.filter(|_| !chain.own);
            }
        }
    }

    fn line(&mut self, line: &Line) {
        let id = &line.customer;
        let Some(chain) = self.chains.get_mut(id) else { return };
        // A line that two files have counts once.
        if chain.next.is_some_and(|next| line.base < next) {
            return;
        }
        if chain.next != Some(line.base) {
            self.report.proof.gaps += u64::from(chain.next.is_some());
            let tally = self.players.remove(id).map_or_else(|| std::mem::take(&mut chain.tally), |(_, tally)| tally);
            chain.next = None;
            match resumed(self.definitions, line) {
                Some(mut player) => {
                    player.answered_by_record(chain.answered.clone());
                    self.players.insert(id.clone(), (player, tally));
                }
                None => {
                    chain.tally = tally;
                    self.report.proof.left_out += 1;
                    return;
                }
            }
        }
        chain.next = Some(line.base + 1);
        chain.own = line.workspace == self.definitions.current.hash;
        let own = chain.own;
        for input in line.inputs.iter().filter(|input| answers(input).is_none()) {
            self.report.counted(&input.body, input.accepted_at);
        }
        self.report.until = self.report.until.max(line.now);
        let first = line.inputs.first().map_or(line.now, |input| input.accepted_at).min(line.now);
        self.play_until(first.plus_ms(-1));
        let goes_on = (!own).then_some(Time(i64::MIN));
        self.with(id, goes_on, |player, tally, report| {
            if own {
                player.again(line.inputs.clone(), line.more_from, line.books.as_deref(), line.now);
                report.proof.compare(id, &line.facts, &player.facts);
            } else {
                report.proof.foreign += 1;
                player.instead(line.inputs.clone(), line.books.as_deref(), line.now);
            }
            tally.take(player, report);
        });
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
