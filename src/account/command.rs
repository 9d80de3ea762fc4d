//! What an account can be told, and what it answers.

use super::record::LotState;
use super::{KEY_BYTES_MAX, POINTS_MAX, TEXT_BYTES_MAX};
use crate::effect::{Effect, EffectKind, Outcome};
use crate::lang::time::{Span, Time};
use crate::lang::value::{Fields, Value};
use sha2::{Digest, Sha256};

/// A command. Its key identifies it for ever: the same command again books nothing.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// Give points.
    Grant {
        /// The effect's id, or the caller's own.
        key: String,
        /// How many, at least 1.
        points: i64,
        /// Why.
        reason: String,
        /// They can be spent after this span; zero: at once.
        active_after: Span,
        /// They run out this span after activation; `None`: never.
        expires_after: Option<Span>,
    },
    /// Hold points: they are booked, and neither seen nor spent until [`super::confirm`] or [`super::cancel`].
    Hold {
        /// The effect's id, or the caller's own.
        key: String,
        /// How many, at least 1.
        points: i64,
        /// Why.
        reason: String,
        /// They can be spent after this span from now on, but not before they are confirmed.
        active_after: Span,
        /// They run out this span after activation; `None`: never.
        expires_after: Option<Span>,
    },
    /// Make an offer.
    Offer {
        /// The effect's id, or the caller's own.
        key: String,
        /// Name of the bundle.
        bundle: String,
        /// How long it holds.
        valid_for: Span,
    },
    /// An order takes an offer up. Its key is the order and the offer: one order uses an offer once.
    UseOffer {
        /// The bundle or the code; of several offers of one bundle the one that ends first is used.
        offer: String,
        /// The order's id.
        order: String,
        /// When the order was placed: the offer must have held then, however late this is heard.
        at: Time,
    },
    /// Take points for something, nearest expiry first.
    Spend {
        /// The caller's key, for example the order's id.
        key: String,
        /// How many, at least 1.
        points: i64,
    },
    /// Undo a spend (its points come back with their old expiry) or a grant (what is left of it goes).
    Return {
        /// The caller's key.
        key: String,
        /// Key of the spend or the grant.
        of: String,
    },
}

/// The answer to a command.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// Points were booked.
    Granted {
        /// How many.
        points: i64,
        /// Pending or active, as it was when they were booked.
        state: LotState,
        /// When they became or become spendable.
        active_at: Time,
        /// When they run out; `None`: never.
        expires_at: Option<Time>,
    },
    /// An offer was made.
    Offered {
        /// Its bundle.
        bundle: String,
        /// Its code.
        code: String,
        /// When it ends.
        ends: Time,
    },
    /// An offer was used.
    Used {
        /// Its bundle.
        bundle: String,
        /// Its code.
        code: String,
    },
    /// Points were spent.
    Spent {
        /// How many.
        points: i64,
    },
    /// A spend or a grant was undone.
    Returned {
        /// By how much the balance moved: up for a spend given back, down for a grant taken back.
        change: i64,
    },
    /// Nothing was booked.
    Refused {
        /// Why, one sentence without a full stop.
        why: String,
    },
}

impl Command {
    /// The command that an effect asks the built-in account for; `None` for any other effect.
    pub fn from_effect(effect: &Effect) -> Option<Command> {
        let key = effect.id.clone();
        match &effect.kind {
            EffectKind::Grant(grant) if grant.provider.is_none() && grant.held => Some(Command::Hold {
                key,
                points: grant.points,
                reason: grant.reason.clone(),
                active_after: grant.active_after,
                expires_after: grant.expires_after,
            }),
            EffectKind::Grant(grant) if grant.provider.is_none() => Some(Command::Grant {
                key,
                points: grant.points,
                reason: grant.reason.clone(),
                active_after: grant.active_after,
                expires_after: grant.expires_after,
            }),
            EffectKind::Offer(offer) if offer.provider.is_none() => {
                Some(Command::Offer { key, bundle: offer.bundle.clone(), valid_for: offer.valid_for })
            }
            _ => None,
        }
    }

    /// The key under which it is remembered. Typed keys have no control characters, so the key made for
    /// the use of an offer is never one of them.
    pub(super) fn key(&self) -> String {
        match self {
            Command::Grant { key, .. }
            | Command::Hold { key, .. }
            | Command::Offer { key, .. }
            | Command::Spend { key, .. }
            | Command::Return { key, .. } => key.clone(),
            Command::UseOffer { offer, order, .. } => format!("use\n{order}\n{offer}"),
        }
    }

