//! Points that are taken back in part: the order that they were given for is smaller now.

use super::record::{Booked, LineKind, LotState};
use super::{Account, tick};
use crate::lang::time::Time;

/// Takes so many points of a grant away, or as many as are left of it; answers how many that were. It belongs to the
/// turn that decided it and is done once with it, so it has no key of its own.
pub fn lessen(account: &Account, key: &str, points: i64, now: Time) -> (Account, i64) {
    let (mut next, untold) = tick(account, now);
    next.untold = untold;
    let grant = |booked: &Booked| matches!(booked, Booked::Grant(_));
    let found = (0u32..).zip(&next.bookings).find(|(_, booking)| booking.key == key && grant(&booking.what));
    let Some(index) = found.map(|(index, _)| index) else { return (account.clone(), 0) };
    let Some(lot) = next.lot_mut(index) else { return (account.clone(), 0) };
    let taken = points.min(lot.left());
    if taken <= 0 || !matches!(lot.state, LotState::Pending | LotState::Active) {
        return (account.clone(), 0);
    }
    let spendable = lot.state == LotState::Active;
    if taken == lot.left() {
        lot.end(LotState::Cancelled);
    } else {
        lot.gone += taken;
    }
    next.line(now, index, if spendable { -taken } else { 0 }, LineKind::Cancelled);
    (next, taken)
}
