//! What may happen in a test beside events: consent, changes of the profile and the membership, a run that is
//! asked for, an effect that is to fail.

use super::read::{Act, Reader, Says, entries, told_steps};
use super::{data, moment, text_of};
use crate::event::{ConsentChange, InputBody, MembershipChange, ProfileChange};
use crate::funnel::schema::MEMBERSHIP_FIELDS;
use crate::funnel::settings::{CHANNELS, MembershipOwner};
use crate::lang::cel::Text;
use crate::lang::diag::{Faults, Place};
use crate::lang::node::{Node, NodeKind};
use crate::lang::shape::{self, Field, Object};
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::play::{Answer, Failure};
use crate::step::{StepAt, both};

/// How an effect can be made to fail.
const FAILURES: &[&str] = &["refused", "dead", "silent"];

impl Reader<'_> {
    /// One entry of `events` of a kind other than `event`.
    pub(super) fn happening(
        &mut self,
        kind: &str,
        table: &'static [Field],
        node: &Node,
        value: &Node,
        at: Time,
        faults: &mut Faults,
    ) -> Option<Act> {
        let change = |change: ProfileChange| Some(Act::Input(InputBody::Profile(change)));
        let object = Object::read(node, &[table], &format!("an entry with `{kind}`"), faults)?;
        match kind {
            "consent" => change(ProfileChange { consent: self.consent(value, at, faults), ..ProfileChange::default() }),
            "set" => {
                let fields = entries(value, "`set`", faults);
                change(ProfileChange { profile: data::profile(fields, self.workspace, faults), ..ProfileChange::default() })
            }
            "membership" => {
                let (membership, cancelled) = self.membership(value, at, faults)?;
                if cancelled {
                    faults
                        .error("bad-membership", &value.place, "a membership is not cancelled by setting it")
                        .hint("write `event: membership_cancelled`");
                }
                change(ProfileChange { membership: Some(Some(membership)), ..ProfileChange::default() })
            }
            "store" => self.store(value, faults).map(Act::Store),
            "enrol" => self.enrol(&object, faults),
            "stop" => said(value, Says::Stop, faults),
            "start" => said(value, Says::Start, faults),
            "unsubscribe" => said(value, Says::Unsubscribe, faults),
            "release" => Some(Act::Review(self.step_named(kind, value, faults)?, true)),
            "reject" => Some(Act::Review(self.step_named(kind, value, faults)?, false)),
            "answer" => {
                let step = self.calling(text_of(value), &value.place, faults);
                let answer = answer(&object, faults);
                Some(Act::Answer(step?, answer?))
            }
            _ => self.fail(value, &object, faults),
        }
    }

    /// `[email, sms]`, or `{ sms: false, email:news: true }`.
    pub(super) fn consent(&self, node: &Node, time: Time, faults: &mut Faults) -> Vec<ConsentChange> {
        let said: Vec<(Text, bool)> = match &node.kind {
            NodeKind::Map(entries) => entries
                .iter()
                .filter_map(|(key, node)| {
                    Some((Text { text: key.text.clone(), place: key.place.clone() }, shape::boolean(node, faults)?))
                })
                .collect(),
            _ => shape::texts(node, faults).into_iter().map(|text| (text, true)).collect(),
        };
        let mut out = Vec::new();
        for (name, granted) in said {
            let (channel, topic) = match name.text.split_once(':') {
                Some((channel, topic)) => (channel.to_owned(), Some(topic.to_owned())),
                None => (name.text.clone(), None),
            };
            if !CHANNELS.contains(&channel.as_str()) {
                faults
                    .error("unknown-channel", &name.place, format!("there is no channel `{channel}`"))
                    .did_you_mean(&channel, CHANNELS.iter().copied());
                continue;
            }
            out.push(ConsentChange { channel, topic, granted, source: "test".to_owned(), time });
        }
        out
    }

    /// A membership, and whether it is cancelled. A term that does not say when it began begins at `at`.
    pub(super) fn membership(&self, node: &Node, at: Time, faults: &mut Faults) -> Option<(MembershipChange, bool)> {
        let object = Object::read(node, &[MEMBERSHIP_FIELDS], "a membership", faults)?;
        let name = object.node("name").and_then(|node| shape::name(node, faults));
        if let Some(name) = &name
            && self.workspace.catalog.membership(&name.text).is_none()
        {
            faults
                .error("unknown-membership", &name.place, format!("the catalog has no membership `{}`", name.text))
                .did_you_mean(&name.text, self.workspace.catalog.memberships.keys().map(String::as_str));
        }
        let mut time = |name: &str| object.node(name).map(|node| moment::read(node, self.zone, Some(at), faults));
        let (started, ends) = (time("started").unwrap_or(Some(at)), time("ends"));
        let auto_renew = object.bool("auto_renew", false, faults);
        let cancelled = object.bool("cancelled", false, faults);
        if cancelled && self.workspace.settings.membership_owner != MembershipOwner::Events {
            faults
                .error("bad-membership", &object.place("cancelled"), "only events say that a membership is cancelled")
                .hint("the settings name another owner with `membership_owner`; remove the line");
        }
        let (name, started, ends) = (name?.text, started?, ends.map_or(Some(None), |ends| ends.map(Some))?);
        if ends.is_some_and(|ends| ends <= started) {
            faults.error("bad-time", &object.place("ends"), "the membership ends before it starts").hint("write a later `ends`");
        }
        Some((MembershipChange { membership: name, started, ends, auto_renew }, cancelled))
    }

    /// Somebody asks for a run of the tested funnel.
    fn enrol(&mut self, object: &Object<'_>, faults: &mut Faults) -> Option<Act> {
        if !object.bool("enrol", true, faults) {
            return None;
        }
        let id = format!("test-{}", self.ids.len() + 1);
        let properties = match object.node("properties").map(|node| (node, shape::data(node, faults))) {
            None => Fields::new(),
            Some((_, Some(Value::Map(fields)))) => fields,
            Some((node, _)) => {
                faults.error("wrong-type", &node.place, "`properties` must be a map").hint("write `properties: { name: value }`");
                return None;
            }
        };
        self.ids.insert(id.clone());
        Some(Act::Input(InputBody::Enrol { funnel: self.funnel.to_owned(), id, properties }))
    }

    /// The id of a step that calls a service.
    pub(super) fn calling(&self, named: Option<Text>, place: &Place, faults: &mut Faults) -> Option<String> {
        let calls = || self.steps().filter(|at| at.step.calls().is_some());
        let named = named.unwrap_or_else(|| Text { text: String::new(), place: place.clone() });
        if calls().any(|at| at.id == named.text) {
            return Some(named.text);
        }
        faults.error("unknown-step", &named.place, format!("the funnel has no step `{}` that calls a service", named.text));
        told_steps(&named.text, calls(), faults);
        None
    }

    /// The next effect of a step fails.
    fn fail(&self, node: &Node, object: &Object<'_>, faults: &mut Faults) -> Option<Act> {
        let step = self.step_named("fail", node, faults)?;
        let failure = match object.node("with").map_or(Some("refused"), |node| shape::word(node, FAILURES, faults))? {
            "dead" => Failure::Dead,
            "silent" => Failure::Silent,
            _ => Failure::Refused,
        };
        Some(Act::Fail(step, failure))
    }

    /// A step named by its id, or by the template that it alone uses.
    fn step_named(&self, kind: &str, node: &Node, faults: &mut Faults) -> Option<String> {
        let named = text_of(node).filter(|step| !step.text.is_empty());
        let Some(named) = named else {
            faults
                .error("wrong-type", &node.place, format!("`{kind}` wants the id of a step"))
                .hint(format!("write for example `{kind}: email_1`"));
            return None;
        };
        let steps = || self.steps();
        let by_template: Vec<&str> = steps()
            .filter(|step| step.step.template().is_some_and(|(template, _)| template == named.text))
            .map(|step| step.id.as_str())
            .collect();
        let (id, other) = match named.text.strip_suffix(".other") {
            Some(id) => (id, ".other"),
            None => (named.text.as_str(), ""),
        };
        let fits = |step: &&StepAt| step.id == id && (other.is_empty() || step.kind == both::KIND.name);
        let by_id = steps().find(fits).map(|step| step.id.as_str());
        let step = match (by_id, by_template.as_slice()) {
            (Some(id), _) => id,
            (None, [only]) => only,
            (None, [..]) => {
                faults.error("unknown-step", &named.place, format!("the funnel has no step `{}`", named.text));
                match by_template.is_empty() {
                    true => told_steps(&named.text, steps(), faults),
                    false => drop(faults.hint(format!("several steps send this template; name one: {}", by_template.join(", ")))),
                }
                return None;
            }
        };
        Some(format!("{step}{other}"))
    }
}

/// What she says about being written to by a channel.
fn said(node: &Node, says: Says, faults: &mut Faults) -> Option<Act> {
    shape::word(node, CHANNELS, faults).map(|channel| Act::Said(channel.to_owned(), says))
}

/// What a service answers.
pub(super) fn answer(object: &Object<'_>, faults: &mut Faults) -> Option<Answer> {
    let status = match object.node("status") {
        None => Some(200),
        Some(_) => object.int("status", 100, 599, faults).and_then(|status| u16::try_from(status).ok()),
    };
    let body = match object.node("body") {
        None => Some(None),
        Some(node) => shape::data(node, faults).map(Some),
    };
    Some(Answer { status: status?, body: body? })
}
