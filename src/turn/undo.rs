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
        run.gifts.push(Gift { step: at, key: key.to_owned(), until: None, returned: 0, taken: 0 });
    }

    /// They are hers: so long they may still be taken back.
    pub(super) fn gift_is_hers(&mut self, index: usize, step: &StepAt, key: &str) {
        let Some((_, within)) = step.step.undo() else { return };
        let until = self.now.plus(within, self.zone);
        let gifts = &mut self.customer.runs[index].gifts;
        gifts.iter_mut().filter(|gift| gift.key == key).for_each(|gift| gift.until = Some(until));
        // A part of the order was given back while they were on their way.
        let given_back = gifts.iter().any(|gift| gift.key == key && gift.returned > 0);
        if let (true, Some(funnel)) = (given_back, self.definitions.funnel(&self.customer.runs[index].version).cloned()) {
            self.lessen(index, &funnel, key);
        }
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
        let (parts, whole): (Vec<Gift>, Vec<Gift>) = gifts.into_iter().partition(|gift| self.is_part(index, funnel, gift, pass));
        for gift in parts {
            let returned = pass.event.as_ref().and_then(|event| event.minor).unwrap_or(0);
            let own = self.customer.runs[index].gifts.iter_mut().find(|own| own.key == gift.key);
            own.into_iter().for_each(|own| own.returned = own.returned.saturating_add(returned));
            self.lessen(index, funnel, &gift.key);
        }
        if whole.is_empty() {
            return;
        }
        for gift in &whole {
            let points = self.take_away(&gift.key);
            self.undone(index, funnel, gift, points);
        }
        let run = &mut self.customer.runs[index];
        run.gifts.retain(|gift| whole.iter().all(|undone| undone.key != gift.key));
        if run.is_live() {
            self.run_fact(index, funnel, What::Exited, "undo_on", "what it gave was taken back");
            self.end_run(index, "exited");
        }
    }

    fn undone(&mut self, index: usize, funnel: &Arc<Funnel>, gift: &Gift, points: i64) {
        let step = funnel.steps.list.get(gift.step as usize);
        let why = step.and_then(|at| at.step.undo()).map(|(watch, _)| watch.sentence()).unwrap_or_default();
        let fact = self.run_fact(index, funnel, What::Undone, format!("{points} points"), why);
        fact.amount = Some(points);
        if let (Some(run), Some(step)) = (&mut fact.run, step) {
            run.step.clone_from(&step.id);
        }
    }

    /// Whether only a part of the order is given back, with what was given back before, and the step takes no more
    /// than that part was worth. Where amounts are not known it is the whole.
    fn is_part(&self, index: usize, funnel: &Arc<Funnel>, gift: &Gift, pass: &Pass) -> bool {
        let shares = funnel.steps.list.get(gift.step as usize).is_some_and(|at| at.step.undo_shares());
        let returned = pass.event.as_ref().and_then(|event| event.minor).filter(|minor| *minor > 0);
        let whole = self.paid(index);
        shares && returned.zip(whole).is_some_and(|(returned, whole)| gift.returned.saturating_add(returned) < whole)
    }

    /// What was paid for the order that a run is about, in minor units.
    fn paid(&self, index: usize) -> Option<i64> {
        self.customer.runs[index].event.as_ref().and_then(|event| event.minor).filter(|minor| *minor > 0)
    }

    /// Takes so many points of a gift that what is left of it is what the rest of the order is worth: the same whether
    /// it is given back at once or piece by piece. What is not booked yet is lessened when it is.
    fn lessen(&mut self, index: usize, funnel: &Arc<Funnel>, key: &str) {
        let Some(gift) = self.customer.runs[index].gifts.iter().find(|gift| gift.key == key).cloned() else { return };
        let (Some(points), Some(paid)) = (self.account.lots().find(|lot| lot.key == key).map(|lot| lot.points), self.paid(index))
        else {
            return;
        };
        let rest = i128::from((paid - gift.returned).max(0));
        let kept = i64::try_from(i128::from(points) * rest / i128::from(paid)).unwrap_or(points);
        let wanted = points - kept - gift.taken;
        let (account, taken) = account::lessen(&self.account, key, wanted, self.now);
        if let Some(own) = self.customer.runs[index].gifts.iter_mut().find(|gift| gift.key == key) {
            own.taken += wanted;
        }
        if taken > 0 {
            self.account = account;
            self.account_moved = true;
            self.mirror();
            self.undone(index, funnel, &gift, taken);
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
