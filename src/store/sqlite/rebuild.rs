//! Setting a read side right by what its store holds: after its file was lost, or after the store has lost
//! what the file had heard of.
//!
//! Lines and live runs are set to what the store says; what the streams still hold is followed as ever,
//! and may be older or newer: whoever changed last stands there last.

use super::super::told::Told;
use super::super::{CustomerRow, RunRow, StoreError, StoreResult};
use super::Mirror;
use super::call::{Call, Done, Phase, let_be};
use super::follow::News;
use super::run::{FIRST_ENDED, places_of};
use super::writer::Core;
use crate::lang::time::Time;
use rusqlite::{OptionalExtension, params};

const CORRECT: Call<Standings, Result<u64, String>> =
    Call { phase: Phase::Write, points: None, run: |core, all| core.correct(all), lost: let_be };
const LET_GO: Call<Vec<String>, u64> =
    Call { phase: Phase::Write, points: None, run: |core, customers| core.drop_all(customers), lost: let_be };

/// What a store says of a customer.
pub struct Standing {
    /// Her line of the list of customers.
    pub line: CustomerRow,
    /// Her live runs.
    pub runs: Vec<RunRow>,
}

struct Standings {
    store: String,
    all: Vec<News>,
}

impl Mirror {
    /// Sets customers right. Live runs that the store does not know any more become stopped ones; returns how
    /// many. The same again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] may be retried as it is; [`StoreError::Fatal`]: the file follows another
    /// store, or the disk failed.
    pub async fn correct(&self, store: String, standings: Vec<Standing>, at: Time) -> StoreResult<u64> {
        let weight = standings.len();
        let news = standings.into_iter().map(|standing| {
            let (customer, index) = (standing.line.id.clone(), Some(standing.line));
            News::new(Told { customer, at, runs: standing.runs, index, ..Told::default() })
        });
        let all = news.collect::<Result<_, _>>().map_err(StoreError::Fatal)?;
        self.writes()?.run(CORRECT, Standings { store, all }, weight).await?.map_err(StoreError::Fatal)
    }

    /// Drops what is held of customers whom the store does not know; returns how many there were.
    ///
    /// # Errors
    /// As [`Mirror::correct`].
    pub async fn let_go(&self, customers: Vec<String>) -> StoreResult<u64> {
        let weight = customers.len();
        self.writes()?.run(LET_GO, customers, weight).await
    }
}

impl Core<'_> {
    fn correct(&mut self, standings: &Standings) -> Done<Result<u64, String>> {
        if let Some(own) = self.other_store(&standings.store)? {
            return Ok(Err(super::mirror::foreign(&own, &standings.store)));
        }
        let mut stopped = 0;
        for news in &standings.all {
            let live: Vec<u64> = news.runs().iter().map(|run| run.run).collect();
            self.take_in(news)?;
            stopped += self.stop_others(news.customer(), &live, news.at())?;
        }
        Ok(Ok(stopped))
    }

    /// Live runs of a customer that are not among these are over.
    fn stop_others(&mut self, customer: &str, live: &[u64], at: Time) -> Done<u64> {
        let Some((num, _)) = self.shown_row(customer)? else { return Ok(0) };
        let (first, end) = places_of(num);
        let rows: Vec<RunRow> = self
            .db
            .prepare_cached(
                "SELECT r.run, k.funnel, k.version, r.step, r.entered FROM run r JOIN kind k ON k.num = r.kind
                 WHERE r.place >= ?1 AND r.place < ?2 AND r.state < ?3",
            )?
            .query_map(params![first, end, FIRST_ENDED], |row| {
                Ok(RunRow {
                    customer: customer.to_owned(),
                    run: row.get::<_, i64>(0)? as u64,
                    funnel: row.get(1)?,
                    version: row.get(2)?,
                    state: "stopped".to_owned(),
                    step: row.get(3)?,
                    entered: Time(row.get(4)?),
                    until: Some(at),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        let over: Vec<RunRow> = rows.into_iter().filter(|run| !live.contains(&run.run)).collect();
        self.write_runs(&over, num)?;
        Ok(over.len() as u64)
    }

    fn drop_all(&mut self, customers: &[String]) -> Done<u64> {
        self.batch.at = self.batch.now;
        let mut gone = 0;
        for customer in customers {
            if let Some(row) = self.shown_row(customer)? {
                self.drop_shown(customer, row)?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// Number and newest fact of a customer's row.
    pub fn shown_row(&self, customer: &str) -> Done<Option<(i64, i64)>> {
        let row = self
            .db
            .prepare_cached("SELECT num, head FROM customer WHERE id = ?1")?
            .query_row([customer], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(row)
    }
}
