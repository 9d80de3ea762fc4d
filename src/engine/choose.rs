//! The winners of splits are chosen where the figures are: by the one process of a file, by the role `report` over Redis.
//!
//! What was chosen is kept by the store, once and for good ([`crate::store::Store::choose`]): of several processes that
//! look at the same time, one is heard. It holds from a little later on, so that every worker knows of it by then, and
//! a turn is the same whichever worker does it, and when it is done again.

use super::Engine;
use crate::funnel::winner::{Test, undecided};
use crate::lang::time::{DAY_MS, Time};
use crate::queue;
use crate::stats::Asked;
use crate::step::winner::Winner;
use crate::store::StoreError;
use std::time::Duration;
use tokio::sync::watch;

/// Time between looks at the figures, in seconds.
const LOOK_SECONDS: u64 = 20;
/// A winner holds so long after it was chosen, in milliseconds of the store's clock. Processes hear of it within a second.
const HEARD_MS: i64 = 10_000;
/// Customers who entered longer ago than this are not counted, in days: as far as one question of figures goes.
const COUNTED_DAYS: i64 = 399;

impl Engine {
    /// Looks now and then whether a winner can be chosen.
    pub async fn choose_winners(&self, mut stop: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.look_for_winners().await {
                tracing::warn!(%error, "the variants of splits could not be compared; it is tried again");
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)) => {}
                () = queue::stopped(&mut stop) => return,
            }
        }
    }

    /// One look.
    async fn look_for_winners(&self) -> Result<(), StoreError> {
        let live = self.live.get();
        let tests = undecided(&live.definitions);
        if tests.is_empty() {
            return Ok(());
        }
        let now = self.store.now();
        let zone = live.definitions.current.settings.zone;
        for test in tests {
            let from = now.plus_ms(-COUNTED_DAYS * DAY_MS).date(zone).to_string();
            let asked =
                Asked { funnel: test.funnel.to_owned(), from, to: now.date(zone).to_string(), by_day: false, live: false };
            let counted = self.store.stats(asked).await?;
            let arms = test.arms(&counted.cohorts, zone, now);
            if let Some(winner) = test.winner(arms, now.plus_ms(HEARD_MS)) {
                self.keep_winner(&test, winner).await?;
            }
        }
        Ok(())
    }

    async fn keep_winner(&self, test: &Test<'_>, winner: Winner) -> Result<(), StoreError> {
        let (why, from): (String, Time) = (winner.why(), winner.from);
        let variant = winner.variant.clone();
        // Whoever follows what is applied hears of it, here as elsewhere.
        if self.store.choose(winner).await? {
            tracing::warn!(funnel = %test.funnel, split = %test.step, %variant, %from, %why, "the winner of a split was chosen");
        }
        Ok(())
    }

    /// Takes the winners that the store has, if they are others than are known here. Nobody else may exchange the
    /// definitions meanwhile.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn hear_of_winners(&self) -> Result<(), StoreError> {
        let winners = self.store.winners().await?;
        let live = self.live.get();
        if *live.definitions.winners != winners {
            self.live.swap(live.with_winners(winners));
        }
        Ok(())
    }
}
