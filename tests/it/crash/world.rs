//! A world around one store: a workspace, a fake provider, senders that never give up, and one engine
//! process after another.

use super::process::{PATIENCE, Process, Setup, TOKEN};
use crate::provider::{Bell, EFFECT_HEADER, KEY_HEADER, PROCESS_HEADER, Plan, Provider};
use autofunnel::engine::clock::system_now;
use autofunnel::event::{Event, InputBody};
use autofunnel::store::sqlite::{Options, SqliteStore};
use autofunnel::store::{Commit, NewInput, Store};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// Points of the one grant of a run.
pub const POINTS: i64 = 10;
/// Of so many customers one takes a word of consent back as soon as her first mail is on its way, and one
/// right after her first event.
const FORBIDS_EVERY: usize = 3;
/// No answer of the engine takes this long; a sender then sends again.
const ANSWER_MS: u64 = 10_000;
/// Lanes of senders; those of the second kind send what starts no run.
const LANES: usize = 3;
const NOISE_LANES: usize = 3;

const SETTINGS: &str = r#"
workspace: Crash tests
zone: UTC
currency: EUR
unknown: create
events: { joined: { order: text }, noise: { n: number } }
channels: { email: mail, sms: text, push: pager, chat: inbox }
providers:
  inbox: { kind: inbox }
  mail:                      # takes a key: sent again after every doubt
    kind: http
    url: http://PROVIDER/mail
    idempotency_header: KEY
    headers: { PROCESS: "${env:AUTOFUNNEL_PROCESS}" }
    json: { to: "{{ message.to }}", text: "{{ message.text }}" }
    timeout: 800ms
  text:                      # takes no key and must not be doubled
    kind: http
    url: http://PROVIDER/text
    headers: { PROCESS: "${env:AUTOFUNNEL_PROCESS}", EFFECT: "{{ effect.id }}" }
    json: { to: "{{ message.to }}", text: "{{ message.text }}" }
    on_uncertain: hold
    timeout: 800ms
  pager:                     # takes no key and must arrive
    kind: http
    url: http://PROVIDER/pager
    headers: { PROCESS: "${env:AUTOFUNNEL_PROCESS}", EFFECT: "{{ effect.id }}" }
    json: { to: "{{ message.to }}", text: "{{ message.text }}" }
    on_uncertain: resend
    timeout: 800ms
"#;

const CATALOG: &str = "
bundles:
  starter: { title: Starter, kind: starter, items: [{ sku: beans, quantity: 1 }], price: 10, worth: 12, valid_for: 14 days }
";

const FUNNEL: &str = r#"
funnel: Joined
trigger: joined
key: event.order
re_entry: always
transactional: true
steps:
  - email: { subject: "Order {{ event.order }}", text: "mail for {{ event.order }}" }
    id: letter
  - grant: 10 points
    id: points
    reason: joined
  - wait: 300ms
  - sms: { text: "text for {{ event.order }}" }
    id: text
  - push: { text: "page for {{ event.order }}" }
    id: page
  - chat: { text: "chat for {{ event.order }}" }
    id: chat
  - offer: starter
    id: gift
"#;

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
    /// Requests not answered yet.
    pub pending: usize,
}

/// A request that is sent until it is answered.
struct Letter {
    method: &'static str,
    path: String,
    body: String,
    events: Vec<(String, Sent)>,
    /// Not sent before the provider has seen this text.
    after: Option<String>,
}

/// See the module.
pub struct World {
    folder: TempDir,
    /// Told of everything that happens.
    pub bell: Arc<Bell>,
    /// The outside.
    pub provider: Arc<Provider>,
    /// What senders were told.
    pub told: Arc<Mutex<Told>>,
    /// Customers that will take a word of consent back.
    pub forbids: Vec<String>,
    /// Customers whose documents are damaged.
    pub damaged: Vec<String>,
    door: Arc<Mutex<Option<SocketAddr>>>,
    closed: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
    processes: usize,
    customers: usize,
}

impl World {
    /// A world without any engine yet.
    pub fn new(plan: Plan) -> World {
        let folder = tempfile::Builder::new().prefix("autofunnel-crash-").tempdir().unwrap();
        let bell = Arc::new(Bell::default());
        let provider = Arc::new(Provider::start(plan, bell.clone()));
        let funnels = folder.path().join("funnels");
        std::fs::create_dir(&funnels).unwrap();
        let settings = SETTINGS.replace("http://PROVIDER", &format!("http://{}", provider.address()));
        let settings = settings.replace("KEY", KEY_HEADER).replace("{ PROCESS:", &format!("{{ {PROCESS_HEADER}:"));
        let settings = settings.replace("EFFECT:", &format!("{EFFECT_HEADER}:"));
        for (name, text) in [("autofunnel.yaml", settings.as_str()), ("catalog.yaml", CATALOG), ("joined.yaml", FUNNEL)] {
            std::fs::write(funnels.join(name), text).unwrap();
        }
        World {
            folder,
            bell,
            provider,
            told: Arc::default(),
            forbids: Vec::new(),
            damaged: Vec::new(),
            door: Arc::default(),
            closed: Arc::default(),
            senders: Vec::new(),
            processes: 0,
            customers: 0,
        }
    }

