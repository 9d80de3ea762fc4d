//! The catalog: tiers, memberships and bundles, as `catalog.yaml` declares them.
//!
//! Valid by construction: [`Catalog::compile`] reports all faults at once, prices are exact amounts in the
//! workspace currency, and a bundle's saving is never negative, so what a message promises is true. What
//! the catalog says is judged, never remembered: tiers by [`Catalog::judge_tier`], eligibility by
//! [`Bundle::refusal`].

use crate::lang::cel::{Cond, Scope};
use crate::lang::time::{Span, Time};
use crate::lang::value::{Fields, Value};
use crate::money::{Currency, Dec};
use chrono::NaiveDate;
use std::collections::BTreeMap;

mod compile;
#[cfg(test)]
mod tests;

pub use compile::{BONUS_FIELDS, BUNDLE_FIELDS, FIELDS, ITEM_FIELDS, MEMBERSHIP_FIELDS, SEASON_FIELDS, TIER_FIELDS};

/// Most tiers.
pub const TIERS_MAX: usize = 50;
/// Most memberships.
pub const MEMBERSHIPS_MAX: usize = 500;
/// Most bundles.
pub const BUNDLES_MAX: usize = 1_000;
/// Most products in one bundle.
pub const ITEMS_MAX: usize = 50;
/// Most of one product in a bundle.
pub const QUANTITY_MAX: i64 = 1_000;
/// Most benefits of one tier or membership.
pub const BENEFITS_MAX: usize = 50;

/// What there is to earn and to buy.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Catalog {
    /// Lowest first.
    pub tiers: Vec<Tier>,
    /// By name.
    pub memberships: BTreeMap<String, Membership>,
    /// By name.
    pub bundles: BTreeMap<String, Bundle>,
    /// When granted points run out, counted from their activation, where the grant does not say; `None`: never.
    pub bonus_expires_after: Option<Span>,
}

/// A level of the programme.
#[derive(Clone, PartialEq, Debug)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// Who is on it: the highest tier whose condition holds counts.
    pub when: Cond,
    /// What it gives, for people.
    pub benefits: Vec<String>,
}

/// A membership as a product.
#[derive(Clone, PartialEq, Debug)]
pub struct Membership {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: String,
    /// Price of one term, in minor units of the workspace currency.
    pub price: i64,
    /// How long one term is.
    pub term: Span,
    /// What it gives, for people.
    pub benefits: Vec<String>,
    /// Whether it renews by itself unless the customer says otherwise.
    pub auto_renew: bool,
}

/// Products at one price, to be offered.
#[derive(Clone, PartialEq, Debug)]
pub struct Bundle {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: String,
    /// What it is for.
    pub kind: BundleKind,
    /// What is in it; never empty.
    pub items: Vec<Item>,
    /// Its price, in minor units of the workspace currency.
    pub price: i64,
    /// What its items cost bought singly, in minor units; never below the price.
    pub worth: i64,
    /// Who may have it; `None`: everybody.
    pub eligible: Option<Cond>,
    /// Only for members.
    pub members_only: bool,
    /// Only in these days.
    pub season: Option<Season>,
    /// How long an offer of it holds, where the offer does not say.
    pub valid_for: Span,
}

/// A product in a bundle.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// The shop's name for the product.
    pub sku: String,
    /// How many of it, at least 1.
    pub quantity: i64,
}

/// Days in which a bundle is offered, in the customer's zone; both ends belong to it. An offer that was made
/// in them holds for its own validity, also beyond the last day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Season {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub until: NaiveDate,
}

/// What a bundle is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BundleKind {
    /// For a beginning.
    Starter,
    /// For customers on a tier.
    Tier,
    /// For members.
    MemberOnly,
    /// For a season.
    Seasonal,
    /// For the best customers.
    Vip,
    /// For those who renew.
    Renewal,
}

impl BundleKind {
    /// Every kind with its name in `catalog.yaml` and in figures.
    pub const ALL: &'static [(&'static str, BundleKind)] = &[
        ("starter", BundleKind::Starter),
        ("tier", BundleKind::Tier),
        ("member_only", BundleKind::MemberOnly),
        ("seasonal", BundleKind::Seasonal),
        ("vip", BundleKind::Vip),
        ("renewal", BundleKind::Renewal),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        BundleKind::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// Which tier a customer is on.
#[derive(Clone, PartialEq, Debug)]
pub struct TierVerdict<'a> {
    /// The highest whose condition holds; `None`: on none.
    pub tier: Option<&'a Tier>,
    /// Until when that holds if nothing happens.
    pub until: Option<Time>,
    /// The operands that the conditions looked at, highest tier first.
    pub seen: Vec<(String, Value)>,
}

impl Catalog {
    /// Names of the tiers, lowest first.
    pub fn tier_names(&self) -> Vec<&str> {
        self.tiers.iter().map(|tier| tier.name.as_str()).collect()
    }

    /// The tier of that name.
    pub fn tier(&self, name: &str) -> Option<&Tier> {
        self.tiers.iter().find(|tier| tier.name == name)
    }

    /// The tier above the one of that name; above an unknown or empty name the lowest.
    pub fn next_tier(&self, name: &str) -> Option<&Tier> {
        let above = self.tiers.iter().position(|tier| tier.name == name).map_or(0, |at| at + 1);
        self.tiers.get(above)
    }

