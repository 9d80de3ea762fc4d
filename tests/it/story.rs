//! Laws of the turn, over random stories: a backlog, batches and one by one give the same document; the
//! order of arrival does not change history and segments; nothing is early; a second delivery starts nothing.

use crate::golden::stage::Stage;
use autofunnel::customer::Customer;
use autofunnel::event::{Event, Input, InputBody};
use autofunnel::fact::What;
use autofunnel::lang::time::{DAY_MS, HOUR_MS, Time};
use autofunnel::lang::value::{Fields, Value};
use autofunnel::play::Player;
use proptest::prelude::*;

/// Everything that time and events can move, without effects: what the law holds for exactly.
const QUIET: &str = r#"
--- autofunnel.yaml
profile: { seen: number }
--- segments.yaml
regular: { when: 'purchases("10 days") >= 3' }
dormant: { when: 'last("purchase") < ago("12 days")' }
--- order.yaml
funnel: Order
trigger: purchase
key: event.order_id
goal: { event: purchase, within: 5 days, every: true, value: event.amount }
exit_on: { event: refund }
steps:
  - wait: 2 days
  - branch:
      - if: in_segment("regular")
        then:
          - set: { seen: { cel: purchases() } }
      - else:
          - wait_for: purchase
            up_to: 3 days
            then:
              - emit: came_back
  - stop: done
--- dormant.yaml
funnel: Dormant
trigger: { segment_entered: dormant }
re_entry: after 20 days
while: in_segment("dormant")
steps:
  - wait: 4 days
  - emit: still_away
--- third.yaml
funnel: Third
trigger: { milestone: purchases, reaches: [3, 6] }
re_entry: always
steps:
  - wait: 36h
"#;

const BEGIN: Time = Time(1_803_891_600_000);

fn event(number: usize, purchase: bool, time: Time) -> Event {
    let properties: Fields =
        [("order_id".to_owned(), Value::Text(format!("o{}", number % 7))), ("amount".to_owned(), Value::Int(number as i64 + 1))]
            .into();
    let name = if purchase { "purchase" } else { "refund" };
    Event { id: format!("e{number}"), name: name.to_owned(), time, properties, minor: Some((number as i64 + 1) * 100), depth: 0 }
}

/// Gaps in hours and whether each event is a purchase.
fn stories() -> impl Strategy<Value = Vec<(i64, bool)>> {
    prop::collection::vec((0i64..100, prop::bool::weighted(0.85)), 1..25)
}

fn inputs(story: &[(i64, bool)]) -> Vec<Input> {
    let mut at = BEGIN;
    let mut out = Vec::new();
    for (number, (gap, purchase)) in story.iter().enumerate() {
        at = at.plus_ms(gap * HOUR_MS);
        out.push(Input { accepted_at: at, body: InputBody::Event(event(number, *purchase, at)) });
    }
    out
}

fn one_by_one<'a>(stage: &'a Stage, inputs: &[Input], end: Time) -> Player<'a> {
    let mut player = Player::new(&stage.definitions, "ada", BEGIN);
    for input in inputs {
        player.input(input.accepted_at, input.body.clone());
    }
    player.run_until(end);
    player
}

fn document(player: &Player<'_>) -> Customer {
    player.customer.clone().expect("she is known")
}

