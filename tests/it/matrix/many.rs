//! Several Redises: slots of a cluster move under load, a master ends and its replica takes over. What a
//! fail-over may cost without `--wait-replicas` is counted; with it, it must cost nothing.

use super::{Done, conclude, rounds};
use crate::crash::home::{Group, Kind};
use crate::crash::long;
use crate::crash::process::{PATIENCE, Process};
use crate::crash::world::World;
use crate::provider::{Dice, Plan};
use crate::redis_many::{Cluster, Many, PASSWORD};
use std::process::{Command, Stdio};

/// A lease that outlives a fail-over, in milliseconds.
const LEASE_MS: i64 = 4_000;
/// What the engine says when too few replicas have confirmed.
const REFUSED: &str = "replicas have confirmed";
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

/// What happens before a master ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lag {
    /// Its replica follows.
    None,
    /// Its replica has heard nothing for a while, in which senders were answered.
    Behind,
}

/// Kills a master, waits until the replica has taken over, and lets the old one follow it. `before` comes while the
/// replica hears nothing.
fn fail_over(world: &mut World, round: usize, lag: Lag, before: impl FnOnce(&World)) {
    let (victim, heir) = match world.home.many() {
        Many::Cluster(cluster) => {
            let masters = cluster.masters();
            let victim = masters[round % masters.len()];
            (victim, cluster.replica_of(victim))
        }
        Many::Watched(watched) => (watched.master(), 1 - watched.master()),
    };
    if lag == Lag::Behind {
        let members = world.home.many().members();
        members[heir].signal("STOP");
        // Else it would still read what had reached it when it goes on.
        members[victim].ask(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
        before(world);
    }
    let members = world.home.many().members();
    members[victim].kill();
    if lag == Lag::Behind {
        members[heir].signal("CONT");
    }
    match world.home.many() {
        Many::Cluster(cluster) => {
            crate::redis_many::until("the replica takes over", || cluster.masters().contains(&heir));
            cluster.members[victim].go();
            cluster.until_well();
        }
        Many::Watched(watched) => {
            watched.until_failed_over(victim);
            watched.members[victim].go();
            watched.until_well();
        }
    }
}

/// What the fail-overs of a world have cost is counted where it waits for no replica; else it must be nothing.
fn failovers(row: &str, group: Group, seed: u64, wait_replicas: usize, lag: Lag) {
    let (rounds, mut dice) = (rounds(1, 20), Dice::new(seed, row));
    let mut world = World::new(Kind::Many(group, LEASE_MS, wait_replicas), Plan::new(seed, 20, 1));
    let mut engine = world.start(None);
    let (mut pauses, mut refused) = (0, 0);
    for round in 0..rounds {
        world.load(6, 2, 12);
        world.some_work(&mut dice, &[&engine]);
        if lag == Lag::Behind {
            // A sender that waits for a mail that is lost would wait for ever: only such as wait for none are left.
            assert!(world.until_done(&engine), "{}", engine.log());
        }
        world.load(12, 1, 8);
        let counted = |what: &str| engine.log().matches(what).count();
        fail_over(&mut world, round, lag, |world| {
            let answers = world.post.counts().0;
            let enough = || match wait_replicas {
                0 => world.post.counts().0 >= answers + 20,
                _ => counted(REFUSED) > refused,
            };
            assert!(world.bell.until(PATIENCE, || enough() || engine.has_ended()), "{}", engine.log());
        });
        refused = counted(REFUSED);
        // Senders are answered whether anything is sent or not; what is left then has to wait for an operator.
        let answered = || world.post.counts().1 == 0 || counted(PAUSED) > pauses;
        assert!(world.bell.until(PATIENCE, answered), "{}", engine.log());
        let noticed = || counted(PAUSED) > pauses;
        if lag == Lag::Behind && wait_replicas == 0 {
            assert!(world.bell.until(PATIENCE, noticed), "nobody notices what was lost:\n{}", engine.log());
        }
        if noticed() {
            pauses = counted(PAUSED);
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

/// The ordinary run has one row of each kind of servers, the long one all of them.
#[test]
fn masters_fail_over_under_load() {
    failovers("sentinel, replica behind, WAIT 1", Group::Watched, 507, 1, Lag::Behind);
    failovers("cluster, replica behind, no WAIT", Group::ClusterWithReplicas, 508, 0, Lag::Behind);
    if long() {
        failovers("sentinel, replica behind, no WAIT", Group::Watched, 506, 0, Lag::Behind);
        failovers("cluster, replica behind, WAIT 1", Group::ClusterWithReplicas, 509, 1, Lag::Behind);
        failovers("sentinel fail-over, no WAIT", Group::Watched, 502, 0, Lag::None);
        failovers("sentinel fail-over, WAIT 1", Group::Watched, 503, 1, Lag::None);
        failovers("cluster fail-over, no WAIT", Group::ClusterWithReplicas, 504, 0, Lag::None);
        failovers("cluster fail-over, WAIT 1", Group::ClusterWithReplicas, 505, 1, Lag::None);
    }
}
