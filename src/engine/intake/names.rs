//! Names, ids and other short texts: what a door lets through.

use super::Refusal;
use crate::event::NAME_BYTES_MAX;
use crate::lang::value::{Fields, Value};

/// Longest event name, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 64;

/// An id as its sender wrote it: 1 to [`NAME_BYTES_MAX`] bytes without control characters. `what` names
/// it in the refusal, `field` says where it stood.
///
/// # Errors
/// When it is empty, too long, or has characters that cannot be seen.
pub fn check_id(text: &str, what: &str, field: &str) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::new(format!("the {what} {why}")).field(field));
    if text.trim().is_empty() {
        return refuse("is empty");
    }
    if text.len() > NAME_BYTES_MAX {
        return refuse(&format!("is longer than {NAME_BYTES_MAX} bytes"));
    }
    if text.chars().any(is_unseen) {
        return refuse("contains control characters");
    }
    Ok(())
}

/// Control characters, and the line and paragraph separators that some programs treat as line ends.
pub fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// An event name: `[a-z][a-z0-9_.]*`, at most [`EVENT_NAME_BYTES_MAX`] bytes.
pub fn is_event_name(text: &str) -> bool {
    text.len() <= EVENT_NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.'))
}

/// Takes a text out of a map; `None` when it is missing or null. A whole number counts as its digits,
/// because shops number their customers and orders.
///
/// # Errors
/// When it is neither text nor a whole number.
pub fn take_text(fields: &mut Fields, name: &str) -> Result<Option<String>, Refusal> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(Value::Int(n)) => Ok(Some(n.to_string())),
        Some(other) => Err(Refusal::new(format!("`{name}` must be text, not {}", other.kind())).field(name)),
    }
}

/// Takes an id that must be there.
///
/// # Errors
/// When it is missing or is no id.
pub fn take_id(fields: &mut Fields, name: &'static str, what: &str, hint: &str) -> Result<String, Refusal> {
    let text = take_text(fields, name)?.ok_or_else(|| Refusal::new(format!("`{name}` is missing")).field(name).hint(hint))?;
    check_id(&text, what, name)?;
    Ok(text)
}

/// Refuses what is left in a map of known fields.
///
/// # Errors
/// When anything is left.
pub fn nothing_else(fields: &Fields, known: &[&str]) -> Result<(), Refusal> {
    match fields.keys().next() {
        None => Ok(()),
        Some(name) if name.trim().is_empty() => {
            Err(Refusal::new("a field has no name").hint(format!("there is: {}", known.join(", "))))
        }
        Some(name) => {
            let shown: String = name.chars().take(60).collect();
            Err(Refusal::new(format!("`{shown}` is not a field here"))
                .field(shown.clone())
                .did_you_mean(&shown, known.iter().copied()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_visible_text() {
        for good in ["1", "C-1", "anon:x y", "é", &"x".repeat(128)] {
            assert!(check_id(good, "id", "id").is_ok(), "{good}");
        }
        for bad in ["", " ", "a\nb", "a\u{0}", "a\u{2028}b", "\u{202e}evil", &"x".repeat(129), &"é".repeat(65)] {
            assert!(check_id(bad, "id", "id").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_left_is_named_even_if_it_has_no_name() {
        let left =
            |name: &str| nothing_else(&Fields::from([(name.to_owned(), crate::lang::value::Value::Null)]), &["id", "time"]);
        let refusal = left("tme").unwrap_err();
        assert_eq!((refusal.field.as_deref(), refusal.hint.as_deref()), (Some("tme"), Some("did you mean `time`?")));
        let refusal = left(" ").unwrap_err();
        assert_eq!((refusal.error.as_str(), refusal.field), ("a field has no name", None));
    }

    #[test]
    fn event_names_are_small_words() {
        assert!(is_event_name("purchase") && is_event_name("app.opened_2"));
        for bad in ["", "Purchase", "2x", "_x", "a b", "a-b", "ä", &"x".repeat(65)] {
            assert!(!is_event_name(bad), "{bad}");
        }
    }
}
