//! Addresses of customers, and what was said about one: it bounced, somebody complained, wrote STOP, or
//! unsubscribed.
//!
//! What is said about an address holds for everybody who has it, now and later, and outlives the customer. So it
//! is kept by the address and not by the customer: under a digest, for the address itself is nobody's business
//! once she is gone. (A digest of a phone number can be found again by trying all numbers: it is a name under
//! which nothing can be read by accident, and no secret.)

use crate::lang::time::Time;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Most customers of one address that an index keeps; who comes after them is not messaged there.
pub const HOLDERS_MAX: usize = 50;
/// Soft bounces within [`SOFT_MS`] that count as a hard one.
pub const SOFT_MAX: usize = 3;
/// How long a soft bounce counts, in milliseconds.
pub const SOFT_MS: i64 = 72 * crate::lang::time::HOUR_MS;
/// Longest address that is looked at, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 320;

/// Every channel with the profile field that holds its address.
pub const FIELDS: &[(&str, &str)] = &[("email", "email"), ("sms", "phone"), ("chat", "chat"), ("push", "push")];

/// The profile field that holds the address of a channel.
pub fn field_of(channel: &str) -> &str {
    FIELDS.iter().find(|(name, _)| *name == channel).map_or(channel, |(_, field)| field)
}

/// An address as an index knows it: 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Address(String);

impl Address {
    /// The address of a profile field, however it is written; `None`: there is nothing in it.
    pub fn of(field: &str, text: &str) -> Option<Address> {
        let plain = normal(field, text)?;
        Some(Address::digest(&[field, &plain]))
    }

    /// The name under which the effect of a provider's own id of a message is kept.
    pub fn of_reference(provider: &str, reference: &str) -> Address {
        Address::digest(&["reference", provider, reference])
    }

