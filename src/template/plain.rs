//! Texts whose tags only name data, rendered without the template engine.
//!
//! Most texts are like this: `Thank you, {{ customer.name | default("dear customer") }}`. To convert all
//! variables for the engine and run its program costs many times more than to put the pieces together.
//! What comes out is the same to the byte: whatever is not plainly the same (another kind of data, a
//! missing value without a default, a sign that needs escaping) is left to the engine.

use super::engine::{Context, OUTPUT_BYTES_MAX, SECRETS};
use super::filters::{self, percent_encode};
use super::scan::{FUNCTIONS, Kind, Tag, Token};
use crate::lang::value::Value as Data;
use crate::money::Currency;
use std::borrow::Cow;
use std::fmt::Write;

/// Words that are no names of data.
const WORDS: &[&str] = &["true", "false", "none", "True", "False", "None", "not", "loop", "self", "super", "if", "in", "is"];

/// How data is written into a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Escape {
    /// As it is.
    None,
    /// For HTML.
    Html,
    /// For a URL.
    Url,
}

impl Escape {
    /// As the engine chooses it by the name of a text.
    pub fn of(key: &str) -> Escape {
        match key.rsplit('.').next() {
            Some("html") => Escape::Html,
            Some("url") => Escape::Url,
            _ => Escape::None,
        }
    }
}

/// What is done with a value before it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Show {
    Plain,
    Money(Currency),
    Points,
    Json,
}

/// One piece of a text.
#[derive(Debug)]
enum Piece {
    Text(String),
    Data { path: Vec<String>, default: Option<String>, show: Show },
}

/// A text in pieces.
#[derive(Debug)]
pub(super) struct Plain {
    pieces: Vec<Piece>,
    escape: Escape,
}

impl Plain {
    /// Takes a text apart; `None`: it needs the engine.
    pub fn of(text: &str, tags: &[Tag], escape: Escape, currency: Currency) -> Option<Plain> {
        if text.contains("{#") || tags.iter().any(|tag| !tag.expression) {
            return None;
        }
        // The engine drops one line end at the end of a source.
        let end = text.strip_suffix('\n').unwrap_or(text);
        let end = end.strip_suffix('\r').unwrap_or(end).len();
        let (mut pieces, mut at) = (Vec::with_capacity(2 * tags.len() + 1), 0);
        for tag in tags {
            // A sign beside the braces takes blanks away.
            let whole = text.get(tag.start..tag.end)?;
            if ["-", "+"].iter().any(|sign| whole[2..].starts_with(sign) || whole[..whole.len() - 2].ends_with(sign)) {
                return None;
            }
            pieces.push(Piece::Text(text.get(at..tag.start)?.to_owned()));
            pieces.push(piece(&tag.tokens, currency)?);
            at = tag.end;
        }
        pieces.push(Piece::Text(text.get(at..end.max(at))?.to_owned()));
        Some(Plain { pieces, escape })
    }

    /// The one value of a tag as a JSON literal; `None`: it needs the engine.
    pub fn json(tag: &Tag, currency: Currency) -> Option<Plain> {
        match piece(&tag.tokens, currency)? {
            Piece::Data { path, default, show: Show::Plain } => {
                Some(Plain { pieces: vec![Piece::Data { path, default, show: Show::Json }], escape: Escape::None })
            }
            _ => None,
        }
    }

