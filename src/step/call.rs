//! `call`: a request to a service of the settings, whose answer later steps read.
//!
//! Where it goes is the service's address and nothing else: data stands in path, query and body only, and is
//! encoded for its place. The whole request is fixed when the step is decided.

use super::set::Source;
use super::{Below, Flow, IF_EXPIRED, Step, StepCx, StepKind, compile, main_text};
use crate::effect::call::{Call, REQUEST_BYTES_MAX, Wanted};
use crate::lang::cel::{Need, Schema, Scope, Text, Type};
use crate::lang::diag::Faults;
use crate::lang::node::{Node, NodeKind};
use crate::lang::shape::{self, Field, Object, Shape};
use crate::lang::time::Span;
use crate::lang::value::{Fields, Value, put};
use crate::template::{Context, Line, LineKind, percent_encode};

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];
/// Deepest nesting of `response`.
const RESPONSE_DEPTH_MAX: usize = 6;
/// Words of `response`.
const KINDS: &[&str] = &["text", "number", "bool", "time", "list"];

/// `call`.
pub static KIND: StepKind = StepKind {
    name: "call",
    doc: "call a service of the settings; later steps read its answer as `steps.<id>.body` and `steps.<id>.status`",
    example: "call: stock\n  path: /items/{{ event.sku }}\n  response: { left: number }",
    fields: &[
        Field::required("call", Shape::Name("service"), "the service under `services` in autofunnel.yaml"),
        Field::optional("method", Shape::Word(METHODS), "default: POST with a body, else GET"),
        Field::optional(
            "path",
            Shape::Text,
            "what follows the service's address, such as /orders/{{ event.order_id }}; default /",
        ),
        Field::optional(
            "query",
            Shape::MapOf(&Shape::Data),
            "parameters of the URL: text with `{{ … }}`, or `{ cel: <expression> }`; `name?` is left out when what it names is missing",
        ),
        Field::optional(
            "json",
            Shape::Data,
            "the body as JSON; a text that is one `{{ … }}` keeps its type, `{ cel: <expression> }` is computed; \
             `name?` is left out when what it names is missing",
        ),
        Field::optional(
            "expect",
            Shape::Either(&[Shape::Int(100, 599), Shape::Phrase("statuses such as 200-299 or 200, 404")]),
            "statuses that mean yes; default 200-299",
        ),
        Field::optional(
            "response",
            Shape::MapOf(&Shape::Data),
            "what is kept of the JSON answer: names with text, number, bool, time, list, or a map of the same; default all",
        ),
        Field::optional("expires", Shape::Duration, "the call must not begin later than this after its decision; default never"),
        IF_EXPIRED,
    ],
    compile: compile_call,
};

