//! Where a world's store is: a file, or a Redis of its own, reached straight or through a proxy.

use crate::provider::Bell;
use crate::proxy::Proxy;
use crate::redis::{Disk, Server};
use autofunnel::app::store::LEASE_VARIABLE;
use autofunnel::engine::clock::system_now;
use autofunnel::store::Store;
use autofunnel::store::redis::{self, RedisStore};
use autofunnel::store::sqlite::{Mirror, Options, SqliteStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The password of every Redis here, which must not appear in any log.
pub const REDIS_PASSWORD: &str = "a-password-of-redis-for-tests";
/// A lease for tests in which workers are killed again and again, in milliseconds.
pub const LEASE_MS: i64 = 600;

/// A kind of store, as a test chooses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One file.
    File,
    /// A Redis that writes to disk so, with leases that last so long (in milliseconds).
    Redis(Disk, i64),
    /// The same behind a proxy.
    Proxied(Disk, i64),
}

impl Kind {
    /// A Redis for tests of processes that end: the disk is not what they are about.
    pub const REDIS: Kind = Kind::Redis(Disk::EverySecond, LEASE_MS);
}

/// Where the store is.
pub enum Home {
    /// In this file.
    File(PathBuf),
    /// In Redis.
    Redis(Box<Remote>),
}

/// A Redis, and what processes have to be told of it.
pub struct Remote {
    /// The server.
    pub server: Server,
    /// What stands in between.
    pub proxy: Option<Proxy>,
    lease_ms: i64,
    report: PathBuf,
}

impl Home {
    /// A new one under a folder.
    pub fn new(kind: Kind, folder: &Path, bell: Arc<Bell>) -> Home {
        let (disk, lease_ms, proxied) = match kind {
            Kind::File => return Home::File(folder.join("engine.db")),
            Kind::Redis(disk, lease_ms) => (disk, lease_ms, false),
            Kind::Proxied(disk, lease_ms) => (disk, lease_ms, true),
        };
        let server = Server::with_password(disk, REDIS_PASSWORD);
        let proxy = proxied.then(|| Proxy::start(server.socket(), bell));
        Home::Redis(Box::new(Remote { server, proxy, lease_ms, report: folder.join("report.db") }))
    }

    /// The Redis.
    pub fn remote(&self) -> &Remote {
        match self {
            Home::Redis(remote) => remote,
            Home::File(_) => panic!("this world's store is a file"),
        }
    }

    /// The Redis, to be killed and started.
    pub fn remote_mut(&mut self) -> &mut Remote {
        match self {
            Home::Redis(remote) => remote,
            Home::File(_) => panic!("this world's store is a file"),
        }
    }

    /// What `serve` is told: the store, and where a worker keeps its note. Workers of different slots are
    /// different machines.
    pub fn arguments(&self, folder: &Path, slot: usize) -> Vec<String> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        match self {
            Home::File(path) => vec!["--store".to_owned(), text(path)],
            Home::Redis(remote) => vec![
                "--store".to_owned(),
                remote.address(),
                "--report".to_owned(),
                text(&remote.report),
                "--state".to_owned(),
                text(&folder.join(format!("state-{slot}"))),
            ],
        }
    }

    /// Variables of the environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Home::File(_) => Vec::new(),
            Home::Redis(remote) => vec![(LEASE_VARIABLE, remote.lease_ms.to_string())],
        }
    }

    /// Opens the store in this process; as a worker, or to read what the last engine left.
    pub async fn open(&self, works: bool) -> Arc<dyn Store> {
        let clock = || Options::new(Arc::new(system_now));
        match self {
            Home::File(path) => SqliteStore::open(path, clock()).unwrap(),
            Home::Redis(remote) => {
                let mut options = redis::Options::new(&remote.server.address());
                (options.works, options.lease_ms, options.accept_loss) = (works, remote.lease_ms, true);
                if !works {
                    (options.reports, options.mirror) = (true, Some(Mirror::open(&remote.report, clock()).unwrap()));
                }
                RedisStore::open(options).await.unwrap()
            }
        }
    }

    /// What waits in Redis, for whoever looks for the cause.
    pub fn waiting(&self) -> String {
        match self {
            Home::File(_) => String::new(),
            Home::Redis(remote) => remote.server.waiting(),
        }
    }

    /// Whether a Redis has nothing to do; `None`: it is a file, or does not answer.
    pub fn is_idle(&self) -> Option<bool> {
        match self {
            Home::File(_) => None,
            Home::Redis(remote) => remote.server.left().map(|left| left == 0),
        }
    }
}

impl Remote {
    /// The address that engines use.
    pub fn address(&self) -> String {
        match &self.proxy {
            Some(proxy) => format!("redis://:{REDIS_PASSWORD}@{}/", proxy.address()),
            None => self.server.address(),
        }
    }

    /// The read side's file, to read in.
    pub fn side(&self) -> Arc<Mirror> {
        Mirror::read_only(&self.report).unwrap()
    }

    /// Whether the read side has taken everything that the streams have.
    pub async fn is_followed(&self) -> bool {
        let places = self.side().places().await.unwrap();
        self.server.streams().iter().all(|(shard, last)| places.get(shard).is_some_and(|place| place.to_string() == *last))
    }

    /// The proxy.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }
}
