//! Nothing accepted is lost and nothing is doubled, however the engine ends: real processes of the real
//! binary are aborted at every failpoint, killed at random under load, asked to stop in the middle of work.
//!
//! After each of them another process does the rest, and [`check`] holds three journals against each other:
//! what the sender was told 2xx, what the engine has on record, every request that the provider saw.
//!
//! A quick slice runs always. `AUTOFUNNEL_LONG=1` runs all of it: every failpoint fifty times, 200 random
//! kills, 200 restarts; `-- --nocapture` shows its reports.

pub mod check;
pub mod home;
pub mod points;
pub mod process;
pub mod sender;
pub mod world;

use crate::provider::{Dice, Plan, Reply};
use autofunnel::store::failpoint_names;
use check::check;
use home::Kind;
use points::{Job, play, report};
use process::PATIENCE;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};
use world::{Launch, World};

/// Worlds at the same time.
const AT_ONCE: usize = 6;
/// Hits of each failpoint in the long run.
const LONG_HITS: usize = 50;
/// Rounds in which they must be reached.
const LONG_ROUNDS_MAX: usize = 100;
/// Customers who wait for a turn at once, so that some are claimed and not begun when the engine is asked to
/// stop.
const CROWD: usize = 400;
/// After so many random kills the engine comes to rest once.
const CAUGHT_UP_EVERY: usize = 8;
/// How long an engine may take to stop.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// The failpoints outside the stores: around the call of a provider and a word to another customer, and before an
/// answer is taken.
const ENGINE_FAILPOINTS: [&str; 5] =
    ["provider.call.before", "provider.call.after", "settle.before", "tell.before", "tell.after"];

/// Failpoints of a kind of store (`sqlite.`, `redis.`), and those of the engine.
fn names(prefix: &str) -> Vec<&'static str> {
    failpoint_names().iter().copied().filter(|name| name.starts_with(prefix)).chain(ENGINE_FAILPOINTS).collect()
}

/// Whether everything is to be run.
pub fn long() -> bool {
    std::env::var("AUTOFUNNEL_LONG").is_ok_and(|value| value == "1")
}

