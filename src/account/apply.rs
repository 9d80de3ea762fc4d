//! How a command moves an account: heard before → the first reply; else checked as a whole, then booked.

use super::command::{Command, Reply};
use super::record::{Booked, Booking, Hold, Line, LineKind, Lot, LotState, Offer, OfferState, Return, Spend};
use super::{Account, POINTS_MAX, RECORDS_MAX, tick};
use crate::lang::time::{Span, Time, Zone};
use sha2::{Digest, Sha256};

/// Letters of an offer's code: no I, L, O, U, so that it can be read out on the phone.
const CODE_LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Length of an offer's code, in letters of five bits.
const CODE_LETTERS_COUNT: usize = 10;

/// Moves an account by a command. What time did before `now` is done first, and told by the next
/// [`tick`](super::tick()). A command that was heard before changes nothing and gets its first reply; another command under
/// a key that is taken is refused. A refusal that depends on the account is remembered like any reply:
/// who wants to try again takes a new key.
///
/// Days and months of spans are those of `zone`, the customer's.
pub fn apply(account: &Account, command: &Command, now: Time, zone: Zone) -> (Account, Reply) {
    if let Err(why) = command.validate() {
        return (account.clone(), Reply::Refused { why });
    }
    if let Some(reply) = heard(account, command) {
        return (account.clone(), reply);
    }
    if account.record_count() >= RECORDS_MAX {
        let why = format!("the account has reached its {RECORDS_MAX} records and takes no more; move the customer to a new id");
        return (account.clone(), Reply::Refused { why });
    }
    let (mut next, untold) = tick(account, now);
    next.untold = untold;
    let booked = match command {
        Command::Grant { points, reason, active_after, expires_after, .. } => {
            grant(&next, *points, reason, now, now.plus(*active_after, zone), *expires_after, zone)
        }
        Command::Hold { points, reason, active_after, expires_after, .. } => {
            grant(&next, *points, reason, now, now.plus(*active_after, zone), *expires_after, zone).map(held)
        }
        Command::Offer { key, bundle, valid_for } => Ok(offer(key, bundle, now.plus(*valid_for, zone))),
        Command::UseOffer { offer, order, at } => use_offer(&mut next, offer, order, *at),
        Command::Spend { points, .. } => spend(&next, *points),
        Command::Return { of, .. } => give_back(&mut next, of, now),
    };
    let what = booked.unwrap_or_else(Booked::Refused);
    let reply = next.reply_of(&what, now);
    next.book(Booking { key: command.key(), digest: command.digest(), at: now, what });
    (next, reply)
}

/// The reply to a command whose key is taken.
fn heard(account: &Account, command: &Command) -> Option<Reply> {
    let key = command.key();
    let booking = account.bookings.iter().find(|booking| booking.key == key)?;
    if booking.digest == command.digest() {
        return Some(account.reply_of(&booking.what, booking.at));
    }
    Some(Reply::Refused { why: format!("the key `{key}` was used for another command; take a new key") })
}

pub(super) fn is_named(bundle: &str, code: &str, named: &str) -> bool {
    bundle == named || code.eq_ignore_ascii_case(named.trim())
}

fn grant(
    account: &Account,
    points: i64,
    reason: &str,
    now: Time,
    active_at: Time,
    expires_after: Option<Span>,
    zone: Zone,
) -> Result<Booked, String> {
    // What is held may become hers.
    let granted: i64 = account.lots().map(|lot| lot.points).sum();
    if granted.checked_add(points).is_none_or(|sum| sum > POINTS_MAX) {
        return Err(format!("{points} more points on top of {granted} granted so far would exceed {POINTS_MAX}; grant fewer"));
    }
    let pending = active_at > now;
    Ok(Booked::Grant(Lot {
        points,
        gone: 0,
        reason: reason.to_owned(),
        state: if pending { LotState::Pending } else { LotState::Active },
        hold: Hold::None,
        active_at: pending.then_some(active_at),
        expires_at: expires_after.map(|span| active_at.plus(span, zone)),
    }))
}

/// The same grant, held.
fn held(booked: Booked) -> Booked {
    match booked {
        Booked::Grant(lot) => Booked::Grant(Lot { state: LotState::Held, hold: Hold::Open, ..lot }),
        other => other,
    }
}

