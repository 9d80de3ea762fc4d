//! Links that messages carry: `/u/…` to unsubscribe, `/l/…` to follow a link and be counted.
//!
//! A link says by itself what it is for, signed with a key that only the store knows: nobody can make one, and one
//! leads nowhere but where it was made to lead. It holds the effect's id (which names the customer by the sender's id
//! for her), the channel, the topic, and the address as a digest; no name and no address. The same effect has the
//! same links at every attempt.

use crate::customer::codec::{decode, encode};
use crate::effect::{Effect, EffectKind, Links, Message};
use crate::event::address::{Address, field_of};
use crate::lang::value::{Fields, Value};
use crate::template::Rendered;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// The variable that a template names to offer a way out.
pub const UNSUBSCRIBE_URL: &str = "unsubscribe_url";
/// Longest link of ours that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// Longest URL that is followed through us, in bytes.
const URL_BYTES_MAX: usize = 2 * 1024;
/// Bytes of a signature: enough that nobody guesses one.
const SIGNATURE_BYTES: usize = 16;

/// Whoever follows it wants no more of these messages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// The effect of the message.
    #[serde(rename = "e")]
    pub effect: String,
    /// Its channel.
    #[serde(rename = "h")]
    pub channel: String,
    /// Only messages about this.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The address that the message went to.
    #[serde(rename = "a")]
    pub address: Address,
}

/// A link of a message that is followed through us.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Click {
    /// The effect of the message.
    #[serde(rename = "e")]
    pub effect: String,
    /// Its channel.
    #[serde(rename = "h")]
    pub channel: String,
    /// Where it leads.
    #[serde(rename = "u")]
    pub url: String,
}

/// Makes and reads links.
#[derive(Clone)]
pub struct Signer(Arc<[u8]>);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Signer {
    /// With the store's key.
    pub fn new(key: Vec<u8>) -> Signer {
        Signer(Arc::from(key))
    }

    fn signature(&self, kind: u8, payload: &[u8]) -> Vec<u8> {
        // An HMAC takes keys of any length (RFC 2104, section 2).
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        // The version of the form, and what the link is for: one kind is never taken for the other.
        mac.update(&[1, kind]);
        mac.update(payload);
        let mut signature = mac.finalize().into_bytes().to_vec();
        signature.truncate(SIGNATURE_BYTES);
        signature
    }

    fn token(&self, kind: u8, what: &impl Serialize) -> String {
        let mut bytes = encode(what);
        let signature = self.signature(kind, &bytes);
        bytes.extend(signature);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read<T: DeserializeOwned>(&self, kind: u8, token: &str) -> Option<T> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (payload, given) = bytes.split_at_checked(bytes.len().checked_sub(SIGNATURE_BYTES)?)?;
        let fits: bool = self.signature(kind, payload).as_slice().ct_eq(given).into();
        if fits { decode(payload).ok() } else { None }
    }

    /// What a link `/u/…` means; `None`: it is none of ours.
    pub fn unsubscribe(&self, token: &str) -> Option<Unsubscribe> {
        self.read(b'u', token)
    }

    /// What a link `/l/…` means.
    pub fn click(&self, token: &str) -> Option<Click> {
        self.read(b'l', token).filter(|click: &Click| leads_out(&click.url))
    }

    /// The variables of a message, with its way out.
    pub fn variables(&self, effect: &Effect, message: &Message) -> Fields {
        let mut variables = message.variables.clone();
        if let Some(links) = &message.links
            && let Some(url) = self.way_out(effect, message, links)
        {
            variables.insert(UNSUBSCRIBE_URL.to_owned(), Value::Text(url));
        }
        variables
    }

    fn way_out(&self, effect: &Effect, message: &Message, links: &Links) -> Option<String> {
        let unsubscribe = Unsubscribe {
            effect: effect.id.clone(),
            channel: message.channel.clone(),
            topic: links.topic.clone(),
            address: Address::of(field_of(&message.channel), &message.to)?,
        };
        Some(format!("{}/u/{}", links.address, self.token(b'u', &unsubscribe)))
    }

    /// The effect with its way out among its variables, for channels that tell mail programs of it.
    pub fn sealed(&self, effect: &Effect) -> Option<Effect> {
        let EffectKind::Message(message) = &effect.kind else { return None };
        message.links.as_ref()?;
        let message = Message { variables: self.variables(effect, message), ..message.clone() };
        Some(Effect { kind: EffectKind::Message(message), ..effect.clone() })
    }

    /// Leads the links of a message through us, where that is wanted.
    pub fn count_clicks(&self, effect: &Effect, rendered: Rendered) -> Rendered {
        let EffectKind::Message(message) = &effect.kind else { return rendered };
        let Some(links) = message.links.as_ref().filter(|links| links.clicks) else { return rendered };
        let through = |url: &str| {
            let own = url.strip_prefix(&links.address).is_some_and(|rest| rest.starts_with("/u/") || rest.starts_with("/l/"));
            let click = Click { effect: effect.id.clone(), channel: message.channel.clone(), url: url.to_owned() };
            (leads_out(url) && !own).then(|| format!("{}/l/{}", links.address, self.token(b'l', &click)))
        };
        Rendered { html: with_links(&rendered.html, through), ..rendered }
    }
}

