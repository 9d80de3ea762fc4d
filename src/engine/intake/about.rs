//! Events about messages and addresses: whom they reach, and what they forbid.
//!
//! What is said about an address (it bounced, STOP, a complaint) is kept with the address first, and then put into
//! the inbox of everybody who has it: when that is answered, all their gates are raised. Repeating it changes
//! nothing, so a sender that got no answer sends it again.

use super::{Intake, IntakeError};
use crate::customer::{Customer, codec};
use crate::effect::customer_of;
use crate::event::address::{Address, Keyword, Stop, StopKind, asks_to_stop, field_of, keyword};
use crate::event::words::{MESSAGE_BOUNCED, MESSAGE_COMPLAINED, MESSAGE_REPLIED, MESSAGE_UNSUBSCRIBED};
use crate::event::{Event, InputBody};
use crate::lang::time::{MINUTE_MS, Time};
use crate::lang::value::Value;
use crate::store::{AddressRow, NewInput, Saying};

/// A customer may stand in the index for this long before the commit that makes her known, in milliseconds.
const UNBORN_MS: i64 = 10 * MINUTE_MS;

/// An event about a message or an address.
pub(super) struct About {
    /// The source that sent it.
    pub source: String,
    /// Digest of what was sent.
    pub digest: u32,
    /// The event.
    pub event: Event,
    /// Whose it is, if it is said.
    pub customer: Option<String>,
    /// The address, if it is said.
    pub address: Option<Address>,
    /// The channel, if it is said.
    pub channel: Option<String>,
}

impl Intake {
    /// Whose an event of a delivery is, and the effect that it is about: as it names itself, or by the provider's own
    /// id of the message.
    pub(super) async fn sender_of(
        &self,
        effect: Option<String>,
        message: Option<Address>,
        customer: Option<String>,
    ) -> Result<(Option<String>, Option<String>), IntakeError> {
        let effect = match (effect, message) {
            (Some(effect), _) => Some(effect),
            (None, Some(message)) => self.store.reference(message).await?,
            (None, None) => None,
        };
        let effect = effect.filter(|effect| customer_of(effect).is_some());
        let customer = effect.as_deref().and_then(customer_of).map(str::to_owned).or(customer);
        Ok((customer, effect))
    }

    /// The inputs that an event about a message or an address means; what it forbids is kept with the address by then.
    pub(super) async fn reach(&self, about: About) -> Result<Vec<NewInput>, IntakeError> {
        let About { source, digest, event, customer, address, channel } = about;
        let address = match (address, &customer, &channel) {
            (None, Some(customer), Some(channel)) if says_something(&event) => self.address_of(customer, channel).await?,
            (address, _, _) => address,
        };
        let mut inputs = Vec::new();
        let mut row = AddressRow::default();
        if let Some(address) = &address {
            let saying = channel.as_deref().and_then(|channel| saying(&event, channel, &source));
            row = match saying.clone() {
                Some(saying) => self.store.say(address.clone(), saying).await?,
                None => self.store.address(address.clone()).await?,
            };
            row.holders = self.present(row.holders).await?;
            if let Some(body) = saying.and_then(|saying| body(address, &saying, &row, &source)) {
                inputs.extend(to_all(&row, &source, &event.id, digest, &body));
            }
        }
        let whose: Vec<String> = match customer {
            Some(customer) => vec![customer],
            None => row.holders.into_iter().map(|(customer, _)| customer).collect(),
        };
        inputs.extend(whose.into_iter().map(|customer| NewInput {
            customer,
            source: source.clone(),
            id: Some(event.id.clone()),
            digest,
            body: InputBody::Event(event.clone()),
        }));
        Ok(inputs)
    }

    /// What events that came in for customers forbid, for their addresses of the channels that the events name.
    pub(super) async fn forbidden_by(&self, inputs: &[NewInput]) -> Result<Vec<NewInput>, IntakeError> {
        let mut more = Vec::new();
        for input in inputs {
            let InputBody::Event(event) = &input.body else { continue };
            let Some(channel) = event.property("channel").and_then(Value::as_text).filter(|_| says_something(event)) else {
                continue;
            };
            let about = About {
                source: input.source.clone(),
                digest: input.digest,
                event: event.clone(),
                customer: Some(input.customer.clone()),
                address: None,
                channel: Some(channel.to_owned()),
            };
            let reached = self.reach(about).await?;
            more.extend(reached.into_iter().filter(|input| !matches!(input.body, InputBody::Event(_))));
        }
        Ok(more)
    }

