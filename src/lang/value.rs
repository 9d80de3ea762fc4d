//! The one kind of data that events, profiles, conditions and templates share.

use super::time::Time;
use crate::money::{Dec, NumberError};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// Deepest nesting of lists and maps that a door accepts.
pub const VALUE_DEPTH_MAX: usize = 16;

/// Named values, in the order of their names.
pub type Fields = BTreeMap<String, Value>;

/// A piece of data. Numbers are exact: whole (`Int`) or decimal (`Dec`), never a float.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum Value {
    /// Explicitly nothing.
    #[default]
    #[serde(rename = "n")]
    Null,
    /// True or false.
    #[serde(rename = "b")]
    Bool(bool),
    /// A whole number.
    #[serde(rename = "i")]
    Int(i64),
    /// A decimal number.
    #[serde(rename = "d")]
    Dec(Dec),
    /// Text.
    #[serde(rename = "t")]
    Text(String),
    /// An instant.
    #[serde(rename = "at")]
    Time(Time),
    /// A list.
    #[serde(rename = "l")]
    List(Vec<Value>),
    /// Named values.
    #[serde(rename = "m")]
    Map(Fields),
}

/// Puts a value at a path of names, with the maps on the way to it.
pub fn put(fields: &mut Fields, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            // A longer path may have been there first: the whole map holds it too.
            fields.insert(name.clone(), value);
        }
        [name, below @ ..] => {
            let inner = fields.entry(name.clone()).or_insert_with(|| Value::Map(Fields::new()));
            if let Value::Map(inner) = inner {
                put(inner, below, value);
            }
        }
    }
}

/// Why JSON was refused as a [`Value`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A number that cannot be held exactly.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// Too deeply nested.
    #[error("nested more than {VALUE_DEPTH_MAX} levels deep")]
    TooDeep,
}

impl Value {
    /// The text, if this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub fn as_dec(&self) -> Option<Dec> {
        match self {
            Value::Int(n) => Dec::from_int(*n),
            Value::Dec(d) => Some(*d),
            _ => None,
        }
    }

    /// Follows one name into a map.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Map(fields) => fields.get(name),
            _ => None,
        }
    }

    /// What kind of data this is, as error messages name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "true/false",
            Value::Int(_) | Value::Dec(_) => "number",
            Value::Text(_) => "text",
            Value::Time(_) => "time",
            Value::List(_) => "list",
            Value::Map(_) => "map",
        }
    }

    /// Numbers by size, texts by letters, instants by time, false before true; `None` across kinds.
    pub fn order(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            _ => Some(self.millionths()?.cmp(&other.millionths()?)),
        }
    }

    /// Equality as conditions see it: `1` equals `1.0`.
    pub fn same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.same(y)),
            _ => match self.order(other) {
                Some(order) => order == Ordering::Equal,
                None => self == other,
            },
        }
    }

    fn millionths(&self) -> Option<i128> {
        match self {
            Value::Int(n) => Some(i128::from(*n) * 1_000_000),
            Value::Dec(d) => Some(i128::from(d.0)),
            _ => None,
        }
    }

    /// From JSON as it came through a door; numbers are read digit by digit.
    pub fn from_json(json: &serde_json::Value) -> Result<Value, ValueError> {
        Value::from_json_at(json, 0)
    }

    fn from_json_at(json: &serde_json::Value, depth: usize) -> Result<Value, ValueError> {
        if depth > VALUE_DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        Ok(match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(*b),
            serde_json::Value::Number(n) => Value::number(&n.to_string())?,
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(list) => {
                Value::List(list.iter().map(|v| Value::from_json_at(v, depth + 1)).collect::<Result<_, _>>()?)
            }
            serde_json::Value::Object(map) => Value::Map(
                map.iter()
                    .map(|(k, v)| Ok((k.clone(), Value::from_json_at(v, depth + 1)?)))
                    .collect::<Result<_, ValueError>>()?,
            ),
        })
    }

    /// A number from its digits: whole where it is whole.
    pub fn number(text: &str) -> Result<Value, NumberError> {
        if let Ok(n) = text.parse::<i64>() {
            return Ok(Value::Int(n));
        }
        let dec = Dec::parse(text)?;
        Ok(dec.as_int().map_or(Value::Dec(dec), Value::Int))
    }

    /// As JSON; a decimal keeps its digits, an instant is RFC 3339 text.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(n) => Json::from(*n),
            // Written with its own digits: serde_json keeps them (feature `arbitrary_precision`).
            Value::Dec(d) => d.to_string().parse::<serde_json::Number>().map_or(Json::Null, Json::Number),
            Value::Text(text) => Json::String(text.clone()),
            Value::Time(t) => Json::String(t.to_string()),
            Value::List(list) => Json::Array(list.iter().map(Value::to_json).collect()),
            Value::Map(fields) => Json::Object(fields.iter().map(|(k, v)| (k.clone(), v.to_json())).collect()),
        }
    }
}