    /// Where the store lies.
    pub fn store_path(&self) -> std::path::PathBuf {
        self.folder.path().join("engine.db")
    }

    /// Everything's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves store and logs behind for whoever looks for the cause.
    pub fn keep(&self, name: &str) {
        let to = std::env::temp_dir().join(format!("autofunnel-crash-{name}-{}", std::process::id()));
        let copied: std::io::Result<()> = std::fs::create_dir_all(&to).and_then(|()| {
            let files = std::fs::read_dir(self.folder.path())?.flatten().filter(|entry| entry.path().is_file());
            files.map(|entry| std::fs::copy(entry.path(), to.join(entry.file_name())).map(|_| ())).collect()
        });
        println!("store and logs are kept in {} ({copied:?})", to.display());
    }

    /// How many engines there have been.
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// Makes a customer whose document cannot be read: every turn of hers fails. No engine may run.
    pub fn damage(&mut self, customer: &str) {
        let (path, id) = (self.store_path(), customer.to_owned());
        block_on(async move {
            let store = SqliteStore::open(&path, Options::new(Arc::new(system_now))).unwrap();
            let input = NewInput {
                customer: id.clone(),
                source: "test".to_owned(),
                id: None,
                digest: 0,
                body: InputBody::Event(event("before")),
            };
            store.accept(vec![input]).await.unwrap();
            let claim = store.claim(1).await.unwrap().remove(0);
            let consumed = claim.inputs.iter().map(|queued| queued.seq).collect();
            let document = b"no document at all".to_vec();
            store.commit(vec![Commit { customer: id, consumed, document, ..Commit::default() }]).await.unwrap();
            store.close().await;
        });
        self.damaged.push(customer.to_owned());
    }

    /// Starts an engine and waits until it listens, or has crashed at its failpoint.
    pub fn start(&mut self, crash_at: Option<&str>) -> Process {
        self.processes += 1;
        let setup = Setup { folder: self.folder.path(), number: self.processes, crash_at, bell: self.bell.clone() };
        let process = Process::start(setup);
        let address = process.address();
        assert!(address.is_some() || crash_at.is_some(), "the engine did not start:\n{}", process.log());
        *self.door.lock().unwrap() = address;
        self.bell.ring();
        process
    }

    /// New customers, each with `joins` events that start a run and `noise` that start none, sent from now on.
    pub fn load(&mut self, customers: usize, joins: usize, noise: usize) {
        let mut lanes: Vec<Vec<Letter>> = (0..LANES + NOISE_LANES).map(|_| Vec::new()).collect();
        for number in self.customers..self.customers + customers {
            let customer = format!("c{number}");
            let lane = &mut lanes[number % LANES];
            lane.push(introduce(&customer));
            for join in 0..joins {
                if join == 1 && number % FORBIDS_EVERY < 2 {
                    let after = (number % FORBIDS_EVERY == 0).then(|| format!("mail for {customer}-join-0"));
                    lane.push(Letter { after, ..forbid(&customer) });
                    self.forbids.push(customer.clone());
                }
                lane.push(letter_of_events(&[(format!("{customer}-join-{join}"), "joined", customer.clone())]));
            }
            for n in 0..noise {
                let id = format!("{customer}-noise-{n}");
                lanes[LANES + n % NOISE_LANES].push(letter_of_events(&[(id, "noise", customer.clone())]));
            }
        }
        self.customers += customers;
        lanes.into_iter().for_each(|lane| self.send(lane));
    }

