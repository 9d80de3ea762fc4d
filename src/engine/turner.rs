//! The turn worker: a batch of claimed customers, one turn each, one commit for all.

use super::record::Decided;
use super::{Engine, Live, Meter, record};
use crate::effect::Effect;
use crate::queue::Handler;
use crate::store::known::Carried;
use crate::store::{Claim, Committed, Delivery, StoreError};
use crate::turn::{self, Turned};
use futures_util::future::BoxFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Pause after a commit that the store did not take, in milliseconds.
const COMMIT_PAUSE_MS: u64 = 200;

/// A turn that could not be done.
#[derive(Debug)]
pub enum Failure {
    /// It panicked: the message.
    Crash(String),
    /// A stored document cannot be read.
    Document(String),
    /// A run is pinned to a version that is not known here; nothing was decided.
    Version(String),
}

/// Does the turns of a batch.
pub struct Turner {
    /// The engine.
    pub engine: Engine,
}

impl Handler<Vec<Claim>> for Turner {
    fn handle(&self, batch: Vec<Claim>) -> BoxFuture<'static, ()> {
        let engine = self.engine.clone();
        Box::pin(async move { engine.turn_batch(batch).await })
    }
}

impl Engine {
    async fn turn_batch(&self, batch: Vec<Claim>) {
        let live = self.live.get();
        let mut commits = Vec::with_capacity(batch.len());
        for claim in batch {
            let (customer, first) = (claim.customer.clone(), claim.inputs.first().map(|queued| queued.seq));
            if let Some(recorder) = self.recorder.as_ref().filter(|_| !claim.record.erased) {
                recorder.begun(&claim, &live.definitions.current.hash);
            }
            match turn_claim(&live, claim) {
                Ok(decided) => {
                    let commit = &decided.commit;
                    if let Some(recorder) = &self.recorder {
                        recorder.decided((&commit.customer, commit.base), &commit.facts, &live.definitions.winners, commit.erase);
                    }
                    commits.push(decided);
                }
                Err(Failure::Version(version)) => self.come_back(customer, &version).await,
                Err(failure) => self.report(customer, first, failure).await,
            }
        }
        self.commit(commits).await;
    }

    /// A turn has to wait until a version is known: she is claimed again.
    pub(super) async fn come_back(&self, customer: String, version: &str) {
        let known = match self.learn(version).await {
            Ok(()) => self.patiently(|| self.store.release(vec![customer.clone()])).await,
            Err(error) => Err(error),
        };
        if let Err(error) = known {
            tracing::error!(%customer, %error, "a customer could not be given back; she is claimed again after a restart");
        }
    }

    /// Counts a crash against the input; the store puts it aside when it has crashed too often.
    pub(super) async fn report(&self, customer: String, seq: Option<u64>, failure: Failure) {
        Meter::add(&self.meter.crashes, 1);
        let cause = match failure {
            Failure::Crash(cause) => format!("the turn crashed: {cause}"),
            Failure::Document(cause) => cause,
            Failure::Version(version) => format!("version {version} of a funnel is not known"),
        };
        tracing::error!(%customer, %cause, "a turn failed; its input is tried again and put aside if it fails repeatedly");
        if let Err(error) = self.patiently(|| self.store.fault(customer.clone(), seq, cause.clone())).await {
            tracing::error!(%error, "the failed turn could not be recorded");
        }
    }

