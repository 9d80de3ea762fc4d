//! The deliver worker: one effect at a time through the last gate to its provider, and its answer back.
//!
//! Delivery decides nothing. It renders what the turn froze, asks the store's gate ([`Store::begin`]) right
//! before the call, and returns what came of it as an input of the customer: if she is free at once with
//! the turn that it causes in one commit, else through her inbox.
//!
//! [`Store::begin`]: crate::store::Store::begin

use super::traffic::{Asking, Entry, Pass};
use super::turner::{Failure, guarded};
use super::{Engine, Live, Meter, record};
use crate::channel::{Channel, Idempotency, Prepared, SendResult};
use crate::effect::{Effect, EffectKind, OnUncertain, Outcome};
use crate::event::address::Address;
use crate::event::{Input, InputBody};
use crate::fact::Fact;
use crate::lang::time::{HOUR_MS, MINUTE_MS, SECOND_MS, Time};
use crate::lang::value::Value;
use crate::queue::Handler;
use crate::store::pause::{PAUSED, RECHECK_MS};
use crate::store::{Begin, Claim, Committed, Delivery, Retry, StoreError, failpoint};
use crate::turn::{self, book};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// First pause between attempts.
const RETRY_MS_MIN: i64 = SECOND_MS;
/// Longest pause between attempts.
const RETRY_MS_MAX: i64 = 10 * MINUTE_MS;
/// Attempts that failed for sure before an effect is given up.
const ATTEMPTS_MAX: u32 = 200;
/// After the first attempt of unknown effect the same key and bytes are sent again for this long: within
/// the 24 hours for which providers commonly remember a key, with a margin.
const AMBIGUOUS_MS_MAX: i64 = 20 * HOUR_MS;
/// Pause before a busy customer is asked for again.
const BUSY_MS: i64 = 5;
/// First and longest pause between tries of a store call while the store is not available, in milliseconds.
const STORE_PAUSE_MS: (u64, u64) = (50, 2_000);

mod ask;

/// Delivers effects.
pub struct Deliverer {
    /// The engine.
    pub engine: Engine,
}

impl Handler<Delivery> for Deliverer {
    fn handle(&self, delivery: Delivery) -> BoxFuture<'static, ()> {
        let engine = self.engine.clone();
        Box::pin(async move {
            // A crash must not leave the effect with nobody: what is known of it is that nothing is known.
            let done = match AssertUnwindSafe(engine.deliver(&delivery)).catch_unwind().await {
                Ok(done) => done,
                Err(_) => engine.crashed(&delivery.effect).await,
            };
            if let Err(error) = done {
                // The effect stays in the outbox; after a restart it is handed out again.
                tracing::error!(effect = %delivery.effect.id, %error, "an effect could not be delivered because the store failed");
            }
        })
    }
}

impl Engine {
    async fn deliver(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let mut live = self.live.get();
        if live.lacks(&delivery.effect.version) {
            self.learn(&delivery.effect.version).await?;
            live = self.live.get();
        }
        if let Some(breach) = self.reserve(&live.definitions.current.settings, delivery).await? {
            return self.over_budget(&live, delivery, breach).await;
        }
        if book_is_for(&delivery.effect) {
            return self.book(&live, delivery).await;
        }
        if let EffectKind::Tell(tell) = &delivery.effect.kind {
            if self.holds_word(delivery, tell).await? {
                return self.put_back(delivery, self.store.now().plus_ms(RECHECK_MS), PAUSED.to_owned(), false).await;
            }
            return self.tell(&live, delivery, tell).await;
        }
        let (channel, prepared) = match prepare(&live, delivery) {
            Ok(ready) => ready,
            Err(outcome) => return self.settle(&live, delivery, outcome).await,
        };
        // What has expired waits for no provider: the last gate sends it back to its turn.
        let expired = delivery.effect.valid_until.is_some_and(|until| until < self.store.now());
        let asks = delivery.ambiguous && channel.idempotency() == Idempotency::Query;
        if asks && !self.is_not_known(&live, delivery, &*channel, &prepared, expired).await? {
            return Ok(());
        }
        let pass = if expired { None } else { self.enter(delivery, &*channel).await? };
        if pass.is_none() && !expired {
            return Ok(());
        }
        let begin = || self.store.begin(delivery.effect.id.clone(), delivery.ticket, prepared.digest());
        let begun = self.patiently(begin).await?;
        let attempt = match begun {
            Begin::Go { attempt } => attempt,
            begun => {
                Meter::add(&self.meter.stale, u64::from(begun == Begin::Stale));
                if !delivery.ambiguous {
                    self.unreserved(delivery).await;
                }
                return Ok(());
            }
        };
        Meter::add(&self.meter.attempts, 1);
        failpoint("provider.call.before");
        let sent = channel.send(&prepared, &self.tools).await;
        failpoint("provider.call.after");
        if let Some(pass) = pass {
            pass.done(&sent, self.store.now());
        }
        self.heard(&live, delivery, &*channel, attempt, sent).await
    }

