//! A Redis of our own for one measurement: a fresh folder, an append-only file, a free port on loopback.

use crate::process::{LOOK, PATIENCE, Process};
use anyhow::{Context, bail};
use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// The program.
pub const PROGRAM: &str = "redis-server";
/// The settings that operators start from.
const SETTINGS: &str = include_str!("../operations/redis.conf");
/// Keys of one kind that are weighed one by one; of more, evenly spread ones are.
const WEIGHED_MAX: usize = 2_000;
/// Keys of one step of the walk over all keys.
const WALK_KEYS: usize = 10_000;

/// A running server.
pub struct Redis {
    /// Its process.
    pub process: Process,
    /// Where it listens, as the engine is told.
    pub url: String,
    connection: MultiplexedConnection,
}

/// Its version, if it is installed.
pub fn version() -> Option<String> {
    let output = Command::new(PROGRAM).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().find_map(|word| word.strip_prefix("v=").map(str::to_owned))
}

impl Redis {
    /// Starts it; `fsync` is `everysec` or `always`.
    pub async fn start(folder: &Path, port: u16, fsync: &str) -> anyhow::Result<Redis> {
        let mut command = Command::new(PROGRAM);
        let (number, settings) = (port.to_string(), folder.join("redis.conf"));
        std::fs::write(&settings, SETTINGS)?;
        // A growing store takes what the machine has.
        command.arg(&settings).args(["--port", &number, "--bind", "127.0.0.1", "--appendfsync", fsync, "--maxmemory", "0"]);
        command.arg("--dir").arg(folder);
        let mut process = Process::start(command, folder.join("redis.log"))?;
        let url = format!("redis://127.0.0.1:{port}");
        let (client, begun) = (redis::Client::open(url.as_str())?, Instant::now());
        loop {
            if let Some(status) = process.ended()? {
                bail!("Redis ended at once ({status}):\n{}", process.log());
            }
            if let Ok(connection) = client.get_multiplexed_async_connection().await {
                return Ok(Redis { process, url, connection });
            }
            if begun.elapsed() > PATIENCE {
                bail!("Redis does not answer:\n{}", process.log());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks it something.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> anyhow::Result<T> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.connection.clone()).await.with_context(|| format!("Redis refused {}", words.join(" ")))
    }

    /// Bytes that its data take.
    pub async fn bytes(&self) -> anyhow::Result<f64> {
        let info: String = self.ask(&["INFO", "memory"]).await?;
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        line.and_then(|bytes| bytes.trim().parse().ok()).context("Redis does not tell its memory")
    }

    /// Script calls so far, and the milliseconds that they took.
    pub async fn scripts(&self) -> anyhow::Result<(f64, f64)> {
        let info: String = self.ask(&["INFO", "commandstats"]).await?;
        let line = info.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap_or_default();
        let field = |name: &str| line.split([':', ',']).find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        Ok((field("calls").unwrap_or(0.0), field("usec").unwrap_or(0.0) / 1e3))
    }

    /// Forgets how long calls took so far.
    pub async fn forget_calls(&self) -> anyhow::Result<()> {
        self.ask(&["CONFIG", "RESETSTAT"]).await
    }

    /// How long the slowest of a hundred script calls held up everybody else, in milliseconds.
    pub async fn script_p99_ms(&self) -> anyhow::Result<f64> {
        let info: String = self.ask(&["INFO", "latencystats"]).await?;
        let line = info.lines().find(|line| line.starts_with("latency_percentiles_usec_evalsha:")).unwrap_or_default();
        let micros = line.split([':', ',']).find_map(|part| part.strip_prefix("p99=")?.parse::<f64>().ok());
        Ok(micros.context("Redis does not tell how long scripts take")? / 1e3)
    }

    /// Waits until so many workers own every shard, in fair shares; returns the seconds that it took.
    pub async fn shared_out(&self, workers: usize) -> anyhow::Result<f64> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let mut owned: BTreeMap<String, usize> = BTreeMap::new();
            let shards: usize = self.ask(&["HGET", "af:{meta}:store", "shards"]).await?;
            for shard in 0..shards {
                let owner: Option<String> = self.ask(&["HGET", &format!("af:{{{shard}}}:lease"), "w"]).await?;
                *owned.entry(owner.unwrap_or_default()).or_default() += 1;
            }
            let most = shards.div_ceil(workers);
            if owned.len() == workers && !owned.contains_key("") && owned.values().all(|count| *count <= most) {
                return Ok(begun.elapsed().as_secs_f64());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("{workers} workers have not shared the shards out after {} s", PATIENCE.as_secs())
    }

    /// Bytes by the kind of key (the last part of a shard's key, without what follows a further colon).
    pub async fn bytes_by_kind(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (mut cursor, walk) = ("0".to_owned(), WALK_KEYS.to_string());
        loop {
            let (next, keys): (String, Vec<String>) = self.ask(&["SCAN", &cursor, "COUNT", &walk]).await?;
            for key in keys {
                let after = key.split_once("}:").map_or(key.as_str(), |(_, after)| after);
                let kind = after.split(':').next().unwrap_or(after).to_owned();
                kinds.entry(kind).or_default().push(key);
            }
            if next == "0" {
                break;
            }
            cursor = next;
        }
        let mut bytes = BTreeMap::new();
        for (kind, keys) in kinds {
            let step = keys.len().div_ceil(WEIGHED_MAX).max(1);
            let (mut sum, mut weighed) = (0.0, 0.0);
            for key in keys.iter().step_by(step) {
                let weight: Option<f64> = self.ask(&["MEMORY", "USAGE", key, "SAMPLES", "50"]).await?;
                sum += weight.unwrap_or(0.0);
                weighed += 1.0;
            }
            bytes.insert(kind, sum / weighed * keys.len() as f64);
        }
        Ok(bytes)
    }
}
