//! `email`, `sms`, `chat`, `push`: a message from a template.
//!
//! The step only says what it would send; consent, quiet hours and caps are judged by the turn, at the
//! real time of sending.

use super::{Below, Flow, MessagePlan, Quiet, Step, StepCx, StepKind};
use crate::lang::diag::Faults;
use crate::lang::shape::{self, Field, Object, Shape};
use crate::lang::time::{HOUR_MS, Span};
use crate::template::Template;

/// A message that has not begun this long after its decision is skipped.
pub const MESSAGE_EXPIRES_HOURS: i64 = 24;

/// `email`.
pub static EMAIL: StepKind = StepKind {
    name: "email",
    doc: "send an e-mail from a template, or written here with subject and text",
    example: "email: welcome",
    fields: &fields("email", "template (templates/NAME.html or NAME.mjml, and NAME.txt), or `{ subject: …, text: … }`"),
    compile: |object, id, below, faults| compile("email", object, id, below, faults),
};

/// `sms`.
pub static SMS: StepKind = StepKind {
    name: "sms",
    doc: "send a text message to the customer's phone",
    example: "sms: renewal-last-day",
    fields: &fields("sms", "template (templates/NAME.txt), or `{ text: … }`"),
    compile: |object, id, below, faults| compile("sms", object, id, below, faults),
};

/// `chat`.
pub static CHAT: StepKind = StepKind {
    name: "chat",
    doc: "send a message to the customer's chat address",
    example: "chat: order-ready",
    fields: &fields("chat", "template (templates/NAME.txt), or `{ text: … }`"),
    compile: |object, id, below, faults| compile("chat", object, id, below, faults),
};

/// `push`.
pub static PUSH: StepKind = StepKind {
    name: "push",
    doc: "send a push notification to the customer's app",
    example: "push: order-ready",
    fields: &fields("push", "template (templates/NAME.txt), or `{ text: … }`"),
    compile: |object, id, below, faults| compile("push", object, id, below, faults),
};

const INLINE: &[Field] = &[
    Field::optional("subject", Shape::Text, "the subject, for e-mail"),
    Field::required("text", Shape::Text, "the text; may use `{{ customer.name }}` and the like"),
];

const QUIET: &[&str] = &["hold", "skip", "ignore"];

const fn fields(key: &'static str, doc: &'static str) -> [Field; 7] {
    [
        Field::required(key, Shape::Either(&[Shape::Name("template"), Shape::Object(INLINE)]), doc),
        Field::optional("topic", Shape::Name("topic"), "consent topic that must be granted beside the channel"),
        Field::optional("tag", Shape::Name("tag"), "caps by tag count messages with the same tag together"),
        Field::optional("transactional", Shape::Bool, "true: not marketing; consent, quiet hours and caps do not apply"),
        Field::optional("quiet_hours", Shape::Word(QUIET), "what quiet hours do: `hold` until they end, `skip`, or `ignore`"),
        Field::optional(
            "on_cap",
            Shape::Word(&["skip", "exit"]),
            "what a reached cap does: `skip` the message or end the run (`exit`)",
        ),
        Field::optional("expires", Shape::Duration, "not sent later than this after its decision; 24 hours if not given"),
    ]
}

#[derive(Debug)]
struct MessageStep {
    plan: MessagePlan,
}

fn compile(
    channel: &'static str,
    object: &Object<'_>,
    id: &str,
    below: &mut Below<'_, '_>,
    faults: &mut Faults,
) -> Option<Box<dyn Step>> {
    let template = template(channel, object, id, below, faults);
    let quiet_hours = object.word("quiet_hours", QUIET, faults).map(|word| match word {
        "hold" => Quiet::Hold,
        "skip" => Quiet::Skip,
        _ => Quiet::Ignore,
    });
    let transactional = object.node("transactional").and_then(|node| shape::boolean(node, faults));
    let expires = object.span("expires", faults);
    if expires.is_some_and(Span::is_zero) {
        faults
            .error("expires-zero", &object.place("expires"), "a message cannot expire at once")
            .hint("leave `expires` out for 24 hours");
    }
    let plan = MessagePlan {
        channel,
        template: template?,
        topic: object.text("topic", faults).map(|t| t.text),
        tag: object.text("tag", faults).map(|t| t.text),
        transactional,
        quiet_hours,
        exit_on_cap: object.word("on_cap", &["skip", "exit"], faults) == Some("exit"),
        expires: expires.unwrap_or(Span::ms(MESSAGE_EXPIRES_HOURS * HOUR_MS)),
    };
    Some(Box::new(MessageStep { plan }))
}

/// The template's name: one of the workspace, or one written in the step.
fn template(channel: &str, object: &Object<'_>, id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<String> {
    let node = object.node(channel)?;
    if node.map().is_none() {
        let name = shape::text(node, faults)?;
        let template = below.compiler().use_template(&name, faults)?;
        if let Some(lack) = lack(&template, channel) {
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
    if channel == "email" && subject.is_none() {
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
        Flow::Send(self.plan.clone())
    }

    fn template(&self) -> Option<(&str, &'static str)> {
        Some((&self.plan.template, self.plan.channel))
    }

    fn transactional(&self) -> Option<bool> {
        self.plan.transactional
    }

    fn sentence(&self) -> String {
        let inline = self.plan.template.starts_with("inline:");
        if inline {
            format!("{} written in the funnel", self.plan.channel)
        } else {
            format!("{} “{}”", self.plan.channel, self.plan.template)
        }
    }
}