    /// What the receiver said, or that it said nothing.
    async fn heard(
        &self,
        live: &Live,
        delivery: &Delivery,
        channel: &dyn Channel,
        attempt: u32,
        sent: SendResult,
    ) -> Result<(), StoreError> {
        let effect = &delivery.effect;
        match sent {
            SendResult::Accepted { reference, mut data } => {
                self.keep_reference(live, effect, reference.as_deref()).await?;
                if let EffectKind::Grant(grant) = &effect.kind {
                    data.entry("points".to_owned()).or_insert(Value::Int(grant.points));
                    self.traffic.unblocked(grant.provider.as_deref().unwrap_or_default());
                }
                self.settle(live, delivery, Outcome::Accepted { reference, data }).await
            }
            SendResult::Parked { why } => {
                let EffectKind::Grant(grant) = &effect.kind else {
                    return self.settle(live, delivery, Outcome::Refused { why }).await;
                };
                let alert = self.traffic.blocked(grant.provider.as_deref().unwrap_or_default(), &why);
                let outcome = Outcome::Parked { why, grant: Box::new(effect.clone()), alert };
                self.settle(live, delivery, outcome).await
            }
            SendResult::Refused { why } => self.settle(live, delivery, Outcome::Refused { why }).await,
            SendResult::Retry { after, why, ambiguous } => {
                self.again(live, delivery, channel, attempt, Failed { after, why, ambiguous }).await
            }
        }
    }

    /// What the provider calls the message, where its callbacks will say so.
    async fn keep_reference(&self, live: &Live, effect: &Effect, reference: Option<&str>) -> Result<(), StoreError> {
        let EffectKind::Message(message) = &effect.kind else { return Ok(()) };
        let Some(reference) = reference.filter(|_| live.referenced.contains(&message.provider)) else { return Ok(()) };
        let name = Address::of_reference(&message.provider, reference);
        self.patiently(|| self.store.keep_reference(name.clone(), effect.id.clone())).await
    }

    /// Leave to call the provider; `None`: the effect has gone back to wait its turn.
    async fn enter(&self, delivery: &Delivery, channel: &dyn Channel) -> Result<Option<Pass>, StoreError> {
        let effect = &delivery.effect;
        let provider = effect.provider().unwrap_or_default();
        let urgent = !matches!(&effect.kind, EffectKind::Message(message) if !message.transactional);
        let asking = Asking { effect: &effect.id, provider, urgent, share: self.store.share() };
        let (due, why) = match self.traffic.enter(&asking, &channel.limits(), self.store.now()) {
            Entry::Go(pass, pause) => {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                return Ok(Some(pass));
            }
            Entry::Later(due, why) => (due, why),
        };
        // Its time passes while it waits: the turn is to know at once.
        let due = effect.valid_until.map_or(due, |until| due.min(until.plus_ms(1)));
        self.put_back(delivery, due, why, false).await?;
        Ok(None)
    }

    async fn crashed(&self, effect: &Effect) -> Result<(), StoreError> {
        Meter::add(&self.meter.crashes, 1);
        tracing::error!(effect = %effect.id, "the delivery of an effect crashed; its outcome is unknown");
        let outcome = Outcome::Unknown { why: "its delivery crashed; the engine's log says where".to_owned() };
        self.patiently(|| self.store.settle(effect.id.clone(), effect.customer.clone(), outcome.clone())).await
    }

