//! Handing out customers: due wakes first, then those with inputs in the order in which they became ready.
//!
//! A customer who comes back from Redis with the mark of one in hand, and is not in hand here, was in the
//! hands of an owner who ended: one of her inputs may have ended it. Their crash counters are raised,
//! durably, before she is handed out. Inputs that have a count already go out alone, the lowest count
//! first, so that the next end tells which it was and nobody healthy is blamed for long.

use super::super::{CLAIM_CUSTOMERS_MAX, CLAIM_INPUTS_MAX, Claim, QUARANTINE_AFTER, Queued, Record, StoreResult};
use super::key::shard_of;
use super::memory::{Alone, Flight, Memory, NEVER, UNKNOWN};
use super::pump::Op;
use super::record::{accepted_at, read_input, read_record};
use super::script::Script;
use super::{Inner, value};
use crate::customer::codec::decode;
use crate::event::Input;
use crate::lang::time::Time;
use redis::Value;
use std::sync::Arc;

/// Most customers asked of one shard at once: a share, so that wakes of other shards come between.
const SHARD_CUSTOMERS_MAX: usize = 8;
/// How long a shard is left alone that is on a part of a cluster that is away, in milliseconds.
const AWAY_MS: i64 = 100;
/// Most rounds of one claim: what is found in hand is passed over.
const ROUNDS_MAX: usize = 16;

/// A customer as a shard gave her.
struct Found {
    customer: Arc<str>,
    shard: u16,
    epoch: u64,
    wake_at: String,
    ready_at: String,
    record: Record,
    inputs: Vec<Vec<u8>>,
    now: i64,
}

