//! Turns as the writer takes them, prepared on the caller's thread, and the open transaction's notes.
//!
//! Encoding, digests and the counting of facts are done here so that the one thread that writes has
//! nothing to do but write.

use super::super::digest;
use super::super::pause::Under;
use super::super::{Commit, CustomerRow, RunRow};
use super::change::Change;
use crate::customer::codec::encode;
use crate::event::address::Address;
use crate::fact::Fact;
use crate::fact::count::{Key, Sum, Terms, count, count_lost};
use crate::lang::time::Time;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A commit, ready to be written.
pub struct Turn {
    /// Whose.
    pub customer: Arc<str>,
    /// The version that the turn read.
    pub base: i64,
    /// The new document.
    pub document: Vec<u8>,
    /// The new account, when it moved.
    pub account: Option<Vec<u8>>,
    /// Inputs consumed.
    pub consumed: Vec<u64>,
    /// The effect that it settles.
    pub settled: Option<String>,
    /// It books that effect.
    pub books: bool,
    /// Addresses that become hers.
    pub taken: Vec<Address>,
    /// Addresses that were hers.
    pub left: Vec<Address>,
    /// Effects to take back.
    pub withdrawn: Vec<String>,
    /// New effects.
    pub effects: Vec<NewEffect>,
    /// New effects are handed out to the committer.
    pub hand_over: bool,
    /// What happened.
    pub facts: Facts,
    /// Runs that changed.
    pub runs: Vec<RunRow>,
    /// Next wake.
    pub wake: Option<i64>,
    /// Her gate.
    pub gate: u32,
    /// Digest of the definitions' hash.
    pub judged: i64,
    /// Digest of the line of the list of customers.
    pub shown: i64,
    /// The line.
    pub index: CustomerRow,
    /// Remove her.
    pub erase: bool,
}

/// The facts of one turn, ready to be written.
pub struct Facts {
    /// Encoded; empty when there are none.
    pub body: Vec<u8>,
    /// How many.
    pub count: i64,
    /// In which terms they are counted.
    pub terms: Terms,
    /// What they add to the figures.
    pub sums: Vec<(Key, Sum)>,
    /// What adds to the figures of runs whose funnels are to be found.
    pub lost: Vec<(u64, Key)>,
}

impl Facts {
    /// Prepares facts.
    pub fn new(facts: &[Fact], terms: Terms) -> Facts {
        Facts {
            body: if facts.is_empty() { Vec::new() } else { encode(&facts) },
            count: i64::try_from(facts.len()).unwrap_or(i64::MAX),
            sums: count(facts, &terms),
            lost: count_lost(facts, &terms),
            terms,
        }
    }
}

/// An effect, ready to be written.
pub struct NewEffect {
    /// Its id.
    pub id: String,
    /// Digest of the id.
    pub key: i64,
    /// The gate under which it was decided.
    pub gate: u32,
    /// Its shelf life.
    pub valid_until: Option<Time>,
    /// By what it can be paused.
    pub under: Under,
    /// Encoded.
    pub body: Vec<u8>,
}

impl Turn {
    /// Prepares a commit.
    pub fn new(commit: Commit) -> Turn {
        let effects = commit.effects.iter().map(|effect| NewEffect {
            id: effect.id.clone(),
            key: key(&[&effect.id]),
            gate: effect.gate,
            valid_until: effect.valid_until,
            under: Under::of(effect),
            body: encode(effect),
        });
        Turn {
            effects: effects.collect(),
            customer: Arc::from(commit.customer.as_str()),
            base: i64::try_from(commit.base).unwrap_or(i64::MAX),
            document: commit.document,
            account: commit.account,
            consumed: commit.consumed,
            settled: commit.settled,
            books: commit.books,
            taken: commit.addresses_taken,
            left: commit.addresses_left,
            withdrawn: commit.withdrawn,
            hand_over: commit.hand_over,
            facts: Facts::new(&commit.facts, commit.terms),
            runs: commit.runs,
            wake: commit.wake.map(|wake| wake.0),
            gate: commit.gate,
            judged: judged(&commit.judged),
            shown: shown(&commit.index),
            index: commit.index,
            erase: commit.erase,
        }
    }
}

/// 8 bytes of the SHA-256 of texts, as a column holds them.
pub fn key(parts: &[&str]) -> i64 {
    i64::from_be_bytes(digest::key(parts))
}

/// Digest of a definitions' hash, as a column holds it.
pub fn judged(hash: &str) -> i64 {
    digest::judged(hash) as i64
}

/// Digest of a line of the list of customers, as a column holds it.
pub fn shown(row: &CustomerRow) -> i64 {
    digest::shown(row) as i64
}

/// What the open transaction has done: memory follows only after the commit.
#[derive(Default)]
pub struct Batch {
    /// The clock for all of it.
    pub now: Time,
    /// Customers with inputs accepted in it.
    pub arrived: HashSet<Arc<str>>,
    /// Inputs accepted in it whose place will be kept in memory.
    pub near: usize,
    /// Inputs accepted in it beyond memory's window.
    pub far: u64,
    /// Inputs put aside in it.
    pub aside: HashSet<u64>,
    /// Effects removed in it.
    pub gone: HashSet<String>,
    /// What memory will learn.
    pub changes: Vec<Change>,
    /// When what is being written happened.
    pub at: Time,
    /// What it adds to the figures.
    pub sums: HashMap<Key, Sum>,
    /// What it adds to the tallies.
    pub tallies: HashMap<String, i64>,
}

impl Batch {
    /// Forgets everything but the clock; the room is kept for the next group.
    pub fn clear(&mut self) {
        self.arrived.clear();
        self.near = 0;
        self.far = 0;
        self.aside.clear();
        self.gone.clear();
        self.changes.clear();
        self.sums.clear();
        self.tallies.clear();
    }

    /// Adds to a figure.
    pub fn add(&mut self, key: &Key, (count, amount): Sum) {
        match self.sums.get_mut(key) {
            Some(sum) => *sum = (sum.0 + count, sum.1.saturating_add(amount)),
            None => {
                self.sums.insert(key.clone(), (count, amount));
            }
        }
    }

    /// Adds to a tally.
    pub fn tally(&mut self, name: String, by: i64) {
        *self.tallies.entry(name).or_default() += by;
    }
}
