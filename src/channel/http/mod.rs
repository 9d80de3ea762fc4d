//! Any service over HTTP, described in the settings instead of in code.
//!
//! URL, query, headers and body are templates over `effect`, `message` or `grant`, and the frozen `customer`,
//! `event` and so on. Data is encoded for the place it stands in, and can never choose the host.

mod answer;
mod ask;
mod build;
pub(super) mod service;
mod state;

pub(super) use build::{entries, header_name};

use super::vars::{WithOwn, frozen, variables};
use super::{Channel, Idempotency, Known, Prepared, SendResult, Setup, Tools};
use crate::effect::{Effect, EffectKind, OnUncertain};
use crate::lang::cel::Schema;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::value::Fields;
use crate::template::{Context, Line, Rendered, percent_encode};
use crate::wire::secrets::Secret;
use crate::wire::{Method, Reach, Request};
use answer::Reading;
use ask::Ask;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// Longest value of an idempotency header, in bytes; a longer key is sent as its SHA-256.
const KEY_BYTES_MAX: usize = 200;

/// Ways to prove who calls.
pub const AUTH: &[Field] = &[
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
/// Answers that mean yes.
pub const SUCCESS: &[Field] = &[
    Field::optional("status", Shape::Phrase("statuses such as 200-299 or 200, 202"), "statuses that mean yes; default 200-299"),
    Field::optional("field", Shape::Text, "a place in the JSON answer that must be as `equals` says, such as /ok"),
    Field::optional("equals", Shape::Data, "what must stand there; default true"),
];
/// Answers after which it is tried again.
pub const RETRY_WHEN: &[Field] = &[
    Field::required("field", Shape::Text, "a place in the JSON answer, such as /error/code"),
    Field::required("one_of", Shape::List(&Shape::Data), "what stands there when trying again may help"),
    Field::optional("uncertain", Shape::Bool, "after such an answer it may have happened all the same; default false"),
];
const IDEMPOTENCY: &[&str] = &["key", "query", "none"];
/// Answers to the question whether a key is known.
pub const ANSWER: &[Field] = &[
    Field::optional("status", Shape::Phrase("statuses such as 200-299 or 404, 410"), "statuses of such an answer"),
    Field::optional("field", Shape::Text, "a place in the JSON answer that must be as `equals` says, such as /found"),
    Field::optional("equals", Shape::Data, "what must stand there; default true"),
];
const ASK: &[Field] = &[
    Field::required("url", Shape::Text, "what to call; the key is `{{ effect.id }}`"),
    Field::optional("method", Shape::Word(Method::NAMES), "default GET"),
    Field::optional("query", Shape::MapOf(&Shape::Text), "parameters of the URL"),
    Field::optional("headers", Shape::MapOf(&Shape::Text), "headers; default those of the provider"),
    Field::optional("json", Shape::Data, "the body as JSON, where the method has one"),
    Field::optional("known", Shape::Object(ANSWER), "the answer that it is known; default status 200-299"),
    Field::optional("unknown", Shape::Object(ANSWER), "the answer that it is not known; default status 404"),
    Field::optional("reference", Shape::Text, "where the receiver's own id stands; default as for the provider"),
    Field::optional("result", Shape::MapOf(&Shape::Text), "what later steps may read; default as for the provider"),
    Field::optional("state", Shape::Object(STATE), "what the store's word means; default as for the provider"),
    Field::optional("after", Shape::Duration, "so long after a call that broke off it is asked first; default 5s"),
];
/// What a store's word for a grant means.
pub const STATE: &[Field] = &[
    Field::optional("field", Shape::Text, "where the store's word for a grant stands in the JSON answer, such as /state"),
    Field::optional("active", Shape::OneOrMore(&Shape::Data), "words for: booked and spendable"),
    Field::optional("pending", Shape::OneOrMore(&Shape::Data), "words for: booked, spendable later"),
    Field::optional("parked", Shape::OneOrMore(&Shape::Data), "words for: not booked because the programme is blocked"),
    Field::optional("refused", Shape::OneOrMore(&Shape::Data), "words for: not booked, for good"),
    Field::optional(
        "parked_status",
        Shape::Phrase("statuses such as 423"),
        "statuses that mean by themselves: not booked because the programme is blocked",
    ),
    Field::optional(
        "missing",
        Shape::Word(&state::MISSING),
        "what a yes without a word means; default: nobody knows, so it is asked for, or sent again under its key",
    ),
];

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
        "`key`: the receiver knows an effect again by its key in a header, in the URL or in the body; `query`: it can be asked for it, see `ask`; `none` (default): it would act twice",
    ),
    Field::optional("ask", Shape::Object(ASK), "for `idempotency: query`: after a call that broke off, is the key known?"),
    Field::optional("state", Shape::Object(STATE), "for grants: what the store's word for one means"),
    Field::optional("reason", Shape::Text, "where the JSON answer says why it was refused or parked, such as /error/message"),
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

