//! Reads an `http` provider from the settings.

use super::answer::Reading;
use super::answer::{Again, Reference};
use super::ask::Ask;
use super::state::State;
use super::{
    AUTH, Auth, BASIC, Body, Entry, FIELDS, HEADER, Http, IDEMPOTENCY, Idempotency, Json, Pair, RETRY_WHEN, SUCCESS, Setup,
};
use crate::channel::COMMON_FIELDS;
use crate::effect::OnUncertain;
use crate::lang::cel::Text;
use crate::lang::diag::{Faults, Place};
use crate::lang::node::{Node, NodeKind};
use crate::lang::shape::{self, Object};
use crate::lang::value::Value;
use crate::template::{Line, LineKind};
use crate::wire::secrets::{Piece, Secret, joined, one, pieces};
use crate::wire::{Method, Reach, check_url};
use base64::Engine;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Timeout when none is given, in milliseconds.
const TIMEOUT_MS: i64 = 10_000;
/// Longest timeout, in milliseconds.
const TIMEOUT_MS_MAX: i64 = 60_000;
/// Headers that HTTP or this engine sets.
const RESERVED_HEADERS: &[&str] = &["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"];

/// Collects what the templates of one provider share.
pub(super) struct Builder<'a> {
    pub setup: Setup<'a>,
    pub raw: Vec<(String, String)>,
    pub secrets: Vec<Secret>,
}

