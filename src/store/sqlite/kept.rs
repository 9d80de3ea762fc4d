//! The connection that writes, with its prepared statements.
//!
//! About forty statements run for every run of a funnel. A cache that finds them by their text hashes, compares and
//! copies that text each time; here they are found by where the text stands in the program. The same text may stand
//! in two places, and is prepared twice then.

use rusqlite::{Connection, PrepFlags, Statement};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::{Deref, DerefMut};

/// Spreads the bits of an address: an odd number near 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where a text stands, and how long it is: one may begin where another does.
type Place = (usize, usize);

/// The connection.
pub struct Db<'c> {
    connection: &'c Connection,
    statements: RefCell<HashMap<Place, Statement<'c>, BuildHasherDefault<ByPlace>>>,
}

/// A statement in use; it goes back when it is dropped.
pub struct Kept<'d, 'c> {
    place: Place,
    statement: Option<Statement<'c>>,
    db: &'d Db<'c>,
}

/// A hasher of places, which nobody outside can choose.
#[derive(Default)]
pub struct ByPlace(u64);

impl Hasher for ByPlace {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte)));
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = (self.0.rotate_left(5) ^ number as u64).wrapping_mul(SPREAD);
    }
}

impl<'c> Db<'c> {
    /// Over a connection, without statements.
    pub fn new(connection: &'c Connection) -> Db<'c> {
        Db { connection, statements: RefCell::default() }
    }

    /// A statement, prepared when it is used for the first time. It hides the method of the same name that finds
    /// statements by their text.
    pub fn prepare_cached(&self, sql: &'static str) -> rusqlite::Result<Kept<'_, 'c>> {
        let place = (sql.as_ptr() as usize, sql.len());
        let known = self.statements.borrow_mut().remove(&place);
        let statement = match known {
            Some(statement) => statement,
            None => self.connection.prepare_with_flags(sql, PrepFlags::SQLITE_PREPARE_PERSISTENT)?,
        };
        Ok(Kept { place, statement: Some(statement), db: self })
    }
}

impl Deref for Db<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl<'c> Deref for Kept<'_, 'c> {
    type Target = Statement<'c>;

    fn deref(&self) -> &Statement<'c> {
        self.statement.as_ref().expect("only the drop takes it")
    }
}

impl<'c> DerefMut for Kept<'_, 'c> {
    fn deref_mut(&mut self) -> &mut Statement<'c> {
        self.statement.as_mut().expect("only the drop takes it")
    }
}

impl Drop for Kept<'_, '_> {
    fn drop(&mut self) {
        if let Some(statement) = self.statement.take() {
            self.db.statements.borrow_mut().insert(self.place, statement);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_kept_and_lend_themselves_twice_at_once() {
        let connection = Connection::open_in_memory().unwrap();
        let db = Db::new(&connection);
        let ask = "SELECT ?1";
        let one = |number: i64| -> i64 {
            let mut asked = db.prepare_cached(ask).unwrap();
            let mut rows = asked.query([number]).unwrap();
            let found = rows.next().unwrap().unwrap().get(0).unwrap();
            // The one in use is not there a second time: another is prepared.
            let mut beside = db.prepare_cached(ask).unwrap();
            assert_eq!(beside.query_row([number + 1], |row| row.get::<_, i64>(0)).unwrap(), number + 1);
            found
        };
        assert_eq!((one(1), one(7)), (1, 7));
        assert_eq!(db.statements.borrow().len(), 1);
        // What begins in the same place and is shorter is another statement.
        assert!(db.prepare_cached(&ask[..6]).is_err());
        assert!(db.prepare_cached(ask).is_ok());
    }

    #[test]
    fn a_text_with_a_mistake_is_told_each_time() {
        let connection = Connection::open_in_memory().unwrap();
        let db = Db::new(&connection);
        assert!((0..2).all(|_| db.prepare_cached("SELECT FROM nowhere").is_err()));
    }
}
