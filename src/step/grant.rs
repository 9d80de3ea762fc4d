//! `grant`: bonus points, booked under the effect's own key, so never twice.

use super::compile::expires;
use super::{Below, EXPIRES, Flow, GrantPlan, IF_EXPIRED, Step, StepCx, StepKind};
use crate::lang::cel::{Expr, Need, Type};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::{self, Field, Object, Shape};
use crate::lang::time::Span;
use crate::lang::value::Value;
use crate::watch::Watch;

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
        UNDO_ON,
        UNDO_WITHIN,
        TO,
    ],
    compile,
};

const UNDO_ON: Field = Field::optional(
    "undo_on",
    Shape::Ref("watch"),
    "what takes them back, as far as they are not spent, and ends the run, for example a `refund` of the same order",
);
const UNDO_WITHIN: Field =
    Field::optional("undo_within", Shape::Duration, "so long after they were given they may be taken back; 60 days if not given");
/// So long points may be taken back where the step does not say.
const UNDO_WITHIN_DAYS: u32 = 60;

/// Whom it is for.
pub(super) const TO: Field = Field::optional(
    "to",
    Shape::Expr,
    "another customer's id, such as `event.friend`, who gets it instead; her own turn judges it",
);

#[derive(Debug)]
struct GrantStep {
    plan: GrantPlan,
    to: Option<Expr>,
    undo: Option<(Watch, Span)>,
}

fn compile(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let (plan, to) = read(object, below, faults)?;
    let undo = undo(object, to.is_some(), below, faults);
    Some(Box::new(GrantStep { plan, to, undo }))
}

fn undo(object: &Object<'_>, for_another: bool, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<(Watch, Span)> {
    let within = object.span("undo_within", faults);
    let Some(node) = object.node("undo_on") else {
        if let Some(node) = object.node("undo_within") {
            faults
                .error("undo-form", &node.place, "`undo_within` says how long, but not what takes the points back")
                .hint("add `undo_on: { event: refund, where: event.order_id == run.key }`");
        }
        return None;
    };
    let elsewhere = below.names().points_elsewhere;
    if elsewhere || for_another {
        let why = if elsewhere { "points that another store keeps" } else { "points of another customer" };
        faults
            .error("undo-elsewhere", &node.place, format!("{why} cannot be taken back by this step"))
            .hint("remove `undo_on`; let that store, or a `call`, take them back");
        return None;
    }
    let watch = below.compiler().watch(node, faults)?;
    if matches!(watch, Watch::Condition(_)) {
        faults
            .error("watch-kind", &node.place, "`undo_on` looks out for events and segments, not for conditions")
            .hint("for example `undo_on: { event: refund, where: event.order_id == run.key }`");
        return None;
    }
    Some((watch, within.unwrap_or(Span::days(UNDO_WITHIN_DAYS))))
}

/// Reads points, and whom they are for.
pub(super) fn read(object: &Object<'_>, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<(GrantPlan, Option<Expr>)> {
    let to = other(object, below, faults)?;
    let points = object.node("grant").and_then(|node| points(node, faults));
    let reason = object.text("reason", faults).map(|t| t.text);
    let active_after = object.span("active_after", faults).unwrap_or_default();
    let expires_after = object.span("expires_after", faults).or(below.names().points_expire);
    let expires = expires(object, faults);
    if to.is_some() {
        without_deadline(object, "what another customer is told arrives in any case", faults);
    }
    let reason = reason.unwrap_or_else(|| below.names().funnel.to_owned());
    Some((GrantPlan { points: points?, reason, active_after, expires_after, expires }, to))
}

/// Where no deadline can be kept.
pub(super) fn without_deadline(object: &Object<'_>, why: &str, faults: &mut Faults) {
    for name in [EXPIRES.name, IF_EXPIRED.name] {
        if let Some(node) = object.node(name) {
            faults.error("no-deadline", &node.place, format!("`{name}` cannot stand here: {why}")).hint("remove the line");
        }
    }
}

/// Reads whom something is for; the outer `None`: it is wrong.
pub(super) fn other(object: &Object<'_>, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Option<Expr>> {
    if object.node("to").is_none() {
        return Some(None);
    }
    let expr = object.text("to", faults).and_then(|text| below.compiler().expr(&text, faults))?;
    if !matches!(expr.ty, Type::Text | Type::Any) {
        faults
            .error("wrong-type", &expr.text.place, "`to` must be a customer's id, which is a text")
            .hint("for example `to: event.friend`");
        return None;
    }
    Some(Some(expr))
}

/// The id of another customer now.
pub(super) fn id(expr: &Expr, cx: &StepCx<'_>) -> Result<String, Box<Flow>> {
    match expr.eval(cx.scope).0 {
        Ok(Value::Text(id)) => Ok(id),
        Ok(value) => Err(Box::new(Flow::Impossible { why: format!("to: {value} is no customer's id") })),
        Err(what) => Err(Box::new(Flow::Missing { what })),
    }
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
        None if !text.trim().contains(char::is_whitespace) => shape::int(node, 1, GRANT_POINTS_MAX, faults),
        None => {
            let digits: String = text.trim().chars().take_while(char::is_ascii_digit).take(12).collect();
            let example = if digits.is_empty() { "200" } else { &digits };
            let said: String = text.chars().take(40).collect();
            faults
                .error("bad-points", &node.place, format!("`{said}` is no number of points"))
                .hint(format!("for example `grant: {example} points`"));
            None
        }
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
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        match self.to.as_ref().map(|to| id(to, cx)) {
            None => Flow::Grant { plan: self.plan.clone(), to: None },
            Some(Ok(to)) => Flow::Grant { plan: self.plan.clone(), to: Some(to) },
            Some(Err(flow)) => *flow,
        }
    }

    fn undo(&self) -> Option<(&Watch, Span)> {
        self.undo.as_ref().map(|(watch, within)| (watch, *within))
    }

    fn tells(&self) -> Option<String> {
        self.to.as_ref().map(|_| format!("{} points", self.plan.points))
    }

    fn needs(&self) -> Vec<Need> {
        self.to.iter().flat_map(Expr::needs).collect()
    }

    fn results(&self) -> Vec<(String, Type)> {
        vec![
            ("points".to_owned(), Type::Number),
            ("state".to_owned(), Type::Text),
            ("reason".to_owned(), Type::Text),
            ("active_at".to_owned(), Type::Time),
            ("expires_at".to_owned(), Type::Time),
        ]
    }

    fn grants(&self) -> Option<&str> {
        Some(&self.plan.reason)
    }

    fn sentence(&self) -> String {
        let to = self.to.as_ref().map(|to| format!(" to {}", to.text.text)).unwrap_or_default();
        format!("grant {} points{to} ({})", self.plan.points, self.plan.reason)
    }
}
