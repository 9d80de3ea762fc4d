//! What customers tell each other: events, points, and gifts to two, through real turns of both, with words that are
//! told twice, out of order, and over the ends of runs.

use super::stage::{Stage, act, time};
use crate::provider::Dice;
use autofunnel::account::{Account, LotState};
use autofunnel::customer::Customer;
use autofunnel::effect::{Effect, EffectKind, Outcome, Word};
use autofunnel::event::{Event, Input, InputBody, Told};
use autofunnel::fact::{Fact, What};
use autofunnel::funnel::{self, Files};
use autofunnel::lang::diag::Faults;
use autofunnel::lang::time::{HOUR_MS, Time};
use autofunnel::turn::{book, turn};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const REFERRAL: &str = r#"
--- autofunnel.yaml
events: { vouched: { friend: text }, changed_mind: {} }
--- referral.yaml
funnel: Referral
trigger: vouched
re_entry: always
exit_on: changed_mind
steps:
  - both:
      - { grant: 300 points, reason: referral }
      - { grant: 200 points, reason: referred, to: event.friend }
    id: thanks
    within: 2 days
  - set: { name: thanked }
  - emit: befriended
    to: event.friend
    properties: { by: { cel: customer.id } }
  - grant: 5 points
    reason: extra
    to: event.friend
    id: extra
--- friend.yaml
funnel: Friend
trigger: befriended
key: event.by
re_entry: always
steps:
  - grant: 1 point
    reason: hello
"#;

#[derive(Default)]
struct Her {
    customer: Option<Customer>,
    account: Account,
    wake: Option<Time>,
    facts: Vec<Fact>,
    inbox: VecDeque<Input>,
}

/// Customers with their outboxes, and what of the words between them has been seen.
struct World<'a> {
    stage: &'a Stage,
    now: Time,
    hers: BTreeMap<String, Her>,
    outbox: Vec<Effect>,
    seen: BTreeSet<String>,
    told_again: usize,
}

