//! MJML becomes HTML when the workspace is loaded.
//!
//! Data stands in the MJML as in HTML. Before the markup is compiled every `{{ … }}` and `{% … %}` gives way to
//! a mark that no compiler touches, and comes back afterwards, so that what is rendered later is an HTML
//! template like any other. Nothing is included or fetched, and no fonts of others are named that were not
//! asked for.

use super::scan::{Origin, Tag};
use super::text;
use crate::lang::diag::{Faults, Place};
use mrml::prelude::parser::{Error, Span, WarningKind};
use mrml::prelude::render::RenderOptions;

/// Elements of MJML that can be used. `mj-include` is none of them: a template is one file.
const ELEMENTS: &[&str] = &[
    "mjml",
    "mj-accordion",
    "mj-accordion-element",
    "mj-accordion-text",
    "mj-accordion-title",
    "mj-all",
    "mj-attributes",
    "mj-body",
    "mj-breakpoint",
    "mj-button",
    "mj-carousel",
    "mj-carousel-image",
    "mj-class",
    "mj-column",
    "mj-divider",
    "mj-font",
    "mj-group",
    "mj-head",
    "mj-hero",
    "mj-image",
    "mj-navbar",
    "mj-navbar-link",
    "mj-preview",
    "mj-raw",
    "mj-section",
    "mj-social",
    "mj-social-element",
    "mj-spacer",
    "mj-style",
    "mj-table",
    "mj-text",
    "mj-title",
    "mj-wrapper",
];

/// Deepest nesting: the compiler goes down by calling itself.
const DEPTH_MAX: usize = 100;

/// Attributes that elements of MJML have.
const ATTRIBUTES: &[&str] = &[
    "align",
    "alt",
    "aria-label",
    "aria-roledescription",
    "background-color",
    "background-height",
    "background-position",
    "background-position-x",
    "background-position-y",
    "background-repeat",
    "background-size",
    "background-url",
    "background-width",
    "base-url",
    "border",
    "border-bottom",
    "border-color",
    "border-left",
    "border-radius",
    "border-right",
    "border-style",
    "border-top",
    "border-width",
    "cellpadding",
    "cellspacing",
    "color",
    "container-background-color",
    "css-class",
    "dir",
    "direction",
    "fluid-on-mobile",
    "font-family",
    "font-size",
    "font-style",
    "font-weight",
    "full-width",
    "hamburger",
    "height",
    "href",
    "ico-align",
    "ico-close",
    "ico-color",
    "ico-font-family",
    "ico-font-size",
    "ico-line-height",
    "ico-open",
    "ico-padding",
    "ico-padding-bottom",
    "ico-padding-left",
    "ico-padding-right",
    "ico-padding-top",
    "ico-text-decoration",
    "ico-text-transform",
    "icon-align",
    "icon-height",
    "icon-padding",
    "icon-position",
    "icon-size",
    "icon-unwrapped-alt",
    "icon-unwrapped-url",
    "icon-width",
    "icon-wrapped-alt",
    "icon-wrapped-url",
    "id",
    "inline",
    "inner-background-color",
    "inner-border",
    "inner-border-bottom",
    "inner-border-left",
    "inner-border-radius",
    "inner-border-right",
    "inner-border-top",
    "inner-padding",
    "inner-padding-bottom",
    "inner-padding-left",
    "inner-padding-right",
    "inner-padding-top",
    "lang",
    "left-icon",
    "letter-spacing",
    "line-height",
    "line-spacing",
    "max-height",
    "mj-class",
    "mobile-width",
    "mode",
    "name",
    "navbar-base-url",
    "owa",
    "padding",
    "padding-bottom",
    "padding-left",
    "padding-right",
    "padding-top",
    "position",
    "rel",
    "right-icon",
    "role",
    "sizes",
    "src",
    "srcset",
    "table-layout",
    "target",
    "tb-border",
    "tb-border-radius",
    "tb-hover-border-color",
    "tb-selected-border-color",
    "tb-width",
    "text-align",
    "text-decoration",
    "text-padding",
    "text-transform",
    "thumbnails",
    "thumbnails-src",
    "title",
    "type",
    "usemap",
    "vertical-align",
    "version",
    "width",
    "xmlns",
];

/// Text in which marks stand for tags, line by line the same as the source.
struct Marked {
    text: String,
    marks: Vec<(String, String)>,
}

/// The HTML template of an MJML template; `None` when it is wrong, which is then in `faults`.
pub(super) fn to_html(source: &str, tags: &[Tag], origin: &Origin, faults: &mut Faults) -> Option<String> {
    let errors = faults.error_count();
    let marked = mark(source, tags);
    let at = |span: &Span| place(&marked.text, span.start, origin);
    elements(&marked.text, origin, faults);
    if faults.error_count() > errors {
        return None;
    }
    let parsed = match mrml::parse(&marked.text) {
        Ok(parsed) => parsed,
        Err(why) => {
            let (place, message) = explain(&why, &marked.text, origin);
            faults.error("bad-mjml", &place, message);
            return None;
        }
    };
    for warning in &parsed.warnings {
        let message = match warning.kind {
            WarningKind::UnexpectedAttribute => "the element has no such attribute",
            WarningKind::InlineStyleUnsupported => "styles cannot be inlined; write the attributes of the elements instead",
        };
        faults.error("bad-mjml", &at(&warning.span), message);
    }
    let options = RenderOptions { fonts: std::collections::HashMap::new(), ..RenderOptions::default() };
    let html = match parsed.element.render(&options) {
        Ok(html) => html,
        Err(why) => {
            faults.error("bad-mjml", &origin.place, format!("the MJML cannot be compiled: {why}"));
            return None;
        }
    };
    for (mark, _) in marked.marks.iter().filter(|(mark, _)| !html.contains(mark)) {
        let at = marked.text.find(mark).unwrap_or(0);
        faults
            .error("bad-mjml", &place(&marked.text, at, origin), "what stands here does not come into the message")
            .hint("put it into `<mj-text>`, or into `<mj-raw>` between elements");
    }
    (faults.error_count() == errors).then(|| unmark(html, &marked.marks))
}

