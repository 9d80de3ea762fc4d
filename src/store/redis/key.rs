//! Names of keys: everything of a shard shares one hash tag, so that a script stays in one slot.
//!
//! ```text
//! af:{7}:customer:<id>   version 8, gate 4, judged 8, shown 8, document      af:{7}:account:<id>  the ledger
//! af:{7}:inbox:<id>      list of inputs: number 8, input                      af:{7}:head          counters of the shard
//! af:{7}:ready           zset: customer with inputs → since when              af:{7}:wake          zset: customer → due
//! af:{7}:outbox          zset: effect → due                                   af:{7}:effect:<id>   header, effect
//! af:{7}:facts           stream: what happened, for the read side             af:{7}:seen:<g>:<n>  ids of events, packed
//! af:{7}:lease           hash: owner, epoch, until when                       af:{7}:live          hash: live runs by version
//! af:{7}:crashes         hash: input → crash count                            af:{7}:quarantine    hash: inputs put aside
//! af:{7}:erased          set of digests
//! af:{meta}:…            the store itself, definitions, tokens, workers
//! ```

use super::args::Args;
use sha2::{Digest, Sha256};

/// Shards of a store, fixed when it is made.
pub const SHARDS: u16 = 256;

/// The shard of a customer. It must never change: it says where her keys are.
pub fn shard_of(customer: &str) -> u16 {
    u16::from(Sha256::digest(customer.as_bytes())[0])
}

/// `af:{7}:`.
pub fn prefix(shard: u16) -> String {
    format!("af:{{{shard}}}:")
}

/// `af:{7}:name`.
pub fn key(shard: u16, name: &str) -> String {
    format!("af:{{{shard}}}:{name}")
}

/// `af:{meta}:name`, of the store as a whole.
pub fn meta(name: &str) -> String {
    format!("af:{{meta}}:{name}")
}

/// The channel on which a worker is told that a shard of its has work.
pub fn bell(worker: &str) -> String {
    format!("af:bell:{worker}")
}

/// Adds keys of one shard.
pub struct Keys {
    prefix: String,
    /// The keys.
    pub list: Args,
}

impl Keys {
    /// Of a shard.
    pub fn new(shard: u16) -> Keys {
        Keys { prefix: prefix(shard), list: Args::default() }
    }

    /// Keys of the shard itself.
    pub fn of(mut self, names: &[&str]) -> Keys {
        for name in names {
            self.list.join(&[self.prefix.as_bytes(), name.as_bytes()]);
        }
        self
    }

    /// A key of a customer or an effect: `record:<id>`.
    pub fn with(mut self, kind: &str, id: &str) -> Keys {
        self.add(kind, id);
        self
    }

    /// The same, in place.
    pub fn add(&mut self, kind: &str, id: &str) {
        self.list.join(&[self.prefix.as_bytes(), kind.as_bytes(), id.as_bytes()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_never_changes_her_shard() {
        // Fixed values: another function would lose every customer of an existing store.
        assert_eq!([shard_of("anna"), shard_of("bert"), shard_of("")], [85, 50, 227]);
        let mut used: Vec<u16> = (0..5_000).map(|n| shard_of(&format!("c{n}"))).collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), usize::from(SHARDS));
    }

    #[test]
    fn a_brace_in_an_id_does_not_move_its_key() {
        let keys = Keys::new(7).with("customer:", "{evil}").of(&["wake"]);
        assert_eq!(keys.list.iter().collect::<Vec<_>>(), [b"af:{7}:customer:{evil}".as_slice(), b"af:{7}:wake"]);
    }
}
