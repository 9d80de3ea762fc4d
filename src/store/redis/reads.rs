//! Questions of the read side: answered from the tables that follow the fact streams; what is in hand or
//! put aside is asked of Redis itself, a bounded number of rows per shard.

use super::super::read::{
    Asked, Counted, Counts, Figure, KeptMessage, LiveSteps, OutboxRow, PAGE_ROWS_MAX, QuarantineRow, ReadSide, Reads, RunFilter,
    TimelineRow, Waiting,
};
use super::super::sqlite::Mirror;
use super::super::{CustomerRow, Record, RunRow, StoreError, StoreResult};
use super::key::{SHARDS, key, shard_of};
use super::record::{Aside, Kept, accepted_at, read_input, read_record};
use super::{Inner, RedisStore, value};
use crate::customer::codec::decode;
use crate::event::{Input, InputBody};
use crate::lang::time::Time;
use futures_util::future::BoxFuture;
use redis::{Cmd, Value};
use std::sync::Arc;

/// Customers of a shard whose inboxes are looked into for the number of inputs.
const UNREAD_CUSTOMERS_MAX: usize = 4;

impl Inner {
    /// The read side as it is now.
    async fn side(&self) -> StoreResult<Arc<Mirror>> {
        let Some(mirror) = self.options.mirror.clone() else {
            return Err(StoreError::Unavailable(
                "this process has no read side; ask the one with the role `report`, or start this one with --report FILE"
                    .to_owned(),
            ));
        };
        if self.options.reports {
            self.follower.caught_up().await;
        }
        Ok(mirror)
    }

    /// One command for each shard.
    async fn of_all_shards(&self, command: impl Fn(u16) -> Cmd) -> StoreResult<Vec<Value>> {
        let commands: Vec<Cmd> = (0..SHARDS).map(command).collect();
        self.plain(&commands).await
    }

    async fn record(&self, customer: String) -> StoreResult<Option<Record>> {
        let shard = shard_of(&customer);
        let (mut record, mut account) = (redis::cmd("GET"), redis::cmd("GET"));
        record.arg(key(shard, "customer:") + &customer);
        account.arg(key(shard, "account:") + &customer);
        let mut answers = self.plain(&[record, account]).await?.into_iter();
        let (kept, account) = (value::bytes(value::next(&mut answers)), value::bytes(value::next(&mut answers)));
        if kept.is_empty() {
            return Ok(None);
        }
        let (record, _) = read_record(kept, account, false).ok_or_else(|| value::strange("a customer's record"))?;
        Ok(Some(record))
    }

    /// Ids of a customer's effects, by a walk through her shard's outbox: erasures are rare.
    pub async fn effects_of(&self, shard: u16, customer: &str) -> StoreResult<Vec<String>> {
        let mut all = redis::cmd("ZRANGE");
        all.arg(key(shard, "outbox")).arg(0).arg(-1);
        let ids: Vec<String> = self.plain(&[all]).await?.into_iter().flat_map(value::list).map(value::text).collect();
        let mut hers = Vec::new();
        for part in ids.chunks(PAGE_ROWS_MAX) {
            let effects = self.effects_by_id(part.iter().map(|id| (shard, id.as_str()))).await?;
            let owned =
                part.iter().zip(effects).filter(|(_, bytes)| Kept::read(bytes).is_some_and(|kept| kept.customer == customer));
            hers.extend(owned.map(|(id, _)| id.clone()));
        }
        Ok(hers)
    }

