//! A provider in the worst of days: every third call fails, every tenth has its effect and is never answered; and
//! one that is away for long while everybody waits for it, and then takes only so much.

use super::{Done, conclude, rounds};
use crate::crash::home::Kind;
use crate::crash::long;
use crate::crash::world::World;
use crate::provider::{KEYED_PATH, Plan, Reply};
use crate::redis::Disk;
use std::time::{Duration, Instant};

/// Of nine: six errors without effect, two effects that are never answered, one that is answered with an error.
const STORM: &[Reply] = &[
    Reply::Error,
    Reply::Error,
    Reply::Error,
    Reply::Error,
    Reply::Error,
    Reply::Error,
    Reply::SilenceAfter,
    Reply::SilenceAfter,
    Reply::ErrorAfter,
];
/// Of a hundred calls so many are in trouble: 30 errors, 10 silent, 5 wrong about what they did.
const STORM_PERCENT: u64 = 45;
/// Orders of one customer, each with four calls outside.
const ORDERS: usize = 5;
/// The lease of an engine as it is shipped, in milliseconds.
const LEASE_MS: i64 = 15_000;
/// No run takes this long.
const LONG: Duration = Duration::from_secs(7_200);
/// How long a provider is away in the long run: twenty of its longest rests, so that a longer time shows nothing new.
const AWAY: Duration = Duration::from_secs(600);
/// Figures of an engine with much to do are asked for this often.
const LOOK: Duration = Duration::from_millis(500);
/// Calls in one second that the provider of the outage takes.
const RATE: usize = 400;
/// The rate is looked at over so many seconds: the calls of one instant arrive in another.
const WINDOW_S: usize = 5;
/// Within a window so many seconds more may arrive: one that may come at once, and half a one that the machine stood still.
const WINDOW_MORE_S: f64 = 1.5;
/// Calls to a provider that is away: five before it rests, then one after each rest of at most 30 s.
const REST: Duration = Duration::from_secs(30);

fn storm(row: &str, kind: Kind, seed: u64) {
    let customers = rounds(3, 5_000);
    let plan = Plan { troubles: STORM, ..Plan::new(seed, STORM_PERCENT, 4) };
    let mut world = World::new(kind, plan);
    let mut engine = world.start(None);
    world.load(customers, ORDERS, 1);
    let began = Instant::now();
    assert!(world.bell.until(LONG, || world.post.counts().1 == 0 || engine.has_ended()), "{}", engine.log());
    assert!(world.bell.until(LONG, seldom(|| world.is_idle() || engine.has_ended())), "{}", engine.log());
    assert!(world.until_done(&engine), "{}", engine.log());
    println!("{row}: done after {:?}", began.elapsed());
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    let calls = world.provider.calls();
    let troubles = calls.iter().filter(|call| call.reply != Reply::Yes).count();
    let verdict = conclude(row, &world, Done { rounds: customers * ORDERS * 4, faults: troubles, ..Done::default() });
    println!(
        "{row}: {} calls, {troubles} in trouble, {} repeated, {} unknown",
        calls.len(),
        verdict.seen.repeats,
        verdict.seen.unknown
    );
    assert!(verdict.seen.repeats > 0 && verdict.seen.unknown > 0, "what is never tried is not proved");
}

#[test]
fn a_provider_that_fails_in_every_way_loses_and_doubles_nothing() {
    storm("storm", Kind::File, 701);
}

#[test]
fn a_provider_that_fails_in_every_way_loses_and_doubles_nothing_on_redis() {
    storm("storm (redis)", Kind::Redis(Disk::EverySecond, LEASE_MS), 702);
}

/// A condition that costs the engine something is not looked at each time that something happens.
fn seldom(mut holds: impl FnMut() -> bool) -> impl FnMut() -> bool {
    let mut looked = None::<Instant>;
    move || {
        if looked.is_some_and(|at| at.elapsed() < LOOK) {
            return false;
        }
        looked = Some(Instant::now());
        holds()
    }
}

fn outage(row: &str, kind: Kind) {
    let (customers, away) = (rounds(40, 100_000), if long() { AWAY } else { Duration::from_secs(1) });
    let rate = if long() { RATE } else { 20 };
    let mut world = World::new(kind, Plan::new(703, 0, 0));
    world.limit_mail(rate);
    world.provider.set_down(true);
    let mut engine = world.start(None);
    let began = Instant::now();
    world.load(customers, 1, 0);
    let waits = |count: usize| {
        let metrics = world.post.ask("/metrics").map(|(_, text)| text).unwrap_or_default();
        let waiting = metrics.lines().find_map(|line| line.strip_prefix("autofunnel_outbox_effects ")?.trim().parse().ok());
        waiting.is_some_and(|waiting: usize| waiting >= count)
    };
    assert!(world.bell.until(LONG, seldom(|| waits(customers) || engine.has_ended())), "{}", engine.log());
    println!("{row}: {customers} wait after {:?}", began.elapsed());
    // It stays away; nothing else is waited for.
    let gone = Instant::now();
    world.bell.until(away, seldom(|| engine.has_ended() || gone.elapsed() >= away));
    assert!(!engine.has_ended(), "{}", engine.log());
    let (in_vain, silent) = (world.provider.in_vain(), began.elapsed());
    let most = 40 + 2 * (silent.as_secs() / REST.as_secs()) as usize;
    assert!(in_vain <= most, "{in_vain} calls in vain in {silent:?}; it was to be left alone");
    world.provider.set_down(false);
    let back = Instant::now();
    assert!(world.bell.until(LONG, seldom(|| world.is_idle() || engine.has_ended())), "{}", engine.log());
    let all = back.elapsed();
    assert!(world.until_done(&engine), "{}", engine.log());
    engine.terminate();
    assert_eq!(engine.status().code(), Some(0), "{}", engine.log());
    let mut times: Vec<Duration> =
        world.provider.calls().iter().filter(|call| call.path == KEYED_PATH).map(|call| call.at.duration_since(began)).collect();
    times.sort();
    let mails = times.len().checked_sub(1).map(|last| times[last].saturating_sub(times[0])).unwrap_or_default();
    println!(
        "{row}: {customers} waited for {silent:?} with {in_vain} calls in vain; {} mails in {mails:?} ({:.0} in a second of {rate} \
         allowed), all that follows within {all:?}",
        times.len(),
        times.len() as f64 / mails.as_secs_f64().max(0.001)
    );
    for (place, from) in times.iter().enumerate() {
        let within = times[place..].iter().take_while(|at| **at - *from < Duration::from_secs(WINDOW_S as u64)).count();
        let most = (rate as f64 * (WINDOW_S as f64 + WINDOW_MORE_S)) as usize;
        assert!(within <= most, "{within} calls in {WINDOW_S} s from {from:?}; {rate} are allowed in one");
    }
    conclude(row, &world, Done { rounds: customers, faults: in_vain, ..Done::default() });
}

#[test]
fn an_outage_drains_within_the_rate() {
    outage("outage, then a rate", Kind::File);
}
