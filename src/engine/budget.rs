//! Budgets of rewards, over all workers: points are taken in chunks from the store's one counter and used up here,
//! before a grant is booked or sent.
//!
//! What is booked was always taken before, so a budget is never exceeded. It can be used up a little early: what a
//! process has taken and not used when it is killed comes back only with the next period (a chunk is a 200th of the
//! budget, and less when it runs out); a process that stops or is idle gives its chunks back.

use super::Engine;
use crate::effect::{EffectKind, Outcome};
use crate::funnel::settings::Settings;
use crate::funnel::settings::budget::Budget;
use crate::lang::time::{DAY_MS, MINUTE_MS, Time};
use crate::store::pause::{PAUSED, Pausable, Pause, Pauses, RECHECK_MS, Under};
use crate::store::quantity::Quantity;
use crate::store::{Delivery, StoreError};
use crate::turn::budget::{BUDGET, alert, concerned, refusal};
use std::collections::HashMap;
use tokio::sync::Mutex;

/// A chunk is this part of a budget.
const CHUNKS: i64 = 200;
/// A chunk that was not used for so long goes back, in milliseconds.
const IDLE_MS: i64 = MINUTE_MS;
/// What was taken for an effect that nobody heard of again is forgotten after this, in milliseconds.
const UNHEARD_MS: i64 = DAY_MS;
/// Pause before a customer who is busy is asked for again.
const BUSY_MS: i64 = 5;

/// What this process has taken and not used.
#[derive(Default)]
pub struct Budgets {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    chunks: HashMap<String, Chunk>,
    /// What was taken for effects whose fate is open: quantities and points, and since when.
    taken: HashMap<String, Taken>,
}

/// What was taken for an effect.
struct Taken {
    parts: Vec<(Quantity, i64)>,
    since: Time,
    /// The hand-outs of the effect that count on it: whose lease has run out may go on beside the next one.
    by: Vec<u64>,
    /// It may have been used: nobody gives it back before the answer is known.
    kept: bool,
}

struct Chunk {
    left: i64,
    used: Time,
}

/// A budget that has no room.
pub(super) struct Breach {
    sentence: String,
    quantity: Quantity,
}

impl Held {
    fn put_back(&mut self, parts: Vec<(Quantity, i64)>, now: Time) {
        for (quantity, points) in parts {
            // Of a period that is over nothing can be used any more.
            if quantity.until.is_none_or(|until| now < until) {
                let chunk = self.chunks.entry(quantity.name).or_insert(Chunk { left: 0, used: now });
                chunk.left += points;
            }
        }
    }
}

impl Engine {
    /// Takes the points of a grant out of every budget that concerns it; the answer is the one that has no room.
    pub(super) async fn reserve(&self, settings: &Settings, delivery: &Delivery) -> Result<Option<Breach>, StoreError> {
        let effect = &delivery.effect;
        let EffectKind::Grant(grant) = &effect.kind else { return Ok(None) };
        let budgets: Vec<Budget> = concerned(settings, &effect.funnel).cloned().collect();
        if budgets.is_empty() {
            return Ok(None);
        }
        let now = self.store.now();
        let mut held = self.budgets.held.lock().await;
        if let Some(taken) = held.taken.get_mut(&effect.id) {
            taken.by.push(delivery.ticket);
            return Ok(None);
        }
        let mut parts: Vec<(Quantity, i64)> = Vec::new();
        for budget in budgets {
            let (name, until) = budget.period(now, settings.zone);
            let quantity = Quantity { name, most: budget.points, until };
            let left = held.chunks.get(&quantity.name).map_or(0, |chunk| chunk.left);
            let least = grant.points - left;
            if least > 0 {
                let want = least.max(budget.points / CHUNKS);
                let got = self.patiently(|| self.store.take_quantity(quantity.clone(), least, want)).await?;
                if got < least {
                    held.put_back(parts, now);
                    return Ok(Some(Breach { sentence: budget.sentence.clone(), quantity }));
                }
                held.put_back(vec![(quantity.clone(), got)], now);
            }
            let chunk = held.chunks.entry(quantity.name.clone()).or_insert(Chunk { left: 0, used: now });
            chunk.left -= grant.points;
            chunk.used = now;
            parts.push((quantity, grant.points));
        }
        let taken = Taken { parts, since: now, by: vec![delivery.ticket], kept: false };
        held.taken.insert(effect.id.clone(), taken);
        Ok(None)
    }

