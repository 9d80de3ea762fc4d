//! Conditions from text to verdict, over a made-up customer.

use super::*;
use crate::lang::diag::Severity;
use proptest::prelude::*;
use std::collections::BTreeMap;

mod structured_form;

struct Words;

fn object(fields: &[(&str, Type)]) -> Type {
    Type::Object(fields.iter().map(|(name, ty)| ((*name).to_owned(), ty.clone())).collect())
}

impl Schema for Words {
    fn root(&self, name: &str) -> Option<Type> {
        match name {
            "customer" => Some(object(&[
                ("tier", Type::Text),
                ("points", Type::Number),
                ("balance", Type::Number),
                ("consent", object(&[("email", Type::Bool), ("sms", Type::Bool)])),
                ("birthday", Type::Text),
                ("vip", Type::Bool),
                ("profile", Type::Any),
                (
                    "membership",
                    object(&[("name", Type::Text), ("ends", Type::Time), ("auto_renew", Type::Bool), ("active", Type::Bool)]),
                ),
            ])),
            "event" => self.event("purchase"),
            "steps" => Some(Type::Any),
            _ => None,
        }
    }
    fn roots(&self) -> Vec<String> {
        ["customer", "event", "steps"].map(str::to_owned).to_vec()
    }
    fn segments(&self) -> Vec<String> {
        ["vip", "dormant"].map(str::to_owned).to_vec()
    }
    fn event(&self, name: &str) -> Option<Type> {
        let item = object(&[("sku", Type::Text), ("amount", Type::Number)]);
        match name {
            "purchase" => {
                Some(object(&[("order_id", Type::Text), ("amount", Type::Number), ("items", Type::List(Box::new(item)))]))
            }
            "review" => Some(object(&[("sku", Type::Text), ("rating", Type::Number)])),
            _ => None,
        }
    }
    fn events(&self) -> Vec<String> {
        ["purchase", "review"].map(str::to_owned).to_vec()
    }
}

/// A customer with a tier, two purchases (the older one of beans) and a refund.
struct Her {
    now: Time,
    fields: BTreeMap<Vec<String>, Value>,
}

const BOUGHT: &str = "2027-01-01T10:00:00Z";

impl Her {
    fn new() -> Her {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let item =
            |sku: &str, amount: &str| Value::Map(Fields::from([("sku".into(), sku.into()), ("amount".into(), amount.into())]));
        let fields = [
            ("customer.tier", Value::from("gold")),
            ("customer.points", Value::Int(120)),
            ("customer.birthday", Value::from("1992-02-29")),
            ("customer.membership.ends", Value::Time(at("2027-06-01T00:00:00Z"))),
            ("customer.profile.joined", Value::from("2026-12-01")),
            ("customer.profile.visits", Value::from("many")),
            ("event.amount", Value::from("12.50")),
            ("event.items", Value::List(vec![item("A1", "10"), item("B2", "2.50"), Value::Map(Fields::new())])),
        ];
        Her { now: at("2027-02-10T10:20:00Z"), fields: fields.into_iter().map(|(name, value)| (path(name), value)).collect() }
    }
}

impl Scope for Her {
    fn now(&self) -> Time {
        self.now
    }
    fn zone(&self) -> Zone {
        chrono_tz::Europe::Berlin
    }
    fn field(&self, path: &[String]) -> Option<Value> {
        self.fields.get(path).cloned()
    }
    fn in_segment(&self, name: &str) -> bool {
        name == "vip"
    }
    fn first(&self, event: &str) -> Option<Time> {
        self.last(event)
    }
    fn last(&self, event: &str) -> Option<Time> {
        (event == "purchase").then(|| at(BOUGHT))
    }
    fn aggregate(&self, query: &Aggregate, _care: Care, keep: &mut dyn FnMut(&Fields) -> bool) -> (Value, Option<Time>) {
        let beans = Fields::from([("category".into(), Value::from("beans")), ("amount".into(), Value::Int(40))]);
        let cups = Fields::from([("category".into(), Value::from("cups")), ("amount".into(), Value::Int(8))]);
        let kept = i64::try_from([beans, cups].iter().filter(|fields| keep(fields)).count()).unwrap();
        let value = match (&query.what, query.event.as_str()) {
            (Measure::Average(_), _) => Value::Null,
            (_, "review") => Value::Int(0),
            (Measure::Count, _) => Value::Int(kept),
            (_, "refund") => Value::number("8.5").unwrap(),
            _ => Value::Int(48),
        };
        (value, query.window.map(|window| at(BOUGHT).plus(window, self.zone())))
    }
}

