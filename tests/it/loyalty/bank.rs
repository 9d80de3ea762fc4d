//! A loyalty store for tests: an HTTP server in the test's own process, with a ledger.
//!
//! It books a grant under its key. Where it is asked to (`knows_keys`) it knows a key again, as a store with an
//! idempotency header does; otherwise it books whatever comes, and only tells on request whether a key is in its
//! ledger. It can be blocked, be out of service, and make every kind of trouble: errors before and after the booking,
//! connections cut before and after it, silence, and one answer given twice.

use crate::provider::{Bell, Dice};
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What a request meets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Trouble {
    /// An error, without any effect.
    Error,
    /// An error, after the effect.
    ErrorAfter,
    /// The connection ends before anything was done.
    CutBefore,
    /// The connection ends after the effect, without an answer.
    CutAfter,
    /// The effect, then silence.
    Silence,
    /// The effect, and its answer twice.
    Twice,
    /// Something on the way says yes with a page of its own, without any effect.
    Page,
    /// The effect, and such a page instead of the answer.
    PageAfter,
}

impl Trouble {
    /// Every kind.
    pub const ALL: [Trouble; 8] = [
        Trouble::Error,
        Trouble::ErrorAfter,
        Trouble::CutBefore,
        Trouble::CutAfter,
        Trouble::Silence,
        Trouble::Twice,
        Trouble::Page,
        Trouble::PageAfter,
    ];
}

/// A booking in the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Booking {
    /// The grant's key.
    pub key: String,
    /// Whose.
    pub member: String,
    /// How many points.
    pub points: i64,
}

#[derive(Default)]
struct Desk {
    knows_keys: bool,
    ledger: Mutex<Vec<Booking>>,
    /// Trouble that was made: by kind, how often.
    made: Mutex<BTreeMap<Trouble, usize>>,
    /// Requests by key.
    tries: Mutex<HashMap<String, usize>>,
    /// Grants that were turned away because of the block, by key.
    turned_away: Mutex<BTreeMap<String, usize>>,
    /// Questions: those about a key, those about a member.
    asked: [AtomicU64; 2],
    seed: u64,
    /// Of a hundred requests so many meet trouble …
    percent: AtomicU64,
    blocked: AtomicBool,
    down: AtomicBool,
    slow_ms: AtomicU64,
    /// The only kind of trouble that is made.
    only: Mutex<Option<Trouble>>,
    closed: AtomicBool,
    bell: Arc<Bell>,
}

/// … until a key has met so much.
const TROUBLE_PER_KEY_MAX: usize = 3;

/// The server. It ends with its value; connections end with their callers.
pub struct Bank {
    address: SocketAddr,
    desk: Arc<Desk>,
}

impl Bank {
    /// Listens on a free port of this machine.
    pub fn start(knows_keys: bool, seed: u64, percent: u64, bell: Arc<Bell>) -> Bank {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk { knows_keys, seed, percent: AtomicU64::new(percent), bell, ..Desk::default() });
        let at = desk.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if at.closed.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(stream), at) = (stream, at.clone()) else { continue };
                std::thread::spawn(move || at.serve(stream));
            }
        });
        Bank { address, desk }
    }

    /// Its base address.
    pub fn url(&self) -> String {
        format!("http://{}/v2", self.address)
    }

    /// Everything that was booked, in order.
    pub fn ledger(&self) -> Vec<Booking> {
        self.desk.ledger.lock().unwrap().clone()
    }

    /// Its programme is blocked, or works again.
    pub fn set_blocked(&self, blocked: bool) {
        self.desk.blocked.store(blocked, Ordering::Release);
    }

    /// It is out of service, or in service again.
    pub fn set_down(&self, down: bool) {
        self.desk.down.store(down, Ordering::Release);
    }

    /// Whatever is in trouble meets this from now on.
    pub fn only(&self, trouble: Trouble) {
        *self.desk.only.lock().unwrap() = Some(trouble);
    }

    /// It thinks so long before every answer.
    pub fn set_slow(&self, ms: u64) {
        self.desk.slow_ms.store(ms, Ordering::Release);
    }

    /// The trouble that was made, by kind.
    pub fn trouble(&self) -> BTreeMap<Trouble, usize> {
        self.desk.made.lock().unwrap().clone()
    }

    /// How often each key was turned away because of the block.
    pub fn turned_away(&self) -> BTreeMap<String, usize> {
        self.desk.turned_away.lock().unwrap().clone()
    }

    /// How often it was asked about a key, and about a member.
    pub fn asked(&self) -> (u64, u64) {
        (self.desk.asked[0].load(Ordering::Acquire), self.desk.asked[1].load(Ordering::Acquire))
    }

    /// The law of the ledger: every key is in it once, so its sum is that of the distinct keys.
    pub fn check(&self, grants: usize, points: i64) {
        let ledger = self.ledger();
        let keys: BTreeMap<&str, i64> = ledger.iter().map(|booking| (booking.key.as_str(), booking.points)).collect();
        let (sum, distinct): (i64, i64) = (ledger.iter().map(|booking| booking.points).sum(), keys.values().sum());
        assert_eq!(sum, distinct, "something was booked twice: {ledger:#?}");
        assert_eq!((ledger.len(), sum), (grants, points), "{ledger:#?}");
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.desk.closed.store(true, Ordering::Release);
        // Wakes the thread that accepts; if it cannot be reached it has ended.
        drop(TcpStream::connect(self.address));
    }
}

