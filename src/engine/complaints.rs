//! Complaints about marketing e-mails: mailbox providers turn away a sender about whom one in a thousand complains, and
//! three in a thousand are the end of it (Gmail's and Yahoo's rules for senders of 2024). So the first share is told, and
//! at the second one marketing stops until a person says that it may go on.
//!
//! The share is that of one day of the workspace's calendar and of the provider that carries the e-mails, which sends
//! under one domain. It is read out of the day figures, by whoever has them: the one process of a file, the role `report`
//! over Redis.

use super::Engine;
use crate::fact::What;
use crate::queue;
use crate::store::StoreError;
use crate::store::pause::{Pausable, Pause};
use crate::store::quantity::Quantity;
use crate::store::read::Figure;
use std::time::Duration;
use tokio::sync::watch;

/// The channel that it is about.
const CHANNEL: &str = "email";
/// Who carries them where the settings name nobody.
const INBOX: &str = "inbox";
/// Complaints of a thousand messages that are told.
const WARN_PER_MILLE: u64 = 1;
/// Complaints of a thousand messages at which marketing stops …
const STOP_PER_MILLE: u64 = 3;
/// … if there are as many as this: of few messages one complaint is a large share and says nothing.
const STOP_COMPLAINTS_MIN: u64 = 3;
/// Time between looks at the figures, in seconds.
const LOOK_SECONDS: u64 = 60;
/// Who pauses.
const BY: &str = "complaints";

/// What a day's complaints mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Fine,
    Warn,
    Stop,
}

fn judge(complaints: u64, sent: u64) -> Verdict {
    let above = |per_mille: u64| complaints.saturating_mul(1_000) > sent.saturating_mul(per_mille);
    match () {
        () if above(STOP_PER_MILLE) && complaints >= STOP_COMPLAINTS_MIN => Verdict::Stop,
        () if above(WARN_PER_MILLE) => Verdict::Warn,
        () => Verdict::Fine,
    }
}

/// Complaints, and messages that were accepted, of the channel.
fn tally(figures: &[Figure]) -> (u64, u64) {
    let sum = |what: What| {
        let own = figures.iter().filter(|figure| figure.what == what.name() && figure.variant == CHANNEL);
        own.map(|figure| u64::try_from(figure.count).unwrap_or(0)).sum()
    };
    (sum(What::Complained), sum(What::Sent))
}

impl Engine {
    /// Looks at the figures of the day, now and then.
    pub async fn heed_complaints(&self, mut stop: watch::Receiver<bool>) {
        let mut warned = None;
        loop {
            if let Err(error) = self.look_at_complaints(&mut warned).await {
                tracing::warn!(%error, "complaints could not be counted; it is tried again");
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)) => {}
                () = queue::stopped(&mut stop) => return,
            }
        }
    }

    /// One look; `warned`: the day of which it was told already.
    async fn look_at_complaints(&self, warned: &mut Option<String>) -> Result<(), StoreError> {
        let now = self.store.now();
        let live = self.live.get();
        let settings = &live.definitions.current.settings;
        let day = now.date(settings.zone).to_string();
        let (complaints, sent) = tally(&self.store.figures(day.clone(), day.clone()).await?);
        let why = format!("{complaints} complaints about {sent} e-mails on {day}");
        match judge(complaints, sent) {
            Verdict::Fine => return Ok(()),
            Verdict::Warn if warned.as_ref() == Some(&day) => return Ok(()),
            Verdict::Warn => {
                tracing::warn!(complaints, sent, %day, "more than one of a thousand e-mails was complained about; at three marketing stops");
                *warned = Some(day);
                return Ok(());
            }
            Verdict::Stop => {}
        }
        let provider = settings.channels.get(CHANNEL).map_or(INBOX, String::as_str).to_owned();
        // Once a day: when a person has let it go on, that counts.
        let until = now.next_midnight(settings.zone);
        let once = Quantity { name: format!("complaints {provider} {day}"), most: 1, until: Some(until) };
        if self.store.take_quantity(once, 1, 1).await? == 0 {
            return Ok(());
        }
        tracing::error!(%provider, complaints, sent, "more than three of a thousand e-mails were complained about; marketing stops");
        let why = format!("{why}, more than {STOP_PER_MILLE} of a thousand; look at who is written to, then resume");
        self.store.pause(Pause { of: Pausable::Marketing(provider), since: now, by: BY.to_owned(), why }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s55_one_of_a_thousand_is_told_and_three_are_the_end() {
        for (complaints, sent, expected) in [
            (0, 0, Verdict::Fine),
            (1, 1_000, Verdict::Fine),
            (2, 1_999, Verdict::Warn),
            (3, 1_000, Verdict::Warn),
            (4, 1_000, Verdict::Stop),
            (31, 10_000, Verdict::Stop),
            (30, 10_000, Verdict::Warn),
            // Of few messages one complaint says little.
            (1, 10, Verdict::Warn),
            (2, 10, Verdict::Warn),
            (3, 10, Verdict::Stop),
        ] {
            assert_eq!(judge(complaints, sent), expected, "{complaints} of {sent}");
        }
    }

    #[test]
    fn only_what_is_of_the_channel_counts() {
        let figure = |what: What, variant: &str, count| Figure {
            day: String::new(),
            funnel: String::new(),
            version: String::new(),
            step: String::new(),
            variant: variant.to_owned(),
            what: what.name().to_owned(),
            reason: String::new(),
            count,
            amount: 0,
        };
        let figures = [
            figure(What::Sent, "email", 40),
            figure(What::Sent, "email", 2),
            figure(What::Sent, "sms", 7),
            figure(What::Complained, "email", 3),
            figure(What::Complained, "sms", 1),
            figure(What::Suppressed, "email", 9),
        ];
        assert_eq!(tally(&figures), (3, 42));
    }
}
