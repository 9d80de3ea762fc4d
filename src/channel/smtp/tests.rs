//! From the settings to the bytes of a message. What servers do to it is in `tests/it/smtp.rs`.

use super::super::tests::{grant, message, options, secrets};
use super::*;
use crate::lang::node;

pub(super) const DKIM_RSA: &str = include_str!("tests/rsa.pem");
pub(super) const DKIM_ED25519: &str = include_str!("tests/ed25519.pem");

fn compiled(yaml: &str) -> Result<Smtp, Vec<String>> {
    let mut faults = Faults::default();
    let node = node::parse("autofunnel.yaml", yaml, &mut faults).unwrap_or_else(|| panic!("{:?}", faults.list()));
    let mut secrets = secrets();
    secrets.insert("file:dkim.pem".to_owned(), DKIM_RSA.to_owned());
    let smtp = build::compile("p", &node, Setup { secrets: &secrets, options: options() }, &mut faults);
    smtp.ok_or_else(|| faults.list().iter().map(|fault| format!("{}: {}", fault.code, fault.message)).collect())
}

fn mail(smtp: &Smtp, effect: &Effect, rendered: &Rendered) -> Result<String, String> {
    let prepared = smtp.prepare(effect, Some(rendered))?;
    let mail = prepared.payload.downcast_ref::<Mail>().unwrap();
    assert_eq!(prepared.digest(), Sha256::digest(&mail.bytes).to_vec());
    Ok(String::from_utf8(mail.bytes.clone()).unwrap())
}

const FULL: &str = r#"
kind: smtp
host: smtp.example.com
user: crew
password: "${env:AUTOFUNNEL_TOKEN}"
from: "Röster <crew@example.com>"
reply_to: help@example.com
unsubscribe: "https://example.com/u?c={{ effect.customer }}&z={{ customer.zip }}"
headers: { X-Funnel: "{{ effect.funnel }}" }
dkim: { selector: s1, key: "${file:dkim.pem}" }
"#;

#[test]
fn the_message_is_what_was_declared_and_always_the_same() {
    let smtp = compiled(FULL).unwrap();
    let (effect, rendered) = message();
    let written = mail(&smtp, &effect, &rendered).unwrap();
    assert_eq!(written, mail(&compiled(FULL).unwrap(), &effect, &rendered).unwrap());
    for line in [
        "From: =?utf-8?b?UsO2c3Rlcg==?= <crew@example.com>\r\n",
        "To: ann+x@example.com\r\n",
        "Reply-To: help@example.com\r\n",
        "Subject: Hi\r\n",
        "Date: Fri, 01 Jan 2027 00:00:00 +0000\r\n",
        "Message-ID: <ann/1/mail/0@example.com>\r\n",
        "X-Funnel: welcome\r\n",
        "List-Unsubscribe: <https://example.com/u?c=ann&z=01234>\r\n",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
        "Content-Type: multipart/alternative;",
        "\r\nHello\r\nAnn\r\n",
        "\r\n<p>Hi</p>\r\n",
    ] {
        assert!(written.contains(line), "{line} in {written}");
    }
    assert!(written.starts_with("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=s1;\r\n"), "{written}");
    let signed = "h=from:reply-to:to:subject:date:message-id:mime-version:content-type:list-unsubscribe:list-unsubscribe-post;";
    assert!(written.contains(signed), "{written}");
    assert_eq!(smtp.variables(), [["customer", "zip"].map(str::to_owned).to_vec()]);
    assert_eq!((smtp.idempotency(), smtp.on_uncertain(), smtp.grants()), (Idempotency::None, OnUncertain::Resend, false));
}

#[test]
fn what_is_owed_names_no_unsubscribe_link_and_one_part_stands_alone() {
    let smtp = compiled(FULL).unwrap();
    let (mut effect, rendered) = message();
    let EffectKind::Message(message) = &mut effect.kind else { panic!() };
    message.transactional = true;
    let written = mail(&smtp, &effect, &Rendered { html: String::new(), ..rendered }).unwrap();
    assert!(!written.contains("List-Unsubscribe") && !written.contains("multipart"), "{written}");
    assert!(smtp.prepare(&grant(), None).is_err());
}

#[test]
fn data_cannot_write_headers() {
    let smtp =
        compiled("kind: smtp\nhost: localhost\nfrom: a@example.com\nheaders: { X-Name: \"{{ customer.name }}\" }").unwrap();
    let (effect, rendered) = message();
    assert!(mail(&smtp, &effect, &rendered).unwrap().contains("X-Name: Ann \"A\"\r\n"));
    for (to, name, subject) in [
        ("a@example.com\r\nBcc: x@example.com", "Ann", "Hi"),
        ("a@example.com", "Ann\r\nBcc: x@example.com", "Hi"),
        ("a@example.com", "=?utf-8?q?=0D=0ABcc:_x@example.com?=", "Hi"),
        ("a@example.com", "Ann", "Hi\r\nBcc: x@example.com"),
        ("a@example.com", "Ann", "=?utf-8?q?=0D=0ABcc:_x@example.com?="),
    ] {
        let mut effect = effect.clone();
        let EffectKind::Message(message) = &mut effect.kind else { panic!() };
        message.to = to.to_owned();
        let customer = crate::lang::value::Fields::from([("name".to_owned(), name.into())]);
        message.variables.insert("customer".to_owned(), crate::lang::value::Value::Map(customer));
        let rendered = Rendered { subject: subject.to_owned(), ..rendered.clone() };
        assert!(mail(&smtp, &effect, &rendered).is_err(), "{to:?} {name:?} {subject:?}");
    }
}

