//! What a store holds, one item at a time, in a form that belongs to neither store; and sums over items.

use crate::effect::Effect;
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// Numbers of inputs in one millisecond of a shard: an input's number is its instant times this, and rises.
const NUMBERS_PER_MS: u64 = 4_096;

/// A customer.
#[derive(Clone, Debug)]
pub struct Customer {
    /// Place in the source.
    pub num: i64,
    /// Her id.
    pub id: String,
    /// Version of her record.
    pub version: u64,
    /// Her gate.
    pub gate: u32,
    /// Her wake, in milliseconds.
    pub wake: Option<i64>,
    /// Digest of the hash of the definitions that judged her.
    pub judged: u64,
    /// Digest of her line of the list of customers.
    pub shown: u64,
    /// Her encoded account.
    pub account: Vec<u8>,
    /// Her encoded document.
    pub document: Vec<u8>,
}

/// An input that no turn has consumed.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Place in the source.
    pub seq: i64,
    /// Whose.
    pub customer: String,
    /// When it was accepted, in milliseconds.
    pub at: i64,
    /// Crashes counted against it.
    pub crashes: u32,
    /// Encoded.
    pub body: Vec<u8>,
}

/// An effect on its way out.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Place in the source.
    pub seq: i64,
    /// When it is tried next, in milliseconds; `None`: at once.
    pub due: Option<i64>,
    /// Attempts begun.
    pub attempts: u32,
    /// When the last one began, in milliseconds; 0: none did.
    pub begun: u64,
    /// Since when an attempt's fate is unknown, in milliseconds; 0: none is. What was being sent when the
    /// source's engine ended is of unknown fate.
    pub unsure: u64,
    /// Digest of the first attempt's body, or nothing.
    pub digest: Vec<u8>,
    /// The last failure.
    pub why: String,
    /// The effect.
    pub effect: Effect,
}

/// An event that was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// What a second delivery is known by; its first byte is its customer's.
    pub digest: [u8; 8],
    /// Digest of its body.
    pub body: u32,
    /// When, in hours since 1970.
    pub hour: i64,
}

/// An input that was put aside.
#[derive(Clone, Debug)]
pub struct PutAside {
    /// Whose.
    pub customer: String,
    /// When it was put aside, in milliseconds.
    pub at: i64,
    /// Why.
    pub cause: String,
    /// When the input was accepted (in milliseconds) and its encoded body; `None`: her wake.
    pub input: Option<(i64, Vec<u8>)>,
}

/// A kept workspace version.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its hash.
    pub hash: String,
    /// Its funnels' names, each with the hash of the funnel's version.
    pub funnels: Vec<(String, String)>,
    /// Its files.
    pub bundle: Vec<u8>,
}

/// Gives inputs their numbers in the target: the same in every pass over the same source.
pub struct Numbers {
    last: Vec<u64>,
    taken: HashSet<(u16, u64)>,
}

impl Numbers {
    /// For so many shards.
    pub fn new(shards: u16) -> Numbers {
        Numbers { last: vec![0; usize::from(shards)], taken: HashSet::new() }
    }

    /// The number of an input that was put aside; those come first, and in the order of the list.
    pub fn aside(&mut self, shard: u16, at: i64) -> u64 {
        let mut number = first_number(at);
        while !self.taken.insert((shard, number)) {
            number += 1;
        }
        number
    }

    /// The instant under which a wake is listed: its number is made of it.
    pub fn wake(&mut self, shard: u16, at: i64) -> i64 {
        let mut at = at;
        while !self.taken.insert((shard, first_number(at))) {
            at += 1;
        }
        at
    }

    /// The number of the shard's next input.
    pub fn input(&mut self, shard: u16, at: i64) -> u64 {
        let last = &mut self.last[usize::from(shard)];
        let mut number = first_number(at).max(*last + 1);
        while self.taken.contains(&(shard, number)) {
            number += 1;
        }
        *last = number;
        number
    }

    /// The highest number given in each shard; 0: none was.
    pub fn highest(&self) -> Vec<u64> {
        let mut highest = self.last.clone();
        for (shard, number) in &self.taken {
            let one = &mut highest[usize::from(*shard)];
            *one = (*one).max(*number);
        }
        highest
    }
}

/// The first number of a millisecond.
pub fn first_number(at: i64) -> u64 {
    u64::try_from(at).unwrap_or(0) * NUMBERS_PER_MS
}

/// How many items there are of a kind, and a digest over all of them in whatever order they come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Sum of the items' digests.
    pub digest: u128,
}

impl Sum {
    /// Adds an item.
    pub fn add(&mut self, item: u128) {
        self.count += 1;
        self.digest = self.digest.wrapping_add(item);
    }

    /// Of a mere count.
    pub fn counted(count: u64) -> Sum {
        Sum { count, digest: 0 }
    }
}

/// The digest of an item: 16 bytes of the SHA-256 of its parts, each behind its length.
pub fn digest(parts: &[&[u8]]) -> u128 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let whole = hash.finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&whole[..16]);
    u128::from_be_bytes(first)
}

impl Customer {
    /// Of everything of hers, with her wake.
    pub fn digest(&self) -> u128 {
        let wake = self.wake.map(|wake| wake.to_be_bytes());
        digest(&[
            self.id.as_bytes(),
            &self.version.to_be_bytes(),
            &self.gate.to_be_bytes(),
            wake.as_ref().map_or(&[][..], |wake| &wake[..]),
            &self.judged.to_be_bytes(),
            &self.shown.to_be_bytes(),
            &self.document,
        ])
    }

    /// Of her account.
    pub fn account_digest(&self) -> u128 {
        digest(&[self.id.as_bytes(), &self.account])
    }
}

/// Of an input under its number, with the crashes counted against it.
pub fn input_digest(customer: &str, number: u64, crashes: u32, body: &[u8]) -> u128 {
    digest(&[customer.as_bytes(), &number.to_be_bytes(), &crashes.to_be_bytes(), body])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_are_the_same_in_every_pass() {
        let give = || {
            let mut numbers = Numbers::new(256);
            let aside = [numbers.aside(3, 10), numbers.aside(3, 10), numbers.aside(4, 10)];
            let wakes = [numbers.wake(3, 10), numbers.wake(5, 10)];
            let inputs = [numbers.input(3, 10), numbers.input(3, 10), numbers.input(3, 9), numbers.input(3, 11)];
            let highest = numbers.highest();
            (aside, wakes, inputs, highest[3], highest[4], highest[6])
        };
        let ms = NUMBERS_PER_MS;
        let wanted = ([10 * ms, 10 * ms + 1, 10 * ms], [11, 10], [10 * ms + 2, 10 * ms + 3, 10 * ms + 4, 11 * ms + 1]);
        assert_eq!((give().0, give().1, give().2), wanted);
        assert_eq!((give().3, give().4, give().5), (11 * ms + 1, 10 * ms, 0));
    }

    #[test]
    fn sums_do_not_depend_on_the_order_but_on_every_part() {
        let (one, two) = (digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(one, two);
        let sum = |items: &[u128]| {
            let mut sum = Sum::default();
            items.iter().for_each(|item| sum.add(*item));
            sum
        };
        assert_eq!(sum(&[one, two]), sum(&[two, one]));
        assert_ne!(sum(&[one, one]), sum(&[one, two]));
        assert_ne!(sum(&[one]), sum(&[one, 0]));
    }
}
