//! One failpoint, one hit: an engine that ends there, another that does the rest, and the check.

use super::check::{Seen, Verdict, check};
use super::home::Kind;
use super::process::{PATIENCE, Process};
use super::world::World;
use crate::provider::{Dice, Plan};
use std::collections::VecDeque;
use std::sync::Mutex;

/// Times more work is brought when the failpoint was not reached.
const HELPINGS_MAX: usize = 6;
/// Inputs of as many customers wait when the engine of a `claim` round comes back.
const TOGETHER: usize = 12;
/// Customers who wait for a turn when an engine is asked to stop.
const CROWD: usize = 400;

/// A place and a time.
#[derive(Clone, Debug)]
pub struct Job {
    /// The store.
    pub kind: Kind,
    /// The failpoint.
    pub point: &'static str,
    /// The engine ends when it is reached for the so manieth time.
    pub hit: u64,
    /// Decides everything else.
    pub seed: u64,
}

/// What came of it.
pub struct Round {
    /// Which.
    pub job: Job,
    /// The engine ended where it was to.
    pub hit: bool,
    /// What was found at the end.
    pub verdict: Verdict,
}

/// Does the jobs, a few at a time.
pub fn play(jobs: Vec<Job>, at_once: usize) -> Vec<Round> {
    let (queue, rounds) = (Mutex::new(VecDeque::from(jobs)), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(job) = { queue.lock().unwrap().pop_front() } {
                    let round = round(job);
                    rounds.lock().unwrap().push(round);
                }
            });
        }
    });
    rounds.into_inner().unwrap()
}

/// Says which round it was when one ends by a panic.
struct Said<'a>(&'a Job);

impl Drop for Said<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was {:?}", self.0);
        }
    }
}

fn round(job: Job) -> Round {
    let said = Said(&job);
    let mut dice = Dice::new(job.seed, job.point);
    let troubles_percent = if job.point.contains("retry") { 60 } else { 25 };
    let mut world = World::new(job.kind, Plan::new(dice.below(u64::MAX), troubles_percent, 1));
    let hit = match job.point {
        "sqlite.open.before" | "sqlite.open.after" | "sqlite.prune.before" | "sqlite.prune.after" => at_start(&mut world, &job),
        "redis.acquire.before" | "redis.acquire.after" => at_start(&mut world, &job),
        "sqlite.claim.before" | "sqlite.claim.after" => at_claim(&mut world, &job),
        "sqlite.close.before" | "sqlite.close.after" => at_close(&mut world, &job),
        "redis.renew.before" | "redis.renew.after" => at_close(&mut world, &job),
        "redis.free.before" | "redis.free.after" => at_giving_back(&mut world, &job),
        "sqlite.fault.before" | "sqlite.fault.after" => at_fault(&mut world, &job),
        "redis.fault.before" | "redis.fault.after" => at_fault(&mut world, &job),
        _ => under_load(&mut world, &job, job.hit),
    };
    world.finish();
    let verdict = check(&world);
    if !verdict.is_good() {
        world.keep(&format!("{}-{}", job.point, job.hit));
    }
    drop(said);
    Round { job, hit, verdict }
}

/// Starts an engine that is to end at a place, and brings work until it does.
fn under_load(world: &mut World, job: &Job, hit: u64) -> bool {
    let mut engine = world.start(Some(&format!("{}:{hit}", job.point)));
    for _ in 0..HELPINGS_MAX {
        world.load(3, 2, 8);
        if !world.until_done(&engine) {
            return engine.crashed();
        }
    }
    stop(&mut engine);
    false
}

fn stop(engine: &mut Process) {
    engine.terminate();
    assert!(engine.status().code() == Some(0) || engine.crashed(), "{}", engine.log());
}

/// The first start, or a later one upon a store that was left in the middle of work.
fn at_start(world: &mut World, job: &Job) -> bool {
    world.load(3, 2, 4);
    if job.hit > 1 {
        let mut before = world.start(None);
        let some = job.hit as usize;
        world.bell.until(PATIENCE, || world.provider.count() > some || world.post.counts().1 == 0);
        before.kill();
    }
    // A part of one pruning is enough to be hit later, and so is one of the takings of shards; a file is opened
    // once per process.
    let hit = match job.point.split('.').nth(1) {
        Some("prune") => 1 + job.hit % 4,
        Some("acquire") => 1 + job.hit % 8,
        _ => 1,
    };
    let mut engine = world.start(Some(&format!("{}:{hit}", job.point)));
    if world.until_done(&engine) {
        stop(&mut engine);
    }
    engine.crashed()
}

