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

/// A customer's byte: it spreads customers evenly, and says in which of 256 shards she is kept.
pub fn spread(customer: &str) -> u8 {
    Sha256::digest(customer.as_bytes())[0]
}

/// What a second delivery of an event is known by: its customer's byte, then 7 bytes of the SHA-256 of source,
/// customer and id. The first byte says where it belongs when a store moves to another one.
pub fn seen(source: &str, customer: &str, id: &str) -> [u8; 8] {
    let mut digest = key(&[source, customer, id]);
    digest[0] = spread(customer);
    digest
}

/// What stays of an erased customer: her byte, then 7 bytes of the SHA-1 of her id, which a script in Redis can
/// compute.
pub fn tombstone(customer: &str) -> [u8; 8] {
    let sha1 = sha1::Sha1::digest(customer.as_bytes());
    let mut digest = [spread(customer); 8];
    digest[1..].copy_from_slice(&sha1[..7]);
    digest
}

/// A quick digest (FNV-1a, 64 bits) for "has it changed?", where nobody gains by a collision.
fn quick(start: u64, text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    step(text.bytes().fold(start, step), 0xff)
}

const QUICK_START: u64 = 0xcbf2_9ce4_8422_2325;

/// Digest of the name of a thing of a kind.
pub fn named(kind: &str, name: &str) -> [u8; 8] {
    quick(quick(QUICK_START, kind), name).to_be_bytes()
}

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

    #[test]
    fn what_is_remembered_of_a_customer_begins_with_her_byte() {
        // Fixed values: other functions would forget what an existing store remembers.
        assert_eq!(spread("anna"), 85);
        assert_eq!(seen("shop", "anna", "1")[0], 85);
        assert_ne!(seen("shop", "anna", "1"), seen("web", "anna", "1"));
        assert_ne!(seen("shop", "anna", "1"), seen("shop", "anna", "2"));
        assert_eq!(tombstone("anna"), [85, 0x2b, 0xc1, 0xec, 0xb4, 0x10, 0xe1, 0x42]);
    }
}
