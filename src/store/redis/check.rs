//! What has to be true of Redis before customers' money is put into it.
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

use super::super::{StoreError, StoreResult};
use super::address::Address;
use super::link::Connection;
use super::value;
use redis::{Cmd, RedisError};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Oldest major version that has what the scripts use.
const MAJOR_MIN: u64 = 7;
/// Settings that are read.
const SETTINGS: [&str; 3] = ["appendfsync", "min-replicas-to-write", "cluster-require-full-coverage"];

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
}
