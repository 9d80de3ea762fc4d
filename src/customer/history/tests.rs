//! Histories: any order, exact windows, never late.

use super::*;
use proptest::prelude::*;

fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

fn at(text: &str) -> Time {
    Time::parse(text).unwrap()
}

fn purchase(time: Time, minor: i64, category: &str) -> Event {
    let properties = Fields::from([("category".to_owned(), Value::from(category)), ("rating".to_owned(), Value::from("4.5"))]);
    Event { id: String::new(), name: "purchase".to_owned(), time, properties, minor: Some(minor), depth: 0 }
}

fn keep(window: &str) -> Keep {
    let properties = ["category", "rating"].map(str::to_owned).into();
    Keep { window: Some(Span::parse(window).unwrap()), properties, ever: ["rating".to_owned()].into() }
}

fn ask(history: &History, now: Time, zone: Zone, window: Option<Span>, what: Measure) -> (Value, Option<Time>) {
    let query = Aggregate { event: "purchase".to_owned(), window, what, filter: None };
    history.aggregate(now, zone, &query, eur(), (Care::default(), &mut |_| panic!("there is no filter")))
}

#[test]
fn a_window_is_open_at_its_start_and_closed_at_now() {
    let (zone, now) = (chrono_tz::Europe::Berlin, at("2027-04-10T10:00:00Z"));
    let mut history = History::default();
    // 30 days before noon in summer time is noon in winter time, an hour later in UTC.
    for (time, minor) in [
        ("2027-03-11T11:00:00Z", 1),
        ("2027-03-11T11:00:00.001Z", 20),
        ("2027-04-10T10:00:00Z", 300),
        ("2027-04-10T10:04:00Z", 4_000),
    ] {
        history.record(&purchase(at(time), minor, "beans"), &keep("60 days"), now, zone);
    }
    let month = Some(Span::days(30));
    assert_eq!(ask(&history, now, zone, month, Measure::Count), (Value::Int(2), Some(at("2027-04-10T10:00:00.001Z"))));
    assert_eq!(ask(&history, now, zone, month, Measure::Sum("amount".into())).0, Value::number("3.20").unwrap());
    assert_eq!(ask(&history, now, zone, month, Measure::Average("amount".into())).0, Value::number("1.6").unwrap());
    // Ever: all but the one that lies ahead, which enters at its time.
    assert_eq!(ask(&history, now, zone, None, Measure::Count), (Value::Int(3), Some(at("2027-04-10T10:04:00Z"))));
    assert_eq!(ask(&history, now, zone, None, Measure::Sum("amount".into())).0, Value::number("3.21").unwrap());
    assert_eq!(ask(&history, now, zone, None, Measure::Average("amount".into())).0, Value::number("1.07").unwrap());
    assert_eq!(ask(&history, now, zone, None, Measure::Sum("rating".into())).0, Value::Int(18));
    let later = at("2027-04-10T10:05:00Z");
    assert_eq!(ask(&history, later, zone, Some(Span::ms(60_000)), Measure::Count), (Value::Int(0), None));
    assert_eq!(ask(&history, later, zone, Some(Span::ms(60_001)), Measure::Count), (Value::Int(1), Some(Time(later.0 + 1))));
}

#[test]
fn what_left_can_come_back_at_the_end_of_a_month() {
    let zone = chrono_tz::UTC;
    let mut history = History::default();
    history.record(&purchase(at("2027-02-28T12:00:00Z"), 1, "a"), &keep("1 year"), at("2027-03-01T00:00:00Z"), zone);
    // A month before 29 March is 28 February again, so from midnight on the purchase is in the window again.
    let month = Some(Span { months: 1, days: 0, ms: 0 });
    let left = at("2027-03-28T12:00:00Z");
    assert_eq!(ask(&history, left, zone, month, Measure::Count), (Value::Int(0), Some(at("2027-03-29T00:00:00Z"))));
    assert_eq!(ask(&history, at("2027-03-29T00:00:00Z"), zone, month, Measure::Count).0, Value::Int(1));
    // The same with a folded day and twelve hours more.
    history.fold(0, zone);
    let longer = Some(Span { months: 1, days: 0, ms: 12 * 3_600_000 });
    assert_eq!(ask(&history, at("2027-04-01T12:00:00Z"), zone, longer, Measure::Count).0, Value::Int(0));
    let mut day_before = History::default();
    day_before.record(&purchase(at("2027-02-27T12:00:00Z"), 1, "a"), &keep("1 year"), at("2027-03-01T00:00:00Z"), zone);
    day_before.fold(0, zone);
    let left = at("2027-03-28T13:00:00Z");
    assert_eq!(ask(&day_before, left, zone, longer, Measure::Count), (Value::Int(0), Some(at("2027-03-29T00:00:00Z"))));
}

