//! The truth: one narrow trait over whatever keeps it, and the records that cross it.
//!
//! A store keeps for each customer her two documents (customer and account), her inbox, her outbox and
//! her one wake; for everybody the facts and figures of the read side, the definitions, and the memory
//! of event ids. What it promises is in [`Store`]; one contract suite (`tests/it/contract.rs`) runs over
//! every implementation. Nothing above this folder knows which store it is talking to.
//!
//! Order of one customer's inputs is the order of their acceptance. A commit is compare-and-set on the
//! version of her record, so no lock is needed for correctness; claims exist only so that work is not
//! done twice for nothing.

use crate::effect::{Effect, Outcome};
use crate::event::Input;
use crate::event::InputBody;
use crate::event::address::StopKind;
use crate::event::address::{Address, Stop};
use crate::fact::Fact;
use crate::fact::count::Terms;
use crate::lang::time::Time;
use crate::step::winner::Winner;
use applied::{Applied, Applying};
use futures_util::future::BoxFuture;
use known::Carried;
use pause::{Pausable, Pause};
use quantity::Quantity;
use serde::{Deserialize, Serialize};

pub mod applied;
mod digest;
pub mod failpoint;
pub mod jump;
pub mod known;
pub mod migrate;
pub mod pause;
pub mod quantity;
pub mod read;
pub mod redis;
pub mod sqlite;
pub mod told;

pub use failpoint::{failpoint, failpoint_names};

/// Most customers handed out by one claim.
pub const CLAIM_CUSTOMERS_MAX: usize = 64;
/// Most inputs of one customer handed to one turn; the rest waits for the next.
pub const CLAIM_INPUTS_MAX: usize = 100;
/// Days for which a provider's own id of a message is known.
pub const REFERENCE_DAYS: i64 = 30;
/// Bytes of the key that signs links.
pub const LINK_KEY_BYTES: usize = 32;
/// Crashes or panics of one input before it is put aside.
pub const QUARANTINE_AFTER: u32 = 3;

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Passing trouble; the same call may work in a moment.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Cannot work like this; a person has to do something.
    #[error("{0}")]
    Fatal(String),
    /// It was closed: nothing is taken any more.
    #[error("the store is closed; start the engine again")]
    Closed,
}

/// Result of a store call.
pub type StoreResult<T> = Result<T, StoreError>;

/// An input at the door. The store stamps `accepted_at`.
#[derive(Clone, Debug)]
pub struct NewInput {
    /// Whose inbox.
    pub customer: String,
    /// The source that sent it; with `id` and customer it identifies an event.
    pub source: String,
    /// The sender's id; `None` for what cannot be doubled (a command over the API).
    pub id: Option<String>,
    /// Digest of the body as sent (what a second delivery of the same id is compared with).
    pub digest: u32,
    /// What it is.
    pub body: InputBody,
}

/// What became of an input at the door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// Durable.
    New,
    /// This id was accepted before with the same body.
    Duplicate,
    /// This id was accepted before with another body; the first one is kept.
    Conflict,
}

/// A customer's record as stored.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Version to name in the commit; 0: there is no record yet.
    pub version: u64,
    /// The encoded customer document; empty when there is none.
    pub document: Vec<u8>,
    /// The encoded account; empty when there is none.
    pub account: Vec<u8>,
    /// Her gate as [`Store::begin`] compares it. An accept may have raised it since the document was
    /// written: the turn raises the document's own gate to at least this one, or everything that it
    /// decides is stale.
    pub gate: u32,
    /// There is no record because she was erased; what still arrives for her is to be dropped.
    pub erased: bool,
}

/// An input in the inbox.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Its place in the order of acceptance.
    pub seq: u64,
    /// The input.
    pub input: Input,
}

