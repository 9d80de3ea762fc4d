//! The read side's questions.

use super::super::read::{
    Asked, Counted, Counts, Figure, KeptMessage, LIST_MARK, LiveSteps, OutboxRow, PAGE_ROWS_MAX, QuarantineRow, ReadSide, Reads,
    RunFilter, TimelineRow, Waiting,
};
use super::super::{CustomerRow, Record, RunRow, StoreResult};
use super::figure::{CUSTOMERS_TALLY, RUN_TALLY, SEGMENT_TALLY, cohorts, figures, figures_of, terms};
use super::keep::winners;
use super::shape::key;
use super::show::{customer_row, fold};
use super::{Readers, SqliteStore, run};
use crate::customer::codec::{CodecError, decode};
use crate::effect::Effect;
use crate::fact::Fact;
use crate::fact::count::SIZE;
use crate::lang::time::Time;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Customers found by their first letters that are sorted by id at once; where there are more, a walk of
/// this length by id is tried first.
const WORD_ROWS_SORTED_MAX: i64 = 20_000;

type Rows<T> = rusqlite::Result<T>;

fn page(max: usize) -> usize {
    max.min(PAGE_ROWS_MAX)
}

/// Who has the file of a read side at hand: all its lists, searches, timelines and figures come from there.
pub trait FileBacked: Send + Sync {
    /// The file's readers, or why there are none.
    ///
    /// # Errors
    /// Whatever the questions are to be answered with instead.
    fn readers(&self) -> StoreResult<&Readers>;
}

/// Asks the file, if there is one.
fn ask<'a, T, Q>(readers: StoreResult<&Readers>, question: Q) -> BoxFuture<'a, StoreResult<T>>
where
    T: Send + 'static,
    Q: FnOnce(&Connection) -> Rows<T> + Send + 'static,
{
    match readers {
        Ok(readers) => readers.ask(question),
        Err(why) => Box::pin(std::future::ready(Err(why))),
    }
}

impl FileBacked for SqliteStore {
    fn readers(&self) -> StoreResult<&Readers> {
        Ok(&self.readers)
    }
}

impl<B: FileBacked + ?Sized> ReadSide for B {
    fn timeline(&self, customer: String, before: Option<u64>, max: usize) -> BoxFuture<'_, StoreResult<Vec<TimelineRow>>> {
        ask(self.readers(), move |db| timeline(db, &customer, before, page(max)))
    }

    fn facts_after(&self, after: u64, max: usize) -> BoxFuture<'_, StoreResult<Vec<(String, TimelineRow)>>> {
        ask(self.readers(), move |db| facts_after(db, after, page(max)))
    }

    fn customers(&self, query: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<CustomerRow>>> {
        ask(self.readers(), move |db| customers(db, &query, &after, page(max)))
    }

    fn members(&self, segment: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        ask(self.readers(), move |db| members(db, &segment, page(max)))
    }

    fn runs(&self, filter: RunFilter, max: usize) -> BoxFuture<'_, StoreResult<Vec<RunRow>>> {
        ask(self.readers(), move |db| run::list(db, &filter, page(max)))
    }

    fn live_steps(&self) -> BoxFuture<'_, StoreResult<Vec<LiveSteps>>> {
        ask(self.readers(), run::live_steps)
    }

    fn figures(&self, from: String, to: String) -> BoxFuture<'_, StoreResult<Vec<Figure>>> {
        ask(self.readers(), move |db| figures(db, &from, &to))
    }

    fn stats(&self, asked: Asked) -> BoxFuture<'_, StoreResult<Counted>> {
        ask(self.readers(), move |db| stats(db, &asked))
    }

    fn messages(&self, customer: String, before: Option<Time>, max: usize) -> BoxFuture<'_, StoreResult<Vec<KeptMessage>>> {
        ask(self.readers(), move |db| messages(db, &customer, before, page(max)))
    }

    fn message(&self, id: String) -> BoxFuture<'_, StoreResult<Option<KeptMessage>>> {
        ask(self.readers(), move |db| {
            db.prepare_cached("SELECT body FROM message WHERE id = ?1")?.query_row([id], |row| decoded(row, 0)).optional()
        })
    }
}

