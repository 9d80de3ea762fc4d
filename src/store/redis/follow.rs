//! The read side follows: entries of the fact streams go into its tables, positions and rows in one.
//!
//! Several read sides may follow one store, each with a file of its own. A stream is cut back to where the
//! slowest of them is; one that has not been seen for a week is not waited for.

use super::super::sqlite::Mirror;
use super::super::told::Place;
use super::super::{StoreError, StoreResult};
use super::key::{key, meta, streams};
use super::pump::Op;
use super::script::Script;
use super::{Inner, RedisStore, value};
use crate::lang::time::{DAY_MS, Time};
use redis::{Cmd, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Entries read of one stream at a time.
const ENTRIES_MAX: usize = 64;
/// Time between two passes while nobody asks, so that entries come together.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time until the next one: other processes do not tell of their commits.
const IDLE: Duration = Duration::from_millis(400);
/// How often a read side says that it is there.
const SEEN: Duration = Duration::from_secs(60);
/// How long a read side that is not there is waited for, in days.
pub const SIDE_DAYS: i64 = 7;
/// Pause after trouble.
const TROUBLE: Duration = Duration::from_secs(1);
/// How long a question waits for the read side to catch up.
const CATCH_UP: Duration = Duration::from_millis(500);

/// How those who ask and the one who follows meet.
pub struct Signals {
    kick: Notify,
    asked: Notify,
    begun: AtomicU64,
    drained: watch::Sender<u64>,
    follows: AtomicBool,
    closed: AtomicBool,
}

impl Default for Signals {
    fn default() -> Signals {
        Signals {
            kick: Notify::new(),
            asked: Notify::new(),
            begun: AtomicU64::new(0),
            drained: watch::Sender::new(0),
            follows: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }
}

impl Signals {
    /// There is something to follow.
    pub fn told(&self) {
        self.kick.notify_one();
    }

    /// Ends the following after one more pass.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.kick.notify_one();
    }

    /// Returns when everything that was committed before is in the tables, or after a while.
    pub async fn caught_up(&self) {
        if !self.follows.load(Ordering::Acquire) {
            return;
        }
        let wanted = self.begun.load(Ordering::Acquire) + 1;
        let mut drained = self.drained.subscribe();
        self.asked.notify_one();
        self.kick.notify_one();
        // Too slow means an answer as of a moment ago, which is what the read side promises.
        let _late = tokio::time::timeout(CATCH_UP, drained.wait_for(|pass| *pass >= wanted)).await;
    }
}

impl Inner {
    /// Sees that a read side's file belongs to this store, and that nothing is cut off before it has read it.
    pub async fn adopt(&self, mirror: &Mirror) -> StoreResult<()> {
        match mirror.follows().await? {
            Some(other) if other != self.id => {
                return Err(StoreError::Fatal(format!(
                    "the read side's file follows another store ({other}, this is {}); name another file with --report",
                    self.id
                )));
            }
            Some(_) => {}
            None => tracing::info!("the read side begins: it holds what happens from what the streams still have on"),
        }
        let (places, name) = (mirror.places().await?, mirror.name().await?);
        let mut known = redis::cmd("ZSCORE");
        known.arg(meta("sides")).arg(&name);
        let known = self.plain(&[known]).await?.into_iter().next().is_some_and(|seen| seen != Value::Nil);
        if !known && !places.is_empty() {
            tracing::warn!("the read side was away for more than {SIDE_DAYS} days: what happened in between is not in it");
        }
        let mut marks: Vec<Cmd> = streams()
            .map(|shard| {
                let place = places.get(&shard).copied().unwrap_or_default();
                // The file's own place is the truth, also when an older file was put back.
                let mut mark = redis::cmd("HSET");
                mark.arg(key(shard, "followed")).arg(&name).arg(place.to_string());
                mark
            })
            .collect();
        marks.push(self.seen(&name));
        self.plain(&marks).await?;
        self.follower.follows.store(true, Ordering::Release);
        Ok(())
    }

    /// Says that a read side is there.
    fn seen(&self, name: &str) -> Cmd {
        let mut seen = redis::cmd("ZADD");
        seen.arg(meta("sides")).arg(self.clock.now().0).arg(name);
        seen
    }

    /// Read sides that have not been seen for long are waited for no more.
    pub async fn forget_sides(&self) -> StoreResult<()> {
        let mut gone = redis::cmd("ZRANGEBYSCORE");
        gone.arg(meta("sides")).arg("-inf").arg(self.clock.now().0 - SIDE_DAYS * DAY_MS);
        let gone: Vec<String> = self.plain(&[gone]).await?.into_iter().flat_map(value::list).map(value::text).collect();
        for name in gone {
            self.forget_side(&name).await?;
            tracing::warn!(%name, "a read side has not been seen for {SIDE_DAYS} days; it is not waited for any more");
        }
        Ok(())
    }

    async fn forget_side(&self, name: &str) -> StoreResult<()> {
        let mut forget: Vec<Cmd> = streams()
            .map(|shard| {
                let mut forget = redis::cmd("HDEL");
                forget.arg(key(shard, "followed")).arg(name);
                forget
            })
            .collect();
        let mut last = redis::cmd("ZREM");
        last.arg(meta("sides")).arg(name);
        forget.push(last);
        self.plain(&forget).await.map(|_| ())
    }

    /// Follows until the store is closed.
    pub async fn follow(self: Arc<Inner>, mirror: Arc<Mirror>) {
        let (name, mut places) = loop {
            match futures_util::try_join!(mirror.name(), mirror.places()) {
                Ok(known) => break known,
                Err(why) => tracing::error!(%why, "the read side cannot be read; trying again"),
            }
            tokio::time::sleep(TROUBLE).await;
        };
        let mut seen = Instant::now();
        loop {
            if seen.elapsed() > SEEN {
                seen = Instant::now();
                if let Err(why) = self.plain(&[self.seen(&name)]).await {
                    tracing::debug!(%why, "the read side could not say that it is there");
                }
            }
            let closing = self.follower.closed.load(Ordering::Acquire);
            let pass = self.follower.begun.fetch_add(1, Ordering::AcqRel) + 1;
            match self.pass(&mirror, &name, &mut places).await {
                Ok(true) => {
                    self.follower.drained.send_replace(pass);
                    // Somebody who waits for an answer need not wait for company.
                    let _asked = tokio::time::timeout(PAUSE, self.follower.asked.notified()).await;
                    // Either is a reason to look.
                    let _idle = tokio::time::timeout(IDLE, self.follower.kick.notified()).await;
                }
                Ok(false) => {}
                Err(why) => {
                    tracing::warn!(%why, "the read side could not follow; trying again");
                    tokio::time::sleep(TROUBLE).await;
                }
            }
            if closing || self.closed() {
                self.follower.follows.store(false, Ordering::Release);
                return;
            }
        }
    }

    /// Takes what is there into the tables; whether that was all.
    async fn pass(&self, mirror: &Mirror, name: &str, places: &mut HashMap<u16, Place>) -> StoreResult<bool> {
        let streams = self.read_streams(places).await?;
        let (mut entries, mut drained, mut reached) = (Vec::new(), true, HashMap::new());
        for (shard, rows) in streams {
            drained &= rows.len() < ENTRIES_MAX;
            for (place, told) in rows {
                reached.insert(shard, place);
                entries.push((shard, place, told));
            }
        }
        if entries.is_empty() {
            return Ok(drained);
        }
        mirror.apply(self.id.clone(), entries).await?;
        let ops = reached.iter().map(|(shard, place)| {
            let mut op = Op::new(Script::Followed, *shard);
            op.args.push(name).push(place.to_string());
            op
        });
        let ops = ops.collect();
        places.extend(reached);
        self.all(ops).await?;
        Ok(drained)
    }

    async fn read_streams(&self, places: &HashMap<u16, Place>) -> StoreResult<Vec<(u16, Vec<Entry>)>> {
        let place = |shard: u16| places.get(&shard).copied().unwrap_or_default().to_string();
        let answers = match self.dialer.spans_shards() {
            true => {
                let mut read = redis::cmd("XREAD");
                read.arg("COUNT").arg(ENTRIES_MAX).arg("STREAMS");
                streams().for_each(|shard| {
                    read.arg(key(shard, "facts"));
                });
                streams().for_each(|shard| {
                    read.arg(place(shard));
                });
                self.plain(&[read]).await?
            }
            false => {
                let reads: Vec<Cmd> = streams()
                    .map(|shard| {
                        let mut read = redis::cmd("XREAD");
                        read.arg("COUNT").arg(ENTRIES_MAX).arg("STREAMS").arg(key(shard, "facts")).arg(place(shard));
                        read
                    })
                    .collect();
                self.plain(&reads).await?
            }
        };
        let mut read = Vec::new();
        for (name, rows) in answers.into_iter().flat_map(value::pairs) {
            let name = value::text(name);
            let Some(shard) = name.split(['{', '}']).nth(1).and_then(|shard| shard.parse().ok()) else { continue };
            read.push((shard, value::list(rows).into_iter().filter_map(entry).collect()));
        }
        Ok(read)
    }
}

impl RedisStore {
    /// Read sides that are waited for besides this one, each with when it was last there.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn other_sides(&self, own: &str) -> StoreResult<Vec<(String, Time)>> {
        let mut all = redis::cmd("ZRANGE");
        all.arg(meta("sides")).arg(0).arg(-1).arg("WITHSCORES");
        let all = self.inner.plain(&[all]).await?.into_iter().flat_map(value::pairs);
        let named = all.map(|(name, seen)| {
            let seen = match seen {
                Value::Double(seen) => seen as i64,
                other => value::instant(&value::text(other)).unwrap_or(0),
            };
            (value::text(name), Time(seen))
        });
        Ok(named.filter(|(name, _)| name != own).collect())
    }

    /// A read side is waited for no more.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn forget(&self, side: &str) -> StoreResult<()> {
        self.inner.forget_side(side).await
    }
}

/// Place of an entry, and what the commits of its batch have told.
type Entry = (Place, Vec<Vec<u8>>);

fn entry(row: Value) -> Option<Entry> {
    let mut row = value::list(row).into_iter();
    let id = value::text(value::next(&mut row));
    let place = id.parse().ok()?;
    let told = value::pairs(value::next(&mut row));
    Some((place, told.into_iter().map(|(_, told)| value::bytes(told)).collect()))
}
