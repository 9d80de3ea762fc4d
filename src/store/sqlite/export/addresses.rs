//! Reading who has which address, and what was said about it.

use super::super::address::{LINK_KEY_NAME, row};
use super::{Source, meta};
use crate::event::address::Address;
use crate::store::{AddressRow, StoreResult};
use rusqlite::params;

/// Addresses after one, in their order.
const NEXT: &str = "
SELECT digest FROM (SELECT DISTINCT digest FROM address WHERE digest > ?1 ORDER BY digest LIMIT ?2)
UNION SELECT digest FROM (SELECT DISTINCT digest FROM stop WHERE digest > ?1 ORDER BY digest LIMIT ?2)
ORDER BY digest LIMIT ?2";

impl Source {
    /// What is known of addresses after one. A file of an engine that kept none has none.
    ///
    /// # Errors
    /// When the file cannot be read; so with all that follow.
    pub fn addresses(&self, after: &str, max: usize) -> StoreResult<Vec<(Address, AddressRow)>> {
        if !self.keeps_addresses()? {
            return Ok(Vec::new());
        }
        let digests: Vec<String> = self.rows(NEXT, params![after, max as i64], |row| row.get(0))?;
        let known = digests.iter().filter_map(|digest| Address::read(digest));
        known.map(|address| Ok((address.clone(), row(&self.db, &address).map_err(|why| self.fail(&why))?))).collect()
    }

    /// How many addresses customers have, each as often as she has one.
    ///
    /// # Errors
    /// As above.
    pub fn address_count(&self) -> StoreResult<u64> {
        if self.keeps_addresses()? { self.number("SELECT count(*) FROM address") } else { Ok(0) }
    }

    /// The key that signs links, if one was made.
    ///
    /// # Errors
    /// As above.
    pub fn link_key(&self) -> StoreResult<Option<Vec<u8>>> {
        meta(&self.db, LINK_KEY_NAME).map_err(|why| self.fail(&why))
    }

    fn keeps_addresses(&self) -> StoreResult<bool> {
        Ok(self.number("SELECT count(*) FROM sqlite_schema WHERE name IN ('address', 'stop')")? == 2)
    }
}
