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
mod provider;
mod proxy;
mod readme;
mod redis;
mod smtp;
mod web;
mod workers;
