//! The structured form of conditions, for those who write no expressions.
//!
//! ```yaml
//! purchases: { last: 90 days, at_least: 3 }
//! spent: { last: 365 days, at_least: 500 }
//! last_purchase: more than 60 days ago      # or: less than 7 days ago, never
//! tier: [silver, gold]
//! membership: none
//! member: true
//! balance: { at_least: 100 }
//! consent: [email, sms]                    # to all of them
//! any:
//!   - segment: vip
//!   - "customer.points > 100"
//! ```
//!
//! Every line becomes the CEL that says the same and is compiled from there, so there is one meaning and
//! `explain` can show it. Several lines are and-ed.

use super::check::Reads;
use super::code::{Code, Op};
use super::{Schema, Text, compile};
use crate::lang::diag::{Faults, Place};
use crate::lang::node::{Key, Node, NodeKind};
use crate::lang::time::Span;
use crate::lang::value::Value;

/// Deepest nesting of `all`, `any` and `none`.
const NESTING_MAX: usize = 20;
/// The keys that begin a line of their own: each with an example, and what it says.
pub const STRUCTURED: &[(&str, &str, &str)] = &[
    ("purchases", "purchases: { last: 90 days, at_least: 3 }", "how many orders, ever or in a window; `at_most`, `exactly`"),
    ("spent", "spent: { last: 365 days, at_least: 500 }", "money of orders less money given back"),
    ("event", "{ event: review, last: 90 days, at_least: 1 }", "how often any event happened"),
    ("last_purchase", "last_purchase: more than 60 days ago", "or `less than 7 days ago`, or `never`"),
    ("tier", "tier: [silver, gold]", "one of these tiers"),
    ("membership", "membership: club", "one of these memberships, or `none`"),
    ("member", "member: true", "whether a membership of hers is under way"),
    ("balance", "balance: { at_least: 100 }", "points to spend"),
    ("consent", "consent: [email, sms]", "consent to all of these channels"),
    ("segment", "segment: vip", "whether she is in it"),
    ("all", "all: [{ tier: gold }, { segment: vip }]", "all of these hold"),
    ("any", "any: [{ tier: gold }, \"customer.balance > 900\"]", "one of these holds"),
    ("none", "none: [{ segment: vip }]", "none of these holds"),
];
/// The keys that belong to a question about events.
const BOUNDS: &[&str] = &["last", "at_least", "at_most", "exactly"];

fn keys() -> impl Iterator<Item = &'static str> {
    STRUCTURED.iter().map(|(key, ..)| *key)
}

/// A compiled piece with its CEL.
pub(super) struct Piece {
    pub cel: String,
    pub code: Code,
    pub reads: Reads,
}

/// Compiles a string (CEL) or a map.
pub(super) fn piece(node: &Node, schema: &dyn Schema, faults: &mut Faults) -> Option<Piece> {
    Reader { schema, faults }.node(node, 0)
}

