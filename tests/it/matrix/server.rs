//! Redis itself: it ends in the middle of work and comes back over the same files, loses the end of its
//! file, forgets the scripts, ends every connection, has no memory left. The engine goes on by itself.

use super::{Done, conclude, rounds};
use crate::crash::home::Kind;
use crate::crash::process::{PATIENCE, Process};
use crate::crash::world::World;
use crate::provider::{Dice, Plan};
use crate::redis::{Disk, Server};
use std::path::PathBuf;

/// A lease as long as the shipped one would only make what was in hand wait; in milliseconds.
const LEASE_MS: i64 = 1_500;

fn command(server: &Server, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    server.query(&command).unwrap();
}

fn stop(world: &World, engine: &mut Process) {
    assert!(world.until_done(engine), "the engine ended by itself:\n{}", engine.log());
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
}

/// Brings work and faults in turn upon one engine, which must outlive all of them.
fn faults(kind: Kind, seed: u64, rounds: usize, mut fault: impl FnMut(&mut World, usize, &Process)) -> World {
    let mut dice = Dice::new(seed, "faults");
    let mut world = World::new(kind, Plan::new(seed, 20, 1));
    let mut engine = world.start(None);
    for round in 0..rounds {
        world.load(4, 2, 10);
        world.some_work(&mut dice, &[&engine]);
        fault(&mut world, round, &engine);
    }
    stop(&world, &mut engine);
    world
}

fn restarts(row: &str, disk: Disk, seed: u64) {
    let rounds = rounds(3, 100);
    let world = faults(Kind::Redis(disk, LEASE_MS), seed, rounds, |world, _, _| {
        let server = &mut world.home.remote_mut().server;
        server.kill();
        server.go();
    });
    conclude(row, &world, Done { rounds, faults: rounds, ..Done::default() });
}

#[test]
fn redis_that_syncs_always_is_killed_in_mid_load() {
    restarts("redis killed, fsync always", Disk::Always, 101);
}

#[test]
fn redis_that_syncs_each_second_is_killed_in_mid_load() {
    restarts("redis killed, fsync everysec", Disk::EverySecond, 102);
}

#[test]
fn scripts_are_forgotten_and_connections_ended_in_mid_load() {
    let rounds = rounds(6, 200);
    let world = faults(Kind::Redis(Disk::EverySecond, LEASE_MS), 103, rounds, |world, round, _| {
        let server = &world.home.remote().server;
        match round % 3 {
            0 => command(server, &["SCRIPT", "FLUSH"]),
            1 => command(server, &["CLIENT", "KILL", "TYPE", "normal"]),
            _ => {
                command(server, &["SCRIPT", "FLUSH"]);
                command(server, &["CLIENT", "KILL", "TYPE", "normal"]);
                command(server, &["CLIENT", "KILL", "TYPE", "pubsub"]);
            }
        }
    });
    conclude("scripts flushed, connections ended", &world, Done { rounds, faults: rounds, ..Done::default() });
}

#[test]
fn redis_has_no_memory_left_for_a_while() {
    let (rounds, mut before) = (rounds(2, 50), 0);
    let world = faults(Kind::Redis(Disk::EverySecond, LEASE_MS), 104, rounds, |world, _, engine| {
        command(&world.home.remote().server, &["CONFIG", "SET", "maxmemory", "1mb"]);
        world.load(2, 1, 4);
        let refused = || engine.log().matches("no memory left").count();
        assert!(world.bell.until(PATIENCE, || refused() > before || engine.has_ended()), "{}", engine.log());
        command(&world.home.remote().server, &["CONFIG", "SET", "maxmemory", "0"]);
        before = refused();
    });
    conclude("redis without memory", &world, Done { rounds, faults: rounds, ..Done::default() });
}

/// The file that Redis appends to.
fn append_only_file(server: &Server) -> PathBuf {
    let folder = server.folder().join("appendonlydir");
    let newest = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    newest.filter(|path| path.to_str().unwrap().ends_with(".incr.aof")).max().unwrap()
}

/// A crash of the machine under a Redis that syncs once a second: the end of its file is gone, torn in the
/// middle of a command. What was accepted and done before that stays; the rest is what the operator risked.
#[test]
fn the_torn_end_of_a_file_costs_what_came_in_it_and_no_more() {
    let rounds = rounds(2, 50);
    for round in 0..rounds {
        let (mut dice, seed) = (Dice::new(105, &format!("torn {round}")), 1_050 + round as u64);
        let mut world = World::new(Kind::Redis(Disk::EverySecond, LEASE_MS), Plan::new(seed, 20, 1));
        let mut engine = world.start(None);
        world.load(4, 2, 6);
        assert!(world.until_done(&engine), "{}", engine.log());
        let file = append_only_file(&world.home.remote().server);
        let (sure, first) = (std::fs::metadata(&file).unwrap().len(), world.customers());
        world.load(4, 2, 6);
        world.some_work(&mut dice, &[&engine]);
        world.home.remote_mut().server.kill();
        let left = std::fs::metadata(&file).unwrap().len();
        let torn = std::fs::File::options().write(true).open(&file).unwrap();
        torn.set_len(sure + dice.below(left - sure)).unwrap();
        drop(torn);
        world.home.remote_mut().server.go();
        // Those who were promised something at that time send no more; new ones come.
        let at_risk = first..world.customers();
        assert!(world.bell.until(PATIENCE, || world.post.counts().1 == 0 || engine.has_ended()), "{}", engine.log());
        if engine.log().contains("NOTHING IS SENT") {
            world.confirm();
        }
        world.load(3, 1, 4);
        stop(&world, &mut engine);
        let row = "redis loses the end of its file";
        conclude(row, &world, Done { rounds: round + 1, faults: round + 1, at_risk, ..Done::default() });
    }
}
