//! The one way out over HTTP, and the rules for every other way out ([`Dial`]).
//!
//! Every call that leaves this process goes through [`Client`]: connections are kept and reused, nothing
//! is followed, nothing is retried behind the caller's back, proxies of the environment are ignored, and
//! the answer is bounded. Where a call may go is decided on the address that is connected to, after the
//! name was resolved, so that a name cannot lead into the private network.

use address::Names;
use bytes::Bytes;
use hyper::header::{ACCEPT, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use line::{Connector, Lines, Sent};
use rustls::ClientConfig;
use rustls::RootCertStore;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

mod address;
mod dial;
mod line;
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
#[derive(Clone)]
pub struct Client {
    /// For places whose addresses are judged.
    public: Arc<Lines>,
    /// For this machine, and where private networks are allowed.
    local: Arc<Lines>,
    judged: Arc<address::Judged>,
    /// Where this process itself listens.
    own: Arc<OnceLock<SocketAddr>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with its own pool of connections.
    ///
    /// # Errors
    /// The TLS library cannot be set up on this machine.
    pub fn new() -> Result<Client, String> {
        // It is an error only when another part of the process installed one before; either will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = tls().map_err(|why| format!("the HTTP client cannot be set up: {}", chain(&why)))?;
        let lines = |guarded: bool| Arc::new(Lines::new(connector(tls.clone(), guarded)));
        Ok(Client { public: lines(true), local: lines(false), judged: Arc::default(), own: Arc::default() })
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
    pub async fn send(&self, request: &Request) -> Result<Response, WireError> {
        self.send_reading(request, RESPONSE_BYTES_MAX).await
    }

    /// Makes one call, once, and reads at most `body_bytes_max` of the answer: for pages of lists.
    ///
    /// # Errors
    /// See [`WireError`]; an answer of any status is no error.
    pub async fn send_reading(&self, request: &Request, body_bytes_max: usize) -> Result<Response, WireError> {
        let place = self.judged.place(&request.url, request.reach).map_err(WireError::Invalid)?;
        if self.own.get().is_some_and(|own| address::leads_to(&place.target.url, *own)) {
            return Err(WireError::Invalid("this is the engine's own address, which is never called".to_owned()));
        }
        let lines = if place.target.unguarded { &self.local } else { &self.public };
        let mut sent = Sent::new(request.body.clone().into());
        *sent.method_mut() = method(request.method);
        *sent.uri_mut() = place.path.clone();
        *sent.headers_mut() = headers(&request.headers, &place.host)?;
        lines.send(&place, sent, request.timeout, body_bytes_max).await
    }
}

fn method(method: Method) -> hyper::Method {
    match method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
        Method::Put => hyper::Method::PUT,
        Method::Patch => hyper::Method::PATCH,
        Method::Delete => hyper::Method::DELETE,
    }
}

/// The headers of a call, with those that every call has.
fn headers(own: &[(String, String)], host: &HeaderValue) -> Result<HeaderMap, WireError> {
    let mut headers = HeaderMap::with_capacity(own.len() + 4);
    for (name, value) in own {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_str(value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(WireError::Invalid("a header of the request has characters that HTTP does not allow".to_owned()));
        };
        headers.append(name, value);
    }
    headers.entry(HOST).or_insert_with(|| host.clone());
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("autofunnel/", env!("CARGO_PKG_VERSION"))));
    Ok(headers)
}

/// Certificates are judged as this machine judges them.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match rustls_platform_verifier::Verifier::new(provider) {
        Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
        // A machine without certificate authorities can still call plain-http services on itself;
        // every https call then fails and says why.
        Err(_) => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(builder.with_no_client_auth())
}

fn connector(tls: ClientConfig, guarded: bool) -> Connector {
    let mut http = HttpConnector::new_with_resolver(Names { guarded });
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http)
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
