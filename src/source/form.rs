//! Bodies that are forms: `application/x-www-form-urlencoded`, as telephone services send them.

use crate::lang::value::{Fields, Value};

/// Most fields of a form.
const FIELDS_MAX: usize = 200;

/// Names and values in their order; `None`: it is no form.
pub fn pairs(raw: &[u8]) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in raw.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == FIELDS_MAX {
            return None;
        }
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let value = pair.get(end + 1..).unwrap_or_default();
        pairs.push((decode(&pair[..end])?, decode(value)?));
    }
    Some(pairs)
}

/// A form as expressions see it. A name that stands there twice is none: nobody could say which value counts.
pub fn read(raw: &[u8]) -> Option<Value> {
    let mut fields = Fields::new();
    for (name, value) in pairs(raw)? {
        if fields.insert(name, Value::Text(value)).is_some() {
            return None;
        }
    }
    Some(Value::Map(fields))
}

fn decode(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
                // Two hexadecimal digits are below 256.
                (digit(rest.next())? * 16 + digit(rest.next())?) as u8
            }
            b'+' => b' ',
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_once_and_whole() {
        let Some(Value::Map(fields)) = read(b"From=%2B4917&Body=Stop+it&Empty=&") else { panic!("it is a form") };
        assert_eq!(fields.get("From"), Some(&Value::from("+4917")));
        assert_eq!(fields.get("Body"), Some(&Value::from("Stop it")));
        assert_eq!(fields.get("Empty"), Some(&Value::from("")));
        for bad in [&b"a=1&a=2"[..], b"a=%zz", b"a=%f", b"a=%ff"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(read("a=1&".repeat(201).as_bytes()), None);
    }
}