    fn digest(parts: &[&str]) -> Address {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Address(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }

    /// An address as [`Address::as_str`] wrote it.
    pub fn read(text: &str) -> Option<Address> {
        let fits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        fits.then(|| Address(text.to_owned()))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One form for all ways to write an address: letters are small, numbers are digits with the country first.
fn normal(field: &str, text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > ADDRESS_BYTES_MAX {
        return None;
    }
    let plain = match field {
        "email" => text.to_lowercase(),
        "phone" => {
            // Providers write `whatsapp:+491…`, people `0049 1…`.
            let number = text.rsplit_once(':').map_or(text, |(_, number)| number);
            let digits: String = number.chars().filter(char::is_ascii_digit).collect();
            let plus = number.trim_start().starts_with('+');
            if plus { digits } else { digits.strip_prefix("00").map(str::to_owned).unwrap_or(digits) }
        }
        _ => text.to_owned(),
    };
    Some(plain).filter(|plain| !plain.is_empty())
}

/// Why nothing may be sent to an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopKind {
    /// The provider cannot deliver there.
    Bounced,
    /// A message was reported as unwanted.
    Complained,
    /// STOP was answered.
    Stopped,
    /// The way out of a message was taken, or the provider's own.
    Unsubscribed,
    /// A reply in free words asks for it, as it seems: a person is to look at it.
    Asked,
    /// More than [`HOLDERS_MAX`] customers have it: what is said about it would not reach all of them.
    Crowded,
}

impl StopKind {
    /// Every kind.
    pub const ALL: &'static [StopKind] =
        &[StopKind::Bounced, StopKind::Complained, StopKind::Stopped, StopKind::Unsubscribed, StopKind::Asked, StopKind::Crowded];

    /// Its name in stores and timelines.
    pub fn name(self) -> &'static str {
        match self {
            StopKind::Bounced => "bounced",
            StopKind::Complained => "complained",
            StopKind::Stopped => "stopped",
            StopKind::Unsubscribed => "unsubscribed",
            StopKind::Asked => "asked",
            StopKind::Crowded => "crowded",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<StopKind> {
        StopKind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// It was the person's own word, so her own word takes it back: START, or consent that she gives anew.
    pub fn can_be_lifted(self) -> bool {
        matches!(self, StopKind::Stopped | StopKind::Unsubscribed | StopKind::Asked)
    }

    /// Whether a lift takes it back: one of her own words, or of one kind only.
    pub fn is_lifted(self, only: Option<StopKind>) -> bool {
        self.can_be_lifted() && only.is_none_or(|only| only == self)
    }

    /// Order confirmations and the like do not go there either. Who unsubscribes from marketing still wants them.
    pub fn stops_everything(self) -> bool {
        self != StopKind::Unsubscribed
    }
}

/// Nothing (or no marketing) is to be sent to an address by a channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stop {
    /// The channel.
    pub channel: String,
    /// Why.
    pub kind: StopKind,
    /// Since when.
    pub since: Time,
    /// Who said so: a source, `link`, `api`.
    pub source: String,
}

/// What a word that came in as a whole message means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keyword {
    /// Send nothing more.
    Stop,
    /// Send again.
    Start,
}

const STOP_WORDS: &[&str] = &[
    "stop",
    "stopall",
    "stop all",
    "unsubscribe",
    "cancel",
    "end",
    "quit",
    "optout",
    "opt out",
    "opt-out",
    "revoke",
    "arret",
    "arrêt",
];
const START_WORDS: &[&str] = &["start", "yes", "unstop"];

/// The keyword that a message is, if it is nothing else: ` Stop. ` is one, `please stop` is not.
pub fn keyword(message: &str) -> Option<Keyword> {
    let message: &str = &plain_width(message);
    let trimmed = message.trim_matches(|c: char| !c.is_alphanumeric());
    // A keyword is short: nothing is made of what a person has written at length.
    if trimmed.is_empty() || trimmed.len() > 32 {
        return None;
    }
    let word = trimmed.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    match () {
        () if STOP_WORDS.contains(&word.as_str()) => Some(Keyword::Stop),
        () if START_WORDS.contains(&word.as_str()) => Some(Keyword::Start),
        () => None,
    }
}

/// A text with the wide letters of East Asian keyboards as plain ones: `ＳＴＯＰ` is STOP.
fn plain_width(text: &str) -> String {
    let plain = |c: char| match u32::from(c) {
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(c),
        0x3000 => ' ',
        _ => c,
    };
    text.chars().map(plain).collect()
}

/// What asks to be left alone in free words, as single words or as words in a row.
const ASKING: &[&str] = &[
    "stop",
    "stopp",
    "unsubscribe",
    "optout",
    "opt out",
    "remove me",
    "take me off",
    "revoke",
    "no more",
    "do not text",
    "don t text",
    "do not message",
    "do not contact",
    "don t contact",
    "leave me alone",
    "arret",
    "arrêt",
    "arrêtez",
    "désabonner",
    "abmelden",
    "abbestellen",
    "keine nachrichten",
];

/// Whether a message that is no keyword seems to ask that nothing more is sent. It is for a person to say; until then it
/// counts as such.
pub fn asks_to_stop(message: &str) -> bool {
    let words: Vec<String> = plain_width(message)
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    ASKING.iter().any(|asking| {
        let asking: Vec<&str> = asking.split(' ').collect();
        words.windows(asking.len()).any(|row| row.iter().map(String::as_str).eq(asking.iter().copied()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_write_an_address_meet() {
        let email = |text| Address::of("email", text).unwrap();
        assert_eq!(email("Ada@Example.com "), email("ada@example.com"));
        assert_ne!(email("ada@example.com"), email("bob@example.com"));
        let phone = |text| Address::of("phone", text).unwrap();
        for other in ["+49 (170) 123-4567", "00491701234567", "491701234567", "whatsapp:+491701234567"] {
            assert_eq!(phone(other), phone("+491701234567"), "{other}");
        }
        assert_ne!(Address::of("chat", "+491701234567").unwrap(), phone("+491701234567"));
        assert_eq!(Address::of("phone", " - "), None);
        assert_eq!(Address::of("email", ""), None);
        let one = email("ada@example.com");
        assert_eq!(Address::read(one.as_str()), Some(one));
        assert_eq!(Address::read("../../etc/passwd"), None);
        // A fixed value: another function would forget who has said no.
        assert_eq!(email("ada@example.com").as_str().len(), 32);
    }

    #[test]
    fn s56_a_stop_is_a_whole_message() {
        for text in [
            "STOP",
            " stop ",
            "Stop.",
            "\"stop\"",
            "STOPALL",
            "Unsubscribe!",
            "cancel",
            "END",
            "quit",
            "OPTOUT",
            "revoke",
            "ARRET",
            "ＳＴＯＰ",
            "\u{3000}ｓｔｏｐ。",
            "stop  all",
        ] {
            assert_eq!(keyword(text), Some(Keyword::Stop), "{text}");
        }
        for text in ["START", "yes!", " Unstop"] {
            assert_eq!(keyword(text), Some(Keyword::Start), "{text}");
        }
        for text in ["please stop texting me", "HELP", "", "...", "stopping", "the end", "yes please", "don't stop"] {
            assert_eq!(keyword(text), None, "{text}");
        }
    }

    #[test]
    fn s56_free_words_can_ask_for_it() {
        for text in [
            "please stop texting me",
            "I want to UNSUBSCRIBE!",
            "opt-out, please",
            "Remove me from this list",
            "no more of these",
            "Don't text me again",
            "bitte abmelden",
            "arrêtez ça",
            // A person sees that it is none; nothing is lost by asking her.
            "don't stop",
        ] {
            assert!(asks_to_stop(text), "{text}");
        }
        for text in ["stopping by at six", "the end", "cancel my order", "yes please", "", "HELP", "nonstop"] {
            assert!(!asks_to_stop(text), "{text}");
        }
    }
}
