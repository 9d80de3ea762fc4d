//! Says in plain words what the YAML parser could not read, and what usually causes it.

use super::super::diag::{Faults, Place};
use super::guard::Lines;
use saphyr_parser::ScanError;
use std::sync::Arc;

/// The hint for anchors and aliases.
pub(super) const QUOTE_OR_REPEAT: &str = "write the value out again; if it is text, put it in quotes";

/// What the parser says (a part of it), what that means, what to do.
const MEANINGS: &[(&str, &str, &str)] = &[
    ("unknown anchor", "a value that begins with `*` is a YAML alias, which is not part of this language", QUOTE_OR_REPEAT),
    (
        "mapping values are not allowed",
        "a `:` stands where no key can stand",
        "put a text that contains `: ` in quotes, and align keys with those above",
    ),
    ("quoted scalar, found unexpected end of stream", "a quote is opened and never closed", "add the missing quote"),
    (
        "invalid indentation in quoted scalar",
        "a quote is opened here and not closed before the next key",
        "add the missing quote, or indent the lines that belong to the text",
    ),
    (
        "invalid indentation in flow construct",
        "a bracket is opened above and not closed before this line",
        "add the missing `]` or `}`",
    ),
    ("illegal placement of ':'", "a bracket is opened above and not closed before this line", "add the missing `]` or `}`"),
    (
        "unknown escape character",
        "a backslash in double quotes begins an unknown escape",
        "double it (`\\\\`), or use single quotes",
    ),
    (
        "trailing content after",
        "text follows the closing quote",
        "put the whole value in quotes of the other kind: '\"gold\" == customer.tier', \"it's\"",
    ),
    ("hexadecimal number", "an escape such as `\\u00e4` lacks digits", "use single quotes if no escape is meant"),
    ("',' or ']'", "a list that begins with `[` is not closed", "add `]`, or put the text in quotes if it is no list"),
    ("',' or '}'", "a map that begins with `{` is not closed", "add `}`, or put the text in quotes if it is no map"),
    ("misplaced bracket", "a closing bracket has no opening one", "remove it, or put the text in quotes"),
    ("unexpected character", "a value cannot begin with this sign", "put the whole value in quotes"),
    ("tab", "a tab stands where only spaces may stand", "indent with spaces"),
    ("recursion limit", "too many brackets are open", "write it flatter"),
    ("directive", "a line begins with `%`, which is a YAML directive", "remove the line"),
    ("tag", "a value that begins with `!` is a YAML tag, which is not part of this language", "put the whole value in quotes"),
    ("anchor", "a value that begins with `&` or `*` is not part of this language", QUOTE_OR_REPEAT),
    ("comment intercepting", "a comment stands inside a text of several lines", "put the text in quotes or in a block (`|`)"),
    (
        "block scalar",
        "the text block after `|` or `>` is not written as YAML wants it",
        "indent all its lines by the same number of spaces; put a value that only begins with `>` or `|` in quotes",
    ),
    ("byte order mark", "a byte order mark stands inside the file", "remove it"),
    ("<document start>", "this line belongs to nothing above it", "align it with the lines above, or indent it less"),
    ("simple key", "a `:` is missing after a key", "write `name: value`, with a blank behind the `:`"),
    ("expected key", "this line is not aligned with the keys above it", "give it the same number of spaces as its neighbours"),
    ("indentation", "this line is not aligned with those above it", "give it the same number of spaces as its neighbours"),
    ("'-' indicator", "a list item must begin with `- `", "begin the line with `- `, aligned with the items above"),
    ("block sequence entries", "a list item (`- `) cannot stand here", "put it on a line of its own below its key"),
    ("only valid inside a block", "a `- ` cannot stand inside brackets", "separate the items by commas"),
];

/// Reports a syntax error with its place.
pub(super) fn report(file: &Arc<str>, lines: &Lines<'_>, error: &ScanError, faults: &mut Faults) {
    let info = error.info();
    let known = MEANINGS.iter().find(|(part, ..)| info.contains(part));
    let message = known.map_or_else(|| format!("this cannot be read as YAML: {info}"), |(_, what, _)| (*what).to_owned());
    let usual = known.map_or("check the indentation, and put texts with signs in quotes", |(.., hint)| hint);
    let mark = error.marker();
    let mut line = u32::try_from(mark.line()).unwrap_or(u32::MAX).max(1);
    let mut column = u32::try_from(mark.col() + 1).unwrap_or(u32::MAX);
    // At the end of the file the mark is behind the last line; people look at the last one.
    let last = lines.last();
    if line > last {
        line = last;
        column = lines.line(last).trim_end().chars().count() as u32;
    }
    // A tab that ends a text of several lines is reported where that text begins.
    if info.contains("tab") && !has_tab_indent(lines.line(line)) && has_tab_indent(lines.line(line + 1)) {
        (line, column) = (line + 1, 1);
    }
    // What is wrong in a line often shows only on the next one.
    let hint = cause(lines.line(line)).or_else(|| cause(lines.line(line.saturating_sub(1)))).unwrap_or(usual);
    let place = Place { file: file.clone(), line, column: column.max(1), length: 1 };
    faults.error("yaml-syntax", &place, message).hint(hint);
}

fn has_tab_indent(line: &str) -> bool {
    line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t')
}

/// What in a line usually makes YAML unreadable.
pub(super) fn cause(line: &str) -> Option<&'static str> {
    let content = line.trim_start();
    if has_tab_indent(line) {
        return Some("the line is indented with a tab; use spaces");
    }
    if content.starts_with('#') {
        return None;
    }
    let item = content.strip_prefix("- ").map_or(content, str::trim_start);
    let value = item.split_once(": ").map_or(item, |(_, value)| value.trim_start());
    match value.chars().next()? {
        '{' if value.starts_with("{{") => {
            Some("a value that begins with `{{` must stand in quotes: \"{{ customer.first_name }}\"")
        }
        '{' if value.starts_with("{%") => Some("a value that begins with `{%` must stand in quotes"),
        '*' => Some("a value that begins with `*` must stand in quotes"),
        '&' => Some("a value that begins with `&` must stand in quotes"),
        '@' => Some("a value that begins with `@` must stand in quotes"),
        '%' => Some("a value that begins with `%` must stand in quotes"),
        '!' => Some("a value that begins with `!` must stand in quotes"),
        '`' => Some("a value that begins with a backtick must stand in quotes"),
        '"' | '\'' => None,
        _ if value.contains(": ") && !value.starts_with(['[', '{']) => {
            Some("a text that contains `: ` must stand in quotes: \"Hello: welcome\"")
        }
        _ => None,
    }
}