pub(super) fn compile(name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Http> {
    let http = compile_plain(name, node, setup, faults);
    let ask = node.get("ask").filter(|ask| !ask.is_null());
    match (ask, node.get("idempotency").and_then(Node::scalar) == Some("query")) {
        (Some(ask), true) => {
            // What the two have in common has its faults reported once.
            let http = http?;
            let ask = Ask::compile(name, node, ask, setup, faults)?;
            let paths: BTreeSet<Vec<String>> = ask.http.paths.iter().chain(&http.paths).cloned().collect();
            Some(Http { ask: Some(ask), paths: paths.into_iter().collect(), ..http })
        }
        (None, true) => {
            faults
                .error("missing-field", &node.place, "`idempotency: query` needs `ask`: how to find out whether a key is known")
                .hint("write for example `ask: { url: \"https://…/bonuses/{{ effect.id }}\" }`");
            None
        }
        (Some(ask), false) => {
            faults
                .error("bad-idempotency", &ask.place, "`ask` is used with `idempotency: query` only")
                .hint("write `idempotency: query`, or remove `ask`");
            None
        }
        (None, false) => http,
    }
}

/// A provider without the question whether it knows an effect.
pub(super) fn compile_plain(name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Http> {
    let errors = faults.error_count();
    let object = Object::read(node, &[COMMON_FIELDS, FIELDS], &format!("the provider `{name}`"), faults)?;
    let mut builder = Builder { setup, raw: Vec::new(), secrets: Vec::new() };
    let reach = Reach { http: object.bool("allow_http", false, faults), private: object.bool("allow_private", false, faults) };
    let url = object.text("url", faults).and_then(|text| builder.url(&text, reach, faults));
    let method = object.word("method", Method::NAMES, faults).and_then(Method::parse).unwrap_or(Method::Post);
    let query = builder.pairs(&object, "query", faults);
    let headers = builder.headers(&object, faults);
    let auth = builder.auth(&object, faults);
    let body = builder.body(&object, method, faults);
    let idempotency_header =
        object.text("idempotency_header", faults).filter(|name| header_name(name, faults)).map(|name| name.text);
    let idempotency = idempotency(&object, idempotency_header.is_some(), IDEMPOTENCY, faults);
    let on_uncertain = uncertain(&object, faults);
    let timeout = timeout(&object, faults);
    let reading = builder.reading(&object, faults);
    if faults.error_count() > errors {
        return None;
    }
    let mut http = Http {
        kind: "http",
        grants: true,
        store: false,
        method,
        url: url?,
        query,
        headers,
        auth,
        body,
        reading,
        timeout,
        reach,
        idempotency_header,
        idempotency,
        on_uncertain,
        ask: None,
        raw: builder.raw,
        paths: Vec::new(),
    };
    let paths: BTreeSet<Vec<String>> = http.lines().iter().flat_map(|line| line.variables()).collect();
    http.paths = paths.into_iter().collect();
    Some(http)
}

impl Builder<'_> {
    /// Replaces references by names under which the secrets are found when it is rendered.
    fn named(&mut self, text: &Text, faults: &mut Faults) -> Option<Text> {
        let mut out = String::with_capacity(text.text.len());
        for piece in pieces(text, self.setup.secrets, faults)? {
            match piece {
                Piece::Plain(plain) => out.push_str(&plain),
                Piece::Secret(secret) => {
                    let name = format!("s{}", self.raw.len());
                    out.push_str(&format!("{{{{ secrets.{name} }}}}"));
                    self.raw.push((name, secret.expose().to_owned()));
                    self.secrets.push(secret);
                }
            }
        }
        Some(Text { text: out, place: text.place.clone() })
    }

    fn line(&mut self, text: &Text, kind: LineKind, faults: &mut Faults) -> Option<Line> {
        let text = self.named(text, faults)?;
        Line::compile(&text, kind, self.setup.options, faults)
    }

    /// The host must be known before any data is: only what follows it may be a template.
    pub fn url(&mut self, text: &Text, reach: Reach, faults: &mut Faults) -> Option<Line> {
        let (head, path) = match text.text.strip_prefix("${").and_then(|rest| rest.split_once('}')) {
            // A base URL from the environment is no secret; it is checked like any other.
            Some((reference, rest)) => match self.setup.secrets.resolve(reference) {
                Ok(base) if base.is_placeholder() => return self.line(text, LineKind::Url, faults),
                Ok(base) => (base.expose().trim_end_matches('/').to_owned(), rest.to_owned()),
                Err(why) => {
                    faults.error("bad-secret", &text.place, why);
                    return None;
                }
            },
            None => {
                let host = text.text.find("://").map_or(0, |at| at + 3);
                let rest = text.text.get(host..).unwrap_or("");
                let end = rest.find(['/', '?', '#']).map_or(text.text.len(), |at| host + at);
                (text.text.get(..end).unwrap_or("").to_owned(), text.text.get(end..).unwrap_or("").to_owned())
            }
        };
        if head.contains(['{', '}', '$', '%']) || !(path.is_empty() || path.starts_with(['/', '?'])) {
            faults
                .error("bad-url", &text.place, "the host of a provider must be written out; data may stand after it only")
                .hint("write for example `https://api.example.com/v1/{{ customer.id }}`");
            return None;
        }
        if let Err(why) = check_url(&head, reach) {
            faults.error("bad-url", &text.place, why);
            return None;
        }
        self.line(&Text { text: format!("{head}{path}"), place: text.place.clone() }, LineKind::Url, faults)
    }

    pub fn headers(&mut self, object: &Object<'_>, faults: &mut Faults) -> Vec<(String, Line)> {
        let mut out = Vec::new();
        for (key, node) in entries(object, "headers", faults) {
            let name = Text { text: key.text.clone(), place: key.place.clone() };
            if !header_name(&name, faults) {
                continue;
            }
            if let Some(line) = shape::text(node, faults).and_then(|text| self.line(&text, LineKind::Header, faults)) {
                out.push((name.text, line));
            }
        }
        out
    }

    pub fn auth(&mut self, object: &Object<'_>, faults: &mut Faults) -> Auth {
        let Some(auth) = object.node("auth").and_then(|node| Object::read(node, &[AUTH], "`auth`", faults)) else {
            return Auth::None;
        };
        let ways = ["bearer", "basic", "header"].iter().filter(|way| auth.node(way).is_some()).count();
        if ways != 1 {
            faults.error("bad-auth", &auth.place, "`auth` needs exactly one of `bearer`, `basic`, `header`");
            return Auth::None;
        }
        self.way(&auth, faults).unwrap_or(Auth::None)
    }

    fn way(&mut self, auth: &Object<'_>, faults: &mut Faults) -> Option<Auth> {
        let authorization = |value: String| Auth::Header { name: "authorization".to_owned(), value: Secret::new(value) };
        if let Some(node) = auth.node("bearer") {
            let token = self.secret(&shape::text(node, faults)?, faults)?;
            return Some(authorization(format!("Bearer {}", token.expose())));
        }
        if let Some(node) = auth.node("basic") {
            let basic = Object::read(node, &[BASIC], "`basic`", faults)?;
            let user = joined(&basic.text("user", faults)?, self.setup.secrets, faults)?;
            let password = self.secret(&basic.text("password", faults)?, faults)?;
            let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose()));
            self.secrets.push(Secret::new(encoded.clone()));
            return Some(authorization(format!("Basic {encoded}")));
        }
        let header = Object::read(auth.node("header")?, &[HEADER], "`header`", faults)?;
        let name = header.text("name", faults).filter(|name| header_name(name, faults))?;
        let value = self.secret(&header.text("value", faults)?, faults)?;
        Some(Auth::Header { name: name.text, value })
    }

    fn secret(&mut self, text: &Text, faults: &mut Faults) -> Option<Secret> {
        let secret = one(text, self.setup.secrets, faults)?;
        if !secret.expose().bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            faults.error("bad-secret", &text.place, "the secret has characters that no HTTP header may have");
            return None;
        }
        self.secrets.push(secret.clone());
        Some(secret)
    }

    fn body(&mut self, object: &Object<'_>, method: Method, faults: &mut Faults) -> Body {
        let given: Vec<&str> = ["json", "form", "body"].into_iter().filter(|name| object.node(name).is_some()).collect();
        if given.len() > 1 {
            faults.error(
                "bad-body",
                &object.place(given[1]),
                format!("the body is given twice: as `{}` and as `{}`", given[0], given[1]),
            );
            return Body::None;
        }
        if let (Some(name), Method::Get) = (given.first(), method) {
            faults
                .error("bad-body", &object.place(name), "a GET request has no body")
                .hint("use `method: POST`, or put the data into the URL");
            return Body::None;
        }
        match given.first() {
            Some(&"json") => object.node("json").and_then(|node| self.json(node, faults)).map_or(Body::None, Body::Json),
            Some(&"form") => Body::Form(self.pairs(object, "form", faults)),
            Some(_) => {
                let text = object.text("body", faults);
                text.and_then(|text| self.line(&text, LineKind::Plain, faults)).map_or(Body::None, Body::Text)
            }
            None => Body::None,
        }
    }

    /// The entries of `query` or `form`.
    fn pairs(&mut self, object: &Object<'_>, field: &str, faults: &mut Faults) -> Vec<Pair> {
        let entries = entries(object, field, faults).into_iter().filter_map(|(key, node)| {
            let text = scalar_text(node, faults)?;
            let (name, optional) = optional(&key.text);
            Some(Pair { name, optional, line: self.line(&text, LineKind::Plain, faults)? })
        });
        entries.collect()
    }

    fn json(&mut self, node: &Node, faults: &mut Faults) -> Option<Json> {
        match &node.kind {
            NodeKind::List(items) => {
                let items: Vec<Option<Json>> = items.iter().map(|item| self.json(item, faults)).collect();
                items.into_iter().collect::<Option<Vec<_>>>().map(Json::List)
            }
            NodeKind::Map(fields) => {
                let mut entry = |key: &str, item: &Node| {
                    let (name, optional) = optional(key);
                    Some(Entry { name, optional, json: self.json(item, faults)? })
                };
                let fields: Vec<Option<Entry>> = fields.iter().map(|(key, item)| entry(&key.text, item)).collect();
                fields.into_iter().collect::<Option<Vec<_>>>().map(Json::Object)
            }
            NodeKind::Scalar { text, .. } => match shape::data(node, faults)? {
                Value::Text(_) => {
                    self.line(&Text { text: text.clone(), place: node.place.clone() }, LineKind::Json, faults).map(Json::Line)
                }
                value => Some(Json::Constant(value.to_json().to_string())),
            },
        }
    }

    fn reading(&mut self, object: &Object<'_>, faults: &mut Faults) -> Reading {
        let mut success = vec![200..=299];
        let mut field = None;
        if let Some(object) = object.node("success").and_then(|node| Object::read(node, &[SUCCESS], "`success`", faults)) {
            if let Some(node) = object.node("status") {
                success = statuses(node, faults).unwrap_or(success);
            }
            if let Some(text) = object.text("field", faults) {
                let wanted = object.node("equals").map_or(Some(Value::Bool(true)), |node| shape::data(node, faults));
                field = wanted.map(|wanted| (pointer(&text.text), wanted));
            } else if object.node("equals").is_some() {
                faults.error(
                    "bad-success",
                    &object.place("equals"),
                    "`equals` needs `field`: the place in the answer that is looked at",
                );
            }
        }
        let reference = object.text("reference", faults).and_then(|text| reference(&text, faults));
        let result = entries(object, "result", faults)
            .into_iter()
            .filter_map(|(key, node)| Some((key.text.clone(), pointer(&shape::text(node, faults)?.text))))
            .collect();
        let (retry_on, again, retry_after) = again_after(object, faults);
        let state = object.node("state").and_then(|node| State::compile(node, faults));
        let reason = object.text("reason", faults).map(|text| pointer(&text.text));
        let secrets = self.secrets.clone();
        Reading { success, field, reference, result, retry_on, again, retry_after, state, reason, secrets }
    }
}

