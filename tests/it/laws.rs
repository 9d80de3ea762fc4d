//! Laws of the turn, over random customers: how inputs are cut into turns does not matter, nor when late news
//! come; nothing is early; nothing starts twice.

use crate::golden::stage::{Stage, act};
use autofunnel::account::Account;
use autofunnel::customer::{Customer, RunState, codec};
use autofunnel::event::{Input, InputBody};
use autofunnel::fact::{Fact, What};
use autofunnel::lang::time::{HOUR_MS, MINUTE_MS, Time};
use autofunnel::play::Player;
use autofunnel::turn::turn;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Everything that time and events do, without effects: so the law is exact.
static PLAIN: LazyLock<Stage> = LazyLock::new(|| {
    Stage::new(
        r#"
--- autofunnel.yaml
membership_owner: api
profile: { roast: text, trial_ends: date }
quiet_hours: { from: "21:00", until: "08:00" }
--- segments.yaml
fresh: { when: purchases("36h") >= 1 }
big:
  when: spent("5 days") >= 50
idle: { when: "!in_segment(\"fresh\") && has_done(\"purchase\")" }
dark: { when: customer.roast == "dark" }
member: { when: customer.membership.active }
morning: { when: local_hour() < 12 }
--- catalog.yaml
tiers:
  - tier: bronze
    when: spent("10 days") >= 20
  - tier: gold
    when: spent("10 days") >= 60
--- a-wait.yaml
funnel: A
trigger: { event: visit }
re_entry: always
exit_on: { event: refund, where: event.amount > 10 }
goal: { event: purchase, within: 3 days, value: event.amount, every: true }
steps:
  - wait: 7h
  - branch:
      - if: in_segment("big")
        then: [ { emit: praised, properties: { tier: { cel: "customer.name" } } } ]
        else: []
  - wait_until: "09:00"
  - wait_for: purchase
    up_to: 2 days
    otherwise: [ { stop: nothing } ]
  - set: { roast: dark }
--- b-key.yaml
funnel: B
trigger: { event: purchase, late: 6h }
key: event.order_id
priority: 3
while: "!in_segment(\"dark\") || in_segment(\"fresh\")"
steps:
  - wait: 1 day
  - wait_for:
      condition: in_segment("idle")
    up_to: 4 days
  - emit: settled
--- c-idle.yaml
funnel: C
trigger: { segment_entered: idle }
re_entry: after 2 days
exit_on: [ { segment_left: idle }, praised ]
goal: { segment_entered: fresh, within: 4 days }
steps:
  - split:
      one: { weight: 1, steps: [ { wait: 3h } ] }
      two: { weight: 1, steps: [ { wait: 30h } ] }
  - set: { roast: null }
--- d-tier.yaml
funnel: D
trigger: { event: tier_changed }
re_entry: always
steps: [ { wait: 1 hour } ]
--- e-mile.yaml
funnel: E
trigger: { milestone: purchases, reaches: [2, 4, 7] }
steps: [ { wait: 2 days } ]
--- f-renew.yaml
funnel: F
trigger: { renewal_due: 3 days before, at: "10:00" }
steps:
  - wait: 5h
  - wait_until: 1 day before renewal
  - emit: settled
--- g-trial.yaml
funnel: G
trigger: { date: trial_ends, when: 2 days before }
steps:
  - wait_until: on trial_ends
  - set: { trial_ends: null }
--- h-idle.yaml
funnel: H
trigger: { inactive_for: 50h }
re_entry: always
steps: [ { wait: 1 day } ]
--- i-settled.yaml
funnel: I
trigger: { event: settled }
re_entry: always
steps: [ { emit: visit } ]
--- j-cart.yaml
funnel: J
trigger: { event: purchase }
key: event.order_id
re_entry: always
only_if: customer.roast == "dark" || event.amount > 40
settle: 5h
goal: { event: refund, within: 2 days }
steps:
  - wait: 6h
    restart_on: { event: purchase, where: event.amount > 10 }
  - wait_for:
      - refund
      - { event: visit, then: [ { enter: k-course, with: { n: 1 } } ] }
      - { condition: in_segment("idle") }
    choose: best
    up_to: 30h
--- k-course.yaml
funnel: K
trigger: manual
re_entry: always
steps: [ { wait: 2h }, { emit: settled } ]
--- l-later.yaml
funnel: L
trigger: { event: refund }
re_entry: always
only_if: last("visit") < ago("3h")
settle: 9h
holdout: 100%
while: customer.roast != "dark"
goal: { event: review, within: 20h }
steps: [ { emit: praised } ]
"#
        .replace(
            "        then: [ { emit: praised, properties: { tier: { cel: \"customer.name\" } } } ]\n        else: []",
            "        then: [ { emit: praised } ]",
        )
        .as_str(),
    )
});

