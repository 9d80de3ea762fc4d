//! What callers and the writer's thread both see: the clock, what there is to claim, and memory while the
//! writer does not need it.

use super::super::Work;
use super::Options;
use super::flight::Taken;
use super::memory::Memory;
use crate::lang::time::Time;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What callers and the writer both see.
pub struct Shared {
    /// Settings.
    pub options: Options,
    /// The latest instant given out.
    latest: AtomicI64,
    /// Nothing is taken any more.
    pub closed: AtomicBool,
    /// Customers that need a turn.
    pub turns: Signal,
    /// Effects that need delivery.
    pub effects: Signal,
    /// Rows of the inbox.
    pub inbox_rows: AtomicU64,
    /// Rows of the outbox.
    pub outbox_rows: AtomicU64,
    /// The writer's memory, while it waits for the disk or for work.
    parked: Mutex<Option<Memory>>,
}

/// Whether there is something to claim, and when.
pub struct Signal {
    /// How many are ready now.
    pub ready: AtomicU64,
    /// The clock's instant at which the next one is due.
    pub next: AtomicI64,
    /// Told of every change.
    pub changed: Notify,
}

impl Signal {
    fn new() -> Signal {
        Signal { ready: AtomicU64::new(0), next: AtomicI64::new(i64::MAX), changed: Notify::new() }
    }

    /// Tells what is known now.
    pub fn set(&self, ready: u64, next: i64, now: i64) {
        let before = (self.ready.swap(ready, Ordering::AcqRel), self.next.swap(next, Ordering::AcqRel));
        // A sleeper is woken for what it cannot know: work that is there, or an earlier instant.
        if ready > 0 || next <= now || next < before.1 {
            self.changed.notify_waiters();
        }
    }
}

impl Shared {
    /// With nothing known yet.
    pub fn new(options: Options) -> Shared {
        Shared {
            options,
            latest: AtomicI64::new(i64::MIN),
            closed: AtomicBool::new(false),
            turns: Signal::new(),
            effects: Signal::new(),
            inbox_rows: AtomicU64::new(0),
            outbox_rows: AtomicU64::new(0),
            parked: Mutex::new(None),
        }
    }

    /// The clock; it never goes back.
    pub fn now(&self) -> Time {
        let now = (self.options.clock)().0;
        Time(self.latest.fetch_max(now, Ordering::AcqRel).max(now))
    }

    /// The clock shall not be before an instant of the past that is on record.
    pub fn not_before(&self, time: Time) {
        self.latest.fetch_max(time.0, Ordering::AcqRel);
    }

    /// Claims a customer if memory alone can answer and is at hand.
    pub fn take(&self, customer: &str) -> Taken {
        match self.parked().as_mut() {
            Some(memory) => memory.take(customer, self.now()),
            None => Taken::Unknown,
        }
    }

    /// Where memory is parked.
    pub fn parked(&self) -> MutexGuard<'_, Option<Memory>> {
        // Memory is only ever put in or taken out whole: a poisoned lock is as good as a sound one.
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The signal of one kind of work.
    pub fn signal(&self, which: Work) -> &Signal {
        match which {
            Work::Turns => &self.turns,
            Work::Effects => &self.effects,
        }
    }
}