#[test]
fn s43_odd_addresses_are_one_mailbox_or_none() {
    let smtp = compiled("kind: smtp\nhost: localhost\nfrom: a@example.com").unwrap();
    let (effect, rendered) = message();
    let long = format!("{}@example.com", "a".repeat(255));
    for (to, fits) in [
        ("ada@bücher.example", None),
        ("ada@раураӏ.com", None),
        ("\"a b\"@example.com", None),
        ("a@[127.0.0.1]", None),
        (long.as_str(), None),
        ("a@example.com, b@example.com", Some(false)),
        ("a@example.com;b@example.com", Some(false)),
        ("Ann <a@example.com>, Bob <b@example.com>", Some(false)),
        ("a@example.com\u{2028}Bcc: b@example.com", Some(false)),
        ("a@exam\0ple.com", Some(false)),
        ("a@", Some(false)),
        ("@example.com", Some(false)),
        ("", Some(false)),
        ("ada@example.com", Some(true)),
    ] {
        let mut effect = effect.clone();
        let EffectKind::Message(message) = &mut effect.kind else { panic!() };
        message.to = to.to_owned();
        let made = mail(&smtp, &effect, &rendered);
        assert!(fits.is_none_or(|fits| made.is_ok() == fits), "{to:?}: {made:?}");
        // Whatever is taken has one address, in one line.
        if let Ok(text) = made {
            let line = text.lines().find(|line| line.starts_with("To: ")).unwrap_or_else(|| panic!("{to:?}: {text}"));
            assert_eq!(line.matches('@').count(), 1, "{to:?}: {line}");
            assert!(!text.contains("Bcc"), "{to:?}: {text}");
        }
    }
}

#[test]
fn faults_are_named() {
    let base = "kind: smtp\nhost: smtp.example.com\nfrom: a@example.com\n";
    assert!(compiled(base).is_ok());
    for (yaml, code) in [
        ("kind: smtp", "missing-field"),
        ("kind: smtp\nhost: 10.0.0.1\nfrom: a@example.com", "bad-host"),
        ("kind: smtp\nhost: smtp.example.com\nport: 6379\nfrom: a@example.com", "bad-host"),
        ("kind: smtp\nhost: smtp.example.com\nfrom: Ann", "bad-address"),
        ("kind: smtp\nhost: smtp.example.com\nfrom: \"Ann <a@example.com>, b@example.com\"", "bad-address"),
        (&format!("{base}tls: none"), "plain-mail"),
        (&format!("{base}tls: ssl"), "unknown-word"),
        (&format!("{base}user: ann"), "bad-auth"),
        (&format!("{base}user: ann\npassword: abcdef"), "literal-secret"),
        (&format!("{base}unsubscribe: http://example.com/u"), "bad-url"),
        (&format!("{base}unsubscribe: \"https://{{{{ customer.host }}}}/u\""), "bad-url"),
        (&format!("{base}headers: {{ Bcc: x@example.com }}"), "bad-header"),
        (&format!("{base}dkim: {{ selector: s1, key: \"${{env:AUTOFUNNEL_TOKEN}}\" }}"), "bad-dkim"),
        (&format!("{base}authority: \"${{env:AUTOFUNNEL_TOKEN}}\""), "bad-authority"),
        (&format!("{base}timeout: 2 days"), "bad-timeout"),
        (&format!("{base}hello: \"a b\""), "bad-host"),
    ] {
        match compiled(yaml) {
            Ok(_) => panic!("accepted: {yaml}"),
            Err(faults) => assert!(faults.iter().any(|fault| fault.starts_with(code)), "{yaml}: {faults:?}"),
        }
    }
    assert!(compiled("kind: smtp\nhost: 127.0.0.1\nport: 2525\ntls: none\nfrom: a@example.com").is_ok());
    assert!(compiled(&format!("{base}tls: none\nallow_plain: true")).is_ok());
}

#[test]
fn without_secrets_their_names_are_checked_and_nothing_else() {
    let mut faults = Faults::default();
    let node =
        node::parse("autofunnel.yaml", &FULL.replace("host: smtp.example.com", "host: \"${env:AUTOFUNNEL_HOST}\""), &mut faults)
            .unwrap();
    let setup = Setup { secrets: &crate::wire::secrets::Placeholders, options: options() };
    let smtp = build::compile("p", &node, setup, &mut faults);
    assert!(smtp.is_some() && !faults.has_errors(), "{:?}", faults.list());
}
