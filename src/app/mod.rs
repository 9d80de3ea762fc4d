//! Wiring: from files and flags to a running engine. The only place that names concrete stores.

pub mod apply;
pub mod engine;
pub mod moved;
pub mod report;
pub mod stats;
pub mod store;
pub mod telemetry;
pub mod workspace;
