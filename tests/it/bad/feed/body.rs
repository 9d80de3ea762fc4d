//! Bodies of requests: events one by one, as a list and line by line; customers; requests for a run.

use super::chance::Chance;
use super::mutate::{self, Corpus, Form};
use super::store::{Sink, at_once};
use super::tree::Tree;
use super::{Case, Kind, Verdict, laws, sample};
use autofunnel::engine::intake::{Form as Body, Intake, Receipt, Shared, json};
use autofunnel::web::route::BODY_BYTES_MAX;
use std::sync::Arc;

/// Bytes of an address that an id of a customer is cut out of.
const IDS: &[&str] = &["c-1001", "", "a/b", "\u{0}", "..", "c 1", "é", "\u{202e}x"];

/// The doors over a store that takes everything.
pub fn intake() -> (Intake, Arc<Sink>) {
    let store = Sink::new();
    (Intake::new(store.clone(), Arc::new(Shared::new(sample::world()))), store)
}

/// A JSON document with changes in its structure, and sometimes in its bytes.
pub fn changed(tree: &Tree, corpus: &Corpus, chance: &mut Chance) -> Vec<u8> {
    let mut tree = tree.clone();
    corpus.change(&mut tree, Form::Json, chance);
    let mut bytes = tree.json().into_bytes();
    if chance.one_in(8) {
        mutate::bytes(&mut bytes, chance);
    }
    bytes.truncate(BODY_BYTES_MAX);
    bytes
}

/// Events.
pub struct Events {
    intake: Intake,
    events: Vec<Tree>,
    corpus: Corpus,
}

impl Events {
    /// Reads the samples.
    pub fn new() -> Events {
        let events = sample::lines("examples/events.ndjson");
        let corpus = sample::corpus(&events);
        Events { intake: intake().0, events, corpus }
    }

    /// One body with events, and its form.
    pub fn body(&self, chance: &mut Chance) -> (Vec<u8>, Body) {
        let some =
            |chance: &mut Chance| -> Vec<Tree> { (0..1 + chance.below(4)).map(|_| chance.item(&self.events).clone()).collect() };
        match chance.below(4) {
            0 => (changed(&Tree::List(some(chance)), &self.corpus, chance), Body::Json),
            1 => {
                let lines: Vec<Vec<u8>> = some(chance).iter().map(|tree| changed(tree, &self.corpus, chance)).collect();
                (lines.join(&b"\n"[..]), Body::Lines)
            }
            _ => (changed(chance.item(&self.events), &self.corpus, chance), Body::Json),
        }
    }
}

impl Kind for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let (body, form) = self.body(&mut chance);
        let shown = body.clone();
        let past_parser = match form {
            Body::Json => json::read(&body).is_ok(),
            Body::Lines => body.split(|byte| *byte == b'\n').any(|line| json::read(line).is_ok()),
        };
        Case { shown, feed: Box::new(move || of_receipt(at_once(self.intake.events(&body, form)), past_parser)) }
    }
}

fn of_receipt(answer: Result<Receipt, autofunnel::engine::intake::IntakeError>, past_parser: bool) -> Verdict {
    let mut verdict = laws::of_door(&answer, past_parser);
    if let Ok(Receipt::Many(items)) = answer {
        let refused: Vec<Verdict> =
            items.iter().filter_map(|(_, item)| Some(laws::of_refusal(item.as_ref().err()?, past_parser))).collect();
        verdict.refused = !refused.is_empty();
        // The line, or the place in the list, is always told.
        verdict.placed = verdict.refused;
        verdict.broken = refused.into_iter().find_map(|verdict| verdict.broken);
    }
    verdict
}

/// Customers, and requests for a run.
pub struct Customers {
    intake: Intake,
    customers: Vec<Tree>,
    corpus: Corpus,
}

impl Customers {
    /// Reads the samples.
    pub fn new() -> Customers {
        let mut customers = sample::lines("examples/customers.ndjson");
        for customer in &mut customers {
            if let Tree::Map(entries) = customer {
                entries.retain(|(key, _)| key != "customer");
            }
        }
        let corpus = sample::corpus(&customers);
        Customers { intake: intake().0, customers, corpus }
    }

    /// One body.
    pub fn body(&self, chance: &mut Chance) -> Vec<u8> {
        changed(chance.item(&self.customers), &self.corpus, chance)
    }
}

impl Kind for Customers {
    fn name(&self) -> &'static str {
        "customer"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        if chance.one_in(4) {
            let run = sample::tree("{ customer: c-1001, id: \"r-1\", properties: { seats: 2, city: Kiel }, force: true }");
            let body = changed(&run, &self.corpus, &mut chance);
            let body = if chance.one_in(2) { run.json().into_bytes() } else { body };
            let funnel = if chance.one_in(4) { mutate::tweak("welcome", &mut chance) } else { "welcome".to_owned() };
            let key = chance.one_in(2).then(|| mutate::tweak("key-1", &mut chance));
            let shown = format!("{funnel} {key:?}\n{}", String::from_utf8_lossy(&body)).into_bytes();
            let past_parser = json::read(&body).is_ok();
            let feed = move || laws::of_door(&at_once(self.intake.enrol(&funnel, key.as_deref(), &body)), past_parser);
            return Case { shown, feed: Box::new(feed) };
        }
        let body = self.body(&mut chance);
        let id = if chance.one_in(16) { chance.pick(IDS) } else { "c-1001" };
        let shown = format!("{id}\n{}", String::from_utf8_lossy(&body)).into_bytes();
        let past_parser = json::read(&body).is_ok();
        let feed = move || {
            let mut verdict = laws::of_door(&at_once(self.intake.put_customer(id, &body)), past_parser);
            if chance.one_in(64) {
                let erased = laws::of_door(&at_once(self.intake.erase(id)), past_parser);
                verdict.broken = verdict.broken.or(erased.broken);
            }
            verdict
        };
        Case { shown, feed: Box::new(feed) }
    }
}
