//! Making the read side anew from the store.

use super::engine::kept_definitions;
use super::store::Remote;
use crate::engine::record::{decode, standing};
use crate::lang::time::{MINUTE_MS, Time};
use crate::store::read::{PAGE_ROWS_MAX, ReadSide};
use crate::store::redis as remote;
use crate::store::redis::RedisStore;
use crate::store::sqlite::rebuild::Standing;
use crate::store::sqlite::{Mirror, Options};
use crate::store::{Store, StoreError};
use anyhow::{Context, bail};
use std::sync::Arc;

/// A read side that is in use says so every minute; one that was silent for so long is not.
const SILENT_MS: i64 = 10 * MINUTE_MS;

/// What was found and set right.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rebuilt {
    /// Customers whom the store knows.
    pub customers: u64,
    /// Their live runs.
    pub runs: u64,
    /// Live runs of the file that the store does not know: they are over now.
    pub stopped: u64,
    /// Customers of the file whom the store does not know: they are gone.
    pub gone: u64,
    /// Documents that could not be read.
    pub unreadable: u64,
    /// Other read sides for which the store keeps what happens, with when they were last there.
    pub others: Vec<(String, Time)>,
}

/// Sets the read side's file right by what the store holds, or makes it anew.
///
/// # Errors
/// When the store cannot be reached, another process writes the file, or it follows another store.
pub async fn rebuild(
    chosen: &Remote,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
    forget_others: bool,
    progress: &dyn Fn(u64),
) -> anyhow::Result<Rebuilt> {
    // First the store: a wrong address is to leave no file behind.
    let mut options = remote::Options::new(&chosen.address);
    (options.works, options.accept_loss) = (false, chosen.accept_loss);
    let store = RedisStore::open(options).await?;
    let mirror = match Mirror::open(&chosen.report, Options::new(clock)) {
        Err(StoreError::Fatal(why)) if why.contains("in use") => {
            bail!("{why}; stop the engine with the role `report` first, its place in the streams is kept")
        }
        opened => opened?,
    };
    let done = correct_all(&store, &mirror, forget_others, progress).await;
    mirror.close().await;
    store.close().await;
    done
}

async fn correct_all(
    store: &RedisStore,
    mirror: &Mirror,
    forget_others: bool,
    progress: &dyn Fn(u64),
) -> anyhow::Result<Rebuilt> {
    let definitions = kept_definitions(store).await?;
    let definitions = definitions.context("no engine has worked on this store yet; start one, there is nothing to make anew")?;
    let (mut rebuilt, mut walk) = (Rebuilt::default(), store.walk().await?);
    while let Some(found) = walk.next().await? {
        let mut standings = Vec::with_capacity(found.len());
        for (id, record) in found {
            match decode(&record).map(|documents| documents.customer) {
                Ok(Some(customer)) => {
                    let (line, runs) = standing(&definitions, &customer);
                    rebuilt.runs += runs.len() as u64;
                    standings.push(Standing { line, runs });
                }
                Ok(None) => {}
                Err(why) => {
                    tracing::error!(customer = %id, %why, "a document cannot be read; what the file holds of her stays");
                    rebuilt.unreadable += 1;
                }
            }
        }
        rebuilt.customers += standings.len() as u64;
        rebuilt.stopped += mirror.correct(store.id().to_owned(), standings, store.now()).await?;
        progress(rebuilt.customers);
    }
    rebuilt.gone = let_go(store, mirror).await?;
    let own = mirror.name().await?;
    for (name, seen) in store.other_sides(&own).await? {
        if forget_others && store.now().since_ms(seen) > SILENT_MS {
            store.forget(&name).await?;
        } else {
            rebuilt.others.push((name, seen));
        }
    }
    Ok(rebuilt)
}

/// Customers whom the store does not know leave the file.
async fn let_go(store: &RedisStore, mirror: &Mirror) -> anyhow::Result<u64> {
    let (mut gone, mut after) = (0, String::new());
    loop {
        let page = mirror.customers(String::new(), after, PAGE_ROWS_MAX).await?;
        let Some(last) = page.last() else { return Ok(gone) };
        after = last.id.clone();
        let ids: Vec<String> = page.into_iter().map(|row| row.id).collect();
        let there = store.has(&ids).await?;
        let missing = ids.into_iter().zip(there).filter(|(_, there)| !there).map(|(id, _)| id);
        gone += mirror.let_go(missing.collect()).await?;
    }
}
