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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// Items of one caller, with the answers that have come.
struct Waiting {
    ops: Vec<Op>,
    answers: Vec<Option<Result<Reply, StoreError>>>,
    left: usize,
    caller: Option<oneshot::Sender<Vec<Result<Reply, StoreError>>>>,
}

impl Waiting {
    fn answer(&mut self, place: usize, answer: Result<Reply, StoreError>) {
        let Some(empty @ None) = self.answers.get_mut(place) else { return };
        *empty = Some(answer);
        self.left -= 1;
        if self.left == 0
            && let Some(caller) = self.caller.take()
        {
            // A caller that has gone away does not want to know.
            let _ = caller.send(std::mem::take(&mut self.answers).into_iter().flatten().collect());
        }
    }
}

/// One item of a batch: whose, and which of theirs.
#[derive(Clone, Copy)]
struct Item {
    waiting: usize,
    place: usize,
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
    /// How often a connection was made again.
    pub dialed: AtomicU64,
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
    /// [`StoreError::Unavailable`] when Redis did not do it within some seconds; [`StoreError::Closed`].
    pub async fn call(&self, op: Op) -> Result<Reply, StoreError> {
        self.all(vec![op]).await?.pop().unwrap_or(Err(StoreError::Closed))
    }

    /// Runs several items, which may share script calls: an answer for each in their order.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn all(&self, ops: Vec<Op>) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        if self.told.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let (caller, answer) = oneshot::channel();
        let answers = ops.iter().map(|_| None).collect();
        let waiting = Waiting { left: ops.len(), ops, answers, caller: Some(caller) };
        self.sender.send(waiting).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)
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
            self.serve(&mut batch).await;
            batch.clear();
        }
    }

    /// Sees a batch through.
    async fn serve(&mut self, batch: &mut [Waiting]) {
        let mut items: Vec<Item> = Vec::with_capacity(batch.len());
        for (waiting, whose) in batch.iter().enumerate() {
            items.extend((0..whose.ops.len()).map(|place| Item { waiting, place }));
        }
        let started = Instant::now();
        let (mut again, mut pause) = (false, PAUSE_MS.0);
        while !items.is_empty() {
            let why = match self.attempt(batch, &mut items, again).await {
                Ok(()) if items.is_empty() => return,
                Ok(()) => "Redis was not ready".to_owned(),
                Err(why) => {
                    self.connection = None;
                    why.to_string()
                }
            };
            again = true;
            if started.elapsed() > Duration::from_millis(PATIENCE_MS) || self.told.closed.load(Ordering::Acquire) {
                let said = StoreError::Unavailable(format!("Redis does not answer ({why})"));
                for item in items.drain(..) {
                    batch[item.waiting].answer(item.place, Err(said.clone()));
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

    /// Sends what is left once; what is answered leaves the list of items.
    async fn attempt(&mut self, batch: &mut [Waiting], items: &mut Vec<Item>, again: bool) -> Result<(), RedisError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                // Whoever answers now may not be what it was.
                let connection = self.dialer.connect().await?;
                self.told.dialed.fetch_add(1, Ordering::AcqRel);
                connection
            }
        };
        let groups = group(batch, items, self.dialer.spans_shards());
        let commands: Vec<Cmd> = groups.iter().map(|(script, group)| self.command(batch, *script, group, again)).collect();
        points(&groups, |points| points.0);
        let answers = connection.run(commands).await?;
        points(&groups, |points| points.1);
        items.clear();
        let (mut forgotten, mut broken) = (false, None);
        for ((script, group), answer) in groups.into_iter().zip(answers) {
            match answer {
                Ok(value) => hand_out(batch, group, value),
                Err(why) => match weigh(&why) {
                    Weight::Forgotten => {
                        forgotten = true;
                        items.extend(group);
                    }
                    Weight::Passing => {
                        items.extend(group);
                        broken = Some(why);
                    }
                    Weight::Refused => refuse(batch, script, group, &why),
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

    fn command(&self, batch: &[Waiting], script: Script, group: &[Item], again: bool) -> Cmd {
        let ops = || group.iter().map(|item| &batch[item.waiting].ops[item.place]);
        let bytes = ops().map(|op| op.args.bytes() + LEASE_KEY_BYTES).sum::<usize>();
        let args = ops().map(|op| op.args.len() + 1).sum::<usize>();
        let mut command = Cmd::with_capacity(args + 8, bytes + 128);
        command.arg("EVALSHA").arg(&script.loaded().sha).arg(group.len());
        ops().for_each(|op| {
            command.arg(lease(op.shard));
        });
        let (now, set) = (self.told.now)();
        command.arg(now).arg(&self.told.me).arg(if again { "1" } else { "" }).arg(if set { "1" } else { "" });
        ops().for_each(|op| {
            op.args.iter().for_each(|arg| {
                command.arg(arg);
            });
        });
        command
    }
}

/// Puts items that may share a script call together, in their order.
fn group(batch: &[Waiting], items: &[Item], spans_shards: bool) -> Vec<(Script, Vec<Item>)> {
    let mut groups: Vec<(Script, u16, Vec<Item>)> = Vec::new();
    for item in items {
        let op = &batch[item.waiting].ops[item.place];
        let fits = |(script, shard, group): &&mut (Script, u16, Vec<Item>)| {
            *script == op.script && (spans_shards || *shard == op.shard) && group.len() < SCRIPT_ITEMS_MAX
        };
        match groups.iter_mut().find(fits) {
            Some((_, _, group)) => group.push(*item),
            None => groups.push((op.script, op.shard, vec![*item])),
        }
    }
    groups.into_iter().map(|(script, _, group)| (script, group)).collect()
}

fn points(groups: &[(Script, Vec<Item>)], which: fn((&'static str, &'static str)) -> &'static str) {
    for (script, _) in groups {
        if let Some(points) = script.points() {
            failpoint(which(points));
        }
    }
}

/// Gives each item its answer.
fn hand_out(batch: &mut [Waiting], group: Vec<Item>, value: Value) {
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
    for item in group {
        let answer = replies.next().map(|value| Reply { now, value }).ok_or_else(|| {
            StoreError::Unavailable(
                "Redis answered in a form that is not known; check that no other program uses its scripts".to_owned(),
            )
        });
        batch[item.waiting].answer(item.place, answer);
    }
}

fn refuse(batch: &mut [Waiting], script: Script, group: Vec<Item>, why: &RedisError) {
    let full = why.code() == Some("OOM");
    let said = match full {
        true => {
            "Redis has no memory left; raise maxmemory or give it a larger machine: nothing was taken and nothing lost".to_owned()
        }
        false => format!("Redis refused: {why}"),
    };
    tracing::error!(?script, "{said}");
    for item in group {
        batch[item.waiting].answer(item.place, Err(StoreError::Unavailable(said.clone())));
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
