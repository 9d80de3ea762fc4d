//! Several workers on one store: they are killed, stand still for longer than their lease, and are replaced
//! one by one while doors and read side stay.

use super::{Done, conclude, rounds};
use crate::crash::home::{Kind, LEASE_MS};
use crate::crash::long;
use crate::crash::process::{PATIENCE, Process};
use crate::crash::world::{Launch, World};
use crate::provider::{Dice, Plan};
use crate::redis::{Disk, Look};
use std::time::{Duration, Instant};

/// The lease of an engine as it is shipped, in milliseconds.
const SHIPPED_LEASE_MS: i64 = 15_000;
/// A dead worker's shards have another after this at the latest, with the shipped lease.
const TAKEOVER_MAX: Duration = Duration::from_secs(20);

/// A worker and the name under which the store knows it.
struct Worker {
    process: Process,
    name: String,
    slot: usize,
}

/// Doors and workers.
struct Fleet {
    world: World,
    door: Process,
    workers: Vec<Worker>,
}

impl Fleet {
    fn start(kind: Kind, seed: u64, size: usize) -> Fleet {
        let mut world = World::new(kind, Plan::new(seed, 20, 1));
        world.several = true;
        let door = world.launch(Launch { role: "web,report", ..Launch::default() });
        let mut fleet = Fleet { world, door, workers: Vec::new() };
        (1..=size).for_each(|slot| fleet.add(slot));
        fleet
    }

    fn add(&mut self, slot: usize) {
        let before = self.world.home.remote().server.workers();
        let process = self.world.launch(Launch { role: "worker", slot, ..Launch::default() });
        let server = &self.world.home.remote().server;
        let mut name = None;
        let known = || {
            name = server.workers().into_iter().find(|name| !before.contains(name));
            name.is_some()
        };
        assert!(self.world.bell.until(PATIENCE, known), "{}", process.log());
        self.workers.push(Worker { process, name: name.unwrap(), slot });
    }

    fn work(&self, dice: &mut Dice) {
        self.world.some_work(dice, &self.processes());
    }

    fn processes(&self) -> Vec<&Process> {
        self.workers.iter().map(|worker| &worker.process).chain([&self.door]).collect()
    }

    /// Waits until a worker owns nothing any more and every shard has an owner.
    fn until_replaced(&self, name: &str) {
        let replaced = || self.world.home.remote().server.owned(name) == (0, 256);
        let logs = || self.processes().iter().map(|process| process.log()).collect::<String>();
        assert!(self.world.bell.until(PATIENCE, replaced), "nobody takes its shards:\n{}", logs());
    }

    fn finish(mut self, row: &str, done: Done) {
        assert!(self.world.until_all_done(&self.processes()), "a process ended by itself");
        for mut process in self.workers.drain(..).map(|worker| worker.process).chain([self.door]) {
            process.terminate();
            assert_eq!(process.status().code(), Some(0), "{}", process.log());
        }
        conclude(row, &self.world, done);
    }
}

fn kills(row: &str, lease_ms: i64, size: usize, rounds: usize) -> Vec<Duration> {
    let mut dice = Dice::new(301, row);
    let mut fleet = Fleet::start(Kind::Redis(Disk::EverySecond, lease_ms), 301, size);
    let mut takeovers = Vec::new();
    for _ in 0..rounds {
        fleet.world.load(4, 2, 8);
        fleet.work(&mut dice);
        let mut victim = fleet.workers.remove(dice.below(size as u64) as usize);
        victim.process.kill();
        let killed = Instant::now();
        fleet.until_replaced(&victim.name);
        takeovers.push(killed.elapsed());
        fleet.add(victim.slot);
    }
    fleet.finish(row, Done { rounds, faults: rounds, takeovers: takeovers.clone(), ..Done::default() });
    takeovers
}

#[test]
fn workers_are_killed_under_load_and_replaced() {
    kills("one of two workers killed", LEASE_MS, 2, rounds(3, 150));
    if long() {
        kills("one of three workers killed", LEASE_MS, 3, 150);
        let takeovers = kills("one of two workers killed, lease 15 s", SHIPPED_LEASE_MS, 2, 20);
        assert!(takeovers.iter().all(|takeover| *takeover <= TAKEOVER_MAX), "{takeovers:?}");
    }
}

#[test]
fn a_worker_that_stood_still_past_its_lease_commits_nothing_stale() {
    let rounds = rounds(3, 200);
    let mut dice = Dice::new(302, "still");
    let mut fleet = Fleet::start(Kind::REDIS, 302, 2);
    let mut takeovers = Vec::new();
    for _ in 0..rounds {
        fleet.world.load(4, 2, 8);
        fleet.work(&mut dice);
        let still = dice.below(2) as usize;
        fleet.workers[still].process.signal("STOP");
        let stopped = Instant::now();
        fleet.until_replaced(&fleet.workers[still].name);
        takeovers.push(stopped.elapsed());
        fleet.world.load(2, 1, 4);
        fleet.work(&mut dice);
        fleet.workers[still].process.signal("CONT");
        fleet.work(&mut dice);
    }
    // Each of them has found out that it had been replaced.
    let told: usize = fleet.workers.iter().map(|worker| worker.process.log().matches("went to another worker").count()).sum();
    assert!(told > 0, "nobody was refused anything");
    fleet.finish("a worker stands still past its lease", Done { rounds, faults: rounds, takeovers, ..Done::default() });
}

#[test]
fn workers_are_replaced_one_by_one_without_loss() {
    let rounds = rounds(3, 200);
    let mut dice = Dice::new(303, "rolling");
    let mut fleet = Fleet::start(Kind::REDIS, 303, 2);
    let mut takeovers = Vec::new();
    for _ in 0..rounds {
        fleet.world.load(4, 2, 8);
        fleet.work(&mut dice);
        let mut old = fleet.workers.remove(0);
        old.process.terminate();
        let asked = Instant::now();
        assert_eq!(old.process.status().code(), Some(0), "{}", old.process.log());
        fleet.until_replaced(&old.name);
        takeovers.push(asked.elapsed());
        fleet.add(old.slot);
    }
    fleet.finish("workers replaced one by one", Done { rounds, faults: rounds, takeovers, ..Done::default() });
}