    async fn effects_by_id<'i>(&self, ids: impl Iterator<Item = (u16, &'i str)>) -> StoreResult<Vec<Vec<u8>>> {
        let commands: Vec<Cmd> = ids
            .map(|(shard, id)| {
                let mut get = redis::cmd("GET");
                get.arg(key(shard, "effect:") + id);
                get
            })
            .collect();
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.plain(&commands).await?.into_iter().map(value::bytes).collect())
    }

    async fn outbox(&self, max: usize) -> StoreResult<Vec<OutboxRow>> {
        let max = max.min(PAGE_ROWS_MAX);
        let answers = self
            .of_all_shards(|shard| {
                let mut range = redis::cmd("ZRANGE");
                range.arg(key(shard, "outbox")).arg(0).arg(max.saturating_sub(1)).arg("WITHSCORES");
                range
            })
            .await?;
        let mut rows: Vec<(i64, u16, String)> = Vec::new();
        for (shard, answer) in (0..SHARDS).zip(answers) {
            for (id, score) in value::pairs(answer) {
                let score = match score {
                    Value::Double(score) => score.to_string(),
                    other => value::text(other),
                };
                let at = value::instant(&score).unwrap_or_default();
                // One in hand stands at the end of its lease; it was due when it was taken in hand.
                let due = if value::in_hand(&score) { at - self.options.lease_ms } else { at };
                rows.push((due, shard, value::text(id)));
            }
        }
        rows.sort();
        rows.truncate(max);
        let effects = self.effects_by_id(rows.iter().map(|(_, shard, id)| (*shard, id.as_str()))).await?;
        let shown = rows.into_iter().zip(effects).filter_map(|((due, _, id), bytes)| {
            let kept = Kept::read(&bytes)?;
            Some(OutboxRow { id, customer: kept.customer.to_owned(), due: Time(due), attempts: kept.attempts, why: kept.why })
        });
        Ok(shown.collect())
    }

    async fn waiting(&self, effect: String, customer: String) -> StoreResult<Option<Waiting>> {
        let shard = shard_of(&customer);
        let mut score = redis::cmd("ZSCORE");
        score.arg(key(shard, "outbox")).arg(&effect);
        let score = self.plain(&[score]).await?.into_iter().next().map(value::text).unwrap_or_default();
        let bytes = self.effects_by_id([(shard, effect.as_str())].into_iter()).await?.pop().unwrap_or_default();
        let Some(kept) = Kept::read(&bytes).filter(|kept| kept.customer == customer) else { return Ok(None) };
        let at = value::instant(&score).unwrap_or_default();
        let due = Time(if value::in_hand(&score) { at - self.options.lease_ms } else { at });
        let why = kept.why.clone();
        let found = kept.delivery().map_err(|_| value::strange("an effect"))?;
        Ok(Some(Waiting { effect: found.effect, due, attempts: found.attempts, doubtful_since: found.ambiguous_since, why }))
    }

    async fn quarantine(&self, max: usize) -> StoreResult<Vec<QuarantineRow>> {
        let answers = self
            .of_all_shards(|shard| {
                let mut all = redis::cmd("HVALS");
                all.arg(key(shard, "quarantine"));
                all
            })
            .await?;
        let mut rows: Vec<QuarantineRow> = Vec::new();
        for bytes in answers.into_iter().flat_map(value::list).map(value::bytes) {
            let Some(aside) = Aside::read(&bytes) else { continue };
            let input = readable(aside.input);
            let seq = aside.seq();
            rows.push(QuarantineRow { seq, customer: aside.customer, input, cause: aside.cause, at: aside.at });
        }
        rows.sort_by_key(|row| std::cmp::Reverse((row.at, row.seq)));
        rows.truncate(max.min(PAGE_ROWS_MAX));
        Ok(rows)
    }

    /// Inputs in inboxes: exact while few customers of a shard have any, else a lower bound (one for each
    /// customer that was not looked at).
    async fn unread_inputs(&self) -> StoreResult<u64> {
        let answers = self
            .of_all_shards(|shard| {
                let mut first = redis::cmd("ZRANGE");
                first.arg(key(shard, "ready")).arg(0).arg(UNREAD_CUSTOMERS_MAX);
                first
            })
            .await?;
        let (mut lengths, mut more) = (Vec::new(), 0);
        for (shard, answer) in (0..SHARDS).zip(answers) {
            let customers = value::list(answer);
            if customers.len() > UNREAD_CUSTOMERS_MAX {
                more += 1;
            }
            for customer in customers.into_iter().take(UNREAD_CUSTOMERS_MAX).map(value::text) {
                let mut length = redis::cmd("LLEN");
                length.arg(key(shard, "inbox:") + &customer);
                lengths.push(length);
            }
        }
        let mut sum = 0;
        for part in lengths.chunks(PAGE_ROWS_MAX) {
            let counted = self.plain(part).await?;
            sum += counted.iter().map(|count| u64::try_from(value::int(count)).unwrap_or(0)).sum::<u64>();
        }
        if more > 0 {
            let all = self.of_all_shards(|shard| {
                let mut count = redis::cmd("ZCARD");
                count.arg(key(shard, "ready"));
                count
            });
            let beyond = |count: &Value| usize::try_from(value::int(count)).unwrap_or(0).saturating_sub(UNREAD_CUSTOMERS_MAX);
            sum += all.await?.iter().map(beyond).sum::<usize>() as u64;
        }
        Ok(sum)
    }

    async fn counts(&self) -> StoreResult<Counts> {
        // A process without a read side knows what is on its way, if not how much there is of the rest.
        let mut counts = match self.options.mirror {
            Some(_) => self.side().await?.counts().await?,
            None => Counts::default(),
        };
        let sum = |answers: Vec<Value>| answers.iter().map(|count| u64::try_from(value::int(count)).unwrap_or(0)).sum();
        counts.inbox = self.unread_inputs().await?;
        let count = |name: &'static str, what: &'static str| {
            self.of_all_shards(move |shard| {
                let mut count = redis::cmd(name);
                count.arg(key(shard, what));
                count
            })
        };
        counts.outbox = sum(count("ZCARD", "outbox").await?);
        counts.quarantined = sum(count("HLEN", "quarantine").await?);
        Ok(counts)
    }
}

