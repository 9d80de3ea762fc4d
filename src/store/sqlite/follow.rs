//! Taking in what commits elsewhere have told: rows and the position behind them in one transaction.
//!
//! The entries of one shard come in the order of its stream. What is at or before the shard's position
//! was taken before and is passed over, so a batch may be delivered again; entries that come after a
//! later one of their shard would be passed over too, and whoever follows a stream does not skip any.

use super::super::StoreResult;
use super::super::read::KeptMessage;
use super::super::told::{Place, Told};
use super::super::{CustomerRow, RunRow, StoreError};
use super::call::{Call, Done, Fail, Phase, let_be};
use super::commit::Birth;
use super::run;
use super::schema::{meta, set_meta};
use super::shape::{Facts, shown};
use super::writer::Core;
use crate::customer::codec::{CodecError, FORMAT};
use crate::lang::time::Time;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

/// Takes entries in.
pub const FOLLOW: Call<Feed, Followed> = Call {
    phase: Phase::Write,
    // The transaction holds everything that it does; the failpoints stand where the streams are read.
    points: None,
    run: |core, feed| core.follow(feed),
    lost: let_be,
};

/// The setting that names the store that is followed.
pub const FOLLOWS: &str = "follows";
/// The setting that counts entries that could not be read.
const UNREADABLE: &str = "unreadable";

/// Entries on their way into the file, ordered by shard and place.
pub struct Feed {
    store: String,
    entries: Vec<Entry>,
}

struct Entry {
    shard: u16,
    place: Place,
    /// What each commit of it told, or why that cannot be read.
    news: Vec<Result<News, String>>,
}

/// What a commit told, ready to be written.
pub struct News {
    customer: String,
    at: Time,
    facts: Facts,
    runs: Vec<RunRow>,
    index: Option<(i64, CustomerRow)>,
    erased: bool,
    message: Option<KeptMessage>,
}

/// What became of a feed.
pub enum Followed {
    /// All of it is in the file; these entries could not be read, and why.
    Done(Vec<(u16, Place, String)>),
    /// Nothing of it is: the file follows this store.
    Foreign(String),
}

impl Feed {
    /// Decodes entries on the caller's thread.
    pub fn new(store: String, entries: Vec<(u16, Place, Vec<Vec<u8>>)>) -> StoreResult<Feed> {
        let mut read = Vec::with_capacity(entries.len());
        for (shard, place, told) in entries {
            let news = told.iter().map(|bytes| read_told(shard, place, bytes)).collect::<StoreResult<_>>()?;
            read.push(Entry { shard, place, news });
        }
        read.sort_by_key(|entry| (entry.shard, entry.place));
        Ok(Feed { store, entries: read })
    }
}

fn read_told(shard: u16, place: Place, bytes: &[u8]) -> StoreResult<Result<News, String>> {
    match Told::decode(bytes) {
        // Nothing is wrong with it: it waits in its stream for an engine that can read it.
        Err(CodecError::Newer(format)) if format > FORMAT => Err(StoreError::Fatal(format!(
            "entry {place} of shard {shard} was written by a newer engine (format {format}, this engine reads up to {FORMAT}); \
             start the newer engine"
        ))),
        Err(why) => Ok(Err(why.to_string())),
        Ok(told) => Ok(News::new(told)),
    }
}

impl News {
    /// Whose.
    pub fn customer(&self) -> &str {
        &self.customer
    }

    /// Of when.
    pub fn at(&self) -> Time {
        self.at
    }

    /// Her runs.
    pub fn runs(&self) -> &[RunRow] {
        &self.runs
    }

    /// The error says what makes it unfit to be written.
    pub fn new(told: Told) -> Result<News, String> {
        if told.customer.is_empty() {
            return Err("it names no customer".to_owned());
        }
        for row in &told.runs {
            run::known(row)?;
        }
        Ok(News {
            facts: Facts::new(&told.facts, told.terms),
            index: told.index.map(|line| (shown(&line), line)),
            customer: told.customer,
            at: told.at,
            runs: told.runs,
            erased: told.erased,
            message: told.message,
        })
    }
}