    /// Puts the pieces together; `None`: this time it needs the engine.
    pub fn render(&self, context: &Context<'_>) -> Option<String> {
        let mut out = String::with_capacity(64);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Data { path, default, show } => self.write(context, path, default.as_deref(), *show, &mut out)?,
            }
            if out.len() > OUTPUT_BYTES_MAX {
                return None;
            }
        }
        Some(out)
    }

    fn write(&self, context: &Context<'_>, path: &[String], default: Option<&str>, show: Show, out: &mut String) -> Option<()> {
        if path.first().is_some_and(|root| root == SECRETS) {
            let [_, name] = path else { return None };
            return match show {
                Show::Plain => context.secret(name).map(|text| out.push_str(text)),
                _ => None,
            };
        }
        let text = match (find(context, path)?, show) {
            (Data::Text(text), Show::Plain | Show::Json) => Cow::from(text),
            (Data::Null, Show::Plain | Show::Json) => Cow::from(default?),
            (Data::Int(number), Show::Plain | Show::Json) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "{number}");
                return Some(());
            }
            (number, Show::Money(currency)) => Cow::from(filters::show_money(currency, number.as_dec()?)?),
            (number, Show::Points) => Cow::from(filters::show_points(number.as_dec()?)?),
            _ => return None,
        };
        match (show, self.escape) {
            (Show::Json, _) => out.push_str(&serde_json::Value::from(text).to_string()),
            (_, Escape::None) => out.push_str(&text),
            (_, Escape::Url) => out.push_str(&percent_encode(&text)),
            (_, Escape::Html) if text.bytes().all(needs_no_escape) => out.push_str(&text),
            (_, Escape::Html) => return None,
        }
        Some(())
    }
}

/// Bytes that stand in HTML as they are, whatever the engine escapes.
fn needs_no_escape(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b" .,-_:;()!?@#+\n".contains(&byte)
}

/// What stands under a dotted name: [`Data::Null`] where nothing does; `None` where the way leads through
/// something that is no map.
fn find<'a>(context: &Context<'a>, path: &[String]) -> Option<&'a Data> {
    const NOTHING: &Data = &Data::Null;
    let (root, rest) = path.split_first()?;
    let mut found = context.vars.get(root).unwrap_or(NOTHING);
    for name in rest {
        found = match found {
            Data::Map(fields) => fields.get(name).unwrap_or(NOTHING),
            Data::Null => NOTHING,
            _ => return None,
        };
    }
    Some(found)
}

/// `name.name`, then `| default("text")`, or `| money`, or `| points`.
fn piece(tokens: &[Token], currency: Currency) -> Option<Piece> {
    let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let bar = texts.iter().position(|text| *text == "|").unwrap_or(texts.len());
    let mut path = Vec::new();
    for (at, token) in tokens.get(..bar)?.iter().enumerate() {
        match (at % 2, token.kind) {
            (0, Kind::Name) => path.push(token.text.clone()),
            (1, Kind::Sign) if token.text == "." => {}
            _ => return None,
        }
    }
    let root = path.first()?.as_str();
    if bar % 2 == 0 || WORDS.contains(&root) || FUNCTIONS.contains(&root) {
        return None;
    }
    let (default, show) = match texts.get(bar..)? {
        [] => (None, Show::Plain),
        ["|", "money"] => (None, Show::Money(currency)),
        ["|", "points"] => (None, Show::Points),
        ["|", "default" | "d", "(", text, ")"] => (Some(quoted(text)?.to_owned()), Show::Plain),
        _ => return None,
    };
    Some(Piece::Data { path, default, show })
}

