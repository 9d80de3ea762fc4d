//! One event as JSON: `{"id", "event", "customer", "time"?, "properties"?}`.
//!
//! Everything about it is checked here, so that a turn only ever sees events that make sense: names,
//! ids, the time, the types of known properties, and money, which leaves in minor units.

use super::names::{is_event_name, nothing_else, take_id, take_text};
use super::{Refusal, digest, fit, json};
use crate::event::words::{PURCHASE, REFUND, word};
use crate::event::{Event, FUTURE_MS_MAX};
use crate::funnel::settings::Settings;
use crate::lang::cel::Type;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::money::{Currency, Dec};

/// Largest event, in bytes of its compact form. A customer's document holds at most 64 KiB in all.
pub const EVENT_BYTES_MAX: usize = 32 * 1024;

const FIELDS: &[&str] = &["id", "event", "customer", "time", "properties"];

/// Events that only the engine itself reports. Names that begin with `bonus_` belong to it, too.
const OWN: &[&str] = &["message_sent", "offer_shown", "offer_expired", "tier_changed"];

/// A checked event, its customer, and the digest of what was sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Sent {
    /// Whose.
    pub customer: String,
    /// The event.
    pub event: Event,
    /// Digest of what was sent, blanks and order of fields aside.
    pub digest: u32,
    /// Whether the sender named the time.
    pub timed: bool,
}

/// Checks an event as it was sent.
///
/// # Errors
/// One sentence with the field that is wrong.
pub fn read(sent: Value, settings: &Settings, now: Time) -> Result<Sent, Refusal> {
    let (digest, size) = digest::of_value(&sent);
    bounded(size)?;
    let mut fields = json::into_map(sent)?;
    let name = take_text(&mut fields, "event")?
        .ok_or_else(|| Refusal::new("`event` is missing").field("event").hint("name what happened: purchase, signed_up …"))?;
    check_name(&name)?;
    let id =
        take_id(&mut fields, "id", "event's id", "give every event an id of its own, so that sending it again does no harm")?;
    let customer = take_id(&mut fields, "customer", "customer's id", "say to whom it happened, with your id for that customer")?;
    let time = take_time(&mut fields, now)?;
    let properties = match fields.remove("properties") {
        None | Some(Value::Null) => Fields::new(),
        Some(Value::Map(properties)) => properties,
        Some(other) => return Err(Refusal::new(format!("`properties` must be a map, not {}", other.kind())).field("properties")),
    };
    nothing_else(&fields, FIELDS).map_err(|refusal| match refusal.hint {
        Some(_) => refusal,
        None => refusal.hint("what belongs to the event itself goes into `properties`"),
    })?;
    let (properties, minor) = check_properties(&name, properties, settings)?;
    let event = Event { id, name, time: time.unwrap_or(now), properties, minor, depth: 0 };
    Ok(Sent { customer, event, digest, timed: time.is_some() })
}

fn bounded(size: usize) -> Result<(), Refusal> {
    if size > EVENT_BYTES_MAX {
        return Err(Refusal::new(format!("the event is larger than {EVENT_BYTES_MAX} bytes"))
            .hint("send only the properties that funnels read"));
    }
    Ok(())
}

/// Whether properties are small enough.
///
/// # Errors
/// When they are larger than [`EVENT_BYTES_MAX`].
pub fn check_size(properties: &Fields) -> Result<(), Refusal> {
    bounded(digest::size_of_fields(properties))
}

/// Whether an event of that name may come from outside.
///
/// # Errors
/// When it is no event name, or belongs to the engine.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let shown: String = name.chars().take(80).collect();
    if !is_event_name(name) {
        return Err(Refusal::new(format!("`{shown}` is not an event name"))
            .field("event")
            .hint("use small letters, digits, `_` and `.`, beginning with a letter, at most 64 of them"));
    }
    if OWN.contains(&name) || name.starts_with("bonus_") {
        return Err(Refusal::new(format!("`{shown}` is reported by the engine itself and cannot be sent"))
            .field("event")
            .hint("if you mean something of your own, give it another name"));
    }
    Ok(())
}

/// The event's time; a little in the future counts as now.
fn take_time(fields: &mut Fields, now: Time) -> Result<Option<Time>, Refusal> {
    let text = match fields.remove("time") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Text(text)) => text,
        Some(other) => {
            return Err(
                Refusal::new(format!("`time` must be text such as 2027-02-14T09:00:00Z, not {}", other.kind())).field("time")
            );
        }
    };
    let time = Time::parse(&text).ok_or_else(|| fit::no_time(&text, "time"))?;
    not_later(time, now).map(Some)
}