fn at(text: &str) -> Time {
    Time::parse(text).unwrap()
}

fn text(text: &str) -> Text {
    let length = text.chars().count().max(1) as u32;
    Text { text: text.to_owned(), place: Place { file: "a.yaml".into(), line: 7, column: 11, length } }
}

fn judge(source: &str) -> Verdict {
    let mut faults = Faults::default();
    let cond = Cond::check(&text(source), &Words, &mut faults);
    cond.unwrap_or_else(|| panic!("{source}: {:?}", faults.list())).judge(&Her::new())
}

fn value(source: &str) -> Result<Value, String> {
    let mut faults = Faults::default();
    let expr = Expr::check(&text(source), &Words, &mut faults);
    expr.unwrap_or_else(|| panic!("{source}: {:?}", faults.list())).eval(&Her::new()).0
}

#[test]
fn conditions_are_judged() {
    for (source, verdict) in [
        ("customer.tier in ['silver', \"gold\"]", true),
        ("customer['tier'] == 'gold' && customer.points >= 100.5", true),
        ("!(customer.points % 7 == 1)", false),
        ("event.amount == 12.5 && event.items[1].amount < 2.51", true),
        ("event.items.exists(i, i.sku == 'B2' && i.amount > 2)", true),
        ("event.items.all(i, i.sku == 'B2')", false),
        ("event.items.exists(i, i.sku == 'A1') && event.items.exists(i, i.sku == 'B2')", true),
        ("event.items.exists(i, event.items.exists(j, j.amount > i.amount * 3 && i.sku == 'B2'))", true),
        ("size(event.items.filter(i, has(i.sku))) == 2 && event.items.size() == 3", true),
        ("event.items.filter(i, has(i.sku)).map(i, i.amount * 2) == [20, 5]", true),
        ("customer.tier.startsWith('go') && customer.tier.endsWith('d') && !customer.tier.contains('x')", true),
        ("'GoLD'.lowerAscii() == customer.tier && 'a' + 'b' == 'ab'", true),
        ("customer.points > 100 ? in_segment('vip') : false", true),
        ("has(customer.vip) || has(customer.tier)", true),
        ("purchases() == 2 && purchases('90 days') == 2 && count('review') == 0", true),
        ("count('purchase', '90 days', e.category == 'beans' && e.amount > customer.points / 4) == 1", true),
        ("count('purchase', '90 days', e.nothing == 1) == 0", true),
        ("spent() == 39.5 && sum('purchase', 'amount', '1 year') == 48", true),
        ("has_done('purchase') && !has_done('review')", true),
        ("last('purchase') < ago('40 days') && last('purchase') > ago('41 days')", true),
        ("now() >= time('2027-02-10T10:20:00Z') && date('2027-02-10') < now()", true),
        ("customer.membership.ends < from_now('4 months') && customer.membership.ends > from_now('3 months')", true),
        ("customer.profile.joined < ago('2 months') && customer.profile.joined < time('2027-01-01T00:00:00Z')", true),
        ("days_since(last('purchase')) == 40 && days_until(customer.membership.ends) == 111", true),
        ("age_of(customer.birthday) == 34 && local_hour() == 11 && local_weekday() == 3", true),
    ] {
        let verdict_found = judge(source);
        assert_eq!(verdict_found.value, Some(verdict), "{source}: {verdict_found:?}");
    }
}

#[test]
fn expressions_have_values_of_their_type() {
    for (source, shown) in [
        ("customer.points / 7", "17.142857"),
        ("event.items.filter(i, has(i.sku)).map(i, i.sku)[1]", "\"B2\""),
        ("customer.membership.ends", "2027-06-01T00:00:00Z"),
        ("date('2027-03-01')", "2027-02-28T23:00:00Z"),
        ("-customer.points + 0.5", "-119.5"),
        ("[customer.tier, 'x']", "[\"gold\", \"x\"]"),
    ] {
        assert_eq!(value(source).unwrap().to_string(), shown, "{source}");
    }
    assert_eq!(value("event.nothing + 1"), Err("event.nothing".to_owned()));
    assert!(value("customer.profile.visits + 1").unwrap_err().contains("text"));
}

