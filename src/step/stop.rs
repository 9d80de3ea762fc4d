//! `stop`: the run ends here, with a reason.

use super::{Below, Flow, Step, StepCx, StepKind, main_text};
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};

/// `stop`.
pub static KIND: StepKind = StepKind {
    name: "stop",
    doc: "end the run here",
    example: "stop: already a member",
    fields: &[Field::required("stop", Shape::Text, "why, for the timeline")],
    compile,
};

#[derive(Debug)]
struct StopStep {
    reason: String,
}

fn compile(object: &Object<'_>, _id: &str, _below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let reason = main_text(object, "stop", faults)?.text;
    Some(Box::new(StopStep { reason }))
}

impl Step for StopStep {
    fn advance(&self, _cx: &StepCx<'_>) -> Flow {
        Flow::Stop { reason: self.reason.clone() }
    }

    fn goes_on(&self) -> bool {
        false
    }

    fn sentence(&self) -> String {
        format!("stop: {}", self.reason)
    }
}