    /// Another attempt later, or the end of trying.
    async fn again(
        &self,
        live: &Live,
        delivery: &Delivery,
        channel: &dyn Channel,
        attempt: u32,
        failed: Failed,
    ) -> Result<(), StoreError> {
        let now = self.store.now();
        let asks = channel.idempotency() == Idempotency::Query;
        // Where the receiver is asked first, what was ambiguous before this attempt is known to have had no effect.
        let ambiguous = failed.ambiguous || (delivery.ambiguous && !asks);
        if ambiguous && let Some(outcome) = give_up(delivery, channel, now, &failed.why) {
            return self.settle(live, delivery, outcome).await;
        }
        if attempt >= ATTEMPTS_MAX {
            return self.settle(live, delivery, Outcome::Dead { why: failed.why, attempts: attempt }).await;
        }
        Meter::add(&self.meter.retries, 1);
        let mut pause = failed.after.unwrap_or(0).max(backoff(&delivery.effect.id, attempt));
        if asks && failed.ambiguous {
            pause = pause.max(i64::try_from(channel.ask_after().as_millis()).unwrap_or(0));
            self.traffic.ask_from(&delivery.effect.id, now.plus_ms(pause));
        }
        tracing::debug!(effect = %delivery.effect.id, attempt, pause, why = %failed.why, "an attempt failed; trying again");
        self.put_back(delivery, now.plus_ms(pause), failed.why, failed.ambiguous).await
    }

    pub(super) async fn put_back(&self, delivery: &Delivery, due: Time, why: String, ambiguous: bool) -> Result<(), StoreError> {
        if !ambiguous && !delivery.ambiguous {
            self.unreserved(delivery).await;
            return self.back(delivery, due, why, false).await;
        }
        self.once_more(delivery, due, why, ambiguous).await
    }

    async fn back(&self, delivery: &Delivery, due: Time, why: String, ambiguous: bool) -> Result<(), StoreError> {
        let retry = Retry { effect: delivery.effect.id.clone(), ticket: delivery.ticket, due, why, ambiguous };
        self.patiently(|| self.store.retry(retry.clone())).await
    }

    /// What was taken out of budgets for the effect stays taken.
    async fn once_more(&self, delivery: &Delivery, due: Time, why: String, ambiguous: bool) -> Result<(), StoreError> {
        self.keep_reserved(delivery, true).await;
        self.back(delivery, due, why, ambiguous).await
    }

    /// Books an effect of the built-in account, with the turn that it causes, in one commit.
    async fn book(&self, live: &Live, delivery: &Delivery) -> Result<(), StoreError> {
        let Some(claim) = self.patiently(|| self.store.take(delivery.effect.customer.clone())).await? else {
            let due = self.store.now().plus_ms(BUSY_MS);
            return self.put_back(delivery, due, "the customer was busy".to_owned(), false).await;
        };
        self.settle_with(live, claim, delivery, None, Vec::new()).await
    }

    /// Returns an answer to the customer: at once if she is free, else through her inbox.
    pub(super) async fn settle(&self, live: &Live, delivery: &Delivery, outcome: Outcome) -> Result<(), StoreError> {
        failpoint("settle.before");
        let effect = &delivery.effect;
        self.reserved(delivery, &outcome).await;
        if let Some(claim) = self.patiently(|| self.store.take(effect.customer.clone())).await? {
            return self.settle_with(live, claim, delivery, Some(outcome), Vec::new()).await;
        }
        self.patiently(|| self.store.settle(effect.id.clone(), effect.customer.clone(), outcome.clone())).await
    }

