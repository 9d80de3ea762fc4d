//! Integration tests: one binary, one module per subject.

mod cli;
mod contract;
mod crash;
mod engine;
mod golden;
mod laws;
mod mirror;
mod provider;
mod readme;
mod redis;
mod web;
mod workers;
