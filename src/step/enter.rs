//! `enter`: the customer begins another funnel, which has the trigger `manual`; the run itself goes on.

use super::set::Source;
use super::{Below, Flow, Step, StepCx, StepKind, compile, main_text};
use crate::lang::cel::Need;
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::value::Fields;

/// `enter`.
pub static KIND: StepKind = StepKind {
    name: "enter",
    doc: "begin another funnel, one with the trigger `manual`; this one goes on",
    example: "enter: onboarding",
    fields: &[
        Field::required("enter", Shape::Name("funnel"), "the funnel's name; its own rules say whether she may enter"),
        Field::optional(
            "with",
            Shape::MapOf(&Shape::Data),
            "what that funnel reads as `event.<name>`: data, or `{ cel: <expression> }`",
        ),
    ],
    compile: compile_enter,
};

#[derive(Debug)]
struct EnterStep {
    funnel: String,
    with: Vec<(String, Source)>,
}

fn compile_enter(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let funnel = main_text(object, "enter", faults)?;
    let known = &below.names().funnels;
    if !known.contains(&funnel.text) {
        faults
            .error("unknown-funnel", &funnel.place, format!("there is no funnel `{}`", funnel.text))
            .did_you_mean(&funnel.text, known.iter().map(String::as_str));
    }
    let with = compile::values(object, "with", below.compiler(), faults);
    Some(Box::new(EnterStep { funnel: funnel.text, with }))
}

impl Step for EnterStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        let mut properties = Fields::new();
        for (name, source) in &self.with {
            match source.value(cx) {
                Ok(value) => properties.insert(name.clone(), value),
                Err(what) => return Flow::Missing { what },
            };
        }
        Flow::Enter { funnel: self.funnel.clone(), properties }
    }

    fn enters(&self) -> Option<&str> {
        Some(&self.funnel)
    }

    fn needs(&self) -> Vec<Need> {
        self.with.iter().flat_map(|(_, source)| source.needs()).collect()
    }

    fn sentence(&self) -> String {
        format!("enter “{}”", self.funnel)
    }
}
