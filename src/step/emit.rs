//! `emit`: an event of the customer's own, seen by every funnel as the next input of the same turn.

use super::set::Source;
use super::{Below, Flow, Step, StepCx, StepKind, compile, main_text};
use crate::lang::cel::Need;
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::value::Fields;

/// `emit`.
pub static KIND: StepKind = StepKind {
    name: "emit",
    doc: "emit an event; other funnels can start on it",
    example: "emit: tasting_invited",
    fields: &[
        Field::required("emit", Shape::Name("event"), "the event's name"),
        Field::optional("properties", Shape::MapOf(&Shape::Data), "its properties: data, or `{ cel: <expression> }`"),
    ],
    compile: compile_emit,
};

#[derive(Debug)]
struct EmitStep {
    name: String,
    properties: Vec<(String, Source)>,
}

fn compile_emit(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let name = main_text(object, "emit", faults)?;
    below.names().names.know_event(&name, faults);
    if crate::event::words::money_sign(&name.text).is_some() {
        faults
            .error("emit-money", &name.place, format!("a funnel cannot emit `{}`: it would count as money", name.text))
            .hint("emit an event with a name of its own");
    }
    let properties = compile::values(object, "properties", below.compiler(), faults);
    Some(Box::new(EmitStep { name: name.text, properties }))
}

impl Step for EmitStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        let mut properties = Fields::new();
        for (name, source) in &self.properties {
            match source.value(cx) {
                Ok(value) => properties.insert(name.clone(), value),
                Err(what) => return Flow::Missing { what },
            };
        }
        Flow::Emit { name: self.name.clone(), properties }
    }

    fn emits(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn needs(&self) -> Vec<Need> {
        self.properties.iter().flat_map(|(_, source)| source.needs()).collect()
    }

    fn sentence(&self) -> String {
        format!("emit {}", self.name)
    }
}
