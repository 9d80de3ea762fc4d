//! `membership`: begin a membership, or make the present term longer. Only where the engine keeps memberships itself.
//!
//! What it does is an event of the engine's own (`membership_started`, `membership_changed`), so that waits follow the
//! date and funnels start as they do for memberships of the shop.

use super::{Below, Flow, Step, StepCx, StepKind};
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::Span;
use crate::lang::value::{Fields, Value};

/// `membership`.
pub static KIND: StepKind = StepKind {
    name: "membership",
    doc: "begin a membership, or make the present term longer; needs `membership_owner: account`",
    example: "membership: { extend: 1 month }",
    fields: &[Field::required("membership", Shape::Object(FIELDS), "what happens to it: `start` or `extend`")],
    compile,
};

const FIELDS: &[Field] = &[
    Field::optional("start", Shape::Name("membership"), "begin this membership of catalog.yaml, in place of another"),
    Field::optional("for", Shape::Duration, "with `start`: how long; as the catalog says if not given"),
    Field::optional("auto_renew", Shape::Bool, "with `start`: whether it renews by itself; it does not if not given"),
    Field::optional("extend", Shape::Duration, "so much longer the present term lasts; of one that is over, from now on"),
];

#[derive(Debug)]
enum MembershipStep {
    Start { name: String, length: Span, auto_renew: bool },
    Extend(Span),
}

fn compile(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let node = object.node("membership")?;
    let object = Object::read(node, &[FIELDS], "the step `membership`", faults)?;
    let names = below.names();
    if !names.own_memberships {
        faults
            .error("membership-owner", &node.place, "somebody else says who is a member, so a funnel cannot")
            .hint("write `membership_owner: account` in autofunnel.yaml, or ask the shop with `call` or `emit`");
    }
    let (start, extend) = (object.text("start", faults), object.span("extend", faults));
    let (length, auto_renew) = (object.span("for", faults), object.bool("auto_renew", false, faults));
    let zero = extend.or(length).is_some_and(Span::is_zero);
    let form = object.node("start").is_some() == object.node("extend").is_some()
        || (object.node("extend").is_some() && (object.node("for").is_some() || object.node("auto_renew").is_some()));
    if zero || form {
        faults
            .error("membership-form", &node.place, "a membership is either begun or made longer, by some time")
            .hint("for example `{ start: club, for: 1 month }` or `{ extend: 1 month }`");
        return None;
    }
    if let Some(extend) = extend {
        return Some(Box::new(MembershipStep::Extend(extend)));
    }
    let name = start?;
    let Some(term) = names.memberships.get(&name.text) else {
        faults
            .error("unknown-membership", &name.place, format!("there is no membership `{}` in catalog.yaml", name.text))
            .did_you_mean(&name.text, names.memberships.keys().map(String::as_str));
        return None;
    };
    Some(Box::new(MembershipStep::Start { name: name.text, length: length.unwrap_or(*term), auto_renew }))
}

impl Step for MembershipStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        let text = |name: &str, text: &str| (name.to_owned(), Value::from(text));
        let time = |name: &str, time| (name.to_owned(), Value::Time(time));
        let (name, properties) = match self {
            MembershipStep::Start { name, length, auto_renew } => {
                let ends = cx.now.plus(*length, cx.zone);
                let own = [text("membership", name), time("started", cx.now), time("ends", ends)];
                let renews = ("auto_renew".to_owned(), Value::Bool(*auto_renew));
                ("membership_started", Fields::from_iter(own.into_iter().chain([renews])))
            }
            MembershipStep::Extend(span) => {
                let Some(held) = cx.customer.membership.as_ref() else {
                    return Flow::Missing { what: "customer.membership".to_owned() };
                };
                // One without an end cannot last longer.
                let Some(ends) = held.ends else { return Flow::Next };
                let ends = ends.max(cx.now).plus(*span, cx.zone);
                ("membership_changed", Fields::from([text("membership", &held.name), time("ends", ends)]))
            }
        };
        Flow::Emit { name: name.to_owned(), properties, to: None }
    }

    fn emits(&self) -> Option<&str> {
        Some(match self {
            MembershipStep::Start { .. } => "membership_started",
            MembershipStep::Extend(_) => "membership_changed",
        })
    }

    fn sentence(&self) -> String {
        match self {
            MembershipStep::Start { name, length, .. } => format!("begin the membership “{name}” for {length}"),
            MembershipStep::Extend(span) => format!("extend the membership by {span}"),
        }
    }
}
