//! Who is claimed, what is ready, and how far the indexes have been read.
//!
//! ```text
//!   inbox rows, by seq:   [ known: customer -> seqs ........ | far: only in the file, counted ]
//!                                                    horizon ^
//!   customers:  resting -> queued (ready | alone) -> flying -> resting ...
//!   indexes of wakes and of due effects:  [ handed out or skipped | position | not looked at yet ]
//! ```
//! The known part of the inbox is always its oldest part, so the order of one customer's inputs is
//! kept. All of it is rebuilt from the file when the store is opened.

use super::super::pause::Pauses;
use super::super::{Claim, Record};
use super::change::Change;
use super::flight::{Cursor, EffectFlight, Flight, Taken};
use super::recent::Recent;
use crate::lang::time::Time;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Customers whose failed turns without inputs are counted.
const WAKE_FAULTS_MAX: usize = 1_000;

#[derive(Default)]
struct Entry {
    seqs: VecDeque<u64>,
    flight: Option<Box<Flight>>,
    queued: bool,
    /// To be given a turn though nothing happened.
    nudged: bool,
}

/// See the module.
pub struct Memory {
    customers: HashMap<Arc<str>, Entry>,
    ready: VecDeque<Arc<str>>,
    /// Customers whose first input has crashed before, by its count and place: one at a time, and the one
    /// with the fewest first. So one that ends the process whenever it runs is soon the only one left, and
    /// those that were merely in hand when it did are done before they can be taken for it.
    alone: BTreeSet<(u32, u64, Arc<str>)>,
    alone_out: Option<Arc<str>>,
    /// Known inputs.
    pub inputs: usize,
    /// Inputs beyond the window.
    pub far: u64,
    /// The last known input.
    pub horizon: u64,
    /// Crash counters above 0, of known inputs.
    pub crashes: HashMap<u64, u32>,
    /// Inputs below this one were left behind by a process that did not end cleanly.
    pub suspect_below: u64,
    /// Failed turns of customers without inputs.
    wake_faults: HashMap<Arc<str>, u32>,
    /// Position in the index of wakes.
    pub wakes: Cursor,
    /// Effects handed out.
    pub effects: HashMap<String, EffectFlight>,
    /// Number of the last hand-out.
    pub tickets: u64,
    /// Position in the index of due effects.
    pub dues: Cursor,
    /// What is paused.
    pub pauses: Pauses,
    /// Records that will be asked for in a moment.
    pub recent: Recent,
    /// Rows of the inbox.
    pub inbox_rows: u64,
    /// Rows of the outbox.
    pub outbox_rows: u64,
}

impl Memory {
    /// Nothing known.
    pub fn new(recent_bytes: usize) -> Memory {
        Memory {
            customers: HashMap::new(),
            ready: VecDeque::new(),
            alone: BTreeSet::new(),
            alone_out: None,
            inputs: 0,
            far: 0,
            horizon: 0,
            crashes: HashMap::new(),
            suspect_below: 0,
            wake_faults: HashMap::new(),
            wakes: Cursor::start(),
            effects: HashMap::new(),
            tickets: 0,
            dues: Cursor::start(),
            pauses: Pauses::default(),
            recent: Recent::new(recent_bytes),
            inbox_rows: 0,
            outbox_rows: 0,
        }
    }