    /// The turn on an answer; `None`: the account gives it. `facts` stand behind those of the turn.
    pub(super) async fn settle_with(
        &self,
        live: &Live,
        claim: Claim,
        delivery: &Delivery,
        outcome: Option<Outcome>,
        facts: Vec<Fact>,
    ) -> Result<(), StoreError> {
        let effect = &delivery.effect;
        let (customer, version, now) = (claim.customer.clone(), claim.record.version, claim.now);
        let turned = settle_turn(live, &claim, delivery, outcome.as_ref(), now);
        let (mut turned, booked) = match turned {
            Ok(turned) => turned,
            Err(failure) => {
                // The answer must not be lost with the turn: it goes the long way, where a crash is counted.
                match failure {
                    Failure::Version(version) => {
                        self.come_back(customer.clone(), &version).await;
                        if outcome.is_none() {
                            return self.put_back(delivery, now.plus_ms(BUSY_MS), "her turn goes first".to_owned(), false).await;
                        }
                    }
                    failure => self.report(customer.clone(), None, failure).await,
                }
                let answer = outcome.unwrap_or_else(|| Outcome::Dead { why: "booking it crashed".to_owned(), attempts: 1 });
                return self.patiently(|| self.store.settle(effect.id.clone(), customer.clone(), answer.clone())).await;
            }
        };
        if let Some(recorder) = &self.recorder {
            recorder.answered(&claim, &live.definitions.current.hash, effect, &booked, outcome.is_none());
            recorder.decided((&customer, version), &turned.facts, &live.definitions.winners, turned.erase);
        }
        turned.facts.extend(facts);
        let mut decided = record::commit(&live.definitions, customer.clone(), version, turned, Vec::new());
        decided.commit.settled = Some(effect.id.clone());
        decided.commit.books = outcome.is_none();
        match self.commit(vec![decided]).await.first() {
            Some(Committed::Done) => {
                self.reserved(delivery, &booked).await;
                Ok(())
            }
            Some(Committed::Paused) => self.put_back(delivery, now.plus_ms(RECHECK_MS), PAUSED.to_owned(), false).await,
            // Somebody moved her between claim and commit, or the effect was settled already.
            _ => match outcome {
                Some(outcome) => self.patiently(|| self.store.settle(effect.id.clone(), customer.clone(), outcome.clone())).await,
                // Perhaps only its answer was lost, and the points are booked.
                None => self.once_more(delivery, now.plus_ms(BUSY_MS), "the commit was lost".to_owned(), false).await,
            },
        }
    }

    /// Repeats a store call while the store is not available, however long that is: every call may be repeated
    /// as it is, and what is in hand here is in nobody else's.
    pub(super) async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        mut call: impl FnMut() -> F,
    ) -> Result<T, StoreError> {
        let mut pause = STORE_PAUSE_MS.0;
        loop {
            match call().await {
                Err(StoreError::Unavailable(why)) => {
                    if pause == STORE_PAUSE_MS.0 {
                        tracing::warn!(%why, "the store is not available; trying again");
                    }
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    pause = (pause * 2).min(STORE_PAUSE_MS.1);
                }
                answer => return answer,
            }
        }
    }
}

/// A failed attempt.
struct Failed {
    after: Option<i64>,
    why: String,
    ambiguous: bool,
}

fn book_is_for(effect: &Effect) -> bool {
    effect.provider().is_none() && !matches!(effect.kind, EffectKind::Tell(_))
}

/// The turn on the answer to an effect, which the account gives where `outcome` is `None`.
fn settle_turn(
    live: &Live,
    claim: &Claim,
    delivery: &Delivery,
    outcome: Option<&Outcome>,
    now: Time,
) -> Result<(turn::Turned, Outcome), Failure> {
    let (definitions, effect) = (&live.definitions, &delivery.effect);
    let documents = match delivery.known.take(claim.record.version) {
        Some(known) => record::known(*known, &claim.record),
        None => record::decode(&claim.record),
    };
    let documents = documents.map_err(|why| Failure::Document(why.to_string()))?;
    if let Some(version) = live.lacks_for(documents.customer.as_ref()) {
        return Err(Failure::Version(version));
    }
    let (mut account, mut booked) = (documents.account, false);
    let outcome = match (outcome, &documents.customer) {
        (Some(outcome), _) => outcome.clone(),
        (None, Some(customer)) => match book::book(&definitions.current, customer, &account, effect, now) {
            Some((moved, outcome)) => {
                (account, booked) = (moved, true);
                outcome
            }
            None => Outcome::Refused { why: "the built-in account does not take this".to_owned() },
        },
        (None, None) => Outcome::Refused { why: "the customer is not known any more".to_owned() },
    };
    let input = Input { accepted_at: now, body: InputBody::Result { effect: effect.id.clone(), outcome: outcome.clone() } };
    let id = claim.customer.clone();
    let mut turned = guarded(|| turn::turn(definitions, &id, documents.customer, account.clone(), vec![input], now))?;
    if booked && turned.account.is_none() {
        turned.account = Some(account);
    }
    Ok((turned, outcome))
}

