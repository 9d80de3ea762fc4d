//! The watermark: whether Redis came back older than it was.
//!
//! Every second a worker writes the time into Redis and, when that is done, into a file of its own. A Redis
//! that later knows a smaller one, or is another store, has come back older (a snapshot, a fail-over, an empty
//! disk): what was done since may be done again. Then nothing is sent until an operator has confirmed it: that
//! leaves an instant in Redis which is later than the last one that the worker knows. A worker compares every
//! second, and before anything is sent over a connection that was made again. In a cluster the mark is in
//! every shard, because each node comes back for itself.
//!
//! What a fail-over loses is mostly younger than the last mark. That is found by the numbers of batches
//! (`heard`), and told to all workers by the instant, in Redis, at which it had been answered: an operator's
//! confirmation has to be later.

use super::super::{StoreError, StoreResult};
use super::key::{SHARDS, key, meta};
use super::link::Connection;
use super::{Inner, value};
use redis::{Cmd, RedisError};
use std::fs::TryLockError;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How much may be missing after a crash where Redis syncs once a second, in milliseconds: that second and
/// the one in which nobody had written the mark.
const SECOND_LOST_MS: i64 = 3_000;
/// Where an operator's confirmation stands in the store's own hash: when it was given, in milliseconds.
pub const CONFIRMED: &str = "confirmed";
/// Beside it, until when Redis had answered what a process has found it to have lost.
pub const LOST: &str = "lost";
/// Where workers that send nothing until somebody has confirmed something say why, each under its name.
pub const STOPPED: &str = "stopped";
/// Why nothing is sent from a Redis in which the store's own mark is missing.
const GONE: &str = "the store is gone, this Redis was emptied under running engines";
/// Tries to take the lock of a note, for whoever had it may be ending just now, and the pause between them.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Between two marks.
const BEAT: Duration = Duration::from_secs(1);

/// The mark and the store's id, as they were when this process last looked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    store: String,
    ms: i64,
    /// When an operator last confirmed what Redis was, in milliseconds; 0: never.
    confirmed: i64,
}

impl Mark {
    fn parse(text: &str) -> Option<Mark> {
        let mut parts = text.split_whitespace();
        let (store, ms) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        Some(Mark { store, ms, confirmed: parts.next().map_or(Some(0), |confirmed| confirmed.parse().ok())? })
    }
}

impl Inner {
    /// Compares what Redis knows with what this worker remembers, and goes on from there.
    pub async fn check_watermark(&self, first: bool) -> StoreResult<()> {
        if !self.options.works {
            return Ok(());
        }
        let file = self.options.state_file.clone();
        let kept = match &file {
            Some(file) if first => read(file).await,
            _ => self.mark.lock().await.clone(),
        };
        let marks = self.marks();
        let mut about = redis::cmd("HMGET");
        about.arg(meta("store")).arg("id").arg(CONFIRMED).arg(LOST);
        let scores = marks.iter().map(|mark| {
            let mut score = redis::cmd("ZSCORE");
            score.arg(mark).arg("ms");
            score
        });
        let asked: Vec<Cmd> = [about].into_iter().chain(scores).collect();
        let mut answers = self.plain(&asked).await?.into_iter();
        let mut about = value::list(value::next(&mut answers)).into_iter();
        let (id, confirmed) = (value::text(value::next(&mut about)), value::int(&value::next(&mut about)));
        let lost = value::int(&value::next(&mut about));
        self.heed_clock(confirmed);
        let known = answers.map(|score| value::instant(&value::text(score)).unwrap_or(0)).min().unwrap_or(0);
        let doubt = self.doubt(kept.as_ref(), &id, known, confirmed, lost);
        self.tell_stopped(doubt.as_deref()).await?;
        match doubt {
            Some(why) => self.stop_sends(&why),
            None => {
                if self.paused.swap(false, Ordering::AcqRel) {
                    tracing::info!("sending goes on");
                    self.notify(true, true);
                }
            }
        }
        if self.paused.load(Ordering::Acquire) {
            *self.mark.lock().await = kept;
            return Ok(());
        }
        let Some(file) = file else { return Ok(()) };
        let now = self.clock.now().0.max(known);
        let adds: Vec<Cmd> = marks
            .iter()
            .map(|mark| {
                let mut add = redis::cmd("ZADD");
                add.arg(mark).arg("GT").arg(now).arg("ms");
                add
            })
            .collect();
        // What no replica has is not counted on after a fail-over.
        match self.options.wait_replicas {
            0 => drop(self.plain(&adds).await?),
            replicas if self.plain.run_kept(&adds, replicas).await? => {}
            _ => return Ok(()),
        }
        let mark = Mark { store: id, ms: now, confirmed };
        write(&file, &mark).await?;
        *self.mark.lock().await = Some(mark);
        Ok(())
    }

