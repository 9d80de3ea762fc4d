//! Calls on their way to Redis and back.
//!
//! A few lanes, each with a connection of its own, take whatever has queued up while the last batch was
//! out, and send it as one pipeline: one script call for all items of a kind (in a cluster: of a kind and
//! a shard). So the round trip sets the size of a batch and nothing waits for company.
//!
//! A lost connection, a server that is loading, failing over or has forgotten the scripts, is no error for
//! the caller: the batch is sent again, marked as such, for some seconds. Every script can be repeated:
//! what it has done already it finds done.

use super::super::{StoreError, failpoint};
use super::args::Args;
use super::key::lease;
use super::link::{Connection, Dialer};
use super::script::{self, Script};
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Calls that wait before callers have to wait in front of the queue.
const QUEUED_MAX: usize = 2_048;
/// Most calls of one pipeline.
const BATCH_MAX: usize = 256;
/// Most items of one script call: no other client waits longer than these take.
const SCRIPT_ITEMS_MAX: usize = 64;
/// Bytes of a shard's key.
const LEASE_KEY_BYTES: usize = 16;
/// How long a batch is sent again before its callers are told, in milliseconds.
const PATIENCE_MS: u64 = 5_000;
/// First and longest pause between tries, in milliseconds.
const PAUSE_MS: (u64, u64) = (10, 500);

/// One item of a script.
pub struct Op {
    /// Which.
    pub script: Script,
    /// Its shard.
    pub shard: u16,
    /// Its arguments.
    pub args: Args,
}

impl Op {
    /// Without arguments yet.
    pub fn new(script: Script, shard: u16) -> Op {
        Op { script, shard, args: Args::default() }
    }
}

/// What a script says to one item, and the clock that it saw, in milliseconds.
pub struct Reply {
    /// The store's clock.
    pub now: i64,
    /// The answer.
    pub value: Value,
}

struct Waiting {
    op: Op,
    caller: oneshot::Sender<Result<Reply, StoreError>>,
}

/// What every script is told besides its items.
pub struct Told {
    /// The clock as this process knows it, in milliseconds, and whether it replaces the server's.
    pub now: Box<dyn Fn() -> (i64, bool) + Send + Sync>,
    /// The name of this process.
    pub me: String,
    /// Nothing is sent any more.
    pub closed: AtomicBool,
    /// When Redis was last out of reach, so that this is said once.
    pub silent: AtomicBool,
}

/// The way to Redis.
#[derive(Clone)]
pub struct Pump {
    sender: mpsc::Sender<Waiting>,
    told: Arc<Told>,
}

impl Pump {
    /// Starts the lanes.
    pub fn start(dialer: &Dialer, told: Arc<Told>, connections: Vec<Connection>) -> (Pump, Vec<tokio::task::JoinHandle<()>>) {
        let (sender, receiver) = mpsc::channel(QUEUED_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        let lanes = connections.into_iter().map(|connection| {
            let lane =
                Lane { dialer: dialer.clone(), told: told.clone(), receiver: receiver.clone(), connection: Some(connection) };
            tokio::spawn(lane.run())
        });
        let lanes = lanes.collect();
        (Pump { sender, told }, lanes)
    }

    /// Runs one item.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when Redis did not do it within some seconds, or the store is closed.
    pub async fn call(&self, op: Op) -> Result<Reply, StoreError> {
        if self.told.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let (caller, answer) = oneshot::channel();
        self.sender.send(Waiting { op, caller }).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Closed))
    }

    /// Runs several items; they may share a script call.
    pub async fn all(&self, ops: Vec<Op>) -> Vec<Result<Reply, StoreError>> {
        futures_util::future::join_all(ops.into_iter().map(|op| self.call(op))).await
    }
}

struct Lane {
    dialer: Dialer,
    told: Arc<Told>,
    receiver: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    connection: Option<Connection>,
}

