//! What comes in: parsed, checked against the workspace in force, and handed to the store.
//!
//! Nothing is decided here; a turn does that. What a door answers with "accepted" is durable: every
//! function returns only after [`Store::accept`] has. Whatever does not make sense is refused with one
//! sentence, a hint and the field, so that a turn only ever sees sound data.
//!
//! ```text
//! bytes ─ json ─► Value ─ event | hook | customer | enrol | import ─► NewInput ─ store.accept ─► answer
//! ```

use crate::event::address::{Address, Stop, field_of};
use crate::event::{ConsentChange, InputBody, ProfileChange};
use crate::funnel::settings::Settings;
use crate::lang::value::{Fields, Value};
use crate::source::Source;
use crate::store::{Accepted, NewInput, Saying, Store};
use event::Sent;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

mod about;
pub mod csv;
pub mod customer;
pub mod digest;
pub mod event;
#[cfg(test)]
pub(crate) mod fake;
pub mod fit;
pub mod hook;
pub mod import;
pub mod json;
pub mod link;
pub mod names;
pub mod pause;
mod refusal;
pub mod resolve;
pub mod review;

pub use refusal::{IntakeError, Refusal};

/// Most events in one request.
pub const BATCH_EVENTS_MAX: usize = 1_000;

/// The source of what comes over the API; with id and customer it identifies an event.
pub const SOURCE_API: &str = "api";

/// What the doors must know of the workspace in force.
#[derive(Clone, Debug)]
pub struct World {
    /// Hash of the workspace.
    pub hash: String,
    /// Its settings.
    pub settings: Settings,
    /// Its funnels; true for those with the trigger `manual`.
    pub funnels: BTreeMap<String, bool>,
    /// Names of the memberships in its catalog.
    pub memberships: BTreeSet<String>,
    /// Its sources of webhooks, by name.
    pub sources: BTreeMap<String, Arc<Source>>,
}

/// A value that is read by many and exchanged as a whole when a workspace is applied.
#[derive(Debug)]
pub struct Shared<T>(RwLock<Arc<T>>);

impl<T> Shared<T> {
    /// A handle on a first value.
    pub fn new(value: T) -> Shared<T> {
        Shared(RwLock::new(Arc::new(value)))
    }

