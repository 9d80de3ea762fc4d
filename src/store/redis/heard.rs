//! What was answered and must still be there: how a fail-over that lost something is noticed.
//!
//! A replica takes over with what it had heard, which may be less than the clients of the old server were
//! told. Where a server has replicas, every batch therefore leaves its number behind, in the slot of its keys
//! and under the name of its lane (the prelude of the scripts), and finds the number of the lane's batch
//! before. One that is smaller than what was answered is a loss; which it was is not known, and it may be an
//! attempt to send. So nothing is sent any more until an operator has looked (`watermark`).

use super::super::StoreResult;
use super::key::meta;
use super::watermark::{CONFIRMED, LOST};
use super::{Inner, value};
use redis::Cmd;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an answered batch is asked for: less than the day for which Redis keeps its number.
const ASKED_FOR: Duration = Duration::from_secs(12 * 60 * 60);
/// Numbers asked for at once.
const ASKED_MAX: usize = 256;

/// See the module.
pub struct Heard {
    /// There are replicas.
    on: bool,
    /// The last answered batch by key, and when it was answered.
    answered: Mutex<HashMap<String, (u64, Instant)>>,
    lost: AtomicBool,
}

impl Heard {
    /// Nothing was answered yet.
    pub fn new(on: bool) -> Heard {
        Heard { on, answered: Mutex::default(), lost: AtomicBool::new(false) }
    }

    /// Whether numbers are kept at all.
    pub fn is_on(&self) -> bool {
        self.on
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (u64, Instant)>> {
        // An entry is written as a whole: after a panic elsewhere it is as good as before.
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number that must be there at least; 0: none.
    pub fn floor(&self, key: &str) -> u64 {
        match self.lock().get(key) {
            Some((number, at)) if at.elapsed() < ASKED_FOR => *number,
            _ => 0,
        }
    }

    /// A batch's callers are told that it is done.
    pub fn answered(&self, key: &str, number: u64) {
        let mut answered = self.lock();
        match answered.get_mut(key) {
            Some(known) => *known = (number, Instant::now()),
            None => {
                answered.insert(key.to_owned(), (number, Instant::now()));
            }
        }
    }

    /// Compares what is there with what must be.
    pub fn compare(&self, key: &str, floor: u64, found: u64) {
        if found < floor {
            // Said once: from here on what is there is where it goes on from.
            self.lock().remove(key);
            if !self.lost.swap(true, Ordering::AcqRel) {
                tracing::error!(%key, answered = floor, found, "Redis has lost what it had answered, as a fail-over does");
            }
        }
    }

    /// Whether something was lost that nobody has noted yet; it is noted by who asks.
    pub fn take_loss(&self) -> bool {
        self.lost.load(Ordering::Acquire) && self.lost.swap(false, Ordering::AcqRel)
    }

    fn all(&self) -> Vec<(String, u64)> {
        let mut answered = self.lock();
        answered.retain(|_, (_, at)| at.elapsed() < ASKED_FOR);
        answered.iter().map(|(key, (number, _))| (key.clone(), *number)).collect()
    }
}

impl Inner {
    /// Looks whether everything that was answered is there, without waiting for the next batch of each lane.
    pub async fn compare_heard(&self) -> StoreResult<()> {
        for part in self.told.heard.all().chunks(ASKED_MAX) {
            let asked: Vec<Cmd> = part
                .iter()
                .map(|(key, _)| {
                    let mut get = redis::cmd("GET");
                    get.arg(key);
                    get
                })
                .collect();
            for ((key, floor), found) in part.iter().zip(self.plain(&asked).await?) {
                self.told.heard.compare(key, *floor, u64::try_from(value::int(&found)).unwrap_or(0));
            }
        }
        self.note_loss().await
    }

    /// Tells every worker, through Redis, of a loss that this process has noticed.
    pub async fn note_loss(&self) -> StoreResult<()> {
        if !self.told.heard.take_loss() {
            return Ok(());
        }
        if self.options.works {
            self.pause("a fail-over has lost what it had answered");
        }
        if let Err(why) = self.tell_of_loss().await {
            self.told.heard.lost.store(true, Ordering::Release);
            return Err(why);
        }
        Ok(())
    }

    async fn tell_of_loss(&self) -> StoreResult<()> {
        let mut known = redis::cmd("HGET");
        known.arg(meta("store")).arg(CONFIRMED);
        let confirmed = self.plain(&[known]).await?.first().map_or(0, value::int);
        let mut set = redis::cmd("HSET");
        set.arg(meta("store")).arg(LOST).arg(self.clock.now().0.max(confirmed + 1));
        self.plain(&[set]).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_number_than_was_answered_is_a_loss() {
        let heard = Heard::new(true);
        heard.answered("a", 3);
        heard.answered("a", 5);
        heard.compare("a", heard.floor("a"), 5);
        assert!(!heard.take_loss());
        heard.compare("a", heard.floor("a"), 4);
        assert!(heard.take_loss() && !heard.take_loss());
        assert_eq!(heard.floor("a"), 0, "it goes on from what is there");
        assert_eq!(heard.floor("b"), 0);
    }
}
