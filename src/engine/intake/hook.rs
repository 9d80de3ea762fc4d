//! A webhook's delivery: verified on its raw bytes, then turned into events by its source's map.
//!
//! All events of a delivery are taken in or none, because its sender repeats it as a whole.

use super::{Intake, IntakeError, Refusal, World, digest, event, json, names};
use crate::event::{Event, InputBody};
use crate::lang::time::Time;
use crate::source::{self, MappedEvent};
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
        let inputs = inputs(&world, delivery, now)?;
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        for input in &inputs {
            self.introduced(&world, &input.customer).await??;
        }
        Ok(self.store.accept(inputs).await?)
    }
}

fn inputs(world: &World, delivery: Delivery<'_>, now: Time) -> Result<Vec<NewInput>, IntakeError> {
    let Some(source) = world.sources.get(delivery.source) else {
        return Err(IntakeError::NoSuch(Refusal::new("there is no source of that name")));
    };
    if source.needs_loopback() && !delivery.loopback {
        return Err(IntakeError::Unverified("a source with `verify: none` is used only on loopback".to_owned()));
    }
    let values = |name: &str| delivery.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect();
    source.verify(&values, delivery.body, now).map_err(|refusal| match refusal {
        source::Refusal::Unverified(why) => IntakeError::Unverified(why),
        source::Refusal::Bad(why) => Refusal::new(why).into(),
    })?;
    let body = json::read(delivery.body)?;
    let shown: Vec<(String, String)> =
        delivery.headers.iter().filter(|(name, _)| !WITHHELD.contains(&name.as_str())).cloned().collect();
    let mapped = source.events(&body, &shown, now).map_err(|why| {
        Refusal::new(format!("the map of the source `{}` cannot use this delivery: {why}", source.name()))
            .hint("correct the map in autofunnel.yaml")
    })?;
    let digest = digest::of_bytes(delivery.body);
    mapped.into_iter().map(|mapped| one_input(world, source.name(), mapped, digest, now)).collect()
}

fn one_input(world: &World, source: &str, mapped: MappedEvent, digest: u32, now: Time) -> Result<NewInput, IntakeError> {
    for why in &mapped.left_out {
        tracing::warn!(source, event = mapped.name, why, "a property of a delivery was left out");
    }
    event::check_name(&mapped.name)?;
    names::check_id(&mapped.id, "event's id", "id")?;
    names::check_id(&mapped.customer, "customer's id", "customer")?;
    let time = event::not_later(mapped.time.unwrap_or(now), now)?;
    let (properties, minor) = event::check_properties(&mapped.name, mapped.properties, &world.settings)?;
    event::check_size(&properties)?;
    let event = Event { id: mapped.id, name: mapped.name, time, properties, minor, depth: 0 };
    Ok(NewInput {
        customer: mapped.customer,
        source: source.to_owned(),
        id: Some(event.id.clone()),
        digest,
        body: InputBody::Event(event),
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeStore, SHOP_TOKEN, intake};
    use super::*;

    async fn deliver(
        intake: &Intake,
        source: &str,
        token: &str,
        body: &str,
        loopback: bool,
    ) -> Result<Vec<Accepted>, IntakeError> {
        let headers = [("authorization".to_owned(), format!("Bearer {token}"))];
        intake.hook(Delivery { source, headers: &headers, body: body.as_bytes(), loopback }).await
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
        assert_eq!(deliver(&intake, "open", "", ORDER, true).await.unwrap(), [Accepted::New]);
    }
}
