//! The fault matrix over real processes, beside kills at failpoints: Redis itself ends, forgets, fills up or
//! comes back older; the link to it is bad; workers die, stand still and are replaced; disks are full;
//! providers and senders misbehave in crowds.
//!
//! One check follows every fault: see [`crate::crash::check`]. A quick slice runs always; all of it, with a
//! report, by `AUTOFUNNEL_LONG=1 cargo test --release --test it -- --nocapture --test-threads 1 matrix`.

mod crowd;
mod disk;
mod fleet;
mod link;
mod many;
mod older;
mod server;
mod storm;
mod webhook;

use crate::crash::check::{Verdict, check};
use crate::crash::long;
use crate::crash::world::World;
use std::sync::Mutex;
use std::time::Duration;

/// One row of the report.
struct Line {
    row: String,
    rounds: usize,
    faults: usize,
    lost: usize,
    doubled: usize,
    wrong: usize,
    takeovers: Vec<Duration>,
}

/// All rows so far.
static REPORT: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// What a row has done to its world.
#[derive(Default)]
struct Done {
    rounds: usize,
    faults: usize,
    /// From the end of a worker to the moment at which all its shards had another.
    takeovers: Vec<Duration>,
    /// Customers of these numbers may be found other than promised: what they did came when the operator had
    /// accepted a loss. What is found of them is counted and not held against the row.
    at_risk: std::ops::Range<usize>,
}

/// So many rounds: the first number in the ordinary run, the second in the long one.
fn rounds(quick: usize, all: usize) -> usize {
    if long() { all } else { quick }
}

/// Checks a world whose engines have ended, writes the row into the report and shows it.
fn conclude(row: &str, world: &World, done: Done) -> Verdict {
    let mut verdict = check(world);
    let at_risk = |line: &String| {
        // The read side may have been told of runs that the store has lost.
        if !done.at_risk.is_empty() && line.starts_with("runs that never ended") {
            return true;
        }
        let mut words = line.split(|letter: char| !letter.is_ascii_alphanumeric());
        words.any(|word| {
            word.strip_prefix('c').and_then(|number| number.parse().ok()).is_some_and(|number| done.at_risk.contains(&number))
        })
    };
    let (lost, doubled) = (verdict.lost.len(), verdict.doubled.len());
    for list in [&mut verdict.lost, &mut verdict.doubled, &mut verdict.wrong] {
        list.retain(|line| !at_risk(line));
    }
    let mut report = REPORT.lock().unwrap();
    report.retain(|line| line.row != row);
    report.push(Line {
        row: row.to_owned(),
        rounds: done.rounds,
        faults: done.faults,
        lost,
        doubled,
        wrong: verdict.wrong.len(),
        takeovers: done.takeovers,
    });
    println!("{}", table(&report));
    drop(report);
    println!("{row}: {} processes, {:?}", world.processes(), verdict.seen);
    if !verdict.is_good() {
        world.keep(&row.replace(' ', "-"));
    }
    assert!(verdict.is_good(), "{row}:\n{}", verdict.text());
    verdict
}

fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "{:<44} {:>6} {:>6} {:>6} {:>7} {:>6} {:>13} {:>13}\n",
        "row", "rounds", "faults", "lost", "doubled", "wrong", "takeover p50", "takeover p99"
    );
    for line in lines {
        let Line { row, rounds, faults, lost, doubled, wrong, takeovers } = line;
        let (half, most) = (share(takeovers, 50), share(takeovers, 99));
        text.push_str(&format!("{row:<44} {rounds:>6} {faults:>6} {lost:>6} {doubled:>7} {wrong:>6} {half:>13} {most:>13}\n"));
    }
    text
}

/// The duration that so many of a hundred do not exceed.
fn share(durations: &[Duration], percent: usize) -> String {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).map_or_else(|| "-".to_owned(), |duration| format!("{:.2} s", duration.as_secs_f64()))
}

#[test]
fn shares_are_those_of_the_sorted_list() {
    let list: Vec<Duration> = (1..=100).rev().map(Duration::from_secs).collect();
    assert_eq!((share(&list, 50), share(&list, 99), share(&[], 50)), ("50.00 s".into(), "99.00 s".into(), "-".into()));
    assert_eq!(share(&list[..1], 99), "100.00 s");
}
