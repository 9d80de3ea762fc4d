//! The comparison after the copying: the source is read once more, the target is read back, and both are counted
//! and digested item by item.

use super::super::AddressRow;
use super::super::StoreResult;
use super::super::pause::Pauses;
use super::super::redis::import::{self, Target, Tried};
use super::super::sqlite::export::Source;
use super::item::{Numbers, Sum, digest, input_digest};
use super::{BATCH_IDS, BATCH_ITEMS, Line, Outcome, Progress, Watch, listed, live_runs, numbered};
use crate::customer::codec::encode;
use crate::event::address::Address;
use std::collections::BTreeSet;
use std::path::Path;

/// Differences that are told one by one.
const TOLD_MAX: usize = 20;

/// Compares everything; what differs is in the outcome.
pub async fn compare(
    source: &Source,
    target: &Target,
    report: &Path,
    watch: Watch<'_>,
    outcome: &mut Outcome,
) -> StoreResult<()> {
    let mut check = Check { source, target, watch, outcome };
    check.customers().await?;
    check.inputs().await?;
    check.effects().await?;
    check.seen().await?;
    check.tombstones().await?;
    check.addresses().await?;
    check.kept().await?;
    for one in source.report_rows(report)? {
        check.line(&format!("read side: {}", one.table), one.source, one.target, one.same);
    }
    Ok(())
}

struct Check<'c> {
    source: &'c Source,
    target: &'c Target,
    watch: Watch<'c>,
    outcome: &'c mut Outcome,
}

