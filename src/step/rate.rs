//! Points in proportion to an amount of money: `2 points per EUR` of an order.

use super::{Below, Flow, StepCx};
use crate::lang::cel::{Expr, Type};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::shape::Object;
use crate::lang::value::Value;
use crate::money::Dec;
use crate::step::grant::GRANT_POINTS_MAX;

/// What such a rate looks like, for hints.
pub const EXAMPLE: &str = "for example `grant: 2 points per EUR` with `of: event.amount`";

/// So many points for each so much money.
#[derive(Debug)]
pub struct Rate {
    points: i64,
    per: Dec,
    written: String,
    /// The amount, in major units.
    pub of: Expr,
}

/// Whether a text is meant as a rate.
pub fn is_meant(text: &str) -> bool {
    text.split_whitespace().any(|word| word == "per")
}

/// Reads the rate of a grant, and what it is of.
pub fn read(object: &Object<'_>, node: &Node, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Rate> {
    let text = node.scalar()?;
    let own = below.names().options.currency;
    let fault = |faults: &mut Faults, said: String| {
        faults.error("bad-points", &node.place, said).hint(EXAMPLE);
    };
    let Some((points, per, currency)) = parts(text) else {
        fault(faults, format!("`{}` is no number of points for an amount of money", text.chars().take(40).collect::<String>()));
        return None;
    };
    if currency != own.code() {
        fault(faults, format!("amounts are in {}, not in `{}`", own.code(), currency.chars().take(10).collect::<String>()));
        return None;
    }
    let Some(of) = object.text("of", faults) else {
        faults.error("points-of", &node.place, "it is not said of which amount").hint("add for example `of: event.amount`");
        return None;
    };
    let of = below.compiler().expr(&of, faults)?;
    if !matches!(of.ty, Type::Number | Type::Any) {
        faults.error("wrong-type", &of.text.place, "points are given for an amount, which is a number").hint(EXAMPLE);
        return None;
    }
    Some(Rate { points, per, written: text.trim().to_owned(), of })
}

/// `2 points per EUR`, `1 point per 10 EUR`: points, for how much, of which currency.
fn parts(text: &str) -> Option<(i64, Dec, &str)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (points, amount, currency) = match words[..] {
        [points, "point" | "points", "per", currency] => (points, "1", currency),
        [points, "point" | "points", "per", amount, currency] => (points, amount, currency),
        _ => return None,
    };
    let points = points.parse::<i64>().ok().filter(|points| (1..=GRANT_POINTS_MAX).contains(points))?;
    let per = Dec::parse(amount).ok().filter(|per| per.0 > 0)?;
    Some((points, per, currency))
}

impl Rate {
    /// The points for the amount as it is now; the error is what the step wants instead.
    pub fn points(&self, cx: &StepCx<'_>) -> Result<i64, Box<Flow>> {
        let amount = match self.of.eval(cx.scope).0 {
            Ok(value) => value.as_dec().ok_or_else(|| Flow::Impossible { why: format!("of: {value} is no amount") })?,
            Err(what) => return Err(Box::new(Flow::Missing { what })),
        };
        match self.of_amount(amount) {
            0 => Err(Box::new(Flow::Nothing { why: format!("{} is worth no point", Value::Dec(amount)) })),
            points => Ok(points),
        }
    }

    /// Whole points only: what is over is worth nothing.
    fn of_amount(&self, amount: Dec) -> i64 {
        let points = i128::from(amount.0.max(0)) * i128::from(self.points) / i128::from(self.per.0);
        i64::try_from(points).unwrap_or(i64::MAX).min(GRANT_POINTS_MAX)
    }

    /// In words: `2 points per EUR of event.amount`.
    pub fn sentence(&self) -> String {
        format!("{} of {}", self.written, self.of.text.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_word_by_word() {
        assert_eq!(parts("2 points per EUR"), Some((2, Dec(1_000_000), "EUR")));
        assert_eq!(parts(" 1  point per 2.50 EUR "), Some((1, Dec(2_500_000), "EUR")));
        for wrong in [
            "2 points per",
            "2 per EUR",
            "0 points per EUR",
            "2 points per 0 EUR",
            "2 points per -1 EUR",
            "x points per EUR",
            "2 points per EUR today now",
        ] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
        assert!(is_meant("2 points per EUR") && !is_meant("200 points"));
    }
}
