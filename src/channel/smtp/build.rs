//! Reads an `smtp` provider from the settings.

use super::dkim::Signer;
use super::letter::{Letter, address};
use super::session::{Encryption, Pool, Server};
use super::{CONNECTIONS_MAX, DKIM, FIELDS, Setup, Smtp, TLS};
use crate::channel::COMMON_FIELDS;
use crate::channel::http::{entries, header_name};
use crate::effect::OnUncertain;
use crate::lang::cel::Text;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{self, Object};
use crate::template::{Line, LineKind};
use crate::wire::secrets::{Piece, Secret, joined, one, pieces};
use crate::wire::{Dial, ascii_host};
use base64::Engine;
use lettre::message::Mailbox;
use lettre::message::header::HeaderName;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use std::collections::BTreeSet;
use std::time::Duration;

/// Time for an attempt when none is given, in milliseconds: servers look at a message before they answer.
const TIMEOUT_MS: i64 = 60_000;
/// Longest time for an attempt, in milliseconds (RFC 5321 4.5.3.2.6 allows that much for the last answer).
const TIMEOUT_MS_MAX: i64 = 600_000;
/// Connections when none are given.
const CONNECTIONS: i64 = 4;
/// Headers that this engine or the mail server sets.
const RESERVED_HEADERS: &[&str] = &[
    "from",
    "to",
    "cc",
    "bcc",
    "sender",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "dkim-signature",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "return-path",
    "received",
];

struct Builder<'a> {
    setup: Setup<'a>,
    raw: Vec<(String, String)>,
    secrets: Vec<Secret>,
}

