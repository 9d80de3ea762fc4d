//! The move of a store from its file to Redis: copy, then compare.
//!
//! The file is locked and not changed; no engine starts on the target before everything was compared. What is
//! written may be written again, so a move that was interrupted goes on when it is run again. Customers and ids
//! of events go on from the last place that was noted; the rest, of which there is less, is written anew.
//!
//! What is known for a short while only is left behind: which effect a provider's own id of a message belongs to
//! (callbacks then go by the address), and soft bounces of the last days.
//!
//! The read side (facts, figures, runs, lists, kept messages) becomes the file that the role `report` writes.

use super::StoreResult;
use super::quantity::Taken;
use super::redis::import::{self, Target};
use super::redis::{SetClock, import::aside_row};
use super::sqlite::export::Source;
use item::{Inbound, Numbers, PutAside};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub mod item;
mod verify;

/// Items read and written at once. With documents of a few kilobytes a batch is about a megabyte.
const BATCH_ITEMS: usize = 256;
/// Ids of events and of erased customers written at once.
const BATCH_IDS: usize = 2_048;

/// What is moved, from where to where.
pub struct Move {
    /// The store's file.
    pub from: PathBuf,
    /// Address of the Redis.
    pub to: String,
    /// The read side's new file.
    pub report: PathBuf,
    /// An append-only file is not demanded.
    pub accept_loss: bool,
    /// Replaces Redis's clock, for tests.
    pub clock: Option<SetClock>,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What is being done.
    pub what: &'static str,
    /// Items done.
    pub done: u64,
    /// Of how many.
    pub of: u64,
}

/// Told of progress.
pub type Watch<'w> = &'w dyn Fn(Progress);

/// A line of the comparison.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Line {
    /// Of what.
    pub what: String,
    /// How many the source has.
    pub source: u64,
    /// How many the target has.
    pub target: u64,
    /// They are the same, one by one.
    pub same: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Outcome {
    /// It went on with what was interrupted.
    pub resumed: bool,
    /// Ids of events that are older than Redis keeps any: they were left behind.
    pub too_old: u64,
    /// The comparison, kind by kind.
    pub lines: Vec<Line>,
    /// What differs or could not be read, for people; of many the first.
    pub differences: Vec<String>,
}

impl Outcome {
    /// Everything has arrived as it was.
    pub fn is_whole(&self) -> bool {
        self.differences.is_empty() && self.lines.iter().all(|line| line.same)
    }
}

/// Moves a store. When the outcome is not whole, engines go on refusing the target.
///
/// # Errors
/// [`super::StoreError::Fatal`] when the source or the target cannot be used; [`super::StoreError::Unavailable`]
/// when Redis went away: run it again.
pub async fn run(plan: &Move, watch: Watch<'_>) -> StoreResult<Outcome> {
    let source = Source::open(&plan.from)?;
    let target = Target::open(&plan.to, plan.accept_loss, plan.clock.as_ref(), &source.fingerprint()?).await?;
    let mut copy = Copy { source: &source, target: &target, watch, unreadable: Vec::new() };
    copy.everything().await?;
    watch(Progress { what: "read side", done: 0, of: 1 });
    source.write_report(&plan.report, &target.id)?;
    watch(Progress { what: "read side", done: 1, of: 1 });
    let mut outcome = Outcome { resumed: target.resumed, differences: copy.unreadable, ..Outcome::default() };
    verify::compare(&source, &target, &plan.report, watch, &mut outcome).await?;
    match outcome.is_whole() {
        true => target.done().await?,
        // Run again, it writes everything anew.
        false => target.forget_places().await?,
    }
    Ok(outcome)
}

struct Copy<'c> {
    source: &'c Source,
    target: &'c Target,
    watch: Watch<'c>,
    unreadable: Vec<String>,
}

