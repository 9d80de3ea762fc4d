//! A place to measure in: a folder with a fresh store, the store's own Redis if it has one, and engines over it.

use crate::engine::Engine;
use crate::process::Process;
use crate::redis_server::Redis;
use anyhow::{Context, bail};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The port in the workspace's files that stands for the mock provider's.
const PORT_IN_FILES: &str = "127.0.0.1:9100";
/// The thread of an engine that writes a SQLite file: the store, or on Redis the tables of the read side.
const FILE_THREAD: &str = "store";

/// A store, and how it keeps what it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// SQLite, every commit flushed.
    Sqlite,
    /// Redis, its file flushed once a second.
    RedisEverysec,
    /// Redis, its file flushed before every answer.
    RedisAlways,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Sqlite, Kind::RedisEverysec, Kind::RedisAlways];

    /// As `--store` takes it.
    pub fn name(self) -> &'static str {
        self.pick(["sqlite", "redis-everysec", "redis-always"])
    }

    /// As a heading.
    pub fn title(self) -> &'static str {
        self.pick(["SQLite FULL", "Redis everysec", "Redis always"])
    }

    /// One of three, in the order of [`Kind::ALL`].
    pub fn pick<T: Copy>(self, [sqlite, everysec, always]: [T; 3]) -> T {
        match self {
            Kind::Sqlite => sqlite,
            Kind::RedisEverysec => everysec,
            Kind::RedisAlways => always,
        }
    }
}

/// What all measurements share.
pub struct Setting {
    /// The engine's binary.
    pub binary: PathBuf,
    /// The workspace.
    pub workspace: PathBuf,
    /// Where stores are made.
    pub disk: PathBuf,
    /// Connections of the generator.
    pub connections: usize,
}

/// The files of a workspace.
#[derive(Clone)]
pub struct Workspace {
    files: Vec<(String, String)>,
}

impl Workspace {
    /// The workspace of a folder, with its providers at this port.
    pub fn read(folder: &Path, provider_port: u16) -> anyhow::Result<Workspace> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read the workspace {}", folder.display()))? {
            let path = entry?.path();
            if let Some(name) = path.file_name().filter(|_| path.is_file()) {
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let text = text.replace(PORT_IN_FILES, &format!("127.0.0.1:{provider_port}"));
                files.push((name.to_string_lossy().into_owned(), text));
            }
        }
        Ok(Workspace { files })
    }

    /// With one more file.
    pub fn with(mut self, name: impl Into<String>, text: impl Into<String>) -> Workspace {
        self.files.push((name.into(), text.into()));
        self
    }

    /// With more at the end of one of its files.
    pub fn extended(mut self, name: &str, text: &str) -> Workspace {
        self.files.iter_mut().filter(|(known, _)| known == name).for_each(|(_, whole)| whole.push_str(text));
        self
    }

    /// With one text replaced by another in all files.
    pub fn replaced(mut self, from: &str, to: &str) -> Workspace {
        self.files.iter_mut().for_each(|(_, text)| *text = text.replace(from, to));
        self
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        for (name, text) in &self.files {
            fs::write(folder.join(name), text)?;
        }
        Ok(())
    }
}

/// What was used so far: processor time in seconds, and the disk.
#[derive(Clone, Copy, Default)]
pub struct Used {
    /// By the engine's processes.
    pub engine: f64,
    /// By Redis.
    pub redis: f64,
    /// By the engine's threads that write a SQLite file (part of `engine`).
    pub file: f64,
    /// Bytes written to the disk by all of them.
    pub written: f64,
}

impl Used {
    /// What was used since an earlier look.
    pub fn since(self, earlier: Used) -> Used {
        let (engine, redis, file) = (self.engine - earlier.engine, self.redis - earlier.redis, self.file - earlier.file);
        Used { engine, redis, file, written: self.written - earlier.written }
    }

    /// Of all processes.
    pub fn all(self) -> f64 {
        self.engine + self.redis
    }
}

/// A place to measure in.
pub struct Stand {
    /// The kind of its store.
    pub kind: Kind,
    /// Its Redis.
    pub redis: Option<Redis>,
    binary: PathBuf,
    folder: tempfile::TempDir,
    starts: AtomicU32,
}

/// Engine processes over one store: one that does everything, or a front and workers apart.
pub struct Engines {
    /// The one with the doors.
    pub front: Engine,
    /// Mere workers.
    pub workers: Vec<Engine>,
}

