//! A running engine, reached over HTTP.

use crate::wire::{Client, Method, Reach, Request, Response, WireError};
use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use serde_json::Value as Json;
use std::future::Future;
use std::time::Duration;

/// Where an engine is looked for when nothing else is said.
pub(super) const URL: &str = "http://127.0.0.1:8080";
/// The variable with the engine's address.
const URL_VARIABLE: &str = "AUTOFUNNEL_URL";
/// The variable with the token.
const TOKEN_VARIABLE: &str = "AUTOFUNNEL_TOKEN";
/// Longest time for one call.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Most bytes of one answer: a page of kept messages with their HTML.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Rows of one page of a list.
const PAGE_ROWS: usize = 200;

/// Which engine to talk to.
#[derive(Args)]
pub(super) struct Remote {
    /// Address of the engine [env: AUTOFUNNEL_URL] [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A token of the engine [env: AUTOFUNNEL_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

/// The engine that a command talks to.
pub(super) struct Api {
    client: Client,
    url: String,
    token: Option<String>,
}

/// An answer of the engine that is no 2xx, or a body with its status.
pub(super) struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Json,
}

impl Answer {
    /// The body of a good answer.
    ///
    /// # Errors
    /// What the engine said instead.
    pub fn good(self) -> anyhow::Result<Json> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let text = |name: &str| self.body.get(name).and_then(Json::as_str);
        let error = text("error").map_or_else(|| format!("the engine answered {}", self.status), str::to_owned);
        let hint = match self.status {
            401 => Some("set AUTOFUNNEL_TOKEN or use --token; `autofunnel serve` prints the first one"),
            _ => text("hint"),
        };
        Err(match hint {
            Some(hint) => anyhow!("{error}; {hint}"),
            None => anyhow!(error),
        })
    }
}

impl Remote {
    /// Whether an engine is named by an option.
    pub fn is_asked(&self) -> bool {
        self.url.is_some() || self.token.is_some()
    }

    /// Whether an engine is named, by an option or by the variable.
    pub fn is_named(&self) -> bool {
        self.is_asked() || std::env::var(URL_VARIABLE).is_ok_and(|url| !url.is_empty())
    }

    /// Runs a command that talks to the engine.
    ///
    /// # Errors
    /// Those of the command.
    pub fn run<T, F: Future<Output = anyhow::Result<T>>>(&self, command: impl FnOnce(Api) -> F) -> anyhow::Result<T> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let url = self.url.clone().or_else(|| variable(URL_VARIABLE)).unwrap_or_else(|| URL.to_owned());
        let token = self.token.clone().or_else(|| variable(TOKEN_VARIABLE));
        let client = Client::new().map_err(anyhow::Error::msg)?;
        let api = Api { client, url: url.trim_end_matches('/').to_owned(), token };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(command(api))
    }
}

impl Api {
    /// Asks for something.
    ///
    /// # Errors
    /// When nobody answers, or the answer is not good.
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Json> {
        self.call(Method::Get, path, query, None).await?.good()
    }

    /// Sends a body of some type.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn post(&self, path: &str, kind: &str, body: Bytes) -> anyhow::Result<Answer> {
        self.call(Method::Post, path, &[], Some((kind, body))).await
    }

    /// Removes something.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.call(Method::Delete, path, &[], None).await
    }

    /// All rows of a list, page by page, at most `max`; `position` names the parameter of the next page.
    ///
    /// # Errors
    /// When nobody answers, or an answer is not good.
    pub async fn list(
        &self,
        path: &str,
        query: &[(&str, String)],
        rows: &str,
        position: &str,
        max: usize,
    ) -> anyhow::Result<Vec<Json>> {
        let mut out: Vec<Json> = Vec::new();
        let mut next: Option<String> = None;
        while out.len() < max {
            let mut query = query.to_vec();
            query.push(("limit", PAGE_ROWS.min(max - out.len()).to_string()));
            query.extend(next.take().map(|next| (position, next)));
            let mut page = self.get(path, &query).await?;
            if let Some(Json::Array(found)) = page.get_mut(rows).map(Json::take) {
                out.extend(found);
            }
            next = match page.get("next") {
                Some(Json::String(text)) => Some(text.clone()),
                Some(Json::Number(number)) => Some(number.to_string()),
                _ => return Ok(out),
            };
        }
        Ok(out)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<(&str, Bytes)>,
    ) -> anyhow::Result<Answer> {
        let mut url = format!("{}{path}", self.url);
        for (i, (name, value)) in query.iter().enumerate() {
            url.push_str(&format!("{}{name}={}", if i == 0 { '?' } else { '&' }, encode(value)));
        }
        let mut headers: Vec<(String, String)> = Vec::new();
        headers.extend(self.token.iter().map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
        headers.extend(body.iter().map(|(kind, _)| ("content-type".to_owned(), (*kind).to_owned())));
        let request = Request {
            method,
            url,
            headers,
            body: body.map(|(_, body)| body).unwrap_or_default(),
            timeout: TIMEOUT,
            // Whoever names the engine knows where it is.
            reach: Reach { http: true, private: true },
        };
        match self.client.send_reading(&request, ANSWER_BYTES_MAX).await {
            Ok(answer) => read(answer),
            Err(WireError::BeforeSend(why)) => {
                bail!("no engine answers at {}: {why}; start one with `autofunnel serve`, or name another with --url", self.url)
            }
            Err(why) => Err(why).with_context(|| format!("the engine at {} did not answer", self.url)),
        }
    }
}

fn read(answer: Response) -> anyhow::Result<Answer> {
    if !answer.complete {
        bail!("the engine's answer broke off, or is larger than {} MiB; ask for less with --limit", ANSWER_BYTES_MAX >> 20);
    }
    let body = serde_json::from_slice(&answer.body).unwrap_or(Json::Null);
    if (200..300).contains(&answer.status) && body.is_null() {
        bail!("what answers there is no engine: its answer is not JSON; name the engine with --url");
    }
    Ok(Answer { status: answer.status, body })
}

/// Percent-encodes a part of a path or a query (RFC 3986, unreserved characters stay).
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The rows of a list in an answer.
///
/// # Errors
/// When there is no such list.
pub(super) fn rows(answer: &mut Json, name: &str) -> anyhow::Result<Vec<Json>> {
    match answer.get_mut(name).map(Json::take) {
        Some(Json::Array(rows)) => Ok(rows),
        _ => bail!("the engine's list cannot be understood; is it of the same version as this command?"),
    }
}

/// A text of an object; empty when it is not there.
pub(super) fn text<'j>(json: &'j Json, name: &str) -> &'j str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_of_addresses_are_encoded() {
        assert_eq!(encode("C-17/é a"), "C-17%2F%C3%A9%20a");
    }

    #[test]
    fn the_engines_words_become_the_error() {
        let answer = |status: u16, body: Json| Answer { status, body }.good().map_err(|error| error.to_string());
        assert_eq!(answer(202, json!({ "status": "accepted" })), Ok(json!({ "status": "accepted" })));
        assert_eq!(answer(400, json!({ "error": "bad", "hint": "do so" })), Err("bad; do so".to_owned()));
        assert_eq!(answer(500, Json::Null), Err("the engine answered 500".to_owned()));
        assert!(answer(401, json!({ "error": "a valid token is needed" })).unwrap_err().contains("--token"));
    }
}
