//! The story's way in: the same HTTP door that a shop would use.

use super::script::{Act, Line};
use crate::wire::{Client, Method, Reach, Request};
use anyhow::{Context, bail};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client of the engine's door.
pub struct Door {
    client: Client,
    base: String,
    token: String,
    number: AtomicU64,
}

impl Door {
    /// A client for the engine at that address.
    pub fn new(address: SocketAddr, token: String) -> anyhow::Result<Door> {
        let client = Client::new().map_err(anyhow::Error::msg)?;
        Ok(Door { client, base: format!("http://{address}"), token, number: AtomicU64::new(0) })
    }

    /// Sends one line of the story.
    pub async fn send(&self, line: Line) -> anyhow::Result<()> {
        match line.act {
            Act::Put(body) => {
                self.call(Method::Put, &format!("/v1/customers/{}", line.who), "application/json", body.to_string()).await
            }
            Act::Event(name, properties) => {
                let number = self.number.fetch_add(1, Ordering::Relaxed);
                let event = serde_json::json!({
                    "id": format!("demo-{number}"), "event": name, "customer": line.who, "properties": properties,
                });
                self.call(Method::Post, "/v1/events", "application/json", event.to_string()).await
            }
        }
    }

    /// Imports rows of the past.
    pub async fn import(&self, rows: &str) -> anyhow::Result<()> {
        self.call(Method::Post, "/v1/import", "application/x-ndjson", rows.to_owned()).await
    }

    async fn call(&self, method: Method, path: &str, kind: &str, body: String) -> anyhow::Result<()> {
        let request = Request {
            method,
            url: format!("{}{path}", self.base),
            headers: vec![
                ("authorization".to_owned(), format!("Bearer {}", self.token)),
                ("content-type".to_owned(), kind.to_owned()),
            ],
            body: Bytes::from(body),
            timeout: TIMEOUT,
            reach: Reach { http: true, private: true },
        };
        let answer = self.client.send(&request).await.with_context(|| format!("{path} gave no answer"))?;
        if !(200..300).contains(&answer.status) {
            bail!("{path} answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(())
    }
}
