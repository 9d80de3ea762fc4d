//! What happens to a customer: events, and the inputs of her inbox.
//!
//! Everything that can change a customer is an [`Input`]. It gets its `accepted_at` from the store's
//! clock when it is accepted, and turns see inputs in that order. Words of well-known events and of
//! their properties are in [`words`].

use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use address::{Address, Stop, StopKind};
use serde::{Deserialize, Serialize};

pub mod address;
pub mod words;

/// Longest customer id, event id and event name that a door accepts, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// How far in the future an event's time may lie and still count as now, in milliseconds.
pub const FUTURE_MS_MAX: i64 = 5 * 60 * 1_000;

/// Something that happened to a customer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// The sender's id; unique per source and customer.
    pub id: String,
    /// `purchase`, `membership_renewed`, or any custom name.
    pub name: String,
    /// When it happened, by the sender's clock.
    pub time: Time,
    /// What is known of it.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub properties: Fields,
    /// For `purchase` and `refund`: the amount in minor units of the workspace currency; `None` when the
    /// event names another currency without `amount_base`, or no amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// How many hops of emit and segment flips led to it; 0 from outside.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u8,
}

fn is_zero(n: &u8) -> bool {
    *n == 0
}

impl Event {
    /// A property, by name.
    pub fn property(&self, name: &str) -> Option<&Value> {
        self.properties.get(name)
    }
}

/// One thing in a customer's inbox.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Input {
    /// When the store accepted it.
    pub accepted_at: Time,
    /// What it is.
    pub body: InputBody,
}

/// The kinds of input.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum InputBody {
    /// Something happened.
    Event(Event),
    /// Something happened long ago: fills history and fires nothing.
    History(Event),
    /// Profile fields, consent or membership were set from outside.
    Profile(ProfileChange),
    /// Somebody asked for a run of a funnel with a `manual` trigger (or any funnel, by an operator).
    Enrol {
        /// The funnel's name.
        funnel: String,
        /// The request's id: the same id never starts two runs.
        id: String,
        /// Readable as `event.<name>` in the run.
        properties: Fields,
    },
    /// The answer to an effect.
    Result {
        /// The effect's id.
        effect: String,
        /// What came of it.
        outcome: crate::effect::Outcome,
    },
    /// An effect that began too late or under another gate: to be decided anew.
    Stale {
        /// The effect's id.
        effect: String,
        /// Why it was not sent.
        why: String,
    },
    /// A person's word: a parked grant is to be asked for now, or what nobody knows did not happen and is to be tried.
    Again {
        /// The effect's id.
        effect: String,
        /// Why, for the timeline.
        why: String,
    },
    /// A person's word on what waits for one.
    Review {
        /// The effect that it would be.
        effect: String,
        /// It may go; else the step is skipped.
        release: bool,
        /// Who says so.
        by: String,
        /// Why, or empty.
        why: String,
    },
    /// Another customer's run has told her something.
    Told(Told),
    /// The customer is to be forgotten.
    Erase,
    /// Something was said about an address: it concerns her if it is hers.
    Stop {
        /// The address.
        address: Address,
        /// What.
        stop: Stop,
    },
    /// What was said about an address up to an instant, and can be taken back, is.
    Lift {
        /// The address.
        address: Address,
        /// The channel.
        channel: String,
        /// What was said later than this stays.
        until: Time,
        /// Who said so.
        source: String,
        /// Only what is of this kind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<StopKind>,
    },
}

/// A word of another customer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The effect by which it came.
    pub effect: String,
    /// Who told it.
    pub from: String,
    /// The funnel of the run that told it.
    pub funnel: String,
    /// Hash of the funnel's version.
    pub version: String,
    /// What.
    pub word: crate::effect::Word,
}

impl InputBody {
    /// Whether it takes permissions away: what is under way for her must be decided anew.
    pub fn raises_gate(&self) -> bool {
        match self {
            InputBody::Erase | InputBody::Stop { .. } => true,
            InputBody::Profile(change) => change.consent.iter().any(|consent| !consent.granted),
            _ => false,
        }
    }
}

/// Changes to a customer's own data; a field set to `Null` is removed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ProfileChange {
    /// Profile fields by name; `email`, `phone`, `zone`, `birthday`, `name` have a meaning of their own.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub profile: Fields,
    /// Consent by channel or `channel:topic`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consent: Vec<ConsentChange>,
    /// A membership, where events or the API own memberships; `Some(None)` removes it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub membership: Option<Option<MembershipChange>>,
    /// From an import: never lifts a suppression, fires nothing.
    #[serde(default)]
    pub import: bool,
}

/// A field that is there counts as there, even when it holds nothing: serde alone reads it as absent.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

/// One yes or no to being messaged.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ConsentChange {
    /// `email`, `sms`, `chat`, `push`.
    pub channel: String,
    /// The topic, or all of the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Yes or no.
    pub granted: bool,
    /// Where it was said: `checkout`, `import`, `api` …
    pub source: String,
    /// When it was said.
    pub time: Time,
}

/// A membership as the shop or CRM reports it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MembershipChange {
    /// Name in the catalog.
    pub membership: String,
    /// When the present term began.
    pub started: Time,
    /// When the present term ends, that is when renewal is due.
    pub ends: Option<Time>,
    /// Whether it renews by itself.
    #[serde(default)]
    pub auto_renew: bool,
}
