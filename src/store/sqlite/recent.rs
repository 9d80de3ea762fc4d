//! Records of customers whose effects are on their way: their answers will want them in a moment.
//!
//! A copy of what the last commit wrote, within a bound of bytes; the oldest goes first. It is taken out
//! when she is claimed and put back by the next commit, so it can never be older than the file.

use super::super::Record;
use super::flight::Flight;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Bytes of an entry besides the record's own.
const ENTRY_BYTES: usize = 200;

struct Kept {
    flight: Flight,
    record: Record,
    /// Which of her entries in the queue this is.
    stamp: u64,
}

/// See the module.
pub struct Recent {
    kept: HashMap<Arc<str>, Kept>,
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
    pub fn put(&mut self, customer: Arc<str>, flight: Flight, record: Record) {
        self.take(&customer);
        self.stamp += 1;
        self.bytes += bytes(&record);
        self.queue.push_back((customer.clone(), self.stamp));
        self.kept.insert(customer, Kept { flight, record, stamp: self.stamp });
        // Entries of the queue whose record was taken out are let go with the others.
        while self.bytes > self.bytes_max || self.queue.len() > 2 * self.kept.len() + 64 {
            let Some((customer, stamp)) = self.queue.pop_front() else { break };
            if self.kept.get(&customer).is_some_and(|kept| kept.stamp == stamp) {
                self.take(&customer);
            }
        }
    }

    /// Takes a record out.
    pub fn take(&mut self, customer: &str) -> Option<(Flight, Record)> {
        let kept = self.kept.remove(customer)?;
        self.bytes -= bytes(&kept.record);
        Some((kept.flight, kept.record))
    }

    /// Her gate, if her record is here.
    pub fn gate(&self, customer: &str) -> Option<u32> {
        self.kept.get(customer).map(|kept| kept.record.gate)
    }

    /// Her gate was raised.
    pub fn raise_gate(&mut self, customer: &str) {
        if let Some(kept) = self.kept.get_mut(customer) {
            kept.record.gate += 1;
            kept.flight.gate += 1;
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
        recent.put(Arc::from(customer), Flight::default(), Record { document: vec![0; bytes], ..Record::default() });
    }

    #[test]
    fn the_oldest_goes_when_the_room_is_full() {
        let mut recent = Recent::new(3 * (100 + ENTRY_BYTES));
        for customer in ["a", "b", "c", "a", "d"] {
            put(&mut recent, customer, 100);
        }
        assert!(recent.take("b").is_none());
        assert!(["a", "c", "d"].iter().all(|customer| recent.take(customer).is_some()));
        assert_eq!((recent.bytes, recent.kept.len()), (0, 0));
        put(&mut recent, "large", 10_000);
        assert!(recent.take("large").is_none(), "what does not fit is not kept");
    }

    #[test]
    fn the_queue_does_not_grow_when_records_come_and_go() {
        let mut recent = Recent::new(1_000_000);
        for _ in 0..10_000 {
            put(&mut recent, "a", 10);
            recent.take("a");
        }
        assert!(recent.queue.len() < 100, "{}", recent.queue.len());
    }
}
