//! What the doors ask of whoever can exchange the workspace of a running engine.

use crate::engine::intake::Refusal;
use crate::funnel::Files;
use crate::store::StoreError;
use futures_util::future::BoxFuture;
use serde_json::Value as Json;

/// A workspace, by its files or as a version that was in force once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Named {
    /// Its files.
    Files(Files),
    /// The beginning of its hash.
    Version(String),
}

/// A workspace that somebody wants to be in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Which.
    pub workspace: Named,
    /// The hash of the one that it was compared with.
    pub base: String,
    /// The name of the token.
    pub by: String,
    /// Why, for people; may be empty.
    pub note: String,
}

/// Why a workspace is not planned or applied.
#[derive(Debug)]
pub enum Unfit {
    /// It has faults: as `check` lists them.
    Faults(Json),
    /// Another one is in force by now.
    Moved(Refusal),
    /// Live runs need what it lacks, or this process cannot take it.
    Refused(Refusal),
    /// It is not known.
    NoSuch(Refusal),
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for Unfit {
    fn from(error: StoreError) -> Unfit {
        Unfit::Store(error)
    }
}

/// Exchanges the workspace of a running engine.
pub trait Workspaces: Send + Sync {
    /// What is in force, since when, by whom, and what was applied before.
    fn shown(&self) -> BoxFuture<'_, Result<Json, Unfit>>;

    /// What would change.
    fn plan(&self, workspace: Named) -> BoxFuture<'_, Result<Json, Unfit>>;

    /// Makes it the one in force.
    fn apply(&self, order: Order) -> BoxFuture<'_, Result<Json, Unfit>>;
}
