//! Reads a source from the settings.

use super::map::{Mapping, Name, Roots};
use super::provider::PublicKey;
use super::signature::{Algorithm, Encoding, Key, Verify};
use super::{EVENT, FIELDS, HMAC, MAP, MAP_ENTRIES_MAX, SENDGRID, Source, TWILIO, VERIFY};
use crate::funnel::settings::CHANNELS;
use crate::lang::cel::{Cond, Expr, Text};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{self, Object};
use crate::wire::secrets::{Secret, Secrets, one};

/// Most secrets that are valid at the same time.
const SECRETS_MAX: usize = 2;

pub(super) fn compile(name: &str, node: &Node, secrets: &dyn Secrets, faults: &mut Faults) -> Option<Source> {
    let errors = faults.error_count();
    let object = Object::read(node, &[FIELDS], &format!("the source `{name}`"), faults)?;
    let verify = object.node("verify").and_then(|node| verify(node, secrets, faults));
    let map = map(name, &object, faults);
    let verify = verify?;
    (faults.error_count() == errors).then(|| Source { name: name.to_owned(), verify, map })
}

fn verify(node: &Node, secrets: &dyn Secrets, faults: &mut Faults) -> Option<Verify> {
    if node.scalar() == Some("none") {
        return Some(Verify::Nothing);
    }
    let object = Object::read(node, &[VERIFY], "`verify`", faults)?;
    let ways =
        ["standard_webhooks", "hmac", "twilio", "sendgrid", "bearer"].iter().filter(|way| object.node(way).is_some()).count();
    if ways != 1 {
        faults
            .error(
                "bad-verify",
                &object.place,
                "`verify` needs exactly one of `standard_webhooks`, `hmac`, `twilio`, `sendgrid`, `bearer`",
            )
            .hint("write for example `verify: { standard_webhooks: \"${env:AUTOFUNNEL_SHOP_SECRET}\" }`");
        return None;
    }
    if object.node("standard_webhooks").is_some() {
        return keys(&object, "standard_webhooks", Key::standard, secrets, faults).map(Verify::Standard);
    }
    if object.node("bearer").is_some() {
        return keys(&object, "bearer", Key::plain, secrets, faults).map(Verify::Bearer);
    }
    if let Some(node) = object.node("twilio") {
        return twilio(node, secrets, faults);
    }
    if let Some(node) = object.node("sendgrid") {
        return sendgrid(node, faults);
    }
    let hmac = Object::read(object.node("hmac")?, &[HMAC], "`hmac`", faults)?;
    let algorithm = match hmac.word("algorithm", &["sha256", "sha1"], faults)? {
        "sha1" => Algorithm::Sha1,
        _ => Algorithm::Sha256,
    };
    let encoding = match hmac.word("encoding", &["hex", "base64"], faults) {
        Some("base64") => Encoding::Base64,
        _ => Encoding::Hex,
    };
    let header = hmac.text("header", faults)?;
    if header.text.is_empty() || !header.text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        faults.error("bad-header", &header.place, "a header's name has letters, digits and `-` only");
        return None;
    }
    let prefix = hmac.text("prefix", faults).map(|text| text.text).unwrap_or_default();
    let keys = keys(&hmac, "secret", Key::plain, secrets, faults)?;
    Some(Verify::Hmac { algorithm, header: header.text.to_ascii_lowercase(), encoding, prefix, keys })
}

fn twilio(node: &Node, secrets: &dyn Secrets, faults: &mut Faults) -> Option<Verify> {
    let object = Object::read(node, &[TWILIO], "`twilio`", faults)?;
    let url = object.text("url", faults)?;
    if !url.text.starts_with("https://") || url.text.contains(char::is_whitespace) {
        faults
            .error("bad-url", &url.place, "Twilio signs the URL that it calls, so it must be written here just as it is there")
            .hint("write for example `https://shop.example/hooks/twilio`");
        return None;
    }
    let keys = keys(&object, "auth_token", Key::plain, secrets, faults)?;
    Some(Verify::Twilio { keys, url: url.text })
}

fn sendgrid(node: &Node, faults: &mut Faults) -> Option<Verify> {
    let object = Object::read(node, &[SENDGRID], "`sendgrid`", faults)?;
    let text = object.text("public_key", faults)?;
    let key = PublicKey::read(&text.text);
    if key.is_none() {
        faults
            .error("bad-key", &text.place, "this is not a public key of ECDSA on P-256 in base64")
            .hint("copy the verification key from SendGrid's settings of the event webhook; it begins with `MFkw`");
    }
    key.map(Verify::SendGrid)
}

