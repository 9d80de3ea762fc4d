//! What a customer says about being written to, as the doors would hand it on.

use super::read::Says;
use crate::event::address::{Address, Stop, StopKind, field_of};
use crate::event::words::MESSAGE_REPLIED;
use crate::event::{ConsentChange, Event, Input, InputBody, ProfileChange};
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::play::Player;

/// Who hands it on.
const SOURCE: &str = "test";

impl Player<'_> {
    /// She answers STOP or START by a channel, or takes the way out of a message of it.
    pub(super) fn say(&mut self, at: Time, channel: &str, says: Says) {
        self.run_until(at.plus_ms(-1));
        let field = field_of(channel);
        let text = self.customer.as_ref().and_then(|customer| customer.profile.get(field)).and_then(Value::as_text);
        let Some(address) = text.and_then(|text| Address::of(field, text)) else { return };
        let (name, source) = (channel.to_owned(), SOURCE.to_owned());
        let stop = |kind| Stop { channel: channel.to_owned(), kind, since: at, source: SOURCE.to_owned() };
        let bodies = match says {
            Says::Stop => vec![InputBody::Stop { address, stop: stop(StopKind::Stopped) }, replied(at, channel, "STOP")],
            Says::Start => {
                vec![InputBody::Lift { address, channel: name, until: at, source, only: None }, replied(at, channel, "START")]
            }
            Says::Unsubscribe => {
                let no = ConsentChange { channel: name, topic: None, granted: false, source, time: at };
                let change = ProfileChange { consent: vec![no], ..ProfileChange::default() };
                vec![InputBody::Profile(change), InputBody::Stop { address, stop: stop(StopKind::Unsubscribed) }]
            }
        };
        self.backlog(bodies.into_iter().map(|body| Input { accepted_at: at, body }).collect(), at);
    }
}

/// The answer itself, which funnels hear.
fn replied(at: Time, channel: &str, text: &str) -> InputBody {
    let properties: Fields =
        [("channel", channel), ("text", text)].map(|(name, text)| (name.to_owned(), Value::from(text))).into();
    let id = format!("reply-{}-{text}", at.0);
    InputBody::Event(Event { id, name: MESSAGE_REPLIED.to_owned(), time: at, properties, minor: None, depth: 0 })
}
