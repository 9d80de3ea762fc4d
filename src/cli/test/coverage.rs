//! What the tests of each funnel have been through, and what not.

use super::Played;
use crate::cli::term::{Term, Tone, plain};
use crate::cli::workspace::Opened;
use crate::funnel::Workspace;
use crate::trial::coverage::{Unit, Walked};
use serde_json::{Value as Json, json};

/// What tests went through of one funnel.
pub(super) struct Covered {
    funnel: String,
    units: Vec<Unit>,
}

/// All funnels that were tested, or could have been: those that `only` names, or all.
pub(super) fn of(played: &[Played], workspace: &Workspace, only: Option<&String>) -> Vec<Covered> {
    let wanted = workspace.funnels.values().filter(|funnel| only.is_none_or(|only| *only == funnel.name));
    wanted
        .map(|funnel| {
            let mut walked = Walked::default();
            let own = played.iter().filter(|one| one.funnel == funnel.name);
            own.filter_map(|one| one.outcome.as_ref()).for_each(|outcome| walked.extend(&outcome.walked));
            Covered { funnel: funnel.name.clone(), units: walked.units(funnel) }
        })
        .collect()
}

impl Covered {
    /// How many steps are covered, of how many; then the same for the ways out of them.
    fn counts(&self) -> [(usize, usize); 2] {
        [false, true].map(|arms| {
            let of = self.units.iter().filter(|unit| unit.arm.is_some() == arms);
            (of.clone().filter(|unit| unit.covered).count(), of.count())
        })
    }

    fn missing(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().filter(|unit| !unit.covered)
    }
}

/// For people: counts, then what no test goes through, with its place.
pub(super) fn shown(covered: &[Covered], opened: &Opened, term: &Term) -> String {
    let mut out = String::from("\ncoverage\n");
    for one in covered {
        let [(steps, of_steps), (ways, of_ways)] = one.counts();
        let whole = steps == of_steps && ways == of_ways;
        let line = format!("  {}: {steps} of {of_steps} steps, {ways} of {of_ways} branches", one.funnel);
        out.push_str(&format!("{}\n", term.tone(if whole { Tone::Good } else { Tone::Bad }, &plain(&line))));
        for unit in one.missing() {
            let way = unit.arm.as_ref().map_or(String::new(), |arm| format!(", {arm}"));
            let place = format!("{}:{}", opened.path(&unit.place.file), unit.place.line);
            out.push_str(&format!("    {}\n", plain(&format!("{place}: no test goes through {}{way}", unit.step))));
        }
    }
    out
}

/// For scripts.
pub(super) fn as_json(covered: &[Covered], opened: &Opened) -> Json {
    let one = |one: &Covered| {
        let [(steps, of_steps), (ways, of_ways)] = one.counts();
        let missing: Vec<Json> = one
            .missing()
            .map(|unit| json!({ "step": unit.step, "branch": unit.arm, "file": opened.path(&unit.place.file), "line": unit.place.line }))
            .collect();
        json!({
            "funnel": one.funnel, "steps": { "covered": steps, "of": of_steps },
            "branches": { "covered": ways, "of": of_ways }, "missing": missing,
        })
    };
    covered.iter().map(one).collect()
}
