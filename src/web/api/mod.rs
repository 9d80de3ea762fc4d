//! What machines ask for, one file per subject.

pub mod customers;
pub mod effects;
pub mod events;
pub mod funnels;
pub mod health;
pub mod hooks;
pub mod import;
pub mod messages;
pub mod pauses;
pub mod quarantine;
pub mod review;
pub mod stats;
pub mod tokens;
pub mod workspace;
