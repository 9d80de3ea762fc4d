//! The built-in account's side of a turn: effects that it books, and what its changes mean.

use super::view::View;
use crate::account::{self, Account, Change, ChangeKind, Command};
use crate::customer::Customer;
use crate::effect::{Effect, Outcome};
use crate::event::Event;
use crate::fact::{Fact, What};
use crate::funnel::Workspace;
use crate::lang::time::Time;

/// Books an effect of the built-in account under the effect's own id; `None` when it is for a provider.
/// The same effect again books nothing and gives the same answer.
pub fn book(
    workspace: &Workspace,
    customer: &Customer,
    account: &Account,
    effect: &Effect,
    now: Time,
) -> Option<(Account, Outcome)> {
    let command = Command::from_effect(effect)?;
    let zone = customer.zone(workspace.settings.zone);
    let (account, reply) = account::apply(account, &command, now, zone);
    Some((account, reply.outcome()))
}

/// The event by which funnels hear of a change of the account.
pub(super) fn change_event(change: &Change) -> Event {
    let (name, properties) = change.event();
    let key = match &change.kind {
        ChangeKind::BonusActivated { key, .. } | ChangeKind::BonusExpired { key, .. } => key.clone(),
        ChangeKind::OfferExpired { code, .. } => code.clone(),
    };
    Event { id: format!("{name}:{key}"), name: name.to_owned(), time: change.at, properties, minor: None, depth: 1 }
}

/// The fact about a change of the account.
pub(super) fn change_fact(change: &Change) -> Fact {
    let (what, about, why, amount) = match &change.kind {
        ChangeKind::BonusActivated { points, reason, .. } => {
            (What::BonusActivated, format!("{points} points"), reason.clone(), Some(*points))
        }
        ChangeKind::BonusExpired { points, reason, .. } => {
            (What::BonusExpired, format!("{points} points"), reason.clone(), Some(*points))
        }
        ChangeKind::OfferExpired { bundle, .. } => (What::OfferExpired, bundle.clone(), String::new(), None),
    };
    Fact { at: change.at, what, about, run: None, why, seen: Vec::new(), amount }
}

/// What a condition sees of a customer outside any turn, for `explain` and previews.
pub fn view<'a>(workspace: &'a Workspace, customer: &'a Customer, now: Time) -> View<'a> {
    let zone = customer.zone(workspace.settings.zone);
    View { workspace, customer, now, zone, event: None, run: None }
}