/// A time that is not in the future; a little of it counts as now.
///
/// # Errors
/// When it is further away than [`FUTURE_MS_MAX`].
pub fn not_later(time: Time, now: Time) -> Result<Time, Refusal> {
    if time.since_ms(now) > FUTURE_MS_MAX {
        return Err(Refusal::new(format!("`time` is in the future: {time}, and it is now {now}"))
            .field("time")
            .hint("send events when they have happened; check the sender's clock"));
    }
    Ok(time.min(now))
}

/// Makes properties fit what is declared, and reads the money.
///
/// # Errors
/// When a known property has no meaning as its type.
pub fn check_properties(name: &str, mut properties: Fields, settings: &Settings) -> Result<(Fields, Option<i64>), Refusal> {
    properties.retain(|_, value| *value != Value::Null);
    if let Some(property) = properties.keys().find(|key| key.is_empty() || key.len() > crate::event::NAME_BYTES_MAX) {
        let shown: String = property.chars().take(40).collect();
        return Err(Refusal::new(format!("the name of a property must have 1 to 128 bytes: `{shown}`")).field("properties"));
    }
    if let Some(word) = word(name) {
        for (property, wanted) in word.properties {
            fit::fit_in_place(&mut properties, property, *wanted, &format!("properties.{property}"), settings.zone)?;
        }
    }
    if let Some(Type::Object(declared)) = settings.events.get(name) {
        for (property, wanted) in declared {
            if let Some(value) = properties.remove(property) {
                let value = fit::declared(value, wanted, &format!("properties.{property}"), settings.zone)?;
                properties.insert(property.clone(), value);
            }
        }
    }
    let minor = if matches!(name, PURCHASE | REFUND) { money(&properties, settings.currency)? } else { None };
    Ok((properties, minor))
}

/// The amount in minor units of the workspace currency. An amount in another currency is checked and
/// counts only through `amount_base`.
fn money(properties: &Fields, own: Currency) -> Result<Option<i64>, Refusal> {
    let currency = match properties.get("currency").and_then(Value::as_text) {
        None => own,
        Some(code) => Currency::parse(code).ok_or_else(|| {
            let shown: String = code.chars().take(20).collect();
            Refusal::new(format!("`properties.currency`: `{shown}` is not a currency"))
                .field("properties.currency")
                .hint("write the three capital letters of ISO 4217: EUR, USD, JPY")
        })?,
    };
    let amount = minor(properties, "amount", currency)?;
    let base = minor(properties, "amount_base", own)?;
    Ok(if currency == own { amount.or(base) } else { base })
}

fn minor(properties: &Fields, name: &str, currency: Currency) -> Result<Option<i64>, Refusal> {
    let Some(amount) = properties.get(name).and_then(Value::as_dec) else { return Ok(None) };
    let path = format!("properties.{name}");
    if amount < Dec(0) {
        return Err(Refusal::new(format!("`{path}` must not be negative: {amount}"))
            .field(path)
            .hint("money given back is an event of its own: refund, with a positive amount"));
    }
    currency.minor(amount).map(Some).map_err(|error| Refusal::new(format!("`{path}`: {error}")).field(path))
}

#[cfg(test)]
mod tests {
    use super::super::fake::settings;
    use super::*;

    fn now() -> Time {
        Time::parse("2027-03-01T10:00:00Z").unwrap()
    }

    fn send(text: &str) -> Result<Sent, Refusal> {
        read(json::read(text.as_bytes())?, &settings(), now())
    }

