//! Addresses: who has one, and what was said about it.
//!
//! An address lies in a shard of its own digest, and so not in its customer's: no commit reaches both. A customer is
//! written into the index before the commit that gives her the address, and taken out after the one that ends it:
//! who has it is never missing, and one too many does no harm. What was said about an address that becomes hers is
//! in her inbox before the commit, so that nothing that it plans begins before her turn has read that.

use super::super::sqlite::crowded;
use super::super::{AddressRow, Commit, NewInput, REFERENCE_DAYS, Saying, StoreResult};
use super::import::Target;
use super::key::{key, meta, shard_of};
use super::pump::Op;
use super::script::Script;
use super::{Inner, value};
use crate::event::InputBody;
use crate::event::address::{Address, HOLDERS_MAX, SOFT_MAX, SOFT_MS, Stop, StopKind};
use crate::lang::time::{DAY_MS, Time};
use redis::{Cmd, Value};

/// The source of inputs that the index itself puts into an inbox.
const SOURCE: &str = "addresses";

impl Inner {
    /// Before commits: the addresses that they take, and those of customers who are forgotten. For each commit, how
    /// many inputs were put into her inbox.
    pub async fn take_addresses(&self, commits: &[Commit]) -> StoreResult<Vec<u32>> {
        let mut own = vec![0; commits.len()];
        let (mut ops, mut whose) = (Vec::new(), Vec::new());
        for (place, commit) in commits.iter().enumerate() {
            if self.epoch(shard_of(&commit.customer)).is_none() {
                continue;
            }
            if commit.erase {
                for address in &commit.addresses_left {
                    // Nothing begins for her any more: her unread wish to be forgotten stands before it.
                    ops.push(op("leave", address, &[&commit.customer, &(self.clock.now().0 + 1).to_string()]));
                    whose.push(None);
                }
            }
            for address in &commit.addresses_taken {
                ops.push(op("take", address, &[&commit.customer, &HOLDERS_MAX.to_string()]));
                whose.push(Some((place, address.clone())));
            }
        }
        if ops.is_empty() {
            return Ok(own);
        }
        let replies = self.all(ops).await?;
        let mut inputs = Vec::new();
        for (whose, reply) in whose.into_iter().zip(replies) {
            let Some((place, address)) = whose else { continue };
            let (full, row) = read(reply.value);
            let crowded = full.then(|| crowded(Time(reply.now))).into_iter().flatten();
            for stop in row.stops.into_iter().chain(crowded) {
                own[place] += 1;
                let (customer, body) = (commits[place].customer.clone(), InputBody::Stop { address: address.clone(), stop });
                inputs.push(NewInput { customer, source: SOURCE.to_owned(), id: None, digest: 0, body });
            }
        }
        if !inputs.is_empty() {
            self.accept(inputs).await?;
        }
        Ok(own)
    }

    /// After commits: addresses that are their customers' no more. `before` is when the commits were sent: whoever
    /// has taken an address again since stays in the index.
    pub async fn leave_addresses(&self, left: Vec<(String, Vec<Address>)>, before: Time) {
        let ops: Vec<Op> = left
            .iter()
            .flat_map(|(customer, left)| left.iter().map(move |address| (customer, address)))
            .map(|(customer, address)| op("leave", address, &[customer, &before.0.to_string()]))
            .collect();
        if ops.is_empty() {
            return;
        }
        if let Err(why) = self.all(ops).await {
            tracing::warn!(%why, "addresses that were given up stay in the index; that does no harm");
        }
    }

    /// [`super::super::Store::say`].
    pub async fn say(&self, address: Address, saying: Saying) -> StoreResult<AddressRow> {
        let op = match &saying {
            Saying::Stop(stop) => {
                op("stop", &address, &[&stop.channel, stop.kind.name(), &stop.since.0.to_string(), &stop.source])
            }
            Saying::Soft { stop, id } => {
                let counted = format!("{}:{SOFT_MAX}", self.clock.now().0 - SOFT_MS);
                op("soft", &address, &[&stop.channel, &stop.since.0.to_string(), &stop.source, id, &counted])
            }
            Saying::Lift { channel, until, only } => {
                let kinds: Vec<&str> =
                    StopKind::ALL.iter().filter(|kind| kind.is_lifted(*only)).map(|kind| kind.name()).collect();
                op("lift", &address, &[channel, &until.0.to_string(), &kinds.join(" ")])
            }
        };
        Ok(read(self.call(op).await?.value).1)
    }

    /// [`super::super::Store::address`].
    pub async fn address(&self, address: Address) -> StoreResult<AddressRow> {
        let mut all = redis::cmd("HGETALL");
        all.arg(place(&address));
        Ok(row(self.plain(&[all]).await?.pop().unwrap_or(Value::Nil)))
    }

    /// [`super::super::Store::keep_reference`].
    pub async fn keep_reference(&self, reference: Address, effect: String) -> StoreResult<()> {
        self.call(op("refer", &reference, &[&effect, &(REFERENCE_DAYS * DAY_MS).to_string()])).await.map(|_| ())
    }

