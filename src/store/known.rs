//! What a turn knew of its customer, on its way with the effect that it decided.
//!
//! The answer of an effect that was handed over is read by this process a moment later, by a turn that begins where
//! that one ended: unless she has moved in the meantime, which her version tells, her documents need not be decoded
//! again. It is an aid of speed alone; what counts is what the store holds.

use crate::account::Account;
use crate::customer::Customer;
use std::sync::{Mutex, PoisonError};

/// Her documents as of a version of her record.
#[derive(Debug)]
pub struct Known {
    /// The version.
    pub version: u64,
    /// Her document.
    pub customer: Customer,
    /// Her account, when the turn moved it.
    pub account: Option<Account>,
}

/// Room for what is known, which is taken out once. A copy is empty.
#[derive(Debug, Default)]
pub struct Carried(Mutex<Option<Box<Known>>>);

impl Carried {
    /// Carries it, or nothing.
    pub fn new(known: Option<Box<Known>>) -> Carried {
        Carried(Mutex::new(known))
    }

    /// What is carried, if it is of that version.
    pub fn take(&self, version: u64) -> Option<Box<Known>> {
        let mut carried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        carried.take_if(|known| known.version == version)
    }
}

impl Clone for Carried {
    fn clone(&self) -> Carried {
        Carried::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::time::Time;

    #[test]
    fn it_is_given_once_and_only_for_its_version() {
        let customer = Customer::new("anna", Time(0));
        let carried = Carried::new(Some(Box::new(Known { version: 3, customer, account: None })));
        assert!(carried.clone().take(3).is_none(), "a copy is empty");
        assert!(carried.take(2).is_none() && carried.take(4).is_none());
        assert_eq!(carried.take(3).map(|known| known.customer.id), Some("anna".to_owned()));
        assert!(carried.take(3).is_none());
    }
}
