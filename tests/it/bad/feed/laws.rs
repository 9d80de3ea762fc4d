//! What holds for everything that is said of a bad input.

use super::Verdict;
use autofunnel::engine::intake::{IntakeError, Refusal};
use autofunnel::lang::diag::{FAULTS_MAX, Fault, SENTENCE_CHARS_MAX, Severity};
use autofunnel::lang::render::{self, Sources};

/// Most bytes shown of one fault: its line and its caret are cut to the width of a terminal.
const SHOWN_BYTES_MAX: usize = 8 * 1024;

/// What is wrong with a sentence.
pub fn sentence(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        return Some("an empty sentence".to_owned());
    }
    // An input may be a megabyte, what is said of it may not; a few words may stand before what was cut.
    if text.chars().count() > SENTENCE_CHARS_MAX + 100 {
        return Some(format!(
            "a sentence of {} characters: {}…",
            text.chars().count(),
            text.chars().take(200).collect::<String>()
        ));
    }
    let internal = ["RUST_BACKTRACE", "called `Option::unwrap()`", "Error {"];
    internal.iter().find(|word| text.contains(*word)).map(|word| format!("`{word}` in a sentence: {text}"))
}

/// What is wrong with a refusal of a door.
fn refusal(refusal: &Refusal) -> Option<String> {
    let parts = [Some(&refusal.error), refusal.hint.as_ref(), refusal.field.as_ref()];
    parts.into_iter().flatten().find_map(|text| sentence(text))
}

/// The verdict on what a door answered; `read`: the form itself was read.
pub fn of_door<T>(answer: &Result<T, IntakeError>, read: bool) -> Verdict {
    let past_parser = read;
    match answer {
        Ok(_) => Verdict { past_parser, ..Verdict::default() },
        Err(IntakeError::Refused(why) | IntakeError::NoSuch(why)) => {
            Verdict { past_parser, refused: true, placed: placed(why), broken: refusal(why) }
        }
        Err(IntakeError::Unverified(why)) => Verdict { past_parser, refused: true, placed: true, broken: sentence(why) },
        Err(IntakeError::Store(why)) => {
            Verdict { past_parser, refused: true, placed: false, broken: Some(format!("the store was to blame: {why}")) }
        }
    }
}

/// The verdict on one refusal.
pub fn of_refusal(why: &Refusal, read: bool) -> Verdict {
    Verdict { past_parser: read, refused: true, placed: placed(why), broken: refusal(why) }
}

/// Whether a refusal says where: a field, or a place in the text.
fn placed(why: &Refusal) -> bool {
    why.field.is_some() || why.error.contains("line ") || why.error.contains("column ") || why.error.contains('`')
}

/// The verdict on the faults of files.
pub fn of_faults(faults: &[Fault], dropped: usize, sources: &Sources, lines: &dyn Fn(&str) -> Option<u32>) -> Verdict {
    let refused = !faults.is_empty();
    let mut broken = faults.iter().find_map(|fault| misplaced(fault, sources, lines).or_else(|| worded(fault)));
    if dropped > 0 && faults.len() < FAULTS_MAX / 2 {
        broken.get_or_insert(format!("{dropped} faults were dropped though there were only {}", faults.len()));
    }
    let shown = render::human(faults, dropped, sources, false).len();
    if shown > SHOWN_BYTES_MAX * (faults.len() + 1) {
        broken.get_or_insert(format!("{} faults are shown in {shown} bytes", faults.len()));
    }
    let (json, github) = (render::json(faults), render::github(faults));
    if refused && (json.len() < 10 || !github.starts_with("::")) {
        broken.get_or_insert("faults are not shown to machines".to_owned());
    }
    Verdict { past_parser: false, refused, placed: refused && broken.is_none(), broken }
}

fn worded(fault: &Fault) -> Option<String> {
    let code = fault.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !fault.code.is_empty();
    if !code {
        return Some(format!("the code `{}`", fault.code));
    }
    let hint = fault.hint.as_deref().and_then(sentence);
    sentence(&fault.message).or(hint).map(|why| format!("[{}] {why}", fault.code))
}

/// Where a fault does not lie inside its file.
fn misplaced(fault: &Fault, sources: &Sources, lines: &dyn Fn(&str) -> Option<u32>) -> Option<String> {
    let place = &fault.place;
    let at = || format!("[{}] {}:{}:{}+{}", fault.code, place.file, place.line, place.column, place.length);
    let Some(count) = lines(&place.file) else { return Some(format!("{}: there is no such file", at())) };
    if place.line == 0 || place.line > count {
        return Some(format!("{}: the file has {count} lines", at()));
    }
    let line = sources.line(&place.file, place.line).unwrap_or("");
    let chars = line.chars().count() as u32;
    if place.column == 0 || place.column > chars + 1 {
        return Some(format!("{}: the line has {chars} characters: {line:?}", at()));
    }
    if place.length == 0 || place.column + place.length > chars.max(1) + 2 {
        return Some(format!("{}: it ends behind its line of {chars} characters: {line:?}", at()));
    }
    None
}

/// Whether there is an error among faults.
pub fn has_error(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| fault.severity == Severity::Error)
}
