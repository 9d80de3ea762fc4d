//! A lane: one connection, one batch at a time, one script call for all items of a kind.

use super::super::{StoreError, failpoint};
use super::key::{facts_of, key, lease, meta};
use super::link::{Connection, Dialer, Kept};
use super::pump::{Miss, PATIENCE_MS, PAUSE_MS, Reply, Told, Waiting};
use super::script::{self, Script};
use super::value;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc};

/// Most calls of one pipeline.
const BATCH_MAX: usize = 256;
/// Most items of one script call: no other client waits longer than these take.
const SCRIPT_ITEMS_MAX: usize = 64;
/// Bytes of a shard's key.
const LEASE_KEY_BYTES: usize = 16;
/// How long replicas may take to confirm, in milliseconds.
pub const WAIT_MS: u64 = 1_000;
/// How often it is said that a part of a cluster is away, in milliseconds.
const COMPLAIN_MS: i64 = 10_000;
/// What a script says when it meets a slot that is on its way to another node.
const MOVING: &str = "attempted to access a non local key";
/// What a script says when a part of the cluster is away.
const DOWN: &str = "while the cluster is down";

/// One item of a batch: whose, and which of theirs.
#[derive(Clone, Copy)]
struct Item {
    waiting: usize,
    place: usize,
}

/// See the module.
pub struct Lane {
    dialer: Dialer,
    told: Arc<Told>,
    receiver: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    connection: Option<Connection>,
    /// How often there had been another master when it was made.
    changes: u64,
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
    /// With an open connection.
    pub fn new(
        name: usize,
        dialer: Dialer,
        told: Arc<Told>,
        receiver: Arc<Mutex<mpsc::Receiver<Waiting>>>,
        connection: Connection,
    ) -> Lane {
        let changes = dialer.changes();
        Lane { dialer, told, receiver, connection: Some(connection), changes, name, batches: 0 }
    }

    /// Serves batches until nobody sends any more.
    pub async fn run(mut self) {
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
            Some(connection) if self.changes == self.dialer.changes() => connection,
            _ => {
                // Whoever answers now may not be what it was.
                self.changes = self.dialer.changes();
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
        if forgotten && let Err(why) = load(&mut connection).await {
            if self.dialer.spans_shards() {
                return Err(why);
            }
            // One node is away, and others may know the scripts again.
            items.drain(..).for_each(|item| batch[item.waiting].give_back(item.place, why.to_string()));
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
        // Where replicas must confirm, a server that nobody has confirmed may be an old master that came back.
        if !key.is_empty() && (promised || wanted == 0) {
            let now = (self.told.now)().0;
            self.told.heard.compare(key, *floor, u64::try_from(value::int(&found)).unwrap_or(0), now);
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
        let now = (self.told.now)().0;
        if now - self.told.complained.load(Ordering::Acquire) > COMPLAIN_MS {
            self.told.complained.store(now, Ordering::Release);
            tracing::warn!(%why, shard = group.shard, "a part of the cluster is out of reach; what was sent to it is sent again");
        }
        group.items.iter().for_each(|item| batch[item.waiting].give_back(item.place, why.to_string()));
    }

    fn command(&self, batch: &[Waiting], group: &Group) -> Cmd {
        let ops = || group.items.iter().map(|item| &batch[item.waiting].ops[item.place]);
        let bytes = ops().map(|op| op.args.bytes() + LEASE_KEY_BYTES).sum::<usize>();
        let args = ops().map(|op| op.args.len() + 1).sum::<usize>();
        let mut command = Cmd::with_capacity(args + 11, bytes + 128);
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
        command.arg(if self.dialer.spans_shards() { facts_of(group.shard, true) } else { String::new() });
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
