//! The bell: other processes tell this one that its shards have work, so that nobody has to look in vain.

use super::Inner;
use super::key::bell;
use futures_util::StreamExt;
use redis::RedisError;
use redis::aio::PubSub;
use std::sync::Arc;
use std::time::Duration;

/// Pause before the channel is opened again.
const PAUSE: Duration = Duration::from_millis(500);

impl Inner {
    /// Opens the channel. From then on no bell is missed while the connection lasts.
    pub async fn open_bell(&self) -> Result<PubSub, RedisError> {
        let mut listening = self.dialer.listen().await?;
        listening.subscribe(bell(&self.told.me)).await?;
        Ok(listening)
    }

    /// Listens until the store is closed. What may have been missed while nobody listened is looked for.
    pub async fn listen(self: Arc<Inner>, listening: PubSub) {
        let (mut open, mut told, mut changes) = (Some(listening), false, self.dialer.changes());
        while !self.closed() {
            if let Some(mut listening) = open.take() {
                let mut messages = listening.on_message();
                let heard = async {
                    while let Some(message) = messages.next().await {
                        self.rung(message.get_payload_bytes());
                    }
                };
                // Nobody rings at a server that is not the master any more.
                tokio::select! {
                    () = heard => {}
                    () = self.dialer.changed(changes) => {}
                }
            }
            tokio::time::sleep(PAUSE).await;
            changes = self.dialer.changes();
            match self.open_bell().await {
                Ok(listening) => {
                    told = false;
                    self.memory().look_everywhere();
                    self.notify(true, true);
                    open = Some(listening);
                }
                Err(why) => tell(&mut told, &why),
            }
        }
    }

    fn rung(&self, payload: &[u8]) {
        // `7`: customers are ready there; `e7`: effects are due.
        let (effects, number) = payload.strip_prefix(b"e").map_or((false, payload), |number| (true, number));
        let shard = std::str::from_utf8(number).ok().and_then(|text| text.parse::<u16>().ok());
        let Some(shard) = shard.filter(|shard| *shard < super::key::SHARDS) else {
            tracing::warn!("a message on this worker's channel names no shard; check that no other program uses it");
            return;
        };
        match effects {
            true => self.memory().effect_due(shard, self.clock.now().0),
            false => self.memory().ready(shard, self.clock.now().0),
        }
        self.notify(!effects, effects);
    }
}

fn tell(told: &mut bool, why: &RedisError) {
    if !std::mem::replace(told, true) {
        tracing::warn!(%why, "other processes cannot tell this one of work at once; it looks now and then");
    }
}
