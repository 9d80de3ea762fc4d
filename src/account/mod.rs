//! The account: the ledger document of one customer, and the pure functions that move it.
//!
//! Points are money, so nothing here is ever overwritten without a line that says so. The account holds
//! *bookings* (one per command that was heard, found by its key for ever) and *lines* (one per movement,
//! append-only, never trimmed). A grant is a *lot*: it waits for activation, becomes spendable, is spent
//! nearest expiry first, runs out, or is taken back. Two things always hold:
//!
//! - the balance is never negative, and equals the sum of all lines;
//! - a command whose key was heard before books nothing and gets the reply of the first time.
//!
//! [`apply()`] moves the account by a command, [`tick()`] by time alone: every activation and expiry happens
//! at its own exact instant, however late the tick comes, and is told exactly once as a [`Change`].

use crate::customer::Loyalty;
use crate::customer::codec::{self, CodecError};
use crate::lang::time::{DAY_MS, Time};
use record::{Booked, Booking, Hold, Line};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod apply;
mod command;
mod hold;
mod lessen;
mod purchase;
mod record;
#[cfg(test)]
mod tests;
mod tick;

pub use apply::apply;
pub use command::{Command, Reply};
pub use hold::{cancel, confirm};
pub use lessen::lessen;
pub use purchase::match_purchase;
pub use record::{LineKind, LotState, OfferState};
pub use tick::{Change, ChangeKind, next_due, tick};

/// Most points that may ever be granted to one customer. Up to here every balance is an exact number in
/// conditions and templates (see [`crate::money::Dec`]).
pub const POINTS_MAX: i64 = 9_000_000_000_000;
/// Most bookings and lines of one account together. They are never trimmed, so beyond it new commands are
/// refused; the points that are there still activate and run out.
pub const RECORDS_MAX: usize = 50_000;
/// Longest key of a command, in bytes: an effect's id with the longest customer id, and room to spare.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest reason of a grant, name of a bundle and id of an order, in bytes.
pub const TEXT_BYTES_MAX: usize = 128;

/// The ledger document of one customer. Stored by [`codec`]; field names are short because a lot is
/// stored for ever.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    bookings: Vec<Booking>,
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<Line>,
    /// Changes that a command came upon before the tick did; the next tick tells them.
    #[serde(rename = "u", default, skip_serializing_if = "Vec::is_empty")]
    untold: Vec<Change>,
}

/// A grant, as people and the API see it.
#[derive(Clone, PartialEq, Debug)]
pub struct LotView<'a> {
    /// The grant's key.
    pub key: &'a str,
    /// Points granted.
    pub points: i64,
    /// Points of it that are still there, pending or spendable.
    pub left: i64,
    /// Why it was granted.
    pub reason: &'a str,
    /// What became of it.
    pub state: LotState,
    /// When it was booked.
    pub granted_at: Time,
    /// When it became or becomes spendable.
    pub active_at: Time,
    /// When it runs out; `None`: never.
    pub expires_at: Option<Time>,
}

/// An offer, as people and the API see it.
#[derive(Clone, PartialEq, Debug)]
pub struct OfferView<'a> {
    /// The key under which it was made.
    pub key: &'a str,
    /// Name of the bundle in the catalog.
    pub bundle: &'a str,
    /// The customer's code for it. It tells offers apart; it is no secret.
    pub code: &'a str,
    /// When it was made.
    pub made_at: Time,
    /// From this instant on it holds no more.
    pub ends: Time,
    /// What became of it.
    pub state: OfferState,
    /// The order that used it.
    pub order: Option<&'a str>,
}

/// One movement of the ledger, as people and the API see it.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry<'a> {
    /// When it took effect.
    pub at: Time,
    /// Key of the command it belongs to; an activation or expiry belongs to the grant.
    pub key: &'a str,
    /// By how many points the balance moved; 0 for a grant that waits for activation.
    pub change: i64,
    /// What kind of movement.
    pub kind: LineKind,
}

