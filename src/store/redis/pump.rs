//! Calls on their way to Redis and back.
//!
//! A few lanes, each with a connection of its own, take whatever has queued up while the last batch was
//! out, and send it as one pipeline: one script call for all items of a kind (in a cluster: of a kind and
//! a shard). So the round trip sets the size of a batch and nothing waits for company.
//!
//! A lost connection, a server that is loading, failing over or has forgotten the scripts, is no error for
//! the caller: the batch is sent again, marked as such, for some seconds. Every script can be repeated:
//! what it has done already it finds done. In a cluster only what could not be sent goes back to where it
//! came from and is sent again later: a node that is away, or a slot on its way to another node, holds up
//! nobody else.

use super::super::{StoreError, failpoint};
use super::args::Args;
use super::heard::Heard;
use super::key::{key, lease, meta};
use super::link::{Connection, Dialer, Kept};
use super::script::{self, Script};
use super::value;
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
/// How long replicas may take to confirm, in milliseconds.
pub const WAIT_MS: u64 = 1_000;
/// What a script says when it meets a slot that is on its way to another node.
const MOVING: &str = "attempted to access a non local key";
/// What a script says when a part of the cluster is away.
const DOWN: &str = "while the cluster is down";

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

/// Why an item has no answer.
enum Miss {
    /// It has failed.
    Failed(StoreError),
    /// It could not be done now: it is to be sent again.
    Back(Op, String),
}

/// Items of one caller, with the answers that have come.
struct Waiting {
    ops: Vec<Op>,
    /// They were sent before.
    again: bool,
    answers: Vec<Option<Result<Reply, Miss>>>,
    left: usize,
    caller: Option<oneshot::Sender<Vec<Result<Reply, Miss>>>>,
}

impl Waiting {
    fn give_back(&mut self, place: usize, why: String) {
        let Some(op) = self.ops.get_mut(place) else { return };
        let op = Op { script: op.script, shard: op.shard, args: std::mem::take(&mut op.args) };
        self.answer(place, Err(Miss::Back(op, why)));
    }

    fn fail(&mut self, place: usize, why: &StoreError) {
        self.answer(place, Err(Miss::Failed(why.clone())));
    }

    fn answer(&mut self, place: usize, answer: Result<Reply, Miss>) {
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
    /// How often a connection was made again, or may have been.
    pub dialed: AtomicU64,
    /// What was answered.
    pub heard: Heard,
    /// So many replicas must confirm what others count on before it is answered.
    pub wait_replicas: usize,
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
        let lanes = connections.into_iter().enumerate().map(|(name, connection)| {
            let (dialer, told, receiver) = (dialer.clone(), told.clone(), receiver.clone());
            let lane = Lane { dialer, told, receiver, connection: Some(connection), name, batches: 0 };
            tokio::spawn(lane.run())
        });
        let lanes = lanes.collect();
        (Pump { sender, told }, lanes)
    }

    /// Runs several items, which may share script calls: an answer for each in their order.
    ///
    /// # Errors
    /// [`StoreError::Closed`]; in the place of an item [`StoreError::Unavailable`] when Redis did not do it within
    /// some seconds.
    pub async fn all(&self, ops: Vec<Op>) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.once(ops, false).await?;
        if answers.iter().any(|answer| matches!(answer, Err(Miss::Back(..)))) {
            return self.insist(answers).await;
        }
        Ok(answers.into_iter().map(Pump::as_it_is).collect())
    }

    /// The same, without waiting for what cannot be done now.
    ///
    /// # Errors
    /// As above.
    pub async fn what_can_be_done(&self, ops: Vec<Op>) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.once(ops, false).await?.into_iter().map(Pump::as_it_is).collect())
    }

    fn as_it_is(answer: Result<Reply, Miss>) -> Result<Reply, StoreError> {
        answer.map_err(|miss| match miss {
            Miss::Failed(why) => why,
            Miss::Back(_, why) => StoreError::Unavailable(format!("a part of Redis does not answer ({why})")),
        })
    }

    /// Sends what came back again, until it is done or took too long.
    async fn insist(&self, mut answers: Vec<Result<Reply, Miss>>) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        let (started, mut pause) = (Instant::now(), PAUSE_MS.0);
        while started.elapsed() < Duration::from_millis(PATIENCE_MS) {
            let (mut places, mut ops) = (Vec::new(), Vec::new());
            for (place, answer) in answers.iter_mut().enumerate() {
                if let Err(Miss::Back(op, _)) = answer {
                    places.push(place);
                    ops.push(Op { script: op.script, shard: op.shard, args: std::mem::take(&mut op.args) });
                }
            }
            if ops.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
            pause = (pause * 2).min(PAUSE_MS.1 / 2);
            for (place, answer) in places.into_iter().zip(self.once(ops, true).await?) {
                answers[place] = answer;
            }
        }
        Ok(answers.into_iter().map(Pump::as_it_is).collect())
    }

    async fn once(&self, ops: Vec<Op>, again: bool) -> Result<Vec<Result<Reply, Miss>>, StoreError> {
        if self.told.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let (caller, answer) = oneshot::channel();
        let answers = ops.iter().map(|_| None).collect();
        let waiting = Waiting { left: ops.len(), ops, again, answers, caller: Some(caller) };
        self.sender.send(waiting).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)
    }
}

