//! Proof of where a delivery comes from.
//!
//! Secrets and signatures are compared as digests of equal length in constant time, and all candidates
//! are always tried, so that time tells nothing. Standard Webhooks: the signature is HMAC-SHA256 over
//! `id.timestamp.body`, the key is the base64 text behind `whsec_`
//! (<https://github.com/standard-webhooks/standard-webhooks>, "Verifying webhook authenticity").

use super::provider::{self, PublicKey};
use super::{ID_BYTES_MAX, Refusal};
use crate::lang::time::{SECOND_MS, Time};
use crate::wire::secrets::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// How far a delivery's timestamp may lie from now, both ways, in milliseconds.
const TOLERANCE_MS: i64 = 300 * SECOND_MS;
/// Most signatures in one header.
const SIGNATURES_MAX: usize = 32;
/// Bytes that a Standard Webhooks key may have.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Shortest secret of any other scheme, in bytes.
pub(super) const SECRET_BYTES_MIN: usize = 16;
/// Longest signature header that is looked at, in bytes.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// A key; it never prints.
pub(super) struct Key(Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Key {
    /// The key behind `whsec_`.
    pub fn standard(secret: &Secret) -> Result<Key, String> {
        if secret.is_placeholder() {
            return Ok(Key(vec![0; 32]));
        }
        let text = secret.expose().strip_prefix("whsec_").ok_or("a Standard Webhooks secret begins with `whsec_`")?;
        let bytes = STANDARD.decode(text).map_err(|_| "a Standard Webhooks secret is base64 behind `whsec_`".to_owned())?;
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(format!(
                "a Standard Webhooks key has {} to {} bytes, not {}",
                KEY_BYTES.start(),
                KEY_BYTES.end(),
                bytes.len()
            ));
        }
        Ok(Key(bytes))
    }

    /// The secret's own bytes.
    pub fn plain(secret: &Secret) -> Result<Key, String> {
        let bytes = secret.expose().as_bytes();
        if bytes.len() < SECRET_BYTES_MIN && !secret.is_placeholder() {
            return Err(format!("the secret has {} bytes; at least {SECRET_BYTES_MIN} are needed to be safe", bytes.len()));
        }
        Ok(Key(bytes.to_vec()))
    }
}

