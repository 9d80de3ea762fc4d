//! Faults as people and machines read them: with the line they are in, as JSON, or as remarks in a GitHub check.
//!
//! What a file says is shown with its invisible characters replaced, so that no file can drive a terminal.

use super::diag::{Fault, Place, Severity};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Columns of the terminal that a shown line may take; a longer one is cut around the caret.
const LINE_COLUMNS_MAX: usize = 160;
/// Characters behind the underlined ones that are handed on to be shown.
const CHARS_AFTER_MAX: usize = 200;
/// Largest column up to which a line is handed on from its beginning, so that its columns are right.
const COLUMN_WHOLE_MAX: usize = 10_000;
/// Characters before the caret that are shown of a line that is even longer.
const CHARS_BEFORE_MAX: usize = 60;

/// The texts of files, so that the line a fault is in can be shown.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: BTreeMap<String, Source>,
}

#[derive(Clone, Debug)]
struct Source {
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl Sources {
    /// Adds a file under the path that faults name. A carriage return alone ends a line in YAML only: readers of
    /// templates count line feeds.
    pub fn add(&mut self, file: impl Into<String>, text: &str) {
        let file = file.into();
        let yaml = file.ends_with(".yaml");
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let bytes = text.as_bytes();
        let ends = |i: usize| bytes[i] == b'\n' || (yaml && bytes[i] == b'\r' && bytes.get(i + 1) != Some(&b'\n'));
        let starts = std::iter::once(0).chain((0..bytes.len()).filter(|i| ends(*i)).map(|i| i + 1)).collect();
        self.files.insert(file, Source { text, starts });
    }

    /// A line of a file, from 1, without its line break.
    pub fn line(&self, file: &str, number: u32) -> Option<&str> {
        let source = self.files.get(file)?;
        let index = (number as usize).checked_sub(1)?;
        let start = *source.starts.get(index)?;
        let end = source.starts.get(index + 1).copied().unwrap_or(source.text.len());
        Some(source.text.get(start..end)?.trim_end_matches(['\r', '\n']))
    }
}

/// For people: each fault with its line, a caret below it, and the hint. `dropped` is how many faults are not in the list.
pub fn human(faults: &[Fault], dropped: usize, sources: &Sources, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(LINE_COLUMNS_MAX);
    let mut out = String::new();
    for fault in faults {
        let level = match fault.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let place = &fault.place;
        let file = visible(&place.file);
        let mut group = Group::with_title(level.primary_title(visible(&fault.message)).id(fault.code));
        let origin = Origin::path(file.clone()).line(place.line as usize).char_column(place.column as usize);
        match sources.line(&place.file, place.line).filter(|line| !line.trim().is_empty()) {
            Some(line) => {
                let excerpt = Excerpt::of(line, place);
                let snippet = Snippet::source(excerpt.text).line_start(place.line as usize).fold(false);
                let snippet = snippet.annotation(AnnotationKind::Primary.span(excerpt.span));
                // With a path, the snippet names the place itself, which is right only when it has the whole line.
                group = if excerpt.whole { group.element(snippet.path(file)) } else { group.element(origin).element(snippet) };
            }
            None => group = group.element(origin),
        }
        if let Some(hint) = &fault.hint {
            group = group.element(Level::HELP.with_name("hint").message(visible(hint)));
        }
        out.push_str(renderer.render(&[group]).trim_end());
        out.push_str("\n\n");
    }
    if dropped > 0 {
        let _ = writeln!(out, "… and {dropped} more; correct these first\n");
    }
    out
}

/// The part of a line around a place.
struct Excerpt {
    text: String,
    /// The bytes to underline.
    span: std::ops::Range<usize>,
    /// It begins where the line begins.
    whole: bool,
}

impl Excerpt {
    fn of(line: &str, place: &Place) -> Excerpt {
        let at = place.column.saturating_sub(1) as usize;
        let whole = at < COLUMN_WHOLE_MAX;
        let skip = if whole { 0 } else { at - CHARS_BEFORE_MAX };
        let length = (place.length.max(1) as usize).min(LINE_COLUMNS_MAX);
        let mut text = String::new();
        let (mut start, mut end) = (None, None);
        for (i, c) in line.chars().enumerate().skip(skip).take(at - skip + length + CHARS_AFTER_MAX) {
            if i == at {
                start = Some(text.len());
            }
            if i == at + length {
                end = Some(text.len());
            }
            text.push(visible_char(c));
        }
        let start = start.unwrap_or(text.len());
        let end = end.unwrap_or(text.len()).max(start);
        Excerpt { text, span: start..end, whole }
    }
}

/// Control characters, and marks that turn the direction of text, as a sign that can be seen.
fn visible_char(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

fn visible(text: &str) -> String {
    text.chars().map(visible_char).collect()
}

/// For machines: one JSON list of objects with `severity`, `code`, `file`, `line`, `column`, `length`, `message`, `hint`.
pub fn json(faults: &[Fault]) -> String {
    let list = faults.iter().map(|fault| {
        json!({
            "severity": word(fault.severity),
            "code": fault.code,
            "file": &*fault.place.file,
            "line": fault.place.line,
            "column": fault.place.column,
            "length": fault.place.length,
            "message": fault.message,
            "hint": fault.hint,
        })
    });
    Json::Array(list.collect()).to_string()
}

/// For GitHub: one workflow command for each fault, which shows it beside the line in a pull request.
pub fn github(faults: &[Fault]) -> String {
    let mut out = String::new();
    for Fault { severity, code, place, message, hint } in faults {
        let level = word(*severity);
        let file = escape(&place.file, true);
        let (line, column) = (place.line, place.column);
        let end = place.column.saturating_add(place.length.max(1) - 1);
        let text = match hint {
            Some(hint) => escape(&format!("{message}\nhint: {hint}"), false),
            None => escape(message, false),
        };
        let title = escape(code, true);
        let _ = writeln!(out, "::{level} file={file},line={line},col={column},endColumn={end},title={title}::{text}");
    }
    out
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Escapes what would end a workflow command or, in a property, the property.
fn escape(text: &str, property: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => out.push_str("%25"),
            '\r' => out.push_str("%0D"),
            '\n' => out.push_str("%0A"),
            ':' if property => out.push_str("%3A"),
            ',' if property => out.push_str("%2C"),
            c => out.push(c),
        }
    }
    out
}

/// The last line of a check: `2 errors, 1 warning`, `no faults`.
pub fn summary(errors: usize, warnings: usize) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => "no faults".to_owned(),
        (0, n) => count(n, "warning"),
        (n, 0) => count(n, "error"),
        (n, m) => format!("{}, {}", count(n, "error"), count(m, "warning")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::diag::Faults;

    fn place(line: u32, column: u32, length: u32) -> Place {
        Place { file: "a,b.yaml".into(), line, column, length }
    }

    fn faults(place: &Place, message: &str) -> Vec<Fault> {
        let mut faults = Faults::default();
        faults.error("unknown-field", place, message).hint("did you mean `email`?");
        faults.list().to_vec()
    }

    fn shown(text: &str, place: &Place) -> String {
        let mut sources = Sources::default();
        sources.add("a,b.yaml", text);
        human(&faults(place, "`emial` is no field"), 0, &sources, false)
    }

    #[test]
    fn people_see_the_line_with_a_caret_below() {
        let text = shown("steps:\n  - emial: x\n", &place(2, 5, 5));
        assert_eq!(
            text,
            "error[unknown-field]: `emial` is no field\n --> a,b.yaml:2:5\n  |\n2 |   - emial: x\n  |     ^^^^^\n  |\n  = hint: did you mean `email`?\n\n"
        );
    }

    #[test]
    fn carets_stand_right_below_tabs_wide_letters_and_in_long_lines() {
        let long = |before: usize| (format!("{}emial{}", "x".repeat(before), "y".repeat(5000)), before as u32 + 1);
        for (line, column) in [("\temial".to_owned(), 2), ("日本 emial".to_owned(), 4), long(5000), long(500_000)] {
            let text = shown(&line, &place(1, column, 5));
            assert!(text.contains(&format!("--> a,b.yaml:1:{column}\n")), "{text}");
            let rows: Vec<&str> = text.lines().collect();
            let row = rows.iter().position(|row| row.contains("^^^^^")).unwrap_or_else(|| panic!("{text}"));
            let before = |row: &str, end: &str| {
                let head: String = row.split(end).next().unwrap_or_default().to_owned();
                head.chars().map(|c| if c == '日' || c == '本' { 2 } else { 1 }).sum::<usize>()
            };
            assert_eq!(before(rows[row - 1], "emial"), before(rows[row], "^"), "{text}");
            assert!(rows.iter().all(|row| row.chars().count() <= LINE_COLUMNS_MAX + 10), "{text}");
        }
    }

    #[test]
    fn a_carriage_return_alone_ends_a_line_of_yaml_and_none_of_a_template() {
        let mut sources = Sources::default();
        sources.add("a.yaml", "a: 1\rb: 2\r\nc: 3\n");
        sources.add("templates/a.txt", "a\rb\r\nc\n");
        let lines = |file| (1..=4).map(|number| sources.line(file, number)).collect::<Vec<_>>();
        assert_eq!(lines("a.yaml"), [Some("a: 1"), Some("b: 2"), Some("c: 3"), Some("")]);
        assert_eq!(lines("templates/a.txt"), [Some("a\rb"), Some("c"), Some(""), None]);
    }

    #[test]
    fn places_that_are_not_in_the_text_are_named_without_a_line() {
        for (line, column) in [(9, 1), (1, 900), (0, 0), (u32::MAX, u32::MAX)] {
            let text = shown("a: b", &place(line, column, u32::MAX));
            assert!(text.contains("hint: did you mean"), "{text}");
        }
        let text = human(&faults(&place(1, 1, 1), "x"), 3, &Sources::default(), false);
        assert!(text.contains("--> a,b.yaml:1:1") && text.contains("3 more"), "{text}");
    }

    #[test]
    fn no_file_drives_the_terminal() {
        let mut sources = Sources::default();
        sources.add("a,b.yaml", "a: \u{1b}[31m\u{202e}b");
        let text = human(&faults(&place(1, 1, 1), "\u{1b}]0;x\u{7}"), 0, &sources, false);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n') && !text.contains('\u{202e}'), "{text:?}");
        assert!(human(&faults(&place(1, 1, 1), "x"), 0, &sources, true).contains("\u{1b}["));
    }

    #[test]
    fn github_commands_cannot_be_broken_out_of() {
        let text = github(&faults(&place(2, 5, 5), "50% off\n::stop-commands::x"));
        assert_eq!(
            text,
            "::error file=a%2Cb.yaml,line=2,col=5,endColumn=9,title=unknown-field::50%25 off%0A::stop-commands::x%0Ahint: did you mean `email`?\n"
        );
    }

    #[test]
    fn json_is_one_list() {
        let list: Json = serde_json::from_str(&json(&faults(&place(2, 5, 5), "a \"b\""))).unwrap();
        assert_eq!(list[0]["line"], 2);
        assert_eq!(list[0]["message"], "a \"b\"");
        assert_eq!(list[0]["severity"], "error");
        assert_eq!(json(&[]), "[]");
    }

    #[test]
    fn the_summary_counts() {
        assert_eq!(summary(0, 0), "no faults");
        assert_eq!(summary(2, 1), "2 errors, 1 warning");
        assert_eq!(summary(1, 0), "1 error");
        assert_eq!(summary(0, 2), "2 warnings");
    }
}
