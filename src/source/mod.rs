//! Sources: webhooks that come in, verified on their raw bytes and turned into events.
//!
//! A source says how a delivery proves where it comes from (`verify`) and what it means (`map`): for each
//! entry whose `when` holds, one event. The expressions see `body` (the JSON) and `headers` (names in
//! lower case), so a new shop or CRM needs settings only.

mod build;
mod form;
mod map;
mod provider;
mod signature;

use crate::event::address::Address;
use crate::funnel::settings::CHANNELS;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{Field, Shape};
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::wire::secrets::Secrets;
use map::Mapping;
use signature::Verify;

/// Longest id of a delivery and of an event, in bytes.
pub const ID_BYTES_MAX: usize = crate::event::NAME_BYTES_MAX;
/// Most entries in the map of one source.
pub const MAP_ENTRIES_MAX: usize = 100;

const HMAC: &[Field] = &[
    Field::required("algorithm", Shape::Word(&["sha256", "sha1"]), "the hash"),
    Field::required("header", Shape::Text, "the header that holds the signature"),
    Field::required("secret", Shape::OneOrMore(&Shape::Text), "a reference to the secret, or two while it is changed"),
    Field::optional("encoding", Shape::Word(&["hex", "base64"]), "how the signature is written; default hex"),
    Field::optional("prefix", Shape::Text, "what stands before the signature, such as sha256="),
];
const TWILIO: &[Field] = &[
    Field::required(
        "auth_token",
        Shape::OneOrMore(&Shape::Text),
        "a reference to the account's token, or two while it is changed",
    ),
    Field::required("url", Shape::Text, "the URL of this source exactly as Twilio calls it, https://…/hooks/NAME"),
];
const SENDGRID: &[Field] =
    &[Field::required("public_key", Shape::Text, "the verification key that SendGrid shows, base64 that begins with MFkw")];
const VERIFY: &[Field] = &[
    Field::optional(
        "standard_webhooks",
        Shape::OneOrMore(&Shape::Text),
        "Standard Webhooks: a reference to the whsec_… secret, or two while it is changed",
    ),
    Field::optional("hmac", Shape::Object(HMAC), "an HMAC of the raw body in a header"),
    Field::optional("twilio", Shape::Object(TWILIO), "Twilio's signature over the URL and the form"),
    Field::optional("sendgrid", Shape::Object(SENDGRID), "SendGrid's signed event webhook"),
    Field::optional("bearer", Shape::OneOrMore(&Shape::Text), "a fixed token in `Authorization: Bearer …`"),
];
const MAP: &[Field] = &[
    Field::optional("when", Shape::Condition, "only deliveries for which this holds; `body` and `headers` can be named"),
    Field::required("event", Shape::Either(&[Shape::Name("event"), Shape::Object(EVENT)]), "the event's name, or { cel: … }"),
    Field::required("id", Shape::Expr, "the sender's own id of what happened; the same id never counts twice"),
    Field::optional("customer", Shape::Expr, "the customer's id"),
    Field::optional("effect", Shape::Expr, "the id of the message's effect, where the provider gives it back"),
    Field::optional("message", Shape::Expr, "the provider's own id of the message, as its `reference` was read at sending"),
    Field::optional("provider", Shape::Name("provider"), "the provider that sent it (default: the source's own name)"),
    Field::optional("address", Shape::Expr, "the e-mail address or number that it is about: it reaches everybody who has it"),
    Field::optional("channel", Shape::Word(CHANNELS), "the channel that it is about; needed with `address`"),
    Field::optional("time", Shape::Expr, "when it happened: RFC 3339, or seconds or milliseconds since 1970; default now"),
    Field::optional("properties", Shape::MapOf(&Shape::Expr), "properties of the event by name"),
];
const EVENT: &[Field] = &[Field::required("cel", Shape::Expr, "an expression that gives the name")];

/// Fields of a source.
pub const FIELDS: &[Field] = &[
    Field::required(
        "verify",
        Shape::Either(&[Shape::Word(&["none"]), Shape::Object(VERIFY)]),
        "how a delivery proves where it comes from; `none` only where the engine listens on this machine alone",
    ),
    Field::required("map", Shape::List(&Shape::Object(MAP)), "which events a delivery means"),
];