/// One secret, or two while it is changed.
fn keys(
    object: &Object<'_>,
    field: &str,
    read: fn(&Secret) -> Result<Key, String>,
    secrets: &dyn Secrets,
    faults: &mut Faults,
) -> Option<Vec<Key>> {
    let texts = object.texts(field, faults);
    if texts.is_empty() || texts.len() > SECRETS_MAX {
        faults.error("bad-secret", &object.place(field), format!("one secret or {SECRETS_MAX} are wanted, not {}", texts.len()));
        return None;
    }
    let keys: Vec<Option<Key>> = texts
        .iter()
        .map(|text| match read(&one(text, secrets, faults)?) {
            Ok(key) => Some(key),
            Err(why) => {
                faults.error("bad-secret", &text.place, why);
                None
            }
        })
        .collect();
    keys.into_iter().collect()
}

fn map(source: &str, object: &Object<'_>, faults: &mut Faults) -> Vec<Mapping> {
    let Some(node) = object.node("map") else { return Vec::new() };
    let Some(entries) = node.list() else {
        faults.error("wrong-type", &node.place, format!("`map` must be a list, but here stands {}", node.describe()));
        return Vec::new();
    };
    if entries.is_empty() || entries.len() > MAP_ENTRIES_MAX {
        faults
            .error("bad-map", &node.place, format!("`map` has {} entries; 1 to {MAP_ENTRIES_MAX} are wanted", entries.len()))
            .hint("without an entry every delivery would be ignored");
    }
    entries.iter().filter_map(|entry| mapping(source, entry, faults)).collect()
}

fn mapping(source: &str, node: &Node, faults: &mut Faults) -> Option<Mapping> {
    let object = Object::read(node, &[MAP], "an entry of `map`", faults)?;
    let when = object.node("when").map(|node| Cond::from_node(node, &Roots, faults));
    let event = object.node("event").and_then(|node| name(node, faults));
    let id = object.node("id").and_then(|node| expr(node, faults));
    let optional = |name: &str, faults: &mut Faults| object.node(name).map(|node| expr(node, faults));
    let (customer, effect) = (optional("customer", faults), optional("effect", faults));
    let (message, address) = (optional("message", faults), optional("address", faults));
    let channel = object.word("channel", CHANNELS, faults).map(str::to_owned);
    let provider = object.text("provider", faults).map_or_else(|| source.to_owned(), |name| name.text);
    if customer.is_none() && effect.is_none() && message.is_none() && address.is_none() {
        faults
            .error("missing-field", &object.place, "the entry does not say whom it is about")
            .hint("add `customer: …`, or for a callback about a message `effect: …`, `message: …` or `address: …`");
        return None;
    }
    if address.is_some() && channel.is_none() {
        faults.error("missing-field", &object.place, "an address belongs to a channel").hint("add for example `channel: email`");
        return None;
    }
    let time = object.node("time").map(|node| expr(node, faults));
    let mut properties = Vec::new();
    if let Some(node) = object.node("properties") {
        match node.map() {
            Some(entries) => {
                for (key, node) in entries {
                    if let Some(expr) = expr(node, faults) {
                        properties.push((key.text.clone(), expr));
                    }
                }
            }
            None => {
                faults.error(
                    "wrong-type",
                    &node.place,
                    format!("`properties` must be a map of names, but here stands {}", node.describe()),
                );
            }
        }
    }
    // What is there but wrong is `Some(None)`: the entry is dropped, its fault is already told.
    let sound = |found: Option<Option<Expr>>| found.map_or(Some(None), |found| found.map(Some));
    let when = when.map_or(Some(None), |when| when.map(Some))?;
    let (customer, effect) = (sound(customer)?, sound(effect)?);
    let (message, address, time) = (sound(message)?, sound(address)?, sound(time)?);
    Some(Mapping { when, event: event?, id: id?, customer, effect, message, provider, address, channel, time, properties })
}

fn name(node: &Node, faults: &mut Faults) -> Option<Name> {
    if node.map().is_some() {
        let object = Object::read(node, &[EVENT], "`event`", faults)?;
        return expr(object.node("cel")?, faults).map(Name::Expr);
    }
    shape::name(node, faults).map(|name| Name::Fixed(name.text))
}

/// An expression; any scalar will do, since `1` and `"1"` are both expressions.
fn expr(node: &Node, faults: &mut Faults) -> Option<Expr> {
    let Some(text) = node.scalar().filter(|_| !node.is_null()) else {
        faults
            .error("wrong-type", &node.place, format!("an expression is wanted, but here stands {}", node.describe()))
            .hint("write for example `body.order.id`");
        return None;
    };
    Expr::check(&Text { text: text.to_owned(), place: node.place.clone() }, &Roots, faults)
}
