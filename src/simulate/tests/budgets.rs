//! Budgets of all customers together: who comes first gets, whatever the order in which customers are known.

use super::super::{Simulation, is_one, text};
use crate::event::{Event, InputBody};
use crate::funnel::{self, Definitions};
use crate::lang::diag::Faults;
use crate::lang::time::{DAY_MS, Time};
use crate::lang::value::Fields;
use std::sync::Arc;

/// Ten points two days after `slow`, ten points at once after `quick`, from one budget; then a mail.
fn definitions(budgets: &str) -> Definitions {
    let steps = "  - grant: 10 points\n    id: gift\n    on_error: skip\n    reason: gift\n  - emit: given\n";
    let files = [
        (
            "autofunnel.yaml",
            format!(
                "workspace: Shop\nzone: Europe/Berlin\ncurrency: EUR\nevents: {{ slow: {{}}, quick: {{}}, given: {{}} }}\nbudgets: {budgets}\n"
            ),
        ),
        (
            "slow.yaml",
            format!(
                "funnel: Slow\ntrigger: slow\nre_entry: always\ngoal: {{ event: given, within: 9 days }}\nsteps:\n  - wait: 2 days\n{steps}"
            ),
        ),
        (
            "quick.yaml",
            format!("funnel: Quick\ntrigger: quick\nre_entry: always\ngoal: {{ event: given, within: 9 days }}\nsteps:\n{steps}"),
        ),
    ];
    let mut faults = Faults::default();
    let workspace = funnel::compile(&files.map(|(path, text)| (path.to_owned(), text)).into(), &mut faults);
    Definitions::new(Arc::new(workspace.unwrap_or_else(|| panic!("{:?}", faults.list()))))
}

fn at(day: i64) -> Time {
    super::start().plus_ms(day * DAY_MS)
}

fn happens(simulation: &mut Simulation<'_>, customer: &str, name: &str, day: i64) {
    let (id, time) = (format!("{customer}-{name}-{day}"), at(day));
    let event = Event { id, name: name.to_owned(), time, properties: Fields::new(), minor: None, depth: 0 };
    simulation.input(customer, time, InputBody::Event(event));
}

#[test]
fn who_comes_first_gets_though_she_began_later() {
    let definitions = definitions("[ { points: 20, per: ever } ]");
    assert!(is_one(&definitions));
    let mut simulation = Simulation::new(&definitions);
    // Due on day 2, 3 and 4; on day 3 somebody is given points at once, and an event goes before what is due.
    happens(&mut simulation, "ada", "slow", 0);
    happens(&mut simulation, "ben", "slow", 1);
    happens(&mut simulation, "cy", "slow", 2);
    happens(&mut simulation, "dee", "quick", 3);
    happens(&mut simulation, "eve", "quick", 5);
    let report = simulation.finish(at(20));
    let (slow, quick) = (&report.funnels["slow"], &report.funnels["quick"]);
    assert_eq!((slow.points, quick.points, report.points_left), (10, 10, 20), "{report:?}");
    let refused = ("failed", "refused: budget: at most 20 points in all".to_owned());
    assert_eq!((slow.reasons.get(&refused), quick.reasons.get(&refused)), (Some(&1), Some(&1)));
    // The refusal of a funnel pauses it: the next of its grants waits.
    let paused: Vec<_> = report.used_up.iter().map(|(name, used)| (name.as_str(), used.since, used.waiting)).collect();
    assert_eq!(paused, [("quick", at(5), 0), ("slow", at(3), 1)]);
    assert_eq!((slow.live, slow.entered, slow.finished), (1, 3, 2));
    let shown = text::report(&report);
    let line = "budget used up 2027-03-04 10:00: at most 20 points in all; the funnel slow is paused from then on, and 1 effects of it wait for a person";
    assert!(shown.contains(line), "{shown}");
    assert_eq!(report.to_json()["used_up"][0]["funnel"], "quick");
}

#[test]
fn a_new_period_has_room_and_the_pause_stands() {
    let definitions = definitions("[ { funnel: quick, points: 10, per: day }, { points: 25, per: month } ]");
    let mut simulation = Simulation::new(&definitions);
    happens(&mut simulation, "ada", "quick", 0);
    happens(&mut simulation, "ada", "quick", 1);
    happens(&mut simulation, "ben", "quick", 1);
    // Its day has room again, but nobody has ended the pause.
    happens(&mut simulation, "ben", "quick", 2);
    // The other funnel is bounded by the month alone; what was refused was taken from it nowhere.
    happens(&mut simulation, "cy", "slow", 0);
    let report = simulation.finish(at(20));
    assert_eq!((report.funnels["quick"].points, report.funnels["slow"].points), (20, 0));
    assert_eq!(report.used_up["quick"].sentence, "at most 10 points per day in the funnel quick");
    assert_eq!(report.used_up["slow"].sentence, "at most 25 points per month");
    assert_eq!((report.used_up["quick"].waiting, report.funnels["quick"].failed), (1, 1));
}

#[test]
fn without_a_budget_of_all_customers_parts_stay_parts() {
    let definitions = definitions("[ { points: 10, per: day, each: customer } ]");
    assert!(!is_one(&definitions));
    let mut simulation = Simulation::new(&definitions);
    happens(&mut simulation, "ada", "quick", 0);
    happens(&mut simulation, "ben", "quick", 0);
    let report = simulation.finish(at(20));
    assert_eq!((report.funnels["quick"].points, report.used_up.len()), (20, 0));
}
