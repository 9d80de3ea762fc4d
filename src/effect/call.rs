//! Calls: requests to services of the settings, and what is kept of their answers.

use crate::lang::cel::Type;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Largest request, path and body together, in bytes.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Most of an answer that is kept for later steps, in bytes of its JSON: it lies in the customer's document.
pub const KEPT_BYTES_MAX: usize = 4 * 1024;

/// A request to a service. Every byte that depends on the customer is fixed when it is decided.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The service in the settings.
    pub service: String,
    /// `GET`, `POST` …
    pub method: String,
    /// What follows the service's address: path and query, encoded.
    pub path: String,
    /// The body, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Statuses that mean yes, from and to.
    pub expect: Vec<(u16, u16)>,
    /// What is kept of the answer; `None`: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Wanted>,
    /// It is tried again after a no as well.
    #[serde(default)]
    pub persists: bool,
}

/// A value in an answer as a step declares it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Bool,
    /// An instant, RFC 3339.
    Time,
    /// A list of anything.
    List,
    /// Named values; others are left out.
    Map(BTreeMap<String, Wanted>),
}

impl Wanted {
    /// The type under which conditions see it.
    pub fn ty(&self) -> Type {
        match self {
            Wanted::Text => Type::Text,
            Wanted::Number => Type::Number,
            Wanted::Bool => Type::Bool,
            Wanted::Time => Type::Time,
            Wanted::List => Type::List(Box::new(Type::Any)),
            Wanted::Map(fields) => Type::Object(fields.iter().map(|(name, wanted)| (name.clone(), wanted.ty())).collect()),
        }
    }

    /// The value as it is declared. What is of another type is left out and named in `odd`.
    fn fit(&self, value: &Value, at: &str, odd: &mut Vec<String>) -> Option<Value> {
        match (self, value) {
            (_, Value::Null) => None,
            (Wanted::Text, Value::Text(_))
            | (Wanted::Number, Value::Int(_) | Value::Dec(_))
            | (Wanted::Bool, Value::Bool(_))
            | (Wanted::List, Value::List(_)) => Some(value.clone()),
            (Wanted::Time, Value::Text(text)) if Time::parse(text).is_some() => Time::parse(text).map(Value::Time),
            (Wanted::Map(wanted), Value::Map(found)) => {
                let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
                let fitted = wanted
                    .iter()
                    .filter_map(|(name, wanted)| Some((name.clone(), wanted.fit(found.get(name)?, &below(name), odd)?)));
                Some(Value::Map(fitted.collect()))
            }
            (_, value) => {
                let place = if at.is_empty() { "the body" } else { at };
                odd.push(format!("{place} is {}, not {}", value.kind(), self.words()));
                None
            }
        }
    }

    fn words(&self) -> &'static str {
        match self {
            Wanted::Text => "text",
            Wanted::Number => "a number",
            Wanted::Bool => "true/false",
            Wanted::Time => "a time",
            Wanted::List => "a list",
            Wanted::Map(_) => "a map",
        }
    }
}

/// The name under which an answer says what of it was not kept, and why.
pub const UNREAD: &str = "unread";

impl Call {
    /// Whether an answer of this status means yes.
    pub fn expects(&self, status: u16) -> bool {
        self.expect.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    /// Whether asking twice has no second effect: HTTP promises it of GET.
    pub fn is_safe(&self) -> bool {
        self.method == "GET"
    }

    /// Whether a body can be read as what the step declares, if it declares anything. What single fields are is not
    /// looked at: one that is odd is left out, and said.
    pub fn suits(&self, body: Option<&Value>) -> bool {
        match (&self.response, body) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(Wanted::Map(_)), Some(body)) => matches!(body, Value::Map(_)),
            (Some(_), Some(_)) => true,
        }
    }

    /// What later steps read of an answer: `status`, `body`, and in [`UNREAD`] what could not be kept.
    pub fn read(&self, status: u16, body: Option<&Value>) -> Fields {
        let mut out = Fields::from([("status".to_owned(), Value::Int(i64::from(status)))]);
        let mut odd = Vec::new();
        let kept = match (&self.response, body) {
            (None, body) => body.cloned(),
            (Some(wanted), Some(body)) => wanted.fit(body, "", &mut odd),
            (Some(_), None) => {
                odd.push("the body is no JSON".to_owned());
                None
            }
        };
        if let Some(kept) = kept {
            match kept.to_json().to_string().len() {
                bytes if bytes <= KEPT_BYTES_MAX => drop(out.insert("body".to_owned(), kept)),
                bytes => odd.push(format!(
                    "the answer takes {bytes} bytes, more than {KEPT_BYTES_MAX}; name what is needed of it under `response`"
                )),
            }
        }
        if !odd.is_empty() {
            out.insert(UNREAD.to_owned(), Value::Text(odd.join("; ")));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(response: Option<Wanted>) -> Call {
        let (service, method, path) = ("stock".to_owned(), "POST".to_owned(), "/".to_owned());
        Call { service, method, path, body: None, expect: vec![(200, 204), (409, 409)], response, persists: false }
    }

    fn value(json: &str) -> Value {
        Value::from_json(&serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn of_an_answer_what_is_declared_is_kept_with_its_type() {
        let order = Wanted::Map([("id".to_owned(), Wanted::Text), ("at".to_owned(), Wanted::Time)].into());
        let wanted = [("ok", Wanted::Bool), ("left", Wanted::Number), ("order", order), ("gone", Wanted::Text)];
        let call = call(Some(Wanted::Map(wanted.into_iter().map(|(name, wanted)| (name.to_owned(), wanted)).collect())));
        let body = value(r#"{"ok": true, "left": "many", "order": {"id": 7, "at": "2027-03-01T10:00:00Z"}, "more": 1}"#);
        let read = call.read(201, Some(&body));
        let order = Value::Map(Fields::from([("at".to_owned(), Value::Time(Time::parse("2027-03-01T10:00:00Z").unwrap()))]));
        let kept = Fields::from([("ok".to_owned(), Value::Bool(true)), ("order".to_owned(), order)]);
        assert_eq!((read.get("status"), read.get("body")), (Some(&Value::Int(201)), Some(&Value::Map(kept))));
        assert_eq!(read[UNREAD], Value::from("left is text, not a number; order.id is number, not text"));
        assert_eq!(call.read(200, None)[UNREAD], Value::from("the body is no JSON"));
    }

    #[test]
    fn a_large_answer_is_kept_in_part_only() {
        let body =
            Value::Map(Fields::from([("n".to_owned(), Value::Int(1)), ("t".to_owned(), Value::from(&*"x".repeat(9_000)))]));
        let all = call(None).read(200, Some(&body));
        assert!(!all.contains_key("body") && all[UNREAD].as_text().unwrap().contains("`response`"));
        let part = call(Some(Wanted::Map([("n".to_owned(), Wanted::Number)].into()))).read(200, Some(&body));
        assert_eq!((part["body"].get("n"), part.get(UNREAD)), (Some(&Value::Int(1)), None));
    }

    #[test]
    fn statuses_that_mean_yes_are_those_expected() {
        let yes: Vec<u16> = (100..600).filter(|status| call(None).expects(*status)).collect();
        assert_eq!(yes, [200, 201, 202, 203, 204, 409]);
    }
}
