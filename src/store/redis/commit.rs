//! The commit of a turn, and giving customers back.

use super::super::digest;
use super::super::pause::Under;
use super::super::told::Told;
use super::super::{Commit, Committed, Fate, QUARANTINE_AFTER, RunRow, StoreResult};
use super::args::Args;
use super::key::shard_of;
use super::memory::{EffectFlight, Flight, UNKNOWN};
use super::outbox::told;
use super::pump::{Op, Reply};
use super::recent::Kept;
use super::record::{write_effect, write_record};
use super::script::Script;
use super::{Inner, value};
use crate::event::address::Address;
use crate::lang::time::Time;
use std::sync::Arc;

/// How long a customer whose turn failed without any input is left alone, in milliseconds.
const WAKE_FAULT_MS: i64 = 60_000;
/// Customers with failed wakes that are remembered; beyond it all counts begin anew.
const WAKE_FAULTS_MAX: usize = 1_000;
/// Most bytes of a cause that are kept.
const CAUSE_BYTES_MAX: usize = 1_000;

/// Records and effects up to this size are read whole by the scripts, many at once, where only their heads are asked
/// for; the script of the commit has the same number.
const SMALL_BYTES: usize = 4_096;

/// What is to be known of a commit when its answer comes.
struct Sent {
    customer: Arc<str>,
    shard: u16,
    epoch: u64,
    wake: Option<i64>,
    /// New effects: by what each can be paused, and whether it and her record are small.
    effects: Vec<(String, Under, bool)>,
    handed: bool,
    settled: Option<String>,
    withdrawn: Vec<String>,
    consumed: Vec<u64>,
    /// Addresses that are hers no more.
    given_up: Vec<Address>,
    recent: Option<Kept>,
}

impl Inner {
    /// [`super::super::Store::commit`].
    pub async fn commit(self: &Arc<Inner>, commits: Vec<Commit>) -> StoreResult<Vec<Committed>> {
        let mut outcomes = vec![Committed::Conflict; commits.len()];
        let own = self.take_addresses(&commits).await?;
        let before = self.clock.now();
        let (mut sent, mut ops) = (Vec::with_capacity(commits.len()), Vec::with_capacity(commits.len()));
        for (place, commit) in commits.into_iter().enumerate() {
            let shard = shard_of(&commit.customer);
            // Not ours any more: whoever owns it does the turn anew.
            let Some(epoch) = self.epoch(shard) else { continue };
            let (flight, leaving, under) = {
                let mut memory = self.memory();
                let settled = commit.settled.as_ref().filter(|_| commit.books);
                let under = settled.and_then(|effect| memory.effects.get(effect)).map(|flight| flight.under);
                let flight = memory.customers.get(commit.customer.as_str()).cloned().unwrap_or_default();
                (flight, memory.shard(shard).leaving, under)
            };
            let mut commit = commit;
            // A shard that is to go to another worker would never be free of effects in hand.
            commit.hand_over &= !leaving;
            let erased = if commit.erase { self.effects_of(shard, &commit.customer).await? } else { Vec::new() };
            let own = own.get(place).copied().unwrap_or(0);
            let at = Where { shard, epoch, now: self.clock.now(), term: self.options.lease_ms, own, under };
            let (note, op) = prepare(commit, flight, at, erased);
            sent.push((place, note));
            ops.push(op);
        }
        let replies = self.each(ops).await?;
        if let [Err(why), others @ ..] = &replies[..]
            && others.iter().all(Result::is_err)
        {
            return Err(why.clone());
        }
        let (mut turns, mut effects) = (false, false);
        let mut left = Vec::new();
        for ((place, mut note), reply) in sent.into_iter().zip(replies) {
            let Ok(reply) = reply else {
                // Whether it is done nobody knows; the others are. She is free for another turn.
                self.release_later(vec![note.customer.to_string()]);
                continue;
            };
            let (outcome, ready) = read(&reply);
            match outcome {
                0 => {
                    outcomes[place] = Committed::Done;
                    effects |= !note.handed && !note.effects.is_empty();
                    turns |= ready || note.wake.is_some();
                    if !note.given_up.is_empty() {
                        left.push((note.customer.to_string(), std::mem::take(&mut note.given_up)));
                    }
                    self.done(note, ready, reply.now);
                }
                2 => self.lose(note.shard, note.epoch),
                outcome => {
                    if outcome == 4 {
                        outcomes[place] = Committed::Paused;
                    }
                    let mut memory = self.memory();
                    memory.landed(&note.customer);
                    memory.ready(note.shard, reply.now);
                    memory.wakes(note.shard, UNKNOWN);
                    turns = true;
                }
            }
        }
        self.notify(turns, effects);
        self.follower.told();
        self.leave_addresses(left, before).await;
        Ok(outcomes)
    }

