//! The turn: one customer, her inputs, one pure function.
//!
//! This module contains no networking code, does not read a clock and draws no dice. It takes the
//! definitions, the customer's two documents, her inputs and the real *now*, and returns everything that
//! is to be committed: the new documents, the effects, the facts, and the one instant at which she next
//! needs a turn though nothing happens.
//!
//! Inputs and due instants are walked together in the order of their instants (inputs first on a tie), and
//! the logical *now* moves to each. Conditions, segments, waits, dates and goals are judged at that
//! instant; only whether a message may be sent is judged at the real now. So a backlog, a batch and one by
//! one give the same document.
//!
//! Order within one instant: account; consent and profile; history; segments until stable; goals; exits;
//! waits; new entries; then runs advance by priority (higher first), funnel name, run number. What a step
//! emits is the next input of the same instant. An event never counts for exit, wait or goal of the run
//! that it starts.
//!
//! ```text
//! mod      the walk over instants              entries  who may enter
//! inputs   profile, consent, history           advance  a run does its steps
//! segments segments and tier                   sending  consent, quiet hours, caps
//! goals    goals and exits                     results  what came of effects
//! waits    waits that end or move              wake     the next due instant
//! bounds   what a document may hold            book     the account's side
//! reach    by which channel, and when
//! settle   entries that are judged again       undo     what is taken back
//! versions runs that go on in another version
//! caps     who has a place among messages      stops    what was said about her addresses
//! store    the remote loyalty store is asked   parked   grants that a blocked programme has not booked
//! tell     what customers tell each other      saga     gifts to two
//! budget   what a grant takes out of budgets  unsure   messages of unknown fate
//! ```

use crate::account::{self, Account};
use crate::customer::Customer;
use crate::effect::Effect;
use crate::event::address::Address;
use crate::event::{Event, Input, InputBody};
use crate::fact::{Fact, What};
use crate::funnel::{Definitions, Workspace};
use crate::lang::time::{HOUR_MS, Time, Zone};
use crate::trigger::Occurrence;
use std::collections::{BTreeSet, VecDeque};

mod advance;
pub mod book;
mod bounds;
pub mod budget;
mod caps;
mod entries;
mod goals;
mod inputs;
mod parked;
mod reach;
mod results;
pub mod review;
mod saga;
mod segments;
mod sending;
mod settle;
mod stops;
mod store;
mod tell;
mod undo;
mod unsure;
mod versions;
pub mod view;
mod waits;
mod wake;

/// Most hops of emitted events and segment changes from one input.
pub const HOPS_MAX: u8 = 8;
/// Most steps that one customer's runs do in one instant.
pub const STEPS_PER_INSTANT_MAX: u32 = 200;
/// Most due instants that one turn walks after its last input; the rest is left to the next turn.
pub const INSTANTS_PER_TURN_MAX: usize = 1_000;
/// Most due instants that one turn walks while inputs wait behind them: an input is taken out of the order
/// of time only after this many.
pub const INSTANTS_BEFORE_INPUTS_MAX: usize = 50_000;
/// A due instant that is still due after so many turns over it is a fault of the engine: it is left alone.
const REPEATS_MAX: u32 = 100;
/// So long a customer is left alone whose due instant does not go away, in milliseconds.
const STUCK_MS: i64 = HOUR_MS;

/// Everything that a turn decided.
#[derive(Debug)]
pub struct Turned {
    /// The new document.
    pub customer: Customer,
    /// The account, when it moved.
    pub account: Option<Account>,
    /// New effects.
    pub effects: Vec<Effect>,
    /// Effects of before to take back if they have not begun.
    pub withdrawn: Vec<String>,
    /// Addresses that are hers from now on.
    pub taken: Vec<Address>,
    /// Addresses that are not hers any more.
    pub left: Vec<Address>,
    /// What happened.
    pub facts: Vec<Fact>,
    /// Runs that began, changed or ended: their numbers, with how the ended ones ended.
    pub runs: RunChanges,
    /// Her next wake.
    pub wake: Option<Time>,
    /// She is to be forgotten.
    pub erase: bool,
}

