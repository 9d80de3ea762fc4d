//! The customer's document: everything that a turn needs to decide, and nothing else.
//!
//! It holds profile, consent, recent history, segments, active runs and send memory. It is stored whole
//! with a version number (see [`codec`]), moved only by `turn`, and bounded: [`DOCUMENT_BYTES_MAX`].

use crate::effect::Effect;
use crate::event::Event;
use crate::event::address::{self, Address, Stop, StopKind};
use crate::lang::time::{Time, Zone};
use crate::lang::value::{Fields, Value};
use history::History;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{Parked, StoreData};

pub mod codec;
pub mod history;
pub mod store;

/// Largest encoded document, in bytes. Beyond it history is folded and new runs are refused.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Most live runs of one customer.
pub const RUNS_MAX: usize = 100;

/// A customer.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Customer {
    /// The sender's id for her.
    pub id: String,
    /// When she was first heard of.
    pub created: Time,
    /// The latest instant that a turn has judged; *now* is never below it.
    pub now: Time,
    /// Raised by everything that must stop what is under way: consent, suppression, erasure, pause.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gate: u32,
    /// Hash of the definitions that judged her last.
    #[serde(default, skip_serializing_if = "is_default")]
    pub judged_by: String,
    /// Profile fields by name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub profile: Fields,
    /// Consent by `channel` or `channel:topic`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub consent: BTreeMap<String, Consent>,
    /// Her addresses as the index was told of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub addresses: Vec<Address>,
    /// What was said about her addresses.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stops: Vec<(Address, Stop)>,
    /// Her membership in the default programme.
    #[serde(default, skip_serializing_if = "is_default")]
    pub membership: Option<Membership>,
    /// What the loyalty store says of her, mirrored.
    #[serde(default, skip_serializing_if = "is_default")]
    pub loyalty: Loyalty,
    /// Grants that a blocked programme of the loyalty store has not booked yet, oldest first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parked: Vec<Parked>,
    /// What happened, by event name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub history: BTreeMap<String, History>,
    /// Segments she is in, and since when.
    #[serde(default, skip_serializing_if = "is_default")]
    pub segments: BTreeMap<String, Time>,
    /// Until when segments and tier hold if nothing happens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub judged_until: Option<Time>,
    /// Number of the last run; never reused.
    #[serde(default, skip_serializing_if = "is_default")]
    pub last_run: u64,
    /// Live runs, and ended ones whose goal window is open.
    #[serde(default, skip_serializing_if = "is_default")]
    pub runs: Vec<Run>,
    /// What is remembered of entries, by funnel.
    #[serde(default, skip_serializing_if = "is_default")]
    pub entries: BTreeMap<String, Entries>,
    /// Entries that are judged again until their time is up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub settling: Vec<Settling>,
    /// Points that were on their way when their run ended, and may be hers yet; oldest first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub late: Vec<LateGrant>,
    /// Messages sent or planned, for caps; oldest first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sends: Vec<Send>,
    /// Milestones: highest threshold reached so far, in millionths, by funnel.
    #[serde(default, skip_serializing_if = "is_default")]
    pub marks: BTreeMap<String, i64>,
    /// Funnels' occurrences judged so far: date, schedule and inactivity triggers look only after this.
    #[serde(default, skip_serializing_if = "is_default")]
    pub watched: BTreeMap<String, Watched>,
    /// Points that other customers have asked to give her, whose booking is on its way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub asked: Vec<Asked>,
}

/// Points that another customer's run gives her.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Her own effect that books them.
    pub booking: String,
    /// The effect that asked, and waits for the answer.
    pub effect: String,
    /// Whose effect that is.
    pub from: String,
    /// The funnel of the run that gives them.
    pub funnel: String,
    /// Hash of the funnel's version.
    pub version: String,
    /// Why.
    pub reason: String,
    /// They are held until it is said that they are hers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub held: bool,
    /// Why nobody knows whether they were booked: it waits for a person's word.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unknown: Option<String>,
    /// Hops that led to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub depth: u8,
    /// What was asked of a remote store, which may leave unknown whether it was booked: what is sent again then.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grant: Option<Box<Effect>>,
}

/// Whether a field can be left out of the stored document.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One yes or no.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Consent {
    /// Yes or no.
    pub granted: bool,
    /// Where it was said.
    pub source: String,
    /// When it was said.
    pub time: Time,
}

/// A membership in force or run out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Membership {
    /// Name in the catalog.
    pub name: String,
    /// When she first became a member without a break.
    pub since: Time,
    /// When the present term began.
    pub started: Time,
    /// When the present term ends; `None`: it does not.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ends: Option<Time>,
    /// Whether it renews by itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub auto_renew: bool,
    /// Cancelled: it runs to its end and is not renewed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cancelled: bool,
}

