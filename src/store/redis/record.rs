//! How a customer's record and an effect stand in Redis: a fixed head that scripts read and write in
//! place, then the encoded document.

use super::super::{Delivery, Record};
use crate::customer::codec::{CodecError, decode, encode};
use crate::effect::Effect;
use crate::lang::time::Time;

/// Bytes before a customer's document: version 8, gate 4, judged 8, shown 8.
const RECORD_HEAD_BYTES: usize = 28;
/// Where the judge's digest begins in a record.
pub const JUDGED_AT: usize = 12;
/// Bytes of a body's digest that are kept.
const DIGEST_BYTES: usize = 32;
/// Bytes before an effect's failure text: attempts 4, sending 1, begun 8, unsure 8, gate 4, valid until 8,
/// digest 1 + 32.
const EFFECT_HEAD_BYTES: usize = 66;

/// A record as it is written.
pub fn write_record(version: u64, gate: u32, judged: u64, shown: u64, document: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(RECORD_HEAD_BYTES + document.len());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&gate.to_be_bytes());
    out.extend_from_slice(&judged.to_be_bytes());
    out.extend_from_slice(&shown.to_be_bytes());
    out.extend_from_slice(document);
    out
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// A record as it is read, with the digest of her line; `None` when it is too short to be one.
pub fn read_record(mut bytes: Vec<u8>, account: Vec<u8>, erased: bool) -> Option<(Record, u64)> {
    if bytes.is_empty() {
        return Some((Record { account, erased, ..Record::default() }, 0));
    }
    let (version, gate, shown) = (u64_at(&bytes, 0)?, u32_at(&bytes, 8)?, u64_at(&bytes, 20)?);
    if bytes.len() < RECORD_HEAD_BYTES {
        return None;
    }
    let document = bytes.split_off(RECORD_HEAD_BYTES);
    Some((Record { version, document, account, gate, erased: false }, shown))
}

/// What is known of an effect besides itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tried {
    /// Attempts begun.
    pub attempts: u32,
    /// When the last one began, in milliseconds; 0: none did.
    pub begun: u64,
    /// Since when an attempt's fate is unknown, in milliseconds; 0: none is.
    pub unsure: u64,
    /// Digest of the first attempt's body, or nothing.
    pub digest: Vec<u8>,
    /// The last failure.
    pub why: String,
}

/// An effect as it is written first.
pub fn write_effect(effect: &Effect) -> Vec<u8> {
    write_tried_effect(effect, &Tried::default())
}

/// An effect that has been tried before, and is not being sent now.
pub fn write_tried_effect(effect: &Effect, tried: &Tried) -> Vec<u8> {
    let body = encode(effect);
    let mut out = Vec::with_capacity(EFFECT_HEAD_BYTES + 4 + tried.why.len() + effect.customer.len() + body.len());
    out.extend_from_slice(&tried.attempts.to_be_bytes());
    out.push(0);
    out.extend_from_slice(&tried.begun.to_be_bytes());
    out.extend_from_slice(&tried.unsure.to_be_bytes());
    out.extend_from_slice(&effect.gate.to_be_bytes());
    // 0 stands for "no end"; what ended before 1970 ends at its first millisecond, which is as late.
    let until = effect.valid_until.map_or(0, |until| u64::try_from(until.0).unwrap_or(0).max(1));
    out.extend_from_slice(&until.to_be_bytes());
    out.extend_from_slice(&write_digest(&tried.digest));
    write_sized(&mut out, &tried.why);
    write_sized(&mut out, &effect.customer);
    out.extend_from_slice(&body);
    out
}

/// A text behind its length. Ids and causes are bounded far below the most that the length can say.
fn write_sized(out: &mut Vec<u8>, text: &str) {
    let size = text.len().min(usize::from(u16::MAX));
    out.extend_from_slice(&(size as u16).to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..size]);
}

/// A body's digest as the scripts keep it: its length and its bytes, padded.
pub fn write_digest(digest: &[u8]) -> Vec<u8> {
    let size = digest.len().min(DIGEST_BYTES);
    let mut out = vec![0; 1 + DIGEST_BYTES];
    out[0] = size as u8;
    out[1..=size].copy_from_slice(&digest[..size]);
    out
}

/// An effect as it is read.
pub struct Kept<'b> {
    /// Attempts begun.
    pub attempts: u32,
    /// One was under way, or an earlier one's fate is unknown, since then.
    pub unsure: Option<Time>,
    /// Digest of the first attempt's body.
    pub digest: Option<Vec<u8>>,
    /// The last failure.
    pub why: String,
    /// Whose.
    pub customer: &'b str,
    body: &'b [u8],
}

