//! Any service over HTTP, described in the settings instead of in code.
//!
//! URL, query, headers and body are templates over `effect`, `message` or `grant`, and the frozen `customer`,
//! `event` and so on. Data is encoded for the place it stands in, and can never choose the host.

mod answer;
mod build;
pub(super) mod service;

pub(super) use build::{entries, header_name};

use super::vars::{WithOwn, frozen, variables};
use super::{Channel, Idempotency, Prepared, SendResult, Setup, Tools};
use crate::effect::{Effect, EffectKind, OnUncertain};
use crate::lang::cel::Schema;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{Field, Shape};
use crate::template::{Context, Line, Rendered, percent_encode};
use crate::wire::secrets::Secret;
use crate::wire::{Method, Reach, Request};
use answer::Reading;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// Longest value of an idempotency header, in bytes; a longer key is sent as its SHA-256.
const KEY_BYTES_MAX: usize = 200;

const AUTH: &[Field] = &[
    Field::optional("bearer", Shape::Text, "a token, sent as `Authorization: Bearer …`"),
    Field::optional("basic", Shape::Object(BASIC), "user and password"),
    Field::optional("header", Shape::Object(HEADER), "a header of any name"),
];
const BASIC: &[Field] = &[
    Field::required("user", Shape::Text, "the user's name"),
    Field::required("password", Shape::Text, "a reference to the password"),
];
const HEADER: &[Field] = &[
    Field::required("name", Shape::Text, "the header's name"),
    Field::required("value", Shape::Text, "a reference to its value"),
];
const SUCCESS: &[Field] = &[
    Field::optional("status", Shape::Phrase("statuses such as 200-299 or 200, 202"), "statuses that mean yes; default 200-299"),
    Field::optional("field", Shape::Text, "a place in the JSON answer that must be as `equals` says, such as /ok"),
    Field::optional("equals", Shape::Data, "what must stand there; default true"),
];
const RETRY_WHEN: &[Field] = &[
    Field::required("field", Shape::Text, "a place in the JSON answer, such as /error/code"),
    Field::required("one_of", Shape::List(&Shape::Data), "what stands there when trying again may help"),
    Field::optional("uncertain", Shape::Bool, "after such an answer it may have happened all the same; default false"),
];
const IDEMPOTENCY: &[&str] = &["key", "none"];

/// Fields of the kind `http`.
pub(super) const FIELDS: &[Field] = &[
    Field::required("url", Shape::Text, "where to send; data may stand after the host only"),
    Field::optional("method", Shape::Word(Method::NAMES), "default POST"),
    Field::optional("query", Shape::MapOf(&Shape::Text), "parameters of the URL; values may hold data, which is encoded"),
    Field::optional("headers", Shape::MapOf(&Shape::Text), "headers; values may hold data"),
    Field::optional("auth", Shape::Object(AUTH), "how to prove who calls"),
    Field::optional(
        "json",
        Shape::Data,
        "the body as JSON; a text that is one `{{ … }}` keeps its type; `name?` is left out when what it names is missing",
    ),
    Field::optional("form", Shape::MapOf(&Shape::Text), "the body as a form"),
    Field::optional("body", Shape::Text, "the body as text; write data with `| json` or `| urlencode`"),
    Field::optional("success", Shape::Object(SUCCESS), "which answers mean yes"),
    Field::optional(
        "reference",
        Shape::Text,
        "where the receiver's own id stands: a place in the JSON answer such as /message/id, or `header X-Message-Id`",
    ),
    Field::optional("result", Shape::MapOf(&Shape::Text), "what later steps may read: name and place in the JSON answer"),
    Field::optional("retry_on", Shape::List(&Shape::Int(100, 599)), "more statuses after which it is tried again"),
    Field::optional(
        "retry_when",
        Shape::List(&Shape::Object(RETRY_WHEN)),
        "answers after which it is tried again whatever their status",
    ),
    Field::optional(
        "retry_after",
        Shape::Text,
        "where the JSON answer says how many seconds to wait, beside the header Retry-After",
    ),
    Field::optional("timeout", Shape::Duration, "for the whole call; default 10s, at most 60s"),
    Field::optional("idempotency_header", Shape::Text, "the header in which the receiver takes the key of an effect"),
    Field::optional(
        "idempotency",
        Shape::Word(IDEMPOTENCY),
        "`key`: the receiver knows an effect again by its key in a header, in the URL or in the body; `none` (default): it would act twice",
    ),
    Field::optional("idempotent", Shape::Bool, "the same as `idempotency: key`"),
    Field::optional(
        "on_uncertain",
        Shape::Word(&["resend", "hold"]),
        "when nobody knows whether a call had its effect; default hold",
    ),
    Field::optional("allow_http", Shape::Bool, "the service may be called without encryption; default false"),
    Field::optional("allow_private", Shape::Bool, "the service may be in a private network; default false"),
];

