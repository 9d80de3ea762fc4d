//! Answers: JSON, pages, and problems that all have one form: `{"error", "hint"?, "field"?}`.
//!
//! The status codes of everything that can go wrong are chosen here and nowhere else.

use crate::engine::intake::{IntakeError, Refusal};
use crate::store::StoreError;
use axum::http::header::{ALLOW, HeaderName, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER,
};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use maud::Markup;
use serde_json::json;

/// A response with its whole body in memory.
pub type Reply = Response<Full<Bytes>>;

/// What a handler returns.
pub type Answer = Result<Reply, Problem>;

/// Seconds after which a client may try again when the store is not available.
const RETRY_AFTER_S: u32 = 2;

/// Scripts and styles only from our own files, no frames around us, nothing inline.
const PAGE_POLICY: &str = "default-src 'self'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'";
/// A message is shown as foreign: no scripts, no forms, no origin; framed only by our own page.
const PREVIEW_POLICY: &str =
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data: https:; frame-ancestors 'self'";

/// Something that went wrong, with its status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// One sentence, what to do next, and the field.
    pub refusal: Refusal,
    /// The rest of the request was not read: the connection cannot be used again.
    pub close: bool,
}

impl Problem {
    /// A problem with its sentence.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Problem {
        Problem { status, refusal: Refusal::new(error), close: false }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.refusal = self.refusal.hint(hint);
        self
    }

    /// Closes the connection after the answer.
    #[must_use]
    pub fn close(mut self) -> Problem {
        self.close = true;
        self
    }

    /// Nothing is here; also the answer to a token that may not see what is.
    pub fn not_found() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "there is nothing here, or your token may not see it")
            .hint("a token with more rights may see it (`autofunnel token`); GET /openapi.json lists what there is")
    }

    /// No token, or none that counts.
    pub fn unauthorized() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "a valid token is needed").hint("send the header: Authorization: Bearer <token>")
    }

    /// As a response.
    pub fn reply(self) -> Reply {
        let Refusal { error, hint, field } = self.refusal;
        let mut body = json!({ "error": error });
        for (name, text) in [("hint", hint), ("field", field)] {
            if let Some(text) = text {
                body[name] = text.into();
            }
        }
        let mut reply = json(self.status, &body);
        let headers = reply.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S))),
            _ => {}
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem { status: StatusCode::BAD_REQUEST, refusal, close: false }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        // What exactly is wrong with the store is for the log of the operator, not for a sender.
        tracing::warn!(%error, "the store failed a request");
        let problem = match error {
            StoreError::Unavailable(_) | StoreError::Closed => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store is not available at the moment")
            }
            // The engine ends and is started again by whoever looks after it; nothing of this request was taken.
            StoreError::Fatal(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the engine cannot work as it is"),
        };
        match problem.status {
            StatusCode::SERVICE_UNAVAILABLE => problem.hint("send the same request again in a moment; it does no harm"),
            _ => problem.hint("the engine's log says what happened"),
        }
    }
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Problem {
        match error {
            IntakeError::Refused(refusal) => refusal.into(),
            IntakeError::NoSuch(refusal) => Problem { status: StatusCode::NOT_FOUND, refusal, close: false },
            IntakeError::Unverified(_) => {
                Problem::new(StatusCode::UNAUTHORIZED, "this delivery does not prove where it comes from")
                    .hint("check the secret, the clock, and that the body is sent as it was signed")
            }
            IntakeError::Store(error) => error.into(),
        }
    }
}

/// The answer to a method that a path does not have.
pub fn method_not_allowed(allowed: &str) -> Reply {
    let mut reply = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not have that method")
        .hint(format!("it has: {allowed}"))
        .reply();
    if let Ok(value) = HeaderValue::from_str(allowed) {
        reply.headers_mut().insert(ALLOW, value);
    }
    reply
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// A JSON answer.
pub fn json(status: StatusCode, body: &serde_json::Value) -> Reply {
    let mut reply = reply(status, "application/json", body.to_string());
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// A JSON answer whose text is always the same: nothing is built for it.
pub fn fixed_json(status: StatusCode, body: &'static str) -> Reply {
    reply(status, "application/json", Bytes::from_static(body.as_bytes()))
}

/// Plain text.
pub fn text(content_type: &'static str, body: String) -> Reply {
    reply(StatusCode::OK, content_type, body)
}

/// A file of our own that pages need.
pub fn asset(content_type: &'static str, body: &'static str) -> Reply {
    let mut reply = reply(StatusCode::OK, content_type, Bytes::from_static(body.as_bytes()));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    reply
}

/// A page.
pub fn page(status: StatusCode, markup: Markup) -> Reply {
    framed(reply(status, "text/html; charset=utf-8", markup.into_string()), PAGE_POLICY, "DENY")
}

/// A message as its receiver sees it, for a frame of our own page.
pub fn preview(html: String) -> Reply {
    framed(reply(StatusCode::OK, "text/html; charset=utf-8", html), PREVIEW_POLICY, "SAMEORIGIN")
}

fn framed(mut reply: Reply, policy: &'static str, frame: &'static str) -> Reply {
    let fixed: [(HeaderName, &'static str); 4] = [
        (CONTENT_SECURITY_POLICY, policy),
        (X_FRAME_OPTIONS, frame),
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    reply
}

/// Sends the browser to another page of ours.
pub fn see_other(to: &str) -> Reply {
    let mut reply = reply(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new());
    // Paths of ours are percent-encoded; anything else falls back to the first page.
    let location = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    reply.headers_mut().insert(LOCATION, location);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