struct Reader<'a> {
    schema: &'a dyn Schema,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    fn error(&mut self, code: &'static str, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.error(code, place, message).hint(hint);
    }

    fn node(&mut self, node: &Node, depth: usize) -> Option<Piece> {
        if depth > NESTING_MAX {
            let message = format!("conditions are nested more than {NESTING_MAX} levels deep");
            self.error("bad-condition", &node.place, message, "name parts of them as segments");
            return None;
        }
        match &node.kind {
            NodeKind::Scalar { text, .. } => {
                let text = Text { text: text.clone(), place: node.place.clone() };
                let (code, reads) = super::condition(&text, false, self.schema, self.faults)?;
                Some(Piece { cel: text.text, code, reads })
            }
            NodeKind::List(_) => {
                self.error(
                    "bad-condition",
                    &node.place,
                    "a list is no condition",
                    "write the list under `all:`, `any:` or `none:`",
                );
                None
            }
            NodeKind::Map(entries) if entries.is_empty() => {
                self.error(
                    "bad-condition",
                    &node.place,
                    "the condition is empty",
                    format!("write one of: {}", keys().collect::<Vec<_>>().join(", ")),
                );
                None
            }
            NodeKind::Map(entries) => {
                let pieces: Vec<Option<Piece>> =
                    entries.iter().filter_map(|(key, value)| self.entry(entries, key, value, depth)).collect();
                join(pieces.into_iter().collect::<Option<Vec<_>>>()?, true)
            }
        }
    }

    /// `None`: this key says nothing of its own.
    fn entry(&mut self, entries: &[(Key, Node)], key: &Key, value: &Node, depth: usize) -> Option<Option<Piece>> {
        Some(match key.text.as_str() {
            "purchases" => self.bounded(value, "purchases(", true),
            "spent" => self.bounded(value, "spent(", false),
            "event" => self.event(entries, key, value),
            "last_purchase" => self.last_purchase(value),
            "tier" => {
                self.names(value, "a tier").and_then(|names| self.cel(value, format!("customer.tier in [{}]", names.join(", "))))
            }
            "membership" => self.membership(value),
            "member" => self.member(value),
            "balance" => self.balance(value),
            "consent" => self.consent(value),
            "segment" => self.segments(value),
            "all" | "any" | "none" => self.group(&key.text, value, depth),
            bound if BOUNDS.contains(&bound) && entries.iter().any(|(key, _)| key.text == "event") => return None,
            bound if BOUNDS.contains(&bound) => {
                let hint = "write `purchases: { last: 90 days, at_least: 3 }`, or name the `event` beside it";
                self.error("bad-condition", &key.place, format!("`{bound}` does not say of what"), hint);
                None
            }
            other => {
                self.faults
                    .error("unknown-field", &key.place, format!("there is no condition `{other}`"))
                    .did_you_mean(other, keys());
                None
            }
        })
    }

    /// Compiles generated CEL; what is wrong with it is reported at the value it was made from.
    fn cel(&mut self, node: &Node, cel: String) -> Option<Piece> {
        let text = Text { text: cel, place: node.place.clone() };
        let (code, reads) = super::condition(&text, true, self.schema, self.faults)?;
        Some(Piece { cel: text.text, code, reads })
    }

    fn group(&mut self, kind: &str, value: &Node, depth: usize) -> Option<Piece> {
        let Some(items) = value.list().filter(|items| !items.is_empty()) else {
            let hint = format!("write\n{kind}:\n  - segment: vip\n  - purchases: {{ at_least: 3 }}");
            self.error("bad-condition", &value.place, format!("`{kind}` needs a list of conditions"), hint);
            return None;
        };
        let pieces: Vec<Option<Piece>> = items.iter().map(|item| self.node(item, depth + 1)).collect();
        let joined = join(pieces.into_iter().collect::<Option<Vec<_>>>()?, kind == "all")?;
        Some(if kind == "none" { denied(joined) } else { joined })
    }

    /// `{ last: 90 days, at_least: 3 }` about what `call` begins.
    fn bounded(&mut self, node: &Node, call: &str, whole: bool) -> Option<Piece> {
        let Some(entries) = node.map() else {
            let hint = "write for example `{ last: 90 days, at_least: 3 }`";
            self.error("bad-condition", &node.place, "a window and a bound are missing here", hint);
            return None;
        };
        let mut known = true;
        for (key, _) in entries.iter().filter(|(key, _)| !BOUNDS.contains(&key.text.as_str())) {
            let message = format!("`{}` is no bound", key.text);
            self.faults.error("unknown-field", &key.place, message).did_you_mean(&key.text, BOUNDS.iter().copied());
            known = false;
        }
        let piece = self.bounds(node, entries, call, whole)?;
        known.then_some(piece)
    }

    /// Reads the bounds among `entries`; `call` is CEL up to where the window stands.
    fn bounds(&mut self, node: &Node, entries: &[(Key, Node)], call: &str, whole: bool) -> Option<Piece> {
        let find = |name: &str| entries.iter().find(|(key, _)| key.text == name).map(|(_, value)| value);
        let call = match find("last") {
            None if !call.ends_with(['(', ' ']) => call.to_owned(),
            None => format!("{})", call.trim_end_matches(", ")),
            Some(window) => format!("{call}{})", quote(&self.duration(window)?)),
        };
        let mut parts = Vec::new();
        for (name, sign) in [("at_least", ">="), ("at_most", "<="), ("exactly", "==")] {
            if let Some(bound) = find(name) {
                parts.push(format!("{call} {sign} {}", self.bound(bound, whole)?));
            }
        }
        if parts.is_empty() {
            self.error("bad-condition", &node.place, "a bound is missing", "add `at_least`, `at_most` or `exactly`");
            return None;
        }
        self.cel(node, parts.join(" && "))
    }

    fn duration(&mut self, node: &Node) -> Option<String> {
        let text = node.scalar().unwrap_or("");
        match Span::parse(text) {
            Ok(span) if !span.is_zero() => return Some(text.to_owned()),
            Ok(_) => self.error("bad-duration", &node.place, "this is no time at all", "write for example `90 days`"),
            Err(why) => {
                self.faults.error("bad-duration", &node.place, why);
            }
        }
        None
    }

    fn bound(&mut self, node: &Node, whole: bool) -> Option<String> {
        let number = node.scalar().and_then(|text| Value::number(text).ok());
        match number {
            Some(Value::Int(n)) if n >= 0 => return Some(n.to_string()),
            Some(Value::Dec(dec)) if !whole && dec.0 >= 0 => return Some(dec.to_string()),
            _ => {}
        }
        let wanted = if whole { "a whole number" } else { "a number" };
        self.error("bad-number", &node.place, format!("{wanted} of 0 or more must stand here"), "write digits, such as `3`");
        None
    }

    fn event(&mut self, entries: &[(Key, Node)], key: &Key, value: &Node) -> Option<Piece> {
        let Some(name) = value.scalar().filter(|name| !name.is_empty()) else {
            self.error(
                "bad-condition",
                &value.place,
                "the name of an event must stand here",
                "write for example `event: review`",
            );
            return None;
        };
        let node = Node { place: value.place.clone(), kind: NodeKind::Map(Vec::new()) };
        if !entries.iter().any(|(key, _)| BOUNDS[1..].contains(&key.text.as_str())) {
            self.error("bad-condition", &key.place, "how often is missing", "add `at_least`, `at_most` or `exactly`");
            return None;
        }
        self.bounds(&node, entries, &format!("count({}, ", quote(name)), true)
    }

    fn last_purchase(&mut self, node: &Node) -> Option<Piece> {
        let text = node.scalar().unwrap_or("").trim();
        if text == "never" {
            return self.cel(node, "!has_done(\"purchase\")".to_owned());
        }
        let read = |beginning: &str| text.strip_prefix(beginning)?.strip_suffix(" ago").map(str::trim);
        let (span, sign) = match (read("more than "), read("less than ")) {
            (Some(span), _) => (span, "<"),
            (_, Some(span)) => (span, ">"),
            _ => {
                let hint = "write `more than 60 days ago`, `less than 7 days ago` or `never`";
                self.error("bad-condition", &node.place, "this does not say when the last purchase was", hint);
                return None;
            }
        };
        if let Err(why) = Span::parse(span) {
            self.faults.error("bad-duration", &node.place, why);
            return None;
        }
        self.cel(node, format!("last(\"purchase\") {sign} ago({})", quote(span)))
    }

    fn membership(&mut self, node: &Node) -> Option<Piece> {
        let (none, names): (Vec<String>, Vec<String>) =
            self.names(node, "a membership")?.into_iter().partition(|name| name == "\"none\"");
        let mut parts = Vec::new();
        if !none.is_empty() {
            parts.push("!has(customer.membership)".to_owned());
        }
        if !names.is_empty() {
            parts.push(format!("customer.membership.name in [{}]", names.join(", ")));
        }
        self.cel(node, parts.join(" || "))
    }

    fn member(&mut self, node: &Node) -> Option<Piece> {
        match node.scalar() {
            Some("true") => self.cel(node, "has(customer.membership) && customer.membership.active".to_owned()),
            Some("false") => self.cel(node, "!has(customer.membership) || !customer.membership.active".to_owned()),
            _ => {
                self.error("bad-condition", &node.place, "`member` is true or false", "write `member: true`");
                None
            }
        }
    }

    /// Points have no window: what counts is what she has now.
    fn balance(&mut self, node: &Node) -> Option<Piece> {
        let Some(entries) = node.map() else {
            self.error("bad-condition", &node.place, "a bound is missing here", "write for example `{ at_least: 100 }`");
            return None;
        };
        if let Some((key, _)) = entries.iter().find(|(key, _)| key.text == "last") {
            self.error("bad-condition", &key.place, "a balance is what she has now", "remove `last`");
            return None;
        }
        self.bounded(node, "customer.balance", true)
    }

    fn consent(&mut self, node: &Node) -> Option<Piece> {
        let names = self.names(node, "a channel")?;
        let parts: Vec<String> = names.iter().map(|name| format!("customer.consent.{}", name.trim_matches('"'))).collect();
        self.cel(node, parts.join(" && "))
    }

    fn segments(&mut self, node: &Node) -> Option<Piece> {
        let names = self.names(node, "a segment")?;
        let parts: Vec<String> = names.iter().map(|name| format!("in_segment({name})")).collect();
        self.cel(node, parts.join(" || "))
    }

    /// One name or a list of them, in quotes.
    fn names(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        let one = std::slice::from_ref(node);
        let names: Option<Vec<String>> =
            node.list().unwrap_or(one).iter().map(|item| item.scalar().filter(|name| !name.is_empty()).map(quote)).collect();
        let names = names.filter(|names| !names.is_empty());
        if names.is_none() {
            self.error(
                "bad-condition",
                &node.place,
                format!("the name of {what} must stand here"),
                "write one name, or a list: [a, b]",
            );
        }
        names
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// All of the pieces, or any of them.
fn join(mut pieces: Vec<Piece>, all: bool) -> Option<Piece> {
    if pieces.len() == 1 {
        return pieces.pop();
    }
    let parts: Vec<String> = pieces.iter().map(|piece| piece.guarded(all)).collect();
    let cel = parts.join(if all { " && " } else { " || " });
    let mut reads = Reads::default();
    let mut codes = Vec::new();
    for piece in pieces {
        reads.extend(piece.reads);
        codes.push(piece.code);
    }
    let code = Code { op: if all { Op::And(codes) } else { Op::Or(codes) }, label: cel.as_str().into(), seen: false };
    Some(Piece { cel, code, reads })
}

impl Piece {
    /// In brackets where a neighbour would tear it apart.
    fn guarded(&self, all: bool) -> String {
        let loose = matches!(self.code.op, Op::Choose(_)) || (all && matches!(self.code.op, Op::Or(_)));
        if loose { format!("({})", self.cel) } else { self.cel.clone() }
    }
}

fn denied(piece: Piece) -> Piece {
    let cel = format!("!({})", piece.cel);
    let code = Code { op: Op::Not(Box::new(piece.code)), label: cel.as_str().into(), seen: false };
    Piece { cel, code, reads: piece.reads }
}

/// Compiles a condition; `whole`: what is wrong is reported at the whole place.
pub(super) fn condition(text: &Text, whole: bool, schema: &dyn Schema, faults: &mut Faults) -> Option<(Code, Reads)> {
    let (code, ty, reads) = compile(text, whole, schema, faults)?;
    if matches!(ty, super::Type::Bool | super::Type::Any) {
        return Some((code, reads));
    }
    let message = format!("a condition must be true or false, and this is {}", super::check::name(&ty));
    let hint = match ty {
        super::Type::Number => "compare it with a number, for example `… > 0`",
        super::Type::Text => "compare it, for example `… == \"gold\"`",
        super::Type::Time => "compare it with an instant, for example `… < ago(\"60 days\")`",
        _ => "compare it, or ask `size(…) > 0`, `.exists(i, …)` or `has(…)`",
    };
    faults.error("not-a-condition", &text.place, message).hint(hint);
    None
}
