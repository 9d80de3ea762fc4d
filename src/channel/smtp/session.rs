//! Handing a message to a server: connections that are kept, one conversation, and what its end means.
//!
//! The stages are gone through one by one instead of in one call, because what a failure means depends on
//! where it came: before the message was handed over nothing has happened, and after it nobody knows.

use super::letter::Mail;
use crate::channel::SendResult;
use crate::lang::value::Fields;
use crate::wire::secrets::{Secret, mask};
use crate::wire::{Dial, WireError};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Longest time for connecting to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept: less than servers commonly do.
const IDLE_TIMEOUT: Duration = Duration::from_secs(25);
/// Messages over one connection; many servers have a limit.
const MESSAGES_PER_CONNECTION_MAX: u32 = 100;
/// Characters of a server's answer that are shown or kept.
const SHOWN_CHARS_MAX: usize = 200;
/// How a user may prove who it is.
const MECHANISMS: &[Mechanism] = &[Mechanism::Plain, Mechanism::Login];

/// How the connection is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encryption {
    /// By the command STARTTLS, or not at all.
    StartTls,
    /// From the first byte on.
    Implicit,
    /// Not at all.
    None,
}

/// A server and how to speak to it.
pub(super) struct Server {
    pub dial: Dial,
    pub encryption: Encryption,
    /// There unless nothing is encrypted.
    pub tls: Option<TlsParameters>,
    pub hello: ClientId,
    pub credentials: Option<Credentials>,
    /// For a whole attempt.
    pub timeout: Duration,
    /// Never shown, even if the server repeats them.
    pub secrets: Vec<Secret>,
}

/// Connections to one server, at most so many at once.
pub(super) struct Pool {
    server: Server,
    room: Semaphore,
    idle: Mutex<Vec<Kept>>,
}

struct Kept {
    connection: AsyncSmtpConnection,
    since: Instant,
    messages: u32,
}

/// How far a conversation came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    /// Connection, encryption, who we are.
    Opening,
    /// `MAIL FROM`: nothing was said of the message yet.
    Sender,
    /// `RCPT TO`.
    Recipient,
    /// `DATA`.
    Data,
    /// The message itself; from here on it may have been taken.
    Message,
}

/// Why a conversation ended.
struct Broken {
    stage: Stage,
    why: Why,
}

enum Why {
    Late,
    Told(String),
    Smtp(Error),
}

impl Pool {
    /// For `size` connections at most.
    pub fn new(server: Server, size: usize) -> Pool {
        Pool { server, room: Semaphore::new(size), idle: Mutex::new(Vec::new()) }
    }

    /// Hands one message over, once.
    pub async fn send(&self, mail: &Mail) -> SendResult {
        let deadline = Instant::now() + self.server.timeout;
        let Ok(Ok(_room)) = timeout_at(deadline, self.room.acquire()).await else {
            let why = "every connection to the mail server was busy".to_owned();
            return SendResult::Retry { after: None, why, ambiguous: false };
        };
        while let Some(kept) = self.take() {
            match self.converse(kept, mail, deadline).await {
                // The server hung up while nothing was being said: that is no attempt.
                Err(broken) if broken.stage <= Stage::Sender && broken.hung_up() => {}
                done => return self.result(done),
            }
        }
        match self.open(deadline).await {
            Ok(connection) => {
                let fresh = Kept { connection, since: Instant::now(), messages: 0 };
                let done = self.converse(fresh, mail, deadline).await;
                self.result(done)
            }
            Err(why) => self.result(Err(Broken { stage: Stage::Opening, why })),
        }
    }

