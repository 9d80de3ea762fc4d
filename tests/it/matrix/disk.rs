//! The machine under an engine with a store in a file: its disk is full, it stands still, it is ended while
//! it stops.

use super::{Done, conclude, rounds};
use crate::crash::home::Kind;
use crate::crash::process::PATIENCE;
use crate::crash::world::{Launch, World};
use crate::provider::{Dice, Plan};

/// What the file of an engine with a full disk may grow by, at least and at most, in KiB.
const ROOM_KIB: (u64, u64) = (64, 600);

#[test]
fn a_full_disk_loses_and_doubles_nothing() {
    let rounds = rounds(3, 100);
    let mut dice = Dice::new(501, "full");
    let mut world = World::new(Kind::File, Plan::new(501, 20, 1));
    world.may_fail = true;
    world.load(2, 1, 2);
    world.finish();
    let mut full = 0;
    for _ in 0..rounds {
        world.load(4, 2, 10);
        let used =
            ["engine.db", "engine.db-wal"].map(|name| std::fs::metadata(world.folder().join(name)).map_or(0, |file| file.len()));
        let room = ROOM_KIB.0 + dice.below(ROOM_KIB.1 - ROOM_KIB.0);
        let file_kib_max = Some(used.into_iter().max().unwrap_or(0) / 1_024 + room);
        let mut engine = world.spawn(Launch { file_kib_max, ..Launch::default() });
        world.post.goes_to(engine.address());
        let says = |engine: &crate::crash::process::Process| engine.log().contains("full") || engine.log().contains("disk I/O");
        let over = || engine.has_ended() || says(&engine) || (world.post.counts().1 == 0 && world.is_idle());
        assert!(world.bell.until(PATIENCE, over), "{}", engine.log());
        full += usize::from(engine.has_ended() || says(&engine));
        // More bytes cannot be had by this one, whatever it tries.
        if !engine.has_ended() {
            engine.kill();
        }
    }
    assert!(full > 0, "no disk was full");
    world.finish();
    conclude("disk full", &world, Done { rounds, faults: full, ..Done::default() });
}

#[test]
fn an_engine_that_stands_still_goes_on_afterwards() {
    let rounds = rounds(4, 200);
    let mut dice = Dice::new(502, "still");
    let mut world = World::new(Kind::File, Plan::new(502, 20, 1));
    let mut engine = world.start(None);
    for _ in 0..rounds {
        world.load(4, 2, 8);
        world.some_work(&mut dice, &[&engine]);
        engine.signal("STOP");
        // Until the provider has given up on nothing and has nothing more to do: it was asked for the last time.
        let mut seen = (world.provider.count(), 0);
        let quiet = || {
            let count = world.provider.count();
            seen = if count == seen.0 { (count, seen.1 + 1) } else { (count, 0) };
            seen.1 > 5
        };
        assert!(world.bell.until(PATIENCE, quiet));
        engine.signal("CONT");
    }
    assert!(world.until_done(&engine), "{}", engine.log());
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    conclude("one engine stands still", &world, Done { rounds, faults: rounds, ..Done::default() });
}

fn killed_while_it_stops(row: &str, kind: Kind, seed: u64) {
    let rounds = rounds(3, 100);
    let mut dice = Dice::new(seed, "stops");
    let mut world = World::new(kind, Plan::new(seed, 20, 1));
    for round in 0..rounds {
        world.load(4, 2, 8);
        if round % 2 == 0 {
            world.load_at_once(200);
        }
        let mut engine = world.start(None);
        world.some_work(&mut dice, &[&engine]);
        engine.terminate();
        // It has begun to stop; how far it comes is left to chance.
        let stopping = || engine.log().contains("stopping") || engine.has_ended();
        assert!(world.bell.until(PATIENCE, stopping), "{}", engine.log());
        let calls = world.provider.count() + dice.below(4) as usize;
        assert!(world.bell.until(PATIENCE, || world.provider.count() >= calls || engine.has_ended()));
        engine.end();
        world.post.goes_to(None);
    }
    world.finish();
    conclude(row, &world, Done { rounds, faults: rounds, ..Done::default() });
}

#[test]
fn an_engine_killed_while_it_stops_loses_and_doubles_nothing() {
    killed_while_it_stops("killed while it stops", Kind::File, 503);
}

#[test]
fn an_engine_on_redis_killed_while_it_stops_loses_and_doubles_nothing() {
    killed_while_it_stops("killed while it stops (redis)", Kind::REDIS, 504);
}
