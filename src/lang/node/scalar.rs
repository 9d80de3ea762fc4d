//! What a plain (unquoted) scalar is by the core rules of YAML 1.2, and by what older readers made of it.

/// The form of a plain scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lang) enum Form {
    /// Empty, `~`, `null`, `Null`, `NULL`.
    Null,
    /// `true` or `false`, also with capitals.
    Bool(bool),
    /// A number as this language writes it: `-12`, `0.5`; no sign `+`, no leading zeros, no exponent.
    Number,
    /// A number to some reader, in a form that others read differently: `012`, `0x1F`, `1_000`, `1e3`, `.5`, `+1`.
    OddNumber,
    /// Anything else.
    Text,
}

/// Whether a plain scalar means nothing.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// The form of a plain scalar.
pub(in crate::lang) fn form(text: &str) -> Form {
    match text {
        _ if is_null(text) => Form::Null,
        "true" | "True" | "TRUE" => Form::Bool(true),
        "false" | "False" | "FALSE" => Form::Bool(false),
        _ if is_number(text) => Form::Number,
        _ if is_odd_number(text) => Form::OddNumber,
        _ => Form::Text,
    }
}

/// Whether older YAML readers take this word for true or false.
pub(in crate::lang) fn is_old_bool(text: &str) -> bool {
    ["yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// `0`, `-12`, `3.50`.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(all_digits)
}

fn is_odd_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let of = |rest: &str, ok: fn(&u8) -> bool| !rest.is_empty() && rest.as_bytes().iter().all(ok);
    if let Some(hex) = digits.strip_prefix("0x") {
        return of(hex, |b| b.is_ascii_hexdigit() || *b == b'_');
    }
    if let Some(octal) = digits.strip_prefix("0o") {
        return of(octal, |b| (b'0'..=b'7').contains(b) || *b == b'_');
    }
    if matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digit = |b: &u8| b.is_ascii_digit();
    let groups = |part: &str| part.split('_').all(|group| of(group, |b| b.is_ascii_digit()));
    (groups(whole) || (whole.is_empty() && !fraction.is_empty()))
        && fraction.as_bytes().iter().all(digit)
        && exponent.is_none_or(|e| of(e, |b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_form_and_other_forms_are_odd() {
        for text in ["0", "-12", "3.50", "100000000000000000000", "-0"] {
            assert_eq!(form(text), Form::Number, "{text}");
        }
        for text in ["012", "0x1F", "0o17", "1_000", "1e3", ".5", "5.", "+1", "-.5", "1.5E-3", ".inf", ".NaN", "00"] {
            assert_eq!(form(text), Form::OddNumber, "{text}");
        }
        for text in ["NO", "yes", "1h", "2027-01-01", "09:00", "1_", "_1", "e3", ".", "-", "+", "0x", "1.2.3", "1 000"] {
            assert_eq!(form(text), Form::Text, "{text}");
        }
    }
}
