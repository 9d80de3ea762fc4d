//! What is particular to SQLite; the promises of every store are in the contract suite.

use super::super::read::{KeptMessage, ReadSide, Reads, RunFilter};
use super::super::{
    Accepted, Begin, Claim, Commit, Committed, CustomerRow, Fate, NewInput, RunRow, Store, StoreError, StoreResult,
};
use super::{Options, SCHEMA, SqliteStore, schema};
use crate::effect::{Effect, EffectKind, Grant, OnUncertain};
use crate::event::InputBody;
use crate::fact::{Fact, What};
use crate::lang::time::{Span, Time};
use crate::lang::value::Fields;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NOW: Time = Time(1_803_891_600_000);

fn options() -> Options {
    Options::new(Arc::new(|| NOW))
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("engine.db")
    }

    fn open(&self, options: Options) -> StoreResult<Arc<SqliteStore>> {
        SqliteStore::open(&self.file(), options)
    }

    fn change(&self, sql: &str) {
        Connection::open(self.file()).unwrap().execute_batch(sql).unwrap();
    }
}

fn enrol(customer: &str, id: &str) -> NewInput {
    let body = InputBody::Enrol { funnel: "f".to_owned(), id: id.to_owned(), properties: Fields::new() };
    NewInput { customer: customer.to_owned(), source: "api".to_owned(), id: None, digest: 0, body }
}

fn turn(claim: &Claim) -> Commit {
    Commit {
        customer: claim.customer.clone(),
        base: claim.record.version,
        document: vec![1; 50],
        consumed: claim.inputs.iter().map(|input| input.seq).collect(),
        index: CustomerRow { id: claim.customer.clone(), ..CustomerRow::default() },
        ..Commit::default()
    }
}

fn effect(customer: &str) -> Effect {
    let grant = Grant {
        points: 1,
        reason: "r".to_owned(),
        active_after: Span::default(),
        expires_after: None,
        provider: None,
        variables: Fields::new(),
        held: false,
    };
    Effect {
        id: format!("{customer}/1/s/1"),
        customer: customer.to_owned(),
        run: 1,
        funnel: "f".to_owned(),
        version: "v".to_owned(),
        step: "s".to_owned(),
        decided_at: NOW,
        valid_until: None,
        gate: 0,
        on_uncertain: OnUncertain::Hold,
        kind: EffectKind::Grant(grant),
    }
}

fn run_row(customer: &str, state: &str) -> RunRow {
    RunRow {
        customer: customer.to_owned(),
        run: 1,
        funnel: "f".to_owned(),
        version: "v".to_owned(),
        state: state.to_owned(),
        step: String::new(),
        entered: NOW,
        until: None,
    }
}

