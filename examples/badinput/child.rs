//! Feeds one kind in this process, watched.

use super::Options;
use super::feed::chance::Chance;
use super::feed::{KINDS, Kind, Verdict};
use super::measure::{MEMORY_BYTES_MAX, Tally, memory_bytes, peak_bytes, processor_ms, reset_peak};
use anyhow::Context;
use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Stack of the thread that feeds: as much as a worker of the engine has.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// An input that is not done after this long hangs.
const HANG_SECONDS: u64 = 60;
/// Longest time of one input that is allowed, in milliseconds.
pub const SLOW_MS: f64 = 50.0;
/// How often the number reached is written down.
pub const MARK_EVERY: u64 = 1_000;
/// How often an input is fed that seems slow.
const FEEDS_MAX: u32 = 4;
/// A larger input is fed in a process of its own, so that its memory can be told, in bytes.
const LARGE_BYTES: usize = 64 * 1024;
/// How a process ends whose input hangs; lower codes are its own, too.
pub const CODE_HANGS: i32 = 3;

/// Where the number reached is written down.
fn mark_file(options: &Options, kind: &str) -> PathBuf {
    options.keep.join(format!("{kind}-reached"))
}

/// The number that a process which died had reached for sure.
pub fn mark(options: &Options, kind: &str) -> u64 {
    let text = fs::read_to_string(mark_file(options, kind)).unwrap_or_default();
    text.trim().parse().unwrap_or(options.from).max(options.from)
}

/// Where inputs are kept before they are fed.
pub fn traced(options: &Options, kind: &str) -> PathBuf {
    options.keep.join(format!("{kind}-last"))
}

/// What came of one input.
struct Fed {
    verdict: Verdict,
    shown: Vec<u8>,
    ms: f64,
    /// Memory that a process of its own took; `None`: it was fed here.
    memory_bytes: Option<u64>,
}

/// What the watchman knows.
struct Watched {
    number: AtomicU64,
    done: AtomicBool,
    shown: Mutex<Vec<u8>>,
}

/// Feeds the kind that the options name and prints its row.
///
/// # Errors
/// When a file cannot be written or a thread not be started.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let kind = options.kinds.first().context("a kind is named")?.clone();
    let watched =
        Arc::new(Watched { number: AtomicU64::new(options.from), done: AtomicBool::new(false), shown: Mutex::new(Vec::new()) });
    let feeding = {
        let (options, kind, watched) = (options.clone(), kind.clone(), watched.clone());
        let thread = thread::Builder::new().stack_size(STACK_BYTES).name(kind.clone());
        thread.spawn(move || {
            let tally = feed_all(&options, &kind, &watched);
            watched.done.store(true, Ordering::Release);
            tally
        })
    };
    let feeding = feeding.context("cannot start a thread")?;
    let (mut seen, mut since) = (u64::MAX, Instant::now());
    while !watched.done.load(Ordering::Acquire) && !feeding.is_finished() {
        thread::park_timeout(Duration::from_millis(20));
        let number = watched.number.load(Ordering::Relaxed);
        if number != seen {
            (seen, since) = (number, Instant::now());
        } else if since.elapsed().as_secs() >= HANG_SECONDS {
            let shown = watched.shown.lock().map(|shown| shown.clone()).unwrap_or_default();
            let file = keep(options, &kind, number, &shown);
            println!("  {kind}: number {number} HANGS for {HANG_SECONDS} s; {}", repeat(options, &kind, number, &file));
            std::process::exit(CODE_HANGS);
        }
    }
    let tally = feeding.join().map_err(|_| anyhow::anyhow!("the feeder itself panicked: see above"))??;
    print!("{}", if options.alone { tally.line() } else { tally.row(&kind) });
    Ok(if tally.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn feed_all(options: &Options, name: &str, watched: &Watched) -> anyhow::Result<Tally> {
    let make = KINDS.iter().find(|(kind, _)| *kind == name).context("there is such a kind")?.1;
    let kind = make();
    // Panics are caught and told once, in the table.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
        LAST_PANIC.with(|last| last.set(place));
    }));
    let mut tally = Tally::default();
    reset_peak();
    let before = memory_bytes();
    let mut alone_bytes = 0;
    for number in options.from..options.from + options.each {
        watched.number.store(number, Ordering::Relaxed);
        if number.is_multiple_of(MARK_EVERY) {
            fs::write(mark_file(options, name), number.to_string()).context("cannot write a mark")?;
        }
        let Fed { verdict, shown, ms, memory_bytes } = one(kind.as_ref(), options, number, watched)?;
        let mut told = verdict.broken.clone();
        if ms > SLOW_MS {
            told.get_or_insert(format!("it took {ms:.0} ms"));
        }
        if let Some(bytes) = memory_bytes {
            alone_bytes = alone_bytes.max(bytes);
            if bytes > MEMORY_BYTES_MAX {
                told.get_or_insert(format!("it took {} MiB", bytes >> 20));
            }
        }
        if let Some(told) = &told
            && tally.is_news(told)
        {
            let file = keep(options, name, number, &shown);
            tally.remark(told, &repeat(options, name, number, &file));
        }
        tally.count(&verdict, told.as_deref(), ms, number);
    }
    tally.memory_bytes = peak_bytes().saturating_sub(before).max(alone_bytes);
    Ok(tally)
}

