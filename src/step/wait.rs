//! `wait`: a span of time. Days are calendar days in the customer's zone, hours are elapsed.

use super::{Below, Flow, Step, StepCx, StepKind};
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::Span;

/// `wait`.
pub static KIND: StepKind = StepKind {
    name: "wait",
    doc: "wait for a span of time: `3 days` by the calendar of the customer's zone, `72h` elapsed",
    example: "wait: 3 days",
    fields: &[Field::required("wait", Shape::Duration, "how long")],
    compile,
};

#[derive(Debug)]
struct WaitStep {
    span: Span,
}

fn compile(object: &Object<'_>, _id: &str, _below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let span = object.span("wait", faults)?;
    if span.is_zero() {
        faults.error("wait-zero", &object.place("wait"), "a wait of no time does nothing").hint("leave the step out");
        return None;
    }
    Some(Box::new(WaitStep { span }))
}

impl Step for WaitStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        Flow::Wait { until: cx.now.plus(self.span, cx.zone), why: self.span.to_string() }
    }

    fn is_wait(&self) -> bool {
        true
    }

    fn sentence(&self) -> String {
        format!("wait {}", self.span)
    }
}
