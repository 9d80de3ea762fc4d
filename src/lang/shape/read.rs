//! Readers of single values: each takes one form, and says what it found, what it wants and how that looks.

use super::super::cel::Text;
use super::super::diag::{FAULTS_MAX, Faults, closest};
use super::super::node::scalar::{Form, form, is_old_bool};
use super::super::node::{Node, NodeKind};
use super::super::time::{self, Span, Zone};
use super::super::value::Value;
use crate::money::Dec;
use chrono::NaiveTime;

/// Most characters of a name.
pub const NAME_CHARS_MAX: usize = 64;
/// Characters of a value that a message shows.
const SHOWN_CHARS_MAX: usize = 40;

/// A value as messages show it: its first characters, on one line.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut out: String = chars.by_ref().take(SHOWN_CHARS_MAX).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// The text of a scalar and whether it is plain; a fault when it is a list, a map or nothing.
fn scalar<'a>(node: &'a Node, wanted: &str, example: &str, faults: &mut Faults) -> Option<(&'a str, bool)> {
    match &node.kind {
        NodeKind::Scalar { text, plain } if !node.is_null() => Some((text, *plain)),
        _ => {
            faults
                .error("wrong-type", &node.place, format!("{wanted} is wanted, but here stands {}", node.describe()))
                .hint(format!("write for example `{example}`"));
            None
        }
    }
}

/// Reads text; see [`super::Shape::Text`].
pub fn text(node: &Node, faults: &mut Faults) -> Option<Text> {
    let (text, plain) = scalar(node, "text", "\"Hello\"", faults)?;
    let kind = match form(text) {
        _ if !plain => None,
        Form::Bool(_) => Some("true/false"),
        Form::Number | Form::OddNumber => Some("a number"),
        Form::Null | Form::Text => None,
    };
    if let Some(kind) = kind {
        faults
            .error("unquoted-text", &node.place, format!("text is wanted, but `{}` is {kind} to YAML", shown(text)))
            .hint(format!("put it in quotes: \"{}\"", shown(text)));
        return None;
    }
    Some(Text { text: text.to_owned(), place: node.place.clone() })
}

/// Reads a name: letters a to z, digits, `_`, `-` and `.`, at most [`NAME_CHARS_MAX`] characters.
pub fn name(node: &Node, faults: &mut Faults) -> Option<Text> {
    let read = text(node, faults)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if read.text.is_empty() {
        faults.error("bad-name", &read.place, "a name is wanted, but the text is empty").hint("write for example `gold-members`");
        return None;
    }
    if let Some(bad) = read.text.chars().find(|c| !allowed(*c)) {
        let better: String =
            read.text.trim().to_lowercase().chars().take(NAME_CHARS_MAX).map(|c| if allowed(c) { c } else { '-' }).collect();
        faults
            .error("bad-name", &read.place, format!("the name `{}` has {} in it", shown(&read.text), sign(bad)))
            .hint(format!("names have letters a to z, digits, `_`, `-` and `.`; write for example `{better}`"));
        return None;
    }
    // All characters are ASCII here, so bytes are characters.
    if read.text.len() > NAME_CHARS_MAX {
        faults
            .error("bad-name", &read.place, format!("the name has {} characters", read.text.len()))
            .hint(format!("use at most {NAME_CHARS_MAX}"));
        return None;
    }
    Some(read)
}

fn sign(c: char) -> String {
    match c {
        ' ' => "a blank".to_owned(),
        c if c.is_control() => format!("the character U+{:04X}", u32::from(c)),
        c => format!("`{c}`"),
    }
}

/// Reads `true` or `false`; `yes`, `no`, `on`, `off` are refused with a hint.
pub fn boolean(node: &Node, faults: &mut Faults) -> Option<bool> {
    let (text, plain) = scalar(node, "`true` or `false`", "true", faults)?;
    match (text, plain) {
        ("true", true) => return Some(true),
        ("false", true) => return Some(false),
        _ => {}
    }
    let meant = match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => Some("true"),
        "false" | "no" | "off" | "n" | "0" => Some("false"),
        _ => None,
    };
    let quoted = if plain { "" } else { " in quotes" };
    faults.error("wrong-type", &node.place, format!("`true` or `false` is wanted, but here stands `{}`{quoted}", shown(text)));
    match meant {
        Some(word) => faults.hint(format!("write `{word}`, without quotes")),
        None => faults.hint("write `true` or `false`, without quotes"),
    };
    None
}

