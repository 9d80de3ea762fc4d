//! Digests of what was sent: whether a second delivery of an id says the same as the first.

use crate::lang::value::{Fields, Value};
use sha2::{Digest, Sha256};

/// The first four bytes of the SHA-256 of a body.
pub fn of_bytes(bytes: &[u8]) -> u32 {
    first_four(Sha256::digest(bytes).as_slice())
}

/// The same over the compact form of a value, in which blanks and the order of fields do not matter; and
/// the size of that form in bytes.
pub fn of_value(value: &Value) -> (u32, usize) {
    let mut bytes = Vec::with_capacity(256);
    write(value, &mut bytes);
    (of_bytes(&bytes), bytes.len())
}

/// The size of the compact form of fields, in bytes.
pub fn size_of_fields(fields: &Fields) -> usize {
    let mut bytes = Vec::with_capacity(256);
    write_fields(fields, &mut bytes);
    bytes.len()
}

/// The whole SHA-256 of a value's compact form, in hexadecimal: the id of a row that has none.
pub fn hex(value: &Value) -> String {
    let mut bytes = Vec::with_capacity(256);
    write(value, &mut bytes);
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn first_four(digest: &[u8]) -> u32 {
    digest.iter().take(4).fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
}

/// One byte for the kind, then the content, with its length where it has no end of its own.
fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(b'n'),
        Value::Bool(b) => out.extend([b'b', u8::from(*b)]),
        Value::Int(n) => {
            out.push(b'i');
            out.extend(n.to_be_bytes());
        }
        Value::Dec(d) => {
            out.push(b'd');
            out.extend(d.0.to_be_bytes());
        }
        Value::Text(text) => write_text(b't', text, out),
        Value::Time(time) => {
            out.push(b'a');
            out.extend(time.0.to_be_bytes());
        }
        Value::List(list) => {
            write_length(b'l', list.len(), out);
            list.iter().for_each(|item| write(item, out));
        }
        Value::Map(fields) => write_fields(fields, out),
    }
}

fn write_fields(fields: &Fields, out: &mut Vec<u8>) {
    write_length(b'm', fields.len(), out);
    for (name, item) in fields {
        write_text(b'k', name, out);
        write(item, out);
    }
}

fn write_text(kind: u8, text: &str, out: &mut Vec<u8>) {
    write_length(kind, text.len(), out);
    out.extend(text.as_bytes());
}

fn write_length(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    // Bodies are bounded far below 4 GiB.
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_values_have_different_forms() {
        let values = [
            Value::Null,
            Value::from("1"),
            Value::Int(1),
            Value::from(true),
            Value::List(vec![Value::from("1")]),
            Value::List(vec![Value::from("1"), Value::Null]),
            Value::Map([("1".to_owned(), Value::Null)].into()),
        ];
        let mut forms: Vec<String> = values.iter().map(hex).collect();
        forms.sort();
        forms.dedup();
        assert_eq!(forms.len(), values.len());
        // The known first bytes of SHA-256 of "abc" (FIPS 180-2, appendix B.1).
        assert_eq!(of_bytes(b"abc"), 0xba78_16bf);
    }
}