impl Reads for SqliteStore {
    fn record(&self, customer: String) -> BoxFuture<'_, StoreResult<Option<Record>>> {
        self.readers.ask(move |db| {
            db.prepare_cached("SELECT version, gate, account, document FROM customer WHERE id = ?1")?
                .query_row([customer], |row| {
                    let version = row.get::<_, i64>(0)? as u64;
                    Ok(Record { version, gate: row.get(1)?, account: row.get(2)?, document: row.get(3)?, erased: false })
                })
                .optional()
        })
    }

    fn outbox(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<OutboxRow>>> {
        self.readers.ask(move |db| {
            // What has no instant is being delivered now, and comes first.
            let sql = "SELECT body, coalesce(due, begun), attempts, why FROM outbox ORDER BY due, seq LIMIT ?1";
            let mut read = db.prepare_cached(sql)?;
            let rows = read.query_map([page(max) as i64], |row| {
                let effect: Effect = decoded(row, 0)?;
                let due = row.get::<_, Option<i64>>(1)?.map_or(effect.decided_at, Time);
                Ok(OutboxRow { id: effect.id, customer: effect.customer, due, attempts: row.get(2)?, why: row.get(3)? })
            })?;
            rows.collect()
        })
    }

    fn waiting(&self, effect: String, customer: String) -> BoxFuture<'_, StoreResult<Option<Waiting>>> {
        self.readers.ask(move |db| {
            let sql = "SELECT body, coalesce(due, begun), attempts, why, unsure, sending, begun FROM outbox WHERE key = ?1";
            let mut read = db.prepare_cached(sql)?;
            let rows = read.query_map([key(&[&effect])], |row| {
                let (unsure, sending, begun): (Option<i64>, bool, Option<i64>) = (row.get(4)?, row.get(5)?, row.get(6)?);
                let found: Effect = decoded(row, 0)?;
                Ok(Waiting {
                    due: row.get::<_, Option<i64>>(1)?.map_or(found.decided_at, Time),
                    effect: found,
                    attempts: row.get(2)?,
                    why: row.get(3)?,
                    doubtful_since: unsure.or(begun.filter(|_| sending)).map(Time),
                })
            })?;
            let rows: Vec<Waiting> = rows.collect::<Rows<_>>()?;
            Ok(rows.into_iter().find(|row| row.effect.id == effect && row.effect.customer == customer))
        })
    }

    fn quarantine(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<QuarantineRow>>> {
        self.readers.ask(move |db| {
            let sql = "SELECT seq, customer, input, cause, at FROM quarantine ORDER BY at DESC, seq DESC LIMIT ?1";
            let mut read = db.prepare_cached(sql)?;
            let rows = read.query_map([page(max) as i64], |row| {
                Ok(QuarantineRow {
                    seq: row.get::<_, i64>(0)? as u64,
                    customer: row.get(1)?,
                    input: row.get(2)?,
                    cause: row.get(3)?,
                    at: Time(row.get(4)?),
                })
            })?;
            rows.collect()
        })
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Counts>> {
        let inbox = self.thread.shared.inbox_rows.load(Ordering::Acquire);
        let outbox = self.thread.shared.outbox_rows.load(Ordering::Acquire);
        self.readers.ask(move |db| Ok(Counts { inbox, outbox, ..counts(db)? }))
    }
}

/// A column that holds something encoded.
fn decoded<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Rows<T> {
    let bytes = row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?;
    decode(bytes)
        .map_err(|why: CodecError| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(why)))
}

/// The facts of a row: the first one's position is the row's number.
fn facts_of(row: &Row<'_>, seq: usize, body: usize) -> Rows<Vec<TimelineRow>> {
    let first = row.get::<_, i64>(seq)? as u64;
    let facts: Vec<Fact> = decoded(row, body)?;
    Ok((0u32..).zip(facts).map(|(index, fact)| TimelineRow { seq: first + u64::from(index), index, fact }).collect())
}