/// A plain number in the one form that this language writes.
fn digits<'a>(node: &'a Node, wanted: &str, example: &str, faults: &mut Faults) -> Option<&'a str> {
    let (text, plain) = scalar(node, wanted, example, faults)?;
    let found = shown(text);
    match (form(text), plain) {
        (Form::Number, true) => return Some(text),
        (Form::Number | Form::OddNumber, false) => {
            faults
                .error("wrong-type", &node.place, format!("{wanted} is wanted, but \"{found}\" is text"))
                .hint("write it without quotes");
        }
        (Form::OddNumber, true) => {
            faults
                .error(
                    "ambiguous-number",
                    &node.place,
                    format!("{wanted} is wanted, but `{found}` means different numbers to different readers"),
                )
                .hint(odd_hint(text));
        }
        _ => {
            // `50 pts`, `50%`: what was meant stands there.
            let meant: String = text.trim_start().chars().take_while(char::is_ascii_digit).take(SHOWN_CHARS_MAX).collect();
            let hint = match meant.is_empty() {
                true => format!("write for example `{example}`"),
                false => format!("write the number alone: `{meant}`"),
            };
            faults.error("wrong-type", &node.place, format!("{wanted} is wanted, but here stands `{found}`")).hint(hint);
        }
    }
    None
}

/// How an odd number is written plainly, where that is sure.
fn odd_hint(text: &str) -> String {
    let (sign, body) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let body = body.replace('_', "");
    let plain = if body.strip_prefix('.').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit())) {
        Some(format!("0{body}"))
    } else {
        let cut = body.trim_start_matches('0').trim_end_matches('.');
        let whole = if cut.is_empty() { "0" } else { cut };
        (form(whole) == Form::Number).then(|| whole.to_owned())
    };
    match plain {
        Some(number) if number.len() <= SHOWN_CHARS_MAX => {
            format!("write `{sign}{number}` for the number, or use quotes if it is text")
        }
        _ => "write all decimal digits: no exponent, no `0x`, no `_`; or use quotes if it is text".to_owned(),
    }
}

/// Reads a whole number within bounds; `012`, `0x10`, `1_000`, `1e3` are refused with a hint.
pub fn int(node: &Node, min: i64, max: i64, faults: &mut Faults) -> Option<i64> {
    let example = 3_i64.clamp(min, max.max(min)).to_string();
    let text = digits(node, "a whole number", &example, faults)?;
    if text.contains('.') {
        faults
            .error("wrong-type", &node.place, format!("a whole number is wanted, but `{}` has a fraction", shown(text)))
            .hint(format!("write for example `{example}`"));
        return None;
    }
    let read = text.parse::<i64>().ok().filter(|n| (min..=max).contains(n));
    if read.is_none() {
        let range = match (min, max) {
            (i64::MIN, i64::MAX) => "write fewer digits".to_owned(),
            (_, i64::MAX) => format!("write a number from {min} on"),
            (i64::MIN, _) => format!("write a number up to {max}"),
            _ => format!("write a number from {min} to {max}"),
        };
        faults.error("out-of-range", &node.place, format!("`{}` is out of range", shown(text))).hint(range);
    }
    read
}

/// Reads an exact decimal number.
pub fn number(node: &Node, faults: &mut Faults) -> Option<Dec> {
    let text = digits(node, "a number", "12.50", faults)?;
    match Dec::parse(text) {
        Ok(number) => Some(number),
        Err(why) => {
            faults.error("out-of-range", &node.place, why.to_string()).hint("write fewer digits");
            None
        }
    }
}

/// Reads a duration.
pub fn span(node: &Node, faults: &mut Faults) -> Option<Span> {
    let (text, _) = scalar(node, "a duration", "3 days", faults)?;
    match Span::parse(text) {
        Ok(span) => Some(span),
        Err(why) => {
            faults.error("bad-duration", &node.place, why);
            let count = text.trim();
            if !count.is_empty() && count.len() <= 6 && count.bytes().all(|b| b.is_ascii_digit()) {
                faults.hint(format!("write `{count} days` for calendar days, or `{count}h` for elapsed hours"));
            } else {
                faults.hint(
                    "days, weeks, months and years follow the calendar (`3 days`); hours and minutes are elapsed time (`72h`)",
                );
            }
            None
        }
    }
}

/// Reads a clock time; an unquoted `09:00` is accepted too.
pub fn clock(node: &Node, faults: &mut Faults) -> Option<NaiveTime> {
    let (text, _) = scalar(node, "a time of day", "\"09:00\"", faults)?;
    let read = time::parse_clock(text);
    if read.is_none() {
        let padded = format!("0{text}");
        let example = if time::parse_clock(&padded).is_some() { padded.as_str() } else { "09:00" };
        faults
            .error("bad-clock", &node.place, format!("a time of day is wanted, but here stands `{}`", shown(text)))
            .hint(format!("write hours 00 to 23 and minutes 00 to 59, for example \"{example}\""));
    }
    read
}

