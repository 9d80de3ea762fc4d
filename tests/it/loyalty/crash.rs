//! Real processes that end at a failpoint while grants are parked, and while they are released: none is lost and none
//! is booked twice, with a store that knows keys and with one that is asked.

use super::bank::Bank;
use super::{ASKED, GIFT, Home, files, people};
use crate::crash::process::{PATIENCE, Process, Setup, TOKEN};
use crate::provider::Bell;
use crate::redis::{Disk, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Customers of one case.
const CUSTOMERS: usize = 5;

/// Where a case's engines keep everything.
struct World {
    folder: tempfile::TempDir,
    home: Home,
    bell: Arc<Bell>,
    bank: Bank,
    started: usize,
}

impl World {
    fn new(home: Home, knows_keys: bool) -> World {
        let (bell, folder) = (Arc::new(Bell::default()), tempfile::tempdir().unwrap());
        let bank = Bank::start(knows_keys, 1, 0, bell.clone());
        let mut others: Vec<(&str, &str)> = if knows_keys { Vec::new() } else { ASKED.to_vec() };
        others.push(("ask_again: 10 minutes", "ask_again: 1s"));
        for (name, text) in files(&home, &bank, &others) {
            let path = folder.path().join("funnels").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text.replace("wait: 7 days", "wait: 1s")).unwrap();
        }
        World { folder, home, bell, bank, started: 0 }
    }

    fn start(&mut self, crash_at: Option<&str>) -> Process {
        self.started += 1;
        let path = |folder: &Path, name: &str| folder.join(name).display().to_string();
        let store = match &self.home {
            Home::File(folder) => vec!["--store".to_owned(), path(folder.path(), "engine.db")],
            Home::Redis(server) => {
                let (report, state) = (path(server.folder(), "report.db"), path(server.folder(), "state"));
                ["--store", &server.address(), "--report", &report, "--state", &state].map(str::to_owned).to_vec()
            }
        };
        let listen = ["--listen", "127.0.0.1:0"].map(str::to_owned);
        Process::start(Setup {
            folder: self.folder.path(),
            arguments: store.into_iter().chain(listen).collect(),
            environment: vec![
                ("AUTOFUNNEL_LOYALTY_TOKEN", "a-token-of-the-store".to_owned()),
                ("AUTOFUNNEL_LOYALTY_WEBHOOKS", "whsec_YS1zZWNyZXQtb2YtdGhlLXN0b3JlLWZvci10ZXN0cw==".to_owned()),
                (autofunnel::app::store::LEASE_VARIABLE, "600".to_owned()),
            ],
            file_kib_max: None,
            number: self.started,
            crash_at,
            bell: self.bell.clone(),
        })
    }

    /// Lets processes work, the first of them up to its failpoint, until something holds.
    fn until(&mut self, crash_at: &str, what: &str, mut done: impl FnMut(SocketAddr) -> bool) -> bool {
        let mut process = self.start(Some(crash_at));
        let mut crashed = false;
        let (mut rest, bell) = (None, self.bell.clone());
        loop {
            let address = process.address();
            let holds = bell.until(PATIENCE, || process.has_ended() || address.is_some_and(&mut done));
            let told = || address.and_then(|address| ask(address, "GET", "/v1/customers/c0", ""));
            assert!(holds, "{what} does not come about; {:?}\n{}", told(), process.log());
            if !process.has_ended() {
                process.terminate();
                process.status();
                return crashed;
            }
            assert!(process.crashed() && rest.is_none(), "it ended by itself\n{}", process.log());
            crashed = true;
            rest = Some(());
            process = self.start(None);
        }
    }
}

/// One request; `None` when nobody answers.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

