//! The shell around the core: what comes in, turns, deliveries, the background.
//!
//! ```text
//! intake    parses and checks what comes in          (doors call it)
//! turner    claimed customers ─► turn ─► commit      (a queue calls it)
//! deliver   effects ─► begin ─► provider ─► settle   (a queue calls it)
//! budget    points are taken out of budgets before they are given
//! traffic   rates, rests and lanes of providers
//! choose    winners of splits, from what was counted
//! caretaker the scan after a change of definitions, and pruning
//! complaints marketing that is complained about stops
//! tell      words from one customer to another
//! versions  what workers beside have begun under other definitions
//! recorder  every turn in a file, for `simulate`
//! ```

use crate::channel::{Channel, Tools};
use crate::funnel::Definitions;
use crate::queue::Lane;
use crate::store::{Delivery, Store};
use intake::Shared;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub mod budget;
pub mod caretaker;
mod choose;
pub mod clock;
mod complaints;
pub mod deliver;
pub mod intake;
pub mod link;
pub mod record;
pub mod recorder;
mod tell;
pub mod traffic;
pub mod turner;
mod versions;

/// What turns and deliveries work with; exchanged as a whole when a workspace is applied.
pub struct Live {
    /// The definitions in force and those that runs are pinned to.
    pub definitions: Definitions,
    /// Providers by name.
    pub channels: HashMap<String, Arc<dyn Channel>>,
    /// Makes the links of messages.
    pub signer: link::Signer,
    /// Providers whose own ids of messages come back in callbacks, and so are kept.
    pub referenced: HashSet<String>,
    /// Versions that were looked for in the store.
    sought: HashSet<String>,
}

/// What every part of the engine holds.
#[derive(Clone)]
pub struct Engine {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Definitions and providers.
    pub live: Arc<Shared<Live>>,
    /// Effects that this process delivers itself.
    pub effects: Lane<Delivery>,
    /// What providers work with.
    pub tools: Tools,
    /// Counters for `/metrics`.
    pub meter: Arc<Meter>,
    /// How much goes to each provider.
    pub traffic: Arc<traffic::Traffic>,
    /// What of the budgets this process has taken and not used.
    pub budgets: Arc<budget::Budgets>,
    /// Writes down every turn, where that is asked for.
    pub recorder: Option<Arc<recorder::Recorder>>,
}

/// Counters of this process.
#[derive(Debug, Default)]
pub struct Meter {
    /// Turns committed.
    pub turns: std::sync::atomic::AtomicU64,
    /// Commits that lost against another.
    pub conflicts: std::sync::atomic::AtomicU64,
    /// Turns that crashed.
    pub crashes: std::sync::atomic::AtomicU64,
    /// Attempts begun.
    pub attempts: std::sync::atomic::AtomicU64,
    /// Attempts that failed and are tried again.
    pub retries: std::sync::atomic::AtomicU64,
    /// Decisions that outlived their shelf life.
    pub stale: std::sync::atomic::AtomicU64,
    /// Customers that the present look at everybody has given a turn.
    pub scanned: std::sync::atomic::AtomicU64,
    /// A look at everybody is under way.
    pub scanning: std::sync::atomic::AtomicBool,
}

impl Meter {
    /// Adds to a counter.
    pub fn add(counter: &std::sync::atomic::AtomicU64, count: u64) {
        counter.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
    }
}
