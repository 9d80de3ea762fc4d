//! The catalog: what is read, what is refused, and what is judged.

use super::*;
use crate::lang::cel::{Aggregate, Care, Schema, Type};
use crate::lang::diag::{Fault, Faults, Severity};
use crate::lang::node;
use crate::lang::time::{Zone, parse_date};

struct Names;

impl Schema for Names {
    fn root(&self, name: &str) -> Option<Type> {
        let membership = Type::Object(vec![("name".into(), Type::Text), ("active".into(), Type::Bool)]);
        (name == "customer").then(|| {
            Type::Object(vec![("tier".into(), Type::Text), ("balance".into(), Type::Number), ("membership".into(), membership)])
        })
    }

    fn roots(&self) -> Vec<String> {
        vec!["customer".into()]
    }

    fn segments(&self) -> Vec<String> {
        vec!["vip".into()]
    }

    fn event(&self, name: &str) -> Option<Type> {
        (name == "purchase").then_some(Type::Any)
    }

    fn events(&self) -> Vec<String> {
        vec!["purchase".into()]
    }
}

/// A customer of whom a balance, a tier and an active membership may be known.
struct Her {
    now: &'static str,
    zone: Zone,
    balance: i64,
    tier: Option<&'static str>,
    member: Option<bool>,
}

const HER: Her = Her { now: "2027-11-15T12:00:00Z", zone: chrono_tz::UTC, balance: 0, tier: None, member: None };

impl Scope for Her {
    fn now(&self) -> Time {
        Time::parse(self.now).unwrap()
    }

    fn zone(&self) -> Zone {
        self.zone
    }

    fn field(&self, path: &[String]) -> Option<Value> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path[..] {
            ["customer", "balance"] => Some(Value::Int(self.balance)),
            ["customer", "tier"] => self.tier.map(Value::from),
            ["customer", "membership", "active"] => self.member.map(Value::Bool),
            _ => None,
        }
    }

    fn in_segment(&self, _name: &str) -> bool {
        false
    }

    fn first(&self, _event: &str) -> Option<Time> {
        None
    }

    fn last(&self, _event: &str) -> Option<Time> {
        None
    }

    fn aggregate(&self, _query: &Aggregate, _care: Care, _keep: &mut dyn FnMut(&Fields) -> bool) -> (Value, Option<Time>) {
        (Value::Int(0), None)
    }
}

fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

fn compile_in(text: &str, currency: &str) -> (Catalog, Vec<Fault>) {
    let mut faults = Faults::default();
    let catalog = match node::parse("catalog.yaml", text, &mut faults) {
        Some(node) => Catalog::compile(&node, &Names, Currency::parse(currency).unwrap(), &mut faults),
        None => Catalog::default(),
    };
    (catalog, faults.into_sorted().0)
}

fn compile(text: &str) -> Catalog {
    let (catalog, faults) = compile_in(text, "EUR");
    assert_eq!(faults, [], "{text}");
    catalog
}

const SAMPLE: &str = r#"
tiers:
  - tier: bronze
    when: customer.balance >= 50
    benefits: [Free shipping over 30 EUR]
  - tier: gold
    when: customer.balance >= 500
memberships:
  roastery-club: { title: Roastery Club, price: 60, term: 1 year, benefits: [Tastings, Free grinding], auto_renew: true }
bundles:
  pour-over-starter:
    title: Pour-over starter
    kind: starter
    items: [{ sku: v60, quantity: 1 }, { sku: beans-house, quantity: 2 }, { sku: filters }]
    price: 49
    worth: 61.50
    for: customer.tier == "gold"
    valid_for: 14 days
  winter-box:
    title: Winter box
    kind: seasonal
    items: [{ sku: winter, quantity: 1 }]
    price: 20
    worth: 20
    season: { from: 2027-11-01, until: 2027-12-31 }
    valid_for: 72h
  club-blend: { title: Club blend, kind: member_only, items: [{ sku: club }], price: 9.9, worth: 12, valid_for: 7 days }
bonus: { expires_after: 180 days }
"#;