/// A text in quotes without escapes.
fn quoted(literal: &str) -> Option<&str> {
    let inner = ['"', '\''].into_iter().find_map(|quote| literal.strip_prefix(quote)?.strip_suffix(quote))?;
    (!inner.contains('\\')).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::super::engine;
    use super::super::part::{What, add, render_by_engine};
    use super::super::scan::Origin;
    use super::*;
    use crate::lang::diag::{Faults, Place};
    use crate::lang::value::Fields;
    use std::sync::Arc;

    const TEXTS: &[&str] = &[
        "",
        "no data\n",
        "two ends\n\n",
        "end\r\n",
        "{{ a }}",
        "{{ a.b }} and {{ a.c.d }}!",
        "x {{ a.b | default(\"dear\") }} y",
        "x {{ a.c.d | d('<you & me>') }} y",
        "{{ n | money }} {{ n | points }}",
        "{{ a.b | money }}",
        "{{- a.b }} {{ a.b -}} x",
        "{{ true }}{{ none }}",
        "{{ a.b | upper }}",
        "{# note #}{{ a.b }}",
        "{{ secrets.key }}/{{ a.b }}",
        "{{ secrets.other }}",
        "{{ a.b | default(\"a\\nb\") }}",
        "{{ a.b | default(n) }}",
        "{% if a %}{{ a.b }}{% endif %}",
        "{{ l }}",
        "{{ a['b'] }}",
        "{{ range }}",
    ];

    fn values() -> Vec<Fields> {
        let text = |text: &str| Data::Text(text.to_owned());
        let map = |name: &str, value: Data| Data::Map(Fields::from([(name.to_owned(), value)]));
        let numbers = [Data::Int(-1234567), Data::Dec(crate::money::Dec(12_345_678)), Data::Bool(true), text("5.5"), Data::Null];
        let texts = ["Ann", "", "<b>&\"'/=`", "Zoë\u{1F600}", "a\r\nb", "{{ n }}", "100%", "tab\there"];
        let mut all: Vec<Fields> = vec![Fields::new()];
        for number in numbers {
            let list = Data::List(vec![number.clone()]);
            all.push([("a", map("b", number.clone())), ("n", number), ("l", list)].map(|(k, v)| (k.to_owned(), v)).into());
        }
        for one in texts {
            all.push([("a", map("b", text(one))), ("n", Data::Int(5))].map(|(k, v)| (k.to_owned(), v)).into());
            all.push([("a", map("c", map("d", text(one)))), ("n", Data::Int(0))].map(|(k, v)| (k.to_owned(), v)).into());
            all.push([("a", text(one)), ("n", Data::Dec(crate::money::Dec(2_000_000)))].map(|(k, v)| (k.to_owned(), v)).into());
        }
        all
    }

    /// Renders every text with every value both ways; returns how often the short way was taken.
    fn both_ways(key: &str, text: &str) -> usize {
        let options = super::super::TemplateOptions { currency: Currency::parse("EUR").unwrap(), zone: chrono_tz::UTC };
        let origin = Origin { place: Place { file: Arc::from("f"), line: 1, column: 1, length: 1 }, exact: false };
        let (mut environment, mut faults) = (engine::environment(&options), Faults::default());
        let Some(part) = add(
            &mut environment,
            (What::Text, key),
            (text, super::super::part::Form::Plain),
            &origin,
            options.currency,
            &mut faults,
        ) else {
            return 0;
        };
        let Some(plain) = &part.plain else { return 0 };
        let raw = [("key".to_owned(), "s/e=c".to_owned())];
        let mut short = 0;
        for vars in values() {
            let context = Context::with_secrets(&vars, &part.paths, &raw);
            let Some(out) = plain.render(&context) else { continue };
            assert_eq!(Ok(out), render_by_engine(&environment, &part, &context), "{key}: {text} with {vars:?}");
            short += 1;
        }
        short
    }

    #[test]
    fn both_ways_give_the_same_bytes() {
        for key in ["text", "body.html", "line.url"] {
            let short: Vec<usize> = TEXTS.iter().map(|text| both_ways(key, text)).collect();
            let taken = short.iter().filter(|times| **times > 0).count();
            assert!(taken >= 9, "{key}: {short:?}");
        }
    }

    #[test]
    fn what_does_more_than_name_data_is_left_to_the_engine() {
        for text in [
            "{{- a }}",
            "{{ a -}}",
            "{{ a | upper }}",
            "{{ a + b }}",
            "{{ 1 }}",
            "{{ true }}",
            "{% if a %}{% endif %}",
            "{# x #}",
        ] {
            assert!(
                Plain::of(text, &super::super::scan::scan(text), Escape::None, Currency::parse("EUR").unwrap()).is_none(),
                "{text}"
            );
        }
    }
}
