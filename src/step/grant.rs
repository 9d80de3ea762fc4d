//! `grant`: bonus points, booked under the effect's own key, so never twice.

use super::compile::expires;
use super::rate::{self, Rate};
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
            Shape::Either(&[
                Shape::Phrase("a number of points: `200 points` or 200; or `2 points per EUR`, `1 point per 10 EUR`"),
                Shape::Int(1, GRANT_POINTS_MAX),
            ]),
            "how many points",
        ),
        OF,
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
        UNDO,
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
/// Words of `undo`.
const UNDO_WORDS: &[&str] = &["all", "share"];
const UNDO: Field = Field::optional(
    "undo",
    Shape::Word(UNDO_WORDS),
    "`all` (default), or `share`: of an order that is given back in part so many are taken as that part was worth, and the run goes on",
);
/// What points in proportion are given for.
const OF: Field =
    Field::optional("of", Shape::Expr, "with `points per EUR`: the amount, such as `event.amount`; only whole points are given");
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
    rate: Option<Rate>,
    to: Option<Expr>,
    undo: Option<(Watch, Span)>,
    undo_shares: bool,
    /// Another store keeps the points, and may say more of them.
    elsewhere: bool,
}

fn compile(object: &Object<'_>, _id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let (plan, rate, to) = read(object, below, faults)?;
    let undo = undo(object, to.is_some(), below, faults);
    let undo_shares = object.word("undo", UNDO_WORDS, faults) == Some("share");
    let elsewhere = below.names().points_elsewhere;
    Some(Box::new(GrantStep { plan, rate, to, undo, undo_shares, elsewhere }))
}

fn undo(object: &Object<'_>, for_another: bool, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<(Watch, Span)> {
    let within = object.span("undo_within", faults);
    let Some(node) = object.node("undo_on") else {
        for (name, says) in [("undo_within", "how long"), ("undo", "how many")] {
            let Some(node) = object.node(name) else { continue };
            faults
                .error("undo-form", &node.place, format!("`{name}` says {says}, but not what takes the points back"))
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

/// Points, their rate where they are given in proportion, and whom they are for.
pub(super) type Read = (GrantPlan, Option<Rate>, Option<Expr>);

/// Reads points, and whom they are for.
pub(super) fn read(object: &Object<'_>, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Read> {
    let to = other(object, below, faults)?;
    let node = object.node("grant")?;
    let rated = node.scalar().is_some_and(rate::is_meant);
    if let (false, Some(of)) = (rated, object.node("of")) {
        faults.error("points-of", &of.place, "`of` belongs to points for an amount").hint(rate::EXAMPLE);
    }
    // What is given in proportion is known when the step is done.
    let (rate, points) = match rated {
        true => (rate::read(object, node, below, faults), Some(0)),
        false => (None, points(node, faults)),
    };
    if rated && rate.is_none() {
        return None;
    }
    let reason = object.text("reason", faults).map(|t| t.text);
    let active_after = object.span("active_after", faults).unwrap_or_default();
    let expires_after = object.span("expires_after", faults).or(below.names().points_expire);
    let expires = expires(object, faults);
    if to.is_some() {
        without_deadline(object, "what another customer is told arrives in any case", faults);
    }
    let reason = reason.unwrap_or_else(|| below.names().funnel.to_owned());
    Some((GrantPlan { points: points?, reason, active_after, expires_after, expires }, rate, to))
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
        let mut plan = self.plan.clone();
        match self.rate.as_ref().map(|rate| rate.points(cx)) {
            None => {}
            Some(Ok(points)) => plan.points = points,
            Some(Err(flow)) => return *flow,
        }
        match self.to.as_ref().map(|to| id(to, cx)) {
            None => Flow::Grant { plan, to: None },
            Some(Ok(to)) => Flow::Grant { plan, to: Some(to) },
            Some(Err(flow)) => *flow,
        }
    }

    fn undo(&self) -> Option<(&Watch, Span)> {
        self.undo.as_ref().map(|(watch, within)| (watch, *within))
    }

    fn undo_shares(&self) -> bool {
        self.undo_shares
    }

    fn never_leaves(&self, field: &str) -> bool {
        field == "expires_at" && self.plan.expires_after.is_none() && !self.elsewhere
    }

    fn may_be_nothing(&self) -> bool {
        self.rate.is_some()
    }

    fn tells(&self) -> Option<String> {
        self.to.as_ref().map(|_| self.how_many())
    }

    fn expressions(&self) -> Vec<&Expr> {
        self.rate.iter().map(|rate| &rate.of).collect()
    }

    fn needs(&self) -> Vec<Need> {
        self.to.iter().chain(self.expressions()).flat_map(Expr::needs).collect()
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
        format!("grant {}{to} ({})", self.how_many(), self.plan.reason)
    }
}

impl GrantStep {
    fn how_many(&self) -> String {
        self.rate.as_ref().map_or_else(|| format!("{} points", self.plan.points), Rate::sentence)
    }
}
