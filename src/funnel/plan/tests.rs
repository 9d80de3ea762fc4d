//! Fates of live runs, and what stands against a change.

use super::*;
use crate::funnel::Files;

const SETTINGS: &str = "workspace: Shop\nzone: Europe/Berlin\ncurrency: EUR\n";
const CATALOG: &str = "bundles:\n  starter: { title: Starter, kind: starter, price: 10, worth: 12, valid_for: 7 days, items: [{ sku: a, quantity: 1 }] }\n";

fn workspace(funnel: &str, more: &[(&str, &str)]) -> Workspace {
    let mut files: Files = [("autofunnel.yaml", SETTINGS), ("catalog.yaml", CATALOG), ("welcome.yaml", funnel)]
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .into();
    for (path, text) in more {
        match text.is_empty() {
            true => drop(files.remove(*path)),
            false => drop(files.insert((*path).to_owned(), (*text).to_owned())),
        }
    }
    let mut faults = Faults::default();
    crate::funnel::compile(&files, &mut faults).unwrap_or_else(|| panic!("{:?}", faults.list()))
}

fn funnel(head: &str, steps: &str) -> String {
    format!("funnel: Welcome\ntrigger: signed_up\n{head}steps:\n{steps}")
}

const OLD: &str = "  - wait: 3 days\n    id: pause\n  - grant: 5 points\n    id: gift\n    reason: x\n";

#[test]
fn fates_follow_what_the_new_version_says() {
    let old = workspace(&funnel("", OLD), &[]);
    let steps = "  - wait: 5 days\n    id: rest\n  - offer: starter\n    id: gift\n";
    let fates = |head: &str| {
        let new = workspace(&funnel(head, steps), &[]);
        ["pause", "gift"].map(|step| fate(&old.funnels["welcome"], Some(&new.funnels["welcome"]), step))
    };
    assert_eq!(fates(""), [Fate::Stay, Fate::Stay]);
    assert_eq!(fates("on_change: drain\n"), [Fate::Stay, Fate::Stay]);
    assert_eq!(fates("on_change: migrate\n"), [Fate::Exit, Fate::Anew("gift".to_owned())]);
    let renamed = fates("on_change: migrate\nrenamed: { pause: rest }\n");
    assert_eq!(renamed, [Fate::Migrate("rest".to_owned()), Fate::Anew("gift".to_owned())]);
    assert_eq!(fate(&old.funnels["welcome"], None, "pause"), Fate::Stay);
}

#[test]
fn a_plan_names_what_changes_and_counts_runs() {
    let now = workspace(&funnel("", OLD), &[("segments.yaml", "vip: { when: purchases() >= 9 }\n")]);
    let next = workspace(
        &funnel("on_change: migrate\n", OLD),
        &[("segments.yaml", "vip: { when: purchases() >= 8 }\n"), ("catalog.yaml", ""), ("other.yaml", &funnel("", OLD))],
    );
    let welcome = &now.funnels["welcome"];
    let at = LiveAt { funnel: "welcome".into(), version: welcome.version.clone(), step: "pause".into(), count: 7 };
    let lost = LiveAt { version: "gone".into(), ..at.clone() };
    let plan = plan(&now, &next, &[at.clone(), lost.clone()], |version| (version == welcome.version).then_some(&**welcome));
    let shown: Vec<String> = plan.changes.iter().map(|c| format!("{} {} {}", c.how.name(), c.kind, c.name)).collect();
    assert_eq!(shown, ["added funnel other", "changed funnel welcome", "changed segment vip", "removed catalog catalog.yaml"]);
    let fates: Vec<Option<&str>> = plan.runs.iter().map(|runs| runs.fate.as_ref().map(Fate::name)).collect();
    assert_eq!(fates, [Some("migrate"), None]);
    let same = super::plan(&now, &now, &[], |_| None);
    assert!(same.changes.is_empty() && same.base == same.hash);
}

#[test]
fn a_name_that_a_live_run_uses_is_missed() {
    let old = workspace(&funnel("", "  - wait: 3 days\n  - offer: starter\n"), &[]);
    let next = workspace(&funnel("", OLD), &[("catalog.yaml", "")]);
    let missed = missed_by(&old.funnels["welcome"], &old, &next);
    assert_eq!(missed, ["there is no bundle `starter` in catalog.yaml"]);
    let kept = workspace(&funnel("", OLD), &[]);
    assert!(missed_by(&old.funnels["welcome"], &old, &kept).is_empty());
}

#[test]
fn a_renamed_step_is_checked() {
    let faults = |renamed: &str| {
        let files: Files = [("autofunnel.yaml", SETTINGS), ("welcome.yaml", &funnel(&format!("renamed: {renamed}\n"), OLD))]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into();
        let mut faults = Faults::default();
        crate::funnel::compile(&files, &mut faults);
        let errors = faults.list().iter().filter(|fault| fault.severity == crate::lang::diag::Severity::Error);
        errors.map(|fault| fault.code).collect::<Vec<_>>()
    };
    assert_eq!(faults("{ before: pause }"), Vec::<&str>::new());
    assert_eq!(faults("{ before: pauze }"), ["unknown-step"]);
    assert_eq!(faults("{ gift: pause }"), ["renamed-step"]);
}
