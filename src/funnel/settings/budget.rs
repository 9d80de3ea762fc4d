//! Budgets of rewards: how many points may be given in a period, in points or in what they are worth.

use super::{Period, currency_shown};
use crate::lang::diag::{Faults, Place};
use crate::lang::node::Node;
use crate::lang::shape::{self, Field, Object, Shape};
use crate::lang::time::{Time, Zone, instant};
use crate::money::{Currency, Dec};
use chrono::{Datelike, Days, Months, NaiveDate, NaiveTime};

/// Most budgets.
pub const BUDGETS_MAX: usize = 50;
/// Most points of a budget.
const POINTS_MAX: i64 = 9_000_000_000_000;

const PER: &[&str] = &["day", "week", "month", "ever"];
const EACH: &[&str] = &["customer"];

/// Fields of a budget.
pub const BUDGET_FIELDS: &[Field] = &[
    Field::optional("funnel", Shape::Name("funnel"), "only what this funnel gives (default: all funnels together)"),
    Field::optional("points", Shape::Int(1, POINTS_MAX), "most points in the period"),
    Field::optional("money", Shape::Number, "most points in the period, by what they are worth; needs `point_value`"),
    Field::required("per", Shape::Word(PER), "a calendar period, or `ever`; a week begins on Monday"),
    Field::optional(
        "each",
        Shape::Word(EACH),
        "`customer`: the budget is each customer's own, by her calendar; what exceeds it is refused to her alone",
    ),
];

/// A budget.
#[derive(Clone, PartialEq, Debug)]
pub struct Budget {
    /// Only what this funnel gives; `None`: all together.
    pub funnel: Option<String>,
    /// Most points in the period.
    pub points: i64,
    /// It is said in money.
    pub in_money: bool,
    /// The period; `None`: for ever.
    pub per: Option<Period>,
    /// It is each customer's own.
    pub each_customer: bool,
    /// In words: "at most 5000 points per day in the funnel referral".
    pub sentence: String,
    /// Where it is written.
    pub place: Place,
}

impl Budget {
    /// Whether it counts what a funnel gives.
    pub fn concerns(&self, funnel: &str) -> bool {
        self.funnel.as_deref().is_none_or(|own| own == funnel)
    }

    /// What names its present period among all budgets, and when that is over. The points are not part of it: a
    /// budget that is raised goes on where it was.
    pub fn period(&self, now: Time, zone: Zone) -> (String, Option<Time>) {
        let today = now.date(zone);
        let (word, first, next) = match self.per {
            Some(Period::Day) => ("day", today, today.checked_add_days(Days::new(1))),
            Some(Period::Week) => {
                let monday = today.checked_sub_days(Days::new(u64::from(today.weekday().num_days_from_monday())));
                let monday = monday.unwrap_or(today);
                ("week", monday, monday.checked_add_days(Days::new(7)))
            }
            Some(Period::Month) => {
                let first = today.with_day(1).unwrap_or(today);
                ("month", first, first.checked_add_months(Months::new(1)))
            }
            Some(Period::Within(_)) | None => return (self.named("ever", None), None),
        };
        (self.named(word, Some(first)), next.map(|next| instant(zone, next.and_time(NaiveTime::MIN))))
    }

    fn named(&self, word: &str, first: Option<NaiveDate>) -> String {
        let unit = if self.in_money { "money" } else { "points" };
        let first = first.map(|first| format!(" {first}")).unwrap_or_default();
        format!("budget {} {unit} {word}{first}", self.funnel.as_deref().unwrap_or("*"))
    }
}

/// Reads `budgets`; `value` is what a point is worth.
pub(super) fn budgets(node: &Node, value: Option<Dec>, currency: Currency, faults: &mut Faults) -> Vec<Budget> {
    let Some(items) = node.list() else {
        let message = format!("`budgets` must be a list, but here stands {}", node.describe());
        faults.error("wrong-type", &node.place, message).hint("write for example `- { points: 100000, per: month }`");
        return Vec::new();
    };
    super::compile::bounded(items.len(), BUDGETS_MAX, &node.place, "budgets", faults);
    let mut out: Vec<Budget> = Vec::new();
    for item in items.iter().take(BUDGETS_MAX) {
        let Some(budget) = budget(item, value, currency, faults) else { continue };
        let same = |other: &Budget| {
            (&other.funnel, other.in_money, other.per, other.each_customer)
                == (&budget.funnel, budget.in_money, budget.per, budget.each_customer)
        };
        if out.iter().any(same) {
            faults
                .error("doubled-budget", &budget.place, "another budget stands for the same funnel and period")
                .hint("keep the smaller of the two");
        }
        out.push(budget);
    }
    out
}

