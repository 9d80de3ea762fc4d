//! From a rendered message to the bytes of an e-mail.
//!
//! The same effect gives the same bytes: date, message id and part boundary come from the effect, never from
//! a clock or from chance. Nothing that data says becomes a header: line breaks and encoded words are refused
//! before the library that encodes headers sees them.

use super::dkim::Signer;
use crate::effect::{Effect, Message};
use crate::lang::value::Value;
use crate::template::{Context, Line, Rendered};
use crate::wire::ascii_host;
use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, MultiPart, SinglePart};
use sha2::{Digest, Sha256};
use std::time::{Duration, UNIX_EPOCH};

/// Longest message id before the `@`; a longer effect's id is written as its digest.
const ID_BYTES_MAX: usize = 120;
/// Longest unsubscribe link: a line of a message has at most 998 characters (RFC 5322 2.1.1).
const LINK_BYTES_MAX: usize = 900;

/// What every message of a provider has in common.
pub(super) struct Letter {
    pub from: Mailbox,
    pub reply_to: Option<Mailbox>,
    pub unsubscribe: Option<Line>,
    pub headers: Vec<(HeaderName, Line)>,
    pub signer: Option<Signer>,
}

/// A message as it is handed to a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mail {
    pub from: Address,
    pub to: Address,
    pub bytes: Vec<u8>,
}

impl Letter {
    /// Writes the message.
    ///
    /// # Errors
    /// One sentence: it can never be sent like this.
    pub fn write(&self, effect: &Effect, message: &Message, rendered: &Rendered, context: &Context<'_>) -> Result<Mail, String> {
        let to = address(&message.to)?;
        let domain = self.from.email.domain();
        let seconds = Duration::from_millis(u64::try_from(effect.decided_at.0).unwrap_or(0));
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .date(UNIX_EPOCH + seconds)
            .message_id(Some(message_id(&effect.id, domain)))
            .subject(header_text("subject", &rendered.subject)?);
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        for (name, line) in &self.headers {
            let value = line.render(context).map_err(|why| why.to_string())?;
            builder = builder.raw_header(HeaderValue::new(name.clone(), header_text(name, &value)?));
        }
        if let Some(link) = self.way_out(message, context)? {
            builder = unsubscribe(builder, &link)?;
        }
        let whole = body(builder, &effect.id, rendered)?;
        let mut bytes = whole.formatted();
        if let Some(signer) = &self.signer {
            let text = String::from_utf8(bytes).map_err(|_| "the message is not text".to_owned())?;
            bytes = format!("{}{text}", signer.sign(&text, effect.decided_at)?).into_bytes();
        }
        Ok(Mail { from: self.from.email.clone(), to, bytes })
    }
}

impl Letter {
    /// The link that unsubscribes: the one of the settings, else the engine's own. What is owed has none.
    fn way_out(&self, message: &Message, context: &Context<'_>) -> Result<Option<String>, String> {
        if message.transactional {
            return Ok(None);
        }
        if let Some(line) = &self.unsubscribe {
            return line.render(context).map(Some).map_err(|why| why.to_string());
        }
        let own = message.variables.get("unsubscribe_url").and_then(Value::as_text);
        // Mail programs take https only; an engine that is tried out on localhost has none.
        Ok(own.filter(|link| link.starts_with("https://")).map(str::to_owned))
    }
}

/// One address, with its domain as it is written on the wire.
///
/// # Errors
/// One sentence that says what is wrong with it.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    let wrong = || format!("`{shown}` is no e-mail address");
    let (user, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
    if !user.is_ascii() {
        return Err(format!("{}: only plain letters may stand before its `@`", wrong()));
    }
    let domain = ascii_host(domain).filter(|domain| !domain.starts_with('[')).ok_or_else(wrong)?;
    Address::new(user, domain).map_err(|_| wrong())
}