fn refusal(result: StoreResult<Arc<SqliteStore>>) -> String {
    match result {
        Err(StoreError::Fatal(said)) => said,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
}

/// Claims and commits until nothing is left; what each customer's inputs were called, in their order.
async fn drain(store: &SqliteStore) -> Vec<(String, Vec<String>)> {
    let mut seen: Vec<(String, Vec<String>)> = Vec::new();
    loop {
        let claims = store.claim(3).await.unwrap();
        if claims.is_empty() {
            return seen;
        }
        for claim in &claims {
            let ids = claim.inputs.iter().map(|queued| match &queued.input.body {
                InputBody::Enrol { id, .. } => id.clone(),
                other => panic!("{other:?}"),
            });
            let ids: Vec<String> = ids.collect();
            match seen.iter_mut().find(|(customer, _)| *customer == claim.customer) {
                Some((_, all)) => all.extend(ids),
                None => seen.push((claim.customer.clone(), ids)),
            }
        }
        let done = store.commit(claims.iter().map(turn).collect()).await.unwrap();
        assert!(done.iter().all(|one| *one == Committed::Done));
    }
}

#[tokio::test]
async fn a_file_of_a_newer_engine_is_refused() {
    for name in ["schema", "format"] {
        let place = Place::new();
        place.open(options()).unwrap().close().await;
        place.change(&format!("UPDATE meta SET value = 99 WHERE name = '{name}'"));
        let said = refusal(place.open(options()));
        assert!(said.contains("newer engine") && said.contains(&format!("{name} 99")), "{said}");
        let known = if name == "schema" { SCHEMA } else { i64::from(crate::customer::codec::FORMAT) };
        place.change(&format!("UPDATE meta SET value = {known} WHERE name = '{name}'"));
        place.open(options()).unwrap();
    }
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_and_left_as_it_is() {
    let place = Place::new();
    place.change("CREATE TABLE notes (text TEXT)");
    let said = refusal(place.open(options()));
    assert!(said.contains("another program"), "{said}");
    let text = Place::new();
    std::fs::write(text.file(), "shopping list: milk, bread, and more than sixteen bytes").unwrap();
    let said = refusal(text.open(options()));
    assert!(said.contains("not a database"), "{said}");
    assert!(std::fs::read_to_string(text.file()).unwrap().starts_with("shopping list"));
    let folder = refusal(SqliteStore::open(text.0.path(), options()));
    assert!(folder.contains("cannot create"), "{folder}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let file = place.0.path().join("new/folder/engine.db");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let store = SqliteStore::open(&file, options()).unwrap();
    store.accept(vec![enrol("anna", "1")]).await.unwrap();
    for name in ["engine.db", "engine.db-wal", "engine.db-shm", "engine.db.lock"] {
        assert_eq!(mode(&file.with_file_name(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&place.0.path().join("new/folder")), 0o700);
    assert_eq!(mode(&place.0.path().join("new")), 0o700);
    drop(store);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let _store = SqliteStore::open(&file, options()).unwrap();
    assert_eq!(mode(&file), 0o600);
}

#[cfg(unix)]
#[tokio::test]
async fn two_names_of_one_file_are_one_file() {
    let place = Place::new();
    let _store = place.open(options()).unwrap();
    let other = place.0.path().join("other.db");
    std::os::unix::fs::symlink(place.file(), &other).unwrap();
    assert!(refusal(SqliteStore::open(&other, options())).contains("in use"));
}

#[tokio::test]
async fn the_settings_that_safety_rests_on_are_in_force() {
    let place = Place::new();
    let opened = schema::open(&place.file(), &options(), schema::Role::Store).unwrap();
    let ask = |name: &str| -> String {
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        opened.db.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((ask("journal_mode").as_str(), ask("synchronous").as_str(), ask("auto_vacuum").as_str()), ("wal", "2", "2"));
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room() {
    let place = Place::new();
    let store = place.open(Options { file_bytes_max: Some(440 * 1024), ..options() }).unwrap();
    let mut kept = 0;
    let said = loop {
        let big = NewInput { source: "x".repeat(100), ..enrol(&format!("c{kept:04}"), &"y".repeat(3_000)) };
        match store.accept(vec![big]).await {
            Ok(answers) => {
                assert_eq!(answers, [Accepted::New]);
                kept += 1;
            }
            Err(StoreError::Unavailable(said)) => break said,
            Err(other) => panic!("{other}"),
        }
        assert!(kept < 10_000, "the bound of the file does not hold");
    };
    assert!(said.contains("the disk is full"), "{said}");
    assert_eq!(store.counts().await.unwrap().inbox, kept);
    // Turns that need room fail as a whole; their customers stay claimed, so that the commit can be repeated.
    let claims = store.claim(64).await.unwrap();
    assert_eq!(claims.len(), 64);
    let huge = Commit { document: vec![0; 300 * 1024], effects: vec![effect("c0000")], hand_over: true, ..turn(&claims[0]) };
    assert!(matches!(store.commit(vec![huge.clone()]).await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.begin(effect("c0000").id, 0, vec![]).await.unwrap(), Begin::Gone);
    assert!(store.take("c0000".to_owned()).await.unwrap().is_none());
    // What frees room works.
    let done = store.commit(claims.iter().map(turn).collect()).await.unwrap();
    assert!(done.iter().all(|one| *one == Committed::Done));
    assert_eq!(store.accept(vec![enrol("late", "1")]).await.unwrap(), [Accepted::New]);
    drop(store);
    let store = place.open(options()).unwrap();
    assert_eq!(drain(&store).await.iter().map(|(_, ids)| ids.len() as u64).sum::<u64>(), kept - 64 + 1);
}

#[tokio::test]
async fn a_backlog_beyond_memory_keeps_its_order() {
    let place = Place::new();
    let small = || Options { window_inputs: 4, ..options() };
    let store = place.open(small()).unwrap();
    for n in 0..30 {
        store.accept(vec![enrol(&format!("c{}", n % 7), &n.to_string())]).await.unwrap();
    }
    assert_eq!(store.counts().await.unwrap().inbox, 30);
    let expected = |customer: usize| (0..30).filter(|n| n % 7 == customer).map(|n| n.to_string()).collect::<Vec<_>>();
    let claims = store.claim(2).await.unwrap();
    store.release(claims.iter().map(|claim| claim.customer.clone()).collect()).await.unwrap();
    store.close().await;
    drop(store);
    // A larger window and again a smaller one over the same backlog.
    place.open(options()).unwrap().close().await;
    let store = place.open(small()).unwrap();
    assert_eq!(store.counts().await.unwrap().inbox, 30);
    store.accept(vec![enrol("c0", "last")]).await.unwrap();
    let mut seen = drain(&store).await;
    seen.sort();
    for (customer, (name, ids)) in seen.into_iter().enumerate() {
        let mut wanted = expected(customer);
        if customer == 0 {
            wanted.push("last".to_owned());
        }
        assert_eq!((name, ids), (format!("c{customer}"), wanted));
    }
    assert_eq!(store.counts().await.unwrap().inbox, 0);
}

#[tokio::test]
async fn an_input_beyond_memory_is_unread_all_the_same() {
    let place = Place::new();
    let store = place.open(Options { window_inputs: 2, ..options() }).unwrap();
    let claim = store.take("anna".to_owned()).await.unwrap().unwrap();
    let first = Commit { effects: vec![effect("anna")], hand_over: true, ..turn(&claim) };
    assert_eq!(store.commit(vec![first]).await.unwrap(), [Committed::Done]);
    for n in 0..9 {
        store.accept(vec![enrol(&format!("c{n}"), "1")]).await.unwrap();
    }
    store.accept(vec![enrol("anna", "1")]).await.unwrap();
    assert_eq!(store.begin(effect("anna").id, 0, vec![]).await.unwrap(), Begin::TurnFirst);
    assert!(store.take("anna".to_owned()).await.unwrap().is_none());
    // Erasing somebody whose inputs lie partly beyond takes them all.
    store.accept(vec![enrol("c0", "2"), enrol("c0", "3")]).await.unwrap();
    let claims = store.claim(1).await.unwrap();
    assert_eq!((claims[0].customer.as_str(), claims[0].inputs.len()), ("c0", 1));
    assert!(claims[0].more_from.is_some(), "the rest lies beyond");
    assert_eq!(store.commit(vec![Commit { erase: true, ..turn(&claims[0]) }]).await.unwrap(), [Committed::Done]);
    assert_eq!(store.counts().await.unwrap().inbox, 9);
    let rest = drain(&store).await;
    assert_eq!(rest.len(), 9);
    assert!(rest.iter().all(|(customer, ids)| customer != "c0" && ids == &["1"]));
    assert_eq!(store.counts().await.unwrap().inbox, 0);
}

#[tokio::test]
async fn what_arrives_while_there_is_a_backlog_beyond_memory_stands_behind_it() {
    let place = Place::new();
    let store = place.open(Options { window_inputs: 4, ..options() }).unwrap();
    for (customer, id) in [("b0", "1"), ("b1", "1"), ("b2", "1"), ("b3", "1"), ("z", "1")] {
        store.accept(vec![enrol(customer, id)]).await.unwrap();
    }
    // One place is free again, and it is not for the newcomer.
    let claim = store.claim(1).await.unwrap().remove(0);
    assert_eq!(store.commit(vec![turn(&claim)]).await.unwrap(), [Committed::Done]);
    store.accept(vec![enrol("z", "2")]).await.unwrap();
    let seen = drain(&store).await;
    assert_eq!(seen.last().unwrap(), &("z".to_owned(), vec!["1".to_owned(), "2".to_owned()]));
}

#[tokio::test]
async fn erasure_leaves_no_row_of_hers_in_any_table() {
    let place = Place::new();
    let store = place.open(options()).unwrap();
    for round in 0..2 {
        store.accept(vec![enrol("anna", "1")]).await.unwrap();
        let claim = store.claim(1).await.unwrap().remove(0);
        let fact = Fact {
            at: NOW,
            what: What::Entered,
            about: "x".to_owned(),
            run: None,
            why: String::new(),
            seen: vec![],
            amount: None,
        };
        let index = CustomerRow {
            id: "anna".to_owned(),
            name: "Anna".to_owned(),
            segments: vec![format!("s{round}"), "t".to_owned()],
            ..CustomerRow::default()
        };
        let (facts, runs) = (vec![fact.clone(), fact], vec![run_row("anna", "waiting")]);
        let effects = vec![Effect { id: format!("anna/{round}"), ..effect("anna") }];
        let commit = Commit { facts, runs, effects, index, hand_over: round == 0, wake: Some(NOW), ..turn(&claim) };
        assert_eq!(store.commit(vec![commit]).await.unwrap(), [Committed::Done]);
    }
    let message = KeptMessage {
        id: "m".to_owned(),
        customer: "anna".to_owned(),
        channel: String::new(),
        to: String::new(),
        funnel: String::new(),
        template: String::new(),
        subject: String::new(),
        text: String::new(),
        html: String::new(),
        at: NOW,
    };
    store.keep_message(message).await.unwrap();
    let claim = store.claim(1).await.unwrap().remove(0);
    assert_eq!(store.commit(vec![Commit { erase: true, ..turn(&claim) }]).await.unwrap(), [Committed::Done]);
    store.close().await;
    let db = Connection::open(place.file()).unwrap();
    for table in ["customer", "word", "member", "inbox", "outbox", "fact", "run", "message", "quarantine"] {
        let rows: i64 = db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    let left: i64 = db.query_row("SELECT coalesce(sum(n), 0) FROM tally", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "tallies");
}

#[tokio::test]
async fn an_input_that_cannot_be_read_is_put_aside() {
    let place = Place::new();
    let store = place.open(options()).unwrap();
    store.accept(vec![enrol("anna", "1"), enrol("anna", "2")]).await.unwrap();
    store.close().await;
    drop(store);
    place.change("UPDATE inbox SET body = x'01ff' WHERE seq = (SELECT min(seq) FROM inbox)");
    let store = place.open(options()).unwrap();
    let claims = store.claim(9).await.unwrap();
    assert_eq!((claims.len(), claims[0].inputs.len()), (1, 1));
    let rows = store.quarantine(9).await.unwrap();
    assert_eq!((rows.len(), rows[0].input.as_str()), (1, "{\"unreadable\":\"01ff\"}"));
    assert_eq!(store.commit(vec![turn(&claims[0])]).await.unwrap(), [Committed::Done]);
    assert_eq!(store.counts().await.unwrap().inbox, 0);
    // It goes back byte for byte: a newer engine may be able to read it.
    assert!(store.unquarantine("anna".to_owned(), rows[0].seq, Fate::Retry).await.unwrap());
    let claims = store.claim(9).await.unwrap();
    assert_eq!((claims.len(), claims[0].inputs.len()), (1, 0));
    let again = store.quarantine(9).await.unwrap();
    assert_eq!((again.len(), &again[0].input, again[0].seq > rows[0].seq), (1, &rows[0].input, true));
    store.close().await;
    drop(store);
    // A line that no engine wrote is not lost by trying.
    place.change("UPDATE quarantine SET input = 'scribble'");
    let store = place.open(options()).unwrap();
    let damaged = || store.unquarantine("anna".to_owned(), again[0].seq, Fate::Retry);
    assert!(matches!(damaged().await, Err(StoreError::Unavailable(said)) if said.contains("damaged")));
    assert!(store.unquarantine("anna".to_owned(), again[0].seq, Fate::Drop).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_cannot_be_done_fails_alone() {
    let place = Place::new();
    let store = place.open(options()).unwrap();
    let claim = store.take("anna".to_owned()).await.unwrap().unwrap();
    let bad = Commit { runs: vec![run_row("anna", "lost")], ..turn(&claim) };
    // One task of the executor: the whole crowd is in the queue before the first answer.
    let accepts = (0..50).map(|n| store.accept(vec![enrol(&format!("c{n}"), "1")]));
    let (answers, refused) = futures_util::future::join(futures_util::future::join_all(accepts), store.commit(vec![bad])).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap() == [Accepted::New]));
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("a run cannot be `lost`"), "{why}");
    assert!(store.record("anna".to_owned()).await.unwrap().is_none());
    let good = Commit { runs: vec![run_row("anna", "waiting")], ..turn(&claim) };
    assert_eq!(store.commit(vec![good]).await.unwrap(), [Committed::Done]);
    assert_eq!(store.runs(RunFilter::default(), 9).await.unwrap(), [run_row("anna", "waiting")]);
    assert_eq!(store.counts().await.unwrap().live_runs, [("f".to_owned(), "waiting".to_owned(), 1)]);
    assert_eq!(drain(&store).await.len(), 50);
}

#[tokio::test]
async fn numbers_are_never_used_twice() {
    let place = Place::new();
    let mut last = 0;
    for clean in [true, false, true, false] {
        let store = place.open(options()).unwrap();
        store.accept(vec![enrol("anna", "1")]).await.unwrap();
        let claim = store.claim(1).await.unwrap().remove(0);
        assert!(claim.inputs[0].seq > last, "{} after {last}", claim.inputs[0].seq);
        last = claim.inputs[0].seq;
        assert_eq!(store.commit(vec![turn(&claim)]).await.unwrap(), [Committed::Done]);
        if clean {
            store.close().await;
        }
    }
}

#[tokio::test]
async fn a_file_of_the_engine_before_gets_what_was_added() {
    let place = Place::new();
    place.open(options()).unwrap().close().await;
    for table in ["address", "stop", "soft", "reference"] {
        place.change(&format!("DROP TABLE {table}"));
    }
    place.change("DROP INDEX figure_key; DROP TABLE cohort; ALTER TABLE figure DROP COLUMN reason");
    place.change("CREATE UNIQUE INDEX figure_key ON figure (day, funnel, version, step, variant, what)");
    place.change("INSERT INTO figure VALUES (1, '2027-03-01', 'f', 'v', 's', 'email', 'sent', 3, 0)");
    place.change("UPDATE meta SET value = 1 WHERE name = 'schema'");
    let look = schema::open_store_beside(&place.file()).unwrap();
    assert!(schema::refuse_old(&look, &place.file()).unwrap_err().to_string().contains("older engine"));
    drop(look);
    let store = place.open(options()).unwrap();
    let figures = store.figures("2027-03-01".to_owned(), "2027-03-01".to_owned()).await.unwrap();
    assert_eq!((figures[0].count, figures[0].reason.as_str()), (3, ""));
    let address = crate::event::address::Address::of("email", "a@x.org").unwrap();
    store.keep_reference(address.clone(), "anna/1/step/1".to_owned()).await.unwrap();
    assert_eq!(store.address(address).await.unwrap(), crate::store::AddressRow::default());
    store.close().await;
    drop(store);
    let opened = schema::open(&place.file(), &options(), schema::Role::Store).unwrap();
    assert_eq!(schema::meta::<i64>(&opened.db, "schema").unwrap(), Some(SCHEMA));
}
