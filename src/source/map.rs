//! From a delivery to events.

use super::{ID_BYTES_MAX, MappedEvent};
use crate::event::address::{Address, field_of};
use crate::lang::cel::{Aggregate, Care, Cond, Expr, Schema, Scope, Type};
use crate::lang::time::{SECOND_MS, TIME_MAX, TIME_MIN, Time, Zone};
use crate::lang::value::{Fields, Value};

/// Numbers from here on are milliseconds since 1970, below they are seconds (the year 5138).
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// An entry of the map.
#[derive(Debug)]
pub(super) struct Mapping {
    pub when: Option<Cond>,
    pub event: Name,
    pub id: Expr,
    pub customer: Option<Expr>,
    pub effect: Option<Expr>,
    pub message: Option<Expr>,
    pub provider: String,
    pub address: Option<Expr>,
    pub channel: Option<String>,
    pub time: Option<Expr>,
    pub properties: Vec<(String, Expr)>,
}

/// The name of an entry's event.
#[derive(Debug)]
pub(super) enum Name {
    Fixed(String),
    Expr(Expr),
}

impl Mapping {
    pub fn fixed_name(&self) -> Option<&str> {
        match &self.event {
            Name::Fixed(name) => Some(name),
            Name::Expr(_) => None,
        }
    }

    /// The event, if this entry applies.
    pub fn event(&self, scope: &Delivery<'_>) -> Result<Option<MappedEvent>, String> {
        if self.when.as_ref().is_some_and(|when| when.judge(scope).value != Some(true)) {
            return Ok(None);
        }
        let name = match &self.event {
            Name::Fixed(name) => name.clone(),
            Name::Expr(expr) => {
                let name = id("event", expr, scope)?;
                if !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
                    return Err(format!("`event` gives `{name}`, which is no name: letters, digits, `_`, `-` and `.` only"));
                }
                name
            }
        };
        let mut properties = Fields::new();
        let mut left_out = Vec::new();
        for (name, expr) in &self.properties {
            match expr.eval(scope).0 {
                Ok(value) => {
                    properties.insert(name.clone(), value);
                }
                Err(why) => left_out.push(format!("{name}: {why}")),
            }
        }
        let time = self.time.as_ref().map(|expr| time(expr, scope)).transpose()?;
        let id = id("id", &self.id, scope)?;
        let mut event = self.whose(scope)?;
        (event.id, event.name, event.time) = (id, name, time);
        (event.properties, event.left_out) = (properties, left_out);
        Ok(Some(event))
    }

    /// Whether it names messages by the provider's own ids.
    pub fn names_messages(&self) -> bool {
        self.message.is_some()
    }

    /// Whom it is about. A customer must be found where nothing else is said; of several ways one is enough.
    fn whose(&self, scope: &Delivery<'_>) -> Result<MappedEvent, String> {
        let found = |what: &str, expr: &Option<Expr>| expr.as_ref().map(|expr| id(what, expr, scope));
        let (customer, effect) = (found("customer", &self.customer), found("effect", &self.effect));
        let message = found("message", &self.message);
        let address = self.address.as_ref().map(|expr| address(expr, self.channel.as_deref(), scope));
        let failed = [customer.as_ref().and_then(|c| c.as_ref().err()), address.as_ref().and_then(|a| a.as_ref().err())];
        let why = failed.into_iter().flatten().next().cloned();
        let event = MappedEvent {
            customer: customer.and_then(Result::ok),
            effect: effect.and_then(Result::ok),
            message: message.and_then(Result::ok).map(|reference| Address::of_reference(&self.provider, &reference)),
            address: address.and_then(Result::ok),
            channel: self.channel.clone(),
            ..MappedEvent::default()
        };
        let nobody = event.customer.is_none() && event.effect.is_none() && event.message.is_none() && event.address.is_none();
        match nobody {
            true => Err(why.unwrap_or_else(|| "neither `effect` nor `message` can be found".to_owned())),
            false => Ok(event),
        }
    }
}

