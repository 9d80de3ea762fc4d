//! Integration tests: one binary, one module per subject.

mod bad;
mod cli;
mod contract;
mod crash;
mod engine;
mod golden;
mod laws;
mod matrix;
mod migrate;
mod mirror;
mod operations;
mod optout;
mod provider;
mod proxy;
mod readme;
mod redis;
mod web;
mod workers;
