//! The part of the reference about how much of what there may be.

use super::heading;
use crate::{catalog, customer, event, funnel, segment, step, template, trial};

/// Limits, by what they limit.
fn all() -> Vec<(&'static str, i64)> {
    let n = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    vec![
        ("funnels of a workspace", n(funnel::workspace::FUNNELS_MAX)),
        ("steps of a funnel, blocks put in", n(step::STEPS_MAX)),
        ("variants of a split", n(step::split::VARIANTS_MAX)),
        ("weight of a variant", step::split::WEIGHT_MAX),
        ("points of one grant", step::grant::GRANT_POINTS_MAX),
        ("entries of `exit_on`", n(funnel::draft::EXITS_MAX)),
        ("priority, and below 0 as far", funnel::draft::PRIORITY_MAX),
        ("days of `settle`", funnel::draft::SETTLE_DAYS_MAX),
        ("segments", n(segment::SEGMENTS_MAX)),
        ("blocks", n(funnel::blocks::BLOCKS_MAX)),
        ("tiers", n(catalog::TIERS_MAX)),
        ("memberships", n(catalog::MEMBERSHIPS_MAX)),
        ("bundles", n(catalog::BUNDLES_MAX)),
        ("items of a bundle", n(catalog::ITEMS_MAX)),
        ("caps", n(funnel::settings::CAPS_MAX)),
        ("days of a cap", funnel::settings::CAP_DAYS_MAX),
        ("budgets", n(funnel::settings::budget::BUDGETS_MAX)),
        ("fields of the profile", n(funnel::settings::PROFILE_FIELDS_MAX)),
        ("declared events", n(funnel::settings::EVENTS_MAX)),
        ("providers", n(funnel::settings::PROVIDERS_MAX)),
        ("characters of an event's name", n(funnel::names::EVENT_NAME_BYTES_MAX)),
        ("bytes of a template's file", n(template::SOURCE_BYTES_MAX)),
        ("characters of a subject", n(template::SUBJECT_CHARS_MAX)),
        ("live runs of a customer", n(customer::RUNS_MAX)),
        ("bytes of what is kept of a customer", n(customer::DOCUMENT_BYTES_MAX)),
        ("minutes that an event may be ahead of the clock", event::FUTURE_MS_MAX / 60_000),
        ("days that a test without `until` is played", i64::from(trial::DAYS_MAX)),
    ]
}

/// How much of what there may be.
pub(super) fn limits(out: &mut String) {
    heading(out, 2, "Limits");
    out.push_str("| at most | |\n|---|---:|\n");
    for (what, most) in all() {
        out.push_str(&format!("| {what} | {most} |\n"));
    }
}
