//! Integration tests: one binary, one module per subject.

mod cli;
mod contract;
mod engine;
mod readme;
mod web;
