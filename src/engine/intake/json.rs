//! A strict reader of JSON: what cannot be held exactly, or could be read in two ways, is refused.
//!
//! It reads straight into [`Value`], digit by digit, and refuses doubled keys, nesting beyond
//! [`VALUE_DEPTH_MAX`], more than [`NODES_MAX`] values, numbers that do not fit and the character U+0000.
//! Broken text (lone surrogates, bad UTF-8, a missing bracket) is refused by the parser below.

use super::Refusal;
use crate::lang::value::{Fields, VALUE_DEPTH_MAX, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// Most values (scalars, lists and maps together) in one document.
pub const NODES_MAX: usize = 10_000;

/// The name under which `serde_json` hands over a number with all its digits.
const NUMBER_KEY: &str = "$serde_json::private::Number";

/// Reads one JSON document.
///
/// # Errors
/// One sentence that says what is wrong and where.
pub fn read(bytes: &[u8]) -> Result<Value, Refusal> {
    let budget = Cell::new(NODES_MAX);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Seed { budget: &budget, depth: 0 }.deserialize(&mut reader).map_err(|error| refusal(&error))?;
    reader.end().map_err(|error| refusal(&error))?;
    Ok(value)
}

/// Reads a JSON list whose items each have a budget of their own, at most `max` of them.
///
/// # Errors
/// One sentence that says what is wrong and where.
pub fn read_list(bytes: &[u8], max: usize) -> Result<Vec<Value>, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let items = reader.deserialize_seq(Items { max }).map_err(|error| refusal(&error))?;
    reader.end().map_err(|error| refusal(&error))?;
    Ok(items)
}

/// Reads one JSON document that must be a map.
///
/// # Errors
/// One sentence that says what is wrong and where.
pub fn read_map(bytes: &[u8]) -> Result<Fields, Refusal> {
    into_map(read(bytes)?)
}

/// The fields of a value that must be a map.
///
/// # Errors
/// When it is something else.
pub fn into_map(value: Value) -> Result<Fields, Refusal> {
    match value {
        Value::Map(fields) => Ok(fields),
        other => Err(Refusal::new(format!("a JSON object is expected here, not {}", other.kind())).hint("write { … }")),
    }
}

fn refusal(error: &serde_json::Error) -> Refusal {
    match error.classify() {
        serde_json::error::Category::Data => Refusal::new(error.to_string()),
        _ => Refusal::new(format!("this is not JSON: {error}")).hint("check quotes, commas and brackets near that place"),
    }
}

struct Items {
    max: usize,
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Value>, A::Error> {
        let mut items = Vec::new();
        loop {
            let budget = Cell::new(NODES_MAX);
            match list.next_element_seed(Seed { budget: &budget, depth: 0 })? {
                None => return Ok(items),
                Some(_) if items.len() == self.max => {
                    return Err(A::Error::custom(format!(
                        "more than {} items in one list; send them in several requests",
                        self.max
                    )));
                }
                Some(item) => items.push(item),
            }
        }
    }
}

struct Seed<'a> {
    budget: &'a Cell<usize>,
    depth: usize,
}

impl Seed<'_> {
    fn spend<E: Error>(&self) -> Result<(), E> {
        let left =
            self.budget.get().checked_sub(1).ok_or_else(|| E::custom(format!("more than {NODES_MAX} values in one document")))?;
        self.budget.set(left);
        Ok(())
    }

    fn deeper<E: Error>(&self) -> Result<Seed<'_>, E> {
        if self.depth >= VALUE_DEPTH_MAX {
            return Err(E::custom(format!("nested more than {VALUE_DEPTH_MAX} levels deep")));
        }
        Ok(Seed { budget: self.budget, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Int(n))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Value, E> {
        // The same sentence for a number that does not fit, however the parser hands it over.
        i64::try_from(n).map_or_else(|_| Value::number(&n.to_string()).map_err(E::custom), |n| Ok(Value::Int(n)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        if text.contains('\0') {
            return Err(E::custom("a text contains the character U+0000"));
        }
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self.deeper()?)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Fields::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == NUMBER_KEY && fields.is_empty() {
                let digits: String = map.next_value()?;
                return Value::number(&digits).map_err(A::Error::custom);
            }
            if name.contains('\0') {
                return Err(A::Error::custom("a name contains the character U+0000"));
            }
            if fields.contains_key(&name) {
                let name: String = name.chars().take(60).collect();
                return Err(A::Error::custom(format!("`{name}` is given twice")));
            }
            let value = map.next_value_seed(self.deeper()?)?;
            fields.insert(name, value);
        }
        // An empty map is nested too.
        self.deeper::<A::Error>()?;
        Ok(Value::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Dec;

    #[test]
    fn plain_documents_are_read_digit_by_digit() {
        let value = read(br#" {"a": 10.10, "b": [1, null, true, "\u00e9"], "c": {"d": -0.5, "e": {}}} "#).unwrap();
        assert_eq!(value.get("a"), Some(&Value::Dec(Dec::parse("10.1").unwrap())));
        assert_eq!(value.get("b"), Some(&Value::List(vec![Value::Int(1), Value::Null, Value::Bool(true), Value::from("é")])));
        assert_eq!(value.get("c").and_then(|c| c.get("e")), Some(&Value::Map(Fields::new())));
    }

    #[test]
    fn what_could_be_read_in_two_ways_or_cannot_be_held_is_refused() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let seventeen = format!("{}{}", "[".repeat(17), "]".repeat(17));
        let wide = format!("[{}1]", "1,".repeat(1_000_000));
        let keys = format!("{{{}}}", (0..1_000_000).map(|i| format!("\"k{i}\":1")).collect::<Vec<_>>().join(","));
        let hostile: Vec<(&[u8], &str)> = vec![
            (deep.as_bytes(), "nested"),
            (seventeen.as_bytes(), "nested"),
            (wide.as_bytes(), "more than 10000 values"),
            (keys.as_bytes(), "more than 10000 values"),
            (br#"{"a":1,"a":2}"#, "`a` is given twice"),
            (br#"{"a":{"b":1,"b":1}}"#, "`b` is given twice"),
            (b"1e999999", "out of range"),
            (b"99999999999999999999", "out of range"),
            (b"0.00000001", "digits"),
            (br#""\ud800""#, "not JSON"),
            (br#""\ude00x""#, "not JSON"),
            (br#""a\u0000""#, "U+0000"),
            (b"\"\xff\"", "not JSON"),
            (b"NaN", "not JSON"),
            (b"", "not JSON"),
            (b"{} {}", "not JSON"),
            (b"[1,]", "not JSON"),
            (br#"{"$serde_json::private::Number": "1", "x": 2}"#, ""),
        ];
        for (bytes, wanted) in hostile {
            let error = read(bytes).unwrap_err().error;
            let start: String = String::from_utf8_lossy(bytes).chars().take(30).collect();
            assert!(error.contains(wanted), "{start} → {error}");
        }
        assert!(read(format!("{}{}", "[".repeat(16), "]".repeat(16)).as_bytes()).is_ok());
    }

    #[test]
    fn each_item_of_a_list_has_its_own_budget() {
        let item = format!("[{}1]", "1,".repeat(5_000));
        let list = format!("[{item},{item},{item}]");
        assert_eq!(read_list(list.as_bytes(), 3).unwrap().len(), 3);
        assert!(read_list(list.as_bytes(), 2).unwrap_err().error.contains("more than 2 items"));
        assert!(read(list.as_bytes()).is_err());
    }
}
