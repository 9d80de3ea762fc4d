//! Message templates: checked when the workspace is loaded, rendered from frozen variables alone.
//!
//! A template named `welcome` is `templates/welcome.html` (HTML of an e-mail) or `templates/welcome.mjml`
//! (MJML, from which that HTML is made), `templates/welcome.txt` (plain text of an e-mail, or the whole of an
//! SMS or chat message), or both. An e-mail without a text gets one made of its HTML. A file may begin with
//! a header:
//!
//! ```text
//! ---
//! subject: Welcome, {{ customer.name }}
//! preheader: Your first 100 points are waiting
//! ---
//! ```
//!
//! HTML is escaped by itself and only so; a link attribute that begins with data leads only to http,
//! https or mailto. A missing variable fails the rendering, so that nobody receives "Hello ,". Filters
//! beyond the engine's own: `money`, `points`, `date`, `url`, `json`, `urlencode`.

use crate::lang::cel::{Schema, Text};
use crate::lang::diag::{Faults, Place};
use crate::lang::time::Zone;
use crate::lang::value::Fields;
use crate::money::Currency;
use minijinja::Environment;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

mod engine;
mod filters;
mod header;
mod line;
mod links;
mod mjml;
mod part;
mod plain;
mod scan;
mod syntax;
mod text;

pub use engine::{Context, OUTPUT_BYTES_MAX};
pub use filters::percent_encode;
pub use line::{Line, LineKind};

use part::{Form, Part, What, add, check_paths, render_part, uses_filter};
use scan::Origin;

/// Largest source of one template file, in bytes.
pub const SOURCE_BYTES_MAX: usize = 256 * 1024;
/// Longest subject after rendering, in characters.
pub const SUBJECT_CHARS_MAX: usize = 500;

/// What a template takes from the workspace.
#[derive(Clone, Copy, Debug)]
pub struct TemplateOptions {
    /// Currency of `money`.
    pub currency: Currency,
    /// Zone of `date` where neither `_zone` nor `customer.zone` names one.
    pub zone: Zone,
}

/// A message as it is sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rendered {
    /// Subject, or empty.
    pub subject: String,
    /// Plain text, or empty.
    pub text: String,
    /// HTML, or empty.
    pub html: String,
}

/// Why a text could not be rendered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct RenderError {
    /// File of the template.
    pub file: Arc<str>,
    /// Line in it.
    pub line: u32,
    /// What is wrong.
    pub message: String,
    /// The variable that is missing, if that is the reason.
    pub missing: Option<String>,
}

/// A compiled template.
pub struct Template {
    name: String,
    hash: String,
    environment: Environment<'static>,
    parts: Vec<Part>,
    paths: Vec<Vec<String>>,
    zoned: bool,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Template").field("name", &self.name).field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Template {
    /// Compiles the files of a template, each given as its path and text; a path that ends in `.mjml` is MJML.
    /// `None` when there is an error, which is then in `faults`.
    pub fn compile(
        name: &str,
        html: Option<(&str, &str)>,
        txt: Option<(&str, &str)>,
        options: TemplateOptions,
        faults: &mut Faults,
    ) -> Option<Template> {
        let errors = faults.error_count();
        let mut builder = Builder::new(name, options);
        let start = |file: &str| Place { file: Arc::from(file), line: 1, column: 1, length: 1 };
        let Some((first, _)) = txt.or(html) else {
            let place = start(&format!("templates/{name}.txt"));
            faults.error("empty-template", &place, format!("the template `{name}` has neither a .txt nor a .html file"));
            return None;
        };
        for (what, file) in [(What::Html, html), (What::Text, txt)] {
            let Some((file, text)) = file else { continue };
            builder.source(what, text);
            if text.len() > SOURCE_BYTES_MAX {
                let message = format!("the file is larger than {} KiB", SOURCE_BYTES_MAX / 1024);
                faults.error("template-too-large", &start(file), message);
                continue;
            }
            let form = if file.ends_with(".mjml") { Form::Mjml } else { Form::Plain };
            let file = header::split(file, text, faults);
            for (what, value) in [(What::Subject, file.subject), (What::Preheader, file.preheader)] {
                if let Some(value) = value {
                    builder.part(what, (&value.text, Form::Plain), Origin { place: value.place, exact: true }, faults);
                }
            }
            if file.body.text.trim().is_empty() {
                faults
                    .error("empty-template", &file.body.place, "the file has no text")
                    .hint("write the message below the header");
            }
            builder.part(what, (&file.body.text, form), Origin { place: file.body.place, exact: true }, faults);
        }
        if html.is_some() && !builder.has(What::Subject) && faults.error_count() == errors {
            faults
                .error(
                    "no-subject",
                    &start(html.map_or(first, |(file, _)| file)),
                    format!("the e-mail template `{name}` has no subject"),
                )
                .hint("begin the file with a line `---`, a line `subject: …` and a line `---`");
        }
        (faults.error_count() == errors).then(|| builder.finish())
    }

    /// Compiles a message that is written in the funnel itself.
    pub fn inline(
        name: &str,
        subject: Option<&Text>,
        text: &Text,
        options: TemplateOptions,
        faults: &mut Faults,
    ) -> Option<Template> {
        let errors = faults.error_count();
        let mut builder = Builder::new(name, options);
        for (what, part) in [(What::Subject, subject), (What::Text, Some(text))] {
            let Some(part) = part else { continue };
            builder.source(what, &part.text);
            if part.text.trim().is_empty() {
                faults.error("empty-template", &part.place, "the text is empty").hint("write what the customer is to read");
            }
            builder.part(what, (&part.text, Form::Plain), Origin { place: part.place.clone(), exact: false }, faults);
        }
        (faults.error_count() == errors).then(|| builder.finish())
    }

