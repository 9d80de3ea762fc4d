//! Every lint of the language, each with a wrong workspace: found at its line, with a hint, and not where nothing is wrong.

use super::super::{Files, compile};
use crate::lang::diag::Faults;

const SETTINGS: &str =
    "workspace: Shop\nzone: Europe/Berlin\ncurrency: EUR\nquiet_hours: { from: \"21:00\", until: \"08:00\" }\n";

/// A workspace with a funnel `f.yaml` and more files.
fn faults(funnel: &str, more: &[(&str, &str)]) -> Faults {
    let mut files: Files =
        [("autofunnel.yaml", SETTINGS), ("f.yaml", funnel)].map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    files.extend(more.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
    let mut faults = Faults::default();
    compile(&files, &mut faults);
    faults
}

/// A funnel with these steps from line 5 on.
fn steps(text: &str) -> String {
    format!("funnel: F\ntrigger: signed_up\ngoal: purchase\nsteps:\n{text}")
}

fn found(funnel: &str, more: &[(&str, &str)], code: &str, file: &str, line: u32, hint: &str) {
    let faults = faults(funnel, more);
    let fault = faults.list().iter().find(|fault| fault.code == code);
    let fault = fault.unwrap_or_else(|| panic!("no {code}: {:#?}", faults.list()));
    let said = fault.hint.as_deref().unwrap_or_default();
    assert_eq!((&*fault.place.file, fault.place.line), (file, line), "{fault:#?}");
    assert!(said.contains(hint), "{fault:#?}");
}

#[test]
fn every_lint_of_the_language_finds_its_line() {
    let template = [("templates/welcome.txt", "---\nsubject: Hi\n---\nHello\n")];
    let mail = "  - email: { subject: Hi, text: Hello }\n";
    // Unknown names, and what was meant.
    found(&steps("  - email: welcom\n"), &template, "unknown-template", "f.yaml", 5, "did you mean `welcome`?");
    // Steps that no way leads to.
    found(&steps(&format!("  - stop: done\n{mail}")), &[], "unreachable-step", "f.yaml", 6, "move it");
    // Loops without a wait: funnels that start each other, by words of their own or the engine's.
    let (one, two) = ("  - emit: beta\n", "funnel: G\ntrigger: beta\nsteps:\n  - emit: signed_up\n");
    found(&steps(one), &[("g.yaml", two)], "emit-cycle", "f.yaml", 5, "start on something else");
    for (trigger, step) in [("message_sent", mail), ("bonus_granted", "  - grant: 5 points\n")] {
        let own = steps(step).replace("trigger: signed_up", &format!("trigger: {{ event: {trigger} }}\nre_entry: always"));
        found(&own, &[], "emit-cycle", "f.yaml", 6, "start on something else");
    }
    // A `wait_for` without a limit.
    found(&steps("  - wait_for: purchase\n"), &[], "missing-field", "f.yaml", 5, "up_to");
    // No goal.
    found(&steps(mail).replace("goal: purchase\n", ""), &[], "no-goal", "f.yaml", 1, "goal:");
    // The same bonus twice.
    let bonus = "  - grant: 20 points\n    reason: welcome\n";
    let other = format!("funnel: G\ntrigger: signed_up\nsteps:\n{bonus}");
    found(&steps(bonus), &[("g.yaml", &other)], "same-bonus", "g.yaml", 4, "twice");
    // Missing texts.
    found(
        &steps("  - sms: welcome\n"),
        &[("templates/welcome.html", "---\nsubject: Hi\n---\n<p>Hi</p>")],
        "template-part",
        "f.yaml",
        5,
        "",
    );
}

#[test]
fn what_a_message_names_may_be_missing_on_some_way_to_it() {
    let gift = |more: &str, text: &str, of_message: &str| {
        steps(&format!("  - grant: 20 points\n    id: gift\n{more}  - email: {{ subject: Hi, text: \"{text}\" }}\n{of_message}"))
    };
    let named = "Your {{ steps.gift.points }} points";
    found(&gift("    if: purchases() > 3\n", named, ""), &[], "may-be-missing", "f.yaml", 8, "default");
    found(&gift("    expires: 1h\n    if_expired: []\n", named, ""), &[], "may-be-missing", "f.yaml", 9, "default");
    found(&gift("", "until {{ steps.gift.expires_at | date }}", ""), &[], "may-be-missing", "f.yaml", 7, "default");
    let branch = "  - branch:\n      - if: purchases() > 3\n        then: [ { grant: 20 points, id: gift } ]\n  - email: { subject: Hi, text: \"{{ steps.gift.points }}\" }\n";
    found(&steps(branch), &[], "may-be-missing", "f.yaml", 8, "default");
    let sound = [
        gift("", named, ""),
        gift("    expires_after: 1 year\n", "until {{ steps.gift.expires_at | date }}", ""),
        gift("    if: purchases() > 3\n", "{{ steps.gift.points | default(0) }}", ""),
        gift("    if: purchases() > 3\n", "{% if steps.gift.points %}{{ steps.gift.points }}{% endif %}", ""),
        gift("    if: purchases() > 3\n", named, "    if: steps.gift.result == \"active\"\n"),
        gift("    if: purchases() > 3\n", "{{ steps.gift.result }}", ""),
        branch.replace("  - email", "        else_is_none: true\n  - email").replace("        else_is_none: true\n", "").replace(
            "  - email: { subject",
            "  - stop: none\n    if: \"!(steps.gift.result == \\\"active\\\")\"\n  - email: { subject",
        ),
    ];
    for funnel in sound {
        let funnel = if funnel.starts_with("funnel") { funnel } else { steps(&funnel) };
        let faults = faults(&funnel, &[]);
        assert!(faults.list().iter().all(|fault| fault.code != "may-be-missing"), "{funnel}: {:#?}", faults.list());
    }
}

#[test]
fn a_deadline_that_quiet_hours_never_meet_is_told() {
    let mail = |more: &str| format!("  - email: {{ subject: Hi, text: Hello }}\n{more}");
    let evening = |more: &str| steps(&format!("  - wait_until: \"22:00\"\n{}", mail(more)));
    found(&evening("    expires: 10h\n"), &[], "never-in-time", "f.yaml", 6, "21:00–08:00");
    found(&steps(&mail("    window: { from: \"21:30\", until: \"23:00\" }\n")), &[], "never-in-time", "f.yaml", 5, "21:00–08:00");
    let night =
        steps(&mail("    expires: 1h\n")).replace("trigger: signed_up", "trigger: { birthday: 0 days before, at: \"03:00\" }");
    found(&night, &[], "never-in-time", "f.yaml", 5, "21:00–08:00");
    for sound in [
        evening("    expires: 11h\n"),
        evening("    expires: 10h\n    quiet_hours: ignore\n"),
        evening("    expires: 10h\n    transactional: true\n"),
        evening("    expires: 1 day\n"),
        evening("").replace("22:00", "20:00").replace("Hello }", "Hello }\n    expires: 1h"),
        steps(&mail("    window: { from: \"20:00\", until: \"23:00\" }\n")),
        steps(&mail("    expires: 1h\n")),
    ] {
        let faults = faults(&sound, &[]);
        assert!(faults.list().iter().all(|fault| fault.code != "never-in-time"), "{sound}: {:#?}", faults.list());
    }
}
