//! What following a link of a message means.

use super::{Intake, IntakeError};
use crate::effect::customer_of;
use crate::engine::link::{Click, Unsubscribe};
use crate::event::address::{Stop, StopKind};
use crate::event::words::MESSAGE_CLICKED;
use crate::event::{ConsentChange, Event, InputBody, ProfileChange};
use crate::lang::value::Value;
use crate::store::{NewInput, Saying};
use sha2::{Digest, Sha256};

/// The source of what links say.
const SOURCE: &str = "link";

impl Intake {
    /// No more of these messages: about the topic, or of the channel to anybody who has the address. When this has
    /// returned, none begins any more. Said again it counts again: she may have agreed in between.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unsubscribe(&self, link: &Unsubscribe) -> Result<(), IntakeError> {
        let now = self.store.now();
        let customer = self.known(&link.effect).await?;
        let mut inputs: Vec<NewInput> = customer
            .map(|customer| {
                let no = ConsentChange {
                    channel: link.channel.clone(),
                    topic: link.topic.clone(),
                    granted: false,
                    source: "unsubscribe link".to_owned(),
                    time: now,
                };
                let body = InputBody::Profile(ProfileChange { consent: vec![no], ..ProfileChange::default() });
                NewInput { customer, source: SOURCE.to_owned(), id: None, digest: 0, body }
            })
            .into_iter()
            .collect();
        if link.topic.is_none() {
            let (channel, source) = (link.channel.clone(), "unsubscribe link".to_owned());
            let stop = Stop { channel, kind: StopKind::Unsubscribed, since: now, source };
            inputs.extend(self.say(link.address.clone(), Saying::Stop(stop), SOURCE).await?);
        }
        if !inputs.is_empty() {
            self.store.accept(inputs).await?;
        }
        Ok(())
    }

    /// A link was followed: an event, once for each link of a message.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn clicked(&self, click: &Click) -> Result<(), IntakeError> {
        let Some(customer) = self.known(&click.effect).await? else { return Ok(()) };
        let digest = Sha256::digest(format!("{}\n{}", click.effect, click.url).as_bytes());
        let id: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let properties = [("channel", &click.channel), ("effect", &click.effect), ("link", &click.url)];
        let event = Event {
            id: format!("click:{id}"),
            name: MESSAGE_CLICKED.to_owned(),
            time: self.store.now(),
            properties: properties.map(|(name, text)| (name.to_owned(), Value::from(text.as_str()))).into(),
            minor: None,
            depth: 0,
        };
        let id = Some(event.id.clone());
        let input = NewInput { customer, source: SOURCE.to_owned(), id, digest: 0, body: InputBody::Event(event) };
        self.store.accept(vec![input]).await?;
        Ok(())
    }

    /// The customer of an effect, if she is there.
    async fn known(&self, effect: &str) -> Result<Option<String>, IntakeError> {
        let Some(customer) = customer_of(effect) else { return Ok(None) };
        let known = self.store.record(customer.to_owned()).await?.is_some_and(|record| !record.erased);
        Ok(known.then(|| customer.to_owned()))
    }
}
