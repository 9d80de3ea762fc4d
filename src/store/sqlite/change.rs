//! What memory learns from a committed transaction.

use super::super::Record;
use super::super::pause::Pauses;
use super::flight::{EffectFlight, Flight};
use std::sync::Arc;

/// What a committed transaction has changed.
pub enum Change {
    /// An input was accepted.
    Arrived {
        /// Whose.
        customer: Arc<str>,
        /// Its place.
        seq: u64,
        /// Beyond the window.
        far: bool,
    },
    /// A customer is free again.
    Freed {
        /// Who.
        customer: Arc<str>,
        /// Her row; 0: none.
        num: i64,
        /// Inputs that have left the inbox.
        consumed: Vec<u64>,
        /// Her wake.
        wake: Option<i64>,
        /// What was written of her, if it will be asked for in a moment.
        recent: Option<Box<(Flight, Record)>>,
    },
    /// A customer's gate was raised.
    Gate {
        /// Whose.
        customer: Arc<str>,
    },
    /// All of a customer's inputs left the inbox, `far` of them from beyond the window.
    Emptied {
        /// Who.
        customer: Arc<str>,
        /// How many from beyond.
        far: u64,
    },
    /// An input was put aside.
    PutAside {
        /// Whose.
        customer: Arc<str>,
        /// Which.
        seq: u64,
    },
    /// An input's crash counter is now this.
    Crashes {
        /// Which.
        seq: u64,
        /// How many.
        count: u32,
    },
    /// An effect entered the outbox.
    EffectBorn {
        /// Its row.
        seq: i64,
        /// When it is due.
        due: i64,
        /// Handed out from birth.
        flight: Option<(String, EffectFlight)>,
    },
    /// An attempt of an effect began.
    EffectBegun {
        /// Which.
        id: String,
    },
    /// An effect went back to the queue.
    EffectBack {
        /// Which.
        id: String,
        /// Its row.
        seq: i64,
        /// When it is due.
        due: i64,
    },
    /// Effects that waited are due.
    EffectsDue {
        /// Since when.
        due: i64,
    },
    /// These are paused now, and nothing else.
    Paused(Pauses),
    /// An effect left the outbox.
    EffectGone {
        /// Which.
        id: String,
    },
}
