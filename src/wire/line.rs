//! Connections: made, used by one call at a time, and kept for the next.
//!
//! A connection has no task of its own. Who calls over it drives it, so the answer wakes the caller and nobody else;
//! while it rests it is driven by nobody, and looked at before it is used again. A task puts away what has rested for
//! too long, as long as anything rests.

use super::address::{Names, Place};
use super::{CONNECT_TIMEOUT, IDLE_PER_HOST_MAX, IDLE_TIMEOUT, Response, WireError, chain};
use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower::Service;

/// What is sent.
pub(super) type Sent = hyper::Request<Full<Bytes>>;
/// Makes connections.
pub(super) type Connector = HttpsConnector<HttpConnector<Names>>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connections of one kind.
pub(super) struct Lines {
    connector: Connector,
    resting: Arc<Mutex<Resting>>,
}

/// Connections that nobody uses, the one used last at the end.
#[derive(Default)]
struct Resting {
    by_origin: HashMap<Arc<str>, Vec<(Instant, Box<Line>)>>,
    /// A task will look for those that have rested for too long.
    watched: bool,
}

/// A connection. It is large, and so moves in a box.
struct Line {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<Stream, Full<Bytes>>,
    /// It was closed, or has failed.
    over: bool,
}

/// Why there is no head of an answer.
enum Broken {
    /// Nothing was written; the request is as it was.
    Unused(Box<Sent>),
    /// Something may have been written.
    Lost(WireError),
}

impl Lines {
    pub fn new(connector: Connector) -> Lines {
        Lines { connector, resting: Arc::default() }
    }

    /// Sends a request over a connection to a place, and reads at most so many bytes of the answer.
    pub async fn send(
        &self,
        place: &Place,
        mut sent: Sent,
        timeout: Duration,
        body_bytes_max: usize,
    ) -> Result<Response, WireError> {
        let deadline = Instant::now() + timeout;
        let mut late = pin!(tokio::time::sleep_until(deadline));
        let silent = || WireError::Ambiguous(format!("none within {} s", timeout.as_secs_f64()));
        loop {
            let rested = self.rested(&place.origin).await;
            let fresh = rested.is_none();
            let mut line = match rested {
                Some(line) => line,
                None => self.connect(place, deadline).await?,
            };
            match line.head(sent, late.as_mut(), &silent).await {
                Ok(answer) => {
                    let answer = line.read(answer, late, body_bytes_max).await;
                    if answer.complete {
                        self.rest(&place.origin, line).await;
                    }
                    return Ok(answer);
                }
                // It was closed while it rested; a new one was not.
                Err(Broken::Unused(unused)) if !fresh => sent = *unused,
                Err(Broken::Unused(_)) => return Err(WireError::BeforeSend("the connection was closed at once".to_owned())),
                Err(Broken::Lost(why)) => return Err(why),
            }
        }
    }

    async fn connect(&self, place: &Place, deadline: Instant) -> Result<Box<Line>, WireError> {
        let mut connector = self.connector.clone();
        let until = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let failed = |why: &dyn std::error::Error| WireError::BeforeSend(chain(why));
        let connected = tokio::time::timeout_at(until, async {
            let stream = connector.call(place.uri.clone()).await.map_err(|why| failed(&*why))?;
            let (sender, connection) = handshake(stream).await.map_err(|why| failed(&why))?;
            Ok(Box::new(Line { sender, connection, over: false }))
        });
        connected.await.unwrap_or_else(|_| Err(WireError::BeforeSend("it took too long".to_owned())))
    }

    /// A connection that rests and is still open, the one used last first.
    async fn rested(&self, origin: &str) -> Option<Box<Line>> {
        loop {
            let (since, mut line) = lock(&self.resting).by_origin.get_mut(origin)?.pop()?;
            if since.elapsed() < IDLE_TIMEOUT && line.is_ready().await {
                return Some(line);
            }
        }
    }

