//! Budgets of rewards, as far as nobody has to be asked: which quantities a grant takes its points from, and the words
//! when one of them has no room. Who keeps count is elsewhere: live engines in their store, a simulation by itself.

use crate::effect::{Effect, EffectKind, Word};
use crate::fact::{Fact, RunRef, What};
use crate::funnel::settings::Settings;
use crate::funnel::settings::budget::Budget;
use crate::lang::time::Time;

/// Begins the reason of a refusal by a budget, and is who pauses its funnel.
pub const BUDGET: &str = "budget";

/// The points that an effect takes out of budgets; `None`: it gives none.
pub fn points(effect: &Effect) -> Option<i64> {
    match &effect.kind {
        EffectKind::Grant(grant) => Some(grant.points),
        _ => None,
    }
}

/// The points that an effect asks another customer's turn to give; they are taken when they are booked for her.
pub fn points_asked_for(effect: &Effect) -> Option<i64> {
    match &effect.kind {
        EffectKind::Tell(tell) => match &tell.word {
            Word::Grant { grant, .. } => Some(grant.points),
            _ => None,
        },
        _ => None,
    }
}

/// The budgets of all customers together that count what a funnel gives.
pub fn concerned<'s>(settings: &'s Settings, funnel: &str) -> impl Iterator<Item = &'s Budget> {
    settings.budgets.iter().filter(move |budget| !budget.each_customer && budget.concerns(funnel))
}

/// Why a grant is refused that has no room in a budget.
pub fn refusal(sentence: &str) -> String {
    format!("{BUDGET}: {sentence}")
}

/// What a person is told when a budget is used up.
pub fn alert(effect: &Effect, sentence: &str, at: Time) -> Fact {
    let run = RunRef {
        funnel: effect.funnel.clone(),
        version: effect.version.chars().take(8).collect(),
        run: effect.run,
        step: String::new(),
        variant: String::new(),
        origin: None,
    };
    Fact {
        at,
        what: What::Alert,
        about: BUDGET.to_owned(),
        run: Some(run),
        why: format!("{sentence}: it is used up, and the funnel is paused"),
        seen: Vec::new(),
        amount: None,
    }
}
