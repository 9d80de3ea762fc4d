//! Choosing the winner of a split, from what was counted. Pure: who counts and who keeps what was chosen is the shell's.
//!
//! Counted are the customers for whom a variant was drawn and who entered the funnel on a day since when the time for
//! the goal is over for everybody: so no late conversion can change the shares that are compared. The shares are
//! looked at once, when each variant has as many as the rule asks for: looking again and again until one is ahead
//! would find a winner where there is none.

use super::{Definitions, Goal, Workspace};
use crate::fact::count::{AGAIN, CONVERTED, Cohort, ENTERED, Group};
use crate::lang::time::{Time, Zone, instant, parse_date};
use crate::step::winner::{Arm, Measure, Rule, Winner};

/// A test that runs: a split whose winner is to be chosen.
#[derive(Debug)]
pub struct Test<'a> {
    /// The funnel.
    pub funnel: &'a str,
    /// The split's id.
    pub step: &'a str,
    /// The rule.
    pub rule: Rule,
    /// The variants that are drawn, as they stand in the file.
    pub variants: Vec<&'a str>,
    /// The funnel's goal.
    pub goal: &'a Goal,
}

/// The tests of a workspace.
pub fn tests(workspace: &Workspace) -> Vec<Test<'_>> {
    let mut tests = Vec::new();
    for funnel in workspace.funnels.values() {
        let Some(goal) = &funnel.goal else { continue };
        for at in &funnel.steps.list {
            if let Some((rule, variants)) = at.step.test() {
                tests.push(Test { funnel: &funnel.name, step: &at.id, rule: rule.clone(), variants, goal });
            }
        }
    }
    tests
}

/// The tests of which no winner was chosen.
pub fn undecided(definitions: &Definitions) -> Vec<Test<'_>> {
    let of = |test: &Test<'_>, winner: &Winner| winner.funnel == test.funnel && winner.step == test.step;
    let chosen = |test: &Test<'_>| definitions.winners.iter().any(|winner| of(test, winner));
    tests(&definitions.current).into_iter().filter(|test| !chosen(test)).collect()
}