/// A header's text as it may be handed to the encoder.
fn header_text(name: &str, text: &str) -> Result<String, String> {
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(format!("the header `{name}` contains a line break or control character"));
    }
    // An encoded word may decode to a line break at the receiver (RFC 2047).
    if text.contains("=?") && text.contains("?=") {
        return Err(format!("the header `{name}` contains an encoded word"));
    }
    Ok(text.to_owned())
}

/// The effect's id as the message's: who has both copies of a message that was sent twice can tell.
fn message_id(id: &str, domain: &str) -> String {
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let plain =
        id.len() <= ID_BYTES_MAX && !id.is_empty() && id.split('.').all(|part| !part.is_empty() && part.chars().all(atom));
    match plain {
        true => format!("<{id}@{domain}>"),
        false => format!("<{}@{domain}>", digest(id)),
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One click, as mail programs do it by themselves (RFC 8058), or a page for people.
fn unsubscribe(builder: MessageBuilder, link: &str) -> Result<MessageBuilder, String> {
    let fit = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"');
    if link.len() > LINK_BYTES_MAX || !link.starts_with("https://") || !link.chars().all(fit) {
        return Err(format!("the unsubscribe link is no https link of at most {LINK_BYTES_MAX} characters"));
    }
    let written = format!("<{link}>");
    // Written as it is: it was checked above, and an encoder could fold it.
    let header = |name, value: &str| HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), value.to_owned());
    Ok(builder
        .raw_header(header(HeaderName::new_from_ascii_str("List-Unsubscribe"), &written))
        .raw_header(header(HeaderName::new_from_ascii_str("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click")))
}

fn body(builder: MessageBuilder, id: &str, rendered: &Rendered) -> Result<lettre::Message, String> {
    let (text, html) = (rendered.text.clone(), rendered.html.clone());
    let written = match (text.is_empty(), html.is_empty()) {
        (_, true) => builder.singlepart(SinglePart::plain(text)),
        (true, false) => builder.singlepart(SinglePart::html(html)),
        (false, false) => {
            let boundary = digest(&format!("boundary {id}"));
            let parts = MultiPart::alternative().boundary(boundary.get(..32).unwrap_or(&boundary));
            builder.multipart(parts.singlepart(SinglePart::plain(text)).singlepart(SinglePart::html(html)))
        }
    };
    written.map_err(|why| format!("the message cannot be written: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_mailbox_and_nothing_else() {
        for (text, read) in [("ann+x@example.com", "ann+x@example.com"), ("a@Bücher.example", "a@xn--bcher-kva.example")] {
            assert_eq!(address(text).unwrap().to_string(), read);
        }
        let long = format!("{}@example.com", "x".repeat(255));
        for bad in [
            "",
            "ann",
            "@example.com",
            "a@",
            "a@b@",
            "Ann <a@example.com>",
            "a@example.com, b@example.com",
            "a@[127.0.0.1]",
            "a@example.com\r\nBcc: b@example.com",
            "a\r\nb@example.com",
            "a b@example.com",
            "ä@example.com",
            &long,
            "a@exa mple.com",
        ] {
            assert!(address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_message_id_is_the_effects_and_always_well_formed() {
        assert_eq!(message_id("ann/1/mail/0", "example.com"), "<ann/1/mail/0@example.com>");
        for id in ["a@b/1/mail/0", "ä/1", "a..b", "a b", "<x>", "", &"x".repeat(200)] {
            let written = message_id(id, "example.com");
            assert!(written.len() == 64 + 2 + "@example.com".len() && written.is_ascii(), "{id}: {written}");
        }
    }

    #[test]
    fn no_data_becomes_a_header() {
        for bad in ["Hi\r\nBcc: x@example.com", "a\0b", "a\u{2028}b", "=?utf-8?q?=0D=0ABcc:_x@example.com?="] {
            assert!(header_text("subject", bad).is_err(), "{bad:?}");
        }
        assert!(header_text("subject", "50 % = ok?").is_ok());
    }
}
