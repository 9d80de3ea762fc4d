//! One text of a template: compiled, checked against what there is, rendered.

use super::engine::{self, Context, OUTPUT_BYTES_MAX};
use super::plain::{Escape, Plain};
use super::scan::{self, Origin, Tag};
use super::{RenderError, links, mjml, syntax};
use crate::lang::cel::{Schema, Type};
use crate::lang::diag::Faults;
use crate::money::Currency;
use minijinja::{Environment, ErrorKind};

/// One text of a template.
#[derive(Debug)]
pub(super) struct Part {
    pub what: What,
    pub key: String,
    pub origin: Origin,
    pub tags: Vec<Tag>,
    pub paths: Vec<Vec<String>>,
    /// How it is rendered where the engine is not needed.
    pub plain: Option<Plain>,
    /// What is rendered was made from the source: its lines are not those of the file.
    pub generated: bool,
}

/// What a text is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// What is rendered.
    Plain,
    /// MJML, from which HTML is made.
    Mjml,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Subject,
    Preheader,
    Text,
    Html,
}

pub(super) fn uses_filter(tags: &[Tag], name: &str) -> bool {
    tags.iter().any(|tag| tag.tokens.windows(2).any(|pair| pair[0].text == "|" && pair[1].text == name))
}

/// Lints and compiles one text into the environment.
pub(super) fn add(
    environment: &mut Environment<'static>,
    (what, key): (What, &str),
    (text, form): (&str, Form),
    origin: &Origin,
    currency: Currency,
    faults: &mut Faults,
) -> Option<Part> {
    let errors = faults.error_count();
    let tags = scan::scan(text);
    scan::lint(&tags, origin, faults);
    if faults.error_count() > errors {
        return None;
    }
    if form == Form::Mjml && syntax::report(environment, (text, &tags), origin, faults) {
        return None;
    }
    let made = match form {
        Form::Plain => None,
        Form::Mjml => Some(mjml::to_html(text, &tags, origin, faults)?),
    };
    let generated = made.is_some();
    let source = match made {
        Some(html) => links::guard_links(&html, &scan::scan(&html)),
        None if key.ends_with(".html") => links::guard_links(text, &tags),
        None => text.to_owned(),
    };
    let plain = if source == text { Plain::of(text, &tags, Escape::of(key), currency) } else { None };
    let compiled = environment.add_template_owned(key.to_owned(), source).and_then(|()| environment.get_template(key));
    let compiled = match compiled {
        Ok(compiled) => compiled,
        // What was made of the text has other lines and columns: the fault is looked for in the text itself.
        Err(_) if syntax::report(environment, (text, &tags), origin, faults) => return None,
        Err(why) => {
            let line = why.line().and_then(|line| u32::try_from(line).ok()).filter(|_| !generated).unwrap_or(1);
            faults.error("bad-template", &origin.line(line), format!("the template cannot be read: {}", reason(&why)));
            return None;
        }
    };
    let mut paths: Vec<Vec<String>> = compiled
        .undeclared_variables(true)
        .into_iter()
        .map(|path| path.split('.').map(str::to_owned).collect::<Vec<String>>())
        .filter(|path| path.first().is_some_and(|root| !scan::FUNCTIONS.contains(&root.as_str())))
        .collect();
    paths.sort();
    Some(Part { what, key: key.to_owned(), origin: origin.clone(), tags, paths, plain, generated })
}

/// What the engine says, without its own names of kinds where there is a sentence.
pub(super) fn reason(why: &minijinja::Error) -> String {
    why.detail().map_or_else(|| why.kind().to_string(), str::to_owned)
}

