//! What has to be true of Redis before customers' money is put into it; and whether it came back older.
//!
//! | found | then |
//! |---|---|
//! | older than 7.0 | refused |
//! | an eviction policy | refused: it would drop customers when memory runs out |
//! | no append-only file, or one that is never synced | refused, unless the operator accepts the loss |
//! | off this machine without a password | refused |
//! | off this machine without TLS | a warning |
//! | synced once a second | a note: the last second can be lost in a crash of Redis |
//! | settings that may not be read | a warning: they could not be checked |
//!
//! *Watermark.* Every second a worker writes the time into Redis and, when that is done, into a file of its
//! own. A Redis that later knows a smaller one, or is another store, has come back older (a snapshot, a
//! fail-over, an empty disk): what was done since may be done again. Then nothing is sent until an operator
//! has confirmed it: that leaves an instant in Redis which is later than the last one that the worker knows.
//! A worker compares every second, and before anything is sent over a connection that was made again. In a
//! cluster the mark is in every shard, because each node comes back for itself. What a fail-over loses is mostly
//! younger than the last mark: that is found by the numbers of batches (`heard`), and told to all workers by an
//! instant in Redis that an operator's confirmation has to be later than.

use super::super::{StoreError, StoreResult};
use super::address::Address;
use super::key::{SHARDS, key, meta};
use super::link::{Connection, Dialer};
use super::{Inner, value};
use redis::{Cmd, RedisError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Oldest major version that has what the scripts use.
const MAJOR_MIN: u64 = 7;
/// How much may be missing after a crash where Redis syncs once a second, in milliseconds: that second and
/// the one in which nobody had written the mark.
const SECOND_LOST_MS: i64 = 3_000;
/// Where an operator's confirmation stands in the store's own hash: when it was given, in milliseconds.
pub const CONFIRMED: &str = "confirmed";
/// When a process last noticed that Redis had lost what it had answered, beside it.
pub const LOST: &str = "lost";
/// Settings that are read.
const SETTINGS: [&str; 3] = ["appendfsync", "min-replicas-to-write", "cluster-require-full-coverage"];
/// Between two marks.
const BEAT: Duration = Duration::from_secs(1);

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// `7.0.15`.
    pub version: String,
    /// `redis` or `valkey`.
    pub server: String,
    /// There is an append-only file; `None`: it could not be asked.
    pub append_only: Option<bool>,
    /// `always`, `everysec` or `no`; empty: unknown.
    pub sync: String,
    /// Every write is on disk before it is answered.
    pub synced: bool,
    /// The eviction policy; empty: unknown.
    pub eviction: String,
    /// Bytes that Redis uses, and may use (0: no bound).
    pub memory: (u64, u64),
    /// How far this machine's clock is from Redis's, in milliseconds.
    pub skew_ms: i64,
    /// Where it is.
    pub local: bool,
    /// There is a password.
    pub password: bool,
    /// Encrypted.
    pub tls: bool,
    /// Where it listens, in words.
    pub name: String,
    /// Replicas that follow it.
    pub replicas: u64,
    /// Without so many replicas it takes no writes; `None`: unknown.
    pub min_replicas: Option<u64>,
    /// As a node of a cluster it serves nothing while any slot has no node.
    pub full_coverage: bool,
}

/// One thing that is worth saying about a Redis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Remark {
    /// Not safe: refused.
    Refusal(String),
    /// Not safe, but the operator may accept it.
    Loss(String),
    /// Works, with a risk.
    Warning(String),
    /// Good to know.
    Note(String),
}