/// Renders and prepares the exact bytes; the answer is an outcome when that can never work.
fn prepare(live: &Live, delivery: &Delivery) -> Result<(Arc<dyn Channel>, Prepared), Outcome> {
    let effect = &delivery.effect;
    let refused = |why: String| Outcome::Refused { why };
    let template = match &effect.kind {
        EffectKind::Message(message) => Some(message),
        EffectKind::Grant(_) | EffectKind::Offer(_) | EffectKind::Lookup(_) | EffectKind::Call(_) => None,
        EffectKind::Tell(_) => return Err(refused("it is done by the engine itself, not by a provider".to_owned())),
    };
    let provider = effect.provider().unwrap_or_default();
    let channel = live.channels.get(provider).cloned();
    let channel = channel.ok_or_else(|| refused(format!("there is no provider `{provider}` any more")))?;
    let channel = channel.part(&effect.kind).unwrap_or(channel);
    let rendered = match template {
        None => None,
        Some(message) => {
            let funnel = live.definitions.funnel(&effect.version);
            let template = funnel.and_then(|funnel| funnel.templates.get(&message.template));
            let template = template.ok_or_else(|| refused(format!("there is no template `{}` any more", message.template)))?;
            let rendered = template.render(&live.signer.variables(effect, message)).map_err(|why| refused(why.to_string()))?;
            Some(live.signer.count_clicks(effect, rendered))
        }
    };
    let sealed = live.signer.sealed(effect);
    let prepared = channel.prepare(sealed.as_ref().unwrap_or(effect), rendered.as_ref()).map_err(refused)?;
    if let Some(first) = delivery.body_digest.as_ref().filter(|first| **first != prepared.digest()) {
        let why = format!("the bytes to send are not those of the first attempt (digest {:02x}{:02x}…)", first[0], first[1]);
        return Err(Outcome::Unknown { why });
    }
    if delivery.ambiguous && channel.idempotency() == Idempotency::None && uncertain(&*channel, effect) == OnUncertain::Hold {
        return Err(Outcome::Unknown { why: "the engine stopped during the call, and the provider takes no key".to_owned() });
    }
    Ok((channel, prepared))
}

/// What is to be done when nobody knows: grants are held whatever the provider says of messages, and a question
/// is asked again.
fn uncertain(channel: &dyn Channel, effect: &Effect) -> OnUncertain {
    if matches!(&effect.kind, EffectKind::Call(call) if call.is_safe()) {
        return OnUncertain::Resend;
    }
    match effect.on_uncertain {
        OnUncertain::Hold => OnUncertain::Hold,
        OnUncertain::Resend => channel.on_uncertain(),
    }
}

/// Whether an effect that may have happened must not be tried again.
fn give_up(delivery: &Delivery, channel: &dyn Channel, now: Time, why: &str) -> Option<Outcome> {
    let keyed = channel.idempotency() != Idempotency::None;
    if !keyed && uncertain(channel, &delivery.effect) == OnUncertain::Hold {
        return Some(Outcome::Unknown { why: why.to_owned() });
    }
    let since = delivery.ambiguous_since.unwrap_or(now);
    (now.since_ms(since) > AMBIGUOUS_MS_MAX).then(|| Outcome::Unknown { why: format!("{why}; nothing is known since {since}") })
}

/// Doubling pauses with jitter that depends on effect and attempt only: ±25 %.
fn backoff(effect: &str, attempt: u32) -> i64 {
    let pause = RETRY_MS_MIN.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(RETRY_MS_MAX);
    let hash = Sha256::digest(format!("{effect}#{attempt}").as_bytes());
    let jitter = i64::from(hash[0]) - 128;
    pause + pause * jitter / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_with_jitter_up_to_their_bound() {
        for attempt in 1..60 {
            let nominal = RETRY_MS_MIN.saturating_mul(1 << (attempt - 1).min(20)).min(RETRY_MS_MAX);
            let pause = backoff("c/1/mail/1", attempt);
            assert!((nominal * 3 / 4..=nominal * 5 / 4).contains(&pause), "{attempt}: {pause}");
        }
        assert_ne!(backoff("c/1/mail/1", 5), backoff("c/2/mail/1", 5));
    }
}