/// With messages, grants and offers, in funnels whose entries do not depend on what came of them.
static BUSY: LazyLock<Stage> = LazyLock::new(|| {
    Stage::new(
        r#"
--- segments.yaml
fresh: { when: purchases("36h") >= 1 }
rich: { when: customer.balance >= 10 }
--- catalog.yaml
bundles:
  set: { title: Set, kind: starter, items: [ { sku: a, quantity: 1 } ], price: 10, worth: 12, valid_for: 3 days }
--- a-mail.yaml
funnel: A
transactional: true
trigger: { event: visit, late: 90 days }
key: event.id
steps:
  - email: { subject: Hi, text: Hi }
  - wait: 9h
  - grant: 5 points
    expires_after: 2 days
--- b-left.yaml
funnel: B
transactional: true
trigger: { segment_left: fresh }
steps:
  - offer: set
  - sms: { text: "{{ offer.title }}" }
"#,
    )
});

/// Segments and tiers alone.
static JUDGED: LazyLock<Stage> = LazyLock::new(|| {
    Stage::new(
        r#"
--- segments.yaml
fresh: { when: purchases("36h") >= 1 }
big:
  when: spent("5 days") >= 50
varied:
  when: distinct("purchase", "order_id") >= 3
idle: { when: "!in_segment(\"fresh\") && has_done(\"purchase\")" }
back: { when: last("visit") > last("purchase") }
--- catalog.yaml
tiers:
  - tier: bronze
    when: spent("10 days") >= 20
  - tier: gold
    when: spent("10 days") >= 60
"#,
    )
});

const NAMES: &[&str] = &["visit", "purchase", "purchase", "purchase", "refund", "review"];

/// One thing that happens: after so many minutes, what, and how late it is told.
fn step() -> impl Strategy<Value = (i64, String, i64)> {
    let event = (0..NAMES.len(), 1u32..60, 0u32..4).prop_map(|(name, amount, order)| match NAMES[name] {
        "purchase" => format!("purchase order_id=O-{order} amount={amount}"),
        "refund" => format!("refund order_id=O-{order} amount={amount}"),
        name => name.to_owned(),
    });
    let profile = prop::sample::select(vec![
        "set roast=dark",
        "set roast=null",
        "set zone=America/New_York",
        "set zone=null",
        "set trial_ends=2027-03-31",
        "set trial_ends=2027-04-03",
        "member club 2026-04-01 2027-04-01",
        "member club 2026-04-01 2027-03-30",
        "member none",
        "enrol a-wait r1",
    ])
    .prop_map(str::to_owned);
    let what = prop_oneof![4 => event, 1 => profile];
    // Now and then two things happen in the same instant.
    let gap = prop_oneof![1 => Just(0i64), 6 => 1i64..60 * 24];
    let late = prop_oneof![5 => Just(0i64), 1 => 1i64..60 * 30];
    (gap, what, late)
}

/// Inputs around the night in which clocks go forward.
fn inputs(steps: &[(i64, String, i64)]) -> Vec<Input> {
    let mut at = Time::parse("2027-03-25T07:00:00Z").unwrap();
    let mut out = Vec::new();
    for (n, (gap, what, late)) in steps.iter().enumerate() {
        at = at.plus_ms(gap * MINUTE_MS);
        let mut body = act(what, &format!("e{n}"), at);
        if let InputBody::Event(event) = &mut body {
            event.time = event.time.plus_ms(-late * MINUTE_MS);
        }
        out.push(Input { accepted_at: at, body });
    }
    out
}

fn end_of(inputs: &[Input]) -> Time {
    inputs.last().map_or(Time(0), |input| input.accepted_at).plus_ms(120 * HOUR_MS)
}

