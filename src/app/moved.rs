//! Whom a workspace would move: each customer takes the turn that she would take under it, and nothing of it is kept.
//!
//! It is the very turn of the look at everybody after an apply, so what it says is what will be: who enters and leaves
//! which segment without anybody noticing, and what starts by `backfill: enter`.

use crate::engine::record;
use crate::funnel::Definitions;
use crate::funnel::plan::Change;
use crate::lang::time::Time;
use crate::store::read::PAGE_ROWS_MAX;
use crate::store::{Record, Store, StoreError};
use crate::turn;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most customers that a plan looks at.
pub const LOOKED_AT_MAX: usize = 20_000;
/// What a segment can hang on; a funnel or a template moves nobody into one.
const KINDS: &[&str] = &["segment", "settings", "catalog"];

/// What was counted.
#[derive(Default)]
struct Moved {
    looked_at: usize,
    /// By segment: who enters, who leaves.
    segments: BTreeMap<String, (u64, u64)>,
    /// Runs that begin, by funnel.
    started: BTreeMap<String, u64>,
}

/// Counts whom the definitions would move; null when nothing changes that could move anybody.
///
/// # Errors
/// When the store fails.
pub(super) async fn moved(store: &dyn Store, next: &Definitions, changes: &[Change]) -> Result<Json, StoreError> {
    if !changes.iter().any(|change| KINDS.contains(&change.kind)) {
        return Ok(Json::Null);
    }
    let mut moved = Moved::default();
    let mut after = String::new();
    while moved.looked_at < LOOKED_AT_MAX {
        let page = store.customers(String::new(), after, PAGE_ROWS_MAX.min(LOOKED_AT_MAX - moved.looked_at)).await?;
        let Some(last) = page.last() else { break };
        after = last.id.clone();
        for row in page {
            moved.looked_at += 1;
            if let Some(record) = store.record(row.id.clone()).await? {
                moved.look(next, &row.id, &record, store.now());
            }
        }
    }
    let customers = store.counts().await?.customers;
    let segments =
        moved.segments.into_iter().map(|(name, (enter, leave))| json!({ "segment": name, "enter": enter, "leave": leave }));
    let started = moved.started.into_iter().map(|(funnel, count)| json!({ "funnel": funnel, "count": count }));
    Ok(json!({
        "looked_at": moved.looked_at, "customers": customers,
        "segments": segments.collect::<Vec<_>>(), "started": started.collect::<Vec<_>>(),
    }))
}

impl Moved {
    fn look(&mut self, next: &Definitions, id: &str, record: &Record, now: Time) {
        // What cannot be read, or ends its turn, is complained of where it is worked on.
        let Ok(documents) = record::decode(record) else { return };
        let Some(before) = documents.customer else { return };
        let was = before.segments.clone();
        let turned = catch_unwind(AssertUnwindSafe(|| turn::turn(next, id, Some(before), documents.account, Vec::new(), now)));
        let Ok(turned) = turned else { return };
        let is = &turned.customer.segments;
        for name in is.keys().filter(|name| !was.contains_key(*name)) {
            self.segments.entry(name.clone()).or_default().0 += 1;
        }
        for name in was.keys().filter(|name| !is.contains_key(*name)) {
            self.segments.entry(name.clone()).or_default().1 += 1;
        }
        let began = |number: &u64| {
            let live = turned.customer.run(*number);
            live.or_else(|| turned.runs.ended.iter().map(|(run, ..)| run).find(|run| run.id == *number))
        };
        for run in turned.runs.began.iter().filter_map(began) {
            *self.started.entry(run.funnel.clone()).or_default() += 1;
        }
    }
}
