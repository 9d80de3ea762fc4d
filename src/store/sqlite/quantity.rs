//! Quantities that all processes share; a file has one process, and its quantities outlive it.

use super::super::quantity::{KEPT_MS, Quantity, Taken, given};
use super::call::{Call, Done, Phase, let_be};
use super::keep::POINTS;
use super::schema::{meta, set_meta};
use super::writer::Core;
use crate::lang::time::Time;
use rusqlite::{Connection, params};

/// How the settings begin that have what was taken: `taken until`.
const NAMES: &str = "quantity ";
/// What stands behind all of them in the order of names.
const NAMES_END: &str = "quantity!";

/// [`super::Store::take_quantity`]: the quantity, the least, what is wanted.
pub const TAKE: Call<(Quantity, i64, i64), i64> = Call {
    phase: Phase::Write,
    points: POINTS,
    run: |core, (quantity, least, want)| core.take_quantity(quantity, *least, *want),
    lost: let_be,
};

/// [`super::Store::return_quantity`].
pub const RETURN: Call<(String, i64), ()> =
    Call { phase: Phase::Write, points: POINTS, run: |core, (name, count)| core.return_quantity(name, *count), lost: let_be };

/// Everything that was taken, for the move of a store.
pub fn all(db: &Connection) -> rusqlite::Result<Vec<Taken>> {
    let mut all = db.prepare("SELECT name, value FROM meta WHERE name >= ?1 AND name < ?2 ORDER BY name")?;
    let rows = all.query_map(params![NAMES, NAMES_END], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (name, text) = row?;
        let (taken, until) = read(&text);
        let name = name.strip_prefix(NAMES).unwrap_or_default().to_owned();
        Ok(Taken { name, taken, until: Some(until).filter(|until| *until < i64::MAX) })
    })
    .collect()
}

fn read(text: &str) -> (i64, i64) {
    let (taken, until) = text.split_once(' ').unwrap_or((text, ""));
    (taken.parse().unwrap_or(i64::MAX), until.parse().unwrap_or(i64::MAX))
}

impl Core<'_> {
    fn quantity(&self, name: &str) -> Done<Option<(i64, i64)>> {
        let kept: Option<String> = meta(&self.db, &format!("{NAMES}{name}"))?;
        Ok(kept.as_deref().map(read))
    }

    fn keep_quantity(&mut self, name: &str, (taken, until): (i64, i64)) -> Done<()> {
        set_meta(&self.db, &format!("{NAMES}{name}"), format!("{taken} {until}"))?;
        Ok(())
    }

    fn take_quantity(&mut self, quantity: &Quantity, least: i64, want: i64) -> Done<i64> {
        let kept = self.quantity(&quantity.name)?;
        if kept.is_none() {
            self.forget_quantities()?;
        }
        let (taken, _) = kept.unwrap_or_default();
        let got = given(taken, quantity.most, least, want);
        if got > 0 {
            let until = quantity.until.map_or(i64::MAX, |Time(until)| until.saturating_add(KEPT_MS));
            self.keep_quantity(&quantity.name, (taken + got, until))?;
        }
        Ok(got)
    }

    fn return_quantity(&mut self, name: &str, count: i64) -> Done<()> {
        match self.quantity(name)? {
            Some((taken, until)) => self.keep_quantity(name, ((taken - count).max(0), until)),
            None => Ok(()),
        }
    }

    /// Those whose time is over: looked for when there is a new one.
    fn forget_quantities(&mut self) -> Done<()> {
        let now = self.batch.now.0;
        let mut over: Vec<String> = Vec::new();
        {
            let mut all = self.db.prepare_cached("SELECT name, value FROM meta WHERE name >= ?1 AND name < ?2")?;
            let mut rows = all.query(params![NAMES, NAMES_END])?;
            while let Some(row) = rows.next()? {
                let text: String = row.get(1)?;
                if read(&text).1 < now {
                    over.push(row.get(0)?);
                }
            }
        }
        for name in over {
            self.db.prepare_cached("DELETE FROM meta WHERE name = ?1")?.execute([name])?;
        }
        Ok(())
    }
}
