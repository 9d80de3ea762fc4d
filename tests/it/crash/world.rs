//! A world around one store: a workspace, a fake provider, senders that never give up, and one engine
//! process after another.

use super::home::{Home, Kind};
use super::long;
use super::process::{PATIENCE, Process, Setup};
use super::sender::{Letter, Post, forbid, introduce, letter_of_events};
use crate::provider::{Bell, Dice, EFFECT_HEADER, KEY_HEADER, PROCESS_HEADER, Plan, Provider};
use autofunnel::engine::clock::system_now;
use autofunnel::event::{Event, InputBody};
use autofunnel::store::{Commit, NewInput};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Points of a run: of its grant, and of its gift to two.
pub const POINTS: [i64; 2] = [10, 7];
/// Points that each run brings another customer: of the gift to two, and of the funnel that she is told of.
pub const PAL_POINTS: [i64; 2] = [3, 1];
/// Of so many customers one takes a word of consent back as soon as her first mail is on its way, and one
/// right after her first event.
const FORBIDS_EVERY: usize = 3;
/// The end of the id of news that came after its customer's withdrawal was answered.
pub const LATE: &str = "late";
/// Lanes of senders; those of the second kind send what starts no run.
const LANES: usize = 3;
const NOISE_LANES: usize = 3;

const SETTINGS: &str = r#"
workspace: Crash tests
zone: UTC
currency: EUR
unknown: create
events: { joined: { order: text, n: number }, news: { order: text }, alarm: { order: text }, noise: { n: number }, hailed: { order: text } }
sources:
  shop:
    verify: none
    map:
      - { event: joined, id: body.id, customer: body.customer, time: body.at, properties: { order: body.id, n: body.n } }
channels: { email: mail, sms: text, push: pager, chat: inbox }
budgets:                     # large enough: what they are about is that points are taken out of them
  - { points: 100000000, per: day }
  - { points: 100000000, per: week }
  - { points: 100000000, per: month }
  - { points: 100000000, per: ever }
  - { points: 100000, per: day, each: customer }
providers:
  inbox: { kind: inbox }
  mail:                      # takes a key: sent again after every doubt
    kind: http
    url: http://PROVIDER/mail
    idempotency_header: KEY
    headers: { PROCESS: "${env:AUTOFUNNEL_PROCESS}", x-secret: "${env:AUTOFUNNEL_PROVIDER_SECRET}" }
    json: { to: "{{ message.to }}", text: "{{ message.text }}" }
    timeout: MAIL_TIMEOUT
  text:                      # takes no key and must not be doubled
    kind: http
    url: http://PROVIDER/text
    headers: { PROCESS: "${env:AUTOFUNNEL_PROCESS}", EFFECT: "{{ effect.id }}" }
    json: { to: "{{ message.to }}", text: "{{ message.text }}" }
    on_uncertain: hold
    timeout: SHORT_TIMEOUT
  pager:                     # takes no key and must arrive
    kind: http
    url: http://PROVIDER/pager
    headers: { PROCESS: "${env:AUTOFUNNEL_PROCESS}", EFFECT: "{{ effect.id }}" }
    json: { to: "{{ message.to }}", text: "{{ message.text }}" }
    on_uncertain: resend
    timeout: SHORT_TIMEOUT
services:
  desk:                      # takes a key, and answers what a later step reads
    url: http://PROVIDER
    idempotency_header: KEY
    headers: { PROCESS: "${env:AUTOFUNNEL_PROCESS}" }
    timeout: SHORT_TIMEOUT
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
  - call: desk
    id: desk
    path: /desk
    json: { text: "desk for {{ event.order }}" }
    response: { id: text }
  - both:
      - { grant: 7 points, reason: both }
      - { grant: 3 points, reason: both, to: '"pal-" + customer.id' }
    id: both
  - emit: hailed
    to: '"pal-" + customer.id'
    properties: { order: { cel: event.order } }
  - offer: starter
    id: gift
    if: steps.desk.body.id == "taken"
"#;

/// What another customer is told of.
const HAILED: &str = r#"
funnel: Hailed
trigger: hailed
key: event.order
re_entry: always
steps:
  - grant: 1 point
    reason: hailed
"#;

/// Whom a customer's runs tell of what they do.
pub fn pal_of(customer: &str) -> String {
    format!("pal-{customer}")
}

/// Marketing: not sent to whoever has withdrawn her consent.
const NEWS: &str = r#"
funnel: News
trigger: news
key: event.order
re_entry: always
steps:
  - email: { subject: "News {{ event.order }}", text: "news for {{ event.order }}" }
    id: news
"#;

