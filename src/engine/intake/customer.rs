//! A customer's own data as JSON: `{"profile", "consent", "membership"}`.
//!
//! Checked against the settings in force: the profile fields there are and their types, channels,
//! memberships of the catalog, and who owns memberships.

use super::names::{is_unseen, nothing_else, take_text};
use super::{Refusal, World, fit};
use crate::event::{ConsentChange, FUTURE_MS_MAX, MembershipChange, NAME_BYTES_MAX, ProfileChange};
use crate::funnel::settings::{CHANNELS, MembershipOwner};
use crate::lang::cel::Type;
use crate::lang::time::{Time, Zone, parse_date};
use crate::lang::value::{Fields, Value};

/// Longest text of a profile field, in bytes.
pub const PROFILE_TEXT_BYTES_MAX: usize = 2_000;
/// Longest e-mail address, in bytes (RFC 5321, section 4.5.3.1.3, without the angle brackets).
const EMAIL_BYTES_MAX: usize = 254;
/// Digits of a phone number (E.164: at most 15).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 5..=15;

const FIELDS: &[&str] = &["profile", "consent", "membership"];
const BUILT_IN: &[&str] = &["name", "email", "phone", "zone", "language", "birthday", "chat", "push"];

/// Where data comes from, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// `PUT /v1/customers/{id}`.
    Api,
    /// An import: may set memberships whoever owns them, and says so in its consents.
    Import,
}

impl Origin {
    fn name(self) -> &'static str {
        match self {
            Origin::Api => "api",
            Origin::Import => "import",
        }
    }
}

/// Checks a change of a customer's own data. Leaves in `fields` nothing that it does not know.
///
/// # Errors
/// One sentence with the field that is wrong.
pub fn read(mut fields: Fields, world: &World, now: Time, origin: Origin) -> Result<ProfileChange, Refusal> {
    let profile = match fields.remove("profile") {
        None | Some(Value::Null) => Fields::new(),
        Some(Value::Map(profile)) => check_profile(profile, world, now)?,
        Some(other) => return Err(not_a_map("profile", &other)),
    };
    let consent = match fields.remove("consent") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Map(consent)) => check_consent(consent, now, origin)?,
        Some(other) => return Err(not_a_map("consent", &other)),
    };
    let membership = match fields.remove("membership") {
        None => None,
        Some(_) if origin == Origin::Api && world.settings.membership_owner == MembershipOwner::Events => {
            return Err(Refusal::new("memberships of this workspace come from events, not from the API")
                .field("membership")
                .hint("send membership_started, membership_renewed …, or write `membership_owner: api` in autofunnel.yaml"));
        }
        Some(Value::Null) => Some(None),
        Some(Value::Map(membership)) => Some(Some(check_membership(membership, world)?)),
        Some(other) => return Err(not_a_map("membership", &other)),
    };
    nothing_else(&fields, FIELDS)?;
    Ok(ProfileChange { profile, consent, membership, import: origin == Origin::Import })
}

fn not_a_map(field: &str, value: &Value) -> Refusal {
    Refusal::new(format!("`{field}` must be a map, not {}", value.kind())).field(field)
}

fn check_profile(profile: Fields, world: &World, now: Time) -> Result<Fields, Refusal> {
    profile.into_iter().map(|(name, value)| Ok((name.clone(), check_field(&name, value, world, now)?))).collect()
}

/// Checks one profile field; null stays null and removes it.
///
/// # Errors
/// When there is no such field, or the value does not fit.
pub fn check_field(name: &str, value: Value, world: &World, now: Time) -> Result<Value, Refusal> {
    let path = format!("profile.{name}");
    let declared = world.settings.profile.get(name);
    if declared.is_none() && !BUILT_IN.contains(&name) {
        let shown: String = name.chars().take(60).collect();
        let known = BUILT_IN.iter().copied().chain(world.settings.profile.keys().map(String::as_str));
        return Err(Refusal::new(format!("`{shown}` is not a profile field"))
            .field(format!("profile.{shown}"))
            .did_you_mean(&shown, known));
    }
    let value = match (value, declared) {
        (Value::Null, _) => return Ok(Value::Null),
        (value, None) => fit::declared(value, &Type::Text, &path, world.settings.zone)?,
        (value, Some(wanted)) => declared_field(value, wanted, &path, world.settings.zone)?,
    };
    let Value::Text(text) = value else { return Ok(value) };
    if text.len() > PROFILE_TEXT_BYTES_MAX {
        return Err(Refusal::new(format!("`{path}` is longer than {PROFILE_TEXT_BYTES_MAX} bytes")).field(path));
    }
    if text.chars().any(|c| is_unseen(c) && (declared.is_none() || !matches!(c, '\n' | '\t'))) {
        return Err(Refusal::new(format!("`{path}` contains control characters")).field(path));
    }
    built_in(name, text, now).map(Value::Text).map_err(|refusal| refusal.field(path))
}

