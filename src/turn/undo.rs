//! `undo_on`: what was given is taken back when the order that it was given for is.
//!
//! The run is kept as long as that can happen, also when it has come to its end. Points that are not booked yet are
//! refused when they come; what was spent of them stays spent.

use super::{Pass, Turn};
use crate::account::{self, Command, Reply};
use crate::customer::{Gift, Run};
use crate::fact::What;
use crate::funnel::Funnel;
use crate::lang::time::Time;
use crate::step::StepAt;
use std::sync::Arc;

impl Turn<'_> {
    /// Notes that points are on their way which may have to be taken back.
    pub(super) fn note_gift(&mut self, index: usize, step: &StepAt, key: &str) {
        if step.step.undo().is_none() {
            return;
        }
        let run = &mut self.customer.runs[index];
        let at = run.at;
        // Of one that was decided anew only the last decision counts.
        run.gifts.retain(|gift| gift.step != at || gift.until.is_some());
        run.gifts.push(Gift { step: at, key: key.to_owned(), until: None });
    }

    /// They are hers: so long they may still be taken back.
    pub(super) fn gift_is_hers(&mut self, index: usize, step: &StepAt, key: &str) {
        let Some((_, within)) = step.step.undo() else { return };
        let until = self.now.plus(within, self.zone);
        let gifts = &mut self.customer.runs[index].gifts;
        gifts.iter_mut().filter(|gift| gift.key == key).for_each(|gift| gift.until = Some(until));
    }

    /// Until when a run is kept because of what it gave.
    pub(super) fn gifts_until(run: &Run) -> Option<Time> {
        run.gifts.iter().filter_map(|gift| gift.until).max()
    }

    /// Takes back what was given for what has just been undone, and ends the run that gave it.
    pub(super) fn undo(&mut self, pass: &Pass) {
        if pass.event.is_none() && pass.flips.is_empty() {
            return;
        }
        let giving: Vec<u64> = self.customer.runs.iter().filter(|run| !run.gifts.is_empty()).map(|run| run.id).collect();
        for number in giving {
            let Some(index) = self.customer.runs.iter().position(|run| run.id == number) else { continue };
            let Some(funnel) = self.definitions.funnel(&self.customer.runs[index].version).cloned() else { continue };
            self.undo_of(index, &funnel, pass);
        }
    }

    fn undo_of(&mut self, index: usize, funnel: &Arc<Funnel>, pass: &Pass) {
        let now = self.now;
        let run = &self.customer.runs[index];
        let undone = |gift: &&Gift| {
            let watch = funnel.steps.list.get(gift.step as usize).and_then(|at| at.step.undo());
            gift.until.is_none_or(|until| now <= until) && watch.is_some_and(|(watch, _)| self.sees(watch, run, pass))
        };
        let gifts: Vec<Gift> = run.gifts.iter().filter(undone).cloned().collect();
        if gifts.is_empty() {
            return;
        }
        for gift in &gifts {
            let points = self.take_away(&gift.key);
            let step = funnel.steps.list.get(gift.step as usize);
            let why = step.and_then(|at| at.step.undo()).map(|(watch, _)| watch.sentence()).unwrap_or_default();
            let fact = self.run_fact(index, funnel, What::Undone, format!("{points} points"), why);
            fact.amount = Some(points);
            if let (Some(run), Some(step)) = (&mut fact.run, step) {
                run.step.clone_from(&step.id);
            }
        }
        let run = &mut self.customer.runs[index];
        run.gifts.retain(|gift| !gifts.contains(gift));
        if run.is_live() {
            self.run_fact(index, funnel, What::Exited, "undo_on", "what it gave was taken back");
            self.end_run(index, "exited");
        }
    }

    /// Takes points away; says how many were left of them.
    fn take_away(&mut self, key: &str) -> i64 {
        let left = self.account.lots().find(|lot| lot.key == key).map(|lot| lot.left);
        self.account = match left {
            Some(_) => {
                let command = Command::Return { key: format!("undo:{key}"), of: key.to_owned() };
                let (account, reply) = account::apply(&self.account, &command, self.now, self.zone);
                if let Reply::Refused { why } = reply {
                    self.fact(What::Alert, key, why);
                    return 0;
                }
                account
            }
            None => account::cancel(&self.account, key, self.now),
        };
        self.account_moved = true;
        self.mirror();
        left.unwrap_or(0)
    }
}
