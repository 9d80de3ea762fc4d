//! The header of a template file, and what becomes of subject and preheader.

use crate::lang::cel::Text;
use crate::lang::diag::{Faults, Place};
use std::sync::Arc;

/// Longest header, in lines.
const HEADER_LINES_MAX: usize = 10;

/// A template file in its parts.
pub(super) struct File {
    /// `subject: …`
    pub subject: Option<Text>,
    /// `preheader: …`
    pub preheader: Option<Text>,
    /// What follows the header.
    pub body: Text,
}

/// Splits a file into header and body. A file that does not begin with `---` is all body.
pub(super) fn split(file: &str, text: &str, faults: &mut Faults) -> File {
    let file: Arc<str> = Arc::from(file);
    let place = |line: usize, column: usize, length: usize| Place {
        file: file.clone(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
        length: u32::try_from(length.max(1)).unwrap_or(u32::MAX),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let all = |text: &str| File { subject: None, preheader: None, body: Text { text: text.to_owned(), place: place(1, 1, 1) } };
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == "---") else { return all(text) };
    let mut out = all("");
    let mut read = first.len();
    for (index, line) in lines.enumerate() {
        let number = index + 2;
        read += line.len();
        let line = line.trim_end();
        if line == "---" {
            out.body = Text { text: text.get(read..).unwrap_or("").to_owned(), place: place(number + 1, 1, 1) };
            return out;
        }
        if index >= HEADER_LINES_MAX {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let blanks = value.chars().take_while(|c| c.is_whitespace()).count();
        let column = name.chars().count() + 2 + blanks;
        let value = value.trim();
        let target = match name.trim() {
            "subject" => &mut out.subject,
            "preheader" => &mut out.preheader,
            other => {
                faults
                    .error(
                        "bad-header",
                        &place(number, 1, other.chars().count()),
                        format!("`{other}` is no header of a template"),
                    )
                    .did_you_mean(other, ["subject", "preheader"]);
                continue;
            }
        };
        if value.is_empty() || target.is_some() {
            let message = format!("the header `{}` is {}", name.trim(), if value.is_empty() { "empty" } else { "there twice" });
            faults.error("bad-header", &place(number, 1, line.chars().count()), message);
            continue;
        }
        *target = Some(Text { text: value.to_owned(), place: place(number, column, value.chars().count()) });
    }
    faults.error("bad-header", &place(1, 1, 3), "the header does not end").hint("close it with a line `---`");
    out.body = Text { text: text.to_owned(), place: place(1, 1, 1) };
    out
}

/// Why a text cannot be a header of a message; `None` when it can.
pub(super) fn unfit(text: &str, chars_max: usize) -> Option<String> {
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Some("contains a line break or control character".to_owned());
    }
    (text.chars().count() > chars_max).then(|| format!("is longer than {chars_max} characters"))
}

/// Puts the preheader, already escaped, where mail programs look for it: first in the body, unseen.
pub(super) fn insert_preheader(html: &mut String, preheader: &str) {
    let lower = html.to_ascii_lowercase();
    let body = lower.find("<body").and_then(|at| html.get(at..)?.find('>').map(|end| at + end + 1));
    html.insert_str(body.unwrap_or(0), &format!("<div style=\"display:none;max-height:0;overflow:hidden\">{preheader}</div>"));
}
