//! Exact numbers: decimals that never pass through a float, currencies, and amounts in minor units.
//!
//! Points and money are counted in `i64` minor units with checked arithmetic. A [`Dec`] is what a
//! person or a webhook typed ("10.50"), read digit by digit. Source of the minor-unit digits: ISO 4217.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Digits kept after the decimal point of a [`Dec`].
pub const DEC_SCALE_DIGITS: u32 = 6;
const SCALE: i64 = 1_000_000;
/// Largest power of ten, either way, that is looked at; no number that fits needs as much.
const EXPONENT_MAX: u64 = 30;

/// An exact decimal number with six digits after the point; the inner value is in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Dec(pub i64);

/// Why a text is not a number this engine can hold exactly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The text is not a decimal number.
    #[error("`{0}` is not a decimal number")]
    NotANumber(String),
    /// The number does not fit.
    #[error("`{0}` is out of range (at most 9,223,372,036,854 with six decimals)")]
    OutOfRange(String),
    /// More digits after the point than can be kept.
    #[error("`{text}` has more than {digits} digits after the decimal point")]
    TooPrecise {
        /// What was typed.
        text: String,
        /// How many digits are allowed.
        digits: u32,
    },
}

impl Dec {
    /// A whole number; `None` when it does not fit.
    pub fn from_int(n: i64) -> Option<Dec> {
        n.checked_mul(SCALE).map(Dec)
    }

    /// Reads `-12.5`, `3`, `1e3` digit by digit.
    pub fn parse(text: &str) -> Result<Dec, NumberError> {
        let (mantissa, exponent) = split_exponent(text)?;
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let bad = || NumberError::NotANumber(clip(text));
        if whole.is_empty() || (digits.contains('.') && fraction.is_empty()) {
            return Err(bad());
        }
        if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let all = format!("{whole}{fraction}");
        let point = whole.len() as i64 + exponent;
        scaled(all.trim_end_matches('0'), point, text).map(|n| Dec(if negative { -n } else { n }))
    }

    /// The whole number this is, if it has no fraction.
    pub fn as_int(self) -> Option<i64> {
        (self.0 % SCALE == 0).then_some(self.0 / SCALE)
    }
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

fn split_exponent(text: &str) -> Result<(&str, i64), NumberError> {
    match text.find(['e', 'E']) {
        None => Ok((text, 0)),
        Some(at) => {
            let written = &text[at + 1..];
            let digits = written.strip_prefix(['+', '-']).unwrap_or(written);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(NumberError::NotANumber(clip(text)));
            }
            // An exponent that no number can hold is out of range like any that is merely large.
            let exponent: i64 = written.parse().unwrap_or(i64::MAX);
            if exponent.unsigned_abs() > EXPONENT_MAX {
                return Err(NumberError::OutOfRange(clip(text)));
            }
            Ok((&text[..at], exponent))
        }
    }
}

/// `digits` with the decimal point after `point` of them, in millionths.
fn scaled(digits: &str, point: i64, text: &str) -> Result<i64, NumberError> {
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let after_point = digits.len() as i64 - point;
    if after_point > i64::from(DEC_SCALE_DIGITS) {
        return Err(NumberError::TooPrecise { text: clip(text), digits: DEC_SCALE_DIGITS });
    }
    let out = || NumberError::OutOfRange(clip(text));
    if significant.len() > 19 {
        return Err(out());
    }
    let mantissa: i128 = significant.parse().map_err(|_| out())?;
    let shift = u32::try_from(i64::from(DEC_SCALE_DIGITS) - after_point).map_err(|_| out())?;
    let scale = 10i128.checked_pow(shift).ok_or_else(out)?;
    mantissa.checked_mul(scale).and_then(|n| i64::try_from(n).ok()).ok_or_else(out)
}

impl fmt::Display for Dec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / SCALE as u64, self.0.unsigned_abs() % SCALE as u64);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:06}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl fmt::Debug for Dec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A three-letter ISO 4217 currency with its number of minor digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Currency {
    code: [u8; 3],
    digits: u8,
}

/// Currencies whose minor unit is not a hundredth (ISO 4217, table A.1).
const UNUSUAL: &[(&str, u8)] = &[
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("ISK", 0),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("PYG", 0),
    ("RWF", 0),
    ("UGX", 0),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
    ("BHD", 3),
    ("IQD", 3),
    ("JOD", 3),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("TND", 3),
];

impl Currency {
    /// Reads an upper-case three-letter code; `None` for anything else.
    pub fn parse(code: &str) -> Option<Currency> {
        let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
        if !bytes.iter().all(u8::is_ascii_uppercase) {
            return None;
        }
        let digits = UNUSUAL.iter().find(|(c, _)| *c == code).map_or(2, |(_, d)| *d);
        Some(Currency { code: bytes, digits })
    }

    /// The three letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or("???")
    }

    /// Digits after the decimal point of an amount.
    pub fn digits(&self) -> u32 {
        u32::from(self.digits)
    }

    /// Major units to minor units (10.50 EUR is 1050); refuses digits that the currency does not have.
    pub fn minor(&self, amount: Dec) -> Result<i64, NumberError> {
        let unit = 10i64.pow(DEC_SCALE_DIGITS - self.digits());
        if amount.0 % unit != 0 {
            return Err(NumberError::TooPrecise { text: amount.to_string(), digits: self.digits() });
        }
        Ok(amount.0 / unit)
    }

    /// Minor units to major units; `None` when the number does not fit.
    pub fn major(&self, minor: i64) -> Option<Dec> {
        minor.checked_mul(10i64.pow(DEC_SCALE_DIGITS - self.digits())).map(Dec)
    }

    /// Writes minor units as people read them: `10.50 EUR`.
    pub fn show(&self, minor: i64) -> String {
        let digits = self.digits() as usize;
        let sign = if minor < 0 { "-" } else { "" };
        let unit = 10u64.pow(self.digits());
        let (whole, rest) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
        if digits == 0 {
            return format!("{sign}{whole} {}", self.code());
        }
        format!("{sign}{whole}.{rest:0digits$} {}", self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_digit_by_digit() {
        for (text, shown) in [
            ("10.50", "10.5"),
            ("-0.000001", "-0.000001"),
            ("1e3", "1000"),
            ("0", "0"),
            ("12.5E-1", "1.25"),
            ("100", "100"),
            ("0.10", "0.1"),
        ] {
            assert_eq!(Dec::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "1e999999",
            "1e-9223372036854775808",
            "1e+-5",
            "1e++5",
            "NaN",
            "inf",
            "1e",
            "0.0000001",
            "9223372036855",
            "1_000",
            "+1",
        ] {
            assert!(Dec::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn money_keeps_to_the_digits_of_its_currency() {
        let eur = Currency::parse("EUR").unwrap();
        assert_eq!(eur.minor(Dec::parse("10.5").unwrap()), Ok(1050));
        assert!(eur.minor(Dec::parse("10.505").unwrap()).is_err());
        assert_eq!(eur.show(-1050), "-10.50 EUR");
        let jpy = Currency::parse("JPY").unwrap();
        assert_eq!(jpy.minor(Dec::parse("500").unwrap()), Ok(500));
        assert!(jpy.minor(Dec::parse("0.5").unwrap()).is_err());
        assert_eq!(Currency::parse("eur"), None);
    }
}
