//! A small mail server (RFC 5321) in the test's own process. It can fail at every stage.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than any test waits for an answer.
const SILENCE: Duration = Duration::from_secs(30);

/// How the server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Security {
    None,
    StartTls,
    Implicit,
}

/// What goes wrong.
#[derive(Clone, Default)]
pub struct Play {
    /// `stage answer`: at `greeting`, `ehlo`, `mail`, `rcpt`, `data` or `end` (of the message) comes a status,
    /// or `cut`, `silence`, `garbage`.
    fails: Option<String>,
    /// Only for this recipient.
    only: Option<String>,
    login: Option<(String, String)>,
    hangs_up: bool,
}

impl Play {
    pub fn always(fails: &str) -> Play {
        Play { fails: Some(fails.to_owned()), ..Play::default() }
    }

    pub fn for_recipient(to: &str, fails: &str) -> Play {
        Play { only: Some(to.to_owned()), ..Play::always(fails) }
    }

    /// Wants this user and password.
    pub fn with_login(self, user: &str, password: &str) -> Play {
        Play { login: Some((user.to_owned(), password.to_owned())), ..self }
    }

    /// Closes the connection after each message.
    pub fn hanging_up(self) -> Play {
        Play { hangs_up: true, ..self }
    }
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub from: String,
    pub to: String,
    pub text: String,
    pub encrypted: bool,
}

/// A message, read as a mail program does.
pub struct Parsed {
    headers: Vec<(String, String)>,
    parts: Vec<(String, String)>,
}

pub struct Server {
    port: u16,
    desk: Arc<Desk>,
}

struct Desk {
    security: Security,
    play: Play,
    tls: Arc<rustls::ServerConfig>,
    mails: Mutex<Vec<Taken>>,
    connections: AtomicUsize,
    closed: AtomicBool,
}

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

