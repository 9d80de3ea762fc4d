//! `segment_entered` and `segment_left`: the instant at which she begins or ceases to be in a segment.

use super::{DefaultReEntry, Firing, Interest, Trigger, TriggerCx, TriggerKind, TriggerNames};
use crate::lang::diag::Faults;
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::value::Fields;
use crate::watch::Flip;

/// The kind that fires on entering.
pub const ENTERED: TriggerKind = TriggerKind {
    name: "segment_entered",
    doc: "the customer enters a segment",
    example: "{ segment_entered: vip }",
    fields: &[Field::required("segment_entered", Shape::Name("segment"), "the segment")],
    bare: false,
    compile: |object, names, faults| compile(object, true, names, faults),
};

/// The kind that fires on leaving.
pub const LEFT: TriggerKind = TriggerKind {
    name: "segment_left",
    doc: "the customer leaves a segment",
    example: "{ segment_left: active }",
    fields: &[Field::required("segment_left", Shape::Name("segment"), "the segment")],
    bare: false,
    compile: |object, names, faults| compile(object, false, names, faults),
};

#[derive(Debug)]
struct OnSegment {
    segment: String,
    entered: bool,
}

fn compile(object: &Object<'_>, entered: bool, names: &TriggerNames<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let segment = object.text(if entered { ENTERED.name } else { LEFT.name }, faults)?;
    names.names.know_segment(&segment, faults);
    Some(Box::new(OnSegment { segment: segment.text, entered }))
}

impl Trigger for OnSegment {
    fn interest(&self) -> Interest {
        Interest::Segment(self.segment.clone())
    }

    fn default_re_entry(&self) -> DefaultReEntry {
        DefaultReEntry::Never
    }

    fn on_flip(&self, cx: &TriggerCx<'_>, flip: Flip<'_>) -> Option<Firing> {
        if flip.segment != self.segment || flip.entered != self.entered {
            return None;
        }
        // The instant of entering is kept with the segment; that of leaving is now.
        let since = cx.customer.segments.get(&self.segment).copied().filter(|_| self.entered).unwrap_or(cx.now);
        Some(Firing {
            key: format!("segment:{}:{}", self.segment, since.0),
            anchor: since,
            mark: None,
            properties: Fields::new(),
        })
    }

    fn sentence(&self) -> String {
        format!("{} the segment {}", if self.entered { "enters" } else { "leaves" }, self.segment)
    }
}