/// When an answer is to be followed by another attempt: statuses, signs in the body, and where the pause stands.
pub(super) fn again_after(object: &Object<'_>, faults: &mut Faults) -> (Vec<u16>, Vec<Again>, Option<String>) {
    let retry_on = object.node("retry_on").and_then(Node::list).unwrap_or_default();
    let retry_on =
        retry_on.iter().filter_map(|node| shape::int(node, 100, 599, faults).and_then(|n| u16::try_from(n).ok())).collect();
    let again = object.node("retry_when").map(|node| retry_when(node, faults)).unwrap_or_default();
    (retry_on, again, object.text("retry_after", faults).map(|text| pointer(&text.text)))
}

/// What is to be done when nobody knows whether a call had its effect.
pub(super) fn uncertain(object: &Object<'_>, faults: &mut Faults) -> OnUncertain {
    match object.word("on_uncertain", &["resend", "hold"], faults) {
        Some("resend") => OnUncertain::Resend,
        _ => OnUncertain::Hold,
    }
}

/// A name with `?` behind it may be left out.
fn optional(key: &str) -> (String, bool) {
    match key.strip_suffix('?') {
        Some(name) => (name.to_owned(), true),
        None => (key.to_owned(), false),
    }
}

/// What the receiver does with the same effect twice, in one of these words.
pub(super) fn idempotency(object: &Object<'_>, header: bool, words: &'static [&'static str], faults: &mut Faults) -> Idempotency {
    let idempotent = object.bool("idempotent", false, faults);
    match object.word("idempotency", words, faults) {
        Some("key") => Idempotency::Key,
        // The key may go with the call all the same, for the receiver to be asked by it.
        Some("query") if !idempotent => Idempotency::Query,
        Some(word) if header || idempotent => {
            let with = if header { "idempotency_header" } else { "idempotent" };
            faults
                .error("bad-idempotency", &object.place("idempotency"), format!("`idempotency: {word}` contradicts `{with}`"))
                .hint("keep one of the two lines");
            Idempotency::None
        }
        _ if header || idempotent => Idempotency::Key,
        _ => Idempotency::None,
    }
}

fn reference(text: &Text, faults: &mut Faults) -> Option<Reference> {
    let Some(header) = text.text.strip_prefix("header ") else { return Some(Reference::Pointer(pointer(&text.text))) };
    let name = Text { text: header.trim().to_owned(), place: text.place.clone() };
    header_name(&name, faults).then_some(Reference::Header(name.text))
}

fn retry_when(node: &Node, faults: &mut Faults) -> Vec<Again> {
    let nodes = node.list().unwrap_or(std::slice::from_ref(node));
    let read = |node: &Node| {
        let object = Object::read(node, &[RETRY_WHEN], "`retry_when`", faults)?;
        let uncertain = object.bool("uncertain", false, faults);
        let field = pointer(&object.text("field", faults)?.text);
        let values = object.node("one_of")?;
        let values = values.list().unwrap_or(std::slice::from_ref(values));
        Some(Again { field, values: values.iter().filter_map(|value| shape::data(value, faults)).collect(), uncertain })
    };
    nodes.iter().filter_map(read).collect()
}

/// The entries of a map of names; a fault when it is something else.
pub(in crate::channel) fn entries<'a>(
    object: &Object<'a>,
    name: &str,
    faults: &mut Faults,
) -> Vec<(&'a crate::lang::node::Key, &'a Node)> {
    let Some(node) = object.node(name) else { return Vec::new() };
    match node.map() {
        Some(entries) => entries.iter().map(|(key, node)| (key, node)).collect(),
        None => {
            faults.error(
                "wrong-type",
                &node.place,
                format!("`{name}` must be a map of names, but here stands {}", node.describe()),
            );
            Vec::new()
        }
    }
}

