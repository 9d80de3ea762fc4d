//! Values, events and profile fields of a test, taken as the doors take them.
//!
//! A door turns what a sender wrote into the declared types and money into minor units, so that a turn sees
//! exact data. A test goes past the doors; so that both mean the same, the same rules are applied here, with
//! faults in the test's file instead of answers.

use crate::event::words::{self, Word, WordType};
use crate::event::{Event, NAME_BYTES_MAX};
use crate::funnel::Workspace;
use crate::funnel::settings::BUILT_IN_PROFILE;
use crate::lang::cel::Type;
use crate::lang::diag::{Faults, Place, closest};
use crate::lang::node::{Key, Node};
use crate::lang::shape;
use crate::lang::time::{TIME_MAX, TIME_MIN, Time, Zone, instant, parse_date};
use crate::lang::value::{Fields, Value};
use crate::money::{Currency, Dec};
use chrono::{NaiveDate, NaiveTime};

/// Events that only the engine itself reports, beside those that begin with `bonus_`.
const OWN: &[&str] = &["message_sent", "offer_shown", "offer_expired", "tier_changed"];

/// The type that a word's property is fitted to.
fn of_word(word: WordType) -> Type {
    match word {
        WordType::Text => Type::Text,
        WordType::Number | WordType::Money => Type::Number,
        WordType::Time => Type::Time,
        WordType::Bool => Type::Bool,
        WordType::Items => {
            let fields = words::item_fields().iter().map(|(name, word)| ((*name).to_owned(), of_word(*word)));
            Type::List(Box::new(Type::Object(fields.collect())))
        }
    }
}

/// Makes a value fit a declared type; what has no meaning as it is a fault.
fn fit(value: Value, wanted: &Type, name: &str, place: &Place, zone: Zone, faults: &mut Faults) -> Option<Value> {
    let fitted = match (wanted, value) {
        (_, Value::Null) => Ok(Value::Null),
        (Type::Any | Type::Span, value) => Ok(value),
        (Type::Bool, Value::Bool(yes)) => Ok(Value::Bool(yes)),
        (Type::Number, value @ (Value::Int(_) | Value::Dec(_))) => Ok(value),
        (Type::Number, Value::Text(text)) => Value::number(text.trim()).map_err(|_| Value::Text(text)),
        (Type::Text, Value::Int(n)) => Ok(Value::Text(n.to_string())),
        (Type::Text, value @ Value::Text(_)) => Ok(value),
        (Type::Time, Value::Text(text)) => match time(&text, zone) {
            Some(time) => Ok(Value::Time(time)),
            None => Err(Value::Text(text)),
        },
        (Type::List(item), Value::List(values)) => {
            let fitted: Vec<_> = values.into_iter().map(|value| fit(value, item, name, place, zone, faults)).collect();
            return fitted.into_iter().collect::<Option<Vec<_>>>().map(Value::List);
        }
        (Type::Object(known), Value::Map(fields)) => {
            let mut out = Fields::new();
            for (field, value) in fields {
                let wanted = known.iter().find(|(known, _)| *known == field).map_or(&Type::Any, |(_, wanted)| wanted);
                out.insert(field.clone(), fit(value, wanted, &format!("{name}.{field}"), place, zone, faults)?);
            }
            out.retain(|_, value| *value != Value::Null);
            Ok(Value::Map(out))
        }
        (_, value) => Err(value),
    };
    match fitted {
        Ok(value) => Some(value),
        Err(found) => {
            faults.error("wrong-type", place, format!("`{name}` must be {}, but here stands {found}", kind(wanted)));
            None
        }
    }
}

fn kind(wanted: &Type) -> &'static str {
    match wanted {
        Type::Bool => "true or false",
        Type::Number => "a number",
        Type::Text => "text",
        Type::Time => "a time such as 2027-03-01T09:00:00Z or a date",
        Type::List(_) => "a list",
        Type::Object(_) => "a map",
        Type::Span | Type::Any => "a value",
    }
}

/// RFC 3339, or a date as its first moment in `zone`.
fn time(text: &str, zone: Zone) -> Option<Time> {
    let first = |date: NaiveDate| instant(zone, date.and_time(NaiveTime::MIN));
    Time::parse(text).or_else(|| parse_date(text).map(first).filter(|time| (TIME_MIN..=TIME_MAX).contains(time)))
}

/// An event of a test: its name and its properties (the entries that are left).
pub(super) fn event(
    name: &Node,
    properties: &[(&Key, &Node)],
    id: String,
    time: Time,
    workspace: &Workspace,
    faults: &mut Faults,
) -> Option<Event> {
    let name_text = shape::name(name, faults)?;
    check_name(&name_text.text, &name_text.place, workspace, faults)?;
    let word = words::word(&name_text.text);
    let errors = faults.error_count();
    let mut out = Fields::new();
    for (key, node) in properties {
        if key.text.is_empty() || key.text.len() > NAME_BYTES_MAX {
            faults.error("bad-name", &key.place, format!("the name of a property must have 1 to {NAME_BYTES_MAX} bytes"));
            continue;
        }
        let wanted = declared(&name_text.text, word, &key.text, workspace);
        if wanted.is_none() {
            misspelled(key, &name_text.text, word, faults);
        }
        let Some(value) = shape::data(node, faults) else { continue };
        let wanted = wanted.unwrap_or(Type::Any);
        if let Some(value) = fit(value, &wanted, &key.text, &node.place, workspace.settings.zone, faults)
            && value != Value::Null
        {
            out.insert(key.text.clone(), value);
        }
    }
    let minor = match words::money_sign(&name_text.text) {
        Some(_) => money(&out, workspace.settings.currency, &name.place, faults),
        None => None,
    };
    (faults.error_count() == errors).then_some(Event { id, name: name_text.text, time, properties: out, minor, depth: 0 })
}