    fn done(&self, note: Sent, ready: bool, now: i64) {
        let mut memory = self.memory();
        memory.landed(&note.customer);
        for seq in &note.consumed {
            memory.crashes.remove(&(note.shard, *seq));
        }
        for effect in note.settled.iter().chain(&note.withdrawn) {
            // One that is being sent was not withdrawn; its flight goes when its answer comes.
            if note.settled.as_ref() == Some(effect) {
                memory.effects.remove(effect);
            }
        }
        for (effect, under, small) in note.effects {
            match note.handed {
                true => {
                    let (shard, customer) = (note.shard, note.customer.clone());
                    let flight = EffectFlight { shard, customer, unsure: 0, ticket: 0, under, small };
                    memory.effects.insert(effect, flight);
                }
                false => {
                    memory.effects.remove(&effect);
                    memory.effect_due(note.shard, now);
                }
            }
        }
        if note.handed {
            memory.effect_due(note.shard, now + self.options.lease_ms);
        }
        if let Some(wake) = note.wake {
            memory.wakes(note.shard, wake);
        }
        match note.recent {
            Some(kept) if !ready => memory.recent.put(note.customer, kept),
            _ => {
                memory.recent.take(&note.customer);
            }
        }
        if ready {
            memory.ready(note.shard, now);
        }
    }

    /// [`super::super::Store::release`].
    pub async fn release(&self, customers: Vec<String>) -> StoreResult<()> {
        let mut ops = Vec::new();
        {
            let memory = self.memory();
            for customer in &customers {
                let Some(flight) = memory.customers.get(customer.as_str()) else { continue };
                ops.push(free(customer, flight));
            }
        }
        let now = self.clock.now().0;
        self.all(ops).await?;
        let mut memory = self.memory();
        for customer in &customers {
            let shard = shard_of(customer);
            let Some(flight) = memory.landed(customer) else { continue };
            for seq in &flight.counted {
                let count = memory.crashes.entry((shard, *seq)).or_default();
                *count = count.saturating_sub(1);
            }
            memory.ready(shard, now);
            memory.wakes(shard, value::instant(&flight.wake_at).unwrap_or(super::memory::NEVER));
        }
        drop(memory);
        self.notify(true, false);
        Ok(())
    }

