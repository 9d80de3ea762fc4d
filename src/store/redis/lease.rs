//! Who owns which shards.
//!
//! Every worker says every second that it lives, counts those who do, and owns its fair share of the 256
//! shards: it takes shards that nobody owns or whose owner has not renewed them in time, and gives up what
//! is more than its share. A shard is given up when nothing of it is in hand any more, or after a while in
//! any case. Each taking raises the shard's epoch; a script that names an older one does nothing.

use super::super::StoreResult;
use super::key::{SHARDS, lease, meta, shard_of};
use super::memory::NEVER;
use super::pump::Op;
use super::record::accepted_at;
use super::script::Script;
use super::{Inner, value};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Longest time between two looks at who lives, in milliseconds.
const BEAT_MS_MAX: u64 = 1_000;
/// How long what is in hand may hold up giving a shard away.
const LEAVE: Duration = Duration::from_secs(5);
/// Between two looks at everything, should a bell not have been heard.
const SWEEP: Duration = Duration::from_secs(10);

impl Inner {
    /// A shard turned out to be another's.
    pub fn lose(&self, shard: u16, epoch: u64) {
        let mut memory = self.memory();
        if memory.epoch(shard) == Some(epoch) {
            memory.lost(shard, shard_of);
            tracing::info!(shard, "a shard went to another worker");
        }
    }

