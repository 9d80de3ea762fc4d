//! The workspace of the examples, and the steps and triggers in it.

use crate::funnel::{self, Files, Workspace};
use crate::lang::diag::{Fault, Faults};

/// Its files.
const FILES: &[(&str, &str)] = &[
    ("autofunnel.yaml", include_str!("workspace/autofunnel.yaml")),
    ("blocks.yaml", include_str!("workspace/blocks.yaml")),
    ("catalog.yaml", include_str!("workspace/catalog.yaml")),
    ("onboarding.yaml", include_str!("workspace/onboarding.yaml")),
    ("rules.yaml", include_str!("workspace/rules.yaml")),
    ("segments.yaml", include_str!("workspace/segments.yaml")),
    ("templates/order-ready.txt", include_str!("workspace/templates/order-ready.txt")),
    ("templates/renewal-last-day.txt", include_str!("workspace/templates/renewal-last-day.txt")),
    ("templates/welcome.txt", include_str!("workspace/templates/welcome.txt")),
];

/// All of them.
pub(super) fn files() -> Files {
    FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

/// The text of one.
pub(super) fn file(path: &str) -> &'static str {
    FILES.iter().find(|(known, _)| *known == path).map_or("", |(_, text)| text)
}

/// A step of a list, as it is written.
pub(super) fn listed(step: &str) -> String {
    format!("- {step}")
}

/// The name of the funnel in which an example stands.
pub(super) const FUNNEL: &str = "example";

/// The workspace with a funnel of that trigger and these steps, or what is wrong with it.
pub(super) fn with(trigger: &str, steps: &str) -> Result<Workspace, Vec<Fault>> {
    let steps: String = steps.lines().map(|line| format!("  {line}\n")).collect();
    let mut files = files();
    files.insert(format!("{FUNNEL}.yaml"), format!("funnel: Example\ntrigger: {trigger}\ngoal: purchase\nsteps:\n{steps}"));
    let mut faults = Faults::default();
    let workspace = funnel::compile(&files, &mut faults);
    match (workspace, faults.list().is_empty()) {
        (Some(workspace), true) => Ok(workspace),
        _ => Err(faults.into_sorted().0),
    }
}