    /// Keeps a connection for the next call, if it can have one.
    async fn rest(&self, origin: &Arc<str>, mut line: Box<Line>) {
        if !line.is_ready().await {
            return;
        }
        let mut resting = lock(&self.resting);
        let lines = match resting.by_origin.get_mut(origin) {
            Some(lines) => lines,
            None => resting.by_origin.entry(origin.clone()).or_default(),
        };
        if lines.len() < IDLE_PER_HOST_MAX {
            lines.push((Instant::now(), line));
        }
        if !resting.watched {
            resting.watched = true;
            tokio::spawn(watch(Arc::downgrade(&self.resting)));
        }
    }
}

/// Puts away what has rested for too long, until nothing rests.
async fn watch(resting: Weak<Mutex<Resting>>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT / 2).await;
        let Some(resting) = resting.upgrade() else { return };
        let mut resting = lock(&resting);
        resting.by_origin.retain(|_, lines| {
            lines.retain(|(since, _)| since.elapsed() < IDLE_TIMEOUT);
            !lines.is_empty()
        });
        if resting.by_origin.is_empty() {
            resting.watched = false;
            return;
        }
    }
}

/// Whole connections lie in it, before and after a panic elsewhere.
fn lock(resting: &Mutex<Resting>) -> std::sync::MutexGuard<'_, Resting> {
    resting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Lets it read and write what it can. Its errors reach whoever waits for what it was to bring.
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.over = self.over || Pin::new(&mut self.connection).poll(cx).is_ready();
    }

    /// Whether it is open and free for a call.
    async fn is_ready(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(!self.over && self.sender.is_ready())
        })
        .await
    }

    /// Sends a request and waits for the head of the answer.
    async fn head(
        &mut self,
        sent: Sent,
        mut late: Pin<&mut tokio::time::Sleep>,
        silent: &impl Fn() -> WireError,
    ) -> Result<hyper::Response<Incoming>, Broken> {
        let mut answer = pin!(self.sender.try_send_request(sent));
        let (connection, over) = (&mut self.connection, &mut self.over);
        let answered = poll_fn(|cx| {
            *over = *over || Pin::new(&mut *connection).poll(cx).is_ready();
            match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => late.as_mut().poll(cx).map(|()| None),
            }
        });
        match answered.await {
            None => Err(Broken::Lost(silent())),
            Some(Ok(answer)) => Ok(answer),
            Some(Err(mut why)) => Err(match why.take_message() {
                Some(unused) => Broken::Unused(Box::new(unused)),
                None => Broken::Lost(WireError::Ambiguous(chain(why.error()))),
            }),
        }
    }

    /// Reads the body up to its limit and the deadline. The status is known by now, so a body that breaks off
    /// is told by `complete`, not by an error.
    async fn read(
        &mut self,
        answer: hyper::Response<Incoming>,
        mut late: Pin<&mut tokio::time::Sleep>,
        body_bytes_max: usize,
    ) -> Response {
        let (head, mut incoming) = answer.into_parts();
        let mut body = BytesMut::new();
        let complete = loop {
            let frame = poll_fn(|cx| {
                self.drive(cx);
                let mut frame = Pin::new(&mut incoming).poll_frame(cx);
                if frame.is_pending() {
                    // The connection reads on only now that it is known that somebody wants it to.
                    self.drive(cx);
                    frame = Pin::new(&mut incoming).poll_frame(cx);
                }
                match frame {
                    Poll::Ready(frame) => Poll::Ready(Some(frame)),
                    Poll::Pending => late.as_mut().poll(cx).map(|()| None),
                }
            });
            match frame.await {
                Some(Some(Ok(frame))) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    let room = body_bytes_max - body.len();
                    body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
                    if chunk.len() > room {
                        break false;
                    }
                }
                Some(None) => break true,
                Some(Some(Err(_))) | None => break false,
            }
        };
        Response { status: head.status.as_u16(), headers: head.headers, body: body.freeze(), complete }
    }
}