/// Changes of runs within a turn.
#[derive(Debug, Default)]
pub struct RunChanges {
    /// Numbers of runs that began.
    pub began: BTreeSet<u64>,
    /// Runs that go on in another version of their funnel: the funnel, the version before, the version now.
    pub moved: Vec<(String, String, String)>,
    /// Numbers of runs that began or changed.
    pub touched: BTreeSet<u64>,
    /// Runs that ended: as they were, and `finished`, `exited` or `stopped`.
    pub ended: Vec<(crate::customer::Run, &'static str, Time)>,
}

/// Does one turn. `customer` is `None` when nothing is known of her; `inputs` are in the order of their
/// acceptance; `now` is the store's clock.
pub fn turn(
    definitions: &Definitions,
    id: &str,
    customer: Option<Customer>,
    account: Account,
    inputs: Vec<Input>,
    now: Time,
) -> Turned {
    turn_until(definitions, id, customer, account, (inputs, None), now)
}

/// Does one turn of a customer who may have more inputs than these: the second of the pair is when the first of
/// them was accepted. What is due from then on waits, so that her time does not go on past what has happened.
pub fn turn_until(
    definitions: &Definitions,
    id: &str,
    customer: Option<Customer>,
    account: Account,
    (inputs, more_from): (Vec<Input>, Option<Time>),
    now: Time,
) -> Turned {
    let first = inputs.first().map(|input| input.accepted_at).or(more_from).unwrap_or(now).min(now);
    let known = customer.is_some();
    let customer = customer.unwrap_or_else(|| Customer::new(id, first));
    let mut turn = Turn::new(definitions, customer, account, now);
    turn.more_from = more_from;
    turn.meet(first, known, &inputs);
    if turn.move_runs() {
        turn.instant(turn.now, None);
    }
    let next_due = turn.walk(inputs.into());
    turn.finish(next_due)
}

/// The state of one turn.
struct Turn<'a> {
    definitions: &'a Definitions,
    workspace: &'a Workspace,
    customer: Customer,
    account: Account,
    account_moved: bool,
    /// An attribute was changed.
    profile_moved: bool,
    zone: Zone,
    /// The store's clock.
    real_now: Time,
    /// The logical now.
    now: Time,
    /// When the first input was accepted that waits for another turn.
    more_from: Option<Time>,
    effects: Vec<Effect>,
    withdrawn: Vec<String>,
    facts: Vec<Fact>,
    runs: RunChanges,
    /// What is to happen next in this instant.
    pending: VecDeque<Pending>,
    /// Steps done in this instant.
    steps: u32,
    /// A due instant does not go away; the customer is left alone until this one.
    stuck: Option<Time>,
    erase: bool,
}

/// Something that happens within the present instant.
enum Pending {
    /// An event of the engine's own.
    Event(Event),
    /// A step asks for a run of another funnel.
    Enter {
        /// Funnel, id of the request, what it reads as its event.
        asked: (String, String, crate::lang::value::Fields),
        /// Hops that led to it.
        depth: u8,
    },
    /// The profile changed: judge everything again.
    Look {
        /// Hops that led to it.
        depth: u8,
        /// What was under way before it.
        under_way: UnderWay,
    },
}

/// The occasions under way, each with its funnel's place among those of time triggers. What is under way
/// after a change and was not before it has just been joined.
type UnderWay = Vec<(usize, Occurrence)>;

/// What one pass over the customer is about.
#[derive(Default)]
struct Pass {
    /// An event that acts.
    event: Option<Event>,
    /// Hops that led here.
    depth: u8,
    /// Segments entered (true) and left, in order.
    flips: Vec<(String, bool)>,
    /// Points changed.
    points: bool,
    /// Profile, consent or membership changed.
    profile: bool,
    /// What was under way before the profile changed.
    under_way: UnderWay,
    /// Fires nothing: imports.
    silent: bool,
    /// Somebody asked for a run.
    enrol: Option<(String, String, crate::lang::value::Fields)>,
}