impl Stand {
    /// Makes a fresh store's place.
    pub async fn new(setting: &Setting, kind: Kind) -> anyhow::Result<Stand> {
        let folder =
            tempfile::Builder::new().prefix("bench-").tempdir_in(&setting.disk).context("cannot make a folder for the store")?;
        let redis = match kind {
            Kind::Sqlite => None,
            Kind::RedisEverysec => Some(Redis::start(folder.path(), free_port()?, "everysec").await?),
            Kind::RedisAlways => Some(Redis::start(folder.path(), free_port()?, "always").await?),
        };
        Ok(Stand { kind, redis, binary: setting.binary.clone(), folder, starts: AtomicU32::new(0) })
    }

    /// Starts the engine as one process.
    pub async fn start(&self, workspace: &Workspace) -> anyhow::Result<Engines> {
        Ok(Engines { front: self.process(workspace, "all").await?, workers: Vec::new() })
    }

    /// Starts a front and so many workers apart from it; for Redis only.
    pub async fn start_apart(&self, workspace: &Workspace, workers: usize) -> anyhow::Result<Engines> {
        let mut engines = Engines { front: self.process(workspace, "web,report").await?, workers: Vec::new() };
        for _ in 0..workers {
            engines.workers.push(self.process(workspace, "worker").await?);
        }
        Ok(engines)
    }

    async fn process(&self, workspace: &Workspace, roles: &str) -> anyhow::Result<Engine> {
        let number = self.starts.fetch_add(1, Relaxed);
        let place = |name: &str| self.folder.path().join(format!("{name}-{number}"));
        workspace.write(&place("workspace"))?;
        let mut arguments = vec!["--funnels".into(), place("workspace").into_os_string(), "--store".into()];
        match &self.redis {
            None => arguments.push(self.file().into_os_string()),
            Some(redis) => {
                arguments.push(redis.url.clone().into());
                arguments.extend(["--role".into(), roles.into(), "--report".into(), self.file().into_os_string()]);
                arguments.extend(["--state".into(), place("state").into_os_string()]);
            }
        }
        let has_doors = roles != "worker";
        let address = has_doors.then(|| free_port().map(|port| format!("127.0.0.1:{port}"))).transpose()?;
        Engine::start(&self.binary, arguments, address, place("log")).await
    }

    /// The file of the store, or on Redis of the read side.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    /// Bytes of the store: its file and write-ahead log, or what Redis holds.
    pub async fn bytes(&self) -> anyhow::Result<f64> {
        match &self.redis {
            Some(redis) => redis.bytes().await,
            None => Ok(self.file_bytes()),
        }
    }

    /// Bytes of the file and its write-ahead log.
    pub fn file_bytes(&self) -> f64 {
        let (file, wal) = (self.file(), self.file().with_extension("db-wal"));
        [file, wal].iter().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len() as f64).sum()
    }

    /// Processor time of these engines and of Redis.
    pub fn used(&self, engines: &Engines) -> anyhow::Result<Used> {
        let mut used = Used::default();
        if let Some(redis) = &self.redis {
            (used.redis, used.written) = (redis.process.seconds()?, redis.process.written());
        }
        for process in engines.processes() {
            used.engine += process.seconds()?;
            used.written += process.written();
            used.file += process.thread_seconds(FILE_THREAD);
        }
        Ok(used)
    }

    /// Ends what is left.
    pub async fn end(self) -> anyhow::Result<()> {
        match self.redis {
            Some(redis) => redis.process.stop().await,
            None => Ok(()),
        }
    }
}

impl Engines {
    fn processes(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.front).chain(&self.workers).map(|engine| &engine.process)
    }

    /// The sum of the processes' peaks of memory, in MB.
    pub fn peak_mb(&self) -> f64 {
        self.processes().map(Process::peak_mb).sum()
    }

    /// Their memory now, in MB.
    pub fn mb(&self) -> f64 {
        self.processes().map(Process::mb).sum()
    }

    /// Ends them; their own warnings belong to the result.
    pub async fn stop(self) -> anyhow::Result<()> {
        for engine in std::iter::once(self.front).chain(self.workers) {
            let log = engine.process.log();
            let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
            if let Some(first) = lines.first() {
                eprintln!("\nthe engine complained {} times, first: {first}", lines.len());
            }
            engine.process.stop().await?;
        }
        Ok(())
    }
}

/// The stores of an option's value.
pub fn kinds(value: &str) -> anyhow::Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    for name in value.split(',') {
        match Kind::ALL.into_iter().find(|kind| kind.name() == name) {
            Some(kind) => kinds.push(kind),
            None if name == "all" => kinds.extend(Kind::ALL),
            None => bail!("--store takes sqlite, redis-everysec, redis-always or all, several with commas; not `{name}`"),
        }
    }
    Ok(kinds)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
