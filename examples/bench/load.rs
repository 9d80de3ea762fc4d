//! The load generator: a fixed number of connections, each with one request under way.

use crate::http::Client;
use crate::mock::now_ns;
use anyhow::{Context, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// The body of a request by its number.
pub type Body = Arc<dyn Fn(usize) -> String + Send + Sync>;

/// What is sent, and how fast.
pub struct Load {
    /// Where the engine listens.
    pub address: String,
    /// The engine's token.
    pub token: String,
    /// The door.
    pub path: &'static str,
    /// The type of the bodies.
    pub media: &'static str,
    /// How many requests.
    pub requests: usize,
    /// How many connections.
    pub connections: usize,
    /// Requests per second; `None`: the next one as soon as the one before is answered.
    pub rate: Option<f64>,
    /// What is in them.
    pub body: Body,
}

/// When requests were sent and answered, in nanoseconds.
pub struct Sent {
    /// Just before the first byte was written.
    pub begun: Vec<AtomicU64>,
    /// When the 2xx was read; 0: there was none.
    pub accepted: Vec<AtomicU64>,
    /// When the first request was sent.
    pub started: u64,
    /// When the last answer was read.
    pub ended: u64,
}

impl Sent {
    /// How many requests were answered with 2xx.
    pub fn accepted(&self) -> usize {
        self.accepted.iter().filter(|at| at.load(Relaxed) > 0).count()
    }

    /// Requests accepted in a second.
    pub fn per_second(&self) -> f64 {
        self.accepted() as f64 / ((self.ended - self.started) as f64 / 1e9)
    }
}

/// Sends everything.
pub async fn send(load: Load) -> anyhow::Result<Sent> {
    let numbers = || (0..load.requests).map(|_| AtomicU64::new(0)).collect();
    let sent = Arc::new(Sent { begun: numbers(), accepted: numbers(), started: now_ns(), ended: 0 });
    let (load, next, start) = (Arc::new(load), Arc::new(AtomicUsize::new(0)), Instant::now());
    let workers: Vec<_> =
        (0..load.connections).map(|_| tokio::spawn(work(load.clone(), next.clone(), sent.clone(), start))).collect();
    for worker in workers {
        worker.await.context("a worker of the generator crashed")??;
    }
    let mut sent = Arc::into_inner(sent).context("a worker of the generator is still there")?;
    sent.ended = now_ns();
    Ok(sent)
}

async fn work(load: Arc<Load>, next: Arc<AtomicUsize>, sent: Arc<Sent>, start: Instant) -> anyhow::Result<()> {
    let mut client = Client::connect(&load.address, &load.token).await.context("the engine does not take connections")?;
    loop {
        let number = next.fetch_add(1, Relaxed);
        if number >= load.requests {
            return Ok(());
        }
        if let Some(rate) = load.rate {
            tokio::time::sleep_until(start + Duration::from_secs_f64(number as f64 / rate)).await;
        }
        let body = (load.body)(number);
        sent.begun[number].store(now_ns(), Relaxed);
        let (status, answer) = client.call("POST", load.path, load.media, &body).await.context("a request broke off")?;
        if !(200..300).contains(&status) {
            bail!("the engine answered {status}: {}", String::from_utf8_lossy(answer));
        }
        sent.accepted[number].store(now_ns(), Relaxed);
    }
}
