//! Which offer a purchase takes up.

use super::apply::is_named;
use super::{Account, OfferState, OfferView};
use crate::catalog::{Bundle, Catalog};
use crate::event::{Event, words};
use crate::lang::value::Value;
use crate::money::Dec;
use std::collections::BTreeMap;

/// The bundle of the offer that a purchase takes up, if any: among the unused offers that held at the
/// purchase's own time the one that its `offer` or `code` names, else one whose bundle is wholly among its
/// `items` (an item without a quantity counts once). Of several the one that ends first.
///
/// The offer is then used by [`Command::UseOffer`](super::Command::UseOffer) with the purchase's time.
pub fn match_purchase(account: &Account, catalog: &Catalog, event: &Event) -> Option<String> {
    if event.name != words::PURCHASE {
        return None;
    }
    let mut held: Vec<OfferView<'_>> =
        account.offers().filter(|offer| offer.state != OfferState::Used && offer.held_at(event.time)).collect();
    held.sort_by_key(|offer| offer.ends);
    let named: Vec<&str> = ["offer", "code"].iter().filter_map(|name| event.property(name)).filter_map(Value::as_text).collect();
    let by_name = held.iter().find(|offer| named.iter().any(|name| is_named(offer.bundle, offer.code, name)));
    let bought = quantities(event);
    let by_items = || held.iter().find(|offer| catalog.bundle(offer.bundle).is_some_and(|bundle| contains(&bought, bundle)));
    by_name.or_else(by_items).map(|offer| offer.bundle.to_owned())
}

/// How much of each product was bought. What has no `sku` counts for nothing.
fn quantities(event: &Event) -> BTreeMap<&str, i128> {
    let mut bought = BTreeMap::new();
    if let Some(Value::List(items)) = event.property("items") {
        for item in items {
            let Some(sku) = item.get("sku").and_then(Value::as_text) else { continue };
            let quantity = item.get("quantity").and_then(Value::as_dec).map_or(i128::from(ONE.0), |n| i128::from(n.0));
            *bought.entry(sku).or_insert(0) += quantity;
        }
    }
    bought
}

/// One piece, in the millionths that quantities are compared in (half a kilogram is a quantity too).
const ONE: Dec = Dec(1_000_000);

fn contains(bought: &BTreeMap<&str, i128>, bundle: &Bundle) -> bool {
    let mut needed: BTreeMap<&str, i128> = BTreeMap::new();
    for item in &bundle.items {
        *needed.entry(&item.sku).or_insert(0) += i128::from(item.quantity) * i128::from(ONE.0);
    }
    !needed.is_empty() && needed.iter().all(|(sku, quantity)| bought.get(sku).is_some_and(|have| have >= quantity))
}
