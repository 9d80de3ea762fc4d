//! What this process has in hand, and where it expects work.
//!
//! Redis keeps what is durable. Who is claimed here, which effects are out, and at what instant a shard has
//! to be looked at again is known in memory: a shard has one owner at a time, and when that ends the next
//! owner finds everything that was in hand again at the end of its lease.

use super::super::pause::Under;
use super::super::{Claim, Record};
use super::key::SHARDS;
use super::recent::Recent;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Never.
pub const NEVER: i64 = i64::MAX;
/// Nobody knows when: the shard has to be asked.
pub const UNKNOWN: i64 = i64::MIN;

/// A claimed customer, with what her commit or release needs.
#[derive(Clone, Debug, Default)]
pub struct Flight {
    /// The epoch in which her shard was owned when she was claimed.
    pub epoch: u64,
    /// Her place in the index of wakes, as it was; empty: none.
    pub wake_at: String,
    /// Her place among those that are ready, as it was; empty: none.
    pub ready_at: String,
    /// The inputs handed out, by number.
    pub inputs: Vec<u64>,
    /// Inputs whose crash counter was raised for this claim.
    pub counted: Vec<u64>,
    /// Digest of her line in the list of customers.
    pub shown: u64,
    /// Her account.
    pub account: Arc<[u8]>,
    /// Claimed for an effect's answer: her inbox was empty and has to be so at the commit.
    pub taken: bool,
}

/// An effect that is out.
#[derive(Clone, Debug)]
pub struct EffectFlight {
    /// Its shard.
    pub shard: u16,
    /// Whose.
    pub customer: Arc<str>,
    /// Since when an attempt is of unknown fate, in milliseconds; 0: none is.
    pub unsure: i64,
    /// Number of this hand-out; 0: handed out from birth.
    pub ticket: u64,
    /// By what it can be paused.
    pub under: Under,
    /// Whether it and its customer's record are small enough to be read whole where only their heads are asked for.
    pub small: bool,
}

/// A claim that waits to be handed out alone, because its first input has crashed before.
#[derive(Clone, Debug)]
pub struct Alone {
    /// Crashes so far.
    pub crashes: u32,
    /// The input.
    pub seq: u64,
    /// The claim, with that input only.
    pub claim: Claim,
}

/// One shard, as this process sees it.
#[derive(Clone, Debug)]
pub struct Shard {
    /// The epoch in which it is ours; `None`: it is not.
    pub epoch: Option<u64>,
    /// It is to be given up: nothing is claimed from it any more.
    pub leaving: bool,
    /// The earliest due wake that may be there, in milliseconds.
    pub wake_at: i64,
    /// Since when somebody may be ready.
    pub ready_at: i64,
    /// Customers that are known to have become ready since the last look.
    pub ready: usize,
    /// The earliest due effect that may be there.
    pub effect_at: i64,
}

/// See the module.
pub struct Memory {
    /// All shards by number.
    pub shards: Vec<Shard>,
    /// Claimed customers.
    pub customers: HashMap<Arc<str>, Flight>,
    /// Effects that are out.
    pub effects: HashMap<String, EffectFlight>,
    /// Number of the last hand-out.
    pub tickets: u64,
    /// Records that will be asked for in a moment.
    pub recent: Recent,
    /// Crash counters by input.
    pub crashes: HashMap<(u16, u64), u32>,
    /// Claims to be handed out one at a time.
    pub alone: VecDeque<Alone>,
    /// Who is out alone.
    pub alone_out: Option<Arc<str>>,
    /// Failed turns of customers without inputs.
    pub wake_faults: HashMap<Arc<str>, u32>,
}

impl Memory {
    /// Nothing is owned or out.
    pub fn new(recent_bytes: usize) -> Memory {
        let shard = Shard { epoch: None, leaving: false, wake_at: NEVER, ready_at: NEVER, ready: 0, effect_at: NEVER };
        Memory {
            shards: vec![shard; usize::from(SHARDS)],
            customers: HashMap::new(),
            effects: HashMap::new(),
            tickets: 0,
            recent: Recent::new(recent_bytes),
            crashes: HashMap::new(),
            alone: VecDeque::new(),
            alone_out: None,
            wake_faults: HashMap::new(),
        }
    }