/// Asks a server what it is.
///
/// # Errors
/// When it cannot be asked at all.
pub async fn look(connection: &mut Connection, address: &Address) -> Result<Found, RedisError> {
    let mut found = Found { local: address.is_local(), password: address.password, tls: address.tls, ..Found::default() };
    let mut ask = async |command: Cmd| connection.ask(&command).await;
    let info = value::text(ask(redis::cmd("INFO")).await?);
    let line = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')));
        line.map(str::trim).unwrap_or_default().to_owned()
    };
    (found.server, found.version) = match line("valkey_version") {
        version if version.is_empty() => ("redis".to_owned(), line("redis_version")),
        version => ("valkey".to_owned(), version),
    };
    found.memory = (line("used_memory").parse().unwrap_or(0), line("maxmemory").parse().unwrap_or(0));
    found.append_only = match line("aof_enabled").as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    };
    found.eviction = line("maxmemory_policy");
    found.replicas = line("connected_slaves").parse().unwrap_or(0);
    found.name = format!("on port {}", line("tcp_port"));
    let mut settings = redis::cmd("CONFIG");
    settings.arg("GET").arg(&SETTINGS);
    // Hosted servers often forbid CONFIG: then it stays unknown, which is remarked.
    if let Ok(answer) = ask(settings).await {
        let kept: BTreeMap<String, String> =
            value::pairs(answer).into_iter().map(|(name, kept)| (value::text(name), value::text(kept))).collect();
        let setting = |name: &str| kept.get(name).cloned().unwrap_or_default();
        found.sync = setting(SETTINGS[0]);
        found.min_replicas = setting(SETTINGS[1]).parse().ok();
        found.full_coverage = setting(SETTINGS[2]) == "yes";
    }
    found.synced = found.append_only == Some(true) && found.sync == "always";
    let mut parts = value::list(ask(redis::cmd("TIME")).await?).into_iter();
    let (seconds, micros) = (value::int(&value::next(&mut parts)), value::int(&value::next(&mut parts)));
    let own =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    found.skew_ms = own - (seconds * 1_000 + micros / 1_000);
    Ok(found)
}

/// Everything that is to be said.
pub fn remarks(found: &Found) -> Vec<Remark> {
    let mut said = Vec::new();
    let major = found.version.split('.').next().and_then(|major| major.parse::<u64>().ok());
    match major {
        Some(major) if major < MAJOR_MIN => said.push(Remark::Refusal(format!(
            "Redis {} is too old; install Redis {MAJOR_MIN}.0 or newer, or Valkey",
            found.version
        ))),
        Some(_) => {}
        None => {
            said.push(Remark::Warning("the server does not tell its version; it must be at least as new as Redis 7.0".to_owned()))
        }
    }
    match found.eviction.as_str() {
        "noeviction" => {}
        "" => said.push(Remark::Warning("the eviction policy could not be read; it must be noeviction".to_owned())),
        policy => said.push(Remark::Refusal(format!(
            "the eviction policy is {policy}: Redis would drop customers when its memory is full; set maxmemory-policy noeviction"
        ))),
    }
    match (found.append_only, found.sync.as_str()) {
        (Some(false), _) => said.push(Remark::Loss(
            "there is no append-only file: a restart of Redis loses what came after its last snapshot; set appendonly yes".to_owned(),
        )),
        (_, "no") => said.push(Remark::Loss(
            "the append-only file is never synced: a power cut loses half a minute and more; set appendfsync always (or everysec)"
                .to_owned(),
        )),
        (_, "everysec") => said.push(Remark::Note(
            "the append-only file is synced once a second: a crash of Redis's machine can lose the last second; \
             appendfsync always loses nothing"
                .to_owned(),
        )),
        (None, _) | (_, "") => {
            said.push(Remark::Warning("whether Redis writes to disk could not be read; it must have appendonly yes".to_owned()));
        }
        _ => {}
    }
    if !found.local && !found.password {
        said.push(Remark::Refusal(
            "Redis is on another machine and asks for no password: whoever reaches it has every customer; set requirepass or an ACL"
                .to_owned(),
        ));
    }
    if !found.local && !found.tls {
        said.push(Remark::Warning("the way to Redis is not encrypted; use rediss:// outside a private network".to_owned()));
    }
    if found.skew_ms.abs() > 5_000 {
        said.push(Remark::Warning(format!(
            "this machine's clock and Redis's differ by {:.1} s; events carry the sender's time: set the clocks (NTP)",
            found.skew_ms as f64 / 1_000.0
        )));
    }
    said
}

