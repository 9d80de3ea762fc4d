//! Held points: booked, and neither seen nor spent until somebody says whether they are hers.
//!
//! Neither word can be heard twice to any effect, and they may come in any order with the booking itself: what is
//! taken back before it was booked is refused when it comes.

use super::command::Reply;
use super::record::{Booked, Booking, Hold, LineKind, LotState};
use super::{Account, tick};
use crate::lang::time::Time;

/// Held points become hers. `None`: nothing is held under this key (any more).
pub fn confirm(account: &Account, key: &str, now: Time) -> (Account, Option<Reply>) {
    let Some(index) = held(account, key) else { return (account.clone(), None) };
    let (mut next, untold) = tick(account, now);
    next.untold = untold;
    let Some(lot) = next.lot_mut(index) else { return (account.clone(), None) };
    lot.hold = Hold::Kept;
    let pending = lot.active_at.filter(|at| *at > now);
    lot.active_at = pending;
    lot.state = if pending.is_some() { LotState::Pending } else { LotState::Active };
    let (points, state, expires_at) = (lot.points, lot.state, lot.expires_at);
    match pending {
        Some(_) => next.line(now, index, 0, LineKind::Promised),
        None => next.line(now, index, points, LineKind::Granted),
    }
    (next, Some(Reply::Granted { points, state, active_at: pending.unwrap_or(now), expires_at }))
}

/// Held points do not become hers. What was not booked yet is refused when it comes; what is certain already stays.
pub fn cancel(account: &Account, key: &str, now: Time) -> Account {
    let (mut next, untold) = tick(account, now);
    next.untold = untold;
    match held(account, key) {
        Some(index) => {
            if let Some(lot) = next.lot_mut(index) {
                lot.hold = Hold::Dropped;
                lot.end(LotState::Cancelled);
            }
            next.line(now, index, 0, LineKind::Cancelled);
        }
        None if account.bookings.iter().all(|booking| booking.key != key) => {
            // No command has this digest in earnest, and if one had it would be refused all the same.
            let what = Booked::Refused("it was taken back before it was booked".to_owned());
            next.bookings.push(Booking { key: key.to_owned(), digest: 0, at: now, what });
        }
        None => return account.clone(),
    }
    next
}

/// The booking that is held under a key.
fn held(account: &Account, key: &str) -> Option<u32> {
    let is = |booking: &Booking| {
        booking.key == key && matches!(&booking.what, Booked::Grant(lot) if lot.hold == Hold::Open && lot.state == LotState::Held)
    };
    (0u32..).zip(&account.bookings).find(|(_, booking)| is(booking)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::super::{Command, apply, mirror, next_due};
    use super::*;
    use crate::customer::Loyalty;
    use crate::lang::time::{DAY_MS, Span};

    fn hold(active_after: Span, expires_after: Option<Span>) -> Account {
        let command = Command::Hold { key: "k".to_owned(), points: 50, reason: "r".to_owned(), active_after, expires_after };
        let (account, reply) = apply(&Account::default(), &command, Time(0), chrono_tz::UTC);
        assert!(matches!(reply, Reply::Granted { points: 50, state: LotState::Held, .. }), "{reply:?}");
        assert_eq!(apply(&account, &command, Time(9), chrono_tz::UTC), (account.clone(), reply), "heard again");
        account
    }

    fn shown(account: &Account) -> (i64, i64, i64) {
        let shown = mirror(account, Time(1), &Loyalty::default());
        (shown.balance, shown.pending, shown.granted)
    }

    fn spend(account: &Account, points: i64) -> Reply {
        apply(account, &Command::Spend { key: "s".to_owned(), points }, Time(2), chrono_tz::UTC).1
    }

    #[test]
    fn what_is_held_is_neither_seen_nor_spent_nor_does_time_touch_it() {
        let account = hold(Span::days(1), Some(Span::days(1)));
        assert_eq!((shown(&account), next_due(&account)), ((0, 0, 0), None));
        assert!(matches!(spend(&account, 1), Reply::Refused { .. }));
        let (later, changes) = tick(&account, Time(9 * DAY_MS));
        assert_eq!((later, changes), (account, Vec::new()));
    }

    #[test]
    fn confirmed_points_are_hers_once() {
        let (account, reply) = confirm(&hold(Span::default(), None), "k", Time(5));
        assert!(matches!(reply, Some(Reply::Granted { points: 50, state: LotState::Active, .. })));
        assert_eq!(shown(&account), (50, 0, 50));
        assert_eq!(confirm(&account, "k", Time(6)), (account.clone(), None));
        assert_eq!(cancel(&account, "k", Time(6)), account, "what is certain stays");
        assert_eq!(account.entries().map(|entry| entry.change).sum::<i64>(), account.balance());
        let (waiting, reply) = confirm(&hold(Span::days(1), None), "k", Time(5));
        assert!(matches!(reply, Some(Reply::Granted { state: LotState::Pending, .. })));
        assert_eq!((shown(&waiting), next_due(&waiting)), ((0, 50, 50), Some(Time(DAY_MS))));
    }

    #[test]
    fn taken_back_points_leave_no_trace_in_any_sum() {
        let account = cancel(&hold(Span::default(), None), "k", Time(5));
        assert_eq!(shown(&account), (0, 0, 0));
        assert_eq!((cancel(&account, "k", Time(6)), confirm(&account, "k", Time(6)).1), (account, None));
    }

    #[test]
    fn what_is_taken_back_before_it_was_booked_is_refused_when_it_comes() {
        let account = cancel(&Account::default(), "k", Time(0));
        let (active_after, expires_after) = (Span::default(), None);
        let command = Command::Hold { key: "k".to_owned(), points: 50, reason: "r".to_owned(), active_after, expires_after };
        let (after, reply) = apply(&account, &command, Time(1), chrono_tz::UTC);
        assert_eq!((after, matches!(reply, Reply::Refused { .. })), (account, true));
    }
}
