//! Characters to tokens. Positions count characters, because places in files do.

use super::ast::Range;
use super::parse::Wrong;
use crate::lang::value::Value;

/// A token with the characters it stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub at: Range,
    pub kind: TokenKind,
}

/// The kinds of token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// A name or a word such as `in`.
    Word(String),
    /// A number or a text.
    Literal(Value),
    /// An operator or bracket.
    Sign(&'static str),
    /// The end of the text.
    End,
}

/// Longer ones first, so that `<=` is not read as `<` and `=`.
const SIGNS: &[&str] =
    &["&&", "||", "==", "!=", "<=", ">=", "!", "<", ">", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")", "[", "]"];

/// Reads all tokens; the last one is [`TokenKind::End`].
pub(super) fn tokens(chars: &[char]) -> Result<Vec<Token>, Wrong> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        let c = chars[at];
        let kind = if c.is_whitespace() {
            at += 1;
            continue;
        } else if c.is_alphabetic() || c == '_' {
            while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                at += 1;
            }
            TokenKind::Word(chars[start..at].iter().collect())
        } else if c.is_ascii_digit() {
            TokenKind::Literal(number(chars, &mut at)?)
        } else if c == '"' || c == '\'' {
            TokenKind::Literal(Value::Text(quoted(chars, &mut at)?))
        } else {
            TokenKind::Sign(sign(chars, &mut at)?)
        };
        out.push(Token { at: Range { start, end: at }, kind });
    }
    out.push(Token { at: Range { start: chars.len(), end: chars.len() + 1 }, kind: TokenKind::End });
    Ok(out)
}

fn sign(chars: &[char], at: &mut usize) -> Result<&'static str, Wrong> {
    let rest = &chars[*at..];
    let wrong = |length: usize, message: String, hint: &str| {
        Err(Wrong { at: Range { start: *at, end: *at + length }, message, hint: Some(hint.to_owned()) })
    };
    if rest.starts_with(&['=', '=', '=']) {
        return wrong(3, "`===` is no operator".to_owned(), "write `==`");
    }
    if rest.starts_with(&['<', '>']) {
        return wrong(2, "`<>` is no operator".to_owned(), "write `!=`");
    }
    if rest.starts_with(&['=', '>']) || rest.starts_with(&['=', '<']) {
        return wrong(2, format!("`={}` is no operator", rest[1]), "write `>=` or `<=`");
    }
    if let Some(sign) = SIGNS.iter().find(|sign| sign.chars().eq(rest.iter().copied().take(sign.len()))) {
        *at += sign.len();
        return Ok(sign);
    }
    match rest[0] {
        '=' => wrong(1, "`=` is no comparison".to_owned(), "write `==` to compare"),
        '&' => wrong(1, "a single `&` is no operator".to_owned(), "write `&&` for \"and\""),
        '|' => wrong(1, "a single `|` is no operator".to_owned(), "write `||` for \"or\""),
        '“' | '”' | '„' | '‘' | '’' | '«' | '»' => {
            wrong(1, format!("`{}` is a typographic quote", rest[0]), "write straight quotes: \"text\" or 'text'")
        }
        '`' => wrong(1, "a backtick is no quote".to_owned(), "write \"text\" or 'text'"),
        ';' => wrong(1, "`;` has no meaning here".to_owned(), "join conditions with `&&` or `||`"),
        '{' | '}' => wrong(1, "braces have no meaning here".to_owned(), "write a list as [\"a\", \"b\"]"),
        other => wrong(1, format!("`{}` has no meaning here", other.escape_debug()), "remove it, or put text in quotes"),
    }
}

/// Digits, perhaps a fraction and an exponent; read digit by digit, never as a float.
fn number(chars: &[char], at: &mut usize) -> Result<Value, Wrong> {
    let start = *at;
    let digit = |i: usize| chars.get(i).is_some_and(char::is_ascii_digit);
    let run = |at: &mut usize| {
        while digit(*at) {
            *at += 1;
        }
    };
    run(at);
    if chars.get(*at) == Some(&'.') && digit(*at + 1) {
        *at += 1;
        run(at);
    }
    if matches!(chars.get(*at), Some('e' | 'E')) {
        let signed = usize::from(matches!(chars.get(*at + 1), Some('+' | '-')));
        if digit(*at + 1 + signed) {
            *at += 1 + signed;
            run(at);
        }
    }
    let range = Range { start, end: *at };
    let text: String = chars[start..*at].iter().collect();
    if chars.get(*at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
        let message = format!("`{text}{}` is neither a number nor a name", chars[*at]);
        let hint = "write numbers as 1000 or 10.50, durations in quotes as \"90 days\"";
        return Err(Wrong { at: range, message, hint: Some(hint.to_owned()) });
    }
    if text.len() > 1 && text.starts_with('0') && !text.starts_with("0.") && !text.starts_with("0e") && !text.starts_with("0E") {
        let hint = "write the number without leading zeros, or in quotes if it is a code".to_owned();
        return Err(Wrong { at: range, message: format!("`{text}` begins with a zero"), hint: Some(hint) });
    }
    Value::number(&text).map_err(|error| Wrong { at: range, message: error.to_string(), hint: None })
}

/// A text in quotes, with the escapes of CEL.
fn quoted(chars: &[char], at: &mut usize) -> Result<String, Wrong> {
    let (start, quote) = (*at, chars[*at]);
    let mut text = String::new();
    *at += 1;
    loop {
        match chars.get(*at) {
            None => {
                let at = Range { start, end: chars.len() };
                let hint = format!("end it with {quote}");
                return Err(Wrong { at, message: "this text has no closing quote".to_owned(), hint: Some(hint) });
            }
            Some(c) if *c == quote => {
                *at += 1;
                return Ok(text);
            }
            Some('\\') => text.push(escape(chars, at)?),
            Some(c) => {
                text.push(*c);
                *at += 1;
            }
        }
    }
}

fn escape(chars: &[char], at: &mut usize) -> Result<char, Wrong> {
    let start = *at;
    let hex = |digits: usize| {
        let text: String = chars.get(start + 2..start + 2 + digits)?.iter().collect();
        let well_formed = text.bytes().all(|b| b.is_ascii_hexdigit());
        well_formed.then(|| u32::from_str_radix(&text, 16).ok()).flatten().and_then(char::from_u32)
    };
    let (c, length) = match chars.get(start + 1) {
        Some('n') => (Some('\n'), 2),
        Some('t') => (Some('\t'), 2),
        Some('r') => (Some('\r'), 2),
        Some(c @ ('\\' | '\'' | '"' | '`' | '?')) => (Some(*c), 2),
        Some('x') => (hex(2), 4),
        Some('u') => (hex(4), 6),
        Some('U') => (hex(8), 10),
        _ => (None, 2),
    };
    let Some(c) = c else {
        let hint = "write \\\\ for a backslash, \\n for a new line, \\u00e9 for a character by its number".to_owned();
        let end = (start + length).min(chars.len());
        return Err(Wrong { at: Range { start, end }, message: "this is no escape".to_owned(), hint: Some(hint) });
    };
    *at += length;
    Ok(c)
}
