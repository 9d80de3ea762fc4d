//! The samples' tests watch every line: each funnel in `funnels/` is changed in small ways, one at a time (a step or a
//! rule is dropped, a condition turned round, a number or a time of day moved), and a test of that funnel must
//! fail, or `check` refuse it.

use autofunnel::app::workspace;
use autofunnel::funnel::{self, Definitions, Files};
use autofunnel::lang::diag::Faults;
use autofunnel::trial;
use make::Mutant;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

mod make;

/// Changes that no test of a funnel can see, with the reason: the funnel, and the change as [`make::of`] names it.
const UNSEEN: &[(&str, &str, &str)] = &[
    ("birthday", "without `if: customer.balance >= 100`", POINTS),
    ("points-ending", "without `if: customer.balance >= event.points`", POINTS),
    ("club", "without `re_entry: never`", NEVER),
    ("referral-friend", "without `re_entry: never`", NEVER),
    ("welcome", "without `re_entry: never`", NEVER),
    ("win-back", "without `winner: { by: goal, at_least: 500 }`", WINNER),
    ("win-back", "500 → 501 in `winner: { by: goal, at_least: 500 }`", WINNER),
    ("cart", "without `re_entry: always`", "this is what holds with a key; it is written for the reader"),
    ("birthday", "without `reason: birthday`", NAME),
    ("welcome", "without `reason: welcome`", NAME),
    ("club-points", "20 → 21 in `up_to: 20 days`", "the points are there after two weeks, whatever the limit is"),
    ("post-purchase", "without `value: event.amount`", "a test sees that a goal was reached, not what it is worth"),
    ("referral", "without `properties: { by: { cel: customer.id } }`", "the other reads it, and a test is about one customer"),
    (
        "review",
        "without `properties: { sku: { cel: event.sku }, rating: { cel: event.rating } }`",
        "read by who listens, not here",
    ),
];
const WINNER: &str = "a winner hangs on many customers, and a test is about one; tests/it/winner.rs has it";
const POINTS: &str = "no event of a test spends points";
const NAME: &str = "without a reason it is the funnel's name, which is the same";
const NEVER: &str = "this is what holds for an event where nothing is written; it is written for the reader";

/// What came of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// `check` finds it.
    Refused,
    /// A test of the funnel fails.
    Killed,
    /// Nobody noticed.
    Survived,
}

fn judge(files: &Files, funnel: &str, mutant: &Mutant) -> Verdict {
    let mut files = files.clone();
    files.insert(format!("{funnel}.yaml"), mutant.text.clone());
    let mut faults = Faults::default();
    let Some(workspace) = funnel::compile(&files, &mut faults) else { return Verdict::Refused };
    let definitions = Definitions::new(Arc::new(workspace));
    let tests = definitions.current.tests.iter().filter(|(of, _)| of == funnel);
    let mut outcomes = tests.map(|(of, node)| trial::run(&definitions, of, node, &mut faults));
    // A test that cannot be read any more is one that fails.
    if outcomes.any(|outcome| outcome.is_none_or(|outcome| !outcome.passed)) { Verdict::Killed } else { Verdict::Survived }
}

/// The sample workspace, with the tests of one funnel only: it is compiled once for each change.
fn with_tests_of(files: &Files, funnel: &str) -> Files {
    let own = format!("tests/{funnel}.yaml");
    let kept = files.iter().filter(|(path, _)| !path.starts_with("tests/") || **path == own);
    kept.map(|(path, text)| (path.clone(), text.clone())).collect()
}

/// Judges all of them on all cores.
fn judged(jobs: &[(String, Arc<Files>, Mutant)]) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get());
    let mut all: Vec<(usize, Verdict)> = std::thread::scope(|scope| {
        let work = || {
            let mut own = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((funnel, files, mutant)) = jobs.get(at) else { return own };
                own.push((at, judge(files, funnel, mutant)));
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, verdict)| verdict).collect()
}

#[test]
fn every_change_of_a_sample_is_noticed() {
    let files = workspace::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("funnels")).unwrap();
    let mut faults = Faults::default();
    let sound = funnel::compile(&files, &mut faults).expect("the samples are sound");
    let mut jobs = Vec::new();
    for name in sound.funnels.keys() {
        let own = Arc::new(with_tests_of(&files, name));
        let mutants = make::of(&files[&format!("{name}.yaml")]);
        assert!(mutants.len() >= 3, "{name} can be changed in {} ways only", mutants.len());
        jobs.extend(mutants.into_iter().map(|mutant| (name.clone(), own.clone(), mutant)));
    }
    assert!(jobs.len() > 400, "only {} changes", jobs.len());
    let verdicts = judged(&jobs);
    let of = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    println!(
        "{} changes: {} refused by check, {} found by tests, {} unseen",
        jobs.len(),
        of(Verdict::Refused),
        of(Verdict::Killed),
        of(Verdict::Survived)
    );
    let survived = jobs.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == Verdict::Survived);
    let survived: Vec<(&str, &str)> = survived.map(|((funnel, _, mutant), _)| (funnel.as_str(), mutant.what.as_str())).collect();
    let known: Vec<(&str, &str)> = UNSEEN.iter().map(|(funnel, what, _)| (*funnel, *what)).collect();
    let new: Vec<String> =
        survived.iter().filter(|one| !known.contains(one)).map(|(funnel, what)| format!("{funnel}: {what}")).collect();
    assert!(new.is_empty(), "no test notices:\n{}\n", new.join("\n"));
    let gone: Vec<_> = known.iter().filter(|one| !survived.contains(one)).collect();
    assert!(gone.is_empty(), "these are noticed, or are no change any more: {gone:?}");
}
