//! What a person says of a step that is held for review.

use super::pause::{effect, nothing_else, why};
use super::{Intake, IntakeError, Refusal, SOURCE_API, digest, json};
use crate::customer::{Customer, Run, RunState, codec};
use crate::event::InputBody;
use crate::event::address::{Stop, StopKind};
use crate::lang::value::Value;
use crate::store::{Accepted, NewInput, Saying, StoreError};

/// Begins the name of a reply that waits for a word: the channel follows.
pub const REPLY: &str = "reply:";

impl Intake {
    /// Takes a person's word on a step of a customer that is held for review: `{"effect", "why"?}`. Released, it is
    /// decided as if it had just been come to; else it is skipped.
    ///
    /// # Errors
    /// When something is missing or wrong, nothing of hers is held under that id, or the store fails.
    pub async fn review(&self, by: &str, customer: &str, release: bool, body: &[u8]) -> Result<Accepted, IntakeError> {
        let mut sent = json::read_map(body)?;
        let (digest, _) = digest::of_value(&Value::Map(sent.clone()));
        let (effect, why) = (effect(&mut sent)?, why(&mut sent)?.unwrap_or_default());
        nothing_else(&sent, &["effect", "why"])?;
        if let Some(channel) = effect.strip_prefix(REPLY) {
            return self.review_reply(by, customer, channel, release).await;
        }
        if !self.held_for_review(customer, &effect).await? {
            return Err(IntakeError::NoSuch(
                Refusal::new("no step of this customer is held for review under that id")
                    .hint("`autofunnel review list` (GET /v1/review) lists those that are; one that was released or rejected is there no more"),
            ));
        }
        // The same word twice is one; another word about the same step is a conflict.
        let id = Some(format!("review:{effect}"));
        let body = InputBody::Review { effect, release, by: by.to_owned(), why };
        let digest = digest ^ u32::from(release);
        let input = NewInput { customer: customer.to_owned(), source: SOURCE_API.to_owned(), id, digest, body };
        self.accept_one(input).await
    }

    /// Takes a person's word on a reply that seems to ask for no more messages: released, it was none, and messages go on;
    /// else it counts like STOP.
    async fn review_reply(&self, by: &str, customer: &str, channel: &str, release: bool) -> Result<Accepted, IntakeError> {
        let address = self.address_of(customer, channel).await?;
        let asked = |stop: &Stop| stop.channel == channel && stop.kind == StopKind::Asked;
        let waits = match &address {
            Some(address) => self.store.address(address.clone()).await?.stops.into_iter().find(asked),
            None => None,
        };
        let (Some(address), Some(asked)) = (address, waits) else {
            return Err(IntakeError::NoSuch(
                Refusal::new(format!("no reply of this customer by {channel} waits for a word"))
                    .hint("`autofunnel review list` (GET /v1/review) lists those that do"),
            ));
        };
        let (channel, until, mut inputs) = (channel.to_owned(), self.store.now().max(asked.since), Vec::new());
        if !release {
            let stop = Stop { channel: channel.clone(), kind: StopKind::Stopped, since: asked.since, source: by.to_owned() };
            inputs.extend(self.say(address.clone(), Saying::Stop(stop), by).await?);
        }
        inputs.extend(self.say(address, Saying::Lift { channel, until, only: Some(StopKind::Asked) }, by).await?);
        if !inputs.is_empty() {
            self.store.accept(inputs).await?;
        }
        Ok(Accepted::New)
    }

    async fn held_for_review(&self, customer: &str, effect: &str) -> Result<bool, IntakeError> {
        let record = self.store.record(customer.to_owned()).await?.unwrap_or_default();
        if record.document.is_empty() {
            return Ok(false);
        }
        let document: Customer = codec::decode(&record.document)
            .map_err(|why| StoreError::Unavailable(format!("this customer's document cannot be read: {why}")))?;
        Ok(document.runs.iter().any(|run| held(run) == Some(effect)))
    }
}

/// The effect that a run holds for review.
pub fn held(run: &Run) -> Option<&str> {
    match &run.state {
        RunState::Review { id, .. } => Some(id),
        _ => None,
    }
}
