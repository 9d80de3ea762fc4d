//! The outbox of the model, and the end of a worker.

use super::super::bug::Bug;
use super::Truth;
use autofunnel::effect::Outcome;
use autofunnel::event::InputBody;
use autofunnel::lang::time::Time;
use autofunnel::store::pause::Under;
use autofunnel::store::{Begin, Delivery, QUARANTINE_AFTER, Retry};

/// How long an effect steps back for the turn that goes first, in milliseconds.
const TURN_FIRST_MS: i64 = 20;

impl Truth {
    pub(super) fn locate(&self, effect: &str) -> Option<u64> {
        self.outbox.iter().find(|(_, out)| out.effect.id == effect).map(|(seq, _)| *seq)
    }

    /// See [`autofunnel::store::Store::claim_effects`].
    pub fn claim_effects(&mut self, epoch: u64, max: usize) -> Vec<Delivery> {
        let now = self.now();
        let again = self.is(Bug::HandedOutTwice);
        let free = self.outbox.iter().filter(|(_, out)| out.due <= now && (out.owner.is_none() || again && !out.sending));
        let mut due: Vec<(Time, u64)> = free.map(|(seq, out)| (out.due, *seq)).collect();
        due.sort();
        due.truncate(max);
        let forget = self.is(Bug::DigestForgotten);
        let mut deliveries = Vec::new();
        for (_, seq) in due {
            let ticket = self.number();
            let Some(out) = self.outbox.get_mut(&seq) else { continue };
            (out.owner, out.ticket) = (Some(epoch), ticket);
            deliveries.push(Delivery {
                effect: out.effect.clone(),
                ticket,
                attempts: out.attempts,
                ambiguous: out.unsure.is_some(),
                ambiguous_since: out.unsure,
                body_digest: out.digest.clone().filter(|_| !forget),
                known: Default::default(),
            });
        }
        deliveries
    }

    /// See [`autofunnel::store::Store::begin`].
    pub fn begin(&mut self, epoch: u64, effect: &str, ticket: u64, digest: Vec<u8>) -> Begin {
        let now = self.now();
        let Some(seq) = self.locate(effect) else { return Begin::Gone };
        let (no_gate, no_life) = (self.is(Bug::NoGate), self.is(Bug::NoShelfLife));
        let customer = self.outbox[&seq].effect.customer.clone();
        let unread = self.has_unread(&customer) && !self.is(Bug::NoTurnFirst);
        let gate = self.rows.get(&customer).map(|row| row.record.gate);
        let (again, any_ticket) = (self.is(Bug::HandedOutTwice), self.is(Bug::TicketIgnored));
        let paused = self.pauses.hold(Under::of(&self.outbox[&seq].effect)) && !self.is(Bug::NoPauseAtTheGate);
        let Some(out) = self.outbox.get_mut(&seq) else { return Begin::Gone };
        if (out.owner, out.ticket) != (Some(epoch), ticket) && !again && !any_ticket {
            return Begin::Gone;
        }
        if unread {
            // Whoever asks again has not called: the answer to an earlier `Go` was lost.
            (out.due, out.owner, out.sending) = (now.plus_ms(TURN_FIRST_MS), None, false);
            return Begin::TurnFirst;
        }
        let late = out.effect.valid_until.is_some_and(|until| until < now) && !no_life;
        if late || gate != Some(out.effect.gate) && !no_gate {
            let unsure = out.unsure.is_some();
            self.outbox.remove(&seq);
            let effect = effect.to_owned();
            let why = if late { "its time had passed" } else { "something forbids it since" }.to_owned();
            let body = match unsure {
                true => InputBody::Result { effect, outcome: Outcome::Unknown { why } },
                false => InputBody::Stale { effect, why },
            };
            self.put_in(customer, body);
            return Begin::Stale;
        }
        if paused {
            return out.hold_paused(now);
        }
        if out.sending && !any_ticket && !again {
            // The answer to the first time was lost.
            return Begin::Go { attempt: out.attempts };
        }
        out.sending = true;
        out.attempts += 1;
        out.begun = Some(now);
        out.digest.get_or_insert(digest);
        Begin::Go { attempt: out.attempts }
    }

