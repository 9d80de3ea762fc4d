//! What does not leave at once, or never: steps that a person looks at first, and steps that only try.

use super::Turn;
use super::advance::Next;
use super::sending::set_variant;
use crate::customer::RunState;
use crate::effect::{EffectKind, Message};
use crate::fact::What;
use crate::funnel::Funnel;
use crate::lang::value::{Fields, Value};
use crate::step::{NEXT, StepAt};
use std::sync::Arc;

/// Most characters of a text that a fact shows.
const PREVIEW_CHARS_MAX: usize = 2_000;

impl Turn<'_> {
    /// What a step would do waits for a person; a message as long as it may be sent.
    pub(super) fn hold_for_review(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        kind: &EffectKind,
        id: String,
    ) -> Next {
        // What is undone meanwhile is not given any more.
        self.note_gift(index, step, &id);
        let run = &mut self.customer.runs[index];
        let until = run.deadline;
        run.state = RunState::Review { id, until };
        let seen = preview(funnel, kind);
        let fact = self.run_fact(index, funnel, What::Review, step.id.clone(), "");
        fact.seen = seen;
        if let EffectKind::Message(message) = kind {
            set_variant(fact, &message.channel);
        }
        Next::Rest
    }

    /// Nothing leaves; the run goes on as if it had.
    pub(super) fn shadow(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, kind: &EffectKind) -> Next {
        let seen = preview(funnel, kind);
        let fact = self.run_fact(index, funnel, What::Shadowed, step.id.clone(), "");
        fact.seen = seen;
        if let EffectKind::Message(message) = kind {
            set_variant(fact, &message.channel);
        }
        self.result_of(index, step, "shadowed", Fields::new());
        self.go(index, step, NEXT);
        Next::Again
    }

    /// A person's word.
    pub(super) fn reviewed(&mut self, effect: &str, release: bool, by: &str, why: &str) {
        let waits = |state: &RunState| matches!(state, RunState::Review { id, .. } if id == effect);
        let Some(index) = self.customer.runs.iter().position(|run| waits(&run.state)) else {
            // Somebody was faster, it was too late, or the run has ended.
            self.fact(What::Refused, effect, "it does not wait for a review any more");
            return;
        };
        let run = &mut self.customer.runs[index];
        run.state = RunState::Ready;
        let (version, at) = (run.version.clone(), run.at as usize);
        // Without its definition the run is ended where its step would be done.
        let Some(funnel) = self.definitions.funnel(&version).cloned() else { return };
        let Some(step) = funnel.steps.list.get(at) else { return };
        if release {
            self.customer.runs[index].released = true;
            self.run_fact(index, &funnel, What::Released, "", format!("by {by}"));
            return;
        }
        let why = if why.is_empty() { format!("{by} said no") } else { format!("{by} said no: {why}") };
        self.result_of(index, step, "rejected", Fields::new());
        self.run_fact(index, &funnel, What::Skipped, step.id.clone(), why);
        self.customer.runs[index].gifts.retain(|gift| gift.key != effect);
        self.go(index, step, NEXT);
    }
}

/// What it looks like, for whoever has to say yes.
fn preview(funnel: &Funnel, kind: &EffectKind) -> Vec<(String, Value)> {
    let text = |name: &str, text: &str| (name.to_owned(), Value::Text(text.chars().take(PREVIEW_CHARS_MAX).collect()));
    match kind {
        EffectKind::Message(message) => {
            let mut seen = vec![text("to", &message.to)];
            let rendered = funnel.templates.get(&message.template).map(|template| template.render(&with_way_out(message)));
            match rendered {
                Some(Ok(rendered)) => {
                    if !rendered.subject.is_empty() {
                        seen.push(text("subject", &rendered.subject));
                    }
                    seen.push(text("text", &rendered.text));
                }
                // Delivery says the same, and then it is an answer.
                Some(Err(why)) => seen.push(text("text", &format!("cannot be put together: {why}"))),
                None => {}
            }
            seen
        }
        EffectKind::Grant(grant) => {
            vec![("points".to_owned(), Value::from(grant.points)), text("reason", &grant.reason)]
        }
        EffectKind::Offer(offer) => vec![text("bundle", &offer.bundle)],
        EffectKind::Call(call) => {
            let mut seen = vec![text("service", &call.service), text("request", &format!("{} {}", call.method, call.path))];
            seen.extend(call.body.as_deref().map(|body| text("text", body)));
            seen
        }
        EffectKind::Tell(tell) => vec![text("to", &tell.to)],
        EffectKind::Lookup(_) => Vec::new(),
    }
}

/// The variables of a message with a way out that leads nowhere: links are signed with a key that only a store has.
pub fn with_way_out(message: &Message) -> Fields {
    let mut variables = message.variables.clone();
    if let Some(links) = &message.links {
        variables.insert("unsubscribe_url".to_owned(), Value::Text(format!("{}/u/preview", links.address)));
    }
    variables
}
