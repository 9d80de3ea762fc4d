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
    /// runs and her wake are those of today. Ends early when others have come into force; false: it was stopped.
    async fn scan_under(&self, hash: &str, stop: &mut watch::Receiver<bool>) -> bool {
        let mut after = String::new();
        while self.live.get().definitions.current.hash == hash {
            let pause = match self.store.wake_unjudged(hash.to_owned(), after.clone(), SCAN_CUSTOMERS_MAX).await {
                Ok(ids) => {
                    let seen = self.meter.scanned.fetch_add(ids.len() as u64, Relaxed) + ids.len() as u64;
                    match ids.last() {
                        Some(last) => after = last.clone(),
                        None if seen > 0 => {
                            tracing::info!(customers = seen, "every customer has a turn under the present definitions");
                            return true;
                        }
                        None => return true,
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
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(PRUNE_SECONDS)) => {}
                () = queue::stopped(&mut stop) => return,
            }
        }
    }
}
