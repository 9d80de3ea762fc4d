//! E-mail over SMTP against a server of our own that can fail at every stage.

mod server;

use autofunnel::channel::{self, Channel, SendResult, Setup, Tools};
use autofunnel::effect::{Effect, EffectKind, Message, OnUncertain};
use autofunnel::engine::clock::system_now;
use autofunnel::lang::diag::Faults;
use autofunnel::lang::node;
use autofunnel::lang::time::Time;
use autofunnel::lang::value::Fields;
use autofunnel::money::Currency;
use autofunnel::store::sqlite::{Options, SqliteStore};
use autofunnel::template::{Rendered, TemplateOptions};
use autofunnel::wire::Client;
use server::{Play, Security, Server};
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;

const PASSWORD: &str = "canary-password";

/// A provider for a server, and what it needs.
struct Mailer {
    channel: Arc<dyn Channel>,
    tools: Tools,
    _folder: TempDir,
}

fn mailer(server: &Server, more: &str) -> Mailer {
    let mut faults = Faults::default();
    let yaml = format!("kind: smtp\nhost: 127.0.0.1\nport: {}\nfrom: Crew <crew@example.com>\n{more}", server.port());
    let node = node::parse("autofunnel.yaml", &yaml, &mut faults).unwrap();
    let certificate = include_str!("smtp/certificate.pem");
    let secrets = [("env:AUTOFUNNEL_PASSWORD", PASSWORD), ("file:authority.pem", certificate)];
    let secrets: BTreeMap<String, String> = secrets.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let options = TemplateOptions { currency: Currency::parse("EUR").unwrap(), zone: chrono_tz::UTC };
    let channel = channel::compile("mail", &node, Setup { secrets: &secrets, options }, &mut faults);
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(&folder.path().join("a.db"), Options::new(Arc::new(system_now))).unwrap();
    let channel = channel.unwrap_or_else(|| panic!("{:?}", faults.list()));
    Mailer { channel, tools: Tools { client: Client::new().unwrap(), store }, _folder: folder }
}

fn effect(id: &str, to: &str) -> Effect {
    let message = Message {
        channel: "email".to_owned(),
        provider: "mail".to_owned(),
        to: to.to_owned(),
        template: "hi".to_owned(),
        transactional: false,
        tag: None,
        variables: Fields::new(),
        links: None,
    };
    Effect {
        id: id.to_owned(),
        customer: "ann".to_owned(),
        run: 1,
        funnel: "welcome".to_owned(),
        version: "v".to_owned(),
        step: "mail".to_owned(),
        decided_at: Time::parse("2027-01-01T00:00:00Z").unwrap(),
        valid_until: None,
        gate: 0,
        on_uncertain: OnUncertain::Resend,
        kind: EffectKind::Message(message),
    }
}

impl Mailer {
    async fn send(&self, id: &str, to: &str) -> SendResult {
        let rendered = Rendered {
            subject: "Grüße".to_owned(),
            text: "Hello\n.\n..dots\nend".to_owned(),
            html: "<p>Grüße &amp; more</p>".to_owned(),
        };
        let prepared = self.channel.prepare(&effect(id, to), Some(&rendered)).unwrap();
        self.channel.send(&prepared, &self.tools).await
    }
}

/// `Some(ambiguous)` for a result that is to be tried again.
fn retried(result: &SendResult) -> Option<bool> {
    match result {
        SendResult::Retry { ambiguous, .. } => Some(*ambiguous),
        SendResult::Accepted { .. } | SendResult::Refused { .. } | SendResult::Parked { .. } => None,
    }
}

fn why(result: &SendResult) -> &str {
    match result {
        SendResult::Retry { why, .. } | SendResult::Refused { why } => why,
        SendResult::Accepted { .. } | SendResult::Parked { .. } => panic!("accepted"),
    }
}

#[tokio::test]
async fn a_message_arrives_whole_over_one_connection() {
    let server = Server::start(Security::None, Play::default());
    let mailer = mailer(&server, "tls: none");
    for (id, to) in [("ann/1/mail/0", "ann@example.com"), ("bob/1/mail/0", "bob@example.com")] {
        let result = mailer.send(id, to).await;
        let SendResult::Accepted { reference: Some(reference), .. } = result else { panic!("{result:?}") };
        assert!(reference.contains("queued as"), "{reference}");
    }
    assert_eq!(server.connections(), 1);
    let mails = server.mails();
    assert_eq!(mails.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), ["ann@example.com", "bob@example.com"]);
    let mail = mails[0].parse();
    assert_eq!((mails[0].from.as_str(), mail.header("from")), ("crew@example.com", "Crew <crew@example.com>"));
    assert_eq!(mail.header("subject"), "=?utf-8?b?R3LDvMOfZQ==?=");
    assert_eq!(mail.header("message-id"), "<ann/1/mail/0@example.com>");
    assert_eq!(mail.header("date"), "Fri, 01 Jan 2027 00:00:00 +0000");
    assert_eq!(mail.part("text/plain"), "Hello\r\n.\r\n..dots\r\nend");
    assert_eq!(mail.part("text/html"), "<p>Grüße &amp; more</p>");
}

#[tokio::test]
async fn the_same_effect_arrives_byte_by_byte_the_same() {
    let server = Server::start(Security::None, Play::default());
    for _ in 0..2 {
        let result = mailer(&server, "tls: none").send("ann/1/mail/0", "ann@example.com").await;
        assert!(matches!(result, SendResult::Accepted { .. }), "{result:?}");
    }
    let mails = server.mails();
    assert_eq!(mails[0].text, mails[1].text);
}

