//! `set`: profile fields, from literals or expressions.

use super::{Below, Flow, Step, StepCx, StepKind, compile};
use crate::lang::cel::{Expr, Need, Type};
use crate::lang::diag::{Faults, Place};
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::value::Value;

/// `set`.
pub static KIND: StepKind = StepKind {
    name: "set",
    doc: "set fields of the customer's profile; a value is data, or `{ cel: <expression> }`",
    example: "set: { favourite_roast: dark }",
    fields: &[Field::required("set", Shape::MapOf(&Shape::Data), "profile fields and their values")],
    compile: compile_set,
};

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Written as it is.
    Literal(Value),
    /// Computed when the step runs.
    Expr(Expr),
}

impl Source {
    /// The value now; the error names what is missing.
    pub fn value(&self, cx: &StepCx<'_>) -> Result<Value, String> {
        match self {
            Source::Literal(value) => Ok(value.clone()),
            Source::Expr(expr) => expr.eval(cx.scope).0,
        }
    }
}

impl Source {
    /// The expression, if it is one.
    pub fn expression(&self) -> Option<&Expr> {
        match self {
            Source::Literal(_) => None,
            Source::Expr(expr) => Some(expr),
        }
    }

    /// What it needs to be kept in the history.
    pub fn needs(&self) -> Vec<Need> {
        match self {
            Source::Literal(_) => Vec::new(),
            Source::Expr(expr) => expr.needs(),
        }
    }
}

#[derive(Debug)]
struct SetStep {
    fields: Vec<(String, Source)>,
}

fn compile_set(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let node = object.node("set")?;
    let Some(entries) = node.map() else {
        faults
            .error("set-form", &node.place, "`set` takes a map of profile fields")
            .hint("for example `set: { favourite_roast: dark }`");
        return None;
    };
    let mut fields = Vec::new();
    for (key, node) in entries {
        let source = compile::value(node, below.compiler(), faults);
        match (below.names().profile)(&key.text) {
            None => {
                let known = below.names().profile_fields.clone();
                faults
                    .error("unknown-profile-field", &key.place, format!("there is no profile field `{}`", key.text))
                    .did_you_mean(&key.text, known.iter().map(String::as_str))
                    .hint_if_none("name it under `profile:` in autofunnel.yaml");
            }
            Some(ty) => {
                let Some(source) = source else { continue };
                check_type(&key.text, &ty, &source, &node.place, faults);
                fields.push((key.text.clone(), source));
            }
        }
    }
    Some(Box::new(SetStep { fields }))
}

fn check_type(field: &str, ty: &Type, source: &Source, place: &Place, faults: &mut Faults) {
    let found = match source {
        Source::Literal(Value::Null) => return,
        Source::Literal(value) => match value {
            Value::Bool(_) => Type::Bool,
            Value::Int(_) | Value::Dec(_) => Type::Number,
            Value::Text(_) => Type::Text,
            Value::Time(_) => Type::Time,
            Value::List(_) | Value::Map(_) | Value::Null => Type::Any,
        },
        Source::Expr(expr) => expr.ty.clone(),
    };
    if found != Type::Any && *ty != Type::Any && found != *ty {
        faults.error("wrong-type", place, format!("the profile field `{field}` holds {}, not {}", name(ty), name(&found)));
    }
}

fn name(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "true/false",
        Type::Number => "a number",
        Type::Text => "text",
        Type::Time => "a time",
        Type::Span => "a span of time",
        Type::List(_) => "a list",
        Type::Object(_) => "a map",
        Type::Any => "anything",
    }
}

impl Step for SetStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        let mut values = Vec::with_capacity(self.fields.len());
        for (field, source) in &self.fields {
            match source.value(cx) {
                Ok(value) => values.push((field.clone(), value)),
                Err(what) => return Flow::Missing { what },
            }
        }
        Flow::Set(values)
    }

    fn expressions(&self) -> Vec<&Expr> {
        self.fields.iter().filter_map(|(_, source)| source.expression()).collect()
    }

    fn needs(&self) -> Vec<Need> {
        self.fields.iter().flat_map(|(_, source)| source.needs()).collect()
    }

    fn sentence(&self) -> String {
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        format!("set {}", names.join(", "))
    }
}