    fn event(rest: &str) -> String {
        format!(r#"{{"id":"e1","event":"purchase","customer":"c1"{rest}}}"#)
    }

    #[test]
    fn an_event_becomes_exact_data() {
        let sent =
            send(&event(r#","time":"2027-03-01T09:00:00+01:00","properties":{"order_id":1001,"amount":"42.50","x":null}"#))
                .unwrap();
        assert_eq!(sent.customer, "c1");
        assert_eq!(sent.event.time, Time::parse("2027-03-01T08:00:00Z").unwrap());
        assert_eq!(sent.event.minor, Some(4250));
        assert_eq!(sent.event.property("order_id"), Some(&Value::from("1001")));
        assert_eq!(sent.event.property("amount"), Some(&Value::number("42.5").unwrap()));
        assert_eq!(sent.event.property("x"), None);
    }

    #[test]
    fn a_missing_time_is_now_and_the_near_future_counts_as_now() {
        assert_eq!(send(&event("")).unwrap().event.time, now());
        assert_eq!(send(&event(r#","time":"2027-03-01T10:05:00Z""#)).unwrap().event.time, now());
        assert!(send(&event(r#","time":"2027-03-01T10:05:01Z""#)).unwrap_err().error.contains("future"));
    }

    #[test]
    fn impossible_times_are_refused() {
        for time in [
            r#""9999-01-01T00:00:00Z""#,
            "-1",
            r#""2027-02-30T00:00:00Z""#,
            r#""2027-01-01T24:00:60Z""#,
            r#""2027-01-01""#,
            r#""""#,
            "{}",
        ] {
            let refusal = send(&event(&format!(r#","time":{time}"#))).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some("time"), "{time}");
        }
    }

    #[test]
    fn money_is_counted_in_minor_units_of_the_own_currency() {
        let minor = |properties: &str| send(&event(&format!(r#","properties":{{{properties}}}"#))).map(|sent| sent.event.minor);
        assert_eq!(minor(r#""amount":10.5"#), Ok(Some(1050)));
        assert_eq!(minor(r#""amount":10.5,"currency":"EUR""#), Ok(Some(1050)));
        assert_eq!(minor(r#""amount":500,"currency":"JPY""#), Ok(None));
        assert_eq!(minor(r#""amount":500,"currency":"JPY","amount_base":"3.1""#), Ok(Some(310)));
        assert_eq!(minor(""), Ok(None));
        assert_eq!(minor(r#""amount":0"#), Ok(Some(0)));
        for bad in [
            r#""amount":-1"#,
            r#""amount":"-0.01""#,
            r#""amount":1.005"#,
            r#""amount":"NaN""#,
            r#""amount":1e308"#,
            r#""amount":true"#,
            r#""amount":1,"currency":"eur""#,
            r#""amount":0.5,"currency":"JPY""#,
        ] {
            assert!(minor(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_the_engine_and_odd_fields_are_refused() {
        for name in ["message_sent", "bonus_granted", "tier_changed", "offer_shown", "Purchase", "a b"] {
            assert_eq!(
                send(&format!(r#"{{"id":"1","event":"{name}","customer":"c"}}"#)).unwrap_err().field.as_deref(),
                Some("event"),
                "{name}"
            );
        }
        for name in ["membership_renewed", "offer_used", "message_bounced", "anything.else"] {
            assert!(send(&format!(r#"{{"id":"1","event":"{name}","customer":"c"}}"#)).is_ok(), "{name}");
        }
        assert_eq!(send(&event(r#","propertis":{}"#)).unwrap_err().hint.as_deref(), Some("did you mean `properties`?"));
        for missing in [
            r#"{"event":"x","customer":"c"}"#,
            r#"{"id":"1","customer":"c"}"#,
            r#"{"id":"1","event":"x"}"#,
            r#"{"id":"","event":"x","customer":"c"}"#,
            r#"[]"#,
        ] {
            assert!(send(missing).is_err(), "{missing}");
        }
    }

    #[test]
    fn the_digest_minds_content_and_not_layout() {
        let one = send(r#"{"id":"1","event":"x","customer":"c","properties":{"a":1,"b":"2"}}"#).unwrap().digest;
        let two = send(r#" { "customer":"c", "properties":{"b":"2", "a":1.0}, "event":"x","id":"1"}"#).unwrap().digest;
        let other = send(r#"{"id":"1","event":"x","customer":"c","properties":{"a":1,"b":2}}"#).unwrap().digest;
        assert_eq!(one, two);
        assert_ne!(one, other);
    }

    #[test]
    fn declared_events_have_typed_properties_and_large_ones_are_refused() {
        let booked = |properties: &str| {
            send(&format!(r#"{{"id":"1","event":"tasting_booked","customer":"c","properties":{{{properties}}}}}"#))
        };
        assert_eq!(booked(r#""seats":"2","city":"Kiel""#).unwrap().event.property("seats"), Some(&Value::Int(2)));
        assert_eq!(booked(r#""seats":"two""#).unwrap_err().field.as_deref(), Some("properties.seats"));
        assert!(booked(&format!(r#""city":"{}""#, "x".repeat(EVENT_BYTES_MAX))).unwrap_err().error.contains("larger"));
    }
}
