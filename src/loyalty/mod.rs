//! The remote loyalty store: who keeps the points where the built-in account does not.
//!
//! It is described in the settings (`loyalty_store:`) and carried by the declarative HTTP provider: each of its
//! requests (`grant`, `offer`, `lookup`) is one such provider, made of what the requests have in common (address,
//! auth, retries, idempotency) and of its own part. So time limits, rate, breaker, outgoing safety and the care for
//! calls that broke off are those of every provider. To the engine it is one more provider, to the turn it is the same
//! as the built-in account: a grant, an offer and a question leave as effects and come back as results.

use crate::channel::{
    ANSWER, AUTH, Channel, Idempotency, Limits, Prepared, RETRY_WHEN, STATE, SUCCESS, SendResult, Setup, Tools, limited,
    limits_of, request,
};
use crate::effect::{Effect, EffectKind, OnUncertain};
use crate::lang::cel::Text;
use crate::lang::diag::Faults;
use crate::lang::node::{Key, Node, NodeKind};
use crate::lang::shape::{Field, Object, Shape};
use crate::template::Rendered;
use crate::wire::{Method, Reach, check_url};
use futures_util::future::BoxFuture;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Most calls to a store at the same time.
const AT_ONCE_MAX: i64 = 128;
const IDEMPOTENCY: &[&str] = &["key", "query", "none"];
const ASK: &[Field] = &[
    Field::required("path", Shape::Text, "what to call below `url`; the key is `{{ effect.id }}`"),
    Field::optional("method", Shape::Word(Method::NAMES), "default GET"),
    Field::optional("query", Shape::MapOf(&Shape::Text), "parameters of the URL"),
    Field::optional("headers", Shape::MapOf(&Shape::Text), "headers; default those of the request"),
    Field::optional("json", Shape::Data, "the body as JSON, where the method has one"),
    Field::optional("known", Shape::Object(ANSWER), "the answer that it is known; default status 200-299"),
    Field::optional("unknown", Shape::Object(ANSWER), "the answer that it is not known; default status 404"),
    Field::optional("reference", Shape::Text, "where the store's own id stands; default as for the request"),
    Field::optional("result", Shape::MapOf(&Shape::Text), "what later steps may read; default as for the request"),
    Field::optional("state", Shape::Object(STATE), "what the store's word means; default as for the request"),
    Field::optional("after", Shape::Duration, "so long after a call that broke off it is asked first; default 5s"),
];
const CALL: &[Field] = &[
    Field::required("path", Shape::Text, "what to call below `url`, such as /members/{{ effect.customer }}/bonuses"),
    Field::optional("method", Shape::Word(Method::NAMES), "default POST; for `lookup` GET"),
    Field::optional("query", Shape::MapOf(&Shape::Text), "parameters of the URL; values may hold data, which is encoded"),
    Field::optional("headers", Shape::MapOf(&Shape::Text), "headers instead of the store's"),
    Field::optional("json", Shape::Data, "the body as JSON; a text that is one `{{ … }}` keeps its type"),
    Field::optional("form", Shape::MapOf(&Shape::Text), "the body as a form"),
    Field::optional("success", Shape::Object(SUCCESS), "which answers mean yes"),
    Field::optional("reference", Shape::Text, "where the store's own id stands: a place in the JSON answer such as /id"),
    Field::optional("result", Shape::MapOf(&Shape::Text), "what is read of the answer: name and place in the JSON answer"),
];
const BOOKS: &[Field] = &[
    Field::optional("state", Shape::Object(STATE), "what the store's word for it means: active, pending, parked, refused"),
    Field::optional("idempotency", Shape::Word(IDEMPOTENCY), "as for the store"),
    Field::optional("idempotency_header", Shape::Text, "as for the store"),
    Field::optional("ask", Shape::Object(ASK), "for `idempotency: query`: after a call that broke off, is the key known?"),
];
const LOOKUP: &[Field] =
    &[Field::optional("absent", Shape::Phrase("a status such as 404"), "the status that means: the store does not know her")];
/// The fields of a request that books something, for editors.
const GRANT_OR_OFFER: Shape = Shape::Ref("store_booking");

