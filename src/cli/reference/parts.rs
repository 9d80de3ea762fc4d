//! The parts of the reference that are made of kinds and tables.

use super::workspace::{self, file, listed};
use super::{fields, heading, sentence, yaml};
use crate::catalog;
use crate::channel;
use crate::funnel::schema::{FACT_KINDS, HAPPENING_FIELDS, TEST_FIELDS};
use crate::funnel::{blocks, draft, settings};
use crate::loyalty;
use crate::segment;
use crate::source;
use crate::step;
use crate::trigger;
use crate::watch;

/// Which files there are.
pub(super) fn files(out: &mut String) {
    heading(out, 2, "Files");
    out.push_str(
        "| file | |\n|---|---|\n\
         | `autofunnel.yaml` | the settings; must be there |\n\
         | `segments.yaml` | named conditions |\n\
         | `catalog.yaml` | tiers, memberships, bundles, bonus rules |\n\
         | `blocks.yaml` | lists of steps with parameters |\n\
         | `NAME.yaml` | a funnel; the file's name is the funnel's |\n\
         | `templates/NAME.html`, `.mjml`, `.txt` | messages |\n\
         | `tests/NAME.yaml` | more tests of the funnel NAME |\n",
    );
}

/// The rules of a funnel.
pub(super) fn funnel(out: &mut String) {
    heading(out, 2, "Funnel");
    yaml(out, file("rules.yaml").split("tests:").next().unwrap_or_default());
    fields(out, &[draft::FIELDS]);
    heading(out, 3, "What is looked out for");
    out.push_str(
        "`exit_on`, `goal`, `wait_for`, `restart_on` and `undo_on` take the name of an event, or a map with one of these:\n",
    );
    fields(out, &[watch::FIELDS]);
}

/// Why a run starts.
pub(super) fn triggers(out: &mut String) {
    heading(out, 2, "Triggers");
    let bare: Vec<String> = trigger::KINDS.iter().filter(|kind| kind.bare).map(|kind| format!("`{}`", kind.name)).collect();
    out.push_str(&format!("One word (the name of an event, or {}), or a map with one of these and its keys.\n", bare.join(", ")));
    for kind in trigger::KINDS {
        heading(out, 3, &format!("`{}`", kind.name));
        out.push_str(&format!("{}\n\n", sentence(kind.doc)));
        yaml(out, &format!("trigger: {}", kind.example));
        fields(out, &[kind.fields]);
    }
}

/// What a run does.
pub(super) fn steps(out: &mut String) {
    heading(out, 2, "Steps");
    out.push_str("A step is a map with one kind as a key, its own keys, and any of these:\n");
    fields(out, &[step::COMMON]);
    for kind in step::KINDS {
        heading(out, 3, &format!("`{}`", kind.name));
        out.push_str(&format!("{}\n\n", sentence(kind.doc)));
        let example = listed(kind.example);
        yaml(out, &example);
        fields(out, &[kind.fields]);
        let results = results(&example, kind.name);
        if !results.is_empty() {
            out.push_str(&format!("\nLater steps can read {}.\n", results.join(", ")));
        }
    }
    heading(out, 3, "`use`");
    out.push_str("Puts the steps of a block of `blocks.yaml` here.\n\n");
    yaml(out, "- use: nudge\n  with: { template: welcome, pause: 3 days }");
    fields(out, &[blocks::USE_FIELDS]);
}

/// The trigger under which examples of steps stand: an event of an order.
pub(super) const TRIGGER: &str = "order_packed";

/// What `steps.<id>` holds after a step.
fn results(example: &str, kind: &str) -> Vec<String> {
    let Ok(workspace) = workspace::with(TRIGGER, example) else { return Vec::new() };
    let steps = workspace.funnels.get(workspace::FUNNEL).map(|funnel| &funnel.steps.list);
    let at = steps.and_then(|list| list.iter().find(|at| at.kind == kind));
    let names = at.map(|at| at.step.results()).unwrap_or_default();
    names.into_iter().map(|(name, _)| format!("`steps.<id>.{name}`")).collect()
}

/// The other files of a workspace.
pub(super) fn other_files(out: &mut String) {
    let parts: [(&str, &str, &[crate::lang::shape::Field]); 4] = [
        ("segments.yaml", "Each name with these keys.", segment::FIELDS),
        ("catalog.yaml", "What there is to earn and to buy.", catalog::FIELDS),
        ("blocks.yaml", "Each name with these keys.", blocks::FIELDS),
        ("autofunnel.yaml", "The settings of the workspace.", settings::FIELDS),
    ];
    for (name, about, table) in parts {
        heading(out, 2, &format!("`{name}`"));
        out.push_str(&format!("{about}\n\n"));
        yaml(out, file(name));
        fields(out, &[table]);
    }
}

/// What stands under `providers`, `sources`, `services` and `loyalty_store`.
pub(super) fn outside(out: &mut String) {
    heading(out, 2, "Providers");
    out.push_str("What stands under `providers`, by `kind`; `examples/` has whole ones.\n");
    fields(out, &[channel::COMMON_FIELDS]);
    for kind in channel::kinds() {
        heading(out, 3, &format!("kind `{}`", kind.name));
        out.push_str(&format!("{}\n", sentence(kind.doc)));
        fields(out, &[kind.fields, kind.more]);
    }
    heading(out, 2, "Services");
    out.push_str("What stands under `services`, for the step `call`.\n");
    fields(out, channel::SERVICE_FIELDS);
    heading(out, 2, "Sources");
    out.push_str("What stands under `sources`: who may deliver webhooks to `/hooks/NAME`.\n");
    fields(out, &[source::FIELDS]);
    heading(out, 2, "Loyalty store");
    out.push_str("What stands under `loyalty_store`, where points are kept elsewhere.\n");
    fields(out, &[loyalty::FIELDS]);
    let (booking, lookup) = loyalty::request_fields();
    heading(out, 3, "requests that book");
    fields(out, &booking);
    heading(out, 3, "lookups");
    fields(out, &lookup);
}

/// Tests of funnels.
pub(super) fn tests(out: &mut String) {
    heading(out, 2, "Tests");
    let tests = file("rules.yaml").split_once("tests:").map_or("", |(_, tests)| tests);
    yaml(out, &format!("tests:{tests}"));
    fields(out, &[TEST_FIELDS]);
    out.push_str("\nUnder `events` stand events (`event:` with the properties beside it), or one of these:\n");
    for table in HAPPENING_FIELDS {
        fields(out, &[table]);
    }
    out.push_str("\nA line under `expect` begins with one of these words, perhaps after a time:\n\n| word | |\n|---|---|\n");
    for (word, about) in FACT_KINDS {
        out.push_str(&format!("| `{word}` | {about} |\n"));
    }
}