impl Test<'_> {
    /// What is counted of each variant at an instant.
    pub fn arms(&self, cohorts: &[Cohort], zone: Zone, now: Time) -> Vec<Arm> {
        let over = |day: &str| {
            let end = parse_date(day).map(|day| instant(zone, day.and_time(chrono::NaiveTime::MIN)).next_midnight(zone));
            end.is_some_and(|end| end.plus(self.goal.within, zone) <= now)
        };
        let own = |row: &&Cohort| {
            row.funnel == self.funnel && row.group == Group::Arm && row.step == self.step && !row.held && over(&row.day)
        };
        let rows: Vec<&Cohort> = cohorts.iter().filter(own).collect();
        let arm = |variant: &&str| {
            let sum = |what: &str, of: fn(&Cohort) -> i64| -> i64 {
                rows.iter().filter(|row| row.name == *variant && row.what == what).map(|row| of(row)).sum()
            };
            Arm {
                variant: (*variant).to_owned(),
                drawn: sum(ENTERED, |row| row.count),
                reached: sum(CONVERTED, |row| row.count),
                value: sum(CONVERTED, |row| row.amount) + sum(AGAIN, |row| row.amount),
            }
        };
        self.variants.iter().map(arm).collect()
    }

    /// The winner, if the time has come to choose one. Of equals the one that stands first in the file wins.
    pub fn winner(&self, counted: Vec<Arm>, from: Time) -> Option<Winner> {
        if counted.is_empty() || counted.iter().any(|arm| arm.drawn < self.rule.at_least) {
            return None;
        }
        let of = |arm: &Arm| match self.rule.by {
            Measure::Goal => arm.reached,
            Measure::Value => arm.value,
        };
        // a / b > c / d, without a fraction.
        let ahead = |one: &Arm, other: &Arm| {
            i128::from(of(one)) * i128::from(other.drawn) > i128::from(of(other)) * i128::from(one.drawn)
        };
        let best = counted.iter().fold(&counted[0], |best, arm| if ahead(arm, best) { arm } else { best });
        Some(Winner {
            funnel: self.funnel.to_owned(),
            step: self.step.to_owned(),
            variant: best.variant.clone(),
            from,
            by: Some(self.rule.by),
            counted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::diag::Faults;
    use crate::lang::time::{DAY_MS, Span};

    fn workspace(rule: &str) -> Workspace {
        let split = format!(
            "funnel: F\ntrigger: manual\ngoal: {{ event: purchase, within: 2 days, value: event.amount }}\nsteps:\n\
             - split: {{ a: {{ weight: 1, steps: [] }}, b: {{ weight: 1, steps: [] }}, c: {{ weight: 0, steps: [] }} }}\n  id: pick\n  winner: {rule}\n"
        );
        let files = [
            ("autofunnel.yaml".to_owned(), "workspace: S\nzone: Europe/Berlin\ncurrency: EUR\n".to_owned()),
            ("f.yaml".to_owned(), split),
        ];
        let mut faults = Faults::default();
        super::super::compile(&files.into(), &mut faults).unwrap_or_else(|| panic!("{:?}", faults.list()))
    }

    fn row(day: &str, name: &str, what: &str, count: i64, amount: i64) -> Cohort {
        let text = |text: &str| text.to_owned();
        let (funnel, version, step) = (text("f"), text("1"), text("pick"));
        Cohort {
            day: text(day),
            funnel,
            version,
            group: Group::Arm,
            step,
            name: text(name),
            held: false,
            what: text(what),
            age: 0,
            count,
            amount,
        }
    }

    /// Midnight in Berlin, in winter.
    fn at(day: &str) -> Time {
        instant("Europe/Berlin".parse().unwrap(), parse_date(day).unwrap().and_time(chrono::NaiveTime::MIN))
    }

    #[test]
    fn nobody_counts_before_the_time_for_the_goal_is_over() {
        let workspace = workspace("{ by: goal, at_least: 10 }");
        let tests = tests(&workspace);
        let test = &tests[0];
        assert_eq!(
            (test.variants.clone(), test.goal.within),
            (vec!["a", "b"], Span::days(2)),
            "who is never drawn is not waited for"
        );
        let rows = [
            row("2027-01-10", "a", ENTERED, 10, 0),
            row("2027-01-10", "b", ENTERED, 12, 0),
            row("2027-01-10", "b", CONVERTED, 3, 300),
            row("2027-01-11", "a", ENTERED, 90, 0),
            row("2027-01-11", "a", CONVERTED, 90, 9_000),
        ];
        let zone = workspace.settings.zone;
        let choose = |now: Time| test.winner(test.arms(&rows, zone, now), now);
        // The day of entry ends with the 11th, two days later the window of its last moment is over.
        assert_eq!(choose(at("2027-01-13").plus_ms(-1)), None);
        let won = choose(at("2027-01-13")).unwrap();
        assert_eq!((won.variant.as_str(), won.why().as_str()), ("b", "it won by goal: a 0 of 10, b 3 of 12"));
        // A day later those of the 11th would have said otherwise; then it is too late.
        assert_eq!(choose(at("2027-01-13").plus_ms(DAY_MS)).unwrap().variant, "a");
    }

    #[test]
    fn shares_are_compared_and_not_numbers_and_of_equals_the_first_wins() {
        let at_once = at("2028-01-01");
        let choose = |rule: &str, rows: &[(&str, &str, i64, i64)]| {
            let workspace = workspace(rule);
            let tests = tests(&workspace);
            let test = tests.first()?;
            let rows: Vec<Cohort> =
                rows.iter().map(|(name, what, count, amount)| row("2027-01-10", name, what, *count, *amount)).collect();
            test.winner(test.arms(&rows, workspace.settings.zone, at_once), at_once).map(|won| won.variant)
        };
        let few = [("a", ENTERED, 1_000, 0), ("a", CONVERTED, 30, 900), ("b", ENTERED, 100, 0), ("b", CONVERTED, 4, 80)];
        assert_eq!(choose("{ by: goal, at_least: 100 }", &few).as_deref(), Some("b"), "4 % are more than 3 %");
        assert_eq!(choose("{ by: value, at_least: 100 }", &few).as_deref(), Some("a"), "0.90 each are more than 0.80");
        assert_eq!(choose("{ by: goal, at_least: 101 }", &few), None, "b has too few");
        let same = [("a", ENTERED, 200, 0), ("a", CONVERTED, 4, 0), ("b", ENTERED, 100, 0), ("b", CONVERTED, 2, 0)];
        assert_eq!(choose("{ by: goal, at_least: 1 }", &same).as_deref(), Some("a"));
        assert_eq!(choose("{ by: goal, at_least: 1 }", &[("a", ENTERED, 5, 0)]), None, "nobody has b yet");
        assert_eq!(choose("b", &few), None, "a person has chosen");
    }

    #[test]
    fn what_was_chosen_is_not_chosen_again() {
        let definitions = Definitions::new(std::sync::Arc::new(workspace("{ by: goal, at_least: 10 }")));
        assert_eq!(undecided(&definitions).len(), 1);
        let won = |variant: &str| Winner {
            funnel: "f".to_owned(),
            step: "pick".to_owned(),
            variant: variant.to_owned(),
            from: Time(5),
            by: Some(Measure::Goal),
            counted: Vec::new(),
        };
        let chosen = definitions.clone().with_winners(vec![won("b")]);
        assert!(undecided(&chosen).is_empty());
        assert!(chosen.winner("f", "pick", Time(4)).is_none() && chosen.winner("f", "pick", Time(5)).is_some());
    }
}
