//! The provider of the simulation: real channels prepare what is sent, and the dice say what becomes of it.

use super::fault::pause;
use super::judge::provider_of;
use super::stage::Stage;
use super::state::{Shared, State};
use crate::provider::Dice;
use autofunnel::channel::{Channel, Idempotency, Prepared, SendResult, Tools};
use autofunnel::effect::{Effect, EffectKind, OnUncertain};
use autofunnel::lang::time::{HOUR_MS, MINUTE_MS, Time};
use autofunnel::lang::value::{Fields, Value};
use autofunnel::template::Rendered;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex};

/// Of a thousand effects so many are rendered otherwise after their first attempt, as after a careless deploy.
const RENDERED_OTHERWISE: u64 = 30;
/// Longest that the receiver asks to be left alone, in milliseconds.
const BUSY_MS_MAX: u64 = 40 * MINUTE_MS as u64;

/// What was prepared, by digest.
type Known = Arc<Mutex<HashMap<Vec<u8>, Effect>>>;

/// One worker's channel to one provider.
struct Outside {
    inner: Arc<dyn Channel>,
    worker: usize,
    seed: u64,
    shared: Shared,
    known: Known,
}

/// A worker's channels; messages of the development inbox go to the store as they do in earnest.
pub fn channels(stage: &Stage, worker: usize, seed: u64, shared: &Shared) -> HashMap<String, Arc<dyn Channel>> {
    let known = Known::default();
    let wrap = |name: &String, inner: &Arc<dyn Channel>| -> Arc<dyn Channel> {
        if name == "inbox" {
            return inner.clone();
        }
        let (inner, shared, known) = (inner.clone(), shared.clone(), known.clone());
        Arc::new(Outside { inner, worker, seed, shared, known })
    };
    stage.channels.iter().map(|(name, inner)| (name.clone(), wrap(name, inner))).collect()
}

/// What the provider does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reply {
    Yes,
    No,
    Busy,
    Unreachable,
    ErrorBefore,
    ErrorAfter,
    SilenceBefore,
    SilenceAfter,
    Blocked,
}

impl Reply {
    fn name(self) -> &'static str {
        match self {
            Reply::Yes => "accepted",
            Reply::No => "refused",
            Reply::Busy => "busy",
            Reply::Unreachable => "not reached",
            Reply::ErrorBefore => "error, nothing done",
            Reply::ErrorAfter => "error, done",
            Reply::SilenceBefore => "silence, nothing done",
            Reply::SilenceAfter => "silence, done",
            Reply::Blocked => "blocked, to come back",
        }
    }

    fn acts(self) -> bool {
        matches!(self, Reply::Yes | Reply::ErrorAfter | Reply::SilenceAfter)
    }

    fn is_doubtful(self) -> bool {
        !matches!(self, Reply::Yes | Reply::No | Reply::Busy | Reply::Unreachable | Reply::Blocked)
    }
}

const TROUBLES: [Reply; 8] = [
    Reply::No,
    Reply::Busy,
    Reply::Unreachable,
    Reply::ErrorBefore,
    Reply::ErrorAfter,
    Reply::SilenceBefore,
    Reply::SilenceAfter,
    Reply::Blocked,
];

impl Outside {
    /// What becomes of a request; a provider that knows the key again acts no second time.
    fn reply(&self, state: &mut State, now: Time, effect: &Effect, digest: &[u8]) -> Reply {
        let keyed = self.inner.idempotency() == Idempotency::Key;
        let seen = state.judge.seen.get(&effect.id);
        let (acted, refused) = seen.map_or((false, false), |seen| (!seen.held.is_empty(), seen.refused));
        let rate = state.rates.provider;
        let reply = if !state.calm && now < state.provider_down {
            Reply::Unreachable
        } else if state.chance(rate) {
            // Who has acted on a key does not refuse it later.
            TROUBLES[state.dice.below(TROUBLES.len() as u64) as usize]
        } else {
            Reply::Yes
        };
        // And who has refused a key does not act on it later.
        let reply = match reply {
            Reply::No | Reply::Blocked if keyed && acted => Reply::Yes,
            Reply::Blocked if keyed && refused => Reply::No,
            // Only who keeps points has programmes that can be blocked.
            Reply::Blocked if !matches!(effect.kind, EffectKind::Grant(_)) => Reply::Busy,
            Reply::Yes | Reply::ErrorAfter | Reply::SilenceAfter if keyed && refused => Reply::No,
            reply => reply,
        };
        let acts = reply.acts() && !(keyed && acted);
        state.report.add(if reply == Reply::Yes { "provider" } else { "provider fault" }, reply.name());
        state.say(|| format!("      w{} asks {} for {}: {}", self.worker, provider_of(effect), effect.id, reply.name()));
        state.judge.asked(self.worker, now, &effect.id, digest, acts, reply.is_doubtful());
        if let Some(seen) = state.judge.seen.get_mut(&effect.id) {
            seen.refused |= reply == Reply::No;
            // A blocked programme has kept nothing of the request: a later version of the workspace may word it anew.
            if reply == Reply::Blocked && seen.held.is_empty() {
                seen.digest.clear();
            }
        }
        reply
    }

