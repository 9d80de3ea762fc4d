//! What is kept for everybody: definitions, tokens, the messages of the development inbox; the scan after
//! a change of definitions; and what has outlived its time.

use super::super::applied::{APPLIED_MAX, Applied, Applying};
use super::super::read::{KeptMessage, ReadSide};
use super::super::told::Told;
use super::super::{Bundle, StoreError, StoreResult, TokenRow, digest};
use super::follow::SIDE_DAYS;
use super::key::{COMMON, SHARDS, facts_of, key, meta, shard_of, streams};
use super::pump::Op;
use super::record::JUDGED_AT;
use super::script::Script;
use super::{Inner, value};
use crate::lang::time::DAY_MS;
use crate::step::winner::Winner;
use std::collections::BTreeSet;

/// Customers looked at by one question of the scan.
const SCAN_ROWS: usize = 500;

/// Makes a version current if the one before it still is. Its funnels are kept as [`Kept`] has them.
const APPLY: &str = r#"
local current = redis.call('GET', KEYS[1]) or ''
if current ~= ARGV[1] then
  -- The answer to the same request may have been lost.
  if current == ARGV[2] and redis.call('LINDEX', KEYS[5], 0) == ARGV[5] then return 1 end
  return 0
end
local seq = redis.call('HINCRBY', KEYS[2], 'definitions', 1)
redis.call('HSETNX', KEYS[3], ARGV[2], ARGV[3])
redis.call('HSETNX', KEYS[4], ARGV[2], '{"seq":' .. string.format('%d', seq) .. ',"funnels":' .. ARGV[4] .. '}')
redis.call('LPUSH', KEYS[5], ARGV[5])
redis.call('LTRIM', KEYS[5], 0, tonumber(ARGV[6]) - 1)
redis.call('SET', KEYS[1], ARGV[2])
return 1
"#;

/// A kept workspace version besides its bundle.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Kept {
    /// Its place among all, in the order of their coming.
    pub seq: i64,
    /// Its funnels' names, each with the hash of the funnel's version.
    pub funnels: Vec<(String, String)>,
}

impl Inner {
    /// [`super::super::Store::put_definitions`].
    pub async fn put_definitions(&self, hash: String, funnels: Vec<(String, String)>, bundle: Vec<u8>) -> StoreResult<()> {
        let mut next = redis::cmd("HINCRBY");
        next.arg(meta("store")).arg("definitions").arg(1);
        let seq = self.plain(&[next]).await?.first().map_or(0, value::int);
        let kept = serde_json::to_string(&Kept { seq, funnels })
            .map_err(|why| StoreError::Fatal(format!("cannot write the workspace's funnels down: {why}")))?;
        let (mut bundles, mut names, mut current) = (redis::cmd("HSETNX"), redis::cmd("HSETNX"), redis::cmd("SET"));
        bundles.arg(meta("bundles")).arg(&hash).arg(bundle);
        names.arg(meta("funnels")).arg(&hash).arg(kept);
        current.arg(meta("current")).arg(&hash);
        self.plain(&[bundles, names]).await?;
        self.plain(&[current]).await.map(|_| ())
    }

    /// [`super::super::Store::apply`]. One script on the keys of one slot: all of it or nothing.
    pub async fn apply(&self, applying: Applying) -> StoreResult<bool> {
        let wrong = |why: serde_json::Error| StoreError::Fatal(format!("cannot write down who applied what: {why}"));
        let Applying { applied, funnels, bundle } = applying;
        let mut apply = redis::cmd("EVAL");
        apply.arg(APPLY).arg(5);
        for name in ["current", "store", "bundles", "funnels", "applied"] {
            apply.arg(meta(name));
        }
        let funnels = serde_json::to_string(&funnels).map_err(wrong)?;
        let noted = serde_json::to_string(&applied).map_err(wrong)?;
        apply.arg(&applied.before).arg(&applied.hash).arg(bundle).arg(funnels).arg(noted).arg(APPLIED_MAX);
        Ok(self.plain(&[apply]).await?.first().map_or(0, value::int) == 1)
    }

    /// [`super::super::Store::applied`].
    pub async fn applied(&self) -> StoreResult<Vec<Applied>> {
        let mut all = redis::cmd("LRANGE");
        all.arg(meta("applied")).arg(0).arg(-1);
        let rows = self.plain(&[all]).await?.into_iter().flat_map(value::list).map(value::bytes);
        rows.map(|row| serde_json::from_slice(&row).map_err(|_| value::strange("what was applied"))).collect()
    }

