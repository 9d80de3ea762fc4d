//! Reading a store back that was filled from elsewhere, to compare it with its source.

use super::super::applied::Applied;
use super::super::migrate::item::{Customer, Outbound, Seen, Version};
use super::super::pause::Pause;
use super::super::{StoreResult, TokenRow};
use super::import::{Target, command, erased};
use super::key::{SHARDS, key, meta, shard_of};
use super::record::{Kept, Tried, read_input, read_record};
use super::value;
use crate::customer::codec::encode;
use crate::step::winner::Winner;
use redis::{Cmd, Value};
use std::collections::BTreeMap;

/// Inputs of one customer that are read at once.
const INPUTS_MAX: usize = 500;

impl Target {
    /// Reads customers back; `None` where there is none, or it cannot be read.
    ///
    /// # Errors
    /// As above.
    pub async fn read_customers(&self, ids: &[Customer]) -> StoreResult<Vec<Option<Customer>>> {
        let commands: Vec<Cmd> = ids
            .iter()
            .flat_map(|one| {
                let shard = shard_of(&one.id);
                let mut wake = command("ZSCORE", key(shard, "wake"));
                wake.arg(&one.id);
                [command("GET", key(shard, "customer:") + &one.id), command("GET", key(shard, "account:") + &one.id), wake]
            })
            .collect();
        let answers = self.ask(&commands).await?;
        let read = ids.iter().zip(answers.chunks_exact(3)).map(|(one, found)| {
            let bytes = value::bytes(found[0].clone());
            let judged = bytes.get(12..20).and_then(|eight| eight.try_into().ok()).map(u64::from_be_bytes)?;
            let (record, shown) = read_record(bytes, value::bytes(found[1].clone()), false)?;
            Some(Customer {
                num: one.num,
                id: one.id.clone(),
                version: record.version,
                gate: record.gate,
                wake: score(&found[2]),
                judged,
                shown,
                account: record.account,
                document: record.document,
            })
        });
        Ok(read.collect())
    }

    /// Reads a customer's inputs back, in their order: number, crashes, body. `false`: she is not marked as ready.
    ///
    /// # Errors
    /// As above.
    pub async fn read_inputs(&self, customer: &str) -> StoreResult<(Vec<(u64, u32, Vec<u8>)>, bool)> {
        let shard = shard_of(customer);
        let mut inputs = Vec::new();
        loop {
            let mut range = command("LRANGE", key(shard, "inbox:") + customer);
            range.arg(inputs.len()).arg(inputs.len() + INPUTS_MAX - 1);
            let rows = self.ask(&[range]).await?.into_iter().flat_map(value::list).map(value::bytes);
            let rows: Vec<(u64, Vec<u8>)> =
                rows.filter_map(|row| read_input(&row).map(|(number, body)| (number, body.to_vec()))).collect();
            if rows.is_empty() {
                break;
            }
            let mut counts = command("HMGET", key(shard, "crashes"));
            rows.iter().for_each(|(number, _)| {
                counts.arg(number);
            });
            let counts = self.ask(&[counts]).await?.into_iter().flat_map(value::list);
            inputs.extend(rows.into_iter().zip(counts).map(|((number, body), count)| (number, value::int(&count) as u32, body)));
        }
        let mut ready = command("ZSCORE", key(shard, "ready"));
        ready.arg(customer);
        let ready = self.ask(&[ready]).await?.first().is_some_and(|score| *score != Value::Nil);
        Ok((inputs, ready))
    }

    /// Reads effects back: when each is tried next, what is known of it, and its encoded body.
    ///
    /// # Errors
    /// As above.
    pub async fn read_effects(&self, effects: &[Outbound]) -> StoreResult<Vec<Option<(i64, Tried, Vec<u8>)>>> {
        let commands: Vec<Cmd> = effects
            .iter()
            .flat_map(|one| {
                let shard = shard_of(&one.effect.customer);
                let mut due = command("ZSCORE", key(shard, "outbox"));
                due.arg(&one.effect.id);
                [command("GET", key(shard, "effect:") + &one.effect.id), due]
            })
            .collect();
        let answers = self.ask(&commands).await?;
        let read = answers.chunks_exact(2).map(|found| {
            let bytes = value::bytes(found[0].clone());
            let begun = bytes.get(5..13).and_then(|eight| eight.try_into().ok()).map(u64::from_be_bytes)?;
            let delivery = Kept::read(&bytes).map(|kept| (kept.why.clone(), kept.delivery()))?;
            let (why, Ok(delivery)) = delivery else { return None };
            let unsure = delivery.ambiguous_since.map_or(0, |since| since.0 as u64);
            let tried =
                Tried { attempts: delivery.attempts, begun, unsure, digest: delivery.body_digest.unwrap_or_default(), why };
            Some((score(&found[1])?, tried, encode(&delivery.effect)))
        });
        Ok(read.collect())
    }

    /// All rows of what was put aside.
    ///
    /// # Errors
    /// As above.
    pub async fn read_put_aside(&self) -> StoreResult<Vec<Vec<u8>>> {
        let answers = self.of_all("HVALS", "quarantine").await?;
        Ok(answers.into_iter().flat_map(value::list).map(value::bytes).collect())
    }

    /// Reads them back: the digest of each one's body.
    ///
    /// # Errors
    /// As above.
    pub async fn read_seen(&self, ids: &[Seen]) -> StoreResult<Vec<Option<u32>>> {
        let commands: Vec<Cmd> = ids
            .iter()
            .map(|one| {
                let mut get = command("HGET", self.seen_key(one));
                get.arg(&one.digest[..]);
                get
            })
            .collect();
        let answers = self.ask(&commands).await?;
        Ok(answers.into_iter().map(|body| value::bytes(body).try_into().ok().map(u32::from_be_bytes)).collect())
    }