    /// Says in Redis why this worker sends nothing, or that it does, for whoever looks from outside.
    async fn tell_stopped(&self, doubt: Option<&str>) -> StoreResult<()> {
        let jumped = self.clock.jumps.by().map(|by| format!("the clock of its server jumped by {} s", by / 1_000));
        let why = doubt.map(str::to_owned).or(jumped);
        if why.is_none() && !self.told.stopped.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut tell = redis::cmd(if why.is_some() { "HSET" } else { "HDEL" });
        tell.arg(meta(STOPPED)).arg(&self.told.me);
        if let Some(why) = &why {
            tell.arg(why);
        }
        self.plain(&[tell]).await?;
        self.told.stopped.store(why.is_some(), Ordering::Release);
        Ok(())
    }

    /// A word of an operator that came since the server's clock has jumped says that it is right.
    fn heed_clock(&self, confirmed: i64) {
        let jumps = &self.clock.jumps;
        if jumps.by().is_none() {
            self.confirmed.store(confirmed, Ordering::Release);
        } else if self.confirmed.swap(confirmed, Ordering::AcqRel) != confirmed {
            jumps.accept();
        }
    }

    /// The keys of the mark: one on each server that could come back older by itself.
    fn marks(&self) -> Vec<String> {
        match self.dialer.spans_shards() {
            true => vec![meta("watermark")],
            false => (0..SHARDS).map(|shard| key(shard, "watermark")).collect(),
        }
    }

    /// Why nothing may be sent upon what Redis is now; `None`: it may.
    fn doubt(&self, kept: Option<&Mark>, id: &str, known: i64, confirmed: i64, lost: i64) -> Option<String> {
        if id.is_empty() {
            return Some(GONE.to_owned());
        }
        if let Some(kept) = kept
            && confirmed <= kept.confirmed
        {
            let missing = kept.ms - known;
            let allowed = if self.synced { 0 } else { SECOND_LOST_MS };
            if kept.store != id {
                let file = self.options.state_file.as_deref().unwrap_or(std::path::Path::new("the note"));
                return Some(format!("it is another store than the one that {} remembers", file.display()));
            }
            if missing > allowed {
                return Some(format!("it has come back {:.1} s older than it was", missing as f64 / 1_000.0));
            }
        }
        (lost > confirmed).then(|| "a fail-over has lost what it had answered".to_owned())
    }

    /// Whether anything may be sent.
    pub fn may_send(&self) -> StoreResult<()> {
        match self.paused.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(StoreError::Unavailable("sending is paused until an operator confirms; the log says why".to_owned())),
        }
    }

    /// Compares again when a connection was made again since the last time; an error when nothing may be sent.
    pub async fn recognise_server(&self) -> StoreResult<()> {
        self.look_again().await?;
        self.may_send()
    }

    async fn look_again(&self) -> StoreResult<()> {
        let mut recognised = self.recognised.lock().await;
        let dialed = self.told.dialed.load(Ordering::Acquire);
        if dialed != *recognised {
            self.compare_heard().await?;
            self.check_watermark(false).await?;
            *recognised = dialed;
        }
        Ok(())
    }

    /// Nothing is sent from here on.
    pub fn stop_sends(&self, why: &str) {
        if !self.paused.swap(true, Ordering::AcqRel) {
            let then = match why {
                GONE => "Stop every engine and restore the back-up, or start them again on the empty Redis",
                _ => "Look at what is missing",
            };
            tracing::error!(
                "NOTHING IS SENT: Redis is not as this worker left it: {why}. What was sent since then could be sent twice. \
                 {then}, then run `autofunnel doctor --store … --confirm`"
            );
        }
    }

    /// Moves the mark until the store is closed.
    pub async fn keep_watermark(self: Arc<Inner>) {
        loop {
            tokio::time::sleep(BEAT).await;
            if self.closed() {
                return;
            }
            // Also what the next thing to be sent would have to wait for.
            let looked = match self.look_again().await {
                Ok(()) => self.check_watermark(false).await,
                Err(why) => Err(why),
            };
            if let Err(why) = looked {
                tracing::debug!(%why, "the watermark could not be moved");
            }
        }
    }
}