pub(super) fn check_paths(paths: &[Vec<String>], tags: &[Tag], origin: &Origin, schema: &dyn Schema, faults: &mut Faults) {
    for path in paths {
        let Some(root) = path.first() else { continue };
        if root == "_zone" || root == engine::SECRETS {
            continue;
        }
        let place = |depth: usize| {
            let found = scan::find(tags, path.get(..depth).unwrap_or(path));
            found.map_or_else(|| origin.place.clone(), |token| origin.token(token))
        };
        let Some(mut ty) = schema.root(root) else {
            let roots = schema.roots();
            faults
                .error("unknown-name", &place(1), format!("there is nothing named `{root}` here"))
                .did_you_mean(root, roots.iter().map(String::as_str));
            continue;
        };
        for (depth, name) in path.iter().enumerate().skip(1) {
            ty = match ty {
                Type::Any | Type::List(_) => break,
                Type::Object(fields) => match fields.iter().find(|(field, _)| field == name) {
                    Some((_, ty)) => ty.clone(),
                    None => {
                        let owner = path[..depth].join(".");
                        faults
                            .error("unknown-name", &place(depth + 1), format!("`{owner}` has no `{name}`"))
                            .did_you_mean(name, fields.iter().map(|(field, _)| field.as_str()));
                        break;
                    }
                },
                _ => {
                    let owner = path[..depth].join(".");
                    faults.error("unknown-name", &place(depth + 1), format!("`{owner}` is a single value and has no `{name}`"));
                    break;
                }
            };
        }
    }
}

impl Part {
    pub fn error(&self, line: u32, message: String, missing: Option<String>) -> RenderError {
        let place = self.origin.line(line);
        RenderError { file: place.file, line: place.line, message, missing }
    }

    /// The line on which a dotted name is read.
    fn line_of(&self, name: Option<&str>) -> u32 {
        let path: Vec<String> = name.unwrap_or_default().split('.').map(str::to_owned).collect();
        scan::find(&self.tags, &path).map_or(1, |token| token.line)
    }
}

pub(super) fn render_part(environment: &Environment<'static>, part: &Part, context: &Context<'_>) -> Result<String, RenderError> {
    match part.plain.as_ref().and_then(|plain| plain.render(context)) {
        Some(text) => Ok(text),
        None => render_by_engine(environment, part, context),
    }
}

pub(super) fn render_by_engine(
    environment: &Environment<'static>,
    part: &Part,
    context: &Context<'_>,
) -> Result<String, RenderError> {
    let mut out = engine::Bounded(Vec::new());
    let template = environment.get_template(&part.key);
    let result = template.and_then(|template| template.render_captured_to(context.root().clone(), &mut out).map(|_| ()));
    match result {
        Ok(()) => Ok(String::from_utf8_lossy(&out.0).into_owned()),
        Err(why) => Err(explain(&why, part, context)),
    }
}

/// The engine's error in our words, with the missing variable's name where one is missing.
fn explain(why: &minijinja::Error, part: &Part, context: &Context<'_>) -> RenderError {
    let line = why.line().and_then(|line| u32::try_from(line).ok()).filter(|_| !part.generated).unwrap_or(1);
    match why.kind() {
        ErrorKind::UndefinedError => {
            let missing = missing_on(line, part, context);
            let line = if part.generated { part.line_of(missing.as_deref()) } else { line };
            let message = match &missing {
                Some(name) => format!("`{name}` is missing; write `{{{{ {name} | default(\"…\") }}}}` if that may be"),
                None => "a value is missing; write `| default(\"…\")` behind it if that may be".to_owned(),
            };
            part.error(line, message, missing)
        }
        ErrorKind::OutOfFuel => part.error(line, "the template takes too much work; shorten its loops".to_owned(), None),
        ErrorKind::WriteFailure => part.error(line, format!("the message is larger than {} KiB", OUTPUT_BYTES_MAX / 1024), None),
        _ => part.error(line, reason(why), None),
    }
}

/// The variable read on this line that is missing, when there is exactly one; else the first of the part.
fn missing_on(line: u32, part: &Part, context: &Context<'_>) -> Option<String> {
    let missing = |path: &&Vec<String>| {
        let mut value = context.root().clone();
        for name in path.iter() {
            value = value.get_attr(name).unwrap_or_default();
        }
        engine::is_missing(&value)
    };
    let mut found = part.paths.iter().filter(missing);
    let here = found.clone().find(|path| scan::find(&part.tags, path).is_some_and(|token| token.line == line));
    here.or_else(|| found.next()).map(|path| path.join("."))
}