    /// [`super::super::Store::choose`].
    pub async fn choose(&self, winner: Winner) -> StoreResult<bool> {
        let kept =
            serde_json::to_string(&winner).map_err(|why| StoreError::Fatal(format!("cannot write a winner down: {why}")))?;
        let field = format!("{} {}", winner.funnel, winner.step);
        let (mut set, mut get) = (redis::cmd("HSETNX"), redis::cmd("HGET"));
        set.arg(meta("winners")).arg(&field).arg(&kept);
        get.arg(meta("winners")).arg(&field);
        let answers = self.plain(&[set, get]).await?;
        // The answer to the same request may have been lost: what stands there is what counts.
        Ok(answers.into_iter().nth(1).map(value::bytes).is_some_and(|there| there == kept.as_bytes()))
    }

    /// [`super::super::Store::winners`].
    pub async fn winners(&self) -> StoreResult<Vec<Winner>> {
        let mut all = redis::cmd("HVALS");
        all.arg(meta("winners"));
        let rows = self.plain(&[all]).await?.into_iter().flat_map(value::list).map(value::bytes);
        let read = |row: Vec<u8>| serde_json::from_slice(&row).map_err(|_| value::strange("the winner of a split"));
        let mut winners: Vec<Winner> = rows.map(read).collect::<StoreResult<_>>()?;
        winners.sort_by(|a, b| (&a.funnel, &a.step).cmp(&(&b.funnel, &b.step)));
        Ok(winners)
    }

    /// [`super::super::Store::bundle`].
    pub async fn bundle(&self, hash: String) -> StoreResult<Option<Vec<u8>>> {
        let mut get = redis::cmd("HGET");
        get.arg(meta("bundles")).arg(hash);
        let found = self.plain(&[get]).await?.into_iter().next().map(value::bytes);
        Ok(found.filter(|bundle| !bundle.is_empty()))
    }

    /// [`super::super::Store::definitions`].
    pub async fn definitions(&self) -> StoreResult<Vec<Bundle>> {
        let (mut current, mut names) = (redis::cmd("GET"), redis::cmd("HGETALL"));
        current.arg(meta("current"));
        names.arg(meta("funnels"));
        let mut answers = self.plain(&[current, names]).await?.into_iter();
        let current = value::text(value::next(&mut answers));
        if current.is_empty() {
            return Ok(Vec::new());
        }
        let mut versions: Vec<(String, Kept)> = Vec::new();
        for (hash, kept) in value::pairs(value::next(&mut answers)) {
            let kept = serde_json::from_slice(&value::bytes(kept)).map_err(|_| value::strange("a workspace version"))?;
            versions.push((value::text(hash), kept));
        }
        // The current one first, then the newest.
        versions.sort_by_key(|(hash, kept)| (*hash != current, -kept.seq));
        let mut hashes = vec![current];
        for live in self.live_versions().await? {
            let holds = |kept: &Kept| kept.funnels.iter().any(|(funnel, version)| is(&live, funnel, version));
            if let Some((hash, _)) = versions.iter().find(|(_, kept)| holds(kept))
                && !hashes.contains(hash)
            {
                hashes.push(hash.clone());
            }
        }
        let bundles: Vec<redis::Cmd> = hashes
            .iter()
            .map(|hash| {
                let mut get = redis::cmd("HGET");
                get.arg(meta("bundles")).arg(hash);
                get
            })
            .collect();
        let answers = self.plain(&bundles).await?;
        Ok(hashes.into_iter().zip(answers.into_iter().map(value::bytes)).collect())
    }

    /// `funnel version` of every live run, each once.
    async fn live_versions(&self) -> StoreResult<BTreeSet<String>> {
        let asked: Vec<redis::Cmd> = (0..SHARDS)
            .map(|shard| {
                let mut keys = redis::cmd("HKEYS");
                keys.arg(key(shard, "live"));
                keys
            })
            .collect();
        let answers = self.plain(&asked).await?;
        Ok(answers.into_iter().flat_map(value::list).map(value::text).collect())
    }