    /// Whether each is there.
    ///
    /// # Errors
    /// As above.
    pub async fn read_tombstones(&self, digests: &[[u8; 8]]) -> StoreResult<Vec<bool>> {
        let commands: Vec<Cmd> = digests
            .iter()
            .map(|digest| {
                let mut is = command("SISMEMBER", key(u16::from(digest[0]), "erased"));
                is.arg(erased(digest));
                is
            })
            .collect();
        Ok(self.ask(&commands).await?.iter().map(|is| value::int(is) == 1).collect())
    }

    /// Reads them back in their order, and the current one's hash.
    ///
    /// # Errors
    /// As above.
    pub async fn read_versions(&self) -> StoreResult<(Vec<Version>, Option<String>)> {
        let asked = [command("HGETALL", meta("funnels")), command("HGETALL", meta("bundles")), command("GET", meta("current"))];
        let mut answers = self.ask(&asked).await?.into_iter();
        let names = value::pairs(value::next(&mut answers));
        let bundles: BTreeMap<String, Vec<u8>> = value::pairs(value::next(&mut answers))
            .into_iter()
            .map(|(hash, bundle)| (value::text(hash), value::bytes(bundle)))
            .collect();
        let mut versions = Vec::new();
        for (hash, kept) in names {
            let kept: super::keep::Kept =
                serde_json::from_slice(&value::bytes(kept)).map_err(|_| value::strange("a workspace version"))?;
            let hash = value::text(hash);
            let bundle = bundles.get(&hash).cloned().unwrap_or_default();
            versions.push((kept.seq, Version { hash, funnels: kept.funnels, bundle }));
        }
        versions.sort_by_key(|(seq, _)| *seq);
        let current = Some(value::text(value::next(&mut answers))).filter(|hash| !hash.is_empty());
        Ok((versions.into_iter().map(|(_, version)| version).collect(), current))
    }

    /// Reads them back.
    ///
    /// # Errors
    /// As above.
    pub async fn read_tokens(&self) -> StoreResult<Vec<TokenRow>> {
        let answers = self.ask(&[command("HVALS", meta("tokens"))]).await?;
        let kept = answers.into_iter().flat_map(value::list).map(value::bytes);
        kept.map(|kept| serde_json::from_slice(&kept).map_err(|_| value::strange("a token"))).collect()
    }

    /// Reads the winners of splits.
    ///
    /// # Errors
    /// As above.
    pub async fn read_winners(&self) -> StoreResult<Vec<Winner>> {
        let answers = self.ask(&[command("HVALS", meta("winners"))]).await?;
        let kept = answers.into_iter().flat_map(value::list).map(value::bytes);
        let read = |kept: Vec<u8>| serde_json::from_slice(&kept).map_err(|_| value::strange("the winner of a split"));
        let mut winners: Vec<Winner> = kept.map(read).collect::<StoreResult<_>>()?;
        winners.sort_by(|a, b| (&a.funnel, &a.step).cmp(&(&b.funnel, &b.step)));
        Ok(winners)
    }

    /// Reads what is paused and what was applied, each as it is written down.
    ///
    /// # Errors
    /// As above.
    pub async fn read_words(&self) -> StoreResult<(Vec<Pause>, Vec<Applied>)> {
        let mut applied = command("LRANGE", meta("applied"));
        applied.arg(0).arg(-1);
        let mut answers = self.ask(&[command("HVALS", meta("pauses")), applied]).await?.into_iter();
        let mut next = || answers.next().map(value::list).unwrap_or_default().into_iter().map(value::bytes);
        // The number of the last change stands among the pauses.
        let pauses = next().filter_map(|kept| serde_json::from_slice(&kept).ok()).collect();
        let applied = next().map(|kept| serde_json::from_slice(&kept).map_err(|_| value::strange("what was applied")));
        Ok((pauses, applied.collect::<StoreResult<Vec<Applied>>>()?))
    }

    /// Reads them back.
    ///
    /// # Errors
    /// As above.
    pub async fn read_live_runs(&self) -> StoreResult<BTreeMap<(u16, String), u64>> {
        let mut live = BTreeMap::new();
        for (shard, answer) in (0..SHARDS).zip(self.of_all("HGETALL", "live").await?) {
            for (version, count) in value::pairs(answer) {
                live.insert((shard, value::text(version)), u64::try_from(value::int(&count)).unwrap_or(0));
            }
        }
        Ok(live)
    }

    /// How many of a kind all shards hold together, as Redis counts them.
    ///
    /// # Errors
    /// As above.
    pub async fn count(&self, how: &str, name: &str) -> StoreResult<u64> {
        Ok(self.of_all(how, name).await?.iter().map(|count| u64::try_from(value::int(count)).unwrap_or(0)).sum())
    }

    /// Reads the highest number given in each shard back.
    ///
    /// # Errors
    /// As above.
    pub async fn read_last_numbers(&self) -> StoreResult<Vec<u64>> {
        Ok(self.of_all("GET", "last").await?.iter().map(|last| u64::try_from(value::int(last)).unwrap_or(0)).collect())
    }

    async fn of_all(&self, how: &str, name: &str) -> StoreResult<Vec<Value>> {
        let commands: Vec<Cmd> = (0..SHARDS).map(|shard| command(how, key(shard, name))).collect();
        self.ask(&commands).await
    }
}

/// The instant of a score.
fn score(score: &Value) -> Option<i64> {
    match score {
        Value::Nil => None,
        Value::Double(score) => Some(*score as i64),
        other => value::instant(&value::text(other.clone())),
    }
}
