//! The remote loyalty store of a played customer: a ledger of its own, that can be blocked, say no, or be down.

use crate::account::{self, Account, Command};
use crate::effect::{Effect, EffectKind, Outcome};
use crate::funnel::settings::LoyaltyStore;
use crate::lang::time::{Time, Zone};
use crate::lang::value::{Fields, Value};

/// What a store does with grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Booking {
    /// It books them.
    #[default]
    Active,
    /// Its programme is blocked.
    Parked,
    /// It says no.
    Refused,
}

/// A store as a test has it.
#[derive(Clone, Debug, Default)]
pub struct PlayedStore {
    /// What it does with grants.
    pub grants: Booking,
    /// Why it does not book them.
    pub reason: String,
    /// It does not answer at all, for good.
    pub down: bool,
    /// What it says of her beside or instead of what its ledger holds.
    pub says: Fields,
    ledger: Account,
}

impl PlayedStore {
    /// The answer to an effect; `None`: it is not for a store. `store` is how the settings describe it.
    pub fn answer(&mut self, effect: &Effect, store: Option<&LoyaltyStore>, now: Time, zone: Zone) -> Option<Outcome> {
        if matches!(effect.kind, EffectKind::Message(_) | EffectKind::Call(_)) || effect.provider().is_none() {
            return None;
        }
        if self.down {
            return Some(Outcome::Dead { why: "the loyalty store is down".to_owned(), attempts: 1 });
        }
        if let EffectKind::Lookup(_) = effect.kind {
            return Some(Outcome::Accepted { reference: None, data: self.known(store, now) });
        }
        let why = |usual: &str| if self.reason.is_empty() { usual.to_owned() } else { self.reason.clone() };
        match (self.grants, &effect.kind) {
            (Booking::Parked, EffectKind::Grant(_)) => {
                let why = why("the programme is blocked");
                return Some(Outcome::Parked { why, grant: Box::new(effect.clone()), alert: false });
            }
            (Booking::Refused, EffectKind::Grant(_)) => return Some(Outcome::Refused { why: why("the store says no") }),
            _ => {}
        }
        let (ledger, reply) = account::apply(&self.ledger, &booked(effect)?, now, zone);
        self.ledger = ledger;
        Some(reply.outcome())
    }

    /// What it says when it is asked, of what the settings ask for.
    fn known(&self, store: Option<&LoyaltyStore>, now: Time) -> Fields {
        let ledger = account::mirror(&self.ledger, now, &Default::default());
        let mut known = Fields::from([
            ("balance".to_owned(), Value::Int(ledger.balance)),
            ("pending".to_owned(), Value::Int(ledger.pending)),
        ]);
        known.extend(ledger.next_expiry.map(|at| ("next_expiry".to_owned(), Value::Time(at))));
        known.extend(self.says.clone());
        known.retain(|name, _| store.is_some_and(|store| store.says(name)));
        known
    }
}

/// The command that a store's ledger gets: what the built-in account would get.
fn booked(effect: &Effect) -> Option<Command> {
    let mut own = effect.clone();
    match &mut own.kind {
        EffectKind::Grant(grant) => grant.provider = None,
        EffectKind::Offer(offer) => offer.provider = None,
        EffectKind::Message(_) | EffectKind::Lookup(_) | EffectKind::Call(_) | EffectKind::Tell(_) => {}
    }
    Command::from_effect(&own)
}