    /// Gives customers back whose claimer has gone away.
    pub fn release_later(self: &Arc<Inner>, customers: Vec<String>) {
        let inner = self.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(why) = inner.release(customers).await {
                    tracing::warn!(%why, "customers could not be given back; they are handed out again after the lease");
                }
            });
        }
    }

    /// [`super::super::Store::fault`].
    pub async fn fault(&self, customer: String, seq: Option<u64>, cause: String) -> StoreResult<()> {
        let shard = shard_of(&customer);
        let (flight, seq, wake_faults) = {
            let mut memory = self.memory();
            let Some(flight) = memory.customers.get(customer.as_str()).cloned() else { return Ok(()) };
            let seq = seq.or_else(|| flight.inputs.first().copied());
            let faults = if seq.is_none() { wake_fault(&mut memory.wake_faults, &customer) } else { 0 };
            (flight, seq, faults)
        };
        // What was counted against her other inputs at the claim is taken back.
        let others: Vec<u64> = flight.counted.iter().copied().filter(|counted| Some(*counted) != seq).collect();
        let by = u32::from(!seq.is_some_and(|seq| flight.counted.contains(&seq)));
        let until = self.clock.now().0 + WAKE_FAULT_MS;
        let wake_at = match (seq, flight.wake_at.is_empty()) {
            (None, false) => until.to_string(),
            _ => flight.wake_at.clone(),
        };
        let list = seq.is_some() || wake_faults == QUARANTINE_AFTER;
        let cause = if list { cause.as_str() } else { "" };
        let reply = self.call(fault(&customer, shard, &flight, Blame { seq, by, wake_at: &wake_at, cause, keep: false })).await?;
        if !others.is_empty() {
            self.uncount(shard, flight.epoch, &customer, &others).await?;
        }
        let mut memory = self.memory();
        memory.landed(&customer);
        if let Some(seq) = seq {
            match u32::try_from(value::int(&reply.value)) {
                Ok(0) => memory.crashes.remove(&(shard, seq)),
                Ok(count) => memory.crashes.insert((shard, seq), count),
                Err(_) => None,
            };
        }
        memory.ready(shard, reply.now);
        memory.wakes(shard, value::instant(&wake_at).unwrap_or(super::memory::NEVER));
        drop(memory);
        self.notify(true, false);
        Ok(())
    }

    /// [`super::super::Store::unquarantine`].
    pub async fn unquarantine(&self, customer: String, seq: u64, fate: Fate) -> StoreResult<bool> {
        let shard = shard_of(&customer);
        let mut op = Op::new(Script::Aside, shard);
        op.args.int(seq).push(&customer).push(if fate == Fate::Drop { "1" } else { "" });
        let reply = self.call(op).await?;
        let there = value::int(&reply.value) == 1;
        if there && fate == Fate::Retry {
            self.memory().ready(shard, reply.now);
            self.notify(true, false);
        }
        Ok(there)
    }

    async fn uncount(&self, shard: u16, epoch: u64, customer: &str, seqs: &[u64]) -> StoreResult<()> {
        let flight = Flight { epoch, counted: seqs.to_vec(), ..Flight::default() };
        self.call(free(customer, &flight)).await?;
        let mut memory = self.memory();
        for seq in seqs {
            let count = memory.crashes.entry((shard, *seq)).or_default();
            *count = count.saturating_sub(1);
        }
        Ok(())
    }

    /// Puts an input aside at once; its customer stays claimed.
    pub async fn put_aside(&self, customer: &str, shard: u16, epoch: u64, seq: u64, cause: &str) -> StoreResult<()> {
        tracing::error!(%customer, %cause, "an input was put aside; `autofunnel quarantine list` shows it");
        let flight = Flight { epoch, ..Flight::default() };
        let blame = Blame { seq: Some(seq), by: QUARANTINE_AFTER, wake_at: "", cause, keep: true };
        self.call(fault(customer, shard, &flight, blame)).await?;
        self.memory().crashes.remove(&(shard, seq));
        Ok(())
    }
}

/// Outcome and whether she is ready again.
fn read(reply: &Reply) -> (i64, bool) {
    match &reply.value {
        redis::Value::Array(parts) => {
            (parts.first().map_or(1, value::int), parts.get(1).is_some_and(|ready| value::int(ready) == 1))
        }
        _ => (1, false),
    }
}

struct Where {
    shard: u16,
    epoch: u64,
    now: Time,
    term: i64,
    /// Inputs that were put into her inbox for this commit.
    own: u32,
    /// By what the booking that it makes can be paused.
    under: Option<Under>,
}

/// The inbox has to be empty.
const TAKEN: u32 = 1;
/// New effects are handed to the committer.
const HANDED: u32 = 2;
/// There is more than most commits have.
const MORE: u32 = 4;
/// For each input that was put into the inbox for this commit.
const OWN: u32 = 8;

