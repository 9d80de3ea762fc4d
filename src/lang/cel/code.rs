//! A checked condition, ready to be judged: names resolved, spans and times read once.

use super::ast::{Arith, Order};
use super::flip::Moving;
use super::{Aggregate, Type};
use crate::lang::value::Value;
use chrono::NaiveDate;
use std::sync::Arc;

/// A step of evaluation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Code {
    pub op: Op,
    /// As written, to say what was missing.
    pub label: Arc<str>,
    /// Whether it is an operand to be shown with its value.
    pub seen: bool,
}

/// What to read a text as, where the type is known: amounts and instants also come as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    None,
    Number,
    Time,
}

impl Cast {
    /// The cast for values of a type.
    pub fn to(ty: &Type) -> Cast {
        match ty {
            Type::Number => Cast::Number,
            Type::Time => Cast::Time,
            _ => Cast::None,
        }
    }
}

/// The macros over lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    Exists,
    All,
    Filter,
    Map,
}

/// The questions to a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextTest {
    Contains,
    StartsWith,
    EndsWith,
}

/// A question to the history, with its filter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    pub query: Aggregate,
    pub filter: Option<Code>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    Const(Value),
    /// Asked of the scope by its path.
    Field(Vec<String>, Cast),
    /// The item of a surrounding macro over a list, by its level, and a path within it.
    Local(usize, Vec<String>, Cast),
    /// A property of the event that a filter looks at.
    Item(Vec<String>, Cast),
    Get(Box<Code>, String, Cast),
    Index(Box<Code>, Box<Code>, Cast),
    Has(Box<Code>),
    List(Vec<Code>),
    Not(Box<Code>),
    Negate(Box<Code>),
    And(Vec<Code>),
    Or(Vec<Code>),
    Choose(Box<[Code; 3]>),
    Compare(Order, Box<Code>, Box<Code>),
    /// A fixed instant (left) compared with one that moves with now (right); the text is the moving one's.
    Moving(Order, Box<Code>, Moving, Arc<str>),
    In(Box<Code>, Box<Code>),
    Arith(Arith, Box<Code>, Box<Code>),
    Each(Each, Box<Code>, Box<Code>),
    Size(Box<Code>),
    Test(TextTest, Box<Code>, Box<Code>),
    Lower(Box<Code>),
    ToTime(Box<Code>),
    Midnight(NaiveDate),
    Ask(Box<Question>),
    /// Money of purchases less money of refunds.
    Spent(Box<[Aggregate; 2]>),
    First(String),
    Last(String),
    Done(String),
    Segment(String),
    DaysSince(Box<Code>),
    DaysUntil(Box<Code>),
    Age(Box<Code>),
    Hour,
    Weekday,
}
