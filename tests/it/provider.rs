//! A fake provider for tests against real engines: a TCP server in the test's own process.
//!
//! Every request is journalled by its idempotency key before it is answered. What is answered follows a
//! seeded [`Plan`]: yes, an error, "too many", a connection cut before or after the effect, or silence
//! after the effect. Under [`KEYED_PATH`] and [`DESK_PATH`] it knows a key again and acts once, as a provider with an
//! idempotency header does; under every other path it acts on each request that it takes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Requests to this path are known again by their key.
pub const KEYED_PATH: &str = "/mail";
/// So are requests to this one, which is called by steps.
pub const DESK_PATH: &str = "/desk";
/// The header in which a keyed provider takes the key.
pub const KEY_HEADER: &str = "idempotency-key";
/// The header that names the effect where the provider takes no key: for the checker only.
pub const EFFECT_HEADER: &str = "x-effect";
/// The header that names the process that calls.
pub const PROCESS_HEADER: &str = "x-process";
/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Something that nobody rings for (the engine's own progress) is looked for this often.
const TICK: Duration = Duration::from_millis(15);
/// More than this between two looks is the machine's doing.
const STANDSTILL: Duration = Duration::from_millis(500);

/// Told of everything that happens in a test's world.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<u64>,
    changed: Condvar,
}

impl Bell {
    /// Says that something has happened.
    pub fn ring(&self) {
        *self.rung.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    /// Waits until a condition holds; false when it does not within the limit. Time in which this machine
    /// stood still does not count: nobody else could do anything in it either.
    pub fn until(&self, limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
        let mut waited = Duration::ZERO;
        loop {
            let (before, looked) = (*self.rung.lock().unwrap(), Instant::now());
            if holds() {
                return true;
            }
            if waited >= limit {
                return false;
            }
            let rung = self.rung.lock().unwrap();
            drop(self.changed.wait_timeout_while(rung, TICK, |rung| *rung == before).unwrap());
            waited += looked.elapsed().min(STANDSTILL);
        }
    }
}

/// Seeded numbers (SplitMix64).
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same seed and text.
    pub fn new(seed: u64, text: &str) -> Dice {
        // FNV-1a over the text, started by the seed.
        Dice(text.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What a request gets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reply {
    /// 200, after the effect.
    Yes,
    /// 500, without the effect.
    Error,
    /// 500, after the effect.
    ErrorAfter,
    /// 429 with `Retry-After`, without the effect.
    Busy,
    /// The connection is reset before anything was done.
    ResetBefore,
    /// The effect, then the connection is reset instead of an answer.
    ResetAfter,
    /// The effect, then silence until the caller gives up.
    SilenceAfter,
    /// 422: the key came with another body.
    OtherBody,
}

impl Reply {
    /// Every kind of trouble.
    pub const TROUBLES: &'static [Reply] =
        &[Reply::Error, Reply::ErrorAfter, Reply::Busy, Reply::ResetBefore, Reply::ResetAfter, Reply::SilenceAfter];
}

/// How often there is trouble.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides which requests.
    pub seed: u64,
    /// Of a hundred requests so many are in trouble …
    pub troubles_percent: u64,
    /// … until a key has had this many.
    pub troubles_per_key_max: usize,
    /// The kinds of trouble.
    pub troubles: &'static [Reply],
}

impl Plan {
    /// Every kind of trouble, so often.
    pub fn new(seed: u64, troubles_percent: u64, troubles_per_key_max: usize) -> Plan {
        Plan { seed, troubles_percent, troubles_per_key_max, troubles: Reply::TROUBLES }
    }

    fn reply(&self, path: &str, key: &str, earlier: usize) -> Reply {
        let mut dice = Dice::new(self.seed, &format!("{path} {key} {earlier}"));
        if earlier >= self.troubles_per_key_max || dice.below(100) >= self.troubles_percent {
            return Reply::Yes;
        }
        self.troubles[dice.below(self.troubles.len() as u64) as usize]
    }
}

/// A request that was seen.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its path.
    pub path: String,
    /// Its idempotency key, or the effect's id.
    pub key: String,
    /// The process that made it.
    pub process: String,
    /// Its body.
    pub body: String,
    /// When it came.
    pub at: Instant,
    /// What it got.
    pub reply: Reply,
    /// Something happened because of it: a message reached somebody.
    pub effect: bool,
}

/// What is known of a key.
struct Known {
    body: String,
    requests: usize,
    acted: bool,
}

struct Desk {
    plan: Plan,
    calls: Mutex<Vec<Call>>,
    /// What is known by path and key.
    keys: Mutex<HashMap<(String, String), Known>>,
    /// The texts of all messages seen.
    texts: Mutex<HashSet<String>>,
    bell: Arc<Bell>,
    closed: AtomicBool,
    /// Every connection ends before anything is read or done.
    down: AtomicBool,
    /// Requests that came meanwhile.
    in_vain: AtomicUsize,
}

/// The server. It ends with its value; connections end with their callers.
pub struct Provider {
    address: SocketAddr,
    desk: Arc<Desk>,
}

impl Provider {
    /// Listens on a free port of this machine.
    pub fn start(plan: Plan, bell: Arc<Bell>) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let closed = AtomicBool::new(false);
        let (calls, keys, texts) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (down, in_vain) = (AtomicBool::new(false), AtomicUsize::new(0));
        let desk = Arc::new(Desk { plan, calls, keys, texts, bell, closed, down, in_vain });
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
        Provider { address, desk }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything seen so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.desk.calls.lock().unwrap().clone()
    }

