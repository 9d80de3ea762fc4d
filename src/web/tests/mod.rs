//! The doors over real sockets, with a store in memory behind them.

use super::auth::{Scope, issue};
use super::serve::serve;
use super::socket::Times;
use super::view::{FunnelView, StepView};
use super::{Options, WebState};
use crate::engine::intake::Shared;
use crate::engine::intake::fake::{FakeStore, world};
use crate::engine::traffic::Traffic;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

mod api;
mod http;
mod links;
mod pages;
mod scopes;

/// No answer takes this long; a test that waits longer has found a fault.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with a token of every scope.
pub struct Server {
    pub address: SocketAddr,
    pub store: Arc<FakeStore>,
    pub traffic: Arc<Traffic>,
    tokens: Vec<(Scope, String)>,
    pub expired: String,
    stop: Option<oneshot::Sender<()>>,
    done: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// What came back.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Got {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Server {
    pub async fn start() -> Server {
        Server::start_with(Options::default(), Times::default()).await
    }

    pub async fn start_with(options: Options, times: Times) -> Server {
        let store = FakeStore::new();
        let mut tokens = Vec::new();
        for scope in Scope::ALL {
            tokens.push((scope, issue(&*store, scope.name(), &[scope], None).await.unwrap()));
        }
        let expired = issue(&*store, "expired", &Scope::ALL, Some(crate::store::Store::now(&*store))).await.unwrap();
        let steps = vec![StepView {
            id: "email_1".to_owned(),
            kind: "email".to_owned(),
            label: "Send <b>hello</b>".to_owned(),
            depth: 0,
        }];
        let view = FunnelView {
            name: "welcome".to_owned(),
            title: "Welcome <script>".to_owned(),
            events: vec!["purchase".to_owned()],
            trigger: "the first purchase".to_owned(),
            steps,
        };
        let (shared, views) = (Arc::new(Shared::new(world())), Arc::new(Shared::new(vec![view])));
        let traffic = Arc::new(Traffic::default());
        let state = WebState::new(store.clone(), shared, views, options, Default::default()).await.unwrap();
        let mut state = state.calling(traffic.clone());
        state.times = times;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(serve(listener, Arc::new(state), async { drop(stopped.await) }));
        Server { address, store, traffic, tokens, expired, stop: Some(stop), done }
    }

    /// Asks the server to stop, and waits until it has.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(PATIENCE, self.done).await.unwrap().unwrap().unwrap();
    }

    pub fn token(&self, scope: Scope) -> &str {
        self.tokens.iter().find(|(s, _)| *s == scope).map(|(_, token)| token.as_str()).unwrap()
    }

    /// Sends a request with a bearer token (none when empty) and further header lines.
    pub async fn send(&self, method: &str, path: &str, token: &str, headers: &str, body: &str) -> Got {
        let bearer = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
        let host = format!("host: {}\r\n", self.address);
        let host = if headers.to_ascii_lowercase().contains("host:") { "" } else { &host };
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{host}connection: close\r\n{bearer}{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.raw(request.as_bytes()).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Got {
        self.send("GET", path, token, "", "").await
    }

    pub async fn post(&self, path: &str, token: &str, body: &str) -> Got {
        self.send("POST", path, token, "", body).await
    }

    /// Sends bytes as they are and reads until the server closes.
    pub async fn raw(&self, request: &[u8]) -> Got {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request).await;
        parse(&until_closed(stream).await)
    }
}

pub async fn until_closed(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn parse(text: &str) -> Got {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Got { status, head: head.to_owned(), body: body.to_owned() }
}

/// An event as JSON.
pub fn event(id: &str) -> String {
    format!(r#"{{"id":"{id}","event":"purchase","customer":"c1","properties":{{"amount":1}}}}"#)
}
