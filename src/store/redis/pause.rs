//! What a person does with the outbox: pauses, and single effects that wait.
//!
//! What is paused is kept once for the store and, as tags, with the lease of each shard, where the scripts see it.
//! Each change has a number; a shard takes no older one. Whoever takes a shard or renews its lease brings along
//! what is kept for the store: a change that was broken off half-way is made good within a lease.

use super::super::pause::{Pausable, Pause, Pauses};
use super::super::{StoreError, StoreResult};
use super::inbox::result;
use super::key::{SHARDS, meta, shard_of};
use super::pump::Op;
use super::script::Script;
use super::{Inner, value};
use crate::effect::Outcome;

/// Most effects that `pause.lua` looks at in one call.
const PAGE: i64 = 500;
/// The field that has the number of the last change.
const CHANGE: &str = "change";
/// Most tries to give a change the highest number.
const TRIES_MAX: usize = 8;

/// What is paused, and the number of the change that made it so.
pub struct Known {
    change: u64,
    pauses: Pauses,
}

impl Known {
    /// As the scripts read it.
    pub fn told(&self) -> Vec<u8> {
        let mut told = self.change.to_be_bytes().to_vec();
        self.pauses.tags().iter().for_each(|tag| told.extend(tag));
        told
    }
}

impl Inner {
    /// What is kept for the store.
    pub async fn known_pauses(&self) -> StoreResult<Known> {
        let mut all = redis::cmd("HGETALL");
        all.arg(meta("pauses"));
        let (mut change, mut list) = (0, Vec::new());
        for (name, kept) in self.plain(&[all]).await?.into_iter().flat_map(value::pairs) {
            match value::text(name).as_str() {
                CHANGE => change = value::text(kept).parse().unwrap_or(0),
                _ => list.push(serde_json::from_slice(&value::bytes(kept)).map_err(|_| value::strange("a pause"))?),
            }
        }
        Ok(Known { change, pauses: Pauses::new(list) })
    }

    async fn next_change(&self, by: u64) -> StoreResult<()> {
        let mut next = redis::cmd("HINCRBY");
        next.arg(meta("pauses")).arg(CHANGE).arg(by);
        self.plain(&[next]).await.map(|_| ())
    }

    /// Tells every shard what is paused now.
    async fn spread(&self, release: bool) -> StoreResult<()> {
        self.next_change(1).await?;
        for _ in 0..TRIES_MAX {
            let known = self.known_pauses().await?;
            let highest = self.tell_shards(&known, release).await?;
            if highest <= known.change {
                return Ok(());
            }
            // The store's own copy came back older than those of the shards.
            self.next_change(highest - known.change + 1).await?;
        }
        Err(StoreError::Unavailable("others change what is paused again and again; try again".to_owned()))
    }

    /// Returns the highest number that a shard knew before.
    async fn tell_shards(&self, known: &Known, release: bool) -> StoreResult<u64> {
        let told = known.told();
        let mut open: Vec<(u16, i64)> = (0..SHARDS).map(|shard| (shard, 0)).collect();
        let mut highest = 0;
        while !open.is_empty() {
            let ops = open.iter().map(|(shard, from)| {
                let mut op = Op::new(Script::Pause, *shard);
                op.args.push(&told);
                match release {
                    true => op.args.int(*from),
                    false => op.args.push(""),
                };
                op
            });
            let replies = self.all(ops.collect()).await?;
            let mut next = Vec::new();
            for ((shard, from), reply) in open.into_iter().zip(replies) {
                let mut parts = value::list(reply.value).into_iter();
                let number = <[u8; 8]>::try_from(value::bytes(value::next(&mut parts))).map_or(0, u64::from_be_bytes);
                highest = highest.max(number);
                let (seen, moved) = (value::int(&value::next(&mut parts)), value::int(&value::next(&mut parts)));
                if moved > 0 {
                    self.memory().effect_due(shard, reply.now);
                }
                if seen >= PAGE {
                    next.push((shard, from + seen - moved));
                }
            }
            open = next;
        }
        self.notify(false, release);
        Ok(highest)
    }

    /// [`super::super::Store::pause`].
    pub async fn pause(&self, pause: Pause) -> StoreResult<()> {
        let text =
            serde_json::to_string(&pause).map_err(|why| StoreError::Fatal(format!("cannot write the pause down: {why}")))?;
        let mut set = redis::cmd("HSET");
        set.arg(meta("pauses")).arg(pause.of.name()).arg(text);
        self.plain(&[set]).await?;
        self.spread(false).await
    }

    /// [`super::super::Store::resume`].
    pub async fn resume(&self, of: Pausable) -> StoreResult<bool> {
        let there = self.known_pauses().await?.pauses.without(&of).is_some();
        let mut gone = redis::cmd("HDEL");
        gone.arg(meta("pauses")).arg(of.name());
        self.plain(&[gone]).await?;
        // Also where it was not there: an earlier call may have been broken off.
        self.spread(true).await.map(|()| there)
    }

    /// [`super::super::Store::pauses`].
    pub async fn pauses(&self) -> StoreResult<Vec<Pause>> {
        Ok(self.known_pauses().await?.pauses.list().to_vec())
    }

    /// [`super::super::Store::hasten`].
    pub async fn hasten(&self, effect: String, customer: String) -> StoreResult<bool> {
        self.word(&effect, &customer, None).await
    }

    /// [`super::super::Store::drop_effect`].
    pub async fn drop_effect(&self, effect: String, customer: String, why: String) -> StoreResult<bool> {
        self.word(&effect, &customer, Some(why)).await
    }

    async fn word(&self, effect: &str, customer: &str, dropped: Option<String>) -> StoreResult<bool> {
        let shard = shard_of(customer);
        let drops = dropped.is_some();
        let mut op = Op::new(Script::Waiting, shard);
        op.args.push(effect).push(customer);
        match dropped {
            None => op.args.push("").push(""),
            Some(why) => {
                let unknown = format!("{why}; an earlier attempt may have had its effect");
                let refused = result(effect, Outcome::Refused { why });
                op.args.push(refused).push(result(effect, Outcome::Unknown { why: unknown }))
            }
        };
        let reply = self.call(op).await?;
        let waits = value::int(&reply.value) == 1;
        if waits && drops {
            self.memory().ready(shard, reply.now);
        } else if waits {
            self.memory().effect_due(shard, reply.now);
        }
        self.notify(waits, waits);
        Ok(waits)
    }
}
