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

use super::super::StoreError;
use super::args::Args;
use super::heard::Heard;
use super::lane::Lane;
use super::link::{Connection, Dialer};
use super::script::Script;
use redis::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Calls that wait before callers have to wait in front of the queue.
const QUEUED_MAX: usize = 2_048;
/// How long a batch is sent again before its callers are told, in milliseconds.
pub const PATIENCE_MS: u64 = 5_000;
/// First and longest pause between tries, in milliseconds.
pub const PAUSE_MS: (u64, u64) = (10, 500);

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
pub enum Miss {
    /// It has failed.
    Failed(StoreError),
    /// It could not be done now: it is to be sent again.
    Back(Op, String),
}

/// Items of one caller, with the answers that have come.
pub struct Waiting {
    /// The items.
    pub ops: Vec<Op>,
    /// They were sent before.
    pub again: bool,
    answers: Vec<Option<Result<Reply, Miss>>>,
    left: usize,
    caller: Option<oneshot::Sender<Vec<Result<Reply, Miss>>>>,
}

impl Waiting {
    /// An item is to be sent again by who has sent it.
    pub fn give_back(&mut self, place: usize, why: String) {
        let Some(op) = self.ops.get_mut(place) else { return };
        let op = Op { script: op.script, shard: op.shard, args: std::mem::take(&mut op.args) };
        self.answer(place, Err(Miss::Back(op, why)));
    }

    /// An item has failed.
    pub fn fail(&mut self, place: usize, why: &StoreError) {
        self.answer(place, Err(Miss::Failed(why.clone())));
    }

    /// What became of an item; the caller is told when all are answered.
    pub fn answer(&mut self, place: usize, answer: Result<Reply, Miss>) {
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
    /// It is written in Redis that this process sends nothing.
    pub stopped: AtomicBool,
    /// When it was last said that a part of a cluster is away, in milliseconds.
    pub complained: AtomicI64,
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
            tokio::spawn(Lane::new(name, dialer, told, receiver, connection).run())
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