    /// The template's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its sources, in hexadecimal digits.
    pub fn hash(&self) -> String {
        self.hash.clone()
    }

    /// Whether it has a subject, so that it can be sent by e-mail.
    pub fn has_subject(&self) -> bool {
        self.part(What::Subject).is_some()
    }

    /// Whether it has plain text, so that it can be sent by SMS, chat or push.
    pub fn has_text(&self) -> bool {
        self.part(What::Text).is_some()
    }

    /// The dotted names that it reads (`["customer", "name"]`), to be frozen into the effect.
    pub fn variables(&self) -> Vec<Vec<String>> {
        let mut paths = self.paths.clone();
        let zone = vec!["customer".to_owned(), "zone".to_owned()];
        if self.zoned && !paths.contains(&zone) {
            paths.push(zone);
        }
        paths
    }

    /// Reports names that are not in `schema`, each where it is read.
    pub fn check(&self, schema: &dyn Schema, faults: &mut Faults) {
        for part in &self.parts {
            check_paths(&part.paths, &part.tags, &part.origin, schema, faults);
        }
    }

    /// Where a name is written out with nothing said for the case that it is missing: no `default`, and no `if` that asks
    /// for it or for something beside it.
    pub fn bare(&self, path: &[String]) -> Option<Place> {
        self.parts.iter().find_map(|part| {
            let beside = path.get(..2.min(path.len())).unwrap_or(path);
            if part.tags.iter().any(|tag| !tag.expression && scan::names(tag, beside).is_some()) {
                return None;
            }
            let bare = |tag: &&scan::Tag| tag.expression && !uses_filter(std::slice::from_ref(*tag), "default");
            let token = part.tags.iter().filter(bare).find_map(|tag| scan::names(tag, path))?;
            Some(part.origin.token(token))
        })
    }

    /// Renders the message. Same variables, same bytes.
    ///
    /// # Errors
    /// A variable is missing or of the wrong kind, the message is too large or too much work, or the
    /// subject would contain a line break.
    pub fn render(&self, vars: &Fields) -> Result<Rendered, RenderError> {
        let context = Context::new(vars, &self.paths);
        let one = |what| self.part(what).map_or(Ok(String::new()), |part| render_part(&self.environment, part, &context));
        let subject = one(What::Subject)?.trim().to_owned();
        if let (Some(why), Some(part)) = (header::unfit(&subject, SUBJECT_CHARS_MAX), self.part(What::Subject)) {
            return Err(part.error(1, format!("the subject {why}"), None));
        }
        let mut html = strip_controls(one(What::Html)?);
        let text = strip_controls(match self.has_text() || html.is_empty() {
            true => one(What::Text)?,
            false => text::of_html(&html),
        });
        let preheader = strip_controls(one(What::Preheader)?);
        if !html.is_empty() && !preheader.trim().is_empty() {
            header::insert_preheader(&mut html, preheader.trim());
        }
        Ok(Rendered { subject, text, html })
    }

    fn part(&self, what: What) -> Option<&Part> {
        self.parts.iter().find(|part| part.what == what)
    }
}

/// Collects the parts of a template.
struct Builder {
    name: String,
    environment: Environment<'static>,
    parts: Vec<Part>,
    digest: Sha256,
    currency: Currency,
}

impl Builder {
    fn new(name: &str, options: TemplateOptions) -> Builder {
        Builder {
            name: name.to_owned(),
            environment: engine::environment(&options),
            parts: Vec::new(),
            digest: Sha256::new(),
            currency: options.currency,
        }
    }

    fn has(&self, what: What) -> bool {
        self.parts.iter().any(|part| part.what == what)
    }

    /// Each source goes into the hash with its role and length, so that no two sets of files are alike.
    fn source(&mut self, what: What, text: &str) {
        self.digest.update([what as u8]);
        self.digest.update((text.len() as u64).to_be_bytes());
        self.digest.update(text.as_bytes());
    }

    fn part(&mut self, what: What, source: (&str, Form), origin: Origin, faults: &mut Faults) {
        if self.has(what) {
            if what == What::Subject || what == What::Preheader {
                faults
                    .error("doubled-header", &origin.place, "the header stands in both files of the template")
                    .hint("keep it in the .html file only");
            }
            return;
        }
        let key = match what {
            What::Subject => "subject",
            What::Preheader => "preheader.html",
            What::Text => "text",
            What::Html => "body.html",
        };
        self.parts.extend(add(&mut self.environment, (what, key), source, &origin, self.currency, faults));
    }

    fn finish(self) -> Template {
        let paths: BTreeSet<Vec<String>> = self.parts.iter().flat_map(|part| part.paths.iter().cloned()).collect();
        let zoned = self.parts.iter().any(|part| uses_filter(&part.tags, "date"));
        let hash = hex(&self.digest.finalize());
        Template {
            name: self.name,
            hash,
            environment: self.environment,
            parts: self.parts,
            paths: paths.into_iter().collect(),
            zoned,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Without control characters, except line feed and tab; line ends become line feeds.
fn strip_controls(text: String) -> String {
    let unfit = |c: char| (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}');
    if !text.contains(unfit) {
        return text;
    }
    text.replace("\r\n", "\n").chars().filter(|c| !unfit(*c)).collect()
}

#[cfg(test)]
mod tests;