    /// Commits turns, and hands their effects to this process's deliver workers when there is room.
    pub(super) async fn commit(&self, decided: Vec<Decided>) -> Vec<Committed> {
        if decided.is_empty() {
            return Vec::new();
        }
        let effects: usize = decided.iter().map(|decided| decided.commit.effects.len()).sum();
        let permits = if effects == 0 { None } else { self.effects.reserve(effects) };
        let mut handed = Vec::with_capacity(decided.len());
        let mut commits = Vec::with_capacity(decided.len());
        for Decided { mut commit, known } in decided {
            commit.hand_over = permits.is_some() && !commit.effects.is_empty();
            handed.push(commit.hand_over.then(|| (commit.effects.clone(), known)));
            commits.push(commit);
        }
        let customers: Vec<String> = commits.iter().map(|commit| commit.customer.clone()).collect();
        let bases = || commits.iter().map(|commit| commit.base).collect::<Vec<u64>>();
        let recorded = self.recorder.as_ref().map(|recorder| (recorder, customers.clone(), bases()));
        let outcomes = match self.store.commit(commits).await {
            Ok(outcomes) => outcomes,
            Err(error) => self.give_back(customers, error).await,
        };
        if let Some((recorder, customers, bases)) = recorded {
            let turns = customers.iter().zip(bases).zip(&outcomes);
            turns.for_each(|((customer, base), outcome)| recorder.committed(customer, base, *outcome));
        }
        if let Some(mut permits) = permits {
            for (handed, outcome) in handed.into_iter().zip(&outcomes) {
                // The first answer goes on from what is known; after that she has moved.
                let Some((effects, mut known)) = handed.filter(|_| *outcome == Committed::Done) else { continue };
                for (effect, permit) in effects.into_iter().zip(&mut permits) {
                    permit.send(born(effect, Carried::new(known.take())));
                }
            }
        }
        let conflicts = outcomes.iter().filter(|outcome| **outcome == Committed::Conflict).count() as u64;
        Meter::add(&self.meter.turns, outcomes.len() as u64 - conflicts);
        Meter::add(&self.meter.conflicts, conflicts);
        outcomes
    }

    /// The store did not take a commit: after a pause the customers are free to be claimed again. What is
    /// tried again is the turn, not the commit, so that no copy has to be kept of every commit.
    async fn give_back(&self, customers: Vec<String>, error: StoreError) -> Vec<Committed> {
        tracing::warn!(%error, customers = customers.len(), "turns could not be committed; they are done again");
        let count = customers.len();
        tokio::time::sleep(Duration::from_millis(COMMIT_PAUSE_MS)).await;
        if let Err(error) = self.patiently(|| self.store.release(customers.clone())).await {
            tracing::error!(%error, "customers could not be given back; they are claimed again after a restart");
        }
        vec![Committed::Conflict; count]
    }
}

/// An effect that its commit has handed over.
fn born(effect: Effect, known: Carried) -> Delivery {
    Delivery { effect, ticket: 0, attempts: 0, ambiguous: false, ambiguous_since: None, body_digest: None, known }
}

/// The turn of one claim.
fn turn_claim(live: &Live, claim: Claim) -> Result<Decided, Failure> {
    if claim.record.erased {
        // She asked to be forgotten: what arrives late must not make her anew.
        tracing::info!(inputs = claim.inputs.len(), "inputs of an erased customer were dropped");
        let consumed = claim.inputs.iter().map(|queued| queued.seq).collect();
        return Ok(record::erasing(claim.customer, consumed));
    }
    let documents = record::decode(&claim.record).map_err(|why| Failure::Document(why.to_string()))?;
    if let Some(version) = live.lacks_for(documents.customer.as_ref()) {
        return Err(Failure::Version(version));
    }
    let consumed = claim.inputs.iter().map(|queued| queued.seq).collect();
    let inputs = (claim.inputs.into_iter().map(|queued| queued.input).collect(), claim.more_from);
    let id = claim.customer;
    let turned = guarded(|| turn::turn_until(&live.definitions, &id, documents.customer, documents.account, inputs, claim.now))?;
    Ok(record::commit(&live.definitions, id, claim.record.version, turned, consumed))
}

/// Runs a turn so that a panic harms nobody else.
pub(super) fn guarded(turn: impl FnOnce() -> Turned) -> Result<Turned, Failure> {
    catch_unwind(AssertUnwindSafe(turn)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Failure::Crash(text.unwrap_or_else(|| "a panic without a message".to_owned()))
    })
}
