//! How often what happened.

use std::collections::BTreeMap;
use std::fmt;

/// Calls of a store that a simulation makes, each with the faults that it must have met.
pub const CALLS: &[&str] =
    &["accept", "claim", "take", "commit", "release", "fault", "claim_effects", "begin", "retry", "settle", "keep"];

/// Those of them that are rarely made.
pub const RARE: &[&str] = &["release", "fault", "keep"];

/// Over the embedded store an answer goes this way only when its customer is busy; that the process ends just
/// before or behind it comes about in few of a thousand seeds. The crash tests end it there on purpose.
pub const RAREST: &[(&str, &str)] = &[("settle", "its worker died before"), ("settle", "its worker died after")];

/// What may befall a call.
pub const FATES: &[&str] = &["failed before", "its worker died before", "its worker died after", "its answer was lost"];

/// What must have happened besides.
pub const EVENTS: &[(&str, &str)] = &[
    ("provider", "its worker died before"),
    ("provider", "its worker died after"),
    ("provider", "accepted"),
    ("provider fault", "refused"),
    ("provider fault", "busy"),
    ("provider fault", "not reached"),
    ("provider fault", "error, nothing done"),
    ("provider fault", "error, done"),
    ("provider fault", "silence, nothing done"),
    ("provider fault", "silence, done"),
    ("provider fault", "blocked, to come back"),
    ("fact", "parked"),
    ("input", "duplicate"),
    ("input", "same id, other body"),
    ("input", "put aside"),
    ("customer", "woken"),
    ("customer", "taken for an answer"),
    ("committed", "conflict"),
    ("committed", "conflict on an answer"),
    ("committed", "withdrawn"),
    ("committed", "handed over"),
    ("committed", "handed over and lost"),
    ("effect", "handed out, ambiguous"),
    ("effect", "put back"),
    ("effect", "put back, ambiguous"),
    ("last gate", "go again"),
    ("last gate", "turn first"),
    ("last gate", "stale"),
    ("last gate", "gone"),
    ("answered through the inbox", "accepted"),
    ("answered through the inbox", "unknown"),
    ("fact", "redecided"),
    ("fact", "held"),
    ("fact", "capped"),
    ("fact", "history_only"),
    ("fact", "exited"),
    ("fact", "withdrawn"),
    ("store", "not available for a while"),
    ("last gate", "paused"),
    ("committed", "paused"),
    ("person", "paused"),
    ("person", "resumed"),
    ("person", "released"),
    ("person", "rejected"),
    ("fact", "review"),
    ("fact", "released"),
    ("fact", "promised"),
    ("fact", "told"),
    ("fact", "moved"),
    ("fact", "alert"),
    ("budget", "used up"),
    ("chaos", "a claim ran out"),
    ("chaos", "a document was misread"),
    ("chaos", "a worker died"),
    ("chaos", "a worker stands still"),
    ("chaos", "a worker was presumed dead"),
    ("chaos", "a worker lost its leases"),
    ("chaos", "an input killed its worker"),
    ("chaos", "the workspace was edited"),
    ("customer", "with more inputs than were handed out"),
    ("chaos", "pruned"),
    ("chaos", "rendered otherwise after an attempt"),
    ("chaos", "the clock jumped ahead"),
    ("chaos", "the clock jumped back"),
    ("chaos", "the provider broke down"),
    ("chaos", "the store broke down"),
];

/// Counters by subject and happening.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Report(BTreeMap<(&'static str, &'static str), u64>);

impl Report {
    /// One more.
    pub fn add(&mut self, subject: &'static str, what: &'static str) {
        *self.0.entry((subject, what)).or_insert(0) += 1;
    }

    /// Everything of another one.
    pub fn merge(&mut self, other: &Report) {
        for (key, count) in &other.0 {
            *self.0.entry(*key).or_insert(0) += count;
        }
    }

    /// How often.
    pub fn count(&self, subject: &'static str, what: &'static str) -> u64 {
        self.0.get(&(subject, what)).copied().unwrap_or(0)
    }

    /// Customers and effects that were handed out.
    pub fn progress(&self) -> u64 {
        self.0.iter().filter(|((of, _), _)| ["customer", "effect"].contains(of)).map(|(_, count)| count).sum()
    }

    /// Faults of every kind.
    pub fn faults(&self) -> u64 {
        self.0
            .iter()
            .filter(|((of, what), _)| FATES.contains(what) || ["chaos", "provider fault"].contains(of))
            .map(|(_, count)| count)
            .sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        for ((subject, what), count) in &self.0 {
            if *subject != last {
                writeln!(f, "{subject}")?;
                last = subject;
            }
            writeln!(f, "  {what:<44} {count:>12}")?;
        }
        Ok(())
    }
}
