//! Integration tests: one binary, one module per subject.

mod apply;
mod bad;
mod beside;
mod budgets;
mod cli;
mod cluster;
mod contract;
mod crash;
mod engine;
mod golden;
mod laws;
mod loyalty;
mod matrix;
mod migrate;
mod mirror;
mod mutants;
mod operations;
mod optout;
mod provider;
mod proxy;
mod rates;
mod readme;
mod rebuild;
mod recorded;
mod redis;
mod redis_many;
mod reference;
mod sim;
mod simulate;
mod smtp;
mod stats;
mod tools;
mod web;
mod winner;
mod workers;

/// The one of the program itself; the simulation spends a good part of its time in it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
