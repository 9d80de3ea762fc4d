//! The structured form: the same meaning, mistakes met where they stand.

use super::*;
use crate::lang::node::{Key, NodeKind};

fn scalar(content: &str) -> Node {
    Node { place: text(content).place, kind: NodeKind::Scalar { text: content.to_owned(), plain: true } }
}

fn map(entries: &[(&str, Node)]) -> Node {
    let key = |name: &str| Key { text: name.to_owned(), place: text(name).place };
    Node { place: text("map").place, kind: NodeKind::Map(entries.iter().map(|(name, node)| (key(name), node.clone())).collect()) }
}

fn list(items: &[Node]) -> Node {
    Node { place: text("list").place, kind: NodeKind::List(items.to_vec()) }
}

#[test]
fn the_structured_form_says_the_same_as_its_cel() {
    let bound = |last: &str, name: &str, n: &str| map(&[("last", scalar(last)), (name, scalar(n))]);
    let tiers = list(&[scalar("silver"), scalar("gold")]);
    for (node, cel, verdict) in [
        (map(&[("purchases", bound("90 days", "at_least", "3"))]), "purchases(\"90 days\") >= 3", Some(false)),
        (map(&[("purchases", map(&[("exactly", scalar("2"))]))]), "purchases() == 2", Some(true)),
        (map(&[("spent", bound("1 year", "at_most", "39.50"))]), "spent(\"1 year\") <= 39.5", Some(true)),
        (
            map(&[("event", scalar("review")), ("last", scalar("7 days")), ("exactly", scalar("0"))]),
            "count(\"review\", \"7 days\") == 0",
            Some(true),
        ),
        (map(&[("event", scalar("review")), ("at_least", scalar("1"))]), "count(\"review\") >= 1", Some(false)),
        (map(&[("last_purchase", scalar("more than 30 days ago"))]), "last(\"purchase\") < ago(\"30 days\")", Some(true)),
        (map(&[("last_purchase", scalar("less than 30 days ago"))]), "last(\"purchase\") > ago(\"30 days\")", Some(false)),
        (map(&[("last_purchase", scalar("never"))]), "!has_done(\"purchase\")", Some(false)),
        (
            map(&[("tier", tiers.clone()), ("segment", scalar("vip"))]),
            "customer.tier in [\"silver\", \"gold\"] && in_segment(\"vip\")",
            Some(true),
        ),
        (map(&[("membership", scalar("none"))]), "!has(customer.membership)", Some(true)),
        (
            map(&[("membership", list(&[scalar("plus"), scalar("none")]))]),
            "!has(customer.membership) || customer.membership.name in [\"plus\"]",
            Some(true),
        ),
        (
            map(&[("none", list(&[map(&[("tier", scalar("gold"))]), scalar("customer.vip")]))]),
            "!(customer.tier in [\"gold\"] || customer.vip)",
            Some(false),
        ),
        (
            map(&[("all", list(&[scalar("(true)||(false)"), scalar("true")])), ("tier", tiers)]),
            "((true)||(false)) && true && customer.tier in [\"silver\", \"gold\"]",
            Some(true),
        ),
        (
            map(&[("balance", map(&[("at_least", scalar("10")), ("at_most", scalar("2"))]))]),
            "customer.balance >= 10 && customer.balance <= 2",
            None,
        ),
        (map(&[("member", scalar("false"))]), "!has(customer.membership) || !customer.membership.active", Some(true)),
        (map(&[("member", scalar("true"))]), "has(customer.membership) && customer.membership.active", Some(false)),
        (map(&[("consent", list(&[scalar("email"), scalar("sms")]))]), "customer.consent.email && customer.consent.sms", None),
        (scalar("customer.vip"), "customer.vip", None),
    ] {
        let mut faults = Faults::default();
        let cond = Cond::from_node(&node, &Words, &mut faults).unwrap_or_else(|| panic!("{cel}: {:?}", faults.list()));
        assert_eq!(cond.text.text, cel);
        assert_eq!(cond.judge(&Her::new()).value, verdict, "{cel}");
        // The CEL shown is CEL and means the same.
        assert_eq!(judge(cel).value, verdict, "{cel}");
    }
}

#[test]
fn mistakes_in_the_structured_form_are_met_where_they_stand() {
    for (node, code) in [
        (list(&[]), "bad-condition"),
        (map(&[]), "bad-condition"),
        (map(&[("purchase", scalar("3"))]), "unknown-field"),
        (map(&[("purchases", scalar("3"))]), "bad-condition"),
        (map(&[("purchases", map(&[("last", scalar("90 days"))]))]), "bad-condition"),
        (map(&[("purchases", map(&[("at_leest", scalar("3")), ("at_most", scalar("4"))]))]), "unknown-field"),
        (map(&[("purchases", map(&[("at_least", scalar("2.5"))]))]), "bad-number"),
        (map(&[("purchases", map(&[("at_least", scalar("3")), ("last", scalar("soon"))]))]), "bad-duration"),
        (map(&[("at_least", scalar("3"))]), "bad-condition"),
        (map(&[("event", scalar("review"))]), "bad-condition"),
        (map(&[("last_purchase", scalar("long ago"))]), "bad-condition"),
        (map(&[("last_purchase", scalar("more than ages ago"))]), "bad-duration"),
        (map(&[("segment", scalar("vpi"))]), "unknown-segment"),
        (map(&[("member", scalar("gold"))]), "bad-condition"),
        (map(&[("balance", scalar("100"))]), "bad-condition"),
        (map(&[("balance", map(&[("last", scalar("9 days")), ("at_least", scalar("3"))]))]), "bad-condition"),
        (map(&[("consent", scalar("fax"))]), "unknown-field"),
        (map(&[("tier", list(&[]))]), "bad-condition"),
        (map(&[("any", scalar("x"))]), "bad-condition"),
        (map(&[("any", list(&[scalar("customer.teir == 'x'")]))]), "unknown-field"),
    ] {
        let mut faults = Faults::default();
        assert!(Cond::from_node(&node, &Words, &mut faults).is_none(), "{node:?}");
        assert_eq!(faults.list().iter().map(|fault| fault.code).collect::<Vec<_>>(), [code], "{node:?}");
    }
    let mut deep = scalar("true");
    for _ in 0..30 {
        deep = map(&[("all", list(&[deep]))]);
    }
    assert!(Cond::from_node(&deep, &Words, &mut Faults::default()).is_none());
}
