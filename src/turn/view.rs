//! What conditions, expressions and templates see of a customer at one instant.

use crate::customer::{Customer, Run};
use crate::event::Event;
use crate::funnel::Workspace;
use crate::lang::cel::{Aggregate, Care, Scope};
use crate::lang::time::{Time, Zone};
use crate::lang::value::{Fields, Value, put};

/// A customer at an instant, perhaps with an event and a run.
pub struct View<'a> {
    /// Definitions: currency, keeps.
    pub workspace: &'a Workspace,
    /// The customer.
    pub customer: &'a Customer,
    /// The instant.
    pub now: Time,
    /// Her zone.
    pub zone: Zone,
    /// What `event` is.
    pub event: Option<&'a Event>,
    /// What `run`, `steps` and `offer` are about.
    pub run: Option<&'a Run>,
}

impl View<'_> {
    /// Copies the values at the given paths, nested as templates read them; missing ones are left out.
    pub fn freeze(&self, paths: &[Vec<String>]) -> Fields {
        let mut out = Fields::new();
        for path in paths {
            if let Some(value) = self.field(path) {
                put(&mut out, path, value);
            }
        }
        out
    }

    fn customer_field(&self, rest: &[String]) -> Option<Value> {
        let customer = self.customer;
        let (name, below) = match rest {
            [] => return Some(self.whole_customer()),
            [name, below @ ..] => (name.as_str(), below),
        };
        if self.workspace.settings.loyalty_store.as_ref().is_some_and(|store| store.says(name)) {
            return follow(customer.loyalty.store.data.get(name)?, below);
        }
        let value = match name {
            "id" => Value::Text(customer.id.clone()),
            "created" => Value::Time(customer.created),
            "zone" => Value::Text(self.zone.name().to_owned()),
            "tier" => Value::Text(some_text(&customer.loyalty.tier)?),
            "benefits" => self.workspace.catalog.tier(&customer.loyalty.tier)?.values().remove("benefits")?,
            "balance" => Value::Int(customer.loyalty.balance),
            "pending" => Value::Int(customer.loyalty.pending),
            "next_expiry" => Value::Time(customer.loyalty.next_expiry?),
            "membership" => match below {
                [] => self.membership()?,
                [name, deeper @ ..] => return descend(self.membership_field(name)?, deeper),
            },
            "consent" => consent(customer),
            name => return follow(customer.profile.get(name)?, below),
        };
        descend(value, below)
    }

    fn whole_customer(&self) -> Value {
        let mut fields = self.customer.profile.clone();
        let own = ["id", "created", "zone", "tier", "balance", "pending", "membership"];
        for name in own.into_iter().chain(["programmes", "memberships", "offers"]) {
            if let Some(value) = self.customer_field(&[name.to_owned()]) {
                fields.insert(name.to_owned(), value);
            }
        }
        Value::Map(fields)
    }

    fn membership(&self) -> Option<Value> {
        self.customer.membership.as_ref()?;
        let known = MEMBERSHIP.iter().filter_map(|name| Some(((*name).to_owned(), self.membership_field(name)?)));
        Some(Value::Map(known.collect()))
    }

    /// One of [`MEMBERSHIP`].
    fn membership_field(&self, name: &str) -> Option<Value> {
        let membership = self.customer.membership.as_ref()?;
        Some(match name {
            "name" => Value::Text(membership.name.clone()),
            "since" => Value::Time(membership.since),
            "started" => Value::Time(membership.started),
            "auto_renew" => Value::Bool(membership.auto_renew),
            "cancelled" => Value::Bool(membership.cancelled),
            "active" => Value::Bool(membership.ends.is_none_or(|ends| ends > self.now)),
            "ends" => Value::Time(membership.ends?),
            "title" | "benefits" => {
                let product = self.workspace.catalog.membership(&membership.name)?;
                product.values(self.workspace.settings.currency).remove(name)?
            }
            _ => return None,
        })
    }

    fn offer_field(&self, rest: &[String]) -> Option<Value> {
        let taken = self.run?.results.get(OFFER)?;
        let bundle = taken.get("bundle").and_then(Value::as_text)?;
        let mut fields = self.workspace.catalog.bundle(bundle)?.values(self.workspace.settings.currency);
        if let Value::Map(own) = taken {
            fields.extend(own.clone());
        }
        descend(Value::Map(fields), rest)
    }

    fn run_field(&self, rest: &[String]) -> Option<Value> {
        let run = self.run?;
        let fields = Fields::from([
            ("id".to_owned(), Value::Int(i64::try_from(run.id).ok()?)),
            ("key".to_owned(), Value::Text(run.key.clone())),
            ("entered".to_owned(), Value::Time(run.entered)),
            ("anchor".to_owned(), Value::Time(run.anchor)),
        ]);
        descend(Value::Map(fields), rest)
    }

    fn event_field(&self, rest: &[String]) -> Option<Value> {
        let event = self.event?;
        let (name, below) = match rest {
            [] => return Some(Value::Map(event.properties.clone())),
            [name, below @ ..] => (name.as_str(), below),
        };
        match event.properties.get(name) {
            Some(value) => follow(value, below),
            None => match name {
                "id" => Some(Value::Text(event.id.clone())),
                "name" => Some(Value::Text(event.name.clone())),
                "time" => Some(Value::Time(event.time)),
                _ => None,
            },
        }
    }
}

