//! Golden timelines: one small workspace per rule, the whole timeline compared as text. They are the contract of
//! the turn: a change of any line is a change of what customers see.

pub mod stage;

mod backfill;
mod bounds;
mod calls;
mod caps;
mod carts;
mod channels;
mod dates;
mod deadlines;
mod effects;
mod entry;
mod holdout;
mod loops;
mod membership;
mod modes;
mod occasions;
mod order;
mod quiet;
mod samples;
mod series;
mod store;
mod suppression;
mod tells;
mod time_alone;
mod undo;
mod unsure;
mod waits;
