//! The judge: sees what the store answered and what the provider was asked, in the moment in which it
//! happens, and knows from the promises alone what may come next. It never asks the store what is right.

use super::story::POISON;
use autofunnel::customer::{Customer, DOCUMENT_BYTES_MAX, codec};
use autofunnel::effect::{Effect, EffectKind, Outcome};
use autofunnel::event::{Input, InputBody};
use autofunnel::fact::Fact;
use autofunnel::lang::time::{Time, Zone};
use autofunnel::store::pause::{PAUSED, Pauses, RECHECK_MS, Under};
use autofunnel::store::read::QuarantineRow;
use autofunnel::store::{Begin, Commit, Committed, Delivery, Retry};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use word::bonus_of;

mod inward;
mod outward;
mod word;

/// What must come out of an inbox next.
#[derive(Clone, Debug)]
pub enum Expected {
    /// This very input.
    Input(Box<InputBody>),
    /// The effect is to be decided anew.
    Anew(String),
    /// What may have happened is unknown for good.
    Unknown(String),
}

impl Expected {
    fn is(&self, body: &InputBody) -> bool {
        match (self, body) {
            (Expected::Input(expected), body) => **expected == *body,
            (Expected::Anew(id), InputBody::Stale { effect, .. }) => effect == id,
            (Expected::Unknown(id), InputBody::Result { effect, outcome: Outcome::Unknown { .. } }) => effect == id,
            _ => false,
        }
    }
}

/// What is known of a customer.
#[derive(Default)]
pub struct Her {
    /// Version of the last commit.
    pub version: u64,
    /// Her document after it.
    pub document: Vec<u8>,
    /// Her account after it.
    pub account: Vec<u8>,
    /// Her wake after it.
    pub wake: Option<Time>,
    /// In her inbox, never handed out yet.
    pub unseen: VecDeque<(Time, Expected)>,
    /// In her inbox, handed out and not consumed.
    pub open: BTreeMap<u64, (Time, Expected)>,
    /// Everything that commits told of her.
    pub facts: Vec<Fact>,
    /// Orders of purchases that were accepted in time to start a run.
    pub orders: BTreeSet<String>,
    /// Those purchases, by id.
    pub purchases: BTreeSet<String>,
    /// She is to be looked at though nothing happened.
    pub nudged: bool,
    /// Inputs of hers were put aside.
    pub put_aside: usize,
    /// A change of her zone was put aside.
    moved_aside: bool,
    /// Effects whose answers were put aside.
    pub answers_aside: BTreeSet<String>,
    /// Words of others that were put aside.
    pub words_aside: usize,
    /// What a person has said to steps of hers, by run and step.
    words: BTreeMap<String, bool>,
    last_seq: u64,
    last_now: Time,
    known: BTreeMap<(String, String), u32>,
    consent: BTreeMap<String, bool>,
    zone: Option<Zone>,
}

impl Her {
    /// Inputs that no commit has consumed.
    pub fn unread(&self) -> usize {
        self.unseen.len() + self.open.len()
    }
}

/// An effect in the outbox.
pub struct Shadow {
    /// The effect.
    pub effect: Effect,
    /// The worker that has it, and the number of its hand-out.
    hand: Option<(usize, u64)>,
    sending: bool,
    unsure: bool,
    attempts: u32,
    digest: Option<Vec<u8>>,
    due: Time,
    /// It waits for the end of a pause.
    paused: bool,
}

/// What the provider saw of one effect.
#[derive(Default)]
pub struct Seen {
    /// When it took hold, each time.
    pub held: Vec<Time>,
    /// It was refused.
    pub refused: bool,
    /// Attempts whose fate the engine cannot know.
    pub doubtful: usize,
    /// The first body's digest.
    pub digest: Vec<u8>,
}

