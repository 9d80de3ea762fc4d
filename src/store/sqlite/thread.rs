//! The thread that writes, as its callers hold it: the way to it, what it shares, and its end.

use super::super::{StoreError, StoreResult};
use super::call::{Call, Sender, ask, closed};
use super::prune::{PLAN, PRUNE};
use super::recover::recover;
use super::schema::Opened;
use super::shared::Shared;
use super::writer::{CLOSE, run};
use super::{Options, QUEUE_OPERATIONS_MAX};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use tokio::sync::mpsc;

/// The thread. Dropping it lets it finish what is under way, and frees the file.
pub struct Thread {
    sender: Option<Sender>,
    handle: Option<JoinHandle<()>>,
    /// What callers see without asking it.
    pub shared: Arc<Shared>,
}

impl Thread {
    /// Starts it upon an opened file.
    pub fn start(opened: Opened, options: Options) -> StoreResult<Thread> {
        let shared = Arc::new(Shared::new(options));
        let (sender, receiver) = mpsc::channel(QUEUE_OPERATIONS_MAX);
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let own = shared.clone();
        // The state borrows the connection, so it is built where it stays.
        let work = move || match recover(&opened, own) {
            Ok(core) => {
                // Nobody listens any more only when the caller is gone, and then there are no calls either.
                let _ = tell.send(Ok(()));
                run(core, receiver);
            }
            Err(why) => {
                let _ = tell.send(Err(why));
            }
        };
        let handle = Builder::new().name("store".to_owned()).spawn(work).map_err(|why| {
            StoreError::Fatal(format!("cannot start the store's thread: {why}; check the limits of this process"))
        })?;
        let thread = Thread { sender: Some(sender), handle: Some(handle), shared };
        // Without a word it has panicked; the drop waits for its end and says so.
        told.recv().unwrap_or_else(|_| Err(closed()))?;
        Ok(thread)
    }

    /// Runs an operation on it and waits for the answer.
    pub async fn run<I, T>(&self, call: Call<I, T>, input: I, weight: usize) -> StoreResult<T>
    where
        I: Send + 'static,
        T: Send + 'static,
    {
        let sender = self.sender.as_ref().ok_or_else(closed)?;
        ask(sender, call, input, weight).await
    }

    /// Drops what has outlived its retention; returns how many rows went.
    pub async fn prune(&self) -> StoreResult<u64> {
        let mut gone = 0;
        for (part, steps) in PLAN {
            for _ in 0..*steps {
                let step = self.run(PRUNE, *part, 1).await?;
                gone += step.rows;
                if step.done {
                    break;
                }
            }
        }
        Ok(gone)
    }

    /// Finishes what is under way, then takes nothing any more.
    pub async fn close(&self) {
        if let Err(why) = self.run(CLOSE, (), 1).await
            && !self.shared.closed.load(Ordering::Acquire)
        {
            tracing::error!("the store did not close cleanly: {why}");
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Without senders the thread ends after what is under way; waiting for it frees the file's lock.
        self.sender = None;
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            tracing::error!("the store's thread had ended by a panic");
        }
    }
}
