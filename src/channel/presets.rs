//! Well-known services, described as `http` providers: a marketer writes who she is, not how they are called.
//!
//! A preset is a YAML file in `presets/`, embedded in the program, and one line in [`FILES`]. Its parameters
//! are fields of the provider; `$(name)` in its request stands for what the settings say there. Faults in a
//! parameter are told at the line of the settings, for which every node of a preset takes the place of the
//! parameter that stands in it, else of `kind`.

use super::{COMMON_FIELDS, Channel, Setup, http};
use crate::lang::diag::{Faults, Place};
use crate::lang::node::{self, Key, Node, NodeKind};
use crate::lang::shape::{Field, Object, Shape};
use std::sync::{Arc, LazyLock};

/// All presets by kind.
const FILES: &[(&str, &str)] = &[
    ("postmark", include_str!("presets/postmark.yaml")),
    ("sendgrid", include_str!("presets/sendgrid.yaml")),
    ("slack", include_str!("presets/slack.yaml")),
    ("telegram", include_str!("presets/telegram.yaml")),
    ("twilio", include_str!("presets/twilio.yaml")),
    ("vonage", include_str!("presets/vonage.yaml")),
    ("whatsapp", include_str!("presets/whatsapp.yaml")),
    ("whatsapp-template", include_str!("presets/whatsapp-template.yaml")),
];

/// Fields of every preset, handed on to the `http` provider.
const HANDED_ON: &[Field] = &[
    Field::optional("timeout", Shape::Duration, "for the whole call; default 10s, at most 60s"),
    Field::optional(
        "on_uncertain",
        Shape::Word(&["resend", "hold"]),
        "when nobody knows whether a message was taken; default resend: the service takes no key",
    ),
];

/// Fields of a preset's own file.
const FILE: &[Field] = &[
    Field::required("about", Shape::Text, "one sentence for editors and the reference"),
    Field::optional("parameters", Shape::MapOf(&Shape::Text), "fields that must be there"),
    Field::optional(
        "optional",
        Shape::MapOf(&Shape::Text),
        "fields that may be left out; what names one that is, is left out too",
    ),
    Field::optional("one_of", Shape::List(&Shape::Text), "of these exactly one must be there"),
    Field::optional("defaults", Shape::MapOf(&Shape::Text), "fields that stand for this when they are left out"),
    Field::required("request", Shape::Data, "the provider of kind `http`"),
];

/// A preset, read.
pub(super) struct Preset {
    /// Its kind in the settings.
    pub kind: &'static str,
    /// One sentence for editors and the reference.
    pub about: &'static str,
    /// Its fields beside `kind`.
    pub fields: &'static [Field],
    one_of: Vec<String>,
    defaults: Vec<(String, String)>,
    request: Node,
}

static ALL: LazyLock<Vec<Preset>> =
    LazyLock::new(|| FILES.iter().map(|(kind, text)| read(kind, text).expect("a test reads every embedded preset")).collect());

/// All presets, in the order of their names.
pub(super) fn all() -> &'static [Preset] {
    &ALL
}

/// Reads an embedded file. Its texts live as long as the program: it is read once.
fn read(kind: &'static str, text: &'static str) -> Result<Preset, String> {
    let mut faults = Faults::default();
    let node = node::parse(kind, text, &mut faults);
    let object = node.as_ref().and_then(|node| Object::read(node, &[FILE], kind, &mut faults));
    let (Some(object), false) = (object, faults.has_errors()) else { return Err(format!("{kind}: {:?}", faults.list())) };
    let about = |node: &Node| -> &'static str { Box::leak(node.scalar().unwrap_or_default().to_owned().into_boxed_str()) };
    let mut fields = Vec::new();
    for (part, required) in [("parameters", true), ("optional", false)] {
        for (key, node) in object.node(part).and_then(Node::map).unwrap_or_default() {
            let name: &'static str = Box::leak(key.text.clone().into_boxed_str());
            fields.push(Field { name, shape: Shape::Data, required, doc: about(node) });
        }
    }
    let defaults = object.node("defaults").and_then(Node::map).unwrap_or_default();
    let defaults: Vec<(String, String)> =
        defaults.iter().map(|(key, node)| (key.text.clone(), node.scalar().unwrap_or_default().to_owned())).collect();
    for (name, value) in &defaults {
        let doc = Box::leak(format!("default {value}").into_boxed_str());
        fields.push(Field { name: Box::leak(name.clone().into_boxed_str()), shape: Shape::Data, required: false, doc });
    }
    let one_of = object.node("one_of").and_then(Node::list).unwrap_or_default();
    Ok(Preset {
        kind,
        about: object.node("about").map(about).unwrap_or_default(),
        fields: fields.leak(),
        one_of: one_of.iter().filter_map(|node| node.scalar().map(str::to_owned)).collect(),
        defaults,
        request: object.node("request").cloned().ok_or_else(|| format!("{kind} has no request"))?,
    })
}

