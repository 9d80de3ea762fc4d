//! The syntax tree of a condition, as written: every node knows which characters it stands for.

use crate::lang::value::Value;

/// Characters from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub start: usize,
    pub end: usize,
}

impl Range {
    /// From the beginning of this to the end of `other`.
    pub fn to(self, other: Range) -> Range {
        Range { start: self.start, end: other.end }
    }
}

/// A name with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ident {
    pub text: String,
    pub at: Range,
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ast {
    pub at: Range,
    /// Levels below and including this one; bounded by the parser, so that walks cannot overflow the stack.
    pub depth: usize,
    pub kind: Kind,
}

/// The kinds of node. `&&` and `||` are lists, so that a long chain is not deep.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Literal(Value),
    List(Vec<Ast>),
    Name(String),
    Member(Box<Ast>, Ident),
    Index(Box<Ast>, Box<Ast>),
    Call(Ident, Vec<Ast>),
    Method(Box<Ast>, Ident, Vec<Ast>),
    Not(Box<Ast>),
    Negate(Box<Ast>),
    And(Vec<Ast>),
    Or(Vec<Ast>),
    Compare(Order, Box<Ast>, Box<Ast>),
    In(Box<Ast>, Box<Ast>),
    Arith(Arith, Box<Ast>, Box<Ast>),
    Choose(Box<[Ast; 3]>),
}

/// The comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Order {
    /// The comparison that means the same with its sides exchanged.
    pub fn mirrored(self) -> Order {
        match self {
            Order::Lt => Order::Gt,
            Order::Le => Order::Ge,
            Order::Gt => Order::Lt,
            Order::Ge => Order::Le,
            same => same,
        }
    }

    /// As written.
    pub fn sign(self) -> &'static str {
        match self {
            Order::Eq => "==",
            Order::Ne => "!=",
            Order::Lt => "<",
            Order::Le => "<=",
            Order::Gt => ">",
            Order::Ge => ">=",
        }
    }
}

/// The arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arith {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

impl Arith {
    /// As written.
    pub fn sign(self) -> &'static str {
        match self {
            Arith::Add => "+",
            Arith::Sub => "-",
            Arith::Mul => "*",
            Arith::Div => "/",
            Arith::Rem => "%",
        }
    }
}
