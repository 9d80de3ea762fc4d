//! Reading what scripts answer.

use super::super::StoreError;
use redis::Value;

/// A list; anything else is an empty one.
pub fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) | Value::Set(values) => values,
        _ => Vec::new(),
    }
}

/// Names and values, however they are told.
pub fn pairs(value: Value) -> Vec<(Value, Value)> {
    match value {
        Value::Map(pairs) => pairs,
        Value::Array(values) if values.iter().all(|value| matches!(value, Value::Array(pair) if pair.len() == 2)) => {
            let mut pairs = Vec::with_capacity(values.len());
            for value in values {
                let mut pair = list(value).into_iter();
                pairs.push((next(&mut pair), next(&mut pair)));
            }
            pairs
        }
        Value::Array(values) => {
            let mut values = values.into_iter();
            let mut pairs = Vec::with_capacity(values.len() / 2);
            while let (Some(name), Some(value)) = (values.next(), values.next()) {
                pairs.push((name, value));
            }
            pairs
        }
        _ => Vec::new(),
    }
}

/// Bytes; anything else is none.
pub fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        _ => Vec::new(),
    }
}

/// A text.
pub fn text(value: Value) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        other => String::from_utf8_lossy(&bytes(other)).into_owned(),
    }
}

/// A number, written as one or as a text.
pub fn int(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or_default(),
        _ => 0,
    }
}

/// The instant of a score, in milliseconds; the half of what is in hand is left out.
pub fn instant(score: &str) -> Option<i64> {
    score.parse().ok().or_else(|| score.parse::<f64>().ok().map(|score| score.floor() as i64))
}

/// Whether a score says that it was handed out.
pub fn in_hand(score: &str) -> bool {
    score.ends_with(".5")
}

/// The next part of an answer.
pub fn next(parts: &mut std::vec::IntoIter<Value>) -> Value {
    parts.next().unwrap_or(Value::Nil)
}

/// What is said of an answer that only another program's keys can cause.
pub fn strange(what: &str) -> StoreError {
    StoreError::Unavailable(format!(
        "{what} in Redis is not as this engine writes it; check that no other program uses the same keys"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_instants_with_a_mark() {
        assert_eq!(instant("1803891600000.5"), Some(1_803_891_600_000));
        assert_eq!(instant("1803891600000"), Some(1_803_891_600_000));
        assert_eq!(instant("1.8e3"), Some(1_800));
        assert_eq!(instant(""), None);
        assert!(in_hand("5.5") && !in_hand("5"));
    }
}