impl Core<'_> {
    fn follow(&mut self, feed: &Feed) -> Done<Followed> {
        if let Some(own) = self.other_store(&feed.store)? {
            return Ok(Followed::Foreign(own));
        }
        let mut unreadable = Vec::new();
        for of_shard in feed.entries.chunk_by(|a, b| a.shard == b.shard) {
            let shard = of_shard[0].shard;
            let before = self.followed(shard)?;
            let mut place = before;
            for entry in of_shard {
                if entry.place <= place {
                    continue;
                }
                for news in &entry.news {
                    match news {
                        Ok(news) => self.take_in(news)?,
                        Err(why) => unreadable.push((shard, entry.place, why.clone())),
                    }
                }
                place = entry.place;
            }
            if place > before {
                self.db.prepare_cached("INSERT OR REPLACE INTO followed VALUES (?1, ?2, ?3)")?.execute(params![
                    shard,
                    place.ms as i64,
                    place.seq as i64
                ])?;
            }
        }
        if !unreadable.is_empty() {
            set_meta(&self.db, UNREADABLE, meta::<i64>(&self.db, UNREADABLE)?.unwrap_or(0) + unreadable.len() as i64)?;
        }
        Ok(Followed::Done(unreadable))
    }

    /// The store that is followed, if it is another one. Who follows none yet follows this one from now on.
    pub fn other_store(&self, store: &str) -> Done<Option<String>> {
        match meta::<String>(&self.db, FOLLOWS)? {
            None => set_meta(&self.db, FOLLOWS, store)?,
            Some(own) if own != store => return Ok(Some(own)),
            Some(_) => {}
        }
        Ok(None)
    }

    /// Up to where a shard was followed.
    fn followed(&self, shard: u16) -> Done<Place> {
        let place = self
            .db
            .prepare_cached("SELECT ms, seq FROM followed WHERE shard = ?1")?
            .query_row([shard], |row| Ok(Place { ms: row.get::<_, i64>(0)? as u64, seq: row.get::<_, i64>(1)? as u64 }))
            .optional()?;
        Ok(place.unwrap_or_default())
    }

    /// Writes what a commit told.
    pub fn take_in(&mut self, news: &News) -> Done<()> {
        self.learn(&news.facts.terms)?;
        self.batch.at = news.at;
        if let Some(message) = &news.message {
            self.keep_message(message)?;
        }
        // A message alone makes nobody known.
        if !news.erased && news.index.is_none() && news.facts.count == 0 && news.runs.is_empty() {
            return Ok(());
        }
        let row = self.shown_row(&news.customer)?;
        if news.erased {
            return self.erase_shown(&news.customer, row, news.at);
        }
        let previous = row.map_or(0, |(_, head)| head);
        let head = self.next_head(&news.facts, previous)?;
        let num = match row {
            Some((num, _)) => {
                self.go_on(news, num, head)?;
                num
            }
            None => self.come(news, head)?,
        };
        self.write_facts(&news.facts, num, (head, previous), news.at)?;
        self.write_runs(&news.runs, num)
    }

    /// A customer who is known already.
    fn go_on(&mut self, news: &News, num: i64, head: i64) -> Done<()> {
        if news.facts.count > 0 {
            self.db.prepare_cached("UPDATE customer SET head = ?2 WHERE num = ?1")?.execute([num, head])?;
        }
        match &news.index {
            Some((shown, line)) => self.show_again(&news.customer, num, *shown, line),
            None => Ok(()),
        }
    }

    /// A new customer. Without a line (her first entry has outlived its stream) her id is all there is.
    fn come(&mut self, news: &News, head: i64) -> Done<i64> {
        let bare = CustomerRow { id: news.customer.clone(), ..CustomerRow::default() };
        let (shown, line) = news.index.as_ref().map_or((shown(&bare), &bare), |(shown, line)| (*shown, line));
        let birth =
            Birth { id: &news.customer, gate: 0, wake: None, judged: 0, head, shown, index: line, account: &[], document: &[] };
        self.bear(&birth)?.ok_or_else(|| {
            let said = "the read side's index of customers is damaged; remove the file, it is made anew from the streams";
            Fail::Refused(StoreError::Fatal(said.to_owned()))
        })
    }
}

