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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::secrets::Secret;

    type Pairs<'p> = [(&'p str, &'p str)];

    fn check_twilio(url: &str, query: &str, headers: &Pairs<'_>, raw: &[u8]) -> bool {
        let key = Key::plain(&Secret::new("1c892n40nd03kdnc0112slzkl3091j20")).unwrap();
        let all = |name: &str| headers.iter().filter(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()).collect();
        match twilio(&[key], url, query, &all, raw) {
            Ok(()) => true,
            Err(Refusal::Unverified(_)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// The example of the tests of Twilio's own libraries.
    const URL: &str = "http://www.postbin.org/1ed898x";
    const SIGNATURE: &str = "fF+xx6dTinOaCdZ0aIeNkHr/ZAA=";
    const FORM: &str = "AccountSid=AC9a9f9392lad99kla0sklakjs90j092j3&ApiVersion=2010-04-01&CallSid=CAd800bb12c0426a7ea4230e492fef2a4f\
        &CallStatus=ringing&Called=%2B15306384866&CalledCity=OAKLAND&CalledCountry=US&CalledState=CA&CalledZip=94612\
        &Caller=%2B15306666666&CallerCity=SOUTH+LAKE+TAHOE&CallerCountry=US&CallerName=CA+Wireless+Call&CallerState=CA\
        &CallerZip=89449&Direction=inbound&From=%2B15306666666&FromCity=SOUTH+LAKE+TAHOE&FromCountry=US&FromState=CA\
        &FromZip=89449&To=%2B15306384866&ToCity=OAKLAND&ToCountry=US&ToState=CA&ToZip=94612";

    #[test]
    fn s13_twilios_own_example_is_verified_and_nothing_else() {
        let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let signed = [form, ("x-twilio-signature", SIGNATURE)];
        assert!(check_twilio(URL, "", &signed, FORM.as_bytes()));
        // The order of the fields means nothing, their values do.
        let (first, rest) = FORM.split_once('&').unwrap();
        assert!(check_twilio(URL, "", &signed, format!("{rest}&{first}").as_bytes()));
        assert!(!check_twilio(URL, "", &signed, FORM.replace("ringing", "busy").as_bytes()));
        assert!(!check_twilio(URL, "", &signed, format!("{FORM}&Body=x").as_bytes()));
        // Another URL, host or query is another signature, whatever a request says of itself.
        for (url, query) in [("https://www.postbin.org/1ed898x", ""), ("http://evil.example/1ed898x", ""), (URL, "a=1")] {
            assert!(!check_twilio(url, query, &signed, FORM.as_bytes()), "{url} {query}");
        }
        let said =
            [form, ("x-twilio-signature", SIGNATURE), ("host", "www.postbin.org"), ("x-forwarded-host", "www.postbin.org")];
        assert!(!check_twilio("https://proxy.example/1ed898x", "", &said, FORM.as_bytes()));
        for bad in ["", "AAAA", "not base64!", "fF+xx6dTinOaCdZ0aIeNkHr/ZAB="] {
            assert!(!check_twilio(URL, "", &[form, ("x-twilio-signature", bad)], FORM.as_bytes()), "{bad}");
        }
        assert!(!check_twilio(URL, "", &[form], FORM.as_bytes()), "without a signature");
        assert!(!check_twilio(URL, "", &[form, signed[1], signed[1]], FORM.as_bytes()), "with two");
        assert!(!check_twilio(URL, "", &[signed[1]], FORM.as_bytes()), "a form that does not say that it is one");
    }

    #[test]
    fn s13_a_json_body_is_covered_by_its_digest_in_the_query() {
        let body = br#"{"id":1}"#;
        let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let query = format!("bodySHA256={digest}");
        let key = Key::plain(&Secret::new("1c892n40nd03kdnc0112slzkl3091j20")).unwrap();
        let signature = STANDARD.encode(sha1(&key, format!("{URL}?{query}").as_bytes()));
        let headers = [("content-type", "application/json"), ("x-twilio-signature", signature.as_str())];
        assert!(check_twilio(URL, &query, &headers, body));
        assert!(!check_twilio(URL, &query, &headers, br#"{"id":2}"#));
        assert!(!check_twilio(URL, "", &headers, body));
    }

    /// The example of the tests of SendGrid's own libraries.
    const PUBLIC_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
    const ECDSA: &str = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=";
    const AT: i64 = 1_600_112_502;
    const BATCH: &str = "[{\"email\":\"hello@world.com\",\"event\":\"dropped\",\"reason\":\"Bounced Address\",\"sg_event_id\":\"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA\",\"sg_message_id\":\"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0\",\"smtp-id\":\"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>\",\"timestamp\":1600112492}]\r\n";

    fn check_sendgrid(signature: &str, at: &str, raw: &[u8], now_s: i64) -> bool {
        let headers = [("x-twilio-email-event-webhook-signature", signature), ("x-twilio-email-event-webhook-timestamp", at)];
        let all = |name: &str| headers.iter().filter(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()).collect();
        PublicKey::read(PUBLIC_KEY).unwrap().verify(&all, raw, Time(now_s * 1_000)).is_ok()
    }

    #[test]
    fn s14_sendgrids_own_example_is_verified_and_nothing_else() {
        let at = AT.to_string();
        assert!(check_sendgrid(ECDSA, &at, BATCH.as_bytes(), AT));
        for (away, fine) in [(-301, false), (-300, true), (300, true), (301, false)] {
            assert_eq!(check_sendgrid(ECDSA, &at, BATCH.as_bytes(), AT + away), fine, "{away}");
        }
        assert!(!check_sendgrid(ECDSA, &at, BATCH.trim_end().as_bytes(), AT), "two bytes less");
        assert!(!check_sendgrid(ECDSA, &(AT + 1).to_string(), BATCH.as_bytes(), AT), "replayed under another time");
        for bad in ["", "AAAA", "MEUCIGHQVtGj", &ECDSA.replace('G', "H")] {
            assert!(!check_sendgrid(bad, &at, BATCH.as_bytes(), AT), "{bad}");
        }
        for bad in ["", "MFkw", "AAAA", &PUBLIC_KEY[..PUBLIC_KEY.len() - 4]] {
            assert!(PublicKey::read(bad).is_none(), "{bad}");
        }
    }
}
