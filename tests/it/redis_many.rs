//! Several real servers for one test: a cluster, or a master with a replica that sentinels watch.

use crate::redis::{Disk, Look, script};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

mod cluster;
mod watched;

pub use cluster::Cluster;
pub use watched::Watched;

/// Nothing that is waited for takes this long.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The password of all of them, which must not appear in any log.
pub const PASSWORD: &str = crate::crash::home::REDIS_PASSWORD;
/// A server that does not answer a test within this is away.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Waits for a condition; what changes it runs in other processes.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// A port that nobody uses now, below those that the system gives away by itself: nobody is given it meanwhile.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + (std::process::id() % 400) as u16 * 25;
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// One server among several. It ends with this value.
pub struct Member {
    folder: PathBuf,
    /// Where it listens.
    pub port: u16,
    arguments: Vec<String>,
    /// It is a sentinel, with this file to keep what it knows in.
    watches: Option<PathBuf>,
    child: Option<Child>,
}

impl Member {
    /// Starts one in a folder below that of all.
    fn start(folder: &Path, arguments: Vec<String>) -> Member {
        Member::new(folder, arguments, None)
    }

    fn new(folder: &Path, arguments: Vec<String>, watches: Option<PathBuf>) -> Member {
        let port = free_port();
        let folder = folder.join(port.to_string());
        std::fs::create_dir(&folder).unwrap();
        let mut member = Member { folder, port, arguments, watches, child: None };
        member.go();
        member
    }

    /// What a server that keeps customers is told.
    fn arguments(disk: Disk) -> Vec<String> {
        let (append, sync) = match disk {
            Disk::Never => ("no", "no"),
            Disk::EverySecond => ("yes", "everysec"),
            Disk::Always => ("yes", "always"),
        };
        let told = format!(
            "--save  --appendonly {append} --appendfsync {sync} --requirepass {PASSWORD} --masterauth {PASSWORD} \
             --repl-diskless-sync-delay 0 --repl-ping-replica-period 1"
        );
        told.split(' ').map(str::to_owned).collect()
    }

    /// Starts it again over the same files.
    pub fn go(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = Command::new("redis-server");
        if let Some(file) = &self.watches {
            command.arg(file).arg("--sentinel");
        }
        command.args(&self.arguments);
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]).args(["--dir", self.folder.to_str().unwrap()]);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.child = Some(child.expect("redis-server is needed for these tests; `tests/run` installs it"));
        until("a redis-server starts", || self.ask(&["PING"]).is_ok());
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends it a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id();
        assert!(Command::new("kill").args(["-s", name, &id.to_string()]).status().unwrap().success());
    }

    /// Its address.
    pub fn url(&self) -> String {
        let who = if self.watches.is_some() { String::new() } else { format!(":{PASSWORD}@") };
        format!("redis://{who}127.0.0.1:{}", self.port)
    }

    /// Runs a command.
    pub fn query(&self, command: &redis::Cmd) -> redis::RedisResult<redis::Value> {
        let mut connection = redis::Client::open(self.url())?.get_connection_with_timeout(ANSWER_MAX)?;
        connection.set_read_timeout(Some(ANSWER_MAX))?;
        command.query(&mut connection)
    }

    /// Runs a command of these words.
    pub fn ask(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        self.query(&command)
    }

    /// The same, for an answer that is a text; empty when there is none.
    pub fn text(&self, words: &[&str]) -> String {
        self.ask(words).ok().and_then(|answer| redis::from_redis_value(answer).ok()).unwrap_or_default()
    }

    /// Whether it says that it is a master.
    pub fn is_master(&self) -> bool {
        self.child.is_some() && self.text(&["INFO", "replication"]).contains("role:master")
    }

    /// Whether it is a replica and has caught up with its master.
    pub fn follows(&self) -> bool {
        self.text(&["INFO", "replication"]).contains("master_link_status:up")
    }

    fn scripts(&self, text: &str, arguments: &[&str]) -> redis::RedisResult<redis::Value> {
        self.query(&script(text, arguments))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Either, as a world has it.
pub enum Many {
    /// A cluster.
    Cluster(Cluster),
    /// What sentinels watch.
    Watched(Watched),
}

impl Many {
    /// The address that engines use.
    pub fn address(&self) -> String {
        match self {
            Many::Cluster(cluster) => cluster.address(),
            Many::Watched(watched) => watched.address(),
        }
    }

    /// All servers that hold data, now or after a fail-over.
    pub fn members(&mut self) -> &mut [Member] {
        match self {
            Many::Cluster(cluster) => &mut cluster.members,
            Many::Watched(watched) => &mut watched.members,
        }
    }
}

impl Look for Many {
    fn scripts(&self, text: &str, arguments: &[&str]) -> redis::RedisResult<Vec<redis::Value>> {
        match self {
            Many::Cluster(cluster) => cluster.scripts(text, arguments),
            Many::Watched(watched) => watched.scripts(text, arguments),
        }
    }
}
