//! Runs, for lists: one row each, found by a place that is made of customer and run.
//!
//! Only one index follows the changes of a run (kind, state, entry): a run changes several times in its
//! life, and each index of the state costs as much as the row. All lists are merged from that index.

use super::super::read::{LiveSteps, RunFilter};
use super::super::{RunRow, StoreError};
use super::call::{Done, Fail};
use super::figure::RUN_TALLY;
use super::writer::Core;
use crate::lang::time::Time;
use crate::stats::Live;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// States and their numbers in the table.
const STATES: [(&str, i64); 9] = [
    ("waiting", 0),
    ("held", 1),
    ("sending", 2),
    ("finished", 3),
    ("exited", 4),
    ("stopped", 5),
    ("review", -1),
    ("unresolved", -2),
    ("held_out", -3),
];
/// From this number on a run is over.
pub const FIRST_ENDED: i64 = 3;
/// Bits of a place that name the run; the rest names the customer. After 1,048,576 runs of one customer
/// the oldest's place is taken again; by then it has outlived its retention.
pub const RUN_BITS: u32 = 20;

fn state_number(state: &str) -> Done<i64> {
    match STATES.iter().find(|(name, _)| *name == state) {
        Some((_, number)) => Ok(*number),
        None => Err(Fail::Refused(StoreError::Unavailable(unknown(state)))),
    }
}

/// Whether a run can be written: its state is one that we know.
pub fn known(run: &RunRow) -> Result<(), String> {
    match STATES.iter().any(|(name, _)| *name == run.state) {
        true => Ok(()),
        false => Err(unknown(&run.state)),
    }
}

fn unknown(state: &str) -> String {
    format!("a run cannot be `{state}`; its state is one of {}", STATES.map(|(name, _)| name).join(", "))
}

fn place(customer: i64, run: u64) -> i64 {
    (customer << RUN_BITS) | (run & ((1 << RUN_BITS) - 1)) as i64
}

/// The first place of a customer's runs, and the first one behind them.
pub fn places_of(customer: i64) -> (i64, i64) {
    (place(customer, 0), place(customer + 1, 0))
}

impl Core<'_> {
    /// Writes the runs that a turn changed.
    pub fn write_runs(&mut self, runs: &[RunRow], customer: i64) -> Done<()> {
        for run in runs {
            self.write_run(run, customer)?;
        }
        Ok(())
    }

    /// Funnel and short version of a run of a customer's, if its line is still kept.
    pub fn funnel_of(&self, customer: i64, run: u64) -> Done<Option<(String, String)>> {
        let found = self
            .db
            .prepare_cached(
                "SELECT k.funnel, substr(k.version, 1, 8) FROM run r JOIN kind k ON k.num = r.kind WHERE r.place = ?1 AND r.run = ?2",
            )?
            .query_row([place(customer, run), run as i64], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(found)
    }

    fn write_run(&mut self, run: &RunRow, customer: i64) -> Done<()> {
        let kind = self.kind(&run.funnel, &run.version)?;
        let state = state_number(&run.state)?;
        let (place, number, until) = (place(customer, run.run), run.run as i64, run.until.map(|until| until.0));
        let old: Option<(i64, i64, i64)> = self
            .db
            .prepare_cached("SELECT run, kind, state FROM run WHERE place = ?1")?
            .query_row([place], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        match old {
            None => {
                self.db.prepare_cached("INSERT INTO run VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
                    place,
                    number,
                    kind,
                    state,
                    run.step,
                    run.entered.0,
                    until
                ])?;
            }
            Some(old) if old == (number, kind, state) => {
                self.db
                    .prepare_cached("UPDATE run SET step = ?2, until = ?3 WHERE place = ?1")?
                    .execute(params![place, run.step, until])?;
                return Ok(());
            }
            Some((_, old_kind, old_state)) => {
                self.db
                    .prepare_cached(
                        "UPDATE run SET run = ?2, kind = ?3, state = ?4, step = ?5, entered = ?6, until = ?7 WHERE place = ?1",
                    )?
                    .execute(params![place, number, kind, state, run.step, run.entered.0, until])?;
                self.tally_run(old_kind, old_state, -1);
            }
        }
        self.tally_run(kind, state, 1);
        Ok(())
    }

    /// Live runs are counted.
    fn tally_run(&mut self, kind: i64, state: i64, by: i64) {
        if state < FIRST_ENDED {
            self.batch.tally(format!("{RUN_TALLY}{kind}:{}", state_name(state)), by);
        }
    }

    /// Removes all runs of a customer.
    pub fn erase_runs(&mut self, customer: i64) -> Done<()> {
        let gone: Vec<(i64, i64)> = self
            .db
            .prepare_cached("DELETE FROM run WHERE place >= ?1 AND place < ?2 RETURNING kind, state")?
            .query_map(<[i64; 2]>::from(places_of(customer)), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (kind, state) in gone {
            self.tally_run(kind, state, -1);
        }
        Ok(())
    }
}

fn state_name(state: i64) -> &'static str {
    STATES.iter().find(|(_, number)| *number == state).map_or("unknown", |(name, _)| name)
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        customer: row.get(0)?,
        run: row.get::<_, i64>(1)? as u64,
        funnel: row.get(2)?,
        version: row.get(3)?,
        state: state_name(row.get(4)?).to_owned(),
        step: row.get(5)?,
        entered: Time(row.get(6)?),
        until: row.get::<_, Option<i64>>(7)?.map(Time),
    })
}

