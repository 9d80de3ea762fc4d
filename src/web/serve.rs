//! The server: connections of our own making, so that every wait has an end and their number a cap.

use super::WebState;
use super::answer::{Problem, Reply};
use super::dispatch::dispatch;
use super::gate::Gate;
use super::route::{self, Route};
use super::socket::{Phase, Socket};
use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, TRANSFER_ENCODING};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

/// Most connections at a time.
pub const CONNECTIONS_MAX: usize = 4_096;
/// With fewer free places than this, connections are closed after each answer.
const CONNECTIONS_SPARE: usize = CONNECTIONS_MAX / 4;
/// Largest head of a request, in bytes; also hyper's read buffer.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// How long requests under way may take once the server is asked to stop.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// Rest before accepting again when the system has no more sockets.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How long, and how much, is still read from a peer whose request was answered before its end: else the
/// answer may be lost with the connection.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: u64 = 1024 * 1024;

type ReplyBody = Either<Full<Bytes>, Body>;

/// What every connection shares.
struct Server {
    state: Arc<WebState>,
    router: Router,
    gate: Gate,
    events: &'static Route,
    places: Arc<Semaphore>,
}

/// Serves until `shutdown` is done, then lets requests under way finish.
///
/// # Errors
/// When the listener has no address.
pub async fn serve(listener: TcpListener, state: Arc<WebState>, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let address = listener.local_addr()?;
    state.loopback.store(address.ip().is_loopback(), Ordering::Relaxed);
    let gate = Gate::new(address, &state.options.hosts);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let server =
        Arc::new(Server { router: route::router(state.clone()), gate, events: route::events(), places, state: state.clone() });
    let (stop, stopping) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => take(&server, stream, stopping.clone()),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
    state.closing.store(true, Ordering::Relaxed);
    drop(listener);
    drop(stopping);
    // Every connection holds a receiver: when the last one is gone, so are they.
    let _ = stop.send(true);
    if tokio::time::timeout(DRAIN_TIME, stop.closed()).await.is_err() {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
    Ok(())
}

/// Gives a connection a task of its own, or turns it away when there are too many.
fn take(server: &Arc<Server>, stream: TcpStream, stopping: watch::Receiver<bool>) {
    let Ok(place) = server.places.clone().try_acquire_owned() else {
        // Whatever fits into the socket's buffer; a peer that has to wait for more gets nothing.
        let _ = stream
            .try_write(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return;
    };
    // Answers are small and whole: waiting to fill packets only makes them late.
    let _ = stream.set_nodelay(true);
    tokio::spawn(connection(server.clone(), stream, stopping, place));
}

async fn connection(server: Arc<Server>, stream: TcpStream, mut stopping: watch::Receiver<bool>, _place: OwnedSemaphorePermit) {
    let phase = Phase::default();
    let io = TokioIo::new(Socket::new(stream, phase.clone(), server.state.times));
    let service = service_fn(move |request| respond(server.clone(), phase.clone(), request));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX).header_read_timeout(None).half_close(false);
    let mut connection = builder.serve_connection(io, service);
    let mut asked_to_stop = false;
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            _ = stopping.wait_for(|stop| *stop), if !asked_to_stop => {
                asked_to_stop = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    match ended {
        Err(error) if !error.is_parse() => tracing::debug!(%error, "a connection ended early"),
        // An answer was sent, if only that the request cannot be understood.
        Ok(()) | Err(_) => linger(connection.into_parts().io.into_inner()).await,
    }
}

/// Closes our half, then reads what the peer is still sending, within bounds.
async fn linger(mut socket: Socket) {
    let rest = async {
        socket.shutdown().await?;
        let mut rest = socket.take(LINGER_BYTES_MAX);
        let mut buffer = [0; 4096];
        while rest.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    };
    // A peer that is gone or too slow has lost nothing that it was owed.
    let _ = tokio::time::timeout(LINGER_TIME, rest).await;
}

type Responding = BoxFuture<'static, Result<Response<ReplyBody>, Infallible>>;

fn respond(server: Arc<Server>, phase: Phase, request: Request<Incoming>) -> Responding {
    Box::pin(async move {
        phase.busy();
        let chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let mut response = match phase.has_two_lengths() {
            true => whole(Problem::new(StatusCode::BAD_REQUEST, "the request names its length in two ways").close().reply()),
            false => route_request(&server, request).await,
        };
        // Nothing that follows a body without a stated length is taken for another request.
        if chunked || server.places.available_permits() < CONNECTIONS_SPARE {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        phase.idle();
        Ok(response)
    })
}

async fn route_request(server: &Server, request: Request<Incoming>) -> Response<ReplyBody> {
    if let Err(problem) = server.gate.check(request.uri(), request.headers()) {
        return whole(problem.reply());
    }
    // The one door that many thousand requests a second come through does not ask the router.
    if request.method() == Method::POST && request.uri().path() == server.events.path {
        return whole(dispatch(server.events, server.state.clone(), Vec::new(), request).await);
    }
    match server.router.clone().oneshot(request.map(Body::new)).await {
        Ok(response) => response.map(Either::Right),
        Err(never) => match never {},
    }
}

fn whole(reply: Reply) -> Response<ReplyBody> {
    reply.map(Either::Left)
}

/// The answer of the router to a path that is not there.
pub(super) async fn nothing_here() -> Reply {
    Problem::not_found().reply()
}
