//! Schedules (their next times across changes of the clock), durations, offsets, clock times, dates, instants.

use super::chance::Chance;
use super::odd::{Odd, ZONES, odd_time};
use super::{Case, Kind, Verdict, laws, mutate, sample};
use autofunnel::customer::Customer;
use autofunnel::engine::intake::fit;
use autofunnel::funnel::names::{Base, Names};
use autofunnel::lang::cel::{Aggregate, Care, Scope};
use autofunnel::lang::diag::Faults;
use autofunnel::lang::node::{Key, Node, NodeKind};
use autofunnel::lang::phrase::Offset;
use autofunnel::lang::render::Sources;
use autofunnel::lang::time::{Span, TIME_MAX, TIME_MIN, Time, Zone, instant, parse_clock, parse_date};
use autofunnel::lang::value::{Fields, Value};
use autofunnel::money::Currency;
use autofunnel::trigger::{self, TriggerCx, TriggerNames};
use chrono::Datelike;

/// The segment of every schedule.
const SEGMENT: &str = "regulars";

/// Schedules.
pub struct Schedules {
    base: Base,
    currency: Currency,
}

impl Schedules {
    /// Reads the samples.
    pub fn new() -> Schedules {
        let checked = sample::checked();
        let workspace = checked.workspace.as_ref().expect("it is sound");
        Schedules { base: sample::base(workspace), currency: workspace.settings.currency }
    }
}

/// The least and the greatest value of each field, and its names.
const FIELDS: &[(i64, i64, &[&str])] = &[
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &["L", "W", "15W", "LW", "?"]),
    (1, 12, &["JAN", "feb", "DEC"]),
    (0, 7, &["MON", "sun", "FRI", "MON-FRI", "5L", "MON#2", "?", "L", "0#5", "FRI#L"]),
];

fn cron_field(at: usize, chance: &mut Chance) -> String {
    let (low, high, names) = FIELDS[at];
    let number =
        |chance: &mut Chance| if chance.one_in(30) { chance.between(-2, 100) } else { chance.between(low, high) }.to_string();
    match chance.below(12) {
        0..=3 => "*".to_owned(),
        4..=6 => number(chance),
        7 => format!("{}-{}", number(chance), number(chance)),
        8 => format!("*/{}", chance.between(0, 40)),
        9 => (0..1 + chance.below(6)).map(|_| number(chance)).collect::<Vec<_>>().join(","),
        10 => format!("{}-{}/{}", number(chance), number(chance), number(chance)),
        _ if names.is_empty() => number(chance),
        _ => chance.pick(names).to_owned(),
    }
}

fn cron(chance: &mut Chance) -> String {
    let known = [
        "0 9 * * MON",
        "30 2 * * *",
        "0 0 29 2 *",
        "*/15 * * * *",
        "0 0 L * *",
        "59 23 31 12 *",
        "@daily",
        "@reboot",
        "0 0 29 2 MON",
    ];
    let mut text = if chance.one_in(4) {
        chance.pick(&known).to_owned()
    } else {
        (0..5).map(|at| cron_field(at, chance)).collect::<Vec<_>>().join(" ")
    };
    match chance.below(10) {
        0 => text = mutate::tweak(&text, chance),
        1 => text = text.replacen(' ', chance.pick(&["  ", "\t", " * ", ",", ""]), 1),
        2 if chance.one_in(4) => text = text.repeat(1 + chance.below(60)),
        _ => {}
    }
    text
}

fn scalar(text: &str) -> Node {
    let place =
        autofunnel::lang::diag::Place { file: "f.yaml".into(), line: 1, column: 1, length: text.chars().count().max(1) as u32 };
    Node { place, kind: NodeKind::Scalar { text: text.to_owned(), plain: false } }
}

fn map(entries: &[(&str, &str)]) -> Node {
    let entries = entries.iter().map(|(key, text)| {
        let value = scalar(text);
        (Key { text: (*key).to_owned(), place: value.place.clone() }, value)
    });
    let entries = entries.collect();
    Node { kind: NodeKind::Map(entries), ..scalar("") }
}

/// The customer of a schedule: always in the segment.
struct Member(Odd);

impl Scope for Member {
    fn now(&self) -> Time {
        self.0.now()
    }

