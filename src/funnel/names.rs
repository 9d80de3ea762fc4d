//! The names that conditions, expressions and templates may use, with their types.
//!
//! [`Base`] knows what is the same everywhere in a workspace: the customer's fields, the events, the
//! segments. [`Names`] adds the place: what `event` is, and whether there is a run with steps. Both the
//! checker of conditions and that of templates ask it, so that a name means the same in either.

use super::settings::{BUILT_IN_PROFILE, Settings};
use crate::event::words::{self, WordType};
use crate::lang::cel::{Schema, Text, Texts, Type};
use crate::lang::diag::{Faults, closest};
use crate::lang::node::Node;
use crate::step::StepResults;
use crate::watch::WatchNames;
use std::collections::BTreeMap;

/// Longest name of an event, in bytes; the doors accept no longer one.
pub const EVENT_NAME_BYTES_MAX: usize = 64;
/// The profile field that holds a date and is in every workspace.
const BIRTHDAY: &str = "birthday";

/// What is the same everywhere in a workspace.
#[derive(Debug)]
pub struct Base {
    customer: Type,
    events: BTreeMap<String, Type>,
    segments: Vec<String>,
    profile: BTreeMap<String, Type>,
    lenient: bool,
    /// The tiers of the catalog; `None`: a store elsewhere names them.
    tiers: Option<Vec<String>>,
    memberships: Vec<String>,
}

impl Base {
    /// Of the settings, the names of the segments, and the events that funnels emit.
    pub fn new(settings: &Settings, segments: Vec<String>, emitted: &[String]) -> Base {
        let mut profile: BTreeMap<String, Type> = BUILT_IN_PROFILE.iter().map(|name| ((*name).to_owned(), Type::Text)).collect();
        profile.extend(settings.profile.iter().map(|(name, ty)| (name.clone(), ty.clone())));
        let mut events: BTreeMap<String, Type> =
            words::WORDS.iter().map(|word| (word.name.to_owned(), properties(word))).collect();
        for (name, ty) in &settings.events {
            let known = events.remove(name);
            events.insert(name.clone(), with_own(join(known, ty)));
        }
        for name in emitted {
            events.entry(name.clone()).or_insert(Type::Any);
        }
        Base {
            customer: customer(&profile, settings),
            events,
            segments,
            profile,
            lenient: false,
            tiers: None,
            memberships: Vec::new(),
        }
    }

    /// The same with the names that `catalog.yaml` declares.
    pub fn knowing(self, catalog: Option<&Node>, settings: &Settings) -> Base {
        let part = |name: &str| catalog.and_then(|catalog| catalog.get(name));
        let tiers = part("tiers").and_then(Node::list).unwrap_or_default();
        let tiers = tiers.iter().filter_map(|tier| Some(tier.get("tier")?.scalar()?.to_owned())).collect();
        let memberships = part("memberships").and_then(Node::map).unwrap_or_default();
        Base {
            tiers: settings.loyalty_store.is_none().then_some(tiers),
            memberships: memberships.iter().map(|(key, _)| key.text.clone()).collect(),
            ..self
        }
    }

    /// The same where the settings could not be read: the fields of the customer are then not known.
    pub fn lenient(self) -> Base {
        Base { customer: Type::Any, lenient: true, ..self }
    }

    /// The type of a profile field; `None`: there is none of this name.
    pub fn profile(&self, name: &str) -> Option<Type> {
        match self.profile.get(name) {
            Some(ty) => Some(ty.clone()),
            None => self.lenient.then_some(Type::Any),
        }
    }

    /// All profile fields.
    pub fn profile_fields(&self) -> Vec<String> {
        self.profile.keys().cloned().collect()
    }

    /// The profile fields that hold dates.
    pub fn date_fields(&self) -> Vec<String> {
        let dated = |(name, ty): &(&String, &Type)| **ty == Type::Time || name.as_str() == BIRTHDAY;
        self.profile.iter().filter(dated).map(|(name, _)| name.clone()).collect()
    }

    /// The type of `event` where it is an event of this name.
    pub fn event(&self, name: &str) -> Type {
        self.events.get(name).cloned().unwrap_or(Type::Any)
    }

    /// The known event that was probably meant by an unknown name.
    fn meant(&self, name: &str) -> Option<&str> {
        if self.events.contains_key(name) { None } else { closest(name, self.events.keys().map(String::as_str)) }
    }
}

/// Where a condition stands.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    base: &'a Base,
    /// The type of `event`; `None`: there is none.
    event: Option<Type>,
    /// The results of steps; `None`: there is no run.
    steps: Option<StepResults>,
    /// Whether `offer` and `workspace` are there too.
    template: bool,
}

