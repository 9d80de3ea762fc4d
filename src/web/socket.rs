//! A connection that does not wait for ever: for a request to begin, for its head, or for a slow reader.
//!
//! The timers stand in the socket itself, because only there is every byte seen. The state of the
//! connection ([`Phase`]) is shared with the service, which knows when a request begins and ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long a request's head may take to arrive.
pub const HEAD_READ_TIME: Duration = Duration::from_secs(10);
/// How long a connection may rest between two requests.
pub const IDLE_TIME: Duration = Duration::from_secs(30);
/// How long a body may take to arrive.
pub const BODY_READ_TIME: Duration = Duration::from_secs(15);
/// How long a reader may take nothing of an answer.
pub const WRITE_STALL_TIME: Duration = Duration::from_secs(15);

const HEAD: u8 = 0;
const BUSY: u8 = 1;
const IDLE: u8 = 2;
const UNARMED: u8 = 3;

/// What a connection is doing.
#[derive(Clone, Debug, Default)]
pub struct Phase(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    two_lengths: AtomicBool,
}

impl Phase {
    /// A request's head is there: its body and its answer have times of their own.
    pub fn busy(&self) {
        self.0.phase.store(BUSY, Ordering::Relaxed);
    }

    /// The head of this request names its length in two ways (RFC 9112, section 6.1): one of them may be
    /// meant for somebody in between.
    pub fn has_two_lengths(&self) -> bool {
        self.0.two_lengths.load(Ordering::Relaxed)
    }

    /// The answer is made: what comes next is another request.
    pub fn idle(&self) {
        self.0.phase.store(IDLE, Ordering::Relaxed);
    }
}

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// See [`HEAD_READ_TIME`].
    pub head: Duration,
    /// See [`IDLE_TIME`].
    pub idle: Duration,
    /// See [`BODY_READ_TIME`].
    pub body: Duration,
    /// See [`WRITE_STALL_TIME`].
    pub stall: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times { head: HEAD_READ_TIME, idle: IDLE_TIME, body: BODY_READ_TIME, stall: WRITE_STALL_TIME }
    }
}

/// A socket with its time limits.
pub struct Socket {
    io: TcpStream,
    phase: Phase,
    times: Times,
    read_timer: Pin<Box<Sleep>>,
    /// The phase that the read timer runs for.
    armed: u8,
    head: Head,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// A socket that has just been accepted: a head is expected.
    pub fn new(io: TcpStream, phase: Phase, times: Times) -> Socket {
        Socket {
            io,
            phase,
            times,
            read_timer: Box::pin(tokio::time::sleep(times.head)),
            armed: HEAD,
            head: Head::default(),
            write_timer: None,
        }
    }

    /// Looks at bytes that have just come.
    fn watch(&mut self, fresh: &[u8]) {
        let shared = &self.phase.0;
        if fresh.is_empty() || shared.phase.load(Ordering::Relaxed) == BUSY {
            return;
        }
        if shared.phase.load(Ordering::Relaxed) == IDLE {
            // The first byte of another head.
            shared.phase.store(HEAD, Ordering::Relaxed);
            self.armed = UNARMED;
            self.head = Head::default();
        }
        self.head.see(fresh);
        shared.two_lengths.store(self.head.length && self.head.encoding, Ordering::Relaxed);
    }

    /// Whether the peer has kept us waiting for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let phase = self.phase.0.phase.load(Ordering::Relaxed);
        if phase == BUSY {
            self.armed = UNARMED;
            return Poll::Pending;
        }
        if self.armed != phase {
            let time = if phase == HEAD { self.times.head } else { self.times.idle };
            self.read_timer.as_mut().reset(Instant::now() + time);
            self.armed = phase;
        }
        self.read_timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let stall = self.times.stall;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        timer.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_pending() {
            return self.poll_stall(cx).map(Err);
        }
        self.write_timer = None;
        outcome
    }
}

/// Which of the two headers that say how long a body is have been seen in a head. The parser above keeps
/// only one of them, and so cannot tell.
#[derive(Default)]
struct Head {
    /// The beginning of the present line, as far as a name of interest can be in it.
    line: [u8; NAME_BYTES],
    /// Bytes of the present line.
    at: usize,
    length: bool,
    encoding: bool,
    /// The empty line was seen: what follows is the body.
    over: bool,
}

/// The length of the longer name, with its colon.
const NAME_BYTES: usize = b"transfer-encoding:".len();

impl Head {
    fn see(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                _ if self.over => return,
                b'\n' => {
                    self.over = self.at == 0;
                    self.at = 0;
                }
                b'\r' => {}
                _ => {
                    if let Some(slot) = self.line.get_mut(self.at) {
                        *slot = byte.to_ascii_lowercase();
                    }
                    self.at += 1;
                    if byte == b':' {
                        let name = self.line.get(..self.at).unwrap_or(b"");
                        self.length |= name == b"content-length:";
                        self.encoding |= name == b"transfer-encoding:";
                    }
                }
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Pending => self.poll_patience(cx),
            ready => {
                if let Some(fresh) = buf.filled().get(before..) {
                    self.watch(fresh);
                }
                ready
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.written(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.written(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_shutdown(cx);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