    /// One request with an event of each of so many new customers, sent from now on.
    pub fn load_at_once(&mut self, customers: usize) {
        let numbers = self.customers..self.customers + customers;
        let events: Vec<(String, &'static str, String)> =
            numbers.map(|number| (format!("c{number}-together"), "noise", format!("c{number}"))).collect();
        self.customers += customers;
        self.send(vec![letter_of_events(&events)]);
    }

    /// Events for the damaged customers, sent from now on.
    pub fn load_damaged(&mut self, each: usize) {
        let events = self.damaged.iter().flat_map(|customer| {
            (0..each).map(move |n| letter_of_events(&[(format!("{customer}-event-{n}"), "noise", customer.clone())]))
        });
        let letters = events.collect();
        self.send(letters);
    }

    fn send(&mut self, letters: Vec<Letter>) {
        self.told.lock().unwrap().pending += letters.len();
        let (door, told, bell, closed) = (self.door.clone(), self.told.clone(), self.bell.clone(), self.closed.clone());
        let provider = self.provider.clone();
        self.senders.push(std::thread::spawn(move || {
            for letter in letters {
                let seen = |text: &String| provider.has_seen(text) || closed.load(Ordering::Acquire);
                while letter.after.as_ref().is_some_and(|text| !bell.until(PATIENCE, || seen(text))) {}
                deliver(letter, &door, &told, &bell, &closed);
            }
        }));
    }

    /// Waits until all is sent and done; false when the engine ended before.
    pub fn until_done(&self, engine: &Process) -> bool {
        let sent = || self.told.lock().unwrap().pending == 0;
        assert!(self.bell.until(PATIENCE, || sent() || engine.has_ended()), "senders get no answer:\n{}", engine.log());
        // Twice, because the figures of one answer are not all of one instant.
        let mut idle = 0;
        let done = self.bell.until(PATIENCE, || {
            idle = if !engine.has_ended() && self.is_idle() { idle + 1 } else { 0 };
            idle >= 2 || engine.has_ended()
        });
        assert!(done, "the work does not end: {}\n{}", self.metrics().unwrap_or_default(), engine.log());
        !engine.has_ended()
    }

    /// A run of an engine that does everything that is left, and is asked to stop.
    pub fn finish(&mut self) {
        let mut engine = self.start(None);
        assert!(self.until_done(&engine), "the engine ended by itself:\n{}", engine.log());
        engine.terminate();
        assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    }

    fn is_idle(&self) -> bool {
        let Some(text) = self.metrics() else { return false };
        let gauge = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        ["autofunnel_inbox_inputs ", "autofunnel_outbox_effects ", "autofunnel_live_runs "].iter().all(|name| gauge(name) == Some(0))
    }

    fn metrics(&self) -> Option<String> {
        let address = (*self.door.lock().unwrap())?;
        call(address, "GET", "/metrics", "").filter(|(status, _)| *status == 200).map(|(_, text)| text)
    }

    /// Asks the engine something.
    pub fn ask(&self, path: &str) -> Option<(u16, String)> {
        let address = (*self.door.lock().unwrap())?;
        call(address, "GET", path, "")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        self.bell.ring();
        for sender in self.senders.drain(..) {
            // A sender that panicked has said so already.
            let _said = sender.join();
        }
    }
}

/// Runs something of the store's to its end.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn event(id: &str) -> Event {
    Event { id: id.to_owned(), name: "noise".to_owned(), time: system_now(), properties: Default::default(), minor: None, depth: 0 }
}

fn introduce(customer: &str) -> Letter {
    let body = format!(
        r#"{{"profile":{{"email":"{customer}@example.com","phone":"+4930123456","push":"device-{customer}","chat":"chat-{customer}"}}}}"#
    );
    Letter { method: "PUT", path: format!("/v1/customers/{customer}"), body, events: Vec::new(), after: None }
}

/// Raises her gate: what was decided before is to be decided anew.
fn forbid(customer: &str) -> Letter {
    let body = r#"{"consent":{"email":false}}"#.to_owned();
    Letter { method: "PUT", path: format!("/v1/customers/{customer}"), body, events: Vec::new(), after: None }
}

fn letter_of_events(events: &[(String, &'static str, String)]) -> Letter {
    let one = |(id, name, customer): &(String, &'static str, String)| {
        let properties = if *name == "joined" { format!(r#"{{"order":"{id}"}}"#) } else { r#"{"n":1}"#.to_owned() };
        format!(r#"{{"id":"{id}","event":"{name}","customer":"{customer}","properties":{properties}}}"#)
    };
    let texts: Vec<String> = events.iter().map(one).collect();
    let body = if texts.len() == 1 { texts[0].clone() } else { format!("[{}]", texts.join(",")) };
    let sent = |(id, name, customer): &(String, &'static str, String)| (id.clone(), Sent { customer: customer.clone(), name });
    Letter { method: "POST", path: "/v1/events".to_owned(), body, events: events.iter().map(sent).collect(), after: None }
}

/// Sends a letter until it is answered with 2xx, as every good sender does.
fn deliver(letter: Letter, door: &Mutex<Option<SocketAddr>>, told: &Mutex<Told>, bell: &Bell, closed: &AtomicBool) {
    let mut tries = 0;
    while !closed.load(Ordering::Acquire) {
        let address = *door.lock().unwrap();
        tries += usize::from(address.is_some());
        let got = address.and_then(|address| call(address, letter.method, &letter.path, &letter.body));
        match got {
            Some((200 | 202, text)) if letter.events.len() < 2 || text.contains(r#""refused":0"#) => {
                let mut told = told.lock().unwrap();
                told.accepted.extend(letter.events);
                told.answered += 1;
                told.repeated += usize::from(tries > 1);
                told.pending -= 1;
                drop(told);
                bell.ring();
                return;
            }
            Some((status, text)) if !matches!(status, 429 | 503) => {
                let mut told = told.lock().unwrap();
                told.refused.push(format!("{status} {text} to {}", letter.body));
                told.pending -= 1;
                drop(told);
                bell.ring();
                return;
            }
            // No answer, or "not now": a moment later, or as soon as another engine is up.
            _ => drop(bell.until(Duration::from_millis(30), || {
                *door.lock().unwrap() != address || closed.load(Ordering::Acquire)
            })),
        }
    }
}

/// One request on a connection of its own; `None` when there was no whole answer.
fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let limit = Duration::from_millis(ANSWER_MS);
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
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