#[test]
fn a_crash_at_any_failpoint_loses_and_doubles_nothing() {
    let names = names("sqlite.");
    let later = |(at, name): (usize, &&'static str)| (*name, 2 + at as u64 % 3);
    let quick = names.iter().map(|name| (*name, 1)).chain(names.iter().enumerate().map(later));
    crash_everywhere(Kind::File, &names, quick.collect(), 2);
}

#[test]
fn a_crash_at_any_failpoint_of_redis_loses_and_doubles_nothing() {
    let names = names("redis.");
    let quick = names.iter().enumerate().map(|(at, name)| (*name, 1 + at as u64 % 3));
    crash_everywhere(Kind::REDIS, &names, quick.collect(), 1);
}

/// Ends engines at each failpoint: at the given hits, or in the long run at many.
fn crash_everywhere(kind: Kind, names: &[&'static str], quick: Vec<(&'static str, u64)>, wanted: usize) {
    let job = |(seed, (point, hit)): (usize, (&'static str, u64))| Job { kind, point, hit, seed: seed as u64 };
    let mut rounds = Vec::new();
    if long() {
        let mut hits: BTreeMap<&str, usize> = BTreeMap::new();
        for round in 0..LONG_ROUNDS_MAX {
            let open = names.iter().filter(|name| hits.get(*name).is_none_or(|count| *count < LONG_HITS));
            // Early and late hits in turn; a late one that is not reached costs only its round.
            let jobs: Vec<Job> = open.map(|name| job((round, (*name, 1 + (round as u64) % 25)))).collect();
            for played in play(jobs, AT_ONCE) {
                *hits.entry(played.job.point).or_default() += usize::from(played.hit);
                assert!(played.verdict.is_good(), "{:?}:\n{}", played.job, played.verdict.text());
                rounds.push(played);
            }
        }
    } else {
        rounds = play(quick.into_iter().enumerate().map(job).collect(), AT_ONCE);
    }
    let (lines, seen, text) = report(names, &rounds);
    println!("{text}");
    for round in &rounds {
        assert!(round.verdict.is_good(), "{:?}:\n{}\n{text}", round.job, round.verdict.text());
        assert!(round.hit || long(), "{:?} was not reached\n{text}", round.job);
    }
    let wanted = if long() { LONG_HITS } else { wanted };
    for (name, line) in lines {
        assert!(line.hits >= wanted, "{name} was hit {} times, not {wanted}\n{text}", line.hits);
    }
    // What is never tried is not proved.
    let tried = [seen.runs, seen.sent_again, seen.repeats, seen.repeats_after_yes, seen.unknown, seen.redecided];
    assert!(tried.iter().all(|count| *count > 0), "{text}");
}

#[test]
fn every_failpoint_of_the_sources_is_tried() {
    let (mut folders, mut found) = (vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for begin in ["failpoint(\"", "before: \"", "after: \"", "=> (\"", ".before\", \""] {
                    let names = text.split(begin).skip(1).filter_map(|rest| rest.split('"').next());
                    let is = |name: &&str| name.ends_with(".before") || name.ends_with(".after");
                    found.extend(names.filter(is).map(str::to_owned));
                }
            }
        }
    }
    let tried: BTreeSet<String> = names("").into_iter().map(str::to_owned).collect();
    assert_eq!(found, tried);
}

#[test]
fn kills_at_random_under_load_lose_and_double_nothing() {
    let kills = if long() { 200 } else { 5 };
    let mut dice = Dice::new(20, "kills");
    let mut world = World::new(Kind::File, Plan::new(20, 20, 2));
    for kill in 1..=kills {
        world.load(4, 2, 10);
        let mut engine = world.start(None);
        // What is left over must not pile up: an engine that only ever meets its backlog proves little.
        if kill % CAUGHT_UP_EVERY == 0 {
            assert!(world.until_done(&engine), "the engine ended by itself:\n{}", engine.log());
            world.load(4, 2, 10);
        }
        world.some_work(&mut dice, &[&engine]);
        engine.kill();
    }
    world.finish();
    conclude(&world, kills);
}

#[test]
fn a_stop_in_the_middle_of_work_is_quick_and_loses_nothing() {
    let stops = if long() { 200 } else { 4 };
    let mut dice = Dice::new(30, "stops");
    let mut world = World::new(Kind::File, Plan::new(30, 20, 1));
    let mut longest = Duration::ZERO;
    for stop in 0..stops {
        world.load(4, 2, 10);
        if stop % 10 == 0 {
            world.load_at_once(CROWD);
        }
        let mut engine = world.start(None);
        world.some_work(&mut dice, &[&engine]);
        let asked = Instant::now();
        engine.terminate();
        assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
        longest = longest.max(asked.elapsed());
        assert!(asked.elapsed() <= DRAIN_MAX, "it took {:?} to stop\n{}", asked.elapsed(), engine.log());
    }
    world.finish();
    println!("{stops} stops, the longest took {longest:?}");
    let verdict = conclude(&world, stops);
    assert_eq!(verdict.seen.repeats_after_yes, 0, "what had begun was not finished before the end");
}

#[test]
fn a_stop_does_not_wait_for_a_provider_that_is_silent() {
    let plan = Plan { troubles: &[Reply::SilenceAfter], ..Plan::new(50, 100, 1) };
    let mut world = World::with_mail_timeout(Kind::File, plan, "60s");
    world.load(3, 1, 2);
    let mut engine = world.start(None);
    // An order and news of each.
    assert!(world.bell.until(PATIENCE, || world.provider.count() >= 6), "{}", engine.log());
    let asked = Instant::now();
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    assert!(asked.elapsed() <= DRAIN_MAX, "it took {:?} to stop\n{}", asked.elapsed(), engine.log());
    world.finish();
    conclude(&world, 1);
}

#[test]
fn a_second_engine_on_the_same_store_is_refused() {
    let mut world = World::new(Kind::File, Plan::new(40, 0, 0));
    let mut first = world.start(None);
    let mut second = world.spawn(Launch::default());
    assert_eq!(second.status().code(), Some(1));
    let log = second.log();
    assert!(log.contains("engine.db is in use by another process"), "{log}");
    // The first one goes on, and its work with it.
    assert_eq!(world.post.ask("/readyz").map(|(status, _)| status), Some(200));
    world.load(2, 1, 2);
    assert!(world.until_done(&first));
    first.terminate();
    assert_eq!(first.status().code(), Some(0), "{}", first.log());
    conclude(&world, 0);
}

fn conclude(world: &World, ends: usize) -> check::Verdict {
    let verdict = check(world);
    println!("{ends} ends, {} processes: {:#?}", world.processes(), verdict.seen);
    if !verdict.is_good() {
        world.keep("ends");
    }
    assert!(verdict.is_good(), "{}", verdict.text());
    verdict
}
