//! Where a world's store is: a file, or a Redis of its own, reached straight or through a proxy.

use crate::provider::Bell;
use crate::proxy::Proxy;
use crate::redis::{Disk, Look, Server};
use crate::redis_many::{Cluster, Many, Watched};
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
    /// Several servers, with leases that last so long (in milliseconds), and so many replicas that must confirm.
    Many(Group, i64, usize),
}

/// Several servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// A cluster of three masters.
    Cluster,
    /// The same with a replica of each.
    ClusterWithReplicas,
    /// A master and a replica, watched by sentinels.
    Watched,
}

impl Group {
    fn start(self) -> Many {
        match self {
            Group::Cluster => Many::Cluster(Cluster::start(3, 0, Disk::EverySecond)),
            Group::ClusterWithReplicas => Many::Cluster(Cluster::start(3, 1, Disk::EverySecond)),
            Group::Watched => Many::Watched(Watched::start(Disk::EverySecond)),
        }
    }
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
    /// In several of them.
    Many(Box<Spread>),
}

/// Several servers, and what processes have to be told of them.
pub struct Spread {
    /// The servers.
    pub many: Many,
    lease_ms: i64,
    wait_replicas: usize,
    report: PathBuf,
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
            Kind::Many(group, lease_ms, wait_replicas) => {
                let report = folder.join("report.db");
                return Home::Many(Box::new(Spread { many: group.start(), lease_ms, wait_replicas, report }));
            }
        };
        let server = Server::with_password(disk, REDIS_PASSWORD);
        let proxy = proxied.then(|| Proxy::start(server.socket(), bell));
        Home::Redis(Box::new(Remote { server, proxy, lease_ms, report: folder.join("report.db") }))
    }

    /// The Redis.
    pub fn remote(&self) -> &Remote {
        match self {
            Home::Redis(remote) => remote,
            Home::File(_) | Home::Many(_) => panic!("this world's store is not one Redis"),
        }
    }

    /// The Redis, to be killed and started.
    pub fn remote_mut(&mut self) -> &mut Remote {
        match self {
            Home::Redis(remote) => remote,
            Home::File(_) | Home::Many(_) => panic!("this world's store is not one Redis"),
        }
    }

    /// The Redises.
    pub fn many(&mut self) -> &mut Many {
        match self {
            Home::Many(spread) => &mut spread.many,
            Home::File(_) | Home::Redis(_) => panic!("this world's store is not several servers"),
        }
    }

    /// The store's address, if it has one.
    pub fn store_address(&self) -> String {
        match self {
            Home::Redis(remote) => remote.server.address(),
            Home::Many(spread) => spread.many.address(),
            Home::File(_) => panic!("this world's store is a file"),
        }
    }

    /// What `serve` is told: the store, and where a worker keeps its note. Workers of different slots are
    /// different machines.
    pub fn arguments(&self, folder: &Path, slot: usize) -> Vec<String> {
        match self {
            Home::File(path) => vec!["--store".to_owned(), path.to_str().unwrap().to_owned()],
            Home::Redis(remote) => self.told(remote.address(), &remote.report, folder, slot),
            Home::Many(spread) => {
                let mut told = self.told(spread.many.address(), &spread.report, folder, slot);
                told.extend(["--wait-replicas".to_owned(), spread.wait_replicas.to_string()]);
                told
            }
        }
    }

    fn told(&self, address: String, report: &Path, folder: &Path, slot: usize) -> Vec<String> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let state = text(&folder.join(format!("state-{slot}")));
        [["--store".to_owned(), address], ["--report".to_owned(), text(report)], ["--state".to_owned(), state]].concat()
    }

    /// Variables of the environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Home::File(_) => Vec::new(),
            Home::Redis(remote) => vec![(LEASE_VARIABLE, remote.lease_ms.to_string())],
            Home::Many(spread) => vec![(LEASE_VARIABLE, spread.lease_ms.to_string())],
        }
    }

    /// Opens the store in this process; as a worker, or to read what the last engine left.
    pub async fn open(&self, works: bool) -> Arc<dyn Store> {
        let clock = || Options::new(Arc::new(system_now));
        let (address, lease_ms, report) = match self {
            Home::File(path) => return SqliteStore::open(path, clock()).unwrap(),
            Home::Redis(remote) => (remote.server.address(), remote.lease_ms, &remote.report),
            Home::Many(spread) => (spread.many.address(), spread.lease_ms, &spread.report),
        };
        let mut options = redis::Options::new(&address);
        (options.works, options.lease_ms, options.accept_loss) = (works, lease_ms, true);
        if !works {
            (options.reports, options.mirror) = (true, Some(Mirror::open(report, clock()).unwrap()));
        }
        RedisStore::open(options).await.unwrap()
    }

    /// What waits in Redis, for whoever looks for the cause.
    pub fn waiting(&self) -> String {
        match self {
            Home::File(_) => String::new(),
            Home::Redis(remote) => remote.server.waiting(),
            Home::Many(spread) => spread.many.waiting(),
        }
    }

    /// Whether a Redis has nothing to do; `None`: it is a file, or does not answer.
    pub fn is_idle(&self) -> Option<bool> {
        match self {
            Home::File(_) => None,
            Home::Redis(remote) => remote.server.left().map(|left| left == 0),
            Home::Many(spread) => spread.many.left().map(|left| left == 0),
        }
    }

    /// The read side, to read in; `None`: it is in the store's file.
    pub fn side(&self) -> Option<Arc<Mirror>> {
        match self {
            Home::File(_) => None,
            Home::Redis(remote) => Some(Mirror::read_only(&remote.report).unwrap()),
            Home::Many(spread) => Some(Mirror::read_only(&spread.report).unwrap()),
        }
    }

    /// Whether the read side has taken everything that the streams have.
    pub async fn is_followed(&self) -> bool {
        let Some(side) = self.side() else { return true };
        let streams = match self {
            Home::File(_) => return true,
            Home::Redis(remote) => remote.server.streams(),
            Home::Many(spread) => spread.many.streams(),
        };
        let places = side.places().await.unwrap();
        streams.iter().all(|(shard, last)| places.get(shard).is_some_and(|place| last.parse().is_ok_and(|last| *place >= last)))
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

    /// The proxy.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }
}
