//! Services: what a step of kind `call` may reach. The settings say where and how, the step says what.

use super::answer::Reading;
use super::build::{Builder, again_after, header_name, idempotency, timeout, uncertain};
use super::{AUTH, Auth, RETRY_WHEN, key};
use crate::channel::limits;
use crate::channel::vars::variables;
use crate::channel::{Channel, Idempotency, LIMIT_FIELDS, Limits, Prepared, SendResult, Setup, Tools};
use crate::effect::call::{Call, UNREAD};
use crate::effect::{Effect, EffectKind, OnUncertain};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::value::{Fields, Value};
use crate::template::{Context, Line};
use crate::wire::{Method, RESPONSE_BYTES_MAX, Reach, Request, Response, WireError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// What a service may do with the same call twice.
const IDEMPOTENCY: &[&str] = &["key", "none"];
/// Fields of a service beside its limits.
pub(in crate::channel) const FIELDS: &[Field] = &[
    Field::required("url", Shape::Text, "its address; steps write only the path behind it"),
    Field::optional("headers", Shape::MapOf(&Shape::Text), "headers of every call; values may name `effect`"),
    Field::optional("auth", Shape::Object(AUTH), "how to prove who calls"),
    Field::optional("timeout", Shape::Duration, "for the whole call; default 10s, at most 60s"),
    Field::optional("idempotency_header", Shape::Text, "the header in which the service takes the key of a call"),
    Field::optional(
        "idempotency",
        Shape::Word(IDEMPOTENCY),
        "`key`: the service knows a call again by its key; `none` (default): it would act twice; GET is always repeated",
    ),
    Field::optional("idempotent", Shape::Bool, "the same as `idempotency: key`"),
    Field::optional(
        "on_uncertain",
        Shape::Word(&["resend", "hold"]),
        "when nobody knows whether a call had its effect; default hold",
    ),
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
    Field::optional("allow_http", Shape::Bool, "the service may be called without encryption; default false"),
    Field::optional("allow_private", Shape::Bool, "the service may be in a private network; default false"),
];

/// The status of an answer that has no body by its nature.
const NO_CONTENT: u16 = 204;

struct Service {
    base: Line,
    headers: Vec<(String, Line)>,
    auth: Auth,
    reading: Reading,
    timeout: Duration,
    reach: Reach,
    idempotency_header: Option<String>,
    idempotency: Idempotency,
    on_uncertain: OnUncertain,
    raw: Vec<(String, String)>,
    paths: Vec<Vec<String>>,
}

/// A call, ready to be sent.
struct Ready {
    request: Request,
    call: Call,
}

/// Compiles the service `name` from the settings.
pub(in crate::channel) fn compile(name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
    let errors = faults.error_count();
    let object = Object::read(node, &[LIMIT_FIELDS, FIELDS], &format!("the service `{name}`"), faults)?;
    let limits = limits::read(node, faults);
    let mut builder = Builder { setup, raw: Vec::new(), secrets: Vec::new() };
    let reach = Reach { http: object.bool("allow_http", false, faults), private: object.bool("allow_private", false, faults) };
    let base = object.text("url", faults).and_then(|text| {
        let plain = !text.text.contains(['?', '#', '\\']) && !text.text.contains("{{") && !text.text.contains("{%");
        if !plain {
            faults
                .error("bad-url", &text.place, "a service's address has no data, no `?` and no `#` in it")
                .hint("write for example `https://api.example.com/v1`; the step adds `path` and `query`");
            return None;
        }
        builder.url(&text, reach, faults)
    });
    let headers = builder.headers(&object, faults);
    let paths: Vec<Vec<String>> = headers.iter().flat_map(|(_, line)| line.variables()).collect();
    if let Some(path) = paths.iter().find(|path| path.first().is_none_or(|root| root != "effect")) {
        faults
            .error("unknown-name", &object.place("headers"), format!("the headers of a service cannot name `{}`", path.join(".")))
            .hint(
                "they may name `effect.id`, `effect.customer`, `effect.funnel` and `effect.step`; send other data with the step",
            );
    }
    let auth = builder.auth(&object, faults);
    let idempotency_header =
        object.text("idempotency_header", faults).filter(|name| header_name(name, faults)).map(|name| name.text);
    let idempotency = idempotency(&object, idempotency_header.is_some(), IDEMPOTENCY, faults);
    let (on_uncertain, timeout) = (uncertain(&object, faults), timeout(&object, faults));
    let (retry_on, again, retry_after) = again_after(&object, faults);
    if faults.error_count() > errors {
        return None;
    }
    let reading = Reading {
        success: Vec::new(),
        field: None,
        reference: None,
        result: Vec::new(),
        retry_on,
        again,
        retry_after,
        state: None,
        reason: None,
        secrets: builder.secrets,
    };
    let service = Service {
        base: base?,
        headers,
        auth,
        reading,
        timeout,
        reach,
        idempotency_header,
        idempotency,
        on_uncertain,
        raw: builder.raw,
        paths,
    };
    Some(limits::limited(Arc::new(service), limits?))
}

impl Service {
    fn request(&self, effect: &Effect, call: &Call) -> Result<Request, String> {
        let vars = variables(effect, None, &self.paths)?;
        let context = Context::with_secrets(&vars, &self.paths, &self.raw);
        let render = |line: &Line| line.render(&context).map_err(|why| why.to_string());
        let base = render(&self.base)?;
        if !call.path.starts_with('/') {
            return Err("the path of a call begins with `/`".to_owned());
        }
        let url = format!("{}{}", base.trim_end_matches('/'), call.path);
        let mut headers: Vec<(String, String)> = Vec::with_capacity(self.headers.len() + 3);
        for (name, line) in &self.headers {
            headers.push((name.clone(), render(line)?));
        }
        if call.body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        if let Auth::Header { name, value } = &self.auth {
            headers.push((name.clone(), value.expose().to_owned()));
        }
        if let Some(name) = &self.idempotency_header {
            headers.push((name.clone(), key(&effect.id)));
        }
        let method = Method::parse(&call.method).ok_or_else(|| format!("`{}` is no method of HTTP", call.method))?;
        let body = Bytes::from(call.body.clone().unwrap_or_default());
        Ok(Request { method, url, headers, body, timeout: self.timeout, reach: self.reach })
    }

    fn read(&self, call: &Call, result: Result<Response, WireError>, tools: &Tools) -> SendResult {
        let answered = match &result {
            Ok(response) if call.expects(response.status) => return accepted(call, response),
            Ok(_) => true,
            Err(_) => false,
        };
        match self.reading.read(result, false, || tools.store.now()) {
            SendResult::Refused { why } if answered && call.persists => SendResult::Retry { after: None, why, ambiguous: false },
            read => read,
        }
    }
}

/// An answer that means yes, with what is kept of it.
fn accepted(call: &Call, response: &Response) -> SendResult {
    let cut = response.body.len() >= RESPONSE_BYTES_MAX;
    if !response.complete && !cut {
        return SendResult::Retry { after: None, why: "the answer broke off".to_owned(), ambiguous: true };
    }
    let json: Option<serde_json::Value> = serde_json::from_slice(&response.body).ok();
    let body = json.and_then(|json| Value::from_json(&json).ok());
    // A yes of something on the way, such as a page that says that the service is being mended, has another shape.
    if response.complete && (200..300).contains(&response.status) && response.status != NO_CONTENT && !call.suits(body.as_ref()) {
        let why = format!("the service answered {} with a body that is not what `response` describes", response.status);
        return SendResult::Retry { after: None, why, ambiguous: true };
    }
    let mut data: Fields = call.read(response.status, body.as_ref());
    if !response.complete {
        data.insert(UNREAD.to_owned(), Value::Text(format!("the answer has more than {RESPONSE_BYTES_MAX} bytes")));
    }
    SendResult::Accepted { reference: None, data }
}

impl Channel for Service {
    fn kind(&self) -> &'static str {
        "service"
    }

    fn idempotency(&self) -> Idempotency {
        self.idempotency
    }

    fn on_uncertain(&self) -> OnUncertain {
        self.on_uncertain
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn prepare(&self, effect: &Effect, _rendered: Option<&crate::template::Rendered>) -> Result<Prepared, String> {
        let EffectKind::Call(call) = &effect.kind else { return Err("a service takes calls only".to_owned()) };
        let request = self.request(effect, call)?;
        let mut digest = Sha256::new();
        for part in [call.method.as_str(), &call.path, call.body.as_deref().unwrap_or_default()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        Ok(Prepared { digest: digest.finalize().to_vec(), payload: Box::new(Ready { request, call: call.clone() }) })
    }

    fn send<'a>(&'a self, prepared: &'a Prepared, tools: &'a Tools) -> BoxFuture<'a, SendResult> {
        Box::pin(async move {
            let Some(ready) = prepared.payload.downcast_ref::<Ready>() else {
                return SendResult::Refused { why: "the call was prepared by another channel".to_owned() };
            };
            let result = tools.client.send(ready.request.clone()).await;
            self.read(&ready.call, result, tools)
        })
    }
}

#[cfg(test)]
mod tests;
