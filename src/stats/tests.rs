//! Questions and their answers, from a handful of facts.

use super::*;
use crate::fact::count::{Group, HOLDOUT, Key, Table as Place, count};
use crate::fact::{Fact, Origin, RunRef, What};
use crate::lang::time::{DAY_MS, Time};
use std::collections::BTreeMap;

const DAY: &str = "1970-01-02";

fn fact(what: What, at: i64, about: &str, amount: Option<i64>) -> Fact {
    Fact { at: Time(at), what, about: about.to_owned(), run: None, why: String::new(), seen: vec![], amount }
}

fn of_run(fact: Fact, step: &str, variant: &str, origin: Option<Origin>) -> Fact {
    let [funnel, version, step, variant] = ["f", "v", step, variant].map(str::to_owned);
    Fact { run: Some(RunRef { funnel, version, run: 1, step, variant, origin: origin.map(Box::new) }), ..fact }
}

/// One who entered on the first of these days, by her variant and segment, or held out, and what she did.
fn entered(arm: &str, segment: &str, held: bool, bought: Option<(i64, i64)>) -> Vec<Fact> {
    let segments = vec![segment.to_owned()];
    let variant = if held { HOLDOUT } else { "" };
    let bare = Origin { since: Time(DAY_MS), segments, ..Origin::default() };
    let arms = vec![("test".to_owned(), arm.to_owned())];
    let drawn = if held { bare.clone() } else { Origin { arms, ..bare.clone() } };
    let what = if held { What::HeldOut } else { What::Entered };
    let mut facts = vec![of_run(fact(what, DAY_MS, "", None), "", variant, Some(bare))];
    if !held {
        facts.push(of_run(fact(What::Variant, DAY_MS, arm, None), "test", arm, Some(drawn.clone())));
        facts.push(of_run(fact(What::Sent, DAY_MS, "mail", None), "mail", "email", Some(drawn.clone())));
        facts.push(of_run(fact(What::Granted, DAY_MS, "", Some(10)), "gift", "", Some(drawn.clone())));
        facts.push(of_run(fact(What::Exited, 2 * DAY_MS, "purchase", None), "gift", "", None));
    }
    if let Some((after, amount)) = bought {
        let at = DAY_MS + after * DAY_MS;
        facts.push(of_run(fact(What::Goal, at, "purchase", Some(amount)), "", variant, Some(drawn)));
        facts.push(fact(What::Event, at, "purchase", Some(amount)));
    }
    facts
}

/// What the read side would say of these facts, whose days are asked for.
fn counted(facts: &[Fact], asked: &Asked) -> Counted {
    let terms: Terms = "UTC EUR 0.01".parse().unwrap();
    let mut sums: BTreeMap<Key, (i64, i64)> = BTreeMap::new();
    for fact in facts {
        for (key, sum) in count(std::slice::from_ref(fact), &terms) {
            let held = sums.entry(key).or_default();
            *held = (held.0 + sum.0, held.1 + sum.1);
        }
    }
    let mut counted = Counted { terms, known: vec!["f".to_owned()], ..Counted::default() };
    for (key, (count, amount)) in sums {
        let (day, what) = (key.day_text(), key.what.to_owned());
        let [a, version, c, step, e] = key.names().map(str::to_owned);
        if day < asked.from || day > asked.to || !(asked.funnel.is_empty() || asked.funnel == a) {
            continue;
        }
        match key.table {
            Place::Day => counted.figures.push(Figure {
                day: if asked.by_day { day } else { String::new() },
                funnel: a,
                version,
                step: c,
                variant: step,
                what,
                reason: e,
                count,
                amount,
            }),
            Place::Entry { age, held } => {
                let group = Group::parse(&c).unwrap();
                counted.cohorts.push(Cohort { day, funnel: a, version, group, step, name: e, held, what, age, count, amount });
            }
        }
    }
    counted
}

fn ask(facts: &[Fact], funnel: &str, by: &str, per: &str) -> Report {
    ask_of(facts, funnel, by, per, "").unwrap()
}

fn ask_of(facts: &[Fact], funnel: &str, by: &str, per: &str, segment: &str) -> Result<Report, Wrong> {
    let [funnel, by, per, segment, from, to] = [funnel, by, per, segment, DAY, "1970-03-01"].map(str::to_owned);
    let question = Typed { funnel, from, to, by, per, segment }.question(parse_date("1970-03-01").unwrap()).unwrap();
    let counted = counted(facts, &question.asked());
    report(question, &counted, &[])
}