/// Puts a mark for every tag. Line ends in a tag stay behind it, so that lines keep their numbers.
fn mark(source: &str, tags: &[Tag]) -> Marked {
    let stem = (0..).map(|n| format!("data{n}mark")).find(|stem| !source.contains(stem.as_str())).unwrap_or_default();
    let mut out = Marked { text: String::with_capacity(source.len()), marks: Vec::with_capacity(tags.len()) };
    let mut done = 0;
    for (index, tag) in tags.iter().enumerate() {
        let written = source.get(tag.start..tag.end).unwrap_or("");
        // The closing letter keeps the first mark from being the beginning of the eleventh.
        let mark = format!("{stem}{index}x");
        out.text.push_str(source.get(done..tag.start).unwrap_or(""));
        out.text.push_str(&mark);
        out.text.push_str(&"\n".repeat(written.matches('\n').count()));
        out.marks.push((mark, written.to_owned()));
        done = tag.end;
    }
    out.text.push_str(source.get(done..).unwrap_or(""));
    out
}

fn unmark(html: String, marks: &[(String, String)]) -> String {
    marks.iter().fold(html, |html, (mark, written)| html.replace(mark, written))
}

fn place(text: &str, at: usize, origin: &Origin) -> Place {
    let before = text.get(..at).unwrap_or(text);
    origin.line(u32::try_from(before.matches('\n').count() + 1).unwrap_or(1))
}

/// Reports elements and attributes that there are not: the compiler would leave them out silently.
fn elements(source: &str, origin: &Origin, faults: &mut Faults) {
    let mut depth = 0usize;
    for (at, _) in source.match_indices('<') {
        let rest = source.get(at..).unwrap_or("");
        let Some((tag, _)) = text::tag(rest) else {
            if text::begins_tag(rest) {
                break;
            }
            continue;
        };
        depth = match tag.closing {
            true => depth.saturating_sub(1),
            false if text::VOID.contains(&tag.name.as_str()) || tag.rest.trim_end().ends_with('/') => depth,
            false => depth + 1,
        };
        if depth > DEPTH_MAX {
            let message = format!("elements stand in each other more than {DEPTH_MAX} deep, or are not closed");
            faults.error("bad-mjml", &place(source, at, origin), message);
            break;
        }
        if !tag.name.starts_with("mj") {
            continue;
        }
        let place = place(source, at, origin);
        let name = tag.name.as_str();
        if name == "mj-include" {
            let hint = "write it into this file";
            faults.error("bad-mjml", &place, "`mj-include` cannot be used: a template is one file").hint(hint);
        } else if !ELEMENTS.contains(&name) {
            faults
                .error("bad-mjml", &place, format!("there is no element `{name}`"))
                .did_you_mean(name, ELEMENTS.iter().copied());
        } else {
            let names = text::attributes(tag.rest).into_iter().map(|(name, _)| name);
            for wrong in names.filter(|name| !ATTRIBUTES.contains(name)) {
                faults
                    .error("bad-mjml", &place, format!("`{name}` has no attribute `{wrong}`"))
                    .did_you_mean(wrong, ATTRIBUTES.iter().copied());
            }
        }
    }
}

/// Where an error is, and what it means.
fn explain(why: &Error, text: &str, origin: &Origin) -> (Place, String) {
    let at = |span: &Span| place(text, span.start, origin);
    match why {
        Error::UnexpectedElement { position, .. } => (at(position), "this element cannot stand here".to_owned()),
        Error::UnexpectedToken { position, .. } => {
            (at(position), "this cannot stand here; put text and `{% … %}` into `<mj-text>` or `<mj-raw>`".to_owned())
        }
        Error::MissingAttribute { name, position, .. } => (at(position), format!("the element lacks the attribute `{name}`")),
        Error::InvalidAttribute { position, .. } => (at(position), "the attribute cannot be read".to_owned()),
        Error::InvalidFormat { position, .. } => (at(position), "this cannot be read".to_owned()),
        Error::IncludeLoaderError { position, .. } => (at(position), "nothing can be included".to_owned()),
        Error::EndOfStream { .. } => (place(text, text.trim_end().len(), origin), "an element is not closed".to_owned()),
        Error::ParserError { source, .. } => (origin.line(source.pos().row), format!("the markup cannot be read: {source}")),
        Error::NoRootNode => (origin.place.clone(), "the template has no element `<mjml>`".to_owned()),
        Error::SizeLimit { .. } => (origin.place.clone(), "the template is too large".to_owned()),
    }
}
