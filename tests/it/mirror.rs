//! The read side as a file of its own: what commits tell gives the answers that the embedded store gives,
//! each entry counts once whatever is delivered again and whoever dies, and no file is taken for another.

use autofunnel::fact::{Fact, RunRef, What};
use autofunnel::lang::time::{DAY_MS, Time};
use autofunnel::store::read::{Counts, Figure, KeptMessage, ReadSide, Reads, RunFilter};
use autofunnel::store::sqlite::{Mirror, Options, SqliteStore};
use autofunnel::store::told::{Place, Told};
use autofunnel::store::{Commit, Committed, CustomerRow, RunRow, Store, StoreError, StoreResult};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The first instant: 2027-03-01T09:00:00Z.
const START: i64 = 1_803_891_600_000;
/// Shards of the store that is followed here.
const SHARDS: u16 = 3;
/// The store that is followed.
const STORE: &str = "store-1";
/// Everybody.
const PEOPLE: [&str; 5] = ["anna", "annabel", "bert", "carl", "dora"];

/// A folder with the files of a test, and its clock.
struct Desk(tempfile::TempDir, Arc<AtomicI64>);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().unwrap(), Arc::new(AtomicI64::new(START)))
    }

    fn options(&self) -> Options {
        let clock = self.1.clone();
        Options::new(Arc::new(move || Time(clock.load(Ordering::SeqCst))))
    }

    fn now(&self) -> Time {
        Time(self.1.load(Ordering::SeqCst))
    }

    fn pass(&self, ms: i64) {
        self.1.fetch_add(ms, Ordering::SeqCst);
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("report/read.db")
    }

    fn mirror(&self) -> Arc<Mirror> {
        Mirror::open(&self.file(), self.options()).unwrap()
    }

    fn store(&self) -> Arc<SqliteStore> {
        SqliteStore::open(&self.0.path().join("engine.db"), self.options()).unwrap()
    }
}

/// The streams of a store's shards, as far as they were written.
#[derive(Default)]
struct Streams {
    written: u64,
    lines: BTreeMap<String, CustomerRow>,
}

type Entries = Vec<(u16, Place, Vec<u8>)>;

impl Streams {
    fn entry(&mut self, told: &Told) -> (u16, Place, Vec<u8>) {
        self.written += 1;
        let shard = told.customer.bytes().map(u16::from).sum::<u16>() % SHARDS;
        // Some share a millisecond.
        (shard, Place { ms: 1_000 + self.written / 3, seq: self.written }, told.encode())
    }

    /// What a commit tells: her line only when it is another one.
    fn of(&mut self, commit: &Commit, at: Time) -> (u16, Place, Vec<u8>) {
        let (customer, index) = (commit.customer.clone(), commit.index.clone());
        let changed = match commit.erase {
            true => {
                self.lines.remove(&customer);
                false
            }
            false => self.lines.insert(customer.clone(), index.clone()) != Some(index.clone()),
        };
        let (facts, runs) = (commit.facts.clone(), commit.runs.clone());
        self.entry(&Told {
            customer,
            at,
            facts,
            runs,
            index: changed.then_some(index),
            erased: commit.erase,
            terms: commit.terms,
            message: None,
        })
    }
}

fn place(ms: u64, seq: u64) -> Place {
    Place { ms, seq }
}

fn fact(what: What, at: i64, step: &str, amount: Option<i64>) -> Fact {
    let run = RunRef {
        funnel: "welcome".to_owned(),
        version: "v1".to_owned(),
        run: 1,
        step: step.to_owned(),
        variant: String::new(),
        origin: None,
    };
    Fact { at: Time(at), what, about: "x".to_owned(), run: Some(run), why: "because".to_owned(), seen: vec![], amount }
}

