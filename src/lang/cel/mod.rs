//! Conditions: CEL, checked before anything runs, judged with the instant until which they hold.
//!
//! The road of a condition: text → syntax tree with spans (`parse`) → checked against what there is
//! (`check`: types, names, "did you mean") → [`Cond`]/[`Expr`] → judged against a [`Scope`] (`judge`).
//! A verdict carries the operands that it looked at (for `explain`) and *valid until*: the earliest
//! instant at which time alone could change it. It may be too early, never too late.
//!
//! Missing data is *unknown*: `!` keeps it, `&&` and `||` absorb it as CEL does with errors, an unknown
//! condition counts as false and names the missing field; `has(x)` asks. Counts and sums of nothing are 0.
//! Time enters only through the listed functions, each of which knows its next flip.

mod ast;
mod calendar;
mod check;
mod code;
pub mod flip;
pub mod functions;
mod judge;
mod lex;
mod names;
mod nearest;
mod number;
mod parse;
mod questions;
mod structured;
#[cfg(test)]
mod tests;

pub use judge::{Evaluated, SEEN_MAX, STEPS_MAX};
pub use nearest::nearest;
pub use parse::{NESTING_MAX, NODES_MAX, SOURCE_BYTES_MAX};
pub use structured::STRUCTURED;

use super::diag::{Faults, Place};
use super::node::Node;
use super::time::{Span, Time, Zone};
use super::value::{Fields, Value};
use check::{Checker, Reads};
use code::Code;
use std::sync::Arc;
use structured::condition;

/// The event that `purchases()` and `spent()` ask for.
const PURCHASE: &str = "purchase";
/// The event that `spent()` takes off.
const REFUND: &str = "refund";
/// The property of these two whose sum is exact money.
const MONEY_PROPERTY: &str = "amount";

/// Text with the place where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Where it was written.
    pub place: Place,
}

/// The type of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// True or false.
    Bool,
    /// An exact number; money is in major units of the workspace currency.
    Number,
    /// Text.
    Text,
    /// An instant.
    Time,
    /// A span of time.
    Span,
    /// A list.
    List(Box<Type>),
    /// Named values of known types.
    Object(Vec<(String, Type)>),
    /// Not known before it runs (a custom event's property): compared at run time, unknown on mismatch.
    Any,
}

/// What the checker may find: the names there are, with their types.
pub trait Schema {
    /// Type of a root name: `customer`, `event`, `steps`, `run`; `None`: there is no such name here.
    fn root(&self, name: &str) -> Option<Type>;
    /// All root names, for "did you mean".
    fn roots(&self) -> Vec<String>;
    /// The segments there are.
    fn segments(&self) -> Vec<String>;
    /// Properties of an event with their types; `None`: an event nobody has mentioned (a warning).
    fn event(&self, name: &str) -> Option<Type>;
    /// All events known, for "did you mean".
    fn events(&self) -> Vec<String>;
    /// The texts that a field such as `customer.tier` can have, where there is a list of them.
    fn texts(&self, _field: &str) -> Option<Texts<'_>> {
        None
    }
}

/// The texts that a field can have.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// The code of the fault.
    pub code: &'static str,
    /// What they are, in a word.
    pub what: &'static str,
    /// All of them.
    pub known: &'a [String],
}

/// What a condition is judged against.
pub trait Scope {
    /// The instant at which it is judged.
    fn now(&self) -> Time;
    /// The customer's zone.
    fn zone(&self) -> Zone;
    /// The value at a path such as `["customer", "tier"]`; `None` when it is missing.
    fn field(&self, path: &[String]) -> Option<Value>;
    /// Whether she is in a segment.
    fn in_segment(&self, name: &str) -> bool;
    /// When an event first happened.
    fn first(&self, event: &str) -> Option<Time>;
    /// When an event last happened.
    fn last(&self, event: &str) -> Option<Time>;
    /// Counts or sums events. `keep` decides by the event's properties; the answer holds until the
    /// instant beside it, if no event comes. `Null` is an answer that is unknown: an average of nothing, a
    /// sum that cannot be held.
    fn aggregate(&self, query: &Aggregate, care: Care, keep: &mut dyn FnMut(&Fields) -> bool) -> (Value, Option<Time>);
}

/// Which changes of an answer matter to who asks; others need not be looked for.
#[derive(Clone, Copy, Default, Debug)]
pub struct Care {
    /// Those before this instant; `None`: all.
    pub before: Option<Time>,
    /// Of a count: whether it is at least this; `None`: every change.
    pub least: Option<u64>,
}

/// A question to the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The event.
    pub event: String,
    /// Only within this span before now: `(now − window, now]`; `None`: ever.
    pub window: Option<Span>,
    /// What is wanted.
    pub what: Measure,
    /// The properties that the filter reads; `None`: there is no filter, and every event counts.
    pub filter: Option<Vec<String>>,
}

/// What is wanted of the events.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// How many.
    Count,
    /// The sum of a number property; for `amount` of purchases and refunds the exact money sum, in major
    /// units of the workspace currency.
    Sum(String),
    /// The average of a number property over the events that have it; `Null` when there is none.
    Average(String),
    /// The distinct values of a property: how many.
    Distinct(String),
}