impl<'a> Turn<'a> {
    fn new(definitions: &'a Definitions, customer: Customer, account: Account, real_now: Time) -> Turn<'a> {
        let workspace = &*definitions.current;
        let zone = customer.zone(workspace.settings.zone);
        let now = customer.now;
        Turn {
            definitions,
            workspace,
            customer,
            account,
            account_moved: false,
            profile_moved: false,
            zone,
            real_now,
            now,
            more_from: None,
            effects: Vec::new(),
            withdrawn: Vec::new(),
            facts: Vec::new(),
            runs: RunChanges::default(),
            pending: VecDeque::new(),
            steps: 0,
            stuck: None,
            erase: false,
        }
    }

    /// The first turn under other definitions judges segments silently and sets out from here: occurrences
    /// of new and changed triggers before it never fire. A customer who comes into being by what she does
    /// enters her segments loudly.
    fn meet(&mut self, first: Time, known: bool, inputs: &[Input]) {
        if self.customer.judged_by == self.workspace.hash {
            return;
        }
        let before = self.customer.now;
        self.now = before.max(first);
        self.customer.now = self.now;
        self.customer.judged_by = self.workspace.hash.clone();
        self.watch_from(self.now);
        let imported = |input: &Input| match &input.body {
            InputBody::History(_) => true,
            InputBody::Profile(change) => change.import,
            _ => false,
        };
        if known || inputs.first().is_some_and(imported) {
            self.judge_segments_silently();
        }
        if self.membership_end(before) {
            self.instant(self.now, None);
        }
    }

    /// Walks all inputs and what is due; returns what is due next where nothing has happened since that was asked.
    fn walk(&mut self, mut inputs: VecDeque<Input>) -> Option<Option<Time>> {
        let (mut walked, mut last, mut repeats) = (0, None, 0);
        while !self.erase {
            let walks = |due: &Time| *due <= self.real_now && self.more_from.is_none_or(|from| *due < from);
            let next_due = self.next_due();
            let due = next_due.filter(walks).filter(|_| self.stuck.is_none());
            let next = inputs.front().map(|input| input.accepted_at);
            let at = match (next, due) {
                (Some(at), due) if due.is_none_or(|due| at <= due) => {
                    self.watched_before(at);
                    if let Some(input) = inputs.pop_front() {
                        self.instant(at, Some(input.body));
                    }
                    continue;
                }
                (_, Some(due)) => due,
                (_, None) => return Some(next_due),
            };
            walked += 1;
            repeats = if last == Some(at) { repeats + 1 } else { 0 };
            last = Some(at);
            if repeats > REPEATS_MAX {
                self.stand_still(at);
            } else if walked > if inputs.is_empty() { INSTANTS_PER_TURN_MAX } else { INSTANTS_BEFORE_INPUTS_MAX } {
                break;
            } else {
                self.watched_before(at);
                self.instant(at, None);
            }
        }
        // More instants than one turn walks: inputs must not wait, due instants go on in the next turn.
        while let Some(input) = inputs.pop_front().filter(|_| !self.erase) {
            self.instant(input.accepted_at, Some(input.body));
        }
        None
    }

    /// A due instant does not go away. That must not happen; if it does, nobody may turn on the spot.
    fn stand_still(&mut self, due: Time) {
        self.stuck = Some(self.real_now.plus_ms(STUCK_MS));
        self.fact(What::Alert, "", format!("what was due {due} is due again and again; report this as a fault of the engine"));
    }

    /// Everything that happens at one instant.
    fn instant(&mut self, at: Time, input: Option<InputBody>) {
        let before = self.customer.now;
        self.now = before.max(at);
        self.customer.now = self.now;
        self.steps = 0;
        let points = self.tick_account();
        let profile = self.membership_end(before);
        let mut pass = Pass { points, profile, ..Pass::default() };
        if let Some(body) = input {
            self.take(body, &mut pass);
        }
        self.pass(pass);
        while let Some(pending) = self.pending.pop_front() {
            let mut pass = Pass::default();
            match pending {
                Pending::Event(event) => self.take(InputBody::Event(event), &mut pass),
                Pending::Enter { asked, depth } => pass = Pass { enrol: Some(asked), depth, ..pass },
                Pending::Look { depth, under_way } => pass = Pass { profile: true, depth, under_way, ..pass },
            }
            self.pass(pass);
        }
    }

    fn pass(&mut self, mut pass: Pass) {
        if self.erase {
            return;
        }
        self.judge_segments(&mut pass);
        if pass.silent {
            self.settle_marks();
        } else {
            self.goals(&pass);
            self.undo(&pass);
            self.exits(&pass);
        }
        self.waits(&pass);
        if !pass.silent {
            self.entries(&pass);
        } else if !pass.flips.is_empty() {
            // Only segments that ask for it have flips here; nothing else of an import starts anything.
            self.entries(&Pass { flips: std::mem::take(&mut pass.flips), depth: pass.depth, ..Pass::default() });
        }
        self.advance(pass.depth);
    }

    /// Moves the account to now; its changes become events.
    fn tick_account(&mut self) -> bool {
        if account::next_due(&self.account).is_none_or(|due| due > self.now) {
            return false;
        }
        let (moved, changes) = account::tick(&self.account, self.now);
        self.account = moved;
        self.account_moved = true;
        self.mirror();
        for change in changes {
            let event = book::change_event(&change);
            self.facts.push(book::change_fact(&change));
            self.pending.push_back(Pending::Event(event));
        }
        true
    }

    fn mirror(&mut self) {
        self.customer.loyalty = account::mirror(&self.account, self.now, &self.customer.loyalty);
        self.mirror_store();
    }

    fn finish(mut self, next_due: Option<Option<Time>>) -> Turned {
        let next_due = next_due.unwrap_or_else(|| self.next_due());
        let wake = next_due.filter(|_| !self.erase).map(|due| self.stuck.map_or(due, |until| due.max(until)));
        self.prune();
        let (taken, left) = self.settle_addresses();
        Turned {
            taken,
            left,
            account: self.account_moved.then_some(self.account),
            customer: self.customer,
            effects: self.effects,
            withdrawn: self.withdrawn,
            facts: self.facts,
            runs: self.runs,
            wake,
            erase: self.erase,
        }
    }

    /// Adds a fact about no run.
    fn fact(&mut self, what: What, about: impl Into<String>, why: impl Into<String>) -> &mut Fact {
        self.facts.push(Fact {
            at: self.now,
            what,
            about: about.into(),
            run: None,
            why: why.into(),
            seen: Vec::new(),
            amount: None,
        });
        let last = self.facts.len() - 1;
        &mut self.facts[last]
    }

    /// An instant as her own clock and calendar show it.
    fn clock_text(&self, at: Time) -> String {
        at.local(self.zone).format("%Y-%m-%d %H:%M").to_string()
    }
}
