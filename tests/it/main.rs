//! Integration tests: one binary, one module per subject.

mod bad;
mod cli;
mod cluster;
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
mod rebuild;
mod redis;
mod redis_many;
mod sim;
mod smtp;
mod web;
mod workers;