/// The store that is followed.
pub fn follows(db: &Connection) -> rusqlite::Result<Option<String>> {
    meta(db, FOLLOWS)
}

/// Entries that could not be read.
pub fn unreadable(db: &Connection) -> rusqlite::Result<u64> {
    Ok(meta::<i64>(db, UNREADABLE)?.unwrap_or(0) as u64)
}

/// Up to where each shard was followed.
pub fn places(db: &Connection) -> rusqlite::Result<HashMap<u16, Place>> {
    let mut read = db.prepare_cached("SELECT shard, ms, seq FROM followed")?;
    let rows = read
        .query_map([], |row| Ok((row.get(0)?, Place { ms: row.get::<_, i64>(1)? as u64, seq: row.get::<_, i64>(2)? as u64 })))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Mirror, Options};
    use super::*;
    use crate::fact::{Fact, What};
    use std::sync::Arc;

    fn run_row(state: &str) -> RunRow {
        RunRow {
            customer: "anna".to_owned(),
            run: 1,
            funnel: "f".to_owned(),
            version: "v".to_owned(),
            state: state.to_owned(),
            step: String::new(),
            entered: Time(1),
            until: None,
        }
    }

    fn told(at: i64) -> Told {
        let fact = Fact {
            at: Time(at),
            what: What::Entered,
            about: String::new(),
            run: None,
            why: String::new(),
            seen: vec![],
            amount: None,
        };
        let index = CustomerRow {
            id: "anna".to_owned(),
            name: "Anna".to_owned(),
            segments: vec![format!("s{at}"), "t".to_owned()],
            ..CustomerRow::default()
        };
        Told {
            customer: "anna".to_owned(),
            at: Time(at),
            facts: vec![fact.clone(), fact],
            runs: vec![run_row("waiting")],
            index: Some(index),
            ..Told::default()
        }
    }

    #[tokio::test]
    async fn erasure_leaves_a_digest_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("read.db");
        let mirror = Mirror::open(&file, Options::new(Arc::new(|| Time(0)))).unwrap();
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
            at: Time(1),
        };
        let gone = Told { erased: true, ..told(3) };
        let all = [Told { message: Some(message), ..told(1) }, told(2), gone];
        let places = (1..).map(|ms| Place { ms, seq: 0 });
        let entries = all.iter().zip(places).map(|(told, place)| (1, place, vec![told.encode()])).collect();
        mirror.apply("s".to_owned(), entries).await.unwrap();
        mirror.close().await;
        let db = Connection::open(&file).unwrap();
        let ask = |sql: &str| -> i64 { db.query_row(sql, [], |row| row.get(0)).unwrap() };
        for table in ["customer", "word", "member", "fact", "run", "message"] {
            assert_eq!(ask(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
        }
        assert_eq!(ask("SELECT coalesce(sum(n), 0) FROM tally"), 0);
        assert_eq!((ask("SELECT count(*) FROM tombstone"), ask("SELECT at FROM tombstone")), (1, 3));
    }

    #[test]
    fn what_a_state_is_must_be_known() {
        assert!(News::new(Told { runs: vec![run_row("held")], ..told(1) }).is_ok());
        let why = News::new(Told { runs: vec![run_row("lost")], ..told(1) }).err().unwrap();
        assert!(why.contains("a run cannot be `lost`"), "{why}");
    }
}
