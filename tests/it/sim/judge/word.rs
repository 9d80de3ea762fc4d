//! What people and budgets forbid: what is paused does not begin, what is looked at first waits for a word, and no
//! budget is exceeded.

use super::super::stage::BONUS_MOST;
use super::Judge;
use autofunnel::effect::Effect;
use autofunnel::fact::{Fact, What};
use autofunnel::lang::time::Time;
use autofunnel::store::pause::{Pausable, Pause};

/// The funnel whose steps a person looks at first.
const LOOKED_AT: &str = "looked";
/// The funnel with a budget.
const BUDGETED: &str = "bonus";

impl Judge {
    /// Something is paused from now on.
    pub fn paused(&mut self, pause: &Pause) {
        self.pauses = self.pauses.with(pause.clone());
    }

    /// A pause has ended: what waited for it may leave.
    pub fn resumed(&mut self, now: Time, of: &Pausable, there: bool) {
        match self.pauses.without(of) {
            Some(rest) if there => self.pauses = rest,
            None if !there => return,
            known => {
                let is = if known.is_some() { "is" } else { "is not" };
                return self.blame(format!("{} {is} paused, and the store says otherwise", of.name()));
            }
        }
        for shadow in self.outbox.values_mut().filter(|shadow| shadow.paused && shadow.hand.is_none()) {
            shadow.due = shadow.due.min(now);
        }
    }

    /// A person has said something to a step.
    pub(super) fn said(&mut self, customer: &str, effect: &str, release: bool) {
        let her = self.hers.entry(customer.to_owned()).or_default();
        // After a yes a step may be held once more, where its time had passed: any yes will do.
        *her.words.entry(step_of(effect).to_owned()).or_default() |= release;
    }

    /// An effect was planned: if a person has to look at it first, one has, and has said yes.
    pub(super) fn was_looked_at(&mut self, effect: &Effect) {
        if effect.funnel != LOOKED_AT {
            return;
        }
        let her = self.hers.get(&effect.customer);
        match her.and_then(|her| her.words.get(step_of(&effect.id))) {
            Some(true) => {}
            Some(false) => self.blame(format!("{} was planned, and somebody had said no", effect.id)),
            None => self.blame(format!("{} was planned, and nobody has looked at it", effect.id)),
        }
    }

    /// Points of the budget were given.
    pub(super) fn spends(&mut self, by: &'static str, points: i64) {
        let spent = self.spent.entry(by).or_default();
        *spent += points;
        let spent = *spent;
        if points > 0 && spent > BONUS_MOST {
            self.blame(format!("{spent} points were given by the {by}, the budget is {BONUS_MOST}"));
        }
    }

    /// Whether a provider gives points of the budget.
    pub(super) fn is_budgeted(effect: &Effect) -> bool {
        effect.funnel == BUDGETED
    }
}

/// The points of the budget that a fact gives.
pub(super) fn bonus_of(fact: &Fact) -> Option<i64> {
    let of_funnel = fact.run.as_ref().is_some_and(|run| run.funnel == BUDGETED);
    fact.amount.filter(|_| fact.what == What::Granted && of_funnel)
}

/// Customer, run and step of an effect.
fn step_of(effect: &str) -> &str {
    effect.rfind('/').map_or(effect, |at| &effect[..at])
}