impl Server {
    pub fn start(security: Security, play: Play) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let certificate = CertificateDer::from_pem_slice(include_bytes!("certificate.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
        let (connections, closed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let desk = Arc::new(Desk { security, play, tls, mails: Mutex::default(), connections, closed });
        let at = desk.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if at.closed.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(stream), at) = (stream, at.clone()) else { continue };
                at.connections.fetch_add(1, Ordering::AcqRel);
                // An error means that the caller is gone: there is nobody to answer.
                std::thread::spawn(move || drop(at.serve(stream)));
            }
        });
        Server { port, desk }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn mails(&self) -> Vec<Taken> {
        self.desk.mails.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.desk.connections.load(Ordering::Acquire)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.desk.closed.store(true, Ordering::Release);
        // Wakes the thread that accepts; if it cannot be reached it has ended.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// What happens at a stage.
enum Turn {
    Goes,
    Answered,
    Ends,
}

/// One connection.
struct Talk {
    wire: BufReader<Box<dyn Wire>>,
    encrypted: bool,
}

impl Talk {
    fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.wire.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.wire.get_mut().flush()
    }

    fn hear(&mut self) -> std::io::Result<Option<String>> {
        let mut line = String::new();
        let read = self.wire.read_line(&mut line)?;
        Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

impl Desk {
    fn encrypted(&self, stream: TcpStream) -> Talk {
        let connection = rustls::ServerConnection::new(self.tls.clone()).unwrap();
        let wire: Box<dyn Wire> = Box::new(rustls::StreamOwned::new(connection, stream));
        Talk { wire: BufReader::new(wire), encrypted: true }
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let second = stream.try_clone()?;
        let mut talk = match self.security {
            Security::Implicit => self.encrypted(stream),
            _ => Talk { wire: BufReader::new(Box::new(stream)), encrypted: false },
        };
        if !matches!(self.turn("greeting", "", &mut talk)?, Turn::Goes) {
            return Ok(());
        }
        talk.say("220 mail.example.com ESMTP")?;
        let (mut from, mut to) = (String::new(), String::new());
        while let Some(line) = talk.hear()? {
            let word: String = line.chars().take(4).collect::<String>().to_ascii_lowercase();
            let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            if word == "rcpt" {
                to = address();
            }
            match self.turn(&word, &to, &mut talk)? {
                Turn::Goes => {}
                Turn::Answered => continue,
                Turn::Ends => return Ok(()),
            }
            match word.as_str() {
                "ehlo" => self.hello(&mut talk)?,
                "star" => {
                    talk.say("220 go on")?;
                    talk = self.encrypted(second.try_clone()?);
                }
                "auth" => self.login(&line, &mut talk)?,
                "mail" => {
                    (from, to) = (address(), String::new());
                    talk.say("250 2.1.0 Ok")?;
                }
                "data" => {
                    talk.say("354 End data with <CR><LF>.<CR><LF>")?;
                    if !self.message(&from, &to, &mut talk)? || self.play.hangs_up {
                        return Ok(());
                    }
                }
                "quit" => return talk.say("221 2.0.0 Bye"),
                _ => talk.say("250 2.0.0 Ok")?,
            }
        }
        Ok(())
    }

    /// What the play has for this stage.
    fn turn(&self, stage: &str, to: &str, talk: &mut Talk) -> std::io::Result<Turn> {
        let fails = self.play.fails.as_deref().and_then(|fails| fails.split_once(' '));
        let Some((_, how)) = fails.filter(|(at, _)| *at == stage) else { return Ok(Turn::Goes) };
        if self.play.only.as_deref().is_some_and(|only| only != to) {
            return Ok(Turn::Goes);
        }
        match how {
            "cut" => return Ok(Turn::Ends),
            "garbage" => talk.say("what?")?,
            "silence" => {
                // Until the caller gives up and closes, but never for ever.
                let mut rest = [0; 64];
                let until = std::time::Instant::now() + SILENCE;
                while std::time::Instant::now() < until && talk.wire.read(&mut rest)? > 0 {}
                return Ok(Turn::Ends);
            }
            status => talk.say(&format!("{status} 5.0.0 no"))?,
        }
        Ok(if stage == "greeting" { Turn::Ends } else { Turn::Answered })
    }

    fn hello(&self, talk: &mut Talk) -> std::io::Result<()> {
        talk.say("250-mail.example.com")?;
        if self.security == Security::StartTls && !talk.encrypted {
            talk.say("250-STARTTLS")?;
        }
        if self.play.login.is_some() {
            talk.say("250-AUTH PLAIN LOGIN")?;
        }
        talk.say("250 8BITMIME")
    }

    fn login(&self, line: &str, talk: &mut Talk) -> std::io::Result<()> {
        let (user, password) = self.play.login.clone().unwrap_or_default();
        let wanted = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("\0{user}\0{password}"));
        match line.strip_prefix("AUTH PLAIN ") {
            Some(given) if given == wanted => talk.say("235 2.7.0 Ok"),
            Some(given) => talk.say(&format!("535 5.7.8 wrong: {given}")),
            None => talk.say("504 5.5.4 PLAIN only"),
        }
    }

    /// Reads up to the lone dot; false when the connection is to end.
    fn message(&self, from: &str, to: &str, talk: &mut Talk) -> std::io::Result<bool> {
        let mut text = String::new();
        loop {
            let Some(line) = talk.hear()? else { return Ok(false) };
            if line == "." {
                break;
            }
            text.push_str(line.strip_prefix('.').unwrap_or(&line));
            text.push_str("\r\n");
        }
        let refused = self.play.fails.as_deref().is_some_and(|fails| fails.starts_with("end 4") || fails.starts_with("end 5"));
        if !refused {
            let taken = Taken { from: from.to_owned(), to: to.to_owned(), text, encrypted: talk.encrypted };
            self.mails.lock().unwrap().push(taken);
        }
        match self.turn("end", to, talk)? {
            Turn::Goes => talk.say("250 2.0.0 Ok: queued as 4F1")?,
            Turn::Answered => {}
            Turn::Ends => return Ok(false),
        }
        Ok(true)
    }
}

impl Taken {
    /// Headers, and the parts decoded.
    pub fn parse(&self) -> Parsed {
        let (headers, body) = split(&self.text);
        let kind = &headers.iter().find(|(name, _)| name == "content-type").unwrap().1;
        let boundary = kind.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let pieces: Vec<&str> = body.split(&format!("--{boundary}")).collect();
        assert!(pieces.last().unwrap().starts_with("--"), "the last boundary ends the message");
        let parts = pieces[1..pieces.len() - 1].iter().map(|piece| {
            let (headers, text) = split(piece.strip_prefix("\r\n").unwrap());
            let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()).unwrap_or_default();
            let text = text.strip_suffix("\r\n").unwrap_or(text);
            (header("content-type"), decoded(text, &header("content-transfer-encoding")))
        });
        Parsed { parts: parts.collect(), headers }
    }
}

impl Parsed {
    pub fn header(&self, name: &str) -> &str {
        let found: Vec<&str> = self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect();
        assert_eq!(found.len(), 1, "{name}: {:?}", self.headers);
        found[0]
    }

    pub fn part(&self, kind: &str) -> &str {
        let found: Vec<&str> = self.parts.iter().filter(|(k, _)| k.starts_with(kind)).map(|(_, text)| text.as_str()).collect();
        assert_eq!(found.len(), 1, "{kind}: {:?}", self.parts);
        found[0]
    }
}

/// Headers, unfolded, and what follows them.
fn split(text: &str) -> (Vec<(String, String)>, &str) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let headers = head.split("\r\n").map(|line| line.split_once(':').unwrap());
    (headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect(), body)
}

fn decoded(text: &str, encoding: &str) -> String {
    let bytes = match encoding {
        "base64" => {
            let plain: String = text.split_whitespace().collect();
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, plain).unwrap()
        }
        "quoted-printable" => unquoted(text),
        "7bit" | "8bit" => text.as_bytes().to_vec(),
        other => panic!("encoding {other}"),
    };
    String::from_utf8(bytes).unwrap()
}

fn unquoted(text: &str) -> Vec<u8> {
    let joined = text.replace("=\r\n", "");
    let mut out = Vec::new();
    let mut bytes = joined.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'=' {
            out.push(byte);
            continue;
        }
        let hex: Vec<u8> = bytes.by_ref().take(2).collect();
        out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
    }
    out
}