impl Copy<'_> {
    async fn everything(&mut self) -> StoreResult<()> {
        let (versions, current) = self.source.versions()?;
        self.target.versions(&versions, current.as_deref()).await?;
        self.target.tokens(&self.source.tokens()?).await?;
        self.target.pauses(&self.source.pauses()?).await?;
        self.target.applied(&self.source.applied()?).await?;
        self.target.winners(&self.source.winners()?).await?;
        self.target.quantities(&lasting(self.source, self.target)?).await?;
        self.customers().await?;
        self.target.live_runs(&live_runs(self.source)?).await?;
        self.effects().await?;
        self.inputs().await?;
        self.seen().await?;
        self.tombstones().await?;
        self.addresses().await
    }

    async fn addresses(&self) -> StoreResult<()> {
        if let Some(key) = self.source.link_key()? {
            self.target.write_link_key(&key).await?;
        }
        let (of, mut after, mut done) = (self.source.address_count()?, String::new(), 0);
        loop {
            let rows = self.source.addresses(&after, BATCH_ITEMS)?;
            let Some((last, _)) = rows.last() else { break };
            after = last.as_str().to_owned();
            done += rows.iter().map(|(_, row)| row.holders.len() as u64).sum::<u64>();
            self.target.addresses(&rows).await?;
            (self.watch)(Progress { what: "addresses", done, of });
        }
        Ok(())
    }

    async fn customers(&self) -> StoreResult<()> {
        let of = self.source.number("SELECT count(*) FROM customer")?;
        let (mut after, mut done) = (self.target.place("customers").await?.unwrap_or(0), 0);
        loop {
            let customers = self.source.customers(after, BATCH_ITEMS)?;
            let Some(last) = customers.last() else { break };
            after = last.num;
            self.target.customers(&customers).await?;
            self.target.note("customers", after).await?;
            done += customers.len() as u64;
            (self.watch)(Progress { what: "customers", done, of });
        }
        Ok(())
    }

    async fn effects(&mut self) -> StoreResult<()> {
        let of = self.source.number("SELECT count(*) FROM outbox")?;
        let (mut after, mut done) = (i64::MIN, 0);
        loop {
            let rows = self.source.effects(after, BATCH_ITEMS)?;
            let Some((last, _)) = rows.last() else { break };
            after = *last;
            done += rows.len() as u64;
            let mut effects = Vec::with_capacity(rows.len());
            for (seq, effect) in rows {
                match effect {
                    Ok(effect) => effects.push(effect),
                    Err(why) => self.unreadable.push(format!("effect {seq} of the outbox cannot be read: {why}")),
                }
            }
            self.target.effects(&effects).await?;
            (self.watch)(Progress { what: "effects", done, of });
        }
        Ok(())
    }

    async fn inputs(&mut self) -> StoreResult<()> {
        let of = self.source.number("SELECT count(*) FROM inbox")?;
        let mut numbers = Numbers::new(import::shards());
        let rows: Vec<(u16, u64, Vec<u8>)> = listed(self.source, &mut numbers, &mut self.unreadable)?;
        for part in rows.chunks(BATCH_ITEMS) {
            self.target.put_aside(part).await?;
        }
        let (mut after, mut done) = (i64::MIN, 0);
        loop {
            let rows = self.source.inputs(after, BATCH_ITEMS)?;
            let Some(last) = rows.last() else { break };
            after = last.seq;
            done += rows.len() as u64;
            let numbered: Vec<(String, u64, u32, Vec<u8>)> = rows.into_iter().map(|row| numbered(row, &mut numbers)).collect();
            self.target.inputs(&numbered, !self.source.clean).await?;
            (self.watch)(Progress { what: "inputs", done, of });
        }
        self.target.last_numbers(&numbers.highest()).await
    }

    async fn seen(&self) -> StoreResult<()> {
        let of = self.source.number("SELECT count(*) FROM seen")?;
        let (mut from, mut done) = (self.target.place("seen").await?.or(Some(i64::MIN)), 0);
        while let Some(start) = from {
            let mut ids = self.source.seen(start, BATCH_IDS)?;
            let Some(last) = ids.last() else { break };
            from = i64::from_be_bytes(last.digest).checked_add(1);
            done += ids.len() as u64;
            ids.retain(|one| one.hour >= self.target.first_hour());
            self.target.seen(&ids).await?;
            self.target.note("seen", from.unwrap_or(i64::MAX)).await?;
            (self.watch)(Progress { what: "ids of events", done, of });
        }
        Ok(())
    }

    async fn tombstones(&self) -> StoreResult<()> {
        let of = self.source.number("SELECT count(*) FROM tombstone")?;
        let (mut from, mut done) = (Some(i64::MIN), 0);
        while let Some(start) = from {
            let digests = self.source.tombstones(start, BATCH_IDS)?;
            let Some(last) = digests.last() else { break };
            from = i64::from_be_bytes(*last).checked_add(1);
            done += digests.len() as u64;
            self.target.tombstones(&digests).await?;
            (self.watch)(Progress { what: "erased customers", done, of });
        }
        Ok(())
    }
}

/// What was taken of quantities whose time is not over.
fn lasting(source: &Source, target: &Target) -> StoreResult<Vec<Taken>> {
    let all = source.quantities()?.into_iter();
    Ok(all.filter(|taken| taken.until.is_none_or(|until| until > target.began())).collect())
}

/// An input with its number in the target.
fn numbered(row: Inbound, numbers: &mut Numbers) -> (String, u64, u32, Vec<u8>) {
    let shard = import::shard(&row.customer);
    let number = numbers.input(shard, row.at);
    (row.customer, number, row.crashes, row.body)
}

/// What was put aside, as the target lists it.
fn listed(source: &Source, numbers: &mut Numbers, unreadable: &mut Vec<String>) -> StoreResult<Vec<(u16, u64, Vec<u8>)>> {
    let mut rows = Vec::new();
    for found in source.put_aside()? {
        let aside = match found {
            Ok(aside) => aside,
            Err(seq) => {
                unreadable.push(format!("input {seq} of what was put aside cannot be read"));
                continue;
            }
        };
        let PutAside { customer, at, cause, input } = aside;
        let shard = import::shard(&customer);
        rows.push(match input {
            Some((accepted, body)) => {
                let number = numbers.aside(shard, accepted);
                (shard, number, aside_row(&customer, at, &cause, Some((number, &body))))
            }
            None => {
                let at = numbers.wake(shard, at);
                (shard, item::first_number(at), aside_row(&customer, at, &cause, None))
            }
        });
    }
    Ok(rows)
}

/// How many live runs each version has in each shard, under the name that the target keeps.
fn live_runs(source: &Source) -> StoreResult<BTreeMap<(u16, String), u64>> {
    let mut live = BTreeMap::new();
    source.live_runs(|customer, funnel, version| {
        *live.entry((import::shard(customer), format!("{funnel} {version}"))).or_default() += 1;
    })?;
    Ok(live)
}
