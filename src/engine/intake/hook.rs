//! A webhook's delivery: verified on its raw bytes, then turned into events by its source's map.
//!
//! All events of a delivery are taken in or none, because its sender repeats it as a whole. Of a batch each item stands for
//! itself: one that can never be used must not keep a thousand others out for as long as it is repeated. Its sender is told
//! all the same, and what was taken in is known when it comes again.

use super::about::About;
use super::{BATCH_EVENTS_MAX, Intake, IntakeError, Refusal, World, digest, event, json, names};
use crate::event::Event;
use crate::lang::time::Time;
use crate::lang::value::Value;
use crate::source::{self, MappedEvent, Source};
use crate::store::{Accepted, NewInput};

/// Headers that prove something and are no business of a map.
const WITHHELD: &[&str] = &["authorization", "proxy-authorization", "cookie"];

/// A webhook as it came in.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Name of the source in the settings.
    pub source: &'a str,
    /// Headers, names in lower case; a name that was sent twice stands twice.
    pub headers: &'a [(String, String)],
    /// The query of the request as it was sent.
    pub query: &'a str,
    /// The body as it was sent.
    pub body: &'a [u8],
    /// This engine listens on this machine alone.
    pub loopback: bool,
}

impl Intake {
    /// Takes in a delivery: what became of each of its events; none when it means none.
    ///
    /// # Errors
    /// When there is no such source, the delivery is not verified or cannot be used, or the store fails.
    pub async fn hook(&self, delivery: Delivery<'_>) -> Result<Vec<Accepted>, IntakeError> {
        let (world, now) = (self.world(), self.store.now());
        let items = mapped(&world, delivery, now)?;
        let (of, mut inputs, mut meant, mut bad) = (items.len(), Vec::new(), false, None);
        for (n, item) in items.into_iter().enumerate() {
            match self.inputs_of_item(&world, delivery.source, item, now).await {
                Ok(None) => {}
                Ok(Some(more)) => {
                    meant = true;
                    inputs.extend(more);
                }
                Err(IntakeError::Refused(why) | IntakeError::NoSuch(why)) if of > 1 => {
                    tracing::warn!(source = delivery.source, item = n + 1, of, %why, "an item of a batch cannot be used; the others are taken in");
                    bad.get_or_insert((n + 1, why));
                }
                Err(why) => return Err(why),
            }
        }
        let accepted = match inputs.is_empty() {
            // What was said about an address that nobody has is kept all the same.
            true if meant => vec![Accepted::New],
            true => Vec::new(),
            false => self.store.accept(inputs).await?,
        };
        match bad {
            None => Ok(accepted),
            Some((n, why)) => {
                Err(Refusal { error: format!("item {n} of {of}: {}; the sound ones were taken in", why.error), ..why }.into())
            }
        }
    }

    /// The inputs that one item of a delivery means; `None`: it means nothing here.
    async fn inputs_of_item(
        &self,
        world: &World,
        source: &str,
        item: Result<Vec<Found>, Refusal>,
        now: Time,
    ) -> Result<Option<Vec<NewInput>>, IntakeError> {
        let (found, mut inputs) = (item?, Vec::new());
        if found.is_empty() {
            return Ok(None);
        }
        for one in found {
            inputs.extend(self.inputs_of(world, source, one, now).await?);
        }
        Ok(Some(inputs))
    }

    /// The inputs that one event of a delivery means.
    async fn inputs_of(&self, world: &World, source: &str, one: Found, now: Time) -> Result<Vec<NewInput>, IntakeError> {
        let Found { mut mapped, digest } = one;
        let (effect, message, customer) = (mapped.effect.take(), mapped.message.take(), mapped.customer.take());
        let (customer, effect) = self.sender_of(effect, message, customer).await?;
        let (address, channel) = (mapped.address.take(), mapped.channel.take());
        let mut event = one_event(world, source, mapped, now)?;
        for (name, value) in [("effect", &effect), ("channel", &channel)] {
            if let Some(value) = value {
                event.properties.entry(name.to_owned()).or_insert_with(|| Value::from(value.as_str()));
            }
        }
        event::check_size(&event.properties)?;
        if let Some(customer) = &customer {
            names::check_id(customer, "customer's id", "customer")?;
            self.introduced(world, customer).await??;
        }
        let channel = channel.or_else(|| event.property("channel").and_then(Value::as_text).map(str::to_owned));
        self.reach(About { source: source.to_owned(), digest, event, customer, address, channel }).await
    }
}

/// An event of a delivery, with the digest of what of the delivery it was made of.
struct Found {
    mapped: MappedEvent,
    digest: u32,
}

