//! A process under measurement: how it is started and ended, and what it uses of processor and memory.

use anyhow::{Context, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Clock ticks of `/proc/<pid>/stat` per second: fixed at 100 in what Linux shows to programs.
const TICKS_PER_SECOND: f64 = 100.0;
/// Time between two looks at a process's memory.
const MEMORY_LOOK: Duration = Duration::from_millis(100);
/// How long a process may take to start or to end.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at a process that is to start or to end.
pub const LOOK: Duration = Duration::from_millis(20);

/// A running process.
pub struct Process {
    child: Child,
    log: PathBuf,
    peak_kib: Arc<AtomicU64>,
    stop_looking: Arc<AtomicBool>,
}

impl Process {
    /// Starts it; what it says goes into a file.
    pub fn start(mut command: Command, log: PathBuf) -> anyhow::Result<Process> {
        let file = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", Path::new(&program).display()))?;
        let process = Process { child, log, peak_kib: Default::default(), stop_looking: Default::default() };
        process.look_at_memory();
        Ok(process)
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

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Processor time used so far, children that have ended included, in seconds.
    pub fn seconds(&self) -> anyhow::Result<f64> {
        ticks(&format!("/proc/{}/stat", self.child.id()), 4).context("this needs Linux's /proc")
    }

    /// Processor time of its threads of this name, in seconds.
    pub fn thread_seconds(&self, name: &str) -> f64 {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.child.id())) else { return 0.0 };
        let threads = threads.filter_map(Result::ok).map(|thread| thread.path());
        let named = threads.filter(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name));
        named.filter_map(|path| ticks(&path.join("stat").to_string_lossy(), 2)).sum()
    }

    /// Bytes that it has had written to the disk so far.
    pub fn written(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:"));
        line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0.0)
    }

    /// The largest share of memory (PSS) since the start, in MB.
    pub fn peak_mb(&self) -> f64 {
        self.peak_kib.load(Relaxed) as f64 / 1024.0
    }

    /// Its share of memory (PSS) now, in MB.
    pub fn mb(&self) -> f64 {
        pss_kib(self.child.id()) as f64 / 1024.0
    }

    /// Forgets the peak so far.
    pub fn forget_peak(&self) {
        self.peak_kib.store(0, Relaxed);
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to end, and waits.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().context("cannot run `kill`")?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                bail!("a process did not end within {} s of SIGINT:\n{}", PATIENCE.as_secs(), self.log());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop_looking.store(true, Relaxed);
        // It has ended already, except when a measurement was broken off.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first `fields` times of a `stat` file (of the process in user and system mode, then of its children).
fn ticks(path: &str, fields: usize) -> Option<f64> {
    let stat = fs::read_to_string(path).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks = after_name.split_whitespace().skip(11).take(fields).map(str::parse::<f64>);
    Some(ticks.sum::<Result<f64, _>>().ok()? / TICKS_PER_SECOND)
}

/// A process's share of memory; 0 once it is gone.
fn pss_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
