//! `emit`: an event of the customer's own, seen by every funnel as the next input of the same turn; or one of another
//! customer's, which goes into her inbox.

use super::grant::{TO, id, other};
use super::set::Source;
use super::{Below, Flow, Step, StepCx, StepKind, compile, main_text};
use crate::lang::cel::{Expr, Need};
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
        TO,
    ],
    compile: compile_emit,
};

#[derive(Debug)]
struct EmitStep {
    name: String,
    properties: Vec<(String, Source)>,
    to: Option<Expr>,
}

fn compile_emit(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let name = main_text(object, "emit", faults)?;
    below.names().names.know_event(&name, faults);
    if crate::event::words::money_sign(&name.text).is_some() {
        faults
            .error("emit-money", &name.place, format!("a funnel cannot emit `{}`: it would count as money", name.text))
            .hint("emit an event with a name of its own");
    }
    let to = other(object, below, faults)?;
    let properties = compile::values(object, "properties", below.compiler(), faults);
    Some(Box::new(EmitStep { name: name.text, properties, to }))
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
        let to = match self.to.as_ref().map(|to| id(to, cx)).transpose() {
            Ok(to) => to,
            Err(flow) => return *flow,
        };
        Flow::Emit { name: self.name.clone(), properties, to }
    }

    fn emits(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn expressions(&self) -> Vec<&Expr> {
        self.properties.iter().filter_map(|(_, source)| source.expression()).collect()
    }

    fn tells(&self) -> Option<String> {
        self.to.as_ref().map(|_| self.name.clone())
    }

    fn needs(&self) -> Vec<Need> {
        let properties = self.properties.iter().flat_map(|(_, source)| source.needs());
        properties.chain(self.to.iter().flat_map(Expr::needs)).collect()
    }

    fn sentence(&self) -> String {
        let to = self.to.as_ref().map(|to| format!(" to {}", to.text.text)).unwrap_or_default();
        format!("emit {}{to}", self.name)
    }
}