impl<'a> World<'a> {
    fn new(stage: &'a Stage) -> World<'a> {
        let hers = ["ann", "ben"].map(|id| (id.to_owned(), Her::default())).into();
        let (outbox, seen) = (Vec::new(), BTreeSet::new());
        World { stage, now: time("2027-03-01 10:00"), hers, outbox, seen, told_again: 0 }
    }

    fn input(&mut self, id: &str, body: InputBody) {
        let input = Input { accepted_at: self.now, body };
        self.hers.get_mut(id).unwrap().inbox.push_back(input);
    }

    /// Her turn, with everything that is in her inbox.
    fn turn(&mut self, id: &str) {
        let her = self.hers.get_mut(id).unwrap();
        let inputs = her.inbox.drain(..).collect();
        let turned = turn(&self.stage.definitions, id, her.customer.take(), her.account.clone(), inputs, self.now);
        her.account = turned.account.unwrap_or_else(|| her.account.clone());
        (her.customer, her.wake) = (Some(turned.customer), turned.wake);
        her.facts.extend(turned.facts);
        self.outbox.retain(|effect| !turned.withdrawn.contains(&effect.id));
        self.outbox.extend(turned.effects);
    }

    fn settle(&mut self, effect: &str, customer: &str, outcome: Outcome) {
        let before = self.outbox.len();
        self.outbox.retain(|other| other.id != effect);
        if self.outbox.len() < before {
            self.input(customer, InputBody::Result { effect: effect.to_owned(), outcome });
        }
    }

    /// Delivers an effect as the engine does; `cut`: the process ends before it has noted that.
    fn deliver(&mut self, effect: &Effect, cut: bool) {
        let accepted = || Outcome::Accepted { reference: None, data: Default::default() };
        match &effect.kind {
            EffectKind::Grant(_) => {
                let her = self.hers.get_mut(&effect.customer).unwrap();
                if cut || !her.inbox.is_empty() {
                    return;
                }
                let customer = her.customer.as_ref().unwrap();
                let workspace = &self.stage.definitions.current;
                let (account, outcome) = book::book(workspace, customer, &her.account, effect, self.now).unwrap();
                her.account = account;
                self.settle(&effect.id, &effect.customer, outcome);
                self.turn(&effect.customer);
            }
            EffectKind::Tell(tell) => {
                match &tell.word {
                    Word::Answer { of, outcome } => self.settle(of, &tell.to, outcome.clone()),
                    _ if !self.seen.insert(effect.id.clone()) => self.told_again += 1,
                    Word::Event { name, properties, depth } => {
                        let (id, name, properties) = (format!("tell:{}", effect.id), name.clone(), properties.clone());
                        let event = Event { id, name, time: self.now, properties, minor: None, depth: *depth };
                        self.input(&tell.to, InputBody::Event(event));
                    }
                    word => {
                        let told = Told {
                            effect: effect.id.clone(),
                            from: effect.customer.clone(),
                            funnel: effect.funnel.clone(),
                            version: effect.version.clone(),
                            word: word.clone(),
                        };
                        self.input(&tell.to, InputBody::Told(told));
                    }
                }
                if !cut && !matches!(tell.word, Word::Grant { .. }) {
                    self.settle(&effect.id, &effect.customer, accepted());
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn pass(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
        for id in ["ann", "ben"] {
            if self.hers[id].wake.is_some_and(|wake| wake <= self.now) {
                self.turn(id);
            }
        }
    }

    /// Everything that is left to do is done.
    fn calm(&mut self) {
        for _ in 0..200 {
            for id in ["ann", "ben"] {
                if !self.hers[id].inbox.is_empty() {
                    self.turn(id);
                }
            }
            for effect in self.outbox.clone() {
                self.deliver(&effect, false);
            }
            if self.outbox.is_empty() && self.hers.values().all(|her| her.inbox.is_empty()) {
                return;
            }
        }
        panic!("it does not come to rest: {:#?}", self.outbox);
    }

    fn points(&self, id: &str, reason: &str) -> i64 {
        let lots = self.hers[id].account.lots();
        lots.filter(|lot| lot.reason == reason && lot.state == LotState::Active).map(|lot| lot.points).sum()
    }

    fn count(&self, id: &str, what: What, why: &str) -> usize {
        self.hers[id].facts.iter().filter(|fact| fact.what == what && fact.why.starts_with(why)).count()
    }
}

fn vouch(world: &mut World<'_>, n: usize) {
    let body = act("vouched friend=ben", &format!("v{n}"), world.now);
    world.input("ann", body);
    world.turn("ann");
}

#[test]
fn both_get_theirs_and_the_other_hears_of_it() {
    let stage = Stage::new(REFERRAL);
    let mut world = World::new(&stage);
    vouch(&mut world, 1);
    // Held, and nothing to be seen of it.
    let own = world.outbox[0].clone();
    world.deliver(&own, false);
    let ann = world.hers["ann"].customer.as_ref().unwrap();
    assert_eq!((ann.loyalty.balance, ann.loyalty.pending, ann.loyalty.granted), (0, 0, 0));
    assert_eq!(world.hers["ann"].account.lots().next().unwrap().state, LotState::Held);
    world.calm();
    assert_eq!((world.points("ann", "referral"), world.points("ben", "referred")), (300, 200));
    assert_eq!((world.points("ben", "extra"), world.points("ben", "hello")), (5, 1));
    let told: Vec<(&str, &str)> = world.hers["ann"]
        .facts
        .iter()
        .filter(|fact| matches!(fact.what, What::Told | What::Granted))
        .map(|fact| (fact.about.as_str(), fact.why.as_str()))
        .collect();
    assert_eq!(told, [("200 points", "to ben"), ("300 points", "referral"), ("befriended", "to ben"), ("5 points", "to ben")]);
    assert_eq!(world.count("ben", What::Granted, "referred, from a run of “ann”"), 1);
    assert!(world.hers.values().all(|her| her.facts.iter().all(|fact| fact.what != What::Failed)));
    let ben = world.hers["ben"].customer.as_ref().unwrap();
    assert_eq!((ben.loyalty.balance, ben.asked.len()), (206, 0));
}

/// However words are doubled, cut off, delayed and overtaken by exits and deadlines: both or neither, and nothing is
/// held for ever.
#[test]
fn both_or_neither_in_every_order() {
    let stage = Stage::new(REFERRAL);
    let (mut given, mut taken_back, mut again, mut early) = (0, 0, 0, 0);
    for seed in 0..3_000 {
        let mut dice = Dice::new(seed, "both");
        let mut world = World::new(&stage);
        let vouches = 1 + dice.below(2) as usize;
        for n in 0..vouches {
            vouch(&mut world, n);
            for _ in 0..dice.below(30) {
                match dice.below(10) {
                    0 => world.pass((dice.below(30) as i64) * HOUR_MS),
                    1 if dice.below(4) == 0 => {
                        let body = act("changed_mind", &format!("x{n}"), world.now);
                        world.input("ann", body);
                    }
                    2 | 3 => world.turn(if dice.below(2) == 0 { "ann" } else { "ben" }),
                    _ if world.outbox.is_empty() => {}
                    _ => {
                        let effect = world.outbox[dice.below(world.outbox.len() as u64) as usize].clone();
                        let cancels = matches!(&effect.kind, EffectKind::Tell(tell) if matches!(tell.word, Word::Cancel { .. }));
                        let before = world.hers["ben"].account.lots().count();
                        world.deliver(&effect, dice.below(4) == 0);
                        early += usize::from(cancels && before == 0);
                    }
                }
            }
        }
        world.calm();
        world.pass(72 * HOUR_MS);
        world.calm();
        let (ann, ben) = (world.points("ann", "referral"), world.points("ben", "referred"));
        assert_eq!(ann / 300, ben / 200, "seed {seed}: {:#?}", world.hers["ann"].facts);
        for (id, her) in &world.hers {
            assert!(her.account.lots().all(|lot| lot.state != LotState::Held), "seed {seed}: {id} holds points for ever");
            // Whoever was never told anything is not known.
            let Some(customer) = &her.customer else { continue };
            let asked = customer.asked.len() + customer.runs.iter().filter(|run| run.is_live()).count();
            assert_eq!((her.account.balance(), asked), (customer.loyalty.balance, 0), "seed {seed}: {id}");
            let told: i64 = her.facts.iter().filter(|fact| fact.what == What::Granted).filter_map(|fact| fact.amount).sum();
            assert_eq!(her.account.balance(), told, "seed {seed}: {id}: points and facts");
        }
        given += ann / 300;
        taken_back += vouches as i64 - ann / 300;
        again += world.told_again;
    }
    assert!(given > 500 && taken_back > 300 && again > 500 && early > 20, "{given} {taken_back} {again} {early}");
}

#[test]
fn nobody_is_told_who_cannot_be() {
    let stage = Stage::new(REFERRAL);
    for (friend, says) in
        [("ann", "it names the customer herself"), ("", "is no customer's id"), ("null", "event.friend is not known")]
    {
        let mut world = World::new(&stage);
        let body = act(&format!("vouched friend={friend}").replace("friend=null", ""), "v", world.now);
        world.input("ann", body);
        world.turn("ann");
        assert!(world.outbox.is_empty(), "{friend}");
        let stopped = world.hers["ann"].facts.iter().find(|fact| fact.what == What::Stopped).unwrap();
        assert!(stopped.why.contains(says), "{friend}: {stopped:?}");
    }
}

/// Funnels of two customers that tell each other end somewhere.
#[test]
fn a_ring_of_two_customers_comes_to_an_end() {
    let stage = Stage::new(
        "--- ring.yaml\nfunnel: Ring\ntrigger: { event: ring }\nre_entry: always\nkey: event.id\nsteps:\n  - emit: ring\n    to: 'customer.id == \"ann\" ? \"ben\" : \"ann\"'\n",
    );
    let mut world = World::new(&stage);
    let body = act("ring", "r", world.now);
    world.input("ann", body);
    world.turn("ann");
    world.calm();
    let entered: usize = ["ann", "ben"].iter().map(|id| world.count(id, What::Entered, "")).sum();
    let alerts: usize = ["ann", "ben"].iter().map(|id| world.count(id, What::Alert, "more than 8 hops")).sum();
    assert_eq!((entered, alerts), (9, 1));
}

#[test]
fn what_cannot_be_a_gift_to_two_is_said_before() {
    let check = |settings: &str, step: &str| -> Vec<&'static str> {
        let settings = format!("workspace: T\nzone: UTC\ncurrency: EUR\n{settings}");
        let funnel = format!("funnel: F\ntrigger: {{ event: go }}\ngoal: purchase\nsteps:\n{step}\n");
        let files: Files = [("autofunnel.yaml", settings), ("f.yaml", funnel)].map(|(name, text)| (name.to_owned(), text)).into();
        let mut faults = Faults::default();
        funnel::compile(&files, &mut faults);
        faults.list().iter().map(|fault| fault.code).collect()
    };
    let both = |parts: &str| format!("  - both: [ {parts} ]");
    let sound = both("{ grant: 3 points }, { grant: 2 points, to: event.friend }");
    assert_eq!(check("", &sound), Vec::<&str>::new());
    assert_eq!(check("", &both("{ grant: 3 points }")), ["both-form"]);
    assert_eq!(check("", &both("{ grant: 3 points }, { grant: 2 points }")), ["both-form"]);
    assert_eq!(check("", &both("{ grant: 3 points }, { grnt: 2 points, to: event.f }")), ["unknown-field", "missing-field"]);
    assert_eq!(check("", "  - grant: 3 points\n    to: 1 == 1"), ["wrong-type"]);
    let remote = "loyalty: crm\nproviders: { crm: { kind: http, url: \"https://crm.example.com\" } }\n";
    assert_eq!(check(remote, &sound), ["both-elsewhere"]);
}

/// A budget of each customer's own: by her calendar, over her own runs and what others give her.
#[test]
fn a_customer_gets_no_more_than_her_budget() {
    let budgets = "--- autofunnel.yaml\nbudgets:\n  - { funnel: hello, points: 5, per: day, each: customer }\n";
    let hello = "--- hello.yaml\nfunnel: Hello\ntrigger: { event: hi }\nre_entry: always\nsteps:\n  - grant: 2 points\n    id: gift\n    on_error: skip\n  - stop: enough\n    if: steps.gift.result == \"refused\" && steps.gift.reason == \"budget\"\n";
    let stage = Stage::new(&format!("{budgets}{hello}"));
    let mut her = stage.customer("2027-03-01 08:00");
    for minute in ["10:00", "10:01", "23:59:59"] {
        her.at(&format!("2027-03-01 {minute}"), "hi");
    }
    assert_eq!(her.document().loyalty.balance, 4, "{}", her.story());
    let story = her.story();
    assert!(story.contains("stopped hello#3 enough"), "{story}");
    assert!(story.contains(
        "gift | refused: budget: at most 5 points per day for each customer in the funnel hello; 4 are hers or on their way"
    ));
    her.at("2027-03-02 00:00", "hi");
    assert_eq!(her.document().loyalty.balance, 6, "another day");
    // What was refused by the store does not count.
    her.at("2027-03-02 01:00", "fail gift refused").at("2027-03-02 01:00", "hi").at("2027-03-02 01:01", "hi");
    assert_eq!(her.document().loyalty.balance, 8, "{}", her.story());
}

#[test]
fn what_another_gives_her_counts_as_well() {
    let text = REFERRAL.replace(
        "events: { vouched",
        "budgets: [ { funnel: referral, points: 300, per: month, each: customer } ]\nevents: { vouched",
    );
    let stage = Stage::new(&text);
    let mut world = World::new(&stage);
    for n in 0..2 {
        vouch(&mut world, n);
        world.calm();
    }
    // The second time her own budget is used up: nobody is asked.
    assert_eq!((world.points("ann", "referral"), world.points("ben", "referred")), (300, 200));
    assert_eq!(world.count("ann", What::Failed, "refused: budget: at most 300 points per month"), 1);
    let stage = Stage::new(&text.replace("points: 300, per", "points: 204, per").replace("grant: 300", "grant: 100"));
    let mut world = World::new(&stage);
    for n in 0..2 {
        vouch(&mut world, n);
        world.calm();
    }
    // 200 and 5 are more than the friend may get; then another 200 are.
    assert_eq!((world.points("ann", "referral"), world.points("ben", "referred"), world.points("ben", "extra")), (100, 200, 0));
}