    /// Follows a committed transaction.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Arrived { customer, seq, far } => {
                self.inbox_rows += 1;
                match far {
                    true => self.far += 1,
                    false => self.known(customer, seq),
                }
            }
            Change::Freed { customer, num, consumed, wake, recent } => self.freed(customer, num, &consumed, wake, recent),
            Change::Gate { customer } => {
                self.recent.raise_gate(&customer);
                if let Some(flight) = self.customers.get_mut(&customer).and_then(|entry| entry.flight.as_deref_mut()) {
                    flight.gate += 1;
                }
            }
            Change::Emptied { customer, far } => self.emptied(&customer, far),
            Change::PutAside { customer, seq } => self.removed(&customer, &[seq]),
            Change::Crashes { seq, count: 0 } => {
                self.crashes.remove(&seq);
            }
            Change::Crashes { seq, count } => {
                self.crashes.insert(seq, count);
            }
            Change::EffectBorn { seq, due, flight } => {
                self.outbox_rows += 1;
                match flight {
                    Some((id, flight)) => {
                        self.effects.insert(id, flight);
                    }
                    None => self.dues.came(due, seq),
                }
            }
            Change::EffectBegun { id } => {
                if let Some(flight) = self.effects.get_mut(&id) {
                    flight.attempts += 1;
                    flight.begun = true;
                }
            }
            Change::EffectBack { id, seq, due } => {
                self.effects.remove(&id);
                self.dues.came(due, seq);
            }
            Change::EffectsDue { due } => self.dues.came(due, 0),
            Change::Paused(pauses) => self.pauses = pauses,
            Change::EffectGone { id } => {
                self.effects.remove(&id);
                self.outbox_rows = self.outbox_rows.saturating_sub(1);
            }
        }
    }

    /// Learns of an input of the inbox, in the order of acceptance.
    pub fn known(&mut self, customer: Arc<str>, seq: u64) {
        self.inputs += 1;
        self.horizon = seq;
        let entry = self.customers.entry(customer.clone()).or_default();
        entry.seqs.push_back(seq);
        self.enqueue(&customer);
    }

    /// Whether a customer is claimed.
    pub fn flight(&self, customer: &str) -> Option<&Flight> {
        self.customers.get(customer).and_then(|entry| entry.flight.as_deref())
    }

    /// Whether all of these are inputs of hers that nobody has consumed or put aside.
    pub fn holds(&self, customer: &str, seqs: &[u64]) -> bool {
        let entry = self.customers.get(customer);
        // What is consumed is nearly always the front.
        let front = entry.is_some_and(|entry| entry.seqs.iter().zip(seqs).filter(|(own, seq)| own == seq).count() == seqs.len());
        front || seqs.iter().all(|seq| entry.is_some_and(|entry| entry.seqs.contains(seq)))
    }

    /// Whether she has known inputs that nobody has consumed.
    pub fn has_inputs(&self, customer: &str) -> bool {
        self.customers.get(customer).is_some_and(|entry| !entry.seqs.is_empty())
    }

    /// Her known inputs.
    pub fn inputs_of(&self, customer: &str) -> Vec<u64> {
        self.customers.get(customer).map(|entry| entry.seqs.iter().copied().collect()).unwrap_or_default()
    }

    /// The first input that was handed out with her.
    pub fn first_handed(&self, customer: &str) -> Option<u64> {
        self.flight(customer).and_then(|flight| flight.first)
    }

    /// A due wake cannot be handed out: she is claimed, or has to be claimed alone.
    pub fn blocked(&self, customer: &str) -> bool {
        self.customers.get(customer).is_some_and(|entry| entry.flight.is_some() || self.crashed(entry))
    }

    fn crashed(&self, entry: &Entry) -> bool {
        self.first_crashed(entry).is_some()
    }

    /// Count and place of the first input, if it has crashed.
    fn first_crashed(&self, entry: &Entry) -> Option<(u32, u64)> {
        let seq = *entry.seqs.front()?;
        Some((*self.crashes.get(&seq)?, seq))
    }

    /// How many customers a claim would find besides due wakes.
    pub fn claimable(&self) -> u64 {
        let alone = if self.alone_out.is_none() { self.alone.len() } else { 0 };
        (self.ready.len() + alone) as u64
    }

    /// The next customer whose input has crashed before, if none such is out.
    pub fn next_alone(&mut self) -> Option<Arc<str>> {
        while self.alone_out.is_none()
            && let Some((_, _, customer)) = self.alone.pop_first()
        {
            if self.unqueue(&customer) {
                self.alone_out = Some(customer.clone());
                return Some(customer);
            }
        }
        None
    }

    /// The next ready customer.
    pub fn next_ready(&mut self) -> Option<Arc<str>> {
        while let Some(customer) = self.ready.pop_front() {
            let crashed = self.customers.get(&customer).is_some_and(|entry| self.crashed(entry));
            if !self.unqueue(&customer) {
                continue;
            }
            match crashed {
                true => self.enqueue(&customer),
                false => return Some(customer),
            }
        }
        None
    }

    /// Takes the mark off; false when there is nothing to hand out: she was claimed by another way.
    fn unqueue(&mut self, customer: &Arc<str>) -> bool {
        let Some(entry) = self.customers.get_mut(customer) else { return false };
        entry.queued = false;
        let wanted = entry.flight.is_none() && (entry.nudged || !entry.seqs.is_empty());
        self.forget_if_idle(customer);
        wanted
    }

    /// Claims her, and returns the inputs to hand out: up to `max`, and none that has crashed beside another; and
    /// the next one, if it is known.
    pub fn fly(&mut self, customer: &Arc<str>, flight: Flight, max: usize) -> (Vec<u64>, Option<u64>) {
        let entry = self.customers.entry(customer.clone()).or_default();
        entry.nudged = false;
        let alone = self.alone_out.as_ref() == Some(customer);
        let max = if alone { 1 } else { max };
        let fit = |seq: &&u64| alone || !self.crashes.contains_key(*seq);
        let seqs: Vec<u64> = entry.seqs.iter().take(max).take_while(fit).copied().collect();
        let next = entry.seqs.get(seqs.len()).copied();
        entry.flight = Some(Box::new(Flight { first: seqs.first().copied(), ..flight }));
        (seqs, next)
    }

    /// Claims a customer whose record is here, if she is free and has no unread inputs.
    pub fn take(&mut self, customer: &str, now: Time) -> Taken {
        let entry = self.customers.get(customer);
        if entry.is_some_and(|entry| entry.flight.is_some() || !entry.seqs.is_empty()) {
            return Taken::No;
        }
        if self.far > 0 {
            return Taken::Unknown;
        }
        let Some((flight, record)) = self.recent.take(customer) else { return Taken::Unknown };
        self.fly(&Arc::from(customer), flight, 0);
        let (customer, inputs) = (customer.to_owned(), Vec::new());
        Taken::Claimed(Box::new(Claim { customer, record, inputs, more_from: None, now }))
    }

    /// Notes that the crash counters of these inputs were raised for this claim.
    pub fn counted(&mut self, customer: &str, seqs: Vec<u64>) {
        if let Some(flight) = self.customers.get_mut(customer).and_then(|entry| entry.flight.as_deref_mut()) {
            flight.counted = seqs;
        }
    }

    /// Marks a customer for a turn though nothing happened.
    pub fn nudge(&mut self, customer: Arc<str>) {
        self.customers.entry(customer.clone()).or_default().nudged = true;
        self.enqueue(&customer);
    }

    /// Counts a failed turn of a customer without inputs.
    pub fn wake_fault(&mut self, customer: &Arc<str>) -> u32 {
        // Few customers fail this way at one time; should many, the oldest counts are worth nothing.
        if self.wake_faults.len() >= WAKE_FAULTS_MAX {
            self.wake_faults.clear();
        }
        let count = self.wake_faults.entry(customer.clone()).or_default();
        *count += 1;
        *count
    }

    /// How many more customers may be nudged within `window`.
    pub fn room(&self, window: usize) -> usize {
        window.saturating_sub(self.ready.len())
    }

    fn freed(
        &mut self,
        customer: Arc<str>,
        num: i64,
        consumed: &[u64],
        wake: Option<i64>,
        recent: Option<Box<(Flight, Record)>>,
    ) {
        // The gate may have been raised while she was out.
        let gate = self.flight(&customer).map_or(0, |flight| flight.gate);
        match recent {
            Some(written) => {
                let (mut flight, mut record) = *written;
                flight.gate = flight.gate.max(gate);
                record.gate = flight.gate;
                self.recent.put(customer.clone(), flight, record);
            }
            None => {
                self.recent.take(&customer);
            }
        }
        if self.alone_out.as_ref() == Some(&customer) {
            self.alone_out = None;
        }
        self.removed(&customer, consumed);
        if let Some(wake) = wake {
            self.wakes.came(wake, num);
        }
        if let Some(entry) = self.customers.get_mut(&customer) {
            entry.flight = None;
            self.enqueue(&customer);
            self.forget_if_idle(&customer);
        }
    }

    fn removed(&mut self, customer: &Arc<str>, seqs: &[u64]) {
        let Some(entry) = self.customers.get_mut(customer) else { return };
        let before = entry.seqs.len();
        for seq in seqs {
            // What is consumed is nearly always the front.
            if entry.seqs.front() == Some(seq) {
                entry.seqs.pop_front();
            } else {
                entry.seqs.retain(|own| own != seq);
            }
            self.crashes.remove(seq);
        }
        let gone = before - entry.seqs.len();
        self.inputs -= gone;
        self.inbox_rows = self.inbox_rows.saturating_sub(gone as u64);
        self.forget_if_idle(customer);
    }

    fn emptied(&mut self, customer: &Arc<str>, far: u64) {
        self.far = self.far.saturating_sub(far);
        self.inbox_rows = self.inbox_rows.saturating_sub(far);
        let seqs = self.inputs_of(customer);
        self.removed(customer, &seqs);
    }

    fn enqueue(&mut self, customer: &Arc<str>) {
        let Some(entry) = self.customers.get(customer) else { return };
        if entry.queued || entry.flight.is_some() || (entry.seqs.is_empty() && !entry.nudged) {
            return;
        }
        match self.first_crashed(entry) {
            Some((count, seq)) => {
                self.alone.insert((count, seq, customer.clone()));
            }
            None => self.ready.push_back(customer.clone()),
        }
        if let Some(entry) = self.customers.get_mut(customer) {
            entry.queued = true;
        }
    }

    fn forget_if_idle(&mut self, customer: &Arc<str>) {
        let idle = |entry: &Entry| entry.seqs.is_empty() && entry.flight.is_none() && !entry.queued && !entry.nudged;
        if self.customers.get(customer).is_some_and(idle) {
            self.customers.remove(customer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(memory: &mut Memory, customer: &str, seq: u64) {
        memory.apply(Change::Arrived { customer: Arc::from(customer), seq, far: false });
    }

    fn free(memory: &mut Memory, customer: &str, consumed: Vec<u64>) {
        memory.apply(Change::Freed { customer: Arc::from(customer), num: 1, consumed, wake: None, recent: None });
    }

    #[test]
    fn a_customer_flies_once_and_comes_back_with_what_she_has_left() {
        let mut memory = Memory::new(1_000);
        arrive(&mut memory, "anna", 1);
        arrive(&mut memory, "anna", 2);
        let anna = memory.next_ready().unwrap();
        assert_eq!(memory.fly(&anna, Flight::default(), 1), (vec![1], Some(2)));
        arrive(&mut memory, "anna", 3);
        assert_eq!(memory.next_ready(), None);
        free(&mut memory, "anna", vec![1]);
        let anna = memory.next_ready().unwrap();
        assert_eq!(memory.fly(&anna, Flight::default(), 100), (vec![2, 3], None));
        free(&mut memory, "anna", vec![2, 3]);
        assert_eq!((memory.inputs, memory.customers.len(), memory.inbox_rows), (0, 0, 0));
    }

    #[test]
    fn memory_alone_gives_out_only_a_free_customer_without_inputs() {
        let mut memory = Memory::new(10_000);
        let keep = |memory: &mut Memory| {
            let recent =
                Some(Box::new((Flight { num: 1, version: 3, ..Flight::default() }, Record { version: 3, ..Record::default() })));
            memory.apply(Change::Freed { customer: Arc::from("anna"), num: 1, consumed: vec![], wake: None, recent });
        };
        assert!(matches!(memory.take("anna", Time(0)), Taken::Unknown));
        keep(&mut memory);
        assert!(matches!(memory.take("anna", Time(0)), Taken::Claimed(claim) if claim.record.version == 3));
        assert!(matches!(memory.take("anna", Time(0)), Taken::No));
        keep(&mut memory);
        arrive(&mut memory, "anna", 1);
        assert!(matches!(memory.take("anna", Time(0)), Taken::No));
        free(&mut memory, "anna", vec![1]);
        keep(&mut memory);
        memory.far = 1;
        assert!(matches!(memory.take("anna", Time(0)), Taken::Unknown), "her inputs may lie beyond");
    }

    #[test]
    fn what_has_crashed_is_handed_out_alone() {
        let mut memory = Memory::new(1_000);
        for (customer, seq) in [("anna", 1), ("anna", 2), ("bert", 3), ("carl", 4)] {
            memory.apply(Change::Crashes { seq, count: u32::from(seq != 4) });
            arrive(&mut memory, customer, seq);
        }
        let anna = memory.next_alone().unwrap();
        assert_eq!(memory.fly(&anna, Flight::default(), 100), (vec![1], Some(2)));
        assert_eq!(memory.next_alone(), None);
        assert_eq!(memory.next_ready().as_deref(), Some("carl"));
        free(&mut memory, "anna", vec![1]);
        let anna = memory.next_alone().unwrap();
        assert_eq!(memory.fly(&anna, Flight::default(), 100), (vec![2], None));
        free(&mut memory, "anna", vec![2]);
        assert_eq!(memory.next_alone().as_deref(), Some("bert"));
    }

    #[test]
    fn what_has_crashed_least_is_handed_out_first() {
        let mut memory = Memory::new(1_000);
        for (customer, seq, count) in [("anna", 1, 2), ("bert", 2, 1), ("carl", 3, 1)] {
            memory.apply(Change::Crashes { seq, count });
            arrive(&mut memory, customer, seq);
        }
        let mut order = Vec::new();
        for count in [2, 2, 3] {
            let who = memory.next_alone().unwrap();
            let (seqs, _) = memory.fly(&who, Flight::default(), 100);
            order.push(who.to_string());
            // It was in hand once more, and is given back.
            memory.apply(Change::Crashes { seq: seqs[0], count });
            free(&mut memory, &who, vec![]);
        }
        assert_eq!(order, ["bert", "carl", "anna"]);
        let left: Vec<&str> = memory.alone.iter().map(|(_, _, who)| &**who).collect();
        assert_eq!((left, memory.claimable()), (vec!["bert", "carl", "anna"], 3));
    }

    #[test]
    fn a_wake_behind_the_position_brings_it_back() {
        let mut memory = Memory::new(1_000);
        memory.wakes.at = (500, 7);
        memory.apply(Change::Freed { customer: Arc::from("anna"), num: 3, consumed: vec![], wake: Some(100), recent: None });
        assert_eq!((memory.wakes.at, memory.wakes.next), ((100, 2), 100));
        memory.apply(Change::Freed { customer: Arc::from("bert"), num: 4, consumed: vec![], wake: Some(900), recent: None });
        assert_eq!((memory.wakes.at, memory.wakes.next), ((100, 2), 100));
    }
}
