//! What the account stores: bookings (a command that was heard, with what came of it) and lines (a
//! movement of the balance). One-letter names and left-out defaults keep a lot below 80 bytes.

use crate::lang::time::Time;
use serde::{Deserialize, Serialize};

/// A command that was heard. Its key is taken for ever.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Booking {
    #[serde(rename = "k")]
    pub(super) key: String,
    /// Digest of the command without its key: the same key with another one is refused.
    #[serde(rename = "d")]
    pub(super) digest: u32,
    #[serde(rename = "t")]
    pub(super) at: Time,
    #[serde(rename = "w")]
    pub(super) what: Booked,
}

/// What came of a command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) enum Booked {
    #[serde(rename = "g")]
    Grant(Lot),
    #[serde(rename = "s")]
    Spend(Spend),
    #[serde(rename = "r")]
    Return(Return),
    #[serde(rename = "o")]
    Offer(Offer),
    /// An offer was used: index of its booking.
    #[serde(rename = "u")]
    Use(u32),
    /// Refused, and why: heard again, it is refused again, whatever has changed since.
    #[serde(rename = "x")]
    Refused(String),
}

/// Points of one grant.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Lot {
    #[serde(rename = "p")]
    pub(super) points: i64,
    /// Points of it that are gone: spent, run out or taken back.
    #[serde(rename = "u", default, skip_serializing_if = "is_default")]
    pub(super) gone: i64,
    #[serde(rename = "r", default, skip_serializing_if = "is_default")]
    pub(super) reason: String,
    #[serde(rename = "s", default, skip_serializing_if = "is_default")]
    pub(super) state: LotState,
    #[serde(rename = "h", default, skip_serializing_if = "is_default")]
    pub(super) hold: Hold,
    /// `None`: spendable from the booking on.
    #[serde(rename = "a", default, skip_serializing_if = "is_default")]
    pub(super) active_at: Option<Time>,
    #[serde(rename = "x", default, skip_serializing_if = "is_default")]
    pub(super) expires_at: Option<Time>,
}

impl Lot {
    pub(super) fn left(&self) -> i64 {
        self.points - self.gone
    }

    /// Ends the lot and answers how many points went with it.
    pub(super) fn end(&mut self, state: LotState) -> i64 {
        let left = self.left();
        (self.gone, self.state) = (self.points, state);
        left
    }
}

/// Whether a grant was held first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) enum Hold {
    /// It was not.
    #[default]
    #[serde(rename = "n")]
    None,
    /// It is.
    #[serde(rename = "o")]
    Open,
    /// It was, and was confirmed.
    #[serde(rename = "k")]
    Kept,
    /// It was, and was taken back.
    #[serde(rename = "d")]
    Dropped,
}

/// Points given away, and out of which lots, so that a return finds its way back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Spend {
    #[serde(rename = "p")]
    pub(super) points: i64,
    /// Index of the lot's booking, and points taken from it.
    #[serde(rename = "o")]
    pub(super) out_of: Vec<(u32, i64)>,
}

/// A spend given back or a grant taken back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Return {
    /// Index of the booking that was undone.
    #[serde(rename = "o")]
    pub(super) of: u32,
    /// By how much the balance moved.
    #[serde(rename = "c", default, skip_serializing_if = "is_default")]
    pub(super) change: i64,
}

/// An offer that was made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    #[serde(rename = "n")]
    pub(super) bundle: String,
    #[serde(rename = "c")]
    pub(super) code: String,
    #[serde(rename = "e")]
    pub(super) ends: Time,
    #[serde(rename = "s", default, skip_serializing_if = "is_default")]
    pub(super) state: OfferState,
    /// The order that used it.
    #[serde(rename = "o", default, skip_serializing_if = "is_default")]
    pub(super) order: Option<String>,
}

/// What became of a lot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum LotState {
    /// Waits for activation.
    #[serde(rename = "p")]
    Pending,
    /// Can be spent.
    #[default]
    #[serde(rename = "a")]
    Active,
    /// Ran out with points left.
    #[serde(rename = "x")]
    Expired,
    /// All of it was spent.
    #[serde(rename = "s")]
    Spent,
    /// Taken back.
    #[serde(rename = "c")]
    Cancelled,
    /// Neither seen nor spent: it is not certain yet that they are hers.
    #[serde(rename = "h")]
    Held,
}

impl LotState {
    /// Name in the API, in timelines and in `steps.<id>.state`.
    pub fn name(self) -> &'static str {
        match self {
            LotState::Pending => "pending",
            LotState::Active => "active",
            LotState::Expired => "expired",
            LotState::Spent => "spent",
            LotState::Cancelled => "cancelled",
            LotState::Held => "held",
        }
    }
}

/// What became of an offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum OfferState {
    /// Holds and was not used.
    #[default]
    #[serde(rename = "o")]
    Open,
    /// Used by an order.
    #[serde(rename = "u")]
    Used,
    /// Ended unused.
    #[serde(rename = "x")]
    Expired,
}

impl OfferState {
    /// Name in the API and in timelines.
    pub fn name(self) -> &'static str {
        match self {
            OfferState::Open => "open",
            OfferState::Used => "used",
            OfferState::Expired => "expired",
        }
    }
}

/// One movement of the balance. Never changed and never removed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Line {
    #[serde(rename = "t")]
    pub(super) at: Time,
    /// Index of the booking it belongs to.
    #[serde(rename = "b", default, skip_serializing_if = "is_default")]
    pub(super) booking: u32,
    #[serde(rename = "c", default, skip_serializing_if = "is_default")]
    pub(super) change: i64,
    #[serde(rename = "k", default, skip_serializing_if = "is_default")]
    pub(super) kind: LineKind,
}

/// The kinds of movement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum LineKind {
    /// Granted and spendable at once.
    #[default]
    #[serde(rename = "g")]
    Granted,
    /// Granted, but waits for activation: the balance does not move yet.
    #[serde(rename = "p")]
    Promised,
    /// Became spendable.
    #[serde(rename = "a")]
    Activated,
    /// Spent.
    #[serde(rename = "s")]
    Spent,
    /// Ran out.
    #[serde(rename = "x")]
    Expired,
    /// Given back after a spend was undone.
    #[serde(rename = "r")]
    Returned,
    /// Given back into a lot that has ended meanwhile, and so gone with it.
    #[serde(rename = "l")]
    Lapsed,
    /// Taken back, because the grant was undone.
    #[serde(rename = "c")]
    Cancelled,
    /// Held: the balance does not move yet.
    #[serde(rename = "h")]
    Held,
}

impl LineKind {
    /// Name in the API and in timelines.
    pub fn name(self) -> &'static str {
        match self {
            LineKind::Granted => "granted",
            LineKind::Promised => "promised",
            LineKind::Activated => "activated",
            LineKind::Spent => "spent",
            LineKind::Expired => "expired",
            LineKind::Returned => "returned",
            LineKind::Lapsed => "lapsed",
            LineKind::Cancelled => "cancelled",
            LineKind::Held => "held",
        }
    }
}

/// Whether a field can be left out of the stored account.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
