//! The time of calm: nothing goes wrong any more, everything must come to rest.

use super::super::fault::at_once;
use super::{PAGE, World};
use autofunnel::lang::time::{DAY_MS, Time};
use autofunnel::store::Store;
use std::sync::atomic::Ordering;

/// Rounds after which everything must have come to rest.
const ROUNDS_MAX: usize = 20_000;
/// How long everything goes on in calm, in days.
const CALM_DAYS: i64 = 30;

impl World {
    /// Nothing goes wrong any more: everything must come to rest, and every wake come in time.
    pub(super) async fn calm(&mut self) {
        self.kill_the_dying();
        for number in self.fenced.clone() {
            self.kill(number);
        }
        while let Some((number, epoch)) = self.unburied.pop() {
            self.fence(number, epoch, true);
        }
        self.state().calm = true;
        self.state().say(|| "calm".to_owned());
        self.find_the_lost();
        if self.workers.is_empty() {
            self.start();
        }
        let end = self.workers[0].store.now().plus_ms(CALM_DAYS * DAY_MS);
        for worker in &mut self.workers {
            worker.stands_until = Time(i64::MIN);
        }
        for _ in 0..ROUNDS_MAX {
            if !self.state().judge.wrong.is_empty() {
                return;
            }
            if self.work_off().await {
                continue;
            }
            // Whoever was waited for is there now; a budget that is used up pauses its funnel again and again.
            if self.resume(0) || self.review(0) {
                continue;
            }
            let now = self.workers[0].store.now();
            let Some(next) = self.next_due(now).filter(|next| (now.plus_ms(1)..=end).contains(next)) else { return };
            self.shown.store(next.0, Ordering::SeqCst);
        }
        self.state().judge.blame(format!("there is no end to it after {ROUNDS_MAX} rounds"));
    }

    /// Does what can be done now; whether there was anything.
    async fn work_off(&mut self) -> bool {
        let before = self.state().report.progress();
        for which in 0..self.workers.len() {
            self.workers[which].turn(32);
            self.workers[which].look_for_effects(32);
        }
        let mut slept = 0;
        while self.workers.iter().any(|worker| worker.busy() > 0) {
            let polled = (0..self.workers.len()).any(|which| self.poll(which));
            if !polled {
                slept += 1;
                if slept > 1_000 {
                    self.state().judge.blame("a task waits for ever".to_owned());
                    return false;
                }
                self.pass(50).await;
            }
        }
        for worker in &mut self.workers {
            worker.take_up();
        }
        self.compare();
        let after = self.state().report.progress();
        after > before || self.workers.iter().any(|worker| worker.busy() > 0)
    }

    /// The next instant at which something is due: what customers were promised, and what the outbox says.
    fn next_due(&self, now: Time) -> Option<Time> {
        // One that is past already was put off after a fault: when it comes the store alone knows.
        let wake = self.state().judge.hers.values().filter_map(|her| her.wake).filter(|wake| *wake > now).min();
        let store = &self.workers[0].store.store;
        let due = at_once(store.outbox(PAGE)).unwrap().into_iter().map(|row| row.due).filter(|due| *due > now).min();
        wake.into_iter().chain(due).min()
    }
}
