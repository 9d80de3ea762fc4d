//! Senders: each sends its letters one after the other, each of them until it is answered with 2xx, as
//! every good sender does.

use super::process::{PATIENCE, TOKEN};
use crate::provider::{Bell, Provider};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// No answer of the engine takes this long; a sender then sends again.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A sender that was told "not now", or nothing, sends again after this.
const AGAIN: Duration = Duration::from_millis(30);

/// An event that the engine was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Whose.
    pub customer: String,
    /// Its name.
    pub name: &'static str,
}

/// What senders were told.
#[derive(Default)]
pub struct Told {
    /// Events answered with 2xx, by id.
    pub accepted: BTreeMap<String, Sent>,
    /// Answers that no sender should get.
    pub refused: Vec<String>,
    /// Requests answered with 2xx.
    pub answered: usize,
    /// Requests that were answered so and had been sent more than once.
    pub repeated: usize,
    /// Answers that the engine cannot work at all. The sender sends again.
    pub failures: Vec<String>,
    /// Requests not answered yet.
    pub pending: usize,
}

/// A request that is sent until it is answered.
pub struct Letter {
    method: &'static str,
    path: String,
    body: String,
    events: Vec<(String, Sent)>,
    /// Not sent before the provider has seen this text.
    after: Option<String>,
}

/// Where letters go, and what came back.
pub struct Post {
    /// What senders were told.
    pub told: Mutex<Told>,
    door: Mutex<Option<SocketAddr>>,
    closed: AtomicBool,
    provider: Arc<Provider>,
    bell: Arc<Bell>,
}

impl Post {
    /// Without any engine yet.
    pub fn new(provider: Arc<Provider>, bell: Arc<Bell>) -> Post {
        Post { told: Mutex::default(), door: Mutex::default(), closed: AtomicBool::new(false), provider, bell }
    }

    /// The engine listens there now; `None`: nowhere.
    pub fn goes_to(&self, address: Option<SocketAddr>) {
        *self.door.lock().unwrap() = address;
        self.bell.ring();
    }

    /// Nothing is sent any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Sends letters from a thread of their own.
    pub fn send(self: &Arc<Post>, letters: Vec<Letter>) -> JoinHandle<()> {
        self.told.lock().unwrap().pending += letters.len();
        let post = self.clone();
        std::thread::spawn(move || letters.into_iter().for_each(|letter| post.deliver(letter)))
    }

    /// Requests that were answered, and those that were not yet.
    pub fn counts(&self) -> (usize, usize) {
        let told = self.told.lock().unwrap();
        (told.answered, told.pending)
    }

    /// Sends something once.
    pub fn tell(&self, path: &str, body: &str) -> Option<(u16, String)> {
        let address = (*self.door.lock().unwrap())?;
        call(address, "POST", path, body)
    }

    /// Asks the engine something.
    pub fn ask(&self, path: &str) -> Option<(u16, String)> {
        let address = (*self.door.lock().unwrap())?;
        call(address, "GET", path, "")
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn deliver(&self, letter: Letter) {
        if let Some(text) = &letter.after {
            while !self.bell.until(PATIENCE, || self.provider.has_seen(text) || self.is_closed()) {}
        }
        let mut tries = 0;
        while !self.is_closed() {
            let address = *self.door.lock().unwrap();
            tries += usize::from(address.is_some());
            let got = address.and_then(|address| call(address, letter.method, &letter.path, &letter.body));
            match got {
                Some((429 | 503, _)) | None => {
                    // A moment later, or as soon as another engine is up; which of the two is all the same.
                    let _other = self.bell.until(AGAIN, || *self.door.lock().unwrap() != address || self.is_closed());
                }
                Some((500, text)) => {
                    self.told.lock().unwrap().failures.push(text);
                    let _other = self.bell.until(AGAIN, || *self.door.lock().unwrap() != address || self.is_closed());
                }
                Some((status, text)) => return self.answered(letter, tries, status, &text),
            }
        }
    }

    fn answered(&self, letter: Letter, tries: usize, status: u16, text: &str) {
        let all = letter.events.len() < 2 || (text.contains(r#""refused":0"#) && text.contains(r#""conflicts":0"#));
        let mut told = self.told.lock().unwrap();
        told.pending -= 1;
        if matches!(status, 200 | 202) && all {
            told.accepted.extend(letter.events);
            told.answered += 1;
            told.repeated += usize::from(tries > 1);
        } else {
            told.refused.push(format!("{status} {text} to {}", letter.body));
        }
        drop(told);
        self.bell.ring();
    }
}

/// Her addresses, without which no message leaves.
pub fn introduce(customer: &str) -> Letter {
    // A number of her own: what is said about a number that too many share could not reach them.
    let number = customer.bytes().fold(0_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_000_000);
    let body = format!(
        r#"{{"profile":{{"email":"{customer}@example.com","phone":"+49{number:09}","push":"device-{customer}","chat":"chat-{customer}"}},"consent":{{"email":true}}}}"#
    );
    Letter { method: "PUT", path: format!("/v1/customers/{customer}"), body, events: Vec::new(), after: None }
}

/// Raises her gate: what was decided before is to be decided anew. Not sent before the provider has seen a text.
pub fn forbid(customer: &str, after: Option<String>) -> Letter {
    let body = r#"{"consent":{"email":false}}"#.to_owned();
    Letter { method: "PUT", path: format!("/v1/customers/{customer}"), body, events: Vec::new(), after }
}

/// One request with events: id, name and customer of each.
pub fn letter_of_events(events: &[(String, &'static str, String)]) -> Letter {
    let one = |(id, name, customer): &(String, &'static str, String)| {
        let properties = if *name == "noise" { r#"{"n":1}"#.to_owned() } else { format!(r#"{{"order":"{id}"}}"#) };
        format!(r#"{{"id":"{id}","event":"{name}","customer":"{customer}","properties":{properties}}}"#)
    };
    let texts: Vec<String> = events.iter().map(one).collect();
    let body = if texts.len() == 1 { texts[0].clone() } else { format!("[{}]", texts.join(",")) };
    let sent = |(id, name, customer): &(String, &'static str, String)| (id.clone(), Sent { customer: customer.clone(), name });
    Letter { method: "POST", path: "/v1/events".to_owned(), body, events: events.iter().map(sent).collect(), after: None }
}

/// An order that a shop tells of by its webhook, with when it was.
pub fn webhook(id: &str, customer: &str, at: &str) -> Letter {
    let body = hook_body(id, customer, at, 1);
    let sent = Sent { customer: customer.to_owned(), name: "joined" };
    Letter { method: "POST", path: "/hooks/shop".to_owned(), body, events: vec![(id.to_owned(), sent)], after: None }
}

/// The body of that webhook, with a number that belongs to it.
pub fn hook_body(id: &str, customer: &str, at: &str, n: u32) -> String {
    format!(r#"{{"id":"{id}","customer":"{customer}","at":"{at}","n":{n}}}"#)
}

/// One request on a connection of its own; `None` when there was no whole answer.
fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX).ok()?;
    stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    Some((status, body.to_owned()))
}