    /// A shard.
    pub fn shard(&mut self, shard: u16) -> &mut Shard {
        &mut self.shards[usize::from(shard)]
    }

    /// The epoch in which a shard is ours.
    pub fn epoch(&self, shard: u16) -> Option<u64> {
        self.shards[usize::from(shard)].epoch
    }

    /// Somebody of a shard became ready.
    pub fn ready(&mut self, shard: u16, since: i64) {
        let shard = self.shard(shard);
        if shard.epoch.is_some() {
            shard.ready_at = shard.ready_at.min(since);
            shard.ready += 1;
        }
    }

    /// A wake was set.
    pub fn wakes(&mut self, shard: u16, due: i64) {
        let shard = self.shard(shard);
        shard.wake_at = shard.wake_at.min(due);
    }

    /// An effect will be due.
    pub fn effect_due(&mut self, shard: u16, due: i64) {
        let shard = self.shard(shard);
        shard.effect_at = shard.effect_at.min(due);
    }

    /// The earliest instant at which there may be customers to claim.
    pub fn turns_at(&self) -> i64 {
        if self.alone_out.is_none() && !self.alone.is_empty() {
            return UNKNOWN;
        }
        let ours = self.shards.iter().filter(|shard| shard.epoch.is_some() && !shard.leaving);
        ours.map(|shard| shard.wake_at.min(shard.ready_at)).min().unwrap_or(NEVER)
    }

    /// The earliest instant at which there may be effects to claim.
    pub fn effects_at(&self) -> i64 {
        let ours = self.shards.iter().filter(|shard| shard.epoch.is_some() && !shard.leaving);
        ours.map(|shard| shard.effect_at).min().unwrap_or(NEVER)
    }

    /// Shards to look at for turns, each with how many customers to take: due wakes first. Shards of which
    /// nothing is known are only asked when they have something (nobody is taken).
    pub fn turns_due(&mut self, now: i64, most: usize, each: usize) -> Vec<(u16, u64, usize)> {
        let mut due: Vec<(bool, i64, u16)> = Vec::new();
        for (number, shard) in (0..SHARDS).zip(&self.shards) {
            if shard.epoch.is_none() || shard.leaving {
                continue;
            }
            if shard.wake_at <= now {
                due.push((false, shard.wake_at, number));
            } else if shard.ready_at <= now {
                due.push((true, shard.ready_at, number));
            }
        }
        due.sort_unstable();
        let unknown = due.iter().any(|(_, at, _)| *at == UNKNOWN);
        due.retain(|(_, at, _)| !unknown || *at == UNKNOWN);
        let (mut chosen, mut expected) = (Vec::new(), 0);
        for (_, _, number) in due {
            if expected >= most {
                break;
            }
            let shard = self.shard(number);
            let likely = shard.ready.clamp(1, each);
            let Some(epoch) = shard.epoch else { continue };
            (shard.wake_at, shard.ready_at, shard.ready) = (NEVER, NEVER, 0);
            chosen.push((number, epoch, if unknown { 0 } else { likely.min(most - expected) }));
            expected += if unknown { 0 } else { likely };
        }
        chosen
    }

    /// Shards to look at for effects; whether they are only asked when they have something.
    pub fn effects_due(&mut self, now: i64, most: usize) -> (Vec<(u16, u64)>, bool) {
        let mut due: Vec<(i64, u16)> = Vec::new();
        for (number, shard) in (0..SHARDS).zip(&self.shards) {
            if shard.epoch.is_some() && !shard.leaving && shard.effect_at <= now {
                due.push((shard.effect_at, number));
            }
        }
        due.sort_unstable();
        let unknown = due.first().is_some_and(|(at, _)| *at == UNKNOWN);
        match unknown {
            true => due.retain(|(at, _)| *at == UNKNOWN),
            false => due.truncate(most),
        }
        let mut chosen = Vec::with_capacity(due.len());
        for (_, number) in due {
            let shard = self.shard(number);
            shard.effect_at = NEVER;
            chosen.extend(shard.epoch.map(|epoch| (number, epoch)));
        }
        (chosen, unknown)
    }

