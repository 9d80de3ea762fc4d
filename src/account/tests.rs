//! The account by example. What must hold for every order of commands and ticks is in [`laws`].

use super::*;
use crate::catalog::{Bundle, BundleKind, Catalog, Item};
use crate::event::Event;
use crate::lang::time::{DAY_MS, HOUR_MS, Span, Zone};
use crate::lang::value::{Fields, Value};
use chrono_tz::UTC;

mod laws;

const T0: Time = Time(1_800_000_000_000);

fn after(ms: i64) -> Time {
    T0.plus_ms(ms)
}

fn grant(key: &str, points: i64, active_after: Span, expires_after: Option<Span>) -> Command {
    Command::Grant { key: key.into(), points, reason: "welcome".into(), active_after, expires_after }
}

fn at_once(key: &str, points: i64, days: u32) -> Command {
    grant(key, points, Span::default(), Some(Span::days(days)))
}

fn spend(key: &str, points: i64) -> Command {
    Command::Spend { key: key.into(), points }
}

fn give_back(key: &str, of: &str) -> Command {
    Command::Return { key: key.into(), of: of.into() }
}

fn offer(key: &str, bundle: &str, days: u32) -> Command {
    Command::Offer { key: key.into(), bundle: bundle.into(), valid_for: Span::days(days) }
}

fn use_offer(named: &str, order: &str, at: Time) -> Command {
    Command::UseOffer { offer: named.into(), order: order.into(), at }
}

/// Applies and keeps, so that a test reads like a story.
fn tell(account: &mut Account, command: Command, now: Time) -> Reply {
    let (next, reply) = apply(account, &command, now, UTC);
    *account = next;
    reply
}