/// What the loyalty store says, as of an instant.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Loyalty {
    /// Spendable points.
    pub balance: i64,
    /// Points that wait for activation.
    pub pending: i64,
    /// Points ever granted.
    pub granted: i64,
    /// The tier's name in the catalog, or empty.
    pub tier: String,
    /// The next instant at which points run out.
    pub next_expiry: Option<Time>,
    /// How many run out within a day from then.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expiring: i64,
    /// The open offers: bundle, and until when it holds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub offers: BTreeMap<String, Time>,
    /// What a remote store says; nothing where the account is built in.
    #[serde(default, skip_serializing_if = "StoreData::is_empty")]
    pub store: StoreData,
}

/// One customer's way through one version of one funnel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Number within the customer.
    pub id: u64,
    /// The funnel's name.
    pub funnel: String,
    /// Hash of the funnel's version; the run stays on it.
    pub version: String,
    /// Key of keyed concurrency and of "the same entry never starts two runs".
    pub key: String,
    /// When it began.
    pub entered: Time,
    /// The instant its trigger stands for: a renewal date, a birthday, the event's time.
    pub anchor: Time,
    /// The event that started it, as the steps read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// Where it is.
    pub state: RunState,
    /// Index of the current step in the funnel's flat list.
    pub at: u32,
    /// How often the current step was come to; part of the effect's id.
    pub iteration: u32,
    /// Raised when a step is decided anew; part of the effect's id.
    #[serde(default, skip_serializing_if = "is_default")]
    pub decision: u32,
    /// When the present step's message expires, set at its first decision; a later decision keeps it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deadline: Option<Time>,
    /// Held out: she takes the entry, no step is done, goal and exit are watched.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ghost: bool,
    /// Until when the present step's message may be put off because of a cap.
    #[serde(default, skip_serializing_if = "is_default")]
    pub put_off: Option<Time>,
    /// How many channels of the present step's message were tried in vain.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tried: u8,
    /// By which of the present step's channels its message is on its way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub by: u8,
    /// What it gave and may have to take back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gifts: Vec<Gift>,
    /// Of what the present step waits for: the rank of the best that has happened, from 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub best: Option<u8>,
    /// A person has released its present step.
    #[serde(default, skip_serializing_if = "is_default")]
    pub released: bool,
    /// Why nobody knows what became of its effect: it waits for a person's word.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unknown: Option<String>,
    /// Its present step asks the loyalty store for fresh data.
    #[serde(default, skip_serializing_if = "is_default")]
    pub look: Option<Look>,
    /// A gift to two that is under way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub saga: Option<Saga>,
    /// Results of steps by their id: readable as `steps.<id>.<name>`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub results: BTreeMap<String, Value>,
    /// Whether the goal was reached, and when.
    #[serde(default, skip_serializing_if = "is_default")]
    pub goal: Option<Time>,
    /// The segments that she was in when she entered: by them what came of the run is counted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub segments: Vec<String>,
    /// For an ended run: until when its goal is watched.
    #[serde(default, skip_serializing_if = "is_default")]
    pub watch_until: Option<Time>,
}

/// A step that cannot go on without fresh data of the loyalty store.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Look {
    /// When it gives up.
    pub until: Time,
    /// The question is on its way: the effect that the run waits for.
    pub asked: bool,
}

/// A gift to two: both are held, and both are given or none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Saga {
    /// The effect that holds her own.
    pub own: String,
    /// The effect that holds the other's; `None`: her own is not held yet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub other: Option<String>,
    /// The other customer.
    pub to: String,
    /// When both are given up.
    pub deadline: Time,
}

/// Points that a run gave and that may have to be taken back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gift {
    /// Index of the step that gave them.
    pub step: u32,
    /// Key of their booking.
    pub key: String,
    /// Until when; `None`: they are on their way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub until: Option<Time>,
    /// What was given back of the order, in minor units.
    #[serde(default, skip_serializing_if = "is_default")]
    pub returned: i64,
    /// Points that were asked back for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub taken: i64,
}

/// Points whose run was over before it was known what came of them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LateGrant {
    /// The effect's id.
    pub effect: String,
    /// The funnel.
    pub funnel: String,
    /// Short hash of its version.
    pub version: String,
    /// When the run began.
    pub since: Time,
    /// The variants that it had drawn: step and variant.
    #[serde(default, skip_serializing_if = "is_default")]
    pub arms: Vec<(String, String)>,
    /// The segments that she was in when it began.
    #[serde(default, skip_serializing_if = "is_default")]
    pub segments: Vec<String>,
}

/// What a run is doing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum RunState {
    /// About to do its current step.
    Ready,
    /// Waiting until an instant, then going on to the next step.
    Waiting {
        /// Until when.
        until: Time,
    },
    /// Held *before* its current step by quiet hours, a window or a cap; the whole step is decided at the end.
    Held {
        /// Until when.
        until: Time,
    },
    /// What its current step would do waits for a person.
    Review {
        /// The effect that it would be.
        id: String,
        /// When it is too late; `None`: never.
        until: Option<Time>,
    },
    /// Waiting for an event, a segment or a condition.
    WaitingFor {
        /// When it gives up.
        until: Time,
    },
    /// Its effect is on its way.
    Effect {
        /// The effect's id.
        id: String,
    },
    /// Over.
    Ended {
        /// When.
        at: Time,
    },
}

