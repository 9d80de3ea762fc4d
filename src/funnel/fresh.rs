//! Which steps read what a remote loyalty store says: they are done on fresh data.

use super::settings::Settings;
use crate::catalog::Catalog;
use crate::lang::diag::Faults;
use crate::segment::Segments;
use crate::step::Steps;
use std::collections::HashMap;

/// What of a step reads the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreReads {
    /// Its `if`, or what it decides by.
    pub conditions: bool,
    /// Its template, or the request of its provider.
    pub effect: bool,
}

/// The steps that read the store, by index. `frozen` are the paths that each freezes into its effect.
pub(super) fn store_reads(
    steps: &Steps,
    frozen: &HashMap<u32, Vec<Vec<String>>>,
    settings: &Settings,
    (segments, catalog): (&Segments, &Catalog),
    faults: &mut Faults,
) -> HashMap<u32, StoreReads> {
    let mut out = HashMap::new();
    let Some(store) = &settings.loyalty_store else { return out };
    let reads_it = |paths: &[Vec<String>], named: &[String]| {
        paths.iter().any(|path| store.is_read_by(path)) || named.iter().any(|name| segment_reads(name, settings, segments))
    };
    for (index, at) in (0_u32..).zip(&steps.list) {
        let eligible = at.step.offers().and_then(|bundle| catalog.bundle(bundle)?.eligible.as_ref());
        let conditions = at.step.conditions().into_iter().chain(&at.only_if).chain(eligible);
        let mut by_conditions = conditions.into_iter().any(|cond| reads_it(&cond.fields(), &cond.segments()));
        by_conditions |= at.step.expressions().into_iter().any(|expr| reads_it(&expr.fields(), &expr.segments()));
        let by_effect = frozen.get(&index).is_some_and(|paths| reads_it(paths, &[]));
        if by_conditions || by_effect {
            out.insert(index, StoreReads { conditions: by_conditions, effect: by_effect });
        } else if at.max_age.is_some() {
            faults
                .warning(
                    "unused-max-age",
                    &at.place,
                    "the step reads nothing that the loyalty store says, so its `max_age` is of no use",
                )
                .hint(format!("what a lookup says is under `loyalty_store`; here: {}", store.names.join(", ")));
        }
    }
    out
}

/// Whether a segment, or one that it names, reads the store.
fn segment_reads(name: &str, settings: &Settings, segments: &Segments) -> bool {
    let Some(store) = &settings.loyalty_store else { return false };
    // A segment that is named stands before the one that names it, so this comes to an end.
    let reads = |segment: &crate::segment::Segment| {
        segment.when.fields().iter().any(|path| store.is_read_by(path))
            || segment.when.segments().iter().any(|inner| inner != name && segment_reads(inner, settings, segments))
    };
    segments.get(name).is_some_and(reads)
}
