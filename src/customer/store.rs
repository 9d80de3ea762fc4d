//! What a remote loyalty store says of a customer, and the grants that it has not booked yet.

use crate::effect::Effect;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use serde::{Deserialize, Serialize};

/// Largest data of a store, in bytes of their JSON.
pub const STORE_DATA_BYTES_MAX: usize = 4 * 1024;
/// Most grants of one customer that wait for a blocked programme while their runs go on: a run whose grant is one more
/// waits with it.
pub const PARKED_MAX: usize = 20;
/// What a store can say of a customer, readable as `customer.<name>`.
pub const STORE_NAMES: &[&str] = &["balance", "pending", "tier", "next_expiry", "programmes", "memberships", "offers"];

/// What a remote store says, as of an instant.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct StoreData {
    /// When it last said everything that it is asked for; `None`: it was not asked yet.
    pub as_of: Option<Time>,
    /// By the names of [`STORE_NAMES`].
    pub data: Fields,
}

impl StoreData {
    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        *self == StoreData::default()
    }

    /// Points by name, for pages and lists.
    pub fn points(&self, name: &str) -> i64 {
        match self.data.get(name) {
            Some(Value::Int(points)) => *points,
            _ => 0,
        }
    }
}

/// A grant that waits until a programme is no longer blocked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Parked {
    /// What is sent again: the same key, the same bytes.
    pub grant: Effect,
    /// When the store first said that it is blocked.
    pub since: Time,
    /// Why, in the store's words.
    pub why: String,
    /// When it is sent again; `None`: it is on its way.
    pub next: Option<Time>,
    /// Why nobody knows what became of it: it waits for a person's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// The data as conditions and templates read them: the known names with their types, what does not fit left out; the
/// error says that it is too much.
///
/// # Errors
/// When they are larger than [`STORE_DATA_BYTES_MAX`].
pub fn fitted(data: Fields) -> Result<Fields, String> {
    let fit = |name: &str, value: Value| match (name, value) {
        (_, Value::Null) => None,
        ("balance" | "pending", Value::Text(text)) => Value::number(text.trim()).ok(),
        ("balance" | "pending", value @ (Value::Int(_) | Value::Dec(_))) => Some(value),
        ("tier", value @ Value::Text(_)) => Some(value),
        ("next_expiry", Value::Text(text)) => Time::parse(&text).map(Value::Time),
        ("next_expiry", value @ Value::Time(_)) => Some(value),
        ("balance" | "pending" | "tier" | "next_expiry", _) => None,
        (_, value) => Some(value),
    };
    let known = data.into_iter().filter(|(name, _)| STORE_NAMES.contains(&name.as_str()));
    let fitted: Fields = known.filter_map(|(name, value)| Some((name.clone(), fit(&name, value)?))).collect();
    match Value::Map(fitted.clone()).to_json().to_string().len() {
        bytes if bytes > STORE_DATA_BYTES_MAX => Err(format!(
            "what the loyalty store says of her takes {bytes} bytes, more than {STORE_DATA_BYTES_MAX}; ask it for less"
        )),
        _ => Ok(fitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_take_their_types_and_the_rest_is_left_out() {
        let data = [
            ("balance", Value::from("120")),
            ("tier", Value::from("gold")),
            ("pending", Value::from(true)),
            ("next_expiry", Value::from("2027-03-01T00:00:00Z")),
            ("shoe_size", Value::Int(41)),
            ("programmes", Value::List(vec![Value::Int(1)])),
            ("offers", Value::Null),
        ];
        let fitted = fitted(data.map(|(name, value)| (name.to_owned(), value)).into()).unwrap();
        let wanted = [
            ("balance", Value::Int(120)),
            ("next_expiry", Value::Time(Time::parse("2027-03-01T00:00:00Z").unwrap())),
            ("programmes", Value::List(vec![Value::Int(1)])),
            ("tier", Value::from("gold")),
        ];
        assert_eq!(fitted, wanted.map(|(name, value)| (name.to_owned(), value)).into());
    }

    #[test]
    fn too_much_is_refused() {
        let long = Value::from("x".repeat(STORE_DATA_BYTES_MAX).as_str());
        assert!(fitted([("programmes".to_owned(), long)].into()).unwrap_err().contains("ask it for less"));
    }
}
