//! Two simulations of the same inputs under two workspaces: what differs, and for whom.

use super::report::{Figures, Outcome, Report};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Changed customers that JSON lists; all of them are counted.
pub const LISTED_MAX: usize = 1_000;

/// What differs between two reports.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    /// Figures that differ, funnel by funnel, and those of all funnels together under the name [`ALL`].
    pub funnels: Vec<Changes>,
    /// Customers who see something else, in order of their ids.
    pub customers: Vec<Changed>,
    /// Customers in all.
    pub of: u64,
}

/// The name of all funnels together.
pub const ALL: &str = "(all funnels)";

/// Figures of one funnel that differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changes {
    /// The funnel.
    pub funnel: String,
    /// Name, before, after.
    pub figures: Vec<(&'static str, i64, i64)>,
}

/// A customer who sees something else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// Her id.
    pub customer: String,
    /// The funnels in which she does.
    pub funnels: Vec<String>,
    /// These funnels together before.
    pub before: Outcome,
    /// These funnels together after.
    pub after: Outcome,
}

impl Comparison {
    /// Compares what was with what would be.
    pub fn new(before: &Report, after: &Report) -> Comparison {
        let none = Figures::default();
        let names: BTreeSet<&String> = before.funnels.keys().chain(after.funnels.keys()).collect();
        let mut funnels: Vec<Changes> = names
            .into_iter()
            .map(|name| {
                let of = |report: &'_ Report| report.funnels.get(name).unwrap_or(&none).named();
                Changes { funnel: name.clone(), figures: differing(of(before), of(after)) }
            })
            .collect();
        funnels.push(Changes { funnel: ALL.to_owned(), figures: differing(before.total().named(), after.total().named()) });
        funnels.retain(|changes| !changes.figures.is_empty());
        let nothing = BTreeMap::new();
        let ids: BTreeSet<&String> = before.outcomes.keys().chain(after.outcomes.keys()).collect();
        let customers = ids.iter().filter_map(|id| {
            let of = |report: &'_ Report| report.outcomes.get(*id).unwrap_or(&nothing).clone();
            changed(id, &of(before), &of(after))
        });
        Comparison { funnels, customers: customers.collect(), of: ids.len() as u64 }
    }

    /// The comparison for machines; at most [`LISTED_MAX`] customers are listed.
    pub fn to_json(&self) -> Json {
        let funnels: Vec<Json> = self
            .funnels
            .iter()
            .map(|changes| {
                let figures: serde_json::Map<String, Json> = changes
                    .figures
                    .iter()
                    .map(|(name, before, after)| (name.replace(' ', "_"), json!({ "before": before, "after": after })))
                    .collect();
                json!({ "funnel": changes.funnel, "figures": figures })
            })
            .collect();
        let side = |o: &Outcome| json!({ "entered": o.entered, "sent": o.sent, "points": o.points, "money": o.money });
        let customers: Vec<Json> = self
            .customers
            .iter()
            .take(LISTED_MAX)
            .map(|c| json!({ "customer": c.customer, "funnels": c.funnels, "before": side(&c.before), "after": side(&c.after) }))
            .collect();
        json!({ "funnels": funnels, "changed": self.customers.len(), "of": self.of, "customers": customers })
    }
}

fn differing(before: [(&'static str, i64); 15], after: [(&'static str, i64); 15]) -> Vec<(&'static str, i64, i64)> {
    let pairs = before.into_iter().zip(after).map(|((name, before), (_, after))| (name, before, after));
    pairs.filter(|(_, before, after)| before != after).collect()
}

fn changed(id: &str, before: &BTreeMap<String, Outcome>, after: &BTreeMap<String, Outcome>) -> Option<Changed> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let funnels: Vec<String> = names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect();
    // Of the funnels that differ; the others are the same on both sides.
    let together = |outcomes: &BTreeMap<String, Outcome>| {
        funnels.iter().filter_map(|name| outcomes.get(name)).fold(Outcome::default(), |sum, one| Outcome {
            entered: sum.entered + one.entered,
            sent: sum.sent + one.sent,
            points: sum.points + one.points,
            money: sum.money + one.money,
            digest: sum.digest ^ one.digest,
        })
    };
    let (before, after) = (together(before), together(after));
    (!funnels.is_empty()).then(|| Changed { customer: id.to_owned(), funnels, before, after })
}
