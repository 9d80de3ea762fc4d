//! What the store and the provider do, told to the judge, the report and the trace.

use super::fault::at_once;
use super::state::State;
use autofunnel::effect::Outcome;
use autofunnel::fact::What;
use autofunnel::lang::time::Time;
use autofunnel::store::pause::{Pausable, Pause};
use autofunnel::store::{Accepted, Begin, Claim, Commit, Committed, Delivery, NewInput, Retry, Store};

/// What is said of a message that gives its place in a customer's list to a later one.
const UNLISTED: &str = "later messages to her are of unknown fate";

impl State {
    /// See [`super::judge::Judge::accepted`].
    pub fn accepted(&mut self, now: Time, inputs: &[NewInput], answers: &[Accepted]) {
        for (input, answer) in inputs.iter().zip(answers) {
            let what = match answer {
                Accepted::New => "new",
                Accepted::Duplicate => "duplicate",
                Accepted::Conflict => "same id, other body",
            };
            self.report.add("input", what);
            self.say(|| format!("      accepted {} {:?}: {what}", input.customer, input.id));
            self.judge.accepted(now, input, *answer);
        }
    }

    /// See [`super::judge::Judge::claimed`].
    pub fn claimed(&mut self, worker: usize, claim: &Claim, taken: bool) {
        let what = match (taken, claim.inputs.is_empty()) {
            (true, _) => "taken for an answer",
            (false, true) => "woken",
            (false, false) => "with inputs",
        };
        self.report.add("customer", what);
        if claim.more_from.is_some() {
            self.report.add("customer", "with more inputs than were handed out");
        }
        let inputs: Vec<u64> = claim.inputs.iter().map(|queued| queued.seq).collect();
        self.say(|| {
            format!("      w{worker} has {} version {} inputs {inputs:?} at {}", claim.customer, claim.record.version, claim.now)
        });
        self.judge.claimed(claim, taken);
    }

    /// See [`super::judge::Judge::committed`].
    pub fn committed(&mut self, worker: usize, now: Time, commit: Commit, answer: Committed, lost: bool) {
        let what = match (answer, commit.settled.is_some()) {
            (Committed::Done, false) => "turn",
            (Committed::Done, true) => "turn on an answer",
            (Committed::Conflict, false) => "conflict",
            (Committed::Paused, _) => "paused",
            (Committed::Conflict, true) => "conflict on an answer",
        };
        self.report.add("committed", what);
        if answer == Committed::Done {
            for (subject, counted) in [
                ("withdrawn", !commit.withdrawn.is_empty()),
                ("handed over", commit.hand_over),
                ("handed over and lost", commit.hand_over && lost),
            ] {
                if counted {
                    self.report.add("committed", subject);
                }
            }
            for fact in &commit.facts {
                self.report.add("fact", fact.what.name());
                // That the bank is blocked, the budget small and many an answer lost is the simulation's own doing.
                let own = ["loyalty_store", "budget"].contains(&fact.about.as_str()) || fact.why.contains(UNLISTED);
                if fact.what == What::Alert && !own {
                    let told = format!("an alert for {}: {} {}", commit.customer, fact.about, fact.why);
                    self.judge.blame(told);
                }
            }
        }
        self.say(|| {
            let facts: Vec<String> = commit.facts.iter().map(|fact| format!("{} {}", fact.what.name(), fact.about)).collect();
            let effects: Vec<&str> = commit.effects.iter().map(|effect| effect.id.as_str()).collect();
            format!(
                "      w{worker} committed {} on {} consumed {:?} settled {:?}: {what}; {facts:?} effects {effects:?} wake {:?}",
                commit.customer, commit.base, commit.consumed, commit.settled, commit.wake
            )
        });
        self.judge.committed(worker, now, commit, answer, lost);
    }

    /// See [`super::judge::Judge::handed_out`].
    pub fn handed_out(&mut self, worker: usize, now: Time, delivery: &Delivery, lost: bool) {
        self.report.add("effect", if delivery.ambiguous { "handed out, ambiguous" } else { "handed out" });
        self.say(|| {
            format!("      w{worker} has {} attempts {} ambiguous {}", delivery.effect.id, delivery.attempts, delivery.ambiguous)
        });
        self.judge.handed_out(worker, now, delivery, lost);
    }

    /// See [`super::judge::Judge::begun`].
    pub fn begun(&mut self, hand: (usize, u64), now: Time, id: &str, digest: Vec<u8>, begun: &Begin) {
        let what = match begun {
            Begin::Go { attempt: 1 } => "go",
            Begin::Go { .. } => "go again",
            Begin::TurnFirst => "turn first",
            Begin::Stale => "stale",
            Begin::Paused => "paused",
            Begin::Gone => "gone",
        };
        self.report.add("last gate", what);
        self.say(|| format!("      w{} begins {id} of hand-out {}: {what}", hand.0, hand.1));
        self.judge.begun(hand, now, id, digest, begun);
    }

    /// See [`super::judge::Judge::put_back`].
    pub fn put_back(&mut self, worker: usize, retry: &Retry) {
        self.report.add("effect", if retry.ambiguous { "put back, ambiguous" } else { "put back" });
        self.say(|| format!("      w{worker} puts {} back until {}: {}", retry.effect, retry.due, retry.why));
        self.judge.put_back(worker, retry);
    }

    /// See [`super::judge::Judge::settled`].
    pub fn settled(&mut self, now: Time, effect: &str, outcome: Outcome) {
        self.report.add("answered through the inbox", outcome.name());
        self.say(|| format!("      {effect} is answered: {outcome:?}"));
        self.judge.settled(now, effect, outcome);
    }

    /// Something is paused.
    pub fn paused(&mut self, pause: &Pause) {
        self.say(|| format!("{} is paused by {}", pause.of.name(), pause.by));
        self.judge.paused(pause);
    }

    /// A pause has ended; `there`: the store knew of it.
    pub fn resumed(&mut self, now: Time, of: &Pausable, there: bool) {
        self.say(|| format!("{} is resumed", of.name()));
        self.judge.resumed(now, of, there);
    }

    /// The development inbox keeps a message: that is its effect.
    pub fn kept(&mut self, worker: usize, id: &str) {
        self.say(|| format!("      w{worker} keeps {id}"));
    }

    /// Looks for inputs that were put aside.
    pub fn put_aside(&mut self, store: &dyn Store) {
        match at_once(store.quarantine(500)) {
            Ok(rows) => {
                for _ in 0..self.judge.put_aside(&rows) {
                    self.report.add("input", "put aside");
                }
            }
            Err(why) => self.judge.blame(format!("the list of what was put aside cannot be read: {why}")),
        }
    }
}
