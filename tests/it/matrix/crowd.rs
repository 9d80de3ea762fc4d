//! Many at once: a provider that is out of service while work piles up, and everybody due in the same second.

use super::{Done, conclude, rounds};
use crate::crash::home::Kind;
use crate::crash::long;
use crate::crash::sender::{introduce, letter_of_events};
use crate::crash::world::World;
use crate::provider::Plan;
use crate::redis::Disk;
use autofunnel::engine::clock::system_now;
use autofunnel::lang::time::MINUTE_MS;
use std::time::{Duration, Instant};

/// The lease of an engine as it is shipped, in milliseconds.
const LEASE_MS: i64 = 15_000;
/// Failures after which a provider rests.
const FAILURES: usize = 5;
/// Customers who are due in the same second.
const CROWD: usize = 100_000;
/// Senders that bring them.
const LANES: usize = 8;
/// Customers of one request.
const TOGETHER: usize = 500;
/// The crowd has arrived so many minutes from now.
const ARRIVAL_MINUTES: i64 = 8;
/// No crowd takes this long.
const LONG: Duration = Duration::from_secs(1_800);

fn provider_down(row: &str, kind: Kind, seed: u64) {
    let customers = rounds(6, 1_500);
    let mut world = World::new(kind, Plan::new(seed, 5, 1));
    let mut engine = world.start(None);
    world.provider.set_down(true);
    world.load(customers, 1, 1);
    // The provider has failed until it was left alone, and the one call that tried it after its rest has failed.
    let tried = || world.provider.in_vain() > FAILURES || engine.has_ended();
    assert!(world.bell.until(LONG, tried), "{}", engine.log());
    world.provider.set_down(false);
    assert!(world.until_done(&engine), "{}", engine.log());
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    let faults = world.provider.in_vain();
    conclude(row, &world, Done { rounds: customers, faults, ..Done::default() });
}

#[test]
fn a_provider_out_of_service_loses_nothing() {
    provider_down("provider down with a backlog", Kind::File, 601);
}

#[test]
fn a_provider_out_of_service_loses_nothing_on_redis() {
    provider_down("provider down with a backlog (redis)", Kind::Redis(Disk::EverySecond, LEASE_MS), 602);
}

fn due_together(row: &str, kind: Kind) {
    let mut world = World::new(kind, Plan::new(603, 2, 1));
    let due = (system_now().0 / MINUTE_MS + ARRIVAL_MINUTES) % (24 * 60);
    world.add_funnel(
        "alarm.yaml",
        &format!(
            "funnel: Alarm\ntrigger: alarm\nkey: event.order\nre_entry: always\ntransactional: true\nsteps:\n  - wait_until: \"{:02}:{:02}\"\n  \
             - email: {{ subject: \"Alarm\", text: \"alarm for {{{{ event.order }}}}\" }}\n    id: alarm\n",
            due / 60,
            due % 60
        ),
    );
    let mut engine = world.start(None);
    for lane in 0..LANES {
        let hers = (lane..CROWD).step_by(LANES).map(|number| format!("c{number}")).collect::<Vec<_>>();
        let mut letters: Vec<_> = hers.iter().map(|customer| introduce(customer)).collect();
        for part in hers.chunks(TOGETHER) {
            let events: Vec<_> = part.iter().map(|customer| (format!("{customer}-alarm-0"), "alarm", customer.clone())).collect();
            letters.push(letter_of_events(&events));
        }
        world.send(letters);
    }
    assert!(world.bell.until(LONG, || world.post.counts().1 == 0 || engine.has_ended()), "{}", engine.log());
    let arrived = Instant::now();
    assert!(world.bell.until(LONG, || world.provider.count() > 0 || engine.has_ended()), "{}", engine.log());
    let first = Instant::now();
    assert!(world.bell.until(LONG, || world.is_idle() || engine.has_ended()), "{}", engine.log());
    println!("{row}: arrived {:?} before the first was due, all done in {:?}", first - arrived, first.elapsed());
    assert!(world.until_done(&engine), "{}", engine.log());
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    conclude(row, &world, Done { rounds: CROWD, faults: 0, ..Done::default() });
}

#[test]
fn a_hundred_thousand_due_in_one_second_are_served_once_each() {
    if long() {
        due_together("100,000 due in one second", Kind::File);
        due_together("100,000 due in one second (redis)", Kind::Redis(Disk::EverySecond, LEASE_MS));
    }
}
