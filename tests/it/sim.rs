//! Deterministic simulation of the real core: turns, commits and deliveries of several workers over a model of
//! a store, and of one worker over the embedded store, on a virtual clock, with faults at every call.
//!
//! A seed decides everything: who the customers are and what they send to the real doors, in which order tasks go on,
//! which call fails, loses its answer or is its worker's last, what the provider does, what people pause, release and
//! reject, when the workspace is edited, when clocks jump. After trouble comes calm, and everything must come to rest.
//! The judge sees every answer of the store and every request to the provider, and knows from the promises alone what
//! may be.
//!
//! ```text
//! story ─► worker ─► fault ─► model | embedded store      bug      planted bugs, each of which must be found
//!            │         └────► watch ─► judge ─► verdict   report   how often what happened
//!            └─► outside (provider) ─┘                    world    one step after the other
//! ```
//!
//! `AUTOFUNNEL_SEED=123` plays one seed and prints every step; a failing seed prints the command.
//! `AUTOFUNNEL_SEEDS=500` plays so many, `AUTOFUNNEL_SEEDS=500..600` those, `AUTOFUNNEL_LONG=1` a hundred thousand.

mod bug;
mod fault;
mod judge;
pub mod model;
mod outside;
mod report;
pub mod stage;
mod state;
mod story;
mod truth;
mod verdict;
mod watch;
mod worker;
mod world;

use bug::Bug;
use report::{CALLS, EVENTS, FATES, RARE, RAREST, Report};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use story::{CUSTOMERS_MIN, INPUTS_MIN};
use world::{Played, Setup, play};

/// Seeds of a run that a change must pass: as many as two cores play in about two minutes of an unoptimised build.
const SEEDS: u64 = 400;
/// Seeds of the long run.
const SEEDS_LONG: u64 = 100_000;
/// Every so many seeds one is played over the embedded store as well.
const EMBEDDED_EVERY: u64 = 8;
/// Fewest faults of a seed.
const FAULTS_MIN: u64 = 5;
/// Threads that play.
const THREADS: usize = 2;
/// Most failing seeds that are told of, and most steps of each.
const SHOWN_MAX: usize = 3;
const STEPS_SHOWN_MAX: usize = 40;
/// A planted bug must be found within so many seeds.
const BUG_SEEDS: u64 = 60;

/// Plays seeds on all threads, until one fails.
fn play_all(setups: &[Setup], each: impl Fn(&Setup, Played) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(setup) = setups.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    each(setup, guarded(*setup));
                }
            });
        }
    });
}

/// Plays one seed; a panic in it is one more thing that must not be.
fn guarded(setup: Setup) -> Played {
    let played = std::panic::catch_unwind(|| play(setup));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Played {
            wrong: vec![format!("a panic: {}", text.unwrap_or_default())],
            report: Report::default(),
            trace: Vec::new(),
            customers: 0,
        }
    })
}

/// The one command that repeats a seed.
fn command(setup: &Setup) -> String {
    let embedded = if setup.embedded { "AUTOFUNNEL_EMBEDDED=1 " } else { "" };
    format!("{embedded}AUTOFUNNEL_SEED={} cargo test --test it sim::seeds -- --nocapture", setup.seed)
}

/// A seed that fails, in words: what is wrong, the last steps about the customer concerned, and how to repeat it.
fn tell(setup: &Setup, wrong: &[String]) -> String {
    let is_customer =
        |word: &&str| word.len() == 3 && word.starts_with('c') && word[1..].bytes().all(|byte| byte.is_ascii_digit());
    let mut words = wrong[0].split(|c: char| !c.is_ascii_alphanumeric());
    let whose = words.find(is_customer).unwrap_or("");
    let trace = guarded(Setup { traced: true, ..*setup }).trace;
    let mut last: Vec<&String> = trace.iter().rev().filter(|line| line.contains(whose)).take(STEPS_SHOWN_MAX).collect();
    last.reverse();
    let steps: String = last.iter().map(|line| format!("{line}\n")).collect();
    format!("seed {} fails: {wrong:#?}\nthe last steps of {whose}:\n{steps}repeat it: {}\n", setup.seed, command(setup))
}

fn setups(from: u64, to: u64) -> Vec<Setup> {
    let setup = |seed, embedded| Setup { seed, bug: None, embedded, traced: false };
    let model = (from..to).map(|seed| setup(seed, false));
    model.chain((from..to).step_by(EMBEDDED_EVERY as usize).map(|seed| setup(seed, true))).collect()
}