impl<'b> Kept<'b> {
    /// Reads the head; `None` when it is none.
    pub fn read(bytes: &'b [u8]) -> Option<Kept<'b>> {
        let attempts = u32_at(bytes, 0)?;
        let sending = *bytes.get(4)? == 1;
        let (begun, unsure) = (u64_at(bytes, 5)?, u64_at(bytes, 13)?);
        let size = usize::from(*bytes.get(33)?).min(DIGEST_BYTES);
        let digest = (size > 0).then(|| bytes.get(34..34 + size).map(<[u8]>::to_vec)).flatten();
        let rest = bytes.get(EFFECT_HEAD_BYTES..)?;
        let (why, rest) = sized(rest)?;
        let (customer, body) = sized(rest)?;
        let since = match (unsure, sending) {
            (0, true) => Some(begun),
            (0, false) => None,
            (since, _) => Some(since),
        };
        Some(Kept {
            attempts,
            unsure: since.map(|since| Time(since as i64)),
            digest,
            why: String::from_utf8_lossy(why).into_owned(),
            customer: std::str::from_utf8(customer).ok()?,
            body,
        })
    }

    /// The effect for the deliver worker.
    ///
    /// # Errors
    /// When its body cannot be read.
    pub fn delivery(self) -> Result<Delivery, CodecError> {
        Ok(Delivery {
            effect: decode(self.body)?,
            ticket: 0,
            attempts: self.attempts,
            ambiguous: self.unsure.is_some(),
            ambiguous_since: self.unsure,
            body_digest: self.digest,
            known: Default::default(),
        })
    }
}

fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let size = usize::from(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?));
    let rest = bytes.get(2..)?;
    (rest.len() >= size).then(|| rest.split_at(size))
}

/// A row of the inputs put aside: owner, when, why, the input with its number.
pub struct Aside<'b> {
    /// Whose.
    pub customer: String,
    /// When.
    pub at: Time,
    /// Why.
    pub cause: String,
    /// The input's number and its encoded body; empty for a wake.
    pub input: &'b [u8],
}

impl<'b> Aside<'b> {
    /// Writes a row.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_sized(&mut out, &self.customer);
        out.extend_from_slice(&self.at.0.to_be_bytes());
        write_sized(&mut out, &self.cause);
        out.extend_from_slice(self.input);
        out
    }

    /// Reads a row.
    pub fn read(bytes: &'b [u8]) -> Option<Aside<'b>> {
        let (customer, rest) = sized(bytes)?;
        let at = u64_at(rest, 0)?;
        let (cause, input) = sized(rest.get(8..)?)?;
        Some(Aside {
            customer: String::from_utf8_lossy(customer).into_owned(),
            at: Time(at as i64),
            cause: String::from_utf8_lossy(cause).into_owned(),
            input,
        })
    }
}

impl Aside<'_> {
    /// Its number: the input's, or for a wake the instant's.
    pub fn seq(&self) -> u64 {
        read_input(self.input).map_or((self.at.0 as u64) * 4096, |(seq, _)| seq)
    }
}

/// Number and body of an input as it stands in the inbox.
pub fn read_input(bytes: &[u8]) -> Option<(u64, &[u8])> {
    Some((u64_at(bytes, 0)?, bytes.get(8..)?))
}

/// When an input with this number was accepted.
pub fn accepted_at(seq: u64) -> Time {
    Time((seq / 4096) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_went_in() {
        let bytes = write_record(7, 3, 11, 13, b"document");
        let (record, shown) = read_record(bytes, b"account".to_vec(), false).unwrap();
        assert_eq!((record.version, record.gate, shown), (7, 3, 13));
        assert_eq!((record.document.as_slice(), record.account.as_slice()), (b"document".as_slice(), b"account".as_slice()));
        assert!(read_record(vec![1, 2, 3], vec![], false).is_none());
        assert!(read_record(vec![], vec![], true).is_some_and(|(record, _)| record.erased && record.version == 0));
    }

    #[test]
    fn what_was_put_aside_is_read_as_it_is_written() {
        let aside = Aside { customer: "anna".to_owned(), at: Time(5), cause: "why".to_owned(), input: b"\0\0\0\0\0\0\0\x01body" };
        let bytes = aside.write();
        let read = Aside::read(&bytes).unwrap();
        assert_eq!((read.customer.as_str(), read.at, read.cause.as_str()), ("anna", Time(5), "why"));
        assert_eq!((read.seq(), read.input), (1, aside.input));
    }

    #[test]
    fn damaged_effects_are_not_read() {
        assert!(Kept::read(b"short").is_none());
        let mut bytes = vec![0; EFFECT_HEAD_BYTES];
        bytes.extend_from_slice(&[0xff, 0xff, 1]);
        assert!(Kept::read(&bytes).is_none());
        assert_eq!(write_digest(&[1, 2]).len(), 33);
        assert_eq!(write_digest(&[9; 40])[0], 32);
    }
}
