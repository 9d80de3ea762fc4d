//! Workspaces that were applied to a running engine: which, by whom, when.
//!
//! An engine that is started takes the workspace of its folder, until one was applied: from then on what the store has
//! counts, whatever a folder says.

use crate::lang::time::Time;
use serde::{Deserialize, Serialize};

/// Most of them that a store remembers; older ones are forgotten, their files are not.
pub const APPLIED_MAX: usize = 200;

/// A workspace that was applied.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// Its hash.
    pub hash: String,
    /// When.
    pub at: Time,
    /// The name of the token that did it.
    pub by: String,
    /// Why, for people; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The hash of the one before; empty where there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before: String,
}

/// A workspace that is to be made current.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applying {
    /// What is noted of it; `applied.before` must be the current one, or nothing is done.
    pub applied: Applied,
    /// Its funnels' names, each with the full hash of the funnel's version.
    pub funnels: Vec<(String, String)>,
    /// Its files.
    pub bundle: Vec<u8>,
}

/// Adds to what was applied before, oldest first.
pub fn note(mut before: Vec<Applied>, applied: Applied) -> Vec<Applied> {
    before.push(applied);
    let surplus = before.len().saturating_sub(APPLIED_MAX);
    before.drain(..surplus);
    before
}