    /// [`super::super::Store::reference`].
    pub async fn reference(&self, reference: Address) -> StoreResult<Option<String>> {
        let mut get = redis::cmd("HGET");
        get.arg(place(&reference)).arg("e");
        let found = value::text(self.plain(&[get]).await?.pop().unwrap_or(Value::Nil));
        Ok(Some(found).filter(|effect| !effect.is_empty()))
    }

    /// [`super::super::Store::link_key`].
    pub async fn link_key(&self) -> StoreResult<Vec<u8>> {
        let (mut set, mut get) = (redis::cmd("SETNX"), redis::cmd("GET"));
        set.arg(meta("link_key")).arg(super::super::new_link_key()?);
        get.arg(meta("link_key"));
        Ok(value::bytes(self.plain(&[set, get]).await?.pop().unwrap_or(Value::Nil)))
    }
}

/// The move of a store.
impl Target {
    /// Writes what is known of addresses.
    ///
    /// # Errors
    /// When Redis does not answer; so with all that follow.
    pub async fn addresses(&self, rows: &[(Address, AddressRow)]) -> StoreResult<()> {
        let commands: Vec<Cmd> = rows
            .iter()
            .filter(|(_, row)| !row.holders.is_empty() || !row.stops.is_empty())
            .map(|(address, row)| {
                let mut set = redis::cmd("HSET");
                set.arg(place(address));
                for (customer, since) in &row.holders {
                    set.arg(format!("c:{customer}")).arg(since.0);
                }
                for stop in &row.stops {
                    let field = format!("s:{}:{}", stop.channel, stop.kind.name());
                    set.arg(field).arg(format!("{} {}", stop.since.0, stop.source));
                }
                set
            })
            .collect();
        self.ask(&commands).await.map(|_| ())
    }

    /// What is known of addresses.
    ///
    /// # Errors
    /// As above.
    pub async fn read_addresses(&self, which: &[Address]) -> StoreResult<Vec<AddressRow>> {
        let commands: Vec<Cmd> = which
            .iter()
            .map(|address| {
                let mut all = redis::cmd("HGETALL");
                all.arg(place(address));
                all
            })
            .collect();
        Ok(self.ask(&commands).await?.into_iter().map(row).collect())
    }

    /// Writes the key that signs links.
    ///
    /// # Errors
    /// As above.
    pub async fn write_link_key(&self, key: &[u8]) -> StoreResult<()> {
        let mut set = redis::cmd("SET");
        set.arg(meta("link_key")).arg(key);
        self.ask(&[set]).await.map(|_| ())
    }

    /// The key that signs links.
    ///
    /// # Errors
    /// As above.
    pub async fn read_link_key(&self) -> StoreResult<Vec<u8>> {
        let mut get = redis::cmd("GET");
        get.arg(meta("link_key"));
        Ok(value::bytes(self.ask(&[get]).await?.pop().unwrap_or(Value::Nil)))
    }
}

/// The shard of an address: the first byte of its digest.
pub fn shard_of_address(address: &Address) -> u16 {
    address.as_str().get(..2).and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// The key of an address.
pub fn place(address: &Address) -> String {
    key(shard_of_address(address), "address:") + address.as_str()
}

fn op(mode: &str, address: &Address, with: &[&str]) -> Op {
    let mut op = Op::new(Script::Address, shard_of_address(address));
    op.args.push(mode).push(address.as_str());
    for place in 0..5 {
        op.args.push(with.get(place).copied().unwrap_or_default());
    }
    op
}

/// What a script answers: whether there was no room, and what is known.
fn read(reply: Value) -> (bool, AddressRow) {
    let mut parts = value::list(reply).into_iter();
    let full = value::int(&value::next(&mut parts)) == 1;
    (full, row(value::next(&mut parts)))
}

/// What the fields of an address say.
pub fn row(fields: Value) -> AddressRow {
    let mut found = AddressRow::default();
    for (name, kept) in value::pairs(fields) {
        let (name, kept) = (value::text(name), value::text(kept));
        match name.split_once(':') {
            Some(("c", customer)) => found.holders.push((customer.to_owned(), Time(kept.parse().unwrap_or(0)))),
            Some(("s", what)) => found.stops.extend(stop(what, &kept)),
            _ => {}
        }
    }
    found.holders.sort();
    found.stops.sort_by(|a, b| (&a.channel, a.kind.name()).cmp(&(&b.channel, b.kind.name())));
    found
}

/// A kind that a newer engine wrote is none that this one could heed.
fn stop(what: &str, kept: &str) -> Option<Stop> {
    let (channel, kind) = what.split_once(':')?;
    let (since, source) = kept.split_once(' ')?;
    let (kind, since) = (StopKind::parse(kind)?, since.parse().ok()?);
    Some(Stop { channel: channel.to_owned(), kind, since: Time(since), source: source.to_owned() })
}
