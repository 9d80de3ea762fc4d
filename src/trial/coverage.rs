//! What tests of a funnel have been through: its steps, and the ways out of them.

use crate::fact::{Fact, What};
use crate::funnel::Funnel;
use crate::lang::diag::Place;
use std::collections::BTreeSet;

/// The way around a step whose `if` is false.
const IF_FALSE: &str = "if is false";

/// What was gone through.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Walked {
    steps: BTreeSet<String>,
    arms: BTreeSet<(String, String)>,
}

/// Something that a test can go through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unit {
    /// The step.
    pub step: String,
    /// The way out of it; `None`: the step itself.
    pub arm: Option<String>,
    /// Where it is written.
    pub place: Place,
    /// Whether a test went through it.
    pub covered: bool,
}

impl Walked {
    /// What the facts of a funnel's runs tell of.
    pub fn of<'f>(facts: impl Iterator<Item = &'f Fact>) -> Walked {
        let mut out = Walked::default();
        for fact in facts {
            let Some(run) = fact.run.as_ref().filter(|run| run.run != 0 && !run.step.is_empty()) else { continue };
            let step = run.step.clone();
            match fact.what {
                // It was not come to: something else led past it.
                What::Exited | What::Entered | What::Goal | What::Withdrawn => continue,
                What::Skipped if fact.why.starts_with("if: ") => {
                    out.arms.insert((step, IF_FALSE.to_owned()));
                    continue;
                }
                What::Branched | What::Variant => drop(out.arms.insert((step.clone(), fact.about.clone()))),
                What::Resumed if fact.about == "matched" => drop(out.arms.insert((step.clone(), "then".to_owned()))),
                What::Resumed if fact.about == "timeout" => drop(out.arms.insert((step.clone(), "otherwise".to_owned()))),
                _ => {}
            }
            out.steps.insert(step);
        }
        out
    }

    /// Adds what another test went through.
    pub fn extend(&mut self, other: &Walked) {
        self.steps.extend(other.steps.iter().cloned());
        self.arms.extend(other.arms.iter().cloned());
    }

    /// All that tests of a funnel can go through, in the order of the file.
    pub fn units(&self, funnel: &Funnel) -> Vec<Unit> {
        let mut out = Vec::new();
        let id_at = |at: u32| funnel.steps.list.get(at as usize).map(|step| step.id.as_str());
        // The steps below an arm are reached by it alone: who is there has taken it, even where no fact says so.
        let below = |to: u32| id_at(to).is_some_and(|id| self.reached(id));
        for step in &funnel.steps.list {
            let mut unit = |arm: Option<String>, covered: bool| {
                out.push(Unit { step: step.id.clone(), arm, place: step.place.clone(), covered });
            };
            let arms: Vec<(String, bool)> = step
                .step
                .arms()
                .into_iter()
                .map(|(name, to)| {
                    let covered = below(to) || self.arms.contains(&(step.id.clone(), name.clone()));
                    (name, covered)
                })
                .collect();
            // What passes at once leaves no fact of its own.
            let silent = matches!(step.kind, "wait_until" | "wait_for") && id_at(step.next).is_some_and(|id| self.reached(id));
            unit(None, self.steps.contains(&step.id) || silent || arms.iter().any(|(_, covered)| *covered));
            for (name, covered) in arms {
                unit(Some(name), covered);
            }
            if step.only_if.is_some() {
                unit(Some(IF_FALSE.to_owned()), self.arms.contains(&(step.id.clone(), IF_FALSE.to_owned())));
            }
        }
        out
    }

    fn reached(&self, step: &str) -> bool {
        self.steps.contains(step) || self.arms.iter().any(|(of, _)| of == step)
    }
}
