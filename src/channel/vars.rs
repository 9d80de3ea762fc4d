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

/// What templates that read `paths` see of an effect.
pub(super) fn variables(effect: &Effect, rendered: Option<&Rendered>, paths: &[Vec<String>]) -> Result<Fields, String> {
    let read = Read(paths);
    let (frozen, own) = match &effect.kind {
        EffectKind::Message(message) => {
            let rendered = rendered.ok_or("the message was not rendered")?;
            let own = read.fields("message", |name| match name {
                "channel" => Value::from(message.channel.as_str()),
                "to" => Value::from(message.to.as_str()),
                "template" => Value::from(message.template.as_str()),
                "subject" => Value::from(rendered.subject.as_str()),
                "text" => Value::from(rendered.text.as_str()),
                "html" => Value::from(rendered.html.as_str()),
                "tag" => message.tag.as_deref().map_or(Value::Null, Value::from),
                "transactional" => Value::from(message.transactional),
                _ => message.variables.get(name).cloned().unwrap_or(Value::Null),
            });
            (Some(&message.variables), Some(("message", own)))
        }
        EffectKind::Grant(grant) => {
            let own = read.fields("grant", |name| match name {
                "points" => Value::from(grant.points),
                _ => Value::from(grant.reason.as_str()),
            });
            (Some(&grant.variables), Some(("grant", own)))
        }
        EffectKind::Offer(offer) => (Some(&offer.variables), Some(("bundle", Value::Map(offer.details.clone())))),
        EffectKind::Lookup(lookup) => (Some(&lookup.variables), None),
        EffectKind::Call(_) => (None, None),
        EffectKind::Tell(_) => return Err("a provider carries messages and grants only".to_owned()),
    };
    let about = read.fields("effect", |name| match name {
        "id" => Value::from(effect.id.as_str()),
        "customer" => Value::from(effect.customer.as_str()),
        "funnel" => Value::from(effect.funnel.as_str()),
        "step" => Value::from(effect.step.as_str()),
        _ => Value::Time(effect.decided_at),
    });
    let named = frozen.into_iter().flatten().filter(|(root, _)| read.root(root));
    let mut vars: Fields = named.map(|(root, value)| (root.clone(), value.clone())).collect();
    vars.insert("effect".to_owned(), about);
    vars.extend(own.map(|(name, own)| (name.to_owned(), own)));
    Ok(vars)
}

/// The names that templates read: nothing else needs to be made for them.
struct Read<'p>(&'p [Vec<String>]);

impl Read<'_> {
    fn root(&self, root: &str) -> bool {
        self.0.iter().any(|path| path.first().is_some_and(|first| first == root))
    }

    /// Fields of the effect's own. An empty text is missing, so that a template that needs it fails instead of sending
    /// nothing.
    fn fields(&self, root: &str, value: impl Fn(&str) -> Value) -> Value {
        let is_read = |name: &&&str| {
            let below = |path: &Vec<String>| path.get(1).is_none_or(|second| second == **name);
            self.0.iter().any(|path| path.first().is_some_and(|first| first == root) && below(path))
        };
        let names = own_names(root).iter().filter(is_read).map(|name| (*name, value(name)));
        let there = names.filter(|(_, value)| value.as_text() != Some(""));
        Value::Map(there.map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

/// The names of a root that comes from the effect itself.
fn own_names(root: &str) -> &'static [&'static str] {
    match root {
        "effect" => EFFECT_NAMES,
        "message" => MESSAGE_NAMES,
        "grant" => GRANT_NAMES,
        "bundle" => BUNDLE_NAMES,
        _ => &[],
    }
}

/// A schema with the roots that come from the effect itself.
pub(super) struct WithOwn<'a>(pub &'a dyn Schema);

impl Schema for WithOwn<'_> {
    fn root(&self, name: &str) -> Option<Type> {
        let names = own_names(name);
        if names.is_empty() {
            return self.0.root(name);
        }
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
