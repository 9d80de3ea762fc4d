//! Bad input by kind: made by changing what is valid, and fed to the very functions that the doors call.
//!
//! An input is named by its kind, a seed and a number, so that it can be made again. Feeding it answers with
//! a [`Verdict`]; what must hold for every input is checked there. A panic is for the caller to catch, and
//! time and memory for the caller to measure.

mod body;
pub mod chance;
mod condition;
mod document;
mod hook;
mod import;
mod laws;
mod mutate;
mod odd;
mod play;
mod sample;
mod store;
mod template;
mod time;
mod tree;
mod words;
mod workspace;

use chance::Chance;

/// What came of an input.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// It was well-formed: what reads the form itself (YAML, JSON, MessagePack, the grammar) took it.
    pub past_parser: bool,
    /// Something was wrong with it.
    pub refused: bool,
    /// Whatever was wrong said where: a place in a file, a field, a line.
    pub placed: bool,
    /// What must not be, if it was.
    pub broken: Option<String>,
}

/// An input, and how it is fed.
pub struct Case<'a> {
    /// The input itself, to be kept in a file.
    pub shown: Vec<u8>,
    /// Feeds it.
    pub feed: Box<dyn FnOnce() -> Verdict + 'a>,
}

/// A kind of input.
pub trait Kind {
    /// For people and for the command line.
    fn name(&self) -> &'static str;
    /// One input.
    fn case(&self, chance: Chance) -> Case<'_>;
}

/// How a kind is made: it reads the sample files once.
type Make = fn() -> Box<dyn Kind>;

/// Every kind there is, by name.
pub const KINDS: &[(&str, Make)] = &[
    ("workspace", || Box::new(workspace::Workspaces::new())),
    ("test", || Box::new(play::Tests::new())),
    ("template", || Box::new(template::Templates::new())),
    ("condition", || Box::new(condition::Conditions::new())),
    ("schedule", || Box::new(time::Schedules::new())),
    ("duration", || Box::new(time::Durations::new())),
    ("events", || Box::new(body::Events::new())),
    ("customer", || Box::new(body::Customers::new())),
    ("hook", || Box::new(hook::Hooks::new())),
    ("ndjson", || Box::new(import::Lines::new())),
    ("csv", || Box::new(import::Cells::new())),
    ("turn", || Box::new(play::Turns::new())),
    ("document", || Box::new(document::Documents::new())),
];