/// The text of any scalar: in a form everything is text.
fn scalar_text(node: &Node, faults: &mut Faults) -> Option<Text> {
    match node.scalar() {
        Some(text) => Some(Text { text: text.to_owned(), place: node.place.clone() }),
        None => shape::text(node, faults),
    }
}

/// `/message/id` as it is; `message.id` in the same form.
pub(super) fn pointer(text: &str) -> String {
    if text.is_empty() || text.starts_with('/') { text.to_owned() } else { format!("/{}", text.replace('.', "/")) }
}

pub(in crate::channel) fn header_name(name: &Text, faults: &mut Faults) -> bool {
    let fit = !name.text.is_empty() && name.text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let free = !RESERVED_HEADERS.iter().any(|reserved| name.text.eq_ignore_ascii_case(reserved));
    if !fit {
        faults.error("bad-header", &name.place, "a header's name has letters, digits and `-` only");
    } else if !free {
        faults.error("bad-header", &name.place, format!("the header `{}` is set by HTTP itself; leave it out", name.text));
    }
    fit && free
}

pub(super) fn timeout(object: &Object<'_>, faults: &mut Faults) -> Duration {
    let ms = object.node("timeout").map_or(Some(TIMEOUT_MS), |node| timeout_ms(node, TIMEOUT_MS_MAX, faults));
    Duration::from_millis(ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0))
}

