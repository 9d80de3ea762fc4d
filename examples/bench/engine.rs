//! The engine under measurement: a process of its own over a fresh store, and what it uses.

use crate::http::Client;
use anyhow::{Context, bail};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Clock ticks of `/proc/<pid>/stat` per second: fixed at 100 in what Linux shows to programs.
const TICKS_PER_SECOND: f64 = 100.0;
/// The port in the workspace's files that stands for the mock provider's.
const PORT_IN_FILES: &str = "127.0.0.1:9100";
/// How long the engine may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two looks at the engine's memory.
const MEMORY_LOOK: Duration = Duration::from_millis(100);

/// A running engine.
pub struct Engine {
    child: Child,
    /// Where it listens.
    pub address: String,
    /// Its administrator's token.
    pub token: String,
    /// Its store.
    pub store: PathBuf,
    folder: tempfile::TempDir,
    peak_kib: Arc<AtomicU64>,
    stop_looking: Arc<AtomicBool>,
}

impl Engine {
    /// Starts `binary` over a copy of the workspace whose providers are at `provider_port`, with a new store
    /// below `disk`.
    pub async fn start(binary: &Path, workspace: &Path, disk: &Path, provider_port: u16) -> anyhow::Result<Engine> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(disk).context("cannot make a folder for the store")?;
        let copy = folder.path().join("workspace");
        copy_workspace(workspace, &copy, provider_port)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let token = "bench-token-of-one-measurement".to_owned();
        let store = folder.path().join("store.db");
        let log = fs::File::create(folder.path().join("log"))?;
        let child = Command::new(binary)
            .args(["serve", "--funnels"])
            .arg(&copy)
            .arg("--store")
            .arg(&store)
            .args(["--listen", &address])
            .env("AUTOFUNNEL_TOKEN", &token)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let (peak_kib, stop_looking) = Default::default();
        let mut engine = Engine { child, address, token, store, folder, peak_kib, stop_looking };
        engine.wait_until_ready().await?;
        engine.look_at_memory();
        Ok(engine)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the engine ended at once ({status}):\n{}", self.log());
            }
            if let Ok(mut client) = Client::connect(&self.address, &self.token).await
                && client.call("GET", "/readyz", "text/plain", "").await.is_ok_and(|(status, _)| status == 200)
            {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("the engine is not ready after {} s:\n{}", PATIENCE.as_secs(), self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Memory is looked at by a thread of its own: a busy generator must not miss the peak.
    fn look_at_memory(&self) {
        let (pid, peak, stop) = (self.child.id(), self.peak_kib.clone(), self.stop_looking.clone());
        std::thread::spawn(move || {
            while !stop.load(Relaxed) {
                peak.fetch_max(pss_kib(pid), Relaxed);
                std::thread::sleep(MEMORY_LOOK);
            }
        });
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Processor time used so far, in seconds.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).context("this needs Linux's /proc")?;
        let after_name = stat.rsplit_once(')').context("/proc/<pid>/stat has another form")?.1;
        let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
    }

    /// The largest share of memory (PSS) since the start, in MB.
    pub fn peak_mb(&self) -> f64 {
        self.peak_kib.load(Relaxed) as f64 / 1024.0
    }

    /// A connection to its doors.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.address, &self.token).await?)
    }

    /// Waits until neither inputs nor effects are left to be handled; at most `patience`.
    pub async fn settled(&self, patience: Duration) -> anyhow::Result<bool> {
        let (mut client, begun) = (self.client().await?, Instant::now());
        while begun.elapsed() < patience {
            let (_, body) = client.call("GET", "/metrics", "text/plain", "").await?;
            let text = String::from_utf8_lossy(body);
            let is_zero = |name: &str| text.lines().any(|line| line == format!("{name} 0"));
            if is_zero("autofunnel_inbox_inputs") && is_zero("autofunnel_outbox_effects") {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(false)
    }

    /// Bytes of the store's file and its write-ahead log.
    pub fn store_bytes(&self) -> u64 {
        let wal = self.store.with_extension("db-wal");
        [&self.store, &wal].iter().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum()
    }

    /// Asks it to end, and waits.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().context("cannot run `kill`")?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                bail!("the engine did not end within {} s of SIGINT", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop_looking.store(true, Relaxed);
        // It has ended already, except when a measurement was broken off.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy_workspace(from: &Path, to: &Path, provider_port: u16) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read the workspace {}", from.display()))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            fs::write(to.join(name), text.replace(PORT_IN_FILES, &format!("127.0.0.1:{provider_port}")))?;
        }
    }
    Ok(())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A process's share of memory; 0 once it is gone.
fn pss_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
