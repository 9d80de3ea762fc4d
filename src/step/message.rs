//! `email`, `sms`, `chat`, `push`, `message`: a message from a template, by one channel or the first of several.
//!
//! The step only says what it would send; consent, quiet hours and caps are judged by the turn, at the
//! real time of sending.

use super::compile::expires;
use super::window::{self, Window};
use super::{Below, Flow, IF_EXPIRED, MessagePlan, OnCap, Quiet, Step, StepCx, StepKind};
use crate::lang::diag::Faults;
use crate::lang::shape::{self, Field, Object, Shape};
use crate::lang::time::Span;
use crate::template::Template;

/// A message that has not begun this long after its decision is skipped.
pub const MESSAGE_EXPIRES_HOURS: i64 = 24;

/// `email`.
pub static EMAIL: StepKind = StepKind {
    name: "email",
    doc: "send an e-mail from a template, or written here with subject and text",
    example: "email: welcome",
    fields: &fields("email", "template (templates/NAME.html or NAME.mjml, and NAME.txt), or `{ subject: …, text: … }`"),
    compile: |object, id, below, faults| compile("email", vec!["email"], object, id, below, faults),
};

/// `sms`.
pub static SMS: StepKind = StepKind {
    name: "sms",
    doc: "send a text message to the customer's phone",
    example: "sms: renewal-last-day",
    fields: &fields("sms", "template (templates/NAME.txt), or `{ text: … }`"),
    compile: |object, id, below, faults| compile("sms", vec!["sms"], object, id, below, faults),
};

/// `chat`.
pub static CHAT: StepKind = StepKind {
    name: "chat",
    doc: "send a message to the customer's chat address",
    example: "chat: order-ready",
    fields: &fields("chat", "template (templates/NAME.txt), or `{ text: … }`"),
    compile: |object, id, below, faults| compile("chat", vec!["chat"], object, id, below, faults),
};

/// `push`.
pub static PUSH: StepKind = StepKind {
    name: "push",
    doc: "send a push notification to the customer's app",
    example: "push: order-ready",
    fields: &fields("push", "template (templates/NAME.txt), or `{ text: … }`"),
    compile: |object, id, below, faults| compile("push", vec!["push"], object, id, below, faults),
};

/// `message`.
pub static MESSAGE: StepKind = StepKind {
    name: "message",
    doc: "send a message by the first of several channels by which the customer can be reached",
    example: "message: order-ready\n  channels: [push, sms, email]",
    fields: &with_channels(),
    compile: |object, id, below, faults| {
        let channels = channels(object, faults)?;
        compile("message", channels, object, id, below, faults)
    },
};

const INLINE: &[Field] = &[
    Field::optional("subject", Shape::Text, "the subject, for e-mail"),
    Field::required("text", Shape::Text, "the text; may use `{{ customer.name }}` and the like"),
];

const QUIET: &[&str] = &["hold", "skip", "exit", "ignore"];
const ON_CAP: &[&str] = &["skip", "exit"];
const DEFER: &[Field] = &[Field::required("defer", Shape::Duration, "how long it may be put off at most")];

const fn fields(key: &'static str, doc: &'static str) -> [Field; 9] {
    [
        Field::required(key, Shape::Either(&[Shape::Name("template"), Shape::Object(INLINE)]), doc),
        Field::optional("topic", Shape::Name("topic"), "consent topic that must be granted beside the channel"),
        Field::optional("tag", Shape::Name("tag"), "caps by tag count messages with the same tag together"),
        Field::optional("transactional", Shape::Bool, "true: not marketing; consent, quiet hours and caps do not apply"),
        Field::optional(
            "quiet_hours",
            Shape::Word(QUIET),
            "what quiet hours do: `hold` until they end, `skip` the message, end the run (`exit`), or `ignore`",
        ),
        Field::optional(
            "on_cap",
            Shape::Either(&[Shape::Word(ON_CAP), Shape::Object(DEFER)]),
            "what a reached cap does: `skip` the message, end the run (`exit`), or `{ defer: 3 days }`: wait until there is room, at most so long",
        ),
        Field::optional(
            "window",
            Shape::Object(window::FIELDS),
            "the weekdays and hours in which it may be sent, by the customer's clock",
        ),
        Field::optional(
            "expires",
            Shape::Duration,
            "not sent later than this after the run came to the step, quiet hours and windows included; if not given, 24 hours after these are over",
        ),
        IF_EXPIRED,
    ]
}

const fn with_channels() -> [Field; 10] {
    let [key, topic, tag, transactional, quiet, on_cap, window, expires, if_expired] =
        fields("message", "template, with what every channel needs, or `{ subject: …, text: … }`");
    let channels = Field::required(
        "channels",
        Shape::List(&Shape::Word(CHANNELS)),
        "in this order: the next is tried when she cannot be reached by one, a cap stands against it, or it fails",
    );
    [key, channels, topic, tag, transactional, quiet, on_cap, window, expires, if_expired]
}