/// What each item of a delivery means; a body that is no list is one item.
fn mapped(world: &World, delivery: Delivery<'_>, now: Time) -> Result<Vec<Result<Vec<Found>, Refusal>>, IntakeError> {
    let Some(source) = world.sources.get(delivery.source) else {
        return Err(IntakeError::NoSuch(Refusal::new("there is no source of that name")));
    };
    if source.needs_loopback() && !delivery.loopback {
        return Err(IntakeError::Unverified("a source with `verify: none` is used only on loopback".to_owned()));
    }
    let values =
        |name: &str| delivery.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect::<Vec<_>>();
    source.verify(&values, delivery.query, delivery.body, now).map_err(|refusal| match refusal {
        source::Refusal::Unverified(why) => IntakeError::Unverified(why),
        source::Refusal::Bad(why) => Refusal::new(why).into(),
    })?;
    let form = values("content-type").first().and_then(|kind| Source::form(kind, delivery.body));
    let body = match form {
        Some(form) => form,
        None => json::read(delivery.body)?,
    };
    let shown: Vec<(String, String)> =
        delivery.headers.iter().filter(|(name, _)| !WITHHELD.contains(&name.as_str())).cloned().collect();
    // A list is a batch: each of its items is mapped, and known again by itself in whatever batch it comes.
    let items = match body {
        Value::List(items) if items.len() > BATCH_EVENTS_MAX => {
            return Err(Refusal::new(format!("a delivery holds at most {BATCH_EVENTS_MAX} events")).into());
        }
        Value::List(items) => items.into_iter().map(|item| (digest::of_value(&item).0, item)).collect(),
        other => vec![(digest::of_bytes(delivery.body), other)],
    };
    let found = |(digest, item): (u32, Value)| {
        let events = source.events(&item, &shown, now).map_err(|why| {
            Refusal::new(format!("the map of the source `{}` cannot use this delivery: {why}", source.name()))
                .hint("correct the map in autofunnel.yaml")
        })?;
        Ok(events.into_iter().map(|mapped| Found { mapped, digest }).collect())
    };
    Ok(items.into_iter().map(found).collect())
}

fn one_event(world: &World, source: &str, mapped: MappedEvent, now: Time) -> Result<Event, IntakeError> {
    for why in &mapped.left_out {
        tracing::warn!(source, event = mapped.name, why, "a property of a delivery was left out");
    }
    event::check_name(&mapped.name)?;
    names::check_id(&mapped.id, "event's id", "id")?;
    let time = event::not_later(mapped.time.unwrap_or(now), now)?;
    let (properties, minor) = event::check_properties(&mapped.name, mapped.properties, &world.settings)?;
    event::check_size(&properties)?;
    Ok(Event { id: mapped.id, name: mapped.name, time, properties, minor, depth: 0 })
}

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeStore, SHOP_TOKEN, intake};
    use super::*;
    use crate::event::InputBody;

    async fn deliver(
        intake: &Intake,
        source: &str,
        token: &str,
        body: &str,
        loopback: bool,
    ) -> Result<Vec<Accepted>, IntakeError> {
        let headers = [("authorization".to_owned(), format!("Bearer {token}"))];
        intake.hook(Delivery { source, headers: &headers, query: "", body: body.as_bytes(), loopback }).await
    }

    const ORDER: &str = r#"{"kind":"order","id":1001,"customer":"c1","at":"2027-03-01T09:00:00Z","total":"42.50"}"#;

    #[tokio::test]
    async fn a_delivery_becomes_events_once() {
        let store = FakeStore::new();
        let intake = intake(&store);
        let send = async |body: &str| deliver(&intake, "shop", SHOP_TOKEN, body, false).await.unwrap();
        assert_eq!(send(ORDER).await, [Accepted::New]);
        assert_eq!(send(ORDER).await, [Accepted::Duplicate]);
        assert_eq!(send(&ORDER.replace("42.50", "42.51")).await, [Accepted::Conflict]);
        let both = ORDER.replace("1001", "1002").replace("}", r#","refund":{"id":"r1","total":2}}"#);
        assert_eq!(send(&both).await, [Accepted::New, Accepted::New]);
        assert_eq!(send(r#"{"kind":"ping"}"#).await, []);
        let inputs = store.inputs();
        assert_eq!((inputs.len(), inputs[0].source.as_str(), inputs[0].id.as_deref()), (3, "shop", Some("1001")));
        assert!(matches!(&inputs[0].body, InputBody::Event(event) if event.minor == Some(4250) && event.name == "purchase"));
    }

    #[tokio::test]
    async fn what_is_not_verified_or_cannot_be_used_takes_nothing_in() {
        let store = FakeStore::new();
        let intake = intake(&store);
        assert!(matches!(deliver(&intake, "shop", "wrong", ORDER, true).await, Err(IntakeError::Unverified(_))));
        assert!(matches!(deliver(&intake, "nothing", SHOP_TOKEN, ORDER, true).await, Err(IntakeError::NoSuch(_))));
        assert!(matches!(deliver(&intake, "open", "", ORDER, false).await, Err(IntakeError::Unverified(_))));
        let negative = ORDER.replace("1001", "1002").replace("}", r#","refund":{"id":"r1","total":-2}}"#);
        for bad in [
            "",
            "{",
            r#"{"kind":"order","id":1}"#,
            &ORDER.replace("42.50", "many"),
            &ORDER.replace("2027-03-01T09", "2028-03-01T09"),
            &negative,
        ] {
            assert!(matches!(deliver(&intake, "shop", SHOP_TOKEN, bad, true).await, Err(IntakeError::Refused(_))), "{bad}");
        }
        assert!(store.inputs().is_empty(), "of two events the sound one is not taken in alone");
        // Of a batch the sound ones are, and its sender hears of the other.
        let batch = format!("[{},{},{}]", ORDER.replace("1001", "1"), ORDER.replace("42.50", "many"), ORDER.replace("1001", "2"));
        for _ in 0..2 {
            let Err(IntakeError::Refused(why)) = deliver(&intake, "shop", SHOP_TOKEN, &batch, true).await else {
                panic!("taken")
            };
            assert!(why.error.starts_with("item 2 of 3: ") && why.error.ends_with("the sound ones were taken in"), "{why}");
            assert_eq!(store.inputs().len(), 2, "each once");
        }
        assert_eq!(deliver(&intake, "open", "", ORDER, true).await.unwrap(), [Accepted::New]);
    }
}