fn check_name(name: &str, place: &Place, workspace: &Workspace, faults: &mut Faults) -> Option<()> {
    if OWN.contains(&name) || name.starts_with("bonus_") {
        faults
            .error("own-event", place, format!("`{name}` is reported by the engine itself"))
            .hint("it happens by itself in a test, too; remove the line");
        return None;
    }
    let declared = workspace.settings.events.keys().chain(workspace.by_event.keys()).map(String::as_str);
    let known: Vec<&str> = words::WORDS.iter().map(|word| word.name).chain(declared).collect();
    if !known.contains(&name)
        && let Some(meant) = closest(name, known)
    {
        faults
            .warning("unknown-event", place, format!("no funnel and no setting names the event `{name}`"))
            .hint(format!("did you mean `{meant}`?"));
    }
    Some(())
}

/// The declared type of a property: of a well-known event, else of the settings.
fn declared(event: &str, word: Option<&Word>, property: &str, workspace: &Workspace) -> Option<Type> {
    let of_settings = match workspace.settings.events.get(event) {
        Some(Type::Object(fields)) => fields.iter().find(|(name, _)| name == property).map(|(_, wanted)| wanted.clone()),
        _ => None,
    };
    let of_words = || word?.properties.iter().find(|(name, _)| *name == property).map(|(_, wanted)| of_word(*wanted));
    of_settings.or_else(of_words)
}

/// A property beside the known ones may be meant; one that is nearly a known one rarely is.
fn misspelled(key: &Key, event: &str, word: Option<&Word>, faults: &mut Faults) {
    let known = word.map(|word| word.properties).unwrap_or_default().iter().map(|(name, _)| *name);
    if let Some(meant) = closest(&key.text, known) {
        faults
            .warning("unknown-property", &key.place, format!("`{}` is no property of `{event}`", key.text))
            .hint(format!("did you mean `{meant}`?"));
    }
}

/// The amount in minor units of the workspace currency; one in another currency counts by `amount_base`.
fn money(properties: &Fields, own: Currency, place: &Place, faults: &mut Faults) -> Option<i64> {
    let currency = match properties.get("currency").and_then(Value::as_text) {
        None => own,
        Some(code) => match Currency::parse(code) {
            Some(currency) => currency,
            None => {
                faults
                    .error("bad-currency", place, "`currency` is not a currency")
                    .hint("write the three capital letters of ISO 4217: EUR, USD, JPY");
                return None;
            }
        },
    };
    let mut minor = |name: &str, currency: Currency| {
        let amount = properties.get(name).and_then(Value::as_dec)?;
        if amount < Dec(0) {
            faults
                .error("bad-amount", place, format!("`{name}` must not be negative: {amount}"))
                .hint("money given back is an event of its own: refund, with a positive amount");
            return None;
        }
        match currency.minor(amount) {
            Ok(minor) => Some(minor),
            Err(why) => {
                faults.error("bad-amount", place, format!("`{name}`: {why}"));
                None
            }
        }
    };
    let (amount, base) = (minor("amount", currency), minor("amount_base", own));
    if currency == own { amount.or(base) } else { base }
}

/// Profile fields with the types that they are declared with.
pub(super) fn profile<'a>(
    entries: impl IntoIterator<Item = (&'a Key, &'a Node)>,
    workspace: &Workspace,
    faults: &mut Faults,
) -> Fields {
    let mut out = Fields::new();
    for (key, node) in entries {
        let declared = workspace.settings.profile.get(&key.text);
        if declared.is_none() && !BUILT_IN_PROFILE.contains(&key.text.as_str()) {
            let known = BUILT_IN_PROFILE.iter().copied().chain(workspace.settings.profile.keys().map(String::as_str));
            faults
                .error("unknown-field", &key.place, format!("`{}` is not a profile field", key.text))
                .did_you_mean(&key.text, known);
            continue;
        }
        if key.text == "zone" && !node.is_null() && shape::zone(node, faults).is_none() {
            continue;
        }
        let Some(value) = shape::data(node, faults) else { continue };
        let text = Type::Text;
        let wanted = declared.unwrap_or(&text);
        // A calendar day stays the day that it is: date triggers read it in her zone.
        let is_day = *wanted == Type::Time && value.as_text().is_some_and(|text| parse_date(text).is_some());
        let birthday = key.text == "birthday" && value.as_text().is_some_and(|text| parse_date(text).is_none());
        if birthday {
            faults
                .error("bad-date", &node.place, format!("{value} is not a day of the calendar"))
                .hint("write it like 1990-02-28");
            continue;
        }
        let wanted = if is_day { &Type::Any } else { wanted };
        if let Some(value) = fit(value, wanted, &key.text, &node.place, workspace.settings.zone, faults) {
            out.insert(key.text.clone(), value);
        }
    }
    out
}
