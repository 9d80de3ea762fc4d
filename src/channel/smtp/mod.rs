//! E-mail through any mail server.
//!
//! A message is written once, the same bytes for every attempt, and handed over one recipient at a time, so
//! that one bad address never fails its neighbours. SMTP takes no key: when the connection breaks after the
//! message was handed over nobody knows whether it was taken. It is sent again then unless `on_uncertain: hold`
//! is said; both copies have the same Message-ID, by which many receivers and every person can tell.

mod build;
mod dkim;
mod letter;
mod session;

use super::vars::{WithOwn, frozen, variables};
use super::{Channel, Idempotency, Limits, Prepared, SendResult, Setup, Tools};
use crate::effect::{Effect, EffectKind, OnUncertain};
use crate::lang::cel::Schema;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{Field, Shape};
use crate::template::{Context, Line, Rendered};
use futures_util::future::BoxFuture;
use letter::{Letter, Mail};
use session::Pool;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Most connections to one server.
const CONNECTIONS_MAX: i64 = 50;
const TLS: &[&str] = &["starttls", "implicit", "none"];
const DKIM: &[Field] = &[
    Field::required(
        "selector",
        Shape::Text,
        "which of the domain's keys; its public half stands at `SELECTOR._domainkey.DOMAIN`",
    ),
    Field::required("key", Shape::Text, "a reference to the private key (PEM): RSA of 2048 bits or more, or Ed25519"),
    Field::optional("domain", Shape::Text, "the signing domain; default that of `from`"),
];

/// Fields of the kind `smtp`.
pub(super) const FIELDS: &[Field] = &[
    Field::required("host", Shape::Text, "the mail server's name"),
    Field::optional("port", Shape::Int(1, 65_535), "default 587; with `tls: implicit` 465"),
    Field::optional("tls", Shape::Word(TLS), "`starttls` (default), `implicit`: encrypted from the first byte on, or `none`"),
    Field::optional("user", Shape::Text, "the user's name at the server"),
    Field::optional("password", Shape::Text, "a reference to the password"),
    Field::required("from", Shape::Text, "the sender, such as `Harbour Coffee <crew@harbour.example>`"),
    Field::optional("reply_to", Shape::Text, "where answers go, if not to `from`"),
    Field::optional(
        "unsubscribe",
        Shape::Text,
        "the https link that unsubscribes with one click (RFC 8058), named in the head of marketing messages (default: the engine's own, where `address` is set)",
    ),
    Field::optional("headers", Shape::MapOf(&Shape::Text), "more headers of the message; values may hold data"),
    Field::optional("dkim", Shape::Object(DKIM), "the signature of the sending domain; leave it out where the server signs"),
    Field::optional("hello", Shape::Text, "the name by which this machine greets the server; default the domain of `from`"),
    Field::optional(
        "authority",
        Shape::Text,
        "a reference to the certificate (PEM) of a private authority that the server's is from",
    ),
    Field::optional("connections", Shape::Int(1, CONNECTIONS_MAX), "at most so many at once; default 4"),
    Field::optional("timeout", Shape::Duration, "for a whole attempt; default 60s, at most 10 minutes"),
    Field::optional(
        "on_uncertain",
        Shape::Word(&["resend", "hold"]),
        "when nobody knows whether a message was taken; default resend",
    ),
    Field::optional("allow_plain", Shape::Bool, "mail may go to another machine without encryption; default false"),
    Field::optional("allow_private", Shape::Bool, "the server may be in a private network; default false"),
];

struct Smtp {
    letter: Letter,
    pool: Pool,
    on_uncertain: OnUncertain,
    /// More than this would only wait for each other.
    connections: u32,
    /// Secrets by their name in templates.
    raw: Vec<(String, String)>,
    paths: Vec<Vec<String>>,
}

pub(super) fn compile(name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
    build::compile(name, node, setup, faults).map(|smtp| Arc::new(smtp) as Arc<dyn Channel>)
}

impl Smtp {
    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.letter.unsubscribe.iter().chain(self.letter.headers.iter().map(|(_, line)| line))
    }
}

impl Channel for Smtp {
    fn kind(&self) -> &'static str {
        "smtp"
    }

    fn idempotency(&self) -> Idempotency {
        Idempotency::None
    }

    fn on_uncertain(&self) -> OnUncertain {
        self.on_uncertain
    }

    fn limits(&self) -> Limits {
        Limits { rate: None, at_once: Some(self.connections) }
    }

    fn variables(&self) -> Vec<Vec<String>> {
        frozen(&self.paths)
    }

    fn check(&self, schema: &dyn Schema, faults: &mut Faults) {
        let schema = WithOwn(schema);
        self.lines().for_each(|line| line.check(&schema, faults));
    }

    fn prepare(&self, effect: &Effect, rendered: Option<&Rendered>) -> Result<Prepared, String> {
        let (EffectKind::Message(message), Some(rendered)) = (&effect.kind, rendered) else {
            return Err("a mail server carries messages only; name another provider for grants".to_owned());
        };
        let vars = variables(effect, Some(rendered), &self.paths)?;
        let context = Context::with_secrets(&vars, &self.paths, &self.raw);
        let mail = self.letter.write(effect, message, rendered, &context)?;
        Ok(Prepared { digest: Sha256::digest(&mail.bytes).to_vec(), payload: Box::new(mail) })
    }

    fn send<'a>(&'a self, prepared: &'a Prepared, _tools: &'a Tools) -> BoxFuture<'a, SendResult> {
        Box::pin(async move {
            match prepared.payload.downcast_ref::<Mail>() {
                Some(mail) => self.pool.send(mail).await,
                None => SendResult::Refused { why: "the message was prepared by another provider".to_owned() },
            }
        })
    }
}

#[cfg(test)]
mod tests;