/// Follows the chain of her rows from the newest, or from the row that holds position `before`.
fn timeline(db: &Connection, customer: &str, before: Option<u64>, max: usize) -> Rows<Vec<TimelineRow>> {
    let found: Option<(i64, i64)> = db
        .prepare_cached("SELECT num, head FROM customer WHERE id = ?1")?
        .query_row([customer], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((num, head)) = found else { return Ok(Vec::new()) };
    let limit = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let holder: Option<(i64, i64)> = db
        .prepare_cached("SELECT seq, customer FROM fact WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([limit], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let mut at = match holder {
        Some((seq, whose)) if whose == num => seq,
        _ => head,
    };
    let mut out = Vec::new();
    let mut read = db.prepare_cached("SELECT seq, previous, body FROM fact WHERE seq = ?1")?;
    while at != 0 && out.len() < max {
        let row = read.query_row([at], |row| Ok((row.get::<_, i64>(1)?, facts_of(row, 0, 2)?))).optional()?;
        // The rest of the chain has outlived its retention.
        let Some((previous, facts)) = row else { break };
        out.extend(facts.into_iter().rev().filter(|fact| (fact.seq as i64) < limit));
        at = previous;
    }
    out.truncate(max);
    Ok(out)
}

fn facts_after(db: &Connection, after: u64, max: usize) -> Rows<Vec<(String, TimelineRow)>> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut out = Vec::new();
    // The row that holds the position may hold later ones too.
    let mut read = db.prepare_cached(
        "SELECT f.seq, f.body, c.id FROM fact f JOIN customer c ON c.num = f.customer
         WHERE f.seq >= coalesce((SELECT seq FROM fact WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1), 0) ORDER BY f.seq",
    )?;
    let mut rows = read.query([after])?;
    while out.len() < max
        && let Some(row) = rows.next()?
    {
        let id: String = row.get(2)?;
        let facts = facts_of(row, 0, 1)?;
        out.extend(facts.into_iter().filter(|fact| fact.seq as i64 > after).map(|fact| (id.clone(), fact)));
    }
    out.truncate(max);
    Ok(out)
}

/// The smallest text that no text beginning with `prefix` reaches.
fn beyond(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

fn members(db: &Connection, segment: &str, max: usize) -> Rows<Vec<String>> {
    let mut read = db.prepare_cached(
        "SELECT customer.id FROM member JOIN customer ON customer.num = member.customer WHERE member.segment = ?1
         ORDER BY member.customer LIMIT ?2",
    )?;
    read.query_map(params![segment, max as i64], |row| row.get(0))?.collect()
}

fn customers(db: &Connection, query: &str, after: &str, max: usize) -> Rows<Vec<CustomerRow>> {
    let mut rows = every_customer(db, query, after, max)?;
    for row in &mut rows {
        row.segments.retain(|segment| !segment.starts_with(LIST_MARK));
    }
    Ok(rows)
}

fn every_customer(db: &Connection, query: &str, after: &str, max: usize) -> Rows<Vec<CustomerRow>> {
    if query.is_empty() {
        let mut read =
            db.prepare_cached("SELECT id, name, email, phone, segments FROM customer WHERE id > ?1 ORDER BY id LIMIT ?2")?;
        return read.query_map(params![after, max as i64], customer_row)?.collect();
    }
    let limit = max as i64;
    let mut ids: Vec<String> = db
        .prepare_cached("SELECT id FROM customer WHERE id > ?1 AND id >= ?2 AND id < ?3 ORDER BY id LIMIT ?4")?
        .query_map(params![after, query, beyond(query), limit], |row| row.get(0))?
        .collect::<Rows<_>>()?;
    ids.extend(found_by_word(db, &fold(query), after, max)?);
    ids.sort_unstable();
    ids.dedup();
    let mut read = db.prepare_cached("SELECT id, name, email, phone, segments FROM customer WHERE id = ?1")?;
    ids.iter().take(max).map(|id| read.query_row([id], customer_row)).collect()
}

/// Ids after `after` of customers with a word that begins like this, in order.
fn found_by_word(db: &Connection, word: &str, after: &str, max: usize) -> Rows<Vec<String>> {
    let common: i64 = db
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM word WHERE text >= ?1 AND text < ?2 LIMIT ?3)")?
        .query_row(params![word, beyond(word), WORD_ROWS_SORTED_MAX], |row| row.get(0))?;
    if common >= WORD_ROWS_SORTED_MAX
        && let Some(ids) = walk_customers(db, word, after, max)?
    {
        return Ok(ids);
    }
    let mut find = db.prepare_cached(
        "SELECT DISTINCT customer FROM word WHERE text >= ?1 AND text < ?2 AND customer > ?3 ORDER BY customer LIMIT ?4",
    )?;
    find.query_map(params![word, beyond(word), after, max as i64], |row| row.get(0))?.collect()
}

