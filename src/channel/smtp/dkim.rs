//! The signature of the sending domain (RFC 6376, RFC 8463): relaxed canonical form of headers and body.
//!
//! The same message gives the same signature: its time is that of the decision, and both RSA with PKCS#1
//! padding and Ed25519 sign without chance.

use crate::lang::time::Time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use sha2::{Digest, Sha256};

/// Headers that are signed where they are there (RFC 6376 5.4.1; RFC 8058 wants the last two).
const SIGNED: &[&str] = &[
    "from",
    "reply-to",
    "to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-unsubscribe",
    "list-unsubscribe-post",
];
/// Characters of the signature in one line.
const LINE_CHARS: usize = 72;

/// Signs messages of one domain.
pub(super) struct Signer {
    domain: String,
    selector: String,
    key: Key,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Signer {
    /// `pem` is a private key: RSA of 2048 bits or more, or Ed25519.
    ///
    /// # Errors
    /// One sentence: the key cannot be used.
    pub fn new(domain: String, selector: String, pem: &str) -> Result<Signer, String> {
        let (label, der) = decode(pem).ok_or("the key is no PEM text (`-----BEGIN PRIVATE KEY-----` …)")?;
        let key = match label {
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der).map(|key| Key::Rsa(Box::new(key))),
            "PRIVATE KEY" => match Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
                Ok(key) => Ok(Key::Ed25519(Box::new(key))),
                Err(_) => RsaKeyPair::from_pkcs8(&der).map(|key| Key::Rsa(Box::new(key))),
            },
            _ => return Err("the key is not a private key of RSA or Ed25519".to_owned()),
        };
        let key =
            key.map_err(|why| format!("the key cannot be used ({why}); it must be RSA of 2048 bits or more, or Ed25519"))?;
        Ok(Signer { domain, selector, key })
    }

    /// The header with the signature, with its line end, to be put before the message.
    ///
    /// # Errors
    /// The system has no random numbers, which RSA needs to hide its work.
    pub fn sign(&self, message: &str, at: Time) -> Result<String, String> {
        let (head, body) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
        let headers = unfolded(head);
        let there: Vec<(&str, &str)> = SIGNED
            .iter()
            .filter_map(|name| headers.iter().find(|(n, _)| n == name).map(|(_, value)| (*name, value.as_str())))
            .collect();
        let names: Vec<&str> = there.iter().map(|(name, _)| *name).collect();
        let algorithm = match &self.key {
            Key::Rsa(_) => "rsa-sha256",
            Key::Ed25519(_) => "ed25519-sha256",
        };
        let fields = [
            format!("v=1; a={algorithm}; c=relaxed/relaxed; d={}; s={};", self.domain, self.selector),
            format!("t={}; h={};", at.0.div_euclid(1_000).max(0), names.join(":")),
            format!("bh={};", BASE64.encode(Sha256::digest(canonical_body(body).as_bytes()))),
        ];
        let mut signed: String = there.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
        signed.push_str(&format!("dkim-signature:{} b=", fields.join(" ")));
        let signature = BASE64.encode(self.signature(signed.as_bytes())?);
        let lines: Vec<&str> = (0..signature.len())
            .step_by(LINE_CHARS)
            .filter_map(|at| signature.get(at..(at + LINE_CHARS).min(signature.len())))
            .collect();
        Ok(format!("DKIM-Signature: {}\r\n b={}\r\n", fields.join("\r\n "), lines.join("\r\n ")))
    }

    fn signature(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        match &self.key {
            Key::Ed25519(key) => Ok(key.sign(&Sha256::digest(text)).as_ref().to_vec()),
            Key::Rsa(key) => {
                let mut out = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut out)
                    .map_err(|_| "the message could not be signed")?;
                Ok(out)
            }
        }
    }
}