/// Whether a URL leads to a web page and fits into a header.
fn leads_out(url: &str) -> bool {
    let web = url.starts_with("https://") || url.starts_with("http://");
    web && url.len() <= URL_BYTES_MAX && url.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The text with the addresses of its `<a href="…">` replaced.
fn with_links(html: &str, through: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find("<a ").or_else(|| rest.find("<a\n")) {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let end = tag.find('>').map_or(tag.len(), |end| end + 1);
        let (tag, after) = tag.split_at(end);
        out.push_str(&replaced(tag, &through).unwrap_or_else(|| tag.to_owned()));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn replaced(tag: &str, through: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let start = [" href=\"", "\nhref=\"", " href='", "\nhref='"].iter().find_map(|head| Some(tag.find(head)? + head.len()))?;
    let quote = tag.get(start - 1..start)?;
    let end = start + tag.get(start..)?.find(quote)?;
    let url = unescaped(tag.get(start..end)?.trim())?;
    Some(format!("{}{}{}", tag.get(..start)?, through(&url)?, tag.get(end..)?))
}

/// Undoes what stands for characters in an attribute; `None`: something else stands there.
fn unescaped(text: &str) -> Option<String> {
    let pairs = [("&#x2f;", "/"), ("&#x27;", "'"), ("&#39;", "'"), ("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">")];
    let plain = pairs.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain));
    let plain = plain.replace("&amp;", "&");
    (!plain.contains("&#")).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new(vec![7; 32])
    }

    fn unsubscribe() -> Unsubscribe {
        Unsubscribe {
            effect: "C-17/1/mail/1".to_owned(),
            channel: "email".to_owned(),
            topic: None,
            address: Address::of("email", "ada@example.com").unwrap(),
        }
    }

    #[test]
    fn a_link_is_read_as_it_was_made_and_no_other_is() {
        let token = signer().token(b'u', &unsubscribe());
        assert_eq!(token, signer().token(b'u', &unsubscribe()), "the same at every attempt");
        assert_eq!(signer().unsubscribe(&token), Some(unsubscribe()));
        assert_eq!(signer().click(&token), None, "one kind is never the other");
        assert_eq!(Signer::new(vec![8; 32]).unsubscribe(&token), None, "another store's");
        let plain = URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert!(!String::from_utf8_lossy(&plain).contains("ada@"), "no address can be read in it");
        for at in 0..plain.len() {
            let mut other = plain.clone();
            other[at] ^= 1;
            assert_eq!(signer().unsubscribe(&URL_SAFE_NO_PAD.encode(other)), None, "byte {at}");
        }
        for bad in ["", "a", "!", &token[1..], &token[..token.len() - 2], &"A".repeat(TOKEN_BYTES_MAX + 1)] {
            assert_eq!(signer().unsubscribe(bad), None, "{bad}");
        }
    }

    #[test]
    fn s53_a_million_guesses_hit_nothing() {
        // The payload is known to an attacker; the signature is what has to be guessed.
        let payload = encode(&unsubscribe());
        let signature = signer().signature(b'u', &payload);
        let mut guess = vec![0_u8; SIGNATURE_BYTES];
        let hits = (0_u64..1_000_000).filter(|n| {
            guess[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            guess == signature
        });
        assert_eq!(hits.count(), 0);
    }

    #[test]
    fn only_links_to_web_pages_lead_through_us() {
        let html = "<a class='x' href=\"https:&#x2f;&#x2f;shop.example/a?b=1&amp;c=2\">A</a> <a href='http://x.example'>B</a>\
                    <a href=\"mailto:a@x\">C</a><a name=x><link href=\"https://x/style\"><a href=\"javascript:alert(1)\">D</a>";
        let seen = std::cell::RefCell::new(Vec::new());
        let out = with_links(html, |url| {
            seen.borrow_mut().push(url.to_owned());
            leads_out(url).then(|| "L".to_owned())
        });
        assert_eq!(
            out,
            "<a class='x' href=\"L\">A</a> <a href='L'>B</a>\
             <a href=\"mailto:a@x\">C</a><a name=x><link href=\"https://x/style\"><a href=\"javascript:alert(1)\">D</a>"
        );
        assert_eq!(seen.borrow()[0], "https://shop.example/a?b=1&c=2");
        for bad in
            ["javascript:alert(1)", "https://x\r\nset-cookie: a=1", "//x", "https://ä", &format!("https://{}", "x".repeat(2_048))]
        {
            assert!(!leads_out(bad), "{bad}");
        }
    }
}
