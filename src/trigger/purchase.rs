//! `purchase`: the customer bought something; `first` only counts the first purchase ever.

use super::event::{LATE, OnEvent, WHERE};
use super::{Trigger, TriggerKind, TriggerNames};
use crate::event::words::PURCHASE;
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};

const WHICH: &[&str] = &["any", "first"];

/// The kind.
pub const KIND: TriggerKind = TriggerKind {
    name: "purchase",
    doc: "the customer bought something",
    example: "{ purchase: any, where: event.amount >= 20 }",
    fields: &[Field::required("purchase", Shape::Word(WHICH), "`any` purchase, or only the `first` one ever"), WHERE, LATE],
    bare: true,
    compile,
};

fn compile(object: &Object<'_>, names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let which = object.word("purchase", WHICH, faults)?;
    OnEvent::read(PURCHASE.to_owned(), which == "first", object, names, faults)
}
