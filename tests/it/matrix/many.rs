//! Several Redises: slots of a cluster move under load, a master ends and its replica takes over. What a
//! fail-over may cost without `--wait-replicas` is counted; with it, it must cost nothing.

use super::{Done, conclude, rounds};
use crate::crash::home::{Group, Kind};
use crate::crash::process::{PATIENCE, Process};
use crate::crash::world::World;
use crate::provider::{Dice, Plan};
use crate::redis_many::{Cluster, Many, PASSWORD};
use std::process::{Command, Stdio};

/// A lease that outlives a fail-over, in milliseconds.
const LEASE_MS: i64 = 4_000;
/// What the engine says when it has noticed a loss.
const PAUSED: &str = "NOTHING IS SENT";

fn cluster(world: &mut World) -> &mut Cluster {
    match world.home.many() {
        Many::Cluster(cluster) => cluster,
        Many::Watched(_) => panic!("this world has no cluster"),
    }
}

/// Moves so many slots from one node to another, as an operator does.
fn reshard(cluster: &Cluster, from: usize, to: usize, slots: usize) {
    let mut command = Command::new("redis-cli");
    command.args(["-a", PASSWORD, "--no-auth-warning", "--cluster", "reshard"]);
    command.arg(format!("127.0.0.1:{}", cluster.members[0].port));
    command.args(["--cluster-from", &cluster.id(from), "--cluster-to", &cluster.id(to)]);
    command.args(["--cluster-slots", &slots.to_string(), "--cluster-yes"]);
    let done = command.stdin(Stdio::null()).output().expect("redis-cli is needed for these tests");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    cluster.until_well();
}

#[test]
fn slots_move_under_load() {
    let rounds = rounds(2, 40);
    let mut dice = Dice::new(501, "slots");
    let mut world = World::new(Kind::Many(Group::Cluster, LEASE_MS, 0), Plan::new(501, 20, 1));
    let mut engine = world.start(None);
    for round in 0..rounds {
        world.load(6, 2, 12);
        world.some_work(&mut dice, &[&engine]);
        let (from, to) = (round % 3, (round + 1) % 3);
        reshard(cluster(&mut world), from, to, 1_500);
        world.some_work(&mut dice, &[&engine]);
    }
    finish(&mut world, &mut engine);
    assert!(!engine.log().contains(PAUSED), "nothing was lost:\n{}", engine.log());
    conclude("slots of a cluster moved", &world, Done { rounds, faults: rounds, ..Done::default() });
}

fn finish(world: &mut World, engine: &mut Process) {
    assert!(world.until_done(engine), "the engine ended by itself:\n{}", engine.log());
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
}

/// Kills a master in mid-load, waits until the replica has taken over, and lets the old one follow it.
fn fail_over(world: &mut World, round: usize) {
    match world.home.many() {
        Many::Cluster(cluster) => {
            let masters = cluster.masters();
            let victim = masters[round % masters.len()];
            cluster.members[victim].kill();
            crate::redis_many::until("a replica takes over", || {
                let now = cluster.masters();
                now.len() == masters.len() && !now.contains(&victim)
            });
            cluster.members[victim].go();
            cluster.until_well();
        }
        Many::Watched(watched) => {
            let victim = watched.master();
            watched.members[victim].kill();
            watched.until_failed_over(victim);
            watched.members[victim].go();
            watched.until_well();
        }
    }
}

/// What the fail-overs of a world have cost is counted where it waits for no replica; else it must be nothing.
fn failovers(row: &str, group: Group, seed: u64, wait_replicas: usize, rounds: usize) {
    let mut dice = Dice::new(seed, row);
    let mut world = World::new(Kind::Many(group, LEASE_MS, wait_replicas), Plan::new(seed, 20, 1));
    let mut engine = world.start(None);
    let mut pauses = 0;
    for round in 0..rounds {
        world.load(6, 2, 12);
        world.some_work(&mut dice, &[&engine]);
        fail_over(&mut world, round);
        // Senders are answered whether anything is sent or not; what is left then has to wait for an operator.
        let answered = || world.post.counts().1 == 0 || engine.log().matches(PAUSED).count() > pauses;
        assert!(world.bell.until(PATIENCE, answered), "{}", engine.log());
        if engine.log().matches(PAUSED).count() > pauses {
            pauses = engine.log().matches(PAUSED).count();
            world.confirm();
        }
        world.some_work(&mut dice, &[&engine]);
    }
    finish(&mut world, &mut engine);
    println!("{row}: sending was paused {pauses} times in {rounds} fail-overs");
    let at_risk = if wait_replicas == 0 { 0..world.customers() } else { 0..0 };
    assert!(wait_replicas == 0 || pauses == 0, "nothing that was answered was lost:\n{}", engine.log());
    conclude(row, &world, Done { rounds, faults: rounds, at_risk, ..Done::default() });
}

#[test]
fn a_master_behind_sentinels_fails_over_under_load() {
    failovers("sentinel fail-over, no WAIT", Group::Watched, 502, 0, rounds(1, 20));
}

#[test]
fn a_master_behind_sentinels_fails_over_and_nothing_that_a_replica_confirmed_is_lost() {
    failovers("sentinel fail-over, WAIT 1", Group::Watched, 503, 1, rounds(1, 20));
}

#[test]
fn a_master_of_a_cluster_fails_over_under_load() {
    failovers("cluster fail-over, no WAIT", Group::ClusterWithReplicas, 504, 0, rounds(1, 20));
}

#[test]
fn a_master_of_a_cluster_fails_over_and_nothing_that_a_replica_confirmed_is_lost() {
    failovers("cluster fail-over, WAIT 1", Group::ClusterWithReplicas, 505, 1, rounds(1, 20));
}
