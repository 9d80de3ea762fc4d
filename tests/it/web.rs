//! The doors over a real socket with a real store: what a 2xx promises, what is kept, and what the nasty
//! requests get. Every connection is a plain socket, so that nothing is tidied up on the way.

use autofunnel::customer::{Customer, codec};
use autofunnel::engine::intake::{Shared, World};
use autofunnel::event::InputBody;
use autofunnel::fact::{Fact, RunRef, What};
use autofunnel::funnel::settings::{MembershipOwner, Settings};
use autofunnel::lang::time::{Span, Time};
use autofunnel::lang::value::Value;
use autofunnel::money::Currency;
use autofunnel::store::read::{KeptMessage, Reads};
use autofunnel::store::sqlite::{Options as StoreOptions, SqliteStore};
use autofunnel::store::{Commit, CustomerRow, RunRow, Store};
use autofunnel::web::auth::{Scope, issue};
use autofunnel::web::view::{FunnelView, StepView};
use autofunnel::web::{Options, WebState, serve};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The instant of every test: 2027-03-01T09:00:00Z.
const NOW: Time = Time(1_803_891_600_000);
/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

fn settings() -> Settings {
    Settings {
        workspace: "Harbour Coffee".to_owned(),
        zone: chrono_tz::Europe::Berlin,
        currency: Currency::parse("EUR").unwrap(),
        create_unknown: true,
        profile: BTreeMap::new(),
        membership_owner: MembershipOwner::Events,
        events: BTreeMap::new(),
        keep: Span::days(400),
        quiet_hours: None,
        caps: Vec::new(),
        offers: None,
        holdout: None,
        channels: BTreeMap::new(),
        address: None,
        clicks: Vec::new(),
        loyalty: None,
        loyalty_store: None,
        providers: BTreeMap::new(),
        provider_variables: BTreeMap::new(),
        sources: BTreeMap::new(),
        point_value: None,
        budgets: Vec::new(),
        services: BTreeMap::new(),
    }
}

struct Server {
    address: SocketAddr,
    store: Arc<SqliteStore>,
    token: String,
    stop: oneshot::Sender<()>,
    done: JoinHandle<std::io::Result<()>>,
}

struct Got {
    status: u16,
    text: String,
}