    /// The present value.
    pub fn get(&self) -> Arc<T> {
        // A reader or writer that panicked has left a whole `Arc` behind: it is only ever replaced.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another value in its place; readers keep the one that they have.
    pub fn swap(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

/// The form of a body with events or rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// One JSON document.
    Json,
    /// One JSON document per line.
    Lines,
}

/// What became of one item.
pub type Item = Result<Accepted, Refusal>;

/// What became of a body with events.
#[derive(Clone, Debug)]
pub enum Receipt {
    /// It was one event.
    One(Accepted),
    /// It was several, in their order; with the line (or place in the list) from 1.
    Many(Vec<(usize, Item)>),
}

/// The way in.
pub struct Intake {
    store: Arc<dyn Store>,
    world: Arc<Shared<World>>,
}

impl Intake {
    /// An intake for that store, which follows that workspace.
    pub fn new(store: Arc<dyn Store>, world: Arc<Shared<World>>) -> Intake {
        Intake { store, world }
    }

    /// The workspace in force.
    pub fn world(&self) -> Arc<World> {
        self.world.get()
    }

    /// Takes one event, a list of events, or one event per line.
    ///
    /// # Errors
    /// When the body cannot be read at all, when its one event is wrong, or when the store fails; then
    /// nothing was taken in. Of several events the sound ones are taken in and the others listed.
    pub async fn events(&self, body: &[u8], form: Form) -> Result<Receipt, IntakeError> {
        let first = body.iter().copied().find(|byte| !byte.is_ascii_whitespace());
        let sent: Vec<import::Row> = match (form, first) {
            (Form::Lines, _) => lines(body)?,
            (Form::Json, Some(b'[')) => {
                let list = json::read_list(body, BATCH_EVENTS_MAX)?;
                list.into_iter().enumerate().map(|(i, value)| (i + 1, Ok(value))).collect()
            }
            (Form::Json, _) => return self.one_event(json::read(body)?).await,
        };
        let (world, now) = (self.world.get(), self.store.now());
        let mut items: Vec<(usize, Item)> = Vec::with_capacity(sent.len());
        let mut inputs = Vec::with_capacity(sent.len());
        for (line, value) in sent {
            let sent = match value.and_then(|value| event::read(value, &world.settings, now)) {
                Ok(sent) => self.introduced(&world, &sent.customer).await?.map(|()| sent),
                Err(refusal) => Err(refusal),
            };
            match sent {
                Ok(sent) => {
                    inputs.push(event_input(sent));
                    // Replaced by the store's answer below.
                    items.push((line, Ok(Accepted::New)));
                }
                Err(refusal) => items.push((line, Err(refusal))),
            }
        }
        inputs.extend(self.forbidden_by(&inputs).await?);
        let mut answers = if inputs.is_empty() { Vec::new() } else { self.store.accept(inputs).await? }.into_iter();
        for (_, item) in items.iter_mut().filter(|(_, item)| item.is_ok()) {
            *item = Ok(answers.next().ok_or_else(short_answer)?);
        }
        Ok(Receipt::Many(items))
    }

    async fn one_event(&self, value: Value) -> Result<Receipt, IntakeError> {
        let world = self.world.get();
        let sent = event::read(value, &world.settings, self.store.now())?;
        self.introduced(&world, &sent.customer).await??;
        self.accept_one(event_input(sent)).await.map(Receipt::One)
    }

    /// Where unknown customers are refused: whether this one has been introduced. (One who was introduced a
    /// moment ago counts from her first turn on; a sender that is refused may send again.)
    async fn introduced(&self, world: &World, customer: &str) -> Result<Result<(), Refusal>, IntakeError> {
        if world.settings.create_unknown || self.store.record(customer.to_owned()).await?.is_some_and(|record| !record.erased) {
            return Ok(Ok(()));
        }
        let shown: String = customer.chars().take(60).collect();
        Ok(Err(Refusal::new(format!("there is no customer `{shown}`, and this workspace refuses unknown ones"))
            .field("customer")
            .hint("introduce her first (`autofunnel import`, or PUT /v1/customers/{id}), or write `unknown: create` in autofunnel.yaml")))
    }

    async fn accept_one(&self, input: NewInput) -> Result<Accepted, IntakeError> {
        let mut inputs = vec![input];
        inputs.extend(self.forbidden_by(&inputs).await?);
        let answers = self.store.accept(inputs).await?;
        Ok(*answers.first().ok_or_else(short_answer)?)
    }

    /// Sets profile fields, consent or membership of a customer.
    ///
    /// # Errors
    /// When the id or the body is wrong, or the store fails.
    pub async fn put_customer(&self, id: &str, body: &[u8]) -> Result<(), IntakeError> {
        names::check_id(id, "customer's id", "id")?;
        let change = customer::read(json::read_map(body)?, &self.world.get(), self.store.now(), customer::Origin::Api)?;
        let agreed: Vec<ConsentChange> =
            change.consent.iter().filter(|one| one.granted && one.topic.is_none()).cloned().collect();
        self.command(id, InputBody::Profile(change.clone())).await?;
        for consent in agreed {
            self.agreed(id, &change, consent).await?;
        }
        Ok(())
    }

    /// Who agrees to be written to takes back what she herself said about the address before: STOP, or that she
    /// unsubscribed. What bounced or was complained about stays.
    async fn agreed(&self, id: &str, change: &ProfileChange, consent: ConsentChange) -> Result<(), IntakeError> {
        let field = field_of(&consent.channel);
        let address = match change.profile.get(field).and_then(Value::as_text) {
            Some(text) => Address::of(field, text),
            None => self.address_of(id, &consent.channel).await?,
        };
        let Some(address) = address else { return Ok(()) };
        let row = self.store.address(address.clone()).await?;
        let lifts = |stop: &Stop| stop.channel == consent.channel && stop.kind.can_be_lifted() && stop.since <= consent.time;
        if row.stops.iter().any(lifts) {
            let saying = Saying::Lift { channel: consent.channel, until: consent.time, only: None };
            let inputs = self.say(address, saying, &consent.source).await?;
            if !inputs.is_empty() {
                self.store.accept(inputs).await?;
            }
        }
        Ok(())
    }

    /// Forgets a customer.
    ///
    /// # Errors
    /// When there is no such customer, or the store fails.
    pub async fn erase(&self, id: &str) -> Result<(), IntakeError> {
        names::check_id(id, "customer's id", "id")?;
        if self.store.record(id.to_owned()).await?.is_none_or(|record| record.erased) {
            return Err(IntakeError::NoSuch(Refusal::new("there is no customer with that id")));
        }
        self.command(id, InputBody::Erase).await
    }

    async fn command(&self, customer: &str, body: InputBody) -> Result<(), IntakeError> {
        let input = NewInput { customer: customer.to_owned(), source: SOURCE_API.to_owned(), id: None, digest: 0, body };
        self.accept_one(input).await.map(|_| ())
    }

    /// Asks for a run of a funnel: `{"customer", "id"?, "properties"?, "force"?}`. `key` is the request's
    /// id if the body has none. A funnel with another trigger than `manual` starts only with `force`.
    ///
    /// # Errors
    /// When there is no such funnel, something is missing or wrong, or the store fails.
    pub async fn enrol(&self, funnel: &str, key: Option<&str>, body: &[u8]) -> Result<Accepted, IntakeError> {
        let world = self.world.get();
        let Some(manual) = world.funnels.get(funnel) else {
            let shown: String = funnel.chars().take(60).collect();
            let refusal = Refusal::new(format!("there is no funnel `{shown}`"));
            return Err(IntakeError::NoSuch(refusal.did_you_mean(&shown, world.funnels.keys().map(String::as_str))));
        };
        let sent = json::read(body)?;
        let (digest, size) = digest::of_value(&sent);
        if size > event::EVENT_BYTES_MAX {
            return Err(Refusal::new(format!("the body is larger than {} bytes", event::EVENT_BYTES_MAX)).into());
        }
        let request = enrolment(sent, key)?;
        if !manual && !request.force {
            return Err(Refusal::new(format!("`{funnel}` starts by its own trigger"))
                .hint("send \"force\": true to start a run of it all the same")
                .into());
        }
        let id = Some(format!("run:{funnel}:{}", request.id));
        let body = InputBody::Enrol { funnel: funnel.to_owned(), id: request.id, properties: request.properties };
        self.accept_one(NewInput { customer: request.customer, source: SOURCE_API.to_owned(), id, digest, body }).await
    }
}

struct Enrolment {
    customer: String,
    id: String,
    properties: Fields,
    force: bool,
}

fn enrolment(sent: Value, key: Option<&str>) -> Result<Enrolment, Refusal> {
    let mut fields = json::into_map(sent)?;
    let customer = names::take_id(&mut fields, "customer", "customer's id", "say whose run it is to be")?;
    let id = match names::take_text(&mut fields, "id")?.or_else(|| key.map(str::to_owned)) {
        Some(id) => id,
        None => {
            return Err(Refusal::new("the request has no id")
                .field("id")
                .hint("send the header Idempotency-Key or the field `id`, so that sending it again starts no second run"));
        }
    };
    names::check_id(&id, "request's id", "id")?;
    let properties = match fields.remove("properties") {
        None | Some(Value::Null) => Fields::new(),
        Some(Value::Map(properties)) => properties,
        Some(other) => return Err(Refusal::new(format!("`properties` must be a map, not {}", other.kind())).field("properties")),
    };
    let force = match fields.remove("force") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(force)) => force,
        Some(other) => return Err(Refusal::new(format!("`force` must be true or false, not {}", other.kind())).field("force")),
    };
    names::nothing_else(&fields, &["customer", "id", "properties", "force"])?;
    Ok(Enrolment { customer, id, properties, force })
}