    /// A connection that was used not long ago.
    fn take(&self) -> Option<Kept> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| kept.since.elapsed() < IDLE_TIMEOUT);
        idle.pop()
    }

    async fn open(&self, deadline: Instant) -> Result<AsyncSmtpConnection, Why> {
        let server = &self.server;
        let addresses = match timeout_at(deadline, server.dial.addresses()).await {
            Ok(addresses) => addresses.map_err(|why: WireError| Why::Told(why.to_string()))?,
            Err(_) => return Err(Why::Late),
        };
        let implicit = server.tls.clone().filter(|_| server.encryption == Encryption::Implicit);
        let opening = AsyncSmtpConnection::connect_tokio1(&addresses[..], Some(CONNECT_TIMEOUT), &server.hello, implicit, None);
        let mut connection = within(deadline, opening).await?;
        if let Some(tls) = server.tls.clone().filter(|_| server.encryption == Encryption::StartTls) {
            if !connection.can_starttls() {
                return Err(Why::Told("the mail server does not offer STARTTLS; nothing is sent unencrypted".to_owned()));
            }
            within(deadline, connection.starttls(tls, &server.hello)).await?;
        }
        if let Some(credentials) = &server.credentials {
            within(deadline, connection.auth(MECHANISMS, credentials)).await?;
        }
        Ok(connection)
    }

    /// One message over a connection, which is kept afterwards if it is still good.
    async fn converse(&self, mut kept: Kept, mail: &Mail, deadline: Instant) -> Result<Response, Broken> {
        let done = say(&mut kept.connection, mail, deadline).await;
        let usable = match &done {
            Ok(_) => true,
            Err(broken) => {
                let answered = broken.status().is_some_and(|status| status != 421);
                // What was said of this message must not stick to the next one.
                answered && (broken.stage == Stage::Message || within(deadline, kept.connection.command(Rset)).await.is_ok())
            }
        };
        kept.messages += 1;
        if usable && kept.messages < MESSAGES_PER_CONNECTION_MAX {
            kept.since = Instant::now();
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        }
        done
    }

    fn result(&self, done: Result<Response, Broken>) -> SendResult {
        match done {
            Ok(response) => {
                let text = self.shown(response.first_line().unwrap_or_default());
                SendResult::Accepted { reference: Some(text).filter(|text| !text.is_empty()), data: Fields::new() }
            }
            Err(broken) => broken.means(|text| self.shown(text)),
        }
    }

    /// One line without secrets.
    fn shown(&self, text: &str) -> String {
        let text = mask(text, &self.server.secrets);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
    }
}

/// The whole conversation about one message.
async fn say(connection: &mut AsyncSmtpConnection, mail: &Mail, deadline: Instant) -> Result<Response, Broken> {
    let at = |stage| move |why| Broken { stage, why };
    let (from, to) = (MailFrom::new(Some(mail.from.clone()), Vec::new()), Rcpt::new(mail.to.clone(), Vec::new()));
    within(deadline, connection.command(from)).await.map_err(at(Stage::Sender))?;
    within(deadline, connection.command(to)).await.map_err(at(Stage::Recipient))?;
    within(deadline, connection.command(Data)).await.map_err(at(Stage::Data))?;
    within(deadline, connection.message(&mail.bytes)).await.map_err(at(Stage::Message))
}

async fn within<T>(deadline: Instant, doing: impl Future<Output = Result<T, Error>>) -> Result<T, Why> {
    match timeout_at(deadline, doing).await {
        Ok(done) => done.map_err(Why::Smtp),
        Err(_) => Err(Why::Late),
    }
}

impl Broken {
    /// The server's answer, if it gave one.
    fn status(&self) -> Option<u16> {
        match &self.why {
            Why::Smtp(error) => error.status().and_then(|code| code.to_string().parse().ok()),
            Why::Late | Why::Told(_) => None,
        }
    }

    /// The connection was gone, or the server said that it goes.
    fn hung_up(&self) -> bool {
        matches!(&self.why, Why::Smtp(_)) && self.status().is_none_or(|status| status == 421)
    }

    fn means(&self, shown: impl Fn(&str) -> String) -> SendResult {
        let told = match &self.why {
            Why::Late => "no answer in time".to_owned(),
            Why::Told(why) => shown(why),
            Why::Smtp(error) => shown(&match (self.status(), std::error::Error::source(error)) {
                (Some(status), Some(answer)) => format!("{status} {answer}"),
                (Some(status), None) => status.to_string(),
                (None, _) => chain(error),
            }),
        };
        let why = format!("{}: {told}", self.stage.name());
        match self.status() {
            // Whose fault it is decides: a refused log-in is not this customer's.
            Some(500..=599) if self.stage > Stage::Opening && !self.refuses_us() => SendResult::Refused { why },
            Some(_) => SendResult::Retry { after: None, why, ambiguous: false },
            None => SendResult::Retry { after: None, why, ambiguous: self.stage == Stage::Message },
        }
    }

    /// The server wants us to prove who we are, or does not believe it (RFC 4954).
    fn refuses_us(&self) -> bool {
        self.stage < Stage::Message && matches!(self.status(), Some(530 | 534 | 535 | 538))
    }
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Opening => "no connection to the mail server",
            Stage::Sender => "the mail server on the sender",
            Stage::Recipient => "the mail server on the recipient",
            Stage::Data => "the mail server before the message",
            Stage::Message => "the mail server after the message",
        }
    }
}

/// An error with its causes: the outermost alone says little.
fn chain(why: &dyn std::error::Error) -> String {
    let mut text = why.to_string();
    let mut cause = why.source();
    while let Some(why) = cause {
        let inner = why.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        cause = why.source();
    }
    text
}