/// Fields of `loyalty_store`.
pub const FIELDS: &[Field] = &[
    Field::required("url", Shape::Text, "where the store is, such as https://loyalty.example/v2"),
    Field::optional("auth", Shape::Object(AUTH), "how to prove who calls"),
    Field::optional("headers", Shape::MapOf(&Shape::Text), "headers of every request"),
    Field::optional(
        "idempotency",
        Shape::Word(IDEMPOTENCY),
        "`key`: the store knows a grant again by its key in a header, in the path or in the body; `query`: it can be asked for it, see `ask`; `none` (default): it would book twice",
    ),
    Field::optional("idempotency_header", Shape::Text, "the header in which the store takes the key of a grant"),
    Field::optional("on_uncertain", Shape::Word(&["resend", "hold"]), "when nobody knows whether it was booked; default hold"),
    Field::optional("timeout", Shape::Duration, "for a whole call; default 10s, at most 60s"),
    Field::optional("rate", Shape::Phrase("a rate such as 10/s or 600/minute"), "most calls that it takes; more wait their turn"),
    Field::optional("at_once", Shape::Int(1, AT_ONCE_MAX), "most calls to it at the same time; default 96"),
    Field::optional("retry_on", Shape::List(&Shape::Int(100, 599)), "more statuses after which it is tried again"),
    Field::optional("retry_when", Shape::List(&Shape::Object(RETRY_WHEN)), "answers after which it is tried again"),
    Field::optional("retry_after", Shape::Text, "where the JSON answer says how many seconds to wait"),
    Field::optional("reason", Shape::Text, "where the JSON answer says why something was refused or parked"),
    Field::optional("allow_http", Shape::Bool, "the store may be called without encryption; default false"),
    Field::optional("allow_private", Shape::Bool, "the store may be in a private network; default false"),
    Field::optional(
        "max_age",
        Shape::Duration,
        "how old what it says of a customer may be where a step reads it; default 5 minutes",
    ),
    Field::optional("ask_again", Shape::Duration, "how often a parked grant is sent again; default 10 minutes"),
    Field::required("grant", GRANT_OR_OFFER, "how points are booked; `grant.points` and `grant.reason` can be named"),
    Field::optional("offer", GRANT_OR_OFFER, "how an offer is made, as `bundle`; otherwise the engine makes offers itself"),
    Field::optional("lookup", Shape::Ref("store_lookup"), "how it is asked what it knows of a customer"),
];

/// The tables of a request that books something, and of a lookup, for editors.
pub fn request_fields() -> (Vec<&'static [Field]>, Vec<&'static [Field]>) {
    (vec![CALL, BOOKS], vec![CALL, LOOKUP])
}

/// Fields that all requests have in common.
const SHARED: &[&str] =
    &["auth", "headers", "timeout", "allow_http", "allow_private", "retry_on", "retry_when", "retry_after", "reason"];
/// Fields that the requests which book something have in common.
const SHARED_BOOKS: &[&str] = &["idempotency", "idempotency_header", "on_uncertain"];

/// A store over HTTP.
struct Remote {
    grant: Arc<dyn Channel>,
    offer: Option<Arc<dyn Channel>>,
    lookup: Option<Arc<dyn Channel>>,
    limits: Limits,
}

/// Compiles `loyalty_store` from the settings; `None` when there is an error, which is then in `faults`.
pub fn compile(node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
    let errors = faults.error_count();
    let object = Object::read(node, &[FIELDS], "`loyalty_store`", faults)?;
    let url = base(&object, faults);
    let limits = limits_of(node, faults);
    object.int("at_once", 1, AT_ONCE_MAX, faults);
    let maker = Maker { node, url: url?, setup, limits: limits? };
    let grant = object.node("grant").and_then(|node| maker.booking("grant", node, faults));
    let offer = object.node("offer").map(|node| maker.booking("offer", node, faults));
    let lookup = object.node("lookup").map(|node| maker.lookup(node, faults));
    if faults.error_count() > errors {
        return None;
    }
    let (offer, lookup) = (offer.flatten(), lookup.flatten());
    Some(Arc::new(Remote { grant: grant?, offer, lookup, limits: maker.limits }))
}

/// The address, checked once for all requests.
fn base(object: &Object<'_>, faults: &mut Faults) -> Option<Text> {
    let text = object.text("url", faults)?;
    let reach = Reach { http: object.bool("allow_http", false, faults), private: object.bool("allow_private", false, faults) };
    let host = text.text.find("://").map_or(0, |at| at + 3);
    let end = text.text.get(host..).and_then(|rest| rest.find('/')).map_or(text.text.len(), |at| host + at);
    let head = text.text.get(..end).unwrap_or_default();
    // What the environment says is checked where it is put in.
    if !text.text.starts_with("${")
        && let Err(why) = check_url(head, reach)
    {
        faults.error("bad-url", &text.place, why);
        return None;
    }
    Some(Text { text: text.text.trim_end_matches('/').to_owned(), place: text.place })
}

/// Makes the requests.
struct Maker<'a> {
    node: &'a Node,
    url: Text,
    setup: Setup<'a>,
    limits: Limits,
}

