//! Figures against what single customers see, whatever the parts.

use super::against::{ALL, Comparison};
use super::{Report, Simulation, html, text};
use crate::event::{ConsentChange, Event, InputBody, ProfileChange};
use crate::fact::What;
use crate::funnel::{self, Definitions, Files};
use crate::lang::diag::Faults;
use crate::lang::time::{DAY_MS, HOUR_MS, Time};
use crate::lang::value::{Fields, Value};
use crate::play::Player;
use std::sync::Arc;

const START: &str = "2027-03-01T09:00:00Z";

fn files(points: i64) -> Files {
    let settings = "workspace: Shop\nzone: Europe/Berlin\ncurrency: EUR\nquiet_hours: { from: \"21:00\", until: \"08:00\" }\n\
                    caps: [ { channel: email, at_most: 1, within: 7 days } ]\n";
    let segments = "buyers: { when: purchases() >= 1 }\n";
    let welcome = format!(
        "funnel: Welcome\ntrigger: signed_up\nre_entry: never\ngoal: {{ event: purchase, within: 30 days, value: event.amount }}\n\
         steps:\n  - grant: {points} points\n    reason: welcome\n  - email: hello\n  - wait: 2 days\n  - email: hello\n"
    );
    let thanks = "funnel: Thanks\ntrigger: { segment_entered: buyers }\nre_entry: never\ngoal: { event: review, within: 9 days }\n\
                  steps:\n  - grant: 10 points\n    reason: thanks\n";
    [
        ("autofunnel.yaml", settings.to_owned()),
        ("segments.yaml", segments.to_owned()),
        ("welcome.yaml", welcome),
        ("thanks.yaml", thanks.to_owned()),
        ("templates/hello.txt", "---\nsubject: Hello\n---\nHello {{ customer.name }}\n".to_owned()),
    ]
    .map(|(path, text)| (path.to_owned(), text))
    .into()
}

fn definitions(points: i64) -> Definitions {
    let mut faults = Faults::default();
    let workspace = funnel::compile(&files(points), &mut faults);
    Definitions::new(Arc::new(workspace.unwrap_or_else(|| panic!("{:?}", faults.list()))))
}

fn start() -> Time {
    Time::parse(START).unwrap()
}

/// What happens to customer `n`: one in three buys, one in five has consented too late in the evening.
fn happens(n: i64) -> Vec<(Time, InputBody)> {
    let at = start().plus_ms(if n % 5 == 0 { 11 * HOUR_MS } else { n * 60_000 });
    let event = |name: &str, time: Time, minor: Option<i64>, properties: Fields| {
        InputBody::Event(Event { id: format!("{name}-{n}"), name: name.to_owned(), time, properties, minor, depth: 0 })
    };
    let consent = ConsentChange { channel: "email".into(), topic: None, granted: true, source: "test".into(), time: at };
    let profile: Fields = [("email", format!("c{n}@example.com")), ("name", format!("C{n}"))]
        .map(|(name, text)| (name.to_owned(), Value::from(text.as_str())))
        .into();
    let change = ProfileChange { profile, consent: vec![consent], ..ProfileChange::default() };
    let mut out = vec![(at, InputBody::Profile(change)), (at, event("signed_up", at, None, Fields::new()))];
    if n % 3 == 0 {
        let later = at.plus_ms(DAY_MS);
        let amount: Fields = [("amount".to_owned(), Value::Int(20))].into();
        out.push((later, event("purchase", later, Some(2_000), amount)));
    }
    out
}

fn until() -> Time {
    start().plus_ms(20 * DAY_MS)
}

fn simulate(definitions: &Definitions, customers: impl Iterator<Item = i64>) -> Report {
    let mut simulation = Simulation::new(definitions);
    for n in customers {
        for (at, body) in happens(n) {
            simulation.input(&format!("c{n}"), at, body);
        }
    }
    simulation.finish(until())
}