/// A `date` stays the calendar day that it is (date triggers read it in her zone); an instant becomes one.
fn declared_field(value: Value, wanted: &Type, path: &str, zone: Zone) -> Result<Value, Refusal> {
    match (&value, wanted) {
        (Value::Text(text), Type::Time) if parse_date(text).is_some() => Ok(value),
        _ => fit::declared(value, wanted, path, zone),
    }
}

/// Checks the fields that have a meaning of their own, and writes phone numbers in one way.
fn built_in(name: &str, text: String, now: Time) -> Result<String, Refusal> {
    match name {
        "email" if !is_email(&text) => {
            Err(Refusal::new(format!("`{}` is not an e-mail address", clip(&text)))
                .hint("write one address like ada@example.com"))
        }
        "phone" => phone(&text)
            .ok_or_else(|| Refusal::new(format!("`{}` is not a phone number", clip(&text))).hint("write it like +49 40 1234567")),
        "zone" => match text.parse::<Zone>() {
            Ok(_) => Ok(text),
            Err(_) => {
                let refusal = Refusal::new(format!("`{}` is not a time zone", clip(&text)));
                Err(match crate::lang::diag::closest(&text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
                    Some(close) => refusal.hint(format!("did you mean `{close}`?")),
                    None => refusal.hint("write a name of the IANA database like Europe/Berlin"),
                })
            }
        },
        "language" if !is_language(&text) => {
            Err(Refusal::new(format!("`{}` is not a language", clip(&text))).hint("write a tag like de or pt-BR"))
        }
        "birthday" => match parse_date(&text) {
            // A day more: it may be tomorrow where she lives.
            Some(date) if date <= now.plus_ms(crate::lang::time::DAY_MS).date(chrono_tz::UTC) => Ok(text),
            Some(_) => Err(Refusal::new(format!("the birthday `{text}` is in the future"))),
            None => Err(Refusal::new(format!("`{}` is not a day of the calendar", clip(&text))).hint("write it like 1990-02-28")),
        },
        _ => Ok(text),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Whether a text is plausibly one mailbox. Whether it exists only a message can tell.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let odd = |c: char| {
        c.is_whitespace() || is_unseen(c) || matches!(c, '@' | '<' | '>' | '(' | ')' | ',' | ';' | ':' | '"' | '[' | ']' | '\\')
    };
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-');
    text.len() <= EMAIL_BYTES_MAX
        && (1..=64).contains(&local.len())
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && !local.contains(odd)
        && !domain.contains(odd)
        && domain.contains('.')
        && domain.split('.').all(label)
}

/// The number with blanks and brackets taken away; `None` when it is none.
fn phone(text: &str) -> Option<String> {
    let compact: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '/' | '.')).collect();
    let digits = compact.strip_prefix('+').unwrap_or(&compact);
    (PHONE_DIGITS.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())).then_some(compact)
}

fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let first = parts.next().is_some_and(|p| (2..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphabetic()));
    first && text.len() <= 35 && parts.all(|p| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn check_consent(consent: Fields, now: Time, origin: Origin) -> Result<Vec<ConsentChange>, Refusal> {
    let mut changes = Vec::new();
    for (key, value) in consent {
        let (channel, topic) =
            key.split_once(':').map_or((key.as_str(), None), |(channel, topic)| (channel, Some(topic.to_owned())));
        if !CHANNELS.contains(&channel) {
            let shown = clip(channel);
            return Err(Refusal::new(format!("`{shown}` is not a channel"))
                .field(format!("consent.{shown}"))
                .did_you_mean(&shown, CHANNELS.iter().copied()));
        }
        let path = format!("consent.{channel}");
        match value {
            Value::List(list) => {
                for one in list {
                    changes.push(one_consent(channel, topic.clone(), one, &path, now, origin)?);
                }
            }
            one => changes.push(one_consent(channel, topic, one, &path, now, origin)?),
        }
    }
    Ok(changes)
}

/// `true`, `false`, or `{"granted", "source"?, "time"?, "topic"?}`.
fn one_consent(
    channel: &str,
    topic: Option<String>,
    value: Value,
    path: &str,
    now: Time,
    origin: Origin,
) -> Result<ConsentChange, Refusal> {
    let mut change =
        ConsentChange { channel: channel.to_owned(), topic, granted: false, source: origin.name().to_owned(), time: now };
    match value {
        Value::Bool(granted) => change.granted = granted,
        Value::Map(mut fields) => {
            let Some(Value::Bool(granted)) = fields.remove("granted") else {
                return Err(Refusal::new(format!("`{path}.granted` must be true or false")).field(format!("{path}.granted")));
            };
            change.granted = granted;
            if let Some(source) = take_text(&mut fields, "source")? {
                change.source = source;
            }
            if let Some(topic) = take_text(&mut fields, "topic")? {
                change.topic = Some(topic);
            }
            if let Some(text) = take_text(&mut fields, "time")? {
                change.time = Time::parse(&text).ok_or_else(|| fit::no_time(&text, &format!("{path}.time")))?;
            }
            nothing_else(&fields, &["granted", "source", "time", "topic"]).map_err(|refusal| refusal.field(path))?;
        }
        other => {
            return Err(
                Refusal::new(format!("`{path}` must be true, false or a map with `granted`, not {}", other.kind())).field(path)
            );
        }
    }
    if change.time.since_ms(now) > FUTURE_MS_MAX {
        return Err(Refusal::new(format!("`{path}.time` is in the future")).field(format!("{path}.time")));
    }
    change.time = change.time.min(now);
    let odd = |text: &String| text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains(is_unseen);
    if odd(&change.source) || change.topic.as_ref().is_some_and(odd) {
        return Err(Refusal::new(format!(
            "source and topic of `{path}` must have 1 to {NAME_BYTES_MAX} bytes without control characters"
        ))
        .field(path));
    }
    Ok(change)
}

fn check_membership(mut fields: Fields, world: &World) -> Result<MembershipChange, Refusal> {
    let name = take_text(&mut fields, "membership")?.ok_or_else(|| {
        Refusal::new("`membership.membership` is missing").field("membership.membership").hint("name a membership of the catalog")
    })?;
    if !world.memberships.contains(&name) {
        let shown = clip(&name);
        return Err(Refusal::new(format!("there is no membership `{shown}` in the catalog"))
            .field("membership.membership")
            .did_you_mean(&shown, world.memberships.iter().map(String::as_str)));
    }
    let zone = world.settings.zone;
    let mut time = |field: &'static str| -> Result<Option<Time>, Refusal> {
        let path = format!("membership.{field}");
        match take_text(&mut fields, field).map_err(|refusal| refusal.field(path.clone()))? {
            None => Ok(None),
            Some(text) => fit::read_time(&text, zone).map(Some).ok_or_else(|| fit::no_time(&text, &path)),
        }
    };
    let started = time("started")?.ok_or_else(|| {
        Refusal::new("`membership.started` is missing").field("membership.started").hint("say when the present term began")
    })?;
    let ends = time("ends")?;
    if ends.is_some_and(|ends| ends <= started) {
        return Err(Refusal::new("`membership.ends` must be later than `membership.started`").field("membership.ends"));
    }
    let auto_renew = match fields.remove("auto_renew") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(b)) => b,
        Some(other) => {
            return Err(Refusal::new(format!("`membership.auto_renew` must be true or false, not {}", other.kind()))
                .field("membership.auto_renew"));
        }
    };
    nothing_else(&fields, &["membership", "started", "ends", "auto_renew"])?;
    Ok(MembershipChange { membership: name, started, ends, auto_renew })
}

#[cfg(test)]
mod tests {
    use super::super::{fake, json};
    use super::*;

    fn now() -> Time {
        Time::parse("2027-03-01T10:00:00Z").unwrap()
    }

    fn put(text: &str) -> Result<ProfileChange, Refusal> {
        read(json::read_map(text.as_bytes())?, &fake::world(), now(), Origin::Api)
    }