/// The rows of a table as `a=1 b=2`, without what is nothing.
fn rows(report: &Report, name: &str) -> Vec<String> {
    let json = report.json();
    let tables = json["tables"].as_array().unwrap();
    let Some(table) = tables.iter().find(|table| table["name"] == name) else { return Vec::new() };
    let columns: Vec<&str> = table["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    let row = |row: &Json| -> String {
        let named = columns.iter().filter(|name| !row[**name].is_null());
        named.map(|name| format!("{name}={}", row[*name]).replace('"', "")).collect::<Vec<_>>().join(" ")
    };
    table["rows"].as_array().unwrap().iter().map(row).collect()
}

fn story() -> Vec<Fact> {
    let mut facts = Vec::new();
    for n in 0..200 {
        facts.extend(entered("letter", "dormant", false, (n < 60).then_some((n % 10, 1_000))));
        facts.extend(entered("card", "new", false, (n < 20).then_some((1, 500))));
        facts.extend(entered("", "new", true, (n < 20).then_some((1, 300))));
    }
    facts
}

#[test]
fn a_funnel_is_told_whole() {
    let report = ask(&story(), "f", "", "");
    assert_eq!(
        rows(&report, "funnel"),
        [
            "funnel=f entered=400 held_out=200 waiting=0 finished=0 exited=400 stopped=0 sent=400 converted=80 rate=0.2 revenue=700.00 each=1.75 points=4000 cost=40"
        ]
    );
    assert_eq!(rows(&report, "ends"), ["how=exited reason=purchase runs=400"]);
    let steps = rows(&report, "steps");
    assert_eq!(steps.len(), 3);
    assert!(
        steps.contains(&"step=gift waiting=0 passed=400 left_out=0 held=0 failed=0 sent=0 points=4000".to_owned()),
        "{steps:?}"
    );
    let variants = rows(&report, "variants");
    assert!(variants[0].starts_with("split=test variant=card drawn=200 converted=20 rate=0.1 rate_low=0.06"), "{variants:?}");
    assert!(variants[1].starts_with("split=test variant=letter drawn=200 converted=60 rate=0.3"), "{variants:?}");
    assert!(variants[1].ends_with("revenue=600.00 each=3.00 sent=200 clicked=0 points=2000"), "{variants:?}");
    let lift = rows(&report, "lift");
    assert!(lift[0].starts_with("lift=0.1 lift_low=0.03") && lift[0].contains("extra_conversions=40"), "{lift:?}");
    // 700.00 of 400; 60.00 of 200 would have been 120.00 of 400.
    assert!(lift[0].ends_with("extra_each=1.45 extra_revenue=580.00"), "{lift:?}");
    assert_eq!(report.notes, ["the funnel raises conversion: the interval of the lift is above 0"]);
}

