//! The one way out over HTTP, and the rules for every other way out ([`Dial`]).
//!
//! Every call that leaves this process goes through [`Client`]: connections are kept and reused, nothing
//! is followed, nothing is retried behind the caller's back, proxies of the environment are ignored, and
//! the answer is bounded. Where a call may go is decided on the address that is connected to, after the
//! name was resolved, so that a name cannot lead into the private network.

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

mod address;
mod dial;
pub mod secrets;

pub use address::check_url;
pub use dial::{Dial, ascii_host};

/// Most bytes of an answer's body that are read.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// Longest time for name resolution, connection and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(55);
/// Most idle connections kept per host.
const IDLE_PER_HOST_MAX: usize = 256;

/// How far a call may reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    /// Plain `http://` may be used with any host, not only with this machine.
    pub http: bool,
    /// Addresses of private networks may be connected to.
    pub private: bool,
}

/// Methods of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

impl Method {
    /// All methods by name.
    pub const NAMES: &'static [&'static str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];

    /// The method of that name.
    pub fn parse(name: &str) -> Option<Method> {
        Some(match name {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// A call. It has no `Debug`: its URL and headers may hold secrets.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Absolute URL.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Body; empty for none.
    pub body: Bytes,
    /// For the whole call, from the first byte out to the last byte in.
    pub timeout: Duration,
    /// How far it may reach.
    pub reach: Reach,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// Status.
    pub status: u16,
    headers: HeaderMap,
    /// As much of the body as was asked for.
    pub body: Bytes,
    /// The body is whole: it was neither cut nor broken off.
    pub complete: bool,
}

impl Response {
    /// An answer without headers, for tests of what answers mean.
    #[cfg(test)]
    pub fn plain(status: u16, body: &str, complete: bool) -> Response {
        Response { status, headers: HeaderMap::new(), body: Bytes::from(body.to_owned()), complete }
    }

    /// The first header of that name, if it is readable text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// The call can never be made like this.
    #[error("{0}")]
    Invalid(String),
    /// Name resolution, connection or TLS failed: nothing was written.
    #[error("no connection: {0}")]
    BeforeSend(String),
    /// Something may have been written and no answer came.
    #[error("no answer: {0}")]
    Ambiguous(String),
}

/// The client; a clone shares its connections.
#[derive(Clone, Debug)]
pub struct Client {
    public: reqwest::Client,
    local: reqwest::Client,
    judged: Arc<address::Judged>,
    /// Where this process itself listens.
    own: Arc<OnceLock<SocketAddr>>,
}

impl Client {
    /// A client with its own pool of connections.
    ///
    /// # Errors
    /// The TLS library cannot be set up on this machine.
    pub fn new() -> Result<Client, String> {
        Client::resolving(&address::system())
    }

    /// A client that asks somebody else for the addresses of names.
    fn resolving(lookup: &address::Lookup) -> Result<Client, String> {
        // It is an error only when another part of the process installed one before; either will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = |guarded: bool| match guarded {
            true => builder().dns_resolver(Arc::new(address::PublicOnly(lookup.clone()))),
            false => builder(),
        };
        let build = |guarded: bool| match builder(guarded).build() {
            Ok(client) => Ok(client),
            // A machine without certificate authorities can still call plain-http services on itself;
            // every https call then fails and says why.
            Err(_) => builder(guarded).tls_certs_only(std::iter::empty()).build(),
        };
        let failed = |why: reqwest::Error| format!("the HTTP client cannot be set up: {}", chain(&why));
        Ok(Client {
            public: build(true).map_err(failed)?,
            local: build(false).map_err(failed)?,
            judged: Arc::default(),
            own: Arc::default(),
        })
    }

    /// Where this process itself listens: what it is asked to call must not be its own doors, whose words are for people
    /// and machines with tokens. Said once.
    pub fn never_calls(&self, own: SocketAddr) {
        // A process has one door; said again, the first one counts.
        let _ = self.own.set(own);
    }

    /// Makes one call, once, and reads at most [`RESPONSE_BYTES_MAX`] of the answer.
    ///
    /// # Errors
    /// See [`WireError`]; an answer of any status is no error.
    pub async fn send(&self, request: Request) -> Result<Response, WireError> {
        self.send_reading(request, RESPONSE_BYTES_MAX).await
    }

    /// Makes one call, once, and reads at most `body_bytes_max` of the answer: for pages of lists.
    ///
    /// # Errors
    /// See [`WireError`]; an answer of any status is no error.
    pub async fn send_reading(&self, request: Request, body_bytes_max: usize) -> Result<Response, WireError> {
        let target = self.judged.target(&request.url, request.reach).map_err(WireError::Invalid)?;
        if self.own.get().is_some_and(|own| address::leads_to(&target.url, *own)) {
            return Err(WireError::Invalid("this is the engine's own address, which is never called".to_owned()));
        }
        let client = if target.unguarded { &self.local } else { &self.public };
        let mut headers = HeaderMap::with_capacity(request.headers.len());
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(WireError::Invalid("a header of the request has characters that HTTP does not allow".to_owned()));
            };
            headers.append(name, value);
        }
        let mut call = client.request(method(request.method), target.url).headers(headers);
        if !request.body.is_empty() {
            call = call.body(request.body);
        }
        let deadline = tokio::time::Instant::now() + request.timeout;
        let answer = match tokio::time::timeout_at(deadline, call.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) if why.is_builder() => return Err(WireError::Invalid(chain(&why.without_url()))),
            Ok(Err(why)) if why.is_connect() => return Err(WireError::BeforeSend(chain(&why.without_url()))),
            Ok(Err(why)) => return Err(WireError::Ambiguous(chain(&why.without_url()))),
            Err(_) => return Err(WireError::Ambiguous(format!("none within {} s", request.timeout.as_secs_f64()))),
        };
        Ok(read(answer, deadline, body_bytes_max).await)
    }
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .user_agent(concat!("autofunnel/", env!("CARGO_PKG_VERSION")))
}

/// Reads the body up to its limit and the deadline. The status is known by now, so a body that breaks off
/// is told by `complete`, not by an error.
async fn read(mut answer: reqwest::Response, deadline: tokio::time::Instant, body_bytes_max: usize) -> Response {
    let status = answer.status().as_u16();
    let headers = std::mem::take(answer.headers_mut());
    let mut body = BytesMut::new();
    let complete = loop {
        match tokio::time::timeout_at(deadline, answer.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = body_bytes_max - body.len();
                body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
                if chunk.len() > room {
                    break false;
                }
            }
            Ok(Ok(None)) => break true,
            Ok(Err(_)) | Err(_) => break false,
        }
    };
    Response { status, headers, body: body.freeze(), complete }
}

/// An error with its causes: the outermost alone says little.
fn chain(why: &dyn std::error::Error) -> String {
    let mut text = why.to_string();
    let mut cause = why.source();
    while let Some(why) = cause {
        let inner = why.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        cause = why.source();
    }
    text
}

#[cfg(test)]
mod tests;
