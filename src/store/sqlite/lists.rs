//! The read side's questions.

use super::super::read::{Counts, Figure, KeptMessage, OutboxRow, PAGE_ROWS_MAX, QuarantineRow, Reads, RunFilter, TimelineRow};
use super::super::{CustomerRow, Record, RunRow, StoreResult};
use super::SqliteStore;
use super::figure::{CUSTOMERS_TALLY, RUN_TALLY, SEGMENT_TALLY};
use super::show::{customer_row, fold};
use crate::customer::codec::{CodecError, decode};
use crate::effect::Effect;
use crate::fact::Fact;
use crate::lang::time::Time;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Customers found by their first letters that are sorted by id; where there are more, a walk by id meets
/// enough of them soon.
const WORD_ROWS_SORTED_MAX: i64 = 5_000;

type Rows<T> = rusqlite::Result<T>;

fn page(max: usize) -> usize {
    max.min(PAGE_ROWS_MAX)
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

    fn timeline(&self, customer: String, before: Option<u64>, max: usize) -> BoxFuture<'_, StoreResult<Vec<TimelineRow>>> {
        self.readers.ask(move |db| timeline(db, &customer, before, page(max)))
    }

    fn facts_after(&self, after: u64, max: usize) -> BoxFuture<'_, StoreResult<Vec<(String, TimelineRow)>>> {
        self.readers.ask(move |db| facts_after(db, after, page(max)))
    }

    fn customers(&self, query: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<CustomerRow>>> {
        self.readers.ask(move |db| customers(db, &query, &after, page(max)))
    }

    fn runs(&self, filter: RunFilter, max: usize) -> BoxFuture<'_, StoreResult<Vec<RunRow>>> {
        self.readers.ask(move |db| runs(db, &filter, page(max)))
    }

    fn figures(&self, from: String, to: String) -> BoxFuture<'_, StoreResult<Vec<Figure>>> {
        self.readers.ask(move |db| figures(db, &from, &to))
    }

    fn messages(&self, customer: String, before: Option<Time>, max: usize) -> BoxFuture<'_, StoreResult<Vec<KeptMessage>>> {
        self.readers.ask(move |db| messages(db, &customer, before, page(max)))
    }

    fn message(&self, id: String) -> BoxFuture<'_, StoreResult<Option<KeptMessage>>> {
        self.readers.ask(move |db| {
            db.prepare_cached("SELECT body FROM message WHERE id = ?1")?.query_row([id], |row| decoded(row, 0)).optional()
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

    fn quarantine(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<QuarantineRow>>> {
        self.readers.ask(move |db| {
            let sql = "SELECT customer, input, cause, at FROM quarantine ORDER BY at DESC, seq DESC LIMIT ?1";
            let mut read = db.prepare_cached(sql)?;
            let rows = read.query_map([page(max) as i64], |row| {
                Ok(QuarantineRow { customer: row.get(0)?, input: row.get(1)?, cause: row.get(2)?, at: Time(row.get(3)?) })
            })?;
            rows.collect()
        })
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Counts>> {
        let inbox = self.shared.inbox_rows.load(Ordering::Acquire);
        let outbox = self.shared.outbox_rows.load(Ordering::Acquire);
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

fn customers(db: &Connection, query: &str, after: &str, max: usize) -> Rows<Vec<CustomerRow>> {
    if query.is_empty() {
        let mut read =
            db.prepare_cached("SELECT id, name, email, phone, segments FROM customer WHERE id > ?1 ORDER BY id LIMIT ?2")?;
        return read.query_map(params![after, max as i64], customer_row)?.collect();
    }
    let word = fold(query);
    let common: i64 = db
        .prepare_cached(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM word WHERE text >= ?1 AND text < ?2 LIMIT ?5))
                  + (SELECT count(*) FROM (SELECT 1 FROM customer WHERE id >= ?3 AND id < ?4 LIMIT ?5))",
        )?
        .query_row(params![word, beyond(&word), query, beyond(query), WORD_ROWS_SORTED_MAX], |row| row.get(0))?;
    if common >= WORD_ROWS_SORTED_MAX {
        return walk_customers(db, query, &word, after, max);
    }
    let mut read = db.prepare_cached(
        "SELECT id, name, email, phone, segments FROM customer WHERE num IN (
           SELECT num FROM customer WHERE id >= ?2 AND id < ?3
           UNION SELECT customer FROM word WHERE text >= ?4 AND text < ?5) AND id > ?1 ORDER BY id LIMIT ?6",
    )?;
    read.query_map(params![after, query, beyond(query), word, beyond(&word), max as i64], customer_row)?.collect()
}

/// So many begin like this that a page is soon full.
fn walk_customers(db: &Connection, query: &str, word: &str, after: &str, max: usize) -> Rows<Vec<CustomerRow>> {
    let mut read = db.prepare_cached("SELECT id, name, email, phone, segments FROM customer WHERE id > ?1 ORDER BY id")?;
    let mut rows = read.query([after])?;
    let mut out = Vec::new();
    while out.len() < max
        && let Some(row) = rows.next()?
    {
        let customer = customer_row(row)?;
        let words = [&customer.name, &customer.email, &customer.phone];
        if customer.id.starts_with(query) || words.into_iter().any(|text| fold(text).starts_with(word)) {
            out.push(customer);
        }
    }
    Ok(out)
}

fn run_row(row: &Row<'_>) -> Rows<RunRow> {
    Ok(RunRow {
        customer: row.get(0)?,
        run: row.get::<_, i64>(1)? as u64,
        funnel: row.get(2)?,
        version: row.get(3)?,
        state: row.get(4)?,
        step: row.get(5)?,
        entered: Time(row.get(6)?),
        until: row.get::<_, Option<i64>>(7)?.map(Time),
    })
}

fn runs(db: &Connection, filter: &RunFilter, max: usize) -> Rows<Vec<RunRow>> {
    const COLUMNS: &str = "SELECT c.id, r.run, k.funnel, k.version, r.state, r.step, r.entered, r.until FROM run r
        JOIN kind k ON k.num = r.kind JOIN customer c ON c.num = r.customer";
    let max_rows = max as i64;
    if !filter.customer.is_empty() {
        let mut read = db.prepare_cached(&format!(
            "{COLUMNS} WHERE r.customer = (SELECT num FROM customer WHERE id = ?1) AND (?2 = '' OR k.funnel = ?2)
             AND (?3 = '' OR r.state = ?3) ORDER BY r.run DESC LIMIT ?4"
        ))?;
        return read.query_map(params![filter.customer, filter.funnel, filter.state, max_rows], run_row)?.collect();
    }
    if filter.funnel.is_empty() && filter.state.is_empty() {
        let mut read = db.prepare_cached(&format!("{COLUMNS} ORDER BY r.entered DESC, r.customer DESC, r.run DESC LIMIT ?1"))?;
        return read.query_map([max_rows], run_row)?.collect();
    }
    // One look-up per kind and state, newest first each; there are few of either.
    let mut out: Vec<RunRow> = Vec::new();
    let mut read = db.prepare_cached(&format!(
        "{COLUMNS} WHERE r.kind = ?1 AND r.state = ?2 ORDER BY r.entered DESC, r.customer DESC, r.run DESC LIMIT ?3"
    ))?;
    for (kind, state) in kinds_and_states(db, filter)? {
        let rows = read.query_map(params![kind, state, max_rows], run_row)?;
        out.extend(rows.collect::<Rows<Vec<_>>>()?);
    }
    out.sort_by(|a, b| (b.entered, &b.customer, b.run).cmp(&(a.entered, &a.customer, a.run)));
    out.truncate(max);
    Ok(out)
}

/// The kinds of the filter's funnel with the states that their runs have, found by leaps over the index.
fn kinds_and_states(db: &Connection, filter: &RunFilter) -> Rows<Vec<(i64, String)>> {
    let mut kinds = db.prepare_cached("SELECT num FROM kind WHERE ?1 = '' OR funnel = ?1")?;
    let kinds: Vec<i64> = kinds.query_map([&filter.funnel], |row| row.get(0))?.collect::<Rows<_>>()?;
    let mut next = db.prepare_cached("SELECT min(state) FROM run WHERE kind = ?1 AND state > ?2")?;
    let mut out = Vec::new();
    for kind in kinds {
        let mut state = String::new();
        while filter.state.is_empty() {
            match next.query_row(params![kind, state], |row| row.get::<_, Option<String>>(0))? {
                Some(found) => {
                    out.push((kind, found.clone()));
                    state = found;
                }
                None => break,
            }
        }
        if !filter.state.is_empty() {
            out.push((kind, filter.state.clone()));
        }
    }
    Ok(out)
}

fn figures(db: &Connection, from: &str, to: &str) -> Rows<Vec<Figure>> {
    let mut read = db.prepare_cached(
        "SELECT day, funnel, version, step, variant, what, count, amount FROM figure WHERE day >= ?1 AND day <= ?2
         ORDER BY day, funnel, version, step, variant, what",
    )?;
    let rows = read.query_map([from, to], |row| {
        Ok(Figure {
            day: row.get(0)?,
            funnel: row.get(1)?,
            version: row.get(2)?,
            step: row.get(3)?,
            variant: row.get(4)?,
            what: row.get(5)?,
            count: row.get(6)?,
            amount: row.get(7)?,
        })
    })?;
    rows.collect()
}

fn messages(db: &Connection, customer: &str, before: Option<Time>, max: usize) -> Rows<Vec<KeptMessage>> {
    let before = before.map_or(i64::MAX, |time| time.0);
    let mut read = db.prepare_cached(match customer.is_empty() {
        true => "SELECT body FROM message WHERE at < ?1 AND ?2 = '' ORDER BY at DESC, num DESC LIMIT ?3",
        false => "SELECT body FROM message WHERE at < ?1 AND customer = ?2 ORDER BY at DESC, num DESC LIMIT ?3",
    })?;
    read.query_map(params![before, customer, max as i64], |row| decoded(row, 0))?.collect()
}

fn counts(db: &Connection) -> Rows<Counts> {
    let mut counts = Counts::default();
    let mut runs: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut kind = db.prepare_cached("SELECT funnel FROM kind WHERE num = ?1")?;
    let mut read = db.prepare_cached("SELECT name, n FROM tally WHERE n > 0 ORDER BY name")?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let (name, n): (String, u64) = (row.get(0)?, row.get::<_, i64>(1)? as u64);
        if name == CUSTOMERS_TALLY {
            counts.customers = n;
        } else if let Some(segment) = name.strip_prefix(SEGMENT_TALLY) {
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
