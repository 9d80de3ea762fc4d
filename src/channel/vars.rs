//! What the templates of a provider see: the effect itself, and what was frozen into it.

use crate::effect::{Effect, EffectKind};
use crate::lang::cel::{Schema, Texts, Type};
use crate::lang::value::{Fields, Value};
use crate::template::Rendered;

/// Paths that are to be frozen into an effect: all but those of the effect itself.
pub(super) fn frozen(paths: &[Vec<String>]) -> Vec<Vec<String>> {
    let own = |path: &&Vec<String>| path.first().is_some_and(|root| !OWN_ROOTS.contains(&root.as_str()));
    paths.iter().filter(own).cloned().collect()
}

/// Roots that come from the effect itself.
pub(super) const OWN_ROOTS: &[&str] = &["effect", "message", "grant", "bundle"];
const EFFECT_NAMES: &[&str] = &["id", "customer", "funnel", "step", "decided_at"];
const MESSAGE_NAMES: &[&str] =
    &["channel", "to", "template", "subject", "text", "html", "tag", "transactional", "unsubscribe_url"];
const GRANT_NAMES: &[&str] = &["points", "reason"];
const BUNDLE_NAMES: &[&str] = &["name", "title", "kind", "items", "price", "worth", "saving", "members_only", "ends"];

/// What the templates see.
pub(super) fn variables(effect: &Effect, rendered: Option<&Rendered>) -> Result<Fields, String> {
    let fields = |pairs: Vec<(&str, Value)>| {
        // An empty text is missing, so that a template that needs it fails instead of sending nothing.
        let there = pairs.into_iter().filter(|(_, value)| *value != Value::from(""));
        Value::Map(there.map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let (mut vars, own) = match &effect.kind {
        EffectKind::Message(message) => {
            let rendered = rendered.ok_or("the message was not rendered")?;
            let own = fields(vec![
                ("channel", Value::from(message.channel.as_str())),
                ("to", Value::from(message.to.as_str())),
                ("template", Value::from(message.template.as_str())),
                ("subject", Value::from(rendered.subject.as_str())),
                ("text", Value::from(rendered.text.as_str())),
                ("html", Value::from(rendered.html.as_str())),
                ("tag", message.tag.as_deref().map_or(Value::Null, Value::from)),
                ("transactional", Value::from(message.transactional)),
                ("unsubscribe_url", message.variables.get("unsubscribe_url").cloned().unwrap_or(Value::Null)),
            ]);
            (message.variables.clone(), Some(("message", own)))
        }
        EffectKind::Grant(grant) => {
            let own = fields(vec![("points", Value::from(grant.points)), ("reason", Value::from(grant.reason.as_str()))]);
            (grant.variables.clone(), Some(("grant", own)))
        }
        EffectKind::Offer(offer) => (offer.variables.clone(), Some(("bundle", Value::Map(offer.details.clone())))),
        EffectKind::Lookup(lookup) => (lookup.variables.clone(), None),
        EffectKind::Call(call) => {
            let own = fields(vec![("service", Value::from(call.service.as_str()))]);
            (Fields::new(), Some(("call", own)))
        }
        EffectKind::Tell(_) => return Err("a provider carries messages and grants only".to_owned()),
    };
    let about = fields(vec![
        ("id", Value::from(effect.id.as_str())),
        ("customer", Value::from(effect.customer.as_str())),
        ("funnel", Value::from(effect.funnel.as_str())),
        ("step", Value::from(effect.step.as_str())),
        ("decided_at", Value::Time(effect.decided_at)),
    ]);
    vars.insert("effect".to_owned(), about);
    vars.extend(own.map(|(name, own)| (name.to_owned(), own)));
    Ok(vars)
}

/// A schema with the roots that come from the effect itself.
pub(super) struct WithOwn<'a>(pub &'a dyn Schema);

impl Schema for WithOwn<'_> {
    fn root(&self, name: &str) -> Option<Type> {
        let names = match name {
            "effect" => EFFECT_NAMES,
            "message" => MESSAGE_NAMES,
            "grant" => GRANT_NAMES,
            "bundle" => BUNDLE_NAMES,
            _ => return self.0.root(name),
        };
        Some(Type::Object(names.iter().map(|name| ((*name).to_owned(), Type::Any)).collect()))
    }

    fn roots(&self) -> Vec<String> {
        self.0.roots().into_iter().chain(OWN_ROOTS.iter().map(|root| (*root).to_owned())).collect()
    }

    fn segments(&self) -> Vec<String> {
        self.0.segments()
    }

    fn event(&self, name: &str) -> Option<Type> {
        self.0.event(name)
    }

    fn events(&self) -> Vec<String> {
        self.0.events()
    }

    fn texts(&self, field: &str) -> Option<Texts<'_>> {
        self.0.texts(field)
    }
}
