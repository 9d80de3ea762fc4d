//! Golden timelines: one small workspace per rule, the whole timeline compared as text. They are the contract of
//! the turn: a change of any line is a change of what customers see.

pub mod stage;

mod bounds;
mod caps;
mod carts;
mod channels;
mod dates;
mod deadlines;
mod effects;
mod entry;
mod holdout;
mod loops;
mod order;
mod quiet;
mod samples;
mod series;
mod suppression;
mod time_alone;
mod waits;
