//! The winner of a split: by what it is chosen, and what was chosen.
//!
//! A split that says `winner: { by: goal, at_least: 200 }` divides customers until each of its variants has so many
//! whose time for the goal is over; then the best one is chosen, once, and holds for everybody who comes to the split
//! from an instant on. Who has a variant keeps it. Choosing needs figures over all customers, which a turn does not
//! see: the engine chooses, and what it chose is a part of the definitions that a turn is given.

use crate::lang::diag::{Faults, Place};
use crate::lang::node::{Node, NodeKind};
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::Time;
use serde::{Deserialize, Serialize};

/// Most people of each variant that a rule can ask for.
pub const AT_LEAST_MAX: i64 = 10_000_000;
/// What a test is decided by.
const MEASURES: &[&str] = &["goal", "value"];

/// What stands below `winner`, where it is no name.
pub const FIELDS: &[Field] = &[
    Field::required(
        "by",
        Shape::Word(MEASURES),
        "`goal`: the variant of which the largest share reached the funnel's goal; `value`: the one whose goals were worth most per customer",
    ),
    Field::required(
        "at_least",
        Shape::Int(1, AT_LEAST_MAX),
        "it is chosen as soon as each variant was drawn for so many customers whose time for the goal is over",
    ),
];

/// What decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The share that reached the goal.
    Goal,
    /// What goals were worth, per customer.
    Value,
}

impl Measure {
    /// What it is called in funnels.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Goal => "goal",
            Measure::Value => "value",
        }
    }
}

/// When and by what a winner is chosen.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// What decides.
    pub by: Measure,
    /// So many customers of each variant whose time for the goal is over.
    pub at_least: i64,
    /// Where it is written.
    pub place: Place,
}

/// What is written of a split's winner.
#[derive(Clone, PartialEq, Debug)]
pub enum Written {
    /// This one has won.
    Name(String),
    /// The engine chooses.
    Rule(Rule),
}

/// Reads `winner:`, with the names of the variants.
pub fn read(node: &Node, variants: &[&str], id_is_written: bool, faults: &mut Faults) -> Option<Written> {
    if let NodeKind::Map(_) = node.kind {
        let object = Object::read(node, &[FIELDS], "`winner`", faults)?;
        let by = object.word("by", MEASURES, faults);
        let at_least = object.int("at_least", 1, AT_LEAST_MAX, faults);
        if !id_is_written {
            faults
                .error("winner-without-id", &node.place, "a split whose winner is chosen needs an `id`")
                .hint("add for example `id: offer_or_letter`: what is counted is kept under it, and a new test takes a new one");
        }
        let by = if by? == "value" { Measure::Value } else { Measure::Goal };
        return Some(Written::Rule(Rule { by, at_least: at_least?, place: node.place.clone() }));
    }
    let name = crate::lang::shape::text(node, faults)?;
    if !variants.contains(&name.text.as_str()) {
        let fault = faults.error("unknown-variant", &name.place, format!("the split has no variant `{}`", name.text));
        match MEASURES.contains(&name.text.as_str()) {
            true => fault.hint(format!("to have it chosen write `winner: {{ by: {}, at_least: 500 }}`", name.text)),
            false => fault.did_you_mean(&name.text, variants.iter().copied()),
        };
    }
    Some(Written::Name(name.text))
}

/// A variant that is not drawn any more: it was chosen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Winner {
    /// The funnel.
    pub funnel: String,
    /// The split's id.
    pub step: String,
    /// The variant.
    pub variant: String,
    /// It holds from this instant on.
    pub from: Time,
    /// What decided; `None`: a funnel test wants it so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Measure>,
    /// What was counted of each variant when it was chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<Arm>,
}

/// What was counted of a variant: of the customers whose time for the goal was over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Arm {
    /// The variant.
    pub variant: String,
    /// Customers for whom it was drawn.
    pub drawn: i64,
    /// How many of them reached the goal.
    pub reached: i64,
    /// What their goals were worth, in minor units.
    #[serde(default)]
    pub value: i64,
}

impl Arm {
    /// `12 of 200`, with what it was worth where that decides.
    pub fn shown(&self, by: Option<Measure>) -> String {
        match by {
            Some(Measure::Value) => format!("{} of {}, worth {} in all", self.reached, self.drawn, self.value),
            _ => format!("{} of {}", self.reached, self.drawn),
        }
    }
}

impl Winner {
    /// Why it holds, for the timeline: `it won by goal: gift 30 of 201, letter 12 of 200`.
    pub fn why(&self) -> String {
        let Some(by) = self.by else { return "the test wants it".to_owned() };
        let arms: Vec<String> = self.counted.iter().map(|arm| format!("{} {}", arm.variant, arm.shown(self.by))).collect();
        format!("it won by {}: {}", by.name(), arms.join(", "))
    }
}