impl Measure {
    /// The property that is summed or told apart.
    pub fn property(&self) -> Option<&String> {
        match self {
            Measure::Count => None,
            Measure::Sum(name) | Measure::Average(name) | Measure::Distinct(name) => Some(name),
        }
    }
}

/// What a condition needs to be kept in the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The event.
    pub event: String,
    /// The window; `None`: totals only.
    pub window: Option<Span2>,
    /// Properties that filters or sums read.
    pub properties: Vec<String>,
}

/// A span, ordered by its length for [`Need`].
pub type Span2 = (u32, u32, i64);

/// A checked condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Cond {
    /// As written; for the structured form, the CEL that says the same.
    pub text: Text,
    code: Arc<Code>,
    reads: Arc<Reads>,
}

/// A checked expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// As written.
    pub text: Text,
    /// Its type.
    pub ty: Type,
    code: Arc<Code>,
    reads: Arc<Reads>,
}

/// A judgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// True, false, or unknown.
    pub value: Option<bool>,
    /// Until when it holds if nothing happens.
    pub until: Option<Time>,
    /// The operands looked at, as written, with their values.
    pub seen: Vec<(String, Value)>,
    /// The field whose absence made it unknown.
    pub missing: Option<String>,
}

impl Cond {
    /// Checks a condition written in CEL. Its place is that of its first character (inside the quotes, if
    /// it stands in quotes). Every fault is reported; `None` when there is an error.
    pub fn check(text: &Text, schema: &dyn Schema, faults: &mut Faults) -> Option<Cond> {
        let (code, reads) = condition(text, false, schema, faults)?;
        Some(Cond { text: text.clone(), code: Arc::new(code), reads: Arc::new(reads) })
    }

    /// Checks a condition in either form: text is CEL, a map is the structured form (`purchases: { last: 90 days, at_least: 3 }`).
    pub fn from_node(node: &Node, schema: &dyn Schema, faults: &mut Faults) -> Option<Cond> {
        let piece = structured::piece(node, schema, faults)?;
        let text = Text { text: piece.cel, place: node.place.clone() };
        Some(Cond { text, code: Arc::new(piece.code), reads: Arc::new(piece.reads) })
    }

    /// Judges it. An unknown verdict (`value` is `None`) counts as false.
    pub fn judge(&self, scope: &dyn Scope) -> Verdict {
        judge::judge(&self.code, scope)
    }

    /// Whether it holds, and until when that is so if nothing happens, or `before`, whichever is earlier: as
    /// [`Cond::judge`], for where nobody will ask what it looked at.
    pub fn holds(&self, scope: &dyn Scope, before: Option<Time>) -> (bool, Option<Time>) {
        judge::holds(&self.code, scope, before)
    }

    /// What it needs to be kept in the history.
    pub fn needs(&self) -> Vec<Need> {
        self.reads.needs.iter().cloned().collect()
    }

    /// The segments that it names.
    pub fn segments(&self) -> Vec<String> {
        self.reads.segments.iter().cloned().collect()
    }

    /// The paths that it reads, such as `["event", "amount"]`.
    pub fn fields(&self) -> Vec<Vec<String>> {
        self.reads.fields.iter().cloned().collect()
    }
}

impl Expr {
    /// Checks an expression of any type; see [`Cond::check`].
    pub fn check(text: &Text, schema: &dyn Schema, faults: &mut Faults) -> Option<Expr> {
        let (code, ty, reads) = compile(text, false, schema, faults)?;
        Some(Expr { text: text.clone(), ty, code: Arc::new(code), reads: Arc::new(reads) })
    }

    /// Its value or which operand is missing or why it failed; until when that holds; the operands.
    pub fn eval(&self, scope: &dyn Scope) -> Evaluated {
        judge::evaluate(&self.code, scope)
    }

    /// What it needs to be kept in the history.
    pub fn needs(&self) -> Vec<Need> {
        self.reads.needs.iter().cloned().collect()
    }

    /// The segments that it names.
    pub fn segments(&self) -> Vec<String> {
        self.reads.segments.iter().cloned().collect()
    }

    /// The paths that it reads.
    pub fn fields(&self) -> Vec<Vec<String>> {
        self.reads.fields.iter().cloned().collect()
    }
}

/// Parses and checks; `whole`: the text was made up, so faults are reported at its whole place.
fn compile(text: &Text, whole: bool, schema: &dyn Schema, faults: &mut Faults) -> Option<(Code, Type, Reads)> {
    let chars: Vec<char> = text.text.chars().collect();
    let mut checker = Checker::new(text, &chars, whole, schema, faults);
    let ast = match parse::parse(&text.text, &chars) {
        Ok(ast) => ast,
        Err(wrong) => {
            let faults = checker.error("bad-condition", wrong.at, wrong.message);
            if let Some(hint) = wrong.hint {
                faults.hint(hint);
            }
            return None;
        }
    };
    let (code, ty) = checker.check(&ast)?;
    Some((code, ty, checker.reads))
}