/// Everybody signs up; said again it does no harm.
fn sign_up(address: SocketAddr) -> bool {
    people(CUSTOMERS).iter().all(|customer| {
        let put = format!(r#"{{"profile":{{"email":"{customer}@example.com"}},"consent":{{"email":true}}}}"#);
        let event = format!(r#"{{"id":"s-{customer}","event":"signed_up","customer":"{customer}"}}"#);
        let told = |answer: Option<(u16, String)>| answer.is_some_and(|(status, _)| matches!(status, 200 | 202));
        told(ask(address, "PUT", &format!("/v1/customers/{customer}"), &put)) && told(ask(address, "POST", "/v1/events", &event))
    })
}

/// How many facts of a kind there are of each customer.
fn facts(address: SocketAddr, what: &str) -> Option<Vec<usize>> {
    let count = |customer: &String| {
        let (status, body) = ask(address, "GET", &format!("/v1/customers/{customer}/timeline?limit=200"), "")?;
        (status == 200).then(|| body.matches(&format!("\"what\":\"{what}\"")).count())
    };
    people(CUSTOMERS).iter().map(count).collect()
}

fn crash(home: Home, knows_keys: bool, point: &str, hits: (usize, usize)) -> usize {
    let mut world = World::new(home, knows_keys);
    world.bank.set_blocked(true);
    let mut signed = false;
    let first = world.until(&format!("{point}:{}", hits.0), "that all are parked", |address| {
        signed = signed || sign_up(address);
        signed && facts(address, "parked").is_some_and(|counts| counts.iter().all(|count| *count == 1))
    });
    world.bank.set_blocked(false);
    let second = world.until(&format!("{point}:{}", hits.1), "that all are released", |address| {
        facts(address, "granted").is_some_and(|counts| counts.iter().all(|count| *count > 0))
    });
    let case = format!("{point} at {hits:?}, keys {knows_keys}");
    let process = world.start(None);
    let address = process.address().unwrap();
    assert_eq!(facts(address, "granted").unwrap(), [1; CUSTOMERS], "{case}");
    assert_eq!(facts(address, "parked").unwrap(), [1; CUSTOMERS], "{case}");
    world.bank.check(CUSTOMERS, GIFT * CUSTOMERS as i64);
    usize::from(first) + usize::from(second)
}

/// The failpoints around what happens to a parked grant, with their hits before and after it is released.
const POINTS: &[(&str, (usize, usize))] = &[
    ("commit.before", (9, 2)),
    ("commit.after", (8, 3)),
    ("begin.before", (2, 1)),
    ("begin.after", (3, 2)),
    ("settle.before", (1, 1)),
];
/// Those of the engine.
const ENGINE_POINTS: &[(&str, (usize, usize))] = &[
    ("provider.call.before", (2, 1)),
    ("provider.call.after", (1, 3)),
    ("provider.call.after", (4, 1)),
    ("settle.before", (3, 2)),
];

fn crash_everywhere(prefix: &str, home: impl Fn() -> Home + Sync) {
    let own: Vec<(String, (usize, usize))> = POINTS.iter().map(|(name, hits)| (format!("{prefix}.{name}"), *hits)).collect();
    let engine = ENGINE_POINTS.iter().map(|(name, hits)| ((*name).to_owned(), *hits));
    let points: Vec<(String, (usize, usize))> = own.into_iter().chain(engine).collect();
    let mut crashes = 0;
    // Few at a time: each case is one engine after another.
    for (at, chunk) in points.chunks(3).enumerate() {
        std::thread::scope(|scope| {
            let one = |(n, (name, hits)): (usize, &(String, (usize, usize)))| {
                let (home, name, hits) = (home(), name.clone(), *hits);
                scope.spawn(move || crash(home, (at + n) % 2 == 0, &name, hits))
            };
            let cases: Vec<_> = chunk.iter().enumerate().map(one).collect();
            crashes += cases.into_iter().map(|case| case.join().unwrap()).sum::<usize>();
        });
    }
    // A store's own settle is reached only where the customer was busy.
    assert!(crashes >= points.len(), "{crashes} crashes in {} cases", points.len());
}

#[test]
fn crashes_lose_and_double_no_parked_grant() {
    crash_everywhere("sqlite", || Home::File(tempfile::tempdir().unwrap()));
}

#[test]
fn crashes_lose_and_double_no_parked_grant_on_redis() {
    crash_everywhere("redis", || Home::Redis(Server::start(Disk::EverySecond)));
}