/// How a process is started.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'l> {
    /// The failpoint at which it is to end, as `name:n`.
    pub crash_at: Option<&'l str>,
    /// What it does.
    pub role: &'l str,
    /// The machine that it runs on, where a worker has its note.
    pub slot: usize,
    /// No file may grow beyond this, in KiB.
    pub file_kib_max: Option<u64>,
}

impl Default for Launch<'_> {
    fn default() -> Self {
        Launch { crash_at: None, role: "all", slot: 0, file_kib_max: None }
    }
}

/// See the module.
pub struct World {
    folder: TempDir,
    /// Where the store is.
    pub home: Home,
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
    /// An engine may answer that it cannot work at all.
    pub may_fail: bool,
    /// Several workers share the work.
    pub several: bool,
    senders: Vec<JoinHandle<()>>,
    processes: usize,
    customers: usize,
}

impl World {
    /// A world without any engine yet.
    pub fn new(kind: Kind, plan: Plan) -> World {
        World::with_mail_timeout(kind, plan, "800ms")
    }

    /// The same, with an engine that waits so long for an answer to a mail.
    pub fn with_mail_timeout(kind: Kind, plan: Plan, timeout: &str) -> World {
        let folder = tempfile::Builder::new().prefix("autofunnel-crash-").tempdir().unwrap();
        let bell = Arc::new(Bell::default());
        let provider = Arc::new(Provider::start(plan, bell.clone()));
        let funnels = folder.path().join("funnels");
        std::fs::create_dir(&funnels).unwrap();
        let settings = SETTINGS.replace("http://PROVIDER", &format!("http://{}", provider.address()));
        let settings = settings.replace("KEY", KEY_HEADER).replace("{ PROCESS:", &format!("{{ {PROCESS_HEADER}:"));
        // A machine that has stood still for a moment answers too late: in hours that happens, and is no fault.
        let settings = settings.replace("SHORT_TIMEOUT", if long() { "5s" } else { "800ms" });
        let settings = settings.replace("MAIL_TIMEOUT", timeout).replace("EFFECT:", &format!("{EFFECT_HEADER}:"));
        let files =
            [("autofunnel.yaml", settings.as_str()), ("catalog.yaml", CATALOG), ("joined.yaml", FUNNEL), ("news.yaml", NEWS)];
        let files = files.into_iter().chain([("hailed.yaml", HAILED)]);
        for (name, text) in files {
            std::fs::write(funnels.join(name), text).unwrap();
        }
        let post = Arc::new(Post::new(provider.clone(), bell.clone()));
        World {
            home: Home::new(kind, folder.path(), bell.clone()),
            folder,
            bell,
            provider,
            post,
            forbids: Vec::new(),
            damaged: Vec::new(),
            may_fail: false,
            several: false,
            senders: Vec::new(),
            processes: 0,
            customers: 0,
        }
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
            files.map(|entry| std::fs::copy(entry.path(), to.join(entry.file_name()))).try_for_each(|copied| copied.map(drop))?;
            std::fs::write(to.join("calls.txt"), format!("{:#?}", self.provider.calls()))
        });
        println!("store and logs are kept in {} ({copied:?})", to.display());
    }

    /// The provider of mails takes so many in one second, for engines that start from now on.
    pub fn limit_mail(&self, rate: usize) {
        let path = self.folder.path().join("funnels/autofunnel.yaml");
        let settings = std::fs::read_to_string(&path).unwrap();
        let mail = "  mail:                      # takes a key: sent again after every doubt\n";
        assert!(settings.contains(mail));
        std::fs::write(path, settings.replace(mail, &format!("{mail}    rate: {rate}/s\n"))).unwrap();
    }

    /// Adds a funnel to the workspace, for engines that start from now on.
    pub fn add_funnel(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join("funnels").join(name), text).unwrap();
    }

    /// How many engines there have been.
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// How many customers there have been; the next one has this number.
    pub fn customers(&self) -> usize {
        self.customers
    }

    /// Says, as an operator does, that sending may go on upon a Redis that came back older.
    pub fn confirm(&self) {
        let address = self.home.store_address();
        block_on(autofunnel::store::redis::doctor::confirm(&address)).unwrap();
    }

    /// Makes a customer whose document cannot be read: every turn of hers fails. No engine may run.
    pub fn damage(&mut self, customer: &str) {
        let (home, id) = (&self.home, customer.to_owned());
        block_on(async move {
            let store = home.open(true).await;
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
        self.launch(Launch { crash_at, ..Launch::default() })
    }

    /// The same, with more said. Senders go to the newest process that has doors.
    pub fn launch(&mut self, launch: Launch<'_>) -> Process {
        let process = self.spawn(launch);
        let address = process.address();
        assert!(!process.has_ended() || launch.crash_at.is_some(), "the engine did not start:\n{}", process.log());
        if launch.role != "worker" {
            self.post.goes_to(address);
        }
        process
    }

    /// Starts a process and waits for nothing.
    pub fn spawn(&mut self, launch: Launch<'_>) -> Process {
        self.processes += 1;
        let mut arguments = self.home.arguments(self.folder.path(), launch.slot);
        if launch.role != "all" {
            arguments.extend(["--role".to_owned(), launch.role.to_owned()]);
        }
        if launch.role != "worker" {
            arguments.extend(["--listen".to_owned(), "127.0.0.1:0".to_owned()]);
        }
        Process::start(Setup {
            folder: self.folder.path(),
            arguments,
            environment: self.home.environment(),
            number: self.processes,
            crash_at: launch.crash_at,
            file_kib_max: launch.file_kib_max,
            bell: self.bell.clone(),
        })
    }

    /// Lets the engine work until the senders have been answered and the provider has been called a few more
    /// times, or nothing is left to do. Some work must be done in between: inputs that are in hand at three
    /// ends of the process in a row are put aside, as nobody can tell them from those that end it.
    pub fn some_work(&self, dice: &mut Dice, engines: &[&Process]) {
        let (calls, (answers, _)) = (self.provider.count(), self.post.counts());
        let (more_calls, more_answers) = (1 + dice.below(15) as usize, 15 + dice.below(40) as usize);
        let enough = || {
            let (answered, pending) = self.post.counts();
            let some = self.provider.count() >= calls + more_calls && answered >= answers + more_answers;
            some || (pending == 0 && self.is_idle()) || engines.iter().any(|engine| engine.has_ended())
        };
        let logs = || engines.iter().map(|engine| engine.log()).collect::<String>();
        if !self.bell.until(PATIENCE, enough) {
            self.keep("stuck");
            panic!("nothing happens:\n{}\n{}", self.home.waiting(), logs());
        }
        assert!(!engines.iter().any(|engine| engine.has_ended()), "an engine ended by itself:\n{}", logs());
    }

    /// New customers, each with `joins` events that start a run and `noise` that start none, sent from now on.
    pub fn load(&mut self, customers: usize, joins: usize, noise: usize) {
        let mut lanes: Vec<Vec<Letter>> = (0..LANES + NOISE_LANES).map(|_| Vec::new()).collect();
        for number in self.customers..self.customers + customers {
            let customer = format!("c{number}");
            let joined = |join: usize| letter_of_events(&[(format!("{customer}-join-{join}"), "joined", customer.clone())]);
            let news = |when: &str| letter_of_events(&[(format!("{customer}-news-{when}"), "news", customer.clone())]);
            let lane = &mut lanes[number % LANES];
            lane.push(introduce(&customer));
            lane.push(news("early"));
            for join in 0..joins {
                if join == 1 && number % FORBIDS_EVERY < 2 {
                    let after = (number % FORBIDS_EVERY == 0).then(|| format!("mail for {customer}-join-0"));
                    lane.push(forbid(&customer, after));
                    self.forbids.push(customer.clone());
                    lane.push(news(LATE));
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

    /// Sends letters one after the other, from now on.
    pub fn send(&mut self, letters: Vec<Letter>) {
        self.senders.push(self.post.send(letters));
    }

    /// Waits until all is sent and done; false when the engine ended before.
    pub fn until_done(&self, engine: &Process) -> bool {
        self.until_all_done(&[engine])
    }

    /// The same with several processes; false when one of them ended before.
    pub fn until_all_done(&self, engines: &[&Process]) -> bool {
        let ended = || engines.iter().any(|engine| engine.has_ended());
        let logs = || engines.iter().map(|engine| engine.log()).collect::<String>();
        let sent = || self.post.counts().1 == 0;
        assert!(self.bell.until(PATIENCE, || sent() || ended()), "senders get no answer:\n{}", logs());
        // Twice, because the figures of one answer are not all of one instant.
        let mut idle = 0;
        let done = self.bell.until(PATIENCE, || {
            idle = if !ended() && self.is_idle() { idle + 1 } else { 0 };
            idle >= 2 || ended()
        });
        if !done {
            self.keep("stuck");
        }
        let left = || format!("{}\n{}", self.metrics().unwrap_or_default(), self.home.waiting());
        assert!(done, "the work does not end: {}\n{}", left(), logs());
        !ended()
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
        if !matches!(self.home, Home::File(_)) {
            return self.home.is_idle().unwrap_or(false);
        }
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
