//! A real `redis-server` for one test: on a socket of its own, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a server writes to disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk {
    /// Not at all.
    Never,
    /// Append-only file, synced once a second.
    EverySecond,
    /// Append-only file, synced before every answer.
    Always,
}

/// A running server. It ends with this value.
pub struct Server {
    folder: tempfile::TempDir,
    disk: Disk,
    child: Option<Child>,
}

impl Server {
    /// Starts an empty one.
    pub fn start(disk: Disk) -> Server {
        let mut server = Server { folder: tempfile::tempdir().unwrap(), disk, child: None };
        server.go();
        server
    }

    /// Starts it again over the same files.
    pub fn go(&mut self) {
        let (append, sync) = match self.disk {
            Disk::Never => ("no", "no"),
            Disk::EverySecond => ("yes", "everysec"),
            Disk::Always => ("yes", "always"),
        };
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let socket = self.socket();
        let _absent = std::fs::remove_file(&socket);
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", append, "--appendfsync", sync])
            .args(["--unixsocket", socket.to_str().unwrap(), "--dir", self.folder.path().to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("redis-server is needed for these tests; `tests/run` installs it");
        self.child = Some(child);
        let started = Instant::now();
        while self.query(&redis::cmd("PING")).is_err() {
            assert!(started.elapsed() < PATIENCE, "redis-server does not start: {}", self.log());
            std::thread::yield_now();
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Runs a command.
    pub fn query(&self, command: &redis::Cmd) -> redis::RedisResult<redis::Value> {
        let mut connection = redis::Client::open(self.address())?.get_connection()?;
        command.query(&mut connection)
    }

    /// Lets all leases run out: whoever owned a shard or had something in hand is taken for dead.
    pub fn end_leases(&self) {
        let script = "
            for _, key in ipairs(redis.call('KEYS', 'af:*:lease')) do redis.call('HSET', key, 'u', '0') end
            redis.call('DEL', 'af:{meta}:workers')
            for _, name in ipairs({'ready', 'wake', 'outbox'}) do
              for _, key in ipairs(redis.call('KEYS', 'af:*:' .. name)) do
                local rows = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
                for i = 1, #rows, 2 do
                  if string.sub(rows[i + 1], -2) == '.5' then
                    redis.call('ZADD', key, string.format('%.1f', tonumber(rows[i + 1]) - tonumber(ARGV[1])), rows[i])
                  end
                end
              end
            end
            return 1";
        let mut eval = redis::cmd("EVAL");
        eval.arg(script).arg(0).arg(15_000);
        self.query(&eval).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