struct Request {
    method: String,
    path: Vec<String>,
    fields: BTreeMap<String, String>,
    body: serde_json::Value,
}

struct Answer(u16, String);

impl Desk {
    fn serve(&self, mut stream: TcpStream) {
        // An error here means that the caller is gone: there is nobody to answer.
        let _gone = stream.set_nodelay(true);
        while let Some(request) = read(&mut stream) {
            if self.down.load(Ordering::Acquire) {
                return self.bell.ring();
            }
            match self.slow_ms.load(Ordering::Acquire) {
                0 => {}
                ms => std::thread::sleep(Duration::from_millis(ms)),
            }
            let trouble = self.trouble(&request);
            let answer = match trouble {
                Some(Trouble::Error) => Some(Answer(500, "{}".to_owned())),
                Some(Trouble::Page) => Some(page()),
                Some(Trouble::CutBefore) => None,
                _ => Some(self.act(&request)),
            };
            self.bell.ring();
            let text = match (trouble, answer) {
                (Some(Trouble::CutBefore | Trouble::CutAfter), _) | (_, None) => return,
                (Some(Trouble::Silence), _) => {
                    let mut rest = [0; 64];
                    while stream.read(&mut rest).is_ok_and(|count| count > 0) {}
                    return;
                }
                (Some(Trouble::ErrorAfter), _) => text(&Answer(500, "{}".to_owned())),
                (Some(Trouble::PageAfter), _) => text(&page()),
                (Some(Trouble::Twice), Some(answer)) => text(&answer).repeat(2),
                (_, Some(answer)) => text(&answer),
            };
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn trouble(&self, request: &Request) -> Option<Trouble> {
        let what = format!("{} {}", request.method, key_of(request));
        let mut tries = self.tries.lock().unwrap();
        let tried = tries.entry(what.clone()).or_default();
        *tried += 1;
        let mut dice = Dice::new(self.seed, &format!("{what} {tried}"));
        if *tried > TROUBLE_PER_KEY_MAX || dice.below(100) >= self.percent.load(Ordering::Acquire) {
            return None;
        }
        let any = Trouble::ALL[dice.below(Trouble::ALL.len() as u64) as usize];
        let trouble = self.only.lock().unwrap().unwrap_or(any);
        *self.made.lock().unwrap().entry(trouble).or_default() += 1;
        Some(trouble)
    }

    fn act(&self, request: &Request) -> Answer {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        match (request.method.as_str(), &path[..]) {
            ("POST", ["v2", "members", member, "bonuses"]) => self.book(member, request),
            ("POST", ["v2", "members", _, "offers"]) => Answer(201, r#"{"code":"CUP-7"}"#.to_owned()),
            ("GET", ["v2", "bonuses", key]) => {
                self.asked[0].fetch_add(1, Ordering::AcqRel);
                let known = self.ledger.lock().unwrap().iter().any(|booking| booking.key == *key);
                if known { Answer(200, r#"{"state":"booked"}"#.to_owned()) } else { Answer(404, "{}".to_owned()) }
            }
            ("GET", ["v2", "members", member]) => {
                self.asked[1].fetch_add(1, Ordering::AcqRel);
                let ledger = self.ledger.lock().unwrap();
                let mut own = ledger.iter().filter(|booking| booking.member == *member).peekable();
                match own.peek() {
                    None => Answer(404, r#"{"message":"no such member"}"#.to_owned()),
                    Some(_) => {
                        let balance: i64 = own.map(|booking| booking.points).sum();
                        Answer(200, format!(r#"{{"points":{{"balance":{balance}}},"tier":"silver"}}"#))
                    }
                }
            }
            _ => Answer(404, r#"{"message":"no such page"}"#.to_owned()),
        }
    }

    fn book(&self, member: &str, request: &Request) -> Answer {
        let key = key_of(request);
        if self.blocked.load(Ordering::Acquire) {
            *self.turned_away.lock().unwrap().entry(key).or_default() += 1;
            return Answer(200, r#"{"state":"blocked","message":"the package is full"}"#.to_owned());
        }
        let mut ledger = self.ledger.lock().unwrap();
        if !(self.knows_keys && ledger.iter().any(|booking| booking.key == key)) {
            let points = request.body["points"].as_i64().unwrap();
            ledger.push(Booking { key, member: member.to_owned(), points });
        }
        Answer(201, r#"{"state":"booked","id":"b1"}"#.to_owned())
    }
}

/// The key that a request names, wherever it stands.
fn key_of(request: &Request) -> String {
    let named = request.fields.get("idempotency-key").or(request.fields.get("x-key")).cloned();
    named.unwrap_or_else(|| request.path.last().cloned().unwrap_or_default())
}

fn page() -> Answer {
    Answer(200, "<html>We are back in a moment.</html>".to_owned())
}

fn text(answer: &Answer) -> String {
    let Answer(status, body) = answer;
    format!("HTTP/1.1 {status} So\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Reads one request; `None` when the caller is gone.
fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut byte = [0; 1];
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() >= HEAD_BYTES_MAX {
            return None;
        }
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let fields = lines.filter_map(|line| line.split_once(": "));
    let fields: BTreeMap<String, String> = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let length = fields.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let body = if body.is_empty() { serde_json::Value::Null } else { serde_json::from_slice(&body).ok()? };
    let path = path.trim_start_matches('/').split('/').map(|part| part.replace("%2F", "/")).collect();
    Some(Request { method, path, fields, body })
}
