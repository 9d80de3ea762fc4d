//! What the doors let in, played through the real turn; and funnel tests that are changed and played.

use super::body::{Customers, Events};
use super::chance::Chance;
use super::mutate::{Corpus, Form};
use super::tree::Tree;
use super::workspace::verdict;
use super::{Case, Kind, Verdict, sample};
use autofunnel::customer::codec;
use autofunnel::engine::intake::{Intake, Receipt};
use autofunnel::fact::What;
use autofunnel::funnel::{Definitions, Files};
use autofunnel::lang::diag::Faults;
use autofunnel::lang::node;
use autofunnel::lang::render::Sources;
use autofunnel::lang::time::DAY_MS;
use autofunnel::play::Player;
use autofunnel::trial;
use std::sync::Arc;

use super::store::{Sink, at_once};

/// Days that a customer is played on after the last input.
const DAYS: i64 = 45;

/// Bodies that are changed, taken in by the doors, and then dealt with in turns.
pub struct Turns {
    definitions: Definitions,
    intake: Intake,
    taken: Arc<Sink>,
    events: Events,
    customers: Customers,
}

impl Turns {
    /// Reads the samples.
    pub fn new() -> Turns {
        let (intake, taken) = super::body::intake();
        Turns { definitions: sample::definitions(), intake, taken, events: Events::new(), customers: Customers::new() }
    }
}

impl Kind for Turns {
    fn name(&self) -> &'static str {
        "turn"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let profile = self.customers.body(&mut chance);
        let bodies: Vec<_> = (0..1 + chance.below(4)).map(|_| self.events.body(&mut chance)).collect();
        let mut shown = profile.clone();
        for (body, _) in &bodies {
            shown.push(b'\n');
            shown.extend(body);
        }
        let feed = move || {
            let mut inputs = Vec::new();
            let known = at_once(self.intake.put_customer("c-1", &profile)).is_ok();
            inputs.extend(self.taken.taken());
            let mut past_parser = known;
            for (body, form) in &bodies {
                past_parser |= matches!(at_once(self.intake.events(body, *form)), Ok(Receipt::One(_) | Receipt::Many(_)));
                inputs.extend(self.taken.taken());
            }
            let mut player = Player::new(&self.definitions, "c-1", sample::NOW);
            for (number, input) in inputs.into_iter().enumerate() {
                player.input(sample::NOW.plus_ms(number as i64 * 60_000), input.body);
            }
            player.run_until(sample::NOW.plus_ms(DAYS * DAY_MS));
            let stored = player.customer.as_ref().map(codec::encode);
            let again = stored.map(|bytes| codec::decode::<autofunnel::customer::Customer>(&bytes));
            let mut broken = match (&player.customer, again) {
                (Some(customer), Some(Ok(again))) if *customer == again => None,
                (None, None) => None,
                (_, again) => Some(format!("what is stored is not what is read: {again:?}")),
            };
            if player.facts.iter().any(|fact| fact.what == What::Alert && fact.about != "document") {
                broken.get_or_insert("an alert".to_owned());
            }
            Verdict { past_parser, refused: !past_parser, placed: !past_parser, broken }
        };
        Case { shown, feed: Box::new(feed) }
    }
}

/// Funnel tests.
pub struct Tests {
    definitions: Definitions,
    tests: Vec<(String, Tree)>,
    corpus: Corpus,
}

impl Tests {
    /// Reads the samples.
    pub fn new() -> Tests {
        let definitions = sample::definitions();
        let tests: Vec<(String, Tree)> =
            definitions.current.tests.iter().map(|(funnel, node)| (funnel.clone(), Tree::of_yaml(node))).collect();
        let corpus = sample::corpus(tests.iter().map(|(_, tree)| tree));
        Tests { definitions, tests, corpus }
    }
}

impl Kind for Tests {
    fn name(&self) -> &'static str {
        "test"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let (funnel, tree) = chance.item(&self.tests);
        let mut tree = tree.clone();
        self.corpus.change(&mut tree, Form::Yaml, &mut chance);
        let text = tree.yaml(&mut chance);
        let shown = format!("# a test of {funnel}\n{text}").into_bytes();
        let feed = move || {
            let mut faults = Faults::default();
            let node = node::parse("test.yaml", &text, &mut faults);
            let past_parser = node.is_some();
            let mut broken = None;
            let outcome = node.and_then(|node| trial::run(&self.definitions, funnel, &node, &mut faults));
            if outcome.is_none() && !faults.has_errors() {
                broken = Some("refused without an error".to_owned());
            }
            if let Some(outcome) = outcome.filter(|outcome| !outcome.passed)
                && outcome.diff.is_empty()
                && outcome.state.is_empty()
            {
                broken = Some("it failed, and nothing says why".to_owned());
            }
            let files: Files = [("test.yaml".to_owned(), text)].into();
            let mut sources = Sources::default();
            sources.add("test.yaml", &files["test.yaml"]);
            let (faults, dropped) = faults.into_sorted();
            Verdict { past_parser, ..verdict(&files, &faults, dropped, &sources, broken) }
        };
        Case { shown, feed: Box::new(feed) }
    }
}