#[test]
fn what_is_missing_or_fails_is_unknown_and_named() {
    for (source, verdict, missing) in [
        ("customer.vip", None, Some("customer.vip")),
        ("!customer.vip", None, Some("customer.vip")),
        ("customer.vip && false", Some(false), None),
        ("false && customer.vip", Some(false), None),
        ("customer.vip || customer.points > 1", Some(true), None),
        ("customer.vip || customer.points > 1000", None, Some("customer.vip")),
        ("event.items.exists(i, i.sku == 'A1')", Some(true), None),
        ("event.items.exists(i, i.sku == 'Z')", None, Some("i.sku")),
        ("event.items.all(i, i.sku != 'A1')", Some(false), None),
        ("avg('review', 'rating', '90 days') > 3", None, Some("avg('review', 'rating', '90 days')")),
        ("last('review') < ago('3 days')", None, Some("last('review')")),
        ("1 / (customer.points - 120) > 1", None, Some("division by zero")),
        ("9223372036854775807 + customer.points > 1", None, Some("too large")),
        ("customer.profile.visits > 3", None, Some("`customer.profile.visits` is text")),
        ("3 > customer.profile.visits", None, Some("`customer.profile.visits` is text")),
        ("customer.profile.visits < now()", None, Some("not a time")),
        ("customer.profile.visits", None, Some("not true/false")),
        ("event.items[7].sku == 'A1'", None, Some("event.items[7]")),
        ("has(event.items[7].sku)", Some(false), None),
    ] {
        let found = judge(source);
        assert_eq!(found.value, verdict, "{source}: {found:?}");
        match missing {
            Some(part) => assert!(found.missing.as_deref().is_some_and(|why| why.contains(part)), "{source}: {found:?}"),
            None => assert_eq!(found.missing, None, "{source}"),
        }
    }
}

#[test]
fn a_verdict_says_until_when_and_what_it_looked_at() {
    for (source, until) in [
        ("customer.tier == 'gold'", None),
        ("last('purchase') < ago('60 days')", Some("2027-03-02T10:00:00.001Z")),
        ("last('purchase') <= ago('60 days')", Some("2027-03-02T10:00:00Z")),
        ("ago('60 days') > last('purchase')", Some("2027-03-02T10:00:00.001Z")),
        ("last('purchase') > ago('60 days')", Some("2027-03-02T10:00:00Z")),
        ("last('purchase') < ago('30 days')", None),
        ("customer.membership.ends > now()", Some("2027-06-01T00:00:00Z")),
        ("customer.membership.ends < from_now('30 days')", Some("2027-05-02T00:00:00.001Z")),
        ("purchases('90 days') > 1", Some("2027-04-01T09:00:00Z")),
        ("false && purchases('90 days') > 1", None),
        ("purchases('90 days') > 1 && spent('60 days') > 1", Some("2027-03-02T10:00:00Z")),
        ("days_since(last('purchase')) > 3", Some("2027-02-10T23:00:00Z")),
        ("local_hour() > 3", Some("2027-02-10T11:00:00Z")),
        ("age_of(customer.birthday) > 18", Some("2027-02-27T23:00:00Z")),
    ] {
        assert_eq!(judge(source).until, until.map(at), "{source}");
    }
    let verdict =
        judge("customer.tier == 'gold' && customer.tier != 'x' && (has(customer.vip) || last('purchase') < ago('60 days'))");
    let seen: Vec<(&str, String)> = verdict.seen.iter().map(|(label, value)| (label.as_str(), value.to_string())).collect();
    assert_eq!(
        seen,
        [
            ("customer.tier", "\"gold\"".to_owned()),
            ("customer.vip", "nothing".to_owned()),
            ("last('purchase')", BOUGHT.to_owned()),
            ("ago('60 days')", "2026-12-12T10:20:00Z".to_owned()),
        ]
    );
}

