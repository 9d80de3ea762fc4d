//! Digests that stores keep beside what they stand for.

use super::CustomerRow;
use sha2::{Digest, Sha256};

/// The first 8 bytes of the SHA-256 of texts; nobody can make two that meet.
pub fn key(parts: &[&str]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            hash.update([0]);
        }
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    first
}

/// A quick digest (FNV-1a, 64 bits) for "has it changed?", where nobody gains by a collision.
fn quick(start: u64, text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    step(text.bytes().fold(start, step), 0xff)
}

const QUICK_START: u64 = 0xcbf2_9ce4_8422_2325;

/// Digest of a definitions' hash, as kept with each customer.
pub fn judged(hash: &str) -> u64 {
    quick(QUICK_START, hash)
}

/// Digest of a line of the list of customers.
pub fn shown(row: &CustomerRow) -> u64 {
    let fields = [&row.name, &row.email, &row.phone].into_iter().chain(&row.segments);
    fields.fold(QUICK_START, |hash, field| quick(hash, field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_fields_apart() {
        let row =
            |name: &str, email: &str| CustomerRow { name: name.to_owned(), email: email.to_owned(), ..CustomerRow::default() };
        assert_ne!(shown(&row("ab", "c")), shown(&row("a", "bc")));
        assert_ne!(key(&["a", "bc"]), key(&["ab", "c"]));
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
    }
}
