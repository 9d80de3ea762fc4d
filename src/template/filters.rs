//! The filters that messages need beyond the engine's own: money, points, dates, links, JSON.

use crate::lang::time::{Time, Zone, parse_date};
use crate::money::{Currency, DEC_SCALE_DIGITS, Dec};
use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use std::fmt::Write;

/// Format of `date` when none is given: 3 April 2027.
const DATE_FORMAT: &str = "%-d %B %Y";
/// Longest format of `date`, in bytes.
const DATE_FORMAT_BYTES_MAX: usize = 100;

/// Adds the filters to an environment.
pub(super) fn add(environment: &mut Environment<'static>, currency: Currency, zone: Zone) {
    environment.add_filter("money", move |value: &Value| money(currency, value));
    environment.add_filter("points", points);
    environment.add_filter("date", move |state: &State, value: &Value, format: Option<String>| date(state, zone, value, format));
    environment.add_filter("url", url);
    environment.add_filter("json", json);
    environment.add_filter("urlencode", |value: &Value| {
        printable(value, "urlencode").map(|text| Value::from_safe_string(percent_encode(&text)))
    });
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_test("defined", |value: &Value| !super::engine::is_missing(value));
    environment.add_test("undefined", |value: &Value| super::engine::is_missing(value));
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn default(value: &Value, other: Rest<Value>) -> Value {
    if super::engine::is_missing(value) { other.first().cloned().unwrap_or_else(|| Value::from("")) } else { value.clone() }
}

/// The text of something that can be printed.
fn printable(value: &Value, filter: &str) -> Result<String, Error> {
    if super::engine::is_missing(value) {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            Err(wrong(format!("`{filter}` takes a text or number, not a list")))
        }
        _ => Ok(value.to_string()),
    }
}

fn decimal(value: &Value, filter: &str) -> Result<Dec, Error> {
    let text = printable(value, filter)?;
    Dec::parse(&text).map_err(|why| wrong(format!("`{filter}` takes a number: {why}")))
}

/// Major units as people read them: 12.5 is `12.50 EUR`; rounded half away from zero to minor units.
fn money(currency: Currency, value: &Value) -> Result<String, Error> {
    show_money(currency, decimal(value, "money")?).ok_or_else(|| wrong("the amount is out of range"))
}

/// `None`: it is out of range.
pub(super) fn show_money(currency: Currency, amount: Dec) -> Option<String> {
    let amount = i128::from(amount.0);
    let unit = 10i128.pow(DEC_SCALE_DIGITS.saturating_sub(currency.digits()));
    let minor = (amount + amount.signum() * (unit / 2)) / unit;
    i64::try_from(minor).ok().map(|minor| currency.show(minor))
}

/// Whole points with thousands separated: `1,250`.
fn points(value: &Value) -> Result<String, Error> {
    let number = decimal(value, "points")?;
    show_points(number).ok_or_else(|| wrong(format!("`points` takes a whole number, not {number}")))
}

/// `None`: it is no whole number.
pub(super) fn show_points(number: Dec) -> Option<String> {
    let whole = number.as_int()?;
    let digits = whole.unsigned_abs().to_string();
    let mut out = String::from(if whole < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    Some(out)
}

/// A date in the customer's zone, or a calendar date as it is.
fn date(state: &State, fallback: Zone, value: &Value, format: Option<String>) -> Result<String, Error> {
    let text = printable(value, "date")?;
    let format = format.as_deref().unwrap_or(DATE_FORMAT);
    if format.len() > DATE_FORMAT_BYTES_MAX {
        return Err(wrong(format!("the format of `date` is longer than {DATE_FORMAT_BYTES_MAX} bytes")));
    }
    let mut out = String::new();
    let written = if let Some(day) = parse_date(&text) {
        write!(out, "{}", day.format(format))
    } else {
        let time = Time::parse(&text).ok_or_else(|| wrong(format!("`date` takes a time or date, not `{}`", clip(&text))))?;
        write!(out, "{}", time.local(zone(state).unwrap_or(fallback)).format(format))
    };
    written
        .map(|()| out)
        .map_err(|_| wrong(format!("`{}` is no date format for this value; write for example `{DATE_FORMAT}`", clip(format))))
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

/// `_zone`, else `customer.zone`.
fn zone(state: &State) -> Option<Zone> {
    let given = state.lookup("_zone").filter(|zone| !zone.is_undefined());
    let zone = given.or_else(|| state.lookup("customer").and_then(|customer| customer.get_attr("zone").ok()))?;
    zone.as_str()?.parse().ok()
}

/// A link that only leads to a web page or a mail address.
fn url(value: &Value) -> Result<String, Error> {
    let text = printable(value, "url")?;
    let link = text.trim();
    let lower: String = link.chars().take(8).collect::<String>().to_ascii_lowercase();
    let known = ["https://", "http://", "mailto:"].iter().any(|scheme| lower.starts_with(scheme));
    if !known || link.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(wrong(format!("`{}` is no http, https or mailto link", clip(link))));
    }
    Ok(link.to_owned())
}

/// A JSON literal.
fn json(value: &Value) -> Result<String, Error> {
    if super::engine::is_missing(value) && !value.is_none() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    super::engine::to_json(value).map(|json| json.to_string())
}

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3).
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let hex = |n: u8| char::from(b"0123456789ABCDEF"[usize::from(n & 15)]);
                out.extend(['%', hex(byte >> 4), hex(byte)]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur() -> Currency {
        Currency::parse("EUR").unwrap()
    }

    #[test]
    fn money_is_exact_and_rounds_half_away_from_zero() {
        assert_eq!(money(eur(), &Value::from(12)).unwrap(), "12.00 EUR");
        assert_eq!(money(eur(), &Value::from("12.5")).unwrap(), "12.50 EUR");
        assert_eq!(money(eur(), &Value::from("-0.125")).unwrap(), "-0.13 EUR");
        assert!(money(eur(), &Value::from("many")).is_err());
        assert!(money(eur(), &Value::UNDEFINED).is_err());
    }

    #[test]
    fn points_are_grouped() {
        for (n, shown) in [(0, "0"), (999, "999"), (1_250, "1,250"), (-1_000_000, "-1,000,000")] {
            assert_eq!(points(&Value::from(n)).unwrap(), shown);
        }
        assert!(points(&Value::from("1.5")).is_err());
    }

    #[test]
    fn links_lead_only_to_pages_and_mail() {
        for link in ["https://x.example/a?b=1", "HTTP://x", "mailto:a@b.example"] {
            assert!(url(&Value::from(link)).is_ok(), "{link}");
        }
        for link in ["javascript:alert(1)", " java\nscript:x", "data:text/html,x", "//x", "", "https://a b"] {
            assert!(url(&Value::from(link)).is_err(), "{link}");
        }
    }

    #[test]
    fn all_but_unreserved_characters_are_encoded() {
        assert_eq!(percent_encode("a b/ä~"), "a%20b%2F%C3%A4~");
    }
}