#[test]
fn every_mistake_has_its_column_and_a_hint() {
    for (source, code, column, hint) in [
        ("custmer.tier == 'gold'", "unknown-name", 0, "did you mean `customer`"),
        ("customer.teir == 'gold'", "unknown-field", 9, "did you mean `tier`"),
        ("customer.tier == gold", "unknown-name", 17, "\"gold\""),
        ("customer.tier > 3", "type-mismatch", 0, "quotes"),
        ("customer.points == '3'", "type-mismatch", 0, "write 3 without quotes"),
        ("customer.points", "not-a-condition", 0, "> 0"),
        ("customer.points && true", "type-mismatch", 0, "compare"),
        ("in_segment('vpi')", "unknown-segment", 12, "did you mean `vip`"),
        ("true && countt('purchase') > 1", "unknown-function", 8, "did you mean `count`"),
        ("purchases('90 dayz') > 1", "bad-duration", 11, ""),
        ("purchases('0 days') > 1", "bad-duration", 11, "90 days"),
        ("purchases(90) > 1", "bad-arguments", 10, "quotes"),
        ("now() == last('purchase')", "moving-time", 0, "compare with"),
        ("days_since(now()) > 1", "moving-time", 11, "days_since"),
        ("now() > ago('3 days')", "moving-time", 0, "stands still"),
        ("count('purchase', '9 days', event.amount > 1) > 1", "bad-filter", 28, "`e`"),
        ("count('purchase', '9 days', local_hour() > 1) > 1", "bad-filter", 28, "`e`"),
        ("count('purchase', '9 days', e.created < now()) > 1", "bad-filter", 40, "`e`"),
        ("sum('purchase', 'amuont') > 1", "unknown-field", 17, "did you mean `amount`"),
        ("sum('purchase', 'order_id') > 1", "type-mismatch", 17, "number"),
        ("event.items.sku == 'A1'", "unknown-field", 12, "exists"),
        ("customer.tier.matches('x')", "unknown-function", 14, "regular expressions"),
        ("customer.tier.startswith('x')", "unknown-function", 14, "startsWith"),
        ("time('yesterday') < now()", "bad-time", 5, "zone"),
        ("date('2027-02-30') < now()", "bad-time", 6, "2027-01-31"),
        ("customer.membership.ends < '2027-01-01'", "type-mismatch", 0, "date(\"2027-01-01\")"),
        ("event.items.exists(customer, true)", "taken-name", 19, "another name"),
        ("customer.tier in 'gold'", "type-mismatch", 0, "list"),
        ("customer.tier = 'gold'", "bad-condition", 14, "=="),
        ("has(customer)", "bad-arguments", 4, "has(customer.birthday)"),
        ("e.amount > 1", "unknown-name", 0, "filter"),
        ("event.items.exists(i, true) && i.sku == 'A1'", "unknown-name", 31, "quotes"),
    ] {
        let mut faults = Faults::default();
        assert_eq!(Cond::check(&text(source), &Words, &mut faults), None, "{source}");
        let errors: Vec<_> = faults.list().iter().filter(|fault| fault.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{source}: {errors:?}");
        assert_eq!((errors[0].code, errors[0].place.column), (code, 11 + column), "{source}: {errors:?}");
        assert!(errors[0].hint.as_deref().unwrap_or("").contains(hint), "{source}: {errors:?}");
    }
    // Independent mistakes are all reported at once.
    let mut faults = Faults::default();
    Cond::check(&text("customer.teir == 1 && customer.x || in_segment('y')"), &Words, &mut faults);
    assert_eq!(faults.error_count(), 3);
}

#[test]
fn what_may_be_right_is_only_a_warning() {
    for (source, code) in [
        ("has_done('referal')", "unknown-event"),
        ("event.category == 'beans'", "unknown-property"),
        ("customer.tier == null", "null-comparison"),
    ] {
        let mut faults = Faults::default();
        assert!(Cond::check(&text(source), &Words, &mut faults).is_some(), "{source}");
        assert_eq!(
            faults.list().iter().map(|fault| (fault.code, fault.severity)).collect::<Vec<_>>(),
            [(code, Severity::Warning)]
        );
    }
}

#[test]
fn a_condition_says_what_it_reads() {
    let source = "event.amount > 1 && in_segment('vip') && count('review', '90 days', e.sku == 'A' && e.rating > 3) > 1 && spent('1 year') > 5 && sum('review', 'rating') > 3";
    let cond = Cond::check(&text(source), &Words, &mut Faults::default()).unwrap();
    assert_eq!((cond.segments(), cond.fields()), (vec!["vip".to_owned()], vec![vec!["event".to_owned(), "amount".to_owned()]]));
    let need = |event: &str, window, properties: &[&str]| Need {
        event: event.to_owned(),
        window,
        properties: properties.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert_eq!(
        cond.needs(),
        [
            need("purchase", Some((12, 0, 0)), &[]),
            need("refund", Some((12, 0, 0)), &[]),
            need("review", None, &["rating"]),
            need("review", Some((0, 90, 0)), &["rating", "sku"]),
        ]
    );
}

#[test]
fn judging_is_bounded() {
    let mut her = Her::new();
    let many = Value::List(vec![Value::Int(1); 2_000]);
    her.fields.insert(vec!["event".into(), "items".into()], many);
    let mut faults = Faults::default();
    let cond = Cond::check(&text("event.items.all(i, event.items.all(j, true))"), &Words, &mut faults).unwrap();
    let verdict = cond.judge(&her);
    assert!(verdict.missing.unwrap().contains("too much data"));
    assert_eq!(verdict.seen[0].1, Value::from("a list of 2000"));
}

#[test]
fn the_deepest_conditions_fit_on_a_small_stack() {
    fn shared<T: Send + Sync>(_: &T) {}
    let mut exists = "true".to_owned();
    for i in 0..37 {
        exists = format!("event.items.exists(i{i}, {exists} && false)");
    }
    let mut choose = "true".to_owned();
    for _ in 0..37 {
        choose = format!("true ? {choose} : false");
    }
    for source in [exists.replace(" && false", ""), format!("{}true", "!".repeat(38)), choose] {
        let thread = std::thread::Builder::new().stack_size(1024 * 1024).spawn(move || {
            let cond = Cond::check(&text(&source), &Words, &mut Faults::default()).unwrap();
            shared(&cond);
            cond.judge(&Her::new()).value
        });
        assert_eq!(thread.unwrap().join().unwrap(), Some(true));
    }
}

/// Grammatical conditions, most of which pass the checker.
fn sources() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "customer.vip",
        "customer.points > 100",
        "customer.tier == 'gold'",
        "has(customer.vip)",
        "purchases('60 days') >= 2",
        "last('purchase') < ago('1 month')",
        "customer.membership.ends > from_now('2 months')",
        "event.items.exists(i, i.amount > 2)",
        "days_since(last('purchase')) % 2 == 0",
        "local_hour() < 12",
        "age_of(customer.birthday) > 34",
        "customer.profile.visits > 1",
        "customer.points / (local_weekday() - 3) > 1",
        "last('review') > now()",
        "customer.teir == 1",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} || ({b})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_verdict_holds_until_it_says(source in sources(), start in 0i64..4_000) {
        let mut faults = Faults::default();
        let Some(cond) = Cond::check(&text(&source), &Words, &mut faults) else {
            prop_assert!(faults.has_errors());
            return Ok(());
        };
        // The made-up history answers by its window's end only, so its counts stand still by themselves.
        let mut her = Her::new();
        her.now = her.now.plus_ms(start * 3_611_000);
        let verdict = cond.judge(&her);
        let mut later = Her::new();
        later.now = her.now;
        for _ in 0..300 {
            later.now = later.now.plus_ms(3_607_001);
            if verdict.until.is_some_and(|until| later.now >= until) { break; }
            prop_assert_eq!(cond.judge(&later).value, verdict.value, "{} at {:?}", source, later.now);
        }
        if let Some(until) = verdict.until {
            prop_assert!(until > her.now);
            later.now = Time(until.0 - 1);
            prop_assert_eq!(cond.judge(&later).value, verdict.value);
        }
    }

    #[test]
    fn any_text_is_checked_or_refused_and_judged_without_a_panic(source in "(customer|\\.|tier|event|items|\\[|\\]|\\(|\\)|now\\(\\)|ago\\('1 day'\\)|e|count\\('purchase'|,| |'|==|<|&&|[0-9]|\\.map\\(i|has\\(|-|\\?|:|\"é\"){0,24}") {
        let mut faults = Faults::default();
        match Expr::check(&text(&source), &Words, &mut faults) {
            Some(expr) => drop(expr.eval(&Her::new())),
            None => prop_assert!(faults.has_errors(), "{}", source),
        }
    }
}