    /// Digest of everything but the key. Written out by hand: it is stored, so it must never change.
    pub(super) fn digest(&self) -> u32 {
        let span = |span: &Span| format!("{}.{}.{}", span.months, span.days, span.ms);
        let body = match self {
            Command::Grant { points, reason, active_after, expires_after, .. }
            | Command::Hold { points, reason, active_after, expires_after, .. } => {
                let expires = expires_after.as_ref().map_or_else(|| "never".to_owned(), span);
                let word = if matches!(self, Command::Hold { .. }) { "hold" } else { "grant" };
                format!("{word} {points} {} {expires} {reason}", span(active_after))
            }
            Command::Offer { bundle, valid_for, .. } => format!("offer {} {bundle}", span(valid_for)),
            Command::UseOffer { .. } => "use".to_owned(),
            Command::Spend { points, .. } => format!("spend {points}"),
            Command::Return { of, .. } => format!("return {of}"),
        };
        let hash = Sha256::digest(body.as_bytes());
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    /// What is wrong with the command itself, whatever the account.
    pub(super) fn validate(&self) -> Result<(), String> {
        match self {
            Command::Grant { key, points, reason, expires_after, .. }
            | Command::Hold { key, points, reason, expires_after, .. } => {
                check_text("key", key, KEY_BYTES_MAX)?;
                check_points(*points)?;
                if reason.len() > TEXT_BYTES_MAX {
                    return Err(format!("the reason is longer than {TEXT_BYTES_MAX} bytes; shorten it"));
                }
                if expires_after.is_some_and(Span::is_zero) {
                    return Err("points that expire at once cannot be granted; give `expires_after` a length".to_owned());
                }
                Ok(())
            }
            Command::Offer { key, bundle, valid_for } => {
                check_text("key", key, KEY_BYTES_MAX)?;
                check_text("bundle", bundle, TEXT_BYTES_MAX)?;
                if valid_for.is_zero() {
                    return Err("an offer must hold for some time; give `valid_for` a length".to_owned());
                }
                Ok(())
            }
            Command::UseOffer { offer, order, .. } => {
                check_text("offer", offer, TEXT_BYTES_MAX)?;
                check_text("order", order, TEXT_BYTES_MAX)
            }
            Command::Spend { key, points } => {
                check_text("key", key, KEY_BYTES_MAX)?;
                check_points(*points)
            }
            Command::Return { key, of } => {
                check_text("key", key, KEY_BYTES_MAX)?;
                check_text("key of what is returned", of, KEY_BYTES_MAX)
            }
        }
    }
}

fn check_points(points: i64) -> Result<(), String> {
    if (1..=POINTS_MAX).contains(&points) {
        return Ok(());
    }
    Err(format!("{points} points cannot be booked; the number must be from 1 to {POINTS_MAX}"))
}

fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("the {what} is empty; name one"));
    }
    if text.len() > bytes_max {
        return Err(format!("the {what} is longer than {bytes_max} bytes; shorten it"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("the {what} has a control character in it; remove it"));
    }
    Ok(())
}

impl Reply {
    /// The reply as the outcome of an effect: what later steps read as `steps.<id>`.
    pub fn outcome(&self) -> Outcome {
        let text = |text: &str| Value::Text(text.to_owned());
        let mut data = Fields::new();
        match self {
            Reply::Refused { why } => return Outcome::Refused { why: why.clone() },
            Reply::Granted { points, state, active_at, expires_at } => {
                data.insert("points".to_owned(), Value::Int(*points));
                data.insert("state".to_owned(), text(state.name()));
                data.insert("active_at".to_owned(), Value::Time(*active_at));
                data.extend(expires_at.map(|at| ("expires_at".to_owned(), Value::Time(at))));
            }
            Reply::Offered { bundle, code, ends } => {
                data.insert("bundle".to_owned(), text(bundle));
                data.insert("code".to_owned(), text(code));
                data.insert("ends".to_owned(), Value::Time(*ends));
            }
            Reply::Used { bundle, code } => {
                data.insert("bundle".to_owned(), text(bundle));
                data.insert("code".to_owned(), text(code));
            }
            Reply::Spent { points } => {
                data.insert("points".to_owned(), Value::Int(*points));
            }
            Reply::Returned { change } => {
                data.insert("change".to_owned(), Value::Int(*change));
            }
        }
        Outcome::Accepted { reference: None, data }
    }
}