/// Why a delivery is turned away.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It does not prove where it comes from: answer 401. The reason is for the log, not for the sender.
    #[error("not verified: {0}")]
    Unverified(String),
    /// It is verified but cannot be used: answer 400.
    #[error("{0}")]
    Bad(String),
}

/// One event that a delivery means.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MappedEvent {
    /// Whose, if it is said.
    pub customer: Option<String>,
    /// The id of the message's effect, if it is said.
    pub effect: Option<String>,
    /// The name under which the effect of the message is kept, if the provider's own id is said.
    pub message: Option<Address>,
    /// The address that it is about, if it is said.
    pub address: Option<Address>,
    /// The channel that it is about, if it is said.
    pub channel: Option<String>,
    /// The sender's id.
    pub id: String,
    /// The event's name.
    pub name: String,
    /// When it happened; `None`: when it is accepted.
    pub time: Option<Time>,
    /// Its properties.
    pub properties: Fields,
    /// Properties that could not be computed, each with why; they are left out.
    pub left_out: Vec<String>,
}

impl MappedEvent {
    /// One id twice for one customer, or for one message or address, would be taken for a repetition.
    fn same_as(&self, other: &MappedEvent) -> bool {
        self.id == other.id
            && self.customer == other.customer
            && self.effect == other.effect
            && self.message == other.message
            && self.address == other.address
    }
}

/// A compiled source.
#[derive(Debug)]
pub struct Source {
    name: String,
    verify: Verify,
    map: Vec<Mapping>,
}

impl Source {
    /// Compiles the source `name` from the settings; `None` when there is an error, which is then in
    /// `faults`.
    pub fn compile(name: &str, node: &Node, secrets: &dyn Secrets, faults: &mut Faults) -> Option<Source> {
        build::compile(name, node, secrets, faults)
    }

    /// Its name in the settings.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Nothing is verified: it may be used only where the engine listens on this machine alone.
    pub fn needs_loopback(&self) -> bool {
        matches!(self.verify, Verify::Nothing)
    }

    /// Verifies a delivery on its raw body. `headers` gives all values of a header by its name in lower
    /// case; `query` is the request's as it was sent. The answer is the delivery's own id, where the scheme has one.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn verify(
        &self,
        headers: &dyn Fn(&str) -> Vec<String>,
        query: &str,
        raw: &[u8],
        now: Time,
    ) -> Result<Option<String>, Refusal> {
        self.verify.check(headers, query, raw, now)
    }

    /// A form as a value; `None`: it is none, by its content type or by what it is.
    pub fn form(content_type: &str, raw: &[u8]) -> Option<Value> {
        if provider::is_form(content_type) { form::read(raw) } else { None }
    }

    /// The events that a verified delivery means; none when no entry of the map applies. `headers` are
    /// names with values.
    ///
    /// # Errors
    /// One sentence: an entry applies, but id, customer, name or time cannot be found.
    pub fn events(&self, body: &Value, headers: &[(String, String)], now: Time) -> Result<Vec<MappedEvent>, String> {
        let scope = map::Delivery::new(body, headers, now);
        let mut events: Vec<MappedEvent> = Vec::new();
        for mapping in &self.map {
            let Some(event) = mapping.event(&scope)? else { continue };
            if events.iter().any(|other| other.same_as(&event)) {
                return Err(format!(
                    "two entries of the map give the same `id` {} to one customer; make them different",
                    event.id
                ));
            }
            events.push(event);
        }
        Ok(events)
    }

    /// The providers whose own ids of messages it names.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.map.iter().filter(|mapping| mapping.names_messages()).map(|mapping| mapping.provider.as_str())
    }

    /// The names of events that it can send, where they are written out.
    pub fn event_names(&self) -> Vec<&str> {
        self.map.iter().filter_map(Mapping::fixed_name).collect()
    }
}

#[cfg(test)]
mod tests;