fn offer(key: &str, bundle: &str, ends: Time) -> Booked {
    let hash = Sha256::digest(format!("offer\n{key}\n{bundle}").as_bytes());
    let letters = hash.iter().take(CODE_LETTERS_COUNT).map(|byte| char::from(CODE_LETTERS[usize::from(byte % 32)]));
    Booked::Offer(Offer { bundle: bundle.to_owned(), code: letters.collect(), ends, state: OfferState::Open, order: None })
}

/// Marks the offer as used: of several that held and are unused the one that ends first. An order that has
/// used one of that name already, under its code or its bundle's name, does not use another.
fn use_offer(account: &mut Account, named: &str, order: &str, at: Time) -> Result<Booked, String> {
    let mut best: Option<(Time, u32)> = None;
    for (index, booking) in (0u32..).zip(&account.bookings) {
        let Booked::Offer(offer) = &booking.what else { continue };
        if !is_named(&offer.bundle, &offer.code, named) {
            continue;
        }
        if offer.order.as_deref() == Some(order) {
            return Ok(Booked::Use(index));
        }
        let held = booking.at <= at && at < offer.ends && offer.state != OfferState::Used;
        if held && best.is_none_or(|(ends, _)| offer.ends < ends) {
            best = Some((offer.ends, index));
        }
    }
    let (_, index) = best.ok_or_else(|| format!("no unused offer `{named}` held at {at}; ask for the customer's open offers"))?;
    if let Some(offer) = account.offer_mut(index) {
        (offer.state, offer.order) = (OfferState::Used, Some(order.to_owned()));
    }
    Ok(Booked::Use(index))
}

/// Which lots pay: those that run out first, of these the oldest.
fn spend(account: &Account, points: i64) -> Result<Booked, String> {
    let balance = account.balance();
    if balance < points {
        return Err(format!("{points} points cannot be spent, the balance is {balance}; try fewer, under a new key"));
    }
    let mut lots: Vec<(Option<Time>, u32, i64)> = (0u32..)
        .zip(&account.bookings)
        .filter_map(|(index, booking)| match &booking.what {
            Booked::Grant(lot) if lot.state == LotState::Active => Some((lot.expires_at, index, lot.left())),
            _ => None,
        })
        .collect();
    lots.sort_unstable_by_key(|(expires_at, index, _)| (expires_at.is_none(), *expires_at, *index));
    let mut due = points;
    let mut out_of = Vec::new();
    for (_, index, left) in lots {
        let part = left.min(due);
        if part > 0 {
            out_of.push((index, part));
            due -= part;
        }
    }
    Ok(Booked::Spend(Spend { points, out_of }))
}

/// Undoes the booking of that key.
fn give_back(account: &mut Account, of: &str, now: Time) -> Result<Booked, String> {
    let found = (0u32..).zip(&account.bookings).find(|(_, booking)| booking.key == of);
    let (index, booking) = found.ok_or_else(|| format!("nothing was booked under `{of}`; name the key of a grant or a spend"))?;
    let done = |booking: &Booking| matches!(&booking.what, Booked::Return(undone) if undone.of == index);
    if account.bookings.iter().any(done) {
        return Err(format!("`{of}` has been returned already; there is nothing left to do"));
    }
    let change = match &booking.what {
        Booked::Spend(spend) => account.put_back(&spend.clone(), now),
        Booked::Grant(_) => account.cancel(index),
        _ => return Err(format!("`{of}` is neither a grant nor a spend; name the key of one")),
    };
    Ok(Booked::Return(Return { of: index, change }))
}