    /// Whether a message with this text was seen.
    pub fn has_seen(&self, text: &str) -> bool {
        self.desk.texts.lock().unwrap().contains(text)
    }

    /// Is out of service, or in service again.
    pub fn set_down(&self, down: bool) {
        self.desk.down.store(down, Ordering::Release);
    }

    /// How many requests came while it was out of service.
    pub fn in_vain(&self) -> usize {
        self.desk.in_vain.load(Ordering::Acquire)
    }

    /// How many requests were seen so far.
    pub fn count(&self) -> usize {
        self.desk.calls.lock().unwrap().len()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.desk.closed.store(true, Ordering::Release);
        // Wakes the thread that accepts; if it cannot be reached it has ended.
        drop(TcpStream::connect(self.address));
    }
}

struct Head {
    path: String,
    fields: BTreeMap<String, String>,
}

impl Desk {
    /// One connection, request after request.
    fn serve(&self, mut stream: TcpStream) {
        // An error here means that the caller is gone: there is nobody to answer.
        let _gone = stream.set_nodelay(true);
        while let Some(head) = read_head(&mut stream) {
            if self.down.load(Ordering::Acquire) {
                self.in_vain.fetch_add(1, Ordering::AcqRel);
                self.bell.ring();
                return;
            }
            let Some(body) = self.read_body_but_last_byte(&mut stream, &head) else { return };
            let field = |name: &str| head.fields.get(name).cloned().unwrap_or_default();
            let key = if is_keyed(&head.path) { field(KEY_HEADER) } else { field(EFFECT_HEADER) };
            let reply = self.note(&head.path, key, field(PROCESS_HEADER), body);
            let text = match reply {
                // The last byte was not read: closing now makes the system send a reset.
                Reply::ResetBefore | Reply::ResetAfter => return,
                Reply::SilenceAfter => {
                    let mut rest = [0; 64];
                    while stream.read(&mut rest).is_ok_and(|count| count > 0) {}
                    return;
                }
                Reply::Yes => answer("200 OK", "", "{\"id\":\"taken\"}"),
                Reply::Error | Reply::ErrorAfter => answer("500 Internal Server Error", "", "{}"),
                Reply::Busy => answer("429 Too Many Requests", "retry-after: 1\r\n", "{}"),
                Reply::OtherBody => answer("422 Unprocessable Content", "", "{}"),
            };
            let mut last = [0; 1];
            if stream.read_exact(&mut last).is_err() || stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// Writes the request down and decides what it gets.
    fn note(&self, path: &str, key: String, process: String, body: String) -> Reply {
        let keyed = is_keyed(path);
        let mut keys = self.keys.lock().unwrap();
        let mut calls = self.calls.lock().unwrap();
        let new = || Known { body: body.clone(), requests: 0, acted: false };
        let known = keys.entry((path.to_owned(), key.clone())).or_insert_with(new);
        let planned = self.plan.reply(path, &key, known.requests);
        let reply = if keyed && known.body != body { Reply::OtherBody } else { planned };
        let acts = matches!(reply, Reply::Yes | Reply::ErrorAfter | Reply::ResetAfter | Reply::SilenceAfter);
        let effect = acts && !(keyed && known.acted);
        known.requests += 1;
        known.acted |= acts;
        if let Some(text) = body.split(r#""text":""#).nth(1).and_then(|rest| rest.split('"').next()) {
            self.texts.lock().unwrap().insert(text.to_owned());
        }
        calls.push(Call { path: path.to_owned(), key, process, body, at: Instant::now(), reply, effect });
        drop((keys, calls));
        self.bell.ring();
        reply
    }

    /// Reads the body except for its last byte, which is known to have arrived.
    fn read_body_but_last_byte(&self, stream: &mut TcpStream, head: &Head) -> Option<String> {
        let length: usize = head.fields.get("content-length")?.parse().ok()?;
        let mut body = vec![0; length.checked_sub(1)?];
        stream.read_exact(&mut body).ok()?;
        let mut last = [0; 1];
        if stream.peek(&mut last).ok()? != 1 {
            return None;
        }
        body.push(last[0]);
        String::from_utf8(body).ok()
    }
}

fn is_keyed(path: &str) -> bool {
    path == KEYED_PATH || path == DESK_PATH
}

/// Reads up to the blank line and not a byte further; `None` when the caller is gone.
fn read_head(stream: &mut TcpStream) -> Option<Head> {
    let mut bytes = Vec::new();
    let mut byte = [0; 1];
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() >= HEAD_BYTES_MAX {
            return None;
        }
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let text = String::from_utf8(bytes).ok()?;
    let mut lines = text.split("\r\n");
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let fields = lines.filter_map(|line| line.split_once(": "));
    Some(Head { path, fields: fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect() })
}

fn answer(status: &str, extra: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{extra}content-length: {}\r\n\r\n{body}", body.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn send(provider: &Provider, path: &str, key: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(provider.address()).unwrap();
        let name = if path == KEYED_PATH { KEY_HEADER } else { EFFECT_HEADER };
        let head = format!("POST {path} HTTP/1.1\r\n{name}: {key}\r\n{PROCESS_HEADER}: p1\r\ncontent-length: {}", body.len());
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut got = vec![0; 64];
        match stream.read(&mut got) {
            Ok(0) => "end".to_owned(),
            Ok(count) => String::from_utf8_lossy(&got[9..count.min(12)]).into_owned(),
            Err(why) => format!("{:?}", why.kind()),
        }
    }

    #[test]
    fn a_key_acts_once_and_never_with_another_body() {
        let provider = Provider::start(Plan::new(1, 0, 0), Arc::default());
        let sent = [("/mail", "k1", "a"), ("/mail", "k1", "a"), ("/mail", "k1", "b"), ("/text", "k2", "a"), ("/text", "k2", "a")];
        let got: Vec<String> = sent.iter().map(|(path, key, body)| send(&provider, path, key, body)).collect();
        assert_eq!(got, ["200", "200", "422", "200", "200"]);
        let acted: Vec<bool> = provider.calls().iter().map(|call| call.effect).collect();
        assert_eq!(acted, [true, false, false, true, true]);
    }

    #[test]
    fn every_kind_of_trouble_comes_and_then_no_more() {
        let bell = Arc::new(Bell::default());
        let provider = Provider::start(Plan::new(7, 100, 1), bell.clone());
        let mut seen: BTreeMap<Reply, String> = BTreeMap::new();
        for key in 0..60 {
            let key = format!("k{key}");
            let got = send(&provider, "/mail", &key, "body");
            let call = provider.calls().pop().unwrap();
            assert_eq!(call.effect, matches!(call.reply, Reply::ErrorAfter | Reply::ResetAfter | Reply::SilenceAfter));
            seen.insert(call.reply, got);
            assert_eq!(send(&provider, "/mail", &key, "body"), "200");
        }
        let wanted = [
            (Reply::Error, "500"),
            (Reply::ErrorAfter, "500"),
            (Reply::Busy, "429"),
            (Reply::ResetBefore, "ConnectionReset"),
            (Reply::ResetAfter, "ConnectionReset"),
            (Reply::SilenceAfter, "WouldBlock"),
        ];
        assert_eq!(seen, wanted.map(|(reply, got)| (reply, got.to_owned())).into());
        assert!(bell.until(LIMIT, || provider.count() == 120));
        assert!(!bell.until(Duration::ZERO, || provider.count() == 121));
    }
}