/// Lets a Redis pass, or says why not.
pub fn allow(found: &Found, accept_loss: bool) -> StoreResult<()> {
    for remark in remarks(found) {
        match remark {
            Remark::Refusal(why) => return Err(StoreError::Fatal(why)),
            Remark::Loss(why) if !accept_loss => {
                return Err(StoreError::Fatal(format!("{why}, or start with --accept-loss if that is no matter")));
            }
            Remark::Loss(why) | Remark::Warning(why) => tracing::warn!("{why}"),
            Remark::Note(why) => tracing::info!("{why}"),
        }
    }
    Ok(())
}

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
        let known = answers.map(|score| value::instant(&value::text(score)).unwrap_or(0)).min().unwrap_or(0);
        match self.doubt(kept.as_ref(), &id, known, confirmed, lost) {
            Some(why) => self.pause(&why),
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
        self.plain(&adds).await?;
        let mark = Mark { store: id, ms: now, confirmed };
        write(&file, &mark).await?;
        *self.mark.lock().await = Some(mark);
        Ok(())
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
    pub fn pause(&self, why: &str) {
        if !self.paused.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "NOTHING IS SENT: Redis is not as this worker left it: {why}. What was sent since then could be sent twice. \
                 Look at what is missing, then run `autofunnel doctor --store … --confirm`"
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

/// Accepts a Redis that came back older: workers go on sending.
///
/// # Errors
/// When Redis cannot be reached.
pub async fn confirm(dialer: &Dialer) -> Result<(), RedisError> {
    let mut connection = dialer.connect().await?;
    let parts = value::list(connection.ask(&redis::cmd("TIME")).await?);
    let now = parts.first().map_or(0, value::int) * 1_000 + parts.get(1).map_or(0, value::int) / 1_000;
    let mut known = redis::cmd("HMGET");
    known.arg(meta("store")).arg(CONFIRMED).arg(LOST);
    let known = value::list(connection.ask(&known).await?).iter().map(value::int).max().unwrap_or(0);
    let mut set = redis::cmd("HSET");
    // Later than what it confirms, whatever the clocks of several nodes say.
    set.arg(meta("store")).arg(CONFIRMED).arg(now.max(known + 1));
    connection.ask(&set).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Found {
        Found {
            version: "7.0.15".to_owned(),
            server: "redis".to_owned(),
            append_only: Some(true),
            sync: "always".to_owned(),
            synced: true,
            eviction: "noeviction".to_owned(),
            local: true,
            ..Found::default()
        }
    }

    #[test]
    fn a_safe_redis_passes_without_a_word() {
        assert_eq!(remarks(&good()), []);
        assert!(allow(&good(), false).is_ok());
    }

    #[test]
    fn each_danger_is_refused_in_plain_words() {
        let cases: [(Found, &str); 5] = [
            (Found { version: "6.2.6".to_owned(), ..good() }, "too old"),
            (Found { eviction: "allkeys-lru".to_owned(), ..good() }, "maxmemory-policy noeviction"),
            (Found { append_only: Some(false), synced: false, ..good() }, "appendonly yes"),
            (Found { sync: "no".to_owned(), synced: false, ..good() }, "appendfsync always"),
            (Found { local: false, ..good() }, "requirepass"),
        ];
        for (found, hint) in cases {
            let said = allow(&found, false).unwrap_err().to_string();
            assert!(said.contains(hint), "{said}");
        }
        assert!(allow(&Found { append_only: Some(false), ..good() }, true).is_ok(), "the operator accepts it");
        assert!(allow(&Found { version: "6.2".to_owned(), ..good() }, true).is_err(), "this nobody can accept");
    }

    #[test]
    fn what_cannot_be_read_is_a_warning() {
        let hosted = Found { append_only: None, sync: String::new(), eviction: String::new(), ..good() };
        assert!(remarks(&hosted).iter().all(|remark| matches!(remark, Remark::Warning(_))));
        assert_eq!(remarks(&hosted).len(), 2);
        assert!(matches!(&remarks(&Found { sync: "everysec".to_owned(), ..good() })[..], [Remark::Note(_)]));
    }

    #[test]
    fn a_mark_is_read_as_it_is_written() {
        let mark = |confirmed| Some(Mark { store: "abc".to_owned(), ms: 17, confirmed });
        assert_eq!((Mark::parse("abc 17 5\n"), Mark::parse("abc 17\n"), Mark::parse("abc")), (mark(5), mark(0), None));
    }
}
