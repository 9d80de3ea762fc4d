//! Names of keys: everything of a shard shares one hash tag, so that a script stays in one slot.
//!
//! ```text
//! af:{7}:customer:<id>   version 8, gate 4, judged 8, shown 8, document      af:{7}:account:<id>  the ledger
//! af:{7}:inbox:<id>      list of inputs: number 8, input                      af:{7}:last          the last input's number
//! af:{7}:ready           zset: customer with inputs → since when              af:{7}:wake          zset: customer → due
//! af:{7}:outbox          zset: effect → due                                   af:{7}:effect:<id>   header, effect
//! af:{256}:facts         stream: what happened, for the read side (cluster: af:{7}:facts)
//! af:{7}:followed        hash: how far each read side has followed            af:{7}:seen:<g>:<n>  ids of events, packed
//! af:{7}:lease           hash: owner, epoch, until when, what is paused       af:{7}:live          hash: live runs by version
//! af:{7}:crashes         hash: input → crash count                            af:{7}:quarantine    hash: inputs put aside
//! af:{7}:erased          set of digests                                    af:{7}:heard:<who>   number of the last batch
//! af:{7}:address:<d>     hash: who has an address, what was said about it
//! af:{7}:quantity:<name>  how many were taken of what all share
//! af:{meta}:…            the store itself, definitions, tokens, workers, the move that filled it
//! ```

use super::super::digest::spread;
use std::sync::OnceLock;

/// Shards of a store, fixed when it is made.
pub const SHARDS: u16 = 256;

/// The shard of a customer. It must never change: it says where her keys are.
pub fn shard_of(customer: &str) -> u16 {
    u16::from(spread(customer))
}

/// What a server that holds every shard keeps for all of them: no customer is in it.
pub const COMMON: u16 = SHARDS;

/// Whose fact stream a shard's facts go into. Where a script may use keys of several shards they share one stream: a
/// batch is one entry of it. In a cluster each shard has its own.
pub fn facts_of(shard: u16, spans_shards: bool) -> String {
    key(if spans_shards { COMMON } else { shard }, "facts")
}

/// All that may have a fact stream. A store moves from one server to a cluster and back.
pub fn streams() -> std::ops::RangeInclusive<u16> {
    0..=COMMON
}

static LEASES: OnceLock<Vec<String>> = OnceLock::new();

/// `af:{7}:lease`: what scripts are sent to a shard by, and make its other keys of.
pub fn lease(shard: u16) -> &'static str {
    let leases = LEASES.get_or_init(|| (0..=COMMON).map(|shard| key(shard, "lease")).collect());
    leases.get(usize::from(shard)).map_or("", String::as_str)
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
        assert_eq!(key(7, "customer:") + "{evil}", "af:{7}:customer:{evil}");
        assert_eq!(lease(255), "af:{255}:lease");
    }
}