impl Maker<'_> {
    fn booking(&self, what: &str, node: &Node, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
        let object = Object::read(node, &[CALL, BOOKS], &format!("`{what}` of the loyalty store"), faults)?;
        let mut entries = self.entries(&object, node, &[CALL, BOOKS], faults)?;
        self.share(&mut entries, SHARED_BOOKS);
        if let Some(ask) = object.node("ask") {
            let object = Object::read(ask, &[ASK], "`ask`", faults)?;
            let entries_of_ask = self.entries(&object, ask, &[ASK], faults)?;
            let ask = Node { place: ask.place.clone(), kind: NodeKind::Map(entries_of_ask) };
            put(&mut entries, "ask", ask);
        }
        self.made(what, node, entries, faults)
    }

    fn lookup(&self, node: &Node, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
        let object = Object::read(node, &[CALL, LOOKUP], "`lookup` of the loyalty store", faults)?;
        let mut entries = self.entries(&object, node, &[CALL], faults)?;
        if object.node("result").is_none() {
            faults
                .error("missing-field", &node.place, "`lookup` lacks `result`: what the store says of a customer")
                .hint("write for example `result: { balance: /balance, tier: /tier }`");
            return None;
        }
        if let Some(absent) = object.node("absent").filter(|_| object.node("success").is_none()) {
            let status = format!("200-299, {}", absent.scalar().unwrap_or_default());
            let status = scalar(&status, absent);
            let success = NodeKind::Map(vec![(key("status", absent), status)]);
            put(&mut entries, "success", Node { place: absent.place.clone(), kind: success });
        }
        if object.node("method").is_none() {
            put(&mut entries, "method", scalar("GET", node));
        }
        // A question changes nothing, so it may be asked any number of times.
        put(&mut entries, "idempotency", scalar("key", node));
        self.made("lookup", node, entries, faults)
    }

    /// The fields of a request as those of a provider: `path` becomes `url`.
    fn entries(
        &self,
        object: &Object<'_>,
        node: &Node,
        tables: &[&'static [Field]],
        faults: &mut Faults,
    ) -> Option<Vec<(Key, Node)>> {
        let path = object.text("path", faults)?;
        if !path.text.starts_with(['/', '?']) {
            faults
                .error("bad-url", &path.place, "a path begins with `/`")
                .hint("write for example `/members/{{ effect.customer }}`");
            return None;
        }
        let known = |name: &str| tables.iter().any(|table| table.iter().any(|field| field.name == name));
        let own = node.map().unwrap_or_default().iter();
        let mut entries: Vec<(Key, Node)> = own.filter(|(key, _)| known(&key.text) && key.text != "path").cloned().collect();
        let url = format!("{}{}", self.url.text, path.text);
        let url = Node { place: path.place, kind: NodeKind::Scalar { text: url, plain: false } };
        put(&mut entries, "url", url);
        Some(entries)
    }

    /// Adds what the store says for all requests, where a request says nothing itself.
    fn share(&self, entries: &mut Vec<(Key, Node)>, names: &[&str]) {
        for (name, node) in self.node.map().unwrap_or_default() {
            if names.contains(&name.text.as_str()) && !entries.iter().any(|(known, _)| known.text == name.text) {
                entries.push((name.clone(), node.clone()));
            }
        }
    }

    fn made(&self, what: &str, node: &Node, mut entries: Vec<(Key, Node)>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
        self.share(&mut entries, SHARED);
        put(&mut entries, "kind", scalar("http", node));
        let node = Node { place: node.place.clone(), kind: NodeKind::Map(entries) };
        let channel = request(&format!("loyalty_store: {what}"), &node, self.setup, faults)?;
        Some(limited(channel, self.limits))
    }
}

fn key(name: &str, at: &Node) -> Key {
    Key { text: name.to_owned(), place: at.place.clone() }
}

fn scalar(text: &str, at: &Node) -> Node {
    Node { place: at.place.clone(), kind: NodeKind::Scalar { text: text.to_owned(), plain: false } }
}

/// Sets a field.
fn put(entries: &mut Vec<(Key, Node)>, name: &str, node: Node) {
    entries.retain(|(known, _)| known.text != name);
    entries.push((Key { text: name.to_owned(), place: node.place.clone() }, node));
}

impl Channel for Remote {
    fn kind(&self) -> &'static str {
        "loyalty_store"
    }

    fn part(&self, effect: &EffectKind) -> Option<Arc<dyn Channel>> {
        match effect {
            EffectKind::Grant(_) => Some(self.grant.clone()),
            EffectKind::Offer(_) => self.offer.clone(),
            EffectKind::Lookup(_) => self.lookup.clone(),
            EffectKind::Message(_) | EffectKind::Call(_) | EffectKind::Tell(_) => None,
        }
    }

    fn idempotency(&self) -> Idempotency {
        self.grant.idempotency()
    }

    fn on_uncertain(&self) -> OnUncertain {
        self.grant.on_uncertain()
    }

    fn grants(&self) -> bool {
        true
    }

    fn variables(&self) -> Vec<Vec<String>> {
        let parts = [Some(&self.grant), self.offer.as_ref(), self.lookup.as_ref()];
        let mut paths: Vec<Vec<String>> = parts.into_iter().flatten().flat_map(|part| part.variables()).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn prepare(&self, effect: &Effect, _rendered: Option<&Rendered>) -> Result<Prepared, String> {
        Err(format!("the loyalty store takes no {}", effect.kind.name()))
    }

    fn send<'a>(&'a self, _prepared: &'a Prepared, _tools: &'a Tools) -> BoxFuture<'a, SendResult> {
        let why = "the loyalty store does not take this".to_owned();
        Box::pin(std::future::ready(SendResult::Refused { why }))
    }
}
