//! Effects: what the outside world is asked to do, and what came of it.
//!
//! The vocabulary is closed: opening it is an architecture change. An effect carries everything that
//! delivery needs (frozen variables, provider, key); delivery decides nothing. Its [`Effect::id`] is
//! the idempotency key and never changes between attempts.

use crate::lang::time::{Span, Time};
use crate::lang::value::Fields;
use call::Call;
use serde::{Deserialize, Serialize};

pub mod call;

/// Largest frozen variables of one effect, in bytes of their JSON.
pub const VARIABLES_BYTES_MAX: usize = 8 * 1024;

/// Something to be done outside, decided by a turn.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Effect {
    /// `customer/run/step/iteration`; the idempotency key, the same for every attempt.
    pub id: String,
    /// Whom it concerns.
    pub customer: String,
    /// Her run.
    pub run: u64,
    /// The run's funnel.
    pub funnel: String,
    /// Hash of the funnel's version.
    pub version: String,
    /// The step's id.
    pub step: String,
    /// When it was decided.
    pub decided_at: Time,
    /// After this instant it must not begin; `None`: no limit.
    pub valid_until: Option<Time>,
    /// The customer's gate number when it was decided.
    pub gate: u32,
    /// What to do when it is not known whether a call had its effect.
    pub on_uncertain: OnUncertain,
    /// What is to be done.
    pub kind: EffectKind,
}

impl Effect {
    /// Who is called for it, a provider or a service; `None`: nobody, the engine does it by itself.
    pub fn provider(&self) -> Option<&str> {
        match &self.kind {
            EffectKind::Message(message) => Some(&message.provider),
            EffectKind::Grant(grant) => grant.provider.as_deref(),
            EffectKind::Call(call) => Some(&call.service),
            EffectKind::Offer(offer) => offer.provider.as_deref(),
            EffectKind::Lookup(lookup) => Some(&lookup.provider),
            EffectKind::Tell(_) => None,
        }
    }
}

/// Whose effect that id names: what stands before run, step and iteration.
pub fn customer_of(id: &str) -> Option<&str> {
    let mut parts = id.rsplitn(4, '/');
    let (iteration, _step, run) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    parts.next().filter(|customer| !customer.is_empty() && number(iteration) && number(run))
}

/// The run that an effect's id names.
pub fn run_of(id: &str) -> Option<u64> {
    id.rsplit('/').nth(2)?.parse().ok()
}

/// The closed vocabulary.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum EffectKind {
    /// Send a message.
    Message(Message),
    /// Give bonus points.
    Grant(Grant),
    /// Make an offer from the catalog.
    Offer(Offer),
    /// Ask the remote loyalty store what it knows of her.
    Lookup(Lookup),
    /// Call a service.
    Call(Call),
    /// Tell another customer something.
    Tell(Tell),
}

impl EffectKind {
    /// Name in timelines, figures and logs.
    pub fn name(&self) -> &'static str {
        match self {
            EffectKind::Message(_) => "message",
            EffectKind::Grant(_) => "grant",
            EffectKind::Offer(_) => "offer",
            EffectKind::Lookup(_) => "lookup",
            EffectKind::Call(_) => "call",
            EffectKind::Tell(_) => "tell",
        }
    }
}

/// A message to render and send.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// `email`, `sms`, `chat`, `push`.
    pub channel: String,
    /// Name of the provider in the settings.
    pub provider: String,
    /// The address at that channel.
    pub to: String,
    /// Name of the template, as pinned by the funnel's version.
    pub template: String,
    /// Not marketing: consent and caps do not apply.
    pub transactional: bool,
    /// Caps by tag count these together.
    pub tag: Option<String>,
    /// Everything the template may name, frozen.
    pub variables: Fields,
    /// What its links are made of; `None`: it has none of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
}

/// What the links of a message are made of, frozen like its variables.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Links {
    /// The public address of the engine, without a `/` at its end.
    pub address: String,
    /// The topic that its way out is about; `None`: the whole channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its links lead through the engine and are counted.
    #[serde(default)]
    pub clicks: bool,
}

