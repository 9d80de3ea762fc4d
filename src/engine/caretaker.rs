//! What goes on in the background: the look at everybody after a change of definitions, and pruning.

use super::Engine;
use crate::queue;
use std::time::Duration;
use tokio::sync::watch;

/// Customers of one step of the scan.
const SCAN_CUSTOMERS_MAX: usize = 500;
/// Pause between steps of the scan, in milliseconds: turns that somebody waits for come between.
const SCAN_PAUSE_MS: u64 = 20;
/// Time between rounds of pruning, in seconds.
const PRUNE_SECONDS: u64 = 60;
/// Pause after trouble with the store, in seconds.
const TROUBLE_SECONDS: u64 = 5;

impl Engine {
    /// Gives every customer whom other definitions judged last a turn under the present ones, so that her
    /// segments and her wake are those of today.
    pub async fn scan(&self, mut stop: watch::Receiver<bool>) {
        let hash = self.live.get().definitions.current.hash.clone();
        let (mut after, mut seen) = (String::new(), 0u64);
        loop {
            let pause = match self.store.wake_unjudged(hash.clone(), after.clone(), SCAN_CUSTOMERS_MAX).await {
                Ok(ids) => {
                    seen += ids.len() as u64;
                    match ids.last() {
                        Some(last) => after = last.clone(),
                        None if seen > 0 => {
                            tracing::info!(customers = seen, "every customer has a turn under the present definitions");
                            return;
                        }
                        None => return,
                    }
                    Duration::from_millis(SCAN_PAUSE_MS)
                }
                Err(error) => {
                    tracing::warn!(%error, "the look at everybody pauses");
                    Duration::from_secs(TROUBLE_SECONDS)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = queue::stopped(&mut stop) => return,
            }
        }
    }

    /// Drops what has outlived its retention, now and then.
    pub async fn prune(&self, mut stop: watch::Receiver<bool>) {
        loop {
            // At once after a start, too: an engine that is often started anew must not grow without bound.
            match self.store.prune().await {
                Ok(0) => {}
                Ok(rows) => tracing::debug!(rows, "dropped what has outlived its retention"),
                Err(error) => tracing::warn!(%error, "pruning failed; it is tried again"),
            }
            self.return_budgets(false).await;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(PRUNE_SECONDS)) => {}
                () = queue::stopped(&mut stop) => return,
            }
        }
    }
}
