//! Webhooks come twice and three times, in any order, days late, and once more with another body, while
//! engines end and start.

use super::{Done, conclude, rounds};
use crate::crash::home::Kind;
use crate::crash::process::PATIENCE;
use crate::crash::sender::{hook_body, introduce, webhook};
use crate::crash::world::World;
use crate::provider::{Dice, Plan};
use autofunnel::engine::clock::system_now;
use autofunnel::lang::time::{DAY_MS, HOUR_MS, Time};

/// Every webhook is sent so often.
const COPIES: usize = 3;
/// Orders of each customer.
const ORDERS: usize = 3;
/// The latest ones come so much after they happened: what is older than three days starts nothing any more.
const LATE_MS: i64 = 3 * DAY_MS - HOUR_MS;

/// When an order was: some are almost three days late.
fn at(dice: &mut Dice) -> String {
    let age = if dice.below(3) == 0 { LATE_MS } else { dice.below(60_000) as i64 };
    Time(system_now().0 - age).to_string()
}

fn webhooks(row: &str, kind: Kind, seed: u64) {
    let customers = rounds(6, 600);
    let mut dice = Dice::new(seed, "webhooks");
    let mut world = World::new(kind, Plan::new(seed, 20, 1));
    let mut engine = world.start(None);
    world.send((0..customers).map(|number| introduce(&format!("c{number}"))).collect());
    assert!(world.until_done(&engine), "{}", engine.log());
    let names =
        (0..customers).flat_map(|number| (0..ORDERS).map(move |order| (format!("c{number}-hook-{order}"), format!("c{number}"))));
    let orders: Vec<(String, String, String)> = names.map(|(id, customer)| (id, customer, at(&mut dice))).collect();
    for _ in 0..COPIES {
        let mut letters = Vec::new();
        let mut left: Vec<_> = orders.iter().collect();
        while !left.is_empty() {
            let (id, customer, at) = left.swap_remove(dice.below(left.len() as u64) as usize);
            letters.push(webhook(id, customer, at));
        }
        world.send(letters);
    }
    let answered = world.post.counts().0;
    let some = || world.post.counts().0 > answered + customers || engine.has_ended();
    assert!(world.bell.until(PATIENCE, some), "{}", engine.log());
    engine.kill();
    world.post.goes_to(None);
    let mut engine = world.start(None);
    assert!(world.until_done(&engine), "{}", engine.log());
    let mut conflicts = 0;
    for (id, customer, at) in &orders {
        let (status, text) = world.post.tell("/hooks/shop", &hook_body(id, customer, at, 2)).unwrap();
        assert_eq!(status, 409, "{text}");
        conflicts += 1;
    }
    let told = world.post.ask("/metrics").map(|(_, text)| text).unwrap_or_default();
    assert!(told.contains(&format!("autofunnel_events_total{{result=\"conflict\"}} {conflicts}")), "{told}");
    assert!(world.until_done(&engine), "{}", engine.log());
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    conclude(row, &world, Done { rounds: orders.len(), faults: orders.len() * COPIES, ..Done::default() });
}

#[test]
fn webhooks_doubled_reordered_and_late_count_once() {
    webhooks("webhooks doubled, reordered, late", Kind::File, 701);
}

#[test]
fn webhooks_doubled_reordered_and_late_count_once_on_redis() {
    webhooks("webhooks doubled, reordered, late (redis)", Kind::REDIS, 702);
}
