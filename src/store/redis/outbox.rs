//! The outbox: effects on their way out.

use super::super::pause::{RECHECK_MS, Under};
use super::super::{Begin, Delivery, Retry, StoreResult};
use super::inbox::{result, stale};
use super::key::{key, shard_of};
use super::memory::{EffectFlight, NEVER};
use super::pump::Op;
use super::record::{Kept, write_digest};
use super::script::Script;
use super::{Inner, value};
use crate::effect::Outcome;
use crate::lang::time::Time;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How long an effect steps back for the turn that goes first, in milliseconds.
const TURN_FIRST_MS: i64 = 20;
/// Most effects handed out by one claim.
const CLAIM_EFFECTS_MAX: usize = 256;
/// Most shards asked in one round.
const ROUND_SHARDS_MAX: usize = 32;
/// Most rounds of one claim.
const ROUNDS_MAX: usize = 16;
/// Most bytes of a failure that are kept.
const WHY_BYTES_MAX: usize = 1_000;

impl Inner {
    /// [`super::super::Store::claim_effects`].
    pub async fn claim_effects(self: Arc<Inner>, max: usize) -> StoreResult<Vec<Delivery>> {
        let max = max.min(CLAIM_EFFECTS_MAX);
        let mut out = Vec::new();
        if self.paused.load(Ordering::Acquire) || self.clock.jumps.by().is_some() {
            return Ok(out);
        }
        for _ in 0..ROUNDS_MAX {
            let room = max - out.len();
            let (chosen, unknown) = self.memory().effects_due(self.clock.now().0, room.min(ROUND_SHARDS_MAX));
            if chosen.is_empty() {
                break;
            }
            let each = if unknown { 0 } else { room.div_ceil(chosen.len()) };
            let ops = chosen.iter().map(|(shard, epoch)| {
                let mut op = Op::new(Script::Effects, *shard);
                op.args.int(*epoch).count(each).int(self.options.lease_ms);
                op
            });
            let (replies, mut missed) = (self.some(ops.collect()).await?, None);
            for ((shard, epoch), reply) in chosen.into_iter().zip(replies) {
                let reply = match reply {
                    Ok(reply) => reply,
                    Err(why) => {
                        let at = self.after_a_miss();
                        self.memory().effect_due(shard, at);
                        missed = Some(why);
                        continue;
                    }
                };
                let mut parts = value::list(reply.value).into_iter();
                if parts.len() == 0 {
                    self.lose(shard, epoch);
                    continue;
                }
                let next = value::instant(&value::text(value::next(&mut parts))).unwrap_or(NEVER);
                let mut memory = self.memory();
                memory.effect_due(shard, next);
                for row in value::list(value::next(&mut parts)) {
                    let mut row = value::list(row).into_iter();
                    let (id, bytes) = (value::text(value::next(&mut row)), value::bytes(value::next(&mut row)));
                    if memory.effects.contains_key(&id) {
                        continue;
                    }
                    let Some(mut delivery) = deliverable(&id, &bytes) else { continue };
                    memory.tickets += 1;
                    delivery.ticket = memory.tickets;
                    let flight = EffectFlight {
                        shard,
                        customer: Arc::from(delivery.effect.customer.as_str()),
                        unsure: delivery.ambiguous_since.map_or(0, |since| since.0),
                        ticket: delivery.ticket,
                        under: Under::of(&delivery.effect),
                        small: false,
                    };
                    memory.effects.insert(id, flight);
                    out.push(delivery);
                }
            }
            match missed {
                // Those that are in hand already must not be forgotten.
                Some(why) if out.is_empty() && self.dialer.spans_shards() => return Err(why),
                Some(_) => break,
                None if out.len() >= max => break,
                None => {}
            }
        }
        // What a clock that has just jumped says is due is not.
        if self.clock.jumps.by().is_some() {
            self.take_effects_back(&out);
            return Ok(Vec::new());
        }
        Ok(out)
    }

