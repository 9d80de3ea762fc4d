//! What happens to the customers of a seed: who sends what, in which order, how late, how often.

use crate::provider::Dice;
use autofunnel::lang::time::{HOUR_MS, Time};
use serde_json::{Value as Json, json};
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
const LETTERS: usize = 10;
/// So late that an event is history only, in hours.
const TOO_LATE_HOURS: i64 = 100;

/// What is sent to the doors.
#[derive(Clone)]
pub enum Letter {
    /// An event.
    Event(Json),
    /// What a customer is and allows.
    Customer(Json),
}

/// One customer's sender: it sends one letter after the other, each until it is answered.
pub struct Post {
    /// The customer.
    pub customer: String,
    plan: VecDeque<Plan>,
    /// The letter that is not answered yet.
    pub letter: Option<Letter>,
    /// The worker that has it.
    pub busy: Option<usize>,
    sent: Vec<Json>,
    written: usize,
}

/// What is to be sent.
#[derive(Clone)]
enum Plan {
    Introduce,
    Event {
        name: &'static str,
        order: usize,
        late_ms: i64,
    },
    Consent {
        channel: &'static str,
        granted: bool,
    },
    Zone(&'static str),
    /// She brings a friend.
    Vouch(String),
    Again {
        other_body: bool,
    },
}

/// Everybody's senders.
pub fn write(dice: &mut Dice) -> Vec<Post> {
    let customers = CUSTOMERS_MIN + dice.below(3) as usize;
    (0..customers).map(|n| post(n, customers, dice)).collect()
}

fn post(n: usize, customers: usize, dice: &mut Dice) -> Post {
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
            0..=23 => Plan::Event { name: "purchase", order, late_ms },
            24..=38 => Plan::Event { name: "asked", order, late_ms },
            39..=43 => Plan::Event { name: "joined", order, late_ms },
            44..=49 => Plan::Event { name: "played", order, late_ms: 0 },
            50..=55 => Plan::Event { name: "looked", order, late_ms: 0 },
            56..=61 => {
                let other = (n + 1 + dice.below(customers as u64 - 1) as usize) % customers;
                Plan::Vouch(format!("c{other:02}"))
            }
            62..=65 => Plan::Event { name: "refund", order, late_ms: 0 },
            66..=68 => Plan::Event { name: "review", order, late_ms },
            69..=82 => {
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
    pub fn next(&mut self, now: Time, dice: &mut Dice) -> Option<Letter> {
        if self.letter.is_none() {
            let plan = self.plan.pop_front()?;
            self.letter = Some(self.write(plan, now, dice));
        }
        self.letter.clone()
    }

    /// It was answered.
    pub fn answered(&mut self) {
        self.busy = None;
        if let Some(Letter::Event(event)) = self.letter.take() {
            self.sent.push(event);
        }
    }

    fn write(&mut self, plan: Plan, now: Time, dice: &mut Dice) -> Letter {
        self.written += 1;
        let event = |name: &str, time: Time, properties: Json| {
            let id = format!("{}-{}", self.customer, self.written);
            let customer = &self.customer;
            Letter::Event(json!({
                "id": id, "event": name, "customer": customer, "time": time.to_string(), "properties": properties,
            }))
        };
        match plan {
            Plan::Introduce => {
                let phone = format!("+49301230{}", &self.customer[1..]);
                let email = format!("{}@example.com", self.customer);
                Letter::Customer(json!({ "profile": { "email": email, "phone": phone, "push": "device", "chat": "chat" } }))
            }
            Plan::Consent { channel, granted } => Letter::Customer(json!({ "consent": { channel: granted } })),
            Plan::Zone(zone) => Letter::Customer(json!({ "profile": { "zone": zone } })),
            Plan::Vouch(friend) => event("vouched", now, json!({ "friend": friend })),
            Plan::Event { name, order, late_ms } => {
                let properties = match name {
                    "purchase" | "refund" => json!({ "order_id": format!("{}:{order}", self.customer), "amount": 5 }),
                    "asked" | "joined" | "played" | "looked" => json!({ "n": 1 }),
                    _ => json!({}),
                };
                event(name, now.plus_ms(-late_ms), properties)
            }
            Plan::Again { other_body } if !self.sent.is_empty() => {
                let mut again = self.sent[dice.below(self.sent.len() as u64) as usize].clone();
                if other_body {
                    again["properties"]["other"] = Json::from(self.written);
                }
                Letter::Event(again)
            }
            Plan::Again { .. } => Letter::Customer(json!({ "profile": { "name": "Nobody" } })),
        }
    }
}