    fn field(name: &str, value: &str) -> Result<Value, Refusal> {
        put(&format!(r#"{{"profile":{{"{name}":{value}}}}}"#)).map(|change| change.profile[name].clone())
    }

    #[test]
    fn profile_fields_are_checked_by_their_meaning() {
        for (name, good) in [
            ("email", r#""ada@example.com""#),
            ("email", r#""o'neil+x@mail.example.co.uk""#),
            ("phone", r#""+491234567""#),
            ("zone", r#""Europe/Berlin""#),
            ("language", r#""pt-BR""#),
            ("birthday", r#""1992-02-29""#),
            ("name", r#""<script>alert(1)</script>""#),
            ("favourite_roast", r#""dark""#),
            ("cups", "3"),
            ("name", "null"),
        ] {
            assert!(field(name, good).is_ok(), "{name} {good}: {:?}", field(name, good));
        }
        for (name, bad) in [
            ("email", r#""ada""#),
            ("email", r#""ada@example""#),
            ("email", r#""a b@example.com""#),
            ("email", r#""ada@example.com\r\nBcc: x@y.de""#),
            ("email", r#""a@[127.0.0.1]""#),
            ("email", r#""a@b@c.de""#),
            ("phone", r#""call me""#),
            ("phone", r#""1234""#),
            ("zone", r#""Mars/Olympus""#),
            ("language", r#""german language""#),
            ("birthday", r#""1990-02-29""#),
            ("birthday", r#""2027-03-03""#),
            ("birthday", r#""29.02.1992""#),
            ("name", r#""a\u0007""#),
            ("name", "[1]"),
            ("cups", r#""many""#),
            ("shoe_size", "3"),
        ] {
            assert!(field(name, bad).is_err(), "{name} {bad}");
        }
        assert_eq!(field("phone", r#""+49 (40) 123-456""#), Ok(Value::from("+4940123456")));
        assert_eq!(field("zone", r#""Europe/Berln""#).unwrap_err().hint.as_deref(), Some("did you mean `Europe/Berlin`?"));
        assert_eq!(field("emial", r#""x""#).unwrap_err().hint.as_deref(), Some("did you mean `email`?"));
    }

    #[test]
    fn consent_has_source_time_and_topic() {
        let change = put(r#"{"consent":{"email":true,"sms":{"granted":false,"source":"checkout","time":"2027-02-01T00:00:00Z","topic":"news"},"chat:tips":true}}"#).unwrap();
        let shown: Vec<_> =
            change.consent.iter().map(|c| (c.channel.as_str(), c.topic.as_deref(), c.granted, c.source.as_str())).collect();
        assert_eq!(
            shown,
            [("chat", Some("tips"), true, "api"), ("email", None, true, "api"), ("sms", Some("news"), false, "checkout")]
        );
        for bad in [
            r#"{"emial":true}"#,
            r#"{"email":"yes"}"#,
            r#"{"email":{}}"#,
            r#"{"email":{"granted":true,"time":"2028-01-01T00:00:00Z"}}"#,
            r#"{"email":{"granted":true,"why":"x"}}"#,
        ] {
            assert!(put(&format!(r#"{{"consent":{bad}}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn memberships_belong_to_their_owner_and_to_the_catalog() {
        let body = r#"{"membership":{"membership":"roastery-club","started":"2027-01-10","ends":"2028-01-10T00:00:00Z","auto_renew":true}}"#;
        assert!(put(body).unwrap_err().error.contains("come from events"));
        let mut world = fake::world();
        world.settings.membership_owner = MembershipOwner::Api;
        let put = |text: &str| read(json::read_map(text.as_bytes()).unwrap(), &world, now(), Origin::Api);
        let membership = put(body).unwrap().membership.unwrap().unwrap();
        // The workspace's zone is Berlin: its day begins an hour before that of UTC.
        assert_eq!((membership.started, membership.auto_renew), (Time::parse("2027-01-09T23:00:00Z").unwrap(), true));
        assert_eq!(put(r#"{"membership":null}"#).unwrap().membership, Some(None));
        assert_eq!(put("{}").unwrap().membership, None);
        for bad in [
            r#"{"membership":"tea-club","started":"2027-01-10"}"#,
            r#"{"membership":"roastery-club"}"#,
            r#"{"membership":"roastery-club","started":"2027-01-10","ends":"2026-01-10"}"#,
        ] {
            assert!(put(&format!(r#"{{"membership":{bad}}}"#)).is_err(), "{bad}");
        }
    }
}
