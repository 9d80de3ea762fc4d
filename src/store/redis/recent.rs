//! Records of customers whose effects are on their way: their answers will want them in a moment.
//!
//! A copy of what the last commit wrote, within a bound of bytes; the oldest goes first. It may be out of
//! date when another process has moved her: the version check of the commit finds out.

use super::super::Record;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Bytes of an entry besides the record's own.
const ENTRY_BYTES: usize = 240;

/// A kept record.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The epoch in which her shard was ours.
    pub epoch: u64,
    /// Her place in the index of wakes; empty: none.
    pub wake_at: String,
    /// Digest of her line in the list of customers.
    pub shown: u64,
    /// Her record.
    pub record: Record,
}

/// See the module.
pub struct Recent {
    kept: HashMap<Arc<str>, (Kept, u64)>,
    queue: VecDeque<(Arc<str>, u64)>,
    bytes: usize,
    bytes_max: usize,
    stamp: u64,
}

impl Recent {
    /// Empty.
    pub fn new(bytes_max: usize) -> Recent {
        Recent { kept: HashMap::new(), queue: VecDeque::new(), bytes: 0, bytes_max, stamp: 0 }
    }

    /// Keeps a record.
    pub fn put(&mut self, customer: Arc<str>, kept: Kept) {
        self.take(&customer);
        self.stamp += 1;
        self.bytes += bytes(&kept.record);
        self.queue.push_back((customer.clone(), self.stamp));
        self.kept.insert(customer, (kept, self.stamp));
        // Entries of the queue whose record was taken out are let go with the others.
        while self.bytes > self.bytes_max || self.queue.len() > 2 * self.kept.len() + 64 {
            let Some((customer, stamp)) = self.queue.pop_front() else { break };
            if self.kept.get(&customer).is_some_and(|kept| kept.1 == stamp) {
                self.take(&customer);
            }
        }
    }

    /// Takes a record out.
    pub fn take(&mut self, customer: &str) -> Option<Kept> {
        let (kept, _) = self.kept.remove(customer)?;
        self.bytes -= bytes(&kept.record);
        Some(kept)
    }

    /// Keeps only some.
    pub fn retain(&mut self, fits: impl Fn(&str) -> bool) {
        let gone: Vec<Arc<str>> = self.kept.keys().filter(|customer| !fits(customer)).cloned().collect();
        for customer in gone {
            self.take(&customer);
        }
    }
}

fn bytes(record: &Record) -> usize {
    record.document.len() + record.account.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(recent: &mut Recent, customer: &str, bytes: usize) {
        let record = Record { document: vec![0; bytes], ..Record::default() };
        recent.put(Arc::from(customer), Kept { record, ..Kept::default() });
    }

    #[test]
    fn the_oldest_goes_when_the_room_is_full() {
        let mut recent = Recent::new(3 * (100 + ENTRY_BYTES));
        for customer in ["a", "b", "c", "a", "d"] {
            put(&mut recent, customer, 100);
        }
        assert!(recent.take("b").is_none());
        recent.retain(|customer| customer != "c");
        assert!(["a", "d"].iter().all(|customer| recent.take(customer).is_some()));
        assert_eq!((recent.bytes, recent.kept.len()), (0, 0));
        put(&mut recent, "large", 10_000);
        assert!(recent.take("large").is_none(), "what does not fit is not kept");
        for _ in 0..10_000 {
            put(&mut recent, "a", 10);
            recent.take("a");
        }
        assert!(recent.queue.len() < 100, "{}", recent.queue.len());
    }
}