impl Lane {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            if self.receiver.lock().await.recv_many(&mut batch, BATCH_MAX).await == 0 {
                return;
            }
            self.serve(std::mem::take(&mut batch)).await;
        }
    }

    /// Sees a batch through.
    async fn serve(&mut self, mut batch: Vec<Waiting>) {
        let started = Instant::now();
        let (mut again, mut pause) = (false, PAUSE_MS.0);
        while !batch.is_empty() {
            let why = match self.attempt(&mut batch, again).await {
                Ok(()) if batch.is_empty() => return,
                Ok(()) => "Redis was not ready".to_owned(),
                Err(why) => {
                    self.connection = None;
                    why.to_string()
                }
            };
            again = true;
            if started.elapsed() > Duration::from_millis(PATIENCE_MS) || self.told.closed.load(Ordering::Acquire) {
                for waiting in batch.drain(..) {
                    // A caller that has gone away does not want to know.
                    let _ = waiting.caller.send(Err(StoreError::Unavailable(format!("Redis does not answer ({why})"))));
                }
                return;
            }
            if !self.told.silent.swap(true, Ordering::AcqRel) {
                tracing::warn!(%why, store = %self.dialer.address, "Redis is out of reach; what was sent is sent again");
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
            pause = (pause * 2).min(PAUSE_MS.1);
        }
    }

    /// Sends what is left once; what is answered leaves the batch.
    async fn attempt(&mut self, batch: &mut Vec<Waiting>, again: bool) -> Result<(), RedisError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.dialer.connect().await?,
        };
        let groups = group(std::mem::take(batch), self.dialer.spans_shards());
        let commands: Vec<Cmd> = groups.iter().map(|group| self.command(group, again)).collect();
        points(&groups, |points| points.0);
        let answers = match connection.run(commands).await {
            Ok(answers) => answers,
            Err(why) => {
                batch.extend(groups.into_iter().flatten());
                return Err(why);
            }
        };
        points(&groups, |points| points.1);
        let (mut forgotten, mut broken) = (false, None);
        for (group, answer) in groups.into_iter().zip(answers) {
            match answer {
                Ok(value) => hand_out(group, value),
                Err(why) => match weigh(&why) {
                    Weight::Forgotten => {
                        forgotten = true;
                        batch.extend(group);
                    }
                    Weight::Passing => {
                        batch.extend(group);
                        broken = Some(why);
                    }
                    Weight::Refused => refuse(group, &why),
                },
            }
        }
        if forgotten {
            load(&mut connection).await?;
        }
        match broken {
            Some(why) => Err(why),
            None => {
                if self.told.silent.swap(false, Ordering::AcqRel) {
                    tracing::info!(store = %self.dialer.address, "Redis answers again");
                }
                self.connection = Some(connection);
                Ok(())
            }
        }
    }

    fn command(&self, group: &[Waiting], again: bool) -> Cmd {
        let script = group.first().map_or(Script::Renew, |waiting| waiting.op.script);
        let bytes = group.iter().map(|waiting| waiting.op.args.bytes() + LEASE_KEY_BYTES).sum::<usize>();
        let args = group.iter().map(|waiting| waiting.op.args.len() + 1).sum::<usize>();
        let mut command = Cmd::with_capacity(args + 8, bytes + 128);
        command.arg("EVALSHA").arg(&script.loaded().sha).arg(group.len());
        for waiting in group {
            command.arg(lease(waiting.op.shard));
        }
        let (now, set) = (self.told.now)();
        command.arg(now).arg(&self.told.me).arg(if again { "1" } else { "" }).arg(if set { "1" } else { "" });
        for waiting in group {
            waiting.op.args.iter().for_each(|arg| {
                command.arg(arg);
            });
        }
        command
    }
}

/// Puts items that may share a script call together, in their order.
fn group(batch: Vec<Waiting>, spans_shards: bool) -> Vec<Vec<Waiting>> {
    let mut groups: Vec<Vec<Waiting>> = Vec::new();
    for waiting in batch {
        let fits = |group: &&mut Vec<Waiting>| {
            group.len() < SCRIPT_ITEMS_MAX
                && group.first().is_some_and(|first| {
                    first.op.script == waiting.op.script && (spans_shards || first.op.shard == waiting.op.shard)
                })
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(waiting),
            None => groups.push(vec![waiting]),
        }
    }
    groups
}

fn points(groups: &[Vec<Waiting>], which: fn((&'static str, &'static str)) -> &'static str) {
    for first in groups.iter().filter_map(|group| group.first()) {
        if let Some(points) = first.op.script.points() {
            failpoint(which(points));
        }
    }
}

/// Gives each caller its answer.
fn hand_out(group: Vec<Waiting>, value: Value) {
    let parts = match value {
        Value::Array(parts) => parts,
        other => vec![other],
    };
    let mut parts = parts.into_iter();
    let (now, replies) = (parts.next(), parts.next());
    let now = now.and_then(|now| redis::from_redis_value::<i64>(now).ok()).unwrap_or_default();
    let mut replies = match replies {
        Some(Value::Array(replies)) => replies,
        _ => Vec::new(),
    }
    .into_iter();
    for waiting in group {
        let answer = replies.next().map(|value| Reply { now, value }).ok_or_else(|| {
            StoreError::Unavailable(
                "Redis answered in a form that is not known; check that no other program uses its scripts".to_owned(),
            )
        });
        // A caller that has gone away does not want to know.
        let _ = waiting.caller.send(answer);
    }
}

fn refuse(group: Vec<Waiting>, why: &RedisError) {
    let full = why.code() == Some("OOM");
    let said = match full {
        true => {
            "Redis has no memory left; raise maxmemory or give it a larger machine: nothing was taken and nothing lost".to_owned()
        }
        false => format!("Redis refused: {why}"),
    };
    tracing::error!(script = ?group.first().map(|waiting| waiting.op.script), "{said}");
    for waiting in group {
        let _ = waiting.caller.send(Err(StoreError::Unavailable(said.clone())));
    }
}

/// What an error means.
#[derive(PartialEq, Eq, Debug)]
enum Weight {
    /// The server does not know the script.
    Forgotten,
    /// It may work in a moment, over another connection.
    Passing,
    /// It would be refused again.
    Refused,
}

fn weigh(why: &RedisError) -> Weight {
    match why.kind() {
        ErrorKind::Server(ServerErrorKind::NoScript) => Weight::Forgotten,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => Weight::Passing,
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound => Weight::Passing,
        _ if matches!(why.code(), Some("BUSY" | "NOREPLICAS" | "UNBLOCKED" | "NOGOODSLAVE" | "MISCONF")) => Weight::Passing,
        _ => Weight::Refused,
    }
}

/// Makes the scripts known to the server: to every master of a cluster.
///
/// # Errors
/// When the server cannot be reached or refuses scripts.
pub async fn load(connection: &mut Connection) -> Result<(), RedisError> {
    for script in script::all() {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(&script.text);
        connection.ask(&command).await?;
    }
    Ok(())
}
