//! From facts to figures.

use super::report::{Figures, Outcome, Report};
use crate::event::words::money_sign;
use crate::fact::{Fact, RunRef, What};
use crate::play::Player;
use chrono::NaiveDate;
use std::collections::{BTreeMap, BTreeSet};

/// What is remembered of one customer while she is played.
#[derive(Default)]
pub(super) struct Tally {
    segments: BTreeSet<String>,
    outcomes: BTreeMap<String, Outcome>,
}

impl Tally {
    /// Counts the facts that a player has gathered, and lets go of them.
    pub fn take(&mut self, player: &mut Player<'_>, report: &mut Report) {
        player.effects.clear();
        for fact in std::mem::take(&mut player.facts) {
            match fact.what {
                What::SegmentEntered => {
                    report.segment(&fact.about).entered += 1;
                    self.segments.insert(fact.about.clone());
                }
                What::SegmentLeft => {
                    report.segment(&fact.about).left += 1;
                    self.segments.remove(&fact.about);
                }
                _ => {}
            }
            self.count(&fact, report);
        }
        // What is judged silently leaves no fact.
        let hers = player.customer.as_ref().map(|customer| &customer.segments);
        let same =
            hers.is_some_and(|hers| hers.len() == self.segments.len() && hers.keys().all(|name| self.segments.contains(name)));
        if !same {
            self.segments = hers.map(|hers| hers.keys().cloned().collect()).unwrap_or_default();
        }
    }

    /// She is done: her outcome, and where she stands.
    pub fn close(self, id: String, player: &Player<'_>, report: &mut Report) {
        report.customers += 1;
        if let Some(customer) = &player.customer {
            for name in customer.segments.keys() {
                report.segment(name).members += 1;
            }
            for run in customer.runs.iter().filter(|run| run.is_live()) {
                report.funnel(&run.funnel).live += 1;
            }
            report.points_left += customer.loyalty.balance + customer.loyalty.pending;
        }
        report.outcomes.insert(id, self.outcomes);
    }

    fn count(&mut self, fact: &Fact, report: &mut Report) {
        // The day is worked out only where it is needed: most facts move nothing.
        let day = |report: &Report| fact.at.date(report.zone);
        match fact.what {
            What::Event => {
                if let (Some(sign), Some(amount)) = (money_sign(&fact.about), fact.amount) {
                    report.day(day(report)).purchased += sign * amount;
                }
            }
            What::BonusExpired => report.points_expired += fact.amount.unwrap_or(0),
            _ => {}
        }
        report.drawn.take(fact);
        let Some(run) = fact.run.as_ref().filter(|run| !run.funnel.is_empty()) else { return };
        let figures = report.funnel(&run.funnel);
        let moved = figures.take(fact, run);
        if moved != Moved::default() {
            self.spread(&moved, run, day(report), report);
        }
        if OUTWARD.contains(&fact.what) {
            let hers = self.outcomes.entry(run.funnel.clone()).or_default();
            hers.add(fact, &run.variant);
            hers.entered += moved.entered;
            hers.sent += moved.sent;
            hers.points += moved.points;
            hers.money += moved.money;
        }
    }

    /// Counts for the day, and for the segments that she is in.
    fn spread(&self, moved: &Moved, run: &RunRef, day: NaiveDate, report: &mut Report) {
        let of_day = report.day(day);
        of_day.entered += moved.entered;
        of_day.points += moved.points;
        of_day.money += moved.money;
        if moved.sent > 0 {
            *of_day.sent.entry(run.variant.clone()).or_default() += moved.sent;
        }
        if moved.entered > 0 {
            *of_day.entries.entry(run.funnel.clone()).or_default() += moved.entered;
        }
        for name in &self.segments {
            let segment = report.segment(name);
            segment.entries += moved.entered;
            segment.sent += moved.sent;
            segment.points += moved.points;
            segment.goals += moved.goals;
            segment.money += moved.money;
        }
    }
}

/// What one fact moved.
#[derive(PartialEq, Eq, Default)]
struct Moved {
    entered: u64,
    sent: u64,
    points: i64,
    goals: u64,
    money: i64,
}

impl Figures {
    /// Counts one fact of a run.
    fn take(&mut self, fact: &Fact, run: &RunRef) -> Moved {
        let mut moved = Moved::default();
        match fact.what {
            What::Entered => {
                moved.entered = 1;
                self.entered += 1;
            }
            What::NotEntered => self.not_entered += 1,
            What::Sent => {
                moved.sent = 1;
                *self.sent.entry(run.variant.clone()).or_default() += 1;
            }
            What::Granted => {
                moved.points = fact.amount.unwrap_or(0);
                self.grants += 1;
                self.points += moved.points;
            }
            What::Offered => self.offers += 1,
            What::Goal => {
                moved.goals = 1;
                moved.money = fact.amount.unwrap_or(0);
                self.goals += 1;
                self.money += moved.money;
            }
            What::Skipped => self.skipped += 1,
            What::Held => self.held += 1,
            What::Capped => self.capped += 1,
            What::Failed => self.failed += 1,
            What::Finished => self.finished += 1,
            What::Exited => self.exited += 1,
            What::Stopped => self.stopped += 1,
            What::Variant => *self.variants.entry(format!("{} {}", run.step, run.variant)).or_default() += 1,
            _ => {}
        }
        if WHY_NOT.contains(&fact.what) {
            *self.reasons.entry((fact.what.name(), without_numbers(&fact.why))).or_default() += 1;
        }
        moved
    }
}

/// The kinds of fact whose reasons are counted.
const WHY_NOT: &[What] = &[What::NotEntered, What::Skipped, What::Held, What::Capped, What::Failed, What::Exited, What::Stopped];

/// What a customer can notice of a funnel, or what others see of her in it.
const OUTWARD: &[What] =
    &[What::Entered, What::Sent, What::Granted, What::Offered, What::Set, What::Emitted, What::Failed, What::Goal, What::Exited];

/// A reason without dates, times and counts, so that the same reason is counted once.
fn without_numbers(why: &str) -> String {
    let mut out = String::with_capacity(why.len());
    let mut rest = why;
    // A condition is quoted as it is written, numbers included; what varies comes after a semicolon or is a date.
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[at..].find(|c: char| !c.is_ascii_digit() && !"-: ".contains(c)).map_or(rest.len(), |n| at + n);
        let number = rest[at..end].trim_end_matches([' ', ':', '-']);
        out.push_str(&rest[..at]);
        out.push_str(if number.len() >= "2027-03-01".len() { "…" } else { number });
        rest = &rest[at + number.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_counted_once_whatever_its_date() {
        for (why, wanted) in [
            ("re_entry: never again; she entered 2027-03-01 10:00", "re_entry: never again; she entered …"),
            ("quiet hours 21:00–08:00", "quiet hours 21:00–08:00"),
            ("only_if: spent(\"365 days\") >= 500", "only_if: spent(\"365 days\") >= 500"),
            ("not before 2027-03-01 10:00; x 3", "not before …; x 3"),
        ] {
            assert_eq!(without_numbers(why), wanted);
        }
    }
}
