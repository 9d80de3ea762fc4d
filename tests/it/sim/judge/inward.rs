//! What comes in: what a sender is told, and in which order a customer's inputs are handed out.

use super::{Expected, Judge};
use autofunnel::event::InputBody;
use autofunnel::lang::time::{HOUR_MS, Time};
use autofunnel::lang::value::{Fields, Value};
use autofunnel::store::{Accepted, Claim, NewInput};

/// An event that is older than this when it is accepted starts no run.
const LATE_MS_MAX: i64 = 72 * HOUR_MS;

impl Judge {
    /// The store was given inputs.
    pub fn accepted(&mut self, now: Time, input: &NewInput, answer: Accepted) {
        let her = self.hers.entry(input.customer.clone()).or_default();
        let key = input.id.clone().map(|id| (input.source.clone(), id));
        let expected = match key.as_ref().and_then(|key| her.known.get(key)) {
            None => Accepted::New,
            Some(digest) if *digest == input.digest => Accepted::Duplicate,
            Some(_) => Accepted::Conflict,
        };
        if answer != expected {
            let wrong = format!("{} {key:?} was answered {answer:?}, it is {expected:?}", input.customer);
            return self.blame(wrong);
        }
        if answer != Accepted::New {
            return;
        }
        her.known.extend(key.map(|key| (key, input.digest)));
        her.unseen.push_back((now, Expected::Input(Box::new(input.body.clone()))));
        match &input.body {
            InputBody::Profile(change) => {
                let said = change.consent.iter().map(|consent| (consent.channel.clone(), consent.granted));
                her.consent.extend(said);
                let zone = change.profile.get("zone").and_then(Value::as_text).and_then(|zone| zone.parse().ok());
                her.zone = zone.or(her.zone);
            }
            InputBody::Event(event) if event.name == "purchase" && now.since_ms(event.time) <= LATE_MS_MAX => {
                her.orders.extend(order_of(&event.properties));
                her.purchases.insert(event.id.clone());
            }
            InputBody::Review { effect, release, .. } => self.said(&input.customer, effect, *release),
            _ => {}
        }
    }

    /// The store handed out a customer.
    pub fn claimed(&mut self, claim: &Claim, taken: bool) {
        let her = self.hers.entry(claim.customer.clone()).or_default();
        let mut wrong = Vec::new();
        if (claim.record.version, &claim.record.document) != (her.version, &her.document) {
            wrong.push(format!(
                "her document of version {} is not that of the last commit, {}",
                claim.record.version, her.version
            ));
        }
        if claim.record.account != her.account {
            wrong.push("her account is not that of the last commit that moved it".to_owned());
        }
        if claim.now < her.last_now {
            wrong.push(format!("the clock went back from {} to {}", her.last_now, claim.now));
        }
        her.last_now = claim.now;
        if claim.inputs.is_empty() && !taken && !her.nudged && her.wake.is_none_or(|wake| wake > claim.now) {
            wrong.push(format!("she was woken at {}, her wake is {:?}", claim.now, her.wake));
        }
        if taken && her.unread() > 0 {
            wrong.push("she was taken though she has unread inputs".to_owned());
        }
        let mut open = her.open.iter();
        let mut found = Vec::new();
        for queued in &claim.inputs {
            let (seq, input) = (queued.seq, &queued.input);
            let expected = match open.next() {
                Some((known, expected)) if *known == seq => Some(expected),
                Some((known, _)) => {
                    wrong.push(format!("input {seq} came before input {known}, or again"));
                    break;
                }
                None if seq <= her.last_seq => {
                    wrong.push(format!("input {seq} came again after it was consumed"));
                    break;
                }
                None => {
                    her.last_seq = seq;
                    let next = her.unseen.pop_front();
                    found.extend(next.map(|next| (seq, next)));
                    found.last().map(|(_, next)| next)
                }
            };
            if !expected.is_some_and(|(at, expected)| *at == input.accepted_at && expected.is(&input.body)) {
                wrong.push(format!("out of order, twice or never accepted: {input:?}, expected {expected:?}"));
                break;
            }
        }
        her.open.extend(found);
        for what in wrong {
            self.blame(format!("claim of {}: {what}", claim.customer));
        }
    }
}

/// The order that a purchase is about.
fn order_of(properties: &Fields) -> Option<String> {
    properties.get("order_id").and_then(Value::as_text).map(str::to_owned)
}
