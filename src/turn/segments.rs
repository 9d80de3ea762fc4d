//! Segments and tier: judged when something that they can depend on has changed, entered and left at the exact instant.

use super::view::View;
use super::{HOPS_MAX, Pass, Pending, Turn};
use crate::event::Event;
use crate::fact::What;
use crate::lang::cel::Verdict;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};

/// A segment that she entered or left.
struct Change {
    segment: String,
    entered: bool,
    verdict: Verdict,
}

impl Turn<'_> {
    /// Judges segments and tier when something they can depend on has changed, and notes the flips.
    pub(super) fn judge_segments(&mut self, pass: &mut Pass) {
        let due = self.customer.judged_until.is_some_and(|until| until <= self.now);
        let never = self.customer.judged_until.is_none() && self.customer.segments.is_empty() && self.customer.last_run == 0;
        let touched = pass.event.as_ref().is_some_and(|event| self.workspace.keeps.contains_key(&event.name));
        if !(due || never || touched || pass.profile || pass.points || pass.silent) {
            return;
        }
        let silent = pass.silent;
        let changes = self.judge(true, silent, pass.depth);
        let changes = if silent { self.backfilled(changes) } else { changes };
        if changes.is_empty() {
            return;
        }
        if pass.depth > HOPS_MAX {
            let why = format!("more than {HOPS_MAX} hops of emitted events and segment changes; nothing follows from this one");
            self.fact(What::Alert, changes[0].segment.clone(), why);
            return;
        }
        pass.flips.extend(changes.into_iter().map(|change| (change.segment, change.entered)));
    }

    /// Judges without anybody noticing: after a change of definitions. Only of segments that ask for it somebody does.
    pub(super) fn judge_segments_silently(&mut self) {
        let changes = self.judge(false, true, 0);
        let flips: Vec<(String, bool)> =
            self.backfilled(changes).into_iter().map(|change| (change.segment, change.entered)).collect();
        if flips.is_empty() {
            return;
        }
        for (segment, _) in &flips {
            self.fact(What::SegmentEntered, segment.clone(), "backfill: found by a new definition");
        }
        self.entries(&Pass { flips, ..Pass::default() });
        self.advance(0);
    }

    /// Of what was found silently, what starts funnels all the same.
    fn backfilled(&self, mut changes: Vec<Change>) -> Vec<Change> {
        let asks = |name: &str| self.workspace.segments.get(name).is_some_and(|segment| segment.backfill);
        changes.retain(|change| change.entered && asks(&change.segment));
        changes
    }

    /// Judges the tier, which sees no segments, then every segment in the order in which they name each other: so each
    /// is judged once, and what it depends on is final by then.
    fn judge(&mut self, facts: bool, silent: bool, depth: u8) -> Vec<Change> {
        let mut until: Option<Time> = None;
        self.judge_tier(&mut until, facts, silent, depth);
        let changes = self.judge_all(&mut until);
        for change in &changes {
            self.flip(change, facts, silent);
        }
        // Conditions read `customer.membership.active`, which time changes, as a plain field.
        let ends = self.customer.membership.as_ref().and_then(|membership| membership.ends);
        earlier(&mut until, ends.filter(|ends| *ends > self.now));
        self.customer.judged_until = until;
        changes
    }

    fn judge_all(&mut self, until: &mut Option<Time>) -> Vec<Change> {
        let mut changes = Vec::new();
        for segment in self.workspace.segments.list() {
            let (is, holds_until) = segment.when.holds(&self.view(), *until);
            *until = holds_until;
            if is == self.customer.segments.contains_key(&segment.name) {
                continue;
            }
            // Only of what changes it is told what it depended on.
            let verdict = segment.when.judge(&self.view());
            if is {
                self.customer.segments.insert(segment.name.clone(), self.now);
            } else {
                self.customer.segments.remove(&segment.name);
            }
            changes.push(Change { segment: segment.name.clone(), entered: is, verdict });
        }
        changes
    }

    fn flip(&mut self, change: &Change, facts: bool, silent: bool) {
        if !facts {
            return;
        }
        let what = if change.entered { What::SegmentEntered } else { What::SegmentLeft };
        let starts = change.entered && self.workspace.segments.get(&change.segment).is_some_and(|segment| segment.backfill);
        let why = match silent {
            true if starts => "backfill: found by an import",
            true => "found by an import; nothing starts",
            false => "",
        };
        let seen = change.verdict.seen.clone();
        self.fact(what, change.segment.clone(), why).seen = seen;
    }

    /// The highest tier whose condition holds.
    fn judge_tier(&mut self, until: &mut Option<Time>, facts: bool, silent: bool, depth: u8) {
        // Where a remote store says what tier she has, the catalog does not.
        if self.workspace.settings.loyalty_store.as_ref().is_some_and(|store| store.says("tier")) {
            return;
        }
        let (tier, holds_until) = self.workspace.catalog.tier_of(&self.view());
        earlier(until, holds_until);
        let name = tier.map_or("", |tier| &tier.name);
        if name != self.customer.loyalty.tier {
            let seen = self.workspace.catalog.judge_tier(&self.view()).seen;
            self.tier_is(name.to_owned(), seen, (facts, silent), depth);
        }
    }

    /// Her tier is this one now.
    pub(super) fn tier_is(&mut self, tier: String, seen: Vec<(String, Value)>, (facts, silent): (bool, bool), depth: u8) {
        if tier == self.customer.loyalty.tier {
            return;
        }
        let from = std::mem::replace(&mut self.customer.loyalty.tier, tier.clone());
        if facts {
            let why = if from.is_empty() { String::new() } else { format!("from {from}") };
            self.fact(What::TierChanged, if tier.is_empty() { "none" } else { &tier }, why).seen = seen;
        }
        if !silent {
            let mut properties = Fields::new();
            for (name, value) in [("tier", &tier), ("from", &from)] {
                if !value.is_empty() {
                    properties.insert(name.to_owned(), Value::Text(value.clone()));
                }
            }
            let id = format!("tier_changed:{}:{tier}", self.now.0);
            self.emit(Event {
                id,
                name: "tier_changed".to_owned(),
                time: self.now,
                properties,
                minor: None,
                depth: depth.saturating_add(1),
            });
        }
    }

    /// What conditions without event or run see.
    pub(super) fn view(&self) -> View<'_> {
        View { workspace: self.workspace, customer: &self.customer, now: self.now, zone: self.zone, event: None, run: None }
    }

    /// An event of the engine's own, if anybody cares about it.
    pub(super) fn emit(&mut self, event: Event) {
        let cared_for = self.workspace.keeps.contains_key(&event.name)
            || self.workspace.by_event.contains_key(&event.name)
            || self.customer.runs.iter().any(|run| run.is_live());
        if cared_for {
            self.pending.push_back(Pending::Event(event));
        }
    }
}

