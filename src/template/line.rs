//! Short templates inside settings: the URL, the headers and the body of a provider's request.

use super::engine::{self, Context};
use super::part::{self, Part, What, add, check_paths, render_part};
use super::plain::Plain;
use super::scan::Origin;
use super::{RenderError, TemplateOptions};
use crate::lang::cel::{Schema, Text};
use crate::lang::diag::Faults;
use minijinja::Environment;

/// What a line is for; it decides how data is written into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineKind {
    /// As it is.
    Plain,
    /// Part of a URL: data is percent-encoded.
    Url,
    /// A header's value: a line break or control character is an error.
    Header,
    /// One value of a JSON body. A line that is nothing but one `{{ … }}` keeps its type (a number stays a
    /// number); any other is a text.
    Json,
}

/// A compiled line.
pub struct Line {
    kind: LineKind,
    form: Form,
}

enum Form {
    Constant(String),
    Template { environment: Box<Environment<'static>>, part: Box<Part>, literal: bool },
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Line {
    /// Compiles a line; `None` when it is wrong, which is then in `faults`.
    pub fn compile(text: &Text, kind: LineKind, options: TemplateOptions, faults: &mut Faults) -> Option<Line> {
        if !text.text.contains("{{") && !text.text.contains("{%") && !text.text.contains("{#") {
            return Some(Line { kind, form: Form::Constant(text.text.clone()) });
        }
        let mut environment = engine::environment(&options);
        let key = if kind == LineKind::Url { "line.url" } else { "line" };
        let origin = Origin { place: text.place.clone(), exact: false };
        let tags = super::scan::scan(&text.text);
        let sole = match tags.as_slice() {
            [tag] if kind == LineKind::Json && tag.expression => {
                let around = (text.text.get(..tag.start), text.text.get(tag.end..));
                matches!(around, (Some(before), Some(after)) if before.trim().is_empty() && after.trim().is_empty())
                    .then(|| text.text.get(tag.inner.0..tag.inner.1))
                    .flatten()
            }
            _ => None,
        };
        let source = sole.map_or_else(|| text.text.clone(), |inner| format!("{{{{ ({inner}) | json }}}}"));
        let mut part =
            Box::new(add(&mut environment, (What::Text, key), (&source, part::Form::Plain), &origin, options.currency, faults)?);
        if let (Some(_), [tag]) = (sole, tags.as_slice()) {
            part.plain = Plain::json(tag, options.currency);
        }
        Some(Line { kind, form: Form::Template { environment: Box::new(environment), part, literal: sole.is_some() } })
    }

    /// The dotted names that it reads; secrets are none.
    pub fn variables(&self) -> Vec<Vec<String>> {
        match &self.form {
            Form::Constant(_) => Vec::new(),
            Form::Template { part, .. } => {
                part.paths.iter().filter(|path| path.first().is_none_or(|root| root != engine::SECRETS)).cloned().collect()
            }
        }
    }

    /// Reports names that are not in `schema`.
    pub fn check(&self, schema: &dyn Schema, faults: &mut Faults) {
        if let Form::Template { part, .. } = &self.form {
            check_paths(&part.paths, &part.tags, &part.origin, schema, faults);
        }
    }

    /// Renders it. For [`LineKind::Json`] the result is a JSON literal.
    ///
    /// # Errors
    /// As [`super::Template::render`]; a control character in a header.
    pub fn render(&self, context: &Context<'_>) -> Result<String, RenderError> {
        let (text, literal) = match &self.form {
            Form::Constant(text) => (text.clone(), false),
            Form::Template { environment, part, literal } => (render_part(environment, part, context)?, *literal),
        };
        match self.kind {
            LineKind::Header if text.chars().any(char::is_control) => {
                Err(self.error("the header's value contains a line break or control character"))
            }
            LineKind::Json if !literal => Ok(serde_json::Value::String(text).to_string()),
            _ => Ok(text),
        }
    }

    fn error(&self, message: &str) -> RenderError {
        match &self.form {
            Form::Template { part, .. } => part.error(1, message.to_owned(), None),
            Form::Constant(_) => RenderError { file: "".into(), line: 1, message: message.to_owned(), missing: None },
        }
    }
}