/// What is sent for an effect, and the question whether it is known.
struct Calls {
    send: Request,
    ask: Option<Request>,
    /// It is to book something.
    books: bool,
}

struct Http {
    /// Its kind as in the settings: `http`, or a preset's name.
    kind: &'static str,
    /// Whether it can carry grants.
    grants: bool,
    /// Whether it can carry whatever a loyalty store is asked for.
    store: bool,
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
    ask: Option<Ask>,
    /// Secrets by their name in templates.
    raw: Vec<(String, String)>,
    paths: Vec<Vec<String>>,
}

pub(super) fn compile(name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
    build::compile(name, node, setup, faults).map(|http| Arc::new(http) as Arc<dyn Channel>)
}

/// A request of a loyalty store.
pub(super) fn of_store(name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
    let http = build::compile(name, node, setup, faults)?;
    Some(Arc::new(Http { store: true, ..http }))
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
        if let Some(ask) = &self.ask {
            lines.extend(ask.http.lines());
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
        if !self.store && matches!(effect.kind, EffectKind::Offer(_) | EffectKind::Lookup(_)) {
            return Err(format!("a provider carries messages and grants, no {}", effect.kind.name()));
        }
        let vars = variables(effect, rendered, &self.paths)?;
        let (send, digest) = self.request(effect, &vars)?;
        let ask = self.ask.as_ref().map(|ask| ask.http.request(effect, &vars)).transpose()?.map(|(ask, _)| ask);
        let books = matches!(effect.kind, EffectKind::Grant(_) | EffectKind::Offer(_));
        Ok(Prepared::new(digest, Calls { send, ask, books }))
    }

    fn send<'a>(&'a self, prepared: &'a Prepared, tools: &'a Tools) -> BoxFuture<'a, SendResult> {
        Box::pin(async move {
            let Some(calls) = prepared.payload::<Calls>() else {
                return SendResult::Refused { why: "the call was prepared by another provider".to_owned() };
            };
            let result = tools.client.send(calls.send.clone()).await;
            self.reading.read(result, calls.books, || tools.store.now())
        })
    }

    fn ask_after(&self) -> Duration {
        self.ask.as_ref().map_or(Duration::ZERO, |ask| ask.after)
    }

    fn ask<'a>(&'a self, prepared: &'a Prepared, tools: &'a Tools) -> BoxFuture<'a, Known> {
        Box::pin(async move {
            let asked = prepared.payload::<Calls>().and_then(|calls| Some((calls.ask.clone()?, calls.books)));
            let (Some(ask), Some((request, books))) = (&self.ask, asked) else {
                return Known::CannotTell { after: None, why: "this provider cannot be asked".to_owned() };
            };
            ask.read(tools.client.send(request).await, books, || tools.store.now())
        })
    }
}

impl Http {
    /// The request for an effect, and the digest of what the receiver acts on.
    fn request(&self, effect: &Effect, vars: &Fields) -> Result<(Request, Vec<u8>), String> {
        let context = Context::with_secrets(vars, &self.paths, &self.raw);
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
        Ok((Request { method, url, headers, body: Bytes::from(body), timeout, reach }, digest))
    }
}

/// The request that is sent.
#[cfg(test)]
pub(super) fn sent(prepared: &Prepared) -> &Request {
    &prepared.payload::<Calls>().expect("prepared by this kind").send
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
