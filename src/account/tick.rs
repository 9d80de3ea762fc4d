//! What time alone does to an account: points become spendable, points run out, offers end.

use super::Account;
use super::record::{Booked, LineKind, Lot, LotState, OfferState};
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use serde::{Deserialize, Serialize};

/// Something that time did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// The exact instant at which it was due.
    #[serde(rename = "t")]
    pub at: Time,
    /// What it was.
    #[serde(rename = "w")]
    pub kind: ChangeKind,
}

/// The things that time does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ChangeKind {
    /// Points became spendable.
    #[serde(rename = "a")]
    BonusActivated {
        /// The grant's key.
        key: String,
        /// How many.
        points: i64,
        /// Why they were granted.
        reason: String,
        /// When they run out; `None`: never.
        expires_at: Option<Time>,
    },
    /// Points ran out.
    #[serde(rename = "x")]
    BonusExpired {
        /// The grant's key.
        key: String,
        /// How many were left.
        points: i64,
        /// Why they were granted.
        reason: String,
    },
    /// An offer ended unused.
    #[serde(rename = "o")]
    OfferExpired {
        /// Its bundle.
        bundle: String,
        /// Its code.
        code: String,
    },
}

impl Change {
    /// Name and properties of the event by which funnels hear of it.
    pub fn event(&self) -> (&'static str, Fields) {
        let text = |text: &String| Value::Text(text.clone());
        let bonus = |key: &String, points: &i64, reason: &String| {
            Fields::from([
                ("grant".to_owned(), text(key)),
                ("points".to_owned(), Value::Int(*points)),
                ("reason".to_owned(), text(reason)),
            ])
        };
        match &self.kind {
            ChangeKind::BonusActivated { key, points, reason, expires_at } => {
                let mut fields = bonus(key, points, reason);
                fields.extend(expires_at.map(|at| ("expires".to_owned(), Value::Time(at))));
                ("bonus_activated", fields)
            }
            ChangeKind::BonusExpired { key, points, reason } => {
                let mut fields = bonus(key, points, reason);
                fields.insert("expires".to_owned(), Value::Time(self.at));
                ("bonus_expired", fields)
            }
            ChangeKind::OfferExpired { bundle, code } => (
                "offer_expired",
                Fields::from([
                    ("offer".to_owned(), text(bundle)),
                    ("code".to_owned(), text(code)),
                    ("ends".to_owned(), Value::Time(self.at)),
                ]),
            ),
        }
    }
}

/// What can be due, in the order in which it happens when several are due in one instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Activation,
    Expiry,
    OfferEnd,
}

/// Does everything that is due at or before `now`, in the order of time, each at its own instant. What is
/// told includes what a command came upon before. In one step or in many, the outcome is the same.
pub fn tick(account: &Account, now: Time) -> (Account, Vec<Change>) {
    let mut next = account.clone();
    let mut changes = std::mem::take(&mut next.untold);
    let mut due: Vec<(Time, Due, u32)> = dues(account).filter(|(at, ..)| *at <= now).collect();
    due.sort_unstable();
    for (at, what, index) in due {
        changes.extend(happen(&mut next, at, what, index).map(|kind| Change { at, kind }));
    }
    (next, changes)
}

/// The next instant at which [`tick()`] has something to do or to tell; `None`: never by time alone.
pub fn next_due(account: &Account) -> Option<Time> {
    let untold = account.untold.iter().map(|change| change.at);
    untold.chain(dues(account).map(|(at, ..)| at)).min()
}

/// Everything that will happen, in no order. A pending lot is due twice: activation, then expiry.
fn dues(account: &Account) -> impl Iterator<Item = (Time, Due, u32)> {
    (0u32..).zip(&account.bookings).flat_map(|(index, booking)| {
        let (first, second) = match &booking.what {
            Booked::Grant(lot) => lot_dues(lot),
            Booked::Offer(offer) if offer.state == OfferState::Open => (Some((offer.ends, Due::OfferEnd)), None),
            _ => (None, None),
        };
        first.into_iter().chain(second).map(move |(at, what)| (at, what, index))
    })
}

type MaybeDue = Option<(Time, Due)>;

fn lot_dues(lot: &Lot) -> (MaybeDue, MaybeDue) {
    let activation = lot.active_at.filter(|_| lot.state == LotState::Pending).map(|at| (at, Due::Activation));
    let alive = matches!(lot.state, LotState::Pending | LotState::Active) && lot.left() > 0;
    let expiry = lot.expires_at.filter(|_| alive).map(|at| (at, Due::Expiry));
    (activation, expiry)
}

fn happen(account: &mut Account, at: Time, what: Due, index: u32) -> Option<ChangeKind> {
    let booking = account.bookings.get_mut(index as usize)?;
    let key = booking.key.clone();
    let (kind, change, line) = match (&mut booking.what, what) {
        (Booked::Grant(lot), Due::Activation) => {
            lot.state = LotState::Active;
            let (points, reason, expires_at) = (lot.left(), lot.reason.clone(), lot.expires_at);
            (ChangeKind::BonusActivated { key, points, reason, expires_at }, points, LineKind::Activated)
        }
        (Booked::Grant(lot), _) => {
            let points = lot.end(LotState::Expired);
            (ChangeKind::BonusExpired { key, points, reason: lot.reason.clone() }, -points, LineKind::Expired)
        }
        (Booked::Offer(offer), _) => {
            offer.state = OfferState::Expired;
            return Some(ChangeKind::OfferExpired { bundle: offer.bundle.clone(), code: offer.code.clone() });
        }
        _ => return None,
    };
    account.line(at, index, change, line);
    Some(kind)
}
