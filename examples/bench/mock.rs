//! The mock provider: takes messages and grants, says yes, and notes when each of them came.
//!
//! Calls are told apart by the header `x-bench-key: <prefix>-<number>:<step>`, which the workspace's providers
//! write; so every loss and every double shows.

use crate::http;
use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The calls of one run, in their order.
pub const STEPS: [&str; 3] = ["msg1", "bonus", "msg2"];

const YES: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

/// Nanoseconds since this program began to look at the clock; never 0.
pub fn now_ns() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
}

/// What came for one step, by run.
pub struct Calls {
    /// How often.
    pub count: Vec<AtomicU32>,
    /// When the first one came.
    pub came: Vec<AtomicU64>,
    /// When the first one was answered.
    pub answered: Vec<AtomicU64>,
}

/// The provider.
pub struct Mock {
    prefix: String,
    /// By the order of [`STEPS`].
    pub calls: [Calls; 3],
    /// Runs whose last call has come.
    pub done: AtomicU64,
    /// Calls of any kind.
    pub total: AtomicU64,
    /// Calls that belong to no run of this measurement.
    pub foreign: AtomicU64,
    /// Connections accepted.
    pub connections: AtomicU64,
}

impl Mock {
    /// Listens on loopback for the calls of `runs` runs; returns the port.
    pub async fn start(prefix: &str, runs: usize) -> io::Result<(Arc<Mock>, u16)> {
        let numbers = || (0..runs).map(|_| AtomicU64::new(0)).collect();
        let calls = [(); 3].map(|()| Calls {
            count: (0..runs).map(|_| AtomicU32::new(0)).collect(),
            came: numbers(),
            answered: numbers(),
        });
        let (done, total, foreign, connections) = Default::default();
        let mock = Arc::new(Mock { prefix: prefix.to_owned(), calls, done, total, foreign, connections });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let shared = mock.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Relaxed);
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Ok((mock, port))
    }

    /// Notes a call; returns where to note its answer.
    fn note(&self, key: &str) -> Option<(&Calls, usize)> {
        let now = now_ns();
        self.total.fetch_add(1, Relaxed);
        let place = || {
            let (event, step) = key.rsplit_once(':')?;
            let (prefix, number) = event.rsplit_once('-')?;
            let run: usize = number.parse().ok()?;
            let step = STEPS.iter().position(|name| *name == step)?;
            (prefix == self.prefix && run < self.calls[step].count.len()).then_some((step, run))
        };
        let Some((step, run)) = place() else {
            self.foreign.fetch_add(1, Relaxed);
            return None;
        };
        let calls = &self.calls[step];
        if calls.count[run].fetch_add(1, Relaxed) > 0 {
            return None;
        }
        calls.came[run].store(now, Relaxed);
        if step == STEPS.len() - 1 {
            self.done.fetch_add(1, Relaxed);
        }
        Some((calls, run))
    }
}

async fn serve(mut stream: TcpStream, mock: Arc<Mock>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(4096);
    while stream.read_buf(&mut buffer).await? > 0 {
        while let Some(head) = http::head(&buffer).filter(|head| buffer.len() >= head.bytes + head.body_bytes) {
            let noted = mock.note(http::header(&buffer[..head.bytes], "x-bench-key").unwrap_or_default());
            stream.write_all(YES).await?;
            if let Some((calls, run)) = noted {
                calls.answered[run].store(now_ns(), Relaxed);
            }
            buffer.drain(..head.bytes + head.body_bytes);
        }
    }
    Ok(())
}