/// Runs, newest first.
pub fn list(db: &Connection, filter: &RunFilter, max: usize) -> rusqlite::Result<Vec<RunRow>> {
    let places = match filter.customer.is_empty() {
        true => newest(db, filter, max)?,
        false => of_customer(db, filter)?,
    };
    let mut read = db.prepare_cached(
        "SELECT c.id, r.run, k.funnel, k.version, r.state, r.step, r.entered, r.until FROM run r
         JOIN kind k ON k.num = r.kind JOIN customer c ON c.num = r.place >> ?2 WHERE r.place = ?1",
    )?;
    places.into_iter().take(max).map(|(_, place)| read.query_row([place, i64::from(RUN_BITS)], run_row)).collect()
}

/// Live runs by funnel, version and step.
pub fn live_steps(db: &Connection) -> rusqlite::Result<Vec<LiveSteps>> {
    let mut read = db.prepare_cached(
        "SELECT k.funnel, k.version, r.step, count(*) FROM run r JOIN kind k ON k.num = r.kind
         WHERE r.state < ?1 GROUP BY k.funnel, k.version, r.step ORDER BY k.funnel, k.version, r.step",
    )?;
    let row = |row: &Row<'_>| {
        let count = row.get::<_, i64>(3)? as u64;
        Ok(LiveSteps { funnel: row.get(0)?, version: row.get(1)?, step: row.get(2)?, count })
    };
    read.query_map([FIRST_ENDED], row)?.collect()
}

/// Live runs by funnel, short version and step, of one funnel or (empty) all; who is held out is not among them.
pub fn live_of(db: &Connection, funnel: &str) -> rusqlite::Result<Vec<Live>> {
    let of = if funnel.is_empty() { "?2 = ''" } else { "k.funnel = ?2" };
    let mut read = db.prepare_cached(&format!(
        "SELECT k.funnel, substr(k.version, 1, 8), r.step, count(*) FROM run r JOIN kind k ON k.num = r.kind
         WHERE r.state < ?1 AND r.step <> '' AND {of} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    ))?;
    let row = |row: &Row<'_>| Ok(Live { funnel: row.get(0)?, version: row.get(1)?, step: row.get(2)?, count: row.get(3)? });
    read.query_map(params![FIRST_ENDED, funnel], row)?.collect()
}

/// Entry and place of a customer's runs that the filter lets through.
fn of_customer(db: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<(i64, i64)>> {
    let num: Option<i64> = db
        .prepare_cached("SELECT num FROM customer WHERE id = ?1")?
        .query_row([&filter.customer], |row| row.get(0))
        .optional()?;
    let Some(num) = num else { return Ok(Vec::new()) };
    let mut find = db.prepare_cached(
        "SELECT r.entered, r.place, k.funnel, r.state FROM run r JOIN kind k ON k.num = r.kind
         WHERE r.place >= ?1 AND r.place < ?2 ORDER BY r.entered DESC, r.place DESC",
    )?;
    let mut rows = find.query([place(num, 0), place(num + 1, 0)])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let (funnel, state): (String, i64) = (row.get(2)?, row.get(3)?);
        let fits = |wanted: &str, own: &str| wanted.is_empty() || wanted == own;
        if fits(&filter.funnel, &funnel) && fits(&filter.state, state_name(state)) {
            out.push((row.get(0)?, row.get(1)?));
        }
    }
    Ok(out)
}

/// Entry and place of the newest runs: one look-up in the index for each kind and state, then merged.
fn newest(db: &Connection, filter: &RunFilter, max: usize) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut kinds = db.prepare_cached("SELECT num FROM kind WHERE ?1 = '' OR funnel = ?1")?;
    let kinds: Vec<i64> = kinds.query_map([&filter.funnel], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let wanted = STATES.iter().filter(|(name, _)| filter.state.is_empty() || *name == filter.state);
    let states: Vec<i64> = wanted.map(|(_, number)| *number).collect();
    let mut find = db.prepare_cached(
        "SELECT entered, place FROM run WHERE kind = ?1 AND state = ?2 ORDER BY entered DESC, place DESC LIMIT ?3",
    )?;
    let mut out: Vec<(i64, i64)> = Vec::new();
    for kind in kinds {
        for state in &states {
            let rows = find.query_map([kind, *state, max as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
            out.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
        }
    }
    out.sort_unstable_by(|a, b| b.cmp(a));
    out.truncate(max);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::super::read::RUN_STATES;
    use super::*;

    #[test]
    fn places_of_a_customer_lie_together() {
        assert!(place(7, 0) < place(7, 1) && place(7, (1 << RUN_BITS) - 1) < place(8, 0));
        assert_eq!(place(7, 5), place(7, 5 + (1 << RUN_BITS)));
        assert_eq!(place(7, 5) >> RUN_BITS, 7);
    }

    #[test]
    fn states_are_known_by_number() {
        for (state, number) in STATES {
            assert_eq!(state_number(state).unwrap(), number);
            assert_eq!(state_name(number), state);
        }
        // Fixed values: they stand in files. From three on a run is over.
        assert_eq!(STATES.map(|(_, number)| number), [0, 1, 2, 3, 4, 5, -1, -2, -3]);
        assert!(RUN_STATES.iter().all(|state| state_number(state).is_ok()) && RUN_STATES.len() == STATES.len());
        assert!(state_number("lost").is_err());
    }
}
