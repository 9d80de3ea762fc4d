//! autofunnel: a loyalty auto-funnel engine.
//!
//! Marketers write funnels in YAML; customers' events and dates drive them; an apalis queue over the store
//! executes them; messages and bonus points come out. One sentence holds it together: **one customer, one
//! document, one turn, one commit.** Everything that happens to a customer is an *input* in her inbox. A
//! *turn* takes her document and her inputs, decides everything with a pure function, and commits the whole
//! outcome at once. What is to happen in the outside world leaves through an *outbox* and comes back as one
//! more input.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | customer | a person known by an id; her *document* holds profile, consent, recent history, segments, runs |
//! | event | something that happened to a customer |
//! | source | turns a foreign webhook into events and checks its signature |
//! | segment | a named condition; she enters and leaves it at an exact instant |
//! | funnel | trigger, rules of entry and exit, goal, steps |
//! | run | one customer's way through one version of one funnel |
//! | effect | what the outside is asked to do, with an idempotency key: message, grant, offer, lookup |
//! | fact | one line of what happened and why |
//! | wake | the one instant at which a customer next needs a turn though nothing happens |
//!
//! # The road of an event
//!
//! ```text
//!  POST /v1/events · /hooks/{source}          web ─► engine::intake    parse, check; nothing is decided
//!        │ durable before 2xx
//!        ▼
//!   inbox ◄──────────────────────────────────┐ store                   the only way in
//!        │ claim                             │
//!   turn(definitions, customer, inputs, now) │ queue ─► engine::turner ─► turn
//!        │ document + effects + facts + wake │
//!        ▼                                   │
//!   commit (compare-and-set, atomic)         │ store
//!        │                                   │
//!   outbox ─► begin ─► provider or account ──┘ queue ─► engine::deliver ─► channel | account
//! ```
//! Read it in this order: [`web`] → [`engine::intake`] → [`queue`] → [`engine::turner`] → [`turn`] →
//! [`store::Store::commit`] → [`engine::deliver`] → [`channel`] or [`account`].
//!
//! # Layers
//!
//! A module imports only from rows below its own (`tests/tidy.rs` enforces it).
//! ```text
//! cli      doors for people                       app      wiring; the only place that names concrete stores
//! web      doors for machines, the pages          engine   intake, turner, deliver, caretaker, clock
//! loyalty  a remote loyalty store, carried by a channel
//! queue | channel | source   apalis backends, providers, webhooks        store | wire   truth, the HTTP client
//! ─────────────────────────── everything below is pure: no async, I/O, clock, randomness ───────────────────
//! trial    funnel tests   simulate  many customers   stats    figures put together
//! play     a customer on a virtual clock
//! turn     the decision                           account  the ledger
//! funnel   checked workspaces and their versions  step | trigger   one file per kind
//! segment | watch                                 template | catalog
//! customer the document                           event   fact      effect      lang     money
//! ```
//!
//! # Decisions
//!
//! | decision | reason | what would reopen it |
//! |---|---|---|
//! | a YAML tree of our own over `saphyr-parser`'s events | every shape fault at once, each with its place; aliases are never expanded | a serde YAML library that reports all faults with spans |
//! | CEL parsed and checked by us | exact columns, bounded depth, types and *valid until* from one tree | a CEL crate with a type checker and spans |
//! | one writer thread, group commit; on Redis a script per batch | the disk's flush and the round trip are what costs | a store in which commits of different customers run side by side |
//! | claims live in the memory of the process that owns the file or the shard | a crash hands everything out anew; in Redis a mark says what was in hand | claims that outlive their owner |
//! | on Redis one declared key per item, the rest is made in the script with the shard's tag | a third of a script's cost was keys and arguments | a Redis that checks every key |
//! | the read side is SQLite tables everywhere | one set of queries; Redis neither lists nor counts | figures that must be read where they are written |
//! | the account is a second document of the customer | a grant and the step that follows it are one commit | a ledger shared between customers |

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod account;
pub mod app;
pub mod catalog;
pub mod channel;
pub mod cli;
pub mod customer;
pub mod effect;
pub mod engine;
pub mod event;
pub mod fact;
pub mod funnel;
pub mod lang;
pub mod loyalty;
pub mod money;
pub mod play;
pub mod queue;
pub mod segment;
pub mod simulate;
pub mod source;
pub mod stats;
pub mod step;
pub mod store;
pub mod template;
pub mod trial;
pub mod trigger;
pub mod turn;
pub mod watch;
pub mod web;
pub mod wire;
