//! Looks at a text before the YAML parser does, and refuses what would cost it time or memory.
//!
//! The parser reads a whole bracketed list before it answers, because the list could turn out to be a
//! key; so neither a limit on nodes nor one on depth can stop it in there. One pass over the bytes bounds the
//! tokens it can make. The same pass finds the lines, refuses characters that cannot be seen, and
//! directives (`%…`), which this language does not have.

use super::super::diag::{Faults, Place};
use super::{FILE_BYTES_MAX, NODES_MAX};
use std::sync::Arc;

/// Most signs in one file that YAML may take for structure, in halves: a quotation mark counts one, a colon
/// within brackets six (it can open and close a map of its own), any other sign two.
const SIGN_HALVES_MAX: usize = 8 * NODES_MAX;
/// Most steps the parser may spend on remembering open brackets: signs, each times the brackets open around it.
const BRACKET_STEPS_MAX: usize = 4_000_000;

/// The lines of a text.
pub(super) struct Lines<'a> {
    /// All of it, without a byte order mark.
    pub text: &'a str,
    starts: Vec<u32>,
}

impl<'a> Lines<'a> {
    /// The line with this number (from 1), without its line break; empty when there is none.
    pub fn line(&self, number: u32) -> &'a str {
        let index = (number as usize).saturating_sub(1);
        let Some(start) = self.starts.get(index) else { return "" };
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| *next as usize);
        self.text.get(*start as usize..end).unwrap_or("").trim_end_matches(['\r', '\n'])
    }

    /// How many lines there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX).max(1)
    }

    /// Number of the last line that holds anything but blanks.
    pub fn last(&self) -> u32 {
        (1..=self.starts.len() as u32).rev().find(|n| !self.line(*n).trim().is_empty()).unwrap_or(1)
    }
}

/// Why a text is not even parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: &'static str,
    line: u32,
    column: u32,
    message: String,
    hint: &'static str,
}

impl Refusal {
    pub fn report(&self, file: &Arc<str>, faults: &mut Faults) {
        let place = Place { file: file.clone(), line: self.line, column: self.column, length: 1 };
        faults.error(self.code, &place, self.message.as_str()).hint(self.hint);
    }
}

/// Finds the lines, or says why the text is refused.
pub(super) fn measure(text: &str) -> Result<Lines<'_>, Refusal> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len());
        return Err(Refusal { code: "file-too-large", line: 1, column: 1, message, hint: "split it into several files" });
    }
    let mut starts = vec![0];
    let (mut halves, mut open, mut steps) = (0, 0_usize, 0);
    let bytes = text.as_bytes();
    for (i, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => starts.push(i as u32 + 1),
            b'\r' if bytes.get(i + 1) != Some(&b'\n') => starts.push(i as u32 + 1),
            b'%' if starts.last() == Some(&(i as u32)) => return Err(refuse_directive(starts.len())),
            b'\t' | b'\r' => {}
            0..=0x1f | 0x7f => return Err(refuse_control(text, &starts, i)),
            // U+0080 to U+009F but for U+0085, which is a blank.
            0x80..=0x9f if byte != 0x85 && i > 0 && bytes[i - 1] == 0xc2 => return Err(refuse_control(text, &starts, i - 1)),
            b'"' | b'\'' => halves += 1,
            b',' | b'[' | b']' | b'{' | b'}' | b':' | b'?' | b'&' | b'*' | b'!' => {
                match byte {
                    b'[' | b'{' => open += 1,
                    b']' | b'}' => open = open.saturating_sub(1),
                    _ => {}
                }
                halves += if byte == b':' && open > 0 { 6 } else { 2 };
                steps += open.min(usize::from(u8::MAX));
            }
            _ => {}
        }
        if halves > SIGN_HALVES_MAX || steps > BRACKET_STEPS_MAX {
            return Err(Refusal {
                code: "too-many-nodes",
                line: starts.len() as u32,
                column: 1,
                message: "the file has too many values, brackets and quotes up to here".to_owned(),
                hint: "split it into several files",
            });
        }
    }
    Ok(Lines { text, starts })
}

fn refuse_directive(line: usize) -> Refusal {
    Refusal {
        code: "yaml-directive",
        line: line as u32,
        column: 1,
        message: "a line begins with `%`, which is a YAML directive".to_owned(),
        hint: "directives are not part of this language; remove the line, or indent it if it is text",
    }
}

fn refuse_control(text: &str, starts: &[u32], at: usize) -> Refusal {
    let start = starts.last().map_or(0, |s| *s as usize);
    let before = text.get(start..at).unwrap_or("");
    let found = text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, u32::from);
    Refusal {
        code: "control-character",
        line: starts.len() as u32,
        column: before.chars().count() as u32 + 1,
        message: format!("here stands a character that cannot be seen (U+{found:04X})"),
        hint: "remove it, or write it as an escape in double quotes",
    }
}