fn run_row(customer: &str, run: u64, state: &str, entered: i64) -> RunRow {
    RunRow {
        customer: customer.to_owned(),
        run,
        funnel: if run.is_multiple_of(2) { "renewal".to_owned() } else { "welcome".to_owned() },
        version: "v1".to_owned(),
        state: state.to_owned(),
        step: "gift".to_owned(),
        entered: Time(entered),
        until: None,
    }
}

fn line(id: &str, name: &str, segments: &[&str]) -> CustomerRow {
    CustomerRow {
        id: id.to_owned(),
        name: name.to_owned(),
        email: if name.is_empty() { String::new() } else { format!("{name}@x.org") },
        phone: String::new(),
        segments: segments.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn message(id: &str, customer: &str, at: i64) -> KeptMessage {
    KeptMessage {
        id: id.to_owned(),
        customer: customer.to_owned(),
        channel: "email".to_owned(),
        to: "a@x.org".to_owned(),
        funnel: "f".to_owned(),
        template: "t".to_owned(),
        subject: "Hello".to_owned(),
        text: "text".to_owned(),
        html: String::new(),
        at: Time(at),
    }
}

/// An entry with one fact and one run of a customer.
fn told(customer: &str, at: i64, state: &str) -> Told {
    Told {
        customer: customer.to_owned(),
        at: Time(at),
        facts: vec![fact(What::Granted, at, "gift", Some(1))],
        runs: vec![run_row(customer, 1, state, START)],
        index: Some(line(customer, "Name", &["s"])),
        ..Told::default()
    }
}

/// Everything that the read side can be asked, positions aside.
#[derive(PartialEq, Debug)]
struct Answers {
    timelines: Vec<Vec<(u32, Fact)>>,
    followed: BTreeMap<String, Vec<Fact>>,
    customers: Vec<Vec<CustomerRow>>,
    runs: Vec<Vec<RunRow>>,
    figures: Vec<Figure>,
    messages: Vec<Vec<KeptMessage>>,
    counts: Counts,
}

async fn answers(side: &impl ReadSide, counts: Counts) -> Answers {
    let (mut timelines, mut customers, mut runs, mut messages) = (vec![], vec![], vec![], vec![]);
    for who in PEOPLE {
        timelines.push(timeline(side, who, 3).await);
        messages.push(side.messages(who.to_owned(), None, 99).await.unwrap());
        let filter = RunFilter { customer: who.to_owned(), ..RunFilter::default() };
        runs.push(side.runs(filter, 99).await.unwrap());
    }
    for query in ["", "anna", "b", "zoe", "ZOE@", "c"] {
        customers.push(side.customers(query.to_owned(), String::new(), 99).await.unwrap());
        customers.push(side.customers(query.to_owned(), "anna".to_owned(), 2).await.unwrap());
    }
    for (funnel, state) in [("", ""), ("welcome", ""), ("", "waiting"), ("renewal", "finished")] {
        let filter = RunFilter { customer: String::new(), funnel: funnel.to_owned(), state: state.to_owned() };
        runs.push(side.runs(filter.clone(), 99).await.unwrap());
        runs.push(side.runs(filter, 2).await.unwrap());
    }
    messages.push(side.messages(String::new(), None, 3).await.unwrap());
    messages.push(side.messages(String::new(), Some(Time(START + 20)), 99).await.unwrap());
    messages.push(side.message("anna/1".to_owned()).await.unwrap().into_iter().collect());
    let mut followed: BTreeMap<String, Vec<Fact>> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = side.facts_after(after, 7).await.unwrap();
        let Some((_, last)) = page.last() else { break };
        after = last.seq;
        page.into_iter().for_each(|(customer, row)| followed.entry(customer).or_default().push(row.fact));
    }
    let figures = side.figures("2027-01-01".to_owned(), "2027-12-31".to_owned()).await.unwrap();
    let counts = Counts { inbox: 0, outbox: 0, quarantined: 0, ..counts };
    Answers { timelines, followed, customers, runs, figures, messages, counts }
}

/// A timeline, page by page.
async fn timeline(side: &impl ReadSide, customer: &str, rows: usize) -> Vec<(u32, Fact)> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = side.timeline(customer.to_owned(), before, rows).await.unwrap();
        let Some(last) = page.last() else { return all };
        before = Some(last.seq);
        all.extend(page.into_iter().map(|row| (row.index, row.fact)));
    }
}

