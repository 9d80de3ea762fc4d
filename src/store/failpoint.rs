//! Named places at which a test may end the process, as a power cut would.
//!
//! `AUTOFUNNEL_CRASH_AT=name:n` aborts the process when the place `name` is reached for the `n`-th time.
//! Without the variable a failpoint costs one load and one branch.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that arms a failpoint.
pub const CRASH_AT_VARIABLE: &str = "AUTOFUNNEL_CRASH_AT";

/// Every failpoint of the stores, for the crash tests.
const NAMES: &[&str] = &[
    "sqlite.accept.before",
    "sqlite.accept.after",
    "sqlite.claim.before",
    "sqlite.claim.after",
    "sqlite.commit.before",
    "sqlite.commit.after",
    "sqlite.fault.before",
    "sqlite.fault.after",
    "sqlite.begin.before",
    "sqlite.begin.after",
    "sqlite.retry.before",
    "sqlite.retry.after",
    "sqlite.settle.before",
    "sqlite.settle.after",
    "sqlite.keep.before",
    "sqlite.keep.after",
    "sqlite.prune.before",
    "sqlite.prune.after",
    "sqlite.open.before",
    "sqlite.open.after",
    "sqlite.close.before",
    "sqlite.close.after",
    "redis.accept.before",
    "redis.accept.after",
    "redis.claim.before",
    "redis.claim.after",
    "redis.commit.before",
    "redis.commit.after",
    "redis.free.before",
    "redis.free.after",
    "redis.begin.before",
    "redis.begin.after",
    "redis.retry.before",
    "redis.retry.after",
    "redis.settle.before",
    "redis.settle.after",
    "redis.effects.before",
    "redis.effects.after",
    "redis.fault.before",
    "redis.fault.after",
    "redis.acquire.before",
    "redis.acquire.after",
    "redis.renew.before",
    "redis.renew.after",
    "redis.followed.before",
    "redis.followed.after",
    "redis.address.before",
    "redis.address.after",
    "redis.quantity.before",
    "redis.quantity.after",
];

struct Armed {
    name: String,
    left: AtomicU64,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

/// Ends the process here if the environment asked for it.
pub fn failpoint(name: &'static str) {
    let Some(armed) = ARMED.get_or_init(|| std::env::var(CRASH_AT_VARIABLE).ok().and_then(|text| parse(&text))) else {
        return;
    };
    if armed.name == name && armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        std::process::abort();
    }
}

/// The names of all failpoints of the stores.
pub fn failpoint_names() -> &'static [&'static str] {
    NAMES
}

/// `name:n` or `name` (the first time). Anything else is said aloud: a crash test that crashes nothing
/// would pass for the wrong reason.
fn parse(text: &str) -> Option<Armed> {
    let (name, count) = text.rsplit_once(':').unwrap_or((text, "1"));
    match count.parse::<u64>() {
        Ok(count) if count > 0 && !name.is_empty() => Some(Armed { name: name.to_owned(), left: AtomicU64::new(count) }),
        _ => {
            tracing::error!(
                "{CRASH_AT_VARIABLE}={text} is not understood; write the name of a failpoint and a count, as `sqlite.commit.before:3`"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_is_named_with_a_count() {
        let armed = parse("sqlite.commit.before:3").unwrap();
        assert_eq!((armed.name.as_str(), armed.left.into_inner()), ("sqlite.commit.before", 3));
        assert_eq!(parse("sqlite.open.after").unwrap().left.into_inner(), 1);
        for wrong in ["a:0", "a:b", ":1", ""] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn names_are_unique() {
        let distinct: std::collections::BTreeSet<_> = NAMES.iter().collect();
        assert_eq!(distinct.len(), NAMES.len());
    }
}
