//! Integration tests: one binary, one module per subject.

mod cli;
mod contract;
mod crash;
mod engine;
mod golden;
mod laws;
mod provider;
mod readme;
mod web;