pub(super) fn compile(name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Smtp> {
    let errors = faults.error_count();
    let object = Object::read(node, &[COMMON_FIELDS, FIELDS], &format!("the provider `{name}`"), faults)?;
    let mut builder = Builder { setup, raw: Vec::new(), secrets: Vec::new() };
    let letter = builder.letter(&object, faults);
    let server = builder.server(&object, letter.as_ref(), faults);
    let size = object.int("connections", 1, CONNECTIONS_MAX, faults).unwrap_or(CONNECTIONS);
    let on_uncertain = match object.word("on_uncertain", &["resend", "hold"], faults) {
        Some("hold") => OnUncertain::Hold,
        _ => OnUncertain::Resend,
    };
    if faults.error_count() > errors {
        return None;
    }
    let connections = u32::try_from(size).unwrap_or(1);
    let pool = Pool::new(server?, connections as usize);
    let mut smtp = Smtp { letter: letter?, pool, on_uncertain, connections, raw: builder.raw, paths: Vec::new() };
    let paths: BTreeSet<Vec<String>> = smtp.lines().flat_map(Line::variables).collect();
    smtp.paths = paths.into_iter().collect();
    Some(smtp)
}

impl Builder<'_> {
    fn letter(&mut self, object: &Object<'_>, faults: &mut Faults) -> Option<Letter> {
        let from = object.text("from", faults).and_then(|text| mailbox(&text, faults));
        let reply_to = object.text("reply_to", faults).and_then(|text| mailbox(&text, faults));
        let unsubscribe = object.text("unsubscribe", faults).and_then(|text| self.unsubscribe(&text, faults));
        let headers = self.headers(object, faults);
        let signer = object.node("dkim").and_then(|node| self.signer(node, from.as_ref(), faults));
        Some(Letter { from: from?, reply_to, unsubscribe, headers, signer })
    }

    /// The host of the link is written out; data may stand behind it only.
    fn unsubscribe(&mut self, text: &Text, faults: &mut Faults) -> Option<Line> {
        let host = text.text.strip_prefix("https://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
        if host.and_then(ascii_host).is_none() {
            faults
                .error(
                    "bad-url",
                    &text.place,
                    "the link that unsubscribes must begin with `https://` and a host that is written out",
                )
                .hint("write for example `https://example.com/unsubscribe?customer={{ customer.id }}`");
            return None;
        }
        self.line(text, LineKind::Url, faults)
    }

    fn headers(&mut self, object: &Object<'_>, faults: &mut Faults) -> Vec<(HeaderName, Line)> {
        let mut out = Vec::new();
        for (key, node) in entries(object, "headers", faults) {
            let name = Text { text: key.text.clone(), place: key.place.clone() };
            if !header_name(&name, faults) {
                continue;
            }
            let known = HeaderName::new_from_ascii(name.text.clone()).ok();
            let free = known.filter(|_| !RESERVED_HEADERS.iter().any(|reserved| name.text.eq_ignore_ascii_case(reserved)));
            let Some(known) = free else {
                let message = format!("the header `{}` cannot be set here", name.text);
                faults
                    .error("bad-header", &name.place, message)
                    .hint("it comes from the message, from a field of its own, or from the server");
                continue;
            };
            if let Some(line) = shape::text(node, faults).and_then(|text| self.line(&text, LineKind::Header, faults)) {
                out.push((known, line));
            }
        }
        out
    }

    /// Replaces references by names under which the secrets are found when it is rendered.
    fn line(&mut self, text: &Text, kind: LineKind, faults: &mut Faults) -> Option<Line> {
        let mut named = String::with_capacity(text.text.len());
        for piece in pieces(text, self.setup.secrets, faults)? {
            match piece {
                Piece::Plain(plain) => named.push_str(&plain),
                Piece::Secret(secret) => {
                    let name = format!("s{}", self.raw.len());
                    named.push_str(&format!("{{{{ secrets.{name} }}}}"));
                    self.raw.push((name, secret.expose().to_owned()));
                    self.secrets.push(secret);
                }
            }
        }
        Line::compile(&Text { text: named, place: text.place.clone() }, kind, self.setup.options, faults)
    }

    fn signer(&mut self, node: &Node, from: Option<&Mailbox>, faults: &mut Faults) -> Option<Signer> {
        let object = Object::read(node, &[DKIM], "`dkim`", faults)?;
        let host = |field: &str, faults: &mut Faults| {
            let text = object.text(field, faults)?;
            let read = ascii_host(&text.text).filter(|host| !host.starts_with('['));
            if read.is_none() {
                faults.error("bad-dkim", &text.place, format!("`{field}` is made of letters, digits, `-` and `.`"));
            }
            read
        };
        let selector = host("selector", faults);
        let domain = match object.node("domain") {
            Some(_) => host("domain", faults),
            None => from.map(|from| from.email.domain().to_owned()),
        };
        let key = object.text("key", faults)?;
        let secret = one(&key, self.setup.secrets, faults)?;
        // Where secrets are not at hand only their names can be checked.
        if secret.is_placeholder() {
            return None;
        }
        match Signer::new(domain?, selector?, secret.expose()) {
            Ok(signer) => Some(signer),
            Err(why) => {
                faults.error("bad-dkim", &key.place, why);
                None
            }
        }
    }

    fn server(&mut self, object: &Object<'_>, letter: Option<&Letter>, faults: &mut Faults) -> Option<Server> {
        let encryption = match object.word("tls", TLS, faults) {
            Some("implicit") => Encryption::Implicit,
            Some("none") => Encryption::None,
            _ => Encryption::StartTls,
        };
        let usual = if encryption == Encryption::Implicit { 465 } else { 587 };
        let port = object.int("port", 1, 65_535, faults).and_then(|port| u16::try_from(port).ok()).unwrap_or(usual);
        let private = object.bool("allow_private", false, faults);
        let dial = self.host(object, port, private, faults);
        let plain = object.bool("allow_plain", false, faults);
        if encryption == Encryption::None && !plain && dial.as_ref().is_some_and(|dial| !dial.is_own()) {
            faults
                .error("plain-mail", &object.place("tls"), "mail would go to another machine without encryption")
                .hint("write `tls: starttls`, or say `allow_plain: true` if that is meant");
        }
        let authority = self.authority(object, faults);
        let credentials = self.credentials(object, faults);
        let hello = self.hello(object, letter, faults);
        let timeout = timeout(object, faults);
        let dial = dial?;
        let tls = match encryption {
            Encryption::None => None,
            _ => Some(tls(&dial, authority, object, faults)?),
        };
        Some(Server { dial, encryption, tls, hello: hello?, credentials, timeout, secrets: self.secrets.clone() })
    }

    fn host(&mut self, object: &Object<'_>, port: u16, private: bool, faults: &mut Faults) -> Option<Dial> {
        let text = object.text("host", faults)?;
        let pieces = pieces(&text, self.setup.secrets, faults)?;
        let unknown = pieces.iter().any(|piece| matches!(piece, Piece::Secret(secret) if secret.is_placeholder()));
        // What stands for a name that is not at hand must not be judged by its own.
        let host = if unknown { "localhost".to_owned() } else { joined(&text, self.setup.secrets, faults)? };
        match Dial::new(&host, port, private) {
            Ok(dial) => Some(dial),
            Err(why) => {
                faults.error("bad-host", &text.place, why);
                None
            }
        }
    }

    fn credentials(&mut self, object: &Object<'_>, faults: &mut Faults) -> Option<Credentials> {
        let user = object.text("user", faults).and_then(|text| joined(&text, self.setup.secrets, faults));
        let password = object.text("password", faults).and_then(|text| one(&text, self.setup.secrets, faults));
        if object.node("user").is_some() != object.node("password").is_some() {
            faults.error("bad-auth", &object.place, "`user` and `password` stand together, or neither does");
        }
        let (user, password) = (user?, password?);
        let base64 = |bytes: String| Secret::new(base64::engine::general_purpose::STANDARD.encode(bytes));
        // The longer first: the other can be its end.
        self.secrets.push(base64(format!("\0{user}\0{}", password.expose())));
        self.secrets.push(base64(password.expose().to_owned()));
        self.secrets.push(password.clone());
        Some(Credentials::new(user, password.expose().to_owned()))
    }

    fn authority(&mut self, object: &Object<'_>, faults: &mut Faults) -> Option<Certificate> {
        let text = object.text("authority", faults)?;
        let secret = one(&text, self.setup.secrets, faults)?;
        let read =
            Certificate::from_pem(secret.expose().as_bytes()).ok().filter(|_| secret.expose().contains("BEGIN CERTIFICATE"));
        if read.is_none() && !secret.is_placeholder() {
            faults.error("bad-authority", &text.place, "this is no certificate in PEM (`-----BEGIN CERTIFICATE-----` …)");
        }
        read
    }

    fn hello(&mut self, object: &Object<'_>, letter: Option<&Letter>, faults: &mut Faults) -> Option<ClientId> {
        let Some(text) = object.text("hello", faults) else {
            return letter.map(|letter| ClientId::Domain(letter.from.email.domain().to_owned()));
        };
        let host = ascii_host(&text.text);
        if host.is_none() {
            faults.error("bad-host", &text.place, "`hello` is the name of a machine, such as `mail.example.com`");
        }
        host.map(ClientId::Domain)
    }
}

/// `Name <address>` or an address alone.
fn mailbox(text: &Text, faults: &mut Faults) -> Option<Mailbox> {
    let (name, written) = match text.text.trim().strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((name, written)) => (name.trim().trim_matches('"').to_owned(), written),
        None => (String::new(), text.text.trim()),
    };
    let name = Some(name).filter(|name| !name.is_empty());
    let fit = |name: &String| !name.contains("=?") && !name.chars().any(|c| c.is_control() || "<>\"\\".contains(c));
    match address(written) {
        Ok(email) if name.as_ref().is_none_or(fit) => Some(Mailbox::new(name, email)),
        Ok(_) => {
            faults.error("bad-address", &text.place, "the name before the address has characters that it cannot have");
            None
        }
        Err(why) => {
            faults.error("bad-address", &text.place, why).hint("write for example `Harbour Coffee <crew@harbour.example>`");
            None
        }
    }
}

fn tls(dial: &Dial, authority: Option<Certificate>, object: &Object<'_>, faults: &mut Faults) -> Option<TlsParameters> {
    let builder = TlsParameters::builder(dial.host().to_owned());
    let builder = match authority {
        Some(authority) => builder.add_root_certificate(authority),
        None => builder,
    };
    match builder.build_rustls() {
        Ok(tls) => Some(tls),
        Err(why) => {
            faults.error("bad-authority", &object.place("authority"), format!("TLS cannot be set up: {why}"));
            None
        }
    }
}

fn timeout(object: &Object<'_>, faults: &mut Faults) -> Duration {
    let ms = object.span("timeout", faults).map_or(TIMEOUT_MS, |span| {
        let elapsed = span.months == 0 && span.days == 0 && (1..=TIMEOUT_MS_MAX).contains(&span.ms);
        if !elapsed {
            faults
                .error("bad-timeout", &object.place("timeout"), "the time for an attempt is between 1 ms and 10 minutes")
                .hint("write for example `timeout: 60s`");
        }
        span.ms
    });
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