    /// Keeps leases until the store is closed.
    pub async fn keep_leases(self: Arc<Inner>) {
        let (mut renewed, mut swept, mut leaving) = (Instant::now(), Instant::now(), None::<Instant>);
        // Two renewals may fail before a lease is lost.
        let renewal = Duration::from_millis(u64::try_from(self.options.lease_ms / 3).unwrap_or(1).max(1));
        let beat = renewal.min(Duration::from_millis(BEAT_MS_MAX));
        loop {
            tokio::time::sleep(beat).await;
            if self.closed() {
                return;
            }
            if renewed.elapsed() + beat > renewal {
                renewed = Instant::now();
                if let Err(why) = self.renew().await {
                    tracing::warn!(%why, "leases could not be renewed; another worker may take the shards");
                }
            }
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.memory().look_everywhere();
                self.notify(true, true);
            }
            if let Err(why) = self.balance(&mut leaving).await {
                tracing::debug!(%why, "the other workers could not be counted");
            }
        }
    }

    /// Says that this worker lives and counts all that do.
    async fn beat(&self) -> StoreResult<usize> {
        let now = self.clock.now().0;
        let mut add = redis::cmd("ZADD");
        add.arg(meta("workers")).arg(now).arg(&self.told.me);
        let mut count = redis::cmd("ZCOUNT");
        count.arg(meta("workers")).arg(format!("({}", now - self.options.lease_ms)).arg("+inf");
        let mut forget = redis::cmd("ZREMRANGEBYSCORE");
        forget.arg(meta("workers")).arg("-inf").arg(now - 10 * self.options.lease_ms.max(1_000));
        let answers = self.plain(&[add, count, forget]).await?;
        let live = answers.get(1).map_or(1, value::int);
        Ok(usize::try_from(live).unwrap_or(1).max(1))
    }

    /// Takes what is free and gives up what is too much.
    pub async fn balance(&self, leaving: &mut Option<Instant>) -> StoreResult<()> {
        let workers = self.beat().await?;
        let share = usize::from(SHARDS).div_ceil(workers);
        let owned = self.memory().owned();
        if owned < share {
            *leaving = None;
            self.acquire(share - owned).await?;
        }
        if owned > share {
            let since = *leaving.get_or_insert_with(Instant::now);
            self.give_up(owned - share, since.elapsed() > LEAVE).await?;
        } else {
            *leaving = None;
            // Others have come or gone since something was to be given up.
            if self.memory().stay() {
                self.notify(true, true);
            }
        }
        Ok(())
    }

    /// Shards that nobody owns, as far as can be seen without taking them; each worker begins elsewhere, so that
    /// they do not all ask for the same.
    async fn vacant(&self) -> StoreResult<Vec<u16>> {
        let start = self.told.me.bytes().fold(0u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(byte)));
        let others: Vec<u16> = {
            let memory = self.memory();
            (0..SHARDS).map(|n| (start.wrapping_add(n)) % SHARDS).filter(|shard| memory.epoch(*shard).is_none()).collect()
        };
        let asked: Vec<redis::Cmd> = others
            .iter()
            .map(|shard| {
                let mut get = redis::cmd("HMGET");
                get.arg(lease(*shard)).arg("w").arg("u");
                get
            })
            .collect();
        let (leases, now) = (self.plain(&asked).await?, self.clock.now().0);
        let free = |lease: redis::Value| {
            let mut parts = value::list(lease).into_iter();
            let (owner, until) = (value::text(value::next(&mut parts)), value::int(&value::next(&mut parts)));
            owner.is_empty() || owner == self.told.me || until <= now
        };
        Ok(others.into_iter().zip(leases).filter_map(|(shard, lease)| free(lease).then_some(shard)).collect())
    }

    /// Takes up to `most` shards that nobody owns.
    async fn acquire(&self, most: usize) -> StoreResult<()> {
        let mut vacant = self.vacant().await?;
        vacant.truncate(most);
        if vacant.is_empty() {
            return Ok(());
        }
        let pauses = self.known_pauses().await?.told();
        for asked in vacant.chunks(64) {
            let ops = asked.iter().map(|shard| {
                let mut op = Op::new(Script::Acquire, *shard);
                op.args.int(self.options.lease_ms).push(&pauses);
                op
            });
            let replies = self.all(ops.collect()).await?;
            let mut memory = self.memory();
            for (shard, reply) in asked.iter().zip(replies) {
                let mut parts = value::list(reply.value).into_iter();
                if parts.len() == 0 {
                    continue;
                }
                let epoch = value::text(value::next(&mut parts)).parse().unwrap_or_default();
                let mut first = || value::instant(&value::text(value::next(&mut parts))).unwrap_or(NEVER);
                let at = (first(), first(), first());
                // What arrived last must not seem younger than what arrives next, whatever the clock does.
                let last: u64 = value::text(value::next(&mut parts)).parse().unwrap_or(0);
                self.clock.not_before(accepted_at(last).0);
                let counts: Vec<redis::Value> = value::list(value::next(&mut parts));
                let counts = counts.chunks_exact(2).map(|pair| (value::int(&pair[0]) as u64, value::int(&pair[1]) as u32));
                memory.gained(*shard, epoch, at, counts.collect());
            }
        }
        self.notify(true, true);
        Ok(())
    }

    /// Gives shards up: those of which nothing is in hand, or any when it has taken too long.
    async fn give_up(&self, most: usize, hurry: bool) -> StoreResult<()> {
        let (leaving, epochs) = {
            let mut memory = self.memory();
            let mut busy: BTreeSet<u16> = memory.customers.keys().map(|customer| shard_of(customer)).collect();
            busy.extend(memory.effects.values().map(|flight| flight.shard));
            let owned: Vec<u16> = (0..SHARDS).filter(|shard| memory.epoch(*shard).is_some()).collect();
            // Those that are leaving already come first, so that the choice does not wander.
            let mut order = owned;
            order.sort_by_key(|shard| !memory.shards[usize::from(*shard)].leaving);
            order.truncate(most);
            for shard in &order {
                memory.shard(*shard).leaving = true;
            }
            let ready: Vec<u16> = order.into_iter().filter(|shard| hurry || !busy.contains(shard)).collect();
            let epochs: Vec<u64> = ready.iter().filter_map(|shard| memory.epoch(*shard)).collect();
            (ready, epochs)
        };
        self.end_leases(&leaving, &epochs).await?;
        let mut memory = self.memory();
        for shard in &leaving {
            memory.lost(*shard, shard_of);
        }
        if !leaving.is_empty() {
            tracing::info!(shards = leaving.len(), owned = memory.owned(), "gave shards to other workers");
        }
        Ok(())
    }

    async fn end_leases(&self, shards: &[u16], epochs: &[u64]) -> StoreResult<()> {
        let ops = shards.iter().zip(epochs).map(|(shard, epoch)| lengthen(*shard, *epoch, None, &[]));
        self.all(ops.collect()).await.map(|_| ())
    }

    async fn renew(&self) -> StoreResult<()> {
        let ours: Vec<(u16, u64)> = {
            let memory = self.memory();
            (0..SHARDS).filter_map(|shard| memory.epoch(shard).map(|epoch| (shard, epoch))).collect()
        };
        let pauses = self.known_pauses().await?.told();
        let ops = ours.iter().map(|(shard, epoch)| lengthen(*shard, *epoch, Some(self.options.lease_ms), &pauses));
        let replies = self.all(ops.collect()).await?;
        for ((shard, epoch), reply) in ours.into_iter().zip(replies) {
            if value::int(&reply.value) == 0 {
                self.lose(shard, epoch);
            }
        }
        Ok(())
    }

    /// [`super::super::Store::close`]: gives everything back and lets go of all shards.
    pub async fn close(&self) {
        if self.closed() {
            return;
        }
        if let Err(why) = self.give_all_back().await {
            tracing::warn!(%why, "the store did not close cleanly; other workers take over after the lease");
        }
        self.told.closed.store(true, Ordering::Release);
        self.notify(true, true);
        self.follower.close();
        // The next worker may have the note.
        drop(self.note.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    async fn give_all_back(&self) -> StoreResult<()> {
        let (customers, effects): (Vec<String>, Vec<String>) = {
            let memory = self.memory();
            (memory.customers.keys().map(|customer| customer.to_string()).collect(), memory.effects.keys().cloned().collect())
        };
        self.release(customers).await?;
        let now = self.clock.now();
        for effect in effects {
            self.put_back(&effect, now).await?;
        }
        let (shards, epochs): (Vec<u16>, Vec<u64>) = {
            let memory = self.memory();
            (0..SHARDS).filter_map(|shard| memory.epoch(shard).map(|epoch| (shard, epoch))).unzip()
        };
        self.end_leases(&shards, &epochs).await?;
        let mut gone = redis::cmd("ZREM");
        gone.arg(meta("workers")).arg(&self.told.me);
        let mut stopped = redis::cmd("HDEL");
        stopped.arg(meta(super::watermark::STOPPED)).arg(&self.told.me);
        self.plain(&[gone, stopped]).await?;
        let mut memory = self.memory();
        shards.iter().for_each(|shard| memory.lost(*shard, shard_of));
        Ok(())
    }
}

fn lengthen(shard: u16, epoch: u64, lease_ms: Option<i64>, pauses: &[u8]) -> Op {
    let mut op = Op::new(Script::Renew, shard);
    op.args.int(epoch).push(lease_ms.map(|ms| ms.to_string()).unwrap_or_default()).push(pauses);
    op
}
