//! What goes on in the background: the look at everybody after a change of definitions, and pruning.

use super::Engine;
use crate::queue;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;

/// Customers of one step of the scan.
const SCAN_CUSTOMERS_MAX: usize = 500;
/// Pause between steps of the scan, in milliseconds: turns that somebody waits for come between.
const SCAN_PAUSE_MS: u64 = 20;
/// Most times that everybody is looked at after one change.
const PASSES_MAX: u32 = 20;
/// Pause before everybody is looked at once more, in milliseconds.
const PASS_PAUSE_MS: u64 = 1_000;
/// Pause between looks whether other definitions have come into force, in milliseconds.
const CHANGE_PAUSE_MS: u64 = 200;
/// Time between rounds of pruning, in seconds.
const PRUNE_SECONDS: u64 = 60;
/// Pause after trouble with the store, in seconds.
const TROUBLE_SECONDS: u64 = 5;

impl Engine {
    /// Looks at everybody now, and again whenever other definitions have come into force.
    pub async fn scan(&self, mut stop: watch::Receiver<bool>) {
        loop {
            let hash = self.live.get().definitions.current.hash.clone();
            self.meter.scanned.store(0, Relaxed);
            self.meter.scanning.store(true, Relaxed);
            let goes_on = self.scan_under(&hash, &mut stop).await;
            self.meter.scanning.store(false, Relaxed);
            if !goes_on {
                return;
            }
            while self.live.get().definitions.current.hash == hash {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(CHANGE_PAUSE_MS)) => {}
                    () = queue::stopped(&mut stop) => return,
                }
            }
        }
    }

    /// Gives every customer whom other definitions judged last a turn under the present ones, so that her segments, her
    /// runs and her wake are those of today. A worker beside may take her before it has heard of the present ones: whoever
    /// is left over is looked for again. Ends early when others have come into force; false: it was stopped.
    async fn scan_under(&self, hash: &str, stop: &mut watch::Receiver<bool>) -> bool {
        for pass in 1..=PASSES_MAX {
            let mut after = String::new();
            let mut seen = 0u64;
            loop {
                if self.live.get().definitions.current.hash != hash {
                    return true;
                }
                let pause = match self.store.wake_unjudged(hash.to_owned(), after.clone(), SCAN_CUSTOMERS_MAX).await {
                    Ok(ids) => {
                        seen += ids.len() as u64;
                        let Some(last) = ids.last() else { break };
                        after.clone_from(last);
                        Duration::from_millis(SCAN_PAUSE_MS)
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the look at everybody pauses");
                        Duration::from_secs(TROUBLE_SECONDS)
                    }
                };
                if pass == 1 {
                    self.meter.scanned.store(seen, Relaxed);
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = queue::stopped(stop) => return false,
                }
            }
            match (seen, pass) {
                (0, 1) => return true,
                (0, _) => {
                    let customers = self.meter.scanned.load(Relaxed);
                    tracing::info!(customers, "every customer has a turn under the present definitions");
                    return true;
                }
                (_, PASSES_MAX) => {
                    tracing::warn!(customers = seen, "customers still wait for their turn under the present definitions")
                }
                _ => {}
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(PASS_PAUSE_MS)) => {}
                () = queue::stopped(stop) => return false,
            }
        }
        true
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