/// See the module.
#[derive(Default)]
pub struct Judge {
    /// What must not be.
    pub wrong: Vec<String>,
    /// Customers.
    pub hers: BTreeMap<String, Her>,
    /// The outbox as it must be.
    pub outbox: HashMap<String, Shadow>,
    /// The provider's journal, by effect.
    pub seen: BTreeMap<String, Seen>,
    /// Every effect that was ever planned.
    pub planned: BTreeMap<String, Effect>,
    /// First instants at which attempts began.
    pub began: BTreeMap<String, Time>,
    /// What is paused.
    pub pauses: Pauses,
    /// Points that were given out of the budget, by who books them.
    spent: BTreeMap<&'static str, i64>,
    listed: usize,
    /// One worker at a time.
    embedded: bool,
}

/// An effect's id without the number of its decision.
pub fn base(id: &str) -> &str {
    let step = id.rfind('/').map_or(0, |at| at + 1);
    id[step..].find('.').map_or(id, |dot| &id[..step + dot])
}

/// The provider of an effect; `account` for the built-in one.
pub fn provider_of(effect: &Effect) -> &str {
    match &effect.kind {
        EffectKind::Tell(_) => "another customer",
        _ => effect.provider().unwrap_or("account"),
    }
}

impl Judge {
    /// Before anything has happened.
    pub fn new(embedded: bool) -> Judge {
        Judge { embedded, ..Judge::default() }
    }

    /// Everything that was ever planned for a customer.
    pub fn planned_for(&self, customer: &str) -> impl Iterator<Item = &Effect> {
        self.planned.range(format!("{customer}/")..format!("{customer}0")).map(|(_, effect)| effect)
    }