impl Got {
    fn json(&self) -> serde_json::Value {
        let body = self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Server {
    async fn start(file: &Path) -> Server {
        let store = SqliteStore::open(file, StoreOptions::new(Arc::new(|| NOW))).unwrap();
        let token = issue(&*store, "test", &[Scope::Admin], None).await.unwrap();
        let world = World {
            hash: "h".to_owned(),
            settings: settings(),
            funnels: [("welcome".to_owned(), true)].into(),
            memberships: Default::default(),
            sources: BTreeMap::new(),
        };
        let step = StepView { id: "email_1".to_owned(), kind: "email".to_owned(), label: "Say hello".to_owned(), depth: 0 };
        let view = FunnelView {
            name: "welcome".to_owned(),
            title: "Welcome".to_owned(),
            events: Vec::new(),
            trigger: "an invitation".to_owned(),
            steps: vec![step],
        };
        let options = Options { open_pages: true, ..Options::default() };
        let (world, views) = (Arc::new(Shared::new(world)), Arc::new(Shared::new(vec![view])));
        let state = WebState::new(store.clone(), world, views, options, Default::default()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(serve(listener, Arc::new(state), async { drop(stopped.await) }));
        Server { address, store, token, stop, done }
    }

    /// Stops the server and lets go of the store, as a process does at its end.
    async fn stop(self) {
        drop(self.stop);
        tokio::time::timeout(PATIENCE, self.done).await.unwrap().unwrap().unwrap();
        self.store.close().await;
    }

    fn head(&self, method: &str, path: &str, extra: &str) -> String {
        let Server { address, token, .. } = self;
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n{extra}\r\n"
        )
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Got {
        let head = self.head(method, path, &format!("content-length: {}\r\n", body.len()));
        self.raw(format!("{head}{body}").as_bytes()).await
    }

    async fn get(&self, path: &str) -> Got {
        self.send("GET", path, "").await
    }

    async fn raw(&self, request: &[u8]) -> Got {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request).await;
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Got { status, text }
    }
}

fn purchase(id: &str, amount: &str) -> String {
    format!(r#"{{"id":"{id}","event":"purchase","customer":"c1","properties":{{"amount":{amount}}}}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_survives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("af.db");
    let server = Server::start(&file).await;
    assert_eq!(server.send("POST", "/v1/events", &purchase("e1", "42.50")).await.status, 202);
    assert_eq!(server.send("PUT", "/v1/customers/c1", r#"{"consent":{"email":false}}"#).await.status, 202);
    assert_eq!(server.send("POST", "/v1/funnels/welcome/runs", r#"{"customer":"c1","id":"k"}"#).await.status, 202);
    assert_eq!(server.send("POST", "/v1/import", "{\"customer\":\"c1\",\"profile\":{\"name\":\"Ada\"}}\n").await.status, 200);
    let token = server.token.clone();
    server.stop().await;

    let mut server = Server::start(&file).await;
    // The token of the process before still counts, and the store holds nothing of it but its digest.
    server.token = token.clone();
    for (body, wanted) in [(purchase("e1", "42.5"), 200), (purchase("e1", "43"), 409), (purchase("e2", "1"), 202)] {
        assert_eq!(server.send("POST", "/v1/events", &body).await.status, wanted, "{body}");
    }
    assert_eq!(server.send("POST", "/v1/funnels/welcome/runs", r#"{"customer":"c1","id":"k"}"#).await.status, 200);
    let claims = server.store.claim(10).await.unwrap();
    let inputs: Vec<&InputBody> = claims[0].inputs.iter().map(|queued| &queued.input.body).collect();
    assert_eq!((claims.len(), inputs.len()), (1, 5));
    assert!(matches!(inputs[0], InputBody::Event(event) if event.minor == Some(4250) && event.time == NOW));
    assert!(matches!(inputs[1], InputBody::Profile(change) if !change.consent[0].granted));
    assert!(matches!(inputs[2], InputBody::Enrol { funnel, id, .. } if funnel == "welcome" && id == "k"));
    assert!(matches!(inputs[3], InputBody::Profile(change) if change.import));
    server.stop().await;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()), "a token is stored as it is");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_at_once_lose_and_double_nothing() {
    const SENDERS: usize = 16;
    const EACH: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    let server = Arc::new(Server::start(&folder.path().join("af.db")).await);
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        let server = server.clone();
        // Every event is sent by two senders.
        senders.push(tokio::spawn(async move {
            let mut accepted = 0;
            for i in 0..EACH {
                let body = format!(r#"{{"id":"e{}-{i}","event":"signed_up","customer":"c{i}"}}"#, sender / 2);
                match server.send("POST", "/v1/events", &body).await.status {
                    202 => accepted += 1,
                    200 => {}
                    other => panic!("{other}"),
                }
            }
            accepted
        }));
    }
    let mut accepted = 0;
    for sender in senders {
        accepted += sender.await.unwrap();
    }
    assert_eq!(accepted, SENDERS / 2 * EACH);
    assert_eq!(server.store.counts().await.unwrap().inbox, accepted as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nasty_requests_get_a_plain_answer_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("af.db")).await;
    let mebi = "x".repeat(1024 * 1024 + 1);
    let post = |extra: &str, body: &str| format!("{}{body}", server.head("POST", "/v1/events", extra));
    let sized = |body: &str| post(&format!("content-length: {}\r\n", body.len()), body);
    let at = |time: &str| sized(&format!(r#"{{"id":"1","event":"purchase","customer":"c","time":{time}}}"#));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let wide = format!("{{{}\"z\":0}}", (0..70_000).map(|i| format!("\"k{i}\":1,")).collect::<String>());
    let smuggled = "0\r\n\r\nGET /livez HTTP/1.1\r\n\r\n";
    let mut cases: Vec<(String, u16)> = vec![
        (sized(&mebi), 413),
        (post("transfer-encoding: chunked\r\n", &format!("{:x}\r\n{mebi}\r\n0\r\n\r\n", mebi.len())), 413),
        (post("content-encoding: gzip\r\ncontent-length: 2\r\n", "\u{1f}\u{8}"), 415),
        (post("content-length: 4\r\ntransfer-encoding: chunked\r\n", smuggled), 400),
        (post("transfer-encoding: chunked\r\ncontent-length: 4\r\n", smuggled), 400),
        (post("content-length: 4\r\ncontent-length: 5\r\n", smuggled), 400),
        (post("x: y\r\n folded\r\ncontent-length: 0\r\n", ""), 400),
        (sized(&deep), 400),
        (sized(&wide), 400),
        (sized(r#"{"id":"1","id":"1","event":"x","customer":"c"}"#), 400),
        (sized(r#"{"id":"\ud800","event":"x","customer":"c"}"#), 400),
        (sized(r#"{"id":"1","event":"x","customer":"c","properties":{"n":1e999999}}"#), 400),
        (sized(&purchase("1", "-1")), 400),
        (sized(&purchase("1", "1e308")), 400),
        (sized(&purchase("1", "NaN")), 400),
    ];
    cases.extend(
        [r#""9999-01-01T00:00:00Z""#, "-1", r#""2027-02-30T00:00:00Z""#, r#""2027-01-01T24:00:60Z""#].map(|time| (at(time), 400)),
    );
    let long = format!("/{}", "x".repeat(8 * 1024));
    for (path, status) in [("/hooks/..%2fadmin", 404), ("//v1/events", 404), ("/hooks/%00", 400), (long.as_str(), 404)] {
        cases.push((server.head("POST", path, "content-length: 0\r\n"), status));
    }
    for (request, wanted) in cases {
        let got = server.raw(request.as_bytes()).await;
        let shown: String = request.chars().skip(120).take(160).collect();
        assert_eq!(got.status, wanted, "{shown} → {}", got.text);
        assert_eq!(got.text.matches("HTTP/1.1").count(), 1, "one answer: {shown}");
    }
    assert_eq!(server.store.counts().await.unwrap().inbox, 0);
    assert_eq!(server.get("/readyz").await.status, 200);
}

/// A turn's outcome, as a worker would commit it.
fn turned() -> Commit {
    let mut ada = Customer::new("c1", NOW);
    ada.profile.insert("name".to_owned(), Value::from("Ada <Lovelace>"));
    let run = RunRef {
        funnel: "welcome".to_owned(),
        version: "v1".to_owned(),
        run: 1,
        step: "email_1".to_owned(),
        variant: "email".to_owned(),
        origin: None,
    };
    let fact = |what, about: &str, why: &str| Fact {
        at: NOW,
        what,
        about: about.to_owned(),
        run: Some(run.clone()),
        why: why.to_owned(),
        seen: vec![("local_hour".to_owned(), Value::Int(22))],
        amount: None,
    };
    Commit {
        customer: "c1".to_owned(),
        document: codec::encode(&ada),
        facts: vec![fact(What::Entered, "purchase", ""), fact(What::Held, "hello", "quiet hours 21:00–08:00")],
        runs: vec![RunRow {
            customer: "c1".to_owned(),
            run: 1,
            funnel: "welcome".to_owned(),
            version: "v1".to_owned(),
            state: "held".to_owned(),
            step: "email_1".to_owned(),
            entered: NOW,
            until: Some(NOW),
        }],
        index: CustomerRow {
            id: "c1".to_owned(),
            name: "Ada <Lovelace>".to_owned(),
            segments: vec!["vip".to_owned()],
            ..CustomerRow::default()
        },
        ..Commit::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_turn_has_committed_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("af.db")).await;
    assert_eq!(server.send("POST", "/v1/events", &purchase("e1", "1")).await.status, 202);
    let claim = server.store.claim(1).await.unwrap().remove(0);
    let consumed = claim.inputs.iter().map(|queued| queued.seq).collect();
    server.store.commit(vec![Commit { base: claim.record.version, consumed, ..turned() }]).await.unwrap();
    let message = KeptMessage {
        id: "c1/1/email_1/1".to_owned(),
        customer: "c1".to_owned(),
        channel: "email".to_owned(),
        to: "ada@example.com".to_owned(),
        funnel: "welcome".to_owned(),
        template: "hello".to_owned(),
        subject: "Hello".to_owned(),
        text: "Hello Ada".to_owned(),
        html: "<p>Hello Ada</p>".to_owned(),
        at: NOW,
    };
    server.store.keep_message(message).await.unwrap();

    let timeline = server.get("/v1/customers/c1/timeline").await.json();
    assert_eq!(timeline["facts"][0]["sentence"], "Held “hello”: quiet hours 21:00–08:00");
    assert_eq!(timeline["facts"].as_array().unwrap().len(), 2);
    assert_eq!(server.get("/v1/customers?query=Ada").await.json()["customers"][0]["id"], "c1");
    assert_eq!(server.get("/v1/customers/c1").await.json()["profile"]["name"], "Ada <Lovelace>");
    assert_eq!(server.get("/v1/runs?funnel=welcome").await.json()["runs"][0]["state"], "held");
    assert_eq!(server.get("/v1/messages?customer=c1").await.json()["messages"][0]["subject"], "Hello");
    assert_eq!(server.get("/v1/funnels").await.json()["funnels"][0]["figures"]["entered"], 1);
    assert_eq!(server.get("/v1/funnels").await.json()["funnels"][0]["waiting"], 1);
    for (path, wanted) in [
        ("/", "Welcome"),
        ("/", "vip"),
        ("/funnels/welcome", "Say hello"),
        ("/customers?q=Ada", "Ada &lt;Lovelace&gt;"),
        // Berlin is an hour ahead of UTC in winter.
        ("/customers/c1", "Mon 1 Mar 2027, 10:00"),
        ("/customers/c1", "quiet hours 21:00–08:00"),
        ("/inbox", "Hello"),
        ("/inbox/c1%2F1%2Femail_1%2F1/preview", "<p>Hello Ada</p>"),
    ] {
        let got = server.get(path).await;
        assert!(got.status == 200 && got.text.contains(wanted), "{path}: {wanted} in {}", got.text);
    }
    assert_eq!(server.send("DELETE", "/v1/customers/c1", "").await.status, 202);
}
