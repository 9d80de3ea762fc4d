//! The link between the engine and Redis: slow, dripping, silent, reset, and cut at every byte of the answer
//! to a commit, so that what was done is not known to have been done.

use super::{Done, conclude, rounds};
use crate::crash::home::Kind;
use crate::crash::long;
use crate::crash::process::PATIENCE;
use crate::crash::world::World;
use crate::provider::{Dice, Plan};
use crate::proxy::Link;
use crate::redis::Disk;
use sha1::{Digest, Sha1};
use std::time::Duration;

/// Short, as what was handed out in an answer that was lost comes back only after it; in milliseconds.
const LEASE_MS: i64 = 1_500;
/// Scripts whose answers are cut, with what every script begins with.
const CUT_SCRIPTS: [(&str, &str); 7] = [
    ("commit", include_str!("../../../src/store/redis/lua/commit.lua")),
    ("accept", include_str!("../../../src/store/redis/lua/accept.lua")),
    ("claim", include_str!("../../../src/store/redis/lua/claim.lua")),
    ("begin", include_str!("../../../src/store/redis/lua/begin.lua")),
    ("settle", include_str!("../../../src/store/redis/lua/settle.lua")),
    ("retry", include_str!("../../../src/store/redis/lua/retry.lua")),
    ("effects", include_str!("../../../src/store/redis/lua/effects.lua")),
];
const PRELUDE: &str = include_str!("../../../src/store/redis/lua/prelude.lua");
/// Longest answer to a commit that is cut at every byte.
const CUT_BYTES_MAX: usize = 160;

/// The name under which Redis knows a script.
fn sha(body: &str) -> String {
    Sha1::digest(format!("{PRELUDE}\n{body}").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_slow_dripping_or_reset_link_loses_and_doubles_nothing() {
    let rounds = rounds(4, 100);
    let mut dice = Dice::new(201, "link");
    let mut world = World::new(Kind::Proxied(Disk::EverySecond, LEASE_MS), Plan::new(201, 20, 1));
    let mut engine = world.start(None);
    let links = [
        Link::Late(Duration::from_millis(15)),
        Link::Drip(300, Duration::from_millis(1)),
        Link::Open,
        Link::Late(Duration::from_millis(3)),
    ];
    for round in 0..rounds {
        world.home.remote().proxy().set(links[round % links.len()]);
        world.load(3, 2, 6);
        world.some_work(&mut dice, &[&engine]);
        world.home.remote().proxy().reset();
    }
    world.home.remote().proxy().set(Link::Open);
    assert!(world.until_done(&engine), "{}", engine.log());
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    conclude("link slow, dripping, reset", &world, Done { rounds, faults: 2 * rounds, ..Done::default() });
}

#[test]
fn a_silent_link_loses_and_doubles_nothing() {
    let rounds = rounds(1, 20);
    let mut dice = Dice::new(202, "silent");
    let mut world = World::new(Kind::Proxied(Disk::EverySecond, LEASE_MS), Plan::new(202, 20, 1));
    let mut engine = world.start(None);
    for round in 1..=rounds {
        world.load(4, 2, 6);
        world.some_work(&mut dice, &[&engine]);
        world.home.remote().proxy().set(Link::Silent);
        // As long as it takes the engine to find that out.
        let noticed = || engine.log().matches("Redis is out of reach").count() >= round || engine.has_ended();
        assert!(world.bell.until(PATIENCE, noticed), "{}", engine.log());
        world.home.remote().proxy().set(Link::Open);
        assert!(world.until_done(&engine), "{}", engine.log());
    }
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    conclude("link silent until noticed", &world, Done { rounds, faults: rounds, ..Done::default() });
}

#[test]
fn answers_cut_at_any_byte_lose_and_double_nothing() {
    let mut world = World::new(Kind::Proxied(Disk::EverySecond, LEASE_MS), Plan::new(203, 20, 1));
    let mut engine = world.start(None);
    let commits = (0..CUT_BYTES_MAX).step_by(if long() { 1 } else { 16 }).map(|after| (0, after));
    let others = (1..CUT_SCRIPTS.len()).flat_map(|script| (0..rounds(1, 40)).map(move |n| (script, n * 5 + script)));
    let (mut tried, mut cut) = (0, 0);
    for (script, after) in commits.chain(others) {
        let proxy = world.home.remote().proxy();
        let before = proxy.cuts();
        proxy.cut(&sha(CUT_SCRIPTS[script].1), after);
        tried += 1;
        // Work until the cut has happened, or the answer was shorter.
        let happened = |world: &World| world.home.remote().proxy().cuts() != before;
        while !happened(&world) {
            world.load(2, 1, 2);
            let idle = || world.post.counts().1 == 0 && world.is_idle();
            assert!(world.bell.until(PATIENCE, || happened(&world) || idle() || engine.has_ended()), "{}", engine.log());
            assert!(!engine.has_ended(), "{}", engine.log());
        }
        cut += world.home.remote().proxy().cuts().0 - before.0;
    }
    assert!(world.until_done(&engine), "{}", engine.log());
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    assert!(cut * 2 > tried, "of {tried} cuts only {cut} happened");
    conclude("answers cut at byte n", &world, Done { rounds: tried, faults: cut, ..Done::default() });
}
