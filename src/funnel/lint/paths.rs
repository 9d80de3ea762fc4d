//! What a message names may not be there on some way to it: a step that was skipped, or that this way leads past, has
//! left nothing, and a message that names it is not sent.

use super::super::Funnel;
use crate::lang::diag::Faults;
use crate::step::{END, NEXT, OnError, StepAt};

/// Reports each step whose results a message names and may not have.
pub fn missing_results(funnel: &Funnel, faults: &mut Faults) {
    let list = &funnel.steps.list;
    for (to, at) in list.iter().enumerate() {
        let Some((name, _)) = at.step.template() else { continue };
        let Some(template) = funnel.templates.get(name) else { continue };
        let mut told: Vec<String> = Vec::new();
        for path in template.variables() {
            let [root, id, field, ..] = &path[..] else { continue };
            if root != "steps" || field == "result" || told.contains(id) {
                continue;
            }
            let Some(from) = list.iter().position(|step| step.id == *id) else { continue };
            let never = list[from].step.never_leaves(field).then(|| format!("the points of `{id}` never run out"));
            let may = || may_miss(funnel, from, to).filter(|_| !asked_before(list, id, to));
            let Some(why) = never.or_else(may) else { continue };
            let Some(place) = template.bare(&path) else { continue };
            told.push(id.clone());
            // A template of the workspace is right for another funnel, perhaps: the step is what is to be mended.
            let place = if name.starts_with("inline:") { place } else { at.place.clone() };
            let message = format!("the message names `steps.{id}.{field}`, which is missing when {why}; then it is not sent");
            faults.warning("may-be-missing", &place, message).hint(format!(
                "write `{{{{ steps.{id}.{field} | default(\"…\") }}}}` in the template, or `if: steps.{id}.result == \"…\"` at the step"
            ));
        }
    }
}

/// Why there may be nothing of a step at another one.
fn may_miss(funnel: &Funnel, from: usize, to: usize) -> Option<String> {
    let list = &funnel.steps.list;
    let step = &list[from];
    let id = &step.id;
    if from == to || reaches(list, to, from) {
        return Some(format!("a way leads past the step `{id}`"));
    }
    if step.only_if.is_some() {
        return Some(format!("the `if` of the step `{id}` is false"));
    }
    let fails = matches!(step.on_error, OnError::Skip) && step.step.template().is_none();
    if step.step.grants().is_none() && step.step.offers().is_none() {
        return None;
    }
    match () {
        () if step.step.offers().is_some() => Some(format!("`{id}` is not offered: she is not eligible, or had another offer")),
        () if step.step.may_be_nothing() && !let_in_by(funnel, step) => Some(format!("`{id}` is worth no point")),
        () if step.if_expired.is_some() || fails => Some(format!("the step `{id}` was not done")),
        () => None,
    }
}

/// Whether the entry filter asks for the amount that points are given for: then it is taken to keep out what is too little.
fn let_in_by(funnel: &Funnel, step: &StepAt) -> bool {
    let amounts = step.step.expressions();
    funnel.only_if.as_ref().is_some_and(|entry| amounts.iter().all(|amount| entry.text.text.contains(&amount.text.text)))
}

/// Whether the step `to` can be come to without the step `past`.
fn reaches(list: &[StepAt], to: usize, past: usize) -> bool {
    let mut seen = vec![false; list.len()];
    let mut open = vec![0_usize];
    while let Some(index) = open.pop() {
        if index == past || index >= list.len() || std::mem::replace(&mut seen[index], true) {
            continue;
        }
        if index == to {
            return true;
        }
        let at = &list[index];
        let own = (at.only_if.is_some() || at.step.goes_on()).then_some(NEXT);
        let targets = at.arms().into_iter().map(|(_, to)| to).chain(own);
        open.extend(targets.map(|to| if to == NEXT { at.next } else { to }).filter(|to| *to != END).map(|to| to as usize));
    }
    false
}

/// Whether the funnel asks what came of a step before it comes to another: then it is taken to know.
fn asked_before(list: &[StepAt], id: &str, to: usize) -> bool {
    let named = format!("steps.{id}.");
    let asks = |at: &StepAt| {
        let conditions = at.step.conditions().into_iter();
        conditions
            .chain(if at.step.template().is_some() { None } else { at.only_if.as_ref() })
            .any(|c| c.text.text.contains(&named))
    };
    let own = list[to].only_if.as_ref().is_some_and(|condition| condition.text.text.contains(&named));
    own || list[..to].iter().any(asks)
}
