//! `wait_for`: until an event, a segment or a condition, but not longer than `up_to`.

use super::{Below, Flow, NEXT, Step, StepCx, StepKind};
use crate::lang::cel::{Cond, Type};
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::Span;
use crate::watch::{FIELDS, Watch};

/// `wait_for`.
pub static KIND: StepKind = StepKind {
    name: "wait_for",
    doc: "wait until something happens, but not longer than `up_to`",
    example: "wait_for: purchase\n  up_to: 7 days",
    fields: &[
        Field::required(
            "wait_for",
            Shape::Either(&[Shape::Name("event"), Shape::Object(FIELDS)]),
            "an event, a segment or a condition",
        ),
        Field::required("up_to", Shape::Duration, "how long to wait at most"),
        Field::optional("then", Shape::Ref("steps"), "steps when it happened"),
        Field::optional("otherwise", Shape::Ref("steps"), "steps when the time is up"),
    ],
    compile,
};

#[derive(Debug)]
struct WaitForStep {
    watch: Watch,
    up_to: Span,
    then: Option<u32>,
    otherwise: Option<u32>,
}

fn compile(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let watch = object.node("wait_for").and_then(|node| below.compiler().watch(node, faults));
    let up_to = object.span("up_to", faults);
    if up_to.is_some_and(Span::is_zero) {
        faults
            .error("wait-zero", &object.place("up_to"), "waiting for no time does nothing")
            .hint("write for example `up_to: 7 days`");
    }
    let then = object.node("then").and_then(|steps| below.arm("then", steps, faults));
    let otherwise = object.node("otherwise").and_then(|steps| below.arm("otherwise", steps, faults));
    Some(Box::new(WaitForStep { watch: watch?, up_to: up_to?, then, otherwise }))
}

impl Step for WaitForStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        Flow::WaitFor { until: cx.now.plus(self.up_to, cx.zone) }
    }

    fn watch(&self) -> Option<(&Watch, u32, u32)> {
        Some((&self.watch, self.then.unwrap_or(NEXT), self.otherwise.unwrap_or(NEXT)))
    }

    fn arms(&self) -> Vec<(String, u32)> {
        let then = self.then.map(|to| ("then".to_owned(), to));
        then.into_iter().chain(self.otherwise.map(|to| ("otherwise".to_owned(), to))).collect()
    }

    fn is_wait(&self) -> bool {
        true
    }

    fn conditions(&self) -> Vec<&Cond> {
        self.watch.conditions()
    }

    fn results(&self) -> Vec<(String, Type)> {
        vec![("event".to_owned(), Type::Any)]
    }

    fn goes_on(&self) -> bool {
        self.then.is_none() || self.otherwise.is_none()
    }

    fn sentence(&self) -> String {
        format!("wait for {}, up to {}", self.watch.sentence(), self.up_to)
    }
}
