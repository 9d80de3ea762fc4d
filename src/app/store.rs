//! Which store an engine works on, and what this process does with it.

use crate::engine::clock::Clock;
use crate::lang::time::Time;
use crate::store::redis as remote;
use crate::store::redis::RedisStore;
use crate::store::sqlite::{self, Mirror, Options, SqliteStore};
use crate::store::{Store, StoreError};
use anyhow::bail;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where customers are kept.
#[derive(Clone, Debug)]
pub enum Place {
    /// In one file of this machine; made if it does not exist.
    File(PathBuf),
    /// In Redis.
    Redis(Remote),
}

/// A store in Redis, and what this process keeps beside it.
#[derive(Clone)]
pub struct Remote {
    /// As an operator writes it, with its password.
    pub address: String,
    /// The read side's file.
    pub report: PathBuf,
    /// Where a worker notes how far the store was.
    pub state: PathBuf,
    /// An append-only file is not demanded.
    pub accept_loss: bool,
    /// So many replicas must confirm what is answered.
    pub wait_replicas: usize,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address holds a password.
        f.debug_struct("Remote").field("report", &self.report).field("state", &self.state).finish_non_exhaustive()
    }
}

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roles {
    /// It opens the doors.
    pub web: bool,
    /// It turns and delivers.
    pub worker: bool,
    /// It follows the fact streams into the read side.
    pub report: bool,
}

impl Roles {
    /// Everything.
    pub const ALL: Roles = Roles { web: true, worker: true, report: true };
}

/// For tests only: how long a lease lasts, in milliseconds, so that a worker that was killed is replaced soon.
pub const LEASE_VARIABLE: &str = "AUTOFUNNEL_LEASE_MS";
/// A shorter lease would be lost by a worker that is merely busy, in milliseconds.
const LEASE_MS_MIN: i64 = 500;
/// The name of a worker's note in its folder.
const STATE_FILE: &str = "watermark";

/// Opens the store.
///
/// # Errors
/// When it cannot be opened, is unsafe, or the roles do not fit it.
pub async fn open(place: &Place, roles: Roles, time: &Clock) -> anyhow::Result<Arc<dyn Store>> {
    let scale = time.scale();
    let ticking = time.clone();
    let clock: Arc<dyn Fn() -> Time + Send + Sync> = Arc::new(move || ticking.now());
    let chosen = match place {
        Place::File(path) => {
            if roles != Roles::ALL {
                bail!(
                    "a store in a file belongs to one process, which does everything; leave --role out, or use --store redis://…"
                );
            }
            let mut options = Options::new(clock);
            (options.scale, options.jumps) = (scale, time.jumps());
            return Ok(SqliteStore::open(path, options)?);
        }
        Place::Redis(chosen) => chosen,
    };
    if (scale - 1.0).abs() > f64::EPSILON {
        bail!("time can only run faster on a store in a file; use --store FILE");
    }
    let mut options = remote::Options::new(&chosen.address);
    if let Ok(text) = std::env::var(LEASE_VARIABLE) {
        match text.parse() {
            Ok(lease_ms) if lease_ms >= LEASE_MS_MIN => options.lease_ms = lease_ms,
            _ => bail!(
                "{LEASE_VARIABLE}={text} is no number of milliseconds from {LEASE_MS_MIN} on; leave it out, it is for tests"
            ),
        }
    }
    options.works = roles.worker;
    options.reports = roles.report;
    options.accept_loss = chosen.accept_loss;
    options.wait_replicas = chosen.wait_replicas;
    options.state_file = roles.worker.then(|| chosen.state.join(STATE_FILE));
    options.mirror = match roles.report {
        true => Some(Mirror::open(&chosen.report, Options::new(clock))?),
        false => beside(&chosen.report)?,
    };
    Ok(RedisStore::open(options).await?)
}

/// The read side that another process of this machine writes, if there is one.
fn beside(report: &Path) -> Result<Option<Arc<Mirror>>, StoreError> {
    match Mirror::read_only(report) {
        Ok(mirror) => Ok(Some(mirror)),
        Err(StoreError::Unavailable(_)) => {
            tracing::info!("no read side here: lists, timelines and figures are answered by the process with the role `report`");
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

/// What was found in a store.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
pub enum Examined {
    /// Of a store in Redis.
    Redis(remote::doctor::Report),
    /// Of a store in a file.
    File(sqlite::doctor::Report),
}

/// Looks at a store without changing it.
///
/// # Errors
/// When it cannot be reached or read.
pub async fn examine(place: &Place) -> anyhow::Result<Examined> {
    Ok(match place {
        Place::Redis(chosen) => Examined::Redis(remote::doctor::examine(&chosen.address).await?),
        Place::File(path) => Examined::File(sqlite::doctor::examine(path, Clock::system().now())?),
    })
}

/// Says that sending may go on though Redis came back older than it was. The workers that had stopped, with their reasons.
///
/// # Errors
/// When Redis cannot be reached.
pub async fn confirm(chosen: &Remote) -> anyhow::Result<Vec<(String, String)>> {
    Ok(remote::doctor::confirm(&chosen.address).await?)
}
