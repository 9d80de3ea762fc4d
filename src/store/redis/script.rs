//! The scripts: one for each kind of call, each over a list of items.

use sha1::{Digest, Sha1};
use std::sync::OnceLock;

/// A script.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Script {
    /// Inputs at the door.
    Accept,
    /// Customers that need a turn.
    Claim,
    /// One customer's record.
    Take,
    /// The outcome of a turn.
    Commit,
    /// Customers given back.
    Free,
    /// Customers marked for a turn.
    Nudge,
    /// The last gate.
    Begin,
    /// Another attempt later.
    Retry,
    /// An effect's answer.
    Settle,
    /// Effects that are due.
    Effects,
    /// A failed turn.
    Fault,
    /// Inputs that were in hand at a crash.
    Suspect,
    /// Shards taken.
    Acquire,
    /// Leases lengthened or ended.
    Renew,
    /// Inputs that were put aside, put back or dropped.
    Aside,
    /// How far a read side has followed.
    Followed,
    /// What is known of addresses.
    Address,
    /// What is paused, and what waits for it no more.
    Pause,
    /// A person's word on an effect that waits.
    Waiting,
    /// A quantity that all processes share.
    Quantity,
}

const ALL: [(Script, &str); 20] = [
    (Script::Accept, include_str!("lua/accept.lua")),
    (Script::Claim, include_str!("lua/claim.lua")),
    (Script::Take, include_str!("lua/take.lua")),
    (Script::Commit, include_str!("lua/commit.lua")),
    (Script::Free, include_str!("lua/free.lua")),
    (Script::Nudge, include_str!("lua/nudge.lua")),
    (Script::Begin, include_str!("lua/begin.lua")),
    (Script::Retry, include_str!("lua/retry.lua")),
    (Script::Settle, include_str!("lua/settle.lua")),
    (Script::Effects, include_str!("lua/effects.lua")),
    (Script::Fault, include_str!("lua/fault.lua")),
    (Script::Suspect, include_str!("lua/suspect.lua")),
    (Script::Acquire, include_str!("lua/acquire.lua")),
    (Script::Renew, include_str!("lua/renew.lua")),
    (Script::Aside, include_str!("lua/aside.lua")),
    (Script::Followed, include_str!("lua/followed.lua")),
    (Script::Address, include_str!("lua/address.lua")),
    (Script::Pause, include_str!("lua/pause.lua")),
    (Script::Waiting, include_str!("lua/waiting.lua")),
    (Script::Quantity, include_str!("lua/quantity.lua")),
];

/// A script's text and the name under which Redis knows it.
pub struct Loaded {
    /// Lua, with what every script begins with.
    pub text: String,
    /// SHA-1 of the text in hexadecimal.
    pub sha: String,
}

static LOADED: OnceLock<Vec<Loaded>> = OnceLock::new();

/// All scripts in the order of [`Script`].
pub fn all() -> &'static [Loaded] {
    LOADED.get_or_init(|| {
        ALL.iter()
            .map(|(_, body)| {
                let text = format!("{}\n{body}", include_str!("lua/prelude.lua"));
                let sha = Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
                Loaded { text, sha }
            })
            .collect()
    })
}

impl Script {
    /// Its text and name.
    pub fn loaded(self) -> &'static Loaded {
        &all()[self as usize]
    }

    /// Whether somebody outside counts on what it did: an event that was answered, a commit, an attempt and its
    /// answer. The rest is done again when it is lost.
    pub fn is_promise(self) -> bool {
        match self {
            Script::Accept | Script::Commit | Script::Begin | Script::Retry | Script::Settle | Script::Fault => true,
            Script::Aside | Script::Address | Script::Pause | Script::Waiting | Script::Quantity => true,
            Script::Claim | Script::Take | Script::Free | Script::Nudge | Script::Effects | Script::Suspect => false,
            Script::Acquire | Script::Renew | Script::Followed => false,
        }
    }

    /// The failpoints before and after it.
    pub fn points(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Script::Accept => ("redis.accept.before", "redis.accept.after"),
            Script::Claim => ("redis.claim.before", "redis.claim.after"),
            Script::Commit => ("redis.commit.before", "redis.commit.after"),
            Script::Free => ("redis.free.before", "redis.free.after"),
            Script::Begin => ("redis.begin.before", "redis.begin.after"),
            Script::Retry => ("redis.retry.before", "redis.retry.after"),
            Script::Settle => ("redis.settle.before", "redis.settle.after"),
            Script::Effects => ("redis.effects.before", "redis.effects.after"),
            Script::Fault | Script::Suspect => ("redis.fault.before", "redis.fault.after"),
            Script::Acquire => ("redis.acquire.before", "redis.acquire.after"),
            Script::Renew => ("redis.renew.before", "redis.renew.after"),
            Script::Followed => ("redis.followed.before", "redis.followed.after"),
            Script::Address => ("redis.address.before", "redis.address.after"),
            Script::Quantity => ("redis.quantity.before", "redis.quantity.after"),
            Script::Take | Script::Nudge | Script::Aside | Script::Pause | Script::Waiting => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_tells_the_number_of_the_batch_before() {
        for (script, body) in ALL {
            assert!(body.trim_end().ends_with("return {now_text, replies, heard}"), "{script:?}");
        }
    }

    #[test]
    fn scripts_stand_in_the_order_of_their_names() {
        for (place, (script, _)) in ALL.iter().enumerate() {
            assert_eq!(*script as usize, place);
        }
    }
}
