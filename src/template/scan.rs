//! Looks into the tags of a template before it is compiled.
//!
//! The template engine finds unknown filters only when a message is rendered, and knows no columns. This
//! small scanner splits `{{ … }}` and `{% … %}` into tokens with their places, so that a wrong filter,
//! test, tag or name is a fault of `check` at its own line and column.

use crate::lang::diag::{Faults, Place};

/// Tags that templates may use. Macros, includes and `autoescape` are left out on purpose.
const TAGS: &[&str] = &["if", "elif", "else", "endif", "for", "endfor", "set", "endset", "with", "endwith", "raw", "endraw"];

/// Filters that templates may use.
pub(super) const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "count",
    "d",
    "date",
    "default",
    "dictsort",
    "first",
    "float",
    "groupby",
    "int",
    "items",
    "join",
    "json",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "money",
    "points",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "trim",
    "unique",
    "upper",
    "url",
    "urlencode",
];

/// Tests (`x is …`) that templates may use.
pub(super) const TESTS: &[&str] = &[
    "defined",
    "undefined",
    "none",
    "true",
    "false",
    "odd",
    "even",
    "divisibleby",
    "number",
    "integer",
    "float",
    "string",
    "sequence",
    "iterable",
    "mapping",
    "startingwith",
    "endingwith",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "in",
    "lower",
    "upper",
];

/// Functions that templates may call.
pub(super) const FUNCTIONS: &[&str] = &["range", "dict"];

/// One `{{ … }}` or `{% … %}`.
#[derive(Debug)]
pub(super) struct Tag {
    /// `{{ … }}`, not `{% … %}`.
    pub expression: bool,
    /// Where the opening braces begin, in bytes.
    pub start: usize,
    /// Just after the closing braces, in bytes.
    pub end: usize,
    /// What is written in it, in bytes, without blank-control signs.
    pub inner: (usize, usize),
    /// Its tokens.
    pub tokens: Vec<Token>,
}

/// What kind of token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A name or keyword.
    Name,
    /// A text in quotes or a number.
    Literal,
    /// A sign.
    Sign,
}

/// One token with its place in the text; line and column count from 1.
#[derive(Debug)]
pub(super) struct Token {
    /// What kind.
    pub kind: Kind,
    /// As written.
    pub text: String,
    /// Line within the text.
    pub line: u32,
    /// Column in characters.
    pub column: u32,
}

/// Where in its file a part of a template stands.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The place of the part's first character.
    pub place: Place,
    /// Whether lines and columns of the part are those of the file (else everything is at `place`).
    pub exact: bool,
}

impl Origin {
    /// The place of a line of the part.
    pub fn line(&self, line: u32) -> Place {
        match self.exact {
            true if line > 1 => Place { line: self.place.line + line - 1, column: 1, ..self.place.clone() },
            _ => self.place.clone(),
        }
    }

    /// The place of a token; of one in several lines, that of its first line.
    pub fn token(&self, token: &Token) -> Place {
        let first = token.text.lines().next().unwrap_or("");
        let length = u32::try_from(first.chars().count()).unwrap_or(1).max(1);
        match self.exact {
            true if token.line > 1 => {
                Place { line: self.place.line + token.line - 1, column: token.column, length, ..self.place.clone() }
            }
            true => Place { column: self.place.column + token.column - 1, length, ..self.place.clone() },
            false => self.place.clone(),
        }
    }
}

/// Walks over characters and knows byte, line and column.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    column: u32,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn step(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn skip_to(&mut self, at: usize) {
        while self.at < at && self.step().is_some() {}
    }
}

/// All tags of a template's text. An unfinished one ends the list: the engine reports it.
pub(super) fn scan(text: &str) -> Vec<Tag> {
    let mut cursor = Cursor { text, at: 0, line: 1, column: 1 };
    let mut tags = Vec::new();
    while let Some(open) = cursor.rest().find('{') {
        cursor.skip_to(cursor.at + open);
        let rest = cursor.rest();
        if rest.starts_with("{#") {
            let Some(end) = rest.find("#}") else { return tags };
            cursor.skip_to(cursor.at + end + 2);
        } else if rest.starts_with("{{") || rest.starts_with("{%") {
            let Some(tag) = read_tag(&mut cursor, rest.starts_with("{{")) else { return tags };
            let raw = !tag.expression && tag.tokens.first().is_some_and(|t| t.text == "raw");
            tags.push(tag);
            if raw {
                let Some(end) = end_of_raw(cursor.rest()) else { return tags };
                cursor.skip_to(cursor.at + end);
            }
        } else {
            cursor.step();
        }
    }
    tags
}