impl<'a> Names<'a> {
    /// Names outside of funnels: the customer alone.
    pub fn new(base: &'a Base) -> Names<'a> {
        Names { base, event: None, steps: None, template: false }
    }

    /// The same with an event.
    pub fn seeing(&self, event: Type) -> Names<'a> {
        Names { event: Some(event), ..self.clone() }
    }

    /// The same within a run, after steps with these results.
    pub fn run(&self, steps: StepResults) -> Names<'a> {
        Names { steps: Some(steps), ..self.clone() }
    }

    /// The same within a template.
    pub fn template(&self) -> Names<'a> {
        Names { template: true, ..self.clone() }
    }
}

impl Schema for Names<'_> {
    fn root(&self, name: &str) -> Option<Type> {
        match name {
            "customer" => Some(self.base.customer.clone()),
            "event" => self.event.clone(),
            "steps" => self.steps.as_ref().map(steps),
            "run" => self
                .steps
                .as_ref()
                .map(|_| object([("id", Type::Number), ("key", Type::Text), ("entered", Type::Time), ("anchor", Type::Time)])),
            "offer" => self.template.then(offer),
            "unsubscribe_url" => self.template.then_some(Type::Text),
            "workspace" => self.template.then(|| object([("name", Type::Text)])),
            _ => None,
        }
    }

    fn roots(&self) -> Vec<String> {
        let all = ["customer", "event", "steps", "run", "offer", "unsubscribe_url", "workspace"];
        let there = |name: &&str| match *name {
            "customer" => true,
            "event" => self.event.is_some(),
            "steps" | "run" => self.steps.is_some(),
            _ => self.template,
        };
        all.into_iter().filter(there).map(str::to_owned).collect()
    }

    fn segments(&self) -> Vec<String> {
        self.base.segments.clone()
    }

    fn texts(&self, field: &str) -> Option<Texts<'_>> {
        match field {
            "customer.tier" => self.base.tiers.as_ref().map(|known| Texts { code: "unknown-tier", what: "tier", known }),
            "customer.membership.name" if !self.base.memberships.is_empty() => {
                Some(Texts { code: "unknown-membership", what: "membership", known: &self.base.memberships })
            }
            _ => None,
        }
    }

    /// An event nobody has declared may be one that the shop sends all the same: only a near miss of a
    /// known name is not known.
    fn event(&self, name: &str) -> Option<Type> {
        if self.base.meant(name).is_some() { None } else { Some(self.base.event(name)) }
    }

    fn events(&self) -> Vec<String> {
        self.base.events.keys().cloned().collect()
    }
}

impl WatchNames for Names<'_> {
    fn with_event<'b>(&'b self, event: &str) -> Box<dyn Schema + 'b> {
        Box::new(self.seeing(self.base.event(event)))
    }

    fn without_event<'b>(&'b self) -> Box<dyn Schema + 'b> {
        Box::new(self.clone())
    }

    fn know_event(&self, name: &Text, faults: &mut Faults) {
        if let Some(why) = malformed(&name.text) {
            faults.error("bad-event-name", &name.place, why).hint("write for example `tasting_booked`");
        } else if let Some(meant) = self.base.meant(&name.text) {
            faults
                .warning("unknown-event", &name.place, format!("nothing else mentions an event `{}`", name.text))
                .hint(format!("did you mean `{meant}`? If not, name it under `events:` in autofunnel.yaml"));
        }
    }

    fn know_segment(&self, name: &Text, faults: &mut Faults) {
        if !self.base.segments.contains(&name.text) {
            let message = format!("there is no segment `{}` in segments.yaml", name.text);
            faults
                .error("unknown-segment", &name.place, message)
                .did_you_mean(&name.text, self.base.segments.iter().map(String::as_str));
        }
    }
}

/// Why a text cannot be the name of an event: `[a-z][a-z0-9_.]*`, as the doors take it.
fn malformed(name: &str) -> Option<String> {
    if name.len() > EVENT_NAME_BYTES_MAX {
        return Some(format!("an event's name has at most {EVENT_NAME_BYTES_MAX} characters"));
    }
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.'));
    let shown: String = name.chars().take(40).collect();
    (!fits).then(|| {
        format!(
            "`{shown}` cannot be an event's name: it begins with a small letter and has small letters, digits, `_` and `.` only"
        )
    })
}

fn object<const N: usize>(fields: [(&str, Type); N]) -> Type {
    Type::Object(fields.into_iter().map(|(name, ty)| (name.to_owned(), ty)).collect())
}

