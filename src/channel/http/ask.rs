//! `idempotency: query`: a receiver that takes no key is asked whether it knows an effect before anything is sent
//! to it again.

use super::answer::Reading;
use super::build::{self, pointer, statuses, timeout_ms};
use super::{ANSWER, Http, Object, Setup};
use crate::channel::{Known, SendResult};
use crate::lang::diag::Faults;
use crate::lang::node::{Key, Node, NodeKind};
use crate::lang::shape;
use crate::lang::time::Time;
use crate::lang::value::Value;
use crate::wire::{Response, WireError};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Time that a receiver has for a call that broke off before it is asked about it, in milliseconds.
const AFTER_MS: i64 = 5_000;
/// Longest such time, in milliseconds.
const AFTER_MS_MAX: i64 = 600_000;
/// Fields of `ask` that are not those of a call.
const OWN: &[&str] = &["known", "unknown", "after"];
/// Fields of the provider that hold for its question too, unless it has its own.
const SHARED: &[&str] =
    &["kind", "auth", "headers", "timeout", "allow_http", "allow_private", "reference", "result", "state", "reason"];

/// The question.
pub(super) struct Ask {
    /// The request, and how an answer is read that means *known*.
    pub http: Box<Http>,
    unknown: Answer,
    /// It is not asked sooner after an attempt than this.
    pub after: Duration,
}

/// An answer that is waited for.
struct Answer {
    status: Vec<RangeInclusive<u16>>,
    field: Option<(String, Value)>,
}

impl Ask {
    /// Reads `ask` of a provider.
    pub fn compile(name: &str, provider: &Node, ask: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Ask> {
        let own = Object::read(ask, &[super::ASK], "`ask`", faults)?;
        let unknown = match own.node("unknown") {
            Some(node) => Answer::compile(node, "`unknown`", faults)?,
            None => Answer { status: vec![404..=404], field: None },
        };
        let after = own.node("after").map_or(Some(AFTER_MS), |node| timeout_ms(node, AFTER_MS_MAX, faults))?;
        let http = build::compile_plain(name, &question(provider, ask), setup, faults)?;
        Some(Ask { http: Box::new(http), unknown, after: Duration::from_millis(u64::try_from(after).unwrap_or(0)) })
    }

    /// What an answer, or none, means. `books`: it is about something that was to be booked.
    pub fn read(&self, result: Result<Response, WireError>, books: bool, now: impl Fn() -> Time) -> Known {
        let reading: &Reading = &self.http.reading;
        if let Ok(response) = &result {
            if !response.complete {
                return Known::CannotTell { after: None, why: "the answer to whether it is known broke off".to_owned() };
            }
            if self.unknown.meets(response) {
                return Known::No;
            }
            if let Some(word) = reading.by_state(response) {
                return Known::Yes(word);
            }
        }
        // What `known` looks at in the body says enough; else the store's word must be there as in its first answer.
        match reading.read(result, books && reading.field.is_none(), now) {
            SendResult::Retry { after, why, .. } => Known::CannotTell { after, why: asked(&why) },
            SendResult::Refused { why } => Known::CannotTell { after: None, why: asked(&why) },
            known => Known::Yes(known),
        }
    }
}

fn asked(why: &str) -> String {
    format!("asked whether it is known: {why}")
}

impl Answer {
    fn compile(node: &Node, what: &str, faults: &mut Faults) -> Option<Answer> {
        let object = Object::read(node, &[ANSWER], what, faults)?;
        let status = match object.node("status") {
            Some(node) => statuses(node, faults)?,
            None => vec![200..=299],
        };
        let field = object.text("field", faults).map(|text| pointer(&text.text));
        let equals = object.node("equals").map_or(Some(Value::Bool(true)), |node| shape::data(node, faults))?;
        Some(Answer { status, field: field.map(|field| (field, equals)) })
    }

    fn meets(&self, response: &Response) -> bool {
        if !self.status.iter().any(|range| range.contains(&response.status)) {
            return false;
        }
        let Some((pointer, wanted)) = &self.field else { return true };
        let json: Option<serde_json::Value> = serde_json::from_slice(&response.body).ok();
        let found = json.as_ref().and_then(|json| json.pointer(pointer)).and_then(|json| Value::from_json(json).ok());
        found.is_some_and(|found| found.same(wanted))
    }
}

/// The question as a provider of its own: a GET, unless it says otherwise, that succeeds when it is known.
fn question(provider: &Node, ask: &Node) -> Node {
    let key = |name: &str| Key { text: name.to_owned(), place: ask.place.clone() };
    let mut entries: Vec<(Key, Node)> = Vec::new();
    for (name, node) in ask.map().unwrap_or_default() {
        match name.text.as_str() {
            "known" => entries.push((key("success"), node.clone())),
            other if OWN.contains(&other) => {}
            _ => entries.push((name.clone(), node.clone())),
        }
    }
    for (name, node) in provider.map().unwrap_or_default() {
        if SHARED.contains(&name.text.as_str()) && ask.get(&name.text).is_none() {
            entries.push((name.clone(), node.clone()));
        }
    }
    if ask.get("method").is_none() {
        let get = NodeKind::Scalar { text: "GET".to_owned(), plain: false };
        entries.push((key("method"), Node { place: ask.place.clone(), kind: get }));
    }
    Node { place: ask.place.clone(), kind: NodeKind::Map(entries) }
}