#[test]
fn a_filter_reads_the_amount_and_what_is_kept() {
    let (zone, now) = (chrono_tz::UTC, at("2027-04-10T10:00:00Z"));
    let mut history = History::default();
    for (day, minor, category) in [(1, 1_050, "beans"), (2, 2_000, "beans"), (3, 9_900, "cups")] {
        history.record(&purchase(now.plus_ms(-day * DAY_MS), minor, category), &keep("60 days"), now, zone);
    }
    let query = Aggregate {
        event: "purchase".to_owned(),
        window: Some(Span::days(60)),
        what: Measure::Count,
        filter: Some(vec!["amount".to_owned(), "category".to_owned()]),
    };
    let mut seen = Vec::new();
    let (count, until) = history.aggregate(
        now,
        zone,
        &query,
        eur(),
        (Care::default(), &mut |fields| {
            seen.push((fields["amount"].to_string(), fields["category"].to_string()));
            fields["category"] == Value::from("beans")
        }),
    );
    assert_eq!((count, until), (Value::Int(2), Some(now.plus_ms(58 * DAY_MS))));
    assert_eq!(seen[2], ("10.5".to_owned(), "\"beans\"".to_owned()));
    assert_eq!(ask(&history, now, zone, Some(Span::days(60)), Measure::Distinct("category".into())).0, Value::Int(2));
}

#[test]
fn what_is_folded_leaves_at_local_midnight() {
    let (zone, now) = (chrono_tz::Europe::Berlin, at("2027-02-10T10:00:00Z"));
    let mut history = History::default();
    for i in 0..i64::try_from(SINGLES_MAX).unwrap() + 30 {
        history.record(&purchase(now.plus_ms(-i * 1_000), 100, &format!("c{}", i % 70)), &keep("90 days"), now, zone);
    }
    history.record(&purchase(now.plus_ms(-2 * DAY_MS), 500, "old"), &keep("90 days"), now, zone);
    assert_eq!((history.singles.len(), history.days.len()), (SINGLES_MAX, 2));
    let week = Some(Span::days(7));
    // The purchase of the 8th leaves with its day: at midnight on the 9th, seven days on.
    assert_eq!(ask(&history, now, zone, week, Measure::Count), (Value::Int(231), Some(at("2027-02-15T23:00:00Z"))));
    assert_eq!(ask(&history, now, zone, week, Measure::Sum("amount".into())).0, Value::Int(235));
    assert_eq!(ask(&history, now, zone, week, Measure::Sum("rating".into())).0, Value::number("1039.5").unwrap());
    assert_eq!(ask(&history, now, zone, week, Measure::Distinct("category".into())).0, Value::Int(71));
    let mut pruned = history.clone();
    pruned.prune(&keep("3 days"), now.plus_ms(12 * DAY_MS), zone);
    assert_eq!((pruned.singles.len(), pruned.days.len(), pruned.count), (0, 0, 231));
    history.fold(0, zone);
    assert_eq!(ask(&history, now, zone, week, Measure::Count).0, Value::Int(231));
}

#[test]
fn a_single_purchase_is_small_and_comes_back() {
    let now = at("2027-02-10T10:00:00Z");
    let mut history = History::default();
    let kept = Keep { ever: BTreeSet::new(), properties: ["category".to_owned()].into(), ..keep("400 days") };
    history.record(&purchase(now, 4_250, "coffee beans"), &kept, now, chrono_tz::UTC);
    let one = rmp_serde::to_vec_named(&history).unwrap();
    history.record(&purchase(now.plus_ms(1), 4_250, "coffee beans"), &kept, now, chrono_tz::UTC);
    let two = rmp_serde::to_vec_named(&history).unwrap();
    assert!(two.len() - one.len() < 60, "{}", two.len() - one.len());
    assert_eq!(rmp_serde::from_slice::<History>(&two).unwrap(), history);
}