    /// Puts effects back whose claimer has gone away.
    pub fn take_effects_back(self: &Arc<Inner>, deliveries: &[Delivery]) {
        let (inner, now) = (self.clone(), self.clock.now());
        let back: Vec<String> = deliveries.iter().map(|delivery| delivery.effect.id.clone()).collect();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                for effect in back {
                    if let Err(why) = inner.put_back(&effect, now).await {
                        tracing::warn!(%why, "an effect could not be given back; it is handed out again after the lease");
                    }
                }
            });
        }
    }

    /// [`super::super::Store::begin`].
    pub async fn begin(&self, effect: String, ticket: u64, digest: Vec<u8>) -> StoreResult<Begin> {
        self.may_send()?;
        let Some((flight, epoch)) = self.memory().out(&effect, ticket) else { return Ok(Begin::Gone) };
        let mut op = Op::new(Script::Begin, flight.shard);
        op.args
            .int(epoch)
            .push(&effect)
            .push(flight.customer.as_bytes())
            .push(write_digest(&digest))
            .int(TURN_FIRST_MS)
            .int(flight.unsure)
            .push(told(flight.under))
            .int(RECHECK_MS)
            .push(if flight.small { "1" } else { "" });
        let reply = self.call(op).await?;
        // Before anything leaves: a server that came back may have come back older.
        self.recognise_server().await?;
        let mut parts = value::list(reply.value).into_iter();
        let (word, first, second) = (value::text(value::next(&mut parts)), value::next(&mut parts), value::next(&mut parts));
        match word.as_str() {
            "go" => Ok(Begin::Go { attempt: u32::try_from(value::int(&first)).unwrap_or(u32::MAX) }),
            "turn" => {
                let mut memory = self.memory();
                memory.effect_landed(&effect, ticket);
                memory.effect_due(flight.shard, value::int(&first));
                // Somebody else's accept may not have rung yet.
                memory.ready(flight.shard, reply.now);
                drop(memory);
                self.notify(true, true);
                Ok(Begin::TurnFirst)
            }
            "paused" => {
                let mut memory = self.memory();
                memory.effect_landed(&effect, ticket);
                memory.effect_due(flight.shard, value::int(&first));
                drop(memory);
                self.notify(false, true);
                Ok(Begin::Paused)
            }
            "stale" => {
                let late = value::int(&first) == 1;
                let why =
                    if late { "its time had passed" } else { "something that forbids it was accepted since it was decided" };
                // What may have happened must not be decided anew: under another id it could happen twice.
                let input = match value::int(&second) {
                    0 => stale(&effect, why),
                    _ => {
                        let why = format!("{why}, and an earlier attempt may have had its effect");
                        result(&effect, Outcome::Unknown { why })
                    }
                };
                self.answer(&effect, &flight.customer, input).await?;
                Ok(Begin::Stale)
            }
            _ => {
                self.memory().effect_landed(&effect, ticket);
                Ok(Begin::Gone)
            }
        }
    }

    /// Makes an effect due again without saying anything about what became of it.
    pub async fn put_back(&self, effect: &str, due: Time) -> StoreResult<()> {
        let Some(flight) = self.memory().effects.remove(effect) else { return Ok(()) };
        let mut add = redis::cmd("ZADD");
        add.arg(key(flight.shard, "outbox")).arg("XX").arg(due.0).arg(effect);
        self.plain(&[add]).await?;
        self.memory().effect_due(flight.shard, due.0);
        self.notify(false, true);
        Ok(())
    }

    /// [`super::super::Store::retry`].
    pub async fn retry(&self, retry: Retry) -> StoreResult<()> {
        // What is not out in this hand-out is not its to put back: it was settled, or another has it.
        let Some((flight, epoch)) = self.memory().out(&retry.effect, retry.ticket) else { return Ok(()) };
        let mut op = Op::new(Script::Retry, flight.shard);
        let mut end = retry.why.len().min(WHY_BYTES_MAX);
        while !retry.why.is_char_boundary(end) {
            end -= 1;
        }
        op.args
            .int(epoch)
            .push(&retry.effect)
            .int(retry.due.0)
            .push(if retry.ambiguous { "1" } else { "" })
            .int(flight.unsure)
            .push(&retry.why[..end]);
        self.call(op).await?;
        let mut memory = self.memory();
        memory.effect_landed(&retry.effect, retry.ticket);
        memory.effect_due(flight.shard, retry.due.0);
        drop(memory);
        self.notify(false, true);
        Ok(())
    }

    /// [`super::super::Store::settle`].
    pub async fn settle(&self, effect: String, customer: String, outcome: Outcome) -> StoreResult<()> {
        let input = result(&effect, outcome);
        self.answer(&effect, &customer, input).await
    }

    /// Removes an effect and puts an input into its customer's inbox, in one.
    async fn answer(&self, effect: &str, customer: &str, input: Vec<u8>) -> StoreResult<()> {
        let shard = shard_of(customer);
        let mut op = Op::new(Script::Settle, shard);
        op.args.push(effect).push(customer).push(input);
        let reply = self.call(op).await?;
        let mut memory = self.memory();
        memory.effects.remove(effect);
        memory.recent.take(customer);
        if value::int(&reply.value) == 1 {
            memory.ready(shard, reply.now);
        }
        drop(memory);
        self.notify(true, false);
        Ok(())
    }
}

/// Funnel and provider as the scripts read them.
pub fn told(under: Under) -> Vec<u8> {
    [under.funnel, under.provider].concat()
}

/// Reads an effect; one that cannot be read stays where it is, and is complained of.
fn deliverable(id: &str, bytes: &[u8]) -> Option<Delivery> {
    match Kept::read(bytes).map(Kept::delivery) {
        Some(Ok(delivery)) => Some(delivery),
        Some(Err(why)) => {
            tracing::error!(effect = %id, %why, "an effect in Redis cannot be delivered");
            None
        }
        None => {
            tracing::error!(effect = %id, "an effect in Redis is not one of this engine");
            None
        }
    }
}
