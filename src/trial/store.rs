//! The remote loyalty store of a test: what it says of her, and what it does with grants.

use super::read::Reader;
use crate::customer::store::{STORE_NAMES, fitted};
use crate::funnel::schema::{STORE_FIELDS, STORE_GRANTS};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{self, Object};
use crate::lang::value::Fields;
use crate::play::store::{Booking, PlayedStore};

/// What a store says or does from now on; what is not said stays.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct StoreChange {
    grants: Option<Booking>,
    reason: Option<String>,
    down: Option<bool>,
    says: Fields,
}

impl StoreChange {
    /// Makes it so.
    pub fn apply(self, store: &mut PlayedStore) {
        store.grants = self.grants.unwrap_or(store.grants);
        store.reason = self.reason.unwrap_or_else(|| std::mem::take(&mut store.reason));
        store.down = self.down.unwrap_or(store.down);
        store.says.extend(self.says);
    }
}

impl Reader<'_> {
    /// `{ balance: 120, grants: parked }`.
    pub(super) fn store(&self, node: &Node, faults: &mut Faults) -> Option<StoreChange> {
        let object = Object::read(node, &[STORE_FIELDS], "`store`", faults)?;
        if self.workspace.settings.loyalty.is_none() {
            faults
                .error("built-in-store", &node.place, "points are kept by the built-in account, which is there and never blocked")
                .hint("remove the line, or name a store under `loyalty_store` in autofunnel.yaml");
            return None;
        }
        let grants = object.word("grants", STORE_GRANTS, faults).map(|word| match word {
            "parked" => Booking::Parked,
            "refused" => Booking::Refused,
            _ => Booking::Active,
        });
        let mut says = Fields::new();
        for name in STORE_NAMES {
            let Some(value) = object.node(name) else { continue };
            if !self.workspace.settings.loyalty_store.as_ref().is_some_and(|store| store.says(name)) {
                faults
                    .error("not-asked", &value.place, format!("the store is not asked for `{name}`"))
                    .hint("name it under `loyalty_store: { lookup: { result: … } }` in autofunnel.yaml");
                continue;
            }
            let Some(data) = shape::data(value, faults) else { continue };
            let one: Fields = [((*name).to_owned(), data)].into();
            match fitted(one) {
                Ok(fitted) if !fitted.is_empty() => says.extend(fitted),
                Ok(_) => {
                    faults.error("wrong-type", &value.place, format!("the store cannot say this of `{name}`"));
                }
                Err(why) => {
                    faults.error("too-large", &value.place, why);
                }
            }
        }
        let down = object.node("down").and_then(|node| shape::boolean(node, faults));
        Some(StoreChange { grants, reason: object.text("reason", faults).map(|text| text.text), down, says })
    }
}
