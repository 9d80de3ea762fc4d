//! What is out: claimed customers, effects handed out, and how far the indexes were read for them.

use super::super::Claim;
use super::super::pause::Under;
use crate::lang::time::Time;
use std::sync::Arc;

/// A claimed customer, with what her commit wants to know.
#[derive(Clone, Debug, Default)]
pub struct Flight {
    /// Her row; 0: she has none yet.
    pub num: i64,
    /// The version of her record.
    pub version: i64,
    /// Her wake as the index has it.
    pub wake: Option<i64>,
    /// The newest row of her facts; 0: none.
    pub head: i64,
    /// Digest of her line in the list of customers.
    pub shown: i64,
    /// Her gate.
    pub gate: u32,
    /// Her account.
    pub account: Arc<[u8]>,
    /// The first input that was handed out.
    pub first: Option<u64>,
    /// Inputs whose crash counter was raised when they were handed out.
    pub counted: Vec<u64>,
}

/// What memory alone can say to [`super::Store::take`].
pub enum Taken {
    /// Her record was here; she is claimed now.
    Claimed(Box<Claim>),
    /// She is claimed, or has inputs.
    No,
    /// The file has to be asked.
    Unknown,
}

/// An effect that was handed out.
#[derive(Clone, Debug)]
pub struct EffectFlight {
    /// Its row.
    pub seq: i64,
    /// Whose.
    pub customer: Arc<str>,
    /// Her row.
    pub num: i64,
    /// The gate under which it was decided.
    pub gate: u32,
    /// Its shelf life.
    pub valid_until: Option<Time>,
    /// By what it can be paused.
    pub under: Under,
    /// An attempt may have had its effect, and nobody knows.
    pub unsure: bool,
    /// Attempts begun.
    pub attempts: u32,
    /// Number of this hand-out; 0: handed out from birth.
    pub ticket: u64,
    /// Its attempt has begun.
    pub begun: bool,
}

/// A position in an index of instants. Rows at or before `at` are handed out or wait for something else.
#[derive(Debug)]
pub struct Cursor {
    /// Instant and row.
    pub at: (i64, i64),
    /// No row beyond the position is due before this instant.
    pub next: i64,
}

impl Cursor {
    /// Before everything.
    pub fn start() -> Cursor {
        Cursor { at: (i64::MIN, 0), next: i64::MAX }
    }

    /// A row came to stand at this instant.
    pub fn came(&mut self, instant: i64, row: i64) {
        self.next = self.next.min(instant);
        self.at = self.at.min((instant, row.saturating_sub(1)));
    }
}
