//! The smallest change that would have made a condition true: which of its comparisons would have to come out
//! otherwise, given the values that a judgement looked at.
//!
//! Of `a && b` everything that fails has to change, of `a || b` the alternative with the fewest changes is told.

use super::ast::{Ast, Kind, Order};
use super::parse;
use crate::lang::value::Value;
use std::cmp::Ordering;

/// What would have to change.
struct Need {
    /// Each as a clause; none: nothing has to.
    clauses: Vec<String>,
}

/// The change in words, such as ``spent("365 days")` at least 500 (it was 420)`; `None` where the text is no condition,
/// or holds as it is.
pub fn nearest(text: &str, seen: &[(String, Value)]) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    let ast = parse::parse(text, &chars).ok()?;
    let search = Search { chars: &chars, seen };
    let clauses = search.need(&ast, true).clauses;
    (!clauses.is_empty()).then(|| clauses.join(", and "))
}

struct Search<'a> {
    chars: &'a [char],
    seen: &'a [(String, Value)],
}

impl Search<'_> {
    /// What it takes that `ast` is `wanted`.
    fn need(&self, ast: &Ast, wanted: bool) -> Need {
        match (&ast.kind, wanted) {
            (Kind::And(parts), true) | (Kind::Or(parts), false) => {
                let clauses = parts.iter().flat_map(|part| self.need(part, wanted).clauses).collect();
                Need { clauses }
            }
            (Kind::Or(parts), true) | (Kind::And(parts), false) => {
                let all = parts.iter().map(|part| self.need(part, wanted));
                all.min_by_key(|need| need.clauses.len()).unwrap_or(Need { clauses: Vec::new() })
            }
            (Kind::Not(inner), _) => self.need(inner, !wanted),
            _ => self.leaf(ast, wanted),
        }
    }

    fn leaf(&self, ast: &Ast, wanted: bool) -> Need {
        if self.holds(ast) == Some(wanted) {
            return Need { clauses: Vec::new() };
        }
        let clause = match &ast.kind {
            Kind::Compare(order, left, right) => {
                // What was looked at comes first, as people say it.
                let (order, left, right) = match (self.value(left), self.value(right)) {
                    (Some(_), _) if !matches!(left.kind, Kind::Literal(_)) => (*order, left, right),
                    (_, Some(_)) if !matches!(right.kind, Kind::Literal(_)) => (order.mirrored(), right, left),
                    _ => (*order, left, right),
                };
                let order = if wanted { order } else { opposite(order) };
                format!("`{}` {} {}{}", self.text(left), words(order), self.text(right), self.was(left))
            }
            Kind::In(left, right) => {
                let word = if wanted { "one of" } else { "none of" };
                format!("`{}` {word} {}{}", self.text(left), self.text(right), self.was(left))
            }
            _ => format!("`{}` {wanted}{}", self.text(ast), self.was(ast)),
        };
        Need { clauses: vec![clause] }
    }

    /// Whether a comparison holds, as far as what was seen tells.
    fn holds(&self, ast: &Ast) -> Option<bool> {
        match &ast.kind {
            Kind::Compare(order, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                if matches!(order, Order::Eq | Order::Ne) {
                    return Some(left.same(&right) == (*order == Order::Eq));
                }
                let found = left.order(&right)?;
                Some(match order {
                    Order::Lt => found == Ordering::Less,
                    Order::Le => found != Ordering::Greater,
                    Order::Gt => found == Ordering::Greater,
                    _ => found != Ordering::Less,
                })
            }
            Kind::In(left, right) => {
                let (left, Kind::List(items)) = (self.value(left)?, &right.kind) else { return None };
                let items: Option<Vec<Value>> = items.iter().map(|item| self.value(item)).collect();
                Some(items?.iter().any(|item| item.same(&left)))
            }
            _ => match self.value(ast)? {
                Value::Bool(yes) => Some(yes),
                _ => None,
            },
        }
    }

    fn value(&self, ast: &Ast) -> Option<Value> {
        if let Kind::Literal(value) = &ast.kind {
            return Some(value.clone());
        }
        let text = self.text(ast);
        self.seen.iter().find(|(operand, _)| *operand == text).map(|(_, value)| value.clone())
    }

    fn was(&self, ast: &Ast) -> String {
        match self.value(ast) {
            Some(Value::Null) | None => " (it was not known)".to_owned(),
            Some(Value::Text(text)) => format!(" (it was \"{text}\")"),
            Some(value) => format!(" (it was {value})"),
        }
    }

    fn text(&self, ast: &Ast) -> String {
        self.chars.get(ast.at.start..ast.at.end).unwrap_or_default().iter().collect()
    }
}

fn opposite(order: Order) -> Order {
    match order {
        Order::Eq => Order::Ne,
        Order::Ne => Order::Eq,
        Order::Lt => Order::Ge,
        Order::Le => Order::Gt,
        Order::Gt => Order::Le,
        Order::Ge => Order::Lt,
    }
}

fn words(order: Order) -> &'static str {
    match order {
        Order::Eq => "equal to",
        Order::Ne => "other than",
        Order::Lt => "below",
        Order::Le => "at most",
        Order::Gt => "above",
        Order::Ge => "at least",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_in_the_way_is_told() {
        let seen = [
            ("purchases()".to_owned(), Value::Int(1)),
            ("spent(\"365 days\")".to_owned(), Value::Int(420)),
            ("customer.tier".to_owned(), Value::from("bronze")),
            ("customer.vip".to_owned(), Value::Bool(true)),
        ];
        for (text, wanted) in [
            ("spent(\"365 days\") >= 500", Some("`spent(\"365 days\")` at least 500 (it was 420)")),
            ("purchases() >= 1 && 500 <= spent(\"365 days\")", Some("`spent(\"365 days\")` at least 500 (it was 420)")),
            ("purchases() >= 1 || purchases() > 9", None),
            (
                "(purchases() > 2 && spent(\"365 days\") > 500) || customer.tier in [\"silver\", \"gold\"]",
                Some("`customer.tier` one of [\"silver\", \"gold\"] (it was \"bronze\")"),
            ),
            (
                "purchases() > 2 && customer.tier == \"gold\"",
                Some("`purchases()` above 2 (it was 1), and `customer.tier` equal to \"gold\" (it was \"bronze\")"),
            ),
            ("!customer.vip", Some("`customer.vip` false (it was true)")),
            ("!(purchases() == 1 || customer.tier == \"x\")", Some("`purchases()` other than 1 (it was 1)")),
            ("customer.email == \"a\"", Some("`customer.email` equal to \"a\" (it was not known)")),
            ("no condition at all (", None),
        ] {
            assert_eq!(nearest(text, &seen).as_deref(), wanted, "{text}");
        }
    }
}
