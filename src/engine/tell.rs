//! Words from one customer to another: out of the one's outbox into the other's inbox.
//!
//! Nothing leaves the engine, so there is no last gate and no doubt: a word is known again by its effect's id, and is
//! told until the store says that it has arrived. A crash in between tells it once more, to no effect. What waits for
//! an answer stays in the outbox until the other's own effect has brought it, and is told again now and then: if the
//! other is gone by then, that is the answer.

use super::{Engine, Live};
use crate::effect::{Outcome, Tell, Word};
use crate::event::{Event, InputBody, Told};
use crate::lang::time::MINUTE_MS;
use crate::store::pause::{Pauses, Under};
use crate::store::{Delivery, NewInput, StoreError, failpoint};
use sha2::{Digest, Sha256};

/// The source of what customers tell each other.
const SOURCE: &str = "tell";
/// What has no answer yet is told again after this long, in milliseconds.
const AGAIN_MS: i64 = 10 * MINUTE_MS;

impl Engine {
    pub(super) async fn tell(&self, live: &Live, delivery: &Delivery, tell: &Tell) -> Result<(), StoreError> {
        let accepted = Outcome::Accepted { reference: None, data: Default::default() };
        if let Word::Answer { of, outcome } = &tell.word {
            failpoint("tell.before");
            // It takes the effect that asked out of the outbox; once it is gone, the same again does nothing.
            self.patiently(|| self.store.settle(of.clone(), tell.to.clone(), outcome.clone())).await?;
            failpoint("tell.after");
            return self.settle(live, delivery, accepted).await;
        }
        if let Some(why) = self.cannot_hear(live, tell).await? {
            return self.settle(live, delivery, Outcome::Refused { why }).await;
        }
        failpoint("tell.before");
        let input = input(delivery, tell, self.store.now());
        self.patiently(|| self.store.accept(vec![input.clone()])).await?;
        failpoint("tell.after");
        match tell.word {
            Word::Grant { .. } => {
                let due = self.store.now().plus_ms(AGAIN_MS);
                self.put_back(delivery, due, "she was asked, and has not answered yet".to_owned(), false).await
            }
            _ => self.settle(live, delivery, accepted).await,
        }
    }

    /// Whether a pause holds up what another customer is to be told. What answers, confirms or takes back belongs to what
    /// was told before, and is not held.
    pub(super) async fn holds_word(&self, delivery: &Delivery, tell: &Tell) -> Result<bool, StoreError> {
        if !matches!(tell.word, Word::Event { .. } | Word::Grant { .. }) {
            return Ok(false);
        }
        let pauses = self.patiently(|| self.store.pauses()).await?;
        Ok(Pauses::new(pauses).hold(Under::of(&delivery.effect)))
    }

    /// Why a customer is not told anything. What confirms or takes back goes to whoever was asked before.
    async fn cannot_hear(&self, live: &Live, tell: &Tell) -> Result<Option<String>, StoreError> {
        if matches!(tell.word, Word::Confirm { .. } | Word::Cancel { .. }) {
            return Ok(None);
        }
        let record = self.patiently(|| self.store.record(tell.to.clone())).await?;
        let unknown = !live.definitions.current.settings.create_unknown;
        Ok(match record {
            Some(record) if record.erased => Some(format!("the customer `{}` was erased", tell.to)),
            None if unknown => Some(format!("there is no customer `{}`, and this workspace refuses unknown ones", tell.to)),
            Some(_) | None => None,
        })
    }
}

fn input(delivery: &Delivery, tell: &Tell, now: crate::lang::time::Time) -> NewInput {
    let effect = &delivery.effect;
    let body = match &tell.word {
        Word::Event { name, properties, depth } => InputBody::Event(Event {
            id: format!("tell:{}", effect.id),
            name: name.clone(),
            time: effect.decided_at.min(now),
            properties: properties.clone(),
            minor: None,
            depth: *depth,
        }),
        word => InputBody::Told(Told {
            effect: effect.id.clone(),
            from: effect.customer.clone(),
            funnel: effect.funnel.clone(),
            version: effect.version.clone(),
            word: word.clone(),
        }),
    };
    // The same effect is the same word: its id stands for what it says.
    let hash = Sha256::digest(effect.id.as_bytes());
    let digest = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    NewInput { customer: tell.to.clone(), source: SOURCE.to_owned(), id: Some(effect.id.clone()), digest, body }
}