impl Account {
    /// The reply as it was when `what` was booked at `at`, whatever became of it since.
    fn reply_of(&self, what: &Booked, at: Time) -> Reply {
        match what {
            Booked::Grant(lot) => Reply::Granted {
                points: lot.points,
                state: match (lot.hold, lot.active_at) {
                    (Hold::None, Some(_)) => LotState::Pending,
                    (Hold::None, None) => LotState::Active,
                    _ => LotState::Held,
                },
                active_at: lot.active_at.unwrap_or(at),
                expires_at: lot.expires_at,
            },
            Booked::Spend(spend) => Reply::Spent { points: spend.points },
            Booked::Return(undone) => Reply::Returned { change: undone.change },
            Booked::Offer(offer) => Reply::Offered { bundle: offer.bundle.clone(), code: offer.code.clone(), ends: offer.ends },
            Booked::Use(index) => match self.bookings.get(*index as usize).map(|booking| &booking.what) {
                Some(Booked::Offer(offer)) => Reply::Used { bundle: offer.bundle.clone(), code: offer.code.clone() },
                // Only a damaged account can come here: a use is booked with the index of an offer.
                _ => Reply::Refused { why: "the offer that was used is missing from the account; restore a backup".to_owned() },
            },
            Booked::Refused(why) => Reply::Refused { why: why.clone() },
        }
    }

    fn offer_mut(&mut self, index: u32) -> Option<&mut Offer> {
        match &mut self.bookings.get_mut(index as usize)?.what {
            Booked::Offer(offer) => Some(offer),
            _ => None,
        }
    }

    pub(super) fn lot_mut(&mut self, index: u32) -> Option<&mut Lot> {
        match &mut self.bookings.get_mut(index as usize)?.what {
            Booked::Grant(lot) => Some(lot),
            _ => None,
        }
    }

    /// Puts a spend's points back into their lots and answers how many of them can be spent again. Those
    /// of a lot that has ended meanwhile end with it.
    fn put_back(&mut self, spend: &Spend, now: Time) -> i64 {
        let mut alive = 0;
        for (index, points) in &spend.out_of {
            let Some(lot) = self.lot_mut(*index) else { continue };
            let ended = matches!(lot.state, LotState::Expired | LotState::Cancelled);
            if !ended && lot.expires_at.is_none_or(|at| now < at) {
                lot.gone -= points;
                lot.state = LotState::Active;
                alive += points;
            }
        }
        alive
    }

    /// Takes a grant back and answers by how much the balance moves. What was spent of it stays spent.
    fn cancel(&mut self, index: u32) -> i64 {
        let Some(lot) = self.lot_mut(index) else { return 0 };
        let spendable = lot.state == LotState::Active;
        let left = lot.end(LotState::Cancelled);
        if spendable { -left } else { 0 }
    }

    /// Appends a line for booking number `booking`.
    pub(super) fn line(&mut self, at: Time, booking: u32, change: i64, kind: LineKind) {
        self.lines.push(Line { at, booking, change, kind });
    }

    /// Appends a booking with its lines, and takes what a spend takes out of its lots.
    fn book(&mut self, booking: Booking) {
        // Bounded by RECORDS_MAX, which is far below what 32 bits can count.
        let index = u32::try_from(self.bookings.len()).unwrap_or(u32::MAX);
        let at = booking.at;
        match &booking.what {
            Booked::Grant(lot) if lot.state == LotState::Held => self.line(at, index, 0, LineKind::Held),
            Booked::Grant(lot) if lot.state == LotState::Pending => self.line(at, index, 0, LineKind::Promised),
            Booked::Grant(lot) => self.line(at, index, lot.points, LineKind::Granted),
            Booked::Spend(spend) => {
                for (from, points) in &spend.out_of {
                    if let Some(lot) = self.lot_mut(*from) {
                        lot.gone += points;
                        lot.state = if lot.left() == 0 { LotState::Spent } else { LotState::Active };
                    }
                }
                self.line(at, index, -spend.points, LineKind::Spent);
            }
            Booked::Return(undone) => self.return_lines(at, index, undone),
            Booked::Offer(_) | Booked::Use(_) | Booked::Refused(_) => {}
        }
        self.bookings.push(booking);
    }

    /// A grant taken back is one line; a spend given back is what it was, less what has lapsed meanwhile.
    fn return_lines(&mut self, at: Time, index: u32, undone: &Return) {
        match self.bookings.get(undone.of as usize).map(|booking| &booking.what) {
            Some(Booked::Spend(spend)) => {
                let points = spend.points;
                self.line(at, index, points, LineKind::Returned);
                if points > undone.change {
                    self.line(at, index, undone.change - points, LineKind::Lapsed);
                }
            }
            _ => self.line(at, index, undone.change, LineKind::Cancelled),
        }
    }
}