/// A piece of the request.
#[derive(Debug)]
enum Piece {
    Source(Source),
    Line(Line),
    List(Vec<Piece>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
struct Entry {
    name: String,
    piece: Piece,
    /// It is left out when what it names is missing.
    optional: bool,
}

#[derive(Debug)]
struct CallStep {
    service: String,
    method: &'static str,
    path: Line,
    query: Vec<Entry>,
    json: Option<Piece>,
    expect: Vec<(u16, u16)>,
    response: Option<Wanted>,
    expires: Option<Span>,
    persists: bool,
}

fn compile_call(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let errors = faults.error_count();
    let service = main_text(object, "call", faults).and_then(|name| known(name, below, faults));
    let method = object.word("method", METHODS, faults);
    let path = path(object, below, faults);
    let query = object.node("query").map(|node| entries(node, "query", LineKind::Plain, below, faults)).unwrap_or_default();
    let json = object.node("json").and_then(|node| piece(node, LineKind::Json, below, faults));
    if let (Some("GET"), Some(node)) = (method, object.node("json")) {
        faults
            .error("bad-body", &node.place, "a GET request has no body")
            .hint("use `method: POST`, or put the data into `query`");
    }
    let method = method.unwrap_or(if json.is_some() { "POST" } else { "GET" });
    let expect = object.node("expect").map_or_else(|| vec![(200, 299)], |node| statuses(node, faults));
    let response = object.node("response").and_then(|node| wanted(node, 0, faults));
    let expires = object.span("expires", faults);
    if expires.is_some_and(Span::is_zero) {
        faults.error("bad-duration", &object.place("expires"), "a call that expires at once is never made");
    }
    let persists = object.node("on_error").and_then(Node::scalar) == Some("retry");
    if persists && expires.is_none() {
        faults
            .error("no-expiry", &object.place("on_error"), "a call that is tried again after every no needs an end")
            .hint("add for example `expires: 1 day`; the run stops then");
    }
    if faults.error_count() > errors {
        return None;
    }
    let step = CallStep { service: service?, method, path: path?, query, json, expect, response, expires, persists };
    Some(Box::new(step))
}

/// A service that there is.
fn known(name: Text, below: &Below<'_, '_>, faults: &mut Faults) -> Option<String> {
    let services = &below.names().services;
    if services.contains(&name.text) {
        return Some(name.text);
    }
    let message = format!("there is no service `{}` under `services` in autofunnel.yaml", name.text);
    faults
        .error("unknown-service", &name.place, message)
        .did_you_mean(&name.text, services.iter().map(String::as_str))
        .hint_if_none("add it with its `url`: a step can call nothing else");
    None
}

fn path(object: &Object<'_>, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Line> {
    let text = match object.node("path") {
        None => Text { text: "/".to_owned(), place: object.place.clone() },
        Some(node) => shape::text(node, faults)?,
    };
    if !text.text.starts_with('/') || text.text.starts_with("//") || text.text.contains(['#', '\\']) {
        faults
            .error("bad-path", &text.place, "a path begins with one `/` and has no `#` and no `\\` in it")
            .hint("the service's address stands in autofunnel.yaml; write only what follows it, such as `/orders`");
        return None;
    }
    line(&text, LineKind::Url, below, faults)
}

fn line(text: &Text, kind: LineKind, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Line> {
    let line = Line::compile(text, kind, below.names().options, faults)?;
    let schema = below.compiler().schema();
    line.check(&*schema as &dyn Schema, faults);
    Some(line)
}

fn entries(node: &Node, field: &str, kind: LineKind, below: &mut Below<'_, '_>, faults: &mut Faults) -> Vec<Entry> {
    let Some(map) = node.map() else {
        let message = format!("`{field}` must be a map of names, but here stands {}", node.describe());
        faults.error("wrong-type", &node.place, message).hint("write `name: value` lines");
        return Vec::new();
    };
    let mut out = Vec::new();
    for (key, node) in map {
        let (name, optional) = match key.text.strip_suffix('?') {
            Some(name) => (name.to_owned(), true),
            None => (key.text.clone(), false),
        };
        if kind == LineKind::Plain && (node.list().is_some() || node.map().is_some_and(|map| !is_cel(map))) {
            faults
                .error("wrong-type", &node.place, "a parameter of a URL is one value")
                .hint("join the values, or send them as `json`");
            continue;
        }
        out.extend(piece(node, kind, below, faults).map(|piece| Entry { name, piece, optional }));
    }
    out
}

fn is_cel(map: &[(crate::lang::node::Key, Node)]) -> bool {
    matches!(map, [(key, _)] if key.text == "cel")
}

fn piece(node: &Node, kind: LineKind, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Piece> {
    match &node.kind {
        NodeKind::List(items) => {
            let items: Vec<Option<Piece>> = items.iter().map(|item| piece(item, kind, below, faults)).collect();
            items.into_iter().collect::<Option<Vec<_>>>().map(Piece::List)
        }
        NodeKind::Map(map) if !is_cel(map) => Some(Piece::Map(entries(node, "json", kind, below, faults))),
        NodeKind::Scalar { text, .. } if text.contains("{{") || text.contains("{%") => {
            line(&Text { text: text.clone(), place: node.place.clone() }, kind, below, faults).map(Piece::Line)
        }
        _ => compile::value(node, below.compiler(), faults).map(Piece::Source),
    }
}

/// `200-299`, `200, 404`, `204`.
fn statuses(node: &Node, faults: &mut Faults) -> Vec<(u16, u16)> {
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (100..=599).contains(status));
    let mut out = Vec::new();
    for part in node.scalar().unwrap_or_default().split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        match (status(from), status(to)) {
            (Some(from), Some(to)) if from <= to => out.push((from, to)),
            _ => {
                let typed: String = part.trim().chars().take(40).collect();
                faults
                    .error("bad-status", &node.place, format!("`{typed}` is no HTTP status"))
                    .hint("write for example `200-299` or `200, 404`");
            }
        }
    }
    out
}

/// What is kept of the answer.
fn wanted(node: &Node, depth: usize, faults: &mut Faults) -> Option<Wanted> {
    let Some(map) = node.map() else {
        return Some(match shape::word(node, KINDS, faults)? {
            "number" => Wanted::Number,
            "bool" => Wanted::Bool,
            "time" => Wanted::Time,
            "list" => Wanted::List,
            _ => Wanted::Text,
        });
    };
    if depth > RESPONSE_DEPTH_MAX {
        faults.error("too-deep", &node.place, format!("`response` is at most {RESPONSE_DEPTH_MAX} maps deep"));
        return None;
    }
    let fields = map.iter().filter_map(|(key, node)| Some((key.text.clone(), wanted(node, depth + 1, faults)?)));
    Some(Wanted::Map(fields.collect()))
}

/// Why a request cannot be made.
enum Lack {
    Missing(String),
    Impossible(String),
}

/// The values that lines read, as they are now.
struct Values<'a> {
    vars: Fields,
    paths: &'a [Vec<String>],
}

impl Values<'_> {
    fn render(&self, line: &Line) -> Result<String, Lack> {
        line.render(&Context::new(&self.vars, self.paths)).map_err(|why| match why.missing {
            Some(missing) => Lack::Missing(missing),
            None => Lack::Impossible(why.to_string()),
        })
    }
}