    /// Keeps what is said about an address; the inputs for everybody who has it.
    pub(super) async fn say(&self, address: Address, saying: Saying, source: &str) -> Result<Vec<NewInput>, IntakeError> {
        let mut row = self.store.say(address.clone(), saying.clone()).await?;
        row.holders = self.present(row.holders).await?;
        let body = body(&address, &saying, &row, source);
        let input = |customer: &String, body: &InputBody| NewInput {
            customer: customer.clone(),
            source: source.to_owned(),
            id: None,
            digest: 0,
            body: body.clone(),
        };
        Ok(body.iter().flat_map(|body| row.holders.iter().map(|(customer, _)| input(customer, body))).collect())
    }

    /// A customer's address of a channel.
    pub(super) async fn address_of(&self, customer: &str, channel: &str) -> Result<Option<Address>, IntakeError> {
        let Some(record) = self.store.record(customer.to_owned()).await?.filter(|record| !record.document.is_empty()) else {
            return Ok(None);
        };
        let document: Customer = codec::decode(&record.document).map_err(|why| {
            IntakeError::Store(crate::store::StoreError::Unavailable(format!("the customer's document cannot be read: {why}")))
        })?;
        let field = field_of(channel);
        let text = document.profile.get(field).and_then(Value::as_text);
        Ok(text.and_then(|text| Address::of(field, text)))
    }

    /// Those of the index who are there: not who was forgotten, and not who never came to be.
    async fn present(&self, holders: Vec<(String, Time)>) -> Result<Vec<(String, Time)>, IntakeError> {
        let now = self.store.now();
        let mut present = Vec::with_capacity(holders.len());
        for (customer, since) in holders {
            let known = self.store.record(customer.clone()).await?.is_some_and(|record| !record.erased);
            if known || now.since_ms(since) < UNBORN_MS {
                present.push((customer, since));
            }
        }
        Ok(present)
    }
}

/// Whether an event may forbid something.
fn says_something(event: &Event) -> bool {
    [MESSAGE_BOUNCED, MESSAGE_COMPLAINED, MESSAGE_UNSUBSCRIBED, MESSAGE_REPLIED].contains(&event.name.as_str())
}

/// What an event says about the address that it is about.
fn saying(event: &Event, channel: &str, source: &str) -> Option<Saying> {
    let text = |name: &str| event.property(name).and_then(Value::as_text).unwrap_or_default();
    let stop = |kind| Stop { channel: channel.to_owned(), kind, since: event.time, source: source.to_owned() };
    match event.name.as_str() {
        MESSAGE_BOUNCED if text("bounce").eq_ignore_ascii_case("soft") => {
            Some(Saying::Soft { stop: stop(StopKind::Bounced), id: event.id.clone() })
        }
        MESSAGE_BOUNCED => Some(Saying::Stop(stop(StopKind::Bounced))),
        MESSAGE_COMPLAINED => Some(Saying::Stop(stop(StopKind::Complained))),
        MESSAGE_UNSUBSCRIBED => Some(Saying::Stop(stop(StopKind::Unsubscribed))),
        MESSAGE_REPLIED => match keyword(text("text")) {
            Some(Keyword::Stop) => Some(Saying::Stop(stop(StopKind::Stopped))),
            Some(Keyword::Start) => Some(Saying::Lift { channel: channel.to_owned(), until: event.time, only: None }),
            None => asks_to_stop(text("text")).then(|| Saying::Stop(stop(StopKind::Asked))),
        },
        _ => None,
    }
}

/// What those who have the address are told. A soft bounce tells them nothing until it is one too many.
fn body(address: &Address, saying: &Saying, row: &AddressRow, source: &str) -> Option<InputBody> {
    let address = address.clone();
    match saying {
        Saying::Stop(stop) => Some(InputBody::Stop { address, stop: stop.clone() }),
        Saying::Soft { stop, .. } => {
            let held = row.stops.iter().any(|held| held.channel == stop.channel && held.kind == stop.kind);
            held.then(|| InputBody::Stop { address, stop: stop.clone() })
        }
        Saying::Lift { channel, until, only } => {
            let (channel, source) = (channel.clone(), source.to_owned());
            Some(InputBody::Lift { address, channel, until: *until, source, only: *only })
        }
    }
}

fn to_all<'a>(
    row: &'a AddressRow,
    source: &'a str,
    id: &'a str,
    digest: u32,
    body: &'a InputBody,
) -> impl Iterator<Item = NewInput> + 'a {
    row.holders.iter().map(move |(customer, _)| NewInput {
        customer: customer.clone(),
        source: source.to_owned(),
        // Beside the event itself, which may come to the same customer under its own id.
        id: Some(format!("address:{id}")),
        digest,
        body: body.clone(),
    })
}
