//! A bounded channel as an apalis backend, and the monitor over the workers.

use super::{DELIVER_CONCURRENCY, DRAIN_MS_MAX, Handler, TURN_CONCURRENCY, stopped};
use crate::store::{Claim, Delivery};
use apalis::layers::WorkerBuilderExt;
use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::error::BoxDynError;
use apalis_core::monitor::Monitor;
use apalis_core::task::Task;
use apalis_core::task::task_id::RandomId;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::context::WorkerContext;
use apalis_core::worker::event::Event;
use apalis_core::worker::ext::parallelize::ParallelizeExt;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tower::layer::util::Identity;

/// The receiving side of a queue. It outlives the worker that reads it, so that a restarted worker goes
/// on with what is in the channel.
pub(super) type Shared<T> = Arc<Mutex<mpsc::Receiver<T>>>;

pub(super) fn share<T>(receiver: mpsc::Receiver<T>) -> Shared<T> {
    Arc::new(Mutex::new(receiver))
}

/// What is left in a queue that no worker reads any more.
pub(super) fn rest<T>(queue: &Shared<T>) -> Vec<T> {
    let mut receiver = queue.lock().unwrap_or_else(PoisonError::into_inner);
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

/// Hands out what is in a channel. It has no errors: an error would end its worker for good.
struct ChannelBackend<T> {
    queue: Shared<T>,
    config: (),
}

impl<T> Backend for ChannelBackend<T> {
    type Task = Task<T>;
    type Error = Infallible;

    fn poll_ready(&mut self, _cx: &mut Context<'_>, _worker: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _worker: &WorkerContext) -> Poll<Option<Result<Task<T>, Infallible>>> {
        let mut receiver = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.poll_recv(cx).map(|item| item.map(|item| Ok(Task::new(item))))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>, _worker: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl<T> BackendConfig for ChannelBackend<T> {
    type Args = T;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &self.config
    }

    fn middleware(&mut self, _worker: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// Runs the workers until told to stop, and then as long as they need to finish, within bounds.
pub(super) async fn work(
    turns_queue: Shared<Vec<Claim>>,
    turns: Arc<dyn Handler<Vec<Claim>>>,
    effects_queue: Shared<Delivery>,
    deliveries: Arc<dyn Handler<Delivery>>,
    mut stop: watch::Receiver<bool>,
) {
    let monitor = Monitor::new()
        .register(move |restarts| {
            let handler = turns.clone();
            WorkerBuilder::new(format!("turns-{restarts}"))
                .backend(ChannelBackend { queue: turns_queue.clone(), config: () })
                .catch_panic()
                .concurrency(TURN_CONCURRENCY)
                .parallelize(tokio::spawn)
                .build(move |batch: Vec<Claim>| {
                    let work = handler.handle(batch);
                    async move {
                        work.await;
                        Ok::<(), BoxDynError>(())
                    }
                })
        })
        .register(move |restarts| {
            let handler = deliveries.clone();
            WorkerBuilder::new(format!("deliveries-{restarts}"))
                .backend(ChannelBackend { queue: effects_queue.clone(), config: () })
                .catch_panic()
                .concurrency(DELIVER_CONCURRENCY)
                .parallelize(tokio::spawn)
                .build(move |delivery: Delivery| {
                    let work = handler.handle(delivery);
                    async move {
                        work.await;
                        Ok::<(), BoxDynError>(())
                    }
                })
        })
        .should_restart(|worker, error| {
            tracing::error!(worker = worker.name(), %error, "a worker died; it is started again");
            true
        })
        .on_event(|worker, event| {
            if let Event::Error(error) = event {
                tracing::error!(worker = worker.name(), %error, "a worker reported an error");
            }
        })
        // A drain has no time limit of its own.
        .shutdown_timeout(Duration::from_millis(DRAIN_MS_MAX));
    let signal = async move {
        stopped(&mut stop).await;
        Ok(())
    };
    if let Err(error) = monitor.run_with_signal(signal).await {
        tracing::error!(%error, "the workers did not end well");
    }
}
