//! Operations on the writer's thread: plain functions over [`Core`] with an input and an answer.
//!
//! Those of phase [`Phase::Write`] run inside the group's transaction and are answered after its commit.
//! Those of phase [`Phase::After`] hand out work: they run after the commit, when memory tells the truth
//! again.

use super::super::{StoreError, StoreResult};
use super::writer::Core;
use tokio::sync::{mpsc, oneshot};

/// Why an operation did not succeed.
#[derive(Debug)]
pub enum Fail {
    /// SQLite said no.
    Sql(rusqlite::Error),
    /// We did.
    Refused(StoreError),
}

impl From<rusqlite::Error> for Fail {
    fn from(why: rusqlite::Error) -> Fail {
        Fail::Sql(why)
    }
}

/// Result of an operation on the writer's thread.
pub type Done<T> = Result<T, Fail>;

/// When an operation runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Inside the transaction.
    Write,
    /// After the commit.
    After,
    /// After the commit, as the last one.
    Close,
}

/// The failpoints around the commit of one kind of operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Points {
    /// Reached before the commit.
    pub before: &'static str,
    /// Reached after it, before anybody is answered.
    pub after: &'static str,
}

/// An operation.
pub struct Call<I, T> {
    /// When it runs.
    pub phase: Phase,
    /// Its failpoints.
    pub points: Option<Points>,
    /// What it does. It may be run again when its group failed because of another one.
    pub run: fn(&mut Core, &I) -> Done<T>,
    /// What is done with an answer whose caller has gone away: work that was handed out to nobody has to
    /// be taken back.
    pub lost: fn(&mut Core, T),
}

/// [`Call::lost`] of most operations: a caller that has gone away does not want to know.
pub fn let_be<T>(_core: &mut Core, _answer: T) {}

/// An operation with its input and its caller.
pub trait Task: Send {
    /// When it runs.
    fn phase(&self) -> Phase;
    /// Its failpoints.
    fn points(&self) -> Option<Points>;
    /// Its share of a group.
    fn weight(&self) -> usize;
    /// Somebody waits for the answer.
    fn wanted(&self) -> bool;
    /// Does it; the answer is kept.
    fn run(&mut self, core: &mut Core) -> Result<(), Fail>;
    /// Tells the caller.
    fn answer(self: Box<Self>, core: &mut Core, result: Result<(), StoreError>);
}

struct Job<I, T> {
    call: Call<I, T>,
    input: I,
    weight: usize,
    done: Option<T>,
    caller: oneshot::Sender<Answer<I, T>>,
}

/// An answer, and the input back: the caller drops it, so that this is not left to the one thread that writes, and memory
/// goes back where it came from.
struct Answer<I, T> {
    result: StoreResult<T>,
    _input: I,
}

impl<I: Send, T: Send> Task for Job<I, T> {
    fn phase(&self) -> Phase {
        self.call.phase
    }

    fn points(&self) -> Option<Points> {
        self.call.points
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn wanted(&self) -> bool {
        !self.caller.is_closed()
    }

    fn run(&mut self, core: &mut Core) -> Result<(), Fail> {
        self.done = Some((self.call.run)(core, &self.input)?);
        Ok(())
    }

    fn answer(self: Box<Self>, core: &mut Core, result: Result<(), StoreError>) {
        let Job { call, done, caller, input, .. } = *self;
        let answer = Answer { result: result.and_then(|()| done.ok_or_else(closed)), _input: input };
        if let Err(Answer { result: Ok(answer), .. }) = caller.send(answer) {
            (call.lost)(core, answer);
        }
    }
}

/// An answer that came too late for its caller, on its way back.
struct Return<T> {
    answer: Option<T>,
    lost: fn(&mut Core, T),
}

impl<T: Send> Task for Return<T> {
    fn phase(&self) -> Phase {
        Phase::After
    }

    fn points(&self) -> Option<Points> {
        None
    }

    fn weight(&self) -> usize {
        1
    }

    fn wanted(&self) -> bool {
        true
    }

    fn run(&mut self, core: &mut Core) -> Result<(), Fail> {
        if let Some(answer) = self.answer.take() {
            (self.lost)(core, answer);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, _core: &mut Core, _result: Result<(), StoreError>) {}
}

/// Sends an operation to the writer and waits for its answer. When the wait is broken off, an answer that
/// has come already goes back.
pub async fn ask<I, T>(sender: &Sender, call: Call<I, T>, input: I, weight: usize) -> StoreResult<T>
where
    I: Send + 'static,
    T: Send + 'static,
{
    let (caller, receiver) = oneshot::channel();
    let mut waiting = Waiting { receiver, lost: call.lost, sender };
    sender.send(Box::new(Job { call, input, weight, done: None, caller })).await.map_err(|_| closed())?;
    (&mut waiting.receiver).await.map_or_else(|_| Err(closed()), |answer| answer.result)
}

/// The way to the writer.
pub type Sender = mpsc::Sender<Box<dyn Task>>;

struct Waiting<'s, I: Send + 'static, T: Send + 'static> {
    receiver: oneshot::Receiver<Answer<I, T>>,
    lost: fn(&mut Core, T),
    sender: &'s Sender,
}

impl<I: Send + 'static, T: Send + 'static> Drop for Waiting<'_, I, T> {
    fn drop(&mut self) {
        // From here on the writer notices that nobody waits; what it sent before that is still here. An
        // answer that was received is not.
        self.receiver.close();
        let Ok(Answer { result: Ok(answer), .. }) = self.receiver.try_recv() else { return };
        let back = Box::new(Return { answer: Some(answer), lost: self.lost });
        if let Err(mpsc::error::TrySendError::Full(back)) = self.sender.try_send(back)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let sender = self.sender.clone();
            runtime.spawn(async move { sender.send(back).await });
        }
    }
}

/// What is said once the store has ended.
pub fn closed() -> StoreError {
    StoreError::Closed
}