fn event_input(sent: Sent) -> NewInput {
    NewInput {
        customer: sent.customer,
        source: SOURCE_API.to_owned(),
        id: Some(sent.event.id.clone()),
        digest: sent.digest,
        body: InputBody::Event(sent.event),
    }
}

fn short_answer() -> IntakeError {
    IntakeError::Store(crate::store::StoreError::Fatal("the store answered for fewer inputs than it was given".to_owned()))
}

/// One JSON document per line; empty lines are skipped.
fn lines(body: &[u8]) -> Result<Vec<import::Row>, Refusal> {
    let mut items = Vec::new();
    for (i, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if items.len() == BATCH_EVENTS_MAX {
            return Err(Refusal::new(format!("more than {BATCH_EVENTS_MAX} events in one request; send them in several")));
        }
        items.push((i + 1, json::read(line)));
    }
    if items.is_empty() {
        return Err(Refusal::new("the body holds no event").hint("send one JSON object per line"));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::fake::{FakeStore, intake};
    use super::*;

    fn event(id: &str, rest: &str) -> String {
        format!(r#"{{"id":"{id}","event":"purchase","customer":"c1"{rest}}}"#)
    }

    #[tokio::test]
    async fn one_event_is_accepted_once_and_another_body_is_a_conflict() {
        let store = FakeStore::new();
        let intake = intake(&store);
        let send = async |text: String| match intake.events(text.as_bytes(), Form::Json).await.unwrap() {
            Receipt::One(accepted) => accepted,
            Receipt::Many(_) => panic!("one event was sent"),
        };
        assert_eq!(send(event("e1", "")).await, Accepted::New);
        assert_eq!(send(format!("  {}  ", event("e1", ""))).await, Accepted::Duplicate);
        assert_eq!(send(event("e1", r#","properties":{"amount":1}"#)).await, Accepted::Conflict);
        assert_eq!(store.inputs().len(), 1);
        assert_eq!(store.inputs()[0].source, SOURCE_API);
    }

    #[tokio::test]
    async fn unknown_customers_are_refused_where_the_workspace_says_so() {
        let store = FakeStore::new();
        let mut world = fake::world();
        world.settings.create_unknown = false;
        let intake = Intake::new(store.clone(), Arc::new(Shared::new(world)));
        let refused = intake.events(event("e1", "").as_bytes(), Form::Json).await;
        assert!(matches!(refused, Err(IntakeError::Refused(refusal)) if refusal.field.as_deref() == Some("customer")));
        assert!(store.inputs().is_empty());
        store.rows.lock().unwrap().records.insert("c1".to_owned(), crate::store::Record::default());
        assert!(matches!(intake.events(event("e1", "").as_bytes(), Form::Json).await, Ok(Receipt::One(Accepted::New))));
    }

    #[tokio::test]
    async fn of_several_events_the_sound_ones_are_taken_in() {
        let store = FakeStore::new();
        let intake = intake(&store);
        let list = format!("[{},{},{}]", event("e1", ""), event("e2", r#","time":5"#), event("e1", ""));
        let lines = format!("{}\n\n{{broken\n{}\n", event("e1", ""), event("e3", ""));
        let mut shown = Vec::new();
        for (body, form) in [(list, Form::Json), (lines, Form::Lines)] {
            let Receipt::Many(items) = intake.events(body.as_bytes(), form).await.unwrap() else { panic!("several were sent") };
            shown.push(items.into_iter().map(|(line, item)| (line, item.map_err(|refusal| refusal.field))).collect::<Vec<_>>());
        }
        let time = Err(Some("time".to_owned()));
        assert_eq!(shown[0], [(1, Ok(Accepted::New)), (2, time), (3, Ok(Accepted::Duplicate))]);
        assert_eq!(shown[1], [(1, Ok(Accepted::Duplicate)), (3, Err(None)), (4, Ok(Accepted::New))]);
    }

    #[tokio::test]
    async fn a_body_that_cannot_be_read_or_holds_too_many_takes_nothing_in() {
        let store = FakeStore::new();
        let intake = intake(&store);
        let many: Vec<String> = (0..=BATCH_EVENTS_MAX).map(|i| event(&format!("e{i}"), "")).collect();
        for (body, form) in [
            (format!("[{}]", many.join(",")), Form::Json),
            (many.join("\n"), Form::Lines),
            ("[{},".to_owned(), Form::Json),
            ("\n".to_owned(), Form::Lines),
            (String::new(), Form::Json),
        ] {
            assert!(matches!(intake.events(body.as_bytes(), form).await, Err(IntakeError::Refused(_))));
        }
        assert!(store.inputs().is_empty());
        store.fail();
        assert!(matches!(intake.events(event("e", "").as_bytes(), Form::Json).await, Err(IntakeError::Store(_))));
    }

    #[tokio::test]
    async fn a_run_is_asked_for_once_and_by_name() {
        let store = FakeStore::new();
        let intake = intake(&store);
        let body = br#"{"customer":"c1","properties":{"gift":true}}"#;
        assert_eq!(intake.enrol("invited", Some("k1"), body).await.unwrap(), Accepted::New);
        assert_eq!(intake.enrol("invited", Some("k1"), body).await.unwrap(), Accepted::Duplicate);
        assert!(
            matches!(intake.enrol("invitd", Some("k1"), body).await, Err(IntakeError::NoSuch(refusal)) if refusal.hint.as_deref() == Some("did you mean `invited`?"))
        );
        assert!(matches!(intake.enrol("invited", None, body).await, Err(IntakeError::Refused(_))));
        assert!(matches!(intake.enrol("welcome", Some("k"), body).await, Err(IntakeError::Refused(_))));
        assert_eq!(intake.enrol("welcome", Some("k"), br#"{"customer":"c1","force":true}"#).await.unwrap(), Accepted::New);
        assert!(matches!(&store.inputs()[0].body, InputBody::Enrol { funnel, id, .. } if funnel == "invited" && id == "k1"));
    }

    #[tokio::test]
    async fn customers_are_set_and_forgotten() {
        let store = FakeStore::new();
        let intake = intake(&store);
        intake.put_customer("c1", br#"{"profile":{"name":"Ada"}}"#).await.unwrap();
        assert!(matches!(intake.erase("c2").await, Err(IntakeError::NoSuch(_))));
        store.know("c2");
        intake.erase("c2").await.unwrap();
        assert!(matches!(store.inputs()[1].body, InputBody::Erase));
        assert!(intake.put_customer("", b"{}").await.is_err());
    }
}