impl Account {
    /// Reads a stored account; no bytes at all are an account in which nothing has happened yet.
    ///
    /// # Errors
    /// When the bytes are damaged or were written by a newer engine.
    pub fn from_stored(bytes: &[u8]) -> Result<Account, CodecError> {
        if bytes.is_empty() { Ok(Account::default()) } else { codec::decode(bytes) }
    }

    /// The stored form.
    pub fn to_stored(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Spendable points as of the last tick.
    pub fn balance(&self) -> i64 {
        self.left_in(LotState::Active)
    }

    /// Points that wait for activation, as of the last tick.
    pub fn pending(&self) -> i64 {
        self.left_in(LotState::Pending)
    }

    fn left_in(&self, state: LotState) -> i64 {
        self.lots().filter(|lot| lot.state == state).map(|lot| lot.left).sum()
    }

    /// Points ever granted, whatever became of them; what is held is not.
    pub fn granted(&self) -> i64 {
        let certain = |booking: &Booking| match &booking.what {
            Booked::Grant(lot) if matches!(lot.hold, Hold::None | Hold::Kept) => Some(lot.points),
            _ => None,
        };
        self.bookings.iter().filter_map(certain).sum()
    }

    /// All grants, oldest first.
    pub fn lots(&self) -> impl Iterator<Item = LotView<'_>> {
        self.bookings.iter().filter_map(|booking| match &booking.what {
            Booked::Grant(lot) => Some(LotView {
                key: &booking.key,
                points: lot.points,
                left: lot.left(),
                reason: &lot.reason,
                state: lot.state,
                granted_at: booking.at,
                active_at: lot.active_at.unwrap_or(booking.at),
                expires_at: lot.expires_at,
            }),
            _ => None,
        })
    }

    /// All offers, oldest first.
    pub fn offers(&self) -> impl Iterator<Item = OfferView<'_>> {
        self.bookings.iter().filter_map(|booking| match &booking.what {
            Booked::Offer(offer) => Some(OfferView {
                key: &booking.key,
                bundle: &offer.bundle,
                code: &offer.code,
                made_at: booking.at,
                ends: offer.ends,
                state: offer.state,
                order: offer.order.as_deref(),
            }),
            _ => None,
        })
    }

    /// Every movement there ever was, in the order of booking.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.lines.iter().map(|line| Entry {
            at: line.at,
            key: self.bookings.get(line.booking as usize).map_or("", |booking| &booking.key),
            change: line.change,
            kind: line.kind,
        })
    }

    fn record_count(&self) -> usize {
        self.bookings.len() + self.lines.len()
    }
}

impl OfferView<'_> {
    /// Whether it held at an instant: from the one at which it was made until before the one at which it ends.
    pub fn held_at(&self, at: Time) -> bool {
        self.made_at <= at && at < self.ends
    }
}

/// What the customer's document shows of the account at `now`. The tier is not the account's to know: it
/// is taken over from `old`.
pub fn mirror(account: &Account, now: Time, old: &Loyalty) -> Loyalty {
    let (account, _) = tick(account, now);
    let spendable = |lot: &LotView<'_>| lot.state == LotState::Active && lot.left > 0;
    let mut offers: BTreeMap<String, Time> = BTreeMap::new();
    for offer in account.offers().filter(|offer| offer.state == OfferState::Open) {
        let ends = offers.entry(offer.bundle.to_owned()).or_insert(offer.ends);
        *ends = offer.ends.max(*ends);
    }
    let next_expiry = account.lots().filter(spendable).filter_map(|lot| lot.expires_at).min();
    let soon = |lot: &LotView<'_>| lot.expires_at.zip(next_expiry).is_some_and(|(at, next)| at < next.plus_ms(DAY_MS));
    Loyalty {
        balance: account.balance(),
        pending: account.pending(),
        granted: account.granted(),
        tier: old.tier.clone(),
        next_expiry,
        expiring: account.lots().filter(spendable).filter(soon).map(|lot| lot.left).sum(),
        offers,
        store: old.store.clone(),
    }
}
