//! What a document may hold: what is forgotten when nothing needs it any more, and when there is no room for
//! another run.

use super::Turn;
use crate::customer::history::Keep;
use crate::customer::{Customer, DOCUMENT_BYTES_MAX, Run};
use crate::event::Event;
use crate::lang::time::DAY_MS;
use crate::lang::value::{Fields, Value};

/// How long the keys of entries are remembered, in days.
pub const KEYS_KEPT_DAYS: i64 = 400;
/// Most keys of entries remembered, shared evenly by the funnels that she has entered; of more the oldest are
/// forgotten first.
pub const KEYS_MAX: usize = 1_000;
/// Most names of events of which a history is begun though no definition names them.
pub const HISTORY_NAMES_MAX: usize = 300;
/// A new run is refused when what cannot be folded is estimated to take more than this, in bytes: what is
/// under way must still have room to go on, and history to be kept.
const ROOM_BYTES: usize = DOCUMENT_BYTES_MAX / 4 * 3;
/// What a part of a document takes beside its texts, about, in bytes.
const PART_BYTES: usize = 12;

impl Turn<'_> {
    /// Drops what is remembered longer than anything needs it.
    pub(super) fn prune(&mut self) {
        let keys_from = self.now.plus_ms(-KEYS_KEPT_DAYS * DAY_MS);
        let share = (KEYS_MAX / self.customer.entries.len().max(1)).max(1);
        for entries in self.customer.entries.values_mut() {
            entries.keys.retain(|(_, at)| *at > keys_from);
            let many = entries.keys.len().saturating_sub(share);
            entries.keys.drain(..many);
        }
        self.prune_sends();
        let none = Keep::default();
        for (name, history) in &mut self.customer.history {
            history.prune(self.workspace.keeps.get(name).unwrap_or(&none), self.now, self.zone);
        }
    }

    /// Whether the document has room for a run that this event starts.
    pub(super) fn has_room(&self, event: Option<&Event>) -> bool {
        weight(&self.customer) + event.map_or(0, |event| fields(&event.properties)) <= ROOM_BYTES
    }
}

/// About how large a document is without its history, which can be folded; in bytes.
fn weight(customer: &Customer) -> usize {
    let entries: usize = customer.entries.values().map(|entries| (entries.keys.len() + 3) * PART_BYTES * 2).sum();
    let kept = customer.unsure.iter().map(|unsure| &*unsure.run);
    let runs: usize = customer.runs.iter().chain(kept).map(run).sum();
    let small = customer.consent.len()
        + customer.segments.len()
        + customer.sends.len()
        + customer.marks.len()
        + customer.watched.len()
        + customer.addresses.len()
        + customer.stops.len();
    let settling: usize = customer
        .settling
        .iter()
        .map(|kept| PART_BYTES * 10 + kept.event.as_ref().map_or(0, |event| fields(&event.properties)))
        .sum();
    fields(&customer.profile) + entries + runs + settling + small * PART_BYTES * 5
}

fn run(run: &Run) -> usize {
    let event = run.event.as_ref().map_or(0, |event| event.id.len() + event.name.len() + fields(&event.properties));
    let results: usize = run.results.iter().map(|(name, result)| name.len() + value(result)).sum();
    run.funnel.len() + run.version.len() + run.key.len() + event + results + PART_BYTES * 20
}

fn fields(all: &Fields) -> usize {
    all.iter().map(|(name, inner)| name.len() + value(inner)).sum()
}

fn value(value: &Value) -> usize {
    PART_BYTES
        + match value {
            Value::Text(text) => text.len(),
            Value::List(items) => items.iter().map(self::value).sum(),
            Value::Map(inner) => fields(inner),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Dec(_) | Value::Time(_) => 0,
        }
}