#[test]
fn a_catalog_is_read_with_exact_prices() {
    let catalog = compile(SAMPLE);
    assert_eq!(catalog.tier_names(), ["bronze", "gold"]);
    assert_eq!(catalog.next_tier("").map(|tier| tier.name.as_str()), Some("bronze"));
    assert_eq!(catalog.next_tier("bronze").map(|tier| tier.name.as_str()), Some("gold"));
    assert_eq!(catalog.next_tier("gold"), None);
    assert_eq!(catalog.bonus_expires_after, Some(Span::days(180)));
    let club = catalog.membership("roastery-club").unwrap();
    assert_eq!((club.price, club.term.months, club.auto_renew, club.benefits.len()), (6_000, 12, true, 2));
    let bundle = catalog.bundle("pour-over-starter").unwrap();
    assert_eq!((bundle.price, bundle.worth, bundle.saving(), bundle.items[2].quantity), (4_900, 6_150, 1_250, 1));
    assert!(catalog.bundle("club-blend").unwrap().members_only, "the kind says so");
    assert_eq!(catalog.conditions().count(), 3);
    assert_eq!(compile("{}"), Catalog::default());
}

#[test]
fn templates_see_price_worth_and_saving_in_major_units() {
    let catalog = compile(SAMPLE);
    let values = catalog.bundle("pour-over-starter").unwrap().values(eur());
    let shown: Vec<String> =
        ["title", "price", "worth", "saving", "kind", "items"].iter().map(|name| values[*name].to_string()).collect();
    assert_eq!(
        shown,
        [
            "\"Pour-over starter\"",
            "49",
            "61.5",
            "12.5",
            "\"starter\"",
            "[{quantity: 1, sku: \"v60\"}, {quantity: 2, sku: \"beans-house\"}, {quantity: 1, sku: \"filters\"}]",
        ]
    );
    let club = catalog.membership("roastery-club").unwrap().values(eur());
    assert_eq!((club["price"].to_string(), club["term"].to_string()), ("60".into(), "\"1 year\"".into()));
}

/// A bundle with one line changed.
fn bundle_with(from: &str, to: &str) -> String {
    let plain = "bundles:\n  b:\n    title: B\n    kind: starter\n    items: [{ sku: a, quantity: 1 }]\n    \
                 price: 10\n    worth: 12\n    valid_for: 14 days\n";
    assert!(plain.contains(from), "{from}");
    plain.replace(from, to)
}

#[test]
fn what_is_wrong_is_reported_where_it_stands() {
    let cases = [
        ("price: 10", "price: 10.505", "bad-price", "EUR"),
        ("price: 10", "price: 0.5", "bad-price", "JPY"),
        ("price: 10", "price: -1", "bad-price", "EUR"),
        ("price: 10", "price: 12.01", "no-saving", "EUR"),
        ("kind: starter", "kind: startr", "", "EUR"),
        ("kind: starter", "kind: seasonal", "kind-rule", "EUR"),
        ("kind: starter", "kind: member_only\n    members_only: false", "kind-rule", "EUR"),
        ("    worth: 12\n", "", "missing-field", "EUR"),
        ("valid_for: 14 days", "valid_for: 0 days", "no-time", "EUR"),
        ("[{ sku: a, quantity: 1 }]", "[]", "no-items", "EUR"),
        ("[{ sku: a, quantity: 1 }]", "[{ sku: a }, { sku: a }]", "doubled-name", "EUR"),
        ("[{ sku: a, quantity: 1 }]", "[{ sku: a, quantity: 0 }]", "", "EUR"),
        ("[{ sku: a, quantity: 1 }]", "{ sku: a }", "wrong-type", "EUR"),
        ("title: B", "title: B\n    season: { from: 2027-12-31, until: 2027-11-01 }", "bad-season", "EUR"),
        ("title: B", "title: B\n    season: { from: 2027-11-31, until: 2027-12-01 }", "bad-date", "EUR"),
        ("  b:", "  a b:", "bad-name", "EUR"),
    ];
    for (from, to, code, currency) in cases {
        let (_, faults) = compile_in(&bundle_with(from, to), currency);
        assert_eq!(faults.len(), 1, "{to}: {faults:#?}");
        assert_eq!(faults[0].severity, Severity::Error, "{to}");
        assert!(code.is_empty() || faults[0].code == code, "{to}: {faults:#?}");
        assert!(faults[0].hint.is_some(), "{to}: {faults:#?}");
    }
    let (_, faults) = compile_in(&bundle_with("kind: starter", "kind: vip"), "EUR");
    assert_eq!(faults.iter().map(|fault| (fault.severity, fault.code)).collect::<Vec<_>>(), [(Severity::Warning, "kind-rule")]);
}

