//! Redis comes back older than it was, or empty: nothing is sent until an operator has looked at it, and
//! everything else goes on.

use super::{Done, conclude, rounds};
use crate::crash::home::Kind;
use crate::crash::process::{PATIENCE, Process};
use crate::crash::world::World;
use crate::provider::{Dice, Plan};
use crate::redis::{Disk, Server};
use std::path::Path;

/// A lease as long as the shipped one would only make what was in hand wait; in milliseconds.
const LEASE_MS: i64 = 1_500;
/// What the engine says when it has noticed.
const PAUSED: &str = "NOTHING IS SENT";
/// So many signs of life of a worker have to pass in which nothing is sent.
const BEATS: usize = 4;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The instant that the worker has last noted in a file of its own.
fn noted(world: &World) -> i64 {
    let text = std::fs::read_to_string(world.folder().join("state-0/watermark")).unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|ms| ms.parse().ok()).unwrap_or(0)
}

fn until(world: &World, engine: &Process, what: &str, holds: impl FnMut() -> bool) {
    if !world.bell.until(PATIENCE, holds) {
        world.keep("older");
        panic!("{what}:\n{}\n{}", world.home.waiting(), engine.log());
    }
}

/// Waits for some signs of life, and holds that nothing was sent meanwhile.
fn nothing_is_sent(world: &World, engine: &Process, calls: usize) {
    let alive = |server: &Server| {
        let mut all = redis::cmd("ZRANGE");
        all.arg("af:{meta}:workers").arg(0).arg(-1).arg("WITHSCORES");
        server.query(&all).ok()
    };
    let server = &world.home.remote().server;
    let (mut last, mut beats) = (alive(server), 0);
    until(world, engine, "the worker gives no sign of life", || {
        let now = alive(server);
        beats += usize::from(now.is_some() && now != last);
        last = now;
        beats >= BEATS
    });
    assert_eq!(world.provider.count(), calls, "something was sent before anybody had looked:\n{}", engine.log());
}

#[test]
fn an_older_redis_is_not_sent_from_until_somebody_has_looked() {
    let rounds = rounds(1, 20);
    for round in 0..rounds {
        let mut dice = Dice::new(401, &format!("older {round}"));
        let mut world = World::new(Kind::Redis(Disk::Always, LEASE_MS), Plan::new(401 + round as u64, 20, 1));
        let mut engine = world.start(None);
        world.load(3, 1, 4);
        assert!(world.until_done(&engine), "{}", engine.log());
        let first = world.customers();
        world.load(4, 2, 6);
        world.some_work(&mut dice, &[&engine]);
        let folder = world.home.remote().server.folder().to_owned();
        copy(&folder.join("appendonlydir"), &folder.join("older"));
        let before = noted(&world);
        assert!(world.until_done(&engine), "{}", engine.log());
        // The worker notes how far the store was once a second.
        until(&world, &engine, "the worker notes nothing", || noted(&world) > before + 1_000);
        let (calls, at_risk) = (world.provider.count(), first..world.customers());

        let server = &mut world.home.remote_mut().server;
        server.kill();
        std::fs::remove_dir_all(folder.join("appendonlydir")).unwrap();
        std::fs::rename(folder.join("older"), folder.join("appendonlydir")).unwrap();
        server.go();
        until(&world, &engine, "nobody notices", || engine.log().contains(PAUSED));
        // The doors stay open.
        world.load(3, 1, 4);
        until(&world, &engine, "senders get no answer", || world.post.counts().1 == 0);
        nothing_is_sent(&world, &engine, calls);
        world.confirm();
        assert!(world.until_done(&engine), "{}", engine.log());
        engine.terminate();
        assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
        conclude("redis came back older", &world, Done { rounds: round + 1, faults: round + 1, at_risk, ..Done::default() });
    }
}

#[test]
fn an_emptied_redis_is_not_sent_from_until_somebody_has_looked() {
    let mut dice = Dice::new(402, "empty");
    let mut world = World::new(Kind::Redis(Disk::EverySecond, LEASE_MS), Plan::new(402, 20, 1));
    let mut engine = world.start(None);
    world.load(4, 2, 6);
    world.some_work(&mut dice, &[&engine]);
    let noted_once = || noted(&world) > 0;
    until(&world, &engine, "the worker notes nothing", noted_once);
    world.post.goes_to(None);
    world.home.remote().server.query(&redis::cmd("FLUSHALL")).unwrap();
    until(&world, &engine, "nobody notices", || engine.log().contains(PAUSED));
    let calls = world.provider.count();
    nothing_is_sent(&world, &engine, calls);
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());

    // The read side's file is of the store that is gone: it is not continued with another one.
    let mut refused = world.spawn(crate::crash::world::Launch::default());
    assert_eq!(refused.status().code(), Some(1), "{}", refused.log());
    assert!(refused.log().contains("follows another store"), "{}", refused.log());
    std::fs::remove_file(world.folder().join("report.db")).unwrap();

    let mut engine = world.start(None);
    until(&world, &engine, "nobody notices", || engine.log().contains(PAUSED));
    until(&world, &engine, "senders get no answer", || world.post.counts().1 == 0);
    let at_risk = 0..world.customers();
    world.load(3, 1, 4);
    until(&world, &engine, "senders get no answer", || world.post.counts().1 == 0);
    nothing_is_sent(&world, &engine, calls);
    world.confirm();
    assert!(world.until_done(&engine), "{}", engine.log());
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    conclude("redis was emptied", &world, Done { rounds: 1, faults: 1, at_risk, ..Done::default() });
}
