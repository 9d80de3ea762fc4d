//! The settings: what is read, and what is refused where.

use super::*;
use crate::lang::diag::{Fault, Faults};
use crate::lang::node;

fn read(text: &str) -> (Settings, Vec<Fault>) {
    let mut faults = Faults::default();
    let node = node::parse("autofunnel.yaml", text, &mut faults).unwrap();
    let settings = Settings::compile(&node, &mut faults);
    (settings, faults.list().to_vec())
}

const HEAD: &str = "workspace: W\nzone: UTC\ncurrency: EUR\n";

#[test]
fn everything_that_can_be_said_is_read() {
    let text = "\
workspace: Harbour Coffee Roasters
zone: Europe/Berlin
currency: JPY
unknown: refuse
profile: { favourite_roast: text, visits: number, trial_ends: date, seen: time, fan: bool }
membership_owner: api
events:
  tasting_booked: { seats: number, city: text }
  hello:
keep: 30 days
quiet_hours: { from: \"21:00\", until: \"08:00\" }
caps:
  - { channel: email, at_most: 3, per: week }
  - { tag: promo, at_most: 1, within: 72h }
offers: { at_most: 2, within: 7 days }
channels: { email: mailer, sms: inbox }
loyalty: mailer
providers:
  mailer:
    kind: http
    url: \"https://mail.example/{{ customer.id }}\"
    json: { to: \"{{ customer.email }}\", key: \"{{ effect.id }}\", lines: [\"{{ event.amount | money }}\"], plain: customer.phone }
sources: { shop: { verify: none } }
";
    let (settings, faults) = read(text);
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!((settings.workspace.as_str(), settings.zone), ("Harbour Coffee Roasters", chrono_tz::Europe::Berlin));
    assert_eq!((settings.currency.code(), settings.create_unknown), ("JPY", false));
    assert_eq!(settings.membership_owner, MembershipOwner::Api);
    let profile: Vec<(&str, &Type)> = settings.profile.iter().map(|(name, ty)| (name.as_str(), ty)).collect();
    let wanted = [
        ("fan", Type::Bool),
        ("favourite_roast", Type::Text),
        ("seen", Type::Time),
        ("trial_ends", Type::Time),
        ("visits", Type::Number),
    ];
    assert_eq!(profile, wanted.iter().map(|(name, ty)| (*name, ty)).collect::<Vec<_>>());
    let seats = Type::Object(vec![("city".into(), Type::Text), ("seats".into(), Type::Number)]);
    assert_eq!((&settings.events["tasting_booked"], &settings.events["hello"]), (&seats, &Type::Object(Vec::new())));
    assert_eq!(settings.keep, Span::days(30));
    let clock = |text| crate::lang::time::parse_clock(text).unwrap();
    assert_eq!(settings.quiet_hours, Some(QuietHours { from: clock("21:00"), until: clock("08:00") }));
    assert_eq!(settings.caps[0], Cap { channel: Some("email".into()), tag: None, at_most: 3, period: Period::Week });
    assert_eq!(settings.caps[1].period, Period::Within(Span::parse("72h").unwrap()));
    assert_eq!(settings.offers, Some((2, Span::days(7))));
    assert_eq!((settings.channels["email"].as_str(), settings.channels["sms"].as_str()), ("mailer", "inbox"));
    assert_eq!(settings.loyalty.as_deref(), Some("mailer"));
    assert!(settings.sources["shop"].get("verify").is_some());
    let paths: Vec<String> = settings.provider_variables["mailer"].iter().map(|path| path.join(".")).collect();
    assert_eq!(paths, ["customer.email", "customer.id", "event.amount"]);
}

#[test]
fn templates_of_providers_are_counted_together() {
    let provider = |name: &str, many: usize| {
        let lines = "      - \"{{ customer.name }}\"\n".repeat(many);
        format!("  {name}:\n    kind: http\n    url: https://mail.example/\n    json:\n{lines}")
    };
    let with = |many| read(&format!("{HEAD}providers:\n{}{}", provider("a", many), provider("b", PROVIDER_TEMPLATES_MAX / 2))).1;
    assert!(with(PROVIDER_TEMPLATES_MAX / 2).is_empty());
    let faults = with(PROVIDER_TEMPLATES_MAX / 2 + 1);
    assert_eq!(faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), ["too-many"], "{faults:#?}");
    assert_eq!(with(2 * PROVIDER_TEMPLATES_MAX).len(), 2, "one of each provider that has no room left");
}

#[test]
fn what_is_not_said_has_the_documented_default() {
    let (settings, faults) = read(HEAD);
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(settings.create_unknown && settings.caps.is_empty() && settings.channels.is_empty() && settings.profile.is_empty());
    assert_eq!((settings.membership_owner, settings.keep), (MembershipOwner::Events, Span::days(400)));
    assert_eq!((settings.quiet_hours, settings.offers, settings.loyalty), (None, None, None));
    let (settings, faults) = read(&format!("{HEAD}loyalty: account\nchannels: {{ push: inbox }}\n"));
    assert!(faults.is_empty() && settings.loyalty.is_none(), "{faults:#?}");
}

/// What stands in line 4, the code of the one fault, its line and column, and a piece of its hint.
const WRONG: &[(&str, &str, (u32, u32), &str)] = &[
    ("zoen: UTC", "unknown-field", (4, 1), "did you mean `zone`?"),
    ("unknown: creat", "unknown-word", (4, 10), "did you mean `create`?"),
    ("membership_owner: event", "unknown-word", (4, 19), "did you mean `events`?"),
    ("keep: 400", "bad-duration", (4, 7), "400 days"),
    ("keep: 0 days", "bad-duration", (4, 7), "7 days"),
    ("keep:", "empty-field", (4, 1), "write one"),
    ("profile: [a]", "wrong-type", (4, 10), "name: …"),
    ("profile: { roast: txt }", "unknown-word", (4, 19), "did you mean `text`?"),
    ("profile: { email: text }", "reserved-name", (4, 12), "without it"),
    ("profile: { tier: text }", "reserved-name", (4, 12), "my_tier"),
    ("profile: { last-order: text }", "bad-name", (4, 12), "last_order"),
    ("profile: { 2nd: text }", "bad-name", (4, 12), "_2nd"),
    ("events: { purchase: { amount: number } }", "reserved-name", (4, 11), "kept"),
    ("events: { tasting: { seats: nubmer } }", "unknown-word", (4, 29), "did you mean `number`?"),
    ("events: { tasting: number }", "wrong-type", (4, 20), "name: …"),
    ("events: { \"tasting booked\": { seats: number } }", "bad-name", (4, 12), "tasting-booked"),
    ("quiet_hours: { from: \"21:00\", until: \"21:00\" }", "quiet-hours", (4, 39), "never"),
    ("quiet_hours: { from: \"21:00\" }", "missing-field", (4, 14), "until"),
    ("quiet_hours: { from: \"9:00\", until: \"21:00\" }", "bad-clock", (4, 23), "09:00"),
    ("caps: { at_most: 3, per: week }", "wrong-type", (4, 7), "- {"),
    ("caps: [{ at_most: 3 }]", "cap-period", (4, 8), "per: week"),
    ("caps: [{ at_most: 3, per: week, within: 7 days }]", "cap-period", (4, 41), "second cap"),
    ("caps: [{ at_most: 0, per: week }]", "out-of-range", (4, 19), "from 1 to"),
    ("caps: [{ at_most: 1, per: weak }]", "unknown-word", (4, 27), "did you mean `week`?"),
    ("caps: [{ per: week }]", "missing-field", (4, 8), "at_most"),
    ("caps: [{ channel: emial, at_most: 1, per: day }]", "unknown-word", (4, 19), "did you mean `email`?"),
    ("caps: [{ at_most: 1, within: 2 years }]", "out-of-range", (4, 30), "366 days"),
    ("offers: { at_most: 1 }", "missing-field", (4, 9), "within"),
    ("channels: { emial: inbox }", "unknown-field", (4, 13), "did you mean `email`?"),
    ("channels: { email: inbx }", "unknown-provider", (4, 20), "did you mean `inbox`?"),
    ("loyalty: acount", "unknown-provider", (4, 10), "did you mean `account`?"),
    ("providers: { box: { kind: inbox } }\nloyalty: box", "loyalty-provider", (5, 10), "kind http"),
    ("providers: { account: { kind: http } }", "reserved-name", (4, 14), "another name"),
    ("providers: { loyalty_store: { kind: http } }", "reserved-name", (4, 14), "another name"),
    ("loyalty_store: builtin", "unknown-word", (4, 16), "did you mean `built_in`?"),
    (
        "loyalty_store: { url: https://a, lookup: { result: { balanse: /b } } }",
        "unknown-field",
        (4, 54),
        "did you mean `balance`?",
    ),
    ("loyalty_store: { url: https://a, lookup: { result: { shoe_size: /b } } }", "unknown-field", (4, 54), "programmes"),
    ("loyalty_store: { url: https://a, max_age: soon }", "bad-duration", (4, 43), "lacks a unit"),
    ("loyalty_store: { url: https://a, ask_again: 10ms }", "out-of-range", (4, 45), "10 minutes"),
    ("providers: { p: { kind: http } }\nloyalty: p\nloyalty_store: { url: https://a }", "two-stores", (6, 16), "remove"),
    ("profile: { programmes: text }", "reserved-name", (4, 12), "my_programmes"),
    ("providers: http", "wrong-type", (4, 12), "name: …"),
    ("sources: { \"a shop\": { verify: none } }", "bad-name", (4, 13), "a-shop"),
];

#[test]
fn what_is_wrong_is_named_where_it_stands() {
    for (text, code, place, hint) in WRONG {
        let (_, faults) = read(&format!("{HEAD}{text}\n"));
        let [fault] = &faults[..] else { panic!("{text}: {faults:#?}") };
        assert_eq!((fault.code, (fault.place.line, fault.place.column)), (*code, *place), "{text}: {fault:#?}");
        let said = format!("{} {}", fault.message, fault.hint.as_deref().unwrap_or_default());
        assert!(fault.hint.is_some() && said.contains(hint), "{text}: {said}");
    }
}

#[test]
fn the_first_three_lines_are_required_and_checked() {
    for (text, code, place, hint) in [
        ("zone: UTC\ncurrency: EUR", "missing-field", (1, 1), "workspace"),
        ("workspace: W\ncurrency: EUR", "missing-field", (1, 1), "zone"),
        ("workspace: W\nzone: UTC", "missing-field", (1, 1), "currency"),
        ("workspace: \" \"\nzone: UTC\ncurrency: EUR", "empty-field", (1, 13), "customers know"),
        ("workspace: W\nzone: Europe/Berln\ncurrency: EUR", "unknown-zone", (2, 7), "Europe/Berlin"),
        ("workspace: W\nzone: UTC\ncurrency: eur", "bad-currency", (3, 11), "`EUR`"),
        ("workspace: W\nzone: UTC\ncurrency: Taler", "bad-currency", (3, 11), "ISO 4217"),
        ("- a", "wrong-type", (1, 1), "workspace"),
    ] {
        let (_, faults) = read(text);
        let [fault] = &faults[..] else { panic!("{text}: {faults:#?}") };
        assert_eq!((fault.code, (fault.place.line, fault.place.column)), (code, place), "{text}: {fault:#?}");
        assert!(fault.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {fault:#?}");
    }
}

#[test]
fn a_remote_store_is_read_as_far_as_definitions_need_it() {
    let (settings, faults) = read(&format!(
        "{HEAD}loyalty_store:\n  url: https://a.example\n  max_age: 2 minutes\n  grant: {{ path: \"/{{{{ effect.id }}}}\", json: {{ a: \"{{{{ customer.name }}}}\" }} }}\n  offer: {{ path: /o, json: {{ b: \"{{{{ bundle.name }}}}\" }} }}\n  lookup: {{ path: /l, result: {{ balance: /b, tier: /t }} }}\n"
    ));
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(settings.loyalty.as_deref(), Some(STORE));
    let paths: Vec<String> = settings.provider_variables[STORE].iter().map(|path| path.join(".")).collect();
    assert_eq!(paths, ["customer.name"], "what comes from the effect itself is not frozen");
    let store = settings.loyalty_store.unwrap();
    assert_eq!((store.max_age_ms, store.ask_again_ms, store.offers), (120_000, 600_000, true));
    let reads = |path: &[&str]| store.is_read_by(&path.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert!(reads(&["customer", "balance"]) && reads(&["customer", "tier"]) && reads(&["customer"]));
    assert!(!reads(&["customer", "pending"]) && !reads(&["event", "balance"]) && !reads(&["customer", "name"]));
    let (settings, faults) = read(&format!("{HEAD}loyalty_store: built_in\n"));
    assert!(faults.is_empty() && settings.loyalty_store.is_none() && settings.loyalty.is_none());
}

#[test]
fn a_faulty_cap_does_not_become_one_over_everything() {
    let (settings, _) = read(&format!("{HEAD}caps: [{{ channel: emial, at_most: 1, per: day }}]\n"));
    assert!(settings.caps.is_empty());
}

#[test]
fn each_channel_has_a_field() {
    assert_eq!(CHANNEL_FIELDS.iter().map(|field| field.name).collect::<Vec<_>>(), CHANNELS);
}
