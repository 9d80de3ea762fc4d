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
use std::sync::atomic::{AtomicI64, Ordering};
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
    /// When the last batch of those that were lost had been answered, in milliseconds of the store's clock; 0: none
    /// was lost, or it was noted.
    lost: AtomicI64,
}

impl Heard {
    /// Nothing was answered yet.
    pub fn new(on: bool) -> Heard {
        Heard { on, answered: Mutex::default(), lost: AtomicI64::new(0) }
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
    pub fn compare(&self, key: &str, floor: u64, found: u64, now: i64) {
        if found >= floor {
            return;
        }
        // Said once: from here on what is there is where it goes on from.
        let Some((_, at)) = self.lock().remove(key) else { return };
        let answered = now - i64::try_from(at.elapsed().as_millis()).unwrap_or(0);
        if self.lost.fetch_max(answered.max(1), Ordering::AcqRel) == 0 {
            tracing::error!(%key, answered = floor, found, "Redis has lost what it had answered, as a fail-over does");
        }
    }

    fn take_loss(&self) -> i64 {
        match self.lost.load(Ordering::Acquire) {
            0 => 0,
            _ => self.lost.swap(0, Ordering::AcqRel),
        }
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
                self.told.heard.compare(key, *floor, u64::try_from(value::int(&found)).unwrap_or(0), self.clock.now().0);
            }
        }
        self.note_loss().await
    }

    /// Tells every worker, through Redis, of a loss that this process has noticed.
    pub async fn note_loss(&self) -> StoreResult<()> {
        let lost = self.told.heard.take_loss();
        if lost == 0 {
            return Ok(());
        }
        let told = self.tell_of_loss(lost).await;
        if told.is_err() {
            self.told.heard.lost.fetch_max(lost, Ordering::AcqRel);
        }
        // Not when an operator has looked since: others had noticed before.
        if self.options.works && !matches!(told, Ok(false)) {
            self.stop_sends("a fail-over has lost what it had answered");
        }
        told.map(|_| ())
    }

    /// Whether it is news.
    async fn tell_of_loss(&self, lost: i64) -> StoreResult<bool> {
        let mut known = redis::cmd("HMGET");
        known.arg(meta("store")).arg(CONFIRMED).arg(LOST);
        let known = self.plain(&[known]).await?.into_iter().flat_map(value::list).map(|at| value::int(&at));
        let known: Vec<i64> = known.collect();
        if known.first().is_some_and(|confirmed| *confirmed >= lost) {
            return Ok(false);
        }
        if known.get(1).is_none_or(|before| *before < lost) {
            let mut set = redis::cmd("HSET");
            set.arg(meta("store")).arg(LOST).arg(lost);
            self.plain(&[set]).await?;
        }
        Ok(true)
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
        heard.compare("a", heard.floor("a"), 5, 9_000_000);
        assert_eq!(heard.take_loss(), 0);
        heard.compare("a", heard.floor("a"), 4, 9_000_000);
        // It is as old as what was lost, and told once.
        assert!((8_000_000..=9_000_000).contains(&heard.take_loss()));
        assert_eq!(heard.take_loss(), 0);
        assert_eq!(heard.floor("a"), 0, "it goes on from what is there");
        assert_eq!(heard.floor("b"), 0);
    }
}