/// What is remembered of a customer's entries into one funnel.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Entries {
    /// How many runs began.
    pub count: u32,
    /// When the last one began.
    pub last: Time,
    /// Digests of the keys of entries, with their times; kept 400 days.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keys: Vec<(u64, Time)>,
}

/// An entry that the filter has refused so far, and that is judged again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Settling {
    /// The funnel's name.
    pub funnel: String,
    /// Key of the occasion.
    pub key: String,
    /// The instant that it stands for.
    pub anchor: Time,
    /// The high-water mark of a milestone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mark: Option<i64>,
    /// What the run reads as its event beside the event itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub properties: Fields,
    /// The event that would start the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// Hops that led to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub depth: u8,
    /// When it is refused for good.
    pub until: Time,
}

/// A message that counts for caps, an offer that counts for the cool-down, or points that count for a budget.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Send {
    /// When: planned, then accepted.
    pub at: Time,
    /// Its channel.
    pub channel: String,
    /// Its tag.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tag: Option<String>,
    /// The effect that it belongs to while it is only planned.
    #[serde(default, skip_serializing_if = "is_default")]
    pub effect: Option<String>,
    /// Of points: how many.
    #[serde(default, skip_serializing_if = "is_default")]
    pub points: i64,
}

/// How far a time trigger of one funnel has been looked at.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Watched {
    /// Occurrences at or before this instant are done with.
    pub until: Time,
    /// Digest of the trigger in words: another trigger looks only after the instant at which it is met.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trigger: u64,
}

impl Customer {
    /// A customer nothing is known of yet.
    pub fn new(id: &str, now: Time) -> Customer {
        Customer { id: id.to_owned(), created: now, now, ..Customer::default() }
    }

    /// Her zone: her profile's `zone`, else the workspace's. Doors refuse zones that do not exist.
    pub fn zone(&self, workspace: Zone) -> Zone {
        self.profile.get("zone").and_then(Value::as_text).and_then(|z| z.parse().ok()).unwrap_or(workspace)
    }

    /// The addresses that her profile holds, each once.
    pub fn her_addresses(&self) -> Vec<Address> {
        let texts = address::FIELDS.iter().filter_map(|(_, field)| Some((*field, self.profile.get(*field)?.as_text()?)));
        let mut all: Vec<Address> = texts.filter_map(|(field, text)| Address::of(field, text)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// What forbids messages by a channel to an address of hers: what forbids all of them before what forbids
    /// marketing.
    pub fn stopped(&self, channel: &str, to: &str) -> Option<&Stop> {
        if self.stops.is_empty() {
            return None;
        }
        let address = Address::of(address::field_of(channel), to)?;
        let stops = self.stops.iter().filter(|(of, stop)| *of == address && stop.channel == channel).map(|(_, stop)| stop);
        stops.min_by_key(|stop| (!stop.kind.stops_everything(), stop.kind))
    }

    /// Notes what was said about an address of hers; false: that is known already.
    pub fn note_stop(&mut self, address: &Address, stop: &Stop) -> bool {
        let same = |(of, held): &&mut (Address, Stop)| *of == *address && held.channel == stop.channel && held.kind == stop.kind;
        match self.stops.iter_mut().find(same) {
            Some((_, held)) => {
                held.since = held.since.max(stop.since);
                false
            }
            None => {
                self.stops.push((address.clone(), stop.clone()));
                true
            }
        }
    }

    /// Takes back what was said about an address by herself up to an instant; returns what it was.
    pub fn lift_stops(&mut self, address: &Address, channel: &str, until: Time, only: Option<StopKind>) -> Vec<StopKind> {
        let lifted = |(of, stop): &(Address, Stop)| {
            of == address && stop.channel == channel && stop.kind.is_lifted(only) && stop.since <= until
        };
        let kinds = self.stops.iter().filter(|held| lifted(held)).map(|(_, stop)| stop.kind).collect();
        self.stops.retain(|held| !lifted(held));
        kinds
    }

    /// The run of that number.
    pub fn run(&self, id: u64) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == id)
    }
}

impl Run {
    /// Whether it is still going.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, RunState::Ended { .. })
    }

    /// Whether it waits for the answer to that effect.
    pub fn waits_for(&self, effect: &str) -> bool {
        matches!(&self.state, RunState::Effect { id } if id == effect)
    }

    /// The instant at which it next needs a turn though nothing happens.
    pub fn due(&self) -> Option<Time> {
        match self.state {
            RunState::Waiting { until } | RunState::Held { until } | RunState::WaitingFor { until } => Some(until),
            RunState::Review { until, .. } => until,
            RunState::Ended { .. } => self.watch_until,
            RunState::Effect { .. } => self.saga.as_ref().map(|saga| saga.deadline),
            RunState::Ready => None,
        }
    }
}