/// Facts of the customer in words, without those of waiting that a later look at the clock repeats.
fn told(player: &Player<'_>) -> Vec<String> {
    player.facts.iter().map(|fact| format!("{} {:?} {} {}", fact.at, fact.what, fact.about, fact.why)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_backlog_gives_what_one_by_one_would_have_given(story in stories(), cuts in prop::collection::vec(1usize..6, 0..12)) {
        let stage = Stage::new(QUIET);
        let inputs = inputs(&story);
        let end = inputs.last().map_or(BEGIN, |input| input.accepted_at).plus_ms(40 * DAY_MS);
        let single = one_by_one(&stage, &inputs, end);

        let mut backlog = Player::new(&stage.definitions, "ada", BEGIN);
        backlog.backlog(inputs.clone(), end);
        backlog.run_until(end);
        prop_assert_eq!(told(&backlog), told(&single));
        prop_assert_eq!(document(&backlog), document(&single));

        // In batches, each taken when its last input was accepted.
        let mut batched = Player::new(&stage.definitions, "ada", BEGIN);
        let (mut rest, mut sizes) = (&inputs[..], cuts.into_iter());
        while let Some(size) = (!rest.is_empty()).then(|| sizes.next().unwrap_or(3).min(rest.len())) {
            let (batch, after) = rest.split_at(size);
            batched.backlog(batch.to_vec(), batch[size - 1].accepted_at);
            rest = after;
        }
        batched.run_until(end);
        prop_assert_eq!(document(&batched), document(&single));
    }

    #[test]
    fn the_order_of_arrival_does_not_change_history_and_segments(story in stories(), seed in any::<u64>()) {
        let stage = Stage::new(QUIET);
        let sorted = inputs(&story);
        let end = sorted.last().map_or(BEGIN, |input| input.accepted_at).plus_ms(HOUR_MS);
        let mut shuffled: Vec<Input> = sorted.iter().cloned().map(|input| Input { accepted_at: end, ..input }).collect();
        shuffled.sort_by_key(|input| match &input.body {
            InputBody::Event(event) => event.minor.unwrap_or_default() as u64 ^ seed,
            _ => seed,
        });
        let (in_order, late) = (one_by_one(&stage, &sorted, end), one_by_one(&stage, &shuffled, end));
        // What runs emit is another matter: runs go by what they see when they see it.
        for name in ["purchase", "refund"] {
            prop_assert_eq!(document(&in_order).history.remove(name), document(&late).history.remove(name));
        }
        let names = |player: &Player<'_>| document(player).segments.into_keys().collect::<Vec<_>>();
        prop_assert_eq!(names(&in_order), names(&late));
    }

    #[test]
    fn nothing_is_early_and_a_turn_without_news_waits_for_something_later(story in stories()) {
        let stage = Stage::new(QUIET);
        let inputs = inputs(&story);
        let mut player = Player::new(&stage.definitions, "ada", BEGIN);
        for input in &inputs {
            player.input(input.accepted_at, input.body.clone());
            prop_assert!(player.wake.is_none_or(|wake| wake > player.now), "{:?} at {}", player.wake, player.now);
        }
        // The first wait of `order` is two days: whatever comes after it comes no earlier.
        for entered in player.facts_of("order").filter(|fact| fact.what == What::Entered) {
            let run = entered.run.as_ref().map(|run| run.run);
            let later = player.facts_of("order").filter(|fact| fact.run.as_ref().map(|run| run.run) == run);
            let branched = later.filter(|fact| fact.what == What::Branched);
            for fact in branched {
                prop_assert!(fact.at.since_ms(entered.at) >= 47 * HOUR_MS, "{} after {}", fact.at, entered.at);
            }
        }
    }

    #[test]
    fn the_same_story_gives_the_same_document_and_a_second_delivery_starts_nothing(story in stories()) {
        let stage = Stage::new(QUIET);
        let inputs = inputs(&story);
        let end = inputs.last().map_or(BEGIN, |input| input.accepted_at).plus_ms(DAY_MS);
        let (first, second) = (one_by_one(&stage, &inputs, end), one_by_one(&stage, &inputs, end));
        prop_assert_eq!(document(&first), document(&second));
        let twice: Vec<Input> = inputs.iter().flat_map(|input| [input.clone(), input.clone()]).collect();
        let entered = |player: &Player<'_>| player.facts_of("order").filter(|fact| fact.what == What::Entered).count();
        prop_assert_eq!(entered(&one_by_one(&stage, &twice, end)), entered(&first));
    }
}
