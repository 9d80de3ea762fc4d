//! An engine under measurement: a process of its own, started as a user would start it.

use crate::http::Client;
use crate::process::{LOOK, PATIENCE, Process};
use anyhow::{Context, bail};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What a worker without doors says when it works.
const WORKING: &str = "working, without doors";
/// How many times longer than a look at what is left to do takes the pause after it is.
const PAUSES_PER_LOOK: u32 = 20;
/// How long an engine may take to finish what it has begun.
const SETTLE: Duration = Duration::from_secs(900);
/// The administrator's token of every measurement.
const TOKEN: &str = "bench-token-of-one-measurement";

/// A running engine.
pub struct Engine {
    /// Its process.
    pub process: Process,
    /// Where it listens; a mere worker has no doors.
    pub address: String,
    /// Its administrator's token.
    pub token: String,
}

impl Engine {
    /// Starts `binary serve` with these arguments and waits until it is ready.
    pub async fn start(binary: &Path, arguments: Vec<OsString>, address: Option<String>, log: PathBuf) -> anyhow::Result<Engine> {
        let mut command = Command::new(binary);
        command.arg("serve").args(arguments).env("AUTOFUNNEL_TOKEN", TOKEN).env("RUST_LOG", "warn");
        if let Some(address) = &address {
            command.args(["--listen", address]);
        }
        let process = Process::start(command, log)?;
        let mut engine = Engine { process, address: address.unwrap_or_default(), token: TOKEN.to_owned() };
        engine.wait_until_ready().await?;
        Ok(engine)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.ended()? {
                bail!("the engine ended at once ({status}):\n{}", self.process.log());
            }
            let ready = match self.address.is_empty() {
                true => self.process.log().contains(WORKING),
                false => self.answers().await,
            };
            if ready {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("the engine is not ready after {} s:\n{}", PATIENCE.as_secs(), self.process.log());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn answers(&self) -> bool {
        match self.client().await {
            Ok(mut client) => client.call("GET", "/readyz", "text/plain", "").await.is_ok_and(|(status, _)| status == 200),
            Err(_) => false,
        }
    }

    /// A connection to its doors.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.address, &self.token).await?)
    }

    /// Asks it something.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut client = self.client().await?;
        let (status, body) = client.call("GET", path, "text/plain", "").await?;
        if status != 200 {
            bail!("{path} was answered {status}: {}", String::from_utf8_lossy(body));
        }
        serde_json::from_slice(body).with_context(|| format!("the answer to {path} is no JSON"))
    }

    /// One of its measures.
    pub async fn measure(&self, name: &str) -> anyhow::Result<f64> {
        let mut client = self.client().await?;
        let (_, body) = client.call("GET", "/metrics", "text/plain", "").await?;
        let text = String::from_utf8_lossy(body);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.with_context(|| format!("the engine does not measure {name}"))
    }

    /// Waits until neither inputs nor effects are left to be handled.
    pub async fn settle(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < SETTLE {
            let asked = Instant::now();
            if self.measure("autofunnel_inbox_inputs").await? == 0.0 && self.measure("autofunnel_outbox_effects").await? == 0.0 {
                return Ok(());
            }
            // Counting costs the more the more there is to do; it must not become the load.
            tokio::time::sleep(LOOK.max(asked.elapsed() * PAUSES_PER_LOOK)).await;
        }
        bail!("the engine still has work after {} s:\n{}", SETTLE.as_secs(), self.process.log())
    }

    /// Waits until the figures of a funnel say that `runs` of its runs have finished: then the tables from
    /// which lists, timelines and figures are read hold everything.
    pub async fn tables_hold(&self, funnel: &str, runs: usize) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let answer = self.get("/v1/funnels").await?;
            let funnels = answer["funnels"].as_array().map_or(&[][..], Vec::as_slice);
            let figures = funnels.iter().find(|row| row["name"] == funnel).map(|row| &row["figures"]);
            let finished = figures.and_then(|figures| figures["finished"].as_u64()).unwrap_or(0);
            if finished >= runs as u64 {
                return Ok(());
            }
            if begun.elapsed() > SETTLE {
                bail!("only {finished} of {runs} runs are in the tables after {} s:\n{}", SETTLE.as_secs(), self.process.log());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Facts of a customer.
    pub async fn facts(&self, customer: &str) -> anyhow::Result<f64> {
        let answer = self.get(&format!("/v1/customers/{customer}/timeline?limit=500")).await?;
        Ok(answer["facts"].as_array().map_or(0, Vec::len) as f64)
    }
}
