//! Providers: what carries messages and remote grants to the outside.
//!
//! A kind of provider is one file and one line in `OWN_KINDS`, or a preset of `http` (see `presets`). It is
//! compiled from the settings into a [`Channel`], which first prepares the exact bytes to send (pure; their
//! digest is recorded before the first attempt) and then sends them. What an answer means for a retry is
//! decided here, in [`SendResult`]; when to retry is not.

use crate::effect::{Effect, EffectKind, OnUncertain};
use crate::lang::cel::Schema;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{Field, Shape};
use crate::lang::value::Fields;
use crate::store::Store;
use crate::template::{Rendered, TemplateOptions};
use crate::wire::secrets::Secrets;
use crate::wire::{self};
use futures_util::future::BoxFuture;
use presets::Preset;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

mod http;
mod inbox;
mod limits;
mod presets;
mod smtp;
mod vars;

pub use http::{ANSWER, AUTH, RETRY_WHEN, STATE, SUCCESS};
pub use limits::{Limits, Rate, limited, read as limits_of};

/// What the receiver does with the same effect twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idempotency {
    /// It knows the effect's id: sending again has no second effect.
    Key,
    /// It would act twice, but can be asked whether it knows the effect's id.
    Query,
    /// It would act twice.
    None,
}

/// What came of one attempt.
#[derive(Clone, PartialEq, Debug)]
pub enum SendResult {
    /// The receiver took it.
    Accepted {
        /// Its own id for it.
        reference: Option<String>,
        /// What later steps may read.
        data: Fields,
    },
    /// The receiver said no, or it can never be sent like this.
    Refused {
        /// Why.
        why: String,
    },
    /// The loyalty store has not booked it because its programme is blocked: again when that is over.
    Parked {
        /// Why, in the store's words.
        why: String,
    },
    /// It may be tried again.
    Retry {
        /// Not before this many milliseconds have passed, if the receiver said so.
        after: Option<i64>,
        /// What happened.
        why: String,
        /// It may have had its effect.
        ambiguous: bool,
    },
}

/// What a provider says when it is asked whether it knows an effect.
#[derive(Clone, PartialEq, Debug)]
pub enum Known {
    /// It does, and this came of it.
    Yes(SendResult),
    /// It does not: an earlier attempt had no effect.
    No,
    /// It does not say.
    CannotTell {
        /// It may be asked again after so many milliseconds, if it said so.
        after: Option<i64>,
        /// What happened.
        why: String,
    },
}

/// What sending needs; made once, cheap to clone.
#[derive(Clone)]
pub struct Tools {
    /// The way out.
    pub client: wire::Client,
    /// Where the development inbox keeps its messages; also the clock.
    pub store: Arc<dyn Store>,
}

/// An effect as it will be sent.
pub struct Prepared {
    digest: Vec<u8>,
    payload: Box<dyn Any + Send + Sync>,
}

impl Prepared {
    /// What the receiver acts on, as SHA-256, and what the provider sends.
    pub fn new(digest: Vec<u8>, payload: impl Any + Send + Sync) -> Prepared {
        Prepared { digest, payload: Box::new(payload) }
    }

    /// What the provider sends, if it is of that type.
    pub fn payload<T: Any>(&self) -> Option<&T> {
        self.payload.downcast_ref()
    }

    /// SHA-256 of what the receiver acts on. It is the same for every attempt of an effect.
    pub fn digest(&self) -> Vec<u8> {
        self.digest.clone()
    }
}

/// A provider.
pub trait Channel: Send + Sync {
    /// Its kind, as in the settings.
    fn kind(&self) -> &'static str;

    /// The part of it that carries such an effect, where it has several.
    fn part(&self, _effect: &EffectKind) -> Option<Arc<dyn Channel>> {
        None
    }

    /// What the receiver does with the same effect twice.
    fn idempotency(&self) -> Idempotency;

    /// What to do when nobody knows whether an attempt had its effect.
    fn on_uncertain(&self) -> OnUncertain;

    /// Whether it can carry grants, not only messages.
    fn grants(&self) -> bool {
        false
    }

    /// The names of customer, event and so on that it reads, to be frozen into the effect.
    fn variables(&self) -> Vec<Vec<String>> {
        Vec::new()
    }

    /// Reports names that it reads and that are not in `schema`.
    fn check(&self, _schema: &dyn Schema, _faults: &mut Faults) {}

    /// How much it takes at one time.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// What will be sent. Pure: the same effect gives the same bytes.
    ///
    /// # Errors
    /// One sentence: it can never be sent like this.
    fn prepare(&self, effect: &Effect, rendered: Option<&Rendered>) -> Result<Prepared, String>;

