//! A world around one store: a workspace, a fake provider, senders that never give up, and one engine
//! process after another.

use super::process::{PATIENCE, Process, Setup};
use super::sender::{Letter, Post, forbid, introduce, letter_of_events};
use crate::provider::{Bell, EFFECT_HEADER, KEY_HEADER, PROCESS_HEADER, Plan, Provider};
use autofunnel::engine::clock::system_now;
use autofunnel::event::{Event, InputBody};
use autofunnel::store::sqlite::{Options, SqliteStore};
use autofunnel::store::{Commit, NewInput, Store};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Points of the one grant of a run.
pub const POINTS: i64 = 10;
/// Of so many customers one takes a word of consent back as soon as her first mail is on its way, and one
/// right after her first event.
const FORBIDS_EVERY: usize = 3;
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
    timeout: MAIL_TIMEOUT
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

/// See the module.
pub struct World {
    folder: TempDir,
    /// Told of everything that happens.
    pub bell: Arc<Bell>,
    /// The outside.
    pub provider: Arc<Provider>,
    /// The senders.
    pub post: Arc<Post>,
    /// Customers that will take a word of consent back.
    pub forbids: Vec<String>,
    /// Customers whose documents are damaged.
    pub damaged: Vec<String>,
    senders: Vec<JoinHandle<()>>,
    processes: usize,
    customers: usize,
}

impl World {
    /// A world without any engine yet.
    pub fn new(plan: Plan) -> World {
        World::with_mail_timeout(plan, "800ms")
    }

    /// The same, with an engine that waits so long for an answer to a mail.
    pub fn with_mail_timeout(plan: Plan, timeout: &str) -> World {
        let folder = tempfile::Builder::new().prefix("autofunnel-crash-").tempdir().unwrap();
        let bell = Arc::new(Bell::default());
        let provider = Arc::new(Provider::start(plan, bell.clone()));
        let funnels = folder.path().join("funnels");
        std::fs::create_dir(&funnels).unwrap();
        let settings = SETTINGS.replace("http://PROVIDER", &format!("http://{}", provider.address()));
        let settings = settings.replace("KEY", KEY_HEADER).replace("{ PROCESS:", &format!("{{ {PROCESS_HEADER}:"));
        let settings = settings.replace("MAIL_TIMEOUT", timeout).replace("EFFECT:", &format!("{EFFECT_HEADER}:"));
        for (name, text) in [("autofunnel.yaml", settings.as_str()), ("catalog.yaml", CATALOG), ("joined.yaml", FUNNEL)] {
            std::fs::write(funnels.join(name), text).unwrap();
        }
        let post = Arc::new(Post::new(provider.clone(), bell.clone()));
        World {
            folder,
            bell,
            provider,
            post,
            forbids: Vec::new(),
            damaged: Vec::new(),
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
            files.map(|entry| std::fs::copy(entry.path(), to.join(entry.file_name()))).try_for_each(|copied| copied.map(drop))
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
        self.post.goes_to(address);
        process
    }

    /// New customers, each with `joins` events that start a run and `noise` that start none, sent from now on.
    pub fn load(&mut self, customers: usize, joins: usize, noise: usize) {
        let mut lanes: Vec<Vec<Letter>> = (0..LANES + NOISE_LANES).map(|_| Vec::new()).collect();
        for number in self.customers..self.customers + customers {
            let customer = format!("c{number}");
            let joined = |join: usize| letter_of_events(&[(format!("{customer}-join-{join}"), "joined", customer.clone())]);
            let lane = &mut lanes[number % LANES];
            lane.push(introduce(&customer));
            for join in 0..joins {
                if join == 1 && number % FORBIDS_EVERY < 2 {
                    let after = (number % FORBIDS_EVERY == 0).then(|| format!("mail for {customer}-join-0"));
                    lane.push(forbid(&customer, after));
                    self.forbids.push(customer.clone());
                }
                lane.push(joined(join));
            }
            // What was taken in is sent once more all the same.
            lane.push(joined(0));
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
        self.senders.push(self.post.send(letters));
    }

    /// Waits until all is sent and done; false when the engine ended before.
    pub fn until_done(&self, engine: &Process) -> bool {
        let sent = || self.post.counts().1 == 0;
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

    /// Whether the engine has nothing to do now.
    pub fn is_idle(&self) -> bool {
        let Some(text) = self.metrics() else { return false };
        let gauge = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        ["autofunnel_inbox_inputs ", "autofunnel_outbox_effects ", "autofunnel_live_runs "]
            .iter()
            .all(|name| gauge(name) == Some(0))
    }

    fn metrics(&self) -> Option<String> {
        self.post.ask("/metrics").filter(|(status, _)| *status == 200).map(|(_, text)| text)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.post.close();
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
    Event {
        id: id.to_owned(),
        name: "noise".to_owned(),
        time: system_now(),
        properties: Default::default(),
        minor: None,
        depth: 0,
    }
}
