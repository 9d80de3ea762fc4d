//! What happens to workers, clocks, store and provider in the time of trouble.

use super::super::fault::at_once;
use super::super::outside;
use super::{Ground, PAGE, WORKERS_MAX, World};
use autofunnel::lang::time::{DAY_MS, HOUR_MS};
use std::sync::atomic::Ordering;

/// The clock jumps ahead only this long, in days: second deliveries are known for 35.
const JUMPS_DAYS: i64 = 18;
/// Most calls in a row that a store that broke down does not answer: more than any worker makes in vain
/// for one and the same thing.
const CALLS_DOWN_MAX: usize = 400;

impl World {
    pub(super) fn chaos(&mut self, which: usize) {
        let (now, number) = (self.now(), self.workers[which].number);
        let what = self.roll(23);
        let note = |world: &World, what: &'static str| {
            let mut state = world.state();
            state.report.add("chaos", what);
            state.say(|| format!("{what} at {now}"));
        };
        match (what, &self.ground) {
            (0 | 1, Ground::Model(_)) if self.workers.len() < WORKERS_MAX => self.start(),
            (2 | 3, Ground::Model(_)) if !self.unburied.is_empty() => {
                let (number, epoch) = self.unburied.remove(0);
                self.fence(number, epoch, true);
            }
            (4 | 5, Ground::Model(model)) => {
                let claimed = model.truth().claimed();
                if !claimed.is_empty() {
                    let customer = &claimed[self.roll(claimed.len())];
                    model.truth().let_lapse(customer);
                    note(self, "a claim ran out");
                }
            }
            (6, _) => {
                self.workers[which].stands_until = now.plus_ms(self.roll(HOUR_MS as usize) as i64);
                note(self, "a worker stands still");
                let seat = self.seats.iter().find(|(of, _)| *of == number).map(|(_, seat)| seat.epoch);
                if let Some(epoch) = seat.filter(|_| self.roll(3) == 0 && !self.fenced.contains(&number)) {
                    self.fenced.push(number);
                    self.fence(number, epoch, true);
                }
            }
            (7, _) => self.find_the_lost(),
            (8, _) => {
                let until = now.plus_ms(self.roll(20_000) as i64);
                let calls = if self.roll(4) == 0 { self.roll(CALLS_DOWN_MAX) as u32 } else { 0 };
                let mut state = self.state();
                (state.store_down, state.calls_down) = (until, calls);
                drop(state);
                note(self, "the store broke down");
            }
            (9, _) if self.roll(2) == 0 => outside::break_down(&mut self.state(), now),
            (10, _) if self.roll(2) == 0 && now < self.start.plus_ms(JUMPS_DAYS * DAY_MS) => {
                self.shown.fetch_add(HOUR_MS + self.roll(30 * HOUR_MS as usize) as i64, Ordering::SeqCst);
                note(self, "the clock jumped ahead");
            }
            (11, _) => {
                self.shown.fetch_sub(self.roll(HOUR_MS as usize) as i64, Ordering::SeqCst);
                note(self, "the clock jumped back");
            }
            (12, _) if self.fenced.contains(&number) || self.roll(8) == 0 => self.kill(number),
            (13, _) => {
                note(self, "pruned");
                let pruned = at_once(self.workers[which].store.store.prune());
                if let Err(why) = pruned
                    && !self.fenced.contains(&number)
                {
                    self.state().judge.blame(format!("pruning failed: {why}"));
                }
            }
            (14, _) if !self.edited => {
                note(self, "the workspace was edited");
                self.apply();
            }
            (15 | 16, Ground::Model(_)) => {
                let seat = self.seats.iter().find(|(of, _)| *of == number).map(|(_, seat)| seat.epoch);
                if let Some(epoch) = seat.filter(|_| !self.fenced.contains(&number)) {
                    self.fence(number, epoch, false);
                }
            }
            (17 | 18, _) => self.pause(which),
            (19..=22, _) => drop(self.resume(which)),
            _ => {}
        }
    }

    /// Somebody has edited the workspace. Who starts from now on does so under the new one, beside those that
    /// have been started under the old one; and everybody is looked at.
    fn apply(&mut self) {
        self.edited = true;
        if self.setup.embedded {
            self.kill(self.workers[0].number);
        }
        self.start();
        let store = self.workers[self.workers.len() - 1].store.store.clone();
        let hash = self.stage.edited.current.hash.clone();
        match at_once(store.wake_unjudged(hash, String::new(), PAGE)) {
            Ok(customers) => self.state().judge.nudged(&customers),
            Err(why) => self.state().judge.blame(format!("nobody can be looked at after an edit: {why}")),
        }
    }

    /// What was handed out to nobody comes back.
    pub(super) fn find_the_lost(&mut self) {
        let mut state = self.state();
        let (claims, effects) = (std::mem::take(&mut state.lost_claims), std::mem::take(&mut state.lost_effects));
        drop(state);
        if let Ground::Model(model) = &self.ground {
            let mut truth = model.truth();
            claims.iter().for_each(|customer| truth.let_lapse(customer));
            for (number, effect, ticket) in effects {
                let epoch = self.epochs.iter().find(|(of, _)| *of == number).map(|(_, epoch)| *epoch);
                truth.hand_back(epoch.unwrap_or_default(), &effect, ticket);
            }
        }
    }
}
