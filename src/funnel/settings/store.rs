//! `loyalty_store`: the built-in account, or a store of its own over HTTP.
//!
//! Its requests stay a node here, as those of providers do; read is what definitions must know of it: what it says of
//! a customer, how fresh that must be, and what its requests name.

use super::{LoyaltyStore, STORE, Settings};
use crate::customer::store::STORE_NAMES;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape;
use crate::lang::time::{MINUTE_MS, SECOND_MS, Span, Time};

/// How old data of a store may be, in milliseconds, where nothing else is said.
const MAX_AGE_MS: i64 = 5 * MINUTE_MS;
/// How often a parked grant is sent again, in milliseconds, where nothing else is said.
const ASK_AGAIN_MS: i64 = 10 * MINUTE_MS;
/// The value that means the built-in account.
const BUILT_IN: &str = "built_in";

impl LoyaltyStore {
    /// Reads the field; `None`: the account is built in, or there is an error.
    pub(super) fn read(node: &Node, settings: &Settings, faults: &mut Faults) -> Option<LoyaltyStore> {
        if let Some(word) = node.scalar() {
            if word != BUILT_IN {
                let shown: String = word.chars().take(40).collect();
                faults
                    .error("unknown-word", &node.place, format!("`{shown}` is no loyalty store"))
                    .did_you_mean(word, [BUILT_IN])
                    .hint_if_none("write `built_in`, or a map with `url:`, `grant:` and so on");
            }
            return None;
        }
        if settings.loyalty.is_some() {
            faults
                .error("two-stores", &node.place, "points are kept in one place, and `loyalty` names another")
                .hint("remove `loyalty:`, or `loyalty_store:`");
            return None;
        }
        let names = names(node, faults);
        let mut time = |name: &str, usual: i64, least: i64| match node.get(name).filter(|node| !node.is_null()) {
            Some(written) => elapsed(written, name, least, faults),
            None => Some(usual),
        };
        let max_age_ms = time("max_age", MAX_AGE_MS, 0)?;
        let ask_again_ms = time("ask_again", ASK_AGAIN_MS, SECOND_MS)?;
        let offers = node.get("offer").is_some_and(|offer| !offer.is_null());
        Some(LoyaltyStore { node: node.clone(), offers, names, max_age_ms, ask_again_ms })
    }

    /// Whether it can be asked for this.
    pub fn says(&self, name: &str) -> bool {
        self.names.iter().any(|said| said == name)
    }

    /// Whether a path such as `["customer", "balance"]` leads to what it says.
    pub fn is_read_by(&self, path: &[String]) -> bool {
        match path {
            [root, name, ..] => root == "customer" && self.says(name),
            [root] => root == "customer" && !self.names.is_empty(),
            [] => false,
        }
    }
}

/// What a lookup says, by the names of its `result`.
fn names(node: &Node, faults: &mut Faults) -> Vec<String> {
    let result = node.get("lookup").and_then(|lookup| lookup.get("result")).and_then(Node::map).unwrap_or_default();
    let mut names = Vec::new();
    for (key, _) in result {
        if STORE_NAMES.contains(&key.text.as_str()) {
            names.push(key.text.clone());
        } else {
            faults
                .error("unknown-field", &key.place, format!("a lookup has no use for `{}`", key.text))
                .did_you_mean(&key.text, STORE_NAMES.iter().copied())
                .hint_if_none(format!("it may say: {}", STORE_NAMES.join(", ")));
        }
    }
    names
}

/// A time in milliseconds, at least so long.
fn elapsed(node: &Node, name: &str, least: i64, faults: &mut Faults) -> Option<i64> {
    let span: Span = shape::span(node, faults)?;
    let ms = Time(0).plus(span, chrono_tz::UTC).0;
    if ms < least {
        faults
            .error("out-of-range", &node.place, format!("`{name}` is at least {} s", least / SECOND_MS))
            .hint(format!("write for example `{name}: 10 minutes`"));
        return None;
    }
    Some(ms)
}

/// Which of a settings' providers is the store, where it is remote: no provider may be called so.
pub(super) fn reserved(name: &str) -> Option<&'static str> {
    match name {
        super::ACCOUNT => Some("`account` is the built-in account of points"),
        STORE => Some("`loyalty_store` is the loyalty store itself"),
        _ => None,
    }
}