/// Takes the lock that makes a worker's note its own: two workers that wrote one note would each take the other's for
/// what it had seen itself.
pub fn lock(note: &std::path::Path) -> StoreResult<std::fs::File> {
    let folder = note.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let shown = folder.display();
    let fail = |why: std::io::Error| StoreError::Fatal(format!("cannot use {shown} (--state): {why}; check the folder"));
    std::fs::create_dir_all(folder).map_err(fail)?;
    let file =
        std::fs::File::options().create(true).write(true).truncate(false).open(note.with_extension("lock")).map_err(fail)?;
    for tries in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(why)) => return Err(fail(why)),
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Fatal(format!(
                    "the folder {shown} (--state) is in use by another worker; stop that one, or give this one a folder of its own"
                )));
            }
        }
    }
    Ok(file)
}

async fn read(file: &std::path::Path) -> Option<Mark> {
    Mark::parse(&tokio::fs::read_to_string(file).await.ok()?)
}

async fn write(file: &std::path::Path, mark: &Mark) -> StoreResult<()> {
    let fail = |why: std::io::Error| {
        StoreError::Unavailable(format!("cannot write {}: {why}; check the folder given with --state", file.display()))
    };
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        tokio::fs::create_dir_all(folder).await.map_err(fail)?;
    }
    let new = file.with_extension("new");
    tokio::fs::write(&new, format!("{} {} {}\n", mark.store, mark.ms, mark.confirmed)).await.map_err(fail)?;
    tokio::fs::rename(&new, file).await.map_err(fail)
}

/// Accepts a Redis that came back older: workers go on sending. The workers that had stopped, with their reasons.
///
/// # Errors
/// When Redis cannot be reached.
pub async fn confirm(connection: &mut Connection) -> Result<Vec<(String, String)>, RedisError> {
    let stopped = stopped(connection).await?;
    let parts = value::list(connection.ask(&redis::cmd("TIME")).await?);
    let now = parts.first().map_or(0, value::int) * 1_000 + parts.get(1).map_or(0, value::int) / 1_000;
    let mut known = redis::cmd("HMGET");
    known.arg(meta("store")).arg(CONFIRMED).arg(LOST);
    let known = value::list(connection.ask(&known).await?).iter().map(value::int).max().unwrap_or(0);
    let mut set = redis::cmd("HSET");
    // Later than what it confirms, whatever the clocks of several nodes say.
    set.arg(meta("store")).arg(CONFIRMED).arg(now.max(known + 1));
    connection.ask(&set).await?;
    Ok(stopped)
}

/// Workers that live and send nothing until somebody has confirmed something, with their reasons.
///
/// # Errors
/// When Redis cannot be reached.
pub async fn stopped(connection: &mut Connection) -> Result<Vec<(String, String)>, RedisError> {
    let (mut all, mut live) = (redis::cmd("HGETALL"), redis::cmd("ZRANGE"));
    all.arg(meta(STOPPED));
    live.arg(meta("workers")).arg(0).arg(-1);
    let all = value::pairs(connection.ask(&all).await?);
    let live: Vec<String> = value::list(connection.ask(&live).await?).into_iter().map(value::text).collect();
    let told = all.into_iter().map(|(name, why)| (value::text(name), value::text(why)));
    // Those that died are dropped with their beat, a while later.
    Ok(told.filter(|(name, _)| live.contains(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_is_written() {
        let mark = |confirmed| Some(Mark { store: "abc".to_owned(), ms: 17, confirmed });
        assert_eq!((Mark::parse("abc 17 5\n"), Mark::parse("abc 17\n"), Mark::parse("abc")), (mark(5), mark(0), None));
    }
}
