//! `autofunnel.yaml`: zone, currency, quiet hours, caps, channels, providers, sources.
//!
//! The tables of fields and the reader are in `compile`. Providers and sources stay nodes here, because the
//! registries that know their kinds stand in higher layers; only what a run must freeze for them is read.

use super::holdout::{self, Share};
use crate::effect::Links;
use crate::lang::cel::{Text, Type};
use crate::lang::diag::Faults;
use crate::lang::node::{Node, NodeKind};
use crate::lang::time::{Span, Zone};
use crate::money::{Currency, Dec};
use crate::template::{Line, LineKind, TemplateOptions};
use budget::Budget;
use chrono::NaiveTime;
use std::collections::{BTreeMap, BTreeSet};

pub mod budget;
mod compile;
mod store;
#[cfg(test)]
mod tests;

pub use compile::{CAP_FIELDS, CHANNEL_FIELDS, FIELDS, OFFERS_FIELDS, QUIET_FIELDS};

/// Calendar days for which well-known events are kept singly where the settings do not say.
pub const KEEP_DAYS_DEFAULT: u32 = 400;
/// The longest rolling period of a cap, in days: so long messages stay in a customer's send memory.
pub const CAP_DAYS_MAX: i64 = 366;
/// Most messages that a cap may allow.
pub const AT_MOST_MAX: i64 = 10_000;
/// Most caps.
pub const CAPS_MAX: usize = 50;
/// Most profile fields.
pub const PROFILE_FIELDS_MAX: usize = 200;
/// Most custom events.
pub const EVENTS_MAX: usize = 1_000;
/// Most declared properties of one custom event.
pub const PROPERTIES_MAX: usize = 100;
/// Most providers, and most sources.
pub const PROVIDERS_MAX: usize = 100;
/// Most templates (`{{ … }}`) in the providers of a workspace together. Each is compiled by itself and takes about
/// 20 KiB.
pub const PROVIDER_TEMPLATES_MAX: usize = 500;
/// The value of `loyalty` that means the built-in account.
pub const ACCOUNT: &str = "account";
/// The name of the remote loyalty store among the providers.
pub const STORE: &str = "loyalty_store";
/// The provider that is there without being declared.
pub const BUILT_IN_PROVIDER: &str = "inbox";
/// Profile fields that every customer has room for.
pub const BUILT_IN_PROFILE: &[&str] = &["name", "email", "phone", "zone", "language", "birthday", "chat", "push"];
/// Names below `customer.` that are no profile fields, so that none may be called so.
pub const RESERVED_PROFILE: &[&str] = &[
    "id",
    "created",
    "tier",
    "benefits",
    "balance",
    "pending",
    "membership",
    "consent",
    "segments",
    "programmes",
    "memberships",
    "offers",
];

/// The settings of a workspace.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The workspace's name, for people.
    pub workspace: String,
    /// Zone of customers who name none, and of schedules.
    pub zone: Zone,
    /// The currency of every amount.
    pub currency: Currency,
    /// Whether an event of an unknown customer creates her.
    pub create_unknown: bool,
    /// Profile fields beyond the built-in ones, with their types.
    pub profile: BTreeMap<String, Type>,
    /// Who owns memberships.
    pub membership_owner: MembershipOwner,
    /// Custom events with the types of their properties.
    pub events: BTreeMap<String, Type>,
    /// How long well-known events are kept singly at least.
    pub keep: Span,
    /// When marketing messages are held.
    pub quiet_hours: Option<QuietHours>,
    /// Frequency caps; all of them hold.
    pub caps: Vec<Cap>,
    /// The cool-down between offers: at most so many within the span.
    pub offers: Option<(u32, Span)>,
    /// This share of the customers is left alone by every funnel that does not say otherwise.
    pub holdout: Option<Share>,
    /// Provider by channel; a channel that is not named here uses the development inbox.
    pub channels: BTreeMap<String, String>,
    /// The public address of the engine, without a `/` at its end: what links in messages are made of.
    pub address: Option<String>,
    /// Channels whose links lead through the engine and are counted.
    pub clicks: Vec<String>,
    /// Provider of grants; `None`: the built-in account.
    pub loyalty: Option<String>,
    /// The remote loyalty store; `None`: the built-in account, or a provider that only books grants.
    pub loyalty_store: Option<LoyaltyStore>,
    /// Providers as written; checked by the registry of channels.
    pub providers: BTreeMap<String, Node>,
    /// By provider: the dotted paths (`["customer", "email"]`) that its templates read, to be frozen into its effects.
    /// What comes from the effect itself is not among them.
    pub provider_variables: BTreeMap<String, Vec<Vec<String>>>,
    /// Sources as written; checked by the registry of sources.
    pub sources: BTreeMap<String, Node>,
    /// What a point is worth in the currency, if that is said.
    pub point_value: Option<Dec>,
    /// Budgets of rewards; all of them hold.
    pub budgets: Vec<Budget>,
    /// Services that steps call, as written; checked where channels are.
    pub services: BTreeMap<String, Node>,
}