/// Seeds that the environment asks for: one, with every step; or the long run.
fn asked() -> Result<Vec<Setup>, Setup> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty() && text != "0");
    if let Ok(text) = std::env::var("AUTOFUNNEL_SEED") {
        let seed = text.parse().expect("AUTOFUNNEL_SEED is a number");
        return Err(Setup { seed, bug: None, embedded: variable("AUTOFUNNEL_EMBEDDED").is_some(), traced: true });
    }
    let number = |text: &str| text.parse().expect("AUTOFUNNEL_SEEDS is a number, or two as in 500..600");
    let usual = if variable("AUTOFUNNEL_LONG").is_some() { SEEDS_LONG } else { SEEDS };
    let (from, to) = match variable("AUTOFUNNEL_SEEDS") {
        Some(text) => text.split_once("..").map_or_else(|| (0, number(&text)), |(from, to)| (number(from), number(to))),
        None => (0, usual),
    };
    Ok(setups(from, to))
}

#[test]
fn seeds() {
    let setups = match asked() {
        Ok(setups) => setups,
        Err(one) => {
            let played = guarded(one);
            played.trace.iter().for_each(|line| println!("{line}"));
            println!("{}", played.report);
            assert!(played.wrong.is_empty(), "seed {}: {:#?}", one.seed, played.wrong);
            return;
        }
    };
    let reports = [Mutex::new(Report::default()), Mutex::new(Report::default())];
    let failed = Mutex::new(Vec::new());
    play_all(&setups, |setup, played| {
        let report = &played.report;
        let (inputs, faults) = (report.count("input", "new") + report.count("input", "duplicate"), report.faults());
        let mut wrong = played.wrong.clone();
        if wrong.is_empty() && (played.customers < CUSTOMERS_MIN || inputs < INPUTS_MIN as u64 || faults < FAULTS_MIN) {
            wrong.push(format!("too little happens: {} customers, {inputs} inputs, {faults} faults", played.customers));
        }
        reports[usize::from(setup.embedded)].lock().unwrap().merge(report);
        if !wrong.is_empty() {
            wrong.truncate(5);
            failed.lock().unwrap().push((*setup, wrong));
        }
    });
    let failed = failed.into_inner().unwrap();
    let [model, embedded] = reports.map(|report| report.into_inner().unwrap());
    println!("over the model\n{model}\nover the embedded store\n{embedded}");
    let shown: String = failed.iter().take(SHOWN_MAX).map(|(setup, wrong)| tell(setup, wrong)).collect();
    assert!(failed.is_empty(), "{} of {} seeds fail\n{shown}", failed.len(), setups.len());
    let mut never = Vec::new();
    for (call, fate) in CALLS.iter().flat_map(|call| FATES.iter().map(move |fate| (*call, *fate))) {
        if model.count(call, fate) == 0 {
            never.push(format!("{call}: {fate}"));
        }
        // In one process an answer is lost only with the process, where something would be left with nobody.
        if embedded.count(call, fate) == 0
            && fate != "its answer was lost"
            && !RARE.contains(&call)
            && !RAREST.contains(&(call, fate))
        {
            never.push(format!("embedded store, {call}: {fate}"));
        }
    }
    for (subject, what) in EVENTS {
        if model.count(subject, what) == 0 {
            never.push(format!("{subject}: {what}"));
        }
    }
    assert!(never.is_empty(), "never met: {never:#?}");
}

#[test]
fn a_seed_repeats_exactly() {
    for embedded in [false, true] {
        let setup = Setup { seed: 1, bug: None, embedded, traced: true };
        let (one, other) = (play(setup), play(setup));
        assert_eq!(one.report, other.report);
        assert_eq!(one.trace, other.trace);
        assert_ne!(one.trace, play(Setup { seed: 2, ..setup }).trace);
    }
}

#[test]
fn every_planted_bug_is_found() {
    let found: Arc<Mutex<Vec<(Bug, u64, String)>>> = Arc::default();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let setups = setups(0, BUG_SEEDS).into_iter().filter(|setup| !setup.embedded);
                    let mut played = setups.map(|setup| (setup.seed, guarded(Setup { bug: Some(*bug), ..setup })));
                    if let Some((seed, played)) = played.find(|(_, played)| !played.wrong.is_empty()) {
                        found.lock().unwrap().push((*bug, seed, played.wrong[0].clone()));
                    }
                }
            });
        }
    });
    let mut found = found.lock().unwrap().clone();
    found.sort();
    for (bug, seed, wrong) in &found {
        println!("{bug:?} is found by seed {seed}: {wrong}");
    }
    let missed: Vec<&Bug> = Bug::ALL.iter().filter(|bug| !found.iter().any(|(of, ..)| of == *bug)).collect();
    assert!(missed.is_empty(), "not found within {BUG_SEEDS} seeds: {missed:?}");
}
