//! The read side: what lists, searches, timelines and figures are answered from.
//!
//! One set of SQLite tables with one set of queries, whichever store is in use. Every list has a bound
//! and a position to go on from. Nothing here is needed to decide anything.

use super::{CustomerRow, Record, RunRow, StoreResult};
use crate::effect::Effect;
use crate::fact::Fact;
use crate::lang::time::Time;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use crate::fact::count::Figure;
pub use crate::stats::{Asked, Counted};

/// Most rows of one page of any list.
pub const PAGE_ROWS_MAX: usize = 500;

/// In which state a run can be; who is `held_out` is only watched for the goal.
pub const RUN_STATES: &[&str] =
    &["waiting", "held", "sending", "review", "unresolved", "held_out", "finished", "exited", "stopped"];

/// Begins the names of lists that are kept as segments are, and are none.
pub const LIST_MARK: char = '$';
/// The list of customers with a grant that a blocked programme has not booked, or with an effect outside of any run whose
/// fate nobody knows.
pub const PARKED: &str = "$parked";
/// The list of customers whose reply in free words waits for a person.
pub const ASKED: &str = "$asked";

/// A message kept by the development inbox.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KeptMessage {
    /// The effect's id.
    pub id: String,
    /// Whose.
    pub customer: String,
    /// Channel.
    pub channel: String,
    /// Address.
    pub to: String,
    /// Funnel that sent it.
    pub funnel: String,
    /// Template.
    pub template: String,
    /// Subject, or empty.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML, or empty.
    pub html: String,
    /// When.
    pub at: Time,
}

/// A fact with its position in the customer's timeline.
#[derive(Clone, PartialEq, Debug)]
pub struct TimelineRow {
    /// Position; later facts have higher ones.
    pub seq: u64,
    /// Its place among the facts of one turn.
    pub index: u32,
    /// The fact.
    pub fact: Fact,
}

/// An effect in the outbox, for people.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OutboxRow {
    /// The effect's id.
    pub id: String,
    /// Whose.
    pub customer: String,
    /// When it is tried next.
    pub due: Time,
    /// Attempts begun.
    pub attempts: u32,
    /// The last failure, or empty.
    pub why: String,
}

/// All that is known of one effect in the outbox.
#[derive(Clone, PartialEq, Debug)]
pub struct Waiting {
    /// The effect.
    pub effect: Effect,
    /// When it is tried next.
    pub due: Time,
    /// Attempts begun.
    pub attempts: u32,
    /// Since when an attempt may have had its effect; `None`: none may.
    pub doubtful_since: Option<Time>,
    /// The last failure, or empty.
    pub why: String,
}

/// An input put aside because turns on it crashed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct QuarantineRow {
    /// Its number, unique within the customer: what [`super::Store::unquarantine`] names it by.
    pub seq: u64,
    /// Whose.
    pub customer: String,
    /// The input as JSON.
    pub input: String,
    /// What happened.
    pub cause: String,
    /// When.
    pub at: Time,
}

/// How much there is of what.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Customers.
    pub customers: u64,
    /// Inputs in inboxes.
    pub inbox: u64,
    /// Effects in the outbox.
    pub outbox: u64,
    /// Inputs put aside.
    pub quarantined: u64,
    /// Live runs by funnel and state.
    pub live_runs: Vec<(String, String, u64)>,
    /// Customers by segment.
    pub segments: Vec<(String, u64)>,
}

/// Which runs to list; an empty text means any.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of this customer.
    pub customer: String,
    /// Of this funnel.
    pub funnel: String,
    /// In this state.
    pub state: String,
}

/// Live runs at one step of one version of a funnel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveSteps {
    /// The funnel.
    pub funnel: String,
    /// Full hash of its version.
    pub version: String,
    /// The step.
    pub step: String,
    /// How many.
    pub count: u64,
}

/// Questions to the read side. Lists return at most `max` (and never more than [`PAGE_ROWS_MAX`]) rows.
///
/// What is read from a SQLite file has this by way of [`super::sqlite::FileBacked`].
pub trait ReadSide: Send + Sync {
    /// Facts of one customer, newest first, before position `before`.
    fn timeline(&self, customer: String, before: Option<u64>, max: usize) -> BoxFuture<'_, StoreResult<Vec<TimelineRow>>>;

    /// The newest facts of everybody after position `after`, oldest first, with their customers.
    fn facts_after(&self, after: u64, max: usize) -> BoxFuture<'_, StoreResult<Vec<(String, TimelineRow)>>>;

    /// Customers whose id, name, e-mail or phone begins with `query` (all when empty), by id after `after`.
    fn customers(&self, query: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<CustomerRow>>>;

    /// Customers in a segment or on a list such as [`PARKED`], in an order of the store's own.
    fn members(&self, segment: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>>;

    /// Runs, newest first.
    fn runs(&self, filter: RunFilter, max: usize) -> BoxFuture<'_, StoreResult<Vec<RunRow>>>;

    /// Live runs by funnel, version and step.
    fn live_steps(&self) -> BoxFuture<'_, StoreResult<Vec<LiveSteps>>>;

    /// Figures of the days from `from` to `to`, both included (`2027-03-28`).
    fn figures(&self, from: String, to: String) -> BoxFuture<'_, StoreResult<Vec<Figure>>>;

    /// What `stats` are made of.
    fn stats(&self, asked: Asked) -> BoxFuture<'_, StoreResult<Counted>>;

    /// Kept messages, newest first, of one customer or (empty) all, before an instant.
    fn messages(&self, customer: String, before: Option<Time>, max: usize) -> BoxFuture<'_, StoreResult<Vec<KeptMessage>>>;

    /// One kept message.
    fn message(&self, id: String) -> BoxFuture<'_, StoreResult<Option<KeptMessage>>>;
}

/// All questions of people: those to the read side, and what only the store itself knows.
pub trait Reads: ReadSide {
    /// A customer's record; `None` when she is unknown.
    fn record(&self, customer: String) -> BoxFuture<'_, StoreResult<Option<Record>>>;

    /// The outbox, next due first.
    fn outbox(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<OutboxRow>>>;

    /// One effect of the outbox; `None`: a customer of that id has none of that id.
    fn waiting(&self, effect: String, customer: String) -> BoxFuture<'_, StoreResult<Option<Waiting>>>;

    /// Inputs put aside, newest first.
    fn quarantine(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<QuarantineRow>>>;

    /// How much there is of what.
    fn counts(&self) -> BoxFuture<'_, StoreResult<Counts>>;
}
