//! A cluster of nodes on this machine.

use super::{Member, PASSWORD, free_port, until};
use crate::redis::{Disk, Look};
use tempfile::TempDir;

/// Slots of every cluster.
const SLOTS: usize = 16_384;

/// See the module.
pub struct Cluster {
    folder: TempDir,
    /// The first masters, then the first replicas in the order of their masters.
    pub members: Vec<Member>,
}

impl Cluster {
    /// Starts so many masters, each with so many replicas, and waits until they work together.
    pub fn start(masters: usize, replicas: usize, disk: Disk) -> Cluster {
        let folder = tempfile::Builder::new().prefix("autofunnel-cluster-").tempdir().unwrap();
        let mut members = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..masters * (1 + replicas) {
            let bus = free_port().to_string();
            let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &bus];
            let others = ["--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0"];
            let own = cluster.iter().chain(&others).map(|word| (*word).to_owned());
            members.push(Member::start(folder.path(), Member::arguments(disk).into_iter().chain(own).collect()));
            buses.push(bus);
        }
        let cluster = Cluster { folder, members };
        for (at, member) in cluster.members.iter().enumerate().take(masters) {
            let (first, last) = (at * SLOTS / masters, (at + 1) * SLOTS / masters - 1);
            member.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).unwrap();
            member.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).unwrap();
        }
        for (member, bus) in cluster.members.iter().zip(&buses).skip(1) {
            cluster.members[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &member.port.to_string(), bus]).unwrap();
        }
        let all = cluster.members.len();
        let knows = |member: &Member| {
            let info = member.text(&["CLUSTER", "INFO"]);
            info.contains(&format!("cluster_known_nodes:{all}\r")) && info.contains(&format!("cluster_slots_assigned:{SLOTS}\r"))
        };
        until("all nodes know each other", || cluster.members.iter().all(knows));
        for at in 0..masters * replicas {
            let master = cluster.id(at % masters);
            let replica = &cluster.members[masters + at];
            until("a replica may follow", || replica.ask(&["CLUSTER", "REPLICATE", &master]).is_ok());
        }
        cluster.until_well();
        cluster
    }

    /// Waits until every slot is served and every replica follows.
    pub fn until_well(&self) {
        let well = |member: &Member| {
            member.text(&["CLUSTER", "INFO"]).contains("cluster_state:ok") && (member.is_master() || member.follows())
        };
        until("the cluster is well", || self.members.iter().all(well) && self.masters_know_replicas());
    }

    /// A replica is listed with its master's slots only when it is known what it has heard.
    fn masters_know_replicas(&self) -> bool {
        let masters = self.masters();
        let wanted = self.members.len() / masters.len().max(1);
        let listed = |at: &usize| {
            let slots = self.members[*at].ask(&["CLUSTER", "SLOTS"]).ok();
            let ranges: Vec<Vec<redis::Value>> = slots.and_then(|slots| redis::from_redis_value(slots).ok()).unwrap_or_default();
            // Both ends of a range, its master and its replicas.
            !ranges.is_empty() && ranges.iter().all(|range| range.len() == 2 + wanted)
        };
        masters.iter().all(listed)
    }

    /// Its folder.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Its address: all nodes.
    pub fn address(&self) -> String {
        let nodes: Vec<String> = self.members.iter().map(|member| format!("127.0.0.1:{}", member.port)).collect();
        format!("redis+cluster://:{PASSWORD}@{}", nodes.join(","))
    }

    /// A node's name in the cluster.
    pub fn id(&self, at: usize) -> String {
        self.members[at].text(&["CLUSTER", "MYID"])
    }

    /// The nodes that have slots now.
    pub fn masters(&self) -> Vec<usize> {
        let has_slots = |member: &Member| {
            let nodes = member.text(&["CLUSTER", "NODES"]);
            let own = nodes.lines().find(|line| line.contains("myself,master")).unwrap_or_default();
            own.split(' ').nth(8).is_some()
        };
        (0..self.members.len()).filter(|at| has_slots(&self.members[*at])).collect()
    }

    /// The node that follows another one.
    pub fn replica_of(&self, master: usize) -> usize {
        let of = format!("master_port:{}\r", self.members[master].port);
        let follows = |member: &Member| member.text(&["INFO", "replication"]).contains(&of);
        self.members.iter().position(follows).unwrap()
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        redis::from_redis_value(self.members[0].ask(&["CLUSTER", "KEYSLOT", key]).unwrap()).unwrap()
    }

    /// The node that has a slot.
    pub fn owner(&self, slot: u16) -> usize {
        // A node that owns it accepts the question for its keys' number without a redirection to another.
        let key = format!("{{{}}}", self.tag(slot));
        let masters = self.masters();
        *masters.iter().find(|at| self.members[**at].ask(&["EXISTS", &key]).is_ok()).unwrap()
    }

    /// A text whose slot is this one.
    fn tag(&self, slot: u16) -> String {
        let known = |shard: &u32| self.slot(&format!("af:{{{shard}}}:lease")) == slot;
        (0..256u32).find(known).unwrap().to_string()
    }

    /// Begins to move a slot.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        self.members[to].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]).unwrap();
        self.members[from].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]).unwrap();
    }

    /// Moves up to so many of its keys; how many there were.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize, most: usize) -> usize {
        let asked = self.members[from].ask(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &most.to_string()]);
        let keys: Vec<String> = redis::from_redis_value(asked.unwrap()).unwrap();
        if !keys.is_empty() {
            let port = self.members[to].port.to_string();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "AUTH", PASSWORD, "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            self.members[from].ask(&words).unwrap();
        }
        keys.len()
    }

    /// Gives a slot to a node for good.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), self.id(to));
        for at in [to, from] {
            self.members[at].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]).unwrap();
        }
    }

    /// Forgets everything, on every node.
    pub fn flush(&self) {
        for at in self.masters() {
            self.members[at].ask(&["FLUSHALL"]).unwrap();
        }
    }
}

impl Look for Cluster {
    fn scripts(&self, text: &str, arguments: &[&str]) -> redis::RedisResult<Vec<redis::Value>> {
        self.masters().iter().map(|at| self.members[*at].scripts(text, arguments)).collect()
    }
}
