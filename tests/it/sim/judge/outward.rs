//! What goes out: what the last gate is there for, and what the provider sees.

use super::super::stage::{QUIET_FROM, QUIET_UNTIL};
use super::{Judge, base, provider_of};
use autofunnel::effect::{Effect, EffectKind, Message};
use autofunnel::lang::time::Time;
use autofunnel::store::pause::Under;
use chrono::Timelike;

impl Judge {
    /// What the last gate is there for.
    pub(super) fn may_begin(&mut self, now: Time, id: &str) {
        let Some(shadow) = self.outbox.get(id) else { return };
        let her = &self.hers[&shadow.effect.customer];
        let mut wrong = Vec::new();
        if self.pauses.hold(Under::of(&shadow.effect)) {
            wrong.push("it is paused".to_owned());
        }
        if her.unread() > 0 {
            wrong.push(format!("she has {} unread inputs", her.unread()));
        }
        if shadow.effect.valid_until.is_some_and(|until| until < now) {
            wrong.push(format!("it was valid until {:?}", shadow.effect.valid_until));
        }
        if shadow.unsure && provider_of(&shadow.effect) == "text" {
            wrong.push("an earlier attempt may have had its effect and the provider takes no key".to_owned());
        }
        if let EffectKind::Message(Message { channel, transactional: false, .. }) = &shadow.effect.kind {
            if her.consent.get(channel) != Some(&true) {
                wrong.push(format!("consent for {channel} is {:?}", her.consent.get(channel)));
            }
            let zone = her.zone.unwrap_or(chrono_tz::UTC);
            let hour = now.local(zone).hour();
            if !her.moved_aside && !(QUIET_UNTIL..QUIET_FROM).contains(&hour) {
                wrong.push(format!("it is {} for her", now.local(zone)));
            }
        }
        for what in wrong {
            self.blame(format!("{id} began at {now}: {what}"));
        }
    }

    /// The provider was asked; whether it acts.
    pub fn asked(&mut self, worker: usize, now: Time, id: &str, digest: &[u8], acts: bool, doubtful: bool) {
        let Some(effect) = self.planned.get(id).cloned() else { return self.blame(format!("{id} was never planned")) };
        let current =
            self.outbox.get(id).is_some_and(|shadow| shadow.sending && shadow.hand.is_some_and(|(owner, _)| owner == worker));
        let seen = self.seen.entry(id.to_owned()).or_default();
        let first = seen.digest.is_empty();
        if first {
            seen.digest = digest.to_vec();
        }
        let same = seen.digest == digest;
        seen.doubtful += usize::from(doubtful || !current);
        if acts {
            seen.held.push(now);
        }
        let points = match &effect.kind {
            EffectKind::Grant(grant) if acts && Judge::is_budgeted(&effect) => grant.points,
            _ => 0,
        };
        self.spends("bank", points);
        if !same {
            self.blame(format!("{id} came to the provider with another body"));
        }
        self.count_held(&effect);
    }

    /// However often it was decided and tried, a step takes hold once.
    fn count_held(&mut self, effect: &Effect) {
        let step = base(&effect.id);
        let of_step = self.seen.range(step.to_owned()..).take_while(|(id, _)| id.starts_with(step));
        let (mut held, mut doubtful) = (0, 0);
        for (_, seen) in of_step.filter(|(id, _)| base(id) == step) {
            held += seen.held.len();
            doubtful += seen.doubtful;
        }
        let most = if provider_of(effect) == "pager" { 1 + doubtful } else { 1 };
        if held > most {
            let all: Vec<&String> = self.seen.keys().filter(|id| base(id) == step).collect();
            self.blame(format!("{step} took hold {held} times, as {all:?}"));
        }
    }
}
