//! What customers' runs tell each other: a word leaves as an effect and comes into the other's inbox as an input,
//! known again by the effect's id. What it does to her is decided in her own turn.

use super::advance::Next;
use super::goals::short;
use super::view::View;
use super::{HOPS_MAX, Pending, Turn};
use crate::account;
use crate::customer::Asked;
use crate::effect::{Effect, EffectKind, Grant, OnUncertain, Outcome, Tell, Word};
use crate::event::{Event, NAME_BYTES_MAX, Told};
use crate::fact::{Fact, RunRef, What};
use crate::funnel::Funnel;
use crate::lang::value::{Fields, Value};
use crate::step::{GrantPlan, StepAt};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Most grants of other customers' runs whose booking is on its way, of one customer.
pub const ASKED_MAX: usize = 50;

impl Turn<'_> {
    /// A step tells another customer something; the run waits until that is in her inbox, or answered.
    pub(super) fn tell(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, to: String, word: Word) -> Next {
        if !self.leave_unless_while(index, funnel) {
            return Next::Rest;
        }
        if let Err(why) = self.is_another(&to) {
            return self.fail(index, funnel, step, why, step.on_error);
        }
        if let Word::Event { depth, .. } | Word::Grant { depth, .. } = &word
            && *depth > HOPS_MAX
        {
            return self.too_many_hops(index, funnel, step.id.clone());
        }
        let kind = EffectKind::Tell(Tell { to, word });
        self.plan(index, funnel, step, kind, None, OnUncertain::Resend).map_or_else(|next| next, |_| Next::Rest)
    }

    /// Points for another customer.
    pub(super) fn grant_other(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, plan: GrantPlan, to: String) -> Next {
        let word = self.gift(index, plan, false);
        self.tell(index, funnel, step, to, word)
    }

    /// Points as they are asked for. Who keeps them, and what is sent there, is for her own turn to say.
    pub(super) fn gift(&self, index: usize, plan: GrantPlan, held: bool) -> Word {
        let GrantPlan { points, reason, active_after, expires_after, expires: _ } = plan;
        let grant = Grant { points, reason, active_after, expires_after, provider: None, variables: Fields::new(), held };
        Word::Grant { grant, depth: self.hops(index, 0).saturating_add(1) }
    }

    /// Whether an id can be another customer's.
    pub(super) fn is_another(&self, to: &str) -> Result<(), String> {
        if to.trim().is_empty() || to.len() > NAME_BYTES_MAX || to.chars().any(char::is_control) {
            let shown: String = to.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(format!("to: `{shown}` is no customer's id"));
        }
        if to == self.customer.id {
            return Err("to: it names the customer herself".to_owned());
        }
        Ok(())
    }

    /// An errand of the engine's own: no run waits for it.
    pub(super) fn errand(&mut self, id: String, (funnel, version): (&str, &str), to: &str, word: Word) {
        let step = id.rsplit('/').nth(1).unwrap_or_default().to_owned();
        self.effects.push(Effect {
            id,
            customer: self.customer.id.clone(),
            run: 0,
            funnel: funnel.to_owned(),
            version: version.to_owned(),
            step,
            decided_at: self.real_now.max(self.now),
            valid_until: None,
            gate: self.customer.gate,
            on_uncertain: OnUncertain::Resend,
            kind: EffectKind::Tell(Tell { to: to.to_owned(), word }),
        });
    }

    /// Another customer's run has told her something.
    pub(super) fn told(&mut self, told: Told) {
        match told.word.clone() {
            Word::Grant { grant, depth } => self.asked_for(told, grant, depth),
            Word::Confirm { of } => self.confirmed(&told, &booking(&self.customer.id, &of)),
            Word::Cancel { of } => {
                self.account = account::cancel(&self.account, &booking(&self.customer.id, &of), self.now);
                self.account_moved = true;
                self.mirror();
            }
            // Events and answers come in by ways of their own.
            Word::Event { .. } | Word::Answer { .. } => {
                self.fact(What::Refused, told.effect, "it cannot be told like this; report this as a fault of the engine");
            }
        }
    }

    /// Points are to be hers: they are booked like any other, and who gives them is answered.
    fn asked_for(&mut self, told: Told, grant: Grant, depth: u8) {
        let id = booking(&self.customer.id, &told.effect);
        if self.customer.asked.iter().any(|asked| asked.booking == id) {
            return;
        }
        let provider = self.workspace.settings.loyalty.clone();
        let mut asked = Asked {
            booking: id.clone(),
            effect: told.effect,
            from: told.from,
            funnel: told.funnel,
            version: told.version,
            reason: grant.reason.clone(),
            held: grant.held,
            unknown: None,
            depth,
            grant: None,
        };
        if grant.held && provider.is_some() {
            return self.answer(&asked, Outcome::Refused { why: "a remote store cannot hold points back".to_owned() });
        }
        if self.customer.asked.len() >= ASKED_MAX {
            return self.answer(&asked, Outcome::Refused { why: format!("more than {ASKED_MAX} gifts to her are on their way") });
        }
        if let Some(why) = self.over_her_budget(&asked.funnel, grant.points) {
            return self.answer(&asked, Outcome::Refused { why });
        }
        self.count_points(&asked.funnel, grant.points, id.clone());
        let paths = provider.as_ref().and_then(|name| self.workspace.settings.provider_variables.get(name));
        let variables = View { event: None, run: None, ..self.view() }.freeze(paths.map(Vec::as_slice).unwrap_or_default());
        let remote = provider.is_some();
        let effect = Effect {
            step: id.rsplit('/').nth(1).unwrap_or_default().to_owned(),
            id,
            customer: self.customer.id.clone(),
            run: 0,
            funnel: asked.funnel.clone(),
            version: asked.version.clone(),
            decided_at: self.real_now.max(self.now),
            valid_until: None,
            gate: self.customer.gate,
            on_uncertain: OnUncertain::Hold,
            kind: EffectKind::Grant(Grant { provider, variables, ..grant }),
        };
        asked.grant = remote.then(|| Box::new(effect.clone()));
        self.effects.push(effect);
        self.customer.asked.push(asked);
    }

    /// A person says that points which another's run gives her were not booked, and are to be: they are asked for under
    /// the same key, which is her ledger's. False: nobody waits for a word on such a booking.
    pub(super) fn gift_again(&mut self, booking: &str, why: &str) -> bool {
        let waits = |asked: &Asked| asked.booking == booking && asked.unknown.is_some();
        let Some(at) = self.customer.asked.iter().position(waits) else { return false };
        let Some(grant) = self.customer.asked[at].grant.clone() else { return false };
        self.customer.asked[at].unknown = None;
        let asked = self.customer.asked[at].clone();
        self.gift_fact(What::Redecided, &asked, None).why = why.to_owned();
        self.effects.push(Effect { gate: self.customer.gate, ..*grant });
        true
    }

    /// What came of a booking that another customer's run has asked for; false: none has.
    pub(super) fn asked_result(&mut self, effect: &str, outcome: &Outcome) -> bool {
        let Some(at) = self.customer.asked.iter().position(|asked| asked.booking == effect) else { return false };
        if let Outcome::Parked { why, grant, alert } = outcome {
            self.keep_parked((**grant).clone(), why.clone(), *alert);
            return true;
        }
        // One that was parked is hers, or nobody's, by its last answer.
        if self.waits_on(effect, outcome) {
            return true;
        }
        let asked = self.customer.asked[at].clone();
        match outcome {
            // Kept above, until the store books it.
            Outcome::Parked { .. } => return true,
            Outcome::Accepted { data, .. } if asked.held => {
                let points = points_of(data);
                self.gift_fact(What::Promised, &asked, points);
            }
            Outcome::Accepted { data, .. } => self.gift_booked(&asked, data.clone()),
            // Nobody knows: a person says what became of it, and then who gives them is answered.
            Outcome::Unknown { why } => {
                self.gift_fact(What::Failed, &asked, None).why = format!("unknown: {why}");
                self.customer.asked[at].unknown = Some(why.clone());
                return true;
            }
            Outcome::Refused { why } | Outcome::Dead { why, .. } => {
                self.gift_fact(What::Failed, &asked, None).why = format!("{}: {why}", outcome.name());
            }
        }
        self.customer.asked.remove(at);
        self.answer(&asked, outcome.clone());
        true
    }

    fn answer(&mut self, asked: &Asked, outcome: Outcome) {
        let id = format!("{}/0/answer:{}/1", self.customer.id, digest(&asked.effect));
        let word = Word::Answer { of: asked.effect.clone(), outcome };
        self.errand(id, (&asked.funnel, &asked.version), &asked.from, word);
    }

    /// Points that were held for her are hers.
    fn confirmed(&mut self, told: &Told, key: &str) {
        let reason = self.account.lots().find(|lot| lot.key == key).map(|lot| lot.reason.to_owned()).unwrap_or_default();
        let (account, reply) = account::confirm(&self.account, key, self.now);
        let Some(Outcome::Accepted { data, .. }) = reply.map(|reply| reply.outcome()) else { return };
        self.account = account;
        self.account_moved = true;
        self.mirror();
        let asked = Asked {
            booking: key.to_owned(),
            effect: told.effect.clone(),
            from: told.from.clone(),
            funnel: told.funnel.clone(),
            version: told.version.clone(),
            reason,
            held: false,
            unknown: None,
            depth: 1,
            grant: None,
        };
        self.gift_booked(&asked, data);
    }

    /// Points of another customer's run are hers: the fact, and the event that funnels hear.
    fn gift_booked(&mut self, asked: &Asked, data: Fields) {
        let points = points_of(&data);
        self.gift_fact(What::Granted, asked, points);
        let name = "bonus_granted";
        if self.workspace.keeps.contains_key(name) || self.workspace.by_event.contains_key(name) {
            let mut properties = data;
            properties.insert("reason".to_owned(), Value::from(asked.reason.as_str()));
            properties.insert("grant".to_owned(), Value::from(asked.booking.as_str()));
            let (id, depth) = (format!("{name}:{}", asked.booking), asked.depth.saturating_add(1));
            let event = Event { id, name: name.to_owned(), time: self.now, properties, minor: None, depth };
            self.pending.push_back(Pending::Event(event));
        }
    }

    fn gift_fact(&mut self, what: What, asked: &Asked, points: Option<i64>) -> &mut Fact {
        let about = points.map_or_else(|| asked.reason.clone(), |points| format!("{points} points"));
        let (funnel, version) = (asked.funnel.clone(), short(&asked.version));
        let why = format!("{}, from a run of “{}”", asked.reason, asked.from);
        let fact = self.fact(what, about, why);
        fact.amount = points;
        fact.run = Some(RunRef { funnel, version, run: 0, step: String::new(), variant: String::new(), origin: None });
        fact
    }
}

/// The effect of hers that books what another's effect asks for. It is her ledger's key, so it never changes.
fn booking(customer: &str, effect: &str) -> String {
    format!("{customer}/0/gift:{}/1", digest(effect))
}

fn digest(effect: &str) -> String {
    Sha256::digest(effect.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The points of a booking.
pub(super) fn points_of(data: &Fields) -> Option<i64> {
    match data.get("points") {
        Some(Value::Int(points)) => Some(*points),
        _ => None,
    }
}
