//! What everybody in a simulation shares, and what becomes of each call.

use super::bug::Bug;
use super::judge::Judge;
use super::report::{RARE, Report};
use super::truth::Truth;
use crate::provider::Dice;
use autofunnel::lang::time::Time;
use autofunnel::store::{Claim, Commit};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Most workers that die in calls of one seed.
const DEATHS_MAX: u32 = 5;
/// What goes wrong with rare calls happens so much more often, in a thousand.
const RARE_MORE: u64 = 60;
/// Most documents that are read wrongly in one seed.
const MISREAD_MAX: usize = 3;

/// How often what goes wrong, of a thousand calls.
#[derive(Clone, Copy)]
pub struct Rates {
    /// Not done.
    pub fail: u64,
    /// Done, and the answer is lost.
    pub lose: u64,
    /// The worker dies.
    pub die: u64,
    /// Others come between.
    pub pause: u64,
    /// The provider is in trouble.
    pub provider: u64,
}

/// What everybody in a simulation shares.
pub struct State {
    /// Decides everything.
    pub dice: Dice,
    /// Sees everything.
    pub judge: Judge,
    /// Counts everything.
    pub report: Report,
    /// How often what goes wrong.
    pub rates: Rates,
    /// Nothing goes wrong any more.
    pub calm: bool,
    /// Workers that have died and not yet been buried.
    pub dying: Vec<usize>,
    /// The store is not available before this instant of the machine's clock.
    pub store_down: Time,
    /// Nor to so many calls.
    pub calls_down: u32,
    /// The provider is not there before this instant.
    pub provider_down: Time,
    /// Customers claimed by nobody: the answer was lost.
    pub lost_claims: Vec<String>,
    /// Effects handed out to a worker that does not know of it.
    pub lost_effects: Vec<(usize, String, u64)>,
    /// What is broken on purpose.
    pub bug: Option<Bug>,
    /// The store runs in the worker's process: answers that would leave something with nobody do not get lost.
    pub embedded: bool,
    /// Every step, when somebody wants to read it.
    pub trace: Option<Vec<String>>,
    deaths: u32,
    misread: BTreeSet<String>,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Done,
    /// It is not done.
    Failed,
    /// The worker dies before it.
    DiedBefore,
    /// The worker dies after it.
    DiedAfter,
    /// It is done, and the worker is told otherwise.
    Lost,
}

impl State {
    /// Before the first step.
    pub fn new(dice: Dice, rates: Rates, bug: Option<Bug>, embedded: bool, traced: bool) -> State {
        State {
            dice,
            judge: Judge::new(embedded),
            report: Report::default(),
            rates,
            calm: false,
            dying: Vec::new(),
            store_down: Time(i64::MIN),
            calls_down: 0,
            provider_down: Time(i64::MIN),
            lost_claims: Vec::new(),
            lost_effects: Vec::new(),
            bug,
            embedded,
            trace: traced.then(Vec::new),
            deaths: 0,
            misread: BTreeSet::new(),
        }
    }

    /// Notes a step.
    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    /// Whether something happens that happens so often in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        !self.calm && self.dice.below(1_000) < per_mille
    }

    /// Whether a worker dies here; so much more often, in a thousand, than elsewhere.
    pub fn dies(&mut self, worker: usize, more: u64) -> bool {
        let dies = self.deaths < DEATHS_MAX && self.chance(self.rates.die + more);
        if dies {
            self.deaths += 1;
            self.dying.push(worker);
        }
        dies
    }

    /// Whether what a turn was about to consume has killed its worker.
    pub fn is_deadly(&mut self, worker: usize, commits: &[Commit]) -> bool {
        let deadly = !self.calm && commits.iter().any(|commit| self.judge.is_poison(&commit.customer, &commit.consumed));
        if deadly {
            self.report.add("chaos", "an input killed its worker");
            self.say(|| format!("      w{worker} is killed by an input"));
            self.dying.push(worker);
        }
        deadly
    }

    /// What becomes of a call.
    pub fn fate(&mut self, call: &'static str, worker: usize, now: Time, may_lose: bool) -> Fate {
        if !self.calm && (now < self.store_down || self.calls_down > 0) {
            self.calls_down = self.calls_down.saturating_sub(1);
            self.report.add("store", "not available for a while");
            return Fate::Failed;
        }
        let more = if RARE.contains(&call) { RARE_MORE } else { 0 };
        let (fate, what) = if self.dies(worker, more) {
            match self.dice.below(2) {
                0 => (Fate::DiedBefore, "its worker died before"),
                _ => (Fate::DiedAfter, "its worker died after"),
            }
        } else if self.chance(self.rates.fail + more) {
            (Fate::Failed, "failed before")
        } else if self.chance(self.rates.lose + more) && may_lose {
            (Fate::Lost, "its answer was lost")
        } else {
            (Fate::Done, "done")
        };
        self.report.add(call, what);
        if fate != Fate::Done {
            self.say(|| format!("      w{worker} {call}: {what}"));
        }
        fate
    }

    /// A claim as its worker sees it: now and then with a document that cannot be read.
    pub fn misread(&mut self, claim: &mut Claim) {
        if let Some(document) = self.bug.and_then(|bug| Truth::redact(&claim.record.document, bug)) {
            claim.record.document = document;
        }
        let spared =
            claim.record.document.is_empty() || self.misread.len() >= MISREAD_MAX || self.misread.contains(&claim.customer);
        if !spared && self.chance(2) {
            self.report.add("chaos", "a document was misread");
            self.say(|| format!("      {}'s document is misread", claim.customer));
            self.misread.insert(claim.customer.clone());
            claim.record.document.truncate(3);
        }
    }
}

/// The machine's clock.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// Shared by everybody.
pub type Shared = Arc<Mutex<State>>;