    fn zone(&self) -> Zone {
        self.0.zone()
    }

    fn field(&self, path: &[String]) -> Option<Value> {
        self.0.field(path)
    }

    fn in_segment(&self, _name: &str) -> bool {
        true
    }

    fn first(&self, event: &str) -> Option<Time> {
        self.0.first(event)
    }

    fn last(&self, event: &str) -> Option<Time> {
        self.0.last(event)
    }

    fn aggregate(&self, query: &Aggregate, care: Care, keep: &mut dyn FnMut(&Fields) -> bool) -> (Value, Option<Time>) {
        self.0.aggregate(query, care, keep)
    }
}

impl Kind for Schedules {
    fn name(&self) -> &'static str {
        "schedule"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let text = cron(&mut chance);
        let shown = text.clone().into_bytes();
        Case { shown, feed: Box::new(move || self.feed(&text, chance)) }
    }
}

impl Schedules {
    fn feed(&self, text: &str, mut chance: Chance) -> Verdict {
        let mut faults = Faults::default();
        let names = Names::new(&self.base);
        let profile = |name: &str| self.base.profile(name);
        let names = TriggerNames {
            names: &names,
            zone: chrono_tz::Europe::Berlin,
            profile: &profile,
            date_fields: self.base.date_fields(),
            memberships: vec!["roastery-club".to_owned()],
            tiers: Vec::new(),
            currency: self.currency,
        };
        let place = if chance.one_in(2) { "workspace" } else { "customer" };
        let trigger = trigger::compile(&map(&[("schedule", text), ("segment", SEGMENT), ("in", place)]), &names, &mut faults);
        let mut broken = None;
        match &trigger {
            None if !faults.has_errors() => broken = Some("refused without an error".to_owned()),
            None => {}
            Some(trigger) => {
                let (workspace_zone, zone) = (*chance.item(ZONES), *chance.item(ZONES));
                let member = Member(Odd::new(chance.next() % 50));
                let customer = Customer::new("c", Time(0));
                let mut after = odd_time(&mut chance);
                for _ in 0..6 {
                    let cx = TriggerCx { now: after, zone, workspace_zone, customer: &customer, scope: &member, mark: 0 };
                    let Some(next) = trigger.next(&cx, after) else { break };
                    if next.at <= after || next.expires.is_some_and(|expires| expires < next.at) {
                        broken = Some(format!("after {after} comes {next:?}"));
                    }
                    after = next.at;
                }
                broken = broken.or_else(|| laws::sentence(&trigger.sentence()));
            }
        }
        let mut sources = Sources::default();
        sources.add("f.yaml", text);
        let past_parser = trigger.is_some();
        let one_line = !text.contains(['\n', '\r']);
        let (faults, dropped) = faults.into_sorted();
        let verdict = laws::of_faults(&faults, dropped, &sources, &|_| Some(1));
        let told = if one_line { verdict.broken } else { None };
        Verdict { past_parser, refused: verdict.refused, placed: verdict.refused, broken: broken.or(told) }
    }
}

/// Durations and times.
pub struct Durations;

impl Durations {
    /// Needs no samples.
    pub fn new() -> Durations {
        Durations
    }
}

const UNITS: &[&str] = &[
    "ms", "s", "sec", "second", "seconds", "m", "min", "minutes", "h", "hour", "hours", "d", "day", "days", "w", "weeks",
    "month", "months", "y", "year", "years",
];
const ANCHORS: &[&str] = &["before", "after", "before renewal", "after birthday", "before", "after", "on the day"];

fn count(chance: &mut Chance) -> String {
    match chance.below(24) {
        0 => chance
            .pick(&["0", "00", "36600", "36601", "1200", "1201", "9223372036854775807", "18446744073709551615", "1.5", "-1"])
            .to_owned(),
        1 => (chance.next() >> chance.below(64)).to_string(),
        _ => chance.below(200).to_string(),
    }
}

fn span(chance: &mut Chance) -> String {
    let part = |chance: &mut Chance| format!("{}{}{}", count(chance), chance.pick(&[" ", " ", "", "  "]), chance.pick(UNITS));
    (0..1 + chance.below(3)).map(|_| part(chance)).collect::<Vec<_>>().join(chance.pick(&[" ", " ", "", ", "]))
}