/// The channels there are.
const CHANNELS: &[&str] = &["email", "sms", "chat", "push"];

fn channels(object: &Object<'_>, faults: &mut Faults) -> Option<Vec<&'static str>> {
    let node = object.node("channels")?;
    let mut channels = Vec::new();
    for item in node.list().unwrap_or_default() {
        channels.push(shape::word(item, CHANNELS, faults)?);
    }
    let doubled = channels.iter().enumerate().any(|(at, channel)| channels[..at].contains(channel));
    if channels.is_empty() || doubled {
        faults
            .error("channels", &node.place, "`channels` is a list of channels, each of them once")
            .hint("for example `channels: [push, sms, email]`");
        return None;
    }
    Some(channels)
}

fn on_cap(object: &Object<'_>, faults: &mut Faults) -> OnCap {
    let Some(node) = object.node("on_cap") else { return OnCap::Skip };
    if node.map().is_none() {
        return if shape::word(node, ON_CAP, faults) == Some("exit") { OnCap::Exit } else { OnCap::Skip };
    }
    let span = Object::read(node, &[DEFER], "`on_cap`", faults).and_then(|object| object.span("defer", faults));
    if span.is_some_and(Span::is_zero) {
        faults.error("defer-zero", &node.place, "putting a message off for no time is skipping it").hint("write `on_cap: skip`");
    }
    span.map_or(OnCap::Skip, OnCap::Defer)
}

#[derive(Debug)]
struct MessageStep {
    plan: MessagePlan,
}

fn compile(
    key: &'static str,
    channels: Vec<&'static str>,
    object: &Object<'_>,
    id: &str,
    below: &mut Below<'_, '_>,
    faults: &mut Faults,
) -> Option<Box<dyn Step>> {
    let template = template(key, &channels, object, id, below, faults);
    let quiet_hours = object.word("quiet_hours", QUIET, faults).map(|word| match word {
        "hold" => Quiet::Hold,
        "skip" => Quiet::Skip,
        "exit" => Quiet::Exit,
        _ => Quiet::Ignore,
    });
    let transactional = object.node("transactional").and_then(|node| shape::boolean(node, faults));
    let plan = MessagePlan {
        channels,
        template: template?,
        topic: object.text("topic", faults).map(|t| t.text),
        tag: object.text("tag", faults).map(|t| t.text),
        transactional,
        quiet_hours,
        window: object.node("window").and_then(|node| Window::read(node, faults)),
        on_cap: on_cap(object, faults),
        expires: expires(object, faults),
    };
    Some(Box::new(MessageStep { plan }))
}

/// The template's name: one of the workspace, or one written in the step.
fn template(
    key: &str,
    channels: &[&str],
    object: &Object<'_>,
    id: &str,
    below: &mut Below<'_, '_>,
    faults: &mut Faults,
) -> Option<String> {
    let node = object.node(key)?;
    if node.map().is_none() {
        let name = shape::text(node, faults)?;
        let template = below.compiler().use_template(&name, faults)?;
        if let Some((channel, lack)) = channels.iter().find_map(|channel| Some((channel, lack(&template, channel)?))) {
            faults.error(
                "template-part",
                &name.place,
                format!("the template `{}` cannot be sent by {channel}: {lack}", name.text),
            );
        }
        return Some(name.text);
    }
    let inline = Object::read(node, &[INLINE], "a message written in the step", faults)?;
    let (subject, text) = (inline.text("subject", faults), inline.text("text", faults)?);
    if channels.contains(&"email") && subject.is_none() {
        faults.error("no-subject", &node.place, "an e-mail needs a `subject`");
    }
    let name = format!("inline:{id}");
    let template = Template::inline(&name, subject.as_ref(), &text, below.names().options, faults)?;
    below.compiler().keep_inline(name.clone(), template);
    Some(name)
}

/// Why a template cannot be sent by a channel.
fn lack(template: &Template, channel: &str) -> Option<&'static str> {
    match channel {
        "email" => (!template.has_subject()).then_some("it has no subject; begin its file with `---`, `subject: …`, `---`"),
        _ => (!template.has_text()).then_some("it has no plain text; write it into a .txt file of the same name"),
    }
}

impl Step for MessageStep {
    fn advance(&self, _cx: &StepCx<'_>) -> Flow {
        Flow::Send(Box::new(self.plan.clone()))
    }

    fn template(&self) -> Option<(&str, &'static str)> {
        Some((&self.plan.template, self.plan.channels.first()?))
    }

    fn channels(&self) -> &[&'static str] {
        &self.plan.channels
    }

    fn message(&self) -> Option<&MessagePlan> {
        Some(&self.plan)
    }

    fn transactional(&self) -> Option<bool> {
        self.plan.transactional
    }

    fn sentence(&self) -> String {
        let channels = self.plan.channels.join(", else ");
        if self.plan.template.starts_with("inline:") {
            format!("{channels} written in the funnel")
        } else {
            format!("{channels} “{}”", self.plan.template)
        }
    }
}
