//! Taking a whole store in that comes from elsewhere, and reading it back to compare.
//!
//! Nothing works on the store meanwhile: a mark says that it is not whole, and an engine that finds the mark
//! does not start. Everything is written so that it may be written again: whoever was interrupted goes on.

use super::super::applied::Applied;
use super::super::migrate::item::{Customer, Outbound, Seen, Version};
use super::super::pause::Pause;
use super::super::{StoreError, StoreResult, TokenRow};
use super::address::Address;
use super::key::{COMMON, SHARDS, key, meta, shard_of};
use super::link::{Connection, Dialer};
use super::open::recognise;
use super::plain::Plain;
pub use super::record::Tried;
use super::record::{Aside, write_record, write_tried_effect};
use super::{SetClock, behind, check, value};
use crate::lang::time::{HOUR_MS, Time};
use crate::step::winner::Winner;
use redis::Cmd;
use std::collections::BTreeMap;

/// Portions in which ids of events are kept, as the accept's script reads them.
const SEEN_SPAN_MS: i64 = super::inbox::SEEN_SPAN_MS;
/// A worker that was heard within this time is at work, in milliseconds.
const WORKER_MS: i64 = 60_000;

/// Appends inputs whose numbers are higher than the last one's: those that are there stay once.
const APPEND: &str = "
for i = 1, #ARGV do
  local last = redis.call('LINDEX', KEYS[1], -1)
  if not last or string.sub(last, 1, 8) < string.sub(ARGV[i], 1, 8) then redis.call('RPUSH', KEYS[1], ARGV[i]) end
end
return redis.call('LLEN', KEYS[1])";

/// A store in Redis that is being filled.
pub struct Target {
    plain: Plain,
    shown: String,
    /// The store's id.
    pub id: String,
    /// When the filling began, by the clock of the store: the same after an interruption.
    pub started: i64,
    /// It goes on with what was interrupted.
    pub resumed: bool,
}

/// A command on one key.
pub fn command(name: &str, key: String) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}

fn mark() -> String {
    meta("migration")
}

/// Lets an engine pass if the store is whole.
///
/// # Errors
/// [`StoreError::Fatal`] when a migration into it has not ended.
pub async fn refuse_half(connection: &mut Connection, shown: &str) -> StoreResult<()> {
    let mut state = command("HGET", mark());
    state.arg("state");
    let state = connection.ask(&state).await.map_err(|why| StoreError::Fatal(format!("cannot use Redis at {shown}: {why}")))?;
    match value::text(state).as_str() {
        "" | "done" => Ok(()),
        _ => Err(StoreError::Fatal(format!(
            "the store at {shown} is not whole: a migration into it has not ended; run `autofunnel migrate-store` again, \
             or empty that Redis"
        ))),
    }
}

impl Target {
    /// Opens an empty Redis, or one in which a migration of this very source (`fingerprint`) was interrupted.
    ///
    /// # Errors
    /// When it cannot be reached, is unsafe, holds customers, or is being filled from another source.
    pub async fn open(address: &str, accept_loss: bool, clock: Option<&SetClock>, fingerprint: &str) -> StoreResult<Target> {
        let parsed = Address::parse(address)?;
        let shown = parsed.to_string();
        let fatal = |why: redis::RedisError| {
            StoreError::Fatal(format!("cannot reach Redis at {shown}: {why}; check that it runs, the address and the password"))
        };
        let dialer = Dialer::new(parsed, address).map_err(fatal)?;
        let mut first = dialer.connect().await.map_err(fatal)?;
        let found = behind::servers(&mut first, &dialer).await.map_err(fatal)?;
        found.iter().try_for_each(|(_, found)| check::allow(found, accept_loss))?;
        let id = recognise(&mut first, &shown).await?;
        let mut target = Target { plain: Plain::new(dialer, first), shown, id, started: 0, resumed: false };
        target.begin(clock, fingerprint).await?;
        Ok(target)
    }

    async fn begin(&mut self, clock: Option<&SetClock>, fingerprint: &str) -> StoreResult<()> {
        let mut answers = self.ask(&[redis::cmd("TIME"), command("HGETALL", mark())]).await?.into_iter();
        let time = value::list(value::next(&mut answers));
        let now = clock.map_or_else(|| time.first().map_or(0, value::int) * 1_000, |clock| clock().0);
        let found: BTreeMap<String, String> = value::pairs(value::next(&mut answers))
            .into_iter()
            .map(|(name, kept)| (value::text(name), value::text(kept)))
            .collect();
        match (found.get("source"), found.get("state").map(String::as_str)) {
            (None, _) => {
                self.refuse_used(now).await?;
                self.set("started", &now.to_string()).await?;
                self.set("state", "copying").await?;
                self.set("source", fingerprint).await?;
                self.started = now;
                Ok(())
            }
            (Some(source), Some("copying")) if source == fingerprint => {
                self.started = found.get("started").and_then(|ms| ms.parse().ok()).unwrap_or(now);
                self.resumed = true;
                Ok(())
            }
            (Some(_), Some("copying")) => Err(StoreError::Fatal(format!(
                "a migration into the store at {} was interrupted, and its source was another one or has changed since; empty that \
                 Redis and begin anew",
                self.shown
            ))),
            _ => Err(self.used("a store was moved into it before")),
        }
    }