fn budget(node: &Node, value: Option<Dec>, currency: Currency, faults: &mut Faults) -> Option<Budget> {
    let object = Object::read(node, &[BUDGET_FIELDS], "a budget", faults)?;
    let funnel = object.node("funnel").and_then(|node| shape::name(node, faults)).map(|name| name.text);
    let per = object.word("per", PER, faults);
    let each_customer = object.word("each", EACH, faults).is_some();
    if each_customer && per == Some("ever") {
        faults
            .error("budget-ever", &object.place("per"), "what a customer has got is remembered for a calendar month at most")
            .hint("write `per: month`, or `re_entry: never` in the funnel");
        return None;
    }
    let (points, shown) = match (object.node("points"), object.node("money")) {
        (Some(node), None) => {
            let points = shape::int(node, 1, POINTS_MAX, faults)?;
            (points, format!("{points} points"))
        }
        (None, Some(node)) => in_points(node, value, currency, faults)?,
        _ => {
            faults
                .error("budget-form", &node.place, "a budget is in `points` or in `money`")
                .hint("for example `{ points: 100000, per: month }`");
            return None;
        }
    };
    let per = per?;
    let period = match per {
        "day" => Some(Period::Day),
        "week" => Some(Period::Week),
        "month" => Some(Period::Month),
        _ => None,
    };
    let when = if period.is_some() { format!("per {per}") } else { "in all".to_owned() };
    let each = if each_customer { " for each customer" } else { "" };
    let of = funnel.as_ref().map(|funnel| format!(" in the funnel {funnel}")).unwrap_or_default();
    let sentence = format!("at most {shown} {when}{each}{of}");
    let (in_money, place) = (object.node("money").is_some(), node.place.clone());
    Some(Budget { funnel, points, in_money, per: period, each_customer, sentence, place })
}

/// How many points an amount is worth.
fn in_points(node: &Node, value: Option<Dec>, currency: Currency, faults: &mut Faults) -> Option<(i64, String)> {
    let money = shape::number(node, faults)?;
    let Some(value) = value.filter(|value| value.0 > 0) else {
        faults
            .error("no-point-value", &node.place, "a budget in money needs to know what a point is worth")
            .hint("add for example `point_value: 0.01` to autofunnel.yaml");
        return None;
    };
    let points = money.0 / value.0;
    if !(1..=POINTS_MAX).contains(&points) {
        faults.error("out-of-range", &node.place, format!("this is worth {points} points, which is no budget"));
        return None;
    }
    Some((points, format!("{} ({points} points)", currency_shown(money, currency))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::node;

    fn read(yaml: &str) -> Result<Vec<Budget>, Vec<&'static str>> {
        let mut faults = Faults::default();
        let node = node::parse("x.yaml", yaml, &mut faults).unwrap();
        let value = Some(Dec::parse("0.01").unwrap());
        let read = budgets(&node, value, Currency::parse("EUR").unwrap(), &mut faults);
        if faults.has_errors() { Err(faults.list().iter().map(|fault| fault.code).collect()) } else { Ok(read) }
    }

    #[test]
    fn budgets_are_points_whatever_they_are_written_in() {
        let read =
            read("[{ money: 20, per: day }, { funnel: f, points: 7, per: ever }, { points: 9, per: month, each: customer }]");
        let read = read.unwrap();
        assert_eq!(read.iter().map(|budget| budget.points).collect::<Vec<_>>(), [2_000, 7, 9]);
        let said: Vec<&str> = read.iter().map(|budget| budget.sentence.as_str()).collect();
        assert_eq!(
            said,
            [
                "at most 20.00 EUR (2000 points) per day",
                "at most 7 points in all in the funnel f",
                "at most 9 points per month for each customer"
            ]
        );
        assert!(read[1].concerns("f") && !read[1].concerns("g") && read[0].concerns("g"));
    }

    #[test]
    fn a_period_is_one_of_the_calendar() {
        let one = |per: &str| read(&format!("[{{ points: 5, per: {per} }}]")).unwrap().remove(0);
        let (zone, now) = (chrono_tz::Europe::Berlin, Time::parse("2027-03-03T23:30:00Z").unwrap());
        let period = |per: &str| one(per).period(now, zone);
        let at = |text: &str| Time::parse(text);
        assert_eq!(period("day"), ("budget * points day 2027-03-04".to_owned(), at("2027-03-04T23:00:00Z")));
        assert_eq!(period("week"), ("budget * points week 2027-03-01".to_owned(), at("2027-03-07T23:00:00Z")));
        assert_eq!(period("month"), ("budget * points month 2027-03-01".to_owned(), at("2027-03-31T22:00:00Z")));
        assert_eq!(period("ever"), ("budget * points ever".to_owned(), None));
    }

    #[test]
    fn what_is_no_budget_is_said() {
        for (yaml, code) in [
            ("[{ per: day }]", "budget-form"),
            ("[{ points: 5, money: 5, per: day }]", "budget-form"),
            ("[{ points: 5 }]", "missing-field"),
            ("[{ points: 0, per: day }]", "out-of-range"),
            ("[{ money: 0.001, per: day }]", "out-of-range"),
            ("[{ points: 5, per: dya }]", "unknown-word"),
            ("[{ points: 5, per: ever, each: customer }]", "budget-ever"),
            ("[{ points: 5, per: day }, { points: 6, per: day }]", "doubled-budget"),
            ("{ points: 5 }", "wrong-type"),
        ] {
            let codes = read(yaml).err().unwrap_or_default();
            assert!(codes.contains(&code), "{yaml}: {codes:?}");
        }
        let mut faults = Faults::default();
        let node = node::parse("x.yaml", "[{ money: 5, per: day }]", &mut faults).unwrap();
        budgets(&node, None, Currency::parse("EUR").unwrap(), &mut faults);
        assert_eq!(faults.list()[0].code, "no-point-value");
    }
}
