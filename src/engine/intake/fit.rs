//! Making data from outside fit the type that is declared for it.
//!
//! Senders write ids as numbers, amounts as text and instants as text. What has one meaning is taken in
//! that meaning; what has none is refused with the name of the field. Undeclared properties stay as sent.

use super::Refusal;
use crate::event::words::{WordType, item_fields};
use crate::lang::cel::Type;
use crate::lang::time::{TIME_MAX, TIME_MIN, Time, Zone, instant, parse_date};
use crate::lang::value::{Fields, Value};
use crate::money::Dec;
use chrono::{NaiveDate, NaiveTime};

/// Makes a property of a well-known event fit.
///
/// # Errors
/// When it has no meaning as that type.
pub fn word(value: Value, wanted: WordType, path: &str, zone: Zone) -> Result<Value, Refusal> {
    match wanted {
        WordType::Text => text(value, path),
        WordType::Number | WordType::Money => number(value, path),
        WordType::Time => time(value, path, zone),
        WordType::Bool => boolean(value, path),
        WordType::Items => items(value, path, zone),
    }
}

/// Makes a declared property or profile field fit.
///
/// # Errors
/// When it has no meaning as that type.
pub fn declared(value: Value, wanted: &Type, path: &str, zone: Zone) -> Result<Value, Refusal> {
    match (wanted, value) {
        (Type::Bool, value) => boolean(value, path),
        (Type::Number, value) => number(value, path),
        (Type::Text, value) => text(value, path),
        (Type::Time, value) => time(value, path, zone),
        (Type::List(item), Value::List(values)) => {
            let fitted = values.into_iter().enumerate().map(|(i, value)| declared(value, item, &format!("{path}[{i}]"), zone));
            Ok(Value::List(fitted.collect::<Result<_, _>>()?))
        }
        (Type::Object(known), Value::Map(fields)) => {
            let fitted = fields.into_iter().map(|(name, value)| {
                let path = format!("{path}.{name}");
                let value = match known.iter().find(|(known, _)| *known == name) {
                    Some((_, wanted)) if value != Value::Null => declared(value, wanted, &path, zone)?,
                    _ => value,
                };
                Ok((name, value))
            });
            Ok(Value::Map(fitted.collect::<Result<_, Refusal>>()?))
        }
        (Type::List(_), value) => Err(wrong(&value, "a list", path)),
        (Type::Object(_), value) => Err(wrong(&value, "a map", path)),
        // A span never comes from outside; `Any` stays as sent.
        (Type::Span | Type::Any, value) => Ok(value),
    }
}

fn wrong(value: &Value, wanted: &str, path: &str) -> Refusal {
    Refusal::new(format!("`{path}` must be {wanted}, not {}", value.kind())).field(path)
}

fn text(value: Value, path: &str) -> Result<Value, Refusal> {
    match value {
        Value::Text(text) => Ok(Value::Text(text)),
        Value::Int(n) => Ok(Value::Text(n.to_string())),
        other => Err(wrong(&other, "text", path)),
    }
}

fn number(value: Value, path: &str) -> Result<Value, Refusal> {
    match value {
        Value::Int(n) if Dec::from_int(n).is_some() => Ok(Value::Int(n)),
        Value::Int(n) => Err(Refusal::new(format!("`{path}` is out of range: {n}")).field(path)),
        Value::Dec(d) => Ok(Value::Dec(d)),
        Value::Text(text) => match Value::number(text.trim()) {
            Ok(value) => number(value, path),
            Err(error) => Err(Refusal::new(format!("`{path}`: {error}")).field(path).hint("write 12.50 or \"12.50\"")),
        },
        other => Err(wrong(&other, "a number", path)),
    }
}

fn boolean(value: Value, path: &str) -> Result<Value, Refusal> {
    match value {
        Value::Bool(b) => Ok(Value::Bool(b)),
        other => Err(wrong(&other, "true or false", path)),
    }
}

/// An instant (RFC 3339), or a calendar date, which is its first moment in `zone`.
fn time(value: Value, path: &str, zone: Zone) -> Result<Value, Refusal> {
    let Value::Text(text) = &value else { return Err(wrong(&value, "a time", path)) };
    read_time(text, zone).map(Value::Time).ok_or_else(|| no_time(text, path))
}

