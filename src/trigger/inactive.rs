//! `inactive_for`: so long after the last event of a name, if none follows. Who never had one is not inactive.
//!
//! The occasion is the last event: another one begins with the next event.

use super::{DefaultReEntry, Firing, Interest, Occurrence, Trigger, TriggerCx, TriggerKind, TriggerNames};
use crate::event::words::PURCHASE;
use crate::lang::cel::{Need, Type};
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::{Span, Time};
use crate::lang::value::{Fields, Value};

/// The kind.
pub const KIND: TriggerKind = TriggerKind {
    name: "inactive_for",
    doc: "so much time has passed since her last purchase, or another event",
    example: "{ inactive_for: 60 days, of: purchase }",
    fields: &[
        Field::required("inactive_for", Shape::Duration, "how long nothing happened"),
        Field::optional("of", Shape::Name("event"), "the event that did not happen; default purchase"),
    ],
    bare: false,
    compile,
};

#[derive(Debug)]
struct InactiveFor {
    span: Span,
    of: String,
}

fn compile(object: &Object<'_>, names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let of = match object.node("of") {
        None => PURCHASE.to_owned(),
        Some(_) => {
            let name = object.text("of", faults)?;
            names.names.know_event(&name, faults);
            name.text
        }
    };
    let span = object.span("inactive_for", faults)?;
    if span.is_zero() {
        faults
            .error("bad-duration", &object.place("inactive_for"), "nobody is inactive for no time at all")
            .hint("for example `60 days`");
        return None;
    }
    Some(Box::new(InactiveFor { span, of }))
}

impl Trigger for InactiveFor {
    fn interest(&self) -> Interest {
        Interest::Time
    }

    fn default_re_entry(&self) -> DefaultReEntry {
        DefaultReEntry::Never
    }

    fn next(&self, cx: &TriggerCx<'_>, after: Time) -> Option<Occurrence> {
        let at = self.next_at(cx, after)?;
        let history = cx.customer.history.get(&self.of)?;
        let properties = Fields::from([("last".to_owned(), Value::Time(history.last))]);
        let firing = Firing { key: format!("inactive:{}", history.last.0), anchor: at, mark: None, properties };
        Some(Occurrence { at, firing, expires: None })
    }

    fn next_at(&self, cx: &TriggerCx<'_>, after: Time) -> Option<Time> {
        let history = cx.customer.history.get(&self.of).filter(|history| history.count > 0)?;
        Some(history.last.plus(self.span, cx.zone)).filter(|at| *at > after)
    }

    fn properties(&self) -> Vec<(String, Type)> {
        vec![("last".to_owned(), Type::Time)]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need { event: self.of.clone(), window: None, properties: Vec::new() }]
    }

    fn sentence(&self) -> String {
        format!("{} without {}", self.span, self.of)
    }
}
