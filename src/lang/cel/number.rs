//! Exact arithmetic: numbers are millionths in 128 bits while they are reckoned with, never floats.

use super::ast::Arith;
use crate::lang::value::Value;
use crate::money::{DEC_SCALE_DIGITS, Dec};

const SCALE: i128 = 10i128.pow(DEC_SCALE_DIGITS);

/// Reckons; the error says why there is no result.
pub(super) fn reckon(arith: Arith, a: &Value, b: &Value) -> Result<Value, String> {
    let (Some(x), Some(y)) = (millionths(a), millionths(b)) else {
        let odd = if millionths(a).is_none() { a } else { b };
        return Err(format!("`{}` needs numbers, not {}", arith.sign(), odd.kind()));
    };
    let too_large = || format!("the result of `{}` is too large", arith.sign());
    if y == 0 && matches!(arith, Arith::Div | Arith::Rem) {
        return Err("division by zero".to_owned());
    }
    let result = match arith {
        Arith::Add => x.checked_add(y),
        Arith::Sub => x.checked_sub(y),
        Arith::Mul => x.checked_mul(y).map(|product| divide(product, SCALE)),
        Arith::Div => x.checked_mul(SCALE).map(|x| divide(x, y)),
        Arith::Rem => x.checked_rem(y),
    };
    result.and_then(from_millionths).ok_or_else(too_large)
}

/// The number with its sign changed.
pub(super) fn negate(a: &Value) -> Result<Value, String> {
    let x = millionths(a).ok_or_else(|| format!("`-` needs a number, not {}", a.kind()))?;
    from_millionths(-x).ok_or_else(|| "the result of `-` is too large".to_owned())
}

/// A number in millionths.
pub(super) fn millionths(value: &Value) -> Option<i128> {
    match value {
        Value::Int(n) => Some(i128::from(*n) * SCALE),
        Value::Dec(dec) => Some(i128::from(dec.0)),
        _ => None,
    }
}

/// A number from millionths: whole where it is whole; `None` when it cannot be held.
pub(super) fn from_millionths(n: i128) -> Option<Value> {
    if n % SCALE == 0 {
        return i64::try_from(n / SCALE).ok().map(Value::Int);
    }
    i64::try_from(n).ok().map(|n| Value::Dec(Dec(n)))
}

/// Rounded to the nearest, halves away from zero.
fn divide(x: i128, y: i128) -> i128 {
    let (quotient, rest) = (x / y, x % y);
    if rest.unsigned_abs() >= y.unsigned_abs() - rest.unsigned_abs() {
        quotient + if (x < 0) == (y < 0) { 1 } else { -1 }
    } else {
        quotient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_exact_and_checked() {
        let n = |text: &str| Value::number(text).unwrap();
        for (a, arith, b, result) in [
            ("0.1", Arith::Add, "0.2", Ok("0.3")),
            ("10", Arith::Div, "4", Ok("2.5")),
            ("2", Arith::Div, "3", Ok("0.666667")),
            ("-2", Arith::Div, "3", Ok("-0.666667")),
            ("1.5", Arith::Mul, "-2", Ok("-3")),
            ("7.5", Arith::Rem, "2", Ok("1.5")),
            ("9223372036854775807", Arith::Add, "1", Err("too large")),
            ("9223372036854775807", Arith::Mul, "9223372036854775807", Err("too large")),
            ("1", Arith::Div, "0", Err("division by zero")),
            ("1", Arith::Rem, "0", Err("division by zero")),
        ] {
            match (reckon(arith, &n(a), &n(b)), result) {
                (Ok(value), Ok(text)) => assert_eq!(value, n(text), "{a} {} {b}", arith.sign()),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (got, wanted) => panic!("{a} {} {b}: {got:?}, not {wanted:?}", arith.sign()),
            }
        }
        assert!(reckon(Arith::Add, &n("1"), &Value::from("x")).unwrap_err().contains("text"));
        assert!(negate(&Value::Int(i64::MIN)).is_err());
    }
}