    fn used(&self, why: &str) -> StoreError {
        StoreError::Fatal(format!(
            "the store at {} is in use ({why}); name an empty Redis, or another database of it",
            self.shown
        ))
    }

    /// An engine has worked on it, or does.
    async fn refuse_used(&self, now: i64) -> StoreResult<()> {
        let mut workers = command("ZCOUNT", meta("workers"));
        workers.arg(now - WORKER_MS).arg("+inf");
        if self.ask(&[workers]).await?.first().map_or(0, value::int) > 0 {
            return Err(self.used("a worker is running"));
        }
        let mut asked: Vec<Cmd> = (0..SHARDS)
            .flat_map(|shard| ["last", "wake", "outbox", "facts", "erased"].map(|name| command("EXISTS", key(shard, name))))
            .collect();
        asked.extend([command("EXISTS", meta("current")), command("EXISTS", key(COMMON, "facts"))]);
        match self.ask(&asked).await?.iter().any(|found| value::int(found) > 0) {
            true => Err(self.used("it holds customers or definitions already")),
            false => Ok(()),
        }
    }

    /// Runs commands, of which there may be none.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn ask(&self, commands: &[Cmd]) -> StoreResult<Vec<redis::Value>> {
        match commands.is_empty() {
            true => Ok(Vec::new()),
            false => self.plain.run(commands).await,
        }
    }

    async fn set(&self, name: &str, text: &str) -> StoreResult<()> {
        let mut set = command("HSET", mark());
        set.arg(name).arg(text);
        self.ask(&[set]).await.map(|_| ())
    }

    /// Where the copying of a kind was when it was last noted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when Redis does not answer; so with all that follow.
    pub async fn place(&self, kind: &str) -> StoreResult<Option<i64>> {
        let mut get = command("HGET", mark());
        get.arg(kind);
        Ok(self.ask(&[get]).await?.into_iter().next().and_then(|place| value::text(place).parse().ok()))
    }

    /// Notes how far the copying of a kind is.
    ///
    /// # Errors
    /// As above.
    pub async fn note(&self, kind: &str, place: i64) -> StoreResult<()> {
        self.set(kind, &place.to_string()).await
    }

    /// Everything is copied anew the next time.
    ///
    /// # Errors
    /// As above.
    pub async fn forget_places(&self) -> StoreResult<()> {
        let mut forget = command("HDEL", mark());
        forget.arg("customers").arg("seen");
        self.ask(&[forget]).await.map(|_| ())
    }

    /// It is whole: engines may start.
    ///
    /// # Errors
    /// As above.
    pub async fn done(&self) -> StoreResult<()> {
        self.set("state", "done").await
    }

    /// Writes customers: record, account, wake.
    ///
    /// # Errors
    /// As above.
    pub async fn customers(&self, customers: &[Customer]) -> StoreResult<()> {
        let mut commands = Vec::with_capacity(customers.len() * 3);
        for one in customers {
            let shard = shard_of(&one.id);
            let mut record = command("SET", key(shard, "customer:") + &one.id);
            record.arg(write_record(one.version, one.gate, one.judged, one.shown, &one.document));
            commands.push(record);
            if !one.account.is_empty() {
                let mut account = command("SET", key(shard, "account:") + &one.id);
                account.arg(&one.account);
                commands.push(account);
            }
            if let Some(due) = one.wake {
                let mut wake = command("ZADD", key(shard, "wake"));
                wake.arg(due).arg(&one.id);
                commands.push(wake);
            }
        }
        self.ask(&commands).await.map(|_| ())
    }

    /// Appends inputs, given with their numbers in the order of acceptance; `suspect`: each may be the one that
    /// ended the source's engine.
    ///
    /// # Errors
    /// As above.
    pub async fn inputs(&self, inputs: &[(String, u64, u32, Vec<u8>)], suspect: bool) -> StoreResult<()> {
        let mut of: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
        let mut commands = Vec::new();
        for (customer, number, crashes, body) in inputs {
            let shard = shard_of(customer);
            of.entry(customer).or_default().push([&number.to_be_bytes()[..], body].concat());
            let mut ready = command("ZADD", key(shard, "ready"));
            // The half is what says that she was in somebody's hands.
            let at = super::record::accepted_at(*number).0;
            ready.arg("NX").arg(if suspect { format!("{at}.5") } else { at.to_string() }).arg(customer);
            commands.push(ready);
            if *crashes > 0 {
                let mut count = command("HSET", key(shard, "crashes"));
                count.arg(number).arg(crashes);
                commands.push(count);
            }
        }
        for (customer, rows) in of {
            let mut append = redis::cmd("EVAL");
            append.arg(APPEND).arg(1).arg(key(shard_of(customer), "inbox:") + customer);
            rows.iter().for_each(|row| {
                append.arg(row);
            });
            commands.push(append);
        }
        self.ask(&commands).await.map(|_| ())
    }

    /// Writes the highest number given in each shard (0: none was): the next input's is higher.
    ///
    /// # Errors
    /// As above.
    pub async fn last_numbers(&self, last: &[u64]) -> StoreResult<()> {
        let used = (0..SHARDS).zip(last).filter(|(_, last)| **last > 0);
        let commands: Vec<Cmd> = used
            .map(|(shard, last)| {
                let mut set = command("SET", key(shard, "last"));
                set.arg(last);
                set
            })
            .collect();
        self.ask(&commands).await.map(|_| ())
    }

    /// Writes effects.
    ///
    /// # Errors
    /// As above.
    pub async fn effects(&self, effects: &[Outbound]) -> StoreResult<()> {
        let mut commands = Vec::with_capacity(effects.len() * 2);
        for one in effects {
            let shard = shard_of(&one.effect.customer);
            let (mut set, mut add) =
                (command("SET", key(shard, "effect:") + &one.effect.id), command("ZADD", key(shard, "outbox")));
            set.arg(write_tried_effect(&one.effect, &self.tried(one)));
            add.arg(one.due.unwrap_or(self.started)).arg(&one.effect.id);
            commands.extend([set, add]);
        }
        self.ask(&commands).await.map(|_| ())
    }

    fn tried(&self, one: &Outbound) -> Tried {
        let (digest, why) = (one.digest.clone(), one.why.clone());
        Tried { attempts: one.attempts, begun: one.begun, unsure: one.unsure, digest, why }
    }

    /// Writes what was put aside: shard, number, row.
    ///
    /// # Errors
    /// As above.
    pub async fn put_aside(&self, rows: &[(u16, u64, Vec<u8>)]) -> StoreResult<()> {
        let commands: Vec<Cmd> = rows
            .iter()
            .map(|(shard, number, row)| {
                let mut set = command("HSET", key(*shard, "quarantine"));
                set.arg(number).arg(row);
                set
            })
            .collect();
        self.ask(&commands).await.map(|_| ())
    }

    /// When the filling began, in milliseconds by the clock of the store.
    pub fn began(&self) -> i64 {
        self.started
    }

    /// The earliest hour of which ids of events are still looked up.
    pub fn first_hour(&self) -> i64 {
        (self.started.div_euclid(SEEN_SPAN_MS) - 1) * (SEEN_SPAN_MS / HOUR_MS)
    }

    /// The hash in which an id of an event is kept.
    pub fn seen_key(&self, seen: &Seen) -> String {
        let of = (seen.hour * HOUR_MS).div_euclid(SEEN_SPAN_MS).min(self.started.div_euclid(SEEN_SPAN_MS));
        key(u16::from(seen.digest[0]), "seen:") + &format!("{of}:{}", seen.digest[1])
    }

    /// Writes ids of events.
    ///
    /// # Errors
    /// As above.
    pub async fn seen(&self, ids: &[Seen]) -> StoreResult<()> {
        let mut commands = Vec::with_capacity(ids.len() * 2);
        for one in ids {
            let name = self.seen_key(one);
            let (mut set, mut end) = (command("HSET", name.clone()), command("PEXPIRE", name));
            set.arg(&one.digest[..]).arg(&one.body.to_be_bytes()[..]);
            end.arg(SEEN_SPAN_MS * 2).arg("NX");
            commands.extend([set, end]);
        }
        self.ask(&commands).await.map(|_| ())
    }

    /// Writes digests of erased customers.
    ///
    /// # Errors
    /// As above.
    pub async fn tombstones(&self, digests: &[[u8; 8]]) -> StoreResult<()> {
        let commands: Vec<Cmd> = digests
            .iter()
            .map(|digest| {
                let mut add = command("SADD", key(u16::from(digest[0]), "erased"));
                add.arg(erased(digest));
                add
            })
            .collect();
        self.ask(&commands).await.map(|_| ())
    }

    /// Writes workspace versions, oldest first.
    ///
    /// # Errors
    /// As above.
    pub async fn versions(&self, versions: &[Version], current: Option<&str>) -> StoreResult<()> {
        let mut commands = Vec::new();
        for (seq, one) in (1..).zip(versions) {
            let kept = serde_json::to_string(&super::keep::Kept { seq, funnels: one.funnels.clone() })
                .map_err(|why| StoreError::Fatal(format!("cannot write the workspace's funnels down: {why}")))?;
            let (mut bundle, mut names) = (command("HSET", meta("bundles")), command("HSET", meta("funnels")));
            bundle.arg(&one.hash).arg(&one.bundle);
            names.arg(&one.hash).arg(kept);
            commands.extend([bundle, names]);
        }
        if let Some(hash) = current {
            let (mut set, mut count) = (command("SET", meta("current")), command("HSET", meta("store")));
            set.arg(hash);
            count.arg("definitions").arg(versions.len());
            commands.extend([count, set]);
        }
        self.ask(&commands).await.map(|_| ())
    }

    /// Writes tokens.
    ///
    /// # Errors
    /// As above.
    pub async fn tokens(&self, tokens: &[TokenRow]) -> StoreResult<()> {
        let mut commands = Vec::new();
        for token in tokens {
            let kept =
                serde_json::to_string(token).map_err(|why| StoreError::Fatal(format!("cannot write the token down: {why}")))?;
            let mut set = command("HSET", meta("tokens"));
            set.arg(&token.digest).arg(kept);
            commands.push(set);
        }
        self.ask(&commands).await.map(|_| ())
    }

    /// Writes what is paused. Whoever takes a shard heeds it.
    ///
    /// # Errors
    /// As above.
    pub async fn pauses(&self, pauses: &[Pause]) -> StoreResult<()> {
        let mut commands = Vec::new();
        for pause in pauses {
            let kept =
                serde_json::to_string(pause).map_err(|why| StoreError::Fatal(format!("cannot write the pause down: {why}")))?;
            let mut set = command("HSET", meta("pauses"));
            set.arg(pause.of.name()).arg(kept).arg("change").arg(1);
            commands.push(set);
        }
        self.ask(&commands).await.map(|_| ())
    }

    /// Writes what was applied, newest first, in the place of what was written before.
    ///
    /// # Errors
    /// As above.
    pub async fn applied(&self, applied: &[Applied]) -> StoreResult<()> {
        let mut commands = vec![command("DEL", meta("applied"))];
        for one in applied {
            let kept = serde_json::to_string(one)
                .map_err(|why| StoreError::Fatal(format!("cannot write down who applied what: {why}")))?;
            let mut push = command("RPUSH", meta("applied"));
            push.arg(kept);
            commands.push(push);
        }
        self.ask(&commands).await.map(|_| ())
    }

    /// Writes the winners of splits in the place of what was written before.
    ///
    /// # Errors
    /// As above.
    pub async fn winners(&self, winners: &[Winner]) -> StoreResult<()> {
        let mut commands = vec![command("DEL", meta("winners"))];
        for one in winners {
            let kept =
                serde_json::to_string(one).map_err(|why| StoreError::Fatal(format!("cannot write a winner down: {why}")))?;
            let mut set = command("HSET", meta("winners"));
            set.arg(format!("{} {}", one.funnel, one.step)).arg(kept);
            commands.push(set);
        }
        self.ask(&commands).await.map(|_| ())
    }

    /// Writes how many live runs each version has in each shard, and forgets what was written before.
    ///
    /// # Errors
    /// As above.
    pub async fn live_runs(&self, live: &BTreeMap<(u16, String), u64>) -> StoreResult<()> {
        let mut commands: Vec<Cmd> = (0..SHARDS).map(|shard| command("DEL", key(shard, "live"))).collect();
        for ((shard, version), count) in live {
            let mut set = command("HSET", key(*shard, "live"));
            set.arg(version).arg(count);
            commands.push(set);
        }
        self.ask(&commands).await.map(|_| ())
    }
}

/// An erased customer as a shard's set names her.
pub fn erased(digest: &[u8; 8]) -> String {
    digest[1..].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row of what was put aside.
pub fn aside_row(customer: &str, at: i64, cause: &str, input: Option<(u64, &[u8])>) -> Vec<u8> {
    let input = input.map(|(number, body)| [&number.to_be_bytes()[..], body].concat()).unwrap_or_default();
    Aside { customer: customer.to_owned(), at: Time(at), cause: cause.to_owned(), input: &input }.write()
}

/// The shard of a customer.
pub fn shard(customer: &str) -> u16 {
    shard_of(customer)
}

/// How many shards there are.
pub const fn shards() -> u16 {
    SHARDS
}