/// Where `{% endraw %}` begins.
fn end_of_raw(rest: &str) -> Option<usize> {
    rest.match_indices("{%").map(|(at, _)| at).find(|at| {
        let inner = rest.get(at + 2..).unwrap_or("").trim_start_matches(['-', '+']).trim_start();
        inner.starts_with("endraw")
    })
}

fn read_tag(cursor: &mut Cursor<'_>, expression: bool) -> Option<Tag> {
    let start = cursor.at;
    let close = if expression { "}}" } else { "%}" };
    cursor.skip_to(start + 2);
    if cursor.rest().starts_with(['-', '+']) {
        cursor.step();
    }
    let inner_start = cursor.at;
    let mut tokens = Vec::new();
    let mut depth = 0u32;
    loop {
        let rest = cursor.rest();
        let c = rest.chars().next()?;
        let signed = c == '-' || c == '+';
        if depth == 0 && (rest.starts_with(close) || (signed && rest.get(1..).is_some_and(|r| r.starts_with(close)))) {
            let inner_end = cursor.at;
            cursor.skip_to(inner_end + usize::from(signed) + 2);
            return Some(Tag { expression, start, end: cursor.at, inner: (inner_start, inner_end), tokens });
        }
        if c.is_whitespace() {
            cursor.step();
            continue;
        }
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        tokens.push(read_token(cursor, c)?);
    }
}

fn read_token(cursor: &mut Cursor<'_>, first: char) -> Option<Token> {
    let (start, line, column) = (cursor.at, cursor.line, cursor.column);
    let kind = if first == '"' || first == '\'' {
        cursor.step();
        loop {
            match cursor.step()? {
                '\\' => {
                    cursor.step()?;
                }
                c if c == first => break,
                _ => {}
            }
        }
        Kind::Literal
    } else if first.is_alphanumeric() || first == '_' {
        while cursor.rest().starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            cursor.step();
        }
        if first.is_ascii_digit() { Kind::Literal } else { Kind::Name }
    } else {
        cursor.step();
        Kind::Sign
    };
    let text = cursor.text.get(start..cursor.at)?.to_owned();
    Some(Token { kind, text, line, column })
}

/// Reports tags, filters, tests and calls that templates may not use.
pub(super) fn lint(tags: &[Tag], origin: &Origin, faults: &mut Faults) {
    for tag in tags {
        if !tag.expression {
            lint_tag(tag, origin, faults);
        }
        for index in 0..tag.tokens.len() {
            lint_token(tag, index, origin, faults);
        }
    }
}

fn lint_tag(tag: &Tag, origin: &Origin, faults: &mut Faults) {
    let Some(word) = tag.tokens.first() else { return };
    if !TAGS.contains(&word.text.as_str()) {
        let message = format!("the tag `{}` cannot be used in a template", word.text);
        faults.error("bad-template", &origin.token(word), message).did_you_mean(&word.text, TAGS.iter().copied());
    }
}

fn lint_token(tag: &Tag, index: usize, origin: &Origin, faults: &mut Faults) {
    let token = &tag.tokens[index];
    if token.kind != Kind::Name {
        return;
    }
    let text = |at: Option<usize>| at.and_then(|at| tag.tokens.get(at)).map_or("", |t| t.text.as_str());
    let before = text(index.checked_sub(1));
    let after = text(index.checked_add(1));
    let name = token.text.as_str();
    let place = || origin.token(token);
    match before {
        "|" => lint_filter(name, after, &place(), faults),
        "is" if name == "not" => {}
        "not" if text(index.checked_sub(2)) == "is" => lint_test(name, &place(), faults),
        "is" => lint_test(name, &place(), faults),
        "." if after == "(" => {
            faults
                .error("bad-template", &place(), format!("`.{name}()` is no method that a template can call"))
                .hint("use a filter instead, for example `{{ customer.name | upper }}`");
        }
        "." => {}
        _ if after == "(" && !is_word(name) && !FUNCTIONS.contains(&name) => {
            faults
                .error("bad-template", &place(), format!("there is no function `{name}`"))
                .did_you_mean(name, FUNCTIONS.iter().copied());
        }
        _ => {}
    }
}

