//! What happens to the customers of a seed: who sends what, in which order, how late, how often.

use crate::provider::Dice;
use autofunnel::event::{ConsentChange, Event, InputBody, ProfileChange};
use autofunnel::lang::time::{HOUR_MS, Time};
use autofunnel::lang::value::{Fields, Value};
use autofunnel::store::NewInput;
use std::collections::VecDeque;

/// Fewest customers of a seed.
pub const CUSTOMERS_MIN: usize = 20;
/// Fewest inputs of a seed.
pub const INPUTS_MIN: usize = 200;
/// Zones that customers move to; all of them have their nights at other hours.
const ZONES: &[&str] = &["America/New_York", "Asia/Tokyo", "UTC", "Pacific/Auckland", "Europe/Berlin", "Asia/Kolkata"];
/// An event that ends the worker that turns on it.
pub const POISON: &str = "poison";
/// Letters of a customer after she is known.
const LETTERS: usize = 8;
/// So late that an event is history only, in hours.
const TOO_LATE_HOURS: i64 = 100;

/// One customer's sender: it sends one letter after the other, each until it is answered.
pub struct Post {
    /// The customer.
    pub customer: String,
    plan: VecDeque<Plan>,
    /// The letter that is not answered yet.
    pub letter: Option<NewInput>,
    /// The worker that has it.
    pub busy: Option<usize>,
    sent: Vec<NewInput>,
    written: usize,
}

/// What is to be sent.
#[derive(Clone)]
enum Plan {
    Introduce,
    Event { name: &'static str, order: usize, late_ms: i64 },
    Consent { channel: &'static str, granted: bool },
    Zone(&'static str),
    Again { other_body: bool },
}

/// Everybody's senders.
pub fn write(dice: &mut Dice) -> Vec<Post> {
    let customers = CUSTOMERS_MIN + dice.below(3) as usize;
    (0..customers).map(|n| post(n, dice)).collect()
}

fn post(n: usize, dice: &mut Dice) -> Post {
    let mut plan = VecDeque::from([Plan::Introduce]);
    for channel in ["email", "sms"] {
        if dice.below(10) > 0 {
            plan.push_back(Plan::Consent { channel, granted: true });
        }
    }
    if dice.below(4) > 0 {
        plan.push_back(Plan::Event { name: "joined", order: 0, late_ms: 0 });
    }
    let mut granted = [true, true];
    for _ in 0..LETTERS {
        let late_ms = match dice.below(12) {
            0 | 1 => dice.below(20 * HOUR_MS as u64) as i64,
            2 => TOO_LATE_HOURS * HOUR_MS,
            _ => 0,
        };
        let order = dice.below(5) as usize;
        plan.push_back(match dice.below(100) {
            0..=29 => Plan::Event { name: "purchase", order, late_ms },
            30..=49 => Plan::Event { name: "asked", order, late_ms },
            50..=56 => Plan::Event { name: "joined", order, late_ms },
            57..=61 => Plan::Event { name: "refund", order, late_ms: 0 },
            62..=66 => Plan::Event { name: "review", order, late_ms },
            67..=82 => {
                let which = dice.below(2) as usize;
                granted[which] = !granted[which];
                Plan::Consent { channel: ["email", "sms"][which], granted: granted[which] }
            }
            83..=85 => Plan::Zone(ZONES[dice.below(ZONES.len() as u64) as usize]),
            86..=96 => Plan::Again { other_body: false },
            97 => Plan::Event { name: POISON, order, late_ms: 0 },
            _ => Plan::Again { other_body: true },
        });
    }
    Post { customer: format!("c{n:02}"), plan, letter: None, busy: None, sent: Vec::new(), written: 0 }
}

impl Post {
    /// Whether everything has been sent and answered.
    pub fn is_done(&self) -> bool {
        self.plan.is_empty() && self.letter.is_none()
    }

    /// How many letters are left.
    pub fn left(&self) -> usize {
        self.plan.len() + usize::from(self.letter.is_some())
    }

    /// The letter to send now: the last one if it was not answered.
    pub fn next(&mut self, now: Time, dice: &mut Dice) -> Option<NewInput> {
        if self.letter.is_none() {
            let plan = self.plan.pop_front()?;
            self.letter = Some(self.write(plan, now, dice));
        }
        self.letter.clone()
    }

    /// It was answered.
    pub fn answered(&mut self) {
        self.busy = None;
        self.sent.extend(self.letter.take());
    }

    fn write(&mut self, plan: Plan, now: Time, dice: &mut Dice) -> NewInput {
        self.written += 1;
        let id = format!("{}-{}", self.customer, self.written);
        let profile = |profile: &[(&str, &str)], consent: Vec<ConsentChange>| {
            let fields = profile.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
            InputBody::Profile(ProfileChange { profile: fields.collect(), consent, ..ProfileChange::default() })
        };
        let body = match plan {
            Plan::Introduce => profile(
                &[
                    ("email", &format!("{}@example.com", self.customer)),
                    ("phone", "+4930123"),
                    ("push", "device"),
                    ("chat", "chat"),
                ],
                Vec::new(),
            ),
            Plan::Consent { channel, granted } => {
                let (channel, source) = (channel.to_owned(), "sim".to_owned());
                profile(&[], vec![ConsentChange { channel, topic: None, granted, source, time: now }])
            }
            Plan::Zone(zone) => profile(&[("zone", zone)], Vec::new()),
            Plan::Event { name, order, late_ms } => {
                let properties = match name {
                    "purchase" | "refund" => {
                        vec![("order_id", Value::from(format!("{}:{order}", self.customer).as_str())), ("amount", Value::from(5))]
                    }
                    "asked" | "joined" => vec![("n", Value::from(1))],
                    _ => Vec::new(),
                };
                let properties: Fields = properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                let minor = properties.get("amount").map(|_| 500);
                InputBody::Event(Event {
                    id: id.clone(),
                    name: name.to_owned(),
                    time: now.plus_ms(-late_ms),
                    properties,
                    minor,
                    depth: 0,
                })
            }
            Plan::Again { other_body } => {
                if !self.sent.is_empty() {
                    let again = self.sent[dice.below(self.sent.len() as u64) as usize].clone();
                    return NewInput { digest: again.digest + u32::from(other_body), ..again };
                }
                profile(&[("name", "Nobody")], Vec::new())
            }
        };
        NewInput {
            customer: self.customer.clone(),
            source: "shop".to_owned(),
            id: Some(id),
            digest: self.written as u32 * 2,
            body,
        }
    }
}