/// The form and content of the body.
enum Body {
    None,
    Text(Line),
    Json(Json),
    Form(Vec<Pair>),
}

/// A parameter of the URL or an entry of a form.
struct Pair {
    name: String,
    line: Line,
    /// It is left out when what it names is missing.
    optional: bool,
}

/// A JSON body with templates for leaves.
enum Json {
    Constant(String),
    Line(Line),
    List(Vec<Json>),
    Object(Vec<Entry>),
}

/// A field of a JSON object.
struct Entry {
    name: String,
    json: Json,
    /// It is left out when what it names is missing; in a list, with the object that it is in.
    optional: bool,
}

/// How the caller proves who it is.
enum Auth {
    None,
    Header { name: String, value: Secret },
}

struct Http {
    /// Its kind as in the settings: `http`, or a preset's name.
    kind: &'static str,
    /// Whether it can carry grants.
    grants: bool,
    method: Method,
    url: Line,
    query: Vec<Pair>,
    headers: Vec<(String, Line)>,
    auth: Auth,
    body: Body,
    reading: Reading,
    timeout: Duration,
    reach: Reach,
    idempotency_header: Option<String>,
    idempotency: Idempotency,
    on_uncertain: OnUncertain,
    /// Secrets by their name in templates.
    raw: Vec<(String, String)>,
    paths: Vec<Vec<String>>,
}

pub(super) fn compile(name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
    build::compile(name, node, setup, faults).map(|http| Arc::new(http) as Arc<dyn Channel>)
}

/// A preset: the same under another name, for messages only.
pub(super) fn preset(
    kind: &'static str,
    name: &str,
    node: &Node,
    setup: Setup<'_>,
    faults: &mut Faults,
) -> Option<Arc<dyn Channel>> {
    let http = build::compile(name, node, setup, faults)?;
    Some(Arc::new(Http { kind, grants: false, ..http }))
}

/// Renders a line; `None` when it may be left out and what it names is missing.
fn render(line: &Line, optional: bool, context: &Context) -> Result<Option<String>, String> {
    match line.render(context) {
        Ok(text) => Ok(Some(text)),
        Err(why) if optional && why.missing.is_some() => Ok(None),
        Err(why) => Err(why.to_string()),
    }
}

fn pairs(pairs: &[Pair], context: &Context) -> Result<String, String> {
    let mut out = Vec::with_capacity(pairs.len());
    for pair in pairs {
        if let Some(text) = render(&pair.line, pair.optional, context)? {
            out.push(format!("{}={}", percent_encode(&pair.name), percent_encode(&text)));
        }
    }
    Ok(out.join("&"))
}

impl Http {
    fn lines(&self) -> Vec<&Line> {
        let mut lines = vec![&self.url];
        lines.extend(self.query.iter().map(|pair| &pair.line));
        lines.extend(self.headers.iter().map(|(_, line)| line));
        match &self.body {
            Body::None => {}
            Body::Text(line) => lines.push(line),
            Body::Json(json) => json.lines(&mut lines),
            Body::Form(fields) => lines.extend(fields.iter().map(|pair| &pair.line)),
        }
        lines
    }

    fn url(&self, context: &Context) -> Result<String, String> {
        let mut url = self.url.render(context).map_err(|why| why.to_string())?;
        let query = pairs(&self.query, context)?;
        if !query.is_empty() {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&query);
        }
        Ok(url)
    }

    fn body(&self, context: &Context) -> Result<String, String> {
        match &self.body {
            Body::None => Ok(String::new()),
            Body::Text(line) => line.render(context).map_err(|why| why.to_string()),
            Body::Json(json) => {
                let mut out = String::new();
                json.write(context, false, &mut out)?;
                Ok(out)
            }
            Body::Form(fields) => pairs(fields, context),
        }
    }
}

