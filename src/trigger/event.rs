//! `event`: something happened, perhaps only if a condition over it holds.

use super::{DefaultReEntry, Firing, Interest, LATE_MS, Trigger, TriggerCx, TriggerKind, TriggerNames, elapsed_ms, filter};
use crate::event::Event;
use crate::lang::cel::Cond;
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::value::Fields;

/// The kind.
pub const KIND: TriggerKind = TriggerKind {
    name: "event",
    doc: "an event of this name happened",
    example: "{ event: signed_up, where: event.source == \"shop\" }",
    fields: &[Field::required("event", Shape::Name("event"), "the event's name"), WHERE, LATE],
    bare: false,
    compile,
};

/// Shared by the kinds that an event fires.
pub(super) const WHERE: Field = Field::optional("where", Shape::Condition, "only if this holds of the event");
/// Shared by the kinds that an event fires.
pub(super) const LATE: Field =
    Field::optional("late", Shape::Duration, "an event that arrives later than this is history only; default 72h");

/// An event's trigger.
#[derive(Debug)]
pub(super) struct OnEvent {
    /// The event's name.
    pub name: String,
    /// Only the first of its name.
    pub first: bool,
    /// Only if this holds.
    pub filter: Option<Cond>,
    /// Older ones are history only.
    pub late_ms: i64,
}

impl OnEvent {
    /// With the options that `object` has for an event of that name.
    pub fn read(
        name: String,
        first: bool,
        object: &Object<'_>,
        names: &TriggerNames<'_>,
        faults: &mut Faults,
    ) -> Option<Box<dyn Trigger>> {
        let late_ms = object.span("late", faults).map_or(LATE_MS, elapsed_ms);
        let filter = filter(object, &name, names, faults).ok()?;
        Some(Box::new(OnEvent { name, first, filter, late_ms }))
    }
}

fn compile(object: &Object<'_>, names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let name = object.text("event", faults)?;
    names.names.know_event(&name, faults);
    OnEvent::read(name.text, false, object, names, faults)
}

impl Trigger for OnEvent {
    fn interest(&self) -> Interest {
        Interest::Events(vec![self.name.clone()])
    }

    fn default_re_entry(&self) -> DefaultReEntry {
        DefaultReEntry::Never
    }

    fn on_event(&self, cx: &TriggerCx<'_>, event: &Event) -> Vec<Firing> {
        let is_first = || cx.customer.history.get(&self.name).is_some_and(|history| history.count == 1);
        if event.name != self.name || (self.first && !is_first()) {
            return Vec::new();
        }
        if let Some(filter) = &self.filter
            && filter.judge(cx.scope).value != Some(true)
        {
            return Vec::new();
        }
        vec![Firing { key: format!("event:{}", event.id), anchor: event.time, mark: None, properties: Fields::new() }]
    }

    fn lateness_ms(&self) -> Option<i64> {
        Some(self.late_ms)
    }

    fn event_name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn conditions(&self) -> Vec<&Cond> {
        self.filter.iter().collect()
    }

    fn sentence(&self) -> String {
        let which = if self.first { "the first " } else { "" };
        match &self.filter {
            None => format!("{which}{}", self.name),
            Some(filter) => format!("{which}{} where {}", self.name, filter.text.text),
        }
    }
}
