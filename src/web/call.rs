//! A request as its handler sees it: authorised, bounded, its body read.

use super::WebState;
use super::answer::Problem;
use crate::engine::intake::{Form, Refusal};
use crate::lang::time::Time;
use crate::store::read::PAGE_ROWS_MAX;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use std::sync::Arc;

/// Rows of a list when the request does not say how many.
const ROWS_DEFAULT: usize = 100;

/// A request, ready for its handler.
pub struct Call {
    /// The server's state.
    pub state: Arc<WebState>,
    /// Parts of the path by their names in the route's pattern, decoded.
    pub params: Vec<(String, String)>,
    /// The query as sent.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body; empty where the route takes none.
    pub body: Bytes,
    /// The path with its query, as sent.
    pub target: String,
}

impl Call {
    /// A part of the path.
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// A header's text; `None` when it is missing or is no text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The name of the token that asks, for records of who did what.
    pub fn who(&self) -> String {
        self.state.auth.name(self.header(&AUTHORIZATION))
    }

    /// Whether the body holds one JSON document or one per line.
    pub fn form(&self) -> Form {
        match self.header(&CONTENT_TYPE) {
            Some(kind) if kind.to_ascii_lowercase().contains("ndjson") => Form::Lines,
            _ => Form::Json,
        }
    }

    /// The query's parameters, of which only `known` ones may be there.
    ///
    /// # Errors
    /// When one is not known, is given twice, or is not text.
    pub fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in self.query.as_deref().unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode(name, true).zip(decode(value, true));
            let (name, value) = decoded.ok_or_else(|| Refusal::new("the query is not percent-encoded UTF-8"))?;
            if !known.contains(&name.as_str()) {
                let shown: String = name.chars().take(40).collect();
                return Err(Refusal::new(format!("`{shown}` is not a parameter here"))
                    .did_you_mean(&shown, known.iter().copied())
                    .into());
            }
            if pairs.iter().any(|(n, _)| *n == name) {
                return Err(Refusal::new(format!("`{name}` is given twice")).field(name).into());
            }
            pairs.push((name, value));
        }
        Ok(Query(pairs))
    }
}

/// The parameters of a query.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// A parameter; empty when it is missing.
    pub fn text(&self, name: &str) -> String {
        self.0.iter().find(|(n, _)| n == name).map_or(String::new(), |(_, value)| value.clone())
    }

    /// How many rows are wanted, as `limit` says; at most [`PAGE_ROWS_MAX`].
    ///
    /// # Errors
    /// When it is no such number.
    pub fn limit(&self) -> Result<usize, Problem> {
        match self.text("limit").as_str() {
            "" => Ok(ROWS_DEFAULT),
            text => match text.parse() {
                Ok(n @ 1..=PAGE_ROWS_MAX) => Ok(n),
                _ => Err(Refusal::new(format!("`limit` must be a number from 1 to {PAGE_ROWS_MAX}")).field("limit").into()),
            },
        }
    }

    /// A position in a list.
    ///
    /// # Errors
    /// When it is no number.
    pub fn position(&self, name: &str) -> Result<Option<u64>, Problem> {
        match self.text(name).as_str() {
            "" => Ok(None),
            text => {
                text.parse().map(Some).map_err(|_| Refusal::new(format!("`{name}` must be a whole number")).field(name).into())
            }
        }
    }

    /// An instant.
    ///
    /// # Errors
    /// When it is none.
    pub fn time(&self, name: &str) -> Result<Option<Time>, Problem> {
        match self.text(name).as_str() {
            "" => Ok(None),
            text => Time::parse(text).map(Some).ok_or_else(|| crate::engine::intake::fit::no_time(text, name).into()),
        }
    }
}

/// Undoes percent-encoding; `None` when it is broken or not UTF-8. In queries and forms `+` is a blank.
pub fn decode(text: &str, plus_is_blank: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (rest.next()?, rest.next()?);
                let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                digit(high)? << 4 | digit(low)?
            }
            b'+' if plus_is_blank => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encodes a text for a part of a path or a value of a query.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => out.push(char::from(byte)),
            // Dots, too: no id can become a `..`.
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_is_undone_and_broken_encoding_is_refused() {
        for text in ["a b", "ä/..?&=%+", "", "C-1"] {
            assert_eq!(decode(&encode(text), false).as_deref(), Some(text));
        }
        assert_eq!(decode("a+b%20c", true).as_deref(), Some("a b c"));
        for bad in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert_eq!(decode(bad, false), None, "{bad}");
        }
    }
}