    /// Something is not as it must be.
    pub fn blame(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// The store answered a commit.
    pub fn committed(&mut self, worker: usize, now: Time, commit: Commit, answer: Committed, lost: bool) {
        let id = commit.customer.clone();
        let her = self.hers.entry(id.clone()).or_default();
        let there = commit.settled.as_ref().is_none_or(|effect| self.outbox.contains_key(effect))
            && commit.consumed.iter().all(|seq| her.open.contains_key(seq));
        let right = if her.version == commit.base && there { Committed::Done } else { Committed::Conflict };
        let books = commit.settled.as_ref().filter(|_| commit.books).and_then(|effect| self.outbox.get(effect));
        let paused = books.is_some_and(|shadow| self.pauses.hold(Under::of(&shadow.effect)));
        if paused && (answer == Committed::Paused || right == Committed::Done) {
            if answer != Committed::Paused {
                self.blame(format!("commit of {id}: {answer:?}; what it books is paused"));
            }
            return;
        }
        if answer != right {
            let seen = her.version;
            return self.blame(format!(
                "commit of {id}: {answer:?} on version {}, hers is {seen}, and what it settles and consumes is {}",
                commit.base,
                if there { "there" } else { "gone" }
            ));
        }
        if answer == Committed::Conflict {
            return;
        }
        her.version += 1;
        her.nudged = false;
        her.document = commit.document;
        her.account = commit.account.unwrap_or_else(|| std::mem::take(&mut her.account));
        her.wake = commit.wake;
        her.facts.extend(commit.facts.iter().cloned());
        let twice = commit.consumed.iter().find(|seq| her.open.remove(seq).is_none()).copied();
        // Time does not go on past an input that waits.
        let waiting = her.open.values().chain(&her.unseen).map(|(at, _)| *at).next();
        let went_on = waiting.and_then(|waiting| document(her).map(|customer| (waiting, customer)));
        let went_on = went_on.filter(|(waiting, customer)| customer.now > *waiting);
        let bytes = her.document.len();
        // Only what a blocked bank has parked goes again.
        let again = commit.effects.iter().any(|effect| self.planned.contains_key(&effect.id));
        let parked = if again { document(her).map(|her| her.parked).unwrap_or_default() } else { Vec::new() };
        if let Some(seq) = twice {
            self.blame(format!("commit of {id}: input {seq} was consumed twice"));
        }
        if bytes > DOCUMENT_BYTES_MAX {
            self.blame(format!("commit of {id}: her document has {bytes} bytes"));
        }
        if let Some((waiting, customer)) = went_on {
            self.blame(format!("commit of {id}: time went on to {} past an input of {waiting}", customer.now));
        }
        self.spends("account", commit.facts.iter().filter_map(bonus_of).sum());
        for effect in &commit.effects {
            self.was_looked_at(effect);
        }
        for effect in commit.settled.iter().chain(&commit.withdrawn) {
            let withdrawn = commit.settled.as_ref() != Some(effect);
            if !withdrawn || self.outbox.get(effect).is_some_and(|shadow| !shadow.sending && !shadow.unsure) {
                self.outbox.remove(effect);
            }
        }
        for effect in commit.effects {
            let before = self.planned.insert(effect.id.clone(), effect.clone());
            // And then as it was.
            let is_parked = parked.iter().any(|one| one.grant.id == effect.id);
            let again = |before: &Effect| is_parked && Effect { gate: before.gate, ..effect.clone() } == *before;
            if before.is_some_and(|before| !again(&before)) {
                self.blame(format!("commit of {id}: the effect {} is planned twice", effect.id));
            }
            let hand = (commit.hand_over && !lost).then_some((worker, 0));
            let shadow =
                Shadow { hand, sending: false, unsure: false, attempts: 0, digest: None, due: now, paused: false, effect };
            self.outbox.insert(shadow.effect.id.clone(), shadow);
        }
    }

    /// These are to be looked at under other definitions.
    pub fn nudged(&mut self, customers: &[String]) {
        for customer in customers {
            self.hers.entry(customer.clone()).or_default().nudged = true;
        }
    }

    /// Whether one of these inputs of hers ends whoever consumes it.
    pub fn is_poison(&self, customer: &str, seqs: &[u64]) -> bool {
        let deadly = |(_, expected): &(Time, Expected)| matches!(expected, Expected::Input(body) if matches!(&**body, InputBody::Event(event) if event.name == POISON));
        self.hers.get(customer).is_some_and(|her| seqs.iter().any(|seq| her.open.get(seq).is_some_and(deadly)))
    }

    /// The store handed out an effect.
    pub fn handed_out(&mut self, worker: usize, now: Time, delivery: &Delivery, lost: bool) {
        let id = &delivery.effect.id;
        let Some(shadow) = self.outbox.get_mut(id) else {
            return self.blame(format!("{id} was handed out and is not in the outbox"));
        };
        let told = (delivery.ambiguous, delivery.attempts, &delivery.body_digest);
        let wrong = if shadow.hand.is_some() || shadow.sending {
            Some("a worker has it".to_owned())
        } else if shadow.due > now {
            Some(format!("it is due {}", shadow.due))
        } else if told != (shadow.unsure, shadow.attempts, &shadow.digest) {
            Some(format!("told {told:?}, it is {:?}", (shadow.unsure, shadow.attempts, &shadow.digest)))
        } else {
            None
        };
        shadow.hand = (!lost).then_some((worker, delivery.ticket));
        if let Some(wrong) = wrong {
            self.blame(format!("{id} was handed out at {now}: {wrong}"));
        }
    }

    /// The last gate answered.
    pub fn begun(&mut self, hand: (usize, u64), now: Time, id: &str, digest: Vec<u8>, begun: &Begin) {
        let Some(shadow) = self.outbox.get_mut(id) else {
            if *begun != Begin::Gone {
                self.blame(format!("{id} began ({begun:?}) and is not in the outbox: withdrawn, answered or never planned"));
            }
            return;
        };
        let customer = shadow.effect.customer.clone();
        if (shadow.hand == Some(hand)) == (*begun == Begin::Gone) {
            let has = shadow.hand;
            return self.blame(format!("{id} was begun by {hand:?}: {begun:?}; {has:?} has it"));
        }
        match begun {
            Begin::Gone => {}
            Begin::Paused => {
                let recheck = now.plus_ms(RECHECK_MS);
                let due = shadow.effect.valid_until.map_or(recheck, |until| recheck.min(until.plus_ms(1)));
                (shadow.hand, shadow.sending, shadow.due, shadow.paused) = (None, false, due, true);
                if !self.pauses.hold(Under::of(&shadow.effect)) {
                    self.blame(format!("{id} is paused; nobody has paused it"));
                }
            }
            Begin::TurnFirst => (shadow.hand, shadow.sending, shadow.due) = (None, false, now),
            Begin::Stale => {
                let anew = if shadow.unsure { Expected::Unknown(id.to_owned()) } else { Expected::Anew(id.to_owned()) };
                self.outbox.remove(id);
                self.hers.entry(customer).or_default().unseen.push_back((now, anew));
            }
            Begin::Go { attempt } => {
                // Asked again in the same hand-out it is the same attempt.
                shadow.attempts += u32::from(!shadow.sending);
                shadow.sending = true;
                shadow.digest.get_or_insert(digest);
                let attempts = shadow.attempts;
                self.began.entry(id.to_owned()).or_insert(now);
                if attempts != *attempt {
                    self.blame(format!("{id}: attempt {attempt}; attempt {attempts} was to come"));
                }
                self.may_begin(now, id);
            }
        }
    }

    /// An effect goes back.
    pub fn put_back(&mut self, worker: usize, retry: &Retry) {
        let hand = Some((worker, retry.ticket));
        if let Some(shadow) = self.outbox.get_mut(&retry.effect).filter(|shadow| shadow.hand == hand) {
            (shadow.hand, shadow.sending, shadow.due) = (None, false, retry.due);
            shadow.paused = retry.why == PAUSED;
            shadow.unsure |= retry.ambiguous;
        }
    }

    /// An effect was answered.
    pub fn settled(&mut self, now: Time, effect: &str, outcome: Outcome) {
        if let Some(shadow) = self.outbox.remove(effect) {
            let body = InputBody::Result { effect: effect.to_owned(), outcome };
            self.hers.entry(shadow.effect.customer).or_default().unseen.push_back((now, Expected::Input(Box::new(body))));
        }
    }

    /// A worker is presumed dead.
    pub fn buried(&mut self, worker: usize, now: Time) {
        if self.embedded {
            // Started anew it shows the machine's clock, which may have been set back; her document knows better.
            self.hers.values_mut().for_each(|her| her.last_now = now);
        }
        for (id, shadow) in self.outbox.iter_mut().filter(|(_, shadow)| shadow.hand.is_some_and(|(owner, _)| owner == worker)) {
            shadow.unsure |= shadow.sending;
            // It has asked, or will still ask: the engine cannot know.
            if shadow.sending {
                self.seen.entry(id.clone()).or_default().doubtful += 1;
            }
            (shadow.hand, shadow.sending, shadow.due) = (None, false, shadow.due.min(now));
        }
    }

    /// Inputs were put aside: they are on a list, and so not lost.
    pub fn put_aside(&mut self, rows: &[QuarantineRow]) -> usize {
        let new = rows.len().saturating_sub(self.listed);
        self.listed = rows.len();
        for row in rows.iter().take(new) {
            let Ok(input) = serde_json::from_str::<Input>(&row.input) else { continue };
            let her = self.hers.entry(row.customer.clone()).or_default();
            let found = her.open.iter().find(|(_, (_, expected))| expected.is(&input.body)).map(|(seq, _)| *seq);
            her.put_aside += 1;
            match &input.body {
                InputBody::Told(_) => her.words_aside += 1,
                InputBody::Result { effect, .. } | InputBody::Stale { effect, .. } => {
                    her.answers_aside.insert(effect.clone());
                }
                // Where she is now waits on the list for a person: the engine cannot know.
                InputBody::Profile(change) if change.profile.contains_key("zone") => her.moved_aside = true,
                _ => {}
            }
            if found.and_then(|seq| her.open.remove(&seq)).is_none() {
                self.blame(format!("an input of {} was put aside that she does not have: {}", row.customer, row.input));
            }
        }
        new
    }
}

/// A document, decoded.
pub fn document(her: &Her) -> Option<Customer> {
    codec::decode(&her.document).ok()
}