impl Piece {
    fn lines<'a>(&'a self, out: &mut Vec<&'a Line>) {
        match self {
            Piece::Source(_) => {}
            Piece::Line(line) => out.push(line),
            Piece::List(items) => items.iter().for_each(|item| item.lines(out)),
            Piece::Map(entries) => entries.iter().for_each(|entry| entry.piece.lines(out)),
        }
    }

    fn needs(&self, out: &mut Vec<Need>) {
        match self {
            Piece::Source(source) => out.extend(source.needs()),
            Piece::Line(_) => {}
            Piece::List(items) => items.iter().for_each(|item| item.needs(out)),
            Piece::Map(entries) => entries.iter().for_each(|entry| entry.piece.needs(out)),
        }
    }

    /// As JSON text.
    fn json(&self, cx: &StepCx<'_>, values: &Values<'_>) -> Result<String, Lack> {
        match self {
            Piece::Source(source) => source.value(cx).map(|value| value.to_json().to_string()).map_err(Lack::Missing),
            Piece::Line(line) => values.render(line),
            Piece::List(items) => {
                let items: Result<Vec<String>, Lack> = items.iter().map(|item| item.json(cx, values)).collect();
                Ok(format!("[{}]", items?.join(",")))
            }
            Piece::Map(entries) => {
                let mut out = Vec::with_capacity(entries.len());
                for entry in entries {
                    match entry.piece.json(cx, values) {
                        Err(Lack::Missing(_)) if entry.optional => {}
                        json => out.push(format!("{}:{}", serde_json::Value::from(entry.name.as_str()), json?)),
                    }
                }
                Ok(format!("{{{}}}", out.join(",")))
            }
        }
    }

    /// As text in a URL.
    fn text(&self, cx: &StepCx<'_>, values: &Values<'_>) -> Result<String, Lack> {
        match self {
            Piece::Line(line) => values.render(line),
            Piece::Source(source) => match source.value(cx).map_err(Lack::Missing)? {
                Value::Text(text) => Ok(text),
                value => Ok(value.to_json().to_string().trim_matches('"').to_owned()),
            },
            Piece::List(_) | Piece::Map(_) => Err(Lack::Impossible("a parameter of a URL is one value".to_owned())),
        }
    }
}

