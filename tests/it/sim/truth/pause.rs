//! What a person does with the outbox of the model.

use super::{Out, Truth};
use autofunnel::effect::Outcome;
use autofunnel::event::InputBody;
use autofunnel::lang::time::Time;
use autofunnel::store::Begin;
use autofunnel::store::pause::{PAUSED, Pausable, Pause, RECHECK_MS};
use autofunnel::store::read::Waiting;

impl Truth {
    /// See [`autofunnel::store::Store::pause`].
    pub fn pause(&mut self, pause: Pause) {
        self.pauses = self.pauses.with(pause);
    }

    /// See [`autofunnel::store::Store::resume`].
    pub fn resume(&mut self, of: &Pausable) -> bool {
        let (now, rest) = (self.now(), self.pauses.without(of));
        let there = rest.is_some();
        self.pauses = rest.unwrap_or_else(|| self.pauses.clone());
        for out in self.outbox.values_mut().filter(|out| there && out.owner.is_none() && out.why == PAUSED) {
            out.due = out.due.min(now);
        }
        there
    }

    /// See [`autofunnel::store::Store::pauses`].
    pub fn all_pauses(&self) -> Vec<Pause> {
        self.pauses.list().to_vec()
    }

    fn waiting(&mut self, effect: &str) -> Option<&mut Out> {
        let seq = self.locate(effect)?;
        self.outbox.get_mut(&seq).filter(|out| out.owner.is_none())
    }

    /// See [`autofunnel::store::read::Reads::waiting`].
    pub fn waiting_for(&self, effect: &str, customer: &str) -> Option<Waiting> {
        let out = &self.outbox[&self.locate(effect)?];
        (out.effect.customer == customer).then(|| Waiting {
            effect: out.effect.clone(),
            due: out.due,
            attempts: out.attempts,
            doubtful_since: out.unsure.or(out.begun.filter(|_| out.sending)),
            why: out.why.clone(),
        })
    }

    /// See [`autofunnel::store::Store::hasten`].
    pub fn hasten(&mut self, effect: &str) -> bool {
        let now = self.now();
        let found = self.waiting(effect);
        found.map(|out| out.due = now).is_some()
    }

    /// See [`autofunnel::store::Store::drop_effect`].
    pub fn drop_effect(&mut self, effect: String, customer: String, why: String) -> bool {
        let Some(out) = self.waiting(&effect).filter(|out| out.effect.customer == customer) else { return false };
        let outcome = match out.unsure.is_some() {
            true => Outcome::Unknown { why: format!("{why}; an earlier attempt may have had its effect") },
            false => Outcome::Refused { why },
        };
        self.outbox.retain(|_, out| out.effect.id != effect);
        self.put_in(customer, InputBody::Result { effect, outcome });
        true
    }
}

impl Out {
    /// It must not begin now.
    pub(super) fn hold_paused(&mut self, now: Time) -> Begin {
        let recheck = now.plus_ms(RECHECK_MS);
        let due = self.effect.valid_until.map_or(recheck, |until| recheck.min(until.plus_ms(1)));
        (self.due, self.owner, self.sending, self.why) = (due, None, false, PAUSED.to_owned());
        Begin::Paused
    }
}
