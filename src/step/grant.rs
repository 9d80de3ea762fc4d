//! `grant`: bonus points, booked under the effect's own key, so never twice.

use super::compile::expires;
use super::{Below, EXPIRES, Flow, GrantPlan, IF_EXPIRED, Step, StepCx, StepKind};
use crate::lang::cel::Type;
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{self, Field, Object, Shape};

/// Most points of one grant.
pub const GRANT_POINTS_MAX: i64 = 1_000_000_000;

/// `grant`.
pub static KIND: StepKind = StepKind {
    name: "grant",
    doc: "give the customer bonus points",
    example: "grant: 200 points",
    fields: &[
        Field::required(
            "grant",
            Shape::Either(&[Shape::Phrase("a number of points: `200 points` or 200"), Shape::Int(1, GRANT_POINTS_MAX)]),
            "how many points",
        ),
        Field::optional(
            "reason",
            Shape::Name("reason"),
            "why, for the ledger and the figures: welcome, birthday …; the funnel's name if not given",
        ),
        Field::optional("active_after", Shape::Duration, "they can be spent only after this time"),
        Field::optional("expires_after", Shape::Duration, "they run out this long after they became spendable"),
        EXPIRES,
        IF_EXPIRED,
    ],
    compile,
};

#[derive(Debug)]
struct GrantStep {
    plan: GrantPlan,
}

fn compile(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let points = object.node("grant").and_then(|node| points(node, faults));
    let reason = object.text("reason", faults).map(|t| t.text);
    let active_after = object.span("active_after", faults).unwrap_or_default();
    let expires_after = object.span("expires_after", faults).or(below.names().points_expire);
    let expires = expires(object, faults);
    let reason = reason.unwrap_or_else(|| below.names().funnel.to_owned());
    Some(Box::new(GrantStep { plan: GrantPlan { points: points?, reason, active_after, expires_after, expires } }))
}

/// Reads `200 points`, `1 point` or `200`.
fn points(node: &Node, faults: &mut Faults) -> Option<i64> {
    let Some(text) = node.scalar() else {
        faults
            .error("bad-points", &node.place, format!("points are a number, not {}", node.describe()))
            .hint("for example `grant: 200 points`");
        return None;
    };
    match text.trim().strip_suffix("points").or_else(|| text.trim().strip_suffix("point")) {
        None => shape::int(node, 1, GRANT_POINTS_MAX, faults),
        Some(number) => match number.trim().parse::<i64>() {
            Ok(points) if (1..=GRANT_POINTS_MAX).contains(&points) => Some(points),
            _ => {
                faults
                    .error(
                        "bad-points",
                        &node.place,
                        format!(
                            "`{}` is no number of points from 1 to {GRANT_POINTS_MAX}",
                            text.chars().take(40).collect::<String>()
                        ),
                    )
                    .hint("for example `grant: 200 points`");
                None
            }
        },
    }
}

impl Step for GrantStep {
    fn advance(&self, _cx: &StepCx<'_>) -> Flow {
        Flow::Grant(self.plan.clone())
    }

    fn results(&self) -> Vec<(String, Type)> {
        vec![
            ("points".to_owned(), Type::Number),
            ("state".to_owned(), Type::Text),
            ("active_at".to_owned(), Type::Time),
            ("expires_at".to_owned(), Type::Time),
        ]
    }

    fn grants(&self) -> Option<&str> {
        Some(&self.plan.reason)
    }

    fn sentence(&self) -> String {
        format!("grant {} points ({})", self.plan.points, self.plan.reason)
    }
}