impl CallStep {
    fn request(&self, cx: &StepCx<'_>) -> Result<Call, Lack> {
        let mut lines = vec![&self.path];
        self.query.iter().for_each(|entry| entry.piece.lines(&mut lines));
        self.json.iter().for_each(|json| json.lines(&mut lines));
        let mut paths: Vec<Vec<String>> = lines.iter().flat_map(|line| line.variables()).collect();
        paths.sort();
        paths.dedup();
        let values = Values { vars: frozen(cx.scope, &paths, true), paths: &paths };
        // A text without a letter in it would make another path of this one.
        let path = Values { vars: frozen(cx.scope, &paths, false), paths: &paths }.render(&self.path)?;
        let mut path = sound(path)?;
        for entry in &self.query {
            match entry.piece.text(cx, &values) {
                Err(Lack::Missing(_)) if entry.optional => {}
                text => {
                    path.push(if path.contains('?') { '&' } else { '?' });
                    path.push_str(&format!("{}={}", percent_encode(&entry.name), percent_encode(&text?)));
                }
            }
        }
        let body = self.json.as_ref().map(|json| json.json(cx, &values)).transpose()?;
        let bytes = path.len() + body.as_ref().map_or(0, String::len);
        if bytes > REQUEST_BYTES_MAX {
            return Err(Lack::Impossible(format!(
                "the request takes {bytes} bytes, more than {REQUEST_BYTES_MAX}; send fewer fields"
            )));
        }
        Ok(Call {
            service: self.service.clone(),
            method: self.method.to_owned(),
            path,
            body,
            expect: self.expect.clone(),
            response: self.response.clone(),
            persists: self.persists,
        })
    }
}

/// The values at the paths, nested as templates read them; missing ones are left out.
fn frozen(scope: &dyn Scope, paths: &[Vec<String>], empty: bool) -> Fields {
    let mut out = Fields::new();
    for path in paths {
        match scope.field(path) {
            Some(Value::Text(text)) if !empty && text.is_empty() => {}
            Some(value) => put(&mut out, path, value),
            None => {}
        }
    }
    out
}

/// A path that stays where it is written: `.` and `..` would lead elsewhere.
fn sound(path: String) -> Result<String, Lack> {
    let (way, _) = path.split_once('?').unwrap_or((&path, ""));
    let dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    let fits = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#');
    if fits && !way.split('/').any(dots) {
        return Ok(path);
    }
    Err(Lack::Impossible("its path would lead elsewhere: data in it is `.`, `..` or has characters that no path has".to_owned()))
}

impl Step for CallStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        match self.request(cx) {
            Ok(call) => Flow::Call { call, expires: self.expires },
            Err(Lack::Missing(what)) => Flow::Missing { what },
            Err(Lack::Impossible(why)) => Flow::Impossible { why },
        }
    }

    fn needs(&self) -> Vec<Need> {
        let mut out = Vec::new();
        self.query.iter().for_each(|entry| entry.piece.needs(&mut out));
        self.json.iter().for_each(|json| json.needs(&mut out));
        out
    }

    fn calls(&self) -> Option<&str> {
        Some(&self.service)
    }

    fn results(&self) -> Vec<(String, Type)> {
        vec![("status".to_owned(), Type::Number), ("body".to_owned(), self.response.as_ref().map_or(Type::Any, Wanted::ty))]
    }

    fn sentence(&self) -> String {
        format!("call {} ({})", self.service, self.method)
    }
}
