//! Any service over HTTP, described in the settings instead of in code.
//!
//! URL, headers and body are templates over `effect`, `message` or `grant`, and the frozen `customer`,
//! `event` and so on. Data is encoded for the place it stands in, and can never choose the host.

mod answer;
mod build;

use super::{Channel, Idempotency, Prepared, SendResult, Setup, Tools};
use crate::effect::{Effect, EffectKind, OnUncertain};
use crate::lang::cel::{Schema, Type};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{Field, Shape};
use crate::lang::value::{Fields, Value};
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

/// Fields of the kind `http`.
pub(super) const FIELDS: &[Field] = &[
    Field::required("url", Shape::Text, "where to send; data may stand after the host only"),
    Field::optional("method", Shape::Word(Method::NAMES), "default POST"),
    Field::optional("headers", Shape::MapOf(&Shape::Text), "headers; values may hold data"),
    Field::optional("auth", Shape::Object(AUTH), "how to prove who calls"),
    Field::optional("json", Shape::Data, "the body as JSON; a text that is one `{{ … }}` keeps its type"),
    Field::optional("form", Shape::MapOf(&Shape::Text), "the body as a form"),
    Field::optional("body", Shape::Text, "the body as text; write data with `| json` or `| urlencode`"),
    Field::optional("success", Shape::Object(SUCCESS), "which answers mean yes"),
    Field::optional("reference", Shape::Text, "where the receiver's own id stands in the JSON answer, such as /message/id"),
    Field::optional("result", Shape::MapOf(&Shape::Text), "what later steps may read: name and place in the JSON answer"),
    Field::optional("retry_on", Shape::List(&Shape::Int(100, 599)), "more statuses after which it is tried again"),
    Field::optional("timeout", Shape::Duration, "for the whole call; default 10s, at most 60s"),
    Field::optional("idempotency_header", Shape::Text, "the header in which the receiver takes the key of an effect"),
    Field::optional("idempotent", Shape::Bool, "the receiver knows effects again by `effect.id` in URL or body; default false"),
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
    Form(Vec<(String, Line)>),
}

/// A JSON body with templates for leaves.
enum Json {
    Constant(String),
    Line(Line),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// How the caller proves who it is.
enum Auth {
    None,
    Header { name: String, value: Secret },
}

struct Http {
    method: Method,
    url: Line,
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

impl Http {
    fn lines(&self) -> Vec<&Line> {
        let mut lines = vec![&self.url];
        lines.extend(self.headers.iter().map(|(_, line)| line));
        match &self.body {
            Body::None => {}
            Body::Text(line) => lines.push(line),
            Body::Json(json) => json.lines(&mut lines),
            Body::Form(fields) => lines.extend(fields.iter().map(|(_, line)| line)),
        }
        lines
    }

    fn body(&self, context: &Context) -> Result<String, String> {
        let render = |line: &Line| line.render(context).map_err(|why| why.to_string());
        match &self.body {
            Body::None => Ok(String::new()),
            Body::Text(line) => render(line),
            Body::Json(json) => {
                let mut out = String::new();
                json.write(context, &mut out)?;
                Ok(out)
            }
            Body::Form(fields) => {
                let pairs: Result<Vec<String>, String> = fields
                    .iter()
                    .map(|(name, line)| Ok(format!("{}={}", percent_encode(name), percent_encode(&render(line)?))))
                    .collect();
                Ok(pairs?.join("&"))
            }
        }
    }
}

impl Json {
    fn lines<'a>(&'a self, out: &mut Vec<&'a Line>) {
        match self {
            Json::Constant(_) => {}
            Json::Line(line) => out.push(line),
            Json::List(items) => items.iter().for_each(|item| item.lines(out)),
            Json::Object(fields) => fields.iter().for_each(|(_, item)| item.lines(out)),
        }
    }

    fn write(&self, context: &Context, out: &mut String) -> Result<(), String> {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Json::Constant(json) => out.push_str(json),
            Json::Line(line) => out.push_str(&line.render(context).map_err(|why| why.to_string())?),
            Json::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    item.write(context, out)?;
                }
                out.push(']');
            }
            Json::Object(fields) => {
                out.push('{');
                for (index, (name, item)) in fields.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    out.push_str(&text(name));
                    out.push(':');
                    item.write(context, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }
}

impl Channel for Http {
    fn kind(&self) -> &'static str {
        "http"
    }