/// Reads a time zone, with "did you mean".
pub fn zone(node: &Node, faults: &mut Faults) -> Option<Zone> {
    let (text, _) = scalar(node, "a time zone", "Europe/Berlin", faults)?;
    if let Ok(zone) = text.parse::<Zone>() {
        return Some(zone);
    }
    let full = faults.list().len() >= FAULTS_MAX;
    faults.error("unknown-zone", &node.place, format!("there is no time zone `{}`", shown(text)));
    let meant = if full { None } else { zone_meant(text) };
    match meant {
        Some(name) => faults.hint(format!("did you mean `{name}`?")),
        None => faults.hint("write a name of the IANA database, for example `Europe/Berlin` or `UTC`"),
    };
    None
}

/// The zone that was probably meant: a name nearly so, or a city alone.
fn zone_meant(text: &str) -> Option<&'static str> {
    let names = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let city = text.trim().replace(' ', "_");
    names()
        .find(|name| name.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(&city)))
        .or_else(|| closest(text, names()))
}

/// Reads one of the words, with "did you mean".
pub fn word(node: &Node, words: &'static [&'static str], faults: &mut Faults) -> Option<&'static str> {
    let first = words.first().copied().unwrap_or("");
    let wanted = if words.len() <= 6 { format!("one of {}", words.join(", ")) } else { "a known word".to_owned() };
    let (text, _) = scalar(node, &wanted, first, faults)?;
    let read = words.iter().copied().find(|word| *word == text);
    if read.is_none() {
        let full = faults.list().len() >= FAULTS_MAX;
        faults.error("unknown-word", &node.place, format!("`{}` cannot stand here", shown(text)));
        if !full {
            faults.did_you_mean(text, words.iter().copied());
        }
    }
    read
}

/// Reads one text or a list of texts.
pub fn texts(node: &Node, faults: &mut Faults) -> Vec<Text> {
    match node.list() {
        Some(items) => items.iter().filter_map(|item| text(item, faults)).collect(),
        None => text(node, faults).into_iter().collect(),
    }
}

/// Reads any data: plain scalars by YAML 1.2's core rules (with exact numbers), quoted ones as text.
///
/// Refused, because readers differ on them: numbers such as `012`, `0x1F`, `1_000`, `1e3`, `.5`, `+1`, and the words
/// `yes`, `no`, `on`, `off`. The recursion is bounded by [`super::super::node::DEPTH_MAX`].
pub fn data(node: &Node, faults: &mut Faults) -> Option<Value> {
    match &node.kind {
        NodeKind::Scalar { text, plain: false } => Some(Value::Text(text.clone())),
        NodeKind::Scalar { text, .. } => plain(node, text, faults),
        NodeKind::List(items) => {
            let read: Vec<Option<Value>> = items.iter().map(|item| data(item, faults)).collect();
            read.into_iter().collect::<Option<Vec<_>>>().map(Value::List)
        }
        NodeKind::Map(entries) => {
            let read: Vec<Option<(String, Value)>> =
                entries.iter().map(|(key, item)| Some((key.text.clone(), data(item, faults)?))).collect();
            read.into_iter().collect::<Option<_>>().map(Value::Map)
        }
    }
}

fn plain(node: &Node, text: &str, faults: &mut Faults) -> Option<Value> {
    match form(text) {
        Form::Null => Some(Value::Null),
        Form::Bool(value) => Some(Value::Bool(value)),
        Form::Text if !is_old_bool(text) => Some(Value::Text(text.to_owned())),
        Form::Text => {
            let meant = matches!(text.to_ascii_lowercase().as_str(), "yes" | "on");
            faults
                .error("ambiguous-word", &node.place, format!("`{text}` is text to some readers and true/false to others"))
                .hint(format!("write `{meant}`, or \"{text}\" in quotes for the text"));
            None
        }
        Form::OddNumber => {
            faults
                .error("ambiguous-number", &node.place, format!("`{}` means different things to different readers", shown(text)))
                .hint(odd_hint(text));
            None
        }
        Form::Number => match Value::number(text) {
            Ok(value) => Some(value),
            Err(why) => {
                faults.error("out-of-range", &node.place, why.to_string()).hint("write fewer digits, or quotes if it is text");
                None
            }
        },
    }
}