/// The first key of a PEM text: what it is called, and its bytes.
fn decode(pem: &str) -> Option<(&str, Vec<u8>)> {
    let (label, rest) = pem.split_once("-----BEGIN ")?.1.split_once("-----")?;
    let body: String = rest.split_once("-----END ")?.0.split_whitespace().collect();
    Some((label, BASE64.decode(body).ok()?))
}

/// Headers in the relaxed form: small names, values in one line with single blanks.
fn unfolded(head: &str) -> Vec<(String, String)> {
    let mut lines: Vec<String> = Vec::new();
    for line in head.split("\r\n") {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    let split = |line: &String| {
        let (name, value) = line.split_once(':')?;
        let value: Vec<&str> = value.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        Some((name.trim_end().to_ascii_lowercase(), value.join(" ")))
    };
    lines.iter().filter_map(split).collect()
}

/// The body in the relaxed form: single blanks, none at the ends of lines, no empty lines at the end.
fn canonical_body(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    for line in body.split("\r\n") {
        let mut blank = false;
        let trimmed = line.trim_end_matches([' ', '\t']);
        for c in trimmed.chars() {
            let is_blank = c == ' ' || c == '\t';
            match (is_blank, blank) {
                (true, true) => {}
                (true, false) => out.push(' '),
                (false, _) => out.push(c),
            }
            blank = is_blank;
        }
        out.push_str("\r\n");
    }
    let end = out.trim_end_matches("\r\n").len();
    out.truncate(end);
    if !out.is_empty() {
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::{DKIM_ED25519, DKIM_RSA};
    use super::*;
    use ring::signature::{ED25519, KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    const MESSAGE: &str =
        "From: Ann <a@example.com>\r\nSubject:  two \t words\r\n and a fold\r\nX-Other: no\r\n\r\n a  b \r\n\r\nc\r\n\r\n\r\n";

    #[test]
    fn the_canonical_forms_are_those_of_rfc_6376() {
        // Section 3.4.5, its own example.
        assert_eq!(canonical_body(" C \r\nD \t E\r\n\r\n\r\n"), " C\r\nD E\r\n");
        let headers = unfolded("A: X\r\nB : Y\t\r\n\tZ  ");
        assert_eq!(headers, [("a", "X"), ("b", "Y Z")].map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((canonical_body(""), canonical_body("\r\n")), (String::new(), String::new()));
    }

    /// What a receiver does: cut the signature out of its header and compare.
    fn signed_text(header: &str) -> (Vec<u8>, Vec<u8>) {
        let (fields, signature) = header.split_once(" b=").unwrap();
        let signature: String = signature.split_whitespace().collect();
        let (name, value) = unfolded(&format!("{fields} b=")).remove(0);
        let text = format!("from:Ann <a@example.com>\r\nsubject:two words and a fold\r\n{name}:{value}");
        (text.into_bytes(), BASE64.decode(signature).unwrap())
    }

    #[test]
    fn a_signature_is_right_and_always_the_same() {
        for pem in [DKIM_RSA, DKIM_ED25519] {
            let signer = Signer::new("example.com".to_owned(), "s1".to_owned(), pem).unwrap();
            let at = Time(1_800_000_000_000);
            let header = signer.sign(MESSAGE, at).unwrap();
            assert_eq!(header, signer.sign(MESSAGE, at).unwrap());
            assert!(header.contains("t=1800000000; h=from:subject;") && header.lines().all(|line| line.len() < 100), "{header}");
            let (text, signature) = signed_text(&header);
            match &signer.key {
                Key::Rsa(key) => {
                    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public()).verify(&text, &signature).unwrap()
                }
                Key::Ed25519(key) => {
                    UnparsedPublicKey::new(&ED25519, key.public_key()).verify(&Sha256::digest(&text), &signature).unwrap();
                }
            }
            let other = signer.sign(&MESSAGE.replace("a  b", "a c"), at).unwrap();
            assert_ne!(header, other);
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_told() {
        for bad in [
            "",
            "abc",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        ] {
            assert!(Signer::new("example.com".to_owned(), "s1".to_owned(), bad).is_err(), "{bad}");
        }
    }
}
