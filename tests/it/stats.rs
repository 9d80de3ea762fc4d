//! Statistics are exact: whatever is delivered again, whoever dies in the middle and whichever store tells it, the sums are
//! those of a plain recount of all facts; and people get them by the command and by the API.

use crate::migrate::engine::{call, command, engine_with, get};
use crate::redis::{Disk, Server};
use autofunnel::app::engine::Running;
use autofunnel::app::store::{Place as StorePlace, Remote};
use autofunnel::app::workspace;
use autofunnel::fact::count::Terms;
use autofunnel::fact::{Fact, Origin, RunRef, What};
use autofunnel::funnel::Files;
use autofunnel::lang::time::Time;
use autofunnel::stats::{Asked, Counted};
use autofunnel::store::read::ReadSide;
use autofunnel::store::sqlite::{Mirror, Options, SqliteStore};
use autofunnel::store::told::{Place, Told};
use autofunnel::store::{Commit, Committed, CustomerRow, RunRow, Store};
use autofunnel::wire::Method;
use proptest::prelude::*;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// 2027-03-01T09:00:00Z.
const START: i64 = 1_803_891_600_000;
/// Nothing that is waited for takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
const PEOPLE: [&str; 4] = ["anna", "bert", "carl", "dora"];
const SEGMENTS: [&str; 3] = ["new", "vip", "dormant"];

/// What a recount finds: a line for each sum, with its count and amount.
type Sums = BTreeMap<String, (i64, i64)>;

fn add(sums: &mut Sums, line: String, amount: i64) {
    let sum = sums.entry(line).or_default();
    *sum = (sum.0 + 1, sum.1 + amount);
}

/// Counts facts one by one, in the plainest way.
fn recount<'f>(facts: impl IntoIterator<Item = &'f Fact>, zone: &str) -> Sums {
    let zone: chrono_tz::Tz = zone.parse().unwrap();
    let day = |at: Time| at.date(zone).to_string();
    let mut sums = Sums::new();
    for fact in facts {
        let (what, amount) = (fact.what.name(), fact.amount.unwrap_or(0));
        let reason = match fact.what {
            What::Event if fact.about == "x" => "",
            What::Event | What::SegmentEntered | What::Offered | What::OfferUsed | What::Exited | What::Stopped => &fact.about,
            What::Branched | What::SegmentLeft | What::OfferExpired | What::TierChanged | What::MembershipExpired => &fact.about,
            What::NotEntered | What::Held | What::Skipped => fact.why.split(':').next().unwrap(),
            _ => "",
        };
        let bare = RunRef {
            funnel: String::new(),
            version: String::new(),
            run: 0,
            step: String::new(),
            variant: String::new(),
            origin: None,
        };
        let run = fact.run.as_ref().unwrap_or(&bare);
        add(&mut sums, format!("day {} {} {} {} {what} {reason}", day(fact.at), run.funnel, run.step, run.variant), amount);
        let held = run.variant == "holdout";
        let entry = matches!(fact.what, What::Entered | What::HeldOut);
        if run.funnel.is_empty() || (run.origin.is_none() && !entry) {
            continue;
        }
        let none = Origin { since: fact.at, ..Origin::default() };
        let origin = run.origin.as_deref().unwrap_or(&none);
        let since = origin.since.date(zone);
        let what = match fact.what {
            What::Entered | What::HeldOut | What::Variant => "entered".to_owned(),
            What::Goal if origin.again => "again 0".to_owned(),
            What::Goal => "converted 0".to_owned(),
            What::Event if fact.about == "x" => "event".to_owned(),
            What::Event => fact.about.clone(),
            other => other.name().to_owned(),
        };
        let what = what.replace(" 0", &format!(" {}", (fact.at.date(zone) - since).num_days()));
        let mut of = |whom: &str| add(&mut sums, format!("entry {since} {} {whom} {held} {what}", run.funnel), amount);
        if fact.what == What::Variant {
            if !origin.again {
                of(&format!("arm {} {}", run.step, run.variant));
            }
            continue;
        }
        if entry || fact.what == What::Goal {
            of("all  ");
        }
        origin.arms.iter().for_each(|(step, variant)| of(&format!("arm {step} {variant}")));
        origin.segments.iter().for_each(|segment| of(&format!("segment  {segment}")));
    }
    sums
}