/// The counting of what may have ended a process needs a process that has ended with inputs unread: one of
/// a request that was durable and not yet answered. What is counted already goes out one by one, and so
/// this place is reached several times by a third process.
fn at_claim(world: &mut World, job: &Job) -> bool {
    world.load_at_once(TOGETHER);
    let mut first = world.start(Some("sqlite.accept.after:1"));
    assert!(!world.until_done(&first) && first.crashed(), "{}", first.log());
    let mut hit = 1;
    if job.hit > 1 {
        let mut second = world.start(Some("sqlite.claim.after:1"));
        assert!(!world.until_done(&second) && second.crashed(), "{}", second.log());
        hit = 1 + job.hit % (TOGETHER as u64 - 1);
    }
    under_load(world, job, hit)
}

/// Asked to stop in the middle of work, or at rest.
fn at_close(world: &mut World, job: &Job) -> bool {
    world.load(3, 2, 4);
    let hit = if job.point.starts_with("redis.renew") { 1 + job.hit % 8 } else { 1 };
    let mut engine = world.start(Some(&format!("{}:{hit}", job.point)));
    if job.hit.is_multiple_of(2) && job.point.starts_with("sqlite") {
        assert!(world.until_done(&engine));
    } else {
        let some = (job.hit / 2) as usize % 12;
        world.bell.until(PATIENCE, || world.provider.count() > some);
    }
    stop(&mut engine);
    engine.crashed()
}

/// Asked to stop while customers are claimed whose turns have not begun: they are given back.
fn at_giving_back(world: &mut World, job: &Job) -> bool {
    for _ in 0..HELPINGS_MAX {
        world.load(3, 2, 4);
        world.load_at_once(CROWD);
        let (mut engine, calls) = (world.start(Some(&format!("{}:1", job.point))), world.provider.count());
        world.bell.until(PATIENCE, || world.provider.count() > calls || engine.has_ended());
        stop(&mut engine);
        if engine.crashed() {
            return true;
        }
    }
    false
}

/// Turns fail where a document cannot be read.
fn at_fault(world: &mut World, job: &Job) -> bool {
    world.damage("damaged-1");
    world.damage("damaged-2");
    let mut engine = world.start(Some(&format!("{}:{}", job.point, 1 + (job.hit - 1) % 8)));
    world.load(2, 1, 2);
    world.load_damaged(2);
    if world.until_done(&engine) {
        stop(&mut engine);
    }
    engine.crashed()
}

/// Sums by failpoint.
#[derive(Default)]
pub struct Line {
    /// Rounds played.
    pub rounds: usize,
    /// Of these, so many ended there.
    pub hits: usize,
    /// What was lost in them.
    pub lost: usize,
    /// What was doubled.
    pub doubled: usize,
    /// What was wrong otherwise.
    pub wrong: usize,
}

/// The report, and everything that occurred.
pub fn report(names: &[&'static str], rounds: &[Round]) -> (Vec<(&'static str, Line)>, Seen, String) {
    let mut seen = Seen::default();
    rounds.iter().for_each(|round| seen.add(round.verdict.seen));
    let line = |name: &&'static str| {
        let mut line = Line::default();
        for round in rounds.iter().filter(|round| round.job.point == *name) {
            line.rounds += 1;
            line.hits += usize::from(round.hit);
            line.lost += round.verdict.lost.len();
            line.doubled += round.verdict.doubled.len();
            line.wrong += round.verdict.wrong.len();
        }
        (*name, line)
    };
    let lines: Vec<(&'static str, Line)> = names.iter().map(line).collect();
    let mut text = format!("{:<24} {:>7} {:>7} {:>7} {:>7} {:>7}\n", "failpoint", "rounds", "hit", "lost", "doubled", "wrong");
    for (name, line) in &lines {
        let Line { rounds, hits, lost, doubled, wrong } = line;
        text.push_str(&format!("{name:<24} {rounds:>7} {hits:>7} {lost:>7} {doubled:>7} {wrong:>7}\n"));
    }
    text.push_str(&format!("{seen:#?}\n"));
    (lines, seen, text)
}
