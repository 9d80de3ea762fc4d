//! `both`: points for the customer and for another, or for neither.
//!
//! Both are held first, where nobody can see or spend them. When both stores have said yes, both are given; when one
//! says no, or the time is up, or the run ends, what is held is taken back.

use super::grant::{self, id, without_deadline};
use super::{Below, Flow, GrantPlan, Step, StepCx, StepKind, list_node};
use crate::lang::cel::{Expr, Need, Type};
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::Span;

/// How long both may take to be accepted where the step does not say.
const WITHIN: Span = Span { months: 0, days: 1, ms: 0 };

/// `both`.
pub static KIND: StepKind = StepKind {
    name: "both",
    doc: "give points to the customer and to another, such as who was referred: both get theirs, or neither does",
    example: "both:\n    - { grant: 300 points, reason: referral }\n    - { grant: 200 points, reason: referred, to: event.friend }",
    fields: &[
        Field::required("both", Shape::List(&Shape::Data), "two grants, one of them with `to`"),
        Field::optional("within", Shape::Duration, "both must be accepted within this time; default 1 day"),
    ],
    compile,
};

#[derive(Debug)]
struct BothStep {
    own: GrantPlan,
    others: GrantPlan,
    to: Expr,
    within: Span,
}

fn compile(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let list = list_node(object.node("both")?, faults)?;
    let within = object.span("within", faults).unwrap_or(WITHIN);
    if within.is_zero() {
        faults
            .error("bad-duration", &object.place("within"), "nothing can be accepted within no time")
            .hint("write for example `within: 1 day`");
    }
    if below.names().points_elsewhere {
        faults
            .error("both-elsewhere", &object.place, "`both` needs the built-in account: a remote store cannot hold points back")
            .hint("write `loyalty: account` in autofunnel.yaml, or two steps `grant`");
    }
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for node in list {
        let part = Object::read(node, &[grant::KIND.fields], "a part of `both`", faults)?;
        without_deadline(&part, "both have the same time, which is `within`", faults);
        match grant::read(&part, below, faults)? {
            (_, Some(rate), _) => {
                faults
                    .error("points-of", &rate.of.text.place, "in `both` points are a fixed number")
                    .hint("write for example `grant: 200 points`");
                return None;
            }
            (plan, None, None) => own.push(plan),
            (plan, None, Some(to)) => others.push((plan, to)),
        }
    }
    match (own.len(), others.len()) {
        (1, 1) => {}
        _ => {
            faults
                .error("both-form", &object.place("both"), "`both` has two grants: one for the customer, and one with `to`")
                .hint("for example `- { grant: 200 points, reason: referred, to: event.friend }`");
            return None;
        }
    }
    let (own, (others, to)) = (own.pop()?, others.pop()?);
    Some(Box::new(BothStep { own, others, to, within }))
}

impl Step for BothStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        match id(&self.to, cx) {
            Ok(to) => Flow::Both { own: self.own.clone(), others: self.others.clone(), to, within: self.within },
            Err(flow) => *flow,
        }
    }

    fn results(&self) -> Vec<(String, Type)> {
        let texts = ["state", "reason"].map(|name| (name.to_owned(), Type::Text));
        texts.into_iter().chain([("points".to_owned(), Type::Number)]).collect()
    }

    fn needs(&self) -> Vec<Need> {
        self.to.needs()
    }

    fn grants(&self) -> Option<&str> {
        Some(&self.own.reason)
    }

    fn tells(&self) -> Option<String> {
        Some(format!("{} points", self.others.points))
    }

    fn sentence(&self) -> String {
        let (own, others) = (&self.own, &self.others);
        format!(
            "grant {} points ({}) and {} points ({}) to {}, or neither, within {}",
            own.points, own.reason, others.points, others.reason, self.to.text.text, self.within
        )
    }
}