/// A short text or whole number that names something.
fn id(what: &str, expr: &Expr, scope: &Delivery<'_>) -> Result<String, String> {
    let value = expr.eval(scope).0.map_err(|why| format!("`{what}` cannot be found: {why}"))?;
    let text = match value {
        Value::Text(text) => text,
        Value::Int(n) => n.to_string(),
        other => return Err(format!("`{what}` gives {}, but a text or whole number is wanted", other.kind())),
    };
    if text.is_empty() || text.len() > ID_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!("`{what}` must be 1 to {ID_BYTES_MAX} bytes without control characters"));
    }
    Ok(text)
}

/// An address, as the index knows it.
fn address(expr: &Expr, channel: Option<&str>, scope: &Delivery<'_>) -> Result<Address, String> {
    let value = expr.eval(scope).0.map_err(|why| format!("`address` cannot be found: {why}"))?;
    let field = field_of(channel.unwrap_or("email"));
    let text = value.as_text().ok_or_else(|| format!("`address` gives {}, but a text is wanted", value.kind()))?;
    Address::of(field, bare(field, text)).ok_or_else(|| "`address` is empty or too long".to_owned())
}

/// Mail servers write `Ada <ada@example.com>`.
fn bare<'t>(field: &str, text: &'t str) -> &'t str {
    let within = text.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(inner, _)| inner);
    if field == "email" { within.unwrap_or(text) } else { text }
}

fn time(expr: &Expr, scope: &Delivery<'_>) -> Result<Time, String> {
    let value = expr.eval(scope).0.map_err(|why| format!("`time` cannot be found: {why}"))?;
    let found = match &value {
        Value::Time(time) => Some(*time),
        Value::Text(text) => Time::parse(text),
        Value::Int(n) if *n < MILLISECONDS_FROM => n.checked_mul(SECOND_MS).map(Time),
        Value::Int(n) => Some(Time(*n)),
        Value::Dec(seconds) => Some(Time(seconds.0 / SECOND_MS)),
        _ => None,
    };
    found
        .filter(|time| (TIME_MIN..=TIME_MAX).contains(time))
        .ok_or_else(|| format!("`time` gives {value}, but RFC 3339 or seconds since 1970 are wanted"))
}

/// A delivery as expressions see it.
pub(super) struct Delivery<'a> {
    body: &'a Value,
    headers: Value,
    now: Time,
}

impl<'a> Delivery<'a> {
    /// Headers go by their names in lower case; where one comes twice, the first counts.
    pub fn new(body: &'a Value, headers: &[(String, String)], now: Time) -> Delivery<'a> {
        let mut map = Fields::new();
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            map.entry(name.replace('-', "_")).or_insert_with(|| Value::from(value.as_str()));
            map.entry(name).or_insert_with(|| Value::from(value.as_str()));
        }
        Delivery { body, headers: Value::Map(map), now }
    }
}

impl Scope for Delivery<'_> {
    fn now(&self) -> Time {
        self.now
    }

    fn zone(&self) -> Zone {
        chrono_tz::UTC
    }

    fn field(&self, path: &[String]) -> Option<Value> {
        let (root, names) = path.split_first()?;
        let root = match root.as_str() {
            "body" => self.body,
            "headers" => &self.headers,
            _ => return None,
        };
        names.iter().try_fold(root, |value, name| value.get(name)).filter(|value| **value != Value::Null).cloned()
    }

    fn in_segment(&self, _name: &str) -> bool {
        false
    }

    fn first(&self, _event: &str) -> Option<Time> {
        None
    }

    fn last(&self, _event: &str) -> Option<Time> {
        None
    }

    fn aggregate(&self, _query: &Aggregate, _care: Care, _keep: &mut dyn FnMut(&Fields) -> bool) -> (Value, Option<Time>) {
        // The schema knows no events, so no checked expression asks.
        (Value::Int(0), None)
    }
}

/// What expressions of a map may name.
pub(super) struct Roots;

impl Schema for Roots {
    fn root(&self, name: &str) -> Option<Type> {
        matches!(name, "body" | "headers").then_some(Type::Any)
    }

    fn roots(&self) -> Vec<String> {
        vec!["body".to_owned(), "headers".to_owned()]
    }

    fn segments(&self) -> Vec<String> {
        Vec::new()
    }

    fn event(&self, _name: &str) -> Option<Type> {
        None
    }

    fn events(&self) -> Vec<String> {
        Vec::new()
    }
}
