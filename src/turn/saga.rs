//! A gift to two: the customer's own points are held, then the other's; when both are, both are given.
//!
//! ```text
//! own held ─ yes ─► other's held ─ yes ─► both confirmed: hers here and now, the other's by a word to her
//!    └─ no             └─ no, too late, or the run ends ─► both taken back, in the same way
//! ```
//! What is decided is decided with the commit of this customer's turn. From then on the word to the other is an
//! errand in the outbox: it is told until it has arrived, whatever becomes of the run.

use super::Turn;
use super::advance::Next;
use super::tell::points_of;
use crate::account;
use crate::customer::{RunState, Saga};
use crate::effect::{Effect, EffectKind, OnUncertain, Outcome, Tell, Word};
use crate::fact::What;
use crate::funnel::Funnel;
use crate::lang::time::Span;
use crate::lang::value::Fields;
use crate::step::{Flow, GrantPlan, StepAt};
use std::sync::Arc;

/// What stands behind the step's name in the effect that asks the other.
const OTHER: &str = ":other";

impl Turn<'_> {
    /// The first part: her own points are held.
    pub(super) fn both(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        (own, to): (GrantPlan, String),
        within: Span,
    ) -> Next {
        if let Err(why) = self.is_another(&to) {
            return self.fail(index, funnel, step, why, step.on_error);
        }
        let deadline = self.real_now.max(self.now).plus(within, self.zone);
        let number = self.customer.runs[index].id;
        let next = self.grant(index, funnel, step, own, true);
        if let Some(run) = self.customer.runs.iter_mut().find(|run| run.id == number)
            && let RunState::Effect { id } = &run.state
        {
            run.saga = Some(Saga { own: id.clone(), other: None, to, deadline });
        }
        next
    }

    /// An answer to one of the parts was yes. True: the gift goes on, or is through; false: it is no part of one.
    pub(super) fn part_held(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, effect: &str, data: &Fields) -> Part {
        let Some(saga) = self.customer.runs[index].saga.clone() else { return Part::None };
        if effect == saga.own {
            self.run_fact(index, funnel, What::Promised, step.id.clone(), "until the other is certain too").amount =
                points_of(data);
            return self.ask_other(index, funnel, step, saga);
        }
        self.customer.runs[index].saga = None;
        let (account, reply) = account::confirm(&self.account, &saga.own, self.now);
        self.account = account;
        self.account_moved = true;
        self.mirror();
        let word = Word::Confirm { of: effect.to_owned() };
        self.send_word(index, step, "confirm", &saga.to, word);
        let what = step.step.tells().unwrap_or_default();
        self.run_fact(index, funnel, What::Told, what, format!("to {}", saga.to));
        match reply.map(|reply| reply.outcome()) {
            Some(Outcome::Accepted { data, .. }) => Part::Through(data),
            _ => Part::Through(Fields::new()),
        }
    }

    /// The second part: the other's points are to be held.
    fn ask_other(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, saga: Saga) -> Part {
        let flow = self.with_step(index, funnel, |cx| step.step.advance(cx));
        let Flow::Both { others, .. } = flow else {
            self.give_up(index, step);
            return Part::Lost("the other is not known any more".to_owned());
        };
        let id = self.effect_id(index, &format!("{}{OTHER}", step.id));
        let word = self.gift(index, others, true);
        let run = &self.customer.runs[index];
        self.effects.push(Effect {
            id: id.clone(),
            customer: self.customer.id.clone(),
            run: run.id,
            funnel: run.funnel.clone(),
            version: run.version.clone(),
            step: step.id.clone(),
            decided_at: self.real_now.max(self.now),
            valid_until: None,
            gate: self.customer.gate,
            on_uncertain: OnUncertain::Resend,
            kind: EffectKind::Tell(Tell { to: saga.to.clone(), word }),
        });
        let run = &mut self.customer.runs[index];
        run.state = RunState::Effect { id: id.clone() };
        run.saga = Some(Saga { other: Some(id), ..saga });
        Part::Waits
    }

    /// What is held for a gift is taken back on both sides. What is certain already stays: then there is no gift
    /// under way any more.
    pub(super) fn give_up(&mut self, index: usize, step: &StepAt) {
        let Some(saga) = self.customer.runs[index].saga.take() else { return };
        self.account = account::cancel(&self.account, &saga.own, self.now);
        self.account_moved = true;
        self.mirror();
        for effect in [Some(saga.own), saga.other.clone()].into_iter().flatten() {
            match self.effects.iter().position(|planned| planned.id == effect) {
                Some(at) => drop(self.effects.remove(at)),
                None => self.withdrawn.push(effect),
            }
        }
        if let Some(of) = saga.other {
            self.send_word(index, step, "cancel", &saga.to, Word::Cancel { of });
        }
    }

    /// The time of a gift that is under way is up.
    pub(super) fn saga_due(&mut self, index: usize) {
        let due = self.customer.runs[index].saga.as_ref().map(|saga| saga.deadline).filter(|deadline| *deadline <= self.now);
        let Some(deadline) = due else { return };
        let version = self.customer.runs[index].version.clone();
        let funnel = self.definitions.funnel(&version).cloned();
        let at = self.customer.runs[index].at as usize;
        let Some((funnel, step)) = funnel.as_ref().and_then(|funnel| Some((funnel, funnel.steps.list.get(at)?))) else {
            self.customer.runs[index].saga = None;
            self.customer.runs[index].state = RunState::Ready;
            return;
        };
        self.give_up(index, step);
        let why = format!("the other had not answered by {}", self.clock_text(deadline));
        self.failed(index, funnel, step, Outcome::Refused { why });
    }

    /// A word to the other that is told whatever becomes of the run.
    fn send_word(&mut self, index: usize, step: &StepAt, what: &str, to: &str, word: Word) {
        let id = self.effect_id(index, &format!("{}:{what}", step.id));
        let run = &self.customer.runs[index];
        let (funnel, version) = (run.funnel.clone(), run.version.clone());
        self.errand(id, (&funnel, &version), to, word);
    }
}

/// What an answer means for a gift to two.
pub(super) enum Part {
    /// There is none.
    None,
    /// It goes on.
    Waits,
    /// It cannot go on.
    Lost(String),
    /// Both are given; what her own account says.
    Through(Fields),
}
