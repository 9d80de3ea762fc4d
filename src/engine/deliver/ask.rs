//! An effect that may have happened at a receiver that takes no key: asked about before it is sent again.

use super::{Engine, Live, StoreError, failpoint, give_up};
use crate::channel::{Channel, Known, Prepared, SendResult};
use crate::lang::time::{MINUTE_MS, SECOND_MS, Time};
use crate::store::Delivery;
use crate::store::pause::{PAUSED, Pauses, RECHECK_MS, Under};

/// Shortest and longest pause between questions about one effect.
const PAUSE_MS: (i64, i64) = (SECOND_MS, 10 * MINUTE_MS);

impl Engine {
    /// Asks whether the receiver knows the effect; true: it does not, so it is to be sent. `late`: its time has passed, so
    /// there is one question and no waiting for it.
    pub(super) async fn is_not_known(
        &self,
        live: &Live,
        delivery: &Delivery,
        channel: &dyn Channel,
        prepared: &Prepared,
        late: bool,
    ) -> Result<bool, StoreError> {
        let (now, id) = (self.store.now(), &delivery.effect.id);
        // Nobody is called for what is paused, were it only to ask.
        let pauses = self.patiently(|| self.store.pauses()).await?;
        if Pauses::new(pauses).hold(Under::of(&delivery.effect)) {
            self.put_back(delivery, now.plus_ms(RECHECK_MS), PAUSED.to_owned(), true).await?;
            return Ok(false);
        }
        let after = i64::try_from(channel.ask_after().as_millis()).unwrap_or(PAUSE_MS.1);
        if let Err(due) = self.traffic.may_ask(id, after, now)
            && !late
        {
            let why = "it may have happened; the receiver is asked about it in a moment".to_owned();
            self.put_back(delivery, due, why, true).await?;
            return Ok(false);
        }
        let pass = if late { None } else { self.enter(delivery, channel).await? };
        if pass.is_none() && !late {
            return Ok(false);
        }
        failpoint("provider.call.before");
        let known = channel.ask(prepared, &self.tools).await;
        failpoint("provider.call.after");
        if let Some(pass) = pass {
            pass.done(&as_sent(&known), self.store.now());
        }
        match known {
            Known::Yes(sent) => {
                self.traffic.asked(id);
                self.heard(live, delivery, channel, delivery.attempts, sent).await?;
                Ok(false)
            }
            Known::No => {
                self.traffic.asked(id);
                Ok(true)
            }
            Known::CannotTell { .. } if late => Ok(true),
            Known::CannotTell { after, why } => {
                let now = self.store.now();
                if let Some(outcome) = give_up(delivery, channel, now, &why) {
                    self.traffic.asked(id);
                    self.settle(live, delivery, outcome).await?;
                    return Ok(false);
                }
                self.put_back(delivery, now.plus_ms(after.unwrap_or(0).max(pause(delivery, now))), why, true).await?;
                Ok(false)
            }
        }
    }
}

/// The longer nothing is known, the seldomer it is asked.
fn pause(delivery: &Delivery, now: Time) -> i64 {
    let since = delivery.ambiguous_since.map_or(0, |since| now.since_ms(since));
    (since / 2).clamp(PAUSE_MS.0, PAUSE_MS.1)
}

/// What a question says about the health of its receiver.
fn as_sent(known: &Known) -> SendResult {
    match known {
        Known::Yes(_) | Known::No => SendResult::Accepted { reference: None, data: Default::default() },
        Known::CannotTell { after, why } => SendResult::Retry { after: *after, why: why.clone(), ambiguous: true },
    }
}
