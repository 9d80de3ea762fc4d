//! How two widely used providers sign their callbacks.
//!
//! Twilio: base64 of HMAC-SHA1 with the account's token over the URL and the form's fields, sorted by name, each as
//! name and value (<https://www.twilio.com/docs/usage/security>). The URL is the one that the settings name, never
//! what a request says of itself: behind a proxy that differs, and a stranger could choose it. A JSON body has its
//! SHA-256 in the query (`bodySHA256`), which the signature covers.
//!
//! SendGrid: ECDSA on P-256 over timestamp and raw body; the key is public
//! (<https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features>).

use super::Refusal;
use super::form;
use super::signature::{Headers, Key, any, fresh, one, same, sha1, unverified};
use crate::lang::time::Time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use sha2::{Digest, Sha256};

/// What stands before the point of a P-256 key in its DER form (RFC 5480: id-ecPublicKey, secp256r1).
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed point of P-256.
const P256_POINT_BYTES: usize = 65;

/// Whether a delivery is signed with one of Twilio's tokens for that URL.
pub fn twilio(keys: &[Key], url: &str, query: &str, headers: Headers<'_>, raw: &[u8]) -> Result<(), Refusal> {
    let given = STANDARD.decode(one(headers, "x-twilio-signature")?).map_err(|_| unverified("the signature is not base64"))?;
    let mut signed = url.to_owned();
    if !query.is_empty() && !url.contains('?') {
        signed.push('?');
        signed.push_str(query);
    }
    let form = headers("content-type").iter().any(|kind| is_form(kind));
    if form {
        let mut pairs = form::pairs(raw).ok_or_else(|| unverified("the body is not the form that it says it is"))?;
        pairs.sort();
        pairs.dedup();
        for (name, value) in pairs {
            signed.push_str(&name);
            signed.push_str(&value);
        }
    } else {
        let told = query.split('&').find_map(|pair| pair.strip_prefix("bodySHA256="));
        let digest: String = Sha256::digest(raw).iter().map(|byte| format!("{byte:02x}")).collect();
        if !told.is_some_and(|told| told.eq_ignore_ascii_case(&digest)) {
            return Err(unverified("the digest of the body in the query does not fit"));
        }
    }
    let found = any(keys, |key| same(&sha1(key, signed.as_bytes()), &given));
    found.then_some(()).ok_or_else(|| unverified("the signature does not fit"))
}

/// Whether a body is a form.
pub fn is_form(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// SendGrid's public key.
#[derive(Debug)]
pub struct PublicKey([u8; P256_POINT_BYTES]);

impl PublicKey {
    /// Reads base64 of the key's DER form.
    pub fn read(text: &str) -> Option<PublicKey> {
        let der = STANDARD.decode(text.trim()).ok()?;
        let point = der.strip_prefix(&P256_HEAD)?;
        Some(PublicKey(point.try_into().ok()?))
    }

    /// Whether a delivery is signed with it, a short while ago.
    pub fn verify(&self, headers: Headers<'_>, raw: &[u8], now: Time) -> Result<(), Refusal> {
        let signature = one(headers, "x-twilio-email-event-webhook-signature")?;
        let timestamp = one(headers, "x-twilio-email-event-webhook-timestamp")?;
        fresh(&timestamp, now)?;
        let signature = STANDARD.decode(signature).map_err(|_| unverified("the signature is not base64"))?;
        let signed = [timestamp.as_bytes(), raw].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.0)
            .verify(&signed, &signature)
            .map_err(|_| unverified("the signature does not fit"))
    }
}