    /// See [`autofunnel::store::Store::retry`].
    pub fn retry(&mut self, epoch: u64, retry: Retry) {
        let (now, forget) = (self.now(), self.is(Bug::AmbiguityForgottenByRetry));
        let any_ticket = self.is(Bug::TicketIgnored);
        let Some(out) = self.locate(&retry.effect).and_then(|seq| self.outbox.get_mut(&seq)) else { return };
        if (out.owner, out.ticket) != (Some(epoch), retry.ticket) && !any_ticket {
            return;
        }
        if retry.ambiguous && !forget {
            let since = out.begun.unwrap_or(now);
            out.unsure.get_or_insert(since);
        }
        (out.due, out.why, out.sending, out.owner) = (retry.due, retry.why, false, None);
    }

    /// See [`autofunnel::store::Store::settle`].
    pub fn settle(&mut self, effect: String, customer: String, outcome: Outcome) {
        let Some(seq) = self.locate(&effect) else { return };
        if !self.is(Bug::SettleLeavesTheEffect) {
            self.outbox.remove(&seq);
        } else if let Some(out) = self.outbox.get_mut(&seq) {
            (out.owner, out.sending) = (None, false);
        }
        self.put_in(customer, InputBody::Result { effect, outcome });
    }

    /// A worker goes in good order: what it held is free.
    pub fn leave(&mut self, epoch: u64) {
        let held: Vec<String> = self.held.iter().filter(|(_, held)| held.epoch == epoch).map(|(id, _)| id.clone()).collect();
        for customer in held {
            self.free(epoch, &customer, None);
        }
        self.free_effects(epoch);
    }

    /// A worker is presumed dead: it can do nothing more.
    pub fn fence(&mut self, epoch: u64) {
        self.fenced.insert(epoch);
        self.end_leases(epoch);
    }

    /// What a worker held is handed out anew, and what it was sending is ambiguous. Inputs that it had may have
    /// killed it.
    pub fn end_leases(&mut self, epoch: u64) {
        let held: Vec<String> = self.held.iter().filter(|(_, held)| held.epoch == epoch).map(|(id, _)| id.clone()).collect();
        let seqs: Vec<u64> = held.iter().filter_map(|customer| self.held.remove(customer)).flat_map(|held| held.seqs).collect();
        for seq in seqs {
            let Some(letter) = self.inbox.get_mut(&seq) else { continue };
            letter.suspect = true;
            if letter.crashes >= QUARANTINE_AFTER {
                self.put_aside(seq, &format!("the process ended while handling it ({QUARANTINE_AFTER} times)"));
            }
        }
        if self.is(Bug::DeduplicationInMemory) {
            self.seen.clear();
        }
        self.free_effects(epoch);
    }

    fn free_effects(&mut self, epoch: u64) {
        let (now, bug) = (self.now(), self.bug);
        for out in self.outbox.values_mut().filter(|out| out.owner == Some(epoch)) {
            if out.sending && bug != Some(Bug::AmbiguityForgottenByCrash) {
                out.unsure = out.unsure.or(out.begun);
            }
            if bug != Some(Bug::HandedOutForEver) {
                (out.owner, out.sending, out.due) = (None, false, out.due.min(now));
            }
        }
    }

    /// A claim runs out: she is free, whoever has her.
    pub fn let_lapse(&mut self, customer: &str) {
        if let Some(epoch) = self.held.get(customer).map(|held| held.epoch) {
            self.free(epoch, customer, None);
        }
    }

    /// Customers that are claimed.
    pub fn claimed(&self) -> Vec<String> {
        self.held.keys().cloned().collect()
    }

    /// An effect whose hand-out its worker does not know of is handed out anew.
    pub fn hand_back(&mut self, epoch: u64, effect: &str, ticket: u64) {
        if let Some(out) = self.locate(effect).and_then(|seq| self.outbox.get_mut(&seq))
            && (out.owner, out.ticket) == (Some(epoch), ticket)
            && !out.sending
        {
            out.owner = None;
        }
    }
}