#[test]
fn small_samples_are_said_to_be_small() {
    let facts: Vec<Fact> = (0..30).flat_map(|n| entered("a", "s", n % 3 == 0, (n < 6).then_some((0, 100)))).collect();
    let notes = ask(&facts, "f", "", "").notes;
    assert!(notes.iter().any(|note| note.contains("too small a sample to say anything about the lift: 20 entered")), "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with("`a` of `test`")), "{notes:?}");
}

#[test]
fn figures_are_divided() {
    let facts = story();
    let segments = rows(&ask(&facts, "f", "segment", ""), "segments");
    assert!(segments[0].starts_with("segment=dormant entered=200 held_out=0 converted=60 rate=0.3"), "{segments:?}");
    assert!(segments[1].starts_with("segment=new entered=200 held_out=200 converted=20 rate=0.1"), "{segments:?}");
    let days = rows(&ask(&facts, "f", "day", ""), "lines");
    assert!(days[0].starts_with("day=1970-01-02 entered=400 held_out=200 finished=0 exited=0"), "{days:?}");
    assert!(days[1].starts_with("day=1970-01-03 entered=0 held_out=0 finished=0 exited=400"), "{days:?}");
    assert_eq!(rows(&ask(&facts, "f", "version", ""), "lines").len(), 1);
    assert_eq!(rows(&ask(&facts, "f", "channel", ""), "channels").len(), 1);
    let weeks = rows(&ask(&facts, "f", "cohort", "week"), "cohorts");
    // 6 of 60 on the day itself; 6 + 20 and 6 on the next.
    assert!(weeks[0].starts_with("entered_from=1969-12-29 entered=400 within_0_days=0.015 within_1_days=0.08"), "{weeks:?}");
    assert!(!weeks[0].contains("within_60_days"), "those have not passed yet: {weeks:?}");
    assert!(rows(&ask(&facts, "f", "cohort", "month"), "cohorts")[0].starts_with("entered_from=1970-01-01 entered=400"));
    let dormant = ask_of(&facts, "f", "cohort", "week", "dormant").unwrap();
    assert!(rows(&dormant, "cohorts")[0].starts_with("entered_from=1969-12-29 entered=200 within_0_days=0.03"));
    let wrong = ask_of(&facts, "f", "cohort", "week", "dorment").unwrap_err();
    assert_eq!(wrong.hint.as_deref(), Some("did you mean `dormant`?"));
}

#[test]
fn the_shop_is_told_beside_its_funnels() {
    let mut facts = story();
    facts.push(fact(What::Offered, DAY_MS, "bundle", None));
    facts.push(fact(What::OfferUsed, 2 * DAY_MS, "bundle", Some(4_200)));
    facts.push(fact(What::MembershipExpired, DAY_MS, "club", None));
    facts.push(fact(What::SegmentEntered, DAY_MS, "vip", None));
    let report = ask(&facts, "", "", "");
    assert_eq!(rows(&report, "offers"), ["offer=bundle offered=1 taken_up=1 expired=0 revenue=42.00"]);
    assert_eq!(
        rows(&report, "memberships"),
        ["membership=club started=0 renewed=0 changed=0 cancelled=0 expired=1 revenue=0.00"]
    );
    assert_eq!(rows(&report, "purchases"), ["purchases=100 turnover=760.00 refunds=0 refunded=0.00"]);
    assert!(rows(&report, "funnels")[0].starts_with("funnel=f entered=400"));
    assert_eq!(rows(&report, "segments"), ["segment=vip entered=1 left=0 size=0"]);
}

#[test]
fn a_segments_size_is_reckoned_back_from_now() {
    let question =
        Typed { by: "segment".to_owned(), from: "1970-01-02".to_owned(), to: "1970-01-03".to_owned(), ..Typed::default() };
    let question = question.question(parse_date("1970-01-09").unwrap()).unwrap();
    let growth = [("1970-01-02", 3), ("1970-01-03", -1), ("1970-01-05", 10)];
    let counted = Counted {
        sizes: vec![("vip".to_owned(), 20)],
        growth: growth.iter().map(|(day, change)| ((*day).to_owned(), "vip".to_owned(), *change)).collect(),
        ..Counted::default()
    };
    let report = report(question, &counted, &[]).unwrap();
    assert_eq!(
        rows(&report, "growth"),
        [
            "day=1970-01-02 segment=vip entered=0 left=0 change=3 size=11",
            "day=1970-01-03 segment=vip entered=0 left=0 change=-1 size=10"
        ]
    );
}

#[test]
fn what_is_no_question_is_refused_with_a_hint() {
    let today = parse_date("2027-03-01").unwrap();
    let typed = |funnel: &str, from: &str, to: &str, by: &str, per: &str| {
        let [funnel, from, to, by, per] = [funnel, from, to, by, per].map(str::to_owned);
        Typed { funnel, from, to, by, per, segment: String::new() }.question(today)
    };
    for (wrong, part) in [
        (typed("", "yesterday", "", "", ""), "2027-03-01"),
        (typed("", "2027-03-02", "2027-03-01", "", ""), "first day"),
        (typed("", "2020-01-01", "", "", ""), "fewer days"),
        (typed("f", "", "", "varant", ""), "did you mean `variant`"),
        (typed("", "", "", "step", ""), "name the funnel"),
        (typed("f", "", "", "cohort", "year"), "week"),
        (typed("f", "", "", "day", "week"), "by cohort"),
    ] {
        let wrong = wrong.unwrap_err();
        assert!(wrong.hint.clone().unwrap_or_default().contains(part), "{wrong:?}");
    }
    let nobody = typed("welcme", "", "", "", "").unwrap();
    let counted = Counted { known: vec!["renewal".to_owned()], ..Counted::default() };
    let wrong = report(nobody.clone(), &counted, &["welcome".to_owned()]).unwrap_err();
    assert_eq!(wrong.hint.as_deref(), Some("did you mean `welcome`?"));
    let empty = report(nobody, &counted, &["welcme".to_owned()]).unwrap();
    assert_eq!(empty.notes, ["nothing was counted from 2026-03-02 to 2027-03-01"]);
}