    /// Makes one attempt.
    fn send<'a>(&'a self, prepared: &'a Prepared, tools: &'a Tools) -> BoxFuture<'a, SendResult>;

    /// How long after an attempt of unknown effect the receiver is asked for the first time: until then the attempt
    /// may still be under way there.
    fn ask_after(&self) -> Duration {
        Duration::ZERO
    }

    /// Asks whether the receiver knows the effect, where [`Channel::idempotency`] is [`Idempotency::Query`].
    fn ask<'a>(&'a self, _prepared: &'a Prepared, _tools: &'a Tools) -> BoxFuture<'a, Known> {
        let why = "this provider cannot be asked".to_owned();
        Box::pin(std::future::ready(Known::CannotTell { after: None, why }))
    }
}

/// What compiling a provider needs.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// Where its secrets come from.
    pub secrets: &'a dyn Secrets,
    /// Currency and zone of its templates.
    pub options: TemplateOptions,
}

type Compile = fn(&str, &Node, Setup<'_>, &mut Faults) -> Option<Arc<dyn Channel>>;

/// A kind of provider.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name in the settings.
    pub name: &'static str,
    /// One sentence for editors and the reference.
    pub doc: &'static str,
    /// Its fields beside `kind`.
    pub fields: &'static [Field],
    /// More of its fields.
    pub more: &'static [Field],
    make: Make,
}

/// How a kind is made.
#[derive(Clone, Copy)]
enum Make {
    Own(Compile),
    Preset(&'static Preset),
}

const fn own(name: &'static str, doc: &'static str, fields: &'static [Field], compile: Compile) -> Kind {
    Kind { name, doc, fields, more: &[], make: Make::Own(compile) }
}

/// Kinds with code of their own; a preset is a kind too, see [`kinds`].
const OWN_KINDS: &[Kind] = &[
    own("inbox", "keeps messages in this engine, for development and previews", inbox::FIELDS, inbox::compile),
    own("http", "calls any service over HTTP, for messages and remote grants", http::FIELDS, http::compile),
    own("smtp", "hands e-mail to a mail server", smtp::FIELDS, smtp::compile),
];

/// All kinds: those with code of their own, then the presets.
pub fn kinds() -> impl Iterator<Item = Kind> {
    let preset = |preset: &'static Preset| Kind {
        name: preset.kind,
        doc: preset.about,
        fields: preset.fields,
        more: Preset::common(),
        make: Make::Preset(preset),
    };
    OWN_KINDS.iter().copied().chain(presets::all().iter().map(preset))
}

/// Name of the provider that is there without being declared.
pub const DEFAULT_PROVIDER: &str = "inbox";

/// All kinds by name.
const KIND_NAMES: &[&str] =
    &["inbox", "http", "smtp", "postmark", "sendgrid", "slack", "telegram", "twilio", "vonage", "whatsapp", "whatsapp-template"];

const RATE: Field = Field::optional(
    "rate",
    Shape::Phrase("a rate such as 10/s or 600/minute"),
    "most effects that it takes; more wait their turn",
);
const AT_ONCE: Field = Field::optional("at_once", Shape::Int(1, 128), "most calls to it at the same time; default 96");

/// The fields that every provider has.
pub const COMMON_FIELDS: &[Field] = &[Field::required("kind", Shape::Word(KIND_NAMES), "the kind of provider"), RATE, AT_ONCE];

/// How much a service takes.
const LIMIT_FIELDS: &[Field] = &[RATE, AT_ONCE];

/// The fields of a service.
pub const SERVICE_FIELDS: &[&[Field]] = &[LIMIT_FIELDS, http::service::FIELDS];

/// Compiles the service `name` from the settings; `None` when there is an error, which is then in `faults`.
pub fn service(name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
    http::service::compile(name, node, setup, faults)
}

/// The provider that is there without being declared.
pub fn default_provider() -> Arc<dyn Channel> {
    inbox::new()
}

/// A request of a loyalty store: a provider of kind `http` that carries what a store is asked for.
pub fn request(name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
    http::of_store(name, node, setup, faults)
}

/// Compiles the provider `name` from the settings; `None` when there is an error, which is then in `faults`.
pub fn compile(name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
    let Some(kind) = node.get("kind") else {
        faults
            .error("missing-field", &node.place, format!("the provider `{name}` has no `kind`"))
            .hint(format!("add `kind: …`; there is: {}", KIND_NAMES.join(", ")));
        return None;
    };
    let Some(found) = kinds().find(|known| kind.scalar() == Some(known.name)) else {
        let typed = kind.scalar().unwrap_or("");
        faults
            .error("unknown-kind", &kind.place, format!("there is no kind of provider `{typed}`"))
            .did_you_mean(typed, KIND_NAMES.iter().copied());
        return None;
    };
    let limits = limits::read(node, faults)?;
    let channel = match found.make {
        Make::Own(compile) => compile(name, node, setup, faults)?,
        Make::Preset(preset) => preset.compile(name, node, setup, faults)?,
    };
    // A kind may know by itself how many calls it can make.
    let at_once = limits.at_once.or(channel.limits().at_once);
    Some(limits::limited(channel, Limits { at_once, ..limits }))
}

#[cfg(test)]
mod tests;
