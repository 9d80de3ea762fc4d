//! Triggers that time fires: the right instants on the clocks of people, changes of the clock included.

use super::*;
use crate::customer::Membership;

fn member(ends: &str) -> Membership {
    Membership {
        name: "club".to_owned(),
        since: at("2026-01-10 00:00"),
        started: at("2027-01-10 00:00"),
        ends: Some(at(ends)),
        auto_renew: false,
        cancelled: false,
    }
}

#[test]
fn a_renewal_follows_its_date_and_stays_the_same_occasion() {
    let trigger = trigger("{ renewal_due: 30 days before, at: \"09:30\", membership: club }");
    let mut world = World::new("2027-03-01 10:00");
    assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), None);
    world.customer.membership = Some(member("2028-01-10 00:00"));
    assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), some("2027-12-11 09:30", "renewal:club:2027-01-10"));
    // Moved, also over a change of the clock: the local time stays.
    world.customer.membership = Some(member("2027-07-20 12:00"));
    assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), some("2027-06-20 09:30", "renewal:club:2027-01-10"));
    assert_eq!(world.next(&*trigger, "2027-06-20 09:30"), None);
    let firing = world.ask(|cx| trigger.next(cx, world.now)).unwrap().firing;
    assert_eq!(firing.anchor, at("2027-07-20 12:00"));
    assert_eq!(firing.properties["membership"], Value::from("club"));
    world.customer.membership.as_mut().unwrap().cancelled = true;
    assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), None);
    world.customer.membership = Some(Membership { name: "other".to_owned(), ..member("2027-07-20 12:00") });
    assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), None);
}

#[test]
fn who_arrives_in_the_middle_of_a_series_finds_it_under_way() {
    let trigger = trigger("{ renewal_due: 30 days before }");
    let mut world = World::new("2027-12-20 10:00");
    world.customer.membership = Some(member("2028-01-10 00:00"));
    let under_way = world.ask(|cx| trigger.under_way(cx)).unwrap();
    assert_eq!((under_way.at, under_way.firing.key.as_str()), (at("2027-12-11 09:00"), "renewal:club:2027-01-10"));
    world.now = at("2027-12-11 08:59");
    assert_eq!(world.ask(|cx| trigger.under_way(cx)), None);
    world.now = at("2028-01-10 00:00");
    assert_eq!(world.ask(|cx| trigger.under_way(cx)), None);
}

#[test]
fn a_birthday_comes_once_a_year_at_her_own_clock() {
    let trigger = trigger("{ birthday: 3 days before, at: \"10:00\" }");
    let mut world = World::new("2027-03-01 10:00");
    world.set("birthday", "1990-01-02");
    // The occasion is the year of the birthday, though it is due in the year before.
    assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), some("2027-12-30 10:00", "birthday:2028"));
    assert_eq!(world.next(&*trigger, "2027-12-30 09:59"), some("2027-12-30 10:00", "birthday:2028"));
    assert_eq!(world.next(&*trigger, "2027-12-30 10:00"), some("2028-12-30 10:00", "birthday:2029"));
    world.zone = NEW_YORK;
    assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), some("2027-12-30 16:00", "birthday:2028"));
    assert_eq!(world.ask(|cx| trigger.next(cx, world.now)).unwrap().firing.properties["age"], Value::Int(38));
    for missing in ["", "soon", "1990-02-30"] {
        world.set("birthday", missing);
        assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), None);
    }
    // Born only just: the first birthday is a year away.
    world.set("birthday", "2027-02-20");
    assert_eq!(world.next(&*trigger, "1990-01-01 00:00"), some("2028-02-17 16:00", "birthday:2028"));
}

#[test]
fn the_29th_of_february_is_the_28th_or_the_first_of_march_in_other_years() {
    let mut world = World::new("2026-12-01 10:00");
    world.set("birthday", "1992-02-29");
    let plain = trigger("{ birthday: on the day }");
    assert_eq!(world.next(&*plain, "2027-01-01 00:00"), some("2027-02-28 09:00", "birthday:2027"));
    assert_eq!(world.next(&*plain, "2027-02-28 09:00"), some("2028-02-29 09:00", "birthday:2028"));
    let march = trigger("{ birthday: on the day, leap: mar 1 }");
    assert_eq!(world.next(&*march, "2027-01-01 00:00"), some("2027-03-01 09:00", "birthday:2027"));
    assert_eq!(world.next(&*march, "2027-03-01 09:00"), some("2028-02-29 09:00", "birthday:2028"));
}

#[test]
fn a_date_of_the_profile_is_an_occasion_of_its_own() {
    let trigger = trigger("{ date: trial_ends, when: 1 day before, at: \"02:30\" }");
    let mut world = World::new("2027-03-01 10:00");
    // 02:30 does not exist in Berlin on the day before: the time moves forward.
    world.set("trial_ends", "2027-03-29");
    assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), some("2027-03-28 03:30", "date:trial_ends:2027-03-29"));
    world.customer.profile.insert("trial_ends".to_owned(), Value::Time(at("2027-05-02 18:00")));
    assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), some("2027-05-01 02:30", "date:trial_ends:2027-05-02"));
    assert_eq!(world.next(&*trigger, "2027-05-01 02:30"), None);
}