async fn of_mirror(mirror: &Mirror) -> Answers {
    answers(mirror, mirror.counts().await.unwrap()).await
}

async fn apply(mirror: &Mirror, entries: &Entries) {
    mirror.apply(STORE.to_owned(), alone(entries)).await.unwrap();
}

/// Entries of one commit each.
fn alone(entries: &Entries) -> Vec<(u16, Place, Vec<Vec<u8>>)> {
    entries.iter().cloned().map(|(shard, place, told)| (shard, place, vec![told])).collect()
}

fn fatal<T>(result: StoreResult<T>) -> String {
    match result {
        Err(StoreError::Fatal(said)) => said,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

/// One thing that happens in a story.
#[derive(Clone, Debug)]
enum Scene {
    /// A commit: whose, its facts (kind, step, amount), its runs (number, state), her name and segments.
    Commit(usize, Vec<(usize, usize, i64)>, Vec<(u64, usize)>, usize, u8),
    /// A customer is erased.
    Erase(usize),
    /// A message is kept; the number makes its id.
    Message(usize, u8),
    /// What was told so far is delivered; so many of the entries before come with it once more.
    Deliver(usize),
    /// The one who follows ends without a close, and comes back.
    Kill,
}

fn scene() -> impl Strategy<Value = Scene> {
    let facts = prop::collection::vec((0..4usize, 0..3usize, -5..50i64), 0..4);
    let runs = prop::collection::vec((1..4u64, 0..6usize), 0..3);
    prop_oneof![
        12 => (0..PEOPLE.len(), facts, runs, 0..3usize, 0..8u8).prop_map(|(w, f, r, n, s)| Scene::Commit(w, f, r, n, s)),
        1 => (0..PEOPLE.len()).prop_map(Scene::Erase),
        2 => (0..PEOPLE.len(), 0..6u8).prop_map(|(who, id)| Scene::Message(who, id)),
        4 => (0..6usize).prop_map(Scene::Deliver),
        1 => Just(Scene::Kill),
    ]
}

/// The same story in both files.
struct Stage {
    place: Desk,
    store: Arc<SqliteStore>,
    mirror: Option<Arc<Mirror>>,
    streams: Streams,
    all: Entries,
    delivered: usize,
}

impl Stage {
    fn new() -> Stage {
        let place = Desk::new();
        let (store, mirror) = (place.store(), Some(place.mirror()));
        Stage { store, mirror, place, streams: Streams::default(), all: Vec::new(), delivered: 0 }
    }

    fn mirror(&self) -> &Mirror {
        self.mirror.as_ref().unwrap()
    }

    async fn commit(&mut self, customer: &str, with: impl FnOnce(&mut Commit)) {
        let claim = self.store.take(customer.to_owned()).await.unwrap().expect("nobody else uses her");
        let mut commit = Commit {
            customer: customer.to_owned(),
            base: claim.record.version,
            document: vec![1],
            index: self.streams.lines.get(customer).cloned().unwrap_or_else(|| line(customer, "", &[])),
            ..Commit::default()
        };
        with(&mut commit);
        let entry = self.streams.of(&commit, self.place.now());
        self.all.push(entry);
        assert_eq!(self.store.commit(vec![commit]).await.unwrap(), [Committed::Done]);
    }

    async fn deliver(&mut self, again: usize) {
        let from = self.delivered.saturating_sub(again);
        apply(self.mirror(), &self.all[from..].to_vec()).await;
        self.delivered = self.all.len();
    }

    async fn play(&mut self, scene: Scene) {
        self.place.pass(1);
        let now = self.place.now().0;
        match scene {
            Scene::Commit(who, facts, runs, name, segments) => {
                const WHATS: [What; 4] = [What::Granted, What::Sent, What::Entered, What::Event];
                const STATES: [&str; 6] = ["waiting", "held", "sending", "finished", "exited", "stopped"];
                let who = PEOPLE[who];
                let segments: Vec<&str> =
                    ["a", "b", "vip"].into_iter().enumerate().filter(|(i, _)| segments & (1 << i) != 0).map(|(_, s)| s).collect();
                self.commit(who, |commit| {
                    let facts = facts.into_iter();
                    commit.facts = facts
                        .map(|(w, step, n)| fact(WHATS[w], now + n * DAY_MS, ["", "gift", "mail"][step], (n > 0).then_some(n)))
                        .collect();
                    commit.runs =
                        runs.into_iter().map(|(run, state)| run_row(who, run, STATES[state], now * 10 + run as i64)).collect();
                    commit.index = line(who, ["", "Zoe", "Änne"][name], &segments);
                })
                .await;
            }
            Scene::Erase(who) => self.commit(PEOPLE[who], |commit| commit.erase = true).await,
            Scene::Message(who, id) => {
                let kept = message(&format!("{}/{id}", PEOPLE[who]), PEOPLE[who], now);
                let told =
                    Told { customer: kept.customer.clone(), at: Time(now), message: Some(kept.clone()), ..Told::default() };
                let entry = self.streams.entry(&told);
                self.all.push(entry);
                self.store.keep_message(kept).await.unwrap();
            }
            Scene::Deliver(again) => self.deliver(again).await,
            Scene::Kill => {
                self.mirror = None;
                self.mirror = Some(self.place.mirror());
            }
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_story_is_answered_as_by_the_embedded_store(scenes in prop::collection::vec(scene(), 1..50)) {
        runtime().block_on(async {
            let mut stage = Stage::new();
            for scene in scenes {
                stage.play(scene).await;
            }
            stage.deliver(4).await;
            let expected = answers(&*stage.store, stage.store.counts().await.unwrap()).await;
            let found = of_mirror(stage.mirror()).await;
            prop_assert_eq!(&found, &expected);
            // It is in the file, not in the process.
            stage.play(Scene::Kill).await;
            prop_assert_eq!(&of_mirror(stage.mirror()).await, &expected);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_batch_that_comes_again_or_late_counts_once() {
    let desk = Desk::new();
    let mirror = desk.mirror();
    assert_eq!((mirror.follows().await.unwrap(), mirror.places().await.unwrap().len()), (None, 0));
    let first: Entries = vec![
        (7, place(5, 0), told("anna", START, "waiting").encode()),
        (9, place(9, 1), told("bert", START, "held").encode()),
        (7, place(5, 1), told("anna", START, "held").encode()),
    ];
    let second: Entries = vec![(7, place(10, 0), told("anna", START, "finished").encode())];
    // Within a batch the order is that of the places.
    apply(&mirror, &first.iter().rev().cloned().collect()).await;
    let once = of_mirror(&mirror).await;
    assert_eq!(once.counts.live_runs, [("welcome".to_owned(), "held".to_owned(), 2)]);
    assert_eq!(once.figures[0].count, 3);
    apply(&mirror, &first).await;
    assert_eq!(of_mirror(&mirror).await, once);
    // A part that is known with a part that is not.
    let mixed = [first[2].clone(), second[0].clone()].to_vec();
    apply(&mirror, &mixed).await;
    let twice = of_mirror(&mirror).await;
    assert_eq!((twice.figures[0].count, twice.counts.live_runs[0].2), (4, 1));
    for late in [&first, &second, &mixed, &Vec::new()] {
        apply(&mirror, late).await;
        assert_eq!(of_mirror(&mirror).await, twice);
    }
    assert_eq!(mirror.follows().await.unwrap().as_deref(), Some(STORE));
    let places = mirror.places().await.unwrap();
    assert_eq!((places.len(), places[&7], places[&9]), (2, place(10, 0), place(9, 1)));
    // Positions are numbers: 9 is before 10, and the highest number has room.
    apply(&mirror, &vec![(7, place(9, 99), told("anna", START, "held").encode())]).await;
    assert_eq!(of_mirror(&mirror).await, twice);
    apply(&mirror, &vec![(7, place(10, u64::MAX), told("anna", START, "held").encode())]).await;
    apply(&mirror, &vec![(7, place(10, u64::MAX - 1), told("anna", START, "waiting").encode())]).await;
    assert_eq!(mirror.places().await.unwrap()[&7], place(10, u64::MAX));
    assert_eq!(of_mirror(&mirror).await.counts.live_runs, [("welcome".to_owned(), "held".to_owned(), 2)]);
}

#[tokio::test]
async fn an_entry_of_many_commits_counts_each_and_is_taken_once() {
    let desk = Desk::new();
    let mirror = desk.mirror();
    let batch = || [("anna", "waiting"), ("bert", "held"), ("anna", "held")].map(|(who, state)| told(who, START, state).encode());
    let entries = || vec![(256, place(5, 0), batch().to_vec())];
    mirror.apply(STORE.to_owned(), [entries(), entries()].concat()).await.unwrap();
    let once = of_mirror(&mirror).await;
    assert_eq!((once.figures[0].count, once.counts.live_runs.clone()), (3, vec![("welcome".to_owned(), "held".to_owned(), 2)]));
    mirror.apply(STORE.to_owned(), entries()).await.unwrap();
    assert_eq!(of_mirror(&mirror).await, once);
}

#[tokio::test]
async fn shards_may_come_in_any_order() {
    let batches: Vec<Entries> = (0..4u16)
        .map(|shard| {
            let who = PEOPLE[usize::from(shard)];
            (1..6).map(|n| (shard, place(n, 0), told(who, START + n as i64, "waiting").encode())).collect()
        })
        .collect();
    let mut found = Vec::new();
    for order in [[0, 1, 2, 3], [3, 1, 0, 2]] {
        let place = Desk::new();
        let mirror = place.mirror();
        for batch in order {
            apply(&mirror, &batches[batch]).await;
        }
        let mut answers = of_mirror(&mirror).await;
        // All began at one instant: such runs are listed in the order in which their customers became known.
        answers.runs.iter_mut().for_each(|list| list.sort_by(|a, b| a.customer.cmp(&b.customer)));
        answers.runs.retain(|list| list.len() != 2);
        found.push(answers);
    }
    assert_eq!(found[0], found[1]);
}

/// The files as a power cut at this moment would leave them.
fn copied(from: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["read.db", "read.db-wal"] {
        std::fs::copy(from.with_file_name(name), folder.path().join(name)).unwrap();
    }
    let file = folder.path().join("read.db");
    (folder, file)
}

#[tokio::test]
async fn rows_and_positions_outlive_the_process_together() {
    let desk = Desk::new();
    let mut mirror = desk.mirror();
    for round in 0..5u64 {
        let batch: Entries =
            (0..4).map(|n| (n, place(round + 1, 0), told(PEOPLE[usize::from(n)], START, "held").encode())).collect();
        apply(&mirror, &batch).await;
        let expected = of_mirror(&mirror).await;
        assert_eq!(expected.figures[0].count, 4 * (round as i64 + 1));
        let (_folder, file) = copied(&desk.file());
        let copy = Mirror::open(&file, desk.options()).unwrap();
        assert_eq!(copy.places().await.unwrap(), mirror.places().await.unwrap());
        assert_eq!(of_mirror(&copy).await, expected);
        // A process that comes back delivers from where it believes to be.
        apply(&copy, &batch).await;
        assert_eq!(of_mirror(&copy).await, expected);
        drop(mirror);
        mirror = desk.mirror();
        assert_eq!(of_mirror(&mirror).await, expected);
    }
    mirror.close().await;
    assert!(matches!(mirror.apply(STORE.to_owned(), vec![]).await, Err(StoreError::Closed)));
    let mirror = desk.mirror();
    assert_eq!(mirror.places().await.unwrap()[&3], place(5, 0));
}

#[tokio::test]
async fn a_reader_beside_the_writer_sees_what_is_committed() {
    let desk = Desk::new();
    let missing = Mirror::read_only(&desk.file());
    assert!(matches!(missing, Err(StoreError::Unavailable(said)) if said.contains("no read side")));
    let mirror = desk.mirror();
    let reader = Mirror::read_only(&desk.file()).unwrap();
    assert_eq!(reader.follows().await.unwrap(), None);
    for round in 1..4 {
        apply(&mirror, &vec![(1, place(round, 0), told("anna", START, "held").encode())]).await;
        assert_eq!(reader.places().await.unwrap()[&1], place(round, 0));
        assert_eq!(of_mirror(&reader).await, of_mirror(&mirror).await);
    }
    let said = fatal(reader.apply(STORE.to_owned(), vec![]).await);
    assert!(said.contains("reading only"), "{said}");
    assert!(fatal(reader.prune().await).contains("reading only"));
    // The writer goes, is not there, and comes back.
    let expected = of_mirror(&mirror).await;
    mirror.close().await;
    drop(mirror);
    assert_eq!(of_mirror(&reader).await, expected);
    reader.close().await;
    assert_eq!(of_mirror(&Mirror::read_only(&desk.file()).unwrap()).await, expected);
    let mirror = desk.mirror();
    apply(&mirror, &vec![(1, place(9, 0), told("bert", START, "held").encode())]).await;
    assert_eq!(reader.counts().await.unwrap().customers, 2);
}

#[tokio::test]
async fn another_store_is_not_followed_into_the_same_file() {
    let desk = Desk::new();
    let mirror = desk.mirror();
    apply(&mirror, &vec![(1, place(1, 0), told("anna", START, "held").encode())]).await;
    let before = of_mirror(&mirror).await;
    let foreign = vec![(1, place(2, 0), told("bert", START, "held").encode())];
    let said = fatal(mirror.apply("store-2".to_owned(), alone(&foreign)).await);
    assert!(said.contains("store-1") && said.contains("store-2"), "{said}");
    assert_eq!((of_mirror(&mirror).await, mirror.places().await.unwrap()[&1]), (before, place(1, 0)));
    // Its own goes on.
    apply(&mirror, &foreign).await;
    assert_eq!(mirror.counts().await.unwrap().customers, 2);
}

#[tokio::test]
async fn no_file_is_taken_for_another() {
    let desk = Desk::new();
    let own = desk.0.path().join("engine.db");
    let store = desk.store();
    assert!(fatal(Mirror::read_only(&own)).contains("an engine's own store"));
    store.close().await;
    assert!(fatal(Mirror::open(&own, desk.options())).contains("an engine's own store"));
    // It is still what it was.
    desk.store();
    let mirror = desk.mirror();
    assert!(fatal(Mirror::open(&desk.file(), desk.options())).contains("in use by another process"));
    drop(mirror);
    let said = fatal(SqliteStore::open(&desk.file(), desk.options()));
    assert!(said.contains("the read side of a store that is somewhere else"), "{said}");
    desk.mirror();
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_does_not_stop_the_rest() {
    let desk = Desk::new();
    let mirror = desk.mirror();
    let nobody = Told { index: None, ..told("", START, "held") };
    let lost = told("carl", START, "lost");
    let batch: Entries = vec![
        (1, place(1, 0), told("anna", START, "held").encode()),
        (1, place(2, 0), vec![]),
        (1, place(3, 0), vec![1, 0xc1, 0xff]),
        (1, place(4, 0), nobody.encode()),
        (1, place(5, 0), lost.encode()),
        (1, place(6, 0), told("bert", START, "held").encode()),
        (2, place(1, 0), b"\x00rubbish".to_vec()),
    ];
    for _ in 0..2 {
        apply(&mirror, &batch).await;
        assert_eq!((mirror.unreadable().await.unwrap(), mirror.counts().await.unwrap().customers), (5, 2));
        let places = mirror.places().await.unwrap();
        assert_eq!((places[&1], places[&2]), (place(6, 0), place(1, 0)));
    }
    drop(mirror);
    let mirror = desk.mirror();
    apply(&mirror, &vec![(2, place(2, 0), vec![1])]).await;
    assert_eq!(mirror.unreadable().await.unwrap(), 6);
    // What a newer engine wrote is not damaged: it waits for an engine that can read it.
    let mut newer = told("dora", START, "held").encode();
    newer[0] += 1;
    let said = fatal(mirror.apply(STORE.to_owned(), vec![(2, place(3, 0), vec![newer])]).await);
    assert!(said.contains("newer engine") && said.contains("3-0") && said.contains("shard 2"), "{said}");
    assert_eq!((mirror.places().await.unwrap()[&2], mirror.unreadable().await.unwrap()), (place(2, 0), 6));
}

#[tokio::test]
async fn a_message_alone_makes_nobody_known_and_a_lost_line_hides_nobody() {
    let desk = Desk::new();
    let mirror = desk.mirror();
    let kept = message("m1", "anna", START);
    let letter = Told { customer: "anna".to_owned(), message: Some(kept.clone()), ..Told::default() };
    let bare = Told { index: None, ..told("bert", START, "held") };
    apply(&mirror, &vec![(1, place(1, 0), letter.encode()), (1, place(2, 0), bare.encode())]).await;
    assert_eq!(mirror.message("m1".to_owned()).await.unwrap(), Some(kept));
    assert_eq!(mirror.customers(String::new(), String::new(), 9).await.unwrap(), [line("bert", "", &[])]);
    assert_eq!(timeline(&*mirror, "bert", 9).await.len(), 1);
    // Her line comes with its next change.
    apply(&mirror, &vec![(1, place(3, 0), told("bert", START, "held").encode())]).await;
    assert_eq!(mirror.customers("name".to_owned(), String::new(), 9).await.unwrap().len(), 1);
    assert_eq!(mirror.counts().await.unwrap().segments, [("s".to_owned(), 1)]);
}

#[tokio::test]
async fn what_has_outlived_its_retention_goes() {
    let desk = Desk::new();
    let mirror = desk.mirror();
    let over = RunRow { until: Some(Time(START)), ..run_row("anna", 2, "finished", START) };
    let told = Told {
        runs: vec![over, run_row("anna", 1, "waiting", START)],
        message: Some(message("m1", "anna", START)),
        ..told("anna", START, "waiting")
    };
    // Followed late: what counts is when it happened.
    desk.pass(20 * DAY_MS);
    apply(&mirror, &vec![(1, place(1, 0), told.encode())]).await;
    assert_eq!(mirror.prune().await.unwrap(), 0);
    desk.pass(11 * DAY_MS);
    assert_eq!(mirror.prune().await.unwrap(), 2, "the ended run and the message");
    assert_eq!(mirror.runs(RunFilter::default(), 9).await.unwrap().len(), 1, "a live run stays");
    assert_eq!(timeline(&*mirror, "anna", 9).await.len(), 1);
    desk.pass(60 * DAY_MS);
    assert_eq!(mirror.prune().await.unwrap(), 1, "the fact");
    assert!(timeline(&*mirror, "anna", 9).await.is_empty());
    assert_eq!(mirror.figures("2027-03-01".to_owned(), "2027-03-01".to_owned()).await.unwrap()[0].count, 1, "figures stay");
    assert_eq!(mirror.places().await.unwrap()[&1], place(1, 0));
}
