//! Counts, times and memory of one kind.

use super::feed::Verdict;
use std::collections::BTreeMap;
use std::fs;

/// Largest memory of one input that is allowed, in bytes.
pub const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What stands for the seconds until the parent knows them.
pub const SECONDS: &str = "@s";
/// Different complaints that are told of one kind; more are counted.
const REMARKS_MAX: usize = 40;
/// Characters of a complaint that tell it apart from others.
const REMARK_CHARS: usize = 90;

/// The head of the table.
pub const HEAD: &str = "\
| kind      |   inputs | past the parser | refused | with a place | panics | slow | broken | slowest ms (number) | memory MiB | s |
|-----------|---------:|----------------:|--------:|-------------:|-------:|-----:|-------:|--------------------:|-----------:|--:|";

/// What came of the inputs of one kind.
#[derive(Default, Debug)]
pub struct Tally {
    inputs: u64,
    past_parser: u64,
    refused: u64,
    placed: u64,
    panics: u64,
    slow: u64,
    broken: u64,
    slowest: (f64, u64),
    remarks: BTreeMap<String, (u64, String)>,
    /// How far the process grew.
    pub memory_bytes: u64,
}

/// A complaint without its numbers.
fn gist(told: &str) -> String {
    told.chars().filter(|c| !c.is_ascii_digit()).take(REMARK_CHARS).collect()
}

impl Tally {
    /// Whether a complaint is a new one.
    pub fn is_news(&self, told: &str) -> bool {
        self.remarks.len() < REMARKS_MAX && !self.remarks.contains_key(&gist(told))
    }

    /// Keeps a new complaint with how to repeat it.
    pub fn remark(&mut self, told: &str, repeat: &str) {
        let told: String = told.chars().take(400).collect();
        self.remarks.insert(gist(&told), (0, format!("{told}\n    {repeat}")));
    }

    /// Counts one input.
    pub fn count(&mut self, verdict: &Verdict, told: Option<&str>, ms: f64, number: u64) {
        self.inputs += 1;
        self.past_parser += u64::from(verdict.past_parser);
        self.refused += u64::from(verdict.refused);
        self.placed += u64::from(verdict.placed);
        self.slow += u64::from(ms > super::child::SLOW_MS);
        if let Some(broken) = &verdict.broken {
            let panicked = broken.starts_with("PANIC");
            self.panics += u64::from(panicked);
            self.broken += u64::from(!panicked);
        }
        if ms > self.slowest.0 {
            self.slowest = (ms, number);
        }
        if let Some((times, _)) = told.and_then(|told| self.remarks.get_mut(&gist(told))) {
            *times += 1;
        }
    }

    /// What a process says that has fed one large input alone: see [`Tally::alone`].
    pub fn line(&self) -> String {
        let told = self.remarks.values().next().map_or("", |(_, text)| text.lines().next().unwrap_or_default());
        format!(
            "alone\t{}\t{}\t{}\t{}\t{}\t{}\n",
            self.past_parser,
            self.refused,
            self.placed,
            self.slowest.0,
            self.memory_bytes,
            if self.panics + self.broken > 0 { told } else { "" }
        )
    }

    /// Reads what [`Tally::line`] says: the verdict, milliseconds, and bytes of memory.
    pub fn alone(text: &str) -> Option<(Verdict, f64, u64)> {
        let words: Vec<&str> = text.trim_end_matches('\n').split('\t').collect();
        let ["alone", past, refused, placed, ms, bytes, broken] = words[..] else { return None };
        let broken = (!broken.is_empty()).then(|| broken.to_owned());
        let verdict = Verdict { past_parser: past == "1", refused: refused == "1", placed: placed == "1", broken };
        Some((verdict, ms.parse().ok()?, bytes.parse().ok()?))
    }

    /// Whether everything held.
    pub fn holds(&self) -> bool {
        self.panics + self.slow + self.broken == 0 && self.memory_bytes <= MEMORY_BYTES_MAX
    }

    /// The row of the table, with what was complained of below it.
    pub fn row(&self, kind: &str) -> String {
        let percent = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 };
        // A record of a store, or a word alone, has no places in it.
        let placed = if self.placed == 0 { "none".to_owned() } else { format!("{:.1} %", percent(self.placed, self.refused)) };
        let mut out = format!(
            "| {kind:<9} | {:>8} | {:>13.1} % | {:>5.1} % | {placed:>12} | {:>6} | {:>4} | {:>6} | {:>7.2} ({:>9}) | {:>10.1} | {SECONDS} |\n",
            self.inputs,
            percent(self.past_parser, self.inputs),
            percent(self.refused, self.inputs),
            self.panics,
            self.slow,
            self.broken,
            self.slowest.0,
            self.slowest.1,
            self.memory_bytes as f64 / 1_048_576.0,
        );
        for (times, text) in self.remarks.values() {
            out.push_str(&format!("  {kind}: {times} times: {text}\n"));
        }
        out
    }
}

/// The processor's time of this thread, in milliseconds (`schedstat`, see proc(5)); exact to a tick of the kernel.
pub fn processor_ms() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse::<f64>().ok().map(|ns| ns / 1_000_000.0)
}

/// Lets the kernel's record of the largest size begin anew (`/proc/self/clear_refs`, see proc(5)).
pub fn reset_peak() {
    // Where the kernel does not let us, the record is from the start of the process and says more, never less.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The present size of this process, in bytes.
pub fn memory_bytes() -> u64 {
    status("VmRSS:")
}

/// The largest size that it ever had.
pub fn peak_bytes() -> u64 {
    status("VmHWM:")
}

fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
