//! `manual`: only a request starts a run (the API, the dashboard, `autofunnel enrol`).

use super::{DefaultReEntry, Interest, Trigger, TriggerKind, TriggerNames};
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};

/// The kind.
pub const KIND: TriggerKind = TriggerKind {
    name: "manual",
    doc: "only a request starts a run",
    example: "manual",
    fields: &[Field::required("manual", Shape::Bool, "written as the word alone: `trigger: manual`")],
    bare: true,
    compile,
};

#[derive(Debug)]
struct Manual;

fn compile(object: &Object<'_>, _names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    if !object.bool("manual", true, faults) {
        faults
            .error("trigger-manual", &object.place("manual"), "a manual trigger cannot be switched off")
            .hint("write `trigger: manual`");
        return None;
    }
    Some(Box::new(Manual))
}

impl Trigger for Manual {
    fn interest(&self) -> Interest {
        Interest::Manual
    }

    fn default_re_entry(&self) -> DefaultReEntry {
        DefaultReEntry::Never
    }

    fn sentence(&self) -> String {
        "only on request".to_owned()
    }
}
