//! Integration tests: one binary, one module per subject.

mod cli;
mod contract;
mod engine;
mod golden;
mod readme;
mod web;