impl Json {
    fn lines<'a>(&'a self, out: &mut Vec<&'a Line>) {
        match self {
            Json::Constant(_) => {}
            Json::Line(line) => out.push(line),
            Json::List(items) => items.iter().for_each(|item| item.lines(out)),
            Json::Object(fields) => fields.iter().for_each(|entry| entry.json.lines(out)),
        }
    }

    /// Appends it; false, with nothing appended, when it is optional and what it names is missing.
    fn write(&self, context: &Context, optional: bool, out: &mut String) -> Result<bool, String> {
        match self {
            Json::Constant(json) => out.push_str(json),
            Json::Line(line) => match render(line, optional, context)? {
                Some(text) => out.push_str(&text),
                None => return Ok(false),
            },
            Json::List(items) => write_list(items, context, out)?,
            Json::Object(fields) => {
                let begin = out.len();
                out.push('{');
                for entry in fields {
                    let before = out.len();
                    out.push_str(if before > begin + 1 { "," } else { "" });
                    out.push_str(&serde_json::Value::from(entry.name.as_str()).to_string());
                    out.push(':');
                    if !entry.json.write(context, entry.optional, out)? {
                        out.truncate(before);
                    }
                }
                out.push('}');
            }
        }
        Ok(true)
    }

    /// Whether an optional entry of this object is missing.
    fn lacks(&self, context: &Context) -> Result<bool, String> {
        let Json::Object(fields) = self else { return Ok(false) };
        for entry in fields.iter().filter(|entry| entry.optional) {
            if !entry.json.write(context, true, &mut String::new())? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn write_list(items: &[Json], context: &Context, out: &mut String) -> Result<(), String> {
    let begin = out.len();
    out.push('[');
    for item in items {
        if item.lacks(context)? {
            continue;
        }
        out.push_str(if out.len() > begin + 1 { "," } else { "" });
        item.write(context, false, out)?;
    }
    out.push(']');
    Ok(())
}

impl Channel for Http {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn idempotency(&self) -> Idempotency {
        self.idempotency
    }

    fn on_uncertain(&self) -> OnUncertain {
        self.on_uncertain
    }

    fn grants(&self) -> bool {
        self.grants
    }

    fn variables(&self) -> Vec<Vec<String>> {
        frozen(&self.paths)
    }

    fn check(&self, schema: &dyn Schema, faults: &mut Faults) {
        let schema = WithOwn(schema);
        self.lines().into_iter().for_each(|line| line.check(&schema, faults));
    }

    fn prepare(&self, effect: &Effect, rendered: Option<&Rendered>) -> Result<Prepared, String> {
        if !self.grants && !matches!(effect.kind, EffectKind::Message(_)) {
            return Err(format!("a provider of kind {} carries messages only", self.kind));
        }
        let vars = variables(effect, rendered)?;
        let context = Context::with_secrets(&vars, &self.paths, &self.raw);
        let render = |line: &Line| line.render(&context).map_err(|why| why.to_string());
        let url = self.url(&context)?;
        let body = self.body(&context)?;
        let mut headers: Vec<(String, String)> = Vec::with_capacity(self.headers.len() + 3);
        for (name, line) in &self.headers {
            headers.push((name.clone(), render(line)?));
        }
        let has = |headers: &[(String, String)], name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let kind = match self.body {
            Body::Json(_) => Some("application/json"),
            Body::Form(_) => Some("application/x-www-form-urlencoded"),
            Body::None | Body::Text(_) => None,
        };
        if let Some(kind) = kind.filter(|_| !has(&headers, "content-type")) {
            headers.push(("content-type".to_owned(), kind.to_owned()));
        }
        if let Auth::Header { name, value } = &self.auth {
            headers.push((name.clone(), value.expose().to_owned()));
        }
        if let Some(name) = &self.idempotency_header {
            headers.push((name.clone(), key(&effect.id)));
        }
        // What the receiver acts on is the body; a call without one acts by its URL.
        let digest = Sha256::digest(if body.is_empty() { url.as_bytes() } else { body.as_bytes() }).to_vec();
        let (method, timeout, reach) = (self.method, self.timeout, self.reach);
        let request = Request { method, url, headers, body: Bytes::from(body), timeout, reach };
        Ok(Prepared { digest, payload: Box::new(request) })
    }

    fn send<'a>(&'a self, prepared: &'a Prepared, tools: &'a Tools) -> BoxFuture<'a, SendResult> {
        Box::pin(async move {
            let Some(request) = prepared.payload.downcast_ref::<Request>() else {
                return SendResult::Refused { why: "the call was prepared by another provider".to_owned() };
            };
            let result = tools.client.send(request.clone()).await;
            self.reading.read(result, || tools.store.now())
        })
    }
}

/// The effect's id as a header can carry it.
fn key(id: &str) -> String {
    if id.len() <= KEY_BYTES_MAX && id.bytes().all(|b| b.is_ascii_graphic()) {
        return id.to_owned();
    }
    Sha256::digest(id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
