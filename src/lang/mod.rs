//! What everything is written in: instants and spans, values, YAML nodes, conditions, faults.
//!
//! Pure: no I/O, no clock, no randomness. Nothing here knows what a funnel is.

pub mod cel;
pub mod diag;
pub mod node;
pub mod phrase;
pub mod render;
pub mod shape;
pub mod time;
pub mod value;