impl Inner {
    /// [`super::super::Store::claim`].
    pub async fn claim(self: Arc<Inner>, max: usize) -> StoreResult<Vec<Claim>> {
        let max = max.min(CLAIM_CUSTOMERS_MAX);
        if max == 0 || self.clock.jumps.by().is_some() {
            return Ok(Vec::new());
        }
        if let Some(alone) = self.next_alone().await? {
            return Ok(vec![alone]);
        }
        let mut found = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let chosen = self.memory().turns_due(self.clock.now().0, max - found.len(), SHARD_CUSTOMERS_MAX);
            if chosen.is_empty() {
                break;
            }
            match self.ask_shards(chosen).await {
                Ok(more) => found.extend(more),
                Err(why) if found.is_empty() => return Err(why),
                // Those who are in hand already must not be forgotten; the rest comes with the next claim.
                Err(_) => break,
            }
            if found.len() >= max {
                break;
            }
        }
        found.sort_by(|a, b| order(a).cmp(&order(b)));
        let claims = self.hand_out(found).await?;
        // What a clock that has just jumped says is due is not.
        if self.clock.jumps.by().is_some() {
            self.release_later(claims.into_iter().map(|claim| claim.customer).collect());
            return Ok(Vec::new());
        }
        if claims.is_empty() {
            return Ok(self.next_alone().await?.into_iter().collect());
        }
        Ok(claims)
    }

    /// Claims from shards, and notes when each has to be looked at again.
    async fn ask_shards(&self, chosen: Vec<(u16, u64, usize)>) -> StoreResult<Vec<Found>> {
        let term = self.options.lease_ms;
        let ops = chosen.iter().map(|(shard, epoch, most)| {
            let mut op = Op::new(Script::Claim, *shard);
            // One more than is handed out: it tells that there are more, and since when.
            op.args.int(*epoch).count(*most).int(term).count(CLAIM_INPUTS_MAX);
            op
        });
        let replies = self.some(ops.collect()).await?;
        let (mut found, mut missed) = (Vec::new(), None);
        for ((shard, epoch, asked), reply) in chosen.into_iter().zip(replies) {
            let reply = match reply {
                Ok(reply) => reply,
                Err(why) => {
                    // They may have been claimed, or not: everything there is looked at again.
                    let at = self.after_a_miss();
                    let mut memory = self.memory();
                    memory.wakes(shard, at);
                    memory.ready(shard, at);
                    missed = Some(why);
                    continue;
                }
            };
            let mut parts = value::list(reply.value).into_iter();
            if parts.len() == 0 {
                self.lose(shard, epoch);
                continue;
            }
            let (wake, ready) = (value::text(value::next(&mut parts)), value::text(value::next(&mut parts)));
            let mut memory = self.memory();
            memory.wakes(shard, value::instant(&wake).unwrap_or(NEVER));
            let kept = memory.shard(shard);
            kept.ready_at = kept.ready_at.min(value::instant(&ready).unwrap_or(NEVER));
            let rows = value::list(value::next(&mut parts));
            if asked > 0 && rows.len() >= asked {
                // There were as many as were asked for, so there are probably more than were known.
                kept.ready = kept.ready.max(SHARD_CUSTOMERS_MAX);
            }
            for row in rows {
                found.extend(self.read(row, &mut memory, shard, epoch, reply.now));
            }
        }
        match missed {
            Some(why) if found.is_empty() && self.dialer.spans_shards() => Err(why),
            _ => Ok(found),
        }
    }

    /// When a shard is looked at again that did not answer: at once, but in a cluster others must not wait for it.
    pub fn after_a_miss(&self) -> i64 {
        if self.dialer.spans_shards() { UNKNOWN } else { self.clock.now().0 + AWAY_MS }
    }

    /// Reads one customer; she is in hand from here on. `None` when she already was.
    fn read(&self, row: Value, memory: &mut Memory, shard: u16, epoch: u64, now: i64) -> Option<Found> {
        let mut parts = value::list(row).into_iter();
        let customer: Arc<str> = Arc::from(value::text(value::next(&mut parts)));
        let (wake_at, ready_at) = (value::text(value::next(&mut parts)), value::text(value::next(&mut parts)));
        let (kept, account) = (value::bytes(value::next(&mut parts)), value::bytes(value::next(&mut parts)));
        let erased = value::int(&value::next(&mut parts)) == 1;
        let inputs = value::list(value::next(&mut parts)).into_iter().map(value::bytes).collect();
        if memory.customers.contains_key(&customer) || memory.epoch(shard) != Some(epoch) {
            return None;
        }
        let Some((record, shown)) = read_record(kept, account, erased) else {
            tracing::error!(%customer, "her record in Redis is not one of this engine; it is left alone");
            return None;
        };
        memory.recent.take(&customer);
        let flight = Flight {
            epoch,
            wake_at: wake_at.clone(),
            ready_at: ready_at.clone(),
            shown,
            account: Arc::from(record.account.as_slice()),
            ..Flight::default()
        };
        memory.customers.insert(customer.clone(), flight);
        Some(Found { customer, shard, epoch, wake_at, ready_at, record, inputs, now })
    }

    /// Makes claims; counts suspects first, and puts aside what has ended its owner too often.
    async fn hand_out(&self, found: Vec<Found>) -> StoreResult<Vec<Claim>> {
        let all: Vec<Arc<str>> = found.iter().map(|found| found.customer.clone()).collect();
        let mut claims = Vec::with_capacity(found.len());
        for found in found {
            match self.one(found).await {
                Ok(claim) => claims.extend(claim),
                Err(why) => {
                    // They stay where they are and come back at the end of the lease.
                    let mut memory = self.memory();
                    memory.alone.retain(|alone| !all.iter().any(|customer| **customer == *alone.claim.customer));
                    all.iter().for_each(|customer| {
                        memory.landed(customer);
                    });
                    return Err(why);
                }
            }
        }
        Ok(claims)
    }

    async fn one(&self, found: Found) -> StoreResult<Option<Claim>> {
        let suspect = value::in_hand(&found.ready_at) && !found.inputs.is_empty();
        let shard = found.shard;
        let mut inputs = Vec::with_capacity(found.inputs.len());
        for bytes in &found.inputs {
            let Some((seq, body)) = read_input(bytes) else { continue };
            match decode(body) {
                Ok(body) => inputs.push(Queued { seq, input: Input { accepted_at: accepted_at(seq), body } }),
                Err(why) => self.put_aside(&found.customer, shard, found.epoch, seq, &why.to_string()).await?,
            }
        }
        let mut crashes: Vec<u32> = {
            let memory = self.memory();
            inputs.iter().map(|queued| memory.crashes.get(&(shard, queued.seq)).copied().unwrap_or(0)).collect()
        };
        while crashes.first().is_some_and(|count| *count >= QUARANTINE_AFTER) {
            let queued = inputs.remove(0);
            crashes.remove(0);
            let cause = format!("the process ended while handling it ({QUARANTINE_AFTER} times)");
            self.put_aside(&found.customer, shard, found.epoch, queued.seq, &cause).await?;
        }
        // What has crashed before goes alone, and nothing beside it.
        let alone = crashes.first().copied().unwrap_or(0);
        let together = crashes.iter().take_while(|count| **count == 0).count();
        let handed = if alone > 0 { 1 } else { together.min(CLAIM_INPUTS_MAX) };
        let more_from = inputs.get(handed).map(|queued| queued.input.accepted_at);
        inputs.truncate(handed);
        let mut counted = Vec::new();
        if suspect && alone == 0 {
            counted = inputs.iter().map(|queued| queued.seq).collect();
            self.count(shard, found.epoch, &counted).await?;
        }
        let all_put_aside = inputs.is_empty() && found.wake_at.is_empty() && !found.inputs.is_empty();
        let (customer, now) = (found.customer.as_ref().to_owned(), Time(found.now));
        let claim = Claim { customer, record: found.record, inputs, more_from, now };
        {
            let mut memory = self.memory();
            let Some(flight) = memory.customers.get_mut(&found.customer) else { return Ok(None) };
            flight.inputs = claim.inputs.iter().map(|queued| queued.seq).collect();
            flight.counted = counted;
            (flight.wake_at, flight.ready_at) = (plain(&found.wake_at), plain(&found.ready_at));
            if alone > 0
                && let Some(first) = claim.inputs.first()
            {
                let seq = first.seq;
                memory.alone.push_back(Alone { crashes: alone, seq, claim });
                return Ok(None);
            }
        }
        if all_put_aside {
            self.release(vec![claim.customer]).await?;
            return Ok(None);
        }
        Ok(Some(claim))
    }

    /// The suspect with the lowest count, if none is out. Its count is raised first.
    async fn next_alone(&self) -> StoreResult<Option<Claim>> {
        let alone = {
            let mut memory = self.memory();
            if memory.alone_out.is_some() {
                return Ok(None);
            }
            let rank = |alone: &Alone| (alone.crashes, alone.seq, alone.claim.customer.clone());
            let Some(place) = (0..memory.alone.len()).min_by_key(|place| rank(&memory.alone[*place])) else { return Ok(None) };
            let Some(alone) = memory.alone.remove(place) else { return Ok(None) };
            let customer: Arc<str> = Arc::from(alone.claim.customer.as_str());
            if let Some(flight) = memory.customers.get_mut(&customer) {
                flight.counted = vec![alone.seq];
            }
            memory.alone_out = Some(customer);
            alone
        };
        let shard = shard_of(&alone.claim.customer);
        if let Some(epoch) = self.epoch(shard)
            && let Err(why) = self.count(shard, epoch, &[alone.seq]).await
        {
            let mut memory = self.memory();
            memory.alone_out = None;
            memory.alone.push_back(alone);
            return Err(why);
        }
        Ok(Some(alone.claim))
    }

    /// Raises the crash counters of inputs.
    pub async fn count(&self, shard: u16, epoch: u64, seqs: &[u64]) -> StoreResult<()> {
        let mut op = Op::new(Script::Suspect, shard);
        op.args.int(epoch).count(seqs.len());
        seqs.iter().for_each(|seq| {
            op.args.int(*seq);
        });
        let reply = self.call(op).await?;
        let mut memory = self.memory();
        for (seq, count) in seqs.iter().zip(value::list(reply.value)) {
            memory.crashes.insert((shard, *seq), u32::try_from(value::int(&count)).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    /// Claims a customer for an effect's answer from memory alone; `None`: Redis has to be asked.
    pub fn take_here(&self, customer: &str) -> Option<Option<Claim>> {
        let now = self.clock.now();
        let mut memory = self.memory();
        if memory.customers.contains_key(customer) {
            return Some(None);
        }
        let epoch = memory.epoch(shard_of(customer))?;
        let record = memory.take(customer, epoch)?;
        Some(Some(Claim { customer: customer.to_owned(), record, inputs: Vec::new(), more_from: None, now }))
    }

    /// The same, by asking Redis.
    pub async fn take_there(self: Arc<Inner>, customer: String) -> StoreResult<Option<Claim>> {
        let shard = shard_of(&customer);
        let Some(epoch) = self.epoch(shard) else { return Ok(None) };
        let mut op = Op::new(Script::Take, shard);
        op.args.int(epoch).push(&customer);
        let reply = self.call(op).await?;
        let mut parts = value::list(reply.value).into_iter();
        if parts.len() == 0 {
            return Ok(None);
        }
        let (kept, account) = (value::bytes(value::next(&mut parts)), value::bytes(value::next(&mut parts)));
        let erased = value::int(&value::next(&mut parts)) == 1;
        let wake_at = value::text(value::next(&mut parts));
        let (record, shown) = read_record(kept, account, erased).ok_or_else(|| value::strange("a customer's record"))?;
        let mut memory = self.memory();
        if memory.customers.contains_key(customer.as_str()) || memory.epoch(shard) != Some(epoch) {
            return Ok(None);
        }
        let account = Arc::from(record.account.as_slice());
        let flight = Flight { epoch, wake_at, shown, account, taken: true, ..Flight::default() };
        memory.customers.insert(Arc::from(customer.as_str()), flight);
        Ok(Some(Claim { customer, record, inputs: Vec::new(), more_from: None, now: Time(reply.now) }))
    }
}

/// Wakes first, then by the instant, then by the first input's number.
fn order(found: &Found) -> (bool, i64, u64, &str) {
    let wake = !found.wake_at.is_empty();
    let at = value::instant(if wake { &found.wake_at } else { &found.ready_at }).unwrap_or(NEVER);
    let first = found.inputs.first().and_then(|input| read_input(input)).map_or(0, |(seq, _)| seq);
    (!wake, at, first, &found.customer)
}

/// A place in an index without the mark of one in hand.
fn plain(score: &str) -> String {
    score.strip_suffix(".5").unwrap_or(score).to_owned()
}