    /// [`super::super::Store::wake_unjudged`]. The list of customers is the read side's; a process without
    /// one leaves the scan to the one that has it.
    pub async fn wake_unjudged(&self, hash: String, after: String, max: usize) -> StoreResult<Vec<String>> {
        let Some(mirror) = self.options.mirror.clone().filter(|_| self.options.reports) else { return Ok(Vec::new()) };
        self.follower.caught_up().await;
        let judged = digest::judged(&hash).to_be_bytes();
        let (mut after, mut found) = (after, Vec::<String>::new());
        while found.len() < max.max(1) {
            let rows = mirror.customers(String::new(), after.clone(), SCAN_ROWS.min(max.max(1))).await?;
            let Some(last) = rows.last() else { break };
            after = last.id.clone();
            let heads: Vec<redis::Cmd> = rows
                .iter()
                .map(|row| {
                    let mut head = redis::cmd("GETRANGE");
                    head.arg(key(shard_of(&row.id), "customer:") + &row.id).arg(JUDGED_AT).arg(JUDGED_AT + 7);
                    head
                })
                .collect();
            let heads = self.plain(&heads).await?;
            let other = |head: &Vec<u8>| head.len() == 8 && *head != judged;
            let others = rows.into_iter().zip(heads.into_iter().map(value::bytes)).filter(|(_, head)| other(head));
            found.extend(others.map(|(row, _)| row.id).take(max - found.len()));
            if !found.is_empty() {
                break;
            }
        }
        let ops = found.iter().map(|customer| {
            let shard = shard_of(customer);
            let mut op = Op::new(Script::Nudge, shard);
            op.args.push(customer);
            op
        });
        let replies = self.all(ops.collect()).await?;
        let mut memory = self.memory();
        for (customer, reply) in found.iter().zip(&replies) {
            memory.ready(shard_of(customer), reply.now);
        }
        drop(memory);
        self.notify(true, false);
        Ok(found)
    }

    /// [`super::super::Store::put_token`].
    pub async fn put_token(&self, token: TokenRow) -> StoreResult<()> {
        let kept =
            serde_json::to_string(&token).map_err(|why| StoreError::Fatal(format!("cannot write the token down: {why}")))?;
        let mut set = redis::cmd("HSET");
        set.arg(meta("tokens")).arg(&token.digest).arg(kept);
        self.plain(&[set]).await.map(|_| ())
    }

    /// [`super::super::Store::tokens`].
    pub async fn tokens(&self) -> StoreResult<Vec<TokenRow>> {
        let mut all = redis::cmd("HVALS");
        all.arg(meta("tokens"));
        let answers = self.plain(&[all]).await?;
        let mut tokens = Vec::new();
        for kept in answers.into_iter().flat_map(value::list) {
            let token: TokenRow = serde_json::from_slice(&value::bytes(kept)).map_err(|_| value::strange("a token"))?;
            tokens.push(token);
        }
        tokens.sort_by(|a, b| (&a.name, &a.digest).cmp(&(&b.name, &b.digest)));
        Ok(tokens)
    }

    /// [`super::super::Store::keep_message`]: the read side keeps it.
    pub async fn keep_message(&self, message: KeptMessage) -> StoreResult<()> {
        let stream = facts_of(shard_of(&message.customer), self.dialer.spans_shards());
        let told = Told { customer: message.customer.clone(), at: self.clock.now(), message: Some(message), ..Told::default() };
        let mut add = redis::cmd("XADD");
        add.arg(stream).arg("*").arg("t").arg(told.encode());
        self.plain(&[add]).await?;
        self.follower.told();
        Ok(())
    }

    /// [`super::super::Store::prune`].
    pub async fn prune(&self) -> StoreResult<u64> {
        self.forget_sides().await?;
        let oldest = format!("{}-0", (self.clock.now().0 - SIDE_DAYS * DAY_MS).max(0));
        let trims: Vec<redis::Cmd> = streams()
            .filter(|shard| *shard == COMMON || self.epoch(*shard).is_some())
            .map(|shard| {
                let mut trim = redis::cmd("XTRIM");
                trim.arg(key(shard, "facts")).arg("MINID").arg("~").arg(&oldest);
                trim
            })
            .collect();
        let mut gone: u64 = 0;
        if !trims.is_empty() {
            gone += self.plain(&trims).await?.iter().map(|count| u64::try_from(value::int(count)).unwrap_or(0)).sum::<u64>();
        }
        if let Some(mirror) = self.options.mirror.as_ref().filter(|_| self.options.reports) {
            self.follower.caught_up().await;
            gone += mirror.prune().await?;
        }
        Ok(gone)
    }
}

/// Whether a name of the live runs is this funnel's version.
fn is(live: &str, funnel: &str, version: &str) -> bool {
    live.split_once(' ').is_some_and(|(name, other)| name == funnel && other == version)
}
