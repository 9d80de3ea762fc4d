//! Commands that are no scripts: what is kept for the store as a whole, checks, reading.

use super::super::{StoreError, StoreResult};
use super::Inner;
use super::lane::WAIT_MS;
use super::link::{Connection, Dialer};
use redis::{Cmd, ErrorKind, RedisError, Value};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a command is tried again, in milliseconds.
const PATIENCE_MS: u64 = 5_000;
/// Pause between tries, in milliseconds.
const PAUSE_MS: u64 = 100;

/// A connection for commands that are no scripts; made again when it is lost.
pub struct Plain {
    dialer: Dialer,
    /// How often there had been another master when it was made, and the connection.
    kept: Mutex<Option<(u64, Connection)>>,
}

impl Plain {
    /// With a connection that is open.
    pub fn new(dialer: Dialer, connection: Connection) -> Plain {
        let kept = Mutex::new(Some((dialer.changes(), connection)));
        Plain { dialer, kept }
    }

    async fn connection(&self) -> Result<(u64, Connection), RedisError> {
        match self.kept.lock().await.clone() {
            Some(kept) if kept.0 == self.dialer.changes() => Ok(kept),
            _ => {
                let changes = self.dialer.changes();
                Ok((changes, self.dialer.connect().await?))
            }
        }
    }

    async fn once(&self, commands: &[Cmd]) -> Result<Vec<Value>, RedisError> {
        let (changes, mut connection) = self.connection().await?;
        let answers = connection.run(commands.to_vec()).await;
        // With what was learnt on the way, or none.
        *self.kept.lock().await = answers.is_ok().then_some((changes, connection));
        answers?.into_iter().collect()
    }

    /// Runs commands once, and waits until so many replicas have what they wrote; whether they have.
    ///
    /// # Errors
    /// When Redis did not answer, or refuses one.
    pub async fn run_kept(&self, commands: &[Cmd], replicas: usize) -> StoreResult<bool> {
        let kept = async {
            let (changes, mut connection) = self.connection().await?;
            let mut wait = redis::cmd("WAIT");
            wait.arg(replicas).arg(WAIT_MS);
            let answers = connection.run_kept(commands.to_vec(), wait).await?;
            *self.kept.lock().await = Some((changes, connection));
            answers.into_iter().try_fold(true, |all, (answer, has)| answer.map(|_| all && has >= replicas as i64))
        };
        kept.await.map_err(|why: RedisError| StoreError::Unavailable(format!("Redis does not answer as it should ({why})")))
    }

    /// Runs commands; each must be such that running it twice is as good as once.
    ///
    /// # Errors
    /// When Redis did not answer for some seconds, or refuses one.
    pub async fn run(&self, commands: &[Cmd]) -> StoreResult<Vec<Value>> {
        let started = Instant::now();
        loop {
            match self.once(commands).await {
                Ok(values) => return Ok(values),
                Err(why) if started.elapsed() < Duration::from_millis(PATIENCE_MS) && passes(&why) => {
                    tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
                }
                Err(why) => return Err(StoreError::Unavailable(format!("Redis does not answer as it should ({why})"))),
            }
        }
    }
}

fn passes(why: &RedisError) -> bool {
    let codes = ["LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOREPLICAS"];
    why.is_io_error()
        || why.kind() == ErrorKind::ClusterConnectionNotFound
        || why.code().is_some_and(|code| codes.contains(&code))
}

impl Inner {
    /// Runs commands that are no scripts.
    pub async fn plain(&self, commands: &[Cmd]) -> StoreResult<Vec<Value>> {
        self.plain.run(commands).await
    }
}
