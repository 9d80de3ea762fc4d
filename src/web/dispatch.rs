//! From a route and a request to an answer: who it is, how much it may send, then the handler.
//!
//! Cheap checks come first: nothing of a body is read before the request is known to be allowed.

use super::answer::{Answer, Problem, Reply, see_other};
use super::auth::{Permit, Scope};
use super::call::{Call, encode};
use super::route::{Access, Route, Verb};
use super::{WebState, pages};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, ORIGIN};
use axum::http::{Request, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;

/// Answers a request that has found its route.
pub async fn dispatch<B>(route: &'static Route, state: Arc<WebState>, params: Vec<(String, String)>, request: Request<B>) -> Reply
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let reply = answer(route, state.clone(), params, request).await.unwrap_or_else(Problem::reply);
    state.metrics.count(route, reply.status());
    reply
}

async fn answer<B>(route: &'static Route, state: Arc<WebState>, params: Vec<(String, String)>, request: Request<B>) -> Answer
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or_else(String::new, |target| target.as_str().to_owned());
    if let Some(reply) = authorise(route, &state, &parts.headers, &target).await? {
        return Ok(reply);
    }
    let body = match route.body_bytes_max {
        0 => Bytes::new(),
        max => read_body(&parts.headers, body, max, state.times.body).await?,
    };
    let query = parts.uri.query().map(str::to_owned);
    (route.handler)(Call { state, params, query, headers: parts.headers, body, target }).await
}

/// Whether the sender may use this route; a page that needs a login answers with the way to it.
async fn authorise(route: &Route, state: &WebState, headers: &HeaderMap, target: &str) -> Result<Option<Reply>, Problem> {
    let scope = match route.access {
        Access::Open | Access::Hook => return Ok(None),
        Access::Login => return check_origin(headers).map(|()| None),
        Access::Metrics if state.options.open_metrics => return Ok(None),
        Access::Metrics => Scope::Read,
        Access::Token(scope) => scope,
        Access::Page => return page_access(route, state, headers, target),
    };
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match state.auth.bearer(&*state.store, header, scope).await? {
        Permit::Granted => Ok(None),
        Permit::OutOfScope => Err(Problem::not_found().close_if(route.body_bytes_max > 0)),
        Permit::Unknown => Err(Problem::unauthorized().close_if(route.body_bytes_max > 0)),
    }
}

fn page_access(route: &Route, state: &WebState, headers: &HeaderMap, target: &str) -> Result<Option<Reply>, Problem> {
    if route.method != Verb::Get {
        check_origin(headers)?;
    }
    if state.options.open_pages && route.method == Verb::Get {
        return Ok(None);
    }
    let cookie = pages::session_cookie(headers, state.options.https);
    match cookie.map_or(Permit::Unknown, |value| state.auth.cookie(value, Scope::Read, state.store.now())) {
        Permit::Granted => Ok(None),
        Permit::OutOfScope => Err(Problem::not_found()),
        Permit::Unknown => Ok(Some(see_other(&format!("/login?next={}", encode(target))))),
    }
}

/// A form must come from a page of our own: browsers say so in `Sec-Fetch-Site` and `Origin`.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let site = text(axum::http::HeaderName::from_static("sec-fetch-site"));
    let same_site = site.is_none_or(|site| matches!(site, "same-origin" | "none"));
    let same_origin = match (text(ORIGIN), text(HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => {
            let bare = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            bare.is_some_and(|bare| bare.eq_ignore_ascii_case(host))
        }
        (Some(_), None) => false,
    };
    if same_site && same_origin {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "this form was sent from another site")
        .hint("open the page itself and send it from there")
        .close())
}

impl Problem {
    fn close_if(self, close: bool) -> Problem {
        if close { self.close() } else { self }
    }
}

/// Reads a body of at most `max` bytes; of a larger one not more than that.
async fn read_body<B>(headers: &HeaderMap, body: B, max: usize, time: Duration) -> Result<Bytes, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not taken")
            .hint("send it without Content-Encoding")
            .close());
    }
    let length =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > max as u64) {
        return Err(too_large(max));
    }
    match tokio::time::timeout(time, collect(body, max)).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive")
            .hint("send it again, in smaller parts")
            .close()),
    }
}

async fn collect<B>(mut body: B, max: usize) -> Result<Bytes, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    // Most bodies come in one piece and need no copy.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body broke off").close())?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > max {
            return Err(too_large(max));
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

fn too_large(max: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {max} bytes"))
        .hint("send it in several requests")
        .close()
}