#[tokio::test]
async fn where_a_conversation_breaks_decides_what_it_means() {
    // The stage at which the server fails, how, and whether the message is tried again, and doubtfully.
    for (play, expected) in [
        ("greeting 554", Some(false)),
        ("greeting cut", Some(false)),
        ("ehlo 550", Some(false)),
        ("ehlo cut", Some(false)),
        ("mail 451", Some(false)),
        ("mail 421", Some(false)),
        ("mail 530", Some(false)),
        ("mail 550", None),
        ("mail cut", Some(false)),
        ("rcpt 450", Some(false)),
        ("rcpt 550", None),
        ("rcpt cut", Some(false)),
        ("data 451", Some(false)),
        ("data 554", None),
        ("data cut", Some(false)),
        ("data silence", Some(false)),
        ("end 451", Some(false)),
        ("end 554", None),
        ("end cut", Some(true)),
        ("end silence", Some(true)),
        ("end garbage", Some(true)),
    ] {
        let server = Server::start(Security::None, Play::always(play));
        let timeout = if play.ends_with("silence") { "300ms" } else { "20s" };
        let mailer = mailer(&server, &format!("tls: none\ntimeout: {timeout}"));
        let result = mailer.send("ann/1/mail/0", "ann@example.com").await;
        assert!(!matches!(result, SendResult::Accepted { .. }), "{play}");
        assert_eq!(retried(&result), expected, "{play}: {result:?}");
        assert!(why(&result).contains("mail server"), "{play}: {result:?}");
        let taken = usize::from(play.starts_with("end ") && expected == Some(true));
        assert_eq!(server.mails().len(), taken, "{play}");
    }
}

#[tokio::test]
async fn one_bad_recipient_never_fails_its_neighbours() {
    let server = Server::start(Security::None, Play::for_recipient("bad@example.com", "rcpt 550"));
    let mailer = mailer(&server, "tls: none\nconnections: 2");
    let sent = ["a", "bad", "b", "bad", "c"].map(|name| format!("{name}@example.com"));
    let mailer = &mailer;
    let send = |(index, to): (usize, String)| async move {
        let result = mailer.send(&format!("x/{index}/mail/0"), &to).await;
        (to, result)
    };
    let results = futures_util::future::join_all(sent.into_iter().enumerate().map(send)).await;
    for (to, result) in &results {
        assert_eq!(matches!(result, SendResult::Accepted { .. }), !to.starts_with("bad"), "{to}: {result:?}");
    }
    let mut arrived: Vec<String> = server.mails().into_iter().map(|mail| mail.to).collect();
    arrived.sort();
    assert_eq!(arrived, ["a@example.com", "b@example.com", "c@example.com"]);
    assert!(server.connections() <= 2, "a refusal costs no connection, and there are never more than two");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_no_failed_attempt() {
    let server = Server::start(Security::None, Play::default().hanging_up());
    let mailer = mailer(&server, "tls: none");
    for id in ["a", "b", "c"] {
        let result = mailer.send(id, "ann@example.com").await;
        assert!(matches!(result, SendResult::Accepted { .. }), "{result:?}");
    }
    assert_eq!((server.mails().len(), server.connections()), (3, 3));
}

#[tokio::test]
async fn encryption_is_what_was_asked_for_or_nothing_is_sent() {
    let login = "user: crew\npassword: \"${env:AUTOFUNNEL_PASSWORD}\"\nauthority: \"${file:authority.pem}\"";
    for (security, tls) in [(Security::StartTls, "starttls"), (Security::Implicit, "implicit")] {
        let server = Server::start(security, Play::default().with_login("crew", PASSWORD));
        let result = mailer(&server, &format!("tls: {tls}\n{login}")).send("a", "ann@example.com").await;
        assert!(matches!(result, SendResult::Accepted { .. }), "{tls}: {result:?}");
        assert!(server.mails()[0].encrypted, "{tls}");
        // A certificate from nobody that we know.
        let stranger = mailer(&server, &format!("tls: {tls}")).send("b", "ann@example.com").await;
        assert_eq!(retried(&stranger), Some(false), "{tls}: {stranger:?}");
        assert_eq!(server.mails().len(), 1);
    }
    let server = Server::start(Security::None, Play::default());
    let result = mailer(&server, login).send("a", "ann@example.com").await;
    assert!(retried(&result) == Some(false) && why(&result).contains("STARTTLS"), "{result:?}");
    assert_eq!(server.mails().len(), 0);
}

#[tokio::test]
async fn a_wrong_password_is_told_and_tried_again_and_never_shown() {
    let server = Server::start(Security::None, Play::default().with_login("crew", "another"));
    let mailer = mailer(&server, "tls: none\nuser: crew\npassword: \"${env:AUTOFUNNEL_PASSWORD}\"");
    let result = mailer.send("a", "ann@example.com").await;
    assert_eq!(retried(&result), Some(false), "{result:?}");
    // The server repeats what it was given, encoded.
    assert!(why(&result).contains("535") && why(&result).contains("wrong: ***"), "{result:?}");
    let gone = Server::start(Security::None, Play::default());
    let mailer = self::mailer(&gone, "tls: none");
    drop(gone);
    assert_eq!(retried(&mailer.send("a", "ann@example.com").await), Some(false));
}