    async fn gap(&self) {
        let pauses = self.shared.lock().unwrap().chance(500);
        if pauses {
            pause().await;
        }
    }

    async fn attempt(&self, prepared: &Prepared, tools: &Tools) -> SendResult {
        self.gap().await;
        let digest = prepared.digest();
        let effect = self.known.lock().unwrap().get(&digest).cloned().expect("what is sent was prepared");
        let (dies, after) = {
            let mut state = self.shared.lock().unwrap();
            let dies = state.dies(self.worker, 0);
            let after = dies && state.dice.below(2) == 0;
            if dies {
                state.report.add("provider", if after { "its worker died after" } else { "its worker died before" });
            }
            (dies, after)
        };
        if dies && !after {
            return pending().await;
        }
        let reply = self.reply(&mut self.shared.lock().unwrap(), tools.store.now(), &effect, &digest);
        if dies {
            return pending().await;
        }
        let silent = matches!(reply, Reply::SilenceBefore | Reply::SilenceAfter);
        for _ in 0..if silent { 12 } else { 0 } {
            pause().await;
        }
        self.gap().await;
        let retry = |after, ambiguous| SendResult::Retry { after, why: reply.name().to_owned(), ambiguous };
        match reply {
            Reply::Yes => SendResult::Accepted { reference: Some("r".to_owned()), data: data(&effect) },
            Reply::No => SendResult::Refused { why: "no".to_owned() },
            Reply::Blocked => SendResult::Parked { why: "blocked".to_owned() },
            Reply::Busy => {
                let after = self.shared.lock().unwrap().dice.below(BUSY_MS_MAX) as i64;
                retry(Some(after), false)
            }
            Reply::Unreachable => retry(None, false),
            _ => retry(None, true),
        }
    }
}

/// What a remote store of points answers.
fn data(effect: &Effect) -> Fields {
    match &effect.kind {
        EffectKind::Grant(grant) => [("points".to_owned(), Value::from(grant.points))].into(),
        _ => Fields::new(),
    }
}

impl Channel for Outside {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn idempotency(&self) -> Idempotency {
        self.inner.idempotency()
    }

    fn on_uncertain(&self) -> OnUncertain {
        self.inner.on_uncertain()
    }

    fn grants(&self) -> bool {
        self.inner.grants()
    }

    fn variables(&self) -> Vec<Vec<String>> {
        self.inner.variables()
    }

    fn prepare(&self, effect: &Effect, rendered: Option<&Rendered>) -> Result<Prepared, String> {
        let mut state = self.shared.lock().unwrap();
        let began = state.judge.began.contains_key(&effect.id);
        let otherwise = Dice::new(self.seed, &effect.id).below(1_000) < RENDERED_OTHERWISE;
        let mut shown = effect.clone();
        if began && otherwise && !state.calm {
            state.report.add("chaos", "rendered otherwise after an attempt");
            shown.step.push_str(" otherwise");
        }
        drop(state);
        let prepared = self.inner.prepare(&shown, rendered)?;
        self.known.lock().unwrap().insert(prepared.digest(), effect.clone());
        Ok(prepared)
    }

    fn send<'a>(&'a self, prepared: &'a Prepared, tools: &'a Tools) -> BoxFuture<'a, SendResult> {
        Box::pin(self.attempt(prepared, tools))
    }
}

/// A provider that is down stays down for a while.
pub fn break_down(state: &mut State, now: Time) {
    let hours = 1 + state.dice.below(30) as i64;
    state.provider_down = now.plus_ms(hours * HOUR_MS);
    state.report.add("chaos", "the provider broke down");
}