/// Where so many begin like this, a walk by id usually fills a page soon. `None`: this time it did not.
fn walk_customers(db: &Connection, word: &str, after: &str, max: usize) -> Rows<Option<Vec<String>>> {
    let sql = "SELECT id, name, email, phone, segments FROM customer WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut read = db.prepare_cached(sql)?;
    let mut rows = read.query(params![after, WORD_ROWS_SORTED_MAX])?;
    let mut out = Vec::new();
    while out.len() < max {
        let Some(row) = rows.next()? else { return Ok(None) };
        let customer = customer_row(row)?;
        if [&customer.name, &customer.email, &customer.phone].into_iter().any(|text| fold(text).starts_with(word)) {
            out.push(customer.id);
        }
    }
    Ok(Some(out))
}

fn messages(db: &Connection, customer: &str, before: Option<Time>, max: usize) -> Rows<Vec<KeptMessage>> {
    let before = before.map_or(i64::MAX, |time| time.0);
    let mut read = db.prepare_cached(match customer.is_empty() {
        true => "SELECT body FROM message WHERE at < ?1 AND ?2 = '' ORDER BY at DESC, num DESC LIMIT ?3",
        false => "SELECT body FROM message WHERE at < ?1 AND customer = ?2 ORDER BY at DESC, num DESC LIMIT ?3",
    })?;
    read.query_map(params![before, customer, max as i64], |row| decoded(row, 0))?.collect()
}

/// What is counted of some days.
fn stats(db: &Connection, asked: &Asked) -> Rows<Counted> {
    let Asked { funnel, from, to, by_day, live } = asked;
    let mut known: Vec<String> = db
        .prepare_cached("SELECT funnel FROM kind UNION SELECT funnel FROM definition_funnel ORDER BY funnel")?
        .query_map([], |row| row.get(0))?
        .collect::<Rows<_>>()?;
    known.dedup();
    let growth = db
        .prepare_cached("SELECT day, reason, count FROM figure WHERE day >= ?1 AND what = ?2 ORDER BY day")?
        .query_map([from.as_str(), SIZE], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Rows<_>>()?;
    Ok(Counted {
        terms: terms(db)?,
        known,
        figures: figures_of(db, funnel, *by_day, from, to)?,
        cohorts: cohorts(db, funnel, from, to)?,
        live: if *live { run::live_of(db, funnel)? } else { Vec::new() },
        sizes: counts(db)?.segments,
        growth,
        winners: winners(db)?.into_iter().filter(|winner| funnel.is_empty() || winner.funnel == *funnel).collect(),
    })
}

/// How many customers, live runs, members and inputs put aside the file knows.
pub fn counts(db: &Connection) -> Rows<Counts> {
    let mut counts = Counts::default();
    let mut runs: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut kind = db.prepare_cached("SELECT funnel FROM kind WHERE num = ?1")?;
    let mut read = db.prepare_cached("SELECT name, n FROM tally WHERE n > 0 ORDER BY name")?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let (name, n): (String, u64) = (row.get(0)?, row.get::<_, i64>(1)? as u64);
        if name == CUSTOMERS_TALLY {
            counts.customers = n;
        } else if let Some(segment) = name.strip_prefix(SEGMENT_TALLY).filter(|name| !name.starts_with(LIST_MARK)) {
            counts.segments.push((segment.to_owned(), n));
        } else if let Some((num, state)) = name.strip_prefix(RUN_TALLY).and_then(|rest| rest.split_once(':')) {
            let funnel: String = kind.query_row([num], |row| row.get(0))?;
            *runs.entry((funnel, state.to_owned())).or_default() += n;
        }
    }
    counts.live_runs = runs.into_iter().map(|((funnel, state), n)| (funnel, state, n)).collect();
    counts.quarantined = db.query_row("SELECT count(*) FROM quarantine", [], |row| row.get::<_, i64>(0))? as u64;
    Ok(counts)
}