    /// The bundle of that name.
    pub fn bundle(&self, name: &str) -> Option<&Bundle> {
        self.bundles.get(name)
    }

    /// The membership of that name.
    pub fn membership(&self, name: &str) -> Option<&Membership> {
        self.memberships.get(name)
    }

    /// The highest tier whose condition holds, and until when; as [`Catalog::judge_tier`] without what was looked at.
    pub fn tier_of(&self, scope: &dyn Scope) -> (Option<&Tier>, Option<Time>) {
        let mut until: Option<Time> = None;
        let tier = self.tiers.iter().rev().find(|tier| {
            let (holds, holds_until) = tier.when.holds(scope, until);
            until = holds_until;
            holds
        });
        (tier, until)
    }

    /// The highest tier whose condition holds. Conditions of tiers see neither tier nor segments, which are
    /// judged after it.
    pub fn judge_tier(&self, scope: &dyn Scope) -> TierVerdict<'_> {
        let mut out = TierVerdict { tier: None, until: None, seen: Vec::new() };
        for tier in self.tiers.iter().rev() {
            let verdict = tier.when.judge(scope);
            // Tiers below the one that holds cannot change the outcome, those above could at any flip.
            out.until = out.until.into_iter().chain(verdict.until).min();
            out.seen.extend(verdict.seen);
            if verdict.value == Some(true) {
                out.tier = Some(tier);
                break;
            }
        }
        out
    }

    /// The conditions in the catalog, for what they need to be kept.
    pub fn conditions(&self) -> impl Iterator<Item = &Cond> {
        let tiers = self.tiers.iter().map(|tier| &tier.when);
        tiers.chain(self.bundles.values().filter_map(|bundle| bundle.eligible.as_ref()))
    }
}

impl Tier {
    /// As templates see it.
    pub fn values(&self) -> Fields {
        Fields::from([("name".to_owned(), Value::from(self.name.as_str())), ("benefits".to_owned(), texts(&self.benefits))])
    }
}

impl Membership {
    /// As templates see it; the price in major units of `currency`, the workspace's.
    pub fn values(&self, currency: Currency) -> Fields {
        Fields::from([
            ("name".to_owned(), Value::from(self.name.as_str())),
            ("title".to_owned(), Value::from(self.title.as_str())),
            ("price".to_owned(), money(self.price, currency)),
            ("term".to_owned(), Value::Text(self.term.to_string())),
            ("benefits".to_owned(), texts(&self.benefits)),
            ("auto_renew".to_owned(), Value::Bool(self.auto_renew)),
        ])
    }
}

impl Bundle {
    /// What it saves against buying singly, in minor units; never negative.
    pub fn saving(&self) -> i64 {
        self.worth - self.price
    }

    /// As templates see it under `offer`; money in major units of `currency`, the workspace's. The offer's
    /// own `code` and `ends` come from the account.
    pub fn values(&self, currency: Currency) -> Fields {
        let item = |item: &Item| {
            Value::Map(Fields::from([
                ("sku".to_owned(), Value::from(item.sku.as_str())),
                ("quantity".to_owned(), Value::Int(item.quantity)),
            ]))
        };
        Fields::from([
            ("bundle".to_owned(), Value::from(self.name.as_str())),
            ("title".to_owned(), Value::from(self.title.as_str())),
            ("kind".to_owned(), Value::from(self.kind.name())),
            ("items".to_owned(), Value::List(self.items.iter().map(item).collect())),
            ("price".to_owned(), money(self.price, currency)),
            ("worth".to_owned(), money(self.worth, currency)),
            ("saving".to_owned(), money(self.saving(), currency)),
            ("members_only".to_owned(), Value::Bool(self.members_only)),
        ])
    }

    /// Why it may not be offered to a customer now, one sentence without a full stop; `None`: it may.
    pub fn refusal(&self, scope: &dyn Scope) -> Option<String> {
        let today = scope.now().date(scope.zone());
        if let Some(Season { from, until }) = self.season
            && !(from..=until).contains(&today)
        {
            return Some(format!("`{}` is offered from {from} until {until}, and today is {today}", self.name));
        }
        let active = ["customer", "membership", "active"].map(str::to_owned);
        if self.members_only && scope.field(&active) != Some(Value::Bool(true)) {
            return Some(format!("`{}` is for members only, and her membership is not active", self.name));
        }
        let eligible = self.eligible.as_ref()?;
        let verdict = eligible.judge(scope);
        if verdict.value == Some(true) {
            return None;
        }
        // The missing field is among the operands too, with no value to show.
        let shown = verdict.seen.iter().filter(|(_, value)| *value != Value::Null);
        let seen = shown.map(|(operand, value)| format!("{operand} is {value}"));
        let missing = verdict.missing.map(|field| format!("{field} is missing"));
        let because: Vec<String> = seen.chain(missing).collect();
        let tail = if because.is_empty() { String::new() } else { format!(": {}", because.join(", ")) };
        Some(format!("`{}` is for customers with {}{tail}", self.name, eligible.text.text))
    }
}

/// Minor units as conditions and templates read money: exact, in major units, whole where it is whole.
fn money(minor: i64, currency: Currency) -> Value {
    let major = currency.major(minor);
    major.map_or(Value::Null, |dec: Dec| dec.as_int().map_or(Value::Dec(dec), Value::Int))
}

fn texts(list: &[String]) -> Value {
    Value::List(list.iter().cloned().map(Value::Text).collect())
}