/// A customer that needs a turn.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Her id.
    pub customer: String,
    /// Her record.
    pub record: Record,
    /// Her inputs, oldest first, at most [`CLAIM_INPUTS_MAX`]; none when only her wake is due.
    pub inputs: Vec<Queued>,
    /// She has more inputs than these, the first of them accepted at this instant: her time does not go on
    /// past it.
    pub more_from: Option<Time>,
    /// The store's clock at the claim.
    pub now: Time,
}

/// The outcome of one turn, committed as a whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Whose.
    pub customer: String,
    /// The version that the turn read.
    pub base: u64,
    /// The new document.
    pub document: Vec<u8>,
    /// The new account, when it moved.
    pub account: Option<Vec<u8>>,
    /// Inputs consumed, by `seq`.
    pub consumed: Vec<u64>,
    /// The effect whose answer this turn consumed directly, to be removed from the outbox. The commit is
    /// void when it is no longer there: somebody else has settled it.
    pub settled: Option<String>,
    /// Addresses that are hers with this commit and were not before. Who has one is in the index before the commit
    /// can be seen, and what was said about one is in her inbox with it.
    pub addresses_taken: Vec<Address>,
    /// Addresses that were hers before this commit.
    pub addresses_left: Vec<Address>,
    /// This turn books that effect into the account: it is void while the effect is paused.
    pub books: bool,
    /// Effects to take back if they have not begun.
    pub withdrawn: Vec<String>,
    /// New effects.
    pub effects: Vec<Effect>,
    /// The caller delivers the new effects itself: they are handed out from birth and must be begun,
    /// retried or settled by it. (After a crash every effect is handed out anew.)
    pub hand_over: bool,
    /// What happened, for the timeline and the figures.
    pub facts: Vec<Fact>,
    /// In which terms the facts are counted.
    pub terms: Terms,
    /// Runs that began, changed or ended, for the read side.
    pub runs: Vec<RunRow>,
    /// Numbers of those that began in this turn.
    pub began: Vec<u64>,
    /// Runs that go on in another version of their funnel: the funnel, the version before, the version now.
    pub moved: Vec<(String, String, String)>,
    /// Her next wake.
    pub wake: Option<Time>,
    /// Her gate, compared by [`Store::begin`]; the kept one never goes down.
    pub gate: u32,
    /// Hash of the definitions that judged her, as [`Store::wake_unjudged`] compares it.
    pub judged: String,
    /// What lists and searches show of her.
    pub index: CustomerRow,
    /// Remove her altogether instead: documents, facts, rows.
    pub erase: bool,
}

/// A line of the list of customers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct CustomerRow {
    /// Her id.
    pub id: String,
    /// Name, or empty.
    pub name: String,
    /// E-mail address, or empty.
    pub email: String,
    /// Phone number, or empty.
    pub phone: String,
    /// The segments she is in.
    pub segments: Vec<String>,
}

/// A line of the list of runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunRow {
    /// Whose.
    pub customer: String,
    /// Number of the run within the customer.
    pub run: u64,
    /// Funnel.
    pub funnel: String,
    /// Full hash of the funnel's version.
    pub version: String,
    /// One of [`read::RUN_STATES`].
    pub state: String,
    /// The step it is at.
    pub step: String,
    /// When it began.
    pub entered: Time,
    /// When its next wake is, or when it ended.
    pub until: Option<Time>,
}

/// What became of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Committed {
    /// Durable.
    Done,
    /// Somebody else moved this customer first; nothing was changed.
    Conflict,
    /// What it books is paused; nothing was changed.
    Paused,
}

/// An effect handed to a deliver worker.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The effect.
    pub effect: Effect,
    /// Number of this hand-out: only who names it can begin or put back. 0: handed over from birth by the
    /// commit that made the effect.
    pub ticket: u64,
    /// Attempts begun so far.
    pub attempts: u32,
    /// An attempt began and nothing is known of it: the process died, or the call's answer was lost.
    pub ambiguous: bool,
    /// When the first ambiguous attempt began.
    pub ambiguous_since: Option<Time>,
    /// SHA-256 of the body of the first attempt; a different one must never be sent.
    pub body_digest: Option<Vec<u8>>,
    /// What the turn that decided it knew.
    pub known: Carried,
}

