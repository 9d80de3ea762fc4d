//! Who is due next, of many customers.

use crate::lang::time::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Instants at which customers are due. An entry whose customer is due at another one meanwhile is void.
#[derive(Default)]
pub struct Order(BinaryHeap<Reverse<(Time, String)>>);

impl Order {
    /// A customer is due then.
    pub fn push(&mut self, at: Time, customer: &str) {
        self.0.push(Reverse((at, customer.to_owned())));
    }

    /// Takes out the first one who is due, if that is not after `until`.
    pub fn next(&mut self, until: Time) -> Option<(Time, String)> {
        if self.0.peek().is_none_or(|Reverse((at, _))| *at > until) {
            return None;
        }
        self.0.pop().map(|Reverse(first)| first)
    }
}