/// A time up to so many milliseconds.
pub(super) fn timeout_ms(node: &Node, most: i64, faults: &mut Faults) -> Option<i64> {
    let span = shape::span(node, faults)?;
    if span.months == 0 && span.days == 0 && (1..=most).contains(&span.ms) {
        return Some(span.ms);
    }
    faults
        .error("bad-timeout", &node.place, format!("a timeout is between 1 ms and {} s", most / 1_000))
        .hint("write for example `timeout: 10s`");
    None
}

/// `200-299`, `200, 202`, or a list of these.
pub(super) fn statuses(node: &Node, faults: &mut Faults) -> Option<Vec<RangeInclusive<u16>>> {
    let nodes = node.list().unwrap_or(std::slice::from_ref(node));
    let mut out = Vec::new();
    for node in nodes {
        for part in node.scalar().unwrap_or("").split(',') {
            match range(part.trim()) {
                Some(range) => out.push(range),
                None => {
                    bad_status(&node.place, part.trim(), faults);
                    return None;
                }
            }
        }
    }
    Some(out)
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (100..=599).contains(status));
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let range = status(from)?..=status(to)?;
    (!range.is_empty()).then_some(range)
}

fn bad_status(place: &Place, typed: &str, faults: &mut Faults) {
    let typed: String = typed.chars().take(40).collect();
    faults.error("bad-status", place, format!("`{typed}` is no HTTP status")).hint("write for example `200-299` or `200, 202`");
}