/// Of a step that is itself faulty nothing is known, so nothing that is said of it is wrong.
fn steps(results: &StepResults) -> Type {
    let of = |fields: &Vec<(String, Type)>| if fields.is_empty() { Type::Any } else { Type::Object(fields.clone()) };
    Type::Object(results.iter().map(|(id, fields)| (id.clone(), of(fields))).collect())
}

fn offer() -> Type {
    let item = object([("sku", Type::Text), ("quantity", Type::Number)]);
    object([
        ("bundle", Type::Text),
        ("title", Type::Text),
        ("kind", Type::Text),
        ("items", Type::List(Box::new(item))),
        ("price", Type::Number),
        ("worth", Type::Number),
        ("saving", Type::Number),
        ("members_only", Type::Bool),
        ("code", Type::Text),
        ("ends", Type::Time),
    ])
}

/// What stands below a root name (`customer`, `run`, `offer`) within a run, with its types, as the reference lists it.
pub fn listed(settings: &Settings, root: &str) -> Vec<(String, Type)> {
    let base = Base::new(settings, Vec::new(), &[]);
    let names = Names::new(&base).run(Vec::new()).template();
    let mut out = Vec::new();
    let mut left = vec![(root.to_owned(), names.root(root))];
    while let Some((path, ty)) = left.pop() {
        match ty {
            Some(Type::Object(fields)) => {
                left.extend(fields.into_iter().rev().map(|(name, ty)| (format!("{path}.{name}"), Some(ty))));
            }
            Some(ty) => out.push((path, ty)),
            None => {}
        }
    }
    out
}

fn customer(profile: &BTreeMap<String, Type>, settings: &Settings) -> Type {
    let membership = object([
        ("name", Type::Text),
        ("title", Type::Text),
        ("benefits", Type::List(Box::new(Type::Text))),
        ("since", Type::Time),
        ("started", Type::Time),
        ("ends", Type::Time),
        ("auto_renew", Type::Bool),
        ("cancelled", Type::Bool),
        ("active", Type::Bool),
    ]);
    let consent = object([("email", Type::Bool), ("sms", Type::Bool), ("chat", Type::Bool), ("push", Type::Bool)]);
    let own = [
        ("id", Type::Text),
        ("created", Type::Time),
        ("tier", Type::Text),
        ("benefits", Type::List(Box::new(Type::Text))),
        ("balance", Type::Number),
        ("pending", Type::Number),
        ("next_expiry", Type::Time),
        ("membership", membership),
        ("consent", consent),
    ];
    let own = own.into_iter().map(|(name, ty)| (name.to_owned(), ty));
    // What a remote store says beside these has a form of its own.
    let told = settings.loyalty_store.iter().flat_map(|store| &store.names);
    let told = told.filter(|name| matches!(name.as_str(), "programmes" | "memberships" | "offers"));
    let own = own.chain(told.map(|name| (name.clone(), Type::Any)));
    Type::Object(own.chain(profile.iter().map(|(name, ty)| (name.clone(), ty.clone()))).collect())
}

fn type_of(word: WordType) -> Type {
    match word {
        WordType::Text => Type::Text,
        WordType::Number | WordType::Money => Type::Number,
        WordType::Time => Type::Time,
        WordType::Bool => Type::Bool,
        WordType::Items => Type::List(Box::new(Type::Object(typed(words::item_fields())))),
    }
}

fn typed(fields: &[(&str, WordType)]) -> Vec<(String, Type)> {
    fields.iter().map(|(name, word)| ((*name).to_owned(), type_of(*word))).collect()
}

fn properties(word: &words::Word) -> Type {
    with_own(typed(word.properties))
}

/// Properties declared for an event beside those that are known of it; a declared one counts.
fn join(known: Option<Type>, declared: &Type) -> Vec<(String, Type)> {
    let mut fields = match declared {
        Type::Object(fields) => fields.clone(),
        _ => Vec::new(),
    };
    if let Some(Type::Object(known)) = known {
        for (name, ty) in known {
            if !fields.iter().any(|(declared, _)| *declared == name) {
                fields.push((name, ty));
            }
        }
    }
    fields
}

/// With what every event has; a property of the same name counts.
pub fn with_own(fields: Vec<(String, Type)>) -> Type {
    let own = vec![("id".to_owned(), Type::Text), ("name".to_owned(), Type::Text), ("time".to_owned(), Type::Time)];
    Type::Object(join(Some(Type::Object(own)), &Type::Object(fields)))
}