/// What the last gate says.
#[derive(Clone, PartialEq, Debug)]
pub enum Begin {
    /// Recorded as `sending`; go.
    Go {
        /// Number of this attempt, from 1.
        attempt: u32,
    },
    /// She has unread inputs: her turn goes first; the effect went back to the queue.
    TurnFirst,
    /// Gate or shelf life: the effect left the outbox and a `Stale` input is in her inbox instead; or, where
    /// an earlier attempt may have had its effect, its result [`Outcome::Unknown`].
    Stale,
    /// Its funnel, its provider or the workspace is paused: it went back to the queue.
    Paused,
    /// It is not there any more (withdrawn or settled), or not in this hand-out (it is handed out anew).
    Gone,
}

/// How an attempt failed, when the effect is to be tried again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// The effect.
    pub effect: String,
    /// The hand-out that it was tried in.
    pub ticket: u64,
    /// When to try again.
    pub due: Time,
    /// What went wrong, for people.
    pub why: String,
    /// Bytes were written and no answer came: it may have had its effect.
    pub ambiguous: bool,
}

/// What is known of an address. A customer may stand there who does not have it any more, or not yet; nobody who
/// has it is missing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AddressRow {
    /// Who has it, and since when she stands here.
    pub holders: Vec<(String, Time)>,
    /// What was said about it.
    pub stops: Vec<Stop>,
}

/// Something said about an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Saying {
    /// Nothing is to be sent there. The same again only makes it later.
    Stop(Stop),
    /// A message could not be delivered for the moment: the third within [`crate::event::address::SOFT_MS`] is a
    /// [`Saying::Stop`] of kind `Bounced`. The same id counts once.
    Soft {
        /// What it is when it is the third.
        stop: Stop,
        /// The sender's id of what happened.
        id: String,
    },
    /// What she said herself by this channel up to an instant is taken back.
    Lift {
        /// The channel.
        channel: String,
        /// What was said later stays.
        until: Time,
        /// Only what is of this kind.
        only: Option<StopKind>,
    },
}

/// What becomes of an input that was put aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It goes back into the inbox, behind everything that is there, as if it had just been accepted.
    Retry,
    /// It is dropped for good.
    Drop,
}