/// Reads RFC 3339, or a calendar date as its first moment in `zone`.
pub fn read_time(text: &str, zone: Zone) -> Option<Time> {
    let first = |date: NaiveDate| instant(zone, date.and_time(NaiveTime::MIN));
    // East of Greenwich the year 1900 begins before what can be written.
    Time::parse(text).or_else(|| parse_date(text).map(first).filter(|time| (TIME_MIN..=TIME_MAX).contains(time)))
}

/// The refusal of a text that is no time.
pub fn no_time(text: &str, path: &str) -> Refusal {
    let shown: String = text.chars().take(40).collect();
    Refusal::new(format!("`{path}`: `{shown}` is not a time between the years 1900 and 2999"))
        .field(path)
        .hint("write it like 2027-02-14T09:00:00Z (RFC 3339)")
}

fn items(value: Value, path: &str, zone: Zone) -> Result<Value, Refusal> {
    let Value::List(list) = value else { return Err(wrong(&value, "a list of items", path)) };
    let fitted = list.into_iter().enumerate().map(|(i, item)| {
        let path = format!("{path}[{i}]");
        let Value::Map(mut fields) = item else {
            return Err(wrong(&item, "a map with sku, category, quantity and amount", &path));
        };
        for (name, wanted) in item_fields() {
            fit_in_place(&mut fields, name, *wanted, &format!("{path}.{name}"), zone)?;
        }
        Ok(Value::Map(fields))
    });
    Ok(Value::List(fitted.collect::<Result<_, _>>()?))
}

/// Makes one field of a map fit, if it is there; a null is taken away.
///
/// # Errors
/// When it has no meaning as that type.
pub fn fit_in_place(fields: &mut Fields, name: &str, wanted: WordType, path: &str, zone: Zone) -> Result<(), Refusal> {
    let Some(slot) = fields.get_mut(name) else { return Ok(()) };
    match std::mem::take(slot) {
        Value::Null => {
            fields.remove(name);
        }
        value => *slot = word(value, wanted, path, zone)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: Zone = chrono_tz::UTC;

    #[test]
    fn what_has_one_meaning_is_taken_in_it() {
        assert_eq!(word(Value::Int(1001), WordType::Text, "order_id", UTC), Ok(Value::from("1001")));
        assert_eq!(word(Value::from("12.50"), WordType::Money, "amount", UTC), Ok(Value::number("12.5").unwrap()));
        let berlin = chrono_tz::Europe::Berlin;
        assert_eq!(
            word(Value::from("2027-03-01"), WordType::Time, "ends", berlin),
            Ok(Value::Time(Time::parse("2027-02-28T23:00:00Z").unwrap()))
        );
        assert_eq!(read_time("1900-01-01", UTC), Some(TIME_MIN));
        assert_eq!(read_time("1900-01-01", berlin), None, "it would be an instant of the year 1899");
        let items =
            Value::List(vec![Value::Map([("sku".to_owned(), Value::Int(5)), ("amount".to_owned(), Value::from("1.5"))].into())]);
        let fitted = word(items, WordType::Items, "items", UTC).unwrap();
        assert_eq!(fitted.to_string(), r#"[{amount: 1.5, sku: "5"}]"#);
    }

    #[test]
    fn what_has_none_is_refused_with_its_path() {
        let items = Value::List(vec![Value::Map([("quantity".to_owned(), Value::from("two"))].into())]);
        assert_eq!(word(items, WordType::Items, "items", UTC).unwrap_err().field.as_deref(), Some("items[0].quantity"));
        for (value, wanted) in [
            (Value::Bool(true), WordType::Text),
            (Value::from("yes"), WordType::Bool),
            (Value::from("12,50"), WordType::Money),
            (Value::from("2027-02-30"), WordType::Time),
            (Value::Int(1), WordType::Time),
            (Value::Int(i64::MAX), WordType::Number),
            (Value::from("x"), WordType::Items),
        ] {
            assert!(word(value.clone(), wanted, "p", UTC).is_err(), "{value}");
        }
    }

    #[test]
    fn declared_types_reach_into_lists_and_maps() {
        let wanted = Type::List(Box::new(Type::Object(vec![("seats".to_owned(), Type::Number)])));
        let sent =
            |seats: Value| Value::List(vec![Value::Map([("seats".to_owned(), seats), ("x".to_owned(), Value::Null)].into())]);
        assert_eq!(declared(sent(Value::from("2")), &wanted, "p", UTC), Ok(sent(Value::Int(2))));
        assert_eq!(declared(sent(Value::Bool(true)), &wanted, "p", UTC).unwrap_err().field.as_deref(), Some("p[0].seats"));
    }
}