/// Bonus points to book.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// How many, more than 0.
    pub points: i64,
    /// Why: `welcome`, `birthday` …
    pub reason: String,
    /// They can be spent after this span; zero: at once.
    pub active_after: Span,
    /// They run out this span after activation; `None`: never.
    pub expires_after: Option<Span>,
    /// Provider of a remote store; `None`: the built-in account.
    pub provider: Option<String>,
    /// Everything a remote store's request may name, frozen.
    pub variables: Fields,
    /// They are neither seen nor spent until it is said that they are hers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// A word to another customer: it goes into her inbox, and her own turn judges it. It is known again by the
/// effect's id, so it may be told any number of times.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Tell {
    /// Her id.
    pub to: String,
    /// What she is told.
    pub word: Word,
}

/// What one customer can tell another.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Word {
    /// Something happened to her.
    Event {
        /// Its name.
        name: String,
        /// Its properties.
        properties: Fields,
        /// Hops that led to it.
        depth: u8,
    },
    /// Points are to be hers. The effect waits for her answer.
    Grant {
        /// The points.
        grant: Grant,
        /// Hops that led to it.
        depth: u8,
    },
    /// The points that were held for this effect are hers now.
    Confirm {
        /// The effect that asked for them.
        of: String,
    },
    /// The points that are or will be held for this effect are not to be hers.
    Cancel {
        /// The effect that asked for them.
        of: String,
    },
    /// The answer to what she had told.
    Answer {
        /// The effect by which she had.
        of: String,
        /// What came of it.
        outcome: Outcome,
    },
}

/// Whether an effect is the engine's own errand between customers, of which no run hears: its step's name has a
/// character that no step can have.
pub fn is_errand(id: &str) -> bool {
    id.rsplit('/').nth(1).is_some_and(|step| step.contains(':'))
}

/// An offer to book.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Offer {
    /// Name of the bundle in the catalog.
    pub bundle: String,
    /// How long it holds.
    pub valid_for: Span,
    /// The remote store that makes it; `None`: the built-in account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What a remote store's request may name of the bundle, frozen.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub details: Fields,
    /// Everything else that a remote store's request may name, frozen.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub variables: Fields,
}

/// A question to a remote loyalty store.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Lookup {
    /// The store, by its name among the providers.
    pub provider: String,
    /// Everything that the request may name, frozen.
    pub variables: Fields,
}

/// What to do after an attempt whose effect is not known, with a provider that takes no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUncertain {
    /// Send again; the receiver may see it twice.
    Resend,
    /// List it for a person to resolve.
    Hold,
}

/// What came of an effect.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// The receiver accepted it.
    Accepted {
        /// The receiver's own id for it.
        reference: Option<String>,
        /// What later steps may read as `steps.<id>`.
        data: Fields,
    },
    /// The receiver said no for good.
    Refused {
        /// Why, in the receiver's words or ours.
        why: String,
    },
    /// The loyalty store's programme is blocked: nothing was booked, and it is to be sent again, as it is, when that
    /// is over.
    Parked {
        /// Why, in the store's words.
        why: String,
        /// The grant as it was sent.
        grant: Box<Effect>,
        /// Nobody has been told yet that the programme is blocked.
        alert: bool,
    },
    /// Nobody knows whether it had its effect; held for a person.
    Unknown {
        /// What happened.
        why: String,
    },
    /// Every attempt failed before the deadline.
    Dead {
        /// The last failure.
        why: String,
        /// How many attempts were made.
        attempts: u32,
    },
}

impl Outcome {
    /// Name in timelines and in `steps.<id>.result`.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Accepted { .. } => "accepted",
            Outcome::Refused { .. } => "refused",
            Outcome::Parked { .. } => "parked",
            Outcome::Unknown { .. } => "unknown",
            Outcome::Dead { .. } => "dead",
        }
    }
}