/// An input as JSON; one that cannot be read as its bytes in hexadecimal.
fn readable(input: &[u8]) -> String {
    let Some((seq, body)) = read_input(input) else { return "\"her wake\"".to_owned() };
    let read = decode::<InputBody>(body).ok().map(|body| Input { accepted_at: accepted_at(seq), body });
    match read.and_then(|input| serde_json::to_string(&input).ok()) {
        Some(json) => json,
        None => {
            let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{{\"unreadable\":\"{hex}\"}}")
        }
    }
}

impl ReadSide for RedisStore {
    fn timeline(&self, customer: String, before: Option<u64>, max: usize) -> BoxFuture<'_, StoreResult<Vec<TimelineRow>>> {
        Box::pin(async move { self.inner.side().await?.timeline(customer, before, max).await })
    }

    fn facts_after(&self, after: u64, max: usize) -> BoxFuture<'_, StoreResult<Vec<(String, TimelineRow)>>> {
        Box::pin(async move { self.inner.side().await?.facts_after(after, max).await })
    }

    fn customers(&self, query: String, after: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<CustomerRow>>> {
        Box::pin(async move { self.inner.side().await?.customers(query, after, max).await })
    }

    fn members(&self, segment: String, max: usize) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        Box::pin(async move { self.inner.side().await?.members(segment, max).await })
    }

    fn runs(&self, filter: RunFilter, max: usize) -> BoxFuture<'_, StoreResult<Vec<RunRow>>> {
        Box::pin(async move { self.inner.side().await?.runs(filter, max).await })
    }

    fn live_steps(&self) -> BoxFuture<'_, StoreResult<Vec<LiveSteps>>> {
        Box::pin(async move { self.inner.side().await?.live_steps().await })
    }

    fn figures(&self, from: String, to: String) -> BoxFuture<'_, StoreResult<Vec<Figure>>> {
        Box::pin(async move { self.inner.side().await?.figures(from, to).await })
    }

    fn stats(&self, asked: Asked) -> BoxFuture<'_, StoreResult<Counted>> {
        Box::pin(async move {
            let of = asked.funnel.clone();
            let mut counted = self.inner.side().await?.stats(asked).await?;
            counted.winners = self.inner.winners().await?;
            counted.winners.retain(|winner| of.is_empty() || winner.funnel == of);
            Ok(counted)
        })
    }

    fn messages(&self, customer: String, before: Option<Time>, max: usize) -> BoxFuture<'_, StoreResult<Vec<KeptMessage>>> {
        Box::pin(async move { self.inner.side().await?.messages(customer, before, max).await })
    }

    fn message(&self, id: String) -> BoxFuture<'_, StoreResult<Option<KeptMessage>>> {
        Box::pin(async move { self.inner.side().await?.message(id).await })
    }
}

impl Reads for RedisStore {
    fn record(&self, customer: String) -> BoxFuture<'_, StoreResult<Option<Record>>> {
        Box::pin(self.inner.record(customer))
    }

    fn outbox(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<OutboxRow>>> {
        Box::pin(self.inner.outbox(max))
    }

    fn waiting(&self, effect: String, customer: String) -> BoxFuture<'_, StoreResult<Option<Waiting>>> {
        Box::pin(self.inner.waiting(effect, customer))
    }

    fn quarantine(&self, max: usize) -> BoxFuture<'_, StoreResult<Vec<QuarantineRow>>> {
        Box::pin(self.inner.quarantine(max))
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Counts>> {
        Box::pin(self.inner.counts())
    }
}
