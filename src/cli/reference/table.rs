//! Tables of fields: what may stand where, as a reader of the reference sees it.

use crate::lang::shape::{Field, Shape};
use std::collections::BTreeSet;

/// The fields of all tables together, with those of objects below them as `of.field`.
pub(super) fn fields(tables: &[&'static [Field]]) -> String {
    let mut out = String::from("| key | value | |\n|---|---|---|\n");
    let mut seen = BTreeSet::new();
    for field in tables.iter().flat_map(|table| table.iter()) {
        // One that stands in two tables counts as in the first, as it is read.
        if seen.insert(field.name) {
            row(field, "", &mut out);
        }
    }
    out
}

fn row(field: &'static Field, within: &str, out: &mut String) {
    let path = format!("{within}{}", field.name);
    let must = if field.required { " **must be there**" } else { "" };
    out.push_str(&format!("| `{path}`{must} | {} | {} |\n", cell(&form(&field.shape)), cell(field.doc)));
    for (step, object) in objects(&field.shape) {
        object.iter().for_each(|field| row(field, &format!("{path}{step}."), out));
    }
}

/// The objects in a shape, with how one comes to them.
fn objects(shape: &Shape) -> Vec<(&'static str, &'static [Field])> {
    match shape {
        Shape::Object(fields) => vec![("", fields)],
        Shape::List(Shape::Object(fields)) | Shape::OneOrMore(Shape::Object(fields)) => vec![("[]", fields)],
        Shape::MapOf(Shape::Object(fields)) => vec![(".NAME", fields)],
        Shape::Either(shapes) => shapes.iter().flat_map(objects).collect(),
        _ => Vec::new(),
    }
}

/// What may stand there, in words.
fn form(shape: &Shape) -> String {
    match shape {
        Shape::Text => "text".to_owned(),
        Shape::Name(kind) => {
            let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
            format!("the name of {article} {kind}")
        }
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Int(least, most) => match (*least == i64::MIN, *most == i64::MAX) {
            (true, true) => "a whole number".to_owned(),
            (false, true) => format!("a whole number from {least}"),
            _ => format!("a whole number from {least} to {most}"),
        },
        Shape::Number => "a number".to_owned(),
        Shape::Duration => "a span".to_owned(),
        Shape::Clock => "a time of day".to_owned(),
        Shape::Zone => "a time zone such as `Europe/Berlin`".to_owned(),
        Shape::Condition => "a condition".to_owned(),
        Shape::Expr => "an expression".to_owned(),
        Shape::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::Phrase(form) => (*form).to_owned(),
        Shape::Data => "any data".to_owned(),
        Shape::List(item) => format!("a list: {}", form(item)),
        Shape::OneOrMore(item) => format!("one, or a list: {}", form(item)),
        Shape::MapOf(item) => format!("names, each with {}", form(item)),
        Shape::Object(_) => "a map, see below".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(form).collect::<Vec<_>>().join("; or "),
        Shape::Ref("watch") => "an event, or what else is looked out for".to_owned(),
        Shape::Ref(name) => name.replace('_', " "),
    }
}

/// A text within a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