/// What the read side has counted, in the same words.
fn sums(counted: &Counted) -> Sums {
    let mut sums = Sums::new();
    for row in &counted.figures {
        let line = format!("day {} {} {} {} {} {}", row.day, row.funnel, row.step, row.variant, row.what, row.reason);
        assert_eq!(sums.insert(line, (row.count, row.amount)), None);
    }
    for row in &counted.cohorts {
        let conversion = row.what == "converted" || row.what == "again";
        let age = if conversion { format!(" {}", row.age) } else { String::new() };
        let whom = format!("{} {} {}", row.group.name(), row.step, row.name);
        let line = format!("entry {} {} {whom} {} {}{age}", row.day, row.funnel, row.held, row.what);
        assert_eq!(sums.insert(line, (row.count, row.amount)), None);
    }
    sums
}

async fn counted(side: &(impl ReadSide + ?Sized)) -> Counted {
    let asked =
        Asked { funnel: String::new(), from: "2000-01-01".to_owned(), to: "2100-01-01".to_owned(), by_day: true, live: true };
    side.stats(asked).await.unwrap()
}

/// What happens to a customer in one turn of a story.
#[derive(Clone, Debug)]
struct Scene {
    who: usize,
    /// Kind of fact, hours after the start, amount, variant of the split, segments.
    facts: Vec<(usize, i64, i64, usize, u8)>,
    segments: u8,
    /// What was told so far is delivered, with so many entries of before.
    deliver: Option<usize>,
    /// The one who follows ends without a close.
    kill: bool,
}

fn scene() -> impl Strategy<Value = Scene> {
    let facts = prop::collection::vec((0..12usize, 0..300i64, 0..50i64, 0..3usize, 0..8u8), 0..5);
    (0..PEOPLE.len(), facts, 0..8u8, prop::option::of(0..9usize), prop::bool::weighted(0.1))
        .prop_map(|(who, facts, segments, deliver, kill)| Scene { who, facts, segments, deliver, kill })
}

fn names(bits: u8) -> Vec<String> {
    SEGMENTS.iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0).map(|(_, name)| (*name).to_owned()).collect()
}

fn fact((kind, hours, amount, arm, segments): (usize, i64, i64, usize, u8)) -> Fact {
    const KINDS: [(What, &str, &str); 12] = [
        (What::Entered, "", ""),
        (What::HeldOut, "", ""),
        (What::NotEntered, "", "re_entry: never again"),
        (What::Variant, "", ""),
        (What::Sent, "mail", ""),
        (What::Event, "message_clicked", ""),
        (What::Event, "x", ""),
        (What::Granted, "", ""),
        (What::Goal, "purchase", ""),
        (What::Goal, "purchase", "again"),
        (What::Exited, "purchase", "exit_on"),
        (What::SegmentEntered, "vip", ""),
    ];
    let (what, about, why) = KINDS[kind];
    let at = Time(START + hours * 3_600_000);
    let arms = if arm == 0 { vec![] } else { vec![("test".to_owned(), ["", "a", "b"][arm].to_owned())] };
    let origin = Origin { since: Time(START), arms, segments: names(segments), again: why == "again" };
    let (step, variant) = match what {
        What::Variant => ("test", ["a", "a", "b"][arm]),
        What::HeldOut => ("", "holdout"),
        What::Sent => ("mail", "email"),
        What::Goal if arm == 0 => ("", "holdout"),
        _ => ("", ""),
    };
    let origin = match what {
        What::Entered | What::HeldOut => {
            Some(Origin { since: at, arms: vec![], ..origin }).filter(|origin| !origin.segments.is_empty())
        }
        What::NotEntered | What::Exited => None,
        _ => Some(origin),
    };
    let [funnel, version, step, variant] = ["f", "v", step, variant].map(str::to_owned);
    let run = RunRef { funnel, version, run: 1, step, variant, origin: origin.map(Box::new) };
    let run = (what != What::SegmentEntered).then_some(run);
    Fact { at, what, about: about.to_owned(), run, why: why.to_owned(), seen: vec![], amount: (amount > 0).then_some(amount) }
}

