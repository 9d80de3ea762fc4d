//! Commits of the model: all of one, or nothing.

use super::super::bug::Bug;
use super::{Out, Told, Truth};
use autofunnel::fact::Fact;
use autofunnel::lang::time::{Time, Zone};
use autofunnel::store::pause::Under;
use autofunnel::store::{Commit, Committed};

impl Truth {
    /// See [`autofunnel::store::Store::commit`].
    pub fn commit(&mut self, epoch: u64, commits: Vec<Commit>) -> Vec<Committed> {
        let mut cut = false;
        let mut answers = Vec::new();
        for commit in commits {
            let customer = commit.customer.clone();
            let done = if cut { Committed::Done } else { self.commit_one(epoch, commit) };
            cut |= done == Committed::Conflict && self.is(Bug::BatchCutByConflict);
            self.free(epoch, &customer, None);
            answers.push(done);
        }
        answers
    }

    fn commit_one(&mut self, epoch: u64, commit: Commit) -> Committed {
        let settled = commit.settled.as_ref().and_then(|effect| self.locate(effect));
        let void = commit.settled.is_some() && settled.is_none() && !self.is(Bug::SettledTwice);
        // An input that was put aside while it was in hand must not be both listed and done.
        let void = void || commit.consumed.iter().any(|seq| !self.inbox.contains_key(seq));
        let version = self.rows.get(&commit.customer).map_or(0, |row| row.record.version);
        let fits = version == commit.base || self.is(Bug::NoVersionCheck);
        let asks = commit.books && !self.is(Bug::NoPauseInTheCommit);
        if asks && settled.is_some_and(|seq| self.pauses.hold(Under::of(&self.outbox[&seq].effect))) {
            return Committed::Paused;
        }
        if let Some(seq) = settled.filter(|_| fits || self.is(Bug::SettleOutsideCommit)) {
            self.outbox.remove(&seq);
        }
        if void || !fits {
            return Committed::Conflict;
        }
        let (customer, mut commit) = (commit.customer.clone(), commit);
        let taken = std::mem::take(&mut commit.addresses_taken);
        let left = std::mem::take(&mut commit.addresses_left);
        match commit.erase {
            true => self.erase(&customer),
            false => self.write(epoch, commit),
        }
        self.move_addresses(&customer, taken, &left);
        Committed::Done
    }

    fn write(&mut self, epoch: u64, commit: Commit) {
        let now = self.now();
        let forget = self.is(Bug::WakeLostByAnswers) && commit.settled.is_some();
        let row = self.rows.entry(commit.customer.clone()).or_default();
        row.record.version += 1;
        row.record.document = commit.document;
        if let Some(account) = commit.account {
            row.old_account = std::mem::replace(&mut row.record.account, account);
        }
        row.record.gate = row.record.gate.max(commit.gate);
        row.wake = commit.wake.filter(|_| !forget);
        row.judged = commit.judged;
        row.index = commit.index;
        row.wake_faults = 0;
        self.nudged.retain(|customer| *customer != commit.customer);
        let spared = self.is(Bug::ConsumedTwice) && !commit.effects.is_empty();
        let unseen = self.is(Bug::ConsumedUnseen) && !commit.consumed.is_empty();
        self.inbox
            .retain(|seq, letter| letter.customer != commit.customer || (spared || !commit.consumed.contains(seq)) && !unseen);
        for effect in commit.withdrawn.iter().filter(|_| self.bug != Some(Bug::WithdrawnStillSent)) {
            if let Some(seq) = self.locate(effect).filter(|seq| !self.outbox[seq].has_begun()) {
                self.outbox.remove(&seq);
            }
        }
        for effect in commit.effects {
            let old = self.locate(&effect.id);
            old.and_then(|seq| self.outbox.remove(&seq));
            let out = Out {
                effect,
                due: now,
                attempts: 0,
                why: String::new(),
                owner: commit.hand_over.then_some(epoch),
                ticket: 0,
                sending: false,
                begun: None,
                unsure: None,
                digest: None,
            };
            let seq = self.number();
            self.outbox.insert(seq, out);
        }
        for run in commit.runs {
            self.runs.insert((commit.customer.clone(), run.run), run);
        }
        self.tell(&commit.customer, commit.facts, commit.terms.zone, now);
    }

    fn tell(&mut self, customer: &str, mut facts: Vec<Fact>, zone: Zone, written: Time) {
        if self.is(Bug::FactLost) && facts.len() > 5 {
            facts.pop();
        }
        for (index, fact) in (0..).zip(facts) {
            let run = fact.run.clone();
            let part = |pick: fn(&autofunnel::fact::RunRef) -> &String| run.as_ref().map(pick).cloned().unwrap_or_default();
            let day = fact.at.date(zone).format("%Y-%m-%d").to_string();
            let what = fact.what.name().to_owned();
            let [funnel, version, step] = [part(|run| &run.funnel), part(|run| &run.version), part(|run| &run.step)];
            let reason = autofunnel::fact::count::reason(&fact).to_owned();
            let key = (day, [funnel, version, step, part(|run| &run.variant), what, reason]);
            let figure = self.figures.entry(key).or_default();
            *figure = (figure.0 + 1, figure.1 + fact.amount.unwrap_or(0));
            let seq = self.number();
            self.facts.push(Told { seq, index, customer: customer.to_owned(), fact, written });
        }
    }

    fn erase(&mut self, customer: &str) {
        self.rows.remove(customer);
        self.erased.insert(customer.to_owned());
        self.inbox.retain(|_, letter| letter.customer != customer);
        self.outbox.retain(|_, out| out.effect.customer != customer);
        self.facts.retain(|told| told.customer != customer);
        self.messages.retain(|message| message.customer != customer);
        self.runs.retain(|(whose, _), _| whose != customer);
        self.nudged.retain(|nudged| nudged != customer);
    }
}