#[test]
fn inactivity_counts_from_the_last_event_and_needs_one() {
    let trigger = trigger("{ inactive_for: 60 days }");
    let mut world = World::new("2027-03-01 10:00");
    assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), None);
    world.happens(&*trigger, purchase("e-1", "2027-03-01 10:00", 5));
    let first = format!("inactive:{}", at("2027-03-01 10:00").0);
    // 60 calendar days, over a change of the clock.
    assert_eq!(world.next(&*trigger, "2027-03-01 10:00"), some("2027-04-30 10:00", &first));
    world.happens(&*trigger, purchase("e-2", "2027-03-05 10:00", 5));
    world.happens(&*trigger, purchase("e-0", "2027-01-05 10:00", 5));
    let second = format!("inactive:{}", at("2027-03-05 10:00").0);
    assert_eq!(world.next(&*trigger, "2027-03-05 10:00"), some("2027-05-04 10:00", &second));
    assert_eq!(world.next(&*trigger, "2027-05-04 10:00"), None);
}

#[test]
fn a_schedule_is_for_members_of_its_segment_and_has_a_grace() {
    let mut world = World::new("2027-03-01 10:00");
    let mondays = trigger("{ schedule: \"0 9 * * MON\", segment: vip }");
    assert_eq!(world.next(&*mondays, "2027-03-01 09:00"), None);
    // She came in at 10:00: the time of that morning was not hers.
    world.customer.segments.insert("vip".to_owned(), world.now);
    assert_eq!(world.next(&*mondays, "2027-03-01 08:59"), some("2027-03-08 09:00", "schedule:2027-03-08T09:00"));
    world.customer.segments.insert("vip".to_owned(), at("2027-03-01 09:00"));
    assert_eq!(world.next(&*mondays, "2027-03-01 08:59"), some("2027-03-01 09:00", "schedule:2027-03-01T09:00"));
    assert_eq!(world.next(&*mondays, "2027-03-01 09:00"), some("2027-03-08 09:00", "schedule:2027-03-08T09:00"));
    let occurrence = world.ask(|cx| mondays.next(cx, at("2027-03-01 09:00"))).unwrap();
    assert_eq!(occurrence.expires, Some(at("2027-03-09 00:00")));
    let skipping = trigger("{ schedule: \"0 9 * * MON\", segment: vip, in: customer, catch_up: skip }");
    world.zone = NEW_YORK;
    let occurrence = world.ask(|cx| skipping.next(cx, at("2027-03-01 09:00"))).unwrap();
    assert_eq!(occurrence.at, at("2027-03-01T14:00:00Z"));
    assert_eq!(occurrence.expires, Some(at("2027-03-01T14:05:00Z")));
}

#[test]
fn the_rarest_days_are_found() {
    let mut world = World::new("2027-03-01 10:00");
    world.customer.segments.insert("vip".to_owned(), world.now);
    let leap = trigger("{ schedule: \"0 9 29 2 *\", segment: vip }");
    assert_eq!(world.next(&*leap, "2097-01-01 09:00"), some("2104-02-29 09:00", "schedule:2104-02-29T09:00"));
    let (never, faults) = read("{ schedule: \"0 9 31 4,6,9,11 *\", segment: vip }");
    assert!(never.is_none() && faults.list()[0].message.contains("never fires"), "{:?}", faults.list());
}

#[test]
fn a_schedule_ends_where_time_can_no_longer_be_written() {
    let mut world = World::new("2027-03-01 10:00");
    world.customer.segments.insert("vip".to_owned(), world.now);
    let hourly = trigger("{ schedule: \"0 * * * *\", segment: vip }");
    assert!(
        world.ask(|cx| hourly.next(cx, at("2999-12-31T22:00:00Z"))).is_some_and(|next| next.at == at("2999-12-31T23:00:00Z"))
    );
    assert_eq!(world.ask(|cx| hourly.next(cx, at("2999-12-31T23:00:00Z"))), None);
}

#[test]
fn a_schedule_uses_each_time_on_the_wall_once() {
    let mut world = World::new("2027-03-01 10:00");
    world.customer.segments.insert("vip".to_owned(), world.now);
    let walk = |cron: &str, from: &str, count: usize| -> Vec<String> {
        let trigger = trigger(&format!("{{ schedule: \"{cron}\", segment: vip }}"));
        let mut after = at(from);
        let mut out = Vec::new();
        for _ in 0..count {
            let next = world.ask(|cx| trigger.next(cx, after)).unwrap();
            assert!(next.at > after);
            after = next.at;
            out.push(after.to_string());
        }
        out
    };
    // On 2027-03-28 clocks in Berlin go from 02:00 to 03:00: 02:30 is 03:30, and 03:00 is not passed over.
    let spring = ["2027-03-28T00:30:00Z", "2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z", "2027-03-28T02:00:00Z"];
    assert_eq!(walk("*/30 * * * *", "2027-03-28T00:00:00Z", 4), spring);
    assert_eq!(walk("30 2 * * *", "2027-03-27T12:00:00Z", 2), ["2027-03-28T01:30:00Z", "2027-03-29T00:30:00Z"]);
    // Asked again between 03:00 and 03:30, the time that was moved is still to come.
    assert_eq!(walk("30 2 * * *", "2027-03-28T01:10:00Z", 1), ["2027-03-28T01:30:00Z"]);
    // On 2027-10-31 clocks go from 03:00 back to 02:00: 02:30 is used the first time only.
    assert_eq!(walk("30 2 * * *", "2027-10-30T12:00:00Z", 2), ["2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"]);
    assert_eq!(
        walk("0 * * * *", "2027-10-30T23:30:00Z", 3),
        ["2027-10-31T00:00:00Z", "2027-10-31T02:00:00Z", "2027-10-31T03:00:00Z"]
    );
    // As cron has it, a day of the month and a weekday are alternatives; `+` asks for both, which may be rare.
    assert_eq!(walk("0 12 29 2 MON", "2027-03-01T00:00:00Z", 1), ["2028-02-07T11:00:00Z"]);
    assert_eq!(walk("0 12 29 2 +MON", "2027-03-01T00:00:00Z", 2), ["2044-02-29T11:00:00Z", "2072-02-29T11:00:00Z"]);
}