fn written_time(chance: &mut Chance) -> String {
    let year = if chance.one_in(8) { chance.between(-1, 10_000) } else { chance.between(1900, 2999) };
    let mut two = |low, high| if chance.one_in(25) { chance.between(-1, 99) } else { chance.between(low, high) };
    let (month, day, hour, minute, second) = (two(1, 12), two(1, 28), two(0, 23), two(0, 59), two(0, 59));
    let date = format!("{year:04}-{month:02}-{day:02}");
    match chance.below(5) {
        0 => date,
        1 => format!("{hour:02}:{minute:02}"),
        2 => format!("{hour:02}:{minute:02}:{second:02}"),
        _ => {
            let zone = chance.pick(&[
                "Z",
                "+02:00",
                "-11:00",
                "+14:00",
                "+24:00",
                ".123Z",
                ".999999999Z",
                "",
                "z",
                "+0200",
                "[Europe/Berlin]",
            ]);
            format!("{date}{}{hour:02}:{minute:02}:{second:02}{zone}", chance.pick(&["T", "T", "t", " "]))
        }
    }
}

impl Kind for Durations {
    fn name(&self) -> &'static str {
        "duration"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let mut text = match chance.below(3) {
            0 => span(&mut chance),
            1 => format!("{} {}", span(&mut chance), chance.pick(ANCHORS)),
            _ => written_time(&mut chance),
        };
        if chance.one_in(5) {
            text = mutate::tweak(&text, &mut chance);
        }
        if chance.one_in(50) {
            text = text.repeat(chance.below(2_000));
        }
        let shown = text.clone().into_bytes();
        Case { shown, feed: Box::new(move || times(&text, chance)) }
    }
}

fn times(text: &str, mut chance: Chance) -> Verdict {
    let (at, zone) = (odd_time(&mut chance), *chance.item(ZONES));
    let mut said: Vec<String> = Vec::new();
    let mut broken = None;
    let mut fits = false;
    let within = |time: Time| (TIME_MIN..=TIME_MAX).contains(&time);
    match Span::parse(text) {
        Ok(span) => {
            fits = true;
            if Span::parse(&span.to_string()).ok() != Some(span) && !span.is_zero() {
                broken = Some(format!("`{text}` is {span:?}, and is shown as `{span}`"));
            }
            if !within(at.plus(span, zone)) || !within(at.minus(span, zone)) {
                broken = Some(format!("{at} and {span} is outside of what can be written"));
            }
        }
        Err(why) => said.push(why),
    }
    match Offset::parse(text) {
        Ok(offset) => {
            fits = true;
            said.push(offset.to_string());
            apply(offset, at, zone);
        }
        Err(why) => said.push(why),
    }
    match Offset::parse_with_anchor(text) {
        Ok((offset, anchor)) => {
            fits = true;
            said.push(anchor);
            apply(offset, at, zone);
        }
        Err(why) => said.push(why),
    }
    if let Some(time) = Time::parse(text) {
        fits = true;
        if Time::parse(&time.to_string()) != Some(time) || !within(time) {
            broken = Some(format!("`{text}` is {time:?}"));
        }
    }
    if let Some(date) = parse_date(text) {
        fits = true;
        instant(zone, date.and_time(chrono::NaiveTime::MIN)).next_midnight(zone);
    }
    if let Some(clock) = parse_clock(text) {
        fits = true;
        instant(zone, at.date(zone).and_time(clock));
    }
    match fit::read_time(text, zone) {
        Some(time) if !within(time) => broken = Some(format!("the door reads `{text}` as {}", time.0)),
        Some(_) => fits = true,
        None => {
            let why = fit::no_time(text, "time");
            said.extend([Some(why.error), why.hint, why.field].into_iter().flatten());
        }
    }
    let broken = broken.or_else(|| said.iter().find_map(|text| laws::sentence(text)));
    Verdict { past_parser: fits, refused: !fits, placed: !fits, broken }
}

fn apply(offset: Offset, at: Time, zone: Zone) {
    let date = at.date(zone);
    let moved = offset.apply(date, trigger::MORNING, zone);
    offset.undo(moved.date(zone)).year();
}
