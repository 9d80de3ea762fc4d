//! What is wrong with rules, steps and triggers, where, and what is said to help.

use super::*;

const CATALOG_TEXT: &str = "tiers:\n  - { tier: silver, when: purchases() >= 1 }\n  - { tier: gold, when: purchases() >= 2 }\n";
const WAIT: &str = "steps: [ { wait: 1 day } ]";

/// The faults of a funnel with these lines after its title and goal: line and column, code, hint.
fn faults(lines: &str) -> Vec<(String, String)> {
    let mut found = Faults::default();
    let text = funnel(lines);
    let files = [
        (CATALOG, CATALOG_TEXT),
        ("b.yaml", text.as_str()),
        ("by-hand.yaml", "funnel: H\ngoal: purchase\ntrigger: manual\nsteps: [ { wait: 1 day } ]\n"),
    ];
    let _ = compile(&workspace(&files), &mut found);
    let list = found.into_sorted().0;
    list.iter()
        .map(|fault| {
            (format!("{}:{} {}", fault.place.line, fault.place.column, fault.code), fault.hint.clone().unwrap_or_default())
        })
        .collect()
}

#[test]
fn every_fault_of_the_language_has_its_place_and_a_hint() {
    let table: &[(&str, &str, &str)] = &[
        ("trigger: signed_up\nholdout: ten%\n", "4:10 bad-share", "10%"),
        ("trigger: signed_up\nholdout: 10\n", "4:10 bad-share", "write `10%`"),
        ("trigger: signed_up\nholdout: 10%\ntransactional: true\n", "4:10 holdout-transactional", "remove `holdout`"),
        ("trigger: signed_up\nsettle: 30m\n", "4:9 settle-filter", "only_if"),
        ("trigger: signed_up\nsettle: 8 days\nonly_if: purchases() > 1\n", "4:9 settle-span", "30m"),
        ("trigger: { tier_changed: sideways }\n", "3:26 unknown-word", "any"),
        ("trigger: { tier_changed: up, to: golden }\n", "3:34 unknown-tier", "`gold`"),
        ("trigger: signed_up\nonly_if: customer.tier == \"glod\"\n", "4:27 unknown-tier", "did you mean `gold`"),
        ("trigger: signed_up\nonly_if: \"\\\"bronce\\\" != customer.tier\"\n", "4:11 unknown-tier", ""),
        ("trigger: signed_up\nonly_if: customer.tier in [\"gold\", \"silvr\"]\n", "4:27 unknown-tier", "`silver`"),
        ("trigger: signed_up\nonly_if: { tier: slver }\n", "4:18 unknown-tier", "`silver`"),
        ("trigger: { bonus_expiring: 3 days after }\n", "3:28 bad-offset", "bonus_expired"),
    ];
    for (lines, fault, hint) in table {
        let found = faults(&format!("{lines}{WAIT}"));
        assert!(found.len() == 1 && found[0].0 == *fault && found[0].1.contains(hint), "{lines}: {found:?}");
    }
    // With each the text at which the fault stands.
    let steps: &[(&str, &str, &str, &str)] = &[
        ("{ message: hello, channels: [] }", "[] ", "channels", "[push, sms, email]"),
        ("{ message: hello, channels: [sms, sms] }", "[sms", "channels", "[push, sms, email]"),
        ("{ message: hello, channels: [sms, fax] }", "fax", "unknown-word", ""),
        ("{ message: hello }", "{", "missing-field", "channels"),
        ("{ message: { text: Hi }, channels: [sms, email] }", "{ text", "no-subject", ""),
        ("{ sms: hello, on_cap: { defer: 0 days } }", "{ defer", "defer-zero", "skip"),
        ("{ sms: hello, on_cap: { defer: 1 day, most: 3 } }", "most", "unknown-field", "defer"),
        ("{ sms: hello, on_cap: wait }", "wait", "unknown-word", ""),
        ("{ sms: hello, window: { from: \"18:00\", until: \"09:00\" } }", "{ from", "empty-window", "09:00"),
        ("{ sms: hello, window: { days: [mon, tus] } }", "tus", "unknown-word", "tue"),
        ("{ sms: hello, expires: 0h }", "0h", "expires-zero", ""),
        ("{ grant: 5 points, expires: 1h, if_expired: [ { smz: hello } ] }", "smz", "unknown-step", "sms"),
        ("{ grant: 5 points, expires: 1h, to: event.source }", "1h", "no-deadline", "remove"),
        ("{ grant: 50 pts }", "50 pts", "bad-points", "`grant: 50 points`"),
        ("{ split: { a: { weight: 50%, steps: [] }, b: { weight: 1, steps: [] } } }", "50%", "wrong-type", "alone: `50`"),
        ("{ grant: 5 points, undo_within: 1 day }", "1 day", "undo-form", "undo_on"),
        ("{ grant: 5 points, to: event.source, undo_on: refund }", "refund", "undo-elsewhere", "remove"),
        ("{ grant: 5 points, undo_on: { condition: purchases() > 1 } }", "{ cond", "watch-kind", "refund"),
        ("{ split: { a: { weight: 1, steps: [] } }, winner: b }", "b }", "unknown-variant", "`a`"),
        ("{ wait: 1 day, if_expired: [] }", "if_exp", "unknown-field", ""),
        ("{ wait_for: [], up_to: 1 day }", "[]", "wait-for-list", "- event: purchase"),
        ("{ wait_for: [ purchase, review ], up_to: 1 day, then: [ { wait: 1h } ] }", "[ { wait", "arm-form", "move it"),
        ("{ wait_for: purchase, up_to: 1 day, choose: best }", "best", "choose-one", "list"),
        ("{ wait: 1 day, restart_on: { condition: purchases() > 1 } }", "{ cond", "watch-kind", "cart_updated"),
        ("{ enter: by-hnd }", "by-hnd", "unknown-funnel", "by-hand"),
        ("{ enter: hello }", "{", "enter-trigger", "trigger: manual"),
        ("{ enter: by-hand, with: 5 }", "5", "properties-form", "with"),
    ];
    for (step, at, code, hint) in steps {
        let found = faults(&format!("trigger: signed_up\nsteps: [ {step} ]"));
        let column = "steps: [ ".len() + step.find(at).unwrap() + 1;
        let as_wanted = found.len() == 1 && found[0].0 == format!("4:{column} {code}") && found[0].1.contains(hint);
        assert!(as_wanted, "{step}: {found:?}, wanted at {column}");
    }
}