/// Hash of an HMAC.
#[derive(Clone, Copy, Debug)]
pub(super) enum Algorithm {
    Sha256,
    Sha1,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Encoding {
    Hex,
    Base64,
}

/// How deliveries of a source are verified.
#[derive(Debug)]
pub(super) enum Verify {
    Standard(Vec<Key>),
    Hmac { algorithm: Algorithm, header: String, encoding: Encoding, prefix: String, keys: Vec<Key> },
    Bearer(Vec<Key>),
    Twilio { keys: Vec<Key>, url: String },
    SendGrid(PublicKey),
    Nothing,
}

/// All values of a header by its name in lower case.
pub(super) type Headers<'a> = &'a dyn Fn(&str) -> Vec<String>;

impl Verify {
    pub fn check(&self, headers: Headers<'_>, query: &str, raw: &[u8], now: Time) -> Result<Option<String>, Refusal> {
        match self {
            Verify::Standard(keys) => standard(keys, headers, raw, now).map(Some),
            Verify::Hmac { algorithm, header, encoding, prefix, keys } => {
                let signature = one(headers, header)?;
                let given = signature.strip_prefix(prefix.as_str()).and_then(|text| decode(text, *encoding));
                let given = given.ok_or_else(|| unverified("the signature is not written as declared"))?;
                let found = any(keys, |key| match algorithm {
                    Algorithm::Sha256 => same(&sha256(key, &[raw]), &given),
                    Algorithm::Sha1 => same(&sha1(key, raw), &given),
                });
                found.then_some(None).ok_or_else(|| unverified("the signature does not fit"))
            }
            Verify::Bearer(keys) => {
                let value = one(headers, "authorization")?;
                let (scheme, token) = value.split_once(' ').unwrap_or(("", ""));
                let given = Sha256::digest(token.trim().as_bytes());
                let found = any(keys, |key| Sha256::digest(&key.0).as_slice().ct_eq(given.as_slice()));
                let found = found && scheme.eq_ignore_ascii_case("bearer");
                found.then_some(None).ok_or_else(|| unverified("the token does not fit"))
            }
            Verify::Twilio { keys, url } => provider::twilio(keys, url, query, headers, raw).map(|()| None),
            Verify::SendGrid(key) => key.verify(headers, raw, now).map(|()| None),
            Verify::Nothing => Ok(None),
        }
    }
}

pub(super) fn unverified(why: &str) -> Refusal {
    Refusal::Unverified(why.to_owned())
}

/// A header that must be there exactly once.
pub(super) fn one(headers: Headers<'_>, name: &str) -> Result<String, Refusal> {
    let mut values = headers(name);
    match (values.pop(), values.is_empty()) {
        (Some(value), true) if value.len() <= HEADER_BYTES_MAX => Ok(value),
        (Some(_), true) => Err(Refusal::Unverified(format!("the header `{name}` is too long"))),
        (Some(_), false) => Err(Refusal::Unverified(format!("the header `{name}` is there more than once"))),
        (None, _) => Err(Refusal::Unverified(format!("the header `{name}` is missing"))),
    }
}

fn standard(keys: &[Key], headers: Headers<'_>, raw: &[u8], now: Time) -> Result<String, Refusal> {
    let id = one(headers, "webhook-id")?;
    let timestamp = one(headers, "webhook-timestamp")?;
    let signatures = one(headers, "webhook-signature")?;
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.contains('.') || !id.bytes().all(|b| b.is_ascii_graphic()) {
        let why = format!("`webhook-id` must be 1 to {ID_BYTES_MAX} printable characters without `.`");
        return Err(Refusal::Bad(why));
    }
    fresh(&timestamp, now)?;
    let list: Vec<&str> = signatures.split_whitespace().collect();
    if list.len() > SIGNATURES_MAX {
        return Err(Refusal::Unverified(format!("`webhook-signature` holds more than {SIGNATURES_MAX} signatures")));
    }
    // `v1` is the only scheme with a shared key; others (`v1a`) name keys that nobody here has agreed to.
    let given: Vec<Vec<u8>> = list.iter().filter_map(|s| s.strip_prefix("v1,")).filter_map(|s| STANDARD.decode(s).ok()).collect();
    let found = any(keys, |key| {
        let wanted = sha256(key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", raw]);
        given.iter().fold(Choice::from(0), |found, given| found | same(&wanted, given))
    });
    if found { Ok(id) } else { Err(unverified("no signature fits")) }
}

/// A timestamp in seconds that is not far from now.
pub(super) fn fresh(timestamp: &str, now: Time) -> Result<(), Refusal> {
    let digits = (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
    let seconds = timestamp.parse::<i64>().ok().filter(|_| digits);
    let seconds = seconds.ok_or_else(|| unverified("the timestamp is not in seconds since 1970"))?;
    if (now.0 - seconds * SECOND_MS).abs() > TOLERANCE_MS {
        return Err(unverified("the timestamp is more than 5 minutes away from now"));
    }
    Ok(())
}

/// Whether one of the keys fits; all of them are tried.
pub(super) fn any(keys: &[Key], fits: impl Fn(&Key) -> Choice) -> bool {
    keys.iter().fold(Choice::from(0), |found, key| found | fits(key)).into()
}

/// Equal in constant time; the length of a digest is no secret.
pub(super) fn same(wanted: &[u8], given: &[u8]) -> Choice {
    wanted.ct_eq(given)
}

fn sha256(key: &Key, parts: &[&[u8]]) -> Vec<u8> {
    // An HMAC takes keys of any length (RFC 2104, section 2).
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

pub(super) fn sha1(key: &Key, raw: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
    mac.update(raw);
    mac.finalize().into_bytes().to_vec()
}

fn decode(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Base64 => STANDARD.decode(text).ok(),
        Encoding::Hex => {
            let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
            let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
            // Two hexadecimal digits are below 256.
            Some(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
        }
    }
}
