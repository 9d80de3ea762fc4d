//! Addresses of the model.

use super::Truth;
use autofunnel::event::InputBody;
use autofunnel::event::address::{Address, FIELDS, HOLDERS_MAX, SOFT_MAX, SOFT_MS, Stop, StopKind};
use autofunnel::lang::time::Time;
use autofunnel::store::{AddressRow, NewInput, Saying};
use std::collections::BTreeMap;

/// What is known of an address.
#[derive(Default)]
pub(super) struct Known {
    holders: BTreeMap<String, Time>,
    stops: BTreeMap<(String, &'static str), Stop>,
    soft: BTreeMap<(String, String), Time>,
}

impl Known {
    fn row(&self) -> AddressRow {
        let holders = self.holders.iter().map(|(customer, since)| (customer.clone(), *since)).collect();
        AddressRow { holders, stops: self.stops.values().cloned().collect() }
    }

    fn stop(&mut self, stop: Stop) {
        let held = self.stops.entry((stop.channel.clone(), stop.kind.name())).or_insert_with(|| stop.clone());
        held.since = held.since.max(stop.since);
    }
}

impl Truth {
    /// See [`autofunnel::store::Store::say`].
    pub fn say(&mut self, address: Address, saying: Saying) -> AddressRow {
        let now = self.now();
        let known = self.addresses.entry(address).or_default();
        match saying {
            Saying::Stop(stop) => known.stop(stop),
            Saying::Soft { stop, id } => {
                known.soft.retain(|_, at| now.since_ms(*at) < SOFT_MS);
                known.soft.entry((stop.channel.clone(), id)).or_insert(now);
                if known.soft.keys().filter(|(channel, _)| *channel == stop.channel).count() >= SOFT_MAX {
                    known.stop(stop);
                }
            }
            Saying::Lift { channel, until, only } => {
                known.stops.retain(|_, stop| stop.channel != channel || !stop.kind.is_lifted(only) || stop.since > until);
            }
        }
        known.row()
    }

    /// See [`autofunnel::store::Store::address`].
    pub fn address(&self, address: &Address) -> AddressRow {
        self.addresses.get(address).map(Known::row).unwrap_or_default()
    }

    /// What a commit changes: what was said comes into her inbox with the address.
    pub(super) fn move_addresses(&mut self, customer: &str, taken: Vec<Address>, left: &[Address]) {
        let now = self.now();
        for address in left {
            self.addresses.entry(address.clone()).or_default().holders.remove(customer);
        }
        for address in taken {
            let known = self.addresses.entry(address.clone()).or_default();
            let mut stops: Vec<Stop> = known.stops.values().cloned().collect();
            let room = known.holders.contains_key(customer) || known.holders.len() < HOLDERS_MAX;
            match room {
                true => drop(known.holders.insert(customer.to_owned(), now)),
                false => stops.extend(FIELDS.iter().map(|(channel, _)| Stop {
                    channel: (*channel).to_owned(),
                    kind: StopKind::Crowded,
                    since: now,
                    source: "the model".to_owned(),
                })),
            }
            for stop in stops {
                let body = InputBody::Stop { address: address.clone(), stop };
                let source = "addresses".to_owned();
                self.accept(vec![NewInput { customer: customer.to_owned(), source, id: None, digest: 0, body }]);
            }
        }
    }
}