#[test]
fn what_is_right_is_taken_as_it_is_written() {
    let lines = "trigger: { tier_changed: up, to: [silver, gold] }\nholdout: 2.5%\nsettle: 30m\nonly_if: purchases() > 1\nsteps:
  - message: hello
    channels: [push, sms, email]
    on_cap: { defer: 3 days }
    window: { days: [mon, fri], from: \"09:00\", until: \"18:00\", outside: skip }
    expires: 2 days
    if_expired: [ { stop: too late } ]
    on_error: branch
    failed: [ { stop: not sent } ]
  - wait_for:
      - purchase
      - { event: review, where: event.rating > 3, then: [ { enter: by-hand, with: { from: { cel: run.key } } } ] }
    up_to: 7 days
    choose: best
    restart_on: { segment_left: vip }
  - wait: 1 day
    restart_on: tier_changed";
    assert_eq!(faults(lines), []);
    let workspace = good(&[
        (CATALOG, CATALOG_TEXT),
        ("b.yaml", &funnel(lines)),
        ("by-hand.yaml", "funnel: H\ngoal: purchase\ntrigger: manual\nsteps: [ { wait: 1 day } ]\n"),
    ]);
    let steps: Vec<String> = workspace.funnels["b"].steps.list.iter().map(|at| at.step.sentence()).collect();
    assert_eq!(
        steps,
        [
            "push, else sms, else email “hello”",
            "stop: not sent",
            "stop: too late",
            "wait for review where event.rating > 3, better purchase, up to 7 days",
            "enter “by-hand”",
            "wait 1 day",
        ]
    );
}

#[test]
fn a_funnel_that_enters_itself_is_warned_of() {
    let by_hand = "funnel: H\ngoal: purchase\ntrigger: manual\nsteps: [ { wait: 1 day }, { enter: by-hand } ]\n";
    assert_eq!(check(&[("by-hand.yaml", by_hand)]), ["by-hand.yaml:4:27 emit-cycle"]);
    let other = by_hand.replace("enter: by-hand", "enter: b").replace("H", "B");
    let b = by_hand.replace("enter: by-hand", "emit: go");
    let back = by_hand.replace("trigger: manual", "trigger: go");
    assert_eq!(check(&[("by-hand.yaml", &other), ("b.yaml", &b), ("c.yaml", &back)]), ["b.yaml:4:27 emit-cycle"]);
}

#[test]
fn a_membership_is_kept_by_one_owner() {
    let catalog = "memberships:\n  club: { title: Club, term: 1 year, price: 10 }\n";
    let fault = |owner: &str, step: &str| {
        let settings = format!("{SETTINGS_TEXT}membership_owner: {owner}\n");
        let text = funnel(&format!("trigger: signed_up\nsteps: [ {{ membership: {step} }} ]"));
        check(&[(SETTINGS, &settings), (CATALOG, catalog), ("b.yaml", &text)]).join(" ")
    };
    assert_eq!(fault("account", "{ start: club, for: 1 month, auto_renew: true }"), "");
    assert_eq!(fault("account", "{ extend: 1 month }"), "");
    assert_eq!(fault("events", "{ extend: 1 month }"), "b.yaml:4:24 membership-owner");
    assert_eq!(fault("api", "{ start: club }"), "b.yaml:4:24 membership-owner");
    assert_eq!(fault("account", "{ start: clubb }"), "b.yaml:4:33 unknown-membership");
    let named = |name: &str| fault("account", &format!("{{ extend: 1 month }}, if: 'customer.membership.name == \"{name}\"'"));
    assert_eq!((named("club").as_str(), named("clbu").as_str()), ("", "b.yaml:4:78 unknown-membership"));
    for step in
        ["{ start: club, extend: 1 month }", "{ auto_renew: true }", "{ extend: 0 days }", "{ extend: 1 day, for: 1 day }"]
    {
        assert_eq!(fault("account", step), "b.yaml:4:24 membership-form", "{step}");
    }
}