impl Preset {
    /// The fields that every preset has.
    pub fn common() -> &'static [Field] {
        HANDED_ON
    }

    /// Makes the provider `name`.
    pub fn compile(&self, name: &str, node: &Node, setup: Setup<'_>, faults: &mut Faults) -> Option<Arc<dyn Channel>> {
        let errors = faults.error_count();
        let object = Object::read(node, &[COMMON_FIELDS, HANDED_ON, self.fields], &format!("the provider `{name}`"), faults)?;
        let mut given: Vec<(&str, &Node)> = Vec::new();
        for field in self.fields {
            let Some(node) = object.node(field.name) else { continue };
            match node.scalar() {
                Some(text) if !text.trim().is_empty() => given.push((field.name, node)),
                _ => {
                    let message = format!("`{}` is a text, but here stands {}", field.name, node.describe());
                    faults.error("wrong-type", &node.place, message).hint(format!("it means: {}", field.doc));
                }
            }
        }
        let chosen = self.one_of.iter().filter(|name| object.node(name).is_some()).count();
        if !self.one_of.is_empty() && chosen != 1 {
            let names = self.one_of.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
            faults.error("missing-field", &object.place, format!("the provider `{name}` needs exactly one of {names}"));
        }
        if faults.error_count() > errors {
            return None;
        }
        let filling = Filling { place: object.place("kind"), given, defaults: &self.defaults };
        let mut whole = filling.node(&self.request)?;
        let NodeKind::Map(entries) = &mut whole.kind else { return None };
        let said = |field: &Field| Some((key(field.name, &filling.place), object.node(field.name)?.clone()));
        entries.extend(HANDED_ON.iter().filter_map(said));
        let fixed = [("kind", "http"), ("on_uncertain", "resend")];
        for (name, value) in fixed {
            if !entries.iter().any(|(key, _)| key.text == name) {
                entries.push((key(name, &filling.place), text(value.to_owned(), &filling.place)));
            }
        }
        http::preset(self.kind, name, &whole, setup, faults)
    }
}

fn key(name: &str, place: &Place) -> Key {
    Key { text: name.to_owned(), place: place.clone() }
}

fn text(text: String, place: &Place) -> Node {
    Node { place: place.clone(), kind: NodeKind::Scalar { text, plain: false } }
}

/// What stands for the parameters.
struct Filling<'a> {
    /// The place of what names no parameter.
    place: Place,
    given: Vec<(&'a str, &'a Node)>,
    defaults: &'a [(String, String)],
}

impl Filling<'_> {
    /// A copy with parameters filled in; `None` when it names one that was left out.
    fn node(&self, node: &Node) -> Option<Node> {
        let kind = match &node.kind {
            NodeKind::Scalar { text, plain } if !text.contains("$(") => NodeKind::Scalar { text: text.clone(), plain: *plain },
            NodeKind::Scalar { text, .. } => return self.scalar(text),
            NodeKind::List(items) => NodeKind::List(items.iter().filter_map(|item| self.node(item)).collect()),
            NodeKind::Map(entries) => {
                let filled = entries.iter().filter_map(|(name, item)| Some((key(&name.text, &self.place), self.node(item)?)));
                NodeKind::Map(filled.collect())
            }
        };
        Some(Node { place: self.place.clone(), kind })
    }

    fn scalar(&self, written: &str) -> Option<Node> {
        let (mut out, mut place, mut rest) = (String::new(), None, written);
        while let Some((before, after)) = rest.split_once("$(") {
            let (name, after) = after.split_once(')')?;
            out.push_str(before);
            match self.given.iter().find(|(given, _)| *given == name) {
                Some((_, node)) => {
                    out.push_str(node.scalar()?);
                    place.get_or_insert_with(|| node.place.clone());
                }
                None => out.push_str(&self.defaults.iter().find(|(default, _)| default == name)?.1),
            }
            rest = after;
        }
        out.push_str(rest);
        Some(text(out, &place.unwrap_or_else(|| self.place.clone())))
    }
}

#[cfg(test)]
mod tests;