/// The script's item for a commit, and what has to be known when its answer comes.
fn prepare(mut commit: Commit, flight: Flight, at: Where, erased: Vec<String>) -> (Sent, Op) {
    let handed = commit.hand_over && !commit.effects.is_empty() && !commit.erase;
    let shown = digest::shown(&commit.index);
    let versions = live_runs(&commit.runs, &commit.began, &commit.moved);
    let told = tell(&mut commit, flight.shown != shown, at.now);
    let document = write_record(commit.base + 1, commit.gate, digest::judged(&commit.judged), shown, &commit.document);
    let wake = commit.wake.filter(|_| !commit.erase).map(|wake| wake.0);
    let wake_text = wake.map(|wake| wake.to_string()).unwrap_or_default();
    let more = more(&mut commit, &flight, versions, erased, at.under);
    let customer = commit.customer.as_str();
    let mut op = Op { script: Script::Commit, shard: at.shard, args: Args::with_room(document.len() + 1_024) };
    let flags = if flight.taken { TAKEN } else { 0 }
        | if handed { HANDED } else { 0 }
        | if more.is_some() { MORE } else { 0 }
        | (at.own * OWN);
    let args = &mut op.args;
    let last = commit.consumed.iter().max().copied().unwrap_or_default();
    let base = [commit.base.to_be_bytes(), last.to_be_bytes()].concat();
    args.int(at.epoch).push(customer).push(base).int(flags).push(&document);
    args.push(told.map(|told| told.encode()).unwrap_or_default()).push(&wake_text).push(&flight.wake_at).push(&flight.ready_at);
    let cut = more.as_ref().is_none_or(|more| more.scattered.is_empty());
    args.count(if cut { commit.consumed.len() } else { 0 });
    args.push(commit.settled.as_deref().unwrap_or_default()).int(at.term).count(commit.effects.len());
    let mut small = document.len() <= SMALL_BYTES;
    for effect in &commit.effects {
        let written = write_effect(effect);
        small &= written.len() <= SMALL_BYTES;
        args.push(&effect.id).push(written);
    }
    let withdrawn = match more {
        Some(more) => more.add(args),
        None => Vec::new(),
    };
    let recent = handed.then(|| Kept {
        epoch: at.epoch,
        wake_at: wake_text,
        shown,
        record: super::super::Record {
            version: commit.base + 1,
            document: commit.document,
            account: commit.account.unwrap_or_else(|| flight.account.to_vec()),
            gate: commit.gate,
            erased: false,
        },
    });
    let sent = Sent {
        customer: Arc::from(customer),
        shard: at.shard,
        epoch: at.epoch,
        wake,
        effects: commit.effects.into_iter().map(|effect| (effect.id.clone(), Under::of(&effect), small)).collect(),
        handed,
        settled: commit.settled,
        withdrawn,
        consumed: commit.consumed,
        given_up: if commit.erase { Vec::new() } else { commit.addresses_left },
        recent,
    };
    (sent, op)
}

/// What only a few commits have.
struct More {
    erase: bool,
    account: Option<Vec<u8>>,
    books: Option<Under>,
    scattered: Vec<u64>,
    versions: Vec<(String, i64)>,
    uncounted: Vec<u64>,
    withdrawn: Vec<String>,
}

fn more(
    commit: &mut Commit,
    flight: &Flight,
    versions: Vec<(String, i64)>,
    erased: Vec<String>,
    books: Option<Under>,
) -> Option<More> {
    let scattered = if flight.inputs.starts_with(&commit.consumed) { Vec::new() } else { commit.consumed.clone() };
    let more = More {
        erase: commit.erase,
        account: commit.account.clone(),
        books,
        scattered,
        versions,
        uncounted: flight.counted.clone(),
        withdrawn: if commit.erase { erased } else { std::mem::take(&mut commit.withdrawn) },
    };
    let nothing = !more.erase
        && more.account.is_none()
        && more.books.is_none()
        && more.scattered.is_empty()
        && more.versions.is_empty()
        && more.uncounted.is_empty()
        && more.withdrawn.is_empty();
    (!nothing).then_some(more)
}

impl More {
    /// Adds its arguments; returns the effects that are taken back.
    fn add(self, args: &mut Args) -> Vec<String> {
        args.push(match (self.erase, self.account.is_some()) {
            (true, _) => "erase",
            (false, true) => "account",
            (false, false) => "",
        });
        args.push(self.account.unwrap_or_default()).push(self.books.map(told).unwrap_or_default()).count(self.scattered.len());
        self.scattered.iter().for_each(|seq| {
            args.push(seq.to_be_bytes());
        });
        args.count(self.versions.len());
        self.versions.iter().for_each(|(version, by)| {
            args.push(version).int(*by);
        });
        args.count(self.uncounted.len());
        self.uncounted.iter().for_each(|seq| {
            args.int(*seq);
        });
        args.count(self.withdrawn.len());
        self.withdrawn.iter().for_each(|effect| {
            args.push(effect);
        });
        self.withdrawn
    }
}

/// What the read side has to know; `None`: nothing.
fn tell(commit: &mut Commit, line: bool, at: Time) -> Option<Told> {
    let new = line || commit.base == 0;
    let told = Told {
        customer: commit.customer.clone(),
        at,
        facts: std::mem::take(&mut commit.facts),
        terms: commit.terms,
        runs: std::mem::take(&mut commit.runs),
        index: new.then(|| std::mem::take(&mut commit.index)),
        erased: commit.erase,
        message: None,
    };
    if commit.erase {
        return Some(Told { facts: Vec::new(), runs: Vec::new(), index: None, ..told });
    }
    let empty = told.facts.is_empty() && told.runs.is_empty() && told.index.is_none();
    (!empty).then_some(told)
}