#[test]
fn all_faults_are_found_at_once_and_what_is_faulty_is_left_out() {
    let text = "tiers:\n  - { tier: gold, when: customer.balance > 1 }\n  - { tier: gold, when: customer.balance > 2 }\n\
                memberships:\n  m: { title: M, price: 1.001, term: 1 year }\n\
                bundles:\n  b: { title: B, kind: starter, items: [], price: 5, worth: 1, valid_for: 1 day }\n\
                bonus: { owner: store }\n";
    let (catalog, faults) = compile_in(text, "EUR");
    let codes: Vec<&str> = faults.iter().map(|fault| fault.code).collect();
    for code in ["doubled-name", "bad-price", "no-items", "no-saving", "unknown-field", "missing-field"] {
        assert!(codes.contains(&code), "{code}: {faults:#?}");
    }
    assert_eq!((catalog.tiers.len(), catalog.memberships.len(), catalog.bundles.len()), (1, 0, 0));
}

#[test]
fn limits_hold() {
    let items = vec!["{ sku: a }"; ITEMS_MAX + 1].join(", ");
    let (_, faults) = compile_in(&bundle_with("{ sku: a, quantity: 1 }", &items), "EUR");
    assert!(faults.iter().any(|fault| fault.code == "too-many"), "{faults:#?}");
    for text in ["tiers: 5", "bundles: [a]", "memberships: gold", "bonus: 3 days", "- a", "just text"] {
        let (_, faults) = compile_in(text, "EUR");
        assert!(!faults.is_empty(), "{text}");
    }
}

#[test]
fn the_kinds_offered_to_editors_are_the_kinds_there_are() {
    let names: Vec<&str> = BundleKind::ALL.iter().map(|(name, _)| *name).collect();
    let field = BUNDLE_FIELDS.iter().find(|field| field.name == "kind").unwrap();
    assert!(matches!(field.shape, crate::lang::shape::Shape::Word(words) if words == names));
    for (name, kind) in BundleKind::ALL {
        assert_eq!(kind.name(), *name);
    }
}

#[test]
fn the_highest_tier_whose_condition_holds_counts() {
    let catalog = compile(SAMPLE);
    for (balance, tier) in [(0, None), (50, Some("bronze")), (499, Some("bronze")), (500, Some("gold"))] {
        let verdict = catalog.judge_tier(&Her { balance, ..HER });
        assert_eq!(verdict.tier.map(|tier| tier.name.as_str()), tier, "{balance}");
        assert!(!verdict.seen.is_empty());
    }
}

#[test]
fn a_tier_sees_neither_tiers_nor_segments() {
    for when in ["customer.tier == 'gold'", "in_segment('vip')"] {
        let (_, faults) = compile_in(&format!("tiers:\n  - {{ tier: gold, when: \"{when}\" }}\n"), "EUR");
        assert_eq!(faults.len(), 1, "{when}: {faults:#?}");
        assert!(faults[0].hint.as_deref().unwrap_or_default().contains("before segments"), "{faults:#?}");
    }
}

#[test]
fn a_bundle_says_why_it_may_not_be_offered() {
    let catalog = compile(SAMPLE);
    let refusal = |name: &str, her: &Her| catalog.bundle(name).unwrap().refusal(her).unwrap_or_default();
    assert_eq!(refusal("pour-over-starter", &Her { tier: Some("gold"), ..HER }), "");
    let why = refusal("pour-over-starter", &Her { tier: Some("bronze"), ..HER });
    assert!(why.contains("customer.tier") && why.contains("bronze"), "{why}");
    let why = refusal("pour-over-starter", &HER);
    assert!(why.ends_with(": customer.tier is missing"), "{why}");
    assert_eq!(refusal("club-blend", &Her { member: Some(true), ..HER }), "");
    assert!(refusal("club-blend", &HER).contains("members"));
    assert!(refusal("club-blend", &Her { member: Some(false), ..HER }).contains("members"));
}

#[test]
fn a_season_includes_both_its_days_in_her_zone() {
    let catalog = compile(SAMPLE);
    let open = |now, zone| catalog.bundle("winter-box").unwrap().refusal(&Her { now, zone, ..HER }).is_none();
    assert_eq!(catalog.bundle("winter-box").unwrap().season.unwrap().until, parse_date("2027-12-31").unwrap());
    assert!(!open("2027-10-31T23:59:59Z", chrono_tz::UTC));
    assert!(open("2027-10-31T23:59:59Z", chrono_tz::Europe::Berlin), "already the first day there");
    assert!(open("2027-12-31T23:59:59Z", chrono_tz::UTC));
    assert!(!open("2027-12-31T23:59:59Z", chrono_tz::Europe::Berlin));
}