/// The size of fields as JSON in bytes, when that is more than `bytes_max`. JSON is made only of what comes near it.
pub fn json_bytes_beyond(fields: &Fields, bytes_max: usize) -> Option<usize> {
    if json_bytes_most(fields) <= bytes_max {
        return None;
    }
    let bytes = Value::Map(fields.clone()).to_json().to_string().len();
    (bytes > bytes_max).then_some(bytes)
}

/// Fields have no more bytes as JSON than this.
fn json_bytes_most(fields: &Fields) -> usize {
    fields.iter().map(|(name, value)| text_most(name) + 2 + value_most(value)).sum::<usize>() + 2
}

/// A byte becomes six at most: `\u0000`.
fn text_most(text: &str) -> usize {
    text.len() * 6 + 2
}

fn value_most(value: &Value) -> usize {
    match value {
        // No number and no instant is longer than this.
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Dec(_) | Value::Time(_) => 64,
        Value::Text(text) => text_most(text),
        Value::List(list) => list.iter().map(|item| value_most(item) + 1).sum::<usize>() + 2,
        Value::Map(fields) => json_bytes_most(fields),
    }
}

/// As a person reads it in a timeline: text in quotes, a list in brackets.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("nothing"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int(n) => write!(f, "{n}"),
            Value::Dec(d) => write!(f, "{d}"),
            Value::Text(text) => write!(f, "\"{text}\""),
            Value::Time(t) => write!(f, "{t}"),
            Value::List(list) => {
                f.write_str("[")?;
                for (i, item) in list.iter().enumerate() {
                    write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Value::Map(fields) => {
                f.write_str("{")?;
                for (i, (name, item)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {item}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Value {
        Value::Int(n)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_numbers_keep_their_digits_both_ways() {
        let json: serde_json::Value = serde_json::from_str(r#"{"a": 10.10, "b": 3, "c": [1.5, null], "d": 4.0}"#).unwrap();
        let value = Value::from_json(&json).unwrap();
        assert_eq!(value.get("a"), Some(&Value::Dec(Dec::parse("10.1").unwrap())));
        assert_eq!(value.get("d"), Some(&Value::Int(4)));
        assert_eq!(value.to_json().to_string(), r#"{"a":10.1,"b":3,"c":[1.5,null],"d":4}"#);
    }

    #[test]
    fn no_value_is_larger_as_json_than_it_is_thought_to_be() {
        let one = |value: Value| Fields::from([("\u{1}name".to_owned(), value)]);
        let text = |text: &str| Value::from(text.repeat(20).as_str());
        let list = Value::List(vec![Value::Null, Value::Bool(false), text("\u{0}\\\"é\u{10ffff}")]);
        let late = Value::Time(Time(i64::MAX / 2));
        let numbers =
            [Value::Int(i64::MIN), Value::Dec(Dec(i64::MIN + 1)), Value::number("-9223372036854.775807").unwrap(), late];
        let values =
            numbers.into_iter().chain([text("\u{0}"), text("a"), list.clone(), Value::Map(one(list)), Value::List(vec![])]);
        for fields in values.map(one).chain([Fields::new()]) {
            let bytes = Value::Map(fields.clone()).to_json().to_string().len();
            assert!(bytes <= json_bytes_most(&fields), "{bytes} {fields:?}");
            let beyond = [bytes, bytes - 1].map(|most| json_bytes_beyond(&fields, most));
            assert_eq!(beyond, [None, Some(bytes)], "{fields:?}");
        }
    }

    #[test]
    fn numbers_compare_across_whole_and_decimal() {
        assert!(Value::Int(1).same(&Value::Dec(Dec::from_int(1).unwrap())));
        assert_eq!(Value::Int(2).order(&Value::number("1.5").unwrap()), Some(Ordering::Greater));
        assert_eq!(Value::Int(2).order(&Value::from("2")), None);
    }

    #[test]
    fn numbers_that_cannot_be_held_are_refused() {
        for text in ["1e999999", "1e-30", "99999999999999999999"] {
            let json: serde_json::Value = serde_json::from_str(text).unwrap();
            assert!(Value::from_json(&json).is_err(), "{text}");
        }
    }
}