/// Words of the template language that a parenthesis may follow.
fn is_word(name: &str) -> bool {
    matches!(name, "if" | "elif" | "else" | "for" | "in" | "not" | "and" | "or" | "is" | "set" | "with")
}

fn lint_filter(name: &str, after: &str, place: &Place, faults: &mut Faults) {
    if matches!(name, "safe" | "escape" | "e") {
        faults
            .error("bad-template", place, format!("the filter `{name}` cannot be used in a template"))
            .hint("HTML is escaped by itself, and only so: write the markup into the template, not into the data");
    } else if !FILTERS.contains(&name) {
        faults.error("bad-template", place, format!("there is no filter `{name}`")).did_you_mean(name, FILTERS.iter().copied());
    } else if after == ":" {
        faults
            .error("bad-template", place, format!("the argument of `{name}` stands in parentheses, not after a colon"))
            .hint(format!("write `{name}(…)`"));
    }
}

fn lint_test(name: &str, place: &Place, faults: &mut Faults) {
    if !TESTS.contains(&name) {
        faults.error("bad-template", place, format!("there is no test `is {name}`")).did_you_mean(name, TESTS.iter().copied());
    }
}

/// The token at which the dotted `path` is read; the first one of its longest beginning that is found.
pub(super) fn find<'a>(tags: &'a [Tag], path: &[String]) -> Option<&'a Token> {
    let mut best: Option<(usize, &Token)> = None;
    for tag in tags {
        for (index, token) in tag.tokens.iter().enumerate() {
            let free = index.checked_sub(1).and_then(|at| tag.tokens.get(at)).is_none_or(|t| t.text != "." && t.text != "|");
            if token.kind != Kind::Name || !free {
                continue;
            }
            let same = same_path(&tag.tokens, index, path);
            if same > best.map_or(0, |(n, _)| n) {
                best = tag.tokens.get(index + 2 * (same - 1)).map(|token| (same, token));
            }
        }
    }
    best.map(|(_, token)| token)
}

/// The first name of a path, where a tag names the whole of it.
pub(super) fn names<'a>(tag: &'a Tag, path: &[String]) -> Option<&'a Token> {
    let begins = |index: usize| index.checked_sub(1).and_then(|at| tag.tokens.get(at)).is_none_or(|t| t.text != ".");
    let whole = |index: &usize| begins(*index) && same_path(&tag.tokens, *index, path) == path.len();
    (0..tag.tokens.len()).find(whole).and_then(|index| tag.tokens.get(index))
}

/// How many names of `path` stand from token `index` on.
fn same_path(tokens: &[Token], index: usize, path: &[String]) -> usize {
    let mut same = 0;
    for (nth, name) in path.iter().enumerate() {
        let dotted = nth == 0 || tokens.get(index + 2 * nth - 1).is_some_and(|t| t.text == ".");
        if !dotted || tokens.get(index + 2 * nth).is_none_or(|t| t.text != *name) {
            break;
        }
        same += 1;
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_know_their_lines_and_columns_and_raw_text_is_left_alone() {
        let tags = scan("é {{ a.b | upper }}\n{# {{ no }} #}{% raw %}{{ no }}{% endraw %}{%- if c == '}}' -%}");
        assert_eq!(tags.len(), 4);
        let token = find(&tags, &["a".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!((token.text.as_str(), token.line, token.column), ("b", 1, 8));
        assert_eq!(tags[3].tokens.last().unwrap().text, "'}}'");
    }

    #[test]
    fn a_text_in_several_lines_is_placed_in_its_first() {
        let tags = scan("{% if a %}\n {% 'one\ntwo three' %}");
        let origin = Origin { place: Place { file: "t.txt".into(), line: 3, column: 1, length: 1 }, exact: true };
        let place = origin.token(&tags[1].tokens[0]);
        assert_eq!((place.line, place.column, place.length), (4, 5, 4));
    }

    #[test]
    fn an_unfinished_tag_ends_the_scan() {
        for text in ["{{", "{{ 'a", "{% if", "{# x", "{% raw %}{{ a }}", "{{ \"\\", "{"] {
            scan(text);
        }
        assert_eq!(scan("{{ a }}{{ b").len(), 1);
    }
}