#[test]
fn the_longest_window_and_all_properties_are_kept() {
    let need = |window: Option<&str>, property: &str| {
        let window = window.map(|text| Span::parse(text).unwrap()).map(|span| (span.months, span.days, span.ms));
        Need { event: "review".to_owned(), window, properties: vec![property.to_owned()] }
    };
    let mut keep = Keep::default();
    for need in [
        need(Some("1 month"), "a"),
        need(Some("370 days"), "b"),
        need(Some("1 year"), "a"),
        need(Some("72h"), "c"),
        need(None, "d"),
    ] {
        keep.add(&need);
    }
    assert_eq!(keep.window, Some(Span::days(370)));
    assert_eq!(keep.properties.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(keep.ever.iter().map(String::as_str).collect::<Vec<_>>(), ["d"]);
}

#[test]
fn two_customers_histories_become_one() {
    let (zone, now) = (chrono_tz::UTC, at("2027-02-10T10:00:00Z"));
    let record = |days: &[i64]| {
        let mut history = History::default();
        days.iter().for_each(|d| history.record(&purchase(now.plus_ms(-d * DAY_MS), *d, "x"), &keep("90 days"), now, zone));
        history
    };
    let mut merged = record(&[1, 5, 200]);
    merged.merge(&record(&[3, 2]), zone);
    merged.merge(&History::default(), zone);
    assert_eq!(merged, record(&[1, 2, 3, 5, 200]));
}

fn zones() -> impl Strategy<Value = Zone> {
    prop_oneof![
        Just(chrono_tz::Europe::Berlin),
        Just(chrono_tz::America::St_Johns),
        Just(chrono_tz::America::Havana),
        Just(chrono_tz::UTC)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn order_does_not_matter(
        mut events in prop::collection::vec((0i64..40, 0i64..6, 0i64..3, 0usize..4), 1..320),
        seed in prop::collection::vec(any::<u32>(), 320), zone in zones(),
    ) {
        let now = at("2027-04-01T10:00:00Z");
        let record = |events: &[(i64, i64, i64, usize)]| {
            let mut history = History::default();
            for (day, hour, minor, category) in events {
                let time = now.plus_ms(60_000 - day * DAY_MS - hour * 3_600_000);
                history.record(&purchase(time, *minor, ["a", "b", "c", "d"][*category]), &keep("30 days"), now, zone);
            }
            history
        };
        let in_order = record(&events);
        let mut keys = seed.iter();
        events.sort_by_cached_key(|_| keys.next().copied().unwrap_or(0));
        prop_assert_eq!(in_order, record(&events));
    }

    #[test]
    fn until_is_never_late(
        events in prop::collection::vec((-300i64..90 * 86_400, 0usize..3), 1..60), fold in 0usize..60,
        months in 0u32..3, days in 0u32..32, hours in 0i64..20, zone in zones(), start in 0i64..400, filtered: bool, least in 0u64..8,
    ) {
        prop_assume!(months + days > 0 || hours > 0);
        let now = at("2027-01-20T00:30:00Z").plus_ms(start * 7 * 3_600_000);
        let window = Span { months, days, ms: hours * 3_600_000 };
        let mut history = History::default();
        for (seconds, category) in &events {
            history.record(&purchase(now.plus_ms(-seconds * 1_000), 1, ["a", "b", "c"][*category]), &keep("1 year"), now, zone);
        }
        history.fold(fold, zone);
        let query = Aggregate { event: "purchase".to_owned(), window: Some(window), what: Measure::Count, filter: filtered.then(|| vec!["category".to_owned()]) };
        let count = |t: Time| history.aggregate(t, zone, &query, eur(), (Care::default(), &mut |fields| fields["category"] != Value::from("a")));
        let (value, until) = count(now);
        if let Some(until) = until {
            prop_assert!(until > now);
            prop_assert_eq!(&count(Time(until.0 - 1)).0, &value);
        }
        // Who asks less is not told more often, and never too late.
        let care = Care { before: until.map(|until| until.plus_ms(1)), least: Some(least) };
        let (_, soon) = history.aggregate(now, zone, &query, eur(), (care, &mut |fields| fields["category"] != Value::from("a")));
        prop_assert!(soon.is_none_or(|soon| Some(soon) >= until), "{:?} and {:?}", soon, until);
        let care = Care { before: None, least: Some(least) };
        let (same, later) = history.aggregate(now, zone, &query, eur(), (care, &mut |fields| fields["category"] != Value::from("a")));
        prop_assert_eq!(&same, &value);
        prop_assert!(until.is_some() || later.is_none());
        let reached = |value: &Value| value.order(&Value::Int(least as i64)).is_some_and(std::cmp::Ordering::is_ge);
        let mut t = now;
        for _ in 0..200 {
            t = t.plus_ms(5 * 3_600_000 + 17 * 60_000 + 1);
            if later.is_some_and(|later| t >= later) { break; }
            prop_assert_eq!(reached(&count(t).0), reached(&value), "at {:?}, {} or more until {:?}", t, least, later);
            if until.is_none_or(|until| t < until) {
                prop_assert_eq!(&count(t).0, &value, "at {:?}, until {:?}", t, until);
            }
        }
    }

    #[test]
    fn windows_count_what_a_plain_look_counts(
        events in prop::collection::vec(-300i64..90 * 86_400, 1..80), months in 0u32..3, days in 1u32..32, zone in zones(),
    ) {
        let now = at("2027-04-11T00:30:00Z");
        let window = Span { months, days, ms: 0 };
        let mut history = History::default();
        events.iter().for_each(|s| history.record(&purchase(now.plus_ms(-s * 1_000), 1, "a"), &keep("1 year"), now, zone));
        let plain = events.iter().map(|s| now.plus_ms(-s * 1_000)).filter(|t| *t <= now && *t > now.minus(window, zone)).count();
        prop_assert_eq!(ask(&history, now, zone, Some(window), Measure::Count).0, Value::Int(plain as i64));
    }
}