    fn idempotency(&self) -> Idempotency {
        self.idempotency
    }

    fn on_uncertain(&self) -> OnUncertain {
        self.on_uncertain
    }

    fn grants(&self) -> bool {
        true
    }

    fn variables(&self) -> Vec<Vec<String>> {
        let own = |path: &&Vec<String>| path.first().is_some_and(|root| !OWN_ROOTS.contains(&root.as_str()));
        self.paths.iter().filter(own).cloned().collect()
    }

    fn check(&self, schema: &dyn Schema, faults: &mut Faults) {
        let schema = WithOwn(schema);
        self.lines().into_iter().for_each(|line| line.check(&schema, faults));
    }

    fn prepare(&self, effect: &Effect, rendered: Option<&Rendered>) -> Result<Prepared, String> {
        let vars = variables(effect, rendered)?;
        let context = Context::with_secrets(&vars, &self.paths, &self.raw);
        let render = |line: &Line| line.render(&context).map_err(|why| why.to_string());
        let url = render(&self.url)?;
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

/// Roots that come from the effect itself.
const OWN_ROOTS: &[&str] = &["effect", "message", "grant"];
const EFFECT_NAMES: &[&str] = &["id", "customer", "funnel", "step", "decided_at"];
const MESSAGE_NAMES: &[&str] =
    &["channel", "to", "template", "subject", "text", "html", "tag", "transactional", "unsubscribe_url"];
const GRANT_NAMES: &[&str] = &["points", "reason"];

/// What the templates see.
fn variables(effect: &Effect, rendered: Option<&Rendered>) -> Result<Fields, String> {
    let fields = |pairs: Vec<(&str, Value)>| {
        // An empty text is missing, so that a template that needs it fails instead of sending nothing.
        let there = pairs.into_iter().filter(|(_, value)| *value != Value::from(""));
        Value::Map(there.map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let (mut vars, own) = match &effect.kind {
        EffectKind::Message(message) => {
            let rendered = rendered.ok_or("the message was not rendered")?;
            let own = fields(vec![
                ("channel", Value::from(message.channel.as_str())),
                ("to", Value::from(message.to.as_str())),
                ("template", Value::from(message.template.as_str())),
                ("subject", Value::from(rendered.subject.as_str())),
                ("text", Value::from(rendered.text.as_str())),
                ("html", Value::from(rendered.html.as_str())),
                ("tag", message.tag.as_deref().map_or(Value::Null, Value::from)),
                ("transactional", Value::from(message.transactional)),
                ("unsubscribe_url", message.variables.get("unsubscribe_url").cloned().unwrap_or(Value::Null)),
            ]);
            (message.variables.clone(), ("message", own))
        }
        EffectKind::Grant(grant) => {
            let own = fields(vec![("points", Value::from(grant.points)), ("reason", Value::from(grant.reason.as_str()))]);
            (grant.variables.clone(), ("grant", own))
        }
        EffectKind::Offer(_) => return Err("an http provider carries messages and grants, not offers".to_owned()),
    };
    let about = fields(vec![
        ("id", Value::from(effect.id.as_str())),
        ("customer", Value::from(effect.customer.as_str())),
        ("funnel", Value::from(effect.funnel.as_str())),
        ("step", Value::from(effect.step.as_str())),
        ("decided_at", Value::Time(effect.decided_at)),
    ]);
    vars.insert("effect".to_owned(), about);
    vars.insert(own.0.to_owned(), own.1);
    Ok(vars)
}

/// A schema with the roots that come from the effect itself.
struct WithOwn<'a>(&'a dyn Schema);

impl Schema for WithOwn<'_> {
    fn root(&self, name: &str) -> Option<Type> {
        let names = match name {
            "effect" => EFFECT_NAMES,
            "message" => MESSAGE_NAMES,
            "grant" => GRANT_NAMES,
            _ => return self.0.root(name),
        };
        Some(Type::Object(names.iter().map(|name| ((*name).to_owned(), Type::Any)).collect()))
    }

    fn roots(&self) -> Vec<String> {
        self.0.roots().into_iter().chain(OWN_ROOTS.iter().map(|root| (*root).to_owned())).collect()
    }

    fn segments(&self) -> Vec<String> {
        self.0.segments()
    }

    fn event(&self, name: &str) -> Option<Type> {
        self.0.event(name)
    }

    fn events(&self) -> Vec<String> {
        self.0.events()
    }
}

#[cfg(test)]
mod tests;