/// What a turn adds to the number of live runs of each version.
fn live_runs(runs: &[RunRow], began: &[u64], moved: &[(String, String, String)]) -> Vec<(String, i64)> {
    let mut sums: Vec<(String, i64)> = Vec::new();
    let changed = runs.iter().map(|run| {
        let ended = matches!(run.state.as_str(), "finished" | "exited" | "stopped");
        (format!("{} {}", run.funnel, run.version), i64::from(began.contains(&run.run)) - i64::from(ended))
    });
    let moved = moved.iter().flat_map(|(funnel, from, to)| [(format!("{funnel} {from}"), -1), (format!("{funnel} {to}"), 1)]);
    for (name, by) in changed.chain(moved) {
        match sums.iter_mut().find(|(other, _)| *other == name) {
            Some(sum) => sum.1 += by,
            None => sums.push((name, by)),
        }
    }
    sums.retain(|(_, by)| *by != 0);
    sums
}

fn free(customer: &str, flight: &Flight) -> Op {
    let shard = shard_of(customer);
    let mut op = Op::new(Script::Free, shard);
    op.args.int(flight.epoch).push(customer).push(&flight.ready_at).push(&flight.wake_at).count(flight.counted.len());
    flight.counted.iter().for_each(|seq| {
        op.args.int(*seq);
    });
    op
}

struct Blame<'b> {
    seq: Option<u64>,
    by: u32,
    wake_at: &'b str,
    cause: &'b str,
    keep: bool,
}

fn fault(customer: &str, shard: u16, flight: &Flight, blame: Blame<'_>) -> Op {
    let mut op = Op::new(Script::Fault, shard);
    let mut end = blame.cause.len().min(CAUSE_BYTES_MAX);
    while !blame.cause.is_char_boundary(end) {
        end -= 1;
    }
    op.args.int(flight.epoch).push(customer);
    op.args.push(blame.seq.map(|seq| seq.to_be_bytes().to_vec()).unwrap_or_default());
    op.args.push(&flight.ready_at).push(blame.wake_at).push(&blame.cause[..end]);
    op.args.int(QUARANTINE_AFTER).int(blame.by).push(if blame.keep { "1" } else { "" });
    op
}

/// Counts a failed turn of a customer without inputs.
fn wake_fault(faults: &mut std::collections::HashMap<Arc<str>, u32>, customer: &str) -> u32 {
    // Few customers fail this way at one time; should many, the oldest counts are worth nothing.
    if faults.len() >= WAKE_FAULTS_MAX {
        faults.clear();
    }
    let count = faults.entry(Arc::from(customer)).or_default();
    *count += 1;
    *count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked_out(consumed: &[u64], handed: &[u64]) -> Option<Vec<u64>> {
        let mut commit = Commit { consumed: consumed.to_vec(), ..Commit::default() };
        let flight = Flight { inputs: handed.to_vec(), ..Flight::default() };
        more(&mut commit, &flight, Vec::new(), Vec::new(), None).map(|more| more.scattered)
    }

    #[test]
    fn the_oldest_inputs_are_cut_off_and_others_picked_out() {
        assert_eq!(picked_out(&[1, 2], &[1, 2, 3]), None);
        assert_eq!(picked_out(&[1, 3], &[1, 2, 3]), Some(vec![1, 3]));
        assert_eq!(picked_out(&[], &[1]), None);
    }

    #[test]
    fn live_runs_are_counted_when_they_begin_and_end() {
        let run = |run, state: &str| RunRow {
            customer: "anna".to_owned(),
            run,
            funnel: "f".to_owned(),
            version: "v".to_owned(),
            state: state.to_owned(),
            step: String::new(),
            entered: Time(0),
            until: None,
        };
        assert_eq!(live_runs(&[run(1, "waiting")], &[1], &[]), [("f v".to_owned(), 1)]);
        assert_eq!(live_runs(&[run(1, "held"), run(2, "exited")], &[], &[]), [("f v".to_owned(), -1)]);
        assert_eq!(live_runs(&[run(1, "finished"), run(2, "waiting")], &[1], &[]), []);
        let moved = [("f".to_owned(), "u".to_owned(), "v".to_owned())];
        let both = |n: i64| [("f v".to_owned(), n), ("f u".to_owned(), -1)];
        assert_eq!(live_runs(&[run(1, "waiting")], &[], &moved), both(1));
        // It moved and ended: it is gone from the version before, and was never live in this one.
        assert_eq!(live_runs(&[run(1, "finished")], &[], &moved), both(1)[1..]);
    }
}
