//! What an answer, or none, means.

use super::SendResult;
use super::state::{State, Word};
use crate::lang::time::{HOUR_MS, Time};
use crate::lang::value::{Fields, Value};
use crate::wire::secrets::{Secret, mask};
use crate::wire::{Response, WireError};
use std::ops::RangeInclusive;

/// Longest pause that a receiver's `Retry-After` can ask for, in milliseconds.
const RETRY_AFTER_MS_MAX: i64 = 24 * HOUR_MS;
/// Characters of an answer that are shown to people.
const SHOWN_CHARS_MAX: usize = 200;
/// Longest reference that is kept, in characters.
const REFERENCE_CHARS_MAX: usize = 200;

/// How answers are read.
pub(super) struct Reading {
    /// Statuses that mean yes.
    pub success: Vec<RangeInclusive<u16>>,
    /// A JSON pointer, and what must stand there.
    pub field: Option<(String, Value)>,
    /// Where the receiver's id stands.
    pub reference: Option<Reference>,
    /// Names for later steps, and their JSON pointers.
    pub result: Vec<(String, String)>,
    /// More statuses after which it is tried again.
    pub retry_on: Vec<u16>,
    /// Answers after which it is tried again whatever their status.
    pub again: Vec<Again>,
    /// JSON pointer to the seconds after which it may be tried again.
    pub retry_after: Option<String>,
    /// What the store's word for a grant means.
    pub state: Option<State>,
    /// JSON pointer to why it was refused or parked.
    pub reason: Option<String>,
    /// Never shown, even if the receiver repeats them.
    pub secrets: Vec<Secret>,
}

/// Where the receiver's own id stands in its answer.
pub(super) enum Reference {
    /// JSON pointer into the body.
    Pointer(String),
    /// Name of a header.
    Header(String),
}

/// A sign in the body that trying again may help.
pub(super) struct Again {
    /// JSON pointer.
    pub field: String,
    /// What stands there then.
    pub values: Vec<Value>,
    /// It may have had its effect all the same.
    pub uncertain: bool,
}

/// Whether an answer leaves open if the request had its effect: what went wrong behind a 5xx may have gone
/// wrong after it. A 429 says that the request was turned away.
fn doubtful(status: u16) -> bool {
    status == 408 || status >= 500
}

impl Reading {
    /// `books`: it was asked to book something, so its word for that must be in the answer. `now` is asked only for a
    /// `Retry-After` that is a date.
    pub fn read(&self, result: Result<Response, WireError>, books: bool, now: impl Fn() -> Time) -> SendResult {
        let response = match result {
            Ok(response) => response,
            Err(WireError::Invalid(why)) => return SendResult::Refused { why: mask(&why, &self.secrets) },
            Err(why) => {
                let ambiguous = matches!(why, WireError::Ambiguous(_));
                return SendResult::Retry { after: None, why: mask(&why.to_string(), &self.secrets), ambiguous };
            }
        };
        let status = response.status;
        let json: Option<serde_json::Value> = serde_json::from_slice(&response.body).ok();
        let at = |pointer: &str| json.as_ref().and_then(|json| json.pointer(pointer));
        let word = self.state.as_ref().and_then(|state| state.word(status, at));
        match word {
            Some(Word::Parked) => return SendResult::Parked { why: self.why(&response, at) },
            Some(Word::Refused) => return SendResult::Refused { why: self.why(&response, at) },
            Some(Word::Active | Word::Pending) | None => {}
        }
        let yes = self.success.iter().any(|range| range.contains(&status));
        let (said, wanted) = match &self.field {
            None => (None, None),
            Some((pointer, wanted)) => (at(pointer).and_then(|json| Value::from_json(json).ok()), Some(wanted)),
        };
        let spoken = word.or_else(|| self.state.as_ref().filter(|_| books).and_then(State::missing));
        let lacks = if yes { self.lacks(&response, json.as_ref(), word, books) } else { None };
        match (wanted, &said) {
            _ if !yes => {}
            // The status says yes, what has to stand behind it is not there: nobody knows.
            _ if lacks.is_some() => {
                return SendResult::Retry { after: None, why: lacks.unwrap_or_default(), ambiguous: true };
            }
            (None, _) => return self.accepted(&response, spoken, at),
            (Some(wanted), Some(found)) if found.same(wanted) => return self.accepted(&response, spoken, at),
            _ => {}
        }
        let stands = |again: &&Again| {
            let found = at(&again.field).and_then(|json| Value::from_json(json).ok());
            found.is_some_and(|found| again.values.iter().any(|value| found.same(value)))
        };
        let again = self.again.iter().find(stands);
        let retried = !yes && (matches!(status, 408 | 425 | 429 | 500..=599) || self.retry_on.contains(&status));
        if again.is_none() && !retried {
            return SendResult::Refused { why: self.why(&response, at) };
        }
        let ambiguous = doubtful(status) || again.is_some_and(|again| again.uncertain);
        let header = response.header("retry-after").and_then(|text| retry_after(text, &now));
        let body = self.retry_after.as_deref().and_then(at).and_then(plain_text);
        let after = header.or_else(|| body.and_then(|text| retry_after(&text, &now)));
        SendResult::Retry { after, why: self.shown(&response), ambiguous }
    }