thread_local! {
    /// Where the last panic of this thread was.
    static LAST_PANIC: std::cell::Cell<String> = const { std::cell::Cell::new(String::new()) };
}

/// Makes and feeds one input: the verdict, the input, and the milliseconds that it took.
///
/// One that seems slow is fed again, and then the processor's time counts: other programs run here too.
fn one(kind: &dyn Kind, options: &Options, number: u64, watched: &Watched) -> anyhow::Result<Fed> {
    let (mut best, mut times) = (f64::MAX, 0);
    loop {
        let case = kind.case(Chance::of(kind.name(), options.seed, number));
        if options.trace {
            fs::write(traced(options, kind.name()), &case.shown).context("cannot write a trace")?;
        }
        if let Ok(mut shown) = watched.shown.lock() {
            shown.clone_from(&case.shown);
        }
        if case.shown.len() > LARGE_BYTES && !options.alone {
            return alone(kind.name(), options, number, case.shown);
        }
        let (started, worked) = (Instant::now(), if times > 0 { processor_ms() } else { None });
        let verdict = catch_unwind(AssertUnwindSafe(case.feed)).unwrap_or_else(|panic| Verdict {
            broken: Some(format!("PANIC at {}: {}", LAST_PANIC.with(std::cell::Cell::take), said(panic.as_ref()))),
            ..Verdict::default()
        });
        let wall = started.elapsed().as_secs_f64() * 1_000.0;
        let work = worked.and_then(|before| Some(processor_ms()? - before));
        best = best.min(work.unwrap_or(wall));
        times += 1;
        if best <= SLOW_MS / 2.0 || times >= FEEDS_MAX {
            return Ok(Fed { verdict, shown: case.shown, ms: best, memory_bytes: None });
        }
    }
}

/// Feeds one large input in a process of its own.
fn alone(kind: &str, options: &Options, number: u64, shown: Vec<u8>) -> anyhow::Result<Fed> {
    let mut command = Command::new(std::env::current_exe().context("this program has no path")?);
    command.args(["--child", "--alone", "--kind", kind, "--each", "1", "--from", &number.to_string()]);
    command.args(["--seed", &options.seed.to_string(), "--keep"]).arg(&options.keep).stderr(Stdio::null());
    let answer = command.output().context("cannot start a process for an input")?;
    let text = String::from_utf8_lossy(&answer.stdout);
    Ok(match Tally::alone(&text) {
        Some((verdict, ms, bytes)) => Fed { verdict, shown, ms, memory_bytes: Some(bytes) },
        None => {
            let broken = Some(format!("the process died ({}): {text}", answer.status));
            Fed { verdict: Verdict { broken, ..Verdict::default() }, shown, ms: 0.0, memory_bytes: None }
        }
    })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)")
}

fn keep(options: &Options, kind: &str, number: u64, shown: &[u8]) -> PathBuf {
    let file = options.keep.join(format!("{kind}-{}-{number}", options.seed));
    if let Err(why) = fs::write(&file, shown) {
        eprintln!("cannot keep {}: {why}", file.display());
    }
    file
}

fn repeat(options: &Options, kind: &str, number: u64, file: &Path) -> String {
    let seed = options.seed;
    format!("{}; --kind {kind} --seed {seed} --from {number} --each 1", file.display())
}
