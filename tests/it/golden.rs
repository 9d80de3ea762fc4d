//! Golden timelines: one small workspace per rule, the whole timeline compared as text. They are the contract of
//! the turn: a change of any line is a change of what customers see.

pub mod stage;

mod bounds;
mod calls;
mod caps;
mod dates;
mod effects;
mod entry;
mod loops;
mod modes;
mod order;
mod quiet;
mod samples;
mod series;
mod suppression;
mod tells;
mod time_alone;
mod waits;