/// The same story in an embedded store and in a read side that follows.
struct Stage {
    folder: tempfile::TempDir,
    store: Arc<SqliteStore>,
    mirror: Option<Arc<Mirror>>,
    terms: Terms,
    facts: Vec<Fact>,
    entries: Vec<(u16, Place, Vec<Vec<u8>>)>,
    delivered: usize,
}

fn options() -> Options {
    Options::new(Arc::new(|| Time(START)))
}

impl Stage {
    fn new(zone: &str) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("engine.db"), options()).unwrap();
        let mirror = Some(Mirror::open(&folder.path().join("report.db"), options()).unwrap());
        let terms = format!("{zone} EUR 0.01").parse().unwrap();
        Stage { folder, store, mirror, terms, facts: vec![], entries: vec![], delivered: 0 }
    }

    async fn play(&mut self, scene: Scene) {
        let customer = PEOPLE[scene.who].to_owned();
        let claim = self.store.take(customer.clone()).await.unwrap().expect("nobody else uses her");
        let facts: Vec<Fact> = scene.facts.into_iter().map(fact).collect();
        let index = CustomerRow { id: customer.clone(), segments: names(scene.segments), ..CustomerRow::default() };
        let (base, terms) = (claim.record.version, self.terms);
        let commit =
            Commit { customer, base, document: vec![1], facts: facts.clone(), index: index.clone(), terms, ..Commit::default() };
        let told = Told {
            customer: commit.customer.clone(),
            at: Time(START),
            facts: facts.clone(),
            terms,
            index: Some(index),
            ..Told::default()
        };
        let number = self.entries.len() as u64 + 1;
        self.entries.push((scene.who as u16 % 2, Place { ms: number, seq: 0 }, vec![told.encode()]));
        self.facts.extend(facts);
        assert_eq!(self.store.commit(vec![commit]).await.unwrap(), [Committed::Done]);
        if let Some(again) = scene.deliver {
            self.deliver(again).await;
        }
        if scene.kill {
            self.kill();
        }
    }

    async fn deliver(&mut self, again: usize) {
        let from = self.delivered.saturating_sub(again);
        self.mirror.as_ref().unwrap().apply("store-1".to_owned(), self.entries[from..].to_vec()).await.unwrap();
        self.delivered = self.entries.len();
    }

    /// Ends the one who follows without a close; another takes its place.
    fn kill(&mut self) {
        self.mirror = None;
        self.mirror = Some(Mirror::open(&self.folder.path().join("report.db"), options()).unwrap());
    }

    async fn both(&self) -> [Counted; 2] {
        [counted(&*self.store).await, counted(&**self.mirror.as_ref().unwrap()).await]
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_story_is_counted_as_a_recount_counts_it(scenes in prop::collection::vec(scene(), 1..40), zone in 0..3usize) {
        let zone = ["UTC", "Pacific/Auckland", "America/Los_Angeles"][zone];
        runtime().block_on(async {
            let mut stage = Stage::new(zone);
            for scene in scenes {
                stage.play(scene).await;
            }
            stage.deliver(5).await;
            let wanted = recount(&stage.facts, zone);
            let [embedded, followed] = stage.both().await;
            prop_assert_eq!(&sums(&embedded), &wanted);
            prop_assert_eq!(&sums(&followed), &wanted);
            prop_assert_eq!((&embedded.sizes, &embedded.growth), (&followed.sizes, &followed.growth));
            // What segments grew by since ever is what they are.
            for (segment, size) in &embedded.sizes {
                let grown: i64 = embedded.growth.iter().filter(|(_, of, _)| of == segment).map(|(.., change)| change).sum();
                prop_assert_eq!(grown, *size as i64);
            }
            stage.kill();
            prop_assert_eq!(&sums(&stage.both().await[1]), &wanted);
            Ok(())
        })?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_that_is_counted_twice_is_found() {
    let mut stage = Stage::new("UTC");
    for who in 0..3 {
        let facts = vec![(0, who, 0, 0, 3), (8, 30, 20, 1, 1)];
        stage.play(Scene { who: who as usize, facts, segments: 1, deliver: Some(0), kill: false }).await;
    }
    let wanted = recount(&stage.facts, "UTC");
    assert_eq!(stage.both().await.map(|counted| sums(&counted)), [wanted.clone(), wanted.clone()]);
    // A reader that loses its place: the same entry comes to it as if it were a new one.
    let (shard, _, body) = stage.entries[1].clone();
    stage.entries.push((shard, Place { ms: 1_000, seq: 0 }, body));
    stage.deliver(0).await;
    let found = sums(&stage.both().await[1]);
    assert_ne!(found, wanted);
    let doubled: Vec<&String> = found.iter().filter(|(line, sum)| wanted[*line] != **sum).map(|(line, _)| line).collect();
    assert!(doubled.iter().any(|line| line.contains("converted")), "{doubled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reported_of_a_run_that_is_over_counts_for_its_funnel() {
    let mut stage = Stage::new("UTC");
    let claim = stage.store.take("anna".to_owned()).await.unwrap().unwrap();
    let clicked = |number: u64| {
        let [funnel, version, step, variant] = ["", "", "mail", "email"].map(str::to_owned);
        let run = RunRef { funnel, version, run: number, step, variant, origin: None };
        Fact { run: Some(run), ..fact((5, 0, 0, 0, 0)) }
    };
    let row = RunRow {
        customer: "anna".to_owned(),
        run: 7,
        funnel: "f".to_owned(),
        version: "0123456789abcdef".to_owned(),
        state: "finished".to_owned(),
        step: String::new(),
        entered: Time(START),
        until: None,
    };
    let first = Commit {
        customer: "anna".to_owned(),
        base: claim.record.version,
        document: vec![1],
        runs: vec![row.clone()],
        ..Commit::default()
    };
    assert_eq!(stage.store.commit(vec![first]).await.unwrap(), [Committed::Done]);
    let told = Told { customer: "anna".to_owned(), at: Time(START), runs: vec![row], ..Told::default() };
    stage.entries.push((0, Place { ms: 1, seq: 0 }, vec![told.encode()]));
    let claim = stage.store.take("anna".to_owned()).await.unwrap().unwrap();
    let facts = vec![clicked(7), clicked(7), clicked(9)];
    let second = Commit {
        customer: "anna".to_owned(),
        base: claim.record.version,
        document: vec![1],
        facts: facts.clone(),
        ..Commit::default()
    };
    assert_eq!(stage.store.commit(vec![second]).await.unwrap(), [Committed::Done]);
    let told = Told { customer: "anna".to_owned(), at: Time(START), facts, ..Told::default() };
    stage.entries.push((0, Place { ms: 2, seq: 0 }, vec![told.encode()]));
    stage.deliver(2).await;
    stage.deliver(2).await;
    for counted in stage.both().await {
        let told: Vec<_> = counted
            .figures
            .iter()
            .map(|row| (row.funnel.as_str(), row.version.as_str(), row.variant.as_str(), row.count))
            .collect();
        assert_eq!(told, [("", "", "email", 1), ("f", "01234567", "email", 2)]);
    }
}

/// A workspace with a split, a goal, a holdout, an offer and a segment.
fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("autofunnel.yaml", "workspace: Counted\nzone: Europe/Berlin\ncurrency: EUR\nunknown: create\npoint_value: 0.01\n");
    write("segments.yaml", "buyers:\n  title: Buyers\n  when: { purchases: { last: 90 days, at_least: 1 } }\n");
    write(
        "welcome.yaml",
        "funnel: Welcome\ntrigger: signed_up\nholdout: 30%\ngoal: { event: purchase, within: 30 days, value: event.amount }\nsteps:\n  \
         - split:\n      letter: { weight: 50, steps: [ { email: { subject: Hello, text: Hello }, id: mail } ] }\n      \
         points: { weight: 50, steps: [ { grant: 10 points, reason: welcome, id: gift } ] }\n    id: test\n  - wait: 9 days\n    id: pause\n",
    );
    workspace::read(folder.path()).unwrap()
}

/// Everybody signs up with consent, and every other one buys.
async fn live(running: &Running, people: std::ops::Range<usize>) {
    for n in people {
        let put = r#"{"profile":{"email":"a@example.com"},"consent":{"email":true}}"#;
        assert_eq!(call(running, Method::Put, &format!("/v1/customers/c{n}"), put).await, 202);
        let event = |id: &str, rest: &str| format!(r#"{{"id":"{id}-{n}","customer":"c{n}",{rest}}}"#);
        assert_eq!(call(running, Method::Post, "/v1/events", &event("s", r#""event":"signed_up""#)).await, 202);
        if n % 2 == 0 {
            let bought = event("p", r#""event":"purchase","properties":{"order_id":"o","amount":12.5}"#);
            assert_eq!(call(running, Method::Post, "/v1/events", &bought).await, 202);
        }
    }
}

/// All facts of a store, once its people have gone through everything.
async fn facts(running: &Running, people: usize) -> Vec<Fact> {
    let started = Instant::now();
    loop {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = running.store.facts_after(after, 500).await.unwrap();
            let Some((_, last)) = page.last() else { break };
            after = last.seq;
            all.extend(page.into_iter().map(|(_, row)| row.fact));
        }
        let number = |what: What| all.iter().filter(|fact| fact.what == what).count();
        let treated = number(What::Entered);
        let at_rest = number(What::Sent) + number(What::Granted) == treated && number(What::Waiting) == treated;
        if treated + number(What::HeldOut) == people
            && number(What::Goal) == people / 2
            && number(What::Variant) == treated
            && at_rest
        {
            return all;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain: {all:#?}");
        tokio::task::yield_now().await;
    }
}

fn table(report: &Json, name: &str) -> Json {
    let tables = report["tables"].as_array().unwrap();
    tables.iter().find(|table| table["name"] == name).unwrap_or_else(|| panic!("no table {name}: {report:#}"))["rows"].clone()
}

fn stats(folder: &Path, arguments: &[&str]) -> Json {
    let done = command(folder, &[&["stats", "--format", "json"], arguments].concat());
    assert!(done.status.success(), "{done:?}");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Lives two lives of an engine on a store, counting by every road.
async fn lives(place: StorePlace, folder: &Path, store: &[&str]) {
    let running = engine_with(&files(), place.clone()).await;
    live(&running, 0..20).await;
    facts(&running, 20).await;
    running.stop().await;
    let running = engine_with(&files(), place).await;
    live(&running, 20..40).await;
    let all = facts(&running, 40).await;
    let wanted = recount(&all, "Europe/Berlin");
    assert_eq!(sums(&counted(&*running.store).await), wanted);

    // The command on the file of the engine that runs, the API, and the command on the file of the one that has ended.
    let beside = stats(folder, &[&["welcome"], store].concat());
    let (status, api) = get(&running, "/v1/stats/report?funnel=welcome").await;
    assert_eq!(status, 200, "{api}");
    let api: Json = serde_json::from_str(&api).unwrap();
    let row = &table(&api, "funnel")[0];
    let held = all.iter().filter(|fact| fact.what == What::HeldOut).count();
    assert_eq!((row["entered"].as_u64(), row["held_out"].as_u64()), (Some(40 - held as u64), Some(held as u64)), "{row}");
    let of_held =
        all.iter().filter(|fact| fact.what == What::Goal && fact.run.as_ref().is_some_and(|run| run.variant == "holdout"));
    let converted = 20 - of_held.count();
    assert_eq!((row["converted"].as_u64(), row["waiting"].as_u64()), (Some(converted as u64), Some(40 - held as u64)));
    assert_eq!(row["revenue"], format!("{:.2}", converted as f64 * 12.5), "{row}");
    assert_eq!(beside["tables"].as_array().map(Vec::len), api["tables"].as_array().map(Vec::len));
    assert_eq!(table(&beside, "funnel"), table(&api, "funnel"));
    assert_eq!(table(&beside, "lift"), table(&api, "lift"));
    let variants = table(&api, "variants");
    let drawn: u64 = variants.as_array().unwrap().iter().map(|row| row["drawn"].as_u64().unwrap()).sum();
    assert_eq!(drawn as usize, 40 - held);
    assert_eq!(get(&running, "/v1/stats/report?funnel=welcom").await.0, 404);
    assert_eq!(get(&running, "/v1/stats/report?by=week").await.0, 400);
    let url = format!("http://{}", running.address.unwrap());
    let remote = stats(folder, &["welcome", "--url", &url, "--token", crate::migrate::engine::TOKEN]);
    assert_eq!(table(&remote, "steps"), table(&api, "steps"));
    running.stop().await;
    let after = stats(folder, &[&["welcome"], store].concat());
    assert_eq!(after, beside);
    let shop = stats(folder, store);
    assert_eq!(table(&shop, "purchases")[0]["turnover"], "250.00");
    assert_eq!(table(&shop, "segments")[0]["size"], 20);
    let growth = table(&stats(folder, &[&["--by", "segment"], store].concat()), "growth");
    assert_eq!(growth.as_array().unwrap().last().unwrap()["size"], 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_on_a_file_counts_exactly_and_everybody_can_ask() {
    let folder = tempfile::tempdir().unwrap();
    lives(StorePlace::File(folder.path().join("autofunnel.db")), folder.path(), &[]).await;
    let wrong = command(folder.path(), &["stats", "welcom"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("did you mean `welcome`?"), "{said}");
    let empty = command(folder.path(), &["stats", "welcome", "--from", "2020-01-01", "--to", "2020-01-31", "--by", "channel"]);
    assert!(String::from_utf8_lossy(&empty.stdout).contains("nothing was counted from 2020-01-01 to 2020-01-31"), "{empty:?}");
    let csv = command(folder.path(), &["stats", "welcome", "--by", "variant", "--format", "csv"]);
    let csv = String::from_utf8_lossy(&csv.stdout).into_owned();
    assert!(csv.starts_with("split,variant,drawn,converted,rate,") && csv.contains("\r\ntest,letter,"), "{csv}");
    let two = command(folder.path(), &["stats", "--store", "autofunnel.db", "--url", "http://127.0.0.1:1"]);
    assert!(String::from_utf8_lossy(&two.stderr).contains("choose one"), "{two:?}");
    let missing = command(folder.path(), &["stats", "--store", "nowhere.db"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there is no store at nowhere.db"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_on_redis_counts_exactly_and_a_rebuild_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Disk::Always);
    let (address, report, state) = (server.address(), folder.path().join("autofunnel-report.db"), folder.path().join("state"));
    let place = Remote { address: address.clone(), report: report.clone(), state, accept_loss: false, wait_replicas: 0 };
    lives(StorePlace::Redis(place), folder.path(), &["--store", &address]).await;
    let before = counted(&*Mirror::read_only(&report).unwrap()).await;
    let done = command(folder.path(), &["report", "rebuild", "--store", &address]);
    assert!(done.status.success(), "{done:?}");
    let after = counted(&*Mirror::read_only(&report).unwrap()).await;
    assert_eq!((sums(&after), after.live, after.sizes), (sums(&before), before.live, before.sizes));
    assert_eq!(before.terms.to_string(), "Europe/Berlin EUR 0.01");
}
