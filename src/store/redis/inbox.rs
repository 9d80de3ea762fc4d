//! The inbox: inputs at the door.

use super::super::digest;
use super::super::{Accepted, NewInput, StoreResult};
use super::key::shard_of;
use super::pump::Op;
use super::script::Script;
use super::{Inner, value};
use crate::customer::codec::encode;
use crate::effect::Outcome;
use crate::event::InputBody;
use crate::lang::time::{DAY_MS, MINUTE_MS};

/// Ids of events are kept in portions of this length; a portion goes two lengths after it began, so an id
/// is known for at least one.
pub const SEEN_SPAN_MS: i64 = 8 * DAY_MS;
/// The same for what has no id of its own: as long as a call may be sent again, and more.
const ONCE_SPAN_MS: i64 = 10 * MINUTE_MS;

impl Inner {
    /// [`super::super::Store::accept`].
    pub async fn accept(&self, inputs: Vec<NewInput>) -> StoreResult<Vec<Accepted>> {
        let mut shards = Vec::with_capacity(inputs.len());
        let mut ops = Vec::with_capacity(inputs.len());
        {
            let mut memory = self.memory();
            for input in inputs {
                let shard = shard_of(&input.customer);
                // Her record may be about to change its gate, and she has something to read now.
                memory.recent.take(&input.customer);
                shards.push(shard);
                ops.push(letter(shard, memory.epoch(shard).is_some(), input)?);
            }
        }
        let replies = match self.all(ops).await {
            Ok(replies) => replies,
            Err(why) => {
                // Some may be there all the same.
                let (now, mut memory) = (self.clock.now().0, self.memory());
                shards.iter().for_each(|shard| memory.ready(*shard, now));
                return Err(why);
            }
        };
        let mut accepted = Vec::with_capacity(replies.len());
        let mut memory = self.memory();
        for (shard, reply) in shards.into_iter().zip(&replies) {
            accepted.push(match value::int(&reply.value) {
                0 => Accepted::New,
                1 => Accepted::Duplicate,
                _ => Accepted::Conflict,
            });
            if accepted.last() == Some(&Accepted::New) {
                memory.ready(shard, reply.now);
            }
        }
        drop(memory);
        self.notify(true, false);
        Ok(accepted)
    }
}

fn letter(shard: u16, ours: bool, input: NewInput) -> StoreResult<Op> {
    // What has no id of its own gets one for the time of the call: should the answer be lost, it is not
    // taken twice.
    let (name, span) = match &input.id {
        Some(id) => (digest::seen(&input.source, &input.customer, id), SEEN_SPAN_MS),
        None => (fresh_id()?, ONCE_SPAN_MS),
    };
    let mut op = Op::new(Script::Accept, shard);
    op.args
        .int(span)
        .push(&input.customer)
        .push(name)
        .push(input.digest.to_be_bytes())
        .push(if input.body.raises_gate() { "1" } else { "" })
        .push(if ours { "" } else { "1" })
        .push(encode(&input.body));
    Ok(op)
}

/// 8 bytes that nobody has used.
fn fresh_id() -> StoreResult<[u8; 8]> {
    let mut id = [0; 8];
    getrandom::fill(&mut id).map_err(|why| {
        super::super::StoreError::Unavailable(format!("the system gives no random numbers ({why}); check the machine"))
    })?;
    Ok(id)
}

/// The answer to an effect as an input.
pub fn result(effect: &str, outcome: Outcome) -> Vec<u8> {
    encode(&InputBody::Result { effect: effect.to_owned(), outcome })
}

/// An effect that is to be decided anew, as an input.
pub fn stale(effect: &str, why: &str) -> Vec<u8> {
    encode(&InputBody::Stale { effect: effect.to_owned(), why: why.to_owned() })
}