    /// What an answer whose status says yes lacks to be one of this receiver: something on the way, such as a page that
    /// says that the site is being mended, answers 200 as well.
    fn lacks(&self, response: &Response, json: Option<&serde_json::Value>, word: Option<Word>, books: bool) -> Option<String> {
        // A status outside of 2xx that means yes was named with care, and may come without a body.
        if !(200..300).contains(&response.status) {
            return None;
        }
        let at = |pointer: &str| json.and_then(|json| json.pointer(pointer)).filter(|found| !found.is_null());
        let named = self.pointers();
        let found = named.iter().any(|pointer| at(pointer).is_some());
        let readable = found || json.is_some_and(|json| json.is_object() || json.is_array());
        let state = self.state.as_ref().filter(|_| books && word.is_none()).and_then(State::must_stand_at);
        let state = state.filter(|pointer| at(pointer).is_none());
        let needed = state.is_some() || self.field.is_some();
        if !response.complete && !readable {
            // The receiver's own yes arrived; only what is needed to believe it makes its rest matter.
            return needed.then(|| "the answer broke off".to_owned());
        }
        let status = response.status;
        if !named.is_empty() && !readable {
            return Some(format!("the receiver answered {status}, but not with JSON"));
        }
        if let Some(pointer) = state {
            return Some(format!("the receiver answered {status} without a word at {pointer}"));
        }
        // What is asked for data says at least some of it.
        let only_data = !self.result.is_empty() && self.result.len() == named.len();
        let has = |pointer: &String| json.is_some_and(|json| json.pointer(pointer).is_some());
        let none = only_data && !self.result.iter().any(|(_, pointer)| has(pointer));
        none.then(|| format!("the receiver answered {status} with nothing of what is read of it"))
    }

    /// All places in a JSON answer at which something is looked for when it means yes.
    fn pointers(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.result.iter().map(|(_, pointer)| pointer.as_str()).collect();
        all.extend(self.field.iter().map(|(pointer, _)| pointer.as_str()));
        all.extend(self.state.as_ref().and_then(State::field));
        if let Some(Reference::Pointer(pointer)) = &self.reference {
            all.push(pointer);
        }
        all
    }

    /// What the store's word alone makes of an answer, whatever its status.
    pub fn by_state(&self, response: &Response) -> Option<SendResult> {
        let json: Option<serde_json::Value> = serde_json::from_slice(&response.body).ok();
        let at = |pointer: &str| json.as_ref().and_then(|json| json.pointer(pointer));
        match self.state.as_ref()?.word(response.status, at)? {
            Word::Parked => Some(SendResult::Parked { why: self.why(response, at) }),
            Word::Refused => Some(SendResult::Refused { why: self.why(response, at) }),
            Word::Active | Word::Pending => None,
        }
    }

    /// Why it was refused or parked: in the receiver's words where it has some.
    fn why<'a>(&self, response: &Response, at: impl Fn(&str) -> Option<&'a serde_json::Value>) -> String {
        let said = self.reason.as_deref().and_then(at).and_then(plain_text).filter(|said| !said.is_empty());
        said.map_or_else(|| self.shown(response), |said| mask(&said, &self.secrets))
    }

    fn accepted<'a>(
        &self,
        response: &Response,
        word: Option<Word>,
        at: impl Fn(&str) -> Option<&'a serde_json::Value>,
    ) -> SendResult {
        let reference = match &self.reference {
            None => None,
            Some(Reference::Pointer(pointer)) => at(pointer).and_then(plain_text),
            Some(Reference::Header(name)) => response.header(name).map(shortened),
        };
        let mut data: Fields =
            self.result.iter().filter_map(|(name, pointer)| Some((name.clone(), Value::from_json(at(pointer)?).ok()?))).collect();
        if let Some(word) = word {
            data.insert("state".to_owned(), Value::from(word.name()));
        }
        SendResult::Accepted { reference, data }
    }

    /// The status and the beginning of the body, without secrets.
    fn shown(&self, response: &Response) -> String {
        let body = mask(&String::from_utf8_lossy(&response.body), &self.secrets);
        let line: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
        let line: String = line.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
        let colon = if line.is_empty() { "" } else { ": " };
        format!("the receiver answered {}{colon}{line}", response.status)
    }
}

fn plain_text(json: &serde_json::Value) -> Option<String> {
    match json {
        serde_json::Value::String(text) => Some(shortened(text)),
        serde_json::Value::Number(number) => Some(shortened(&number.to_string())),
        _ => None,
    }
}

/// The beginning of a text that a receiver sent, as it may be kept and shown.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REFERENCE_CHARS_MAX).collect()
}

/// Seconds or an HTTP date (RFC 9110, section 10.2.3), as milliseconds from now.
fn retry_after(text: &str, now: impl Fn() -> Time) -> Option<i64> {
    let text = text.trim();
    let ms = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(1_000)
    } else {
        let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
        Time(date.timestamp_millis()).since_ms(now())
    };
    Some(ms.clamp(0, RETRY_AFTER_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = || Time::parse("2027-01-01T00:00:00Z").unwrap();
        for (text, ms) in [
            ("7", Some(7_000)),
            ("99999999999999999999999", Some(RETRY_AFTER_MS_MAX)),
            ("Fri, 01 Jan 2027 00:00:30 GMT", Some(30_000)),
            ("Thu, 31 Dec 2026 00:00:30 GMT", Some(0)),
            ("soon", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(text, now), ms, "{text}");
        }
    }
}
