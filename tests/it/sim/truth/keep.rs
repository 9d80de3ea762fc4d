//! What the model keeps for everybody.

use super::super::bug::Bug;
use super::super::stage::{OWN, REMOTE};
use super::{Truth, is_live};
use autofunnel::customer::{Run, RunState, codec};
use autofunnel::lang::time::{HOUR_MS, Time};
use autofunnel::step::winner::Winner;
use autofunnel::store::applied::Applying;
use autofunnel::store::quantity::{Quantity, given};
use autofunnel::store::read::LiveSteps;
use autofunnel::store::{Bundle, Work};
use std::collections::BTreeMap;

impl Truth {
    /// Takes from a quantity.
    pub fn take_quantity(&mut self, quantity: &Quantity, least: i64, want: i64) -> i64 {
        if self.is(Bug::BudgetWithoutEnd) {
            return want;
        }
        let taken = self.quantities.entry(quantity.name.clone()).or_default();
        let got = given(*taken, quantity.most, least, want);
        *taken += got;
        got
    }

    /// Takes back what was not used.
    pub fn return_quantity(&mut self, name: &str, count: i64) {
        if let Some(taken) = self.quantities.get_mut(name) {
            *taken = (*taken - count).max(0);
        }
    }

    /// See [`autofunnel::store::Store::put_definitions`].
    pub fn put_definitions(&mut self, hash: String, funnels: Vec<(String, String)>, bundle: Vec<u8>) {
        self.definitions.retain(|((kept, _), _)| *kept != hash);
        self.definitions.push(((hash, bundle), funnels));
    }

    /// See [`autofunnel::store::Store::definitions`].
    pub fn definitions(&self) -> Vec<Bundle> {
        let Some((current, rest)) = self.definitions.split_last() else { return Vec::new() };
        let mut out = vec![current.0.clone()];
        for run in self.runs.values().filter(|run| is_live(run)) {
            let holds = |funnels: &[(String, String)]| funnels.iter().any(|(_, version)| *version == run.version);
            let newest = rest.iter().rev().find(|(_, funnels)| holds(funnels)).filter(|_| !holds(&current.1));
            if let Some((bundle, _)) = newest.filter(|(bundle, _)| !out.contains(bundle)) {
                out.push(bundle.clone());
            }
        }
        out
    }

    /// See [`autofunnel::store::Store::choose`].
    pub fn choose(&mut self, winner: Winner) -> bool {
        let new = self.winners.iter().all(|one| (&one.funnel, &one.step) != (&winner.funnel, &winner.step));
        if new {
            self.winners.push(winner);
            self.winners.sort_by(|a, b| (&a.funnel, &a.step).cmp(&(&b.funnel, &b.step)));
        }
        new
    }

    /// See [`autofunnel::store::Store::apply`].
    pub fn apply(&mut self, applying: Applying) -> bool {
        let current = self.definitions.last().map_or(String::new(), |((hash, _), _)| hash.clone());
        if current != applying.applied.before {
            return false;
        }
        self.put_definitions(applying.applied.hash.clone(), applying.funnels, applying.bundle);
        self.applied.push(applying.applied);
        true
    }

    /// See [`autofunnel::store::Store::bundle`].
    pub fn bundle(&self, hash: &str) -> Option<Vec<u8>> {
        self.definitions.iter().find(|((kept, _), _)| kept == hash).map(|((_, bundle), _)| bundle.clone())
    }

    /// See [`autofunnel::store::read::ReadSide::live_steps`].
    pub fn live_steps(&self) -> Vec<LiveSteps> {
        let mut counts: BTreeMap<(String, String, String), u64> = BTreeMap::new();
        for run in self.runs.values().filter(|run| is_live(run)) {
            *counts.entry((run.funnel.clone(), run.version.clone(), run.step.clone())).or_default() += 1;
        }
        let row = |((funnel, version, step), count)| LiveSteps { funnel, version, step, count };
        counts.into_iter().map(row).collect()
    }

    /// See [`autofunnel::store::Store::wake_unjudged`].
    pub fn wake_unjudged(&mut self, hash: &str, after: &str, max: usize) -> Vec<String> {
        let others = self.rows.iter().filter(|(id, row)| id.as_str() > after && row.judged != hash);
        let found: Vec<String> = others.map(|(id, _)| id.clone()).take(max).collect();
        self.nudged.extend(found.iter().cloned());
        found
    }

    /// See [`autofunnel::store::Store::prune`].
    pub fn prune(&mut self) -> u64 {
        let now = self.now();
        let old = |at: Time, days: i64| now.since_ms(at) > days * 24 * HOUR_MS;
        let before = self.facts.len() + self.seen.len() + self.messages.len() + self.runs.len();
        self.facts.retain(|told| !old(told.written, 90));
        self.seen.retain(|_, (_, at)| !old(*at, 35));
        self.messages.retain(|message| !old(message.at, 30));
        self.runs.retain(|_, run| is_live(run) || !run.until.is_some_and(|until| old(until, 30)));
        let after = self.facts.len() + self.seen.len() + self.messages.len() + self.runs.len();
        (before - after) as u64
    }

    /// Rows of inbox and outbox.
    pub fn sizes(&self) -> (usize, usize) {
        (self.inbox.len(), self.outbox.len())
    }

    /// Whether somebody could claim something now.
    pub fn has_work(&mut self, which: Work) -> bool {
        let now = self.now();
        match which {
            Work::Effects => self.outbox.values().any(|out| out.due <= now && out.owner.is_none()),
            Work::Turns => {
                let due = self.rows.iter().filter(|(_, row)| row.wake.is_some_and(|wake| wake <= now)).map(|(id, _)| id);
                let inputs = self.inbox.values().map(|letter| &letter.customer);
                due.chain(inputs).chain(&self.nudged).any(|customer| !self.held.contains_key(customer))
            }
        }
    }

    /// The document, decoded; for planted bugs that damage it.
    pub fn redact(document: &[u8], bug: Bug) -> Option<Vec<u8>> {
        let mut customer: autofunnel::customer::Customer = codec::decode(document).ok()?;
        match bug {
            Bug::DoubleCap => customer.sends.clear(),
            Bug::EntriesForgotten => customer.entries.clear(),
            Bug::AllReleased => {
                let held = |run: &&mut Run| matches!(run.state, RunState::Review { .. });
                customer.runs.iter_mut().filter(held).for_each(|run| (run.state, run.released) = (RunState::Ready, true));
            }
            Bug::GiftForgotten => customer.runs.iter_mut().for_each(|run| run.saga = None),
            Bug::MoveForgotten => {
                let before = |run: &mut Run| {
                    let old = [&*OWN, &*REMOTE].into_iter().find_map(|stage| stage.before(&run.version));
                    run.version = old.unwrap_or_else(|| run.version.clone());
                };
                customer.runs.iter_mut().for_each(before);
            }
            _ => return None,
        }
        Some(codec::encode(&customer))
    }
}
