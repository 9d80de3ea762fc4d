//! The JSON Schema of shapes, from which editors complete and check while a file is written.

use super::{Field, NAME_CHARS_MAX, Shape};
use serde_json::{Map, Value as Json, json};

/// The JSON Schema (2020-12) of a shape; `Ref(name)` becomes `#/$defs/name`.
pub fn schema(shape: &Shape) -> Json {
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Name(kind) => json!({
            "type": "string",
            "description": format!("The name of a {kind}: letters a to z, digits, `_`, `-`, `.`."),
            "pattern": format!("^[A-Za-z0-9_.-]{{1,{NAME_CHARS_MAX}}}$"),
        }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Int(min, max) => bounded(*min, *max),
        Shape::Number => json!({ "type": "number" }),
        Shape::Duration => json!({
            "type": "string",
            "description": "A duration: days, weeks, months and years follow the calendar, hours and minutes are elapsed time.",
            "examples": ["3 days", "72h", "30m"],
        }),
        Shape::Clock => json!({
            "type": "string",
            "description": "A time of day, in quotes.",
            "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$",
            "examples": ["09:00"],
        }),
        Shape::Zone => json!({
            "type": "string",
            "description": "A time zone of the IANA database.",
            "examples": ["Europe/Berlin", "America/New_York", "UTC"],
        }),
        Shape::Condition => json!({
            "type": ["string", "object"],
            "description": "A condition: an expression, or its structured form.",
            "examples": ["customer.tier in [\"silver\", \"gold\"]", { "purchases": { "last": "90 days", "at_least": 3 } }],
        }),
        Shape::Expr => json!({
            "type": "string",
            "description": "An expression.",
            "examples": ["event.amount * 2"],
        }),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Phrase(form) => json!({ "type": "string", "description": form }),
        Shape::Data => json!({}),
        Shape::List(item) => json!({ "type": "array", "items": schema(item) }),
        Shape::OneOrMore(item) => {
            let one = schema(item);
            json!({ "anyOf": [one.clone(), { "type": "array", "items": one }] })
        }
        Shape::MapOf(item) => json!({ "type": "object", "additionalProperties": schema(item) }),
        Shape::Object(fields) => object_schema(&[fields]),
        Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(schema).collect::<Vec<_>>() }),
        Shape::Ref(name) => json!({ "$ref": format!("#/$defs/{name}") }),
    }
}

fn bounded(min: i64, max: i64) -> Json {
    let mut out = Map::new();
    out.insert("type".to_owned(), json!("integer"));
    if min != i64::MIN {
        out.insert("minimum".to_owned(), json!(min));
    }
    if max != i64::MAX {
        out.insert("maximum".to_owned(), json!(max));
    }
    Json::Object(out)
}

/// The JSON Schema of an object with the fields of all `tables` together.
///
/// A field that stands in two tables counts as in the first, as [`super::Object::read`] has it.
pub fn object_schema(tables: &[&[Field]]) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in tables.iter().flat_map(|table| table.iter()) {
        if properties.contains_key(field.name) {
            continue;
        }
        properties.insert(field.name.to_owned(), described(field));
        if field.required {
            required.push(field.name);
        }
    }
    let mut out = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    out
}

/// The schema of a field's shape with the field's sentence before the shape's own.
fn described(field: &Field) -> Json {
    let mut out = schema(&field.shape);
    if let Json::Object(map) = &mut out {
        let text = match map.get("description").and_then(Json::as_str) {
            Some(form) => format!("{} {form}", field.doc),
            None => field.doc.to_owned(),
        };
        map.insert("description".to_owned(), Json::String(text));
    }
    out
}
