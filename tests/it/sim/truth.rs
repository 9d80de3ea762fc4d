//! The model of a store: plain maps in memory, one step after the other, nothing clever. What it does is what
//! the trait's documentation says; the contract suite runs over it as over every store.
//!
//! Several workers use it at the same time, each under an epoch of its own. Claims of customers are hints:
//! they may be taken away at any time. Hand-outs of effects are not: when a worker is presumed dead its
//! epoch is fenced, and it can do nothing more.

use super::bug::Bug;
use autofunnel::effect::Effect;
use autofunnel::event::address::Address;
use autofunnel::event::{Input, InputBody};
use autofunnel::fact::Fact;
use autofunnel::lang::time::{MINUTE_MS, Time};
use autofunnel::step::winner::Winner;
use autofunnel::store::applied::Applied;
use autofunnel::store::pause::Pauses;
use autofunnel::store::read::{KeptMessage, QuarantineRow};
use autofunnel::store::{
    Accepted, Bundle, CLAIM_CUSTOMERS_MAX, CLAIM_INPUTS_MAX, Claim, CustomerRow, Fate, NewInput, QUARANTINE_AFTER, Queued,
    Record, RunRow, TokenRow,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod addresses;
mod commit;
mod keep;
mod outbox;
mod pause;

/// How long a customer whose turn failed without any input is left alone, in milliseconds.
const WAKE_FAULT_MS: i64 = MINUTE_MS;
/// What stands in place of an input when a turn failed that had none.
const HER_WAKE: &str = "\"her wake\"";
/// How early the planted bug wakes, in milliseconds.
const EARLY_MS: i64 = MINUTE_MS;

/// A customer.
#[derive(Default)]
pub struct Row {
    /// Her record.
    pub record: Record,
    /// The account before the last change, for a planted bug.
    old_account: Vec<u8>,
    /// Her next wake.
    pub wake: Option<Time>,
    /// Which definitions judged her.
    pub judged: String,
    /// What lists show of her.
    pub index: CustomerRow,
    /// Turns that failed in a row without an input to blame.
    wake_faults: u32,
}

/// An input.
struct Letter {
    customer: String,
    input: Input,
    /// Crashes counted against it.
    crashes: u32,
    /// A worker died that had it.
    suspect: bool,
}

/// An effect in the outbox.
pub struct Out {
    /// The effect.
    pub effect: Effect,
    /// When it is to be handed out.
    pub due: Time,
    /// Attempts begun.
    pub attempts: u32,
    /// Why it waits.
    pub why: String,
    owner: Option<u64>,
    /// Number of the hand-out; 0: from birth.
    ticket: u64,
    sending: bool,
    begun: Option<Time>,
    unsure: Option<Time>,
    digest: Option<Vec<u8>>,
}

impl Out {
    /// Whether it may have had its effect.
    fn has_begun(&self) -> bool {
        self.sending || self.unsure.is_some()
    }
}

/// Who has a customer.
struct Held {
    epoch: u64,
    /// The inputs that were handed out.
    seqs: Vec<u64>,
    /// Those of them that were counted as suspects.
    counted: Vec<u64>,
    alone: bool,
}

/// A fact with its place.
pub struct Told {
    /// Position.
    pub seq: u64,
    /// Place in its turn.
    pub index: u32,
    /// Whose.
    pub customer: String,
    /// The fact.
    pub fact: Fact,
    written: Time,
}

/// Day, funnel, version, step, variant, fact.
pub type FigureKey = (String, [String; 6]);

/// Everything.
pub struct Truth {
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
    latest: Time,
    numbers: u64,
    /// What is broken on purpose.
    pub bug: Option<Bug>,
    /// Most inputs of one claim.
    pub inputs_most: usize,
    seen: BTreeMap<(String, String, String), (u32, Time)>,
    inbox: BTreeMap<u64, Letter>,
    held: BTreeMap<String, Held>,
    erased: BTreeSet<String>,
    nudged: Vec<String>,
    fenced: BTreeSet<u64>,
    /// Customers.
    pub rows: BTreeMap<String, Row>,
    /// Effects by number.
    pub outbox: BTreeMap<u64, Out>,
    /// Facts.
    pub facts: Vec<Told>,
    /// Figures.
    pub figures: BTreeMap<FigureKey, (i64, i64)>,
    /// Runs by customer and number.
    pub runs: BTreeMap<(String, u64), RunRow>,
    /// Kept messages.
    pub messages: Vec<KeptMessage>,
    /// Inputs put aside.
    pub quarantine: Vec<QuarantineRow>,
    /// Tokens.
    pub tokens: BTreeMap<Vec<u8>, TokenRow>,
    pauses: Pauses,
    /// What was taken of quantities.
    quantities: BTreeMap<String, i64>,
    definitions: Vec<(Bundle, Vec<(String, String)>)>,
    /// What was applied, oldest first.
    pub applied: Vec<Applied>,
    /// Winners of splits.
    pub winners: Vec<Winner>,
    addresses: BTreeMap<Address, addresses::Known>,
    /// Effects by the providers' own ids.
    pub references: BTreeMap<Address, String>,
}

impl Truth {
    /// Nothing yet.
    pub fn new(clock: Arc<dyn Fn() -> Time + Send + Sync>) -> Truth {
        Truth {
            clock,
            latest: Time(i64::MIN),
            numbers: 0,
            bug: None,
            inputs_most: CLAIM_INPUTS_MAX,
            seen: BTreeMap::new(),
            inbox: BTreeMap::new(),
            held: BTreeMap::new(),
            erased: BTreeSet::new(),
            nudged: Vec::new(),
            fenced: BTreeSet::new(),
            rows: BTreeMap::new(),
            outbox: BTreeMap::new(),
            facts: Vec::new(),
            figures: BTreeMap::new(),
            runs: BTreeMap::new(),
            messages: Vec::new(),
            quarantine: Vec::new(),
            tokens: BTreeMap::new(),
            pauses: Pauses::default(),
            quantities: BTreeMap::new(),
            definitions: Vec::new(),
            applied: Vec::new(),
            winners: Vec::new(),
            addresses: BTreeMap::new(),
            references: BTreeMap::new(),
        }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// The clock; it never goes back.
    pub fn now(&mut self) -> Time {
        let shown = (self.clock)();
        self.latest = if self.is(Bug::ClockGoesBack) { shown } else { self.latest.max(shown) };
        self.latest
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Whether this epoch may do nothing more.
    pub fn is_fenced(&self, epoch: u64) -> bool {
        self.fenced.contains(&epoch)
    }

    // ---- the way in ----

    /// See [`autofunnel::store::Store::accept`].
    pub fn accept(&mut self, inputs: Vec<NewInput>) -> Vec<Accepted> {
        inputs.into_iter().map(|input| self.accept_one(input)).collect()
    }

    fn accept_one(&mut self, input: NewInput) -> Accepted {
        let now = self.now();
        if let Some(id) = input.id.filter(|_| !self.is(Bug::NoDeduplication)) {
            let key = (input.source, input.customer.clone(), id);
            if let Some((digest, _)) = self.seen.get(&key) {
                return if *digest == input.digest { Accepted::Duplicate } else { Accepted::Conflict };
            }
            self.seen.insert(key, (input.digest, now));
        }
        let takes_away = input.body.raises_gate();
        if let Some(row) = self.rows.get_mut(&input.customer).filter(|_| takes_away) {
            row.record.gate += 1;
        }
        if self.is(Bug::AcceptLost) && self.numbers.is_multiple_of(50) {
            self.number();
            return Accepted::New;
        }
        self.put_in(input.customer, input.body);
        Accepted::New
    }

    fn put_in(&mut self, customer: String, body: InputBody) {
        let (accepted_at, seq) = (self.now(), self.number());
        let input = Input { accepted_at, body };
        self.inbox.insert(seq, Letter { customer, input, crashes: 0, suspect: false });
    }

    fn has_unread(&self, customer: &str) -> bool {
        self.inbox.values().any(|letter| letter.customer == customer)
    }

    // ---- customers ----

    /// See [`autofunnel::store::Store::claim`].
    pub fn claim(&mut self, epoch: u64, max: usize) -> Vec<Claim> {
        let now = self.now();
        if max == 0 {
            return Vec::new();
        }
        // Of each customer the oldest input, in the order of acceptance.
        let mut heads: Vec<(String, u32)> = Vec::new();
        for letter in self.inbox.values() {
            if !heads.iter().any(|(customer, _)| *customer == letter.customer) {
                heads.push((letter.customer.clone(), letter.crashes));
            }
        }
        let held: BTreeSet<String> = self.held.keys().cloned().collect();
        // What has crashed goes alone, the least often first.
        let crashed = heads.iter().filter(|(customer, crashes)| *crashes > 0 && !held.contains(customer));
        if let Some((customer, _)) =
            crashed.min_by_key(|(_, crashes)| *crashes).filter(|_| !self.held.values().any(|held| held.alone))
        {
            return vec![self.hand_out(epoch, customer, true)];
        }
        let until = if self.is(Bug::EarlyTimer) { now.plus_ms(EARLY_MS) } else { now };
        let due = self.rows.iter().filter_map(|(id, row)| Some((row.wake.filter(|wake| *wake <= until)?, id.clone())));
        let mut due: Vec<(Time, String)> = due.collect();
        due.sort();
        let wakes = due.into_iter().map(|(_, customer)| customer);
        let inputs = heads.iter().map(|(customer, _)| customer.clone());
        let mut order: Vec<String> = Vec::new();
        for customer in wakes.chain(inputs).chain(self.nudged.iter().cloned()) {
            if !held.contains(&customer)
                && heads.iter().all(|(head, crashes)| *head != customer || *crashes == 0)
                && !order.contains(&customer)
            {
                order.push(customer);
            }
        }
        order.truncate(max.min(CLAIM_CUSTOMERS_MAX));
        order.iter().map(|customer| self.hand_out(epoch, customer, false)).collect()
    }

    fn hand_out(&mut self, epoch: u64, customer: &str, alone: bool) -> Claim {
        let (now, most) = (self.now(), if alone { 1 } else { self.inputs_most });
        let mine = self.inbox.iter_mut().filter(|(_, letter)| letter.customer == customer);
        let (mut inputs, mut counted) = (Vec::new(), Vec::new());
        for (seq, letter) in mine.take_while(|(_, letter)| alone || letter.crashes == 0).take(most) {
            if letter.suspect {
                letter.crashes += 1;
                counted.push(*seq);
            }
            inputs.push(Queued { seq: *seq, input: letter.input.clone() });
        }
        if self.is(Bug::NewestFirst) {
            inputs.reverse();
        }
        let seqs = inputs.iter().map(|queued| queued.seq).collect();
        self.held.insert(customer.to_owned(), Held { epoch, seqs, counted, alone });
        let mut unread = self.inbox.values().filter(|letter| letter.customer == customer);
        let more_from = unread.nth(inputs.len()).map(|letter| letter.input.accepted_at);
        let more_from = more_from.filter(|_| !self.is(Bug::MoreNotTold));
        Claim { customer: customer.to_owned(), record: self.record_of(customer), inputs, more_from, now }
    }

    fn record_of(&self, customer: &str) -> Record {
        let Some(row) = self.rows.get(customer) else {
            return Record { erased: self.erased.contains(customer), ..Record::default() };
        };
        let mut record = row.record.clone();
        if self.is(Bug::OldAccount) {
            record.account = row.old_account.clone();
        }
        record
    }

    /// See [`autofunnel::store::Store::take`].
    pub fn take(&mut self, epoch: u64, customer: &str) -> Option<Claim> {
        let busy = self.held.contains_key(customer) || self.has_unread(customer);
        (!busy).then(|| self.hand_out(epoch, customer, false))
    }

    /// Frees a customer; what was counted against inputs that did no harm is taken back.
    fn free(&mut self, epoch: u64, customer: &str, culprit: Option<u64>) {
        if self.held.get(customer).is_none_or(|held| held.epoch != epoch) {
            return;
        }
        let counted = self.held.remove(customer).map(|held| held.counted).unwrap_or_default();
        for seq in counted.iter().filter(|seq| Some(**seq) != culprit) {
            if let Some(letter) = self.inbox.get_mut(seq) {
                letter.crashes -= 1;
            }
        }
    }

    /// See [`autofunnel::store::Store::release`].
    pub fn release(&mut self, epoch: u64, customers: &[String]) {
        for customer in customers {
            if let Some(row) = self.rows.get_mut(customer).filter(|_| self.bug == Some(Bug::LostWake)) {
                row.wake = None;
            }
            self.free(epoch, customer, None);
        }
    }

    /// See [`autofunnel::store::Store::fault`].
    pub fn fault(&mut self, epoch: u64, customer: &str, seq: Option<u64>, cause: &str) {
        let now = self.now();
        let handed = self.held.get(customer).and_then(|held| held.seqs.first().copied());
        let culprit = seq.or(handed);
        match culprit {
            Some(seq) => {
                let counted = self.held.get(customer).is_some_and(|held| held.counted.contains(&seq));
                if let Some(letter) = self.inbox.get_mut(&seq) {
                    letter.crashes += u32::from(!counted);
                    if letter.crashes >= QUARANTINE_AFTER {
                        self.put_aside(seq, cause);
                    }
                }
            }
            None => {
                if let Some(row) = self.rows.get_mut(customer) {
                    let until = now.plus_ms(WAKE_FAULT_MS);
                    row.wake = row.wake.map(|wake| wake.max(until));
                    row.wake_faults += 1;
                    if row.wake_faults == QUARANTINE_AFTER {
                        let seq = self.number();
                        self.list(seq, customer.to_owned(), HER_WAKE.to_owned(), cause);
                    }
                }
            }
        }
        self.free(epoch, customer, culprit);
    }

    fn put_aside(&mut self, seq: u64, cause: &str) {
        if let Some(letter) = self.inbox.remove(&seq) {
            self.list(seq, letter.customer, serde_json::to_string(&letter.input).unwrap(), cause);
        }
    }

    fn list(&mut self, seq: u64, customer: String, input: String, cause: &str) {
        let at = self.now();
        self.quarantine.push(QuarantineRow { seq, customer, input, cause: cause.to_owned(), at });
    }

    /// See [`autofunnel::store::Store::unquarantine`].
    pub fn unquarantine(&mut self, customer: &str, seq: u64, fate: Fate) -> bool {
        let Some(at) = self.quarantine.iter().position(|row| row.seq == seq && row.customer == customer) else { return false };
        let row = self.quarantine.remove(at);
        if fate == Fate::Retry && row.input != HER_WAKE {
            let input: Input = serde_json::from_str(&row.input).unwrap();
            self.put_in(row.customer, input.body);
        }
        true
    }
}

/// Whether a run is still going.
pub fn is_live(run: &RunRow) -> bool {
    !matches!(run.state.as_str(), "finished" | "exited" | "stopped")
}
