//! `wait`: a span of time. Days are calendar days in the customer's zone, hours are elapsed.

use super::wait_for::{RESTART, restart};
use super::{Below, Flow, Step, StepCx, StepKind};
use crate::lang::cel::Cond;
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::Span;
use crate::watch::Watch;

/// `wait`.
pub static KIND: StepKind = StepKind {
    name: "wait",
    doc: "wait for a span of time: `3 days` by the calendar of the customer's zone, `72h` elapsed",
    example: "wait: 3 days",
    fields: &[Field::required("wait", Shape::Duration, "how long"), RESTART],
    compile,
};

#[derive(Debug)]
struct WaitStep {
    span: Span,
    restart: Option<Watch>,
}

fn compile(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let restart = restart(object, below, faults);
    let span = object.span("wait", faults)?;
    if span.is_zero() {
        faults.error("wait-zero", &object.place("wait"), "a wait of no time does nothing").hint("leave the step out");
        return None;
    }
    Some(Box::new(WaitStep { span, restart }))
}

impl Step for WaitStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        Flow::Wait { until: cx.now.plus(self.span, cx.zone), why: self.span.to_string() }
    }

    fn restart(&self) -> Option<&Watch> {
        self.restart.as_ref()
    }

    fn conditions(&self) -> Vec<&Cond> {
        self.restart.iter().flat_map(Watch::conditions).collect()
    }

    fn is_wait(&self) -> bool {
        true
    }

    fn sentence(&self) -> String {
        format!("wait {}", self.span)
    }
}
