//! A master and a replica that three sentinels watch.

use super::{Member, PASSWORD, until};
use crate::redis::{Disk, Look};
use tempfile::TempDir;

/// The name under which sentinels know the master.
pub const NAME: &str = "shop";

/// See the module.
pub struct Watched {
    folder: TempDir,
    /// The first master, and its replica.
    pub members: Vec<Member>,
    sentinels: Vec<Member>,
}

impl Watched {
    /// Starts them and waits until they know each other.
    pub fn start(disk: Disk) -> Watched {
        let folder = tempfile::Builder::new().prefix("autofunnel-watched-").tempdir().unwrap();
        let master = Member::start(folder.path(), Member::arguments(disk));
        let follow = ["--replicaof".to_owned(), "127.0.0.1".to_owned(), master.port.to_string()];
        let replica = Member::start(folder.path(), Member::arguments(disk).into_iter().chain(follow).collect());
        until("the replica follows", || replica.follows());
        let mut watched = Watched { folder, members: vec![master, replica], sentinels: Vec::new() };
        for _ in 0..3 {
            let sentinel = watched.sentinel();
            watched.sentinels.push(sentinel);
        }
        until("the sentinels know everybody", || watched.sentinels.iter().all(Watched::knows_everybody));
        watched
    }

    fn sentinel(&self) -> Member {
        let file = format!("sentinel-{}.conf", self.sentinels.len());
        let port = self.members[0].port;
        let text = format!(
            "protected-mode no\nsentinel monitor {NAME} 127.0.0.1 {port} 2\nsentinel auth-pass {NAME} {PASSWORD}\n\
             sentinel down-after-milliseconds {NAME} 700\nsentinel failover-timeout {NAME} 4000\n"
        );
        let path = self.folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        Member::new(self.folder.path(), Vec::new(), Some(path))
    }

    fn knows_everybody(sentinel: &Member) -> bool {
        let answer = sentinel.ask(&["SENTINEL", "MASTER", NAME]);
        let known: std::collections::BTreeMap<String, String> =
            answer.ok().and_then(|known| redis::from_redis_value(known).ok()).unwrap_or_default();
        let is = |name: &str, count: &str| known.get(name).is_some_and(|found| found == count);
        is("num-slaves", "1") && is("num-other-sentinels", "2") && is("flags", "master")
    }

    /// Its address: the sentinels.
    pub fn address(&self) -> String {
        let sentinels: Vec<String> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://:{PASSWORD}@{}/{NAME}", sentinels.join(","))
    }

    /// Which member the sentinels say is the master.
    pub fn master(&self) -> usize {
        let answer = self.sentinels[0].ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).unwrap();
        let (_, port): (String, u16) = redis::from_redis_value(answer).unwrap();
        self.members.iter().position(|member| member.port == port).unwrap()
    }

    /// Waits until there is a master other than this one, which takes writes.
    pub fn until_failed_over(&self, from: usize) {
        until("another takes over", || self.master() != from && self.members[self.master()].is_master());
    }

    /// Whether the replica has heard everything that the master has done.
    pub fn has_heard(&self) -> bool {
        let offset = |member: &Member| {
            let info = member.text(&["INFO", "replication"]);
            info.lines().find_map(|line| line.strip_prefix("master_repl_offset:").map(str::to_owned))
        };
        offset(&self.members[0]) == offset(&self.members[1])
    }

    /// A field of the store's own hash.
    pub fn field(&self, name: &str) -> Option<String> {
        let answer = self.members[self.master()].ask(&["HGET", "af:{meta}:store", name]);
        answer.ok().and_then(|answer| redis::from_redis_value(answer).ok())
    }

    /// Waits until both are there and one follows the other.
    pub fn until_well(&self) {
        until("the replica follows again", || {
            let master = self.master();
            self.members[master].is_master() && self.members[1 - master].follows()
        });
        until("the sentinels know everybody again", || self.sentinels.iter().all(Watched::knows_everybody));
    }
}

impl Look for Watched {
    fn scripts(&self, text: &str, arguments: &[&str]) -> redis::RedisResult<Vec<redis::Value>> {
        self.members[self.master()].scripts(text, arguments).map(|answer| vec![answer])
    }
}