/// What a store promises. All calls are durable when they return `Ok`.
///
/// # Errors
/// [`StoreError::Unavailable`] may be retried as it is: no call has a second effect when repeated, and a
/// commit whose answer was lost shows as [`Committed::Conflict`]. [`StoreError::Fatal`] must end the
/// process.
pub trait Store: read::Reads + Send + Sync + 'static {
    /// The store's clock.
    fn now(&self) -> Time;

    /// By how much its clock has jumped, in milliseconds; then nothing is handed out (see [`jump`]). `None`: it has
    /// not.
    fn clock_jump(&self) -> Option<i64> {
        None
    }

    /// What part of all customers' effects this process delivers: above 0, at most 1.
    fn share(&self) -> f64 {
        1.0
    }

    /// Takes inputs into their customers' inboxes. All durable, or an error and none.
    fn accept(&self, inputs: Vec<NewInput>) -> BoxFuture<'_, StoreResult<Vec<Accepted>>>;

    /// Customers that have inputs or a due wake, wakes first, at most `max`. A claimed customer is handed
    /// out again only after [`Store::commit`] or [`Store::release`].
    fn claim(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<Claim>>>;

    /// Claims one customer if she is free and has no unread inputs (so that an effect's answer may be
    /// consumed at once); `None` otherwise.
    fn take(&self, customer: String) -> BoxFuture<'_, StoreResult<Option<Claim>>>;

    /// Commits turns and frees their customers. Each stands alone: one conflict does not stop another.
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, StoreResult<Vec<Committed>>>;

    /// Gives claimed customers back unchanged, to be claimed again.
    fn release(&self, customers: Vec<String>) -> BoxFuture<'_, StoreResult<()>>;

    /// Counts a crash against one of a customer's inputs (`None`: the first that was handed out with her, or her
    /// wake if none was) and frees her; at [`QUARANTINE_AFTER`] that input is put aside with its cause.
    fn fault(&self, customer: String, seq: Option<u64>, cause: String) -> BoxFuture<'_, StoreResult<()>>;

    /// Takes an input off the list of what was put aside. False: it is not on it, or not any more. A retried
    /// one is accepted anew: at the present instant, without a crash counted against it, and without the
    /// question whether it came before.
    fn unquarantine(&self, customer: String, seq: u64, fate: Fate) -> BoxFuture<'_, StoreResult<bool>>;

    /// Effects that are due and not handed out, at most `max`.
    fn claim_effects(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<Delivery>>>;

    /// The last gate before a call, and the record that it begins. `body_digest` is kept with the first
    /// attempt. A hand-out has one attempt: asked again under the same ticket, the store takes it that the
    /// answer was lost and nothing was sent.
    fn begin(&self, effect: String, ticket: u64, body_digest: Vec<u8>) -> BoxFuture<'_, StoreResult<Begin>>;

    /// Puts an effect back for another attempt, if it is still out under that ticket.
    fn retry(&self, retry: Retry) -> BoxFuture<'_, StoreResult<()>>;

    /// Removes an effect from the outbox and puts its answer into the customer's inbox, in one.
    fn settle(&self, effect: String, customer: String, outcome: Outcome) -> BoxFuture<'_, StoreResult<()>>;

    /// Takes an effect that waits out of the outbox, and puts into its customer's inbox that it was refused for
    /// this reason; or, where an earlier attempt may have had its effect, that its fate is unknown. False: it is in
    /// hand, or not there any more.
    fn drop_effect(&self, effect: String, customer: String, why: String) -> BoxFuture<'_, StoreResult<bool>>;

    /// Makes an effect that waits due at once. False: it is in hand, or not there any more.
    fn hasten(&self, effect: String, customer: String) -> BoxFuture<'_, StoreResult<bool>>;

    /// Makes the effects of a funnel or of a provider wait, or all of them: once this has returned, none begins.
    /// The same again replaces its reason.
    fn pause(&self, pause: Pause) -> BoxFuture<'_, StoreResult<()>>;

    /// Ends a pause: what waited for it is due. False: there was none.
    fn resume(&self, of: Pausable) -> BoxFuture<'_, StoreResult<bool>>;

    /// All pauses.
    fn pauses(&self) -> BoxFuture<'_, StoreResult<Vec<Pause>>>;

    /// Takes from a quantity that all processes share: as many as are wanted or fewer, but at least so many; 0: so
    /// many are not left. Together never more is taken than there is. Other than every other call it has a second
    /// effect when it is repeated: what was taken without a word is missing until the quantity's time is over.
    fn take_quantity(&self, quantity: Quantity, least: i64, want: i64) -> BoxFuture<'_, StoreResult<i64>>;

    /// Gives back what was taken of a quantity and not used. It is to be asked once: when no answer comes, nobody
    /// knows, and it counts as used.
    fn return_quantity(&self, name: String, count: i64) -> BoxFuture<'_, StoreResult<()>>;

    /// Keeps a workspace version and makes it current. The same version again changes nothing. `funnels`
    /// are its funnels' names, each with the full hash of the funnel's version, as [`RunRow::version`]
    /// names it.
    fn put_definitions(&self, hash: String, funnels: Vec<(String, String)>, bundle: Vec<u8>) -> BoxFuture<'_, StoreResult<()>>;

    /// The current workspace version and every other one that a live run is pinned to: hash and bundle,
    /// the current one first.
    fn definitions(&self) -> BoxFuture<'_, StoreResult<Vec<Bundle>>>;

    /// Keeps a workspace version and makes it current, and notes who did it, all in one. False: the current one is not the
    /// one before that it names, and nothing was done.
    fn apply(&self, applying: Applying) -> BoxFuture<'_, StoreResult<bool>>;

    /// What was applied, newest first.
    fn applied(&self) -> BoxFuture<'_, StoreResult<Vec<Applied>>>;

    /// Keeps a winner, unless one was chosen of that split before. False: one was, and it stays.
    fn choose(&self, winner: Winner) -> BoxFuture<'_, StoreResult<bool>>;

    /// The winners that were chosen, by funnel and split.
    fn winners(&self) -> BoxFuture<'_, StoreResult<Vec<Winner>>>;

    /// The files of a workspace version that was current once.
    fn bundle(&self, hash: String) -> BoxFuture<'_, StoreResult<Option<Vec<u8>>>>;

    /// Customers whose document was last judged by other definitions, for the background scan: ids after
    /// `after` in an order of the store's own, at most `max`; marks them ready. None: that was all.
    fn wake_unjudged(&self, hash: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>>;

    /// Keeps a token; the same digest again replaces it.
    fn put_token(&self, token: TokenRow) -> BoxFuture<'_, StoreResult<()>>;

    /// All tokens.
    fn tokens(&self) -> BoxFuture<'_, StoreResult<Vec<TokenRow>>>;

    /// Keeps what is said about an address and returns all that is known of it then. Repeating it does no harm.
    fn say(&self, address: Address, saying: Saying) -> BoxFuture<'_, StoreResult<AddressRow>>;

    /// What is known of an address.
    fn address(&self, address: Address) -> BoxFuture<'_, StoreResult<AddressRow>>;

    /// Keeps for [`REFERENCE_DAYS`] which effect a provider's own id of a message belongs to.
    fn keep_reference(&self, reference: Address, effect: String) -> BoxFuture<'_, StoreResult<()>>;

    /// The effect that a provider's own id of a message belongs to.
    fn reference(&self, reference: Address) -> BoxFuture<'_, StoreResult<Option<String>>>;

    /// The key with which this store's links are signed: made when it is first asked for, and never another.
    fn link_key(&self) -> BoxFuture<'_, StoreResult<Vec<u8>>>;

    /// Keeps a message for the development inbox. The same id again changes nothing.
    fn keep_message(&self, message: read::KeptMessage) -> BoxFuture<'_, StoreResult<()>>;

    /// Returns when there may be something to claim, and at the latest at the next due instant.
    fn wait_for_work(&self, which: Work) -> BoxFuture<'_, ()>;

    /// Drops what has outlived its retention; returns how many rows went. Small steps: safe under load.
    fn prune(&self) -> BoxFuture<'_, StoreResult<u64>>;

    /// Ends the store: what is under way is finished, then nothing is taken any more.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A new key for links.
fn new_link_key() -> StoreResult<Vec<u8>> {
    let mut key = vec![0; LINK_KEY_BYTES];
    getrandom::fill(&mut key)
        .map_err(|why| StoreError::Unavailable(format!("the system gives no random numbers ({why}); check the machine")))?;
    Ok(key)
}

/// A workspace version as kept: its hash and its bundle.
pub type Bundle = (String, Vec<u8>);

/// A token of a machine or a person; only its digest is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenRow {
    /// SHA-256 of the token.
    pub digest: Vec<u8>,
    /// What it is for, for people.
    pub name: String,
    /// `ingest`, `import`, `read`, `operate`, `admin`.
    pub scopes: Vec<String>,
    /// When it ends; `None`: never.
    pub expires: Option<Time>,
}

/// What a worker waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Customers to turn.
    Turns,
    /// Effects to deliver.
    Effects,
}