/// The name under which a run keeps its latest offer among its results; no step id can be this.
pub const OFFER: &str = "$offer";

/// What is known of a membership.
const MEMBERSHIP: &[&str] = &["name", "since", "started", "auto_renew", "cancelled", "active", "ends", "title", "benefits"];

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn consent(customer: &Customer) -> Value {
    let whole = customer.consent.iter().filter(|(channel, _)| !channel.contains(':'));
    Value::Map(whole.map(|(channel, consent)| (channel.clone(), Value::Bool(consent.granted))).collect())
}

/// A copy of what stands at a path below a value.
fn follow(value: &Value, path: &[String]) -> Option<Value> {
    path.iter().try_fold(value, |value, name| value.get(name)).cloned()
}

fn descend(value: Value, path: &[String]) -> Option<Value> {
    path.iter().try_fold(value, |value, name| match value {
        Value::Map(mut fields) => fields.remove(name),
        _ => None,
    })
}

impl Scope for View<'_> {
    fn now(&self) -> Time {
        self.now
    }

    fn zone(&self) -> Zone {
        self.zone
    }

    fn field(&self, path: &[String]) -> Option<Value> {
        let (root, rest) = path.split_first()?;
        match root.as_str() {
            "customer" => self.customer_field(rest),
            "event" => self.event_field(rest),
            "steps" => {
                let (step, below) = rest.split_first()?;
                follow(self.run?.results.get(step)?, below)
            }
            "run" => self.run_field(rest),
            "offer" => self.offer_field(rest),
            "workspace" => {
                let name = Value::Text(self.workspace.settings.workspace.clone());
                descend(Value::Map(Fields::from([("name".to_owned(), name)])), rest)
            }
            _ => None,
        }
    }

    fn in_segment(&self, name: &str) -> bool {
        self.customer.segments.contains_key(name)
    }

    fn first(&self, event: &str) -> Option<Time> {
        self.customer.history.get(event).map(|history| history.first)
    }

    fn last(&self, event: &str) -> Option<Time> {
        self.customer.history.get(event).map(|history| history.last)
    }

    fn aggregate(&self, query: &Aggregate, care: Care, keep: &mut dyn FnMut(&Fields) -> bool) -> (Value, Option<Time>) {
        match self.customer.history.get(&query.event) {
            Some(history) => history.aggregate(self.now, self.zone, query, self.workspace.settings.currency, (care, keep)),
            None => (Value::Int(0), None),
        }
    }
}
