//! What the engine cannot read, at its own line and column, and how it is meant to be written.

use super::part::reason;
use super::scan::{Kind, Origin, Tag, Token};
use crate::lang::diag::{Faults, Place};
use minijinja::{Environment, Error};
use std::ops::Range;

/// Tags that are closed by another one.
const PAIRS: &[(&str, &str)] = &[("if", "endif"), ("for", "endfor"), ("with", "endwith"), ("raw", "endraw")];

/// Reports why the engine cannot read a text, with its tags; false: it can.
pub(super) fn report(
    environment: &Environment<'static>,
    (text, tags): (&str, &[Tag]),
    origin: &Origin,
    faults: &mut Faults,
) -> bool {
    let Err(why) = environment.template_from_str(text) else { return false };
    if let Some((open, end)) = unclosed(tags) {
        let message = format!("`{{% {} … %}}` is not closed", open.text);
        faults.error("bad-template", &origin.token(open), message).hint(format!("write `{{% {end} %}}` where it ends"));
        return true;
    }
    if let Some((word, begins)) = unopened(tags) {
        let message = format!("`{{% {} %}}` closes nothing", word.text);
        let hint = match begins {
            "" => "remove it, or write the `{% if … %}` that it belongs to".to_owned(),
            begins => format!("remove it, or write the `{{% {begins} … %}}` that it belongs to"),
        };
        faults.error("bad-template", &origin.token(word), message).hint(hint);
        return true;
    }
    // The engine knows lines only: the tag that it cannot read by itself is looked for.
    let broken = tags.iter().find_map(|tag| Some((tag.start..tag.end, alone(environment, text, tag)?)));
    let (range, why) = broken.unwrap_or_else(|| (unfinished(text, tags), why));
    faults
        .error("bad-template", &place(text, range, origin), format!("the template cannot be read: {}", plain(&reason(&why))))
        .hint("write a value as `{{ customer.name }}`, one with a filter as `{{ customer.name | title }}`, a condition as `{% if customer.name %} … {% endif %}`");
    true
}

/// Why a tag cannot be read by itself.
fn alone(environment: &Environment<'static>, text: &str, tag: &Tag) -> Option<Error> {
    let own = text.get(tag.start..tag.end)?;
    let word = tag.tokens.first().filter(|_| !tag.expression).map_or("", |token| token.text.as_str());
    let whole = match word {
        "elif" | "else" => format!("{{% if x %}}{own}{{% endif %}}"),
        word => match PAIRS.iter().find(|(begin, end)| *begin == word || *end == word) {
            Some((begin, end)) if *begin == word => format!("{own}{{% {end} %}}"),
            // What closes something has nothing in it that could be wrong.
            Some(_) => return None,
            None => own.to_owned(),
        },
    };
    environment.template_from_str(&whole).err()
}

/// The tag that does not end: it stands behind all others.
fn unfinished(text: &str, tags: &[Tag]) -> Range<usize> {
    let from = tags.last().map_or(0, |tag| tag.end);
    let rest = text.get(from..).unwrap_or_default();
    let start = from + ["{{", "{%", "{#"].into_iter().filter_map(|open| rest.find(open)).min().unwrap_or(0);
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    start..start + line.trim_end().len()
}

/// The engine's words for the signs that people write.
fn plain(said: &str) -> String {
    said.replace("end of variable block", "`}}`").replace("end of block", "`%}`").replace("identifier", "a name")
}

/// The innermost tag that is not closed, and what closes it.
fn unclosed(tags: &[Tag]) -> Option<(&Token, &'static str)> {
    let mut open: Vec<(&Token, &'static str)> = Vec::new();
    for word in words(tags) {
        match PAIRS.iter().find(|(begin, end)| word.text == *begin || word.text == *end) {
            Some((begin, end)) if word.text == *begin => open.push((word, end)),
            Some((_, end)) if open.last().is_some_and(|(_, last)| last == end) => drop(open.pop()),
            // Something else is wrong: the engine says what.
            Some(_) => return None,
            None => {}
        }
    }
    open.pop()
}

/// The first tag that closes or goes on with what was not opened, and what opens it.
fn unopened(tags: &[Tag]) -> Option<(&Token, &'static str)> {
    let mut open: Vec<&str> = Vec::new();
    for word in words(tags) {
        match PAIRS.iter().find(|(begin, end)| word.text == *begin || word.text == *end) {
            Some((begin, _)) if word.text == *begin => open.push(begin),
            Some((begin, _)) if open.last() == Some(begin) => drop(open.pop()),
            Some((begin, _)) => return Some((word, begin)),
            None if matches!(word.text.as_str(), "else" | "elif") && open.is_empty() => return Some((word, "")),
            None => {}
        }
    }
    None
}

fn words(tags: &[Tag]) -> impl Iterator<Item = &Token> {
    tags.iter().filter(|tag| !tag.expression).filter_map(|tag| tag.tokens.first())
}

/// The place of a part of the text.
fn place(text: &str, range: Range<usize>, origin: &Origin) -> Place {
    let before = text.get(..range.start).unwrap_or_default();
    let (line, column) = (before.matches('\n').count() + 1, before.chars().rev().take_while(|c| *c != '\n').count() + 1);
    let number = |n: usize| u32::try_from(n).unwrap_or(1);
    let shown = text.get(range).unwrap_or_default().to_owned();
    origin.token(&Token { kind: Kind::Sign, text: shown, line: number(line), column: number(column) })
}