fn refusal(reply: Reply) -> String {
    match reply {
        Reply::Refused { why } => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn points_activate_and_run_out_at_their_own_instants_however_late_the_tick() {
    let mut account = Account::default();
    let reply = tell(&mut account, grant("g", 200, Span::days(3), Some(Span::days(10))), T0);
    let (active_at, expires_at) = (after(3 * DAY_MS), after(13 * DAY_MS));
    assert_eq!(reply, Reply::Granted { points: 200, state: LotState::Pending, active_at, expires_at: Some(expires_at) });
    assert_eq!((account.balance(), account.pending(), next_due(&account)), (0, 200, Some(active_at)));

    let (untouched, none) = tick(&account, Time(active_at.0 - 1));
    assert_eq!((&untouched, none.len()), (&account, 0));
    let (active, told) = tick(&account, active_at);
    assert_eq!((active.balance(), active.pending(), told.len()), (200, 0, 1));

    let (ended, told) = tick(&account, after(100 * DAY_MS));
    assert_eq!(
        told.iter().map(|change| (change.at, change.event().0)).collect::<Vec<_>>(),
        [(active_at, "bonus_activated"), (expires_at, "bonus_expired"),]
    );
    assert_eq!(told[1].event().1.get("points"), Some(&Value::Int(200)));
    assert_eq!((ended.balance(), next_due(&ended)), (0, None));
    let moves: Vec<_> = ended.entries().map(|entry| (entry.at, entry.key, entry.change, entry.kind.name())).collect();
    assert_eq!(moves, [(T0, "g", 0, "promised"), (active_at, "g", 200, "activated"), (expires_at, "g", -200, "expired")]);
}

#[test]
fn days_are_those_of_the_customers_zone() {
    let zone: Zone = chrono_tz::Europe::Berlin;
    // Clocks go forward in the night to 2027-03-28: her day has 23 hours.
    let now = Time::parse("2027-03-27T11:00:00Z").unwrap();
    let (account, _) = apply(&Account::default(), &grant("g", 1, Span::days(1), None), now, zone);
    assert_eq!(next_due(&account), Some(now.plus_ms(23 * HOUR_MS)));
}

#[test]
fn the_same_key_books_nothing_and_replies_as_at_first() {
    let mut account = Account::default();
    let command = grant("g", 200, Span::days(3), None);
    let first = tell(&mut account, command.clone(), T0);
    let later = after(30 * DAY_MS);
    let (active, _) = tick(&account, later);
    let (same, reply) = apply(&active, &command, later, chrono_tz::Asia::Tokyo);
    assert_eq!((same, reply), (active, first));

    let other = refusal(tell(&mut account, grant("g", 201, Span::days(3), None), T0));
    assert!(other.contains("another command"), "{other}");
    refusal(tell(&mut account, spend("g", 200), T0));
    assert_eq!(account.granted(), 200);
}

#[test]
fn nearest_expiry_is_spent_first_and_the_balance_is_never_negative() {
    let mut account = Account::default();
    tell(&mut account, grant("never", 100, Span::default(), None), T0);
    tell(&mut account, at_once("late", 100, 90), T0);
    tell(&mut account, at_once("soon", 100, 30), T0);
    tell(&mut account, grant("pending", 1_000, Span::days(1), None), T0);
    assert_eq!(tell(&mut account, spend("s", 150), T0), Reply::Spent { points: 150 });
    let left: Vec<_> = account.lots().map(|lot| (lot.key, lot.left, lot.state)).collect();
    assert_eq!(
        left,
        [
            ("never", 100, LotState::Active),
            ("late", 50, LotState::Active),
            ("soon", 0, LotState::Spent),
            ("pending", 1_000, LotState::Pending),
        ]
    );
    let why = refusal(tell(&mut account, spend("too much", 151), T0));
    assert!(why.contains("the balance is 150"), "{why}");
    // Remembered: the same request is refused the same way, though by now there would be enough.
    assert_eq!(refusal(tell(&mut account, spend("too much", 151), after(2 * DAY_MS))), why);
    assert_eq!(tell(&mut account, spend("again", 151), after(2 * DAY_MS)), Reply::Spent { points: 151 });
}

#[test]
fn points_that_ran_out_cannot_be_spent_even_before_the_tick_and_the_change_is_told_once() {
    let mut account = Account::default();
    tell(&mut account, at_once("g", 100, 1), T0);
    refusal(tell(&mut account, spend("s", 1), after(DAY_MS)));
    assert_eq!(next_due(&account), Some(after(DAY_MS)), "the change is still to be told");
    let (account, told) = tick(&account, after(DAY_MS));
    assert_eq!(told.iter().map(|change| change.event().0).collect::<Vec<_>>(), ["bonus_expired"]);
    assert_eq!((tick(&account, after(9 * DAY_MS)).1.len(), next_due(&account)), (0, None));
}

#[test]
fn a_spend_given_back_keeps_the_old_expiry() {
    let mut account = Account::default();
    tell(&mut account, at_once("soon", 30, 10), T0);
    tell(&mut account, at_once("late", 100, 90), T0);
    tell(&mut account, spend("order", 50), T0);
    assert_eq!(account.balance(), 80);
    // The first lot has run out meanwhile: what was taken from it ends with it.
    assert_eq!(tell(&mut account, give_back("refund", "order"), after(20 * DAY_MS)), Reply::Returned { change: 20 });
    assert_eq!(account.balance(), 100);
    assert_eq!(account.entries().map(|entry| entry.change).sum::<i64>(), 100);
    let why = refusal(tell(&mut account, give_back("refund 2", "order"), after(20 * DAY_MS)));
    assert!(why.contains("already"), "{why}");
    refusal(tell(&mut account, give_back("refund 3", "nothing"), after(20 * DAY_MS)));
    refusal(tell(&mut account, give_back("refund 4", "refund"), after(20 * DAY_MS)));
}

#[test]
fn a_grant_taken_back_takes_what_is_left_and_never_more() {
    let mut account = Account::default();
    tell(&mut account, at_once("g", 100, 90), T0);
    tell(&mut account, grant("p", 40, Span::days(5), None), T0);
    tell(&mut account, spend("order", 70), T0);
    assert_eq!(tell(&mut account, give_back("undo g", "g"), T0), Reply::Returned { change: -30 });
    assert_eq!(tell(&mut account, give_back("undo p", "p"), T0), Reply::Returned { change: 0 });
    assert_eq!((account.balance(), account.pending(), next_due(&account)), (0, 0, None));
    // The points came from a grant that was undone: giving the order back does not revive them.
    assert_eq!(tell(&mut account, give_back("refund", "order"), T0), Reply::Returned { change: 0 });
    assert_eq!(account.balance(), 0);
}

#[test]
fn what_cannot_be_booked_is_refused_and_says_why() {
    let mut account = Account::default();
    for command in [
        at_once("g", 0, 1),
        at_once("g", -5, 1),
        at_once("", 5, 1),
        at_once("a\nb", 5, 1),
        at_once("g", i64::MAX, 1),
        at_once("g", 5, 0),
    ] {
        refusal(tell(&mut account, command, T0));
    }
    assert_eq!(account, Account::default(), "a command that is wrong in itself takes no key");
    tell(&mut account, grant("most", POINTS_MAX, Span::default(), None), T0);
    let why = refusal(tell(&mut account, at_once("more", 1, 1), T0));
    assert!(why.contains("exceed"), "{why}");
    assert_eq!(account.balance(), POINTS_MAX);
}

#[test]
fn an_account_that_is_full_takes_nothing_new_and_still_knows_the_old() {
    let mut account = Account::default();
    let first = tell(&mut account, at_once("g", 1, 1), T0);
    let line = account.lines[0].clone();
    account.lines.resize(RECORDS_MAX, line);
    let why = refusal(tell(&mut account, at_once("h", 1, 1), T0));
    assert!(why.contains("records"), "{why}");
    assert_eq!(tell(&mut account, at_once("g", 1, 1), T0), first);
}

#[test]
fn an_offer_is_used_once_within_its_validity() {
    let mut account = Account::default();
    let made = tell(&mut account, offer("o1", "starter", 14), T0);
    let Reply::Offered { code, ends, .. } = &made else { panic!("{made:?}") };
    assert_eq!((*ends, code.len()), (after(14 * DAY_MS), 10));
    let used = tell(&mut account, use_offer("starter", "A-1", after(DAY_MS)), after(DAY_MS));
    assert_eq!(used, Reply::Used { bundle: "starter".into(), code: code.clone() });
    // The same order again, under either name, is the same use.
    tell(&mut account, offer("o2", "starter", 14), after(2 * DAY_MS));
    assert_eq!(tell(&mut account, use_offer("starter", "A-1", after(DAY_MS)), after(3 * DAY_MS)), used);
    assert_eq!(tell(&mut account, use_offer(&code.to_lowercase(), "A-1", after(3 * DAY_MS)), after(3 * DAY_MS)), used);
    assert_eq!(account.offers().map(|offer| offer.state).collect::<Vec<_>>(), [OfferState::Used, OfferState::Open]);
    refusal(tell(&mut account, use_offer(code, "A-2", after(3 * DAY_MS)), after(3 * DAY_MS)));
}

#[test]
fn an_order_placed_in_time_uses_an_offer_that_has_ended_since_and_no_later_order_does() {
    let mut account = Account::default();
    tell(&mut account, offer("o", "starter", 1), T0);
    let (ended, told) = tick(&account, after(2 * DAY_MS));
    assert_eq!(told.iter().map(|change| (change.at, change.event().0)).collect::<Vec<_>>(), [(after(DAY_MS), "offer_expired")]);
    let mut late = ended.clone();
    refusal(tell(&mut late, use_offer("starter", "A-1", after(DAY_MS)), after(2 * DAY_MS)));
    assert!(matches!(
        tell(&mut late, use_offer("starter", "A-2", Time(after(DAY_MS).0 - 1)), after(2 * DAY_MS)),
        Reply::Used { .. }
    ));
}

fn starter() -> Catalog {
    let item = |sku: &str, quantity| Item { sku: sku.into(), quantity };
    let bundle = Bundle {
        name: "starter".into(),
        title: "Pour-over starter".into(),
        kind: BundleKind::Starter,
        items: vec![item("v60", 1), item("beans", 2)],
        price: 4_900,
        worth: 6_100,
        eligible: None,
        members_only: false,
        season: None,
        valid_for: Span::days(14),
    };
    Catalog { bundles: [("starter".to_owned(), bundle)].into(), ..Catalog::default() }
}

fn purchase(at: Time, properties: &[(&str, Value)]) -> Event {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Event { id: "e".into(), name: "purchase".into(), time: at, properties, minor: None, depth: 0 }
}

fn items(list: &[(&str, Option<i64>)]) -> (&'static str, Value) {
    let item = |(sku, quantity): &(&str, Option<i64>)| {
        let mut fields = Fields::from([("sku".to_owned(), Value::from(*sku))]);
        fields.extend(quantity.map(|n| ("quantity".to_owned(), Value::Int(n))));
        Value::Map(fields)
    };
    ("items", Value::List(list.iter().map(item).collect()))
}

#[test]
fn a_purchase_takes_up_the_offer_that_it_names_or_whose_bundle_it_contains() {
    let catalog = starter();
    let mut account = Account::default();
    let Reply::Offered { code, .. } = tell(&mut account, offer("o", "starter", 14), T0) else { panic!() };
    let takes = |account: &Account, event: Event| match_purchase(account, &catalog, &event).is_some();
    let day = after(DAY_MS);
    assert!(takes(&account, purchase(day, &[("offer", Value::from("starter"))])));
    assert!(takes(&account, purchase(day, &[("code", Value::Text(format!(" {} ", code.to_lowercase())))])));
    assert!(takes(&account, purchase(day, &[items(&[("v60", None), ("beans", Some(1)), ("beans", Some(1)), ("mug", None)])])));
    assert!(!takes(&account, purchase(day, &[items(&[("v60", None), ("beans", Some(1))])])), "one bag is not two");
    assert!(!takes(&account, purchase(day, &[("code", Value::from("SPRING"))])));
    assert!(!takes(&account, purchase(day, &[])));
    let named = [("offer", Value::from("starter"))];
    assert!(!takes(&account, purchase(Time(T0.0 - 1), &named)), "bought before it was made");
    assert!(!takes(&account, purchase(after(14 * DAY_MS), &named)), "bought when it had ended");
    assert!(!takes(&account, Event { name: "refund".into(), ..purchase(day, &named) }));
    tell(&mut account, use_offer("starter", "A-1", day), day);
    assert!(!takes(&account, purchase(day, &named)), "used");
}

#[test]
fn the_mirror_shows_the_account_and_leaves_the_tier() {
    let mut account = Account::default();
    tell(&mut account, at_once("a", 100, 30), T0);
    tell(&mut account, grant("b", 50, Span::days(1), Some(Span::days(2))), T0);
    tell(&mut account, offer("o", "starter", 14), T0);
    let old = Loyalty { tier: "gold".into(), balance: 7, ..Loyalty::default() };
    let seen = mirror(&account, T0, &old);
    let expected = Loyalty {
        balance: 100,
        pending: 50,
        granted: 150,
        tier: "gold".into(),
        next_expiry: Some(after(30 * DAY_MS)),
        expiring: 100,
        offers: [("starter".to_owned(), after(14 * DAY_MS))].into(),
        store: Default::default(),
    };
    assert_eq!(seen, expected);
    let later = mirror(&account, after(DAY_MS), &old);
    assert_eq!((later.balance, later.pending, later.next_expiry, later.expiring), (150, 0, Some(after(3 * DAY_MS)), 50));
    assert!(mirror(&account, after(14 * DAY_MS), &old).offers.is_empty());
}

#[test]
fn the_stored_form_reads_back_and_a_lot_takes_less_than_80_bytes() {
    let mut account = Account::default();
    let before = account.to_stored().len();
    let lots = 100;
    for n in 0..lots {
        tell(&mut account, at_once(&format!("c-10293/{n}/grant_1/0"), 200, 180), T0);
    }
    // The lot by itself: the ledger's lines are counted apart.
    let lines = Account { bookings: Vec::new(), lines: account.lines.clone(), untold: Vec::new() }.to_stored().len() - before;
    let lot_bytes = (account.to_stored().len() - before - lines) / lots;
    assert!(lot_bytes < 80, "{lot_bytes} bytes");
    assert!(lines / lots < 20, "{} bytes of a line", lines / lots);

    tell(&mut account, spend("s", 250), T0);
    tell(&mut account, give_back("r", "s"), T0);
    tell(&mut account, offer("o", "starter", 1), T0);
    tell(&mut account, use_offer("starter", "A-1", T0), T0);
    tell(&mut account, spend("no", 1_000_000), after(400 * DAY_MS));
    assert_eq!(Account::from_stored(&account.to_stored()).unwrap(), account);
    assert_eq!(Account::from_stored(&[]).unwrap(), Account::default());
    assert!(Account::from_stored(&[99, 1, 2]).is_err());
}

#[test]
fn a_damaged_account_does_not_panic() {
    let mut account = Account::default();
    tell(&mut account, at_once("g", 10, 5), T0);
    tell(&mut account, spend("s", 5), T0);
    account.bookings.remove(0);
    account.entries().for_each(drop);
    tell(&mut account, give_back("r", "s"), T0);
    tick(&account, after(30 * DAY_MS));
}

#[test]
fn an_effect_is_a_command_under_its_own_id_and_the_reply_is_its_outcome() {
    use crate::effect::{self, Effect, EffectKind, OnUncertain, Outcome};
    let bonus = effect::Grant {
        points: 200,
        reason: "welcome".into(),
        active_after: Span::default(),
        expires_after: Some(Span::days(30)),
        provider: None,
        variables: Fields::new(),
        held: false,
    };
    let mut effect = Effect {
        id: "c-1/7/grant_1/0".into(),
        customer: "c-1".into(),
        run: 7,
        funnel: "welcome".into(),
        version: "v".into(),
        step: "grant_1".into(),
        decided_at: T0,
        valid_until: None,
        gate: 0,
        on_uncertain: OnUncertain::Hold,
        kind: EffectKind::Grant(bonus.clone()),
    };
    let command = Command::from_effect(&effect).unwrap();
    let mut account = Account::default();
    let Outcome::Accepted { data, .. } = tell(&mut account, command, T0).outcome() else { panic!("refused") };
    assert_eq!((data["points"].clone(), data["state"].clone()), (Value::Int(200), Value::from("active")));
    assert_eq!(data["expires_at"], Value::Time(after(30 * DAY_MS)));
    assert_eq!(account.lots().next().map(|lot| lot.key), Some("c-1/7/grant_1/0"));
    assert!(matches!(tell(&mut account, spend("s", 201), T0).outcome(), Outcome::Refused { .. }));
    // A remote store's grant is not the account's.
    effect.kind = EffectKind::Grant(effect::Grant { provider: Some("crm".into()), ..bonus });
    assert_eq!(Command::from_effect(&effect), None);
}