    /// A shard became ours, with the earliest wake, ready customer and effect in it.
    pub fn gained(&mut self, shard: u16, epoch: u64, at: (i64, i64, i64), crashes: Vec<(u64, u32)>) {
        let (wake_at, ready_at, effect_at) = at;
        *self.shard(shard) = Shard { epoch: Some(epoch), leaving: false, wake_at, ready_at, ready: 1, effect_at };
        self.crashes.extend(crashes.into_iter().map(|(seq, count)| ((shard, seq), count)));
    }

    /// A shard is not ours any more: what is out of it is out in vain.
    pub fn lost(&mut self, shard: u16, of: impl Fn(&str) -> u16) {
        let kept = self.shard(shard);
        kept.epoch = None;
        kept.leaving = false;
        self.customers.retain(|customer, _| of(customer) != shard);
        self.effects.retain(|_, flight| flight.shard != shard);
        self.crashes.retain(|(of, _), _| *of != shard);
        self.recent.retain(|customer| of(customer) != shard);
        self.alone.retain(|alone| of(&alone.claim.customer) != shard);
        if self.alone_out.as_ref().is_some_and(|customer| of(customer) == shard) {
            self.alone_out = None;
        }
    }

    /// Everything that may be there is looked at again: messages may have been missed.
    pub fn look_everywhere(&mut self) {
        for shard in self.shards.iter_mut().filter(|shard| shard.epoch.is_some()) {
            (shard.wake_at, shard.ready_at, shard.effect_at) = (UNKNOWN, UNKNOWN, UNKNOWN);
        }
    }

    /// No shard is to be given up any more; true: some were.
    pub fn stay(&mut self) -> bool {
        let mut some = false;
        for shard in self.shards.iter_mut().filter(|shard| shard.leaving) {
            (shard.leaving, shard.wake_at, shard.ready_at, shard.effect_at) = (false, UNKNOWN, UNKNOWN, UNKNOWN);
            some = true;
        }
        some
    }

    /// How many shards are ours.
    pub fn owned(&self) -> usize {
        self.shards.iter().filter(|shard| shard.epoch.is_some()).count()
    }

    /// A customer is not out any more.
    pub fn landed(&mut self, customer: &str) -> Option<Flight> {
        if self.alone_out.as_deref() == Some(customer) {
            self.alone_out = None;
        }
        self.customers.remove(customer)
    }

    /// An effect that is out under that ticket, and the epoch in which it is.
    pub fn out(&self, effect: &str, ticket: u64) -> Option<(EffectFlight, u64)> {
        let flight = self.effects.get(effect).filter(|flight| flight.ticket == ticket)?;
        Some((flight.clone(), self.epoch(flight.shard)?))
    }

    /// An effect is not out under that ticket any more.
    pub fn effect_landed(&mut self, effect: &str, ticket: u64) {
        if self.out(effect, ticket).is_some() {
            self.effects.remove(effect);
        }
    }

    /// Claims a customer whose record is here, if she is not out.
    pub fn take(&mut self, customer: &str, epoch: u64) -> Option<Record> {
        let kept = self.recent.take(customer)?;
        if kept.epoch != epoch {
            return None;
        }
        let flight = Flight {
            epoch,
            wake_at: kept.wake_at,
            shown: kept.shown,
            account: Arc::from(kept.record.account.as_slice()),
            taken: true,
            ..Flight::default()
        };
        self.customers.insert(Arc::from(customer), flight);
        Some(kept.record)
    }
}