impl Check<'_> {
    fn line(&mut self, what: &str, source: u64, target: u64, same: bool) {
        self.outcome.lines.push(Line { what: what.to_owned(), source, target, same: same && source == target });
    }

    fn sums(&mut self, what: &str, source: Sum, target: Sum) {
        self.line(what, source.count, target.count, source == target);
    }

    fn tell(&mut self, what: String) {
        if self.outcome.differences.len() < TOLD_MAX {
            self.outcome.differences.push(what);
        }
    }

    async fn customers(&mut self) -> StoreResult<()> {
        let of = self.source.number("SELECT count(*) FROM customer")?;
        let (mut own, mut other) = ((Sum::default(), Sum::default()), (Sum::default(), Sum::default()));
        let (mut after, mut wakes) = (0, 0);
        loop {
            let customers = self.source.customers(after, BATCH_ITEMS)?;
            let Some(last) = customers.last() else { break };
            after = last.num;
            for (mine, found) in customers.iter().zip(self.target.read_customers(&customers).await?) {
                wakes += u64::from(mine.wake.is_some());
                add(&mut own, mine.digest(), (!mine.account.is_empty()).then(|| mine.account_digest()));
                let Some(found) = found else {
                    self.tell(format!("customer {} is missing", mine.id));
                    continue;
                };
                if found.digest() != mine.digest() || found.account != mine.account {
                    self.tell(format!("customer {} differs", mine.id));
                }
                add(&mut other, found.digest(), (!found.account.is_empty()).then(|| found.account_digest()));
            }
            (self.watch)(Progress { what: "comparing customers", done: own.0.count, of });
        }
        self.sums("customers", own.0, other.0);
        self.sums("accounts", own.1, other.1);
        let counted = self.target.count("ZCARD", "wake").await?;
        self.line("wakes", wakes, counted, true);
        let live = live_runs(self.source)?;
        let found = self.target.read_live_runs().await?;
        self.line("live runs", live.values().sum(), found.values().sum(), live == found);
        Ok(())
    }

    async fn inputs(&mut self) -> StoreResult<()> {
        let mut numbers = Numbers::new(import::shards());
        let rows = listed(self.source, &mut numbers, &mut Vec::new())?;
        let (mut own, mut other) = (Sum::default(), Sum::default());
        rows.iter().for_each(|(_, _, row)| own.add(digest(&[row])));
        self.target.read_put_aside().await?.iter().for_each(|row| other.add(digest(&[row])));
        let aside = (own, other);
        let of = self.source.number("SELECT count(*) FROM inbox")?;
        let (mut own, mut other, mut after) = (Sum::default(), Sum::default(), i64::MIN);
        let mut customers = BTreeSet::new();
        loop {
            let rows = self.source.inputs(after, BATCH_ITEMS)?;
            let Some(last) = rows.last() else { break };
            after = last.seq;
            for row in rows {
                let (customer, number, crashes, body) = numbered(row, &mut numbers);
                own.add(input_digest(&customer, number, crashes, &body));
                customers.insert(customer);
            }
        }
        let (ready, counted) = (customers.len() as u64, self.target.count("ZCARD", "ready").await?);
        self.line("customers with inputs", ready, counted, true);
        for customer in customers {
            let (inputs, ready) = self.target.read_inputs(&customer).await?;
            if !inputs.is_sorted_by(|a, b| a.0 < b.0) || !ready {
                self.tell(format!("the inbox of customer {customer} is not in order"));
            }
            inputs.iter().for_each(|(number, crashes, body)| other.add(input_digest(&customer, *number, *crashes, body)));
            (self.watch)(Progress { what: "comparing inputs", done: other.count, of });
        }
        self.sums("inputs", own, other);
        let (own, found) = (numbers.highest(), self.target.read_last_numbers().await?);
        let used = |last: &[u64]| last.iter().filter(|last| **last > 0).count() as u64;
        self.line("shards with inputs", used(&own), used(&found), own == found);
        self.sums("put aside", aside.0, aside.1);
        Ok(())
    }

    async fn effects(&mut self) -> StoreResult<()> {
        let of = self.source.number("SELECT count(*) FROM outbox")?;
        let (mut own, mut other, mut after) = (Sum::default(), Sum::default(), i64::MIN);
        loop {
            let rows = self.source.effects(after, BATCH_ITEMS)?;
            let Some((last, _)) = rows.last() else { break };
            after = *last;
            let effects: Vec<_> = rows.into_iter().filter_map(|(_, effect)| effect.ok()).collect();
            for (mine, found) in effects.iter().zip(self.target.read_effects(&effects).await?) {
                let tried = Tried {
                    attempts: mine.attempts,
                    begun: mine.begun,
                    unsure: mine.unsure,
                    digest: mine.digest.clone(),
                    why: mine.why.clone(),
                };
                let id = &mine.effect.id;
                let wanted = effect_digest(id, mine.due.unwrap_or(self.target.started), &tried, &encode(&mine.effect));
                own.add(wanted);
                match found {
                    None => self.tell(format!("effect {id} is missing")),
                    Some((due, tried, body)) => {
                        let found = effect_digest(id, due, &tried, &body);
                        if found != wanted {
                            self.tell(format!("effect {id} differs"));
                        }
                        other.add(found);
                    }
                }
            }
            (self.watch)(Progress { what: "comparing effects", done: own.count, of });
        }
        self.sums("effects", own, other);
        let counted = self.target.count("ZCARD", "outbox").await?;
        self.line("effects as counted", own.count, counted, true);
        Ok(())
    }

    async fn seen(&mut self) -> StoreResult<()> {
        let of = self.source.number("SELECT count(*) FROM seen")?;
        let (mut own, mut other, mut from) = (Sum::default(), Sum::default(), Some(i64::MIN));
        while let Some(start) = from {
            let mut ids = self.source.seen(start, BATCH_IDS)?;
            let Some(last) = ids.last() else { break };
            from = i64::from_be_bytes(last.digest).checked_add(1);
            let all = ids.len();
            ids.retain(|one| one.hour >= self.target.first_hour());
            self.outcome.too_old += (all - ids.len()) as u64;
            for (mine, found) in ids.iter().zip(self.target.read_seen(&ids).await?) {
                own.add(digest(&[&mine.digest, &mine.body.to_be_bytes()]));
                if let Some(body) = found {
                    other.add(digest(&[&mine.digest, &body.to_be_bytes()]));
                }
            }
            (self.watch)(Progress { what: "comparing ids of events", done: own.count + self.outcome.too_old, of });
        }
        self.sums("ids of events", own, other);
        Ok(())
    }

    async fn tombstones(&mut self) -> StoreResult<()> {
        let (mut own, mut other, mut from) = (Sum::default(), Sum::default(), Some(i64::MIN));
        while let Some(start) = from {
            let digests = self.source.tombstones(start, BATCH_IDS)?;
            let Some(last) = digests.last() else { break };
            from = i64::from_be_bytes(*last).checked_add(1);
            for (mine, found) in digests.iter().zip(self.target.read_tombstones(&digests).await?) {
                own.add(digest(&[mine]));
                if found {
                    other.add(digest(&[mine]));
                }
            }
        }
        self.sums("erased customers", own, other);
        let counted = self.target.count("SCARD", "erased").await?;
        self.line("erased as counted", own.count, counted, true);
        Ok(())
    }

    /// Who has which address, what was said about it, and the key of links.
    async fn addresses(&mut self) -> StoreResult<()> {
        let (mut own, mut other, mut after) = (Sum::default(), Sum::default(), String::new());
        loop {
            let rows = self.source.addresses(&after, BATCH_ITEMS)?;
            let Some((last, _)) = rows.last() else { break };
            after = last.as_str().to_owned();
            let which: Vec<Address> = rows.iter().map(|(address, _)| address.clone()).collect();
            for ((address, mine), found) in rows.iter().zip(self.target.read_addresses(&which).await?) {
                own.add(address_digest(address, mine));
                other.add(address_digest(address, &found));
                if found != *mine {
                    self.tell(format!("the address {address} differs"));
                }
            }
        }
        self.sums("addresses", own, other);
        if let Some(key) = self.source.link_key()?
            && self.target.read_link_key().await? != key
        {
            self.tell("the key that signs links differs".to_owned());
        }
        Ok(())
    }

    /// What is kept for everybody.
    async fn kept(&mut self) -> StoreResult<()> {
        let sum = |versions: &[super::item::Version]| {
            let mut sum = Sum::default();
            for one in versions {
                let funnels = one.funnels.iter().flat_map(|(funnel, version)| [funnel.as_bytes(), version.as_bytes()]);
                let parts: Vec<&[u8]> = [one.hash.as_bytes(), &one.bundle].into_iter().chain(funnels).collect();
                sum.add(digest(&parts));
            }
            sum
        };
        let (own, other) = (self.source.versions()?, self.target.read_versions().await?);
        self.sums("definitions", sum(&own.0), sum(&other.0));
        if own.1 != other.1 {
            self.tell("other definitions are current".to_owned());
        }
        let sum = |tokens: &[super::super::TokenRow]| {
            let mut sum = Sum::default();
            for one in tokens {
                let expires = format!("{:?}", one.expires);
                sum.add(digest(&[&one.digest, one.name.as_bytes(), one.scopes.join("\n").as_bytes(), expires.as_bytes()]));
            }
            sum
        };
        let (own, other) = (self.source.tokens()?, self.target.read_tokens().await?);
        self.sums("tokens", sum(&own), sum(&other));
        self.words().await
    }

    /// Pauses, what was applied, winners, and what was taken of quantities.
    async fn words(&mut self) -> StoreResult<()> {
        let (pauses, applied) = self.target.read_words().await?;
        let (own_pauses, own_applied) = (Pauses::new(self.source.pauses()?), self.source.applied()?);
        let (count, found) = (own_pauses.list().len() as u64, pauses.len() as u64);
        self.line("pauses", count, found, own_pauses == Pauses::new(pauses));
        self.line("applied", own_applied.len() as u64, applied.len() as u64, own_applied == applied);
        let (own_winners, winners) = (self.source.winners()?, self.target.read_winners().await?);
        self.line("winners", own_winners.len() as u64, winners.len() as u64, own_winners == winners);
        let own = super::lasting(self.source, self.target)?;
        let found = self.target.read_quantities(&own).await?;
        let same = own.iter().zip(&found).all(|(one, found)| Some(one.taken) == *found);
        self.line("used budgets", own.len() as u64, found.iter().flatten().count() as u64, same);
        Ok(())
    }
}

fn add(sums: &mut (Sum, Sum), item: u128, account: Option<u128>) {
    sums.0.add(item);
    if let Some(account) = account {
        sums.1.add(account);
    }
}

fn address_digest(address: &Address, row: &AddressRow) -> u128 {
    let holders = row.holders.iter().map(|(customer, since)| format!("{customer} {}", since.0));
    let stops = row.stops.iter().map(|stop| format!("{} {} {} {}", stop.channel, stop.kind.name(), stop.since.0, stop.source));
    let parts: Vec<String> = [address.to_string()].into_iter().chain(holders).chain(stops).collect();
    digest(&parts.iter().map(String::as_bytes).collect::<Vec<_>>())
}

fn effect_digest(id: &str, due: i64, tried: &Tried, body: &[u8]) -> u128 {
    digest(&[
        id.as_bytes(),
        &due.to_be_bytes(),
        &tried.attempts.to_be_bytes(),
        &tried.begun.to_be_bytes(),
        &tried.unsure.to_be_bytes(),
        &tried.digest,
        tried.why.as_bytes(),
        body,
    ])
}
