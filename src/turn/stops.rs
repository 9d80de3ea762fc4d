//! What was said about addresses: it holds where the address is hers.

use super::Turn;
use crate::event::address::{Address, Stop, StopKind};
use crate::fact::What;
use crate::lang::time::Time;
use crate::lang::value::Value;

impl Turn<'_> {
    /// Something was said about an address. What is not hers is forgotten: should it become hers, the index says
    /// it again.
    pub(super) fn stop(&mut self, address: &Address, stop: &Stop) {
        if !self.customer.her_addresses().contains(address) {
            return;
        }
        if self.customer.note_stop(address, stop) {
            self.fact(What::Suppressed, stop.channel.clone(), format!("{}, says {}", words(stop.kind), stop.source));
        }
        self.customer.gate = self.customer.gate.saturating_add(1);
        self.redecide_planned("its address was suppressed before it was sent");
    }

    /// What she said herself about an address is taken back.
    pub(super) fn lift(&mut self, (address, channel): (&Address, &str), until: Time, source: &str, only: Option<StopKind>) {
        let lifted = self.customer.lift_stops(address, channel, until, only);
        if !lifted.is_empty() {
            let kinds: Vec<&str> = lifted.into_iter().map(StopKind::name).collect();
            self.fact(What::Unsuppressed, channel, format!("no longer {}, says {source}", kinds.join(" and ")));
        }
    }

    /// Why an address of hers gets no message.
    pub(super) fn stopped(&self, channel: &str, to: &str, transactional: bool) -> Option<String> {
        let stop = self.customer.stopped(channel, to)?;
        let holds = !transactional || stop.kind.stops_everything();
        holds.then(|| format!("her address for {channel} {} {}", words(stop.kind), self.clock_text(stop.since)))
    }

    /// Changes or removes an attribute.
    pub(super) fn put_attribute(&mut self, name: String, value: Value) {
        self.profile_moved = true;
        match value {
            Value::Null => self.customer.profile.remove(&name),
            value => self.customer.profile.insert(name, value),
        };
    }

    /// The addresses that are hers now and were not, and those that were; what was said about others is forgotten.
    pub(super) fn settle_addresses(&mut self) -> (Vec<Address>, Vec<Address>) {
        if !self.erase && !self.profile_moved && !self.customer.addresses.is_empty() {
            // Addresses are digests, which cost more than the rest of a small turn.
            debug_assert!(self.customer.addresses == self.customer.her_addresses(), "an attribute was changed unseen");
            return (Vec::new(), Vec::new());
        }
        let hers = if self.erase { Vec::new() } else { self.customer.her_addresses() };
        self.customer.stops.retain(|(address, _)| hers.contains(address));
        let before = std::mem::replace(&mut self.customer.addresses, hers);
        let now = &self.customer.addresses;
        let taken = now.iter().filter(|address| !before.contains(address)).cloned().collect();
        (taken, before.into_iter().filter(|address| !now.contains(address)).collect())
    }
}

fn words(kind: StopKind) -> &'static str {
    match kind {
        StopKind::Bounced => "bounced",
        StopKind::Complained => "complained about a message",
        StopKind::Stopped => "was stopped",
        StopKind::Unsubscribed => "was unsubscribed",
        StopKind::Asked => "was asked to be left alone, in words that a person has to look at (`autofunnel review list`),",
        StopKind::Crowded => "is shared by too many customers",
    }
}