    /// What came of a grant: what it did not need is free again.
    pub(super) async fn reserved(&self, delivery: &Delivery, outcome: &Outcome) {
        if !matches!(delivery.effect.kind, EffectKind::Grant(_)) {
            return;
        }
        match outcome {
            Outcome::Accepted { .. } | Outcome::Unknown { .. } => {
                drop(self.budgets.held.lock().await.taken.remove(&delivery.effect.id))
            }
            // What is parked is sent again when that can be, and takes its points then.
            Outcome::Refused { .. } | Outcome::Dead { .. } | Outcome::Parked { .. } => {
                self.keep_reserved(delivery, false).await;
                self.unreserved(delivery).await;
            }
        }
    }

    /// What was taken for a grant may have been used (or is known not to have been).
    pub(super) async fn keep_reserved(&self, delivery: &Delivery, kept: bool) {
        if let Some(taken) = self.budgets.held.lock().await.taken.get_mut(&delivery.effect.id) {
            taken.kept = kept;
        }
    }

    /// A grant is tried again later, by whoever gets it then; nothing of it can have happened in this hand-out.
    pub(super) async fn unreserved(&self, delivery: &Delivery) {
        if !matches!(delivery.effect.kind, EffectKind::Grant(_)) {
            return;
        }
        let mut held = self.budgets.held.lock().await;
        let Some(taken) = held.taken.get_mut(&delivery.effect.id) else { return };
        taken.by.retain(|ticket| *ticket != delivery.ticket);
        if taken.kept || !taken.by.is_empty() {
            return;
        }
        if let Some(taken) = held.taken.remove(&delivery.effect.id) {
            held.put_back(taken.parts, self.store.now());
        }
    }

    /// A budget has no room: the grant is refused, the funnel is paused, and a person is told once. What comes after it
    /// waits for the end of the pause.
    pub(super) async fn over_budget(&self, live: &super::Live, delivery: &Delivery, breach: Breach) -> Result<(), StoreError> {
        let effect = &delivery.effect;
        let Some(claim) = self.patiently(|| self.store.take(effect.customer.clone())).await? else {
            let due = self.store.now().plus_ms(BUSY_MS);
            return self.put_back(delivery, due, "the customer was busy".to_owned(), false).await;
        };
        let pauses = self.patiently(|| self.store.pauses()).await?;
        if Pauses::new(pauses).hold(Under::of(effect)) {
            self.patiently(|| self.store.release(vec![effect.customer.clone()])).await?;
            return self.put_back(delivery, self.store.now().plus_ms(RECHECK_MS), PAUSED.to_owned(), false).await;
        }
        let why = refusal(&breach.sentence);
        let name = format!("{} breached by {}", breach.quantity.name, effect.funnel);
        let told = Quantity { name, most: 1, until: breach.quantity.until };
        let first = self.patiently(|| self.store.take_quantity(told.clone(), 1, 1)).await? > 0;
        let pause = Pause {
            of: Pausable::Funnel(effect.funnel.clone()),
            since: self.store.now(),
            by: BUDGET.to_owned(),
            why: breach.sentence.clone(),
        };
        self.patiently(|| self.store.pause(pause.clone())).await?;
        let mut facts = Vec::new();
        tracing::error!(funnel = %effect.funnel, budget = %breach.sentence, "a budget is used up; the funnel is paused");
        if first {
            facts.push(alert(effect, &breach.sentence, claim.now));
        }
        self.settle_with(live, claim, delivery, Some(Outcome::Refused { why }), facts).await
    }

    /// Gives chunks back: all, or those that were not used for a while.
    pub async fn return_budgets(&self, all: bool) {
        let now = self.store.now();
        let mut back: Vec<(String, i64)> = Vec::new();
        {
            let mut held = self.budgets.held.lock().await;
            held.chunks.retain(|name, chunk| {
                let stays = !all && now.since_ms(chunk.used) < IDLE_MS;
                if !stays && chunk.left > 0 {
                    back.push((name.clone(), chunk.left));
                }
                stays
            });
            held.taken.retain(|_, taken| now.since_ms(taken.since) < UNHEARD_MS);
        }
        for (name, count) in back {
            // Asked once: what is given back twice would be given away twice.
            if let Err(error) = self.store.return_quantity(name, count).await {
                tracing::warn!(%error, count, "a part of a budget could not be given back; it is missing until the period ends");
            }
        }
    }
}