/// Keeps the earlier of two instants.
pub(super) fn earlier(until: &mut Option<Time>, other: Option<Time>) {
    if let Some(other) = other {
        *until = Some(until.map_or(other, |until| until.min(other)));
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Event, InputBody};
    use crate::fact::What;
    use crate::funnel::{self, Definitions, Files};
    use crate::lang::diag::Faults;
    use crate::lang::time::{DAY_MS, Time};
    use crate::lang::value::Fields;
    use crate::play::Player;
    use std::sync::Arc;

    fn definitions(segments: &str) -> Definitions {
        let settings = "workspace: Shop\nzone: UTC\ncurrency: EUR\n";
        let files: Files = [("autofunnel.yaml", settings), ("segments.yaml", segments)]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into();
        let mut faults = Faults::default();
        Definitions::new(Arc::new(funnel::compile(&files, &mut faults).unwrap_or_else(|| panic!("{:?}", faults.list()))))
    }

    fn day(n: i64) -> Time {
        Time::parse("2027-03-01T09:00:00Z").unwrap().plus_ms(n * DAY_MS)
    }

    fn player<'a>(definitions: &'a Definitions, purchases: &[i64]) -> Player<'a> {
        let mut player = Player::new(definitions, "c", day(purchases[0]));
        for n in purchases {
            let (id, name, time) = (format!("p{n}"), "purchase".to_owned(), day(*n));
            let event = Event { id, name, time, properties: Fields::new(), minor: Some(1_000), depth: 0 };
            player.input(time, InputBody::Event(event));
        }
        player
    }

    #[test]
    fn a_count_that_changes_without_changing_the_answer_needs_no_turn() {
        for (when, wake) in [
            ("count(\"purchase\", \"90 days\") >= 1", 110),
            ("1 <= count(\"purchase\", \"90 days\")", 110),
            ("count(\"purchase\", \"90 days\") > 1", 100),
            ("count(\"purchase\", \"90 days\") == 0", 110),
            ("count(\"purchase\", \"90 days\") == 2", 90),
            ("count(\"purchase\", \"90 days\") < 3", 90),
        ] {
            let definitions = definitions(&format!("s: {{ when: {when:?} }}\n"));
            let mut player = player(&definitions, &[0, 10, 20]);
            assert_eq!(player.wake, Some(day(wake)), "{when}");
            let was = player.customer.as_ref().unwrap().segments.contains_key("s");
            player.run_until(day(200));
            let flips: Vec<(What, Time)> = player
                .facts
                .iter()
                .filter(|fact| matches!(fact.what, What::SegmentEntered | What::SegmentLeft) && fact.at > day(20))
                .map(|fact| (fact.what, fact.at))
                .collect();
            let first = if was { What::SegmentLeft } else { What::SegmentEntered };
            assert_eq!(flips.first().copied(), Some((first, day(wake.max(90)))), "{when}");
        }
    }

    #[test]
    fn segments_that_name_each_other_settle_in_one_look_and_say_why() {
        let segments = "\
all: { when: in_segment(\"many\") && in_segment(\"spender\") }
many: { when: purchases() >= 2 }
spender: { when: spent(\"30 days\") >= 20 }
";
        let definitions = definitions(segments);
        let player = player(&definitions, &[0, 10]);
        let entered: Vec<&str> =
            player.facts.iter().filter(|fact| fact.what == What::SegmentEntered).map(|fact| fact.about.as_str()).collect();
        assert_eq!(entered, ["many", "spender", "all"]);
        assert!(
            player
                .facts
                .iter()
                .filter(|fact| fact.what == What::SegmentEntered)
                .all(|fact| fact.at == day(10) && !fact.seen.is_empty())
        );
        // Twenty euros until the first purchase is 30 days old.
        assert_eq!(player.wake, Some(day(30)));
    }
}