#[test]
fn figures_are_the_sums_of_what_single_customers_see() {
    let definitions = definitions(200);
    let report = simulate(&definitions, 0..30);
    let (mut sent, mut capped, mut held, mut goals, mut points) = (0, 0, 0, 0, 0);
    for n in 0..30 {
        let mut player = Player::new(&definitions, &format!("c{n}"), start());
        for (at, body) in happens(n) {
            player.input(at, body);
        }
        player.run_until(until());
        sent += player.count(What::Sent);
        capped += player.count(What::Capped);
        // What the cap counted is told with its instant: the one message before.
        let sent_at = player.facts.iter().find(|fact| fact.what == What::Sent).map(|fact| fact.at).unwrap();
        let refused = player.facts.iter().find(|fact| fact.what == What::Capped).unwrap();
        assert_eq!(refused.seen, [("counted email".to_owned(), Value::Time(sent_at))]);
        held += player.count(What::Held);
        goals += player.count(What::Goal);
        points += player.customer.as_ref().map_or(0, |customer| customer.loyalty.balance);
    }
    let total = report.total();
    assert_eq!((sent, capped, held, goals), (30, 30, 6, 10));
    assert_eq!((total.messages(), total.capped, total.held, total.goals), (30, 30, 6, 10));
    assert_eq!((total.points, report.points_left, points), (30 * 200 + 10 * 10, 6_100, 6_100));
    assert_eq!((report.events, report.given, report.customers), (40, 30, 30));
    let welcome = &report.funnels["welcome"];
    assert_eq!((welcome.entered, welcome.goals, welcome.money, welcome.finished), (30, 10, 20_000, 30));
    assert_eq!(welcome.sent, [("email".to_owned(), 30)].into());
    assert_eq!(welcome.reasons[&("capped", "cap: at most 1 email within 7 days".to_owned())], 30);
    let buyers = &report.segments["buyers"];
    assert_eq!((buyers.entered, buyers.left, buyers.members, buyers.points), (10, 0, 10, 100));
    assert_eq!(report.days.values().map(|day| day.purchased).sum::<i64>(), 20_000);
    assert_eq!(report.days.values().map(|day| day.entered).sum::<u64>(), total.entered);
    assert_eq!(report.days.values().flat_map(|day| day.sent.values()).sum::<u64>(), 30);
}

#[test]
fn parts_change_nothing() {
    let definitions = definitions(200);
    let whole = simulate(&definitions, 0..30);
    let mut parts = Report::new(&definitions.current);
    for part in [2, 0, 1] {
        parts.merge(simulate(&definitions, (0..30).filter(|n| n % 3 == part)));
    }
    assert_eq!(parts, whole);
    assert_eq!(parts.to_json(), whole.to_json());
}

#[test]
fn an_edit_shows_what_it_changes_and_for_whom() {
    let (before, after) = (definitions(200), definitions(250));
    let before = simulate(&before, 0..9);
    assert_eq!(Comparison::new(&before, &before), Comparison { funnels: Vec::new(), customers: Vec::new(), of: 9 });
    // One customer more, and fifty points more for all.
    let after = simulate(&after, 0..10);
    let comparison = Comparison::new(&before, &after);
    assert_eq!(comparison.customers.len(), 10);
    assert_eq!(comparison.customers[0].funnels, ["welcome"]);
    let points = |funnel: &str| {
        let changes = comparison.funnels.iter().find(|changes| changes.funnel == funnel).unwrap();
        changes.figures.iter().find(|(name, _, _)| *name == "points").copied().unwrap()
    };
    assert_eq!(points("welcome"), ("points", 1_800, 2_500));
    // Customers 0, 3, 6 and 9 buy.
    assert_eq!(points(ALL), ("points", 1_830, 2_540));
    let shown = text::comparison(&comparison, &after);
    assert!(shown.contains("10 of 10 customers see something else"), "{shown}");
    assert!(shown.contains("c1: welcome (1 runs, 1 messages, 200 points → 1 runs, 1 messages, 250 points)"), "{shown}");
}

#[test]
fn the_page_stands_alone_and_cannot_be_broken_by_an_id() {
    let definitions = definitions(200);
    let mut simulation = Simulation::new(&definitions);
    for (at, body) in happens(1) {
        simulation.input("<script>alert(1)</script>", at, body);
    }
    let report = simulation.finish(until());
    let nothing = Report::new(&definitions.current);
    let page = html::page(&report, Some(&Comparison::new(&nothing, &report)));
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("url("));
    assert_eq!(page.matches("<svg").count(), 3);
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    let shown = text::report(&report);
    assert!(shown.contains("results: every message is rendered and accepted at once"), "{shown}");
}

#[test]
fn who_is_played_on_wakes_between_events() {
    let definitions = definitions(200);
    let mut simulation = Simulation::new(&definitions);
    let [(at, profile), (_, signed_up)] = happens(1).try_into().unwrap();
    simulation.input("c", at, profile);
    simulation.input("c", at, signed_up);
    let report = simulation.finish(at.plus_ms(DAY_MS));
    assert_eq!((report.funnels["welcome"].live, report.funnels["welcome"].finished), (1, 0));
}

mod budgets;