struct Lane {
    dialer: Dialer,
    told: Arc<Told>,
    receiver: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    connection: Option<Connection>,
    /// Its number among the lanes.
    name: usize,
    /// Batches sent so far.
    batches: u64,
}

/// What is sent as one script call.
struct Group {
    script: Script,
    shard: u16,
    again: bool,
    items: Vec<Item>,
    /// The key of the batch's number, and what must be there; empty: no numbers are kept.
    heard: (String, u64),
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
                    batch[item.waiting].fail(item.place, &said);
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
                let connection = self.dialer.connect_for_scripts().await?;
                self.told.dialed.fetch_add(1, Ordering::AcqRel);
                connection
            }
        };
        self.batches += 1;
        let mut groups = group(batch, items, again, self.dialer.spans_shards());
        if self.told.heard.is_on() {
            groups.iter_mut().for_each(|group| group.heard = self.heard(group.shard));
        }
        points(&groups, |points| points.0);
        let answers = self.send(&mut connection, batch, &groups).await?;
        points(&groups, |points| points.1);
        items.clear();
        let (mut forgotten, mut broken) = (false, None);
        for (group, (answer, replicas)) in groups.into_iter().zip(answers) {
            match answer {
                Ok(value) => self.take(batch, group, value, replicas),
                Err(why) => match weigh(&why) {
                    Weight::Forgotten => {
                        forgotten = true;
                        items.extend(group.items);
                    }
                    Weight::Passing if !self.dialer.spans_shards() => self.give_back(batch, group, &why),
                    Weight::Passing => {
                        items.extend(group.items);
                        broken = Some(why);
                    }
                    Weight::Refused => refuse(batch, group, &why),
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

    /// Sends script calls; an answer for each, and how many replicas have it.
    async fn send(&self, connection: &mut Connection, batch: &[Waiting], groups: &[Group]) -> Result<Vec<Kept>, RedisError> {
        let commands = groups.iter().map(|group| self.command(batch, group));
        if self.told.wait_replicas > 0 && groups.iter().any(|group| group.script.is_promise()) {
            let mut wait = redis::cmd("WAIT");
            wait.arg(self.told.wait_replicas).arg(WAIT_MS);
            return connection.run_kept(commands.collect(), wait).await;
        }
        Ok(connection.run(commands.collect()).await?.into_iter().map(|answer| (answer, 0)).collect())
    }

    /// Where a batch's number is kept, and which must be there.
    fn heard(&self, shard: u16) -> (String, u64) {
        let name = format!("heard:{}:{}", self.told.me, self.name);
        // All shards of one server are lost or kept together.
        let key = if self.dialer.spans_shards() { meta(&name) } else { key(shard, &name) };
        let floor = self.told.heard.floor(&key);
        (key, floor)
    }

    /// Gives each item of a call its answer, unless too few replicas have it.
    fn take(&self, batch: &mut [Waiting], group: Group, value: Value, replicas: i64) {
        let mut parts = value::list(value).into_iter();
        let (now, replies, found) = (value::next(&mut parts), value::next(&mut parts), value::next(&mut parts));
        let promised = group.script.is_promise();
        let wanted = i64::try_from(self.told.wait_replicas).unwrap_or(i64::MAX);
        if promised && replicas < wanted {
            let said = StoreError::Unavailable(format!(
                "only {replicas} of {wanted} replicas have confirmed within {WAIT_MS} ms; it is done, and a fail-over could undo it: \
                 send it again"
            ));
            group.items.iter().for_each(|item| batch[item.waiting].fail(item.place, &said));
            return;
        }
        let (key, floor) = &group.heard;
        if !key.is_empty() {
            self.told.heard.compare(key, *floor, u64::try_from(value::int(&found)).unwrap_or(0));
            if promised {
                self.told.heard.answered(key, self.batches);
            }
        }
        hand_out(batch, group.items, value::int(&now), value::list(replies));
    }

    /// A part of a cluster did not do it: it goes back to where it came from, and nobody else waits for it.
    fn give_back(&self, batch: &mut [Waiting], group: Group, why: &RedisError) {
        // It may have another master now.
        self.told.dialed.fetch_add(1, Ordering::AcqRel);
        tracing::debug!(%why, shard = group.shard, "a part of the cluster is out of reach; what was sent is sent again");
        group.items.iter().for_each(|item| batch[item.waiting].give_back(item.place, why.to_string()));
    }

    fn command(&self, batch: &[Waiting], group: &Group) -> Cmd {
        let ops = || group.items.iter().map(|item| &batch[item.waiting].ops[item.place]);
        let bytes = ops().map(|op| op.args.bytes() + LEASE_KEY_BYTES).sum::<usize>();
        let args = ops().map(|op| op.args.len() + 1).sum::<usize>();
        let mut command = Cmd::with_capacity(args + 10, bytes + 128);
        command.arg("EVALSHA").arg(&group.script.loaded().sha).arg(group.items.len());
        ops().for_each(|op| {
            command.arg(lease(op.shard));
        });
        let (now, set) = (self.told.now)();
        command.arg(now).arg(&self.told.me).arg(if group.again { "1" } else { "" }).arg(if set { "1" } else { "" });
        match group.heard.0.as_str() {
            "" => command.arg("").arg(""),
            key => command.arg(self.batches).arg(key),
        };
        ops().for_each(|op| {
            op.args.iter().for_each(|arg| {
                command.arg(arg);
            });
        });
        command
    }
}

/// Puts items that may share a script call together, in their order.
fn group(batch: &[Waiting], items: &[Item], again: bool, spans_shards: bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for item in items {
        let waiting = &batch[item.waiting];
        let (op, again) = (&waiting.ops[item.place], again || waiting.again);
        let fits = |group: &&mut Group| {
            group.script == op.script
                && (spans_shards || group.shard == op.shard)
                && group.again == again
                && group.items.len() < SCRIPT_ITEMS_MAX
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.items.push(*item),
            None => {
                groups.push(Group { script: op.script, shard: op.shard, again, items: vec![*item], heard: (String::new(), 0) })
            }
        }
    }
    groups
}

fn points(groups: &[Group], which: fn((&'static str, &'static str)) -> &'static str) {
    for group in groups {
        if let Some(points) = group.script.points() {
            failpoint(which(points));
        }
    }
}

/// Gives each item its answer.
fn hand_out(batch: &mut [Waiting], group: Vec<Item>, now: i64, replies: Vec<Value>) {
    let mut replies = replies.into_iter();
    for item in group {
        let answer = replies.next().map(|value| Reply { now, value }).ok_or_else(|| {
            Miss::Failed(StoreError::Unavailable(
                "Redis answered in a form that is not known; check that no other program uses its scripts".to_owned(),
            ))
        });
        batch[item.waiting].answer(item.place, answer);
    }
}

fn refuse(batch: &mut [Waiting], group: Group, why: &RedisError) {
    let full = why.code() == Some("OOM");
    let said = match full {
        true => {
            "Redis has no memory left; raise maxmemory or give it a larger machine: nothing was taken and nothing lost".to_owned()
        }
        false => format!("Redis refused: {why}"),
    };
    tracing::error!(script = ?group.script, "{said}");
    let said = StoreError::Unavailable(said);
    group.items.iter().for_each(|item| batch[item.waiting].fail(item.place, &said));
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
        _ if why.detail().is_some_and(|said| said.contains(MOVING) || said.contains(DOWN)) => Weight::Passing,
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