/// Plays inputs in batches of the given sizes, each batch in one turn at the instant of its last input, and on
/// to an end; between batches she is woken whenever she is due, or not at all.
fn play<'a>(stage: &'a Stage, inputs: &[Input], sizes: &[usize], wakes: bool) -> Player<'a> {
    let mut player = Player::new(&stage.definitions, "ada", inputs[0].accepted_at);
    let (mut from, mut sizes) = (0, sizes.iter().cycle());
    while from < inputs.len() {
        let to = (from + sizes.next().copied().unwrap_or(1).max(1)).min(inputs.len());
        let (first, last) = (inputs[from].accepted_at, inputs[to - 1].accepted_at);
        if wakes {
            // What is due in the instant of an input comes after it.
            player.run_until(first.plus_ms(-1));
        }
        player.backlog(inputs[from..to].to_vec(), last);
        from = to;
    }
    if wakes {
        player.run_until(end_of(inputs));
    } else {
        player.backlog(Vec::new(), end_of(inputs));
    }
    player
}

fn document(player: &Player<'_>) -> Vec<u8> {
    codec::encode(player.customer.as_ref().expect("she is known"))
}

fn shown(facts: &[Fact]) -> Vec<String> {
    facts.iter().map(|fact| format!("{fact:?}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A backlog in one turn, any batches, and one by one with every wake in between come to the same document
    /// and tell the same story.
    #[test]
    fn how_inputs_are_cut_into_turns_does_not_matter(
        steps in prop::collection::vec(step(), 1..30), sizes in prop::collection::vec(1usize..8, 1..6),
    ) {
        let inputs = inputs(&steps);
        let single = play(&PLAIN, &inputs, &[1], true);
        for (name, other) in [
            ("batches with wakes", play(&PLAIN, &inputs, &sizes, true)),
            ("batches", play(&PLAIN, &inputs, &sizes, false)),
            ("one turn", play(&PLAIN, &inputs, &[inputs.len()], false)),
        ] {
            prop_assert_eq!(shown(&single.facts), shown(&other.facts), "{}", name);
            prop_assert_eq!(&single.customer, &other.customer, "{}", name);
            prop_assert!(document(&single) == document(&other), "{}: the bytes differ", name);
            prop_assert_eq!(single.wake, other.wake, "{}", name);
        }
    }

    /// Before a customer's wake nothing happens; at it something does, and the next wake is later.
    #[test]
    fn nothing_is_early_and_every_wake_is_for_something(steps in prop::collection::vec(step(), 1..15)) {
        let inputs = inputs(&steps);
        let end = end_of(&inputs);
        let mut bare = Bare::default();
        for (n, input) in inputs.iter().enumerate() {
            let mut wake = bare.turn(vec![input.clone()], input.accepted_at);
            let until = inputs.get(n + 1).map_or(end, |next| next.accepted_at.plus_ms(-1));
            while let Some(at) = wake.filter(|wake| *wake <= until) {
                prop_assert!(at > bare.now, "the wake {} is not after {}", at, bare.now);
                let before = bare.clone();
                let same = bare.turn(Vec::new(), at.plus_ms(-1));
                prop_assert!(bare.facts.len() == before.facts.len() && same == wake, "early: {:?}", bare.facts.last());
                prop_assert_eq!(&bare.customer, &before.customer, "something changed before the wake {}", at);
                // Nor when something happens a moment before it that nobody asked for.
                let mut other = before.clone();
                let moment = at.plus_ms(-1);
                other.turn(vec![Input { accepted_at: moment, body: act("noise", "noise", moment) }], moment);
                let told = &other.facts[before.facts.len()..];
                prop_assert!(told.len() == 1 && told[0].what == What::Event, "early: {told:?}");
                wake = bare.turn(Vec::new(), at);
                prop_assert!(wake.is_none_or(|next| next > at), "the wake {} does not go away", at);
                prop_assert!(bare.customer != before.customer, "woken at {} for nothing", at);
                let when = bare.facts[before.facts.len()..].iter().map(|fact| fact.at);
                prop_assert!(when.into_iter().all(|when| when == at), "a fact is not of the instant {}", at);
            }
        }
        let waits = |customer: &Customer| customer.runs.iter().any(|run| run.state == RunState::Ready);
        prop_assert!(!bare.customer.as_ref().is_some_and(waits), "a run is left ready");
    }

    /// The same turn twice is the same, to the byte.
    #[test]
    fn a_turn_is_a_function(steps in prop::collection::vec(step(), 1..20)) {
        for stage in [&*PLAIN, &*BUSY] {
            let (one, other) = (play(stage, &inputs(&steps), &[4], true), play(stage, &inputs(&steps), &[4], true));
            prop_assert_eq!(shown(&one.facts), shown(&other.facts));
            prop_assert_eq!(&one.effects, &other.effects);
            prop_assert!(document(&one) == document(&other) && one.account == other.account);
        }
    }

    /// However often an event comes, it starts one run of a funnel.
    #[test]
    fn an_event_starts_one_run_of_a_funnel(steps in prop::collection::vec(step(), 1..20), again in prop::collection::vec(0usize..20, 0..20)) {
        let mut told = inputs(&steps);
        let mut at = end_of(&told).plus_ms(-110 * HOUR_MS);
        for n in again {
            at = at.plus_ms(3 * HOUR_MS);
            let body = told[n % told.len()].body.clone();
            told.push(Input { accepted_at: at, body });
        }
        let mut bare = Bare::default();
        for (n, batch) in told.chunks(2).enumerate() {
            let now = batch[batch.len() - 1].accepted_at.plus_ms(if n % 3 == 0 { 5 * HOUR_MS } else { 0 });
            bare.turn(batch.to_vec(), now.min(told.get(2 * n + 2).map_or(now, |next| next.accepted_at)));
        }
        bare.turn(Vec::new(), end_of(&told));
        let entered = bare.facts.iter().filter(|fact| matches!(fact.what, What::Entered | What::HeldOut)).count();
        prop_assert_eq!(bare.began.iter().map(|(run, ..)| run).collect::<BTreeSet<_>>().len(), entered);
        // The event of a run that was restarted is the one that restarted it.
        let restarted = bare.facts.iter().filter(|fact| fact.what == What::Restarted);
        let restarted: BTreeSet<u64> = restarted.filter_map(|fact| fact.run.as_ref()).map(|run| run.run).collect();
        let once = |(run, funnel, _): &&(u64, String, String)| funnel != "e-mile" && !restarted.contains(run);
        let mut seen = BTreeSet::new();
        for (run, funnel, event) in bare.began.iter().filter(once) {
            prop_assert!(seen.insert((funnel, event)), "run {} of {} is the second one by {}", run, funnel, event);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// With effects the answers come later in a backlog, and what waits for them is later; but the same effects
    /// leave, and in the end she is the same.
    #[test]
    fn a_backlog_sends_what_one_by_one_would_have_sent(steps in prop::collection::vec(step(), 1..25)) {
        let mut inputs = inputs(&steps);
        inputs.retain(|input| matches!(input.body, InputBody::Event(_)));
        let start = Time::parse("2027-03-25T06:00:00Z").unwrap();
        inputs.insert(0, Input { accepted_at: start, body: act("set email=a@example.com phone=+491", "e", start) });
        let single = play(&BUSY, &inputs, &[1], true);
        let mut backlog = Player::new(&BUSY.definitions, "ada", start);
        backlog.backlog(inputs.clone(), inputs[inputs.len() - 1].accepted_at);
        backlog.run_until(end_of(&inputs));
        let effects = |player: &Player<'_>| player.effects.iter().map(|effect| effect.id.clone()).collect::<BTreeSet<_>>();
        prop_assert_eq!(effects(&single), effects(&backlog));
        prop_assert_eq!(single.effects.len(), effects(&single).len(), "an effect left twice");
        for what in [What::Sent, What::Granted, What::Offered, What::Finished] {
            prop_assert_eq!(single.count(what), backlog.count(what), "{:?}", what);
        }
        let (one, other) = (single.customer.as_ref().unwrap(), backlog.customer.as_ref().unwrap());
        // When points ran out is later, too; that they did is not.
        let counts = |customer: &Customer| customer.history.iter().map(|(name, kept)| (name.clone(), kept.count)).collect::<Vec<_>>();
        prop_assert_eq!(counts(one), counts(other));
        prop_assert_eq!(one.history.get("purchase"), other.history.get("purchase"));
        prop_assert_eq!(one.segments.keys().collect::<Vec<_>>(), other.segments.keys().collect::<Vec<_>>());
        prop_assert_eq!((&one.profile, &one.loyalty, &one.runs), (&other.profile, &other.loyalty, &other.runs));
    }

    /// The order in which news arrive does not matter to what is known and where she belongs in the end.
    #[test]
    fn late_news_come_to_the_same_history_and_segments(
        steps in prop::collection::vec(step(), 1..30), keys in prop::collection::vec(any::<u32>(), 30),
    ) {
        let mut events: Vec<InputBody> = inputs(&steps).into_iter().map(|input| input.body).collect();
        events.retain(|body| matches!(body, InputBody::Event(_)));
        prop_assume!(!events.is_empty());
        let start = Time::parse("2027-04-20T00:00:00Z").unwrap();
        let told = |events: &[InputBody]| -> Vec<Input> {
            (1..).zip(events).map(|(n, body)| Input { accepted_at: start.plus_ms(n * MINUTE_MS), body: body.clone() }).collect()
        };
        let in_order = play(&JUDGED, &told(&events), &[1], true);
        let mut keyed: Vec<_> = keys.iter().zip(events.clone()).collect();
        keyed.sort_by_key(|(key, _)| **key);
        let shuffled: Vec<InputBody> = keyed.into_iter().map(|(_, body)| body).collect();
        let shuffled = play(&JUDGED, &told(&shuffled), &[3], false);
        let (one, other) = (in_order.customer.as_ref().unwrap(), shuffled.customer.as_ref().unwrap());
        prop_assert_eq!(&one.history, &other.history);
        prop_assert_eq!(one.segments.keys().collect::<Vec<_>>(), other.segments.keys().collect::<Vec<_>>());
        prop_assert_eq!((&one.loyalty.tier, one.judged_until), (&other.loyalty.tier, other.judged_until));
    }
}

/// The laws would hold of customers to whom nothing happens, too: so it is seen to that everything happens.
#[test]
fn the_random_customers_meet_everything_that_the_laws_are_about() {
    let mut runner = TestRunner::deterministic();
    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..60 {
        let steps = prop::collection::vec(step(), 1..30).new_tree(&mut runner).unwrap().current();
        let player = play(&PLAIN, &inputs(&steps), &[1], true);
        player.facts.iter().for_each(|fact| *met.entry(fact.what.name()).or_default() += 1);
    }
    let wanted = [
        "history_only",
        "profile",
        "segment_entered",
        "segment_left",
        "entered",
        "not_entered",
        "waiting",
        "resumed",
        "skipped",
        "branched",
        "variant",
        "set",
        "emitted",
        "goal",
        "exited",
        "stopped",
        "finished",
        "tier_changed",
        "membership_expired",
    ];
    let missed: Vec<_> = wanted.iter().filter(|what| met.get(*what).is_none_or(|count| *count < 5)).collect();
    assert!(missed.is_empty(), "hardly ever met: {missed:?} of {met:?}");
}

/// A customer without a player: turns as the engine would do them.
#[derive(Clone, Default)]
struct Bare {
    customer: Option<Customer>,
    account: Account,
    now: Time,
    facts: Vec<Fact>,
    /// Runs that began: number, funnel, id of the event.
    began: BTreeSet<(u64, String, String)>,
}

impl Bare {
    fn turn(&mut self, inputs: Vec<Input>, now: Time) -> Option<Time> {
        self.now = now;
        let turned = turn(&PLAIN.definitions, "ada", self.customer.take(), self.account.clone(), inputs, now);
        if let Some(account) = turned.account {
            self.account = account;
        }
        let ended = turned.runs.ended.iter().map(|(run, ..)| run);
        for run in ended.chain(&turned.customer.runs) {
            let event = run.event.as_ref().map_or_else(String::new, |event| event.id.clone());
            self.began.insert((run.id, run.funnel.clone(), event));
        }
        self.facts.extend(turned.facts);
        self.customer = Some(turned.customer);
        turned.wake
    }
}
