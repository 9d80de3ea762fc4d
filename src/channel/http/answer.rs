//! What an answer, or none, means.

use super::SendResult;
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
    /// JSON pointer to the receiver's id.
    pub reference: Option<String>,
    /// Names for later steps, and their JSON pointers.
    pub result: Vec<(String, String)>,
    /// More statuses after which it is tried again.
    pub retry_on: Vec<u16>,
    /// Never shown, even if the receiver repeats them.
    pub secrets: Vec<Secret>,
}

/// Whether an answer leaves open if the request had its effect: what went wrong behind a 5xx may have gone
/// wrong after it. A 429 says that the request was turned away.
fn doubtful(status: u16) -> bool {
    status == 408 || status >= 500
}

impl Reading {
    /// `now` is asked only for a `Retry-After` that is a date.
    pub fn read(&self, result: Result<Response, WireError>, now: impl Fn() -> Time) -> SendResult {
        let response = match result {
            Ok(response) => response,
            Err(WireError::Invalid(why)) => return SendResult::Refused { why: mask(&why, &self.secrets) },
            Err(why) => {
                let ambiguous = matches!(why, WireError::Ambiguous(_));
                return SendResult::Retry { after: None, why: mask(&why.to_string(), &self.secrets), ambiguous };
            }
        };
        let status = response.status;
        if self.success.iter().any(|range| range.contains(&status)) {
            return self.accepted(&response);
        }
        if matches!(status, 408 | 425 | 429 | 500..=599) || self.retry_on.contains(&status) {
            let ambiguous = doubtful(status);
            let after = response.header("retry-after").and_then(|text| retry_after(text, &now));
            return SendResult::Retry { after, why: self.shown(&response), ambiguous };
        }
        SendResult::Refused { why: self.shown(&response) }
    }

    fn accepted(&self, response: &Response) -> SendResult {
        let json: Option<serde_json::Value> = serde_json::from_slice(&response.body).ok();
        let at = |pointer: &str| json.as_ref().and_then(|json| json.pointer(pointer));
        if let Some((pointer, wanted)) = &self.field {
            let found = at(pointer).and_then(|json| Value::from_json(json).ok());
            match found {
                Some(found) if found.same(wanted) => {}
                // The status says yes, the rest was lost on the way: nobody knows.
                None if !response.complete => {
                    let why = "the answer broke off".to_owned();
                    return SendResult::Retry { after: None, why, ambiguous: true };
                }
                _ => return SendResult::Refused { why: self.shown(response) },
            }
        }
        let reference = self.reference.as_deref().and_then(at).and_then(plain_text);
        let data: Fields =
            self.result.iter().filter_map(|(name, pointer)| Some((name.clone(), Value::from_json(at(pointer)?).ok()?))).collect();
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
    let text = match json {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => return None,
    };
    Some(text.chars().filter(|c| !c.is_control()).take(REFERENCE_CHARS_MAX).collect())
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