impl Settings {
    /// What the links of a message are made of. Links of what a customer has asked for are not counted.
    pub fn links(&self, channel: &str, topic: Option<String>, transactional: bool) -> Option<Links> {
        let address = self.address.clone()?;
        let clicks = !transactional && self.clicks.iter().any(|counted| counted == channel);
        Some(Links { address, topic, clicks })
    }
}

/// A loyalty store over HTTP.
#[derive(Clone, PartialEq, Debug)]
pub struct LoyaltyStore {
    /// As written; its requests are checked in a higher layer.
    pub node: Node,
    /// It makes offers too; otherwise the built-in account does.
    pub offers: bool,
    /// What it says of a customer when it is asked, among `customer::store::STORE_NAMES`; none: it cannot be asked.
    pub names: Vec<String>,
    /// How old that may be where it is used, in milliseconds.
    pub max_age_ms: i64,
    /// How often a parked grant is sent again, in milliseconds.
    pub ask_again_ms: i64,
}

/// Who says what membership a customer has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MembershipOwner {
    /// `membership_*` events.
    Events,
    /// `PUT /v1/customers/{id}`.
    Api,
    /// The engine itself: steps `membership` and `PUT /v1/customers/{id}`; the shop's events are history only.
    Account,
}

/// When marketing messages are held, by the customer's clock. `from` may be later than `until`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuietHours {
    /// First quiet minute.
    pub from: NaiveTime,
    /// First minute that is not quiet any more.
    pub until: NaiveTime,
}

/// A frequency cap.
#[derive(Clone, PartialEq, Debug)]
pub struct Cap {
    /// Only messages of this channel.
    pub channel: Option<String>,
    /// Only messages with this tag.
    pub tag: Option<String>,
    /// Most messages in the period.
    pub at_most: u32,
    /// The period.
    pub period: Period,
}

/// The period of a cap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    /// Rolling: within this span before the message.
    Within(Span),
    /// Her local calendar day.
    Day,
    /// Her local week, from Monday.
    Week,
    /// Her local calendar month.
    Month,
}

/// An amount of money, for people.
fn currency_shown(money: Dec, currency: Currency) -> String {
    currency.minor(money).map_or_else(|_| money.to_string(), |minor| currency.show(minor))
}

/// The channels there are.
pub const CHANNELS: &[&str] = &["email", "sms", "chat", "push"];

/// Roots of a provider's templates that come from the effect itself and need not be frozen.
const EFFECT_ROOTS: &[&str] = &["effect", "message", "grant", "bundle"];

/// What the templates in each provider read. Their faults are left to the registry of channels, which knows what
/// each of them is for; here only too many of them are one.
fn variables(
    providers: &BTreeMap<String, Node>,
    options: TemplateOptions,
    faults: &mut Faults,
) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut room = PROVIDER_TEMPLATES_MAX;
    providers.iter().map(|(name, node)| (name.clone(), read_by(node, options, &mut room, faults))).collect()
}

/// What the templates below a node read; `room` is how many of them there may be.
fn read_by(node: &Node, options: TemplateOptions, room: &mut usize, faults: &mut Faults) -> Vec<Vec<String>> {
    let mut out = BTreeSet::new();
    let mut left = vec![node];
    while let Some(node) = left.pop() {
        match &node.kind {
            NodeKind::Scalar { text, .. } if text.contains("{{") || text.contains("{%") => {
                let Some(less) = room.checked_sub(1) else {
                    let message = format!("the providers have more than {PROVIDER_TEMPLATES_MAX} templates together");
                    faults.error("too-many", &node.place, message).hint("send fewer fields, or put them together into one");
                    break;
                };
                *room = less;
                let text = Text { text: text.clone(), place: node.place.clone() };
                let line = Line::compile(&text, LineKind::Plain, options, &mut Faults::default());
                let paths = line.map(|line| line.variables()).unwrap_or_default();
                out.extend(
                    paths.into_iter().filter(|path| path.first().is_some_and(|root| !EFFECT_ROOTS.contains(&root.as_str()))),
                );
            }
            NodeKind::Scalar { .. } => {}
            NodeKind::List(items) => left.extend(items),
            NodeKind::Map(entries) => left.extend(entries.iter().map(|(_, node)| node)),
        }
    }
    out.into_iter().collect()
}
